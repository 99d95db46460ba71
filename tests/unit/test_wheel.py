"""The wheel holds what the folders hold, under the one name `tickc`."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"tickc": "tickc", "compiler": "tickc/compiler", "codegen_templates": "tickc/codegen_templates",
           "runtime": "tickc/runtime"}  # fmt: skip
DATA = {"tickc/py.typed", "tickc/compiler/tickscript.lark", "tickc/compiler/influxql/influxql.lark",
        "tickc/codegen_templates/module.py.j2"}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing left over in the folders is in it and nothing is left there."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", "wheel", *_isolation(), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = (source / "wheel").iterdir()
    return built


def _isolation() -> list[str]:
    """Where a recent setuptools is installed, nothing has to be fetched for the build."""
    try:
        known = int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        known = False
    return ["--no-isolation"] if known else []


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_holds_the_folders(wheel: Path) -> None:
    """Every module and every file that modules read, and no other package."""
    wanted = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    installed = {name for name in files(wheel) if ".dist-info/" not in name}
    assert installed == wanted
    assert wanted >= DATA


def test_the_wheel_has_its_license_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {
            name.split(".dist-info/")[1]: archive.read(name).decode() for name in files(wheel) if "dist-info" in name
        }
    assert any(name.endswith("LICENSE") for name in texts)
    assert re.search(r"^tickc = tickc\.cli:main$", texts["entry_points.txt"], re.MULTILINE)
    assert "License-Expression: MIT" in texts["METADATA"]
    assert texts["top_level.txt"].split() == ["tickc"]


def test_the_wheel_compiles_a_script(wheel: Path, tmp_path: Path) -> None:
    """Taken apart and away from the repository, with the grammar and the templates that are in it."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
        f"sys.path.insert(0, {str(tmp_path)!r}); import tickc; "
        "print(tickc.__file__); print(tickc.compile('stream|from()|where(lambda: TRUE)').source)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, _, module = done.stdout.partition("\n")
    assert Path(first).is_relative_to(tmp_path)
    assert "def build() -> Graph:" in module


def test_every_folder_with_modules_is_a_package() -> None:
    """pyproject.toml lists the packages by hand."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    found = {
        (Path(package) / path.parent.relative_to(ROOT / folder)).as_posix().replace("/", ".")
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert sorted(found) == sorted(listed)
