"""Tasks of a set leave what each leaves alone, whatever is gathered, and when the set is killed and gone on with."""

from __future__ import annotations

import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_backfill_ways import digest, killed_at, left_by, of_files, told
from test_golden import BUILT
from test_pipelines import SECOND, SHIFT, STREAM, pipelines, point, predicates, rows_of

import tickc
from tickc.runtime import alike, dispatch, many, prefixes, queries
from tickc.runtime.batch import Rows, Text
from tickc.runtime.nodes import alert
from tickc.runtime.nodes.loop import Loop
from tickc.runtime.sinks import parts
from tickc.runtime.sources.recording import write_recording
from tickc.task import Task

OTHERS = {
    "all": "stream|from()|httpOut('all')",
    "none": "stream|from().measurement('nobody')|httpOut('none')",
    "stats": "stream|from().groupBy(*)|barrier().period(2s)|window().period(3s).every(3s)|count('v')|httpOut('n')",
    "queries": """batch
    |query('SELECT count("v") AS n, last("v") AS v FROM "telegraf"."autogen"./m|k/')
        .period(3s)
        .every(2s)
        .groupBy('host', time(1s))
    |httpOut('n')
""",
}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are killed here, not machines, so nothing has to reach the disk."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("tickc.runtime.outputs.sync_all", lambda _: None)


def named(points: list[Any], names: list[str]) -> Rows:
    """The points, of measurements by turns."""
    return rows_of(points).with_(name=Text.of(names[i % len(names)] for i in range(len(points))))


def left_by_all(tasks: list[Task], source: Path, folder: Path, **options: Any) -> dict[str, dict[str, str] | str]:
    """What each task leaves when they run together, or why it failed."""
    together = tickc.backfill_all(tasks, source, folder, **options)
    failed = {name: reason.removeprefix("the task failed: ") for name, reason in together.failed.items()}
    assert {path.name for path in folder.iterdir()} == {*together.tasks} if together.tasks else not folder.exists()
    return {**failed, **{name: digest(folder / name) for name in together.tasks}}


@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes too long where processes are killed
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    scripts=st.lists(pipelines(), min_size=2, max_size=4),
    points=st.lists(point, min_size=1, max_size=40),
    seed=st.integers(0, 10**6),
)
def test_generated_scripts(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    scripts: list[str],
    points: Any,
    seed: int,
) -> None:
    folder, chance = tmp_path_factory.mktemp("many"), random.Random(seed)
    monkeypatch.setattr(parts, "ROW_GROUP", 8)
    monkeypatch.setattr(parts, "PART", 24)
    monkeypatch.setattr(queries, "WAIT", chance.choice([1, 5, 1 << 20]))
    monkeypatch.setattr(dispatch, "ENOUGH", chance.choice([1, 3, 1000]))
    monkeypatch.setattr(many, "HELD", chance.choice([0, 500, 1 << 20]))
    monkeypatch.setattr(many, "ENOUGH", chance.choice([1, 2, 100]))
    tags = ["", ".where(lambda: \"host\" == 'a')", '.where(lambda: "host" == \'b\' AND "n" > 1)']
    scripts = [re.sub(r"\|influxDBOut.*", "", script) if chance.choice([True, False]) else script for script in scripts]
    named_scripts = {
        f"t{i}": script.replace(".measurement('m')", f".measurement('{chance.choice('mk')}'){chance.choice(tags)}")
        for i, script in enumerate(scripts)
    }
    tasks = [tickc.compile(script, name=name) for name, script in {**named_scripts, **OTHERS}.items()]
    source = folder / "in.srpl"
    write_recording(source, [named(points, chance.choice([["m"], ["m", "k"], ["m", "k", "k", "other"]]))])
    form = chance.choice(["parquet", "arrow", "jsonl", "lp"])
    wanted = {task.name: left_by(task, source, folder / f"alone {task.name}", format=form) for task in tasks}
    for size in (1, 7, 1000):
        assert left_by_all(tasks, source, folder / f"batches of {size}", format=form, batch_rows=size) == wanted
    options: dict[str, Any] = {"format": form, "resume": True, "checkpoint": chance.choice([0.0, 60.0])}
    if chance.choice([True, False]):
        left_by_all(tasks[1:], source, folder / "killed", format="jsonl" if form == "lp" else "lp")
        options["overwrite"] = True
    while killed_at(
        chance.randrange(20, 600),
        lambda tick: tickc.backfill_all(
            tasks, source, folder / "killed", batch_rows=chance.choice([1, 3, 10]), on_step=tick, **options
        ),
    ):
        pass
    assert left_by_all(tasks, source, folder / "killed", **options) == wanted


ORDINARY = [
    "|window().period(3s).every(3s)|mean('v').as('v')|alert().crit(lambda: \"v\" > 2.0).stateChangesOnly().log('a')",
    "|alert().warn(lambda: \"v\" > 1.0).crit(lambda: \"n\" > 2).message('{{ .TaskName }} {{ .ID }}').log('a').log('b')",
    "|where(lambda: sigma(\"v\") > 0.5)|eval(lambda: \"v\" * 2.0).as('w').keep('v', 'w')",
    "|window().period(4s).every(4s).align()|sum('n').as('v')|where(lambda: \"v\" > 3)",
    "|alert().id('{{ index .Tags \"dc\" }}').crit(lambda: \"n\" > 1).noRecoveries().log('a')",
    "|window().period(2s).every(2s)|count('v')|alert().info(lambda: \"count\" > 1).flapping(0.2, 0.5).log('a')",
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rests=st.lists(st.sampled_from(ORDINARY), min_size=1, max_size=2),
    group=st.sampled_from(
        ["", ".groupBy('host')", ".groupBy('dc', 'host')", ".groupByMeasurement()", ".groupBy('no')"]
    ),
    where=st.sampled_from([None, '"n" < 4', 'isPresent("s")']),
    points=st.lists(point, min_size=1, max_size=60),
    tidy=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_tasks_that_are_alike(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    rests: list[str],
    group: str,
    where: str | None,
    points: Any,
    tidy: bool,
    seed: int,
) -> None:
    """tidy: the points are in order of time, and have a number each."""
    folder, chance = tmp_path_factory.mktemp("alike"), random.Random(seed)
    monkeypatch.setattr(many, "ENOUGH", chance.choice([1, 2]))
    monkeypatch.setattr(alike, "PIECE", chance.choice([1, 5, 1000]))
    if tidy:
        points = [(abs(step), host, dc, n / 2, n, s) for step, host, dc, _, n, s in points]
    each = [f".measurement('{name}')" for name in "mko"] if chance.choice([True, False]) else [
        f".measurement('m').where(lambda: \"host\" == '{host}')" for host in "abd"]  # fmt: skip
    more = "" if where is None else f"|where(lambda: {where})"
    scripts = [f"stream|from(){one}{group}{more}{rest}|httpOut('out')" for rest in rests for one in each]
    tasks = [tickc.compile(script, name=f"t{i}") for i, script in enumerate(scripts)]
    source = folder / "in.srpl"
    write_recording(source, [named(points, chance.choice([["m"], ["m", "k", "o"], ["m", "k", "k", "other"]]))])
    options: dict[str, Any] = {
        "format": chance.choice(["parquet", "arrow", "jsonl", "lp"]),
        "flush": chance.choice([True, False]),
    }
    wanted = {task.name: left_by(task, source, folder / f"alone {task.name}", **options) for task in tasks}
    for size in (3, 1000):
        assert left_by_all(tasks, source, folder / f"batches of {size}", batch_rows=size, **options) == wanted


FAILING = [
    "|alert().crit(lambda: \"v\" > 2.0).message('{{ slice (index .Tags \"dc\") 1 }}').log('f')",  # without a dc
    "|window().period(4s).every(4s)|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').max(3)",
    '|where(lambda: "s" > 1)',
]


@st.composite
def branching(draw: st.DrawFn) -> list[str]:
    """Scripts that grow from the beginnings of some chains, each from one or two places."""
    step = st.one_of(
        st.tuples(st.sampled_from(STREAM), predicates).map(lambda drawn: drawn[0](drawn[1])), st.sampled_from(FAILING)
    )
    begin = st.sampled_from(["", ".groupBy('host')", ".groupBy(*)", ".where(lambda: \"host\" == 'a')"])
    chains = [
        [f"stream|from().measurement('m'){draw(begin)}", *draw(st.lists(step, min_size=1, max_size=4))]
        for _ in range(draw(st.integers(1, 2)))
    ]
    scripts = []
    for _ in range(draw(st.integers(2, 5))):
        chain, lines = draw(st.sampled_from(chains)), list[str]()
        for i in range(draw(st.integers(1, 2))):
            shared = chain[: draw(st.integers(1, len(chain)))]
            own = [*draw(st.lists(step, max_size=2)), draw(st.sampled_from(["|httpOut('out')", f"|httpOut('{i}')"]))]
            steps = [a for a, b in zip([*shared, *own], ["", *shared, *own]) if not a == b == SHIFT]
            lines.append(f"var b{i} = {''.join(steps)}")
        scripts.append("\n".join([*lines, *(["b0|union(b1)|httpOut('both')"] if i and draw(st.booleans()) else [])]))
    return scripts


@settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes too long where processes are killed
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(scripts=branching(), points=st.lists(point, min_size=1, max_size=60), seed=st.integers(0, 10**6))
def test_tasks_that_begin_alike(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    scripts: list[str],
    points: Any,
    seed: int,
) -> None:
    folder, chance = tmp_path_factory.mktemp("prefixes"), random.Random(seed)
    monkeypatch.setattr(Loop, "WORTH", 0)
    monkeypatch.setattr(alert, "FEW", chance.choice([1, 8]))
    monkeypatch.setattr(dispatch, "ENOUGH", chance.choice([1, 3, 1000]))
    monkeypatch.setattr(prefixes, "GATHERED", chance.choice([1, 4, 1000]))
    monkeypatch.setattr(many, "GATHERED", chance.choice([1, 1000]))
    monkeypatch.setattr(many, "HELD", chance.choice([0, 500, 1 << 20]))
    without = chance.choice([(), (), None, ("prune_columns",), ("fuse_windows", "push_projection")])
    tasks = [tickc.compile(script, name=f"t{i}", without=without) for i, script in enumerate(scripts)]
    source = folder / "in.srpl"
    write_recording(source, [named(points, chance.choice([["m"], ["m", "m", "k"]]))])
    options: dict[str, Any] = {
        "format": chance.choice(["parquet", "arrow", "jsonl", "lp"]),
        "flush": chance.choice([True, False]),
    }
    if chance.choice([True, False]):
        options |= {"start": (1_600_000_000 + len(points) // 3) * SECOND, "warm_up": "1h"}
    wanted = {task.name: left_by(task, source, folder / f"alone {task.name}", **options) for task in tasks}
    with monkeypatch.context() as patch:
        patch.setattr(many, "families", lambda _: [])
        assert left_by_all(tasks, source, folder / "each by itself", **options) == wanted
    summaries = {task.name: told(folder / "each by itself" / task.name) for task in tasks}
    for size in (1, 7, 1000):
        together = folder / f"batches of {size}"
        assert left_by_all(tasks, source, together, batch_rows=size, **options) == wanted
        assert {task.name: told(together / task.name) for task in tasks} == summaries
    options |= {"resume": True, "checkpoint": 0.0}
    while killed_at(
        chance.randrange(20, 400),
        lambda tick: tickc.backfill_all(
            tasks, source, folder / "killed", batch_rows=chance.choice([1, 3, 10]), on_step=tick, **options
        ),
    ):
        pass
    assert left_by_all(tasks, source, folder / "killed", **options) == wanted


@pytest.mark.parametrize("folder", BUILT[::16])
def test_golden_cases(folder: Path, tmp_path: Path) -> None:
    found = of_files(folder)
    if found is None:
        return
    task, source, options = found
    others = [tickc.compile(OTHERS[name], name=name) for name in ("all", "none")]
    tasks = [*others, task]
    wanted = {one.name: left_by(one, source, tmp_path / f"alone {one.name}", **options) for one in tasks}
    assert left_by_all(tasks, source, tmp_path / "together", batch_rows=5, **options) == wanted


def test_one_thread_computes_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What waits to be written may be set aside between any two batches."""
    monkeypatch.setattr(parts, "ROW_GROUP", 8)
    monkeypatch.setattr(many, "HELD", 0)
    monkeypatch.setattr(dispatch, "ENOUGH", 1)
    source = tmp_path / "in.srpl"
    write_recording(source, [rows_of([(1, "a", None, 0.5, i, None) for i in range(100)])])
    tasks = [tickc.compile(OTHERS["all"], name="all")]
    others = {*threading.enumerate()}

    def check(*_: Any) -> None:
        assert {*threading.enumerate()} == others

    found = left_by_all(tasks, source, tmp_path / "together", batch_rows=3, workers=8, on_step=check)
    assert found == {"all": left_by(tasks[0], source, tmp_path / "alone")}
