"""Small streams and batches for tests of operators, and how operators are fed with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from tickc.runtime.batch import Column, Groups, Points, Rows, Segments, Text
from tickc.runtime.graph import Graph, Operator, Output, Source
from tickc.runtime.nodes.stream import From
from tickc.runtime.snapshot import decode, encode

SECOND = 1_000_000_000
T = 1_600_000_000 * SECOND  # 2020-09-13T12:26:40Z
Point = tuple[float, dict[str, str], dict[str, Any]]  # seconds after T, tags, fields
Batched = tuple[float, dict[str, str], Sequence[Point]]  # tmax in seconds after T, tags of the group, points


def rows(points: Sequence[Point], name: str = "m") -> Rows:
    """The points of measurement `name`, in db.rp."""
    n = len(points)
    tags = {k: None for _, tag, _ in points for k in tag}
    fields = {k: None for _, _, field in points for k in field}
    return Rows(
        np.array([T + round(t * SECOND) for t, _, _ in points], np.int64),
        Text.constant(name, n),
        Text.constant("db", n),
        Text.constant("rp", n),
        {k: Text.of(tag.get(k) for _, tag, _ in points) for k in tags},
        {k: Column.of_values([field.get(k) for _, _, field in points]) for k in fields},
    )


def points(given: Sequence[Point], group_by: Sequence[str] = ("host",), groups: Groups | None = None) -> Points:
    """The points on a stream edge that is grouped by tags."""
    groups = Groups() if groups is None else groups
    codes = [groups.code("m", False, {t: tags.get(t, "") for t in group_by}) for _, tags, _ in given]
    return Points(rows(given), np.array(codes, np.int32), groups, np.arange(len(given)))


def segments(batches: Sequence[Batched], groups: Groups | None = None) -> Segments:
    """Batches on a batch edge; the points get the group's tags too."""
    groups = Groups() if groups is None else groups
    flat = [(t, {**tags, **own}, fields) for _, tags, given in batches for t, own, fields in given]
    sizes = [len(given) for _, _, given in batches]
    stop = np.cumsum(sizes).astype(np.int64)
    m = len(batches)
    return Segments(
        rows(flat),
        stop - sizes,
        stop,
        np.array([T + round(t * SECOND) for t, _, _ in batches], np.int64),
        np.array([groups.code("m", False, tags) for _, tags, _ in batches], np.int32),
        groups,
        Text.constant("m", m),
        np.arange(m, dtype=np.int64),
    )


def plain(batch: Any) -> list[Any]:
    """What an edge carries, as Python values: (seconds, group id, tags, fields) for each point; batches as (tmax, group
    id, header tags, points)."""
    if isinstance(batch, Points):
        return [(*row, batch.groups[g].id) for row, g in zip(_plain_rows(batch.rows), batch.group.tolist())]
    batch = batch.flat()
    table = _plain_rows(batch.rows)
    return [
        ((t - T) / SECOND, batch.groups[g].id, dict(batch.groups[g].tags), table[a:b])
        for t, g, a, b in zip(batch.tmax.tolist(), batch.group.tolist(), batch.start.tolist(), batch.stop.tolist())
    ]


def _plain_rows(table: Rows) -> list[tuple[float, dict[str, str], dict[str, Any]]]:
    out = []
    for i in range(len(table)):
        tags = {k: v for k, text in table.tags.items() if (v := text.at(i)) is not None}
        fields = {k: c.at(i) for k, c in table.fields.items() if c.present()[i]}
        out.append(((int(table.time[i]) - T) / SECOND, tags, fields))
    return out


def fed(operator: Operator, batches: Iterable[Any]) -> list[Any]:
    """All that comes out of an operator, as Python values."""
    return [entry for batch in batches for out in operator.process(batch) for entry in plain(out)]


def cut(batch: Any, edges: Sequence[int]) -> list[Any]:
    """A batch of points or of batches in several record batches."""
    whole = sorted({0, len(batch), *(e for e in edges if e <= len(batch))})
    parts = [batch.take(np.arange(a, b)) for a, b in pairwise(whole)]
    return [p.flat() if isinstance(p, Segments) else p for p in parts]


def moved(old: Operator, new: Operator) -> Operator:
    """`new` with the state of `old`, by way of a snapshot's bytes."""
    new.restore(decode(encode(old.snapshot())))
    return new


def outputs(given: Sequence[Rows], *operators: Operator, group_by: Sequence[str] = ("host",)) -> list[Output]:
    """What a chain of operators on a grouped stream sends to the outside."""
    graph = Graph()
    last: Operator = graph.add(From(name="from1", group_by=group_by), graph.add(Source(name="stream0")))
    for operator in operators:
        last = graph.add(operator, last)
    return list(graph.run(given))


def shared(batch: Segments) -> Segments:
    """The same batches by way of an index into the rows in reverse, as windows that overlap have it."""
    batch = batch.flat()
    n = len(batch.rows)
    return replace(batch, rows=batch.rows.take(np.arange(n)[::-1]), index=np.arange(n)[::-1].copy())
