"""Read only the columns that the task uses.

    stream | from().groupBy('host') | window | mean('usage')   ->   the source delivers the tag host and the field usage

Right because every operator says which columns it reads (`Op.needs`), and one that does not say reads all.
"""

from __future__ import annotations

from dataclasses import replace

from tickc.compiler.ir import Op, Plan, SourceOp
from tickc.compiler.passes.liveness import demands, names


def push_projection(plan: Plan) -> Plan:
    """The plan whose sources name the columns that are read of them."""
    wanted = demands(plan)
    columns = {op.name: wanted[id(op)] for op in plan}

    def change(op: Op) -> Op:
        if not isinstance(op, SourceOp):
            return op
        tags, fields = names(columns[op.name].tags), names(columns[op.name].fields)
        return op if (tags, fields) == (op.tags, op.fields) else replace(op, tags=tags, fields=fields)

    return plan.rewrite(change)
