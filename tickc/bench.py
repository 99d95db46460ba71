"""`tickc bench`: how fast a task runs over files, and where its time goes.

The graph, the input and the sinks of a backfill are wrapped so that the time within each is taken; a run that is not
measured knows nothing of it. Each task is run in a process of its own, so that its memory is its own too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickc.runtime.backfill import Options, Paths
    from tickc.runtime.graph import Graph, Operator
    from tickc.task import Task

END = object()


@dataclass
class Stage:
    """What one operator did in a run. rows, bytes: of the messages that it took and gave; a batch's are its points.

    kind: the operator's class; steps: the names of those that were fused into it; lines: of the script, None where it
    stands for none.
    """

    name: str
    kind: str
    lines: tuple[int, int] | None
    steps: list[str] = field(default_factory=list)
    seconds: float = 0.0
    calls: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass
class Measured:
    """How a task ran, in the fastest of its runs.

    runs: seconds of each run, the first of which also loads what is needed. source, compute, sink: seconds in which
    rows were awaited, operators worked and results were written; cpu: processor time of all threads. bytes_in: of the
    input files; bytes_out: of the results' files; peak_bytes: the most memory that the process has had.
    """

    task: str
    script: str
    seconds: float = 0.0
    source: float = 0.0
    compute: float = 0.0
    sink: float = 0.0
    cpu: float = 0.0
    points: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    peak_bytes: int = 0
    runs: list[float] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    @property
    def points_per_second(self) -> float:
        return self.points / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """The measurement as a JSON document."""
        return {**asdict(self), "points_per_second": round(self.points_per_second, 1)}

    @staticmethod
    def of_json(document: Mapping[str, Any]) -> Measured:
        """The measurement whose document this is."""
        plain = {k: v for k, v in document.items() if k not in ("points_per_second", "stages")}
        stages = [Stage(**{**s, "lines": s["lines"] and tuple(s["lines"])}) for s in document["stages"]]
        return Measured(**plain, stages=stages)


# ------------------------------------------------------------------------------------------------------- measuring


def measure(
    task: Task,
    inputs: Paths,
    *,
    repeat: int = 3,
    format: str = "parquet",
    start: Any = None,
    stop: Any = None,
    input_format: str | None = None,
    batch_rows: int | None = None,
    **reading: Any,
) -> Measured:
    """Run a task over files `repeat` (1 or more) times; the results are written to a folder that is removed.

    The other options are those of a backfill (tickc.backfill). Raises what a backfill raises.
    """
    from tickc.runtime.backfill import Options
    from tickc.runtime.times import nanoseconds

    options = Options(
        start=nanoseconds(start),
        stop=nanoseconds(stop),
        format=input_format,
        batch_rows=batch_rows,
        workers=1,  # so that the time of operators is their own
        **reading,
    )
    made = [_run(task, inputs, options, format) for _ in range(repeat)]
    best = min(made, key=lambda one: one.seconds)
    best.runs, best.peak_bytes = [one.seconds for one in made], peak_memory()
    return best


def _run(task: Task, inputs: Paths, options: Options, form: str) -> Measured:
    from tickc.runtime.backfill import Run
    from tickc.runtime.outputs import Folder
    from tickc.runtime.udf import closing

    graph = task.build()
    with tempfile.TemporaryDirectory(prefix="tickc-bench-") as name, Folder(Path(name) / "out", form) as folder:
        run = Run(graph, task.module.READS, inputs, options)
        stages = watch(graph, task.lines)
        source, sink = Watch(), Watch()
        run.input = _Input(run.input, source)
        sinks = _Sinks(folder, sink)
        began, worked = time.perf_counter(), time.process_time()
        try:
            for _ in closing(graph, run.steps(sinks)):
                pass
            folder.sum_up(run.summary.to_json())
            folder.commit()
        finally:
            run.close()
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        written = sum(file.stat().st_size for file in Path(name).rglob("*") if file.is_file())
    return Measured(
        task=task.name,
        script=script_of(task.source),
        seconds=seconds,
        source=source.seconds,
        compute=seconds - source.seconds - sink.seconds,
        sink=sink.seconds,
        cpu=cpu,
        points=run.summary.points_read,
        rows_out=sum(count.rows for count in run.summary.sinks),
        bytes_in=run.input.size,
        bytes_out=written,
        stages=stages,
    )


class Watch:
    """Adds up the seconds in which things are done."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def iterate(self, make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """The items of what `make` gives; the time in which they are made counts, that between them does not."""
        began = time.perf_counter()
        items = iter(make())
        while True:
            item = next(items, END)
            self.seconds += time.perf_counter() - began
            if item is END:
                return
            yield item
            began = time.perf_counter()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args)
        finally:
            self.seconds += time.perf_counter() - began


class _Input:
    """An input (tickc.runtime.sources.inputs.Input) of which the time is taken."""

    def __init__(self, inner: Any, watch: Watch) -> None:
        self.inner, self.watch = inner, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __iter__(self) -> Iterator[Any]:
        return self.watch.iterate(lambda: self.inner)

    def in_time(self) -> Iterator[Any]:
        return self.watch.iterate(self.inner.in_time)


class _Sinks:
    """Sinks (tickc.runtime.backfill.Sinks) of which the time is taken."""

    def __init__(self, inner: Any, watch: Watch) -> None:
        self.inner, self.watch = inner, watch

    def open(self, count: Any) -> Any:
        return _Sink(self.watch.call(self.inner.open, count), self.watch)

    def close(self) -> None:
        self.watch.call(self.inner.close)


@dataclass
class _Sink:
    inner: Any
    watch: Watch

    def write(self, emitted: Any) -> None:
        self.watch.call(self.inner.write, emitted)


def watch(graph: Graph, lines: Mapping[str, tuple[int, int]]) -> list[Stage]:
    """Have each operator of a graph tell what it does; a stage for each, in topological order."""
    return [_watched(op, lines) for op in graph.operators]


def _watched(op: Operator, lines: Mapping[str, tuple[int, int]]) -> Stage:
    steps = [step.name for step in getattr(op, "steps", ())]
    found = [lines[name] for name in (op.name, *steps) if name in lines]
    span = (min(a for a, _ in found), max(b for _, b in found)) if found else None
    stage = Stage(op.name, type(op).__name__, span, steps)
    clock = Watch()

    def taken(given: Any) -> None:
        for batch in given if isinstance(given, (list, tuple)) else (given,):
            if isinstance(batch, (list, tuple)):
                taken(batch)
            else:
                rows, size = extent(batch)
                stage.rows_in += rows
                stage.bytes_in += size

    def gives(method: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        def run(*args: Any) -> Iterator[Any]:
            stage.calls += 1
            taken(args)
            for batch in clock.iterate(lambda: method(*args)):
                _given(stage, batch)
                yield batch
            stage.seconds = clock.seconds

        return run

    for name in ("round", "marks_of", "advance", "flush", "finish"):
        setattr(op, name, gives(getattr(op, name)))
    if hasattr(op, "rows"):  # a source
        enter = op.rows

        def rows(given: Any) -> Any:
            stage.calls += 1
            taken(given)
            points = clock.call(enter, given)
            stage.seconds = clock.seconds
            if points is not None:
                _given(stage, points)
            return points

        op.rows = rows
    return stage


def _given(stage: Stage, batch: Any) -> None:
    rows, size = extent(batch)
    stage.rows_out += rows
    stage.bytes_out += size


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


def peak_memory() -> int:
    """The most bytes of memory that this process has had at once."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def script_of(module: str) -> str:
    """The script in the docstring of a generated module, with the numbers of its lines."""
    import ast

    return "\n".join((ast.get_docstring(ast.parse(module), clean=False) or "").split("\n")[2:]).rstrip()


# ------------------------------------------------------------------------------------------------- apart, and told


def apart(work: Callable[[], Measured], report: Callable[[BaseException], int]) -> Measured | int:
    """What `work` gives, done in a process of its own; where it fails, the exit code that `report` tells why."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            document = json.dumps(work().to_json())
            with os.fdopen(writing, "w") as pipe:
                pipe.write(document)
            os._exit(0)
        except BaseException as error:
            os._exit(report(error))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        document = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return Measured.of_json(json.loads(document)) if code == 0 else abs(code)


WHOLE = ("seconds", "source", "compute", "sink", "cpu", "bytes_out", "peak_bytes")


def ratios(first: Measured, second: Measured) -> dict[str, Any]:
    """What each number of the first is to that of the second: 2.0 says that the second took half. None where a number
    is 0. Stages are those of the same name."""
    whole = {name: _ratio(getattr(first, name), getattr(second, name)) for name in WHOLE}
    others = {stage.name: stage for stage in second.stages}
    pairs = [(stage, others[stage.name]) for stage in first.stages if stage.name in others]
    return {**whole, "stages": {a.name: _ratio(a.seconds, b.seconds) for a, b in pairs}}


def _ratio(a: float, b: float) -> float | None:
    return round(a / b, 3) if a and b else None


def to_json(measured: Sequence[Measured]) -> dict[str, Any]:
    """One task's measurement, or two and their ratios, as a JSON document."""
    document: dict[str, Any] = {"tasks": [one.to_json() for one in measured]}
    if len(measured) == 2:
        document["ratios"] = ratios(*measured)
    return document


def show(measured: Sequence[Measured]) -> None:
    """Print tables of one task, or of two next to each other, to stdout."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    for one in measured:
        console.print(Text(headline(one)))
    console.print()
    if len(measured) == 1:
        _show_one(console, measured[0])
    else:
        _show_two(console, *measured)


def _show_one(console: Any, m: Measured) -> None:
    from tickc.runtime.progress import table

    rows = [(name, _seconds(seconds), _share(seconds, m), told) for name, seconds, told in parts(m)]
    table(console, ("part", "seconds", "share", ""), rows)
    console.print()
    heads = ("stage", "lines", "seconds", "share", "rows in", "rows out", "bytes in", "bytes out")
    table(console, heads, [_stage(stage, m) for stage in m.stages])


def _show_two(console: Any, first: Measured, second: Measured) -> None:
    from tickc.runtime.progress import table

    found = ratios(first, second)
    both = list(zip(parts(first), parts(second)))
    rows = [(name, _seconds(a), _seconds(b), _times(_ratio(a, b))) for (name, a, _), (_, b, _) in both]
    rows.append(("whole", _seconds(first.seconds), _seconds(second.seconds), _times(found["seconds"])))
    rows.append(("processor", _seconds(first.cpu), _seconds(second.cpu), _times(found["cpu"])))
    rows.append(("memory", size(first.peak_bytes), size(second.peak_bytes), _times(found["peak_bytes"])))
    table(console, ("part", "first", "second", "first / second"), rows)
    console.print()
    names = dict.fromkeys(stage.name for one in (first, second) for stage in one.stages)
    at = [{stage.name: stage.seconds for stage in one.stages} for one in (first, second)]
    cells = [(n, *(_seconds(a[n]) if n in a else "" for a in at), _times(found["stages"].get(n))) for n in names]
    table(console, ("stage", "first", "second", "first / second"), cells)


def headline(m: Measured) -> str:
    """What a task did in all, in one line."""
    best = f"the best of {len(m.runs)} runs, the first {m.runs[0]:.3f} s" if len(m.runs) > 1 else "one run"
    speed = f"{m.points_per_second:,.0f} points/s, {size(m.bytes_in / m.seconds) if m.seconds else '0 B'}/s"
    return f"{m.task}: {m.points:,} points in {m.seconds:.3f} s ({speed}); {best}; {size(m.peak_bytes)} of memory"


def parts(m: Measured) -> list[tuple[str, float, str]]:
    """Source, compute and sink: seconds, and what went through."""
    return [
        ("source", m.source, f"{m.points:,} points, {size(m.bytes_in)}"),
        ("compute", m.compute, f"{len(m.stages)} operators; {_between(m):.3f} s between them"),
        ("sink", m.sink, f"{m.rows_out:,} rows, {size(m.bytes_out)}"),
    ]


def _between(m: Measured) -> float:
    """The part of the computing that is no operator's: rounds, queries on points, the making of events and rows."""
    return max(0.0, m.compute - sum(stage.seconds for stage in m.stages))


def span(stage: Stage) -> str:
    """The lines of the script, as `5-8`."""
    return "" if stage.lines is None else "-".join(map(str, dict.fromkeys(stage.lines)))


def size(n: float) -> str:
    """A number of bytes as a person reads it."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000 or unit == "GB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    raise AssertionError


def _stage(stage: Stage, m: Measured) -> tuple[str, ...]:
    return (stage.name, span(stage), _seconds(stage.seconds), _share(stage.seconds, m), f"{stage.rows_in:,}",
            f"{stage.rows_out:,}", size(stage.bytes_in), size(stage.bytes_out))  # fmt: skip


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _share(seconds: float, m: Measured) -> str:
    return f"{100 * seconds / m.seconds:.0f} %" if m.seconds else ""


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
