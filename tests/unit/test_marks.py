"""Marks on edges: how operators pass them on, in which groups, and what they forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from streams import SECOND, Point, T, plain, points, rows, segments
from test_barrier import at

import tickc
from tickc.runtime.batch import BARRIER, DELETE, Batch, Groups, Marks
from tickc.runtime.expr import Binary, Call, lit, ref
from tickc.runtime.graph import Graph, Operator
from tickc.runtime.nodes.block import Chain
from tickc.runtime.nodes.eval import Eval, Where
from tickc.runtime.nodes.group import GroupBy
from tickc.runtime.nodes.influxql import InfluxQL
from tickc.runtime.nodes.join import Union
from tickc.runtime.nodes.rows import Default, Delete, NoOp, Sample
from tickc.runtime.nodes.sequence import ChangeDetect, Derivative, StateCount
from tickc.runtime.nodes.window import CountWindow, TimeWindow


def marks(groups: Groups, *given: tuple[float, str, int]) -> Marks:
    """Marks at seconds after T of groups by id, BARRIER or DELETE."""
    return Marks(
        np.array([T + round(t * SECOND) for t, _, _ in given], np.int64),
        np.array([groups.codes[id] for _, id, _ in given], np.int32),
        groups,
        np.array([kind for _, _, kind in given], np.uint8),
        np.zeros(len(given), np.int64),
    )


def told(found: Iterable[Any]) -> list[tuple[str, int]]:
    """Group id and kind of the marks among what comes out."""
    return [
        (m.groups[g].id, k) for m in found if isinstance(m, Marks) for g, k in zip(m.group.tolist(), m.kind.tolist())
    ]


def test_among_groups_of_another_table() -> None:
    one, other = Groups(), Groups()
    one.code("m", False, {"host": "a"})
    one.code("m", False, {"host": "b"})
    other.code("m", False, {"host": "b"})
    found = marks(one, (1, "host=a", BARRIER), (1, "host=b", BARRIER)).among(other)
    assert found.groups is other
    assert found.group.tolist() == [1, 0]
    assert (other[1].id, other[1].name, dict(other[1].tags)) == ("host=a", "", {"host": "a"})


def test_a_group_by_measurement_keeps_its_id_below_an_operator_that_changes_groups() -> None:
    one = Groups()
    one.code("m", True, {"host": "a"})
    alone = marks(one, (1, "m\nhost=a", BARRIER)).among(Groups())
    assert (alone.groups[0].id, alone.groups[0].name) == ("m\nhost=a", "m")
    found = list(Delete(name="e", tags=("host",)).receive(alone))
    assert told(found) == [("m\nhost=a", BARRIER)]
    union = Union(name="u", parents=2)
    list(union.round([[points(at(0, 1))], [points(at(0, 1))]]))
    assert told(union.marks_of(0, alone)) == [("m\nhost=a", BARRIER)]
    assert [g.id for g in union.groups.groups] == ["host=a", "m\nhost=a"]


@pytest.mark.parametrize(
    "operator",
    [
        NoOp(name="n"),
        Where(name="w", predicate=Binary(">", ref("v"), lit(0.0))),
        Chain(name="c", steps=(NoOp(name="n"), Where(name="w", predicate=Binary(">", ref("v"), lit(0.0))))),
        CountWindow(name="c", period_count=2, every_count=2),
        InfluxQL(name="i", function="mean", field="v", as_name="mean"),
        Derivative(name="d", field="v"),
    ],
    ids=lambda op: type(op).__name__,
)
def test_marks_pass_on_in_the_groups_of_the_edge(operator: Operator) -> None:
    given = points(at(0, 1))
    list(operator.process(given))
    found = list(operator.receive(marks(given.groups, (5, "host=a", BARRIER), (5, "host=a", DELETE))))
    assert told(found) == [("host=a", BARRIER), ("host=a", DELETE)]
    assert all(m.groups is given.groups for m in found)


def test_marks_keep_their_group_where_points_change_theirs() -> None:
    operators = (
        GroupBy(name="g", dims=("dc",)),
        Default(name="d", tags={"host": "z"}),
        Delete(name="e", tags=("host",)),
        Eval(name="f", exprs=[lit("x")], names=["host"], tags=["host"], keep=()),
    )
    for operator in operators:
        given = points(at(0, 1))
        (data,) = operator.process(given)
        (found,) = operator.receive(marks(given.groups, (5, "host=a", BARRIER)))
        assert told([found]) == [("host=a", BARRIER)]
        assert found.groups is data.groups


def forgotten(operator: Operator, given: Sequence[Point]) -> tuple[list[Any], list[Any]]:
    """What comes out of the points the second time: as it is, and after their group has been deleted."""
    batch = points(given)
    outs = []
    for delete in (False, True):
        fresh = tickc_copy(operator)
        list(fresh.process(batch))
        if delete:
            list(fresh.receive(marks(batch.groups, (5, "host=a", DELETE))))
        outs.append([entry for out in fresh.process(batch) for entry in plain(out)])
    return outs[0], outs[1]


def tickc_copy(operator: Operator) -> Operator:
    import copy

    return copy.deepcopy(operator)


@pytest.mark.parametrize(
    "operator",
    [
        Sample(name="s", count=2),
        ChangeDetect(name="c", fields=("v",)),
        Derivative(name="d", field="v"),
        StateCount(name="s", predicate=Binary(">", ref("v"), lit(0.0))),
        Where(name="w", predicate=Binary("<=", Call("count", ()), lit(3))),
        Eval(name="e", exprs=[Call("count", ())], names=["n"]),
        TimeWindow(name="w", period=2 * SECOND),
        CountWindow(name="c", period_count=4, every_count=2),
        InfluxQL(name="i", function="sum", field="v", as_name="sum"),
        InfluxQL(name="i", function="cumulativeSum", field="v", as_name="sum"),
    ],
    ids=lambda op: f"{type(op).__name__} {getattr(op, 'function', '')}".strip(),
)
def test_a_deleted_group_starts_anew(operator: Operator) -> None:
    given = at(0, 1, 2)
    first = [e for out in tickc_copy(operator).process(points(given)) for e in plain(out)]
    goes_on, anew = forgotten(operator, given)
    assert goes_on != first
    assert anew == first


def test_other_groups_keep_their_state() -> None:
    operator = Sample(name="s", count=2)
    batch = points(at(0) + at(0, host="b"))
    list(operator.process(batch))
    list(operator.receive(marks(batch.groups, (5, "host=a", DELETE))))
    found = [entry for out in operator.process(batch) for entry in plain(out)]
    assert [e[1]["host"] for e in found] == ["a"]


def test_collected_batches_lose_a_deleted_group() -> None:
    operator = GroupBy(name="g", dims=("dc",))
    pts: list[Point] = [(0, {"dc": "x"}, {"v": 1.0}), (1, {"dc": "y"}, {"v": 2.0})]
    given = segments([(5, {}, pts)])
    assert list(operator.process(given)) == []
    given.groups.code("m", False, {"dc": "x"})
    operator.regroup._groups_of(given)  # the new groups are known
    list(operator.receive(marks(given.groups, (5, "dc=x", DELETE))))
    found = [entry for out in operator.flush() for entry in plain(out)]
    assert [group for _, group, _, _ in found] == ["dc=y"]


class Meeting(Operator):
    """Notes what its parents give it, in order."""

    def __init__(self) -> None:
        super().__init__(name="meeting")
        self.notes: list[tuple[int, str]] = []

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        self.notes.extend((i, "data") for i, given in enumerate(inputs) for _ in given)
        return ()

    def marks_of(self, parent: int, marks: Marks) -> Iterable[Any]:
        self.notes.append((parent, "marks"))
        return ()


class Fixed(Operator):
    """Gives the same messages whatever comes."""

    def __init__(self, name: str, messages: Sequence[Any]) -> None:
        super().__init__(name=name)
        self.messages = messages

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Any]:
        return self.messages


def test_of_several_parents_marks_come_after_what_stands_before_them() -> None:
    given = points(at(0, 1))
    mark = marks(given.groups, (5, "host=a", BARRIER))
    graph = Graph()
    source = graph.add(NoOp(name="source"))
    a = graph.add(Fixed("a", [given, mark, given]), source)
    b = graph.add(Fixed("b", [given]), source)
    meeting = graph.add(Meeting(), a, b)
    list(graph.push({0: [given]}))
    assert meeting.notes == [(0, "data"), (0, "marks"), (0, "data"), (1, "data")]
    meeting.notes.clear()
    a.messages = [given]
    list(graph.push({0: [given]}))
    assert meeting.notes == [(0, "data"), (1, "data")]


def test_an_alert_forgets_the_level_of_a_group() -> None:
    script = (
        "stream|from().groupBy('host')|barrier().idle(5s){}|alert().crit(lambda: \"v\" > 0.0)"
        ".id('{{{{ index .Tags \"n\" }}}}').stateChangesOnly().log('x')"
    )  # the topic remembers levels by id: that of a later point is another
    given = rows([(t, {"host": "a", "n": str(t // 20)}, {"v": 1.0}) for t in (0, 1, 20, 21)])
    kept = tickc.compile(script.format("")).replay(given, clock="data").to_json()["alerts"]["x"]
    anew = tickc.compile(script.format(".delete(TRUE)")).replay(given, clock="data").to_json()["alerts"]["x"]
    assert [e["time"][17:19] for e in kept] == ["40"]
    assert [e["time"][17:19] for e in anew] == ["40", "00"]


class Told(Operator):
    """Notes what it is given of its parents, in order: parent, seq, and whether it was a mark."""

    def __init__(self) -> None:
        super().__init__(name="told")
        self.found: list[tuple[int, int, bool]] = []

    def round(self, inputs: Sequence[Sequence[Batch]]) -> Iterable[Batch]:
        given = [(int(s), p) for p, batches in enumerate(inputs) for b in batches for s in b.seq]
        self.found += [(p, s, False) for s, p in sorted(given)]
        return ()

    def marks_of(self, parent: int, marks: Marks) -> Iterable[Any]:
        self.found += [(parent, int(s), True) for s in marks.seq]
        return ()


def test_marks_among_rows_of_several_parents_come_in_order_of_seq() -> None:
    given = points([(i, {"host": "a"}, {"v": 1}) for i in range(12)])

    def some(*seq: int) -> Any:
        return replace(given.take(np.array(seq)), seq=np.array(seq))

    def barriers(*seq: int) -> Marks:
        m = marks(given.groups, *((0, "host=a", BARRIER) for _ in seq))
        return replace(m, seq=np.array(seq))

    told_of = Told()
    graph = Graph()
    entries = [graph.add(Operator(name=f"entry{i}")) for i in range(3)]
    graph.add(told_of, *entries)
    first = [some(0, 2, 2, 5), barriers(5, 7), some(7, 8)]
    second = [barriers(1), some(2, 5), some(6, 7), barriers(8)]
    third = [some(1, 4, 5, 7, 8, 9)]
    list(graph.push({0: first, 1: second, 2: third}))
    lists = [
        [(p, int(s), isinstance(m, Marks)) for m in made for s in m.seq]
        for p, made in enumerate((first, second, third))
    ]
    expected = sorted((x for made in lists for x in made), key=lambda x: (x[1], x[0]))
    assert told_of.found == expected
    for p, made in enumerate(lists):
        assert [x for x in told_of.found if x[0] == p] == made


@pytest.mark.parametrize("seed", range(8))
def test_barriers_that_rows_release_above_a_join(seed: int) -> None:
    """A union holds barriers until rows let them pass, so that marks and rows come in one round."""
    script = """
var all = stream|from().measurement('m').groupBy('host')
var a = all|barrier().idle(3s)
var u = a|union(all|where(lambda: "v" > 1))
u|join(all|where(lambda: "v" < 3)).as('x', 'y').fill('null').tolerance(2s)|httpOut('joined')
u|union(a)|window().period(4s).every(4s)|count('v')|httpOut('counted')
"""
    chance = np.random.default_rng(seed)
    steps = np.cumsum(chance.integers(0, 6, 60))
    given = rows([(int(t), {"host": "ab"[chance.integers(2)]}, {"v": int(chance.integers(4))}) for t in steps])
    task = tickc.compile(script)
    expected = task.replay(given, clock="data").to_json()["sinks"]
    assert expected["joined"] and expected["counted"]
    for cuts in (range(61), sorted({0, 60, *chance.integers(0, 60, 5).tolist()})):
        pieces = [given.take(slice(a, b)) for a, b in pairwise(cuts)]
        assert task.replay(pieces, clock="data").to_json()["sinks"] == expected
