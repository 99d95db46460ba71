"""Fold aggregates of the same window that are joined in one pass.

    w | mean('a')   joined with   w | mean('b')   ->   one fold with two accumulators a group, no join

Right for an inner join without `on` and tolerance whose inputs are folds of one window of one input and have no other
reader: both emit at the same rows with the same times, each time once a group, so the sets of the join are the windows
for which all aggregates have a result, and each is complete at the row that ends its window. With a fill, or with point
times, that does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tickc.compiler.ir import Memory, Op, Plan, Wanted, setting
from tickc.compiler.nodes.join import JoinOp
from tickc.compiler.nodes.window import of_windows
from tickc.compiler.passes.fuse_windows import WindowFoldOp, joined

_WINDOW = ("period", "every", "align", "fill_period")


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedFoldsOp(Op):
    """A window by time and several aggregates over it. aggregates: (function, field, name of the result)."""

    operator: ClassVar[str] = "JoinedFolds"

    aggregates: tuple[tuple[str, str, str], ...]
    period: int
    every: int
    align: bool = setting(False)
    fill_period: bool = setting(False)
    stream_name: str = setting("")

    @property
    def remembers(self) -> Memory:
        return of_windows(self.period, self.every, self.align)

    def needs(self, wanted: Wanted) -> Wanted:
        return Wanted(fields=frozenset(field for _, field, _ in self.aggregates))


def fuse_joins(plan: Plan) -> Plan:
    """The plan with each join of folds of one window as one fold."""
    gone = {id(fold) for op in plan if _fuses(plan, op) for fold in op.inputs}
    if not gone:
        return plan
    new: dict[int, Op] = {}
    ops: list[Op] = []
    for op in plan:
        if id(op) in gone:
            continue
        if op.inputs and id(op.inputs[0]) in gone:
            assert isinstance(op, JoinOp)
            current: Op = _fused(op, new[id(op.inputs[0].inputs[0])])
        else:
            current = op.with_inputs(*(new[id(i)] for i in op.inputs))
        ops.append(current)
        new[id(op)] = current
    return Plan(tuple(ops))


def _fuses(plan: Plan, op: Op) -> bool:
    if not isinstance(op, JoinOp) or op.on or op.tolerance or op.fill not in (None, "none"):
        return False
    folds = [i for i in op.inputs if isinstance(i, WindowFoldOp) and not i.point_times]
    first = folds[0] if folds else None
    return (
        first is not None
        and len(folds) == len(op.inputs) == len({id(f) for f in folds})
        and all(
            f.inputs[0] is first.inputs[0]
            and all(getattr(f, name) == getattr(first, name) for name in _WINDOW)
            and len(plan.children(f)) == 1
            for f in folds
        )
    )


def _fused(op: JoinOp, parent: Op) -> JoinedFoldsOp:
    folds = [i for i in op.inputs if isinstance(i, WindowFoldOp)]
    span = op.span
    for fold in folds:
        span = joined(span, fold.span)
    return JoinedFoldsOp(
        name="_".join([*(f.name for f in folds), op.name]),
        inputs=(parent,),
        span=span,
        aggregates=tuple((f.function, f.field, f"{p}{op.delimiter}{f.as_name}") for f, p in zip(folds, op.names)),
        stream_name=op.stream_name,
        **{name: getattr(folds[0], name) for name in _WINDOW},
    )
