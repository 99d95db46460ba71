"""Machine code in the cache folder: kept, found again, and made anew where what lies there is of no use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickc.runtime.kernel import Kernel, kernel


@kernel
def doubled(values: Any, out: Any) -> Any:
    """out: twice the values."""
    for i in range(values.size):
        out[i] = values[i] * 2.0


def run(made: Kernel[..., Any]) -> list[float]:
    out = np.zeros(3)
    made.machine()(np.arange(3.0), out)
    return list(out)


def fresh() -> Kernel[..., Any]:
    return kernel(doubled.function)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TICKC_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def test_code_is_kept_and_found(folder: Path) -> None:
    assert not fresh().compiled()
    assert run(fresh()) == [0.0, 2.0, 4.0]
    assert fresh().compiled()
    again = fresh()
    assert run(again) == [0.0, 2.0, 4.0]
    assert sum(again.machine().stats.cache_hits.values()) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [b"", b"no pickle", b"\x80\x04c" + b"tickc.gone\nThing\n."])
def test_a_damaged_cache_is_filled_anew(folder: Path, damage: bytes) -> None:
    run(fresh())
    for index in folder.glob("*.nbi"):
        index.write_bytes(index.read_bytes().split(b"\x80")[0] + damage)
    assert run(fresh()) == [0.0, 2.0, 4.0]
    again = fresh()
    assert run(again) == [0.0, 2.0, 4.0]
    assert sum(again.machine().stats.cache_hits.values()) == 1  # type: ignore[attr-defined]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TICKC_CACHE", str(tmp_path / "file" / "cache"))
    assert run(fresh()) == [0.0, 2.0, 4.0]


def test_numba_is_not_loaded_by_small_work() -> None:
    program = (
        "import sys, numpy as np\n"
        "from tickc.runtime.kernel import kernel\n"
        "k = kernel(lambda a: a[0])\n"
        "assert k(np.arange(9.0)) == 0.0\n"
        "assert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
