"""What InfluxDB refuses in a query, and what it works out of it, against InfluxDB's own compiler (tests/fixtures)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tickc.compiler.influxql import parse, refusal
from tickc.runtime.influxql.reduce import Refused, condition, dimensions, maths, reduce
from tickc.runtime.influxql.text import Spans, text
from tickc.runtime.influxql.tree import Bucket, Dimension, Regex, Wildcard

FIXTURE = Path(__file__).parents[1] / "fixtures/influxql/refusals.json.gz"
NOW = 1577836800_123456789
SECOND = 1_000_000_000


def ours(query: str) -> dict[str, Any]:
    select = parse(query)
    if refused := refusal(select, NOW):
        return {"Query": query, "Error": str(refused)}
    zone = ZoneInfo(select.zone) if select.zone else None
    where, (first, last) = condition(select.where, NOW, zone)
    out = {
        "Query": query,
        "Columns": [text(reduce(f.expr, functions=maths)) for f in select.fields],
        "Condition": text(where) if where is not None else None,
        "Min": str(first) if first is not None else None,
        "Max": str(last) if last is not None else None,
    }
    return {key: value for key, value in out.items() if value is not None}


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
        ("SELECT a FROM (SELECT b, mean(c) FROM m)", "mixing aggregate and non-aggregate queries is not supported",
         "SELECT b, mean(c) FROM m"),
    ],
)  # fmt: skip
def test_refusals_have_a_place(query: str, message: str, place: str) -> None:
    """Where no part of the query is to blame, it is the whole of it."""
    spans: Spans = {}
    refused = refusal(parse(query, spans), NOW)
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
        with pytest.raises(Refused, match=r"^time dimension offset must be duration or now\(\)$"):
            dimensions(select.dimensions, NOW)
    else:
        assert dimensions(select.dimensions, NOW) == resolved
