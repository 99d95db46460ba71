"""Nodes that treat each point by itself: where, eval, default, delete, shift, sample, log, noOp, trickle."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic, go_quote
from tickc.compiler.pipeline import (
    BATCH,
    STREAM,
    Duration,
    Edge,
    LambdaValue,
    Node,
    Refused,
    arg,
    args,
    go_type,
    node,
    own_tags,
    prop,
    setter,
    state,
)
from tickc.runtime.expr import Expr

T204, T302, T304 = CODES["T204"], CODES["T302"], CODES["T304"]


@node("where")
class Where(Node):
    """Let through the points for which the condition is true."""

    condition: LambdaValue = arg("the condition", name="lambda")

    def start(self) -> Iterator[Diagnostic]:
        return self.compile_errors(self.condition, "Failed to compile expression in where clause: {}")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return WhereOp(predicate=self.condition.expr, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class WhereOp(ir.Op):
    """Drop the rows for which the predicate is not true."""

    operator: ClassVar[str] = "Where"
    rowwise: ClassVar[bool] = True

    predicate: Expr

    @property
    def remembers(self) -> ir.Memory | None:
        return ir.Memory.of(self.predicate)

    def keeps(self, names: Collection[str]) -> bool:
        return True

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted | ir.Wanted.of(self.predicate)


@node("eval")
class Eval(Node):
    """Work out new fields, or tags, of each point; later expressions see the results of earlier ones."""

    expressions: tuple[LambdaValue, ...] = args("an expression for each name in .as()")
    names: tuple[str, ...] = state(())
    tag_names: tuple[str, ...] = state(())
    kept: tuple[str, ...] | None = state(None)

    @setter
    def as_(self, *names: str) -> None:
        """The names of the results, in the order of the expressions."""
        self.names = names

    @setter
    def tags(self, *names: str) -> None:
        """Results that become tags; they have to be strings."""
        self.tag_names = names

    @setter
    def keep(self, *fields: str) -> None:
        """Keep the point's fields too; with names, keep exactly these fields and results."""
        self.kept = fields

    def check(self) -> Iterator[Diagnostic]:
        if len(self.names) != len(self.expressions):
            yield self.refuse(
                T302,
                "must specify same number of expressions and .as() names: "
                f"got {len(self.names)} as names, and {len(self.expressions)} expressions.",
                "add .as('name') with a name for each expression",
            )
        for tag in self.tag_names:
            if tag not in self.names:
                message = f"invalid tag name {go_quote(tag)}, name is not present is .as() names"
                yield self.refuse(T304, message, f"add '{tag}' to .as()")
                return

    def start(self) -> Iterator[Diagnostic]:
        for i, e in enumerate(self.expressions):
            yield from self.compile_errors(e, f"Failed to compile {i} expression: {{}}")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return EvalOp(
            exprs=tuple(e.expr for e in self.expressions),
            names=self.names,
            tags=self.tag_names,
            keep=self.kept,
            quiet=self.quiet,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class EvalOp(ir.Op):
    """New columns from expressions. keep: None for the results alone, () for all fields too, else exactly these."""

    operator: ClassVar[str] = "Eval"
    rowwise: ClassVar[bool] = True

    exprs: tuple[Expr, ...]
    names: tuple[str, ...]
    tags: tuple[str, ...] = ir.setting(())
    keep: tuple[str, ...] | None = None
    quiet: bool = ir.setting(False)

    @property
    def sets_tags(self) -> tuple[str, ...]:
        return self.tags

    @property
    def remembers(self) -> ir.Memory | None:
        return ir.Memory.of(*self.exprs)

    def keeps(self, names: Collection[str]) -> bool:
        return self.keep == () and not {*names} & {*self.names, *self.tags}

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        through = ir.Wanted(wanted.tags).without_tags(*self.tags)
        if self.keep == ():
            through |= ir.Wanted(fields=wanted.fields).without_fields(*self.names)
        elif self.keep:
            through |= ir.Wanted(fields=frozenset(self.keep) - frozenset(self.names))
        return through | ir.Wanted.of(*self.exprs)


@node("default")
class Default(Node):
    """Give fields and tags that a point lacks."""

    fields: dict[str, Any] = state(make=dict)
    tags: dict[str, str] = state(make=dict)

    @setter
    def field(self, name: str, value: Any) -> None:
        """A field and its value where the point lacks it."""
        self.fields[name] = value

    @setter
    def tag(self, name: str, value: str) -> None:
        """A tag and its value where the point lacks it or has it empty."""
        self.tags[name] = value

    def check(self) -> Iterator[Diagnostic]:
        for name, value in self.fields.items():
            if type(value) not in (float, int, bool, str):
                yield self.refuse(
                    T204,
                    f"unsupported type {go_type(value)} for field {go_quote(name)}, "
                    "field default values must be float,int,string or bool",
                )

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return DefaultOp(fields=dict(self.fields) or None, tags=dict(self.tags) or None, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class DefaultOp(ir.Op):
    """Fill absent fields and absent or empty tags. On a batch edge the tags become dimensions."""

    operator: ClassVar[str] = "Default"
    rowwise: ClassVar[bool] = True

    fields: dict[str, float | int | str | bool] | None = None
    tags: dict[str, str] | None = None

    @property
    def sets_tags(self) -> tuple[str, ...]:
        return tuple(self.tags or ())

    def keeps(self, names: Collection[str]) -> bool:
        return not {*names} & {*(self.fields or ()), *(self.tags or ())}

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted | ir.Wanted(frozenset(self.tags or ()))  # such a tag may be a dimension


@node("delete")
class Delete(Node):
    """Remove fields and tags."""

    fields: tuple[str, ...] = state(())
    tags: tuple[str, ...] = state(())

    @setter
    def field(self, name: str) -> None:
        """A field to remove."""
        self.fields += (name,)

    @setter
    def tag(self, name: str) -> None:
        """A tag to remove; from the dimensions as well."""
        self.tags += (name,)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return DeleteOp(fields=self.fields, tags=self.tags, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class DeleteOp(ir.Op):
    """Drop columns; a dimension that is dropped leaves the group."""

    operator: ClassVar[str] = "Delete"
    rowwise: ClassVar[bool] = True

    fields: tuple[str, ...] = ir.setting(())
    tags: tuple[str, ...] = ir.setting(())

    def keeps(self, names: Collection[str]) -> bool:
        return not {*names} & {*self.fields, *self.tags}

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted.without_fields(*self.fields).without_tags(*self.tags)


@node("shift")
class Shift(Node):
    """Move points and batches in time."""

    by: Duration = arg("what is added to the time; may be negative", name="shift")

    def start(self) -> Iterator[Diagnostic]:
        if not self.by:
            yield self.refuse(T304, "invalid shift value: must be non zero duration")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return ShiftOp(by=self.by, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftOp(ir.Op):
    """Add `by` ns to times."""

    operator: ClassVar[str] = "Shift"
    rowwise: ClassVar[bool] = True

    by: int

    @property
    def reach(self) -> int:
        return abs(self.by)

    def keeps(self, names: Collection[str]) -> bool:
        return "time" not in names

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted


@node("sample")
class Sample(Node):
    """Let every nth point through, or those at multiples of a duration."""

    rate: Any = arg("how many points make one, or a duration")

    def __post_init__(self) -> None:
        if type(self.rate) not in (int, Duration):
            hint = "write |sample(10) or |sample(1m)"
            raise Refused("must pass int64 or duration to new sample node", T204, hint=hint)

    def start(self) -> Iterator[Diagnostic]:
        if not self.rate:
            yield self.refuse(T304, "invalid sample rate: must be positive integer or duration")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        if isinstance(self.rate, Duration):
            return SampleOp(every=self.rate, **self.op_base(*inputs))
        return SampleOp(count=self.rate, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleOp(ir.Op):
    """Every `count`th point of a group, or the points whose time is a multiple of `every` ns."""

    operator: ClassVar[str] = "Sample"
    rowwise: ClassVar[bool] = True

    count: int = ir.setting(0)
    every: int = ir.setting(0)

    @property
    def remembers(self) -> ir.Memory | None:
        return None if self.every else ir.Memory("how many points of each group there were")

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted


@node("log")
class Log(Node):
    """Write all data that pass to the log."""

    level: str = prop("DEBUG, INFO or ERROR", default="INFO")
    prefix: str = prop("text in front of each line")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return LogOp(level=self.level, prefix=self.prefix, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class LogOp(ir.Op):
    """Log each point with all that it has."""

    operator: ClassVar[str] = "Log"
    effects: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    level: str = ir.setting("INFO")
    prefix: str = ir.setting("")


@node("noOp", desc="noop", parents=())
class NoOp(Node):
    """Pass everything on; stands under a node that is only watched by `stats`."""

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return NoOpOp(**self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class NoOpOp(ir.Op):
    """Nothing."""

    operator: ClassVar[str] = "NoOp"
    rowwise: ClassVar[bool] = True

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted


@node("trickle", wants=BATCH, gives=STREAM)
class Trickle(Node):
    """Make single points of batches; of several children of this node, only the one made last is given them."""

    feeds_one: ClassVar[bool] = True

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return TrickleOp(own_tags=own_tags(inputs[0]), **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrickleOp(ir.Op):
    """The points of batches, one by one."""

    operator: ClassVar[str] = "Trickle"
    gives: ClassVar[Edge] = STREAM

    own_tags: tuple[str, ...] = ir.setting(())

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted | ir.Wanted(frozenset(self.own_tags))
