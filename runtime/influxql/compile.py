"""What InfluxDB makes of a query before it looks at data, and what it refuses then, in its words (query/compile.go).

Kapacitor takes queries that InfluxDB refuses; the database tells it each time it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn
from zoneinfo import ZoneInfo

from tickc.runtime.gotext import format_duration_influx
from tickc.runtime.influxql.reduce import (
    MATHS,
    NOW,
    QueryRefused,
    condition,
    dimensions,
    go_type,
    is_literal,
    maths,
    reduce,
)
from tickc.runtime.influxql.text import text
from tickc.runtime.influxql.tree import (
    Binary,
    Bucket,
    Call,
    Dimension,
    Duration,
    Expr,
    Field,
    Lit,
    Measurement,
    Nil,
    Paren,
    Ref,
    Regex,
    Select,
    Time,
    Tree,
    Wildcard,
)

SELECTORS = frozenset({"max", "min", "first", "last"})
AGGREGATES = frozenset({"count", "sum", "mean", "median", "mode", "stddev", "spread"})
OF_TWO = frozenset({"atan2", "pow", "log"})
AVERAGES = (
    "exponential_moving_average",
    "double_exponential_moving_average",
    "triple_exponential_moving_average",
    "relative_strength_index",
    "triple_exponential_derivative",
    "chande_momentum_oscillator",
)
KAUFMANS = ("kaufmans_efficiency_ratio", "kaufmans_adaptive_moving_average")


@dataclass(frozen=True)
class Bound:
    """A bound of time: ns since 1970, or since `now()`."""

    ns: int
    now: bool = False

    @classmethod
    def at(cls, moment: int) -> Bound:
        """`moment` as a query has it, where NOW stands for now()."""
        return cls(moment - NOW, now=True) if moment > NOW // 2 else cls(moment)


@dataclass(frozen=True)
class Compiled:
    """A query that is in order.

    select: with constants worked out, without the column `time`, its dimensions names, wildcards, regexes and a bucket.
    where: its condition without times; earliest, latest: bounds of time, both inclusive. interval, offset: of its
    buckets in ns, or of those of the query around it; interval 0: it has none; offset None: it hangs on now(). calls:
    its functions, those inside others too, but not a distinct there. extra: how many buckets more its functions read.
    inner: the queries inside it, None for measurements.
    """

    select: Select
    where: Expr | None
    earliest: tuple[Bound, ...]
    latest: tuple[Bound, ...]
    interval: int
    offset: int | None
    calls: tuple[Call, ...]
    extra: int
    inner: tuple[Compiled | None, ...]

    @property
    def forth(self) -> int:
        """1 where rows ascend in time, else -1."""
        return -1 if self.select.descending else 1

    def without_times(self) -> Select:
        """The query with conditions that have no times, those of the queries inside it too."""
        pairs = zip(self.select.sources, self.inner)
        sources = tuple(source if inner is None else inner.without_times() for source, inner in pairs)
        return replace(self.select, where=self.where, sources=sources)


def compiled(select: Select, now: int = NOW) -> Compiled:
    """What a database makes of `select`, which must be as the parser gives it. now: ns, in place of now().

    Raises QueryRefused.
    """
    try:
        return _compiled(select, now, None)
    except ZeroDivisionError:  # in Go a panic, of which the database tells
        raise QueryRefused(f"{text(select)} [panic:runtime error: integer divide by zero]", select) from None


@dataclass
class _Statement:
    """What the columns of a select have in common. interval: of its buckets in ns; inherited: from an outer select."""

    select: Select
    descending: bool
    interval: int
    offset: int | None
    inherited: bool = False
    columns: int = 0
    calls: list[Call] = field(default_factory=list)
    extra: int = 0
    only_selectors: bool = True
    has_distinct: bool = False
    has_auxiliary: bool = False
    top_bottom: str = ""


def _compiled(select: Select, now: int, outer: _Statement | None) -> Compiled:
    zone = ZoneInfo(select.zone) if select.zone not in ("", "Local") else None
    where, earliest, latest = condition(select.where, now, zone)
    if where is not None:
        _check_condition(where)
    resolved = dimensions(select.dimensions, now, zone)
    bucket = next((d for d in resolved if isinstance(d, Bucket) and d.interval), Bucket(0, 0))
    floating = now == NOW and any(map(_is_now, select.dimensions))
    statement = _Statement(select, select.descending, bucket.interval, None if floating else bucket.offset)
    fill = select.fill
    if outer is not None:
        if select.ordered and select.descending != outer.descending:
            raise QueryRefused("subqueries must be ordered in the same direction as the query itself", select)
        statement.descending = outer.descending
        if bucket.interval and fill in (None, "null"):
            fill = "none"
        if outer.interval and not bucket.interval:
            statement.interval, statement.offset, statement.inherited = outer.interval, outer.offset, True
    columns = tuple(
        _Column(statement, column).compiled()
        for column in select.fields
        if not (isinstance(column.expr, Ref) and column.expr.name == "time")
    )
    _check_together(statement, fill)
    return Compiled(
        select=replace(select, fields=columns, dimensions=resolved, descending=statement.descending),
        where=where,
        earliest=tuple(map(Bound.at, earliest)),
        latest=tuple(map(Bound.at, latest)),
        interval=max(statement.interval, 0),
        offset=statement.offset,
        calls=tuple(statement.calls),
        extra=statement.extra,
        inner=tuple(_compiled(s, now, statement) if isinstance(s, Select) else None for s in select.sources),
    )


def _is_now(dimension: Dimension) -> bool:
    return isinstance(dimension, Expr) and any(isinstance(e, Call) and e.name == "now" for e in walk(dimension))


def _check_together(s: _Statement, fill: str | float | int | None) -> None:
    """Whether the columns go together."""
    if not s.columns:
        raise QueryRefused("at least 1 non-time field must be queried", s.select)
    if len(s.calls) > 1 and s.top_bottom:
        raise QueryRefused(f"selector function {s.top_bottom}() cannot be combined with other functions", s.select)
    if not s.calls:
        if fill in ("none", "linear"):
            raise QueryRefused(f"fill({fill}) must be used with a function", s.select)
        if s.interval and not s.inherited:
            raise QueryRefused("GROUP BY requires at least one aggregate function", s.select)
    if s.has_distinct and (len(s.calls) != 1 or s.has_auxiliary):
        raise QueryRefused("aggregate function distinct() cannot be combined with other functions or fields", s.select)
    if s.has_auxiliary and not s.only_selectors:
        raise QueryRefused("mixing aggregate and non-aggregate queries is not supported", s.select)
    if s.has_auxiliary and len(s.calls) > 1:
        raise QueryRefused("mixing multiple selector functions with tags or fields is not supported", s.select)


def _check_condition(expr: Expr) -> None:
    match expr:
        case Binary(left=left, right=right):
            _check_condition(left)
            _check_condition(right)
        case Call(name=name, args=args, bare=False):
            if name not in MATHS:
                raise QueryRefused(f"invalid function call in condition: {text(expr)}", expr)
            expected = 2 if name in ("atan2", "pow") else 1
            if len(args) != expected:
                raise QueryRefused(_count(name, f"{expected}", args), expr)
            for arg in args:
                _check_condition(arg)


def _count(name: str, expected: str, args: Sequence[Expr]) -> str:
    return f"invalid number of arguments for {name}, expected {expected}, got {len(args)}"


class _Column:
    """One column of a select."""

    def __init__(self, statement: _Statement, column: Field) -> None:
        self.statement = statement
        self.column = column
        self.allow_wildcard = True

    def refuse(self, message: str, part: Tree | None = None) -> NoReturn:
        raise QueryRefused(message, part or self.column)

    def compiled(self) -> Field:
        """The column with constants worked out."""
        expr = reduce(self.column.expr, functions=maths)
        self.statement.columns += 1
        self.check(expr)
        return replace(self.column, expr=expr)

    def check(self, expr: Expr) -> None:
        s = self.statement
        match expr:
            case Ref():
                s.has_auxiliary = True
            case Wildcard() | Regex():
                s.has_auxiliary = True
                if not self.allow_wildcard:
                    what = "wildcard" if isinstance(expr, Wildcard) else "regex"
                    self.refuse(f"unable to use {what} in a binary expression", expr)
            case Call():
                self.call(expr)
            case Binary(left=left, right=right):
                self.allow_wildcard = False
                if is_literal(left) and is_literal(right):
                    self.refuse("cannot perform a binary expression on two literals", expr)
                for side in (left, right):
                    if not is_literal(side):
                        self.check(side)
            case Paren(expr=inner):
                self.check(inner)
            case Lit() | Duration() | Time() | Nil():
                self.refuse("field must contain at least one variable")

    def call(self, call: Call) -> None:
        name, args = call.name, call.args
        if name in MATHS and not call.bare:
            expected = 2 if name in OF_TWO else 1
            if len(args) != expected:
                self.refuse(_count(name, f"{expected}", args), call)
            for arg in args:
                if not is_literal(arg):
                    self.check(arg)
            return
        self.statement.calls.append(call)
        if name == "distinct":
            self.distinct(call, nested=False)
        elif name in ("top", "bottom"):
            self.top_bottom(call)
        elif (rule := _RULES.get(name)) is not None:
            rule(self, call)
        else:
            self.function(call)

    def symbol(self, name: str, arg: Expr) -> None:
        """What a function is of: a field, or all that a wildcard or a regex stands for."""
        match arg:
            case Ref():
                return
            case Wildcard() | Regex():
                if not self.allow_wildcard:
                    what = "wildcard" if isinstance(arg, Wildcard) else "regex field"
                    self.refuse(f"unsupported expression with {what}: {name}()", arg)
                self.statement.only_selectors = False
            case _:
                self.refuse(f"expected field argument in {name}()", arg)

    def inner(self, call: Call, extra: int = 1, *, nested: bool = True) -> None:
        """What a transformation is of: a field, or with buckets another function; it reads `extra` buckets more."""
        s, arg = self.statement, call.args[0]
        s.only_selectors = False
        s.extra = max(s.extra, extra)
        if isinstance(arg, Call) and not arg.bare:
            if not s.interval:
                self.refuse(f"{call.name} aggregate requires a GROUP BY interval", call)
            if nested and arg.name == "distinct":
                self.distinct(arg, nested=True)
            else:
                self.check(arg)
            return
        if s.interval and not s.inherited:
            self.refuse(f"aggregate function required inside the call to {call.name}", call)
        self.symbol(call.name, arg)

    def function(self, call: Call) -> None:
        name, args = call.name, call.args
        if name not in SELECTORS and name not in AGGREGATES:
            self.refuse(f"undefined function {name}()", call)
        if name in AGGREGATES:
            self.statement.only_selectors = False
        if len(args) != 1:
            self.refuse(_count(name, "1", args), call)
        if name == "count" and isinstance(args[0], Call) and args[0].name == "distinct":
            self.distinct(args[0], nested=True)
        else:
            self.symbol(name, args[0])

    def distinct(self, call: Call, *, nested: bool) -> None:
        if not call.args:
            self.refuse("distinct function requires at least one argument", call)
        if len(call.args) != 1:
            self.refuse("distinct function can only have one argument", call)
        if not isinstance(call.args[0], Ref):
            self.refuse("expected field argument in distinct()", call)
        self.statement.has_distinct |= not nested
        self.statement.only_selectors = False

    def top_bottom(self, call: Call) -> None:
        s, name, args = self.statement, call.name, call.args
        if s.top_bottom:
            self.refuse(f"selector function {s.top_bottom}() cannot be combined with other functions", call)
        if len(args) < 2:
            self.refuse(_count(name, "at least 2", args), call)
        if (limit := _integer(args[-1])) is None:
            self.refuse(f"expected integer as last argument in {name}(), found {text(args[-1])}", args[-1])
        if limit <= 0:
            self.refuse(f"limit ({limit}) in {name} function must be at least 1", args[-1])
        if 0 < s.select.limit < limit:
            self.refuse(
                f"limit ({limit}) in {name} function can not be larger than the LIMIT ({s.select.limit}) in the select "
                "statement",
                args[-1],
            )
        if not isinstance(args[0], Ref):
            self.refuse(f"expected first argument to be a field in {name}(), found {text(args[0])}", args[0])
        for arg in args[1:-1]:
            if not isinstance(arg, Ref):
                self.refuse(f"only fields or tags are allowed in {name}(), found {text(arg)}", arg)
            s.columns += 1
            s.has_auxiliary = True
        s.top_bottom = name

    # arguments

    def expect_count(self, call: Call, least: int, most: int) -> None:
        if not least <= len(call.args) <= most:
            expected = f"{most}" if least == most else f"at least {least} but no more than {most}"
            self.refuse(_count(call.name, expected, call.args), call)

    def percentile(self, call: Call) -> None:
        self.expect_count(call, 2, 2)
        if _integer(call.args[1]) is None and not _is_float(call.args[1]):
            self.refuse("expected float argument in percentile()", call.args[1])
        self.symbol(call.name, call.args[0])

    def sample(self, call: Call) -> None:
        self.expect_count(call, 2, 2)
        if (window := _integer(call.args[1])) is None:
            self.refuse("expected integer argument in sample()", call.args[1])
        if window <= 0:
            self.refuse(f"sample window must be greater than 1, got {window}", call.args[1])
        self.symbol(call.name, call.args[0])

    def unit(self, call: Call, wrong: str) -> None:
        """The length of time that may be the second argument."""
        match call.args[1:]:
            case (Duration(ns=ns) as unit,) if ns <= 0:
                self.refuse(f"duration argument must be positive, got {format_duration_influx(ns)}", unit)
            case (Expr() as unit,) if not isinstance(unit, Duration):
                self.refuse(wrong.format(go_type(unit)), unit)

    def derivative(self, call: Call) -> None:
        self.expect_count(call, 1, 2)
        self.unit(call, f"second argument to {call.name} must be a duration, got {{}}")
        self.inner(call)

    def difference(self, call: Call) -> None:
        self.expect_count(call, 1, 1)
        self.inner(call)

    def moving_average(self, call: Call) -> None:
        self.expect_count(call, 2, 2)
        window = call.args[1]
        if (size := _integer(window)) is None:
            self.refuse(f"second argument for moving_average must be an integer, got {go_type(window)}", window)
        if size <= 1:
            self.refuse(f"moving_average window must be greater than 1, got {size}", window)
        self.inner(call, size)

    def integral(self, call: Call) -> None:
        self.expect_count(call, 1, 2)
        self.unit(call, "second argument must be a duration")
        self.statement.only_selectors = False
        self.symbol(call.name, call.args[0])

    def holt_winters(self, call: Call) -> None:
        self.expect_count(call, 3, 3)
        name, (of, count, season) = call.name, call.args
        if (n := _integer(count)) is None:
            self.refuse(f"expected integer argument as second arg in {name}", count)
        if n <= 0:
            self.refuse(f"second arg to {name} must be greater than 0, got {n}", count)
        if (m := _integer(season)) is None:
            self.refuse(f"expected integer argument as third arg in {name}", season)
        if m < 0:
            self.refuse(f"third arg to {name} cannot be negative, got {m}", season)
        if not isinstance(of, Call) or of.bare:
            self.refuse(f"must use aggregate function with {name}", of)
        self.inner(call, 0)

    def technical(self, call: Call) -> None:
        """The indicators of technical analysis: a period, a hold period, the way to warm up."""
        name = call.name
        most = 3 if name in KAUFMANS else 4
        self.expect_count(call, 2, most)
        if (period := _integer(call.args[1])) is None:
            self.refuse(f"{name} period must be an integer", call.args[1])
        if period < 1:
            self.refuse(f"{name} period must be greater than or equal to 1", call.args[1])
        if len(call.args) >= 3:
            if (hold := _integer(call.args[2])) is None:
                self.refuse(f"{name} hold period must be an integer", call.args[2])
            least = 1 if name == "triple_exponential_derivative" else 0
            if hold < least and hold != -1:
                self.refuse(f"{name} hold period must be greater than or equal to {least}", call.args[2])
        if len(call.args) >= 4:
            ways = ("none", *WARMUPS) if name == "chande_momentum_oscillator" else WARMUPS
            warmup = call.args[3]
            if not isinstance(warmup, Lit) or not isinstance(warmup.value, str):
                self.refuse(f"{name} warmup type must be a string", warmup)
            if warmup.value not in ways:
                self.refuse(f"{name} warmup type must be one of: {' '.join(map(repr, ways))}", warmup)
        self.inner(call, period, nested=False)


WARMUPS = ("exponential", "simple")

_RULES: dict[str, Callable[[_Column, Call], None]] = {
    "percentile": _Column.percentile,
    "sample": _Column.sample,
    "derivative": _Column.derivative,
    "non_negative_derivative": _Column.derivative,
    "elapsed": _Column.derivative,
    "difference": _Column.difference,
    "non_negative_difference": _Column.difference,
    "cumulative_sum": _Column.difference,
    "moving_average": _Column.moving_average,
    "integral": _Column.integral,
    "holt_winters": _Column.holt_winters,
    "holt_winters_with_fit": _Column.holt_winters,
    **dict.fromkeys((*AVERAGES, *KAUFMANS), _Column.technical),
}


def _integer(expr: Expr) -> int | None:
    match expr:
        case Lit(value=int() as value) if not isinstance(value, bool) and value < 1 << 63:
            return value
    return None


def _is_float(expr: Expr) -> bool:
    return isinstance(expr, Lit) and isinstance(expr.value, float)


def walk(expr: Expr) -> Iterator[Expr]:
    """The expressions of which `expr` is made, itself first."""
    rest = [expr]
    while rest:
        yield (part := rest.pop())
        match part:
            case Binary(left=left, right=right):
                rest += right, left
            case Paren(expr=inner):
                rest.append(inner)
            case Call(args=args):
                rest += reversed(args)


def measurements(select: Select) -> Iterator[Measurement]:
    """The measurements that a query reads, also inside brackets."""
    for source in select.sources:
        if isinstance(source, Select):
            yield from measurements(source)
        else:
            yield source
