"""The jobs by tickc, Polars and DuckDB on one Parquet file.

`decode` is what tickc's source alone takes, `compute` what its operators take on rows that are in memory.

make bench            # 1 M rows
TICKC_BENCH_ROWS=10000000 make bench
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from jobs import JOBS, rows_wanted
from stages import keep

import tickc
from tickc.runtime.sources.inputs import open_inputs
from tickc.task import Task


def source(task: Task, path: Path) -> Any:
    reads = task.module.READS
    return open_inputs(
        [str(path)],
        columns=(reads["tags"], reads["fields"]),
        measurements=reads["measurements"],
        default_measurement="cpu",
        predicate=reads["where"],
    )


def by_tickc(task: Task, path: Path) -> int:
    return sum(1 for _ in task.process(source(task, path)))


def by_duckdb(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return connection.sql(sql).to_arrow_table()


@pytest.mark.parametrize("engine", ["tickc", "decode", "compute", "polars", "duckdb"])
@pytest.mark.parametrize("name", list(JOBS))
def test_job(benchmark: Any, cpu: Path, name: str, engine: str) -> None:
    job = JOBS[name]
    task = tickc.compile(job.script, name=name)
    connection = duckdb.connect()
    rows = list(source(task, cpu)) if engine == "compute" else []
    run: dict[str, Callable[[], Any]] = {
        "tickc": lambda: by_tickc(task, cpu),
        "decode": lambda: sum(len(rows) for rows in source(task, cpu)),
        "compute": lambda: sum(1 for _ in task.process(rows)),
        "polars": lambda: job.polars(cpu),
        "duckdb": lambda: by_duckdb(connection, job.sql.format(path=cpu)),
    }
    benchmark.group = name
    rounds, warmup = (7, 2) if rows_wanted() <= 1_000_000 else (2, 1)
    result = benchmark.pedantic(run[engine], rounds=rounds, warmup_rounds=warmup, iterations=1)
    if engine == "compute":
        keep(benchmark, task, rows)
    assert len(result) if hasattr(result, "__len__") else result
