"""`tickc bench`: how fast a task runs over files, and where its time goes.

The graph, the input and the sinks of a backfill are watched by a meter (tickc.meter). Each task, and each number of
workers, is run in a process of its own, so that its memory is its own too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickc.meter import Meter, Stage, Thread, Work
from tickc.runtime.console import visible

if TYPE_CHECKING:
    from tickc.runtime.backfill import Options, Paths
    from tickc.task import Task

PARTS = ("source", "compute", "sink")
OTHERS = "others"  # threads of the source and of libraries


@dataclass
class Measured:
    """How a task ran, in the fastest of its runs.

    runs: seconds of each run, the first of which also loads what is needed. source, compute, sink: seconds in which the
    run waited for rows, computed, and waited for results to be written, which together are all; cpu: processor time of
    all threads, cpu_of: of each part. bytes_in: of the input files; bytes_out: of the results' files; peak_bytes: the
    most memory that the process has had. notes: what the run told.
    """

    task: str
    script: str
    workers: int = 1
    seconds: float = 0.0
    source: float = 0.0
    compute: float = 0.0
    sink: float = 0.0
    cpu: float = 0.0
    cpu_of: dict[str, float] = field(default_factory=dict)
    points: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    peak_bytes: int = 0
    runs: list[float] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def points_per_second(self) -> float:
        return self.points / self.seconds if self.seconds else 0.0

    def busy(self, thread: Thread) -> float:
        """The share of the run in which a thread had a processor; of several threads, more than 1 perhaps."""
        return thread.cpu / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        """The measurement as a JSON document."""
        threads = [{**asdict(thread), "busy": round(self.busy(thread), 4)} for thread in self.threads]
        return {**asdict(self), "threads": threads, "points_per_second": round(self.points_per_second, 1)}

    @staticmethod
    def of_json(document: Mapping[str, Any]) -> Measured:
        """The measurement whose document this is."""
        plain = {k: v for k, v in document.items() if k not in ("points_per_second", "stages", "threads")}
        stages = [Stage(**{**s, "lines": s["lines"] and tuple(s["lines"])}) for s in document["stages"]]
        threads = [Thread(t["name"], t["cpu"], t["work"]) for t in document["threads"]]
        return Measured(**plain, stages=stages, threads=threads)


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
    workers: int = 1,
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
        workers=workers,
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
        meter = Meter()
        source, sink = Work("source"), Work("sink")
        stages = meter.watch(graph, task.lines)
        run.input = _Input(run.input, meter, source)
        written = run.deliver(_Sinks(folder, meter, Work("sink")), None)
        sinks = _Sinks(written, meter, sink)
        began, worked = time.perf_counter(), time.process_time()
        try:
            for _ in closing(graph, run.steps(sinks)):
                pass
            meter.call(sink, folder.sum_up, run.summary.to_json())
            meter.call(sink, folder.commit)
        finally:
            run.close()
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        threads = _threads(meter, cpu)
        size = sum(file.stat().st_size for file in Path(name).rglob("*") if file.is_file())
    return Measured(
        task=task.name,
        script=script_of(task.source),
        workers=options.threads,
        seconds=seconds,
        source=source.seconds,
        compute=seconds - source.seconds - sink.seconds,
        sink=sink.seconds,
        cpu=cpu,
        cpu_of=_cpu_of(threads, cpu),
        points=run.summary.points_read,
        rows_out=sum(count.rows for count in run.summary.sinks),
        bytes_in=run.input.size,
        bytes_out=size,
        stages=stages,
        threads=threads,
        notes=run.summary.notes,
    )


def _threads(meter: Meter, cpu: float) -> list[Thread]:
    """The threads of a run, its own first, those that the meter knows nothing of as one. cpu: of all."""
    main = meter.here()
    known = [main, *(meter.threads[name] for name in sorted(meter.threads) if name != main.name)]
    return [*known, Thread(OTHERS, max(0.0, cpu - sum(thread.cpu for thread in known)))]


def _cpu_of(threads: Sequence[Thread], cpu: float) -> dict[str, float]:
    """The processor time of each part; that of other threads is the source's."""
    of = {name: sum(thread.work.get(name, 0.0) for thread in threads) for name in ("source", "sink")}
    of["source"] += threads[-1].cpu
    return {"source": of["source"], "compute": max(0.0, cpu - of["source"] - of["sink"]), "sink": of["sink"]}


class _Input:
    """An input (tickc.runtime.sources.inputs.Input) of which the time is taken."""

    def __init__(self, inner: Any, meter: Meter, work: Work) -> None:
        self.inner, self.meter, self.work = inner, meter, work

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __iter__(self) -> Iterator[Any]:
        return self.meter.iterate(self.work, lambda: self.inner)

    def in_time(self) -> Iterator[Any]:
        return self.meter.iterate(self.work, self.inner.in_time)


class _Sinks:
    """Sinks (tickc.runtime.backfill.Sinks) of which the time is taken."""

    def __init__(self, inner: Any, meter: Meter, work: Work) -> None:
        self.inner, self.meter, self.work = inner, meter, work

    def open(self, count: Any) -> Any:
        return _Sink(self.meter.call(self.work, self.inner.open, count), self.meter, self.work)

    def close(self) -> None:
        self.meter.call(self.work, self.inner.close)


@dataclass
class _Sink:
    inner: Any
    meter: Meter
    work: Work

    def write(self, emitted: Any) -> None:
        self.meter.call(self.work, self.inner.write, emitted)


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


WHOLE = ("seconds", *PARTS, "cpu", "bytes_out", "peak_bytes")


def ratios(first: Measured, second: Measured) -> dict[str, Any]:
    """What each number of the first is to that of the second: 2.0 says that the second took half. None where a number
    is 0. Stages are those of the same name, by their processor time."""
    whole = {name: _ratio(getattr(first, name), getattr(second, name)) for name in WHOLE}
    others = {stage.name: stage for stage in second.stages}
    pairs = [(stage, others[stage.name]) for stage in first.stages if stage.name in others]
    return {**whole, "stages": {a.name: _ratio(a.cpu, b.cpu) for a, b in pairs}}


def _ratio(a: float | None, b: float | None) -> float | None:
    return round(a / b, 3) if a and b else None


def to_json(measured: Sequence[Measured]) -> dict[str, Any]:
    """Measurements as a JSON document; with the ratios of two versions, or those of the first number of workers to each
    other one, by that."""
    document: dict[str, Any] = {"tasks": [one.to_json() for one in measured]}
    first, *others = measured
    if by_workers(measured):
        document["ratios"] = {str(one.workers): ratios(first, one) for one in others}
    elif others:
        document["ratios"] = ratios(first, *others)
    return document


def by_workers(measured: Sequence[Measured]) -> bool:
    """Whether these are one task on several numbers of workers, not two versions of it."""
    return len({one.workers for one in measured}) > 1


def labels(measured: Sequence[Measured]) -> list[str]:
    """What tells measurements from each other."""
    if by_workers(measured):
        return [_workers(one) for one in measured]
    return ["first", "second"][: len(measured)]


@dataclass(frozen=True)
class Line:
    """A number of several measurements, as `show` writes it; None where one has no such number."""

    name: str
    values: list[float | None]
    show: Callable[[float], str]

    def cells(self) -> tuple[str, list[tuple[str, float | None]]]:
        """The first number, and the others, each with what the first is to it, but for shares."""
        first, *others = self.values
        text = lambda value: "" if value is None else self.show(value)  # noqa: E731
        return text(first), [(text(v), None if self.show is percent else _ratio(first, v)) for v in others]


def compared(measured: Sequence[Measured]) -> dict[str, list[Line]]:
    """Measurements next to each other, by what the first column tells: the whole and its parts in time, the processor
    time of stages, how busy the threads were."""
    took = unit(measured)
    number = lambda name: [getattr(one, name) for one in measured]  # noqa: E731
    lines = [Line("whole" if name == "seconds" else name, number(name), took) for name in ("seconds", *PARTS)]
    lines.append(Line("processor", number("cpu"), took))
    lines.append(Line("memory", number("peak_bytes"), size))
    stages = [{stage.name: stage.cpu for stage in one.stages} for one in measured]
    threads = [{thread.name: one.busy(thread) for thread in one.threads} for one in measured]
    tables = {"part": lines, "stage, processor time": _lines(stages, took)}
    return {**tables, "thread, busy": _lines(threads, percent)} if by_workers(measured) else tables


def _lines(columns: Sequence[Mapping[str, float]], show: Callable[[float], str]) -> list[Line]:
    names = dict.fromkeys(name for column in sorted(columns, key=len, reverse=True) for name in column)
    return [Line(name, [column.get(name) for column in columns], show) for name in names]


def heads(measured: Sequence[Measured], first: str) -> list[str]:
    """The heads of a table of what is `compared`; behind all measurements but the first is the ratio to it."""
    names = labels(measured)
    short = [name.split()[0] for name in names]
    others = (head for k in range(1, len(names)) for head in (names[k], f"{short[0]} / {short[k]}"))
    return [first, names[0], *others]


# ---------------------------------------------------------------------------------------------------------- tables


def show(measured: Sequence[Measured]) -> None:
    """Print tables of one measurement, or of several next to each other, to stdout."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    for one in measured:
        console.print(Text(headline(one)))
    for note in dict.fromkeys(note for one in measured for note in one.notes):
        console.print(Text(visible(f"note: {note}")))
    if len(measured) == 1:
        _show_one(console, measured[0])
    else:
        _show_several(console, measured)


def _show_one(console: Any, m: Measured) -> None:
    took = unit([m])
    rows: list[tuple[str, ...]] = [
        (name, took(getattr(m, name)), share(getattr(m, name), m), took(m.cpu_of.get(name, 0.0)), told)
        for name, told in parts(m)
    ]
    _table(console, ("part", "time", "share", "processor", "what went through"), rows, {0, 4})
    rows = [
        (s.name, span(s), took(s.seconds), share(s.seconds, m), took(s.cpu), f"{s.rows_in:,}", f"{s.rows_out:,}",
         size(s.bytes_in), size(s.bytes_out))
        for s in m.stages
    ]  # fmt: skip
    _table(console, STAGE_HEADS, rows, {0, 1})
    rows = [(t.name, took(t.cpu), percent(m.busy(t)), doing(t, m)) for t in m.threads]
    _table(console, ("thread", "processor", "busy", "most of it in"), rows, {0, 3})


STAGE_HEADS = ("stage", "lines", "time", "share", "processor", "rows in", "rows out", "bytes in", "bytes out")


def _show_several(console: Any, measured: Sequence[Measured]) -> None:
    for first, lines in compared(measured).items():
        rows = []
        for line in lines:
            begin, others = line.cells()
            cells = (cell for text, ratio in others for cell in (text, times(ratio)))
            rows.append((line.name, begin, *cells))
        _table(console, tuple(heads(measured, first)), rows, {0})


def _table(console: Any, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: set[int]) -> None:
    """Print a table under an empty line; the columns `words` hold no numbers."""
    from tickc.runtime.progress import table

    console.print()
    table(console, heads, rows, [head for k, head in enumerate(heads) if k not in words])


def headline(m: Measured) -> str:
    """What a task did in all, in one line."""
    took = unit([m])
    best = f"the best of {len(m.runs)} runs (the first {took(m.runs[0])})" if len(m.runs) > 1 else "one run"
    speed = f"{m.points_per_second:,.0f} points/s, {size(m.bytes_in / m.seconds) if m.seconds else '0 B'}/s"
    return (
        f"{m.task}: {m.points:,} points in {took(m.seconds)} on {_workers(m)} ({speed}), {best}, "
        f"{size(m.peak_bytes)} of memory"
    )


def _workers(m: Measured) -> str:
    return f"{m.workers} worker{'s' if m.workers > 1 else ''}"


def parts(m: Measured) -> list[tuple[str, str]]:
    """Source, compute and sink, and what went through."""
    return [
        ("source", f"{m.points:,} points, {size(m.bytes_in)}"),
        ("compute", f"{len(m.stages)} stages; {unit([m])(between(m))} of processor time between them"),
        ("sink", f"{m.rows_out:,} rows, {size(m.bytes_out)}"),
    ]


def between(m: Measured) -> float:
    """The processor time of the computing that is no stage's: rounds, queries on points, the making of events and
    rows."""
    return max(0.0, m.cpu_of.get("compute", 0.0) - sum(stage.cpu for stage in m.stages))


def doing(thread: Thread, m: Measured) -> str:
    """What a thread was at for most of its processor time."""
    if thread.name == OTHERS:
        return "source (decoding), and libraries"
    most = sorted(thread.work.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {percent(cpu / thread.cpu)}" for name, cpu in most if cpu >= 0.05 * thread.cpu > 0)


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


def unit(measured: Sequence[Measured]) -> Callable[[float], str]:
    """Writes seconds, all in one unit: milliseconds where no run took a second."""
    if max(one.seconds for one in measured) < 1.0:
        return lambda seconds: f"{seconds * 1e3:,.1f} ms"
    return lambda seconds: f"{seconds:.3f} s"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def share(seconds: float, m: Measured) -> str:
    """The share of the time of a run; those of stages in several threads overlap."""
    return percent(seconds / m.seconds) if m.seconds else ""


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
