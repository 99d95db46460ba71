"""How fast sources read: line protocol and columnar files, next to PyPI's parser and to bare Polars and pyarrow.

    python bench/bench_sources.py [ROWS]

Times are the best of five in wall time; "core" is processor time of the whole process. The data are those of the other
benchmarks: 10-field `cpu`, 100 hosts, 10 s apart.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import write_cpu

from tickc.runtime.rowtext import lines
from tickc.runtime.sources import open_inputs

COLUMNS = (("host",), ("usage_idle",))
ROUNDS = 5


def best(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall and of processor time, the best of each."""
    wall, core = [], []
    for _ in range(ROUNDS):
        began, worked = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - began)
        core.append(time.process_time() - worked)
    return min(wall), min(core)


def count(path: Path, **options: Any) -> int:
    return sum(map(len, open_inputs(path, default_measurement="cpu", **options)))


def show(what: str, seconds: tuple[float, float], size: int) -> None:
    wall, core = seconds
    print(f"{what:44} {wall * 1e3:9.1f} ms {core * 1e3:9.1f} ms core {size / wall / 1e6:8.0f} MB/s")


def line_protocol(folder: Path, parquet: Path) -> None:
    """Text of the same rows, plain and compressed, all columns and one."""
    path = folder / "cpu.lp"
    with open(path, "w") as file:
        for rows in open_inputs(parquet, default_measurement="cpu"):
            file.writelines(f"{line}\n" for line in lines(rows))
    size = path.stat().st_size
    packed = folder / "cpu.lp.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    show("line protocol, 10 fields", best(lambda: count(path)), size)
    show("line protocol, 1 of 10 fields", best(lambda: count(path, columns=COLUMNS)), size)
    show("line protocol, gzip (MB/s of text)", best(lambda: count(packed)), size)
    try:
        from line_protocol_parser import parse_line
    except ImportError:
        return
    some = path.read_text().splitlines()[:20_000]
    show("  line-protocol-parser (C), 20,000 lines", best(lambda: list(map(parse_line, some))), sum(map(len, some)))


def columnar(folder: Path, parquet: Path) -> None:
    """The same rows from Parquet and Arrow files."""
    import polars as pl
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    size = parquet.stat().st_size
    arrow = folder / "cpu.arrow"
    feather.write_feather(pq.read_table(parquet, read_dictionary=["host"]), arrow, chunksize=1 << 17)
    names = ["time", "host", "usage_idle"]
    show("Parquet, time, 1 tag, 1 field", best(lambda: count(parquet, columns=COLUMNS)), size)
    show("Parquet, all columns", best(lambda: count(parquet)), size)
    show("Arrow IPC (lz4), time, 1 tag, 1 field", best(lambda: count(arrow, columns=COLUMNS)), arrow.stat().st_size)
    show("  pyarrow read_table, the same 3 columns", best(lambda: pq.read_table(parquet, columns=names)), size)
    lazy = pl.scan_parquet(parquet).select(names)
    show("  Polars scan_parquet, the same 3 columns", best(lazy.collect), size)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parquet = folder / "cpu.parquet"
        write_cpu(parquet, rows)
        print(f"{rows:,} rows, 10 fields, 100 hosts")
        columnar(folder, parquet)
        line_protocol(folder, parquet)


if __name__ == "__main__":
    main()
