"""Random pipelines over random points: optimised or not, whole, cut or restored, the results are the same."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickc
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.nodes.loop import Loop
from tickc.runtime.results import Results
from tickc.runtime.snapshot import decode, encode
from tickc.task import Task

SECOND = 1_000_000_000
predicates = st.sampled_from(
    [
        '"v" > 2.0', '"v" <= 4', '"host" == \'a\'', 'TRUE', '"n" % 2 == 0', 'isPresent("w") AND "v" > 0.0',
        '"s" =~ /x/', 'sigma("v") > 1.0', 'count() % 2 == 0', '"v" > 1.0 OR "host" == \'b\'', '"v" > 1.0 + 1.0',
    ]
)  # fmt: skip
SHIFT = "|shift(-3s)"
STREAM = [
    lambda p: f"|where(lambda: {p})",
    lambda p: "|eval(lambda: \"v\" * 2.0).as('v').keep()",
    lambda p: "|eval(lambda: \"v\" - 1.0, lambda: \"v\" + 1.0).as('v', 'w')",
    lambda p: "|eval(lambda: string(\"n\")).as('dc').tags('dc').keep()",
    lambda p: "|groupBy('host')",
    lambda p: "|groupBy(*)",
    lambda p: "|groupBy('host', 'dc').byMeasurement()",
    lambda p: "|derivative('v').unit(2s).as('v')",
    lambda p: f"|stateDuration(lambda: {p})",
    lambda p: f"|stateCount(lambda: {p}).as('n')",
    lambda p: "|changeDetect('v')",
    lambda p: "|default().field('v', 1.5).tag('dc', 'z')",
    lambda p: "|delete().tag('dc').field('w')",
    lambda p: "|sample(2)",
    lambda p: SHIFT,
    lambda p: "|cumulativeSum('v').as('v')",
    lambda p: "|window().period(4s).every(4s)|mean('v').as('v')",
    lambda p: "|window().period(3s).every(5s).align()|sum('n').as('n')",
    lambda p: "|window().period(6s).every(2s)|max('v').as('v')",
    lambda p: "|window().periodCount(3).everyCount(2)|count('v').as('n')",
    lambda p: "|window().period(5s)|percentile('v', 60.0).as('v')",
    lambda p: f"|window().period(6s).every(3s)|where(lambda: {p})|last('v').as('v')",
    lambda p: f"|alert().crit(lambda: {p}).stateChangesOnly().log('inner')",
]


@st.composite
def pipelines(draw: st.DrawFn) -> str:
    """A script of one to four branches from one `from`."""
    lines = [
        "var src = stream|from().measurement('m')" + draw(st.sampled_from(["", ".groupBy('host')", ".groupBy(*)"]))
    ]
    for i in range(draw(st.integers(1, 3))):
        steps = draw(st.lists(st.tuples(st.sampled_from(STREAM), predicates), min_size=1, max_size=4))
        made = [make(p) for make, p in steps]  # alerts of all branches write to one log
        chain = "".join(
            m for m, before in zip(made, ["", *made]) if not m == before == SHIFT
        )  # which Kapacitor refuses
        more = draw(st.sampled_from([f"|httpOut('out{i}')", "|httpOut('out')"]))
        lines.append(f"src{chain}{more}|influxDBOut().database('{draw(st.sampled_from(['d', f'd{i}']))}')")
    return "\n".join(lines)


point = st.tuples(
    st.integers(-2, 4),
    st.sampled_from("abc"),
    st.sampled_from(["x", "y", None]),
    st.one_of(
        st.none(), st.sampled_from([0.5, 1.0, 2.5, 3.0, 7.25]), st.sampled_from([float("nan")]), st.integers(0, 5)
    ),
    st.integers(0, 4),
    st.sampled_from(["x", "yx", None]),
)


def rows_of(points: list[Any]) -> Rows:
    steps, host, dc, v, n, s = zip(*points)
    size = len(points)
    return Rows(
        1_600_000_000 * SECOND + np.cumsum(np.array(steps, np.int64)) * SECOND,
        *(Text.constant(text, size) for text in ("m", "telegraf", "autogen")),
        {"host": Text.of(host), "dc": Text.of(dc)},
        {"v": Column.of_values(v), "n": Column.of_values(n), "s": Column.of_values(s)},
    )


def in_pieces(task: Task, rows: Rows, cuts: list[int], workers: int = 1) -> dict[str, Any]:
    edges = sorted({0, len(rows), *(c % (len(rows) + 1) for c in cuts)})
    return task.replay([rows.take(slice(a, b)) for a, b in itertools.pairwise(edges)], workers=workers).to_json()


def restored(task: Task, rows: Rows, cut: int) -> dict[str, Any]:
    results, first, second = Results(task.name), task.build(), task.build()
    for output in first.run([rows.take(slice(0, cut))], last=False):
        results.add(output)
    second.restore(decode(encode(first.snapshot())))
    for output in second.run([rows.take(slice(cut, None))]):
        results.add(output)
    return results.to_json()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=pipelines(),
    points=st.lists(point, min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    cut=st.integers(0, 40),
)
def test_any_way_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, script: str, points: list[Any], cuts: list[int], cut: int
) -> None:
    monkeypatch.setattr(Loop, "WORTH", 0)
    rows = rows_of(points)
    plain, optimised = tickc.compile(script, without=None), tickc.compile(script)
    expected = plain.replay([rows]).to_json()
    assert optimised.replay([rows]).to_json() == expected
    assert in_pieces(optimised, rows, cuts) == expected
    assert in_pieces(plain, rows, list(range(len(rows)))) == expected
    assert in_pieces(plain, rows, list(range(len(rows))), workers=2 + len(rows) % 3) == expected
    assert restored(optimised, rows, cut % (len(rows) + 1)) == expected


@st.composite
def inhibitions(draw: st.DrawFn) -> str:
    """Alerts in chains beside each other that inhibit each other's categories, with ids that several groups share."""
    some = st.sampled_from
    dimensions = draw(some(["'host', 'dc'", "'host'", "*"]))
    lines = [f"var src = stream|from().measurement('m').groupBy({dimensions})"]
    for i in range(draw(st.integers(1, 4))):
        above = draw(some(["src", *(f"a{k}" for k in range(i))]))
        steps = [f"|alert().crit(lambda: {draw(predicates)}).warn(lambda: {draw(predicates)}).log('log{i}')"]
        steps.append(draw(some(["", ".id('{{ index .Tags \"host\" }}')", ".id('x')", ".id('{{ .Name }}')"])))
        steps.append(draw(some(["", ".stateChangesOnly()", ".stateChangesOnly(3s)", ".noRecoveries()"])))
        steps.append(draw(some(["", ".topic('t')", ".topic('u')"])) + draw(some(["", ".levelField('l')"])))
        steps.append(draw(some(["", ".category('a')", ".category('b')"])))
        steps.append(draw(some(["", "", ".message('{{ slice (index .Tags \"dc\") 1 }}')"])))  # fails without a dc
        steps.append(draw(some(["", ".inhibit('a')", ".inhibit('b', 'dc')", ".inhibit('a').inhibit('b', 'host')"])))
        lines.append(f"var a{i} = {above}{''.join(steps)}")
        lines.append(f"a{i}|httpOut('a{i}')|groupBy('host')|window().period(3s).every(3s)|count('v')|httpOut('c{i}')")
    if draw(st.booleans()):
        lines.append("a0|union(src)|httpOut('u')|alert().crit(lambda: count() > 3).log('end').inhibit('a')")
    return "\n".join(lines)


@settings(max_examples=60, deadline=None)
@given(script=inhibitions(), points=st.lists(point, min_size=1, max_size=40), cuts=st.lists(st.integers(0, 40)))
def test_what_is_inhibited_hangs_on_points_alone(script: str, points: list[Any], cuts: list[int]) -> None:
    rows, task = rows_of(points), tickc.compile(script)
    expected = in_pieces(task, rows, list(range(len(rows))))
    assert in_pieces(task, rows, []) == expected
    assert in_pieces(task, rows, cuts) == expected
    assert in_pieces(task, rows, cuts, workers=3) == expected
    if "runtime_error" not in expected:
        assert restored(task, rows, len(cuts) % (len(rows) + 1)) == expected


FAILING = [
    "|alert().crit(lambda: TRUE).message('{{ slice (index .Tags \"dc\") 1 }}').log('failing')",
    "|alert().crit(lambda: \"n\" > 1).id('{{ slice (index .Tags \"dc\") 1 }}').log('failing')",
    "|alert().warn(lambda: \"v\" > 2.0).details('{{ slice .ID (index .Fields \"n\") }}').id('abc').log('failing')",
    "|combine(lambda: TRUE, lambda: \"n\" > 0).as('a', 'b').max(3)|httpOut('combined')",
]


@settings(max_examples=60, deadline=None)
@given(
    pipeline=pipelines(),
    failing=st.lists(st.sampled_from(FAILING), min_size=1, max_size=2),
    points=st.lists(point, min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40)),
)
def test_what_a_failing_task_leaves_hangs_on_points_alone(
    pipeline: str, failing: list[str], points: list[Any], cuts: list[int]
) -> None:
    start, *rest = pipeline.split("\n")
    script = "\n".join([start, *(f"src|httpOut('before{i}'){f}" for i, f in enumerate(failing)), *rest])
    rows, task = rows_of(points), tickc.compile(script)
    expected = in_pieces(task, rows, list(range(len(rows))))
    assert in_pieces(task, rows, []) == expected
    assert in_pieces(task, rows, cuts) == expected
    assert in_pieces(task, rows, cuts, workers=3) == expected
