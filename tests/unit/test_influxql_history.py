"""The points that queries read, kept as InfluxDB keeps them."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from influxql_points import SECOND, SHARD, WEEK, Point, rows

from tickc.runtime.influxql.history import History
from tickc.runtime.influxql.points import Reader
from tickc.runtime.influxql.tree import Measurement

M = Measurement(name="m")


def point(time: int, tags: dict[str, str] | None = None, /, **fields: Any) -> Point:
    """time: seconds behind a shard's beginning."""
    return "m", {"host": "a"} if tags is None else tags, fields, SHARD + time * SECOND


def history(*batches: list[Point], **options: Any) -> History:
    found = History(**options)
    for batch in batches:
        found.append(rows(batch))
    return found


def held(points: History) -> list[tuple[int, int, dict[str, Any]]]:
    """Series, time in seconds, and fields of each point."""
    table = points.table()
    return [
        (
            int(table.series[i]),
            int(table.time[i] - SHARD) // SECOND,
            {name: v for name, column in sorted(table.fields.items()) if (v := column.at(i)) is not None},
        )
        for i in range(len(table))
    ]


def test_the_last_value_of_each_field_counts() -> None:
    batches = [point(1, v=1.0, n=1), point(2, v=2.0)], [point(1, v=3.0, s="x")], [point(1, v=4.0), point(1, v=5.0)]
    expected = [(0, 1, {"n": 1, "s": "x", "v": 5.0}), (0, 2, {"v": 2.0})]
    assert held(history(*batches)) == expected
    assert held(history([p for batch in batches for p in batch])) == expected


def test_points_stand_by_series_and_time() -> None:
    found = history(
        [point(3, v=3.0), point(1, {"host": "b"}, v=1.0)], [point(2, v=2.0), point(0, {"host": "b"}, v=0.0)]
    )
    assert [(series, time) for series, time, _ in held(found)] == [(0, 2), (0, 3), (1, 0), (1, 1)]
    assert found.series.tags == [(("host", "a"),), (("host", "b"),)]


def test_an_empty_tag_is_absent() -> None:
    found = history([point(0, {"host": "a", "k": ""}, v=1.0), point(1, {"host": "a"}, v=2.0)])
    assert found.series.tags == [(("host", "a"),)]


def test_a_field_keeps_its_type_within_a_shard() -> None:
    week = WEEK // SECOND
    found = history([point(0, v=1.0), point(1, v=2), point(2, v=3.0, n=1)], [point(3, n=True, w=1), point(week, v=4)])
    assert [(time, fields) for _, time, fields in held(found)] == [
        (0, {"v": 1.0}),
        (2, {"n": 1, "v": 3.0}),
        (week, {"v": 4}),
    ]
    assert found.dropped == {"field type conflict": 2}
    assert found.points == 3
    assert found.schema([M], (0, 10**6), 1 << 62).fields[M] == {"n": "integer", "v": "float"}


def test_a_point_that_is_dropped_leaves_its_series() -> None:
    found = history([point(0, v=1.0)])
    found.table()
    found.append(rows([point(1, {"rack": "1"}, v=2)]))
    assert held(found) == [(0, 0, {"v": 1.0})]
    assert found.schema([M], (0, 10**6), SHARD + WEEK).tags[M] == {"host", "rack"}
    assert len(found.table().begin) == len(found.series) + 1 == 3


@pytest.mark.parametrize(("name", "kind"), [("time", "field"), ("time", "tag")])
def test_nothing_is_called_time(name: str, kind: str) -> None:
    fields: dict[str, Any] = {"v": 1.0} | ({name: 1.0} if kind == "field" else {})
    found = history([("m", {name: "x"} if kind == "tag" else {}, fields, SHARD)])
    assert [f for _, _, f in held(found)] == ([{"v": 1.0}] if kind == "field" else [])
    assert found.dropped == ({"invalid tag key: time": 1} if kind == "tag" else {})


def test_what_is_forgotten_is_no_more_held() -> None:
    found = history([point(i, v=float(i)) for i in range(5)], [point(i, v=float(i)) for i in range(5, 8)])
    found.forget(SHARD + 3 * SECOND)
    found.append(rows([point(9, v=9.0)]))
    assert [time for _, time, _ in held(found)] == [3, 4, 5, 6, 7, 9]
    assert found.points == 9


def growing() -> list[Point]:
    return [
        point(-10, v=1.0),
        point(5, v=2.0),
        point(10, {"host": "a", "k": "x"}, w=1, v=1.0),
        point(20, {"host": "b"}, w=2),
    ]


def test_the_schema_is_that_of_the_points_before_the_end() -> None:
    found = history(growing())
    low, high = ((SHARD + i * SECOND - 345_600 * SECOND) // WEEK for i in (-10, 10))

    def known(shards: tuple[int, int], stop: int) -> tuple[dict[str, str], set[str]]:
        schema = found.schema([M], shards, SHARD + stop * SECOND)
        return schema.fields[M], set(schema.tags[M])

    assert known((low, low), 30) == ({"v": "float"}, {"host", "k"})  # fields of the shards, tags of all
    assert known((high, high), 5) == ({}, {"host"})
    assert known((high, high), 6) == ({"v": "float"}, {"host"})
    assert known((low, high), 10) == ({"v": "float"}, {"host"})
    assert known((low, high), 11) == ({"v": "float", "w": "integer"}, {"host", "k"})
    series = np.arange(3)
    assert ((found.since(series, high) - SHARD) // SECOND).tolist() == [5, 10, 20]
    assert (found.since(series, low) < SHARD).tolist() == [True, False, False]


def test_the_schema_survives_what_is_forgotten() -> None:
    found = history(growing())
    before = found.schema([M], (0, 10**6), SHARD + WEEK).key
    found.forget(SHARD + WEEK)
    assert not len(found.table())
    assert found.schema([M], (0, 10**6), SHARD + WEEK).key == before


def test_a_full_database_knows_all() -> None:
    found = history(growing(), whole=True)
    schema = found.schema([M], (0, 10**6), SHARD - WEEK)
    assert schema.fields[M] == {"v": "float", "w": "integer"}
    assert schema.tags[M] == {"host", "k"}


def test_measurements_are_told_by_database_and_policy() -> None:
    found = History(whole=True)
    found.append(rows([point(0, v=1.0)], "one", "a"))
    found.append(rows([point(0, v=1)], "two", "b"))

    def types(**place: str) -> dict[str, str]:
        one = Measurement(name="m", **place)
        return found.schema([one], (0, 10**6), 0).fields[one]

    assert types(database="one", policy="a") == types(database="one") == {"v": "float"}
    assert types(database="two", policy="b") == {"v": "integer"}
    assert types(database="one", policy="b") == {}
    assert types() == {"v": "float"}  # the stronger of two types


def test_series_of_one_key_stand_in_the_order_of_their_places() -> None:
    """Whichever came first, where a query asks for both."""
    places = [("", "a"), ("d", ""), ("d", "a")]
    for some in permutations(places):
        found = History()
        for place in some:
            found.append(rows([point(0, v=1.0)], *place))
        source = Reader(found).source(Measurement(database="d", policy="a", name="m"), (), (), 1)
        origins = list(found.series.origins)
        assert [origins[found.series.origin[s]][:2] for s in source.series] == places
