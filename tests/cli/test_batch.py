"""Batch tasks on the command line: recordings, data in place of a database, backfills, and what is wrong with them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_cases import SECOND, START, Tickc, lines

MEANS = """batch
    |query('SELECT mean("usage") AS usage, count("seen") AS n FROM "db"."rp"."cpu"')
        .period(2m)
        .every(2m)
        .groupBy('host')
    |httpOut('means')
    |alert()
        .crit(lambda: "usage" > 50.0)
        .stateChangesOnly()
        .log('alerts')
"""
TWO = """
var a = batch|query('SELECT max("usage") AS v FROM "db"."rp"."cpu"').period(2m).every(2m).groupBy('host')
var b = batch|query('SELECT min("usage") AS v FROM "db"."rp"."cpu"').period(4m).every(4m).groupBy('host')
a|join(b).as('hi', 'lo')|httpOut('joined')
"""
RANGE = ("--start", "2024-01-01T00:00:00Z", "--stop", "2024-01-01T00:20:00Z")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "means.tick"
    path.write_text(MEANS)
    return path


def batch(minute: int, value: float) -> str:
    point = {"fields": {"v": value}, "time": f"2024-01-01T00:{minute:02}:00Z"}
    tags = {"host": "h0"}
    return json.dumps({"name": "cpu", "tmax": f"2024-01-01T00:{minute + 1:02}:00Z", "tags": tags, "points": [point]})


def values(results: str, sink: str) -> list[Any]:
    return [row["values"] for entry in json.loads(results)["sinks"][sink] for row in entry["series"]]


def test_recordings_are_numbered_from_the_last_query(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "two.tick").write_text(TWO)
    (tmp_path / "0.brpl").write_text(batch(0, 1.0) + "\n" + batch(2, 2.0) + "\n")
    (tmp_path / "1.brpl").write_text(batch(0, 3.0) + "\nnot a batch\n" + batch(2, 4.0) + "\n")
    done = tickc("replay", "two.tick", "--recording", "0.brpl", "--recording", "1.brpl")
    assert done.returncode == 0
    assert values(done.stdout, "joined") == [
        [["2024-01-01T00:00:00Z", 3, 1]],
        [["2024-01-01T00:02:00Z", 4, 2]],
    ]
    assert "1 batch left out of the input:" in done.stderr
    assert "1.brpl: line 2 char 1: not a batch" in done.stderr
    wrong = tickc("replay", "two.tick", "--recording", "0.brpl")
    assert wrong.returncode == 2
    assert "each query needs its recording: the script has 2, and 1 were given" in wrong.stderr


def test_data_in_place_of_a_database(tickc: Tickc, script: Path, points: Path) -> None:
    done = tickc("replay", script, "--data", points, "--db", "db", "--rp", "rp", *RANGE)
    assert done.returncode == 0 and not done.stderr
    found = values(done.stdout, "means")
    assert len(found) == 20  # ten runs, two hosts
    assert found[0] == [["2024-01-01T00:00:00Z", 6, 12.666666666666666]]
    levels = [event["level"] for event in json.loads(done.stdout)["alerts"]["alerts"]]
    assert levels == ["CRITICAL", "OK"]


def test_the_order_of_the_data_does_not_matter(tickc: Tickc, script: Path, tmp_path: Path) -> None:
    (tmp_path / "there.lp").write_text(lines(120))
    (tmp_path / "back.lp").write_text("".join(f"{x}\n" for x in reversed(lines(120).splitlines())))
    there, back = (
        tickc("replay", script, "--data", f"{name}.lp", "--db", "db", "--rp", "rp", *RANGE).stdout
        for name in ("there", "back")
    )
    assert there == back


def test_a_backfill_gives_what_a_replay_gives(tickc: Tickc, script: Path, points: Path, tmp_path: Path) -> None:
    replayed = tickc("replay", script, "--data", points, "--db", "db", "--rp", "rp", *RANGE)
    done = tickc("backfill", script, "--input", points, "--output", "out", *RANGE)
    assert done.returncode == 0
    rows = pq.read_table(tmp_path / "out/means").to_pylist()
    assert [[r["n"], r["usage"]] for r in rows] == [[float(n), u] for [[_, n, u]] in values(replayed.stdout, "means")]
    assert (tmp_path / "out/alerts.jsonl").read_text().count("\n") == 2


def test_a_backfill_begins_with_the_first_point_and_ends_with_the_last(
    tickc: Tickc, script: Path, tmp_path: Path
) -> None:
    late = "".join(f"cpu,host=h0 usage={i},seen={i}i {START + (90 + i) * SECOND}\n" for i in range(100))
    (tmp_path / "late.lp").write_text(late)
    done = tickc("backfill", script, "--input", "late.lp", "--output", "out")
    assert done.returncode == 0
    rows = pq.read_table(tmp_path / "out/means").to_pylist()
    assert [(r["time"].minute, r["n"]) for r in rows] == [(0, 30.0), (2, 70.0)]


@pytest.mark.parametrize("batch_rows", [1, 7, 65_536])
def test_files_side_by_side(tickc: Tickc, script: Path, points: Path, tmp_path: Path, batch_rows: int) -> None:
    """A file a host: runs wait for the points of all files."""
    own = points.read_text().splitlines(keepends=True)
    (tmp_path / "parts").mkdir()
    for host in ("h0", "h1"):
        (tmp_path / f"parts/{host}.lp").write_text("".join(x for x in own if f"host={host}" in x))
    tickc("backfill", script, "--input", points, "--output", "whole", *RANGE)
    done = tickc("backfill", script, "--input", "parts", "--output", "out", *RANGE, "--batch-rows", batch_rows)
    assert done.returncode == 0
    assert pq.read_table(tmp_path / "out/means").equals(pq.read_table(tmp_path / "whole/means"))


def test_a_module_runs_by_itself(tickc: Tickc, script: Path, points: Path, environment: dict[str, str]) -> None:
    assert tickc("compile", script, "-o", script.with_suffix(".py")).returncode == 0
    command = [sys.executable, str(script.with_suffix(".py")), "--input", str(points), *RANGE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert sum(json.loads(line)["sink"] == "means" for line in done.stdout.splitlines()) == 20


def test_what_the_task_may_not_ask(tickc: Tickc, script: Path, points: Path) -> None:
    script.write_text('dbrp "other"."rp"\n' + MEANS)
    done = tickc("replay", script, "--data", points, "--db", "db", "--rp", "rp", *RANGE)
    assert done.returncode == 1
    told = 'batch query is not allowed to request data from "db"."rp"'
    assert json.loads(done.stdout)["runtime_error"] == told
    assert told in done.stderr


def test_a_query_that_is_refused(tickc: Tickc, script: Path, points: Path) -> None:
    script.write_text(MEANS.replace('count("seen") AS n', '"seen"'))
    done = tickc("backfill", script, "--input", points, "--output", "out")
    assert done.returncode == 1
    assert "mixing aggregate and non-aggregate queries is not supported" in done.stderr


def test_a_range_without_points(tickc: Tickc, script: Path, points: Path, tmp_path: Path) -> None:
    late = ("--start", "2025-01-01T00:00:00Z", "--stop", "2025-01-01T00:20:00Z")
    done = tickc("replay", script, "--data", points, "--db", "db", "--rp", "rp", *late)
    assert done.returncode == 0 and json.loads(done.stdout)["sinks"] == {}
    done = tickc("backfill", script, "--input", points, "--output", "out", *late)
    assert done.returncode == 0
    assert "the inputs hold no points of cpu in the range of time" in done.stderr


@pytest.mark.parametrize("command", [("backfill", "--input", "x.lp", "--output", "o"), ("replay", "--data", "x.lp")])
def test_a_range_that_ends_before_it_begins(tickc: Tickc, script: Path, command: tuple[str, ...]) -> None:
    name, *given = command
    done = tickc(name, script, *given, "--start", "2024-01-02T00:00:00Z", "--stop", "2024-01-01T00:00:00Z")
    assert done.returncode == 2
    assert "--stop is before --start" in done.stderr
