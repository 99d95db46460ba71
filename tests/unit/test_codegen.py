"""Generated modules as a reader sees them (tests/codegen), and what makes a text a good module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tickc.compiler import compile_script

FOLDER = Path(__file__).parents[1] / "codegen"
CASES = sorted(FOLDER.glob("*.tick"))


def generated(path: Path) -> str:
    return compile_script(path.read_text(encoding="utf-8"), file=path.name, task=path.stem).module.text


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_modules(path: Path, update: bool) -> None:
    module = path.with_suffix(".py")
    if update:
        module.write_text(generated(path), encoding="utf-8")
    assert module.read_text(encoding="utf-8") == generated(path)


def test_every_module_has_a_script() -> None:
    assert {p.stem for p in FOLDER.glob("*.py")} == {p.stem for p in CASES}


def test_modules_are_formatted_and_clean() -> None:
    for command in (["format", "--check"], ["check"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--no-cache", str(FOLDER)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_emission_is_deterministic() -> None:
    """Another process, with other hashes of strings, writes the same text."""
    path = CASES[0]
    command = [sys.executable, "-m", "tickc", "compile", path.name]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, check=True)
        assert done.stdout == path.with_suffix(".py").read_bytes()
