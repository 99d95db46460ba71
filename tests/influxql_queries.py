"""Queries over the points of `influxql_points.cpu_and_disk`, by topic.

In a form, {a; b} stands for a and for b, so that one form is all queries which combine them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise


def expanded(form: str) -> Iterator[str]:
    """The queries of a form."""
    begin = form.find("{")
    if begin < 0:
        yield " ".join(form.split())
        return
    depth, cuts = 0, [begin]
    for i in range(begin, len(form)):
        depth += {"{": 1, "}": -1}.get(form[i], 0)
        if (form[i] == ";" and depth == 1) or depth == 0:
            cuts.append(i)
        if depth == 0:
            break
    for start, stop in pairwise(cuts):
        yield from expanded(form[:begin] + form[start + 1 : stop].strip() + form[cuts[-1] + 1 :])


def some(n: int, *forms: str) -> list[str]:
    """n of the forms' queries, the same ones in each run."""
    queries = [q for form in forms for q in expanded(form)]
    return random.Random(n).sample(queries, n)


def all_of(*forms: str) -> list[str]:
    return [q for form in forms for q in expanded(form)]


NUMBERS = "{usage; load; tie}"
GROUPS = "{; group by host; group by time(1m); group by region,time(45s,10s); group by *; group by rack,time(1m)}"
BUCKETS = "{group by time(1m); group by host,time(1m); group by region,time(45s,10s); group by host,time(30s,-7s)}"
FILLS = "{; fill(none); fill(0); fill(7.9); fill(previous); fill(linear); fill(null); fill(-3)}"
RANKS = """{percentile(#,90); percentile(#,0); percentile(#,33.3); top(#,3); bottom(#,2); top(#,1); top(#,host,2);
    bottom(#,region,host,3); top(#,region,1)}"""
STEPS = """{derivative(#); derivative(#,10s); non_negative_derivative(#,1m); difference(#); non_negative_difference(#);
    elapsed(#); elapsed(#,1s); cumulative_sum(#); moving_average(#,3)}"""
STEPS_OF_AGGREGATES = """{derivative(mean(usage),10s); derivative(max(load)); non_negative_derivative(sum(load),1s);
    difference(count(usage)); elapsed(first(usage),1s); cumulative_sum(count(load)); moving_average(mean(usage),3);
    moving_average(sum(load),2); derivative(moving_average(mean(usage),2)); difference(percentile(usage,50));
    difference(mean(usage)),mean(usage); derivative(median(usage)),count(load); difference(first(load));
    cumulative_sum(difference(mean(usage))); non_negative_difference(last(load)); derivative(stddev(usage));
    elapsed(mode(state),1s); difference(distinct(load)); difference(top(load,2))}"""
FORMULAS = """{abs(#); sin(#); cos(#); tan(#); asin(#/200); acos(#/200); atan(#); exp(#/10); ln(#); log2(#);
    log10(#); sqrt(#); floor(#); ceil(#); round(#); pow(#,2); pow(#,0.5); atan2(#,3); log(#,3); -#; #*2; #/3; #%7;
    #+1.5; 1-#; #&3; #|1; #^2; (#+1)*(2+3); #/0; #*1.0; 2/#}"""
COLUMNS = """{usage; *; host; host,usage; /us|lo/; *::tag; *::field; usage,load+1; max(usage),*; first(state),*;
    *,usage; /host|load/; usage as u, load as u; usage,usage; usage as load,load; mean(*); first(*); count(*);
    count(/us|ok/); distinct(state); last(*),mean(usage); top(usage,2),host,load; bottom(usage,host,2),state;
    mean(usage),mean(usage),mean(load); max(load),host; percentile(usage,80),host,ok; difference(*);
    moving_average(/us/,2); time,usage; sum(load),nope; nope; count(nope); usage,nope; mean(nope),mean(usage);
    usage::integer,load::float; load::string; host::tag,usage::field; usage::tag; mode(*); elapsed(*);
    min(load), max(load); count(usage) as n, sum(load)/count(load) as m; median(*); percentile(*,50);
    derivative(/load/,1s)}"""
LIMITS = """{; limit 2 offset 3; slimit 1; slimit 1 soffset 1; limit 1 slimit 2; order by time desc;
    order by time desc limit 4; order by time desc slimit 1}"""
CONDITIONS = """{host = 'a'; host != 'a'; host =~ /a|b/; host !~ /a|b/; region = ''; region != ''; region =~ /^$/;
    region !~ /u/; region =~ /.*/; usage > 50; usage >= 49; load <= -1; load = 5; load != 5; ok = true; ok != true;
    ok = false; ok; state = 'busy'; state != 'busy'; state =~ /i/; state !~ /i/; state = '';
    host = 'a' AND usage > 50; host = 'a' OR usage > 50; (host = 'a' OR host='b') AND (load > 50 OR ok = true);
    nope = 'x'; nope != 'x'; nope = ''; nope > 3; usage > load; host = region; host != region; host != rack;
    usage + load > 80; usage * 2 > 100; usage / load > 1; load / 7 = 3; load % 7 = 3; load & 1 = 1; load | 1 > 50;
    -load > 3; abs(load) > 20; sqrt(usage) > 7; host > 'a'; host = 5; state > 'a'; usage = 'x'; usage != 'x'; ok > 3;
    ok = 'true'; load > 3.5; load = 3.0; usage > 50 AND usage < 60; usage > 50 OR load < 20 OR ok = true;
    host::tag = 'a'; host::field = 'a'; load::float > 3; usage::integer = 49; load::string = 'a'; true; false;
    usage > 3 AND true; usage > 3 OR false; 1 = 1; 1 = 2; 'a' = host; 50 < usage; state = host; state != host;
    ok = true AND ok = false; ok & true; _name = 'cpu'; usage::field > 40; pow(load,2) > 100; floor(usage) = load;
    atan2(usage,load) > 1; log(usage,10) > 1.7; host =~ /^(a|b)$/; host !~ /^a$/; time > 1600041300000000000;
    usage > 10 and time >= '2020-09-14T00:01:00Z'; time > '2020-09-14 00:00:30' or usage > 50; tz = 'a';
    state = 'x y'; load >= 9223372036854775807}"""
MEASUREMENTS = """{cpu,disk; /cpu/; /.*/; /disk|notags/; cpu_load,notags; nope; cpu,nope; /x+/; "db".autogen.cpu;
    "db".autogen./cp/; cpu,cpu; cpu_load,cpu}"""
OF_SEVERAL = """{mean(load); count(usage),mean(load); *; sum(load),max(free); first(load),host; mean(*); top(load,2);
    distinct(host); load,host,v; count(v); percentile(load,50); difference(load)}"""
INNER = """{select usage,load,host from cpu; select usage from cpu; select * from cpu; select ok,state from cpu;
    select mean(usage) as m,max(load) as x from cpu group by host; select max(load) as x from cpu group by *;
    select mean(usage) as m from cpu group by time(1m),host; select mean(usage) as m from cpu group by time(1m);
    select last(usage) as m from cpu group by host; select count(usage) as n,mean(usage) as m from cpu;
    select difference(usage) as d from cpu; select derivative(mean(usage),1s) as d from cpu group by time(1m),host;
    select distinct(state) as s from cpu; select top(usage,host,2) as t from cpu; select usage/load as r from cpu;
    select *::field from cpu where host='a'; select count(load)/2 as r from cpu group by time(2m);
    select sum(load) as m from cpu group by region,time(2m) fill(0); select usage as m from cpu limit 5;
    select mean(usage) as m from cpu group by time(1m) fill(previous); select first(*) from cpu group by host;
    select max(usage) as m,host from cpu group by region; select mean(load) as m from cpu,disk group by host;
    select m from (select mean(usage) as m from cpu group by host)}"""
OUTER_CALLS = """mean(m); max(m); sum(x); count(*); mean(*); max(usage); mean(usage),max(load); count(m); median(usage);
    percentile(m,50); top(m,2); difference(m); max(d); count(s); sum(r),count(r); first(m),host; distinct(host);
    max(m)-min(m); stddev(m); mode(state); last(ok); moving_average(m,2); bottom(m,host,2)"""
OUTER = f"{{{OUTER_CALLS}; *; m; usage,load; m*2; host,m; d; t,host; n}}"
WHERE = "{; where m > 40; where host = 'a'; where host != 'a' and usage > 20; where state = 'busy'}"
ZONES = ("America/New_York", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe")

TOPICS: Mapping[str, Sequence[str]] = {
    "aggregates": all_of(
        "select {count; mean; sum; min; max; first; last; median; mode; stddev; spread; distinct}"
        f"({NUMBERS}) from cpu {GROUPS}"
    ),
    "ranks": all_of(f"select {RANKS} from cpu {GROUPS}".replace("#", NUMBERS)),
    "percentiles that buckets lack": all_of(
        """select {percentile(usage,33.3),first(load); first(load),percentile(usage,33.3);
        max(load)+percentile(usage,33.3)} from cpu group by *,time(30s)""",
        "select percentile(tie,10),first(load) from cpu group by rack,time(45s,-7s) {; fill(7.9); fill(none)}",
        """select percentile({usage,5; tie,33.3}) from cpu group by {; host,}time(30s) fill(none)
        {; order by time desc} limit {1; 4}""",
        """select {percentile(load,10),percentile(tie,50); percentile(usage,5),mean(load);
        max(usage),percentile(load,5)} from {cpu; cpu,disk} group by {; host,; rack,region,}time({30s; 45s,10s})
        {; fill(none); fill(previous); fill(linear)} {; order by time desc; limit 3}""",
    ),
    "texts and bools": all_of(
        f"select {{count; first; last; mode; distinct}}({{state; ok}}) from cpu {GROUPS}",
        f"select {{min(ok); max(ok); count(distinct(state)); distinct ok}} from cpu {GROUPS}",
    ),
    "types that do not fit": all_of(
        """select {sum(ok); mean(state); median(state); stddev(ok); min(state); top(state,2); percentile(ok,5);
        spread(state); derivative(state); integral(ok); difference(state); moving_average(ok,2); cumulative_sum(state);
        state+state; usage+state; state*2; abs(ok); ok&ok; load*usage::integer} from cpu"""
    ),
    "fill": all_of(
        f"""select {{mean(usage); count(usage); sum(load); max(load); first(state); last(ok); percentile(usage,50);
        median(load); distinct(load); mean(usage),count(load),last(state); max(load)-min(load); top(usage,2);
        mean(usage)/mean(load)}} from cpu {BUCKETS} {FILLS}"""
    ),
    "steps": all_of(
        f"select {STEPS} from cpu {{; group by host; group by *; group by rack}}".replace("#", "{usage; load}"),
        """select {elapsed(state,1s); difference(usage),difference(load); derivative(usage)+1, load} from cpu
        {; group by host}""",
        "select integral({usage; load}{; ,1m; ,10s}) from cpu",
    ),
    "steps of aggregates": some(
        200,
        f"select {STEPS_OF_AGGREGATES} from cpu {BUCKETS} {{; fill(none); fill(0); fill(previous); fill(linear)}}",
    ),
    "holt_winters": some(
        40,
        """select {holt_winters; holt_winters_with_fit}({mean(usage); count(usage)},{3,0; 4,4; 2,1}) from cpu
        group by {; host,}time({1m; 2m}) {; fill(0)}""",
    ),
    "conditions": all_of(
        f"select {{usage,load,ok,state; first(load),ok,host}} from cpu where {CONDITIONS}",
        f"select {{count(usage),sum(load)}} from cpu where {CONDITIONS} group by host",
        f"select mean(usage) from cpu where {CONDITIONS} group by time(2m)",
    ),
    "columns": all_of(
        f"select {COLUMNS} from cpu {{; group by host; group by *; group by /r/; group by nope; group by *, nope}}"
    ),
    "limits": some(300, f"select {COLUMNS} from cpu {{; group by host; group by region,host}} {LIMITS}"),
    "measurements": some(
        400,
        f"""select {OF_SEVERAL} from {MEASUREMENTS} {{; group by host; group by *; group by host slimit 1;
        group by host order by time desc limit 2}}""",
        """select {mean(load); count(usage),mean(load); first(load),host; mean(*); top(load,2); max(load),max(usage)}
        from {cpu,disk; /.*/; cpu_load,notags; cpu,nope} group by time({5m; 7m})""",
    ),
    "arithmetic": all_of(
        f"select {FORMULAS} from cpu".replace("#", "{usage; load; ok; state}"),
        f"select {FORMULAS} from cpu group by time(3m)".replace("#", "{mean(usage); max(load); count(usage)}"),
        """select {usage+load,usage-load,usage*load,usage/load,usage%load; load+load,load/load,load%load, load&load;
        ok & ok; ok | ok, ok ^ ok; usage + host; usage+nope; mean(usage)+mean(nope); sum(load)/0; pow(load,usage/10);
        atan2(load,usage); max(load)*max(load); (max(load)); ((usage)); mean(usage)/max(load)+1,count(ok)/count(load);
        floor(load)+ceil(usage); -mean(usage)} from cpu {; group by host}""",
        """select {max(load)%7 as m; 5+max(load)*2; mean(usage)+mean(load)} from cpu group by time(2m){; ,host}
        {fill(3); fill(previous); fill(linear)}""",
    ),
    "zones": all_of(
        f"""select {{mean(usage); count(load); integral(load); derivative(mean(usage),1s)}} from cpu
        group by time({{45s,10s; 1h; 1d}}) {{; fill(none); fill(linear)}} tz('{{{"; ".join(ZONES)}}}')"""
    ),
    "queries in brackets": some(
        600,
        f"select {OUTER} from ({INNER}) {WHERE} {{; group by host; group by region; group by *}}",
        f"select {{{OUTER_CALLS}}} from ({INNER}) {WHERE} group by time({{2m; 3m}}){{; ,host}}",
    ),
    "refused": all_of(
        """select {sum(usage),host; top(usage,2),mean(load); percentile(usage); percentile(usage,'a');
        moving_average(usage,1); derivative(mean(usage)); time; holt_winters(usage,2,2); nope(usage); sum(2);
        distinct(usage),mean(usage); bottom(usage,0); top(usage,host); elapsed(usage,0s); integral(usage,-1s);
        count(distinct(sum(usage)))} from cpu""",
        "select usage from cpu {where sum(load) > 2; where usage; where time != 3; group by time(1m); fill(none)}",
        "select mean(usage) from cpu group by {time(1m),time(2m); 3; host fill(0)}",
        "select mean(m) from (select usage as m from cpu) order by time desc",
    ),
}
