"""Work out what a lambda says of constants alone.

    where(lambda: "v" > 10.0 * 60.0)   ->   where(lambda: "v" > 600.0)
    where(lambda: TRUE)                ->   nothing

Right because a function of constants has the same value at every point; functions with state and `now()` are left, and
so is what fails (its error belongs to the points).
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np

from tickc.compiler.ir import Op, Plan
from tickc.compiler.nodes.rows import WhereOp
from tickc.runtime.expr import STATEFUL, Binary, Call, Expr, Frame, Lambda, Literal, Nested, Unary, deep_recursion, run
from tickc.runtime.kinds import Kind

_CHANGING = STATEFUL | {"now"}
_FOLDED = (Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL, Kind.DURATION)
_LONGEST = 10_000  # characters of a string that is put in place of its expression


def fold_constants(plan: Plan) -> Plan:
    """The plan with constant sub-expressions as literals and without filters that always hold."""
    return plan.rewrite(_fold_op)


def _fold_op(op: Op) -> Op | None:
    changes = {f.name: new for f in fields(op) if (new := _fold_value(getattr(op, f.name))) is not getattr(op, f.name)}
    folded = replace(op, **changes) if changes else op
    if isinstance(folded, WhereOp) and _is_true(folded.predicate):
        return None
    return folded


def _is_true(e: Expr) -> bool:
    return isinstance(e, Literal) and e.kind is Kind.BOOL and bool(e.value)


def _fold_value(value: Any) -> Any:
    if isinstance(value, Expr):
        with deep_recursion(value.depth()):
            return fold(value)
    if isinstance(value, tuple) and any(isinstance(v, Expr) for v in value):
        new = tuple(_fold_value(v) for v in value)
        return value if all(a is b for a, b in zip(new, value)) else new
    return value


def fold(e: Expr) -> Expr:
    """The expression with constant parts worked out; itself where there is none."""
    if isinstance(e, Binary):
        operators = run(e)
        left = fold(operators[0].left)
        for operator in operators:
            left = _folded(operator, (left, fold(operator.right)))
        return left
    return _folded(e, tuple(fold(c) for c in e.children))


def _folded(e: Expr, children: tuple[Expr, ...]) -> Expr:
    """The expression on children that are folded."""
    if any(a is not b for a, b in zip(children, e.children)):
        e = rebuilt(e, children)
    if not children and not isinstance(e, Call):
        return e
    if (isinstance(e, Call) and e.name in _CHANGING) or not all(isinstance(c, Literal) for c in children):
        return e
    return _value(e) or e


def rebuilt(e: Expr, children: tuple[Expr, ...]) -> Expr:
    """The same operator on other operands."""
    match e:
        case Unary():
            return Unary(e.op, *children)
        case Binary():
            return Binary(e.op, *children)
        case Call():
            return Call(e.name, children)
        case Nested():
            return Nested(*children)
    return e


def _value(e: Expr) -> Literal | None:
    outcome = Lambda(e)(Frame(1, {}, np.zeros(1, np.int64)))
    kind = outcome.column.kinds
    if outcome.error is not None or kind not in _FOLDED:
        return None
    value = outcome.column.at(0)
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, str) and len(value) > _LONGEST):
        return None
    return Literal(cast(Kind, kind), value)
