"""`|join()` and `|union()`: the messages of several parents, brought together by time.

In each round both see all that their parents made of the same input rows, and take it message by message (a point, or a
batch) in the order of the rows that caused them (`seq`). Messages that one row caused come in the order of the parents:
for a join as they are written, for a union the arguments first and the node that it is chained from last. Kapacitor's
order is that of a race; this one is the same for every way to cut the input. What comes out has the `seq` of the
message that released it.

What waits is kept by its number among the messages of its parent, its rows apart (waiting.py); a round costs as much as
it brings (docs/decisions/waiting.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from tickc.runtime.batch import (
    BARRIER,
    DELETE,
    DTYPES,
    Array,
    Batch,
    Column,
    Groups,
    Marks,
    Points,
    Rows,
    Segments,
    Text,
    Vocabulary,
    select,
)
from tickc.runtime.graph import AT_THE_END, NEVER, Graph, Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.block import select as columns
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.pairing import (
    NUMBER,
    SOURCE,
    TIME,
    Matching,
    Messages,
    Pairing,
    Sets,
    earliest,
    in_pages,
    pair_rows,
    rounded,
    sets_at_the_end,
)
from tickc.runtime.nodes.stream import YEAR_ONE, round_
from tickc.runtime.nodes.waiting import PAGE, Held, Page, Waiting, message_times, some, together
from tickc.runtime.team import ALONE

NO_GROUPS = Groups()
SLACK = 4 * PAGE  # messages that went already and may be kept with those that wait
AT_ONCE = 8 * PAGE  # sets of which what comes out may be made later, from rows in memory
_NO_BARRIERS = np.zeros((3, 0), np.int64)


@kernel
def move_heads(time, group, unit, offset, heads, top, out):  # type: ignore[no-untyped-def]
    """Round times (i8[n] -> out: i8[n]) and set the last and highest times of all parents in the groups i4[n] to them,
    in order; heads, top: i8[groups, parents]."""
    for i in range(time.size):
        t = rounded(time[i], unit, offset)
        out[i] = t
        for s in range(heads.shape[1]):
            heads[group[i], s] = t
            top[group[i], s] = max(top[group[i], s], t)


# ------------------------------------------------------------------------------------------- what both operators share


class Merged:
    """One table for the groups of several edges: equal ids are one group. rename: a new name for all of them."""

    def __init__(self, rename: str = "") -> None:
        self.rename = rename
        self.groups = Groups()
        self._tables: dict[int, tuple[Groups, Array, bool]] = {}  # by id of the foreign table, which is held

    def snapshot(self) -> Any:
        return self.groups

    def restore(self, groups: Groups) -> None:
        self.groups = groups
        self._tables = {}

    def encode(self, group: Array, groups: Groups) -> Array:
        """i4[n]: own codes for i4[n] codes in `groups`."""
        table = self.codes(groups)
        return group.astype(np.int32, copy=False) if self._tables[id(groups)][2] else table[group]

    def codes(self, groups: Groups) -> Array:
        """i4[groups]: own codes of all groups that are in `groups` now."""
        _, table, same = self._tables.setdefault(id(groups), (groups, np.zeros(0, np.int32), True))
        if len(groups) > len(table):
            fresh = self.groups.take_over(groups, len(table), self.rename)
            same = same and bool((fresh == np.arange(len(table), len(table) + len(fresh))).all())
            table = np.concatenate([table, fresh])
            self._tables[id(groups)] = groups, table, same
        return table

    def marks(self, marks: Marks) -> Marks:
        """Marks with own codes; they keep their groups' ids."""
        self.encode(marks.group, marks.groups)  # so that groups which marks bring have names
        return marks.among(self.groups)


class _Meeting(Operator, ABC):
    """An operator with several parents: what waits of each.

    What a round brings is only put aside where it is certain that nothing can come out (`_still`), as long as a parent
    has sent nothing at all, say; it is taken in before the next messages that may bring something.
    """

    pours = True
    spills = True
    alone = True

    def __init__(self, *, name: str, parents: int, rename: str = "") -> None:
        super().__init__(name=name)
        self.groups = Merged(rename)
        self.stores = [Waiting() for _ in range(parents)]
        self.heard = np.zeros(parents, np.bool_)
        self.taken = np.zeros(parents, np.int64)  # the number of the first message of each parent that is put aside
        self.cuts: list[Array] = []  # the same after rounds since then, where much had come
        self.team = ALONE

    def attach(self, graph: Graph) -> None:
        self.team = graph.team

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        fresh = [together([self._own(s, b) for b in batches]) for s, batches in enumerate(inputs)]
        if all(f is None for f in fresh):
            return
        self.heard |= [f is not None for f in fresh]
        joined = self._side_by_side(fresh)
        if joined is not None:
            yield joined
            return
        still = self._still(fresh)
        for store, batch in zip(self.stores, fresh):
            store.add(batch)
        if not still:
            yield from self._catch_up()
        elif (self._ends() - (self.cuts[-1] if self.cuts else self.taken)).sum() >= PAGE:
            self.cuts.append(self._ends())
        self._spill()

    def marks_of(self, parent: int, marks: Marks) -> Iterable[Any]:
        """Take in marks of a parent, runs of one kind at a time."""
        marks = self.groups.marks(marks)
        yield from self._catch_up()
        if (marks.kind == BARRIER).any():
            self.heard[parent] = True
        for part in np.split(np.arange(len(marks)), np.flatnonzero(np.diff(marks.kind)) + 1):
            run = marks.take(part)
            yield from self._deleted(parent, run) if run.kind[0] == DELETE else self._passed(parent, run)

    def finish(self) -> Iterable[Batch]:
        yield from self._end()
        for store in self.stores:
            store.clear()

    def _catch_up(self) -> Iterator[Batch]:
        """Take in what was put aside, as much at a time as rounds brought."""
        for stop in [*self.cuts, self._ends()]:
            first, self.taken = self.taken, stop
            if (stop > first).any():
                yield from self._take_in(
                    [s.heads(a, b) for s, a, b in zip(self.stores, first.tolist(), stop.tolist())], first
                )
                self._let_go()
        self.cuts = []

    def _ends(self) -> Array:
        return np.array([store.next for store in self.stores])

    def _spill(self) -> None:
        for store in self.stores:
            store.spill(self.budget // len(self.stores))

    def _own(self, parent: int, batch: Batch) -> Batch:
        """A parent's batch in terms of the operator: flat, own group codes, only what is needed."""
        group = self.groups.encode(batch.group, batch.groups)
        if isinstance(batch, Points):
            return Points(batch.rows, group, NO_GROUPS, batch.seq)
        return replace(batch.flat(), group=group, groups=NO_GROUPS)

    def _side_by_side(self, fresh: Sequence[Batch | None]) -> Batch | None:
        """What comes out for new points that can go on side by side as they are; None for others."""
        return None

    def _still(self, fresh: Sequence[Batch | None]) -> bool:
        """Whether nothing can come out for what a round brings until more comes."""
        return not self.heard.all()

    @abstractmethod
    def _take_in(self, parts: Sequence[tuple[Array, Array, Array]], first: Array) -> Iterable[Batch]:
        """Take in messages of each parent: their seq, times and groups, and the number of the first."""

    @abstractmethod
    def _let_go(self) -> None:
        """Drop the rows of messages that do not wait any more."""

    @abstractmethod
    def _passed(self, parent: int, barriers: Marks) -> Iterable[Any]:
        """Take in barriers (with own group codes, as in `_deleted`)."""

    @abstractmethod
    def _deleted(self, parent: int, gone: Marks) -> Iterable[Any]:
        """Take in that groups are gone."""

    @abstractmethod
    def _end(self) -> Iterable[Batch]:
        """What the end of the input releases."""


def _messages(parts: Sequence[tuple[Array, Array, Array]], first: Array) -> Messages:
    """The messages of all parents, numbered from `first` on."""
    sizes = np.array([len(seq) for seq, _, _ in parts])
    seq, time, group = (np.concatenate(arrays) for arrays in zip(*parts))
    source = np.repeat(np.arange(len(parts), dtype=np.int8), sizes)
    number = np.concatenate([np.arange(a, a + n) for a, n in zip(first.tolist(), sizes.tolist())])
    return Messages(seq, time, group, source, number, np.cumsum(sizes) - sizes)


# ---------------------------------------------------------------------------------------------------------------- join


class Join(_Meeting):
    """Points (or batches) of all parents with one time in one group become one, with prefixes before their fields.

    Kapacitor join.go. Times are rounded to `tolerance`; the k-th message of each parent at a time belongs to its k-th
    set. Of a group's sets the oldest is released once it is complete, or, incomplete, once every parent is past it.
    fill: None is an inner join, which drops incomplete sets (on a batch edge their points only); "null" or a number
    takes the place of the fields of a missing parent, with the names of the fields of the first one that is there.
    on: dimensions by which messages of larger groups join those of every group within (`Matching`).
    """

    STATE = ("groups", "renamed", "stores", "heard", "taken", "cuts", "streams", "silent", "pairing", "matching")

    def __init__(
        self,
        *,
        name: str,
        names: Sequence[str],
        on: Sequence[str] = (),
        delimiter: str = ".",
        tolerance: int = 0,
        stream_name: str = "",
        fill: str | int | float | None = None,
        delete_all: bool = False,
        fields: Sequence[Sequence[str] | None] | None = None,
    ) -> None:
        """delete_all: when a group is deleted, forget the low marks of all; fields: of each parent those that are read
        further down, None for all."""
        super().__init__(name=name, parents=len(names))
        self.selected = fields or [None] * len(names)
        self.names = tuple(names)
        self.prefixes = tuple(n + delimiter for n in names)
        self.tolerance, self.stream_name, self.fill, self.delete_all = tolerance, stream_name, fill, delete_all
        self._unit = (tolerance, YEAR_ONE % tolerance if tolerance > 0 else 0)
        self.renamed = Merged(stream_name)
        self.streams = True  # whether it stands on stream edges
        self.silent = -1  # the parent that is waited for, while messages are put aside; -1: one that never sent
        self.pairing = Pairing(len(names))
        self.matching = Matching(on, len(names)) if on else None

    def notes(self) -> Iterable[str]:
        others = sum(store.next for store in self.stores)
        what = "points" if self.streams else "batches"
        for name, heard in zip(self.names, self.heard):
            if not heard and others:
                fate = "joined nothing" if self._drops else "have what `.fill()` says in place of its fields"
                yield f"{self.name}: nothing came from `{name}`; {others:,} {what} of the others {fate}"

    @property
    def _drops(self) -> bool:
        return self.streams and self.fill is None

    def _own(self, parent: int, batch: Batch) -> Batch:
        own = super()._own(parent, batch.with_rows(columns(batch.rows, (), self.selected[parent])))
        self.streams = isinstance(own, Points)
        n = len(own.rows)
        rows = own.rows.with_(database=no_text(n), policy=no_text(n))
        return own.with_rows(rows if isinstance(own, Points) else rows.with_(name=no_text(n)))

    def _still(self, fresh: Sequence[Batch | None]) -> bool:
        if not self.heard.all():
            self.silent = -1
            return True
        aside = (self._ends() > self.taken).any()
        if self.matching is not None or (aside and self.silent < 0):
            return False
        self.pairing.reserve(len(self.groups.groups), self.team.size)
        absent = [s for s, batch in enumerate(fresh) if batch is None]
        if not absent:
            return False
        given = [(b.group, round_(message_times(b), self.tolerance)) for b in fresh if b is not None]
        for silent in [self.silent] if aside else absent:
            if silent in absent and all(self.pairing.is_still(silent, *g) for g in given):
                self.silent = silent
                return True
        return False

    def _take_in(self, parts: Sequence[tuple[Array, Array, Array]], first: Array) -> Iterable[Batch]:
        messages = _messages(parts, first)
        if self.matching is not None:
            messages = replace(messages, time=round_(messages.time, self.tolerance))
            messages = self.matching.process(messages, self.groups.groups)
        return self._release(messages, messages.seq, _NO_BARRIERS.copy())

    def _release(self, messages: Messages, seq: Array, barriers: Array) -> Iterable[Batch]:
        """The sets that new messages, and then barriers, i8[3, k], complete or let go. seq: i8[n + k]."""
        self.pairing.reserve(len(self.groups.groups), self.team.size)
        sets = self.pairing.take(messages, barriers, self._unit, self._drops, self.team)
        return self._given(sets, seq)

    def _given(self, sets: Sets, seq: Array) -> Iterable[Batch]:
        """What comes out for sets; seq: of what may have released them."""
        codes, held = self.renamed.codes(self.groups.groups), [store.held() for store in self.stores]
        known = [h for h in held if h is not None]
        if len(sets) <= AT_ONCE and len(known) == len(held):
            return self.later(lambda: (self._made(page, seq, codes, known) for page in sets.pages(PAGE)))
        return self._paged(sets.pages(PAGE), seq)

    def _paged(self, parts: Iterable[Array], seq: Array) -> Iterator[Batch]:
        """What comes out for sets, a few at a time, of which the rows may be in files."""
        codes = self.renamed.codes(self.groups.groups)
        for sets in parts:
            held = [store.held_of(number[number >= 0]) for store, number in zip(self.stores, sets)]
            yield self._made(sets, seq, codes, held)

    def _made(self, sets: Array, seq: Array, codes: Array, held: Sequence[Held]) -> Batch:
        """What comes out for sets: i8[parents + 3, n], the numbers of the messages of each parent (-1: none), time,
        group and the place in `seq` of what released them, which is used up. codes: i4[groups], of what comes out;
        held: the messages."""
        chosen, cause, rows = sets[:-1], sets[-1], list[Any]()
        for parent, number in zip(held, chosen):
            there = slice(None) if number.min() >= 0 else number >= 0
            wanted = number[there]
            found = parent.rows if self.streams else parent.take
            rows.append(found(wanted) if len(wanted) else None)
            number[there] = np.arange(len(wanted))
        return (self._points if self.streams else self._batches)(rows, chosen, codes[chosen[-1]], seq[cause])

    def _let_go(self) -> None:
        counts = self.pairing.waiting + (0 if self.matching is None else self.matching.waiting)
        crowded: list[int] = []
        for s, (store, waiting, first) in enumerate(zip(self.stores, counts.tolist(), self.taken.tolist())):
            if not waiting:
                store.keep_from(first)
            elif len(store) - (store.next - first) > 2 * waiting + SLACK:
                crowded.append(s)
        if not crowded:
            return
        source, number = self.pairing.left()[[SOURCE, NUMBER]]
        if self.matching is not None:
            source, number = np.concatenate([[source, number], self.matching.left()], axis=1)
        for s in crowded:
            mine = np.sort(number[source == s])
            if self.matching is not None:  # which may have sent a message to several groups
                mine = np.unique(mine)
            self.stores[s].keep(mine, int(self.taken[s]))

    def _passed(self, parent: int, barriers: Marks) -> Iterable[Any]:
        time = round_(barriers.time, self.tolerance)
        passed = np.array([np.full_like(time, parent), time, barriers.group])
        yield from self._release(Messages.none(), barriers.seq, passed)
        self._let_go()
        yield self.renamed.marks(barriers)

    def _deleted(self, parent: int, gone: Marks) -> Iterable[Any]:
        self.pairing.reserve(len(self.groups.groups), self.team.size)
        self.pairing.forget(gone.group)
        if self.matching is not None:
            self.matching.forget(parent, gone.group, gone.groups, self.delete_all)
        self._let_go()
        yield self.renamed.marks(gone)

    def _end(self) -> Iterator[Batch]:
        """All sets, in order of time. A few pages are looked at at once: as many as have messages of the same times."""
        if self.matching is not None:
            yield from self._catch_up()
        left = self.pairing.left()
        if self._drops and (self.pairing.waiting + self._ends() == self.taken).any():
            return
        left = left[:, np.lexsort((left[NUMBER], left[SOURCE]))]
        edges = np.searchsorted(left[SOURCE], np.arange(len(self.stores) + 1))
        pages = sorted(((p.low, s, p) for s, store in enumerate(self.stores) for p in store.pages), key=lambda p: p[:2])
        parts: list[Array] = []  # i8[5, n]: messages and when they came
        enough = PAGE
        for i, (_, s, page) in enumerate(pages):
            parts.append(self._rest(s, page, left[:, edges[s] : edges[s + 1]]))
            if i + 1 < len(pages) and sum(part.shape[1] for part in parts) < enough:
                continue
            whole = np.concatenate(parts, axis=1)
            stop = AT_THE_END if i + 1 == len(pages) else round_(np.array([pages[i + 1][0]]), self.tolerance)[0]
            ready = whole[TIME] < stop if i + 1 < len(pages) else np.ones(whole.shape[1], np.bool_)
            sets = sets_at_the_end(whole[:, ready], len(self.stores), self._drops)
            places = np.arange(sets.shape[1])
            sets = np.concatenate([sets, [places]])
            yield from self._paged(in_pages(sets, PAGE), np.full(len(places), AT_THE_END))
            parts = [whole[:, ~ready]]
            enough = PAGE + 2 * parts[0].shape[1]
            for _, _, page in pages[: i + 1]:
                page.leave()

    def _rest(self, parent: int, page: Page, left: Array) -> Array:
        """i8[5, n]: the messages of a page that wait, and when they came: those of `left` (i8[5, m], by number), and
        those that were put aside."""
        low, high = np.searchsorted(left[NUMBER], [page.first, page.last + 1])
        if self.matching is not None or page.last < self.taken[parent]:
            return left[:, low:high]
        batch, number = self.stores[parent].batch(page), page.numbers
        number = number[number >= self.taken[parent]]
        place = page.places(number)
        time = round_(message_times(batch)[place], self.tolerance)
        aside = [np.full(len(number), parent), time, batch.group[place], number, batch.seq[place]]
        return np.concatenate([left[:, low:high], aside], axis=1)

    def _aligned(self, fresh: Sequence[Batch | None]) -> list[Points]:
        """The new points, where nothing waits and each has its counterparts at its own place in the batches, caused by
        the same row: then each set is complete when the last of its points comes. Else nothing."""
        points = [b for b in fresh if isinstance(b, Points)]
        if not 2 <= len(points) == len(fresh) or any(store.pages for store in self.stores) or self.matching is not None:
            return []
        a = points[0]
        same = len({len(b) for b in points}) == 1 and all(
            np.array_equal(a.seq, b.seq)
            and np.array_equal(a.group, b.group)
            and np.array_equal(a.rows.time, b.rows.time)
            for b in points[1:]
        )
        return points if same and bool((a.seq[1:] > a.seq[:-1]).all()) else []

    def _side_by_side(self, fresh: Sequence[Batch | None]) -> Points | None:
        """Points that are aligned, joined: their columns are taken as they are."""
        points = self._aligned(fresh)
        if not points:
            return None
        base, n = points[0], len(points[0])
        time = np.empty(n, np.int64)
        self.pairing.reserve(len(self.groups.groups), self.team.size)
        row = self.pairing.rows(base.group)
        move_heads(base.rows.time, row, *self._unit, self.pairing.heads, self.pairing.top, time)
        group = self.renamed.encode(base.group, self.groups.groups)
        name = Text.constant(self.stream_name, n) if self.stream_name else base.rows.name
        fields = self._prefixed([p.rows.fields for p in points])
        rows = Rows(time, name, no_text(n), no_text(n), self.renamed.groups.tags(group), fields)
        return Points(rows, group, self.renamed.groups, base.seq)

    # -- what comes out; `held`, `parents`: what each parent gave, to which `sets` refer by their places

    def _points(self, parents: Sequence[Rows | None], sets: Array, group: Array, seq: Array) -> Points:
        """The joined points of sets (rows of each parent, time)."""
        refs = sets[:-2]
        n = refs.shape[1]
        rows = Rows(
            sets[-2].copy(),
            self._name([None if p is None else p.name for p in parents], refs),
            no_text(n),
            no_text(n),
            self.renamed.groups.tags(group),
            self._fields(parents, refs, _first(refs) if self.fill is not None else refs),
        )
        return Points(rows, group, self.renamed.groups, seq)

    def _batches(self, held: Sequence[Batch | None], sets: Array, group: Array, seq: Array) -> Segments:
        """The joined batches of sets: their points are joined by time in turn."""
        refs, tmax, n = sets[:-2], sets[-2].copy(), sets.shape[1]
        name = self._name([b.name if isinstance(b, Segments) else None for b in held], refs)
        parents = [None if b is None else b.rows for b in held]
        joined, model = self._join_rows(held, refs)
        owner = joined[-1]
        stop = np.searchsorted(owner, np.arange(n), side="right")
        m = len(owner)
        rows = Rows(
            joined[-2].copy(),
            name.take(owner),
            no_text(m),
            no_text(m),
            self.renamed.groups.tags(group[owner]),
            self._fields(parents, joined[:-2], model),
        )
        start = np.concatenate([[0], stop[:-1]]).astype(np.int64)
        return Segments(rows, start, stop, tmax, group, self.renamed.groups, name, seq)

    def _join_rows(self, held: Sequence[Batch | None], refs: Array) -> tuple[Array, Array]:
        """The joined points of the batches `refs`: i8[parents + 2, n], the row of each parent, the time and the set;
        and i8[parents, n], the row whose fields stand for those of missing ones."""
        tables = [b if isinstance(b, Segments) else None for b in held]
        sizes = np.array([0 if b is None else len(b.rows) for b in tables])
        offset = np.cumsum(sizes) - sizes
        start, stop = np.zeros((2, *refs.shape), np.int64)
        for s, b in enumerate(tables):
            if b is not None:
                there = np.flatnonzero(refs[s] >= 0)
                start[s, there] = b.start[refs[s, there]] + offset[s]
                stop[s, there] = b.stop[refs[s, there]] + offset[s]
        time = round_(_arrays([b.rows.time for b in tables if b is not None], np.int64), self.tolerance)
        usable = _arrays([_any_field(b.rows) for b in tables if b is not None], np.bool_)
        n = int((stop - start).sum())
        out = np.empty((len(held) + 3, n), np.int64)
        taken = pair_rows(start, stop, time, usable, self.fill is None, out)
        joined, model = out[:-1, :taken], out[-1, :taken]
        below, above = offset[:, None], (offset + sizes)[:, None]
        joined[:-2] -= np.where(joined[:-2] >= 0, below, 0)
        return joined, np.where((model >= below) & (model < above), model - below, -1)

    def _name(self, names: Sequence[Text | None], refs: Array) -> Text:
        """The names of sets: those of the first rows `refs` that are there."""
        if self.stream_name:
            return Text.constant(self.stream_name, refs.shape[1])
        if names[0] is not None and refs[0].min() >= 0:
            return names[0].take(refs[0])
        base = _first(refs)
        choices = [(np.flatnonzero(at >= 0), at, text) for at, text in zip(base, names) if text is not None]
        choices = [c for c in choices if len(c[0])]
        if len(choices) == 1:
            return choices[0][2].take(choices[0][1])
        vocabulary = Vocabulary()
        codes = np.full(base.shape[1], -1, np.int32)
        for rows, at, text in choices:
            codes[rows] = text.take(at[rows]).recode(vocabulary).codes
        return Text(codes, vocabulary)

    def _fields(self, parents: Sequence[Rows | None], refs: Array, model: Array) -> dict[str, Column]:
        """The fields of joined points. refs: i8[parents, n], the row of each parent, -1 where it is missing; model: the
        same with just the one whose fields stand for those of missing ones."""
        tables: list[dict[str, Column]] = []
        filled = {} if self.fill is None else _presence(parents, model)
        for rows, at in zip(parents, refs):
            own = {} if rows is None else rows.fields
            there = None if len(at) and at.min() >= 0 else at >= 0
            names = own if there is None else {**own, **filled}
            tables.append({n: _gathered(own.get(n), at, there, filled.get(n), self.fill) for n in names})
        return self._prefixed(tables)

    def _prefixed(self, tables: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
        """The fields of all parents under their names in the joined points; where two have one name, the later wins."""
        fields: dict[str, Column] = {}
        for prefix, table in zip(self.prefixes, tables):
            for name, column in table.items():
                key = prefix + name
                fields[key] = _over(column, fields[key]) if key in fields else column
        return fields


def _first(refs: Array) -> Array:
    """i8[parents, n]: of each column of `refs` only the first entry that is not -1."""
    first = np.argmax(refs >= 0, axis=0)
    return np.where(np.arange(len(refs))[:, None] == first, refs, -1)


def _any_field(rows: Rows) -> Array:
    """bool[n]: the rows with at least one field."""
    found = np.zeros(len(rows), np.bool_)
    for column in rows.fields.values():
        found |= column.present()
    return found


def _presence(parents: Sequence[Rows | None], model: Array) -> dict[str, Array]:
    """For each field of any parent: bool[n], whether the model row (one of the parents', or none) has it."""
    found: dict[str, Array] = {}
    for rows, at in zip(parents, model):
        there = np.flatnonzero(at >= 0)
        for name, column in (rows.fields if rows is not None else {}).items():
            has = found.setdefault(name, np.zeros(model.shape[1], np.bool_))
            has[there] = column.present()[at[there]]
    return found


def _gathered(own: Column | None, at: Array, there: Array | None, has: Array | None, fill: Any) -> Column:
    """A parent's field in joined points: its value at rows `at` where the parent is there (None: everywhere), the fill
    where it is not and the model point has the field, else nothing."""
    if there is None:
        assert own is not None
        return own if np.array_equal(at, np.arange(len(own))) else own.take(at)
    choices = []
    if own is not None:
        rows = np.flatnonzero(there)
        choices.append((rows, own.take(at[rows])))
    if has is not None:
        rows = np.flatnonzero(has & ~there)
        choices.append((rows, _constant(fill, len(rows))))
    return select(choices, len(at))


def _constant(fill: Any, n: int) -> Column:
    if isinstance(fill, str):
        return Column(Kind.NIL, {}, n)
    kind = Kind.FLOAT if isinstance(fill, float) else Kind.INT
    return Column.of(kind, np.full(n, fill, DTYPES[kind]))


def _over(upper: Column, lower: Column) -> Column:
    """`upper`, and `lower` in the rows where it is absent."""
    present = upper.present()
    rows = [np.flatnonzero(present), np.flatnonzero(~present)]
    return select([(r, c.take(r)) for r, c in zip(rows, (upper, lower))], upper.n)


def _arrays(parts: Sequence[Array], dtype: type) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts])


# --------------------------------------------------------------------------------------------------------------- union


@kernel
def pass_marks(time, what, head, end, marks, drain, cause, source, passing, causes, passed):  # type: ignore[no-untyped-def]
    """Let through what is at or below the low-water mark, until nothing is (Kapacitor's emitReady).

    time, what: i8[parents, m], what waits of parent s at head[s]:end[s], in order of arrival; marks: i8[parents], the
    time that was last waiting. Returns the new number of messages in source (parents), passing and causes.
    """
    while True:
        mark = np.int64(NEVER)
        known = 0
        for s in range(head.size):
            if head[s] < end[s]:
                marks[s] = time[s, head[s]]
            if marks[s] != NEVER:
                known += 1
                if (head[s] < end[s] or not drain) and (mark == NEVER or marks[s] < mark):
                    mark = marks[s]
        if known < head.size and not drain:
            return passed
        before = passed
        for s in range(head.size):
            while head[s] < end[s] and time[s, head[s]] <= mark:
                source[passed] = s
                passing[passed] = what[s, head[s]]
                causes[passed] = cause
                head[s] += 1
                passed += 1
        if passed == before:
            return passed


@kernel
def merge_by_time(seq, fresh, start, stop, time, what, head, end, marks, source, passing, causes):  # type: ignore[no-untyped-def]
    """Merge messages by time as they arrive.

    seq: i8[n], of parent s at start[s]:stop[s]; fresh: i8[2, n], their time and what they are. Appends them to what
    waits (see `pass_marks`) and writes what passes, with the seq of the message that let it. Returns its size.
    """
    passed = 0
    while True:
        s = earliest(seq, start, stop)
        if s < 0:
            return passed
        i = start[s]
        start[s] += 1
        time[s, end[s]] = fresh[0, i]
        what[s, end[s]] = fresh[1, i]
        end[s] += 1
        passed = pass_marks(time, what, head, end, marks, False, seq[i], source, passing, causes, passed)


class Queues:
    """What waits of each parent of a union, in order of arrival: times, and numbers of messages; -1 and below are
    barriers, of which `told` has the times and groups. low: i8[parents], the time that was last waiting."""

    def __init__(self, parents: int) -> None:
        self.time = self.what = np.zeros((parents, 0), np.int64)
        self.head, self.end = np.zeros(parents, np.int64), np.zeros(parents, np.int64)
        self.low = np.full(parents, NEVER, np.int64)
        self.told = np.zeros((2, 0), np.int64)

    _ARRAYS = ("time", "what", "head", "end", "low", "told")

    def snapshot(self) -> Any:
        return [getattr(self, name) for name in self._ARRAYS]

    def restore(self, saved: Any) -> None:
        for name, array in zip(self._ARRAYS, saved):
            setattr(self, name, array)

    def merge(self, seq: Array, fresh: Array, sizes: Array) -> tuple[Array, Array, Array]:
        """What passes when messages arrive (see `merge_by_time`): parents, what it is, and the seq that let it."""
        self._reserve(int(sizes.max(initial=0)))
        stop = np.cumsum(sizes)
        out = np.empty((3, int((self.end - self.head).sum()) + len(seq)), np.int64)
        passed = merge_by_time(
            seq, fresh, stop - sizes, stop, self.time, self.what, self.head, self.end, self.low, out[0], out[1], out[2]
        )
        return out[0, :passed], out[1, :passed], out[2, :passed]

    def drain(self) -> tuple[Array, Array, Array]:
        """All that waits, as `merge` gives it."""
        out = np.empty((3, int((self.end - self.head).sum())), np.int64)
        pass_marks(
            self.time, self.what, self.head, self.end, self.low, True, AT_THE_END, out[0], out[1], out[2], 0
        )  # fmt: skip
        return out[0], out[1], out[2]

    def tell(self, barriers: Marks) -> Array:
        """i8[m]: what barriers are among what waits."""
        if (self.head == self.end).all():
            self.told = self.told[:, :0]
        known = self.told.shape[1]
        self.told = np.concatenate([self.told, [barriers.time, barriers.group]], axis=1)
        return -1 - np.arange(known, known + len(barriers))

    def first(self, parent: int) -> int | None:
        """The first message of a parent that waits, None where only barriers do."""
        waiting = self.what[parent, self.head[parent] : self.end[parent]]
        for start in range(0, len(waiting), 1024):
            data = waiting[start : start + 1024]
            if (data >= 0).any():
                return int(data[np.argmax(data >= 0)])
        return None

    def _reserve(self, more: int) -> None:
        """Make room at the end of the queues: first by moving them to the beginning."""
        room = self.time.shape[1]
        if not len(self.end) or int(self.end.max()) + more <= room:
            return
        longest = int((self.end - self.head).max())
        size = room if 2 * (longest + more) <= room else 2 * (longest + more)
        time, what = np.empty((2, len(self.head), size), np.int64)
        for s, (a, b) in enumerate(zip(self.head, self.end)):
            time[s, : b - a], what[s, : b - a] = self.time[s, a:b], self.what[s, a:b]
        self.time, self.what = time, what
        self.head, self.end = np.zeros_like(self.head), self.end - self.head


class Union(_Meeting):
    """All messages of the parents, in order of time as far as they arrive so; equal times in the order of the parents.

    Kapacitor union.go: the mark is the earliest time that any parent may still send, all groups taken together.
    Barriers wait among the other messages; that a group is deleted is told at once.
    """

    STATE = ("groups", "stores", "heard", "taken", "cuts", "queues")

    def __init__(self, *, name: str, parents: int, rename: str = "") -> None:
        super().__init__(name=name, parents=parents, rename=rename)
        self.rename = rename
        self.queues = Queues(parents)

    def notes(self) -> Iterable[str]:
        others = sum(store.next for store in self.stores)
        silent = int(np.count_nonzero(~self.heard))
        if silent and others:
            yield f"{self.name}: nothing came from {silent} of its {len(self.heard)} nodes; all else waited for the end"

    def _own(self, parent: int, batch: Batch) -> Batch:
        own = super()._own(parent, batch)
        if not self.rename:
            return own
        name = Text.constant(self.rename, len(own))
        return own.with_rows(own.rows.with_(name=name)) if isinstance(own, Points) else replace(own, name=name)

    def _take_in(self, parts: Sequence[tuple[Array, Array, Array]], first: Array) -> Iterator[Batch]:
        sizes = np.array([len(seq) for seq, _, _ in parts])
        number = np.concatenate([np.arange(a, a + n) for a, n in zip(first.tolist(), sizes.tolist())])
        fresh = np.array([np.concatenate([time for _, time, _ in parts]), number])
        return self._passing(*self.queues.merge(np.concatenate([seq for seq, _, _ in parts]), fresh, sizes))

    def _passed(self, parent: int, barriers: Marks) -> Iterable[Any]:
        sizes = np.where(np.arange(len(self.stores)) == parent, len(barriers), 0)
        fresh = np.array([barriers.time, self.queues.tell(barriers)])
        yield from self._passing(*self.queues.merge(barriers.seq, fresh, sizes))
        self._let_go()

    def _deleted(self, parent: int, gone: Marks) -> Iterable[Any]:
        yield gone

    def _let_go(self) -> None:
        for s, store in enumerate(self.stores):
            first = self.queues.first(s)
            store.keep_from(int(self.taken[s]) if first is None else first)

    def _end(self) -> Iterator[Any]:
        yield from self._catch_up()
        yield from self._passing(*self.queues.drain())

    def _passing(self, source: Array, what: Array, cause: Array) -> Iterator[Any]:
        """The messages and barriers that pass, in order."""
        changes = np.flatnonzero(np.diff(what < 0)) + 1
        for low, high in pairwise([0, *changes.tolist(), len(what)]):
            for start in range(low, high, PAGE):
                part = slice(start, min(start + PAGE, high))
                yield (self._barriers if what[start] < 0 else self._messages)(source[part], what[part], cause[part])

    def _messages(self, source: Array, number: Array, seq: Array) -> Batch:
        parts: list[Batch] = []
        place, known = np.empty(len(source), np.int64), 0
        for s, store in enumerate(self.stores):
            mine = np.flatnonzero(source == s)
            if len(mine):
                parts.append(store.take(number[mine]))
                place[mine] = np.arange(known, known + len(mine))
                known += len(mine)
        whole = together(parts)
        self._spill()
        return replace(whole if len(parts) == 1 else some(whole, place), groups=self.groups.groups, seq=seq)

    def _barriers(self, source: Array, number: Array, seq: Array) -> Marks:
        time, group = self.queues.told[:, -1 - number]
        kind = np.full(len(seq), BARRIER, np.uint8)
        return Marks(time, group.astype(np.int32), self.groups.groups, kind, seq)
