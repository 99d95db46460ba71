"""`|alert()`: levels of points or batches, when they become events, and the topics that remember them.

Kapacitor alert.go. The predicates are evaluated on whole columns; what is left of a point are six bits, and one kernel
takes them through the state machine of its group. Texts are rendered for events only. Predicates with functions that
have state are tested in an order that depends on the levels found before; see `Alert._advance`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Column, Groups, Points, Rows, Segments, Text, Vocabulary
from tickc.runtime.events import DEFAULT_ID, DEFAULT_MESSAGE, LEVELS, Events, IdError, Ids, Texts
from tickc.runtime.expr import Expr, Frame, Lambda
from tickc.runtime.gotemplate import TemplateError
from tickc.runtime.graph import Graph, Held, Operator, Output, TaskFailed
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.group import Codes, Combinations, Lookup, Retagging
from tickc.runtime.nodes.window import grown
from tickc.runtime.prefetch import prefetch, rows_ahead
from tickc.runtime.topics import Deferred, Switch, Topics

# Bits of a row: 1 << k says that the predicate of level k + 1 holds, 8 << k that the reset of level k + 1 is false, so
# that the level stays. FORCED: the level is known already and stands in the lowest two bits.
FORCED = 64

STATE = np.dtype(
    [
        ("level", "i4"),
        ("known", "i1"),
        ("flapping", "i1"),
        ("fired", "i1"),
        ("begun", "i1"),
        ("index", "i8"),
        ("first", "i8"),
        ("last", "i8"),
    ]
)  # fmt: skip; half a line of a cache
SETTINGS = np.dtype([("only_changes", "i1"), ("repeat", "i8"), ("flaps", "i1"), ("low", "f8"), ("high", "f8"),
                     ("no_recoveries", "i1"), ("all", "i1")])  # fmt: skip
MEMORY = np.dtype([("known", "i1"), ("level", "i1"), ("time", "i8")])

UNIT, LEVEL, DURATION, SENT, TIME, POINT = range(6)  # columns of the array that a kernel fills
FEW = 8  # one of so many points is few
FOREVER = 2**63 - 1  # Go's longest duration: since the zero time


@kernel
def next_level(mask, current):  # type: ignore[no-untyped-def]
    """The level of a row with the bits `mask` in a group of level `current` (AlertNode.determineLevel)."""
    bits = np.int64(mask)
    if bits & FORCED:
        return bits & 3
    level = 3
    while level >= 1 and level >= current:
        if bits >> (level - 1) & 1:
            return level
        level -= 1
    if current > 0 and bits >> (2 + current) & 1:
        return current
    level = current
    while level >= 1:
        if bits >> (level - 1) & 1:
            return level
        level -= 1
    return 0


@kernel
def tested_once(mask, current, stateful):  # type: ignore[no-untyped-def]
    """Whether `next_level` tests each predicate and reset of the bits `stateful` exactly once."""
    bits = np.int64(mask)
    seen = 0
    again = 0
    done = False
    level = 3
    while level >= 1 and level >= current and not done:
        seen |= 1 << (level - 1)
        done = bits >> (level - 1) & 1 == 1
        level -= 1
    if not done and current > 0:
        seen |= 1 << (2 + current)
        done = bits >> (2 + current) & 1 == 1
    level = current
    while level >= 1 and not done:
        again |= seen & 1 << (level - 1)
        seen |= 1 << (level - 1)
        done = bits >> (level - 1) & 1 == 1
        level -= 1
    return (stateful & ~seen) == 0 and (stateful & again) == 0


@kernel
def change_share(history, g, index):  # type: ignore[no-untyped-def]
    """Weighted share of changes in a group's history (alertState.percentChange, with its odd order)."""
    n = history.shape[1]
    weight = 0.8
    step = (1.2 - weight) / (n - 1)
    changes = 0.0
    at = index
    before = index - 1 if index > 0 else n - 1
    for _ in range(n - 1):
        if history[g, at] != history[g, before]:
            changes += weight
        weight += step
        before = at
        at = at + 1 if at + 1 < n else 0
    return changes / (n - 1)


@kernel
def flap(s, history, g, level, settings):  # type: ignore[no-untyped-def]
    """Record a level in a group's ring and see whether it flaps (alertState.updateFlapping)."""
    index = (np.int64(s["index"]) + 1) % history.shape[1]
    s["index"] = index
    history[g, index] = level
    share = change_share(history, g, index)
    if s["flapping"] and share < settings["low"]:
        s["flapping"] = 0
    elif not s["flapping"] and share > settings["high"]:
        s["flapping"] = 1


@kernel
def push(s, history, g, time, level, settings):  # type: ignore[no-untyped-def]
    """Record a level of group g (alertState.addEvent); s: its STATE. Returns 1 if changed, 2 if expired, else 0."""
    changed = s["level"] != level
    s["level"] = level
    if settings["flaps"]:
        flap(s, history, g, level, settings)
    if changed:
        return 1
    if settings["repeat"] != 0 and (not s["fired"] or time - s["last"] >= settings["repeat"]):
        return 2
    return 0


@kernel
def trigger(s, time, before):  # type: ignore[no-untyped-def]
    """Note that a group was triggered, whose level was `before` (alertState.triggered); returns how long it is on."""
    s["last"] = time
    s["fired"] = 1
    if before == 0:
        s["first"] = time
        s["begun"] = 1
    return time - s["first"] if s["begun"] else FOREVER


@kernel
def is_held_back(s, outcome, settings):  # type: ignore[no-untyped-def]
    """Whether flapping or `stateChangesOnly` suppress the level that was just pushed."""
    return (settings["flaps"] and s["flapping"]) or (settings["only_changes"] and outcome == 0)


@kernel
def alert_points(  # type: ignore[no-untyped-def]
    time, mask, group, start, stop, stateful, settings, state, history, ahead, out
):  # fmt: skip
    """Take points start…stop-1 through their groups' state machines (alertState.Point).

    time: i8[n] ns, mask: u1[n] bits, group: i4[n], settings: SETTINGS[1], state: STATE[groups], history: u1[groups, h],
    used for flapping only, ahead: see prefetch.py -> out: i8[m, 6], a row each time an alert is triggered. Stops before
    a point that would not test each predicate of the bits `stateful` exactly once. Returns how many rows were written,
    and where it stopped.
    """
    rules = settings[0]
    found = 0
    for i in range(start, stop):
        if ahead is not None:
            prefetch(state, group[min(i + ahead, stop - 1)], 0)
        g = group[i]
        s = state[g]
        s["known"] = 1
        current = np.int64(s["level"])
        if stateful != 0 and not tested_once(mask[i], current, stateful):
            return found, i
        level = next_level(mask[i], current)
        outcome = push(s, history, g, time[i], level, rules)
        if is_held_back(s, outcome, rules) or (level == 0 and outcome != 1):
            continue
        out[found, DURATION] = trigger(s, time[i], current)
        out[found, UNIT] = i
        out[found, LEVEL] = level
        out[found, SENT] = not (rules["no_recoveries"] and level == 0)
        out[found, TIME] = time[i]
        out[found, POINT] = i
        found += 1
    return found, stop


@kernel
def alert_batches(  # type: ignore[no-untyped-def]
    time, mask, index, begin, end, tmax, group, start, stop, stateful, settings, state, history, out
):  # fmt: skip
    """Take batches start…stop-1 through their groups' state machines (alertState.BufferedBatch).

    time: i8[rows], mask: u1[rows]; batch j is the rows begin[j]…end[j]-1, by way of index: i8[k] where it is not empty;
    tmax: i8[m], group: i4[m]; the rest as in `alert_points`.
    """
    rules = settings[0]
    found = 0
    for j in range(start, stop):
        g = group[j]
        s = state[g]
        s["known"] = 1
        if begin[j] == end[j]:
            continue
        current = np.int64(s["level"])
        lowest = 3
        highest = 0
        best = -1
        for k in range(begin[j], end[j]):
            i = index[k] if index.size else k
            if stateful != 0 and not tested_once(mask[i], current, stateful):
                return found, j
            level = next_level(mask[i], current)
            lowest = min(lowest, level)
            if level > highest or best < 0:
                highest = level
                best = i
        level = lowest if rules["all"] else highest
        when = tmax[j] if rules["all"] or level == 0 else time[best]
        outcome = push(s, history, g, when, level, rules)
        if outcome != 1 if level == 0 else is_held_back(s, outcome, rules):
            continue
        out[found, DURATION] = trigger(s, when, current)
        out[found, UNIT] = j
        out[found, LEVEL] = level
        out[found, SENT] = not (rules["no_recoveries"] and level == 0)
        out[found, TIME] = when
        out[found, POINT] = best
        found += 1
    return found, stop


@kernel
def points_of(group, wanted, out):  # type: ignore[no-untyped-def]
    """The points of groups that are wanted. group: i4[n], wanted: bool[groups] -> out: i8[n]. Returns how many."""
    found = 0
    for i in range(group.size):
        if wanted[group[i]]:
            out[found] = i
            found += 1
    return found


@kernel
def resume(group, time, level, since, settings, state, history):  # type: ignore[no-untyped-def]
    """Start a group at a level that its topic remembers (AlertNode.restoreEventState)."""
    push(state[group], history, group, time, level, settings[0])
    trigger(state[group], since, 0)


@kernel
def first_rows(group, state, out):  # type: ignore[no-untyped-def]
    """The rows in which groups appear that are not known, which they become. group: i4[n], state: STATE[groups] -> out:
    i8[n]. Returns how many."""
    found = 0
    for i in range(group.size):
        s = state[group[i]]
        if not s["known"]:
            s["known"] = 1
            out[found] = i
            found += 1
    return found


@kernel
def repeated(codes, rows, seen, out):  # type: ignore[no-untyped-def]
    """Whether the code of each of `rows` (i8[k], ascending) stands in an earlier row. codes: i4[n], seen: bool[codes],
    all false -> out: bool[k]."""
    k = 0
    for i in range(codes.size):
        if k < rows.size and rows[k] == i:
            out[k] = seen[codes[i]]
            k += 1
        seen[codes[i]] = True


@kernel
def collect(ids, level, time, memory, previous):  # type: ignore[no-untyped-def]
    """Store events in a topic. ids: i4[m], level: i1[m], time: i8[m], memory: MEMORY[ids] -> previous: i1[m]."""
    for i in range(ids.size):
        m = memory[ids[i]]
        previous[i] = m["level"]
        m["known"] = 1
        m["level"] = level[i]
        m["time"] = time[i]


class Headers:
    """Groups of batches whose headers get more tags, which become dimensions (BeginBatchMessage.SetTags)."""

    def __init__(self) -> None:
        self.groups = Groups()
        self._derive()

    def _derive(self) -> None:
        self._codes: dict[str, Codes] = {}
        self._combinations = Combinations()
        self._lookup = Lookup()

    def snapshot(self) -> Any:
        return self.groups

    def restore(self, groups: Groups) -> None:
        self.groups = groups
        self._derive()

    def encode(self, group: Array, groups: Groups, tags: Mapping[str, Text]) -> Array:
        """i4[m] codes in `self.groups` of batches of `group` with `tags` added; the names of `tags` never change."""
        columns = [group, *(self._codes.setdefault(name, Codes()).of(text) for name, text in tags.items())]

        def make(row: int) -> int:
            old = groups[int(group[row])]
            more = {name: text.at(row) or "" for name, text in tags.items()}
            return self.groups.code(old.name, old.by_name, dict(sorted({**old.tags, **more}.items())))

        return self._lookup.groups(self._combinations.encode(columns), make)


class Alert(Operator):
    """Sends events for points or batches whose level calls for one; only those data go on."""

    STATE = ("state", "history", "lambdas", "ids", "memory", "retagging", "headers", "told",
             "telling", "inhibiting", "on")  # fmt: skip

    def __init__(
        self,
        *,
        name: str,
        task: str = "",
        id: str = DEFAULT_ID,
        message: str = DEFAULT_MESSAGE,
        details: str | None = None,
        info: Expr | None = None,
        warn: Expr | None = None,
        crit: Expr | None = None,
        info_reset: Expr | None = None,
        warn_reset: Expr | None = None,
        crit_reset: Expr | None = None,
        all: bool = False,
        state_changes_only: bool = False,
        state_changes_duration: int = 0,
        flapping: tuple[float, float] | None = None,
        history: int = 21,
        no_recoveries: bool = False,
        level_tag: str = "",
        level_field: str = "",
        id_tag: str = "",
        id_field: str = "",
        message_field: str = "",
        duration_field: str = "",
        topic: str = "",
        category: str = "",
        inhibit: Sequence[Sequence[Any]] = (),
        logs: Sequence[str] = (),
        modes: Mapping[str, int] | None = None,
        handlers: Sequence[tuple[str, Mapping[str, Any]]] = (),
        topics: Topics | None = None,
    ) -> None:
        """inhibit: for each rule a category and the tags that must be equal; modes: permissions of log files, by path;
        topics: shared by the graph's alerts."""
        super().__init__(name=name)
        if flapping is not None and max(flapping) > 1:
            raise ValueError("alert flap thresholds are percentages and should be between 0 and 1")
        levels = (info, warn, crit)
        resets = (info_reset, warn_reset, crit_reset)
        used = [reset if level is not None else None for level, reset in zip(levels, resets)]
        self.lambdas = [None if e is None else _predicate(e, f"{name}/{i}") for i, e in enumerate((*levels, *used))]
        low, high = flapping or (0.0, 0.0)
        self.settings = np.array([(state_changes_only, state_changes_duration, flapping is not None, low, high,
                                   no_recoveries, all)], SETTINGS)  # fmt: skip
        self.state = np.zeros(0, STATE)
        self.history = np.zeros((0, max(history, 2)), np.uint8)
        self.ids = Ids(id, task)
        self.texts = Texts(task, message, details)
        self.memory = np.zeros(0, MEMORY)
        self.recoverable = not no_recoveries
        self.level_tag, self.id_tag = level_tag, id_tag
        self.level_field, self.id_field = level_field, id_field
        self.message_field, self.duration_field = message_field, duration_field
        self.level_words = Vocabulary(LEVELS)
        self.topic, self.category = topic, category
        self.inhibit = tuple(_rule(r) for r in inhibit)
        self.logs, self.handlers = tuple(logs), tuple(handlers)
        self.modes = dict(modes or {})
        self.told: dict[str, tuple[int, int, int]] = {}
        self.telling: dict[str, list[tuple[int, int, int]]] = {}
        self.inhibiting = np.zeros(0, np.bool_)
        self.on: Counter[tuple[int, tuple[str, ...]]] = Counter()
        self.inhibited = 0
        self.topics = Topics() if topics is None else topics
        self.number = self.topics.join(self)
        self._chunk = 256
        self._rest: Iterator[Any] = iter(())  # of a round in which it holds
        self.failed = False  # whether it has ended the task

    @cached_property
    def retagging(self) -> Retagging:
        """The groups of points that get tags; few alerts set any."""
        return Retagging()

    @cached_property
    def headers(self) -> Headers:
        """Likewise those of batches."""
        return Headers()

    # -- the edges

    def attach(self, graph: Graph) -> None:
        """All alerts of a graph share their topics."""
        topics = graph.shared.setdefault("topics", self.topics)
        if topics is not self.topics:
            self.topics = topics
            self.number = topics.join(self)

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        for id, log in self.telling.items():
            self.told[id] = log[-1]
        self.telling = {}
        coming = chain(self._rest, super().round(inputs))
        self._rest, self.held = iter(()), None
        last, failure = self.topics.last is self, None
        try:
            for some in coming:
                if isinstance(some, Held):
                    self._rest, self.held = coming, some
                    break
                yield some
        except TaskFailed as error:
            self.failed, failure = True, error
        if last:
            self.topics.deliver(self)
        if failure is not None:
            raise failure

    @property
    def may_hold(self) -> bool:  # type: ignore[override]
        """An alert holds before a new group with the id of events of which it is not known whether they are sent."""
        return self.topics.guarding

    def points(self, batch: Points) -> Iterable[Any]:
        rows = batch.rows
        bits, frames = self._bits(rows)

        def through(time: Array, bits: Array, group: Array, first: int, last: int, stateful: int, out: Array) -> Any:
            return alert_points(time, bits, group, first, last, stateful, self.settings, self.state,
                                self.history, rows_ahead(self.state), out)  # fmt: skip

        def step(first: int, last: int, stateful: int, out: Array) -> tuple[int, int]:
            at = None if frames or self.settings["flaps"][0] else self._stirring(bits, batch.group, first, last)
            if at is None:
                return through(rows.time, bits, batch.group, first, last, stateful, out)
            found, _ = through(rows.time[at], bits[at], batch.group[at], 0, len(at), 0, out)
            out[:found, UNIT] = out[:found, POINT] = at[out[:found, UNIT]]
            return found, last

        yield from self._run(_Work(batch, rows.time, rows.name, rows.tags, None, None, bits, frames, step))

    def segments(self, batch: Segments) -> Iterable[Any]:
        if any(e is not None and e.stateful for e in self.lambdas):
            batch = batch.flat()
        rows = batch.rows
        bits, frames = self._bits(rows)
        index = np.zeros(0, np.int64) if batch.index is None else batch.index

        def step(first: int, last: int, stateful: int, out: Array) -> tuple[int, int]:
            return alert_batches(rows.time, bits, index, batch.start, batch.stop, batch.tmax, batch.group, first, last,
                                 stateful, self.settings, self.state, self.history, out)  # fmt: skip

        yield from self._run(_Work(batch, batch.tmax, batch.name, None, batch.start, batch.stop, bits, frames, step))

    def forget(self, codes: Array, groups: Groups) -> None:
        self.state = grown(self.state, len(groups))
        self.state[codes] = np.zeros(1, STATE)
        if len(self.history):
            self.history = grown(self.history, len(groups))
            self.history[codes] = 0
        for e in self.lambdas:
            if e is not None:
                e.forget(codes)

    def groups_behind(self, groups: Groups) -> Groups:
        if not self.level_tag and not self.id_tag:
            return groups
        return self.headers.groups if len(self.headers.groups) else self.retagging.groups

    def apart(self) -> bool:
        """Groups with ids of their own know nothing of each other's events."""
        shared = self.topic or self.inhibit or self.handlers or self.level_tag or self.id_tag
        plain = all(e is None or (e.apart() and not e.stateful) for e in self.lambdas)
        return not shared and plain and self.ids.apart()

    def _run(self, work: _Work) -> Iterable[Any]:
        batch, n = work.batch, len(work.batch)
        self.state = grown(self.state, len(batch.groups))
        if self.settings["flaps"][0]:
            self.history = grown(self.history, len(batch.groups))
        if self.ids.can_fail and (failed := self._failing_id(work)) is not None:
            if failed[0]:
                yield from self.process(batch.take(np.arange(failed[0])))
            raise TaskFailed(failed[1], int(batch.seq[failed[0]]))
        out = np.empty((n, 6), np.int64)
        parts: list[tuple[Array, Array]] = []
        total, place = 0, self.topics.place(n)
        pieces = deque(self._pieces(work))
        while pieces:
            first, last, fresh = pieces.popleft()
            if parts and len(fresh) and self.may_hold:
                yield from self._emit(work, parts, place)
                parts = []
            unknown = self._first_unknown(work, fresh)
            if unknown == first:
                yield Held(int(batch.seq[first]), place + first)
                pieces.appendleft((first, last, fresh))
                continue
            if unknown is not None:
                pieces.appendleft((unknown, last, fresh[fresh >= unknown]))
                last, fresh = unknown, fresh[fresh < unknown]
            self._resume(work, fresh)
            found = self._advance(work, first, last, out[total:])
            triggered = out[total : total + found]
            total += found
            self._switch(work, triggered, place)
            sent = triggered[:, SENT] != 0
            events = triggered if sent.all() else triggered[sent]
            if len(events):
                parts.append((events, self._remember(work, events)))
        if parts:
            yield from self._emit(work, parts, place)

    def _stirring(self, bits: Array, group: Array, first: int, last: int) -> Array | None:
        """i8[k]: the points of first…last-1 of groups that are above OK, or may come to be by these points; the others
        leave their groups as they are. None where they are many."""
        group = group[first:last]
        up = np.flatnonzero(bits[first:last] & 7)
        stirred = self.state["level"] > 0
        if len(up) > len(group) // FEW or np.count_nonzero(stirred) > len(stirred) // FEW:
            return None
        if not self.state["known"].all():
            first_rows(group, self.state, np.empty(len(group), np.int64))
        stirred[group[up]] = True
        groups = np.flatnonzero(stirred).astype(np.int32)
        if not len(groups):
            return up
        if len(groups) <= FEW:  # comparisons of columns take less than a look at each point
            at = np.flatnonzero(np.logical_or.reduce([group == g for g in groups]))
        else:
            at = np.empty(len(group), np.int64)
            at = at[: points_of(group, stirred, at)]
        return at + first if FEW * len(at) <= len(group) else None

    # -- levels

    def _bits(self, rows: Rows) -> tuple[Array, dict[int, Frame]]:
        """u1[rows]: the bits of predicates without state; the frames of those with state, by number."""
        bits = np.zeros(len(rows), np.uint8)
        frames: dict[int, Frame] = {}
        for k, predicate in enumerate(self.lambdas):
            if predicate is not None:
                frame = Frame.of(predicate.names, rows.fields, rows.tags, rows.time)
                if predicate.stateful:
                    frames[k] = frame
                else:
                    bits |= self._tested(k, predicate, frame, self.errors)
        return bits, frames

    def _tested(self, k: int, predicate: Lambda, frame: Frame, errors: Counter[str]) -> Array:
        """u1[n]: bit k where the level's predicate holds, or where its reset is false (an error is as good as true)."""
        held, error = predicate.mask(frame)
        if error is not None:
            what = "reset" if k >= 3 else "level"
            errors[f"error evaluating {what} {LEVELS[k % 3 + 1]}"] += int(np.count_nonzero(error))
        if k >= 3:
            held = ~held if error is None else ~held & ~error
        return held.view(np.uint8) * np.uint8(1 << k)  # a shift takes 20 times as long

    def _advance(self, work: _Work, first: int, last: int, out: Array) -> int:
        """Take points or batches first…last-1 through the state machine; returns the rows written to `out`.

        Kapacitor tests a predicate once, twice or not at all on a point, depending on the group's level, and state of
        the predicate's functions advances with each test. Here predicates with state are evaluated ahead, once a row,
        on copies; the kernel stops where that was wrong. Up to there the evaluation is repeated for good, and the
        point or batch that broke the rule is treated test by test.
        """
        if not work.frames:
            return work.step(first, last, 0, out)[0]
        stateful = sum(1 << k for k in work.frames)
        total = 0
        while first < last:
            stop = min(first + self._chunk, last)
            ahead = {k: _copy(self.lambdas[k]) for k in work.frames}
            errors = Counter[str]()
            self._evaluate(work, ahead, first, stop, errors)
            found, reached = work.step(first, stop, stateful, out[total:])
            total += found
            if reached == stop:
                self._adopt(ahead)
                self.errors.update(errors)
                self._chunk = min(2 * self._chunk, 65536)
            else:
                ahead = {k: _copy(self.lambdas[k]) for k in work.frames}
                self._evaluate(work, ahead, first, reached, self.errors)
                self._adopt(ahead)
                self._force(work, reached)
                total += work.step(reached, reached + 1, 0, out[total:])[0]
                self._chunk = max(16, reached - first)
                reached += 1
            first = reached
        return total

    def _adopt(self, lambdas: Mapping[int, Lambda]) -> None:
        for k, predicate in lambdas.items():
            self.lambdas[k] = predicate

    def _evaluate(
        self, work: _Work, lambdas: Mapping[int, Lambda], first: int, last: int, errors: Counter[str]
    ) -> None:
        """Set the bits of predicates with state in the rows of points or batches first…last-1, and count `errors`."""
        rows = work.rows(first, last)
        if rows.start == rows.stop:
            return
        for k, predicate in lambdas.items():
            tested = self._tested(k, predicate, work.frames[k].take(rows), errors)
            work.bits[rows] = work.bits[rows] & ~np.uint8(1 << k) | tested

    def _force(self, work: _Work, unit: int) -> None:
        """Find the levels of the rows of one point or batch by testing as Kapacitor does."""
        group = work.batch.group[unit]
        current = int(self.state["level"][group])
        rows = work.rows(unit, unit + 1)
        for row in range(rows.start, rows.stop):
            work.bits[row] = FORCED | self._level(work, row, current)

    def _level(self, work: _Work, row: int, current: int) -> int:
        def holds(k: int) -> bool:
            predicate = self.lambdas[k]
            if predicate is None:
                return False
            if k not in work.frames:
                return bool(work.bits[row] >> k & 1)
            return bool(self._tested(k, predicate, work.frames[k].take(slice(row, row + 1)), self.errors)[0])

        for level in range(3, max(current, 1) - 1, -1):
            if holds(level - 1):
                return level
        if current > 0 and holds(2 + current):
            return current
        return next((level for level in range(current, 0, -1) if holds(level - 1)), 0)

    # -- topics

    @property
    def remembers(self) -> bool:
        """Whether a topic keeps this alert's events (Kapacitor: it has handlers, or a named topic)."""
        return bool(self.logs or self.handlers or self.topic)

    @property
    def _shares(self) -> bool:
        """Whether other alerts tell its topic what they send."""
        return bool(self.topic) and len(self.topics.sharing(self.topic)) > 1

    def _pieces(self, work: _Work) -> list[tuple[int, int, Array]]:
        """Parts of a batch with the first points of new groups in each.

        A new group takes over the level of an event with its id. Where an earlier row of the batch has the same id, the
        part ends before the new group, so that its events are known by then.
        """
        n, group = len(work.batch), work.batch.group
        apart = self.ids.by_group(work.name) and not self._shares  # nothing was told of the id of a new group
        fresh = np.empty(0 if apart or not self.remembers else n, np.int64)
        if len(fresh):
            fresh = fresh[: first_rows(group, self.state, fresh)]
        if not len(fresh):
            return [(0, n, fresh)]
        codes = self._id_codes(work, slice(0, int(fresh[-1]) + 1))
        again = np.empty(len(fresh), np.bool_)
        repeated(codes, fresh, np.zeros(len(self.ids.vocabulary), np.bool_), again)
        cuts = fresh[again]
        edges = [0, *cuts.tolist(), n]
        at = np.searchsorted(fresh, edges)
        return [(a, b, fresh[i:j]) for a, b, i, j in zip(edges, edges[1:], at, at[1:])]

    def _first_unknown(self, work: _Work, fresh: Array) -> int | None:
        """The first of the units in which new groups appear of whose id it is not known yet which events were sent."""
        if not len(fresh) or not self.may_hold:
            return None
        ids = self.ids.vocabulary.strings
        units = zip(fresh.tolist(), self._id_codes(work, fresh).tolist(), work.batch.seq[fresh].tolist())
        return next((unit for unit, code, seq in units if self.topics.undecided(self, ids[code], seq)), None)

    def _resume(self, work: _Work, fresh: Array) -> None:
        """Start new groups, with the level that a topic remembers for the id of their first point."""
        if not len(fresh):
            return
        codes = self._id_codes(work, fresh)
        for unit, code in zip(fresh.tolist(), codes.tolist()):
            level, since = self._recall(code, int(work.batch.seq[unit]))
            if level:
                group = int(work.batch.group[unit])
                resume(group, int(work.time[unit]), level, since, self.settings, self.state, self.history)

    def _recall(self, code: int, seq: int) -> tuple[int, int]:
        """Level and time of the last event of an id (AlertNode.restoreEvent); (0, 0) if there was none."""
        own = self.memory[code]
        found = (int(own["level"]), int(own["time"])) if own["known"] else None
        sharing = self.topics.sharing(self.topic) if self.topic else []
        if len(sharing) < 2:
            return found or (0, 0)
        id = self.ids.vocabulary.strings[code]
        heard = max((h for a in sharing[: sharing.index(self) + 1] if (h := a.last_told(id, seq))), default=None)
        if found is not None and (self.logs or self.handlers):
            if heard is not None and heard[2] != found[0]:
                self.telling.setdefault(id, []).append((seq, *found))
            return found
        if heard is None:
            return 0, 0
        self.memory[code] = (1, *heard[2:])
        return heard[2:]

    def last_told(self, id: str, seq: int) -> tuple[int, int, int, int] | None:
        """(input row, alert, level, time) of the last event of `id` that this alert sent up to the input row `seq`."""
        for entry in reversed(self.telling.get(id, [])):
            if entry[0] <= seq:
                return entry[0], self.number, *entry[1:]
        before = self.told.get(id)
        return None if before is None else (before[0], self.number, *before[1:])

    def _remember(self, work: _Work, events: Array) -> Array:
        """i8[m, 2]: the ids of events, and the levels that they had before; the topics keep the events."""
        units = events[:, UNIT]
        codes = self._id_codes(work, units)
        previous = np.zeros(len(codes), np.int8)
        if not self._guarded:
            self._collect(codes, events[:, LEVEL], events[:, TIME], previous, work.batch.seq[units])
        return np.stack([codes, previous], axis=1)

    @property
    def _guarded(self) -> bool:
        return self.topics.guards(self.category)

    def _collect(self, ids: Array, level: Array, time: Array, previous: Array, seq: Array) -> None:
        if not self.remembers:
            return
        collect(ids, level.astype(np.int8), np.ascontiguousarray(time), self.memory, previous)
        if self._shares:
            strings = self.ids.vocabulary.strings
            for code, *entry in zip(ids.tolist(), seq.tolist(), level.tolist(), time.tolist()):
                self.telling.setdefault(strings[code], []).append((entry[0], entry[1], entry[2]))

    def _id_codes(self, work: _Work, units: Array | slice) -> Array:
        """i4[k]: codes of the ids of points or batches."""
        tags = None if work.tags is None else {t: text.take(units) for t, text in work.tags.items()}
        codes = self.ids.encode(work.name.take(units), work.batch.group[units], work.batch.groups, tags)
        self.memory = grown(self.memory, len(self.ids.vocabulary))
        return codes

    def _failing_id(self, work: _Work) -> tuple[int, str] | None:
        """The first point or batch on which the id template fails, and the error; that ends the task."""
        try:
            self._id_codes(work, slice(0, len(work.batch)))
        except IdError as error:
            return error.row, f"{self.name}: {error}"
        return None

    def _switch(self, work: _Work, triggered: Array, place: int) -> None:
        """Switch this alert's inhibitors: on while a group's level is not OK. place: that of the first unit."""
        if not self.inhibit:
            return
        groups = work.batch.groups
        self.inhibiting = grown(self.inhibiting, len(groups))
        for unit, level in triggered[:, [UNIT, LEVEL]].tolist():
            group = int(work.batch.group[unit])
            if self.inhibiting[group] == (level > 0):
                continue
            self.inhibiting[group] = level > 0
            for k, rule in enumerate(self.inhibit):
                equal = tuple(groups[group].tags.get(t, "") for t in rule[1:])
                self.topics.switch(Switch(self, k, equal, level > 0, int(work.batch.seq[unit]), place + unit))

    # -- what comes out

    def _emit(self, work: _Work, parts: Sequence[tuple[Array, Array]], place: int) -> Iterable[Batch]:
        """Send events (i8[m, 6], with i8[m, 2] of ids and previous levels) and yield their data with what is added.

        place: that of the first unit, see Topics.
        """
        found, ids = (np.concatenate(part) for part in zip(*parts))
        batch, units = work.batch, found[:, UNIT]
        data = batch if len(units) == len(batch) else batch.take(units)
        codes = np.ascontiguousarray(ids[:, 0], np.int32)
        texts = Text(codes, self.ids.vocabulary)
        point = data.rows if isinstance(data, Points) else batch.rows.take(found[:, POINT])
        level, previous = found[:, LEVEL].astype(np.int8), ids[:, 1].astype(np.int8)
        time, duration = found[:, TIME].copy(), found[:, DURATION].copy()
        events = Events(data, point, time, level, previous, duration, texts, self.recoverable, self.texts)
        failure = self._failing_text(events)
        if failure is not None:
            row = int(batch.seq[units[failure[0]]])
            self.topics.end(self, place + int(units[failure[0]]))
            self.telling = {id: [told for told in log if told[0] <= row] for id, log in self.telling.items()}
            good = np.arange(failure[0])
            events, codes, units, data = events.take(good), codes[good], units[good], data.take(good)
        if self._guarded:
            self.topics.defer(Deferred(self, events, codes, batch.seq[units], place + units))
        else:
            self.outputs.extend(self._outputs(events))
        if len(events):
            yield self._augmented(data, events)
        if failure is not None:
            raise TaskFailed(failure[1], row)

    def _failing_text(self, events: Events) -> tuple[int, str] | None:
        """The first event whose message or details cannot be rendered, and the error; that ends the task."""
        try:
            events.check()
            return None
        except TemplateError:
            pass
        for i in range(len(events)):
            try:
                events.take(np.arange(i, i + 1)).check()
            except TemplateError as error:
                return i, f"{self.name}: {error}"
        raise AssertionError("a template that fails for all events together fails for one")

    def sent(self, deferred: Deferred) -> list[Output]:
        """What goes out of events that waited, once it is known that they are not inhibited."""
        events = deferred.events
        self._collect(deferred.ids, events.level, events.time, events.previous, deferred.seq)
        return self._outputs(events)

    def _outputs(self, events: Events) -> list[Output]:
        logged = [Output("alert", path, self.name, self.place, events) for path in self.logs]
        if not len(events):
            return []
        handled = [Output("handler", k, self.name, self.place, (settings, events)) for k, settings in self.handlers]
        return [*logged, *handled]

    def _augmented(self, data: Points | Segments, events: Events) -> Batch:
        """The data with the tags and fields that the alert adds."""
        level = Text(events.level.astype(np.int32), self.level_words)
        tags = {tag: text for tag, text in ((self.level_tag, level), (self.id_tag, events.id)) if tag}
        fields: dict[str, Column] = {}
        if self.level_field:
            fields[self.level_field] = Column.of(Kind.STRING, level)
        if self.message_field:
            fields[self.message_field] = Column.of(Kind.STRING, Text.of(events.messages))
        if self.id_field:
            fields[self.id_field] = Column.of(Kind.STRING, events.id)
        if self.duration_field:
            fields[self.duration_field] = Column.of(Kind.INT, events.duration)
        if not tags and not fields:
            return data
        if isinstance(data, Points):
            rows = data.rows.with_(tags={**data.rows.tags, **tags}, fields={**data.rows.fields, **fields})
            if not tags:
                return data.with_rows(rows)
            group = self.retagging.encode(data.group, data.groups, rows, tags)
            return Points(rows, group, self.retagging.groups, data.seq)
        return self._augmented_batches(data, tags, fields)

    def _augmented_batches(self, data: Segments, tags: Mapping[str, Text], fields: Mapping[str, Column]) -> Segments:
        data = data.flat()
        owner = data.owner()
        rows = data.rows.with_(
            tags={**data.rows.tags, **{t: text.take(owner) for t, text in tags.items()}},
            fields={**data.rows.fields, **{f: column.take(owner) for f, column in fields.items()}},
        )
        if not tags:
            return data.with_rows(rows)
        group = self.headers.encode(data.group, data.groups, tags)
        return replace(data, rows=rows, group=group, groups=self.headers.groups)


@dataclass(slots=True)
class _Work:
    """One record batch on its way through an alert: its units are points, or batches.

    time: i8[n], when a unit comes; name: its measurement; tags: those of points (None for batches); begin, end: i8[n]
    the rows of batches (None for points); bits: u1[rows]; frames: of the predicates with state; step: the kernel.
    """

    batch: Points | Segments
    time: Array
    name: Text
    tags: Mapping[str, Text] | None
    begin: Array | None
    end: Array | None
    bits: Array
    frames: dict[int, Frame]
    step: Callable[[int, int, int, Array], tuple[int, int]]

    def rows(self, first: int, last: int) -> slice:
        """The rows of units first…last-1 (flat batches)."""
        if self.begin is None or self.end is None:
            return slice(first, last)
        return slice(int(self.begin[first]), int(self.end[last - 1])) if last > first else slice(0, 0)


def _predicate(expr: Expr, seed: str) -> Lambda:
    return Lambda(expr, per_group=False, wants=Kind.BOOL, seed=seed)


def _copy(predicate: Lambda | None) -> Lambda:
    """The lambda with a copy of its state."""
    assert predicate is not None
    copy = _predicate(predicate.expr, predicate.seed)
    copy.restore(predicate.snapshot())
    return copy


def _rule(rule: Sequence[Any]) -> tuple[str, ...]:
    """Category and tags of one `.inhibit()`, the tags given one by one or as a sequence."""
    category, *tags = rule
    return (category, *(t for part in tags for t in ([part] if isinstance(part, str) else part)))
