"""README.md and examples/README.md: their commands run, in order, and print what they say."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_data import EXAMPLES, ROOT

BLOCK = re.compile(r"^```(tickscript|console|pycon)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
TIMES = re.compile(r"\bin \d+\.\d+ s( \([\d,]+ points/s\))?")


@pytest.fixture
def place(tmp_path: Path, example_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples and their data, and the README's script as cpu.tick."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("data", "__pycache__"))
    (tmp_path / "examples" / "data").symlink_to(example_data)
    script = next(text for kind, text in blocks("README.md") if kind == "tickscript")
    (tmp_path / "cpu.tick").write_text(script, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name, command in (("python", '"$@"'), ("tickc", '-m tickc "$@"')):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command}\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page: str) -> Iterator[tuple[str, str]]:
    yield from (found.groups() for found in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")))  # type: ignore[misc]


def run(command: str, place: Path) -> str:
    """What a command prints, times of the run left out and without spaces at the ends of lines."""
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}
    done = subprocess.run(
        command, shell=True, cwd=place, env=environment, text=True, encoding="utf-8", timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return plain(done.stdout)


def plain(text: str) -> str:
    return "\n".join(TIMES.sub("in … s", line).rstrip() for line in text.splitlines())


@pytest.mark.parametrize("page", ["README.md", "examples/README.md"])
def test_commands_print_what_the_page_says(page: str, place: Path, update: bool) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    shown = [block for kind, block in blocks(page) if kind == "console"]
    assert shown
    for block in shown:
        text = text.replace(block, replayed(block, place))
    if update:
        (ROOT / page).write_text(text, encoding="utf-8")
    assert (ROOT / page).read_text(encoding="utf-8") == text


def replayed(block: str, place: Path) -> str:
    """The block with what its commands print now; what it says where that is the same."""
    out = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, said = part.partition("\n")
        printed = run(command, place)
        out.append(f"$ {command}\n" + (said if plain(said) == printed else f"{printed}\n"))
    return "".join(out)


def test_python_gives_what_the_readme_says(place: Path) -> None:
    code = "\n".join(block for kind, block in blocks("README.md") if kind == "pycon")
    test = doctest.DocTestParser().get_doctest(code, {}, "README", "README.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    result = runner.run(test)
    assert result.attempted > 5 and result.failed == 0
