"""Makes a Python function of a template, for speed; the interpreter stays the reference.

The function covers what alert templates are made of: text, fields, map elements, variables, `if`, `with`, `range`, the
built-in functions, methods of times and durations. It gives the interpreter's text or raises; whoever calls it must
then render that record with the interpreter, which makes the right text or the right error. Templates that call
templates, and rare forms, are not compiled at all.

The generated source holds no text of the template. Literals, keys, formats and layouts are values in the namespace of
the function, under names made here (`k0`, `k1`, …), and all other names come from this module. So nothing that a
template contains is ever read as Python.

Values are those of values.py, except that nil and "no value" are None, and that the record's fields `Time`, `Duration`,
`Tags` and `Fields` stay as plain as they come until they are needed as Go values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from tickc.runtime.gotext import format_duration_go, format_time_default

from .escapers import html_of
from .functions import BUILTINS, DETAILS_FUNCTIONS, Function, index, lookup
from .gofmt import action_text, sprint, sprintf, sprintln
from .gojson import json_map, json_string
from .gotime import Duration, GoTime
from .interpret import literal_number
from .parse import (
    Action,
    Bool,
    Break,
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
    Variable,
    With,
)
from .values import (
    ANY,
    ANY_MAP,
    DURATION,
    INVALID,
    JS,
    STRING,
    STRING_MAP,
    TIME,
    VALUE,
    CallError,
    Iface,
    Int,
    Kind,
    MapValue,
    Struct,
    StructType,
    Type,
    Uint8,
    kind_of,
    type_of,
)

MAX_COUNT = 1000
"""Largest number that compiled code ranges over; more is left to the interpreter and its limit of steps."""

MAX_LOOP_TEXT = 10_000
"""Longest literal text in a loop of compiled code; the interpreter limits what longer ones write."""

Row = Callable[[Mapping[str, Any]], str]
Rows = Callable[[Iterable[tuple[Any, ...]], Callable[[tuple[Any, ...]], str]], list[str]]


class Unsupported(Exception):
    """The template has a form that is not compiled."""


@dataclass(frozen=True)
class Compiled:
    """The functions made of a template.

    `columns` are what `rows` wants, in order: names of the record's fields, or `Tags.key` and `Fields.key` for single
    elements. `rows` takes one tuple a row and a function for rows it cannot do; it is None if only a whole record
    will do.
    """

    row: Row
    rows: Rows | None
    columns: tuple[str, ...]
    source: str


def compile_template(root: List, functions: Mapping[str, Function], shape: StructType) -> Compiled | None:
    """The compiled form of a template's nodes, or None where it has none."""
    try:
        return _Compiler(functions, shape).compile(root)
    except (Unsupported, SyntaxError, RecursionError, MemoryError):
        return None


# --------------------------------------------------------------------------------------------------- at rendering


def _bail(*_: Any) -> NoReturn:
    raise CallError("left to the interpreter")


def _time(raw: Any) -> GoTime:
    return raw if type(raw) is GoTime else GoTime(raw)


def _time_text(raw: Any) -> str:
    return format_time_default(raw) if type(raw) is int else str(_time(raw))


def _json_time(raw: Any) -> str:
    return f'"{_time(raw).strict_text()}"'


def _unbox(value: Any) -> Any:
    """A value of the interpreter as one of compiled code."""
    if type(value) is Iface:
        return value.value
    return None if value is INVALID else value


def _chain(value: Any, names: Sequence[str]) -> Any:
    """`.A.B` of a value that is not a field of the record, without arguments."""
    for name in names:
        if value is None:
            _bail()
        kind = type_of(value)
        method = kind.methods.get(name)
        if method is not None:
            value = method.call(value) if not method.parameters and not method.refused else _bail()
        elif isinstance(value, Struct) and name in value.type.promoted:
            value = value.field(name)
        elif kind.kind is Kind.MAP:
            value = _unbox(lookup(value, name))
        else:
            _bail()
    return value


def _pairs(value: Any) -> Sequence[tuple[Any, Any]]:
    """(index, element) of what is ranged over."""
    if value is None:
        return ()
    match kind_of(value):
        case Kind.MAP:
            return [(key, value.items[key]) for key in sorted(value.items)]
        case Kind.SLICE:
            return [(Int(i), Uint8(byte)) for i, byte in enumerate(value)]
        case Kind.INT | Kind.UINT if value <= MAX_COUNT:
            whole = type(value)
            return [(None, whole(i)) for i in range(value)]
    return _bail()


def _sorted_pairs(table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(table.items(), key=_first)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _index(item: Any, *indexes: Any) -> Any:
    return _unbox(index(item, *indexes))


_NAMES: dict[str, Any] = {
    "_text": action_text, "_sprint": sprint, "_sprintf": sprintf, "_sprintln": sprintln, "_html": html_of,
    "_time": _time, "_time_text": _time_text, "_Duration": Duration, "_duration_text": format_duration_go,
    "_chain": _chain, "_pairs": _pairs, "_sorted": _sorted_pairs, "_index": _index, "_join": "".join, "_EMPTY": "",
    "_Map": MapValue, "_STRINGS": STRING_MAP, "_ANYS": ANY_MAP, "_Struct": Struct, "_Int": Int, "INVALID": INVALID,
    "_json": json_string, "_json_map": json_map, "_json_time": _json_time, "_json_int": int.__repr__, "_JS": JS,
    "_INTS": frozenset((int, Int)), "_STRS": frozenset((str, JS)),
}  # fmt: skip

# -------------------------------------------------------------------------------------------------- at compilation


@dataclass(frozen=True)
class _Expr:
    """A Python expression and what is known of its value.

    `kind` is one of: str, bool, any (a Go value or None), some (a Go value), tags, fields (plain mappings), time,
    duration (plain numbers), struct (a plain mapping), js (the text of a template.JS), missing (the constant None).
    """

    code: str
    kind: str
    type: StructType | None = None
    constant: Any = None


_MISSING = _Expr("None", "missing")
_FIELD_KINDS = {STRING: "str", STRING_MAP: "tags", ANY_MAP: "fields", TIME: "time", DURATION: "duration"}
_JSON = {"str": "_json", "tags": "_json_map", "fields": "_json_map", "time": "_json_time", "duration": "_json_int"}
_RECEIVERS: dict[str, Type] = {"time": TIME, "duration": DURATION}
_COMPARE = {"eq": "{a} == {b}", "ne": "{a} != {b}", "lt": "{a} < {b}", "le": "{a} <= {b}", "gt": "not {a} <= {b}",
            "ge": "not {a} < {b}"}  # fmt: skip
_DIRECTIVE = re.compile(r"%[-+ 0]*([1-9][0-9]{0,2})?(?P<precision>\.[0-9]{0,2})?(?P<verb>[a-zA-Z%])")


_ROW = """\
def row(d):
{loads}{body}    return {result}
"""
_ROWS = """\
def rows(table, slow):
    texts = []
    add = texts.append
    for r in table:
        try:
            {unpack}
{body}            add({result})
        except Exception:
            add(slow(r))
    return texts
"""


class _Compiler:
    def __init__(self, functions: Mapping[str, Function], shape: StructType) -> None:
        self.functions = functions
        self.shape = shape
        self.names = dict(_NAMES)
        self.lines: list[str] = []
        self.pieces: list[str] = []
        self.indent = 2
        self.loads: dict[str, tuple[str, str]] = {}  # column -> (variable, how a record gives it)
        self.scopes: list[dict[str, str]] = [{}]
        self.counts: dict[str, int] = {}
        self.loops = 0

    def compile(self, root: List) -> Compiled:
        self.walk(root, _Expr("d", "struct", self.shape))
        self.flush()
        result = self.one_expression()
        if result is None:
            result = "_EMPTY.join(parts)"
            self.lines[:0] = [self.pad(2) + "parts = []", self.pad(2) + "write = parts.append"]
        used = set(re.findall(r"\bf[0-9]+\b", "\n".join([*self.lines, result])))
        loads = {column: load for column, load in self.loads.items() if load[0] in used}
        source = _ROW.format(
            loads="".join(f"    {variable} = {code}\n" for variable, code in loads.values()),
            body="".join(line[4:] + "\n" for line in self.lines),
            result=result,
        )
        if "" not in loads:
            source += _ROWS.format(
                unpack="".join(f"{variable}, " for variable, _ in loads.values()) + "= r" if loads else "pass",
                body="".join(f"    {line}\n" for line in self.lines),
                result=result,
            )
        exec(compile(source, "<template>", "exec"), self.names)  # safe: see the module's docstring
        return Compiled(self.names["row"], self.names.get("rows"), tuple(loads), source)

    def one_expression(self) -> str | None:
        """The body, if it is one expression or nothing, taken from `lines`."""
        if not self.lines:
            return "_EMPTY"
        if len(self.lines) == 1 and self.lines[0].strip().startswith("write("):
            return self.lines.pop().strip()[6:-1]
        return None

    # --- names

    def constant(self, value: Any) -> str:
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def fresh(self, stem: str) -> str:
        self.counts[stem] = self.counts.get(stem, 0) + 1
        return f"{stem}{self.counts[stem]}"

    def load(self, column: str, code: str) -> str:
        """The variable that holds a part of the record; it is loaded before anything else."""
        if column not in self.loads:
            self.loads[column] = (self.fresh("f"), code)
        return self.loads[column][0]

    # --- statements

    def pad(self, depth: int) -> str:
        return "    " * depth

    def line(self, code: str) -> None:
        self.lines.append(self.pad(self.indent) + code)

    def flush(self) -> None:
        """Write the pieces that have come together as one string."""
        if len(self.pieces) == 1:
            self.line(f"write({self.pieces[0]})")
        elif self.pieces:
            self.line('write(f"' + "".join(f"{{{piece}}}" for piece in self.pieces) + '")')
        self.pieces = []

    def walk(self, nodes: List | None, dot: _Expr) -> None:
        for node in nodes.nodes if nodes is not None else ():
            match node:
                case Text(text=text):
                    if self.loops and len(text) > MAX_LOOP_TEXT:
                        raise Unsupported
                    self.pieces.append(self.constant(text))
                case Action(pipe=pipe):
                    self.action(pipe, dot)
                case If() | With():
                    self.branch(node, dot)
                case Range():
                    self.range(node, dot)
                case Break() | Continue():
                    self.flush()
                    self.line("break" if isinstance(node, Break) else "continue")
                    return
                case _:
                    raise Unsupported

    def action(self, pipe: Pipe, dot: _Expr) -> None:
        value = self.pipeline(pipe, dot)
        if not pipe.variables:
            self.pieces.append(self.printed(value))
            return
        self.flush()
        self.declare(pipe, value)

    def declare(self, pipe: Pipe, value: _Expr) -> None:
        for variable in pipe.variables:
            name = variable.names[0]
            if pipe.assigns:
                self.line(f"{self.variable(name)} = {self.boxed(value)}")
            else:
                fresh = self.fresh("v")
                self.line(f"{fresh} = {self.boxed(value)}")
                self.scopes[-1][name] = fresh

    def variable(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise Unsupported

    def branch(self, node: If | With, dot: _Expr) -> None:
        self.flush()
        self.scopes.append({})
        value = self.pipeline(node.pipe, dot)
        inner = dot
        if isinstance(node, With):
            name = self.fresh("w")
            self.line(f"{name} = {self.boxed(value)}")
            inner, test = _Expr(name, "some"), name
        elif node.pipe.variables:
            name = self.fresh("w")
            self.line(f"{name} = {self.boxed(value)}")
            test = name
        else:
            test = self.truth(value)
        if node.pipe.variables:
            self.declare(node.pipe, _Expr(name, "any"))
        self.line(f"if {test}:")
        self.block(node.body, inner)
        if node.otherwise is not None:
            self.line("else:")
            self.block(node.otherwise, dot)
        self.scopes.pop()

    def block(self, nodes: List, dot: _Expr) -> None:
        self.indent += 1
        self.scopes.append({})
        before = len(self.lines)
        self.walk(nodes, dot)
        self.flush()
        if len(self.lines) == before:
            self.line("pass")
        self.scopes.pop()
        self.indent -= 1

    def range(self, node: Range, dot: _Expr) -> None:
        self.flush()
        pipe = node.pipe
        value = self.pipeline(pipe, dot)
        if len(pipe.variables) > 1 and value.kind not in ("tags", "fields"):
            raise Unsupported
        if self.loops and value.kind not in ("tags", "fields"):
            raise Unsupported
        self.scopes.append({})
        if node.otherwise is not None or pipe.assigns:
            self.declare(pipe, value)  # what the variables are if there is no element
        key, element, ran = self.fresh("i"), self.fresh("e"), self.fresh("r")
        over = f"_sorted({value.code})" if value.kind in ("tags", "fields") else f"_pairs({self.boxed(value)})"
        self.line(f"{ran} = {over}")
        self.line(f"for {key}, {element} in {ran}:")
        self.indent += 1
        self.loop_variables(pipe, key, element)
        self.indent -= 1
        self.loops += 1
        self.block(node.body, _Expr(element, "str" if value.kind == "tags" else "any"))
        self.loops -= 1
        if node.otherwise is not None:
            self.line(f"if not {ran}:")
            self.block(node.otherwise, dot)
        self.scopes.pop()

    def loop_variables(self, pipe: Pipe, key: str, element: str) -> None:
        values = (key, element) if len(pipe.variables) > 1 else (element,)
        for variable, value in zip(pipe.variables, values):
            name = variable.names[0]
            if pipe.assigns:
                self.line(f"{self.variable(name)} = {value}")
            else:
                fresh = self.fresh("v")
                self.scopes[-1][name] = fresh
                self.line(f"{fresh} = {value}")

    # --- forms of a value

    def printed(self, value: _Expr) -> str:
        """The text an action prints."""
        match value.kind:
            case "str":
                return value.code
            case "time":
                return f"_time_text({value.code})"
            case "duration":
                return f"_duration_text({value.code})"
            case "any" | "some":
                name = self.fresh("t")
                return f"({name} if type({name} := {value.code}) is str else _text({name}))"
        return f"_text({self.boxed(value)})"

    def boxed(self, value: _Expr) -> str:
        """The Go value, or None."""
        match value.kind:
            case "tags":
                return f"_Map(_STRINGS, {value.code})"
            case "fields":
                return f"_Map(_ANYS, {value.code})"
            case "time":
                return f"_time({value.code})"
            case "duration":
                return f"_Duration({value.code})"
            case "js":
                return f"_JS({value.code})"
            case "struct":
                return f"_Struct({self.constant(value.type)}, {self.whole(value)})"
        return value.code

    def whole(self, value: _Expr) -> str:
        """A struct as a mapping; the record itself cannot be had from columns."""
        return self.load("", "d") if value.code == "d" else value.code

    def reflected(self, value: _Expr) -> str:
        """The Go value for a function that looks at it by reflection, INVALID for nil."""
        if value.kind == "missing":
            return "INVALID"
        if value.kind != "any":
            return self.boxed(value)
        name = self.fresh("t")
        return f"(INVALID if ({name} := {value.code}) is None else {name})"

    def truth(self, value: _Expr) -> str:
        return "True" if value.kind in ("time", "struct") else value.code

    # --- expressions

    def pipeline(self, pipe: Pipe, dot: _Expr) -> _Expr:
        value: _Expr | None = None
        for command in pipe.commands:
            value = self.command(command, dot, value)
        assert value is not None
        return value

    def command(self, command: Command, dot: _Expr, final: _Expr | None) -> _Expr:
        first = command.args[0]
        if isinstance(first, Identifier):
            args = [self.operand(arg, dot) for arg in command.args[1:]]
            return self.call(first.name, args, final)
        if isinstance(first, Field | Variable | Chain) and (len(command.args) > 1 or final is not None):
            if final is not None or len(command.args) != 2:
                raise Unsupported
            return self.method(first, command.args[1], dot)
        if len(command.args) > 1 or final is not None or isinstance(first, Nil):
            raise Unsupported
        return self.operand(first, dot)

    def operand(self, node: Node, dot: _Expr) -> _Expr:
        match node:
            case Dot():
                return dot
            case Nil():
                return _MISSING
            case Bool(value=value):
                return _Expr(str(value), "bool", constant=value)
            case String(text=text):
                return _Expr(self.constant(text), "str", constant=text)
            case Number():
                number = literal_number(node)
                return _Expr(self.constant(number), "some", constant=number) if number is not None else self.refuse()
            case Field(names=names):
                return self.chain(dot, names)
            case Variable(names=[name, *names]):
                if name == "$":
                    return self.chain(_Expr("d", "struct", self.shape), names)
                return self.chain(_Expr(self.variable(name), "any"), names)
            case Pipe(variables=[]):
                return self.pipeline(node, dot)
            case Chain(node=Pipe(variables=[]) as inner, names=names):
                return self.chain(self.pipeline(inner, dot), names)
            case Identifier(name=name):
                return self.call(name, [])
        return self.refuse()

    def refuse(self) -> NoReturn:
        raise Unsupported

    def chain(self, value: _Expr, names: Sequence[str]) -> _Expr:
        for at, name in enumerate(names):
            match value.kind:
                case "struct":
                    value = self.struct_field(value, name)
                case "tags" | "fields":
                    value = self.element(value, name, "None")
                case "str":
                    raise Unsupported
                case "time" | "duration":
                    value = self.plain_method(value, name)
                case _:
                    return _Expr(f"_chain({self.boxed(value)}, {self.constant(tuple(names[at:]))})", "any")
        return value

    def plain_method(self, value: _Expr, name: str) -> _Expr:
        """A method without arguments of a time or duration."""
        method = _RECEIVERS[value.kind].methods.get(name)
        if method is None or method.parameters or method.refused:
            raise Unsupported
        return _Expr(f"{self.constant(method.call)}({self.boxed(value)})", "some")

    def struct_field(self, value: _Expr, name: str) -> _Expr:
        assert value.type is not None
        type = value.type.promoted.get(name)
        if type is None:
            raise Unsupported
        if value.code == "d":
            code = self.load(name, f"d[{self.constant(name)}]")
        else:
            code = f"{value.code}[{self.constant(name)}]"
        if isinstance(type, StructType) and type is not TIME:
            return _Expr(code, "struct", type)
        return _Expr(code, _FIELD_KINDS[type])

    def element(self, table: _Expr, key: str, default: str) -> _Expr:
        """An element of Tags or Fields under a constant key; `default` is the code for one that is not there."""
        kind = "str" if table.kind == "tags" and default != "None" else "any"
        name = {"tags": "Tags", "fields": "Fields"}[table.kind]
        if self.loads.get(name, ("", ""))[0] != table.code:
            return _Expr(f"{table.code}.get({self.constant(key)}, {default})", kind)
        column = f"{name}.{key}"
        code = self.load(column, f"d[{self.constant(name)}].get({self.constant(key)})")
        return _Expr(code if kind == "any" else f"(_EMPTY if {code} is None else {code})", kind)

    def method(self, first: Field | Variable | Chain, argument: Node, dot: _Expr) -> _Expr:
        """A method of a time or duration with one argument of a type that is known."""
        *names, name = first.names
        inner: Node
        if isinstance(first, Chain):
            inner = Chain(first.pos, first.tree, first.node, names) if names else first.node
        elif isinstance(first, Variable):
            inner = Variable(first.pos, first.tree, names)
        else:
            inner = Field(first.pos, first.tree, names) if names else Dot(first.pos, first.tree)
        receiver = self.operand(inner, dot)
        found = _RECEIVERS.get(receiver.kind, ANY).methods.get(name)
        if found is None or len(found.parameters) != 1:
            raise Unsupported
        given = self.operand(argument, dot)
        if found.parameters[0] is STRING and given.kind == "str":
            code = given.code
        elif found.parameters[0] is DURATION and isinstance(argument, Number) and argument.as_int is not None:
            code = self.constant(Duration(argument.as_int))
        elif found.parameters[0] is DURATION and given.kind == "duration":
            code = self.boxed(given)
        else:
            raise Unsupported
        kind = "str" if name == "Format" else "some"
        return _Expr(f"{self.constant(found.call)}({self.boxed(receiver)}, {code})", kind)

    # --- functions

    def call(self, name: str, args: list[_Expr], final: _Expr | None = None) -> _Expr:
        function = self.functions.get(name)
        if name in ("and", "or"):
            return self.short_circuit(name, args, final)
        args = args if final is None else [*args, final]
        if function is None or not _count_fits(function, len(args)):
            raise Unsupported
        if function is not BUILTINS.get(name):
            return self.plain_call(name, function, args)
        if name in _COMPARE:
            return self.compare(name, args)
        match name:
            case "not":
                return _Expr(f"(not {self.truth(args[0])})", "bool")
            case "call":
                raise Unsupported
            case "slice" if any(arg.kind == "any" for arg in args[1:]):
                raise Unsupported  # Go tells numbers from numbers in an interface here
            case "len" if args[0].kind in ("tags", "fields"):
                return _Expr(f"_Int(len({args[0].code}))", "some")
            case "index":
                return self.index(args)
            case "printf":
                return self.printf(args)
            case "print" if len(args) == 1 and args[0].kind != "missing":
                return self.print_one(args[0])
        return self.plain_call(name, function, args)

    def short_circuit(self, name: str, args: list[_Expr], final: _Expr | None) -> _Expr:
        """`and` and `or`; what came down the pipeline is made before they decide."""
        codes = [f"({self.boxed(arg)})" for arg in args]
        if final is None:
            return _Expr(f"({f' {name} '.join(codes)})", "any") if codes else self.refuse()
        value = self.fresh("t")
        joined = f" {name} ".join([*codes, value])
        return _Expr(f"({value} := {self.boxed(final)}, {joined})[1]", "any")

    def plain_call(self, name: str, function: Function, args: list[_Expr]) -> _Expr:
        """A call of the interpreter's function with the arguments it would get."""
        fixed = (*function.fixed, *(function.rest,) * (len(args) - len(function.fixed)))
        codes = []
        for arg, type in zip(args, fixed):
            if type is STRING and arg.kind != "str":
                raise Unsupported
            codes.append(self.reflected(arg) if type is VALUE else self.boxed(arg))
        if name in DETAILS_FUNCTIONS and args[0].kind in ("struct", "tags", "fields"):
            parts = self.json(args[0]) + ([self.constant("\n")] if name == "json" else [])
            return _Expr(f"_join(({', '.join(parts)},))", "js")
        if name in _HTML_TEXT and len(args) == 1 and args[0].kind in ("str", "js"):
            return _Expr(f"_html({args[0].code})", "str")
        if name in _HTML_TEXT and len(args) == 1 and args[0].kind in ("any", "some"):
            value = self.fresh("t")
            slow = f"{self.constant(function.call)}({value})"
            return _Expr(f"(_html({value}) if type({value} := {args[0].code}) in _STRS else {slow})", "str")
        kind = "any" if name == "slice" else "str" if name in _TEXT_FUNCTIONS or name.startswith("_") else "some"
        if name in DETAILS_FUNCTIONS:
            kind = "some"
        return _Expr(f"{self.constant(function.call)}({', '.join(codes)})", kind)

    def json(self, value: _Expr) -> list[str]:
        """The JSON of a struct or map as expressions for its parts."""
        if value.kind != "struct":
            return [f"{_JSON[value.kind]}({value.code})"]
        assert value.type is not None
        parts, start = [], "{"
        for name in value.type.promoted:
            parts += [self.constant(f'{start}"{name}":'), *self.json(self.struct_field(value, name))]
            start = ","
        return [*parts, self.constant("}")]

    def print_one(self, arg: _Expr) -> _Expr:
        if arg.kind not in ("any", "some"):
            return _Expr(self.printed(arg), "str")
        name = self.fresh("t")
        return _Expr(f"({name} if type({name} := {arg.code}) is str else _sprint(({name},)))", "str")

    def index(self, args: list[_Expr]) -> _Expr:
        table, *keys = args
        if len(keys) == 1 and table.kind in ("tags", "fields") and keys[0].kind == "str":
            default = "_EMPTY" if table.kind == "tags" else "None"
            if isinstance(keys[0].constant, str):
                return self.element(table, keys[0].constant, default)
            kind = "str" if table.kind == "tags" else "any"
            return _Expr(f"{table.code}.get({keys[0].code}, {default})", kind)
        return _Expr(f"_index({', '.join(map(self.reflected, args))})", "any")

    def compare(self, name: str, args: list[_Expr]) -> _Expr:
        function = self.constant(self.functions[name].call)
        if len(args) == 2 or name == "eq":
            first, *others = args
            inline = self.inline_compare(name, first, others)
            if inline is not None:
                return _Expr(inline(function), "bool")
        return _Expr(f"{function}({', '.join(map(self.reflected, args))})", "bool")

    def inline_compare(self, name: str, first: _Expr, others: list[_Expr]) -> Callable[[str], str] | None:
        """Comparison by Python's operator, under a test of the type where that is not known."""
        if not others:
            return None
        constants = [other.constant for other in others]
        if not all(type(c) is type(constants[0]) and type(c) in (str, float, Int) for c in constants):
            all_text = first.kind == "str" and all(other.kind == "str" for other in others)
            if not all_text or name not in ("eq", "ne"):
                return None
            test = " or ".join(_COMPARE[name].format(a=first.code, b=other.code) for other in others)
            return lambda function: f"({test})"
        if type(constants[0]) is str and name not in ("eq", "ne"):
            return None
        if (first.kind == "str" and type(constants[0]) is not str) or first.kind not in ("str", "any", "some"):
            return None
        value = first.code if first.kind == "str" else self.fresh("t")
        test = " or ".join(f"({_COMPARE[name].format(a=value, b=other.code)})" for other in others)
        if first.kind == "str":
            return lambda function: f"({test})"
        wanted = {str: "is str", float: "is float"}.get(type(constants[0]), "in _INTS")
        guard = f"type({value} := {first.code}) {wanted}"
        rest = ", ".join(other.code for other in others)
        again = f"(INVALID if {value} is None else {value})"
        return lambda function: f"(({test}) if {guard} else {function}({again}, {rest}))"

    # --- printf

    def printf(self, args: list[_Expr]) -> _Expr:
        if not args or args[0].kind != "str":
            raise Unsupported
        format, operands = args[0].constant, args[1:]
        pieces = self.directives(format, operands) if isinstance(format, str) else None
        if pieces is None:
            if self.loops:
                raise Unsupported
            operands_code = "".join(f"{self.boxed(arg)}, " for arg in operands)
            return _Expr(f"_sprintf({args[0].code}, ({operands_code}))", "str")
        if len(pieces) == 1:
            return _Expr(pieces[0], "str")
        return _Expr("(" + " + ".join(pieces) + ")" if pieces else self.constant(""), "str")

    def directives(self, format: str, operands: list[_Expr]) -> list[str] | None:
        """The format's parts as expressions, if each directive is plain and takes one operand."""
        pieces, at, used = [], 0, 0
        while (percent := format.find("%", at)) >= 0:
            match = _DIRECTIVE.match(format, percent)
            if match is None:
                return None
            if percent > at:
                pieces.append(self.constant(format[at:percent]))
            at = match.end()
            if match["verb"] == "%":
                pieces.append(self.constant("%"))
            elif used >= len(operands):
                return None
            else:
                pieces.append(self.directive(match, operands[used]))
                used += 1
        if used != len(operands):
            return None
        if at < len(format):
            pieces.append(self.constant(format[at:]))
        return pieces

    def directive(self, match: re.Match[str], operand: _Expr) -> str:
        verb, spec = match["verb"], match.group()
        plain = spec == "%" + verb
        if plain and verb in "sv" and operand.kind == "str":
            return operand.code
        if operand.kind not in ("any", "some"):
            return f"_sprintf({self.constant(spec)}, ({self.boxed(operand)},))"
        value = self.fresh("t")
        slow = f"_sprintf({self.constant(spec)}, ({value},))"
        if plain and verb in "sv":
            return f"({value} if type({value} := {operand.code}) is str else {slow})"
        if verb in "fe":
            fast = f"{self.constant(spec)} % {value}"
            return f"({fast} if type({value} := {operand.code}) is float and {value} - {value} == 0.0 else {slow})"
        if verb == "d" and match["precision"] is None:
            return f"({self.constant(spec)} % {value} if type({value} := {operand.code}) in _INTS else {slow})"
        return f"_sprintf({self.constant(spec)}, ({operand.code},))"


_HTML_TEXT = frozenset({"_html_template_attrescaper", "_html_template_htmlescaper", "_html_template_rcdataescaper"})
_TEXT_FUNCTIONS = frozenset({"print", "println", "html", "js", "urlquery"})


def _count_fits(function: Function, count: int) -> bool:
    return count >= len(function.fixed) if function.rest is not None else count == len(function.fixed)
