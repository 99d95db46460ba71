"""The points that queries read, kept as InfluxDB keeps them: by series, in order of time, one a series and moment.

Where points of a series have the same time, the value of each field that was written last counts. InfluxDB keeps points
in shards, weeks from Monday to Monday. In a shard, a field has the type of the value that was written first; a point
with a value of another type is dropped, though its series stays known. Points are written in the order in which they
are appended.

**The schema** (which fields and tags a measurement has, for `*` and regexes; which series there are, for SLIMIT) that
a query with a range start to stop sees is that of the points before stop: their tags, and their fields and series in
the shards that the range touches. So it does not depend on how points were cut into batches, and is what a database
would have known when the range ended. With `whole` it is that of all points, as where a database was full before
the first query; all must have been appended then. It survives `forget`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tickc.runtime.batch import DTYPES, Array, Column, Rows, Text, select
from tickc.runtime.influxql.schema import Schema, stronger
from tickc.runtime.influxql.tree import Measurement
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.group import Codes, Combinations, Lookup
from tickc.runtime.regex import compile_regex

DAY = 86_400_000_000_000
SHARD = 7 * DAY
MONDAY = 4 * DAY  # the first one after 1970 began
NEVER, LONG_AGO = (1 << 63) - 1, -(1 << 63)
TYPES = {Kind.FLOAT: "float", Kind.INT: "integer", Kind.STRING: "string", Kind.BOOL: "boolean"}
NO_KIND = 255

Origin = tuple[str, str, str]  # database, retention policy, measurement


def shard_of(time: Array) -> Array:
    """The number of the shard of each moment."""
    return (time - MONDAY) // SHARD


def shard_start(shard: Array) -> Array:
    """When a shard begins, ns."""
    return shard * SHARD + MONDAY


@dataclass(frozen=True)
class Table:
    """Points by series, in order of time: those of series s are begin[s]:begin[s + 1]; begin: i8[series + 1]."""

    time: Array
    begin: Array
    fields: dict[str, Column]

    def __len__(self) -> int:
        return len(self.time)

    @cached_property
    def series(self) -> Array:
        """i4[n]: the series of each point."""
        return np.repeat(np.arange(len(self.begin) - 1, dtype=np.int32), np.diff(self.begin))

    def field(self, name: str) -> Column:
        found = self.fields.get(name)
        return Column.absent(len(self)) if found is None else found


@dataclass
class Series:
    """All series that have come, by code in order of appearance.

    key: the series' keys in InfluxDB, by which it sorts them. derived: tables made of all that, by names of their own;
    they go when a series comes.
    """

    origins: dict[Origin, int] = field(default_factory=dict)
    origin: list[int] = field(default_factory=list)
    tags: list[tuple[tuple[str, str], ...]] = field(default_factory=list)  # sorted by name
    codes: dict[tuple[int, tuple[tuple[str, str], ...]], int] = field(default_factory=dict)
    key: list[str] = field(default_factory=list)
    derived: dict[Any, Any] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)
    _columns: dict[str, Codes] = field(default_factory=dict)
    _tables: dict[object, tuple[Combinations, Lookup]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.origin)

    def snapshot(self) -> list[Any]:
        """The origins, and origin and tags of each series."""
        return [list(self.origins), self.origin, self.tags]

    def restore(self, saved: Sequence[Any]) -> None:
        """Take over a snapshot; for a table without series."""
        origins, origin, tags = saved
        for code, own in zip(origin, tags):
            self._add(origins[code], own)

    def encode(self, rows: Rows) -> Array:
        """i4[n]: the series of each row."""
        n = len(rows)
        fresh = sorted(name for name in rows.tags if name not in self._names)
        if fresh:
            self._names.extend(fresh)
            self._tables.clear()
        places = rows.database, rows.policy, rows.name
        constant = all(map(_is_constant, places))
        key = tuple(text.at(0) for text in places) if constant else None
        combinations, lookup = self._tables.setdefault(key, (Combinations(), Lookup()))
        columns = [] if constant else [self._own(f" {i}", text) for i, text in enumerate(places)]
        absent = np.broadcast_to(np.int32(-1), (n,))
        columns += [self._own(name, rows.tags[name]) if name in rows.tags else absent for name in self._names]
        combined = combinations.encode(columns or [absent])
        return lookup.groups(combined, lambda row: self._code(rows, row))

    def _own(self, name: str, text: Text) -> Array:
        return self._columns.setdefault(name, Codes()).of(text)

    def _code(self, rows: Rows, row: int) -> int:
        origin = rows.database.at(row) or "", rows.policy.at(row) or "", rows.name.at(row) or ""
        return self._add(origin, tuple(sorted((k, v) for k, text in rows.tags.items() if (v := text.at(row)))))

    def _add(self, origin: Origin, tags: tuple[tuple[str, str], ...]) -> int:
        """The code of a series."""
        key = self.origins.setdefault(origin, len(self.origins)), tags
        if key not in self.codes:
            self.codes[key] = len(self.origin)
            self.origin.append(key[0])
            self.tags.append(tags)
            self.key.append(_key(origin[2], tags))
            self.derived.clear()
        return self.codes[key]

    def tag(self, name: str) -> Text:
        """The values of a tag by series, -1 where it is absent."""
        key = "tag", name
        if key not in self.derived:
            self.derived[key] = Text.of(dict(tags).get(name) for tags in self.tags)
        return self.derived[key]

    def names(self) -> Text:
        """The measurements by series."""
        origins = list(self.origins)
        return Text.of(origins[o][2] for o in self.origin)

    def matching(self, measurement: Measurement) -> list[int]:
        """The origins that a measurement of a query is. An unknown database or policy matches all."""
        regex = None if measurement.regex is None else compile_regex(measurement.regex)

        def fits(wanted: str, found: str) -> bool:
            return not wanted or not found or wanted == found

        return [
            code
            for (database, policy, name), code in self.origins.items()
            if fits(measurement.database, database) and fits(measurement.policy, policy)
            and (name == measurement.name if regex is None else regex.search(name))
        ]  # fmt: skip


def _is_constant(text: Text) -> bool:
    return text.codes.strides == (0,) or bool((text.codes == text.codes[0]).all())


def _key(name: str, tags: Sequence[tuple[str, str]]) -> str:
    return _escaped(name, ", ") + "".join(f",{_escaped(k, ',= ')}={_escaped(v, ',= ')}" for k, v in tags)


def _escaped(text: str, special: str) -> str:
    for c in special:
        text = text.replace(c, "\\" + c)
    return text


class History:
    """The points that queries read.

    Rows are appended in any order in a replay, in a backfill as `Input.in_time` gives them. `dropped` counts, by
    reason, the points that InfluxDB would not have written.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self.points = 0  # that were appended, forgotten ones too
        self.dropped: Counter[str] = Counter()
        self.series = Series()
        self.first: dict[int, Array] = {}  # shard -> i8[series], the time of the first point there, or NEVER
        self.kinds: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}
        """Field -> (origin, shard) -> its kind there, and since when it is there."""
        self.tagged: dict[tuple[int, str], int] = {}  # (origin, tag) -> since when it is there
        self._pending: list[Part] = []
        self._table = Table(np.empty(0, np.int64), np.zeros(1, np.int64), {})
        self._before = LONG_AGO

    def snapshot(self) -> list[Any]:
        """What is known, and the points that may still be asked for."""
        table = self.table()
        return [
            self.points, self.dropped, self.series.snapshot(), self.first, self.kinds, self.tagged,
            table.time, table.begin, table.fields, self._before,
        ]  # fmt: skip

    def restore(self, saved: Sequence[Any]) -> None:
        """Take over a snapshot; for a history without points."""
        self.points, self.dropped, series, self.first, self.kinds, self.tagged, *table, self._before = saved
        self.series.restore(series)
        self._table = Table(*table)

    def append(self, rows: Rows) -> None:
        """Write points, in their order."""
        rows = self._without_bad_names(rows)
        if not len(rows):
            return
        codes = self.series.encode(rows)
        time = np.ascontiguousarray(rows.time)
        self._note_series(time, codes)
        keep = self._admit(time, codes, rows.fields)
        if keep is not None:
            self.dropped["field type conflict"] += len(rows) - int(keep.sum())
            rows, codes = rows.take(keep), codes[keep]
            time = np.ascontiguousarray(rows.time)
        self.points += len(rows)
        self._pending.append((time, codes, dict(rows.fields)))

    def forget(self, before: int) -> None:
        """Points before this moment (ns) will not be asked for again."""
        self._before = max(self._before, before)
        self._pending = [p for p in self._pending if p[0].max(initial=LONG_AGO) >= before]

    def table(self) -> Table:
        """All points that may still be asked for."""
        if self._pending or len(self._table.begin) <= len(self.series):
            self._table = self._merged()
            self._pending = []
        return self._table

    # Writing

    def _without_bad_names(self, rows: Rows) -> Rows:
        """InfluxDB takes no tag and no field with the name `time`."""
        if "time" in rows.tags:
            tag = rows.tags["time"]
            bad = np.array([bool(s) for s in (*tag.vocabulary.strings, "")])[tag.codes]
            self.dropped["invalid tag key: time"] += int(bad.sum())
            rows = rows.with_(tags={k: v for k, v in rows.tags.items() if k != "time"}).take(~bad)
        if "time" in rows.fields:
            rows = rows.with_(fields={k: v for k, v in rows.fields.items() if k != "time"})
        return rows

    def _admit(self, time: Array, codes: Array, fields: Mapping[str, Column]) -> Array | None:
        """bool[n]: the points whose fields have the types of their shards, None for all; learns new fields."""
        shards = shard_of(np.array([time.min(), time.max()]))
        width = int(shards[1] - shards[0]) + 1
        origins = np.array(self.series.origin, np.int64)
        place = origins[codes] * width
        if width > 1:
            place += shard_of(time) - shards[0]
        places = [(int(o), int(shards[0]) + s) for o in range(len(self.series.origins)) for s in range(width)]
        known = np.full((len(fields), len(places)), NO_KIND, np.int64)
        since = np.full((len(fields), len(places)), NEVER, np.int64)
        for f, name in enumerate(fields):
            for p, found in enumerate(self.kinds.get(name, {}).get(at) for at in places):
                if found is not None:
                    known[f, p], since[f, p] = found
        columns = [np.atleast_1d(np.asarray(c.kinds, np.uint8)) for c in fields.values()]
        before = known.copy(), since.copy()
        keep: Array | None = None
        if any(survey(place, kinds, time, known[f], since[f]) for f, kinds in enumerate(columns)):
            known, since = before
            keep = np.zeros(len(time), np.bool_)
            kinds = np.stack([np.broadcast_to(c, (len(time),)) for c in columns])
            admit(place, kinds, time, known, since, keep)
        for f, name in enumerate(fields):
            for p in np.flatnonzero(known[f] != NO_KIND).tolist():
                self.kinds.setdefault(name, {})[places[p]] = int(known[f, p]), int(since[f, p])
        return keep

    def _note_series(self, time: Array, codes: Array) -> None:
        shard = shard_of(np.array([time.min(), time.max()]))
        for number in range(int(shard[0]), int(shard[1]) + 1):
            first = self.first.get(number, np.empty(0, np.int64))
            if len(first) < len(self.series):
                first = np.concatenate([first, np.full(len(self.series) - len(first), NEVER)])
            self.first[number] = first
            inside: slice | Array = slice(None)
            if shard[0] != shard[1]:
                inside = np.flatnonzero(shard_of(time) == number)
            elif first.max() <= time.min():
                return
            known = first.copy()
            earliest(time[inside], codes[inside], first)
            for code in np.flatnonzero(first < known).tolist():
                for tag, _ in self.series.tags[code]:
                    key = self.series.origin[code], tag
                    self.tagged[key] = min(self.tagged.get(key, NEVER), int(first[code]))

    def _merged(self) -> Table:
        """The table with what has come since, without what is forgotten."""
        old = self._table
        parts = [_since(part, self._before) for part in [(old.time, old.series, old.fields), *self._pending]]
        n, m = sum(len(time) for time, _, _ in parts), len(self.series)
        begin = np.zeros(m + 1, np.int64)
        for _, codes, _ in parts:
            count(codes, begin)
        begin = np.cumsum(begin)
        time, at = np.empty(n, np.int64), begin[:-1].copy()
        places, in_order, repeated = [], True, False
        for own, codes, _ in parts:
            place = np.empty(len(own), np.int64)
            ascends, repeats = arrange(own, codes, begin, at, time, place)
            places.append(place)
            in_order, repeated = in_order and ascends, repeated or repeats
        names = {name: None for _, _, fields in parts for name in fields}
        columns = ([fields.get(name, Column.absent(len(own))) for own, _, fields in parts] for name in names)
        table = Table(time, begin, {name: _scattered(own, places, n) for name, own in zip(names, columns)})
        if not in_order:
            order = np.lexsort((time, table.series))
            table = Table(time[order], begin, {name: c.take(order) for name, c in table.fields.items()})
            repeated = bool(((np.diff(table.time) == 0) & (np.diff(table.series) == 0)).any())
        return _deduplicated(table) if repeated else table

    # Schema

    def schema(self, measurements: Sequence[Measurement], shards: tuple[int, int], stop: int) -> Schema:
        """What queries with a range that touches the shards (from, to), and ends at stop, know of measurements."""
        stop = NEVER if self.whole else stop
        schema = Schema()
        for measurement in measurements:
            origins = set(self.series.matching(measurement))
            fields: dict[str, str] = {}
            for name, found in self.kinds.items():
                for (origin, shard), (kind, since) in found.items():
                    if origin in origins and shards[0] <= shard <= shards[1] and since < stop:
                        fields[name] = stronger(fields.get(name, ""), TYPES[Kind(kind)])
            tags = (tag for (origin, tag), since in self.tagged.items() if origin in origins and since < stop)
            schema.fields[measurement] = fields
            schema.tags[measurement] = frozenset(tags)
        return schema

    def moments(self) -> Array:
        """i8[c]: when schemas changed, ascending."""
        since = [s for found in self.kinds.values() for _, s in found.values()]
        return np.unique(np.array([*since, *self.tagged.values()], np.int64))

    def since(self, series: Array, shard: int) -> Array:
        """i8[s]: since when series have points in a shard, NEVER where they have none."""
        first = self.first.get(shard, np.empty(0, np.int64))
        known = series < len(first)
        found = np.full(len(series), NEVER)
        found[known] = first[series[known]]
        return np.where(found < NEVER, LONG_AGO, NEVER) if self.whole else found


def _deduplicated(table: Table) -> Table:
    """One point for a series and moment: of each field the last value."""
    fresh = np.ones(len(table), np.bool_)
    fresh[1:] = (table.time[1:] != table.time[:-1]) | (table.series[1:] != table.series[:-1])
    start = np.flatnonzero(fresh)
    last = np.append(start[1:], len(table)) - 1
    fields = {}
    for name, column in table.fields.items():
        if isinstance(column.kinds, Kind):
            fields[name] = column.take(last)
            continue
        at = np.maximum.reduceat(np.where(column.present(), np.arange(len(table)), -1), start)
        chosen = column.take(np.where(at < start, last, at))
        fields[name] = chosen.normal()
    begin = np.searchsorted(start, table.begin)
    return Table(table.time[start], begin, fields)


Part = tuple[Array, Array, dict[str, Column]]  # times, series and fields of some points


def _since(part: Part, before: int) -> Part:
    """The points from `before` on."""
    time, codes, fields = part
    if not len(time) or int(time.min()) >= before:
        return part
    rows = np.flatnonzero(time >= before)
    return time[rows], codes[rows], {name: column.take(rows) for name, column in fields.items()}


def _scattered(columns: Sequence[Column], places: Sequence[Array], n: int) -> Column:
    """A column of n values from several, each with the places of its values."""
    pairs = [(place, column) for place, column in zip(places, columns) if len(place)]
    kind = pairs[0][1].kinds if pairs else Kind.MISSING
    if isinstance(kind, Kind) and kind in DTYPES and all(column.kinds is kind for _, column in pairs):
        values: Array = np.empty(n, DTYPES[kind])
        for place, column in pairs:
            values[place] = column.data[kind]
        return Column.of(kind, values)
    return select(pairs, n)


@kernel
def survey(place, kinds, time, known, since):  # type: ignore[no-untyped-def]
    """Learn the kind of a field in each place (origin and shard), and since when it is there.

    place: i8[n]; kinds: u1[n] or u1[1] for all; known, since: i8[places]. Returns whether kinds differ in a place.
    """
    clash = False
    uniform = kinds.size == 1
    for i in range(place.size):
        kind = kinds[0] if uniform else kinds[i]
        if kind <= 3:
            p = place[i]
            if known[p] == NO_KIND:
                known[p] = kind
            elif known[p] != kind:
                clash = True
            since[p] = min(since[p], time[i])
    return clash


@kernel
def admit(place, kinds, time, known, since, keep):  # type: ignore[no-untyped-def]
    """`survey` of all fields at once, point by point: those with a value of another kind are left out.

    kinds: u1[fields, n]; known, since: i8[fields, places]; keep: bool[n].
    """
    for i in range(place.size):
        p = place[i]
        fits = True
        for f in range(kinds.shape[0]):
            if kinds[f, i] <= 3 and known[f, p] != NO_KIND and known[f, p] != kinds[f, i]:
                fits = False
        keep[i] = fits
        if fits:
            for f in range(kinds.shape[0]):
                if kinds[f, i] <= 3:
                    known[f, p] = kinds[f, i]
                    since[f, p] = min(since[f, p], time[i])


@kernel
def earliest(time, codes, first):  # type: ignore[no-untyped-def]
    """first[c] (i8) becomes the least time of code c, if that is less."""
    for i in range(time.size):
        c = codes[i]
        if time[i] < first[c]:
            first[c] = time[i]


@kernel
def count(codes, begin):  # type: ignore[no-untyped-def]
    """begin[c + 1] (i8) grows by the number of codes c (i4[n])."""
    for i in range(codes.size):
        begin[codes[i] + 1] += 1


@kernel
def arrange(time, codes, begin, at, out, place):  # type: ignore[no-untyped-def]
    """Put points behind those that their series have already.

    time: i8[n]; codes: i4[n]; begin: i8[series + 1], where series begin; at: i8[series], the next place of each. Out:
    the times at their places; place: i8[n]. Returns whether times ascend within series, and whether some are equal.
    """
    ascends = True
    repeats = False
    for i in range(time.size):
        c = codes[i]
        p = at[c]
        if p > begin[c]:
            if out[p - 1] > time[i]:
                ascends = False
            elif out[p - 1] == time[i]:
                repeats = True
        out[p] = time[i]
        place[i] = p
        at[c] = p + 1
    return ascends, repeats
