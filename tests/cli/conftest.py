"""The command line as a process of its own, and small inputs for it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli_cases import ALERT, Tickc, lines


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The process's environment, with a cache of its own and no colour."""
    kept = {k: v for k, v in os.environ.items() if k not in ("TICKC_DEBUG", "NO_COLOR", "FORCE_COLOR")}
    return {**kept, "TICKC_CACHE": str(tmp_path_factory.mktemp("cache")), "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def tickc(tmp_path: Path, environment: dict[str, str]) -> Tickc:
    """Run `tickc` in the test's folder; the errors that it prints must not be tracebacks."""

    return partial(_run, "-m", "tickc", env=environment, cwd=tmp_path)


@pytest.fixture
def alone(tmp_path: Path, environment: dict[str, str]) -> Tickc:
    """Run a generated module, the first argument, in the test's folder; its errors must not be tracebacks either."""
    return partial(_run, env=environment, cwd=tmp_path)


def _run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **{"timeout": 120, **options})
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
    return done


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "cpu_alert.tick"
    path.write_text(ALERT)
    return path


@pytest.fixture
def points(tmp_path: Path) -> Path:
    path = tmp_path / "cpu.lp"
    path.write_text(lines(120))
    return path
