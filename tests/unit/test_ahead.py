"""Rounds under way at once on several threads give what one thread gives, however the threads are delayed."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from streams import rows

import tickc
from tickc.runtime import ahead
from tickc.runtime.ahead import Ahead
from tickc.runtime.batch import Batch, Column, Points, Rows, Text, Vocabulary
from tickc.runtime.graph import Graph, Operator, Source, TaskFailed
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes import join
from tickc.runtime.nodes.rows import NoOp
from tickc.runtime.results import Results
from tickc.runtime.sinks.columns import Frame
from tickc.runtime.sources.recording import write_recording
from tickc.runtime.team import Team
from tickc.task import Task

SCRIPT = """var cpu = stream
    |from()
        .measurement('m')
        .groupBy('host')

var p = cpu
    |window()
        .period(20s)
        .every(5s)
    |percentile('v', 70.0)

var m = cpu
    |where(lambda: "v" > 2.0)
    |window()
        .period(5s)
        .every(5s)
    |mean('v')

cpu
    |alert()
        .crit(lambda: "v" > 8.0)
        .topic('both')
        .log('alerts')

p
    |join(m)
        .as('p', 'm')
        .tolerance(5s)
        .fill('null')
    |alert()
        .warn(lambda: "p.percentile" > 5.0)
        .topic('both')
        .log('alerts')
    |httpOut('joined')

cpu
    |groupBy()
    |window()
        .periodCount(7)
        .everyCount(3)
    |top(2, 'v')
    |httpOut('top')
"""
CHANCE = random.Random(1)
STREAM = rows([
    (i / 3, {"host": CHANCE.choice("abcde")}, {"v": CHANCE.choice([float(CHANCE.randrange(10)), "text"])})
    for i in range(400)
])  # fmt: skip


def pieces(size: int) -> list[Rows]:
    return [STREAM.take(slice(i, i + size)) for i in range(0, len(STREAM), size)]


def text(task: Task, size: int, workers: int) -> str:
    results = Results("t")
    for output in task.process(pieces(size), workers=workers, clock="wall"):
        results.add(output)
    return results.text()


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns take longer, some much, so that threads meet in many orders."""
    turn, chance = Ahead._turn, random.Random(2)

    def delayed(self: Ahead, this: Any, i: int) -> None:
        time.sleep(chance.choice([0, 0, 0.0002, 0.001]))
        turn(self, this, i)

    monkeypatch.setattr(Ahead, "_turn", delayed)


def no_worker() -> bool:
    return not any(t.name.startswith("tickc-worker") for t in threading.enumerate())


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_same_results(delays: None, workers: int) -> None:
    task = tickc.compile(SCRIPT)
    wanted = text(task, len(STREAM), 1)
    assert wanted.count('"level":"CRITICAL"') > 10 and '"joined"' in wanted and '"top"' in wanted
    for size in (8, 40):
        assert text(task, size, workers) == wanted
    assert no_worker()


GROWING = """var s = stream|from().measurement('m').groupBy(*)
var t = stream|from().measurement('m').groupBy('host')|eval(lambda: "v" * 2.0).as('v').keep()

s|window().period(20s).every(5s)|percentile('v', 60.0)|default().tag('zone', 'none')|groupBy('zone')|httpOut('p')
s|join(t|groupBy(*)).as('a', 'b').fill('null').tolerance(3s)|httpOut('j')
s|union(t)|window().periodCount(9).everyCount(4)|distinct('v')|httpOut('u')
s|delete().tag('rack')|last('v')|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').tolerance(2s)|httpOut('c')
t|alert().crit(lambda: "v" > 14.0).stateChangesOnly().log('a')
"""


def test_groups_and_tags_that_appear_while_others_are_read() -> None:
    """Threads change hands as often as may be; nearly each round brings new groups, and some a new dimension."""
    chance = random.Random(3)
    stream = rows([
        (
            i / 5,
            {"host": f"h{chance.randrange(1 + i // 3)}", f"k{i // 40}": chance.choice("xy"), "rack": "r"},
            {"v": float(chance.randrange(10))},
        )
        for i in range(160)
    ])  # fmt: skip
    task = tickc.compile(GROWING)

    def found(size: int, workers: int) -> str:
        results = Results("t")
        for output in task.process([stream.take(slice(i, i + size)) for i in range(0, 160, size)], workers=workers):
            results.add(output)
        return results.text()

    wanted, before = found(160, 1), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert found(3, 3) == wanted == found(8, 8)
    finally:
        sys.setswitchinterval(before)


def test_much_is_poured(delays: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "PAGE", 4)
    monkeypatch.setattr(join, "SLACK", 4)
    monkeypatch.setattr(join, "AT_ONCE", 0)
    monkeypatch.setattr(ahead, "POURING", 2)
    poured: list[int] = []
    pour = Ahead._poured

    def noted(self: Ahead, this: Any, i: int) -> Any:
        poured.append(i)
        return pour(self, this, i)

    monkeypatch.setattr(Ahead, "_poured", noted)
    task = tickc.compile(SCRIPT)
    wanted = text(task, 100, 1)
    assert not poured
    assert text(task, 100, 3) == wanted
    assert poured


class Slow(Operator):
    """Notes in which order rows come, how many threads are in it, and in all operators of its kind."""

    alone = True
    working: ClassVar[set[str]] = set()

    def __init__(self, *, name: str, fail_at: int | None = None, kind: type[Exception] = TaskFailed) -> None:
        super().__init__(name=name)
        self.seen: list[int] = []
        self.within = self.most = 0
        self.beside = False  # whether it worked while another one did
        self.fail_at, self.kind = fail_at, kind

    def points(self, batch: Points) -> Iterator[Batch]:
        self.within += 1
        self.most = max(self.most, self.within)
        self.working.add(self.name)
        time.sleep(0.002)
        self.beside |= len(self.working) > 1
        self.working.discard(self.name)
        self.seen.append(int(batch.seq[0]))
        self.within -= 1
        self.send("httpOut", self.name, batch)
        if self.fail_at is not None and self.seen[-1] >= self.fail_at:
            raise self.kind(f"{self.name} failed")
        yield batch


def chain_of(*operators: Operator) -> Graph:
    graph = Graph()
    last: Operator = graph.add(Source(name="stream0"))
    for op in operators:
        last = graph.add(op, last)
    return graph


def test_operators_overlap_but_not_their_turns() -> None:
    one, other = Slow(name="one"), Slow(name="other")
    sent = [(o.name, int(o.payload.seq[0])) for o in chain_of(one, other).run(pieces(10), workers=2)]
    assert sent == [(name, i) for i in range(0, 400, 10) for name in ("one", "other")]
    assert one.most == other.most == 1 and one.seen == other.seen == list(range(0, 400, 10))
    assert one.beside or other.beside  # the one that ends first sees it


@pytest.mark.parametrize("kind", [TaskFailed, ZeroDivisionError])
def test_failure_ends_the_run_where_it_would_on_one_thread(kind: type[Exception]) -> None:
    def outcome(workers: int) -> tuple[list[tuple[str, int]], str]:
        found: list[tuple[str, int]] = []
        graph = chain_of(Slow(name="one"), Slow(name="other", fail_at=100, kind=kind), NoOp(name="end"))
        with pytest.raises(kind) as caught:
            for output in graph.run(pieces(10), workers=workers):
                found.append((output.name, int(output.payload.seq[0])))
        return found, str(caught.value)

    assert outcome(1) == outcome(2) == outcome(8)
    assert no_worker()


def test_a_run_that_is_left_ends_its_threads() -> None:
    outputs = chain_of(Slow(name="one"), Slow(name="other")).run(pieces(10), workers=4)
    next(iter(outputs))
    assert not no_worker()
    outputs.close()  # type: ignore[attr-defined]
    assert no_worker()


def test_settled_once_all_has_come_out() -> None:
    graph = chain_of(Slow(name="one"), Slow(name="other"))
    work, settled = Ahead(graph, 3), []
    for n, outputs in enumerate(work.rounds(pieces(10))):
        last = [int(o.payload.seq[-1]) for o in outputs][-1]
        if n >= 5 and work.settled():
            one, other = graph.operators[1:]
            assert isinstance(one, Slow) and isinstance(other, Slow)
            assert one.seen[-1] == other.seen[-1] == last - 9
            settled.append(n)
    assert len(settled) > 2 and len(one.seen) == 40


def test_graphs_that_keep_time_use_one_thread() -> None:
    task = tickc.compile("stream|from()|barrier().period(5s)|httpOut('a')")
    graph = task.build()
    threads = {threading.active_count() for _ in graph.run(pieces(10), clock="data", workers=4)}
    assert graph.keeps_time() and threads == {threading.active_count()}


def test_the_summary_tells_where_one_thread_computed_although_more_were_asked_for(tmp_path: Path) -> None:
    source = tmp_path / "in.srpl"
    write_recording(source, [STREAM])
    told = "one thread computed: what the task does hangs on the time that barrier2 must keep"
    script = "stream|from().measurement('m'){}|httpOut('a')"
    kept = tickc.compile(script.format("|barrier().period(5s)"))
    assert told in kept.backfill(source, tmp_path / "kept", workers=2).notes
    for task, workers in ((kept, 1), (kept, None), (tickc.compile(script.format("")), 2)):
        summary = task.backfill(source, tmp_path / "out", workers=workers, overwrite=True)
        assert summary.points_read == 400 and not any("thread" in note for note in summary.notes)


def test_team_gives_results_in_order_and_raises_what_was_raised() -> None:
    team = Team()

    class Nothing:
        def take(self) -> None:
            return None

    team.start(3, Nothing())
    try:
        names: set[str] = set()

        def square(x: int) -> int:
            names.add(threading.current_thread().name)
            time.sleep(0.002)
            return x * x

        assert team.map(square, range(20)) == [x * x for x in range(20)]
        assert len(names) == 3
        with pytest.raises(ZeroDivisionError):
            team.map(lambda x: 1 // x, [1, 0, 2])
        assert team.map(square, [3]) == [9]
    finally:
        team.stop()
    assert team.map(square, [1, 2]) == [1, 4] and no_worker()


def test_segments_are_made_later_in_order(delays: None) -> None:
    task = tickc.compile("stream|from().groupBy('host')|window().period(9s).every(3s)|median('v')|httpOut('a')")
    graph = task.build()
    seqs = [int(s) for output in graph.run(pieces(5), workers=3) for s in output.payload.seq]
    assert len(seqs) > 50 and seqs == sorted(seqs)


def test_machine_code_of_many_rows() -> None:
    """With rows enough for compiled kernels, and for parts of a turn on several threads."""
    n, hosts = 120_000, 30
    chance = np.random.default_rng(4)
    name, host = Text.constant("m", n), Vocabulary(f"h{i}" for i in range(hosts))
    data = Rows(
        np.arange(n) * 10_000_000,
        name,
        name,
        name,
        {"host": Text(chance.integers(0, hosts, n).astype(np.int32), host)},
        {"v": Column.of(Kind.FLOAT, np.round(chance.normal(50, 20, n), 1))},
    )
    task = tickc.compile("""var a = stream|from().measurement('m').groupBy('host')
var b = stream|from().measurement('m').groupBy('host')|where(lambda: "v" > 40.0)
a|join(b).as('a', 'b').tolerance(1s).fill(0.0)|eval(lambda: "a.v" - "b.v").as('x')|influxDBOut().database('joined')
a|window().period(10s).every(1s)|percentile('v', 95.0)|influxDBOut().database('percentile')
var w = a|window().period(1s).every(1s)
w|mean('v')|join(w|spread('v')).as('m', 's')|influxDBOut().database('folds')
a|derivative('v').unit(1s)|stateCount(lambda: "v" > 0.0)|influxDBOut().database('state')
""")

    def written(size: int, workers: int) -> dict[str, Any]:
        found: dict[str, list[Rows]] = {}
        for output in task.process([data.take(slice(i, i + size)) for i in range(0, n, size)], workers=workers):
            found.setdefault(output.name, []).append(output.payload.rows)
        return {name: Frame(measurement=True).batch(Rows.concat(parts)) for name, parts in found.items()}

    wanted = written(n, 1)
    assert len(wanted) == 4 and all(len(batch) > 1000 for batch in wanted.values())
    for size, workers in ((30_000, 2), (17_000, 3)):
        found = written(size, workers)
        assert all(found[name].equals(batch) for name, batch in wanted.items())
