"""The optimiser's passes: plans that must change, and how, and plans that must not (tests/passes).

A file a pass; in it cases, each with a title that says whether the plan changes, a script, and the plan before and
after. The plans are refreshed with --update; whether they change is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tickc.compiler import check_script
from tickc.compiler.diagnostics import Source, TickError
from tickc.compiler.ir import Op, Plan, SourceOp
from tickc.compiler.passes import PASSES
from tickc.compiler.pipeline import lower

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "passes"
RUN = dict(PASSES)
AFTER = {"fuse_joins": ["share_pipelines", "fuse_windows"]}  # passes that make the plans which another one looks for
HEAD = re.compile(r"^### (.+?): (changes|stays)\n", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One case of a file: what it shows, whether the pass changes the plan, and the script."""

    run: str
    title: str
    changes: bool
    script: str


def cases(path: Path) -> Iterator[Case]:
    parts = HEAD.split(path.read_text(encoding="utf-8"))[1:]
    for title, verdict, body in zip(parts[::3], parts[1::3], parts[2::3]):
        yield Case(path.stem, title, verdict == "changes", body.partition("--- before\n")[0].strip("\n") + "\n")


def lowered(script: str) -> Plan:
    return lower(check_script(Source(script)), task="task", dbrps=None)


def shown(plan: Plan) -> str:
    """The plan: operators with their inputs, steps of fused ones beneath, and what sources are asked for."""
    return "".join(f"{line}\n" for op in plan for line in _lines(op))


def _lines(op: Op) -> Iterator[str]:
    given = op.settings()
    steps = given.pop("steps", ())
    if isinstance(op, SourceOp):
        given |= op.reads()
    settings = ", ".join(f"{k}={v!r}" for k, v in given.items() if k != "name")
    inputs = f"  <- {', '.join(i.name for i in op.inputs)}" if op.inputs else ""
    yield f"{op.name}: {op.operator}({settings}){inputs}"
    yield from (f"    {line}" for step in steps for line in _lines(step))


def rendered(case: Case) -> str:
    before = lowered(case.script)
    for earlier in AFTER.get(case.run, ()):
        before = RUN[earlier](before)
    after = RUN[case.run](before)
    verdict = "changes" if case.changes else "stays"
    text = f"### {case.title}: {verdict}\n{case.script}--- before\n{shown(before)}"
    return text if after is before else f"{text}--- after\n{shown(after)}"


ALL = [pytest.param(c, id=f"{c.run}-{c.title}") for path in sorted(FOLDER.glob("*.txt")) for c in cases(path)]


def test_every_pass_has_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(RUN)


@pytest.mark.parametrize("name", RUN)
def test_plans(name: str, update: bool) -> None:
    path = FOLDER / f"{name}.txt"
    text = "\n".join(rendered(case) for case in cases(path))
    if update:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", RUN)
def test_a_pass_has_plans_that_change_and_plans_that_do_not(name: str) -> None:
    verdicts = {case.changes for case in cases(FOLDER / f"{name}.txt")}
    assert verdicts == {True, False}


@pytest.mark.parametrize("case", ALL)
def test_a_pass_changes_what_it_should(case: Case) -> None:
    """And gives back the same object where it changes nothing, itself included."""
    before = lowered(case.script)
    for earlier in AFTER.get(case.run, ()):
        before = RUN[earlier](before)
    after = RUN[case.run](before)
    after.verify()
    assert (after is not before) == case.changes
    assert RUN[case.run](after) is after


def scripts() -> Iterator[Path]:
    yield from sorted((ROOT / "golden").glob("*/case.tick"))
    yield from sorted((ROOT.parent / "examples").glob("*.tick"))


def test_passes_are_idempotent_on_real_scripts() -> None:
    """In their order on the scripts of all golden cases and examples: each once more changes nothing."""
    done = 0
    for path in scripts():
        try:
            plan = lowered(path.read_text(encoding="utf-8"))
        except TickError:
            continue
        for name, run in PASSES:
            after = run(plan)
            after.verify()
            assert run(after) is after, f"{name} on {path}"
            assert shown(run(plan)) == shown(after), f"{name} on {path} depends on more than the plan"
            plan = after
        done += 1
    assert done > 200


def test_rewrite_keeps_what_it_does_not_change() -> None:
    plan = lowered("stream\n    |from()\n    |where(lambda: TRUE)\n    |sample(2)\n")

    def same(op: Op) -> Op:
        return op

    assert plan.rewrite(same) is plan
    shorter = plan.rewrite(lambda op: None if op.operator == "Where" else op)
    assert [op.operator for op in shorter] == ["Source", "From", "Sample"]
    assert shorter.ops[:2] == plan.ops[:2]
    assert shorter.ops[2].inputs == (shorter.ops[1],)


def test_verify() -> None:
    plan = lowered("stream\n    |from()\n    |sample(2)\n")
    with pytest.raises(AssertionError, match="comes before"):
        Plan(plan.ops[::-1]).verify()
    with pytest.raises(AssertionError, match="two operators are named from1"):
        Plan((*plan.ops[:2], plan.ops[1])).verify()
