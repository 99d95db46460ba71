"""Answers to queries from points: the rules that a reader should see, and what the evaluator asks for and counts.

That answers are InfluxDB's is tested on a server, in test_influxql_server.py.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from influxql_points import SECOND, SHARD, WEEK, Point, Series, cpu_and_disk, history, ours, rows

from tickc.compiler.influxql import parse
from tickc.runtime.influxql.evaluate import Evaluator, QueryRefused
from tickc.runtime.influxql.history import History

FIXTURES = Path(__file__).parents[1] / "fixtures/influxql"
MINUTE = 60


def point(time: int, host: str = "a", /, name: str = "m", **fields: Any) -> Point:
    return name, {"host": host} if host else {}, fields, SHARD + time * SECOND


POINTS = [
    point(70, v=1.0, n=1, s="x"),
    point(80, v=3.0, n=5),
    point(80, "b", v=8.0, n=2),
    point(190, v=4.0, n=3, s="y"),
    point(200, "b", n=7),
]


def asked(query: str, *ranges: tuple[int, int], points: list[Point] = POINTS) -> list[list[Series]]:
    found = ours(query, history(points), [(SHARD + a * SECOND, SHARD + b * SECOND) for a, b in ranges])
    for one in found:
        for series in one:
            series["values"] = [[(time - SHARD) // SECOND, *values] for time, *values in series["values"]]
    return found


def values(query: str, start: int = 0, stop: int = 300, points: list[Point] = POINTS) -> list[list[Any]]:
    """The rows of all series, one after another."""
    return [row for series in asked(query, (start, stop), points=points)[0] for row in series["values"]]


def test_a_series_for_each_group() -> None:
    (found,) = asked("SELECT mean(v), max(n) AS top FROM m GROUP BY host", (0, 300))
    assert found == [
        {"name": "m", "columns": ["time", "mean", "top"], "tags": {"host": "a"}, "values": [[0, 8 / 3, 5]]},
        {"name": "m", "columns": ["time", "mean", "top"], "tags": {"host": "b"}, "values": [[0, 8.0, 7]]},
    ]


def test_ranges_hold_their_start_and_not_their_stop() -> None:
    runs = asked("SELECT count(n) FROM m", (70, 80), (70, 81), (80, 200), (71, 200), (400, 500))
    assert [one and one[0]["values"][0] for one in runs] == [[70, 1], [70, 3], [80, 3], [71, 3], []]


def test_a_bucket_may_begin_before_the_range() -> None:
    assert values("SELECT count(v) FROM m GROUP BY time(1m)", 75, 130) == [[60, 2], [120, 0]]
    assert values("SELECT count(v) FROM m GROUP BY time(1m, 10s)", 75, 130) == [[70, 2]]
    assert values("SELECT count(v) FROM m GROUP BY time(1m, -10s)", 75, 130) == [[50, 2], [110, 0]]


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("", [None, 2.0, None, 4.0, None]),
        ("fill(none)", [2.0, 4.0]),
        ("fill(null)", [None, 2.0, None, 4.0, None]),
        ("fill(7.5)", [7.5, 2.0, 7.5, 4.0, 7.5]),
        ("fill(previous)", [None, 2.0, 2.0, 4.0, 4.0]),
        ("fill(linear)", [None, 2.0, 3.0, 4.0, None]),
    ],
)
def test_fill(fill: str, expected: list[float | None]) -> None:
    assert [v for _, v in values(f"SELECT mean(v) FROM m WHERE host = 'a' GROUP BY time(1m) {fill}")] == expected


def test_fill_of_ints() -> None:
    query = "SELECT {} FROM m WHERE host = 'a' GROUP BY time(1m) {}"
    assert [v for _, v in values(query.format("count(n)", ""))] == [0, 2, 0, 1, 0]
    assert [v for _, v in values(query.format("sum(n)", "fill(7.9)"))] == [7, 6, 7, 3, 7]
    assert [v for _, v in values(query.format("sum(n)", "fill(linear)"))] == [None, 6, 4, 3, None]
    assert all(type(v) is int for _, v in values(query.format("max(n)", "fill(1)")))


def test_selectors_keep_their_time_where_they_stand_alone() -> None:
    assert values("SELECT max(n) FROM m") == [[200, 7]]
    assert values("SELECT max(n), host, v FROM m") == [[200, 7, "b", None]]
    assert values("SELECT max(n), min(n) FROM m") == [[0, 7, 1]]
    assert values("SELECT max(n) FROM m GROUP BY time(5m)") == [[0, 7]]


def test_numbers_keep_their_types() -> None:
    (row,) = values("SELECT sum(n), sum(v), count(v), sum(n) / count(n), sum(n) % 4, mean(n), sum(n) / 0 FROM m")
    assert list(map(repr, row[1:])) == ["18", "16.0", "4", "3.6", "2", "3.6", "0.0"]


def test_a_row_has_a_cell_for_each_column() -> None:
    assert values("SELECT v, s FROM m WHERE n > 1") == [
        [80, 3.0, None],
        [80, 8.0, None],
        [190, 4.0, "y"],
    ]  # the point with n alone is none of these columns
    assert values("SELECT host, s FROM m WHERE n = 2") == []  # a tag alone makes no row


def test_limits_are_for_each_series() -> None:
    assert values("SELECT n FROM m GROUP BY host LIMIT 1 OFFSET 1") == [[80, 5], [200, 7]]
    assert values("SELECT n FROM m GROUP BY host ORDER BY time DESC LIMIT 1 SLIMIT 1") == [[190, 3]]
    assert values("SELECT n FROM m GROUP BY host SLIMIT 1 SOFFSET 1") == [[80, 2], [200, 7]]


def test_bounds_in_the_text_narrow_the_range() -> None:
    runs = asked("SELECT count(n) FROM m WHERE time >= now() - 100s", (0, 100), (0, 200))
    assert [one[0]["values"] for one in runs] == [[[0, 3]], [[100, 1]]]  # now() is the end of the range


def test_queries_in_brackets() -> None:
    inner = "SELECT max(n) AS top FROM m GROUP BY host, time(2m)"
    assert values(f"SELECT sum(top) FROM ({inner})") == [[0, 17]]
    assert values(f"SELECT mean(top) FROM ({inner}) WHERE top > 2 GROUP BY host") == [[0, 4.0], [0, 7.0]]


def test_several_measurements() -> None:
    points = [*POINTS, point(75, "b", name="other", v=2), point(90, "", name="other", v=6)]
    found = asked("SELECT max(v) FROM m, other", (0, 300), points=points)[0]
    assert [(s["name"], s["values"]) for s in found] == [("m", [[80, 8.0]]), ("other", [[90, 6]])]
    assert values("SELECT count(v) FROM /o/", points=points) == [[0, 2]]


def test_columns_of_a_wildcard_are_those_of_the_range() -> None:
    points = [*POINTS, point(500, v=1.0, later=True)]
    runs = asked("SELECT * FROM m GROUP BY *", (70, 81), (490, 510), points=points)
    assert runs[0][0]["columns"] == ["time", "n", "s", "v", "later"]
    assert runs[0][0]["values"] == [[70, 1, "x", 1.0, None], [80, 5, None, 3.0, None]]
    assert runs[1][0]["values"] == [[500, None, None, 1.0, True]]


def test_a_dimension_is_absent_before_its_tag_comes() -> None:
    points = [*POINTS, ("m", {"host": "a", "rack": "1"}, {"n": 1}, SHARD + 500 * SECOND)]
    runs = asked("SELECT sum(n) FROM m GROUP BY *", (0, 300), (0, 600), points=points)
    assert [s["tags"] for s in runs[0]] == [{"host": "a"}, {"host": "b"}]
    assert [s["tags"] for s in runs[1]] == [{"host": h, "rack": r} for h, r in (("a", ""), ("a", "1"), ("b", ""))]


def test_no_points_and_no_ranges() -> None:
    query = "SELECT mean(v), last(*) FROM m, (SELECT max(v) AS v FROM m) WHERE s = 'x' GROUP BY time(1m), host fill(0)"
    assert ours(query, History(), [(0, 10), (5, 20)]) == [[], []]
    assert ours(query, history(POINTS), []) == []
    assert ours("SELECT v FROM m", history(POINTS), [(SHARD + SECOND, SHARD)]) == [[]]


@pytest.mark.parametrize(
    ("query", "measurements", "fields"),
    [
        ("SELECT mean(v) FROM m WHERE s = 'x' AND k > 2 GROUP BY host", ("m",), ("k", "s", "v")),
        ("SELECT top(v, host, 2), n FROM b, a", ("a", "b"), ("host", "n", "v")),
        ("SELECT v FROM /m/", None, ("v",)),
        ("SELECT * FROM m", ("m",), None),
        ("SELECT max(/v/) FROM m", ("m",), None),
        ("SELECT v FROM (SELECT mean(w) AS v FROM m), k", ("k", "m"), ("v", "w")),
    ],
)
def test_needs(query: str, measurements: Any, fields: Any) -> None:
    needs = Evaluator(parse(query)).needs()
    assert (needs.measurements, needs.tags, needs.fields) == (measurements, None, fields)


@pytest.mark.parametrize(
    ("where", "conjuncts"),
    [
        ("host::tag = 'a'", [("host", "==", "a")]),
        ("v > 1 AND (host::tag = 'a' AND rack::tag = '1')", [("host", "==", "a"), ("rack", "==", "1")]),
        ("host = 'a'", []),  # may be a field
        ("host::tag = 'a' OR v > 1", []),
        ("host::tag = ''", []),
        ("host::tag != 'a'", []),
    ],
)
def test_conjuncts(where: str, conjuncts: Any) -> None:
    assert list(Evaluator(parse(f"SELECT mean(v) FROM m WHERE {where}")).needs().conjuncts) == conjuncts


@pytest.mark.parametrize(
    ("query", "reach"),
    [
        ("SELECT mean(v) FROM m GROUP BY time(1m)", (0, 0)),
        ("SELECT derivative(mean(v)) FROM m GROUP BY time(1m)", (MINUTE, 0)),
        ("SELECT moving_average(mean(v), 5) FROM m GROUP BY time(1m)", (5 * MINUTE, 0)),
        ("SELECT moving_average(mean(v), 5) FROM m GROUP BY time(1m) ORDER BY time DESC", (0, 5 * MINUTE)),
    ],
)
def test_reach(query: str, reach: tuple[int, int]) -> None:
    assert Evaluator(parse(query)).reach() == tuple(r * SECOND for r in reach)


def test_points_in_reach_count() -> None:
    query = "SELECT difference(count(n)) FROM m GROUP BY time(1m)"
    assert values(query, 120, 240) == [[120, -3], [180, 2]]


def test_what_a_server_answers_with_an_error_is_counted() -> None:
    evaluator = Evaluator(parse("SELECT mean(s) FROM m"))
    ranges = [(SHARD, SHARD + 100 * SECOND), (SHARD, SHARD + 300 * SECOND), (SHARD + WEEK, SHARD + 2 * WEEK)]
    assert ours(evaluator, history(POINTS), ranges) == [[], [], []]
    assert evaluator.errors == {"unsupported mean iterator type: *query.stringIterator": 2}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT mean(v), n FROM m", "mixing aggregate and non-aggregate queries is not supported"),
        ("SELECT sample(v, 2) FROM m", "at random"),
        ("SELECT sum(x) FROM (SELECT sample(v, 2) AS x FROM m)", "at random"),
        ("SELECT mean(v) FROM m WHERE time > 0 GROUP BY time(1m, now())", r"begin at now\(\)"),
        ("SELECT v::unsigned FROM m", "unsigned integers are not supported"),
        ("SELECT v FROM m WHERE n = 9223372036854775808", "unsigned integers are not supported"),
    ],
)
def test_refusals(query: str, message: str) -> None:
    with pytest.raises(QueryRefused, match=message):
        Evaluator(parse(query))


def test_runs_are_indices_of_the_ranges() -> None:
    points = history(POINTS)
    start, stop = (np.array([SHARD + i * SECOND for i in moments]) for moments in ((0, 300, 60), (10, 400, 1000)))
    answer = Evaluator(parse("SELECT n FROM m GROUP BY host")).answer(points, start, stop)
    assert answer.run.tolist() == [2, 2]
    assert (answer.start.tolist(), answer.stop.tolist(), len(answer.time)) == ([0, 3], [3, 5], 5)
    assert {k: v.tolist() for k, v in answer.tags.items()} == {"host": ["a", "b"]}


def test_points_may_come_between_answers() -> None:
    evaluator, points, got = Evaluator(parse("SELECT sum(n) FROM m GROUP BY host")), History(), []
    for cut in (75, 85, 300):
        before = 0 if not got else (75, 85)[len(got) - 1]
        points.append(rows([p for p in POINTS if before <= (p[3] - SHARD) // SECOND < cut]))
        got.append(ours(evaluator, points, [(SHARD, SHARD + cut * SECOND)])[0])
    assert [[s["values"][0][1] for s in series] for series in got] == [[1], [6, 2], [9, 9]]


def test_averages_of_later_servers() -> None:
    """Functions that the server of test_influxql_server.py lacks, as InfluxDB 1.8 answers them."""
    points = history(cpu_and_disk(), whole=True)
    ranges = [(SHARD - 300 * SECOND, SHARD + 300 * SECOND)]
    recorded = json.loads(gzip.decompress((FIXTURES / "averages.json.gz").read_bytes()))
    assert len(recorded) > 150
    for query, expected in recorded.items():
        try:
            found: Any = ours(query, points, ranges)[0]
        except QueryRefused as refused:
            found = str(refused)
        assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True), query
