"""Batch tasks over files that overlap in time and contradict each other: one answer, however they are read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from test_backfill_ways import digest, killed_and_resumed, unsynced

import tickc
from tickc.runtime import queries
from tickc.runtime.sinks import parts

__all__ = ["unsynced"]  # a fixture

START = 1_599_695_900_000_000_000  # a shard of InfluxDB begins within what follows
SECOND = 1_000_000_000
SCRIPT = """
var a = batch
    |query('SELECT sum("v") AS v, last("s") AS s, count("n") AS n FROM "db"."rp"./m|k/')
        .period(20s)
        .every(7s)
        .groupBy('host', time(5s))
        .fill('previous')
var b = batch
    |query('SELECT max("v") AS v FROM "db"."rp"."k"')
        .period(10s)
        .every(5s)
a
    |alert()
        .crit(lambda: "v" > 2.0)
        .stateChangesOnly()
        .log('a')
a|join(b).as('a', 'b').tolerance(5s)|httpOut('joined')
batch
    |query('SELECT * FROM "db"."rp"."m"')
        .period(9s)
        .every(9s)
        .groupBy('host')
    |influxDBOut()
        .database('out')
"""
Point = tuple[int, str, str, dict[str, Any]]  # time, measurement, host, fields


def points_of(chance: random.Random) -> list[Point]:
    """What a file holds, in order of time: few series, so that they meet those of others."""
    low = chance.choice([0, 0, 40, 100])
    times = sorted(chance.randrange(low, low + 80) for _ in range(chance.randrange(1, 70)))
    number = chance.choice([int, float])
    return [
        (START + t * SECOND, chance.choice("mk"), chance.choice("ab"),
         {"v": number(chance.randrange(9)), "n": chance.randrange(5), "s": chance.choice("xyz")})
        for t in times
    ]  # fmt: skip


def written(points: list[Point], path: Path, chance: random.Random) -> None:
    """The points as a file in the format of its ending; one of lines may have any type at any place, and bad lines."""
    if path.suffix == ".lp":
        with open(path, "w") as file:
            for time, name, host, fields in points:
                v, n = fields["v"], f"{fields['n']}{chance.choice(['', 'i', 'i', 'i'])}"
                file.write("nonsense\n" if chance.random() < 0.05 else "")
                s = f',s="{fields["s"]}"' if chance.random() < 0.8 else ""
                file.write(f"{name},host={host} v={v}{'i' if isinstance(v, int) else ''},n={n}{s} {time}\n")
        return
    fields = [f for *_, f in points]
    table = pa.table({
        "time": [t for t, *_ in points],
        "measurement": [m for _, m, *_ in points],
        "host": [h for _, _, h, _ in points],
        **{name: [f[name] for f in fields] for name in "vns"},
    })  # fmt: skip
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=chance.choice([3, 10, 100]))


def left_out(folder: Path) -> list[Any]:
    """What the summary says of points that were left out."""
    summary = json.loads((folder / "_tickc.json").read_text())
    return [summary[key] for key in ("points_read", "left_out", "first_left_out", "dropped")]


@pytest.mark.parametrize("seed", range(24))
def test_files_that_contradict_each_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(queries, "WAIT", chance.choice([1, 6, 50]))
    monkeypatch.setattr(parts, "ROW_GROUP", 8)
    source = []
    for i in range(chance.randrange(2, 5)):
        source.append(tmp_path / f"{i}{chance.choice(['.parquet', '.csv', '.lp'])}")
        written(points_of(chance), source[-1], chance)
    chance.shuffle(source)
    task = tickc.compile(SCRIPT, name="task")
    ways: dict[str, Any] = {"fields": ["v", "n", "s"], "tags": ["host"]} if chance.random() < 0.5 else {}
    if chance.random() < 0.3:
        ways |= {"start": START + 20 * SECOND, "stop": START + 120 * SECOND}

    def left(name: str, **more: Any) -> list[Any]:
        task.backfill(source, tmp_path / name, **ways, **more)
        return [digest(tmp_path / name), *left_out(tmp_path / name)]

    wanted = left("whole", workers=1)
    for size in (1, 2, 7):
        assert left(f"batches of {size}", batch_rows=size) == wanted
    other = tickc.compile(
        """batch|query('SELECT * FROM "db"."rp"."m"').period(9s).every(9s)|httpOut('m')""", name="other"
    )
    tickc.backfill_all([task, other], source, tmp_path / "set", batch_rows=chance.choice([1, 7, 1000]), **ways)
    assert digest(tmp_path / "set" / "task") == wanted[0]
    ordered = left("sorted", sort=True)
    assert [ordered[0], *ordered[1:3]] == [wanted[0], *wanted[1:3]]
    killed_and_resumed(task, source, tmp_path / "killed", chance, 60, **ways)
    assert [digest(tmp_path / "killed"), *left_out(tmp_path / "killed")] == wanted


@pytest.mark.parametrize("group", [2, 100])
def test_points_that_a_condition_leaves_out(tmp_path: Path, group: int) -> None:
    """They count nowhere for the type of a field, whatever readers let through: here that of the host `a`."""
    times = [START + second * SECOND for second in range(6)]
    hosts, numbers = list("bbabab"), [None, None, 1, None, None, None]
    pq.write_table(pa.table({"time": times, "host": hosts, "v": numbers}), tmp_path / "0.parquet", row_group_size=group)
    pq.write_table(pa.table({"time": times[3:], "host": ["b"] * 3, "v": [0.5, 1.5, 2.5]}), tmp_path / "1.parquet")
    query = r"""SELECT sum("v") FROM "db"."rp"."m" WHERE "host"::tag = \'b\' """
    task = tickc.compile(f"batch|query('{query}').period(1m).every(1m)|httpOut('v')")
    assert task.backfill(tmp_path)["v"]["sum"].to_pylist() == [4.5]
