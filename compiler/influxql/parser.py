"""The parser of InfluxQL: the text of a script's query -> Select, or QueryError in Kapacitor's words.

The grammar is influxql.lark. The lexer is told what could stand next, as what a character means depends on that; the
builder makes the tree, and tells what no grammar can: numbers that are too large, zones that nobody knows. Kapacitor
stops at the first mistake, which may be one of these, in what stands before the token that does not fit.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tickc.compiler.diagnostics import Span, go_quote
from tickc.compiler.influxql.lexer import BLANK, STATEMENTS, TYPES, Lexer, Token
from tickc.compiler.lalr import Grammar, climb
from tickc.runtime.builtins import EvalError
from tickc.runtime.gotext import parse_duration_influx
from tickc.runtime.influxql.text import Spans, quote_name, text
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
    Paren,
    Ref,
    Regex,
    Select,
    Tree,
    Wildcard,
)
from tickc.runtime.regex import compile_regex

MAX_BYTES = 256 * 1024  # of a query
MAX_NESTING = 25  # brackets, calls and subqueries inside one another; Python must read the tree's repr
MAX_DEPTH = 300  # of an expression's tree, which a long run of operators makes deep too

PRECEDENCE = {
    "OR": 1, "AND": 2, "=": 3, "!=": 3, "=~": 3, "!~": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "+": 4, "-": 4, "|": 4,
    "^": 4, "*": 5, "/": 5, "%": 5, "&": 5,
}  # fmt: skip
CONDITIONS = frozenset(op for op, level in PRECEDENCE.items() if level <= 3)
MAX_INT = (1 << 63) - 1
MAX_UNSIGNED = (1 << 64) - 1

# What Kapacitor says it expects where tokens of a type could stand; of several types the first counts.
EXPECTED: dict[str, tuple[str, ...]] = {
    "OTHER": STATEMENTS,
    "STRING": ("identifier", "string", "number", "bool"),
    "NUMBER": ("identifier", "number", "duration", "("),
    "FROM": ("FROM",),
    "SEMICOLON": (";",),
    "RPAR": (")",),
    "TYPE": ("float", "integer", "string", "boolean", "field", "tag"),
    "TAG": ("field", "tag"),
    "ASC": ("identifier", "ASC", "DESC"),
    "_OPEN": ("(", "identifier"),
    "IDENT": ("identifier",),
    "SELECT": ("SELECT",),
    "BY": ("BY",),
    "INTEGER": ("integer",),
    "REGEX": ("regex",),
    "COLON": (":",),
    "MEASUREMENT": ("MEASUREMENT",),
}

_T = TypeVar("_T", bound=Tree)


class QueryError(Exception):
    """A query that Kapacitor does not take. problem: why, in its words; span: the bytes of the query to look at."""

    def __init__(self, problem: str, span: Span, *, syntax: bool = True) -> None:
        super().__init__(f"failed to parse InfluxQL query: {problem}" if syntax else problem)
        self.problem = problem
        self.span = span


def parse(query: str, spans: Spans | None = None) -> Select:
    """The tree of a query; `spans` is told which bytes of the query each part covers. Raises QueryError."""
    if len(query) > MAX_BYTES:
        raise QueryError(f"the query is longer than {MAX_BYTES} bytes", Span(0, 0), syntax=False)
    grammar = _grammar()
    with grammar.lock:
        builder: _Builder = grammar.builder
        builder.begin(Lexer(query))
        select = _run(grammar, builder)
        if spans is not None:
            for key, (first, last) in builder.places.items():
                span = builder.lexer.span(first.start, last.stop)
                spans[key] = span.start, span.stop
        return select


def reread(select: Select) -> Select:
    """`select` as a database reads it from its text; QueryError in the database's words where it cannot."""
    try:
        return parse(text(select))
    except QueryError as error:
        raise QueryError(f"error parsing query: {error.problem}", error.span, syntax=False) from None


@cache
def _grammar() -> Grammar:
    return Grammar(Path(__file__).with_name("influxql.lark"), _Builder())


def _run(grammar: Grammar, builder: _Builder) -> Select:
    from lark.exceptions import UnexpectedToken

    parser = grammar.start()
    while True:
        token = builder.lexer.next(parser.choices())
        try:
            select: Select | None = parser.feed_token(token)
        except UnexpectedToken:
            if token.type == "BADREGEX":
                builder.wrong("bad regex: ", token)
            accepted = parser.accepts()
            expected = next(type for type in EXPECTED if type in accepted)
            parser.feed_token(Token(expected, "", token.start, token.start, token.told))  # completes what stands before
            builder.unexpected(token, expected)
        builder.take(token)
        if select is not None:
            return select


class _Builder:
    """Builds the tree: a method for each rule or alias of the grammar, which gets the rule's tokens and parts."""

    def begin(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.last = Token("", "", 0, 0, 0)  # that the parser took
        self.nesting = 0
        self.parts: list[Tree] = []  # all that were made, so that an id stands for one part alone
        self.places: dict[int, tuple[Token, Token]] = {}  # id of a part -> its first and its last token
        self.depths: dict[int, int] = {}
        self.target: Token | None = None  # the first INTO

    def take(self, token: Token) -> None:
        """The parser has taken the token."""
        if token.type not in BLANK:
            self.last = token
        self.nesting += (token.type in ("LPAR", "_OPEN")) - (token.type == "RPAR")
        if self.nesting > MAX_NESTING:
            self.fail(f"the query is nested more than {MAX_NESTING} deep", token, syntax=False)

    def part(self, tree: _T, start: Token | Tree, *inside: Tree) -> _T:
        """`tree`, which begins where `start` does and ends where the last token did."""
        self.parts.append(tree)
        self.places[id(tree)] = self.first(start), self.last
        self.depths[id(tree)] = depth = 1 + max((self.depths[id(part)] for part in inside), default=0)
        if depth > MAX_DEPTH:
            self.fail(f"an expression of the query is more than {MAX_DEPTH} deep", self.last, syntax=False)
        return tree

    def first(self, part: Token | Tree) -> Token:
        return part if isinstance(part, Token) else self.places[id(part)][0]

    # messages

    def fail(self, problem: str, at: Token | Tree, *, syntax: bool = True) -> NoReturn:
        first = self.first(at)
        raise QueryError(problem, self.lexer.span(first.start, first.stop), syntax=syntax)

    def wrong(self, problem: str, token: Token) -> NoReturn:
        self.fail(f"{problem} {self.lexer.place(token.told)}", token)

    def unexpected(self, token: Token, type: str) -> NoReturn:
        """Where a token of this type could stand, this one does not fit."""
        expected = EXPECTED[type]
        if type == "TYPE" and token.type == "IDENT":
            expected = (*TYPES, "field", "tag")
        self.wrong(f"found {token.shown}, expected {', '.join(expected)}", token)

    # statements

    def query(self, parts: list[Select | Token]) -> Select:
        """The only statement, which must be a select."""
        if len(parts) != 1:
            problem = f"query must be a single select statement, got {len(parts)} statements"
            self.fail(problem, parts[1] if parts else self.lexer.last, syntax=False)
        (select,) = parts
        if isinstance(select, Token):
            written = self.lexer.text[select.start :].rstrip(" \t\n;")
            self.fail(f"query is not a select statement {go_quote(written)}", select, syntax=False)
        if self.target is not None:
            self.fail("the query writes with INTO, which tickc does not do", self.target, syntax=False)
        return select

    def select(self, parts: list[Any]) -> Select:
        first, fields, _, sources, where, dimensions, fill, order, limit, offset, slimit, soffset, zone = parts
        ordered, names_time, descending = order
        select = Select(
            fields=fields,
            sources=sources,
            where=where,
            dimensions=dimensions or (),
            fill=fill,
            ordered=ordered,
            descending=descending,
            limit=limit,
            offset=offset,
            slimit=slimit,
            soffset=soffset,
            zone=zone,
            order_names_time=names_time,
        )
        return self.part(select, first)

    def several(self, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    def optional(self, parts: list[Any]) -> Any:
        """What stands in a clause that may be left out."""
        return parts[0] if parts else None

    def column(self, parts: list[Expr]) -> Expr:
        (expr,) = parts
        if op := _condition_in(expr):
            place = self.lexer.place(self.first(expr).told)
            problem = f"invalid operator {op} in SELECT clause {place}; operator is intended for WHERE clause"
            self.fail(problem, expr)
        return expr

    def field(self, parts: list[Any]) -> Field:
        expr, *alias = parts
        return self.part(Field(expr, alias[0].text if alias else ""), expr, expr)

    def into(self, parts: list[Any]) -> None:
        """It is read to find the mistakes behind it."""
        if parts:
            self.target = self.target or parts[0]

    # sources

    def path(self, parts: list[Token]) -> list[Token]:
        """Up to three names, some left out."""
        if len(parts) > 3:
            self.fail(f"too many segments in {_quote_names(_names(parts))} at line 1, char 1", parts[0])
        return parts

    def measurement(self, parts: list[Any]) -> Measurement:
        match parts:
            case [Regex(pattern=pattern) as regex]:
                return self.part(Measurement(regex=pattern), regex)
            case [path, Regex(pattern=pattern) as regex]:
                if len(path) == 3:  # then Kapacitor looks for no regex
                    slash = self.first(regex).start
                    found = Token("OPERATOR", "/", slash, slash + 1, slash)
                    self.unexpected(found, "RPAR" if self.nesting else "SEMICOLON")
                database, policy = ["", *_names(path)][-2:]
                return self.part(Measurement(database, policy, regex=pattern), path[0])
        (path,) = parts
        if len(path) < 3 and (between := self.lexer.before_slash(path[-1].stop)):
            self.unexpected(between, "REGEX")
        database, policy, name = ["", "", *_names(path)][-3:]
        return self.part(Measurement(database, policy, name), path[0])

    # clauses

    def dimension(self, parts: list[Expr]) -> Dimension:
        (expr,) = parts
        dimension = _dimension(expr)
        return self.part(dimension, expr) if isinstance(dimension, Bucket) else dimension

    def fill(self, parts: list[Expr]) -> str | float | int | None:
        if not parts:
            return None
        (expr,) = parts
        match expr:
            case Call(args=(value,), bare=False):
                pass
            case Call(bare=False):
                self.fail("fill requires an argument, e.g.: 0, null, none, previous, linear", expr)
            case _:
                self.fail("fill must be a function call", expr)
        if (name := text(value)) in ("null", "none", "previous", "linear"):
            return name
        match value:
            case Lit(value=bool() | str()):
                pass
            case Lit(value=float() | int() as number) if isinstance(number, float) or number <= MAX_INT:
                return number
        self.fail("expected number argument in fill()", expr)

    def zone(self, parts: list[Expr]) -> str:
        if not parts:
            return ""
        (expr,) = parts
        match expr:
            case Call(args=(Lit(value=str() as name),), bare=False):
                if name in ("", "UTC", "Local"):
                    return name or "UTC"
                try:
                    ZoneInfo(name)
                except (ValueError, OSError, ZoneInfoNotFoundError):
                    self.fail(f"unable to find time zone {name}", expr)
                return name
            case Call(args=(_,), bare=False):
                self.fail("expected string argument in tz()", expr)
            case Call(bare=False):
                self.fail("tz requires exactly one argument", expr)
        self.fail("tz must be a function call", expr)

    def order(self, parts: list[Any]) -> tuple[bool, bool, bool]:
        """Whether there is an order, whether it names time, whether it descends."""
        if not parts:
            return False, True, False
        first, *others = parts
        if others:
            self.fail("only ORDER BY time supported at this time", first[0])
        return True, first[0].type == "IDENT", first[-1].type == "DESC"

    def first_sort_field(self, parts: list[Token]) -> list[Token]:
        if parts[0].type == "IDENT" and parts[0].text != "time":
            self.fail("only ORDER BY time supported at this time", parts[0])
        return parts

    def count(self, parts: list[Token]) -> int:
        """The number behind LIMIT and the like, 0 where there is none; one that is too large is the largest."""
        return _integer(parts[0].text, MAX_INT) if parts else 0

    # expressions

    def expr(self, parts: list[Any]) -> Expr:
        return climb(parts, PRECEDENCE, self.binary)

    def binary(self, left: Expr, op: Token, right: Expr) -> Expr:
        tree = self.part(Binary(op.text, left, right), left, left, right)
        self.places[id(tree)] = self.first(left), self.places[id(right)][1]
        return tree

    def signed(self, parts: list[Any]) -> Expr:
        """A number or duration with its sign; a sign before all else multiplies."""
        sign, operand = parts
        factor = -1 if sign.text == "-" else 1
        match operand:
            case Lit(value=float() | int() as value):
                if value > MAX_INT + 1 and factor < 0 and isinstance(value, int):
                    self.fail(f"constant -{value} underflows int64", operand)
                return self.part(Lit(factor * value), sign)
            case Duration(ns=ns):
                return self.part(Duration(factor * ns), sign)
        one = self.part(Lit(factor), sign)
        return self.part(Binary("*", one, operand), sign, one, operand)

    def paren(self, parts: list[Any]) -> Paren:
        bracket, expr, _ = parts
        return self.part(Paren(expr), bracket, expr)

    def call(self, parts: list[Any]) -> Call:
        name, *args = parts
        return self.part(Call(name.text.lower(), tuple(args)), name, *args)

    def distinct(self, parts: list[Token]) -> Call:
        distinct, name = parts
        column = self.part(Ref(name.text), name)
        return self.part(Call("distinct", (column,), bare=True), distinct, column)

    def var_ref(self, parts: list[Any]) -> Ref:
        path, *type = parts
        return self.part(Ref(".".join(_names(path)), type[0].text.lower() if type else ""), path[0])

    def wildcard(self, parts: list[Token]) -> Wildcard:
        star, *type = parts
        return self.part(Wildcard(type[0].text.lower() if type else ""), star)

    # literals

    def string(self, parts: list[Token]) -> Lit:
        return self.part(Lit(parts[0].text), parts[0])

    def boolean(self, parts: list[Token]) -> Lit:
        return self.part(Lit(parts[0].type == "TRUE"), parts[0])

    def number(self, parts: list[Token]) -> Lit:
        if (value := float(parts[0].text)) == float("inf"):
            self.wrong("unable to parse number", parts[0])
        return self.part(Lit(value), parts[0])

    def integer(self, parts: list[Token]) -> Lit:
        value = _integer(parts[0].text, MAX_UNSIGNED + 1)
        if value > MAX_UNSIGNED:
            self.wrong("unable to parse integer", parts[0])
        return self.part(Lit(value), parts[0])

    def duration(self, parts: list[Token]) -> Duration:
        try:
            return self.part(Duration(parse_duration_influx(parts[0].text)), parts[0])
        except EvalError as error:
            self.fail(str(error), parts[0])

    def regex(self, parts: list[Token]) -> Regex:
        try:
            compile_regex(parts[0].text)
        except ValueError as error:
            self.wrong(str(error), parts[0])
        return self.part(Regex(parts[0].text), parts[0])

    def parameter(self, parts: list[Token]) -> NoReturn:
        name = parts[0].text[1:]
        self.fail(f"missing parameter: {name}" if name else "empty bound parameter", parts[0])


def _names(path: list[Token]) -> list[str]:
    return ["" if token.type == "SKIP" else token.text for token in path]


def _condition_in(expr: Expr) -> str:
    """The operator of a condition that stands in a column, the last one; "" where there is none."""
    found = ""
    left_to_see = [expr]
    while left_to_see:
        match left_to_see.pop():
            case Binary(op=op) if op in CONDITIONS:
                found = op
            case Binary(left=left, right=right):
                left_to_see += right, left
            case Paren(expr=inner):
                left_to_see.append(inner)
            case Call(args=args):
                left_to_see += reversed(args)
    return found


def _dimension(expr: Expr) -> Dimension:
    match expr:
        case Ref(name=name, type=""):
            return name
        case Call(name="time", args=(Duration(ns=interval),)):
            return Bucket(interval)
        case Call(name="time", args=(Duration(ns=interval), Duration(ns=offset))):
            return Bucket(interval, offset)
    return expr


def _integer(digits: str, most: int) -> int:
    """The value of `digits`, or `most` where it is more."""
    digits = digits.lstrip("0") or "0"
    return min(int(digits), most) if len(digits) <= 20 else most


def _quote_names(names: list[str]) -> str:
    """Names with points between; all but the last are in quotes, but for those that are left out."""
    *first, last = (quote_name(name) if name else "" for name in names)
    quoted = [name if not name or name.startswith('"') else f'"{name}"' for name in first]
    return ".".join([*quoted, last])
