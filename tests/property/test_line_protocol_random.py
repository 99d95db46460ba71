"""Random points written as line protocol and read back; broken text; text cut anywhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.rowtext import lines
from tickc.runtime.sources import Problems, Wanted, parse_lines
from tickc.runtime.sources.base import Codes
from tickc.runtime.sources.line_protocol import LineParser, parse_blocks

Point = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], int]

# no backslashes, newlines and NULs in keys, which line protocol cannot write so that they read the same
keys = st.text(st.characters(exclude_characters="\\\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=6)
names = keys.filter(lambda t: t[0] not in "#\t " and not t.isspace())
strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    strings,
)
times = st.integers(-(2**63) + 2, 2**63 - 2)
points = st.tuples(
    names,
    st.dictionaries(keys.filter(lambda t: t[0] != "="), keys, max_size=3),
    st.dictionaries(keys.filter(lambda t: t[0] not in "\t "), values, min_size=1, max_size=4),
    times,
)


def rows_of(made: list[tuple[str, dict[str, str], dict[str, Any], int]]) -> Rows:
    tags = {k: None for _, t, _, _ in made for k in t}
    fields = {k: None for _, _, f, _ in made for k in f}
    n = len(made)
    return Rows(
        np.array([time for *_, time in made], np.int64),
        Text.of(name for name, *_ in made),
        Text.constant("", n),
        Text.constant("", n),
        {k: Text.of(t.get(k) for _, t, _, _ in made) for k in tags},
        {k: Column.of_values([f.get(k) for _, _, f, _ in made]) for k in fields},
    )


def shown(rows: Rows) -> list[Point]:
    """Each row so that equal ones compare equal: values with their types, floats to the bit."""
    return [
        (
            rows.name.at(i) or "",
            tuple(sorted((k, v) for k, t in rows.tags.items() if (v := t.at(i)) is not None)),
            tuple(sorted((k, repr(v)) for k, c in rows.fields.items() if (v := c.at(i)) is not None)),
            int(rows.time[i]),
        )
        for i in range(len(rows))
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(points, min_size=1, max_size=6))
def test_what_is_written_is_read(made: list[Any]) -> None:
    rows = rows_of(made)
    problems = Problems()
    text = "\n".join(lines(rows)) + "\n"
    assert shown(parse_lines(text, problems=problems)) == shown(rows)
    assert not problems


@settings(max_examples=150, deadline=None)
@given(st.lists(points, min_size=1, max_size=6), st.data())
def test_text_cut_anywhere_gives_the_same_rows(made: list[Any], data: st.DataObject) -> None:
    text = ("\n".join(lines(rows_of(made))) + "\nbroken\n# comment\n\n").encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    blocks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    whole, cut = Problems(), Problems()
    expected = shown(parse_lines(text, problems=whole))
    parser = LineParser("<text>", Wanted(), Codes(), cut, batch_rows=data.draw(st.integers(1, 7)))
    assert [p for rows in parse_blocks(parser, blocks) for p in shown(rows)] == expected
    assert cut == whole


fragments = st.sampled_from([*' ,="\\\n\r\t#', "i", "u", "e", "-", ".", "9" * 20, '"x"', "\x00", "é", "t"])


@settings(max_examples=300, deadline=None)
@given(points, st.lists(st.tuples(st.floats(0, 1), fragments, st.integers(0, 2)), min_size=1, max_size=3))
def test_a_broken_line_harms_nobody_else(made: Any, changes: list[tuple[float, str, int]]) -> None:
    [line] = lines(rows_of([made]))
    for where, fragment, drop in changes:
        at = math.floor(where * len(line))
        line = line[:at] + fragment + line[at + drop :]
    problems = Problems()
    rows = parse_lines(f"first v=1 1\n{line}\nlast v=2 2\n", problems=problems)
    found = shown(rows)
    assert found[0] == ("first", (), (("v", "1.0"),), 1)
    open_quote = line.count('"') % 2 == 1 or "\\" in line
    assert found[-1] == ("last", (), (("v", "2.0"),), 2) or open_quote
    assert len(problems.first) == min(10, problems.total)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_lines_or_problems(text: bytes, recording: bool) -> None:
    problems = Problems()
    parser = LineParser("<text>", Wanted(), Codes(), problems, default_time=0, recording=recording)
    for rows in parse_blocks(parser, [text]):
        assert len(rows.time) == len(rows.name)
    assert all((p.line or 0) >= 1 and (p.column or 0) >= 1 for p in problems.first)


@settings(max_examples=100, deadline=None)
@given(st.lists(points, min_size=1, max_size=5), st.data())
def test_projection_reads_the_same(made: list[Any], data: st.DataObject) -> None:
    rows = rows_of(made)
    text = "\n".join(lines(rows)) + "\n"
    fields = data.draw(st.sets(st.sampled_from(sorted(rows.fields))))
    tags = data.draw(st.sets(st.sampled_from(sorted(rows.tags)))) if rows.tags else set()
    found = parse_lines(text, wanted=Wanted(tags, fields))
    kept = rows.with_(tags={k: rows.tags[k] for k in tags}, fields={k: rows.fields[k] for k in fields})
    assert shown(found) == shown(kept)
