"""Tasks that feed each other through kapacitorLoopback."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tickc
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind
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
