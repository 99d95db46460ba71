"""Rows as columns of Arrow: what the sinks and tables of a run have in common."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array, Column, Rows, Text, Vocabulary
from tickc.runtime.kinds import Kind
from tickc.runtime.vocabulary import MANY

if TYPE_CHECKING:
    import pyarrow as pa


FEW = 64  # rows whose values are given to Arrow one by one


class OutputError(Exception):
    """The output cannot be written. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message}\n  = hint: {hint}")
        self.message = message
        self.hint = hint


class Frame:
    """The columns of one sink, which grow as new tags, fields and kinds of values appear.

    Tags and fields are in the order of their names, so that the order does not hang on how rows come; the fields
    `first` come before others. A field has a column of its name for the kind that it has first; values of other kinds
    go to `NAME.KIND`. The schema's metadata says which columns are tags and which hold a kind of a field, so that
    sources read them back.
    """

    def __init__(self, measurement: bool, first: Sequence[str] = ()) -> None:
        self.measurement = measurement
        self.first = tuple(first)
        self.tags: dict[str, None] = {}
        self.fields: dict[tuple[str, Kind], str] = {}
        self.names = {"time", "measurement"} if measurement else {"time"}

    def batch(self, rows: Rows) -> pa.RecordBatch:
        """The rows as a record batch of the columns known so far."""
        import pyarrow as pa

        self.learn(rows)
        n = len(rows)
        if n <= FEW:
            with contextlib.suppress(UnicodeEncodeError):  # of strings that are no UTF-8
                return self._few(rows)
        arrays = [pa.array(rows.time, pa.timestamp("ns", tz="UTC"))]
        if self.measurement:
            arrays.append(_dictionary(rows.name))
        for tag in sorted(self.tags):
            arrays.append(_dictionary(rows.tags[tag]) if tag in rows.tags else pa.nulls(n, tag_type()))
        for name, kind in self._in_order():
            arrays.append(_values(rows.fields[name], kind) if name in rows.fields else pa.nulls(n, TYPES[kind]()))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema())

    def _few(self, rows: Rows) -> pa.RecordBatch:
        """`batch` of few rows: Arrow takes them at once, which is less work than column by column."""
        import pyarrow as pa

        absent, (schema, record) = [None] * len(rows), self._layout()
        columns = [rows.time.tolist(), *([rows.name.tolist()] if self.measurement else ())]
        columns += [rows.tags[tag].tolist() if tag in rows.tags else absent for tag in sorted(self.tags)]
        for name, kind in self._in_order():
            columns.append(_cells(rows.fields[name], kind) if name in rows.fields else absent)
        table = pa.array(list(zip(*columns)), record)
        return pa.RecordBatch.from_struct_array(table).replace_schema_metadata(schema.metadata)

    def schema(self) -> pa.Schema:
        """The columns known so far: time, tags, fields."""
        return self._layout()[0]

    def _layout(self) -> tuple[pa.Schema, pa.StructType]:
        """The schema, and the type of a row."""
        fields = tuple((name, kind, self.fields[name, kind]) for name, kind in self._in_order())
        return _layout(self.measurement, tuple(sorted(self.tags)), fields)

    def _in_order(self) -> list[tuple[str, Kind]]:
        """The fields as they stand in the schema; kinds of one field in the order in which they appeared."""
        places = {name: i for i, name in enumerate(self.first)}
        return sorted(self.fields, key=lambda f: (places.get(f[0], len(places)), f[0]))

    def learn(self, rows: Rows) -> None:
        """Take in the tags, fields and kinds that appear in rows. Names are given in the order of the rows."""
        found: list[tuple[int, int, str, Kind]] = []
        for tag, text in rows.tags.items():
            if tag not in self.tags and (there := text.codes >= 0).any():
                found.append((int(np.argmax(there)), 0, tag, Kind.STRING))
        for name, column in rows.fields.items():
            found += [(row, 1, name, kind) for kind, row in _kinds(column) if (name, kind) not in self.fields]
        for _, is_field, name, kind in sorted(found):
            if is_field:
                self.fields[name, kind] = self._column(name, kind)
            elif name not in self.names:
                self.tags[name] = None
                self.names.add(name)

    def _column(self, name: str, kind: Kind) -> str:
        column = name
        while column in self.names:
            column = f"{column}.{kind.name.lower()}"
        self.names.add(column)
        return column

    def snapshot(self) -> list[Any]:
        """The columns known so far."""
        return [list(self.tags), [[name, int(kind), column] for (name, kind), column in self.fields.items()]]

    def restore(self, saved: Sequence[Any]) -> None:
        """Take over a snapshot; for a fresh frame."""
        tags, fields = saved
        self.tags = dict.fromkeys(tags)
        self.fields = {(name, Kind(kind)): column for name, kind, column in fields}
        self.names |= {*self.tags, *self.fields.values()}


@lru_cache(256)  # many tasks have the same
def _layout(
    measurement: bool, tags: Sequence[str], fields: Sequence[tuple[str, Kind, str]]
) -> tuple[pa.Schema, pa.StructType]:
    """fields: of each column the field, its kind, and the column's name."""
    import pyarrow as pa

    columns = [pa.field("time", pa.timestamp("ns", tz="UTC"))]
    columns += [pa.field("measurement", tag_type())] if measurement else []
    columns += [pa.field(tag, tag_type()) for tag in tags]
    columns += [pa.field(column, TYPES[kind]()) for _, kind, column in fields]
    kinds = {column: (name, kind.name.lower()) for name, kind, column in fields
             if column != name or kind is Kind.DURATION}  # fmt: skip
    return pa.schema(columns, {"tickc": json.dumps({"tags": tags, "fields": kinds})}), pa.struct(columns)


def _kinds(column: Column) -> list[tuple[Kind, int]]:
    """The kinds of values that a table has columns for, and the first row of each."""
    if isinstance(column.kinds, Kind):
        found = [(column.kinds, 0)] if column.n else []
    else:
        kinds, first = np.unique(column.kinds, return_index=True)
        found = [(Kind(k), row) for k, row in zip(kinds.tolist(), first.tolist())]
    return [(kind, row) for kind, row in found if kind in TYPES]


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
    """Strings with a dictionary of those that occur, in the order in which they do."""
    import pyarrow as pa

    if len(text) <= FEW:
        return _plain(text).dictionary_encode()
    found = pa.array(text.codes, pa.int32(), mask=text.codes < 0).dictionary_encode()
    return pa.DictionaryArray.from_arrays(found.indices, _strings(text.vocabulary, found.dictionary.to_numpy()))


def _plain(text: Text) -> pa.StringArray:
    """Strings as they are; a null where one is absent."""
    import pyarrow as pa

    if len(text) > FEW:
        return _dictionary(text).dictionary_decode()
    used = text.used()
    known = dict(zip(used.tolist(), map(_encodable, text.vocabulary.texts(used))))
    return pa.array([known.get(c) for c in text.codes.tolist()], pa.string())


def _strings(vocabulary: Vocabulary, codes: Array) -> pa.Array:
    """The strings of codes (i8[n]); one that is no UTF-8 has U+FFFD instead."""
    import pyarrow as pa

    if len(codes) >= MANY:
        text, ends = vocabulary.utf8(codes)
        found = pa.LargeStringArray.from_buffers(len(codes), pa.py_buffer(ends), pa.py_buffer(text))
        if _is_utf8(text):
            return found.cast(pa.string())
    return pa.array([_encodable(text) for text in vocabulary.texts(codes)], pa.string())


def _is_utf8(text: Array) -> bool:
    try:
        text.tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


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
        return _plain(Text(codes, data.vocabulary))
    if missing is None:
        return pa.array(data, TYPES[kind]())
    return pa.array(np.where(missing, data.dtype.type(0), data), TYPES[kind](), mask=missing)


def _cells(column: Column, kind: Kind) -> list[Any]:
    """The values of one kind, None where the row has none of it."""
    if kind not in column.data:
        return [None] * column.n
    values: list[Any] = column.data[kind].tolist()
    if column.kinds is kind:
        return values
    return [value if own == kind else None for value, own in zip(values, column.kinds_array().tolist())]


def widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with all columns of a schema that holds its own; null where it has none."""
    import pyarrow as pa

    if batch.schema.names == schema.names:
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    at = {name: i for i, name in enumerate(batch.schema.names)}
    arrays = [batch.column(at[f.name]) if f.name in at else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
