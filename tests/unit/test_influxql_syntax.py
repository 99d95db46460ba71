"""The parser and the printer of InfluxQL against Go's (tests/fixtures/influxql)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tickc.compiler.influxql import QueryError, parse, reread
from tickc.runtime import influxql
from tickc.runtime.influxql.text import Spans, bounded, text, with_dimensions, with_fill
from tickc.runtime.influxql.tree import Binary, Bucket, Call, Expr, Paren, Select, Tree, Wildcard

FIXTURE = Path(__file__).parents[1] / "fixtures/influxql/queries.json.gz"
START, STOP = 1577836800_000000000, 1577836860_120000000


def shape(part: Expr | Select) -> str:
    """How the parts hang together, with square brackets around each operation."""
    match part:
        case Select(fields=fields, where=where, sources=sources):
            out = ", ".join(shape(f.expr) for f in fields)
            if where is not None:
                out += " | " + shape(where)
            return out + "".join(f" {{{shape(s)}}}" for s in sources if isinstance(s, Select))
        case Binary(op=op, left=left, right=right):
            return f"[{shape(left)} {op} {shape(right)}]"
        case Paren(expr=expr):
            return f"({shape(expr)})"
        case Call(name=name, args=args, bare=False):
            return f"{name}({', '.join(shape(arg) for arg in args)})"
    return text(part)


def ours(query: str) -> dict[str, str]:
    out = {"Query": query}
    try:
        select = parse(query)
    except QueryError as error:
        return out | {"Error": str(error)}
    out |= {"Text": text(select), "Shape": shape(select), "Bounded": text(bounded(select, START, STOP))}
    try:
        return out | {"Read": shape(bounded(reread(select), START, STOP))}
    except QueryError as error:
        return out | {"Read": str(error)}


def test_queries_are_read_and_printed_as_go_does() -> None:
    rows = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    differences = [(row, got) for row in rows if (got := ours(row["Query"])) != row]
    assert not differences, f"{len(differences)} of {len(rows)}: {differences[:3]}"


FAILED = "failed to parse InfluxQL query: "
INTO = "the query writes with INTO, which tickc does not do"


@pytest.mark.parametrize(
    ("query", "message", "place"),
    [
        ("SHOW DATABASES", 'query is not a select statement "SHOW DATABASES"', "SHOW"),
        ("drop measurement m;", 'query is not a select statement "drop measurement m"', "drop"),
        ("SELECT a FROM m; DROP SERIES", "query must be a single select statement, got 2 statements", "DROP"),
        ("SELECT a INTO b FROM m", INTO, "INTO"),
        ("SELECT a FROM (SELECT a INTO b FROM m)", INTO, "INTO"),
        ("SELECT a, é FROM m", FAILED + "found é, expected identifier, string, number, bool at line 1, char 11", "é"),
        ("SELECT a\r\nFROM\r\nm x", FAILED + "found x, expected ; at line 3, char 3", "x"),
        (
            "SELECT a FROM m WHERE b =~ /é(/",
            FAILED + "error parsing regexp: missing closing ): `é(` at line 1, char 27",
            "/é(/",
        ),
        ("SELECT 'x' 'y' FROM m", FAILED + "found y, expected FROM at line 1, char 11", "'y'"),
        ("SELECT a\0 FROM m", FAILED + "found \0, expected FROM at line 1, char 9", "\0"),
        ("SELECT a FROM m WHERE b = 1y", FAILED + "invalid duration", "1y"),
    ],
)
def test_mistakes_have_a_place(query: str, message: str, place: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query)
    span = caught.value.span
    assert str(caught.value) == message
    assert query.encode()[span.start : span.stop].decode() == place


def test_parts_have_a_place() -> None:
    query = 'SELECT -"é" , mean( a ) AS b, (1 + -c)\r\nFROM x.y.m WHERE a::float = -1 OR b =~ /x/'
    spans: Spans = {}
    select = parse(query, spans)

    def written(part: object) -> str:
        start, stop = spans[id(part)]
        return query.encode()[start:stop].decode()

    assert [written(f) for f in select.fields] == ['-"é"', "mean( a ) AS b", "(1 + -c)"]
    assert written(select.sources[0]) == "x.y.m"
    assert isinstance(select.where, Binary)
    assert written(select.where) == "a::float = -1 OR b =~ /x/"
    assert isinstance(select.where.left, Binary)
    assert written(select.where.left.right) == "-1"
    assert written(select) == query


def test_printed_parts_have_a_place() -> None:
    select = parse("""select mean("é") as b, a+b*c from m where a='é' or (b=~/x/)""")
    spans: Spans = {}
    printed = text(select, spans).encode()
    parts = list(all_parts(select))
    assert len(parts) == len(spans) == 19
    for part in parts:
        start, stop = spans[id(part)]
        assert printed[start:stop].decode() == text(part)


def all_parts(part: object) -> Iterator[Tree]:
    if isinstance(part, Tree):
        yield part
        for f in fields(part):  # type: ignore[arg-type]
            yield from all_parts(getattr(part, f.name))
    elif isinstance(part, tuple):
        for inside in part:
            yield from all_parts(inside)


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT {'(' * 30}a{')' * 30} FROM m",
        f"SELECT {'f(' * 30}a{')' * 30} FROM m",
        f"SELECT {'-(' * 30}a{')' * 30} FROM m",
        f"{'SELECT a FROM (' * 30}SELECT a FROM m{')' * 30}",
        f"SELECT {' + '.join(['a'] * 400)} FROM m",
        f"SELECT a FROM m WHERE {' OR '.join(['a = 1'] * 400)}",
        f"SELECT {'(' * 100_000}a FROM m",
        f"SELECT {'a, ' * 200_000}a FROM m",
    ],
)
def test_nesting_and_size_have_limits(query: str) -> None:
    with pytest.raises(QueryError, match=r"nested more than 25 deep|more than 300 deep|longer than 262144 bytes"):
        parse(query)


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("SELECT a FROM m", "SELECT a FROM m GROUP BY time(1m, 0s), host, * fill(0)"),
        ("SELECT a FROM m GROUP BY b, time(5m) fill(none)", "SELECT a FROM m GROUP BY time(1m, 0s), host, * fill(0)"),
    ],
)
def test_a_node_replaces_dimensions_and_fill(query: str, sent: str) -> None:
    dimensions = (Bucket(60_000_000_000), "host", Wildcard())
    assert text(with_fill(with_dimensions(parse(query), dimensions), 0)) == sent


def test_bounds_bind_as_they_are_printed() -> None:
    select = reread(parse("SELECT a FROM m WHERE b = 1 AND c = 2 OR d = 3"))
    within = bounded(select, START, STOP)
    bounds = "[time >= '2020-01-01T00:00:00Z']] AND [time < '2020-01-01T00:01:00.12Z']"
    assert shape(within) == f"a | [[[b = 1] AND [c = 2]] OR [[[d = 3] AND {bounds}]]"
    assert parse(text(within)) == replace(within, where=parse(text(within)).where)


def test_a_database_reads_other_numbers() -> None:
    assert text(reread(parse("SELECT a * 0.00049 FROM m"))) == "SELECT a * 0.000 FROM m"
    with pytest.raises(QueryError, match=r"^error parsing query: invalid duration$"):
        reread(parse("SELECT a FROM m fill(1000000.0)"))


@pytest.mark.parametrize(
    "query",
    [
        "SELECT a FROM m",
        "SELECT a, distinct b FROM m WHERE a = 1 AND b = 'x' AND c =~ /d/ ORDER BY DESC",
        f"SELECT a FROM m WHERE {' OR '.join(['a = 1'] * 290)}",
        f"{'SELECT a FROM (' * 25}SELECT a FROM m{')' * 25}",
        f"SELECT a FROM m WHERE {'a OR b AND c = d + e * (' * 25}f{')' * 25}",
        f"SELECT {'d + e * f(' * 25}f{')' * 25} FROM m",
    ],
)
def test_the_repr_of_a_tree_builds_it(query: str) -> None:
    select = parse(query)
    built = eval(repr(select), {"q": influxql})
    assert built == select
    assert text(built) == text(select)
