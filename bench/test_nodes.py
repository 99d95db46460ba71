"""Single nodes at work, next to Polars and DuckDB: a join of two streams, a union, a flatten, and an alert that sends
an event for every point.

The peers give their rows by time as well, since the order of points is part of what a stream is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from jobs import Job, rows_wanted
from test_jobs import by_duckdb, source

import tickc
from tickc.task import Task

TWO = """var a = stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_idle")
        .as('v')

var b = stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_user")
        .as('v')

a
"""


def two(path: Path) -> tuple[Any, Any]:
    import polars as pl

    cpu = pl.scan_parquet(path)
    return cpu.select("time", "host", v="usage_idle"), cpu.select("time", "host", v="usage_user")


def join_polars(path: Path) -> Any:
    import polars as pl

    a, b = (side.with_columns(pl.col("time").dt.round("5s")) for side in two(path))
    return a.join(b, on=["host", "time"], maintain_order="left").collect()


def union_polars(path: Path) -> Any:
    import polars as pl

    return pl.concat(two(path)).sort("time", maintain_order=True).collect()


def flatten_polars(path: Path) -> Any:
    return two(path)[0].collect().pivot(on="host", index="time", values="v")


def events_polars(path: Path) -> Any:
    import polars as pl

    id = pl.format("cpu:host={}", pl.col("host").cast(pl.String))
    message = pl.format("{} is CRITICAL: {}", pl.col("id"), pl.col("v").round(2))
    return two(path)[0].filter(pl.col("v") >= 0.0).with_columns(id=id).with_columns(message=message).collect()


NODES = {
    "join node": Job(
        f"{TWO}    |join(b)\n        .as('a', 'b')\n        .tolerance(5s)\n    |httpOut('out')\n",
        join_polars,
        """SELECT a.host, a.t, a.v, b.v FROM
             (SELECT host, time_bucket(INTERVAL '5 seconds', time) AS t, usage_idle AS v FROM '{path}') a
             JOIN (SELECT host, time_bucket(INTERVAL '5 seconds', time) AS t, usage_user AS v FROM '{path}') b
             USING (host, t) ORDER BY a.t""",
    ),
    "union node": Job(
        f"{TWO}    |union(b)\n    |httpOut('out')\n",
        union_polars,
        """SELECT time, host, usage_idle AS v FROM '{path}' UNION ALL SELECT time, host, usage_user FROM '{path}'
           ORDER BY time""",
    ),
    "flatten node": Job(
        """stream
    |from()
        .measurement('cpu')
    |eval(lambda: "usage_idle")
        .as('v')
    |flatten()
        .on('host')
    |httpOut('out')
""",
        flatten_polars,
        "PIVOT (SELECT time, host, usage_idle AS v FROM '{path}') ON host USING first(v) GROUP BY time ORDER BY time",
    ),
    "events node": Job(
        """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_idle")
        .as('v')
    |alert()
        .crit(lambda: "v" >= 0.0)
        .message('{{ .ID }} is {{ .Level }}: {{ index .Fields "v" | printf "%0.2f" }}')
        .log('all')
""",
        events_polars,
        """SELECT time, 'cpu:host=' || host AS id, usage_idle AS v,
                  printf('cpu:host=%s is CRITICAL: %.2f', host, usage_idle) AS message
           FROM '{path}' WHERE usage_idle >= 0.0""",
    ),
}


def by_tickc(task: Task, path: Path) -> int:
    """How many outputs there are, and for alerts how many messages were written."""
    count = 0
    for output in task.process(source(task, path)):
        count += len(output.payload.messages) if output.kind == "alert" else 1
    return count


@pytest.mark.parametrize("engine", ["tickc", "polars", "duckdb"])
@pytest.mark.parametrize("name", list(NODES))
def test_node(benchmark: Any, cpu: Path, name: str, engine: str) -> None:
    job = NODES[name]
    task = tickc.compile(job.script, name=name.split()[0])
    connection = duckdb.connect()
    run: dict[str, Callable[[], Any]] = {
        "tickc": lambda: by_tickc(task, cpu),
        "polars": lambda: job.polars(cpu),
        "duckdb": lambda: by_duckdb(connection, job.sql.format(path=cpu)),
    }
    benchmark.group = name
    rounds, warmup = (5, 2) if rows_wanted() <= 1_000_000 else (2, 1)
    result = benchmark.pedantic(run[engine], rounds=rounds, warmup_rounds=warmup, iterations=1)
    assert len(result) if hasattr(result, "__len__") else result
