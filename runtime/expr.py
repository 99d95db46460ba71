"""Lambda expressions: the tree, its types, and its value on many points at once.

Kapacitor chooses types per point. Here the points of a batch are first parted by the kinds that the referenced names
have (their *signature*); nearly always there is one. Within a signature every sub-expression has one static type, so
type errors are decided once, and only the errors that depend on a value (a zero divisor, a text that is no number) are
a mask. `AND` and `OR` evaluate their right side only for the rows that reach it, as Kapacitor does; that matters for
errors and for functions with state.

Generated modules build trees with `ref`, `call`, `lit` and Python's operators; `repr` of a tree is that Python text.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, cast
from zlib import crc32

import numpy as np

from tickc.runtime import builtins
from tickc.runtime.batch import DTYPES, Array, Column, Text, Vocabulary, select
from tickc.runtime.builtins import Builtin, EvalError
from tickc.runtime.kernel import Kernel, interpreting_is_a_choice, kernel
from tickc.runtime.kinds import Kind

FLOAT, INT, STRING, BOOL, DURATION = Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL, Kind.DURATION

# --- the tree -------------------------------------------------------------------------------------------------------


class Expr:
    """A lambda expression. Python's operators build trees: `&` is AND, `|` OR, `~` the unary `!`."""

    __slots__ = ()

    def __and__(self, other: Any) -> Expr:
        return Binary("AND", self, lit(other))

    def __or__(self, other: Any) -> Expr:
        return Binary("OR", self, lit(other))

    def __invert__(self) -> Expr:
        return Unary("!", self)

    def __neg__(self) -> Expr:
        return Unary("-", self)

    def __add__(self, other: Any) -> Expr:
        return Binary("+", self, lit(other))

    def __sub__(self, other: Any) -> Expr:
        return Binary("-", self, lit(other))

    def __mul__(self, other: Any) -> Expr:
        return Binary("*", self, lit(other))

    def __truediv__(self, other: Any) -> Expr:
        return Binary("/", self, lit(other))

    def __mod__(self, other: Any) -> Expr:
        return Binary("%", self, lit(other))

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return Binary("==", self, lit(other))

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return Binary("!=", self, lit(other))

    def __lt__(self, other: Any) -> Expr:
        return Binary("<", self, lit(other))

    def __le__(self, other: Any) -> Expr:
        return Binary("<=", self, lit(other))

    def __gt__(self, other: Any) -> Expr:
        return Binary(">", self, lit(other))

    def __ge__(self, other: Any) -> Expr:
        return Binary(">=", self, lit(other))

    def __hash__(self) -> int:
        return hash(repr(self))

    def same(self, other: Expr) -> bool:
        """Whether both trees are equal (`==` builds a comparison)."""
        return repr(self) == repr(other)

    def matches(self, other: Any) -> Expr:
        """`self =~ other`."""
        return Binary("=~", self, lit(other))

    def lacks(self, other: Any) -> Expr:
        """`self !~ other`."""
        return Binary("!~", self, lit(other))

    @property
    def children(self) -> tuple[Expr, ...]:
        return ()

    def walk(self) -> Iterator[Expr]:
        """This node and all below it, operands before operators, from left to right."""
        pending: list[tuple[Expr, bool]] = [(self, False)]
        while pending:
            e, below_done = pending.pop()
            if below_done or not e.children:
                yield e
                continue
            pending.append((e, True))
            pending.extend((child, False) for child in reversed(e.children))

    def depth(self) -> int:
        """The number of levels of the tree, where a chain of one operator (`run`) is one: functions loop over it."""
        levels: dict[int, int] = {}
        for e in self.walk():
            levels[id(e)] = level_above(e, lambda c: levels[id(c)])
        return levels[id(self)]

    def references(self) -> tuple[str, ...]:
        """The names of the fields and tags that the expression reads, each once, in order."""
        return tuple(dict.fromkeys(e.name for e in self.walk() if isinstance(e, Ref)))

    def stateful(self) -> bool:
        """Whether a value depends on the points evaluated before."""
        return self.calls(STATEFUL)

    def calls(self, names: Collection[str]) -> bool:
        """Whether one of the functions `names` is called."""
        return any(isinstance(e, Call) and e.name in names for e in self.walk())


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Literal(Expr):
    """A constant; durations are int ns with `kind` DURATION, a regex is its pattern with kind REGEX."""

    kind: Kind
    value: Any

    def __repr__(self) -> str:
        match self.kind:
            case Kind.DURATION:
                return f"duration({self.value!r})"
            case Kind.REGEX:
                return f"pattern({self.value!r})"
        return f"lit({_python_text(self.value)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ref(Expr):
    """`"name"`: the field or tag of the point, or its time."""

    name: str

    def __repr__(self) -> str:
        return f"ref({self.name!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Expr):
    op: str
    operand: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.operand,)

    def __repr__(self) -> str:
        return f"{'~' if self.op == '!' else '-'}{_inner(self.operand, _ATOM)}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Expr):
    op: str
    left: Expr
    right: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.left, self.right)

    def __repr__(self) -> str:
        terms = spine(self)
        if len(terms) > _LONG:
            return f"chain({', '.join([repr(self.op), *map(_operand, terms)])})"
        if self.op in ("=~", "!~"):
            return f"{_inner(self.left, _ATOM)}.{'matches' if self.op == '=~' else 'lacks'}({_operand(self.right)})"
        sign = {"AND": "&", "OR": "|"}.get(self.op, self.op)
        level = _LEVELS.get(self.op, 0)
        nested = isinstance(self.right, (Binary, Unary))
        right = _inner(self.right, level + 1) if nested else _operand(self.right)
        return f"{_inner(self.left, level or 1)} {sign} {right}"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Expr):
    """A function call."""

    name: str
    args: tuple[Expr, ...]

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.args

    def __repr__(self) -> str:
        return f"call({', '.join([repr(self.name), *map(_operand, self.args)])})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Nested(Expr):
    """A lambda var spliced into another lambda: its functions have a state of their own, shared by all groups."""

    body: Expr

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.body,)

    def __repr__(self) -> str:
        return f"nested({self.body!r})"


_LEVELS = {"OR": 1, "AND": 2, "+": 3, "-": 3, "*": 4, "/": 4, "%": 4}  # Python's precedence of `|` … `%`
_ATOM = 6
_LONG = 20  # operands of one operator in a row that are written with signs


def goes_on(e: Expr, left: Expr) -> bool:
    """Whether the left operand of an operator has the same operator."""
    return isinstance(e, Binary) and isinstance(left, Binary) and left.op == e.op


def level_above(e: Expr, level: Callable[[Expr], int]) -> int:
    """The level of `e` in a tree, from the levels of its parts; see `Expr.depth`."""
    below = [level(c) for c in e.children]
    if below and goes_on(e, e.children[0]):
        below[0] -= 1
    return 1 + max(below, default=0)


def run(e: Binary, known: Container[int] = ()) -> list[Binary]:
    """The operators of a chain of one operator, `((a op b) op c) op d`, from left to right: the innermost first.

    known: ids of operators; one of these and what is left of it is left out.
    """
    found = [e]
    while goes_on(e, left := found[-1].left) and id(left) not in known:
        found.append(cast(Binary, left))
    return found[::-1]


def spine(e: Binary) -> list[Expr]:
    """The operands of a chain of one operator, from left to right."""
    operators = run(e)
    return [operators[0].left, *(b.right for b in operators)]


def _inner(e: Expr, least: int) -> str:
    """Text of an operand, in parentheses where its operator binds weaker than `least`."""
    match e:
        case Binary(op="=~" | "!~"):
            return repr(e)
        case Binary() if len(spine(e)) > _LONG:
            return repr(e)
        case Binary(op=op):
            return f"({e!r})" if _LEVELS.get(op, 0) < least else repr(e)
        case Unary():
            return f"({e!r})" if least >= _ATOM else repr(e)
    return repr(e)


def _operand(e: Expr) -> str:
    """Plain Python literals where an operator or call wraps them by itself."""
    if isinstance(e, Literal) and e.kind in (FLOAT, INT, STRING, BOOL):
        return _python_text(e.value)
    return repr(e)


def _python_text(value: Any) -> str:
    """`repr`, also for floats that have no literal."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def lit(value: Any) -> Expr:
    """A constant of Python type bool, int, float or str (an expression is passed through)."""
    match value:
        case Expr():
            return value
        case bool():
            return Literal(BOOL, value)
        case int():
            return Literal(INT, value)
        case float():
            return Literal(FLOAT, value)
        case str():
            return Literal(STRING, value)
    raise TypeError(f"not a lambda value: {value!r}")


def duration(ns: int) -> Expr:
    """A constant duration in nanoseconds."""
    return Literal(DURATION, ns)


def pattern(text: str) -> Expr:
    """A constant regular expression (Go's syntax)."""
    return Literal(Kind.REGEX, text)


def ref(name: str) -> Expr:
    """The field or tag `name` of the point; `ref("time")` is the point's time."""
    return Ref(name)


def call(name: str, *args: Any) -> Expr:
    """The lambda function `name` of `args`."""
    return Call(name, tuple(lit(a) for a in args))


def chain(op: str, *terms: Any) -> Expr:
    """Operands joined by one operator from left to right; for many of them."""
    first, *rest = (lit(t) for t in terms)
    return functools.reduce(lambda left, right: Binary(op, left, right), rest, first)


def nested(body: Expr) -> Expr:
    """A lambda within a lambda, with function state of its own."""
    return Nested(body)


_LIMIT = threading.Lock()
_LIMITS: list[
    int
] = []  # Python's own limit of recursion, then what threads need that are in deep trees; the limit is one


@contextlib.contextmanager
def deep_recursion(depth: int) -> Iterator[None]:
    """Let functions recurse into a tree of `depth` levels; no more than Python's own limit for an ordinary one."""
    needed = 1_000 + 12 * depth
    if depth < 50 or (not _LIMITS and needed <= sys.getrecursionlimit()):
        yield
        return
    with _LIMIT:
        if not _LIMITS:
            _LIMITS.append(sys.getrecursionlimit())
        _LIMITS.append(needed)
        sys.setrecursionlimit(max(_LIMITS))
    try:
        yield
    finally:
        with _LIMIT:
            _LIMITS.remove(needed)
            sys.setrecursionlimit(max(_LIMITS))
            if len(_LIMITS) == 1:
                _LIMITS.clear()


# --- types ----------------------------------------------------------------------------------------------------------

MATH = ("+", "-", "*", "/", "%")
COMPARE = ("==", "!=", "<", "<=", ">", ">=", "=~", "!~")
LOGIC = ("AND", "OR")


def _operators() -> dict[tuple[str, Kind, Kind], Kind]:
    table: dict[tuple[str, Kind, Kind], Kind] = {}
    for op in MATH:
        table[op, INT, INT] = INT
        if op != "%":
            table[op, FLOAT, FLOAT] = FLOAT
    for op in ("+", "-"):
        table[op, DURATION, DURATION] = DURATION
    table["+", STRING, STRING] = STRING
    for number in (INT, FLOAT):
        table["*", DURATION, number] = table["*", number, DURATION] = table["/", DURATION, number] = DURATION
    table["/", DURATION, DURATION] = INT
    for op in ("==", "!="):
        table[op, BOOL, BOOL] = BOOL
    for op in COMPARE[:6]:
        table[op, STRING, STRING] = table[op, DURATION, DURATION] = BOOL
        for a in (INT, FLOAT):
            for b in (INT, FLOAT):
                table[op, a, b] = BOOL
    table["=~", STRING, Kind.REGEX] = table["!~", STRING, Kind.REGEX] = BOOL
    table["AND", BOOL, BOOL] = table["OR", BOOL, BOOL] = BOOL
    return table


OPERATORS = _operators()
_OPERAND_KINDS = {(kind, op) for op, left, right in OPERATORS for kind in (left, right)}

STATEFUL = {"count", "sigma", "spread", "rand"}
_STATEFUL_ARGS: dict[str, dict[tuple[Kind, ...], Kind]] = {
    "count": {(): INT},
    "sigma": {(FLOAT,): FLOAT},
    "spread": {(FLOAT,): FLOAT},
    "rand": {(): INT, (INT,): INT},
}
_IF_KINDS = (FLOAT, INT, STRING, BOOL, Kind.REGEX, Kind.TIME, DURATION)
_PRESENT_KINDS = (Kind.MISSING, BOOL, STRING, INT, FLOAT)
SPECIAL = {"if", "isPresent", "now"}


def function_names() -> list[str]:
    """The names of all lambda functions, sorted."""
    return sorted({*builtins.names(), *STATEFUL, *SPECIAL})


Memo = dict[int, Any]


def constant_kind(e: Expr, memo: Memo | None = None) -> Kind | None:
    """The kind that is known without any point (Kapacitor's getConstantNodeType), None where it is dynamic.

    memo: results by id of sub-expressions, for one tree that stays alive.
    """
    if memo is None:
        memo = {}
    if id(e) not in memo:
        for part in run(e, memo) if isinstance(e, Binary) and e.op in MATH else (e,):
            memo[id(part)] = _constant_kind(part, memo)
    known: Kind | None = memo[id(e)]
    return known


def _constant_kind(e: Expr, memo: Memo) -> Kind | None:
    match e:
        case Literal(kind=kind):
            return kind
        case Nested(body=body):
            return constant_kind(body, memo)
        case Unary(op=op, operand=operand):
            return BOOL if op == "!" else constant_kind(operand, memo)
        case Binary(op=op):
            if op not in MATH:
                return BOOL
            left, right = constant_kind(e.left, memo), constant_kind(e.right, memo)
            return None if left is None or right is None else OPERATORS.get((op, left, right))
    return None


def is_dynamic(e: Expr, memo: Memo | None = None) -> bool:
    """Whether the kind has to be looked up per point."""
    memo = {} if memo is None else memo
    while isinstance(e, Binary):
        if constant_kind(e, memo) is not None:
            return False
        if is_dynamic(e.right, memo):
            return True
        e = e.left
    match e:
        case Literal():
            return False
        case Nested(body=body):
            return is_dynamic(body, memo)
        case Unary():
            return constant_kind(e, memo) is None and is_dynamic(e.operand, memo)
    return True


def check(e: Expr, memo: Memo | None = None) -> None:
    """Raise EvalError with Kapacitor's text where an operator on constants can have no meaning (a start error)."""
    memo = {} if memo is None else memo
    if isinstance(e, Binary):
        _check_operators(run(e), memo)
    elif isinstance(e, Call):
        for i, arg in enumerate(e.args):
            try:
                check(arg, memo)
            except EvalError as error:
                raise EvalError(f"Failed to handle {i + 1} argument: {error}") from None
    else:
        for child in e.children:
            try:
                check(child, memo)
            except EvalError as error:
                raise EvalError(f"Failed to handle node: {error}") from None


def _check_operators(operators: Sequence[Binary], memo: Memo) -> None:
    """`check` a chain of one operator from left to right; each operator tells of the one on its left."""
    dynamic = is_dynamic(operators[0].left, memo)
    for i, e in enumerate(operators):
        above = "Failed to handle left node: " * (len(operators) - 1 - i)
        for side, name in ((e.left, "left"), (e.right, "right"))[i > 0 :]:
            try:
                check(side, memo)
            except EvalError as error:
                raise EvalError(f"{above}Failed to handle {name} node: {error}") from None
        right_dynamic = is_dynamic(e.right, memo)
        if not right_dynamic and not dynamic:
            left, right = constant_kind(e.left, memo), constant_kind(e.right, memo)
            if left is None or right is None or (e.op, left, right) not in OPERATORS:
                raise EvalError(f"{above}{_mismatch(e.op, left, right)}")
        dynamic = constant_kind(e, memo) is None and (right_dynamic or dynamic)


def _mismatch(op: str, left: Kind | None, right: Kind | None) -> EvalError:
    """Kapacitor's determineError for two operand kinds."""
    word = "math" if op in MATH else "comparison" if op in COMPARE else "logical"
    if left is not None and (left, op) not in _OPERAND_KINDS:
        return EvalError(f"invalid {word} operator {op} for type {left.label}")
    names = [k.label if k is not None else "invalid type" for k in (left, right)]
    return EvalError(
        f"mismatched type to binary operator. got {names[0]} {op} {names[1]}. "
        "see bool(), int(), float(), string(), duration()"
    )


class Kinds(dict[str, Kind]):
    """The kinds of references, with what follows for the sub-expressions of one tree (by id)."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        super().__init__(kinds)
        self.constant: Memo = {}
        self.known: dict[int, Kind] = {}


def kind_of(e: Expr, kinds: Kinds) -> Kind:
    """The kind of `e` where its references have `kinds`; raises EvalError as Kapacitor's Type() does."""
    known = kinds.known.get(id(e))
    if known is None:
        dynamic = isinstance(e, Binary) and constant_kind(e, kinds.constant) is None
        for part in run(cast(Binary, e), kinds.known) if dynamic else (e,):
            kinds.known[id(part)] = _kind_of(part, kinds)
        known = kinds.known[id(e)]
    return known


def _kind_of(e: Expr, kinds: Kinds) -> Kind:
    match e:
        case Literal(kind=kind):
            return kind
        case Ref(name=name):
            kind = kinds[name]
            if kind is Kind.NIL:
                raise EvalError(f'referenced value "{name}" is nil.')
            return kind
        case Nested(body=body):
            known = constant_kind(body, kinds.constant)
            return kind_of(body, kinds) if known is None else known
        case Unary(operand=operand):
            known = constant_kind(e, kinds.constant)
            return kind_of(operand, kinds) if known is None else known
        case Binary(op=op, left=left, right=right):
            known = constant_kind(e, kinds.constant)
            return known if known is not None else _binary_kind(op, left, right, kinds)
        case Call(name=name, args=args):
            return _call_kind(name, args, kinds)
    raise AssertionError(e)


def _binary_kind(op: str, left: Expr, right: Expr, kinds: Kinds) -> Kind:
    sides = [kind_of(left, kinds), kind_of(right, kinds)]
    result = OPERATORS.get((op, sides[0], sides[1]))
    if result is not None:
        return result
    for side, kind, word in ((left, sides[0], "left"), (right, sides[1], "right")):
        if kind is Kind.MISSING and isinstance(side, Ref):
            raise EvalError(f'{word} reference value "{side.name}" is missing value')
    raise _mismatch(op, sides[0], sides[1])


def _call_kind(name: str, args: Sequence[Expr], kinds: Kinds) -> Kind:
    if name not in STATEFUL and name not in SPECIAL and builtins.overloads(name) is None:
        raise EvalError(f'undefined function: "{name}"')
    given = []
    for i, arg in enumerate(args):
        try:
            given.append(kind_of(arg, kinds))
        except EvalError as error:
            raise EvalError(f"Failed to handle {i + 1} argument: {error}") from None
    result = _signature(name, tuple(given))
    if result is None:
        missing = [f'"{a.name}"' for a, k in zip(args, given) if k is Kind.MISSING and isinstance(a, Ref)]
        if missing:
            raise EvalError(f"Cannot call function '{name}' with missing argument(s): {', '.join(missing)}")
        labels = ",".join(k.label for k in given)
        raise EvalError(f'Cannot call function "{name}" with args ({labels})')
    return result


def _signature(name: str, given: tuple[Kind, ...]) -> Kind | None:
    if name in _STATEFUL_ARGS:
        return _STATEFUL_ARGS[name].get(given)
    if name == "if":
        ok = len(given) == 3 and given[0] is BOOL and given[1] is given[2] and given[1] in _IF_KINDS
        return given[1] if ok else None
    if name == "isPresent":
        return BOOL if len(given) == 1 and given[0] in _PRESENT_KINDS else None
    if name == "now":
        return Kind.TIME if not given else None
    overload = (builtins.overloads(name) or {}).get(given)
    return overload.result if overload else None


# --- evaluation -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Value:
    """The values of a sub-expression on n rows.

    data: f8, i8 (int, duration, time ns), or bool array, a `Text`, or one scalar for all rows (a str for strings, a
    compiled pattern for regexes, None for missing). error: bool[n] where the value could not be had, or None.
    """

    kind: Kind
    data: Any
    error: Array | None = None


def either(a: Array | None, b: Array | None) -> Array | None:
    """The union of two masks, None being empty."""
    if a is None or b is None:
        return b if a is None else a
    return a | b


class Frame:
    """What the references of an expression mean on n rows."""

    def __init__(self, n: int, columns: Mapping[str, Column | Text], clock: Array, group: Array | None = None) -> None:
        """columns: a Column (field or earlier eval result) or a Text (tag) for each name, absent where unknown; clock:
        i8[n] ns; group: i4[n] codes that select function state (None: one state for all rows)."""
        self.n = n
        self.columns = columns
        self.clock = clock
        self.group = group

    @staticmethod
    def of(
        names: Sequence[str],
        fields: Mapping[str, Column],
        tags: Mapping[str, Text],
        clock: Array,
        group: Array | None = None,
        computed: Mapping[str, Column] | None = None,
    ) -> Frame:
        """Resolve `names` as Kapacitor's fillScope does: time, field, tag, value computed earlier in the same node."""
        n = len(clock)
        found: dict[str, Column | Text] = {}
        for name in names:
            if name == "time":
                continue
            resolved = _resolve(fields.get(name), tags.get(name), n)
            earlier = computed.get(name) if computed else None
            if earlier is not None:
                resolved = earlier if resolved is None else _overlay(resolved, earlier)
            if resolved is not None:
                found[name] = resolved
        return Frame(n, found, clock, group)

    def column(self, name: str) -> Column:
        """The values under `name` as a column (a tag is a string column)."""
        found = self.columns.get(name)
        if found is None:
            return Column.absent(self.n)
        if isinstance(found, Text):
            return Column.masked(STRING, found, found.codes >= 0)
        return found

    def kind(self, name: str) -> Kind | Array:
        if name == "time":
            return Kind.TIME
        found = self.columns.get(name)
        if found is None:
            return Kind.MISSING
        if isinstance(found, Column):
            return _holes_missing(found.kinds)
        present = found.codes >= 0
        if present.all():
            return STRING
        return np.where(present, np.uint8(STRING), np.uint8(Kind.MISSING))

    def value(self, name: str, kind: Kind) -> Any:
        if name == "time":
            return self.clock
        found = self.columns.get(name)
        if found is None or kind in (Kind.MISSING, Kind.NIL):
            return None
        return found if isinstance(found, Text) else found.data[kind]

    def take(self, rows: Array | slice) -> Frame:
        columns = {k: v.take(rows) for k, v in self.columns.items()}
        clock = self.clock[rows]
        return Frame(len(clock), columns, clock, None if self.group is None else self.group[rows])


def _holes_missing(kinds: Kind | Array) -> Kind | Array:
    """A field that holds the missing marker evaluates like one that is not there."""
    if isinstance(kinds, Kind):
        return Kind.MISSING if kinds is Kind.HOLE else kinds
    hole = kinds == Kind.HOLE
    return np.where(hole, np.uint8(Kind.MISSING), kinds) if hole.any() else kinds


def _resolve(own: Column | None, tag: Text | None, n: int) -> Column | Text | None:
    """A field, else a tag; a row that has both is a clash."""
    if own is None or tag is None:
        return tag if own is None else own
    has_tag = tag.codes >= 0
    if not has_tag.any():
        return own
    has_field = own.present()
    kinds = own.kinds_array().copy()
    kinds[has_tag] = STRING
    kinds[has_tag & has_field] = Kind.CLASH
    data = dict(own.data)
    data[STRING] = _merge_text(data.get(STRING), tag, has_tag & ~has_field)
    return Column(kinds, data, n).normal()


def _merge_text(base: Text | None, other: Text, where: Array) -> Text:
    if base is None:
        return other
    vocabulary = Vocabulary()
    return Text(np.where(where, other.recode(vocabulary).codes, base.recode(vocabulary).codes), vocabulary)


def _overlay(point: Column | Text, earlier: Column) -> Column | Text:
    """The point's own value, and `earlier` in the rows that have none."""
    if isinstance(point, Text):
        point = Column.masked(STRING, point, point.codes >= 0)
    lacking = ~point.present()
    if not lacking.any():
        return point
    rows = np.flatnonzero(lacking)
    rest = np.flatnonzero(~lacking)
    return select([(rest, point.take(rest)), (rows, earlier.take(rows))], point.n)


@dataclass(slots=True)
class Outcome:
    """The result of a lambda on n rows: the values, and bool[n] where it could not be evaluated (or None)."""

    column: Column
    error: Array | None


class Lambda:
    """A lambda expression with the state of its functions.

    per_group: state is kept by the frame's group codes, else there is one state for all rows. wants: the kind that the
    place of use requires (BOOL for predicates); another kind is an error in the row. seed: where it stands; its random
    numbers follow from that, so that they are the same in every run. problems counts the messages.
    """

    def __init__(self, expr: Expr, *, per_group: bool = True, wants: Kind | None = None, seed: str = "") -> None:
        self.expr = expr
        self.per_group = per_group
        self.wants = wants
        self.seed = seed
        self.problems: Counter[str] = Counter()
        self._state: dict[tuple[int, str], _FunctionState] = {}
        self._kinds: dict[tuple[Kind, ...], Kinds] = {}  # what is known of the tree, by the kinds of its references

    # -- what the tree tells, where it is asked: of many tasks most never evaluate it

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """What the expression reads."""
        return self.expr.references()

    @functools.cached_property
    def stateful(self) -> bool:
        """Whether a value depends on the points evaluated before."""
        return self.expr.stateful()

    @functools.cached_property
    def seeds(self) -> dict[int, int]:
        """The seed of each call of `rand`, by the id of the call."""
        draws = [e for e in self.expr.walk() if isinstance(e, Call) and e.name == "rand"]
        return {id(e): crc32(f"{self.seed} {i}".encode()) for i, e in enumerate(draws)}

    @functools.cached_property
    def _row_by_row(self) -> bool:
        return any(_shares_state(scope) for scope in _function_scopes(self.expr))

    @functools.cached_property
    def _depth(self) -> int:
        return self.expr.depth()

    # -- state

    def snapshot(self) -> Any:
        """A copy of the functions' state: plain arrays by scope and function name."""
        return [[scope, name, *state.snapshot()] for (scope, name), state in self._state.items()]

    def restore(self, saved: Any) -> None:
        for scope, name, *arrays in saved:
            self._state[scope, name] = _FunctionState(*(np.array(a) for a in arrays))

    def forget(self, groups: Array) -> None:
        """Start the functions' state of groups anew."""
        for state in self._state.values():
            known = groups[groups < len(state.count)] if self.per_group else groups[:0]
            for values in (state.count, state.first, state.second):
                values[known] = 0

    def apart(self) -> bool:
        """Whether no group's values hang on points of another group."""
        if any(isinstance(e, Nested) or (isinstance(e, Call) and e.name == "rand") for e in self.expr.walk()):
            return False
        return self.per_group or not self.stateful

    # -- evaluation

    def __call__(self, frame: Frame) -> Outcome:
        """Evaluate on all rows of `frame`, in order."""
        if not frame.n:
            return Outcome(Column.absent(0), None)
        with np.errstate(all="ignore"), deep_recursion(self._depth):
            kinds = {name: frame.kind(name) for name in self.names}
            mixed = [name for name, k in kinds.items() if not isinstance(k, Kind)]
            if self._row_by_row and frame.n > 1:
                return self._pieces(frame, [slice(i, i + 1) for i in range(frame.n)])
            if mixed:
                return self._pieces(frame, self._parts(frame, [cast(Array, kinds[n]) for n in mixed]))
            return self._uniform(frame, cast("dict[str, Kind]", kinds))

    def mask(self, frame: Frame) -> tuple[Array, Array | None]:
        """For a predicate: bool[n] that is true where it holds, and the error mask."""
        outcome = self(frame)
        values = outcome.column.data.get(BOOL)
        if values is None:
            return np.zeros(frame.n, np.bool_), outcome.error
        held = values if outcome.error is None else values & ~outcome.error
        return held, outcome.error

    def _parts(self, frame: Frame, kinds: list[Array]) -> list[Array | slice]:
        """Rows of equal signature; for a lambda with state, runs of them in order."""
        code = np.zeros(frame.n, np.int64)
        for k in kinds:
            code = code * 16 + k
        if self.stateful:
            cuts = np.flatnonzero(code[1:] != code[:-1]) + 1
            edges = [0, *cuts.tolist(), frame.n]
            return [slice(a, b) for a, b in itertools.pairwise(edges)]
        return [np.flatnonzero(code == c) for c in np.unique(code)]

    def _pieces(self, frame: Frame, parts: Sequence[Array | slice]) -> Outcome:
        error = np.zeros(frame.n, np.bool_)
        choices = []
        for part in parts:
            piece = frame.take(part)
            kinds = {n: (k if isinstance(k := piece.kind(n), Kind) else Kind(int(k[0]))) for n in self.names}
            outcome = self._uniform(piece, kinds)
            rows = np.arange(part.start, part.stop) if isinstance(part, slice) else part
            choices.append((rows, outcome.column))
            if outcome.error is not None:
                error[rows] = outcome.error
        return Outcome(select(choices, frame.n), error if error.any() else None)

    def _uniform(self, frame: Frame, signature: Mapping[str, Kind]) -> Outcome:
        n = frame.n
        kinds = self._kinds.setdefault(tuple(signature.values()), Kinds(signature))
        try:
            for name, kind in kinds.items():
                if kind is Kind.CLASH:
                    raise EvalError(f'cannot have field and tags with same name "{name}"')
            kind = kind_of(self.expr, kinds)
            self._admit(kind)
            value = _Evaluation(self, frame, kinds).eval(self.expr, None)
        except EvalError as error:
            self.problems[str(error)] += n
            return Outcome(Column.absent(n), np.ones(n, np.bool_))
        return Outcome(Column.of(value.kind, _spread_out(value.kind, value.data, n)), value.error)

    def _admit(self, kind: Kind) -> None:
        if self.wants is not None and kind is not self.wants:
            raise EvalError(f"TypeGuard: expression returned unexpected type {kind.label}, expected {self.wants.label}")
        if kind is Kind.MISSING:
            raise EvalError(f'missing value: "{self.names[0] if self.names else ""}"')
        if kind not in DTYPES and kind is not STRING:
            raise EvalError(f"expression returned unexpected type {kind.label}")


def _spread_out(kind: Kind, data: Any, n: int) -> Any:
    """Scalars as columns."""
    if kind is STRING:
        return data if isinstance(data, Text) else Text.constant(data, n)
    array: Array = np.asarray(data, DTYPES[kind])
    return np.full(n, array) if array.ndim == 0 else array


def _function_scopes(expr: Expr) -> list[list[Call]]:
    """The calls with state, by the state scope they belong to: the expression itself, then each nested lambda."""
    scopes: list[list[Call]] = [[]]
    pending: list[tuple[Expr, list[Call], bool]] = [(expr, scopes[0], False)]
    while pending:
        e, scope, below_done = pending.pop()
        if isinstance(e, Call) and below_done:
            scope.append(e)
            continue
        if isinstance(e, Nested):
            scope = []
            scopes.append(scope)
        if isinstance(e, Call) and e.name in STATEFUL:
            pending.append((e, scope, True))
        pending.extend((child, scope, False) for child in reversed(e.children))
    return scopes


def _shares_state(calls: Sequence[Call]) -> bool:
    """Whether two calls of one scope use the same state, so that rows must be taken one by one."""
    used = [c.name for c in calls if c.name != "rand"]
    return len(set(used)) < len(used)


class _Evaluation:
    """One evaluation over rows of one signature. `active` masks the rows that reach a sub-expression (None: all)."""

    def __init__(self, owner: Lambda, frame: Frame, kinds: Kinds) -> None:
        self.owner = owner
        self.frame = frame
        self.kinds = kinds
        self.scope = 0  # the state scope of the lambda being evaluated
        self.nested = 0  # how many nested lambdas were met so far, in tree order
        self.numbers = {id(e): i + 1 for i, e in enumerate(_nested_in_order(owner.expr))}

    def eval(self, e: Expr, active: Array | None) -> Value:
        match e:
            case Literal(kind=Kind.REGEX, value=text):
                from tickc.runtime.regex import compile_regex

                return Value(Kind.REGEX, compile_regex(text))
            case Literal(kind=kind, value=value):
                return Value(kind, _scalar(kind, value))
            case Ref(name=name):
                return self._ref(name)
            case Nested(body=body):
                return self._nested(e, body, active)
            case Unary():
                return self._unary(e, active)
            case Binary(op="AND" | "OR"):
                return self._logic(e, active)
            case Binary():
                return self._binary(e, active)
            case Call():
                return self._call(e, active)
        raise AssertionError(e)

    def attempt(self, e: Expr, active: Array | None, kind: Kind) -> Value:
        """Evaluate; an error that hits every row becomes a mask, as the caller may not need all rows."""
        try:
            return self.eval(e, active)
        except EvalError as error:
            return self._failed(error, active, kind)

    def _failed(self, error: EvalError, active: Array | None, kind: Kind) -> Value:
        self.owner.problems[str(error)] += self.frame.n if active is None else int(np.count_nonzero(active))
        blank: Any = "" if kind is STRING else _scalar(kind, 0)
        return Value(kind, blank, np.ones(self.frame.n, np.bool_))

    def fail(self, where: Array, active: Array | None, message: str) -> Array | None:
        """Note value errors; returns the mask or None where no row that matters fails."""
        hit = where if active is None else where & active
        count = int(np.count_nonzero(hit))
        if not count:
            return None
        self.owner.problems[message] += count
        return np.broadcast_to(hit, (self.frame.n,))

    def _ref(self, name: str) -> Value:
        kind = self.kinds[name]
        if kind is Kind.NIL:
            raise EvalError(f'referenced value "{name}" is nil.')
        return Value(kind, self.frame.value(name, kind))

    def _nested(self, e: Expr, body: Expr, active: Array | None) -> Value:
        outer, self.scope = self.scope, self.numbers[id(e)]
        try:
            return self.eval(body, active)
        finally:
            self.scope = outer

    def _unary(self, e: Unary, active: Array | None) -> Value:
        """`!` takes a boolean; `-` goes by the operand's type alone, and negates a boolean."""
        value = self.eval(e.operand, active)
        if value.kind is BOOL:
            return Value(BOOL, ~np.asarray(value.data), value.error)
        if e.op == "-" and value.kind in (INT, FLOAT, DURATION):
            return Value(value.kind, value.data * _scalar(value.kind, -1), value.error)
        if value.kind is Kind.MISSING and isinstance(e.operand, Ref):
            raise EvalError(f'reference "{e.operand.name}" is missing value')
        raise EvalError(f"TypeGuard: expression returned unexpected type {value.kind.label}")

    def _logic(self, e: Binary, active: Array | None) -> Value:
        """A chain of `AND` or of `OR`. Types are checked before anything is evaluated, the last operator's first; where
        those of an operator do not fit, the one on its right takes that for its left side."""
        operators = run(e)
        self._operand_kinds(e)
        left: Value | None = None
        for i in range(len(operators) - 2, -1, -1):
            try:
                self._operand_kinds(operators[i])
            except EvalError as error:
                left, operators = self._failed(error, active, BOOL), operators[i + 1 :]
                break
        left = self.attempt(operators[0].left, active, BOOL) if left is None else left
        for part in operators:
            left = self._logic_of(part, left, active)
        return left

    def _logic_of(self, e: Binary, left: Value, active: Array | None) -> Value:
        held = np.broadcast_to(np.asarray(left.data, np.bool_), (self.frame.n,))
        reach = held if e.op == "AND" else ~held
        if left.error is not None:
            reach = reach & ~left.error
        if active is not None:
            reach = reach & active
        if not reach.any():
            return Value(BOOL, held, left.error)
        right = self.attempt(e.right, reach, BOOL)
        error = left.error
        if right.error is not None:
            error = either(error, right.error & reach)
        data = held & right.data if e.op == "AND" else held | right.data
        return Value(BOOL, data, error)

    def _operand_kinds(self, e: Binary) -> tuple[Kind, Kind]:
        """Both operands' kinds, found before anything is evaluated."""
        left, right = kind_of(e.left, self.kinds), kind_of(e.right, self.kinds)
        if (e.op, left, right) not in OPERATORS:
            _binary_kind(e.op, e.left, e.right, self.kinds)
        return left, right

    def _binary(self, e: Binary, active: Array | None) -> Value:
        operators = run(e)
        kinds = [self._operand_kinds(part) for part in reversed(operators)]
        left = self.eval(operators[0].left, active)
        for part in operators:
            left = self._binary_of(part, kinds.pop(), left, active)
        return left

    def _binary_of(self, e: Binary, kinds: tuple[Kind, Kind], left: Value, active: Array | None) -> Value:
        right = self.eval(e.right, active if left.error is None else _and_not(active, left.error))
        error = either(left.error, right.error)
        result = OPERATORS[e.op, kinds[0], kinds[1]]
        if kinds[0] is STRING:
            return Value(result, self._strings(e.op, left.data, right.data), error)
        if e.op in COMPARE:
            return Value(BOOL, _COMPARE[e.op](*_comparable(kinds, left.data, right.data)), error)
        data, wrong = _arithmetic(e.op, kinds, left.data, right.data)
        if wrong is not None:
            error = either(error, self.fail(wrong, active, "runtime error: integer divide by zero"))
        return Value(result, data, error)

    def _strings(self, op: str, left: Any, right: Any) -> Any:
        if op in ("=~", "!~"):
            wanted = op == "=~"
            return map_distinct(lambda s, p: p.search(s) == wanted, [left, right], BOOL, self.frame.n)
        if isinstance(left, Text) and isinstance(right, str) and op in ("==", "!="):
            equal = left.codes == left.vocabulary.find(right)
            return equal if op == "==" else ~equal
        if op == "+":
            return map_distinct(lambda a, b: a + b, [left, right], STRING, self.frame.n)
        compare = _COMPARE[op]
        return map_distinct(lambda a, b: compare(_bytes(a), _bytes(b)), [left, right], BOOL, self.frame.n)

    def _call(self, e: Call, active: Array | None) -> Value:
        _call_kind(e.name, e.args, self.kinds)
        values: list[Value] = []
        error: Array | None = None
        for i, arg in enumerate(e.args):
            try:
                value = self.eval(arg, active if error is None else _and_not(active, error))
            except EvalError as problem:
                raise EvalError(f"Failed to handle {i + 1} argument: {problem}") from None
            values.append(value)
            error = either(error, value.error)
        kinds = tuple(v.kind for v in values)
        data = [v.data for v in values]
        if e.name in STATEFUL:
            return self._stateful(e, data, active, error)
        if e.name in SPECIAL:
            return self._special(e.name, kinds, data, error)
        overload = cast("Mapping[Any, Builtin]", builtins.overloads(e.name))[kinds]
        return self._builtin(overload, data, active, error)

    def _special(self, name: str, kinds: tuple[Kind, ...], data: list[Any], error: Array | None) -> Value:
        if name == "isPresent":
            return Value(BOOL, np.bool_(kinds[0] is not Kind.MISSING), error)
        if name == "now":
            return Value(Kind.TIME, np.int64(time.time_ns()), error)
        condition, yes, no = data
        if kinds[1] is STRING:
            picked = map_distinct(lambda c, a, b: a if c else b, [condition, yes, no], STRING, self.frame.n)
        elif kinds[1] is Kind.REGEX:
            picked = Patterns.choose(condition, yes, no) if np.ndim(condition) else yes if condition else no
        else:
            picked = np.where(condition, yes, no)
        return Value(kinds[1], picked, error)

    def _builtin(self, f: Builtin, data: list[Any], active: Array | None, error: Array | None) -> Value:
        n = self.frame.n
        if f.vector is not None and all(k not in (STRING, Kind.REGEX) for k in f.args):
            return Value(f.result, f.vector(*data), error)
        if isinstance(f.call, Kernel):
            return Value(f.result, map_numbers(f, data, n), error)
        wrong: dict[str, Array] = {}
        usable = _and_not(active, error) if error is not None else active
        out = map_distinct(f.call, data, f.result, n, wrong, usable)
        for message, mask in wrong.items():
            error = either(error, self.fail(mask, usable, f'error calling "{f.name}": {message}'))
        return Value(f.result, out, error)

    def _stateful(self, e: Call, data: list[Any], active: Array | None, error: Array | None) -> Value:
        name, n, seed = e.name, self.frame.n, self.owner.seeds.get(id(e), 0)
        reached = np.ones(n, np.bool_) if active is None else active.copy()
        if error is not None:
            reached &= ~error
        per_group = self.owner.per_group and self.scope == 0 and self.frame.group is not None
        group = cast(Array, self.frame.group) if per_group else np.zeros(n, np.int32)
        state = self.owner._state.setdefault((self.scope, f"rand {seed}" if name == "rand" else name), _FunctionState())
        state.reserve(int(group.max()) + 1 if n else 0)
        group = np.ascontiguousarray(group)
        if name == "count":
            counts = np.zeros(n, np.int64)
            count_kernel(reached, group, state.count, counts)
            return Value(INT, counts, error)
        if name == "rand":
            numbers = np.zeros(n, np.int64)
            limits = np.broadcast_to(np.asarray(data[0] if data else 0, np.int64), (n,))
            rand_kernel(reached, group, np.ascontiguousarray(limits), bool(data), seed, state.count, numbers)
            return Value(INT, numbers, error)
        out = np.zeros(n)
        values = np.ascontiguousarray(np.broadcast_to(np.asarray(data[0], np.float64), (n,)))
        run = sigma_kernel if name == "sigma" else spread_kernel
        run(values, reached, group, state.count, state.first, state.second, out)
        return Value(FLOAT, out, error)


def _nested_in_order(expr: Expr) -> list[Expr]:
    """Nested lambdas in the order in which `_function_scopes` numbers them."""
    found: list[Expr] = []
    pending = [expr]
    while pending:
        e = pending.pop()
        if isinstance(e, Nested):
            found.append(e)
        pending.extend(reversed(e.children))
    return found


def _and_not(active: Array | None, error: Array) -> Array:
    return ~error if active is None else active & ~error


def _scalar(kind: Kind, value: Any) -> Any:
    return value if kind is STRING else np.dtype(DTYPES.get(kind, np.int64)).type(value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _comparable(kinds: tuple[Kind, Kind], left: Any, right: Any) -> tuple[Any, Any]:
    """An int that meets a float is converted to double, as in Go."""
    if kinds[0] is INT and kinds[1] is FLOAT:
        return np.asarray(left).astype(np.float64), right
    if kinds[0] is FLOAT and kinds[1] is INT:
        return left, np.asarray(right).astype(np.float64)
    return left, right


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def truncate(values: Any) -> Any:
    """float64 -> int64 towards zero as amd64 does it: NaN and what does not fit become -2^63."""
    values = np.asarray(values, np.float64)
    fits = (values >= -9223372036854775808.0) & (values < 9223372036854775808.0)
    return np.where(fits, np.where(fits, values, 0.0).astype(np.int64), np.int64(-9223372036854775808))


def _arithmetic(op: str, kinds: tuple[Kind, Kind], a: Any, b: Any) -> tuple[Any, Array | None]:
    """The result, and a mask of zero divisors of an integer division (None: none can be)."""
    if FLOAT in kinds and DURATION in kinds:
        a, b = np.asarray(a).astype(np.float64), np.asarray(b).astype(np.float64)
        return truncate(a * b if op == "*" else a / b), None
    if op == "+":
        return a + b, None
    if op == "-":
        return a - b, None
    if op == "*":
        return a * b, None
    if kinds[0] is FLOAT:
        return a / b, None
    zero = np.asarray(b == 0)
    divisor = np.where(zero, np.int64(1), b)
    if op == "%":
        return np.fmod(a, divisor), zero
    quotient = a // divisor
    inexact = (a - quotient * divisor) != 0
    return quotient + (inexact & ((a < 0) != (divisor < 0))), zero


@kernel
def count_kernel(reached, group, count, out):  # type: ignore[no-untyped-def]
    """count(): how often the call was reached in the group. reached: bool[n], group: i4[n], count: i8[groups]."""
    for i in range(reached.size):
        if reached[i]:
            count[group[i]] += 1
            out[i] = count[group[i]]


@kernel
def scrambled(x):  # type: ignore[no-untyped-def]
    """u8: a number whose bits look random, another one for each u8 x (the finish of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def share_of(x, limit):  # type: ignore[no-untyped-def]
    """u8: the upper half of the product of two u8: x taken from 0…2^64-1 down to 0…limit-1."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b = x >> half, x & low
    c, d = limit >> half, limit & low
    middle = (b * d >> half) + (a * d & low) + (b * c & low)
    return a * c + (a * d >> half) + (b * c >> half) + (middle >> half)


@kernel
def rand_kernel(reached, group, limit, limited, seed, count, out):  # type: ignore[no-untyped-def]
    """rand(): the numbers of a group follow from the seed, its code, and how often the call was reached.

    reached: bool[n], group: i4[n], limit: i8[n], count: i8[groups] -> out: i8[n]. As in Kapacitor a limit of 0 gives 0,
    and a negative one counts as one of 2^63 and above, of whose numbers the highest bit is dropped.
    """
    step, apart = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
    for i in range(reached.size):
        if reached[i]:
            g = group[i]
            count[g] += 1
            x = scrambled(scrambled(np.uint64(g) * apart + np.uint64(seed)) + np.uint64(count[g]) * step)
            if limited:
                x = share_of(x, np.uint64(limit[i]))
            out[i] = np.int64(x & np.uint64(0x7FFFFFFFFFFFFFFF))


@kernel
def sigma_kernel(values, reached, group, count, mean, m2, out):  # type: ignore[no-untyped-def]
    """sigma(x): distance from the running mean in running standard deviations (Welford; Kapacitor's functions.go)."""
    for i in range(values.size):
        if reached[i]:
            g = group[i]
            x = values[i]
            count[g] += 1
            delta = x - mean[g]
            mean[g] += delta / count[g]
            m2[g] += delta * (x - mean[g])
            out[i] = 0.0
            if count[g] >= 2:
                variance = m2[g] / (count[g] - 1)
                if variance != 0.0:
                    out[i] = abs(x - mean[g]) / np.sqrt(variance)


@kernel
def spread_kernel(values, reached, group, count, low, high, out):  # type: ignore[no-untyped-def]
    """spread(x): greatest minus least value so far; NaN changes neither."""
    for i in range(values.size):
        if reached[i]:
            g = group[i]
            x = values[i]
            if count[g] == 0:
                low[g] = np.inf
                high[g] = -np.inf
            count[g] += 1
            if x < low[g]:
                low[g] = x
            if x > high[g]:
                high[g] = x
            out[i] = high[g] - low[g]


@dataclass(slots=True)
class _FunctionState:
    """State of one stateful function: i8 count and two f8 per group."""

    count: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    first: Array = field(default_factory=lambda: np.zeros(0))
    second: Array = field(default_factory=lambda: np.zeros(0))

    def reserve(self, groups: int) -> None:
        if groups > len(self.count):
            more = max(groups, 2 * len(self.count)) - len(self.count)
            self.count = np.concatenate([self.count, np.zeros(more, np.int64)])
            self.first = np.concatenate([self.first, np.zeros(more)])
            self.second = np.concatenate([self.second, np.zeros(more)])

    def snapshot(self) -> tuple[Array, Array, Array]:
        return self.count.copy(), self.first.copy(), self.second.copy()


# --- mapping scalar functions ----------------------------------------------------------------------------------------


def _each1(a, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = scalar(a[i])  # type: ignore[name-defined]  # noqa: F821


def _each2(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = scalar(a[i], b[i])  # type: ignore[name-defined]  # noqa: F821


@functools.cache
def _mapped(function: Kernel[Any, Any], numbers: int) -> Kernel[Any, Any]:
    """A kernel that applies a kernel of one or two numbers to arrays; of its own, so that its code can be cached."""
    loop = _each1 if numbers == 1 else _each2
    name = f"each_{function.__name__}"
    made = FunctionType(loop.__code__, {**loop.__globals__, "scalar": function}, name)
    made.__qualname__ = name
    return kernel(made)


MAP_MACHINE_FROM = 2_000  # values from which compiled mathematics pays


def map_numbers(f: Builtin, data: Sequence[Any], n: int) -> Array:
    """Apply a numeric builtin (a kernel of one or two numbers) to arrays or scalars, to `n` values."""
    arrays = [np.asarray(d) for d in data]
    if all(a.ndim == 0 for a in arrays):
        return np.asarray(f.call(*[a[()] for a in arrays]), DTYPES[f.result])
    arrays = [np.ascontiguousarray(np.broadcast_to(a, (n,))) for a in arrays]
    out: Array = np.empty(n, DTYPES[f.result])
    run = _mapped(cast("Kernel[Any, Any]", f.call), len(arrays))
    if n >= MAP_MACHINE_FROM and interpreting_is_a_choice():
        run.machine()(*arrays, out)
    else:
        run.interpreted()(*arrays, out)
    return out


@dataclass(frozen=True, slots=True)
class Patterns:
    """Compiled patterns that differ between rows: i8[n] codes into `patterns`."""

    codes: Array
    patterns: tuple[Any, ...]

    @staticmethod
    def choose(condition: Array, yes: Any, no: Any) -> Patterns:
        """`yes` where the condition holds, else `no`; both a pattern or Patterns."""
        a, b = (p if isinstance(p, Patterns) else Patterns(np.zeros(len(condition), np.int64), (p,)) for p in (yes, no))
        return Patterns(np.where(condition, a.codes, b.codes + len(a.patterns)), a.patterns + b.patterns)

    def at(self, row: int) -> Any:
        return self.patterns[self.codes[row]]


def map_distinct(
    f: Callable[..., Any],
    args: Sequence[Any],
    result: Kind,
    n: int,
    wrong: dict[str, Array] | None = None,
    active: Array | None = None,
) -> Any:
    """Apply a Python function once to each distinct combination of arguments.

    args: scalars, arrays of n, Text or Patterns of n. Returns a scalar where all args are scalars, else an array or a
    `Text`.
    `wrong`, where given, receives message -> bool[n] for EvalErrors (without it they are raised). Rows outside of
    `active` may get any value.
    """
    varying = [i for i, a in enumerate(args) if isinstance(a, (Text, Patterns)) or np.ndim(a)]
    if not varying:
        try:
            value = f(*map(_python, args))
            return value if result is STRING else _scalar(result, value)
        except EvalError as error:
            if wrong is None:
                raise
            wrong[str(error)] = np.ones(n, np.bool_)
            return "" if result is STRING else _scalar(result, 0)
    codes, firsts = _distinct([args[i] for i in varying], n)
    if active is not None and not active.all():
        needed = np.zeros(len(firsts), np.bool_)
        needed[codes[active]] = True
    else:
        needed = np.ones(len(firsts), np.bool_)
    outcomes: list[Any] = []
    for row, wanted in zip(firsts.tolist(), needed.tolist()):
        outcomes.append(_outcome(f, args, row) if wanted else None)
    if wrong is not None:
        for message in {str(o) for o in outcomes if isinstance(o, EvalError)}:
            failed = np.array([isinstance(o, EvalError) and str(o) == message for o in outcomes])
            wrong[message] = failed[codes]
    else:
        for o in outcomes:
            if isinstance(o, EvalError):
                raise o
    good = [None if isinstance(o, EvalError) else o for o in outcomes]
    if result is STRING:
        text = Text.of(good)
        return Text(text.codes[codes], text.vocabulary)
    return np.array([0 if g is None else g for g in good], DTYPES[result])[codes]


def _outcome(f: Callable[..., Any], args: Sequence[Any], row: int) -> Any:
    values = [a.at(row) if isinstance(a, (Text, Patterns)) else _python(a[row] if np.ndim(a) else a) for a in args]
    if any(v is None for v in values):  # a string that could not be had; its rows are in error already
        return None
    try:
        return f(*values)
    except EvalError as error:
        return error


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, (np.generic, np.ndarray)) else value


def _distinct(columns: Sequence[Any], n: int) -> tuple[Array, Array]:
    """i8[n] dense codes of the combinations of columns, and the first row of each code."""
    combined = np.zeros(n, np.int64)
    for column in columns:
        if isinstance(column, Text):
            part, size = column.codes.astype(np.int64) + 1, len(column.vocabulary) + 1
        elif isinstance(column, Patterns):
            part, size = column.codes, len(column.patterns)
        else:
            bits = column.view(np.int64) if column.dtype == np.float64 else column.astype(np.int64)
            uniques, part = np.unique(bits, return_inverse=True)
            size = len(uniques)
        if len(columns) > 1 and combined.any():
            _, combined = np.unique(combined, return_inverse=True)
        combined = combined * size + part
    _, first, codes = np.unique(combined, return_index=True, return_inverse=True)
    return codes, first
