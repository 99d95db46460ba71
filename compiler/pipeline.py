"""The graph as written: what a script's statements make, the declarations of its nodes, and the way to the plan.

A node is a dataclass; declaring it with `@node` registers it. Everything that a script can say about it comes from its
fields and methods: `arg` and `args` are what stands in the parentheses of the chain method, `prop` and `flag` are
properties, `@setter` methods are properties with arguments of their own. A property's name in TICKscript
(`fill_period` is `.fillPeriod`), its type, arity, default, documentation and spelling suggestions come from there too.

Kapacitor looks names up with Go's reflection and lets its messages through, so messages name Go types; what a script
sees of that (which name is found where, what an assignment refuses) is here.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any, ClassVar, TypeVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Code, Diagnostic, Source, Span, TickError
from tickc.runtime.builtins import EvalError
from tickc.runtime.expr import Binary, Call, Expr, check, deep_recursion, level_above, spine

MAX_NODES = 10_000
MAX_OPERANDS = 50_000  # of a lambda, with the lambdas of variables in it
MAX_DEPTH = 2_000  # of the same
TOO_LARGE = f"with its variables filled in, a lambda may have {MAX_OPERANDS:,} operands, {MAX_DEPTH:,} deep"

T203, T204, T205, T301, T304, T401 = (CODES[c] for c in ("T203", "T204", "T205", "T301", "T304", "T401"))

# ------------------------------------------------------------------------------------------ values of the global scope


class Duration(int):
    """A duration in nanoseconds."""


DEEPEST = 1_600  # levels that functions on scripts and lambdas may recurse into


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression in Go's syntax."""

    pattern: str


class StarValue:
    """`*`."""


STAR = StarValue()


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """A `"name"` outside of a lambda; good for nothing."""

    name: str


@dataclass(slots=True, eq=False)
class LambdaValue:
    """`lambda: …` with its variables filled in.

    Mutable, and shared by all that got it from one variable: a second `.where()` of a `from` node extends the lambda of
    the first in place, wherever else it is used (Kapacitor pipeline/stream.go). operands and depth count the lambdas of
    variables in it each time they stand there, as all that reads the tree does.
    """

    expr: Expr
    operands: int = 1
    depth: int = 1

    @staticmethod
    def of(expr: Expr, known: Mapping[int, LambdaValue] = types.MappingProxyType({})) -> LambdaValue:
        """A lambda with its size; `known` has the lambdas of variables in it, by identity of their trees."""
        done: dict[int, tuple[int, int]] = {at: (value.operands, value.depth) for at, value in known.items()}
        pending: list[tuple[Expr, bool]] = [(expr, False)]
        while pending:
            e, ready = pending.pop()
            if ready:
                operands = 1 + sum(done[id(c)][0] for c in e.children)
                done[id(e)] = operands, level_above(e, lambda c: done[id(c)][1])
            elif id(e) not in done:
                pending.append((e, True))
                pending.extend((c, False) for c in e.children)
        return LambdaValue(expr, *done[id(expr)])

    def extend(self, other: LambdaValue) -> None:
        """Join another condition by AND."""
        expr, depths = Binary("AND", self.expr, other.expr), {id(self.expr): self.depth, id(other.expr): other.depth}
        operands, depth = self.operands + other.operands + 1, level_above(expr, lambda e: depths[id(e)])
        if operands > MAX_OPERANDS or depth > MAX_DEPTH:
            raise Refused(TOO_LARGE, CODES["T106"], panics=False)
        self.expr, self.operands, self.depth = expr, operands, depth

    @property
    def too_large(self) -> bool:
        return self.operands > MAX_OPERANDS or self.depth > MAX_DEPTH


@dataclass(frozen=True, slots=True)
class TimeDimension:
    """`time(length, offset)` in the groupBy of a query."""

    length: int
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class GlobalFunction:
    """A function of the global scope, such as `time`."""

    params: tuple[Parameter, ...]
    apply: Callable[..., Any]
    go: str


@dataclass(frozen=True, slots=True, eq=False)
class GlobalCall:
    """`name(args)` that has not been called: it is when it becomes an argument or stands alone."""

    name: str
    args: tuple[Any, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Unusable(Expr):
    """A value that has no meaning in a lambda (a list, a star): the task would not start."""

    go: str

    def __repr__(self) -> str:
        return f"unusable({self.go!r})"


_GO_TYPES: dict[Any, tuple[str, str]] = {
    bool: ("bool", "a bool"),
    int: ("int64", "an int"),
    float: ("float64", "a float"),
    str: ("string", "a string"),
    Duration: ("time.Duration", "a duration"),
    Regex: ("*regexp.Regexp", "a regex"),
    LambdaValue: ("*ast.LambdaNode", "a lambda"),
    tuple: ("[]interface {}", "a list"),
    StarValue: ("*ast.StarNode", "a star"),
    ReferenceValue: ("*ast.ReferenceNode", 'a "reference" in double quotes'),
    GlobalCall: ("tick.unboundFunc", "a function call"),
    TimeDimension: ("kapacitor.TimeDimension", "a time dimension"),
}


def go_type(value: Any) -> str:
    """The Go type of a value, as Kapacitor's messages name it."""
    if isinstance(value, (Subject, GlobalFunction)):
        return value.go
    return _GO_TYPES[type(value)][0]


def label(value: Any) -> str:
    """What a value is, in the user's words."""
    if isinstance(value, Subject):
        return value.label
    return "a function" if isinstance(value, GlobalFunction) else _GO_TYPES[type(value)][1]


# ------------------------------------------------------------------------------------------------ names and parameters


class Refused(Exception):
    """Kapacitor refuses a call. panics: the text is that of a Go panic, which Kapacitor introduces with the call."""

    def __init__(self, message: str, code: Code, *, panics: bool = True, hint: str = "", note: str = "") -> None:
        super().__init__(message)
        self.message, self.code, self.panics, self.hint, self.note = message, code, panics, hint, note


def capitalised(name: str) -> str:
    """The Go name of a TICKscript name: the first letter as a capital."""
    return name[:1].upper() + name[1:]


def camel(name: str) -> str:
    """The TICKscript name of a Python one: `fill_period` is `fillPeriod`, `as_` is `as`."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. type: float, Duration, … or Any, Subject for a node; variadic: any number of them."""

    name: str
    type: Any
    variadic: bool = False
    doc: str = ""
    field: str = ""  # of the dataclass, where there is one

    @property
    def go(self) -> str:
        if self.type is Any:
            return "interface {}"
        return "pipeline.Node" if self.type is Subject else _GO_TYPES[self.type][0]

    @property
    def label(self) -> str:
        if self.type is Any:
            return "a value"
        return "a node" if self.type is Subject else _GO_TYPES[self.type][1]

    def admits(self, value: Any) -> bool:
        """Whether Go can assign the value; nothing is ever converted."""
        if self.type is Any:
            return True
        return isinstance(value, Subject) if self.type is Subject else type(value) is self.type


def bind(params: Sequence[Parameter], args: Sequence[Any]) -> dict[str, Any]:
    """The arguments by name, a variadic one as a tuple; Refused with the text of Go's reflect.Value.Call."""
    fixed = [p for p in params if not p.variadic]
    rest = next((p for p in params if p.variadic), None)
    wanted = ", ".join(p.name + ("…" if p.variadic else "") for p in params)
    hint = f"the arguments are ({wanted})" if params else "it takes no argument"
    if len(args) < len(fixed):
        raise Refused("reflect: Call with too few input arguments", T205, hint=hint)
    if len(args) > len(fixed) and rest is None:
        raise Refused("reflect: Call with too many input arguments", T205, hint=hint)
    for param, value in zip(fixed, args):
        if not param.admits(value):
            raise _mistyped(f"reflect: Call using {go_type(value)} as type {param.go}", param, value)
    for value in args[len(fixed) :]:
        assert rest is not None
        if not rest.admits(value):
            raise _mistyped(f"reflect: cannot use {go_type(value)} as type {rest.go} in Call", rest, value)
    bound: dict[str, Any] = {p.name: v for p, v in zip(fixed, args)}
    if rest is not None:
        bound[rest.name] = tuple(args[len(fixed) :])
    return bound


def _mistyped(message: str, param: Parameter, value: Any) -> Refused:
    note = f"takes {param.label}, and this is {label(value)}"
    return Refused(message, T204, hint=_conversion(param.type, value), note=note)


def _conversion(wanted: Any, value: Any) -> str:
    """How the value would be written to have the type, where that is easy to say."""
    if wanted is float and type(value) is int:
        return f"write it with a point: {value}.0"
    if wanted is int and type(value) is float and value.is_integer():
        return f"write it without the point: {int(value)}"
    if wanted is Duration and type(value) is str:
        return f"write it without quotes: {value}" if value[:1].isdigit() else "write it like 10s or 5m"
    if wanted is Duration and type(value) in (int, float):
        return f"write it with a unit: {int(value)}s"
    if wanted is str and isinstance(value, ReferenceValue):
        return f"write it in single quotes: '{value.name}'"
    if wanted is str and type(value) in (int, float, bool, Duration):
        return "write it in single quotes"
    if wanted is LambdaValue:
        return "write it after `lambda: `"
    return ""


# ----------------------------------------------------------------------------------------------- properties and fields


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a node or handler: one that is set like a variable (`field`), or by a method."""

    name: str
    doc: str
    params: tuple[Parameter, ...]
    default: Any = None
    field: str = ""
    method: Callable[..., Subject | None] | None = None
    keeps: bool = False  # the method gives back the object it was called on

    @property
    def go(self) -> str:
        return capitalised(self.name)

    def set(self, owner: Subject, called_on: Subject, args: tuple[Any, ...]) -> Subject:
        """Set it on `owner`, which it was reached through `called_on`; the object that the call gives back."""
        if self.method is not None:
            made = self.method(owner, **bind(self.params, args))
            return made or (called_on if self.keeps else owner.after_method())
        if len(args) != 1:
            message = f"too many arguments to set property {self.go} on {called_on.go}"
            raise Refused(message, T205, panics=False, hint=f"give one value: .{self.name}({self.params[0].label})")
        if not self.params[0].admits(args[0]):
            param = self.params[0]
            message = f"reflect.Set: value of type {go_type(args[0])} is not assignable to type {param.go}"
            raise _mistyped(message, param, args[0])
        setattr(owner, self.field, args[0])
        return called_on


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a field's metadata says of it."""

    role: str  # prop, flag, arg, args
    doc: str
    name: str
    keeps: bool = False


_UNSET = object()
_ZEROS: dict[Any, Any] = {int: 0, float: 0.0, str: "", bool: False, Duration: Duration(0)}


def prop(doc: str, *, default: Any = _UNSET, name: str = "") -> Any:
    """A property with one value, `.period(10s)`; the default is Go's zero of the type unless one is given."""
    return field(default=default, metadata={"tick": _Mark("prop", doc, name)})


def flag(doc: str, *, name: str = "", keeps: bool = False) -> Any:
    """A property without a value, `.align()`, that sets the field to True."""
    return field(default=False, metadata={"tick": _Mark("flag", doc, name, keeps)})


def arg(doc: str, *, name: str = "") -> Any:
    """An argument of the chain method or handler; with a `name` it can be set as a property too, as in Kapacitor."""
    return field(metadata={"tick": _Mark("arg", doc, name)})


def args(doc: str) -> Any:
    """The arguments after those declared before, any number of them."""
    return field(default=(), metadata={"tick": _Mark("args", doc, "")})


_M = TypeVar("_M", bound=Callable[..., Any])


def setter(method: _M) -> _M:
    """A property that is a method: its annotated parameters are the property's, its docstring the documentation."""
    method.__dict__["tick"] = True
    return method


def state(default: Any = None, *, make: Callable[[], Any] | None = None) -> Any:
    """A field that setters fill; a script does not see it."""
    return field(default_factory=make) if make else field(default=default)


def _plain(hint: Any) -> Any:
    """The type that a parameter of this annotation takes: `X | None` takes X, `tuple[X, ...]` takes X each."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(t for t in typing.get_args(hint) if t is not types.NoneType)
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint


class Subject:
    """Something that has properties: a node, or a handler of an alert."""

    class_go: ClassVar[str]
    doc: ClassVar[str]
    label: ClassVar[str] = "a node"
    properties: ClassVar[dict[str, Property]] = {}  # by Go name
    params: ClassVar[tuple[Parameter, ...]] = ()  # of the chain method or property that makes it

    @property
    def go(self) -> str:
        return f"*pipeline.{self.class_go}"

    @property
    def node(self) -> Node:
        """The node that chain methods hang children on."""
        raise NotImplementedError

    def find(self, name: str) -> tuple[Subject, Property] | None:
        """The property of that TICKscript name and the object that has it."""
        found = self.properties.get(capitalised(name))
        return None if found is None else (self, found)

    def after_method(self) -> Subject:
        """What a property method of this object gives back."""
        return self

    def property_names(self) -> list[str]:
        return [p.name for p in self.properties.values()]


_S = TypeVar("_S", bound=type[Subject])


def _declare(cls: _S, go: str) -> _S:
    """Make `cls` a dataclass and read its properties and parameters from it."""
    for key, f in list(vars(cls).items()):
        if isinstance(f, dataclasses.Field) and f.default is _UNSET:
            f.default = _ZEROS.get(_annotation(cls, key))
    made = dataclass(kw_only=True, eq=False, repr=False)(cls)
    properties = {}
    params = []
    for f in dataclasses.fields(made):  # type: ignore[arg-type]
        mark: _Mark | None = f.metadata.get("tick")
        if mark is None:
            continue
        param = Parameter(camel(f.name), _plain(_annotation(made, f.name)), mark.role == "args", mark.doc, f.name)
        if mark.role in ("arg", "args"):
            params.append(param)
        if mark.role == "flag":
            made_property = Property(mark.name or param.name, mark.doc, (), False, f.name, _raiser(f.name), mark.keeps)
        elif mark.role == "prop" or mark.name:
            default = None if f.default is dataclasses.MISSING else f.default
            made_property = Property(mark.name or param.name, mark.doc, (param,), default, f.name)
        else:
            continue
        properties[made_property.go] = made_property
    for method in _setters(made):
        properties[method.go] = method
    made.properties, made.params, made.class_go = properties, tuple(params), go
    made.doc = inspect.cleandoc(cls.__doc__ or "")
    return made  # type: ignore[return-value]


def _annotation(cls: type, name: str) -> Any:
    """The type that a field is declared with."""
    owner, text = next((base, found[name]) for base in cls.__mro__ if name in (found := inspect.get_annotations(base)))
    return eval(text, vars(sys.modules[owner.__module__]))


def _raiser(name: str) -> Callable[[Subject], None]:
    def raise_flag(owner: Subject) -> None:
        setattr(owner, name, True)

    return raise_flag


def _setters(cls: type[Subject]) -> Iterator[Property]:
    for base in reversed(cls.__mro__):
        for key, method in vars(base).items():
            if not getattr(method, "tick", False):
                continue
            hints = typing.get_type_hints(method)
            params = tuple(
                Parameter(camel(p.name), hints[p.name], p.kind is inspect.Parameter.VAR_POSITIONAL)
                for p in list(inspect.signature(method).parameters.values())[1:]
            )
            doc = inspect.cleandoc(method.__doc__ or "")
            yield Property(camel(key), doc, params, method=_positional(method, params))


def _positional(method: Callable[..., Any], params: tuple[Parameter, ...]) -> Callable[..., Subject | None]:
    def call(owner: Subject, **bound: Any) -> Subject | None:
        fixed = [bound[p.name] for p in params if not p.variadic]
        rest = [v for p in params if p.variadic for v in bound[p.name]]
        made = method(owner, *fixed, *rest)
        return made if isinstance(made, Subject) else None

    return call


# --------------------------------------------------------------------------------------------------------------- nodes


class Edge(Enum):
    """What travels on an edge: points as they come, or batches of them; SAME: what the node receives."""

    NONE = "noedge"
    STREAM = "stream"
    BATCH = "batch"
    SAME = "same"


STREAM, BATCH, SAME = Edge.STREAM, Edge.BATCH, Edge.SAME

ANY = ("*",)  # parents: every node that can be chained from
EVERY = ("**",)  # parents: every node at all

NODES: dict[str, type[Node]] = {}  # by TICKscript name


@dataclass(kw_only=True, eq=False, repr=False)
class Node(Subject):
    """A node of the graph as written. It can be changed until the script has ended, by any statement."""

    tick: ClassVar[str] = ""  # the name of its chain method
    desc: ClassVar[str] = ""  # what its name begins with
    class_wants: ClassVar[Edge] = SAME
    class_gives: ClassVar[Edge] = SAME
    chains: ClassVar[bool] = True  # whether nodes can be chained from it
    parents_of: ClassVar[tuple[str, ...]] = ANY  # nodes that it can be chained from
    later: ClassVar[str] = ""  # why it is not lowered
    runs: ClassVar[bool] = True  # whether it becomes an operator
    feeds_one: ClassVar[bool] = False  # whether it gives what it has to one child alone

    quiet: bool = flag("count errors of the node without logging them", keeps=True)

    span: Span = field(default=Span(0, 0))  # the name in the script
    extent: Span = field(default=Span(0, 0))  # the link with all its properties
    wants: Edge = field(default=Edge.NONE, init=False)
    gives: Edge = field(default=Edge.NONE, init=False)
    id: int = field(default=-1, init=False)
    parents: list[Node] = field(default_factory=list, init=False)
    children: list[Node] = field(default_factory=list, init=False)
    pipeline: Pipeline = field(init=False)
    fixed_name: str = field(default="", init=False)

    @property
    def node(self) -> Node:
        return self

    @property
    def name(self) -> str:
        """Kapacitor's name of the node: keys of statistics, snapshots and alert topics."""
        return self.fixed_name or f"{self.desc}{self.id}"

    # -- making

    @classmethod
    def chained(cls, parent: Node, arguments: tuple[Any, ...], span: Span) -> Subject:
        """The node that `parent|name(arguments)` stands for, linked to its parents."""
        values = bind(cls.params, arguments)
        if cls.class_wants is not SAME and cls.class_wants is not parent.gives:
            hint = "put |window() before it" if cls.class_wants is BATCH else f"{parent.desc} already gives batches"
            raise Refused(f"cannot {capitalised(cls.tick)} {parent.gives.value} edge", T301, hint=hint)
        made = cls(**{p.field: values[p.name] for p in cls.params}, span=span, extent=span)
        made.connect(parent)
        return made

    def check_reachable(self, name: str) -> None:
        """Refuse a chain method whose name a field of the node has too: in Go that field hides the method."""
        hiding = self.properties.get(capitalised(name))
        if hiding is not None and hiding.method is None:
            message = "reflect: reflect.Value.Call using value obtained using unexported field"
            note = f"`{name}` cannot follow `{self.tick}` directly"
            raise Refused(message, T301, hint="put another node between, such as |where(lambda: TRUE)", note=note)

    def connect(self, parent: Node) -> None:
        """Take the edge types from the parent and become its child."""
        self.take_edges(parent)
        parent.link(self)

    def take_edges(self, parent: Node) -> None:
        self.wants = parent.gives if self.class_wants is SAME else self.class_wants
        self.gives = parent.gives if self.class_gives is SAME else self.class_gives

    def link(self, child: Node) -> None:
        """Make `child` a child; each link gives it a new id, as in Kapacitor."""
        self.pipeline.register(child)
        self.children.append(child)
        child.parents.append(self)

    # -- checking and lowering

    def check(self) -> Iterator[Diagnostic]:
        """What is wrong with the definition (Kapacitor's `validate`)."""
        return iter(())

    def start(self) -> Iterator[Diagnostic]:
        """What would keep Kapacitor from starting the task."""
        return iter(())

    def reads(self) -> list[Node]:
        """The nodes whose output it is given."""
        return self.parents

    def doubts(self) -> Iterator[Diagnostic]:
        """What will fail once the task runs, though it starts."""
        return iter(())

    def lower(self, *inputs: ir.Op) -> ir.Op:
        """The operator of the plan that does what the node says."""
        raise NotImplementedError(f"{self.tick} has no operator")

    def refuse(self, code: Code, message: str, hint: str = "") -> Diagnostic:
        """A diagnostic of this node for which Kapacitor gives no position."""
        return code.at(self.span, message, hint=hint or None, positioned=False)

    def compile_errors(self, value: LambdaValue | None, wording: str = "{}") -> Iterator[Diagnostic]:
        """The start error of a lambda that cannot be compiled."""
        if value is not None and (text := unusable(value.expr) or _mismatch(value.expr)):
            yield self.refuse(CODES["T304"], wording.format(text))

    def op_base(self, *inputs: ir.Op) -> dict[str, Any]:
        """The arguments that every operator takes."""
        return {"name": self.name, "inputs": inputs, "span": self.extent}


def unusable(e: Expr) -> str:
    """Kapacitor's text where the expression holds something that is no expression, else nothing."""
    if isinstance(e, Unusable):
        return f"Given node type is not valid evaluation node: {e.go}"
    if isinstance(e, Binary):
        left, *right = spine(e)
        for i, (operand, place) in enumerate(((left, "left"), *((operand, "right") for operand in right))):
            if text := unusable(operand):
                above = "Failed to handle left node: " * (len(right) - max(i, 1))
                return f"{above}Failed to handle {place} node: {text}"
        return ""
    for i, child in enumerate(e.children):
        if text := unusable(child):
            return f"Failed to handle {f'{i + 1} argument' if isinstance(e, Call) else 'node'}: {text}"
    return ""


def _mismatch(e: Expr) -> str:
    try:
        check(e)
    except EvalError as error:
        return str(error)
    return ""


_N = TypeVar("_N", bound=type[Node])


def node(
    tick: str,
    *,
    go: str = "",
    desc: str = "",
    wants: Edge = SAME,
    gives: Edge = SAME,
    parents: tuple[str, ...] = ANY,
    chains: bool = True,
    later: str = "",
    order: tuple[str, ...] = (),
) -> Callable[[_N], _N]:
    """Declare a node: the name of its chain method, its edges, its Go class (`WindowNode` for `window`) and `desc`.

    later: why it is not lowered; order: the arguments where fields are not declared in that order.
    """

    def register(cls: _N) -> _N:
        made = _declare(cls, go or f"{capitalised(tick)}Node")
        made.tick, made.desc, made.class_wants, made.class_gives = tick, desc or tick, wants, gives
        made.parents_of, made.chains, made.later = parents, chains, later
        if order:
            made.params = tuple(next(p for p in made.params if p.name == name) for name in order)
        assert tick not in NODES, tick
        NODES[tick] = made
        return made

    return register


def declare(go: str) -> Callable[[_S], _S]:
    """Declare something that has properties but is no node."""
    return lambda cls: _declare(cls, go)


def chain_methods(parent: Node) -> Mapping[str, type[Node]]:
    """The nodes that can be chained from `parent`, by Go name."""
    return _chained(parent.tick, bool(parent.chains))


@cache
def _chained(parent: str, chains: bool) -> Mapping[str, type[Node]]:
    return {
        capitalised(tick): cls
        for tick, cls in NODES.items()
        if cls.parents_of is EVERY or (cls.parents_of is ANY and chains) or parent in cls.parents_of
    }


# -------------------------------------------------------------------------------------------------------- the pipeline


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the script: the type and value it declares, and what the comment above it says."""

    type: str
    value: Any
    description: str = ""


class Pipeline:
    """The graph that a script makes: sources, in order of creation, and what hangs on them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sources: list[Node] = []
        self.created = 0
        self.dbrps: tuple[tuple[str, str], ...] = ()
        self.variables: dict[str, Variable] = {}
        self.task = ""
        self.task_dbrps: tuple[tuple[str, str], ...] | None = None

    def add_source(self, source: Node) -> None:
        self.register(source)
        source.wants, source.gives = source.class_wants, source.class_gives
        self.sources.append(source)

    def register(self, child: Node) -> None:
        """Give a node its pipeline and the next id."""
        if self.created >= MAX_NODES:
            raise Refused(f"a script may have {MAX_NODES:,} nodes", CODES["T107"], panics=False)
        child.pipeline = self
        child.id = self.created
        self.created += 1

    @property
    def nodes(self) -> list[Node]:
        """All nodes, parents first: the order in which Kapacitor validates, constructs and prints them.

        Depth first after the children, from the last source to the first, reversed (pipeline.go): of two siblings the
        one created later comes first.
        """
        done: list[Node] = []
        seen: set[int] = set()
        for source in reversed(self.sources):
            seen.add(id(source))
            pending = [(source, iter(source.children))]
            while pending:
                current, children = pending[-1]
                child = next((c for c in children if id(c) not in seen), None)
                if child is None:
                    done.append(current)
                    pending.pop()
                else:
                    seen.add(id(child))
                    pending.append((child, iter(child.children)))
        return done[::-1]

    def check(self) -> list[Diagnostic]:
        """What is wrong with the nodes' definitions, the mistake that Kapacitor reports first."""
        return [problem for n in self.nodes for problem in n.check()]

    def start(self) -> list[Diagnostic]:
        """What would keep the task from starting, the mistake that Kapacitor reports first."""
        return [problem for n in self.nodes for problem in (*n.start(), *_mismatched_edges(n))]

    def dot(self, name: str) -> str:
        """The graph in Graphviz' language, as Kapacitor prints it."""
        edges = [f"{n.name} -> {c.name};\n" for n in self.nodes if n.tick != "batch" for c in n.children]
        return f"digraph {name} {{\n{''.join(edges)}}}"


def _mismatched_edges(child: Node) -> Iterator[Diagnostic]:
    for parent in child.parents:
        if parent.gives is not child.wants:
            yield child.refuse(
                T301,
                "cannot add child mismatched edges: "
                f"{parent.name}:{parent.gives.value} -> {child.name}:{child.wants.value}",
                hint=f"all nodes that |{child.tick}() reads must give the same: points or batches",
            )


def lower(pipeline: Pipeline, *, task: str, dbrps: Sequence[tuple[str, str]] | None = None) -> ir.Plan:
    """The plan of a pipeline, or TickError with what keeps the task from starting.

    dbrps: (database, retention policy) pairs that a stream task reads where the script does not say; None: all.
    """
    pipeline.task = task
    pipeline.task_dbrps = pipeline.dbrps or (None if dbrps is None else tuple(dbrps))
    with deep_recursion(DEEPEST):
        if found := list(problems(pipeline)):
            raise TickError(found, pipeline.source)
        made: dict[int, ir.Op] = {}
        ops: list[ir.Op] = []
        unfed = _unfed(pipeline.nodes)
        for n in sorted(pipeline.nodes, key=lambda n: n.id):
            if n.runs:
                inputs = [made[p.id] for p in n.reads()]
                for k in (k for k in range(len(inputs)) if (n.id, k) in unfed):
                    inputs[k] = ir.UnfedOp(name=f"{inputs[k].name}_{n.name}_{k}", inputs=(inputs[k],), span=n.extent)
                    ops.append(inputs[k])
                made[n.id] = n.lower(*inputs)
                ops.append(made[n.id])
    return ir.Plan(tuple(ops))


def _unfed(nodes: Sequence[Node]) -> set[tuple[int, int]]:
    """Where a parent gives a node nothing: the node's id and the parent's position.

    nodes: in Kapacitor's order, in which it makes the edges; a node that feeds one child feeds the first.
    """
    fed: set[int] = set()
    unfed: set[tuple[int, int]] = set()
    for n in nodes:
        for k, parent in enumerate(n.parents):
            if parent.feeds_one and parent.id in fed:
                unfed.add((n.id, k))
            fed.add(parent.id)
    return unfed


def problems(pipeline: Pipeline) -> Iterator[Diagnostic]:
    """What keeps the task of a valid script from starting."""
    yield from pipeline.start()
    for n in sorted(pipeline.nodes, key=lambda n: n.id):
        if n.later:
            written = pipeline.source.snippet(n.span) or n.tick  # deadman stands for stats and others
            yield T401.at(n.span, f"`{written}` is not supported yet", note=n.later)


def own_tags(op: ir.Op) -> tuple[str, ...]:
    """The tags that points of a batch edge may have otherwise than their batch."""
    found: set[str] = set()
    seen: set[int] = set()
    pending = [op]
    while pending:
        current = pending.pop()
        if id(current) not in seen and batch_edge(current):
            seen.add(id(current))
            found.update(current.sets_tags)
            pending.extend(current.inputs)
    return tuple(sorted(found))


def batch_edge(op: ir.Op) -> bool:
    """Whether an operator gives batches rather than points."""
    gives = getattr(op, "gives", SAME)
    if gives is SAME:
        return bool(op.inputs) and batch_edge(op.inputs[0])
    return gives is BATCH
