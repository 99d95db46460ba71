"""Run a chain of operators that treat each row by itself as one block.

    where(lambda: "idle" < 20.0) | eval(lambda: 100.0 - "idle").as('used') | where(lambda: "used" > 95.0)
    ->   one block of three steps; each is given just the columns that it and the steps after it read

A filter copies every column of the rows that it keeps; within a block, columns that no later step reads are not copied.
Right because the steps run in the same order on the same rows, and every operator says which columns it reads. Steps
with state belong to it as well: they see the rows in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler.ir import Memory, Op, Plan, Wanted
from tickc.compiler.passes.fuse_windows import joined
from tickc.compiler.passes.liveness import demands, names


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockOp(Op):
    """Steps in order. reads: for each step, the tags and the fields that are given to it; None for all."""

    operator: ClassVar[str] = "Block"
    rowwise: ClassVar[bool] = True

    steps: tuple[Op, ...]
    reads: tuple[tuple[Any, Any], ...]

    @property
    def remembers(self) -> Memory | None:
        return Memory.joined(s.remembers for s in self.steps)

    @property
    def reach(self) -> int:
        return sum(s.reach for s in self.steps)

    def needs(self, wanted: Wanted) -> Wanted:
        for step in reversed(self.steps):
            wanted = step.needs(wanted)
        return wanted


def fuse_rows(plan: Plan) -> Plan:
    """The plan with each chain of two or more row-wise operators as one block."""
    wanted = demands(plan)
    readers = {id(op): plan.children(op) for op in plan}

    def extends(op: Op) -> bool:
        """Whether the operator goes on with the block of its input."""
        return _fits(op) and len(op.inputs) == 1 and _fits(op.inputs[0]) and len(readers[id(op.inputs[0])]) == 1

    chains: dict[int, list[Op]] = {}
    for op in plan:
        if _fits(op):
            chain = chains[id(op.inputs[0])] if extends(op) else []
            chain.append(op)
            chains[id(op)] = chain
    new: dict[int, Op] = {}
    ops: list[Op] = []
    for op in plan:
        chain = chains.get(id(op), [])
        if len(chain) > 1:
            if op is not chain[-1]:
                continue
            current: Op = _block(chain, new[id(chain[0].inputs[0])], wanted)
        else:
            current = op.with_inputs(*(new[id(i)] for i in op.inputs))
        ops.append(current)
        new[id(op)] = current
    return plan if len(ops) == len(plan.ops) else Plan(tuple(ops))


def _fits(op: Op) -> bool:
    return op.rowwise and not op.effects and len(op.inputs) == 1 and not isinstance(op, BlockOp)


def _block(chain: list[Op], parent: Op, wanted: dict[int, Wanted]) -> BlockOp:
    span = chain[0].span
    reads = []
    for step in chain:
        needs = step.needs(wanted[id(step)])
        reads.append((names(needs.tags), names(needs.fields)))
        span = joined(span, step.span)
    return BlockOp(
        name="_".join(s.name for s in chain),
        inputs=(parent,),
        span=span,
        steps=tuple(s.with_inputs() for s in chain),
        reads=tuple(reads),
    )
