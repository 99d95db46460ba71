"""Nodes with several parents: join and union."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic, go_quote
from tickc.compiler.pipeline import (
    Duration,
    Node,
    Subject,
    args,
    batch_edge,
    node,
    prop,
    setter,
    state,
)

T302, T303, T304 = CODES["T302"], CODES["T303"], CODES["T304"]


def check_prefixes(owner: Node, names: Sequence[str], delimiter: str, contains: str) -> Iterator[Diagnostic]:
    """Prefixes are not empty, do not contain the delimiter and differ; `contains` is how to say the second."""
    for name in names:
        if not name:
            message = f"must provide a prefix name for the {owner.tick} node, see .as() property method"
            yield owner.refuse(T304, message)
            return
        if delimiter in name and (delimiter or owner.tick == "combine"):
            yield owner.refuse(T304, contains.format(name), "set another one with .delimiter('…')")
            return
    if len(set(names)) < len(names):
        yield owner.refuse(T304, "cannot use the same prefix name see .as() property method")


@node("join")
class Join(Node):
    """Join points of several nodes by their time."""

    others: tuple[Subject, ...] = args("the other nodes")
    delimiter: str = prop("what stands between a prefix and the name of a field", default=".")
    tolerance: Duration = prop("round times to multiples of this duration before joining")
    stream_name: str = prop("name of the joined points; by default that of the first node")
    fill: Any = prop("'none' for an inner join; for an outer one 'null' or a number")
    delete_all: bool = prop("forget all groups when one is deleted")
    names: tuple[str, ...] = state(())
    dimensions: tuple[str, ...] = state(())

    @setter
    def as_(self, *names: str) -> None:
        """A prefix for the fields of each joined node, in their order."""
        self.names = names

    @setter
    def on(self, *tags: str) -> None:
        """Join groups that agree in these tags."""
        self.dimensions = tags

    def connect(self, parent: Node) -> None:
        self.take_edges(parent)
        for other in (parent, *(o.node for o in self.others)):
            other.link(self)

    def check(self) -> Iterator[Diagnostic]:
        if not self.names:
            message = "a call to join.as() is required to specify the output stream prefixes."
            yield self.refuse(T302, message, "add .as('left', 'right')")
        elif len(self.names) != len(self.parents):
            message = "number of prefixes specified by join.as() must match the number of joined streams"
            yield self.refuse(T302, message, f"give {len(self.parents)} names")
        else:
            contains = f"cannot use name {{}} as field prefix, it contains the delimiter {go_quote(self.delimiter)}\t"
            yield from check_prefixes(self, self.names, self.delimiter, contains)

    def start(self) -> Iterator[Diagnostic]:
        if isinstance(self.fill, str) and self.fill not in ("null", "none"):
            yield self.refuse(T304, f"unexpected fill option {self.fill}", "use 'none', 'null' or a number")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return JoinOp(
            names=self.names,
            on=self.dimensions,
            delimiter=self.delimiter,
            tolerance=self.tolerance,
            stream_name=self.stream_name,
            fill=self.filling,
            delete_all=self.delete_all,
            **self.op_base(*inputs),
        )

    @property
    def filling(self) -> str | int | float | None:
        """What takes the place of a missing point's fields; None for an inner join, as Kapacitor has it for any other
        value than 'null' and a number."""
        number = isinstance(self.fill, (int, float)) and not isinstance(self.fill, (bool, Duration))
        return self.fill if number or self.fill == "null" else None


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinOp(ir.Op):
    """Join the messages of all inputs by group and time. fields: of each input those that are read; None for all."""

    operator: ClassVar[str] = "Join"
    remembers: ClassVar[ir.Memory] = ir.Memory("points that wait for others of their time", 0, 1)
    keeps_rows: ClassVar[bool] = True

    names: tuple[str, ...]
    on: tuple[str, ...] = ir.setting(())
    delimiter: str = ir.setting(".")
    tolerance: int = ir.setting(0)
    stream_name: str = ir.setting("")
    fill: str | int | float | None = ir.setting(None)
    delete_all: bool = ir.setting(False)
    fields: tuple[tuple[str, ...] | None, ...] | None = ir.setting(None)

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        each = [self.needs_of(wanted, i) for i in range(len(self.inputs))]
        return functools.reduce(operator.or_, each, ir.NOTHING)

    def needs_of(self, wanted: ir.Wanted, parent: int) -> ir.Wanted:
        """Tags come from the groups. A field with the parent's prefix is its own; with a fill, whether the field of any
        prefix is there depends on the point that stands for the missing one, which may be anyone's, and in a batch on
        the first point that has fields at all."""
        if wanted.fields is None or (self.fill is not None and batch_edge(self)):
            return ir.Wanted(fields=None)
        names = self.names if self.fill is not None else self.names[parent : parent + 1]
        prefixes = [name + self.delimiter for name in names]
        return ir.Wanted(fields=frozenset(f[len(p) :] for f in wanted.fields for p in prefixes if f.startswith(p)))


@node("union")
class Union(Node):
    """All points of several nodes, in the order of their times."""

    others: tuple[Subject, ...] = args("the other nodes")
    rename: str = prop("name of all points; by default their own")

    def connect(self, parent: Node) -> None:
        self.take_edges(parent)
        for other in (*(o.node for o in self.others), parent):
            other.link(self)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return UnionOp(parents=len(inputs), rename=self.rename, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class UnionOp(ir.Op):
    """Merge the messages of all inputs by time; of equal ones those of earlier inputs come first."""

    operator: ClassVar[str] = "Union"
    remembers: ClassVar[ir.Memory] = ir.Memory("points that wait for those before them", 0, 1)
    keeps_rows: ClassVar[bool] = True

    parents: int
    rename: str = ir.setting("")

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        return wanted
