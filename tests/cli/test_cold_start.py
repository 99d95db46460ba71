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
COMMAND = "from tickc.cli import main\ncode = main(sys.argv[1:])"
MODULE = """
from importlib import import_module
from tickc.runtime import main
sys.path.insert(0, "")
sys.argv[0] = "cpu_alert.py"
module = import_module("cpu_alert")
code = main(module.build, module.READS)
"""
WRITING = {"tickc.runtime.backfill", "tickc.runtime.checkpoints", "tickc.runtime.outputs"}


def loaded(environment: dict[str, str], folder: Path, *arguments: object) -> set[str]:
    """The modules that a command has loaded at its end."""
    return after(COMMAND, environment, folder, *arguments)


def after(program: str, environment: dict[str, str], folder: Path, *arguments: object) -> set[str]:
    """The modules that a program, which leaves its exit code in `code`, has loaded at its end."""
    program = f"import sys\n{program}\nprint('\\nloaded', *sys.modules)\nsys.exit(code)\n"
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


def test_a_module(environment: dict[str, str], script: Path, points: Path) -> None:
    """Neither the compiler nor the command line is there, and for its help nothing that reads or writes."""
    loaded(environment, script.parent, "compile", script, "-o", script.with_suffix(".py"))
    assert not after(MODULE, environment, script.parent, "--help") & (COMPILER | LARGE | RARE | WRITING)
    found = after(MODULE, environment, script.parent, "--input", points, "--quiet")
    assert not found & (COMPILER | (RARE - {"http.client", "ssl"}) | {"tickc.cli", "tickc.task", "llvmlite", "duckdb"})
