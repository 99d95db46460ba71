"""The figures of earlier runs, a JSON document a line: on what, of which version, and the best times and speeds."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("history.jsonl")
PEERS = ("numba", "numpy", "polars", "pyarrow", "duckdb")


def last(rows: int) -> dict[str, Any]:
    """The last run on a machine like this one and as many rows; empty where there is none."""
    if not FILE.exists():
        return {}
    runs = [json.loads(line) for line in FILE.read_text().splitlines()]
    return next((run for run in reversed(runs) if run["rows"] == rows and run["machine"] == machine()), {})


Table = dict[str, dict[str, float]]


def add(rows: int, jobs: Table, sources: Table, stages: Table) -> None:
    """Add a run. jobs: ms by job and engine; sources: MB/s by source, in wall time and per core; stages: ms of
    processor time by job and stage."""
    run = {
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PEERS}},
        "rows": rows,
        "jobs": _rounded(jobs),
        "sources": _rounded(sources),
        "stages": _rounded(stages),
    }
    with open(FILE, "a") as file:
        file.write(json.dumps(run) + "\n")


def _rounded(table: Table) -> Table:
    return {row: {name: round(value, 1) for name, value in cells.items()} for row, cells in table.items()}


def machine() -> str:
    """The processor and how many of it there are."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit that was measured, with a `+` where files differ from it."""
    here = Path(__file__).parent
    told = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"
