"""A set of tasks on one recording, with what `kapacitorLoopback` feeds back to the set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tickc.runtime.loopback import Linked, LoopError, check_batches, edges, groups

if TYPE_CHECKING:
    from tickc.runtime.batch import Rows
    from tickc.runtime.graph import Entering, Graph, Output
    from tickc.runtime.results import Results
    from tickc.task import Task

__all__ = ["LoopError", "replay_together"]


def replay_together(
    tasks: Sequence[Task],
    recording: Any = None,
    *,
    data: Any = None,
    db: str = "",
    rp: str = "",
    start: Any = None,
    stop: Any = None,
    clock: str = "wall",
    flush: bool = False,
    handlers: bool = False,
    allow_exec: bool = False,
) -> dict[str, Results]:
    """Replay a recording, or data, through several tasks; the results by the tasks' names.

    recording: the path of a stream recording, or rows (one batch or an iterable). The other options are those of
    `Task.replay`. What a task hands to `kapacitorLoopback` enters all others at once, before the next rows of the
    recording, where they read that database and retention policy; it never enters the task that it comes from, as
    Kapacitor refuses such a loop. The end of the input ends a task before those that it feeds. Where a task fails, its
    results hold what came before and the failure; the others go on.

    Raises LoopError where tasks feed each other in a circle, ValueError where two tasks have one name, or a batch task
    is given a recording.
    """
    by_name = {task.name: task for task in tasks}

    def given(name: str, graph: Graph) -> Iterable[Entering]:
        return by_name[name]._given(graph, recording, data, (db, rp), start, stop)

    run = Replay(tasks, clock=clock, flush=flush, handlers=handlers, allow_exec=allow_exec)
    if recording is not None and run.batches:
        raise ValueError(f"{run.batches[0]} is a batch task, which takes recordings of its own")
    return run.over(given)


class Replay:
    """Tasks at work, and their results. batches: the names of those that are batch tasks."""

    def __init__(
        self, tasks: Sequence[Task], *, clock: str, flush: bool, handlers: bool = False, allow_exec: bool = False
    ) -> None:
        """Raises LoopError and ValueError as `replay_together` does."""
        from tickc.runtime.nodes.query import queries
        from tickc.runtime.results import Results

        self.tasks, self.flush = tasks, flush
        self.results = {task.name: Results(task.name) for task in tasks}
        if len(self.results) < len(tasks):
            raise ValueError("two tasks have the same name")
        self.graphs = [task.build() for task in tasks]
        for graph in self.graphs:
            graph.follow(clock)
            graph.goes_on = True
        self._batches = [i for i, graph in enumerate(self.graphs) if queries(graph)]
        self.batches = [tasks[i].name for i in self._batches]
        self._streams = [i for i in range(len(tasks)) if i not in self._batches]
        check_batches([task.name for task in tasks], self.graphs, self._batches)
        self.linked = list(self._groups())
        self.outside = [task.outside(handlers, allow_exec) for task in tasks]
        self.handlers: list[Any] = [None] * len(tasks)

    def _groups(self) -> Iterator[Linked]:
        """The stream tasks, those that feed each other together."""
        graphs = [self.graphs[i] for i in self._streams]
        for some in groups(len(graphs), edges(graphs)):
            places = [self._streams[k] for k in some]
            names = [self.tasks[i].name for i in places]
            yield Linked(names, [self.graphs[i] for i in places], partial(self._send_one_of, places))

    def over(self, given: Callable[[str, Graph], Iterable[Entering]]) -> dict[str, Results]:
        """Run all tasks; the results by their names. given: what enters a task of that name: of the first stream task
        that enters all of them."""
        from tickc.runtime.batch import Rows
        from tickc.runtime.handlers import connect

        try:
            for i, outside in enumerate(self.outside):
                if outside is not None:
                    self.handlers[i] = connect(self.graphs[i], outside)
            for i in self._batches:
                self._alone(i, given(self.tasks[i].name, self.graphs[i]))
            for i in self._streams[:1]:
                for rows in given(self.tasks[i].name, self.graphs[i]):
                    assert isinstance(rows, Rows)
                    for group in self.linked:
                        group.take(rows)
            for group in self.linked:
                group.end()
        finally:
            for handlers in filter(None, self.handlers):
                handlers.close()
            for graph in self.graphs:
                for operator in graph.operators:
                    if hasattr(operator, "close"):
                        operator.close()
        return self.results

    def _send_one_of(self, places: Sequence[int], k: int, rows: Rows | None) -> list[Output]:
        return self._send(places[k], rows)

    def _alone(self, i: int, given: Iterable[Entering]) -> None:
        """Send batches through a batch task."""
        from tickc.runtime.graph import TaskFailed

        try:
            for entering in given:
                self._send(i, entering)
        except TaskFailed as error:  # of the queries
            self.results[self.tasks[i].name].failure = str(error)
        self._send(i, None)

    def _send(self, i: int, some: Rows | Any | None) -> list[Output]:
        """Run a task on what enters (None: the end of the input), note its results, and return what left it."""
        from tickc.runtime.graph import TaskFailed

        task, graph = self.tasks[i], self.graphs[i]
        results = self.results[task.name]
        found: list[Output] = []
        if results.failure is not None:
            return found
        try:
            for output in self._outputs(graph, some):
                if self.handlers[i] is not None:
                    self.handlers[i].take(output)
                results.add(output)
                found.append(output)
        except TaskFailed as error:
            results.failure = str(error)
        except Exception as error:
            task.locate(error)
            raise
        return found

    def _outputs(self, graph: Graph, some: Any) -> Iterator[Output]:
        outputs: Iterator[Output] = graph.end(flush=self.flush) if some is None else graph.feed(some)
        return outputs
