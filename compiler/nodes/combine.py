"""Nodes that bring the points of one time together: combine, flatten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic
from tickc.compiler.nodes.join import check_prefixes
from tickc.compiler.pipeline import STREAM, Duration, Edge, LambdaValue, Node, args, node, own_tags, prop, setter, state
from tickc.runtime.expr import Expr

T302 = CODES["T302"]


@node("combine", gives=STREAM)
class Combine(Node):
    """Combine points of one time with each other."""

    expressions: tuple[LambdaValue, ...] = args("a condition for each point of a combination")
    delimiter: str = prop("what stands between a prefix and the name of a field or tag", default=".")
    tolerance: Duration = prop("round times to multiples of this duration before combining")
    max: int = prop("fail where more combinations are possible", default=1_000_000)
    names: tuple[str, ...] = state(())

    @setter
    def as_(self, *names: str) -> None:
        """A prefix for each condition, in their order."""
        self.names = names

    def check(self) -> Iterator[Diagnostic]:
        if not self.names:
            message = "a call to combine.as() is required to specify the output stream prefixes."
            yield self.refuse(T302, message, "add .as('left', 'right')")
        elif len(self.names) != len(self.expressions):
            message = "number of prefixes specified by combine.as() must match the number of combine expressions"
            yield self.refuse(T302, message, f"give {len(self.expressions)} names")
        else:
            contains = f"cannot use name {{}} as field prefix, it contains the delimiter character {self.delimiter}"
            yield from check_prefixes(self, self.names, self.delimiter, contains)

    def start(self) -> Iterator[Diagnostic]:
        for i, e in enumerate(self.expressions):
            yield from self.compile_errors(e, f"Failed to compile {i} expression: {{}}")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return CombineOp(
            exprs=tuple(e.expr for e in self.expressions),
            names=self.names,
            delimiter=self.delimiter,
            tolerance=self.tolerance,
            max=self.max,
            own_tags=own_tags(inputs[0]),
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CombineOp(ir.Op):
    """Points of a group with one time, as many together as there are conditions."""

    operator: ClassVar[str] = "Combine"
    keeps_rows: ClassVar[bool] = True
    gives: ClassVar[Edge] = STREAM

    exprs: tuple[Expr, ...]
    names: tuple[str, ...]
    delimiter: str = ir.setting(".")
    tolerance: int = ir.setting(0)
    max: int = ir.setting(1_000_000)
    own_tags: tuple[str, ...] = ir.setting(())

    @property
    def remembers(self) -> ir.Memory:
        return ir.Memory("the points of each group's last time", self.tolerance, 1)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        tags = None if wanted.tags is None else wanted.tags | self._own(wanted.tags)  # a dimension has no prefix
        fields = None if wanted.fields is None else self._own(wanted.fields)
        return ir.Wanted(tags, fields) | ir.Wanted(frozenset(self.own_tags)) | ir.Wanted.of(*self.exprs)

    def _own(self, names: frozenset[str]) -> frozenset[str]:
        """The names behind a prefix."""
        prefixes = [name + self.delimiter for name in self.names]
        return frozenset(n[len(p) :] for n in names for p in prefixes if n.startswith(p))


@node("flatten")
class Flatten(Node):
    """Make one point of those that have one time, with names of fields made from tags."""

    delimiter: str = prop("what stands between the parts of a name", default=".")
    tolerance: Duration = prop("round times to multiples of this duration before flattening")
    dimensions: tuple[str, ...] = state(())
    drop_name: bool = state(False)

    @setter
    def on(self, *tags: str) -> None:
        """The tags whose values make the names."""
        self.dimensions = tags

    @setter
    def drop_original_field_name(self, *drop: bool) -> None:
        """Leave the field's own name out of the new name."""
        self.drop_name = drop[0] if len(drop) == 1 else True

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return FlattenOp(
            on=self.dimensions,
            delimiter=self.delimiter,
            tolerance=self.tolerance,
            drop_name=self.drop_name,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FlattenOp(ir.Op):
    """One point of those of a group with one time; the values of the tags `on` make the names of its fields."""

    operator: ClassVar[str] = "Flatten"
    keeps_rows: ClassVar[bool] = True

    on: tuple[str, ...] = ir.setting(())
    delimiter: str = ir.setting(".")
    tolerance: int = ir.setting(0)
    drop_name: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory:
        return ir.Memory("the points of each group's last time", self.tolerance, 1)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        """Tags come from the groups; any field may make a wanted name, or make a point at all."""
        return ir.Wanted(frozenset(self.on), None)
