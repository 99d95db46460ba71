"""High cardinality: tasks over a million groups of 20 points each, interleaved in time, from Parquet and from text.

The results are written to files, as a backfill does, since the names of the groups are most of what is written.

TICKC_BENCH_GROUPS=1000000 make bench     # 20 M points; 100,000 groups if unset
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tickc

POINTS = 20  # of each group
STEP = 20_000_000_000  # ns between two of them
START = 1_704_067_200_000_000_000
FROM = """stream
    |from()
        .measurement('m')
        .groupBy('id')
"""
TASKS = {
    "mean": f"{FROM}    |window()\n        .period(1m)\n        .every(1m)\n    |mean('v')\n    |httpOut('m')\n",
    "alert": f"""{FROM}    |alert()
        .crit(lambda: "v" > 99.99)
        .stateChangesOnly()
        .log('a')
""",
    "state": f"""{FROM}    |derivative('v')
        .as('d')
    |stateDuration(lambda: "d" > 0.0)
    |where(lambda: "state_duration" > 80.0)
    |httpOut('m')
""",
}


def groups_wanted() -> int:
    return int(os.environ.get("TICKC_BENCH_GROUPS", "100000"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The points in Parquet, a row group for each round through the groups, and as line protocol."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, folder, chance = groups_wanted(), tmp_path_factory.mktemp("groups"), np.random.default_rng(1)
    paths = {"parquet": folder / "m.parquet", "lines": folder / "m.lp"}
    names = np.array([f"device-{i:07d}" for i in range(n)])
    schema = pa.schema([("time", pa.timestamp("ns")), ("id", pa.string()), ("v", pa.float64())])
    with pq.ParquetWriter(paths["parquet"], schema) as writer, open(paths["lines"], "w") as text:
        for i in range(POINTS):
            order, values = chance.permutation(n), np.round(100 * chance.random(n), 2)
            times = START + i * STEP + np.arange(n) * STEP // n
            writer.write_table(pa.table([pa.array(times, schema[0].type), names[order], values], schema=schema))
            text.writelines(
                f"m,id=device-{g:07d} v={v} {t}\n" for g, v, t in zip(order.tolist(), values.tolist(), times.tolist())
            )
    yield paths
    for path in paths.values():
        path.unlink()


@pytest.mark.parametrize("form", ["parquet", "lines"])
@pytest.mark.parametrize("name", list(TASKS))
def test_groups(benchmark: Any, files: dict[str, Path], tmp_path: Path, name: str, form: str) -> None:
    task = tickc.compile(TASKS[name], name=name)

    def run() -> int:
        return int(task.backfill(files[form], tmp_path / "out", overwrite=True).points_read)

    benchmark.group = f"{name} {form}"
    assert benchmark.pedantic(run, rounds=2, warmup_rounds=1, iterations=1) == POINTS * groups_wanted()
