"""The examples: every task compiles, and finds in the data what its comment promises, whatever file they come from."""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_data import EXAMPLES, script

import tickc
from tickc.compiler.diagnostics import Source
from tickc.compiler.syntax import format

TASKS = sorted(EXAMPLES.glob("*.tick"))
# measurement, tag that tells who is meant, sink, and the events: time, who, level
FOUND = {
    "cpu_alert": ("cpu", "host", "cpu", [("11:41:00", "web02", "CRITICAL"), ("12:06:00", "web02", "OK")]),
    "disk_forecast": ("disk", "host", "disk", [("11:05:00", "db01", "CRITICAL"), ("12:25:00", "db01", "OK")]),
    "error_rate": (
        "requests",
        "service",
        "errors",
        [
            ("11:41:00", "checkout", "WARNING"),
            ("11:43:00", "checkout", "CRITICAL"),
            ("11:49:00", "checkout", "WARNING"),
            ("11:51:00", "checkout", "CRITICAL"),
            ("12:06:00", "checkout", "WARNING"),
            ("12:09:00", "checkout", "OK"),
        ],
    ),
    "memory_levels": ("mem", "host", "memory", [("11:48:30", "web02", "WARNING"), ("11:57:00", "web02", "CRITICAL")]),
    "stalled_queue": (
        "queue",
        "queue",
        "queue",
        [("11:47:15", "orders", "WARNING"), ("11:50:15", "orders", "CRITICAL"), ("12:05:00", "orders", "OK")],
    ),
}


def run(name: str, path: Path) -> dict[str, pa.Table]:
    tables: dict[str, pa.Table] = tickc.compile((EXAMPLES / f"{name}.tick").read_text(), name=name).backfill(path)
    return tables


def clock(time: datetime.datetime) -> str:
    assert time.date() == datetime.date(2024, 5, 14)
    return f"{time:%H:%M:%S}"


@pytest.mark.parametrize("file", ["parquet", "lines"])
@pytest.mark.parametrize("name", FOUND)
def test_the_incident_is_found(name: str, file: str, example_data: Path) -> None:
    measurement, who, sink, wanted = FOUND[name]
    path = example_data / ("all.lp" if file == "lines" else f"{measurement}.parquet")
    events = run(name, path)[sink].select(["time", who, "level"]).to_pylist()
    assert [(clock(e["time"]), e[who], e["level"]) for e in events] == wanted


def test_latency_percentiles(example_data: Path) -> None:
    rows = run("latency_percentiles", example_data / "requests.parquet")["summaries.forever"].to_pylist()
    p95 = {(r["service"], clock(r["time"])): r["p95"] for r in rows if r["p95"] is not None}
    p50 = {key: True for r in rows if r["p50"] is not None for key in [(r["service"], clock(r["time"]))]}
    assert p95.keys() == p50.keys() and len(p95) == 3 * 359
    slow = {key for key, value in p95.items() if value > 700.0}
    assert slow and all(service == "checkout" and "11:41:00" <= time <= "12:06:00" for service, time in slow)
    assert len(slow) >= 20


def test_every_task_is_tested_and_described() -> None:
    assert {path.stem for path in TASKS} == {*FOUND, "latency_percentiles"}
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"{path.stem}.tick" in page for path in TASKS)


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_tasks_are_formatted_and_explained(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == format(Source(text, path.name))
    assert text.startswith("// ")


def test_data_are_what_the_seed_gives(example_data: Path, tmp_path: Path) -> None:
    """Made once more they are the same; the committed sample is a part of them; there are gaps in them."""
    script("make_data").write(tmp_path)
    names = {path.name for path in example_data.iterdir()}
    assert names == {"all.lp", "cpu.parquet", "disk.parquet", "mem.parquet", "queue.parquet", "requests.parquet"}
    lines = (example_data / "all.lp").read_text()
    assert lines == (tmp_path / "all.lp").read_text()
    assert (EXAMPLES / "sample.lp").read_text() in lines
    cpu = pq.read_table(example_data / "cpu.parquet")
    web03 = cpu.filter(pa.compute.equal(cpu["host"], "web03"))["time"].to_pylist()
    gap = max((b - a, clock(a)) for a, b in itertools.pairwise(web03))
    assert gap[0] > datetime.timedelta(minutes=15) and gap[1].startswith("10:09")


def test_show_alerts(tmp_path: Path) -> None:
    """Events of several sinks, in order of time."""
    (tmp_path / "b.jsonl").write_text('{"time": "2024-05-14T11:00:00Z", "level": "OK"}\n')
    (tmp_path / "a.jsonl").write_text('{"time": "2024-05-14T12:00:00Z", "level": "INFO"}\n')
    assert [e["level"] for e in script("show_alerts").alerts(tmp_path)] == ["OK", "INFO"]
