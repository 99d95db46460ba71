"""Readers of columnar files: Parquet, Arrow IPC (file and stream) and CSV.

A reader opens its file at once, so that what is wrong with it is known before any work is done, and then yields rows in
file order. At most a few record batches are in memory; the next ones are decoded in background threads while the rows
of the last are being used. How Parquet is read, and why so, stands in docs/decisions/parquet-source.md.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from tickc.runtime.batch import Rows
from tickc.runtime.sources.base import BATCH_ROWS, NEVER, Codes, Conjunct, Problems, SourceError, Wanted, os_reason
from tickc.runtime.sources.columnar import UNIT, Decoder, Defaults, borrowed, in_nanoseconds, is_text, layout, pieces
from tickc.runtime.sources.prefilter import read_rows, selective, usable
from tickc.runtime.team import cores

GROUP_BYTES = 128 << 20  # a Parquet row group that decodes to more is read piece by piece
PIECE_ROWS = 131_072
CODE_BYTES = 4  # a value takes no more where a column of text repeats few strings, each stored once
AHEAD = 2  # pieces that are being decoded in the background
CSV_BLOCK = 4 << 20
RowGroup = tuple[int, int, int]
NO_CONSTANTS: Mapping[str, str | None] = {}


def decoders() -> ThreadPoolExecutor:
    """Threads that decode in the background. The readers of an input share them, as Arrow's allocator keeps some
    megabytes for each thread."""
    return ThreadPoolExecutor(max(AHEAD, cores()), thread_name_prefix="tickc-decode")


@dataclass(frozen=True)
class Job:
    """What a reader needs to know besides its file; the files of one input share all but the problems.

    pool: decodes in the background.
    """

    wanted: Wanted
    defaults: Defaults
    codes: Codes
    problems: Problems
    sorted: bool = False  # rows will be sorted afterwards: their order in the file is not checked
    batch_rows: int = BATCH_ROWS
    pool: ThreadPoolExecutor = field(default_factory=decoders)


@contextmanager
def reading(path: str, kind: str) -> Iterator[None]:
    """Turn the errors of Arrow and of the operating system into `SourceError`."""
    import pyarrow as pa

    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}") from None
    except pa.ArrowNotImplementedError as error:
        raise SourceError(f"{path} uses a feature of {kind} that cannot be read: {_first_line(error)}") from None
    except (pa.ArrowException, ValueError, KeyError, IndexError) as error:
        raise SourceError(f"{path} is not a readable {kind} file: {_first_line(error)}",
                          "it may be damaged or cut short") from None  # fmt: skip
    except OSError as error:
        if error.errno is None:
            raise SourceError(f"{path} is not a readable {kind} file: {_first_line(error)}",
                              "it may be damaged or cut short") from None  # fmt: skip
        raise SourceError(f"cannot read {path}: {os_reason(error)}") from None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class Columnar:
    """Base of the readers: rows of record batches, checked for order and cut to the wanted range of time."""

    kind = ""

    def __init__(self, path: str, job: Job, constants: Mapping[str, str | None] = NO_CONSTANTS) -> None:
        self.path = path
        self.job, self.problems = job, job.problems
        self.constants = constants
        self.size = os.path.getsize(path)
        self.total_rows: int | None = None
        self.rows_read = 0  # rows of the file that were read or skipped
        self.last: int | None = None  # the latest time so far
        with reading(path, self.kind):
            self.schema = self.open()
            self.plan = layout(self.schema, path, job.defaults, job.wanted, constants)

    @property
    def position(self) -> int:
        """About how many bytes of the file have been used."""
        if not self.total_rows:
            return self.size if self.total_rows == 0 else 0
        return self.size * self.rows_read // self.total_rows

    def open(self) -> Any:
        """Open the file and return its pyarrow schema."""
        raise NotImplementedError

    def batches(self) -> Iterator[tuple[Any, int]]:
        """The record batches with the columns of the plan, and where in the file each begins."""
        raise NotImplementedError

    def floor(self) -> int:
        """See `inputs.Reader`; what the first rows say."""
        with reading(self.path, self.kind):
            for batch in self.times():
                times = in_nanoseconds(batch.column("time"), self.path).drop_null()
                if len(times):
                    return int(borrowed(times, np.dtype(np.int64))[0])
        return NEVER

    def times(self) -> Iterator[Any]:
        """Record batches from the beginning of the file, with the times at least."""
        raise NotImplementedError

    def _timed(self, table: Any) -> Any:
        """A table or record batch with its times in ns: readers do that in the background."""
        at = table.schema.get_field_index("time")
        return table.set_column(at, "time", in_nanoseconds(table.column(at), self.path))

    def __iter__(self) -> Iterator[Rows]:
        job = self.job
        decoder = Decoder(self.path, self.plan, job.defaults, job.codes, job.problems)
        batches = self.batches()
        while True:
            with reading(self.path, self.kind):
                batch, first = next(batches, (None, 0))
                if batch is None:
                    return
                rows = decoder.rows(batch, first)
            self.rows_read = first + batch.num_rows
            if not job.sorted:
                rows, found = until(rows, job.wanted.stop), rows
                self.last = check_order(rows, self.last, self.path, first)
            yield from pieces(cut(rows, job.wanted, job.sorted), job.batch_rows)
            if not job.sorted and len(rows) < len(found):
                self.rows_read = self.total_rows or self.rows_read
                return


def until(rows: Rows, stop: int | None) -> Rows:
    """The rows before the first one that is not before `stop` (ns): nothing behind it is read of a file in order."""
    if stop is None:
        return rows
    beyond = rows.time >= stop
    return rows.take(slice(0, int(np.argmax(beyond)))) if beyond.any() else rows


def check_order(rows: Rows, latest: int | None, path: str, first: int) -> int | None:
    """The last time of `rows`, which begin at row `first` of the file; SourceError where one is before its predecessor.

    latest: the last time before these rows.
    """
    time = rows.time
    if not len(time):
        return latest
    back = time[1:] < time[:-1]
    row = int(np.argmax(back)) + 1 if back.any() else 0
    if row or (latest is not None and time[0] < latest):
        row += first
        raise SourceError(f"{path} is not in time order: row {row} is earlier than the row before it", "add --sort")
    return int(time[-1])


def cut(rows: Rows, wanted: Wanted, unsorted: bool) -> Rows:
    """The rows within the wanted range of time and of the wanted measurements."""
    start, stop = wanted.start, wanted.stop
    if start is not None or stop is not None:
        if unsorted:
            inside = np.ones(len(rows), np.bool_)
            if start is not None:
                inside &= rows.time >= start
            if stop is not None:
                inside &= rows.time < stop
            rows = rows.take(inside)
        else:
            a = 0 if start is None else int(np.searchsorted(rows.time, start, "left"))
            b = len(rows) if stop is None else int(np.searchsorted(rows.time, stop, "left"))
            if b - a < len(rows):
                rows = rows.take(slice(a, b))
    if wanted.measurements is None:
        return rows
    known = rows.name.vocabulary.strings
    use = np.array([wanted.measurement(name) for name in known] or [False])
    if use.all():
        return rows
    inside = use[rows.name.codes]
    return rows if inside.all() else rows.take(inside)


class Parquet(Columnar):
    """A Parquet file. Only the columns of the plan are decoded, and only row groups that may hold wanted rows."""

    kind = "Parquet"

    def open(self) -> Any:
        import pyarrow.parquet as pq

        _check_magic(self.path, self.size)
        self.entry: tuple[int, int | None] | None = None
        self.first_row = 0  # rows of groups before it are not given
        file = pq.ParquetFile(self.path)
        self.metadata = file.metadata
        self.total_rows = file.metadata.num_rows
        schema = file.schema_arrow
        file.close()
        return schema

    def floor(self) -> int:
        for group, _, _ in self.groups()[:1]:
            low, _ = self._times(self.metadata.row_group(group).column(self._at["time"]).statistics)
            return NEVER if low is None else low
        return NEVER

    def begin(self, entry: Sequence[Any]) -> None:
        """Give the rows from an entry on: the first row of a row group, and the latest time before it."""
        self.first_row, self.last = entry

    def batches(self) -> Iterator[tuple[Any, int]]:
        columns = self.plan.columns()
        groups = self.groups()
        conjuncts = self._selective(groups)
        starts = {first for _, first, _ in groups}
        groups = [g for g in groups if g[1] >= self.first_row]
        for batch, first in self._decoded(groups, columns, conjuncts):
            if first in starts:
                self.entry = (first, self.last)
            yield batch, first

    def _decoded(
        self, groups: list[RowGroup], columns: list[str], conjuncts: list[Conjunct]
    ) -> Iterator[tuple[Any, int]]:
        if conjuncts:
            yield from self._filtered(groups, columns, conjuncts)
        elif len(groups) > 1 and max(rows for _, _, rows in groups) * 8 * len(columns) <= GROUP_BYTES:
            tasks = [partial(self._read_group, g, columns) for g, _, _ in groups]
            for (_, first, _), table in zip(groups, ahead(tasks, self.job.pool)):
                yield from _whole(table, first)
        else:
            yield from self._piecewise(groups, columns)

    def _file(self) -> Any:
        """A reader of its own: Arrow's is not made for several threads."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path, metadata=self.metadata, read_dictionary=self._repetitive)

    @cached_property
    def _at(self) -> dict[str, int]:
        """The place of each column in the metadata."""
        return {self.metadata.schema.column(i).path: i for i in range(self.metadata.num_columns)}

    @cached_property
    def _repetitive(self) -> list[str]:
        """The columns of text that repeat few strings; Arrow is slow to make a dictionary where the file has none."""
        texts = [c for c in self.plan.columns() if is_text(self.schema.field(c).type)]
        groups = [self.metadata.row_group(g) for g in range(self.metadata.num_row_groups)]

        def repeats(column: str) -> bool:
            chunks = [group.column(self._at[column]) for group in groups]
            return sum(c.total_uncompressed_size for c in chunks) <= CODE_BYTES * sum(c.num_values for c in chunks)

        return [c for c in texts if repeats(c)]

    def _read_group(self, group: int, columns: list[str]) -> Any:
        with self._file() as file:
            return self._timed(file.read_row_group(group, columns=columns, use_threads=False))

    def _selective(self, groups: list[RowGroup]) -> list[Conjunct]:
        """The filters that are worth decoding their columns first: all of them, where one lets few rows pass."""
        conjuncts = usable(self.job.wanted.predicate, self.schema)
        for g, _, _ in groups[:1]:
            found = [self.metadata.row_group(g).column(self._at[c[0]]).statistics for c in conjuncts]
            if any(selective(c, s) for c, s in zip(conjuncts, found)):
                return conjuncts
        return []

    def _filtered(
        self, groups: list[RowGroup], columns: list[str], conjuncts: list[Conjunct]
    ) -> Iterator[tuple[Any, int]]:
        tasks = [partial(read_rows, self.path, first, rows, columns, conjuncts) for _, first, rows in groups]
        for (_, first, _), table in zip(groups, ahead(tasks, self.job.pool)):
            yield from _whole(table, first)

    def _piecewise(self, groups: list[RowGroup], columns: list[str]) -> Iterator[tuple[Any, int]]:
        threads = cores() > 2  # of two, one decodes and one computes
        with self._file() as file:
            for group, first, _ in groups:
                batches = file.iter_batches(PIECE_ROWS, [group], columns, use_threads=threads)
                for batch in one_ahead(map(self._timed, batches), self.job.pool):
                    yield batch, first
                    first += batch.num_rows

    def spans(self) -> list[tuple[int | None, int | None, int]]:
        """(earliest time, latest time, rows) of the row groups that may hold wanted rows; None where it is not told."""
        found = [(g, rows) for g, _, rows in self.groups()]
        return [(*self._times(self.metadata.row_group(g).column(self._at["time"]).statistics), n) for g, n in found]

    def groups(self) -> list[RowGroup]:
        """(number, first row, rows) of the row groups that may hold wanted rows, by their statistics."""
        kept, first = [], 0
        for g in range(self.metadata.num_row_groups):
            group = self.metadata.row_group(g)
            if group.num_rows and self._may_match(group):
                kept.append((g, first, group.num_rows))
            first += group.num_rows
        return kept

    def _may_match(self, group: Any) -> bool:
        wanted = self.job.wanted
        if wanted.start is not None or wanted.stop is not None:
            low, high = self._times(group.column(self._at["time"]).statistics)
            if low is not None and wanted.stop is not None and low >= wanted.stop:
                return False
            if high is not None and wanted.start is not None and high < wanted.start:
                return False
        return all(
            _possible(group.column(self._at[column]).statistics, operator, literal)
            for column, operator, literal in wanted.predicate
            if column in self._at and column in self.schema.names
        )

    def _times(self, statistics: Any) -> tuple[int | None, int | None]:
        """The earliest and the latest time of a row group in ns; None where its statistics do not tell."""
        import pyarrow as pa

        if statistics is None or not statistics.has_min_max or statistics.physical_type != "INT64":
            return None, None
        stored = self.schema.field("time").type
        unit = UNIT[stored.unit] if pa.types.is_timestamp(stored) else 1
        return int(statistics.min_raw) * unit, int(statistics.max_raw) * unit


def _whole(table: Any, first: int) -> Iterator[tuple[Any, int]]:
    for batch in table.combine_chunks().to_batches():
        yield batch, first
        first += batch.num_rows


def _check_magic(path: str, size: int) -> None:
    if size == 0:
        raise SourceError(f"{path} is empty")
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    if head not in (b"PAR1", b"PARE"):
        raise SourceError(f"{path} is not a Parquet file: it does not begin with PAR1")
    if tail not in (b"PAR1", b"PARE") or size < 12:
        raise SourceError(f"{path} is cut short: a Parquet file ends with PAR1", "copy or write the file again")


def _possible(statistics: Any, operator: str, literal: Any) -> bool:
    """Whether a row group of those statistics can hold a value of which `value operator literal` is true."""
    if statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (low, high, literal))
    if not numbers and not (type(low) is type(high) is type(literal) and isinstance(literal, (str, bool))):
        return True
    match operator:
        case "==":
            return bool(low <= literal <= high)
        case "<":
            return bool(low < literal)
        case "<=":
            return bool(low <= literal)
        case ">":
            return bool(high > literal)
        case ">=":
            return bool(high >= literal)
    return isinstance(low, float) or not low == high == literal  # statistics leave NaN out, and NaN != anything


def ahead(tasks: Sequence[Callable[[], Any]], pool: ThreadPoolExecutor) -> Iterator[Any]:
    """The results of the tasks in order; the next two are computed in background threads meanwhile."""
    waiting: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        _drop(waiting)


def one_ahead(items: Iterator[Any], pool: ThreadPoolExecutor) -> Iterator[Any]:
    """The same items; the next one is made in a background thread while the last is being used."""
    end = object()
    coming = pool.submit(next, items, end)
    try:
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item
    finally:
        _drop([coming])


def _drop(futures: Collection[Future[Any]]) -> None:
    """Nobody wants the results; what is being computed is waited for."""
    wait([future for future in futures if not future.cancel()])


class Ipc(Columnar):
    """An Arrow IPC file (Feather version 2) or stream."""

    kind = "Arrow IPC"

    def open(self) -> Any:
        import pyarrow as pa

        if self.size == 0:
            raise SourceError(f"{self.path} is empty")
        with open(self.path, "rb") as file:
            head = file.read(6)
        if head[:4] == b"FEA1":
            raise SourceError(f"{self.path} is in version 1 of the Feather format", "write it anew with version 2")
        self.random_access = head == b"ARROW1"
        with pa.OSFile(self.path) as source:
            return self._reader(source, None).schema

    def _reader(self, source: Any, columns: list[str] | None) -> Any:
        import pyarrow as pa

        options = pa.ipc.IpcReadOptions()
        if columns is not None:
            options.included_fields = sorted(self.schema.get_field_index(c) for c in columns)
        make = pa.ipc.open_file if self.random_access else pa.ipc.open_stream
        return make(source, options=options)

    def _read(self, source: Any, columns: list[str]) -> Iterator[Any]:
        reader = self._reader(source, columns)
        if self.random_access:
            return (reader.get_batch(i) for i in range(reader.num_record_batches))
        return iter(reader)

    def times(self) -> Iterator[Any]:
        import pyarrow as pa

        with pa.memory_map(self.path) as source:
            yield from self._read(source, ["time"])

    def batches(self) -> Iterator[tuple[Any, int]]:
        import pyarrow as pa

        first = 0
        with pa.OSFile(self.path) as source:
            for batch in one_ahead(map(self._timed, self._read(source, self.plan.columns())), self.job.pool):
                for start in range(0, batch.num_rows, PIECE_ROWS):
                    yield batch.slice(start, PIECE_ROWS), first + start
                first += batch.num_rows
                self.used = source.tell()

    @property
    def position(self) -> int:
        return int(getattr(self, "used", 0))


class Csv(Columnar):
    """A CSV file with a header. A column has the narrowest type that holds all its values; an empty value is absent.

    Types are found by reading the file once before, because an integer column may become a float one on the last line.
    """

    kind = "CSV"

    def open(self) -> Any:
        import pyarrow as pa

        if self.size == 0:
            raise SourceError(f"{self.path} is empty")
        self.types: dict[str, Any] = {}
        while True:
            try:
                reader = self._reader(None)
                for _ in reader:
                    pass
                return pa.schema([pa.field(f.name, self.types.get(f.name, f.type)) for f in reader.schema])
            except pa.ArrowInvalid as error:
                if not self._widen(str(error), reader.schema):
                    raise

    def _reader(self, columns: list[str] | None) -> Any:
        from pyarrow import csv

        convert = csv.ConvertOptions(column_types=self.types, strings_can_be_null=True, include_columns=columns or [])
        return csv.open_csv(self.path, csv.ReadOptions(block_size=CSV_BLOCK), convert_options=convert)

    def _widen(self, message: str, schema: Any) -> bool:
        """Give the column that `message` is about a type that holds more; False where that is not the trouble."""
        import re

        import pyarrow as pa

        found = re.search(r"In CSV column #(\d+): CSV conversion error to (\w+)", message)
        if not found:
            return False
        name = schema.names[int(found[1])]
        before = self.types.get(name, schema.field(name).type)
        if before == pa.string():
            return False
        wider = {pa.null(): pa.int64(), pa.int64(): pa.float64()}
        self.types[name] = wider.get(before, pa.string()) if name != "time" else pa.string()
        return True

    def times(self) -> Iterator[Any]:
        return iter(self._reader(["time"]))

    def batches(self) -> Iterator[tuple[Any, int]]:
        first = 0
        self.types = {f.name: f.type for f in self.schema}
        for batch in one_ahead(map(self._timed, self._reader(self.plan.columns())), self.job.pool):
            yield batch, first
            first += batch.num_rows
            self.used = min(self.size, self.position + batch.nbytes)

    @property
    def position(self) -> int:
        return int(getattr(self, "used", 0))
