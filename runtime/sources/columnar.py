"""Arrow record batches as rows: which columns are tags and which fields, and how each becomes a column of ours.

Shared by the readers of Parquet, Arrow IPC and CSV. Numbers and times are taken without copying where their types allow
it. A dictionary is translated once a batch of the file, so that a tag keeps its codes across batches and files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Rows, Text, Vocabulary
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import Codes, Problem, Problems, SourceError, Wanted, did_you_mean
from tickc.runtime.vocabulary import MANY

METADATA = b"tickc"  # key in the schema's metadata: JSON {"tags": […], "fields": {column: [field, kind]}}
UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the user says about the columns of a file, and the measurement of rows that do not say theirs.

    Where only `tags` are given, all other columns are fields; where only `fields`, all others are tags; where both,
    columns in neither are not read.
    """

    measurement: str | None = None
    tags: Collection[str] | None = None
    fields: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one file by what they are. constants: columns that a hive path gives, the same in all rows.

    variants: for a column that holds the values of one kind of a field (as our sinks write them), the field and kind.
    """

    tags: tuple[str, ...]
    fields: tuple[str, ...]
    measurement: bool
    database: bool
    policy: bool
    constants: Mapping[str, str | None]
    variants: Mapping[str, tuple[str, Kind]]

    def columns(self) -> list[str]:
        """The columns of the file that have to be decoded."""
        special = [("measurement", self.measurement), ("database", self.database), ("retention_policy", self.policy)]
        names = ["time", *(name for name, there in special if there), *self.tags, *self.fields]
        return [name for name in names if name not in self.constants]


def layout(schema: Any, path: str, defaults: Defaults, wanted: Wanted, constants: Mapping[str, str | None]) -> Layout:
    """Sort the columns of a pyarrow schema into time, tags and fields, and leave out what is not wanted.

    SourceError where there is no time, where a column that is named is not there, or a type has no meaning here.
    """
    names = [*schema.names, *(c for c in constants if c not in schema.names)]
    _check_names(schema, names, path, defaults)
    tag_names, variants = _declared(schema)
    special = (
        {"time", "measurement", "database", "retention_policy"} - set(defaults.tags or ()) - set(defaults.fields or ())
    )
    if "measurement" not in names and defaults.measurement is None:
        raise SourceError(f"{path} does not say which measurement its rows belong to", "give one: --measurement NAME")
    tags, fields = [], []
    for name in names:
        if name in special:
            continue
        arrow_type = None if name in constants else schema.field(name).type
        role = _role(name, arrow_type, defaults, tag_names)
        if role == "tag" and wanted.tag(name):
            _check_type(name, arrow_type, path)
            tags.append(name)
        elif role == "field" and wanted.field(variants[name][0] if name in variants else name):
            _check_type(name, arrow_type, path)
            fields.append(name)
    has = {name: name in names and name in special for name in ("measurement", "database", "retention_policy")}
    return Layout(tuple(tags), tuple(fields), has["measurement"], has["database"], has["retention_policy"], constants,
                  {c: v for c, v in variants.items() if c in fields})  # fmt: skip


def _check_names(schema: Any, names: list[str], path: str, defaults: Defaults) -> None:
    repeated = {name for name in schema.names if schema.names.count(name) > 1}
    if repeated:
        raise SourceError(f"{path} has several columns named {min(repeated)}")
    if "time" not in names:
        raise SourceError(f"{path} has no column `time`", did_you_mean("time", names))
    for name in (*(defaults.tags or ()), *(defaults.fields or ())):
        if name not in names:
            raise SourceError(f"{path} has no column {name}", did_you_mean(name, names))
    check_time_type(schema.field("time").type, path)


def check_time_type(arrow_type: Any, path: str) -> None:
    """SourceError unless a column of that type can be the time."""
    import pyarrow as pa

    if not (pa.types.is_timestamp(arrow_type) or pa.types.is_int64(arrow_type)):
        raise SourceError(
            f"column `time` of {path} is of type {arrow_type}",
            "it must be a timestamp, or int64 nanoseconds since 1970",
        )


def _declared(schema: Any) -> tuple[Collection[str] | None, dict[str, tuple[str, Kind]]]:
    """The tags and the fields of several kinds that the file's own metadata names."""
    try:
        said = json.loads((schema.metadata or {}).get(METADATA, b"null"))
        if said is None:
            return None, {}
        return set(said["tags"]), {c: (str(f), Kind[k.upper()]) for c, (f, k) in said.get("fields", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, {}


def _role(name: str, arrow_type: Any, defaults: Defaults, declared: Collection[str] | None) -> str:
    if defaults.tags is not None or defaults.fields is not None:
        if defaults.tags is not None and name in defaults.tags:
            return "tag"
        if defaults.fields is not None and name in defaults.fields:
            return "field"
        if defaults.tags is not None and defaults.fields is not None:
            return "unread"
        return "field" if defaults.fields is None else "tag"
    if arrow_type is None:
        return "tag"
    if declared is not None:
        return "tag" if name in declared else "field"
    return "tag" if is_text(arrow_type) else "field"


def is_text(arrow_type: Any) -> bool:
    """Whether a column of that type holds strings, dictionary-encoded or not."""
    import pyarrow as pa

    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type)
                or pa.types.is_string_view(arrow_type))  # fmt: skip


def _check_type(name: str, arrow_type: Any, path: str) -> None:
    import pyarrow as pa

    t = pa.types
    if arrow_type is None:
        return
    if t.is_dictionary(arrow_type) and not is_text(arrow_type):
        arrow_type = arrow_type.value_type
    fine = (is_text, t.is_integer, t.is_floating, t.is_boolean, t.is_decimal, t.is_null)
    if not any(check(arrow_type) for check in fine):
        raise SourceError(
            f"column {name} of {path} is of type {arrow_type}, which is neither number, string nor boolean",
            "leave it out with --tags and --fields, or convert it",
        )


class Decoder:
    """Turns the record batches of one file into rows; `codes` are shared with the other files of an input."""

    def __init__(self, path: str, plan: Layout, defaults: Defaults, codes: Codes, problems: Problems) -> None:
        self.path = path
        self.plan = plan
        self.default_name = defaults.measurement or ""
        self.codes = codes
        self.problems = problems
        self._translated: dict[str, Translated] = {}

    def rows(self, batch: Any, first_row: int) -> Rows:
        """One pyarrow.RecordBatch with the columns of the layout; first_row: where it begins in the file."""
        absent = batch.column("time").is_null() if batch.column("time").null_count else None
        if absent is not None:
            self._report_nulls(absent, first_row)
            batch = batch.filter(batch.column("time").is_valid())
        n = batch.num_rows
        codes, plan = self.codes, self.plan
        time = self._time(batch.column("time"))
        name = self._name(batch, n)
        database = self._special(batch, "database", plan.database, codes.database, n)
        policy = self._special(batch, "retention_policy", plan.policy, codes.policy, n)
        tags = {tag: self._text(batch, tag, codes.tag(tag), n) for tag in plan.tags}
        return Rows(time, name, database, policy, tags, self._fields(batch, n, first_row))

    def _report_nulls(self, absent: Any, first_row: int) -> None:
        rows = np.flatnonzero(absent.to_numpy(zero_copy_only=False))
        self.problems.add(Problem(self.path, "the row has no time", row=first_row + int(rows[0])), len(rows))

    def _time(self, values: Any) -> Array:
        """i8[n] ns; SourceError as of `in_nanoseconds`."""
        return borrowed(in_nanoseconds(values, self.path), np.dtype(np.int64))

    def _name(self, batch: Any, n: int) -> Text:
        if not self.plan.measurement:
            return constant(self.default_name, self.codes.name, n)
        name = self._text(batch, "measurement", self.codes.name, n)
        if (name.codes < 0).any():
            name = Text(np.where(name.codes < 0, self.codes.name.code(self.default_name), name.codes), self.codes.name)
        return name

    def _special(self, batch: Any, column: str, there: bool, vocabulary: Vocabulary, n: int) -> Text:
        if not there:
            return constant("", vocabulary, n)
        text = self._text(batch, column, vocabulary, n)
        return Text(np.where(text.codes < 0, vocabulary.code(""), text.codes), vocabulary)

    def _text(self, batch: Any, column: str, vocabulary: Vocabulary, n: int) -> Text:
        if column in self.plan.constants:
            return constant(self.plan.constants[column], vocabulary, n)
        return text_of(batch.column(column), vocabulary, self._translated.setdefault(column, Translated()))

    def _fields(self, batch: Any, n: int, first_row: int) -> dict[str, Column]:
        fields: dict[str, Column] = {}
        strings = Vocabulary()
        for column in self.plan.fields:
            if column in self.plan.constants:
                values = Column.of(Kind.STRING, constant(self.plan.constants[column], strings, n))
            else:
                values = self._field(batch.column(column), column, strings, first_row)
            name, kind = self.plan.variants.get(column, (column, None))
            if kind is not None:
                values = _as_kind(values, kind)
            fields[name] = _merge(fields[name], values) if name in fields else values
        return fields

    def _field(self, values: Any, name: str, strings: Vocabulary, first_row: int) -> Column:
        import pyarrow as pa

        t = pa.types
        kind_of = values.type
        if is_text(kind_of):
            text = text_of(values, strings)
            return Column.masked(Kind.STRING, text, text.codes >= 0)
        if t.is_dictionary(kind_of):
            values = values.dictionary_decode()
            kind_of = values.type
        if t.is_null(kind_of):
            return Column.absent(len(values))
        present = None if not values.null_count else values.is_valid().to_numpy(zero_copy_only=False)
        if t.is_uint64(kind_of):
            return self._unsigned(values, present, name, first_row)
        if t.is_boolean(kind_of):
            return _column(Kind.BOOL, values.fill_null(False).to_numpy(zero_copy_only=False), present)
        if t.is_integer(kind_of):
            return _column(Kind.INT, _plain(values, pa.int64(), np.int64), present)
        return _column(Kind.FLOAT, _plain(values, pa.float64(), np.float64), present)

    def _unsigned(self, values: Any, present: Array | None, name: str, first_row: int) -> Column:
        import pyarrow as pa

        numbers = _plain(values, pa.uint64(), np.uint64)
        fits = numbers <= INT64.max
        if present is not None:
            fits |= ~present
        if not fits.all():
            rows = np.flatnonzero(~fits)
            reason = f"column {name}: the number is beyond int64"
            at, text = first_row + int(rows[0]), str(numbers[rows[0]])
            self.problems.add(Problem(self.path, reason, row=at, text=text), len(rows))
            present = fits if present is None else present & fits
        return _column(Kind.INT, numbers.view(np.int64), present)


def in_nanoseconds(times: Any, path: str) -> Any:
    """A column of times as Arrow has it, chunked or not, in ns: an int64 one is.

    SourceError where a time is beyond what int64 ns can hold (1677 to 2262).
    """
    import pyarrow as pa

    if not pa.types.is_timestamp(times.type) or times.type.unit == "ns":
        return times
    try:
        return times.cast(pa.timestamp("ns", times.type.tz))
    except pa.ArrowInvalid:
        raise SourceError(f"column `time` of {path} has a time outside the years 1678 to 2262") from None


def constant(text: str | None, vocabulary: Vocabulary, n: int) -> Text:
    """`n` times the same text (None: absent), without storage for the rows."""
    code = -1 if text is None else vocabulary.code(text)
    return Text(np.broadcast_to(np.int32(code), (n,)), vocabulary)


class Translated:
    """The dictionary of a column that was translated last: batches of a file mostly have the same one."""

    def __init__(self) -> None:
        self.dictionary: Any = None
        self.table = np.zeros(0, np.int32)
        self.same = False  # whether the codes are the dictionary's own indices

    def codes(self, dictionary: Any, vocabulary: Vocabulary) -> Array:
        """i4[n + 1]: the codes of the n strings of an Arrow array in `vocabulary`, and -1 for an index of -1."""
        last = self.dictionary
        if last is None or not (_one_memory(dictionary, last) or dictionary.equals(last)):
            self.dictionary = dictionary
            self.table = np.append(encoded(dictionary, vocabulary), np.int32(-1))
            self.same = np.array_equal(self.table[:-1], np.arange(len(dictionary), dtype=np.int32))
        return self.table


def _one_memory(a: Any, b: Any) -> bool:
    """Whether two Arrow arrays are of the same bytes."""
    parts = [(len(one), one.offset, [buffer and buffer.address for buffer in one.buffers()]) for one in (a, b)]
    return parts[0] == parts[1]


def text_of(values: Any, vocabulary: Vocabulary, last: Translated | None = None) -> Text:
    """An Arrow column of strings (or of what prints as one), with codes of `vocabulary`, which learns the new ones.

    last: what is kept for the next batches of the same column and vocabulary.
    """
    import pyarrow as pa

    if not pa.types.is_dictionary(values.type):
        if not is_text(values.type):
            values = values.cast(pa.string())
        if len(values) >= MANY:
            return Text(encoded(values, vocabulary), vocabulary)
        if pa.types.is_string_view(values.type):
            values = values.cast(pa.large_string())
        values = values.dictionary_encode()
    indices = values.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(-1)
    codes = borrowed(indices, np.dtype(indices.type.to_pandas_dtype()))
    if not len(codes):
        return Text(np.zeros(0, np.int32), vocabulary)
    last = last or Translated()
    table = last.codes(values.dictionary, vocabulary)
    if codes.dtype == np.int32 and last.same:
        return Text(codes, vocabulary)
    return Text(table[codes], vocabulary)


def encoded(strings: Any, vocabulary: Vocabulary) -> Array:
    """i4[n] codes of an Arrow array in `vocabulary`, which learns the new ones; -1 where it is null.

    Raises UnicodeDecodeError where a string is no UTF-8.
    """
    import pyarrow as pa

    if len(strings) < MANY:
        return np.array([_code(text, vocabulary) for text in strings.to_pylist()], np.int32)
    strings = strings.cast(pa.large_string())
    if strings.null_count:
        codes = np.full(len(strings), -1, np.int32)
        codes[strings.is_valid().to_numpy(zero_copy_only=False)] = encoded(strings.drop_null(), vocabulary)
        return codes
    _, offsets, data = strings.buffers()
    ends = np.frombuffer(offsets, np.int64, len(strings) + 1, 8 * strings.offset)
    text = bytes(memoryview(data or b"")[ends[0] : ends[-1]])
    text.decode()
    found, ends = np.frombuffer(text, np.uint8), ends - ends[0]
    if (found[ends[ends < len(text)]] & 0xC0 == 0x80).any():
        raise UnicodeDecodeError("utf-8", text, 0, 1, "a string begins within a character")
    return vocabulary.encode_utf8(found, ends)


def _code(text: Any, vocabulary: Vocabulary) -> int:
    return -1 if text is None else vocabulary.code(str(text))


def _plain(values: Any, arrow_type: Any, dtype: type) -> Array:
    """The numbers, without copying where the type is already the one and nothing is null; nulls become 0."""
    if values.type != arrow_type:
        values = values.cast(arrow_type, safe=False)
    return borrowed(values, np.dtype(dtype))


class _Memory:
    """Arrow's memory for NumPy, by its array interface, and the reference that keeps it alive."""

    def __init__(self, values: Any, dtype: np.dtype[Any]) -> None:
        self.values = values
        address = values.buffers()[1].address + values.offset * dtype.itemsize
        shape = (len(values),)
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}


def borrowed(values: Any, dtype: np.dtype[Any]) -> Array:
    """The values of an Arrow array of fixed width as they lie in memory; what stands at nulls is undefined.

    Nobody may write to it. It is not marked so, because Numba compiles a kernel anew for arrays that are.
    """
    return np.asarray(_Memory(values, dtype)) if len(values) else np.zeros(0, dtype)


def _column(kind: Kind, values: Array, present: Array | None) -> Column:
    return Column.of(kind, values) if present is None else Column.masked(kind, values, present)


def _as_kind(column: Column, kind: Kind) -> Column:
    """The same values as `kind`: durations are stored as integers."""
    if kind is not Kind.DURATION or Kind.INT not in column.data:
        return column
    kinds = column.kinds_array().copy()
    kinds[kinds == Kind.INT] = Kind.DURATION
    return Column(kinds, {Kind.DURATION: column.data[Kind.INT]}, column.n).normal()


def _merge(first: Column, second: Column) -> Column:
    """One field out of two columns of different kinds: the first where it is present, else the second."""
    kinds = np.where(first.present(), first.kinds_array(), second.kinds_array())
    return Column(kinds, {**second.data, **first.data}, first.n).normal()


def pieces(rows: Rows, size: int) -> Iterator[Rows]:
    """The same rows in order, at most `size` at a time, sharing their storage."""
    if len(rows) <= size:
        if len(rows):
            yield rows
        return
    for start in range(0, len(rows), size):
        yield rows.take(slice(start, start + size))
