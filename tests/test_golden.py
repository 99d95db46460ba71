"""Every golden case must give Kapacitor's answer, in whatever way its rows are fed and its plan optimised."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from golden_compare import differences

import tickc
from tickc.compiler.diagnostics import TickError
from tickc.compiler.passes import PASSES
from tickc.runtime.batch import Rows
from tickc.runtime.graph import TaskFailed
from tickc.runtime.nodes.loop import Loop
from tickc.runtime.results import Results
from tickc.runtime.snapshot import decode, encode
from tickc.runtime.sources.recording import read_recording
from tickc.task import Task

CASES = Path(__file__).parent / "golden"
# Nodes and sources that are declared but not built yet: their cases wait for them.
NOT_BUILT = re.compile(
    r"\|\s*(\w+Autoscale|"
    r"queryFlux)\s*\(|@|^\s*batch\b",
    re.MULTILINE,
)


def _built(case: Path) -> bool:
    script = re.sub(r"//.*", "", (case / "case.tick").read_text())
    stream = (case / "data.srpl").exists() or not list(case.glob("*.brpl")) + list(case.glob("*.lp"))
    return stream and not NOT_BUILT.search(script)


BUILT = [pytest.param(c, id=c.name) for c in sorted(CASES.iterdir()) if (c / "case.tick").exists() and _built(c)]
WAYS = ["whole", "rows", "cuts", "restored", "loops", "unoptimised"]


class Case:
    """One case: its script, its rows, and what Kapacitor gave."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.script = (folder / "case.tick").read_text()
        self.expected = json.loads((folder / "expected.json").read_text())
        self.vars = json.loads((folder / "vars.json").read_text()) if (folder / "vars.json").exists() else None
        compare = folder / "compare.json"
        self.order = json.loads(compare.read_text())["order"] if compare.exists() else "total"
        recording = folder / "data.srpl"
        self.rows = Rows.concat(list(read_recording(recording))) if recording.exists() else None

    def compile(self, without: Any = ()) -> Task:
        return tickc.compile(self.script, self.vars, name=self.name, without=without)

    def check(self, results: dict[str, Any]) -> None:
        assert not list(differences(self.expected, results, self.script, self.order))


def collect(task: Task, batches: list[Rows]) -> dict[str, Any]:
    return task.replay(batches).to_json()


def pieces(rows: Rows, cuts: list[int]) -> list[Rows]:
    edges = sorted({0, len(rows), *cuts})
    return [rows.take(slice(a, b)) for a, b in itertools.pairwise(edges)]


def restored(task: Task, rows: Rows, cut: int) -> dict[str, Any]:
    """Run to `cut`, keep a snapshot as bytes, and go on in a fresh graph."""
    results = Results(task.name)
    first, second = task.build(), task.build()
    try:
        for output in first.run([rows.take(slice(0, cut))], last=False):
            results.add(output)
        second.restore(decode(encode(first.snapshot())))
        for output in second.run([rows.take(slice(cut, None))]):
            results.add(output)
    except TaskFailed as error:
        results.failure = str(error)
    return results.to_json()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("folder", BUILT)
def test_golden(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(folder)
    if way == "loops":  # fused loops from the first row on, which small inputs would not run
        monkeypatch.setattr(Loop, "WORTH", 0)
    try:
        task = case.compile(None if way == "unoptimised" else ())
    except TickError as error:
        if way == "whole":
            case.check({"error": str(error)})
        assert "error" in case.expected or "runtime_error" in case.expected, str(error)
        return
    if case.rows is None:
        assert case.expected.get("ok"), f"should be refused: {case.expected}"
        return
    rows, chance = case.rows, random.Random(case.name)
    match way:
        case "whole" | "unoptimised":
            case.check(collect(task, [rows]))
        case "rows":
            case.check(collect(task, pieces(rows, list(range(len(rows))))))
        case "cuts" | "loops":
            case.check(collect(task, pieces(rows, [chance.randrange(len(rows) + 1) for _ in range(5)])))
        case "restored":
            case.check(restored(task, rows, chance.randrange(len(rows) + 1)))


@pytest.mark.parametrize("folder", BUILT)
def test_each_pass_off(folder: Path) -> None:
    """Leaving out any one pass that changes the plan changes no result."""
    case = Case(folder)
    if case.rows is None or "error" in case.expected or "runtime_error" in case.expected:
        return
    for name, _ in PASSES:
        case.check(collect(case.compile([name]), [case.rows]))
