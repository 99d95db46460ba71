"""Rows in order of time, however many: sorted in runs that fit in memory, which are then merged.

The order is stable: rows of one time stay as they came. Where there is more than one run, runs are written to temporary
files, as codes; the vocabularies that all batches of an input share stay in memory.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np

from tickc.runtime.batch import Rows, Vocabulary
from tickc.runtime.sources.base import BATCH_ROWS, Codes, SourceError, os_reason
from tickc.runtime.sources.columnar import pieces

RUN_ROWS = 2 << 20
RUN_CELLS = 24 << 20  # rows times columns of a run, at most


def by_time(batches: Iterable[Rows], codes: Codes, batch_rows: int = BATCH_ROWS) -> Iterator[Rows]:
    """The rows of all batches in order of time. SourceError where there is no room for the temporary files."""
    runs: list[_Run] = []
    waiting: list[Rows] = []
    cells = rows_waiting = 0
    for rows in batches:
        waiting.append(rows)
        rows_waiting += len(rows)
        cells += len(rows) * (2 + len(rows.tags) + len(rows.fields))
        if rows_waiting >= RUN_ROWS or cells >= RUN_CELLS:
            runs.append(_Run(_sorted(waiting), codes, batch_rows))
            waiting, cells, rows_waiting = [], 0, 0
    if not runs:
        if waiting:
            yield from pieces(_sorted(waiting), batch_rows)
        return
    if waiting:
        runs.append(_Run(_sorted(waiting), codes, batch_rows))
    yield from _merge(runs, batch_rows)


def _sorted(parts: list[Rows]) -> Rows:
    rows = Rows.concat(parts)
    if len(rows) < 2 or (rows.time[1:] >= rows.time[:-1]).all():
        return rows
    return rows.take(np.argsort(rows.time, kind="stable"))


class _Run:
    """Sorted rows in a temporary file, read back piece by piece. head: those read and not yet used."""

    def __init__(self, rows: Rows, codes: Codes, batch_rows: int) -> None:
        vocabularies = [codes.name, codes.database, codes.policy, *codes.tags.values()]
        self.shared = {id(v): i for i, v in enumerate(vocabularies)}
        self.vocabularies = vocabularies
        try:
            self.file: IO[bytes] = tempfile.TemporaryFile(prefix="tickc-sort-")  # noqa: SIM115
            for piece in pieces(rows, batch_rows):
                _Pickler(self.file, self.shared).dump(piece)
            self.end = self.file.tell()
            self.file.seek(0)
        except OSError as error:
            raise SourceError(
                f"cannot sort: {os_reason(error)} in {tempfile.gettempdir()}",
                "set TMPDIR to a folder with room for the input",
            ) from None
        self.head = self._next()

    @property
    def more(self) -> bool:
        """Whether rows are left in the file."""
        return self.file.tell() < self.end

    def read(self) -> None:
        """Read the next piece behind the rows of the head."""
        self.head = Rows.concat([self.head, self._next()])

    def _next(self) -> Rows:
        rows: Rows = _Unpickler(self.file, self.vocabularies).load()
        return rows


class _Pickler(pickle.Pickler):
    """Writes the shared vocabularies as their numbers."""

    def __init__(self, file: IO[bytes], shared: dict[int, int]) -> None:
        super().__init__(file, protocol=5)
        self.shared = shared

    def persistent_id(self, value: Any) -> int | None:
        return self.shared.get(id(value)) if isinstance(value, Vocabulary) else None


class _Unpickler(pickle.Unpickler):
    """Reads what this process has written itself."""

    def __init__(self, file: IO[bytes], vocabularies: list[Vocabulary]) -> None:
        super().__init__(file)
        self.vocabularies = vocabularies

    def persistent_load(self, number: int) -> Vocabulary:
        return self.vocabularies[number]


def _merge(runs: list[_Run], batch_rows: int) -> Iterator[Rows]:
    """Merge runs; of equal times, those of an earlier run come first."""
    while runs:
        ends = [int(run.head.time[-1]) for run in runs if run.more]
        bound = min(ends, default=None)
        ready = []
        for run in runs:
            n = len(run.head) if bound is None else int(np.searchsorted(run.head.time, bound, "left"))
            if n:
                ready.append(run.head.take(slice(0, n)))
                run.head = run.head.take(slice(n, None))
        for run in runs:  # what is at the bound may go on in the file
            if run.more and (not len(run.head) or run.head.time[-1] == bound):
                run.read()
        if ready:
            yield from pieces(_sorted(ready), batch_rows)
        runs = [run for run in runs if len(run.head) or run.more]
