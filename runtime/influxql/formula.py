"""Expressions of a query on columns: what a SELECT list computes of its values, and what WHERE asks of fields.

The rules are influxql's ValuerEval: an int meets a float as a float, ints wrap, a division by zero is 0, and what has
no meaning is null. There are two nulls. A field that a point lacks is `MISSING`, a null of its type; the value of an
expression without a meaning is `NIL`, which counts as false where it meets a bool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Text, select
from tickc.runtime.influxql.reduce import MATHS
from tickc.runtime.influxql.tree import Binary, Call, Duration, Expr, Lit, Nil, Paren, Ref, Regex, Time
from tickc.runtime.kinds import Kind
from tickc.runtime.regex import compile_regex

FLOAT, INT, STRING, BOOL, MISSING, NIL = Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL, Kind.MISSING, Kind.NIL
NUMBERS = (FLOAT, INT)
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")

Lookup = Callable[[Any], Column]  # of a Ref, or of a Call that is no function of mathematics
Data = tuple[Kind, Any]  # values of one kind, an array or Text; of no meaning for nulls


def evaluate(expr: Expr, lookup: Lookup, n: int, *, whole: bool = False) -> Column:
    """The value of `expr` in each of n rows; `lookup` gives the columns that it reads.

    whole: whether the quotient of two ints is an int, as in WHERE; in a SELECT list it is a float.
    """
    match expr:
        case Paren(expr=inner):
            return evaluate(inner, lookup, n, whole=whole)
        case Lit(value=value):
            return constant(value, n)
        case Call(name=name, args=args) if name in MATHS:
            return _mathematics(name, [evaluate(arg, lookup, n, whole=whole) for arg in args], n)
        case Binary(op="=~" | "!~" as op, left=left, right=Regex(pattern=pattern)):
            return _matched(evaluate(left, lookup, n, whole=whole), pattern, op == "=~", n)
        case Binary(op=op, left=left, right=right):
            one, other = evaluate(left, lookup, n, whole=whole), evaluate(right, lookup, n, whole=whole)
            return _pieces([one, other], n, lambda a, b: _binary(op, a, b, whole))
        case Ref() | Call():
            return lookup(expr)
        case Duration() | Time() | Regex() | Nil():
            return Column(NIL, {}, n)
    raise TypeError(f"no expression on values: {expr!r}")


def truth(expr: Expr, lookup: Lookup, n: int) -> Array:
    """bool[n]: where the condition `expr` holds."""
    column = evaluate(expr, lookup, n, whole=True)
    if BOOL not in column.data:
        return np.zeros(n, np.bool_)
    return column.is_kind(BOOL) & column.data[BOOL]


def constant(value: float | int | str | bool, n: int) -> Column:
    """A column that holds `value` n times."""
    if isinstance(value, str):
        return Column.of(STRING, Text.constant(value, n))
    kind, dtype = (BOOL, np.bool_) if isinstance(value, bool) else (INT, np.int64)
    if isinstance(value, float):
        kind, dtype = FLOAT, np.float64
    return Column(kind, {kind: np.broadcast_to(dtype(value), (n,))}, n)


def _split(columns: list[Column], n: int) -> Iterator[tuple[Array | None, tuple[Kind, ...]]]:
    """The rows of each combination of kinds (None: all of them)."""
    if all(isinstance(c.kinds, Kind) for c in columns):
        yield None, tuple(c.kinds for c in columns)  # type: ignore[misc]
        return
    codes = np.zeros(n, np.int64)
    for column in columns:
        codes = codes * 16 + column.kinds_array()
    for code in np.unique(codes).tolist():
        kinds = tuple(Kind(code >> 4 * i & 15) for i in reversed(range(len(columns))))
        yield np.flatnonzero(codes == code), kinds


def _pieces(columns: list[Column], n: int, apply: Callable[..., Data]) -> Column:
    """`apply` on the rows of each combination of kinds."""
    parts: list[tuple[Array, Column]] = []
    for rows, kinds in _split(columns, n):
        m = n if rows is None else len(rows)
        given = [(kind, _taken(column.data.get(kind), rows)) for kind, column in zip(kinds, columns)]
        kind, values = apply(*given)
        column = Column(kind, {} if kind in (NIL, MISSING) else {kind: _spread(values, m)}, m)
        if rows is None:
            return column
        parts.append((rows, column))
    return select(parts, n) if parts else Column(NIL, {}, 0)


def _taken(values: Any, rows: Array | None) -> Any:
    if values is None or rows is None:
        return values
    return values.take(rows) if isinstance(values, Text) else values[rows]


def _spread(values: Any, n: int) -> Any:
    return values if isinstance(values, Text) else np.broadcast_to(values, (n,))


def _binary(op: str, left: Data, right: Data, whole: bool) -> Data:
    """ValuerEval.evalBinaryExpr on values of one kind a side."""
    (one, a), (other, b) = left, right
    if one is NIL and other is BOOL:
        one, a = BOOL, np.False_
    elif other is NIL and one is BOOL:
        other, b = BOOL, np.False_
    if one is BOOL and op in LOGIC:
        return BOOL, LOGIC[op](a, b) if other is BOOL else np.False_
    if one in NUMBERS and other in NUMBERS:
        found = _numbers(op, one, a, other, b, whole)
        if found is not None:
            return found
    if one is STRING and op in ("=", "!="):
        return BOOL, _equal_texts(a, b, op == "=") if other is STRING else np.False_
    return (BOOL, np.False_) if op in COMPARISONS else (NIL, None)


LOGIC: dict[str, Callable[[Any, Any], Any]] = {
    "AND": np.logical_and,
    "OR": np.logical_or,
    "&": np.logical_and,
    "|": np.logical_or,
    "^": np.not_equal,
    "=": np.equal,
    "!=": np.not_equal,
}
RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"+": np.add, "-": np.subtract, "*": np.multiply}
BITS: dict[str, Callable[[Any, Any], Any]] = {"&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor}


def _numbers(op: str, one: Kind, a: Array, other: Kind, b: Array, whole: bool) -> Data | None:
    if one is not other:
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    kind = INT if one is other is INT else FLOAT
    if op in RELATIONS:
        return BOOL, RELATIONS[op](a, b)
    with np.errstate(all="ignore"):
        if op in ARITHMETIC:
            return kind, ARITHMETIC[op](a, b)
        if op in BITS and kind is INT:
            return INT, BITS[op](a, b)
        if op == "/" and kind is INT and whole:
            return INT, _whole_quotient(a, b)
        if op == "/":
            quotient = np.asarray(a, np.float64) / np.asarray(b, np.float64)
            return FLOAT, np.where(np.asarray(b) == 0, 0.0, quotient)
        if op == "%":
            return kind, np.where(b == 0, 0, np.fmod(a, np.where(b == 0, 1, b))) if kind is INT else np.fmod(a, b)
    return None


def _whole_quotient(a: Array, b: Array) -> Array:
    """Go's division of int64: towards zero; 0 for a divisor of 0."""
    divisor = np.where(b == 0, 1, b)
    rest = np.fmod(a, divisor)
    return np.where(b == 0, 0, (a - rest) // divisor)


def _equal_texts(a: Text, b: Text, equal: bool) -> Array:
    codes = b.recode(a.vocabulary).codes if b.vocabulary is not a.vocabulary else b.codes
    return (a.codes == codes) == equal


def _matched(column: Column, pattern: str, wanted: bool, n: int) -> Column:
    """Whether strings match; null for what is no string."""
    if STRING not in column.data:
        return Column(NIL, {}, n)
    matches = matching(column.data[STRING], pattern) == wanted
    if column.kinds is STRING:
        return Column.of(BOOL, matches)
    return Column(np.where(column.is_kind(STRING), np.uint8(BOOL), np.uint8(NIL)), {BOOL: matches}, n)


def matching(text: Text, pattern: str) -> Array:
    """bool[n]: which strings match a regex of Go's; an absent one does not."""
    regex = compile_regex(pattern)
    table = np.zeros(len(text.vocabulary) + 1, np.bool_)
    for code in text.used().tolist():
        table[code] = regex.search(text.vocabulary.strings[code])
    return table[text.codes]


def _mathematics(name: str, columns: list[Column], n: int) -> Column:
    return _pieces(columns, n, lambda *args: _function(name, args, n))


def _function(name: str, args: tuple[Data, ...], n: int) -> Data:
    if any(kind not in NUMBERS for kind, _ in args):
        return NIL, None
    kind, values = args[0]
    if name in ("abs", "floor", "ceil", "round") and kind is INT:
        with np.errstate(all="ignore"):
            return INT, np.abs(values) if name == "abs" else values
    return FLOAT, _on_floats(name, [np.ascontiguousarray(v, np.float64) for _, v in args])


def _on_floats(name: str, args: list[Array]) -> Array:
    from tickc.runtime.builtins import overloads
    from tickc.runtime.expr import map_numbers

    def call(function: str, *values: Array) -> Array:
        found = overloads(function)
        assert found is not None
        declared = found[(FLOAT,) * len(values)]
        if declared.vector is not None:
            return declared.vector(*values)
        return map_numbers(declared, values, len(values[0]))

    with np.errstate(all="ignore"):
        if name == "log":
            return call("log", args[0]) / call("log", args[1])
        if name == "round":  # half away from zero, by InfluxDB's own function
            whole = np.trunc(args[0])
            return np.where(np.abs(args[0] - whole) >= 0.5, whole + np.copysign(1.0, args[0]), whole)
        return call("log" if name == "ln" else name, *args)
