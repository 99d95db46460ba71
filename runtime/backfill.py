"""Running a task over files of history: what `tickc backfill` and `python MODULE.py` do.

Batches of rows are read, sent through the graph, and what leaves it is written at once, so a run holds a few batches,
the state of the operators, and nothing else. A script's names of sinks become file names that cannot leave the folder.
"""

from __future__ import annotations

import hashlib
import time as clock
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tickc.runtime.ahead import Ahead
from tickc.runtime.batch import Rows, Text
from tickc.runtime.checkpoints import EVERY, Checkpoints, changes
from tickc.runtime.emitted import Reached, emitted
from tickc.runtime.graph import Entering, Graph, Output, Source, TaskFailed, operators
from tickc.runtime.nodes.query import Query, queries
from tickc.runtime.nodes.sinks import HttpOut
from tickc.runtime.outputs import NOT_EMPTY, Folder, Tables
from tickc.runtime.sinks.behind import Behind
from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.sources.base import BATCH_ROWS, SourceError, Unsuitable
from tickc.runtime.team import MOST, cores
from tickc.runtime.udf import closing

if TYPE_CHECKING:
    from tickc.runtime.handlers import Handlers, Outside
    from tickc.runtime.influxdb.address import Address
    from tickc.runtime.influxdb.sink import Delivery, Destination
    from tickc.runtime.queries import LocalRuns, ServerRuns
    from tickc.runtime.slices import Slices

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]

MEMORY = 3 << 29  # bytes that a process may take, where nobody says: 1.5 GiB
AT_REST = 1 << 29  # of it, what code and batches in flight take
FEW_FIELDS = 4  # with which batches may be twice as long for the same memory


def kept_within(memory: int | None) -> int:
    """Bytes of kept rows that may be in memory, where the process may take `memory`."""
    memory = memory or MEMORY
    return max(memory - AT_REST, memory // 8)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read and write.

    start, stop: ns, points with start <= time < stop. warm_up: ns before `start` whose points prepare the operators,
    while nothing that they bring counts. measurement: of rows that do not say theirs (None: the only one that the
    script reads). tags, fields: columns that are such. sort: order the rows by time. precision: of line
    protocol (ns, us, ms, s). format: of the inputs, None where their names tell. batch_rows: about how many rows a
    batch has. clock: what barriers and statistics follow, see `Graph.follow`. flush: what is open at the end comes out.
    workers: threads that compute, beside those that read; None: one for each processor, up to MOST. kept: bytes of
    the rows that operators keep which may be in memory; others go to files. time_parallel: the threads compute slices
    of time (see `slices.Slices`).
    """

    start: int | None = None
    stop: int | None = None
    warm_up: int = 0
    measurement: str | None = None
    tags: Collection[str] | None = None
    fields: Collection[str] | None = None
    sort: bool = False
    precision: str = "ns"
    format: str | None = None
    batch_rows: int | None = None
    clock: str = "data"
    flush: bool = False
    workers: int | None = None
    kept: int = kept_within(None)
    time_parallel: bool = False

    @property
    def reads_from(self) -> int | None:
        """ns, the time from which points are read."""
        return None if self.start is None else max(self.start - self.warm_up, -(2**63))

    @property
    def threads(self) -> int:
        """How many compute."""
        return self.workers or min(cores(), MOST)

    def rows_at_once(self, fields: Collection[str] | None = None) -> int:
        """About how many rows a batch has of which `fields` are read (None: all there are): more where threads wait for
        each other after each, if that is not too much for memory."""
        if self.batch_rows or self.threads == 1:
            return self.batch_rows or BATCH_ROWS
        return BATCH_ROWS * (4 if fields is not None and len(fields) <= FEW_FIELDS else 2)


@dataclass
class SinkCount:
    """What reached one sink: points or batches, events or written points; and their rows. file: where they are."""

    kind: str
    name: str
    emissions: int = 0
    rows: int = 0
    file: str | None = None


@dataclass
class Summary:
    """What a run did.

    points_read: in the inputs, within the wanted time; points_entered: taken by the task; alerts: level -> events;
    dropped: operator -> reason -> points; left_out: reason -> rows and values that the sources could not use, and
    first_left_out the first ten with their places; handlers: what became of the events for each that was called, by
    name; servers: likewise of the points for each InfluxDB that was written to; notes: what the user may not expect.
    """

    points_read: int = 0
    points_entered: int = 0
    seconds: float = 0.0
    sinks: list[SinkCount] = field(default_factory=list)
    alerts: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    first_left_out: list[str] = field(default_factory=list)
    handlers: dict[str, dict[str, Any]] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def of_json(document: Mapping[str, Any]) -> Summary:
        """The summary whose document this is."""
        known = {f.name: document[f.name] for f in fields(Summary) if f.name in document}
        return Summary(**{**known, "sinks": [SinkCount(**sink) for sink in document.get("sinks", ())]})

    @property
    def points_per_second(self) -> float:
        return self.points_read / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> dict[str, str]:
        """Why tasks did not come to the end; that of this summary did."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON document."""
        numbers = {"seconds": round(self.seconds, 6), "points_per_second": round(self.points_per_second, 1)}
        return {**vars(self), "sinks": [dict(vars(sink)) for sink in self.sinks], **numbers}


class Sink(Protocol):
    """Takes what reaches one sink of the script."""

    def write(self, emitted: Reached) -> None: ...


class Sinks(Protocol):
    """Where outputs go: `open` is called once for each sink, before its first rows, and `close` at the end."""

    def open(self, count: SinkCount) -> Sink: ...

    def close(self) -> None: ...


OnStep = Callable[[Any, Any], None]  # the input, and the summary of what was done so far


class Run:
    """One run of a task over its inputs; iterate `steps` to do it, batch by batch."""

    def __init__(
        self,
        graph: Graph,
        reads: Mapping[str, Any],
        paths: Paths | Address,
        options: Options,
        outside: Outside | None = None,
    ) -> None:
        """Opens the inputs, files or an InfluxDB; raises SourceError where they cannot be read."""
        self.outside = outside
        self.delivery: Delivery | None = None
        self.behind: Behind | None = None
        self.handlers: Handlers | None = None
        self.graph = graph
        graph.follow(options.clock)
        self.flush = options.flush
        self.asked, self.runs = _runs(graph, paths, options, outside)
        if options.warm_up and (self.asked or self.runs) is not None:
            raise Unsuitable("a batch task cannot be warmed up: its queries ask for the points that they need",
                             "leave --warm-up out")  # fmt: skip
        if self.runs is not None:
            reads = self.runs.reads()
            options = replace(options, start=reads["start"], stop=reads["stop"])
        self.reads = reads
        self.sources = [(i, op) for i, op in enumerate(graph.operators) if isinstance(op, Source)]
        self.input: Any = self.asked or self._opened(paths, options)
        self.summary = Summary()
        self.columns: set[str] = set()  # tags and fields that were there
        self.options = options
        graph.keep_within(options.kept)
        self.warming = bool(options.warm_up)  # whether no point from `start` on has come yet
        self._sent: deque[tuple[int, bool]] = deque()  # rounds under way: points read by then, whether to warm up
        self.over = False
        self.seconds = 0.0  # that the run took before it was broken off
        self._sinks: dict[tuple[str, str], tuple[Sink, SinkCount]] = {}
        self.home = _home(graph)
        self.slices = self._slices(paths) if options.time_parallel else None

    @cached_property
    def ahead(self) -> Ahead:
        """What sends the input through the graph."""
        return Ahead(self.graph, self.options.threads)

    def deliver(self, inner: Sinks, to: Destination | None) -> Sinks:
        """`inner`, or, where influxDBOut writes to servers, sinks that do that and leave the rest to `inner`; where
        several threads compute, another one writes to them."""
        if to is not None:
            from tickc.runtime.influxdb.sink import Delivery

            settings = self.outside.settings if self.outside is not None else None
            inner = self.delivery = Delivery(inner, self.graph, to, settings)
        if self.options.threads > 1:
            inner = self.behind = Behind(inner)
        return inner

    def steps(self, sinks: Sinks) -> Iterator[Summary]:
        """Read, compute and write; yields after each batch what was done so far, and at the end the whole summary."""
        began = clock.perf_counter() - self.seconds
        self.begin(sinks)
        for outputs in self._rounds():
            self.write(outputs, sinks)
            self.summary.seconds = clock.perf_counter() - began
            yield self.summary
        self.finish(sinks)
        self.summary.seconds = clock.perf_counter() - began
        yield self.summary

    def begin(self, sinks: Sinks) -> None:
        """Before the first round."""
        if self.outside is not None:
            from tickc.runtime.handlers import connect

            self.handlers = connect(self.graph, self.outside)
        for kind, name in declared_sinks(self.graph):
            self._sink(sinks, kind, name)

    def write(self, outputs: Iterable[Output], sinks: Sinks) -> None:
        """Write what left the graph in one round, unless the round was to warm up."""
        outputs = list(outputs)
        self.summary.points_entered = self.graph.entered
        self.summary.points_read, warming = self._sent.popleft() if self._sent else (self.input.rows_read, self.warming)
        if warming:
            return
        if self.handlers is not None:
            for output in outputs:
                self.handlers.take(output)
        levels = Counter(level for output in outputs if output.kind == "alert" for level in output.payload.levels)
        self.put(emitted(outputs), levels, sinks)

    def put(self, found: Iterable[Reached], levels: Mapping[str, int], sinks: Sinks) -> None:
        """Write what reached the sinks in one round. levels: how many events there were of each."""
        for some in found:
            sink, count = self._sink(sinks, some.kind, some.name)
            sink.write(some)
            count.emissions += some.emissions
            count.rows += len(some)
        alerts = self.summary.alerts
        for level, n in levels.items():
            alerts[level] = alerts.get(level, 0) + n

    def finish(self, sinks: Sinks) -> None:
        """After the last round: write what is left, and tell what was lost."""
        self.over = True
        sinks.close()
        if self.handlers is not None:
            self.handlers.close()
        self._tell_losses()

    # -- a run that was broken off

    def cannot_go_on(self) -> str | None:
        """Why no other run could go on with this one; None where one could, at any step but the last."""
        if self.outside is not None and self.outside.handlers:
            return "handlers are called, which would be called again for some events"
        return None

    def snapshot(self) -> dict[str, Any]:
        """The state between two steps, frozen."""
        from tickc.runtime.snapshot import freeze

        if self.behind is not None:
            self.behind.settle()
        if self.delivery is not None:
            self.delivery.sync()
        sinks = [asdict(count) for _, count in self._sinks.values()]
        return {
            "graph": self.graph.snapshot(),
            "runs": None if self.runs is None else freeze(self.runs.snapshot()),
            "input": self.input.place(),
            "columns": sorted(self.columns),
            "sinks": sinks,
            "alerts": dict(self.summary.alerts),
            "seconds": self.summary.seconds,
            "warming": self.warming,
            "slices": None if self.slices is None else freeze(self.slices.snapshot()),
        }

    def restore(self, saved: Mapping[str, Any], sinks: Sinks) -> None:
        """Go on after a snapshot of another run of the same task and inputs; before the first step."""
        from tickc.runtime.snapshot import thaw

        self.graph.restore(saved["graph"])
        if self.runs is not None:
            self.runs.restore(thaw(saved["runs"]))
        self.input.go_on(saved["input"])
        self.columns.update(saved["columns"])
        for known in saved["sinks"]:
            _, count = self._sink(sinks, known["kind"], known["name"])
            count.emissions, count.rows = known["emissions"], known["rows"]
        self.summary.alerts.update(saved["alerts"])
        self.summary.notes.append(f"the run was broken off and went on after {self.input.rows_read:,} points")
        self.seconds, self.warming = saved["seconds"], saved["warming"]
        if self.slices is not None:
            self.slices.restore(thaw(saved["slices"]))

    # -- the parts of a step

    def _opened(self, paths: Paths | Address, options: Options) -> Any:
        """The input."""
        origins = [dbrp for _, op in self.sources for dbrp in op.dbrps or ()]
        return open_input(origins, self.reads, paths, options)

    def close(self) -> None:
        """Let go of what a run that was broken off holds."""
        if self.behind is not None:
            self.behind.stop()
        if self.handlers is not None:
            self.handlers.close(0.0)
        if self.delivery is not None:
            self.delivery.abort()
        if hasattr(self.input, "close"):
            self.input.close()

    def _rounds(self) -> Iterator[Iterator[Output]]:
        """What leaves the graph for each batch of rows, and at the end of the input."""
        if self.slices is not None:
            yield from self._in_slices(self.slices)
        else:
            given = self.asked or (self._entering() if self.runs is None else self._answers(self.runs))
            yield from self.ahead.rounds(self._counted(given))
        yield self.graph.end(flush=self.flush)

    def _slices(self, paths: Paths | Address) -> Slices:
        """The slices of time of the input; raises Unsuitable where there are none that give what the whole gives."""
        from tickc.runtime.slices import Slices

        def read(start: int, stop: int) -> Any:
            return self._opened(paths, replace(self.options, start=start, stop=stop, workers=1))

        return Slices(self.graph, self.reads, self.input, read, self.arrived, self.options)

    def _in_slices(self, slices: Slices) -> Iterator[Iterator[Output]]:
        """What leaves the graph for each batch of rows of the slices; the input tells how far that is."""
        for outputs in slices.rounds():
            self.input.rows_read = rest = slices.points
            for reader in self.input.readers:
                reader.rows_read = min(rest, reader.total_rows)
                rest -= reader.rows_read
            yield outputs

    def settled(self) -> bool:
        """Whether all that was sent has come out; if not, it will before more is sent."""
        return self.slices.between if self.slices is not None else self.ahead.settled()

    def _counted(self, given: Iterable[Entering]) -> Iterator[Entering]:
        """What is given; how many points were read for it is noted, and whether it counts, as it comes out later."""
        for some in given:
            self._sent.append((self.input.rows_read, self.warming))
            yield some

    def _entering(self) -> Iterator[Rows]:
        """The rows of the input, as they enter a stream task."""
        for rows in self.input:
            yield from self.warmed(self.arrived(rows))

    def warmed(self, rows: Rows) -> Iterator[Rows]:
        """Rows as they are; those among which the first from `start` on is in two parts, of which one warms up."""
        if self.warming:
            counted = np.flatnonzero(rows.time >= (self.options.start or 0))
            first = int(counted[0]) if len(counted) else len(rows)
            if first:
                yield rows.take(slice(0, first))
            self.warming = not len(counted)
            rows = rows.take(slice(first, None))
        if len(rows):
            yield rows

    def arrived(self, rows: Rows) -> Rows:
        """Rows of the input as they enter the task."""
        self.columns.update(rows.tags, rows.fields)
        return at_home(rows, self.home)

    def _answers(self, runs: LocalRuns) -> Iterator[Entering]:
        """What the queries of a batch task answer about the rows of the input; nothing for rows that wait."""
        for rows, moment in self.input.in_time():
            yield from runs.take(self.arrived(rows), moment)
            yield {}
        yield from runs.finish()

    def _sink(self, sinks: Sinks, kind: str, name: str) -> tuple[Sink, SinkCount]:
        found = self._sinks.get((kind, name))
        if found is None:
            count = SinkCount(kind, name)
            found = self._sinks[kind, name] = sinks.open(count), count
            self.summary.sinks.append(count)
        return found

    def _tell_losses(self) -> None:
        summary, problems, ops = self.summary, self.input.problems, [*operators(self.graph)]
        summary.dropped = {op.name: dict(op.errors) for op in ops if op.errors}
        summary.left_out = dict(problems.counts if self.runs is None else problems.counts + self.runs.history.dropped)
        summary.first_left_out = [str(p) for p in problems.first]
        summary.handlers = {} if self.handlers is None else self.handlers.summary()
        summary.servers = {} if self.delivery is None else self.delivery.summary()
        summary.notes.extend(_notes(self))
        summary.notes.extend(note for op in ops for note in op.notes())


def backfill(
    graph: Graph,
    reads: Mapping[str, Any],
    paths: Paths | Address,
    output: str | PathLike[str] | None = None,
    *,
    options: Options = Options(),
    form: str = "parquet",
    overwrite: bool = False,
    on_step: OnStep | None = None,
    outside: Outside | None = None,
    task: str = "",
    resume: bool = False,
    checkpoint: float | None = None,
    write_to: Destination | None = None,
) -> tuple[Summary, dict[str, Any] | None]:
    """Run a graph over files or an InfluxDB. With `output` the results are written there, else they come as tables.

    form: parquet, arrow, jsonl or lp. on_step is called after each batch. outside: what the run may do to the world,
    and what of it the task may name; None: nothing. task: the text of the task's module. resume: go on with a run that
    was broken off. checkpoint: seconds between two checkpoints (see runtime/checkpoints.py). write_to: the server that
    influxDBOut writes to; None: what it writes are results like others. Raises SourceError and
    OutputError; then, as after any other error, nothing was written.
    """
    if output is None:
        run, tables = Run(graph, reads, paths, options, outside), Tables()
        _follow(run, run.deliver(tables, write_to), tables, on_step)
        return run.summary, tables.result()
    with Folder(output, form, overwrite, resume) as folder:
        run = Run(graph, reads, paths, options, outside)
        reason = run.cannot_go_on()
        if resume and reason is not None:
            raise OutputError(f"this run cannot be resumed: {reason}", "leave --resume out")
        own = {} if reason is not None else identity(run, task, form, write_to)
        if folder.staging.finished is not None:
            changed = changes(folder.staging.finished.get("run", {}), own)
            if not changed:
                return as_finished(folder.staging.finished), None
            if not overwrite:
                raise OutputError(f"{folder.staging.given} holds results of another run: {changed} changed", NOT_EMPTY)
        sinks = run.deliver(folder, write_to)
        checkpoints = None
        if reason is None:
            checkpoints = Checkpoints(folder.staging.path, own, EVERY if checkpoint is None else checkpoint)
            if resume and (saved := checkpoints.load()) is not None:
                folder.go_on(saved["sinks"])
                run.restore(saved["run"], sinks)
                folder.staging.keep = True
        _follow(run, sinks, folder, on_step, checkpoints)
        folder.sum_up({**run.summary.to_json(), "run": own})
        folder.commit()
    return run.summary, None


def identity(run: Run, task: str, form: str, write_to: Destination | None) -> dict[str, Any]:
    """What has to be the same for one run to go on with another, by what a user calls it."""
    options = {k: v for k, v in vars(run.options).items() if k not in ("batch_rows", "workers", "kept")}
    return {
        "the script": hashed(task),
        "the options": {**options, "output": form, "write_to": write_to and str(write_to.address)},
        "the inputs": run.input.identity(),
        "the version of tickc": _version(),
    }


@cache
def _version() -> str:
    from importlib.metadata import version

    return version("tickc")


def hashed(text: str) -> str:
    """What tells a text from others."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def as_finished(document: Mapping[str, Any]) -> Summary:
    """The summary of a run whose results are there."""
    summary = Summary.of_json(document)
    summary.notes.append("the results of this run were there already")
    return summary


def tell_to_resume(error: OutputError | SourceError) -> None:
    """Add to the hint of an error that the run can be resumed."""
    error.hint = "; ".join(
        [*([error.hint] if error.hint else []), "once that is mended, --resume goes on with this run"]
    )


def _follow(
    run: Run, sinks: Sinks, folder: Any, on_step: OnStep | None, checkpoints: Checkpoints | None = None
) -> None:
    """Make all steps of a run, and checkpoints where it is time for one."""
    try:
        for summary in closing(run.graph, run.steps(sinks)):
            if on_step:
                on_step(run.input, summary)
            if checkpoints is not None and not run.over and checkpoints.due() and run.settled():
                checkpoints.save({"run": run.snapshot(), "sinks": folder.mark()}, summary.points_read)
                folder.staging.keep = True
    except TaskFailed:
        if checkpoints is not None:
            folder.staging.keep = False  # it would fail again
        raise
    except (OutputError, SourceError) as error:
        if checkpoints is not None and folder.staging.keep:
            tell_to_resume(error)
        raise
    finally:
        run.close()


def open_input(origins: Sequence[tuple[str, str]], reads: Mapping[str, Any], paths: Paths | Address, o: Options) -> Any:
    """What is read: files, or an InfluxDB, of which only the databases and retention policies `origins` count.

    reads: as the READS of a module say it. Raises SourceError where it cannot be read.
    """
    from tickc.runtime.sources.inputs import open_inputs

    measurements = list(reads.get("measurements") or ("",))
    any_measurement = "" in measurements
    if not isinstance(paths, (str, PathLike, Sequence)):
        return _open_server(origins, reads, paths, o, None if any_measurement else measurements)
    only = measurements[0] if len(measurements) == 1 and not any_measurement else None
    try:
        return open_inputs(
            paths,
            columns=(reads.get("tags"), reads.get("fields")),
            measurements=None if any_measurement else measurements,
            default_measurement=o.measurement or only,
            tags=o.tags,
            fields=o.fields,
            start=o.reads_from,
            stop=o.stop,
            predicate=reads.get("where") or (),
            sort=o.sort,
            precision=o.precision,
            format=o.format,
            batch_rows=o.rows_at_once(reads.get("fields")),
        )
    except SourceError as error:
        if "--measurement" in error.hint and not any_measurement:
            raise SourceError(error.message, f"{error.hint} (the script reads {', '.join(measurements)})") from None
        raise


def _open_server(
    origins: Sequence[tuple[str, str]],
    reads: Mapping[str, Any],
    address: Address,
    o: Options,
    measurements: Sequence[str] | None,
) -> Any:
    """The points of an InfluxDB that are read."""
    from tickc.runtime.influxdb.client import Server
    from tickc.runtime.influxdb.source import Points
    from tickc.runtime.sources.base import Wanted

    where = tuple(reads.get("where") or ())
    wanted = Wanted(reads.get("tags"), reads.get("fields"), measurements, o.reads_from, o.stop, where)
    return Points(Server(address), wanted, origins, batch_rows=o.rows_at_once(wanted.fields))


def _runs(
    graph: Graph, paths: Paths | Address, o: Options, outside: Outside | None
) -> tuple[ServerRuns | None, LocalRuns | None]:
    """The runs of the queries of a batch task, which servers answer or points do; neither, of a stream task."""
    asked = queries(graph)
    if not asked:
        return None, None
    from tickc.runtime.queries import LocalRuns, ServerRuns

    if isinstance(paths, (str, PathLike, Sequence)):
        return None, LocalRuns(graph, o.start, o.stop)
    if o.start is None:
        raise Unsuitable("a server cannot tell when the queries begin", "--start TIME")
    from tickc.runtime.influxdb.address import named
    from tickc.runtime.influxdb.client import Server

    settings = None if outside is None else outside.settings
    clusters = sorted({op.cluster for _, op in asked if op.cluster})
    addresses = {"": paths, **{name: named(name, settings) for name in clusters}}
    return ServerRuns(graph, o.start, o.stop, {name: Server(at) for name, at in addresses.items()}), None


def _home(graph: Graph) -> tuple[str, str] | None:
    """The database and retention policy of rows that name none: those that the task reads, the first of them."""
    for op in graph.operators:
        if isinstance(op, Source) and op.dbrps:
            return op.dbrps[0]
        if isinstance(op, Query):
            for database, policy in op.origins():
                return database, policy
    return None


def at_home(rows: Rows, home: tuple[str, str] | None) -> Rows:
    """Rows that name neither database nor retention policy get those of `home`."""
    if home is None or not len(rows):
        return rows
    database, policy = rows.database, rows.policy
    nowhere = (database.codes == database.vocabulary.find("", -1)) & (policy.codes == policy.vocabulary.find("", -1))
    if not nowhere.any():
        return rows
    return rows.with_(database=_filled(database, home[0], nowhere), policy=_filled(policy, home[1], nowhere))


def _filled(text: Text, value: str, where: np.ndarray) -> Text:
    code = np.int32(text.vocabulary.code(value))
    codes = np.broadcast_to(code, (len(text),)) if where.all() else np.where(where, code, text.codes)
    return Text(codes, text.vocabulary)


def _notes(run: Run) -> Iterator[str]:
    """What the user may not expect: no point came in, or a column that the script reads is nowhere."""
    summary, reads = run.summary, run.reads
    if not summary.points_read and not run.input.problems:
        yield "the inputs hold no points" + _of_measurements(reads) + " in the range of time"
    elif summary.points_read and not summary.points_entered:
        wanted = ", ".join(f"{d}.{p}" for _, op in run.sources for d, p in op.dbrps or ())
        yield f"no point reached the task, which reads the database {wanted}" if wanted else "no point reached the task"
    if summary.points_read:
        for name in sorted({*(reads.get("tags") or ()), *(reads.get("fields") or ())} - run.columns):
            yield f"the script reads `{name}`, which no point has"
    for name, told in summary.handlers.items():
        for reason, n in told["failed"].items():
            yield f"{name}: {n:,} events were not delivered: {reason}"
    if run.delivery is not None:
        yield from run.delivery.notes()
    if (run.options.workers or 1) > 1 and (why := run.graph.why_in_turn()):
        yield f"one thread computed: {why}"


def _of_measurements(reads: Mapping[str, Any]) -> str:
    names = [m for m in reads.get("measurements") or () if m]
    return f" of {', '.join(names)}" if names else ""


def declared_sinks(graph: Graph) -> Iterator[tuple[str, str]]:
    """Kind and name of the sinks that the script names, whether anything reaches them or not."""
    for op in operators(graph):
        if isinstance(op, HttpOut):
            yield "httpOut", op.path
        for path in getattr(op, "logs", ()):
            yield "alert", str(path)
