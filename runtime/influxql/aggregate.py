"""Aggregates and selectors of InfluxQL: what a function makes of the points of each bucket.

The points of a bucket stand side by side, in the order in which InfluxDB's reducer gets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tickc.runtime.batch import Array, Column
from tickc.runtime.gosort import GO_1_19
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes import reducers as r
from tickc.runtime.nodes.influxql import Ranks, by_time, data_of, identity_keys, medians, order_keys

NUMERIC = (Kind.FLOAT, Kind.INT)
ORDERED = (*NUMERIC, Kind.BOOL)
ANY = (*ORDERED, Kind.STRING)

TAKES = {
    "count": ANY, "sum": NUMERIC, "mean": NUMERIC, "min": ORDERED, "max": ORDERED, "first": ANY, "last": ANY,
    "median": NUMERIC, "mode": ANY, "stddev": NUMERIC, "spread": NUMERIC, "percentile": NUMERIC, "distinct": ANY,
    "top": NUMERIC, "bottom": NUMERIC, "integral": NUMERIC, "holt_winters": NUMERIC, "holt_winters_with_fit": NUMERIC,
}  # fmt: skip
"""The functions, with the kinds that each takes."""
IN_PARTS = frozenset(("count", "sum", "mean", "min", "max", "first", "last"))
"""Those that InfluxDB works out for each series and shard, to bring the results together."""
PICKS = frozenset(("min", "max", "first", "last", "percentile", "distinct", "top", "bottom"))
"""Those that give points that there are, at their own times."""
SELECTORS = PICKS - {"distinct"} | {"sample"}


class Unsupported(Exception):
    """A function was asked of a kind of field that it does not take."""


@dataclass(frozen=True)
class Slices:
    """m slices start:stop (i8[m]) of the points, or of `index` into them."""

    start: Array
    stop: Array
    index: Array | None = None

    def __len__(self) -> int:
        return len(self.start)

    @property
    def sizes(self) -> Array:
        return self.stop - self.start

    @property
    def group(self) -> Array:
        """For `Ranks`: the slices do not overlap."""
        return np.zeros(len(self), np.int32)


@dataclass(frozen=True)
class Reduced:
    """What came of m buckets, in their order: of which bucket, the value, and for functions in PICKS from which row.

    owner: i8[n], None where each bucket gave one value; row: i8[n].
    """

    value: Column
    owner: Array | None = None
    row: Array | None = None


def check(name: str, kind: Kind) -> None:
    """Raises Unsupported where a function does not take values of `kind`."""
    if kind not in TAKES[name]:
        label = {Kind.BOOL: "boolean", Kind.INT: "integer"}.get(kind, kind.label)
        raise Unsupported(f"unsupported {name} iterator type: *query.{label}Iterator")


def reduce(name: str, args: tuple[Any, ...], value: Column, time: Array, slices: Slices) -> Reduced:
    """`name` of the points in each bucket, of which none is empty.

    value: the points' values, all of one kind and present; args: numbers that follow the field.
    """
    kind = value.kinds
    assert isinstance(kind, Kind)
    check(name, kind)
    if name == "count":
        return Reduced(Column.of(Kind.INT, slices.sizes))
    if name in PICKS:
        return _picked(name, args, value, kind, time, slices)
    if name == "mode" and kind is Kind.BOOL:
        return Reduced(Column.of(kind, _mode_of_bools(value.data[kind], slices)))
    index, start, stop = slices.index, slices.start, slices.stop
    values = order_keys(value, kind)
    if name == "mode":
        row = np.empty(len(slices), np.int64)
        order = np.empty(int(slices.sizes.max(initial=0)), np.int64)
        r.mode_rows(values, time, index, start, stop, order, row, GO_1_19)
        return Reduced(value.take(row))
    if name == "median":
        return Reduced(Column.of(Kind.FLOAT, medians(values, slices, kind, GO_1_19)))
    floats = kind is Kind.FLOAT
    out = np.empty(len(slices), values.dtype if name in ("sum", "spread") else np.float64)
    function = {
        "sum": r.sum_,
        "mean": r.mean_f if floats else r.mean_i,
        "spread": r.spread_f if floats else r.spread_i,
        "stddev": r.stddev,
    }[name]
    function(values, index, start, stop, out)
    return Reduced(Column.of(kind if name in ("sum", "spread") else Kind.FLOAT, out))


def _picked(name: str, args: tuple[Any, ...], value: Column, kind: Kind, time: Array, slices: Slices) -> Reduced:
    index, start, stop, m = slices.index, slices.start, slices.stop, len(slices)
    owner: Array | None = None
    if name == "percentile":
        row = _percentiles(data_of(value, kind), float(args[0]), slices)
        owner = np.flatnonzero(row >= 0)
        row = row[owner]
    elif name == "distinct":
        row, count = np.empty(int(slices.sizes.sum()), np.int64), np.empty(m, np.int64)
        room = 1 << int(2 * slices.sizes.max(initial=1)).bit_length()
        table, stamp = np.empty(room, np.int64), np.zeros(room, np.int64)
        r.distinct_rows(identity_keys(value, kind), index, start, stop, table, stamp, row, count)
        row, owner = row[: int(count.sum())], np.repeat(np.arange(m), count)
        row = by_time(row, owner, time[row], order_keys(value, kind)[row])
    elif name in ("top", "bottom"):
        n = int(args[-1])
        row, count = np.empty(int(np.minimum(slices.sizes, n).sum()), np.int64), np.empty(m, np.int64)
        r.best_rows(data_of(value, kind), time, index, start, stop, n, name == "top", row, count, GO_1_19)
        owner = np.repeat(np.arange(m), count)
    else:
        row = np.empty(m, np.int64)
        pick = {"first": r.first_rows, "last": r.last_rows, "min": r.min_rows, "max": r.max_rows}[name]
        pick(order_keys(value, kind, false_first=name == "first"), time, index, start, stop, row)
    return Reduced(value.take(row), owner, row)


def _percentiles(values: Array, percent: float, slices: Slices) -> Array:
    """i8[m]: the row of the percentile of each bucket, -1 for none."""
    rank = np.floor(slices.sizes * np.float64(percent) / 100.0 + 0.5)
    inside = (rank >= 1.0) & (rank <= slices.sizes)
    return Ranks(values, cast(Any, slices), np.where(inside, rank, 0.0).astype(np.int64) - 1).rows(
        exact=True, release=GO_1_19
    )


def _mode_of_bools(values: Array, slices: Slices) -> Array:
    """bool[m]: whether at least half are true."""
    ordered = values if slices.index is None else values[slices.index]
    before = np.concatenate([[0], np.cumsum(ordered)])
    return 2 * (before[slices.stop] - before[slices.start]) >= slices.sizes


@kernel
def mean_of_means(values, weights, index, start, stop, out, out_weight):  # type: ignore[no-untyped-def]
    """The mean of partial means f8, which stand for weights (i8) points each, as FloatMeanReducer brings them together.

    index, start, stop as in `reducers`. Out, f8[m] and i8[m]: the mean and for how many points it stands.
    """
    for j in range(start.size):
        total = np.float64(0.0)
        count = np.int64(0)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            if weights[row] >= 2:
                total += values[row] * np.float64(weights[row])
                count += weights[row]
            else:
                total += values[row]
                count += 1
        out[j] = total / np.float64(count)
        out_weight[j] = count
