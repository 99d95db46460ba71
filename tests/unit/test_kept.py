"""Rows that are kept by group, next to plain lists of them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tickc.runtime import rooms
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.graph import Operator
from tickc.runtime.nodes import kept as module
from tickc.runtime.nodes.kept import Kept, list_rows
from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.snapshot import freeze, thaw

Point = tuple[int, str | None, Any, Any]  # time, tag, a field of any kind, a field that some batches lack


def batch(points: list[Point], with_other: bool, constant: bool) -> Rows:
    n = len(points)
    name = Text.constant("m", n) if constant else Text.of(["m"] * n)
    fields = {"v": Column.of_values([p[2] for p in points])}
    if with_other:
        fields["other"] = Column.of_values([p[3] for p in points])
    time = np.array([p[0] for p in points], np.int64)
    return Rows(
        time, name, Text.constant("db", n), Text.constant("rp", n), {"t": Text.of(p[1] for p in points)}, fields
    )


def points(rows: Rows, places: Any) -> list[Point]:
    rows = rows.take(np.asarray(places, np.int64))
    assert rows.name.tolist() == ["m"] * len(rows)
    assert rows.policy.tolist() == ["rp"] * len(rows)
    values, others = rows.field("v"), rows.field("other")
    return [(int(rows.time[i]), rows.tags["t"].at(i), values.at(i), others.at(i)) for i in range(len(rows))]


def value(chance: random.Random, mixed: bool) -> Any:
    return chance.choice([1, 2.5, True, "a", "b", None]) if mixed else chance.random()


def new(budget: int = 1 << 30) -> Kept:
    owner = Operator(name="window")
    owner.budget = budget
    return Kept(owner)


@pytest.mark.parametrize("budget", [1 << 30, 0])
@pytest.mark.parametrize("seed", range(4))
def test_as_lists_would(monkeypatch: pytest.MonkeyPatch, seed: int, budget: int) -> None:
    if not budget:  # all in files, moved and given out a few rows at a time
        monkeypatch.setattr(rooms, "LEAST", 1)
        monkeypatch.setattr(module, "PIECE", 7)
        monkeypatch.setattr(module, "LEAST_GIVEN", 20)
        monkeypatch.setattr(module, "SLACK", 10)
    chance = random.Random(seed)
    kept, lists = new(budget), [list[Point]() for _ in range(40)]
    time = 0
    for round_ in range(60):
        groups = min(40, 5 + round_)
        n = chance.choice([1, 3, 50, 400])
        entering = [
            (time + i, chance.choice(["x", "y", f"z{round_}", None]), value(chance, seed % 2 == 1), i) for i in range(n)
        ]
        time += n
        group = np.array([min(int(chance.expovariate(0.2)), groups - 1) for _ in range(n)], np.int32)
        with_other = round_ > 20
        first = kept.append(batch(entering, with_other, seed % 3 > 0), group, groups)
        assert kept.time[first : first + n].tolist() == [p[0] for p in entering]
        for g, point in zip(group.tolist(), entering):
            lists[g].append(point if with_other else (*point[:3], None))
        list_rows(group, first, kept.index, kept.tails)
        for g in chance.sample(range(groups), 3):
            gone = chance.randint(0, len(lists[g]))
            kept.heads[g] += gone
            del lists[g][:gone]
        check_slices(kept, lists, chance)
        kept.settle()
        if round_ % 20 == 10:
            kept.forget(np.array([0, 3]))
            lists[0].clear()
            lists[3].clear()
        if round_ % 15 == 14:
            kept = thaw(freeze(kept), new(budget))
        assert len(kept) == sum(map(len, lists))
        for g in range(groups):
            assert points(kept.buffer.rows(), kept.index[kept.heads[g] : kept.tails[g]]) == lists[g]


def check_slices(kept: Kept, lists: list[list[Point]], chance: random.Random) -> None:
    """Two slices of some groups, the second of which neither begins nor ends before the first."""
    filled = [g for g, own in enumerate(lists[: len(kept.heads)]) if own]
    chosen = chance.sample(filled, min(2, len(filled)))
    cuts = [(g, sorted(chance.randint(0, len(lists[g])) for _ in range(4))) for g in chosen]
    wanted = [(g, c[i], c[i + 2]) for i in (0, 1) for g, c in cuts]
    group = np.array([g for g, _, _ in wanted], np.int32)
    start = np.array([kept.heads[g] + a for g, a, _ in wanted], np.int64)
    stop = np.array([kept.heads[g] + b for g, _, b in wanted], np.int64)
    for which, rows, chosen, first, last in kept.slices(group, start, stop):
        index = chosen()
        for (g, a, b), begin, end in zip(wanted[which], first.tolist(), last.tolist()):
            places = np.arange(begin, end) if index is None else index[begin:end]
            assert points(rows, places) == lists[g][a:b]


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rooms.os, "posix_fallocate", full)
    monkeypatch.setattr(rooms, "LEAST", 1)
    with pytest.raises(OutputError, match="no room for the rows that windows keep: No space left on device"):
        new(0).append(batch([(0, "x", 1.0, None)], False, True), np.zeros(1, np.int32), 1)


def test_what_is_gone_does_not_pile_up() -> None:
    kept = new()
    group = np.arange(1000, dtype=np.int32) % 10
    for round_ in range(60):
        rows = batch([(i, f"t{round_}", f"s{round_}.{i}", None) for i in range(1000)], False, True)
        list_rows(group, kept.append(rows, group, 10), kept.index, kept.tails)
        kept.heads[:] = kept.tails - (150 if round_ else 100)
        kept.settle()
    assert len(kept) == 1500
    assert len(kept.buffer) < 5000
    assert len(kept.index) < 20_000
    assert len(kept.buffer.rows().fields["v"].data[kept.buffer.rows().fields["v"].kinds].vocabulary) < 10_000
