"""Cron expressions against Kapacitor's own package (tests/fixtures/cron)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tickc.runtime.cron import Cron, CronError

FIXTURE = Path(__file__).parents[1] / "fixtures/cron/cron.json.gz"
GO: dict[str, list[dict[str, Any]]] = json.loads(gzip.decompress(FIXTURE.read_bytes()))
SECOND = 1_000_000_000


def error(expression: str) -> str | None:
    try:
        Cron(expression)
    except CronError as problem:
        return str(problem)
    return None


def test_errors() -> None:
    differences = []
    for row in GO["expressions"]:
        got = error(row["Expression"])
        refused_by_us = got is not None and ("ends before it begins" in got or "leading zero" in got)
        if not (refused_by_us if row.get("Dead") else got == row.get("Error")):
            differences.append((row, got))
    assert not differences, f"{len(differences)} of {len(GO['expressions'])}: {differences[:5]}"


def test_matches() -> None:
    differences = []
    for row in GO["matches"]:
        got = Cron(row["Expression"]).next(row["Now"] * SECOND, ZoneInfo(row["Zone"]))
        if got != (row["Next"] * SECOND or None):
            differences.append((row, got))
    assert not differences, f"{len(differences)} of {len(GO['matches'])}: {differences[:5]}"


def test_a_schedule_gets_behind_a_gap() -> None:
    """In New York 02:30 is not shown on that day; Go makes 01:30 of it, again and again."""
    zone, cron = ZoneInfo("America/New_York"), Cron("30 2 * * *")
    ticks = [1583630000 * SECOND]
    for _ in range(3):
        following = cron.next(ticks[-1], zone)
        assert following is not None
        ticks.append(following)
    assert [tick // SECOND for tick in ticks[1:]] == [1583649000, 1583735400, 1583821800]


def test_fractions_of_a_second() -> None:
    assert Cron("* * * * * * *").next(1_999_999_999, ZoneInfo("UTC")) == 2 * SECOND
    assert Cron("* * * * * * *").next(-1, ZoneInfo("UTC")) == 0
