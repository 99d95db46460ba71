"""union: order by the low-water marks of the parents, names, groups, and that no pass changes a result."""

from __future__ import annotations

from typing import Any

import pytest
from streams import Point, moved, plain, points, rows, segments

import tickc
from tickc.compiler.passes import PASSES
from tickc.runtime.batch import Groups, Points, Rows
from tickc.runtime.graph import AT_THE_END
from tickc.runtime.nodes.join import Union

A, B = {"host": "a"}, {"host": "b"}


def at(seq: int, *given: Point, **how: Any) -> Points:
    """Points that one input row each causes, from number `seq` on."""
    batch = points(given, **how)
    return Points(batch.rows, batch.group, batch.groups, batch.seq + seq)


def passed(node: Union, *parts: Any) -> list[Any]:
    """(time, fields) of what a round lets through."""
    return [(p[0], p[2]) for out in node.round([[p] if p is not None else [] for p in parts]) for p in plain(out)]


def test_a_point_waits_until_no_parent_can_be_earlier() -> None:
    node = Union(name="union", parents=2)
    assert passed(node, at(0, (1, A, {"v": 1}), (4, A, {"v": 4})), None) == []
    assert passed(node, None, at(2, (3, B, {"v": 3}))) == [(1, {"v": 1}), (3, {"v": 3})]
    # the mark is the time that was last waiting: 3
    assert passed(node, None, at(3, (2, B, {"v": 2}))) == [(2, {"v": 2})]
    assert [(p[0], p[2]) for out in node.finish() for p in plain(out)] == [(4, {"v": 4})]


def test_equal_times_in_the_order_of_the_parents() -> None:
    node = Union(name="union", parents=2)
    assert passed(node, at(1, (2, A, {"v": "b"})), at(0, (2, A, {"v": "a"}))) == [(2, {"v": "b"}), (2, {"v": "a"})]
    # one that comes after its time has passed comes after
    assert passed(node, at(2, (2, A, {"v": "late"})), None) == [(2, {"v": "late"})]


def test_a_parent_that_sends_nothing_holds_all_back_until_the_end() -> None:
    node = Union(name="union", parents=3)
    assert passed(node, at(0, (5, A, {"v": 1}), (3, A, {"v": 2})), at(2, (4, A, {"v": 3})), None) == []
    (out,) = node.finish()
    assert [(p[0], p[2]) for p in plain(out)] == [(4, {"v": 3}), (5, {"v": 1}), (3, {"v": 2})]
    assert out.seq.tolist() == [AT_THE_END] * 3


def test_tags_fields_and_groups_stay_and_the_name_may_change() -> None:
    node = Union(name="union", parents=2, rename="both")
    groups = Groups()
    groups.code("m", True, A)
    left = at(0, (1, {**A, "cpu": "0"}, {"v": 1}))
    left = Points(left.rows, left.group, groups, left.seq)
    (out,) = node.round([[left], [at(1, (1, B, {"w": 2.0}))]])
    assert [p[1:] for p in plain(out)] == [
        ({**A, "cpu": "0"}, {"v": 1}, "both\nhost=a"),
        (B, {"w": 2.0}, "host=b"),
    ]
    assert out.rows.name.tolist() == ["both", "both"]
    assert out.rows.database.tolist() == ["db", "db"]


def test_equal_groups_of_several_parents_are_one() -> None:
    node = Union(name="union", parents=2)
    left, right = at(0, (1, B, {"v": 1}), (1, A, {"v": 2})), at(2, (1, A, {"v": 3}))
    (out,) = node.round([[left], [right]])
    assert len(out.groups) == 2
    assert [out.groups[g].id for g in out.group.tolist()] == ["host=b", "host=a", "host=a"]


def test_batches_are_ordered_by_their_time() -> None:
    node = Union(name="union", parents=2, rename="all")
    left = segments([(10, A, [(9, {}, {"v": 1})]), (30, A, [])])
    right = segments([(20, A, [(1, {}, {"v": 2}), (2, {}, {"v": 3})])])
    out = [*node.round([[left], [right]]), *node.finish()]
    assert [(b[0], [p[2] for p in b[3]]) for o in out for b in plain(o)] == [
        (10, [{"v": 1}]),
        (20, [{"v": 2}, {"v": 3}]),
        (30, []),
    ]
    assert out[0].name.tolist() == ["all"] * len(out[0])


def test_a_snapshot_holds_what_waits() -> None:
    node = Union(name="union", parents=2)
    assert passed(node, at(0, (1, A, {"v": 1}), (2, B, {"v": "x"})), None) == []
    node = moved(node, Union(name="union", parents=2))
    assert passed(node, None, at(2, (2, A, {"v": 2}))) == [(1, {"v": 1}), (2, {"v": "x"}), (2, {"v": 2})]
    assert not any(store.pages for store in node.stores)


SCRIPT = """
var cpu = stream|from().measurement('cpu').groupBy('host')
var mem = stream|from().measurement('mem').groupBy('host')|where(lambda: "v" > 3.0)
cpu
    |union(mem)
        {rename}
    |window().period(5s).every(5s)
    |sum('v')
    |httpOut('out')
"""


@pytest.mark.parametrize("rename", ["", ".rename('x')"])
def test_passes_change_no_result(rename: str) -> None:
    script = SCRIPT.format(rename=rename)
    given = Rows.concat(
        [rows([(i / 2, [A, B][i % 2], {"v": float(i % 9), "w": i})], ["cpu", "mem"][i // 3 % 2]) for i in range(80)]
    )
    expected = tickc.compile(script, name="t", without=None).replay([given]).to_json()
    assert expected["sinks"]["out"]
    for name, _ in PASSES:
        assert tickc.compile(script, name="t", without=[name]).replay([given]).to_json() == expected, name
    assert tickc.compile(script, name="t").replay([given]).to_json() == expected
