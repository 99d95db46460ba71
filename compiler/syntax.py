"""TICKscript's syntax: the tree, text -> tree (`parse`), tree -> text (`format`). The grammar is tickscript.lark.

The parser is LALR and does not recurse. No tree that it returns is deeper than MAX_DEPTH, which bounds the recursion of
all that walk trees; a chain of one operator, `a OR b OR c …`, is one level, as they go along it in a loop.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from tickc.compiler.diagnostics import T107, Source, Span, TickError
from tickc.compiler.lalr import Grammar, climb
from tickc.compiler.lexer import Comment, Lexer, Token, format_duration, is_octal, join
from tickc.compiler.mistakes import MAX_DEPTH, Stop, errors, expected_list

MAX_BYTES = 4 * 1024 * 1024  # of a script
MAX_ROUNDS = 100  # of formatting; a round changes less and less, and nearly always one is enough
FRAMES = 8  # calls that a walk of the tree may need for each level


# ---------------------------------------------------------------------------------------------------------- the tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A part of a script. `comment` stands above it (see the canonical format).

    `span.start` is the position that Kapacitor reports; `extent()` gives all that the part covers. Two trees are equal
    when they mean the same: spans, comments, line breaks, parentheses and the way a literal is written do not count.
    """

    span: Span = field(compare=False)
    comment: Comment | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Tree):
    """An int64 (`base` 8 or 10) or a float64."""

    value: int | float
    base: int = field(default=10, compare=False)

    def __eq__(self, other: object) -> bool:
        """Whether `other` is the same number of the same type: 1 is not 1.0."""
        return isinstance(other, Number) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[bool, int | float]:
        return isinstance(self.value, float), self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class String(Tree):
    """A string literal; `triple` when it was written between three quotes."""

    value: str
    triple: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean(Tree):
    value: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationLiteral(Tree):
    """A duration in nanoseconds; `text` as written, empty when computed."""

    value: int
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexLiteral(Tree):
    """A regular expression; `pattern` with `\\/` already turned into `/`."""

    pattern: str
    text: str = field(default="", compare=False)


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
    """`left op right`; span is the operator's. `multiline` when a line break follows the operator."""

    op: str
    left: Tree
    right: Tree
    parens: bool = field(default=False, compare=False)
    multiline: bool = field(default=False, compare=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Binary) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, tuple[Tree, ...]]:
        """The operator, and the operands of a chain of it, which may be too long for recursion."""
        operands, left = [self.right], self.left
        while isinstance(left, Binary) and left.op == self.op:
            operands.append(left.right)
            left = left.left
        return self.op, (left, *operands)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Tree):
    """`name(args)`: a global function, a lambda function, or the right side of a link; `multiline` as printed."""

    name: str
    args: tuple[Tree, ...]
    multiline: bool = field(default=False, compare=False)

    @property
    def name_span(self) -> Span:
        return Span(self.span.start, self.span.start + len(self.name.encode()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lambda(Tree):
    """`lambda: body`."""

    body: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Tree):
    """`left link right`: link is `|` (chain method), `.` (property) or `@` (user function).

    The span goes from the link to the end of the right side.
    """

    left: Tree
    link: str
    right: Call | Identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration(Tree):
    """`var name = value`."""

    name: str
    value: Tree
    name_span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeDeclaration(Tree):
    """`var name type`: a template variable."""

    name: str
    type: str
    name_span: Span | None = field(default=None, compare=False)
    type_span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DbRp(Tree):
    """`dbrp "database"."retention policy"`."""

    database: str
    retention_policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Tree):
    """A whole script; `end_comment` is what stands after the last statement."""

    statements: tuple[Tree, ...]
    end_comment: Comment | None = field(default=None, compare=False)


def extent(tree: Tree) -> Span:
    """All of the script that `tree` covers, but for parentheses around it."""
    match tree:
        case Binary(left=left, right=right):
            while isinstance(left, Binary):
                left = left.left
            return Span(extent(left).start, extent(right).stop)
        case Chain(left=left, span=span):
            return Span(extent(left).start, span.stop)
        case Unary(span=span, operand=operand):
            return Span(span.start, extent(operand).stop)
        case Lambda(span=span, body=body):
            return Span(span.start, extent(body).stop)
        case Declaration(span=span, value=value):
            return Span(span.start, extent(value).stop)
    return tree.span


# -------------------------------------------------------------------------------------------------------- the parser


class _TooDeep(Exception):
    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span


_PRECEDENCE = {
    "OR": 0, "AND": 1, "==": 2, "!=": 2, "=~": 2, "!~": 2, ">": 3, ">=": 3, "<": 3, "<=": 3, "+": 4, "-": 4, "*": 5,
    "/": 5, "%": 5,
}  # fmt: skip


class _Builder:
    """Builds the tree: a method for each alias of the grammar, called with the parts as the parser reduces them.

    A comment goes to the part whose token it stands before, as in Kapacitor; where Kapacitor would lose it (before a
    sign, a `(`, a name that is declared) it goes to the part that the token belongs to.
    """

    def begin(self, data: bytes) -> None:
        self.data = data
        self.deepest = 0
        self.depths: dict[int, int] = {}  # id of a part that has parts -> its depth; the tree keeps the ids alive

    def deep(self, tree: Tree, *parts: Tree) -> Tree:
        below = [self.depths.get(id(part), 1) for part in parts]
        if isinstance(tree, Binary) and isinstance(tree.left, Binary) and tree.left.op == tree.op:
            below[0] -= 1
        depth = 1 + max(below, default=0)
        if depth > MAX_DEPTH:
            raise _TooDeep(tree.span)
        self.depths[id(tree)] = depth
        self.deepest = max(self.deepest, depth)
        return tree

    def breaks(self, start: int, stop: int) -> bool:
        return self.data.find(b"\n", start, stop) >= 0

    # lists of parts

    def empty(self, parts: list[Any]) -> list[Any]:
        return []

    def whole(self, parts: list[Any]) -> list[Any]:
        return parts[0]

    def one(self, parts: list[Any]) -> list[Any]:
        return [parts[0]]

    def pair(self, parts: list[Any]) -> list[Any]:
        return parts

    def append(self, parts: list[Any]) -> list[Any]:
        parts[0].append(parts[1])
        return parts[0]

    def append_third(self, parts: list[Any]) -> list[Any]:
        parts[0].append(parts[2])
        return parts[0]

    def extend(self, parts: list[Any]) -> list[Any]:
        parts[0] += parts[1:]
        return parts[0]

    def extend_links(self, parts: list[Any]) -> list[Any]:
        if len(parts[0]) > MAX_DEPTH:
            raise _TooDeep(parts[1][0].span)
        return self.append(parts)

    # statements

    def declaration(self, parts: list[Any]) -> Tree:
        var, name, assign, value = parts
        comment = join(join(var.comment, name.comment), assign.comment)
        span = Span(var.start, name.stop)
        tree = Declaration(name=name.text, value=value, name_span=name.span, span=span, comment=comment)
        return self.deep(tree, value)

    def type_declaration(self, parts: list[Any]) -> Tree:
        var, name, type = parts
        return TypeDeclaration(
            name=name.text,
            type=type.text,
            name_span=name.span,
            type_span=type.span,
            span=Span(var.start, type.stop),
            comment=join(join(var.comment, name.comment), type.comment),
        )

    def dbrp(self, parts: list[Any]) -> Tree:
        comment = None
        for token in parts:
            comment = join(comment, token.comment)
        span = Span(parts[0].start, parts[3].stop)
        return DbRp(database=parts[1].value, retention_policy=parts[3].value, span=span, comment=comment)

    # expressions

    def lambda_(self, parts: list[Any]) -> Tree:
        keyword, body = parts
        return self.deep(Lambda(body=body, span=keyword.span, comment=keyword.comment), body)

    def list_(self, parts: list[Any]) -> Tree:
        items = tuple(parts[1]) if isinstance(parts[1], list) else ()
        return ListLiteral(items=items, span=Span(parts[0].start, parts[-1].stop), comment=parts[0].comment)

    def chain(self, parts: list[Any]) -> Tree:
        left, *links = parts[0]
        for link, right in links:
            span = Span(link.start, right.span.stop)
            left = self.deep(
                Chain(left=left, link=link.text, right=right, span=span, comment=link.comment), left, right
            )
        return left

    def link(self, parts: list[Any]) -> tuple[Token, Tree]:
        return parts[0], parts[1]

    def call(self, parts: list[Any]) -> Tree:
        name, bracket = parts[:2]
        args = tuple(parts[2]) if isinstance(parts[2], list) else ()
        multiline = bool(args) and self.breaks(name.start, args[-1].span.start)
        tree = Call(
            name=name.text,
            args=args,
            multiline=multiline,
            span=Span(name.start, parts[-1].stop),
            comment=join(name.comment, bracket.comment),
        )
        return self.deep(tree, *args)

    def climb(self, parts: list[Any]) -> Tree:
        return climb(parts[0], _PRECEDENCE, self.binary)

    def binary(self, left: Tree, operator: Token, right: Tree) -> Tree:
        tree = Binary(
            op=operator.text,
            left=left,
            right=right,
            multiline=self.breaks(left.span.start, right.span.start),
            span=operator.span,
            comment=operator.comment,
        )
        return self.deep(tree, left, right)

    def unary(self, parts: list[Any]) -> Tree:
        sign, operand = parts
        return self.deep(Unary(op=sign.text, operand=operand, span=sign.span, comment=sign.comment), operand)

    def parens(self, parts: list[Any]) -> Tree:
        bracket, inner, _ = parts
        comment = join(bracket.comment, inner.comment)
        if isinstance(inner, Binary):
            tree = replace(inner, parens=True, comment=comment)
            self.depths[id(tree)] = self.depths.pop(id(inner))
            return tree
        return replace(inner, comment=comment) if comment is not inner.comment else inner

    # leaves

    def identifier(self, parts: list[Any]) -> Tree:
        (token,) = parts
        return Identifier(name=token.text, span=token.span, comment=token.comment)

    def number(self, parts: list[Any]) -> Tree:
        (token,) = parts
        base = 8 if is_octal(token.text) else 10
        return Number(value=token.value, base=base, span=token.span, comment=token.comment)

    def duration(self, parts: list[Any]) -> Tree:
        (token,) = parts
        return DurationLiteral(value=token.value, text=token.text, span=token.span, comment=token.comment)

    def string(self, parts: list[Any]) -> Tree:
        (token,) = parts
        triple = token.text.startswith("'''")
        return String(value=token.value, triple=triple, span=token.span, comment=token.comment)

    def reference(self, parts: list[Any]) -> Tree:
        (token,) = parts
        return Reference(name=token.value, span=token.span, comment=token.comment)

    def regex(self, parts: list[Any]) -> Tree:
        (token,) = parts
        return RegexLiteral(pattern=token.value, text=token.text[1:-1], span=token.span, comment=token.comment)

    def boolean(self, parts: list[Any]) -> Tree:
        (token,) = parts
        return Boolean(value=token.text == "TRUE", span=token.span, comment=token.comment)

    def star(self, parts: list[Any]) -> Tree:
        (token,) = parts
        return Star(span=token.span, comment=token.comment)


@cache
def _grammar() -> Grammar:
    return Grammar(Path(__file__).with_name("tickscript.lark"), _Builder())


def _run(tokens: list[Token], source: Source) -> list[Tree] | Stop:
    """The statements of `tokens`, or where and why they are none."""
    from lark.exceptions import UnexpectedToken

    grammar = _grammar()
    with grammar.lock:
        grammar.builder.begin(source.data)
        parser = grammar.start()
        statements: list[Tree] = []
        for index, token in enumerate(tokens):
            try:
                statements = parser.feed_token(token)
            except UnexpectedToken:
                return Stop(index, expected_list(parser.accepts()))
            except _TooDeep as deep:
                return Stop(index, "", deep.span)
        _make_room(grammar.builder.deepest)
        return statements


def _make_room(depth: int) -> None:
    """Raise Python's recursion limit, for the rest of the process, where a tree is too deep for walks under it."""
    if sys.getrecursionlimit() < (needed := 500 + FRAMES * depth):
        sys.setrecursionlimit(needed)


def parse(source: Source | str) -> Program:
    """The tree of a script. Raises TickError with all syntax errors that were found, Kapacitor's first."""
    source = Source(source) if isinstance(source, str) else source
    if len(source.data) > MAX_BYTES:
        size = f"{len(source.data) / (1 << 20):.1f} MiB"
        raise TickError(
            [T107.at(None, f"the script is too long: {size}, and {MAX_BYTES >> 20} MiB is the limit")], source
        )
    tokens = Lexer(source).run()
    result = _run(tokens, source)
    if isinstance(result, list) and not any(token.problem for token in tokens):
        end = tokens[-1]
        return Program(statements=tuple(result), span=Span(0, end.stop), end_comment=end.comment)
    raise TickError(errors(source, tokens, result, _run), source)


# ------------------------------------------------------------------------------------------------------------- format


def format(script: Program | Source | str) -> str:
    """The script in Kapacitor's canonical form; formatting the result again changes nothing.

    Kapacitor's own formatter needs a second run for a few scripts, because a line break that it puts in makes the next
    run put in another; this goes on until nothing changes. Raises TickError where a text does not parse.
    """
    program = script if isinstance(script, Program) else parse(script)
    text = _print(program)
    for _ in range(MAX_ROUNDS):
        try:
            tree = parse(text)
        except TickError:
            return text
        if tree != program:  # a tree that no script has, say with a duration in nanoseconds
            return text
        if (again := _print(tree)) == text:
            return text
        text = again
    return text


def format_expression(tree: Tree) -> str:
    """One expression as the canonical form has it, on its own."""
    printer = _Printer()
    printer.tree(tree, "", True)
    return "".join(printer.parts)


def format_float(value: float) -> str:
    """A float in plain decimal, the shortest that reads back the same, always with a point."""
    text = f"{Decimal(repr(value)):f}"
    return text if "." in text else text + ".0"


def _print(program: Program) -> str:
    printer = _Printer()
    previous: Tree | None = None
    for statement, following in zip(program.statements, (*program.statements[1:], None)):
        if previous:
            printer.parts.append("\n")
        minus = _first_minus(statement) if previous and _continues(previous) else None
        name = _last_name(statement) if following and _opens(following, _continues(statement)) else None
        printer.wrapped = minus, name
        printer.tree(statement, "", True)
        printer.parts.append("\n")
        previous = statement
    if program.end_comment:
        printer.parts.append("\n" if previous else "")
        printer.comment(program.end_comment, "", True)
        printer.parts.append("\n")
    return "".join(printer.parts)


# node.go drops parentheses around all but a binary. Between statements, which nothing separates, that may join two:
# `(x)` and `(y + z)` would become a call, `x` and `(-y)` a difference. Such parentheses are kept.


def _first(tree: Tree) -> Tree:
    """The part that begins the text of `tree`: a leaf, a call, a sign, or a binary in parentheses."""
    while isinstance(tree, Binary) and not tree.parens:
        tree = tree.left
    return tree


def _first_minus(tree: Tree) -> Unary | None:
    first = _first(tree)
    return first if isinstance(first, Unary) and first.op == "-" else None


def _opens(tree: Tree, after_operand: bool) -> bool:
    """Whether the text of `tree` begins with a parenthesis when a statement stands before."""
    first = _first(tree)
    return isinstance(first, (Binary, Star, RegexLiteral)) or (after_operand and _first_minus(tree) is not None)


def _continues(statement: Tree) -> bool:
    """Whether an operator behind `statement` would go on with it."""
    if isinstance(statement, Declaration):
        statement = statement.value
    return not isinstance(statement, (Chain, ListLiteral, TypeDeclaration, DbRp))


def _last_name(tree: Tree) -> Identifier | None:
    """The identifier that ends the text of `tree`, if one does."""
    while True:
        match tree:
            case (
                Binary(right=inner, parens=False) | Unary(operand=inner) | Lambda(body=inner) | Declaration(value=inner)
            ):
                tree = inner
            case Identifier():
                return tree
            case _:
                return None


def _starts_with_comment(tree: Tree) -> bool:
    while True:
        match tree:
            case Chain(left=left) | Binary(left=left, parens=False, comment=None):
                tree = left
            case _:
                return tree.comment is not None


class _Printer:
    """Prints trees as the Format methods of Kapacitor's node.go do; the left sides of operators and links in a loop."""

    STEP = "    "

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.wrapped: tuple[Unary | None, Identifier | None] = None, None  # to be printed in parentheses
        self.slippery = 0  # the number of parts when a star or regular expression had been printed without parentheses

    def comment(self, comment: Comment, indent: str, on_new_line: bool) -> None:
        if not on_new_line:
            self.parts.append("\n")
        for line in comment.lines:
            self.parts.append("\n" if line == "\n" else f"{indent}// {line}\n" if line else f"{indent}//\n")

    def begin(self, tree: Tree, indent: str, on_new_line: bool) -> None:
        """The comment of `tree`, and the indent where it begins a line."""
        if tree.comment:
            self.comment(tree.comment, indent, on_new_line)
            on_new_line = True
        if on_new_line:
            self.parts.append(indent)

    def tree(self, tree: Tree, indent: str, on_new_line: bool) -> None:
        if isinstance(tree, Chain):
            return self.chain(tree, indent, on_new_line)
        if isinstance(tree, Binary):
            return self.binary(tree, indent, on_new_line)
        self.begin(tree, indent, on_new_line)
        match tree:
            case Call():
                self.call(tree, indent)
            case Unary():
                parens = tree is self.wrapped[0]
                self.parts.append(f"({tree.op}" if parens else tree.op)
                self.operand(tree.operand, indent)
                if parens:
                    self.parts.append(")")
            case Lambda():
                self.parts.append("lambda: ")
                self.tree(tree.body, indent, False)
            case Declaration():
                self.parts.append(f"var {tree.name} = ")
                self.after_equals(tree.value, indent, False)
            case ListLiteral():
                self.items(tree, indent, on_new_line or tree.comment is not None)
            case _:
                slippery = isinstance(tree, (Star, RegexLiteral))
                parens = tree is self.wrapped[1] or (slippery and self.is_misread(tree))
                self.parts.append(f"({_leaf(tree)})" if parens else _leaf(tree))
                self.slippery = len(self.parts) if slippery and not parens else 0

    def is_misread(self, tree: Tree) -> bool:
        """Whether a star or a slash here would be an operator, or go on with a comment; node.go does not care."""
        last = next((part for part in reversed(self.parts) if part and not part.isspace()), "")
        text = last.strip()
        if last.endswith("\n") and text.startswith("//"):
            return isinstance(tree, RegexLiteral)
        return text[-1:].isalnum() or text[-1:] in ("_", "'", '"', ")", ":")

    def after_equals(self, tree: Tree, indent: str, on_new_line: bool) -> None:
        """Print what follows `=`, `=~` or `!~`: a comment there would be a regular expression, so it is shielded."""
        if not _starts_with_comment(tree):
            return self.tree(tree, indent, on_new_line)
        if on_new_line:
            self.parts.append(indent)
        self.parts.append("(")
        self.tree(tree, indent + self.STEP, False)
        self.parts.append(")")

    def chain(self, tree: Chain, indent: str, on_new_line: bool) -> None:
        links: list[Chain] = []
        left: Tree = tree
        while isinstance(left, Chain):
            links.append(left)
            left = left.left
        self.tree(left, indent, on_new_line)
        for link in reversed(links):
            column = indent + self.STEP * (2 if link.link == "." else 1)
            self.parts.append("\n")
            if link.comment:
                self.comment(link.comment, column, True)
            self.parts += column, link.link
            self.tree(link.right, column, False)

    def binary(self, tree: Binary, indent: str, on_new_line: bool) -> None:
        opened: list[tuple[Binary, str, bool]] = []
        left: Tree = tree
        parens = tree.parens
        while isinstance(left, Binary):
            self.begin(left, indent, on_new_line)
            on_new_line = False
            if parens:
                self.parts.append("(")
                indent += self.STEP
            opened.append((left, indent, parens))
            parent, left = left, left.left
            parens = isinstance(left, Binary) and (left.parens or _PRECEDENCE[left.op] < _PRECEDENCE[parent.op])
        self.tree(left, indent, False)
        for node, column, closes in reversed(opened):
            if self.slippery == len(self.parts) and node.op not in ("-", "AND", "OR"):
                self.parts[-1] = f"({self.parts[-1]})"  # only these operators can be read after a star or a slash
            self.parts.append(f" {node.op}\n" if node.multiline else f" {node.op} ")
            right = node.right
            if isinstance(right, Binary) and _PRECEDENCE[right.op] <= _PRECEDENCE[node.op]:
                right = replace(right, parens=True)  # a tree made by hand may lack them
            right_side = self.after_equals if node.op in ("=~", "!~") else self.tree
            right_side(right, column, node.multiline)
            if closes:
                self.parts.append(")")

    def operand(self, tree: Tree, indent: str) -> None:
        self.tree(replace(tree, parens=True) if isinstance(tree, Binary) else tree, indent, False)

    def call(self, tree: Call, indent: str) -> None:
        self.parts += tree.name, "("
        for i, arg in enumerate(tree.args):
            if i:
                self.parts.append("," if tree.multiline else ", ")
            if tree.multiline:
                self.parts.append("\n")
            self.tree(arg, indent + self.STEP, tree.multiline)
        if tree.multiline and tree.args:
            self.parts += "\n", indent
        self.parts.append(")")

    def items(self, tree: ListLiteral, indent: str, on_new_line: bool) -> None:
        """The items of a list; on a line of its own, each is indented again, which is node.go's doing."""
        self.parts.append("[")
        for i, item in enumerate(tree.items):
            if i:
                self.parts.append(", ")
            self.tree(item, indent, on_new_line)
        self.parts.append("]")


def _leaf(tree: Tree) -> str:
    match tree:
        case Number(value=int(value), base=base):
            return f"0{value:o}" if base == 8 else str(value)
        case Number(value=value):
            return format_float(value)
        case String(value=text, triple=triple):
            return f"'''{text}'''" if triple else "'" + text.replace("'", "\\'") + "'"
        case Boolean(value=value):
            return "TRUE" if value else "FALSE"
        case DurationLiteral(value=value, text=text):
            return text or format_duration(value)
        case RegexLiteral(pattern=pattern, text=text):
            return "/" + (text or pattern.replace("/", "\\/")) + "/"
        case Star():
            return "*"
        case Reference(name=name):
            return '"' + name.replace('"', '\\"') + '"'
        case Identifier(name=name):
            return name
        case TypeDeclaration(name=name, type=type):
            return f"var {name} {type}"
        case DbRp(database=database, retention_policy=policy):
            return "dbrp " + ".".join('"' + name.replace('"', '\\"') + '"' for name in (database, policy))
    raise AssertionError(f"no text for {tree}")
