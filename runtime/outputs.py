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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import os_reason

if TYPE_CHECKING:
    import pyarrow as pa

    from tickc.runtime.backfill import SinkCount

MARK = "_tickc.json"
MAX_NAME = 120  # bytes of a file name that comes from a script
NOT_EMPTY = "give another folder, or add --overwrite to replace what a run wrote there before"
ROW_GROUP = 65_536  # rows that are collected before they are written
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


class OutputError(Exception):
    """The output cannot be written. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message}\n  = hint: {hint}")
        self.message = message
        self.hint = hint


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
    """OutputError for what the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {os_reason(error)}") from None


# ------------------------------------------------------------------------------------------------- rows as columns


class Frame:
    """The columns of one sink, which grow as new tags, fields and kinds of values appear.

    A field has a column of its name for the kind that it has first; values of other kinds go to `NAME.KIND`. The
    schema's metadata says which columns are tags and which hold a kind of a field, so that sources read them back.
    """

    def __init__(self, measurement: bool) -> None:
        self.measurement = measurement
        self.tags: dict[str, None] = {}
        self.fields: dict[tuple[str, Kind], str] = {}
        self.names = {"time", "measurement"} if measurement else {"time"}

    def batch(self, rows: Rows) -> pa.RecordBatch:
        """The rows as a record batch of the columns known so far."""
        import pyarrow as pa

        self._learn(rows)
        n = len(rows)
        arrays = [pa.array(rows.time, pa.timestamp("ns", tz="UTC"))]
        if self.measurement:
            arrays.append(_dictionary(rows.name))
        arrays.extend(_dictionary(rows.tags[t]) if t in rows.tags else pa.nulls(n, tag_type()) for t in self.tags)
        for (name, kind), _ in self.fields.items():
            arrays.append(_values(rows.fields[name], kind) if name in rows.fields else pa.nulls(n, TYPES[kind]()))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema())

    def schema(self) -> pa.Schema:
        """The columns known so far: time, tags, fields."""
        import pyarrow as pa

        columns = [pa.field("time", pa.timestamp("ns", tz="UTC"))]
        columns += [pa.field("measurement", tag_type())] if self.measurement else []
        columns += [pa.field(tag, tag_type()) for tag in self.tags]
        columns += [pa.field(column, TYPES[kind]()) for (_, kind), column in self.fields.items()]
        kinds = {column: (name, kind.name.lower()) for (name, kind), column in self.fields.items()
                 if column != name or kind is Kind.DURATION}  # fmt: skip
        return pa.schema(columns, {"tickc": json.dumps({"tags": list(self.tags), "fields": kinds})})

    def _learn(self, rows: Rows) -> None:
        for tag, text in rows.tags.items():
            if tag not in self.tags and tag not in self.names and (text.codes >= 0).any():
                self.tags[tag] = None
                self.names.add(tag)
        for name, column in rows.fields.items():
            for kind in _kinds(column):
                if (name, kind) not in self.fields:
                    self.fields[name, kind] = self._column(name, kind)

    def _column(self, name: str, kind: Kind) -> str:
        column = name
        while column in self.names:
            column = f"{column}.{kind.name.lower()}"
        self.names.add(column)
        return column


def _kinds(column: Column) -> list[Kind]:
    """The kinds of values that a table has columns for."""
    found = [column.kinds] if isinstance(column.kinds, Kind) else map(Kind, np.unique(column.kinds).tolist())
    return [kind for kind in found if kind in TYPES]


def tag_type() -> pa.DataType:
    """The type of tags."""
    import pyarrow as pa

    return pa.dictionary(pa.int32(), pa.string())


def _type(name: str) -> Callable[[], pa.DataType]:
    def make() -> pa.DataType:
        import pyarrow as pa

        return getattr(pa, name)()

    return make


TYPES: dict[Kind, Callable[[], Any]] = {
    Kind.FLOAT: _type("float64"),
    Kind.INT: _type("int64"),
    Kind.STRING: _type("string"),
    Kind.BOOL: _type("bool_"),
    Kind.DURATION: _type("int64"),
}


def _dictionary(text: Text) -> pa.DictionaryArray:
    """Strings with a dictionary of those that occur."""
    import pyarrow as pa

    used = text.used()
    table = np.full(len(text.vocabulary) + 1, -1, np.int32)
    table[used] = np.arange(len(used), dtype=np.int32)
    codes = table[text.codes]
    strings = pa.array([_encodable(text.vocabulary.strings[c]) for c in used.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=codes < 0), strings)


def _encodable(text: str) -> str:
    """Arrow's strings are UTF-8; a byte that is none becomes U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _values(column: Column, kind: Kind) -> pa.Array:
    """The values of one kind, null where the row has none of it."""
    import pyarrow as pa

    if kind not in column.data:
        return pa.nulls(column.n, TYPES[kind]())
    data = column.data[kind]
    missing = None if column.kinds is kind else ~column.is_kind(kind)
    if kind is Kind.STRING:
        codes = data.codes if missing is None else np.where(missing, -1, data.codes)
        return _dictionary(Text(codes, data.vocabulary)).dictionary_decode()
    return pa.array(data, TYPES[kind](), mask=missing)


# ------------------------------------------------------------------------------------------------------ the tables


class Tables:
    """Collects the sinks of a run in memory."""

    def __init__(self) -> None:
        self.parts: list[tuple[SinkCount, _Part]] = []

    def open(self, count: SinkCount) -> _Part:
        part = _Part(Frame(count.kind == "influxDBOut"))
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


def widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with all columns of a schema that holds its own; null where it has none."""
    import pyarrow as pa

    if batch.schema.names == schema.names:
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    at = {name: i for i, name in enumerate(batch.schema.names)}
    arrays = [batch.column(at[f.name]) if f.name in at else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


# ------------------------------------------------------------------------------------------------------ the folder


class Folder:
    """Writes the sinks of a run as data sets to a folder; see the module's docstring for its layout."""

    def __init__(self, output: str | os.PathLike[str], form: str = "parquet", overwrite: bool = False) -> None:
        if form not in FORMS:
            raise OutputError(f"there is no format {form}", f"there are {', '.join(FORMS)}")
        self.form = form
        self.staging = Staging(output, overwrite)
        self.taken = {MARK}
        self.open_files: list[_Writer] = []

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: Any) -> None:
        for file in self.open_files:
            with contextlib.suppress(Exception):
                file.abandon()
        self.staging.__exit__(*error)

    def open(self, count: SinkCount) -> _Both:
        """The writer of a sink; its place is noted in `count`."""
        name = safe_name(count.name, self.taken)
        where = self.staging.path / name
        writers: list[_Writer] = []
        if count.kind == "alert":
            writers.append(_Events(where.with_name(f"{name}.jsonl")))
        if self.form == "jsonl" and count.kind != "alert":
            writers.append(_JsonLines(where.with_name(f"{name}.jsonl"), count.kind == "influxDBOut"))
        elif self.form == "lp" and count.kind != "alert":
            writers.append(_Lines(where.with_name(f"{name}.lp")))
        elif self.form != "jsonl":
            ending = "arrow" if self.form == "arrow" else "parquet"
            writers.append(_DataSet(where, ending, count.kind == "influxDBOut"))
        count.file = writers[-1].path.name
        self.open_files.extend(writers)
        return _Both(writers, self.staging.given)

    def close(self) -> None:
        """Finish all files."""
        with _telling(self.staging.given):
            for file in self.open_files:
                file.close()
            self.open_files = []

    def commit(self, summary: dict[str, Any]) -> None:
        """Move everything into place, with the summary."""
        with _telling(self.staging.given):
            text = json.dumps(summary, indent=2, ensure_ascii=True) + "\n"
            (self.staging.path / MARK).write_text(text, encoding="utf-8")
        self.staging.commit()


class _Both:
    """Sends rows to all writers of a sink."""

    def __init__(self, writers: list[_Writer], given: str) -> None:
        self.writers = writers
        self.given = given

    def write(self, rows: Rows, payload: Any) -> None:
        with _telling(self.given):
            for writer in self.writers:
                writer.write(rows, payload)


class _Writer:
    """One file or data set that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, rows: Rows, payload: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def abandon(self) -> None:
        """Let go of the file; it will be removed."""
        self.close()


class _TextFile(_Writer):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file: TextIO = open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n")  # noqa: SIM115

    def put(self, lines: Iterator[str] | list[str]) -> None:
        self.file.writelines(f"{line}\n" for line in lines)

    def close(self) -> None:
        self.file.close()


class _Events(_TextFile):
    """Alert events as Kapacitor's JSON. One with a NaN or infinity has no such form; the table has it."""

    def write(self, rows: Rows, payload: Any) -> None:
        from tickc.runtime.results import json_events

        self.put(event for event in json_events(payload) if event is not None)


class _Lines(_TextFile):
    """Rows as line protocol."""

    def write(self, rows: Rows, payload: Any) -> None:
        from tickc.runtime.rowtext import lines

        self.put(lines(rows, getattr(payload, "unit", 1)))


class _JsonLines(_TextFile):
    """Rows as JSON objects: time, tags and fields of a row that it has; NaN and infinity as text."""

    def __init__(self, path: Path, measurement: bool) -> None:
        super().__init__(path)
        self.measurement = measurement

    def write(self, rows: Rows, payload: Any) -> None:
        from tickc.runtime.gotext import times_rfc3339nano

        columns: dict[str, list[Any]] = {"time": times_rfc3339nano(rows.time).to_pylist()}
        if self.measurement:
            columns["measurement"] = rows.name.tolist()
        columns |= {k: v.tolist() for k, v in rows.tags.items()}
        columns |= {k: [v.at(i) for i in range(len(rows))] for k, v in rows.fields.items()}
        for values in zip(*columns.values()):
            found = {k: _jsonable(v) for k, v in zip(columns, values) if v is not None}
            self.file.write(json.dumps(found, ensure_ascii=False) + "\n")


def _jsonable(value: Any) -> Any:
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)


class _DataSet(_Writer):
    """A folder of Parquet or Arrow files with the same columns.

    A new part begins where new columns appear; in the end the earlier parts are written anew with all columns.
    """

    def __init__(self, path: Path, ending: str, measurement: bool) -> None:
        super().__init__(path)
        self.ending = ending
        self.frame = Frame(measurement)
        self.waiting: list[Any] = []
        self.waiting_rows = 0
        self.parts: list[tuple[Path, Any]] = []  # files and their schemas
        self.writer: Any = None
        path.mkdir()

    def write(self, rows: Rows, payload: Any) -> None:
        if not len(rows):
            return
        self.waiting.append(self.frame.batch(rows))
        self.waiting_rows += len(rows)
        if self.waiting_rows >= ROW_GROUP or len(self.waiting) >= ROW_GROUP // 64:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        schema = self._stored(self.frame.schema())
        if self.writer is None or self.parts[-1][1] != schema:
            self._begin(schema)
        batches = [widened(b, self.frame.schema()) for b in self.waiting]
        table = pa.Table.from_batches(batches, self.frame.schema()).unify_dictionaries().cast(schema)
        self.writer.write_table(table.combine_chunks())
        self.waiting, self.waiting_rows = [], 0

    def _stored(self, schema: pa.Schema) -> pa.Schema:
        """Files of Arrow cannot change a dictionary half way; there tags are plain strings."""
        import pyarrow as pa

        if self.ending == "parquet":
            return schema
        plain = [pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in schema]
        return pa.schema(plain, schema.metadata)

    def _begin(self, schema: pa.Schema) -> None:
        if self.writer is not None:
            self.writer.close()
        path = self.path / f"part-{len(self.parts):05}.{self.ending}"
        self.parts.append((path, schema))
        self.writer = self._open(path, schema)

    def _open(self, path: Path, schema: pa.Schema) -> Any:
        if self.ending == "parquet":
            import pyarrow.parquet as pq

            return pq.ParquetWriter(path, schema, compression="zstd")
        import pyarrow as pa

        return pa.ipc.new_file(path, schema)

    def close(self) -> None:
        """Write what is waiting, or an empty part where nothing came; then bring all parts to the same columns."""
        if self.waiting or not self.parts:
            self._flush()
        self.writer.close()
        self.writer = None
        final = self.parts[-1][1]
        for path, schema in self.parts[:-1]:
            if schema != final:
                self._rewrite(path, final)

    def _rewrite(self, path: Path, schema: pa.Schema) -> None:
        import pyarrow as pa

        wider = path.with_name(f".{path.name}")
        with self._open(wider, schema) as writer:
            for batch in self._batches(path):
                table = pa.Table.from_batches([widened(batch, _union(batch.schema, schema))])
                writer.write_table(table.cast(schema))
        os.replace(wider, path)

    def _batches(self, path: Path) -> Iterator[Any]:
        if self.ending == "parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(ROW_GROUP)
            return
        import pyarrow as pa

        with pa.ipc.open_file(path) as file:
            yield from (file.get_batch(i) for i in range(file.num_record_batches))

    def abandon(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _union(own: pa.Schema, schema: pa.Schema) -> pa.Schema:
    """The columns of `schema`, with the types that a batch has for those it has."""
    import pyarrow as pa

    return pa.schema([own.field(f.name) if f.name in own.names else f for f in schema], schema.metadata)
