"""Types of fields, and what wildcards, regexes and names without a type stand for (influxql.RewriteFields)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tickc.runtime.influxql.compile import walk
from tickc.runtime.influxql.reduce import QueryRefused
from tickc.runtime.influxql.text import text
from tickc.runtime.influxql.tree import (
    Binary,
    Call,
    Dimension,
    Expr,
    Field,
    Lit,
    Measurement,
    Paren,
    Ref,
    Regex,
    Select,
    Wildcard,
)
from tickc.runtime.regex import compile_regex

UNKNOWN, TAG = "", "tag"
PRECEDENCE = {"float": 0, "integer": 1, "string": 2, "boolean": 3, TAG: 4, "field": 5, UNKNOWN: 6}
NUMBERS = ("float", "integer")
OF_FLOATS = frozenset(
    """
    mean median integral stddev derivative non_negative_derivative moving_average exponential_moving_average
    double_exponential_moving_average triple_exponential_moving_average relative_strength_index
    triple_exponential_derivative kaufmans_efficiency_ratio kaufmans_adaptive_moving_average chande_momentum_oscillator
    holt_winters holt_winters_with_fit
    """.split()  # noqa: SIM905
)
OF_ANY = frozenset(("count", "first", "last", "distinct", "elapsed", "mode", "sample"))  # what their wildcards take
OF_BOOLS = frozenset(("min", "max"))


def stronger(one: str, other: str) -> str:
    """Which of two types a name has that has both."""
    return other if PRECEDENCE[other] < PRECEDENCE[one] else one


@dataclass(frozen=True)
class Schema:
    """What is known of the measurements that a query reads: for each its fields with their types, and its tags."""

    fields: dict[Measurement, dict[str, str]] = field(default_factory=dict)
    tags: dict[Measurement, frozenset[str]] = field(default_factory=dict)

    @property
    def key(self) -> object:
        """Equal where schemas are."""
        fields = tuple((m, tuple(sorted(f.items()))) for m, f in self.fields.items())
        return fields, tuple((m, tuple(sorted(t))) for m, t in self.tags.items())

    def type_of(self, measurement: Measurement, name: str) -> str:
        found = self.fields.get(measurement, {}).get(name, UNKNOWN)
        if found == UNKNOWN and name in self.tags.get(measurement, ()):
            return TAG
        return found


def typed(select: Select, schema: Schema) -> Select:
    """`select` with a type for each name, and columns and dimensions in place of wildcards and regexes.

    Raises QueryRefused where types do not go together.
    """
    select = _rewritten(select, schema)
    for f in select.fields:
        type_of(f.expr, (), schema)
    return select


def _rewritten(select: Select, schema: Schema) -> Select:
    sources = tuple(_rewritten(s, schema) if isinstance(s, Select) else s for s in select.sources)

    def retyped(ref: Ref) -> Ref:
        if ref.type not in (UNKNOWN, "field"):
            return ref
        found = type_of(Ref(ref.name), sources, schema)
        return ref if found == TAG and ref.type == "field" else Ref(ref.name, found)

    select = replace(
        select,
        sources=sources,
        fields=tuple(replace(f, expr=mapped(f.expr, retyped)) for f in select.fields),
        where=None if select.where is None else mapped(select.where, retyped),
    )
    return _without_wildcards(select, schema)


def mapped(expr: Expr, change: Callable[[Ref], Expr]) -> Expr:
    """`expr` with each name changed."""
    match expr:
        case Ref():
            return change(expr)
        case Binary(op=op, left=left, right=right):
            return Binary(op, mapped(left, change), mapped(right, change))
        case Paren(expr=inner):
            return Paren(mapped(inner, change))
        case Call(name=name, args=args):
            return Call(name, tuple(mapped(arg, change) for arg in args))
    return expr


def type_of(expr: Expr, sources: Sequence[Measurement | Select], schema: Schema) -> str:
    """The type of an expression over sources (TypeValuerEval); raises QueryRefused where types do not go together."""
    match expr:
        case Ref(name=name, type=given):
            return given if given not in (UNKNOWN, "field") else _type_of_name(name, sources, schema)
        case Call(name=name, args=args):
            return call_type(name, [type_of(arg, sources, schema) for arg in args])
        case Binary():
            return _type_of_binary(expr, sources, schema)
        case Paren(expr=inner):
            return type_of(inner, sources, schema)
        case Lit(value=value):
            return {bool: "boolean", int: "integer", float: "float", str: "string"}[type(value)]
    return UNKNOWN


def call_type(name: str, args: Sequence[str]) -> str:
    if name in OF_FLOATS:
        return "float"
    if name in ("count", "elapsed"):
        return "integer"
    return args[0] if args else UNKNOWN


def _type_of_name(name: str, sources: Sequence[Measurement | Select], schema: Schema) -> str:
    found = UNKNOWN
    for source in sources:
        if isinstance(source, Measurement):
            found = stronger(found, schema.type_of(source, name))
            continue
        expr = column_named(source, name)
        if expr is not None:
            found = stronger(found, type_of(expr, source.sources, schema))
        if found == UNKNOWN and name in source.dimensions:
            found = TAG
    return found


def column_named(select: Select, name: str) -> Expr | None:
    """The column of that name, or the argument of top or bottom."""
    for f in select.fields:
        if name_of(f) == name:
            return f.expr
        for arg in picked_with(f.expr):
            if arg.name == name:
                return arg
    return None


def picked_with(expr: Expr) -> tuple[Ref, ...]:
    """The names that top and bottom give beside their field: a column each."""
    match expr:
        case Call(name="top" | "bottom", args=args):
            return tuple(arg for arg in args[1:-1] if isinstance(arg, Ref))
    return ()


def _type_of_binary(expr: Binary, sources: Sequence[Measurement | Select], schema: Schema) -> str:
    one, other = type_of(expr.left, sources, schema), type_of(expr.right, sources, schema)
    if UNKNOWN in (one, other):
        return other if one == UNKNOWN else one
    if expr.op in ("+", "-", "*", "/", "%") and one in NUMBERS and other in NUMBERS:
        return stronger(one, other)
    if expr.op in ("&", "|", "^") and (one == "boolean" or one == other == "integer"):
        return one
    raise QueryRefused(f"type error: {text(expr)}: incompatible types: {one} and {other}")


# Wildcards


def has_wildcard(select: Select) -> bool:
    """Whether columns or dimensions hang on the schema."""
    return any(_is_pattern(e) for f in select.fields for e in walk(f.expr)) or any(map(_is_pattern, select.dimensions))


def _is_pattern(part: Dimension | Expr) -> bool:
    return isinstance(part, (Wildcard, Regex))


def _without_wildcards(select: Select, schema: Schema) -> Select:
    if not has_wildcard(select):
        return select
    fields, tags = _columns(select.sources, schema)
    dimensions = select.dimensions
    by_pattern = any(map(_is_pattern, dimensions))
    if by_pattern:
        expanded = (_dimensions(d, sorted(tags)) for d in dimensions)
        dimensions = tuple(d for some in expanded for d in some)
    refs = [Ref(name, type) for name, type in fields.items()]
    if fields and not by_pattern:
        refs += [Ref(name, TAG) for name in tags - set(map(dimension_name, select.dimensions))]
    refs.sort(key=lambda ref: (ref.name, PRECEDENCE[ref.type]))
    columns = (_expanded(f, refs) for f in select.fields)
    return replace(select, fields=tuple(c for some in columns for c in some), dimensions=dimensions)


def _columns(sources: Iterable[Measurement | Select], schema: Schema) -> tuple[dict[str, str], set[str]]:
    """The fields of sources with their types, and their tags."""
    fields: dict[str, str] = {}
    tags: set[str] = set()
    for source in sources:
        if isinstance(source, Measurement):
            found = dict(schema.fields.get(source, {}))
            tags |= schema.tags.get(source, frozenset())
        else:
            found = {name_of(f): type_of(f.expr, source.sources, schema) for f in source.fields}
            tags |= {d for d in map(dimension_name, source.dimensions) if d}
        for name, kind in found.items():
            fields[name] = stronger(fields.get(name, UNKNOWN), kind)
    return fields, tags


def dimension_name(dimension: Dimension) -> str:
    """The tag that a dimension is, or ""."""
    match dimension:
        case str():
            return dimension
        case Ref(name=name):
            return name
    return ""


def _dimensions(dimension: Dimension, tags: Sequence[str]) -> Iterable[Dimension]:
    match dimension:
        case Wildcard():
            return tags
        case Regex(pattern=pattern):
            regex = compile_regex(pattern)
            return [tag for tag in tags if regex.search(tag)]
    return (dimension,)


def _expanded(column: Field, refs: Sequence[Ref]) -> list[Field]:
    match column.expr:
        case Wildcard(type=kind):
            wanted = [r for r in refs if not kind or (r.type == TAG) == (kind == "tag")]
            return [Field(ref) for ref in wanted]
        case Regex(pattern=pattern):
            regex = compile_regex(pattern)
            return [Field(ref) for ref in refs if regex.search(ref.name)]
        case Call():
            return _expanded_call(column, column.expr, refs)
        case Binary() as expr if any(map(_is_pattern, walk(expr))):
            kind = "regex field" if any(isinstance(e, Regex) for e in walk(expr)) else "wildcard"
            raise QueryRefused(f"unsupported expression with {kind}: {text(expr)}")
    return [column]


def _expanded_call(column: Field, call: Call, refs: Sequence[Ref]) -> list[Field]:
    """A call on a wildcard, or around such a call: one for each field of a type that it takes."""
    around = [call]
    while around[-1].args and isinstance(around[-1].args[0], Call):
        around.append(around[-1].args[0])
    inner = around[-1]
    if not inner.args or not _is_pattern(inner.args[0]):
        return [column]
    match inner.args[0]:
        case Wildcard(type="tag"):
            raise QueryRefused(f"unable to use tag wildcard in {inner.name}()")
        case Regex(pattern=pattern):
            matches: Callable[[str], bool] | None = compile_regex(pattern).search
        case _:
            matches = None
    types = {*NUMBERS}
    if inner.name in OF_ANY:
        types |= {"string", "boolean"}
    elif inner.name in OF_BOOLS:
        types.add("boolean")
    fields = []
    for ref in refs:
        if ref.type in types and (matches is None or matches(ref.name)):
            expr: Call = replace(inner, args=(ref, *inner.args[1:]))
            for outer in reversed(around[:-1]):
                expr = replace(outer, args=(expr, *outer.args[1:]))
            fields.append(Field(expr, f"{name_of(column)}_{ref.name}"))
    return fields


# Names of columns


def name_of(column: Field) -> str:
    """What a column is called before clashes are resolved."""
    if column.alias:
        return column.alias
    expr = column.expr
    while isinstance(expr, Paren):
        expr = expr.expr
    match expr:
        case Call(name=name) | Ref(name=name):
            return name
        case Binary():
            return "_".join(_names_in(expr))
    return ""


def _names_in(expr: Expr) -> Iterable[str]:
    match expr:
        case Call(name=name) | Ref(name=name):
            yield name
        case Paren(expr=inner):
            yield from _names_in(inner)
        case Binary(left=left, right=right):
            yield from _names_in(left)
            yield from _names_in(right)


def column_names(select: Select) -> list[str]:
    """The names of the columns of an answer, without that of time; repeated ones get a number."""
    columns = [c for f in select.fields for c in (f, *map(Field, picked_with(f.expr)))]
    names = [c.alias for c in columns]
    taken = {alias: 1 for alias in names if alias}
    for i, column in enumerate(columns):
        if names[i]:
            continue
        name = name_of(column)
        count = taken.get(name)
        if count is not None:
            while f"{name}_{count}" in taken:
                count += 1
            taken[name] = count + 1
            name = f"{name}_{count}"
        taken[name] = taken.get(name, 0) + 1
        names[i] = name
    return names
