"""Source, Span, the renderer, the codes and hints; the rendered form of each syntax error (tests/diagnostics)."""

from pathlib import Path

import pytest

from tickc.compiler.diagnostics import (
    CODES,
    FAMILIES,
    T101,
    T204,
    T305,
    Source,
    Span,
    TickError,
    did_you_mean,
    explain_all,
    go_quote,
    render,
    render_all,
)
from tickc.compiler.syntax import parse

ROOT = Path(__file__).parents[2]
CASES = sorted((ROOT / "tests" / "diagnostics").glob("T1*.tick"))


def test_line_and_char_count_bytes_from_the_newline() -> None:
    source = Source("aé\nbc\n")
    assert [source.line_char(i) for i in (0, 1, 3, 4, 5, 6, 7)] == [
        (1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 3), (3, 1),
    ]  # fmt: skip
    assert [source.line_bytes(line).decode() for line in (1, 2, 3)] == ["aé", "bc", ""]
    assert source.snippet(Span(1, 3)) == "é"


def test_render() -> None:
    source = Source("stream\n    |window()\n        .every('1m')\n", "cpu_alert.tick")
    start = source.text.index("'1m'")
    message = "`every` takes a duration, and this is a string"
    diagnostic = T204.at(Span(start, start + 4), message, note="a string", hint="write it without quotes: .every(1m)")
    assert render(diagnostic, source) == (
        "error[T204]: line 3 char 16: `every` takes a duration, and this is a string\n"
        "  ┌─ cpu_alert.tick\n"
        "3 │         .every('1m')\n"
        "  │                ^^^^ a string\n"
        "  = hint: write it without quotes: .every(1m)\n"
    )
    assert diagnostic.text(source) == f"line 3 char 16: {message}"


def test_render_without_a_place() -> None:
    assert render(T305.at(None, hint="begin with stream"), Source("", "a.tick")) == (
        "error[T305]: the script does nothing\n  --> a.tick\n  = hint: begin with stream\n"
    )


@pytest.mark.parametrize(
    ("text", "find", "line", "caret"),
    [
        ("\ta\tb", "b", "1 │     a   b", "  │         ^"),
        ("'日本' b", "b", "1 │ '日本' b", "  │        ^"),
        ("'e\u0301' b", "b", "1 │ 'e\u0301' b", "  │     ^"),
        ("a\x1b[1m b", "b", "1 │ a\ufffd[1m b", "  │       ^"),
        ("a b\r\nc", "b", "1 │ a b", "  │   ^"),
    ],
)
def test_the_caret_stands_under_its_place(text: str, find: str, line: str, caret: str) -> None:
    start = len(text[: text.index(find)].encode())
    assert render(T101.at(Span(start, start + 1)), Source(text)).splitlines()[2:4] == [line, caret]


@pytest.mark.parametrize("at", [0, 3, 60, 250, 499])
def test_long_lines_are_clipped_around_the_caret(at: int) -> None:
    text = "".join("0123456789"[i % 10] for i in range(500))
    line, caret = render(T101.at(Span(at, at + 1)), Source(text)).splitlines()[2:4]
    column = caret.index("^")
    assert line[column] == text[at] and caret.count("^") == 1
    assert len(line) <= 110


@pytest.mark.parametrize(("start", "stop"), [(0, 900), (300, 900), (899, 2000), (900, 900)])
def test_spans_longer_than_the_line(start: int, stop: int) -> None:
    lines = render(T101.at(Span(start, stop)), Source("x" * 900 + "\nsecond")).splitlines()
    assert len(lines) == 4 and 1 <= lines[3].count("^") <= 110


def test_a_long_message_is_clipped() -> None:
    assert len(render(T101.at(None, "x" * 100_000), Source(""))) < 2000


def test_tick_error_shows_every_diagnostic() -> None:
    source = Source("a b")
    diagnostics = [T101.at(Span(0, 1), "one"), T101.at(Span(2, 3), "two")]
    assert str(TickError(diagnostics, source)) == render_all(diagnostics, source)
    assert str(TickError(diagnostics)) == "error[T101]: one\nerror[T101]: two"
    with pytest.raises(ValueError):
        TickError([])


def test_did_you_mean() -> None:
    names = ["measurement", "groupBy", "where", "period", "periodCount"]
    assert did_you_mean("measurment", names) == "did you mean `measurement`?"
    assert did_you_mean("groupby", names) == "did you mean `groupBy`?"
    assert did_you_mean("Period", names) == "did you mean `period`?"
    assert did_you_mean("period", names) is None
    assert did_you_mean("frobnicate", names) is None


def test_go_quote() -> None:
    assert go_quote("08") == '"08"'
    assert go_quote('a"\\\n\x00é\u200b\U000e0001') == '"a\\"\\\\\\n\\x00é\\u200b\\U000e0001"'
    assert go_quote("'", quote="'") == "'\\''"


def test_codes_are_complete() -> None:
    assert all(any(name.startswith(family) for family in FAMILIES) for name in CODES)
    assert all(code.title[0].islower() and not code.title.endswith(".") for code in CODES.values())
    assert all(code.explanation.endswith(".") for code in CODES.values())


def test_errors_page_is_current() -> None:
    """To refresh it, write `explain_all()` to the file."""
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == explain_all()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_messages(path: Path, request: pytest.FixtureRequest) -> None:
    """The comment at the top of the file is what the rest of it gives, line numbers counted from the file's first."""
    script = path.read_text(encoding="utf-8")
    head, _, body = script.partition("\n\n")
    with pytest.raises(TickError) as caught:
        parse(Source("\n" * (head.count("\n") + 2) + body, path.name))
    message = "\n".join(f"// {line}".rstrip() for line in str(caught.value).rstrip("\n").splitlines())
    if request.config.getoption("--update", default=False):
        path.write_text(f"{message}\n\n{body}", encoding="utf-8")
    else:
        assert message == head


def test_each_syntax_code_has_a_case() -> None:
    written = {path.stem.partition("_")[0] for path in CASES}
    assert {name for name in CODES if name.startswith("T1")} - {"T107"} == written
