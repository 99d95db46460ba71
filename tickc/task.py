"""A compiled task: its module, and what can be done with it."""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import marshal
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from tickc.runtime.kernel import cache_folder
from tickc.runtime.udf import NO_UDFS, Udf, closing, provide

if TYPE_CHECKING:
    from tickc.compiler.emit import Module
    from tickc.runtime.graph import Entering, Graph, Output
    from tickc.runtime.handlers import Outside
    from tickc.runtime.results import Results
    from tickc.runtime.settings import Settings


class ModuleError(Exception):
    """A file is not a module that tickc generated."""


@dataclass(frozen=True)
class Task:
    """A task that was compiled from a script or loaded from a generated module.

    name: the task's id. source: the module's text. lines: operator name -> (first, last) line of the script. udfs: the
    user-defined functions that it may call. settings: the endpoints that it may name.
    """

    name: str
    source: str
    module: ModuleType
    lines: Mapping[str, tuple[int, int]]
    udfs: Mapping[str, Udf] = field(default_factory=dict)
    settings: Settings | None = None

    @staticmethod
    def of(
        name: str,
        made: Module,
        udfs: Mapping[str, Udf] = NO_UDFS,
        settings: Settings | None = None,
        code: bytes | None = None,
    ) -> Task:
        """The task of a compiled script. code: see `load_text`."""
        return Task(name, made.text, load_text(made.text, code), made.lines, udfs, settings)

    @staticmethod
    def load(path: str | Path, udfs: Mapping[str, Udf] = NO_UDFS, settings: Settings | None = None) -> Task:
        """The task of a generated module; its name is the file's.

        Raises OSError where the file cannot be read, ModuleError where it is no such module.
        """
        name = Path(path).stem
        try:
            text = Path(path).read_bytes().decode("utf-8")
            module = _execute(compile(text, str(path), "exec"), name, str(path))
            return Task(name, text, module, module.LINES, udfs, settings)
        except (UnicodeDecodeError, SyntaxError, ImportError, AttributeError, NameError) as error:
            raise ModuleError(f"{path} is not a module of tickc: {error}") from error

    def build(self) -> Graph:
        """The graph of operators with fresh state."""
        return provide(self.module.build(), self.udfs, self.name)

    def process(
        self,
        batches: Iterable[Entering],
        *,
        graph: Graph | None = None,
        clock: str = "wall",
        flush: bool = False,
        workers: int = 1,
        handlers: bool = False,
        allow_exec: bool = False,
    ) -> Iterator[Output]:
        """Send rows through the task; yields what leaves it, in order, then what the end of the input releases.

        graph: of the task, where it was built before. clock: what barriers, statistics and deadmans follow: "wall",
        which a replay outruns, so that they never strike, or "data", the times of the points. flush: what is open when
        the input ends, windows and the like, comes out. workers: threads that compute; the results do not depend on
        it. handlers: whether the handlers of alerts are called and data posted; allow_exec: whether programs are run,
        too.
        """
        graph = self.build() if graph is None else graph
        outputs = graph.run(batches, clock=clock, flush=flush, workers=workers)
        return closing(graph, self.reaching(graph, outputs, handlers=handlers, allow_exec=allow_exec))

    def reaching(
        self, graph: Graph, outputs: Iterator[Output], *, handlers: bool, allow_exec: bool
    ) -> Iterator[Output]:
        """`outputs` of the task's graph, which go to their handlers as they pass (docs/handlers.md)."""
        outside = self.outside(handlers, allow_exec)
        if outside is None:
            return outputs
        from tickc.runtime.handlers import reaching

        return reaching(graph, outside, outputs)

    def outside(self, handlers: bool = False, allow_exec: bool = False) -> Outside | None:
        """What a run may do to the world; None: nothing, and there are no settings."""
        if not handlers and self.settings is None:
            return None
        from tickc.runtime.handlers import Outside
        from tickc.runtime.settings import Settings

        return Outside(self.settings or Settings(), handlers, allow_exec)

    def locate(self, error: BaseException) -> str | None:
        """Where in the script an error arose that an operator raised: `in window2 (lines 5-8)`; None where in none.

        The text becomes a note of the error, which tracebacks show.
        """
        names = failed_operators(error)
        if not names:
            return None
        name = names[-1]
        first, last = next((self.lines[n] for n in reversed(names) if n in self.lines), (0, 0))
        place = "" if not first else f" (line {first})" if first == last else f" (lines {first}-{last})"
        text = f"in {name}{place}"
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)
        return text

    def warm(self) -> None:
        """Compile the machine code of the task's kernels ahead of time; see tickc.runtime.warm."""
        from tickc.runtime.warm import warm

        warm(self.build(), self.module.READS)

    def replay(
        self,
        recording: Any = None,
        *,
        data: Any = None,
        db: str = "",
        rp: str = "",
        start: Any = None,
        stop: Any = None,
        **options: Any,
    ) -> Results:
        """Replay a recording, or data, as Kapacitor does and collect all results.

        recording: the path of a recording (`.srpl`, plain or gzip; `.brpl`, or the zip of a server); as many paths as
        the script has queries, that of the last one first; or rows (one batch or an iterable). data: instead, what a
        database `db` with the retention policy `rp` holds, as a path or rows: the points of a stream task, or what the
        queries of a batch task are asked of between `start` and `stop` (RFC 3339 text or ns). options: as in `process`.
        Where the task fails, the results hold what came before and the failure.
        """
        from tickc.runtime.graph import TaskFailed
        from tickc.runtime.results import Results

        graph = self.build()
        graph.goes_on = True
        given = self._given(graph, recording, data, (db, rp), start, stop)
        results = Results(self.name)
        try:
            for output in self.process(given, graph=graph, **options):
                results.add(output)
        except TaskFailed as error:
            results.failure = str(error)
        except Exception as error:
            self.locate(error)
            raise
        return results

    @staticmethod
    def _given(
        graph: Graph, recording: Any, data: Any, home: tuple[str, str], start: Any, stop: Any
    ) -> Iterable[Entering]:
        """What a replay sends through the graph."""
        from tickc.runtime import replay
        from tickc.runtime.batch import Rows
        from tickc.runtime.sources.base import Problems
        from tickc.runtime.times import nanoseconds

        if (recording is None) == (data is None):
            raise TypeError("give either a recording or data")
        if data is not None:
            if isinstance(data, (str, Path)):
                from tickc.runtime.sources.inputs import open_inputs

                data = open_inputs(data, check_order=False)
            rows = [data] if isinstance(data, Rows) else data
            return replay.stored(graph, rows, home, nanoseconds(start), nanoseconds(stop), Problems())
        if isinstance(recording, Rows):
            return [recording]
        if isinstance(recording, (str, Path)):
            recording = [recording]
        paths = list(recording) if isinstance(recording, Sequence) else recording
        if isinstance(paths, list) and paths and all(isinstance(p, (str, Path)) for p in paths):
            return replay.recorded(graph, paths, Problems())
        entering: Iterable[Entering] = paths
        return entering

    def backfill(
        self,
        inputs: str | Path | Sequence[str | Path] = (),
        output: str | Path | None = None,
        start: Any = None,
        stop: Any = None,
        workers: int | None = None,
        **options: Any,
    ) -> Any:
        """Run the task over files of history.

        inputs: paths or globs (Parquet, Arrow IPC, CSV, line protocol); none with the option `source`, the address of
        an InfluxDB. With an `output` folder the results are written there and a summary is returned; without one, {sink
        name: pyarrow.Table}. start, stop: RFC 3339 text or ns, stop exclusive. options: see tickc.backfill.backfill.
        """
        from tickc.backfill import backfill

        return backfill(self, inputs, output, start=start, stop=stop, workers=workers, **options)


def failed_operators(error: BaseException) -> list[str]:
    """The names of the operators whose code was running when `error` was raised, the innermost last."""
    from tickc.runtime.graph import Operator

    names: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, Operator):
            names.append(owner.name)
        trace = trace.tb_next
    return names


def load_text(text: str, code: bytes | None = None) -> ModuleType:
    """Import a generated module from the cache folder, so that tracebacks show its lines. code: what `coded` made of
    it."""
    path = _kept(text)
    what = compile(text, str(path), "exec") if code is None else marshal.loads(code)
    return _execute(what, f"tickc_module_{path.stem[2:]}", str(path))


def coded(text: str) -> bytes:
    """A generated module as Python's code, for another process of this version."""
    return marshal.dumps(compile(text, str(_kept(text)), "exec"))


def _kept(text: str) -> Path:
    """The file of a module in the cache folder."""
    data = text.encode("utf-8", "surrogateescape")
    path = cache_folder() / "modules" / f"m_{hashlib.sha256(data).hexdigest()[:20]}.py"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data)
    except OSError:  # no folder to write to: the text is kept in memory instead
        linecache.cache[str(path)] = (len(text), None, text.splitlines(True), str(path))
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all; a device or pipe is written to. Raises OSError."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.chmod(temporary, path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _execute(code: CodeType, name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_loader(name, loader=None, origin=path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = path
    sys.modules.setdefault(name, module)
    exec(code, module.__dict__)
    return module
