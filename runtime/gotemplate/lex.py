"""Template text -> lexical items: the lexer of Go's text/template/parse, with its errors and line numbers."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, auto

from tickc.runtime.gotext import quote

from .strconv import rune, to_bytes


class TemplateError(Exception):
    """A template that cannot be parsed, escaped or rendered; the message is Go's.

    `line` counts from 1 and `offset` is an index into the template text; both are None where Go names no place.
    """

    def __init__(self, message: str, line: int | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.offset = offset


class Token(IntEnum):
    """Kinds of lexical items; all from BLOCK on are keywords."""

    ERROR = 0
    BOOL = auto()
    CHAR = auto()
    CHAR_CONSTANT = auto()
    COMMENT = auto()
    COMPLEX = auto()
    ASSIGN = auto()
    DECLARE = auto()
    EOF = auto()
    FIELD = auto()
    IDENTIFIER = auto()
    LEFT_DELIM = auto()
    LEFT_PAREN = auto()
    NUMBER = auto()
    PIPE = auto()
    RAW_STRING = auto()
    RIGHT_DELIM = auto()
    RIGHT_PAREN = auto()
    SPACE = auto()
    STRING = auto()
    TEXT = auto()
    VARIABLE = auto()
    BLOCK = auto()
    BREAK = auto()
    CONTINUE = auto()
    DOT = auto()
    DEFINE = auto()
    ELSE = auto()
    END = auto()
    IF = auto()
    NIL = auto()
    RANGE = auto()
    TEMPLATE = auto()
    WITH = auto()


_KEYWORDS = {
    ".": Token.DOT, "block": Token.BLOCK, "break": Token.BREAK, "continue": Token.CONTINUE, "define": Token.DEFINE,
    "else": Token.ELSE, "end": Token.END, "if": Token.IF, "range": Token.RANGE, "nil": Token.NIL,
    "template": Token.TEMPLATE, "with": Token.WITH,
}  # fmt: skip


@dataclass(slots=True)
class Item:
    """One lexical item: kind, where it starts, its text, its line."""

    type: Token
    pos: int
    text: str
    line: int

    def __str__(self) -> str:
        if self.type is Token.EOF:
            return "EOF"
        if self.type is Token.ERROR:
            return self.text
        if self.type >= Token.BLOCK:
            return f"<{self.text}>"
        if len(to_bytes(self.text)) > 10:
            return quote(self.text[:10]) + "..."
        return quote(self.text)


_SPACE = " \t\r\n"
_END = ""  # what next() gives at the end of the text


def _alphanumeric(char: str) -> bool:
    return char == "_" or (char != "" and unicodedata.category(char) in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd"))


def _unicode(char: str) -> str:
    """Go's %#U of a character."""
    code = rune(char) if char else -1
    if code < 0:
        return "U+FFFFFFFFFFFFFFFF"
    return f"U+{code:04X}" + (f" '{chr(code)}'" if chr(code).isprintable() else "")


class Lexer:
    """Cuts template text into items, one `item()` at a time; each state method emits at most one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = self.start = 0
        self.at_end = False
        self.parens = 0
        self.line = self.start_line = 1
        self.in_action = False

    def item(self) -> Item:
        """The next item; after an error item, whatever an empty text gives."""
        state: Callable[[], Item | None] = self._action if self.in_action else self._text
        found = state()
        while found is None:
            found = self._text() if not self.in_action else self._action()
        return found

    def _next(self) -> str:
        if self.pos >= len(self.text):
            self.at_end = True
            return _END
        char = self.text[self.pos]
        self.pos += 1
        self.line += char == "\n"
        return char

    def _backup(self) -> None:
        if not self.at_end and self.pos > 0:
            self.pos -= 1
            self.line -= self.text[self.pos] == "\n"

    def _peek(self) -> str:
        char = self._next()
        self._backup()
        return char

    def _emit(self, type: Token) -> Item:
        found = Item(type, self.start, self.text[self.start : self.pos], self.start_line)
        self.start, self.start_line = self.pos, self.line
        return found

    def _ignore(self) -> None:
        self.line += self.text.count("\n", self.start, self.pos)
        self.start, self.start_line = self.pos, self.line

    def _error(self, message: str) -> Item:
        found = Item(Token.ERROR, self.start, message, self.start_line)
        self.start = self.pos = 0
        self.text = ""
        return found

    def _accept(self, chars: str) -> bool:
        char = self._next()
        if char and char in chars:
            return True
        self._backup()
        return False

    def _accept_run(self, chars: str) -> None:
        while (char := self._next()) and char in chars:
            pass
        self._backup()

    def _left_trim(self, at: int) -> bool:
        return len(self.text) >= at + 2 and self.text[at] == "-" and self.text[at + 1] in _SPACE

    def _right_trim(self, at: int) -> bool:
        return len(self.text) >= at + 2 and self.text[at] in _SPACE and self.text[at + 1] == "-"

    def _right_delim(self) -> tuple[bool, bool]:
        """Whether the action ends here, and whether it trims the space after it."""
        if self._right_trim(self.pos) and self.text.startswith("}}", self.pos + 2):
            return True, True
        return self.text.startswith("}}", self.pos), False

    def _text(self) -> Item | None:
        at = self.text.find("{{", self.pos)
        if at >= 0:
            if at > self.pos:
                self.pos = at
                kept = self.text[self.start : at]
                trimmed = len(kept) - len(kept.rstrip(_SPACE)) if self._left_trim(at + 2) else 0
                self.pos -= trimmed
                self.line += self.text.count("\n", self.start, self.pos)
                found = self._emit(Token.TEXT)
                self.pos += trimmed
                self._ignore()
                if found.text:
                    return found
            return self._left_delim()
        self.pos = len(self.text)
        if self.pos > self.start:
            self.line += self.text.count("\n", self.start, self.pos)
            return self._emit(Token.TEXT)
        return self._emit(Token.EOF)

    def _left_delim(self) -> Item | None:
        self.pos += 2
        after = 2 if self._left_trim(self.pos) else 0
        if self.text.startswith("/*", self.pos + after):
            self.pos += after
            self._ignore()
            return self._comment()
        found = self._emit(Token.LEFT_DELIM)
        self.in_action = True
        self.pos += after
        self._ignore()
        self.parens = 0
        return found

    def _comment(self) -> Item | None:
        at = self.text.find("*/", self.pos + 2)
        self.pos += 2
        if at < 0:
            return self._error("unclosed comment")
        self.pos = at + 2
        ends, trims = self._right_delim()
        if not ends:
            return self._error("comment ends before closing delimiter")
        self.line += self.text.count("\n", self.start, self.pos)
        self._emit(Token.COMMENT)
        self._close(trims)
        self._ignore()
        return None

    def _close(self, trims: bool) -> None:
        self.pos += 4 if trims else 2
        if trims:
            while self.pos < len(self.text) and self.text[self.pos] in _SPACE:
                self.pos += 1

    def _end_action(self) -> Item:
        _, trims = self._right_delim()
        if trims:
            self.pos += 2
            self._ignore()
        self.pos += 2
        found = self._emit(Token.RIGHT_DELIM)
        if trims:
            while self.pos < len(self.text) and self.text[self.pos] in _SPACE:
                self.pos += 1
            self._ignore()
        self.in_action = False
        return found

    def _action(self) -> Item | None:
        if self._right_delim()[0]:
            return self._end_action() if self.parens == 0 else self._error("unclosed left paren")
        char = self._next()
        match char:
            case "":
                return self._error("unclosed action")
            case " " | "\t" | "\r" | "\n":
                self._backup()
                return self._space()
            case "=":
                return self._emit(Token.ASSIGN)
            case ":":
                return self._emit(Token.DECLARE) if self._next() == "=" else self._error("expected :=")
            case "|":
                return self._emit(Token.PIPE)
            case '"':
                return self._quoted('"', Token.STRING, "unterminated quoted string")
            case "'":
                return self._quoted("'", Token.CHAR_CONSTANT, "unterminated character constant")
            case "`":
                return self._raw()
            case "$":
                return self._emit(Token.VARIABLE) if self._terminated() else self._name(Token.VARIABLE)
            case "." if self.pos < len(self.text) and self.text[self.pos] not in "0123456789":
                return self._name(Token.FIELD)
            case "(":
                self.parens += 1
                return self._emit(Token.LEFT_PAREN)
            case ")":
                self.parens -= 1
                return self._error("unexpected right paren") if self.parens < 0 else self._emit(Token.RIGHT_PAREN)
        if char in ".+-0123456789":
            self._backup()
            return self._number()
        if _alphanumeric(char):
            return self._identifier()
        if char.isascii() and char.isprintable():
            return self._emit(Token.CHAR)
        return self._error(f"unrecognized character in action: {_unicode(char)}")

    def _space(self) -> Item:
        count = 0
        while (char := self._peek()) and char in _SPACE:
            self._next()
            count += 1
        if self._right_trim(self.pos - 1) and self.text.startswith("}}", self.pos + 1):
            self._backup()
            if count == 1:
                return self._end_action()
        return self._emit(Token.SPACE)

    def _identifier(self) -> Item:
        while _alphanumeric(char := self._next()):
            pass
        self._backup()
        word = self.text[self.start : self.pos]
        if not self._terminated():
            return self._error(f"bad character {_unicode(char)}")
        if word in _KEYWORDS:
            return self._emit(_KEYWORDS[word])
        return self._emit(Token.BOOL if word in ("true", "false") else Token.IDENTIFIER)

    def _name(self, type: Token) -> Item:
        """A field or variable whose first character, `.` or `$`, has been read."""
        if self._terminated():
            return self._emit(Token.VARIABLE if type is Token.VARIABLE else Token.DOT)
        while _alphanumeric(char := self._next()):
            pass
        self._backup()
        if not self._terminated():
            return self._error(f"bad character {_unicode(char)}")
        return self._emit(type)

    def _terminated(self) -> bool:
        char = self._peek()
        return char == "" or char in " \t\r\n.,|:)(" or self.text.startswith("}}", self.pos)

    def _quoted(self, mark: str, type: Token, message: str) -> Item:
        while (char := self._next()) != mark:
            if char == "\\":
                char = self._next()
                if char not in ("", "\n"):
                    continue
            if char in ("", "\n"):
                return self._error(message)
        return self._emit(type)

    def _raw(self) -> Item:
        while (char := self._next()) != "`":
            if char == "":
                return self._error("unterminated raw quoted string")
        return self._emit(Token.RAW_STRING)

    def _number(self) -> Item:
        if not self._scan_number():
            return self._bad_number()
        if self._peek() in ("+", "-"):
            if not self._scan_number() or self.text[self.pos - 1] != "i":
                return self._bad_number()
            return self._emit(Token.COMPLEX)
        return self._emit(Token.NUMBER)

    def _bad_number(self) -> Item:
        return self._error("bad number syntax: " + quote(self.text[self.start : self.pos]))

    def _scan_number(self) -> bool:
        self._accept("+-")
        digits, exponent = "0123456789_", "eE"
        if self._accept("0"):
            if self._accept("xX"):
                digits, exponent = "0123456789abcdefABCDEF_", "pP"
            elif self._accept("oO"):
                digits, exponent = "01234567_", ""
            elif self._accept("bB"):
                digits, exponent = "01_", ""
        self._accept_run(digits)
        if self._accept("."):
            self._accept_run(digits)
        if exponent and self._accept(exponent):
            self._accept("+-")
            self._accept_run("0123456789_")
        self._accept("i")
        if _alphanumeric(self._peek()):
            self._next()
            return False
        return True
