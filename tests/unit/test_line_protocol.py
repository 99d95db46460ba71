"""The parser of line protocol: every rule, its errors, and InfluxDB's own answers (tests/fixtures/lines)."""

from __future__ import annotations

import base64
import decimal
import gzip
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickc.runtime.batch import Rows
from tickc.runtime.kinds import Kind
from tickc.runtime.sources import Problems, SourceError, Wanted, line_protocol, parse_lines, scan
from tickc.runtime.sources.base import Codes
from tickc.runtime.sources.decimals import float_bits, power_table
from tickc.runtime.sources.line_protocol import LineParser, parse_blocks

FIXTURE = Path(__file__).parents[1] / "fixtures" / "lines" / "lines.json.gz"
Point = tuple[str, dict[str, str], dict[str, Any], int]


def points(rows: Rows) -> list[Point]:
    """Name, tags, fields and time of each row, without what it lacks."""
    return [
        (
            rows.name.at(i) or "",
            {k: v for k, t in rows.tags.items() if (v := t.at(i)) is not None},
            {k: v for k, c in rows.fields.items() if (v := c.at(i)) is not None},
            int(rows.time[i]),
        )
        for i in range(len(rows))
    ]


def parse(text: str | bytes, **options: Any) -> list[Point]:
    return points(parse_lines(text, **options))


def first_problem(text: str | bytes, **options: Any) -> str:
    problems = Problems()
    assert parse(text, problems=problems, **options) == []
    assert problems.total == 1
    return str(problems.first[0])


# --- what a line says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("1.5", 1.5), ("-2", -2.0), (".5", 0.5), ("5.", 5.0), ("-.5", -0.5), ("-0", -0.0), ("00012", 12.0),
        ("1e5", 1e5), ("1E-3", 1e-3), ("1e+5", 1e5), ("1e-400", 0.0), ("-1e-400", -0.0), ("0e999999999999", 0.0),
        ("17976931348623157e292", 1.7976931348623157e308), ("4.9e-324", 5e-324), ("2.5e-324", 5e-324),
        ("2.2250738585072011e-308", 2.2250738585072011e-308), ("2.2250738585072014e-308", 2.2250738585072014e-308),
        ("12345678901234567890123456789", 12345678901234567890123456789.0), ("0." + "0" * 40 + "1234", 1.234e-41),
        ("9007199254740993", 9007199254740992.0),
        ("9007199254740993.0000000000000000000000000001", 9007199254740994.0),
        ("1" + "0" * 300, 1e300), ("123456789.123456789", 123456789.123456789),
        ("1.2345678e+00000005", 123456.78), ("-1.2345678E5", -123456.78), ("1.2345678e-400", 0.0),
        ("9.876543210987654e-07", 9.876543210987654e-07), ("1.2345000e-22", 1.2345e-22),
        ("1234567812345678", 1234567812345678.0),
        ("5i", 5), ("-5i", -5), ("0i", 0), ("12345678i", 12345678), ("1234567812345678i", 1234567812345678),
        ("9223372036854775807i", 2**63 - 1), ("-9223372036854775808i", -(2**63)), ("00000000000000000000007i", 7),
        ("t", True), ("T", True), ("true", True), ("True", True), ("TRUE", True),
        ("f", False), ("F", False), ("false", False), ("False", False), ("FALSE", False),
        ('""', ""), ('"a b,c=d"', "a b,c=d"), (r'"say \"hi\""', 'say "hi"'), (r'"C:\\dir"', "C:\\dir"),
        (r'"a\nb\,"', r"a\nb\,"), ('"two\nlines"', "two\nlines"), ('"# no comment"', "# no comment"),
        ('"日本"', "日本"),
        ('"' + "long " * 100 + '"', "long " * 100),
        ('"a""b"', 'a""b'), ('"a"b"c"', 'a"b"c'), (r'"a"\"', 'a"\\'),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    [(_, _, fields, _)] = parse(f"m f={text} 1\n")
    found = fields["f"]
    assert type(found) is type(value) and found == value
    if isinstance(value, float):
        assert math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("cpu,host=a,dc=b v=1,w=2 5", ("cpu", {"host": "a", "dc": "b"}, {"v": 1.0, "w": 2.0}, 5)),
        ("cpu v=1 -5", ("cpu", {}, {"v": 1.0}, -5)),
        ("  \t cpu   v=1 \t 5   ", ("cpu", {}, {"v": 1.0}, 5)),
        (r"c\,p\ u\=,h\ o\=st\,=a\,b\ c\=d v=1 5", ("c,p u=", {"h o=st,": "a,b c=d"}, {"v": 1.0}, 5)),
        (r"c\pu,h\x=\y f\z=1 5", ("c\\pu", {"h\\x": "\\y"}, {"f\\z": 1.0}, 5)),
        (r'c\"pu a\,b\ c\=d\"="x" 5', ('c"pu', {}, {'a,b c=d"': "x"}, 5)),
        ('cpu,t="q" "f"=1 5', ("cpu", {"t": '"q"'}, {'"f"': 1.0}, 5)),
        ("cpu,t== v=1 5", ("cpu", {"t": "="}, {"v": 1.0}, 5)),
        ("=cpu v=1 5", ("=cpu", {}, {"v": 1.0}, 5)),
        ("日本,ø=ü é=1 5", ("日本", {"ø": "ü"}, {"é": 1.0}, 5)),
        ("cpu a=1,a=2i,b=1 5", ("cpu", {}, {"a": 2, "b": 1.0}, 5)),
        ("cpu v=1 00000000000000000000000005", ("cpu", {}, {"v": 1.0}, 5)),
        ("cpu v=1 9223372036854775806", ("cpu", {}, {"v": 1.0}, 2**63 - 2)),
        ("cpu v=1 1577836800000000000\r", ("cpu", {}, {"v": 1.0}, 1577836800000000000)),
    ],
)  # fmt: skip
def test_lines(line: str, point: Point) -> None:
    assert parse(line + "\n") == [point]


def test_blank_lines_and_comments() -> None:
    text = 'cpu v=1 1\n\n  \t\n# a "comment\n  # another\r\n\r\ncpu v=2 2\r\n\n'
    assert [time for *_, time in parse(text)] == [1, 2]


def test_last_line_needs_no_newline() -> None:
    assert parse("cpu v=1 1\ncpu v=2 2") == [("cpu", {}, {"v": 1.0}, 1), ("cpu", {}, {"v": 2.0}, 2)]


@pytest.mark.parametrize(
    ("precision", "unit"),
    [("ns", 1), ("n", 1), ("u", 1000), ("µ", 1000), ("us", 1000), ("ms", 10**6), ("s", 10**9), ("m", 60 * 10**9),
     ("h", 3600 * 10**9)],
)  # fmt: skip
def test_precision(precision: str, unit: int) -> None:
    assert [time for *_, time in parse("m v=1 7\nm v=1 -7\n", precision=precision)] == [7 * unit, -7 * unit]


def test_unknown_precision() -> None:
    with pytest.raises(SourceError, match="there is no precision d"):
        parse("m v=1 7", precision="d")


def test_default_time_stands_for_missing_timestamps() -> None:
    assert [time for *_, time in parse("m v=1\nm v=1  \nm v=1 7\n", default_time=3)] == [3, 3, 7]


# --- what is wrong with a line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (",host=a v=1 1", 1, "missing measurement"),
        ("cpu", 4, "missing fields"),
        ("cpu,host=a", 11, "missing fields"),
        ("cpu ", 5, "missing fields"),
        ("cpu, v=1 1", 5, "missing tag key"),
        ("cpu,=a v=1 1", 5, "missing tag key"),
        ("cpu,host v=1 1", 9, "missing tag value"),
        ("cpu,host= v=1 1", 10, "missing tag value"),
        ("cpu,host=,b=c v=1 1", 10, "missing tag value"),
        ("cpu,host=a=b v=1 1", 11, "`=` in a tag value without a backslash before it"),
        ("cpu,a=1,b=2,a=3 v=1 1", 13, "duplicate tags"),
        ("cpu =1 1", 5, "missing field key"),
        ("cpu v=1, 1", 9, "missing field key"),
        ("cpu v=1,=2 1", 9, "missing field key"),
        ("cpu v 1", 6, "missing `=` after the field key"),
        ("cpu v=1,w 1", 10, "missing `=` after the field key"),
        (r"cpu v\\=1 1", 8, "missing `=` after the field key"),
        ("cpu v= 1", 7, "missing field value"),
        ("cpu v=", 7, "missing field value"),
        ("cpu v=,w=1 1", 7, "missing field value"),
        ("cpu v=1.1.1 1", 10, "invalid number"),
        ("cpu v=1x 1", 8, "invalid number"),
        ("cpu v=- 1", 8, "invalid number"),
        ("cpu v=. 1", 8, "invalid number"),
        ("cpu v=1e 1", 9, "invalid number"),
        ("cpu v=1.5i 1", 10, "invalid number"),
        ("cpu v=1i2 1", 9, "invalid number"),
        ("cpu v=+1 1", 7, "invalid number"),
        ("cpu v=NaN 1", 7, "invalid number"),
        ("cpu v=1e400 1", 7, "number out of range"),
        ("cpu v=17976931348623159e292 1", 7, "number out of range"),
        ("cpu v=9223372036854775808i 1", 7, "number out of range"),
        ("cpu v=-9223372036854775809i 1", 7, "number out of range"),
        ("cpu v=99999999999999999999i 1", 7, "number out of range"),
        ("cpu v=1u 1", 8, "unsigned integers are not part of InfluxDB 1.x"),
        ("cpu v=tru 1", 7, "invalid boolean"),
        ("cpu v=tRUE 1", 7, "invalid boolean"),
        ("cpu v=FALSe 1", 7, "invalid boolean"),
        ("cpu v=yes 1", 7, "invalid value"),
        ('cpu v="a 1', 7, "a string without its closing quote"),
        ('cpu v="a"b 1', 10, "text after the closing quote"),
        ('cpu v="a""b" x 1', 14, "invalid timestamp"),
        ('cpu v="a"="b" 1', 10, "text after the closing quote"),
        ('cpu v="a"\\,"b" 1', 10, "text after the closing quote"),
        ("cpu v=1 x", 9, "invalid timestamp"),
        ("cpu v=1 -", 10, "invalid timestamp"),
        ("cpu v=1 1.5", 10, "invalid timestamp"),
        ("cpu v=1 1 2", 11, "text after the timestamp"),
        ("cpu v=1 9223372036854775807", 9, "timestamp out of range"),
        ("cpu v=1 -9223372036854775808", 9, "timestamp out of range"),
        ("cpu v=1 99999999999999999999", 9, "timestamp out of range"),
        ("cpu v=1", 8, "missing timestamp"),
        ("日本,é=ü v=x 1", 10, "invalid value"),
        ("cpu,h=" + "x" * 65536 + " v=1 1", 1, "measurement, tags and field key are longer than 65535 bytes"),
        ("cpu " + "x" * 65536 + "=1 1", 5, "measurement, tags and field key are longer than 65535 bytes"),
        ("cpu" + "".join(f",t{i}=v" for i in range(1001)) + " v=1 1", None, "more than 1000 tags"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_malformed(line: str, column: int | None, reason: str, ending: str) -> None:
    message = first_problem(line + ending)
    assert f": {reason}" in message
    if column is not None:
        assert f"line 1 char {column}: " in message


@pytest.mark.parametrize("bad", [b"c\xffpu v=1 1", b"cpu,t=\xc3 v=1 1", b"cpu v\xed\xa0\x80=1 1", b'cpu v="\xf5" 1'])
def test_text_that_is_not_utf8(bad: bytes) -> None:
    assert "text that is not UTF-8" in first_problem(bad)


def test_text_that_is_not_utf8_counts_in_columns_that_are_not_read_too() -> None:
    assert "text that is not UTF-8" in first_problem(b'cpu v="\xf5",w=1 1', wanted=Wanted(None, {"w"}))


def test_neighbours_of_malformed_lines_stay() -> None:
    bad = ["cpu v=", 'cpu v="open 3', "cpu,h v=1 1", "cpu v=1,w=2,x= 5", "cpu\\"]
    text = "".join(f"cpu v={i},w={i}i {i}\n{line}\n" for i, line in enumerate(bad)) + 'cpu v=9,w="end" 9\n'
    problems = Problems()
    found = parse(text, problems=problems)
    good: list[Point] = [("cpu", {}, {"v": float(i), "w": i}, i) for i in range(5)]
    assert found == [*good, ("cpu", {}, {"v": 9.0, "w": "end"}, 9)]
    assert problems.total == 5
    assert [p.line for p in problems.first] == [2, 4, 6, 8, 10]


def test_a_malformed_point_over_two_lines_loses_its_first_line_only() -> None:
    problems = Problems()
    text = 'cpu v="open 1\ncpu v="x" 2\ncpu v=3 3\n'
    assert [time for *_, time in parse(text, problems=problems)] == [2, 3]
    assert problems.total == 1


@pytest.mark.parametrize("line", ['m s="a\nb",t=true,f=1e5,i=7i,u="" 12\n', 'm s="\n" 1\n'])
def test_a_string_over_lines_may_be_cut_anywhere(line: str) -> None:
    text = line.encode()
    for at in range(len(text)):
        problems = Problems()
        parser = LineParser("x", Wanted(), Codes(), problems)
        found = [p for rows in parse_blocks(parser, [text[:at], text[at:]]) for p in points(rows)]
        assert found == parse(text) and not problems


def test_lines_within_strings_count() -> None:
    problems = Problems()
    parse('cpu v="a\nb\nc" 1\ncpu v=x 2\n', problems=problems)
    assert (problems.first[0].line, problems.first[0].column) == (4, 7)


def test_ten_problems_are_kept_and_all_counted() -> None:
    problems = Problems()
    parse("bad\n" * 7 + "cpu v=1\n" * 8, problems=problems)
    assert problems.counts == {"missing fields": 7, "missing timestamp": 8}
    assert [p.line for p in problems.first] == list(range(1, 11))


# --- columns --------------------------------------------------------------------------------------------------------


def test_a_field_that_changes_type() -> None:
    rows = parse_lines('m v=1 1\nm v=2i 2\nm v="x" 3\nm v=t 4\nm w=1 5\n')
    column = rows.fields["v"]
    assert list(column.kinds_array()) == [Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL, Kind.MISSING]
    assert [column.at(i) for i in range(5)] == [1.0, 2, "x", True, None]
    assert parse_lines("m v=1 1\nm v=2 2\n").fields["v"].kinds is Kind.FLOAT


def test_projection_and_measurements() -> None:
    text = 'cpu,a=1,b=2 u=1,v=2,s="x" 1\nmem,a=1 u=3 2\nmem u="a\nb" 3\ncpu u=bad 4\ndisk x=1\ncpu v=5 5\n'
    problems = Problems()
    wanted = Wanted({"b"}, {"u"}, {"cpu"})
    assert parse(text, wanted=wanted, problems=problems) == [
        ("cpu", {"b": "2"}, {"u": 1.0}, 1),
        ("cpu", {}, {}, 5),
    ]
    assert problems.counts["invalid value"] == 1
    many = text * 300
    assert len(parse_lines(many, wanted=wanted)) == 600


def test_lines_of_other_series_are_not_parsed() -> None:
    text = (
        'mem u=bad 1\ncpu,h=a v=1 1\ncpu,h=b v=bad 2\ncpu v=2 3\ncpu,h=a s="a\nb" 4\ncpu,h=b s="a\ncpu,h=a v=9 9" 5\n'
    )
    problems = Problems()
    wanted = Wanted(measurements={"cpu"}, predicate=(("h", "==", "a"),))
    assert [time for *_, time in parse(text, wanted=wanted, problems=problems)] == [1, 3, 4]
    other = Wanted(measurements={"cpu"}, predicate=(("h", "!=", "a"),))
    assert [time for *_, time in parse(text, wanted=other, problems=problems)] == [3, 5]
    assert problems.counts == {"invalid value": 1}


def test_a_key_with_backslashes_is_parsed_whoever_wants_it() -> None:
    text = r"c\ u,h=a v=1 1" + "\n" + r"cpu,h=a\,b v=1 2" + "\n" + r"cp\u v=x 3" + "\n"
    problems = Problems()
    wanted = Wanted(measurements={"cpu"}, predicate=(("h", "==", "a,b"),))
    assert [time for *_, time in parse(text, wanted=wanted, problems=problems)] == [2]
    assert problems.total == 1


@pytest.mark.parametrize(
    ("predicate", "times"),
    [
        (("v", ">", 1.0), [2, 3, 4, 5]), (("v", "<=", 1.0), [1, 3, 4, 5]), (("v", "==", 2.0), [2, 3, 4, 5]),
        (("v", "!=", 2.0), [1, 3, 4, 5]), (("v", "<", 1.0), [3, 4, 5]), (("v", ">=", 1.0), [1, 2, 3, 4, 5]),
        (("v", ">=", 4), [1, 2, 4, 5]), (("v", "==", True), [1, 2, 3, 5]), (("v", "==", "x"), [1, 2, 3, 4, 5]),
    ],
)  # fmt: skip
def test_rows_that_cannot_pass_are_left_out(predicate: Any, times: list[int]) -> None:
    text = "m v=1 1\nm v=2 2\nm v=3i 3\nm v=f 4\nm w=1 5\n"
    assert [time for *_, time in parse(text, wanted=Wanted(predicate=(predicate,)))] == times


def test_a_row_that_is_left_out_leaves_nothing_behind() -> None:
    rows = parse_lines("m v=1,w=2 1\nm v=5 2\n", wanted=Wanted(predicate=(("v", ">", 3.0),)))
    assert points(rows) == [("m", {}, {"v": 5.0}, 2)]


def test_codes_stay_across_batches() -> None:
    text = "".join(f"cpu,host=h{i % 7} v={i} {i}\n" for i in range(100)).encode()
    parser = LineParser("x", Wanted(), Codes(), Problems(), batch_rows=16)
    batches = list(parse_blocks(parser, [text]))
    assert [len(b) for b in batches] == [16] * 6 + [4]
    assert len({id(b.tags["host"].vocabulary) for b in batches}) == 1
    assert [h for b in batches for h in b.tags["host"].tolist()] == [f"h{i % 7}" for i in range(100)]


def test_many_fields_series_and_strings_make_tables_grow() -> None:
    lines = [f'm{i % 50},t{i % 90}=v{i} f{i}={i},g="text {i}",h{i % 33}={i}i {i}' for i in range(700)]
    found = parse("\n".join(lines))
    assert len(found) == 700
    for i, point in enumerate(found):
        assert point == (f"m{i % 50}", {f"t{i % 90}": f"v{i}"}, {f"f{i}": i, "g": f"text {i}", f"h{i % 33}": i}, i)


@pytest.mark.parametrize("odd", ["", "é日本😀", r"q\"uo"])
def test_many_strings(odd: str) -> None:
    texts = [f"text {i} {odd}" for i in range(3000)]
    rows = parse_lines("".join(f'm s="{text}" {i}\n' for i, text in enumerate(texts * 2)))
    found = rows.fields["s"].data[Kind.STRING]
    assert found.tolist() == [text.replace("\\", "") for text in texts] * 2
    assert len(found.vocabulary) == 3000


def test_two_spellings_of_a_field_and_of_a_string() -> None:
    rows = parse_lines(r"m a\"b=1 1" + "\n" + 'm a"b=2 2\n' + r'm s="\x" 3' + "\n" + r'm s="\\x" 4' + "\n")
    assert rows.fields['a"b'].only(Kind.FLOAT) is None
    assert [rows.fields['a"b'].at(i) for i in (0, 1)] == [1.0, 2.0]
    text = rows.fields["s"].data[Kind.STRING]
    assert text.codes[2] == text.codes[3] and text.at(2) == "\\x"


# --- against InfluxDB and Python ------------------------------------------------------------------------------------


def known_difference(line: bytes, problems: Problems, refused: bool) -> bool:
    """Whether line_protocol.py says that it reads such a line otherwise.

    InfluxDB also cuts a text into lines, and fields into keys and values, by rules that differ a little from those by
    which it checked them before.
    """
    reasons = set(problems.counts)
    return (
        "text after the closing quote" in reasons
        or ("missing `=` after the field key" in reasons and (rb"\\=" in line or b'"' in line))
        or "text that is not UTF-8" in reasons
        or ((bool(reasons) or refused) and b"\n" in line)
    )


def test_as_influxdb_parses() -> None:
    cases = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    good = 0
    for encoded, expected, refused in cases:
        line = base64.b64decode(encoded)
        problems = Problems()
        rows = parse_lines(line, default_time=0, problems=problems)
        found = []
        for i in range(len(rows)):
            fields = {k: (Kind(int(c.kinds_array()[i])).name, c.at(i)) for k, c in rows.fields.items()}
            found.append((rows.name.at(i), points(rows.take(slice(i, i + 1)))[0][1],
                          {k: v for k, v in fields.items() if v[0] != "MISSING"}, int(rows.time[i])))  # fmt: skip
        wanted = [(p["Name"], p["Tags"], {k: _value(*v) for k, v in p["Fields"].items()}, int(p["Time"]))
                  for p in expected or []]  # fmt: skip
        good += len(found)
        if not known_difference(line, problems, refused):
            assert repr(sorted_fields(found)) == repr(sorted_fields(wanted)), line
    assert good > 2000


def sorted_fields(found: list[Any]) -> list[Any]:
    return [(name, sorted(tags.items()), sorted(fields.items()), time) for name, tags, fields, time in found]


def _value(kind: str, text: str) -> tuple[str, Any]:
    made: dict[str, Any] = {"FLOAT": float, "INT": int, "STRING": str, "BOOL": lambda t: t == "true"}
    return kind, made[kind](text)


def test_floats_are_correctly_rounded() -> None:
    rng = np.random.default_rng(3)
    texts = [f"{m}e{e}" for m, e in zip(rng.integers(1, 2**63, 3000), rng.integers(-345, 300, 3000))]
    texts += [repr(x) for x in rng.integers(0, 0x7FEFFFFFFFFFFFFF, 3000).view(np.float64).tolist()]
    # half-way between two floats, and a little beside it
    for bits in rng.integers(0x3FF0000000000000, 0x4340000000000000, 300).tolist():
        low, high = struct.unpack("<2d", struct.pack("<2q", bits, bits + 1))
        with decimal.localcontext(decimal.Context(prec=200)):
            exact = f"{(decimal.Decimal(low) + decimal.Decimal(high)) / 2:f}"
        texts += [exact, exact + "0001", exact[:-1]]
    kept = [t for t in texts if math.isfinite(float(t))]
    rows = parse_lines("".join(f"m v={t} {i}\n" for i, t in enumerate(kept)))
    expected = np.array([float(t) for t in kept])
    assert np.array_equal(rows.fields["v"].data[Kind.FLOAT].view(np.int64), expected.view(np.int64))


@pytest.mark.parametrize("compiled", [False, True])
def test_long_decimals_are_correctly_rounded(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiled:
        monkeypatch.setattr(line_protocol, "INTERPRET", -1)
        monkeypatch.setattr(line_protocol, "INTERPRET_COLD", -1)
    rng = np.random.default_rng(4)
    digits = ["".join(map(str, row)) for row in rng.integers(0, 10, (400, 24)).tolist()]
    digits += ["0" * 24, "9" * 24, "5" + "0" * 23, "00125" + "0" * 19, "9007199254740993" + "0" * 8]
    shapes = [(whole, places) for whole in range(9) for places in range(16) if whole or places]
    texts = [f"{d[:w]}.{d[w : w + n]}" for d in digits for w, n in shapes]
    texts += [f"-{text}" for text in texts[::7]] + [f"{text}e{len(text) - 9}" for text in texts[::11]]
    rows = parse_lines("".join(f"m v={text} {i}\n" for i, text in enumerate(texts)))
    expected = np.array([float(text) for text in texts])
    assert np.array_equal(rows.fields["v"].data[Kind.FLOAT].view(np.int64), expected.view(np.int64))


@pytest.mark.parametrize(
    "bad",
    [
        "1.234567.8",
        "1.2345678x",
        "1.2345678i",
        "1.234567890123456x",
        "1.2345678-1",
        "-.-234567",
        "1.2345678e",
        "1.2345678e+",
        "1.2345678e--5",
        "1.2345678e5i",
    ],
)
def test_what_begins_as_a_long_decimal(bad: str) -> None:
    for text in (f"m v={bad} 5\n", f"m v={bad},w=1 5\n"):
        assert "invalid number" in first_problem(text)
        assert "invalid number" in first_problem(text, wanted=Wanted(fields=("w",)))
    assert "number out of range" in first_problem("m v=1.2345678e999 5\n")
    assert parse("m v=1.23456789,w=1 5\n", wanted=Wanted(fields=("w",))) == [("m", {}, {"w": 1.0}, 5)]


def test_float_bits_says_where_it_cannot_tell() -> None:
    with np.errstate(all="ignore"):
        assert float_bits.function(np.uint64(1), 348, power_table()) == -1
        assert float_bits.function(np.uint64(0), 5, power_table()) == 0


def test_machine_code_reads_as_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = json.loads(gzip.decompress(FIXTURE.read_bytes()))
    text = b"\n".join(base64.b64decode(c[0]) for c in cases)
    interpreted, compiled = Problems(), Problems()
    expected = parse_lines(text, default_time=0, problems=interpreted)
    monkeypatch.setattr(line_protocol, "INTERPRET", -1)
    monkeypatch.setattr(line_protocol, "INTERPRET_COLD", -1)
    found = parse_lines(text, default_time=0, problems=compiled)
    assert scan.scan_lines._machine is not None
    assert repr(points(found)) == repr(points(expected))
    assert interpreted == compiled and interpreted.total > 1000


def test_as_the_c_parser_reads_floats_and_ints() -> None:
    oracle = pytest.importorskip("line_protocol_parser")
    lines = [f"m,t=a v={i / 7!r},w={i * 977}i {i}" for i in range(50)]
    for point, line in zip(parse("\n".join(lines)), lines):
        found = oracle.parse_line(line)
        assert point == (found["measurement"], found["tags"], found["fields"], found["time"])
