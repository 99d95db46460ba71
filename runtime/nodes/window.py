"""`|window()`: from points to batches, by time or by count.

A group's points stand in an append-only list; a window is a slice of it. Kapacitor keeps them in a ring buffer and,
when it purges old points from a ring that has wrapped, looks at the last physical slot first; with late points that
decides what a window holds. So the ring's indices are kept too, and a purge moves the slice's head as the ring would.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tickc.runtime.batch import BARRIER, DELETE, Array, Batch, Groups, Marks, Points, Segments, Text, Vocabulary
from tickc.runtime.graph import AT_THE_END, Operator
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.nodes.group import first_rows
from tickc.runtime.nodes.kept import Chosen, Kept, list_row
from tickc.runtime.nodes.stream import YEAR_ONE
from tickc.runtime.prefetch import LINE

# columns of the per-group i8 state of a time window; NEW: points since the last purge, which the ring's indices (CAP to
# SIZE) have not been moved over yet
NEXT, CAP, LEN, START, STOP, SIZE, OPEN, NEW = range(8)


@bare_kernel
def floor_to(time, unit, offset):  # type: ignore[no-untyped-def]
    """Go's Time.Truncate: `time` (i8 ns) down to a multiple of `unit` since year 1; offset = YEAR_ONE % unit."""
    return time - ((time % unit) + offset) % unit


@bare_kernel
def first_emission(time, period, every, offset, align, fill):  # type: ignore[no-untyped-def]
    """When a group whose first point is at `time` emits first (Kapacitor newWindowByTime)."""
    if fill:
        when = time + period
        if align:
            aligned = floor_to(when, every, offset) if every > 0 else when
            return aligned if aligned > when else aligned + every
        return when
    when = time + every
    return floor_to(when, every, offset) if align and every > 0 else when


@bare_kernel
def ring_insert(state, g):  # type: ignore[no-untyped-def]
    """Move a group's ring indices as one insertion does (windowTimeBuffer.insert)."""
    if state[g, SIZE] == state[g, CAP]:
        state[g, CAP] = 2 * (state[g, SIZE] + 1)
        state[g, LEN] = state[g, SIZE] + 1
        state[g, START] = 0
        state[g, STOP] = state[g, SIZE]
    if state[g, LEN] == state[g, CAP] and state[g, STOP] == state[g, LEN]:
        state[g, STOP] = 0
    if state[g, STOP] == state[g, LEN]:
        state[g, LEN] += 1
    state[g, SIZE] += 1
    state[g, STOP] += 1


@bare_kernel
def ring_insert_many(state, g):  # type: ignore[no-untyped-def]
    """`ring_insert` for all insertions since the last purge (NEW)."""
    n = state[g, NEW]
    if n <= state[g, CAP] - state[g, SIZE]:  # no growth, at most one wrap
        stop = state[g, STOP] + n
        if stop <= state[g, CAP]:
            state[g, LEN] = max(state[g, LEN], stop)
        else:
            state[g, LEN] = state[g, CAP]
            stop -= state[g, CAP]
        state[g, STOP] = stop
        state[g, SIZE] += n
    else:
        for _ in range(n):
            ring_insert(state, g)


@bare_kernel
def ring_purge(state, g, time, index, head, limit):  # type: ignore[no-untyped-def]
    """Drop the points before `limit` from the front as windowTimeBuffer.purge does; returns the new head.

    time: i8[rows]; index: i8[rows], where the group's points stand in order of arrival from `head` on.
    """
    if state[g, SIZE] == 0:  # after a barrier; what stands in the ring's slots went before, being older still
        return head
    end = state[g, STOP]
    if state[g, START] >= state[g, STOP]:
        upper = state[g, LEN] - state[g, START]
        last = upper if upper > 0 else end if end == state[g, LEN] else 0  # the point of the last slot; 0: a gone one
        if last > 0 and time[index[head + last - 1]] >= limit:
            while state[g, START] < state[g, LEN] and time[index[head]] < limit:
                head += 1
                state[g, START] += 1
            state[g, SIZE] = state[g, LEN] - state[g, START] + state[g, STOP]
            return head
        head += upper
        state[g, START] = 0
    while state[g, START] < end and time[index[head]] < limit:
        head += 1
        state[g, START] += 1
    state[g, SIZE] = end - state[g, START]
    return head


@bare_kernel
def end_window(  # type: ignore[no-untyped-def]
    t, g, row, time, index, heads, tails, state, period, every, offset, align, out_start, out_stop, out_tmax, out_row,
    emitted,
):  # fmt: skip
    """Write the window of group g that ends at time t as emission `emitted`, and set when the next one will."""
    limit = t - period + 1 if every == 0 else state[g, NEXT] - period
    ring_insert_many(state, g)
    heads[g] = ring_purge(state, g, time, index, heads[g], limit)
    out_start[emitted] = heads[g]
    out_stop[emitted] = tails[g]
    out_tmax[emitted] = t if every == 0 else state[g, NEXT]
    out_row[emitted] = row
    state[g, NEW] = 0
    state[g, NEXT] = t if every == 0 else t + every
    if align and every > 0:
        state[g, NEXT] = floor_to(state[g, NEXT], every, offset)


@bare_kernel
def time_windows(  # type: ignore[no-untyped-def]
    time, group, index, heads, tails, state, first, period, every, offset, align, fill, out_start, out_stop,
    out_tmax, out_row,
):  # fmt: skip
    """List rows of groups i4[n], and the slices of the windows that they complete.

    time: i8[all], where the rows stand from `first` on; index: where those of each group stand, in order of arrival;
    heads, tails: i8[groups], each group's part of it. state: i8[groups, 8]. Writes a slice of `index`, the batch time
    and the row (from 0) for each emission; returns how many.
    """
    emitted = 0
    for i in range(group.size):
        g = group[i]
        t = time[first + i]
        if state[g, OPEN] == 0:
            state[g, OPEN] = 1
            state[g, NEXT] = first_emission(t, period, every, offset, align, fill)
        if every == 0:
            list_row(first + i, g, index, tails)
            state[g, NEW] += 1
        if t >= state[g, NEXT]:
            end_window(
                t, g, i, time, index, heads, tails, state, period, every, offset, align, out_start, out_stop, out_tmax,
                out_row, emitted,
            )  # fmt: skip
            emitted += 1
        if every != 0:
            list_row(first + i, g, index, tails)
            state[g, NEW] += 1
    return emitted


@bare_kernel
def windows_at(  # type: ignore[no-untyped-def]
    moment, moment_group, time, index, heads, tails, state, period, every, offset, align, fill, out_start, out_stop,
    out_tmax, out_row,
):  # fmt: skip
    """As `time_windows` for moments without a point: i8[m] times of the groups i4[m]; out_row gets the moment."""
    emitted = 0
    for i in range(moment.size):
        g = moment_group[i]
        t = moment[i]
        if state[g, OPEN] == 0:
            state[g, OPEN] = 1
            state[g, NEXT] = first_emission(t, period, every, offset, align, fill)
        if t >= state[g, NEXT]:
            end_window(
                t, g, i, time, index, heads, tails, state, period, every, offset, align, out_start, out_stop, out_tmax,
                out_row, emitted,
            )  # fmt: skip
            emitted += 1
    return emitted


@bare_kernel
def count_windows(  # type: ignore[no-untyped-def]
    group, index, heads, tails, state, first, period, every, fill, out_start, out_stop, out_row
):  # fmt: skip
    """As `time_windows` for windows by count; state: i8[groups, 2], points so far and the next emission."""
    emitted = 0
    for i in range(group.size):
        g = group[i]
        if state[g, 1] == 0:
            state[g, 1] = period if fill else every
        list_row(first + i, g, index, tails)
        state[g, 0] += 1
        if state[g, 0] == state[g, 1]:
            state[g, 1] += every
            out_stop[emitted] = tails[g]
            out_start[emitted] = tails[g] - min(period, state[g, 0])
            out_row[emitted] = i
            emitted += 1
        if tails[g] - heads[g] > period:
            heads[g] = tails[g] - period
    return emitted


@bare_kernel
def rows_by_group(group, groups, index, begin):  # type: ignore[no-untyped-def]
    """Counting sort: index i8[n] lists the rows by group, in order within each; begin: i8[groups + 1]."""
    for g in range(groups + 1):
        begin[g] = 0
    for i in range(group.size):
        begin[group[i] + 1] += 1
    for g in range(groups):
        begin[g + 1] += begin[g]
    for i in range(group.size):
        g = group[i]
        index[begin[g]] = i
        begin[g] += 1
    for g in range(groups, 0, -1):
        begin[g] = begin[g - 1]
    begin[0] = 0


def grown(array: Array, groups: int) -> Array:
    """A per-group array with room for `groups`, new rows zero; it begins with a line of a cache."""
    if groups <= len(array):
        return array
    shape = (max(groups, 2 * len(array)), *array.shape[1:])
    size = math.prod(shape) * array.dtype.itemsize
    bytes_ = np.zeros(size + LINE, np.uint8)  # which takes no memory before it is written to
    start = -bytes_.ctypes.data % LINE
    room = bytes_[start : start + size].view(array.dtype).reshape(shape)
    room[: len(array)] = array
    return room


class Names:
    """The name of each group at an operator: that of the first message it saw of the group."""

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        self.codes = np.zeros(0, np.int32)
        self._complete = True  # whether all groups have a name

    def snapshot(self) -> tuple[Vocabulary, Array]:
        return self.vocabulary, self.codes

    def restore(self, saved: tuple[Vocabulary, Array]) -> None:
        self.vocabulary, self.codes = saved
        self._complete = False

    def learn(self, group: Array, groups: Groups, name: Text) -> None:
        """Note the names of the groups that appear for the first time in rows of `group` with `name`."""
        self._reserve(groups)
        if self._complete:
            return
        nameless = self.codes < 0
        if nameless.any():
            codes, rows = first_rows(group, nameless)
            self.codes[codes] = name.take(rows).filled("").recode(self.vocabulary).codes
        self._complete = not (self.codes < 0).any()

    def nameless(self, group: Array, groups: Groups) -> None:
        """Groups that a mark brings have no name, unless they are known."""
        self._reserve(groups)
        unknown = group[self.codes[group] < 0]
        if len(unknown):
            self.codes[unknown] = self.vocabulary.code("")

    def forget(self, group: Array, groups: Groups) -> None:
        """What comes next of these groups names them anew."""
        self._reserve(groups)
        self.codes[group] = -1
        self._complete = False

    def _reserve(self, groups: Groups) -> None:
        missing = len(groups) - len(self.codes)
        if missing > 0:
            self.codes = np.concatenate([self.codes, np.full(missing, -1, np.int32)])
            self._complete = False

    def of(self, group: Array) -> Text:
        """The names of groups."""
        return Text(self.codes[group], self.vocabulary)


class _Window(Operator):
    """What both windows share: rows that are kept by group, and the group names."""

    STATE = ("kept", "names", "state", "groups")
    pours = True
    spills = True
    alone = True

    def __init__(self, *, name: str, columns: int) -> None:
        super().__init__(name=name)
        self.kept = Kept(self)
        self.state = np.zeros((0, columns), np.int64)  # by group
        self.names = Names()
        self.groups = Groups()  # those of the input

    def _enter(self, batch: Points) -> tuple[Array, int]:
        """Let the rows of a batch stand behind those that are kept, but not be listed: their groups, and the first."""
        self.groups = batch.groups
        self.names.learn(batch.group, batch.groups, batch.rows.name)
        self.state = grown(self.state, len(batch.groups))
        group = np.ascontiguousarray(batch.group)
        return group, self.kept.append(batch.rows, group, len(batch.groups))

    def _emit(self, start: Array, stop: Array, tmax: Array, group: Array, seq: Array) -> Iterable[Any]:
        name = self.names.of(group)
        for some, rows, chosen, first, last in self.kept.slices(group, start, stop):
            batch = Segments(rows, first, last, tmax[some], group[some], self.groups, name.take(some), seq[some])
            yield from self.later(partial(_indexed, batch, chosen))

    def forget(self, codes: Array, groups: Groups) -> None:
        self.names.forget(codes, groups)
        self.kept.reserve(len(groups))
        self.kept.forget(codes)
        self.state = grown(self.state, len(groups))
        self.state[codes] = 0


def _indexed(batch: Segments, chosen: Chosen) -> Iterable[Batch]:
    """A batch with the index that `chosen` gives."""
    yield replace(batch, index=chosen())


class TimeWindow(_Window):
    """Emits the points of the last `period` every `every` (0: at every point), on event time."""

    def __init__(
        self, *, name: str, period: int, every: int = 0, align: bool = False, fill_period: bool = False
    ) -> None:
        super().__init__(name=name, columns=8)
        self.period, self.every, self.align, self.fill_period = period, every, align, fill_period

    def points(self, batch: Points) -> Iterable[Batch]:
        group, first = self._enter(batch)
        out = np.empty((4, len(group)), np.int64)
        kept = self.kept
        emitted = time_windows(
            kept.time, group, kept.index, kept.heads, kept.tails, self.state, first, *self._rule(), *out
        )
        start, stop, tmax, row = out[:, :emitted]
        yield from self._emit(start, stop, tmax, group[row], batch.seq[row])
        kept.settle()

    def _rule(self) -> tuple[int, int, int, bool, bool]:
        offset = YEAR_ONE % self.every if self.every else 0
        return self.period, self.every, offset, self.align, self.fill_period

    def marks(self, marks: Marks) -> Iterable[Any]:
        """A barrier emits as a point of its time would, and stays here."""
        barriers = marks.take(marks.kind == BARRIER)
        self.groups = marks.groups
        self.names.nameless(barriers.group, marks.groups)
        yield from self._emit_at(barriers.time, barriers.group, barriers.seq)
        if len(barriers) < len(marks):
            yield from super().marks(marks.take(marks.kind == DELETE))

    def flush(self) -> Iterable[Batch]:
        """The windows that hold a point which has not come out yet, as their next emission would be."""
        group = np.flatnonzero((self.state[:, OPEN] == 1) & (self.state[:, NEW] > 0)).astype(np.int32)
        return self._emit_at(self.state[group, NEXT], group, np.full(len(group), AT_THE_END))

    def _emit_at(self, time: Array, group: Array, seq: Array) -> Iterable[Batch]:
        """The windows that end at times i8[m] of the groups i4[m], at which no point comes."""
        self.state = grown(self.state, len(self.groups))
        kept = self.kept
        kept.reserve(len(self.groups))
        out = np.empty((4, len(time)), np.int64)
        emitted = windows_at(
            time, group, kept.time, kept.index, kept.heads, kept.tails, self.state, *self._rule(), *out
        )
        start, stop, tmax, row = out[:, :emitted]
        yield from self._emit(start, stop, tmax, group[row], seq[row])
        kept.settle()


class CountWindow(_Window):
    """Emits the last `period_count` points after every `every_count` points of a group."""

    def __init__(self, *, name: str, period_count: int, every_count: int, fill_period: bool = False) -> None:
        super().__init__(name=name, columns=2)
        self.period, self.every, self.fill_period = period_count, every_count, fill_period

    def points(self, batch: Points) -> Iterable[Batch]:
        group, first = self._enter(batch)
        out = np.empty((3, len(group)), np.int64)
        kept = self.kept
        emitted = count_windows(
            group, kept.index, kept.heads, kept.tails, self.state, first, self.period, self.every, self.fill_period,
            *out,
        )  # fmt: skip
        start, stop, row = out[:, :emitted]
        yield from self._emit(start, stop, self._last(stop), group[row], batch.seq[row])
        kept.settle()

    def _last(self, stop: Array) -> Array:
        """i8[m] ns: the times of the last rows of slices."""
        return self.kept.time[self.kept.index[stop - 1]]

    def marks(self, marks: Marks) -> Iterable[Any]:
        self.names.nameless(marks.group[marks.kind == BARRIER], marks.groups)
        return super().marks(marks)

    def flush(self) -> Iterable[Batch]:
        """The last points of the groups in which one has not come out yet."""
        count, following = self.state[: len(self.groups)].T
        never = following == (self.period if self.fill_period else self.every)
        group = np.flatnonzero((count > 0) & (never | (count > following - self.every))).astype(np.int32)
        stop = self.kept.tails[group]
        start = np.maximum(self.kept.heads[group], stop - self.period)
        return self._emit(start, stop, self._last(stop), group, np.full(len(group), AT_THE_END))
