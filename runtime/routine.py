"""Routines: kernels too large to be copied into their callers.

A `@kernel` that other kernels call is inlined into them; that suits a few lines but makes compilation explode where
large functions call large ones (mathematics, sorting). A `@routine` is compiled once for all of them, and called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tickc.runtime.kernel import Kernel

P = ParamSpec("P")
R = TypeVar("R")


class Routine(Kernel[P, R]):
    """A kernel that its callers call."""

    def _inlined(self) -> Callable[P, R]:
        return self._callee()


def routine(function: Callable[P, R]) -> Routine[P, R]:
    """Mark `function` as a routine; see the module's docstring."""
    return Routine(function)


def bare_routine(function: Callable[P, R]) -> Routine[P, R]:
    """Mark `function` as a routine that allocates nothing."""
    return Routine(function, bare=True)
