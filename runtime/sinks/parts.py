"""Tables as data sets: files of a fixed number of rows, whatever batches bring the rows.

Rows are collected to row groups of ROW_GROUP, and PART of them to a file, so that the bytes of a data set hang on its
rows alone. While a run goes on a file is written in *pieces*: one ends with the file, where rows bring new columns, and
where the run wants to be able to go on from (`mark`). In the end a file of one piece is taken as it is; of others, and
of those that lack columns which came later, the row groups are written anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any

from tickc.runtime import snapshot
from tickc.runtime.batch import Rows
from tickc.runtime.sinks.columns import Frame, widened
from tickc.runtime.sinks.files import put, sync
from tickc.runtime.snapshot import freeze, thaw
from tickc.runtime.sources.columnar import is_text
from tickc.runtime.steps import Steps, in_turn

ROW_GROUP = 65_536
PART = 16 * ROW_GROUP  # rows of a file
FEW = 1024  # rows that make a file by themselves are written at once, and not compressed


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that is finished: its name, its rows, and its columns."""

    name: str
    rows: int
    columns: tuple[str, ...]


class DataSet:
    """Writes rows to pieces in `folder`, and `close` makes files `part-00000.FORM` of them."""

    def __init__(self, folder: str, form: str, frame: Frame, saved: Mapping[str, Any] | None = None) -> None:
        """form: parquet or arrow. frame: the columns, none so far. saved: the mark of another data set in the folder,
        from which this one goes on; what else is in the folder is removed."""
        self.folder, self.form, self.frame = folder, form, frame
        self.waiting: list[Rows] = []
        self.aside: list[tuple[str, int]] = []  # files of rows that wait and came before, and how many each holds
        self._asides = 0  # files that there have been
        self.pieces: list[Piece] = []
        self._writer: Any = None
        self._open = Piece("", 0, ())
        if saved is not None:
            self.frame.restore(saved["frame"])
            self.pieces = [Piece(name, rows, tuple(columns)) for name, rows, columns in saved["pieces"]]
            self.waiting = list(saved["waiting"])
            self.aside = [(name, rows) for name, rows in saved["aside"]]
            self._asides = saved["asides"]
        known = {*(p.name for p in self.pieces), *(name for name, _ in self.aside)}
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name not in known:
                os.unlink(self._path(name))

    # -- rows

    def write(self, rows: Rows) -> None:
        """Append rows."""
        if not len(rows):
            return
        self.waiting.append(rows)
        while len(self.waiting) > 1 and 2 * len(self.waiting[-1]) > len(self.waiting[-2]):
            self.waiting[-2:] = [Rows.concat(self.waiting[-2:])]
        if sum(map(len, self.waiting)) + sum(rows for _, rows in self.aside) >= ROW_GROUP:
            self._flush()

    @property
    def held(self) -> int:
        """About how many bytes of memory the rows take that wait."""
        return sum(rows.nbytes for rows in self.waiting)

    def set_aside(self) -> None:
        """Have the rows that wait do so in a file."""
        os.makedirs(self.folder, exist_ok=True)
        name = f"aside-{self._asides:05}.arrow"
        self._asides += 1  # a checkpoint may need the file of any that was before
        with open(self._path(name), "wb") as file:
            snapshot.write(freeze(self.waiting), file)
        self.aside.append((name, sum(map(len, self.waiting))))
        self.waiting = []

    def _waiting(self) -> list[Rows]:
        """The rows that wait, also those in files, which are not needed any more then."""
        found = [rows for name, _ in self.aside for rows in thaw(snapshot.read(self._path(name)))]
        found += self.waiting
        self.aside, self.waiting = [], []
        return found

    def _flush(self) -> None:
        """Write all whole row groups."""
        rows = Rows.concat(self._waiting())
        start = 0
        while len(rows) - start >= ROW_GROUP:
            self._write_group(rows.take(slice(start, start + ROW_GROUP)))
            start += ROW_GROUP
        self.waiting = [rows.take(slice(start, None))] if start < len(rows) else []

    def _write_group(self, rows: Rows) -> None:
        batch = self.frame.batch(rows)
        columns = tuple(batch.schema.names)
        if self._writer is not None and columns != self._open.columns:
            self._finish()
        if self._writer is None:
            os.makedirs(self.folder, exist_ok=True)
            self._open = Piece(f"{len(self.pieces):05}.{self.form}", 0, columns)
            self._writer = _writer(self._path(self._open.name), self.form, batch.schema, _differing(batch))
        _write(self._writer, self.form, batch)
        self._open = Piece(self._open.name, self._open.rows + len(rows), columns)
        if (sum(p.rows for p in self.pieces) + self._open.rows) % PART == 0:
            self._finish()

    def _finish(self, durable: bool = True) -> None:
        """End the open piece, and make it last where `durable`."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self.pieces.append(self._open)
            if durable:
                sync(self._path(self._open.name))

    # -- marks

    def mark(self, durable: bool = True) -> dict[str, Any]:
        """End the open piece; what another data set goes on from."""
        self._finish(durable)
        pieces = [[p.name, p.rows, list(p.columns)] for p in self.pieces]
        aside = [[name, rows] for name, rows in self.aside]
        waiting = {"waiting": list(self.waiting), "aside": aside, "asides": self._asides}
        return {"pieces": pieces, "frame": self.frame.snapshot(), **waiting}

    # -- the end

    def close(self, target: str, durable: bool = True) -> None:
        """Write the files to the folder `target`, which is there; they last where `durable`. The pieces stay."""
        in_turn(self.closing(target, durable))

    def closing(self, target: str, durable: bool) -> Steps:
        """`close` in steps."""
        waiting = self._waiting()
        rest = Rows.concat(waiting) if waiting else None
        if rest is not None and (self._writer is not None or self.pieces):
            self._write_group(rest)
            rest = None
        self._finish(durable)
        if not self.pieces:
            path = os.path.join(target, f"part-00000.{self.form}")
            if rest is not None and len(rest) > FEW:
                batch = self.frame.batch(rest)
                self._write_anew([batch], path, batch.schema)
            elif rest is not None:
                batch = self.frame.batch(rest)
                put(path, (yield partial(_bytes, self.form, batch.schema, batch))())
            else:
                schema = self.frame.schema()
                put(path, _nothing(self.form, schema, str(schema.metadata)))
            if durable:
                sync(path)
            return
        schema = self.frame.schema()
        for number, pieces in enumerate(self._parts()):
            path = os.path.join(target, f"part-{number:05}.{self.form}")
            if len(pieces) == 1 and pieces[0].columns == tuple(schema.names):
                os.link(self._path(pieces[0].name), path)
            else:
                groups = (b for piece in pieces for b in _read(self._path(piece.name), self.form))
                self._write_anew((_as(batch, schema) for batch in groups), path, schema)
                if durable:
                    sync(path)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _parts(self) -> list[list[Piece]]:
        """The pieces by the files that they make."""
        parts: list[list[Piece]] = []
        before = 0
        for piece in self.pieces:
            if before % PART == 0:
                parts.append([])
            parts[-1].append(piece)
            before += piece.rows
        return parts

    def _write_anew(self, groups: Iterable[Any], path: str, schema: Any) -> None:
        groups = iter(groups)
        first = next(groups)
        with contextlib.closing(_writer(path, self.form, schema, _differing(first))) as writer:
            for batch in chain([first], groups):
                _write(writer, self.form, batch)

    def abort(self) -> None:
        """Let go of the open file."""
        if self._writer is not None:
            with contextlib.suppress(Exception):  # the disk may be full; the file is removed in any case
                self._writer.close()
            self._writer = None


def _bytes(form: str, schema: Any, batch: Any = None) -> bytes:
    """A file of at most one record batch, which is not compressed."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with contextlib.closing(_writer(sink, form, schema, compression="none")) as writer:
        if batch is not None:
            _write(writer, form, batch)
    return sink.getvalue().to_pybytes()


@lru_cache(64)  # many tasks have the same columns, and nothing in them
def _nothing(form: str, schema: Any, metadata: str) -> bytes:
    """A file without rows. metadata: of the schema, which is left out where schemas are compared."""
    return _bytes(form, schema)


def _differing(batch: Any) -> set[str]:
    """The tags of which most rows have a value of their own, for which a dictionary would be no gain."""
    import pyarrow as pa

    columns = zip(batch.schema.names, batch.columns)
    return {k for k, c in columns if pa.types.is_dictionary(c.type) and 2 * len(c.dictionary) > len(c)}


def _writer(sink: Any, form: str, schema: Any, differing: Collection[str] = (), compression: str = "zstd") -> Any:
    """Writes tables to a path, or a stream of Arrow. differing: columns of text that get no dictionary."""
    if form == "parquet":
        import pyarrow.parquet as pq

        texts = [f.name for f in schema if is_text(f.type) and f.name not in differing]
        times = {"time": "DELTA_BINARY_PACKED"}
        return pq.ParquetWriter(sink, schema, compression=compression, use_dictionary=texts, column_encoding=times)
    import pyarrow as pa

    return pa.ipc.new_file(sink, _stored(schema))


def _stored(schema: Any) -> Any:
    """An Arrow file cannot change a dictionary half way; there tags are plain strings."""
    import pyarrow as pa

    plain = [pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in schema]
    return pa.schema(plain, schema.metadata)


def _write(writer: Any, form: str, batch: Any) -> None:
    """Write one row group."""
    import pyarrow as pa

    table = pa.Table.from_batches([batch])
    if form == "parquet":
        writer.write_table(table, row_group_size=ROW_GROUP)
    else:
        writer.write_table(table.cast(_stored(batch.schema)))


def _read(path: str, form: str) -> Iterator[Any]:
    """The row groups of a piece as record batches."""
    if form == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group).combine_chunks().to_batches()
        return
    import pyarrow as pa

    with pa.ipc.open_file(path) as file:
        yield from (file.get_batch(i) for i in range(file.num_record_batches))


def _as(batch: Any, schema: Any) -> Any:
    """A record batch of a piece with all columns of `schema`, of its types."""
    import pyarrow as pa

    own = batch.schema
    fields = [own.field(f.name) if f.name in own.names else f for f in schema]
    whole = widened(batch, pa.schema(fields, schema.metadata))
    return pa.Table.from_batches([whole]).cast(schema).combine_chunks().to_batches()[0]
