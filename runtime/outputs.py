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
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tickc.runtime.batch import Rows
from tickc.runtime.rowtext import lines
from tickc.runtime.sinks.columns import Frame, OutputError, widened
from tickc.runtime.sinks.files import JsonSink, LineSink, Sink, SinkError, TableSink
from tickc.runtime.sources.base import os_reason

if TYPE_CHECKING:
    import pyarrow as pa

    from tickc.runtime.backfill import SinkCount

MARK = "_tickc.json"
MAX_NAME = 120  # bytes of a file name that comes from a script
WRITES = ("influxDBOut", "kapacitorLoopback")  # kinds of sinks whose rows have a place of their own
NOT_EMPTY = "give another folder, or add --overwrite to replace what a run wrote there before"
FORMS = ("parquet", "arrow", "jsonl", "lp")


def safe_name(name: str, taken: set[str]) -> str:
    """A file name for a sink: the name where it can be one, else with `_` for what cannot stand in file names.

    It has no separators, does not begin with `.`, `_` or `-` (such files are hidden, or options), and differs from
    `taken`, also where a file system ignores case. It is added to `taken`.
    """
    clean = "".join(c if c.isalnum() or c in "._- " else "_" for c in name).strip(" ").lstrip("._-").rstrip(". ")
    clean = clean.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore") or "sink"
    unique, n = clean, 2
    while unique.casefold() in taken:
        unique, n = f"{clean}-{n}", n + 1
    taken.add(unique.casefold())
    return unique


class Staging:
    """A folder beside (or in) the output folder, in which all is written until `commit` moves it into place.

    Leave the `with` block without `commit` and nothing stays behind. A new output folder appears by one rename; in one
    that is there already, empty or of an earlier run, the finished files are moved in one by one, and back on an error.
    """

    def __init__(self, output: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.output = Path(os.path.realpath(output))
        self.given = os.fspath(output)
        self.exists = self.output.is_dir()
        self.old: list[Path] = []
        with _telling(self.given):
            if self.exists:
                self.old = self._replaced(overwrite)
                parent, prefix = self.output, ".tickc-"
            elif self.output.exists():
                raise OutputError(f"{self.given} is a file, and the output is a folder", "give the name of a folder")
            else:
                parent, prefix = self.output.parent, f".{self.output.name}.tickc-"
                parent.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            self.path.chmod(0o777 & ~_umask())

    def _replaced(self, overwrite: bool) -> list[Path]:
        """What stands in the output folder and will be replaced."""
        there = [p for p in self.output.iterdir() if not p.name.startswith(".tickc-")]
        if there and not overwrite:
            raise OutputError(f"the output folder {self.given} is not empty", NOT_EMPTY)
        if there and not (self.output / MARK).is_file():
            raise OutputError(
                f"the output folder {self.given} holds files that tickc did not write",
                "give another folder: --overwrite only replaces what a run wrote before",
            )
        return there

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: Any) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def commit(self) -> None:
        """Move what was written into place."""
        with _telling(self.given):
            if not self.exists:
                os.rename(self.path, self.output)
                return
            aside = self.path / ".old"
            aside.mkdir()
            moves = [(p, aside / p.name) for p in self.old]
            moves += [(p, self.output / p.name) for p in self.path.iterdir() if p != aside]
            _move_all(moves)


def _move_all(moves: list[tuple[Path, Path]]) -> None:
    """Rename all of them, or none where one fails."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            with contextlib.suppress(OSError):
                os.rename(target, source)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _telling(path: str) -> Any:
    """OutputError that names `path`, for what the operating system refuses."""
    try:
        yield
    except SinkError as error:
        raise OutputError(f"cannot write {path}: {error.message.rpartition(': ')[2]}", error.hint) from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {os_reason(error)}") from None


# ------------------------------------------------------------------------------------------------------ the tables


class Tables:
    """Collects the sinks of a run in memory."""

    def __init__(self) -> None:
        self.parts: list[tuple[SinkCount, _Part]] = []

    def open(self, count: SinkCount) -> _Part:
        part = _Part(Frame(count.kind in WRITES))
        self.parts.append((count, part))
        return part

    def close(self) -> None:
        """Nothing is pending."""

    def result(self) -> dict[str, pa.Table]:
        """The tables by sink; where two kinds of sinks share a name, the second is called `NAME (KIND)`."""
        tables: dict[str, Any] = {}
        for count, part in self.parts:
            tables[f"{count.name} ({count.kind})" if count.name in tables else count.name] = part.table()
        return tables


class _Part:
    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.batches: list[Any] = []

    def write(self, rows: Rows, payload: Any) -> None:
        if len(rows):
            self.batches.append(self.frame.batch(rows))

    def table(self) -> pa.Table:
        """All rows with the columns that are known in the end."""
        import pyarrow as pa

        schema = self.frame.schema()
        return pa.Table.from_batches([widened(b, schema) for b in self.batches], schema).unify_dictionaries()


# ------------------------------------------------------------------------------------------------------ the folder


class Folder:
    """Writes the sinks of a run to a folder; see the module's docstring for its layout."""

    def __init__(self, output: str | os.PathLike[str], form: str = "parquet", overwrite: bool = False) -> None:
        if form not in FORMS:
            raise OutputError(f"there is no format {form}", f"there are {', '.join(FORMS)}")
        self.form = form
        self.staging = Staging(output, overwrite)
        self.taken = {MARK}
        self.writers: list[_Writer] = []

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: Any) -> None:
        for writer in self.writers:
            writer.abort()
        self.staging.__exit__(*error)

    def open(self, count: SinkCount) -> _Writer:
        """The writer of a sink; its place is noted in `count`."""
        with _telling(self.staging.given):
            writer = self._writer(safe_name(count.name, self.taken), count)
        self.writers.append(writer)
        return writer

    def _writer(self, name: str, count: SinkCount) -> _Writer:
        folder, alert = self.staging.path, count.kind == "alert"
        events = _Events(folder / f"{name}.jsonl") if alert else None
        form = "parquet" if alert and self.form == "lp" else self.form
        count.file = name if form in ("parquet", "arrow") else f"{name}.{form}"
        sink: Sink | None
        if form in ("parquet", "arrow"):
            (folder / name).mkdir()
            sink = TableSink(folder / name / f"part-00000.{form}", form, count.kind in WRITES)
        elif form == "lp":
            sink = _Lines(folder / count.file)
        else:
            sink = None if alert else JsonSink(folder / count.file)
        return _Writer(self.staging.given, events, sink)

    def close(self) -> None:
        """Finish all files."""
        for writer in self.writers:
            writer.close()

    def commit(self, summary: dict[str, Any]) -> None:
        """Move everything into place, with the summary."""
        with _telling(self.staging.given):
            text = json.dumps(summary, indent=2, ensure_ascii=True) + "\n"
            (self.staging.path / MARK).write_text(text, encoding="utf-8")
        self.staging.commit()


class _Writer:
    """The files of one sink: a table or lines, and the events of an alert. Errors name the folder `given`."""

    def __init__(self, given: str, events: _Events | None, sink: Sink | None) -> None:
        self.given, self.events, self.sink = given, events, sink

    def write(self, rows: Rows, payload: Any) -> None:
        with _telling(self.given):
            if self.events is not None:
                self.events.write(payload)
            if isinstance(self.sink, _Lines):
                self.sink.unit = getattr(payload, "unit", 1)
            if self.sink is not None:
                self.sink.write(rows)

    def close(self) -> None:
        with _telling(self.given):
            if self.events is not None:
                self.events.file.close()
            if self.sink is not None:
                self.sink.close()

    def abort(self) -> None:
        """Let go of the files; they will be removed."""
        if self.events is not None:
            with contextlib.suppress(OSError):
                self.events.file.close()
        if self.sink is not None:
            self.sink.abort()


class _Events:
    """Alert events as Kapacitor's JSON. One with a NaN or infinity has no such form; the table has it."""

    def __init__(self, path: Path) -> None:
        self.file: TextIO = open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n")  # noqa: SIM115

    def write(self, events: Any) -> None:
        from tickc.runtime.results import json_events

        self.file.writelines(f"{event}\n" for event in json_events(events) if event is not None)


class _Lines(LineSink):
    """Line protocol with the unit of time that the script's node has."""

    unit = 1

    def _write(self, rows: Rows) -> None:
        self._put(lines(rows, self.unit))
