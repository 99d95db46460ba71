"""`batch|query()`: where the batches of a batch task enter, from a database, from points, or from a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Groups, Rows, Segments, Text
from tickc.runtime.graph import Entry, Graph
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.influxql.tree import Bucket, Select
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.group import Codes, Combinations, Lookup
from tickc.runtime.schedule import Schedule

DBRP = tuple[str, str]


class Query(Entry):
    """One query of a batch task: what it asks, when, and how its answers become batches.

    select: with the dimensions and the fill of the node. period, every, offset: ns. by_measurement: whether the
    measurement is part of the group. cluster: the name of a server in the settings. dbrps: what the script says that
    the task may read. refusal: why a database would refuse the query, or "".
    """

    STATE = ("groups", "seen")

    def __init__(
        self,
        *,
        name: str,
        select: Select,
        period: int = 0,
        every: int = 0,
        cron: str = "",
        align: bool = False,
        offset: int = 0,
        by_measurement: bool = False,
        cluster: str = "",
        dbrps: tuple[DBRP, ...] | None = None,
        refusal: str = "",
    ) -> None:
        super().__init__(name=name)
        self.select = select
        self.period = period
        self.offset = offset
        self.schedule = Schedule(every, align, cron)
        self.cluster = cluster
        self.dbrps = dbrps
        self.refusal = refusal
        self.by_time = any(isinstance(d, Bucket) for d in select.dimensions)
        self.grouping = SeriesGroups(by_measurement)

    def origins(self) -> list[DBRP]:
        """The databases and retention policies that the query asks, in the order of its text."""
        return list(_origins(self.select))

    @property
    def groups(self) -> Groups:
        return self.grouping.groups

    @groups.setter
    def groups(self, groups: Groups) -> None:
        self.grouping = SeriesGroups(self.grouping.by_name, groups)

    def ranges(self, ticks: Array) -> tuple[Array, Array]:
        """Start and stop (i8[k] ns) of what is asked for at the ticks."""
        stop = ticks - self.offset
        return stop - self.period, stop

    def batches(self, answer: Answer, stop: Array) -> Segments:
        """The batches of an answer, one for each series; stop: i8[runs], where the runs' ranges end.

        As Kapacitor reads a result (edge/messages.go, ResultToBufferedBatches): numbers are floats, a null is an absent
        field, a row of nulls is no point. A batch's time is the end of the range, or, with groups of time, that of its
        latest point. `seq` is the position of the run.
        """
        fields = {name: _floats(column) for name, column in answer.fields.items()}
        some = np.zeros(len(answer.time), np.bool_)
        for column in fields.values():
            some |= column.present()
        owner = np.repeat(np.arange(len(answer)), answer.stop - answer.start)
        tags = {k: v.take(owner) for k, v in answer.tags.items()}
        n = len(answer.time)
        rows = Rows(answer.time, answer.name.take(owner), no_text(n), no_text(n), tags, fields)
        start, end, tmax = answer.start, answer.stop, stop[answer.run]
        if not some.all():
            before = np.concatenate([[0], np.cumsum(some)])
            rows, start, end = rows.take(some), before[start], before[end]
        if self.by_time and len(rows):
            filled = end > start
            tmax = tmax.copy()
            tmax[filled] = np.maximum.reduceat(rows.time, start[filled])
        group = self.grouping.encode(answer.name, answer.tags)
        return Segments(rows, start, end, tmax, group, self.groups, answer.name, answer.run)


def _origins(select: Select) -> Iterator[DBRP]:
    for source in select.sources:
        if isinstance(source, Select):
            yield from _origins(source)
        else:
            yield source.database, source.policy


def queries(graph: Graph) -> list[tuple[int, Query]]:
    """The queries of a batch task by their place in the graph, in the order of the script; none of a stream task."""
    return [(i, op) for i, op in enumerate(graph.operators) if isinstance(op, Query)]


class SeriesGroups:
    """The groups of series, by their tags and, where that is asked for, their measurement."""

    def __init__(self, by_name: bool, groups: Groups | None = None) -> None:
        self.by_name = by_name
        self.groups = Groups() if groups is None else groups
        self._tables: dict[tuple[str, ...], tuple[list[Codes], Combinations, Lookup]] = {}

    def encode(self, name: Text, tags: Mapping[str, Text]) -> Array:
        """i4[m] group codes of m series."""
        columns = [*tags.values(), *([name] if self.by_name else [])]
        if not columns:
            return np.full(len(name), self.groups.code(name.at(0) or "", False, {}) if len(name) else 0, np.int32)
        codes, combinations, lookup = self._tables.setdefault(
            tuple(tags), ([Codes() for _ in columns], Combinations(), Lookup())
        )

        def make(row: int) -> int:
            own = {k: value for k, v in sorted(tags.items()) if (value := v.at(row)) is not None}
            return self.groups.code(name.at(row) or "", self.by_name, own)

        return lookup.groups(combinations.encode([c.of(text) for c, text in zip(codes, columns)]), make)


def _floats(column: Column) -> Column:
    """The column with its ints as floats."""
    if Kind.INT not in column.data:
        return column
    ints = column.data[Kind.INT].astype(np.float64)
    if isinstance(column.kinds, Kind):
        return Column.of(Kind.FLOAT, ints)
    whole = column.kinds == Kind.INT
    data: dict[Kind, Any] = {k: v for k, v in column.data.items() if k != Kind.INT}
    data[Kind.FLOAT] = np.where(whole, ints, data[Kind.FLOAT]) if Kind.FLOAT in data else ints
    return Column(np.where(whole, np.uint8(Kind.FLOAT), column.kinds), data, column.n).normal()
