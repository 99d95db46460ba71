"""Batch tasks whose queries a real InfluxDB answers: Kapacitor's results, and a server that goes away."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from golden_compare import differences
from influxd import Influxd

import tickc
from tickc.runtime.influxdb.address import parse
from tickc.runtime.influxdb.client import Server
from tickc.runtime.queries import ServerRuns
from tickc.runtime.results import Results
from tickc.runtime.settings import SettingsError
from tickc.runtime.sources.base import SourceError
from tickc.runtime.times import nanoseconds

CASES = sorted(p.parent for p in (Path(__file__).parents[1] / "golden").glob("influx_*/data.lp"))
SECOND = 1_000_000_000
MEAN = """batch|query('SELECT mean(v) AS mean, count(n) FROM "{db}"."autogen"."m"')
    .period(10s).every(10s).groupBy('k'){more}|httpOut('means')"""


@pytest.mark.parametrize("folder", [pytest.param(c, id=c.name) for c in CASES])
def test_golden(influxd: Influxd, folder: Path) -> None:
    influxd.query('DROP DATABASE "db"')
    influxd.query('CREATE DATABASE "db" WITH DURATION INF REPLICATION 1 NAME "rp"')
    influxd.write((folder / "data.lp").read_text(), "db", "rp")
    script = (folder / "case.tick").read_text()
    compare = folder / "compare.json"
    order = json.loads(compare.read_text())["order"] if compare.exists() else "total"
    bounds = {k: nanoseconds(v) for k, v in json.loads((folder / "range.json").read_text()).items()}
    task = tickc.compile(script, name=folder.name)
    graph, results = task.build(), Results(folder.name)
    runs = ServerRuns(graph, bounds["start"] or 0, bounds["stop"], {"": Server(parse(influxd.url()))})
    for output in graph.run(runs):
        results.add(output)
    runs.close()
    expected = json.loads((folder / "expected.json").read_text())
    assert not list(differences(expected, results.to_json(), script, order))


def points(n: int) -> str:
    return "".join(f"m,k={'ab'[i % 2]} v={i * 0.1},n={i}i {i * SECOND}\n" for i in range(n))


def test_a_server_that_goes_away_is_waited_for(start_influxd: Any) -> None:
    server = start_influxd()
    database = server.database()
    server.write(points(3000), database)
    task = tickc.compile(MEAN.format(db=database, more=""))
    whole = task.backfill(source=server.url(), start=0, stop=3000 * SECOND)["means"]
    again: list[threading.Timer] = []

    def step(source: Any, summary: Any) -> None:
        if not again:  # after the first round
            server.kill()
            again.append(threading.Timer(1.0, server.start))
            again[0].start()

    interrupted = task.backfill(source=server.url(), start=0, stop=3000 * SECOND, on_step=step)["means"]
    assert again and whole.num_rows == 600
    assert interrupted.equals(whole)


def test_a_server_cannot_tell_when_queries_begin(influxd: Influxd) -> None:
    with pytest.raises(SourceError, match="cannot tell when the queries begin"):
        tickc.compile(MEAN.format(db="db", more="")).backfill(source=influxd.url())


def test_a_cluster_of_the_settings(influxd: Influxd, tmp_path: Path) -> None:
    from tickc.runtime.settings import load
    from tickc.task import Task

    database = influxd.database()
    influxd.write(points(100), database)
    text = MEAN.format(db=database, more=".cluster('other')")
    with pytest.raises(SettingsError, match=r"no .*influxdb.* named 'other'"):
        tickc.compile(text).backfill(source="influxdb://127.0.0.1:1", start=0, stop=100 * SECOND)
    config = tmp_path / "tickc.toml"
    config.write_text(f'[[influxdb]]\nname = "other"\nurls = ["{influxd.address}"]\n')
    task = tickc.compile(text)
    task = Task(task.name, task.source, task.module, task.lines, task.udfs, load(config))
    assert task.backfill(source=influxd.url(), start=0, stop=100 * SECOND)["means"].num_rows == 20
