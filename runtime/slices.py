"""Slices of time at once, each beginning with the points before it that its operators need.

A slice has a graph of its own, which reads a part of the input and, before that, some of what precedes it to warm up.
Whether that was enough is told by the groups: what an operator remembers of one is known once the group has had points
for as long as the module's HISTORY says (`Watch`). A group that was silent meanwhile, but not in all of history, makes
the slice begin anew, earlier. So slices give the results of a run from the beginning, or a task is refused.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Groups, Rows
from tickc.runtime.graph import Graph, Operator, Output, Source, anew, operators
from tickc.runtime.nodes.group import first_rows
from tickc.runtime.sources.base import Unsuitable
from tickc.runtime.sources.files import Parquet

if TYPE_CHECKING:
    from tickc.runtime.backfill import Options

History = Mapping[str, tuple[int, int] | None]  # by operator: how far back points decide, ns and points of each group

LEAST, MOST = 1 << 21, 1 << 23  # rows of a slice
SLICES = 32  # where they are large enough; not by the number of threads, as another number may go on
SHARE = 16  # part of a slice that its warm-up has at first
NOT_YET = 2**63 - 1  # when a group was seen that was not
AHEAD = 2  # slices beside those under way whose results may wait


def why_not(graph: Graph, reads: Mapping[str, Any], options: Options) -> str:
    """Why a task cannot be computed in slices of time; empty where it can."""
    if "history" not in reads:
        return "the queries of a batch task ask for the points that they need"
    for given, name in ((options.flush, "--flush"), (options.sort, "--sort"), (options.warm_up, "--warm-up")):
        if given:
            return f"{name} is for runs in order"
    if graph.timers:
        return f"{graph.timers[0].name} follows the clock, which every point moves"
    measurements = tuple(reads.get("measurements") or ("",))
    if len(measurements) != 1 or not measurements[0]:
        return "it reads more than one measurement, and a group has the name of its first point"
    for op in graph.operators:
        if type(op).finish is not Operator.finish:
            return f"what waits in {op.name} comes out at the end of the input"
        if reads["history"].get(op.name, ()) is None:
            return f"what {op.name} remembers of earlier points has no bound (tickc show --history)"
    return ""


@dataclass(frozen=True)
class Stage:
    """An operator that remembers: how far back, ns and points of each group; of those above it, how far the longest
    chain reaches, and how many it has."""

    reach: int
    points: int
    above: int
    depth: int


def stages(graph: Graph, history: History) -> dict[int, Stage]:
    """The operators that remember, by their place in the graph."""
    found: dict[int, Stage] = {}
    ends: list[tuple[int, int]] = []
    for i, (op, parents) in enumerate(zip(graph.operators, graph.parents)):
        above, depth = (max((ends[p][k] for p in parents), default=0) for k in (0, 1))
        memory = history.get(op.name)
        if memory is not None:
            found[i] = Stage(*memory, above, depth)
            above, depth = above + memory[0], depth + 1
        ends.append((above, depth))
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
    """What a slice came to. rounds: what left the graph, batch by batch; read, entered: points; errors: by operator;
    came, went: what operators remembered of all groups together when it began and when it ended; failure: what ended
    it."""

    rounds: list[list[Output]] = field(default_factory=list)
    read: int = 0
    entered: int = 0
    errors: dict[str, Counter[str]] = field(default_factory=dict)
    watches: list[Watch] = field(default_factory=list)
    came: list[Hashable] | None = None  # None: no point of it has come
    went: list[Hashable] = field(default_factory=list)
    failure: Exception | None = None


class Slices:
    """The slices of a task, computed in threads and given out one after the other."""

    def __init__(
        self,
        graph: Graph,
        history: History,
        source: Any,
        read: Callable[[int, int], Any],
        arrived: Callable[[Rows], Rows],
        workers: int,
    ) -> None:
        """source: the input; read: opens it for points of start <= time < stop; arrived: makes its rows enter. Raises
        Unsuitable where it cannot be parted."""
        self.graph, self.read, self.arrived, self.workers = graph, read, arrived, workers
        self.stages = stages(graph, history)
        self.reach = max((s.above + s.reach for s in self.stages.values()), default=0)
        self.depth = max((s.depth + 1 for s in self.stages.values()), default=1)
        self.edges = _edges(source)
        self.seen: dict[str, dict[str, int]] = {
            graph.operators[i].name: {} for i in self.stages
        }  # first, of each group
        self.common: list[Hashable] = []  # what operators remember of all groups at the end of the last slice
        self.done = 0
        self.points = 0  # that were read for them
        self.between = False  # whether all of one has been given out, and nothing of the next

    def snapshot(self) -> list[Any]:
        """How far it has come, between two slices."""
        return [self.done, self.points, {name: dict(seen) for name, seen in self.seen.items()}, list(self.common)]

    def restore(self, saved: Sequence[Any]) -> None:
        """Go on after the slices of a snapshot."""
        self.done, self.points, self.seen, self.common = saved

    def rounds(self) -> Iterator[list[Output]]:
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
                    yield from self._given_out(part)
                    self.between = True
                    yield []
                    self.between = False
            finally:
                for _, _, future in waiting:
                    future.cancel()

    def _given_out(self, part: Part) -> Iterator[list[Output]]:
        for watch in part.watches:
            seen, known = self.seen[watch.name], np.flatnonzero(watch.first != NOT_YET)
            for id, first in zip(watch.groups.ids(known), watch.first[known].tolist()):
                seen.setdefault(id, first)
        self.graph.entered += part.entered
        for op in operators(self.graph):
            op.errors.update(part.errors[op.name])
        self.points += part.read
        yield from part.rounds
        if part.failure is not None:
            raise part.failure
        self.common = part.went
        self.done += 1

    def _first_warm_up(self, number: int) -> int:
        """ns before its first point with which a slice is tried first."""
        start, stop = self.edges[number]
        return max(2 * self.reach, (stop - start) // SHARE) if self.stages else 0

    def _lacks(self, number: int, warm_up: int) -> bool:
        """Whether a slice did not see all points before it."""
        return bool(self.stages) and self.edges[number][0] - warm_up > self.edges[0][0]

    def _exact(self, part: Part) -> bool:
        """Whether a slice began as those before it, which were given out, had ended."""
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
        part, graph = Part(), anew(self.graph)
        (entry,) = (op for op in graph.operators if isinstance(op, Source))
        now: list[Any] = [0, np.zeros(0, np.int64)]  # the `seq` of the first row of a batch, and the times of its rows
        spare = (warm_up - self.reach) // self.depth
        part.watches = [
            Watch(graph.operators[i], lambda seq: now[1][seq - now[0]], stage, start - warm_up, spare)
            for i, stage in self.stages.items()
        ]
        before, entered = _errors(graph), 0
        try:
            source = self.read(start - warm_up, stop)
            for rows in map(self.arrived, source):
                cut = int(np.searchsorted(rows.time, start)) if part.came is None else 0
                for some in (rows.take(slice(0, cut)), rows.take(slice(cut, None))):
                    if not len(some):
                        continue
                    if part.came is None and int(some.time[0]) >= start:
                        part.came, before, entered = _common(graph), _errors(graph), graph.entered
                    now[:] = entry.seen, some.time
                    outputs = list(graph.feed(some))
                    if part.came is not None:
                        part.rounds.append(outputs)
                        part.read += len(some)
            if source.problems:
                reason = next(iter(source.problems.counts))
                raise Unsuitable(f"slices of time: the input has rows that are left out ({reason})", LEAVE_OUT)
        except Exception as error:  # raised when the slice is given out
            part.failure = error
        part.went = _common(graph)
        if part.came is None:
            part.came, before, entered = part.went, _errors(graph), graph.entered
        part.entered = graph.entered - entered
        part.errors = {name: errors - before[name] for name, errors in _errors(graph).items()}
        return part


LEAVE_OUT = "leave --time-parallel out"


def _common(graph: Graph) -> list[Hashable]:
    return [op.common() for op in graph.operators]


def _errors(graph: Graph) -> dict[str, Counter[str]]:
    return {op.name: Counter(op.errors) for op in operators(graph)}


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
