"""`|barrier()` on the time of the data: when barriers come, what is dropped, what they bring about further down."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from streams import SECOND, Point, T, rows

import tickc
from tickc.runtime.batch import BARRIER, Batch, Marks, Points, Rows
from tickc.runtime.graph import Graph, Operator, Source
from tickc.runtime.nodes.clock import Barrier
from tickc.runtime.nodes.stream import From
from tickc.runtime.nodes.window import TimeWindow
from tickc.runtime.results import Results
from tickc.runtime.snapshot import decode, encode

Seen = tuple[Any, ...]


class Watch(Operator):
    """Tells what goes over an edge: ("point", group, seconds), ("barrier", …), ("delete", …)."""

    def process(self, batch: Batch) -> Iterable[Batch]:
        times = batch.rows.time if isinstance(batch, Points) else batch.tmax
        for time, group in zip(times.tolist(), batch.group.tolist()):
            self.send("seen", "point", ("point", batch.groups[group].id, (time - T) / SECOND))
        yield batch

    def marks(self, marks: Marks) -> Iterable[Any]:
        for time, group, kind in zip(marks.time.tolist(), marks.group.tolist(), marks.kind.tolist()):
            word = "barrier" if kind == BARRIER else "delete"
            self.send("seen", word, (word, marks.groups[group].id, (time - T) / SECOND))
        yield marks


def graph_of(*operators: Operator) -> Graph:
    graph = Graph()
    last: Operator = graph.add(From(name="from1", group_by=("host",)), graph.add(Source(name="stream0")))
    for operator in operators:
        last = graph.add(operator, last)
    graph.follow("data")
    return graph


def seen(given: Rows, *operators: Operator, cuts: Sequence[int] = ()) -> list[Seen]:
    graph = graph_of(*operators, Watch(name="watch"))
    return [o.payload for o in graph.run(pieces(given, cuts)) if o.kind == "seen"]


def pieces(given: Rows, cuts: Sequence[int]) -> list[Rows]:
    edges = sorted({0, len(given), *cuts})
    return [given.take(slice(a, b)) for a, b in pairwise(edges)]


def at(*times: float, host: str = "a") -> list[Point]:
    return [(t, {"host": host}, {"v": 1.0}) for t in times]


def test_period_at_each_multiple_that_the_clock_reaches() -> None:
    found = seen(rows(at(1, 12, 14, 35)), Barrier(name="b", period=10 * SECOND))
    # 12:26:40 is a multiple of ten seconds
    assert found == [
        ("point", "host=a", 1),
        ("barrier", "host=a", 10),
        ("point", "host=a", 12),
        ("point", "host=a", 14),
        ("barrier", "host=a", 20),
        ("barrier", "host=a", 30),
        ("point", "host=a", 35),
    ]


def test_a_point_of_the_time_of_the_barrier_comes_after_it() -> None:
    found = seen(rows(at(1, 10)), Barrier(name="b", period=10 * SECOND))
    assert found == [("point", "host=a", 1), ("barrier", "host=a", 10), ("point", "host=a", 10)]


def test_idle_counts_from_the_last_point_of_the_group() -> None:
    given = rows(sorted(at(0, 3, 4) + at(0, 10, 16, host="b"), key=lambda p: p[0]))
    found = seen(given, Barrier(name="b", idle=5 * SECOND))
    assert found == [
        ("point", "host=a", 0), ("point", "host=b", 0), ("point", "host=a", 3), ("point", "host=a", 4),
        ("barrier", "host=b", 5), ("barrier", "host=a", 9), ("barrier", "host=b", 10), ("point", "host=b", 10),
        ("barrier", "host=a", 14), ("barrier", "host=b", 15), ("point", "host=b", 16),
    ]  # fmt: skip


def test_points_before_the_last_barrier_of_their_group_are_dropped() -> None:
    found = seen(rows(at(1, 21, 15, 20) + at(5, host="b")), Barrier(name="b", period=10 * SECOND))
    assert [f for f in found if f[0] == "point"] == [
        ("point", "host=a", 1), ("point", "host=a", 21), ("point", "host=a", 20), ("point", "host=b", 5),
    ]  # fmt: skip


def test_delete_forgets_the_group_here_too() -> None:
    found = seen(rows(at(1, 12, 5, 40)), Barrier(name="b", period=10 * SECOND, delete=True))
    assert found == [
        ("point", "host=a", 1), ("barrier", "host=a", 10), ("delete", "host=a", 10), ("point", "host=a", 12),
        ("point", "host=a", 5), ("barrier", "host=a", 20), ("delete", "host=a", 20), ("point", "host=a", 40),
    ]  # fmt: skip


def test_idle_of_a_late_point_counts_from_its_arrival() -> None:
    found = seen(rows(at(10) + at(2, host="b") + at(14, 16)), Barrier(name="b", idle=5 * SECOND))
    assert found == [
        ("point", "host=a", 10), ("point", "host=b", 2), ("point", "host=a", 14),
        ("barrier", "host=b", 7), ("point", "host=a", 16),
    ]  # fmt: skip


def test_a_barrier_ends_a_window_and_stays_there() -> None:
    window = TimeWindow(name="w", period=10 * SECOND, every=10 * SECOND)
    found = seen(rows(at(0, 3) + at(40, host="b")), Barrier(name="b", period=15 * SECOND), window)
    # barriers at 5, 20 and 35: at 20 the window that ends at 10, at 35 the one that ends at 30
    assert found == [("point", "host=a", 10), ("point", "host=a", 30)]


def test_a_window_of_every_0_ends_at_the_barrier() -> None:
    window = TimeWindow(name="w", period=10 * SECOND)
    found = seen(rows(at(0, 3, 17)), Barrier(name="b", period=15 * SECOND), window)
    assert found == [("point", "host=a", 0), ("point", "host=a", 3), ("point", "host=a", 5), ("point", "host=a", 17)]


def test_time_without_data() -> None:
    graph = graph_of(Barrier(name="b", period=10 * SECOND), Watch(name="watch"))
    before = list(graph.feed(rows(at(1))))
    passed = [o.payload for o in graph.advance(T + 25 * SECOND)]
    again = [o.payload for o in graph.advance(T + 20 * SECOND)]
    assert len(before) == 1
    assert passed == [("barrier", "host=a", 10), ("barrier", "host=a", 20)]
    assert again == []


def test_the_wall_never_strikes() -> None:
    graph = graph_of(Barrier(name="b", period=SECOND), Watch(name="watch"))
    given = rows(at(0, 50, 10))
    assert [o.payload[0] for o in graph.run([given], clock="wall")] == ["point"] * 3
    assert list(graph.advance(T + 100 * SECOND)) == []


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="one of wall, data"):
        list(Graph().run([], clock="moon"))


SCRIPTS = {
    "window": "|window().period(10s).every(5s)|httpOut('w')|count('v')|httpOut('x')",
    "aligned": "|window().period(10s).every(10s).align()|mean('v')|httpOut('x')",
    "every0": "|window().period(7s)|sum('v')|httpOut('x')",
    "count": "|window().periodCount(4).everyCount(3)|sum('v')|httpOut('x')",
    "stateful": "|where(lambda: count() % 3 != 0)|eval(lambda: sigma(\"v\")).as('s').keep()|httpOut('x')",
    "sequence": "|cumulativeSum('v').as('v')|changeDetect('v')|stateCount(lambda: \"v\" > 1.0)|httpOut('x')",
    "aggregate": "|mean('v')|httpOut('x')",
    "alert": "|alert().crit(lambda: \"v\" > 2.0).stateChangesOnly().log('x')",
    "regroup": "|window().period(10s).every(10s)|groupBy('dc')|httpOut('x')",
    "again": "|groupBy('dc')|barrier().period(7s)|window().period(10s).every(5s)|httpOut('x')",
    "tags": "|default().tag('dc', 'z')|delete().tag('host')|sample(2)|httpOut('x')",
    "flatten": "|flatten().on('dc').tolerance(3s)|httpOut('x')",
    "combine": "|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').tolerance(3s)|httpOut('x')",
}  # fmt: skip
BARRIERS = ["period(7s)", "idle(6s)", "period(9s).delete(TRUE)", "idle(4s).delete(TRUE)"]


def noisy(chance: random.Random, n: int) -> Rows:
    """Points of three hosts with gaps and late ones."""
    clock, points = 0.0, []
    for _ in range(n):
        clock += chance.choice([0, 1, 1, 2, 2, 3, 17])
        tags = {"host": chance.choice("abc"), "dc": chance.choice("xy")}
        late = chance.choice([0, 0, 0, 4])
        points.append((clock - late, tags, {"v": float(chance.randrange(5))}))
    return rows(points)


def results(task: Any, graph: Graph, batches: Sequence[Rows], *, last: bool = True) -> Results:
    collected = Results(task.name)
    for output in graph.run(batches, clock="data", last=last, flush=True):
        collected.add(output)
    return collected


@pytest.mark.parametrize("barrier", BARRIERS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_cuts_and_snapshots_change_nothing(name: str, barrier: str) -> None:
    chance = random.Random(f"{name} {barrier}")
    given = noisy(chance, 60)
    task = tickc.compile(f"stream|from().groupBy('host')|barrier().{barrier}{SCRIPTS[name]}")
    whole = results(task, task.build(), [given]).to_json()
    assert whole["sinks"] or whole["alerts"]
    by_row = results(task, task.build(), pieces(given, range(len(given)))).to_json()
    assert by_row == whole
    cuts = [chance.randrange(len(given)) for _ in range(4)]
    assert results(task, task.build(), pieces(given, cuts)).to_json() == whole
    unoptimised = tickc.compile(f"stream|from().groupBy('host')|barrier().{barrier}{SCRIPTS[name]}", without=None)
    assert results(unoptimised, unoptimised.build(), [given]).to_json() == whole
    assert _restored(task, given, chance.randrange(len(given))) == whole


def _restored(task: Any, given: Rows, cut: int) -> Any:
    first, second = task.build(), task.build()
    collected = Results(task.name)
    for output in first.run([given.take(slice(0, cut))], clock="data", last=False):
        collected.add(output)
    second.restore(decode(encode(first.snapshot())))
    for output in second.run([given.take(slice(cut, None))], flush=True):
        collected.add(output)
    return collected.to_json()


def test_windows_do_not_fold_behind_a_barrier() -> None:
    script = "stream|from(){}|window().period(1m).every(1m)|mean('v')"
    assert "WindowFold" in tickc.compile(script.format("")).source
    assert "WindowFold" not in tickc.compile(script.format("|barrier().idle(1s)|eval(lambda: 1.0).as('v')")).source


def test_sources_leave_nothing_out_of_a_task_with_a_clock() -> None:
    script = "stream|from().measurement('m').where(lambda: \"v\" > 1.0){}|httpOut('x')"
    assert tickc.compile(script.format("")).module.READS["where"]
    assert not tickc.compile(script.format("|barrier().idle(1s)")).module.READS["where"]


def test_group_of_a_barrier_alone_has_no_name() -> None:
    script = (
        "stream|from().groupBy('host')|barrier().period(10s)|where(lambda: \"v\" > 1.0)"
        "|window().period(20s)|httpOut('x')"
    )
    found = tickc.compile(script).replay(rows(at(1, 12)), clock="data").to_json()["sinks"]["x"]
    assert found == [{"series": [{"tags": {"host": "a"}}]}]


def test_a_barrier_releases_what_groupby_collects_of_batches() -> None:
    script = "stream|from().groupBy('host')|window().period(5s).every(5s)|barrier().idle(7s)|groupBy('dc')|httpOut('x')"
    points: list[Point] = [(t, {"host": "a", "dc": "x"}, {"v": float(t)}) for t in (0, 1, 2, 6)]
    points.append((14, {"host": "b", "dc": "x"}, {"v": 14.0}))
    task = tickc.compile(script)
    (found,) = task.replay(rows(points), clock="data").to_json()["sinks"]["x"]
    assert [row[1:] for row in found["series"][0]["values"]] == [["a", 0], ["a", 1], ["a", 2]]
    assert task.replay(rows(points)).to_json()["sinks"] == {}


def test_barriers_among_many_points() -> None:
    given = rows([(t, {"host": "ab"[t % 2]}, {"v": 1.0}) for t in range(3000)])
    task = tickc.compile(
        "stream|from().groupBy('host')|barrier().period(1m)|window().period(1m).every(1m)|count('v')|httpOut('x')"
    )
    found = task.replay(given, clock="data").to_json()["sinks"]["x"]
    assert [row["values"][0][1] for f in found for row in f["series"]] == [30] * 98


MEETINGS = {
    "join": "a|join(b).as('a', 'b').fill(0.0)|httpOut('x')",
    "inner": "a|join(b).as('a', 'b').tolerance(3s)|httpOut('x')",
    "union": "a|union(b)|httpOut('x')",
    "statistics": "a|stats(5s)|derivative('emitted')|union(b)|httpOut('x')",
    "windows": "a|window().period(10s).every(10s)|union(b|window().period(7s).every(7s))|httpOut('x')",
    "aggregates": (
        "var w = a|window().period(10s).every(10s)\n"
        "w|count('v')|join(w|sum('v')).as('a', 'b')|httpOut('x')"
    ),
}  # fmt: skip


@pytest.mark.parametrize("barrier", BARRIERS)
@pytest.mark.parametrize("name", MEETINGS)
def test_branches_that_meet(name: str, barrier: str) -> None:
    chance = random.Random(f"{name} {barrier}")
    given = noisy(chance, 60)
    script = (
        f"var a = stream|from().groupBy('host')|where(lambda: \"v\" > 0.0)|barrier().{barrier}\n"
        f"var b = stream|from().groupBy('host')|where(lambda: \"v\" < 4.0)|barrier().{barrier}\n{MEETINGS[name]}"
    )
    task = tickc.compile(script)
    whole = results(task, task.build(), [given]).to_json()
    assert whole["sinks"]
    assert results(task, task.build(), pieces(given, range(len(given)))).to_json() == whole
    assert _restored(task, given, chance.randrange(len(given))) == whole
    unoptimised = tickc.compile(script, without=None)
    assert results(unoptimised, unoptimised.build(), [given]).to_json() == whole
