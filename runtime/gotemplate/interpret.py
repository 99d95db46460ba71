"""Runs a template's trees over data exactly as Go's text/template/exec does.

This is the reference: compile.py makes faster code for what it can, and hands over to this whenever it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tickc.runtime.gotext import quote

from .functions import BUILTINS, Function, is_true, lookup
from .gofmt import action_text, text_of
from .gotime import Duration, GoTime
from .lex import TemplateError
from .parse import (
    Action,
    Bool,
    Break,
    Call,
    Chain,
    Command,
    Continue,
    Dot,
    Field,
    Identifier,
    If,
    List,
    Nil,
    Node,
    Number,
    Pipe,
    Range,
    String,
    Text,
    Tree,
    Variable,
    With,
)
from .values import (
    ANY,
    BYTES,
    INT64,
    INVALID,
    LOCATION,
    VALUE,
    Bytes,
    CallError,
    Iface,
    Int,
    Kind,
    Struct,
    StructType,
    Type,
    indirect,
    kind_of,
    members,
    strip,
    type_of,
)

MAX_STEPS = 1_000_000
"""Nodes and rounds of loops in one rendering, and 64 characters of a function's text count as one more.

Go has no such limit; a template that would run for hours fails here.
"""

MAX_OUTPUT = 1 << 26
"""Characters that one rendering may write."""

MAX_DEPTH = 100
"""Nested template calls. Go stops at 100000; what recurses without end fails here sooner, with Go's message."""


class _NoFinal:
    """The absence of a value from the pipeline."""

    __slots__ = ()


NO_FINAL: Final = _NoFinal()


class _Break(Exception):
    """{{break}}"""


class _Continue(Exception):
    """{{continue}}"""


class Budget:
    """What a rendering may still spend, shared by all templates it calls."""

    __slots__ = ("output", "parts", "steps")

    def __init__(self) -> None:
        self.steps = MAX_STEPS
        self.output = MAX_OUTPUT
        self.parts: list[str] = []


def interpret(trees: Mapping[str, Tree], name: str, functions: Mapping[str, Function], data: Any) -> str:
    """The text of template `name` for a Go value; raises TemplateError with Go's text."""
    budget = Budget()
    tree = trees.get(name)
    if tree is None or tree.root is None:
        raise TemplateError(f"template: {name}: {quote(name)} is an incomplete or empty template")
    state = State(trees, tree, functions, budget, data, 0)
    try:
        state.walk_list(data, tree.root)
    except RecursionError:
        raise state.error(f"exceeded maximum template depth ({_GO_DEPTH})") from None
    return "".join(budget.parts)


_GO_DEPTH = 100000


class State:
    """The execution of one template: its variables and the node in work, for error texts."""

    def __init__(self, trees: Mapping[str, Tree], tree: Tree, functions: Mapping[str, Function], budget: Budget,
                 dot: Any, depth: int) -> None:  # fmt: skip
        self.trees = trees
        self.tree = tree
        self.functions = functions
        self.budget = budget
        self.names = ["$"]
        self.values = [dot]
        self.depth = depth
        self.node: Node | None = None

    def error(self, message: str) -> TemplateError:
        node = self.node
        if node is None:
            return TemplateError(f"template: {self.tree.name}: {message}")
        place = self.tree.where(node)
        text = f"template: {place}: executing {quote(self.tree.name)} at <{node}>: {message}"
        return TemplateError(text, int(place.rsplit(":", 2)[1]), node.pos)

    # --- walking

    def walk_list(self, dot: Any, nodes: List) -> None:
        for node in nodes.nodes:
            self.walk(dot, node)

    def walk(self, dot: Any, node: Node) -> None:
        self.node = node
        self.spend(1)
        match node:
            case Text(text=text):
                self.write(text)
            case Action(pipe=pipe):
                value = self.pipeline(dot, pipe)
                if not pipe.variables:
                    self.node = node
                    self.write(value if type(value) is str else action_text(value))
            case If() | With():
                self.walk_branch(dot, node)
            case Range():
                self.walk_range(dot, node)
            case Call():
                self.walk_call(dot, node)
            case Break():
                raise _Break
            case Continue():
                raise _Continue

    def spend(self, steps: int) -> None:
        self.budget.steps -= steps
        if self.budget.steps < 0:
            raise self.error(f"exceeded maximum number of steps ({MAX_STEPS})")

    def write(self, text: str) -> None:
        self.budget.output -= len(text)
        if self.budget.output < 0:
            raise self.error(f"exceeded maximum size of output ({MAX_OUTPUT})")
        self.budget.parts.append(text)

    def walk_branch(self, dot: Any, node: If | With) -> None:
        mark = len(self.names)
        value = self.pipeline(dot, node.pipe)
        if is_true(value):
            self.walk_list(value if isinstance(node, With) else dot, node.body)
        elif node.otherwise is not None:
            self.walk_list(dot, node.otherwise)
        self.pop(mark)

    def pop(self, mark: int) -> None:
        del self.names[mark:], self.values[mark:]

    def walk_range(self, dot: Any, node: Range) -> None:
        mark = len(self.names)
        value = indirect(self.pipeline(dot, node.pipe))
        pairs = self.elements(node, value)
        ran = False
        inner = len(self.names)
        for index, element in pairs:
            ran = True
            self.spend(1)
            self.assign_loop(node.pipe, index, element)
            try:
                self.walk_list(element, node.body)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                self.pop(inner)
        if not ran and node.otherwise is not None:
            self.walk_list(dot, node.otherwise)
        self.pop(mark)

    def elements(self, node: Range, value: Any) -> Any:
        """(index, element) pairs of what is ranged over."""
        match kind_of(value):
            case Kind.INT | Kind.UINT:
                if len(node.pipe.variables) > 1:
                    raise self.error(f"can't use {text_of(value)} to iterate over more than one variable")
                whole = type(value)
                return ((INVALID, whole(i)) for i in range(value))
            case Kind.SLICE:
                return ((Int(i), element) for i, element in enumerate(members(value)))
            case Kind.MAP:
                return ((key, lookup(value, key)) for key in sorted(value.items))
            case Kind.INVALID:
                return ()
        raise self.error(f"range can't iterate over {text_of(value)}")

    def assign_loop(self, pipe: Pipe, index: Any, element: Any) -> None:
        variables = pipe.variables
        if not variables:
            return
        if pipe.assigns:
            values = (index, element) if len(variables) > 1 else (element,)
            for variable, value in zip(variables, values):
                self.set_variable(variable.names[0], value)
            return
        self.values[-1] = element
        if len(variables) > 1:
            self.values[-2] = index

    def walk_call(self, dot: Any, node: Call) -> None:
        tree = self.trees.get(node.name)
        if tree is None or tree.root is None:
            raise self.error(f"template {quote(node.name)} not defined")
        if self.depth >= MAX_DEPTH:
            raise self.error(f"exceeded maximum template depth ({_GO_DEPTH})")
        dot = INVALID if node.pipe is None else self.pipeline(dot, node.pipe)
        inner = State(self.trees, tree, self.functions, self.budget, dot, self.depth + 1)
        inner.node = self.node
        inner.walk_list(dot, tree.root)

    # --- variables

    def set_variable(self, name: str, value: Any) -> None:
        for i in range(len(self.names) - 1, -1, -1):
            if self.names[i] == name:
                self.values[i] = value
                return
        raise self.error(f"undefined variable: {name}")

    def variable(self, name: str) -> Any:
        for i in range(len(self.names) - 1, -1, -1):
            if self.names[i] == name:
                return self.values[i]
        raise self.error(f"undefined variable: {name}")

    # --- pipelines

    def pipeline(self, dot: Any, pipe: Pipe) -> Any:
        """The value of a pipeline, without its interface; declares or assigns its variables."""
        self.node = pipe
        value: Any = NO_FINAL
        for command in pipe.commands:
            value = strip(self.command(dot, command, value))
        for variable in pipe.variables:
            if pipe.assigns:
                self.set_variable(variable.names[0], value)
            else:
                self.names.append(variable.names[0])
                self.values.append(value)
        return value

    def command(self, dot: Any, command: Command, final: Any) -> Any:
        first = command.args[0]
        match first:
            case Field():
                self.node = first
                return self.chain(dot, dot, first, first.names, command.args, final)
            case Chain():
                return self.chain_node(dot, first, command.args, final)
            case Identifier():
                return self.function(dot, first, command, command.args, final)
            case Pipe():
                self.not_a_function(command.args, final)
                return self.pipeline(dot, first)
            case Variable():
                return self.variable_node(dot, first, command.args, final)
        self.node = first
        self.not_a_function(command.args, final)
        match first:
            case Dot():
                return dot
            case Nil():
                raise self.error("nil is not a command")
            case Bool(value=value):
                return value
            case Number():
                return self.constant(first)
            case String(text=text):
                return text
        raise self.error(f"can't evaluate command {quote(str(first))}")

    def not_a_function(self, args: Sequence[Node], final: Any) -> None:
        if len(args) > 1 or final is not NO_FINAL:
            raise self.error(f"can't give argument to non-function {args[0]}" if args else "<no value>")

    def constant(self, number: Number) -> Any:
        """A number whose type its own syntax decides."""
        self.node = number
        value = literal_number(number)
        if value is None:
            raise self.error(f"{number.text} overflows int")
        return value

    def variable_node(self, dot: Any, node: Variable, args: Sequence[Node], final: Any) -> Any:
        self.node = node
        value = self.variable(node.names[0])
        if len(node.names) == 1:
            if args or final is not NO_FINAL:
                self.not_a_function(args, final)
            return value
        return self.chain(dot, value, node, node.names[1:], args, final)

    def chain_node(self, dot: Any, node: Chain, args: Sequence[Node], final: Any) -> Any:
        self.node = node
        if isinstance(node.node, Nil):
            raise self.error(f"indirection through explicit nil in {node}")
        receiver = self.argument(dot, None, node.node)
        return self.chain(dot, receiver, node, node.names, args, final)

    def chain(self, dot: Any, receiver: Any, node: Node, names: Sequence[str], args: Sequence[Node], final: Any) -> Any:
        """`.A.B.C` from `receiver`; the last name gets the arguments."""
        for name in names[:-1]:
            receiver = self.field(dot, name, node, (), NO_FINAL, receiver)
        return self.field(dot, names[-1], node, args, final, receiver)

    def field(self, dot: Any, name: str, node: Node, args: Sequence[Node], final: Any, receiver: Any) -> Any:
        """A method, struct field or map element."""
        if receiver is INVALID:
            return INVALID
        static = type_of(receiver)
        if type(receiver) is Iface:
            if receiver.value is None:
                raise self.error(f"nil pointer evaluating {static.name}.{name}")
            receiver = receiver.value
        kind = type_of(receiver)
        method = kind.methods.get(name)
        if method is not None:
            function = Function(lambda *given: method.call(receiver, *given), method.parameters)
            return self.invoke(dot, function, node, name, args, final, refused=method.refused)
        has_args = len(args) > 1 or final is not NO_FINAL
        if isinstance(receiver, Struct | GoTime):
            found = self.struct_field(receiver, kind, name, has_args, static)
            if found is not NO_FINAL:
                return found
        elif kind.kind is Kind.MAP:
            if has_args:
                raise self.error(f"{name} is not a method but has arguments")
            return lookup(receiver, name)
        raise self.error(f"can't evaluate field {name} in type {static.name}")

    def struct_field(self, receiver: Any, kind: Type, name: str, has_args: bool, static: Type) -> Any:
        assert isinstance(kind, StructType)
        if name in kind.promoted:
            if has_args:
                raise self.error(f"{name} has arguments but cannot be invoked as function")
            return receiver.field(name)
        if _unexported(kind, name):
            raise self.error(f"{name} is an unexported field of struct type {static.name}")
        return NO_FINAL

    # --- calls

    def function(self, dot: Any, node: Identifier, command: Node, args: Sequence[Node], final: Any) -> Any:
        self.node = node
        found = self.functions.get(node.name)
        if found is None:
            raise self.error(f"{quote(node.name)} is not a defined function")
        return self.invoke(dot, found, command, node.name, args, final, builtin=found is BUILTINS.get(node.name))

    def invoke(self, dot: Any, function: Function, node: Node, name: str, args: Sequence[Node], final: Any,
               builtin: bool = False, refused: str = "") -> Any:  # fmt: skip
        """Call a function or method; `args`, if any, begins with its own node."""
        args = args[1:]
        given = len(args) + (final is not NO_FINAL)
        fixed = function.fixed
        if function.rest is not None:
            if given < len(fixed):
                raise self.error(f"wrong number of args for {name}: want at least {len(fixed)} got {len(args)}")
        elif given != len(fixed):
            raise self.error(f"wrong number of args for {name}: want {len(fixed)} got {given}")
        if refused:
            raise self.error(refused)
        if builtin and name in ("and", "or"):
            return self.short_circuit(dot, args, final, name == "or")
        values = [self.argument(dot, fixed[i] if i < len(fixed) else function.rest, arg) for i, arg in enumerate(args)]
        if final is not NO_FINAL:
            values.append(self.checked(final, fixed[given - 1] if given <= len(fixed) else function.rest))
        if builtin and name == "call":
            callee = str(args[0]) if args else _reflect_string(final)
            return self.fail(node, name, _call_error(values[0], callee))
        try:
            result = function.call(*values)
        except CallError as error:
            return self.fail(node, name, str(error))
        if isinstance(result, str):
            self.spend(len(result) >> 6)
        return result

    def fail(self, node: Node, name: str, message: str) -> Any:
        self.node = node
        raise self.error(f"error calling {name}: {message}")

    def short_circuit(self, dot: Any, args: Sequence[Node], final: Any, stop: bool) -> Any:
        """`and` and `or`: the first argument that decides, or the last."""
        value: Any = INVALID
        for arg in args:
            value = self.argument(dot, VALUE, arg)
            if is_true(value) is stop:
                return value
        return value if final is NO_FINAL else final

    def checked(self, value: Any, type: Type | None) -> Any:
        """The value as one of Go type `type`; None in Python is a nil interface."""
        if type is None or type is VALUE:
            return value
        if type is ANY:
            return None if value is INVALID else value.value if isinstance(value, Iface) else value
        if value is INVALID:
            if type in _NILS:
                return _NILS[type]
            raise self.error(f"invalid value; expected {type.name}")
        if isinstance(value, Iface):
            if value.value is None:
                raise self.error(f"wrong type for value; expected {type.name}; got {ANY.name}")
            value = value.value
        if type_of(value) is not type:
            raise self.error(f"wrong type for value; expected {type.name}; got {type_of(value).name}")
        return value

    def argument(self, dot: Any, type: Type | None, node: Node) -> Any:
        """The value of an argument for a parameter of type `type` (None: any, for the head of a chain)."""
        self.node = node
        match node:
            case Dot():
                return self.checked(dot, type)
            case Nil():
                if type is None or type is VALUE:
                    return INVALID
                if type in _NILS:
                    return _NILS[type]
                raise self.error(f"cannot assign nil to {type.name}")
            case Field():
                return self.checked(self.chain(dot, dot, node, node.names, (node,), NO_FINAL), type)
            case Variable():
                return self.checked(self.variable_node(dot, node, (), NO_FINAL), type)
            case Pipe():
                return self.checked(self.pipeline(dot, node), type)
            case Identifier():
                return self.checked(self.function(dot, node, node, (), NO_FINAL), type)
            case Chain():
                return self.checked(self.chain_node(dot, node, (), NO_FINAL), type)
        if type is None:
            raise self.error("invalid memory address or nil pointer dereference")
        return self.literal(type, node)

    def literal(self, type: Type, node: Node) -> Any:
        """A constant as a value of the parameter's type."""
        match type.kind, node:
            case Kind.INTERFACE | Kind.STRUCT, Bool(value=value) if type in (ANY, VALUE):
                return value
            case Kind.INTERFACE | Kind.STRUCT, Number() if type in (ANY, VALUE):
                return self.constant(node)
            case Kind.INTERFACE | Kind.STRUCT, String(text=text) if type in (ANY, VALUE):
                return text
            case Kind.STRING, String(text=text):
                return text
            case Kind.INT, Number(as_int=int(number)):
                return _INTEGERS.get(type.name, Int)(number)
            case Kind.STRING, _:
                raise self.error(f"expected string; found {node}")
            case Kind.INT, _:
                raise self.error(f"expected integer; found {node}")
        raise self.error(f"can't handle {node} for arg of type {type.name}")


_NILS: dict[Type, Any] = {ANY: None, BYTES: Bytes(), LOCATION: None}
_INTEGERS: dict[str, Any] = {"time.Duration": Duration, INT64.name: int}


def literal_number(number: Number) -> Any:
    """The Go value of a number literal that stands alone: complex128, float64 or int; None if it fits none."""
    text = number.text
    if number.as_complex is not None:
        return number.as_complex
    is_hex = text[:2].lower() == "0x" and not any(c in "pP" for c in text) and len(text) > 2
    if number.as_float is not None and not is_hex and text[0] != "'" and any(c in ".eEpP" for c in text):
        return number.as_float
    return None if number.as_int is None else Int(number.as_int)


def _unexported(kind: StructType, name: str) -> bool:
    """Whether `name` is a field that Go's reflection finds but templates may not read."""
    for field, type in kind.fields:
        if field == name:
            return True
        if field in kind.embedded and isinstance(type, StructType) and _unexported(type, name):
            return True
    return False


def _reflect_string(value: Any) -> str:
    """reflect.Value.String."""
    if value is INVALID:
        return "<invalid Value>"
    return value if isinstance(value, str) else f"<{type_of(value).name} Value>"


def _call_error(value: Any, name: str) -> str:
    value = strip(value)
    return "call of nil" if value is INVALID else f"non-function {name} of type {type_of(value).name}"
