"""What each operator of a graph does in a run, and each thread: time, calls, rows and bytes.

The methods of operators are wrapped, so a run that is not measured knows nothing of it. A stage's time is that of its
turns, wherever they run: also of what it makes later, and of the parts of its work that other threads take over
(docs/decisions/workers.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickc.runtime.graph import Graph, Operator

END = object()
TURNS = ("round", "marks_of", "advance", "flush", "finish")  # methods of an operator that take and give batches


@dataclass
class Work:
    """Work of one kind. seconds: by the clock, of all its pieces, which may overlap; cpu: processor time."""

    name: str
    seconds: float = 0.0
    cpu: float = 0.0


@dataclass
class Stage(Work):
    """What one operator did in a run. rows, bytes: of the messages that it took and gave; a batch's are its points.

    kind: the operator's class; steps: the names of those that were fused into it; lines: of the script, None where it
    stands for none.
    """

    kind: str = ""
    lines: tuple[int, int] | None = None
    steps: list[str] = field(default_factory=list)
    calls: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass
class Thread:
    """What one thread did in a run. cpu: its processor time; work: of that, by the name of the work."""

    name: str
    cpu: float = 0.0
    work: dict[str, float] = field(default_factory=dict)


class Meter:
    """Takes the time of pieces of work in all threads; made in the thread that the run is in."""

    def __init__(self) -> None:
        self.threads: dict[str, Thread] = {}
        self._began = {threading.get_ident(): time.thread_time()}  # other threads begin in the run
        self._lock = threading.Lock()
        self._here = threading.local()  # .work: what the thread is at

    @contextmanager
    def piece(self, work: Work, helping: bool = False) -> Iterator[None]:
        """Take the time of a piece; one within another is a part of that. helping: another thread, whose seconds count,
        waits for it."""
        if self.work is not None:
            yield
            return
        self._here.work = work
        began, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            ended = time.thread_time()
            with self._lock:
                work.seconds += 0.0 if helping else time.perf_counter() - began
                work.cpu += ended - cpu
                thread = self.here()
                thread.work[work.name] = thread.work.get(work.name, 0.0) + ended - cpu
            self._here.work = None

    @property
    def work(self) -> Work | None:
        """What this thread is at."""
        return getattr(self._here, "work", None)

    def here(self) -> Thread:
        """What this thread did until now."""
        name = threading.current_thread().name.removeprefix("tickc-").removesuffix("_0")
        label = "main" if name == "MainThread" else name
        thread = self.threads.setdefault(label, Thread(label))
        thread.cpu = time.thread_time() - self._began.get(threading.get_ident(), 0.0)
        return thread

    def call(self, work: Work, function: Callable[..., Any], *args: Any) -> Any:
        """What a function gives; its time counts."""
        with self.piece(work):
            return function(*args)

    def iterate(self, work: Work, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """The items of what `make` gives; the time in which they are made counts, that between them does not."""
        with self.piece(work):
            items = iter(make())
            item = next(items, END)
        while item is not END:
            yield item
            with self.piece(work):
                item = next(items, END)

    def shared(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A part of what this thread is at, which any thread may do."""
        work = self.work

        def run(*args: Any) -> Any:
            if work is None:
                return function(*args)
            with self.piece(work, helping=True):
                return function(*args)

        return run

    def watch(self, graph: Graph, lines: Mapping[str, tuple[int, int]]) -> list[Stage]:
        """Have each operator of a graph tell what it does; a stage for each, in topological order.

        lines: of the script, by operator.
        """
        share = graph.team.map
        graph.team.map = lambda function, *args: share(self.shared(function), *args)  # type: ignore[method-assign]
        return [self._watched(op, lines) for op in graph.operators]

    def _watched(self, op: Operator, lines: Mapping[str, tuple[int, int]]) -> Stage:
        steps = [step.name for step in getattr(op, "steps", ())]
        found = [lines[name] for name in (op.name, *steps) if name in lines]
        span = (min(a for a, _ in found), max(b for _, b in found)) if found else None
        stage = Stage(op.name, kind=type(op).__name__, lines=span, steps=steps)
        for name in TURNS:
            setattr(op, name, self._turn(stage, getattr(op, name)))
        if hasattr(op, "rows"):  # a source
            op.rows = self._entry(stage, op.rows)
        return stage

    def _turn(self, stage: Stage, method: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        def run(*args: Any) -> Iterator[Any]:
            stage.calls += 1
            _taken(stage, args)
            return self._made(stage, lambda: method(*args))

        return run

    def _made(self, stage: Stage, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """What a stage makes, now or later."""
        from tickc.runtime.graph import Later

        for batch in self.iterate(stage, make):
            if isinstance(batch, Later):
                yield Later(partial(self._made, stage, batch.make))
            else:
                self._given(stage, batch)
                yield batch

    def _entry(self, stage: Stage, enter: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def rows(given: Any) -> Any:
            stage.calls += 1
            _taken(stage, given)
            points = self.call(stage, enter, given)
            self._given(stage, points)
            return points

        return rows

    def _given(self, stage: Stage, batch: Any) -> None:
        rows, size = extent(batch)
        with self._lock:  # what is made later may be given beside what is made now
            stage.rows_out += rows
            stage.bytes_out += size


def _taken(stage: Stage, given: Any) -> None:
    """Count what a stage takes: a batch, or lists of batches."""
    if isinstance(given, (list, tuple)):
        for some in given:
            _taken(stage, some)
    else:
        rows, size = extent(given)
        stage.rows_in += rows
        stage.bytes_in += size


def extent(message: Any) -> tuple[int, int]:
    """The rows of a message on an edge and the bytes of its columns; a batch edge's rows are the points of its batches,
    however many batches share one."""
    from tickc.runtime.batch import Points, Rows, Segments

    match message:
        case Rows():
            return len(message), _bytes(message)
        case Points():
            return len(message), _bytes(message.rows)
        case Segments():
            return int(message.sizes.sum()), _bytes(message.rows)
    return 0, 0


def _bytes(rows: Any) -> int:
    texts = sum(text.codes.nbytes for text in rows.tags.values())
    values = (v for column in rows.fields.values() for v in column.data.values())
    return int(rows.time.nbytes + texts + sum(getattr(v, "codes", v).nbytes for v in values))
