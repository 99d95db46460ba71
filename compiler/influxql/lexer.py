"""The lexer of InfluxQL: text -> tokens, one at a time, since only the parser knows where a slash begins a regex.

It follows influxql's scanner.go to the letter where that shows in messages: which characters a token takes, and the
position that is told. It never fails; what is no token has a type that no rule of the grammar takes.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property

from tickc.compiler.diagnostics import Span, decode
from tickc.runtime.influxql.text import KEYWORDS

_TOKEN = re.compile(
    r"""
      (?P<_WS>[ \t\n]+)
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<DURATIONVAL>[0-9]+[A-Za-zµ][A-Za-zµ0-9]*)
    | (?P<NUMBER>[0-9]*\.[0-9]+|[0-9]+\.)
    | (?P<INTEGER>[0-9]+)
    | (?P<_COMMENT>--[^\n]*\n?|/\*(?s:.*?)\*/)
    | (?P<symbol>=~|!=|!~|>=|<=|<>|::|/(?!\*)|[-+*%&|^=<>(),;:.])
    """,
    re.VERBOSE,
)
_QUOTED = {quote: re.compile(rf"{quote}((?:[^{quote}\\\n\0]|\\[n\\\"'])*+)({quote})?") for quote in "\"'"}
_NAME = re.compile("[A-Za-z0-9_]*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_REGEX = re.compile(r"/((?:\\/|[^/\n\0])*+)/")
_LINE_END = re.compile(r"\r\n?")

STATEMENTS = ("SELECT", "DELETE", "SHOW", "CREATE", "DROP", "EXPLAIN", "GRANT", "REVOKE", "ALTER", "SET", "KILL")
TYPES = ("float", "integer", "unsigned", "string", "boolean")

_SYMBOLS = {
    "(": "LPAR", ")": "RPAR", ",": "COMMA", ";": "SEMICOLON", ":": "COLON", "::": "_CAST", ".": "_DOT", "*": "STAR",
    "+": "SIGN", "-": "SIGN", "=~": "MATCH", "!~": "MATCH", "AND": "OPERATOR", "OR": "OPERATOR",
}  # fmt: skip
BLANK = ("_WS", "_COMMENT")
_OPENED = ("IDENT", "DISTINCT")  # what an opening bracket right behind makes a call
_STRICT = ("DISTINCT", "_CAST")  # behind these nothing is left out
_CLAUSES = {"fill": "_FILL", "tz": "_TZ"}


@dataclass(slots=True)
class Token:
    """type: the grammar's; text: of a literal, unquoted, or as written; characters [start, stop); told: the character
    that messages point at."""

    type: str
    text: str
    start: int
    stop: int
    told: int

    @property
    def shown(self) -> str:
        """The token in messages."""
        return self.text or ("" if self.type == "_COMMENT" else self.type)


class Lexer:
    """Reads the tokens of `text`. `at` is the next character; one more than there are once the end has been read;
    `last` is the token that the parser was given last."""

    def __init__(self, text: str) -> None:
        self.given = text
        self.text = _LINE_END.sub("\n", decode(text.encode("utf-8", "surrogateescape")))
        self.at = 0
        self.last = Token("", "", 0, -1, 0)

    def next(self, wanted: Container[str]) -> Token:
        """The next token for a parser that could take those of the types `wanted`."""
        if "REGEX" in wanted:
            if self.peek() in (" ", "\t", "\n"):
                self.token()
            if self.peek() == "/":
                self.last = self.regex()
                return self.last
        token = self.token()
        while token.type in BLANK and token.type not in wanted and self.last.type not in _STRICT:
            token = self.token()
        self.refine(token, wanted)
        self.last = token
        return token

    def refine(self, token: Token, wanted: Container[str]) -> None:
        """Give a token the type that it has for what stands next to it, and for what is wanted."""
        close = token.start == self.last.stop
        match token.type:
            case "LPAR" if close and self.last.type in _OPENED:
                token.type = "_OPEN"
            case "_DOT" | "_CAST" if not close:
                token.type = "ILLEGAL"
            case "_DOT":
                token.type = {".": "SKIP", "/": "_LAST", ":": "_LAST"}.get(self.peek(), "_DOT")
            case "STAR" | "SIGN" if "OPERATOR" in wanted:
                token.type = "OPERATOR"
            case "IDENT" if self.last.type == "_CAST" and token.text.lower() in TYPES:
                token.type = "TYPE"
            case "IDENT" if (clause := _CLAUSES.get(token.text.lower())) and clause in wanted:
                token.type, self.at = clause, token.start  # the word itself comes next
            case type if type in STATEMENTS and type != "SELECT" and "OTHER" in wanted:
                token.type = "OTHER"
                while (end := self.token()).type not in ("SEMICOLON", "$END"):
                    pass
                self.at = end.start

    def peek(self) -> str:
        """The next character, "" at the end."""
        if self.at < len(self.text):
            return self.text[self.at]
        self.read_end()
        return ""

    def read_end(self) -> None:
        if self.at == len(self.text):
            self.at += 1

    def token(self) -> Token:
        """The next token by itself: white space and comments too."""
        start = self.at
        if start >= len(self.text):
            self.read_end()
            return Token("$END", "EOF", min(start, len(self.text)), min(start, len(self.text)), start)
        found = _TOKEN.match(self.text, start)
        if found is None:
            return self.odd(start)
        self.at = found.end()
        type, text = found.lastgroup or "", found[0]
        match type:
            case "word":
                return self.word(text, start)
            case "symbol":
                text = "!=" if text == "<>" else text
                type = _SYMBOLS.get(text, "OPERATOR")
            case "_WS":
                self.read_end()
            case "_COMMENT":
                if text.startswith("--") and not text.endswith("\n"):
                    self.read_end()
                text = ""
            case "NUMBER":
                text = text.removesuffix(".")
        return Token(type, text, start, self.at, start)

    def word(self, word: str, start: int) -> Token:
        if self.text.startswith('"', self.at):  # the name in quotes is all that counts
            return self.quoted("IDENT", start)
        self.read_end()
        stop = start + len(word)
        if (keyword := word.upper()) in KEYWORDS:
            return Token(_SYMBOLS.get(keyword, keyword), keyword, start, stop, start)
        return Token("IDENT", word, start, stop, start)

    def odd(self, start: int) -> Token:
        """What begins with a quote or a dollar, and what is no token."""
        character = self.text[start]
        if character == "'":
            return self.quoted("STRING", start)
        if character == '"':
            return self.quoted("IDENT", start)
        self.at += 1
        if character == "$":
            return self.parameter(start)
        if character == "/":  # of a comment without an end
            self.at = len(self.text) + 1
            return Token("ILLEGAL", "", start, len(self.text), start)
        return Token("ILLEGAL", character, start, self.at, start)

    def parameter(self, start: int) -> Token:
        """The parameter whose dollar has been read."""
        found = _NAME.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        if self.text.startswith('"', self.at):
            name = self.quoted("IDENT", self.at)
            type = "BOUNDPARAM" if name.type == "IDENT" else name.type
            return Token(type, "$" + name.text, start, name.stop, start)
        self.read_end()
        return Token("BOUNDPARAM", "$" + found[0], start, found.end(), start)

    def quoted(self, type: str, start: int) -> Token:
        """The literal in quotes that begins at `at`; the token began at `start`."""
        opening = self.at
        found = _QUOTED[self.text[opening]].match(self.text, opening)
        assert found is not None
        text = _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], found[1])
        if found[2]:
            self.at = found.end()
            return Token(type, text, start, self.at, opening - 1 if type == "STRING" else start)
        if self.text.startswith("\\", found.end()):
            self.at = found.end() + 2
            wrong = self.text[found.end() : self.at].ljust(2, "\0")
            return Token("BADESCAPE", wrong, found.end(), min(self.at, len(self.text)), self.at - 1)
        self.at = found.end() + 1
        return Token("BADSTRING", text, opening, found.end(), opening - 1)

    def regex(self) -> Token:
        """The regex whose slash is the next character."""
        start = self.at
        found = _REGEX.match(self.text, start)
        if found is None:
            self.at = len(self.text) + 1
            return Token("BADREGEX", "", start, len(self.text), start - 1)
        self.at = found.end()
        return Token("REGEX", found[1].replace("\\/", "/"), start, self.at, start - 1)

    def before_slash(self, start: int) -> Token | None:
        """The token that begins at `start`, if a slash follows it."""
        at, self.at = self.at, start
        token = self.token()
        slash = self.peek() == "/"
        self.at = at
        return token if slash else None

    def place(self, character: int) -> str:
        """Where a character is, in the words of messages."""
        character = max(character, 0)
        line_start = self.text.rfind("\n", 0, character) + 1
        return f"at line {self.text.count(chr(10), 0, character) + 1}, char {character - line_start + 1}"

    def span(self, start: int, stop: int) -> Span:
        """Characters [start, stop) as bytes of the text that was given."""
        return Span(self.offsets[min(start, len(self.text))], self.offsets[min(stop, len(self.text))])

    @cached_property
    def offsets(self) -> list[int] | range:
        """For each character of `text`, and for its end, the byte of the text that was given."""
        if self.given.isascii() and "\r" not in self.given:
            return range(len(self.given) + 1)
        offsets = [0]
        for character in re.findall(r"\r\n|.", self.given, re.DOTALL):
            offsets.append(offsets[-1] + len(character.encode("utf-8", "surrogateescape")))
        return offsets
