"""From points to the rows of a query, as InfluxDB's iterators make them (query/select.go, tsdb/engine/tsm1/engine.go).

    points of series ─▶ Stream ─▶ functions, fill, limit ─▶ Streams, side by side ─▶ columns

count, sum, mean, min, max, first and last are worked out for each series and shard alone, and the results brought
together level by level, since InfluxDB does so and sums of floats show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tickc.runtime.batch import Array, Column, Text, select
from tickc.runtime.influxql import aggregate, merge, window
from tickc.runtime.influxql.aggregate import IN_PARTS, PICKS, SELECTORS
from tickc.runtime.influxql.compile import Compiled
from tickc.runtime.influxql.formula import FLOAT, INT, MISSING, NIL, NUMBERS, STRING, evaluate, truth
from tickc.runtime.influxql.history import NEVER, shard_of, shard_start
from tickc.runtime.influxql.points import KINDS, Reader, Scan, cast
from tickc.runtime.influxql.reduce import MATHS
from tickc.runtime.influxql.schema import (
    UNKNOWN,
    Schema,
    column_names,
    dimension_name,
    name_of,
    picked_with,
    type_of,
)
from tickc.runtime.influxql.stream import Scope, Stream, Table, borders, expanded, in_order, place_in, ranks
from tickc.runtime.influxql.transform import TRANSFORMS, integrals, transform
from tickc.runtime.influxql.tree import Binary, Call, Duration, Expr, Lit, Measurement, Paren, Ref, Select
from tickc.runtime.influxql.window import FILL_LINEAR, FILL_NULL, FILL_NUMBER, FILLS, PREVIOUS, VALUE
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.influxql import string_ranks

SECOND = 1_000_000_000
NO_TEXTS = np.empty((0, 0), np.int64)
HOLT_WINTERS = ("holt_winters", "holt_winters_with_fit")


class Pieces(NamedTuple):
    """Slices low:high of a scan, none empty: the points of one series in one shard and range.

    sub: i8[p], ascending, the range and shard; slot: i8[p], ascending within, the series.
    """

    sub: Array
    slot: Array
    low: Array
    high: Array


class Shards(NamedTuple):
    """The ranges by shard: run, shard: i8[subs]; the shards of a range in the order in which they are read."""

    run: Array
    shard: Array

    @staticmethod
    def of(scope: Scope, known: Sequence[int]) -> Shards:
        shards = np.array(sorted(known), np.int64)
        low = np.searchsorted(shards, shard_of(scope.floor), "left")
        high = np.searchsorted(shards, shard_of(scope.ceiling), "right")
        sizes = np.maximum(high - low, 0)
        found = shards[expanded(low, sizes)]
        run = np.repeat(np.arange(len(sizes)), sizes)
        if scope.forth < 0:
            found = found[np.lexsort((-found, run))]
        return Shards(run, found)

    def within(self, first: Array, last: Array) -> tuple[Array, Array]:
        """The bounds (inclusive) of ranges, shard by shard."""
        begin, end = shard_start(self.shard), shard_start(self.shard + 1) - 1
        return np.maximum(first[self.run], begin), np.minimum(last[self.run], end)


@dataclass(frozen=True)
class Cuts:
    """Buckets of points: slices of a stream, with the range, the label and the time of each.

    bucket: i8[m], ascending; several slices are of one bucket where that holds several labels.
    """

    slices: aggregate.Slices
    run: Array
    label: Array
    begin: Array
    bucket: Array


class Pipeline:
    """The evaluation of a query over k ranges. errors: what went wrong in single series."""

    def __init__(self, reader: Reader, scope: Scope) -> None:
        self.reader = reader
        self.subs = Shards.of(scope, list(reader.history.first))
        self.stop = scope.stop[self.subs.run]
        self.errors: Counter[str] = Counter()

    def rows(self, query: Compiled, select: Select, scope: Scope) -> Table:
        """The rows of a query (buildCursor)."""
        exprs = [e for f in select.fields for e in (f.expr, *picked_with(f.expr))]
        calls, refs = symbols(exprs)
        scope = replace(scope, aux=tuple(sorted(refs, key=lambda r: (r.name, r.type))))
        streams: list[Stream] = []
        drivers: list[Call | None] = []
        if not calls and any(ref.type != UNKNOWN for ref in refs):
            streams, drivers = [self._fields(query, select, None, scope)], [None]
        selector = len(calls) == 1 and calls[0].name in SELECTORS
        for call in calls:
            if _type(call) != UNKNOWN:
                streams.append(self._call(query, select, call, scope, selector))
                drivers.append(call)
        streams = [_limited(s, scope) for s in streams] or [Stream.empty(scope.dims)]
        part = None
        if len(streams) == 1:
            streams[0], part = streams[0].between_holes()
        base, columns = joined(streams, scope.forth)
        part = np.zeros(len(base), np.int64) if part is None else part
        section = base.sections()
        values: dict[Expr, Column] = {}
        for driver, own in zip(drivers, columns):
            keys: list[Expr] = [*([] if driver is None else [driver]), *scope.aux]
            for key, column in zip(keys, own if driver is not None else own[1:]):
                values[key] = _with_default(column, _type(key), scope.fill, section)
        own = tuple(_value(e, values, len(base)) for e in exprs)
        return Table(base.labels, base.run, base.label, part, base.time, own)

    # Points

    def _fields(self, query: Compiled, select: Select, driver: Ref | None, scope: Scope) -> Stream:
        """The points that have the field `driver` (buildVarRefIterator), or else any of `aux` (buildAuxIterator)."""
        streams = [
            self._points(source, driver, scope)
            if isinstance(source, Measurement)
            else self._inside(inner, source, driver, scope)
            for source, inner in zip(select.sources, query.inner)
        ]
        return self._merged(streams, scope, by_bucket=driver is not None)

    def _points(self, measurement: Measurement, driver: Ref | None, scope: Scope) -> Stream:
        """Points of a measurement: the series of a tag set are merged by time, tag sets come one after another."""
        source = self.reader.source(measurement, scope.dims, scope.final, scope.forth)
        scan = self.reader.scan(source, scope.where, driver, scope.aux)
        pieces = self._pieces(scan, scope)
        sub, slot, rows = self._by_time(scan, pieces, scope)
        order = np.lexsort((source.final[slot] * scope.forth, self.subs.run[sub]))
        if not in_order(order):
            rows, sub, slot = rows[order], sub[order], slot[order]
        value = Column.absent(len(rows)) if scan.value is None else scan.value.take(rows)
        aux = self.reader.columns(scope.aux, scan, rows)
        return Stream(source.labels, self.subs.run[sub], source.label[slot], scan.time[rows], value, aux)

    def _by_time(self, scan: Scan, pieces: Pieces, scope: Scope) -> tuple[Array, Array, Array]:
        """The points of pieces (sub, slot, place in the scan), tag set after tag set: by time, then by texts among
        `aux`, then as it happens. With a limit no more than InfluxDB reads then, which is one more than it gives."""
        most = scope.limit + scope.offset + 1 if scope.limit or scope.offset else 0
        apart = scope.dims != scope.final
        sizes = pieces.high - pieces.low
        if most and apart:
            sizes = np.minimum(sizes, most)
        rows = expanded(pieces.low, sizes)
        sub, slot = np.repeat(pieces.sub, sizes), np.repeat(pieces.slot, sizes)
        final = scan.source.final
        groups = borders(pieces.sub, final[pieces.slot])
        if (np.diff(groups) > 1).any():
            texts = NO_TEXTS
            if scope.aux:
                texts = np.stack([_text_ranks(c, scope.forth) for c in self.reader.columns(scope.aux, scan, rows)])
            past = np.cumsum(sizes)
            order = _merge_order(past - sizes, past, groups, scan.time[rows] * scope.forth, texts, by_run=False)
            rows, sub, slot = rows[order], sub[order], slot[order]
        if most and not apart:
            keep = place_in(borders(sub, final[slot])) < most
            rows, sub, slot = rows[keep], sub[keep], slot[keep]
        return sub, slot, rows

    def _pieces(self, scan: Scan, scope: Scope) -> Pieces:
        first, last = self.subs.within(np.maximum(scope.start, scope.floor), np.minimum(scope.end, scope.ceiling))
        latest, soonest = np.maximum.accumulate(last), np.minimum.accumulate(first[::-1])[::-1]
        given = scan.time, scan.begin, scan.end, scan.chosen, first, last, latest, soonest, scope.forth
        none = np.empty(0, np.int64)
        m = window.slices(*given, none, none, none, none)
        sub, slot, low, high = (np.empty(m, np.int64) for _ in range(4))
        window.slices(*given, sub, slot, low, high)
        order = np.argsort(sub, kind="stable")
        if scope.slimit or scope.soffset:
            order = order[self._counted(scan, scope, sub[order], slot[order])]
        return Pieces(sub[order], slot[order], low[order], high[order])

    def _counted(self, scan: Scan, scope: Scope, sub: Array, slot: Array) -> Array:
        """bool[p]: the pieces that SLIMIT and SOFFSET leave, which count the tag sets of a measurement in a shard."""
        source = scan.source
        sets = self.reader.tag_sets(source, scope.final)
        which, known = self._known(scan)
        keep = np.zeros(len(sub), np.bool_)
        for i, some in enumerate(known):
            allowed = np.zeros(len(some), np.bool_)
            for name in np.unique(source.name[some]).tolist():
                own = some & (source.name == name)
                chosen = np.unique(sets[own])[scope.soffset : scope.soffset + scope.slimit]
                allowed |= own & np.isin(sets, chosen)
            keep |= (which[sub] == i) & allowed[slot]
        return keep

    def _known(self, scan: Scan) -> tuple[Array, list[Array]]:
        """Which series InfluxDB has in each shard, as far as the end of a range lets know: i8[subs], which of the sets
        bool[s] that come with it."""
        which, sets = np.zeros(len(self.subs.shard), np.int64), list[Array]()
        for shard in np.unique(self.subs.shard).tolist():
            since = np.where(scan.chosen, self.reader.history.since(scan.source.series, shard), NEVER)
            own = np.flatnonzero(self.subs.shard == shard)
            counts = np.searchsorted(np.sort(since), self.stop[own], "left")
            for number in np.unique(counts).tolist():
                alike = own[counts == number]
                which[alike] = len(sets)
                sets.append(since < self.stop[alike[0]])
        return which, sets

    def _inside(self, query: Compiled | None, select: Select, driver: Ref | None, scope: Scope) -> Stream | None:
        """The rows of a query in brackets as points (subqueryBuilder); None where nothing can come of it."""
        assert query is not None
        if driver is not None and (driver.type not in KINDS or _inner_column(select, driver) is None):
            return None
        inner = scope.inner(query, select)
        rows = self.rows(query, select, inner)

        def column(ref: Ref) -> Column:
            match _inner_column(select, ref):
                case None:
                    return Column(NIL, {}, len(rows))
                case (place, kind):
                    return _cast_value(rows.columns[place], kind)
            return _tag(rows, ref.name)

        names = column_names(select)

        def named(ref: Ref) -> Column:
            if ref.name not in names:
                return _tag(rows, ref.name)
            return _cast_value(rows.columns[names.index(ref.name)], ref.type)

        value = Column.absent(len(rows))
        if driver is not None:
            value = cast(column(driver), driver.type)
        aux = tuple(column(ref) for ref in scope.aux)
        stream = Stream(rows.labels, rows.run, rows.label, rows.time, value, aux)
        if scope.where is not None:
            stream = stream.take(np.flatnonzero(truth(scope.where, named, len(stream))))
        return stream if len(scope.dims) == len(inner.dims) else stream.relabelled(scope.dims)

    def _merged(self, streams: Sequence[Stream | None], scope: Scope, *, by_bucket: bool) -> Stream:
        """Streams of several sources: by name and tags, then bucket after bucket, or else point after point."""
        some = [s for s in streams if s is not None]
        if not some:
            return Stream.empty(scope.dims, len(scope.aux))
        if len(some) == 1:
            return some[0]
        stream, owner = Stream.concat(some)
        _, of = stream.labels.among(scope.final)
        time = scope.bucket(stream.time, stream.run) if by_bucket else stream.time
        key = ranks(of[stream.label] * scope.forth, time * scope.forth) if len(stream) else stream.time
        return stream.take(_in_turn(stream.run, owner, key, by_run=by_bucket))

    # Functions

    def _call(self, query: Compiled, select: Select, call: Call, scope: Scope, selector: bool) -> Stream:
        """What a function gives (buildCallIterator)."""
        name, limited, scope = call.name, scope, scope.unlimited()
        if name in TRANSFORMS:
            wider = scope.earlier() if name != "cumulative_sum" else scope
            return self._transformed(call, self._argument(query, select, call, wider, selector), scope)
        if name in HOLT_WINTERS:
            return self._forecast(call, self._argument(query, select, call, scope, selector), scope)
        if name == "integral":
            return self._integral(call, self._argument(query, select, call, scope, selector=False), scope)
        if name == "distinct":
            return _at_bucket(self._reduced(name, self._argument(query, select, call, scope, selector), scope), scope)
        if name in ("top", "bottom"):
            return self._best(query, select, call, limited)
        if name in IN_PARTS and isinstance(call.args[0], Ref):
            stream = self._in_parts(query, select, name, call.args[0], scope)
        else:
            stream = self._reduced(name, self._argument(query, select, call, scope, selector), scope, call.args[1:])
        if not selector or scope.buckets.interval:
            stream = _at_bucket(stream, scope)
            if scope.buckets.interval and scope.fill != "none":
                stream = _filled(stream, name, scope)
        return stream

    def _argument(self, query: Compiled, select: Select, call: Call, scope: Scope, selector: bool) -> Stream:
        """The points that a function is about."""
        match call.args[0]:
            case Ref() as ref:
                return self._fields(query, select, ref, scope)
            case Call() as inner:
                return self._call(query, select, inner, scope, selector).until_hole()
        raise TypeError(f"no argument: {call.args[0]!r}")

    def _best(self, query: Compiled, select: Select, call: Call, scope: Scope) -> Stream:
        """top and bottom; with names of tags, of the best of each combination."""
        ref, *with_, _ = call.args
        assert isinstance(ref, Ref)
        if with_:
            dims = tuple(sorted({*scope.dims, *(r.name for r in with_ if isinstance(r, Ref))}))
            best = "max" if call.name == "top" else "min"
            stream = self._in_parts(query, select, best, ref, replace(scope.unlimited(), dims=dims))
            stream = stream.relabelled(scope.dims)
        else:
            stream = self._fields(query, select, ref, scope)
        return self._reduced(call.name, stream, scope, call.args[-1:])

    def _reduced(self, name: str, stream: Stream, scope: Scope, args: Sequence[Expr] = ()) -> Stream:
        """A function of the points of each bucket."""
        _check(name, stream)
        stream = _inside_range(stream.present(), scope)
        cuts = _cuts(stream, scope)
        numbers = tuple(arg.value for arg in args if isinstance(arg, Lit))
        if not len(cuts.slices):
            return Stream.empty(scope.dims, len(scope.aux))
        found = aggregate.reduce(name, numbers, stream.value, stream.time, cuts.slices)
        result = _emitted(name, stream, cuts, found, scope)
        return replace(result, holes=_holes(result, found.owner, cuts)) if name == "percentile" else result

    # Functions by series and shard

    def _in_parts(self, query: Compiled, select: Select, name: str, ref: Ref, scope: Scope) -> Stream:
        """A function of each source, brought together (callIterator)."""
        streams: list[Stream | None] = []
        alone = len(select.sources) == 1
        for source, inner in zip(select.sources, query.inner):
            if isinstance(source, Measurement):
                stream, single = self._of_measurement(source, name, ref, scope)
                streams.append(stream)
                alone = alone and single
            else:
                points = self._inside(inner, source, ref, scope)
                streams.append(None if points is None else self._reduced(name, points, scope))
                alone = False
        merged = self._merged(streams, scope, by_bucket=True)
        return _alone_again(name, merged) if alone else _together(name, merged, scope)

    def _of_measurement(self, measurement: Measurement, name: str, ref: Ref, scope: Scope) -> tuple[Stream, bool]:
        """A function of a measurement, and whether each result is of one series and shard alone."""
        levels = 1 if measurement.regex is None else 2  # above that of a shard
        if name in ("first", "last") and not scope.buckets.interval:
            stream, sub, alone = self._ends(measurement, name, ref, scope)
        else:
            stream, sub, alone = self._by_series(measurement, name, ref, scope)
        if alone:
            for _ in range(levels + 1):
                stream = _alone_again(name, stream)
            return stream, True
        stream, sub = _together_by(name, stream, sub, scope)
        if len(stream):
            _, of = stream.labels.among(scope.final)
            key = ranks(of[stream.label] * scope.forth, scope.bucket(stream.time, stream.run) * scope.forth)
            group = ranks(stream.run, stream.labels.names[stream.label] * scope.forth)
            stream = stream.take(_in_turn(group, self.subs.shard[sub], key, by_run=True))
        for _ in range(levels):
            stream = _together(name, stream, scope)
        return stream, False

    def _by_series(self, measurement: Measurement, name: str, ref: Ref, scope: Scope) -> tuple[Stream, Array, bool]:
        """The function of the points of each series, shard and bucket; the range and shard of each result; and whether
        there is but one for each label and bucket. Else they are in the order in which InfluxDB goes on with them."""
        source = self.reader.source(measurement, scope.dims, scope.final, scope.forth)
        scan = self.reader.scan(source, scope.where, ref, ())
        pieces = self._pieces(scan, scope)
        assert scan.value is not None
        _check(name, scan)
        if not len(pieces.low):
            return Stream.empty(scope.dims, len(scope.aux)), np.empty(0, np.int64), True
        owner, start, stop, begin = _cut(scan.time, pieces.low, pieces.high, scope)
        run = self.subs.run[pieces.sub[owner]]
        if begin is None:
            begin = scope.start[run]
        result = aggregate.reduce(name, (), scan.value, scan.time, aggregate.Slices(start, stop))
        row = result.row
        aux = () if row is None else self.reader.columns(scope.aux, scan, row)
        stream = Stream(
            source.labels, run, source.label[pieces.slot[owner]], begin if row is None else scan.time[row],
            result.value, aux, stop - start if name == "mean" else None,
        )  # fmt: skip
        sub = pieces.sub[owner]
        alone = source.one_series_each and scope.dims == scope.final and (np.diff(self.subs.run) > 0).all()
        if alone and not scope.buckets.changes.size:
            order = np.lexsort((stream.label * scope.forth, run))
            return stream if in_order(order) else stream.take(order), sub, True
        order = self._parallel(scan, pieces, owner, begin * scope.forth)
        return stream.take(order), sub[order], False

    def _parallel(self, scan: Scan, pieces: Pieces, owner: Array, key: Array) -> Array:
        """The order in which the results of the series of each tag set and shard are merged: as many streams as the
        server has cores, each of as many series, and then those streams."""
        final = scan.source.final
        start = np.searchsorted(owner, np.arange(len(pieces.sub) + 1))
        group = ranks(pieces.sub, final[pieces.slot])
        place, size = self._places(scan, pieces)
        cores = np.minimum(merge.PARALLEL, size)
        part = np.minimum(place // (size // cores), cores - 1)
        parts = borders(group, part)
        order = _merge_order(start[:-1], start[1:], parts, key, NO_TEXTS, by_run=True)
        inputs = start[parts]
        groups = np.searchsorted(parts[:-1], borders(group))
        return order[_merge_order(inputs[:-1], inputs[1:], groups, key[order], NO_TEXTS, by_run=True)]

    def _places(self, scan: Scan, pieces: Pieces) -> tuple[Array, Array]:
        """i8[p]: the place of each piece's series in its tag set, among those of the shard, and how many these are."""
        section = borders(scan.source.final)
        place, size = np.zeros(len(pieces.sub), np.int64), np.ones(len(pieces.sub), np.int64)
        which, known = self._known(scan)
        for i, some in enumerate(known):
            own = np.flatnonzero(which[pieces.sub] == i)
            some[pieces.slot[own]] = True
            before = np.concatenate([[0], np.cumsum(some)])
            of_set = np.repeat(np.arange(len(section) - 1), np.diff(section))[pieces.slot[own]]
            place[own] = before[pieces.slot[own]] - before[section[of_set]]
            size[own] = before[section[of_set + 1]] - before[section[of_set]]
        return place, size

    def _ends(self, measurement: Measurement, name: str, ref: Ref, scope: Scope) -> tuple[Stream, Array, bool]:
        """first and last without buckets: InfluxDB reads but the first two points of a tag set, in either direction."""
        forth = 1 if name == "first" else -1
        source = self.reader.source(measurement, scope.dims, scope.final, forth)
        own = replace(scope, forth=forth, limit=1, offset=0)
        scan = self.reader.scan(source, scope.where, ref, ())
        pieces = self._pieces(scan, own)
        pieces = pieces._replace(high=np.minimum(pieces.high, pieces.low + 2))
        sub, slot, rows = self._by_time(scan, pieces, own)
        if scope.dims != scope.final:
            keep = borders(sub, source.label[slot])[:-1]
            sub, slot, rows = sub[keep], slot[keep], rows[keep]
        value = Column.absent(0) if scan.value is None else scan.value.take(rows)
        aux = self.reader.columns(scope.aux, scan, rows)
        stream = Stream(source.labels, self.subs.run[sub], source.label[slot], scan.time[rows], value, aux)
        _check(name, stream)
        order = np.lexsort((source.final[slot] * scope.forth, sub)) if len(stream) else sub
        return stream.take(order), sub[order], False

    # Functions of what came before

    def _transformed(self, call: Call, stream: Stream, scope: Scope) -> Stream:
        stream = stream.present()
        if not len(stream):
            return Stream.empty(scope.dims)
        order = np.lexsort((stream.label, stream.run))
        straight = in_order(order)
        own = stream if straight else stream.take(order)
        found = transform(call.name, _parameters(call, scope), own.value, own.time, own.sections(), scope.forth)
        result = replace(own.take(found.place), value=found.value)
        if straight:
            return result
        return result.take(np.argsort(order[found.place], kind="stable"))

    def _integral(self, call: Call, stream: Stream, scope: Scope) -> Stream:
        _check(call.name, stream)
        stream = stream.present()
        if not len(stream):
            return Stream.empty(scope.dims)
        stream = stream.take(np.lexsort((stream.label * scope.forth, stream.run)))
        kind = next(iter(stream.value.data))
        section = stream.sections()
        run = stream.run[section[:-1]]
        room = len(stream) + len(run)
        owner, time, out = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
        n = integrals(
            stream.value.data[kind].astype(np.float64), stream.time, section, scope.start[run], scope.end[run] + 1,
            kind is INT, np.float64(_parameters(call, scope)[0]), scope.forth, *scope.buckets.key, owner, time, out,
        )  # fmt: skip
        first = section[:-1][owner[:n]]
        value = Column.of(FLOAT, out[:n])
        return Stream(stream.labels, stream.run[first], stream.label[first], time[:n], value)

    def _forecast(self, call: Call, stream: Stream, scope: Scope) -> Stream:
        from tickc.runtime.nodes.holtwinters import holt_winters

        _check(call.name, stream)
        stream = stream.present()
        if not len(stream):
            return Stream.empty(scope.dims)
        stream = stream.take(np.lexsort((stream.label * scope.forth, stream.run)))
        values, section = next(iter(stream.value.data.values())), stream.sections()
        ahead, seasons = (int(arg.value) for arg in call.args[1:] if isinstance(arg, Lit))
        with_fit = call.name == "holt_winters_with_fit"
        first, times, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
        ended = -1  # the range in which a series gave nothing, which InfluxDB takes for the end
        for low, high in zip(section[:-1].tolist(), section[1:].tolist()):
            if stream.run[low] == ended:
                continue
            try:
                time, value = holt_winters(
                    stream.time[low:high], values[low:high], ahead, seasons, scope.buckets.interval, with_fit=with_fit
                )
            except IndexError:
                self.errors[f"{call.name} of too few points"] += 1
                continue
            if not len(time):
                ended = stream.run[low]
            order = slice(None, None, scope.forth)
            first.append(np.full(len(time), low))
            times.append(time[order])
            found.append(value[order])
        at = np.concatenate(first)
        value = Column.of(FLOAT, np.concatenate(found))
        return Stream(stream.labels, stream.run[at], stream.label[at], np.concatenate(times), value)


def _check(name: str, points: Stream | Scan) -> None:
    """Raises Unsupported where a function does not take the kind of a field."""
    kind = None if points.value is None else points.value.kinds
    if isinstance(kind, Kind) and kind not in (MISSING, NIL):
        aggregate.check(name, kind)


# Buckets


def _cut(time: Array, low: Array, high: Array, scope: Scope) -> tuple[Array, Array, Array, Array | None]:
    """Slices low:high cut into buckets: of which each is, its rows start:stop, and where its bucket begins (None where
    there is but one, that of the range)."""
    buckets = scope.buckets
    if not buckets.interval:
        return np.arange(len(low)), low, high, None
    none = np.empty(0, np.int64)
    m = window.cut(time, low, high, *buckets.key, none, none, none, none)
    owner, start, stop, begin = (np.empty(m, np.int64) for _ in range(4))
    window.cut(time, low, high, *buckets.key, owner, start, stop, begin)
    return owner, start, stop, begin


def _inside_range(stream: Stream, scope: Scope) -> Stream:
    """The points of each range up to the first that lies outside, as where a bucket of a query in brackets begins:
    InfluxDB reads no further then, but by buckets."""
    if scope.buckets.interval or not len(stream):
        return stream
    outside = (stream.time < scope.start[stream.run]) | (stream.time > scope.end[stream.run])
    return stream.take(stream.before(outside)) if outside.any() else stream


def _cuts(stream: Stream, scope: Scope) -> Cuts:
    """The buckets of a stream whose points all have values: neighbours of one final label and bucket (reduce)."""
    labels, of = stream.labels.among(scope.final)
    final = of[stream.label] if len(stream) else stream.label
    section = borders(stream.run, final)
    _, start, stop, begin = _cut(stream.time, section[:-1], section[1:], scope)
    run = stream.run[start]
    begin = scope.start[run] if begin is None else begin
    if labels is stream.labels:
        return Cuts(aggregate.Slices(start, stop), run, stream.label[start], begin, np.arange(len(start)))
    bucket = np.repeat(np.arange(len(start)), stop - start)
    order = np.lexsort((stream.label, bucket))
    inner = borders(bucket[order], stream.label[order])
    bucket = bucket[order[inner[:-1]]]
    slices = aggregate.Slices(inner[:-1], inner[1:], order)
    return Cuts(slices, run[bucket], stream.label[order[inner[:-1]]], begin[bucket], bucket)


def _holes(stream: Stream, owner: Array, cuts: Cuts) -> Array | None:
    """At which places of a stream buckets are missing of which nothing came; owner: i8[n], the slices that it is of."""
    some = np.zeros(int(cuts.bucket[-1]) + 1, np.bool_)
    some[cuts.bucket[owner]] = True
    if some.all():
        return None
    run = np.zeros(len(some), np.int64)
    run[cuts.bucket] = cuts.run
    missing = np.flatnonzero(~some)
    at = np.searchsorted(cuts.bucket[owner], missing)
    inside = at < len(stream)
    inside[inside] = stream.run[at[inside]] == run[missing[inside]]
    return np.bincount(at[inside], minlength=len(stream) + 1)


def _emitted(name: str, stream: Stream, cuts: Cuts, found: aggregate.Reduced, scope: Scope) -> Stream:
    """The points that a function gave: those of a bucket by label, and picked ones then by time."""
    owner = np.arange(len(cuts.slices)) if found.owner is None else found.owner
    row = found.row
    time = cuts.begin[owner] if row is None else stream.time[row]
    aux = () if row is None or name == "distinct" else tuple(c.take(row) for c in stream.aux)
    weight = cuts.slices.sizes if name == "mean" else None
    result = Stream(stream.labels, cuts.run[owner], cuts.label[owner], time, found.value, aux, weight)
    by_time = () if row is None else (time * scope.forth,)
    order = np.lexsort((*by_time, result.label * scope.forth, cuts.bucket[owner]))
    return result if in_order(order) else result.take(order)


def _together(name: str, stream: Stream, scope: Scope) -> Stream:
    """Partial results of a function as one for each bucket and label (NewCallIterator over merged ones)."""
    if not len(stream):
        return stream
    cuts = _cuts(stream, scope)
    if len(cuts.slices) == len(stream) and cuts.slices.index is None:
        moved = stream if name in PICKS else replace(stream, time=cuts.begin)  # by a zone whose clock changes
        return _alone_again(name, moved)
    slices = cuts.slices
    if name == "mean":
        means, weights = np.empty(len(slices)), np.empty(len(slices), np.int64)
        assert stream.weight is not None
        values = stream.value.data[FLOAT]
        aggregate.mean_of_means(values, stream.weight, slices.index, slices.start, slices.stop, means, weights)
        result = _emitted("sum", stream, cuts, aggregate.Reduced(Column.of(FLOAT, means)), scope)
        order = np.lexsort((cuts.label * scope.forth, cuts.bucket))
        return replace(result, weight=weights[order])
    how = "sum" if name == "count" else name
    return _emitted(how, stream, cuts, aggregate.reduce(how, (), stream.value, stream.time, slices), scope)


def _together_by(name: str, stream: Stream, sub: Array, scope: Scope) -> tuple[Stream, Array]:
    """`_together` for each range and shard alone."""
    if not len(stream):
        return stream, sub
    own = replace(stream, run=sub)
    run = np.zeros(int(sub.max()) + 1, np.int64)
    run[sub] = stream.run
    by_sub = replace(scope, start=scope.start[run])
    found = _together(name, own, by_sub)
    return replace(found, run=run[found.run]), found.run


def _alone_again(name: str, stream: Stream) -> Stream:
    """Partial results that meet no other: a mean is multiplied by its number of points and divided by it again."""
    if name != "mean" or not len(stream):
        return stream
    assert stream.weight is not None
    weight = stream.weight.astype(np.float64)
    values = stream.value.data[FLOAT]
    with np.errstate(all="ignore"):
        return replace(stream, value=Column.of(FLOAT, np.where(stream.weight >= 2, values * weight / weight, values)))


def _at_bucket(stream: Stream, scope: Scope) -> Stream:
    """Points at the times at which their buckets begin (IntervalIterator)."""
    return replace(stream, time=scope.bucket(stream.time, stream.run)) if len(stream) else stream


# Order


def _merge_order(start: Array, stop: Array, groups: Array, key: Array, texts: Array, *, by_run: bool) -> Array:
    order, room = np.empty(int((stop - start).sum()), np.int64), np.empty((2, len(start)), np.int64)
    merge.merge(start, stop, groups, key, texts, by_run, room[0], room[1], order)
    return order


def _in_turn(group: Array, owner: Array, key: Array, *, by_run: bool) -> Array:
    """The order in which the inputs (`owner`) of each group are merged; each holds its items in their order."""
    order = np.lexsort((key, owner, group))
    start = borders(group[order], owner[order])
    groups = np.searchsorted(start[:-1], borders(group[order]))
    return order[_merge_order(start[:-1], start[1:], groups, key[order], NO_TEXTS, by_run=by_run)]


def _text_ranks(column: Column, forth: int) -> Array:
    """i8[n]: the order of texts, in the direction of time; -1 for what is no text."""
    if STRING not in column.data:
        return np.full(len(column), -1, np.int64)
    found = string_ranks(column.data[STRING])
    if forth < 0:
        found = found.max(initial=0) - found
    return np.where(column.is_kind(STRING), found, -1)


# Fill, limits, rows


def _filled(stream: Stream, name: str, scope: Scope) -> Stream:
    """With a row for each bucket of a range (FillIterator)."""
    if not len(stream):
        return stream
    kind = next(iter(stream.value.data))
    number = scope.fill
    if name == "count" and number == "null":
        number = 0.0
    how = FILLS[number] if isinstance(number, str) else FILL_NUMBER
    if how == FILL_LINEAR and kind not in NUMBERS:
        how = FILL_NULL
    buckets, forth = scope.buckets, scope.forth
    first, last = (buckets.begin(t, t) for t in ((scope.start, scope.end) if forth > 0 else (scope.end, scope.start)))
    width = np.abs(last - first) // buckets.interval + 1
    if buckets.changes.size:
        width = 2 * width + 1  # the clock of a zone may run back
    room = len(stream) + int(width[stream.run[stream.sections()[:-1]]].sum())
    row, time, source, before, after = (np.empty(room, np.int64) for _ in range(5))
    gaps = np.zeros(room + 1, np.int64)
    run = np.searchsorted(stream.run, np.arange(len(first) + 1))
    holes = np.zeros(1, np.int64) if stream.holes is None else stream.holes
    n = window.fill(
        stream.time, stream.value.present(), stream.label, holes, run, first, last, buckets.interval, how, forth,
        buckets.changes, buckets.shifts, row, time, source, before, after, gaps,
    )  # fmt: skip
    row, time, source, before, after = (a[:n] for a in (row, time, source, before, after))
    own = source >= 0
    value = _picked(stream.value, np.where(source == PREVIOUS, before, source), own | (source == PREVIOUS))
    computed = np.flatnonzero(source == VALUE)
    if len(computed):
        if how == FILL_LINEAR:
            made = _on_line(stream, time[computed], before[computed], after[computed], buckets.interval)
        else:
            assert not isinstance(number, str)
            made = _number(number, kind, len(computed))
        rest = np.flatnonzero(source != VALUE)
        value = select([(rest, value.take(rest)), (computed, made)], n)
    aux = tuple(_picked(c, source, own) for c in stream.aux)
    gaps = None if stream.holes is None else gaps[: n + 1]
    return Stream(stream.labels, stream.run[row], stream.label[row], time, value, aux, None, gaps)


def _picked(column: Column, source: Array, some: Array) -> Column:
    """column[source] where `some`, absent elsewhere."""
    if some.all():
        return column.take(source)
    if not len(column):
        return Column.absent(len(source))
    found = column.take(np.where(some, source, 0))
    kinds = np.where(some, found.kinds_array(), np.uint8(MISSING))
    return Column(kinds, found.data, len(source)).normal()


def _number(number: float | int, kind: Kind, n: int) -> Column:
    """n times the value of fill(number) among values of a kind; texts and bools get their zero."""
    match kind:
        case Kind.FLOAT:
            return Column.of(kind, np.full(n, float(number)))
        case Kind.INT:
            return Column.of(kind, np.full(n, int(number), np.int64))
        case Kind.BOOL:
            return Column.of(kind, np.zeros(n, np.bool_))
    return Column.of(STRING, Text.constant("", n))


def _on_line(stream: Stream, time: Array, before: Array, after: Array, interval: int) -> Column:
    """fill(linear): on the line between the rows before and after, in numbers of buckets (linearFloat)."""
    kind = next(iter(stream.value.data))
    values = stream.value.data[kind]
    at, low, high = (_quotient(t, interval) for t in (time, stream.time[before], stream.time[after]))
    with np.errstate(all="ignore"):
        rise = (values[after] - values[before]).astype(np.float64) / (high - low).astype(np.float64)
        found = rise * (at - low).astype(np.float64) + values[before].astype(np.float64)
        return Column.of(kind, found if kind is FLOAT else found.astype(np.int64))


def _quotient(a: Array, b: int) -> Array:
    """Go's division."""
    return (a - np.fmod(a, b)) // b


def _limited(stream: Stream, scope: Scope) -> Stream:
    """LIMIT and OFFSET, which count the neighbours of one series."""
    if not (scope.limit or scope.offset) or not len(stream):
        return stream
    place = place_in(stream.sections()) - scope.offset
    keep = place >= 0
    if scope.limit:
        keep &= place < scope.limit
    result = stream.take(np.flatnonzero(keep))
    if stream.holes is None:
        return result
    at = np.concatenate([[0], np.cumsum(keep)])
    return replace(result, holes=np.bincount(at, stream.holes, len(result) + 1).astype(np.int64))


def joined(streams: Sequence[Stream], forth: int) -> tuple[Stream, list[tuple[Column, ...]]]:
    """Streams side by side: rows of equal label and time; and the value and `aux` of each, absent where it has none."""
    first = streams[0]
    same = (
        all(np.array_equal(getattr(first, key), getattr(s, key)) for key in ("run", "label", "time"))
        and s.labels.keys == first.labels.keys
        for s in streams[1:]
    )
    if all(same):
        return first, [(s.value, *s.aux) for s in streams]
    plain = [replace(s, value=Column.absent(len(s)), aux=(), weight=None) for s in streams]
    base, _ = Stream.concat(plain)
    key = ranks(base.run, base.label * forth, base.time * forth)
    offset = np.concatenate([[0], np.cumsum([len(s) for s in streams])])
    places, row = np.empty((len(streams), len(base)), np.int64), np.empty(len(base), np.int64)
    n = side_by_side(key, offset, offset[:-1].copy(), places, row)
    columns = []
    for i, stream in enumerate(streams):
        place = places[i, :n]
        columns.append(tuple(_picked(c, place, place >= 0) for c in (stream.value, *stream.aux)))
    return base.take(row[:n]), columns


@kernel
def side_by_side(key, offset, at, places, row):  # type: ignore[no-untyped-def]
    """Rows of several inputs by key, as a cursor reads them (multiScannerCursor).

    Input i has the points offset[i]:offset[i + 1], with keys (i8). A row is for the least of the keys that come next.
    at: i8[inputs], where each begins. Out: for each row the place in each input, -1 where its next key is another; and
    a point that has the key. Returns how many.
    """
    n = 0
    inputs = at.size
    while True:
        least = -1
        for i in range(inputs):
            if at[i] < offset[i + 1]:
                j = at[i]
                if least < 0 or key[j] < key[least]:
                    least = j
        if least < 0:
            return n
        wanted = key[least]
        row[n] = least
        for i in range(inputs):
            places[i, n] = -1
            if at[i] < offset[i + 1] and key[at[i]] == wanted:
                places[i, n] = at[i] - offset[i]
                at[i] += 1
        n += 1


def _with_default(column: Column, kind: str, fill: str | float | int, section: Array) -> Column:
    """A column of rows with what stands for null: a number, or with fill(previous) the value before in the series."""
    if isinstance(column.kinds, Kind) and column.kinds not in (MISSING, NIL):
        return column
    kinds = column.kinds_array()
    some = (kinds != MISSING) & (kinds != NIL)
    if fill == "previous":
        n = len(column)
        at = np.maximum.accumulate(np.where(some, np.arange(n), -1)) if n else np.empty(0, np.int64)
        known = at >= np.repeat(section[:-1], np.diff(section))
        column, some = _picked(column, at, known), known
    elif not isinstance(fill, str):
        missing = np.flatnonzero(~some)
        number = float(fill) if kind == "float" else int(fill) if kind == "integer" else fill
        given = np.flatnonzero(some)
        made = _number(number, FLOAT if isinstance(number, float) else INT, len(missing))
        return select([(given, column.take(given)), (missing, made)], len(column))
    return Column(np.where(some, column.kinds_array(), np.uint8(NIL)), column.data, len(column)).normal()


def _value(expr: Expr, values: Mapping[Expr, Column], n: int) -> Column:
    """A column of the SELECT list."""
    nothing = Column(NIL, {}, n)
    return evaluate(expr, lambda symbol: values.get(symbol, nothing), n)


def symbols(exprs: Sequence[Expr]) -> tuple[list[Call], list[Ref]]:
    """The functions in columns, but for those inside others, and the names outside of them."""
    calls: dict[Call, None] = {}
    refs: dict[Ref, None] = {}

    def visit(expr: Expr) -> None:
        match expr:
            case Call(name=name, args=args) if name in MATHS:
                for arg in args:
                    visit(arg)
            case Call():
                calls[expr] = None
            case Ref():
                refs[expr] = None
            case Binary(left=left, right=right):
                visit(left)
                visit(right)
            case Paren(expr=inner):
                visit(inner)

    for expr in exprs:
        visit(expr)
    return list(calls), list(refs)


def _type(expr: Expr) -> str:
    """The type of a name that has one, or of a function of such."""
    return type_of(expr, (), Schema())


def _parameters(call: Call, scope: Scope) -> tuple[int | float | str, ...]:
    """What follows the field in a function's brackets, with defaults."""
    args = [arg for arg in call.args[1:] if isinstance(arg, Duration | Lit)]
    given = tuple(arg.ns if isinstance(arg, Duration) else arg.value for arg in args)
    if given:
        return given
    if call.name in ("derivative", "non_negative_derivative"):
        return (scope.buckets.interval or SECOND,)
    return (SECOND if call.name == "integral" else 1,)


# Queries in brackets


def _inner_column(select: Select, ref: Ref) -> tuple[int, str] | str | None:
    """What a name is in the rows of a query in brackets: a column as some type, or a tag."""
    beside = 0
    for i, f in enumerate(select.fields):
        if name_of(f) == ref.name:
            return i + beside, ref.type
        picked = [arg.name for arg in picked_with(f.expr)]
        if ref.name in picked:
            return i + picked.index(ref.name) + 1, "string"
        beside += len(picked)
    return ref.name if any(dimension_name(d) == ref.name for d in select.dimensions) else None


def _tag(rows: Table, name: str) -> Column:
    """A tag of rows; an absent one is an empty text."""
    dims, keys = rows.labels.dims, rows.labels.keys
    place = dims.index(name) + 1 if name in dims else 0
    text = Text.of(key[place] if place else "" for key in keys)
    return Column.of(STRING, text.take(rows.label)) if len(keys) else Column.of(STRING, Text.of([]))


def _cast_value(column: Column, kind: str) -> Column:
    """Numbers as numbers of a type; other values stay (castToType)."""
    if kind not in ("float", "integer"):
        return column
    wanted, other = (FLOAT, INT) if kind == "float" else (INT, FLOAT)
    if other not in column.data:
        return column
    foreign = column.is_kind(other)
    with np.errstate(all="ignore"):
        changed = column.data[other].astype(np.float64 if wanted is FLOAT else np.int64)
    values = np.where(foreign, changed, column.data[wanted]) if wanted in column.data else changed
    data = {k: v for k, v in column.data.items() if k is not other} | {wanted: values}
    return Column(np.where(foreign, np.uint8(wanted), column.kinds_array()), data, len(column)).normal()
