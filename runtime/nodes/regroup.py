"""`|groupBy()` on a batch edge: the batches of one time are thrown together and split anew.

Kapacitor group_by.go: points are collected until a batch with another time begins; then each group goes out as a batch,
its points sorted by time. What is collected when the input ends never goes out. Kapacitor's order of the groups is that
of a Go map; here it is the order in which the groups appeared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import DELETE, Array, Batch, Marks, Pairs, Rows, Segments, Text
from tickc.runtime.gosort import sort_by_int

if TYPE_CHECKING:
    from tickc.runtime.nodes.group import Grouping


class Regroup:
    """The collected batches (flat, of one time), and the groups that they are split into."""

    def __init__(self, dims: Sequence[str], exclude: Sequence[str] = (), by_name: bool = False) -> None:
        """dims: sorted tag names, or "*" for all tags but `exclude`; by_name: group by measurement too."""
        from tickc.runtime.nodes.group import Grouping

        self.grouping: Grouping = Grouping(dims, exclude, by_name)
        self.pending: list[Segments] = []

    def snapshot(self) -> Any:
        return [self.grouping.snapshot(), self.pending]

    def restore(self, saved: Any) -> None:
        groups, self.pending = saved
        self.grouping.restore(groups)

    def process(self, batch: Segments) -> Iterable[Segments]:
        """Collect batches; yields the new batches of all times that are over."""
        if not len(batch):
            return
        batch = batch.flat()
        if not self.pending and (batch.tmax == batch.tmax[0]).all():
            self.pending.append(batch)
            return
        if self.pending and self.pending[0].tmax[0] == batch.tmax[0] and (batch.tmax == batch.tmax[0]).all():
            self.pending.append(batch)
            return
        whole = concat_segments([*self.pending, batch])
        cuts = np.flatnonzero(whole.tmax[1:] != whole.tmax[:-1]) + 1
        over = int(cuts[-1])
        self.pending = [_batches(whole, over, len(whole))]
        yield from self._split(whole, cuts, whole.seq[cuts])

    def release(self, seq: int) -> Iterable[Segments]:
        """The new batches of what is collected; seq: what releases them."""
        if self.pending:
            whole = concat_segments(self.pending)
            self.pending = []
            yield from self._split(whole, np.array([len(whole)]), np.array([seq]))

    def marks(self, marks: Marks) -> Iterable[Batch | Marks]:
        """A barrier of another time releases what is collected; a group that goes is taken out of it. Both pass on."""
        for i, (time, kind) in enumerate(zip(marks.time.tolist(), marks.kind.tolist())):
            if kind == DELETE:
                self._drop(marks.groups[int(marks.group[i])].id)
            elif self.pending and self.pending[0].tmax[0] != time:
                yield from self.release(int(marks.seq[i]))
            yield marks.take(slice(i, i + 1)).among(self.grouping.groups)

    def _drop(self, id: str) -> None:
        """Take the points of a new group out of what is collected."""
        code = self.grouping.groups.codes.get(id)
        if code is not None:
            self.pending = [b.keep(self._groups_of(b) != code) if len(b.rows) else b for b in self.pending]

    def _groups_of(self, done: Segments) -> Array:
        """i4[rows]: the new groups of the points of flat batches."""
        old = done.groups.by_name.values[done.group]
        owner = done.owner()
        return self.grouping.encode(done.rows.with_(name=done.name.take(owner)), old[owner] if old.any() else None)

    def _split(self, whole: Segments, cuts: Array, seq: Array) -> Iterable[Segments]:
        """The new batches of all runs of equal time that `cuts`, where the next one begins, end; seq: i8[runs]."""
        done = _batches(whole, 0, int(cuts[-1]))
        if not len(done.rows):
            return
        owner = done.owner()
        group = self._groups_of(done)
        run = np.searchsorted(cuts, owner, side="right").astype(np.int32)
        part = Pairs().encode(run, group)  # in order of first appearance, run after run
        order = np.argsort(part, kind="stable")
        sizes = np.bincount(part)
        stop = np.cumsum(sizes)
        start = stop - sizes
        first = order[start]
        order = _by_time(done.rows.time, order, start, stop)
        yield Segments(
            done.rows.take(order),
            start,
            stop,
            done.tmax[owner[first]],
            group[first],
            self.grouping.groups,
            done.name.take(owner[first]),
            seq[run[first]],
        )


def _by_time(time: Array, order: Array, start: Array, stop: Array) -> Array:
    """i8[n]: `order` with each run start…stop sorted by time, equal times as Go's sort.Sort leaves them.

    Go's sort leaves a run that is in order as it is, so that only the others are looked at.
    """
    times = time[order]
    late = np.concatenate([[0], np.cumsum(times[1:] < times[:-1])])  # descents up to each row
    out = order.copy()
    for j in np.flatnonzero(late[stop - 1] > late[start]).tolist():
        sort_by_int(time, out, start[j], stop[j])
    return out


def _batches(batch: Segments, first: int, last: int) -> Segments:
    """Batches first…last-1 of a flat `batch`, with only their rows."""
    low = int(batch.start[first]) if first < len(batch) else len(batch.rows)
    high = int(batch.stop[last - 1]) if last > first else low
    some = batch.take(np.arange(first, last))
    return Segments(batch.rows.take(slice(low, high)), some.start - low, some.stop - low, some.tmax, some.group,
                    some.groups, some.name, some.seq)  # fmt: skip


def concat_segments(parts: Sequence[Segments]) -> Segments:
    """The batches of several flat `Segments` of one edge, in order."""
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(p.rows) for p in parts[:-1])])
    return Segments(
        Rows.concat([p.rows for p in parts]),
        np.concatenate([p.start + o for p, o in zip(parts, offsets)]),
        np.concatenate([p.stop + o for p, o in zip(parts, offsets)]),
        np.concatenate([p.tmax for p in parts]),
        np.concatenate([p.group for p in parts]),
        parts[-1].groups,
        Text.concat([p.name for p in parts]),
        np.concatenate([p.seq for p in parts]),
    )
