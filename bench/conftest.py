"""Data for the benchmarks, and the table that a run ends with.

Each job is run by tickc, by hand-written Polars and by DuckDB on the same Parquet file in the same run; what counts is
the ratio. `TICKC_BENCH_ROWS` sets the rows (1,000,000 if unset).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs import rows_wanted

HOSTS = 100
STEP = 10_000_000_000  # ns between two points of a host
START = 1_600_000_000_000_000_000
FIELDS = (
    "usage_idle", "usage_user", "usage_system", "usage_nice", "usage_iowait", "usage_irq", "usage_softirq",
    "usage_steal", "usage_guest", "usage_guest_nice",
)  # fmt: skip


def write_cpu(path: Path, rows: int, seed: int = 1) -> None:
    """10-field `cpu` data of 100 hosts, 10 s apart: slow waves, noise, and now and then an incident on one host."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = np.random.default_rng(seed)
    names = pa.array([f"host{i:03d}" for i in range(HOSTS)])
    schema = pa.schema(
        [("time", pa.timestamp("us")), ("host", pa.dictionary(pa.int32(), pa.string()))]
        + [(f, pa.float64()) for f in FIELDS]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows // HOSTS, 10_000):
            steps = np.arange(first, min(first + 10_000, rows // HOSTS))
            time = START + np.repeat(steps, HOSTS) * STEP
            host = np.tile(np.arange(HOSTS, dtype=np.int32), len(steps))
            wave = 55.0 + 25.0 * np.sin(np.repeat(steps, HOSTS) / 400.0 + host)
            columns = [np.round(np.clip(wave + chance.normal(0, 2, len(time)), 0, 100), 2) for _ in FIELDS]
            busy = (np.repeat(steps, HOSTS) // 60 + host * 7) % 997 == 0
            columns[0] = np.where(busy, np.round(chance.uniform(0, 4, len(time)), 2), columns[0])
            arrays = [pa.array(time // 1000).cast(schema[0].type), pa.DictionaryArray.from_arrays(host, names)]
            writer.write_batch(pa.record_batch([*arrays, *map(pa.array, columns)], schema=schema))


@pytest.fixture(scope="session")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Parquet file."""
    path = tmp_path_factory.mktemp("bench") / "cpu.parquet"
    write_cpu(path, rows_wanted())
    yield path


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Best times in ms by job and engine, with what the peers take for each of tickc's."""
    session = getattr(config, "_benchmarksession", None)
    table: dict[str, dict[str, float]] = {}
    for bench in getattr(session, "benchmarks", []):
        if bench.group and bench.stats:
            engine = (bench.params or {}).get("engine", "tickc")
            table.setdefault(bench.group, {})[engine] = bench.stats.min * 1e3
    if not table:
        return
    engines = ("tickc", "decode", "polars", "duckdb")
    write = terminalreporter.write_line
    write("")
    write(f"{rows_wanted():,} rows, best of several runs, in ms")
    write(f"{'job':<14}" + "".join(f"{e:>10}" for e in engines) + f"{'polars/tickc':>14}{'duckdb/tickc':>14}")
    for job, times in table.items():
        shown = "".join(f"{times[e]:>10.1f}" if e in times else f"{'':>10}" for e in engines)
        ratios = "".join(
            f"{times[peer] / times['tickc']:>13.1f}x" if peer in times and "tickc" in times else f"{'':>14}"
            for peer in ("polars", "duckdb")
        )
        write(f"{job:<14}{shown}{ratios}")
