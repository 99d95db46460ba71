"""The runs of a scheduled query over history: by tickc, by a server of InfluxDB in Kapacitor's way, and by DuckDB.

Data of 100 hosts, 10 s apart, in Parquet; every ten minutes a query asks for the means by host and minute of the last
ten. tickc backfills the task. Kapacitor asks the server once a run, one after the other; the server's answers are read
here but not decoded, and it holds few hours only, as what it takes a run does not depend on the others. DuckDB
aggregates the whole file once, which runs that overlap could not have of it.

TICKC_BENCH_DAYS=30 make bench     # 25.9 M points, 4,320 runs; 3 days if unset
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

import duckdb
import numpy as np
import pytest
from influxd import Influxd, start_influxd

import tickc

__all__ = ["start_influxd"]  # a fixture

HOSTS = 100
STEP = 10_000_000_000  # ns between two points of a host
START = 1_704_067_200_000_000_000  # 2024-01-01
DAY = 8640  # steps
RUN = 600_000_000_000  # ns between two runs
SERVED = 12  # runs that the server holds points for
QUERY = 'SELECT mean("usage") AS mean FROM "telegraf"."autogen"."cpu"'
SCRIPT = f"""batch
    |query('{QUERY}')
        .period(10m)
        .every(10m)
        .groupBy('host', time(1m))
    |alert()
        .crit(lambda: "mean" > 85.0)
        .stateChangesOnly()
        .log('cpu')
"""
SQL = "SELECT host, time_bucket(INTERVAL '1 minute', time) AS m, avg(usage) FROM '{path}' GROUP BY host, m"


class Month(NamedTuple):
    """The file, and how many runs it has."""

    path: Path
    runs: int


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    days = int(os.environ.get("TICKC_BENCH_DAYS", "3"))
    path = tmp_path_factory.mktemp("queries") / "cpu.parquet"
    chance = np.random.default_rng(1)
    names = pa.array([f"host{i:03d}" for i in range(HOSTS)])
    host = pa.DictionaryArray.from_arrays(np.tile(np.arange(HOSTS, dtype=np.int32), DAY), names)
    schema = pa.schema(
        [("time", pa.timestamp("ns")), ("host", host.type), ("usage", pa.float64()), ("idle", pa.float64())]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for day in range(days):
            time = pa.array(START + np.repeat(np.arange(day * DAY, (day + 1) * DAY), HOSTS) * STEP, schema[0].type)
            usage, idle = np.round(chance.random(len(time)) * 100, 2), chance.random(len(time))
            writer.write_table(pa.table([time, host, usage, idle], schema=schema))
    yield Month(path, days * 144)
    path.unlink()


@pytest.fixture(scope="module")
def server(start_influxd: Callable[..., Influxd]) -> Influxd:
    """A server that holds what the first runs ask for, all of it in its cache."""
    server = start_influxd()
    server.query('CREATE DATABASE "telegraf"')
    chance = np.random.default_rng(1)
    for time in range(START, START + SERVED * RUN, STEP):
        values = enumerate(chance.random((HOSTS, 2)).tolist())
        server.write(
            "\n".join(f"cpu,host=host{i:03d} usage={a:.4f},idle={b} {time}" for i, (a, b) in values), "telegraf"
        )
    return server


def ask(server: Influxd) -> int:
    """One question a run; the bytes of the answers."""
    size = 0
    for start in range(START, START + SERVED * RUN, RUN):
        text = f"{QUERY} WHERE time >= {start} AND time < {start + RUN} GROUP BY host, time(1m)"
        with urlopen(f"{server.address}/query?{urlencode({'q': text, 'epoch': 'ns'})}") as answer:
            size += len(answer.read())
    return size


def test_tickc(benchmark: Any, month: Month) -> None:
    task = tickc.compile(SCRIPT, name="cpu")

    def run() -> int:
        return int(task.backfill(month.path, measurement="cpu")["cpu"].num_rows)

    measured(benchmark, run, month.runs)


def test_influxd(benchmark: Any, server: Influxd) -> None:
    measured(benchmark, lambda: ask(server), SERVED)


def test_duckdb(benchmark: Any, month: Month) -> None:
    connection = duckdb.connect()
    measured(benchmark, lambda: connection.sql(SQL.format(path=month.path)).to_arrow_table().num_rows, month.runs)


def measured(benchmark: Any, run: Callable[[], int], runs: int) -> None:
    """Take the time of what answers `runs` runs."""
    benchmark.group = "queries"
    benchmark.extra_info["runs"] = runs
    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1, iterations=1)
