"""From TICKscript text to Python text, in phases: parse, evaluate, lower, optimise, emit. Never touches data."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tickc.compiler.diagnostics import Diagnostic, Source
from tickc.compiler.emit import Module, emit
from tickc.compiler.evaluate import evaluate
from tickc.compiler.ir import Plan
from tickc.compiler.passes import PASSES
from tickc.compiler.pipeline import DEEPEST, Pipeline, lower, problems
from tickc.compiler.syntax import parse
from tickc.runtime.expr import deep_recursion
from tickc.runtime.udf import NO_UDFS, Udfs


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a script: the graph as written, the plan before and after each pass, and the module."""

    source: Source
    task: str
    pipeline: Pipeline
    plans: Sequence[tuple[str, Plan]]  # ("lowered", plan), then (name of the pass, plan after it)
    module: Module

    @property
    def plan(self) -> Plan:
        """The plan that the module was emitted from."""
        return self.plans[-1][1]


def compile_script(
    text: str,
    *,
    file: str = "task.tick",
    task: str = "task",
    vars: Mapping[str, Any] | None = None,
    dbrps: Sequence[tuple[str, str]] | None = None,
    without: Collection[str] | None = (),
    udfs: Udfs = NO_UDFS,
) -> Compiled:
    """Compile a script.

    file: its name, for messages; task: the task's id; vars: values of template variables in Kapacitor's JSON form;
    dbrps: the databases and retention policies that a stream task reads where the script does not say (None: all);
    without: names of passes to leave out, None for all of them; udfs: the user-defined functions by name. Raises
    TickError with every mistake that was found, UdfError where a function does not say what it takes.
    """
    source = Source(text, file)
    pipeline = check_script(source, vars, udfs=udfs)
    plans = [("lowered", lower(pipeline, task=task, dbrps=dbrps))]
    plans.extend(optimise(plans[0][1], without))
    return Compiled(source, task, pipeline, plans, emit(plans[-1][1], source, task))


def check_script(
    source: Source, vars: Mapping[str, Any] | None = None, *, udfs: Udfs = NO_UDFS, template: bool = False
) -> Pipeline:
    """Parse and evaluate a script, or with `template` the definition of a template, in which variables need no value;
    raises TickError with every mistake that was found."""
    return evaluate(parse(source), source, vars, udfs=udfs, template=template)


def warnings(pipeline: Pipeline) -> list[Diagnostic]:
    """What is wrong with a script although Kapacitor takes its definition: the task will not start, or will fail."""
    with deep_recursion(DEEPEST):
        found = list(problems(pipeline))
    return found or [doubt for n in sorted(pipeline.nodes, key=lambda n: n.id) for doubt in n.doubts()]


def optimise(plan: Plan, without: Collection[str] | None = ()) -> Iterator[tuple[str, Plan]]:
    """The plan after each pass that is not in `without` (None: no pass runs)."""
    for name, run in PASSES:
        if without is not None and name not in without:
            plan = run(plan)
            plan.verify()
            yield name, plan
