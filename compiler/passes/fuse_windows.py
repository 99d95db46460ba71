"""Fold an aggregate into the window that feeds it.

    window().period(1m).every(1m) | mean('v')   ->   one accumulator a group, no window

Right where windows do not overlap (0 < period <= every), so that each point is in at most one batch, and for aggregates
whose result is a fold over the values in order of arrival: count, sum, mean, spread. The fold keeps the indices of
Kapacitor's ring buffer, which decides what is left of late points (see runtime/nodes/fold.py). Only when all readers
of the window fold; else the window has to be kept anyway. Not where barriers reach the window, which end it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tickc.compiler.diagnostics import Span
from tickc.compiler.ir import Memory, Op, Plan, Wanted, setting
from tickc.compiler.nodes.influxql import InfluxQLOp
from tickc.compiler.nodes.window import TimeWindowOp, of_windows

FOLDS = frozenset({"count", "sum", "mean", "spread"})


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowFoldOp(Op):
    """A window by time and an aggregate over it in one pass."""

    operator: ClassVar[str] = "WindowFold"

    function: str
    field: str
    as_name: str
    period: int
    every: int
    align: bool = setting(False)
    fill_period: bool = setting(False)
    point_times: bool = setting(False)

    @property
    def remembers(self) -> Memory:
        return of_windows(self.period, self.every, self.align)

    def needs(self, wanted: Wanted) -> Wanted:
        return Wanted(fields=frozenset({self.field}))


def fuse_windows(plan: Plan) -> Plan:
    """The plan with each window and its aggregates as folds, where that is exact."""
    folded = {id(op) for op in plan if isinstance(op, TimeWindowOp) and _folds(plan, op)}
    if not folded:
        return plan
    new: dict[int, Op] = {}
    ops: list[Op] = []
    for op in plan:
        if id(op) in folded:
            continue
        if op.inputs and id(op.inputs[0]) in folded:
            window = op.inputs[0]
            assert isinstance(window, TimeWindowOp) and isinstance(op, InfluxQLOp)
            current: Op = _fold(window, op, new[id(window.inputs[0])])
        else:
            current = op.with_inputs(*(new[id(i)] for i in op.inputs))
        ops.append(current)
        new[id(op)] = current
    return Plan(tuple(ops))


def _folds(plan: Plan, window: TimeWindowOp) -> bool:
    readers = plan.children(window)
    return (
        0 < window.period <= window.every
        and not plan.marked(window)
        and bool(readers)
        and all(isinstance(r, InfluxQLOp) and r.function in FOLDS for r in readers)
    )


def _fold(window: TimeWindowOp, aggregate: InfluxQLOp, parent: Op) -> WindowFoldOp:
    return WindowFoldOp(
        name=f"{window.name}_{aggregate.name}",
        inputs=(parent,),
        span=joined(window.span, aggregate.span),
        function=aggregate.function,
        field=aggregate.field,
        as_name=aggregate.as_name,
        period=window.period,
        every=window.every,
        align=window.align,
        fill_period=window.fill_period,
        point_times=aggregate.point_times,
    )


def joined(a: Span | None, b: Span | None) -> Span | None:
    """The part of the script from the first to the last of both."""
    if a is None or b is None:
        return a or b
    return Span(min(a.start, b.start), max(a.stop, b.stop))
