"""What Polars leaves out of a Parquet file is what the filter would have refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickc
from tickc.runtime.batch import Rows
from tickc.runtime.sources.inputs import open_inputs

N = 2_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    nan, none = float("nan"), None
    columns = {
        "time": pa.array([1_600_000_000_000_000_000 + 1_000 * i for i in range(N)], pa.int64()),
        "host": pa.array([f"h{i % 50}" if i % 7 else none for i in range(N)]).dictionary_encode(),
        "dc": pa.array([f"d{i % 3}" for i in range(N)]),
        "v": pa.array([nan if i % 11 == 0 else none if i % 13 == 0 else float(i % 100) for i in range(N)]),
        "n": pa.array([i % 100 for i in range(N)]),
        "on": pa.array([i % 2 == 0 for i in range(N)]),
    }
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=700)
    return path


FILTERS = [
    ("host", "==", "h3"),
    ("dc", "==", "d1"),
    ("v", "<", 5.0),
    ("v", ">=", 98.0),
    ("v", ">", 97),
    ("v", "==", 7.0),
    ("n", "<=", 3.5),
    ("n", "==", 12),
    ("on", "==", True),
]


def lambda_of(conjunct: tuple[str, str, Any]) -> str:
    name, operator, literal = conjunct
    text = {True: "TRUE", False: "FALSE"}[literal] if isinstance(literal, bool) else repr(literal)
    return f'"{name}" {operator} {text}'


def script(conjunct: tuple[str, str, Any]) -> str:
    return f"stream|from().measurement('m').where(lambda: {lambda_of(conjunct)})|httpOut('out')"


@pytest.mark.parametrize("conjunct", FILTERS, ids=lambda_of)
def test_results_do_not_depend_on_the_prefilter(file: Path, conjunct: tuple[str, str, Any]) -> None:
    told, untold = (tickc.compile(script(conjunct), without=w) for w in ((), ["push_filters"]))
    assert told.module.READS["where"] == (conjunct,)
    assert untold.module.READS["where"] == ()
    one, other = (task.backfill(file, measurement="m")["out"] for task in (told, untold))
    assert one.num_rows
    assert repr(one.to_pylist()) == repr(other.to_pylist())


@pytest.mark.parametrize(
    ("conjunct", "fewer"), [(("host", "==", "h3"), True), (("v", "<", 5.0), True), (("v", "<", 95.0), False)]
)
def test_only_selective_filters_are_read_that_way(file: Path, conjunct: Any, fewer: bool) -> None:
    source = open_inputs([str(file)], default_measurement="m", predicate=[conjunct])
    assert (len(Rows.concat(list(source))) < N) is fewer
