"""The functions of InfluxQL as nodes: aggregates, selectors, transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.pipeline import (
    BATCH,
    SAME,
    STREAM,
    Duration,
    Edge,
    Node,
    arg,
    args,
    batch_edge,
    declare,
    flag,
    node,
    own_tags,
    prop,
)

GO = "InfluxQLNode"


@declare(GO)
class Function(Node):
    """A function of one field."""

    method: ClassVar[str] = ""  # what the result is called, where that is not the name of the node
    fixed_times: ClassVar[bool] = False  # whether results always carry the times of points

    field: str = arg("the field", name="field")
    as_: str = prop("name of the result; by default the function's")
    use_point_times: bool = flag("stamp results with the time of the point that was selected")

    def __post_init__(self) -> None:
        self.as_ = self.method or self.tick
        self.use_point_times = self.fixed_times

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments besides the field."""
        return tuple(v for p in self.params if p.name != "field" for v in self._values(p.field, p.variadic))

    def _values(self, name: str, variadic: bool) -> tuple[Any, ...]:
        value = getattr(self, name)
        return value if variadic else (int(value) if isinstance(value, Duration) else value,)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return InfluxQLOp(
            function=self.tick,
            field=self.field,
            as_name=self.as_,
            args=self.arguments,
            point_times=self.use_point_times,
            gives=self.class_gives,
            own_tags=own_tags(inputs[0]) if self.tick in SELECTORS else (),
            **self.op_base(*inputs),
        )


@node("count", gives=STREAM, go=GO)
class Count(Function):
    """How many points have the field."""


@node("sum", gives=STREAM, go=GO)
class Sum(Function):
    """The sum of the values."""


@node("mean", gives=STREAM, go=GO)
class Mean(Function):
    """The mean of the values."""


@node("median", gives=STREAM, go=GO)
class Median(Function):
    """The value in the middle, or the mean of the two in the middle."""


@node("mode", gives=STREAM, go=GO)
class Mode(Function):
    """The value that occurs most often."""


@node("spread", gives=STREAM, go=GO)
class Spread(Function):
    """The greatest value minus the least."""


@node("stddev", gives=STREAM, go=GO)
class Stddev(Function):
    """The standard deviation of a sample."""


@node("first", gives=STREAM, go=GO)
class First(Function):
    """The point with the earliest time."""


@node("last", gives=STREAM, go=GO)
class Last(Function):
    """The point with the latest time."""


@node("min", gives=STREAM, go=GO)
class Min(Function):
    """The point with the least value."""


@node("max", gives=STREAM, go=GO)
class Max(Function):
    """The point with the greatest value."""


@node("percentile", gives=STREAM, go=GO)
class Percentile(Function):
    """The point whose value is the percentile."""

    percentile: float = arg("from 0.0 to 100.0")


@node("distinct", gives=BATCH, go=GO)
class Distinct(Function):
    """A point for each different value."""


@node("top", gives=BATCH, go=GO, order=("num", "field", "fieldsAndTags"))
class Top(Function):
    """The points with the greatest values."""

    num: int = arg("how many")
    fields_and_tags: tuple[str, ...] = args("more fields and tags")


@node("bottom", gives=BATCH, go=GO, order=("num", "field", "fieldsAndTags"))
class Bottom(Function):
    """The points with the least values."""

    num: int = arg("how many")
    fields_and_tags: tuple[str, ...] = args("more fields and tags")


@node("elapsed", gives=SAME, go=GO)
class Elapsed(Function):
    """The time since the point before."""

    unit: Duration = arg("what the time is counted in")


@node("difference", gives=SAME, go=GO)
class Difference(Function):
    """The value minus that of the point before."""


@node("movingAverage", gives=SAME, go=GO)
class MovingAverage(Function):
    """The mean of the last values."""

    window: int = arg("of how many values")


@node("cumulativeSum", gives=SAME, go=GO)
class CumulativeSum(Function):
    """The sum of all values so far."""


@node("holtWinters", gives=BATCH, go=GO)
class HoltWinters(Function):
    """A forecast by the method of Holt and Winters."""

    method: ClassVar[str] = "holtWinters"
    fixed_times: ClassVar[bool] = True

    h: int = arg("how many points to predict")
    m: int = arg("length of a season in points; 0 or 1 for none")
    interval: Duration = arg("time between two points")


@node("holtWintersWithFit", gives=BATCH, go=GO, desc="holtWinters")
class HoltWintersWithFit(Function):
    """A forecast by the method of Holt and Winters, with what it would have said of the past."""

    method: ClassVar[str] = "holtWinters"
    fixed_times: ClassVar[bool] = True

    h: int = arg("how many points to predict")
    m: int = arg("length of a season in points; 0 or 1 for none")
    interval: Duration = arg("time between two points")


SELECTORS = frozenset({"first", "last", "min", "max", "percentile"})  # the selected point with all its tags and fields
WITH_TAGS = SELECTORS | {"top", "bottom"}


@dataclass(frozen=True, kw_only=True, eq=False)
class InfluxQLOp(ir.Op):
    """A function over each batch, or over each run of points of one time."""

    operator: ClassVar[str] = "InfluxQL"

    function: str
    field: str
    as_name: str
    args: tuple[Any, ...] = ir.setting(())
    point_times: bool = ir.setting(False)
    own_tags: tuple[str, ...] = ir.setting(())
    gives: Edge = STREAM

    @property
    def remembers(self) -> ir.Memory:
        """Kapacitor's node also remembers which kind of values it was made for, which the next values change."""
        if batch_edge(self.inputs[0]):
            return ir.Memory("the kind of the last values", 0, 1)
        if self.function in ("cumulativeSum", "movingAverage"):  # of the last values, which are added and taken away
            return ir.Memory("the running sum of each group")
        return ir.Memory("the last points of each group", 0, 1)

    def settings(self) -> dict[str, Any]:
        return {k: v for k, v in super().settings().items() if k != "gives"}

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        tags = wanted.tags if self.function in WITH_TAGS else frozenset()
        fields = wanted.without_fields(self.as_name).fields if self.function in SELECTORS else frozenset()
        return ir.Wanted(tags, fields) | ir.Wanted(frozenset(self.own_tags), frozenset({self.field}))
