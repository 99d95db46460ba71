"""The graph of operators that a generated module builds, and how record batches go through it.

Work proceeds in rounds: one record batch of the source goes through all operators in topological order before the next
one enters. So there are no queues, nothing can deadlock, and an operator with several parents sees, in each round, all
that its parents made of the same input rows; `seq` tells in which order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickc.runtime.batch import Batch, Group, Groups, Points, Rows, Segments


@dataclass(frozen=True, slots=True)
class Output:
    """Something that left the graph: what kind of sink (`httpOut`, `alert`, `influxDBOut`, `log`), the name that tells
    it from others (a path), the operator, and the payload (a batch, or the sink's own record of it)."""

    kind: str
    name: str
    operator: str
    payload: Any


class TaskFailed(Exception):
    """The task ends here, as Kapacitor ends it; the text is `<node name>: <message>`."""


class Operator:
    """One node of the graph. Subclasses take configuration in `__init__` and keep state in attributes named in `STATE`.

    `process` consumes one batch and yields what comes out, in order; `finish` yields what the end of the input brings.
    `errors` counts the points that were dropped (or values that could not be had), by reason.
    """

    STATE: tuple[str, ...] = ()  # names of attributes that a snapshot holds

    def __init__(self, *, name: str) -> None:
        self.name = name
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

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        """Consume what each parent gave in one round. Operators with several parents override this."""
        for batch in inputs[0]:
            yield from self.process(batch)

    def finish(self) -> Iterable[Batch]:
        """Yield what the end of the input releases. Called once, after the parents' last batches were processed."""
        return ()

    def attach(self, graph: Graph) -> None:
        """Called when the operator has been added to a graph."""

    def send(self, kind: str, name: str, payload: Any) -> None:
        """Hand something to the outside, in the order of calls."""
        self.outputs.append(Output(kind, name, self.name, payload))

    def snapshot(self) -> dict[str, Any]:
        """The state as it is between two batches: copies that later batches do not change (see `snapshot.freeze`)."""
        from tickc.runtime.snapshot import freeze

        return {name: freeze(getattr(self, name)) for name in self.STATE}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a snapshot; for a fresh operator of the same configuration."""
        from tickc.runtime.snapshot import thaw

        for name in self.STATE:
            setattr(self, name, thaw(saved[name], getattr(self, name)))


EXAMPLE_DBRPS = (("db", "rp"), ("dbname", "rpname"))


class Source(Operator):
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
        self.seen = 0

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
            self.groups.members.append(Group("", False, (), {}, rows.name.at(0) or ""))
            self.groups.codes[""] = 0
        return Points(rows, np.zeros(len(rows), np.int32), self.groups, seq)

    def _deliveries(self, rows: Rows) -> np.ndarray | None:
        """i8[n]: how often each row enters; None where each enters once."""
        wanted = set(self.measurements)
        strings = rows.name.vocabulary.strings
        per_name = np.array([("" in wanted) + (s != "" and s in wanted) for s in strings] or [0], np.int64)
        times = np.int64(1) if (per_name == 1).all() else per_name[rows.name.codes]
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
            same = database.codes == database.vocabulary.codes.get(d, -2)
            inside |= same & (policy.codes == policy.vocabulary.codes.get(p, -2))
        return inside


class Graph:
    """Operators and the edges between them, in topological order."""

    def __init__(self) -> None:
        self.operators: list[Operator] = []
        self.parents: list[tuple[int, ...]] = []
        self.shared: dict[str, Any] = {}  # what operators of the graph have in common, by a name of their own

    def add(self, operator: Any, *inputs: Operator) -> Any:
        """Add an operator that reads the outputs of `inputs`, which were added before; returns it."""
        at = {id(op): i for i, op in enumerate(self.operators)}
        self.parents.append(tuple(at[id(i)] for i in inputs))
        self.operators.append(operator)
        operator.attach(self)
        return operator

    def sources(self) -> list[Operator]:
        """The operators without parents, in the order in which they were added."""
        return [op for op, parents in zip(self.operators, self.parents) if not parents]

    def push(self, batches: dict[int, Sequence[Batch]], *, last: bool = False) -> Iterator[Output]:
        """One round: `batches` are those of the sources, by position in `operators`. Yields what leaves the graph.

        last: the input ends with this round; every operator is finished after its parents. Raises TaskFailed after the
        round in which an operator ends the task.
        """
        readers = Counter(p for parents in self.parents for p in parents)
        made: dict[int, list[Batch]] = {}
        failure: TaskFailed | None = None
        for i, op in enumerate(self.operators):
            out: list[Batch] = list(batches.get(i, ()))
            try:
                if self.parents[i]:
                    for batch in op.round([made[p] for p in self.parents[i]]):
                        out.append(batch)
                if last:
                    out.extend(op.finish())
            except TaskFailed as error:  # what came out before goes on to the end of the round
                failure = failure or error
            made[i] = out
            for p in self.parents[i]:
                readers[p] -= 1
                if not readers[p]:
                    made[p] = []
            yield from op.outputs
            op.outputs.clear()
        if failure is not None:
            raise failure

    def run(self, batches: Iterable[Rows], *, last: bool = True) -> Iterator[Output]:
        """Send the rows of a stream task through the graph; yields what leaves it, then what the end releases.

        last: whether the input ends after `batches`.
        """
        sources = [(i, op) for i, op in enumerate(self.operators) if isinstance(op, Source)]
        for rows in batches:
            entering = {i: [points] for i, op in sources if (points := op.rows(rows)) is not None}
            if entering:
                yield from self.push(entering)
        if last:
            yield from self.push({}, last=True)

    def snapshot(self) -> dict[str, Any]:
        """The state of all operators by name, between two rounds."""
        return {op.name: op.snapshot() for op in self.operators}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over a snapshot; for a freshly built graph."""
        for op in self.operators:
            op.restore(saved[op.name])
