"""Functions in Python that take and give Arrow record batches, in this process: `@tickc.udf`."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Column, Groups, Points, Rows, Segments, Text, Vocabulary
from tickc.runtime.expr import Literal
from tickc.runtime.kinds import Kind
from tickc.runtime.udf import EDGES, TYPES, Info, Node, Session, UdfError

if TYPE_CHECKING:
    import pyarrow as pa

ROW = "__row__"  # the column that tells which row of the input a row of the output goes back to
_TYPES = {bool: "bool", int: "int", float: "double", str: "string", timedelta: "duration"}


@dataclass(frozen=True)
class PythonUdf:
    """A function or class as a user-defined function; see `udf`. It can be called like what it was made of."""

    target: Callable[..., Any]
    declared: Info
    by_group: bool = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)

    def info(self) -> Info:
        return self.declared

    def start(self, node: Node) -> Session:
        return _PythonSession(self, node)


def udf(
    *,
    wants: str = "stream",
    provides: str | None = None,
    options: Mapping[str, Any] | None = None,
    by_group: bool = True,
) -> Callable[[Callable[..., Any]], PythonUdf]:
    """Declare a function or class that a script can call with `@name()`.

    wants, provides: "stream" or "batch" (by default it provides what it wants). options: name -> type (bool, int,
    float, str, datetime.timedelta for a duration), or a tuple of types for an option of several values (() for one of
    none). An option becomes a keyword argument, with an underscore behind it where its name is a keyword of Python; one
    that the script does not set is not given, one that it sets twice has the last value. An option of several values is
    a tuple, one of none is True, a duration is a timedelta's worth of ns (int).

    A function is called as `function(batch, **options)`, a class is made with `**options` and has `process(batch)`; it
    may have `finish()`, for what the end of the input brings, and `snapshot()` and `restore(state)` (state of plain
    Python values and NumPy arrays). All give a pyarrow.RecordBatch, several of them, or None.

    by_group: on a stream, whether it is called for each group by itself; then each group has an instance of the class.
    On a batch edge it is called for each batch, with an instance for each group, or one for all.

    The batch has `time` (timestamps in ns, UTC), tags (dictionaries) and fields, in columns; its schema's metadata have
    `measurement`, with by_group also `group`, of a batch also `tmax` (ns). What comes back is read the same way:
    columns of dictionaries are tags, the others fields. The column `__row__` numbers the rows: it tells where a row
    that comes back belongs, and can be left out; as many rows as there were then stand for the rows themselves, and
    others for the last one. A tag of the group that does not come back is that of the row.
    """
    provided = provides or wants
    for edge in (wants, provided):
        if edge not in EDGES:
            raise ValueError(f"an edge is one of {', '.join(EDGES)}, not {edge!r}")
    info = Info(wants, provided, {name: _types(name, given) for name, given in sorted((options or {}).items())})
    return lambda target: PythonUdf(target, info, by_group)


def _types(name: str, given: Any) -> tuple[str, ...]:
    found = tuple(str(_TYPES.get(t, t)) for t in (given if isinstance(given, (tuple, list)) else (given,)))
    for t in found:
        if t not in TYPES:
            raise ValueError(f"option {name}: a type is one of {', '.join(TYPES)}, not {t!r}")
    return found


class _PythonSession:
    """A Python function at work for one node."""

    def __init__(self, declared: PythonUdf, node: Node) -> None:
        self.declared = declared
        self.arguments = {_argument(name): _given(values) for name, values in node.options}
        self.provides = declared.declared.provides
        self.is_class = inspect.isclass(declared.target)
        self.instances: dict[str, Any] = {}  # by group id, "" where groups are not told apart
        self.groups = Groups()
        self.last: dict[str, tuple[Rows, str]] = {}  # the last row of each instance, and the id of its group
        self.seq = 0
        self._instance("")  # so that options that it refuses are told at once
        if declared.by_group:
            self.instances.clear()

    # -- the function

    def _instance(self, key: str) -> Any:
        if key not in self.instances:
            made = self.declared.target
            self.instances[key] = _called(made, **self.arguments) if self.is_class else made
        return self.instances[key]

    def _call(self, key: str, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        instance = self._instance(key)
        if self.is_class:
            return _batches(_called(instance.process, batch))
        return _batches(_called(instance, batch, **self.arguments))

    # -- the session

    def run(self, batch: Batch) -> Iterator[Batch]:
        self.seq = int(batch.seq[-1]) if len(batch.seq) else self.seq
        parts = self._of_points(batch) if isinstance(batch, Points) else self._of_segments(batch)
        yield from self._assembled(list(parts))

    def finish(self) -> Iterator[Batch]:
        parts: list[_Part] = []
        for key, instance in self.instances.items():
            if not self.is_class or not hasattr(instance, "finish"):
                continue
            rows, group = self.last[key]
            names = _Arrow(rows, self.groups[self.groups.codes[group]].dims)
            at = np.zeros(1, np.int64)
            for made in _batches(_called(instance.finish)):
                parts.append(_Part(*names.back(made), at, np.full(1, self.seq), group, int(rows.time[-1])))
        yield from self._assembled(parts)

    def snapshot(self) -> Any:
        states = {}
        for key, instance in self.instances.items():
            states[key] = _called(instance.snapshot) if self.is_class and hasattr(instance, "snapshot") else None
        return [self.groups, self.seq, states, {key: [rows, group] for key, (rows, group) in self.last.items()}]

    def restore(self, saved: Any) -> None:
        self.groups, self.seq, states, last = saved
        self.last = {key: (rows, group) for key, (rows, group) in last.items()}
        for key, state in states.items():
            instance = self._instance(key)
            if state is not None:
                _called(instance.restore, state)

    def close(self) -> None:
        self.instances.clear()

    # -- from rows to calls

    def _of_points(self, batch: Points) -> Iterator[_Part]:
        if not self.declared.by_group:
            yield from self._part("", batch.rows, np.arange(len(batch)), batch.seq, batch, {})
            return
        order = np.argsort(batch.group, kind="stable")
        edges = np.flatnonzero(np.diff(batch.group[order])) + 1
        found = sorted(np.split(order, edges), key=lambda rows: int(rows[0]))  # groups in order of appearance
        for at in found:
            group = batch.groups[int(batch.group[at[0]])]
            yield from self._part(group.id, batch.rows.take(at), at, batch.seq[at], batch, {"group": group.id})

    def _of_segments(self, batch: Segments) -> Iterator[_Part]:
        batch = batch.flat()
        owner = batch.owner()
        rows = batch.rows.with_(tags={**batch.rows.tags, **batch.groups.tags(batch.group[owner])},
                                name=batch.name.take(owner))  # fmt: skip
        for j in range(len(batch)):
            at = np.arange(int(batch.start[j]), int(batch.stop[j]))
            group = batch.groups[int(batch.group[j])]
            about = {"group": group.id, "tmax": str(int(batch.tmax[j]))}
            key = group.id if self.declared.by_group else ""
            yield from self._part(key, rows.take(at), at, np.full(len(at), batch.seq[j]), batch, about, j)

    def _part(
        self, key: str, rows: Rows, at: Array, seq: Array, batch: Batch, about: Mapping[str, str], j: int = -1
    ) -> Iterator[_Part]:
        if not len(rows):
            return
        group = batch.groups[int(batch.group[at[-1] if j < 0 else j])]
        members = {*batch.group[at].tolist()} if j < 0 else {int(batch.group[j])}
        names = _Arrow(rows, sorted({d for g in members for d in batch.groups[g].dims}))
        tmax = int(rows.time[-1]) if isinstance(batch, Points) else int(batch.tmax[j])
        made = self._call(key, names.batch({"measurement": rows.name.at(0) or "", **about}))
        self.last[key] = (rows.take(slice(len(rows) - 1, None)), group.id)
        self.groups.code(group.name, group.by_name, group.tags)
        codes = [self._code(batch.groups[g]) for g in batch.group[at].tolist()] if j < 0 else []
        for one in made:
            yield _Part(*names.back(one), at, seq, group.id, tmax, codes)

    def _code(self, group: Any) -> int:
        return self.groups.code(group.name, group.by_name, group.tags)

    # -- from answers to batches

    def _assembled(self, parts: list[_Part]) -> Iterator[Batch]:
        if not parts:
            return
        if self.provides == "batch":
            yield self._as_segments(parts)
            return
        rows = Rows.concat([p.rows for p in parts])
        place = np.concatenate([p.at[p.row] for p in parts])
        seq = np.concatenate([p.seq[p.row] for p in parts])
        group = np.concatenate([p.group_codes(self.groups) for p in parts])
        order = np.lexsort((place, seq)) if len(parts) > 1 else np.arange(len(rows))
        if len(rows):
            rows, group = rows.take(order), group[order]
            yield Points(rows, self._regrouped(rows, group), self.groups, seq[order].astype(np.int64))

    def _regrouped(self, rows: Rows, group: Array) -> Array:
        """i4[n]: the groups of rows of groups `group`, whose dimensions may have other values now."""
        dims = dict.fromkeys(d for g in np.unique(group).tolist() for d in self.groups[g].dims)
        if not dims:
            return group
        columns = [rows.tags[d].tolist() if d in rows.tags else [None] * len(rows) for d in dims]
        names = rows.name.tolist()
        known: dict[Any, int] = {}
        out = np.empty(len(rows), np.int32)
        for i, key in enumerate(zip(group.tolist(), *columns)):
            if key not in known:
                old = self.groups[key[0]]
                values = dict(zip(dims, key[1:]))
                tags = {d: values[d] or "" for d in old.dims}
                known[key] = self.groups.code(names[i] or "", old.by_name, tags)
            out[i] = known[key]
        return out

    def _as_segments(self, parts: list[_Part]) -> Segments:
        sizes = np.array([len(p.rows) for p in parts], np.int64)
        stop = np.cumsum(sizes)
        codes = [self.groups.codes[p.group] for p in parts]
        return Segments(
            rows=Rows.concat([p.rows for p in parts]),
            start=stop - sizes,
            stop=stop,
            tmax=np.array([p.tmax for p in parts], np.int64),
            group=np.array(codes, np.int32),
            groups=self.groups,
            name=Text.of(self.groups[c].name for c in codes),
            seq=np.array([p.seq[-1] for p in parts], np.int64),
        )


@dataclass(frozen=True)
class _Part:
    """Rows that a call gave back. row: the row of the call's input that each goes back to; at, seq: of those rows."""

    rows: Rows
    row: Array
    said: Mapping[bytes, bytes]
    at: Array
    seq: Array
    group: str
    time: int
    codes: Any = ()

    @property
    def tmax(self) -> int:
        """The time of a batch: what the function says in the metadata, else that of its input."""
        try:
            return int(self.said.get(b"tmax", self.time))
        except ValueError:
            raise UdfError(f"tmax is no number of ns: {self.said[b'tmax']!r}") from None

    def group_codes(self, groups: Groups) -> Array:
        if len(self.codes):
            return np.array(self.codes, np.int32)[self.row]
        return np.full(len(self.rows), groups.codes[self.group], np.int32)


def _argument(option: str) -> str:
    return f"{option}_" if keyword.iskeyword(option) else option


def _given(values: tuple[Any, ...]) -> Any:
    plain = tuple(v.value if isinstance(v, Literal) else v for v in values)
    return True if not plain else plain[0] if len(plain) == 1 else plain


def _called(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call of the user's code gives; an error in it is the function's failure."""
    try:
        return function(*args, **kwargs)
    except UdfError:
        raise
    except Exception as error:
        text = str(error)
        raise UdfError(f"{type(error).__name__}: {text}" if text else type(error).__name__) from error


def _batches(given: Any) -> list[pa.RecordBatch]:
    """What a function gave back, as record batches."""
    import pyarrow as pa

    if given is None:
        return []
    if isinstance(given, pa.RecordBatch):
        return [given]
    if isinstance(given, pa.Table):
        return list(given.combine_chunks().to_batches())
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        return [batch for one in _called(list, given) for batch in _batches(one)]
    raise UdfError(f"it gave back {type(given).__name__}, where a pyarrow.RecordBatch is expected")


# ------------------------------------------------------------------------------------------- rows and record batches


class _Arrow:
    """The record batch of some rows, and rows from what a function made of it."""

    def __init__(self, rows: Rows, dims: Iterable[str]) -> None:
        """dims: the dimensions of the rows' groups, whose tags need not come back."""
        from tickc.runtime.sinks.columns import Frame

        self.rows = rows
        self.dims = [d for d in dims if d in rows.tags]
        self.frame = Frame(measurement=False)

    def batch(self, about: Mapping[str, str]) -> pa.RecordBatch:
        import pyarrow as pa

        made = self.frame.batch(self.rows)
        made = made.append_column(pa.field(ROW, pa.int64()), pa.array(np.arange(len(self.rows))))
        return made.replace_schema_metadata(about)

    def back(self, batch: pa.RecordBatch) -> tuple[Rows, Array, Mapping[bytes, bytes]]:
        """The rows of a record batch, the row of the input that each goes back to, and its metadata."""
        n = batch.num_rows
        names = batch.schema.names
        if "time" not in names:
            raise UdfError("it gave back a record batch without a column `time`")
        row = self._row(batch, n)
        tags: dict[str, Text] = {}
        fields: dict[str, Column] = {}
        kinds = {column: name for (name, _), column in self.frame.fields.items()}
        for name, values in zip(names, batch.columns):
            if name in ("time", ROW):
                continue
            column = _column(name, values)
            if isinstance(column, Text):
                tags[name] = column
            else:
                own = kinds.get(name, name)
                fields[own] = _merged(fields[own], column) if own in fields else column
        came = self.rows.take(row)
        tags = {**{d: came.tags[d] for d in self.dims if d not in tags}, **tags}
        made = Rows(_time(batch.column(names.index("time"))), came.name, came.database, came.policy, tags, fields)
        return made, row, batch.schema.metadata or {}

    def _row(self, batch: pa.RecordBatch, n: int) -> Array:
        size = len(self.rows)
        if ROW in batch.schema.names:
            row = np.asarray(batch.column(batch.schema.names.index(ROW)).to_numpy(zero_copy_only=False))
            if row.dtype.kind not in "iu" or (n and (row.min() < 0 or row.max() >= size)):
                raise UdfError(f"the column {ROW} does not hold numbers of rows")
            return row.astype(np.int64)
        return np.arange(n) if n == size else np.full(n, size - 1, np.int64)


def _time(values: pa.Array) -> Array:
    import pyarrow as pa

    if values.null_count:
        raise UdfError("the column `time` has nulls")
    try:
        moments = values if pa.types.is_integer(values.type) else values.cast(pa.timestamp("ns", tz="UTC"))
        return np.array(moments.cast(pa.int64()).to_numpy(zero_copy_only=False), np.int64)
    except pa.ArrowException:
        raise UdfError(f"the column `time` is of type {values.type}") from None


def _column(name: str, values: pa.Array) -> Column | Text:
    """A tag from a dictionary, a field from anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    t, kind = pa.types, values.type
    if t.is_dictionary(kind):
        if not t.is_string(kind.value_type) and not t.is_large_string(kind.value_type):
            raise UdfError(f"the tag {name!r} is of type {kind.value_type}")
        return _text(values)
    if t.is_string(kind) or t.is_large_string(kind):
        text = _text(pc.dictionary_encode(values))
        return Column.masked(Kind.STRING, text, text.codes >= 0)
    if t.is_null(kind):
        return Column.absent(len(values))
    present = np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    for fits, wanted, to, zero in (
        (t.is_boolean, Kind.BOOL, pa.bool_(), False),
        (t.is_integer, Kind.INT, pa.int64(), 0),
        (t.is_floating, Kind.FLOAT, pa.float64(), 0.0),
    ):
        if fits(kind):
            try:
                plain = np.array(values.cast(to).fill_null(zero).to_numpy(zero_copy_only=False))
            except pa.ArrowInvalid as error:
                raise UdfError(f"the field {name!r}: {error}") from None
            return Column.masked(wanted, plain, present)
    raise UdfError(f"the column {name!r} is of type {kind}, which no field has")


def _text(values: pa.DictionaryArray) -> Text:
    strings = values.dictionary.to_pylist()
    codes = np.array(values.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int32)
    if len(set(strings)) < len(strings) or None in strings:
        return Text.of(None if c < 0 else strings[c] for c in codes.tolist())
    return Text(codes, Vocabulary(strings))


def _merged(one: Column, other: Column) -> Column:
    """A field that had a column for each kind of its values."""
    there = other.present()
    kinds = np.where(there, other.kinds_array(), one.kinds_array())
    return Column(kinds, {**one.data, **other.data}, one.n).normal()
