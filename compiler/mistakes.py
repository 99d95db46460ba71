"""Syntax errors, told: Kapacitor's text for the first, then the other errors of the script; hints by example."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from tickc.compiler.diagnostics import T101, T102, T103, T104, T106, Code, Diagnostic, Source, Span, decode
from tickc.compiler.lexer import MAX_NESTING, SLASH_AT_END, UNITS, UNTERMINATED, Lexer, Token, format_duration

MAX_DEPTH = 1000  # of the tree: links of one chain also nest, and operators that differ
MAX_ERRORS = 20  # reported of one script


@dataclass(frozen=True, slots=True)
class Stop:
    """Parsing ended at the token of this index: it is not what was `expected`, or the tree gets too deep at `deep`."""

    index: int
    expected: str
    deep: Span | None = None


# A parser: what it makes of tokens, or where it stopped.
Run = Callable[[list[Token], Source], Any]

_VALUE = '"number","string","duration","identifier","TRUE","FALSE","==","(","-","!"'  # the wrong == is Kapacitor's
_ITEM = '"identifier","string","*"'


def expected_list(accepts: set[str]) -> str:
    """Kapacitor's list of what could stand here, for the tokens that the parser would take."""
    if "NUMBER" in accepts:
        return _VALUE
    if "STAR" in accepts:
        return _ITEM
    only = {"RBRACKET": "]", "RPAR": ")", "IDENT": "identifier", "LPAR": "(", "REFERENCE": "reference", "DOT": "."}
    return next(f'"{name}"' for type, name in only.items() if type in accepts)


def errors(source: Source, tokens: list[Token], result: Any, run: Run) -> list[Diagnostic]:
    """Every error of the script, in its order: after one, parsing takes up at the next statement that can be told."""
    found: list[Diagnostic] = []
    while True:
        stop = result.index if isinstance(result, Stop) else len(tokens)
        found += [_bad_literal(token) for token in tokens[:stop] if token.problem]
        if not isinstance(result, Stop):
            return found[:MAX_ERRORS]
        found.append(_stopped(source, tokens, result, run))
        start = _resume(source, tokens, stop)
        if start is None or len(found) >= MAX_ERRORS:
            return found[:MAX_ERRORS]
        tokens = Lexer(source, start).run()
        result = run(tokens, source)


def _resume(source: Source, tokens: list[Token], stop: int) -> int | None:
    """Where the next statement surely begins: at a word in the first column. None if quotes may be out of step."""
    error = tokens[stop]
    if error.type == "LIMIT" or _is_endless(error):
        return None
    if any(_spans_lines(token) for token in tokens[: stop + 1]):
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


def _stopped(source: Source, tokens: list[Token], stop: Stop, run: Run) -> Diagnostic:
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
        hint=_hint(source, tokens, stop, run),
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
    return token.type == "ERROR" and (token.text in UNTERMINATED.values() or token.text == SLASH_AT_END)


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
    (
        "strings take single quotes: '…'; double quotes are for fields and tags",
        ('var a = ["b"]', "var a = ['b', \"c\"]"),
    ),
    ("a list holds strings, names and * only", ("[1]", "[1s]", "[TRUE]", "[-a]", "[lambda: a]", "[[a]]", "[(a)]")),
    ('database and retention policy take double quotes: dbrp "db"."rp"', ("dbrp 'a'.'b'", "dbrp a.b", 'dbrp "a".b')),
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
    ('close the reference with " (strings take single quotes)', ('f("a', 'f(lambda: a "b', 'dbrp "a')),
    ("close the regular expression with / (inside it, a slash is written \\/)", ("f(/a", "f(lambda: b =~ /a", "/")),
    ("a number has one point", ("f(1.2.3)", "f(a 1.2.3)", "var a 1.2.3")),
)
_AFTER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("write lambda: with its colon", ('f(lambda "a" > 1)', "f(lambda a > 1)", "f(lambda 1 < a)", "f(lambda : a)")),
    ("operators are written in capitals: OR", ("f(lambda: a || b)",)),
    ("`not` is written !", ('f(lambda: not a)', 'f(lambda: not "a")', "f(lambda: not TRUE)")),
    ("two values differ: !=", ("f(lambda: a <> b)",)),
    ("a string fits a regular expression: =~", ("f(lambda: a ~ b)",)),
    ("a property is written with one point: .name(…)", ("a..b()",)),
)  # fmt: skip


def _keys(tokens: list[Token], stop: Stop) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """By what a mistake is recognised: with the token before, and without it."""
    token, before = tokens[stop.index], tokens[stop.index - 1] if stop.index else None
    exact = token.text if token.type in ("IDENT", "OPERATOR", "BOOL", "ERROR") else token.type
    return (before.text if before else "", exact, stop.expected), (exact, stop.expected)


@cache
def _known(run: Run) -> dict[tuple[str, ...], str]:
    """The hints by what their mistakes are recognised by."""
    known: dict[tuple[str, ...], str] = {}
    for table, which in ((_AFTER, 0), (_EXAMPLES, 1)):
        for hint, examples in table:
            for example in examples:
                source = Source(example)
                tokens = Lexer(source).run()
                stop = run(tokens, source)
                assert isinstance(stop, Stop), example
                known.setdefault(_keys(tokens, stop)[which], hint)
    return known


def _hint(source: Source, tokens: list[Token], stop: Stop, run: Run) -> str | None:
    """Something to type in instead, for mistakes that are common."""
    token, before = tokens[stop.index], tokens[stop.index - 1] if stop.index else None
    for string in tokens[: stop.index]:
        if _spans_lines(string):
            line, char = source.line_char(string.start)
            return f"the string of line {line} char {char} goes on over the end of its line: is a ' missing there?"
    if before is not None and before.stop == token.start and (hint := _glued(before, token)):
        return hint
    for key in _keys(tokens, stop):
        if hint := _known(run).get(key):
            return hint
    if stop.expected == '"("':
        return "a node is added with parentheses: |name(…)"
    bracket = _open_bracket(tokens[: stop.index])
    if token.type in ("RPAR", "RBRACKET") and bracket is None:
        return f"take the `{token.text}` away: nothing is open here that it closes"
    if bracket is not None and (stop.expected in ('")"', '"]"') or token.type in ("VAR", "DBRP", "$END")):
        return _unclosed(source, tokens, stop, bracket)
    if before is not None and before.type in ("OPERATOR", "MINUS", "ASSIGN", "NOT"):
        return f"a value is missing after `{before.text}`"
    return None


def _spans_lines(token: Token) -> bool:
    """Whether this is a string of several lines in single quotes: legal, but most often a quote is missing."""
    return token.type == "STRING" and "\n" in token.text and not token.text.startswith("'''")


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
    if token.text in UNITS and isinstance(before.value, float):
        exact = Decimal(before.text) * UNITS[token.text]
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


def _unclosed(source: Source, tokens: list[Token], stop: Stop, bracket: Token) -> str:
    """What to do where a closing bracket was expected: close the last one, or, on the same line, put a comma."""
    token, before = tokens[stop.index], tokens[stop.index - 1]
    same_line = b"\n" not in source.data[before.stop : token.start]
    if same_line and token.type in ("IDENT", "NUMBER", "DURATION", "STRING", "REFERENCE", "BOOL", "LAMBDA"):
        return "separate arguments with a comma, or close the bracket before this"
    line, char = source.line_char(bracket.start)
    return f"close the `{bracket.text}` of line {line} char {char} with `{')' if bracket.text == '(' else ']'}`"
