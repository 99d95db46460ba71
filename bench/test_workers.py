"""Jobs on one thread and on two: the operators alone, on rows in memory, as sources decode in threads of their own.

TICKC_BENCH_ROWS=10000000 pytest bench/test_workers.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jobs import JOBS, rows_wanted
from stages import keep
from test_jobs import source

import tickc
from tickc.runtime.backfill import Options
from tickc.runtime.batch import Rows

UNEQUAL = """var idle = stream
    |from()
        .measurement('cpu')
        .groupBy('host')

var busy = stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |where(lambda: "usage_user" > 50.0)

idle
    |join(busy)
        .as('idle', 'busy')
        .tolerance(1s)
    |eval(lambda: "busy.usage_user" / (100.0 - "idle.usage_idle"))
        .as('ratio')
    |httpOut('ratio')
"""
SCRIPTS = {
    "percentile": JOBS["percentile"].script,
    "unequal join": UNEQUAL,
    "filled join": UNEQUAL.replace(".tolerance(1s)", ".tolerance(1s)\n        .fill(0.0)"),
    "mean": JOBS["mean"].script,
    "join of means": JOBS["join"].script,
    "state": JOBS["state"].script,
    "alert": JOBS["alert"].script,
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", list(SCRIPTS))
def test_workers(benchmark: Any, cpu: Path, name: str, workers: int) -> None:
    task = tickc.compile(SCRIPTS[name], name=name)
    rows = Options(workers=workers).rows_at_once(task.module.READS["fields"])
    whole = Rows.concat(list(source(task, cpu)))
    given = [whole.take(slice(i, i + rows)) for i in range(0, len(whole), rows)]
    benchmark.group, benchmark.extra_info["job"] = "workers", name
    rounds = 7 if rows_wanted() <= 1_000_000 else 4
    run = lambda: sum(1 for _ in task.process(given, workers=workers))  # noqa: E731
    assert benchmark.pedantic(run, rounds=rounds, warmup_rounds=2, iterations=1)
    keep(benchmark, task, given, workers)
