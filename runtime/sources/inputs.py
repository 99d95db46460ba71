"""`open_inputs`: files, globs and directories of any format that tickc reads, as one sequence of rows."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from tickc.runtime.batch import Rows
from tickc.runtime.sources.base import BATCH_ROWS, Codes, Conjunct, Problems, SourceError, Wanted, did_you_mean
from tickc.runtime.sources.columnar import Defaults
from tickc.runtime.sources.files import Csv, Ipc, Job, Parquet
from tickc.runtime.sources.line_protocol import LineFile

ENDINGS = {
    ".parquet": "parquet", ".pq": "parquet", ".parq": "parquet",
    ".arrow": "ipc", ".arrows": "ipc", ".feather": "ipc", ".ipc": "ipc",
    ".csv": "csv",
    ".lp": "lines", ".line": "lines", ".txt": "lines", ".influx": "lines",
    ".srpl": "recording",
}  # fmt: skip
COMPRESSED = (".gz", ".zst", ".zstd")
NEVER = -(2**63)  # a time before all others
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class Reader(Protocol):
    """One open file. size, position: bytes in all and used so far, about; total_rows: None where not known before.

    A reader that can `begin(entry)` within its file has an attribute `entry`: where it could begin to give the rows
    that it gives now, as JSON holds it.
    """

    path: str
    size: int
    total_rows: int | None

    @property
    def position(self) -> int: ...

    def __iter__(self) -> Iterator[Rows]: ...


class Stream:
    """The rows of a reader, from a place on that another run had reached."""

    def __init__(self, reader: Reader, problems: Problems) -> None:
        self.reader, self.problems = reader, problems
        self.rows = 0  # given so far
        self.entry: Any = None  # of the reader
        self.before = 0  # rows that were given before `entry`
        self.done = False

    def __iter__(self) -> Iterator[Rows]:
        if self.done:
            return
        skip, self.rows = self.rows - self.before, self.before
        known = self.problems.copy()
        if self.entry is not None:
            self.reader.begin(self.entry)  # type: ignore[attr-defined]
        for rows in self.reader:
            entry = getattr(self.reader, "entry", None)
            if entry != self.entry:
                self.entry, self.before = entry, self.rows
            self.rows += len(rows)
            if skip:
                rows, skip = rows.take(slice(skip, None)), max(0, skip - len(rows))
                if not skip:  # what was left out up to here has been told
                    self.problems.become(known)
            if len(rows):
                yield rows
        self.done = True

    def place(self) -> list[Any]:
        """How far it came, as JSON."""
        return [self.rows, self.entry, self.before, self.done]

    def go_on(self, place: Sequence[Any]) -> None:
        """Begin where another stream of the same file had come."""
        self.rows, self.entry, self.before, self.done = place


@dataclass
class Input:
    """Open files, read one after the other. Iterate once; what was left out is then in `problems`."""

    readers: list[Reader]
    problems: Problems
    codes: Codes
    wanted: Wanted
    sort: bool = False
    ordered: bool = True  # whether the rows of each file are in the order of their times
    rows_read: int = 0

    def __post_init__(self) -> None:
        self.streams = [Stream(reader, self.problems) for reader in self.readers]
        self.reached: dict[int, int] = {}  # the last time of each stream, where they are read in time
        self._skip = 0  # rows, in order of time, that need not be given

    def identity(self) -> list[Any]:
        """What tells whether two inputs hold the same: path, size and time of change of each file."""
        return [[os.path.abspath(r.path), r.size, os.stat(r.path).st_mtime_ns] for r in self.readers]

    def place(self) -> dict[str, Any]:
        """How far it was read, as JSON."""
        places = [] if self.sort else [stream.place() for stream in self.streams]
        problems = None if self.sort else self.problems.snapshot()
        return {"rows": self.rows_read, "files": places, "problems": problems, "reached": list(self.reached.items())}

    def go_on(self, place: Mapping[str, Any]) -> None:
        """Give the rows that come after the place of another input of the same files; before the first ones."""
        self.rows_read = place["rows"]
        if self.sort:
            self._skip = self.rows_read
            return
        self.problems.restore(place["problems"])
        self.reached = dict(place["reached"])
        for stream, own in zip(self.streams, place["files"]):
            stream.go_on(own)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(r.size for r in self.readers)

    @property
    def position(self) -> int:
        """About how many of these bytes have been used."""
        return sum(r.position for r in self.readers)

    @property
    def total_rows(self) -> int | None:
        """Rows of all files; None where a format does not tell before it is read."""
        counts = [r.total_rows for r in self.readers]
        return None if None in counts else sum(c for c in counts if c is not None)

    @property
    def columns(self) -> tuple[set[str], set[str]] | None:
        """The tags and fields that will be read; None where a format does not tell before it is read."""
        tags: set[str] = set()
        fields: set[str] = set()
        for reader in self.readers:
            plan = getattr(reader, "plan", None)
            if plan is None:
                return None
            tags.update(plan.tags)
            fields.update(plan.variants.get(c, (c, None))[0] for c in plan.fields)
        return tags, fields

    def __iter__(self) -> Iterator[Rows]:
        for rows in self._batches():
            self.rows_read += len(rows)
            yield rows

    def in_time(self) -> Iterator[tuple[Rows, int]]:
        """The rows of all files about in the order of their times, each batch with a moment (ns): all rows before it
        have come, this batch included. NEVER where that cannot be told."""
        if self.sort or not self.ordered or len(self.readers) == 1:
            for some in self:
                yield some, int(some.time[-1]) if len(some) and (self.sort or self.ordered) else NEVER
            return
        streams = {i: iter(stream) for i, stream in enumerate(self.streams) if not stream.done}
        self.reached = reached = {i: self.reached.get(i, NEVER) for i in streams}
        while streams:
            i = min(reached, key=reached.__getitem__)
            rows = next(streams[i], None)
            if rows is None:
                del streams[i], reached[i]
                continue
            if len(rows):
                reached[i] = int(rows.time[-1])
                self.rows_read += len(rows)
                yield rows, min(reached.values())

    def _batches(self) -> Iterator[Rows]:
        if self.sort:
            from tickc.runtime.sources.sorting import by_time

            skip = self._skip
            for rows in by_time((rows for reader in self.readers for rows in reader), self.codes):
                if skip < len(rows):
                    yield rows.take(slice(skip, None)) if skip else rows
                skip = max(0, skip - len(rows))
            return
        for stream in self.streams:
            yield from stream


def open_inputs(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    columns: tuple[Collection[str] | None, Collection[str] | None] | None = None,
    measurements: Collection[str] | None = None,
    default_measurement: str | None = None,
    tags: Collection[str] | None = None,
    fields: Collection[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
    predicate: Sequence[Conjunct] = (),
    sort: bool = False,
    batch_rows: int = BATCH_ROWS,
    precision: str = "ns",
    default_time: int | None = None,
    check_order: bool = True,
    format: str | None = None,
) -> Input:
    """Open files, globs and directories in the given order; a glob and a directory give their files sorted by name.

    columns: the tags and the fields to read, None for all of them. measurements: the ones to read.
    default_measurement: of rows that do not say theirs. tags, fields: names of columns that are such, against the
    defaults (see `columnar.Defaults`). start, stop: ns, rows with start <= time < stop are read. predicate: conjuncts
    that every row of interest fulfils, used to skip parts of files. sort: order all rows by time, stably; otherwise
    the rows of each file must be in order (check_order), except those of recordings, which are read as they are.
    precision, default_time: of line protocol. format: parquet, ipc, csv, lines or recording, where names do not tell.
    Raises SourceError; an error that shows only later is raised while iterating, after the rows before it.
    """
    wanted_tags, wanted_fields = columns if columns is not None else (None, None)
    wanted = Wanted(wanted_tags, wanted_fields, measurements, start, stop, tuple(predicate))
    problems, codes = Problems(), Codes()
    job = Job(wanted, Defaults(default_measurement, tags, fields), codes, problems, sort or not check_order, batch_rows)
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [
        (path, constants, format or format_of(path)) for given in listed for path, constants in expand(os.fspath(given))
    ]
    readers = [_open(path, constants, job, form, precision, default_time) for path, constants, form in files]
    ordered = check_order and all(form != "recording" for _, _, form in files)
    return Input(readers, problems, codes, wanted, sort, ordered)


def _open(path: str, constants: Mapping[str, str | None], job: Job, format: str, precision: str,
          default_time: int | None) -> Reader:  # fmt: skip
    match format:
        case "parquet":
            return Parquet(path, job, constants)
        case "ipc":
            return Ipc(path, job, constants)
        case "csv":
            return Csv(path, job, constants)
        case "recording":
            return LineFile(path, job, precision="ns", default_time=default_time, recording=True)
        case "lines":
            return LineFile(path, job, precision=precision, default_time=default_time)
        case unknown:
            raise SourceError(f"there is no format {unknown}", did_you_mean(unknown, set(ENDINGS.values())))


def format_of(path: str) -> str:
    """The format of a file, by its ending, else by its first bytes. SourceError where there is no such file."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise _unreadable(path, error) from None
    plain = path.lower()
    for ending in COMPRESSED:
        plain = plain.removesuffix(ending)
    known = ENDINGS.get(os.path.splitext(plain)[1])
    if known is not None:
        return known
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:6] == b"ARROW1" or head[:4] in (b"\xff\xff\xff\xff", b"FEA1"):
        return "ipc"
    return "lines"


def _unreadable(path: str, error: OSError) -> SourceError:
    if isinstance(error, FileNotFoundError):
        folder = os.path.dirname(path) or "."
        near = os.listdir(folder) if os.path.isdir(folder) else []
        hint = did_you_mean(os.path.basename(path), near)
        return SourceError(f"there is no file {path}", hint if hint.startswith("did") else "")
    if isinstance(error, IsADirectoryError):
        return SourceError(f"{path} is a folder, not a file")
    return SourceError(f"cannot read {path}: {(error.strerror or str(error)).lower()}")


def expand(given: str) -> list[tuple[str, dict[str, str | None]]]:
    """The files that a path, glob or folder stands for, each with the columns that its hive folders give."""
    if os.path.isdir(given):
        files = sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(given)
            for name in names
            if not name.startswith((".", "_")) and not _hidden(os.path.relpath(folder, given))
            and _known_ending(name)
        )  # fmt: skip
        if not files:
            raise SourceError(f"there is no data file in the folder {given}")
        return [(path, _hive(os.path.relpath(path, given))) for path in files]
    if os.path.exists(given) or not glob.has_magic(given):
        return [(given, {})]
    files = sorted(path for path in glob.glob(given, recursive=True) if os.path.isfile(path))
    if not files:
        raise SourceError(f"no file matches {given}")
    return [(path, _hive(path)) for path in files]


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) and part != "." and "=" not in part for part in Path(relative).parts)


def _known_ending(name: str) -> bool:
    plain = name.lower()
    for ending in COMPRESSED:
        plain = plain.removesuffix(ending)
    return os.path.splitext(plain)[1] in ENDINGS


def _hive(path: str) -> dict[str, str | None]:
    pairs = [part.partition("=") for part in Path(path).parts[:-1] if "=" in part]
    return {unquote(key): None if value == HIVE_NULL else unquote(value) for key, _, value in pairs if key}
