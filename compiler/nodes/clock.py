"""Nodes that follow the clock rather than the data: barrier, stats, deadman."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic, Span
from tickc.compiler.nodes.alert import Alert
from tickc.compiler.nodes.rows import NoOp
from tickc.compiler.nodes.sequence import Derivative
from tickc.compiler.pipeline import (
    EVERY,
    STREAM,
    Duration,
    Edge,
    LambdaValue,
    Node,
    Subject,
    arg,
    args,
    bind,
    flag,
    node,
    prop,
    state,
)
from tickc.runtime.expr import Binary, Expr, lit, ref

T303, T304 = CODES["T303"], CODES["T304"]


@node("barrier")
class Barrier(Node):
    """Say that no older data will come, so that what waits downstream can come out."""

    idle: Duration = prop("say so after this long without data")
    period: Duration = prop("say so this often")
    delete: bool = prop("forget the group after that")

    def check(self) -> Iterator[Diagnostic]:
        if self.idle and self.period:
            yield self.refuse(T303, "cannot specify both idle and period", "leave one of them out")
        elif not self.period and self.idle <= 0:
            yield self.refuse(T304, "idle must be greater than zero", "add .idle(10s) or .period(10s)")
        elif self.period <= 0 and not self.idle:
            yield self.refuse(T304, "period must be greater than zero")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return BarrierOp(idle=self.idle, period=self.period, delete=self.delete, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class BarrierOp(ir.Op):
    """Barriers among the data, as the clock says; data older than the last one are dropped."""

    operator: ClassVar[str] = "Barrier"
    timed: ClassVar[bool] = True
    marks: ClassVar[bool] = True

    idle: int = ir.setting(0)
    period: int = ir.setting(0)
    delete: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory:
        return ir.Memory("the last barrier of each group")

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted


@node("stats", wants=STREAM, gives=STREAM, parents=EVERY)
class Stats(Node):
    """Count what a node emits, by the clock; a source of its own."""

    interval: Duration = arg("how often", name="interval")
    align: bool = flag("at multiples of the interval")
    watched: Node | None = state()

    def connect(self, parent: Node) -> None:
        self.take_edges(parent)
        self.watched = parent
        parent.pipeline.add_source(self)
        if not parent.children:
            NoOp(span=self.span).connect(parent)

    @classmethod
    def chained(cls, parent: Node, arguments: tuple[Any, ...], span: Span) -> Subject:
        made = cls(**bind(cls.params, arguments), span=span, extent=span)
        made.connect(parent)
        return made

    def start(self) -> Iterator[Diagnostic]:
        if self.interval <= 0:
            yield self.refuse(T304, "stats node must have positive interval")

    def reads(self) -> list[Node]:
        return [] if self.watched is None else [self.watched]

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return StatsOp(interval=self.interval, align=self.align, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class StatsOp(ir.Op):
    """Every `interval`, how many points went over the edge behind an operator, by group."""

    operator: ClassVar[str] = "Stats"
    timed: ClassVar[bool] = True
    gives: ClassVar[Edge] = STREAM

    interval: int
    align: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory:
        return ir.Memory("how many points there were")

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return ir.NOTHING


DEADMAN_ID = "{{ .Group }}:NODE_NAME for task '{{ .TaskName }}'"
DEADMAN_MESSAGE = (
    '{{ .ID }} is {{ if eq .Level "OK" }}alive{{ else }}dead{{ end }}: '
    '{{ index .Fields "emitted" | printf "%0.3f" }} points/INTERVAL.'
)


@node("deadman", wants=STREAM, gives=STREAM, parents=EVERY)
class Deadman(Node):
    """An alert on low throughput: stats, derivative and alert in one."""

    threshold: float = arg("alert at so many points per interval, or fewer")
    interval: Duration = arg("how often to look")
    conditions: tuple[LambdaValue, ...] = args("conditions that have to be true as well")

    @classmethod
    def chained(cls, parent: Node, arguments: tuple[Any, ...], span: Span) -> Subject:
        from tickc.runtime.gotemplate import Duration as GoDuration

        given = bind(cls.params, arguments)
        interval = given["interval"]
        stats = Stats(interval=interval, span=span, extent=span, align=True)  # type: ignore[call-arg]
        stats.connect(parent)
        rate: dict[str, Any] = {"field": "emitted", "unit": interval, "non_negative": True}
        derivative = Derivative(span=span, extent=span, **rate)
        derivative.connect(stats)
        alert = Alert(span=span, extent=span)
        alert.connect(derivative)
        condition: Expr = Binary("<=", ref("emitted"), lit(given["threshold"]))
        for extra in given["conditions"]:
            condition = Binary("AND", condition, extra.expr)
        alert.crit = LambdaValue(condition)
        parent.fixed_name = parent.name
        alert.id_ = DEADMAN_ID.replace("NODE_NAME", parent.name, 1)
        alert.message = DEADMAN_MESSAGE.replace("INTERVAL", str(GoDuration(interval)), 1)
        return alert

    def lower(self, *inputs: ir.Op) -> ir.Op:
        """Never called: stats, derivative and alert stand in the pipeline in its place."""
        raise AssertionError("deadman is never part of a pipeline")
