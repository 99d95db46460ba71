"""Rows of one input, parted among the tasks that read it.

Batches are gathered until each task has many rows of its own, within a budget, and then parted by measurement with one
sort, and a measurement's rows by the values of a tag where tasks ask for one value each. A task costs nothing where no
row concerns it. What tasks are given are views of the sorted rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tickc.runtime.batch import Array, Rows, Text, Vocabulary
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.block import Names, select
from tickc.runtime.sources.base import BATCH_ROWS

ENOUGH = 16_384  # rows of a task from which a round of its own costs little more than its rows
LOT = 128 << 20  # bytes of rows that are gathered
WORDS = 256  # strings of a vocabulary that a task may see although none of its rows has them


@dataclass(frozen=True)
class Wish:
    """Which rows a task wants, and which columns of them (None: all).

    measurements: None for any. equal: (tag, value); rows whose tag is another, or absent, come to nothing in the task.
    """

    measurements: frozenset[str] | None = None
    tags: Names = None
    fields: Names = None
    equal: tuple[str, str] | None = None


Piece = tuple[Sequence[int], Rows]  # tasks by their number, and rows for each of them


class Dispatch:
    """Hands rows to tasks. Every row is given to each task that wants it, in order."""

    def __init__(self, wishes: Sequence[Wish], batch_rows: int = BATCH_ROWS) -> None:
        """batch_rows: rows that a task is given at once."""
        self.wishes = wishes
        self.batch_rows = batch_rows
        self.shelves = _shelves(wishes)
        self.several = [
            (measurements, _Shelf([i for i, w in enumerate(wishes) if w.measurements == measurements], wishes))
            for measurements in dict.fromkeys(w.measurements for w in wishes)
            if measurements is None or len(measurements) > 1
        ]
        self.waiting: list[Rows] = []
        self.bytes = self.rows = 0
        self.begun = False  # whether any rows were handed out
        self._slots = Slots([name for name, _ in self.shelves])
        self._seen = np.zeros(len(self.shelves), np.bool_)  # the shelves that rows which wait are for
        self._looked, self._shares = 0, 1  # of how many batches somebody saw that, and how many tasks it were

    def take(self, rows: Rows) -> Iterator[Piece]:
        """Take rows; yields those for which it is time."""
        if not len(rows):
            return
        self.waiting.append(rows)
        self.rows += len(rows)
        self.bytes += rows.nbytes
        if self.bytes >= LOT or self._ample():
            yield from self.rest()

    def _ample(self) -> bool:
        """Whether the tasks that rows wait for have many each."""
        if self.rows < ENOUGH * self._shares:  # there are not fewer of them than when somebody looked last
            return False
        for rows in self.waiting[self._looked :]:
            self._seen[self._slots.present(rows.name)] = True
        self._looked = len(self.waiting)
        self._shares = max(1, sum(self.shelves[i][1].shares for i in np.flatnonzero(self._seen).tolist()))
        return self.rows >= ENOUGH * self._shares

    def rest(self) -> Iterator[Piece]:
        """All rows that wait."""
        if not self.waiting:
            return
        self.begun = True
        for tasks, piece in self._parted(self._gathered()):
            for start in range(0, len(piece), self.batch_rows):
                stop = start + self.batch_rows
                yield tasks, piece if not start and stop >= len(piece) else piece.take(slice(start, stop))

    def _gathered(self) -> Rows:
        """The rows that wait, which then do not any more."""
        rows = Rows.concat(self.waiting)
        self.waiting, self.bytes, self.rows = [], 0, 0
        self._seen[:], self._looked, self._shares = False, 0, 1
        return rows

    def _parted(self, rows: Rows) -> Iterator[Piece]:
        order, bounds = self._slots.sort(rows.name)
        for measurements, shelf in self.several:
            if measurements is None:
                yield from shelf.pieces(rows)
            else:
                at = sorted(i for name in measurements for i in [self._slots.number[name]] if bounds[i] < bounds[i + 1])
                if at:
                    chosen = [order[bounds[i] : bounds[i + 1]] for i in at]
                    yield from shelf.pieces(rows.take(chosen[0] if len(at) == 1 else np.sort(np.concatenate(chosen))))
        used = [i for i in np.flatnonzero(np.diff(bounds)).tolist() if self.shelves[i][1].tasks]
        if not used:
            return
        whole = len(used) == 1 and bounds[used[0] + 1] - bounds[used[0]] == len(rows)
        ordered = rows if whole else rows.take(order)
        del rows, order  # they are as large
        for i in used:
            name, shelf = self.shelves[i]
            one = ordered if whole else ordered.take(slice(bounds[i], bounds[i + 1]))
            yield from shelf.pieces(one.with_(name=Text.constant(name, len(one))))


def _shelves(wishes: Sequence[Wish]) -> list[tuple[str, _Shelf]]:
    """The measurements that are wanted by name, with the tasks that want that one alone."""
    alone: dict[str, list[int]] = defaultdict(list)
    for i, wish in enumerate(wishes):
        for name in wish.measurements or ():
            alone[name].extend([i] if len(wish.measurements or ()) == 1 else [])
    return [(name, _Shelf(tasks, wishes)) for name, tasks in alone.items()]


class _Shelf:
    """The tasks that want the same measurements."""

    def __init__(self, tasks: Sequence[int], wishes: Sequence[Wish]) -> None:
        self.tasks = tasks
        self.columns = _all(wishes[i].tags for i in tasks), _all(wishes[i].fields for i in tasks)
        values: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        plain = []
        for i in tasks:
            equal = wishes[i].equal
            if equal is None:
                plain.append(i)
            else:
                values[equal[0]][equal[1]].append(i)
        self.plain = _by_columns(plain, wishes)
        self.by_tag = {
            tag: (Slots(list(found)), [_by_columns(some, wishes) for some in found.values()])
            for tag, found in values.items()
        }
        self.shares = len(self.plain[:1]) + sum(len(slots.names) for slots, _ in self.by_tag.values())

    def pieces(self, rows: Rows) -> Iterator[Piece]:
        """The rows for each task."""
        if not self.tasks:
            return
        rows = tidy(select(rows, *self.columns))
        for tasks, columns in self.plain:
            yield tasks, select(rows, *columns)
        for tag, (slots, by_value) in self.by_tag.items():
            if tag in rows.fields:  # which a lambda reads before the tag
                for found in by_value:
                    for tasks, columns in found:
                        yield tasks, select(rows, *columns)
            elif tag in rows.tags:
                order, bounds = slots.sort(rows.tags[tag])
                ordered = rows.take(order)
                for i in np.flatnonzero(np.diff(bounds)).tolist():
                    one = ordered.take(slice(bounds[i], bounds[i + 1]))
                    value = Text(np.zeros(len(one), np.int32), Vocabulary([slots.names[i]]))
                    one = one.with_(tags={**one.tags, tag: value})
                    for tasks, columns in by_value[i]:
                        yield tasks, select(one, *columns)


def _all(names: Iterator[Names]) -> Names:
    found = list(names)
    return None if None in found else sorted({n for some in found for n in some or ()})


def _by_columns(tasks: Sequence[int], wishes: Sequence[Wish]) -> list[tuple[list[int], tuple[Names, Names]]]:
    """Tasks that want the same columns together."""
    found: dict[tuple[Names, Names], list[int]] = defaultdict(list)
    for i in tasks:
        tags, fields = wishes[i].tags, wishes[i].fields
        found[None if tags is None else tuple(tags), None if fields is None else tuple(fields)].append(i)
    return [(some, columns) for columns, some in found.items()]


class Slots:
    """Numbers for some strings, by which rows are sorted."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = list(names)
        self.number = {name: i for i, name in enumerate(self.names)}
        self._vocabulary: Vocabulary | None = None
        self._table = np.zeros(0, np.int32)

    def table(self, vocabulary: Vocabulary) -> Array:
        """i4[words + 1]: the number of each code, as many as there are numbers for others; the last is that of -1."""
        known = len(self._table) - 1 if vocabulary is self._vocabulary else 0
        if known < len(vocabulary) or vocabulary is not self._vocabulary:
            none = len(self.names)
            fresh = [self.number.get(text, none) for text in vocabulary.strings[known:]]
            self._table = np.concatenate([self._table[:known], np.array([*fresh, none], np.int32)])
            self._vocabulary = vocabulary
        return self._table

    def present(self, text: Text) -> Array:
        """The numbers that occur, ascending."""
        found = np.unique(self.table(text.vocabulary)[text.used()])
        return found[found < len(self.names)]

    def sort(self, text: Text) -> tuple[Array, Array]:
        """The rows that have a number, ordered by it, those of one in their order; and where each number begins."""
        slots = self.table(text.vocabulary)[text.codes]
        counts = np.bincount(slots, minlength=len(self.names) + 1)[: len(self.names)]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        if len(self.names) < 65_536:
            slots = slots.astype(np.uint16)  # which NumPy sorts by counting
        return np.argsort(slots, kind="stable")[: bounds[-1]], bounds


def tidy(rows: Rows) -> Rows:
    """The same rows without columns that have no value in any, and with the small vocabularies of few rows."""
    fields = {name: column.normal() for name, column in rows.fields.items()}
    tags = {name: _compact(text) for name, text in rows.tags.items()}
    return rows.with_(
        fields={name: column for name, column in fields.items() if column.kinds is not Kind.MISSING},
        tags={name: text for name, text in tags.items() if len(text.vocabulary)},
    )


def _compact(text: Text) -> Text:
    """The strings with a vocabulary of those that occur, where there are many others."""
    if len(text.vocabulary) <= WORDS or len(text.vocabulary) <= len(text) // 16:
        return text if (text.codes >= 0).any() else Text(text.codes, Vocabulary())
    used, codes = np.unique(text.codes, return_inverse=True)
    absent = int(len(used) > 0 and used[0] < 0)
    strings = text.vocabulary.strings
    return Text((codes - absent).astype(np.int32), Vocabulary([strings[c] for c in used[absent:].tolist()]))
