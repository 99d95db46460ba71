"""Random queries printed and read back; broken text; queries taken apart whatever they say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tickc.compiler.influxql import QueryError, parse, refusal, reread
from tickc.runtime.influxql.text import bounded, text
from tickc.runtime.influxql.tree import (
    Binary,
    Bucket,
    Call,
    Duration,
    Expr,
    Field,
    Lit,
    Measurement,
    Paren,
    Ref,
    Regex,
    Select,
    Wildcard,
)

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1, max_size=6)
simple = st.sampled_from(["a", "b", "host", "time", "select", "a b", "é"])
refs = st.builds(Ref, st.one_of(simple, names), st.sampled_from(["", "", "float", "integer", "string", "field", "tag"]))
patterns = st.sampled_from(["", "x", "^a.*$", "a/b", r"\d+", "é|b"])
literals = st.one_of(
    st.builds(Lit, st.integers(0, 2**63 - 1)),
    st.builds(Lit, st.floats(0, 1e15)),
    st.builds(Lit, st.booleans()),
    st.builds(Lit, names),
    st.builds(Duration, st.integers(0, 2**62)),
)
wildcards = st.builds(Wildcard, st.sampled_from(["", "field", "tag"]))
regexes = st.builds(Regex, patterns)
arithmetic = st.sampled_from("+-*/%&|^")
comparisons = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
functions = st.sampled_from(["mean", "count", "top", "derivative", "abs", "pow", "now", "nosuch", "distinct"])


def larger(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    args = st.lists(st.one_of(parts, wildcards, regexes), max_size=3).map(tuple)
    return st.one_of(
        st.builds(Binary, arithmetic, parts, parts), st.builds(Paren, parts), st.builds(Call, functions, args)
    )


values = st.recursive(st.one_of(refs, literals), larger, max_leaves=6)
questions = st.one_of(
    st.builds(Binary, comparisons, values, values), st.builds(Binary, st.sampled_from(["=~", "!~"]), refs, regexes)
)
conditions = st.recursive(
    questions,
    lambda parts: st.one_of(st.builds(Binary, st.sampled_from(["AND", "OR"]), parts, parts), st.builds(Paren, parts)),
    max_leaves=5,
)
measurements = st.one_of(
    st.builds(Measurement, st.one_of(st.just(""), names), st.one_of(st.just(""), names), names),
    st.builds(Measurement, regex=patterns),
)
dimensions = st.one_of(
    simple,
    wildcards,
    regexes,
    st.builds(Bucket, st.integers(0, 10**12), st.one_of(st.none(), st.integers(-(10**12), 10**12))),
    st.builds(Call, st.just("time"), st.lists(values, max_size=2).map(tuple)),
)


def selects(sources: st.SearchStrategy[Measurement | Select]) -> st.SearchStrategy[Select]:
    return st.builds(
        Select,
        fields=st.lists(
            st.builds(Field, st.one_of(values, wildcards, regexes), st.one_of(st.just(""), names)),
            min_size=1,
            max_size=3,
        ).map(tuple),
        sources=st.lists(sources, min_size=1, max_size=2).map(tuple),
        where=st.one_of(st.none(), conditions),
        dimensions=st.lists(dimensions, max_size=3).map(tuple),
        fill=st.sampled_from([None, "none", "previous", "linear", 0, -3, 1.5]),
        ordered=st.booleans(),
        descending=st.booleans(),
        limit=st.integers(0, 5),
        slimit=st.integers(0, 5),
        zone=st.sampled_from(["", "UTC", "Europe/Berlin"]),
    )


queries = selects(st.one_of(measurements, selects(measurements)))


@given(queries)
@settings(max_examples=300, deadline=None)
def test_what_is_printed_is_read_and_stays(select: Select) -> None:
    """A tree may lean otherwise than its text is read; what was read once stays as it is."""
    printed = text(select)
    again = parse(printed)
    assert text(again) == printed
    assert reread(again) == again


@given(queries, st.integers(-(2**62), 2**62), st.integers(0, 2**60))
@settings(max_examples=150, deadline=None)
def test_bounds_are_read_where_they_are_put(select: Select, start: int, length: int) -> None:
    select = reread(select)
    within = bounded(select, start, start + length)
    assert text(reread(within)) == text(within)
    bare = "" if select.where is None else f"{text(select.where)} AND "
    assert text(within).count(f"{bare}time >= ") >= 1


@given(queries)
@settings(max_examples=200, deadline=None)
def test_a_query_is_refused_or_taken_apart(select: Select) -> None:
    refused = refusal(reread(select))
    assert refused is None or str(refused)


crumbs = (
    "SELECT FROM WHERE GROUP BY AND OR AS ORDER LIMIT fill( tz( time ( ) [ , . .. :: : ; * / // /* */ -- - + = =~ !~ ! "
    "< > ' \" \\ 1 1.5 1m 1x $ $x a b 'x' \"y\" distinct field tag INTO SHOW"
)
pieces = st.one_of(st.sampled_from(crumbs.split()), st.text(max_size=3))


@given(st.lists(pieces, max_size=25).map(" ".join))
@settings(max_examples=500, deadline=None)
def test_broken_queries_are_told(query: str) -> None:
    check_text(query)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_told(data: bytes) -> None:
    check_text(data.decode("utf-8", "surrogateescape"))
    check_text(f"SELECT {data.decode('utf-8', 'surrogateescape')} FROM m")


@given(queries, st.data())
@settings(max_examples=200, deadline=None)
def test_queries_with_a_mistake_are_told(select: Select, data: st.DataObject) -> None:
    query = text(select)
    at = data.draw(st.integers(0, len(query)))
    check_text(query[:at] + data.draw(pieces) + query[at + data.draw(st.integers(0, 3)) :])


def check_text(query: str) -> None:
    """A query is read, or refused with a place in it."""
    size = len(query.encode("utf-8", "surrogateescape"))
    try:
        select = parse(query)
    except QueryError as error:
        assert 0 <= error.span.start <= error.span.stop <= size
        assert str(error)
    else:
        text(select)
