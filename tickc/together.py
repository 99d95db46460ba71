"""A set of tasks on one recording, with what `kapacitorLoopback` feeds back to the set."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickc.runtime.batch import Rows
    from tickc.runtime.graph import Graph, Output
    from tickc.runtime.results import Results
    from tickc.task import Task

DEEPEST = 16  # how often what came of a row may be fed back: a chain of tasks ends, a circle does not


class LoopError(Exception):
    """Tasks feed each other in a circle."""


def replay_together(tasks: Sequence[Task], recording: Any) -> dict[str, Results]:
    """Replay a recording through several tasks; the results by the tasks' names.

    recording: the path of a stream recording, or rows (one batch or an iterable). What a task hands to
    `kapacitorLoopback` enters all others at once, before the next rows of the recording, where they read that database
    and retention policy; it never enters the task that it comes from, as Kapacitor refuses such a loop. What the end of
    the input releases is fed to the tasks that come later in `tasks`. Raises LoopError where tasks feed each other in a
    circle, ValueError where two tasks have one name.
    """
    from tickc.runtime.results import Results

    names = [t.name for t in tasks]
    if len(set(names)) < len(names):
        raise ValueError("two tasks have the same name")
    run = _Set({t.name: t.build() for t in tasks}, {t.name: Results(t.name) for t in tasks})
    for rows in _batches(recording):
        for piece in run.pieces(rows):
            run.feed(piece, "", 0)
    for name in names:
        run.finish(name)
    return run.results


class _Set:
    def __init__(self, graphs: dict[str, Graph], results: dict[str, Results]) -> None:
        self.graphs = graphs
        self.results = results

    def pieces(self, rows: Rows) -> Iterable[Rows]:
        """The rows one by one where a task feeds back, so that the order does not depend on how they are batched."""
        from tickc.runtime.nodes.sinks import KapacitorLoopback

        if not any(isinstance(op, KapacitorLoopback) for graph in self.graphs.values() for op in graph.operators):
            return [rows]
        return (rows.take(slice(i, i + 1)) for i in range(len(rows)))

    def feed(self, rows: Rows, giver: str, depth: int) -> None:
        """Send rows to all tasks but `giver` that have not finished or failed, and what they feed back after them."""
        waiting = deque([(rows, giver, depth)])
        while waiting:
            rows, giver, depth = waiting.popleft()
            if depth > DEEPEST:
                raise LoopError(f"task {giver} is part of a circle of tasks that feed each other by kapacitorLoopback")
            for name in list(self.graphs):
                if name != giver:
                    waiting.extend((r, name, depth + 1) for r in self.take(name, [rows], last=False))

    def finish(self, name: str) -> None:
        """End the input of a task."""
        if name not in self.graphs:
            return
        released = self.take(name, [], last=True)
        self.graphs.pop(name, None)
        for rows in released:
            self.feed(rows, name, 1)

    def take(self, name: str, batches: list[Rows], *, last: bool) -> list[Rows]:
        """Run a task on rows, note its results, and return what it feeds back."""
        from tickc.runtime.graph import TaskFailed

        back: list[Rows] = []
        try:
            for output in self.graphs[name].run(batches, last=last):
                back.extend(self._noted(name, output))
        except TaskFailed as error:
            self.results[name].failure = str(error)
            del self.graphs[name]
        return back

    def _noted(self, name: str, output: Output) -> Iterator[Rows]:
        if output.kind == "kapacitorLoopback":
            yield output.payload.rows
        else:
            self.results[name].add(output)


def _batches(recording: Any) -> Iterable[Rows]:
    from tickc.runtime.batch import Rows

    if isinstance(recording, Rows):
        return [recording]
    if isinstance(recording, Iterable) and not isinstance(recording, str):
        return recording
    from tickc.runtime.sources.recording import read_recording

    return read_recording(recording)
