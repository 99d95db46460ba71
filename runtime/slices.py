"""Slices of time at once, each beginning with the points before it that its operators need.

A slice has operators of its own, which read a part of the input and, before that, some of what precedes it to warm up.
Whether that was enough is told by the groups: what an operator remembers of one is known once the group has had points
for as long as the module says (READS, `history`; see `Watch`). A group that was silent meanwhile, but not in all of
history, makes the slice begin anew, earlier. From the first operator on whose memory has no bound, or which has several
parents or effects, there is one for all slices, which takes what these came to in order. So slices give the results of
a run from the beginning.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Groups, Rows
from tickc.runtime.graph import Graph, Operator, Output, Source, fresh
from tickc.runtime.nodes.group import first_rows
from tickc.runtime.prefixes import Gather
from tickc.runtime.sources.base import Unsuitable
from tickc.runtime.sources.files import Parquet

if TYPE_CHECKING:
    from tickc.runtime.backfill import Options

History = Mapping[str, tuple[int, int]]  # by operator: how far back points decide, ns and points of each group

LEAST, MOST = 1 << 21, 1 << 23  # rows of a slice
SLICES = 32  # where they are large enough; not by the number of threads, as another number may go on
SHARE = 16  # part of a slice that its warm-up has at first
NOT_YET = 2**63 - 1  # when a group was seen that was not
LEAVE_OUT = "leave --time-parallel out"
AHEAD = 2  # slices beside those under way whose results may wait


def inside(graph: Graph, reads: Mapping[str, Any]) -> list[int]:
    """The operators that slices have of their own, by place: those that are told to have a bound, and only such above
    them. None with a memory where a group may have points of several measurements, as the first one names it."""
    named = len(reads.get("measurements") or ()) == 1 and "" not in reads["measurements"]
    found: list[int] = []
    for i, (op, parents) in enumerate(zip(graph.operators, graph.parents)):
        bound = reads["history"].get(op.name)
        free = bound is not None and (named or bound == (0, 0)) and type(op).finish is Operator.finish
        if isinstance(op, Source) or (free and len(parents) == 1 and parents[0] in found):
            found.append(i)
    return found


def why_not(graph: Graph, reads: Mapping[str, Any], options: Options) -> str:
    """Why a task cannot be computed in slices of time; empty where it can."""
    if "history" not in reads:
        return "the queries of a batch task ask for the points that they need"
    for given, name in ((options.flush, "--flush"), (options.sort, "--sort"), (options.warm_up, "--warm-up")):
        if given:
            return f"{name} is for runs in order"
    if graph.timers:
        return f"{graph.timers[0].name} follows the clock, which every point moves"
    if len(inside(graph, reads)) == 1:
        return f"what {graph.operators[1].name} does hangs on all earlier points (tickc show --history)"
    return ""


@dataclass(frozen=True)
class Stage:
    """An operator that remembers: how far back, ns and points of each group; of those above it, how far the longest
    chain reaches, and how many it has."""

    reach: int
    points: int
    above: int
    depth: int


def stages(graph: Graph, places: Sequence[int], history: History) -> dict[int, Stage]:
    """The operators at `places` that remember, by place."""
    found: dict[int, Stage] = {}
    ends: dict[int, tuple[int, int]] = {}
    for i in places:
        above, depth = (max((ends[p][k] for p in graph.parents[i]), default=0) for k in (0, 1))
        reach, points = history.get(graph.operators[i].name, (0, 0))
        if reach or points:
            found[i] = Stage(reach, points, above, depth)
            above, depth = above + reach, depth + 1
        ends[i] = above, depth
    return found


class Watch:
    """Notes of which groups an operator gets points, and when.

    first: i8[groups], the time of the row that brought the first one, NOT_YET before; count: how many were brought by
    rows of begin <= time < end; after: whether one was brought by a later row.
    """

    def __init__(self, op: Operator, times: Callable[[Array], Array], stage: Stage, since: int, spare: int) -> None:
        """times: of rows, by `seq`. since: when the slice begins; spare: ns that each stage has for its groups to get
        points."""
        self.name, self.times, self.points = op.name, times, max(stage.points, 1)
        self.since = since + stage.above + stage.depth * spare  # from when on what the operator gets is as it should be
        self.begin = self.since + stage.reach
        self.end = self.begin + spare  # from when on it is as it should be itself
        self.groups = Groups()
        self.first, self.count = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.after = np.zeros(0, np.bool_)
        inner = op.round

        def round_(inputs: Sequence[Sequence[Batch]]) -> Any:
            for batch in inputs[0]:
                self._note(batch)
            return inner(inputs)

        op.round = round_  # type: ignore[method-assign]

    def _note(self, batch: Any) -> None:
        self.groups, group, time = batch.groups, batch.group, self.times(batch.seq)
        known, n = len(self.first), len(self.groups)
        if n > known:
            self.first = np.concatenate([self.first, np.full(n - known, NOT_YET)])
            self.count, self.after = (
                np.concatenate([a, np.zeros(n - known, a.dtype)]) for a in (self.count, self.after)
            )
        new = self.first == NOT_YET
        if new.any():
            codes, rows = first_rows(group, new)
            self.first[codes] = time[rows]
        if len(time) and time[0] < self.end:
            inside = (time >= self.begin) & (time < self.end)
            self.count += np.bincount(group[inside], minlength=n)
        if len(time) and time[-1] >= self.end:
            self.after[group[time >= self.end]] = True


@dataclass
class Part:
    """What a slice came to.

    rounds: what operators gave to others than those of the slice, by place, batch by batch; first: the `seq` of its
    first row; read, entered: points; errors: of each operator and its steps; came, went: what operators remembered of
    all groups together when it began and when it ended; failure: what ended it.
    """

    rounds: list[dict[int, list[Batch]]] = field(default_factory=list)
    first: int = 0
    read: int = 0
    entered: int = 0
    errors: list[Counter[str]] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    came: list[Hashable] | None = None  # None: no point of it has come
    went: list[Hashable] = field(default_factory=list)
    failure: Exception | None = None


class Slices:
    """The slices of a task, computed in threads and given on one after the other."""

    def __init__(
        self,
        graph: Graph,
        reads: Mapping[str, Any],
        source: Any,
        read: Callable[[int, int], Any],
        arrived: Callable[[Rows], Rows],
        options: Options,
    ) -> None:
        """source: the input; read: opens it for points of start <= time < stop; arrived: makes its rows enter. Raises
        Unsuitable where there are no slices."""
        if why := why_not(graph, reads, options):
            raise Unsuitable(f"slices of time would not give the same results: {why}", LEAVE_OUT)
        self.graph, self.read, self.arrived, self.workers = graph, read, arrived, options.threads
        self.kept = options.kept // (self.workers + 1)  # bytes of rows that operators of one slice keep
        self.inside = inside(graph, reads)
        graph.elsewhere = self.inside
        self.given = [i for i in self.inside if any(reader not in self.inside for reader, _ in graph.readers[i])]
        self.stages = stages(graph, self.inside, reads["history"])
        self.reach = max((s.above + s.reach for s in self.stages.values()), default=0)
        self.depth = max((s.depth + 1 for s in self.stages.values()), default=1)
        self.edges = _edges(source)
        self.groups = {i: Groups() for i in self.given}
        names = [graph.operators[i].name for i in self.stages]
        self.seen: dict[str, dict[str, int]] = {name: {} for name in names}  # when each group was, first
        self.common: list[Hashable] = []  # what operators remember of all groups at the end of the last slice
        self.done = 0
        self.points = 0  # that were read for them
        self.between = False  # whether all of one has been given on, and nothing of the next

    def snapshot(self) -> list[Any]:
        """How far it has come, between two slices."""
        seen = {name: dict(seen) for name, seen in self.seen.items()}
        errors = [dict(op.errors) for op in self._counting]
        return [self.done, self.points, seen, list(self.common), [self.groups[i] for i in self.given], errors]

    def restore(self, saved: Sequence[Any]) -> None:
        """Go on after the slices of a snapshot."""
        self.done, self.points, self.seen, self.common, groups, errors = saved
        self.groups = dict(zip(self.given, groups))
        for op, known in zip(self._counting, errors):
            op.errors.update(known)

    @property
    def _counting(self) -> Iterator[Operator]:
        """The operators of the whole that stand for those of the slices, and tell of their errors."""
        return _with_steps(self.graph.operators[i] for i in self.inside)

    def rounds(self) -> Iterator[Iterator[Output]]:
        """What leaves the graph, in order; nothing where one slice is over."""
        waiting: deque[tuple[int, int, Future[Part]]] = deque()
        following = self.done
        with ThreadPoolExecutor(self.workers, thread_name_prefix="tickc-slice") as pool:
            try:
                while following < len(self.edges) or waiting:
                    while following < len(self.edges) and len(waiting) < self.workers + AHEAD:
                        warm_up = self._first_warm_up(following)
                        waiting.append((following, warm_up, pool.submit(self._computed, following, warm_up)))
                        following += 1
                    number, warm_up, future = waiting.popleft()
                    part = future.result()
                    while self._lacks(number, warm_up) and not self._exact(part):
                        warm_up *= 4
                        part = self._computed(number, warm_up)
                    yield from self._given_on(part)
                    self.between = True
                    yield iter(())
                    self.between = False
            finally:
                for _, _, future in waiting:
                    future.cancel()

    def _given_on(self, part: Part) -> Iterator[Iterator[Output]]:
        """Send what a slice came to through the other operators."""
        for watch in part.watches:
            seen, known = self.seen[watch.name], np.flatnonzero(watch.first != NOT_YET)
            for id, first in zip(watch.groups.ids(known), watch.first[known].tolist()):
                seen.setdefault(id, first)
        self.graph.entered += part.entered
        for op, errors in zip(self._counting, part.errors):
            op.errors.update(errors)
        shift = self.points - part.first
        self.points += part.read
        codes: dict[int, Array] = {}  # of groups of the slice, by operator
        for made in part.rounds:
            for i, batches in made.items():
                made[i] = [self._renumbered(i, batch, shift, codes) for batch in batches]
            yield self.graph.push({i: batches for i, batches in made.items() if batches})
        if part.failure is not None:
            raise part.failure
        self.common = part.went
        self.done += 1

    def _renumbered(self, i: int, batch: Any, shift: int, codes: dict[int, Array]) -> Batch:
        """A batch of an operator of a slice as it would have been without slices."""
        if i not in codes:
            codes[i] = self.groups[i].take_over(batch.groups, 0)
        changed: Batch = replace(batch, group=codes[i][batch.group], groups=self.groups[i], seq=batch.seq + shift)
        return changed

    def _first_warm_up(self, number: int) -> int:
        """ns before its first point with which a slice is tried first."""
        start, stop = self.edges[number]
        return max(2 * self.reach, (stop - start) // SHARE) if self.stages else 0

    def _lacks(self, number: int, warm_up: int) -> bool:
        """Whether a slice did not see all points before it."""
        return bool(self.stages) and self.edges[number][0] - warm_up > self.edges[0][0]

    def _exact(self, part: Part) -> bool:
        """Whether a slice began as those before it, which were given on, had ended."""
        if part.came != self.common:
            return False
        for watch in part.watches:
            unsure = np.flatnonzero(watch.after & (watch.count < watch.points))
            seen = self.seen[watch.name]
            if any(seen.get(id, NOT_YET) < watch.since for id in watch.groups.ids(unsure)):
                return False
        return True

    def _computed(self, number: int, warm_up: int) -> Part:
        """Compute a slice; what it raises is told in it."""
        start, stop = self.edges[number]
        part, graph = Part(), Graph()
        own: dict[int, Any] = {}
        for i in self.inside:
            own[i] = graph.add(fresh(self.graph.operators[i]), *(own[p] for p in self.graph.parents[i]))
        gathers = {i: graph.add(Gather(name=f"what {own[i].name} gives"), own[i]) for i in self.given}
        graph.keep_within(self.kept)
        entry = own[self.inside[0]]
        now: list[Any] = [0, np.zeros(0, np.int64)]  # the `seq` of the first row of a batch, and the times of its rows
        spare = (warm_up - self.reach) // self.depth
        part.watches = [
            Watch(own[i], lambda seq: now[1][seq - now[0]], stage, start - warm_up, spare)
            for i, stage in self.stages.items()
        ]
        counters = [op.errors for op in _with_steps(own.values())]
        before, entered = [*map(Counter, counters)], 0
        try:
            source = self.read(start - warm_up, stop)
            for rows in map(self.arrived, source):
                cut = int(np.searchsorted(rows.time, start)) if part.came is None else 0
                for some in (rows.take(slice(0, cut)), rows.take(slice(cut, None))):
                    if not len(some):
                        continue
                    if part.came is None and int(some.time[0]) >= start:
                        part.came, before, entered = _common(graph), [*map(Counter, counters)], graph.entered
                        part.first = entry.seen
                    now[:] = entry.seen, some.time
                    for _ in graph.feed(some):
                        raise AssertionError("an operator of a slice has effects")
                    made = {i: gather.taken() for i, gather in gathers.items()}
                    if part.came is not None:
                        part.rounds.append(made)
                        part.read += len(some)
            if source.problems:
                reason = next(iter(source.problems.counts))
                raise Unsuitable(f"slices of time: the input has rows that are left out ({reason})", LEAVE_OUT)
        except Exception as error:  # raised when the slice is given on
            part.failure = error
        part.went = _common(graph)
        if part.came is None:
            part.came, before, entered = part.went, [*map(Counter, counters)], graph.entered
        part.entered = graph.entered - entered
        part.errors = [errors - earlier for errors, earlier in zip(counters, before)]
        return part


def _common(graph: Graph) -> list[Hashable]:
    return [op.common() for op in graph.operators]


def _with_steps(operators: Iterable[Operator]) -> Iterator[Operator]:
    for op in operators:
        yield op
        yield from getattr(op, "steps", ())


def _edges(source: Any) -> list[tuple[int, int]]:
    """When slices of the input begin and end, ns: at row groups of Parquet files that lie behind all before them."""
    readers = getattr(source, "readers", ())
    if not readers or not all(isinstance(reader, Parquet) for reader in readers):
        raise Unsuitable("slices of time: only Parquet files tell where a time is in them", LEAVE_OUT)
    spans = [span for reader in readers for span in reader.spans()]
    total = sum(rows for _, _, rows in spans)
    wanted = min(max(total // SLICES, LEAST), MOST)
    starts: list[int] = []
    high, since = -(2**63), 0
    for low, top, rows in spans:
        if low is None or top is None:
            raise Unsuitable("slices of time: a row group does not tell its times", LEAVE_OUT)
        if low < high:
            raise Unsuitable("slices of time: files, or their row groups, overlap in time", LEAVE_OUT)
        if not starts or (low > high and since >= wanted):
            starts.append(low)
            since = 0
        high, since = top, since + rows
    if len(starts) == 1:
        raise Unsuitable(f"slices of time: the input is one, of {total:,} rows", LEAVE_OUT)
    return [*pairwise([*starts, high + 1])]
