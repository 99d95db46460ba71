"""What a backfill leaves: tables, or a folder that appears whole or not at all.

    OUTPUT/NAME/part-00000.parquet    what reached |httpOut('NAME'), what |influxDBOut wrote to NAME = db.rp
    OUTPUT/NAME/part-00000.parquet    the events of .log('NAME') as a table
    OUTPUT/NAME.jsonl                 the same events as Kapacitor's JSON, one a line
    OUTPUT/_tickc.json                the summary of the run; marks the folder as one that tickc made

Other forms have other endings; line protocol is one file, OUTPUT/NAME.lp.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickc.runtime.checkpoints import MANIFEST, read_manifest
from tickc.runtime.emitted import EVENT_FIELDS, Reached
from tickc.runtime.sinks.columns import Frame, OutputError, widened
from tickc.runtime.sinks.files import TextFile, put, sync_all, telling
from tickc.runtime.sinks.parts import DataSet
from tickc.runtime.snapshot import freeze, thaw
from tickc.runtime.steps import Steps, in_turn

if TYPE_CHECKING:
    import pyarrow as pa

    from tickc.runtime.backfill import SinkCount

MARK = "_tickc.json"
MAX_NAME = 120  # bytes of a file name that comes from a script
WRITES = ("influxDBOut", "kapacitorLoopback")  # kinds of sinks whose rows have a place of their own
NOT_EMPTY = "give another folder, or add --overwrite to replace what a run wrote there before"
TABLES = ("parquet", "arrow")  # forms that are tables
FORMS = (*TABLES, "jsonl", "lp")
HIDDEN = ".tickc-run"  # ends the name of the folder in which a run works
ASIDE = "old"  # in it: what the results replace


def safe_name(name: str, taken: set[str]) -> str:
    """A file name for a sink: the name where it can be one, else with `_` for what cannot stand in file names.

    It has no separators, does not begin with `.`, `_` or `-` (such files are hidden, or options), and differs from
    `taken`, also where a file system ignores case. It is added to `taken`.
    """
    clean = unique = _clean(name)
    n = 2
    while unique.casefold() in taken:
        unique, n = f"{clean}-{n}", n + 1
    taken.add(unique.casefold())
    return unique


@lru_cache(256)  # many tasks have sinks of one name
def _clean(name: str) -> str:
    clean = "".join(c if c.isalnum() or c in "._- " else "_" for c in name).strip(" ").lstrip("._-").rstrip(". ")
    return clean.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore") or "sink"


def broken_off(output: str | os.PathLike[str]) -> int | None:
    """After how many points a run that was broken off can be gone on with; None where none can."""
    found = _broken_off(os.path.realpath(output))
    return None if found is None else int(found["rows"])


def _broken_off(output: str) -> dict[str, Any] | None:
    """The manifest of a run that was broken off."""
    return next(filter(None, map(read_manifest, _hidden(output))), None)


def _hidden(output: str) -> tuple[str, str]:
    """The hidden folders of a run: where there is no output folder, and where there is one."""
    parent, name = os.path.split(output)
    return os.path.join(parent, f".{name}{HIDDEN}"), os.path.join(output, HIDDEN)


@dataclass(frozen=True)
class Shared:
    """The hidden folder `path` of a set of runs, and the names of what was in its output folder already."""

    path: str
    there: frozenset[str]

    def place(self, name: str) -> str:
        """The output folder of one of the runs."""
        return os.path.join(os.path.dirname(self.path), name)


class Staging:
    """The hidden folder of a run beside (or in) its output folder, from which `commit` moves the results into place.

        .OUT.tickc-run/pieces/    what the sinks have written so far
        .OUT.tickc-run/out/       the results, once all is written
        .OUT.tickc-run/old/       what they replace

    Leave the `with` block without `commit` and nothing stays behind, but of a run that another may go on with
    (`keep`). A new output folder appears by one rename; in one that is there already, empty or of an earlier run, the
    finished files are moved in one by one, and back on an error. One run at a time writes to an output folder.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        overwrite: bool = False,
        resume: bool = False,
        shared: Shared | None = None,
    ) -> None:
        """resume: what a run that was broken off left in the hidden folder stays there; `finished` is the summary of
        one that was not. shared: that of a set of runs, each with a place in it."""
        self.given = os.fspath(output)
        own = "" if shared is None else os.path.basename(self.given)
        new = shared is not None and own not in shared.there
        self.output = shared.place(own) if shared is not None and new else os.path.realpath(output)
        self.exists = not new and os.path.isdir(self.output)
        self.keep = False
        self._lock: int | None = None
        with _telling(self.given):
            if not new and not self.exists and os.path.exists(self.output):
                raise OutputError(f"{self.given} is a file, and the output is a folder", "give the name of a folder")
            beside, within = _hidden(self.output)
            hidden = within if self.exists and not (resume and os.path.isdir(beside)) else beside
            self.path = hidden if shared is None else shared.path
            self.aside = os.path.join(within if shared is None else shared.path, ASIDE, own)
            left = shared is None or resume  # whether another run may have left something; `Folders` would remove it
            self.moving = left and os.path.isdir(self.aside)  # a run was broken off while it moved its results in
            self.finished = self._finished(shared is not None) if resume and self.exists else None
            self.old = self._replaced(overwrite or self.finished is not None) if self.exists else []
            if shared is None:
                self._lock = _locked(self.path, self.given)
                if not resume:
                    _clear(self.path)
            self.pieces = os.path.join(self.path, "pieces", own)
            self.results = os.path.join(self.path, "out", own)
            if left and os.path.isdir(self.results):
                shutil.rmtree(self.results)

    def _finished(self, one_of_many: bool) -> dict[str, Any] | None:
        """The summary of the run whose results are there, unless another one was broken off."""
        if self.moving:
            return None
        try:
            found = json.loads(Path(self.output, MARK).read_bytes())
        except (OSError, ValueError):
            return None
        broken = None if one_of_many else _broken_off(self.output)
        same = isinstance(found, dict) and (broken is None or broken["run"] == found.get("run"))
        return found if same else None

    def _replaced(self, overwrite: bool) -> list[str]:
        """The names of what stands in the output folder and will be replaced."""
        there = [name for name in os.listdir(self.output) if name != HIDDEN]
        if there and not (overwrite or self.moving):
            raise OutputError(f"the output folder {self.given} is not empty", NOT_EMPTY)
        if there and not (self.moving or os.path.isfile(os.path.join(self.output, MARK))):
            raise OutputError(
                f"the output folder {self.given} holds files that tickc did not write",
                "give another folder: --overwrite only replaces what a run wrote before",
            )
        return there

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: Any) -> None:
        if not self.keep:
            with contextlib.suppress(OSError):  # what cannot be removed is removed by the next run
                if self._lock is None:
                    for path in (self.pieces, self.results):
                        if os.path.isdir(path):
                            shutil.rmtree(path)
                else:
                    _clear(self.path)
                    os.rmdir(self.path)
        if self._lock is not None:
            os.close(self._lock)

    def commit(self) -> None:
        """Move the results into place."""
        with _telling(self.given):
            if not self.exists:
                os.rename(self.results, self.output)
            else:
                os.makedirs(self.aside, exist_ok=True)
                aside = tempfile.mkdtemp(dir=self.aside)
                new = sorted(os.listdir(self.results), key=lambda name: name == MARK)  # which says that all is there
                moves = [(self.output, aside, name) for name in self.old]
                _move_all([*moves, *((self.results, self.output, name) for name in new)])
        self.keep = False


def _clear(path: str) -> None:
    """Remove what is in a hidden folder, first what would say that it can be gone on with."""
    Path(path, MANIFEST).unlink(missing_ok=True)
    for inner in Path(path).iterdir():
        if inner.is_dir():
            shutil.rmtree(inner)
        else:
            inner.unlink()


def _locked(path: str, given: str) -> int:
    """Make a hidden folder and lock it; a lock goes with its process."""
    import fcntl

    while True:
        os.makedirs(path, exist_ok=True)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise OutputError(f"another run is writing to {given}", "wait for it") from None
        except OSError:  # a file system without locks
            return lock
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        os.close(lock)  # its owner has moved it away meanwhile


def _move_all(moves: Sequence[tuple[str, str, str]]) -> None:
    """Move all of them, each from one folder to another, or none where one fails."""
    done: list[tuple[str, str]] = []
    try:
        for *folders, name in moves:
            source, target = (os.path.join(folder, name) for folder in folders)
            os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            with contextlib.suppress(OSError):
                os.rename(target, source)
        raise


def _telling(path: str) -> telling:
    """OutputError that names `path`, for what the operating system refuses."""
    return telling(path, OutputError)


# ------------------------------------------------------------------------------------------------------ the tables


class Tables:
    """Collects the sinks of a run in memory."""

    def __init__(self) -> None:
        self.parts: list[tuple[SinkCount, _Table]] = []

    def open(self, count: SinkCount) -> _Table:
        table = _Table(_frame(count))
        self.parts.append((count, table))
        return table

    def close(self) -> None:
        """Nothing is pending."""

    def result(self) -> dict[str, pa.Table]:
        """The tables by sink; where two kinds of sinks share a name, the second is called `NAME (KIND)`."""
        tables: dict[str, Any] = {}
        for count, part in self.parts:
            tables[f"{count.name} ({count.kind})" if count.name in tables else count.name] = part.table()
        return tables


class _Table:
    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.batches: list[Any] = []

    def write(self, emitted: Reached) -> None:
        if len(emitted):
            self.batches.append(self.frame.batch(emitted.rows))

    def table(self) -> pa.Table:
        """All rows with the columns that are known in the end."""
        import pyarrow as pa

        schema = self.frame.schema()
        return pa.Table.from_batches([widened(b, schema) for b in self.batches], schema).unify_dictionaries()


def _frame(count: SinkCount) -> Frame:
    return Frame(count.kind in WRITES, EVENT_FIELDS if count.kind == "alert" else ())


# ------------------------------------------------------------------------------------------------------ the folder


class Folder:
    """Writes the sinks of a run to a folder; see the module's docstring for its layout."""

    def __init__(
        self,
        output: str | os.PathLike[str],
        form: str = "parquet",
        overwrite: bool = False,
        resume: bool = False,
        shared: Shared | None = None,
    ) -> None:
        """shared: see `Staging`; such folders do not see to it that what is written lasts, `Folders` does."""
        if form not in FORMS:
            raise OutputError(f"there is no format {form}", f"there are {', '.join(FORMS)}")
        self.form = form
        self.staging = Staging(output, overwrite, resume, shared)
        self.durable = shared is None
        self.taken = {MARK}
        self.writers: list[_Writer] = []
        self.saved: deque[Any] = deque()  # marks of the sinks that will be opened next

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: Any) -> None:
        for writer in self.writers:
            writer.abort()
        self.staging.__exit__(*error)

    def open(self, count: SinkCount) -> _Writer:
        """The writer of a sink; its place is noted in `count`."""
        name = safe_name(count.name, self.taken)
        form = "parquet" if count.kind == "alert" and self.form == "lp" else self.form
        count.file = name if form in TABLES else f"{name}.{form}"
        with _telling(self.staging.given):
            writer = _Writer(self.staging, name, count, form, self.saved.popleft() if self.saved else None)
        self.writers.append(writer)
        return writer

    @property
    def held(self) -> int:
        """About how many bytes of memory the rows take that wait to be written."""
        return sum(writer.table.held for writer in self.writers if writer.table is not None)

    def set_aside(self) -> None:
        """Have the rows that wait do so in files."""
        with _telling(self.staging.given):
            for writer in self.writers:
                if writer.table is not None and writer.table.waiting:
                    writer.table.set_aside()

    def mark(self) -> list[Any]:
        """Make what was written so far last; what `go_on` takes, frozen, a part for each sink."""
        return [writer.mark(self.durable) for writer in self.writers]

    def go_on(self, saved: Iterable[Any]) -> None:
        """Go on after a mark of another folder; the same sinks will be opened first, in the same order."""
        self.saved.extend(saved)

    def close(self) -> None:
        """Write the results."""
        in_turn(self.closing())

    def closing(self) -> Steps:
        """`close` in steps."""
        with _telling(self.staging.given):
            os.makedirs(self.staging.results)
        yield None
        for writer in self.writers:
            yield from writer.closing(self.durable)

    def sum_up(self, summary: dict[str, Any]) -> None:
        """Write the summary beside the results."""
        with _telling(self.staging.given):
            lines = (f'  "{name}": {_json(value)}' for name, value in summary.items())
            put(os.path.join(self.staging.results, MARK), ("{\n" + ",\n".join(lines) + "\n}\n").encode())

    def commit(self) -> None:
        """Move everything into place."""
        self.staging.commit()


def _json(value: Any) -> str:
    """`json.dumps`, which takes long to be called."""
    return str(value) if type(value) is int or value == {} or value == [] else json.dumps(value)


class Folders:
    """The folders OUTPUT/NAME of a set of runs, each of which appears whole or not at all.

        OUTPUT/.tickc-run/    the hidden folder of all of them, with a place for each (see `Staging`)

    Leave the `with` block and the hidden folder is removed, but where another set may go on (`keep`).
    """

    def __init__(
        self, output: str | os.PathLike[str], form: str = "parquet", overwrite: bool = False, resume: bool = False
    ) -> None:
        self.output, self.given = os.path.realpath(output), os.fspath(output)
        self.form, self.overwrite, self.resume = form, overwrite, resume
        self.keep = False
        self.taken = {MARK}
        self.path = os.path.join(self.output, HIDDEN)
        with _telling(self.given):
            self.made = not os.path.exists(self.output)
            if not self.made and not os.path.isdir(self.output):
                raise OutputError(f"{self.given} is a file, and the output is a folder", "give the name of a folder")
            if os.path.isfile(os.path.join(self.output, MARK)):
                raise OutputError(
                    f"the output folder {self.given} holds the results of a single task", "give another folder"
                )
            self._lock = _locked(self.path, self.given)
            if not resume:
                _clear(self.path)
            self.shared = Shared(self.path, frozenset(os.listdir(self.output)))

    def folder(self, name: str) -> Folder:
        """The folder of one task. OutputError where there is one that may not be replaced."""
        safe = safe_name(name, self.taken)
        return Folder(os.path.join(self.given, safe), self.form, self.overwrite, self.resume, self.shared)

    def sync(self) -> None:
        """Make all that was written last: what the whole file system has yet to write, at once."""
        with _telling(self.given):
            sync_all(self.path)

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: Any) -> None:
        if not self.keep:
            with contextlib.suppress(OSError):  # what cannot be removed is removed by the next run
                _clear(self.path)
                os.rmdir(self.path)
                if self.made and not os.listdir(self.output):
                    os.rmdir(self.output)
        os.close(self._lock)


class _Writer:
    """The files of one sink: a table or lines, and the events of an alert. Errors name the output folder."""

    def __init__(
        self, staging: Staging, name: str, count: SinkCount, form: str, saved: Mapping[str, Any] | None
    ) -> None:
        self.given, self.results, self.name = staging.given, staging.results, name
        self.table: DataSet | None = None
        self.file: TextFile | None = None
        if form in TABLES:
            mark = None if saved is None else thaw(saved["table"])
            self.table = DataSet(os.path.join(staging.pieces, name), form, _frame(count), mark)
        self.as_lines = form == "lp"
        if count.kind == "alert" or form not in TABLES:
            path = os.path.join(staging.pieces, f"{name}.{'lp' if self.as_lines else 'jsonl'}")
            self.file = TextFile(path, 0 if saved is None else saved["file"])

    def write(self, emitted: Reached) -> None:
        with _telling(self.given):
            if self.file is not None:
                self.file.put(emitted.lines() if self.as_lines else emitted.json())
            if self.table is not None:
                self.table.write(emitted.rows)

    def mark(self, durable: bool) -> dict[str, Any]:
        with _telling(self.given):
            return {
                "table": None if self.table is None else freeze(self.table.mark(durable)),
                "file": None if self.file is None else self.file.mark(durable),
            }

    def closing(self, durable: bool) -> Steps:
        """Write the results, in steps; they last where `durable`."""
        with _telling(self.given):
            if self.file is not None:
                self.file.close(os.path.join(self.results, os.path.basename(self.file.path)), durable)
                yield None
            if self.table is not None:
                folder = os.path.join(self.results, self.name)
                os.mkdir(folder)
                yield None
                yield from self.table.closing(folder, durable)

    def abort(self) -> None:
        """Let go of the files; they will be removed."""
        if self.file is not None:
            self.file.abort()
        if self.table is not None:
            self.table.abort()
