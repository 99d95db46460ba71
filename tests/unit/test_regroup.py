"""groupBy on a batch edge, against a plain twin of Kapacitor's group_by.go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import cut, moved, plain, segments, shared

from tickc.runtime.gosort import sort_by_int
from tickc.runtime.nodes.group import GroupBy

A, B = {"host": "a"}, {"host": "b"}


def split(dims: Sequence[str], batches: list[Any], *edges: int, **how: Any) -> list[Any]:
    """What comes out for batches, cut at `edges` into several record batches."""
    node = GroupBy(name="g", dims=dims, **how)
    return [entry for part in cut(segments(batches), edges) for out in node.process(part) for entry in plain(out)]


def test_trace() -> None:
    """Batches of tmax 10, 10, 20, 30: those of 10 are merged, then that of 20 comes, that of 30 never."""
    given_batches = [
        (10, A, [(1, {"r": "x"}, {"v": 1}), (2, {"r": "y"}, {"v": 2})]),
        (10, B, [(0, {"r": "x"}, {"v": 3})]),
        (20, A, [(11, {"r": "y"}, {"v": 4})]),
        (30, A, [(21, {"r": "x"}, {"v": 5})]),
    ]
    expected = [
        (10, "r=x", {"r": "x"}, [(0, {"host": "b", "r": "x"}, {"v": 3}), (1, {"host": "a", "r": "x"}, {"v": 1})]),
        (10, "r=y", {"r": "y"}, [(2, {"host": "a", "r": "y"}, {"v": 2})]),
        (20, "r=y", {"r": "y"}, [(11, {"host": "a", "r": "y"}, {"v": 4})]),
    ]
    assert split(("r",), given_batches) == expected
    assert split(("r",), given_batches, 1, 2, 3) == expected


def test_empty_batches_end_a_time() -> None:
    batches: list[Any] = [(10, A, [(1, {}, {"v": 1})]), (20, A, []), (30, A, [])]
    assert split((), batches) == [(10, "", {}, [(1, A, {"v": 1})])]


def test_by_measurement_and_all_tags() -> None:
    batches: list[Any] = [(10, A, [(1, {"r": ""}, {"v": 1}), (2, {}, {"v": 2})]), (20, A, [])]
    out = split("*", batches, exclude=("host",), by_measurement=True)
    assert [(b[1], b[2]) for b in out] == [("m\nr=", {"r": ""}), ("m", {})]


def test_a_time_that_returns_is_another_time() -> None:
    batches: list[Any] = [
        (10, A, [(1, {}, {"v": 1})]),
        (20, A, [(2, {}, {"v": 2})]),
        (10, A, [(3, {}, {"v": 3})]),
        (20, A, []),
    ]
    assert [(b[0], [p[2]["v"] for p in b[3]]) for b in split(("host",), batches)] == [(10, [1]), (20, [2]), (10, [3])]


def twin(batches: list[Any]) -> list[Any]:
    """group_by.go by `r`, batch by batch; equal times as sort.Sort leaves them."""
    out: list[Any] = []
    last: float | None = None
    groups: dict[str, tuple[float, list[Any]]] = {}
    for tmax, tags, given_points in batches:
        if tmax != last:
            last = tmax
            for gid, (when, found) in groups.items():
                times = np.array([int(p[0]) for p in found], np.int64)
                order = np.arange(len(found))
                sort_by_int(times, order, 0, len(found))
                out.append((when, f"r={gid}", {"r": gid}, [found[i] for i in order]))
            groups = {}
        for t, own, fields in given_points:
            groups.setdefault(own.get("r", ""), (tmax, []))[1].append((t, {**tags, **own}, fields))
    return out


POINTS = st.lists(
    st.tuples(
        st.integers(0, 5).map(float),
        st.sampled_from([{}, {"r": "x"}, {"r": "y"}]),
        st.fixed_dictionaries({"v": st.integers(0, 1000)}),
    ),
    max_size=25,
)
BATCHES = st.lists(
    st.tuples(st.sampled_from([10.0, 10.0, 20.0, 30.0]), st.sampled_from([A, B]), POINTS), min_size=1, max_size=8
)


@settings(deadline=None)
@given(BATCHES, st.lists(st.integers(0, 8)), st.integers(0, 8))
def test_twin(batches: list[Any], edges: list[int], restart: int) -> None:
    expected = twin(batches)
    assert split(("r",), batches) == expected
    assert split(("r",), batches, *edges) == expected
    whole = segments(batches)
    assert [e for out in GroupBy(name="g", dims=("r",)).process(shared(whole)) for e in plain(out)] == expected
    first, *rest = cut(whole, [restart])
    old = GroupBy(name="g", dims=("r",))
    out = [e for b in old.process(first) for e in plain(b)]
    new = moved(old, GroupBy(name="g", dims=("r",)))
    assert out + [e for part in rest for b in new.process(part) for e in plain(b)] == expected
