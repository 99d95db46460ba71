"""The parser and the printer of InfluxQL against Go's (tests/fixtures/influxql)."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tickc.compiler import check_script, warnings
from tickc.compiler.diagnostics import Source
from tickc.compiler.influxql import QueryError, parse, reread
from tickc.compiler.influxql.parser import MAX_BYTES
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
        ("SELECT a FROM db.rp.m./x/", FAILED + "found /, expected ; at line 1, char 23", "/"),
        ("SELECT a FROM (SELECT b FROM db.rp.m./x/)", FAILED + "found /, expected ) at line 1, char 38", "/"),
    ],
)
def test_mistakes_have_a_place(query: str, message: str, place: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(query)
    span = caught.value.span
    assert str(caught.value) == message
    assert query.encode()[span.start : span.stop].decode() == place


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT $x 'y' FROM m", "missing parameter: x"),
        ("SELECT 99999999999999999999 'y' FROM m", "unable to parse integer at line 1, char 8"),
        ("SELECT a FROM a.b.c.d 'y'", 'too many segments in "a"."b"."c".d at line 1, char 1'),
        ("SELECT a FROM m WHERE b =~ /(/ 'y'", "error parsing regexp: missing closing ): `(` at line 1, char 27"),
        ("SELECT a FROM m fill(x) 'y'", "expected number argument in fill()"),
        ("SELECT a FROM m ORDER BY b, 1", "only ORDER BY time supported at this time"),
        ("SELECT a FROM m tz('Nowhere') 'y'", "unable to find time zone Nowhere"),
        (
            "SELECT a = 1 AS 2 FROM m",
            "invalid operator = in SELECT clause at line 1, char 8; operator is intended for WHERE clause",
        ),
        ("SELECT (a = 1 'y' FROM m", "found y, expected ) at line 1, char 14"),
        ("SELECT a FROM (SELECT $x FROM m 'y') fill(x)", "missing parameter: x"),
    ],
)
def test_of_two_mistakes_the_first_is_told(query: str, message: str) -> None:
    """Also where the first is none of the grammar, and the second is the token behind it."""
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert str(caught.value) == FAILED + message


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ('SELECT f( /x/ , /y/ ), distinct\n"a", * FROM /x/ , m', "f(/x/, /y/), DISTINCT a, * FROM /x/, m"),
        ("SELECT/x/FROM/x/WHERE a=~/x/GROUP BY/x/,/y/", "/x/ FROM /x/ WHERE a =~ /x/ GROUP BY /x/, /y/"),
        ("SELECT a./b FROM m", "a / b FROM m"),
        ("SELECT a.::tag, b. c FROM db..m, rp. m", 'a::tag, "b.c" FROM db..m, rp.m'),
        (
            "SELECT fill, tz FROM fill WHERE fill(tz) > tz fill(1) tz('UTC')",
            "fill, tz FROM fill WHERE fill(tz) > tz fill(1) TZ('UTC')",
        ),
        ("SELECT a -- b\n, c /* d */ FROM m", "a, c FROM m"),
        ("SELECT a AS b /* c */, d FROM m", "found ,, expected FROM at line 1, char 22"),
        ("SELECT a FROM m GROUP BY /x/ , b", "found ,, expected ; at line 1, char 30"),
        (
            "SELECT a FROM m, /* c */ n",
            "error parsing regexp: missing argument to repetition operator: `*` at line 1, char 17",
        ),
        ("SELECT a FROM m,/x/", "found ,, expected regex at line 1, char 16"),
        ("SELECT a FROM m /* c */", "found  , expected regex at line 1, char 16"),
        ("SELECT f(--c\n) FROM m", "found ), expected identifier, string, number, bool at line 2, char 1"),
        ("SELECT f(--c\n/x/) FROM m", "found /, expected identifier, string, number, bool at line 2, char 1"),
        ("SELECT f (a) FROM m", "found (, expected FROM at line 1, char 10"),
        ("SELECT distinct/**/a FROM m", "found , expected (, identifier at line 1, char 16"),
        ("SELECT a :: tag FROM m", "found ::, expected FROM at line 1, char 10"),
        ("SELECT a:: tag FROM m", "found  , expected float, integer, string, boolean, field, tag at line 1, char 11"),
        ("SELECT a .b FROM m", "found ., expected FROM at line 1, char 10"),
    ],
)
def test_what_stands_next_to_a_token_counts(query: str, read: str) -> None:
    try:
        found = text(parse(query)).removeprefix("SELECT ")
    except QueryError as error:
        found = str(error).removeprefix(FAILED)
    assert found == read


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


@pytest.mark.parametrize("parts", [("SELECT ", "(", "a", ")", " FROM m"), ("SELECT ", "f(", "a", ")", " FROM m"),
                                   ("", "SELECT a FROM (", "SELECT a FROM m", ")", "")])  # fmt: skip
def test_the_last_bracket_that_may_be_open(parts: tuple[str, ...]) -> None:
    before, opening, inside, closing, behind = parts
    deepest, deeper = (before + opening * n + inside + closing * n + behind for n in (25, 26))
    assert text(parse(deepest)) == deepest
    with pytest.raises(QueryError, match=r"^the query is nested more than 25 deep$") as caught:
        parse(deeper)
    assert deeper[: caught.value.span.stop].count("(") == 26


def test_the_longest_query() -> None:
    """Long lists cost no more for each part than short ones, wherever the parts are to be found in the text."""
    names = ",".join(['"é"'] * 20_000)
    query = f"SELECT f({names}),{names} FROM {names} WHERE time > 0 "
    query = query.ljust(MAX_BYTES)
    spans: Spans = {}
    select = parse(query, spans)
    assert len(select.fields) == 20_001
    assert len(select.sources) == 20_000
    start, stop = spans[id(select.where)]
    assert query.encode()[start:stop] == b"time > 0"
    with pytest.raises(QueryError, match=r"^the query is longer than 262144 bytes$"):
        parse(query + " ")


def test_threads_can_parse_at_once() -> None:
    query = "SELECT mean(a) FROM (SELECT b FROM m WHERE c =~ /d/), n GROUP BY time(1m), *"
    expected = parse(query)
    results: list[Select] = []
    threads = [threading.Thread(target=lambda: results.extend(parse(query) for _ in range(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 80


@pytest.mark.parametrize(
    ("script", "line", "place"),
    [
        ("batch|query('SELECT a FROM m WHERE b = \\'x\\' c').period(1m).every(1m)", 1, "c"),
        ("batch|query('''\nSELECT a\nFROM m\nWHERE b =~ /é(/''').period(1m).every(1m)", 4, "/é(/"),
        ("batch|query('SELECT a FROM m fill(x) LIMIT').period(1m).every(1m)", 1, "fill"),
        ("var q = 'SELECT'\nbatch\n    |query(q + ' a').period(1m).every(1m)", 3, "query"),
    ],
)
def test_mistakes_are_shown_in_the_script(script: str, line: int, place: str) -> None:
    """At the token of the query, if the query stands in the script as one literal."""
    [found] = warnings(check_script(Source(script)))
    assert found.span is not None
    data = script.encode()
    assert data[found.span.start : found.span.stop].decode() == place
    assert data[: found.span.start].count(b"\n") + 1 == line


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
