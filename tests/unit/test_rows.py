"""default, delete, shift, sample, log, noOp; influxDBOut and httpOut."""

from __future__ import annotations

from typing import Any

import pytest
from streams import SECOND, T, cut, fed, moved, outputs, plain, points, rows, segments, shared

from tickc.runtime.batch import Column
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.rows import Default, Delete, Log, Logged, NoOp, Sample, Shift
from tickc.runtime.nodes.sinks import HttpOut, InfluxDBOut, precision_unit
from tickc.runtime.results import Results

A, B = {"host": "a"}, {"host": "b"}


def test_default_fills_absent_and_null_fields() -> None:
    stream = points([(0, A, {"v": 1}), (1, A, {}), (2, A, {"v": "x"}), (3, A, {})])
    kinds = stream.rows.fields["v"].kinds_array().copy()
    kinds[3] = Kind.NIL
    stream = stream.with_rows(stream.rows.with_(fields={"v": Column(kinds, stream.rows.fields["v"].data, 4)}))
    out = fed(Default(name="d", fields={"v": 2.5, "w": True, "s": "new"}), [stream])
    assert [p[2]["v"] for p in out] == [1, 2.5, "x", 2.5]
    assert all(p[2]["w"] is True and p[2]["s"] == "new" for p in out)


def test_default_of_a_string_in_a_mixed_column() -> None:
    out = fed(Default(name="d", fields={"v": "none"}), [points([(0, A, {"v": 1}), (1, A, {}), (2, A, {"v": "x"})])])
    assert [p[2]["v"] for p in out] == [1, "none", "x"]


def test_default_of_a_dimension_on_a_stream() -> None:
    stream = points([(0, {"host": ""}, {"v": 1}), (1, {}, {"v": 1}), (2, A, {"v": 1})])
    node = Default(name="d", tags={"host": "nobody", "zone": "z"})
    assert [(p[1], p[3]) for p in fed(node, [stream])] == [
        ({"host": "nobody", "zone": "z"}, "host=nobody"),
        ({"host": "nobody", "zone": "z"}, "host=nobody"),
        ({"host": "a", "zone": "z"}, "host=a"),
    ]


def test_default_of_a_tag_on_a_batch_makes_a_dimension() -> None:
    batch = segments([(9, {"host": "a", "x": ""}, [(0, {}, {"v": 1})]), (9, {"host": "b", "x": "y"}, [])])
    out = fed(Default(name="d", tags={"zone": "z", "x": "w"}), [batch])
    assert [(b[1], b[2]) for b in out] == [
        ("host=a,x=w,zone=z", {"host": "a", "x": "w", "zone": "z"}),
        ("host=b,x=y,zone=z", {"host": "b", "x": "y", "zone": "z"}),
    ]
    assert out[0][3][0][1] == {"host": "a", "x": "w", "zone": "z"}


def test_delete_of_a_dimension() -> None:
    stream = points([(0, {"host": "a", "zone": "1"}, {"v": 1, "w": 2})], ("host", "zone"))
    assert fed(Delete(name="d", fields=("w",), tags=("zone",)), [stream]) == [(0, {"host": "a"}, {"v": 1}, "host=a")]
    batch = segments([(9, {"host": "a", "zone": "1"}, [(0, {}, {"v": 1})]), (9, {"host": "a", "zone": "2"}, [])])
    out = fed(Delete(name="d", tags=("zone",)), [batch])
    assert [(b[1], b[2]) for b in out] == [("host=a", {"host": "a"})] * 2


def test_delete_of_all_fields_leaves_the_point() -> None:
    assert fed(Delete(name="d", fields=("v",)), [points([(0, A, {"v": 1})])]) == [(0, A, {}, "host=a")]


def test_shift() -> None:
    assert fed(Shift(name="s", by=-5 * SECOND), [points([(7, A, {"v": 1})])])[0][0] == 2
    batch = segments([(10, A, [(1, {}, {"v": 1})])])
    ((tmax, _, _, inside),) = fed(Shift(name="s", by=3 * SECOND), [batch])
    assert (tmax, inside[0][0]) == (13, 4)


@pytest.mark.parametrize("edges", [[], [1], [3, 5], range(20)])
def test_sample_by_count(edges: Any) -> None:
    stream = points([(t, A if t % 2 else B, {"v": t}) for t in range(16)])
    out = fed(Sample(name="s", count=3), cut(stream, edges))
    assert [p[0] for p in out] == [0, 1, 6, 7, 12, 13]


def test_sample_by_duration() -> None:
    stream = points([(t / 2, A, {"v": t}) for t in range(10)])
    assert [p[0] for p in fed(Sample(name="s", every=2 * SECOND), [stream])] == [0, 2, 4]
    daily = points([(41600 + 86400 * day, A, {"v": 0}) for day in range(-3, 4)])  # T is a Sunday, 41600 s before Monday
    assert [p[0] for p in fed(Sample(name="s", every=7 * 86400 * SECOND), [daily])] == [41600]


def test_sample_starts_anew_with_each_batch() -> None:
    batch = segments([(9, A, [(t, {}, {"v": t}) for t in range(5)]), (9, A, []), (12, A, [(9, {}, {"v": 9})])])
    for form in (batch, shared(batch)):
        out = fed(Sample(name="s", count=2), [form])
        assert [[p[0] for p in b[3]] for b in out] == [[0, 2, 4], [], [9]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Default(name="d", tags={"host": "x", "zone": "z"}),
        lambda: Delete(name="d", tags=("host",)),
        lambda: Sample(name="s", count=3),
    ],
)
def test_snapshots(make: Any) -> None:
    stream = points([(t, {"host": "ab"[t % 2]} if t % 3 else {}, {"v": t}) for t in range(12)])
    first, rest = cut(stream, [5])
    old = make()
    out = fed(old, [first])
    assert out + fed(moved(old, make()), [rest]) == fed(make(), [stream])


def test_log_and_no_op_pass_everything() -> None:
    stream = points([(0, A, {"v": 1})])
    log = Log(name="log1", level="debug", prefix="p")
    assert list(log.process(stream)) == [stream] == list(NoOp(name="n").process(stream))
    assert [o.payload for o in log.outputs] == [Logged("DEBUG", "p", stream)]


def results(given: Any, *operators: Any) -> Any:
    collected = Results("task")
    for output in outputs([given], *operators):
        collected.add(output)
    return collected.to_json()


def test_http_out_collects_each_point() -> None:
    found = results(rows([(0, A, {"v": 1.0, "a": True}), (1, B, {"v": 2}), (2, A, {"v": float("nan")})]),
                    HttpOut(name="h", path="x"))  # fmt: skip
    first, second = found["sinks"]["x"]
    assert first == {"series": [{"name": "m", "tags": A, "columns": ["time", "a", "v"],
                                 "values": [["2020-09-13T12:26:40Z", True, 1]]}]}  # fmt: skip
    assert second["series"][0]["tags"] == B


def test_influxdb_out_lines() -> None:
    node = InfluxDBOut(name="i", database="out", precision="s", tags={"via": "k", "host": "h"}, buffer=1)
    found = results(rows([(1.5, {"zone": ""}, {"v": 1e-9, "n": 3, 'q "=': 'a"\\', "b": False})]), node)
    (line,) = found["writes"]["out.rp"]
    assert line == 'm,host=h,via=k b=false,n=3i,q\\ \\"\\=="a\\"\\\\",v=0.000000001 1600000001'
    assert list(node.process(points([]))) == []


def test_influxdb_out_of_batches_names_no_place() -> None:
    node = InfluxDBOut(name="i", measurement="n")
    assert list(node.process(segments([(9, A, [(0, {"t": "x"}, {"v": 1})]), (9, B, [])]))) == []
    collected = Results("task")
    collected.add(node.outputs[0])
    assert collected.to_json()["writes"] == {".": [f"n,host=a,t=x v=1i {T}"]}


@pytest.mark.parametrize(
    ("precision", "unit"),
    [("", 1), ("ns", 1), ("n", None), ("u", None), ("us", 1), ("ms", 10**6), ("s", SECOND), ("h", 3600 * SECOND),
     ("d", None), ("s2m", 1)],
)  # fmt: skip
def test_precision(precision: str, unit: int | None) -> None:
    assert precision_unit(precision) == unit


def test_refused_precision_drops_all() -> None:
    node = InfluxDBOut(name="i", precision="u")
    node.process(points([(0, A, {"v": 1})]))
    assert not node.outputs and sum(node.errors.values()) == 1


def test_batch_rows_show_the_first_points_columns() -> None:
    batch = segments([(9, A, [(0, {"t": "x"}, {"v": 1}), (1, {}, {"v": None, "w": 2}), (2, {"t": "y"}, {"w": 3})]),
                      (9, B, [])])  # fmt: skip
    collected = Results("task")
    node = HttpOut(name="h", path="x")
    assert plain(next(iter(node.process(batch)))) == plain(batch)
    collected.add(node.outputs[0])
    full, empty = (entry["series"][0] for entry in collected.to_json()["sinks"]["x"])
    assert full["columns"] == ["time", "t", "v"]
    assert [row[1:] for row in full["values"]] == [["x", 1], [None, None], ["y", None]]
    assert empty == {"name": "m", "tags": B}


def test_batch_with_nan_in_a_shown_column_is_left_out() -> None:
    nan = float("nan")
    one: Any = (0, {}, {"v": 1.0})
    batch = segments([(9, A, [one, (1, {}, {"v": nan})]), (9, A, [one, (1, {}, {"w": nan})])])
    collected = Results("task")
    node = HttpOut(name="h", path="x")
    list(node.process(batch))
    collected.add(node.outputs[0])
    (kept,) = collected.to_json()["sinks"]["x"]
    assert [row[1] for row in kept["series"][0]["values"]] == [1, None]
