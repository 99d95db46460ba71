"""When queries run, as Kapacitor's QueryNode.Queries has it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickc.runtime.schedule import END_OF_TIME, Schedule
from tickc.runtime.times import nanoseconds

SECOND = 1_000_000_000


def at(text: str) -> int:
    found = nanoseconds(f"2020-09-13T{text}Z")
    assert found is not None
    return found


def texts(schedule: Schedule, start: str, stop: str) -> list[str]:
    zero = at("00:00:00")
    ticks = schedule.ticks(at(start), at(stop), 1000)
    return [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in ((ticks - zero) // SECOND).tolist()]


def test_the_first_tick_comes_one_step_after_the_start() -> None:
    assert texts(Schedule(10 * SECOND), "12:26:43", "12:27:13") == ["12:26:53", "12:27:03", "12:27:13"]


def test_aligned_ticks_are_rounded() -> None:
    aligned = Schedule(10 * SECOND, align=True)
    assert texts(aligned, "12:26:43", "12:27:11") == ["12:26:50", "12:27:00", "12:27:10"]
    assert texts(aligned, "12:26:47", "12:27:11") == ["12:27:00", "12:27:10"]  # 12:26:57 rounds up
    assert texts(aligned, "12:26:45", "12:27:11") == ["12:27:00", "12:27:10"]  # halves go up


def test_no_tick_where_the_range_is_shorter_than_a_step() -> None:
    assert texts(Schedule(60 * SECOND), "12:00:00", "12:00:59") == []


def test_a_cron_expression_matches_behind_the_start() -> None:
    assert texts(Schedule(0, cron="*/5 * * * *"), "12:00:00", "12:10:00") == ["12:05:00", "12:10:00"]
    assert texts(Schedule(0, cron="30 */5 * * * * *"), "12:00:00", "12:10:00") == ["12:00:30", "12:05:30"]


def test_cron_expressions_follow_the_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert texts(Schedule(0, cron="0 * * * *"), "12:00:00", "13:59:00") == ["12:30:00", "13:30:00"]


@given(
    every=st.integers(1, 10**12),
    align=st.booleans(),
    start=st.integers(-(10**18), 10**18),
    length=st.integers(0, 10**14),
    most=st.integers(1, 7),
)
def test_ticks_in_parts_are_the_ticks_at_once(every: int, align: bool, start: int, length: int, most: int) -> None:
    schedule = Schedule(every, align)
    at_once = schedule.ticks(start, start + length, 50).tolist()
    last, parts = start, []
    while len(parts) < 50 and len(some := schedule.ticks(last, start + length, most)):
        parts.extend(some.tolist())
        last = parts[-1]
    assert parts[:50] == at_once
    assert all(b - a == every for a, b in itertools.pairwise(at_once))
    assert all(start < t <= start + length for t in at_once) or align


@given(every=st.integers(1, 10**12), align=st.booleans(), start=st.integers(0, 10**15), ahead=st.integers(-10, 10**13))
def test_reaching_is_the_first_tick_not_before_a_moment(every: int, align: bool, start: int, ahead: int) -> None:
    schedule = Schedule(every, align)
    found = schedule.reaching(start, start + ahead)
    first = int(schedule.ticks(start, END_OF_TIME, 1)[0])
    assert found >= start + ahead
    assert (found - first) % every == 0
    assert found == first or found - every < start + ahead


def test_a_run_without_a_start_reads_the_first_point() -> None:
    assert Schedule(60 * SECOND).start(at("12:00:07")) == at("12:00:00")
    assert Schedule(0, cron="* * * * *").start(at("12:00:07")) == at("12:00:07")
