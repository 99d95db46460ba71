"""Text forms and parsers against what Go writes and reads (tests/fixtures/go/text.json.gz)."""

from __future__ import annotations

import gzip
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickc.runtime import gotext
from tickc.runtime.builtins import EvalError
from tickc.runtime.gotemplate.gotime import GoTime

GO: dict[str, Any] = json.loads(
    gzip.decompress(Path(__file__, "../../fixtures/go/text.json.gz").resolve().read_bytes())
)


def from_bits(text: str) -> float:
    return struct.unpack("<d", int(text, 16).to_bytes(8, "little"))[0]


def from_bytes(text: str) -> str:
    """The string whose bytes the fixture lists as characters."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def outcome(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except EvalError as error:
        return str(error)


FLOATS = [from_bits(row[0]) for row in GO["floats"]]


def test_floats_one_by_one() -> None:
    for x, row in zip(FLOATS, GO["floats"], strict=True):
        assert [gotext.format_float_g(x), gotext.format_float_f(x)] == row[1:3]
        if row[3] is not None:
            assert gotext.format_float_json(x) == row[3]


@pytest.fixture(params=["one by one", "by Arrow"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How arrays of values are written."""
    monkeypatch.setattr(gotext._spared, "few", lambda n: request.param == "one by one")
    return str(request.param)


def test_floats_as_arrays(way: str) -> None:
    assert gotext.floats_f(np.array(FLOATS)) == [row[2] for row in GO["floats"]]
    assert gotext.floats_json(np.array(FLOATS)) == [row[3] for row in GO["floats"]]
    assert gotext.floats_f(np.array([])) == []


def test_arrow_and_python_choose_the_same_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gotext._spared, "few", lambda n: False)
    values = np.random.default_rng(7).integers(0, 2**63, 20_000).view(np.float64)
    values = np.concatenate([values, np.random.default_rng(8).random(20_000) * 1e6])
    assert gotext.floats_f(values) == [gotext.format_float_f(x) for x in values.tolist()]


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="json: unsupported value: NaN"):
        gotext.format_float_json(math.nan)


def test_durations() -> None:
    for ns, go, influx in GO["durations"]:
        assert gotext.format_duration_go(int(ns)) == go
        assert gotext.format_duration_influx(int(ns)) == influx


def test_duration_parser() -> None:
    for text, ns, error in GO["durationParses"]:
        assert outcome(gotext.parse_duration_influx, from_bytes(text)) == (error or int(ns)), text


def test_times() -> None:
    for ns, default, rfc3339, _, *layouts in GO["times"]:
        assert gotext.format_time_default(int(ns)) == default
        assert gotext.format_time_rfc3339nano(int(ns)) == rfc3339
        for layout, text in zip(GO["layouts"], layouts):
            assert GoTime(int(ns)).format(layout) == text, layout


def test_times_as_arrays(way: str) -> None:
    times = np.array([int(row[0]) for row in GO["times"]])
    assert gotext.times_rfc3339nano(times) == [row[2] for row in GO["times"]]
    whole = times // 10**9 * 10**9
    whole = whole[whole < times]
    assert gotext.times_rfc3339nano(whole) == [gotext.format_time_rfc3339nano(t) for t in whole]
    assert gotext.times_rfc3339nano(times[:0]) == []


def test_far_years() -> None:
    assert gotext.format_time_rfc3339nano(253402300800 * 10**9) == "10000-01-01T00:00:00Z"
    assert gotext.format_time_rfc3339nano(-62135596800 * 10**9) == "0001-01-01T00:00:00Z"
    assert gotext.format_time_default(-62135596801 * 10**9) == "0000-12-31 23:59:59 +0000 UTC"


def test_float_parser() -> None:
    for text, bits, error in GO["floatParses"]:
        got = outcome(gotext.parse_float, from_bytes(text))
        want = from_bits(bits)
        if error:
            assert got == from_bytes(error)
        else:
            assert (math.isnan(got) and math.isnan(want)) or struct.pack("d", got) == struct.pack("d", want), text


def test_int_parser() -> None:
    for text, number, error in GO["intParses"]:
        assert outcome(gotext.parse_int, from_bytes(text)) == (from_bytes(error) if error else int(number))


def test_quote() -> None:
    for text, quoted in GO["quotes"]:
        assert gotext.quote(from_bytes(text)) == from_bytes(quoted)
