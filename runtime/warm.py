"""Machine code ahead of time: a task is run on made-up points, so that its kernels are compiled and cached."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickc.runtime import kernel
from tickc.runtime.batch import Column, Rows, Segments, Text
from tickc.runtime.expr import Expr
from tickc.runtime.graph import Graph, Source
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.loop import Loop
from tickc.runtime.nodes.query import queries

POINTS, HOSTS, RUN = 4096, 4, 64
HOME = ("db", "rp")
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Made:
    """A kernel that was compiled, and the seconds that it took."""

    kernel: str
    seconds: float


@contextmanager
def compilations(told: Callable[[Made], None]) -> Iterator[None]:
    """Tell of each kernel that is compiled meanwhile, rather than found in the cache; those that it calls are in it."""
    from numba.core import event

    class Listener(event.Listener):
        begun: list[float] = []

        def on_start(self, _: Any) -> None:
            self.begun.append(clock.perf_counter())

        def on_end(self, told_of: Any) -> None:
            seconds = clock.perf_counter() - self.begun.pop()
            if not self.begun:
                function = told_of.data["dispatcher"].py_func
                told(Made(_name(function.__module__, function.__name__), seconds))

    with event.install_listener("numba:compile", Listener()):
        yield


def _name(module: str, kernel: str) -> str:
    """The kernel's name, behind that of its module where it is one of tickc's."""
    known = module.removeprefix("tickc.runtime.")
    return kernel if known == module else f"{known}.{kernel}"


@contextmanager
def at_once() -> Iterator[None]:
    """Kernels and fused loops are compiled at their first call meanwhile."""
    before = kernel.COMPILE_AFTER, Loop.WORTH
    kernel.COMPILE_AFTER = Loop.WORTH = 0
    try:
        yield
    finally:
        kernel.COMPILE_AFTER, Loop.WORTH = before


def warm(graph: Graph, reads: Mapping[str, Any], kind: Kind = Kind.FLOAT) -> None:
    """Compile the kernels that a graph uses for fields of `kind`, FLOAT or INT, and cache the machine code on disk.

    Kernels behind a filter that lets no made-up point through stay as they are, and so do those for other types and
    for thousands of groups (see prefetch.py): they are compiled when data first need them.
    """
    with at_once():
        for _ in graph.run([_batches(graph)] if queries(graph) else _points(graph, reads, kind), flush=True):
            pass


def warm_stored(graph: Graph, fields: Iterable[str], kind: Kind = Kind.FLOAT) -> None:
    """Compile the kernels by which the queries of a graph are answered from points of `m` with these fields."""
    from tickc.runtime.replay import stored
    from tickc.runtime.sources.base import Problems

    dims = {d for _, query in queries(graph) for d in query.select.dimensions if isinstance(d, str)}
    rows = _rows("m", HOME, dims, fields, kind)
    start, stop = int(rows.time[0]), int(rows.time[-1])
    with at_once():
        for _ in graph.run(stored(graph, [rows], HOME, start, stop, Problems()), flush=True):
            pass


def warm_lines() -> None:
    """Compile the scanner of line protocol, and cache its machine code on disk."""
    from tickc.runtime.sources.line_protocol import parse_lines
    from tickc.runtime.sources.scan import scan_lines

    scan_lines.machine()  # what has machine code is not interpreted, however short the text
    parse_lines("m v=1 1\n")


def _points(graph: Graph, reads: Mapping[str, Any], kind: Kind) -> Iterable[Rows]:
    """Points 10 s apart of each measurement that is read, with values that go up and down."""
    fields = sorted({*(reads.get("fields") or ()), *_names_read(graph)} - {"time"})
    dbrps = next((op.dbrps for op in graph.operators if isinstance(op, Source) and op.dbrps), None)
    dims = {d for op in graph.operators for d in getattr(getattr(op, "grouping", op), "dims", ()) if d != "*"}
    for name in reads.get("measurements") or ("",):
        yield _rows(name or "m", dbrps[0] if dbrps else HOME, dims, fields, kind)


def _rows(name: str, home: tuple[str, str], dims: Collection[str], fields: Iterable[str], kind: Kind) -> Rows:
    hosts = Text.of(f"h{i % HOSTS}" for i in range(POINTS))
    values = _values(kind)
    return Rows(
        1_704_067_200 * SECOND + np.arange(POINTS, dtype=np.int64) * (10 * SECOND),
        Text.constant(name, POINTS),
        Text.constant(home[0], POINTS),
        Text.constant(home[1], POINTS),
        dict.fromkeys(sorted(dims), hosts),
        {f: values for f in fields if f not in dims},
    )


def _batches(graph: Graph) -> dict[int, Segments]:
    """For each query batches of several runs and hosts, with a column for each field that is read."""
    runs = POINTS // (HOSTS * RUN)
    m = runs * HOSTS
    start = np.arange(m, dtype=np.int64) * RUN
    run = np.repeat(np.arange(runs, dtype=np.int64), HOSTS)
    time = 1_704_067_200 * SECOND + (np.repeat(run * RUN, RUN) + np.tile(np.arange(RUN), m)) * (10 * SECOND)
    values = _values(Kind.FLOAT)
    asked = queries(graph)
    out = {}
    for k, (place, query) in enumerate(asked):
        hosts = Text.of(f"h{i % HOSTS}" for i in range(m))
        tags = {d: hosts for d in query.select.dimensions if isinstance(d, str)}
        fields = dict.fromkeys(sorted(_names_read(graph) - {"time"} - set(tags)), values)
        answer = Answer(run, Text.constant("m", m), tags, start, start + RUN, time, fields)
        stop = 1_704_067_200 * SECOND + (np.arange(runs) + 1) * (RUN * 10 * SECOND)
        batches = query.batches(answer, stop)
        out[place] = batches.with_seq(batches.seq * HOSTS * len(asked) + np.arange(m) % HOSTS + k * HOSTS)
    return out


def _values(kind: Kind) -> Column:
    waves = 50.0 + 50.0 * np.sin(np.arange(POINTS))
    return Column.of(kind, waves if kind is Kind.FLOAT else waves.astype(np.int64))


def _names_read(graph: Graph) -> set[str]:
    """The fields that operators name."""
    from tickc.runtime.graph import operators

    found: set[str] = set()
    for op in operators(graph):
        for value in vars(op).values():
            parts = value if isinstance(value, (tuple, list)) else (value,)
            found.update(name for part in parts if isinstance(part, Expr) for name in part.references())
        found.update(name for name in [getattr(op, "field", None)] if isinstance(name, str))
    return found
