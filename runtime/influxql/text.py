"""A query as InfluxQL text, as Kapacitor prints it and sends it to a database.

What is printed is what the database reads, and that is not always what the script says (influxql's ast.go as Kapacitor
1.8.3 has it): floats keep three decimals, and no brackets are added, so that `a OR b` with bounds of time becomes
`a OR b AND time >= …`. `bounded` gives the tree of that text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tickc.runtime.gotext import format_duration_influx, format_float_g, format_time_rfc3339nano
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

KEYWORDS = frozenset(
    """
    ALL ALTER ANALYZE AND ANY AS ASC BEGIN BY CARDINALITY CONTINUOUS CREATE DATABASE DATABASES DEFAULT DELETE DESC
    DESTINATIONS DIAGNOSTICS DISTINCT DROP DURATION END EVERY EXACT EXPLAIN FALSE FIELD FOR FROM GRANT GRANTS GROUP
    GROUPS IN INF INSERT INTO KEY KEYS KILL LIMIT MEASUREMENT MEASUREMENTS NAME OFFSET ON OR ORDER PASSWORD POLICIES
    POLICY PRIVILEGES QUERIES QUERY READ REPLICATION RESAMPLE RETENTION REVOKE SELECT SERIES SET SHARD SHARDS SHOW
    SLIMIT SOFFSET STATS SUBSCRIPTION SUBSCRIPTIONS TAG TO TRUE USER USERS VALUES WHERE WITH WRITE
    """.split()  # noqa: SIM905
)

Spans = dict[int, tuple[int, int]]  # id of a part of a query -> the bytes of the text that it covers


def with_dimensions(select: Select, dimensions: Sequence[Dimension]) -> Select:
    """`select` grouped by `dimensions`, whatever its text says; a bucket without an offset has the offset 0."""
    whole = (Bucket(d.interval, d.offset or 0) if isinstance(d, Bucket) else d for d in dimensions)
    return replace(select, dimensions=tuple(whole))


def with_fill(select: Select, fill: str | float | int) -> Select:
    """`select` with another fill: null, none, previous, linear or a number."""
    return replace(select, fill=fill)


def bounded(select: Select, start: int, stop: int) -> Select:
    """`select` for the times start <= time < stop, in ns, as a database reads it.

    The bounds bind as AND does: of `a OR b` they bound `b` alone. `select` must be as the parser gives it.
    """
    bounds = Binary(">=", Ref("time"), Time(start)), Binary("<", Ref("time"), Time(stop))
    match select.where:
        case None:
            where: Expr = Binary("AND", *bounds)
        case Binary(op="OR", left=left, right=right):
            where = Binary("OR", left, _all(right, *bounds))
        case condition:
            where = _all(condition, *bounds)
    return replace(select, where=where)


def _all(first: Expr, *others: Expr) -> Expr:
    for other in others:
        first = Binary("AND", first, other)
    return first


def text(part: Tree | str, spans: Spans | None = None) -> str:
    """The text of a query, or of a part of it; `spans` is told where in it each part stands."""
    printer = _Printer(spans)
    printer.put(part)
    return "".join(printer.out)


class _Printer:
    """Collects the text in `out`, and counts its bytes where spans are wanted."""

    def __init__(self, spans: Spans | None) -> None:
        self.out: list[str] = []
        self.spans = spans
        self.size = 0

    def write(self, *texts: str) -> None:
        self.out.extend(texts)
        if self.spans is not None:
            self.size += sum(len(t.encode("utf-8", "surrogateescape")) for t in texts)

    def put(self, part: Tree | str) -> None:
        start = self.size
        match part:
            case Select():
                self.select(part)
            case Field(expr=expr, alias=alias):
                self.put(expr)
                if alias:
                    self.write(" AS ", quote_name(alias))
            case Binary():
                self.binary(part)
            case Paren(expr=expr):
                self.enclose("(", (expr,))
            case Call(args=(Ref(name=name),), bare=True):
                self.write("DISTINCT ", name)  # without quotes, whatever the name is
            case Call(name=name, args=args):
                self.enclose(f"{name}(", args)
            case _:
                self.write(_leaf(part))
        if self.spans is not None:
            self.spans[id(part)] = (start, self.size)

    def binary(self, tree: Binary) -> None:
        """A run of operators leans to the left, and may be long."""
        run: list[Binary] = []
        first: Expr = tree
        while isinstance(first, Binary):
            run.append(first)
            first = first.left
        start = self.size
        self.put(first)
        for part in reversed(run):
            self.write(f" {part.op} ")
            self.put(part.right)
            if self.spans is not None:
                self.spans[id(part)] = (start, self.size)

    def enclose(self, opening: str, parts: Sequence[Tree | str]) -> None:
        self.write(opening)
        self.listed(parts)
        self.write(")")

    def listed(self, parts: Sequence[Tree | str]) -> None:
        for i, part in enumerate(parts):
            if i:
                self.write(", ")
            self.put(part)

    def select(self, select: Select) -> None:
        self.write("SELECT ")
        self.listed(select.fields)
        self.write(" FROM ")
        for i, source in enumerate(select.sources):
            self.write(", " if i else "")
            if isinstance(source, Select):
                self.enclose("(", (source,))
            else:
                self.put(source)
        if select.where is not None:
            self.write(" WHERE ")
            self.put(select.where)
        if select.dimensions:
            self.write(" GROUP BY ")
            self.listed(select.dimensions)
        if select.fill not in (None, "null"):
            self.write(f" fill({select.fill if isinstance(select.fill, str) else _go_number(select.fill)})")
        if select.ordered:
            name = "time " if select.order_names_time else ""
            self.write(f" ORDER BY {name}{'DESC' if select.descending else 'ASC'}")
        for word in ("limit", "offset", "slimit", "soffset"):
            if count := getattr(select, word):
                self.write(f" {word.upper()} {count}")
        if select.zone:
            self.write(f" TZ('{select.zone}')")


def _go_number(value: float | int | None) -> str:
    return format_float_g(value) if isinstance(value, float) else str(value)


def _leaf(part: Tree | str) -> str:
    """The text of what has no parts."""
    match part:
        case str():  # a dimension's name
            return quote_name(part)
        case Ref(name=name, type=type):
            return f"{quote_name(name)}::{type}" if type else quote_name(name)
        case Lit(value=bool() as value):
            return "true" if value else "false"
        case Lit(value=str() as value):
            return quote_string(value)
        case Lit(value=float() as value):
            return f"{value:.3f}" if math.isfinite(value) else format_float_g(value)
        case Lit(value=value):
            return str(value)
        case Duration(ns=ns):
            return format_duration_influx(ns)
        case Time(ns=ns):
            return f"'{format_time_rfc3339nano(ns)}'"
        case Nil():
            return "nil"
        case Regex(pattern=pattern):
            return _quote_regex(pattern)
        case Wildcard(type=type):
            return f"*::{type}" if type else "*"
        case Bucket(interval=interval, offset=None):
            return f"time({format_duration_influx(interval)})"
        case Bucket(interval=interval, offset=int() as offset):
            return f"time({format_duration_influx(interval)}, {format_duration_influx(offset)})"
        case Measurement():
            return _measurement(part)
    raise TypeError(f"no part of a query: {part!r}")


def _measurement(measurement: Measurement) -> str:
    out = quote_name(measurement.database) + "." if measurement.database else ""
    if measurement.policy:
        out += quote_name(measurement.policy)
    if out:
        out += "."
    if measurement.name:
        return out + quote_name(measurement.name)
    return out + (_quote_regex(measurement.regex) if measurement.regex is not None else "")


def quote_string(value: str) -> str:
    """`value` as a string of InfluxQL."""
    return "'" + _escape(value).replace("'", "\\'") + "'"


def quote_name(name: str) -> str:
    """`name` as a name of InfluxQL, in quotes where it needs them."""
    if name.isascii() and name.isidentifier() and name.upper() not in KEYWORDS:
        return name
    return '"' + _escape(name).replace('"', '\\"') + '"'


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _quote_regex(pattern: str) -> str:
    return "/" + pattern.replace("/", "\\/") + "/"
