"""A batch task over history: its scheduled queries are answered by a server, or from points as a server would.

Points come in about the order of their times. Once all before a moment have come, the queries whose range ends there
are answered, thousands at once where there are as many, and the points that no later one reads are forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array, Rows, Segments, Text
from tickc.runtime.graph import EXAMPLE_DBRPS, NEVER, Graph, TaskFailed
from tickc.runtime.influxql.evaluate import Evaluator, QueryRefused
from tickc.runtime.influxql.history import History
from tickc.runtime.influxql.text import bounded, text
from tickc.runtime.influxql.tree import Measurement
from tickc.runtime.nodes.query import DBRP, Query, queries
from tickc.runtime.nodes.regroup import concat_segments
from tickc.runtime.schedule import END_OF_TIME
from tickc.runtime.sources.base import Problems

if TYPE_CHECKING:
    from tickc.runtime.influxdb.client import Server

MOST_TICKS = 65_536  # that are answered at once
COVERED = 1 << 22  # about how many points the ranges answered at once hold, overlaps counted as often as they are
WAIT = 1 << 20  # points that come before it is worth answering


def check_access(graph: Graph, home: DBRP) -> None:
    """TaskFailed where a query asks for what Kapacitor would not let the task read.

    home: database and retention policy that the data stand for, which a task reads that does not say what it does.
    """
    for _, op in queries(graph):
        allowed = op.dbrps or (home, *EXAMPLE_DBRPS)
        for source in op.select.sources:
            if not isinstance(source, Measurement):
                raise TaskFailed("unknown query source *influxql.SubQuery")
            if (source.database, source.policy) not in allowed:
                where = f"{_quoted(source.database)}.{_quoted(source.policy)}"
                raise TaskFailed(f"batch query is not allowed to request data from {where}")


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass
class Scheduled:
    """A query of a run. place: of the operator in the graph; last: its last tick, or where it starts; until: no tick is
    later."""

    place: int
    op: Query
    last: int
    until: int

    def next_start(self) -> int:
        """Where the range of the next tick begins."""
        ticks = self.op.schedule.ticks(self.last, self.until, 1)
        return int(self.op.ranges(ticks)[0][0]) if len(ticks) else END_OF_TIME


class Runs:
    """All runs of the queries of a graph between two moments, whoever answers them.

    start: the first tick comes after it, as in Kapacitor. stop: no tick is later; None: now. Raises TaskFailed where a
    database would refuse a query.
    """

    def __init__(self, graph: Graph, start: int, stop: int | None) -> None:
        for _, op in queries(graph):
            if op.refusal:
                raise TaskFailed(f"{op.name}: the query is refused: {op.refusal}")
        now = time.time_ns()
        end = END_OF_TIME if stop is None else stop
        self.queries = [Scheduled(place, op, start, min(end, now + op.offset)) for place, op in queries(graph)]

    def ask(self, query: Scheduled, ticks: Array) -> Segments:
        """The batches of a query at some ticks (i8[k], ascending); their `seq` is the position of the tick."""
        raise NotImplementedError

    def rounds(self, horizon: int, most: int) -> Iterator[dict[int, Segments]]:
        """What the queries answer for all ranges that end no later than `horizon` (ns) and were not asked for before,
        in the order of the ticks, then of the script; `most` ticks of each query at once. For `Graph.feed`."""
        while True:
            end = min((q.op.offset + horizon for q in self.queries), default=0)
            found = [q.op.schedule.ticks(q.last, min(end, q.until), most) for q in self.queries]
            end = min((int(t[-1]) for t in found if len(t) == most), default=end)
            ticks = [t[t <= end] for t in found]
            if not any(map(len, ticks)):
                return
            yield self._round(ticks)

    def _round(self, ticks: list[Array]) -> dict[int, Segments]:
        made: list[tuple[Scheduled, Segments]] = []
        moments: list[Array] = []
        for q, at in zip(self.queries, ticks):
            if len(at):
                batches = self.ask(q, at)
                made.append((q, batches))
                moments.append(at[batches.seq])
                q.last = int(at[-1])
        order = np.argsort(np.concatenate(moments), kind="stable")
        seq = np.empty(len(order), np.int64)
        seq[order] = np.arange(len(order))
        parts = np.split(seq, np.cumsum([len(batches) for _, batches in made])[:-1])
        return {q.place: batches.with_seq(part) for (q, batches), part in zip(made, parts)}


class ServerRuns(Runs):
    """The runs of queries that servers of InfluxDB answer, one question a run, as Kapacitor asks; also the input of a
    backfill. Iterate once.

    servers: by the name that `.cluster(NAME)` says, "" for those that say none. rows_read: rows of answers so far;
    size, position: how long the time between start and stop is, and how much of it has been asked for, in ns.
    """

    AT_ONCE = 256  # ticks of a round

    def __init__(self, graph: Graph, start: int, stop: int | None, servers: Mapping[str, Server]) -> None:
        """Raises InfluxDBError where a server is away or does not take the login."""
        super().__init__(graph, start, stop)
        self.servers = servers
        self.problems = Problems()
        self.rows_read = 0
        self.start = start
        self.size = max((q.until for q in self.queries), default=start) - start
        for server in servers.values():
            server.check()

    @property
    def position(self) -> int:
        return min((q.last for q in self.queries), default=self.start) - self.start

    def __iter__(self) -> Iterator[dict[int, Segments]]:
        return self.rounds(END_OF_TIME, self.AT_ONCE)

    def ask(self, query: Scheduled, ticks: Array) -> Segments:
        start, stop = query.op.ranges(ticks)
        texts = [text(bounded(query.op.select, a, b)) for a, b in zip(start.tolist(), stop.tolist())]
        answers = self.servers[query.op.cluster].answers(texts)
        batches = concat_segments([query.op.batches(answer, stop) for answer in answers])
        self.rows_read += len(batches.rows)
        return batches

    def identity(self) -> list[Any]:
        """What tells whether two inputs are the same."""
        return [[name, str(server.address)] for name, server in self.servers.items()]

    def place(self) -> dict[str, Any]:
        """How far the queries have been asked, as JSON."""
        return {"rows": self.rows_read, "ticks": [q.last for q in self.queries]}

    def go_on(self, place: Mapping[str, Any]) -> None:
        """Ask what comes after the place of another run of the same queries."""
        self.rows_read = place["rows"]
        for q, last in zip(self.queries, place["ticks"]):
            q.last = last

    def close(self) -> None:
        """Close the connections."""
        for server in self.servers.values():
            server.close()


class LocalRuns(Runs):
    """The runs of queries that are answered from points as they pass.

    start: None: so that the first point is read. stop: None: until the last point has been read. replay: as in
    Kapacitor's replay the database holds all points before it is asked, and a query that fails ends the task; else one
    that fails has no answer, and is counted. Raises TaskFailed where points cannot answer a query.
    """

    def __init__(self, graph: Graph, start: int | None, stop: int | None, *, replay: bool = False) -> None:
        super().__init__(graph, NEVER if start is None else start, stop)
        self.started, self.stopped, self.replay = start is not None, stop is not None, replay
        self.evaluators = {q.place: _evaluator(q.op) for q in self.queries}
        needs = [e.needs() for e in self.evaluators.values()]
        self.where = needs[0].conjuncts if len(needs) == 1 and not replay else ()
        reach = [e.reach() for e in self.evaluators.values()]
        self.before, self.behind = (max(r[i] for r in reach) for i in range(2))
        self.history = History(whole=replay)
        self.came = 0  # points since queries were last answered
        self.first, self.latest = END_OF_TIME, NEVER

    def snapshot(self) -> dict[str, Any]:
        """How far the queries are, and the points that they may still read."""
        return {
            "queries": [(q.last, q.until) for q in self.queries],
            "history": self.history.snapshot(),
            "began": self.started,
            "came": self.came,
            "times": (self.first, self.latest),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of runs of the same queries that have answered nothing yet."""
        for q, (last, until) in zip(self.queries, saved["queries"]):
            q.last, q.until = last, until
        self.history.restore(saved["history"])
        self.started, self.came = saved["began"], saved["came"]
        self.first, self.latest = saved["times"]

    def reads(self) -> Mapping[str, Any]:
        """What a source has to deliver, as the READS of a module say it, with the bounds `start` and `stop` in ns."""
        needs = [self.evaluators[q.place].needs() for q in self.queries]
        return {
            "measurements": _all(n.measurements for n in needs) or ("",),
            "tags": _all(n.tags for n in needs),
            "fields": _all(n.fields for n in needs),
            "where": self.where,
            "start": min(q.next_start() for q in self.queries) - self.before if self.started else None,
            "stop": max(q.until - q.op.offset for q in self.queries) + self.behind if self.stopped else None,
        }

    def ask(self, query: Scheduled, ticks: Array) -> Segments:
        start, stop = query.op.ranges(ticks)
        evaluator = self.evaluators[query.place]
        batches = query.op.batches(evaluator.answer(self.history, start, stop), stop)
        if self.replay and evaluator.errors:
            raise TaskFailed(f"{query.op.name}: {next(iter(evaluator.errors))}")
        query.op.errors.update(evaluator.errors)
        evaluator.errors.clear()
        return batches

    def take(self, rows: Rows, horizon: int) -> Iterator[dict[int, Segments]]:
        """Take points; all before `horizon` (ns) have come. Yields batches for `Graph.feed`."""
        rows = self._asked_for(rows)
        if len(rows):
            self.history.append(rows)
            self.came += len(rows)
            self.first = min(self.first, int(rows.time.min()))
            self.latest = max(self.latest, int(rows.time.max()))
        yield from self.answer(horizon)

    def _asked_for(self, rows: Rows) -> Rows:
        """The rows that fulfil `where`: of others a source leaves out as many as it likes."""
        for name, _, value in self.where:
            tag = rows.tags.get(name, Text.constant("", len(rows)))
            fitting = tag.codes == tag.vocabulary.find(str(value))
            rows = rows if fitting.all() else rows.take(fitting)
        return rows

    def answer(self, horizon: int) -> Iterator[dict[int, Segments]]:
        """All points before `horizon` (ns) have come; yields batches where enough have to be worth it."""
        if self.came >= WAIT and horizon > NEVER:
            yield from self._answered(horizon)
            self.came = 0

    def finish(self) -> Iterator[dict[int, Segments]]:
        """All points have come; yields what is left."""
        if self.latest == NEVER and not self.stopped:
            return
        self._begin()
        if not self.stopped:
            for q in self.queries:
                q.until = min(q.until, q.op.schedule.reaching(q.last, self.latest + 1 + q.op.offset))
        yield from self._answered(END_OF_TIME)

    def _begin(self) -> None:
        if not self.started:
            self.started = True
            for q in self.queries:
                q.last = q.op.schedule.start(self.first)

    def _answered(self, horizon: int) -> Iterator[dict[int, Segments]]:
        self._begin()
        yield from self.rounds(horizon - self.behind if horizon < END_OF_TIME else horizon, self._most())
        self.history.forget(min(q.next_start() for q in self.queries) - self.before)

    def _most(self) -> int:
        """How many ticks may be answered at once."""
        density = self.history.points / max(1, self.latest - self.first)
        covered = max(density * q.op.period for q in self.queries)
        return int(min(max(COVERED / max(covered, 1.0), 1), MOST_TICKS))


def _all(names: Iterable[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """All names of several readers, sorted; None, which stands for all there are, where one of them is."""
    found = list(names)
    return None if None in found else tuple(sorted({n for some in found for n in some or ()}))


def _evaluator(op: Query) -> Evaluator:
    try:
        return Evaluator(op.select)
    except QueryRefused as error:
        raise TaskFailed(f"{op.name}: the query is refused: {error}") from None
