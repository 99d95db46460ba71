"""A window folded with its aggregate gives what the window and the aggregate give, whatever comes in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tickc
from tickc.runtime.batch import Column, Groups, Points, Rows, Text
from tickc.runtime.graph import Graph, Operator
from tickc.runtime.nodes.fold import FUNCTIONS, WindowFold
from tickc.runtime.nodes.influxql import InfluxQL
from tickc.runtime.nodes.window import TimeWindow

values = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 1e300]),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([1, 2, 3, True, "x", "y"]),
)
numbers = st.floats(-100, 100)
point = st.tuples(st.integers(0, 12), st.integers(-25, 25), st.integers(0, 1))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], list[int], list[Any]]:
    """Times (late points among them), group codes and values."""
    points = draw(st.lists(point, min_size=1, max_size=60))
    late = draw(st.booleans())
    kind = draw(st.sampled_from([values, numbers, st.integers(-5, 5), st.one_of(numbers, st.integers(0, 3))]))
    clock, times = 0, []
    for step, jitter, _ in points:
        clock += step
        times.append(clock + (jitter if late else 0))
    return times, [g for _, _, g in points], draw(st.lists(kind, min_size=len(points), max_size=len(points)))


def batch(times: Sequence[int], group: Sequence[int], column: Sequence[Any], groups: Groups, first: int) -> Points:
    n = len(times)
    empty = Text.constant("", n)
    rows = Rows(np.array(times, np.int64), Text.constant("m", n), empty, empty, {}, {"v": Column.of_values(column)})
    return Points(rows, np.array(group, np.int32), groups, np.arange(first, first + n))


def run(
    operators: Sequence[Operator], stream: tuple[list[int], list[int], list[Any]], cuts: Sequence[int]
) -> list[Any]:
    times, group, column = stream
    groups = Groups()
    for host in ("a", "b"):
        groups.code("m", False, {"host": host})
    graph = Graph()
    entry = graph.add(Operator(name="entry"))
    last = entry
    for op in operators:
        last = graph.add(op, last)
    found = []
    original = last.process

    def note(piece: Any) -> Any:
        for out in original(piece):
            found.extend(
                (int(out.seq[i]), int(out.group[i]), int(out.rows.time[i]), repr(out.rows.fields["r"].at(i)))
                for i in range(len(out))
            )
            yield out

    last.process = note  # type: ignore[method-assign]
    for a, b in itertools.pairwise(sorted({0, len(times), *(c % (len(times) + 1) for c in cuts)})):
        list(graph.push({0: [batch(times[a:b], group[a:b], column[a:b], groups, a)]}))
    return found


@settings(max_examples=400, deadline=None)
@given(
    stream=streams(),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    function=st.sampled_from(sorted(FUNCTIONS)),
    period=st.sampled_from([3, 5, 10]),
    pause=st.sampled_from([0, 0, 2, 7]),
    align=st.booleans(),
    fill=st.booleans(),
)
def test_fold_is_window_and_aggregate(
    stream: Any, cuts: list[int], function: str, period: int, pause: int, align: bool, fill: bool
) -> None:
    window: dict[str, Any] = {"period": period, "every": period + pause, "align": align, "fill_period": fill}
    aggregate = {"function": function, "field": "v", "as_name": "r"}
    parts = [TimeWindow(name="window1", **window), InfluxQL(name="f2", **aggregate)]
    expected = run(parts, stream, [])
    assert run([WindowFold(name="window1_f2", **window, **aggregate)], stream, cuts) == expected


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.lists(numbers, min_size=1, max_size=9) | st.lists(st.integers(-5, 5), min_size=1, max_size=9)),
    function=st.sampled_from(sorted(FUNCTIONS)),
)
def test_batches_of_one_kind_each(pieces: list[list[Any]], function: str) -> None:
    column = list(itertools.chain([0.0], *pieces))
    stream = list(range(len(column))), [0] * len(column), column
    cuts = np.cumsum([1, *map(len, pieces)]).tolist()
    window: dict[str, Any] = {"period": 10, "every": 10}
    aggregate = {"function": function, "field": "v", "as_name": "r"}
    parts = [TimeWindow(name="window1", **window), InfluxQL(name="f2", **aggregate)]
    assert run([WindowFold(name="window1_f2", **window, **aggregate)], stream, cuts) == run(parts, stream, [])


JOINED = """var w = stream|from().groupBy('host')|window().period(5ns).every({every}ns){more}
w|{one}('v')|join(w|{two}('u')).as('a', 'b')|influxDBOut()"""


@settings(max_examples=150, deadline=None)
@given(
    stream=streams(),
    others=st.lists(values, min_size=60, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    functions=st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.sampled_from(sorted(FUNCTIONS))),
    every=st.sampled_from([5, 7]),
    more=st.sampled_from(["", ".align()", ".fillPeriod()"]),
)
def test_joined_folds_are_a_join_of_folds(
    stream: Any, others: list[Any], cuts: list[int], functions: tuple[str, str], every: int, more: str
) -> None:
    script = JOINED.format(every=every, more=more, one=functions[0], two=functions[1]).replace("ns", "u")
    times, group, column = stream
    n = len(times)
    rows = Rows(
        np.array(times, np.int64) * 1_000,
        *(Text.constant(text, n) for text in ("m", "d", "r")),
        {"host": Text.of("ab"[g] for g in group)},
        {"v": Column.of_values(column), "u": Column.of_values(others[:n])},
    )
    edges = sorted({0, n, *(c % (n + 1) for c in cuts)})
    pieces = [rows.take(slice(a, b)) for a, b in itertools.pairwise(edges)]
    fused, joined = tickc.compile(script), tickc.compile(script, without=["fuse_joins"])
    assert "JoinedFolds(" in fused.source
    assert "Join(" in joined.source
    assert fused.replay(pieces).text() == joined.replay([rows]).text()
