"""`|barrier()` and `|stats()`: what follows the clock rather than the data.

Kapacitor's barrier.go and stats.go go by the clock on the wall. Here the clock is `Graph.clock`: where it runs, the
time of the data (docs/decisions/data-time.md); else time stands still, barriers let all pass, statistics are silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tickc.runtime.batch import BARRIER, DELETE, Array, Batch, Column, Groups, Marks, Points, Rows, Segments, Text
from tickc.runtime.graph import Clock, Graph, Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.stream import YEAR_ONE
from tickc.runtime.nodes.window import grown

KNOWN, LAST, BARRED, LIMIT, DEADLINE = range(5)  # columns of a barrier's i8 state of a group
AT_ONCE = 65_536  # points of statistics that are made in one round


def floor(time: int, unit: int) -> int:
    """The last multiple of `unit` ns since year 1 that is not after `time`."""
    return time - (time + YEAR_ONE) % unit


class Barrier(Operator):
    """Says of each group that no older data will follow, and drops what is older nevertheless.

    period: at each multiple of `period` ns. idle: when nothing of the group has come for `idle` ns, and again after
    each `idle` ns; the barrier's time is that of the group's last point plus `idle`, then plus `idle` each time.
    delete: the group can be forgotten after that; this operator forgets it too.

    state: i8[groups, 5]: whether the group is known; the time of its last point or barrier; whether there has been a
    barrier, and its time; when the next one is due (idle).
    """

    STATE = ("state", "next", "groups")

    def __init__(self, *, name: str, idle: int = 0, period: int = 0, delete: bool = False) -> None:
        super().__init__(name=name)
        self.idle, self.period, self.delete = idle, period, delete
        self.state = np.zeros((0, 5), np.int64)
        self.next = 0  # when the next barrier of all groups is due (period)
        self.groups = Groups()
        self.clock = Clock()

    def attach(self, graph: Graph) -> None:
        self.clock = graph.clock

    # -- data

    def points(self, batch: Points) -> Iterable[Batch]:
        if self.clock.on:
            self._learn(batch.group, batch.groups, batch.seq)
            kept = self._admit(batch.group, batch.rows.time, batch.seq)
            batch = batch if kept.all() else batch.take(kept)
        if len(batch):
            yield batch

    def segments(self, batch: Segments) -> Iterable[Batch]:
        if self.clock.on:
            batch = batch.flat()
            self._learn(batch.group, batch.groups, batch.seq)
            owner = batch.owner()
            kept = self._admit(batch.group[owner], batch.rows.time, batch.seq[owner])
            batch = batch if kept.all() else batch.keep(kept)
        yield batch

    def _learn(self, group: Array, groups: Groups, seq: Array) -> None:
        """Note groups that appear for the first time: their time is that of the clock until a point comes."""
        self.groups = groups
        self.state = grown(self.state, len(groups))
        first = not self.state[:, KNOWN].any()
        fresh = self.state[group, KNOWN] == 0
        if not fresh.any():
            return
        group, now = group[fresh][::-1], self.clock.at(seq[fresh])[::-1]  # so that the first of a group counts
        self.state[group, KNOWN] = 1
        self.state[group, LAST] = now
        self.state[group, DEADLINE] = now + self.idle
        if first and self.period:
            self.next = floor(int(now[-1]), self.period) + self.period

    def _admit(self, group: Array, time: Array, seq: Array) -> Array:
        """bool[n]: the points that are not older than their group's last barrier; they restart its idle time."""
        kept = (self.state[group, BARRED] == 0) | (time >= self.state[group, LIMIT])
        group = group[kept]
        self.state[group, LAST] = time[kept]  # of several points of a group the last one counts
        self.state[group, DEADLINE] = self.clock.at(seq[kept]) + self.idle
        return kept

    # -- marks

    def marks(self, marks: Marks) -> Iterable[Any]:
        if not self.clock.on:
            return
        for i in range(len(marks)):
            one = marks.take(slice(i, i + 1))
            if one.kind[0] == DELETE:
                self.forget(one.group, one.groups)
                yield one
            elif self._passes(one):
                yield one

    def _passes(self, mark: Marks) -> bool:
        """Whether a barrier from further up is not older than the group's last; it restarts the idle time."""
        self._learn(mark.group, mark.groups, mark.seq)
        own, time = self.state[mark.group[0]], int(mark.time[0])
        if own[BARRED] and time < own[LIMIT]:
            return False
        if self.idle:
            own[LAST] = own[LIMIT] = time
            own[BARRED], own[DEADLINE] = 1, int(self.clock.at(mark.seq)[0]) + self.idle
        return True

    def forget(self, codes: Array, groups: Groups) -> None:
        self.state = grown(self.state, len(groups))
        self.state[codes] = 0

    # -- time

    def due(self, clock: int) -> int | None:
        known = self.state[:, KNOWN] == 1
        if self.period:
            return self.next if known.any() else floor(clock, self.period) + self.period
        return int(self.state[known, DEADLINE].min()) if known.any() else clock + self.idle

    def advance(self, time: int) -> Iterable[Any]:
        known = self.state[:, KNOWN] == 1
        if not known.any() or (self.period and time < self.next):
            return
        if self.period:
            group = np.flatnonzero(known)
            self.state[group, LAST] = time
            self.next = floor(time, self.period) + self.period
        else:
            group = np.flatnonzero(known & (self.state[:, DEADLINE] <= time))
            self.state[group, LAST] += self.idle
            self.state[group, DEADLINE] += self.idle
        if len(group):
            yield self._barriers(group)

    def _barriers(self, group: Array) -> Marks:
        n, last = len(group), self.state[group, LAST]
        self.state[group, BARRED], self.state[group, LIMIT] = 1, last
        seq = np.full(n, self.clock.seq[0])
        codes = group.astype(np.int32)
        if not self.delete:
            return Marks(last, codes, self.groups, np.full(n, BARRIER, np.uint8), seq)
        self.forget(codes, self.groups)
        kind = np.repeat(np.array([BARRIER, DELETE], np.uint8), n)
        return Marks(np.tile(last, 2), np.tile(codes, 2), self.groups, kind, np.tile(seq, 2))


@kernel
def count_until(group, weight, stops, counts, there, out_tick, out_group, out_count):  # type: ignore[no-untyped-def]
    """Count messages by group, and write what is counted at each tick.

    group: i4[n], weight: i8[n]; tick k comes before message stops[k]. counts: i8[groups], there: bool[groups], updated.
    Writes, for each tick and group that is there, the tick, the group (-1 where none is) and its count; returns how
    many.
    """
    done, written = 0, 0
    for k in range(stops.size):
        for i in range(done, stops[k]):
            counts[group[i]] += weight[i]
            there[group[i]] = True
        done = stops[k]
        before = written
        for g in range(counts.size):
            if there[g]:
                out_tick[written] = k
                out_group[written] = g
                out_count[written] = counts[g]
                written += 1
        if written == before:
            out_tick[written] = k
            out_group[written] = -1
            out_count[written] = 0
            written += 1
    for i in range(done, group.size):
        counts[group[i]] += weight[i]
        there[group[i]] = True
    return written


class Stats(Operator):
    """Every `interval` ns, for each group on the edge behind the node that it watches, how many points went over it.

    The first time is one interval after the time of the first point of the task; `align`: the next multiple of the
    interval. A batch counts as many as its points. Before any group has come there is one point, of no group, with 0.
    """

    STATE = ("counts", "there", "next", "groups", "own")

    def __init__(self, *, name: str, interval: int, align: bool = False) -> None:
        super().__init__(name=name)
        self.interval, self.align = interval, align
        self.counts = np.zeros(0, np.int64)
        self.there = np.zeros(0, np.bool_)
        self.next: int | None = None
        self.groups = Groups()  # of what comes out
        self.own = np.zeros(0, np.int32)  # their codes, by those of the edge
        self.clock = Clock()
        self.most = AT_ONCE

    def attach(self, graph: Graph) -> None:
        self.clock = graph.clock
        if any(isinstance(op, Stats) for op in graph.above(self)):
            self.most = 1  # each time is a round of its own, so that the others' points are counted in it

    def round(self, inputs: Sequence[Sequence[Any]]) -> Iterable[Batch]:
        if not self.clock.on:
            return
        ticks, parts = self._ticks(), list[Batch]()
        for message in inputs[0]:
            if isinstance(message, Marks):
                yield from self._count(parts, ticks)
                ticks, parts = ticks[:0], []
                self._drop(message)
            else:
                parts.append(message)
        yield from self._count(parts, ticks)

    def due(self, clock: int) -> int | None:
        first = self._first(clock) if self.next is None else self.next
        return first + (max(1, self.most // max(64, len(self.counts))) - 1) * self.interval

    def _first(self, clock: int) -> int:
        """The first time, where `clock` is the time of the task's first point."""
        return (floor(clock, self.interval) if self.align else clock) + self.interval

    def _ticks(self) -> Array:
        """i8[k]: the times that this round reaches."""
        if not len(self.clock.time):
            return np.zeros(0, np.int64)
        if self.next is None:
            self.next = self._first(int(self.clock.time[0]))
        count = max(0, (self.clock.now - self.next) // self.interval + 1)
        ticks = self.next + np.arange(count, dtype=np.int64) * self.interval
        self.next += count * self.interval
        return ticks

    def _drop(self, marks: Marks) -> None:
        """Groups that are forgotten are counted from 0."""
        self._learn(marks.groups)
        gone = marks.group[marks.kind == DELETE]
        self.counts[gone], self.there[gone] = 0, False

    def _learn(self, groups: Groups) -> None:
        """Make room for groups that are new, and find theirs among those that come out."""
        fresh = list(groups.since(len(self.own)))
        if fresh:
            codes = [self.groups.code("stats", g.by_name, g.tags) for g in fresh]
            self.own = np.concatenate([self.own, np.array(codes, np.int32)])
            self.counts = np.concatenate([self.counts, np.zeros(len(fresh), np.int64)])
            self.there = np.concatenate([self.there, np.zeros(len(fresh), np.bool_)])

    def _count(self, parts: Sequence[Batch], ticks: Array) -> Iterable[Batch]:
        """Count batches, and yield what is counted at the ticks."""
        if not parts and not len(ticks):
            return
        for part in parts:
            self._learn(part.groups)
        group = np.concatenate([np.zeros(0, np.int32), *(p.group for p in parts)])
        weight = np.concatenate([ticks[:0], *(_points_in(p) for p in parts)])
        seq = np.concatenate([ticks[:0], *(p.seq for p in parts)])
        cause = self.clock.seq[np.searchsorted(self.clock.time, ticks)]  # the rows before which the ticks come
        room = len(ticks) * max(1, len(self.counts))
        tick, code, count = np.empty((3, room), np.int64)
        n = int(count_until(group, weight, np.searchsorted(seq, cause), self.counts, self.there, tick, code, count))
        if n:
            tick = tick[:n]
            yield self._points(ticks[tick], code[:n], count[:n].copy(), cause[tick])

    def _points(self, time: Array, code: Array, count: Array, seq: Array) -> Points:
        n = len(time)
        nowhere = code < 0
        group = self.own[code] if len(self.own) else np.zeros(n, np.int32)
        if nowhere.any():
            group[nowhere] = self.groups.code("stats", False, {})
        tags, fields = self.groups.tags(group), {"emitted": Column.of(Kind.INT, count)}
        rows = Rows(time, Text.constant("stats", n), no_text(n), no_text(n), tags, fields)
        return Points(rows, group, self.groups, seq)


def _points_in(batch: Batch) -> Array:
    """i8[n]: how many points each message is."""
    return np.ones(len(batch), np.int64) if isinstance(batch, Points) else batch.sizes
