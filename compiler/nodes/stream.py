"""Where the points of a stream task enter: `stream` and `from`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import Diagnostic
from tickc.compiler.nodes.group import check_dimensions, lower_dimensions
from tickc.compiler.pipeline import STREAM, Duration, LambdaValue, Node, flag, node, prop, setter, state
from tickc.runtime.expr import Expr


@node("stream", wants=STREAM, gives=STREAM, parents=(), chains=False)
class Stream(Node):
    """All points that are written to the databases of the task."""

    def lower(self, *inputs: ir.Op) -> ir.Op:
        measurements = dict.fromkeys(c.measurement for c in self.children if isinstance(c, From))
        return ir.SourceOp(
            measurements=tuple(measurements) or ("",), dbrps=self.pipeline.task_dbrps, **self.op_base(*inputs)
        )


@node("from", wants=STREAM, gives=STREAM, parents=("stream", "from"))
class From(Node):
    """Choose points of a stream by measurement, and group them."""

    database: str = prop("take points of this database only")
    retention_policy: str = prop("take points of this retention policy only")
    measurement: str = prop("take points of this measurement only")
    truncate: Duration = prop("cut times down to multiples of this duration")
    round: Duration = prop("round times to multiples of this duration")
    group_by_measurement: bool = flag("group by measurement too")
    predicate: LambdaValue | None = state()
    dimensions: tuple[Any, ...] = state(())

    @setter
    def where(self, condition: LambdaValue) -> None:
        """Take points only for which the condition is true; several conditions are joined by AND."""
        if self.predicate is None:
            self.predicate = condition
        else:
            self.predicate.extend(condition)

    @setter
    def group_by(self, *tags: Any) -> None:
        """Group by these tags, or by all with `*`."""
        self.dimensions = tags

    def check(self) -> Iterator[Diagnostic]:
        return check_dimensions(self, self.dimensions)

    def start(self) -> Iterator[Diagnostic]:
        return self.compile_errors(self.predicate, "Failed to compile from expression: {}")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return FromOp(
            database=self.database,
            policy=self.retention_policy,
            measurement=self.measurement,
            where=None if self.predicate is None else self.predicate.expr,
            truncate=self.truncate,
            round=self.round,
            group_by=lower_dimensions(self.dimensions),
            by_measurement=self.group_by_measurement,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FromOp(ir.Op):
    """Filter by origin and condition, change times, group."""

    operator: ClassVar[str] = "From"
    rowwise: ClassVar[bool] = True

    database: str = ir.setting("")
    policy: str = ir.setting("")
    measurement: str = ir.setting("")
    where: Expr | None = None
    truncate: int = ir.setting(0)
    round: int = ir.setting(0)
    group_by: tuple[str, ...] | str = ir.setting(())
    by_measurement: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory | None:
        return ir.Memory.of(self.where)

    def keeps(self, names: Collection[str]) -> bool:
        return not (self.truncate or self.round) or "time" not in names

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted | ir.Wanted.of(self.where) | tags_of(self.group_by)


def tags_of(dims: tuple[str, ...] | str) -> ir.Wanted:
    """What grouping by `dims` reads."""
    return ir.Wanted(None if dims == "*" else frozenset(dims))
