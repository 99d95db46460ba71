"""Rows parted among tasks: each gets the rows that it wants, in order, however they are gathered; memory is bounded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tickc
from tickc.runtime import dispatch, many
from tickc.runtime.batch import Column, Rows, Text, Vocabulary
from tickc.runtime.dispatch import Dispatch, Wish
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.recording import write_recording

NAMES, HOSTS = ("cpu", "mem", "disk", "net"), ("a", "b", "c", None)


def some_rows(n: int, seed: int) -> Rows:
    """Points of several measurements and hosts; `n` is the number of each, `only` a field of the disk alone."""
    chance = random.Random(seed)
    names = [chance.choice(NAMES) for _ in range(n)]
    disk = np.array([name == "disk" for name in names], np.bool_)
    number = np.arange(n, dtype=np.int64)
    return Rows(
        number,
        Text.of(names),
        *(Text.constant(text, n) for text in ("db", "rp")),
        {"host": Text.of(chance.choice(HOSTS) for _ in range(n)), "dc": Text.constant("x", n)},
        {
            "n": Column.of(Kind.INT, number),
            "v": Column.of(Kind.FLOAT, number / 2),
            "only": Column.masked(Kind.INT, number, disk),
        },
    )


WISHES = [
    Wish(frozenset({"cpu"}), ("host",), ("n",)),
    Wish(frozenset({"cpu"}), ("host",), ("n",), ("host", "a")),
    Wish(frozenset({"cpu"}), ("host",), ("n", "v"), ("host", "b")),
    Wish(frozenset({"disk", "mem"}), None, None),
    Wish(None, (), ("n",)),
    Wish(None, ("host",), ("n",), ("host", "nobody")),
    Wish(frozenset({"absent"}), None, None),
    Wish(frozenset({"net"}), None, None, ("n", "5")),
]


def wanted(wish: Wish, rows: Rows) -> list[int]:
    """The numbers of the rows that come to something in a task."""
    names, hosts = rows.name.tolist(), rows.tags["host"].tolist()
    return [
        i
        for i, (name, host) in enumerate(zip(names, hosts))
        if (wish.measurements is None or name in wish.measurements)
        and (wish.equal is None or (wish.equal[0] == "host" and host == wish.equal[1]) or wish.equal[0] == "n")
    ]


@pytest.mark.parametrize("seed", range(12))
def test_each_task_is_given_what_it_wants(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(dispatch, "ENOUGH", chance.choice([1, 10, 1000]))
    rows = some_rows(chance.choice([1, 60, 400]), seed)
    monkeypatch.setattr(dispatch, "LOT", chance.choice([1, 3000, 1 << 30]))
    parting = Dispatch(WISHES, chance.choice([1, 7, 1000]))
    given: dict[int, list[int]] = {i: [] for i in range(len(WISHES))}
    pieces = []
    at = 0
    while at < len(rows):
        size = chance.choice([1, 5, 50])
        pieces += parting.take(rows.take(slice(at, at + size)))
        at += size
    for tasks, piece in [*pieces, *parting.rest()]:
        assert 0 < len(piece) <= parting.batch_rows
        for task in tasks:
            wish = WISHES[task]
            given[task] += piece.fields["n"].data[Kind.INT].tolist()
            assert set(piece.tags) <= set(wish.tags if wish.tags is not None else ("host", "dc"))
            assert set(piece.fields) <= set(wish.fields if wish.fields is not None else ("n", "v", "only"))
    assert given == {i: wanted(wish, rows) for i, wish in enumerate(WISHES)}


def test_columns_that_a_measurement_lacks_are_left_out() -> None:
    rows = some_rows(100, 1)
    [(_, piece)] = _whole([Wish(frozenset({"cpu"}))], rows)
    assert set(piece.fields) == {"n", "v"}
    [(_, piece)] = _whole([Wish(frozenset({"disk"}))], rows)
    assert piece.fields["only"].kinds is Kind.INT and set(piece.tags) == {"host", "dc"}


def _whole(wishes: list[Wish], rows: Rows) -> list[Any]:
    parting = Dispatch(wishes)
    return [*parting.take(rows), *parting.rest()]


def test_few_rows_bring_few_words() -> None:
    n = 10_000
    words = Vocabulary(f"host{i}" for i in range(n))
    name = Text(np.arange(n, dtype=np.int32) % 1000, Vocabulary(f"m{i}" for i in range(1000)))
    rows = Rows(
        np.arange(n), name, *(Text.constant("", n),) * 2, {"host": Text(np.arange(n, dtype=np.int32), words)}, {}
    )
    [(_, piece)] = _whole([Wish(frozenset({"m7"}))], rows)
    assert piece.tags["host"].tolist() == [f"host{i}" for i in range(7, n, 1000)]
    assert len(piece.tags["host"].vocabulary) == len(piece) == 10


def test_what_waits_to_be_written_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, held, bounding = 20_000, [], many._Set._bound

    def bound(self: Any) -> None:
        before = sum(folder.held for folder in self.working)
        bounding(self)
        held.append((before, sum(folder.held for folder in self.working)))

    monkeypatch.setattr(many, "HELD", limit)
    monkeypatch.setattr(dispatch, "LOT", 10_000)
    monkeypatch.setattr(many._Set, "_bound", bound)
    write_recording(tmp_path / "in.srpl", [some_rows(3000, 1)])
    tasks = [
        tickc.compile(f"stream|from().measurement('{name}')|httpOut('all')", name=f"{name}{i}")
        for name in NAMES
        for i in range(5)
    ]
    tickc.backfill_all(tasks, tmp_path / "in.srpl", tmp_path / "out", batch_rows=100)
    assert max(before for before, _ in held) > limit >= max(after for _, after in held)
    for task in tasks[::5]:
        task.backfill(tmp_path / "in.srpl", tmp_path / "alone" / task.name)
        part = "all/part-00000.parquet"
        for i in range(5):
            again = tmp_path / "out" / f"{task.name[:-1]}{i}" / part
            assert again.read_bytes() == (tmp_path / "alone" / task.name / part).read_bytes()


@pytest.mark.parametrize("names", [("n",), ("n", "x", "y"), ("n", "x", "y", "z")])
def test_columns_that_a_task_does_not_want_are_not_there(names: tuple[str, ...]) -> None:
    """However many it wants that are not there."""
    (_, piece), *_ = [*(parted := Dispatch([Wish(None, ("host", "x"), names)])).take(some_rows(9, 0)), *parted.rest()]
    assert (set(piece.tags), set(piece.fields)) == ({"host"}, {"n"})
