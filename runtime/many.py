"""Running many tasks over the same files of history: what `tickc backfill` does with several tasks.

The input is read and decoded once, with what all tasks together read, and its rows are parted among them (`dispatch`).
Each task is a run of its own (`backfill.Run`) with its own folder, so its results are those of a run alone; one that
fails leaves the others as they are.
"""

from __future__ import annotations

import time as clock
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import compress
from os import PathLike
from typing import TYPE_CHECKING, Any

from tickc.runtime.alike import ENOUGH, Alike, Portion, Sort, apart, kind_of
from tickc.runtime.backfill import (
    OnStep,
    Options,
    Paths,
    Run,
    Summary,
    as_finished,
    at_home,
    hashed,
    identity,
    open_input,
    tell_to_resume,
)
from tickc.runtime.batch import Rows
from tickc.runtime.checkpoints import EVERY, Checkpoints, changes
from tickc.runtime.dispatch import Dispatch, Piece, Wish
from tickc.runtime.graph import NEVER, Entering, Graph, Output, TaskFailed
from tickc.runtime.loopback import Linked, check_batches, edges, groups
from tickc.runtime.nodes.block import select
from tickc.runtime.outputs import NOT_EMPTY, Folder, Folders, Tables
from tickc.runtime.prefixes import GATHERED, Gather, Keys, Outline, Part, Trunk, families, joined, told
from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.snapshot import sharing
from tickc.runtime.sources.base import Problems, SourceError, Unsuitable, Wanted
from tickc.runtime.sources.files import cut
from tickc.runtime.steps import Steps, in_step

if TYPE_CHECKING:
    from tickc.runtime.handlers import Outside
    from tickc.runtime.influxdb.address import Address
    from tickc.runtime.influxdb.sink import Destination

Guarded = Callable[..., None]
HELD = 256 << 20  # bytes of rows that may wait to be written, of all tasks
IN_STEP = 256  # tasks that are finished together
TELLING = 8  # threads that finish tasks which others are told of: most of it is waiting for them


@dataclass(frozen=True)
class Job:
    """One task of a set. text: of its module. locate: notes in an error where in the script it arose. write_to: as for
    `backfill.backfill`."""

    name: str
    graph: Graph
    reads: Mapping[str, Any]
    text: str
    outside: Outside | None = None
    write_to: Destination | None = None
    locate: Callable[[BaseException], Any] = lambda error: None


@dataclass
class Together:
    """What a run of a set did.

    points_read: in the inputs, for whichever tasks; tasks: what each that came to its end did, by name; failed: why the
    others did not; tables: what reached the sinks of each, where nothing is written; left_out, first_left_out: as in
    `Summary`, of the inputs that the tasks share.
    """

    points_read: int = 0
    seconds: float = 0.0
    tasks: dict[str, Summary] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    first_left_out: list[str] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def points_per_second(self) -> float:
        return self.points_read / self.seconds if self.seconds else 0.0

    @property
    def servers(self) -> dict[str, dict[str, Any]]:
        """What became of the points for servers, by task and server."""
        return {f"{name}: {server}": told for name, s in self.tasks.items() for server, told in s.servers.items()}

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON document."""
        return {
            "points_read": self.points_read,
            "seconds": round(self.seconds, 6),
            "points_per_second": round(self.points_per_second, 1),
            "tasks": {name: summary.to_json() for name, summary in self.tasks.items()},
            "failed": self.failed,
            "left_out": self.left_out,
            "first_left_out": self.first_left_out,
        }


class _Share:
    """The part of an input that one task is given; has the face of `sources.inputs.Input` as far as a run needs it."""

    def __init__(self) -> None:
        self.rows_read = 0
        self.problems = Problems()
        self.files: list[Any] = []  # the identity of the input

    def identity(self) -> list[Any]:
        return self.files

    def place(self) -> int:
        return self.rows_read

    def go_on(self, place: int) -> None:
        self.rows_read = place


class Member(Run):
    """The run of one task of a set, which is given its rows."""

    def __init__(self, job: Job, folder: Folder | None, paths: Paths | Address, options: Options) -> None:
        """folder: for the results; None: they become tables. Raises what opening a run does."""
        super().__init__(job.graph, job.reads, paths, options, job.outside)
        self.job, self.name = job, job.name
        self.folder = folder
        self.linked: dict[str, str] = {}  # the scripts, hashed, of tasks that it feeds or that feed it
        self.left = False  # whether it takes no part any more
        self.identity: dict[str, Any] = {}  # see `backfill.identity`; empty where the run cannot be gone on with
        self.tables = Tables()
        self.sinks = self.deliver(self.tables if folder is None else folder, job.write_to)

    def _opened(self, paths: Paths | Address, options: Options) -> Any:
        return _Share()

    @property
    def wish(self) -> Wish:
        """The rows and columns that the task wants."""
        reads = self.reads
        measurements = frozenset(reads.get("measurements") or ("",))
        same = [(name, text) for name, operator, text in reads.get("where") or ()
                if operator == "==" and text and isinstance(text, str)]  # fmt: skip
        equal = same[0] if same and self.runs is None else None
        return Wish(None if "" in measurements else measurements, reads.get("tags"), reads.get("fields"), equal)

    def cannot_go_on(self) -> str | None:
        return super().cannot_go_on() if self.asked is None else "its queries are asked of a server"

    def start(self) -> None:
        """Before the first rows."""
        self.begin(self.sinks)

    def take(self, rows: Rows, kept: list[Output] | None = None) -> None:
        """Send rows through the task; what leaves it is added to `kept` too."""
        self.input.rows_read += len(rows)
        if self.runs is None:
            for part in self.warmed(self.arrived(rows)):
                self.write(_noting(self.graph.feed(part), kept), self.sinks)
        else:
            inside = Wanted(start=self.options.start, stop=self.options.stop)
            self._answer(self.runs.take(self.arrived(cut(rows, inside, unsorted=True)), NEVER))

    def pass_to(self, moment: int) -> None:
        """All rows before `moment` (ns) have been taken."""
        if self.runs is not None:
            self._answer(self.runs.answer(moment))

    def end(self, kept: list[Output] | None = None) -> None:
        """All rows have been taken; of a task that asks a server, run it. What leaves it is added to `kept` too."""
        if self.asked is not None:
            self._answer(self.asked)
        if self.runs is not None:
            self._answer(self.runs.finish())
        self.write(_noting(self.graph.end(flush=self.flush), kept), self.sinks)

    def finishing(self) -> Steps:
        """`finish` in steps."""
        if self.watched or self.folder is None:
            self.finish(self.sinks)
            return
        self.over = True
        yield from self.folder.closing()
        self._tell_losses()

    def _answer(self, batches: Iterable[Entering]) -> None:
        for entering in batches:
            self.write(self.graph.feed(entering), self.sinks)

    @property
    def watched(self) -> bool:
        """Whether others are told what the task does while it does it."""
        return self.handlers is not None or self.delivery is not None

    @property
    def written(self) -> int:
        """Rows that reached sinks."""
        return sum(count.rows for count in self.summary.sinks)

    def note(self, rows: int, entered: int, columns: set[str]) -> None:
        """Rows were taken in its stead, of which as many entered its graph."""
        self.input.rows_read += rows
        self.graph.entered += entered
        self.summary.points_read, self.summary.points_entered = self.input.rows_read, self.graph.entered
        self.columns |= columns

    def go_on_with(self, part: Part, last: bool = False) -> None:
        """Take what operators that other tasks have, too, made of rows. last: all rows have been taken."""
        self.graph.failures.update(part.failed)
        flush = last and self.flush
        outputs = self.graph.push(dict(part.made), last=last, flush=flush) if part.made or part.failed or last else ()
        self.write(outputs, self.sinks)

    def receive(self, portion: Portion) -> None:
        """Take what all rows of the input came to, in the stead of `take` and `end`."""
        self.note(portion.rows, portion.rows, portion.columns)
        self.put(portion.sinks, portion.levels, self.sinks)

    def release(self) -> None:
        """Let go of all that the run holds, however it ended."""
        self.close()
        for operator in self.graph.operators:
            if hasattr(operator, "close"):
                operator.close()


def _noting(outputs: Iterable[Output], kept: list[Output] | None) -> Iterator[Output]:
    for output in outputs:
        if kept is not None:
            kept.append(output)
        yield output


class Unit:
    """Stream tasks that feed each other, which are given the rows that any of them wants; or one alone."""

    def __init__(self, members: Sequence[Member], guarded: Guarded) -> None:
        """guarded: makes a step of a task."""
        self.members, self.guarded = members, guarded
        self.over = False  # whether all that rows can bring has been written
        self.linked = None
        if len(members) > 1:
            self.linked = Linked([m.name for m in members], [m.graph for m in members], self._send)

    @property
    def wish(self) -> Wish:
        """The rows and columns that the tasks want."""
        if self.linked is None:
            return self.members[0].wish
        reads = union(m.reads for m in self.members)
        measurements = frozenset(reads["measurements"])
        return Wish(None if "" in measurements else measurements, reads["tags"], reads["fields"])

    def take(self, rows: Rows) -> None:
        """Send rows through the tasks."""
        if self.linked is None:
            self.guarded(self.members[0], self.members[0].take, rows)
        else:
            self.linked.take(rows)

    def end(self) -> None:
        """All rows have been taken."""
        if self.over:
            return
        if self.linked is None:
            self.guarded(self.members[0], self.members[0].end)
        else:
            self.linked.end()
        self.over = True

    def receive(self, portion: Portion) -> None:
        """Take what all rows came to, of a task alone; see `runtime/alike.py`."""
        self.guarded(self.members[0], self.members[0].receive, portion)
        self.over = True

    def settle(self) -> None:
        """Write all that the rows so far have brought."""

    def _send(self, place: int, rows: Rows | None) -> list[Output]:
        member, kept = self.members[place], list[Output]()
        if rows is None:
            self.guarded(member, member.end, kept)
        else:
            wish = member.wish
            self.guarded(member, member.take, select(rows, wish.tags, wish.fields), kept)
        return kept


class Sharing(Unit):
    """Stream tasks that begin alike: what they have in common is done once, and each goes on by itself."""

    def __init__(
        self, members: Sequence[Member], outlines: Sequence[Outline], guarded: Guarded, relieve: Callable[[], None]
    ) -> None:
        """outlines: of the tasks' graphs, which are taken apart. relieve: looks after what waits to be written."""
        self.members, self.guarded, self.relieve = members, guarded, relieve
        self.linked, self.over = None, False
        self.trunk = Trunk(outlines, members[0].options.kept)
        self.rows = 0  # that were taken since the tasks were told
        self.entered = 0  # of the trunk by then
        self.columns: set[str] = set()
        self.seconds = 0.0  # that were spent for all, of which no task knows yet
        self.warming = members[0].warming  # whether what the rows bring does not count yet

    @property
    def wish(self) -> Wish:
        first, *others = (member.wish for member in self.members)
        tags, fields = (joined(names) for names in zip(*((w.tags, w.fields) for w in (first, *others))))
        return replace(first, tags=tags, fields=fields)

    def take(self, rows: Rows) -> None:
        if all(member.left for member in self.members):
            return
        began = clock.perf_counter()
        self.rows += len(rows)
        self.columns.update(rows.tags, rows.fields)
        for part in self.members[0].warmed(at_home(rows, self.members[0].home)):
            if self.warming != self.members[0].warming:
                self._begin_to_count()
            self._together(self.trunk.take, part)
        self.seconds += clock.perf_counter() - began
        if self.trunk.full:
            self.settle()

    def end(self) -> None:
        if not self.over:
            self.settle()
            self._together(self.trunk.end, self.members[0].flush)
            self._hand_out(last=True)
            self.over = True

    def settle(self) -> None:
        self._hand_out()

    def snapshot(self) -> dict[str, Any]:
        """The state of what the tasks have in common, once it is settled."""
        return {"trunk": self.trunk.snapshot(), "warming": self.warming}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self.trunk.restore(saved["trunk"])
        self.warming = self.members[0].warming = saved["warming"]

    def _begin_to_count(self) -> None:
        """Have the rows so far warm up, and no others."""
        self.members[0].warming = True
        self._hand_out()
        for member in self.members:
            member.warming = False
        self.warming = False

    def _together(self, step: Callable[[Any], Iterable[Gather]], given: Any) -> None:
        """Make a step for all tasks; what it raises, which is no failure of one operator, ends them."""
        try:
            for full in step(given):
                self._hand_out(full)
        except Exception as error:
            for member in self.members:
                self.guarded(member, _raise, error)

    def _hand_out(self, full: Gather | None = None, last: bool = False) -> None:
        """Give each task what it goes on with; within a round, of what is gathered at one place."""
        parts = self.trunk.parts(full)
        entered = self.trunk.graph.entered
        news = self.rows, entered - self.entered, self.columns
        self.rows, self.entered = 0, entered
        written = 0  # rows since somebody looked after them
        for member, part in zip(self.members, parts):
            if member.left:
                continue
            member.summary.seconds += self.seconds / len(self.members)
            member.note(*news)
            before = member.written
            self.guarded(member, member.go_on_with, part, last)
            written += member.written - before
            if written >= GATHERED:
                self.relieve()
                written = 0
        self.seconds = 0.0


def _raise(error: Exception) -> None:
    raise error


def backfill_all(
    jobs: Sequence[Job],
    paths: Paths | Address,
    output: str | PathLike[str] | None = None,
    *,
    options: Options,
    form: str = "parquet",
    overwrite: bool = False,
    on_step: OnStep | None = None,
    resume: bool = False,
    checkpoint: float | None = None,
) -> Together:
    """Run tasks over the same files or InfluxDB. With `output` each has its results in the folder OUTPUT/NAME, else
    they come as tables.

    What a task hands to `kapacitorLoopback` also enters the others (see runtime/loopback.py). The options are those of
    `backfill.backfill`. Raises SourceError and OutputError, LoopError where tasks feed each other in a circle, and
    ValueError where two have one name; what a task raises is told in `Together.failed`.
    """
    if options.time_parallel:
        raise Unsuitable("slices of time are for one task", "leave --time-parallel out")
    names = [job.name for job in jobs]
    if twice := sorted(name for name, n in Counter(names).items() if n > 1):
        raise ValueError(f"two tasks have the name {twice[0]}")
    with ExitStack() as stack:
        folders = None if output is None else stack.enter_context(Folders(output, form, overwrite, resume))
        run = _Set(jobs, paths, options, folders, on_step)
        stack.callback(run.release)
        run.open()
        if folders is not None:
            run.go_on(folders, resume, checkpoint)
        try:
            run.run()
        except (OutputError, SourceError) as error:
            if folders is not None and folders.keep:
                tell_to_resume(error)
            raise
    return run.summary


class _Set:
    """One run of a set of tasks."""

    def __init__(
        self,
        jobs: Sequence[Job],
        paths: Paths | Address,
        options: Options,
        folders: Folders | None,
        on_step: OnStep | None,
    ) -> None:
        """Raises OutputError where a folder cannot be had; nothing has been read then."""
        self.paths, self.options, self.folders, self.on_step = paths, options, folders, on_step
        self.began = clock.perf_counter()
        self.summary = Together()
        self.members: list[Member] = []  # that are at work
        self.working: list[Folder] = []  # of tasks that are at work
        self.inputs: list[tuple[Any, list[Unit]]] = []  # and the tasks that read each
        self.checkpoints: Checkpoints | None = None
        self.resumed = False  # whether tasks have state of another run
        self.sharing: list[Sharing] = []
        by_itself = replace(options, workers=1)  # a set is computed on one thread
        for job in jobs:
            folder = None if folders is None else folders.folder(job.name)
            if folder is not None:
                self.working.append(folder)
            try:
                self.members.append(Member(job, folder, paths, by_itself))
            except Exception as error:
                self._fail(job, error)

    def open(self) -> None:
        """Open what is read: once for the stream tasks, and once for the batch tasks, which want it in another order.
        Raises SourceError and LoopError."""
        streams = [m for m in self.members if m.runs is None and m.asked is None]
        batches = [m for m in self.members if m.runs is not None or m.asked is not None]
        check_batches([m.name for m in (*streams, *batches)], [m.graph for m in (*streams, *batches)],
                      range(len(streams), len(self.members)))  # fmt: skip
        linked = [[streams[i] for i in some] for some in groups(len(streams), edges([m.graph for m in streams]))]
        alone = [some[0] for some in linked if len(some) == 1]
        self.sharing = [*self._sharing(alone)]
        shared = {m.name for unit in self.sharing for m in unit.members}
        rest = [Unit(some, self._guarded) for some in linked if some[0].name not in shared]
        self._open([*self.sharing, *rest])
        self._open([Unit([m], self._guarded) for m in batches if m.runs is not None])

    def _sharing(self, members: Sequence[Member]) -> Iterator[Sharing]:
        """The tasks that begin alike, unless fewer graphs would do their work as those of tasks that are alike."""
        keys: Keys = {}
        sources = [(m.wish.equal, told(m.graph.operators[0])) for m in members]
        counts = Counter(sources)
        members = [m for m, source in zip(members, sources) if counts[source] > 1]  # others share no rows
        outlines = [Outline(m.graph, m.wish.equal, keys) for m in members]
        found = families(outlines)
        if len(found) > 1:
            alike = [(kind_of(graph), graph) for some in found for graph in (members[i].graph for i in some)]
            kinds = {kind and kind[0]: graph for kind, graph in alike}
            if len(kinds) < len(found) and None not in kinds and all(map(apart, kinds.values())):
                return
        for some in found:
            yield Sharing([members[i] for i in some], [outlines[i] for i in some], self._guarded, self._bound)

    def _open(self, units: list[Unit]) -> None:
        members = [m for unit in units for m in unit.members]
        if not members:
            return
        times = [(m.options.start, m.options.stop) for m in members]
        start, stop = (None if None in some else choose(some) for some, choose in zip(zip(*times), (min, max)))
        origins = [dbrp for m in members for _, op in m.sources for dbrp in op.dbrps or ()]
        options = replace(self.options, start=start, stop=stop)
        source = open_input(origins, union(m.reads for m in members), self.paths, options)
        files = source.identity()
        for unit in units:
            for member in unit.members:
                member.input.files = files
            if unit.linked is not None:
                scripts = {m.name: hashed(m.job.text) for m in unit.members}
                for member in unit.members:
                    member.linked = {name: text for name, text in scripts.items() if name != member.name}
        self.inputs.append((source, units))

    # -- a set that was broken off

    def go_on(self, folders: Folders, resume: bool, checkpoint: float | None) -> None:
        """Leave tasks that are complete as they are, and go on with the others where another run of the set came to.

        OutputError where that cannot be."""
        reasons = {m.name: reason for m in self.members if (reason := m.cannot_go_on()) is not None}
        for member in self.members:
            if member.name not in reasons:
                member.identity = identity(member, member.job.text, folders.form, member.job.write_to)
                if member.linked:
                    member.identity["the tasks that it is linked with"] = member.linked
        if reasons:
            if resume:
                name, reason = next(iter(reasons.items()))
                raise OutputError(f"this run cannot be resumed: {name}: {reason}", "leave --resume out")
            return
        own = _common({m.name: m.identity for m in self.members})
        self.checkpoints = Checkpoints(folders.path, own, EVERY if checkpoint is None else checkpoint)
        saved = self.checkpoints.load() if resume else None
        for _, found in self.inputs:
            for unit in found:
                finished = [*map(self._finished, unit.members)]
                if unit.linked is None or all(finished):
                    for member in compress(unit.members, finished):
                        assert member.folder is not None
                        self.summary.tasks[member.name] = as_finished(member.folder.staging.finished or {})
                        self._leave(member)
        if saved is None:
            return
        self.resumed = True
        self.inputs[0][0].go_on(saved["input"])
        with sharing(saved["tables"]):
            for unit, state in zip(self.sharing, saved["sharing"]):
                unit.restore(state)
            for member in list(self.members):
                self._restore(member, saved["members"].get(member.name))
        folders.keep = True

    def _restore(self, member: Member, state: Mapping[str, Any] | None) -> None:
        if state is None:
            self._fail(member.job, OutputError("it had failed before the run was broken off"))
            self._leave(member)
            return
        assert member.folder is not None
        member.folder.go_on(state["sinks"])
        member.restore(state["run"], member.sinks)
        member.folder.staging.keep = True

    def _finished(self, member: Member) -> bool:
        """Whether the results of a task are there."""
        assert member.folder is not None
        staging = member.folder.staging
        if staging.finished is None:
            return False
        changed = changes(staging.finished.get("run", {}), member.identity)
        if changed and self.folders is not None and not self.folders.overwrite:
            raise OutputError(f"{staging.given} holds results of another run: {changed} changed", NOT_EMPTY)
        return not changed

    # -- the run

    def run(self) -> None:
        """Read all inputs, and finish each task."""
        for member in list(self.members):
            self._guarded(member, member.start)
        for source, found in self.inputs:
            here = [unit for unit in found if not all(m.left for m in unit.members)]
            if here:
                self._read(source, here)
        threads = self.options.threads
        with ThreadPoolExecutor(TELLING, "tickc-tell") as pool, ThreadPoolExecutor(threads, "tickc-write") as writing:
            telling: list[Future[dict[Member, Exception]]] = []
            alone = [Unit([m], self._guarded) for m in self.members if m.asked is not None]
            for unit in (*(unit for _, found in self.inputs for unit in found), *alone):
                unit.end()
                telling += [pool.submit(_finish, [m]) for m in unit.members if m.watched and not m.left]
            rest = [m for m in self.members if not m.watched]
            failed = [_finish(rest[i : i + IN_STEP], threads, writing.map) for i in range(0, len(rest), IN_STEP)]
            for some in (*failed, *(ended.result() for ended in telling)):
                for member, error in some.items():
                    self._fail(member.job, error)
                    self._leave(member)
        if self.folders is not None:
            self.folders.sync()
        for member in list(self.members):
            self._commit(member)
        self._tell(0)
        if self.folders is not None:
            self.folders.keep = False

    def _read(self, source: Any, units: list[Unit]) -> None:
        """Hand the rows of an input to the tasks that want them."""
        dispatch = Dispatch([unit.wish for unit in units], self.options.rows_at_once())
        in_time = any(m.runs is not None for unit in units for m in unit.members)
        kin = [] if in_time or self.resumed or self.options.warm_up else [*self._kin(units)]
        for rows, moment in source.in_time() if in_time else ((rows, NEVER) for rows in source):
            _hand(dispatch.take(rows), units)
            kin = [] if dispatch.begun else [some for some in kin if some[0].take(rows)]
            if not dispatch.waiting:
                self._bound()
            if in_time and not dispatch.waiting:
                for unit in units:
                    self._guarded(unit.members[0], unit.members[0].pass_to, moment)
            self._tell(source.rows_read, source)
            if self.checkpoints is not None and self.checkpoints.due():
                _hand(dispatch.rest(), units)
                for unit in units:
                    unit.settle()
                self._save(source)
            if not self.members:
                break
        if kin and not dispatch.begun:
            for some in kin:
                self._deal(*some)
            units = [unit for unit in units if not unit.over]
            waiting, dispatch = dispatch.waiting, Dispatch([unit.wish for unit in units], self.options.rows_at_once())
            for rows in waiting if units else ():
                _hand(dispatch.take(rows), units)
        _hand(dispatch.rest(), units)
        for reason, n in source.problems.counts.items():
            self.summary.left_out[reason] = max(n, self.summary.left_out.get(reason, 0))
        self.summary.first_left_out = self.summary.first_left_out or [str(p) for p in source.problems.first]

    def _kin(self, units: Sequence[Unit]) -> Iterator[tuple[Alike, list[Unit]]]:
        """Runs of tasks that are alike, and the tasks."""
        kinds: dict[Hashable, dict[Sort, Unit]] = defaultdict(dict)
        for unit in units:
            member, wish = unit.members[0], unit.wish
            found = kind_of(member.graph) if len(unit.members) == 1 and not member.watched else None
            if found is not None:
                kind, sort = found
                kinds[kind, repr(wish.tags), repr(wish.fields)].setdefault(sort, unit)
        for alike in kinds.values():
            first, names = next(iter(alike.values())).members[0], [unit.members[0].name for unit in alike.values()]
            if len(alike) >= ENOUGH and apart(first.graph):
                reads = first.wish.tags, first.wish.fields
                yield Alike(first.graph, [*alike], names, reads, first.home), [*alike.values()]

    def _deal(self, run: Alike, units: Sequence[Unit]) -> None:
        """Give tasks what a run in their stead came to, unless each has to run by itself."""
        for unit, portion in zip(units, run.end(self.options.flush) or ()):
            unit.receive(portion)
            unit.members[0].summary.seconds += run.seconds / len(units)
        self._bound()

    def _bound(self) -> None:
        """Have rows that wait to be written do so in files where they are many, those of most tasks first."""
        held = sorted(((f.held, i) for i, f in enumerate(self.working)), reverse=True)
        most = sum(n for n, _ in held)
        if most <= HELD:
            return
        for n, i in held:
            self.working[i].set_aside()
            most -= n
            if most <= HELD // 2:
                break

    def _tell(self, points: int, source: Any = None) -> None:
        self.summary.points_read = max(points, self.summary.points_read)
        self.summary.seconds = clock.perf_counter() - self.began
        if self.on_step is not None and source is not None:
            self.on_step(source, self.summary)

    def _save(self, source: Any) -> None:
        assert self.checkpoints is not None and self.folders is not None
        with sharing() as tables:
            shared = [unit.snapshot() for unit in self.sharing]
            states = {
                m.name: {"run": m.snapshot(), "sinks": m.folder.mark()} for m in self.members if m.folder is not None
            }
        self.folders.sync()
        saved = {"input": source.place(), "members": states, "sharing": shared, "tables": tables}
        self.checkpoints.save(saved, source.rows_read)
        self.folders.keep = True
        for folder in self.working:
            folder.staging.keep = True

    def _commit(self, member: Member) -> None:
        """Let the results of a task appear."""
        if member.folder is None:
            self.summary.tables[member.name] = member.tables.result()
        else:
            member.folder.commit()
        self.summary.tasks[member.name] = member.summary
        self._leave(member)

    # -- tasks that fail or are done

    def _guarded(self, member: Member, step: Callable[..., Any], *given: Any) -> None:
        """Make a step of a task, unless it is done; what it raises ends the task alone. Raises OutputError."""
        if member.left:
            return
        began = clock.perf_counter()
        try:
            step(*given)
        except (OutputError, MemoryError):
            raise
        except Exception as error:
            self._fail(member.job, error)
            self._leave(member)
        member.summary.seconds += clock.perf_counter() - began

    def _fail(self, job: Job, error: Exception) -> None:
        job.locate(error)
        self.summary.failed[job.name] = _reason(error)

    def _leave(self, member: Member) -> None:
        """A task takes no part any more."""
        member.left = True
        self.members.remove(member)
        member.release()
        if member.folder is not None:
            member.folder.staging.keep = False
            member.folder.__exit__()
            self.working.remove(member.folder)

    def release(self) -> None:
        """Let go of what a run that was broken off holds."""
        for source, _ in self.inputs:
            if hasattr(source, "close"):
                source.close()
        for member in self.members:
            member.release()
        for folder in self.working:
            folder.__exit__()
        self.inputs = []  # whose tasks know this object: then all of them goes at once


def _finish(members: Sequence[Member], *threads: Any) -> dict[Member, Exception]:
    """Finish tasks in step. threads: see `in_step`. Gives those that failed, and why. Raises OutputError."""
    began = clock.perf_counter()
    failed: dict[Member, Exception] = {}

    def steps(member: Member) -> Steps:
        try:
            yield from member.finishing()
        except (OutputError, MemoryError):
            raise
        except Exception as error:
            failed[member] = error

    in_step(map(steps, members), *threads)
    for member in members:
        member.summary.seconds += (clock.perf_counter() - began) / len(members)
        if member.folder is not None and member not in failed:
            member.folder.sum_up({**member.summary.to_json(), "run": member.identity})
    return failed


def _hand(pieces: Iterable[Piece], units: Sequence[Unit]) -> None:
    for places, rows in pieces:
        for i in places:
            units[i].take(rows)


def union(reads: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What several tasks read, as the READS of a module say it; of the conditions those that all have."""
    found = list(reads)
    together: dict[str, Any] = {}
    for key in ("tags", "fields"):
        names = [some.get(key) for some in found]
        together[key] = None if None in names else tuple(sorted({n for some in names for n in some or ()}))
    together["measurements"] = tuple(dict.fromkeys(m for some in found for m in some.get("measurements") or ("",)))
    wheres = [tuple(some.get("where") or ()) for some in found]
    together["where"] = tuple(c for c in wheres[0] if all(c in where for where in wheres))
    return together


def _common(identities: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What has to be the same for one set to go on with another."""
    shared = next(iter(identities.values()), {})
    scripts = {name: own["the script"] for name, own in identities.items()}
    return {"the tasks": scripts, **{k: v for k, v in shared.items() if k != "the script"}}


def _reason(error: Exception) -> str:
    """Why a task ended, for people."""
    if isinstance(error, TaskFailed):
        return f"the task failed: {error}"
    message = getattr(error, "message", None)
    if message is not None:
        return str(message)
    notes = getattr(error, "__notes__", ())
    place = f" {notes[0]}" if notes else ""
    return f"internal error{place}: {' '.join(f'{type(error).__name__}: {error}'.split())}"
