"""flatten next to a plain Python twin, on streams cut anywhere and on batches."""

from __future__ import annotations

import random
from typing import Any

import pytest
from streams import SECOND, cut, fed, moved, points, segments
from test_combine import rounded
from test_kernels_agree import both_ways

from tickc.runtime.kernel import Kernel
from tickc.runtime.nodes import combine
from tickc.runtime.nodes.combine import Flatten


class Twin:
    """Kapacitor's flatten.go, point by point."""

    def __init__(self, on: list[str], delimiter: str, tolerance: float, drop: bool) -> None:
        self.on, self.delimiter, self.tolerance, self.drop = on, delimiter, tolerance, drop
        self.left = ""
        self.errors = 0
        self.groups: dict[str, list[Any]] = {}  # time and points

    def flatten(self, run: list[Any]) -> dict[str, Any]:
        fields = {}
        for _, tags, own in run:
            for i, tag in enumerate(self.on):
                if tag not in tags:
                    self.errors += 1
                    break
                self.left += (self.delimiter if i else "") + tags[tag]
            else:
                for name in sorted(own):
                    more = "" if self.drop else (self.delimiter if self.left else "") + name
                    fields[self.left + more] = own[name]
                self.left = ""
        return fields

    def stream(self, given: list[Any]) -> list[Any]:
        out = []
        for p in given:
            host, t = p[1].get("host", ""), rounded(p[0], self.tolerance)
            state = self.groups.setdefault(host, [t, []])
            if t != state[0]:
                fields, old = self.flatten(state[1]), state[0]
                state[:] = [t, []]
                if fields:
                    state[0] = max(t, old)
                    out.append((old, {"host": host}, fields, f"host={host}"))
            state[1].append(p)
        return out

    def batch(self, given: list[Any]) -> list[Any]:
        time, run, out = None, [], []
        for p in given:
            t = rounded(p[0], self.tolerance)
            if t != time:
                if run and (fields := self.flatten(run)):
                    out.append((time, fields))
                time, run = t, []
            run.append(p)
        return [*out, (time, self.flatten(run))] if run else out


CASES = [
    (["port"], ".", 0, False),
    (["port", "kind"], "_", 1, False),
    (["kind", "port"], ":", 0, True),
    ([], ".", 1, False),
    (["port", "kind"], "", 0, False),
    (["host", "port", "kind"], ".", 0, False),
]


def some_points(chance: random.Random, n: int, lacking: float) -> list[Any]:
    given = []
    for i in range(n):
        tags = {"host": chance.choice("ab")}
        tags |= {k: chance.choice(["x", "y", "", "x_y"]) for k in ("port", "kind") if chance.random() >= lacking}
        fields = {k: chance.choice([1, 2.5, "s", True]) for k in ("v", "y_v") if chance.random() < 0.7}
        given.append((i // 5 + chance.choice([0, 0, 0, 0, 0.4, -1]) + 20, tags, fields))
    return given


def make(case: Any) -> Flatten:
    on, delimiter, tolerance, drop = case
    return Flatten(name="f", on=on, delimiter=delimiter, tolerance=tolerance * SECOND, drop_name=drop)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lacking", [0, 0.3])
def test_twin(case: Any, lacking: float) -> None:
    chance = random.Random(f"{case} {lacking}")
    for _ in range(8):
        given = some_points(chance, 60, lacking)
        twin = Twin(*case)
        wanted = twin.stream(given)
        for edges in ([], list(range(60)), sorted(chance.sample(range(60), 4))):
            node = make(case)
            assert fed(node, cut(points(given), edges)) == wanted
            assert sum(node.errors.values()) == twin.errors


@pytest.mark.parametrize("case", CASES)
def test_batches(case: Any) -> None:
    chance = random.Random(5)
    given = [some_points(chance, chance.choice([0, 1, 7, 30]), 0.2) for _ in range(12)]
    given = [[(t, {k: v for k, v in tags.items() if k != "host"}, f) for t, tags, f in batch] for batch in given]
    twin = Twin(*case)
    wanted = []
    for i, batch in enumerate(given):
        points_of = twin.batch([(t, {"host": "ab"[i % 2], **tags}, f) for t, tags, f in batch])
        wanted.append([(t, {"host": "ab"[i % 2]}, f) for t, f in points_of])
    whole = segments([(99, {"host": "ab"[i % 2]}, batch) for i, batch in enumerate(given)])
    for edges in ([], list(range(12)), [3, 8]):
        assert [entry[3] for entry in fed(make(case), cut(whole, edges))] == wanted


def test_snapshot_in_mid_run() -> None:
    given = some_points(random.Random(3), 60, 0.3)
    first, second = cut(points(given), [33])
    old, new = make(CASES[1]), make(CASES[1])
    assert fed(old, [first]) + fed(moved(old, new), [second]) == Twin(*CASES[1]).stream(given)


def test_many_columns_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combine, "CELLS", 20)
    given = some_points(random.Random(4), 60, 0.1)
    node = make(CASES[1])
    assert len(list(node.process(points(given)))) > 3
    assert fed(make(CASES[1]), [points(given)]) == Twin(*CASES[1]).stream(given)


def test_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "__call__", both_ways)
    given = some_points(random.Random(6), 80, 0.1)
    assert fed(make(CASES[1]), cut(points(given), [31])) == Twin(*CASES[1]).stream(given)
