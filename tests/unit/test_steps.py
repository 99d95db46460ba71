"""Work in steps: made one after the other or side by side, the same comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tickc.runtime.steps import Steps, in_step, in_turn


def counted(log: list[tuple[str, int]], name: str, n: int) -> Steps:
    """Notes the squares that others work out."""
    yield None
    for i in range(n):
        log.append((name, (yield partial(pow, i, 2))()))
        yield None


def failing(log: list[tuple[str, int]]) -> Steps:
    """Gets what its work raised, and goes on."""
    try:
        (yield lambda: 1 // 0)()
    except ZeroDivisionError:
        log.append(("failed", (yield lambda: 7)()))


@pytest.mark.parametrize("make", [lambda many: [in_turn(steps) for steps in many], in_step])
def test_work_is_done_where_it_is_asked_for(make: Callable[..., object]) -> None:
    log: list[tuple[str, int]] = []
    make([counted(log, "a", 3), failing(log), counted(log, "b", 1), counted(log, "c", 0)])
    assert sorted(log) == [("a", 0), ("a", 1), ("a", 4), ("b", 0), ("failed", 7)]


def test_steps_are_made_for_all_and_work_by_several_threads() -> None:
    log: list[tuple[str, int]] = []
    together = threading.Barrier(2, timeout=10)  # which two threads have to reach

    def meeting() -> Steps:
        log.append(("met", (yield together.wait)()))

    with ThreadPoolExecutor(2) as pool:
        in_step([counted(log, "a", 2), counted(log, "b", 2)], 2, pool.map)
        assert log == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
        log.clear()
        in_step([meeting(), meeting()], 2, pool.map)
    assert sorted(log) == [("met", 0), ("met", 1)]


def test_what_steps_raise_is_raised() -> None:
    def broken() -> Steps:
        yield None
        (yield lambda: 1 // 0)()

    for make in (in_turn, lambda steps: in_step([steps])):
        with pytest.raises(ZeroDivisionError):
            make(broken())
