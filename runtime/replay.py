"""What a replay sends through a graph: a recording, or data that stand for a database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tickc.runtime.batch import Rows
from tickc.runtime.graph import NEVER, Entering, Graph
from tickc.runtime.nodes.query import DBRP, queries
from tickc.runtime.sources.base import Problems, Unsuitable

Path = str | os.PathLike[str]


def recorded(graph: Graph, paths: Sequence[Path], problems: Problems) -> Iterable[Entering]:
    """The points or batches of recordings: one for a stream task; for a batch task one a query, or a server's archive.

    What is malformed is counted in `problems`. Raises SourceError where a file cannot be read, Unsuitable where their
    number is wrong.
    """
    asked = queries(graph)
    if asked:
        from tickc.runtime.sources import batches

        given = batches.entries(paths)
        if len(asked) != len(given):
            raise Unsuitable(
                f"each query needs its recording: the script has {len(asked)}, and {len(given)} were given",
                "give one recording a query, that of the last query first",
            )
        problems.unit = "batch"
        return batches.replay(asked, given, problems)
    from tickc.runtime.sources.recording import read_recording

    if len(paths) != 1:
        raise Unsuitable("a stream task takes one recording", "give one recording")
    return read_recording(paths[0], problems=problems)


def stored(
    graph: Graph, rows: Iterable[Rows], home: DBRP, start: int | None, stop: int | None, problems: Problems
) -> Iterator[Entering]:
    """What points that stand for a database, in any order, are to a task: a stream task takes those between `start` and
    `stop` (ns), a batch task what its queries answer when they are run between them, as Kapacitor's batch replay does.

    home: database and retention policy of points that name none. What a database would not take is counted in
    `problems`. Raises TaskFailed where the task may not ask so.
    """
    from tickc.runtime.backfill import at_home

    placed = (at_home(some, home) for some in rows)
    if not queries(graph):
        yield from (_within(some, start, stop) for some in placed)
        return
    from tickc.runtime.queries import LocalRuns, check_access

    check_access(graph, home)
    runs = LocalRuns(graph, start, stop, replay=True)
    for some in placed:
        yield from runs.take(some, NEVER)
    yield from runs.finish()
    problems.counts.update(runs.history.dropped)


def _within(rows: Rows, start: int | None, stop: int | None) -> Rows:
    """The rows with start <= time < stop."""
    inside = np.ones(len(rows), np.bool_)
    if start is not None:
        inside &= rows.time >= start
    if stop is not None:
        inside &= rows.time < stop
    return rows if inside.all() else rows.take(inside)
