"""join and union against twins that take one message after another, as Kapacitor does.

Random messages of several parents, with times that go back and repeat, fields of mixed kinds, groups by tag and by
measurement: the operator must give the twin's output in the twin's order, however the input is cut, and with a snapshot
between the cuts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickc.runtime import graph, kernel
from tickc.runtime.batch import BARRIER, DELETE, Batch, Column, Groups, Marks, Points, Rows, Segments, Text
from tickc.runtime.graph import AT_THE_END
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes import join, waiting
from tickc.runtime.nodes.join import Join, Union
from tickc.runtime.snapshot import decode, encode

YEAR_ONE = 62135596800 * 10**9
NOT_YET = -math.inf
NAMES = "abc"


@dataclass
class Message:
    """A point, or a batch: then `points` are its (time, fields)."""

    seq: int
    parent: int
    time: int
    name: str
    by_name: bool
    tags: dict[str, str]  # of the group, in the order of the dimensions
    fields: dict[str, Any] = field(default_factory=dict)
    points: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    mark: int | None = None  # a barrier, or the deletion of the group

    @property
    def group(self) -> str:
        return group_id(self.name, self.by_name, self.tags)


def group_id(name: str, by_name: bool, tags: dict[str, str]) -> str:
    values = ",".join(f"{k}={v}" for k, v in tags.items())
    return "\n".join(part for part in (name, values) if part) if by_name else values


def go_round(time: int, unit: int) -> int:
    if not unit:
        return time
    past = (time + YEAR_ONE) % unit
    return time - past if 2 * past < unit else time + unit - past


@dataclass
class Set:
    """Messages of one time, one of each parent. at: when the first of them came."""

    time: int
    at: int
    members: dict[int, Message] = field(default_factory=dict)


class JoinTwin:
    """join.go, message by message; `out` collects what comes out."""

    def __init__(
        self, parents: int, on: Sequence[str], tolerance: int, fill: Any, delete_all: bool, name: str, batches: bool
    ) -> None:
        self.parents, self.on, self.tolerance, self.fill = parents, tuple(on), tolerance, fill
        self.delete_all, self.name, self.batches = delete_all, name, batches
        self.sets: dict[str, dict[int, list[Set]]] = {}
        self.heads: dict[str, list[float]] = {}
        self.low: dict[tuple[int, str], int] = {}
        self.buffers: dict[str, tuple[list[Message], list[Message]]] = {}
        self.reported: set[int] = set()
        self.count = 0
        self.out: list[Any] = []

    def take(self, m: Message) -> None:
        self.seq = m.seq
        if m.mark is not None:
            self.barrier(m) if m.mark == BARRIER else self.delete(m)
            self.out.append(("mark", m.mark, m.time, m.group, m.seq))
        elif self.on:
            self.match(m)
        else:
            self.collect(m)

    def barrier(self, m: Message) -> None:
        self.heads.setdefault(m.group, [NOT_YET] * self.parents)[m.parent] = go_round(m.time, self.tolerance)
        self.release(m.group)

    def delete(self, m: Message) -> None:
        for table in (self.sets, self.heads, self.buffers):
            table.pop(m.group, None)  # type: ignore[attr-defined]
        if self.delete_all:
            self.low.clear()
        self.low.pop((m.parent, m.group), None)

    def match(self, m: Message) -> None:
        self.reported.add(m.parent)
        everyone = len(self.reported) == self.parents
        t = go_round(m.time, self.tolerance)
        key = group_id(m.name, m.by_name, {d: m.tags.get(d, "") for d in self.on})
        self.low[m.parent, key] = t
        mark: float = NOT_YET
        if everyone:
            for p in range(self.parents):
                low = self.low.get((p, key), NOT_YET)
                if mark == NOT_YET or low < mark:
                    mark = low
        general, special = self.buffers.setdefault(key, ([], []))
        if everyone:
            while special and go_round(special[0].time, self.tolerance) < mark:
                self.collect(special.pop(0))
        if len(m.tags) > len(self.on):
            matched = False
            old = 0
            for g in general:
                if go_round(g.time, self.tolerance) == t:
                    self.collect_both(m, g)
                    matched = True
                if go_round(g.time, self.tolerance) >= mark:
                    break
                old += 1
            if everyone:
                del general[:old]
            if not matched and everyone and t < mark:
                self.collect(m)
            elif not matched:
                special.append(m)
        else:
            general.append(m)
            while special and go_round(special[0].time, self.tolerance) == t:
                self.collect_both(special.pop(0), m)

    def collect_both(self, m: Message, general: Message) -> None:
        self.collect(m)
        moved = Message(general.seq, general.parent, general.time, general.name, m.by_name, m.tags, general.fields,
                        general.points)  # fmt: skip
        self.collect(moved, m.group)

    def collect(self, m: Message, group: str | None = None) -> None:
        group = m.group if group is None else group
        sets = self.sets.setdefault(group, {})
        heads = self.heads.setdefault(group, [NOT_YET] * self.parents)
        t = go_round(m.time, self.tolerance)
        queue = sets.setdefault(t, [])
        chosen = next((s for s in queue if m.parent not in s.members), None)
        if chosen is None:
            chosen = Set(t, self.count)
            queue.append(chosen)
        chosen.members[m.parent] = m
        self.count += 1
        heads[m.parent] = t
        self.release(group)

    def release(self, group: str) -> None:
        sets, heads = self.sets.get(group, {}), self.heads[group]
        while sets:
            oldest = min(sets)
            ready_only = not all(h > oldest for h in heads)
            while sets[oldest] and (len(sets[oldest][0].members) == self.parents or not ready_only):
                self.give(sets[oldest].pop(0), self.seq)
            if not sets[oldest]:
                del sets[oldest]
            if ready_only:
                break

    def finish(self) -> None:
        left = [s for sets in self.sets.values() for queue in sets.values() for s in queue]
        for s in sorted(left, key=lambda s: (s.time, s.at)):
            self.give(s, AT_THE_END)

    def filler(self, prefix: str, names: Sequence[str]) -> dict[str, Any]:
        return {f"{prefix}.{n}": tagged(None if self.fill == "null" else self.fill) for n in names}

    def give(self, s: Set, seq: int) -> None:
        first = s.members[min(s.members)]
        name = self.name or first.name
        gid = group_id(name, first.by_name, first.tags)
        head = (s.time, gid, name, first.tags, seq)
        if self.batches:
            self.out.append((*head, list(self.rows(s))))
            return
        fields: dict[str, Any] = {}
        for p in range(self.parents):
            if p in s.members:
                fields |= {f"{NAMES[p]}.{n}": tagged(v) for n, v in s.members[p].fields.items()}
            elif self.fill is None:
                return
            else:
                fields |= self.filler(NAMES[p], list(first.fields))
        self.out.append((*head, fields))

    def rows(self, s: Set) -> Iterator[Any]:
        at = [0] * self.parents
        rest = [s.members[p].points if p in s.members else [] for p in range(self.parents)]
        names: list[str] = []
        while True:
            chosen: dict[int, dict[str, Any]] = {}
            moment: int | None = None
            for p in range(self.parents):
                if at[p] == len(rest[p]):
                    continue
                time, fields = rest[p][at[p]]
                t = go_round(time, self.tolerance)
                if moment is None:
                    moment = t
                if t < moment:
                    for q in chosen:
                        at[q] -= 1
                    moment, chosen = t, {p: fields}
                    at[p] += 1
                elif t == moment:
                    names = names or list(fields)
                    chosen[p] = fields
                    at[p] += 1
            if not chosen:
                return
            if len(chosen) < self.parents and self.fill is None:
                continue
            joined: dict[str, Any] = {}
            for p in range(self.parents):
                if p in chosen:
                    joined |= {f"{NAMES[p]}.{n}": tagged(v) for n, v in chosen[p].items()}
                else:
                    joined |= self.filler(NAMES[p], names)
            yield moment, joined


class UnionTwin:
    """union.go, message by message."""

    def __init__(self, parents: int, rename: str, batches: bool) -> None:
        self.rename, self.batches = rename, batches
        self.queues: list[list[Message]] = [[] for _ in range(parents)]
        self.marks: list[int | None] = [None] * parents
        self.out: list[Any] = []

    def take(self, m: Message) -> None:
        if m.mark == DELETE:
            self.give(m, m.seq)
            return
        self.queues[m.parent].append(m)
        self.ready(False, m.seq)

    def finish(self) -> None:
        self.ready(True, AT_THE_END)

    def ready(self, drain: bool, seq: int) -> None:
        emitted = True
        while emitted:
            emitted = False
            self.marks = [q[0].time if q else m for q, m in zip(self.queues, self.marks)]
            if None in self.marks and not drain:
                return
            known = [m for q, m in zip(self.queues, self.marks) if m is not None and (q or not drain)]
            if not known:
                return
            for queue in self.queues:
                while queue and queue[0].time <= min(known):
                    self.give(queue.pop(0), seq)
                    emitted = True

    def give(self, m: Message, seq: int) -> None:
        if m.mark is not None:
            self.out.append(("mark", m.mark, m.time, m.group, seq))
            return
        name = self.rename or m.name
        head = (m.time, group_id(name, m.by_name, m.tags), name, m.tags, seq)
        own = {k: tagged(v) for k, v in m.fields.items()}
        rows = [(t, {k: tagged(v) for k, v in f.items()}) for t, f in m.points]
        self.out.append((*head, rows if self.batches else own))


def tagged(value: Any) -> tuple[str, Any]:
    """A value with its kind."""
    if value is None:
        return "NIL", None
    return {bool: "BOOL", int: "INT", float: "FLOAT", str: "STRING"}[type(value)], value


# ------------------------------------------------------------------------------------------ the operators' side


class Feed:
    """The messages of each parent as batches on edges with group tables of their own."""

    def __init__(self, messages: list[Message], parents: int, batches: bool) -> None:
        self.messages, self.parents, self.batches = messages, parents, batches
        self.groups = [Groups() for _ in range(parents)]

    def between(self, low: int, high: int) -> Iterator[Message | list[list[Batch]]]:
        """What the input rows low…high-1 bring: marks, and between them for each parent the batches."""
        data: list[Message] = []
        for m in (m for m in self.messages if low <= m.seq < high):
            if m.mark is None:
                data.append(m)
                continue
            yield self.round(data)
            yield m
            data = []
        yield self.round(data)

    def round(self, messages: list[Message]) -> list[list[Batch]]:
        rounds: list[list[Batch]] = []
        for p in range(self.parents):
            mine = [m for m in messages if m.parent == p]
            halves = [mine[: len(mine) // 2], mine[len(mine) // 2 :]]  # a parent may give several batches in a round
            rounds.append([self.batch(p, half) for half in halves if half])
        return rounds

    def marks(self, m: Message) -> Marks:
        groups = self.groups[m.parent]
        code = groups.code(m.name, m.by_name, m.tags)
        kind = np.array([m.mark], np.uint8)
        return Marks(np.array([m.time]), np.array([code], np.int32), groups, kind, np.array([m.seq]))

    def batch(self, parent: int, messages: list[Message]) -> Batch:
        groups = self.groups[parent]
        group = np.array([groups.code(m.name, m.by_name, m.tags) for m in messages], np.int32)
        seq = np.array([m.seq for m in messages], np.int64)
        name = Text.of(m.name for m in messages)
        if not self.batches:
            return Points(table([(m.time, m.fields) for m in messages], name), group, groups, seq)
        flat = [p for m in messages for p in m.points]
        sizes = np.array([len(m.points) for m in messages], np.int64)
        stop = np.cumsum(sizes)
        rows = table(flat[::-1], Text.of(["m"] * len(flat)))
        index = np.arange(len(flat))[::-1].copy()
        tmax = np.array([m.time for m in messages], np.int64)
        return Segments(rows, stop - sizes, stop, tmax, group, groups, name, seq, index)


def table(points: list[tuple[int, dict[str, Any]]], name: Text) -> Rows:
    names = sorted({f for _, fields in points for f in fields})
    fields = {f: Column.of_values([fields.get(f) for _, fields in points]) for f in names}
    n = len(points)
    tags = {"extra": Text.of(["x"] * n)}
    return Rows(np.array([t for t, _ in points], np.int64), name, Text.constant("db", n), Text.constant("rp", n), tags,
                fields)  # fmt: skip


def values(rows: Rows, i: int) -> dict[str, Any]:
    found = {}
    for name, column in rows.fields.items():
        kind = Kind(int(column.kinds_array()[i]))
        if kind is not Kind.MISSING:
            found[name] = (kind.name, column.at(i))
    return found


def read(batch: Batch | Marks, *, joined: bool) -> Iterator[Any]:
    if isinstance(batch, Marks):
        for time, g, kind, seq in zip(batch.time, batch.group, batch.kind, batch.seq):
            yield "mark", int(kind), int(time), batch.groups[g].id, int(seq)
        return
    if isinstance(batch, Points):
        for i, g in enumerate(batch.group.tolist()):
            group, rows = batch.groups[g], batch.rows
            if joined:
                tags = {k: text.at(i) for k, text in rows.tags.items() if text.at(i) is not None}
                assert tags == group.tags and rows.database.at(i) == ""
            name = rows.name.at(i)
            assert group.id == group_id(name or "", group.by_name, dict(group.tags))
            yield int(rows.time[i]), group.id, name, dict(group.tags), int(batch.seq[i]), values(rows, i)
        return
    batch = batch.flat()
    for j, g in enumerate(batch.group.tolist()):
        group = batch.groups[g]
        points = [(int(batch.rows.time[i]), values(batch.rows, i)) for i in range(batch.start[j], batch.stop[j])]
        yield int(batch.tmax[j]), group.id, batch.name.at(j), dict(group.tags), int(batch.seq[j]), points


def run(make: Any, feed: Feed, cuts: list[int], restore_at: int, joined: bool) -> list[Any]:
    operator, out = make(), []
    for i, (low, high) in enumerate(pairwise(cuts)):
        if i == restore_at:
            fresh = make()
            fresh.restore(decode(encode(operator.snapshot())))
            operator = fresh
        for part in feed.between(low, high):
            given = (
                operator.marks_of(part.parent, feed.marks(part)) if isinstance(part, Message) else operator.round(part)
            )
            for batch in given:
                out += read(batch, joined=joined)
    for batch in operator.finish():
        out += read(batch, joined=joined)
    return out


VALUES = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -2.0]), st.booleans(), st.sampled_from(["x", "y"]))
FIELDS = st.dictionaries(st.sampled_from(["v", "w", "u"]), VALUES, max_size=3)
TIMES = st.integers(0, 12)


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    parents = draw(st.integers(1, 3))
    batches = draw(st.booleans())
    grouping = draw(st.sampled_from(["none", "host", "name", "both", "on"]))
    forward, marked = draw(st.booleans()), draw(st.booleans())
    messages, seq, clock = [], 0, 0
    deep = draw(st.lists(st.booleans(), min_size=3, max_size=3))
    for _ in range(draw(st.integers(0, 40))):
        parent = draw(st.integers(0, parents - 1))
        seq += draw(st.integers(0, 2))
        clock += draw(st.integers(0, 2))
        time = clock if forward else draw(TIMES)
        tags = {"host": draw(st.sampled_from("pq"))} if grouping in ("host", "both", "on") else {}
        if grouping == "on" and deep[parent]:
            tags["r"] = draw(st.sampled_from("st"))
        mark = draw(st.sampled_from([None] * 12 + [BARRIER, DELETE])) if marked else None
        m = Message(seq, parent, time, draw(st.sampled_from(["cpu", "mem"])), grouping in ("name", "both"), tags)
        m.mark = mark
        if mark is not None:
            pass
        elif batches:
            m.points = draw(st.lists(st.tuples(TIMES, FIELDS), max_size=4))
            if draw(st.booleans()):
                m.points.sort(key=lambda p: p[0])
        else:
            m.fields = draw(FIELDS)
        messages.append(m)
    if draw(st.booleans()):  # parents that mostly answer to the same rows
        twins = [replace(m, parent=p) for m in messages for p in range(parents) if draw(st.integers(0, 9))]
        messages = [replace(m, seq=i) for i, m in enumerate(twins)] if draw(st.booleans()) else twins
    messages.sort(key=lambda m: (m.seq, m.parent))
    seq = max((m.seq for m in messages), default=0)
    inner = draw(st.lists(st.integers(0, seq + 1), max_size=4))
    cuts = sorted({0, seq + 1, *(range(seq + 1) if draw(st.booleans()) else inner)})
    return {
        "messages": messages,
        "parents": parents,
        "batches": batches,
        "on": ("host",) if grouping == "on" else (),
        "cuts": cuts,
        "restore": draw(st.integers(0, 5)),
        "tolerance": draw(st.sampled_from([0, 0, 2, 3])),
        "fill": draw(st.sampled_from([None, "null", 7, 0.25])),
        "delete_all": draw(st.booleans()),
        "name": draw(st.sampled_from(["", "joined"])),
    }


@pytest.fixture(params=["interpreted", "compiled", "small"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How kernels run; small: pages of a few rows, which go to files."""
    if request.param == "compiled":
        monkeypatch.setattr(kernel, "COMPILE_AFTER", 0)
    else:
        monkeypatch.setenv("TICKC_INTERPRET", "1")
    if request.param == "small":
        for module, name, value in (
            (waiting, "PAGE", 4),
            (join, "PAGE", 4),
            (join, "SLACK", 4),
            (graph, "BUDGET", 0),
            (waiting, "LEAST", 0),
        ):
            monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("form")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=streams())
def test_join(case: dict[str, Any]) -> None:
    parents = case["parents"]
    options = {k: case[k] for k in ("on", "tolerance", "fill", "delete_all")}
    twin = JoinTwin(parents, **options, name=case["name"], batches=case["batches"])
    for message in case["messages"]:
        twin.take(message)
    twin.finish()
    feed = Feed(case["messages"], parents, case["batches"])

    def make() -> Join:
        return Join(name="join", names=NAMES[:parents], stream_name=case["name"], **options)

    assert run(make, feed, case["cuts"], case["restore"], joined=True) == twin.out


@pytest.mark.usefixtures("form")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=streams())
def test_union(case: dict[str, Any]) -> None:
    parents = case["parents"]
    twin = UnionTwin(parents, case["name"], case["batches"])
    for message in case["messages"]:
        twin.take(message)
    twin.finish()
    feed = Feed(case["messages"], parents, case["batches"])

    def make() -> Union:
        return Union(name="union", parents=parents, rename=case["name"])

    assert run(make, feed, case["cuts"], case["restore"], joined=False) == twin.out
