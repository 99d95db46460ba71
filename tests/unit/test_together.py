"""Tasks that feed each other through kapacitorLoopback."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tickc
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.loopback import groups
from tickc.runtime.sources.recording import write_recording
from tickc.task import Task
from tickc.together import LoopError

SECOND = 1_000_000_000
MEANS = """dbrp "telegraf"."autogen"
stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |window()
        .period(3s)
        .every(3s)
    |mean('v')
    |kapacitorLoopback()
        .database('rollup')
        .retentionPolicy('means')
        .measurement('cpu_mean')
"""
ALERTS = """dbrp "rollup"."means"
stream
    |from()
        .measurement('cpu_mean')
        .groupBy('host')
    |alert()
        .crit(lambda: "mean" > 5.0)
        .log('a')
    |httpOut('sent')
"""


def rows(n: int = 12) -> Rows:
    return Rows(
        np.arange(n, dtype=np.int64) * SECOND,
        *(Text.constant(text, n) for text in ("cpu", "telegraf", "autogen")),
        {"host": Text.constant("a", n)},
        {"v": Column.of(Kind.FLOAT, np.arange(n, dtype=np.float64))},
    )


def task(script: str, name: str) -> Task:
    return tickc.compile(script, name=name)


def found(cuts: list[int], tasks: list[Task] | None = None) -> dict[str, Any]:
    edges = sorted({0, 12, *cuts})
    pieces = [rows().take(slice(a, b)) for a, b in itertools.pairwise(edges)]
    tasks = [task(MEANS, "means"), task(ALERTS, "alerts")] if tasks is None else tasks
    return {name: results.to_json() for name, results in tickc.replay_together(tasks, pieces).items()}


def test_a_task_reads_what_another_feeds_back() -> None:
    results = found([])
    assert [e["level"] for e in results["alerts"]["alerts"]["a"]] == ["CRITICAL"]
    values = [s["series"][0]["values"][0] for s in results["alerts"]["sinks"]["sent"]]
    assert values == [["1970-01-01T00:00:09Z", 7]]
    assert not results["means"]["sinks"]


@pytest.mark.parametrize("cuts", [list(range(12)), [5], [1, 7, 8]])
def test_the_results_do_not_depend_on_how_rows_come(cuts: list[int]) -> None:
    assert found(cuts) == found([])


def test_a_circle_of_tasks_is_an_error() -> None:
    script = """dbrp "{0}"."rp"
stream|from()|kapacitorLoopback().database('{1}').retentionPolicy('rp')"""
    tasks = [task(script.format("telegraf", "b"), "a"), task(script.format("b", "telegraf"), "b")]
    first = rows(1).with_(policy=Text.constant("rp", 1))
    with pytest.raises(LoopError, match="circle"):
        tickc.replay_together(tasks, first)


def test_names_are_distinct() -> None:
    with pytest.raises(ValueError, match="same name"):
        tickc.replay_together([task(MEANS, "x"), task(ALERTS, "x")], rows())


def loop(reads: str, writes: str, more: str = "") -> str:
    """A task that hands the points of one retention policy to another."""
    return f"""dbrp "telegraf"."{reads}"
dbrp "telegraf"."autogen"
stream
    |from()
        .groupBy('host')
    {more}
    |kapacitorLoopback()
        .database('telegraf')
        .retentionPolicy('{writes}')
"""


SHOWN = """dbrp "telegraf"."{0}"
dbrp "telegraf"."{1}"
dbrp "telegraf"."autogen"
stream|from()|httpOut('all')
stream|from()|window().periodCount(3).everyCount(2)|httpOut('windows')
"""
DIAMOND = {
    "shown": SHOWN.format("b", "c"),
    "last": loop("b", "c", "|window().period(3s).every(2s)|max('v').as('v')"),
    "first": loop("a", "b", '|where(lambda: "v" != 4.0)|eval(lambda: "v" * 10.0).as(\'v\')'),
    "other": loop("nothing", "c", "|eval(lambda: \"v\" + 0.5).as('v')"),
}


def test_what_is_fed_back_comes_after_the_row_that_caused_it() -> None:
    tasks = [task(script, name) for name, script in DIAMOND.items()]
    whole = found([], tasks)
    shown = [s["series"][0]["values"][0][1] for s in whole["shown"]["sinks"]["all"]]
    assert shown[:5] == [0, 0, 0.5, 1, 10] and 70 in shown and len(shown) > 30
    for cuts in (list(range(12)), [5], [1, 7, 8]):
        assert found(cuts, tasks) == whole


@pytest.mark.parametrize("batch_rows", [1, 5, 100])
def test_a_backfill_of_a_set_feeds_back_in_the_same_order(tmp_path: Path, batch_rows: int) -> None:
    write_recording(tmp_path / "in.srpl", [rows()])
    alone = "dbrp \"telegraf\".\"autogen\"\nstream|from().measurement('cpu')|httpOut('alone')"
    tasks = [task(script, name) for name, script in {**DIAMOND, "alone": alone}.items()]
    wanted = {t.name: r.to_json() for t, r in zip(tasks, tickc.replay_together(tasks, rows()).values())}
    run = tickc.backfill_all(tasks, tmp_path / "in.srpl", tmp_path / "out", format="jsonl", batch_rows=batch_rows)
    assert not run.failed

    def values(name: str, sink: str) -> list[float]:
        return [json.loads(line)["v"] for line in (tmp_path / "out" / name / f"{sink}.jsonl").read_text().splitlines()]

    for name, sink in (("shown", "all"), ("shown", "windows"), ("alone", "alone")):
        series = [s["series"][0] for s in wanted[name]["sinks"][sink]]
        assert values(name, sink) == [row[s["columns"].index("v")] for s in series for row in s["values"]]


def test_what_the_end_releases_is_fed_back_too() -> None:
    tasks = [task(ALERTS, "alerts"), task(MEANS, "means")]
    run = tickc.replay_together(tasks, rows(), flush=True)
    times = [s["series"][0]["values"][0][0] for s in run["alerts"].to_json()["sinks"]["sent"]]
    assert len(times) == 2


def test_a_task_that_fails_leaves_the_others_as_they_are() -> None:
    failing = """dbrp "telegraf"."autogen"
var src = stream|from().truncate(4s)
src|kapacitorLoopback().database('telegraf').retentionPolicy('b')
src|where(lambda: "v" >= 3.0)|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').max(3)|httpOut('never')
"""
    tasks = [task(failing, "failing"), task(SHOWN.format("b", "b"), "shown")]
    run = tickc.replay_together(tasks, rows())
    assert run["failing"].failure is not None and run["shown"].failure is None
    shown = [one["series"][0]["values"][0][1] for one in run["shown"].to_json()["sinks"]["all"]]
    assert {0.0, 7.0, 11.0} <= {*shown} and len(shown) > 20


def test_a_batch_task_cannot_feed_a_stream(tmp_path: Path) -> None:
    batch = """batch
    |query('SELECT v FROM "telegraf"."autogen"."cpu"').period(1m).every(1m)
    |kapacitorLoopback().database('rollup').retentionPolicy('means').measurement('cpu_mean')
"""
    write_recording(tmp_path / "in.srpl", [rows()])
    tasks = [task(batch, "batch"), task(ALERTS, "alerts")]
    with pytest.raises(LoopError, match="the batch task batch feeds alerts"):
        tickc.backfill_all(tasks, tmp_path / "in.srpl")
    with pytest.raises(ValueError, match="recordings of its own"):
        tickc.replay_together([task(batch.replace("rollup", "x"), "batch"), task(ALERTS, "alerts")], rows())


def test_groups_of_linked_tasks() -> None:
    assert groups(7, [(5, 1), (3, 5), (6, 0), (1, 3)]) == [[0, 6], [1, 3, 5], [2], [4]]
    assert groups(3, []) == [[0], [1], [2]]
    assert groups(2000, [(i, i + 1) for i in range(1999)]) == [list(range(2000))]
