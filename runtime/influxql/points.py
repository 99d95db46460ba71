"""Reading points for a query: the series of its measurements, and the points that its condition lets through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tickc.runtime.batch import Array, Column, Text
from tickc.runtime.influxql.formula import matching, truth
from tickc.runtime.influxql.history import History
from tickc.runtime.influxql.schema import TAG, UNKNOWN
from tickc.runtime.influxql.tree import Binary, Expr, Lit, Measurement, Paren, Ref, Regex
from tickc.runtime.kinds import Kind

FLOAT, INT, STRING, BOOL, MISSING = Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL, Kind.MISSING
KINDS = {"float": FLOAT, "integer": INT, "string": STRING, "boolean": BOOL, TAG: STRING}
NAME = "_name"  # stands for the measurement in conditions
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "=~", "!~")


@dataclass(frozen=True)
class Labels:
    """What series are called: a name and the values of dimensions (sorted names; "" for an absent tag), ascending."""

    dims: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]

    @cached_property
    def names(self) -> Array:
        """i8[labels]: labels of the same name have the same number, which ascend."""
        found = {name: i for i, name in enumerate(dict.fromkeys(key[0] for key in self.keys))}
        return np.array([found[key[0]] for key in self.keys], np.int64)

    @staticmethod
    def of(dims: tuple[str, ...], keys: Iterable[tuple[str, ...]]) -> tuple[Labels, Array]:
        """The labels that occur, and the code of each of n keys."""
        found = list(keys)
        labels = sorted(set(found))
        codes = {key: code for code, key in enumerate(labels)}
        return Labels(dims, tuple(labels)), np.array([codes[key] for key in found], np.int64)

    def among(self, dims: tuple[str, ...]) -> tuple[Labels, Array]:
        """The labels that these are with fewer dimensions, and the code of each in them; an unknown dimension is ""."""
        if dims == self.dims:
            return self, np.arange(len(self.keys))
        places = [self.dims.index(dim) + 1 if dim in self.dims else -1 for dim in dims]
        return Labels.of(dims, ((key[0], *(key[p] if p > 0 else "" for p in places)) for key in self.keys))

    @staticmethod
    def shared(parts: Sequence[Labels]) -> tuple[Labels, list[Array]]:
        """All labels of `parts`, which have the same dimensions, and the codes of each part's in them."""
        if all(part is parts[0] for part in parts):
            return parts[0], [np.arange(len(parts[0].keys))] * len(parts)
        labels, codes = Labels.of(parts[0].dims, (key for part in parts for key in part.keys))
        return labels, np.split(codes, np.cumsum([len(part.keys) for part in parts])[:-1])


@dataclass(frozen=True)
class Source:
    """The series of a measurement of a query: sorted by final label (`final`), then by key, in the direction of time.

    series: i8[s] codes of the history; label: i8[s]; of: i8[labels], the final label of each; forth: 1 or -1.
    """

    series: Array
    labels: Labels
    label: Array
    of: Array
    forth: int

    @cached_property
    def final(self) -> Array:
        return self.of[self.label]

    @cached_property
    def name(self) -> Array:
        return self.labels.names[self.label]

    @cached_property
    def one_series_each(self) -> bool:
        """Whether each final label is of one series alone."""
        return len(np.unique(self.final)) == len(self.final)


@dataclass(frozen=True)
class Scan:
    """Points of a source, by series, in the order of time that is asked for.

    chosen: bool[s], the series that the condition leaves. time: i8[m]; begin, end: i8[s], the points of each series;
    rows: i8[m], where they stand in the table, None: each at its own place. value: of the field that is asked for.
    """

    source: Source
    chosen: Array
    time: Array
    begin: Array
    end: Array
    rows: Array | None
    value: Column | None


class Reader:
    """Reads the points of a history for one answer."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.table = history.table()
        self._scans: dict[object, Scan] = {}

    def source(self, measurement: Measurement, dims: tuple[str, ...], final: tuple[str, ...], forth: int) -> Source:
        """The series of a measurement with labels by `dims`, and by `final`, which are some of them."""
        derived = self.history.series.derived
        key = "source", measurement, dims, final, forth
        if key not in derived:
            derived[key] = self._source(measurement, dims, final, forth)
        return derived[key]

    def _source(self, measurement: Measurement, dims: tuple[str, ...], final: tuple[str, ...], forth: int) -> Source:
        known = self.history.series
        origins = np.zeros(len(known.origins) + 1, np.bool_)
        origins[known.matching(measurement)] = True
        series = np.flatnonzero(origins[np.array(known.origin, np.int64)])
        places = list(known.origins)
        tags = [dict(known.tags[s]) for s in series.tolist()]
        keys = [(places[known.origin[s]][2], *(t.get(d, "") for d in dims)) for s, t in zip(series.tolist(), tags)]
        labels, label = Labels.of(dims, keys)
        _, of = labels.among(final)
        full = [(known.key[s], places[known.origin[s]]) for s in series.tolist()]
        order = sorted(range(len(series)), key=full.__getitem__, reverse=forth < 0)
        order.sort(key=lambda i: int(of[label[i]]))
        return Source(series[order], labels, label[order], of, forth)

    def tag_sets(self, source: Source, final: Sequence[str]) -> Array:
        """i8[s]: the place of each series' tag set in InfluxDB's index, by the keys it has, then their values."""
        keys = []
        for series in source.series.tolist():
            tags = [(k, v) for k, v in self.history.series.tags[series] if k in final]
            keys.append("|".join([*(k for k, _ in tags), *(v for _, v in tags)]))
        places = {key: i for i, key in enumerate(sorted(set(keys)))}
        return np.array([places[key] for key in keys], np.int64)

    def scan(self, source: Source, where: Expr | None, driver: Ref | None, refs: Sequence[Ref]) -> Scan:
        """The points that a condition lets through and that have the field `driver`, or without one any of `refs`."""
        key = id(source), where, driver, tuple(refs) if driver is None else ()
        if key not in self._scans:
            self._scans[key] = self._scan(source, where, driver, refs)
        return self._scans[key]

    def _scan(self, source: Source, where: Expr | None, driver: Ref | None, refs: Sequence[Ref]) -> Scan:
        table, value = self.table, None
        chosen, mask = np.ones(len(table.begin) - 1, np.bool_), None
        if where is not None:
            chosen, mask = self._filter(where)
        if driver is None:
            columns = [self.column(ref) for ref in refs if ref.type not in (TAG, UNKNOWN)]
            mask = _both(mask, None if any(map(_is_full, columns)) else _any(columns, len(table)))
        else:
            value = self.column(driver) if driver.type not in (TAG, UNKNOWN) else Column.absent(len(table))
            mask = _both(mask, None if _is_full(value) else value.present())
        time, rows = table.time, None
        begin, end = table.begin[source.series], table.begin[source.series + 1]
        if mask is not None:
            rows = np.flatnonzero(mask)
            time, begin, end = time[rows], np.searchsorted(rows, begin), np.searchsorted(rows, end)
            if value is not None:
                value = _of_one_kind(value.take(rows))
        if source.forth < 0:
            back = slice(None, None, -1)
            begin, end = len(time) - end, len(time) - begin
            rows = np.arange(len(time) - 1, -1, -1) if rows is None else rows[back]
            time, value = np.ascontiguousarray(time[back]), None if value is None else value.take(back)
        return Scan(source, chosen[source.series], time, begin, end, rows, value)

    def column(self, ref: Ref, rows: Array | None = None) -> Column:
        """A field, as the type that is asked for, or a tag, in some rows of the table."""
        if ref.type in (TAG, UNKNOWN):
            codes = self.table.series if rows is None else self.table.series[rows]
            text = self.history.series.tag(ref.name).take(codes)
            return Column.masked(STRING, text, text.codes >= 0)
        column = self.table.field(ref.name)
        return cast(column if rows is None else column.take(rows), ref.type)

    def columns(self, refs: Sequence[Ref], scan: Scan, points: Array) -> tuple[Column, ...]:
        """The values of `refs` at some points of a scan."""
        if not refs:
            return ()
        rows = points if scan.rows is None else scan.rows[points]
        return tuple(self.column(ref, rows) for ref in refs)

    # Conditions: which series they leave (bool[series]), and which rows of the table (bool[n], None: all of those)

    def _filter(self, expr: Expr) -> tuple[Array, Array | None]:
        """As InfluxDB walks a condition through its index: tags are compared there, without a null; fields by point."""
        n = len(self.table.begin) - 1
        match expr:
            case Paren(expr=inner):
                return self._filter(inner)
            case Lit(value=value):
                return np.full(n, value is True), None
            case Binary(op="AND" | "OR" as op, left=left, right=right):
                (one, a), (other, b) = self._filter(left), self._filter(right)
                both = op == "AND"
                if a is None and b is None:
                    return one & other if both else one | other, None
                a, b = self._rows(one, a), self._rows(other, b)
                return (one & other, a & b) if both else (one | other, a | b)
            case Binary(op=op) if op in COMPARISONS:
                found = self._by_tags(expr)
                return found if found is not None else (np.ones(n, np.bool_), self._by_points(expr))
            case Binary():
                return np.ones(n, np.bool_), None
        return np.zeros(n, np.bool_), None

    def _rows(self, series: Array, mask: Array | None) -> Array:
        rows = series[self.table.series]
        return rows if mask is None else rows & mask

    def _by_points(self, expr: Expr) -> Array:
        return truth(expr, self.column, len(self.table))

    def _by_tags(self, expr: Binary) -> tuple[Array, None] | None:
        """The series that a comparison of tags leaves; None where it has to be asked of each point."""
        ref, value = (expr.left, expr.right) if isinstance(expr.left, Ref) else (expr.right, expr.left)
        if not isinstance(ref, Ref) or isinstance(value, Binary):
            return None
        if ref.type not in (TAG, UNKNOWN) and ref.name != NAME:
            return None
        series = self.history.series
        tag = series.names() if ref.name == NAME else series.tag(ref.name)
        match expr.op, value:
            case "=" | "!=" as op, Lit(value=str() as wanted):
                same = tag.codes == tag.vocabulary.find(wanted) if wanted else tag.codes < 0
                return same == (op == "="), None
            case "=~" | "!~" as op, Regex(pattern=pattern):
                empty = matching(Text.constant("", 1), pattern)[0]
                return np.where(tag.codes < 0, empty, matching(tag, pattern)) == (op == "=~"), None
            case op, Ref(name=name, type=kind) if kind in (TAG, UNKNOWN):
                codes = series.tag(name).recode(tag.vocabulary).codes
                same = (tag.codes == codes) & (tag.codes >= 0)
                return same if op == "=" else ~same if op == "!=" else np.zeros(len(same), np.bool_), None
            case _, Lit(value=str()) | Regex():
                return np.zeros(len(tag), np.bool_), None
        return None


def cast(column: Column, kind: str) -> Column:
    """The values of a field as a type; what is neither of it nor a number that can become one is absent."""
    if kind in ("", "field"):
        return column
    wanted = KINDS[kind]
    if column.kinds is wanted or column.kinds is MISSING:
        return column
    if wanted not in (FLOAT, INT):
        present = column.is_kind(wanted)
        return Column.masked(wanted, column.data[wanted], present) if present.any() else Column.absent(len(column))
    other = INT if wanted is FLOAT else FLOAT
    own, foreign = column.is_kind(wanted), column.is_kind(other)
    if not (own.any() or foreign.any()):
        return Column.absent(len(column))
    values = column.data.get(wanted)
    if foreign.any():
        with np.errstate(all="ignore"):
            changed = column.data[other].astype(np.float64 if wanted is FLOAT else np.int64)
        values = changed if values is None else np.where(foreign, changed, values)
    return Column.masked(wanted, values, own | foreign)


def _is_full(column: Column) -> bool:
    return isinstance(column.kinds, Kind) and column.kinds is not MISSING


def _any(columns: Sequence[Column], n: int) -> Array:
    some = np.zeros(n, np.bool_)
    for column in columns:
        some |= column.present()
    return some


def _both(one: Array | None, other: Array | None) -> Array | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


def _of_one_kind(column: Column) -> Column:
    """A column whose rows are all present, with a kind even where there are no rows."""
    if len(column) or isinstance(column.kinds, Kind):
        return column.normal()
    return Column(next(iter(column.data), FLOAT), dict(column.data), 0)
