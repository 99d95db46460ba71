"""Kernels give the same interpreted and compiled: whatever an operator calls runs both ways on copies of its arrays."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from streams import SECOND, points, segments

from tickc.runtime.expr import call, ref
from tickc.runtime.kernel import Kernel
from tickc.runtime.nodes.alert import Alert
from tickc.runtime.nodes.rows import Sample
from tickc.runtime.nodes.sequence import ChangeDetect, Derivative, StateCount, StateDuration

V, W = ref("v"), ref("w")
OPERATORS = [
    lambda: Derivative(name="d", field="v", unit=7, non_negative=True),
    lambda: StateCount(name="s", predicate=V > 1),
    lambda: StateDuration(name="s", predicate=V > 1, unit=7),
    lambda: ChangeDetect(name="c", fields=("v", "w")),
    lambda: Sample(name="s", count=3),
    lambda: Alert(name="a", info=V > 1, info_reset=V < 1, warn=V > 2, crit=V > 3, crit_reset=V < 2, logs=("x",),
                  state_changes_only=True, state_changes_duration=3 * SECOND, flapping=(0.1, 0.3), history=4),
    lambda: Alert(name="a", warn=call("count") % 2 == 0, crit=V > 3, id="one", logs=("x",), all=True),
]  # fmt: skip
VALUES = [0, 1, 2.0, 3, 4, math.nan, -0.0, "x", None, True]


def both_ways(kernel: Kernel[Any, Any], *args: Any) -> Any:
    """Call a kernel as machine code, and check that plain Python does the same to copies of its arguments."""
    mine = copy.deepcopy(args)
    with np.errstate(all="ignore"):
        expected = kernel.interpreted()(*mine)
    found = kernel.machine()(*args)
    assert found == expected
    for a, b in zip(args, mine):
        if isinstance(a, np.ndarray):
            assert a.tobytes() == b.tobytes()
    return found


@pytest.mark.parametrize("make", OPERATORS)
def test_both_ways(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "__call__", both_ways)
    chance = np.random.default_rng(5)
    given: list[Any] = []
    for t in range(300):
        fields = {name: VALUES[chance.integers(len(VALUES))] for name in ("v", "w")}
        given.append((t // 3, {"host": "abc"[chance.integers(3)]}, {k: f for k, f in fields.items() if f is not None}))
    list(make().process(points(given)))
    list(make().process(segments([(t + 9, {"host": "a"}, given[t : t + 9]) for t in range(0, 300, 9)])))
