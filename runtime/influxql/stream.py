"""What goes from step to step while a query is evaluated: its options, points in InfluxDB's order, rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tickc.runtime.batch import Array, Column
from tickc.runtime.influxql.compile import Bound, Compiled
from tickc.runtime.influxql.points import Labels
from tickc.runtime.influxql.schema import dimension_name
from tickc.runtime.influxql.tree import Expr, Ref, Select
from tickc.runtime.influxql.window import GREATEST_TIME, LEAST_TIME, Buckets
from tickc.runtime.kinds import Kind

NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Scope:
    """Options of a query, or of one in brackets, for k ranges (IteratorOptions).

    start, end: i8[k], both inclusive; floor, ceiling: i8[k], beyond which nothing is read; stop: i8[k], the end of what
    was asked for, which is now(). final: the dimensions of the outermost query, dims: with those of the queries inside,
    down to this one; both sorted. forth: 1 where time ascends, else -1. fill: null, none, previous, linear or a number.
    aux: what is read besides the argument of a function. several: whether rows are made of several functions. ordered:
    whether points have to be in order of time within a bucket.
    """

    start: Array
    end: Array
    floor: Array
    ceiling: Array
    stop: Array
    buckets: Buckets
    dims: tuple[str, ...]
    final: tuple[str, ...]
    forth: int
    fill: str | float | int
    limit: int
    offset: int
    slimit: int
    soffset: int
    where: Expr | None
    aux: tuple[Ref, ...] = ()
    several: bool = False
    ordered: bool = True

    @staticmethod
    def outermost(query: Compiled, select: Select, start: Array, stop: Array) -> Scope:
        """For the ranges start <= time < stop."""
        return _scope(query, select, start, stop - 1, stop, None)

    def inner(self, query: Compiled, select: Select) -> Scope:
        """For a query in brackets."""
        return _scope(query, select, self.start, self.end, self.stop, self)

    def take(self, runs: Array) -> Scope:
        """For some of the ranges."""
        names = ("start", "end", "floor", "ceiling", "stop")
        return replace(self, **{name: getattr(self, name)[runs] for name in names})

    def earlier(self) -> Scope:
        """With a bucket more at the side where time begins."""
        more = self.buckets.interval
        if self.forth > 0:
            return replace(self, start=self.start - more)
        return replace(self, end=self.end + more)

    def unlimited(self) -> Scope:
        return replace(self, limit=0, offset=0)

    def bucket(self, time: Array, run: Array) -> Array:
        """i8[n]: where the buckets of points begin."""
        return self.buckets.begin(time, self.start[run] if not self.buckets.interval else self.start)


def _scope(query: Compiled, select: Select, start: Array, end: Array, stop: Array, outer: Scope | None) -> Scope:
    start = _tightest(query.earliest, start, stop, np.maximum)
    end = _tightest(query.latest, end, stop, np.minimum)
    own = tuple(sorted({name for name in map(dimension_name, select.dimensions) if name}))
    more = query.extra * query.interval
    fill = "null" if select.fill is None else select.fill
    return Scope(
        start=start,
        end=end,
        floor=outer.floor if outer else start - (more if query.forth > 0 else 0),
        ceiling=outer.ceiling if outer else end + (more if query.forth < 0 else 0),
        stop=stop,
        buckets=Buckets.of(query.interval, query.offset or 0, select.zone),
        dims=tuple(sorted({*own, *outer.dims})) if outer else own,
        final=outer.final if outer else own,
        forth=query.forth,
        fill="none" if outer and fill == "null" and query.calls else fill,
        limit=select.limit,
        offset=select.offset,
        slimit=select.slimit + (outer.slimit if outer else 0),
        soffset=select.soffset + (outer.soffset if outer else 0),
        where=select.where,
        ordered=outer.ordered if outer else True,
    )


def _tightest(bounds: Sequence[Bound], own: Array, now: Array, choose: np.ufunc) -> Array:
    for bound in bounds:
        own = choose(own, now + bound.ns if bound.now else np.int64(min(max(bound.ns, LEAST_TIME), GREATEST_TIME)))
    return own


@dataclass(frozen=True)
class Stream:
    """Points of all ranges, in InfluxDB's order within each.

    run: i8[n], ascending; label: i8[n] codes; time: i8[n]; value: n of one kind or absent; aux: other columns, n each.
    weight: i8[n], for how many points a mean stands. holes: i8[n + 1], how many buckets right before a point gave
    nothing, which InfluxDB takes for the end of all; what is behind is read only by who goes on asking.
    """

    labels: Labels
    run: Array
    label: Array
    time: Array
    value: Column
    aux: tuple[Column, ...] = ()
    weight: Array | None = None
    holes: Array | None = None

    @staticmethod
    def empty(dims: tuple[str, ...], aux: int = 0) -> Stream:
        value = Column(Kind.FLOAT, {Kind.FLOAT: np.empty(0)}, 0)
        return Stream(Labels(dims, ()), NOTHING, NOTHING, NOTHING, value, (Column.absent(0),) * aux)

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Array) -> Stream:
        return Stream(
            self.labels, self.run[rows], self.label[rows], self.time[rows], self.value.take(rows),
            tuple(c.take(rows) for c in self.aux), None if self.weight is None else self.weight[rows],
        )  # fmt: skip

    def present(self) -> Stream:
        """The points that have a value: the column is of one kind then."""
        kinds = self.value.kinds
        if isinstance(kinds, Kind):
            return self.take(NOTHING) if kinds in (Kind.MISSING, Kind.NIL) else self
        some = (kinds != Kind.MISSING) & (kinds != Kind.NIL)
        if not some.any():
            return self.take(NOTHING)
        found = self if some.all() else self.take(np.flatnonzero(some))
        return replace(found, value=found.value.normal())

    def sections(self) -> Array:
        """i8[s + 1]: where runs of points of the same range and label begin, and the end."""
        return borders(self.run, self.label)

    def until_hole(self) -> Stream:
        """The points of each range up to its first hole."""
        return self if self.holes is None else self.take(self.before(self.holes[:-1] > 0))

    def until_two_holes(self) -> Stream:
        """The points of each range up to two holes in a row, or one at its beginning: a hole ends a series for the one
        who writes the result, who goes on with what comes next, and two of them end all."""
        if self.holes is None:
            return self
        first = np.zeros(len(self) + 1, np.bool_)
        first[borders(self.run)] = True
        return self.take(self.before(((self.holes > 1) | ((self.holes > 0) & first))[:-1]))

    def before(self, ends: Array) -> Array:
        """The points of each range before the first that is marked (bool[n])."""
        marked = np.flatnonzero(ends)
        ended = np.full(int(self.run.max(initial=0)) + 1, len(self))
        np.minimum.at(ended, self.run[marked], marked)
        return np.flatnonzero(np.arange(len(self)) < ended[self.run])

    def relabelled(self, dims: tuple[str, ...]) -> Stream:
        """With fewer dimensions."""
        labels, codes = self.labels.among(dims)
        return replace(self, labels=labels, label=codes[self.label] if len(self) else self.label)

    @staticmethod
    def concat(parts: Sequence[Stream]) -> tuple[Stream, Array]:
        """All points of `parts` with labels in common, and i8[n] from which part each is; not in order of ranges."""
        labels, codes = Labels.shared([p.labels for p in parts])
        label = [c[p.label] if len(p) else p.label for c, p in zip(codes, parts)]
        run, time = (np.concatenate([getattr(p, name) for p in parts]) for name in ("run", "time"))
        aux = tuple(Column.concat(columns) for columns in zip(*(p.aux for p in parts)))
        weights = [np.ones(len(p), np.int64) if p.weight is None else p.weight for p in parts]
        weight = None if all(p.weight is None for p in parts) else np.concatenate(weights)
        value = Column.concat([p.value for p in parts])
        owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        return Stream(labels, run, np.concatenate(label), time, value, aux, weight), owner


@dataclass(frozen=True)
class Table:
    """Rows of a query for all ranges: as Stream, with the columns of the SELECT list."""

    labels: Labels
    run: Array
    label: Array
    time: Array
    columns: tuple[Column, ...]

    def sections(self) -> Array:
        """i8[s + 1]: where series begin, and the end."""
        return borders(self.run, self.label)

    def __len__(self) -> int:
        return len(self.time)


def borders(*keys: Array) -> Array:
    """i8[s + 1]: where rows begin that differ from those before them in any key (n each), and the end."""
    n = len(keys[0])
    if not n:
        return np.zeros(1, np.int64)
    fresh = np.zeros(n - 1, np.bool_)
    for key in keys:
        fresh |= key[1:] != key[:-1]
    return np.concatenate([[0], np.flatnonzero(fresh) + 1, [n]])


def expanded(begin: Array, sizes: Array) -> Array:
    """The rows begin[j], …, begin[j] + sizes[j] - 1, of all j."""
    past = np.cumsum(sizes)
    total = int(past[-1]) if len(past) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(begin - (past - sizes), sizes)


def place_in(section: Array) -> Array:
    """i8[n]: the place of each row in its section."""
    sizes = np.diff(section)
    return np.arange(int(section[-1]), dtype=np.int64) - np.repeat(section[:-1], sizes)


def ranks(*keys: Array) -> Array:
    """i8[n]: the place of each row among the distinct rows, which ascend by the first key, then the next."""
    n = len(keys[0])
    order = np.lexsort(tuple(reversed(keys)))
    section = borders(*(key[order] for key in keys))
    out = np.empty(n, np.int64)
    out[order] = np.repeat(np.arange(len(section) - 1), np.diff(section))
    return out


def in_order(order: Array) -> bool:
    """Whether an index array leaves rows where they are."""
    return bool((order == np.arange(len(order))).all())
