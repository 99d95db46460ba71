"""The parser of InfluxQL: the text of a script's query -> Select, or QueryError in Kapacitor's words.

By recursive descent, as influxql's parser.go, whose order of looking ahead decides what is an error, and which: where
white space, a comment or a regex can stand depends on what was looked at before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tickc.compiler.diagnostics import Span, go_quote
from tickc.compiler.influxql.lexer import Lexer, Token
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
MAX_NESTING = 25  # brackets, calls, signs and subqueries inside one another; Python must read the tree's repr
MAX_DEPTH = 300  # of an expression's tree, which a long run of operators makes deep too

STATEMENTS = ("SELECT", "DELETE", "SHOW", "CREATE", "DROP", "EXPLAIN", "GRANT", "REVOKE", "ALTER", "SET", "KILL")
PRECEDENCE = {
    "OR": 1, "AND": 2, "=": 3, "!=": 3, "=~": 3, "!~": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "+": 4, "-": 4, "|": 4,
    "^": 4, "*": 5, "/": 5, "%": 5, "&": 5,
}  # fmt: skip
CONDITIONS = frozenset(op for op, level in PRECEDENCE.items() if level <= 3)
TYPES = ("float", "integer", "unsigned", "string", "boolean")

BLANK = ("WS", "COMMENT")
MAX_INT = (1 << 63) - 1
MAX_UNSIGNED = (1 << 64) - 1

_T = TypeVar("_T", bound=Tree)


class QueryError(Exception):
    """A query that Kapacitor does not take. problem: why, in its words; span: the bytes of the query to look at."""

    def __init__(self, problem: str, span: Span, *, syntax: bool = True) -> None:
        super().__init__(f"failed to parse InfluxQL query: {problem}" if syntax else problem)
        self.problem = problem
        self.span = span


def parse(query: str, spans: Spans | None = None) -> Select:
    """The tree of a query; `spans` is told which bytes of the query each part covers. Raises QueryError."""
    parser = _Parser(query)
    if len(query) > MAX_BYTES:
        raise QueryError(f"the query is longer than {MAX_BYTES} bytes", Span(0, 0), syntax=False)
    select = parser.query()
    if spans is not None:
        for key, (start, stop) in parser.places.items():
            span = parser.lexer.span(start, stop)
            spans[key] = span.start, span.stop
    return select


def reread(select: Select) -> Select:
    """`select` as a database reads it from its text; QueryError in the database's words where it cannot."""
    try:
        return parse(text(select))
    except QueryError as error:
        raise QueryError(f"error parsing query: {error.problem}", error.span, syntax=False) from None


class _Parser:
    """`tokens` are all that were read, `next` is the one to take next: the lexer runs ahead where the parser looked."""

    def __init__(self, query: str) -> None:
        self.lexer = Lexer(query)
        self.tokens: list[Token] = []
        self.next = 0
        self.nesting = 0
        self.parts: list[Tree] = []  # all that were made, so that an id stands for one part alone
        self.places: dict[int, tuple[int, int]] = {}  # id of a part -> its characters
        self.depths: dict[int, int] = {}
        self.into: Token | None = None

    # tokens

    def scan(self, read: Callable[[], Token] | None = None) -> Token:
        """The next token, white space too; `read` reads it where it has not been looked at."""
        if self.next == len(self.tokens):
            self.tokens.append((read or self.lexer.token)())
        self.next += 1
        return self.tokens[self.next - 1]

    def take(self) -> Token:
        """The next token that is neither white space nor a comment."""
        while (token := self.scan()).type in BLANK:
            pass
        return token

    def back(self) -> None:
        self.next -= 1

    def peek(self) -> Token:
        token = self.take()
        self.back()
        return token

    def accept(self, type: str) -> Token | None:
        """The next token, taken, if it is of this type."""
        if self.peek().type != type:
            return None
        return self.scan()

    def adjacent(self, type: str) -> bool:
        """Whether a token of this type comes next, with nothing before it; it is taken then."""
        if self.scan().type == type:
            return True
        self.back()
        return False

    def expect(self, type: str, *shown: str) -> Token:
        token = self.take()
        if token.type != type:
            self.unexpected(token, *(shown or (type,)))
        return token

    def name(self) -> str:
        return self.expect("IDENT", "identifier").text

    def last(self) -> Token:
        """The last token taken that means something."""
        return next(t for t in reversed(self.tokens[: self.next]) if t.type not in BLANK)

    # messages

    def fail(self, problem: str, token: Token, *, syntax: bool = True) -> NoReturn:
        raise QueryError(problem, self.lexer.span(token.start, token.stop), syntax=syntax)

    def wrong(self, problem: str, token: Token) -> NoReturn:
        self.fail(f"{problem} {self.lexer.place(token.told)}", token)

    def unexpected(self, token: Token, *expected: str) -> NoReturn:
        self.wrong(f"found {token.shown}, expected {', '.join(expected)}", token)

    # parts

    def part(self, tree: _T, start: int, *inside: Tree) -> _T:
        """`tree`, which began at character `start`, with its place and its depth noted."""
        self.parts.append(tree)
        self.places[id(tree)] = start, self.last().stop
        self.depths[id(tree)] = depth = 1 + max((self.depths[id(part)] for part in inside), default=0)
        if depth > MAX_DEPTH:
            self.fail(f"an expression of the query is more than {MAX_DEPTH} deep", self.last(), syntax=False)
        return tree

    def nested(self, read: Callable[[], _T]) -> _T:
        """What `read` reads, one level deeper."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.fail(f"the query is nested more than {MAX_NESTING} deep", self.last(), syntax=False)
        tree = read()
        self.nesting -= 1
        return tree

    def separated(self, read: Callable[[], _T], comma: Callable[[], bool]) -> tuple[_T, ...]:
        """One or more with commas between."""
        parts = [read()]
        while comma():
            parts.append(read())
        return tuple(parts)

    # statements

    def query(self) -> Select:
        """The only statement, which must be a select."""
        statements: list[tuple[Select | None, Token]] = []
        separated = True
        while (token := self.take()).type != "EOF":
            if token.type == ";":
                separated = True
            elif not separated:
                self.unexpected(token, ";")
            else:
                statements.append((self.statement(token), token))
                separated = False
        if len(statements) != 1:
            problem = f"query must be a single select statement, got {len(statements)} statements"
            self.fail(problem, statements[1][1] if statements else self.last(), syntax=False)
        select, first = statements[0]
        if select is None:
            written = self.lexer.text[first.start :].rstrip(" \t\n;")
            self.fail(f"query is not a select statement {go_quote(written)}", first, syntax=False)
        if self.into is not None:
            self.fail("the query writes with INTO, which tickc does not do", self.into, syntax=False)
        return select

    def statement(self, first: Token) -> Select | None:
        """A select, or None for a statement of another kind, of which only the end is looked for."""
        if first.type == "SELECT":
            return self.select()
        if first.type not in STATEMENTS:
            self.unexpected(first, *STATEMENTS)
        while self.peek().type not in (";", "EOF"):
            self.take()
        return None

    def select(self) -> Select:
        """The select whose first word has been taken."""
        start = self.last().start
        fields = self.separated(self.field, lambda: self.adjacent(","))
        self.target()
        self.expect("FROM")
        sources = self.separated(self.source, self.comma)
        where = self.expression() if self.accept("WHERE") else None
        dimensions = self.dimensions()
        fill = self.fill()
        ordered, names_time, descending = self.order()
        limit, offset, slimit, soffset = (self.count(word) for word in ("LIMIT", "OFFSET", "SLIMIT", "SOFFSET"))
        select = Select(
            fields=fields,
            sources=sources,
            where=where,
            dimensions=dimensions,
            fill=fill,
            ordered=ordered,
            descending=descending,
            limit=limit,
            offset=offset,
            slimit=slimit,
            soffset=soffset,
            zone=self.zone(),
            order_names_time=names_time,
        )
        return self.part(select, start)

    def comma(self) -> bool:
        return self.accept(",") is not None

    def field(self) -> Field:
        expr: Expr | None = self.regex()
        if expr is None:
            first = self.peek()
            expr = self.expression()
            if op := _condition_in(expr):
                place = self.lexer.place(first.told)
                problem = f"invalid operator {op} in SELECT clause {place}; operator is intended for WHERE clause"
                self.fail(problem, first)
        alias = self.name() if self.accept("AS") else ""
        field = self.part(Field(expr, alias), self.places[id(expr)][0], expr)
        self.adjacent("WS")
        return field

    def target(self) -> None:
        """INTO: it is read to find the mistakes behind it."""
        if (into := self.accept("INTO")) is None:
            return
        self.into = self.into or into
        if len(self.segments()) < 3 and self.lexer.peek() == ":":
            self.expect(":")
            self.expect("MEASUREMENT")

    # sources

    def source(self) -> Measurement | Select:
        regex = self.regex()
        if regex is not None:
            return self.part(Measurement(regex=regex.pattern), self.places[id(regex)][0])
        if self.accept("("):
            self.expect("SELECT")
            select = self.nested(self.select)
            self.expect(")")
            return select
        start = self.peek().start
        names = self.segments()
        regex = self.regex() if len(names) < 3 else None
        if regex is None:
            database, policy, name = ["", "", *names][-3:]
            return self.part(Measurement(database, policy, name), start)
        database, policy = ["", *names][-2:]
        return self.part(Measurement(database, policy, regex=regex.pattern), start)

    def segments(self) -> list[str]:
        """Up to three names with points between, some left out; a regex or a colon may follow the last point."""
        first = self.peek()
        names = [self.name()]
        while self.adjacent("."):
            following = self.lexer.peek()
            if following in ("/", ":"):
                break
            names.append("" if following == "." else self.name())
        if len(names) > 3:
            self.fail(f"too many segments in {_quote_names(names)} at line 1, char 1", first)
        return names

    # clauses

    def dimensions(self) -> tuple[Dimension, ...]:
        if self.accept("GROUP") is None:
            return ()
        self.expect("BY")
        dimensions = [self.dimension()]
        while self.adjacent(","):
            dimensions.append(self.dimension())
        return tuple(dimensions)

    def dimension(self) -> Dimension:
        if (regex := self.regex()) is not None:
            return regex
        expr = self.expression()
        dimension = _dimension(expr)
        if isinstance(dimension, Bucket):
            self.part(dimension, self.places[id(expr)][0])
        self.adjacent("WS")
        return dimension

    def call_of(self, name: str) -> tuple[Expr | None, Token]:
        """The expression that begins with the name, if it comes next, and its first token."""
        first = self.peek()
        if first.type != "IDENT" or first.text.lower() != name:
            return None, first
        return self.expression(), first

    def fill(self) -> str | float | int | None:
        expr, first = self.call_of("fill")
        match expr:
            case None:
                return None
            case Call(args=(value,), bare=False):
                pass
            case Call(bare=False):
                self.fail("fill requires an argument, e.g.: 0, null, none, previous, linear", first)
            case _:
                self.fail("fill must be a function call", first)
        if (name := text(value)) in ("null", "none", "previous", "linear"):
            return name
        match value:
            case Lit(value=bool() | str()):
                pass
            case Lit(value=float() | int() as number) if isinstance(number, float) or number <= MAX_INT:
                return number
        self.fail("expected number argument in fill()", first)

    def zone(self) -> str:
        expr, first = self.call_of("tz")
        match expr:
            case None:
                return ""
            case Call(args=(Lit(value=str() as name),), bare=False):
                return self.zone_name(name, first)
            case Call(args=(_,), bare=False):
                self.fail("expected string argument in tz()", first)
            case Call(bare=False):
                self.fail("tz requires exactly one argument", first)
        self.fail("tz must be a function call", first)

    def zone_name(self, name: str, token: Token) -> str:
        if name in ("", "UTC", "Local"):
            return name or "UTC"
        try:
            ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            self.fail(f"unable to find time zone {name}", token)
        return name

    def order(self) -> tuple[bool, bool, bool]:
        """Whether there is an order, whether it names time, whether it descends."""
        if self.accept("ORDER") is None:
            return False, True, False
        self.expect("BY")
        first = self.take()
        match first.type:
            case "ASC" | "DESC":
                orders = [(False, first.type == "DESC")]
            case "IDENT":
                self.back()
                orders = [self.sort_field()]
                if first.text != "time":
                    self.fail("only ORDER BY time supported at this time", first)
            case _:
                self.unexpected(first, "identifier", "ASC", "DESC")
        while self.comma():
            orders.append(self.sort_field())
        if len(orders) > 1:
            self.fail("only ORDER BY time supported at this time", first)
        return True, *orders[0]

    def sort_field(self) -> tuple[bool, bool]:
        self.name()
        direction = self.accept("ASC") or self.accept("DESC")
        return True, direction is not None and direction.type == "DESC"

    def count(self, word: str) -> int:
        """The number behind LIMIT and the like, 0 where there is none; one that is too large is the largest."""
        if self.accept(word) is None:
            return 0
        return _integer(self.expect("INTEGER", "integer").text, MAX_INT)

    # expressions

    def expression(self) -> Expr:
        """Operands and operators; each goes into the tree as soon as what follows binds no tighter."""
        operands, ops = [self.operand()], list[str]()
        while (op := self.peek().type) in PRECEDENCE:
            self.take()
            right = self.operand_of_match() if op in ("=~", "!~") else self.operand()
            self.reduce(operands, ops, PRECEDENCE[op])
            operands.append(right)
            ops.append(op)
        self.reduce(operands, ops, 0)
        return operands[0]

    def reduce(self, operands: list[Expr], ops: list[str], level: int) -> None:
        while ops and PRECEDENCE[ops[-1]] >= level:
            right, left = operands.pop(), operands.pop()
            tree = self.part(Binary(ops.pop(), left, right), self.places[id(left)][0], left, right)
            self.places[id(tree)] = self.places[id(left)][0], self.places[id(right)][1]
            operands.append(tree)

    def operand_of_match(self) -> Expr:
        regex = self.regex()
        if regex is None:
            self.unexpected(self.take(), "regex")
        return regex

    def operand(self) -> Expr:
        token = self.take()
        start = token.start
        match token.type:
            case "(":
                expr = self.nested(self.expression)
                self.expect(")")
                return self.part(Paren(expr), start, expr)
            case "IDENT":
                if self.adjacent("("):
                    return self.nested(lambda: self.call(token.text.lower(), start))
                self.back()
                return self.reference()
            case "DISTINCT":
                return self.distinct(start)
            case "STRING":
                return self.part(Lit(token.text), start)
            case "NUMBER":
                return self.part(Lit(self.number(token)), start)
            case "INTEGER":
                return self.part(Lit(self.integer(token)), start)
            case "TRUE" | "FALSE":
                return self.part(Lit(token.type == "TRUE"), start)
            case "DURATIONVAL":
                return self.part(Duration(self.duration(token)), start)
            case "*":
                return self.wildcard(start)
            case "BOUNDPARAM":
                name = token.text[1:]
                self.fail(f"missing parameter: {name}" if name else "empty bound parameter", token)
            case "+" | "-":
                return self.signed(token)
        self.unexpected(token, "identifier", "string", "number", "bool")

    def call(self, name: str, start: int) -> Call:
        """The call whose opening bracket has been taken."""
        regex = self.regex()
        if regex is None and self.adjacent(")"):
            return self.part(Call(name), start)
        args: list[Expr] = [regex or self.expression()]
        while self.comma():
            args.append(self.regex() or self.expression())
        if not self.adjacent(")"):
            self.unexpected(self.scan(), ")")
        return self.part(Call(name, tuple(args)), start, *args)

    def distinct(self, start: int) -> Call:
        token = self.scan()
        if token.type == "(":
            return self.nested(lambda: self.call("distinct", start))
        if token.type != "WS":
            self.unexpected(token, "(", "identifier")
        name = self.expect("IDENT", "identifier")
        column = self.part(Ref(name.text), name.start)
        return self.part(Call("distinct", (column,), bare=True), start, column)

    def reference(self) -> Ref:
        start = self.peek().start
        name = ".".join(self.segments())
        type = ""
        if self.adjacent("::"):
            token = self.scan()
            type = token.text.lower() if token.type == "IDENT" else token.type.lower()
            if token.type == "IDENT" and type not in TYPES:
                self.unexpected(token, *TYPES, "field", "tag")
            if token.type not in ("IDENT", "FIELD", "TAG"):
                self.unexpected(token, "float", "integer", "string", "boolean", "field", "tag")
        return self.part(Ref(name, type), start)

    def wildcard(self, start: int) -> Wildcard:
        type = ""
        if self.adjacent("::"):
            token = self.scan()
            if token.type not in ("FIELD", "TAG"):
                self.unexpected(token, "field", "tag")
            type = token.type.lower()
        return self.part(Wildcard(type), start)

    def signed(self, sign: Token) -> Expr:
        """A number or duration with its sign; a sign before all else multiplies."""
        token = self.peek()
        if token.type not in ("NUMBER", "INTEGER", "DURATIONVAL", "(", "IDENT"):
            self.unexpected(token, "identifier", "number", "duration", "(")
        factor = -1 if sign.type == "-" else 1
        match operand := self.operand():
            case Lit(value=float() | int() as value):
                if value > MAX_INT + 1 and factor < 0 and isinstance(value, int):
                    self.fail(f"constant -{value} underflows int64", token)
                return self.part(Lit(factor * value), sign.start)
            case Duration(ns=ns):
                return self.part(Duration(factor * ns), sign.start)
        one = self.part(Lit(factor), sign.start)
        return self.part(Binary("*", one, operand), sign.start, one, operand)

    def number(self, token: Token) -> float:
        if (value := float(token.text)) == float("inf"):
            self.wrong("unable to parse number", token)
        return value

    def integer(self, token: Token) -> int:
        value = _integer(token.text, MAX_UNSIGNED + 1)
        if value > MAX_UNSIGNED:
            self.wrong("unable to parse integer", token)
        return value

    def duration(self, token: Token) -> int:
        try:
            return parse_duration_influx(token.text)
        except EvalError as error:
            self.fail(str(error), token)

    def regex(self) -> Regex | None:
        """A regex, if a slash comes next. The lexer's place counts, even where the parser has looked ahead."""
        if self.lexer.peek() in (" ", "\t", "\n"):
            self.adjacent("WS")
        if self.lexer.peek() != "/":
            return None
        token = self.scan(self.lexer.regex)
        if token.type == "BADREGEX":
            self.wrong("bad regex: ", token)
        if token.type != "REGEX":
            self.unexpected(token, "regex")
        try:
            compile_regex(token.text)
        except ValueError as error:
            self.wrong(str(error), token)
        return self.part(Regex(token.text), token.start)


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
