"""TICKscript's syntax: the tree, text -> tree (`parse`), tree -> text (`format`). The grammar is tickscript.lark.

The lexer depends on what stands before: after an operand it first looks for an operator, elsewhere `/` begins a regular
expression, `*` is a star and `-` a sign (Kapacitor lex.go). The parser is LALR and does not recurse; no tree that it
returns is deeper than MAX_DEPTH, which bounds the recursion of all that walk trees.
"""

from __future__ import annotations

import re
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickc.compiler.diagnostics import (
    T101,
    T102,
    T103,
    T104,
    T105,
    T106,
    T107,
    Code,
    Diagnostic,
    Source,
    Span,
    TickError,
    decode,
    go_quote,
)

if TYPE_CHECKING:
    pass

MAX_BYTES = 4 * 1024 * 1024  # of a script
MAX_NESTING = 200  # parentheses, arguments, lists and signs inside one another
MAX_DEPTH = 1000  # of the tree: operators of one expression or links of one chain also nest
MAX_ERRORS = 20  # reported of one script


# ---------------------------------------------------------------------------------------------------------- the tree


@dataclass(frozen=True, slots=True)
class Comment:
    """Comment lines; `lines` as written, without the slashes and their first blank.

    An element that is a newline stands for an empty line of the script, between groups of comment lines.
    """

    lines: tuple[str, ...]
    span: Span

    @property
    def text(self) -> str:
        """The comment as Kapacitor gives it for the description of a variable."""
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A part of a script. `comment` stands above it (see the canonical format).

    `span.start` is the position that Kapacitor reports; `extent()` gives all that the part covers. Two trees are equal
    when they mean the same: spans, comments, line breaks and parentheses do not count.
    """

    span: Span = field(compare=False)
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
    """`left op right`; span is the operator's. `multiline` when a line break follows the operator."""

    op: str
    left: Tree
    right: Tree
    parens: bool = field(default=False, compare=False)
    multiline: bool = field(default=False, compare=False)


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


# --------------------------------------------------------------------------------------------------------- the lexer


class Token:
    """A token: the grammar's `type`, the text, bytes [start, stop), and the comment that stands before it.

    A literal's `value` is worked out here; `problem` is why it has none. The type ERROR holds the lexer's complaint
    as its text, LIMIT is where nesting goes too deep; both are the last token.
    """

    __slots__ = ("comment", "problem", "start", "stop", "text", "type", "value")

    def __init__(self, type: str, text: str, start: int, stop: int, comment: Comment | None = None) -> None:
        self.type = type
        self.text = text
        self.start = start
        self.stop = stop
        self.comment = comment
        self.value: Any = None
        self.problem: tuple[Code, str] | None = None

    @property
    def name(self) -> str:
        """The token in Kapacitor's messages."""
        return _NAMES.get(self.type, self.text)

    @property
    def span(self) -> Span:
        return Span(self.start, self.stop)


_NAMES = {
    "IDENT": "identifier", "NUMBER": "number", "DURATION": "duration", "STRING": "string", "REFERENCE": "reference",
    "REGEX": "regex", "LAMBDA": "lambda", "$END": "EOF",
}  # fmt: skip
_WORDS = {"AND": "OPERATOR", "OR": "OPERATOR", "TRUE": "BOOL", "FALSE": "BOOL", "var": "VAR", "dbrp": "DBRP"}
_PUNCTUATION = {
    "(": "LPAR", ")": "RPAR", "[": "LBRACKET", "]": "RBRACKET", "|": "PIPE", "@": "AT", ",": "COMMA", "*": "STAR",
    "-": "MINUS", "!": "NOT", ".": "DOT",
}  # fmt: skip

# Go's unicode.IsSpace; Python's \s has four more.
_BLANKS = r"\t\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACE = rf"[\n{_BLANKS}]*+"
_COMMENT = rf"//[^\n]*+(?:\n[{_BLANKS}]*+/[^\n]*+)*+"  # after a comment's newline, any `/` goes on with the comment
_REGEX = r"/(?:[^/\\]|\\/?)*+/"
_OPERAND = re.compile(
    rf"""{_SPACE}(?:
      (?P<word>[^\W\d_]\w*+)
    | (?P<duration>\d++(?:ms|[uµsmhdw]))
    | (?P<number>\d++\.?\d*+|\.\d++)
    | (?P<punctuation>[][()|@,*\-!.])
    | (?P<string>'(?:[^'\\]|\\'?)*+')
    | (?P<reference>"(?:[^"\\]|\\"?)*+")
    | (?P<comment>{_COMMENT})
    | (?P<regex>{_REGEX})
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_OPERATOR = re.compile(
    rf"""{_SPACE}(?:
      (?P<match>=~|!~)
    | (?P<operator>[+*%]|/(?!/)|!=|[<>]=?|==)
    | (?P<minus>-)
    | (?P<not>!)
    | (?P<assign>=)
    )""",
    re.VERBOSE,
)
_REGEX_NEXT = re.compile(rf"{_SPACE}(?P<regex>{_REGEX})")
_SPACES = re.compile(_SPACE)


class _Lexer:
    """Cuts a script into tokens, from byte `start` on; the last is $END, ERROR or LIMIT."""

    def __init__(self, source: Source, start: int = 0) -> None:
        self.text = source.text
        self.offsets = _byte_offsets(source)
        self.at = bisect_left(self.offsets, start)
        self.tokens: list[Token] = []
        self.comment: Comment | None = None
        self.depth = 0  # brackets and signs that are open
        self.base = 0  # the same without the signs, which end with their operand
        self.bases: list[int] = []

    def run(self) -> list[Token]:
        after_operand = False
        while True:
            found = _OPERATOR.match(self.text, self.at) if after_operand else None
            if found is None:
                found = _OPERAND.match(self.text, self.at)
            if found is None:
                self.complain()
                return self.tokens
            kind = found.lastgroup
            assert kind is not None
            if kind == "comment":
                self.add_comment(found)
                after_operand = False
                continue
            if (type := self.add(kind, found)) in _LAST:
                return self.tokens
            after_operand = kind == "word" or type in _BEFORE_OPERATOR
            if kind in ("match", "assign"):
                self.regex()

    def add(self, kind: str, found: re.Match[str]) -> str:
        """Take the token that was found; its type."""
        text, start = found[kind], self.offsets[found.start(kind)]
        self.at = found.end()
        if kind == "word":
            return self.word(text, start)
        if kind == "string" and text == "''" and self.text.startswith("'", self.at):
            return self.triple(start)
        if kind == "number" and self.text.startswith(".", self.at):
            return self.error("multiple decimals in number", start)
        type = _PUNCTUATION[text] if kind == "punctuation" else _TYPES[kind]
        return self.push(type, text, start, _VALUES.get(kind))

    def push(self, type: str, text: str, start: int, value: Callable[[str], Any] | None = None) -> str:
        token = Token(type, text, start, self.offsets[self.at])
        if value is not None:
            try:
                token.value = value(text)
            except _BadLiteral as bad:
                token.problem = bad.code, bad.message
        if self.comment is not None and type not in _NO_CLAIM:
            token.comment, self.comment = self.comment, None
        self.nest(token)
        self.tokens.append(token)
        return token.type

    def nest(self, token: Token) -> None:
        """Keep count of the depth; a token that goes too deep becomes LIMIT."""
        if token.type in ("LPAR", "LBRACKET"):
            self.bases.append(self.base)
            self.base = self.depth = self.depth + 1
        elif token.type in ("RPAR", "RBRACKET"):
            self.base = self.depth = self.bases.pop() if self.bases else 0
        elif token.type in ("MINUS", "NOT"):
            self.depth += 1
        else:
            self.depth = self.base
        if self.depth > MAX_NESTING:
            token.type = "LIMIT"

    def word(self, text: str, start: int) -> str:
        if not text.isascii():  # Python's \w has more characters than Go's letters and digits
            good = next((i for i, c in enumerate(text) if not (c.isalpha() or c.isdecimal() or c == "_")), len(text))
            self.at += good - len(text)
            text = text[:good]
            if not text:
                self.complain()
                return "ERROR"
        if text == "lambda" and self.text.startswith(":", self.at):
            self.at += 1
            return self.push("LAMBDA", "lambda:", start)
        return self.push(_WORDS.get(text, "IDENT"), text, start)

    def triple(self, start: int) -> str:
        """A string in three quotes, whose first two have been read."""
        body = self.at + 1
        stop = self.text.find("'''", body)
        odd = self.text.find("''\\", body, stop if stop >= 0 else None)
        if odd >= 0:  # two quotes and a backslash: lex.go takes the backslash for an escape
            stop = self.odd_triple(odd)
        if stop < 0:
            return self.error("unterminated string", start)
        self.at = stop + 3
        return self.push("STRING", self.text[body - 3 : self.at], start, lambda text: text[3:-3])

    def odd_triple(self, at: int) -> int:
        """Where the closing quotes of a triple-quoted string begin, or -1, by the letter of lex.go."""
        missing = 3
        while at < len(self.text):
            character = self.text[at]
            if character == "\\" and missing == 1:
                at += self.text.startswith("'", at + 1)
            elif character == "'":
                missing -= 1
                if missing == 0:
                    return at - 2
            else:
                missing = 3
            at += 1
        return -1

    def regex(self) -> None:
        """After `=`, `=~` and `!~` a slash begins a regular expression, even one that looks like a comment."""
        if found := _REGEX_NEXT.match(self.text, self.at):
            self.add("regex", found)

    def add_comment(self, found: re.Match[str]) -> None:
        start, self.at = self.offsets[found.start("comment")], found.end()
        lines = [line.strip(_STRIP) for line in found["comment"].split("\n")]
        text = tuple(line.removeprefix("//").removeprefix(" ") for line in lines if line)
        self.comment = _join(self.comment, Comment(text, Span(start, self.offsets[self.at])))

    def complain(self) -> None:
        """The token ERROR, for what begins at this place."""
        found = _SPACES.match(self.text, self.at)
        assert found is not None
        start = self.offsets[found.end()]
        character = self.text[found.end()]
        message = _UNTERMINATED.get(character)
        if character == "/" and found.end() + 1 == len(self.text) and not self.expects_regex():
            message = _SLASH_AT_END
        if message:
            self.at = len(self.text)
        else:
            self.at = found.end() + 1
            shown = "\ufffd" if "\ud800" <= character <= "\udfff" else character
            message = f"unknown state, last char: {go_quote(shown, quote=chr(39))}"
        self.error(message, start)

    def expects_regex(self) -> bool:
        return bool(self.tokens) and self.tokens[-1].text in ("=", "=~", "!~")

    def error(self, message: str, start: int) -> str:
        token = Token("ERROR", message, start, self.offsets[self.at])
        self.tokens.append(token)
        return token.type


_UNTERMINATED = {"'": "unterminated string", '"': "unterminated field reference", "/": "unterminated regex"}
_SLASH_AT_END = 'unexpected "\ufffd" expected "/"'  # lex.go looks for the character after it, and loses its place
_LAST = frozenset({"$END", "ERROR", "LIMIT"})
_NO_CLAIM = frozenset({"RPAR", "RBRACKET", "COMMA"})  # a comment before one of these goes to what follows
_BEFORE_OPERATOR = frozenset({"NUMBER", "DURATION", "STRING", "REFERENCE", "RPAR"})
_TYPES = {
    "duration": "DURATION", "number": "NUMBER", "string": "STRING", "reference": "REFERENCE", "regex": "REGEX",
    "end": "$END", "match": "OPERATOR", "operator": "OPERATOR", "minus": "MINUS", "not": "NOT", "assign": "ASSIGN",
}  # fmt: skip
_STRIP = "\t\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def _byte_offsets(source: Source) -> Sequence[int]:
    """For each character of the script, and for its end, the byte at which it begins."""
    if source.text.isascii():
        return range(len(source.text) + 1)
    widths = (1 if c < "\x80" or "\udc80" <= c <= "\udcff" else len(c.encode()) for c in source.text)
    return array("q", accumulate(widths, initial=0))


def _join(first: Comment | None, second: Comment | None) -> Comment | None:
    """Both comments as one, with an empty line between them."""
    if first is None or second is None:
        return first or second
    return Comment((*first.lines, "\n", *second.lines), Span(first.span.start, second.span.stop))


# ---------------------------------------------------------------------------------------------------------- literals


class _BadLiteral(Exception):
    """A literal that has no value; Kapacitor tells of it without a position."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _number(text: str) -> int | float:
    illegal = _BadLiteral(T104, f"illegal number syntax: {go_quote(text)}")
    if not text.isascii():  # Python would read other alphabets' digits
        raise illegal
    if "." in text:
        if (value := float(text)) == float("inf"):
            raise illegal
        return value
    digits = text.lstrip("0") or "0"
    try:
        whole = int(digits, 8 if _is_octal(text) else 10) if len(digits) < 30 else 1 << 63
    except ValueError:
        raise illegal from None
    if whole >= 1 << 63:
        raise illegal
    return whole


def _is_octal(text: str) -> bool:
    return text[0] == "0" and len(text) > 1 and "." not in text


_UNITS = {
    "u": 1_000, "µ": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000,
    "d": 86_400_000_000_000, "w": 604_800_000_000_000,
}  # fmt: skip


def _duration(text: str) -> int:
    unit = text.lstrip("0123456789") if text.isascii() or text[-1] == "µ" else ""
    digits = text.removesuffix(unit).lstrip("0") or "0"
    if unit not in _UNITS or len(digits) > 19 or int(digits) >= 1 << 63:
        raise _BadLiteral(T104, "invalid duration")
    nanoseconds = (int(digits) * _UNITS[unit] + (1 << 63)) % (1 << 64) - (1 << 63)  # wraps as Go's does
    if nanoseconds < 0:
        raise _BadLiteral(T104, f"overflowed duration {digits}{unit}: choose a smaller duration or INF")
    return nanoseconds


def _regex(text: str) -> str:
    from tickc.runtime.regex import compile_regex

    pattern = text[1:-1].replace("\\/", "/")
    try:
        compile_regex(pattern)
    except ValueError as error:
        raise _BadLiteral(T105, str(error)) from None
    return pattern


_VALUES: dict[str, Callable[[str], Any]] = {
    "number": _number,
    "duration": _duration,
    "string": lambda text: text[1:-1].replace("\\'", "'"),
    "reference": lambda text: text[1:-1].replace('\\"', '"'),
    "regex": _regex,
}


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

    def __init__(self) -> None:
        self.data = b""
        self.depths: dict[int, int] = {}  # id of a part that has parts -> its depth; the tree keeps the ids alive

    def begin(self, data: bytes) -> None:
        self.data = data
        self.depths = {}

    def deep(self, tree: Tree, *parts: Tree) -> Tree:
        depth = 1 + max((self.depths.get(id(part), 1) for part in parts), default=0)
        if depth > MAX_DEPTH:
            raise _TooDeep(tree.span)
        self.depths[id(tree)] = depth
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

    # statements

    def declaration(self, parts: list[Any]) -> Tree:
        var, name, assign, value = parts
        comment = _join(_join(var.comment, name.comment), assign.comment)
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
            comment=_join(_join(var.comment, name.comment), type.comment),
        )

    def dbrp(self, parts: list[Any]) -> Tree:
        comment = None
        for token in parts:
            comment = _join(comment, token.comment)
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
            left = self.deep(Chain(left=left, link=link.text, right=right, span=span, comment=link.comment), left, right)
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
            comment=_join(name.comment, bracket.comment),
        )
        return self.deep(tree, *args)

    def climb(self, parts: list[Any]) -> Tree:
        """Operands and operators in turn, as a tree: operators of higher precedence first, equal ones from the left."""
        flat: list[Any] = parts[0]
        values: list[Tree] = [flat[0]]
        operators: list[Token] = []
        for operator, operand in zip(flat[1::2], flat[2::2]):
            while operators and _PRECEDENCE[operators[-1].text] >= _PRECEDENCE[operator.text]:
                self.fold(values, operators)
            operators.append(operator)
            values.append(operand)
        while operators:
            self.fold(values, operators)
        return values[0]

    def fold(self, values: list[Tree], operators: list[Token]) -> None:
        right, left, token = values.pop(), values.pop(), operators.pop()
        multiline = self.breaks(left.span.start, right.span.start)
        tree = Binary(
            op=token.text, left=left, right=right, multiline=multiline, span=token.span, comment=token.comment
        )
        values.append(self.deep(tree, left, right))

    def unary(self, parts: list[Any]) -> Tree:
        sign, operand = parts
        return self.deep(Unary(op=sign.text, operand=operand, span=sign.span, comment=sign.comment), operand)

    def parens(self, parts: list[Any]) -> Tree:
        bracket, inner, _ = parts
        comment = _join(bracket.comment, inner.comment)
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
        base = 8 if _is_octal(token.text) else 10
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


class _Grammar:
    """The parser made of tickscript.lark and its builder; one at a time may use them."""

    def __init__(self) -> None:
        from lark import Lark
        from lark.lexer import Lexer

        class Fed(Lexer):
            """Lark asks for a lexer; tokens are fed to the parser instead."""

            def __init__(self, conf: Any) -> None: ...

            def lex(self, lexer_state: Any, parser_state: Any = None) -> Any:
                return iter(())

        self.builder = _Builder()
        self.lock = threading.Lock()
        text = Path(__file__).with_name("tickscript.lark").read_text(encoding="utf-8")
        builder: Any = self.builder  # lark wants no more of it than methods by the names of the aliases
        self.lark = Lark(text, parser="lalr", lexer=Fed, transformer=builder)

    def run(self, tokens: list[Token], source: Source) -> list[Tree] | _Stop:
        """The statements of `tokens`, or where and why they are none."""
        from lark.exceptions import UnexpectedToken

        with self.lock:
            self.builder.begin(source.data)
            parser = self.lark.parse_interactive("")
            statements: list[Tree] = []
            for index, token in enumerate(tokens):
                try:
                    # lark's tokens are strings with a `type`; the parser looks at the type alone
                    statements = parser.feed_token(token)  # type: ignore[arg-type]
                except UnexpectedToken:
                    return _Stop(index, _expected(parser.accepts()))
                except _TooDeep as deep:
                    return _Stop(index, "", deep.span)
            return statements


@dataclass(frozen=True, slots=True)
class _Stop:
    """Parsing ended at the token of this index: it is not what was `expected`, or the tree gets too deep at `deep`."""

    index: int
    expected: str
    deep: Span | None = None


_grammar = cache(_Grammar)
_VALUE = '"number","string","duration","identifier","TRUE","FALSE","==","(","-","!"'  # the wrong == is Kapacitor's
_ITEM = '"identifier","string","*"'


def _expected(accepts: set[str]) -> str:
    """Kapacitor's list of what could stand here, for the tokens that the parser would take."""
    if "NUMBER" in accepts:
        return _VALUE
    if "STAR" in accepts:
        return _ITEM
    only = {"RBRACKET": "]", "RPAR": ")", "IDENT": "identifier", "LPAR": "(", "REFERENCE": "reference", "DOT": "."}
    return next(f'"{name}"' for type, name in only.items() if type in accepts)


def parse(source: Source | str) -> Program:
    """The tree of a script. Raises TickError with all syntax errors that were found, Kapacitor's first."""
    source = Source(source) if isinstance(source, str) else source
    if len(source.data) > MAX_BYTES:
        size = f"{len(source.data) / (1 << 20):.1f} MiB"
        raise TickError([T107.at(None, f"the script is too long: {size}, and {MAX_BYTES >> 20} MiB is the limit")], source)
    tokens = _Lexer(source).run()
    result = _grammar().run(tokens, source)
    if isinstance(result, list) and not any(token.problem for token in tokens):
        end = tokens[-1]
        return Program(statements=tuple(result), span=Span(0, end.stop), end_comment=end.comment)
    raise TickError(_errors(source, tokens, result), source)


# ------------------------------------------------------------------------------------------------------ syntax errors


def _errors(source: Source, tokens: list[Token], result: list[Tree] | _Stop) -> list[Diagnostic]:
    """Every error of the script, in its order: after one, parsing takes up at the next statement that can be told."""
    found: list[Diagnostic] = []
    while True:
        stop = result.index if isinstance(result, _Stop) else len(tokens)
        found += [_bad_literal(token) for token in tokens[:stop] if token.problem]
        if not isinstance(result, _Stop):
            return found[:MAX_ERRORS]
        found.append(_stopped(source, tokens, result))
        start = _resume(source, tokens, stop)
        if start is None or len(found) >= MAX_ERRORS:
            return found[:MAX_ERRORS]
        tokens = _Lexer(source, start).run()
        result = _grammar().run(tokens, source)


def _resume(source: Source, tokens: list[Token], stop: int) -> int | None:
    """Where the next statement surely begins: at a word in the first column. None if quotes may be out of step."""
    error = tokens[stop]
    if error.type == "LIMIT" or _is_endless(error):
        return None
    if any(t.type == "STRING" and "\n" in t.text and not t.text.startswith("'''") for t in tokens[: stop + 1]):
        return None
    if error.type == "ERROR":
        found = re.compile(rb"\n(?=[A-Za-z])").search(source.data, error.start)
        return found.end() if found else None
    first = tokens[0].start
    for token in tokens[stop:]:
        if token.type in ("IDENT", "VAR", "DBRP") and token.start > first and source.data[token.start - 1] == 10:
            return token.start
    return None


def _bad_literal(token: Token) -> Diagnostic:
    assert token.problem is not None
    code, message = token.problem
    hint = None
    if code is T104 and token.text.isdecimal() and token.text.startswith("0"):
        hint = f"a leading zero makes a number octal: write {token.text.lstrip('0') or '0'}"
    return code.at(token.span, f"parser: {message}", hint=hint, positioned=False)


def _stopped(source: Source, tokens: list[Token], stop: _Stop) -> Diagnostic:
    token = tokens[stop.index]
    if stop.deep or token.type == "LIMIT":
        limit = f"{MAX_DEPTH} levels" if stop.deep else f"{MAX_NESTING} levels of brackets and signs"
        return T106.at(stop.deep or token.span, f"the script is nested too deeply: more than {limit}")
    line, char = source.line_char(token.start)
    name = token.text if token.type == "ERROR" else token.name
    message = (
        f'parser: unexpected {name} line {line} char {char} in "{_snippet(source.data, token.start)}". '
        f"expected: {stop.expected}"
    )
    return _code(token).at(
        token.span,
        message,
        hint=_hint(source, tokens, stop),
        note=_NOTES.get(stop.expected, f"{stop.expected.replace(chr(34), '`')} is expected here"),
        positioned=False,
    )


_NOTES = {
    _VALUE: "a value is expected here",
    _ITEM: "a string, a name or * is expected here",
    '"identifier"': "a name is expected here",
    '"reference"': "a name in double quotes is expected here",
}


def _code(token: Token) -> Code:
    if token.type != "ERROR":
        return T101
    if _is_endless(token):
        return T102
    return T104 if token.text.startswith("multiple") else T103


def _is_endless(token: Token) -> bool:
    return token.type == "ERROR" and (token.text in _UNTERMINATED.values() or token.text == _SLASH_AT_END)


def _snippet(data: bytes, at: int) -> str:
    """What Kapacitor quotes: ten bytes either side of the token's start, without other lines."""
    before = data[max(at - 10, 0) : at].rpartition(b"\n")[2]
    after = data[at : at + 10].partition(b"\n")[0]
    return decode(before + after)


# Mistakes told by example: (hint, scripts that stop where it is made). A mistake is recognised by the token that the
# parser stops at and by what it expected there; those under _AFTER by the token before, too.
_EXAMPLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("operators are written in capitals: AND", ("f(lambda: a and b)", "f(lambda: (a and b))", "f(lambda: a & b)")),
    ("operators are written in capitals: OR", ("f(lambda: a or b)",)),
    ("a comparison is written with two: ==", ("f(lambda: a = b)", "f(lambda: (a = b))", "a + b = c")),
    ("a value is given to a name with one: =", ("var a == b",)),
    ("a variable is declared with: var name = value", ("var a + b", "var a 5", "var a 'b'", "var a", "var a.b")),
    ("strings take single quotes: '…'; double quotes are for fields and tags", ("var a = [\"b\"]", "var a = ['b', \"c\"]")),
    ("a list holds strings, names and * only", ("[1]", "[1s]", "[TRUE]", "[-a]", "[lambda: a]", "[[a]]", "[(a)]")),
    ("database and retention policy take double quotes: dbrp \"db\".\"rp\"", ("dbrp 'a'.'b'", "dbrp a.b", 'dbrp "a".b')),
    ("a node is added with parentheses: |name(…)", ("a|b", "a|b.c(d)", "a|b|c()", "a|b\nvar c = d", "a|b c")),
    (
        "a lambda cannot stand inside an expression: give it a name with var, and use the name",
        ("f(lambda: lambda: a)", "f(lambda: g(lambda: a))", "f(1 + lambda: a)"),
    ),
    ("a list cannot stand inside an expression", ("f(lambda: [a])", "f(1 + [a])")),
    ("a regular expression can stand after =~ or !~ only, or alone", ("f(lambda: /a/)", "f(lambda: a AND /b/)")),
    ("AND is a word of the language; choose another name", ("var AND = a",)),
    ("OR is a word of the language; choose another name", ("var OR = a",)),
    ("TRUE is a word of the language; choose another name", ("var TRUE = a",)),
    ("FALSE is a word of the language; choose another name", ("var FALSE = a",)),
    ("dbrp is a word of the language; choose another name", ("var dbrp = a",)),
    ("there is no `;`: a statement ends where the next begins", ("a;", "f(a;)")),
    ("a comment begins with //", ("# a", "f(a # b\n)")),
    ("a list is written with [ ]", ("var a = {", "f(a{)")),
    ("a name begins with a letter", ("var _a = b", "_a", "f(_a)", "a|_b()")),
    ("quotes are the plain ' and \"", ("f(“a”)", "f(‘a’)", "var a = “b”", "f(`a`)", "var a = `b`")),
    ("close the string with ' (inside it, a quote is written \\')", ("f('a", "f(a, 'b", "var a = 'b", "f(a 'b")),
    ('close the reference with " (strings take single quotes)', ('f("a', 'f(lambda: a "b', "dbrp \"a")),
    ("close the regular expression with / (inside it, a slash is written \\/)", ("f(/a", "f(lambda: b =~ /a")),
    ("a number has one point", ("f(1.2.3)", "f(a 1.2.3)", "var a 1.2.3")),
)
_AFTER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("write lambda: with its colon", ('f(lambda "a" > 1)', "f(lambda a > 1)", "f(lambda 1 < a)", "f(lambda : a)")),
    ("or is written OR", ("f(lambda: a || b)",)),
    ("not is written !", ('f(lambda: not a)', 'f(lambda: not "a")', "f(lambda: not TRUE)")),
    ("not equal is written !=", ("f(lambda: a <> b)",)),
    ("write =~", ("f(lambda: a ~ b)",)),
    ("a property is written with one point: .name(…)", ("a..b()",)),
)  # fmt: skip


def _keys(tokens: list[Token], stop: _Stop) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """By what a mistake is recognised: with the token before, and without it."""
    token, before = tokens[stop.index], tokens[stop.index - 1] if stop.index else None
    exact = token.text if token.type in ("IDENT", "OPERATOR", "BOOL", "ERROR") else token.type
    return (before.text if before else "", exact, stop.expected), (exact, stop.expected)


@cache
def _known() -> dict[tuple[str, ...], str]:
    """The hints by what their mistakes are recognised by."""
    known: dict[tuple[str, ...], str] = {}
    for table, which in ((_AFTER, 0), (_EXAMPLES, 1)):
        for hint, examples in table:
            for example in examples:
                source = Source(example)
                tokens = _Lexer(source).run()
                stop = _grammar().run(tokens, source)
                assert isinstance(stop, _Stop), example
                known.setdefault(_keys(tokens, stop)[which], hint)
    return known


def _hint(source: Source, tokens: list[Token], stop: _Stop) -> str | None:
    """Something to type in instead, for mistakes that are common."""
    token, before = tokens[stop.index], tokens[stop.index - 1] if stop.index else None
    if before is not None and before.stop == token.start and (hint := _glued(before, token)):
        return hint
    for key in _keys(tokens, stop):
        if hint := _known().get(key):
            return hint
    if stop.expected in ('")"', '"]"'):
        return _unclosed(source, tokens, stop)
    if token.type in ("RPAR", "RBRACKET") and _open_bracket(tokens[: stop.index]) is None:
        return f"take the `{token.text}` away: nothing is open here that it closes"
    if before is not None and before.type in ("OPERATOR", "MINUS", "ASSIGN", "NOT"):
        return f"a value is missing after `{before.text}`"
    return None


def _glued(before: Token, token: Token) -> str | None:
    """A hint for two tokens that were written as one: most often a duration in a form that TICKscript does not have."""
    if before.type == "STRING" and token.type in ("IDENT", "NUMBER", "DURATION"):
        return "a quote inside a string is written \\'"
    if before.type not in ("NUMBER", "DURATION") or token.type not in ("IDENT", "NUMBER", "DURATION"):
        return None
    written = before.text + token.text
    if before.type == "DURATION" and token.type == "DURATION" and before.value and token.value:
        return f"a duration has one unit: write {format_duration(before.value + token.value)} for {written}"
    if before.type == "DURATION":
        return f"the units are u, ms, s, m, h, d and w: write {before.text} for {written}"
    if token.text == "ns":
        return "there are no nanoseconds; the smallest unit is u, a microsecond"
    if token.text in _UNITS and isinstance(before.value, float):
        exact = Decimal(before.text) * _UNITS[token.text]
        if exact == int(exact) and int(exact) % 1000 == 0:
            return f"a duration is a whole number of its unit: write {format_duration(int(exact))} for {written}"
    return None


def _open_bracket(tokens: list[Token]) -> Token | None:
    """The last bracket that is not closed again."""
    missing = 0
    for token in reversed(tokens):
        missing += (token.type in ("RPAR", "RBRACKET")) - (token.type in ("LPAR", "LBRACKET"))
        if missing < 0:
            return token
    return None


def _unclosed(source: Source, tokens: list[Token], stop: _Stop) -> str:
    """What to do where a closing bracket was expected: close the last one, or, on the same line, put a comma."""
    token, bracket, before = tokens[stop.index], _open_bracket(tokens[: stop.index]), tokens[stop.index - 1]
    assert bracket is not None
    same_line = b"\n" not in source.data[before.stop : token.start]
    if same_line and token.type in ("IDENT", "NUMBER", "DURATION", "STRING", "REFERENCE", "BOOL", "LAMBDA"):
        return "separate arguments with a comma, or close the bracket before this"
    line, char = source.line_char(bracket.start)
    return f"close the `{bracket.text}` of line {line} char {char} with `{stop.expected[1]}`"


# ------------------------------------------------------------------------------------------------------------- format


def format(script: Program | Source | str) -> str:
    """The script in Kapacitor's canonical form; formatting the result again changes nothing.

    Kapacitor's own formatter needs a second run for a few scripts, because a line break that it puts in makes the next
    run put in another; this goes on until nothing changes. Raises TickError where a text does not parse.
    """
    text = _print(script if isinstance(script, Program) else parse(script))
    for _ in range(MAX_NESTING):
        try:
            again = _print(parse(text))
        except TickError:  # only a tree that no script has, say with a duration in nanoseconds
            return text
        if again == text:
            return text
        text = again
    return text


def format_expression(tree: Tree) -> str:
    """One expression as the canonical form has it, on its own."""
    printer = _Printer()
    printer.tree(tree, "", True)
    return "".join(printer.parts)


def format_duration(nanoseconds: int) -> str:
    """A duration in InfluxQL's form: the largest unit of which it is a whole number."""
    if nanoseconds == 0:
        return "0s"
    for unit in ("w", "d", "h", "m", "s", "ms", "u"):
        if nanoseconds % _UNITS[unit] == 0:
            return f"{nanoseconds // _UNITS[unit]}{unit}"
    return f"{nanoseconds}ns"


def format_float(value: float) -> str:
    """A float in plain decimal, the shortest that reads back the same, always with a point."""
    text = f"{Decimal(repr(value)):f}"
    return text if "." in text else text + ".0"


def _print(program: Program) -> str:
    printer = _Printer()
    statements = program.statements
    for i, statement in enumerate(statements):
        if i:
            printer.parts.append("\n")
        following = statements[i + 1] if i + 1 < len(statements) else None
        printer.wrapped = _last_name(statement) if following and _opens(following) else None
        printer.tree(statement, "", True)
        printer.parts.append("\n")
    if program.end_comment:
        printer.parts.append("\n" if statements else "")
        printer.comment(program.end_comment, "", True)
        printer.parts.append("\n")
    return "".join(printer.parts)


def _opens(tree: Tree) -> bool:
    """Whether the text of `tree` begins with a parenthesis, for a binary or for what cannot follow an operand bare."""
    commented = False
    while isinstance(tree, Binary):
        if tree.parens:
            return True
        commented = commented or tree.comment is not None
        tree = tree.left
    return isinstance(tree, (Star, RegexLiteral)) and not commented and tree.comment is None


def _starts_with_comment(tree: Tree) -> bool:
    while tree.comment is None:
        match tree:
            case Binary(left=left, parens=False) | Chain(left=left):
                tree = left
            case _:
                return False
    return True


def _last_name(tree: Tree) -> Identifier | None:
    """The identifier that ends the text of `tree`, if one does: before a `(` it would become a call."""
    while True:
        match tree:
            case Binary(right=inner, parens=False) | Unary(operand=inner) | Lambda(body=inner) | Declaration(value=inner):
                tree = inner
            case Identifier():
                return tree
            case _:
                return None


class _Printer:
    """Prints trees as the Format methods of Kapacitor's node.go do; the left sides of operators and links in a loop."""

    STEP = "    "

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.wrapped: Identifier | None = None

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
                self.parts.append(tree.op)
                self.operand(tree.operand, indent)
            case Lambda():
                self.parts.append("lambda: ")
                self.tree(tree.body, indent, False)
            case Declaration():
                self.parts.append(f"var {tree.name} = ")
                self.after_equals(tree.value, indent, False)
            case ListLiteral():
                self.items(tree, indent, on_new_line or tree.comment is not None)
            case _:
                text = _leaf(tree)
                needs_parens = isinstance(tree, (Star, RegexLiteral)) and self.after_operand()
                self.parts.append(f"({text})" if needs_parens or tree is self.wrapped else text)

    def after_operand(self) -> bool:
        """Whether a star or a slash here would be an operator; node.go prints one, though."""
        last = next((part for part in reversed(self.parts) if part and not part.isspace()), "").strip()
        return not last.startswith("//") and last[-1:].isalnum() or last[-1:] in ("_", "'", '"', ")", ":")

    def after_equals(self, tree: Tree, indent: str, on_new_line: bool) -> None:
        """Print what follows `=`, `=~` or `!~`: a comment would be taken for a regular expression, so it is shielded."""
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
