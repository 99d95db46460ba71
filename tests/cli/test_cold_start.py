"""What a command does not load before it is needed: a small replay waits for nothing that large inputs use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_cases import recording

COMPILER = {"jinja2", "lark", "tickc.compiler"}
LARGE = {"duckdb", "llvmlite", "numba", "polars", "pyarrow"}
RARE = {"asyncio", "http.client", "multiprocessing", "rich", "ssl", "tickc.runtime.influxql.evaluate", "yaml"}
WRITING = {"tickc.runtime.backfill", "tickc.runtime.checkpoints", "tickc.runtime.outputs"}


def loaded(environment: dict[str, str], folder: Path, *arguments: object) -> set[str]:
    """The modules that a command has loaded at its end."""
    program = (
        "import sys\n"
        "from tickc.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print('\\nloaded', *sys.modules)\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("\nloaded ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["replay", "--help"], ["--version"]])
def test_help(environment: dict[str, str], tmp_path: Path, arguments: list[str]) -> None:
    assert not loaded(environment, tmp_path, *arguments) & (COMPILER | LARGE | RARE | WRITING | {"numpy"})


def test_check(environment: dict[str, str], script: Path) -> None:
    assert not loaded(environment, script.parent, "check", script) & (LARGE | RARE | WRITING)


@pytest.mark.parametrize("cached", [False, True])
def test_replay(environment: dict[str, str], script: Path, tmp_path: Path, cached: bool) -> None:
    recorded = tmp_path / "cpu.srpl"
    recorded.write_text(recording(120))
    if not cached:
        environment = {**environment, "TICKC_CACHE": str(tmp_path / "empty")}
    found = loaded(environment, script.parent, "replay", script, "--recording", recorded)
    assert not found & (LARGE | RARE | WRITING)
