"""The optimiser: passes from plan to plan, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable

from tickc.compiler.ir import Plan

PASSES: tuple[tuple[str, Callable[[Plan], Plan]], ...] = ()
