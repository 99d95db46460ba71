"""Tasks that begin alike share operators, and leave what each leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_alike import MEANS, left, rows

import tickc
from tickc.runtime import alike, many, prefixes
from tickc.runtime.nodes import alert
from tickc.runtime.sources.recording import write_recording

START = "stream|from().measurement('m').groupBy('host')"
ALERT = "|alert().crit(lambda: \"mean\" > {}).stateChangesOnly().message('{{{{ .TaskName }}}}').log('a')"
CASES: dict[str, tuple[list[str], set[str]]] = {
    "thresholds": (
        [f"{START}|window().period(5s).every(5s)|mean('v'){ALERT.format(limit)}" for limit in (4.0, 5.0, 6.0)],
        {"stream0", "from1", "window2_mean3"},
    ),
    "fields of the same points": (
        [f"{START}|window().period(5s).every(5s)|mean('{field}')|httpOut('out')" for field in "vn"],
        {"stream0", "from1"},
    ),
    "steps that are fused with others": (
        [
            f"{START}|where(lambda: \"n\" > 2)|eval(lambda: \"v\" * 2.0).as('w').keep('w', 'n'){rest}|httpOut('out')"
            for rest in ("", '|where(lambda: "w" > 9.0)', "|groupBy('dc')|sample(2)")
        ],
        {"stream0", "from1", "eval3"},
    ),
    "a loop": (
        [f"{START}|derivative('v').as('d')|where(lambda: \"d\" > {limit})|httpOut('out')" for limit in (0.0, 1.0)],
        {"stream0", "from1", "derivative2"},
    ),
    "a window whose points each reads": (
        [f"{START}|window().period(6s).every(2s)|{function}('v')|httpOut('out')" for function in ("median", "stddev")],
        {"stream0", "from1_window2_columns", "window2"},
    ),
    "a window whose points each reads beside others": (
        [
            f"var s = {START}\ns|window().period(6s).every(2s)|{function}('v')|httpOut('o')\ns|sample({n})|httpOut('p')"
            for function, n in (("median", 2), ("max", 3))
        ],
        {"stream0", "from1"},
    ),
    "a window whose points none reads": (
        [f"{START}|window().period(6s).every(2s)|median('v')|httpOut('{name}')" for name in "ab"],
        {"stream0", "from1_window2_columns", "window2", "median3"},
    ),
    "branches that meet": (
        [
            f"var s = {START}|window().period(5s).every(5s)\ns|mean('v')|join(s|max('n')).as('a', 'b'){rest}"
            for rest in ("|httpOut('out')", "|where(lambda: \"b.max\" > 3)|httpOut('out')")
        ],
        {"stream0", "from1_window2_columns", "window2", "mean3", "max4", "join6"},
    ),
    "rows of one value of a tag": (
        [f"stream|from().measurement('m').where(lambda: \"host\" == 'a')|sample({n})|httpOut('o')" for n in (2, 3)],
        {"stream0", "from1"},
    ),
    "other measurements": (
        [f"stream|from().measurement('{name}').groupBy('host'){MEANS}" for name in "mk"],
        set(),
    ),
    "the time of the data": (
        [f"{START}|barrier().period(2s)|window().period(5s).every(5s)|mean('v')|httpOut('{name}')" for name in "ab"],
        set(),
    ),
    "the source alone": ([f"stream|from().measurement('m').groupBy('{tag}'){MEANS}" for tag in ("dc", "host")], set()),
}


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> list[prefixes.Trunk]:
    """The trunks of a run."""
    found: list[prefixes.Trunk] = []
    building = prefixes.Trunk.__init__

    def init(self: Any, *given: Any) -> None:
        found.append(self)
        building(self, *given)

    monkeypatch.setattr(prefixes.Trunk, "__init__", init)
    return found


def run(scripts: list[str], folder: Path, name: str, **options: Any) -> Any:
    tasks = [tickc.compile(script, name=f"t{i}") for i, script in enumerate(scripts)]
    return tickc.backfill_all(tasks, folder / "in.srpl", folder / name, **options)


Both = Callable[..., Any]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Both:
    """Runs tasks over points together, and in another set in which none shares anything; what the former did."""

    def made(scripts: list[str], points: Any, **options: Any) -> Any:
        write_recording(tmp_path / "in.srpl", [points])
        together = run(scripts, tmp_path, "together", **options)
        with monkeypatch.context() as patch:
            patch.setattr(many, "families", lambda _: [])
            apart = run(scripts, tmp_path, "apart", **options)
        assert together.failed == apart.failed
        assert left(tmp_path / "together") == left(tmp_path / "apart")
        return together

    return made


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gathered", [1, 1 << 16])
def test_what_is_shared(
    monkeypatch: pytest.MonkeyPatch, grown: list[prefixes.Trunk], both: Both, case: str, gathered: int
) -> None:
    monkeypatch.setattr(prefixes, "GATHERED", gathered)
    monkeypatch.setattr(alert, "FEW", 2)
    scripts, shared = CASES[case]
    both(scripts, rows(), batch_rows=70)
    assert {op.name for trunk in grown for op in trunk.graph.operators} == shared


def test_an_operator_that_fails_ends_the_tasks_that_have_it(both: Both) -> None:
    combine = f"{START}|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').tolerance(20s).max(3)"
    own = "|alert().crit(lambda: TRUE).message('{{ index .Level 30 }}').log('a')"
    scripts = [f"{combine}|httpOut('x')", f"{combine}|httpOut('y')", f"{START}|httpOut('z')", f"{START}{own}"]
    together = both(scripts, rows(), batch_rows=50)
    assert {*together.failed} == {"t0", "t1", "t3"}
    assert together.failed["t0"].startswith("the task failed: combine2: refusing")
    assert together.failed["t3"].startswith("the task failed: alert2: ")
    assert {*together.tasks} == {"t2"}


def test_errors_are_told_by_each_task(both: Both) -> None:
    eval_ = f'{START}|eval(lambda: "n" / ("n" - 3)).as(\'x\')'
    together = both([f"{eval_}|httpOut('a')", f"{eval_}|where(lambda: \"x\" > 1)|httpOut('a')"], rows())
    dropped = [summary.dropped["eval2"] for summary in together.tasks.values()]
    assert dropped[0] == dropped[1]
    assert sum(dropped[0].values()) > 0


def test_an_error_of_the_program_ends_all(monkeypatch: pytest.MonkeyPatch, both: Both) -> None:
    from tickc.runtime.nodes.stream import From

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("so it is")

    monkeypatch.setattr(From, "points", broken)
    together = both(CASES["thresholds"][0], rows())
    assert {*together.failed} == {"t0", "t1", "t2"}


def test_tasks_that_are_alike_go_before(
    monkeypatch: pytest.MonkeyPatch, grown: list[prefixes.Trunk], both: Both
) -> None:
    """Where they leave fewer graphs."""
    ends: list[Any] = []
    ending = alike.Alike.end
    monkeypatch.setattr(alike.Alike, "end", lambda self, flush: ends.append(ending(self, flush)) or ends[-1])
    by_measurement = [f"stream|from().measurement('{m}').groupBy('host'){MEANS}" for m in "mklopq"]
    scripts = [*by_measurement, *(script.replace("> 5.0", "> 6.0") for script in by_measurement)]
    both(scripts, rows())
    assert not grown
    assert len(ends) == 4
    assert all(ends)


def test_points_before_the_start_warm_up(grown: list[prefixes.Trunk], both: Both) -> None:
    both(CASES["thresholds"][0], rows(), batch_rows=40, start=20_000_000_000, warm_up="15s")
    assert grown
