"""`|join()` and `|union()`: the messages of several parents, brought together by time.

In each round both see all that their parents made of the same input rows, and take it message by message (a point, or a
batch) in the order of the rows that caused them (`seq`). Messages that one row caused come in the order of the parents:
for a join as they are written, for a union the arguments first and the node that it is chained from last. Kapacitor's
order is that of a race; this one is the same for every way to cut the input. What comes out has the `seq` of the
message that released it.

What waits is kept as the batches' own rows and an array of references to them, so that fields move by gathers alone.
"""

from __future__ import annotations

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
    Group,
    Groups,
    Marks,
    Points,
    Rows,
    Segments,
    Text,
    Vocabulary,
    group_id,
    select,
)
from tickc.runtime.graph import AT_THE_END, NEVER, Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.block import select as columns
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.regroup import concat_segments
from tickc.runtime.nodes.stream import YEAR_ONE, round_
from tickc.runtime.nodes.window import grown

SOURCE, TIME, GROUP, ROW = range(4)  # rows of an i8[4, n] array of messages: parent, rounded time, group, row there
SEQ, PLACE = 0, 3  # rows of an i8[4, k] array of barriers, with TIME and GROUP: before which message held they stand
NO_GROUPS = Groups()
_NOTHING = np.zeros(0, np.int64)
_NO_BARRIERS = np.zeros((3, 0), np.int64)


@kernel
def rounded(time, unit, offset):  # type: ignore[no-untyped-def]
    """Go's Time.Round of one time (i8 ns): halves go up, unit 0 changes nothing; offset = YEAR_ONE % unit."""
    if unit <= 0:
        return time
    past = time % unit + offset
    if past >= unit:
        past -= unit
    return time - past if past < unit - past else time + (unit - past)


@kernel
def earliest(seq, at, end):  # type: ignore[no-untyped-def]
    """The parent whose next message comes first: at, end: i8[parents], the rest of each parent's part of seq i8[n]."""
    best = -1
    for s in range(at.size):
        if at[s] < end[s] and (best < 0 or seq[at[s]] < seq[at[best]]):
            best = s
    return best


@kernel
def arrivals(seq, time, group, begin, end, held, unit, offset, out, cause):  # type: ignore[no-untyped-def]
    """Messages of all parents in order of arrival.

    seq, time: i8[n], group: i4[n], of parent s at begin[s]:end[s]; held: i8[parents], how many messages of the parent
    are kept from earlier rounds, which come before in its rows. Writes messages i8[4, n] and their seq i8[n].
    """
    at = begin.copy()
    for i in range(seq.size):
        s = earliest(seq, at, end)
        j = at[s]
        at[s] += 1
        out[SOURCE, i] = s
        out[TIME, i] = rounded(time[j], unit, offset)
        out[GROUP, i] = group[j]
        out[ROW, i] = held[s] + j - begin[s]
        cause[i] = seq[j]


# ------------------------------------------------------------------------------------------------------------- pairing


# Messages of one group and time share a slot with a queue for each parent: its k-th set has the k-th of each queue. The
# slots of a group are a list in order of time; each parent has a cursor in it, as times mostly go up.


@kernel
def slot_before(times, later, earlier, start, t):  # type: ignore[no-untyped-def]
    """The last slot of a list in order of time that is not after `t`, searched from slot `start`; -1: there is none."""
    at = start
    while at >= 0 and times[at] > t:
        at = earlier[at]
    if at >= 0:
        while later[at] >= 0 and times[later[at]] <= t:
            at = later[at]
    return at


@kernel
def drop_lowest(later, earlier, lowest, cursor, spare, g):  # type: ignore[no-untyped-def]
    """Take the first slot out of a group's list; returns the head of the list of free slots, which was `spare`."""
    slot = lowest[g]
    after = later[slot]
    lowest[g] = after
    if after >= 0:
        earlier[after] = -1
    for s in range(cursor.shape[1]):
        if cursor[g, s] == slot:
            cursor[g, s] = -1
    later[slot] = spare
    return slot


@kernel
def all_past(heads, g, t):  # type: ignore[no-untyped-def]
    """Whether every parent is past `t` in group g."""
    past = True
    for s in range(heads.shape[1]):
        past = past and heads[g, s] > t
    return past


@kernel
def move_heads(time, group, unit, offset, heads, out):  # type: ignore[no-untyped-def]
    """Round times (i8[n] -> out: i8[n]) and set the last time of all parents in the groups i4[n] to them, in order;
    heads: i8[groups, parents]."""
    for i in range(time.size):
        out[i] = rounded(time[i], unit, offset)
        for s in range(heads.shape[1]):
            heads[group[i], s] = out[i]


@kernel
def waiting_for(queue, link, slot, s):  # type: ignore[no-untyped-def]
    """Whether a slot's first set lacks just a message of parent s: 0 no, 1 yes, before other sets, 2 yes, alone."""
    have = 0
    behind = False
    for p in range(queue.shape[1]):
        j = queue[slot, p]
        if j >= 0:
            have += 1 if p != s else -1
            behind = behind or link[j] >= 0
    return 0 if have < queue.shape[1] - 1 else 1 if behind else 2


@kernel
def is_empty(queue, slot):  # type: ignore[no-untyped-def]
    """Whether no message is in a slot."""
    empty = True
    for s in range(queue.shape[1]):
        empty = empty and queue[slot, s] < 0
    return empty


@kernel
def take_sets(messages, slot, time, g, cause, only_complete, drop, queue, link, waiting, out, taken):  # type: ignore[no-untyped-def]
    """Take sets from the front of a slot: while they are complete, or all. Writes them as `pair` does, those that lack
    a parent only if not `drop`; cause -1 stands for the earliest message of the set. Returns the new number of sets."""
    parents = queue.shape[1]
    while True:
        have = 0
        first = messages.shape[1]
        for s in range(parents):
            if queue[slot, s] >= 0:
                have += 1
                first = min(first, queue[slot, s])
        if have == 0 or (only_complete and have < parents):
            return taken
        keep = have == parents or not drop
        for s in range(parents):
            i = queue[slot, s]
            if keep:
                out[s, taken] = messages[ROW, i] if i >= 0 else -1
            if i >= 0:
                queue[slot, s] = link[i]
                waiting[i] = False
        if keep:
            out[parents, taken] = time
            out[parents + 1, taken] = g
            out[parents + 2, taken] = first if cause < 0 else cause
            taken += 1


@kernel
def release(  # type: ignore[no-untyped-def]
    messages, g, cause, heads, drop, lowest, cursor, times, later, earlier, queue, link, spare, waiting, out, taken
):  # fmt: skip
    """Release what can go of group g after a head has moved; returns the new `spare` and number of sets."""
    while lowest[g] >= 0:
        slot = lowest[g]
        only_complete = not all_past(heads, g, times[slot])
        taken = take_sets(messages, slot, times[slot], g, cause, only_complete, drop, queue, link, waiting, out, taken)
        if is_empty(queue, slot):
            spare = drop_lowest(later, earlier, lowest, cursor, spare, g)
        if only_complete:
            break
    return spare, taken


@kernel
def pair(messages, first, heads, barriers, drop, last, waiting, out):  # type: ignore[no-untyped-def]
    """Join messages by group and time as Kapacitor's joinGroup does, and write the sets that are released.

    messages: i8[4, n], the first `first` of them waiting from earlier rounds. heads: i8[groups, parents], the last time
    of each parent, updated. barriers: i8[3, k], parents, rounded times and groups: what is known of parents after the
    messages. drop: leave out sets that lack a parent. last: the input ends, all is released. Writes waiting: bool[n],
    the messages that go on waiting, and for each set in out: i8[parents + 3, n] the rows (-1: none), the time, the
    group, and the message that released it (n and above: a barrier; at the end: its earliest). Returns the number of
    sets.
    """
    n = messages.shape[1]
    groups, parents = heads.shape
    lowest = np.full(groups, -1, np.int64)
    cursor = np.full((groups, parents), -1, np.int64)
    times = np.empty(n, np.int64)
    later = np.empty(n, np.int64)
    earlier = np.empty(n, np.int64)
    queue = np.empty((n, parents), np.int64)
    back = np.empty((n, parents), np.int64)
    link = np.empty(n, np.int64)
    used, spare, taken = 0, -1, 0
    for i in range(n):
        s, t, g = messages[SOURCE, i], messages[TIME, i], messages[GROUP, i]
        slot = lowest[g]
        fits = 0
        if slot >= 0 and i >= first and times[slot] == t:
            fits = waiting_for(queue, link, slot, s)
        if fits > 0:  # as usual, it completes the oldest set; not being past that time, it releases nothing else
            heads[g, s] = t
            for p in range(parents):
                j = queue[slot, p]
                if j >= 0:
                    queue[slot, p] = link[j]
                else:
                    j = i
                out[p, taken] = messages[ROW, j]
                waiting[j] = False
            out[parents, taken] = t
            out[parents + 1, taken] = g
            out[parents + 2, taken] = i
            taken += 1
            if fits == 2:
                spare = drop_lowest(later, earlier, lowest, cursor, spare, g)
            continue
        at = slot_before(times, later, earlier, cursor[g, s] if cursor[g, s] >= 0 else slot, t)
        made = at < 0 or times[at] != t
        if made:
            slot = spare
            if slot >= 0:
                spare = later[slot]
            else:
                slot = used
                used += 1
            after = lowest[g] if at < 0 else later[at]
            if at < 0:
                lowest[g] = slot
            else:
                later[at] = slot
            if after >= 0:
                earlier[after] = slot
            times[slot], earlier[slot], later[slot] = t, at, after
            for p in range(parents):
                queue[slot, p] = -1
            at = slot
        cursor[g, s] = at
        if queue[at, s] < 0:
            queue[at, s] = i
        else:
            link[back[at, s]] = i
        back[at, s] = i
        link[i] = -1
        waiting[i] = True
        if i < first:
            continue
        heads[g, s] = t
        if made and lowest[g] == at and parents > 1:  # alone in the oldest set
            continue
        spare, taken = release(
            messages, g, i, heads, drop, lowest, cursor, times, later, earlier, queue, link, spare, waiting, out, taken
        )
    for k in range(barriers.shape[1]):
        g = barriers[2, k]
        heads[g, barriers[0, k]] = barriers[1, k]
        spare, taken = release(
            messages, g, n + k, heads, drop, lowest, cursor, times, later, earlier, queue, link, spare, waiting, out,
            taken,
        )  # fmt: skip
    if last:
        for g in range(groups):
            slot = lowest[g]
            while slot >= 0:
                taken = take_sets(messages, slot, times[slot], g, -1, False, drop, queue, link, waiting, out, taken)
                slot = later[slot]
    return taken


@kernel
def pair_rows(start, stop, time, usable, drop, out):  # type: ignore[no-untyped-def]
    """Join the points of each set's batches by time, as Kapacitor's JoinIntoBatch does.

    start, stop: i8[parents, sets], the rows of each batch (none: an empty range); time: i8[rows], rounded; usable:
    bool[rows], whether the point has any field. drop: leave out points that lack a parent. Writes for each joined point
    in out: i8[parents + 3, n] its rows (-1: none), its time, its set, and the point whose fields stand for those of a
    missing one: the first of the set that has any (-1: none so far). Returns the number of points.
    """
    parents, sets = start.shape
    at = np.empty(parents, np.int64)
    chosen = np.empty(parents, np.int64)
    taken = 0
    for j in range(sets):
        model = -1
        for s in range(parents):
            at[s] = start[s, j]
        while True:
            count = 0
            moment = np.int64(0)
            for s in range(parents):
                chosen[s] = -1
            for s in range(parents):
                if at[s] == stop[s, j]:
                    continue
                t = time[at[s]]
                if count > 0 and t < moment:  # what was taken in this pass is given back
                    for p in range(s):
                        if chosen[p] >= 0:
                            at[p] -= 1
                            chosen[p] = -1
                    count = 0
                elif count > 0 and t > moment:
                    continue
                elif model < 0 and usable[at[s]]:
                    model = at[s]
                moment = t
                chosen[s] = at[s]
                at[s] += 1
                count += 1
            if count == 0:
                break
            if drop and count < parents:
                continue
            for s in range(parents):
                out[s, taken] = chosen[s]
            out[parents, taken] = moment
            out[parents + 1, taken] = j
            out[parents + 2, taken] = model
            taken += 1
    return taken


# ---------------------------------------------------------------------------------------------------- matching by `.on`


@kernel
def send(messages, i, group, cause, out, sent):  # type: ignore[no-untyped-def]
    """Write message i, as one of `group`, to column `sent` of out: i8[5, n]; the last row is what caused it."""
    out[SOURCE, sent] = messages[SOURCE, i]
    out[TIME, sent] = messages[TIME, i]
    out[GROUP, sent] = group
    out[ROW, sent] = messages[ROW, i]
    out[4, sent] = cause
    return sent + 1


@kernel
def match(messages, first, key, specific, low, reported, waiting, out):  # type: ignore[no-untyped-def]
    """Give the messages of larger groups to the specific groups within them, as Kapacitor's matchPoints does.

    messages: i8[4, n], the first `first` of them waiting from earlier rounds; key: i8[groups], the larger group of each
    group; specific: bool[groups]; low: i8[keys, parents] and reported: bool[parents], updated. Writes waiting: bool[n]
    and what is sent on, in order, to out: i8[5, 5 n] (see `send`). Returns how much is sent.
    """
    n = messages.shape[1]
    keys, parents = low.shape
    front = np.full((keys, 2), -1, np.int64)  # for each key a queue of larger messages (0) and of specific ones (1)
    back = np.empty((keys, 2), np.int64)
    link = np.empty(n, np.int64)
    sent = 0
    for i in range(n):
        s, t, g = messages[SOURCE, i], messages[TIME, i], messages[GROUP, i]
        k = key[g]
        queue = 1 if specific[g] else 0
        wait = True
        if i >= first:
            reported[s] = True
            everyone = True
            for p in range(parents):
                everyone = everyone and reported[p]
            low[k, s] = t
            mark = np.int64(NEVER)
            if everyone:
                for p in range(parents):
                    if mark == NEVER or low[k, p] < mark:
                        mark = low[k, p]
                j = front[k, 1]
                while j >= 0 and messages[TIME, j] < mark:  # no counterpart will come any more
                    sent = send(messages, j, messages[GROUP, j], i, out, sent)
                    waiting[j] = False
                    j = link[j]
                front[k, 1] = j
            if queue == 1:
                j = front[k, 0]
                while j >= 0:
                    if messages[TIME, j] == t:
                        sent = send(messages, i, g, i, out, sent)
                        sent = send(messages, j, g, i, out, sent)
                        wait = False
                    if messages[TIME, j] >= mark:
                        break
                    waiting[j] = False
                    j = link[j]
                front[k, 0] = j
                if wait and everyone and t < mark:
                    sent = send(messages, i, g, i, out, sent)
                    wait = False
            else:
                j = front[k, 1]
                while j >= 0 and messages[TIME, j] == t:
                    sent = send(messages, j, messages[GROUP, j], i, out, sent)
                    sent = send(messages, i, messages[GROUP, j], i, out, sent)
                    waiting[j] = False
                    j = link[j]
                front[k, 1] = j
        waiting[i] = wait
        if wait:
            link[i] = -1
            if front[k, queue] < 0:
                front[k, queue] = i
            else:
                link[back[k, queue]] = i
            back[k, queue] = i
    return sent


class Matching:
    """What `.on()` adds: messages with no more dimensions than it names wait, by those, for messages with more.

    Kapacitor join.go: the low mark of a parent that has sent nothing to a group counts only if no later parent has.
    """

    def __init__(self, on: Sequence[str], parents: int) -> None:
        self.on = tuple(on)
        self.keys = Vocabulary()
        self.key = np.zeros(0, np.int64)
        self.specific = np.zeros(0, np.bool_)
        self.low = np.zeros((0, parents), np.int64)
        self.reported = np.zeros(parents, np.bool_)
        self.waiting = np.zeros((4, 0), np.int64)

    def snapshot(self) -> Any:
        return [self.low, self.reported, self.waiting]

    def restore(self, saved: Any) -> None:
        self.low, self.reported, self.waiting = saved

    def forget(self, parent: int, codes: Array, groups: Groups, everywhere: bool) -> None:
        """Drop what waits in the larger groups that have the ids of groups, and the parent's low mark there, or all low
        marks."""
        self._learn(groups)
        keys = [self.keys.codes[i] for i in (groups[g].id for g in codes.tolist()) if i in self.keys.codes]
        self.waiting = self.waiting[:, ~np.isin(self.key[self.waiting[GROUP]], keys)]
        if everywhere:
            self.low[:] = NEVER
        else:
            self.low[keys, parent] = NEVER

    def process(self, messages: Array, groups: Groups) -> Array:
        """i8[5, n]: what goes on for i8[4, n] new messages of `groups`; the last row has the number of the new message
        that caused it."""
        self._learn(groups)
        first = self.waiting.shape[1]
        whole = np.concatenate([self.waiting, messages], axis=1)
        out = np.empty((5, 5 * whole.shape[1]), np.int64)
        waits = np.empty(whole.shape[1], np.bool_)
        sent = match(whole, first, self.key, self.specific, self.low, self.reported, waits, out)
        self.waiting = whole[:, waits]
        out = np.ascontiguousarray(out[:, :sent])
        out[4] -= first
        return out

    def _learn(self, groups: Groups) -> None:
        fresh = list(groups.since(len(self.key)))
        if fresh:
            keys = [self.keys.code(self._key(g)) for g in fresh]
            self.key = np.concatenate([self.key, np.array(keys, np.int64)])
            self.specific = np.concatenate([self.specific, [len(g.dims) > len(self.on) for g in fresh]])
        missing = len(self.keys) - len(self.low)
        if missing > 0:
            self.low = np.concatenate([self.low, np.full((missing, self.low.shape[1]), NEVER, np.int64)])

    def _key(self, group: Group) -> str:
        return group_id(group.name, group.by_name, {d: group.tags.get(d, "") for d in self.on})


# ------------------------------------------------------------------------------------------- what both operators share


class Merged:
    """One table for the groups of several edges: equal ids are one group. rename: a new name for all of them."""

    def __init__(self, rename: str = "") -> None:
        self.rename = rename
        self.groups = Groups()
        self._tables: dict[int, tuple[Groups, Array]] = {}  # by id of the foreign table, which is held

    def snapshot(self) -> Any:
        return self.groups

    def restore(self, groups: Groups) -> None:
        self.groups = groups
        self._tables = {}

    def encode(self, group: Array, groups: Groups) -> Array:
        """i4[n]: own codes for i4[n] codes in `groups`."""
        _, table = self._tables.get(id(groups), (groups, np.zeros(0, np.int32)))
        if len(groups) > len(table):
            fresh = [
                self.groups.code(self.rename or g.name, g.by_name, g.tags) for g in groups.since(len(table))
            ]  # fmt: skip
            table = np.concatenate([table, np.array(fresh, np.int32)])
            self._tables[id(groups)] = groups, table
        return table[group]

    def marks(self, marks: Marks) -> Marks:
        """Marks with own codes; they keep their groups' ids."""
        self.encode(marks.group, marks.groups)  # so that groups which marks bring have names
        return marks.among(self.groups)


def together(parts: Sequence[Batch]) -> Batch | None:
    """The messages of several batches (of own codes, without a table of groups) as one; None where there are none."""
    parts = [p for p in parts if len(p)]
    if not parts:
        return None
    points = [p for p in parts if isinstance(p, Points)]
    return Points.concat(points) if points else concat_segments([p for p in parts if isinstance(p, Segments)])


def put_aside(pages: list[Batch], batch: Batch | None) -> None:
    """Append to pages, of which each is at least twice as large as the next: a row is copied log n times at most."""
    if batch is None:
        return
    pages.append(batch)
    while len(pages) > 1 and 2 * len(pages[-1]) > len(pages[-2]):
        pages[-2:] = [b for b in [together(pages[-2:])] if b is not None]


def message_times(batch: Batch) -> Array:
    """i8[n]: the times of messages."""
    return batch.rows.time if isinstance(batch, Points) else batch.tmax


def some(batch: Batch, chosen: Array) -> Batch:
    """Some of the messages (an index array), with rows of their own."""
    return batch.take(chosen) if isinstance(batch, Points) else batch.take(chosen).flat()


class _Meeting(Operator):
    """An operator with several parents: what it holds of each, and what a round adds.

    As long as a parent has sent nothing at all, nothing can come out; until then what the others send is put aside.
    """

    def __init__(self, *, name: str, parents: int, rename: str = "") -> None:
        super().__init__(name=name)
        self.groups = Merged(rename)
        self.held: list[Batch | None] = [None] * parents
        self.heard = np.zeros(parents, np.bool_)
        self.aside: list[list[Batch]] = [[] for _ in range(parents)]

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        fresh = [together([self._own(s, b) for b in batches]) for s, batches in enumerate(inputs)]
        if all(f is None for f in fresh):
            return
        self.heard |= [f is not None for f in fresh]
        if self.heard.all():
            yield from self._meet(self._all_fresh(fresh), last=False)
            return
        for pages, batch in zip(self.aside, fresh):
            put_aside(pages, batch)

    def finish(self) -> Iterable[Batch]:
        return self._meet(self._all_fresh([None] * len(self.held)), last=True)

    def _all_fresh(self, fresh: Sequence[Batch | None]) -> list[Batch | None]:
        """What was put aside, and what comes after it."""
        if not any(self.aside):
            return list(fresh)
        pages, self.aside = self.aside, [[] for _ in self.aside]
        return [together([*old, *([] if new is None else [new])]) for old, new in zip(pages, fresh)]

    def marks_of(self, parent: int, marks: Marks) -> Iterable[Any]:
        """Take in marks of a parent, runs of one kind at a time."""
        marks = self.groups.marks(marks)
        if any(self.aside):
            yield from self._meet(self._all_fresh([None] * len(self.held)), last=False)
        if (marks.kind == BARRIER).any():
            self.heard[parent] = True
        for part in np.split(np.arange(len(marks)), np.flatnonzero(np.diff(marks.kind)) + 1):
            run = marks.take(part)
            yield from self._deleted(parent, run) if run.kind[0] == DELETE else self._passed(parent, run)

    def _passed(self, parent: int, barriers: Marks) -> Iterable[Any]:
        """Take in barriers (with own group codes, as in `_deleted`)."""
        raise NotImplementedError

    def _deleted(self, parent: int, gone: Marks) -> Iterable[Any]:
        raise NotImplementedError

    def _own(self, parent: int, batch: Batch) -> Batch:
        """A parent's batch in terms of the operator: flat, own group codes, only what is needed."""
        group = self.groups.encode(batch.group, batch.groups)
        if isinstance(batch, Points):
            return Points(batch.rows, group, NO_GROUPS, batch.seq)
        return replace(batch.flat(), group=group, groups=NO_GROUPS)

    def _meet(self, fresh: Sequence[Batch | None], *, last: bool) -> Iterator[Batch]:
        raise NotImplementedError


def _sizes(batches: Sequence[Batch | None]) -> Array:
    return np.array([0 if b is None else len(b) for b in batches], np.int64)


def _arrays(parts: Sequence[Array], dtype: type) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts])


# ---------------------------------------------------------------------------------------------------------------- join


class Join(_Meeting):
    """Points (or batches) of all parents with one time in one group become one, with prefixes before their fields.

    Kapacitor join.go. Times are rounded to `tolerance`; the k-th message of each parent at a time belongs to its k-th
    set. Of a group's sets the oldest is released once it is complete, or, incomplete, once every parent is past it.
    fill: None is an inner join, which drops incomplete sets (on a batch edge their points only); "null" or a number
    takes the place of the fields of a missing parent, with the names of the fields of the first one that is there.
    on: dimensions by which messages of larger groups join those of every group within (`Matching`).
    """

    STATE = ("groups", "renamed", "held", "heard", "aside", "waiting", "heads", "matching")

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
        self.prefixes = tuple(n + delimiter for n in names)
        self.tolerance, self.stream_name, self.fill, self.delete_all = tolerance, stream_name, fill, delete_all
        self._unit = (tolerance, YEAR_ONE % tolerance if tolerance > 0 else 0)
        self.renamed = Merged(stream_name)
        self.waiting = np.zeros((4, 0), np.int64)
        self.heads = np.zeros((0, len(names)), np.int64)
        self.matching = Matching(on, len(names)) if on else None

    def _own(self, parent: int, batch: Batch) -> Batch:
        own = super()._own(parent, batch.with_rows(columns(batch.rows, (), self.selected[parent])))
        n = len(own.rows)
        rows = own.rows.with_(database=no_text(n), policy=no_text(n))
        return own.with_rows(rows if isinstance(own, Points) else rows.with_(name=no_text(n)))

    def _meet(self, fresh: Sequence[Batch | None], *, last: bool) -> Iterator[Batch]:
        aligned = self._aligned(fresh)
        if aligned:
            yield self._side_by_side(aligned)
            return
        messages, seq = self._arrivals(fresh)
        if self.matching is not None:
            sent = self.matching.process(messages, self.groups.groups)
            messages, seq = sent[:4], seq[sent[4]]
        yield from self._release(messages, seq, fresh, _NO_BARRIERS, last=last)

    def _passed(self, parent: int, barriers: Marks) -> Iterable[Any]:
        time = round_(barriers.time, self.tolerance)
        passed = np.array([np.full_like(time, parent), time, barriers.group])
        nothing = np.zeros((4, 0), np.int64)
        yield from self._release(nothing, barriers.seq, [None] * len(self.held), passed, last=False)
        yield self.renamed.marks(barriers)

    def _deleted(self, parent: int, gone: Marks) -> Iterable[Any]:
        self._reserve()
        self.heads[gone.group] = NEVER
        self.waiting = self.waiting[:, ~np.isin(self.waiting[GROUP], gone.group)]
        if self.matching is not None:
            self.matching.forget(parent, gone.group, gone.groups, self.delete_all)
        self._keep(self.held)
        yield self.renamed.marks(gone)

    def _release(
        self, messages: Array, seq: Array, fresh: Sequence[Batch | None], barriers: Array, *, last: bool
    ) -> Iterator[Batch]:
        """The sets that new messages, i8[4, n], and then barriers, i8[3, k], complete or let go. seq: i8[n + k];
        `fresh` has the rows of the messages."""
        held = [together([b for b in (old, new) if b is not None]) for old, new in zip(self.held, fresh)]
        points = any(isinstance(b, Points) for b in held)
        first = self.waiting.shape[1]
        whole = np.concatenate([self.waiting, messages], axis=1) if first else messages
        sets, waits = self._pair(whole, first, barriers, drop=points and self.fill is None, last=last)
        if sets.shape[1]:
            cause = np.full(sets.shape[1], AT_THE_END) if last else seq[sets[-1] - first]
            yield self._points(held, sets[:-1], cause) if points else self._batches(held, sets[:-1], cause)
        self.waiting = whole[:, waits]
        self._keep(held)

    def _arrivals(self, fresh: Sequence[Batch | None]) -> tuple[Array, Array]:
        """Messages i8[4, n] in order of arrival and their seq i8[n]."""
        there = [b for b in fresh if b is not None]
        end = np.cumsum(_sizes(fresh))
        n = int(end[-1])
        messages, seq = np.empty((4, n), np.int64), np.empty(n, np.int64)
        arrivals(
            _arrays([b.seq for b in there], np.int64), _arrays([message_times(b) for b in there], np.int64),
            _arrays([b.group for b in there], np.int32), end - _sizes(fresh), end, _sizes(self.held), *self._unit,
            messages, seq,
        )  # fmt: skip
        return messages, seq

    def _pair(self, messages: Array, first: int, barriers: Array, *, drop: bool, last: bool) -> tuple[Array, Array]:
        """The released sets as `pair` writes them, and bool[n], which messages go on waiting."""
        n, parents = messages.shape[1], len(self.held)
        self._reserve()
        out, waits = np.empty((parents + 3, n), np.int64), np.empty(n, np.bool_)
        taken = pair(messages, first, self.heads, barriers, drop, last, waits, out)
        sets = out[:, :taken]
        if last:  # in order of time, then of arrival; Kapacitor goes from group to group in random order
            sets = sets[:, np.lexsort((sets[-1], sets[parents]))]
        return sets, waits

    def _reserve(self) -> None:
        known = len(self.heads)
        self.heads = grown(self.heads, len(self.groups.groups))
        self.heads[known:] = NEVER

    def _keep(self, held: Sequence[Batch | None]) -> None:
        """Hold only the rows that a waiting message refers to, and number the references anew."""
        references = [self.waiting] if self.matching is None else [self.waiting, self.matching.waiting]
        for s, batch in enumerate(held):
            mine = [(r, r[SOURCE] == s) for r in references]
            if batch is None or not any(m.any() for _, m in mine):
                self.held[s] = None
                continue
            used = np.zeros(len(batch), np.bool_)
            for r, m in mine:
                used[r[ROW, m]] = True
            place = np.cumsum(used) - 1
            for r, m in mine:
                r[ROW, m] = place[r[ROW, m]]
            self.held[s] = some(batch, np.flatnonzero(used))

    def _aligned(self, fresh: Sequence[Batch | None]) -> list[Points]:
        """The new points, where nothing waits and each has its counterparts at its own place in the batches, caused by
        the same row: then each set is complete when the last of its points comes. Else nothing."""
        points = [b for b in fresh if isinstance(b, Points)]
        if not 2 <= len(points) == len(fresh) or self.waiting.shape[1] or self.matching is not None:
            return []
        a = points[0]
        same = len({len(b) for b in points}) == 1 and all(
            np.array_equal(a.seq, b.seq)
            and np.array_equal(a.group, b.group)
            and np.array_equal(a.rows.time, b.rows.time)
            for b in points[1:]
        )
        return points if same and bool((a.seq[1:] > a.seq[:-1]).all()) else []

    def _side_by_side(self, points: Sequence[Points]) -> Points:
        """Points that are aligned, joined: their columns are taken as they are."""
        base, n = points[0], len(points[0])
        time = np.empty(n, np.int64)
        self._reserve()
        move_heads(base.rows.time, base.group, *self._unit, self.heads, time)
        group = self.renamed.encode(base.group, self.groups.groups)
        name = Text.constant(self.stream_name, n) if self.stream_name else base.rows.name
        fields = self._prefixed([p.rows.fields for p in points])
        rows = Rows(time, name, no_text(n), no_text(n), self.renamed.groups.tags(group), fields)
        return Points(rows, group, self.renamed.groups, base.seq)

    # -- what comes out

    def _points(self, held: Sequence[Batch | None], sets: Array, seq: Array) -> Points:
        """The joined points of sets (rows of each parent, time, group)."""
        parents = [None if b is None else b.rows for b in held]
        refs, group = sets[:-2], self.renamed.encode(sets[-1], self.groups.groups)
        base = _first(refs)
        n = refs.shape[1]
        rows = Rows(
            sets[-2].copy(),
            self._name([None if p is None else p.name for p in parents], base),
            no_text(n),
            no_text(n),
            self.renamed.groups.tags(group),
            self._fields(parents, refs, base),
        )
        return Points(rows, group, self.renamed.groups, seq)

    def _batches(self, held: Sequence[Batch | None], sets: Array, seq: Array) -> Segments:
        """The joined batches of sets: their points are joined by time in turn."""
        refs, tmax, n = sets[:-2], sets[-2].copy(), sets.shape[1]
        group = self.renamed.encode(sets[-1], self.groups.groups)
        name = self._name([b.name if isinstance(b, Segments) else None for b in held], _first(refs))
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

    def _name(self, names: Sequence[Text | None], base: Array) -> Text:
        """The names of sets: those of the parents' rows `base`."""
        if self.stream_name:
            return Text.constant(self.stream_name, base.shape[1])
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
    if refs[0].min() >= 0:
        return np.concatenate([refs[:1], np.full((len(refs) - 1, refs.shape[1]), -1)])
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
        return own.take(at)
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


# --------------------------------------------------------------------------------------------------------------- union


@kernel
def pass_marks(time, head, end, marks, drain, cause, order, causes, passed):  # type: ignore[no-untyped-def]
    """Let through what is at or below the low-water mark, until nothing is (Kapacitor's emitReady).

    head, end: i8[parents], the waiting part of each parent's times; marks: i8[parents], the time that was last waiting.
    Returns the new number of messages in order and causes.
    """
    while True:
        mark = np.int64(NEVER)
        known = 0
        for s in range(head.size):
            if head[s] < end[s]:
                marks[s] = time[head[s]]
            if marks[s] != NEVER:
                known += 1
                if (head[s] < end[s] or not drain) and (mark == NEVER or marks[s] < mark):
                    mark = marks[s]
        if known < head.size and not drain:
            return passed
        before = passed
        for s in range(head.size):
            while head[s] < end[s] and time[head[s]] <= mark:
                order[passed] = head[s]
                causes[passed] = cause
                head[s] += 1
                passed += 1
        if passed == before:
            return passed


@kernel
def merge_by_time(seq, time, head, end, stop, marks, last, order, causes):  # type: ignore[no-untyped-def]
    """Merge messages by time as they arrive.

    seq, time: i8[n]; those of parent s wait at head[s]:end[s] and arrive at end[s]:stop[s]. Writes the numbers of the
    messages that pass, in order, and the seq of the message that let them; updates marks, head and end. last: the input
    ends, all pass. Returns how many.
    """
    passed = 0
    while True:
        s = earliest(seq, end, stop)
        if s < 0:
            break
        cause = seq[end[s]]
        end[s] += 1
        passed = pass_marks(time, head, end, marks, False, cause, order, causes, passed)
    if last:
        passed = pass_marks(time, head, end, marks, True, AT_THE_END, order, causes, passed)
    return passed


class Union(_Meeting):
    """All messages of the parents, in order of time as far as they arrive so; equal times in the order of the parents.

    Kapacitor union.go: the mark is the earliest time that any parent may still send, all groups taken together.
    Barriers wait among the other messages; that a group is deleted is told at once.
    """

    STATE = ("groups", "held", "heard", "aside", "low", "barriers")

    def __init__(self, *, name: str, parents: int, rename: str = "") -> None:
        super().__init__(name=name, parents=parents, rename=rename)
        self.rename = rename
        self.low = np.full(parents, NEVER, np.int64)
        self.barriers = [np.zeros((4, 0), np.int64) for _ in range(parents)]

    def _own(self, parent: int, batch: Batch) -> Batch:
        own = super()._own(parent, batch)
        if not self.rename:
            return own
        name = Text.constant(self.rename, len(own))
        return own.with_rows(own.rows.with_(name=name)) if isinstance(own, Points) else replace(own, name=name)

    def _passed(self, parent: int, barriers: Marks) -> Iterable[Any]:
        place = np.full(len(barriers), _sizes(self.held)[parent])
        fresh = np.array([barriers.seq, barriers.time, barriers.group, place])
        self.barriers[parent] = np.concatenate([self.barriers[parent], fresh], axis=1)
        arriving = np.where(np.arange(len(self.held)) == parent, len(barriers), 0)
        return self._merge([None] * len(self.held), arriving, last=False)

    def _deleted(self, parent: int, gone: Marks) -> Iterable[Any]:
        yield gone

    def _meet(self, fresh: Sequence[Batch | None], *, last: bool) -> Iterator[Batch]:
        return self._merge(fresh, _sizes(fresh), last=last)

    def _merge(self, fresh: Sequence[Batch | None], arriving: Array, *, last: bool) -> Iterator[Any]:
        """What passes when messages arrive: `arriving` of each parent, at the end of what it holds and of `fresh`."""
        whole = together([b for pair in zip(self.held, fresh) for b in pair if b is not None])
        barriers = np.concatenate(self.barriers, axis=1)
        stop = np.cumsum(_sizes(self.held) + _sizes(fresh))
        seq, time = (_NOTHING, _NOTHING) if whole is None else (whole.seq, message_times(whole))
        number = np.arange(len(seq))  # of messages in `whole`; barriers have -1 and below
        if barriers.shape[1]:
            counts = np.array([b.shape[1] for b in self.barriers])
            place = np.repeat(stop - _sizes(self.held) - _sizes(fresh), counts) + barriers[PLACE]
            number = np.insert(number, place, -1 - np.arange(len(place)))
            seq, time = np.insert(seq, place, barriers[SEQ]), np.insert(time, place, barriers[TIME])
            stop += np.cumsum(counts)
        head, end = np.concatenate([[0], stop[:-1]]).astype(np.int64), stop - arriving
        order, cause = np.empty((2, len(seq)), np.int64)
        passed = merge_by_time(seq, time, head, end, stop, self.low, last, order, cause)
        chosen = number[order[:passed]] if barriers.shape[1] else order[:passed]
        yield from self._through(whole, barriers, chosen, cause[:passed])
        for s, (a, b) in enumerate(zip(head, stop)):
            self._hold(s, whole, barriers, number[a:b])

    def _through(self, whole: Batch | None, barriers: Array, number: Array, cause: Array) -> Iterator[Any]:
        """Messages in order of `number`: those from 0 on are of `whole`, -1 and below are barriers."""
        groups = self.groups.groups
        changes = np.flatnonzero(np.diff(number < 0)) + 1 if barriers.shape[1] else _NOTHING
        for low, high in pairwise([0, *changes.tolist(), len(number)]):
            chosen, seq = number[low:high], cause[low:high]
            if high > low and whole is not None and chosen[0] >= 0:
                yield replace(some(whole, chosen), groups=groups, seq=seq)
            elif high > low:
                given, kind = barriers[:, -1 - chosen], np.full(high - low, BARRIER, np.uint8)
                yield Marks(given[TIME], given[GROUP].astype(np.int32), groups, kind, seq)

    def _hold(self, parent: int, whole: Batch | None, barriers: Array, number: Array) -> None:
        """Keep the messages `number` of a parent, and the barriers among them."""
        data = number[number >= 0]
        self.held[parent] = some(whole, data) if whole is not None and len(data) else None
        kept = barriers[:, -1 - number[number < 0]]
        kept[PLACE] = np.cumsum(number >= 0)[number < 0]
        self.barriers[parent] = kept
