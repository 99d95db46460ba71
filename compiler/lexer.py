"""The lexer: a script's text -> tokens with comments, values of literals and nesting counted.

It depends on what stands before: after an operand it first looks for an operator, elsewhere `/` begins a regular
expression, `*` is a star and `-` a sign (Kapacitor lex.go). It reads each character once, and never fails: the last
token says where and why it could not go on.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from tickc.compiler.diagnostics import T104, T105, Code, Source, Span, go_quote

MAX_NESTING = 200  # parentheses, arguments, lists and signs inside one another


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


def join(first: Comment | None, second: Comment | None) -> Comment | None:
    """Both comments as one, with an empty line between them."""
    if first is None or second is None:
        return first or second
    return Comment((*first.lines, "\n", *second.lines), Span(first.span.start, second.span.stop))


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


class Lexer:
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
        self.comment = join(self.comment, Comment(text, Span(start, self.offsets[self.at])))

    def complain(self) -> None:
        """The token ERROR, for what begins at this place."""
        found = _SPACES.match(self.text, self.at)
        assert found is not None
        start = self.offsets[found.end()]
        character = self.text[found.end()]
        message = UNTERMINATED.get(character)
        if character == "/" and found.end() + 1 == len(self.text) and not self.expects_regex():
            message = SLASH_AT_END
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


UNTERMINATED = {"'": "unterminated string", '"': "unterminated field reference", "/": "unterminated regex"}
SLASH_AT_END = 'unexpected "\ufffd" expected "/"'  # lex.go looks for the character after it, and loses its place
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


# literals


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
        whole = int(digits, 8 if is_octal(text) else 10) if len(digits) < 30 else 1 << 63
    except ValueError:
        raise illegal from None
    if whole >= 1 << 63:
        raise illegal
    return whole


def is_octal(text: str) -> bool:
    return text[0] == "0" and len(text) > 1 and "." not in text


UNITS = {
    "u": 1_000, "µ": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000,
    "d": 86_400_000_000_000, "w": 604_800_000_000_000,
}  # fmt: skip


def _duration(text: str) -> int:
    unit = text.lstrip("0123456789") if text.isascii() or text[-1] == "µ" else ""
    digits = text.removesuffix(unit).lstrip("0") or "0"
    if unit not in UNITS or len(digits) > 19 or int(digits) >= 1 << 63:
        raise _BadLiteral(T104, "invalid duration")
    nanoseconds = (int(digits) * UNITS[unit] + (1 << 63)) % (1 << 64) - (1 << 63)  # wraps as Go's does
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


def format_duration(nanoseconds: int) -> str:
    """A duration in InfluxQL's form: the largest unit of which it is a whole number."""
    if nanoseconds == 0:
        return "0s"
    for unit in ("w", "d", "h", "m", "s", "ms", "u"):
        if nanoseconds % UNITS[unit] == 0:
            return f"{nanoseconds // UNITS[unit]}{unit}"
    return f"{nanoseconds}ns"
