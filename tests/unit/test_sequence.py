"""derivative, stateCount, stateDuration, changeDetect: Kapacitor's traces, and plain twins on random input."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import SECOND, cut, fed, moved, points, segments, shared

from tickc.runtime.expr import call, ref
from tickc.runtime.nodes.sequence import ChangeDetect, Derivative, StateCount, StateDuration

V = ref("v")


def stream(values: list[Any], times: list[float] | None = None) -> Any:
    given = [(t, {"host": "a"}, {} if v is None else {"v": v}) for t, v in zip(times or range(len(values)), values)]
    return points(given)


def column(out: list[Any], name: str) -> list[Any]:
    return [(entry[0], entry[2][name]) for entry in out]


def test_derivative_traces() -> None:
    assert column(fed(Derivative(name="d", field="v", as_name="dv", unit=60 * SECOND), [stream([0, 1])]), "dv") == [
        (1, 60.0)
    ]
    node = Derivative(name="d", field="v")
    assert column(fed(node, [stream([3, 5, 4, 10], [0, 2, 2, 3])]), "v") == [(2, 1.0), (3, 6.0)]
    assert node.errors == {"elapsed time was 0": 1}


def test_derivative_keeps_previous_over_what_is_no_number() -> None:
    node = Derivative(name="d", field="v", as_name="dv")
    out = fed(node, [stream([1, "x", None, True, 4.0])])
    assert column(out, "dv") == [(4, 0.75)]
    assert out[0][2]["v"] == 4.0
    assert node.errors == {"field is the wrong type": 3}


def test_derivative_non_negative_drops_a_fall_but_compares_with_it() -> None:
    assert column(fed(Derivative(name="d", field="v", non_negative=True), [stream([5, 2, 3])]), "v") == [(2, 1.0)]


def test_state_traces() -> None:
    values = stream([0, 1, 2, 3])
    assert [v for _, v in column(fed(StateCount(name="s", predicate=V > 1), [values]), "state_count")] == [-1, -1, 1, 2]
    node = StateDuration(name="s", predicate=V > 1, unit=60 * SECOND)
    assert [v for _, v in column(fed(node, [values]), "state_duration")] == [-1.0, -1.0, 0.0, 0.016666666666666666]


def test_state_drops_errors_and_keeps_the_count() -> None:
    node = StateCount(name="s", predicate=V > 1)
    assert column(fed(node, [stream([2, None, 2])]), "state_count") == [(0, 1), (2, 2)]
    assert node.errors == {"error while evaluating expression": 1}


def test_function_state_of_a_predicate_lasts_over_batches() -> None:
    node = StateCount(name="s", predicate=call("count") > 2)
    first: list[Any] = [(0, {}, {"v": 1}), (1, {}, {"v": 1})]
    second: list[Any] = [(2, {}, {"v": 1})]
    batch = segments([(2, {"host": "a"}, first), (4, {"host": "a"}, second)])
    assert [[p[2]["state_count"] for p in b[3]] for b in fed(node, [batch])] == [[-1, -1], [1]]


def test_change_detect_trace() -> None:
    node = ChangeDetect(name="c", fields=("v",))
    assert column(fed(node, [stream([1, 1, 1.0, None, 1.0, 2.0])]), "v") == [(0, 1), (2, 1.0), (5, 2.0)]
    assert node.errors == {"expected field v not found": 1}


def test_change_detect_compares_as_go_does() -> None:
    nan = math.nan
    out = fed(ChangeDetect(name="c", fields=("v",)), [stream([0.0, -0.0, nan, nan, "a", "a", "b", True, True, False])])
    assert [t for t, *_ in out] == [0, 2, 3, 4, 6, 7, 9]


def test_change_detect_of_a_row_without_any_field() -> None:
    assert fed(ChangeDetect(name="c", fields=("v", "w")), [stream([None, None])]) == []


def twin_derivative(rows: list[Any], unit: float, non_negative: bool) -> list[Any]:
    """derivative.go, point by point: (seconds, value) of what comes out."""
    before: dict[str, Any] = {}
    out = []
    for t, tags, fields in rows:
        value = fields.get("v")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        last = before.get(tags["host"])
        before[tags["host"]] = (t, float(value))
        if last is None or t == last[0] or (non_negative and float(value) - last[1] < 0):
            continue
        out.append((t, (float(value) - last[1]) / ((t - last[0]) * SECOND / unit)))
    return out


def twin_changes(rows: list[Any], names: tuple[str, ...]) -> list[float]:
    """change_detect.go, point by point: the times of what comes out."""
    before: dict[str, dict[str, Any]] = {}
    out = []
    for t, tags, fields in rows:
        last = before.get(tags["host"], {})
        changed = any(n in fields and (type(last.get(n)), last.get(n)) != (type(fields[n]), fields[n]) for n in names)
        if changed:
            before[tags["host"]] = fields
            out.append(t)
    return out


def twin_states(rows: list[Any]) -> list[Any]:
    """state_tracking.go for `v > 1`: (count, seconds) of what comes out."""
    counts: dict[str, int] = {}
    starts: dict[str, float | None] = {}
    out = []
    for t, tags, fields in rows:
        host, value = tags["host"], fields.get("v")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        counts[host] = counts.get(host, 0) + 1 if value > 1 else 0
        starts[host] = (starts.get(host) if starts.get(host) is not None else t) if value > 1 else None
        out.append((counts[host] or -1, t - (starts[host] or 0) if value > 1 else -1.0))
    return out


VALUES = st.sampled_from([0, 1, 2, 3, -1, 0.5, 1.0, 2.0, "x", "y", True, None])
ROWS = st.lists(
    st.tuples(
        st.integers(0, 6).map(float),
        st.sampled_from([{"host": "a"}, {"host": "b"}]),
        st.dictionaries(st.sampled_from(["v", "w"]), VALUES.filter(lambda v: v is not None)),
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(ROWS, st.lists(st.integers(0, 30)), st.booleans())
def test_derivative_twin(given_rows: list[Any], edges: list[int], non_negative: bool) -> None:
    node = Derivative(name="d", field="v", as_name="dv", unit=7 * SECOND, non_negative=non_negative)
    out = fed(node, cut(points(given_rows), edges))
    assert column(out, "dv") == twin_derivative(given_rows, 7 * SECOND, non_negative)


@settings(deadline=None)
@given(ROWS, st.lists(st.integers(0, 30)))
def test_change_detect_twin(given_rows: list[Any], edges: list[int]) -> None:
    out = fed(ChangeDetect(name="c", fields=("v", "w")), cut(points(given_rows), edges))
    assert [t for t, *_ in out] == twin_changes(given_rows, ("v", "w"))


@settings(deadline=None)
@given(ROWS, st.lists(st.integers(0, 30)))
def test_state_twins(given_rows: list[Any], edges: list[int]) -> None:
    parts = cut(points(given_rows), edges)
    counts = fed(StateCount(name="s", predicate=V > 1), parts)
    durations = fed(StateDuration(name="s", predicate=V > 1), parts)
    found = [(c[2]["state_count"], d[2]["state_duration"]) for c, d in zip(counts, durations)]
    assert found == twin_states(given_rows)


MAKERS = [
    lambda: Derivative(name="d", field="v"),
    lambda: StateCount(name="s", predicate=(V > 1) & (call("count") > 2)),
    lambda: StateDuration(name="s", predicate=V > 1),
    lambda: ChangeDetect(name="c", fields=("v", "w")),
]


@pytest.mark.parametrize("make", MAKERS)
@settings(deadline=None)
@given(given_rows=ROWS, edge=st.integers(0, 30))
def test_snapshot(make: Any, given_rows: list[Any], edge: int) -> None:
    whole = points(given_rows)
    first, *rest = cut(whole, [edge])
    old = make()
    out = fed(old, [first])
    assert out + fed(moved(old, make()), rest) == fed(make(), [whole])


@pytest.mark.parametrize("make", MAKERS)
@settings(deadline=None)
@given(given_rows=ROWS, edges=st.lists(st.integers(0, 30)))
def test_batches_start_anew(make: Any, given_rows: list[Any], edges: list[int]) -> None:
    """A batch gives what a fresh group gives (the predicates' function state apart), however batches come."""
    bounds = sorted({0, len(given_rows), *(e for e in edges if e <= len(given_rows))})
    batches: list[Any] = [(9, {"host": "a"}, [(t, {}, f) for t, _, f in given_rows[a:b]]) for a, b in pairwise(bounds)]
    whole = segments(batches)
    out = fed(make(), [whole])
    assert out == fed(make(), [shared(whole)]) == fed(make(), cut(whole, range(len(batches))))
    if not isinstance(make(), StateCount):
        alone = [fed(make(), [points([(t, {"host": "a"}, f) for t, _, f in b[2]])]) for b in batches]
        assert [[(p[0], p[2]) for p in b[3]] for b in out] == [[(p[0], p[2]) for p in b] for b in alone]
