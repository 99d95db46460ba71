"""What a server of InfluxDB answers: documents of MessagePack or JSON as they stream in, and columns of their rows.

InfluxDB's JSON writes the float 5.0 as 5. MessagePack, which 1.5 and later and 2 speak, keeps types and the bits of
floats and of strings; it is what is asked for. InfluxDB 3 is asked for JSON, as its MessagePack has no names. The types
of JSON are those that the server tells of its fields (SHOW FIELD KEYS); of other columns, float where one of the values
is written as such, else integer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Text, Vocabulary
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import SourceError

MSGPACK, JSON = "application/x-msgpack", "application/json"
BLOCK_ROWS = 65_536  # rows that are kept as lists until they become columns
KINDS = {float: Kind.FLOAT, int: Kind.INT, bool: Kind.BOOL, str: Kind.STRING}
INT64 = np.iinfo(np.int64)
_SEAM = re.compile(rb'\}\s{0,2}\{"[a-z]')  # between two documents: behind the quote of a string stands no letter
SEAM_BYTES = 5  # of a seam, at most, that the next bytes may complete

Kinds = Mapping[str, Kind]


class InfluxDBError(SourceError):
    """A server does not do what it is asked for.

    transient: it may, when asked again. status: of HTTP, 0 where there was no answer. reason: the server's own words.
    """

    def __init__(
        self, message: str, hint: str = "", *, transient: bool = False, status: int = 0, reason: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.transient, self.status, self.reason = transient, status, reason


class Cut(InfluxDBError):
    """An answer ends before it is complete."""

    def __init__(self) -> None:
        super().__init__("the answer of InfluxDB ends before it is complete", transient=True)


# ---------------------------------------------------------------------------------------------------- documents


def documents(chunks: Iterable[bytes], form: str) -> Iterator[Any]:
    """The documents of an answer in one of both forms, each as soon as it is whole; raises Cut."""
    yield from _packed(chunks) if form == MSGPACK else _json_documents(chunks)


def _packed(chunks: Iterable[bytes]) -> Iterator[Any]:
    import msgpack

    unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape", max_buffer_size=0)
    fed = 0
    try:
        for chunk in chunks:
            unpacker.feed(chunk)
            fed += len(chunk)
            yield from unpacker
    except (ValueError, msgpack.UnpackException):
        raise InfluxDBError("the answer of InfluxDB is not MessagePack, as it says", transient=True) from None
    if unpacker.tell() != fed:
        raise Cut


def _json_documents(chunks: Iterable[bytes]) -> Iterator[Any]:
    """Documents of JSON, one behind the other: versions 1 and 2 begin a line with each, version 3 does not."""
    held = b""
    for chunk in chunks:
        begin, held, end = max(len(held) - SEAM_BYTES, 0), held + chunk, 0
        for seam in _SEAM.finditer(held, begin):
            yield from _json(held[end : seam.start() + 1])
            end = seam.start() + 1
        held = held[end:]
    yield from _json(held)


def _json(text: bytes) -> Iterator[Any]:
    if not text.strip():
        return
    try:
        yield json.loads(text, parse_int=_integer)
    except ValueError:
        raise Cut from None


def _integer(text: str) -> int | float:
    """Go writes the float -0.0 as -0."""
    return -0.0 if text == "-0" else int(text)


# ------------------------------------------------------------------------------------------------------- series


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of one series, or a part of them.

    more: whether the next has more rows of the same. exact: whether types are plain from the values.
    """

    name: str
    tags: Mapping[str, str]
    columns: tuple[str, ...]
    values: list[list[Any]]
    more: bool
    exact: bool


def series(
    chunks: Iterable[bytes], form: str, fail: Callable[[str], InfluxDBError], *, may_be_empty: bool = False
) -> Iterator[Series]:
    """The series of one statement's answer.

    `fail` makes the error for what the server says is wrong. Raises Cut where the server had more to say: each part of
    an answer but the last is marked as `partial`. may_be_empty: an answer without series may come as no part at all.
    """
    unfinished = not may_be_empty
    for document in documents(chunks, form):
        if not isinstance(document, dict) or not ("error" in document or isinstance(document.get("results"), list)):
            raise InfluxDBError("the answer is not one of InfluxDB", "is this the address of an InfluxDB?")
        if "error" in document:
            raise fail(str(document["error"]))
        for result in document["results"]:
            if "error" in result:
                raise fail(str(result["error"]))
            for one in result.get("series") or ():
                yield Series(
                    one.get("name", ""), one.get("tags") or {}, tuple(one["columns"]), one.get("values") or [],
                    bool(one.get("partial")), form == MSGPACK,
                )  # fmt: skip
            unfinished = bool(result.get("partial"))
    if unfinished:
        raise Cut


# ------------------------------------------------------------------------------------------------------ columns


@dataclass
class Beyond:
    """Values that int64 cannot hold, which are left out: how many of which column, and the first of each."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    def tell(self, name: str, values: Sequence[int]) -> None:
        self.counts[name] = self.counts.get(name, 0) + len(values)
        self.first.setdefault(name, values[0])


@dataclass
class Gathered:
    """The rows of many series as columns. starts: where the series begin; series: their names and tags.

    wanted: the columns to keep, None for all. kinds: of the columns, as far as they are known; only JSON needs them.
    """

    wanted: frozenset[str] | None = None
    kinds: Kinds = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    series: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    beyond: Beyond = field(default_factory=Beyond)
    rows: int = 0
    _parts: list[tuple[Array, dict[str, Column]]] = field(default_factory=list)
    _names: tuple[str, ...] = ()
    _waiting: list[list[Any]] = field(default_factory=list)
    _more: bool = False
    _exact: bool = True

    def add(self, found: Series) -> None:
        """Append the rows of a series, or more rows of the last one."""
        if found.columns != self._names or len(self._waiting) >= BLOCK_ROWS:
            self._pack()
            self._names = found.columns
        if not self._more:
            self.starts.append(self.rows)
            self.series.append((found.name, found.tags))
        self._more, self._exact = found.more, found.exact
        self._waiting.extend(found.values)
        self.rows += len(found.values)

    def columns(self) -> tuple[Array, dict[str, Column]]:
        """The times, i8[n], and the columns in the order in which they appeared."""
        self._pack()
        parts, self._parts = self._parts, []
        if not parts:
            return np.zeros(0, np.int64), {}
        names = dict.fromkeys(name for _, columns in parts for name in columns)
        whole = {name: Column.concat([c.get(name) or Column.absent(len(time)) for time, c in parts]) for name in names}
        if not self._exact:
            whole = {name: _one_number(column) for name, column in whole.items()}
        return np.concatenate([time for time, _ in parts]), whole

    def sizes(self) -> Array:
        """i8[m]: the rows of each series."""
        return np.diff(np.array([*self.starts, self.rows], np.int64))

    def _pack(self) -> None:
        if not self._waiting:
            return
        by_column = dict(zip(self._names, zip(*self._waiting)))
        time = np.array(by_column.pop("time"), np.int64)
        kept = {n: v for n, v in by_column.items() if self.wanted is None or n in self.wanted}
        columns = {name: self._column(name, values) for name, values in kept.items()}
        self._parts.append((time, columns))
        self._waiting = []

    def _column(self, name: str, values: Sequence[Any]) -> Column:
        try:
            return column(values, None if self._exact else self.kinds.get(name))
        except OverflowError:
            beyond = [v for v in values if isinstance(v, int) and not INT64.min <= v <= INT64.max]
            self.beyond.tell(name, beyond)
            large = set(beyond)
            return column([None if isinstance(v, int) and v in large else v for v in values], None)


def column(values: Sequence[Any], kind: Kind | None = None) -> Column:
    """The column of the values of a cell each, None where there is none.

    kind: what the numbers are, where their form does not tell (float or int). Raises OverflowError for an integer
    beyond int64.
    """
    types = set(map(type, values))
    absent = type(None) in types
    types.discard(type(None))
    if kind is Kind.FLOAT and types <= {int, float}:
        types = {float} if types else types
    if not types:
        return Column.absent(len(values))
    if len(types) > 1:
        return Column.of_values(values)
    one = KINDS[types.pop()]
    if one is Kind.STRING:
        text = _text(values)
        return Column.masked(one, text, text.codes >= 0)
    if one is Kind.FLOAT:
        floats = np.array(values, np.float64)  # None becomes NaN, which InfluxDB does not have
        return Column.masked(one, floats, ~np.isnan(floats)) if absent else Column.of(one, floats)
    dtype = np.int64 if one is Kind.INT else np.bool_
    if not absent:
        return Column.of(one, np.array(values, dtype))
    cells = np.array(values, object)
    present = cells != None  # noqa: E711
    cells[~present] = 0
    return Column.masked(one, cells.astype(dtype), present)


def _one_number(found: Column) -> Column:
    """A column of floats of which JSON shows some as integers."""
    if isinstance(found.kinds, Kind) or not {Kind.INT, Kind.FLOAT} <= found.data.keys():
        return found
    integer = found.is_kind(Kind.INT)
    floats = np.where(integer, found.data[Kind.INT].astype(np.float64), found.data[Kind.FLOAT])
    kinds = np.where(integer, np.uint8(Kind.FLOAT), found.kinds)
    data: dict[Kind, Any] = {k: v for k, v in found.data.items() if k is not Kind.INT}
    return Column(kinds, {**data, Kind.FLOAT: floats}, found.n).normal()


def _text(values: Sequence[str | None]) -> Text:
    vocabulary = Vocabulary()
    known: dict[str | None, int] = {v: vocabulary.code(v) for v in dict.fromkeys(values) if v is not None}
    known[None] = -1
    return Text(np.fromiter(map(known.__getitem__, values), np.int32, len(values)), vocabulary)


def answer(gathered: Gathered, run: int) -> Answer:
    """The rows of one query's series as an Answer, all of them of the run `run`."""
    time, fields = gathered.columns()
    sizes = gathered.sizes()
    stop = np.cumsum(sizes)
    names = [name for name, _ in gathered.series]
    dimensions = sorted({tag for _, tags in gathered.series for tag in tags})
    return Answer(
        run=np.full(len(names), run, np.int64),
        name=Text.of(names),
        tags={d: Text.of(tags.get(d, "") for _, tags in gathered.series) for d in dimensions},
        start=stop - sizes,
        stop=stop,
        time=time,
        fields=fields,
    )
