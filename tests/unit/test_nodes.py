"""The graph as written and its way to the plan: names, order, checks, start errors, operators and what they read."""

from __future__ import annotations

from typing import Any

import pytest

from tickc.compiler import ir
from tickc.compiler.diagnostics import Source, TickError
from tickc.compiler.evaluate import evaluate
from tickc.compiler.pipeline import Pipeline, batch_edge, lower
from tickc.compiler.syntax import parse


def run(text: str) -> Pipeline:
    source = Source(text)
    return evaluate(parse(source), source)


def plan(text: str, **more: Any) -> ir.Plan:
    made = lower(run(text), task="task", **more)
    made.verify()
    return made


def refused(text: str, **more: Any) -> list[tuple[str, str]]:
    """Codes and messages of a script that is refused when it is defined or started."""
    with pytest.raises(TickError) as caught:
        plan(text, **more)
    return [(d.code.name, d.text(Source(text))) for d in caught.value.diagnostics]


def op(text: str) -> ir.Op:
    """The last operator of `stream|from()` and what is written behind it."""
    return plan(f"stream|from(){text}").ops[-1]


# --- ids, names, order


def test_names_and_order_are_kapacitors() -> None:
    pipeline = run(
        "var a = stream|from().measurement('a')\nvar b = stream|from().measurement('b')\n"
        "a|window().period(1m)|mean('x')\na|where(lambda: TRUE)|influxDBOut()\nb|httpOut('b')"
    )
    assert pipeline.dot("task") == (
        "digraph task {\nstream0 -> from1;\nstream0 -> from2;\nfrom2 -> http_out7;\nfrom1 -> window3;\n"
        "from1 -> where5;\nwhere5 -> influxdb_out6;\nwindow3 -> mean4;\n}"
    )
    assert [n.name for n in pipeline.nodes] == [
        "stream0", "from2", "http_out7", "from1", "where5", "influxdb_out6", "window3", "mean4",
    ]  # fmt: skip


def test_each_link_to_a_join_takes_an_id() -> None:
    pipeline = run("var a = stream|from()\nvar b = stream|from()\na|join(b).as('a', 'b')|union(a)|log()")
    assert [n.name for n in pipeline.nodes] == ["stream0", "from2", "from1", "join4", "union6", "log7"]
    joined, united = pipeline.nodes[3:5]
    assert [p.name for p in joined.parents] == ["from1", "from2"]
    assert [p.name for p in united.parents] == ["from1", "join4"]


def test_deadman_is_stats_derivative_alert() -> None:
    pipeline = run("stream|from()|deadman(100.0, 10s, lambda: hour(\"time\") > 8).topic('t')")
    assert pipeline.dot("d") == (
        "digraph d {\nstream0 -> from1;\nfrom1 -> noop3;\nstats2 -> derivative4;\nderivative4 -> alert5;\n}"
    )
    alert: Any = pipeline.nodes[-1]
    assert repr(alert.crit.expr) == "(ref('emitted') <= 100.0) & (call('hour', ref('time')) > 8)"
    assert alert.id_ == "{{ .Group }}:from1 for task '{{ .TaskName }}'"
    assert alert.message.endswith('printf "%0.3f" }} points/10s.')
    assert alert.topic == "t"


def test_batch_has_no_edges_of_its_own_in_dot() -> None:
    text = "batch|query('SELECT x FROM y').every(1m)|log()"
    assert run(text).dot("b") == "digraph b {\nquery1 -> log2;\n}"


# --- what is wrong with a definition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|window().period(1s).periodCount(1).everyCount(1)", "cannot specify both period and periodCount"),
        ("|window().periodCount(1).everyCount(1).align()", "can only align windows based off time, not count"),
        ("|window().periodCount(1)", "everyCount must be greater than zero"),
        ("|groupBy('')", "dimensions cannot not be the empty string"),
        ("|groupBy(*, 'a')", "cannot group by both '*' and named dimensions."),
        ("|groupBy('a').exclude('b')", "exclude requires '*'"),
        ("|groupBy(5)", "invalid dimension object of type int64"),
        (".groupBy('a', 5s)", "invalid dimension object of type time.Duration"),
        ("|eval(lambda: 1)", "must specify same number of expressions and .as() names: "
         "got 0 as names, and 1 expressions."),
        ("|eval(lambda: 1).as('a').tags('b')", 'invalid tag name "b", name is not present is .as() names'),
        ("|default().field('a', 1s)", 'unsupported type time.Duration for field "a", '
         "field default values must be float,int,string or bool"),
        ("|httpPost('a', 'b')", "httpPost expects 0 or 1 arguments, got 2"),
        ("|httpPost().endpoint('a').endpoint('b')", "httpPost expects 0 or 1 endpoints, got 2"),
        ("|httpPost()", "must provide url or endpoint"),
        ("|httpPost('a').endpoint('b')", "only one endpoint and url may be specified"),
        ("|httpPost('a').header('Authenticate', 'b')", "cannot set 'authenticate' header"),
        ("|kapacitorLoopback()", "must specify a database"),
        ("|kapacitorLoopback().database('a')", "must specify a retention policy"),
        ("|barrier().idle(1s).period(1s)", "cannot specify both idle and period"),
        ("|barrier()", "idle must be greater than zero"),
        ("|combine(lambda: TRUE)", "a call to combine.as() is required to specify the output stream prefixes."),
        ("|combine(lambda: TRUE).as('a', 'b')", "number of prefixes specified by combine.as() must match the number of "
         "combine expressions"),
        ("|combine(lambda: TRUE).as('a.b')",
         "cannot use name a.b as field prefix, it contains the delimiter character ."),
        ("|join(stream|from()).as('a', 'a')", "cannot use the same prefix name see .as() property method"),
        ("|join(stream|from()).as('a')",
         "number of prefixes specified by join.as() must match the number of joined streams"),
        ("|join(stream|from()).as('', 'a')", "must provide a prefix name for the join node, see .as() property method"),
        ("|join(stream|from()).as('a.b', 'a')",
         "cannot use name a.b as field prefix, it contains the delimiter \".\"\t"),
        ("|alert().post('a').header('authenticate', 'b')", "invalid post: cannot set 'authenticate' header"),
        ("|alert().snmpTrap('1').data('2', 'x', '3')",
         'invalid SNMP trap "1": unsupported data type "x" for data entry "2"'),
        ("|k8sAutoscale()", "must specify exactly one of ResourceName or ResourceNameTag"),
        ("|swarmAutoscale().serviceName('a')", "must provide a replicas lambda expression"),
        ("|ec2Autoscale().groupName('a').min(0)", "min must be >= 1, got 0"),
    ],
)  # fmt: skip
def test_definitions_are_checked(text: str, message: str) -> None:
    assert refused(f"stream|from(){text}") == [(refused(f"stream|from(){text}")[0][0], message)]


def test_the_node_that_kapacitor_checks_first_comes_first() -> None:
    found = refused("stream|from()|eval(lambda: 1)\nstream|from()|window().periodCount(1)")
    assert [m for _, m in found] == [
        "everyCount must be greater than zero",
        "must specify same number of expressions and .as() names: got 0 as names, and 1 expressions.",
    ]


# --- what keeps a task from starting


MISMATCH = "mismatched type to binary operator. got int + string. see bool(), int(), float(), string(), duration()"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|window().every(5s)", "window node must have either a non zero period or non zero period count"),
        ("|sample(0)", "invalid sample rate: must be positive integer or duration"),
        ("|shift(0s)", "invalid shift value: must be non zero duration"),
        (".where(lambda: 1 + 'a')", f"Failed to compile from expression: {MISMATCH}"),
        ("|where(lambda: 1 + 'a')", f"Failed to compile expression in where clause: {MISMATCH}"),
        ("|eval(lambda: 1, lambda: 1 + 'a').as('a', 'b')", f"Failed to compile 1 expression: {MISMATCH}"),
        ("|stateCount(lambda: 1 + 'a')", MISMATCH),
        ("|stateDuration(lambda: 1 + 'a')", MISMATCH),
        ("|alert().warn(lambda: 1 + 'a')", f"Failed to compile stateful expression for warn: {MISMATCH}"),
        ("|alert().warn(lambda: TRUE).warnReset(lambda: 1 + 'a')",
         f"Failed to compile stateful expression for warnReset: {MISMATCH}"),
        ("|alert().flapping(0.1, 1.5)", "alert flap thresholds are percentages and should be between 0 and 1"),
        ("|alert().post()", "Either URL or endpoint must be non-empty"),
        ("|alert().message('{{ .Level')", "template: message:1: unclosed action"),
        ("|alert().id('{{ foo }}')", 'template: id:1: function "foo" not defined'),
    ],
)  # fmt: skip
def test_start_errors_have_kapacitors_text(text: str, message: str) -> None:
    (found,) = refused(f"stream|from(){text}")
    assert found[0].startswith("T3") and found[1] == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query('DROP x').every(1m)", 'query is not a select statement "DROP x"'),
        ("query('SELECT x FROM y')", "must define one of 'every' or 'cron'"),
        ("query('SELECT x FROM y').every(1m).cron('* * * * *')", "must not set both 'every' and 'cron' properties"),
        ("query('SELECT x FROM y').every(-1m)", "'every' duration must must non-negative"),
        ("query('SELECT x FROM y').every(1m).fill('zero')", "unexpected fill option zero"),
        (
            "query('SELECT x FROM y').every(1m).groupBy(1s, time(1s))",
            "groupBy cannot have more than one time dimension",
        ),
        (
            "query('SELECT x FROM y').every(1m).groupBy(1)",
            "invalid dimension type:int64, must be string or time.Duration",
        ),
    ],
)
def test_queries_are_checked_at_the_start(text: str, message: str) -> None:
    assert refused(f"batch|{text}")[0][1] == message


def test_what_is_no_expression_cannot_be_started() -> None:
    script = "var l = ['a']\nstream|from()|where(lambda: \"a\" == 'x' AND strLength(l) > 1)"
    assert [m for _, m in refused(script)] == [
        "Failed to compile expression in where clause: Failed to handle right node: Failed to handle left node: "
        "Failed to handle 1 argument: Given node type is not valid evaluation node: *ast.ListNode"
    ]


def test_edges_have_to_match() -> None:
    script = "var a = stream|from()\nvar b = stream|from()\na|window().period(1m)|join(b).as('a', 'b')"
    assert refused(script)[0] == ("T301", "cannot add child mismatched edges: from2:stream -> join5:batch")


def test_a_loop_is_found() -> None:
    script = "stream|from()|kapacitorLoopback().database('a').retentionPolicy('b')"
    assert refused(script, dbrps=[("a", "b")])[0][1] == 'loop detected on dbrp: "a"."b"'


def test_nodes_that_are_not_built_say_so_after_all_else() -> None:
    found = refused("stream|from()|sample(0)|swarmAutoscale().serviceName('s').replicas(lambda: 1)")
    assert found == [
        ("T304", "invalid sample rate: must be positive integer or duration"),
        ("T401", "line 1 char 25: `swarmAutoscale` is not supported yet"),
    ]


# --- operators


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (".measurement('a').groupBy('b', 'a').truncate(1s)",
         {"measurement": "a", "group_by": ("a", "b"), "truncate": 1_000_000_000}),
        (".database('d').retentionPolicy('r').groupByMeasurement().round(1m).groupBy(*)",
         {"database": "d", "policy": "r", "by_measurement": True, "round": 60_000_000_000, "group_by": "*"}),
        ("|window().period(10s).every(5s).align().fillPeriod()",
         {"period": 10_000_000_000, "every": 5_000_000_000, "align": True, "fill_period": True}),
        ("|window().periodCount(5).everyCount(2)", {"period_count": 5, "every_count": 2}),
        ("|groupBy(*).exclude('a').exclude('b').byMeasurement()",
         {"dims": "*", "exclude": ("a", "b"), "by_measurement": True}),
        ("|eval(lambda: 1, lambda: 'a').as('n', 't').tags('t').keep('n', 'x').quiet()", {
            "exprs": "(lit(1), lit('a'))", "names": ("n", "t"), "tags": ("t",), "keep": ("n", "x"), "quiet": True}),
        ("|eval(lambda: 1).as('n').keep()", {"exprs": "(lit(1),)", "names": ("n",), "keep": ()}),
        ("|default().field('a', 1).field('b', 's').tag('c', 'd')", {"fields": {"a": 1, "b": "s"}, "tags": {"c": "d"}}),
        ("|delete().field('a').field('b').tag('c')", {"fields": ("a", "b"), "tags": ("c",)}),
        ("|shift(-5m)", {"by": -300_000_000_000}),
        ("|sample(3)", {"count": 3}),
        ("|sample(3s)", {"every": 3_000_000_000}),
        ("|log().level('DEBUG').prefix('p')", {"level": "DEBUG", "prefix": "p"}),
        ("|count('v')", {"function": "count", "field": "v", "as_name": "count"}),
        ("|percentile('v', 95.0).as('p').usePointTimes()",
         {"function": "percentile", "field": "v", "as_name": "p", "args": (95.0,), "point_times": True}),
        ("|top(3, 'v', 'host')", {"function": "top", "field": "v", "as_name": "top", "args": (3, "host")}),
        ("|elapsed('v', 1s)", {"function": "elapsed", "field": "v", "as_name": "elapsed", "args": (1_000_000_000,)}),
        ("|movingAverage('v', 3)",
         {"function": "movingAverage", "field": "v", "as_name": "movingAverage", "args": (3,)}),
        ("|holtWintersWithFit('v', 3, 2, 1m)",
         {"function": "holtWintersWithFit", "field": "v", "as_name": "holtWinters", "args": (3, 2, 60_000_000_000),
          "point_times": True}),
        ("|derivative('v')", {"field": "v", "as_name": "v"}),
        ("|derivative('v').as('d').unit(1m).nonNegative()",
         {"field": "v", "as_name": "d", "unit": 60_000_000_000, "non_negative": True}),
        ("|changeDetect('a', 'b')", {"fields": ("a", "b")}),
        ("|stateCount(lambda: TRUE)", {"predicate": "lit(True)"}),
        ("|stateDuration(lambda: TRUE).as('d').unit(1m)",
         {"predicate": "lit(True)", "as_name": "d", "unit": 60_000_000_000}),
        ("|httpOut('p')", {"path": "p"}),
        ("|influxDBOut().database('d').tag('a', 'b').precision('s')",
         {"database": "d", "precision": "s", "tags": {"a": "b"}}),
        ("|alert()", {"task": "task", "id": "{{ .Name }}:{{ .Group }}", "message": "{{ .ID }} is {{ .Level }}"}),
        ("|alert().id('i').message('m').details('d').crit(lambda: TRUE).infoReset(lambda: TRUE).stateChangesOnly(1m)"
         ".flapping(0.2, 0.4).history(1).log('/x').slack().inhibit('c', 't').levelTag('l')",
         {"task": "task", "id": "i", "message": "m", "details": "d", "crit": "lit(True)", "state_changes_only": True,
          "state_changes_duration": 60_000_000_000, "flapping": (0.2, 0.4), "history": 2, "logs": ("/x",),
          "handlers": (("slack", {}),), "inhibit": (("c", ("t",)),), "level_tag": "l"}),
    ],
)  # fmt: skip
def test_operators_have_the_script_s_settings(text: str, settings: dict[str, Any]) -> None:
    found = {k: v for k, v in op(text).settings().items() if k != "name"}
    assert {k: v if v == settings.get(k) else repr(v) for k, v in found.items()} == settings


def test_a_source_reads_what_its_from_nodes_name() -> None:
    script = (
        "var a = stream|from().measurement('a')\na|from().measurement('x')\n"
        "stream|from()\nstream|from().measurement('a')"
    )
    (source,) = (o for o in plan(script, dbrps=[("d", "r")]) if isinstance(o, ir.SourceOp))
    assert source.measurements == ("a", "")
    assert source.dbrps == (("d", "r"),)
    named = plan(f'dbrp "x"."y"\n{script}', dbrps=[("d", "r")]).ops[0]
    assert isinstance(named, ir.SourceOp) and named.dbrps == (("x", "y"),)
    unnamed = plan(script).ops[0]
    assert isinstance(unnamed, ir.SourceOp) and unnamed.dbrps is None


def test_an_operator_covers_its_lines() -> None:
    text = "stream\n    |from()\n        .measurement('a') // so\n        .groupBy('b')\n    |mean('x')\n"
    made = plan(text)
    assert [Source(text).snippet(o.span) if o.span else "" for o in made.ops[1:]] == [
        "|from()\n        .measurement('a') // so\n        .groupBy('b')",
        "|mean('x')",
    ]


def test_state_depends_on_the_script() -> None:
    assert not op('|where(lambda: "a")').stateful and op("|where(lambda: count() > 1)").stateful
    assert op("|eval(lambda: count()).as('c')").stateful
    assert op("|sample(3)").stateful and not op("|sample(3s)").stateful
    assert not op(".where(lambda: TRUE)").stateful and op('.where(lambda: sigma("a") > 1.0)').stateful
    assert op("|groupBy('a')").rowwise and not op("|window().period(1s)|groupBy('a')").rowwise


def test_edges_of_operators() -> None:
    for text, expected in (
        ("|log()", False), ("|window().period(1s)|where(lambda: TRUE)", True),
        ("|window().period(1s)|mean('a')", False),
        ("|distinct('a')", True), ("|window().period(1s)|difference('a')", True), ("|difference('a')", False),
    ):  # fmt: skip
        assert batch_edge(op(text)) is expected, text


# --- which columns are read


def wanted(tags: str | None, fields: str | None) -> ir.Wanted:
    return ir.Wanted(*(None if names is None else frozenset(names.split()) for names in (tags, fields)))


SOME = wanted("t", "f g")


@pytest.mark.parametrize(
    ("text", "given", "read"),
    [
        ("", SOME, SOME),
        (".where(lambda: \"x\" > 1).groupBy('h')", SOME, wanted("t x h", "f g x")),
        (".groupBy(*)", SOME, wanted(None, "f g")),
        ("|where(lambda: \"x\" > 1 AND \"time\" == \"y\")", SOME, wanted("t x y", "f g x y")),
        ("|eval(lambda: \"a\" + 1).as('f')", SOME, wanted("t a", "a")),
        ("|eval(lambda: \"a\" + 1).as('f').keep()", SOME, wanted("t a", "g a")),
        ("|eval(lambda: \"a\" + 1).as('f').keep('f', 'k')", SOME, wanted("t a", "k a")),
        ("|eval(lambda: \"a\").as('t').tags('t')", SOME, wanted("a", "a")),
        ("|eval(lambda: 1).as('f').keep()", ir.ALL, ir.ALL),
        ("|eval(lambda: 1).as('f')", ir.ALL, wanted(None, "")),
        ("|default().field('f', 1).tag('u', 'x')", SOME, wanted("t u", "f g")),
        ("|delete().field('f').tag('t')", SOME, wanted("", "g")),
        ("|shift(1s)", SOME, SOME),
        ("|sample(3)", SOME, SOME),
        ("|log()", SOME, ir.ALL),
        ("|groupBy('h')", SOME, wanted("t h", "f g")),
        ("|groupBy(*)", SOME, wanted(None, "f g")),
        ("|window().period(1s)", SOME, SOME),
        ("|window().periodCount(1).everyCount(1)", SOME, SOME),
        ("|mean('v')", SOME, wanted("", "v")),
        ("|mean('v')", ir.ALL, wanted("", "v")),
        ("|difference('v')", SOME, wanted("", "v")),
        ("|max('v').as('f')", SOME, wanted("t", "g v")),
        ("|max('v')", ir.ALL, ir.ALL),
        ("|top(2, 'v', 'x')", SOME, wanted("t", "v")),
        ("|distinct('v')", SOME, wanted("", "v")),
        ("|derivative('v').as('f')", SOME, wanted("t", "g v")),
        ("|derivative('f')", SOME, SOME),
        ("|changeDetect('v')", SOME, wanted("t", "f g v")),
        ("|stateCount(lambda: \"x\").as('f')", SOME, wanted("t x", "g x")),
        ("|stateDuration(lambda: \"x\")", SOME, wanted("t x", "f g x")),
        ("|httpOut('p')", SOME, ir.ALL),
        ("|influxDBOut()", ir.NOTHING, ir.ALL),
        ("|alert()", SOME, ir.ALL),
    ],
)  # fmt: skip
def test_what_an_operator_reads(text: str, given: ir.Wanted, read: ir.Wanted) -> None:
    assert op(text).needs(given) == read


@pytest.mark.parametrize(
    ("text", "kept", "changed"),
    [
        (".truncate(1s)", "a", "time"),
        ("|eval(lambda: 1).as('a').keep()", "b time", "a"),
        ("|eval(lambda: 1).as('a')", None, "b"),
        ("|default().field('a', 1).tag('t', 'x')", "b", "t"),
        ("|delete().field('a')", "b", "a"),
        ("|shift(1s)", "a", "time"),
        ("|groupBy('a')", "a time", None),
        ("|window().period(1s)|groupBy('a')", None, "b"),
        ("|mean('a')", None, "b"),
        ("|log()", None, "a"),
    ],
)
def test_what_means_the_same_behind_an_operator(text: str, kept: str | None, changed: str | None) -> None:
    if kept is not None:
        assert op(text).keeps(kept.split())
    if changed is not None:
        assert not op(text).keeps(changed.split())
