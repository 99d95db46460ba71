"""InfluxQL functions: aggregates, selectors and transforms of one field.

On a batch edge a segment is a batch; on a stream edge it is a run of consecutive points of a group with equal time,
known to be complete when a point with another time comes. Which reducer works on a segment is decided by the kind of
its first usable value; the kernels in `resolve` find that out for columns that mix kinds, those in `reducers` and
`transforms` then see only values of one kind. Rules come from Kapacitor's influxql.go and influxql.gen.go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tickc.runtime.batch import (
    BARRIER,
    MISSING,
    Array,
    Batch,
    Column,
    Groups,
    Marks,
    Points,
    Rows,
    Segments,
    Text,
    Vocabulary,
    select,
)
from tickc.runtime.graph import AT_THE_END, Operator
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes import reducers as r
from tickc.runtime.nodes import transforms as t
from tickc.runtime.nodes.block import select as columns
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.group import Retagging
from tickc.runtime.nodes.resolve import (
    FLOAT,
    KIND,
    NAME,
    NIL,
    NONE,
    OPEN,
    TIME,
    resolve_points,
    resolve_segments,
    scan_runs,
)
from tickc.runtime.nodes.window import Names, grown, rows_by_group

NUMERIC = (Kind.FLOAT, Kind.INT)
ANY = (Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL)

AGGREGATES = ("count", "mean", "median", "mode", "spread", "stddev", "sum")
SELECTORS = ("first", "last", "min", "max", "percentile")
TO_BATCH = ("bottom", "distinct", "holtWinters", "holtWintersWithFit", "top")
TRANSFORMS = ("cumulativeSum", "difference", "elapsed", "movingAverage")
FUNCTIONS = {
    name: ANY if name in ("count", "distinct", "elapsed", "first", "last") else NUMERIC
    for name in (*AGGREGATES, *SELECTORS, *TO_BATCH, *TRANSFORMS)
}
"""Every function, with the kinds of field that it takes."""
EMPTY_OK = ("count", "sum")  # emit something for a batch without points
NEED_VALUE = ("first", "last", "max", "median", "min", "mode")  # Kapacitor dies where a reducer of these got no value


@dataclass(frozen=True)
class Slices:
    """m segments that emit, each a slice of rows that all have the field with one kind.

    index, start, stop as in `Segments`; kind: u1[m] the kind of each slice; time: i8[m] ns, what the output is stamped
    with; group, name, seq: those of the output.
    """

    rows: Rows
    index: Array | None
    start: Array
    stop: Array
    kind: Array
    time: Array
    group: Array
    name: Text
    seq: Array

    def __len__(self) -> int:
        return len(self.start)

    def take(self, chosen: Array) -> Slices:
        """Some of the slices (index array or mask)."""
        return replace(
            self,
            start=self.start[chosen],
            stop=self.stop[chosen],
            kind=self.kind[chosen],
            time=self.time[chosen],
            group=self.group[chosen],
            name=self.name.take(chosen),
            seq=self.seq[chosen],
        )


class Ranks:
    """The values of given ranks (i8[m], -1 for none) in slices, found without sorting; `rows` tells where they stand.

    key, below, equal: i8[m] as `reducers.ranked` has them, of no meaning where there is a NaN in the column. keyed:
    whether there is neither that nor a -0, so that the key tells the value.
    """

    def __init__(self, values: Array, slices: Slices, rank: Array) -> None:
        self.values, self.index, self.rank = values, slices.index, rank
        self.start, self.stop = slices.start, slices.stop
        self.nan = self.negative_zero = False
        if values.dtype == np.float64:
            self.keys = np.empty(len(values) if self.index is None else len(self.index), np.int64)
            self.nan, self.negative_zero = r.float_keys(values, values.view(np.int64), self.index, self.keys)
        else:
            self.keys = values if self.index is None else values[self.index]
        m = len(slices)
        self.longest = int((self.stop - self.start).max(initial=0))
        self.keyed = not self.nan and not self.negative_zero
        self.key, self.below, self.equal = (np.zeros(m, np.int64) for _ in range(3))
        if not self.nan:
            last = np.zeros((int(slices.group.max(initial=0)) + 1, 5), np.int64)
            r.ranked(
                self.keys, self.start, self.stop, slices.group, rank, last, np.empty(self.longest, np.int64),
                self.key, self.below, self.equal,
            )  # fmt: skip

    def lower(self) -> Array:
        """i8[m]: the largest key of each slice that is smaller than `key`, or that itself where none is."""
        out = np.empty(len(self.key), np.int64)
        r.lower_keys(self.keys, self.start, self.stop, self.key, self.below, out)
        return out

    def rows(self, *, exact: bool, release: int = 0) -> Array:
        """i8[m]: a row that holds each value, -1 for none; `exact`: the one that Go's sort puts at the rank."""
        order, out = np.empty(self.longest, np.int64), np.empty(len(self.rank), np.int64)
        if self.nan:
            r.sorted_rows(self.values, self.index, self.start, self.stop, self.rank, order, out, release)
            return out
        r.ranked_places(self.keys, self.start, self.stop, self.rank, self.key, self.equal, exact, order, out, release)
        if self.index is not None:
            found = out >= 0
            out[found] = self.index[out[found]]
        return out


class InfluxQL(Operator):
    """One InfluxQL function of `field`; see `FUNCTIONS`.

    args: what the function takes besides the field, as written after or before it (percentile: p; top, bottom: n, names
    that have no effect; elapsed: ns; movingAverage: n; holtWinters: h, m, ns). point_times: `.usePointTimes()`.
    own_tags: tags that selected points may have otherwise than their batch; their group follows from those.
    """

    STATE = ("names", "node", "runs", "run_names", "kept", "kept_group", "transform", "groups", "retagging")
    alone = True

    def __init__(
        self,
        *,
        name: str,
        function: str,
        field: str,
        as_name: str,
        args: tuple[Any, ...] = (),
        point_times: bool = False,
        own_tags: Sequence[str] = (),
    ) -> None:
        super().__init__(name=name)
        self.function, self.field, self.as_name = function, field, as_name
        self.args, self.point_times = args, point_times
        self.own_tags, self.retagging = own_tags, Retagging()
        self.supported = np.zeros(16, np.bool_)
        self.supported[list(FUNCTIONS[function])] = True
        self.empty_ok = function in EMPTY_OK
        self.names = Names()  # of the groups, for output of batch edges and transforms
        self.node = np.array([NONE, NONE], np.int64)
        self.runs = np.zeros((0, 4), np.int64)
        self.run_names = Vocabulary()
        self.kept: Rows | None = None  # rows of the open runs
        self.kept_group = np.zeros(0, np.int32)
        self.transform: dict[str, Array] = {}
        self.groups = Groups()  # those of a stream

    def common(self) -> Hashable:
        """The kinds of values that the node was made for."""
        return tuple(self.node.tolist())

    # Batch edges

    def segments(self, batch: Segments) -> Iterable[Batch]:
        if self.function in TRANSFORMS:
            yield self._transform_segments(batch)
            return
        self.names.learn(batch.group, batch.groups, batch.name)
        slices = self._resolve(batch)
        if len(slices):
            yield from self._reduce(slices, batch.groups)

    def _resolve(self, batch: Segments) -> Slices:
        """The segments that emit."""
        column = batch.rows.field(self.field)
        if (kind := self._only_kind(column)) is not None:
            if not isinstance(column.kinds, Kind):
                whole, batch = batch, batch.keep(column.kinds != MISSING)
                self._missing(int(whole.sizes.sum() - batch.sizes.sum()))
            return self._resolve_uniform(batch, kind)
        return self._resolve_mixed(batch, column)

    def _only_kind(self, column: Column) -> Kind | None:
        """The one supported kind of the column, beside missing values; None where the rules of `realize` count."""
        if isinstance(column.kinds, Kind):
            found = {column.kinds}
        else:
            found = {Kind(k) for k in np.flatnonzero(np.bincount(column.kinds, minlength=16)).tolist()} - {Kind.MISSING}
        kind = found.pop() if len(found) == 1 else None
        return kind if kind in FUNCTIONS[self.function] else None

    def _resolve_uniform(self, batch: Segments, kind: Kind) -> Slices:
        """`_resolve_mixed` where every point has the field with one supported `kind`."""
        filled = batch.sizes > 0
        kinds = np.where(filled, np.uint8(kind), np.uint8(FLOAT))
        asked = kinds if self.empty_ok else kinds[filled]
        if len(asked):
            self.node[:] = asked[-1]
        slices = Slices(
            batch.rows, batch.index, batch.start, batch.stop, kinds, batch.tmax, batch.group,
            self.names.of(batch.group), batch.seq,
        )  # fmt: skip
        return slices if self.empty_ok or filled.all() else slices.take(filled)

    def _resolve_mixed(self, batch: Segments, column: Column) -> Slices:
        m = len(batch)
        index = np.empty(int(batch.sizes.sum()), np.int64)
        start, stop, kind = np.empty(m, np.int64), np.empty(m, np.int64), np.empty(m, np.int64)
        bad = np.zeros((16, 16), np.int64)
        resolve_segments(
            column.kinds_array(), batch.index, batch.start, batch.stop, self.supported, self.empty_ok, self.node,
            index, start, stop, kind, bad,
        )  # fmt: skip
        self._count_errors(bad)
        index = index[: int(stop[-1])] if m else index[:0]
        slices = Slices(
            batch.rows, index, start, stop, kind.astype(np.uint8), batch.tmax, batch.group,
            self.names.of(batch.group), batch.seq,
        )  # fmt: skip
        return slices.take(kind != NONE)

    # Stream edges

    def points(self, batch: Points) -> Iterable[Batch]:
        if self.function in TRANSFORMS:
            yield from self._transform_points(batch)
            return
        self.groups = batch.groups
        slices = self._runs(batch)
        if len(slices):
            yield from self._reduce(slices, batch.groups)

    def marks(self, marks: Marks) -> Iterable[Any]:
        self.names.nameless(marks.group[marks.kind == BARRIER], marks.groups)
        return super().marks(marks)

    def flush(self) -> Iterable[Batch]:
        """The results of the runs that are open."""
        if self.kept is None:
            return
        group = np.flatnonzero((self.runs[:, OPEN] != 0) & (self.runs[:, KIND] != NONE)).astype(np.int32)
        index, begin = np.empty(len(self.kept_group), np.int64), np.empty(len(self.groups) + 1, np.int64)
        rows_by_group(self.kept_group, len(self.groups), index, begin)
        runs = self.runs[group]
        name = Text(runs[:, NAME].astype(np.int32), self.run_names)
        slices = Slices(
            self.kept, index, begin[group], begin[group + 1], runs[:, KIND].astype(np.uint8), runs[:, TIME], group,
            name, np.full(len(group), AT_THE_END),
        )  # fmt: skip
        if len(slices):
            yield from self._reduce(slices, self.groups)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.names.forget(codes, groups)
        self.runs = grown(self.runs, len(groups))
        self.runs[codes] = 0
        if self.kept is not None:
            stay = ~np.isin(self.kept_group, codes)
            self.kept, self.kept_group = self.kept.take(stay), self.kept_group[stay]
        for key, values in self.transform.items():
            self.transform[key] = grown(values, len(groups))
            self.transform[key][codes] = 0

    def _runs(self, batch: Points) -> Slices:
        """The runs that end in this batch; the rows of those that stay open are kept."""
        n, groups = len(batch), len(batch.groups)
        carried = len(self.kept_group)
        own = self._needed(batch.rows)
        rows = own if self.kept is None else Rows.concat([self.kept, own])
        self.runs = grown(self.runs, groups)
        name = batch.rows.name.recode(self.run_names)
        run_of_group = np.empty(len(self.runs), np.int64)
        row_run = np.empty(carried + n, np.int64)
        run, row, time, kind, code = (np.empty(n, np.int64) for _ in range(5))
        bad = np.zeros((16, 16), np.int64)
        ended, known = scan_runs(
            batch.rows.field(self.field).kinds_array(), batch.rows.time, name.codes, batch.group, self.kept_group,
            self.supported, self.node, self.runs, run_of_group, row_run, run, row, time, kind, code, bad,
        )  # fmt: skip
        self._count_errors(bad)
        used = np.flatnonzero(row_run >= 0)
        index, begin = np.empty(len(used), np.int64), np.empty(known + 1, np.int64)
        rows_by_group(row_run[used], known, index, begin)
        run, row = run[:ended], row[:ended]
        slices = Slices(
            rows, used[index], begin[run], begin[run + 1], kind[:ended].astype(np.uint8), time[:ended],
            batch.group[row], Text(code[:ended].astype(np.int32), self.run_names), batch.seq[row],
        )  # fmt: skip
        still_open = np.ones(known, np.bool_)
        still_open[run] = False
        keep = used[still_open[row_run[used]]]
        group = np.concatenate([self.kept_group, batch.group])
        self.kept, self.kept_group = rows.take(keep), group[keep]
        return slices

    def _needed(self, rows: Rows) -> Rows:
        """The columns that the function reads."""
        if self.function in SELECTORS:
            return rows
        tags = rows.tags if self.function in ("top", "bottom") else {}
        fields = {self.field: rows.field(self.field)}
        return Rows(rows.time, no_text(len(rows)), no_text(len(rows)), no_text(len(rows)), tags, fields)

    # Errors

    def _missing(self, n: int) -> None:
        if n:
            self.errors[f'field "{self.field}" missing from point'] += n

    def _count_errors(self, bad: Array) -> None:
        """Count what the resolving kernels met; `bad` as there."""
        for kind, found in np.argwhere(bad).tolist():
            n = int(bad[kind, found])
            if found == MISSING:
                self._missing(n)
            elif kind == NONE and found != NIL:
                self.errors[f"cannot apply {self.function} to {Kind(found).label} field"] += n
            else:
                expected = "" if kind == NONE else f", expected {Kind(kind).label}"
                self.errors[f'field "{self.field}" has wrong type {Kind(found).label}{expected}'] += n

    # Reducing

    def _reduce(self, slices: Slices, groups: Groups) -> Iterable[Any]:
        slices = self._survivors(slices)
        if not len(slices):
            return ()
        if self.function in TO_BATCH:
            return self._collect(slices, groups)
        if self.function in AGGREGATES:
            return self.later(lambda: (self._aggregate(slices, groups),))
        if self.own_tags:
            return self._select(slices, groups)
        return self.later(lambda: self._select(slices, groups))

    def _survivors(self, slices: Slices) -> Slices:
        """Without the slices that have a reducer but no value, where that would end Kapacitor."""
        if self.function not in NEED_VALUE:
            return slices
        filled = slices.stop > slices.start
        if filled.all():
            return slices
        self.errors[f"{self.function} of no value"] += int(len(slices) - filled.sum())
        return slices.take(filled)

    def _by_kind(self, slices: Slices) -> Iterable[tuple[Array | None, Kind, Slices]]:
        """The slices of each kind, with their places among all (None: all of them)."""
        first = slices.kind[0]
        if (slices.kind == first).all():
            yield None, Kind(int(first)), slices
            return
        for kind in np.unique(slices.kind).tolist():
            places = np.flatnonzero(slices.kind == kind)
            yield places, Kind(kind), slices.take(places)

    def _aggregate(self, slices: Slices, groups: Groups) -> Points:
        m = len(slices)
        parts: list[tuple[Array, Column]] = []
        time = slices.time
        for places, kind, part in self._by_kind(slices):
            column, own_time = self._values(part, kind)
            if places is None:
                parts, time = [(np.arange(m), column)], own_time
                break
            parts.append((places, column))
            time = time if time is not slices.time else time.copy()
            time[places] = own_time
        column = parts[0][1] if len(parts) == 1 else select(parts, m)
        return self._points(slices, groups, time, column)

    def _points(self, slices: Slices, groups: Groups, time: Array, column: Column) -> Points:
        m = len(slices)
        tags = groups.tags(slices.group)
        rows = Rows(time, slices.name, no_text(m), no_text(m), tags, {self.as_name: column})
        return Points(rows, slices.group, groups, slices.seq)

    def _values(self, slices: Slices, kind: Kind) -> tuple[Column, Array]:
        """The aggregate of each slice, and its time."""
        m, index, start, stop = len(slices), slices.index, slices.start, slices.stop
        sizes = stop - start
        stamp = slices.time
        if self.function == "count":
            if self.point_times:
                stamp = np.where(sizes > 0, stamp, 0)
            return Column.of(Kind.INT, sizes), stamp
        values = data_of(slices.rows.field(self.field), kind)
        if self.function == "sum":
            out = np.empty(m, values.dtype)
            r.sum_(values, index, start, stop, out)
            return Column.of(kind, out), np.zeros(m, np.int64) if self.point_times else stamp
        if self.function == "spread":
            out = np.empty(m, values.dtype)
            (r.spread_f if kind is Kind.FLOAT else r.spread_i)(values, index, start, stop, out)
            return Column.of(kind, out), stamp
        out = np.empty(m, np.float64)
        if self.function == "mean":
            (r.mean_f if kind is Kind.FLOAT else r.mean_i)(values, index, start, stop, out)
            return Column.of(Kind.FLOAT, out), stamp
        if self.function == "median":
            if self.point_times and kind is Kind.FLOAT:
                alone = np.flatnonzero(sizes == 1)
                rows = start[alone] if index is None else index[start[alone]]
                stamp = stamp.copy()
                stamp[alone] = slices.rows.time[rows]
            return Column.of(Kind.FLOAT, medians(values, slices, kind)), stamp
        index, values, time = self._near(slices, values)
        if self.function == "stddev":
            r.stddev(values, index, start, stop, out)
            return Column.of(Kind.FLOAT, out), stamp
        order = np.empty(int(sizes.max()), np.int64)
        alone = sizes == 1
        row = np.empty(m, np.int64)
        r.mode_rows(values, time, index, start, stop, order, row)
        if self.point_times:
            stamp = np.where(alone, time[row], stamp)
        return Column.of(kind, values[row]), stamp

    def _near(self, slices: Slices, values: Array) -> tuple[Array | None, Array, Array]:
        """The index, values and times for kernels that read a slice more than once: gathered in the order of the index
        where slices overlap, so that each is contiguous."""
        index, time = slices.index, slices.rows.time
        if index is None or int((slices.stop - slices.start).sum()) < 2 * len(index):
            return index, values, time
        return None, values[index], time[index]

    def _select(self, slices: Slices, groups: Groups) -> Iterable[Points]:
        row = np.empty(len(slices), np.int64)
        for places, kind, part in self._by_kind(slices):
            if self.function == "percentile":
                ranks, any_row_does = self._ranks(part, kind), self._any_row_does(part.rows, groups)
                if any_row_does and ranks.keyed and places is None:
                    yield from self._ranked(slices, groups, ranks, kind)
                    return
                picked = ranks.rows(exact=not any_row_does or not ranks.keyed)
            else:
                picked = self._pick(part, kind)
            if places is None:
                row = picked
                break
            row[places] = picked
        if not (row >= 0).all():
            slices, row = slices.take(row >= 0), row[row >= 0]
        if not len(slices):
            return
        chosen = slices.rows.take(row)
        fields = {k: v for k, v in chosen.fields.items() if k not in (self.field, self.as_name)}
        fields[self.as_name] = chosen.fields[self.field]
        rows = Rows(
            chosen.time if self.point_times else slices.time, slices.name, no_text(len(row)), no_text(len(row)),
            chosen.tags, fields,
        )  # fmt: skip
        group = slices.group
        if self.own_tags:
            group, groups = self.retagging.encode(group, groups, rows, self.own_tags), self.retagging.groups
        yield Points(rows, group, groups, slices.seq)

    def _ranked(self, slices: Slices, groups: Groups, ranks: Ranks, kind: Kind) -> Iterable[Points]:
        """The points of which only the value hangs on the row that is selected, which so need not be looked for."""
        key = ranks.key
        if not (ranks.rank >= 0).all():
            slices, key = slices.take(ranks.rank >= 0), key[ranks.rank >= 0]
        if len(slices):
            column = Column.of(kind, key_values(key) if kind is Kind.FLOAT else key)
            points = self._points(slices, groups, slices.time, column)
            yield points.with_rows(columns(points.rows, tuple(slices.rows.tags), None))

    def groups_behind(self, groups: Groups) -> Groups:
        return self.retagging.groups if self.own_tags else groups

    def _collect(self, slices: Slices, groups: Groups) -> Iterable[Segments]:
        """The functions that give a batch for each segment."""
        m = len(slices)
        count = np.zeros(m, np.int64)
        if self.function.startswith("holtWinters"):
            owner, time, column = self._forecasts(slices)
            count = np.bincount(owner, minlength=m)
            tags = groups.tags(slices.group[owner])
        else:
            if self.function != "distinct" and self.args[0] < 1:
                self.errors[f"{self.function} of {self.args[0]} points"] += m
                return
            owner, row = self._picked(slices)
            count = np.bincount(owner, minlength=m)
            column = slices.rows.field(self.field).take(row)
            time = slices.rows.time[row] if self.point_times else slices.time[owner]
            tags = groups.tags(slices.group[owner])
            if self.function != "distinct":
                tags = merged({k: v.take(row) for k, v in slices.rows.tags.items()}, tags)
        n = len(owner)
        tmax = slices.time.copy()
        np.maximum.at(tmax, owner, time)
        rows = Rows(time, slices.name.take(owner), no_text(n), no_text(n), tags, {self.as_name: column})
        stop = np.cumsum(count)
        yield Segments(rows, stop - count, stop, tmax, slices.group, groups, slices.name, slices.seq)

    def _picked(self, slices: Slices) -> tuple[Array, Array]:
        """What top, bottom and distinct take: i8[n] the slice, ascending, and i8[n] the row of each point."""
        parts = []
        for places, kind, part in self._by_kind(slices):
            sizes = part.stop - part.start
            count = np.empty(len(part), np.int64)
            column = part.rows.field(self.field)
            if self.function == "distinct":
                row = np.empty(int(sizes.sum()), np.int64)
                room = 1 << int(2 * sizes.max(initial=1)).bit_length()
                table, stamp = np.empty(room, np.int64), np.zeros(room, np.int64)
                keys = identity_keys(column, kind)
                r.distinct_rows(keys, part.index, part.start, part.stop, table, stamp, row, count)
                row = row[: int(count.sum())]
                owner = np.repeat(np.arange(len(part)), count)
                row = by_time(row, owner, part.rows.time[row], order_keys(column, kind)[row])
            else:
                n = int(self.args[0])
                row = np.empty(int(np.minimum(sizes, n).sum()), np.int64)
                values, time = data_of(column, kind), part.rows.time
                r.best_rows(
                    values, time, part.index, part.start, part.stop, n, self.function == "top", row, count
                )  # fmt: skip
                owner = np.repeat(np.arange(len(part)), count)
            if places is None:
                return owner, row
            parts.append((places[owner], row))
        owner = np.concatenate([o for o, _ in parts])
        order = np.argsort(owner, kind="stable")
        return owner[order], np.concatenate([row for _, row in parts])[order]

    def _forecasts(self, slices: Slices) -> tuple[Array, Array, Column]:
        """Slice, time and value of each point that holtWinters makes."""
        from tickc.runtime.nodes.holtwinters import holt_winters

        ahead, seasons, interval = (int(a) for a in self.args[:3])
        with_fit = self.function == "holtWintersWithFit" or (len(self.args) > 3 and bool(self.args[3]))
        counts, times, values = [], [np.empty(0, np.int64)], [np.empty(0)]
        column = slices.rows.field(self.field)
        for j, kind in enumerate(slices.kind.tolist()):
            rows: Any = slice(int(slices.start[j]), int(slices.stop[j]))
            rows = rows if slices.index is None else slices.index[rows]
            try:
                time, value = holt_winters(
                    slices.rows.time[rows],
                    data_of(column, Kind(kind))[rows],
                    ahead,
                    seasons,
                    interval,
                    with_fit=with_fit,
                )
            except (IndexError, ZeroDivisionError):
                self.errors[f"{self.function} of too few points"] += 1
                time, value = times[0], values[0]
            counts.append(len(time))
            times.append(time)
            values.append(value)
        owner = np.repeat(np.arange(len(slices)), counts)
        return owner, np.concatenate(times), Column.of(Kind.FLOAT, np.concatenate(values))

    # Transforms

    def _transform_points(self, batch: Points) -> Iterable[Points]:
        groups = len(batch.groups)
        self.names.learn(batch.group, batch.groups, batch.rows.name)
        self.transform = {k: grown(v, groups) for k, v in (self.transform or self._fresh(0)).items()}
        place, time, column = self._transform(batch.rows, None, batch.group, self.transform, groups)
        if not len(place):
            return
        group = batch.group[place]
        n = len(place)
        tags = batch.groups.tags(group)
        rows = Rows(time, self.names.of(group), no_text(n), no_text(n), tags, {self.as_name: column})
        yield Points(rows, group, batch.groups, batch.seq[place])

    def _transform_segments(self, batch: Segments) -> Segments:
        batch = batch.with_rows(self._needed(batch.rows)).flat()
        m = len(batch)
        owner = batch.owner()
        place, time, column = self._transform(batch.rows, None, owner, self._fresh(m), 1)
        owner = owner[place]
        n = len(place)
        tags = batch.groups.tags(batch.group[owner])
        rows = Rows(time, batch.name.take(owner), no_text(n), no_text(n), tags, {self.as_name: column})
        count = np.bincount(owner, minlength=m)
        stop = np.cumsum(count)
        return replace(batch, rows=rows, start=stop - count, stop=stop, index=None)

    def _fresh(self, slots: int) -> dict[str, Array]:
        """The state of a transform, an element a slot; see `transforms`."""
        ints = {k: np.zeros(slots, np.int64) for k in ("kind", "seen", "before", "now", "int")}
        return {**ints, "float": np.zeros(slots)}

    def _transform(
        self, rows: Rows, row: Array | None, slot: Array, state: dict[str, Array], rings: int
    ) -> tuple[Array, Array, Column]:
        """Of the points that give an output: their places in `slot`, time and value. rings: as many slots at least need
        the last values of their own (movingAverage)."""
        n = len(slot)
        column = rows.field(self.field)
        status, kinds = np.empty(n, np.uint8), np.zeros(n, np.uint8)
        bad = np.zeros((16, 16), np.int64)
        resolve_points(
            column.kinds_array(), row, slot, self.supported, self.node, state["kind"], status, kinds, bad
        )  # fmt: skip
        self._count_errors(bad)
        used = np.flatnonzero(status != t.SKIP)
        found = np.flatnonzero(np.bincount(kinds[used])).tolist()
        if len(found) == 1 and len(used) == n:
            return self._transform_kind(rows, Kind(found[0]), row, slot, status, state, rings)
        places, times, columns = [], [], []
        for kind in found:
            at = used[kinds[used] == kind]
            place, time, values = self._transform_kind(
                rows, Kind(kind), at if row is None else row[at], slot[at], status[at], state, rings
            )
            places.append(at[place])
            times.append(time)
            columns.append(values)
        if not places:
            return np.empty(0, np.int64), np.empty(0, np.int64), Column.absent(0)
        order = np.argsort(np.concatenate(places), kind="stable")
        return np.concatenate(places)[order], np.concatenate(times)[order], Column.concat(columns).take(order)

    def _transform_kind(
        self, rows: Rows, kind: Kind, row: Array | None, slot: Array, status: Array, state: dict[str, Array], rings: int
    ) -> tuple[Array, Array, Column]:
        """`_transform` for slots whose reducers are all of one kind."""
        n = len(slot)
        out_time, emits = np.empty(n, np.int64), np.zeros(n, np.bool_)
        seen, now = state["seen"], state["now"]
        out: Array
        out_kind = kind
        if self.function == "elapsed":
            out, out_kind = np.empty(n, np.int64), Kind.INT
            unit = int(self.args[0])
            if unit == 0:
                self.errors["elapsed in units of 0"] += n
            else:
                t.elapsed(rows.time, row, slot, status, unit, seen, state["before"], now, out, out_time, emits)
            return np.flatnonzero(emits), out_time[emits], Column.of(out_kind, out[emits])
        values = data_of(rows.field(self.field), kind)
        held = state["float" if kind is Kind.FLOAT else "int"]
        out = np.empty(n, values.dtype)
        if self.function == "difference":
            t.difference(values, rows.time, row, slot, status, seen, now, held, out, out_time, emits)
        elif self.function == "cumulativeSum":
            t.cumulative_sum(values, rows.time, row, slot, status, seen, now, held, out, out_time, emits)
        else:
            width = int(self.args[0])
            out, out_kind = np.empty(n), Kind.FLOAT
            if width < 1:
                self.errors[f"movingAverage of {width} points"] += n
            else:
                key = f"ring {held.dtype.str}"
                if key not in state:
                    state[key] = np.zeros((rings, width), values.dtype)
                t.moving_average(
                    values, rows.time, row, slot, status, seen, now, held, state[key], out, out_time, emits
                )  # fmt: skip
        return np.flatnonzero(emits), out_time[emits], Column.of(out_kind, out[emits])

    def _pick(self, slices: Slices, kind: Kind) -> Array:
        """i8[m]: the row that a selector other than percentile takes from each slice, -1 for none."""
        out = np.empty(len(slices), np.int64)
        column = slices.rows.field(self.field)
        reduce = {"first": r.first_rows, "last": r.last_rows, "min": r.min_rows, "max": r.max_rows}[self.function]
        keys = order_keys(column, kind, false_first=self.function == "first")
        reduce(keys, slices.rows.time, slices.index, slices.start, slices.stop, out)
        return out

    def _ranks(self, slices: Slices, kind: Kind) -> Ranks:
        """What percentile selects from each slice."""
        sizes = slices.stop - slices.start
        rank = np.floor(sizes * np.float64(self.args[0]) / 100.0 + 0.5)
        rank = np.where((rank >= 1.0) & (rank <= sizes), rank, 0.0).astype(np.int64) - 1
        return Ranks(data_of(slices.rows.field(self.field), kind), slices, rank)

    def _any_row_does(self, rows: Rows, groups: Groups) -> bool:
        """Whether rows of a group that have the same value of the field differ in nothing that comes out."""
        return (
            not self.point_times
            and not self.own_tags
            and rows.fields.keys() == {self.field}
            and all(rows.tags.keys() <= {*shape} for shape in groups.shapes)
            and all(bool((tag.codes >= 0).all()) for tag in rows.tags.values())
        )


def medians(values: Array, slices: Any, kind: Kind, release: int = 0) -> Array:
    """f8[m]: the middle value of each slice or low + (high - low) / 2; ints become floats before the sum."""
    sizes = slices.stop - slices.start
    ranks = Ranks(values, slices, sizes // 2)
    if not ranks.keyed:  # the values after Go's sort: NaN has no rank, -0 is equal to 0
        high = values[ranks.rows(exact=True, release=release)]
        low = values[Ranks(values, slices, np.maximum(sizes // 2 - 1, 0)).rows(exact=True, release=release)]
    else:
        high = ranks.key
        low = np.where(ranks.below == ranks.rank, ranks.lower(), high)
        if kind is Kind.FLOAT:
            high, low = key_values(high), key_values(low)
    with np.errstate(all="ignore"):
        return np.where(sizes % 2 == 1, high, np.float64(low) + np.float64(high - low) / 2.0)


def data_of(column: Column, kind: Kind) -> Array:
    """The numbers of one kind; an array without elements where the column has none of it."""
    found = column.data.get(kind)
    if found is None:
        return np.empty(0, np.float64 if kind is Kind.FLOAT else np.int64)
    return np.ascontiguousarray(found)


def key_values(keys: Array) -> Array:
    """f8: the values whose order keys (`reducers.float_keys`) these are."""
    return (keys ^ ((keys >> 63) & r.MOST)).view(np.float64)


def order_keys(column: Column, kind: Kind, *, false_first: bool = False) -> Array:
    """f8[n] or i8[n] that compare as the values of `kind` do: numbers themselves, strings by their bytes, false before
    true (`first` wants it reversed, so that the larger key is the one that it prefers)."""
    if kind is Kind.STRING:
        return string_ranks(column.data[kind]) if kind in column.data else np.empty(0, np.int64)
    if kind is Kind.BOOL:
        values = column.data.get(kind, np.empty(0, np.bool_))
        return (~values if false_first else values).astype(np.int64)
    return data_of(column, kind)


def identity_keys(column: Column, kind: Kind) -> Array:
    """i8[n], equal where values of `kind` are equal: 0 and -0 are, a NaN only with itself."""
    if kind is Kind.FLOAT:
        values = data_of(column, kind)
        keys = (values + 0.0).view(np.int64)
        unequal = np.flatnonzero(values != values)
        keys[unequal] = np.iinfo(np.int64).max - unequal  # patterns of NaNs, which no other value has
        return keys
    if kind is Kind.STRING:
        return column.data[kind].codes.astype(np.int64) if kind in column.data else np.empty(0, np.int64)
    return order_keys(column, kind)


def by_time(row: Array, owner: Array, time: Array, keys: Array) -> Array:
    """`row` in the order of `owner` (ascending already), then time, then key, which mostly it has already."""
    follows = (owner[1:] > owner[:-1]) | (time[1:] > time[:-1]) | ((time[1:] == time[:-1]) & (keys[1:] >= keys[:-1]))
    return row if follows.all() else row[np.lexsort((keys, time, owner))]


def merged(tags: dict[str, Text], group: dict[str, Text]) -> dict[str, Text]:
    """The tags of points, and those of their groups where the points lack them."""
    for dim, values in group.items():
        own = tags.get(dim)
        if own is None:
            tags[dim] = values
        elif (own.codes < 0).any():
            given = values.recode(own.vocabulary).codes
            tags[dim] = Text(np.where(own.codes < 0, given, own.codes), own.vocabulary)
    return tags


def string_ranks(text: Text) -> Array:
    """i8[n]: the place of each string among those that occur, in byte order (which is that of code points)."""
    used = text.used()
    strings = text.vocabulary.strings
    ranks = np.full(len(strings) + 1, -1, np.int64)
    ranks[sorted(used.tolist(), key=lambda code: strings[code])] = np.arange(len(used))
    return ranks[text.codes]
