"""Machine code ahead of time: a task is run on made-up points, so that its kernels are compiled and cached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tickc.runtime import kernel
from tickc.runtime.batch import Column, Rows, Segments, Text
from tickc.runtime.expr import Expr
from tickc.runtime.graph import Graph, Source
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.query import queries

POINTS, HOSTS, RUN = 4096, 4, 64
SECOND = 1_000_000_000


def warm(graph: Graph, reads: Mapping[str, Any]) -> None:
    """Compile the kernels that a graph uses for float fields, and cache the machine code on disk.

    Kernels behind a filter that lets no made-up point through stay as they are, and so do those for other types: they
    are compiled when data first need them.
    """
    before = kernel.COMPILE_AFTER
    kernel.COMPILE_AFTER = 0
    try:
        for _ in graph.run([_batches(graph)] if queries(graph) else _points(graph, reads)):
            pass
    finally:
        kernel.COMPILE_AFTER = before


def _points(graph: Graph, reads: Mapping[str, Any]) -> Iterable[Rows]:
    """Points 10 s apart of each measurement that is read, with values that go up and down."""
    fields = sorted({*(reads.get("fields") or ()), *_names_read(graph)} - {"time"})
    dbrps = next((op.dbrps for op in graph.operators if isinstance(op, Source) and op.dbrps), None)
    database, policy = dbrps[0] if dbrps else ("db", "rp")
    hosts = Text.of(f"h{i % HOSTS}" for i in range(POINTS))
    dims = {d for op in graph.operators for d in getattr(getattr(op, "grouping", op), "dims", ()) if d != "*"}
    values = Column.of(Kind.FLOAT, 50.0 + 50.0 * np.sin(np.arange(POINTS)))
    for name in reads.get("measurements") or ("",):
        yield Rows(
            1_704_067_200 * SECOND + np.arange(POINTS, dtype=np.int64) * (10 * SECOND),
            Text.constant(name or "m", POINTS),
            Text.constant(database, POINTS),
            Text.constant(policy, POINTS),
            dict.fromkeys(dims, hosts),
            {f: values for f in fields if f not in dims},
        )


def _batches(graph: Graph) -> dict[int, Segments]:
    """For each query batches of several runs and hosts, with a column for each field that is read."""
    runs = POINTS // (HOSTS * RUN)
    m = runs * HOSTS
    start = np.arange(m, dtype=np.int64) * RUN
    run = np.repeat(np.arange(runs, dtype=np.int64), HOSTS)
    time = 1_704_067_200 * SECOND + (np.repeat(run * RUN, RUN) + np.tile(np.arange(RUN), m)) * (10 * SECOND)
    values = Column.of(Kind.FLOAT, 50.0 + 50.0 * np.sin(np.arange(POINTS)))
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


def _names_read(graph: Graph) -> set[str]:
    """The fields that operators name."""
    found: set[str] = set()
    for op in graph.operators:
        for value in vars(op).values():
            parts = value if isinstance(value, (tuple, list)) else (value,)
            found.update(name for part in parts if isinstance(part, Expr) for name in part.references())
        found.update(name for name in [getattr(op, "field", None)] if isinstance(name, str))
    return found
