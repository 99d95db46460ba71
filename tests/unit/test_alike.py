"""Tasks that run as one graph leave what each leaves alone; where that is not clear each runs by itself."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tickc
from tickc.backfill import YOUNG, seldom_collecting
from tickc.runtime import alike, dispatch, many
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.recording import write_recording

SECOND = 1_000_000_000
N = 300
MEASUREMENTS = ("m", "k", "l", "o", "p", "q")
HOSTS = ("a", "b", "c", "d", "e", "f")
MEANS = """
    |window().period(5s).every(5s)
    |mean('v')
    |alert()
        .crit(lambda: "mean" > 5.0)
        .stateChangesOnly()
        .log('a')
    |httpOut('sent')
"""
EACH = """
    |where(lambda: "n" > 2 AND sigma("v") < 9.0)
    |eval(lambda: "v" * 2.0).as('double').keep('v', 'double')
    |alert()
        .info(lambda: "v" > 2.0)
        .crit(lambda: "v" > 8.0)
        .message('{{ .TaskName }}: {{ .ID }} {{ index .Tags "dc" }} {{ .Level }}')
        .details('{{ .TaskName }}')
        .log('a')
        .log('b')
    |httpOut('sent')
"""


def rows(**changes: Any) -> Rows:
    """Points in order of time, of each measurement and host by turns."""
    at = np.arange(N)
    chance = np.random.default_rng(1)
    value = np.round(chance.normal(5.0, 3.0, N), 2)
    whole = Rows(
        at * SECOND // 7,
        Text(chance.integers(0, len(MEASUREMENTS), N).astype(np.int32), Text.of(MEASUREMENTS).vocabulary),
        *(Text.constant(text, N) for text in ("telegraf", "autogen")),
        {
            "host": Text(chance.integers(0, len(HOSTS), N).astype(np.int32), Text.of(HOSTS).vocabulary),
            "dc": Text(chance.integers(-1, 2, N).astype(np.int32), Text.of(("x", "y")).vocabulary),
        },
        {"v": Column.of(Kind.FLOAT, value), "n": Column.of(Kind.INT, chance.integers(0, 9, N))},
    )
    return whole.with_(**changes)


def by_measurement(rest: str, group: str = ".groupBy('host')") -> dict[str, str]:
    return {f"t{name}": f"stream|from().measurement('{name}'){group}{rest}" for name in (*MEASUREMENTS, "nobody")}


def by_host(rest: str, group: str = ".groupBy('host')") -> dict[str, str]:
    where = ".measurement('m').where(lambda: \"host\" == '{}')"
    return {f"t{host}": f"stream|from(){where.format(host)}{group}{rest}" for host in (*HOSTS, "nobody")}


def left(folder: Path) -> dict[str, Any]:
    """The files of a run, and its summaries without what they say of time."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes()
        if path.name == "_tickc.json":
            found[name] = {
                k: v for k, v in json.loads(found[name]).items() if k not in ("seconds", "points_per_second")
            }
    return found


Ways = Callable[..., bool]


@pytest.fixture
def same_as_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ways:
    """Runs tasks over points, and compares what they leave with what they leave one by one; whether they ran as one."""
    outcomes: list[Any] = []
    running = alike.Alike.end

    def run(self: Any, *given: Any) -> Any:
        outcomes.append(running(self, *given))
        return outcomes[-1]

    monkeypatch.setattr(alike.Alike, "end", run)

    def both(scripts: dict[str, str], points: Rows, **options: Any) -> bool:
        outcomes.clear()
        tasks = [tickc.compile(script, name=name) for name, script in scripts.items()]
        write_recording(tmp_path / "in.srpl", [points])
        together = tickc.backfill_all(tasks, tmp_path / "in.srpl", tmp_path / "as one", **options)
        found = [*outcomes]
        with monkeypatch.context() as patch:
            patch.setattr(many, "ENOUGH", len(tasks) + 1)
            alone = tickc.backfill_all(tasks, tmp_path / "in.srpl", tmp_path / "alone", **options)
        assert together.failed == alone.failed
        assert left(tmp_path / "as one") == left(tmp_path / "alone")
        assert outcomes == found
        return [*map(bool, found)] == [True]

    return both


@pytest.mark.parametrize(
    "group", ["", ".groupBy('host')", ".groupBy('dc', 'host')", ".groupByMeasurement().groupBy('dc')"]
)
@pytest.mark.parametrize("rest", [MEANS, EACH])
def test_tasks_by_measurement(same_as_alone: Ways, group: str, rest: str) -> None:
    assert same_as_alone(by_measurement(rest, group), rows())


@pytest.mark.parametrize("rest", [MEANS, EACH])
@pytest.mark.parametrize("form", ["parquet", "arrow", "jsonl", "lp"])
def test_tasks_by_a_tag(same_as_alone: Ways, rest: str, form: str) -> None:
    assert same_as_alone(by_host(rest), rows(), format=form, flush=True, batch_rows=64)


def test_a_graph_takes_pieces(monkeypatch: pytest.MonkeyPatch, same_as_alone: Ways) -> None:
    monkeypatch.setattr(alike, "PIECE", 7)
    assert same_as_alone(by_measurement(MEANS, ".groupBy('dc', 'host')"), rows())


def test_tasks_that_read_a_database(same_as_alone: Ways) -> None:
    read = {name: f'dbrp "telegraf"."autogen"\n{script}' for name, script in by_measurement(MEANS).items()}
    assert same_as_alone(read, rows())


def test_others_run_beside_them(same_as_alone: Ways) -> None:
    others = {"all": "stream|from()|httpOut('all')", "twin": by_measurement(MEANS)["tm"]}
    assert same_as_alone({**by_measurement(MEANS), **others}, rows())


def test_a_column_that_no_point_has_is_told(same_as_alone: Ways) -> None:
    whole = rows()
    some = np.array([name == "m" for name in whole.name.tolist()])
    value = Column.masked(Kind.INT, whole.fields["n"].data[Kind.INT], some)
    points = rows(fields={**whole.fields, "x": value})
    assert same_as_alone(by_measurement("|where(lambda: !isPresent(\"x\"))|httpOut('sent')"), points)


INT_IN_ONE = Column(
    np.where(np.array(rows().name.tolist()) == "k", np.uint8(Kind.INT), np.uint8(Kind.FLOAT)),
    {Kind.FLOAT: rows().fields["v"].data[Kind.FLOAT], Kind.INT: rows().fields["n"].data[Kind.INT]},
    N,
)
UNUSUAL = {
    "values of several kinds": (by_measurement(MEANS), rows(fields={"v": INT_IN_ONE})),
    "a field that no point has": (by_measurement(EACH), rows(fields={"v": rows().fields["v"]})),
    "rows that come late": (by_measurement(MEANS), rows(time=np.arange(N)[::-1] * SECOND)),
    "points of two databases": (by_measurement(MEANS), rows(database=Text.of(["a", "telegraf"] * (N // 2)))),
    "ids that tasks share": (by_host(MEANS, ".groupBy('dc')"), rows()),
    "an id with the task's name": (by_host(MEANS.replace(".log", ".id('{{ .TaskName }}').log")), rows()),
    "windows with gaps": (by_measurement(MEANS.replace("every(5s)", "every(9s)")), rows()),
    "a template that fails": (by_measurement(EACH.replace("{{ .Level }}", "{{ index .Level 3 }}")), rows()),
    "values that make ids alike": (
        by_measurement(MEANS, ".groupBy('dc', 'host')"),
        rows(tags={"host": Text.of(["a,dc=b", "b"] * (N // 2)), "dc": Text.of(["x"] * N)}),
    ),
    "a field of the tag's name": (by_host(MEANS), rows(fields={**rows().fields, "host": rows().fields["n"]})),
    "a topic": (by_measurement(MEANS.replace(".log", ".topic('t').log")), rows()),
    "all tags": (by_measurement(MEANS, ".groupBy(*)"), rows()),
    "a count of all groups": (by_measurement(MEANS.replace('"mean" > 5.0', "count() > 3")), rows()),
    "random numbers": (by_measurement("|eval(lambda: rand(9)).as('r')|httpOut('sent')"), rows()),
}


@pytest.mark.parametrize("why", UNUSUAL)
def test_what_is_unusual_runs_task_by_task(same_as_alone: Ways, why: str) -> None:
    assert not same_as_alone(*UNUSUAL[why])


def test_many_results_are_not_held(monkeypatch: pytest.MonkeyPatch, same_as_alone: Ways) -> None:
    monkeypatch.setattr(alike, "MOST", 10)
    assert not same_as_alone(by_measurement(EACH), rows())


def test_an_input_of_several_lots_and_checkpoints(monkeypatch: pytest.MonkeyPatch, same_as_alone: Ways) -> None:
    assert not same_as_alone(by_measurement(MEANS), rows(), batch_rows=50, checkpoint=0.0)
    monkeypatch.setattr(dispatch, "LOT", 5000)
    assert not same_as_alone(by_measurement(MEANS), rows(), batch_rows=50, overwrite=True)


def test_tasks_of_other_constants_are_of_another_kind() -> None:
    def kind(script: str) -> Any:
        found = alike.kind_of(tickc.compile(script).build())
        assert found is not None
        return found[0]

    same = [kind(script) for script in by_measurement(MEANS).values()]
    assert len({*same}) == 1
    for other in ("5.0", "5"):
        assert (kind(by_measurement(MEANS.replace('"mean" > 5.0', f'"mean" > {other}'))["tm"]) == same[0]) == (
            other == "5.0"
        )
    assert kind(by_host(MEANS)["ta"]) == kind(by_host(MEANS)["tb"]) != same[0]


def test_garbage_is_looked_for_less_often_meanwhile() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), seldom_collecting():
        assert gc.get_threshold()[0] >= YOUNG
        _ = 1 / 0
    assert gc.get_threshold() == before
