"""How fast sources read: line protocol and columnar files, next to PyPI's C parser and to bare Polars and pyarrow.

What is read counts whole: times, tags and all wanted fields are decoded into rows, and floats are those nearest to
their text. MB/s are of the file, of text where it is compressed; "core" counts the processor time of all threads.
"""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_cpu
from jobs import rows_wanted

from tickc.runtime.rowtext import lines
from tickc.runtime.sources import open_inputs

ONE = (("host",), ("usage_idle",))
TWO = (("host",), ("usage_idle", "usage_user"))
MOST = 1_000_000  # rows of text


@dataclass(frozen=True)
class Files:
    """The same rows in all formats, and text with 17 digits a value, without and with exponents. text: bytes of the
    text, compressed or not."""

    folder: Path
    rows: int

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def text(self) -> int:
        return self.path("cpu.lp").stat().st_size


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    import pyarrow as pa
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    made = Files(tmp_path_factory.mktemp("sources"), min(MOST, rows_wanted()))
    write_cpu(made.path("cpu.parquet"), made.rows)
    scaled = {"long.lp": 100, "tiny.lp": 1e-6}
    with contextlib.ExitStack() as stack:
        plain, *others = (stack.enter_context(open(made.path(name), "w")) for name in ("cpu.lp", *scaled))
        chance = np.random.default_rng(2)
        for rows in open_inputs(made.path("cpu.parquet"), default_measurement="cpu"):
            text = lines(rows)
            plain.writelines(f"{line}\n" for line in text)
            for line in text[: len(text) // 4]:
                key, fields, stamp = line.split(" ")
                names = [pair.partition("=")[0] for pair in fields.split(",")]
                for file, scale in zip(others, scaled.values()):
                    values = zip(names, (scale * chance.random(len(names))).tolist())
                    file.write(f"{key} {','.join(f'{name}={value!r}' for name, value in values)} {stamp}\n")
    data = made.path("cpu.lp").read_bytes()
    made.path("cpu.lp.gz").write_bytes(gzip.compress(data, 6))
    made.path("cpu.lp.zst").write_bytes(pa.compress(data, "zstd", asbytes=True))
    table = pq.read_table(made.path("cpu.parquet"), read_dictionary=["host"])
    feather.write_feather(table, made.path("cpu.arrow"), chunksize=1 << 17)
    yield made


def count(path: Path, columns: Any = None, **options: Any) -> int:
    return sum(map(len, open_inputs(path, columns=columns, default_measurement="cpu", **options)))


def by_c(path: Path) -> int:
    """PyPI's line-protocol-parser on 20,000 lines."""
    parse_line = pytest.importorskip("line_protocol_parser").parse_line
    with open(path) as file:
        some = [next(file) for _ in range(20_000)]
    return len(list(map(parse_line, some)))


def by_polars(path: Path) -> int:
    import polars as pl

    return len(pl.scan_parquet(path).select("time", "host", "usage_idle").collect())


def by_pyarrow(path: Path) -> int:
    import pyarrow.parquet as pq

    return len(pq.read_table(path, columns=["time", "host", "usage_idle"]))


READINGS: dict[str, tuple[str, Callable[[Path], int]]] = {
    "lines, 10 fields": ("cpu.lp", count),
    "lines, 10 fields of 17 digits": ("long.lp", count),
    "lines, 10 fields with exponents": ("tiny.lp", count),
    "lines, 2 of 10 fields": ("cpu.lp", lambda path: count(path, TWO)),
    "lines, 1 of 10 fields": ("cpu.lp", lambda path: count(path, ONE)),
    "lines, 1 of 100 hosts": ("cpu.lp", lambda path: count(path, predicate=[("host", "==", "host007")])),
    "lines, another measurement": ("cpu.lp", lambda path: 1 + count(path, measurements=["mem"])),
    "lines, 10 fields, gzip": ("cpu.lp.gz", count),
    "lines, 10 fields, zstd": ("cpu.lp.zst", count),
    "  line-protocol-parser (C)": ("cpu.lp", by_c),
    "Parquet, all columns": ("cpu.parquet", count),
    "Parquet, 1 tag, 1 field": ("cpu.parquet", lambda path: count(path, ONE)),
    "  Polars, the same columns": ("cpu.parquet", by_polars),
    "  pyarrow, the same columns": ("cpu.parquet", by_pyarrow),
    "Arrow IPC, 1 tag, 1 field": ("cpu.arrow", lambda path: count(path, ONE)),
}


@pytest.mark.parametrize("name", list(READINGS))
def test_source(benchmark: Any, files: Files, name: str) -> None:
    file, read = READINGS[name]
    path = files.path(file)
    read(path)  # loads what is needed
    worked: list[float] = []

    def run() -> int:
        began = time.process_time()
        rows = read(path)
        worked.append(time.process_time() - began)
        return rows

    benchmark.group = "sources"
    size = path.stat().st_size
    if read is by_c:
        size = files.text * 20_000 // files.rows
    elif file.startswith("cpu.lp"):
        size = files.text
    assert benchmark.pedantic(run, rounds=5, iterations=1)
    benchmark.extra_info.update(source=name, bytes=size, core=min(worked))
