"""What comes out when the input ends: nothing but joins and unions, or, with `flush`, all that is open."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from streams import Point, rows
from test_barrier import at, noisy, pieces

import tickc
from tickc.cli import cli
from tickc.runtime.batch import Rows
from tickc.runtime.results import Results
from tickc.runtime.snapshot import decode, encode


def shown(chain: str, given: Rows, *, flush: bool = True) -> list[Any]:
    task = tickc.compile(f"stream|from().groupBy('host'){chain}|httpOut('x')")
    return task.replay(given, flush=flush).to_json()["sinks"].get("x", [])


def values(found: list[Any]) -> list[tuple[str, Any]]:
    """Minute and second, and the last column, of each row."""
    return [(v[0][14:-1], v[-1]) for f in found for s in f["series"] for v in s.get("values", [])]


def test_a_window_comes_out_as_its_next_emission() -> None:
    given = rows(at(0, 4, 11, 13))
    chain = "|window().period(10s).every(10s)|count('v')"
    assert values(shown(chain, given, flush=False)) == [("26:50", 2)]
    assert values(shown(chain, given)) == [("26:50", 2), ("27:01", 2)]


def test_what_a_sliding_window_still_holds_comes_with_it() -> None:
    found = shown("|window().period(10s).every(5s).align()|httpOut('w')|count('v')", rows(at(0, 4, 6, 12)))
    assert values(found) == [("26:45", 2), ("26:50", 3), ("26:55", 2)]


def test_a_window_that_waits_for_its_period() -> None:
    found = shown("|window().period(10s).every(5s).fillPeriod()|count('v')", rows(at(0, 4)))
    assert values(found) == [("26:50", 2)]


def test_a_window_that_emits_at_each_point_has_nothing_left() -> None:
    given = rows(at(0, 4))
    assert shown("|window().period(10s)|count('v')", given) == shown(
        "|window().period(10s)|count('v')", given, flush=False
    )


def test_a_window_by_count() -> None:
    found = shown("|window().periodCount(3).everyCount(2)|sum('v')", rows(at(0, 1, 2, 3, 4)))
    assert values(found) == [("26:41", 2), ("26:43", 3), ("26:44", 3)]
    assert values(shown("|window().periodCount(3).everyCount(2)|sum('v')", rows(at(0, 1)))) == [("26:41", 2)]
    filled = "|window().periodCount(3).everyCount(2).fillPeriod()|sum('v')"
    assert values(shown(filled, rows(at(0, 1)))) == [("26:41", 2)]


@pytest.mark.parametrize("function", ["count", "mean", "sum", "spread"])
def test_folded_windows_flush_as_windows_do(function: str) -> None:
    given = noisy(random.Random(function), 80)
    script = f"stream|from().groupBy('host')|window().period(9s).every(10s)|{function}('v')|httpOut('x')"
    folded, plain = tickc.compile(script), tickc.compile(script, without=["fuse_windows"])
    assert "WindowFold" in folded.source
    assert folded.replay(given, flush=True).to_json() == plain.replay(given, flush=True).to_json()


def test_open_slots_of_stream_aggregates() -> None:
    given = rows(at(0, 0, 1, 1, 1))
    assert values(shown("|sum('v')", given, flush=False)) == [("26:40", 2)]
    assert values(shown("|sum('v')", given)) == [("26:40", 2), ("26:41", 3)]
    assert values(shown("|last('v')", given)) == [("26:40", 1), ("26:41", 1)]


def test_the_last_time_of_grouped_batches() -> None:
    given = rows(at(0, 4, 11))
    chain = "|window().period(10s).every(10s)|groupBy('host')|count('v')"
    assert values(shown(chain, given, flush=False)) == []
    assert values(shown(chain, given)) == [("26:50", 2), ("27:01", 1)]


def test_flatten_and_combine() -> None:
    points: list[Point] = [
        (t, {"host": "a", "r": r}, {"v": v}) for t, r, v in ((0, "x", 1.0), (0, "y", 2.0), (1, "x", 3.0), (1, "y", 4.0))
    ]
    found = shown("|flatten().on('r')", rows(points))
    assert [f["series"][0]["values"][0][1:] for f in found] == [[1, 2], [3, 4]]
    pairs = "|combine(lambda: TRUE, lambda: TRUE).as('l', 'r')"
    assert len(shown(pairs, rows(points), flush=False)) == 1
    assert len(shown(pairs, rows(points))) == 2


def test_a_join_of_windows() -> None:
    script = (
        "var a = stream|from().groupBy('host')|window().period(10s).every(10s)|count('v')\n"
        "var b = stream|from().groupBy('host')|window().period(10s).every(10s)|max('v')\n"
        "a|join(b).as('a', 'b')|httpOut('x')"
    )
    found = tickc.compile(script).replay(rows(at(0, 4, 11, 13)), flush=True).to_json()["sinks"]["x"]
    assert [f["series"][0]["values"][0][0][14:-1] for f in found] == ["26:50", "27:01"]


CHAINS = [
    "|window().period(10s).every(5s)|sum('v')",
    "|window().period(10s).every(10s)|mean('v')",
    "|window().periodCount(5).everyCount(3)|sum('v')",
    "|mean('v')",
    "|first('v')",
    "|window().period(10s).every(10s)|groupBy('dc')",
    "|flatten().on('dc').tolerance(5s)",
    "|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').tolerance(5s)",
]


@pytest.mark.parametrize("chain", CHAINS)
def test_cuts_and_snapshots_change_nothing(chain: str) -> None:
    chance = random.Random(chain)
    given = noisy(chance, 60)
    task = tickc.compile(f"stream|from().groupBy('host'){chain}|httpOut('x')")
    whole = task.replay(given, flush=True).to_json()
    assert len(whole["sinks"]["x"]) > len(task.replay(given).to_json()["sinks"].get("x", []))
    assert task.replay(pieces(given, range(len(given))), flush=True).to_json() == whole
    for cut in (chance.randrange(len(given)), len(given)):  # the last: nothing follows the snapshot
        first, second, collected = task.build(), task.build(), Results(task.name)
        for output in first.run([given.take(slice(0, cut))], last=False):
            collected.add(output)
        second.restore(decode(encode(first.snapshot())))
        for output in second.run([given.take(slice(cut, None))] if cut < len(given) else [], flush=True):
            collected.add(output)
        assert collected.to_json() == whole


# -- the command line

DEADMAN = """
stream
    |from().measurement('m').groupBy('host')
    |deadman(0.0, 10s).stateChangesOnly().log('dead')
stream
    |from().measurement('m').groupBy('host')
    |window().period(1h).every(1h)
    |count('v')
    |httpOut('hours')
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A script, and a recording in line protocol with a gap of more than a minute."""
    script, recording = tmp_path / "task.tick", tmp_path / "data.srpl"
    script.write_text(DEADMAN)
    times = [*range(0, 60, 5), *range(123, 160, 5)]
    lines = [f"db\nrp\nm,host=a v=1 {1_600_000_000 + t}000000000\n" for t in times]
    recording.write_text("".join(lines))
    return str(script), str(recording)


def replayed(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, ["replay", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_replay_is_as_kapacitor_unless_told(files: tuple[str, str]) -> None:
    script, recording = files
    assert replayed(script, "--recording", recording) == {"sinks": {}, "alerts": {}, "writes": {}}


def test_replay_on_the_time_of_the_data(files: tuple[str, str]) -> None:
    script, recording = files
    found = replayed(script, "--recording", recording, "--clock", "data")
    assert [e["level"] for e in found["alerts"]["dead"]] == ["CRITICAL", "OK"]
    assert found["sinks"] == {}


def test_replay_with_flush(files: tuple[str, str]) -> None:
    script, recording = files
    found = replayed(script, "--recording", recording, "--flush")
    assert found["alerts"] == {}
    assert found["sinks"]["hours"][0]["series"][0]["values"] == [["2020-09-13T13:26:40Z", 20]]


def test_backfill_is_on_the_time_of_the_data(files: tuple[str, str], tmp_path: Path) -> None:
    script, recording = files
    task = tickc.compile(DEADMAN)
    assert task.backfill(recording)["dead"].column("level").to_pylist() == ["CRITICAL", "OK"]
    assert task.backfill(recording, clock="wall")["dead"].num_rows == 0
    assert task.backfill(recording)["hours"].num_rows == 0
    assert task.backfill(recording, flush=True)["hours"].num_rows == 1
    out = tmp_path / "out"
    arguments = ["backfill", script, "--input", recording, "--output", str(out), "--json", "--quiet", "--flush"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["alerts"] == {"CRITICAL": 1, "OK": 1}


def test_a_clock_that_there_is_not(files: tuple[str, str]) -> None:
    script, recording = files
    result = CliRunner().invoke(cli, ["replay", script, "--recording", recording, "--clock", "moon"])
    assert result.exit_code == 2


def test_a_module_that_is_run_by_itself(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    from tickc.runtime.command import main

    task = tickc.compile(DEADMAN)

    def sinks(*arguments: str) -> set[str]:
        assert main(task.build, task.module.READS, ["--input", files[1], *arguments]) == 0
        return {json.loads(line)["sink"] for line in capsys.readouterr().out.splitlines()}

    assert sinks() == {"dead"}
    assert sinks("--clock", "wall", "--flush") == {"hours"}
