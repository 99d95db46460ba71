"""Drop columns that nobody reads any more before rows are kept or copied.

    from().where(lambda: "x" > 1.0) | window | mean('y')   ->   … | select y | window | mean('y')

A window keeps its rows; what only the filter before it has read need not be kept. Right because every operator says
which columns it reads (`Op.needs`); a group's tags stand in its group table, so dimensions need no column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from tickc.compiler.ir import Op, Plan, Wanted, setting
from tickc.compiler.nodes.join import JoinOp
from tickc.compiler.passes.liveness import demands, names, narrow


@dataclass(frozen=True, kw_only=True, eq=False)
class SelectOp(Op):
    """Only some of the columns; None stands for all."""

    operator: ClassVar[str] = "Select"
    rowwise: ClassVar[bool] = True

    tags: tuple[str, ...] | None = setting(None)
    fields: tuple[str, ...] | None = setting(None)

    def needs(self, wanted: Wanted) -> Wanted:
        return wanted


def prune_columns(plan: Plan) -> Plan:
    """The plan with a selection before, or in, each operator that keeps rows while it reads only some columns."""
    wanted = demands(plan)
    new: dict[int, Op] = {}
    ops: list[Op] = []
    for op in plan:
        current = op.with_inputs(*(new[id(i)] for i in op.inputs))
        needs = [op.needs_of(wanted[id(op)], i) for i in range(len(op.inputs))]
        if isinstance(current, JoinOp):
            current = _selecting(current, tuple(names(n.fields) for n in needs))
        elif op.keeps_rows:
            inputs = [_selected(current, i, n) for i, n in enumerate(needs)]
            ops.extend(i for i in inputs if isinstance(i, SelectOp) and i not in current.inputs)
            current = current.with_inputs(*inputs)
        ops.append(current)
        new[id(op)] = current
    same = len(ops) == len(plan.ops) and all(a is b for a, b in zip(ops, plan.ops))
    return plan if same else Plan(tuple(ops))


def _selecting(op: JoinOp, fields: tuple[tuple[str, ...] | None, ...]) -> JoinOp:
    """A join that keeps just the fields that are read; of tags it needs none."""
    return op if fields == op.fields or all(f is None for f in fields) else replace(op, fields=fields)


def _selected(op: Op, at: int, needs: Wanted) -> Op:
    """The input at a position, or a selection from it where it may have columns that are not needed."""
    below = op.inputs[at]
    if not narrow(needs) or isinstance(below, SelectOp):
        return below
    name = f"{op.name}_columns" + (str(at + 1) if len(op.inputs) > 1 else "")
    return SelectOp(name=name, inputs=(below,), tags=names(needs.tags), fields=names(needs.fields))
