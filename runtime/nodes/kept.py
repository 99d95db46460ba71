"""Rows that are kept by group: appended at the end, dropped at the front, at a cost that follows what comes and goes.

The rows stand in columns that grow at their end. An index lists, for each group, where its rows stand, in order of
arrival: a run of the index with room behind it, which moves to the end of the index when that is used up. When a third
of the rows are gone, the rest moves together. So a row is copied a few times, however long it stays. Beyond a budget,
columns and index stand in files (runtime/rooms.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tickc.runtime.batch import DTYPES, STRING, Array, Column, Growing, Rows, Text, Vocabulary
from tickc.runtime.graph import Operator
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.rooms import Rooms
from tickc.runtime.snapshot import Unchanging

SLACK = 1024  # rows that may be gone before it is worth to move the others
PIECE = 1 << 20  # rows that are moved at once
LEAST_GIVEN, MOST_GIVEN = 1 << 17, 1 << 22  # rows that slices given out together may cover at most, by the budget
BYTES_GIVEN = 128  # of memory that the operators behind take for each of them
ENDLESS = 2**63 - 1

Chosen = Callable[[], "Array | None"]  # gives an index


@bare_kernel
def room_wanted(group, heads, ends, filled, moving):  # type: ignore[no-untyped-def]
    """Count rows of groups i4[n] into `filled`. Returns how much of the index the groups want that have too little room
    for them, and how many those are; they are written to `moving`."""
    moved = 0
    for i in range(group.size):
        g = group[i]
        filled[g] += 1
        if filled[g] > ends[g]:
            ends[g] = ENDLESS
            moving[moved] = g
            moved += 1
    wanted = 0
    for k in range(moved):
        g = moving[k]
        wanted += 2 * (filled[g] - heads[g])
    return wanted, moved


@bare_kernel
def move_runs(moving, index, used, heads, tails, ends, filled):  # type: ignore[no-untyped-def]
    """Move the runs of groups to the end of what is used of the index, each with room for twice as many rows as
    `filled` asks for; returns how much is used then."""
    for i in range(moving.size):
        g = moving[i]
        shift = used - heads[g]
        for k in range(heads[g], tails[g]):
            index[k + shift] = index[k]
        used += 2 * (filled[g] - heads[g])
        ends[g] = used
        heads[g] += shift
        tails[g] += shift
        filled[g] += shift
    return used


@bare_kernel
def list_row(row, g, index, tails):  # type: ignore[no-untyped-def]
    """List a row that was appended behind those of its group."""
    index[tails[g]] = row
    tails[g] += 1


@bare_kernel
def list_rows(group, first, index, tails):  # type: ignore[no-untyped-def]
    """List the rows first, first + 1, … of groups i4[n]."""
    for i in range(group.size):
        list_row(first + i, group[i], index, tails)


@bare_kernel
def owners(index, heads, tails, first, owner):  # type: ignore[no-untyped-def]
    """Write the group of each listed row into `owner`, in which that of the row `first` stands first."""
    for g in range(heads.size):
        for k in range(heads[g], tails[g]):
            owner[index[k] - first] = g


@bare_kernel
def covered(group, start, stop, spans, most, runs):  # type: ignore[no-untyped-def]
    """How many slices of groups to take together, so that they cover no more than `most` places of the index unless one
    alone does, how many they cover, and in how many runs, which are written to runs: i8[m, 2]. The slices are moved to
    where they are once the runs stand one behind the other.

    spans: i8[groups, 3], zeros, in which the number of the first and of the last slice of each group are noted, from 1.
    """
    count = group.size
    total = 0
    for e in range(group.size):
        g = group[e]
        more = stop[e] - (start[e] if spans[g, 0] == 0 else stop[spans[g, 1] - 1])
        if e > 0 and total + more > most:
            count = e
            break
        if spans[g, 0] == 0:
            spans[g, 0] = e + 1
        spans[g, 1] = e + 1
        total += more
    used = 0
    known = 0
    for e in range(count):
        g = group[e]
        if spans[g, 0] == e + 1:
            begin = start[e]
            end = stop[spans[g, 1] - 1]
            runs[known, 0] = begin
            runs[known, 1] = end
            known += 1
            spans[g, 2] = used - begin
            used += end - begin
        shift = spans[g, 2]
        if spans[g, 1] == e + 1:
            spans[g, 0] = 0
            spans[g, 1] = 0
        start[e] += shift
        stop[e] += shift
    return count, total, known


@bare_kernel
def copy_runs(runs, index, out):  # type: ignore[no-untyped-def]
    """Write runs of the index, one behind the other. runs: i8[m, 2], where each begins and ends."""
    used = 0
    for j in range(runs.shape[0]):
        for k in range(runs[j, 0], runs[j, 1]):
            out[used] = index[k]
            used += 1


def copied(runs: Array, index: Array, total: int) -> Array:
    """i8[total]: what `copy_runs` writes."""
    out = np.empty(total, np.int64)
    copy_runs(runs, index, out)
    return out


class Kept:
    """The rows that a node keeps of each group. heads, tails: i8[groups], a group's rows are those at
    index[heads[g]:tails[g]], in order of arrival. Who uses it moves them: the heads where rows go, the tails where it
    lists rows that were appended (`list_row`)."""

    def __init__(self, owner: Operator) -> None:
        """owner: whose rows they are; its `budget` may be in memory."""
        self.owner = owner
        self._clear(0)

    def _clear(self, groups: int) -> None:
        self.rooms = Rooms(self.owner)
        self.buffer = Buffer(self.rooms)
        self.index = self.rooms.empty(0, np.dtype(np.int64))
        self.used = 0  # of the index
        self.heads, self.tails = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
        self._ends = np.zeros(groups, np.int64)  # of each group's room
        self._filled = np.zeros(groups, np.int64)  # the tails, once all rows that were appended are listed
        self._spans = np.zeros((groups, 3), np.int64)
        self._look = SLACK  # rows in the buffer at which to look how many are gone

    def __len__(self) -> int:
        """How many rows are kept."""
        return int((self.tails - self.heads).sum())

    @property
    def time(self) -> Array:
        """i8[n] ns: the times of all rows that stand here, also of those that are gone."""
        return self.buffer.time.values

    def append(self, rows: Rows, group: Array, groups: int) -> int:
        """Let rows of groups i4[n] follow, with room behind the tails to list them; the place of the first of them."""
        self.reserve(groups)
        moving = np.empty(min(len(group), groups), np.int32)
        wanted, moved = room_wanted(group, self.heads, self._ends, self._filled, moving)
        if self.used + wanted > len(self.index):
            index = self.rooms.empty(max(self.used + wanted, 2 * len(self.index)), self.index.dtype)
            index[: self.used] = self.index[: self.used]
            self.rooms.release(self.index)
            self.index = index
        self.used = move_runs(
            moving[:moved], self.index, self.used, self.heads, self.tails, self._ends, self._filled
        )  # fmt: skip
        first = len(self.buffer)
        self.buffer.append(rows)
        return first

    def settle(self) -> None:
        """End a round, in which all rows that came were listed. Moves the rows together where many are gone."""
        self.rooms.rest()
        if len(self.buffer) < self._look:
            return
        listed, spare = len(self), len(self.heads) + SLACK
        if 2 * (len(self.buffer) - listed) > listed + spare or self.used > 4 * listed + spare:
            self._move()
        self._look = len(self.buffer) + (listed + spare) // 4

    def _move(self) -> None:
        """Move the kept rows together."""
        rows, owner = self._rows()
        self._clear(len(self.heads))
        self._take_over(rows, owner)

    def _take_over(self, rows: Rows, owner: Array) -> None:
        """Keep the rows that have an owner (i4[n], -1 for none), some at a time."""
        groups = len(self.heads)
        for begin in range(0, len(owner), PIECE):
            places = begin + np.flatnonzero(owner[begin : begin + PIECE] >= 0)
            if len(places):
                own, low, high = owner[places], int(places[0]), int(places[-1]) + 1
                whole = len(places) == high - low
                first = self.append(rows.take(slice(low, high) if whole else places), own, groups)
                list_rows(own, first, self.index, self.tails)

    def _rows(self) -> tuple[Rows, Array]:
        """The rows from the first that is kept on, and the group of each (i4[n], -1 of those that are gone)."""
        heads = self.heads[self.heads < self.tails]
        first = int(self.index[heads].min(initial=len(self.buffer)))
        owner = self.rooms.empty(len(self.buffer) - first, np.dtype(np.int32))
        owner[:] = -1
        owners(self.index, self.heads, self.tails, first, owner)
        return self.buffer.rows(slice(first, None)), owner

    def slices(self, group: Array, start: Array, stop: Array) -> Iterator[tuple[slice, Rows, Chosen, Array, Array]]:
        """What slices of the index cover, in parts that memory can hold: which slices, their rows, what gives an index
        into those (None where they stand as listed), and the slices in it.

        group: i4[m]; start, stop: i8[m]; of one group, neither begins nor ends before an earlier one. The index may be
        asked for when the next round has begun.
        """
        most = min(max(self.owner.budget // BYTES_GIVEN, LEAST_GIVEN), MOST_GIVEN)
        begin = 0
        while begin < len(group):
            some, first, last = group[begin:], start[begin:].copy(), stop[begin:].copy()
            runs = np.empty((len(some), 2), np.int64)
            count, total, known = covered(some, first, last, self._spans, most, runs)
            index = partial(copied, runs[:known].copy(), self.index, total)
            whole = 2 * total >= len(self.buffer) and not self.rooms.beyond
            rows = self.buffer.rows() if whole else self.buffer.rows(index())
            chosen: Chosen = index if whole else lambda: None
            self.rooms.rest()
            yield slice(begin, begin + count), rows, chosen, first[:count], last[:count]
            begin += count

    def forget(self, codes: Array) -> None:
        """Drop the rows of groups."""
        self.heads[codes] = self.tails[codes]

    def reserve(self, groups: int) -> None:
        """Make room for so many groups."""
        missing = max(groups, 2 * len(self.heads)) - len(self.heads)
        if groups > len(self.heads):
            none = np.zeros(missing, np.int64)
            self.heads, self.tails = np.concatenate([self.heads, none]), np.concatenate([self.tails, none])
            self._ends, self._filled = np.concatenate([self._ends, none]), np.concatenate([self._filled, none])
            self._spans = np.concatenate([self._spans, np.zeros((missing, 3), np.int64)])

    def snapshot(self) -> Any:
        """The rows, the group of each (i4[n], -1 of those that are gone), and how many groups there is room for."""
        return Unchanging([*self._rows(), len(self.heads)])

    def restore(self, saved: Any) -> None:
        rows, owner, groups = saved
        self._clear(groups)
        self._take_over(rows, owner)


class Buffer:
    """Rows that grow at their end."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.time = _Growing(np.zeros(0, np.int64), rooms)
        self.places = (_Texts(rooms), _Texts(rooms), _Texts(rooms))  # name, database, policy
        self.tags: dict[str, _Texts] = {}
        self.fields: dict[str, _Values] = {}

    def __len__(self) -> int:
        return len(self.time)

    def append(self, rows: Rows) -> None:
        """Let rows follow; a column that either lacks is absent there."""
        n, m = len(self), len(rows)
        for own, text in zip(self.places, (rows.name, rows.database, rows.policy)):
            own.append(text)
        for name in rows.tags:
            if name not in self.tags:
                self.tags[name] = _no_texts(n, self.rooms)
        for name, tag in self.tags.items():
            tag.append(rows.tags[name] if name in rows.tags else _no_text(m))
        for name in rows.fields:
            if name not in self.fields:
                self.fields[name] = _Values(self.rooms)
                self.fields[name].append(Column.absent(n))
        for name, values in self.fields.items():
            values.append(rows.field(name))
        self.time.extend(rows.time, m)

    def rows(self, places: Array | slice = slice(None)) -> Rows:
        """The rows at these places, which later ones do not change."""
        name, database, policy = (own.text(places) for own in self.places)
        tags = {k: v.text(places) for k, v in self.tags.items()}
        fields = {k: v.column(places) for k, v in self.fields.items()}
        return Rows(self.time.values[places], name, database, policy, tags, fields)


class _Growing(Growing):
    """An array that grows at its end, and finds room as its owner's others."""

    __slots__ = ("_found", "_rooms")

    def __init__(self, values: Array, rooms: Rooms) -> None:
        super().__init__(values)
        self._rooms = rooms
        self._found = False  # whether its room is from there

    def _larger(self, n: int) -> Array:
        if self._found:
            self._rooms.release(self._room)
        self._found = True
        return self._rooms.empty(n, self._room.dtype)


def _no_text(n: int) -> Text:
    return Text(np.broadcast_to(np.int32(-1), (n,)), Vocabulary())


class _Texts:
    """A column of strings that grows at its end; without storage for the rows while all are the same."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.n = 0
        self.vocabulary = Vocabulary()
        self.own = True  # whether the vocabulary is no one else's
        self.same: int | None = None  # the code of all rows
        self.codes = _Growing(np.zeros(0, np.int32), rooms)

    def append(self, text: Text) -> None:
        m = len(text)
        if not m:
            return
        constant = text.codes.strides == (0,)
        if not self.n:
            self.vocabulary, self.own = text.vocabulary, False
            if constant:
                self.same = int(text.codes[0])
            else:
                self.codes = _Growing(text.codes, self.rooms)
        elif not (constant and self.same is not None and text.at(0) == self._word(self.same)):
            if self.same is not None:
                self.codes, self.same = _Growing(np.full(self.n, self.same, np.int32), self.rooms), None
            if text.vocabulary is not self.vocabulary and not self.own:
                self.vocabulary, self.own = Vocabulary(self.vocabulary.strings), True
            self.codes.extend(text.recode(self.vocabulary).codes, m)
        self.n += m

    def _word(self, code: int) -> str | None:
        return None if code < 0 else self.vocabulary.strings[code]

    def text(self, places: Array | slice) -> Text:
        """The strings at some places; of a vocabulary of its own without the words that are hardly used any more."""
        codes = np.broadcast_to(np.int32(self.same), (self.n,)) if self.same is not None else self.codes.values
        text = Text(codes[places], self.vocabulary)
        return text.recode(Vocabulary()) if self.own and len(self.vocabulary) > 2 * len(text) + SLACK else text


def _no_texts(n: int, rooms: Rooms) -> _Texts:
    texts = _Texts(rooms)
    texts.append(_no_text(n))
    return texts


class _Values:
    """A column of a field that grows at its end."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.n = 0
        self.kinds: Kind | _Growing = Kind.MISSING
        self.data: dict[Kind, _Growing | _Texts] = {}

    def append(self, column: Column) -> None:
        m, column = column.n, column.normal()
        if not self.n:
            self.kinds = column.kinds if isinstance(column.kinds, Kind) else _Growing(column.kinds, self.rooms)
        elif isinstance(self.kinds, Kind) and self.kinds is not column.kinds:
            self.kinds = _Growing(np.full(self.n, self.kinds, np.uint8), self.rooms)
        if self.n and isinstance(self.kinds, _Growing):
            self.kinds.extend(column.kinds_array(), m)
        for kind in sorted(column.data.keys() - self.data.keys()):
            if kind is STRING:
                self.data[kind] = _no_texts(self.n, self.rooms)
            else:
                self.data[kind] = _Growing(np.zeros(self.n, DTYPES[kind]), self.rooms)
        for kind, values in self.data.items():
            if isinstance(values, _Texts):
                values.append(column.data.get(kind) or _no_text(m))
            else:
                values.extend(column.data.get(kind, 0), m)
        self.n += m

    def column(self, places: Array | slice) -> Column:
        """The values at some places."""
        data = {k: v.text(places) if isinstance(v, _Texts) else v.values[places] for k, v in sorted(self.data.items())}
        if isinstance(self.kinds, _Growing):
            kinds = self.kinds.values[places]
            return Column(kinds, data, len(kinds))
        return Column(self.kinds, data, len(np.broadcast_to(np.uint8(0), (self.n,))[places]))
