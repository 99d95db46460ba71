"""Queries on points held here, for many ranges of time at once, with the answers that InfluxDB gives.

`now()` is the end of the range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tickc.runtime.batch import Array, Column, Text, Vocabulary, select
from tickc.runtime.influxql.aggregate import Unsupported
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.influxql.compile import Compiled, compiled, measurements, walk
from tickc.runtime.influxql.history import History, shard_of
from tickc.runtime.influxql.pipeline import Pipeline
from tickc.runtime.influxql.points import Reader
from tickc.runtime.influxql.reduce import QueryRefused, is_unsigned
from tickc.runtime.influxql.schema import Schema, column_names, has_wildcard, typed
from tickc.runtime.influxql.stream import NOTHING, Scope, Table
from tickc.runtime.influxql.tree import Binary, Call, Expr, Lit, Paren, Ref, Select
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import Conjunct

__all__ = ["Evaluator", "Needs", "QueryRefused"]

Part = tuple[Array, list[str], Table]  # some ranges, the names of their columns, their rows


class Needs(NamedTuple):
    """What of the points a query reads; None is all. conjuncts: comparisons that all points of interest fulfil."""

    measurements: tuple[str, ...] | None
    tags: tuple[str, ...] | None
    fields: tuple[str, ...] | None
    conjuncts: tuple[Conjunct, ...]


class Evaluator:
    """One query. errors: counts the ranges that InfluxDB answers with an error, by its text; they have no series."""

    def __init__(self, select: Select) -> None:
        """Raises QueryRefused where InfluxDB refuses the query, whatever the points are."""
        self.query = compiled(select)
        _check_answerable(self.query)
        self.errors: Counter[str] = Counter()
        self._typed: dict[object, Select | str] = {}

    def needs(self) -> Needs:
        """What of the points is read. All tags, since they tell one series from another."""
        sources = list(measurements(self.query.select))
        names = None if any(m.regex is not None for m in sources) else tuple(sorted({m.name for m in sources}))
        fields = None if _hangs_on_schema(self.query) else tuple(sorted(_names_read(self.query)))
        return Needs(names, None, fields, _conjuncts(self.query))

    def reach(self) -> tuple[int, int]:
        """How far before the start and after the stop of a range points are read, ns: functions of neighbouring buckets
        look at more of them."""
        more = self.query.extra * self.query.interval
        return (more, 0) if self.query.forth > 0 else (0, more)

    def answer(self, history: History, start: Array, stop: Array) -> Answer:
        """The series for the ranges start <= time < stop (i8[k], ascending by stop, they may overlap).

        The history must hold the points of the ranges, and those in reach. See `errors` for what fails.
        """
        start, stop = (np.ascontiguousarray(a, np.int64) for a in (start, stop))
        reader = Reader(history)
        parts: list[Part] = []
        scope = Scope.outermost(self.query, self.query.select, start, stop)
        for runs, query in self._typed_queries(history, scope):
            own = Scope.outermost(self.query, query, start[runs], stop[runs])
            pipeline = Pipeline(reader, own)
            try:
                parts.append((runs, column_names(query), pipeline.rows(self.query, query, own)))
            except (QueryRefused, Unsupported) as error:
                self.errors[str(error)] += len(runs)
            self.errors.update(pipeline.errors)
        return _answer(parts)

    def _typed_queries(self, history: History, scope: Scope) -> list[tuple[Array, Select]]:
        """The ranges (i8) for which points have the same schema, and the query as it is then."""
        sources = list(dict.fromkeys(measurements(self.query.select)))
        known = np.searchsorted(history.moments(), scope.stop, "left")
        if history.whole:
            known[:] = 0
        keys = np.stack([shard_of(scope.floor), shard_of(scope.ceiling), known])
        kinds, which = np.unique(keys, axis=1, return_inverse=True)
        which = which.ravel()
        found: dict[Select, list[int]] = {}
        for i, (low, high, _) in enumerate(kinds.T.tolist()):
            of_kind = which == i
            query = self._with_types(history.schema(sources, (low, high), int(scope.stop[of_kind].min())))
            if isinstance(query, str):
                self.errors[query] += int(of_kind.sum())
            else:
                found.setdefault(query, []).append(i)
        return [(np.flatnonzero(np.isin(which, own)), query) for query, own in found.items()]

    def _with_types(self, schema: Schema) -> Select | str:
        """The query with types for the names in it, or why it can have none."""
        key = schema.key
        if key not in self._typed:
            try:
                self._typed[key] = typed(self.query.without_times(), schema)
            except QueryRefused as error:
                self._typed[key] = str(error)
        return self._typed[key]


def _check_answerable(query: Compiled) -> None:
    """Raises QueryRefused for what points alone do not decide, and for types that points here do not have."""
    if query.offset is None:
        raise QueryRefused("buckets that begin at now() cannot be told for points of the past", query.select)
    for expr in [*(f.expr for f in query.select.fields), *([] if query.where is None else [query.where])]:
        for part in walk(expr):
            if isinstance(part, Call) and part.name == "sample":
                raise QueryRefused("sample() picks points at random, so its result would not stay the same", part)
            if is_unsigned(part) or (isinstance(part, Ref) and part.type == "unsigned"):
                raise QueryRefused("unsigned integers are not supported", part)
    for inner in query.inner:
        if inner is not None:
            _check_answerable(inner)


def _hangs_on_schema(query: Compiled) -> bool:
    return has_wildcard(query.select) or any(q is not None and _hangs_on_schema(q) for q in query.inner)


def _names_read(query: Compiled) -> set[str]:
    """Names in columns and conditions, which are fields or tags."""
    exprs = [f.expr for f in query.select.fields] + ([] if query.where is None else [query.where])
    names = {e.name for expr in exprs for e in walk(expr) if isinstance(e, Ref)}
    for inner in query.inner:
        names |= set() if inner is None else _names_read(inner)
    return names


def _conjuncts(query: Compiled) -> tuple[Conjunct, ...]:
    """Comparisons of a tag with a text, where the points of other series change nothing but the types of fields: no
    columns, no fill.

    A name may be that of a field, which is why only one with `::tag` is certain.
    """
    if _hangs_on_schema(query) or any(query.inner) or not isinstance(query.select.fill, str | None):
        return ()
    found: list[Conjunct] = []
    left: list[Expr | None] = [query.where]
    while left:
        match left.pop():
            case Binary(op="AND", left=one, right=other):
                left += other, one
            case Paren(expr=inner):
                left.append(inner)
            case Binary(op="=", left=Ref(name=name, type="tag"), right=Lit(value=str() as value)) if value:
                found.append((name, "==", value))
    return tuple(found)


def _answer(parts: Sequence[Part]) -> Answer:
    """The rows of all ranges as series; parts: ranges, names of columns, rows."""
    sections = [rows.sections() for _, _, rows in parts]
    first = [section[:-1] for section in sections]
    sizes = np.concatenate([NOTHING, *(np.diff(section) for section in sections)])
    run = np.concatenate([NOTHING, *(runs[rows.run[f]] for (runs, _, rows), f in zip(parts, first))])
    order = np.argsort(run, kind="stable")
    stop = np.cumsum(sizes[order])
    begin = np.concatenate([NOTHING, *(f + at for f, at in zip(first, _offsets(parts)))])[order]
    rows = _rows_of(begin, sizes[order])
    names = list(dict.fromkeys(name for _, own, _ in parts for name in own))
    fields = {name: Column.concat([_column(own, name, part) for _, own, part in parts]).take(rows) for name in names}
    time = np.concatenate([NOTHING, *(part.time for _, _, part in parts)])[rows]
    dims = sorted({dim for _, _, part in parts for dim in part.labels.dims})
    name, *tags = (_texts(parts, first, dim, order) for dim in (None, *dims))
    return Answer(run[order], name, dict(zip(dims, tags)), stop - sizes[order], stop, time, fields)


def _offsets(parts: Sequence[Part]) -> list[int]:
    return np.concatenate([[0], np.cumsum([len(rows) for _, _, rows in parts])]).tolist()


def _rows_of(begin: Array, sizes: Array) -> Array | slice:
    """The rows of series; all of them, where they stand in order already."""
    past = np.cumsum(sizes)
    if (begin == past - sizes).all():
        return slice(None)
    return np.arange(int(past[-1])) + np.repeat(begin - (past - sizes), sizes)


def _column(names: list[str], name: str, rows: Table) -> Column:
    """A column by name, of several with that name what the last ones have; NaN is null."""
    found = Column.absent(len(rows))
    for own, column in zip(names, rows.columns):
        if own == name:
            found = _over(found, _without_nan(column))
    return found


def _over(below: Column, above: Column) -> Column:
    if below.kinds is Kind.MISSING or (isinstance(above.kinds, Kind) and above.kinds is not Kind.MISSING):
        return above
    some = above.present()
    over, under = np.flatnonzero(some), np.flatnonzero(~some)
    return select([(over, above.take(over)), (under, below.take(under))], len(above))


def _without_nan(column: Column) -> Column:
    """The column with absent values for nulls of all sorts, and for NaN."""
    kinds = column.kinds
    floats = column.data.get(Kind.FLOAT)
    bad = column.is_kind(Kind.NIL)
    if floats is not None:
        bad = bad | (column.is_kind(Kind.FLOAT) & np.isnan(floats))
    if not bad.any():
        return column
    if kinds is Kind.NIL:
        return Column.absent(len(column))
    return Column(np.where(bad, np.uint8(Kind.MISSING), column.kinds_array()), column.data, len(column)).normal()


def _texts(parts: Sequence[Part], first: Sequence[Array], dim: str | None, order: Array) -> Text:
    """The value of a dimension of each series, or its name; absent where the query of its range lacks the dimension."""
    vocabulary = Vocabulary()
    codes = [np.empty(0, np.int32)]
    for (_, _, rows), begin in zip(parts, first):
        dims = rows.labels.dims
        if dim is not None and dim not in dims:
            codes.append(np.full(len(begin), -1, np.int32))
        else:
            place = 0 if dim is None else dims.index(dim) + 1
            table = vocabulary.encode(key[place] for key in rows.labels.keys)
            codes.append(table[rows.label[begin]])
    return Text(np.concatenate(codes)[order], vocabulary)
