"""Small cases that random scripts led to, with Kapacitor's answers; run as the golden cases are."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_golden import WAYS, Case, check_way, check_without_passes

CASES = [pytest.param(c, id=c.name) for c in sorted((Path(__file__).parent / "oracle").iterdir()) if c.is_dir()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("folder", CASES)
def test_oracle(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_way(Case(folder), way, monkeypatch)


@pytest.mark.parametrize("folder", CASES)
def test_each_pass_off(folder: Path) -> None:
    check_without_passes(Case(folder))
