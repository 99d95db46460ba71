"""Nodes that treat each row by itself: default, delete, shift, sample, log, noOp, trickle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickc.runtime.batch import (
    DTYPES,
    MISSING,
    STRING,
    Array,
    Batch,
    Column,
    Group,
    Groups,
    Points,
    Rows,
    Segments,
    Text,
)
from tickc.runtime.graph import Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.group import Retagging
from tickc.runtime.nodes.stream import past_multiple
from tickc.runtime.nodes.window import grown

Value = float | int | str | bool


class Regrouped:
    """The groups behind an operator that changes all points of a group alike: a table from codes to codes."""

    def __init__(self, change: Callable[[Group], Mapping[str, str]]) -> None:
        """change: the dimensions of a changed group with their values, in order."""
        self.change = change
        self.groups = Groups()
        self.table = np.zeros(0, np.int32)

    def encode(self, group: Array, groups: Groups) -> Array:
        """i4[n]: codes in `self.groups` for i4[n] codes in `groups`."""
        known = len(self.table)
        if len(groups) > known:
            fresh = [self.groups.code(g.name, g.by_name, self.change(g)) for g in groups.since(known)]
            self.table = np.concatenate([self.table, np.array(fresh, np.int32)])
        return self.table[group]

    def snapshot(self) -> Any:
        return [self.groups, self.table]

    def restore(self, saved: Any) -> None:
        self.groups, self.table = saved


class Default(Operator):
    """Sets fields that are absent or null, and tags that are absent or empty.

    Kapacitor default.go: on a batch the header gets the tags too, and with them the dimensions; on a stream the
    dimensions stay, but a dimension without a value gets one.
    """

    STATE = ("in_stream", "in_batch")
    alone = True

    def __init__(self, *, name: str, fields: Mapping[str, Value] = {}, tags: Mapping[str, str] = {}) -> None:
        super().__init__(name=name)
        self.fields = dict(fields)
        self.tags = dict(tags)
        self.in_stream = Regrouped(self._dimensions)
        self.in_batch = Regrouped(self._header)

    def points(self, batch: Points) -> Iterable[Batch]:
        rows = self._rows(batch.rows)
        if not self.tags:
            yield batch.with_rows(rows)
            return
        yield Points(rows, self.in_stream.encode(batch.group, batch.groups), self.in_stream.groups, batch.seq)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.with_rows(self._rows(batch.rows))
        yield _in_groups(batch, self.in_batch) if self.tags else batch

    def groups_behind(self, groups: Groups) -> Groups:
        if not self.tags:
            return groups
        return self.in_batch.groups if len(self.in_batch.table) else self.in_stream.groups

    def _dimensions(self, group: Group) -> Mapping[str, str]:
        return {d: v or self.tags.get(d, "") for d, v in group.tags.items()}

    def _header(self, group: Group) -> Mapping[str, str]:
        return dict(sorted({**self.tags, **{t: v or self.tags.get(t, "") for t, v in group.tags.items()}}.items()))

    def _rows(self, rows: Rows) -> Rows:
        fields, tags = dict(rows.fields), dict(rows.tags)
        for name, value in self.fields.items():
            fields[name] = filled(rows.field(name), value)
        for name, text in self.tags.items():
            tags[name] = _filled_text(rows.tags.get(name), text, len(rows))
        return rows.with_(fields=fields, tags=tags)


def filled(column: Column, value: Value) -> Column:
    """The column with `value` in the rows where it is absent or null."""
    default = Column.of_values([value])
    assert isinstance(default.kinds, Kind)
    kind, n = default.kinds, column.n
    kinds = column.kinds_array()
    empty = (kinds == MISSING) | (kinds == Kind.NIL)
    if not empty.any():
        return column
    data = dict(column.data)
    if kind is STRING:
        assert isinstance(value, str)
        text = data.get(kind) or Text.of([None]).take(np.zeros(n, np.int64))
        data[kind] = Text(np.where(empty, np.int32(text.vocabulary.code(value)), text.codes), text.vocabulary)
    else:
        data[kind] = np.where(empty, DTYPES[kind](value), data.get(kind, DTYPES[kind](value)))
    return Column(np.where(empty, np.uint8(kind), kinds), data, n).normal()


def _filled_text(text: Text | None, value: str, n: int) -> Text:
    if text is None:
        return Text.constant(value, n)
    empty = (text.codes < 0) | (text.codes == text.vocabulary.find(""))
    if not empty.any():
        return text
    return Text(np.where(empty, np.int32(text.vocabulary.code(value)), text.codes), text.vocabulary)


def _in_groups(batch: Segments, regrouped: Regrouped) -> Segments:
    """The batches with the headers of `regrouped`."""
    group = regrouped.encode(batch.group, batch.groups)
    return Segments(batch.rows, batch.start, batch.stop, batch.tmax, group, regrouped.groups, batch.name, batch.seq,
                    batch.index)  # fmt: skip


class Delete(Operator):
    """Removes fields and tags. A dimension that goes leaves the group's dimensions (Kapacitor delete.go)."""

    STATE = ("regrouped",)
    alone = True

    def __init__(self, *, name: str, fields: Sequence[str] = (), tags: Sequence[str] = ()) -> None:
        super().__init__(name=name)
        self.fields = frozenset(fields)
        self.tags = frozenset(tags)
        self.regrouped = Regrouped(lambda group: {d: v for d, v in group.tags.items() if d not in self.tags})

    def points(self, batch: Points) -> Iterable[Batch]:
        rows = self._rows(batch.rows)
        if not self.tags:
            yield batch.with_rows(rows)
            return
        yield Points(rows, self.regrouped.encode(batch.group, batch.groups), self.regrouped.groups, batch.seq)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.with_rows(self._rows(batch.rows))
        yield _in_groups(batch, self.regrouped) if self.tags else batch

    def groups_behind(self, groups: Groups) -> Groups:
        return self.regrouped.groups if self.tags else groups

    def _rows(self, rows: Rows) -> Rows:
        return rows.with_(
            fields={k: v for k, v in rows.fields.items() if k not in self.fields},
            tags={k: v for k, v in rows.tags.items() if k not in self.tags},
        )


class Shift(Operator):
    """Moves points and batches in time by `by` ns."""

    alone = True

    def __init__(self, *, name: str, by: int) -> None:
        super().__init__(name=name)
        self.by = by

    def points(self, batch: Points) -> Iterable[Batch]:
        yield batch.with_rows(batch.rows.with_(time=batch.rows.time + self.by))

    def segments(self, batch: Segments) -> Iterable[Batch]:
        rows = batch.rows.with_(time=batch.rows.time + self.by)
        yield Segments(rows, batch.start, batch.stop, batch.tmax + self.by, batch.group, batch.groups, batch.name,
                       batch.seq, batch.index)  # fmt: skip


@kernel
def sample_kernel(group, rate, counts, keep):  # type: ignore[no-untyped-def]
    """Every `rate`-th point of a group, from the first on. group: i4[n], counts: i8[groups] -> keep: bool[n]."""
    for i in range(group.size):
        g = group[i]
        keep[i] = counts[g] % rate == 0
        counts[g] += 1


class Sample(Operator):
    """Keeps every `count`-th point of a group (of each batch), or the points whose time is a multiple of `every` ns."""

    STATE = ("counts",)
    alone = True

    def __init__(self, *, name: str, count: int = 0, every: int = 0) -> None:
        super().__init__(name=name)
        self.count, self.every = count, every
        self.counts = np.zeros(0, np.int64)

    def points(self, batch: Points) -> Iterable[Batch]:
        keep = self._on_grid(batch.rows.time)
        if keep is None:
            self.counts = grown(self.counts, len(batch.groups))
            keep = np.empty(len(batch), np.bool_)
            sample_kernel(batch.group, self.count, self.counts, keep)
        if keep.all():
            yield batch
        elif keep.any():
            yield batch.take(keep)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        keep = self._on_grid(batch.rows.time)
        if keep is None:
            batch = batch.flat()
            keep = (np.arange(len(batch.rows)) - np.repeat(batch.start, batch.sizes)) % self.count == 0
        yield batch.keep(keep)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.counts = grown(self.counts, len(groups))
        self.counts[codes] = 0

    def _on_grid(self, time: Array) -> Array | None:
        """For a sample by duration, bool[n]: times that Go's Truncate leaves alone."""
        if self.every == 0:
            return None
        return past_multiple(time, self.every) == 0 if self.every > 0 else np.ones(len(time), np.bool_)


@dataclass(frozen=True, slots=True)
class Logged:
    """What a log node saw: it is turned into text only where somebody reads the log."""

    level: str
    prefix: str
    batch: Batch


class Log(Operator):
    """Hands everything it sees to the log and passes it on."""

    alone = True
    sends = True

    def __init__(self, *, name: str, level: str = "INFO", prefix: str = "") -> None:
        super().__init__(name=name)
        self.level, self.prefix = level.upper(), prefix

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.send("log", self.prefix, Logged(self.level, self.prefix, batch))
        yield batch


class NoOp(Operator):
    """Passes everything on."""

    alone = True

    def process(self, batch: Batch) -> Iterable[Batch]:
        yield batch


class Unfed(Operator):
    """Lets nothing through, marks neither: the edge to a child that trickle leaves out."""

    alone = True

    def receive(self, message: Any) -> Iterable[Any]:
        return ()


class Trickle(Operator):
    """The points of batches, one by one, with the name and the dimensions of their batch (Kapacitor trickle.go).

    own_tags: tags that points may have otherwise than their batch; their group follows from those.
    """

    STATE = ("retagging",)
    alone = True

    def __init__(self, *, name: str, own_tags: Sequence[str] = ()) -> None:
        super().__init__(name=name)
        self.own_tags, self.retagging = own_tags, Retagging()

    def points(self, batch: Points) -> Iterable[Batch]:
        yield batch

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.flat()
        owner = batch.owner()
        nowhere = no_text(len(owner))
        rows = batch.rows.with_(name=batch.name.take(owner), database=nowhere, policy=nowhere)
        if not len(owner):
            return
        group, groups = batch.group[owner], batch.groups
        if self.own_tags:
            group, groups = self.retagging.encode(group, groups, rows, self.own_tags), self.retagging.groups
        yield Points(rows, group, groups, batch.seq[owner])

    def groups_behind(self, groups: Groups) -> Groups:
        return self.retagging.groups if self.own_tags else groups
