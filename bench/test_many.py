"""A thousand tasks over one file, next to one task that reads the same columns and leaves the same results.

Each task watches one measurement of a thousand, or one host of a thousand of one measurement; or all of them watch the
same rows, each with a threshold of its own: a thousand tasks, or a hundred. Scripts are compiled before the clock
starts (`scripts` tells what that takes); results are written.

TICKC_BENCH_ROWS=5000000 pytest bench/test_many.py
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs import rows_wanted

import tickc
from tickc.task import Task

TASKS = 1_000
STEP = 10_000_000_000  # ns between two points of a series
START = 1_600_000_000_000_000_000
SCRIPT = """stream
    |from()
        {from_}
        .groupBy('host')
    |window()
        .period(1m)
        .every(1m)
    |mean('value')
    |alert()
        .crit(lambda: "mean" > {limit})
        .stateChangesOnly()
        .log('alerts')
"""
CPU = ".measurement('cpu')"
ONE = {"measurements": ".groupByMeasurement()", "hosts": CPU, "thresholds": CPU, "hundred_thresholds": CPU}
EACH = {
    "measurements": ".measurement('m{:03d}')",
    "hosts": CPU + ".where(lambda: \"host\" == 'h{:03d}')",
    "thresholds": CPU,
    "hundred_thresholds": CPU,
}


@pytest.fixture(scope="module", params=list(ONE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def points(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A value of each of the thousand series every ten seconds."""
    n = rows_wanted()
    series = (np.arange(n) % TASKS).astype(np.int32)
    value = np.round(np.random.default_rng(1).normal(50.0, 20.0, n), 2)
    names = pa.array([f"{'m' if kind == 'measurements' else 'h'}{i:03d}" for i in range(TASKS)])
    own = pa.DictionaryArray.from_arrays(series, names)
    one = pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), pa.array(["h000" if kind == "measurements" else "cpu"]))
    time_ = pa.array(START + np.arange(n) // TASKS * STEP, pa.timestamp("ns"))
    columns = [own, one] if kind == "measurements" else [one, own]
    path = tmp_path_factory.mktemp("many") / "points.parquet"
    pq.write_table(pa.table([time_, *columns, pa.array(value)], ["time", "measurement", "host", "value"]), path)
    return path


def compiled(kind: str) -> list[Task]:
    scripts = (
        SCRIPT.format(from_=EACH[kind].format(i), limit=limit(kind, i))
        for i in range(100 if kind == "hundred_thresholds" else TASKS)
    )
    return [tickc.compile(script, name=f"t{i:03d}") for i, script in enumerate(scripts)]


def limit(kind: str, task: int) -> float:
    """The threshold of a task: where all watch the same rows one that few means exceed."""
    return 85.0 + task / 100 if kind.endswith("thresholds") else 75.0


@pytest.mark.parametrize("engine", ["one", "many", "scripts"])
def test_many(benchmark: Any, kind: str, points: Path, engine: str, tmp_path: Path) -> None:
    one = tickc.compile(SCRIPT.format(from_=ONE[kind], limit=limit(kind, 0)), name="one")
    tasks = compiled(kind) if engine == "many" else []
    folders = (tmp_path / str(i) for i in itertools.count())
    used: list[float] = []

    def run() -> int:
        before = time.process_time()
        found = {
            "one": lambda: sum(one.backfill(points, next(folders)).alerts.values()),
            "many": lambda: sum(
                sum(s.alerts.values()) for s in tickc.backfill_all(tasks, points, next(folders)).tasks.values()
            ),
            "scripts": lambda: len(compiled(kind)),
        }[engine]()
        used.append(time.process_time() - before)
        return found

    benchmark.group = f"many {kind}"
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1, iterations=1)
    benchmark.extra_info["cpu"] = min(used)
