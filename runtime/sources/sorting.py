"""Rows in order of time, however many: sorted in runs that fit in memory, and sequences in that order merged.

The order is that of times; rows of one time stay as they came. Where there is more than one run, runs are written to
temporary files, as codes; the vocabularies that all batches of an input share stay in memory.
"""

from __future__ import annotations

import pickle
import tempfile
from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop
from operator import itemgetter
from typing import IO, Any, Literal

import numpy as np

from tickc.runtime.batch import Rows, Vocabulary
from tickc.runtime.sources.base import BATCH_ROWS, END, NEVER, Codes, SourceError, os_reason
from tickc.runtime.sources.columnar import pieces

RUN_ROWS = 2 << 20
RUN_CELLS = 24 << 20  # rows times columns of a run, at most
SAMPLES = 16  # rows in a batch of which times are looked at


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
    yield from merged(runs, batch_rows)


def _sorted(parts: Sequence[Rows]) -> Rows:
    rows = Rows.concat(parts)
    if len(rows) < 2 or (rows.time[1:] >= rows.time[:-1]).all():
        return rows
    return rows.take(np.argsort(rows.time, kind="stable"))


class Lane:
    """Rows in order of time that come piece by piece.

    held: pieces that were read and have not been given, each with a mark of the lane's own. known: no row that has not
    been read is before that time (ns). over: whether all have been read.
    """

    def __init__(self, known: int = NEVER) -> None:
        self.held: deque[tuple[Rows, Any]] = deque()
        self.known = known
        self.over = False

    def next(self) -> tuple[Rows, Any] | None:
        """The next piece, not empty, with its mark; None where there is none."""
        raise NotImplementedError

    def given(self, count: int, mark: Any) -> None:
        """`count` rows of the piece with this mark leave the lane."""

    def read(self) -> None:
        """Read the next piece."""
        piece = self.next()
        if piece is None:
            self.over = True
        else:
            self.held.append(piece)
            self.known = int(piece[0].time[-1])

    def ready(self, bound: int, side: Literal["left", "right"]) -> Iterator[Rows]:
        """The rows held that are before `bound` (ns), or, with "right", not after it."""
        for rows, _ in self.held:
            count = int(np.searchsorted(rows.time, bound, side))
            if count:
                yield rows if count == len(rows) else rows.take(slice(0, count))
            if count < len(rows):
                break

    def give(self, rows: Rows) -> Rows:
        """`rows`, which are the first of those held, and are held no more."""
        first, mark = self.held.popleft()
        if len(rows) < len(first):
            self.held.appendleft((first.take(slice(len(rows), None)), mark))
        self.given(len(rows), mark)
        return rows


class _Run(Lane):
    """Sorted rows in a temporary file, read back piece by piece."""

    def __init__(self, rows: Rows, codes: Codes, batch_rows: int) -> None:
        super().__init__(int(rows.time[0]))
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

    def next(self) -> tuple[Rows, Any] | None:
        return (_Unpickler(self.file, self.vocabularies).load(), None) if self.file.tell() < self.end else None


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


Part = tuple[Lane, Rows]


def merged(lanes: Iterable[Lane], batch_rows: int = BATCH_ROWS) -> Iterator[Rows]:
    """The rows of all lanes in order of time, those of one time in the order of the lanes."""
    for parts in rounds(lanes, batch_rows):
        yield from in_order(parts, batch_rows)


def rounds(lanes: Iterable[Lane], batch_rows: int = BATCH_ROWS) -> Iterator[list[Part]]:
    """The rows of all lanes from time to time: of each lane, one after the other, the next ones up to a bound.

    The order is that of time, rows of one time in the order of the lanes: of any two rows it says which comes first, so
    it hangs neither on the pieces that lanes are read in nor on where one begins. A round has all rows up to one of
    them that no round before had. That is known when no lane can bring one before it: a lane that is `known` up to a
    time can bring rows of just that time, which are before those of later lanes and after those of earlier ones.

    Whoever takes a round has to let the lanes give its rows before the next. While one lane alone holds rows, its
    pieces go as they are; a lane is not read before its time has come, and holds about a batch.
    """
    closed = [(lane.known, i, lane) for i, lane in enumerate(lanes) if not lane.over]
    heapify(closed)
    opened: list[tuple[int, Lane]] = []  # in their order
    while closed or opened:
        reached = [(lane.known, i) for i, lane in opened if not lane.over]
        bound, last = min([*reached, *(at[:2] for at in closed[:1])], default=(END, END))
        parts: list[Part] = []
        for i, lane in opened:
            parts.extend((lane, rows) for rows in lane.ready(bound, "right" if i <= last else "left"))
        count = sum(len(rows) for _, rows in parts)
        holding = [lane for _, lane in opened if lane.held]
        whole = len(holding) == 1 and count == sum(len(rows) for rows, _ in holding[0].held)
        if parts and (whole or count >= batch_rows // 4 or last == END):
            yield parts
        else:
            if closed and closed[0][1] == last:
                insort(opened, heappop(closed)[1:], key=itemgetter(0))
            dict(opened)[last].read()
        opened = [(i, lane) for i, lane in opened if lane.held or not lane.over]


def in_order(parts: Sequence[Part], batch_rows: int) -> Iterator[Rows]:
    """The rows of a round in its order, in batches of about `batch_rows`; the lanes give them."""
    while len(parts) > 1:
        bound = _time_of(batch_rows, parts)
        counts = [int(np.searchsorted(rows.time, bound, "right")) for _, rows in parts]
        first = [lane.give(rows.take(slice(0, n))) for n, (lane, rows) in zip(counts, parts) if n]
        parts = [(lane, rows.take(slice(n, None))) for n, (lane, rows) in zip(counts, parts) if n < len(rows)]
        yield _sorted(first)
    for lane, rows in parts:
        yield lane.give(rows)


def _time_of(row: int, parts: Sequence[Part]) -> int:
    """The time of about the `row`-th row in order of time, or of a later one; END where there are few more."""
    if sum(len(rows) for _, rows in parts) < 2 * row:
        return END
    step = max(row // SAMPLES, 1)
    times = np.sort(np.concatenate([rows.time[step - 1 :: step] for _, rows in parts]))
    return int(times[row // step - 1]) if row // step <= len(times) else END
