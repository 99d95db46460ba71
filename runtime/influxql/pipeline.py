"""From points to the rows of a query, as InfluxDB's iterators make them (query/select.go, tsdb/engine/tsm1/engine.go).

    points of series ─▶ Stream ─▶ functions, fill, limit ─▶ Streams, side by side ─▶ columns

count, sum, mean, min, max, first and last are worked out for each series and shard alone, and the results brought
together level by level, since InfluxDB does so and sums of floats show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tickc.runtime.batch import Array, Column, Text
from tickc.runtime.influxql import aggregate, merge, window
from tickc.runtime.influxql.aggregate import IN_PARTS, SELECTORS
from tickc.runtime.influxql.compile import Compiled
from tickc.runtime.influxql.formula import FLOAT, INT, MISSING, NIL, STRING, evaluate, truth
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
from tickc.runtime.influxql.steps import (
    NO_TEXTS,
    alone_again,
    at_bucket,
    buckets_of,
    cut,
    emitted,
    filled,
    holes_in,
    in_turn,
    inside_range,
    joined,
    limited,
    merge_order,
    text_ranks,
    together,
    together_by,
    with_default,
)
from tickc.runtime.influxql.stream import Scope, Stream, Table, borders, expanded, in_order, place_in, ranks
from tickc.runtime.influxql.transform import TRANSFORMS, integrals, transform
from tickc.runtime.influxql.tree import Binary, Call, Duration, Expr, Lit, Measurement, Paren, Ref, Select
from tickc.runtime.kinds import Kind

SECOND = 1_000_000_000
HOLT_WINTERS = ("holt_winters", "holt_winters_with_fit")
IN_ORDER = TRANSFORMS.union(HOLT_WINTERS, ("distinct", "integral", "median", "percentile"))  # read points by time


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
        scope = replace(scope, aux=tuple(sorted(refs, key=lambda r: (r.name, r.type))), several=len(calls) > 1)
        streams: list[Stream] = []
        drivers: list[Call | None] = []
        if not calls and any(ref.type != UNKNOWN for ref in refs):
            streams, drivers = [self._fields(query, select, None, scope)], [None]
        selector = len(calls) == 1 and calls[0].name in SELECTORS
        for call in calls:
            if _type(call) != UNKNOWN:
                streams.append(self._call(query, select, call, scope, selector))
                drivers.append(call)
        streams = [limited(s, scope) for s in streams] or [Stream.empty(scope.dims)]
        if len(streams) == 1:
            streams = [streams[0].until_two_holes()]
        base, columns = joined(streams, scope.forth)
        section = base.sections()
        values: dict[Expr, Column] = {}
        for driver, own in zip(drivers, columns):
            keys: list[Expr] = [*([] if driver is None else [driver]), *scope.aux]
            for key, column in zip(keys, own if driver is not None else own[1:]):
                values[key] = with_default(column, _type(key), scope.fill, section)
        own = tuple(_value(e, values, len(base)) for e in exprs)
        return Table(base.labels, base.run, base.label, base.time, own)

    # Points

    def _fields(self, query: Compiled, select: Select, driver: Ref | None, scope: Scope) -> Stream:
        """The points that have the field `driver` (buildVarRefIterator), or else any of `aux` (buildAuxIterator)."""
        streams = [
            self._points(source, driver, scope)
            if isinstance(source, Measurement)
            else self._inside(inner, source, driver, scope)
            for source, inner in zip(select.sources, query.inner)
        ]
        return self._merged(streams, scope, by_bucket=driver is not None or not scope.ordered)

    def _points(self, measurement: Measurement, driver: Ref | None, scope: Scope) -> Stream:
        """Points of a measurement: the series of a tag set are merged by time, or but by bucket where no order is asked
        for; tag sets come one after another."""
        source = self.reader.source(measurement, scope.dims, scope.final, scope.forth)
        scan = self.reader.scan(source, scope.where, driver, scope.aux)
        pieces = self._pieces(scan, scope)
        sub, slot, rows = self._by_time(scan, pieces, scope)
        final, run = source.final[slot] * scope.forth, self.subs.run[sub]
        if scope.ordered or not len(rows):
            order = np.lexsort((final, run))
        else:
            key = ranks(final, scope.bucket(scan.time[rows], run) * scope.forth)
            group = ranks(run, source.labels.names[source.label[slot]] * scope.forth)
            order = in_turn(group, self.subs.shard[sub], key, by_run=True)
        if not in_order(order):
            rows, sub, slot = rows[order], sub[order], slot[order]
        value = Column.absent(len(rows)) if scan.value is None else scan.value.take(rows)
        aux = self.reader.columns(scope.aux, scan, rows)
        return Stream(source.labels, self.subs.run[sub], source.label[slot], scan.time[rows], value, aux)

    def _by_time(self, scan: Scan, pieces: Pieces, scope: Scope) -> tuple[Array, Array, Array]:
        """The points of pieces (sub, slot, place in the scan), tag set after tag set: by time, then by texts among
        `aux`, or but by bucket where no order is asked for, then as it happens. With a limit no more than InfluxDB
        reads then, which is one more than it gives."""
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
            if scope.aux and scope.ordered:
                texts = np.stack([text_ranks(c, scope.forth) for c in self.reader.columns(scope.aux, scan, rows)])
            past = np.cumsum(sizes)
            time = scan.time[rows]
            key = time if scope.ordered else scope.bucket(time, self.subs.run[sub])
            order = merge_order(past - sizes, past, groups, key * scope.forth, texts, by_run=not scope.ordered)
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
        return stream.take(in_turn(stream.run, owner, key, by_run=by_bucket))

    # Functions

    def _call(self, query: Compiled, select: Select, call: Call, scope: Scope, selector: bool) -> Stream:
        """What a function gives (buildCallIterator)."""
        name, whole, scope = call.name, scope, scope.unlimited()
        if name in IN_ORDER:
            scope = replace(scope, ordered=True)
        if name in TRANSFORMS:
            wider = scope.earlier() if name != "cumulative_sum" else scope
            return self._transformed(call, self._argument(query, select, call, wider, selector), scope)
        if name in HOLT_WINTERS:
            return self._forecast(call, self._argument(query, select, call, scope, selector), scope)
        if name == "integral":
            return self._integral(call, self._argument(query, select, call, scope, selector=False), scope)
        if name == "distinct":
            return at_bucket(self._reduced(name, self._argument(query, select, call, scope, selector), scope), scope)
        if name in ("top", "bottom"):
            return self._best(query, select, call, whole)
        if name in IN_PARTS and isinstance(call.args[0], Ref):
            stream = self._in_parts(query, select, name, call.args[0], scope)
        else:
            stream = self._reduced(name, self._argument(query, select, call, scope, selector), scope, call.args[1:])
        if not selector or scope.buckets.interval:
            stream = at_bucket(stream, scope)
            if scope.buckets.interval and scope.fill != "none":
                stream = filled(stream, name, scope)
        return stream

    def _argument(self, query: Compiled, select: Select, call: Call, scope: Scope, selector: bool) -> Stream:
        """The points that a function is about."""
        match call.args[0]:
            case Ref() as ref:
                return self._fields(query, select, ref, scope)
            case Call() as inner:
                return self._call(query, select, inner, replace(scope, several=False), selector).until_hole()
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
        stream = inside_range(stream.present(), scope)
        cuts = buckets_of(stream, scope)
        numbers = tuple(arg.value for arg in args if isinstance(arg, Lit))
        if not len(cuts.slices):
            return Stream.empty(scope.dims, len(scope.aux))
        found = aggregate.reduce(name, numbers, stream.value, stream.time, cuts.slices)
        weight = cuts.slices.sizes if name == "mean" else None
        result = emitted(name, stream, cuts, found, scope, weight)
        if name == "percentile" and found.owner is not None:
            result = replace(result, holes=holes_in(result, found.owner, cuts))
        return result

    # Functions by series and shard

    def _in_parts(self, query: Compiled, select: Select, name: str, ref: Ref, scope: Scope) -> Stream:
        """A function of each source, brought together (callIterator)."""
        streams: list[Stream | None] = []
        alone = len(select.sources) == 1
        if any(inner is not None for inner in query.inner):
            scope = replace(scope, ordered=False)
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
        return alone_again(name, merged) if alone else together(name, merged, scope)

    def _of_measurement(self, measurement: Measurement, name: str, ref: Ref, scope: Scope) -> tuple[Stream, bool]:
        """A function of a measurement, and whether each result is of one series and shard alone."""
        levels = 1 if measurement.regex is None else 2  # above that of a shard
        if name in ("first", "last") and not scope.buckets.interval:
            stream, sub, alone = self._ends(measurement, name, ref, scope)
        else:
            stream, sub, alone = self._by_series(measurement, name, ref, scope)
        if alone:
            for _ in range(levels + 1):
                stream = alone_again(name, stream)
            return stream, True
        stream, sub = together_by(name, stream, sub, scope)
        if len(stream):
            _, of = stream.labels.among(scope.final)
            key = ranks(of[stream.label] * scope.forth, scope.bucket(stream.time, stream.run) * scope.forth)
            group = ranks(stream.run, stream.labels.names[stream.label] * scope.forth)
            stream = stream.take(in_turn(group, self.subs.shard[sub], key, by_run=True))
        for _ in range(levels):
            stream = together(name, stream, scope)
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
        owner, start, stop, begin = cut(scan.time, pieces.low, pieces.high, scope)
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
        order = merge_order(start[:-1], start[1:], parts, key, NO_TEXTS, by_run=True)
        inputs = start[parts]
        groups = np.searchsorted(parts[:-1], borders(group))
        return order[merge_order(inputs[:-1], inputs[1:], groups, key[order], NO_TEXTS, by_run=True)]

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
        own = replace(scope, forth=forth, limit=1, offset=0, ordered=True)
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
        at, forecasts = np.concatenate(first), Column.of(FLOAT, np.concatenate(found))
        return Stream(stream.labels, stream.run[at], stream.label[at], np.concatenate(times), forecasts)


def _check(name: str, points: Stream | Scan) -> None:
    """Raises Unsupported where a function does not take the kind of a field."""
    kind = None if points.value is None else points.value.kinds
    if isinstance(kind, Kind) and kind not in (MISSING, NIL):
        aggregate.check(name, kind)


# Columns


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
