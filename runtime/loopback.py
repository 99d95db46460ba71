"""Tasks that feed each other: what one hands to `kapacitorLoopback` enters the others that read it.

What comes of a row enters the other tasks at once, before the next row, whatever batches bring the rows: first what is
fed back because of the row itself, then what is because of that, and so on; of one such step in the order of the tasks.
A batch goes through one task after the other, the giver before those it feeds, each with the rows that are fed back
between its own. It never enters the task that it comes from, as Kapacitor refuses such a loop; a circle of tasks is an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np

from tickc.runtime.batch import Array, Rows
from tickc.runtime.graph import Entry, Graph, Output, Source, operators
from tickc.runtime.nodes.sinks import KapacitorLoopback

Send = Callable[[int, "Rows | None"], Iterable[Output]]


class LoopError(Exception):
    """Tasks feed each other in a way that cannot be followed. `message` stands alone; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def edges(graphs: Sequence[Graph]) -> list[tuple[int, int]]:
    """Which task may feed which other, by their places."""
    writes = [
        {(op.database, op.policy, op.measurement) for op in operators(graph) if isinstance(op, KapacitorLoopback)}
        for graph in graphs
    ]
    if not any(writes):
        return []
    reads = [[(op.dbrps, op.measurements) for op in graph.operators if isinstance(op, Source)] for graph in graphs]
    return [
        (i, j)
        for i, written in enumerate(writes)
        for j, read in enumerate(reads)
        if i != j and any(_enters(points, *source) for points in written for source in read)
    ]


def _enters(points: tuple[str, str, str], dbrps: Sequence[tuple[str, str]] | None, measurements: Sequence[str]) -> bool:
    """Whether points that are written so (the measurement may be any, "") may enter where these are read."""
    *dbrp, measurement = points
    return (dbrps is None or tuple(dbrp) in dbrps) and (
        not measurement or "" in measurements or measurement in measurements
    )


def check_batches(names: Sequence[str], graphs: Sequence[Graph], batches: Sequence[int]) -> None:
    """LoopError where a batch task feeds another task: its queries have no place among the points of a stream."""
    for giver, taker in edges(graphs):
        if giver in batches:
            raise LoopError(
                f"the batch task {names[giver]} feeds {names[taker]} by kapacitorLoopback",
                f"run {names[giver]} first, then {names[taker]} over what it wrote",
            )


def groups(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The tasks that are linked, directly or not, and each other one alone; in the order of the first of each."""
    home = list(range(count))  # a task of the same group that stands before it, or itself

    def first(task: int) -> int:
        while home[task] != task:
            home[task] = task = home[home[task]]
        return task

    for i, j in links:
        low, high = sorted((first(i), first(j)))
        home[high] = low
    found: dict[int, list[int]] = {}
    for task in range(count):
        found.setdefault(first(task), []).append(task)
    return list(found.values())


@dataclass(frozen=True)
class _Fed:
    """Rows that a task fed back. cause: i8[n], the row of the input that each comes of; depth: i8[n], how many tasks
    lie between; at: i8[n], the row of the giver's own that caused it."""

    rows: Rows
    cause: Array
    depth: Array
    at: Array
    giver: int


class Linked:
    """Tasks that feed each other. send: sends rows (None: the end of the input) through the task of that place, and
    returns what left it, nothing where it has failed."""

    def __init__(self, names: Sequence[str], graphs: Sequence[Graph], send: Send) -> None:
        """Raises LoopError where they do so in a circle."""
        self.graphs, self.send = graphs, send
        self.edges = set(edges(graphs))
        self.order = _ordered(names, self.edges)

    def take(self, rows: Rows) -> None:
        """Send rows of the input through all tasks."""
        fed: list[_Fed] = []
        for task in self.order:
            fed.extend(self._fed_back(task, rows, fed))

    def end(self) -> None:
        """End the input of each task, of a giver before those that it feeds."""
        for place, task in enumerate(self.order):
            fed = []
            for write in _writes(self.send(task, None)):
                n = len(write)
                fed.append(_Fed(write, np.zeros(n, np.int64), np.ones(n, np.int64), np.arange(n), task))
            for later in self.order[place + 1 :] if fed else ():
                fed.extend(self._fed_back(later, None, fed))

    def _fed_back(self, task: int, rows: Rows | None, fed: Sequence[_Fed]) -> list[_Fed]:
        """Send a task the rows of the input and those that are fed to it; what it feeds back."""
        mine = [some for some in fed if (some.giver, task) in self.edges]
        parts = [*([] if rows is None else [rows]), *(some.rows for some in mine)]
        if not parts:
            return []
        n = 0 if rows is None else len(rows)
        cause = np.concatenate([np.arange(n), *(some.cause for some in mine)])
        depth = np.concatenate([np.zeros(n, np.int64), *(some.depth for some in mine)])
        entering = Rows.concat(parts)
        if mine:
            giver = np.concatenate([np.full(n, -1), *(np.full(len(some.rows), some.giver) for some in mine)])
            at = np.concatenate([np.zeros(n, np.int64), *(some.at for some in mine)])
            order = np.lexsort((at, giver, depth, cause))
            entering, cause, depth = entering.take(order), cause[order], depth[order]
        first = next((op.seen for op in self.graphs[task].operators if isinstance(op, Entry)), 0)
        found = []
        for output in sorted(self.send(task, entering), key=lambda output: output.place):
            if output.kind == KapacitorLoopback.kind:
                at = output.payload.seq - first
                found.append(_Fed(output.payload.rows, cause[at], depth[at] + 1, at, task))
        return found


def _writes(outputs: Iterable[Output]) -> Iterator[Rows]:
    return (
        output.payload.rows
        for output in sorted(outputs, key=lambda o: o.place)
        if output.kind == KapacitorLoopback.kind
    )


def _ordered(names: Sequence[str], links: Iterable[tuple[int, int]]) -> list[int]:
    """The tasks, givers before those that they feed. LoopError where there is a circle."""
    givers: dict[int, list[int]] = {task: [] for task in range(len(names))}
    for giver, taker in sorted(links):
        givers[taker].append(giver)
    try:
        return list(TopologicalSorter(givers).static_order())
    except CycleError as error:
        circle = error.args[1]
        start = circle.index(min(circle))
        told = " -> ".join(names[task] for task in [*circle[start:-1], *circle[:start], circle[start]])
        raise LoopError(
            f"tasks feed each other in a circle by kapacitorLoopback: {told}",
            "have them read other databases, retention policies (dbrp) or measurements than those they feed",
        ) from None
