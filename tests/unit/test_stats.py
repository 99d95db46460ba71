"""`|stats()` and `|deadman()` on the time of the data."""

from __future__ import annotations

import random
from typing import Any

import pytest
from streams import Point, rows
from test_barrier import at, noisy, pieces

import tickc
from tickc.runtime.batch import Rows
from tickc.runtime.results import Results
from tickc.runtime.snapshot import decode, encode


def emitted(script: str, given: Rows, *, sink: str = "s", clock: str = "data") -> list[tuple[Any, ...]]:
    """(seconds past the minute or whole time, tags, count) of what the sink shows."""
    found = tickc.compile(script).replay(given, clock=clock).to_json()["sinks"].get(sink, [])
    series = [s for f in found for s in f["series"]]
    assert {s["name"] for s in series} <= {"stats"}
    return [(s["values"][0][0][14:-1], s.get("tags", {}), s["values"][0][1]) for s in series]


def test_counts_are_of_the_points_before_the_time() -> None:
    script = "stream|from().groupBy('host')|stats(10s).align()|httpOut('s')"
    a = {"host": "a"}
    assert emitted(script, rows(at(1, 3, 10, 11, 35))) == [("26:50", a, 2), ("27:00", a, 4), ("27:10", a, 4)]


def test_not_aligned_counts_from_the_first_point() -> None:
    script = "stream|from().groupBy('host')|stats(10s)|httpOut('s')"
    a = {"host": "a"}
    assert emitted(script, rows(at(1, 3, 10, 11, 35))) == [("26:51", a, 3), ("27:01", a, 4), ("27:11", a, 4)]


def test_each_group_from_its_first_point_on() -> None:
    script = "stream|from().groupBy('host')|stats(10s).align()|httpOut('s')"
    given = rows(at(1) + at(12, host="b") + at(25))
    a, b = {"host": "a"}, {"host": "b"}
    assert emitted(script, given) == [("26:50", a, 1), ("27:00", a, 1), ("27:00", b, 1)]


def test_no_group_before_any_point() -> None:
    script = "stream|from().groupBy('host').where(lambda: \"host\" == 'b')|stats(10s).align()|httpOut('s')"
    given = rows(at(1, 12) + at(14, host="b") + at(25))
    assert emitted(script, given) == [("26:50", {}, 0), ("27:00", {"host": "b"}, 1)]


def test_a_batch_counts_as_its_points() -> None:
    script = "stream|from().groupBy('host')|window().period(10s).every(10s)|stats(10s).align()|httpOut('s')"
    assert emitted(script, rows(at(0, 1, 2, 13, 25))) == [("26:50", {}, 0), ("27:00", {"host": "a"}, 3)]


def test_of_the_source() -> None:
    script = "stream|stats(10s).align()|httpOut('s')\nstream|from().where(lambda: FALSE)|httpOut('x')"
    assert emitted(script, rows(at(0, 1, 12))) == [("26:50", {}, 2)]


def test_nothing_on_the_wall() -> None:
    script = "stream|from()|stats(1s)|httpOut('s')"
    assert emitted(script, rows(at(0, 10, 20)), clock="wall") == []


def test_by_measurement() -> None:
    script = "stream|from().groupByMeasurement()|stats(10s).align()|httpOut('s')"
    assert emitted(script, rows(at(0, 5, 12))) == [("26:50", {}, 2)]


def test_of_statistics() -> None:
    script = "stream|from()|stats(10s).align()|stats(5s).align()|httpOut('s')"
    assert emitted(script, rows(at(0, 31))) == [
        ("26:45", {}, 0), ("26:50", {}, 0), ("26:55", {}, 1), ("27:00", {}, 1), ("27:05", {}, 2), ("27:10", {}, 2),
    ]  # fmt: skip


def test_a_deleted_group_counts_anew() -> None:
    script = "stream|from().groupBy('host')|barrier().idle(3s).delete(TRUE)|stats(5s).align()|httpOut('s')"
    assert emitted(script, rows(at(0, 1, 12, 13, 14, 15))) == [
        ("26:45", {}, 0), ("26:50", {}, 0), ("26:55", {"host": "a"}, 3),
    ]  # fmt: skip


def test_many_times_at_once() -> None:
    script = "stream|from().groupBy('host')|stats(1s).align()|httpOut('s')"
    task = tickc.compile(script)
    found = task.replay(rows(at(0, 5000)), clock="data").to_json()["sinks"]["s"]
    assert len(found) == 5000
    assert {f["series"][0]["values"][0][1] for f in found} == {1}


def events(script: str, given: Rows, sink: str = "dead") -> list[tuple[str, str, str, str]]:
    found = tickc.compile(script, name="watch").replay(given, clock="data").to_json()["alerts"].get(sink, [])
    return [(e["time"][11:19], e["level"], e["id"], e["message"]) for e in found]


def test_a_deadman_alerts_in_the_gap_and_recovers() -> None:
    script = (
        "var data = stream|from().groupBy('host')\n"
        "data|deadman(0.0, 10s).stateChangesOnly().log('dead')\ndata|httpOut('x')"
    )
    given = rows(at(*range(0, 60, 5), *range(123, 160, 5)))
    id = "host=a:from1 for task 'watch'"
    assert events(script, given) == [
        ("12:27:50", "CRITICAL", id, f"{id} is dead: 0.000 points/10s."),
        ("12:28:50", "OK", id, f"{id} is alive: 2.000 points/10s."),
    ]


def test_a_deadman_tells_the_group_that_went_silent() -> None:
    script = "stream|from().groupBy('host')|deadman(1.0, 1m).stateChangesOnly().log('dead')"
    given = rows(sorted(at(*range(0, 300, 10)) + at(*range(0, 80, 10), host="b"), key=lambda p: p[0]))
    id = "host=b:from1 for task 'watch'"
    assert events(script, given) == [("12:29:00", "CRITICAL", id, f"{id} is dead: 0.000 points/1m0s.")]


def test_a_deadman_with_a_condition() -> None:
    script = "stream|from().groupBy('host')|deadman(0.0, 10s, lambda: \"host\" != 'a').log('dead')"
    assert events(script, rows(at(*range(0, 60, 5), 123))) == []


@pytest.mark.parametrize(
    "chain",
    [
        "|stats(3s).align()",
        "|stats(7s)",
        "|window().period(10s).every(5s)|stats(4s)",
        "|barrier().idle(5s)|window().period(10s).every(5s)|count('v')|stats(4s).align()",
        "|barrier().period(5s).delete(TRUE)|stats(4s).align()",
        "|stats(4s)|stats(6s)",
        "|deadman(1.0, 5s).log('dead')",
    ],
)
def test_cuts_and_snapshots_change_nothing(chain: str) -> None:
    chance = random.Random(chain)
    given = noisy(chance, 80)
    task = tickc.compile(f"stream|from().groupBy('host'){chain}|httpOut('x')")
    whole = task.replay(given, clock="data").to_json()
    assert whole["sinks"]
    assert task.replay(pieces(given, range(len(given))), clock="data").to_json() == whole
    cut = chance.randrange(len(given))
    assert task.replay(pieces(given, [cut, cut // 2]), clock="data").to_json() == whole
    first, second, collected = task.build(), task.build(), Results(task.name)
    for output in first.run([given.take(slice(0, cut))], clock="data", last=False):
        collected.add(output)
    second.restore(decode(encode(first.snapshot())))
    for output in second.run([given.take(slice(cut, None))]):
        collected.add(output)
    assert collected.to_json() == whole
    unoptimised = tickc.compile(f"stream|from().groupBy('host'){chain}|httpOut('x')", without=None)
    assert unoptimised.replay(given, clock="data").to_json() == whole


def test_a_late_point_does_not_turn_back_time() -> None:
    points: list[Point] = [*at(1, 25, 3), *at(31)]
    script = "stream|from().groupBy('host')|stats(10s).align()|httpOut('s')"
    a = {"host": "a"}
    assert emitted(script, rows(points)) == [("26:50", a, 1), ("27:00", a, 1), ("27:10", a, 3)]
