"""join: Kapacitor's traces, names of fields, what waits, what is read, and that no pass changes a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import SECOND, Batched, Point, T, moved, plain, points, rows, segments

import tickc
from tickc.compiler import ir
from tickc.compiler.nodes.join import JoinOp
from tickc.compiler.passes import PASSES
from tickc.runtime.batch import DELETE, Groups, Marks, Points, Rows, Text
from tickc.runtime.graph import AT_THE_END
from tickc.runtime.nodes import join, waiting
from tickc.runtime.nodes.join import Join
from tickc.runtime.nodes.waiting import Held

A, B = {"host": "a"}, {"host": "b"}


def joined(left: Sequence[Point], right: Sequence[Point], **how: Any) -> list[Any]:
    """What comes out of two streams grouped by host, the left one first, without group ids."""
    node = Join(name="join", names=("l", "r"), **how)
    parts = [[points(left)] if left else [], [after(points(right), len(left))] if right else []]
    return [p[:-1] for out in (*node.round(parts), *node.finish()) for p in plain(out)]


def after(batch: Points, rows_before: int) -> Points:
    return Points(batch.rows, batch.group, batch.groups, batch.seq + rows_before)


LEFT = [(t, A, {"v": v}) for t, v in [(0, 1), (0, 2), (5, 3), (6, 4)]]
RIGHT = [(t, A, {"v": v}) for t, v in [(0, 10), (0, 20), (0, 30), (5, 40), (7, 50)]]
PAIRS = [(t, A, {"l.v": a, "r.v": b}) for t, a, b in [(0, 1, 10), (0, 2, 20), (5, 3, 40)]]


def test_the_kth_of_a_time_joins_the_kth() -> None:
    assert joined(LEFT, RIGHT) == PAIRS


def test_fill_takes_the_place_of_a_missing_point() -> None:
    more = [(0, A, {"l.v": -1, "r.v": 30}), (6, A, {"l.v": 4, "r.v": -1}), (7, A, {"l.v": -1, "r.v": 50})]
    assert sorted(joined(LEFT, RIGHT, fill=-1), key=str) == sorted([*PAIRS, *more], key=str)
    nulls = [(t, tags, {k: None if v == -1 else v for k, v in f.items()}) for t, tags, f in more]
    assert sorted(joined(LEFT, RIGHT, fill="null"), key=str) == sorted([*PAIRS, *nulls], key=str)


def test_a_fill_has_the_names_of_the_point_that_is_there() -> None:
    assert joined([(0, A, {"x": 1.0, "y": True})], [(1, A, {"z": 2})], fill=0.5) == [
        (0, A, {"l.x": 1.0, "l.y": True, "r.x": 0.5, "r.y": 0.5}),
        (1, A, {"l.z": 0.5, "r.z": 2}),
    ]


def test_only_tags_of_the_group_are_left() -> None:
    left = [(0, {**A, "cpu": "0"}, {"v": 1})]
    assert joined(left, [(0, {**A, "disk": "sda"}, {"v": 2})]) == [(0, A, {"l.v": 1, "r.v": 2})]


def test_tolerance_rounds_halves_up() -> None:
    out = joined([(1.4, A, {"v": 1}), (1.5, A, {"v": 2})], [(1, A, {"v": 3}), (2, A, {"v": 4})], tolerance=SECOND)
    assert out == [(1, A, {"l.v": 1, "r.v": 3}), (2, A, {"l.v": 2, "r.v": 4})]


def test_names_that_come_out_equal_take_the_later_parent() -> None:
    node = Join(name="join", names=("a", "ab"), delimiter="", fill="null")
    left = points([(0, A, {"bc": 1, "c": 2}), (1, A, {"bc": 3})])
    right = after(points([(0, A, {"c": 4}), (1, A, {"d": 5}), (2, A, {"c": 6})]), 2)
    out = [p for o in (*node.round([[left], [right]]), *node.finish()) for p in plain(o)]
    assert [p[2] for p in out] == [
        {"abc": 4, "ac": 2},
        {"abc": 3, "abd": 5},
        {"ac": None, "abc": 6},
    ]


def test_stream_name_renames_groups_by_measurement() -> None:
    node = Join(name="join", names=("l", "r"), stream_name="both")
    sides = [points([(0, A, {"v": i})]) for i in range(2)]
    for side in sides:
        side.groups.__init__()  # type: ignore[misc]
        side.groups.code("m", True, A)
    (out,) = node.round([[s] for s in sides])
    assert out.groups[0].id == "both\nhost=a" and out.rows.name.tolist() == ["both"]


def test_an_incomplete_set_goes_when_every_parent_is_past_it() -> None:
    node = Join(name="join", names=("l", "r"), fill="null")
    steps = [(0, 1, "l"), (0, 2, "l"), (3, 5, "r"), (3, 6, "l")]
    out = []
    for seq, (_, t, side) in enumerate(steps):
        batch = after(points([(t, A, {"v": t})]), seq)
        parts = [[batch], []] if side == "l" else [[], [batch]]
        out += [(seq, p[0]) for o in node.round(parts) for p in plain(o)]
    # at the third step the left one is at 2 and not past it; at the last one both are past 2
    assert out == [(2, 1.0), (3, 2.0)]
    assert [(p[0], p[2]) for o in node.finish() for p in plain(o)] == [
        (5.0, {"l.v": None, "r.v": 5}),
        (6.0, {"l.v": 6, "r.v": None}),
    ]


def test_what_comes_out_at_the_end_is_in_order_of_time() -> None:
    node = Join(name="join", names=("l", "r"), fill=0)
    assert not list(node.round([[points([(9, A, {"v": 1}), (3, B, {"v": 2})])], []]))
    (out,) = node.finish()
    assert [p[0] for p in plain(out)] == [3.0, 9.0]
    assert out.seq.tolist() == [AT_THE_END] * 2


def test_only_what_waits_is_kept() -> None:
    node = Join(name="join", names=("l", "r"))
    for i in range(50):
        side = points([(i, A, {"v": i}), (i, B, {"v": i})])
        other = after(points([(i, A, {"v": i})]), 1) if i % 10 else None
        list(node.round([[after(side, 3 * i)], [after(other, 3 * i)] if other else []]))
    assert node.pairing.waiting.tolist() == [50, 0]  # all of b; of a both are past those without a counterpart
    assert not node.stores[1].pages


def test_a_snapshot_holds_what_waits() -> None:
    fresh = Join(name="join", names=("l", "r"), fields=(("v",), None))
    node = Join(name="join", names=("l", "r"), fields=(("v",), None))
    list(node.round([[points([(0, A, {"v": 1, "w": 2}), (1, B, {"v": 3})])], []]))
    node = moved(node, fresh)
    out = list(node.round([[], [after(points([(1, B, {"x": 4}), (0, A, {"x": 5})]), 2)]]))
    assert [p for o in out for p in plain(o)] == [
        (1.0, B, {"l.v": 3, "r.x": 4}, "host=b"),
        (0.0, A, {"l.v": 1, "r.x": 5}, "host=a"),
    ]


def test_parents_that_answer_to_the_same_rows_share_their_columns() -> None:
    node = Join(name="join", names=("l", "r"))
    side = points([(t, A, {"v": t}) for t in range(4)])
    (out,) = node.round([[side], [side]])
    assert isinstance(out, Points)
    assert out.rows.fields["r.v"] is side.rows.fields["v"]
    # what it does not pair is as if it had: the last times are known
    list(node.round([[after(points([(9, A, {"v": 9})]), 4)], []]))
    assert [p[0] for o in node.round([[], [after(points([(9, A, {"v": 9})]), 5)]]) for p in plain(o)] == [9.0]


# ------------------------------------------------------------------------------------------------------------- batches


def batch_join(left: Sequence[Batched], right: Sequence[Batched], **how: Any) -> list[Any]:
    """(tmax, [(time, fields)]) of each joined batch."""
    node = Join(name="join", names=("l", "r"), **how)
    parts = [[segments(side)] if side else [] for side in (left, right)]
    out = [b for o in (*node.round(parts), *node.finish()) for b in plain(o)]
    return [(tmax, [(t, f) for t, _, f in given]) for tmax, _, _, given in out]


def test_points_of_batches_join_by_time() -> None:
    left = [(10, A, [(1, {"r": "x"}, {"v": 1}), (3, {}, {"v": 3})])]
    right = [(10, A, [(1, {}, {"v": 10}), (2, {}, {"v": 20}), (3, {}, {"v": 30})])]
    assert batch_join(left, right) == [(10, [(1, {"l.v": 1, "r.v": 10}), (3, {"l.v": 3, "r.v": 30})])]
    filled = (2, {"l.v": 0, "r.v": 20})
    assert batch_join(left, right, fill=0) == [
        (10, [(1, {"l.v": 1, "r.v": 10}), filled, (3, {"l.v": 3, "r.v": 30})])
    ]  # fmt: skip


def test_an_inner_join_of_a_missing_batch_is_empty() -> None:
    left = [(10, A, [(1, {}, {"v": 1})]), (20, A, [(11, {}, {"v": 2})])]
    assert batch_join(left, [(20, A, [(11, {}, {"v": 3})])]) == [(10, []), (20, [(11, {"l.v": 2, "r.v": 3})])]


def test_a_pass_gives_back_what_is_later() -> None:
    """The left point at 5 is taken, then the right one at 2 is found to be earlier."""
    left, right = [(10, A, [(5, {}, {"v": 1})])], [(10, A, [(2, {}, {"w": 2}), (5, {}, {"w": 3})])]
    assert batch_join(left, right, fill="null") == [
        (10, [(2, {"l.v": None, "r.w": 2}), (5, {"l.v": 1, "r.w": 3})])
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------ on


def test_on_gives_a_larger_group_to_each_within() -> None:
    node = Join(name="join", names=("part", "whole"), on=("host",))
    parts = points([(0, {**A, "r": r}, {"v": i}) for i, r in enumerate("xy")], group_by=("host", "r"))
    whole = after(points([(0, A, {"v": 9})]), 2)
    out = [p for o in (*node.round([[parts], [whole]]), *node.finish()) for p in plain(o)]
    assert out == [
        (0.0, {**A, "r": "x"}, {"part.v": 0, "whole.v": 9}, "host=a,r=x"),
        (0.0, {**A, "r": "y"}, {"part.v": 1, "whole.v": 9}, "host=a,r=y"),
    ]


def test_a_deleted_group_is_forgotten_after_a_restart() -> None:
    make = lambda: Join(name="join", names=("part", "whole"), on=("host",), fill=0)  # noqa: E731
    node, groups = make(), Groups()
    list(node.round([[], [points([(0, A, {"v": 9}), (0, B, {"v": 8})], groups=groups)]]))
    node = moved(node, make())
    one = np.zeros(1, np.int64)
    gone = Marks(one, one.astype(np.int32), groups, np.array([DELETE], np.uint8), one + 2)
    assert [m.groups[int(m.group[0])].id for m in node.marks_of(1, gone)] == ["host=a"]
    parts = points([(0, {**t, "r": "x"}, {"v": 1}) for t in (A, B)], group_by=("host", "r"))
    out = [p for o in node.round([[after(parts, 3)], []]) for p in plain(o)]
    assert [(p[1]["host"], p[2]) for p in out] == [("b", {"part.v": 1, "whole.v": 8})]


# -------------------------------------------------------------------------------------------------------- the compiler


SCRIPT = """
var cpu = stream|from().measurement('cpu').groupBy('host')
var mem = stream|from().measurement('mem').groupBy('host')|where(lambda: "seen")
cpu
    |join(mem)
        .as('cpu', 'mem')
        .tolerance(1s)
        {fill}
    |eval(lambda: "cpu.used" + "mem.used")
        .as('sum')
        {keep}
    |httpOut('out')
"""


def test_a_join_reads_the_fields_with_the_parents_prefix() -> None:
    op = JoinOp(name="j", names=("a", "b"), inputs=(ir.Op(name="x"), ir.Op(name="y")))
    wanted = ir.Wanted(frozenset({"host", "b.v"}), frozenset({"a.v", "a.b.w", "b.x", "c.y"}))
    assert op.needs_of(wanted, 0) == ir.Wanted(fields=frozenset({"v", "b.w"}))
    assert op.needs_of(wanted, 1) == ir.Wanted(fields=frozenset({"x"}))
    assert op.needs_of(ir.ALL, 0) == ir.Wanted(fields=None)
    filled = JoinOp(name="j", names=("a", "b"), fill="null", inputs=op.inputs)
    assert filled.needs_of(wanted, 0) == ir.Wanted(fields=frozenset({"v", "b.w", "x"}))


@pytest.mark.parametrize("keep", ["", ".keep()"])
@pytest.mark.parametrize("fill", ["", ".fill('null')", ".fill(0.0)"])
def test_passes_change_no_result(fill: str, keep: str) -> None:
    script = SCRIPT.format(fill=fill, keep=keep)
    given = stream()
    expected = tickc.compile(script, name="t", without=None).replay([given]).to_json()
    assert expected["sinks"]["out"]
    for name, _ in PASSES:
        assert tickc.compile(script, name="t", without=[name]).replay([given]).to_json() == expected, name
    assert tickc.compile(script, name="t").replay([given]).to_json() == expected


def stream() -> Rows:
    """Points of cpu and mem by turns; some have other fields, some come too early or late for a counterpart."""
    parts = []
    for i in range(60):
        host = {"host": "ab"[i // 2 % 2], "dc": "x"}
        fields = {"used": float(i), "seen": i % 7 > 0, "other": i} if i % 5 else {"other": i, "seen": True}
        parts.append(rows([(i // 4 + i % 3 / 4, host, fields)], "cpu" if i % 2 else "mem"))
    whole = Rows.concat(parts)
    assert isinstance(whole.name, Text) and whole.time[0] == T
    return whole


def test_only_what_the_script_uses_is_read() -> None:
    module = tickc.compile(SCRIPT.format(fill="", keep=""), name="t").source
    assert 'fields=(("used",), ("used",))' in module
    assert '"fields": ("seen", "used"),' in module


def test_other_values_of_fill_are_an_inner_join() -> None:
    source = tickc.compile(SCRIPT.format(fill=".fill(5s)", keep=""), name="t").source
    assert "fill=" not in source.split('"""')[2]


def test_one_side_that_never_comes() -> None:
    """Points wait for as long as the input lasts; none is lost, and an inner join gives nothing."""
    many = [(t, A, {"v": t}) for t in range(200)]
    assert joined(many, []) == []
    assert [p[2] for p in joined(many, [], fill="null")] == [{"l.v": t, "r.v": None} for t in range(200)]
    node = Join(name="join", names=("l", "r"))
    for t in range(200):
        list(node.round([[after(points([many[t]]), t)], []]))
    assert len(node.stores[0].pages) < 10  # pages that double in size
    assert not node.pairing.waiting.any()
    out = [p for o in node.round([[], [after(points([(7, A, {"v": 0})]), 200)]]) for p in plain(o)]
    assert [p[2] for p in out] == [{"l.v": 7, "r.v": 0}]  # both are past those before
    assert np.array_equal(np.sort(node.pairing.left()[1]), T + np.arange(8, 200) * SECOND)


def lagging(lead: int, silent_after: int) -> list[list[list[Points]]]:
    """Rounds of 100 points: all of the first parent; the second ends after some of its own, which are late."""
    many = [(t // 4, {"host": "abcd"[t % 4]}, {"v": t, "w": str(t % 7)}) for t in range(lead)]
    left = points(many)
    right = replace(points(many[:silent_after]), seq=lead + np.arange(silent_after))
    rounds = [[[left.take(slice(a, a + 100))], []] for a in range(0, lead, 100)]
    return [*rounds, *([[], [right.take(slice(a, a + 100))]] for a in range(0, silent_after, 100))]


@pytest.mark.parametrize("fill", [None, "null", 0])
@pytest.mark.parametrize("silent_after", [0, 300, 2000])
def test_rows_beyond_the_budget_wait_in_files(monkeypatch: pytest.MonkeyPatch, fill: Any, silent_after: int) -> None:
    def found(node: Join) -> list[Any]:
        return [p for r in lagging(2000, silent_after) for o in node.round(r) for p in plain(o)] + [
            p for o in node.finish() for p in plain(o)
        ]

    expected = found(Join(name="join", names=("l", "r"), fill=fill))
    assert len(expected) == (silent_after if fill is None else 2000)
    for module, name, value in (
        (waiting, "PAGE", 256),
        (join, "PAGE", 256),
        (join, "SLACK", 256),
        (waiting, "LEAST", 0),
    ):
        monkeypatch.setattr(module, name, value)
    node = Join(name="join", names=("l", "r"), fill=fill)
    node.budget = 20_000
    for given in lagging(2000, 0):
        assert not list(node.round(given))
    (store, _), folder = node.stores, Path(node.stores[0]._folder.path)
    assert sum(page.held for page in store.pages if page.batch is not None) <= 10_000
    assert len(list(folder.iterdir())) == sum(page.path is not None for page in store.pages) > 3
    rest = [p for r in lagging(2000, silent_after)[20:] for o in node.round(r) for p in plain(o)]
    assert rest + [p for o in node.finish() for p in plain(o)] == expected
    assert not list(folder.iterdir())


def test_a_parent_that_lags_costs_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is not touched in a round that does not need it."""
    node, taken = Join(name="join", names=("l", "r")), []
    rounds = lagging(4000, 4000)
    for given in rounds[:40]:
        list(node.round(given))
    rows = Held.rows
    monkeypatch.setattr(Held, "rows", lambda self, number: taken.append(len(number)) or rows(self, number))
    joined = [len(o) for given in rounds[40:] for o in node.round(given)]
    assert joined == [100] * 40 and taken == [100] * 80
    assert node.pairing.waiting.tolist() == [0, 0] and not node.stores[0].pages


def test_what_is_silent_is_put_aside_until_it_matters() -> None:
    """Points wait without being paired as long as the other parent, which was there, sends nothing."""
    node = Join(name="join", names=("l", "r"), fill=0)
    list(node.round([[points([(0, A, {"v": 0})])], [points([(0, A, {"v": 0})])]]))
    for t in range(1, 50):
        assert not list(node.round([[replace(points([(t, A, {"v": t})]), seq=np.array([t]))], []]))
    assert not node.pairing.waiting.any() and node.taken.tolist() == [0, 0] and len(node.stores[0]) == 49
    (out,) = node.round([[], [replace(points([(49, A, {"v": 49})]), seq=np.array([50]))]])
    assert [p[0] for p in plain(out)] == [float(t) for t in range(1, 50)]
    assert not list(node.finish())


def test_a_side_that_never_comes_is_told() -> None:
    for fill, fate in ((None, "joined nothing"), ("null", "have what `.fill()` says in place of its fields")):
        node = Join(name="join5", names=("l", "r"), fill=fill)
        list(node.round([[points([(0, A, {"v": 0}), (1, A, {"v": 0})])], []]))
        list(node.finish())
        assert list(node.notes()) == [f"join5: nothing came from `r`; 2 points of the others {fate}"]
    assert not list(Join(name="join", names=("l", "r")).notes())


def test_what_the_end_brings_goes_on_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """The points of a join that its end releases need not be in memory together, where its branch is its own."""
    monkeypatch.setattr(join, "PAGE", 10)
    monkeypatch.setattr(join, "SLACK", 10)
    monkeypatch.setattr(waiting, "PAGE", 10)
    script = """
var all = stream|from().measurement('m').groupBy('host')
all|where(lambda: "v" >= 0)|join(all|where(lambda: "v" < 0)).as('l', 'r').fill('null')
    |eval(lambda: "l.v" + 1).as('w')|httpOut('x')
"""
    graph = tickc.compile(script).build()
    list(graph.feed(rows([(t, A, {"v": t}) for t in range(100)])))
    node = next(op for op in graph.operators if isinstance(op, Join))
    outputs = graph.end()
    first = next(outputs)
    assert len(first.payload) == 10 and node.stores[0].pages
    assert sum(len(o.payload) for o in outputs) == 90 and not node.stores[0].pages


def test_messages_that_share_a_page_with_what_is_left_of_older_ones() -> None:
    store = waiting.Waiting()
    store.add(points([(t, {"host": "a"}, {"v": t}) for t in range(10)]))
    store.keep(np.array([0, 3]), 10)
    store.add(points([(t, {"host": "a"}, {"v": t}) for t in range(10, 12)]))
    assert [page.numbers.tolist() for page in store.pages] == [[0, 3, 10, 11]]
    for start, times in ((10, [10, 11]), (11, [11]), (12, [])):
        assert ((store.heads(start, 12)[1] - T) // SECOND).tolist() == times
