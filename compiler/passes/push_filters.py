"""Move filters towards the source, into `from`, and into the source itself.

    stream | from() | groupBy('dc') | where(lambda: "host" == 'x')
    ->   stream (host == 'x') | from().where(lambda: "host" == 'x') | groupBy('dc')

A filter moves over an operator that treats each row by itself and lets every column that the predicate reads through
unchanged, if it is the only reader and neither has state: a stateful lambda must go on seeing the same rows. In `from`
it joins the condition by AND, whose right side is evaluated for the same rows as before. Comparisons of a column with a
constant are told to the source: a row on which one of them is false or fails comes to nothing, so a source may leave it
out, or skip a block of rows whose statistics say that none can pass; but not of a task that follows the clock, as every
point of the task moves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tickc.compiler.ir import Op, Plan, SourceOp
from tickc.compiler.nodes.rows import WhereOp
from tickc.compiler.nodes.stream import FromOp
from tickc.runtime.expr import Binary, Expr, Literal, Ref, spine
from tickc.runtime.kinds import Kind

_MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TOLD = (Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL)


def push_filters(plan: Plan) -> Plan:
    """The plan with each filter as near to the source as it may stand."""
    moved = True
    while moved:
        plan, moved = _move_one(plan)
    return _tell_sources(plan)


def _move_one(plan: Plan) -> tuple[Plan, bool]:
    for op in plan:
        if isinstance(op, WhereOp) and not op.stateful:
            below = op.inputs[0]
            if below.stateful or len(plan.children(below)) > 1:
                continue
            if isinstance(below, FromOp) and below.keeps(op.predicate.references()):
                return _replace(plan, op, below, _into(below, op.predicate)), True
            if below.rowwise and not isinstance(below, (FromOp, WhereOp)) and below.keeps(op.predicate.references()):
                return _swap(plan, op, below), True
    return plan, False


def _into(below: FromOp, predicate: Expr) -> FromOp:
    return replace(below, where=predicate if below.where is None else Binary("AND", below.where, predicate))


def _replace(plan: Plan, gone: Op, old: Op, new: Op) -> Plan:
    return plan.rewrite(lambda op: None if op.name == gone.name else new if op.name == old.name else op)


def _swap(plan: Plan, where: WhereOp, below: Op) -> Plan:
    lower = replace(where, inputs=below.inputs)
    upper = replace(below, inputs=(lower,))
    ops: list[Op] = []
    new: dict[int, Op] = {}
    for op in plan:
        if op is below:
            ops.extend((lower, upper))
            new[id(below)] = new[id(where)] = upper
        elif op is not where:
            current = op.with_inputs(*(new[id(i)] for i in op.inputs))
            ops.append(current)
            new[id(op)] = current
    return Plan(tuple(ops))


def _tell_sources(plan: Plan) -> Plan:
    timed = any(op.timed for op in plan)
    told = {op.name: () if timed else _conditions(plan, op) for op in plan if isinstance(op, SourceOp)}

    def change(op: Op) -> Op:
        if isinstance(op, SourceOp) and told[op.name] != op.where:
            return replace(op, where=told[op.name])
        return op

    return plan.rewrite(change)


def _conditions(plan: Plan, source: SourceOp) -> tuple[tuple[str, str, Any], ...]:
    readers = plan.children(source)
    if len(readers) != 1 or not isinstance(readers[0], FromOp) or readers[0].where is None or readers[0].stateful:
        return ()
    return tuple(_comparisons(readers[0].where))


def _comparisons(e: Expr) -> Iterator[tuple[str, str, Any]]:
    """(column, operator, constant) of the conjuncts that compare a field or tag with a constant."""
    match e:
        case Binary(op="AND"):
            for part in spine(e):
                yield from _comparisons(part)
        case Binary(op=op, left=Ref(name=name), right=Literal(kind=kind, value=value)) if op in _MIRRORED:
            if kind in _TOLD and name != "time":
                yield name, op, value
        case Binary(op=op, left=Literal(kind=kind, value=value), right=Ref(name=name)) if op in _MIRRORED:
            if kind in _TOLD and name != "time":
                yield name, _MIRRORED[op], value
