"""A SELECT of InfluxQL as a tree, as a script's query is written and as a generated module holds it.

`repr` of a tree is Python text that builds it, given `from tickc.runtime import influxql as q`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar


class Tree:
    """A part of a query. Its repr leaves out what has its default."""

    __slots__ = ()
    NAMED: ClassVar[bool] = False  # whether the repr names all parts

    def __repr__(self) -> str:
        given: list[str] = []
        named = self.NAMED
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if value == f.default and type(value) is type(f.default):
                named = True
                continue
            given.append(f"{f.name}={value!r}" if named else repr(value))
        return f"q.{type(self).__name__}({', '.join(given)})"


class Expr(Tree):
    """An expression of a query."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class Ref(Expr):
    """A field, a tag or `time`. type: what `::type` says (float, integer, unsigned,
    string, boolean, field, tag), or ""."""

    name: str
    type: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Lit(Expr):
    """A float, integer, string or bool."""

    value: float | int | str | bool


@dataclass(frozen=True, slots=True, repr=False)
class Duration(Expr):
    """A length of time in ns."""

    ns: int


@dataclass(frozen=True, slots=True, repr=False)
class Time(Expr):
    """A moment in ns since 1970, where the text has a time literal."""

    ns: int


@dataclass(frozen=True, slots=True, repr=False)
class Nil(Expr):
    """The value of a function of constants that has none; no text has it."""


@dataclass(frozen=True, slots=True, repr=False)
class Regex(Expr):
    """A regular expression, in Go's syntax, without the slashes."""

    pattern: str


@dataclass(frozen=True, slots=True, repr=False)
class Wildcard(Expr):
    """`*`, `*::field` or `*::tag`."""

    type: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Call(Expr):
    """A call of a function, or of an aggregate. bare: `distinct x`, without brackets."""

    name: str
    args: tuple[Expr, ...] = ()
    bare: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, repr=False)
class Binary(Expr):
    """op: + - * / % & | ^ = != < <= > >= =~ !~ AND OR."""

    op: str
    left: Expr
    right: Expr

    def __repr__(self) -> str:
        """A run of operators as a chain: Python reads no more than 200 brackets inside one another."""
        run: list[tuple[str, Expr]] = []
        first: Expr = self
        while isinstance(first, Binary):
            run.append((first.op, first.right))
            first = first.left
        if len(run) < 3:
            return f"q.Binary({self.op!r}, {self.left!r}, {self.right!r})"
        return f"q.chain({', '.join(map(repr, (first, *reversed(run))))})"


def chain(first: Expr, *others: tuple[str, Expr]) -> Expr:
    """`first op expr op expr …`, bound from the left."""
    for op, right in others:
        first = Binary(op, first, right)
    return first


@dataclass(frozen=True, slots=True, repr=False)
class Paren(Expr):
    """An expression in brackets, which names and texts of columns keep."""

    expr: Expr


@dataclass(frozen=True, slots=True, repr=False)
class Field(Tree):
    """A column of the SELECT list."""

    expr: Expr
    alias: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Measurement(Tree):
    """A measurement by name, or all that match a regex; database and policy "" where the text does not say."""

    database: str = ""
    policy: str = ""
    name: str = ""
    regex: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Bucket(Tree):
    """The dimension time(interval, offset), in ns. offset None: the text has none."""

    interval: int
    offset: int | None = None


Dimension = str | Wildcard | Regex | Bucket | Expr


@dataclass(frozen=True, slots=True, repr=False)
class Select(Tree):
    """One SELECT statement.

    sources: measurements or selects in brackets. dimensions: names of tags, Wildcard, Regex and at most one Bucket, as
    in the text; what else the text may have (`time(1m, now())`, `host::tag`, mistakes) is an Expr. fill: null, none,
    previous, linear or a number; None: the text has none. zone: the name in tz(). limits: 0 where there is none.
    descending: ORDER BY time DESC; ordered: whether the text orders at all; order_names_time: not just ORDER BY DESC.
    """

    NAMED: ClassVar[bool] = True

    fields: tuple[Field, ...]
    sources: tuple[Measurement | Select, ...]
    where: Expr | None = None
    dimensions: tuple[Dimension, ...] = ()
    fill: str | float | int | None = None
    ordered: bool = False
    descending: bool = False
    limit: int = 0
    offset: int = 0
    slimit: int = 0
    soffset: int = 0
    zone: str = ""
    order_names_time: bool = field(default=True, compare=False)
