"""The graph of operators that a generated module builds, and how record batches go through it.

Work proceeds in rounds: one record batch of the source goes through all operators in topological order before the next
one enters. So there are no queues, nothing can deadlock, and an operator with several parents sees, in each round, all
that its parents made of the same input rows; `seq` tells in which order.

Where a graph keeps time (`Clock`), a moment at which something is due is a round of its own, without rows, between
those of the rows before and after it (docs/decisions/data-time.md).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tickc.runtime.batch import DELETE, Array, Batch, Groups, Marks, Points, Rows, Segments
from tickc.runtime.team import Team

NEVER = -(2**63)  # a time before all others
AT_THE_END = 2**63 - 1  # seq of what the end of the input brings
CLOCKS = ("wall", "data")
BUDGET = 256 << 20  # bytes of rows that an operator keeps in memory, where nobody says


@dataclass(slots=True)
class Output:
    """Something that left the graph: what kind of sink (`httpOut`, `alert`, `influxDBOut`, `log`), the name that tells
    it from others (a path), the operator and its place in the graph, and the payload (a batch, or the sink's own record
    of it); and the round in which it left. Of what one row caused in a round, that of an earlier place comes first."""

    kind: str
    name: str
    operator: str
    place: int
    payload: Any
    round: int = 0


class TaskFailed(Exception):
    """The task ends here, as Kapacitor ends it; the text is `<node name>: <message>`. seq: the input row at which it
    does, where that is known."""

    def __init__(self, text: str, seq: int = AT_THE_END) -> None:
        super().__init__(text)
        self.seq = seq


@dataclass(frozen=True, slots=True)
class Later:
    """Batches that are yet to be made, of rows alone: neither the operator's state nor anything else is touched."""

    make: Callable[[], Iterable[Batch]]


@dataclass(frozen=True, slots=True)
class Held:
    """What an operator gives where it can go on only when those behind it in the graph have come as far: the row where
    its input goes on, and which of what the row brings to it (see `Graph.push`)."""

    seq: int
    place: int


def made_now(some: Batch | Later) -> Iterable[Batch]:
    """A batch as it is, or those that are yet to be made."""
    return some.make() if isinstance(some, Later) else (some,)


class Clock:
    """The time of the data: the greatest time of a point that has entered.

    on: whether it runs; else it stands for the clock on the wall, which a replay outruns. now: the time at the end of
    the round, NEVER before the first point. before: the time when the round began; seq, time: i8[k], the rows of the
    round that moved it on, and to what time.
    """

    def __init__(self) -> None:
        self.on = False
        self.now = self.before = NEVER
        self.seq = self.time = _NO_ROWS

    def pass_to(self, seq: Array, time: Array) -> None:
        """Begin a round in which the rows `seq` move the clock on to `time`."""
        self.before, self.seq, self.time = self.now, seq, time
        if len(time):
            self.now = int(time[-1])

    def at(self, seq: Array) -> Array:
        """i8[n]: the time when the rows `seq` of the round had entered."""
        return np.concatenate([[self.before], self.time])[np.searchsorted(self.seq, seq, side="right")]

    def rises(self, entering: Iterable[Batch]) -> tuple[Array, Array]:
        """The rows or batches that move the clock on, and to what time. `entering`: of each source."""
        parts = list(entering)
        seq, time = np.concatenate([p.seq for p in parts]), np.concatenate([p.time for p in parts])
        if len(parts) > 1:
            order = np.argsort(seq, kind="stable")
            seq, time = seq[order], time[order]
        highest = np.maximum.accumulate(np.concatenate([[self.now], time]))
        rises = np.flatnonzero(highest[1:] > highest[:-1])
        return seq[rises], time[rises]


class Operator:
    """One node of the graph. Subclasses take configuration in `__init__` and keep state in attributes named in `STATE`.

    `process` consumes one batch and yields what comes out, in order; `finish` yields what the end of the input brings.
    `errors` counts the points that were dropped (or values that could not be had), by reason.
    """

    STATE: tuple[str, ...] = ()  # names of attributes that a snapshot holds
    pours: ClassVar[bool] = False  # whether it may give more in one round than memory should hold
    spills: ClassVar[bool] = False  # whether it keeps rows, and those that are too many in files
    alone: bool = False  # whether it touches nothing that other operators of the graph do, but what they give to it
    sends: ClassVar[bool] = False  # whether it hands something to the outside
    may_hold: bool = False  # whether it may stop within a round, `held` being where
    held: Held | None = None

    given: dict[str, Any]  # the configuration

    def __new__(cls, *_: Any, **given: Any) -> Self:
        self = super().__new__(cls)
        self.given = given
        return self

    def __init__(self, *, name: str) -> None:
        self.name = name
        self.place = 0  # in the graph
        self.defers = False  # whether it may give `Later` in the stead of batches
        self.budget = BUDGET  # bytes of kept rows that may be in memory, where it spills
        self.errors: Counter[str] = Counter()
        self.outputs: list[Output] = []

    def process(self, batch: Batch) -> Iterable[Batch]:
        """Consume one batch of the only parent; yields the batches that come out."""
        if isinstance(batch, Points):
            return self.points(batch)
        return self.segments(batch)

    def points(self, batch: Points) -> Iterable[Batch]:
        """`process` for a stream edge."""
        raise TypeError(f"{self.name} does not take a stream edge")

    def segments(self, batch: Segments) -> Iterable[Batch]:
        """`process` for a batch edge."""
        raise TypeError(f"{self.name} does not take a batch edge")

    def receive(self, message: Any) -> Iterable[Any]:
        """Consume one batch or marks of the only parent."""
        return self.marks(message) if isinstance(message, Marks) else self.process(message)

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        """Consume what each parent gave in one round. Operators with several parents override this, and `marks_of`."""
        for batch in inputs[0]:
            yield from self.receive(batch)

    def marks(self, marks: Marks) -> Iterable[Any]:
        """Consume marks: forget the groups that can be, and pass all on."""
        gone = marks.kind == DELETE
        if gone.any():
            self.forget(marks.group[gone], marks.groups)
        yield marks.among(self.groups_behind(marks.groups))

    def marks_of(self, parent: int, marks: Marks) -> Iterable[Any]:
        """`marks` of one of several parents, by position; the batches before them were given to `round`."""
        return self.marks(marks)

    def forget(self, codes: Array, groups: Groups) -> None:
        """Drop what is kept of the groups `codes` (of the input edge)."""

    def groups_behind(self, groups: Groups) -> Groups:
        """The table of groups of the output edge, where `groups` is that of the input."""
        return groups

    def due(self, clock: int) -> int | None:
        """The next time at which `advance` has to be called; None: at none.

        No row that enters from now on, when the clock stands at `clock`, may make it earlier.
        """
        return None

    def advance(self, time: int) -> Iterable[Any]:
        """Yield what the passing of time to `time` brings; called in rounds of time only."""
        return ()

    def flush(self) -> Iterable[Batch]:
        """Yield what is complete once no row will follow: open windows and the like. Called before `finish`."""
        return ()

    def finish(self) -> Iterable[Batch]:
        """Yield what the end of the input releases. Called once, after the parents' last batches were processed."""
        return ()

    def notes(self) -> Iterable[str]:
        """What is to be told of a run that has ended, a line each."""
        return ()

    def later(self, make: Callable[[], Iterable[Batch]]) -> Iterable[Any]:
        """What `make` makes of rows alone, now or later (see `Later`)."""
        return (Later(make),) if self.defers else make()

    def apart(self) -> bool:
        """Whether it treats each group by itself, and did so until now: all that came out for one, rows in order of
        time given, would be the same without the others. Not so where nobody says."""
        return False

    def common(self) -> Hashable:
        """What it remembers of all groups together, beside the state of each."""
        return None

    def attach(self, graph: Graph) -> None:
        """Called when the operator has been added to a graph."""

    def send(self, kind: str, name: str, payload: Any) -> None:
        """Hand something to the outside, in the order of calls."""
        self.outputs.append(Output(kind, name, self.name, self.place, payload))

    def snapshot(self) -> dict[str, Any]:
        """The state as it is between two batches: copies that later batches do not change (see `snapshot.freeze`)."""
        from tickc.runtime.snapshot import freeze

        return {name: freeze(getattr(self, name)) for name in ("errors", *self.STATE)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a snapshot; for a fresh operator of the same configuration."""
        from tickc.runtime.snapshot import thaw

        for name in ("errors", *self.STATE):
            setattr(self, name, thaw(saved[name], getattr(self, name)))


class Entry(Operator):
    """Where data enter the graph. seen: how many rows or batches have, at all entries: the next `seq`."""

    alone = True

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self.seen = 0


EXAMPLE_DBRPS = (("db", "rp"), ("dbname", "rpname"))


class Source(Entry):
    """Where the points of a stream task enter.

    A point is delivered once for each subscription that matches it: a task subscribes to (database, retention policy,
    measurement) for each of its dbrps and each measurement that a `from` names ("" is any). dbrps None: any database,
    unless the first point is of one of EXAMPLE_DBRPS, which recordings of Kapacitor's own examples and tests use; then
    those, as the tasks of these examples subscribe to both.
    """

    STATE = ("groups", "seen", "dbrps")

    def __init__(
        self, *, name: str, measurements: Sequence[str] = ("",), dbrps: Sequence[tuple[str, str]] | None = None
    ) -> None:
        super().__init__(name=name)
        self.measurements = tuple(dict.fromkeys(measurements))
        self.dbrps = None if dbrps is None else tuple(dict.fromkeys(dbrps))
        self.groups = Groups()

    def rows(self, rows: Rows) -> Points | None:
        """Let rows enter: those that are subscribed to, each as often as it is; None where none is."""
        n = len(rows)
        if self.dbrps is None and not self.seen and n and (rows.database.at(0), rows.policy.at(0)) in EXAMPLE_DBRPS:
            self.dbrps = EXAMPLE_DBRPS
        times = self._deliveries(rows)
        seq = np.arange(self.seen, self.seen + n, dtype=np.int64)
        self.seen += n
        if times is not None:
            index = np.repeat(np.arange(n), np.broadcast_to(times, (n,)))
            rows, seq = rows.take(index), seq[index]
        if not len(rows):
            return None
        if not len(self.groups):
            self.groups.code(rows.name.at(0) or "", False, {})
        return Points(rows, np.zeros(len(rows), np.int32), self.groups, seq)

    def _deliveries(self, rows: Rows) -> np.ndarray | None:
        """i8[n]: how often each row enters; None where each enters once."""
        wanted = set(self.measurements)
        strings = rows.name.vocabulary.strings
        per_name = np.array([("" in wanted) + (s != "" and s in wanted) for s in strings] or [0], np.int64)
        times: Any = np.int64(1) if (per_name == 1).all() else per_name[rows.name.codes]
        if self.dbrps is not None:
            inside = self._inside(rows, set(self.dbrps))
            if not inside.all():
                times = times * inside
        return None if np.ndim(times) == 0 or bool((times == 1).all()) else times

    @staticmethod
    def _inside(rows: Rows, pairs: set[tuple[str, str]]) -> np.ndarray:
        """bool[n] (or bool[1] for all rows): which rows are of one of the (database, retention policy) pairs."""
        database, policy = rows.database, rows.policy
        if len(rows) and database.codes.strides == (0,) and policy.codes.strides == (0,):
            return np.array([(database.at(0), policy.at(0)) in pairs])
        inside = np.zeros(len(rows), np.bool_)
        for d, p in pairs:
            same = database.codes == database.vocabulary.find(d)
            inside |= same & (policy.codes == policy.vocabulary.find(p))
        return inside


# What is fed: the rows of a stream task, or the batches of a batch task by the place of their query in the graph, where
# `seq` is their order among those of all queries, from 0.
Entering = Rows | Mapping[int, Segments]


class Graph:
    """Operators and the edges between them, in topological order."""

    def __init__(self) -> None:
        self.operators: list[Operator] = []
        self.parents: list[tuple[int, ...]] = []
        self.readers: list[list[tuple[int, int]]] = []  # of each operator, with which of their parents it is
        self.shared: dict[str, Any] = {}  # what operators of the graph have in common, by a name of their own
        self.team = Team()  # the threads that operators may ask for help
        self.clock = Clock()
        self.timers: list[Operator] = []  # operators that want to be called at certain times
        self.entered = 0  # points that sources took, in rounds that were given out
        self.rounds = 0  # that have begun
        self.branches: dict[int, list[int] | None] = {}  # see branch
        self.failures: dict[int, TaskFailed] = {}  # by operator, which takes nothing more
        self.goes_on = False  # whether the others then go on to the end, as Kapacitor's do
        self.elsewhere: Collection[int] = ()  # operators that another graph runs; what they make is pushed

    def add(self, operator: Any, *inputs: Operator) -> Any:
        """Add an operator that reads the outputs of `inputs`, which were added before; returns it."""
        self.parents.append(tuple(i.place for i in inputs))
        self.readers.append([])
        for place, parent in enumerate(self.parents[-1]):
            self.readers[parent].append((len(self.operators), place))
        self.branches = {}
        operator.place = len(self.operators)
        self.operators.append(operator)
        if type(operator).due is not Operator.due:
            self.timers.append(operator)
        operator.attach(self)
        return operator

    def regrow(
        self, operators: Sequence[Operator], parents: Sequence[tuple[int, ...]], elsewhere: Collection[int]
    ) -> None:
        """Consist of other operators, which do what those before did. elsewhere: the places of those that another graph
        runs, which has them, too."""
        self.operators, self.parents = [*operators], [*parents]
        self.readers = [[] for _ in operators]
        for i, above in enumerate(parents):
            for place, parent in enumerate(above):
                self.readers[parent].append((i, place))
            if i not in elsewhere:
                operators[i].place = i
        self.branches = {}
        self.elsewhere = elsewhere

    def sources(self) -> list[Operator]:
        """The operators without parents, in the order in which they were added."""
        return [op for op, parents in zip(self.operators, self.parents) if not parents]

    def above(self, operator: Operator) -> list[Operator]:
        """All operators that an operator reads, directly or not."""
        wanted = {self.operators.index(operator)}
        for i in range(max(wanted), -1, -1):
            wanted |= set(self.parents[i]) if i in wanted else set()
        return [self.operators[i] for i in sorted(wanted) if self.operators[i] is not operator]

    def follow(self, clock: str) -> None:
        """Choose the clock that barriers and statistics follow, before any row enters.

        "wall": that on the wall, as Kapacitor does: a replay outruns it, so it never strikes. "data": the time of the
        points that enter.
        """
        if clock not in CLOCKS:
            raise ValueError(f"the clock is one of {', '.join(CLOCKS)}, not {clock!r}")
        self.clock.on = clock == "data"

    def keep_within(self, memory: int) -> None:
        """Share out how many bytes of rows that operators keep may be in memory, before any row enters."""
        spilling = [op for op in self.operators if op.spills]
        for op in spilling:
            op.budget = memory // len(spilling)

    def push(
        self, batches: dict[int, Sequence[Batch]], *, last: bool = False, flush: bool = False, time: int | None = None
    ) -> Iterator[Output]:
        """One round: `batches` are those of the sources, and of operators that run elsewhere, by position in
        `operators`. Yields what leaves the graph.

        last: the input ends with this round; every operator is finished after its parents, and flushed before that
        where `flush` says so. time: a round of time, in which it passes to `time`. Raises TaskFailed, the first one,
        after the round in which an operator ends the task, or, where the graph goes on, after the last round.

        Where an operator holds, those behind it take only what comes before the row at which it does. Then the one that
        holds earliest goes on, and those behind it with what waits for them, so that all have come as far as it needs.
        """
        self.rounds += 1
        operators = self.operators
        entering = dict(batches)
        waiting: list[list[list[Batch]]] = [[[] for _ in parents] for parents in self.parents]
        first: int | None = 0
        while first is not None:
            reach = self._reach(first)
            for i in range(first, len(operators)):
                op, given = operators[i], waiting[i]
                waiting[i] = [[] if reach is None else _cut(messages, reach) for messages in given]
                made = list(entering.pop(i, ()))
                branch = self.branch(i) if op.pours and not self.may_hold else None
                try:
                    idle = i in self.failures or i in self.elsewhere
                    for batch in () if idle else self.worked(i, given, reach, time, last, flush):
                        if branch is None:
                            made.append(batch)
                        else:
                            yield from self.poured(i, batch, branch, self.failures)
                except TaskFailed as error:
                    self.failures[i] = error
                for j, place in self.readers[i]:
                    waiting[j][place].extend(made)
                yield from self.leaving(op.outputs)
                if op.held is not None:
                    reach = self._reach(i + 1)
            holding = [(op.held.seq, i) for i, op in enumerate(operators) if op.held is not None]
            first = min(holding)[1] if holding else None
        if self.failures and (last or not self.goes_on):
            raise first_of(self.failures)

    def leaving(self, outputs: list[Output]) -> Iterator[Output]:
        """Give out the outputs of an operator, in the present round."""
        for output in outputs:
            output.round = self.rounds
            yield output
        outputs.clear()

    def _reach(self, i: int) -> int | None:
        """The first row that one of the operators before `i` holds back; None where all has been let through."""
        return min((op.held.seq for op in self.operators[:i] if op.held is not None), default=None)

    @property
    def may_hold(self) -> bool:
        """Whether operators may stop within a round until others have come as far."""
        return any(op.may_hold for op in self.operators)

    def why_in_turn(self) -> str:
        """Why one round has to be over before the next begins; empty where it need not."""
        if self.keeps_time():
            return f"what the task does hangs on the time that {', '.join(op.name for op in self.timers)} must keep"
        if self.may_hold:
            return "which events reach a topic hangs on what other alerts inhibit"
        return ""

    def worked(
        self,
        i: int,
        given: Sequence[Sequence[Any]],
        reach: int | None = None,
        time: int | None = None,
        last: bool = False,
        flush: bool = False,
    ) -> Iterator[Any]:
        """What an operator makes in a round, `given` being what its parents made; reach: more will be given, from that
        row on."""
        op = self.operators[i]
        if self.parents[i]:
            yield from _received(op, given)
        if reach is not None or op.held is not None:
            return
        if time is not None:
            yield from op.advance(time)
        if last and flush:
            yield from op.flush()
        if last:
            yield from op.finish()

    def branch(self, i: int) -> list[int] | None:
        """The operators below one, in topological order; None where one of them has other parents, too."""
        if i not in self.branches:
            below = {i}
            for j, parents in enumerate(self.parents):
                below |= {j} if below & {*parents} else set()
            tree = all(len(self.parents[j]) == 1 for j in below if j != i)
            self.branches[i] = sorted(below - {i}) if tree else None
        return self.branches[i]

    def poured(self, i: int, batch: Batch, branch: Sequence[int], failures: dict[int, TaskFailed]) -> Iterator[Output]:
        """Send one batch of an operator down its branch at once, so that the next one need not be in memory with it."""
        made: dict[int, list[Batch]] = {i: [batch]}
        for j in branch:
            op, (parent,) = self.operators[j], self.parents[j]
            made[j] = []
            try:
                for out in () if j in failures or not made[parent] else op.round([made[parent]]):
                    made[j].extend(made_now(out))
            except TaskFailed as error:
                failures[j] = error
            yield from self.leaving(op.outputs)

    def run(
        self,
        batches: Iterable[Entering],
        *,
        last: bool = True,
        clock: str | None = None,
        flush: bool = False,
        workers: int = 1,
    ) -> Iterator[Output]:
        """Send the rows of a stream task, or the batches of a batch task, through the graph; yields what leaves it, and
        at last what the end releases.

        last: whether the input ends after `batches`. clock: see `follow`; None: as it is. flush: what is open when the
        input ends comes out. workers: threads that compute; the results are the same.
        """
        from tickc.runtime.ahead import Ahead

        if clock is not None:
            self.follow(clock)
        for outputs in Ahead(self, workers).rounds(batches):
            yield from outputs
        if last:
            yield from self.end(flush=flush)
        elif self.failures:
            raise first_of(self.failures)

    def feed(self, some: Entering) -> Iterator[Output]:
        """Let rows or batches enter; yields what leaves the graph."""
        entering = self.admit(some)
        self.entered += sum(len(batch.rows) for batch in entering.values())
        if entering and self.keeps_time():
            yield from self._feed_in_time(entering)
        elif entering:
            yield from self.push({i: [points] for i, points in entering.items()})

    def admit(self, some: Entering) -> dict[int, Batch]:
        """What enters of rows or batches, by the place of the entry."""
        return self._admit_rows(some) if isinstance(some, Rows) else self._admit_batches(some)

    def _admit_rows(self, rows: Rows) -> dict[int, Batch]:
        return {
            i: points
            for i, op in enumerate(self.operators)
            if isinstance(op, Source) and (points := op.rows(rows)) is not None
        }

    def _admit_batches(self, entering: Mapping[int, Segments]) -> dict[int, Batch]:
        entries = [op for op in self.operators if isinstance(op, Entry)]
        first = entries[0].seen
        for op in entries:
            op.seen = first + sum(len(batches) for batches in entering.values())
        return {i: b.with_seq(b.seq + first) for i, b in entering.items() if len(b)}

    def end(self, *, flush: bool = False) -> Iterator[Output]:
        """The input has ended; yields what that releases. flush: what is open comes out too."""
        self.clock.pass_to(_NO_ROWS, _NO_ROWS)
        yield from self.push({}, last=True, flush=flush)

    def advance(self, time: int) -> Iterator[Output]:
        """Let time pass to `time` (ns) without rows, as when a live source is silent; yields what that brings.

        Without effect where the clock is past `time` already, or does not run.
        """
        if not self.keeps_time() or time <= self.clock.now:
            return
        while self.clock.now != NEVER and (due := self._due(self.clock.now)) < time:
            yield from self._round_of_time(due, self._next_seq())
        yield from self._round_of_time(time, self._next_seq())

    # -- time

    def keeps_time(self) -> bool:
        """Whether rounds of time are between those of rows."""
        return self.clock.on and bool(self.timers)

    def _due(self, clock: int) -> int:
        return min((due for op in self.timers if (due := op.due(clock)) is not None), default=AT_THE_END)

    def _next_seq(self) -> int:
        return max((op.seen for op in self.operators if isinstance(op, Entry)), default=0)

    def _feed_in_time(self, entering: dict[int, Batch]) -> Iterator[Output]:
        """Rounds of rows, cut where something is due, with rounds of time between them."""
        seq, time = self.clock.rises(entering.values())
        stop = int(seq[0]) if len(seq) else AT_THE_END
        yield from self._round_of_rows(entering, NEVER, stop, seq[:0], time[:0])
        at = 0
        while at < len(seq):
            due = self._due(int(time[at]))
            if due <= time[at]:
                yield from self._round_of_time(due, int(seq[at]))
                continue
            end = int(np.searchsorted(time, due))
            start, stop = int(seq[at]), int(seq[end]) if end < len(seq) else AT_THE_END
            yield from self._round_of_rows(entering, start, stop, seq[at:end], time[at:end])
            at = end

    def _round_of_rows(
        self, entering: dict[int, Batch], start: int, stop: int, seq: Array, time: Array
    ) -> Iterator[Output]:
        """The rows start <= seq < stop, of which the rows `seq` move the clock on."""
        pieces: dict[int, Sequence[Batch]] = {}
        for i, batch in entering.items():
            low, high = np.searchsorted(batch.seq, [start, stop])
            if low < high:
                pieces[i] = [batch if high - low == len(batch) else batch.take(slice(low, high))]
        if pieces:
            self.clock.pass_to(seq, time)
            yield from self.push(pieces)

    def _round_of_time(self, time: int, seq: int) -> Iterator[Output]:
        """Time passes to `time`, before the row `seq` enters."""
        self.clock.pass_to(np.array([seq]), np.array([time]))
        yield from self.push({}, time=time)

    # -- state

    def snapshot(self) -> dict[str, Any]:
        """The state by name of the operators that it runs, and the time, between two rounds."""
        from tickc.runtime.snapshot import sharing

        with sharing() as tables:
            operators = {op.name: op.snapshot() for i, op in enumerate(self.operators) if i not in self.elsewhere}
        clock = self.clock.now if self.clock.on else None
        return {"operators": operators, "tables": tables, "clock": clock, "entered": self.entered}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a snapshot; for a freshly built graph."""
        from tickc.runtime.snapshot import sharing

        with sharing(saved["tables"]):
            for i, op in enumerate(self.operators):
                if i not in self.elsewhere:
                    op.restore(saved["operators"][op.name])
        if saved["clock"] is not None:
            self.clock.on, self.clock.now = True, saved["clock"]
        self.entered = saved["entered"]


def first_of(failures: Mapping[int, TaskFailed]) -> TaskFailed:
    """The failure that comes first, of those of one round by operator."""
    return failures[min(failures, key=lambda i: (failures[i].seq, i))]


def fresh(op: Operator) -> Any:
    """An operator of the same configuration, with fresh state."""
    made: Any = type(op)
    return made(**{key: [*map(fresh, value)] if key == "steps" else value for key, value in op.given.items()})


def operators(graph: Graph) -> Iterator[Operator]:
    """The operators of a graph, and those that were fused into one."""
    for op in graph.operators:
        yield op
        yield from getattr(op, "steps", ())


_NO_ROWS = np.zeros(0, np.int64)


def _received(op: Operator, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
    """What comes out of an operator for what its parents made in a round.

    Of several parents, marks are given by themselves, after all that comes before them: what has a lower `seq`, or the
    same and an earlier parent, or is of the same parent and stands before.
    """
    if len(inputs) == 1 or not any(isinstance(message, Marks) for given in inputs for message in given):
        yield from op.round(inputs)
        return
    queues = [_Queue(given) for given in inputs]
    for seq, parent, place, run in sorted(_runs(inputs), key=lambda run: run[:3]):
        sides = ("right" if p < parent else "left" for p in range(len(inputs)))
        before = [
            q.before(place, AT_THE_END, "right") if p == parent else q.before(len(q.given), seq, side)
            for p, (q, side) in enumerate(zip(queues, sides))
        ]
        if any(before):
            yield from op.round(before)
        yield from op.marks_of(parent, run)
    yield from op.round([q.before(len(q.given), AT_THE_END, "right") for q in queues])


def _cut(messages: list[Any], seq: int) -> list[Any]:
    """Leave in a list of batches and marks those before the row `seq`; the others."""
    kept = next((k for k, message in enumerate(messages) if len(message) and message.seq[-1] >= seq), len(messages))
    rest = messages[kept:]
    del messages[kept:]
    if rest and (n := int(np.searchsorted(rest[0].seq, seq))):
        messages.append(rest[0].take(slice(0, n)))
        rest[0] = rest[0].take(slice(n, None))
    return rest


def _runs(inputs: Sequence[Sequence[Any]]) -> Iterator[tuple[int, int, int, Marks]]:
    """The marks among what parents made, those of one `seq` together: their seq, parent and place in its list."""
    for parent, given in enumerate(inputs):
        for place, marks in enumerate(given):
            if isinstance(marks, Marks):
                edges = [0, *(np.flatnonzero(np.diff(marks.seq)) + 1).tolist(), len(marks)]
                for a, b in itertools.pairwise(edges):
                    yield int(marks.seq[a]), parent, place, marks.take(slice(a, b))


class _Queue:
    """What one parent made in a round, of which more and more is given on."""

    def __init__(self, given: Sequence[Any]) -> None:
        self.given = given
        self.place = self.row = 0  # where the rest begins: in the list, and in the batch there

    def before(self, place: int, seq: int, side: Any) -> list[Batch]:
        """The next batches that stand before `place`, as far as their messages come before `seq` (side "left") or not
        after it ("right")."""
        found: list[Batch] = []
        while self.place < place:
            batch = self.given[self.place]
            if isinstance(batch, Marks):
                if seq < int(batch.seq[-1]) or (seq == int(batch.seq[-1]) and side == "left"):
                    break
                self.place += 1
                continue
            end = int(np.searchsorted(batch.seq, seq, side))
            if end > self.row:
                found.append(batch if end - self.row == len(batch) else batch.take(slice(self.row, end)))
            if end < len(batch):
                self.row = end
                break
            self.place, self.row = self.place + 1, 0
        return found
