"""Parts of history run by themselves, with the points before them that the plan asks for."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import tickc
from tickc.cli import cli
from tickc.compiler import compile_script
from tickc.runtime.sources.base import Unsuitable
from tickc.runtime.times import duration

SECOND = 1_000_000_000
START = 1_600_000_000 * SECOND
STEP, STEPS = 10 * SECOND, 900
HOSTS = ("a", "b", "c")
BOUNDED = {
    "rows": '|where(lambda: "v" > 30)|eval(lambda: "v" * 2).as(\'w\')',
    "aligned": "|window().period(1m).every(1m).align()|mean('v')",
    "overlapping": "|window().period(5m).every(1m).align()|percentile('v', 90.0)",
    "filled": "|window().period(5m).every(1m).align().fillPeriod()|sum('v')",
    "at every point": "|window().period(2m)|max('v')",
    "by count": "|window().periodCount(12).everyCount(1)|mean('v')",
    "of windows": "|window().period(3m).every(1m).align()|sum('v')|difference('sum')|difference('difference')",
    "sequence": "|derivative('v').nonNegative()|shift(-2m)|window().period(1m).every(30s).align()|last('v')",
}
UNBOUNDED = {
    "|window().period(1m).every(1m)|mean('v')": "window2",
    "|window().periodCount(10).everyCount(5)|mean('v')": "window2",
    "|eval(lambda: sigma(\"v\")).as('s')": "eval2",
    '|stateDuration(lambda: "v" > 50)': "state_duration2",
    "|cumulativeSum('v')": "cumulativeSum2",
    "|movingAverage('v', 3)": "movingAverage2",
    "|sample(3)": "sample2",
    '|alert().crit(lambda: "v" > 50)': "alert2",
}


def script(chain: str) -> str:
    return f"stream|from().measurement('m').groupBy('host'){chain}|httpOut('out')"


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A point of each of three hosts every ten seconds, in files that end anywhere."""
    chance = random.Random(7)
    times = [START + i * STEP for i in range(STEPS) for _ in HOSTS]
    table = pa.table({
        "time": pa.array(times, pa.timestamp("ns")),
        "host": [host for _ in range(STEPS) for host in HOSTS],
        "v": [chance.randint(0, 100) for _ in times],
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("points")
    pq.write_table(table.slice(0, 1111), folder / "1.parquet")
    pq.write_table(table.slice(1111), folder / "2.parquet")
    return folder


def rows(found: dict[str, Any]) -> list[Any]:
    return [row for name in sorted(found) for row in found[name].to_pylist()]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", list(BOUNDED))
def test_parts_are_the_whole(points: Path, kind: str, workers: int) -> None:
    bound = compile_script(script(BOUNDED[kind])).plans[0][1].history()
    assert bound is not None
    reach, n = bound
    task = tickc.compile(script(BOUNDED[kind]), name="t")
    whole = rows(task.backfill(points))
    edges = [START, *sorted(random.Random(kind).sample(range(START + SECOND, START + STEPS * STEP), 4)), None]
    parts: list[Any] = []
    for start, stop in pairwise(edges):
        # n points of a stage are as long as its longest step, a minute
        found = task.backfill(
            points, start=start, stop=stop, warm_up=reach + n * 60 * SECOND, workers=workers, batch_rows=100
        )
        parts += rows(found)
    assert parts == whole and whole


@pytest.mark.parametrize("chain", list(UNBOUNDED))
def test_plans_without_a_bound(points: Path, chain: str) -> None:
    plan = compile_script(script(chain)).plans[0][1]
    assert plan.history() is None
    assert UNBOUNDED[chain] in plan.show_history().splitlines()[-1]


def test_shorter_is_not_enough(points: Path) -> None:
    task = tickc.compile(script(BOUNDED["overlapping"]), name="t")
    start = START + 1000 * SECOND
    warm = rows(task.backfill(points, start=start, warm_up="6m"))
    assert warm == rows(task.backfill(points))[-len(warm) :]
    cold = rows(task.backfill(points, start=start))
    assert cold[: len(HOSTS)] != warm[: len(HOSTS)]


def test_levels_are_warm(points: Path) -> None:
    """An alert that goes on at a level makes no event for it once more, and what comes before is not written."""
    text = script("|alert().crit(lambda: \"v\" >= 0).stateChangesOnly().log('a')")
    task = tickc.compile(text, name="t")
    start = START + 500 * SECOND
    assert len(rows(task.backfill(points, start=start))) == 2 * len(HOSTS)  # the log's, and what went on to httpOut
    assert rows(task.backfill(points, start=start, warm_up="1m")) == []


def test_in_a_set(points: Path, tmp_path: Path) -> None:
    chains = [BOUNDED[kind] for kind in ("aligned", "overlapping", "rows", "aligned", "aligned", "aligned")]
    tasks = [tickc.compile(script(chain), name=f"t{i}") for i, chain in enumerate(chains)]
    start = START + 777 * SECOND
    found = tickc.backfill_all(tasks, points, start=start, warm_up="10m").tables
    for task in tasks:
        assert rows(found[task.name]) == rows(task.backfill(points, start=start, warm_up="10m"))


def test_a_run_that_was_broken_off_while_it_warmed_up(points: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(source: Any, summary: Any) -> None:
        if summary.points_read > 700:
            raise Killed

    task = tickc.compile(script(BOUNDED["overlapping"]), name="t")
    options: dict[str, Any] = {"start": START + 8000 * SECOND, "warm_up": "2h", "batch_rows": 100, "workers": 1}
    with pytest.raises(Killed):
        task.backfill(points, tmp_path / "out", checkpoint=0, on_step=kill, **options)
    task.backfill(points, tmp_path / "out", resume=True, **options)
    summary = json.loads((tmp_path / "out" / "_tickc.json").read_text())
    assert any("broken off" in note for note in summary["notes"])
    assert pq.read_table(tmp_path / "out" / "out").to_pylist() == rows(task.backfill(points, **options))


def test_command(points: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.tick"
    path.write_text(script(BOUNDED["overlapping"]))
    told = CliRunner().invoke(cli, ["show", str(path), "--history"])
    assert told.exit_code == 0
    assert (
        told.stdout.splitlines()[-1] == "in all: 6m and 1 point of each group, where each group has points all the time"
    )
    run = ["backfill", str(path), "--input", str(points), "--output", str(tmp_path / "out")]
    bad = CliRunner().invoke(cli, [*run, "--warm-up", "6m"])
    assert bad.exit_code == 2 and "--warm-up: only with --start." in bad.stderr
    bad = CliRunner().invoke(cli, [*run, "--start", str(START), "--warm-up", "6 minutes"])
    assert bad.exit_code == 2 and "expected is one such as 90s, 10m or 1h30m" in bad.stderr
    good = CliRunner().invoke(cli, [*run, "--start", str(START + 3600 * SECOND), "--warm-up", "6m", "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["points_read"] == (STEPS - 324) * len(HOSTS)


def test_batch_tasks_ask_for_what_they_need(points: Path) -> None:
    task = tickc.compile("batch|query('SELECT mean(v) FROM db.rp.m').period(1m).every(1m)|httpOut('out')", name="t")
    with pytest.raises(Unsuitable, match="a batch task cannot be warmed up"):
        task.backfill(points, start=START, warm_up="6m")


@pytest.mark.parametrize(
    ("text", "ns"), [("90s", 90 * SECOND), ("1h30m", 5400 * SECOND), ("1d", 86_400 * SECOND), ("5u", 5000)]
)
def test_lengths_of_time(text: str, ns: int) -> None:
    assert duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "-5m", "1.5h", "5 m", "m"])
def test_no_lengths_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no length of time"):
        duration(text)
