"""Folders for temporary files: they go with their process, also one that is killed."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tickc.runtime.rooms import Scratch

HOLD = """
import sys
from tickc.runtime.rooms import Scratch
scratch = Scratch("tickc-test-")
open(scratch.path + "/rows", "w").write("rows")
print(scratch.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def holder(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder, and the folder."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_goes_with_its_object(temporary: Path) -> None:
    scratch = Scratch("tickc-test-")
    (Path(scratch.path) / "rows").write_text("rows")
    assert [*temporary.iterdir()] == [Path(scratch.path)]
    fds = len(os.listdir("/dev/fd"))
    del scratch
    gc.collect()
    assert not [*temporary.iterdir()] and len(os.listdir("/dev/fd")) == fds - 1


def test_what_a_killed_process_left_is_removed(temporary: Path) -> None:
    alive, kept = holder(temporary)
    killed, left = holder(temporary)
    (temporary / "tickc-other-1").mkdir()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.is_dir()
    scratch = Scratch("tickc-test-")
    assert {*temporary.iterdir()} == {kept, Path(scratch.path), temporary / "tickc-other-1"}
    assert (kept / "rows").read_text() == "rows"
    alive.communicate()
    assert alive.returncode == 0 and not kept.exists()
