"""`open_inputs`: files, globs and directories of any format that tickc reads, as one sequence of rows."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote

from tickc.runtime.batch import Rows
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import BATCH_ROWS, NEVER, Codes, Conjunct, Problems, SourceError, Wanted, did_you_mean
from tickc.runtime.sources.columnar import Defaults
from tickc.runtime.sources.files import Csv, Ipc, Job, Parquet, decoders
from tickc.runtime.sources.line_protocol import LineFile
from tickc.runtime.sources.sorting import Lane, Part, by_time, in_order, rounds

ENDINGS = {
    ".parquet": "parquet", ".pq": "parquet", ".parq": "parquet",
    ".arrow": "ipc", ".arrows": "ipc", ".feather": "ipc", ".ipc": "ipc",
    ".csv": "csv",
    ".lp": "lines", ".line": "lines", ".txt": "lines", ".influx": "lines",
    ".srpl": "recording",
}  # fmt: skip
COMPRESSED = (".gz", ".zst", ".zstd")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class Reader(Protocol):
    """One open file. size, position: bytes in all and used so far, about; total_rows: None where not known before;
    problems: what was left out so far.

    A reader that can `begin(entry)` within its file has an attribute `entry`: where it could begin to give the rows
    that it gives now, as JSON holds it.
    """

    path: str
    size: int
    total_rows: int | None
    problems: Problems

    @property
    def position(self) -> int: ...

    def floor(self) -> int:
        """A time (ns) that no row of a file in order is before, NEVER where only reading the file would tell."""
        ...

    def __iter__(self) -> Iterator[Rows]: ...


class Mark(NamedTuple):
    """Where a reader could begin to give a piece, the rows before that, and what it had left out behind the piece."""

    entry: Any
    before: int
    problems: Problems


class Stream(Lane):
    """The rows of a reader, from a place on that another run had reached."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.rows = 0  # given so far
        self.mark = Mark(None, 0, Problems())  # of the last piece that any of them was in
        self._pieces: Iterator[tuple[Rows, Mark]] | None = None

    def next(self) -> tuple[Rows, Mark] | None:
        if self._pieces is None:
            self._pieces = self._read()
        return next(self._pieces, None)

    def given(self, count: int, mark: Any) -> None:
        self.rows += count
        self.mark = mark

    def _read(self) -> Iterator[tuple[Rows, Mark]]:
        entry, before, known = self.mark
        skip, rows_read = self.rows - before, before
        problems = self.reader.problems
        if entry is not None:
            self.reader.begin(entry)  # type: ignore[attr-defined]
        for rows in self.reader:
            if (own := getattr(self.reader, "entry", None)) != entry:
                entry, before = own, rows_read
            rows_read += len(rows)
            if skip:
                rows, skip = rows.take(slice(skip, None)), max(0, skip - len(rows))
                if not skip:  # what was left out up to here has been told
                    problems.become(known)
            if len(rows):
                yield rows, Mark(entry, before, problems.copy())

    def place(self) -> list[Any]:
        """How far it came, as JSON."""
        done = self.over and not self.held
        told = self.reader.problems if done else self.mark.problems
        return [self.rows, self.mark.entry, self.mark.before, told.snapshot(), done]

    def go_on(self, place: Sequence[Any]) -> None:
        """Begin where another stream of the same file had come."""
        self.rows, entry, before, problems, self.over = place
        self.reader.problems.restore(problems)
        self.mark = Mark(entry, before, self.reader.problems.copy())


@dataclass
class Input:
    """Open files, read one after the other or in the order of time. Iterate once; what was left out is then in
    `problems`."""

    readers: list[Reader]
    codes: Codes
    wanted: Wanted
    sort: bool = False
    ordered: bool = True  # whether the rows of each file are in the order of their times
    batch_rows: int = BATCH_ROWS
    rows_read: int = 0

    def __post_init__(self) -> None:
        self.streams = [Stream(reader) for reader in self.readers]
        self._skip = 0  # rows, in order of time, that need not be given

    def identity(self) -> list[Any]:
        """What tells whether two inputs hold the same: path, size and time of change of each file."""
        return [[os.path.abspath(r.path), r.size, os.stat(r.path).st_mtime_ns] for r in self.readers]

    def place(self) -> dict[str, Any]:
        """How far it was read, as JSON."""
        return {"rows": self.rows_read, "files": [] if self.sort else [stream.place() for stream in self.streams]}

    def go_on(self, place: Mapping[str, Any]) -> None:
        """Give the rows that come after the place of another input of the same files; before the first ones."""
        self.rows_read = place["rows"]
        if self.sort:
            self._skip = self.rows_read
        for stream, own in zip(self.streams, place["files"]):
            stream.go_on(own)

    @property
    def problems(self) -> Problems:
        """What was left out of the files so far, the first places in their order."""
        return Problems.of(reader.problems for reader in self.readers)

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
        return self._counted(self._batches())

    def in_time(self) -> Iterator[tuple[Rows, int]]:
        """The rows of all files by time, each batch with a moment (ns): all rows before it have come, this batch
        included; NEVER where that cannot be told.

        A database keeps the same of what it is given so as of rows in the order of `rounds`: by time, then by file. The
        order tells where points have series and time in common, and where values of a field differ in type: a point
        fits if those that were kept before have its types. A round with one type a field decides nothing for itself, as
        its points cannot contradict each other; so its rows come file after file, which leaves those of one time in
        order. The rows of other rounds are put in order. Files in no order are read one after the other.
        """
        if self.sort or not self.ordered:
            for rows in self:
                yield rows, int(rows.time[-1]) if self.sort else NEVER
            return
        streams = [stream for stream in self.streams if not stream.over]
        if len(streams) > 1:
            for stream in streams:
                stream.known = stream.reader.floor()
        for parts in rounds(streams, self.batch_rows):
            for rows, moment in self._of_round(parts):
                self.rows_read += len(rows)
                yield rows, moment

    def _of_round(self, parts: Sequence[Part]) -> Iterator[tuple[Rows, int]]:
        if not _of_one_type([rows for _, rows in parts]):
            for rows in in_order(parts, self.batch_rows):
                yield rows, int(rows.time[-1])
            return
        moment = max(int(rows.time[-1]) for _, rows in parts)
        for i, (lane, rows) in enumerate(parts, 1):
            yield lane.give(rows), moment if i == len(parts) else NEVER

    def _counted(self, batches: Iterable[Rows]) -> Iterator[Rows]:
        for rows in batches:
            self.rows_read += len(rows)
            yield rows

    def _batches(self) -> Iterator[Rows]:
        if self.sort:
            skip = self._skip
            for rows in by_time((rows for reader in self.readers for rows in reader), self.codes):
                if skip < len(rows):
                    yield rows.take(slice(skip, None)) if skip else rows
                skip = max(0, skip - len(rows))
            return
        for stream in self.streams:
            while not stream.over:
                stream.read()
                yield from (stream.give(rows) for rows, _ in [*stream.held])


def _of_one_type(parts: Sequence[Rows]) -> bool:
    """Whether no field has values of several types in the parts, or there is one part alone."""
    kinds: dict[str, set[Kind]] = {}
    for rows in parts:
        for name, column in rows.fields.items():
            kinds.setdefault(name, set()).update(column.data)
    return len(parts) == 1 or all(len(own) < 2 for own in kinds.values())


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
    names = None if measurements is None else frozenset(measurements)
    wanted = Wanted(wanted_tags, wanted_fields, names, start, stop, tuple(predicate))
    codes, defaults = Codes(), Defaults(default_measurement, tags, fields)
    unsorted = sort or not check_order
    job = partial(Job, wanted, defaults, codes, sorted=unsorted, batch_rows=batch_rows, pool=decoders())
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = [
        (path, constants, format or format_of(path)) for given in listed for path, constants in expand(os.fspath(given))
    ]
    readers = [
        _open(path, constants, job(Problems()), form, precision, default_time) for path, constants, form in files
    ]
    ordered = check_order and all(form != "recording" for _, _, form in files)
    return Input(readers, codes, wanted, sort, ordered, batch_rows)


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
