"""`window`: from a stream to batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic
from tickc.compiler.pipeline import BATCH, STREAM, Duration, Edge, Node, flag, node, prop

T302, T303, T304, T310 = (CODES[c] for c in ("T302", "T303", "T304", "T310"))


@node("window", wants=STREAM, gives=BATCH)
class Window(Node):
    """Collect the points of the last `period`; emit them every `every`."""

    period: Duration = prop("length of the window in event time")
    every: Duration = prop("time between two emissions; 0 emits at every point")
    align: bool = flag("emit at multiples of `every`")
    fill_period: bool = flag("hold the first emission until one whole period has passed")
    period_count: int = prop("length of the window in points")
    every_count: int = prop("points between two emissions")

    def check(self) -> Iterator[Diagnostic]:
        if self.period_count and self.period:
            yield self.refuse(T303, "cannot specify both period and periodCount", "leave one of them out")
        elif self.period_count and self.align:
            yield self.refuse(T303, "can only align windows based off time, not count", "leave .align() out")
        elif self.period_count and self.every_count <= 0:
            yield self.refuse(T304, "everyCount must be greater than zero", "add .everyCount(1)")

    def start(self) -> Iterator[Diagnostic]:
        if not self.period and not self.period_count:
            message = "window node must have either a non zero period or non zero period count"
            yield self.refuse(T310, message, "add .period(1m) or .periodCount(100)")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        base = self.op_base(*inputs)
        if self.period_count:
            return CountWindowOp(
                period_count=self.period_count, every_count=self.every_count, fill_period=self.fill_period, **base
            )
        return TimeWindowOp(
            period=self.period, every=self.every, align=self.align, fill_period=self.fill_period, **base
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeWindowOp(ir.Op):
    """Batches of the points of the last `period` ns."""

    operator: ClassVar[str] = "TimeWindow"
    keeps_rows: ClassVar[bool] = True
    gives: ClassVar[Edge] = BATCH

    period: int
    every: int = ir.setting(0)
    align: bool = ir.setting(False)
    fill_period: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory:
        return of_windows(self.period, self.every, self.align)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted


def of_windows(period: int, every: int, align: bool) -> ir.Memory:
    """What windows by time remember. Without `align` they follow on a group's first point, so that it decides about
    all of them."""
    if every and not align:
        return ir.Memory("the points of the period, and when each group is due, which its first point decided")
    return ir.Memory("the points of the period", period + every)


@dataclass(frozen=True, kw_only=True, eq=False)
class CountWindowOp(ir.Op):
    """Batches of the last `period_count` points."""

    operator: ClassVar[str] = "CountWindow"
    keeps_rows: ClassVar[bool] = True
    gives: ClassVar[Edge] = BATCH

    period_count: int
    every_count: int
    fill_period: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory:
        if self.every_count == 1:
            return ir.Memory("the last points of each group", 0, self.period_count)
        return ir.Memory("the last points of each group, and how many there were")

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted
