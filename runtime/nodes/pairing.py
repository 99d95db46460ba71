"""How the messages of several parents find each other: sets by time for a join, larger groups for `.on()`.

Messages are referred to by their number among those of their parent (see waiting.py). What waits is in lists that stay
between the rounds, so a round costs as much as it brings, however much waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Group, Groups, Vocabulary, group_id
from tickc.runtime.graph import NEVER
from tickc.runtime.kernel import bare_kernel, kernel
from tickc.runtime.team import Team

SOURCE, TIME, GROUP, NUMBER, CAME = range(5)  # rows of an i8[4, n] array of messages (i8[5, n]: that wait): parent,
# rounded time, group, number, and when it came
EARLIER = 1 << 62
# of a pool of entries: how many were ever used, the first of those given back, their count
USED, SPARE, FREE = range(3)
_MOST_TIME = 2**63 - 1
SIDE_BY_SIDE = 10_000  # messages from which parts are at work at once


@bare_kernel
def rounded(time, unit, offset):  # type: ignore[no-untyped-def]
    """Go's Time.Round of one time (i8 ns): halves go up, unit 0 changes nothing; offset = YEAR_ONE % unit."""
    if unit <= 0:
        return time
    past = time % unit + offset
    if past >= unit:
        past -= unit
    return time - past if past < unit - past else time + (unit - past)


@bare_kernel
def earliest(seq, at, end):  # type: ignore[no-untyped-def]
    """The parent whose next message comes first: at, end: i8[parents], the rest of each parent's part of seq i8[n]."""
    best = -1
    for s in range(at.size):
        if at[s] < end[s] and (best < 0 or seq[at[s]] < seq[at[best]]):
            best = s
    return best


@bare_kernel
def deal(j, i, group, part, mine, count, place):  # type: ignore[no-untyped-def]
    """Give message j, which came as the i-th, to the part of its group; see `arrivals`."""
    p = part[group[j]]
    mine[p, count[p]] = j
    count[p] += 1
    place[j] = i


@bare_kernel
def arrivals(seq, at, end, group, part, mine, count, place):  # type: ignore[no-untyped-def]
    """Deal messages out to parts, in order of arrival.

    seq: i8[n], ascending of parent s at at[s]:end[s] (at is used up); group: i4[n]; part: i8[groups]. Writes the
    messages of each part to mine: i4[parts, n], how many it has to count: i8[parts], zeros, and to place: i4[n] the how
    manieth of all each is.
    """
    i = 0
    if at.size == 2:  # as in most joins; `earliest` takes longer
        a, b = at[0], at[1]
        while a < end[0] and b < end[1]:
            if seq[b] < seq[a]:
                deal(b, i, group, part, mine, count, place)
                b += 1
            else:
                deal(a, i, group, part, mine, count, place)
                a += 1
            i += 1
        at[0], at[1] = a, b
    while i < seq.size:
        s = earliest(seq, at, end)
        deal(at[s], i, group, part, mine, count, place)
        at[s] += 1
        i += 1


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of all parents, those of one behind those of another: seq i8[n], ascending in each of the runs that
    begin at `begin` (i8[runs]); times i8[n], groups i4[n], parents i1[n], and numbers i8[n]."""

    seq: Array
    time: Array
    group: Array
    source: Array
    number: Array
    begin: Array

    def __len__(self) -> int:
        return len(self.seq)

    @staticmethod
    def none() -> Messages:
        empty = np.zeros(0, np.int64)
        return Messages(empty, empty, empty.astype(np.int32), empty.astype(np.int8), empty, empty)

    def dealt(self, part: Array, parts: int) -> tuple[Array, Array, Array]:
        """What `arrivals` writes, for part: i8[groups]."""
        n = len(self)
        mine, count, place = np.empty((parts, n), np.int32), np.zeros(parts, np.int64), np.empty(n, np.int32)
        arrivals(self.seq, self.begin.copy(), np.append(self.begin[1:], n), self.group, part, mine, count, place)
        return mine, count, place


@bare_kernel
def take_entry(pool, link):  # type: ignore[no-untyped-def]
    """An unused entry of a pool; those that were given back are a list in `link`."""
    entry = pool[SPARE]
    if entry >= 0:
        pool[SPARE] = link[entry]
        pool[FREE] -= 1
    else:
        entry = pool[USED]
        pool[USED] += 1
    return entry


@bare_kernel
def give_entry(pool, link, entry):  # type: ignore[no-untyped-def]
    """Give an entry back to its pool."""
    link[entry] = pool[SPARE]
    pool[SPARE] = entry
    pool[FREE] += 1


def room(pool: Array, more: int, arrays: Sequence[Array]) -> list[Array]:
    """The arrays of a pool with space for `more` entries."""
    needed = int(pool[USED]) + max(0, more - int(pool[FREE]))
    if needed <= len(arrays[0]):
        return list(arrays)
    size = max(needed, 2 * len(arrays[0]), 64)
    grown = [np.empty((size, *a.shape[1:]), a.dtype) for a in arrays]
    for new, old in zip(grown, arrays):
        new[: len(old)] = old
    return grown


LINE = 16  # elements of two lines of a cache


def lone(array: Array) -> Array:
    """A small array with nothing beside it in memory that another thread may write to."""
    room = np.zeros((LINE + len(array) + LINE, *array.shape[1:]), array.dtype)
    room[LINE : LINE + len(array)] = array
    return room[LINE : LINE + len(array)]


def new_pool() -> Array:
    return np.array([0, -1, 0], np.int64)


# --------------------------------------------------------------------------------------------------------------- pairs


# Messages of one group and time share a slot with a queue for each parent: its k-th set has the k-th of each queue. The
# slots of a group are a list in order of time; each parent has a cursor in it, as times mostly go up.


@bare_kernel
def slot_before(times, later, earlier, start, t):  # type: ignore[no-untyped-def]
    """The last slot of a list in order of time that is not after `t`, searched from slot `start`; -1: there is none."""
    at = start
    while at >= 0 and times[at] > t:
        at = earlier[at]
    if at >= 0:
        while later[at] >= 0 and times[later[at]] <= t:
            at = later[at]
    return at


@bare_kernel
def drop_lowest(pool, later, earlier, lowest, cursor, g):  # type: ignore[no-untyped-def]
    """Take the first slot out of a group's list."""
    slot = lowest[g]
    after = later[slot]
    lowest[g] = after
    if after >= 0:
        earlier[after] = -1
    for s in range(cursor.shape[1]):
        if cursor[g, s] == slot:
            cursor[g, s] = -1
    give_entry(pool, later, slot)


@bare_kernel
def all_past(heads, g, t):  # type: ignore[no-untyped-def]
    """Whether every parent is past `t` in group g."""
    past = True
    for s in range(heads.shape[1]):
        past = past and heads[g, s] > t
    return past


@bare_kernel
def waiting_for(queue, link, slot, s):  # type: ignore[no-untyped-def]
    """Whether a slot's first set lacks just a message of parent s: 0 no, 1 yes, before other sets, 2 yes, alone."""
    have = 0
    behind = False
    for p in range(queue.shape[1]):
        entry = queue[slot, p]
        if entry >= 0:
            have += 1 if p != s else -1
            behind = behind or link[entry] >= 0
    return 0 if have < queue.shape[1] - 1 else 1 if behind else 2


@bare_kernel
def is_empty(queue, slot):  # type: ignore[no-untyped-def]
    """Whether no message is in a slot."""
    empty = True
    for s in range(queue.shape[1]):
        empty = empty and queue[slot, s] < 0
    return empty


@bare_kernel
def take_sets(slot, time, g, cause, only_complete, drop, queue, entries, number, link, waiting, out, taken):  # type: ignore[no-untyped-def]
    """Take sets from the front of a slot: while they are complete, or all. Writes them as `pair` does, those that lack
    a parent only if not `drop`. Returns the new number of sets."""
    parents = queue.shape[1]
    while True:
        have = 0
        for s in range(parents):
            if queue[slot, s] >= 0:
                have += 1
        if have == 0 or (only_complete and have < parents):
            return taken
        keep = have == parents or not drop
        for s in range(parents):
            entry = queue[slot, s]
            if keep:
                out[s, taken] = number[entry] if entry >= 0 else -1
            if entry >= 0:
                queue[slot, s] = link[entry]
                give_entry(entries, link, entry)
                waiting[s] -= 1
        if keep:
            out[parents, taken] = time
            out[parents + 1, taken] = g
            out[parents + 2, taken] = cause
            taken += 1


@bare_kernel
def release(  # type: ignore[no-untyped-def]
    g, cause, heads, drop, lowest, cursor, slots, times, later, earlier, queue, entries, number, link, waiting, out,
    taken,
):  # fmt: skip
    """Release what can go of group g after a head has moved; returns the new number of sets."""
    while lowest[g] >= 0:
        slot = lowest[g]
        only_complete = not all_past(heads, g, times[slot])
        taken = take_sets(
            slot, times[slot], g, cause, only_complete, drop, queue, entries, number, link, waiting, out, taken
        )
        if is_empty(queue, slot):
            drop_lowest(slots, later, earlier, lowest, cursor, g)
        if only_complete:
            break
    return taken


@bare_kernel
def pair(  # type: ignore[no-untyped-def]
    source, time, group, number_of, place, mine, row, unit, offset, barriers, first, low, high, drop, heads, top,
    lowest, cursor, slots, times, later, earlier, queue, back, entries, number, came, link, waiting, out, taken,
):  # fmt: skip
    """Join messages by group and rounded time as Kapacitor's joinGroup does, and write the sets that are released.

    Only of groups low <= g < high, whose messages are those at `mine` (i4[m]); others may be at work at the same time.
    Groups are told by where they stand, row: i8[groups].

    source, time, group, number_of, place: what is known of n messages, see `Messages` and `arrivals`; barriers: i8[3,
    k], parents, rounded times and groups: what is known of parents after the messages. first: how many messages came
    before these. drop: leave out sets that lack a parent. Updated: heads, top: i8[groups, parents], the last and the
    highest time of each parent; lowest: i4[groups] and cursor: i4[groups, parents], slots (-1: none); the pool of
    slots: times i8[s], later, earlier i4[s], queue, back i4[s, parents], entries (queue -1: none); the pool of entries,
    one for each message that waits: number i8[e], came i8[e], its place among all messages, link i4[e], the next of its
    queue; waiting: i8[parents], how many of each parent do.

    Writes for each set in out: i8[parents + 3, m], from column `taken` on, the numbers of its messages (-1: none), its
    time, its group, and what released it: a message, or n and above, a barrier. Returns where the sets end.
    """
    n = source.size
    parents = heads.shape[1]
    last = when = np.int64(0)  # many messages in a row have one time
    for k in range(mine.size):
        i = mine[k]
        s = source[i]
        if k == 0 or time[i] != last:
            last = time[i]
            when = rounded(last, unit, offset)
        t = when
        g = row[group[i]]
        top[g, s] = max(top[g, s], t)
        slot = lowest[g]
        fits = 0
        if slot >= 0 and times[slot] == t:
            fits = waiting_for(queue, link, slot, s)
        if fits > 0:  # as usual, it completes the oldest set; not being past that time, it releases nothing else
            heads[g, s] = t
            for p in range(parents):
                entry = queue[slot, p]
                if entry >= 0:
                    queue[slot, p] = link[entry]
                    out[p, taken] = number[entry]
                    give_entry(entries, link, entry)
                    waiting[p] -= 1
                else:
                    out[p, taken] = number_of[i]
            out[parents, taken] = t
            out[parents + 1, taken] = g
            out[parents + 2, taken] = i
            taken += 1
            if fits == 2:
                drop_lowest(slots, later, earlier, lowest, cursor, g)
            continue
        at = slot_before(times, later, earlier, cursor[g, s] if cursor[g, s] >= 0 else slot, t)
        made = at < 0 or times[at] != t
        if made:
            slot = take_entry(slots, later)
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
        entry = take_entry(entries, link)
        number[entry], came[entry], link[entry] = number_of[i], first + place[i], -1
        if queue[at, s] < 0:
            queue[at, s] = entry
        else:
            link[back[at, s]] = entry
        back[at, s] = entry
        waiting[s] += 1
        heads[g, s] = t
        if made and parents > 1 and (lowest[g] == at or not all_past(heads, g, times[lowest[g]])):
            continue  # alone in its set, and the oldest one has to wait
        taken = release(
            g, i, heads, drop, lowest, cursor, slots, times, later, earlier, queue, entries, number, link, waiting, out,
            taken,
        )  # fmt: skip
    for k in range(barriers.shape[1]):
        g = barriers[2, k]
        if g < low or g >= high:
            continue
        heads[g, barriers[0, k]] = barriers[1, k]
        taken = release(
            g, n + k, heads, drop, lowest, cursor, slots, times, later, earlier, queue, entries, number, link, waiting,
            out, taken,
        )  # fmt: skip
    return taken


@bare_kernel
def release_order(cause, begin, end, place, following, out):  # type: ignore[no-untyped-def]
    """Where the sets of parts stand, in the order in which they were released.

    cause: i8[m], what released each, of each part at begin[p]:end[p], i8[parts]; what a message or barrier released is
    all in one part. place: i4[n], the order of the messages; following: i4[n + barriers + 1], zeros; out: i4[k].
    """
    for p in range(begin.size):
        for i in range(begin[p], end[p]):
            c = cause[i]
            following[(place[c] if c < place.size else c) + 1] += 1
    for c in range(1, following.size):
        following[c] += following[c - 1]
    for p in range(begin.size):
        for i in range(begin[p], end[p]):
            c = cause[i]
            at = place[c] if c < place.size else c
            out[following[at]] = i
            following[at] += 1


@bare_kernel
def gather_sets(sets, order, groups, out):  # type: ignore[no-untyped-def]
    """out: i8[parents + 3, k], the columns of sets at order (i4[k]), with the groups (i8[rows]) in the place of their
    rows."""
    for r in range(sets.shape[0]):
        given, found = sets[r], out[r]
        for k in range(order.size):
            found[k] = given[order[k]]
    own = out[sets.shape[0] - 2]
    for k in range(own.size):
        own[k] = groups[own[k]]


@bare_kernel
def list_waiting(low, high, lowest, times, later, queue, number, came, link, out):  # type: ignore[no-untyped-def]
    """Write the messages that wait, of the groups that `pair` would take, to out: i8[5, n], in no order, and when they
    came. Returns how many."""
    found = 0
    for g in range(low, high):
        slot = lowest[g]
        while slot >= 0:
            for s in range(queue.shape[1]):
                entry = queue[slot, s]
                while entry >= 0:
                    out[SOURCE, found] = s
                    out[TIME, found] = times[slot]
                    out[GROUP, found] = g
                    out[NUMBER, found] = number[entry]
                    out[CAME, found] = came[entry]
                    found += 1
                    entry = link[entry]
            slot = later[slot]
    return found


@bare_kernel
def forget_group(g, heads, top, lowest, cursor, slots, later, queue, entries, link, waiting):  # type: ignore[no-untyped-def]
    """Drop what waits in a group, and what is known of its parents."""
    slot = lowest[g]
    while slot >= 0:
        for s in range(queue.shape[1]):
            entry = queue[slot, s]
            while entry >= 0:
                following = link[entry]
                give_entry(entries, link, entry)
                waiting[s] -= 1
                entry = following
        after = later[slot]
        give_entry(slots, later, slot)
        slot = after
    lowest[g] = -1
    for s in range(heads.shape[1]):
        heads[g, s] = NEVER
        top[g, s] = NEVER
        cursor[g, s] = -1


class _Part:
    """The messages that wait in some of the groups: the pools of slots and entries, see `pair`."""

    def __init__(self, parents: int) -> None:
        self.slots, self.entries = lone(new_pool()), lone(new_pool())
        self.times = np.zeros(0, np.int64)
        self.later = self.earlier = np.zeros(0, np.int32)
        self.queue = self.back = np.zeros((0, parents), np.int32)
        self.number = self.came = np.zeros(0, np.int64)
        self.link = np.zeros(0, np.int32)
        self.waiting = lone(np.zeros(parents, np.int64))

    ARRAYS = ("slots", "times", "later", "earlier", "queue", "back", "entries", "number", "came", "link", "waiting")

    def snapshot(self) -> Any:
        return [getattr(self, name) for name in self.ARRAYS]

    def restore(self, saved: Any) -> None:
        for name, array in zip(self.ARRAYS, saved):
            setattr(self, name, lone(array) if array.size < LINE else array)

    def make_room(self, n: int) -> None:
        """Make room for n more messages."""
        slots = self.times, self.later, self.earlier, self.queue, self.back
        self.times, self.later, self.earlier, self.queue, self.back = room(self.slots, n, slots)
        self.number, self.came, self.link = room(self.entries, n, (self.number, self.came, self.link))


class Sets:
    """Sets that messages and then barriers released, as `pair` writes them: those of each part begin[p]:end[p],
    i8[parts]. groups: i8[rows], the group that stands at each row; place: i4[n], the order of the messages; causes: how
    many messages and barriers there were."""

    def __init__(self, sets: Array, begin: Array, end: Array, groups: Array, place: Array, causes: int) -> None:
        self.sets, self.begin, self.end, self.groups, self.place, self.causes = sets, begin, end, groups, place, causes

    def __len__(self) -> int:
        return int((self.end - self.begin).sum())

    def pages(self, size: int) -> Iterator[Array]:
        """The sets as they were released, i8[parents + 3, n], with their groups; `size` at a time, in order."""
        if len(self.begin) == 1:
            yield from in_pages(self.sets[:, : self.end[0]], size)
            return
        order, following = np.empty(len(self), np.int32), np.zeros(self.causes + 1, np.int32)
        release_order(self.sets[-1], self.begin, self.end, self.place, following, order)
        for start in range(0, len(order), size):
            some = order[start : start + size]
            page = np.empty((len(self.sets), len(some)), np.int64)
            gather_sets(self.sets, some, self.groups, page)
            yield page


def in_pages(sets: Array, size: int) -> Iterator[Array]:
    """Columns of `sets`, `size` at a time, that may be changed."""
    for start in range(0, sets.shape[1], size):
        yield sets[:, start : start + size].copy()


class Pairing:
    """What waits in the groups of a join; see `pair`.

    The groups are dealt out to parts, two for each thread that there was when the first ones came, that can be at work
    at once. Each part has rows of its own (`room` of them), one behind the other, in the arrays by group: no two share
    a line of a cache.
    """

    def __init__(self, parents: int) -> None:
        self.parents = parents
        self.heads = self.top = np.zeros((0, parents), np.int64)
        self.lowest, self.cursor = np.zeros(0, np.int32), np.zeros((0, parents), np.int32)
        self.parts = [_Part(parents)]
        self._place(0)
        self.count = 0  # messages so far

    _ARRAYS = ("heads", "top", "lowest", "cursor")

    def snapshot(self) -> Any:
        own = [getattr(self, name) for name in self._ARRAYS]
        return [self.count, self.room, own, [part.snapshot() for part in self.parts]]

    def restore(self, saved: Any) -> None:
        self.count, room, own, parts = saved
        for name, array in zip(self._ARRAYS, own):
            setattr(self, name, array)
        self.parts = [_Part(self.parents) for _ in parts]
        for part, arrays in zip(self.parts, parts):
            part.restore(arrays)
        self._place(room)

    @property
    def waiting(self) -> Array:
        """i8[parents]: how many messages of each parent wait."""
        return np.sum([part.waiting for part in self.parts], axis=0)

    def reserve(self, groups: int, threads: int) -> None:
        """Make room for groups; of the first ones, in parts for so many threads."""
        if not self.room:
            self.parts = [_Part(self.parents) for _ in range(1 if threads == 1 else 2 * threads)]
        needed = -(-groups // len(self.parts))
        if needed > self.room:
            room = max(needed, 2 * self.room)
            self.heads, self.top = self._with_room(self.heads, NEVER, room), self._with_room(self.top, NEVER, room)
            self.lowest, self.cursor = self._with_room(self.lowest, -1, room), self._with_room(self.cursor, -1, room)
            self._place(room)

    def _place(self, room: int) -> None:
        """Note where groups stand with so many rows for each part."""
        parts = len(self.parts)
        self.room, group = room, np.arange(parts * room)
        self._part = group % parts
        self._rows = self._part * room + group // parts
        self._groups_of = np.argsort(self._rows)

    def _with_room(self, array: Array, value: int, room: int) -> Array:
        """An array by group with more rows for each part, which hold `value`."""
        parts, columns = len(self.parts), array.shape[1:]
        grown = np.full((parts, room, *columns), value, array.dtype)
        grown[:, : self.room] = array.reshape(parts, self.room, *columns)
        return grown.reshape(parts * room, *columns)

    def rows(self, group: Array) -> Array:
        """Where groups stand in the arrays by group."""
        return group if len(self.parts) == 1 else self._rows[group]

    def _groups(self, row: Array) -> Array:
        """The groups that stand at rows."""
        return row if len(self.parts) == 1 else self._groups_of[row]

    def take(self, messages: Messages, barriers: Array, unit: tuple[int, int], drop: bool, team: Team) -> Sets:
        """The sets that new messages and then barriers (i8[3, k], which is used up) release. unit: to which times are
        rounded, see `rounded`."""
        n, parts = len(messages), len(self.parts)
        mine, count, place = messages.dealt(self._part, parts)
        barriers[GROUP] = self.rows(barriers[GROUP])
        room = np.array([int(part.waiting.sum()) for part in self.parts]) + count
        begin = np.cumsum(room) - room
        out = np.empty((self.parents + 3, int(room.sum())), np.int64)

        def take(p: int) -> int:
            part, low, high = self.parts[p], p * self.room, (p + 1) * self.room
            part.make_room(int(count[p]))
            return pair(
                messages.source, messages.time, messages.group, messages.number, place, mine[p, : count[p]], self._rows,
                *unit, barriers, self.count, low, high, drop, self.heads, self.top, self.lowest, self.cursor,
                part.slots, part.times, part.later, part.earlier, part.queue, part.back, part.entries, part.number,
                part.came, part.link, part.waiting, out, int(begin[p]),
            )  # fmt: skip

        end = list((team.map if n >= SIDE_BY_SIDE else map)(take, range(parts)))
        self.count += n
        return Sets(out, begin, np.array(end), self._groups_of, place, n + barriers.shape[1])

    def left(self) -> Array:
        """i8[5, n]: all messages that wait, and when they came (see `sets_at_the_end`)."""
        found = []
        for number, part in enumerate(self.parts):
            out = np.empty((5, int(part.waiting.sum())), np.int64)
            list_waiting(
                number * self.room, (number + 1) * self.room, self.lowest, part.times, part.later, part.queue,
                part.number, part.came, part.link, out,
            )  # fmt: skip
            found.append(out)
        left = np.concatenate(found, axis=1)
        left[GROUP] = self._groups(left[GROUP])
        left[CAME] -= EARLIER
        return left

    def forget(self, groups: Array) -> None:
        """Drop groups and what waits in them."""
        for g in self.rows(np.unique(groups)).tolist():
            part = self.parts[g // self.room]
            forget_group(
                g, self.heads, self.top, self.lowest, self.cursor, part.slots, part.later, part.queue, part.entries,
                part.link, part.waiting,
            )  # fmt: skip

    def is_still(self, silent: int, group: Array, time: Array) -> bool:
        """Whether messages of the other parents (i4[n] groups, i8[n] rounded times) can release nothing as long as one
        is silent: what waits in their groups is not before its last time, and they come after all that it has sent."""
        row = self.rows(group)
        slot, oldest = self.lowest[row], np.full(len(row), _MOST_TIME)
        for number, part in enumerate(self.parts):
            mine = np.flatnonzero((slot >= 0) & (row // self.room == number))
            oldest[mine] = part.times[slot[mine]]
        head = self.heads[row, silent]
        return bool(((oldest >= head) & (time >= head) & (time > self.top[row, silent])).all())


def sets_at_the_end(messages: Array, parents: int, drop: bool) -> Array:
    """i8[parents + 2, m]: the sets of messages of which all have come: the numbers of their messages (-1: none), their
    time and their group. messages: i8[5, n], the last row telling when they came: numbers from -EARLIER on of those
    that were taken in, the seq of those that were not. drop: only sets that have a message of each parent.

    In order of time, then of arrival; Kapacitor goes from group to group in random order.
    """
    source, time, group, number, came = messages
    n = messages.shape[1]
    order = np.lexsort((number, came, source, time, group))
    fresh = np.ones(n, np.bool_)
    fresh[1:] = (np.diff(messages[:3, order], axis=1) != 0).any(axis=0)
    start = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
    k = np.empty(n, np.int64)  # the how manieth of its parent, group and time a message is
    k[order] = np.arange(n) - start
    order = np.lexsort((source, k, time, group))
    key = np.array([group, time, k])[:, order]
    fresh = np.ones(n, np.bool_)
    fresh[1:] = (np.diff(key, axis=1) != 0).any(axis=0)
    which = np.cumsum(fresh) - 1
    sets = np.full((parents + 2, int(fresh.sum())), -1, np.int64)
    sets[source[order], which] = number[order]
    sets[parents], sets[parents + 1] = key[1, fresh], key[0, fresh]
    arrived = np.empty(n, np.int64)
    arrived[np.lexsort((number, source, came))] = np.arange(n)
    first = np.minimum.reduceat(arrived[order], np.flatnonzero(fresh)) if n else arrived
    chosen = np.lexsort((first, sets[parents]))
    if drop:
        chosen = chosen[(sets[:parents, chosen] >= 0).all(axis=0)]
    return sets[:, chosen]


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
def send(source, time, group, number, cause, out, sent):  # type: ignore[no-untyped-def]
    """Write a message and what caused it to column `sent` of out: i8[5, n]."""
    out[SOURCE, sent] = source
    out[TIME, sent] = time
    out[GROUP, sent] = group
    out[NUMBER, sent] = number
    out[4, sent] = cause
    return sent + 1


@kernel
def match(  # type: ignore[no-untyped-def]
    messages, key, specific, low, reported, front, back, entries, source, time, group, number, link, waiting, out, start
):  # fmt: skip
    """Give the messages of larger groups to the specific groups within them, as Kapacitor's matchPoints does.

    messages: i8[4, n]; key: i8[groups], the larger group of each group; specific: bool[groups]. Updated: low: i8[keys,
    parents] and reported: bool[parents]; front, back: i4[keys, 2], for each key a queue of larger messages (0) and of
    specific ones (1); their entries, a pool: source i1, time i8, group i4, number i8, link i4; waiting: i8[parents].
    Begins with message `start` and writes what is sent on, in order, to out: i8[5, m] (see `send`). Returns how much is
    sent, and the message that it came to: it ends early where there might be no room for all that the next one sends.
    """
    parents = low.shape[1]
    sent = 0
    for i in range(start, messages.shape[1]):
        if sent + 2 * (entries[USED] - entries[FREE] + 2) > out.shape[1]:
            return sent, i
        s, t, g = messages[SOURCE, i], messages[TIME, i], messages[GROUP, i]
        k = key[g]
        queue = 1 if specific[g] else 0
        wait = True
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
            while j >= 0 and time[j] < mark:  # no counterpart will come any more
                sent = send(source[j], time[j], group[j], number[j], i, out, sent)
                following = link[j]
                waiting[source[j]] -= 1
                give_entry(entries, link, j)
                j = following
            front[k, 1] = j
        if queue == 1:
            j = front[k, 0]
            while j >= 0:
                if time[j] == t:
                    sent = send(s, t, g, messages[NUMBER, i], i, out, sent)
                    sent = send(source[j], time[j], g, number[j], i, out, sent)
                    wait = False
                if time[j] >= mark:
                    break
                following = link[j]
                waiting[source[j]] -= 1
                give_entry(entries, link, j)
                j = following
            front[k, 0] = j
            if wait and everyone and t < mark:
                sent = send(s, t, g, messages[NUMBER, i], i, out, sent)
                wait = False
        else:
            j = front[k, 1]
            while j >= 0 and time[j] == t:
                sent = send(source[j], time[j], group[j], number[j], i, out, sent)
                sent = send(s, t, group[j], messages[NUMBER, i], i, out, sent)
                following = link[j]
                waiting[source[j]] -= 1
                give_entry(entries, link, j)
                j = following
            front[k, 1] = j
        if wait:
            j = take_entry(entries, link)
            source[j], time[j], group[j], number[j], link[j] = s, t, g, messages[NUMBER, i], -1
            waiting[s] += 1
            if front[k, queue] < 0:
                front[k, queue] = j
            else:
                link[back[k, queue]] = j
            back[k, queue] = j
    return sent, messages.shape[1]


@kernel
def list_matching(front, source, number, link, out):  # type: ignore[no-untyped-def]
    """Write parent and number of the messages that wait to out: i8[2, n]. Returns how many."""
    found = 0
    for k in range(front.shape[0]):
        for queue in range(2):
            j = front[k, queue]
            while j >= 0:
                out[0, found] = source[j]
                out[1, found] = number[j]
                found += 1
                j = link[j]
    return found


@kernel
def forget_key(k, front, entries, source, link, waiting):  # type: ignore[no-untyped-def]
    """Drop what waits in a larger group."""
    for queue in range(2):
        j = front[k, queue]
        while j >= 0:
            following = link[j]
            waiting[source[j]] -= 1
            give_entry(entries, link, j)
            j = following
        front[k, queue] = -1


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
        self.front = self.back = np.zeros((0, 2), np.int32)
        self.entries = new_pool()
        self.source, self.time = np.zeros(0, np.int8), np.zeros(0, np.int64)
        self.group, self.number, self.link = np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32)
        self.waiting = np.zeros(parents, np.int64)

    _ARRAYS = ("low", "reported", "front", "back", "entries", "source", "time", "group", "number", "link", "waiting")

    def snapshot(self) -> Any:
        return [getattr(self, name) for name in self._ARRAYS]

    def restore(self, saved: Any) -> None:
        for name, array in zip(self._ARRAYS, saved):
            setattr(self, name, array)

    def forget(self, parent: int, codes: Array, groups: Groups, everywhere: bool) -> None:
        """Drop what waits in the larger groups that have the ids of groups, and the parent's low mark there, or all low
        marks."""
        self._learn(groups)
        keys = [self.keys.codes[i] for i in {groups[g].id for g in codes.tolist()} if i in self.keys.codes]
        for k in keys:
            forget_key(k, self.front, self.entries, self.source, self.link, self.waiting)
        if everywhere:
            self.low[:] = NEVER
        else:
            self.low[keys, parent] = NEVER

    def process(self, messages: Messages, groups: Groups) -> Messages:
        """What goes on, in order, for new messages of rounded times and of `groups`."""
        self._learn(groups)
        n, start = len(messages), 0
        order = messages.dealt(np.zeros(len(groups), np.int64), 1)[0][0]
        arrays = messages.source, messages.time, messages.group, messages.number
        given = np.array([array[order] for array in arrays], np.int64)
        pool = self.source, self.time, self.group, self.number, self.link
        self.source, self.time, self.group, self.number, self.link = room(self.entries, n, pool)
        found: list[Array] = []
        while start < n:
            out = np.empty((5, 4 * (int(self.waiting.sum()) + n) + 8), np.int64)
            sent, start = match(
                given, self.key, self.specific, self.low, self.reported, self.front, self.back, self.entries,
                self.source, self.time, self.group, self.number, self.link, self.waiting, out, start,
            )  # fmt: skip
            found.append(out[:, :sent])
        source, time, group, number, cause = np.ascontiguousarray(np.concatenate(found, axis=1))
        seq = messages.seq[order[cause]]
        return Messages(seq, time, group.astype(np.int32), source.astype(np.int8), number, np.zeros(1, np.int64))

    def left(self) -> Array:
        """i8[2, n]: parent and number of all messages that wait."""
        out = np.empty((2, int(self.waiting.sum())), np.int64)
        list_matching(self.front, self.source, self.number, self.link, out)
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
            none = np.full((missing, 2), -1, np.int32)
            self.front, self.back = np.concatenate([self.front, none]), np.concatenate([self.back, none])

    def _key(self, group: Group) -> str:
        return group_id(group.name, group.by_name, {d: group.tags.get(d, "") for d in self.on})
