"""The results document: Kapacitor's JSON and line protocol, to the letter."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from streams import T, points, rows

import tickc
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.graph import Output
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.rows import Log
from tickc.runtime.nodes.sinks import Write
from tickc.runtime.results import Results
from tickc.runtime.rowtext import json_points, lines

A = {"host": "a"}


def one(value: Any) -> Rows:
    return rows([(0, {}, {"v": value})])


def with_kind(kind: Kind, data: Any) -> Rows:
    return rows([(0, {}, {})]).with_(fields={"v": Column(kind, data, 1)})


def cell(table: Rows) -> str | None:
    (text,) = json_points(table)
    return None if text is None else text.split('Z",')[1].removesuffix("]]}")


def field(table: Rows) -> str:
    (text,) = lines(table)
    return text.removeprefix("m v=").removesuffix(f" {T}")


def test_values_in_json() -> None:
    assert [cell(one(v)) for v in (3.0, 1e-7, 1e21, 0.1, 5, True, 'a"<b>\n')] == [
        "3", "1e-7", "1e+21", "0.1", "5", "true", '"a\\"\\u003cb\\u003e\\n"',
    ]  # fmt: skip
    assert cell(with_kind(Kind.DURATION, {Kind.DURATION: np.array([90_000_000_000])})) == "90000000000"
    assert cell(with_kind(Kind.NIL, {})) == "null"
    assert cell(with_kind(Kind.HOLE, {})) == "{}"
    assert [cell(one(v)) for v in (math.nan, math.inf, -math.inf)] == [None] * 3


def test_values_in_line_protocol() -> None:
    assert [field(one(v)) for v in (3.0, 1e-7, -0.0, math.nan, math.inf, -math.inf, 5, False, 'a"\\')] == [
        "3", "0.0000001", "-0", "NaN", "+Inf", "-Inf", "5i", "false", '"a\\"\\\\"',
    ]  # fmt: skip
    assert field(with_kind(Kind.DURATION, {Kind.DURATION: np.array([90_000_000_000])})) == '"1m30s"'
    assert field(with_kind(Kind.NIL, {})) == ""
    assert field(with_kind(Kind.HOLE, {})) == '"&{}"'


def test_names_and_tags_in_line_protocol() -> None:
    table = rows([(0, {"a b": "x,y=z w", "empty": ""}, {"f,g": 1})], name="m n,o")
    assert lines(table) == [f"m\\ n\\,o,a\\ b=x\\,y\\=z\\ w f\\,g=1i {T}"]


def test_times_are_cut_towards_zero() -> None:
    table = rows([(0, {}, {"v": 1}), (0, {}, {"v": 1})]).with_(time=np.array([1999, -1999]))
    assert [text.split()[-1] for text in lines(table, 1000)] == ["1", "-1"]


def test_document() -> None:
    table = rows([(0, A, {"v": 3.0}), (1, {}, {"w": 1})])
    other = table.with_(database=Text.of(["db", "out"]))
    results = Results("task")
    results.add(Output("httpOut", "x", "http_out2", 2, points([(0, A, {"v": 3.0})])))
    results.add(Output("influxDBOut", "", "influxdb_out3", 3, Write(other, 1, np.arange(2))))
    log = Log(name="log4")
    list(log.process(points([(0, A, {"v": 3.0})])))
    results.add(log.outputs[0])
    assert results.text() == (
        '{"sinks":{"x":[{"series":[{"name":"m","tags":{"host":"a"},"columns":["time","v"],'
        '"values":[["2020-09-13T12:26:40Z",3]]}]}]},"alerts":{},'
        f'"writes":{{"db.rp":["m,host=a v=3 {T}"],"out.rp":["m w=1i {T + 10**9}"]}}}}'
    )
    assert results.to_json()["writes"]["db.rp"] == [f"m,host=a v=3 {T}"]


@pytest.mark.parametrize("cuts", [[0, 8], [0, 3, 4, 8], list(range(9))])
def test_what_several_nodes_send_to_one_name_is_in_the_order_of_the_rows(cuts: list[int]) -> None:
    script = """
var all = stream|from()
var even = all|where(lambda: "v" % 2 == 0)
even|eval(lambda: "v" * 10).as('v')|httpOut('x')|influxDBOut().database('d').retentionPolicy('r')
all|httpOut('x')|influxDBOut().database('d')
"""
    given = rows([(i, {}, {"v": i}) for i in range(8)])
    given = given.with_(policy=Text.constant("r", 8))
    task = tickc.compile(script)
    found = task.replay([given.take(slice(a, b)) for a, b in pairwise(cuts)])
    shown = [s["series"][0]["values"][0][1] for s in found.to_json()["sinks"]["x"]]
    assert shown == [0, 0, 1, 20, 2, 3, 40, 4, 5, 60, 6, 7]
    written = [int(line.split("=")[1].split("i")[0]) for line in found.to_json()["writes"]["d.r"]]
    assert written == shown
    assert found.text() == task.replay(given).text()


def test_a_sink_without_results_is_absent() -> None:
    results = Results("task")
    results.add(Output("httpOut", "x", "http_out2", 2, points([(0, A, {"v": math.nan})])))
    assert results.to_json() == {"sinks": {}, "alerts": {}, "writes": {}}
