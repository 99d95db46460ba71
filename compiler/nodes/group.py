"""`groupBy`, and dimensions in general."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic
from tickc.compiler.pipeline import STAR, Node, args, batch_edge, flag, go_type, node, setter, state

T303, T304, T204 = CODES["T303"], CODES["T304"], CODES["T204"]


@node("groupBy", desc="groupby")
class GroupBy(Node):
    """Group by tags, or by all of them with `*`, instead of the grouping before."""

    dimensions: tuple[Any, ...] = args("names of tags, or `*`")
    by_measurement: bool = flag("group by measurement too")
    excluded: tuple[str, ...] = state(())

    @setter
    def exclude(self, *tags: str) -> None:
        """With `*`: all tags but these."""
        self.excluded += tags

    def check(self) -> Iterator[Diagnostic]:
        return check_dimensions(self, self.dimensions, self.excluded)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return GroupByOp(
            dims=lower_dimensions(self.dimensions),
            exclude=self.excluded,
            by_measurement=self.by_measurement,
            **self.op_base(*inputs),
        )


def check_dimensions(owner: Node, dimensions: Sequence[Any], excluded: Sequence[str] = ()) -> Iterator[Diagnostic]:
    """Dimensions are names, or a lone star; only with a star can some be left out."""
    for d in dimensions:
        if d == "":
            yield owner.refuse(T304, "dimensions cannot not be the empty string")
            return
        if not isinstance(d, str) and d is not STAR:
            yield owner.refuse(T204, f"invalid dimension object of type {go_type(d)}", "dimensions are names of tags")
            return
    if STAR in dimensions and len(dimensions) > 1:
        yield owner.refuse(T303, "cannot group by both '*' and named dimensions.", "use either")
    elif excluded and STAR not in dimensions:
        yield owner.refuse(T303, "exclude requires '*'", "group by * to leave tags out")


def lower_dimensions(dimensions: Sequence[Any]) -> tuple[str, ...] | str:
    """Names of tags, sorted; "*" for all."""
    return "*" if STAR in dimensions else tuple(sorted(dimensions, key=lambda d: d.encode("utf-8", "surrogateescape")))


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupByOp(ir.Op):
    """Group anew. On a batch edge the batches of one time are taken together and parted again."""

    operator: ClassVar[str] = "GroupBy"

    dims: tuple[str, ...] | str = ir.setting(())
    exclude: tuple[str, ...] = ir.setting(())
    by_measurement: bool = ir.setting(False)

    @property
    def remembers(self) -> ir.Memory | None:
        return ir.Memory("the batches of the last time, of all groups") if batch_edge(self) else None

    @property
    def rowwise(self) -> bool:
        return not batch_edge(self)

    def keeps(self, names: Collection[str]) -> bool:
        return self.rowwise

    @property
    def keeps_rows(self) -> bool:
        return batch_edge(self)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted | ir.Wanted(None if self.dims == "*" else frozenset(self.dims))
