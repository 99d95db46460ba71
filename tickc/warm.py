"""`tickc warm`: the machine code of an installation, or of some tasks, before it is needed.

The kernels that ship with tickc are reached by short scripts, which run on made-up points (tickc.runtime.warm).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickc.runtime.warm import Made
    from tickc.task import Task

Step = tuple[str, Callable[[], None]]  # what is warmed, and how

POINTS = "stream|from().measurement('m').groupBy('host')"
WINDOWS = (
    ".period(5m).every(5m)",
    ".period(10m).every(2m)",
    ".period(5m).every(5m).align()",
    ".periodCount(10).everyCount(5)",
)
AGGREGATES = (
    *(f"{name}('v')" for name in ("count", "sum", "mean", "spread", "stddev", "median", "mode", "distinct")),
    *(f"{name}('v')" for name in ("min", "max", "first", "last", "cumulativeSum", "difference")),
    *("percentile('v', 95.0)", "top(3, 'v')", "bottom(3, 'v')", "elapsed('v', 1s)", "movingAverage('v', 4)"),
    "holtWinters('v', 3, 4, 1m)",
)
STEPWISE = (
    *("derivative('v').unit(1s)", "changeDetect('v')", 'stateCount(lambda: "v" > 50.0)', "sample(3)", "sample(1m)"),
    *('stateDuration(lambda: "v" > 50.0).unit(1s)', "shift(1m)", "flatten().on('host')"),
    *('where(lambda: sigma("v") > 1.0)', 'where(lambda: spread("v") > 1.0 AND count() > 2 AND rand(9) >= 0)'),
    "combine(lambda: \"v\" > 50.0, lambda: TRUE).as('a', 'b').tolerance(1m)",
)
ALERTS = (
    '.crit(lambda: "v" > 80.0).warn(lambda: "v" > 60.0).critReset(lambda: "v" < 40.0).stateChangesOnly()',
    '.crit(lambda: "v" > 80.0).flapping(0.2, 0.6).history(10)',
    '.crit(lambda: "v" > 80.0).stateChangesOnly(5m)',
    '.crit(lambda: "v" > 80.0).all()',
)
MEETINGS = ("join(b).as('a', 'b')", "join(b).as('a', 'b').tolerance(1m).fill('null')", "union(b)")
QUERIES = (
    "SELECT v FROM db.rp.m",
    "SELECT mean(v), max(v), count(v) FROM db.rp.m",
    "SELECT percentile(v, 95), median(v), stddev(v) FROM db.rp.m",
    "SELECT derivative(mean(v), 1m), moving_average(mean(v), 3) FROM db.rp.m",
    "SELECT top(v, 3) FROM db.rp.m",
)


def scripts() -> Iterator[tuple[str, str]]:
    """Titles and scripts which between them reach the kernels that tasks use."""
    yield "aggregates of windows", _several(f"{POINTS}|window(){WINDOWS[0]}|{call}" for call in AGGREGATES[:-1])
    yield (
        "other windows",
        _several(f"{POINTS}|window(){w}|{c}" for w in WINDOWS[1:] for c in ("mean('v')", "median('v')")),
    )
    yield "nodes on points", _several(f"{POINTS}|{call}" for call in (*AGGREGATES, *STEPWISE))
    yield "nodes on batches", _several(f"{POINTS}|window(){WINDOWS[0]}|{call}" for call in STEPWISE)
    for edge, title in ((POINTS, "points"), (f"{POINTS}|window(){WINDOWS[0]}", "batches")):
        yield f"alerts on {title}", "\n".join(f"{edge}|alert(){a}.log('{i}')" for i, a in enumerate(ALERTS))
        yield f"join and union of {title}", _meetings(edge)
    yield "joined aggregates", _meetings(f"{POINTS}|window(){WINDOWS[0]}|mean('v')")
    wide = POINTS.replace("'host'", "'host', 'rack'")
    yield "joins on a tag", f"var a = {POINTS}\nvar b = {wide}\nb|join(a).as('b', 'a').on('host')|httpOut('0')"
    yield "functions of lambdas", _functions()


def queries() -> str:
    """A batch task."""
    how = ".period(1h).every(1h).groupBy('host'"
    return _several(f"batch|query('{q}'){how}{', time(5m)' if '(v)' in q else ''})" for q in QUERIES)


def _several(chains: Iterable[str]) -> str:
    return "\n".join(f"{chain}|httpOut('{i}')" for i, chain in enumerate(chains))


def _meetings(edge: str) -> str:
    return f"var a = {edge}\nvar b = {edge}\n" + _several(f"a|{call}" for call in MEETINGS)


def _functions() -> str:
    """A script that calls each function of numbers."""
    from tickc.runtime.builtins import names, overloads
    from tickc.runtime.kinds import Kind

    values = {Kind.FLOAT: '"v"', Kind.INT: 'int("v")', Kind.TIME: '"time"', Kind.BOOL: '"v" > 50.0'}
    calls = [
        f"{name}({', '.join(values[kind] for kind in kinds)})"
        for name in names()
        for kinds in overloads(name) or ()
        if all(kind in values for kind in kinds)
    ]
    return _several(f"{POINTS}|eval(lambda: {call}).as('f')" for call in calls)


def everything() -> Iterator[Step]:
    """What an installation has."""
    from tickc import compile
    from tickc.runtime.kinds import Kind
    from tickc.runtime.warm import warm, warm_lines, warm_stored

    def run(script: str) -> None:
        task = compile(script, name="warm", without=("share_pipelines",))
        for kind in (Kind.FLOAT, Kind.INT):
            warm(task.build(), task.module.READS, kind)

    def ask() -> None:
        task = compile(queries(), name="warm")
        for kind in (Kind.FLOAT, Kind.INT):
            warm_stored(task.build(), ("v",), kind)

    yield "line protocol", warm_lines
    for title, script in scripts():
        yield title, partial(run, script)
    yield "queries", ask


def of_tasks(tasks: Sequence[Task]) -> Iterator[Step]:
    """What some tasks need, with their own fused loops; their inputs may be line protocol."""
    from tickc.runtime.warm import warm_lines

    yield "line protocol", warm_lines
    for task in tasks:
        yield task.name, task.warm


def run(steps: Sequence[Step], begins: Callable[[str], None], told: Callable[[Made], None]) -> tuple[list[Made], float]:
    """Warm step after step; returns the kernels that were compiled, and the seconds.

    begins: told of each step's title; told: of each kernel compiled.
    """
    from tickc.runtime.warm import compilations

    made: list[Made] = []

    def compiled(one: Made) -> None:
        made.append(one)
        told(one)

    began = time.perf_counter()
    with compilations(compiled):
        for title, warm in steps:
            begins(title)
            warm()
    return made, time.perf_counter() - began


@contextmanager
def watched(count: int, quiet: bool) -> Iterator[tuple[Callable[[str], None], Callable[[Made], None]]]:
    """`begins` and `told` of `run`, which move a bar on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda title: None, lambda made: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=count)
        at = -1

        def begins(title: str) -> None:
            nonlocal at
            at += 1
            progress.update(bar, description=title, completed=at)

        yield begins, lambda made: progress.update(bar, description=made.kernel)


def show(made: Sequence[Made], seconds: float) -> None:
    """Print what was compiled, the slowest first, and where it is kept."""
    from rich.console import Console

    from tickc.runtime.kernel import cache_folder
    from tickc.runtime.progress import table

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    rows: dict[str, list[float]] = {}
    for one in made:
        rows.setdefault(one.kernel, []).append(one.seconds)
    ordered = sorted(rows.items(), key=lambda row: -sum(row[1]))
    table(console, ("compiled", "times", "seconds"),
          [(name, str(len(each)), f"{sum(each):.2f}") for name, each in ordered])  # fmt: skip
    folder = cache_folder() / "kernels"
    size = sum(file.stat().st_size for file in folder.glob("*")) if folder.is_dir() else 0
    what = (
        f"compiled {len(made):,} kernel{'s' if len(made) > 1 else ''}" if made else "all kernels were compiled before"
    )
    console.print(f"{what}; {seconds:.1f} s; {size / 1e6:.1f} MB in {folder}")


def to_json(made: Sequence[Made], seconds: float) -> dict[str, Any]:
    """What was compiled, as a JSON document."""
    return {
        "seconds": round(seconds, 3),
        "compiled": [{"kernel": m.kernel, "seconds": round(m.seconds, 3)} for m in made],
    }
