"""Queries over many ranges at once, against one range after another; and points that come whole, or in pieces with
answers and forgetting in between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from influxql_points import SECOND, SHARD, Point, Series, ours, rows
from influxql_queries import all_of

from tickc.compiler.influxql import parse
from tickc.runtime.influxql.evaluate import Evaluator
from tickc.runtime.influxql.history import History

QUERIES = all_of(
    "select {count(v); mean(v); sum(n); min(n); max(v); first(v); last(n)} from m {; group by a; group by *}",
    """select {mean(v); count(n); max(n); last(s); percentile(v,40); mean(v),last(s); sum(n)/count(n)} from m
    group by time({7s; 10s,3s}){; ,a} {; fill(none); fill(previous); fill(linear); fill(3); order by time desc}""",
    "select {median(v); mode(n); stddev(v); spread(n); distinct(n); top(v,2); bottom(n,a,2); integral(v)} from m",
    """select {*; v,a; v+n; difference(v); derivative(v); elapsed(n,1s); cumulative_sum(n); moving_average(v,2)} from m
    {; group by a; group by * limit 2 offset 1; group by * slimit 1 soffset 1; where n > 2; where s = 'x' or v < 0}""",
    "select {difference(mean(v)); moving_average(sum(n),3); cumulative_sum(count(n))} from m group by time(5s){; ,a}",
    "select {mean(x); max(x),a} from (select {max(v); mean(n); sum(n)} as x from m group by a,b) {; group by a}",
    "select mean(*) from /m|k/ group by {*; time(20s)}",
    "select mean(v) from m group by time(10s) tz('Asia/Kolkata')",
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "v": st.sampled_from([-1.5, 0.1, 0.2, 1.0, 7.25, 1e9]),
        "n": st.integers(-3, 9),
        "s": st.sampled_from(["x", "y", ""]),
        "w": st.one_of(st.integers(0, 1), st.booleans()),
    },
).filter(bool)
TAGS = st.fixed_dictionaries({}, optional={"a": st.sampled_from("xyz"), "b": st.sampled_from(["1", "2", ""])})
MOMENTS = st.integers(-40, 40)
POINTS = st.lists(st.tuples(st.sampled_from("mmmk"), TAGS, FIELDS, MOMENTS), max_size=40)
RANGES = st.lists(st.tuples(st.integers(-45, 45), st.integers(0, 60)), min_size=1, max_size=6)
CUTS = st.lists(st.integers(-45, 45), max_size=6)


def ranges_of(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in ns around a shard's beginning, ascending by stop."""
    ends = sorted((start + length, start) for start, length in pairs)
    return [(SHARD + start * SECOND, SHARD + stop * SECOND) for stop, start in ends]


def compared(found: list[list[Series]]) -> list[list[Any]]:
    """Series with the cells that are not null: ranges that are answered together share columns."""
    return [
        [(s["name"], s.get("tags"), [_cells(s["columns"], row) for row in s["values"]]) for s in one] for one in found
    ]


def _cells(columns: list[str], row: list[Any]) -> dict[str, Any]:
    return {column: repr(value) for column, value in zip(columns, row) if value is not None}


@pytest.mark.parametrize("query", QUERIES)
@given(points=POINTS, pairs=RANGES, cuts=CUTS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(points=[("m", {}, {"v": 1.0}, 0), ("m", {"a": "x"}, {"v": 2.0}, 0)], pairs=[(0, 1), (0, 1)], cuts=[0])
def test_at_once_is_one_by_one(
    query: str, points: list[tuple[str, Any, Any, int]], pairs: list[tuple[int, int]], cuts: list[int]
) -> None:
    given = sorted(((m, t, f, SHARD + at * SECOND) for m, t, f, at in points), key=lambda p: p[3])
    ranges = ranges_of(pairs)
    evaluator = Evaluator(parse(query))
    whole = History()
    if given:
        whole.append(rows(given))
    expected = [compared(ours(evaluator, whole, [one]))[0] for one in ranges]
    assert compared(ours(evaluator, whole, ranges)) == expected
    assert compared(in_pieces(query, given, ranges, [SHARD + cut * SECOND for cut in sorted(cuts)])) == expected


def in_pieces(query: str, points: list[Point], ranges: list[tuple[int, int]], cuts: list[int]) -> list[list[Series]]:
    """The answers where points come in pieces, each range is asked for when all of it has come, and what no range needs
    any more is forgotten."""
    evaluator, history, found = Evaluator(parse(query)), History(), []
    before, behind = evaluator.reach()
    past = -(1 << 62)
    for cut in [*cuts, 1 << 62]:
        piece = [p for p in points if past <= p[3] < cut]
        if piece:
            history.append(rows(piece))
        ready = [one for one in ranges[len(found) :] if one[1] + behind <= cut]
        found += ours(evaluator, history, ready)
        history.forget(min((start - before for start, _ in ranges[len(found) :]), default=0))
        past = cut
    return found
