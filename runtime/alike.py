"""Tasks that differ only in the rows that they take, run as one graph.

A thousand tasks are often one script, each for a measurement or a host of its own. Then their rows go through the
operators of one of them, in groups that are of one task each, and what leaves the graph is dealt out: a round for all
tasks in the stead of one for each.

This is what each task would do alone where every operator treats each group by itself (`Operator.apart`). Much of that
shows only in the course of a run: values of several kinds, ids that two groups share, a value that an operator cannot
use, rows that come late. So a run like this is an attempt, over an input whose rows are all kept meanwhile; where
anything is out of the ordinary nothing of it counts, and each task is run by itself.
"""

from __future__ import annotations

import logging
import time as clock
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_
from typing import Any, TypeVar

import numpy as np

from tickc.runtime.backfill import at_home
from tickc.runtime.batch import Array, Groups, Pairs, Points, Rows
from tickc.runtime.dispatch import Slots
from tickc.runtime.emitted import Deal, Dealt, emitted
from tickc.runtime.events import Events
from tickc.runtime.expr import Binary, Expr, Frame, Lambda, Literal, Ref, spine
from tickc.runtime.graph import EXAMPLE_DBRPS, Entry, Graph, Operator, Output, Source, fresh, operators
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.block import Block, select
from tickc.runtime.nodes.group import ALL, Grouping, first_rows
from tickc.runtime.nodes.stream import From
from tickc.runtime.prefixes import told

R = TypeVar("R")
log = logging.getLogger("tickc")

ENOUGH = 4  # tasks from which it is worth it
MOST = 1 << 18  # rows of results that may wait to be dealt out
PIECE = 1 << 16  # rows that go through the graph at once
ALLOWED = {"name", "measurement", "where", "group_by", "by_measurement"}  # what a `from` may say


@dataclass(frozen=True)
class Sort:
    """What tells a task from others of its kind: the rows of a measurement, and of those of a tag with one value."""

    measurement: str
    tag: str = ""
    value: str = ""

    @property
    def own(self) -> str:
        """What no other task of the kind has."""
        return self.value if self.tag else self.measurement


def kind_of(graph: Graph) -> tuple[Hashable, Sort] | None:
    """The kind of a task with a fresh graph, equal for tasks that differ in their sort alone, and the sort; None where
    it has none."""
    ops, parents = graph.operators, graph.parents
    if len(ops) < 2 or type(ops[0]) is not Source or parents[1] != (0,):
        return None
    start, rest = _start(ops[1])
    below = [*rest, *ops[2:]]
    if start is None or any(len(above) != 1 or above == (0,) for above in parents[2:]):
        return None
    given = start.given
    sort, where = _sort(given)
    if not sort.measurement or not given.keys() <= ALLOWED or given.get("group_by") == ALL:
        return None
    if tuple(ops[0].given.get("measurements", ())) != (sort.measurement,):
        return None
    fixed = sort.measurement if sort.tag else "", sort.tag, repr(where), repr(ops[0].given.get("dbrps"))
    grouped = repr(given.get("group_by")), given.get("by_measurement")
    return (fixed, grouped, tuple(parents), tuple(map(told, below))), sort


def apart(graph: Graph) -> bool:
    """Whether the groups of tasks of a kind may go through one graph, `graph` being that of one of them."""
    start, rest = _start(graph.operators[1])
    assert start is not None
    _, where = _sort(start.given)
    if where is not None and not Lambda(where, per_group=False).apart():
        return False
    return all(op.apart() for op in (*rest, *graph.operators[2:]))


def _start(op: Operator) -> tuple[From | None, list[Operator]]:
    """The `from` that an operator is or begins with, and an operator with fresh state for what follows in it."""
    if type(op) is From:
        return op, []
    if type(op) is not Block or type(op.steps[0]) is not From:
        return None, []
    return op.steps[0], [Block(name=op.name, steps=[*map(fresh, op.steps[1:])], reads=op.reads[1:])]


def _sort(given: Mapping[str, Any]) -> tuple[Sort, Expr | None]:
    """The sort of a task whose `from` is given so, and what else it asks of its points."""
    measurement, where = given.get("measurement", ""), given.get("where")
    terms = [] if where is None else _conjuncts(where)
    for i, term in enumerate(terms):
        match term:
            case Binary("==", Ref(tag), Literal(Kind.STRING, str(value))) if value and tag != "time":
                rest = terms[:i] + terms[i + 1 :]
                return Sort(measurement, tag, value), reduce(and_, rest) if rest else None
    return Sort(measurement), where


def _conjuncts(e: Expr) -> list[Expr]:
    return [t for part in spine(e) for t in _conjuncts(part)] if isinstance(e, Binary) and e.op == "AND" else [e]


@dataclass
class Portion:
    """What the rows of one task came to. rows: how many there were; columns: the tags and fields that they had, of
    those that the task reads; levels: of events."""

    rows: int = 0
    columns: set[str] = field(default_factory=set)
    sinks: list[Dealt] = field(default_factory=list)
    levels: Counter[str] = field(default_factory=Counter)


class Unusual(Exception):
    """Something that is not clear to be what each task would do alone."""


class Alike:
    """Tasks of one kind, which are given rows in the stead of each."""

    def __init__(
        self,
        graph: Graph,
        sorts: Sequence[Sort],
        names: Sequence[str],
        reads: tuple[Sequence[str] | None, Sequence[str] | None],
        home: tuple[str, str] | None,
    ) -> None:
        """graph: of one of the tasks; sorts: different ones; names: of the tasks; reads: tags and fields, None for all;
        home: see `backfill.at_home`."""
        self.sorts, self.names, self.reads, self.home = sorts, names, reads, home
        self.slots = Slots([sort.own for sort in sorts])
        source, (begin, rest) = graph.operators[0], _start(graph.operators[1])
        assert begin is not None
        start = begin.given
        self.dbrps = source.given.get("dbrps")
        _, where = _sort(start)
        self.where = None if where is None else Lambda(where, per_group=False, wants=Kind.BOOL)
        self.grouping = Grouping(start.get("group_by", ()), (), start.get("by_measurement", False))
        self.pairs = Pairs()
        self.groups = Groups()  # of one task each
        self.task = np.zeros(0, np.int32)  # of each group
        self.task_names: list[str] = []  # likewise
        self.graph = Graph()
        made = {1: self.graph.add(Entry(name=begin.name))}
        for op in rest:
            made[1] = self.graph.add(op, made[1])
        for i, op in enumerate(graph.operators[2:], 2):
            made[i] = self.graph.add(fresh(op), made[graph.parents[i][0]])
            if hasattr(made[i], "texts"):
                made[i].texts.tasks = self.task_names
        self.seconds = 0.0  # that it took
        self.entered = 0
        self.last = np.iinfo(np.int64).min  # the time of the last row
        self.rows = np.zeros(len(sorts), np.int64)  # of each task
        self.has = {name: np.zeros(len(sorts), np.bool_) for some in reads for name in some or ()}  # columns, by task
        self.outputs: list[Output] = []
        self.held = 0

    def take(self, rows: Rows) -> bool:
        """Send rows through the graph; False where each task has to run by itself."""
        return self._tried(self._take, rows) is not None

    def end(self, flush: bool) -> list[Portion] | None:
        """All rows have been taken; what each task gets, None where each has to run by itself."""
        return self._tried(self._end, flush)

    def _tried(self, step: Callable[[Any], R], given: Any) -> R | None:
        began = clock.perf_counter()
        try:
            return step(given)
        except Exception as error:  # what a task raises is told where it runs by itself
            log.debug("%d tasks that are alike run each by itself: %r", len(self.sorts), error)
            return None
        finally:
            self.seconds += clock.perf_counter() - began

    def _end(self, flush: bool) -> list[Portion]:
        self._keep(self.graph.end(flush=flush))
        ops = [*operators(self.graph)][1:]
        if any(op.errors or [*op.notes()] or not op.apart() for op in ops):
            raise Unusual
        return self._portions()

    def _take(self, rows: Rows) -> bool:
        found = self._chosen(select(rows, *self.reads))
        if found is None:
            return True
        rows, task = found
        if int(rows.time[0]) < self.last or (rows.time[1:] < rows.time[:-1]).any():
            raise Unusual
        self.last = int(rows.time[-1])
        rows = at_home(rows, self.home)
        self._check_origin(rows)
        self._note(rows, task)
        seq = np.arange(self.entered, self.entered + len(rows), dtype=np.int64)
        self.entered += len(rows)
        if self.where is not None:
            held, error = self.where.mask(Frame.of(self.where.names, rows.fields, rows.tags, rows.time))
            if error is not None:
                raise Unusual
            rows, task, seq = rows.take(held), task[held], seq[held]
            if not len(rows):
                return True
        points = Points(rows, self._groups_of(rows, task), self.groups, seq)
        for start in range(0, len(rows), PIECE):
            self._keep(self.graph.push({0: [points.take(slice(start, start + PIECE))]}))
        return True

    def _chosen(self, rows: Rows) -> tuple[Rows, Array] | None:
        """The rows that tasks take, and i4[n] which of them does; None where there are none."""
        one = self.sorts[0]
        if one.tag in rows.fields:  # which a lambda reads before the tag
            raise Unusual
        own = rows.tags.get(one.tag) if one.tag else rows.name
        if own is None:
            return None
        task = self.slots.table(own.vocabulary)[own.codes]
        chosen = task < len(self.sorts)
        if one.tag:
            chosen &= rows.name.codes == rows.name.vocabulary.find(one.measurement)
        if chosen.all():
            return (rows, task) if len(rows) else None
        at = np.flatnonzero(chosen)
        return (rows.take(at), task[at]) if len(at) else None

    def _check_origin(self, rows: Rows) -> None:
        """All rows have to be of one database and retention policy, which the tasks read."""
        for text in (rows.database, rows.policy):
            if text.codes.strides != (0,) and (text.codes != text.codes[0]).any():
                raise Unusual
        origin = rows.database.at(0), rows.policy.at(0)
        if self.dbrps is None:
            self.dbrps = EXAMPLE_DBRPS if origin in EXAMPLE_DBRPS else (origin,)
        if origin not in self.dbrps:
            raise Unusual

    def _note(self, rows: Rows, task: Array) -> None:
        """Count the rows, and note the columns that they have, by task."""
        counts = np.bincount(task, minlength=len(self.sorts))
        self.rows += counts
        for name, has in self.has.items():
            there = [c.codes >= 0 for c in (rows.tags.get(name),) if c is not None]
            there += [c.present() for c in (rows.fields.get(name),) if c is not None]
            for mask in there:
                has |= counts > 0 if mask.all() else np.bincount(task[mask], minlength=len(self.sorts)) > 0

    def _groups_of(self, rows: Rows, task: Array) -> Array:
        """i4[n]: the groups of rows, which are of one task each."""
        inside = self.grouping.encode(rows)
        if not self.grouping.plain:
            raise Unusual
        group = np.concatenate([
            self.pairs.encode(task[start : start + PIECE], inside[start : start + PIECE])
            for start in range(0, len(rows), PIECE)
        ])  # fmt: skip
        known, there = len(self.groups), self.pairs.count
        if there > known:
            _, first = first_rows(group, np.arange(there) >= known)
            values = self.grouping.groups.tags(inside[first])
            self.groups.extend(rows.name.take(first).filled(""), self.grouping.by_name, dict(sorted(values.items())))
            self.task = np.concatenate([self.task, task[first]])
            self.task_names.extend(self.names[i] for i in task[first].tolist())
        return group

    def _keep(self, outputs: Iterator[Output]) -> None:
        for output in outputs:
            self.outputs.append(output)
            self.held += len(_points(output))
            if self.held > MOST:
                raise Unusual

    def _portions(self) -> list[Portion]:
        """What each task is given of what left the graph."""
        portions = [
            Portion(rows, {name for name, has in self.has.items() if has[i]})
            for i, rows in enumerate(self.rows.tolist())
        ]
        outputs = _as_of_one_round(self.outputs)
        for found in emitted(outputs):
            task = self.task[found.group]
            order = np.argsort(task, kind="stable")
            deal, ends = Deal(found, order), np.cumsum(np.bincount(task, minlength=len(portions))).tolist()
            for i in np.unique(task).tolist():
                portions[i].sinks.append(Dealt(deal, ends[i - 1] if i else 0, ends[i]))
        for output in outputs:
            if output.kind == "alert":
                for i, level in zip(self.task[_points(output).group].tolist(), output.payload.levels):
                    portions[i].levels[level] += 1
        return portions


def _as_of_one_round(outputs: Sequence[Output]) -> list[Output]:
    """The same, what one operator sent to one sink put together: texts are made for many rows at once."""
    sent: dict[tuple[str, str, int], list[Output]] = defaultdict(list)
    for output in outputs:
        sent[output.kind, output.name, output.place].append(output)
    of: Mapping[str, Callable[[Any], Any]] = {"alert": Events.concat, "httpOut": Points.concat}
    return [replace(some[0], payload=of[kind]([o.payload for o in some])) for (kind, *_), some in sent.items()]


def _points(output: Output) -> Points:
    """The points that left the graph, or for which events did."""
    found = output.payload if output.kind == "httpOut" else output.payload.data
    if not isinstance(found, Points):
        raise Unusual
    return found
