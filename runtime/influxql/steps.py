"""Steps of a query, from stream to stream: buckets, partial results brought together, order, fill, rows joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tickc.runtime.batch import Array, Column, Text
from tickc.runtime.batch import select as scattered
from tickc.runtime.influxql import aggregate, merge, window
from tickc.runtime.influxql.aggregate import PICKS
from tickc.runtime.influxql.formula import FLOAT, INT, MISSING, NIL, NUMBERS, STRING
from tickc.runtime.influxql.stream import Scope, Stream, borders, in_order, place_in, ranks
from tickc.runtime.influxql.window import FILL_LINEAR, FILL_NULL, FILL_NUMBER, FILLS, PREVIOUS, VALUE
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.influxql import string_ranks

NO_TEXTS = np.empty((0, 0), np.int64)


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


# Buckets


def cut(time: Array, low: Array, high: Array, scope: Scope) -> tuple[Array, Array, Array, Array | None]:
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


def inside_range(stream: Stream, scope: Scope) -> Stream:
    """The points of each range up to the first that lies outside, as where a bucket of a query in brackets begins:
    InfluxDB reads no further then, but by buckets."""
    if scope.buckets.interval or not len(stream):
        return stream
    outside = (stream.time < scope.start[stream.run]) | (stream.time > scope.end[stream.run])
    return stream.take(stream.before(outside)) if outside.any() else stream


def buckets_of(stream: Stream, scope: Scope) -> Cuts:
    """The buckets of a stream whose points all have values: neighbours of one final label and bucket (reduce)."""
    labels, of = stream.labels.among(scope.final)
    final = of[stream.label] if len(stream) else stream.label
    section = borders(stream.run, final)
    _, start, stop, begin = cut(stream.time, section[:-1], section[1:], scope)
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


def holes_in(stream: Stream, owner: Array, cuts: Cuts) -> Array | None:
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


def emitted(
    name: str, stream: Stream, cuts: Cuts, found: aggregate.Reduced, scope: Scope, weight: Array | None = None
) -> Stream:
    """The points that a function gave: those of a bucket by label, picked ones first by time if they have to be so.

    weight: i8[slices], for how many points a mean of a bucket stands.
    """
    owner = np.arange(len(cuts.slices)) if found.owner is None else found.owner
    row = found.row
    time = cuts.begin[owner] if row is None else stream.time[row]
    aux = () if row is None or name == "distinct" else tuple(c.take(row) for c in stream.aux)
    result = Stream(stream.labels, cuts.run[owner], cuts.label[owner], time, found.value, aux, weight)
    own = time
    if name in ("median", "mode"):  # that of one point is the point itself
        start = cuts.slices.start if cuts.slices.index is None else cuts.slices.index[cuts.slices.start]
        own = np.where(cuts.slices.sizes == 1, stream.time[start], time)
    by_time = (own * scope.forth,) if scope.ordered else ()
    order = np.lexsort((result.label * scope.forth, *by_time, cuts.bucket[owner]))
    return result if in_order(order) else result.take(order)


def together(name: str, stream: Stream, scope: Scope) -> Stream:
    """Partial results of a function as one for each bucket and label (NewCallIterator over merged ones)."""
    if not len(stream):
        return stream
    cuts = buckets_of(stream, scope)
    if len(cuts.slices) == len(stream) and cuts.slices.index is None:
        moved = stream if name in PICKS else replace(stream, time=cuts.begin)  # by a zone whose clock changes
        return alone_again(name, moved)
    slices = cuts.slices
    if name == "mean":
        means, weights = np.empty(len(slices)), np.empty(len(slices), np.int64)
        assert stream.weight is not None
        values = stream.value.data[FLOAT]
        aggregate.mean_of_means(values, stream.weight, slices.index, slices.start, slices.stop, means, weights)
        return emitted(name, stream, cuts, aggregate.Reduced(Column.of(FLOAT, means)), scope, weights)
    how = "sum" if name == "count" else name
    return emitted(how, stream, cuts, aggregate.reduce(how, (), stream.value, stream.time, slices), scope)


def together_by(name: str, stream: Stream, sub: Array, scope: Scope) -> tuple[Stream, Array]:
    """`together` for each range and shard alone."""
    if not len(stream):
        return stream, sub
    own = replace(stream, run=sub)
    run = np.zeros(int(sub.max()) + 1, np.int64)
    run[sub] = stream.run
    by_sub = replace(scope, start=scope.start[run])
    found = together(name, own, by_sub)
    return replace(found, run=run[found.run]), found.run


def alone_again(name: str, stream: Stream) -> Stream:
    """Partial results that meet no other: a mean is multiplied by its number of points and divided by it again."""
    if name != "mean" or not len(stream):
        return stream
    assert stream.weight is not None
    weight = stream.weight.astype(np.float64)
    values = stream.value.data[FLOAT]
    with np.errstate(all="ignore"):
        return replace(stream, value=Column.of(FLOAT, np.where(stream.weight >= 2, values * weight / weight, values)))


def at_bucket(stream: Stream, scope: Scope) -> Stream:
    """Points at the times at which their buckets begin (IntervalIterator)."""
    return replace(stream, time=scope.bucket(stream.time, stream.run)) if len(stream) else stream


# Order


def merge_order(start: Array, stop: Array, groups: Array, key: Array, texts: Array, *, by_run: bool) -> Array:
    order, room = np.empty(int((stop - start).sum()), np.int64), np.empty((2, len(start)), np.int64)
    merge.merge(start, stop, groups, key, texts, by_run, room[0], room[1], order)
    return order


def in_turn(group: Array, owner: Array, key: Array, *, by_run: bool) -> Array:
    """The order in which the inputs (`owner`) of each group are merged; each holds its items in their order."""
    order = np.lexsort((key, owner, group))
    start = borders(group[order], owner[order])
    groups = np.searchsorted(start[:-1], borders(group[order]))
    return order[merge_order(start[:-1], start[1:], groups, key[order], NO_TEXTS, by_run=by_run)]


def text_ranks(column: Column, forth: int) -> Array:
    """i8[n]: the order of texts, in the direction of time; -1 for what is no text."""
    if STRING not in column.data:
        return np.full(len(column), -1, np.int64)
    found = string_ranks(column.data[STRING])
    if forth < 0:
        found = found.max(initial=0) - found
    return np.where(column.is_kind(STRING), found, -1)


# Fill, limits, rows


def filled(stream: Stream, name: str, scope: Scope) -> Stream:
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
        stream.time, stream.value.present(), stream.label, holes, scope.several, run, first, last, buckets.interval,
        how, forth, buckets.changes, buckets.shifts, row, time, source, before, after, gaps,
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
        value = scattered([(rest, value.take(rest)), (computed, made)], n)
    aux = tuple(_picked(c, source, own) for c in stream.aux)
    holed = None if stream.holes is None else gaps[: n + 1]
    return Stream(stream.labels, stream.run[row], stream.label[row], time, value, aux, None, holed)


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


def limited(stream: Stream, scope: Scope) -> Stream:
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
    at: Array = np.cumsum(keep) - keep
    inside: Array = at < len(result)
    inside[inside] = result.run[at[inside]] == stream.run[inside]
    holes = np.bincount(at[inside], stream.holes[:-1][inside], len(result) + 1)
    return replace(result, holes=holes.astype(np.int64))


def joined(streams: Sequence[Stream], forth: int) -> tuple[Stream, list[tuple[Column, ...]]]:
    """Streams side by side: rows of equal label and time; and the value and `aux` of each, absent where it has none."""
    first = streams[0]
    whole = all(s.holes is None for s in streams)
    same = (
        all(np.array_equal(getattr(first, key), getattr(s, key)) for key in ("run", "label", "time"))
        and s.labels.keys == first.labels.keys
        for s in streams[1:]
    )
    if whole and all(same):
        return first, [(s.value, *s.aux) for s in streams]
    plain = [replace(s, value=Column.absent(len(s)), aux=(), weight=None, holes=None) for s in streams]
    base, _ = Stream.concat(plain)
    key = ranks(base.run, base.label * forth, base.time * forth)
    offset = np.concatenate([[0], np.cumsum([len(s) for s in streams])])
    runs = np.arange(int(base.run.max(initial=-1)) + 2)
    bounds = np.stack([np.searchsorted(s.run, runs) + begin for s, begin in zip(streams, offset)])
    holes = np.concatenate([np.zeros(len(s), np.int64) if s.holes is None else s.holes[:-1] for s in streams])
    places, row = np.empty((len(streams), len(base)), np.int64), np.empty(len(base), np.int64)
    n = side_by_side(key, holes, bounds, np.empty((2, len(streams)), np.int64), places, row)
    columns = []
    for i, stream in enumerate(streams):
        place = places[i, :n]
        columns.append(tuple(_picked(c, place, place >= 0) for c in (stream.value, *stream.aux)))
    return base.take(row[:n]), columns


@kernel
def side_by_side(key, holes, bounds, state, places, row):  # type: ignore[no-untyped-def]
    """Rows of several inputs by key, as a cursor reads them (multiScannerCursor).

    Input i has the points bounds[i, r]:bounds[i, r + 1] of range r, with keys (i8). A row is for the least of the keys
    that come next. holes: i8[n] as in `Stream`; for each of them an input has nothing once, when it is asked for its
    key or for its value. Where all have nothing, a series ends for the one who writes the result, and twice in a row
    the range. state: i8[2, inputs], room to work in. Out: for each row the place in each input, -1 where its next key
    is another; and a point that has the key. Returns how many.
    """
    n = 0
    inputs = bounds.shape[0]
    at = state[0]
    left = state[1]
    for r in range(bounds.shape[1] - 1):
        for i in range(inputs):
            at[i] = bounds[i, r]
            left[i] = holes[at[i]] if at[i] < bounds[i, r + 1] else 0
        since = n
        while True:
            least = -1
            for i in range(inputs):
                if at[i] == bounds[i, r + 1]:
                    continue
                if left[i] > 0:
                    left[i] -= 1
                elif least < 0 or key[at[i]] < key[least]:
                    least = at[i]
            if least < 0:
                if n == since:
                    break
                since = n
                continue
            wanted = key[least]
            row[n] = least
            for i in range(inputs):
                places[i, n] = -1
                if at[i] == bounds[i, r + 1]:
                    continue
                if left[i] > 0:
                    left[i] -= 1
                elif key[at[i]] == wanted:
                    places[i, n] = at[i] - bounds[i, 0]
                    at[i] += 1
                    left[i] = holes[at[i]] if at[i] < bounds[i, r + 1] else 0
            n += 1
    return n


def with_default(column: Column, kind: str, fill: str | float | int, section: Array) -> Column:
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
        return scattered([(given, column.take(given)), (missing, made)], len(column))
    return Column(np.where(some, column.kinds_array(), np.uint8(NIL)), column.data, len(column)).normal()
