"""A backfill leaves the same bytes in whatever batches it reads, on however many threads, and after it was killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_golden import BUILT, Case
from test_pipelines import pipelines, point, rows_of

import tickc
from tickc.compiler.diagnostics import TickError
from tickc.runtime import queries, rooms
from tickc.runtime.graph import TaskFailed
from tickc.runtime.nodes import waiting
from tickc.runtime.nodes.loop import Loop
from tickc.runtime.sinks import parts
from tickc.runtime.sources.recording import write_recording
from tickc.task import Task

WORKERS = (1, 2, 3, 8)
MEMORY = (None, 1)
CALLS = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are killed here, not machines, so nothing has to reach the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(rooms, "LEAST", 1)  # what memory cannot hold goes to files, however little it is
    monkeypatch.setattr(waiting, "LEAST", 1)


def digest(folder: Path) -> dict[str, str]:
    """The files of a folder but for the summary, which tells how long a run took."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "_tickc.json"
    }


def told(folder: Path) -> Any:
    """What the summary of a run that came to its end tells of points and events."""
    path = folder / "_tickc.json"
    if not path.exists():
        return None
    summary = json.loads(path.read_text())
    return [summary[key] for key in ("points_read", "points_entered", "left_out", "dropped", "sinks", "alerts")]


def left_by(task: Task, source: Path, folder: Path, **options: Any) -> dict[str, str] | str:
    """What a backfill leaves, or why it failed."""
    try:
        task.backfill(source, folder, **options)
    except TaskFailed as error:
        return str(error)
    return digest(folder)


def killed_at(number: int, action: Callable[[Callable[..., None]], Any]) -> bool:
    """Do something in a process that is killed at the `number`-th call that it makes to change the file system, or of
    what `action` is given; whether it came to that."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        return os.WIFSIGNALED(status)
    left = number

    def tick(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def ticking(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **more: Any) -> Any:
            tick()
            return call(*arguments, **more)

        return made

    for name in CALLS:
        setattr(os, name, ticking(getattr(os, name)))
    try:
        action(tick)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def killed_and_resumed(
    task: Task, source: Path, folder: Path, chance: random.Random, latest: int = 250, **options: Any
) -> int:
    """Kill a run at random moments until it comes to an end; returns how often it was killed."""
    kills = 0
    while killed_at(
        chance.randrange(5, latest),
        lambda tick: task.backfill(
            source,
            folder,
            batch_rows=chance.choice([1, 3, 10, 100]),
            workers=chance.choice(WORKERS),
            memory=chance.choice(MEMORY),
            resume=True,
            checkpoint=0.0,
            on_step=tick,
            **options,
        ),
    ):
        kills += 1
    return kills


@settings(
    max_examples=30,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes too long where processes are killed
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=pipelines(), points=st.lists(point, min_size=1, max_size=40), seed=st.integers(0, 10**6))
def test_generated_scripts(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, script: str, points: Any, seed: int
) -> None:
    monkeypatch.setattr(Loop, "WORTH", 0)
    monkeypatch.setattr(parts, "ROW_GROUP", 8)
    monkeypatch.setattr(parts, "PART", 24)
    folder, chance = tmp_path_factory.mktemp("ways"), random.Random(seed)
    source = folder / "in.srpl"
    write_recording(source, [rows_of(points)])
    task = tickc.compile(script)
    form = chance.choice(["parquet", "arrow", "jsonl", "lp"])
    wanted = left_by(task, source, folder / "whole", format=form, workers=1)
    for size, workers in ((1, chance.choice(WORKERS)), (2, 3), (7, 8)):
        ways: dict[str, Any] = {"format": form, "batch_rows": size, "workers": workers, "memory": chance.choice(MEMORY)}
        assert left_by(task, source, folder / f"batches of {size}", **ways) == wanted
        assert told(folder / f"batches of {size}") == told(folder / "whole")
    existing = chance.choice([True, False])
    if existing:
        (folder / "killed").mkdir()
    killed_and_resumed(task, source, folder / "killed", chance, format=form)
    assert digest(folder / "killed") == wanted
    assert told(folder / "killed") == told(folder / "whole")
    assert killed_and_resumed(task, source, folder / "killed", chance, format=form, overwrite=True) == 0
    assert digest(folder / "killed") == wanted
    assert not list(folder.glob("**/*tickc-run*"))


def of_files(folder: Path) -> tuple[Task, Path, dict[str, Any]] | None:
    """A golden case that a backfill can run: its task, its input, and how it is read."""
    case = Case(folder)
    source = next((path for path in (case.stream, case.data) if path.exists()), None)
    if source is None:
        return None
    try:
        return case.compile(), source, dict(case.range)
    except TickError:
        return None


@pytest.mark.parametrize("folder", BUILT)
def test_golden_cases(folder: Path, tmp_path: Path) -> None:
    found = of_files(folder)
    if found is None:
        return
    task, source, options = found
    chance = random.Random(folder.name)
    wanted = left_by(task, source, tmp_path / "whole", workers=1, **options)
    ways = {"batch_rows": chance.choice([1, 3, 7]), "workers": chance.choice(WORKERS), "memory": chance.choice(MEMORY)}
    assert left_by(task, source, tmp_path / "in batches", **ways, **options) == wanted
    assert told(tmp_path / "in batches") == told(tmp_path / "whole")
    if isinstance(wanted, dict) and not options:
        killed_and_resumed(task, source, tmp_path / "killed", chance, **options)
        assert digest(tmp_path / "killed") == wanted


QUERIES = """
var a = batch
    |query('SELECT mean("v") AS v, last("s") AS s, count("n") AS n FROM "db"."rp"./m|k/')
        .period(20s)
        .every(7s)
        .groupBy('host', time(5s))
        .fill('previous')
var b = batch
    |query('SELECT difference(max("n")) AS d FROM "db"."rp"."m"')
        .period(15s)
        .every(5s)
        .groupBy(time(5s))
a
    |alert()
        .crit(lambda: "v" > 2.0)
        .stateChangesOnly()
        .log('a')
a|join(b).as('a', 'b').tolerance(5s)|httpOut('joined')
batch
    |query('SELECT *, "v" + 1 FROM "db"."rp"."m" GROUP BY * SLIMIT 2')
        .period(9s)
        .cron('*/3 * * * * * *')
    |influxDBOut()
        .database('out')
"""


@pytest.mark.parametrize("seed", range(3))
def test_queries_over_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int) -> None:
    """A batch task over two files that overlap in time; its queries are answered while points come."""
    monkeypatch.setattr(queries, "WAIT", 6)
    monkeypatch.setattr(parts, "ROW_GROUP", 8)
    chance = random.Random(seed)
    files: list[list[str]] = [[], []]
    for second in range(0, 240):
        for host in "abc":
            if chance.random() < 0.4 and not 90 < second < 130:
                name, n = chance.choice("mmk"), chance.choice(["1i", "2i", "5i", "2.5"])
                tags = "" if chance.random() < 0.1 else f",host={host}"
                fields = f'v={chance.randrange(50) / 10},n={n},s="{chance.choice("xyz")}"'
                stamp = 1_599_695_900_000_000_000 + second * 1_000_000_000  # a shard of InfluxDB begins within
                files[name == "k"].append(f"{name}{tags} {fields} {stamp}\n")
    for i, lines in enumerate(files):
        (tmp_path / f"{i}.lp").write_text("".join(lines))
    task, source = tickc.compile(QUERIES), tmp_path / "*.lp"
    wanted = left_by(task, source, tmp_path / "whole", workers=1)
    assert len(wanted) > 3
    assert left_by(task, source, tmp_path / "one by one", batch_rows=1) == wanted
    assert killed_and_resumed(task, source, tmp_path / "killed", chance, 40)
    assert digest(tmp_path / "killed") == wanted
