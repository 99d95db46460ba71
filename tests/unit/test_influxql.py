"""InfluxQL functions: Kapacitor's traces, and the cases where it is not what one expects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from streams import SECOND, T, cut, fed, moved, points, segments, shared

from tickc.runtime import gosort
from tickc.runtime.batch import Column, Groups, Points, Rows, Segments, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes import holtwinters, reducers
from tickc.runtime.nodes.influxql import FUNCTIONS, InfluxQL

HOST = {"host": "a"}


def node(function: str, *args: Any, as_name: str = "", point_times: bool = False, field: str = "v") -> InfluxQL:
    return InfluxQL(
        name="x", function=function, field=field, as_name=as_name or function, args=args, point_times=point_times
    )


def window(values: list[Any], *, tmax: float = 10, **others: list[Any]) -> Any:
    """One batch of points a second apart; None lacks the field."""
    given = []
    for i, v in enumerate(values):
        fields = {} if v is None else {"v": v}
        given.append((i, {"r": "x"}, {**fields, **{k: o[i] for k, o in others.items()}}))
    return segments([(tmax, HOST, given)])


def stream(values: list[Any], times: list[float] | None = None) -> Any:
    given = [(t, HOST, {} if v is None else {"v": v}) for t, v in zip(times or range(len(values)), values)]
    return points(given)


def value(function: str, values: list[Any], *args: Any) -> Any:
    """What the function gives for a batch; None for nothing."""
    out = fed(node(function, *args), [window(values)])
    return out[0][2][function] if out else None


COUNTING = [float(i) for i in range(10)]


def test_aggregates_of_a_window() -> None:
    assert value("count", COUNTING) == 10
    assert value("sum", COUNTING) == 45.0
    assert value("mean", COUNTING) == 4.5
    assert value("median", COUNTING) == 4.5
    assert value("spread", COUNTING) == 9.0
    assert value("stddev", COUNTING) == 3.0276503540974917
    assert math.isnan(value("stddev", [1.0]))
    assert [value("mode", v) for v in ([2, 1, 1, 2], [1, 2, 1, 2], [3, 1, 2])] == [2, 2, 1]


def test_integers_wrap_and_keep_their_kind() -> None:
    big = 2**62
    assert value("sum", [big, big]) == -(2**63)
    assert value("mean", [big, big]) == -(2.0**62)
    assert value("spread", [-(2**63), 1]) == -(2**63) + 1
    assert value("median", [-(2**63), 2**63 - 1]) == -(2.0**63) - 0.5
    assert isinstance(value("sum", [1, 2]), int) and isinstance(value("mean", [1, 2]), float)


def test_floats_add_up_in_order_of_arrival() -> None:
    assert value("sum", [1e16, 1.0, 1.0, -1e16]) == 0.0
    assert value("sum", [1.0, 1.0, 1e16, -1e16]) == 2.0


def test_nan_and_infinities() -> None:
    nan, inf = math.nan, math.inf
    assert value("spread", [1.0, nan, -inf, inf]) == inf
    assert math.isnan(value("spread", [1.0, nan]))
    assert math.isnan(value("max", [nan, 5.0])) and value("max", [5.0, nan]) == 5.0
    assert value("stddev", [1.0, nan, 3.0]) == math.sqrt(2)
    assert value("percentile", [3.0, 1.0, 2.0, inf], 100.0) == inf


def test_squares_below_the_normal_range_are_rounded_twice() -> None:
    x = 1.5e-155 * (1 + 2**-30)
    y = reducers.square.interpreted()(np.float64(x))
    fraction, exponent = math.frexp(x)
    assert y == math.ldexp(fraction * fraction, 2 * exponent)
    assert reducers.square.interpreted()(np.float64(3.0)) == 9.0


def test_percentile_is_a_nearest_rank() -> None:
    assert value("percentile", COUNTING, 50.0) == 4.0
    assert value("percentile", COUNTING, 1.0) is None
    assert value("percentile", COUNTING, 100.0) == 9.0
    assert value("percentile", COUNTING, math.nan) is None
    assert value("percentile", COUNTING, -1e300) is None


def test_selectors_keep_the_row_and_rename_the_field() -> None:
    batch = window([3.0, 9.0, 1.0], w=[0, 1, 2])
    assert fed(node("max", as_name="mx"), [batch]) == [(10.0, {"host": "a", "r": "x"}, {"w": 1, "mx": 9.0}, "host=a")]
    assert fed(node("max", as_name="w", point_times=True), [batch])[0][::2] == (1.0, {"w": 9.0})


def test_first_and_last_go_by_time_then_value() -> None:
    rows: list[Any] = [
        (5, {}, {"v": "b"}),
        (3, {}, {"v": "a"}),
        (3, {}, {"v": "é"}),
        (5, {}, {"v": "c"}),
        (5, {}, {"v": "c"}),
    ]
    batch = segments([(9, HOST, rows)])
    assert fed(node("first"), [batch])[0][2] == {"first": "é"}
    assert fed(node("last"), [batch])[0][2] == {"last": "c"}
    both = segments([(9, HOST, [(1, {}, {"v": True}), (1, {}, {"v": False})])])
    assert fed(node("first"), [both])[0][2] == {"first": False}
    assert fed(node("last"), [both])[0][2] == {"last": True}


def test_point_times() -> None:
    def time(function: str, values: list[Any]) -> float:
        return fed(node(function, point_times=True), [window(values)])[0][0]

    assert time("sum", [1.0, 2.0]) == -T / SECOND  # 1970
    assert time("mean", [1.0, 2.0]) == 10
    assert time("count", [1.0]) == 10 and time("count", [None]) == -T / SECOND
    assert time("median", [1.0]) == 0 and time("median", [1]) == 10 and time("mode", [1]) == 0
    assert time("mode", [1, 1]) == 10


def test_empty_batches() -> None:
    empty = segments([(10, HOST, [])])
    assert fed(node("count"), [empty])[0][2] == {"count": 0}
    assert fed(node("sum"), [empty])[0][2] == {"sum": 0.0}
    for function in FUNCTIONS:
        args = {"percentile": (50.0,), "top": (1,), "bottom": (1,), "elapsed": (1,), "movingAverage": (2,)}
        if function in ("count", "sum"):
            continue
        out = fed(node(function, *args.get(function, (3, 0, SECOND))), [empty])
        passes = function in ("elapsed", "difference", "cumulativeSum", "movingAverage")
        assert out == ([(10.0, "host=a", HOST, [])] if passes else [])


def test_missing_and_wrong_kinds_are_errors() -> None:
    mean = node("mean")
    assert fed(mean, [window([None, 1.0, 2, "x", None, 3.0])])[0][2] == {"mean": 2.0}
    assert mean.errors == {
        'field "v" missing from point': 2,
        'field "v" has wrong type int, expected float': 1,
        'field "v" has wrong type string, expected float': 1,
    }
    refused = node("mean")
    assert fed(refused, [window(["a", "b"])]) == []
    assert refused.errors == {"cannot apply mean to string field": 2}


def test_a_kind_refused_twice_gets_the_reducer_of_before() -> None:
    """Kapacitor remembers the kind that it was asked for, not that it was refused."""
    mean = node("mean")
    out = fed(mean, [stream([1.0, "a", "b", 2.0, 3.0])])
    assert [v[2]["mean"] for v in out[:1] + out[2:]] == [1.0, 2.0]
    assert math.isnan(out[1][2]["mean"]) and out[1][0] == 2
    low = node("min")  # has no value to give: Kapacitor dies
    assert [v[2]["min"] for v in fed(low, [stream([1.0, "a", "b", 2.0, 3.0])])] == [1.0, 2.0]
    assert low.errors["min of no value"] == 1


def test_output_kinds_follow_the_segments() -> None:
    batches = segments([(1, HOST, [(0, {}, {"v": 1})]), (2, HOST, [(0, {}, {"v": 1.5})])])
    assert [entry[2]["sum"] for entry in fed(node("sum"), [batches])] == [1, 1.5]
    words = segments([(1, HOST, [(0, {}, {"v": "a"})]), (2, HOST, [(0, {}, {"v": True})])])
    assert [entry[2]["first"] for entry in fed(node("first"), [words])] == ["a", True]


def test_durations_count_as_ints_until_they_are_read() -> None:
    rows = window([1]).rows
    rows = rows.with_(fields={"v": Column.of(Kind.DURATION, np.array([5], np.int64))})
    batch = window([1]).with_rows(rows)
    count = node("count")
    assert fed(count, [batch])[0][2] == {"count": 0}
    assert count.errors == {'field "v" has wrong type duration, expected int': 1}


def test_stream_edge_reduces_runs_of_equal_time() -> None:
    assert [e[::2] for e in fed(node("mean"), [stream([0, 1, 2, 3])])] == [
        (0, {"mean": 0.0}), (1, {"mean": 1.0}), (2, {"mean": 2.0}),
    ]  # fmt: skip
    assert [e[::2] for e in fed(node("sum"), [stream([1, 2, 3, 4], [0, 0, -5, 1])])] == [
        (0, {"sum": 3}), (-5, {"sum": 3}),
    ]  # fmt: skip
    assert fed(node("count"), [stream([None, None, 1.0])]) == []


def test_runs_end_with_the_row_that_follows_in_their_group() -> None:
    given = [(0, {"host": h}, {"v": 1.0}) for h in "abab"] + [(1, {"host": "b"}, {"v": 1.0}), (1, HOST, {"v": 1.0})]
    out = list(node("count").process(points(given)))
    assert [b.seq.tolist() for b in out] == [[4, 5]]
    assert [b.rows.tags["host"].tolist() for b in out] == [["b", "a"]]


def test_tops() -> None:
    out = fed(node("top", 2, "r", "w"), [window(COUNTING)])
    tags = {"host": "a", "r": "x"}
    assert out == [(10.0, "host=a", HOST, [(10.0, tags, {"top": 9.0}), (10.0, tags, {"top": 8.0})])]
    out = fed(node("bottom", 3, point_times=True), [window([2, 1, 1, 5, 1], tmax=2)])
    assert out[0][0] == 4  # the batch is as late as its latest point
    assert [p[::2] for p in out[0][3]] == [(1, {"bottom": 1}), (2, {"bottom": 1}), (4, {"bottom": 1})]
    refused = node("top", 0)
    assert fed(refused, [window([1.0])]) == [] and refused.errors == {"top of 0 points": 1}


def test_distinct_goes_by_first_arrival_then_value() -> None:
    rows: list[Any] = [(2, {}, {"v": "b"}), (2, {}, {"v": "a"}), (1, {}, {"v": "c"}), (3, {}, {"v": "b"})]
    out = fed(node("distinct", point_times=True), [segments([(9, HOST, rows)])])
    assert [(p[0], p[2]["distinct"]) for p in out[0][3]] == [(1, "c"), (2, "a"), (2, "b")]
    assert len(fed(node("distinct"), [window([0.0, -0.0, 1.0])])[0][3]) == 2


def test_transforms() -> None:
    assert [e[::2] for e in fed(node("elapsed", SECOND), [stream([0, 1, 2], [0, 1.9, 1])])] == [
        (1.9, {"elapsed": 1}), (1, {"elapsed": 0}),
    ]  # fmt: skip
    tenths = [i / 10 for i in range(8)]
    assert [e[2]["movingAverage"] for e in fed(node("movingAverage", 3), [stream(tenths)])] == [
        0.10000000000000002, 0.20000000000000004, 0.30000000000000004, 0.4000000000000001, 0.5, 0.6,
    ]  # fmt: skip
    assert [e[::2] for e in fed(node("difference"), [stream([1, 5, 9, 4], [0, 1, 1, 2])])] == [
        (1, {"difference": 4}), (2, {"difference": -1}),
    ]  # fmt: skip
    assert fed(node("difference"), [window([1.0])]) == [(10.0, "host=a", HOST, [])]
    assert [p[2]["cumulativeSum"] for p in fed(node("cumulativeSum"), [window([1, 2, 3])])[0][3]] == [1, 3, 6]


def test_a_refused_point_makes_transforms_repeat_themselves() -> None:
    total = node("cumulativeSum")
    assert [e[::2] for e in fed(total, [stream([None, 1.5, "a", 2.5])])] == [
        (1, {"cumulativeSum": 1.5}), (1, {"cumulativeSum": 1.5}), (3, {"cumulativeSum": 4.0}),
    ]  # fmt: skip
    assert sum(total.errors.values()) == 2


def test_what_would_crash_a_transform_is_an_error() -> None:
    for function, argument in (("elapsed", 0), ("movingAverage", 0)):
        op = node(function, argument)
        assert fed(op, [stream([1.0, 2.0])]) == []
        assert sum(op.errors.values()) == 2


def test_state_goes_through_a_snapshot() -> None:
    for function, args in (("sum", ()), ("last", ()), ("movingAverage", (2,)), ("elapsed", (1,))):
        batch = points([(i // 3, {"host": "ab"[i % 2]}, {"v": [1.0, 2, "x", 4.5][i % 4]}) for i in range(24)])
        whole = fed(node(function, *args), [batch])
        op = node(function, *args)
        found = []
        for part in cut(batch, range(24)):
            found += fed(op, [part])
            op = moved(op, node(function, *args))
        assert found == whole and whole


# Many values


def sliding(values: np.ndarray, hosts: int, width: int, step: int) -> Segments:
    """Windows of `width` points every `step`, of several hosts in turn, over rows in order of arrival."""
    n = len(values)
    kind = Kind.INT if values.dtype == np.int64 else Kind.FLOAT
    rows = Rows(
        np.arange(n) // hosts, Text.constant("m", n), Text.constant("", n), Text.constant("", n), {},
        {"v": Column.of(kind, values), "i": Column.of(Kind.INT, np.arange(n))},
    )  # fmt: skip
    groups = Groups()
    for h in range(hosts):
        groups.code("m", False, {"host": str(h)})
    index = np.argsort(np.arange(n) % hosts, kind="stable")
    each = n // hosts
    stops = np.repeat(np.arange(step, each + 1, step), hosts)
    host = np.tile(np.arange(hosts), len(stops) // hosts)
    start, stop = host * each + np.maximum(stops - width, 0), host * each + stops
    m = len(stops)
    return Segments(rows, start, stop, stops, host.astype(np.int32), groups, Text.constant("m", m), np.arange(m), index)


VALUES = {
    "distinct": lambda rng: rng.random(1200),
    "ties": lambda rng: rng.integers(0, 9, 1200) / 2 - 2.0,
    "ints": lambda rng: rng.integers(-5, 60, 1200),
    "signed zeros": lambda rng: rng.choice([-0.0, 0.0, 1.0, -1.0], 1200),
    "nans": lambda rng: np.where(rng.random(1200) < 0.02, np.nan, rng.integers(0, 9, 1200) / 2),
    "rising": lambda rng: np.arange(1200) * 0.5 + (rng.random(1200) < 0.1),
}


@pytest.mark.parametrize("width", [7, 60, 130])
@pytest.mark.parametrize("kind", VALUES)
def test_ranks_are_those_of_gos_sort(kind: str, width: int) -> None:
    values = VALUES[kind](np.random.default_rng(width))
    batch = sliding(values, 3, width, 6)
    assert batch.index is not None
    sort = gosort.sort_by_int if values.dtype == np.int64 else gosort.sort_by_float
    orders = []
    for a, b in zip(batch.start.tolist(), batch.stop.tolist()):
        order = batch.index[a:b].copy()
        sort(values, order, 0, b - a)
        orders.append(order)
    for p in (10.0, 50.0, 95.0, 100.0):
        ranks = [math.floor(len(o) * p / 100.0 + 0.5) - 1 for o in orders]
        (out,) = node("percentile", p).process(batch)
        assert out.rows.fields["i"].data[Kind.INT].tolist() == [o[k] for o, k in zip(orders, ranks) if k >= 0]
    (out,) = node("median").process(batch)
    found = out.rows.fields["median"].data[Kind.FLOAT]
    for o, x in zip(orders, found.tolist()):
        low, high = values[o[(len(o) - 1) // 2]].item(), values[o[len(o) // 2]].item()
        expected = float(high) if len(o) % 2 else low + (high - low) / 2
        assert (x, math.copysign(1, x)) == (expected, math.copysign(1, expected)) or (x != x and expected != expected)


@pytest.mark.parametrize("kind", VALUES)
def test_which_row_is_taken_matters_only_where_it_shows(kind: str) -> None:
    """Where nothing but the value comes out, no row is looked for; what comes out is the same."""
    values = VALUES[kind](np.random.default_rng(0))
    batch = sliding(values, 3, 60, 6)
    host = Text.of([str(i % 3) for i in range(len(values))])
    batch = batch.with_rows(batch.rows.with_(tags={"host": host}))
    only = batch.with_rows(batch.rows.with_(fields={"v": batch.rows.fields["v"]}))
    for p in (5.0, 50.0, 95.0, 100.0, 120.0):
        found = []
        for given in (batch, only):
            for out in node("percentile", p).process(given):
                rows, column = out.rows, out.rows.fields["percentile"]
                where = rows.time.tolist(), rows.tags["host"].tolist(), out.group.tolist(), out.seq.tolist()
                found.append((*where, column.kinds, column.data[column.kinds]))
        if p > 100:
            assert not found
            continue
        (*a, values_a), (*b, values_b) = found
        assert a == b and values_a.tobytes() == values_b.tobytes()


def test_tags_of_its_own_tell_rows_of_one_value_apart() -> None:
    op = InfluxQL(
        name="x", function="percentile", field="v", as_name="percentile", args=(100.0,), own_tags=("host",)
    )  # fmt: skip
    given = segments([(10, HOST, [(0, {"host": "a"}, {"v": 1.0}), (1, {"host": "b"}, {"v": 1.0})])])
    (out,) = op.process(given)
    assert out.rows.tags["host"].tolist() == ["b"]


def test_overlapping_windows_give_what_copies_of_them_give() -> None:
    values = np.random.default_rng(1).integers(0, 30, 600) / 4
    batch = sliding(values, 3, 30, 5)
    args = {"percentile": (60.0,), "top": (4,), "bottom": (20,), "elapsed": (2,), "movingAverage": (3,)}
    for function in FUNCTIONS:
        if not function.startswith("holtWinters"):
            fn = args.get(function, ())
            assert fed(node(function, *fn), [batch]) == fed(node(function, *fn), [batch.flat()]), function
            assert fed(node(function, *fn), [batch]) == fed(node(function, *fn), [shared(batch)]), function


def test_tags_of_groups_grow_with_the_table() -> None:
    groups = Groups()
    groups.code("m", False, {"a": "1"})
    assert {k: t.tolist() for k, t in groups.tags(np.array([0, 0], np.int32)).items()} == {"a": ["1", "1"]}
    for i in range(40):
        groups.code("m", False, {"b": str(i)})
    tags = groups.tags(np.array([0, 40, 1], np.int32))
    assert {k: t.tolist() for k, t in tags.items()} == {"a": ["1", None, None], "b": [None, "39", "0"]}
    assert Groups().tags(np.zeros(0, np.int32)) == {}


# holtWinters


def test_holt_winters_traces() -> None:
    (batch,) = fed(node("holtWinters", 3, 0, SECOND), [window(COUNTING)])
    assert [p[::2] for p in batch[3]] == [
        (10, {"holtWinters": 10.01725240480184}),
        (11, {"holtWinters": 11.033821829974409}),
        (12, {"holtWinters": 12.056837655218313}),
    ]
    assert batch[0] == 12
    (batch,) = fed(node("holtWintersWithFit", 3, 0, SECOND), [window(COUNTING)])
    assert [p[0] for p in batch[3]] == list(range(13)) and batch[3][0][2] == {"holtWintersWithFit": 0.0}


def test_holt_winters_of_too_little() -> None:
    for args, values in (((3, 0, SECOND), [1.0]), ((0, 0, SECOND), [1.0, 2.0]), ((3, 4, SECOND), [1.0, 2.0, 3.0])):
        assert fed(node("holtWinters", *args), [window(values)]) == [(10.0, "host=a", HOST, [])]
    for args in ((3, 0, 0), (3, 3, 2 * SECOND)):  # these end Kapacitor
        op = node("holtWinters", *args)
        assert fed(op, [window([1.0, 2.0, 3.0])])[0][3] == [] and sum(op.errors.values()) == 1


def test_holt_winters_buckets() -> None:
    time = np.array([0, 10, 14, 16, 41]) * SECOND
    found = holtwinters.buckets(time, np.array([1, 2, 3, 4, 5]), 10 * SECOND)
    assert found.tolist()[:3] == [1.0, 2.0, 4.0] and math.isnan(found[3]) and found[4] == 5.0
    assert len(holtwinters.buckets(time[:1], np.array([1.0]), SECOND)) == 0


@pytest.mark.parametrize("seasons", [0, 4])
def test_holt_winters_interpreted_as_compiled(seasons: int, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.array([1.0, 3.0, 2.0, 5.0, 2.0, math.nan, 3.0, 6.0, 3.0])
    out = []
    for fit in (holtwinters.best_fit.interpreted(), holtwinters.best_fit.machine()):
        with np.errstate(all="ignore"):
            out.append(np.empty(12))
            fit(y, seasons, out[-1])
    assert out[0].tolist() == out[1].tolist()


def test_powers() -> None:
    power = holtwinters.power.interpreted()
    assert power(np.float64(0.5), 10) == 2.0**-10 and power(np.float64(0.0), 3) == 0.0
    assert power(np.float64(1.0), 9) == 1.0 and power(np.float64(0.7), 1) == 0.7
    assert power(np.float64(0.5), 1074) == 5e-324 and power(np.float64(0.3), 5000) == 0.0
    assert math.isnan(power(np.float64(math.nan), 2))


def test_percentile_of_segments_that_keep_no_value() -> None:
    op = node("percentile", 50.0)
    assert [e[2] for e in fed(op, [stream([1.0, "a", "b", "c", 2.0])])] == [{"percentile": 1.0}]
    assert sum(op.errors.values()) == 3
    assert fed(op, [stream(["a", "b"], [9, 9])]) == [(4.0, HOST, {"percentile": 2.0}, "host=a")]


def test_points_and_batches_of_nothing() -> None:
    empty = stream([1.0]).take(np.zeros(0, np.int64))
    assert isinstance(empty, Points) and fed(node("mean"), [empty]) == []
    none = window([1.0]).take(np.zeros(0, np.int64))
    for function in ("mean", "sum", "difference", "top", "percentile"):
        assert fed(node(function, *{"top": (1,), "percentile": (50.0,)}.get(function, ())), [none]) == []
