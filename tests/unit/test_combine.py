"""combine and trickle next to a plain Python twin, on streams cut anywhere and on batches."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from streams import SECOND, cut, fed, moved, plain, points, segments
from test_kernels_agree import both_ways

from tickc.runtime.expr import call, lit, ref
from tickc.runtime.graph import TaskFailed
from tickc.runtime.kernel import Kernel
from tickc.runtime.nodes import combine
from tickc.runtime.nodes.combine import Combine
from tickc.runtime.nodes.rows import Trickle

NAMES = ("l", "r", "x")
CONDITIONS = {
    "all": lambda p: True,
    "a": lambda p: p[1].get("port") == "a",
    "big": lambda p: p[2].get("v", 0) > 2,
}
EXPRS = {"all": lit(True), "a": ref("port") == "a", "big": ref("v") > 2}


def rounded(seconds: float, tolerance: float) -> float:
    """The time of a point, in the tests' seconds after a whole ten of seconds, rounded half up."""
    return seconds if not tolerance else (seconds + tolerance / 2) // tolerance * tolerance


def run_of(run: list[Any], kinds: list[str], time: float, delimiter: str = ".") -> list[Any]:
    """What the points of one run give."""
    out = []
    for subset in combinations(run, len(kinds)):
        left, chosen = list(subset), []
        for kind in kinds:
            found = next((p for p in left if CONDITIONS[kind](p)), None)
            if found is None:
                break
            left.remove(found)
            chosen.append(found)
        else:
            fields = {n + delimiter + k: v for n, p in zip(NAMES, chosen) for k, v in p[2].items()}
            tags: dict[str, str] = {}
            for n, p in zip(NAMES, chosen):
                tags |= {(k if k == "host" else n + delimiter + k): v for k, v in p[1].items()}
            out.append((time, tags, fields))
    return out


def twin(given: list[Any], kinds: list[str], tolerance: float = 0) -> list[Any]:
    """Kapacitor's combine.go, point by point."""
    open_runs: dict[str, tuple[float, list[Any]]] = {}
    out = []
    for p in given:
        host, t = p[1].get("host", ""), rounded(p[0], tolerance)
        time, run = open_runs.get(host, (t, []))
        if t == time:
            open_runs[host] = (t, [*run, p])
        else:
            out += [(*made, f"host={host}") for made in run_of(run, kinds, time)]
            open_runs[host] = (t, [p])
    return out


def some_points(chance: random.Random, n: int) -> list[Any]:
    given = []
    for i in range(n):
        tags = {k: v for k, v in (("host", chance.choice("ab")), ("port", chance.choice(["a", "b", "c", None]))) if v}
        fields = {k: chance.choice([1, 2.5, 3, 4]) for k in ("v", "w") if chance.random() < 0.8}
        given.append((i // 6 + chance.choice([0, 0, 0, 0.4, -1]) + 20, tags, fields))
    return given


@pytest.mark.parametrize("kinds", [["all", "all"], ["a", "all"], ["big", "a", "all"], ["all"]])
@pytest.mark.parametrize("tolerance", [0, 1])
def test_twin(kinds: list[str], tolerance: int) -> None:
    chance = random.Random(f"{kinds} {tolerance}")
    for _ in range(5):
        given = some_points(chance, 60)
        exprs = [EXPRS[k] for k in kinds]
        names = NAMES[: len(kinds)]
        wanted = twin(given, kinds, tolerance)
        for edges in ([], list(range(60)), sorted(chance.sample(range(60), 4))):
            node = Combine(name="c", exprs=exprs, names=names, tolerance=tolerance * SECOND)
            assert fed(node, cut(points(given), edges)) == wanted


def test_snapshot_in_mid_run_and_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combine, "AT_ONCE", 3)
    given = some_points(random.Random(3), 40)
    first, second = cut(points(given), [23])
    old, new = (Combine(name="c", exprs=[lit(True)] * 2, names=("l", "r")) for _ in range(2))
    assert fed(old, [first]) + fed(moved(old, new), [second]) == twin(given, ["all", "all"])


def test_functions_with_state_go_on_from_run_to_run() -> None:
    given = [(i // 2, {"host": "a"}, {"v": i}) for i in range(7)]
    node = Combine(name="c", exprs=[call("count") % 4 == 1, lit(True)], names=("l", "r"))
    found = fed(node, cut(points(given), [1, 4]))
    assert [f["l.v"] for _, _, f, _ in found] == [0, 4]


def test_a_batch_ends_its_last_run() -> None:
    given = [(0, {"port": "a"}, {"v": 1}), (0, {"port": "b"}, {"v": 2}), (1, {}, {"v": 3}), (1, {}, {"v": 4})]
    batches = segments([(5, {"host": "a"}, given), (6, {"host": "b"}, []), (7, {"host": "a"}, given[:2])])
    node = Combine(name="c", exprs=[lit(True)] * 2, names=("l", "r"))
    found = fed(node, [batches])
    assert [(t, f["l.v"], f["r.v"]) for t, _, f, _ in found] == [(0, 1, 2), (1, 3, 4), (0, 1, 2)]
    assert found[0][1] == {"host": "a", "l.port": "a", "r.port": "b"}


def test_too_many_combinations_end_the_task() -> None:
    given = [(0, {"host": "a"}, {"v": 1})] * 2 + [(1, {"host": "a"}, {"v": 2})] * 4 + [(2, {"host": "a"}, {"v": 3})]
    node = Combine(name="combine2", exprs=[lit(True)] * 2, names=("l", "r"), max=3)
    found = []
    with pytest.raises(TaskFailed, match="total combinations 6 exceeds max combinations 3"):
        for batch in node.process(points(given)):
            found += plain(batch)
    assert len(found) == 1


def test_a_condition_that_fails_is_not_met_and_counted() -> None:
    given = [(0, {"host": "a"}, {"v": "text"}), (0, {"host": "a"}, {"v": 3}), (1, {"host": "a"}, {"v": 3})]
    node = Combine(name="c", exprs=[ref("v") > 2, lit(True)], names=("l", "r"))
    assert [f for _, _, f, _ in fed(node, [points(given)])] == [{"l.v": 3, "r.v": "text"}]
    assert node.errors == {"expression could not be evaluated": 1}


def test_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "__call__", both_ways)
    given = some_points(random.Random(8), 80)
    node = Combine(name="c", exprs=[EXPRS["a"], EXPRS["big"], lit(True)], names=NAMES)
    assert fed(node, cut(points(given), [33])) == twin(given, ["a", "big", "all"])


def test_trickle_gives_the_points_of_batches() -> None:
    batches = segments([(9, {"host": "a"}, [(0, {"x": "1"}, {"v": 1}), (1, {}, {"v": 2})]), (9, {"host": "b"}, [])])
    assert fed(Trickle(name="t"), [batches]) == [
        (0, {"host": "a", "x": "1"}, {"v": 1}, "host=a"),
        (1, {"host": "a"}, {"v": 2}, "host=a"),
    ]


def test_groups_that_differ_in_dimensions() -> None:
    batch = points([(0, {"host": "a", "port": "x"}, {"v": 1}), (0, {"host": "a", "port": "x"}, {"v": 2}),
                    (1, {"host": "a", "port": "x"}, {"v": 3})], group_by=("host",))  # fmt: skip
    tagged = defaultdict(str, host="b", port="y")
    code = batch.groups.code("m", False, {"host": "b", "port": "y"})
    more = points([(t, dict(tagged), {"v": t}) for t in (0, 0, 1)], groups=batch.groups)
    more = type(more)(more.rows, np.full(3, code, np.int32), more.groups, more.seq)
    node = Combine(name="c", exprs=[lit(True)] * 2, names=("l", "r"))
    found = fed(node, [type(batch).concat([batch, more])])
    assert [tags for _, tags, _, _ in found] == [
        {"host": "a", "l.port": "x", "r.port": "x"},
        {"host": "b", "port": "y"},
    ]
