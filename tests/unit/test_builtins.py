"""Lambda functions against Go (tests/fixtures/go): numbers to the last bit, interpreted, compiled and on arrays."""

from __future__ import annotations

import gzip
import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickc.runtime import builtins, gotext
from tickc.runtime.builtins import Builtin, EvalError
from tickc.runtime.kernel import Kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.regex import compile_regex

FIXTURES = Path(__file__).parents[1] / "fixtures/go"
STRINGS: dict[str, Any] = json.loads(gzip.decompress((FIXTURES / "strings.json.gz").read_bytes()))
TEXT: dict[str, Any] = json.loads(gzip.decompress((FIXTURES / "text.json.gz").read_bytes()))


def read_arrays() -> dict[str, np.ndarray]:
    with gzip.open(FIXTURES / "math.bin.gz") as file:
        header = json.loads(file.readline())
        return {name: np.frombuffer(file.read(8 * length), "<f8") for name, length in header}


MATH = read_arrays()
UNARY = [name for name in MATH if len(MATH[name]) == len(MATH["x"]) and name not in ("x", "int")]
BINARY = ["atan2", "hypot", "max", "min", "mod", "pow"]


def overload(name: str, *args: Kind) -> Builtin:
    found = builtins.overloads(name)
    assert found is not None
    return found[args]


def arguments(name: str) -> tuple[tuple[Kind, ...], list[np.ndarray]]:
    if name in BINARY:
        return (Kind.FLOAT, Kind.FLOAT), [MATH["a"], MATH["b"]]
    if name in ("jn", "yn"):
        return (Kind.INT, Kind.FLOAT), [MATH["n"].astype(np.int64), MATH["y"]]
    if name == "pow10":
        return (Kind.INT,), [np.arange(-330, 316)]
    return (Kind.FLOAT,), [MATH["x"]]


def assert_same_bits(got: np.ndarray, want: np.ndarray, columns: list[np.ndarray]) -> None:
    same = (got.view(np.int64) == want.view(np.int64)) | (np.isnan(got) & np.isnan(want))
    bad = [(*(c[i] for c in columns), got[i], want[i]) for i in np.flatnonzero(~same)[:5]]
    assert not bad, f"{np.count_nonzero(~same)} differ"


def calls(function: Callable[..., Any], columns: list[np.ndarray]) -> np.ndarray:
    return np.array([function(*row) for row in zip(*columns)], dtype=np.float64)


ALL_MATH = [*UNARY, *BINARY, "jn", "yn", "pow10"]


@pytest.mark.parametrize("name", ALL_MATH)
def test_math_interpreted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "__call__", lambda self, *args: self.function(*args))
    kinds, columns = arguments(name)
    columns = [c[::2] for c in columns]
    with np.errstate(all="ignore"):
        got = calls(overload(name, *kinds).call, columns)
        assert_same_bits(got, MATH[name][::2], columns)
        plain = [c[:40].tolist() for c in columns]  # Python's numbers, as literals are
        assert_same_bits(calls(overload(name, *kinds).call, plain), MATH[name][::2][:40], columns)


@pytest.mark.parametrize("name", ALL_MATH)
def test_math_compiled(name: str) -> None:
    kinds, columns = arguments(name)
    assert_same_bits(calls(overload(name, *kinds).call.machine(), columns), MATH[name], columns)


@pytest.mark.parametrize("name", ALL_MATH)
def test_math_on_arrays(name: str) -> None:
    kinds, columns = arguments(name)
    if vector := overload(name, *kinds).vector:
        with np.errstate(all="ignore"):
            assert_same_bits(vector(*columns), MATH[name], columns)


def test_int_from_float() -> None:
    conversion = overload("int", Kind.FLOAT)
    assert conversion.vector is not None
    for function in (conversion.call, conversion.call.machine()):
        assert_same_bits(calls(function, [MATH["x"]]), MATH["int"], [MATH["x"]])
    assert_same_bits(conversion.vector(MATH["x"]).astype(np.float64), MATH["int"], [MATH["x"]])


def test_times() -> None:
    times = np.array([int(row[0]) for row in TEXT["times"]])
    for i, name in enumerate(("minute", "hour", "weekday", "day", "month", "year")):
        function = overload(name, Kind.TIME)
        assert function.vector is not None
        want = [row[3][i] for row in TEXT["times"]]
        assert [function.call(t) for t in times] == want
        assert [function.call(t) for t in times.tolist()] == want
        assert function.vector(times).tolist() == want
    assert overload("unixNano", Kind.TIME).call(times[-1]) == times[-1]


def from_bytes(text: Any) -> Any:
    """The string whose bytes the fixture lists as characters; other values as they are."""
    return text.encode("latin-1").decode("utf-8", "surrogateescape") if isinstance(text, str) else text


def test_strings() -> None:
    for name, *args, result in STRINGS["calls"]:
        values = [from_bytes(a) for a in args]
        kinds = [Kind.STRING if isinstance(v, str) else Kind.INT for v in values]
        assert overload(name, *kinds).call(*values) == from_bytes(result), (name, args)


def test_case_of_every_character() -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    for name, key in (("strToLower", "lower"), ("strToUpper", "upper")):
        want = everything.translate(dict(STRINGS[key]))
        assert overload(name, Kind.STRING).call(everything) == want


def test_human_bytes() -> None:
    for kind, number, text in STRINGS["humanBytes"]:
        if kind == "int":
            assert overload("humanBytes", Kind.INT).call(int(number)) == text
        else:
            x = struct.unpack("<d", int(number, 16).to_bytes(8, "little"))[0]
            assert overload("humanBytes", Kind.FLOAT).call(np.float64(x)) == text, x


def test_bools() -> None:
    parse = overload("bool", Kind.STRING).call
    for text, value, error in TEXT["boolParses"]:
        if error:
            with pytest.raises(EvalError) as caught:
                parse(from_bytes(text))
            assert str(caught.value) == from_bytes(error)
        else:
            assert parse(text) == value


def test_fma_is_exact() -> None:
    from fractions import Fraction

    from tickc.runtime.builtins.gomath import fma

    numbers = np.random.default_rng(3).random((200, 3)) * 4 - 2
    for a, b, c in numbers.tolist():
        want = float(Fraction(a) * Fraction(b) + Fraction(c))
        assert fma.function(a, b, c) == fma.machine()(a, b, c) == want


# The examples of the declarations

_TOKEN = re.compile(r"/(?P<regex>(?:[^/\\]|\\.)*)/|'(?P<string>(?:[^'\\]|\\.)*)'|(?P<word>[^,\s][^,]*)")


def literal(found: re.Match[str]) -> tuple[Kind, Any]:
    """Kind and value of an argument as TICKscript has it."""
    if found["regex"] is not None:
        return Kind.REGEX, compile_regex(found["regex"])
    if found["string"] is not None:
        return Kind.STRING, found["string"].replace("\\'", "'")
    word = found["word"]
    if word in ("TRUE", "FALSE"):
        return Kind.BOOL, word == "TRUE"
    if re.fullmatch("-?[0-9]+", word):
        return Kind.INT, int(word)
    if re.fullmatch("[0-9a-z]+", word) and re.search("[a-z]$", word):
        return Kind.DURATION, gotext.parse_duration_influx(word)
    return Kind.FLOAT, float(word)


def examples() -> Iterator[Any]:
    for name in builtins.names():
        for one in (builtins.overloads(name) or {}).values():
            for text, value in one.examples.items():
                yield pytest.param(one, text, value, id=text)


@pytest.mark.parametrize(("declared", "text", "value"), list(examples()))
def test_examples(declared: Builtin, text: str, value: Any) -> None:
    name, arguments = text.rstrip(")").split("(", 1)
    pairs = [literal(found) for found in _TOKEN.finditer(arguments)]
    assert (name, tuple(kind for kind, _ in pairs)) == (declared.name, declared.args)
    values = [v for _, v in pairs]
    if isinstance(value, EvalError):
        with pytest.raises(EvalError, match=re.escape(str(value)) + "$"):
            declared.call(*values)
        return
    with np.errstate(all="ignore"):
        got = declared.call(*values)
    if isinstance(value, float):
        assert (math.isnan(got) and math.isnan(value)) or struct.pack("d", got) == struct.pack("d", value)
    else:
        assert got == value


def test_every_overload_is_documented() -> None:
    for name in builtins.names():
        for one in (builtins.overloads(name) or {}).values():
            assert one.doc.endswith(".") or "\n" in one.doc, name
            assert one.examples or one.args == (Kind.TIME,), (name, one.args)


def test_the_catalogue_is_complete() -> None:
    names = """
        abs acos acosh asin asinh atan atanh cbrt ceil cos cosh erf erfc exp exp2 expm1 floor gamma j0 j1 log log10
        log1p log2 logb sin sinh sqrt tan tanh trunc y0 y1 atan2 hypot max min mod pow pow10 jn yn bool int float
        string duration strContains strContainsAny strCount strHasPrefix strHasSuffix strIndex strIndexAny
        strLastIndex strLastIndexAny strLength strReplace strSubstring strToLower strToUpper strTrim strTrimLeft
        strTrimRight strTrimPrefix strTrimSuffix strTrimSpace regexReplace humanBytes unixNano minute hour weekday
        day month year
    """
    assert sorted(names.split()) == builtins.names()
    assert set(builtins.overloads("duration") or ()) == {
        (Kind.DURATION,),
        (Kind.INT, Kind.DURATION),
        (Kind.FLOAT, Kind.DURATION),
        (Kind.STRING, Kind.DURATION),
    }
