"""Messages that wait: rows of one parent of a join or union, in memory up to a budget and in files beyond it.

Messages are numbered as they come. They stand in pages; one that is left with few of its rows is written anew with
those alone. Beyond the budget pages go to files (Arrow IPC, in a temporary folder that goes with the process), those
that came last first, as what came first is mostly wanted first; a page is read back when one of its messages is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Points, Rows, Segments, Text
from tickc.runtime.nodes.regroup import concat_segments
from tickc.runtime.rooms import Scratch

PAGE = 65_536  # rows up to which pages are put together
LEAST = 1 << 19  # bytes of a page that is worth a file


def together(parts: Sequence[Any]) -> Any:
    """The messages of several batches (of own codes, without a table of groups) as one, or rows of points; None where
    there are none."""
    parts = [p for p in parts if len(p)]
    if len(parts) < 2:
        return parts[0] if parts else None
    return concat_segments(parts) if isinstance(parts[0], Segments) else type(parts[0]).concat(parts)


def message_times(batch: Batch) -> Array:
    """i8[n]: the times of messages."""
    return batch.rows.time if isinstance(batch, Points) else batch.tmax


def some(batch: Any, chosen: Array | slice) -> Any:
    """Some of the messages, of batches with rows of their own, or of the rows of points."""
    if not isinstance(batch, Segments):
        return batch.take(chosen)
    return batch.take(np.arange(len(batch))[chosen] if isinstance(chosen, slice) else chosen).flat()


@dataclass(slots=True)
class Page:
    """Messages of ascending numbers.

    number: i8[n], None where they follow each other from `first` on; low: the least time; held: bytes of rows; batch:
    None while they are only in the file; form: of a page in a file, the batch with `_Place` in the stead of arrays.
    """

    first: int
    size: int
    number: Array | None
    batch: Batch | None
    low: int
    held: int
    path: Path | None = None
    form: Any = None

    @staticmethod
    def of(batch: Batch, first: int, number: Array | None = None) -> Page:
        held = sum(array.nbytes for array in _arrays(batch) if array.strides != (0,))
        if number is not None and int(number[-1]) - int(number[0]) == len(number) - 1:
            number = None
        return Page(first, len(batch), number, batch, int(message_times(batch).min()), held)

    @property
    def last(self) -> int:
        return self.first + self.size - 1 if self.number is None else int(self.number[-1])

    @property
    def numbers(self) -> Array:
        """i8[n]: the numbers of the messages."""
        return np.arange(self.first, self.first + self.size) if self.number is None else self.number

    def leave(self) -> None:
        """Leave the rows to the file, where there is one."""
        if self.path is not None:
            self.batch = None

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Where the messages start…stop-1 begin and end, as far as they are here."""
        if self.number is None:
            return max(start - self.first, 0), min(stop - self.first, self.size)
        low, high = np.searchsorted(self.number, [start, stop]).tolist()
        return low, high

    def places(self, number: Array) -> Array:
        """i8[m]: where messages of these numbers stand."""
        return number - self.first if self.number is None else np.searchsorted(self.number, number)


def _consecutive(number: Array) -> bool:
    return int(number[-1]) - int(number[0]) == len(number) - 1 and bool((number[1:] > number[:-1]).all())


class Held:
    """Pages with what stands in them, whatever becomes of those who keep them."""

    def __init__(self, pages: Sequence[tuple[Page, Batch]]) -> None:
        self.pages = pages

    def take(self, number: Array) -> Batch:
        """The messages of these numbers (at least one), in this order."""
        return self._taken(number, self.pages)

    def rows(self, number: Array) -> Rows:
        """The rows of the points of these numbers."""
        return self._taken(number, [(page, batch.rows) for page, batch in self.pages])

    def _taken(self, number: Array, pages: Sequence[tuple[Page, Any]]) -> Any:
        low, high = int(number.min()), int(number.max())
        pages = [(page, held) for page, held in pages if page.first <= high and page.last >= low]
        if high - low == len(number) - 1 and bool((number[1:] > number[:-1]).all()):
            spans = [(page, held, *page.span(low, high + 1)) for page, held in pages]
            return together([some(held, slice(start, stop)) for _, held, start, stop in spans])
        if len(pages) == 1:
            page, held = pages[0]
            return some(held, page.places(number))
        which = np.searchsorted([page.first for page, _ in pages], number, side="right") - 1
        small = np.int16 if len(pages) < 1 << 15 else np.int64  # small numbers are sorted by their digits
        order = np.argsort(which.astype(small), kind="stable")
        parts = []
        for mine in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
            page, held = pages[int(which[mine[0]])]
            parts.append(some(held, page.places(number[mine])))
        place = np.empty(len(number), np.int64)
        place[order] = np.arange(len(number))
        return some(together(parts), place)


class Waiting:
    """The messages of one parent; see the module."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.next = 0  # the number of the next message
        self._folder: Scratch | None = None

    def __len__(self) -> int:
        """How many messages stand in the pages."""
        return sum(page.size for page in self.pages)

    def snapshot(self) -> Any:
        """All pages; what stands in files is read for it."""
        return [self.next, [[page.first, page.number, self.batch(page)] for page in self.pages]]

    def restore(self, saved: Any) -> None:
        self.next = saved[0]
        self.pages = [Page.of(batch, first, number) for first, number, batch in saved[1]]

    def add(self, batch: Batch | None) -> None:
        """Number new messages, and keep them."""
        if batch is not None and len(batch):
            self._append(Page.of(batch, self.next))
            self.next += len(batch)

    def heads(self, start: int, stop: int) -> tuple[Array, Array, Array]:
        """seq i8[n], times i8[n] and groups i4[n] of the messages start…stop-1, of which none was dropped."""
        parts = []
        for page in reversed(self.pages):
            if page.last < start:
                break
            low, high = page.span(start, stop)
            if low < high:
                batch = self.batch(page)
                parts.append((batch.seq[low:high], message_times(batch)[low:high], batch.group[low:high]))
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)
        seq, time, group = (a[0] if len(a) == 1 else np.concatenate(a) for a in zip(*reversed(parts)))
        return seq, time, group

    def take(self, number: Array) -> Batch:
        """The messages of these numbers (at least one), in this order."""
        return self.held_of(number).take(number)

    def held(self) -> Held | None:
        """All messages, where none of them is only in a file."""
        pages = [(page, page.batch) for page in self.pages if page.batch is not None]
        return Held(pages) if len(pages) == len(self.pages) else None

    def held_of(self, number: Array) -> Held:
        """The pages in which messages of these numbers stand."""
        if not len(number):
            return Held([])
        first = np.array([page.first for page in self.pages])
        if _consecutive(number):
            low, high = np.searchsorted(first, number[[0, -1]], side="right") - 1
            pages = self.pages[low : high + 1]
        else:
            pages = [self.pages[i] for i in np.unique(np.searchsorted(first, number, side="right") - 1).tolist()]
        return Held([(page, self.batch(page)) for page in pages])

    def keep(self, number: Array, since: int) -> None:
        """Drop the messages before `since` but these (i8, ascending); a page keeps all where most of its own stay."""
        number = np.concatenate([number, np.arange(since, self.next)]) if since < self.next else number
        pages, self.pages = self.pages, []
        for page in pages:
            low, high = np.searchsorted(number, [page.first, page.last + 1])
            if low == high:
                self._drop(page)
            elif page.batch is None or page.path is not None or 2 * (high - low) > page.size:
                self._append(page)
            else:
                mine = number[low:high]
                self._append(Page.of(some(page.batch, page.places(mine)), int(mine[0]), mine))

    def keep_from(self, number: int) -> None:
        """Drop the pages of which all messages come before `number`."""
        while self.pages and self.pages[0].last < number:
            self._drop(self.pages.pop(0))

    def clear(self) -> None:
        """Drop all messages."""
        self.keep_from(self.next)

    def spill(self, budget: int) -> None:
        """Let rows go to files, the last ones first, until those in memory have no more bytes than `budget`."""
        there = [page for page in self.pages if page.batch is not None]
        held = sum(page.held for page in there)
        for page in reversed(there):
            if held <= budget:
                break
            if page.held >= LEAST or page.path is not None:
                held -= page.held
                self._write(page)

    def batch(self, page: Page) -> Batch:
        """The messages of a page, which are read where they are in a file."""
        if page.batch is None:
            from tickc.runtime.snapshot import read

            assert page.path is not None
            arrays = read(page.path)
            page.batch = _mapped(page.form, _Place, lambda place: arrays[place.at])
        assert page.batch is not None
        return page.batch

    def _append(self, page: Page) -> None:
        """Take a page in at the end, together with those before it as far as pages may grow: a message is copied log n
        times at most."""
        self.pages.append(page)
        while len(self.pages) > 1 and self._fit(*self.pages[-2:]):
            one, other = self.pages[-2:]
            batch = together([self.batch(one), self.batch(other)])
            follows = one.number is None and other.number is None and one.first + one.size == other.first
            number = None if follows else np.concatenate([one.numbers, other.numbers])
            self.pages[-2:] = [Page.of(batch, one.first, number)]

    @staticmethod
    def _fit(one: Page, other: Page) -> bool:
        if one.batch is None or other.batch is None or one.path is not None or other.path is not None:
            return False
        return len(one.batch.rows) + len(other.batch.rows) <= PAGE and 2 * other.size > one.size

    def _write(self, page: Page) -> None:
        """Leave the rows of a page to its file."""
        if page.path is None:
            from tickc.runtime.snapshot import write

            if self._folder is None:
                self._folder = Scratch("tickc-waiting-")
            arrays: list[Array] = []

            def placed(array: Array) -> Any:
                if array.strides == (0,):
                    return array
                arrays.append(array)
                return _Place(len(arrays) - 1)

            page.form = _mapped(page.batch, np.ndarray, placed)
            page.path = Path(self._folder.path) / f"{page.first}.arrow"
            with open(page.path, "wb") as file:
                write(arrays, file)
        page.leave()

    def _drop(self, page: Page) -> None:
        if page.path is not None:
            page.path.unlink()


def _arrays(batch: Batch) -> Iterator[Array]:
    """The arrays of which a batch is made."""
    rows = batch.rows
    yield from (rows.time, batch.group, batch.seq)
    if isinstance(batch, Segments):
        yield from (batch.start, batch.stop, batch.tmax, batch.name.codes)
    for text in (rows.name, rows.database, rows.policy, *rows.tags.values()):
        yield text.codes
    for column in rows.fields.values():
        if isinstance(column.kinds, np.ndarray):
            yield column.kinds
        for values in column.data.values():
            yield values.codes if isinstance(values, Text) else values


class _Place:
    """Stands for an array that is in a file: which one it is there."""

    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at


def _mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """A batch with other things in the place of its parts of one kind (arrays)."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, Mapping):
        return {k: _mapped(v, kind, change) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), kind, change) for f in fields(value)})
    return value
