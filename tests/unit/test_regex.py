"""Regular expressions against Go's (tests/fixtures/go/regex.json.gz)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tickc.runtime.regex import compile_regex

FIXTURE = Path(__file__).parents[1] / "fixtures/go/regex.json.gz"
GO: dict[str, Any] = json.loads(gzip.decompress(FIXTURE.read_bytes()))


def from_bytes(text: str) -> str:
    """The string whose bytes the fixture lists as characters."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def message(pattern: str) -> str | None:
    try:
        compile_regex(pattern)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("pattern", "error"), GO["patterns"])
def test_errors(pattern: str, error: str | None) -> None:
    assert message(from_bytes(pattern)) == (error and from_bytes(error))


def test_matches_and_replacements() -> None:
    templates, rows = GO["replaces"]
    for pattern, text, matches, results in rows:
        regex = compile_regex(from_bytes(pattern))
        assert regex.search(from_bytes(text)) == matches, (pattern, text)
        used = templates if len(results) == len(templates) else [templates[0], "<$1>"]
        for template, result in zip(used, results, strict=True):
            got = regex.replace_all(from_bytes(text), from_bytes(template))
            assert got == from_bytes(result), (pattern, text, template)


def test_limits() -> None:
    assert message("(" * 999 + ")" * 999) is None
    assert str(message("(" * 1001 + ")" * 1001)).startswith("error parsing regexp: expression nests too deeply: `((")
    assert message("((a{10}){10}){10}") is None
    assert message("((a{10}){10}){11}") == "error parsing regexp: invalid repeat count: `{11}`"
    assert message(r"(\pL{20}|\pN{20})" * 20) is None


def test_linear_time() -> None:
    assert not compile_regex("(a*)*b").search("a" * 100_000)


def test_bytes_that_are_no_utf8() -> None:
    assert compile_regex("^a.b$").search("a\udcffb")
    assert compile_regex("é").replace_all("\udcffé\udcc3", "\udcc3") == "\udcff\udcc3\udcc3"
    assert compile_regex("x").replace_all("\udcc3x", "\udca9") == "é"


def test_no_match_between_the_bytes_of_a_character() -> None:
    assert not compile_regex(r"\B").search("aéa")
    assert compile_regex(r"\B").search("aéé")
    assert compile_regex(r"\B").replace_all("aéééa", "-") == "aé-é-éa"
