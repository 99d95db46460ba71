"""Operators that several tasks have in common, run once for all of them.

Tasks that read the same rows often begin alike and differ later: one script with other thresholds, messages or topics.
An operator of equal configuration whose parents are equal gives the same batches in each of them. So it is part of one
graph, the trunk; what it gives to operators that a task has for itself is gathered there, and handed to the task's own
graph as what that operator made. See docs/decisions/prefixes.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tickc.runtime.batch import Batch, Points, Rows
from tickc.runtime.graph import Entry, Graph, Operator, Output, Source, TaskFailed
from tickc.runtime.nodes.block import Block, Chain, Names

GATHERED = 1 << 17  # rows that are gathered before tasks are given them

Keys = dict[Hashable, int]  # numbers of steps, equal where two tasks have the same step after the same steps


@dataclass(frozen=True, slots=True)
class _Step:
    """An operator, or one of those that were fused into it. key: see Keys; None where it cannot be shared. reads: the
    tags and fields that it and the steps fused with it read, where somebody says."""

    operator: Operator
    key: int | None
    reads: tuple[Names, Names] | None = None


class Outline:
    """The steps of a task, whose graph is fresh; none where it has to run by itself."""

    def __init__(self, graph: Graph, start: Hashable, keys: Keys) -> None:
        """start: what tells the rows that enter from those that enter tasks with an equal source."""
        self.graph = graph
        self.steps: list[list[_Step]] = []  # of each operator
        self.edges: list[tuple[_Step, _Step]] = []  # from a step to one that reads it
        if graph.timers or [i for i, op in enumerate(graph.operators) if isinstance(op, Entry)] != [0]:
            return
        if not isinstance(graph.operators[0], Source):
            return
        for op, parents in zip(graph.operators, graph.parents):
            above, steps = [self.steps[p][-1] for p in parents], list[_Step]()
            for i, one in enumerate(op.steps if isinstance(op, Chain) else (op,)):
                over = [step.key for step in above] if parents or i else [("start", start)]
                shared = None not in over and one.alone and not one.sends
                key = keys.setdefault((tuple(over), told(one)), len(keys)) if shared else None
                steps.append(_Step(one, key, op.reads[i] if isinstance(op, Block) else None))
                self.edges += [(step, steps[-1]) for step in above]
                above = steps[-1:]
            self.steps.append(steps)

    @property
    def all_steps(self) -> Iterator[_Step]:
        return (step for steps in self.steps for step in steps)


def told(op: Operator) -> Hashable:
    """The configuration of an operator, without the name of the task."""
    return type(op).__name__, tuple(
        (key, tuple(map(told, value)) if key == "steps" else repr(value))
        for key, value in sorted(op.given.items())
        if key != "task"
    )


def families(tasks: Sequence[Outline]) -> list[list[int]]:
    """The tasks, by place, that read the same rows and have more than their source in common with another."""
    counts = Counter(step.key for task in tasks for step in task.all_steps)
    by_source: dict[int | None, list[int]] = defaultdict(list)
    for i, task in enumerate(tasks):
        source, *others = [step.key for step in task.all_steps] or [None]
        if any(key is not None and counts[key] > 1 for key in others):
            by_source[source].append(i)
    return [*by_source.values()]


def _common(tasks: Sequence[Outline]) -> set[int | None]:
    """The keys of the steps that are shared. One that may give more at once than memory should hold is not, where a
    task goes on from it and from others: all that it gives in a round would have to be gathered."""
    counts = Counter(step.key for task in tasks for step in task.all_steps if step.key is not None)
    common: set[int | None] = {key for key, n in counts.items() if n > 1}
    while True:
        gone: set[int | None] = set()
        for task in tasks:
            gone |= {lower.key for upper, lower in task.edges if upper.key not in common}
            left = [upper for upper, lower in task.edges if upper.key in common and lower.key not in common]
            if len({upper.key for upper in left}) > 1:
                gone |= {upper.key for upper in left if upper.operator.pours}
        if not gone & common:
            return common
        common -= gone


class Gather(Operator):
    """Keeps what an operator gives until tasks are given it. at_once: whether it asks for that within a round, where
    much has come."""

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)
        self.waiting: list[Batch] = []
        self.rows = 0
        self.at_once = False

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.waiting.append(batch)
        self.rows += len(batch.rows)
        if self.at_once and self.rows >= GATHERED:
            self.send("gathered", self.name, self)
        return ()

    def taken(self) -> list[Batch]:
        """What was gathered, which then is not any more; points as one batch."""
        found, self.waiting, self.rows = self.waiting, [], 0
        points = [batch for batch in found if isinstance(batch, Points)]
        return [Points.concat(points)] if len(points) == len(found) > 1 else found


@dataclass(frozen=True, slots=True)
class Part:
    """What a task is given. made: by place in its graph, what operators of the trunk made for its own; failed:
    operators of the trunk, likewise, that ended the tasks that have them."""

    made: Mapping[int, Sequence[Batch]]
    failed: Mapping[int, TaskFailed]


class Trunk:
    """The operators that tasks of a family have in common. The graphs of the tasks contain them, so that they tell of
    them what they would alone, and do not run them."""

    def __init__(self, tasks: Sequence[Outline], kept: int) -> None:
        """kept: bytes of rows that operators keep which may be in memory."""
        self.graph = Graph()
        self.graph.goes_on = True  # an operator that fails ends the tasks that have it
        self._common = _common(tasks)
        self._made: dict[int | None, Operator] = {}  # by the key of the last step
        self._gathers: dict[int | None, Gather] = {}
        self._reads: dict[int | None, list[tuple[Names, Names] | None]] = defaultdict(list)  # by all tasks
        self._fused: dict[int | None, set[Hashable]] = defaultdict(set)  # what each step is part of
        for op, steps in (pair for task in tasks for pair in zip(task.graph.operators, task.steps)):
            whole = _fused(op, steps)
            for step in steps:
                self._reads[step.key].append(step.reads)
                self._fused[step.key].add(whole)
        self._tasks = [self._regrown(task) for task in tasks]
        beside = {id(g) for _, gathers in self._tasks if len(gathers) > 1 for g in gathers.values()}
        for gather in self._gathers.values():
            gather.at_once = id(gather) not in beside  # no task waits for what others give
        self.graph.keep_within(kept)

    def _regrown(self, task: Outline) -> tuple[dict[int, int], dict[int, Gather]]:
        """Put operators of the trunk in a task's graph; where each stands in the trunk, by its place in the task's
        graph, and what is gathered of those that the task's own operators read."""
        operators: list[Operator] = []
        parents: list[tuple[int, ...]] = []
        last: list[int] = []  # of the places, by those of the operators before
        shared: dict[int, int] = {}
        keys: dict[int, int | None] = {}
        gathers: dict[int, Gather] = {}

        def add(op: Operator, above: tuple[int, ...]) -> tuple[int, ...]:
            operators.append(op)
            parents.append(above)
            return (len(operators) - 1,)

        for op, steps, places in zip(task.graph.operators, task.steps, task.graph.parents):
            above = tuple(last[p] for p in places)
            n = sum(step.key in self._common for step in steps)
            for key, made in self._parts(op, steps[:n], [keys.get(p) for p in above]):
                above = add(made, above)
                keys[above[0]], shared[above[0]] = key, made.place
            if n < len(steps):
                gathers |= {p: self._gather(keys[p]) for p in above if p in keys}
                above = add(op if not n else _rest(op, n), above)
            last.append(above[0])
        task.graph.regrow(operators, parents, shared)
        return shared, gathers

    def _parts(
        self, op: Operator, steps: Sequence[_Step], above: Sequence[int | None]
    ) -> Iterator[tuple[int | None, Operator]]:
        """The operators of the trunk that do what the first steps of an operator do, with the keys of their last steps.
        above: those of its parents."""
        whole = len(steps) == _size(op) and all(len(self._fused[step.key]) == 1 for step in steps)
        for step in steps[-1:] if whole else steps:
            if step.key not in self._made:
                made = self.graph.add(op if whole else self._single(step), *(self._made[key] for key in above))
                self._made[step.key] = made
            yield step.key, self._made[step.key]
            above = [step.key]

    def _single(self, step: _Step) -> Operator:
        """A step as an operator of the trunk, which takes the columns that any task wants of it."""
        reads = [some for some in self._reads[step.key] if some is not None]
        if len(reads) < len(self._reads[step.key]):
            return step.operator
        tags, fields = (joined(names) for names in zip(*reads))
        return Block(name=step.operator.name, steps=[step.operator], reads=[(tags, fields)])

    def _gather(self, key: int | None) -> Gather:
        if key not in self._gathers:
            above = self._made[key]
            self._gathers[key] = self.graph.add(Gather(name=above.name), above)
        return self._gathers[key]

    # -- the run

    def take(self, rows: Rows) -> Iterator[Gather]:
        """Send rows through the operators; yields where so much has come together that tasks are to be given it."""
        return map(_full, self.graph.feed(rows))

    def end(self, flush: bool) -> Iterator[Gather]:
        """All rows have been taken; yields as `take` does."""
        with suppress(TaskFailed):  # which tasks it ends is told by `parts`
            yield from map(_full, self.graph.end(flush=flush))

    @property
    def full(self) -> bool:
        """Whether it is time to give the tasks what was gathered for them."""
        return bool(self.graph.failures) or any(g.rows >= GATHERED for g in self._gathers.values())

    def parts(self, full: Gather | None = None) -> list[Part]:
        """What was gathered for each task, which then is not any more; within a round, at one place."""
        found = {id(gather): gather.taken() for gather in ([full] if full else self._gathers.values())}
        failures = {} if full else self.graph.failures
        return [
            Part(
                {place: made for place, gather in gathers.items() if (made := found.get(id(gather)))},
                {place: failures[i] for place, i in shared.items() if i in failures} if failures else {},
            )
            for shared, gathers in self._tasks
        ]

    def snapshot(self) -> list[Any]:
        """The state of the operators, when nothing is gathered."""
        return [op.snapshot() for op in self.graph.operators]

    def restore(self, saved: Sequence[Any]) -> None:
        """Take over a snapshot; for a fresh trunk of the same tasks."""
        for op, state in zip(self.graph.operators, saved):
            op.restore(state)


def _full(output: Output) -> Gather:
    assert isinstance(output.payload, Gather), f"{output.operator} is shared and sends something"
    return output.payload


def joined(names: Iterable[Names]) -> Names:
    """All names; None, for all columns, where one is None."""
    found = [*names]
    return None if None in found else tuple(sorted({name for some in found for name in some or ()}))


def _size(op: Operator) -> int:
    return len(op.steps) if isinstance(op, Chain) else 1


def _fused(op: Operator, steps: Sequence[_Step]) -> Hashable:
    """What is equal for operators that do the same with the same steps."""
    given = op.given.items() if isinstance(op, Chain) else ()
    more = tuple((key, repr(value)) for key, value in given if key != "steps" and not callable(value))
    return type(op).__name__, tuple(step.key for step in steps), more


def _rest(op: Any, first: int) -> Chain:
    """The steps of a chain from one on."""
    if isinstance(op, Block):
        return Block(name=op.name, steps=op.steps[first:], reads=op.reads[first:])
    return Chain(name=op.name, steps=op.steps[first:])
