"""Windows by time against a plain twin that keeps a group's points in a ring of slots, as Kapacitor does."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tickc.runtime.batch import BARRIER, Column, Groups, Marks, Points, Rows, Segments, Text
from tickc.runtime.nodes.fold import WindowFold
from tickc.runtime.nodes.stream import YEAR_ONE
from tickc.runtime.nodes.window import TimeWindow


class Ring:
    """Slots that are filled in turn; `start` and `stop` go round, and points that were purged stay in their slots."""

    def __init__(self) -> None:
        self.slots: list[int] = []
        self.room = self.start = self.stop = self.size = 0

    def insert(self, time: int) -> None:
        if self.size == self.room:
            held = self.points()
            self.room, self.slots = 2 * (self.size + 1), [*held, 0]
            self.start, self.stop = 0, self.size
        if len(self.slots) == self.room == self.stop:
            self.stop = 0
        if self.stop == len(self.slots):
            self.slots.append(time)
        else:
            self.slots[self.stop] = time
        self.size, self.stop = self.size + 1, self.stop + 1

    def purge(self, limit: int) -> None:
        if not self.slots:
            return
        if self.start >= self.stop and self.slots[-1] >= limit:
            self.start += sum(1 for _ in itertools.takewhile(lambda t: t < limit, self.slots[self.start :]))
            self.size = len(self.slots) - self.start + self.stop
            return
        if self.start >= self.stop:
            self.start = 0
        self.start += sum(1 for _ in itertools.takewhile(lambda t: t < limit, self.slots[self.start : self.stop]))
        self.size = self.stop - self.start

    def points(self) -> list[int]:
        if not self.size:
            return []
        if self.stop > self.start:
            return self.slots[self.start : self.stop]
        return self.slots[self.start :] + self.slots[: self.stop]


class Twin:
    """One group's window."""

    def __init__(self, period: int, every: int, align: bool, fill: bool) -> None:
        self.period, self.every, self.align, self.fill = period, every, align, fill
        self.ring = Ring()
        self.next: int | None = None

    def take(self, time: int, is_point: bool) -> tuple[int, list[int]] | None:
        """What comes out for a point, or a barrier, of that time: the batch's time and those of its points."""
        if self.next is None:
            self.next = self._first(time)
        if self.every == 0 and is_point:
            self.ring.insert(time)
        out = None
        if time >= self.next:
            tmax = time if self.every == 0 else self.next
            self.ring.purge(time - self.period + 1 if self.every == 0 else self.next - self.period)
            out = tmax, self.ring.points()
            self.next = time if self.every == 0 else self._floor(time + self.every) if self.align else time + self.every
        if self.every > 0 and is_point:
            self.ring.insert(time)
        return out

    def _first(self, time: int) -> int:
        if self.fill:
            when = time + self.period
            if not self.align or not self.every:
                return when
            aligned = self._floor(when)
            return aligned if aligned > when else aligned + self.every
        return self._floor(time + self.every) if self.align and self.every else time + self.every

    def _floor(self, time: int) -> int:
        return time - (time + YEAR_ONE) % self.every


GROUPS = Groups()
for host in ("a", "b"):
    GROUPS.code("m", False, {"host": host})


@st.composite
def messages(draw: st.DrawFn, barriers: bool) -> list[tuple[int, int, bool]]:
    """Times (late ones among them), groups, and whether it is a point; barriers are of the latest time."""
    clock, found = 0, []
    steps = st.tuples(st.integers(0, 12), st.integers(-20, 0), st.integers(0, 1), st.integers(0, 9))
    for step, late, group, chance in draw(st.lists(steps, min_size=1, max_size=60)):
        clock += step
        is_point = not barriers or chance > 1
        found.append((clock + (late if is_point and chance % 2 else 0), group, is_point))
    return found


def points(some: list[tuple[int, int, bool]], first: int) -> Points:
    n, empty = len(some), Text.constant("", len(some))
    time = np.array([t for t, _, _ in some], np.int64)
    rows = Rows(time, Text.constant("m", n), empty, empty, {}, {"v": Column.of_values([float(t) for t in time])})
    return Points(rows, np.array([g for _, g, _ in some], np.int32), GROUPS, np.arange(first, first + n))


def fed(operator: Any, given: list[tuple[int, int, bool]], cuts: list[int]) -> list[Any]:
    """The batches that come out, in order."""
    found: list[Any] = []
    turns = [i for i in range(1, len(given)) if given[i][2] is not given[i - 1][2]]
    for a, b in itertools.pairwise(sorted({0, len(given), *turns, *(c % (len(given) + 1) for c in cuts)})):
        some = given[a:b]
        if some[0][2]:
            out = operator.process(points(some, a))
        else:
            time, group = np.array([t for t, _, _ in some]), np.array([g for _, g, _ in some], np.int32)
            out = operator.marks(Marks(time, group, GROUPS, np.full(b - a, BARRIER, np.uint8), np.arange(a, b)))
        for batch in out:
            if isinstance(batch, Segments):
                flat = batch.flat()
                ends = zip(flat.tmax.tolist(), flat.start.tolist(), flat.stop.tolist(), flat.group.tolist())
                found += [(g, tmax, flat.rows.time[i:j].tolist()) for tmax, i, j, g in ends]
            elif isinstance(batch, Points):
                column = batch.rows.fields["r"]
                found += [(int(batch.group[i]), int(batch.rows.time[i]), column.at(i)) for i in range(len(batch))]
    return found


RULE = {
    "period": st.sampled_from([1, 3, 5, 10]),
    "every": st.sampled_from([0, 2, 3, 5, 7, 10]),
    "align": st.booleans(),
    "fill": st.booleans(),
}


@settings(max_examples=600, deadline=None)
@given(given_=messages(True), cuts=st.lists(st.integers(0, 60), max_size=6), **RULE)
def test_windows_are_those_of_the_ring(
    given_: list[Any], cuts: list[int], period: int, every: int, align: bool, fill: bool
) -> None:
    twins = [Twin(period, every, align, fill) for _ in "ab"]
    expected = [(g, *out) for t, g, is_point in given_ if (out := twins[g].take(t, is_point)) is not None]
    window = TimeWindow(name="w", period=period, every=every, align=align, fill_period=fill)
    assert fed(window, given_, cuts) == expected


@settings(max_examples=600, deadline=None)
@given(given_=messages(False), cuts=st.lists(st.integers(0, 60), max_size=6), **RULE)
def test_folds_are_those_of_the_ring(
    given_: list[Any], cuts: list[int], period: int, every: int, align: bool, fill: bool
) -> None:
    every = max(every, period)
    twins = [Twin(period, every, align, fill) for _ in "ab"]
    batches = [(g, *out) for t, g, _ in given_ if (out := twins[g].take(t, True)) is not None]
    for function, of in (("count", len), ("sum", lambda times: float(sum(times)))):
        rule: dict[str, Any] = {"period": period, "every": every, "align": align, "fill_period": fill}
        fold = WindowFold(name="w", function=function, field="v", as_name="r", **rule)
        assert fed(fold, given_, cuts) == [(g, tmax, of(times)) for g, tmax, times in batches]


def test_a_ring_that_was_emptied_at_its_end_is_not_purged() -> None:
    """The two slots are empty, and the ring at its end, when 42 comes; 42 and 47 fill them, so 42 stays, though old."""
    given_ = [(t, 0, True) for t in (14, 36, 42, 47, 49)]
    rule: dict[str, Any] = {"period": 3, "every": 8, "align": True, "fill_period": True}
    assert fed(TimeWindow(name="w", **rule), given_, [])[-1] == (0, 48, [42, 47])
    fold = WindowFold(name="w", function="sum", field="v", as_name="r", **rule)
    assert fed(fold, given_, [])[-1] == (0, 48, 89.0)
