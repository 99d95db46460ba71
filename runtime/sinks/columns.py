"""Rows as columns of Arrow: what the sinks and tables of a run have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind

if TYPE_CHECKING:
    import pyarrow as pa


class OutputError(Exception):
    """The output cannot be written. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message}\n  = hint: {hint}")
        self.message = message
        self.hint = hint


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


def widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with all columns of a schema that holds its own; null where it has none."""
    import pyarrow as pa

    if batch.schema.names == schema.names:
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    at = {name: i for i, name in enumerate(batch.schema.names)}
    arrays = [batch.column(at[f.name]) if f.name in at else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
