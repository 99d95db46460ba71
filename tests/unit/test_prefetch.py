"""Asking for memory ahead changes nothing but the machine code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streams import SECOND, points

from tickc.runtime import prefetch as prefetching
from tickc.runtime.graph import Operator
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.nodes.fold import WindowFold
from tickc.runtime.prefetch import AHEAD, prefetch, rows_ahead


@bare_kernel
def add(group, values, state, ahead):  # type: ignore[no-untyped-def]
    """state[group[i]] += values[i]"""
    for i in range(group.size):
        if ahead is not None:
            prefetch(state, group[min(i + ahead, group.size - 1)], 0)
        state[group[i]] += values[i]


@pytest.mark.parametrize("ahead", [None, 1, AHEAD])
def test_a_kernel_that_looks_ahead_gives_the_same(ahead: int | None) -> None:
    chance = np.random.default_rng(1)
    group, values = chance.integers(0, 50, 200).astype(np.int32), chance.random(200)
    expected = np.zeros(50)
    np.add.at(expected, group, values)
    for run in (add.interpreted(), add.machine()):
        state = np.zeros(50)
        run(group, values, state, ahead)
        assert state.tolist() == expected.tolist()


def test_only_a_kernel_that_looks_ahead_has_the_instruction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKC_CACHE", str(tmp_path))  # of code that comes from there nothing can be seen
    machine = bare_kernel(add.function).machine()
    for ahead in (None, AHEAD):
        machine(np.zeros(1, np.int32), np.zeros(1), np.zeros(1), ahead)
    for types, text in machine.inspect_llvm().items():  # type: ignore[attr-defined]
        assert ("llvm.prefetch" in text) == (str(types[3]) != "none")


def test_states_that_are_in_a_cache_are_not_asked_for() -> None:
    assert rows_ahead(np.zeros((100, 40))) is None
    assert rows_ahead(np.zeros((10_000, 40))) == AHEAD


def fold() -> Operator:
    return WindowFold(name="w", function="mean", field="v", as_name="mean", period=10 * SECOND, every=10 * SECOND)


def test_folding_ahead_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [(t // 3, {"host": "abc"[t % 3]}, {"v": float(t) if t < 60 else t}) for t in range(120)]

    def means() -> list[tuple[int, float]]:
        found = []
        op = fold()
        for part in (given[:70], given[70:]):
            for out in op.process(points(part)):
                found += zip(out.rows.time.tolist(), out.rows.fields["mean"].data.popitem()[1].tolist())
        return found

    expected = means()
    assert len(expected) > 6
    monkeypatch.setattr(prefetching, "CACHE", 0)
    assert means() == expected
