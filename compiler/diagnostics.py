"""Where things stand in a script, and how a mistake is told: Source and Span; the codes, Diagnostic, the renderer."""

from __future__ import annotations

import codecs
import difflib
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

TAB = 4  # columns a tab takes in a rendered line
MESSAGE = 1000  # characters shown of a message, which may quote a literal of any length
WIDTH = 100  # columns of source shown of a longer line


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, stop) of the script's UTF-8 text."""

    start: int
    stop: int


def _replace_byte(error: UnicodeError) -> tuple[str, int]:
    """Go's rule for text that is no UTF-8: each byte on its own becomes U+FFFD."""
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error("tickc-go", _replace_byte)


def decode(data: bytes) -> str:
    """`data` as text, as Go's JSON encoder shows it: a byte that belongs to no character becomes U+FFFD."""
    return data.decode("utf-8", "tickc-go")


@dataclass(frozen=True)
class Source:
    """A script's text and the name that messages give it; offsets are bytes of the UTF-8 text."""

    text: str
    name: str = "script.tick"

    @cached_property
    def data(self) -> bytes:
        return self.text.encode("utf-8", "surrogateescape")

    @cached_property
    def _newlines(self) -> list[int]:
        return [i for i, byte in enumerate(self.data) if byte == 10]

    def line_char(self, offset: int) -> tuple[int, int]:
        """Line and char of byte `offset`, both from 1; like Kapacitor, char counts bytes from the previous newline."""
        line = bisect_left(self._newlines, offset)
        return line + 1, offset - (self._newlines[line - 1] if line else -1)

    def line_bytes(self, line: int) -> bytes:
        """The bytes of line number `line`, without its newline."""
        start = self._newlines[line - 2] + 1 if line > 1 else 0
        stop = self._newlines[line - 1] if line <= len(self._newlines) else len(self.data)
        return self.data[start:stop]

    def snippet(self, span: Span) -> str:
        """The script's text at `span`."""
        return decode(self.data[span.start : span.stop])


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of mistake: its name (`T101`), a title, and what docs/errors.md tells of it."""

    name: str
    title: str
    explanation: str

    def at(
        self,
        span: Span | None,
        message: str | None = None,
        *,
        hint: str | None = None,
        note: str | None = None,
        positioned: bool = True,
    ) -> Diagnostic:
        """A diagnostic of this kind at `span`; the message is the code's title unless one is given."""
        return Diagnostic(self, message or self.title, span, hint, note, positioned)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake. `message` is Kapacitor's text where Kapacitor has one, without the position in front.

    `note` stands under the caret, `hint` is something that can be typed in. `positioned` is whether Kapacitor writes
    `line L char C: ` before this message: it does for most definition errors, not for syntax or validation errors.
    """

    code: Code
    message: str
    span: Span | None = None
    hint: str | None = None
    note: str | None = None
    positioned: bool = True

    def text(self, source: Source) -> str:
        """The message as Kapacitor words it, with the position in front where Kapacitor writes one."""
        if self.span is None or not self.positioned:
            return self.message
        line, char = source.line_char(self.span.start)
        return f"line {line} char {char}: {self.message}"


class TickError(Exception):
    """A script cannot be compiled; `diagnostics` holds one or more reasons, the one that Kapacitor gives first."""

    def __init__(self, diagnostics: Iterable[Diagnostic], source: Source | None = None) -> None:
        self.diagnostics = tuple(diagnostics)
        self.source = source
        if not self.diagnostics:
            raise ValueError("a TickError needs a diagnostic")
        super().__init__(self.diagnostics[0].message)

    def __str__(self) -> str:
        if self.source is None:
            return "\n".join(f"error[{d.code.name}]: {d.message}" for d in self.diagnostics)
        return render_all(self.diagnostics, self.source)


# --------------------------------------------------------------------------------------------------------- the codes

CODES: dict[str, Code] = {}


def _code(name: str, title: str, explanation: str) -> Code:
    assert name not in CODES, name
    CODES[name] = Code(name, title, " ".join(explanation.split()))
    return CODES[name]


FAMILIES = {
    "T1": "Syntax",
    "T2": "Names and types",
    "T3": "The shape of the pipeline",
    "T4": "Not supported",
    "T5": "While running",
}

T101 = _code(
    "T101",
    "unexpected token",
    """The script is not TICKscript at this place. The message names what was found and what could stand there; as in
    Kapacitor, the list leaves out operators and links. Common causes are a missing `)`, a missing comma, lowercase
    `and`/`or`, `=` where `==` was meant, and a chain method inside an expression.""",
)
T102 = _code(
    "T102",
    "a literal has no end",
    """A string `'…'`, a triple-quoted string, a regular expression `/…/` or a reference `"…"` is not closed before the
    end of the script. In a single-quoted string `\\'` is a quote, so such a string cannot end in a backslash: use
    three quotes. In a regular expression a slash is written `\\/`.""",
)
T103 = _code(
    "T103",
    "a character that TICKscript does not know here",
    """A character that begins nothing at this place. Names begin with a letter; comments begin with `//`; there is no
    `;`, `{`, `&` or `#`. An operator such as `+` or `=` cannot follow a comment, a `]` or another operator.""",
)
T104 = _code(
    "T104",
    "a number or duration that does not exist",
    """A whole number with a leading zero is octal, so `08` is no number. Whole numbers end at 9223372036854775807.
    A number has at most one point and no exponent. A duration is a whole number and one unit (u, µ, ms, s, m, h, d, w)
    and lasts at most 292 years.""",
)
T105 = _code(
    "T105",
    "a regular expression that cannot be compiled",
    """Regular expressions are RE2's, as in Go: there are no back references and no look-around, a repetition count is
    at most 1000, and brackets must be balanced. Only `\\/` is changed (to `/`) before the text goes to RE2.""",
)
T106 = _code(
    "T106",
    "the script is nested too deeply",
    """Parentheses, arguments and signs may be nested 200 deep. One chain may have 1,000 links, and one expression 1,000
    levels, where operators of one kind in a row, as in `a OR b OR c`, are one; of these there may be 10,000 and more.
    Scripts that people write stay far below; split the expression with `var`.""",
)
T107 = _code(
    "T107",
    "the script is too long",
    """A script may have 4 MiB (4,194,304 bytes). Longer text is nearly always data that was passed by mistake.""",
)

T201 = _code(
    "T201",
    "a name that is not defined",
    """The name is not a variable that was declared above, nor `stream`, `batch` or `time`. A script sees `stream` in a
    stream task and `batch` in a batch task, never both.""",
)
T202 = _code("T202", "a variable is declared twice", "A `var` never changes; give the second one another name.")
T203 = _code(
    "T203",
    "no such node, property or function",
    """Nothing of that name can follow here. A chain method (a new node) is written with `|`, a property of the node
    with `.`, a user-defined function with `@`.""",
)
T204 = _code(
    "T204",
    "a value of the wrong type",
    """Types are strict: `5` is an int and `5.0` a float, neither becomes the other by itself; a duration is written
    without quotes, a string in single quotes, a field or tag of the point in double quotes inside a lambda.""",
)
T205 = _code("T205", "the wrong number of arguments", "The node, property or function takes more, or fewer.")
T206 = _code(
    "T206",
    "a variable that must be supplied is missing or has another type",
    """`var n type` declares a variable of a template: its value must be supplied, with that type. A supplied value for
    `var n = literal` must have the literal's type.""",
)
T207 = _code(
    "T207",
    "an expression that cannot be evaluated",
    """The operands do not fit the operator, a function does not take these types, or a constant expression fails
    (division by zero, for one).""",
)

T301 = _code(
    "T301",
    "a node that does not fit the edge before it",
    """Some nodes take points as they come (stream), some take whole windows or query results (batch). `|window()`
    turns a stream into batches; aggregates turn batches into points.""",
)
T302 = _code("T302", "a property is missing", "The node cannot work without this property.")
T303 = _code("T303", "properties that exclude each other", "Only one of these properties can be set.")
T304 = _code("T304", "a property's value is out of range", "The type is right, but the node cannot use the value.")
T305 = _code("T305", "the script does nothing", "A script needs at least one chain that begins at `stream` or `batch`.")
T310 = _code("T310", "a window has no length", "Give the window `.period(…)` or `.periodCount(…)`.")

T401 = _code("T401", "a node that tickc does not have", "Kapacitor has this node; tickc does not run it.")
T402 = _code("T402", "a property that tickc does not have", "Kapacitor has this property; tickc does not follow it.")
T403 = _code("T403", "a function that tickc does not have", "Kapacitor has this function; tickc does not.")

T501 = _code(
    "T501",
    "an expression failed on a point",
    "As in Kapacitor the point is dropped and the error counted; the script keeps running.",
)
T502 = _code("T502", "the input cannot be read", "The file is damaged, or not of the kind that its name says.")
T503 = _code("T503", "the input is not in time order", "Rows must be in time order within a file; sort them first.")


def explain_all() -> str:
    """The text of docs/errors.md: every code with its explanation."""
    parts = ["# Errors\n", "Each message of tickc carries a code; this page tells more of each.\n"]
    for family, title in FAMILIES.items():
        parts.append(f"## {family}: {title}\n")
        for code in CODES.values():
            if code.name.startswith(family):
                parts.append(f"### {code.name}: {code.title}\n\n{code.explanation}\n")
    return "\n".join(parts)


# ------------------------------------------------------------------------------------------------------------- hints


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """A hint that names the candidate closest to `name` (case counts for little), or None if none is close."""
    by_lower = {c.lower(): c for c in sorted(candidates, reverse=True)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.65)
    return f"did you mean `{by_lower[close[0]]}`?" if close and by_lower[close[0]] != name else None


# ----------------------------------------------------------------------------------------------------- the renderer


def render_all(diagnostics: Iterable[Diagnostic], source: Source) -> str:
    """Every diagnostic in full, with an empty line between two."""
    return "\n".join(render(d, source) for d in diagnostics)


def render(diagnostic: Diagnostic, source: Source, severity: str = "error") -> str:
    """`diagnostic` as a person reads it: code, position, message; the line with a caret run; the hint."""
    head = f"{severity}[{diagnostic.code.name}]: "
    tail = [f"= hint: {_printable(diagnostic.hint)}"] if diagnostic.hint else []
    if diagnostic.span is None:
        lines = [head + _printable(diagnostic.message), f"  --> {_printable(source.name)}"]
        return "\n".join(lines + [f"  {t}" for t in tail]) + "\n"
    line, char = source.line_char(diagnostic.span.start)
    gutter = " " * len(str(line))
    shown, caret = _excerpt(source, diagnostic.span, line, char)
    note = f" {_printable(diagnostic.note)}" if diagnostic.note else ""
    return "\n".join(
        [
            f"{head}line {line} char {char}: {_printable(diagnostic.message)}",
            f"{gutter} ┌─ {_printable(source.name)}",
            f"{line} │ {shown}".rstrip(),
            f"{gutter} │ {caret}{note}",
            *(f"{gutter} {t}" for t in tail),
            "",
        ]
    )


@dataclass(slots=True)
class _Cells:
    """A line's text as drawn, one string a character, and the columns each takes."""

    drawn: list[str] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)


def _excerpt(source: Source, span: Span, line: int, char: int) -> tuple[str, str]:
    """The source line and the carets beneath `span`'s part of it, clipped around the carets where it is long."""
    data = source.line_bytes(line)
    before, inside = decode(data[: char - 1]), decode(data[char - 1 : char - 1 + max(span.stop - span.start, 0)])
    cells = _cells(before + inside + decode(data[len(data[: char - 1]) + max(span.stop - span.start, 0) :]))
    first, last = len(before), len(before) + len(inside)
    start, stop = _clip(cells.widths, first, last)
    left, right = "…" if start else "", "…" if stop < len(cells.drawn) else ""
    pad = len(left) + sum(cells.widths[start:first])
    run = max(sum(cells.widths[first : min(last, stop)]), 1)
    return left + "".join(cells.drawn[start:stop]) + right, " " * pad + "^" * run


def _clip(widths: list[int], first: int, last: int) -> tuple[int, int]:
    """Which characters of a line to show so that those from `first` are in view and no more than WIDTH columns."""
    if sum(widths) <= WIDTH:
        return 0, len(widths)
    start, room = min(first, len(widths)), WIDTH // 2 - min(sum(widths[first:last]), WIDTH // 2 - 10)
    while start > 0 and room > widths[start - 1]:
        start -= 1
        room -= widths[start]
    stop, room = start, WIDTH
    while stop < len(widths) and room >= widths[stop]:
        room -= widths[stop]
        stop += 1
    return start, stop


def _cells(text: str) -> _Cells:
    cells = _Cells()
    for character in text.rstrip("\r"):
        drawn = " " * (TAB - sum(cells.widths) % TAB) if character == "\t" else _visible(character)
        cells.drawn.append(drawn)
        cells.widths.append(len(drawn) if drawn.isspace() and len(drawn) > 1 else _columns(drawn))
    return cells


def _visible(character: str) -> str:
    """`character`, or a stand-in where a terminal would obey it rather than show it."""
    return character if character.isprintable() or character == " " else "\ufffd"


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _printable(text: str) -> str:
    text = text if len(text) <= MESSAGE else text[:MESSAGE] + "…"
    return "".join(c if c == "\n" else " " if c == "\t" else _visible(c) for c in text)


def go_quote(text: str, quote: str = '"') -> str:
    """`text` as Go's %q prints it: a double-quoted string, or with `quote="'"` a character."""
    return quote + "".join(_go_escape(c, quote) for c in text) + quote


_GO_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
}  # fmt: skip


def _go_escape(character: str, quote: str) -> str:
    if character == quote:
        return "\\" + quote
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}" if quote == '"' else "\ufffd"
    if character.isprintable():
        return character
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
