"""Queries over points held here, and over the same points in a real InfluxDB 1.6: the answers are equal, with the types
of numbers, the last bit of floats, the order of series and of points. What differs stands at the end, with why."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from influxd import Influxd, Refused
from influxql_points import (
    SECOND,
    SHARD,
    WEEK,
    Point,
    Range,
    Series,
    cpu_and_disk,
    history,
    lines,
    many_series,
    ours,
    rows,
    theirs,
)
from influxql_queries import TOPICS, ZONES, all_of, some

from tickc.compiler.influxql import parse
from tickc.runtime.influxql.evaluate import Evaluator, QueryRefused
from tickc.runtime.influxql.history import History

RANGES = [
    (SHARD - 900 * SECOND, SHARD - 850 * SECOND),
    (SHARD - 293 * SECOND, SHARD + 307 * SECOND),
    (SHARD - 905 * SECOND, SHARD + 905 * SECOND),
]

DIFFER = {
    r"(top|bottom|distinct)\(.* desc": "1.6 gives the points of a bucket in ascending order, 1.8 in that of the query",
    r"abs\((load|max|count)": "1.6 gives ints as they are, 1.8 their absolute value",
    r"(top|bottom)\(tie,.*host": "1.6 gives what a bucket has of several tags in their order, 1.8 in that of time",
    r"host,m from \(select max": "the same",
    r"mean\(.*from \(select (\*|usage as m|usage,load,host) from cpu\)": "1.6 adds up points of a query in brackets by "
    "time, 1.8 series after series",
    r" as u, load as u": "columns of one name are one here, of which the last counts, as in what Kapacitor makes of it",
}


class Both(NamedTuple):
    """The same points in a server's database and here."""

    server: Influxd
    database: str
    points: History

    def ask(self, query: str, one: Range) -> list[Series] | str:
        return theirs(self.server, self.database, [query], [one])[0][0]

    def differences(self, queries: Sequence[str], ranges: Sequence[Range] = RANGES) -> list[str]:
        real = theirs(self.server, self.database, queries, ranges)
        return [d for query, there in zip(queries, real) for d in _differences(self.points, query, ranges, there)]


def _differences(
    points: History, query: str, ranges: Sequence[Range], real: Sequence[list[Series] | str]
) -> Iterator[str]:
    try:
        evaluator = Evaluator(parse(query))
    except QueryRefused as refused:
        if any(not isinstance(r, str) or str(refused) not in r for r in real):
            yield f"{query}: refused with {refused}, there {str(real)[:200]}"
        return
    mine = ours(evaluator, points, ranges)
    for i, (here, there) in enumerate(zip(mine, real)):
        if isinstance(there, str):
            if here or there.replace("Interrupt", "") not in evaluator.errors:
                yield f"{query}, range {i}: there an error, {there}; here {evaluator.errors}"
        elif not same(here, there):
            yield f"{query}, range {i}: {_first_difference(here, there)}"


def same(here: Sequence[Series], there: Sequence[Series]) -> bool:
    return json.dumps(here, sort_keys=True) == json.dumps(there, sort_keys=True)


def _first_difference(here: Sequence[Series], there: Sequence[Series]) -> str:
    for a, b in zip(here, there):
        one, other = ({k: v for k, v in s.items() if k != "values"} for s in (a, b))
        if one != other:
            return f"here a series {one}, there {other}"
        for x, y in itertools.zip_longest(a["values"], b["values"]):
            if repr(x) != repr(y):
                return f"{one}: here {x}, there {y}"
    return f"here {len(here)} series, there {len(there)}"


def _shown(differences: Sequence[str]) -> str:
    return f"{len(differences)} differences\n" + "\n".join(differences[:20])


def written(server: Influxd, points: Sequence[Point]) -> Both:
    database = server.database()
    server.write(lines(points), database)
    return Both(server, database, history(points, database, whole=True))


@pytest.fixture(scope="module")
def usual(influxd: Influxd) -> Both:
    """The points of cpu_and_disk."""
    return written(influxd, cpu_and_disk())


@pytest.mark.parametrize("topic", TOPICS)
def test_the_same_answers(usual: Both, topic: str) -> None:
    queries = [
        q.replace('"db"', f'"{usual.database}"') for q in TOPICS[topic] if not any(re.search(d, q) for d in DIFFER)
    ]
    found = usual.differences(queries)
    assert not found, _shown(found)


# Many series, shards and types


CALLS = """{mean(v); sum(v); count(v); mean(i); sum(i); max(i); first(v); last(i); first(k); min(k); max(k); median(v);
    stddev(v); spread(i); count(s); first(s); mode(k); percentile(v,37); mean(v),sum(i),count(s); max(k),host; mean(*);
    first(k),host,v; last(k),host; min(k),host,a; sum(v)/count(v); last(s)}"""
SEVERAL = "{top(v,3); top(v,a,2); bottom(v,host,3); distinct(k); top(k,4),host}"
PLAIN = """{v,host; k; i; s; v+i; difference(v); cumulative_sum(v); moving_average(v,4); derivative(v,1s);
    elapsed(k,1s)}"""
MATCHING = "{; where a = 'x'; where v > 0; where i < 100 and a != 'y'; where host =~ /h1/; where k = 1 or s = 'a'}"
TAGS = "{; group by a; group by b,a; group by host; group by *}"
BUCKETS = """group by {time(3m); time(100s),a; time(1m),a,b; time(10m,3m)}
    {; order by time desc; fill(none); fill(linear); fill(previous); fill(1)}"""
LONG = "group by {time(7d); time(4d,1d),b; time(3m),a fill(none)}"


@pytest.mark.parametrize("seed", [1, 2])
def test_many_series(influxd: Influxd, seed: int) -> None:
    points = many_series(seed)
    both = written(influxd, points)
    chance = random.Random(seed)
    conflicts = [(m, t | {"new": "x"}, f | {"v": 3, "w": 1.0}, time) for m, t, f, time in chance.sample(points, 20)]
    for point in conflicts:
        with pytest.raises(Refused, match="field type conflict"):
            influxd.write(lines([point]), both.database)
    again = [(m, t, {"v": chance.random()}, time) for m, t, _, time in chance.sample(points, 100)]
    influxd.write(lines(again), both.database)
    both.points.append(rows([*conflicts, *again], both.database))
    assert both.points.dropped == {"field type conflict": len(conflicts)}
    ranges = [
        (SHARD - WEEK - 100 * SECOND, SHARD - WEEK + 7 * SECOND),
        (SHARD - 300 * SECOND, SHARD + 300 * SECOND),
        (SHARD + 3 * SECOND, SHARD + 700 * SECOND),
        (SHARD - 700 * SECOND, SHARD + 1300 * SECOND),
    ]
    found = both.differences(some(150, f"select {CALLS} from m {MATCHING} {BUCKETS}"), ranges)
    queries = [
        *some(50, f"select {CALLS} from m {MATCHING} {LONG}"),
        *some(80, f"select {CALLS} from m {MATCHING} {TAGS} {{; limit 3; order by time desc; slimit 2}}"),
        *some(40, f"select {PLAIN} from m {MATCHING} {TAGS} {{; limit 3; order by time desc; slimit 2}}"),
        *some(40, f"select {SEVERAL} from m {MATCHING} {TAGS}"),
    ]
    found += both.differences(queries, [*ranges, (SHARD - WEEK - 700 * SECOND, SHARD + 1300 * SECOND)])
    assert not found, _shown(found)


def test_a_database_that_grows(influxd: Influxd) -> None:
    """What a database knows of fields, tags and series when the range of a query has just ended."""
    points = sorted((p for p in many_series(3) + cpu_and_disk() if p[3] // SECOND % 120 < 10), key=lambda p: p[3])
    queries = all_of(
        "select {*; mean(*); count(/./); *::tag; i+1; s} from {m; /./} {; group by *; slimit 2 soffset 1}",
        "select {mean(*); sum(i); first(s); max(i)} from m group by {time(1d); time(2m),a fill(none)}",
        "select max(*) from (select * from m group by *)",
    )
    server, database = influxd, influxd.database()
    stops = [SHARD - WEEK + i * SECOND for i in (-550, -200, 0, 100)]
    stops += [SHARD + i * SECOND for i in (-890, -300, 1, 170, 900)]
    ranges = [(stop - before, stop) for stop in stops for before in (300 * SECOND, 8 * WEEK // 7)]
    real: list[list[list[Series] | str]] = [[] for _ in queries]
    written = 0
    for stop in stops:
        more = [p for p in points[written:] if p[3] < stop]
        server.write(lines(more), database)
        written += len(more)
        for found, more_of in zip(real, theirs(server, database, queries, [r for r in ranges if r[1] == stop])):
            found += more_of
    here = history(points, database)
    for query, answers in zip(queries, real):
        evaluator = Evaluator(parse(query))
        for mine, there, one in zip(ours(evaluator, here, ranges), answers, ranges):
            if isinstance(there, str):
                assert not mine and there.replace("Interrupt", "") in evaluator.errors, (query, one)
            else:
                mine, there = with_values(mine), with_values(there)
                assert same(mine, there), (query, one, _first_difference(mine, there))


def with_values(found: Sequence[Series]) -> list[Series]:
    """The series without columns that are null throughout: ranges that are answered together share columns."""
    kept = [
        sorted((c, i) for i, c in enumerate(s["columns"]) if any(row[i] is not None for row in s["values"]))
        for s in found
    ]
    return [
        s | {"columns": [c for c, _ in own], "values": [[row[i] for _, i in own] for row in s["values"]]}
        for s, own in zip(found, kept)
    ]


def test_days_of_23_and_25_hours(influxd: Influxd) -> None:
    chance = random.Random(3)
    west, east = (
        1604188800 * SECOND,
        1603497600 * SECOND,
    )  # the 1st of November in America, the 25th of October in Europe
    points: list[Point] = [
        ("m", {"host": host}, {"v": chance.gauss(5, 3), "i": chance.randrange(100)}, time)
        for i in range(400)
        for host in "ab"
        for time in (west - 36 * 3600 * SECOND + i * 600 * SECOND, east + i * 900 * SECOND)
        if chance.random() < 0.7
    ]
    both = written(influxd, points)
    hour = 3600 * SECOND
    ranges = [(east, east + 72 * hour), (west - 3 * hour, west + 9 * hour), (west - 24 * hour, west + 24 * hour)]
    queries = some(
        300,
        f"""select {{mean(v); count(i); max(i); first(v); derivative(mean(v),1m); median(v); percentile(i,50)}} from m
        group by {{; host,}}time({{1h; 30m; 1d; 2h,15m; 12h; 7h; 1d,6h}})
        {{; fill(none); fill(linear); order by time desc}}
        tz('{{{"; ".join(ZONES)}}}')""",
    )
    found = both.differences(queries, ranges)
    assert not found, _shown(found)


# Where they differ

EXAMPLES = {
    "select distinct(s) from m order by time desc": ([["x"], ["y"]], [["y"], ["x"]]),
    "select top(v,2) from m order by time desc": ([[4.0], [3.0]], [[3.0], [4.0]]),
    "select abs(load) from m": ([[2], [1], [3]], [[-2], [1], [-3]]),
    "select u from (select last(v) as u from m group by host)": ([[3.0], [4.0]], [[4.0], [3.0]]),
    "select sum(u) from (select v+0.1 as u from m)": ([[8.299999999999999]], [[8.3]]),
    "select v as u, load as u from m": ([[-2], [1], [-3]], [[1.0, -2], [3.0, 1], [4.0, -3]]),
}


@pytest.mark.parametrize("query", EXAMPLES)
def test_what_differs(influxd: Influxd, query: str) -> None:
    values = [(1.0, -2, "x"), (3.0, 1, "y"), (4.0, -3, "x")]
    points: list[Point] = [
        ("m", {"host": s}, {"v": v, "load": load, "s": s}, SHARD + i * SECOND) for i, (v, load, s) in enumerate(values)
    ]
    both = written(influxd, points)
    one = (SHARD, SHARD + 10 * SECOND)
    found = ours(query, both.points, [one])[0], both.ask(query, one)
    assert tuple([row[1:] for row in found[i][0]["values"]] for i in (0, 1)) == EXAMPLES[query]


@pytest.mark.parametrize(
    ("query", "reason"),
    {
        "select sample(v,2) from m": "at random",
        "select count(v) from m where time > 0 group by time(1m,now())": "begin at now",
        "select v::unsigned from m": "unsigned",
    }.items(),
)
def test_what_only_the_server_answers(influxd: Influxd, query: str, reason: str) -> None:
    points: list[Point] = [("m", {}, {"v": 1.0}, SHARD)]
    both = written(influxd, points)
    assert not isinstance(both.ask(query, (SHARD, SHARD + SECOND)), str)
    with pytest.raises(QueryRefused, match=reason):
        Evaluator(parse(query))
