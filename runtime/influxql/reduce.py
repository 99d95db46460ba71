"""What InfluxDB works out of a query before it looks at data: constants, the range of time, the buckets.

`reduce` is influxql.Reduce, `condition` is ConditionExpr: comparisons of `time` leave the condition and become a range,
whatever AND or OR they stand under. Moments are ns since 1970 and may lie beyond 64 bits until they are used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import tzinfo

import numpy as np

from tickc.runtime import zones
from tickc.runtime.builtins import gomath
from tickc.runtime.gotext import SECOND, days_from_civil, format_time_rfc3339nano
from tickc.runtime.influxql.text import text
from tickc.runtime.influxql.tree import (
    Binary,
    Bucket,
    Call,
    Dimension,
    Duration,
    Expr,
    Lit,
    Nil,
    Paren,
    Ref,
    Regex,
    Time,
    Tree,
    Wildcard,
)

LEAST_TIME, MOST_TIME = -(1 << 63) + 2, (1 << 63) - 2
NOW = 1 << 100  # stands for now() where it is not known yet; moments near it are relative to it
YEAR_1 = days_from_civil(1, 1, 1) * 86_400 * SECOND

Moments = tuple[int, ...]
Functions = Callable[[str, list[Expr]], Expr | None]  # a call of constants -> its value, None: it stays a call


class QueryRefused(Exception):
    """A query that InfluxDB refuses, in its words; `part` is the part of the query that it does not take."""

    def __init__(self, message: str, part: Tree | str | None = None) -> None:
        super().__init__(message)
        self.part = part


# Constants

_GO_TYPES = {
    Binary: "BinaryExpr", Call: "Call", Duration: "DurationLiteral", Nil: "NilLiteral", Paren: "ParenExpr",
    Ref: "VarRef", Regex: "RegexLiteral", Time: "TimeLiteral", Wildcard: "Wildcard",
}  # fmt: skip


def go_type(expr: Expr) -> str:
    """The name of an expression's type in Go, which InfluxDB's messages show."""
    match expr:
        case Call(bare=True):
            name = "Distinct"
        case Lit(value=bool()):
            name = "BooleanLiteral"
        case Lit(value=float()):
            name = "NumberLiteral"
        case Lit(value=str()):
            name = "StringLiteral"
        case Lit():
            name = "UnsignedLiteral" if is_unsigned(expr) else "IntegerLiteral"
        case _:
            name = _GO_TYPES[type(expr)]
    return f"*influxql.{name}"


def is_literal(expr: Expr) -> bool:
    return isinstance(expr, (Lit, Duration, Time, Regex, Nil))


def is_unsigned(expr: Expr) -> bool:
    """Whether an integer is too large for a signed one."""
    return isinstance(expr, Lit) and type(expr.value) is int and expr.value >= 1 << 63


def reduce(expr: Expr, zone: tzinfo | None = None, functions: Functions | None = None) -> Expr:
    """`expr` with its constant parts worked out and no brackets around it; parts that stay as they are stay the same.

    zone: in which texts of times are read (UTC).
    """
    reduced = _reduced(expr, zone, functions)
    return reduced.expr if isinstance(reduced, Paren) else reduced


def _reduced(expr: Expr, zone: tzinfo | None, functions: Functions | None) -> Expr:
    match expr:
        case Binary(op=op):
            left, right = _reduced(expr.left, zone, functions), _reduced(expr.right, zone, functions)
            if (folded := _folded(op, left, right, zone)) is not None:
                return folded
            return expr if left is expr.left and right is expr.right else Binary(op, left, right)
        case Call(bare=False):
            args = [_reduced(arg, zone, functions) for arg in expr.args]
            value = functions(expr.name, args) if functions and all(map(is_literal, args)) else None
            if value is not None:
                return value
            return expr if all(a is b for a, b in zip(args, expr.args)) else Call(expr.name, tuple(args))
        case Paren():
            inner = _reduced(expr.expr, zone, functions)
            if isinstance(inner, Binary):
                return expr if inner is expr.expr else Paren(inner)
            return inner
    return expr


def _folded(op: str, left: Expr, right: Expr, zone: tzinfo | None) -> Expr | None:
    """The value of `left op right`, or None where it has none yet."""
    if op in ("AND", "OR"):
        decides = op == "OR"
        if any(isinstance(e, Lit) and e.value is decides for e in (left, right)):
            return Lit(decides)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Lit) and one.value is not decides and isinstance(one.value, bool):
                return other
    match left, right:
        case (Nil(), _) | (Lit(value=str()), Nil()):
            return Lit(False) if op in ("=", "!=") else None
        case ((Lit() | Duration() | Time()), Nil()):
            return None if is_unsigned(left) else Lit(False)
        case Lit(value=bool() as a), Lit(value=bool() as b):
            return _bools(op, a, b)
        case Lit(value=str() as a), Lit(value=str() as b):
            return _strings(op, a, b, zone)
        case Lit(value=bool()), _:
            return None
        case _, Lit(value=bool()):
            return None
        case Lit(value=int() | float()), Lit(value=int() | float()):
            return _numbers(op, left, right)
        case ((Lit() | Duration() | Time()), (Lit() | Duration() | Time())):
            return _times(op, left, right, zone)
    return None


def _compared(op: str, a: float | str, b: float | str) -> Lit | None:
    match op:
        case "=":
            return Lit(a == b)
        case "!=":
            return Lit(a != b)
        case "<":
            return Lit(a < b)  # type: ignore[operator]
        case "<=":
            return Lit(a <= b)  # type: ignore[operator]
        case ">":
            return Lit(a > b)  # type: ignore[operator]
        case ">=":
            return Lit(a >= b)  # type: ignore[operator]
    return None


def _bools(op: str, a: bool, b: bool) -> Lit | None:
    match op:
        case "&":
            return Lit(a and b)
        case "|":
            return Lit(a or b)
        case "^" | "!=":
            return Lit(a != b)
        case "=":
            return Lit(a == b)
    return None


def _numbers(op: str, left: Expr, right: Expr) -> Expr | None:
    assert isinstance(left, Lit) and isinstance(right, Lit)
    a, b = left.value, right.value
    if isinstance(a, float) and not is_unsigned(right):
        return _floats(op, a, float(b))
    if isinstance(a, float) or isinstance(b, float):
        return _floats(op, float(a), float(b)) or Binary(op, Lit(float(a)), Lit(float(b)))
    assert isinstance(a, int) and isinstance(b, int)
    if not is_unsigned(left) and not is_unsigned(right):
        return _integers(op, a, b)
    if (a < 0 or b < 0) and op in ("<", "<=", ">", ">="):
        return _compared(op, a, b)
    return _unsigned(op, a % (1 << 64), b % (1 << 64))


def _floats(op: str, a: float, b: float) -> Lit | None:
    match op:
        case "+":
            return Lit(a + b)
        case "-":
            return Lit(a - b)
        case "*":
            return Lit(a * b)
        case "/":
            return Lit(a / b if b else 0.0)
        case "%":
            return Lit(float(gomath.mod(a, b)))
    return _compared(op, a, b)


def _integers(op: str, a: int, b: int) -> Lit | None:
    match op:
        case "+":
            return Lit(_wrapped(a + b))
        case "-":
            return Lit(_wrapped(a - b))
        case "*":
            return Lit(_wrapped(a * b))
        case "/":
            return Lit(float(a) / float(b) if b else 0.0)
        case "%":
            return Lit(int(math.copysign(1, a)) * (abs(a) % abs(b)) if b else 0)
        case "&":
            return Lit(a & b)
        case "|":
            return Lit(a | b)
        case "^":
            return Lit(a ^ b)
    return _compared(op, a, b)


def _unsigned(op: str, a: int, b: int) -> Lit | None:
    match op:
        case "+":
            return Lit((a + b) % (1 << 64))
        case "-":
            return Lit((a - b) % (1 << 64))
        case "*":
            return Lit(a * b % (1 << 64))
        case "/":
            return Lit(a // b if b else 0)
        case "%":
            return Lit(a % b if b else 0)
    return _compared(op, a, b)


def _strings(op: str, a: str, b: str, zone: tzinfo | None) -> Expr | None:
    """Texts, which may be moments."""
    if op == "+":
        return Lit(a + b)
    first, second = read_moment(a, zone), read_moment(b, zone)
    if first is not None and second is not None and (folded := _times(op, Time(first), Time(second), zone)) is not None:
        return folded
    return Lit((a == b) == (op == "=")) if op in ("=", "!=") else None


def _times(op: str, left: Expr, right: Expr, zone: tzinfo | None) -> Expr | None:
    """Moments and lengths of time; a text may be a moment, an int beside a length is one, beside a moment it is ns."""
    match left, right:
        case Lit(value=str() as a), (Time() | Duration() | Lit(value=int())):
            return None if (t := read_moment(a, zone)) is None else _times(op, Time(t), right, zone)
        case ((Time() | Duration() | Lit(value=int())), Lit(value=str() as b)):
            return None if (t := read_moment(b, zone)) is None else _times(op, left, Time(t), zone)
        case _ if is_unsigned(left) or is_unsigned(right):
            return None
        case Time(ns=a), Time(ns=b):
            return Duration(min(max(a - b, -(1 << 63)), (1 << 63) - 1)) if op == "-" else _compared(op, a, b)
        case Time(ns=a), (Duration(ns=b) | Lit(value=int() as b)):
            return Time(a + b) if op == "+" else Time(a - b) if op == "-" else None
        case ((Duration(ns=a) | Lit(value=int() as a)), Time(ns=b)):
            return Time(a + b) if op == "+" else None
        case Duration(ns=a), Duration(ns=b):
            if op in ("+", "-"):
                return Duration(_wrapped(a + b if op == "+" else a - b))
            return _compared(op, a, b)
        case Lit(value=int() as a), Duration(ns=b):
            return Time(a + b) if op == "+" else Time(a - b) if op == "-" else None
        case Duration(ns=a), Lit(value=float() | int() as factor):
            return _scaled(op, a, factor)
    return None


def _scaled(op: str, ns: int, factor: float | int) -> Duration | None:
    whole = truncated(factor)
    if op == "*":
        return Duration(_wrapped(ns * whole))
    if op != "/":
        return None
    if factor == 0:
        return Duration(0)
    if whole == 0:
        raise ZeroDivisionError
    return Duration(_wrapped(int(math.copysign(1, ns)) * int(math.copysign(1, whole)) * (abs(ns) // abs(whole))))


def _wrapped(n: int) -> int:
    """`n` as an int64."""
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


def truncated(value: float | int) -> int:
    """A number as an int64, as amd64 converts it: what does not fit is the least one."""
    if isinstance(value, float) and not -(2.0**63) <= value < 2.0**63:
        return -(1 << 63)
    return int(value)


# Functions of constants

_MATHS: dict[str, Callable[..., float]] = {
    "sin": gomath.sin, "cos": gomath.cos, "tan": gomath.tan, "asin": gomath.asin, "acos": gomath.acos,
    "atan": gomath.atan, "exp": gomath.exp, "ln": gomath.log, "log2": gomath.log2, "log10": gomath.log10,
    "sqrt": gomath.sqrt, "abs": gomath.abs_, "floor": gomath.floor, "ceil": gomath.ceil,
    "round": lambda x: gomath.trunc(x) + (math.copysign(1, x) if abs(x - gomath.trunc(x)) >= 0.5 else 0),
}  # fmt: skip
_MATHS_OF_TWO: dict[str, Callable[..., float]] = {
    "atan2": gomath.atan2, "pow": gomath.pow_, "log": lambda x, base: gomath.log(x) / gomath.log(base),
}  # fmt: skip
MATHS = frozenset((*_MATHS, *_MATHS_OF_TWO))


def maths(name: str, args: list[Expr]) -> Expr | None:
    """The mathematical functions of numbers; of anything else they are nil."""
    function = (_MATHS if len(args) == 1 else _MATHS_OF_TWO if len(args) == 2 else {}).get(name)
    if function is None:
        return None
    values = [arg.value for arg in args if isinstance(arg, Lit) and type(arg.value) in (int, float)]
    if len(values) < len(args):
        return Nil()
    if name in ("abs", "floor", "ceil", "round") and isinstance(values[0], int):
        return Nil() if is_unsigned(args[0]) else Lit(_wrapped(abs(values[0])) if name == "abs" else values[0])
    with np.errstate(all="ignore"):
        return Lit(float(function(*map(float, values))))


def at(now: int) -> Functions:
    """now() as the moment `now`."""
    return lambda name, args: Time(now) if name == "now" and not args else None


# Moments

_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_DAY = re.compile(_DATE)
_TIME = r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
_MOMENT = re.compile(rf"{_DATE}(?:T{_TIME}(Z|[+-][0-9]{{2}}:[0-9]{{2}})| +{_TIME})?")


def looks_like_moment(value: str) -> bool:
    """Whether a text is taken for a moment, a wrong one perhaps."""
    found = _DAY.match(value)
    return found is not None and not value.startswith("\n", found.end())


def read_moment(value: str, zone: tzinfo | None = None) -> int | None:
    """The moment that a text names: a date, a date and a time of the zone's clock, or RFC 3339; None if it is none."""
    found = _MOMENT.fullmatch(value)
    if found is None:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    named = found[8] or ""
    hour, minute, second, fraction = found.groups()[3:7] if named else found.groups()[8:12]
    clock = int(hour or 0), int(minute or 0), int(second or 0)
    if not (1 <= month <= 12 and clock[0] < 24 and clock[1] < 60 and clock[2] < 60):
        return None
    first, following = days_from_civil(year, month, 1), days_from_civil(year + month // 12, month % 12 + 1, 1)
    if not 1 <= day <= following - first:
        return None
    seconds = (first + day - 1) * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
    if named and named != "Z":
        hours, minutes = int(named[1:3]), int(named[4:6])
        if hours > 24 or minutes > 60:
            return None
        seconds -= int(named[0] + "1") * (hours * 3600 + minutes * 60)
    elif not named and zone is not None:
        seconds = zones.moment(seconds, zone)
    return seconds * SECOND + int((fraction or "").ljust(9, "0")[:9])


# The condition


def condition(where: Expr | None, now: int, zone: tzinfo | None = None) -> tuple[Expr | None, Moments, Moments]:
    """What a condition asks of tags and fields, None where it asks nothing, and the bounds of time that it has.

    Bounds are inclusive; of several all hold, also where they stand beside OR. Raises QueryRefused.
    """
    bounds = _Bounds(now, zone)
    expr = None if where is None else bounds.without_times(where)
    if isinstance(expr, Paren):
        expr = expr.expr
    if isinstance(expr, Lit) and expr.value is True:
        expr = None
    return expr, tuple(bounds.earliest), tuple(bounds.latest)


_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class _Bounds:
    """The bounds of time that a condition has."""

    def __init__(self, now: int, zone: tzinfo | None) -> None:
        self.now = now
        self.zone = zone
        self.earliest: list[int] = []
        self.latest: list[int] = []

    def without_times(self, where: Expr) -> Expr | None:
        """The rest of a condition."""
        match where:
            case Binary(op="AND" | "OR" as op):
                left, right = self.without_times(where.left), self.without_times(where.right)
                if left is None or right is None:
                    return left or right
                return _folded(op, left, right, None) or Binary(op, left, right)
            case Binary(op=op, left=Ref(name=name), right=value) if name.lower() == "time":
                self.add(op, value, where)
                return None
            case Binary(op=op, left=value, right=Ref(name=name)) if name.lower() == "time":
                self.add(_MIRRORED.get(op, op), value, where)
                return None
            case Binary():
                return _reduced(where, self.zone, at(self.now))
            case Paren(expr=expr):
                inner = self.without_times(expr)
                return Paren(inner) if isinstance(inner, Binary) else inner
            case Lit(value=bool()):
                return where
        raise QueryRefused(f"invalid condition expression: {text(where)}", where)

    def add(self, op: str, value: Expr, where: Binary) -> None:
        """The bounds that `time op value` sets."""
        ns = self.moment(value, where)
        match op:
            case ">" | ">=":
                self.earliest.append(ns + (op == ">"))
            case "<" | "<=":
                self.latest.append(ns - (op == "<"))
            case "=":
                self.earliest.append(ns)
                self.latest.append(ns)
            case _:
                raise QueryRefused(f"invalid time comparison operator: {op}", where)

    def moment(self, value: Expr, where: Binary) -> int:
        """The moment that something beside `time` stands for."""
        zone = self.zone
        if isinstance(value, Lit) and isinstance(value.value, str) and looks_like_moment(value.value):
            if (named := read_moment(value.value, zone)) is None:
                raise QueryRefused("invalid timestamp string", value)
            zone = None if "T" in value.value else zone
            value = Time(named)
        match reduce(value, zone, at(self.now)):
            case Time(ns=ns):
                if ns < LEAST_TIME + 1 or MOST_TIME < ns < NOW // 2:
                    flow = "over" if ns > MOST_TIME else "under"
                    raise QueryRefused(f"time {_rfc3339(ns, zone)} {flow}flows time literal", where)
                return ns
            case Duration(ns=ns):
                return ns
            case Lit(value=float() | int() as number) as lit if not isinstance(number, bool) and not is_unsigned(lit):
                return truncated(number)
            case other:
                raise QueryRefused(f"invalid operation: time and {go_type(other)} are not compatible", where)


def _rfc3339(ns: int, zone: tzinfo | None) -> str:
    """A moment to the second, as the zone's clock shows it."""
    seconds = ns // SECOND
    minutes = zones.offset(seconds, zone) // 60 if zone else 0
    shown = format_time_rfc3339nano(zones.clock(seconds, zone) * SECOND if zone else seconds * SECOND)
    if not minutes:
        return shown
    return f"{shown[:-1]}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


# Dimensions


def dimensions(
    given: Sequence[Dimension], now: int, zone: tzinfo | None = None
) -> tuple[str | Wildcard | Regex | Bucket, ...]:
    """Dimensions with expressions worked out; the offset of a bucket is less than its interval. Raises QueryRefused."""
    out: list[str | Wildcard | Regex | Bucket] = []
    for dimension in given:
        taken = any(isinstance(d, Bucket) and d.interval for d in out)
        out.append(_dimension(dimension, taken, now, zone))
    return tuple(out)


def _dimension(given: Dimension, taken: bool, now: int, zone: tzinfo | None) -> str | Wildcard | Regex | Bucket:
    """One dimension; taken: another one is a bucket."""
    match reduce(given) if isinstance(given, Expr) else given:
        case str() as name if name.lower() != "time":
            return name
        case Ref(name=name) if name.lower() != "time":
            return name
        case str() | Ref():
            raise QueryRefused("time() is a function and expects at least one argument", given)
        case (Wildcard() | Regex()) as dimension:
            return dimension
        case Bucket(interval=interval, offset=offset):
            arguments = (Duration(interval),) if offset is None else (Duration(interval), Duration(offset))
            return _bucket(Call("time", arguments), taken, given, now, zone)
        case Call(bare=False) as call:
            return _bucket(call, taken, given, now, zone)
    raise QueryRefused("only time and tag dimensions allowed", given)


def _bucket(call: Call, taken: bool, given: Dimension, now: int, zone: tzinfo | None) -> Bucket:
    """The bucket that a call of time() stands for."""
    if call.name != "time":
        raise QueryRefused("only time() calls allowed in dimensions", given)
    if not 1 <= len(call.args) <= 2:
        raise QueryRefused("time dimension expected 1 or 2 arguments", given)
    if not isinstance(interval := call.args[0], Duration):
        raise QueryRefused("time dimension must have duration argument", given)
    if taken:
        raise QueryRefused("multiple time dimensions not allowed", given)
    match call.args[1:]:
        case ():
            return Bucket(interval.ns, 0)
        case (Duration(ns=offset),):
            return Bucket(interval.ns, _remainder(offset, interval.ns))
        case (Time(ns=moment),):
            return Bucket(interval.ns, _into(moment, interval.ns))
        case (Call(name="now", args=(), bare=False),):
            return Bucket(interval.ns, _into(now, interval.ns))
        case (Call(name="now", bare=False),):
            raise QueryRefused("time dimension offset now() function requires no arguments", given)
        case (Call(bare=False),):
            raise QueryRefused("time dimension offset function must be now()", given)
        case (Lit(value=str() as value) as offset,) if looks_like_moment(value):
            if read_moment(value, zone) is None:
                raise QueryRefused("invalid timestamp string", given)
            raise QueryRefused(f"invalid time dimension offset: {text(offset)}", given)
    raise QueryRefused("time dimension offset must be duration or now()", given)


def _remainder(offset: int, interval: int) -> int:
    """`offset % interval` as Go has it."""
    rest = abs(offset) % abs(interval)
    return -rest if offset < 0 else rest


def _into(moment: int, interval: int) -> int:
    """How far a moment is behind the last multiple of `interval` since the year 1."""
    return (moment - YEAR_1) % interval if interval > 0 else 0
