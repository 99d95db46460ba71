"""The numbers of `rand()`: Kapacitor's range, and the same in every run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from streams import rows

import tickc
from tickc.runtime.expr import rand_kernel
from tickc.runtime.snapshot import decode, encode

SCRIPT = """stream
    |from().measurement('m').groupBy('host').where(lambda: rand(10) < 8)
    |where(lambda: rand(4) > 0)
    |eval(lambda: rand(0), lambda: rand(1), lambda: rand(20), lambda: rand("v" - 40), lambda: rand(), lambda: rand())
        .as('zero', 'one', 'twenty', 'any', 'a', 'b')
    |httpOut('x')
"""
GIVEN = rows([(i, {"host": "abc"[i % 3]}, {"v": i}) for i in range(90)])


def values(entries: list[Any]) -> list[dict[str, Any]]:
    series = [entry["series"][0] for entry in entries]
    return [dict(zip(s["columns"], s["values"][0])) for s in series]


def test_ranges() -> None:
    found = values(tickc.compile(SCRIPT).replay(GIVEN).to_json()["sinks"]["x"])
    assert 20 < len(found) < 80
    assert {v["zero"] for v in found} == {v["one"] for v in found} == {0}
    assert {v["twenty"] for v in found} <= set(range(20)) and len({v["twenty"] for v in found}) > 8
    for name in ("any", "a", "b"):  # a negative limit counts as a huge one
        assert all(0 <= v[name] < 2**63 for v in found)
    assert len({v[name] for v in found for name in "ab"}) == 2 * len(found)


@pytest.mark.parametrize("cuts", [[0, 90], [0, 1, 17, 18, 60, 90], list(range(91))])
@pytest.mark.parametrize("without", [(), None])
def test_every_run_gives_the_same(cuts: list[int], without: Any) -> None:
    expected = tickc.compile(SCRIPT).replay(GIVEN).to_json()
    task = tickc.compile(SCRIPT, without=without)
    assert task.replay([GIVEN.take(slice(a, b)) for a, b in pairwise(cuts)]).to_json() == expected


def test_a_restored_task_goes_on() -> None:
    task = tickc.compile(SCRIPT)
    whole, first, second = (task.build() for _ in range(3))
    expected = [o.payload.rows.fields["a"].at(0) for b in range(90) for o in whole.feed(GIVEN.take(slice(b, b + 1)))]
    list(first.feed(GIVEN.take(slice(0, 40))))
    second.restore(decode(encode(first.snapshot())))
    found = [o.payload.rows.fields["a"].at(0) for b in range(40, 90) for o in second.feed(GIVEN.take(slice(b, b + 1)))]
    assert found and found == expected[-len(found) :]


def test_equal_nodes_draw_numbers_of_their_own() -> None:
    script = "var a = stream|from()|eval(lambda: rand()).as('r')|httpOut('a')\n"
    script += "var b = stream|from()|eval(lambda: rand()).as('r')|httpOut('b')"
    sinks = tickc.compile(script).replay(GIVEN).to_json()["sinks"]
    assert not {v["r"] for v in values(sinks["a"])} & {v["r"] for v in values(sinks["b"])}


def test_all_numbers_are_as_likely() -> None:
    n = 60_000
    out = np.zeros(n, np.int64)
    every, group, limit = np.ones(n, np.bool_), np.zeros(n, np.int32), np.full(n, 6)
    rand_kernel.machine()(every, group, limit, True, 7, np.zeros(1, np.int64), out)
    assert (abs(np.bincount(out, minlength=6) - n / 6) < 5 * np.sqrt(n / 6)).all()


def test_interpreted_and_compiled() -> None:
    chance = np.random.default_rng(3)
    reached, group = chance.random(500) < 0.8, chance.integers(0, 5, 500).astype(np.int32)
    limit = np.concatenate([chance.integers(-(2**63), 2**63 - 1, 400), chance.integers(0, 50, 100)])
    results = []
    for kernel in (rand_kernel.interpreted(), rand_kernel.machine()):
        count, out = np.zeros(5, np.int64), np.zeros(500, np.int64)
        with np.errstate(all="ignore"):
            kernel(reached, group, limit, True, 2**32 - 1, count, out)
        results.append((count.tolist(), out.tolist()))
    assert results[0] == results[1]
    drawn = [0] * 5
    for hit, g, most, found in zip(reached.tolist(), group.tolist(), limit.tolist(), results[0][1]):
        drawn[g] += hit
        assert found == (number(g, 2**32 - 1, drawn[g]) * (most % 2**64) >> 64) % 2**63 * hit


def number(group: int, seed: int, drawn: int) -> int:
    """The `drawn`-th number of a group, in Python's own integers."""

    def scramble(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    return scramble((scramble((group * 0xD1B54A32D192ED03 + seed) % 2**64) + drawn * 0x9E3779B97F4A7C15) % 2**64)
