"""Points of an InfluxDB, in the order of their times, as a source for backfills.

Each measurement is asked by slices of time, one SELECT each, grouped by all tags: that is what a server answers with
the least work. The rows of a slice are put in order here, so a slice has to fit in memory: its length follows how dense
the points are, and one that turns out too large is broken off and asked again in smaller ones. The next slices are read
in the background. A slice counts only when it has come whole; one that did not is asked again.

Points of one time stand in the order of their measurements and then of their tags, whichever columns are read: first
by the value of the first tag (tags by name), an absent one before all others. That is InfluxDB's own order of series.

An answer leaves out points that have none of the fields asked for. They matter to a task (windows see them), so a
second query asks for the points that lack those fields, by a comparison that is never true of an absent field.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Rows, Text
from tickc.runtime.gotext import parse_duration_influx
from tickc.runtime.influxdb.answers import Gathered, InfluxDBError
from tickc.runtime.influxdb.client import Server, TooMuch, quoted, text_literal
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import (
    BATCH_ROWS,
    Codes,
    Conjunct,
    Problem,
    Problems,
    SourceError,
    Wanted,
    did_you_mean,
)
from tickc.runtime.sources.columnar import pieces

SLICE_VALUES = 2_000_000  # of a slice, about
MOST = 4  # times as many break a slice off
GROWTH, SHRINKAGE = 4, 8  # of the length of slices, at most
FIRST_SLICES = 100  # into which the range is cut before anything is known of it
FIRST, BEYOND = -(2**63) + 2, 2**63 - 1  # the first time that InfluxDB can hold, and the one after the last
GO_YEAR_1 = 62_135_596_800 * 10**9  # ns from the year 1 to 1970: shards begin at multiples of their length since then
HOUR = 3_600 * 10**9
DEFAULT_POLICY = "autogen"
IS_IT_MAPPED = "has it a bucket (influx v1 dbrp list), and may the token read it?"
NUMBER = {"float": Kind.FLOAT, "integer": Kind.INT, "unsigned": Kind.INT, "boolean": Kind.BOOL, "string": Kind.STRING}
_OPERATORS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

DBRP = tuple[str, str]


@dataclass(frozen=True)
class Table:
    """What is asked of one measurement.

    fields: those asked for; kept: those of them that the task reads; others: those of points that matter although they
    have none of `fields`. tags: those that the task reads. where: a condition of InfluxQL, or "". kinds: of fields that
    have one. shard: ns, the length of shards where a field changes its type between them, else 0.
    """

    database: str
    policy: str
    name: str
    fields: tuple[str, ...]
    kept: frozenset[str]
    others: tuple[str, ...]
    tags: frozenset[str]
    where: str
    kinds: Mapping[str, Kind]
    shard: int

    def slice(self, start: int, stop: int) -> Iterator[str]:
        """The queries for start <= time < stop, ns."""
        bounds = f"time >= {start} AND time < {stop}"
        yield self.select(self.fields, (bounds, self.where), "GROUP BY *")
        if self.others:
            yield self.select(self.others, (bounds, self.where, *map(_absent, self.fields)), "GROUP BY *")

    def edge(self, start: int, stop: int, direction: str) -> str:
        """The query for the first (ASC) or the last (DESC) point with start <= time < stop."""
        bounds = f"time >= {start} AND time < {stop}"
        return self.select((*self.fields, *self.others), (bounds, self.where), f"ORDER BY time {direction} LIMIT 1")

    def select(self, fields: Sequence[str], conditions: Sequence[str], rest: str) -> str:
        """A SELECT of some fields."""
        columns = ", ".join(f"{quoted(name)}::field" for name in fields)
        place = ".".join(map(quoted, (self.database, self.policy, self.name)))
        return f"SELECT {columns} FROM {place} WHERE {' AND '.join(filter(None, conditions))} {rest}"

    @property
    def order(self) -> tuple[str, str, str]:
        return self.name, self.database, self.policy


@dataclass(frozen=True, slots=True)
class _Slice:
    """The rows of a slice in order, and what was left out of it, with how often."""

    rows: Rows
    problems: list[tuple[Problem, int]]


class Points:
    """The points of a server; iterate once. What was left out is then in `problems`.

    It has the face of `sources.inputs.Input`; size and position are ns.
    """

    total_rows = None
    sort = False

    def __init__(
        self,
        server: Server,
        wanted: Wanted,
        origins: Sequence[DBRP] = (),
        *,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        """Asks the server what there is; origins: databases and policies to read where the address names none.

        Raises SourceError.
        """
        self.server, self.wanted, self.batch_rows = server, wanted, batch_rows
        self.problems, self.codes = Problems(), Codes()
        self.rows_read = 0
        server.check()
        self.tables = sorted(
            (t for d, p in _places(server, origins) for t in _tables(server, d, p, wanted)),
            key=lambda t: t.order,
        )
        if not self.tables:
            raise self._nothing(origins)
        self.start, self.stop = self._range()
        self.reached = self.start
        self._place: dict[str, Any] = {"start": self.start, "stop": self.stop, "at": self.start, "given": 0, "rows": 0,
                       "problems": self.problems.snapshot()}  # fmt: skip
        width = 2 + max(len(t.fields) for t in self.tables)
        self.slice_rows = max(SLICE_VALUES // width, 1)

    @property
    def size(self) -> int:
        """The length of the range of time."""
        return self.stop - self.start

    @property
    def position(self) -> int:
        """How much of it has been read."""
        return self.reached - self.start

    @property
    def columns(self) -> tuple[set[str], set[str]]:
        """The tags and fields that will be read."""
        return {tag for t in self.tables for tag in t.tags}, {field for t in self.tables for field in t.kept}

    def __iter__(self) -> Iterator[Rows]:
        for rows, _ in self.in_time():
            yield rows

    def in_time(self) -> Iterator[tuple[Rows, int]]:
        """The rows, each batch with a moment (ns): all rows before it have come, this batch included."""
        skip = int(self._place["given"])
        for start, stop, found in self._slices():
            known, given = self.problems.snapshot(), 0
            for problem, times in found.problems:
                self.problems.add(problem, times)
            for piece in pieces(_shared(found.rows, self.codes), self.batch_rows):
                given += len(piece)
                if skip:
                    piece, skip = piece.take(slice(skip, None)), max(0, skip - len(piece))
                if len(piece):
                    self.rows_read += len(piece)
                    self._place = {**self._place, "at": start, "given": given, "rows": self.rows_read,
                                   "problems": known}  # fmt: skip
                    yield piece, int(piece.time[-1])
            self.reached = stop

    def identity(self) -> list[Any]:
        """What tells whether two of them read the same: the server, and what is asked of it."""
        return [str(self.server.address), [table.select(table.fields, ("",), "") for table in self.tables]]

    def place(self) -> dict[str, Any]:
        """How far it was read, as JSON: which slice, and how many of its rows were given."""
        return self._place

    def go_on(self, place: Mapping[str, Any]) -> None:
        """Give the points that come after the place of another; before the first ones."""
        self._place = dict(place)
        self.start, self.stop, self.reached = place["start"], place["stop"], place["at"]
        self.rows_read = place["rows"]
        self.problems.restore(place["problems"])

    def close(self) -> None:
        """Close the connections."""
        self.server.close()

    # -- the range

    def _range(self) -> tuple[int, int]:
        """The range of time that is read: what is wanted, and where that is open, what the points span."""
        start, stop = self.wanted.start, self.wanted.stop
        if start is None:
            start = min((t for t in (self._edge(t, "ASC") for t in self.tables) if t is not None), default=0)
        if stop is None:
            stop = max((t + 1 for t in (self._edge(t, "DESC") for t in self.tables) if t is not None), default=0)
        start = max(start, FIRST)
        return start, max(start, min(stop, BEYOND))

    def _edge(self, table: Table, direction: str) -> int | None:
        """The time of the first or the last point of a measurement in the wanted range; None where there is none."""
        low = FIRST if self.wanted.start is None else max(self.wanted.start, FIRST)
        high = BEYOND if self.wanted.stop is None else min(self.wanted.stop, BEYOND)
        rows = self.server.table(table.edge(low, high, direction), table.database)
        return int(rows[0][1]["time"]) if rows else None

    def _cut(self, start: int, stop: int) -> int:
        """Where a slice from `start` ends at the latest: where a field may change its type."""
        for table in self.tables:
            if table.shard:
                stop = min(stop, start + table.shard - (start + GO_YEAR_1) % table.shard)
        return stop

    def _nothing(self, origins: Sequence[DBRP]) -> SourceError:
        """The error where none of the measurements is there."""
        address, wanted = self.server.address, self.wanted.measurements
        database = address.database or next(d for d, _ in origins if d)
        known = [str(row["name"]) for _, row in self.server.table(f"SHOW MEASUREMENTS ON {quoted(database)}", database)]
        if wanted is None:
            return SourceError(f"the database {database} at {address.base} holds no measurement")
        hint = did_you_mean(min(wanted, default=""), known)
        return SourceError(f"there is no measurement {' or '.join(sorted(wanted))} in the database {database}", hint)

    # -- one slice

    def _read(self, start: int, stop: int, dropped: threading.Event) -> _Slice:
        """The rows of one slice in order; TooMuch where it has too many and can be cut, or is not wanted any more."""
        most = MOST * self.slice_rows if stop - start > 1 else sys.maxsize
        parts: list[Rows] = []
        problems: list[tuple[Problem, int]] = []
        before = 0
        for table in self.tables:
            answers: list[Gathered] = []
            for text in table.slice(start, stop):
                found = self.server.gather(
                    text, table.database, wanted=table.kept, kinds=table.kinds,
                    go_on=lambda rows, before=before: before + rows <= most and not dropped.is_set(),  # type: ignore[misc]
                )  # fmt: skip
                before += found.rows
                answers.append(found)
            parts.append(_rows(table, answers))
            problems.extend(p for found in answers for p in _beyond(table, found))
        return _Slice(_in_order(parts), problems)

    def _slices(self) -> Iterator[tuple[int, int, _Slice]]:
        """The slices from `reached` on in order, with start and stop; several are read at a time."""
        server, at = self.server, self.reached
        length = max((self.stop - self.start) // FIRST_SLICES, 1)
        dropped = threading.Event()  # of the slices that are being read
        waiting: deque[tuple[int, int, Future[_Slice]]] = deque()
        while at < self.stop or waiting:
            while at < self.stop and len(waiting) < server.address.connections:
                end = self._cut(at, min(at + length, self.stop))
                read = partial(self._read, at, end, dropped)
                waiting.append((at, end, server.begin(partial(server.patiently, read))))
                at = end
            start, end, coming = waiting.popleft()
            try:
                found = coming.result()
            except TooMuch:
                if end - start <= 1:
                    raise
                dropped.set()
                dropped = threading.Event()
                waiting.clear()
                at, length = start, max((end - start) // SHRINKAGE, 1)
                continue
            except InfluxDBError as error:
                raise _with_place(error, start) from None
            length = _next_length(length, end - start, len(found.rows), self.slice_rows)
            yield start, end, found


def _rows(table: Table, answers: Sequence[Gathered]) -> Rows:
    """The rows of one measurement, series by series in the order of their tags."""
    found = [gathered.columns() for gathered in answers]
    time = np.concatenate([time for time, _ in found])
    fields = {
        name: Column.concat([columns.get(name) or Column.absent(len(time)) for time, columns in found])
        for name in dict.fromkeys(name for _, columns in found for name in columns)
    }
    series = [tags for gathered in answers for _, tags in gathered.series]
    sizes = np.concatenate([gathered.sizes() for gathered in answers])
    names = sorted({tag for tags in series for tag in tags})
    keys = [tuple(tags.get(name, "") for name in names) for tags in series]
    tags = {
        name: Text.of(key[at] or None for key in keys).take(np.repeat(np.arange(len(keys)), sizes))
        for at, name in enumerate(names)
        if name in table.tags
    }
    name, database, policy = (Text.constant(t, len(time)) for t in (table.name, table.database, table.policy))
    rows = Rows(time, name, database, policy, tags, fields)
    if (rank := _unsorted(keys)) is not None:
        rows = rows.take(np.argsort(np.repeat(rank, sizes), kind="stable"))
    return rows


def _in_order(parts: Sequence[Rows]) -> Rows:
    """The rows of several measurements by their times; of one time, by the order of the parts."""
    rows = Rows.concat(parts)
    if (rows.time[1:] < rows.time[:-1]).any():
        rows = rows.take(np.argsort(rows.time, kind="stable"))
    return rows


def _shared(rows: Rows, codes: Codes) -> Rows:
    """The same rows with the vocabularies that all batches share."""
    return rows.with_(
        name=rows.name.recode(codes.name), database=rows.database.recode(codes.database),
        policy=rows.policy.recode(codes.policy),
        tags={name: text.recode(codes.tag(name)) for name, text in rows.tags.items()},
    )  # fmt: skip


def _unsorted(keys: Sequence[tuple[str, ...]]) -> Array | None:
    """i8[m]: the rank of each series, where they do not stand in their order."""
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if order == list(range(len(keys))):
        return None
    rank = np.empty(len(keys), np.int64)
    rank[order] = np.arange(len(keys))
    return rank


def _beyond(table: Table, gathered: Gathered) -> Iterator[tuple[Problem, int]]:
    """The numbers that were left out because int64 does not hold them, and how many."""
    for name, times in gathered.beyond.counts.items():
        reason = f"field {name}: the number is beyond int64"
        yield (
            Problem(f"{table.database}.{table.policy}.{table.name}", reason, text=str(gathered.beyond.first[name])),
            times,
        )


def _next_length(length: int, last: int, rows: int, wanted: int) -> int:
    """The length of slices to come, after one of length `last` had so many rows."""
    ideal = last * GROWTH if not rows else last * wanted // rows
    return max(min(ideal, length * GROWTH), length // SHRINKAGE, 1)


def _with_place(error: InfluxDBError, start: int) -> SourceError:
    from tickc.runtime.gotext import times_rfc3339nano

    place = times_rfc3339nano(np.array([start], np.int64))[0]
    return InfluxDBError(
        f"{error.message} (all points before {place} had been read)", error.hint,
        transient=error.transient, status=error.status, reason=error.reason,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- what there is


def _places(server: Server, origins: Sequence[DBRP]) -> list[DBRP]:
    """The databases and retention policies to read, of which all are there."""
    address = server.address
    if address.database:
        asked = [(address.database, address.policy)]
    else:
        asked = list(dict.fromkeys((d, p) for d, p in origins if d))
    if not asked:
        raise SourceError("the address names no database, nor does the script", f"{address.base} is followed by one")
    found = [(database, _policy(server, database, policy)) for database, policy in asked]
    if address.database and origins and (wrong := [p for p in found if not _meant(p, origins)]):
        reads = ", ".join(f"{d}.{p}" for d, p in origins)
        shown = ".".join(wrong[0])
        raise SourceError(f"the task reads {reads}, and the address names {shown}", "leave the database out of the URL")
    return found


def _meant(place: DBRP, origins: Sequence[DBRP]) -> bool:
    return any(d in ("", place[0]) and p in ("", place[1]) for d, p in origins)


def _policy(server: Server, database: str, policy: str) -> str:
    """The retention policy of that name, or the default one; SourceError where there is none such."""
    if server.version == 3:
        return policy or DEFAULT_POLICY  # a database has one policy, which is named so in queries
    try:
        rows = [row for _, row in server.table(f"SHOW RETENTION POLICIES ON {quoted(database)}", database)]
    except InfluxDBError as error:
        if "not found" not in error.reason:
            raise
        rows = []
    if not rows:  # version 2 tells nothing of databases that it does not have, or does not let us read
        known = [str(row["name"]) for _, row in server.table("SHOW DATABASES")]
        hint = did_you_mean(database, known) or (IS_IT_MAPPED if server.version == 2 else "")
        raise SourceError(f"there is no database {database} at {server.address.base}", hint)
    names = [str(row["name"]) for row in rows]
    if policy:
        if policy not in names:
            raise SourceError(f"the database {database} has no retention policy {policy}", did_you_mean(policy, names))
        return policy
    if (default := next((str(row["name"]) for row in rows if row.get("default")), None)) is None:
        raise SourceError(
            f"the database {database} has no default retention policy", f"name one: {database}.{names[0]}"
        )
    return default


def _tables(server: Server, database: str, policy: str, wanted: Wanted) -> Iterator[Table]:
    """What is asked of each wanted measurement that is there."""
    named = server.address.measurements
    chosen = set(named) if named else None
    if wanted.measurements is not None:
        chosen = set(wanted.measurements) & chosen if chosen is not None else set(wanted.measurements)
    if chosen is not None and not chosen:
        raise SourceError(
            f"the task reads {', '.join(wanted.measurements or ())}, the address names {', '.join(named)}"
        )
    types = _schema(server, database, policy, chosen, "FIELD KEYS")
    tags = (
        _tags(server, database, policy, types)
        if server.version == 2
        else _schema(server, database, policy, chosen, "TAG KEYS")
    )
    shard = _shard(server, database, policy) if any(len(t) > 1 for m in types.values() for t in m.values()) else 0
    for name, fields in types.items():
        table = _table((database, policy, name), fields, set(tags.get(name, {})), wanted, shard)
        if table.others and not _knows_absence(server, table):
            table = replace(table, fields=(*table.fields, *table.others), others=())
        yield table


def _knows_absence(server: Server, table: Table) -> bool:
    """Whether a field that is absent can be asked for: InfluxDB 3 does not take null for false."""
    if server.version == 3:
        return False
    nobody = "no such field"
    while nobody in (*table.fields, *table.others, *table.tags):
        nobody += "_"
    return bool(server.table(table.select(table.fields, (_absent(nobody),), "LIMIT 1"), table.database))


def _schema(
    server: Server, database: str, policy: str, chosen: Collection[str] | None, what: str
) -> dict[str, dict[str, set[str]]]:
    """{measurement: {field or tag: its types}}."""
    place = "" if server.version == 3 else f"{quoted(policy)}."  # which takes it from the request
    sources = [f"{place}/.*/"] if chosen is None else [f"{place}{quoted(name)}" for name in sorted(chosen)]
    found: dict[str, dict[str, set[str]]] = {}
    text = f"SHOW {what} ON {quoted(database)} FROM {', '.join(sources)}"
    for name, row in server.table(text, database, policy):
        key = row.get("fieldKey", row.get("tagKey"))
        found.setdefault(name, {}).setdefault(str(key), set()).add(str(row.get("fieldType", "")))
    return found


def _tags(server: Server, database: str, policy: str, measurements: Iterable[str]) -> dict[str, Collection[str]]:
    """The tags of measurements by the answer to a query; version 2 shows those of the default policy alone."""
    texts = {
        name: f"SELECT *::field FROM {'.'.join(map(quoted, (database, policy, name)))} GROUP BY * LIMIT 1 SLIMIT 1"
        for name in measurements
    }
    return {name: server.tags(text, database).keys() for name, text in texts.items()}


def _shard(server: Server, database: str, policy: str) -> int:
    """The length of the shards of a retention policy in ns; version 2 does not tell it, but has none below an hour."""
    if server.version == 2:
        return HOUR
    for _, row in server.table(f"SHOW RETENTION POLICIES ON {quoted(database)}", database):
        if row["name"] == policy and row.get("shardGroupDuration"):
            return parse_duration_influx(str(row["shardGroupDuration"]))
    return 0


def _table(
    place: tuple[str, str, str], types: Mapping[str, set[str]], tags: set[str], wanted: Wanted, shard: int
) -> Table:
    kept = [f for f in sorted(types) if wanted.field(f)]
    rest = tuple(f for f in sorted(types) if f not in kept)
    conditions = [c for c in wanted.predicate if _told(c, types, tags)]
    has_field = any(column in types for column, _, _ in conditions)
    return Table(
        *place,
        fields=tuple(kept) or rest,
        kept=frozenset(kept),
        others=() if not kept or has_field else rest,
        tags=frozenset(t for t in tags if wanted.tag(t)),
        where=" AND ".join(_condition(c, types) for c in conditions),
        kinds={f: NUMBER[next(iter(t))] for f, t in types.items() if len(t) == 1 and next(iter(t)) in NUMBER},
        shard=shard if any(len(types[f]) > 1 for f in kept) else 0,
    )


def _absent(field: str) -> str:
    """A condition that holds where the field is absent: null compares to nothing, and nothing is as good as false."""
    return f"({quoted(field)}::field = {quoted(field)}::field) = false"


def _told(conjunct: Conjunct, types: Mapping[str, set[str]], tags: Collection[str]) -> bool:
    """Whether the server can be told a comparison: it must let through all points that may fulfil it."""
    column, operator, literal = conjunct
    if column in tags:
        return column not in types and isinstance(literal, str) and operator in ("==", "!=")
    kinds = types.get(column, set())
    if isinstance(literal, (bool, str)):
        return kinds == {"boolean" if isinstance(literal, bool) else "string"} and operator in ("==", "!=")
    return len(kinds) == 1 and kinds <= {"float", "integer"} and np.isfinite(literal)


def _condition(conjunct: Conjunct, types: Mapping[str, set[str]]) -> str:
    column, operator, literal = conjunct
    kind = next(iter(types[column])) if column in types else "tag"
    match literal:
        case bool():
            value = "true" if literal else "false"
        case str():
            value = text_literal(literal)
        case float():
            value = f"{Decimal(repr(literal)):f}"
            value = value if "." in value else f"{value}.0"
        case _:
            value = str(literal)
    return f"{quoted(column)}::{kind} {_OPERATORS[operator]} {value}"
