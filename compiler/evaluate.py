"""Runs the statements of a script: variables, expressions, chains. What comes out is the pipeline.

The order in which things are looked at, and so the mistake that is found first, is that of Kapacitor's tick/eval.go.
After a mistake the evaluation goes on with what is left of the statement, to find the others: a value that could not be
had is UNKNOWN, and nothing is said of what is done with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tickc.compiler import syntax
from tickc.compiler.diagnostics import CODES, Diagnostic, Source, Span, TickError, did_you_mean, go_quote
from tickc.compiler.nodes.query import BatchSource
from tickc.compiler.nodes.stream import Stream
from tickc.compiler.nodes.udf import UDF
from tickc.compiler.pipeline import (
    DEEPEST,
    MAX_OPERANDS,
    NODES,
    STAR,
    TOO_LARGE,
    Duration,
    GlobalCall,
    GlobalFunction,
    LambdaValue,
    Node,
    Parameter,
    Pipeline,
    ReferenceValue,
    Refused,
    Regex,
    StarValue,
    Subject,
    TimeDimension,
    Unusable,
    Variable,
    bind,
    capitalised,
    chain_methods,
    go_type,
    label,
    unusable,
)
from tickc.runtime.builtins import EvalError
from tickc.runtime.expr import Binary, Call, Expr, Literal, Nested, Ref, Unary, check, deep_recursion
from tickc.runtime.kinds import Kind
from tickc.runtime.udf import NO_UDFS, UdfError, Udfs

T106, T107, T201, T202, T203, T204, T205, T206, T207, T305, T402 = (
    CODES[c] for c in ("T106", "T107", "T201", "T202", "T203", "T204", "T205", "T206", "T207", "T305", "T402")
)

MAX_MISTAKES = 20
MAX_TEXT = 1 << 20  # bytes of a string that a script puts together

# What Go's reflection takes for chain methods of any node though they are none.
_GO_METHODS = ("Desc", "ID", "Name", "SetName", "Parents", "Children", "Wants", "Provides", "IsQuiet")

_LINKS = {"|": "chaining method", ".": "property method", "@": "dynamic method"}


class _Unknown:
    """A value that could not be had because of a mistake that has been reported."""


UNKNOWN = _Unknown()


class _Enough(Exception):
    """So many mistakes were found that the rest of the script is not looked at."""


def evaluate(
    program: syntax.Program,
    source: Source,
    vars: Mapping[str, Any] | None = None,
    *,
    udfs: Udfs = NO_UDFS,
    template: bool = False,
) -> Pipeline:
    """The pipeline that a script makes; raises TickError with every mistake that was found, Kapacitor's first.

    vars: values for variables of the script in Kapacitor's JSON form: {"name": {"type": "int", "value": 3}, …}.
    udfs: the functions that `@name()` can call; those that are called are asked for their options, which may raise
    UdfError. template: whether the script is defined as a template, so that a variable without a value has the zero of
    its type.
    """
    with deep_recursion(DEEPEST):
        evaluation = _Evaluation(source, _source_node(program, source), vars or {}, udfs, template)
        evaluation.run(program)
    return evaluation.pipeline


def _source_node(program: syntax.Program, source: Source) -> Node:
    """The source that the script's chains begin at."""
    if not source.data:
        raise TickError([T305.at(None, "must provide TICKscript", positioned=False)], source)
    found = [(name, tree) for statement in program.statements if (tree := _root(statement)) for name in (tree.name,)]
    kinds = {name for name, _ in found if name in ("stream", "batch")}
    if len(kinds) != 1:
        hint = "begin a chain with `stream` or `batch`"
        span = None
        if kinds:
            first = next(name for name, _ in found if name in kinds)
            span = next(tree.span for name, tree in found if name in kinds and name != first)
            hint = "a script cannot use both `stream` and `batch`"
        raise TickError([T305.at(span, "invalid task type: invalid", hint=hint, positioned=False)], source)
    span = next(tree.span for name, tree in found if name in kinds)
    return (Stream if "stream" in kinds else BatchSource)(span=span, extent=span)


def _root(statement: syntax.Tree) -> syntax.Identifier | None:
    """The identifier that a statement's chain begins at (Kapacitor task_store/util.go)."""
    tree = statement
    if isinstance(tree, syntax.Declaration):
        tree = tree.value
    elif not isinstance(tree, syntax.Chain):
        return None
    while isinstance(tree, syntax.Chain):
        tree = tree.left
    return tree if isinstance(tree, syntax.Identifier) else None


# ------------------------------------------------------------------------------------------- variables from outside


_TYPES = ("int", "float", "bool", "string", "regex", "duration", "lambda", "list", "star")
_TYPE_LABELS = {
    float: "float", int: "int", str: "string", bool: "boolean", Regex: "regex", Duration: "duration",
    LambdaValue: "lambda", tuple: "list", StarValue: "star",
}  # fmt: skip
_ZEROS = {
    "int": 0, "float": 0.0, "bool": False, "string": "", "regex": Regex(""), "duration": Duration(0), "list": (),
    "star": STAR,
}  # fmt: skip
_UNITS = {
    "ns": 1, "u": 1_000, "µ": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
    "h": 3_600_000_000_000, "d": 86_400_000_000_000, "w": 604_800_000_000_000,
}  # fmt: skip
_DURATION = re.compile(r"[+-]?(?:\d+(?:ns|ms|[uµsmhdw]))+")
_PART = re.compile(r"(\d+)(ns|ms|[uµsmhdw])")


def _zero(kind: str) -> Any:
    """The zero of a type (Kapacitor tick/ast/types.go); a lambda is a new one each time, as it may be extended."""
    return LambdaValue(Unusable("<nil>")) if kind == "lambda" else _ZEROS[kind]


class _BadVar(Exception):
    pass


def _supplied(name: str, given: Any) -> tuple[str, Any]:
    """The type, as Kapacitor names it, and the value of a supplied variable."""
    if not isinstance(given, Mapping) or "type" not in given:
        raise _BadVar(f'invalid var {name}: expected {{"type": …, "value": …}}')
    kind, value = given["type"], given.get("value")
    if kind not in _TYPES:
        raise _BadVar(f"unknown VarType {kind}")
    return ("boolean" if kind == "bool" else kind), _VALUES[kind](name, value)


def _expect(what: str, *types: type) -> Any:
    def read(name: str, value: Any) -> Any:
        if type(value) not in types:
            raise _BadVar(f"invalid var {name}: expected {what} value")
        return value

    return read


def _read_int(name: str, value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _BadVar(f"invalid var {name}: expected int value")
    return value


def _read_float(name: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise _BadVar(f"invalid var {name}: expected float value")
    return float(value)


def _read_duration(name: str, value: Any) -> Duration:
    if isinstance(value, str):
        if not _DURATION.fullmatch(value):
            raise _BadVar(f"invalid duration string for var {name}: invalid duration {go_quote(value)}")
        total = sum(int(n) * _UNITS[unit] for n, unit in _PART.findall(value))
        value = -total if value[0] == "-" else total
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise _BadVar(f"invalid var {name}: expected int or string value")
    return Duration(value)


def _read_regex(name: str, value: Any) -> Regex:
    from tickc.runtime.regex import compile_regex

    pattern = _expect("string", str)(name, value)
    try:
        compile_regex(pattern)
    except ValueError as error:
        raise _BadVar(f"invalid var {name}: invalid regex pattern: {error}") from None
    return Regex(pattern)


def _read_lambda(name: str, value: Any) -> LambdaValue:
    text = _expect("string", str)(name, value)
    try:
        program = syntax.parse(Source(f"var {name} = lambda:\n{text}"))
    except TickError as error:
        message = re.sub(r"line (\d+) char", _line_above, error.diagnostics[0].message, count=1)
        raise _BadVar(f"invalid var {name}: invalid lambda expression: {message}") from None
    match program.statements:
        case (syntax.Declaration(value=syntax.Lambda(body=body)),):
            return LambdaValue.of(_Expressions(lambda tree: Unusable("*ast.IdentifierNode")).convert(body))
    raise _BadVar(f"invalid var {name}: invalid lambda expression")


def _line_above(place: re.Match[str]) -> str:
    return f"line {int(place[1]) - 1} char"


def _read_list(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _BadVar(f"invalid var {name}: expected list of vars")
    for item in value:  # Kapacitor converts no numbers in lists
        if isinstance(item, Mapping) and item.get("type") in ("int", "float", "duration", "list"):
            raise _BadVar(f"invalid var {name}: a list cannot hold a value of type {item['type']}")
    return tuple(_supplied(name, item)[1] for item in value)


_VALUES: dict[str, Any] = {
    "int": _read_int,
    "float": _read_float,
    "bool": _expect("bool", bool),
    "string": _expect("string", str),
    "regex": _read_regex,
    "duration": _read_duration,
    "lambda": _read_lambda,
    "list": _read_list,
    "star": lambda name, value: STAR,
}


# -------------------------------------------------------------------------------------------------------- expressions


class _Expressions:
    """From the tree of an expression to that of the runtime; `resolve` gives what stands for an identifier."""

    def __init__(self, resolve: Any) -> None:
        self.resolve = resolve

    def convert(self, tree: syntax.Tree) -> Expr:
        spine: list[syntax.Binary] = []
        while isinstance(tree, syntax.Binary):  # long chains of operators lean to the left
            spine.append(tree)
            tree = tree.left
        left = self._operand(tree)
        for binary in reversed(spine):
            left = Binary(binary.op, left, self.convert(binary.right))
        return left

    def _operand(self, tree: syntax.Tree) -> Expr:
        match tree:
            case syntax.Number(value=value):
                return Literal(Kind.INT if isinstance(value, int) else Kind.FLOAT, value)
            case syntax.String(value=text):
                return Literal(Kind.STRING, text)
            case syntax.Boolean(value=truth):
                return Literal(Kind.BOOL, truth)
            case syntax.DurationLiteral(value=ns):
                return Literal(Kind.DURATION, ns)
            case syntax.RegexLiteral(pattern=pattern):
                return Literal(Kind.REGEX, pattern)
            case syntax.Reference(name=name):
                return Ref(name)
            case syntax.Unary(op=op, operand=operand):
                return Unary(op, self.convert(operand))
            case syntax.Call(name=name, args=args):
                return Call(name, tuple(self.convert(a) for a in args))
            case syntax.Identifier():
                return self.resolve(tree)
        return Unusable("*ast.StarNode")


def _literal(value: Any) -> Expr:
    """The value of a variable as an expression; ValueError with the Go type of what cannot be one."""
    match value:
        case bool():
            return Literal(Kind.BOOL, value)
        case Duration():
            return Literal(Kind.DURATION, int(value))
        case int():
            return Literal(Kind.INT, value)
        case float():
            return Literal(Kind.FLOAT, value)
        case str():
            return Literal(Kind.STRING, value)
        case Regex(pattern=pattern):
            return Literal(Kind.REGEX, pattern)
        case LambdaValue(expr=expr):
            return Nested(expr)
        case StarValue():
            return Unusable("*ast.StarNode")
        case tuple():
            for item in value:
                _literal(item)
            return Unusable("*ast.ListNode")
    raise ValueError(go_type(value))


def _constant(expr: Expr) -> Any:
    """The value of an expression without references; EvalError with Kapacitor's text."""
    import numpy as np

    from tickc.runtime.expr import Frame, Lambda

    run = Lambda(expr)
    outcome = run(Frame(1, {}, np.zeros(1, np.int64)))
    if outcome.error is not None and outcome.error[0]:
        raise EvalError(next(iter(run.problems), "the expression cannot be evaluated"))
    kind = outcome.column.kinds
    assert isinstance(kind, Kind)
    data = outcome.column.data[kind]
    value = data.at(0) if kind is Kind.STRING else data[0].item()
    return Duration(value) if kind is Kind.DURATION else value


# --------------------------------------------------------------------------------------------------------- statements


class _Evaluation:
    def __init__(self, source: Source, root: Node, vars: Mapping[str, Any], udfs: Udfs, template: bool) -> None:
        self.source = source
        self.udfs = udfs
        self.template = template
        self.pipeline = Pipeline(source)
        self.pipeline.add_source(root)
        self.scope: dict[str, Any] = {"time": _TIME, root.tick: root}
        self.mistakes: list[Diagnostic] = []
        self.unknown_operands = 0
        self.vars: dict[str, tuple[str, Any]] = {}
        self.lists: dict[int, tuple[int, Any]] = {}  # how many items lists have in all, by identity; and the lists
        self.spliced: dict[int, LambdaValue] = {}  # lambdas of variables in the expression at hand, by their trees
        for name, given in vars.items():
            try:
                self.vars[name] = _supplied(name, given)
            except _BadVar as bad:
                self.mistakes.append(T206.at(None, str(bad), positioned=False))
        if self.mistakes:
            raise TickError(self.mistakes, source)

    def run(self, program: syntax.Program) -> None:
        try:
            for statement in program.statements:
                self.statement(statement)
        except _Enough:
            pass
        problems = self.mistakes or self.pipeline.check()
        if problems:
            raise TickError(problems[:MAX_MISTAKES], self.source)

    def fail(self, diagnostic: Diagnostic) -> _Unknown:
        self.mistakes.append(diagnostic)
        if len(self.mistakes) >= MAX_MISTAKES or diagnostic.code in (T106, T107):
            raise _Enough
        return UNKNOWN

    def statement(self, tree: syntax.Tree) -> None:
        match tree:
            case syntax.Declaration():
                self.declaration(tree)
            case syntax.TypeDeclaration():
                self.type_declaration(tree)
            case syntax.DbRp(database=database, retention_policy=policy):
                self.pipeline.dbrps += ((database, policy),)
            case syntax.Identifier():
                pass  # Kapacitor does not look it up either
            case _:
                self.called(self.value(tree))

    def declaration(self, tree: syntax.Declaration) -> None:
        name = tree.name
        value = self.unresolved(tree.value)
        if name in self.scope:
            message = f"attempted to redefine {name}, vars are immutable"
            self.fail(T202.at(tree.name_span, message, hint="give it another name", positioned=False))
            return
        if isinstance(value, syntax.Identifier):
            value = self.lookup(value)
        if value is not UNKNOWN:
            value = self.override(tree, _TYPE_LABELS.get(type(value), "invalid type"), value)
        self.scope[name] = value

    def override(self, tree: syntax.Declaration, kind: str, value: Any) -> Any:
        if kind != "invalid type":
            self.pipeline.variables[tree.name] = Variable(kind, value, _description(tree))
        if tree.name not in self.vars:
            return value
        supplied, new = self.vars[tree.name]
        if supplied != kind:
            message = f"invalid type supplied for {tree.name}, got {supplied} exp {kind}"
            return self.fail(T206.at(tree.name_span, message, positioned=False))
        return new

    def type_declaration(self, tree: syntax.TypeDeclaration) -> None:
        name = tree.name
        if tree.type not in _TYPES:
            message = f"invalid var type {go_quote(tree.type)}"
            hint = did_you_mean(tree.type, _TYPES) or f"the types are {', '.join(_TYPES)}"
            self.scope[name] = self.fail(T204.at(tree.type_span, message, hint=hint, positioned=False))
            return
        kind = "boolean" if tree.type == "bool" else tree.type
        self.pipeline.variables[name] = Variable(kind, None, _description(tree))
        if name not in self.vars and self.template:
            self.scope[name] = _zero(tree.type)
            return
        if name not in self.vars:
            message = f'missing value for var "{name}".'
            hint = f"supply a value of type {tree.type}, or write var {name} = …"
            self.scope[name] = self.fail(T206.at(tree.name_span, message, hint=hint, positioned=False))
            return
        supplied, value = self.vars[name]
        if supplied != kind:
            message = f"invalid type supplied for {name}, got {supplied} exp {kind}"
            value = self.fail(T206.at(tree.name_span, message, positioned=False))
        self.scope[name] = value

    # -- values

    def value(self, tree: syntax.Tree) -> Any:
        """The value of an expression; UNKNOWN where it has none."""
        found = self.unresolved(tree)
        return self.lookup(found) if isinstance(found, syntax.Identifier) else found

    def unresolved(self, tree: syntax.Tree) -> Any:
        """The same, but an identifier is left to be looked up later, as Kapacitor does."""
        match tree:
            case syntax.Number(value=value) | syntax.Boolean(value=value) | syntax.String(value=value):
                return value
            case syntax.DurationLiteral(value=ns):
                return Duration(ns)
            case syntax.RegexLiteral(pattern=pattern):
                return Regex(pattern)
            case syntax.Star():
                return STAR
            case syntax.Reference(name=name):
                return ReferenceValue(name)
            case syntax.Identifier():
                return tree
            case syntax.ListLiteral(items=items):
                return self.list_value(tree, tuple(self.value(item) for item in items))
            case syntax.Lambda(body=body):
                return self.expression(body) or UNKNOWN
            case syntax.Unary():
                return self.unary(tree)
            case syntax.Binary():
                return self.binary(tree)
            case syntax.Call(name=name, args=args):
                return self.global_call(tree, args)
            case syntax.Chain():
                return self.chain(tree)
        raise AssertionError(tree)

    def list_value(self, tree: syntax.Tree, items: tuple[Any, ...]) -> Any:
        """A list; lists of variables in it count as often as they stand there."""
        if any(item is UNKNOWN for item in items):
            return UNKNOWN
        size = 1 + sum(self.lists.get(id(item), (1, ()))[0] for item in items)
        if size > MAX_OPERANDS:
            return self.fail(T106.at(tree.span, f"a list may have {MAX_OPERANDS:,} items", positioned=False))
        self.lists[id(items)] = size, items
        return items

    def lookup(self, tree: syntax.Identifier) -> Any:
        if tree.name in self.scope:
            return self.scope[tree.name]
        hint = did_you_mean(tree.name, self.scope)
        if tree.name in ("stream", "batch"):
            hint = "a script cannot use both `stream` and `batch`"
        message = f"name {go_quote(tree.name)} is undefined. Names in scope: {','.join(self.scope)}"
        return self.fail(T201.at(tree.span, message, hint=hint, positioned=False))

    def unary(self, tree: syntax.Unary) -> Any:
        value = self.value(tree.operand)
        if value is UNKNOWN:
            return value
        if tree.op == "!" and isinstance(value, bool):
            return not value
        if tree.op == "-" and type(value) in (int, float, Duration):
            return type(value)(-value if isinstance(value, float) else _wrap(-value))
        wanted = "an int, a float or a duration" if tree.op == "-" else "a bool"
        message = f"invalid arugument to '{tree.op}' {_go_text(value)}"
        return self.fail(T204.at(tree.span, message, note=f"takes {wanted}, and this is {label(value)}"))

    def binary(self, tree: syntax.Binary) -> Any:
        found = self.expression(tree)
        if found is None:
            return UNKNOWN
        expr = found.expr
        try:
            if text := unusable(expr):
                raise EvalError(text)
            check(expr)
            if names := expr.references():
                raise EvalError(f"name {go_quote(names[0])} is undefined. Names in scope: ")
            value = _constant(expr)
        except EvalError as error:
            hint = None
            if expr.references():
                hint = "write text in single quotes; fields and tags have values only inside of `lambda:`"
            return self.fail(T207.at(syntax.extent(tree), str(error), hint=hint, positioned=False))
        if isinstance(value, str) and len(value) > MAX_TEXT:
            return self.fail(T207.at(syntax.extent(tree), f"a string may have {MAX_TEXT:,} bytes", positioned=False))
        return value

    def expression(self, tree: syntax.Tree) -> LambdaValue | None:
        """A lambda's body, or an expression over variables, as a lambda; None where it has a mistake."""
        unresolved = len(self.mistakes), self.unknown_operands
        self.spliced = {}
        expr = _Expressions(self.operand).convert(tree)
        if (len(self.mistakes), self.unknown_operands) != unresolved:
            return None
        value = LambdaValue.of(expr, self.spliced)
        if value.too_large:
            self.fail(T106.at(syntax.extent(tree), TOO_LARGE, positioned=False))
            return None
        return value

    def operand(self, tree: syntax.Identifier) -> Expr:
        """What stands for an identifier in an expression."""
        value = self.lookup(tree)
        if value is UNKNOWN:
            self.unknown_operands += 1
            return Unusable("")
        if isinstance(value, LambdaValue):
            self.spliced[id(value.expr)] = value
        try:
            return _literal(value)
        except ValueError as error:
            note = f"this is {label(value)}"
            self.fail(T204.at(tree.span, f"unsupported literal type {error}", note=note, positioned=False))
            return Unusable("")

    # -- functions of the global scope

    def arguments(self, trees: tuple[syntax.Tree, ...]) -> tuple[Any, ...]:
        """Arguments with identifiers looked up, or global functions called (not those in variables); a lone list is
        spread."""
        values = [self.unresolved(tree) for tree in trees]
        found = tuple(self.lookup(v) if isinstance(v, syntax.Identifier) else self.called(v) for v in values)
        return found[0] if len(found) == 1 and isinstance(found[0], tuple) else found

    def global_call(self, tree: syntax.Call, args: tuple[syntax.Tree, ...]) -> Any:
        found = self.arguments(args)
        return UNKNOWN if any(v is UNKNOWN for v in found) else GlobalCall(tree.name, found, tree.name_span)

    def called(self, value: Any) -> Any:
        """The value, or what the call gives where it is one of a global function."""
        if not isinstance(value, GlobalCall):
            return value
        name, span = value.name, value.span
        function = self.scope.get(name)
        if function is UNKNOWN:
            return UNKNOWN
        if function is None:
            hint = did_you_mean(name, ["time"]) or _suggest_chain(name)
            return self.fail(T203.at(span, f"no global function {go_quote(name)} defined", hint=hint))
        try:
            if not isinstance(function, GlobalFunction):
                kind = go_kind(function)
                raise Refused(f"reflect: call of reflect.Value.Call on {kind} Value", T203, note="this is no function")
            bound = bind(function.params, value.args)
            return function.apply(**bound)
        except Refused as refused:
            return self.refused(refused, name, span, "<nil>")

    # -- chains

    def chain(self, tree: syntax.Chain) -> Any:
        links: list[syntax.Chain] = []
        base: syntax.Tree = tree
        while isinstance(base, syntax.Chain):
            links.append(base)
            base = base.left
        obj = self.unresolved(base)
        for link in reversed(links):
            obj = self.link(obj, link)
        return obj

    def link(self, left: Any, link: syntax.Chain) -> Any:
        """What `left link right` gives."""
        right = link.right
        args = self.arguments(right.args) if isinstance(right, syntax.Call) else ()
        obj = self.lookup(left) if isinstance(left, syntax.Identifier) else left
        if obj is UNKNOWN:
            return obj
        if isinstance(right, syntax.Identifier):
            return self.read(obj, link, right)
        if not isinstance(obj, Subject):
            return self.no_subject(obj, right.name_span, right.name)
        return self.call(obj, link, right, args)

    def call(self, obj: Subject, link: syntax.Chain, right: syntax.Call, args: tuple[Any, ...]) -> Any:
        name, span = right.name, right.name_span
        found = obj.find(name)
        child = chain_methods(obj.node).get(capitalised(name))
        lacking = any(a is UNKNOWN for a in args)
        try:
            if link.link == "@" and name in self.udfs:
                return UNKNOWN if lacking else self.extended(self.udf(obj.node, name, span), link)
            if link.link == "|" and child is not None:
                obj.node.check_reachable(name)
                return UNKNOWN if lacking else self.extended(child.chained(obj.node, args, span), link)
            if link.link == "." and found is not None:
                owner, declared = found
                return obj if lacking else self.extended(declared.set(owner, obj, args), link)
        except Refused as refused:
            self.refused(refused, name, span, obj.go)
            return obj if link.link == "." else UNKNOWN
        self.fail(self.misnamed(obj, link, right, found is not None, child))
        if child is None:
            return obj if found or link.link == "." else UNKNOWN
        try:  # go on with the node that was probably meant
            return UNKNOWN if lacking else child.chained(obj.node, args, span)
        except Refused:
            return UNKNOWN

    def udf(self, parent: Node, name: str, span: Span) -> Subject:
        try:
            return UDF.called(parent, name, self.udfs[name].info(), span)
        except UdfError as error:
            raise UdfError(f"failed to load process info for {go_quote(name)}: {error}", error.hint) from error

    def extended(self, made: Subject, link: syntax.Chain) -> Subject:
        """The object that a link gives back, whose node now covers the link as well."""
        node = made.node
        if link.link != ".":
            node.extent = link.span
        elif node.extent.stop <= link.span.start:
            between = self.source.data[node.extent.stop : link.span.start]
            if not between.strip() or b"//" in between:
                node.extent = Span(node.extent.start, link.span.stop)
        return made

    def refused(self, refused: Refused, name: str, span: Span, obj: str) -> _Unknown:
        """Report that a call was refused, in Kapacitor's words."""
        message = refused.message
        if refused.panics:
            message = f"error calling func {go_quote(name)} on obj {obj}: {message}"
            if "*ast.ReferenceNode" in message and "type string" in message:
                message = (
                    "cannot assign *ast.ReferenceNode to type string, "
                    "did you use double quotes instead of single quotes?"
                )
        return self.fail(refused.code.at(span, message, hint=refused.hint or None, note=refused.note or None))

    def misnamed(
        self, obj: Subject, link: syntax.Chain, right: syntax.Call, is_property: bool, child: type[Node] | None
    ) -> Diagnostic:
        """Nothing by that name follows here; where another operator would do, say so."""
        name = right.name
        go_method = capitalised(name) in _GO_METHODS
        for operator, what, exists in (
            (".", "property", is_property),
            ("|", "chaining method", child is not None or go_method),
            ("@", "dynamic method", name in self.udfs),
        ):
            if exists and operator != link.link:
                message = (
                    f"no {_LINKS[link.link]} {go_quote(name)} on {obj.go}, but {what} does exist. "
                    f"Use '{operator}' operator instead: 'node{operator}{name}(..)'."
                )
                hint = None if go_method else f"write {operator}{name}(…)"
                return T203.at(right.name_span, message, hint=hint)
        if link.link == "@":
            hint = did_you_mean(name, self.udfs) or _declared(self.udfs)
        else:
            hint = _suggest(obj, name)
        return T203.at(right.name_span, f"no method or property {go_quote(name)} on {obj.go}", hint=hint or None)

    def no_subject(self, obj: Any, span: Span, name: str) -> _Unknown:
        """Something that has no methods or properties stands before a link."""
        note = f"what stands before is {label(obj)}, not a node"
        if go_kind(obj) == "ptr":
            return self.fail(T203.at(span, f"no method or property {go_quote(name)} on {go_type(obj)}", note=note))
        return self.fail(T203.at(span, "cannot get properties of non pointer value", note=note))

    def read(self, obj: Any, link: syntax.Chain, right: syntax.Identifier) -> Any:
        """`obj.name`: the value of a property."""
        name = right.name
        if not isinstance(obj, Subject):
            if go_kind(obj) == "ptr":
                return self.fail(T203.at(link.span, f"object {go_type(obj)} has no property {name}"))
            return self.fail(T203.at(link.span, "cannot get properties of non pointer value"))
        found = obj.find(name)
        if found is None:
            hint = did_you_mean(name, obj.property_names())
            return self.fail(T203.at(link.span, f"object {obj.go} has no property {name}", hint=hint))
        owner, declared = found
        if declared.method is not None:
            hint = f"write .{name}()" if not declared.params else f"write .{name}(…) to set it"
            return self.fail(T402.at(right.span, f"the property {go_quote(name)} cannot be read", hint=hint))
        value = getattr(owner, declared.field)
        return LambdaValue(Unusable("<nil>")) if value is None else value


def _declared(udfs: Udfs) -> str:
    """Which user-defined functions there are."""
    if udfs:
        return f"the user-defined functions are {', '.join(sorted(udfs))}"
    return "no user-defined functions are declared; name the file that does: --config tickc.toml"


def _suggest(obj: Subject, name: str) -> str:
    """What may have been meant by a name that nothing has."""
    chained = [cls.tick for cls in chain_methods(obj.node).values()]
    if near := did_you_mean(name, [*obj.property_names(), *chained]):
        return near
    owners = [cls.tick for cls in NODES.values() if capitalised(name) in cls.properties]
    if owners:
        return f"`{name}` is a property of {', '.join(sorted(owners)[:4])}"
    return _suggest_chain(name)


def _suggest_chain(name: str) -> str:
    if name in NODES:
        return f"`{name}` can follow {', '.join(p for p in NODES[name].parents_of if p.isalpha()) or 'a node'}"
    return did_you_mean(name, NODES) or ""


def _description(tree: syntax.Tree) -> str:
    return "\n".join(tree.comment.lines) if tree.comment is not None else ""


def _wrap(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _go_text(value: Any) -> str:
    """A value as Go's %v prints it, as far as that is the same every time."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case tuple():
            return f"[{' '.join(_go_text(v) for v in value)}]"
        case Regex(pattern=pattern):
            return pattern
        case ReferenceValue(name=name):
            return f'"{name}"'
    return go_type(value)


def go_kind(value: Any) -> str:
    """Go's reflect.Kind of a value."""
    kinds = {bool: "bool", int: "int64", float: "float64", str: "string", Duration: "int64", tuple: "slice"}
    if isinstance(value, (GlobalCall, GlobalFunction)):
        return "func"
    return kinds.get(type(value), "struct" if isinstance(value, TimeDimension) else "ptr")


def _group_by_time(length: int, offset: tuple[int, ...]) -> TimeDimension:
    if len(offset) > 1:
        raise Refused(f"time() function expects 1 or 2 args, got {len(offset) + 1}", T205, panics=False)
    return TimeDimension(length, *offset)


_TIME = GlobalFunction(
    (Parameter("length", Duration), Parameter("offset", Duration, variadic=True)),
    _group_by_time,
    "func(time.Duration, ...time.Duration) (kapacitor.TimeDimension, error)",
)
