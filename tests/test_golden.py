"""Every golden case must give Kapacitor's answer, in whatever way its rows are fed and its plan optimised."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_compare import differences

import tickc
from tickc.compiler.diagnostics import TickError
from tickc.compiler.passes import PASSES
from tickc.runtime import replay
from tickc.runtime.batch import Rows
from tickc.runtime.graph import Entering, Graph, TaskFailed
from tickc.runtime.nodes.loop import Loop
from tickc.runtime.results import Results
from tickc.runtime.snapshot import decode, encode
from tickc.runtime.sources.base import Problems
from tickc.runtime.sources.inputs import open_inputs
from tickc.runtime.sources.recording import read_recording
from tickc.runtime.times import nanoseconds
from tickc.task import Task

CASES = Path(__file__).parent / "golden"
# Nodes and sources that are declared but not built yet: their cases wait for them.
NOT_BUILT = re.compile(r"\|\s*(\w+Autoscale|queryFlux)\s*\(|@")


def _built(case: Path) -> bool:
    return not NOT_BUILT.search(re.sub(r"//.*", "", (case / "case.tick").read_text()))


BUILT = [pytest.param(c, id=c.name) for c in sorted(CASES.iterdir()) if (c / "case.tick").exists() and _built(c)]
WAYS = ["whole", "rows", "cuts", "restored", "loops", "unoptimised", "workers"]


class Case:
    """One case: its script, its rows, and what Kapacitor gave."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.script = (folder / "case.tick").read_text()
        self.expected = json.loads((folder / "expected.json").read_text())
        self.vars = json.loads((folder / "vars.json").read_text()) if (folder / "vars.json").exists() else None
        compare = folder / "compare.json"
        self.order = json.loads(compare.read_text())["order"] if compare.exists() else "total"
        self.stream, self.data = folder / "data.srpl", folder / "data.lp"
        self.batches = sorted(folder.glob("*.brpl"))
        self.range = json.loads((folder / "range.json").read_text()) if self.data.exists() else {}
        self.runs = self.stream.exists() or self.data.exists() or bool(self.batches)

    def given(self, graph: Graph) -> list[Entering]:
        """All that is sent through a graph of the case."""
        if self.stream.exists():
            return [Rows.concat(list(read_recording(self.stream)))]
        if self.batches:
            return list(replay.recorded(graph, self.batches, Problems()))
        start, stop = nanoseconds(self.range["start"]), nanoseconds(self.range["stop"])
        rows = open_inputs(self.data, check_order=False)
        return list(replay.stored(graph, rows, ("db", "rp"), start, stop, Problems()))

    def compile(self, without: Any = ()) -> Task:
        return tickc.compile(self.script, self.vars, name=self.name, without=without)

    def check(self, results: dict[str, Any]) -> None:
        assert not list(differences(self.expected, results, self.script, self.order))


Cut = Callable[[int], list[int]]  # from the number of rows or batches of a round to where it is cut


def collect(case: Case, task: Task, cut: Cut = lambda n: [], workers: int = 1) -> dict[str, Any]:
    """The results of a run in pieces."""
    results, graph = Results(task.name), task.build()
    graph.goes_on = True
    try:
        for output in graph.run(pieces(case.given(graph), cut), workers=workers):
            results.add(output)
    except TaskFailed as error:
        results.failure = str(error)
    return results.to_json()


def pieces(given: list[Entering], cut: Cut) -> list[Entering]:
    """What is sent, each round of it in parts."""
    out: list[Entering] = []
    for some in given:
        n = len(some) if isinstance(some, Rows) else sum(map(len, some.values()))
        edges = sorted({0, n, *cut(n)})
        out.extend(part(some, low, high) for low, high in itertools.pairwise(edges))
    return out


def part(some: Entering, low: int, high: int) -> Entering:
    """Rows or batches low…high-1 of a round."""
    if isinstance(some, Rows):
        return some.take(slice(low, high))
    inside = {i: b.take((b.seq >= low) & (b.seq < high)) for i, b in some.items()}
    return {i: b.with_seq(b.seq - low) for i, b in inside.items() if len(b)}


def restored(case: Case, task: Task, chance: random.Random) -> dict[str, Any]:
    """Run to some moment, keep a snapshot as bytes, and go on in a fresh graph."""
    results = Results(task.name)
    first, second = task.build(), task.build()
    where = chance.random()

    def cut(n: int) -> list[int]:
        return list(range(n)) if case.batches or case.data.exists() else [int(where * (n + 1))]

    try:
        before = pieces(case.given(first), cut)
        half = int(where * len(before)) if len(before) > 2 else 1
        for output in first.run(before[:half], last=False):
            results.add(output)
        second.restore(decode(encode(first.snapshot())))
        for output in second.run(pieces(case.given(second), cut)[half:]):
            results.add(output)
    except TaskFailed as error:
        results.failure = str(error)
    return results.to_json()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("folder", BUILT)
def test_golden(folder: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_way(Case(folder), way, monkeypatch)


@pytest.mark.parametrize("folder", BUILT)
def test_each_pass_off(folder: Path) -> None:
    check_without_passes(Case(folder))


def check_way(case: Case, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case gives Kapacitor's answer in this way."""
    if way == "loops":  # fused loops from the first row on, which small inputs would not run
        monkeypatch.setattr(Loop, "WORTH", 0)
    try:
        task = case.compile(None if way == "unoptimised" else ())
    except TickError as error:
        if way == "whole":
            case.check({"error": str(error)})
        assert "error" in case.expected or "runtime_error" in case.expected, str(error)
        return
    if not case.runs:
        assert case.expected.get("ok"), f"should be refused: {case.expected}"
        return
    chance = random.Random(case.name)
    match way:
        case "whole" | "unoptimised":
            case.check(collect(case, task))
        case "rows":
            case.check(collect(case, task, lambda n: list(range(n))))
        case "cuts" | "loops":
            case.check(collect(case, task, lambda n: [chance.randrange(n + 1) for _ in range(5)]))
        case "workers":
            some = collect(case, task, lambda n: list(range(0, n, max(n // 12, 1))), chance.choice([2, 3, 8]))
            case.check(some)
        case "restored":
            case.check(restored(case, task, chance))


def check_without_passes(case: Case) -> None:
    """Leaving out any one pass that changes the plan changes no result."""
    if not case.runs or "error" in case.expected or "runtime_error" in case.expected:
        return
    for name, _ in PASSES:
        case.check(collect(case, case.compile([name])))
