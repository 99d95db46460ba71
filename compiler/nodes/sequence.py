"""Nodes that follow a group from point to point: derivative, changeDetect, stateCount, stateDuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import Diagnostic
from tickc.compiler.pipeline import Duration, LambdaValue, Node, arg, args, flag, node, prop
from tickc.runtime.expr import Expr

SECOND = 1_000_000_000


@node("derivative")
class Derivative(Node):
    """The change of a field since the point before, per unit of time."""

    field: str = arg("the field", name="field")
    as_: str = prop("name of the result; by default the field's")
    unit: Duration = prop("the time that the change is given for", default=Duration(SECOND))
    non_negative: bool = flag("leave out negative changes")

    def __post_init__(self) -> None:
        self.as_ = self.field

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return DerivativeOp(
            field=self.field,
            as_name=self.as_,
            unit=self.unit,
            non_negative=self.non_negative,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class DerivativeOp(ir.Op):
    """Difference to the point before over the time between, per `unit` ns."""

    operator: ClassVar[str] = "Derivative"
    remembers: ClassVar[ir.Memory] = ir.Memory("the last point of each group", 0, 1)

    field: str
    as_name: str
    unit: int = ir.setting(SECOND)
    non_negative: bool = ir.setting(False)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted.without_fields(self.as_name) | ir.Wanted(fields=frozenset({self.field}))


@node("changeDetect")
class ChangeDetect(Node):
    """Let a point through when one of the fields differs from the last point that went through."""

    fields: tuple[str, ...] = args("the fields to watch")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return ChangeDetectOp(fields=self.fields, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class ChangeDetectOp(ir.Op):
    """Rows in which a field changes."""

    operator: ClassVar[str] = "ChangeDetect"
    remembers: ClassVar[ir.Memory] = ir.Memory("the values of each group that went through last")

    fields: tuple[str, ...]

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted | ir.Wanted(fields=frozenset(self.fields))


@node("stateCount", desc="state_count")
class StateCount(Node):
    """Count the points in a row for which the condition is true; -1 where it is not."""

    condition: LambdaValue = arg("the condition", name="lambda")
    as_: str = prop("name of the result", default="state_count")

    def start(self) -> Iterator[Diagnostic]:
        return self.compile_errors(self.condition)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return StateCountOp(predicate=self.condition.expr, as_name=self.as_, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class StateCountOp(ir.Op):
    """Length of the run of rows for which the predicate holds."""

    operator: ClassVar[str] = "StateCount"
    remembers: ClassVar[ir.Memory] = ir.Memory("for how many points the condition has held")

    predicate: Expr
    as_name: str = ir.setting("state_count")

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted.without_fields(self.as_name) | ir.Wanted.of(self.predicate)


@node("stateDuration", desc="state_duration")
class StateDuration(Node):
    """How long the condition has been true; -1 where it is not."""

    condition: LambdaValue = arg("the condition", name="lambda")
    as_: str = prop("name of the result", default="state_duration")
    unit: Duration = prop("what the time is counted in", default=Duration(SECOND))

    def start(self) -> Iterator[Diagnostic]:
        return self.compile_errors(self.condition)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return StateDurationOp(predicate=self.condition.expr, as_name=self.as_, unit=self.unit, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class StateDurationOp(ir.Op):
    """Time since the predicate began to hold, in `unit` ns."""

    operator: ClassVar[str] = "StateDuration"
    remembers: ClassVar[ir.Memory] = ir.Memory("since when the condition has held")

    predicate: Expr
    as_name: str = ir.setting("state_duration")
    unit: int = ir.setting(SECOND)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted.without_fields(self.as_name) | ir.Wanted.of(self.predicate)
