"""`|window()`: from points to batches, by time or by count.

A group's points stand in an append-only list; a window is a slice of it. Kapacitor keeps them in a ring buffer and,
when it purges old points from a ring that has wrapped, looks at the last physical slot first; with late points that
decides what a window holds. So the ring's indices are kept too, and a purge moves the slice's head as the ring would.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tickc.runtime.batch import Array, Batch, Groups, Points, Rows, Segments, Text, Vocabulary
from tickc.runtime.graph import Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.nodes.group import first_rows
from tickc.runtime.nodes.stream import YEAR_ONE

# columns of the per-group i8 state of a time window
NEXT, CAP, LEN, START, STOP, SIZE, OPEN = range(7)


@kernel
def floor_to(time, unit, offset):  # type: ignore[no-untyped-def]
    """Go's Time.Truncate: `time` (i8 ns) down to a multiple of `unit` since year 1; offset = YEAR_ONE % unit."""
    return time - ((time % unit) + offset) % unit


@kernel
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


@kernel
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


@kernel
def ring_purge(state, g, time, index, head, limit):  # type: ignore[no-untyped-def]
    """Drop the points before `limit` from the front as windowTimeBuffer.purge does; returns the new head.

    time: i8[rows]; index: i8[rows], where the group's points stand in order of arrival from `head` on.
    """
    if state[g, LEN] == 0:
        return head
    end = state[g, STOP]
    if state[g, START] >= state[g, STOP]:
        upper = state[g, LEN] - state[g, START]
        if upper > 0 and time[index[head + upper - 1]] >= limit:
            while time[index[head]] < limit:
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


@kernel
def time_windows(
    time, group, index, heads, tails, state, first, period, every, offset, align, fill, out_start, out_stop,
    out_tmax, out_row,
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Slices of the windows that the rows from `first` on complete.

    time: i8[n], group: i4[n]; rows before `first` are carried over. index: i8[n], rows by group in order of arrival;
    heads, tails: i8[groups], each group's part of it. state: i8[groups, 7]. Writes a slice of `index`, the batch time
    and the row for each emission; returns how many.
    """
    emitted = 0
    for i in range(first, time.size):
        g = group[i]
        t = time[i]
        if state[g, OPEN] == 0:
            state[g, OPEN] = 1
            state[g, NEXT] = first_emission(t, period, every, offset, align, fill)
        if every == 0:
            ring_insert(state, g)
            tails[g] += 1
        if t >= state[g, NEXT]:
            limit = t - period + 1 if every == 0 else state[g, NEXT] - period
            heads[g] = ring_purge(state, g, time, index, heads[g], limit)
            out_start[emitted] = heads[g]
            out_stop[emitted] = tails[g]
            out_tmax[emitted] = t if every == 0 else state[g, NEXT]
            out_row[emitted] = i
            emitted += 1
            state[g, NEXT] = t if every == 0 else t + every
            if align and every > 0:
                state[g, NEXT] = floor_to(state[g, NEXT], every, offset)
        if every > 0:
            ring_insert(state, g)
            tails[g] += 1
    return emitted


@kernel
def count_windows(group, index, bounds, held, state, first, period, every, fill, out_start, out_stop, out_row):  # type: ignore[no-untyped-def]
    """As `time_windows` for windows by count. bounds: i8[groups], where a group's part of `index` begins; held:
    i8[groups], how many of its rows are in the list; state: i8[groups, 2], points so far and the next emission."""
    emitted = 0
    for i in range(first, group.size):
        g = group[i]
        if state[g, 1] == 0:
            state[g, 1] = period if fill else every
        held[g] += 1
        state[g, 0] += 1
        if state[g, 0] == state[g, 1]:
            state[g, 1] += every
            out_stop[emitted] = bounds[g] + held[g]
            out_start[emitted] = out_stop[emitted] - min(period, state[g, 0])
            out_row[emitted] = i
            emitted += 1
    return emitted


@kernel
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
    """A per-group array with room for `groups`, new rows zero."""
    if groups <= len(array):
        return array
    more = max(groups, 2 * len(array)) - len(array)
    return np.concatenate([array, np.zeros((more, *array.shape[1:]), array.dtype)])


class Names:
    """The name of each group at an operator: that of the first message it saw of the group."""

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        self.codes = np.zeros(0, np.int32)

    def snapshot(self) -> tuple[Vocabulary, Array]:
        return self.vocabulary, self.codes

    def restore(self, saved: tuple[Vocabulary, Array]) -> None:
        self.vocabulary, self.codes = saved

    def learn(self, group: Array, groups: Groups, name: Text) -> None:
        """Note the names of the groups that appear for the first time in rows of `group` with `name`."""
        known = len(self.codes)
        if len(groups) > known:
            self.codes = np.concatenate([self.codes, np.full(len(groups) - known, -1, np.int32)])
        nameless = self.codes < 0
        if nameless.any():
            for code, row in first_rows(group, nameless):
                self.codes[code] = self.vocabulary.code(name.at(row) or "")

    def of(self, group: Array) -> Text:
        """The names of groups."""
        return Text(self.codes[group], self.vocabulary)


class _Window(Operator):
    """What both windows share: rows that are kept between batches, and the group names."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self.kept: Rows | None = None
        self.kept_group = np.zeros(0, np.int32)
        self.names = Names()

    def _join(self, batch: Points) -> tuple[Rows, Array, int]:
        """The kept rows and the batch's, their groups, and where the batch begins."""
        self.names.learn(batch.group, batch.groups, batch.rows.name)
        if self.kept is None or not len(self.kept):
            return batch.rows, np.ascontiguousarray(batch.group), 0
        rows = Rows.concat([self.kept, batch.rows])
        return rows, np.concatenate([self.kept_group, batch.group]), len(self.kept)

    def _keep(self, rows: Rows, group: Array, index: Array, begin: Array, end: Array) -> None:
        """Keep the rows at index[begin[g]:end[g]] of each group, in order of arrival."""
        sizes = end - begin
        places = np.repeat(begin - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))
        chosen = np.sort(index[places])
        self.kept, self.kept_group = rows.take(chosen), group[chosen]

    def _emit(
        self, batch: Points, rows: Rows, index: Array, start: Array, stop: Array, tmax: Array, row: Array, first: int
    ) -> Iterable[Batch]:
        if len(row):
            own = row - first
            group = batch.group[own]
            yield Segments(
                rows, start, stop, tmax, group, batch.groups, self.names.of(group), batch.seq[own], index=index
            )


class TimeWindow(_Window):
    """Emits the points of the last `period` every `every` (0: at every point), on event time."""

    STATE = ("kept", "kept_group", "names", "state")

    def __init__(
        self, *, name: str, period: int, every: int = 0, align: bool = False, fill_period: bool = False
    ) -> None:
        super().__init__(name=name)
        self.period, self.every, self.align, self.fill_period = period, every, align, fill_period
        self.state = np.zeros((0, 7), np.int64)

    def points(self, batch: Points) -> Iterable[Batch]:
        rows, group, first = self._join(batch)
        groups = len(batch.groups)
        self.state = grown(self.state, groups)
        index, begin = np.empty(len(rows), np.int64), np.empty(groups + 1, np.int64)
        rows_by_group(group, groups, index, begin)
        heads = begin[:-1].copy()
        tails = heads + np.bincount(group[:first], minlength=groups)
        out = np.empty((4, len(rows) - first), np.int64)
        offset = YEAR_ONE % self.every if self.every else 0
        emitted = time_windows(
            rows.time, group, index, heads, tails, self.state, first, self.period, self.every, offset,
            self.align, self.fill_period, out[0], out[1], out[2], out[3],
        )  # fmt: skip
        start, stop, tmax, row = out[:, :emitted]
        yield from self._emit(batch, rows, index, start, stop, tmax, row, first)
        self._keep(rows, group, index, heads, tails)


class CountWindow(_Window):
    """Emits the last `period_count` points after every `every_count` points of a group."""

    STATE = ("kept", "kept_group", "names", "state")

    def __init__(self, *, name: str, period_count: int, every_count: int, fill_period: bool = False) -> None:
        super().__init__(name=name)
        self.period, self.every, self.fill_period = period_count, every_count, fill_period
        self.state = np.zeros((0, 2), np.int64)

    def points(self, batch: Points) -> Iterable[Batch]:
        rows, group, first = self._join(batch)
        groups = len(batch.groups)
        self.state = grown(self.state, groups)
        index, begin = np.empty(len(rows), np.int64), np.empty(groups + 1, np.int64)
        rows_by_group(group, groups, index, begin)
        held = np.bincount(group[:first], minlength=groups)
        out = np.empty((3, len(rows) - first), np.int64)
        emitted = count_windows(
            group, index, begin, held, self.state, first, self.period, self.every, self.fill_period, *out
        )
        start, stop, row = out[:, :emitted]
        tmax = rows.time[index[stop - 1]]
        yield from self._emit(batch, rows, index, start, stop, tmax, row, first)
        end = begin[1:]
        self._keep(rows, group, index, np.maximum(begin[:-1], end - self.period), end)
