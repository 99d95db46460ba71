"""TICKscript's syntax: the tree, text -> tree (`parse`), tree -> text (`format`). The grammar is tickscript.lark."""

from __future__ import annotations

from dataclasses import dataclass, field

from tickc.compiler.diagnostics import Span


@dataclass(frozen=True, slots=True)
class Comment:
    """Comment lines that stand together; `lines` as written, without the slashes' first blank."""

    lines: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A part of a script. `comment` stands above it (see the canonical format)."""

    span: Span
    comment: Comment | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Tree):
    """An int64 (`base` 8 or 10) or a float64."""

    value: int | float
    base: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class String(Tree):
    """A string literal; `triple` when it was written between three quotes."""

    value: str
    triple: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean(Tree):
    value: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationLiteral(Tree):
    """A duration in nanoseconds; `text` as written, empty when computed."""

    value: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexLiteral(Tree):
    """A regular expression; `pattern` with `\\/` already turned into `/`."""

    pattern: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Star(Tree):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference(Tree):
    """`"name"`: a field or tag of the point."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier(Tree):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLiteral(Tree):
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Tree):
    """`-x` or `!x`."""

    op: str
    operand: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Tree):
    """`left op right`; span.start is the operator's position as Kapacitor reports it."""

    op: str
    left: Tree
    right: Tree
    parens: bool = False
    multiline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Tree):
    """`name(args)`: a global function, a lambda function, or the right side of a link."""

    name: str
    args: tuple[Tree, ...]
    multiline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lambda(Tree):
    body: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Tree):
    """`left link right`: link is `|` (chain method), `.` (property) or `@` (user function)."""

    left: Tree
    link: str
    right: Call | Identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration(Tree):
    """`var name = value`."""

    name: str
    value: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeDeclaration(Tree):
    """`var name type`: a template variable."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DbRp(Tree):
    """`dbrp "database"."retention policy"`."""

    database: str
    retention_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Tree):
    statements: tuple[Tree, ...]
