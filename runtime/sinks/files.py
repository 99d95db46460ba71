"""Sinks: one file each, whole or not at all.

The columns of Parquet and Arrow files are those of `columns.Frame`: `time`, tags as dictionaries, and a column for each
field and kind of value. When later rows bring new columns, the rows so far stay in a part of their own, and closing the
sink writes all parts anew with the columns of the last.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tickc.runtime.batch import Rows
from tickc.runtime.rowtext import lines
from tickc.runtime.sinks.columns import Frame, OutputError, widened
from tickc.runtime.sources.base import os_reason

ROW_GROUP = 65_536  # rows that are collected before they are written
MANY = 1024  # small batches that are collected at most
FORMS = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".jsonl": "jsonl", ".lp": "lp"}


class SinkError(OutputError):
    """A file that cannot be written. `message` stands alone; `hint` says what to do, or is empty."""


@contextlib.contextmanager
def telling(path: str) -> Iterator[None]:
    """SinkError for what the operating system refuses: no room, no permission, no such folder."""
    import pyarrow as pa

    try:
        yield
    except SinkError:
        raise
    except OSError as error:
        raise SinkError(f"cannot write {path}: {os_reason(error)}") from None
    except pa.ArrowException as error:
        raise SinkError(f"cannot write {path}: {error}") from None


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write bytes to that gets its name only when the block ends well; gzip where the name ends in `.gz`.

    SinkError where it cannot be written. After any exception nothing is left, and a file of that name is as it was.
    """
    path = os.fspath(path)
    with telling(path), _temporary(Path(path)) as temporary:
        with open(temporary, "wb") as raw:
            if path.endswith(".gz"):
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            _sync(raw)
        os.replace(temporary, path)
        _sync_folder(path)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[str]:
    """The name of a new file in the same folder, which is removed in the end if it is still there."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())
    try:
        yield name
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    """Make the new name last; not every file system can."""
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def to_arrow(rows: Rows, measurement: bool = False) -> Any:
    """A pyarrow.RecordBatch: time (timestamp[ns, UTC]), measurement if asked for, tags (dictionary), fields.

    Columns of numbers share the memory of `rows` where no value is absent. A field of several kinds has a column for
    each; see `columns.Frame`.
    """
    return Frame(measurement).batch(rows)


class Sink:
    """A file that rows are written to. Use it in a `with` block, or end it with `close` or `abort`.

    Leaving the block by an exception (Ctrl-C too) aborts. SinkError where the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.rows_written = 0
        self._stack = contextlib.ExitStack()
        self._open = True
        try:
            with telling(self.path):
                self._begin()
        except BaseException:
            self._stack.close()
            raise

    def write(self, rows: Rows) -> None:
        """Append rows."""
        if not self._open:
            raise ValueError("the sink is closed")
        if not len(rows):
            return
        with telling(self.path):
            self._write(rows)
        self.rows_written += len(rows)

    def close(self) -> None:
        """Write what is pending and give the file its name. After an error nothing is left."""
        if not self._open:
            return
        self._open = False
        try:
            with telling(self.path):
                self._end()
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        self._stack.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._open:
            self._open = False
            with contextlib.suppress(_Abort, SinkError):
                self._stack.__exit__(_Abort, _Abort(), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _begin(self) -> None:
        raise NotImplementedError

    def _write(self, rows: Rows) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        """Write what is pending."""


class _Abort(Exception):
    """Tells the open files of a sink that they are not wanted."""


class _TextSink(Sink):
    def _begin(self) -> None:
        self.file = self._stack.enter_context(whole_file(self.path))

    def _put(self, texts: list[str]) -> None:
        if texts:
            self.file.write(("\n".join(texts) + "\n").encode("utf-8", "surrogateescape"))


class LineSink(_TextSink):
    """Line protocol with ns times, as Kapacitor writes it; NaN and infinities as `NaN`, `+Inf`, `-Inf`."""

    def _write(self, rows: Rows) -> None:
        self._put(lines(rows))


class JsonSink(_TextSink):
    """A JSON object a row: its time in RFC 3339, `measurement`, its tags and its fields; NaN and infinities as text."""

    def _write(self, rows: Rows) -> None:
        import json

        from tickc.runtime.gotext import times_rfc3339nano

        columns: dict[str, list[Any]] = {"time": times_rfc3339nano(rows.time).to_pylist()}
        columns["measurement"] = [name or None for name in rows.name.tolist()]
        columns |= {name: text.tolist() for name, text in rows.tags.items()}
        columns |= {name: [column.at(row) for row in range(len(rows))] for name, column in rows.fields.items()}
        self._put([
            json.dumps({k: _finite(v) for k, v in zip(columns, row) if v is not None}, ensure_ascii=False)
            for row in zip(*columns.values())
        ])  # fmt: skip


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class TableSink(Sink):
    """A Parquet or Arrow IPC file with the column `measurement`."""

    def __init__(self, path: str | os.PathLike[str], form: str = "parquet", measurement: bool = True) -> None:
        self.form = form
        self.frame = Frame(measurement)
        self.waiting: list[Any] = []
        self.waiting_rows = 0
        self.parts: list[tuple[str, Any]] = []  # files so far and their schemas
        self.writer: Any = None
        super().__init__(path)

    def _begin(self) -> None:
        target = Path(self.path)
        if not target.parent.is_dir():
            raise FileNotFoundError(2, f"no such folder: {target.parent}")
        folder = tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent, ignore_cleanup_errors=True)
        self.folder = self._stack.enter_context(folder)
        self._stack.callback(self._let_go)

    def _let_go(self) -> None:
        if self.writer is not None:
            with contextlib.suppress(Exception):  # its file goes away with the folder
                self.writer.close()

    def _write(self, rows: Rows) -> None:
        self.waiting.append(self.frame.batch(rows))
        self.waiting_rows += len(rows)
        if self.waiting_rows >= ROW_GROUP or len(self.waiting) >= MANY:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        known = self.frame.schema()
        schema = self._stored(known)
        if self.writer is None or self.parts[-1][1] != schema:
            self._next_part(schema)
        table = pa.Table.from_batches([widened(batch, known) for batch in self.waiting], known)
        self.writer.write_table(table.unify_dictionaries().cast(schema).combine_chunks())
        self.waiting, self.waiting_rows = [], 0

    def _stored(self, schema: Any) -> Any:
        """An Arrow file cannot change a dictionary half way; there tags are plain strings."""
        import pyarrow as pa

        if self.form == "parquet":
            return schema
        plain = [pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in schema]
        return pa.schema(plain, schema.metadata)

    def _next_part(self, schema: Any) -> None:
        if self.writer is not None:
            self.writer.close()
        path = os.path.join(self.folder, f"{len(self.parts)}")
        self.parts.append((path, schema))
        self.writer = self._writer(path, schema)

    def _writer(self, path: str, schema: Any) -> Any:
        if self.form == "parquet":
            import pyarrow.parquet as pq

            return pq.ParquetWriter(path, schema, compression="zstd")
        import pyarrow as pa

        return pa.ipc.new_file(path, schema)

    def _end(self) -> None:
        if self.waiting or not self.parts:
            self._flush()
        self.writer.close()
        self.writer = None
        finished, final = self.parts[-1]
        if len(self.parts) > 1:
            finished = os.path.join(self.folder, "all")
            with self._writer(finished, final) as writer:
                for path, _ in self.parts:
                    for batch in self._read(path):
                        writer.write_table(self._wider(batch, final))
        with open(finished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(finished, self.path)
        _sync_folder(self.path)

    def _read(self, path: str) -> Iterator[Any]:
        if self.form == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(ROW_GROUP)
            return
        import pyarrow as pa

        with pa.ipc.open_file(path) as file:
            yield from (file.get_batch(i) for i in range(file.num_record_batches))

    def _wider(self, batch: Any, schema: Any) -> Any:
        import pyarrow as pa

        own = batch.schema
        fields = [own.field(f.name) if f.name in own.names else f for f in schema]
        return pa.Table.from_batches([widened(batch, pa.schema(fields, schema.metadata))]).cast(schema)


def open_sink(path: str | os.PathLike[str], form: str | None = None) -> Sink:
    """A sink for a file, of the form that its name's ending tells (`.parquet`, `.arrow`, `.jsonl`, `.lp`, `.lp.gz`).

    form: parquet, arrow, jsonl or lp, against the ending.
    """
    name = os.fspath(path).removesuffix(".gz")
    form = form or FORMS.get(os.path.splitext(name)[1].lower())
    match form:
        case "parquet" | "arrow":
            return TableSink(path, form)
        case "jsonl":
            return JsonSink(path)
        case "lp":
            return LineSink(path)
    raise SinkError(f"the ending of {os.fspath(path)} does not tell a format", f"use one of {', '.join(FORMS)}")
