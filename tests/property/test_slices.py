"""Slices of time at once leave the bytes of a run in order, whatever groups and values come and go, or are refused."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickc
from tickc.runtime import slices
from tickc.runtime.sources.base import SourceError, Unsuitable

SECOND = 1_000_000_000
START = 1_600_000_000 * SECOND
STAGES = (
    '|where(lambda: "v" > 10)',
    "|eval(lambda: \"v\" * 2).as('w').keep()",
    "|groupBy('rack')",
    "|groupBy('rack', 'host')",
    "|shift(5m)|where(lambda: TRUE)",
    "|derivative('v').unit(1s)",
    "|difference('v').as('v')",
    "|sample(1m)",
    "|flatten().on('host').delimiter('_').tolerance(1s)|eval(lambda: \"a_v\").as('v')",
)
WINDOWS = (
    ".period(1m).every(1m).align()",
    ".period(3m).every(1m).align()",
    ".period(2m).every(5m).align()",
    ".period(4m).every(2m).align().fillPeriod()",
    ".period(90s)",
    ".periodCount(4).everyCount(1)",
    ".periodCount(4).everyCount(1).fillPeriod()",
)
FUNCTIONS = ("mean", "count", "max", "last", "spread", "median")


def data(chance: random.Random, path: Path) -> None:
    """Hosts that report, fall silent for long, and appear late; values of one kind, or of another later on."""
    hosts = "abcdef"[: chance.randint(1, 6)]
    step = chance.choice([5, 10, 20])
    silent: dict[str, int] = {}
    rows: list[tuple[int, str, str, float]] = []
    born = {host: chance.choice([0, 0, 0, 700, 2000]) for host in hosts}
    for i in range(3000 // len(hosts)):
        for host in hosts:
            if i < born[host] // len(hosts) or silent.get(host, 0) > i or chance.random() < 0.05:
                continue
            if chance.random() < 0.004:
                silent[host] = i + chance.choice([3, 40, 400])
            at = START + (i * step + chance.choice([0, 0, 0, 1])) * SECOND
            rows.append((at, host, "r" + str(ord(host) % 2), float(chance.randint(0, 40))))
    rows.sort(key=lambda row: row[0])
    times, names, racks, values = zip(*rows)
    table = pa.table({"time": pa.array(times, pa.timestamp("ns")), "host": names, "rack": racks, "v": values})
    if chance.random() < 0.3:  # integers for a while
        n = chance.randrange(len(rows))
        ints = pa.array([int(v) if i >= n else None for i, v in enumerate(values)], pa.int64())
        floats = pa.array([v if i < n else None for i, v in enumerate(values)], pa.float64())
        table = table.set_column(3, "v", floats).append_column("v.int", ints)
        table = table.replace_schema_metadata({"tickc": '{"variants": {"v.int": ["v", "int"]}}'})
    pq.write_table(table, path, row_group_size=chance.choice([50, 128, 300]))


FOLDED = (  # what hangs on all points before
    "|window().period(1m).every(1m)|mean('v').as('v')",
    "|movingAverage('v', 3).as('v')",
    "|cumulativeSum('v').as('v')",
    '|stateDuration(lambda: "v" > 20)',
    "|changeDetect('v')",
    '|alert().warn(lambda: "v" > 15).crit(lambda: "v" > 30).stateChangesOnly().log(\'alerts\')',
    "|alert().id('all').crit(lambda: \"v\" > 35).topic('t').log('alerts')",
    "|groupBy('rack')|window().period(2m).every(2m).align()|groupBy(*)|max('v').as('v')",
)


def chain(chance: random.Random) -> str:
    text = "".join(chance.sample(STAGES, chance.randint(0, 2)))
    if chance.random() < 0.8:
        text += f"|window(){chance.choice(WINDOWS)}|{chance.choice(FUNCTIONS)}('v').as('v')"
        text += "".join(chance.sample(STAGES, chance.randint(0, 2)))
    if chance.random() < 0.5:
        text += "".join(chance.sample(FOLDED, chance.randint(1, 2)))
    return text


def script(chance: random.Random) -> str:
    group = chance.choice([".groupBy('host')", ".groupBy('rack')", ".groupBy('host', 'rack')", ".groupBy(*)", ""])
    start = f"stream|from().measurement('m'){group}"
    match chance.choice(["chain", "chain", "branches", "union", "join"]):
        case "branches":
            ends = "".join(f"x{chain(chance)}|httpOut('{name}')\n" for name in ("out", "o2", "o3"))
            return f"var x = {start}{chain(chance)}\n{ends}"
        case "union":
            return f"var x = {start}{chain(chance)}\nvar y = {start}{chain(chance)}\nx|union(y)|httpOut('out')"
        case "join":
            both = f"var x = {start}\nvar a = x{chain(chance)}\nvar b = x{chain(chance)}\n"
            return both + "a|join(b).as('a', 'b').tolerance(30s)|httpOut('out')"
    return f"{start}{chain(chance)}|httpOut('out')"


def left(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The bytes of the files of results, and what the summary counts."""
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    told = json.loads(files.pop("_tickc.json"))
    return files, {
        key: told[key] for key in ("points_read", "points_entered", "sinks", "alerts", "dropped", "left_out")
    }


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "LEAST", 200)
    monkeypatch.setattr(slices, "MOST", 400)


class Killed(Exception):
    pass


@pytest.mark.parametrize("seed", range(60))
def test_the_bytes_of_a_run_in_order(tmp_path: Path, seed: int) -> None:
    """Also where it was broken off, and another number of threads went on."""
    chance = random.Random(seed)
    points, parts = tmp_path / "in.parquet", tmp_path / "parts"
    data(chance, points)
    text = script(chance)
    task = tickc.compile(text, name="t")
    task.backfill(points, tmp_path / "whole")
    steps = itertools.count(1)
    kill_at = chance.choice([0, 2, 5, 9])

    def kill(*_: Any) -> None:
        if next(steps) == kill_at:
            raise Killed

    batch_rows = chance.choice([37, 200, None])
    with contextlib.suppress(Killed):
        task.backfill(points, parts, time_parallel=True, workers=3, batch_rows=batch_rows, checkpoint=0, on_step=kill)
    task.backfill(points, parts, time_parallel=True, workers=chance.choice([1, 2]), resume=True)
    assert left(parts) == left(tmp_path / "whole"), text


REFUSED = {
    "|eval(lambda: rand(10)).as('r')": "what from1_eval2 does hangs on all earlier points",
    "|barrier().idle(1m)": "barrier2 follows the clock",
}


@pytest.mark.parametrize("chain", list(REFUSED))
def test_refused(tmp_path: Path, chain: str) -> None:
    data(random.Random(1), tmp_path / "in.parquet")
    task = tickc.compile(f"stream|from().measurement('m').groupBy('host'){chain}|httpOut('out')", name="t")
    with pytest.raises(Unsuitable, match=f"slices of time would not give the same results: {REFUSED[chain]}"):
        task.backfill(tmp_path / "in.parquet", time_parallel=True)


def test_disorder_is_refused(tmp_path: Path) -> None:
    data(random.Random(4), tmp_path / "1.parquet")
    table = pq.read_table(tmp_path / "1.parquet")
    pq.write_table(table.slice(500, 100), tmp_path / "2.parquet")
    task = tickc.compile("stream|from().measurement('m')|where(lambda: \"v\" > 10)|httpOut('out')", name="t")
    with pytest.raises(Unsuitable, match="files, or their row groups, overlap in time"):
        task.backfill(tmp_path, tmp_path / "out", time_parallel=True)
    order = [*range(500), 560, *range(501, 560), 500, *range(561, len(table))]
    pq.write_table(table.take(order), tmp_path / "2.parquet", row_group_size=100)
    with pytest.raises(SourceError, match="is not in time order: row 501"):
        task.backfill(tmp_path / "2.parquet", tmp_path / "out", time_parallel=True)
    assert not (tmp_path / "out").exists()


def test_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.lp").write_text("m v=1 1\n")
    task = tickc.compile("stream|from().measurement('m')|httpOut('out')", name="t")
    with pytest.raises(Unsuitable, match="only Parquet files tell where a time is in them"):
        task.backfill(tmp_path / "in.lp", time_parallel=True)
