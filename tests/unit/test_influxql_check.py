"""What InfluxDB refuses in a query, and what it works out of it, against InfluxDB's own compiler (tests/fixtures)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tickc.compiler.influxql import parse, refusal
from tickc.runtime.influxql.compile import Bound, compiled
from tickc.runtime.influxql.reduce import QueryRefused, dimensions, maths, reduce
from tickc.runtime.influxql.text import Spans, text
from tickc.runtime.influxql.tree import Bucket, Dimension, Regex, Wildcard

FIXTURE = Path(__file__).parents[1] / "fixtures/influxql/refusals.json.gz"
NOW = 1577836800_123456789
SECOND = 1_000_000_000


def ours(query: str) -> dict[str, Any]:
    select = parse(query)
    try:
        found = compiled(select, NOW)
    except QueryRefused as refused:
        return {"Query": query, "Error": str(refused)}
    out: dict[str, Any] = {"Query": query, "Columns": [text(reduce(f.expr, functions=maths)) for f in select.fields]}
    if found.where is not None:
        out["Condition"] = text(found.where)
    if found.earliest:
        out["Min"] = str(max(bound.ns for bound in found.earliest))
    if found.latest:
        out["Max"] = str(min(bound.ns for bound in found.latest))
    return out


def test_queries_are_refused_and_reduced_as_influxdb_does() -> None:
    rows = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    differences = [(row, got) for row in rows if (got := ours(row["Query"])) != row]
    assert not differences, f"{len(differences)} of {len(rows)}: {differences[:3]}"


@pytest.mark.parametrize(
    ("query", "message", "place"),
    [
        ("SELECT mean(a), b FROM m", "mixing aggregate and non-aggregate queries is not supported", ""),
        ("SELECT a, nosuch(b) FROM m", "undefined function nosuch()", "nosuch(b)"),
        ("SELECT mean(a), top(b, 1.5) FROM m", "expected integer as last argument in top(), found 1.500", "1.5"),
        ("SELECT a FROM m WHERE b = 1 AND mean(c) > 1", "invalid function call in condition: mean(c)", "mean(c)"),
        ("SELECT a FROM m WHERE time != '2020-01-01'", "invalid time comparison operator: !=", "time != '2020-01-01'"),
        ("SELECT sum(a) FROM m GROUP BY b, time(1m), time(2m)", "multiple time dimensions not allowed", "time(2m)"),
        ("SELECT sum(a) FROM m GROUP BY time(1m, '2020-01-01')", "invalid time dimension offset: '2020-01-01'",
         "time(1m, '2020-01-01')"),
        ("SELECT a FROM m GROUP BY time", "time() is a function and expects at least one argument", ""),
        ("SELECT sum(a) FROM m GROUP BY time(0s, 1s)",
         "SELECT sum(a) FROM m GROUP BY time(0s, 1s) [panic:runtime error: integer divide by zero]", ""),
        ('SELECT DISTINCT "a b" FROM m', "error parsing query: found b, expected FROM at line 1, char 19", ""),
        ("SELECT mean(a) FROM m fill(1000000.0)", "error parsing query: invalid duration", ""),
        ("SELECT a FROM (SELECT b, mean(c) FROM m)", "mixing aggregate and non-aggregate queries is not supported",
         "SELECT b, mean(c) FROM m"),
    ],
)  # fmt: skip
def test_refusals_have_a_place(query: str, message: str, place: str) -> None:
    """Where no part of the query is to blame, it is the whole of it."""
    spans: Spans = {}
    refused = refusal(parse(query, spans))
    assert refused is not None
    assert str(refused) == message
    start, stop = spans.get(id(refused.part), (0, len(query)))
    assert query[start:stop] == (place or query)


@pytest.mark.parametrize(
    ("given", "resolved"),
    [
        (
            "time(1m + 30s), host, *, /x/, (b), c::tag",
            (Bucket(90 * SECOND, 0), "host", Wildcard(), Regex("x"), "b", "c"),
        ),
        ("time(1m, 90s)", (Bucket(60 * SECOND, 30 * SECOND),)),
        ("time(1m, -90s)", (Bucket(60 * SECOND, -30 * SECOND),)),
        ("time(1m, now())", (Bucket(60 * SECOND, 123456789),)),
        ("time(1w, now() - now())", None),
    ],
)
def test_dimensions_are_worked_out(given: str, resolved: tuple[Dimension, ...] | None) -> None:
    select = parse(f"SELECT mean(a) FROM m GROUP BY {given}")
    if resolved is None:
        with pytest.raises(QueryRefused, match=r"^time dimension offset must be duration or now\(\)$"):
            dimensions(select.dimensions, NOW)
    else:
        assert dimensions(select.dimensions, NOW) == resolved


def test_now_is_kept_open() -> None:
    found = compiled(
        parse("SELECT derivative(mean(a)) AS b, time FROM m WHERE time > now() - 1m AND now() >= time AND c = 1 "
              "AND time < '2020-01-01' GROUP BY time(1m), (d)")
    )  # fmt: skip
    assert found.earliest == (Bound(1 - 60 * SECOND, now=True),)
    assert found.latest == (Bound(0, now=True), Bound(1577836800 * SECOND - 1))
    assert found.where is not None
    assert text(found.where) == "c = 1"
    assert [text(call) for call in found.calls] == ["derivative(mean(a))", "mean(a)"]
    assert (found.interval, found.offset, found.extra) == (60 * SECOND, 0, 1)
    assert text(found.without_times()) == "SELECT derivative(mean(a)) AS b FROM m WHERE c = 1 GROUP BY time(1m, 0s), d"
    assert compiled(parse("SELECT mean(a) FROM m GROUP BY time(1m, now())")).offset is None


def test_a_query_inside_inherits() -> None:
    found = compiled(
        parse("SELECT max(b) FROM (SELECT mean(a) AS b FROM m), n GROUP BY time(1m, 5s) ORDER BY time DESC")
    )
    inner, none = found.inner
    assert none is None
    assert inner is not None
    assert (inner.interval, inner.offset, inner.forth) == (60 * SECOND, 5 * SECOND, -1)
