"""Go's text forms of numbers, durations, times and strings, and their parsers, exact to the byte.

Times and durations are int64 nanoseconds; times are UTC. Parsers raise `EvalError` with Go's own message.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from tickc.runtime.builtins import EvalError

if TYPE_CHECKING:
    import pyarrow as pa

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY


# Floats


def _parts(x: float) -> tuple[str, str, int]:
    """Sign, shortest digits that give `x` back, and the decimal exponent of the first digit; `x` is finite.

    Python's repr and Go's 'shortest' form choose the same digits: the shortest ones, of those the nearest to x.
    """
    text = repr(float(x))
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return sign, "0", 0
    place = len(whole) - 1 - (len(whole + fraction) - len(digits)) + int(exponent or 0)
    return sign, digits.rstrip("0"), place


def _special(x: float) -> str | None:
    if x != x:
        return "NaN"
    if math.isinf(x):
        return "+Inf" if x > 0 else "-Inf"
    return None


def _plain(sign: str, digits: str, place: int) -> str:
    if place < 0:
        return f"{sign}0.{'0' * (-place - 1)}{digits}"
    if len(digits) <= place + 1:
        return sign + digits + "0" * (place + 1 - len(digits))
    return f"{sign}{digits[: place + 1]}.{digits[place + 1 :]}"


def _scientific(sign: str, digits: str, place: int) -> str:
    point = "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}e{'-' if place < 0 else '+'}{abs(place):02d}"


def format_float_g(x: float) -> str:
    """Go's `%v`, strconv's 'g' with precision -1: an exponent where it is below -4 or above 5.

    >>> format_float_g(1e6), format_float_g(123456.5), format_float_g(0.0001)
    ('1e+06', '123456.5', '0.0001')
    """
    if (text := _special(x)) is not None:
        return text
    sign, digits, place = _parts(x)
    if place < -4 or place >= 6:
        return _scientific(sign, digits, place)
    return _plain(sign, digits, place)


def format_float_f(x: float) -> str:
    """strconv's 'f' with precision -1: shortest digits, never an exponent. lambda `string()`, line protocol.

    >>> format_float_f(1e21), format_float_f(3.0), format_float_f(-0.0)
    ('1000000000000000000000', '3', '-0')
    """
    if (text := _special(x)) is not None:
        return text
    return _plain(*_parts(x))


def format_float_json(x: float) -> str:
    """encoding/json: plain between 1e-6 and 1e21, else with an exponent of at least one digit.

    >>> format_float_json(1e-7), format_float_json(1e20)
    ('1e-7', '100000000000000000000')
    """
    if (text := _special(x)) is not None:
        raise ValueError(f"json: unsupported value: {text}")
    sign, digits, place = _parts(x)
    if x != 0 and (place < -6 or place >= 21):
        return _scientific(sign, digits, place).replace("e-0", "e-").replace("e+0", "e+")
    return _plain(sign, digits, place)


def floats_f(values: np.ndarray) -> list[str | None]:
    """`format_float_f` of each value of a float64 array."""
    return _float_texts(values, format_float_f)


def floats_json(values: np.ndarray) -> list[str | None]:
    """`format_float_json` of each value of a float64 array; None for NaN and infinities, which JSON lacks."""
    return _float_texts(values, lambda x: format_float_json(x) if math.isfinite(x) else None)


def _float_texts(values: np.ndarray, one: Callable[[float], str | None]) -> list[str | None]:
    if _spared.few(len(values)):
        return [one(x) for x in values.tolist()]
    texts: list[str | None] = _arrow_texts(values, one).to_pylist()
    return texts


class _Spared:
    """Counts the values that were written one by one, which takes less than loading Arrow as long as they are few, and
    less than calling it where HANDFUL are written at once."""

    FEW = 20_000
    HANDFUL = 32

    def __init__(self) -> None:
        self.written = 0

    def few(self, n: int) -> bool:
        """Whether to write n more so."""
        self.written += n
        return n <= self.HANDFUL or (self.written <= self.FEW and "pyarrow.compute" not in sys.modules)


_spared = _Spared()


def _arrow_texts(values: np.ndarray, one: Callable[[float], str | None]) -> pa.StringArray:
    """Arrow's form where it is the plain one (1e-4 to 1e10, whole numbers below 2**53), `one` of the others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = np.ascontiguousarray(values, dtype=np.float64)
    texts = pc.cast(pa.array(values), pa.string())
    if _arrow_adds_point():
        texts = pc.replace_substring_regex(texts, r"\.0$", "")
    size = np.abs(values)
    others = ~(((size >= 1e-4) & (size < 1e10)) | (values == 0))
    if others.any():
        with np.errstate(invalid="ignore"):  # signalling NaN
            whole = others & (size < 2**53) & (np.trunc(values) == values)
        others &= ~whole
        integers = pc.cast(pa.array(values[whole].astype(np.int64)), pa.string())
        texts = pc.replace_with_mask(texts, pa.array(whole), integers)
        known: dict[float, str | None] = {}
        replacement = [known[x] if x in known else known.setdefault(x, one(x)) for x in values[others].tolist()]
        texts = pc.replace_with_mask(texts, pa.array(others), pa.array(replacement, pa.string()))
    return texts


@functools.cache
def _arrow_adds_point() -> bool:
    """Whether whole numbers have a `.0`, as in older versions of Arrow."""
    import pyarrow as pa

    return str(pa.array([1.0]).cast(pa.string())[0]) == "1.0"


# Durations


def format_duration_go(ns: int) -> str:
    """time.Duration's String: `1h30m0s`, `1.5s`, `300ms`, `0s`."""
    ns = int(ns)
    sign, size = ("-", -ns) if ns < 0 else ("", ns)
    if size == 0:
        return "0s"
    for unit, name in ((MICROSECOND, "ns"), (MILLISECOND, "µs"), (SECOND, "ms")):
        if size < unit:
            return f"{sign}{_decimal(size, max(unit // 1000, 1))}{name}"
    minutes, rest = divmod(size, MINUTE)
    seconds = _decimal(rest, SECOND)
    if minutes < 1:
        return f"{sign}{seconds}s"
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}h{minutes}m{seconds}s" if hours else f"{sign}{minutes}m{seconds}s"


def _decimal(value: int, unit: int) -> str:
    """value / unit, unit being a power of ten, without trailing zeros."""
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{rest + unit}".replace(".1", ".", 1).rstrip("0")


_INFLUX_UNITS = (
    (WEEK, "w"),
    (DAY, "d"),
    (HOUR, "h"),
    (MINUTE, "m"),
    (SECOND, "s"),
    (MILLISECOND, "ms"),
    (MICROSECOND, "u"),
)


def format_duration_influx(ns: int) -> str:
    """InfluxQL's form: the largest unit that divides `ns`, `90s`, `1w`, `0s`."""
    ns = int(ns)
    if ns == 0:
        return "0s"
    for unit, name in _INFLUX_UNITS:
        if ns % unit == 0:
            return f"{ns // unit}{name}"
    return f"{ns}ns"


_DURATION_PART = re.compile(r"([0-9]+)(ns|ms|[uµmshdw])")
_DURATION_UNITS = {"ns": 1, "µ": MICROSECOND} | {name: unit for unit, name in _INFLUX_UNITS}


def parse_duration_influx(text: str) -> int:
    """Nanoseconds of an InfluxQL duration: an optional minus, then numbers with units of `ns u µ ms s m h d w`.

    Sums wrap at 64 bits as Go's do; one that comes out negative without a minus is an error.
    """
    total, end, last = 0, int(text.startswith("-")), ""
    if len(text.encode("utf-8", "surrogateescape")) < 2:
        raise EvalError("invalid duration")
    while end < len(text):
        part = _DURATION_PART.match(text, end)
        if part is None or int(part[1]) >= 1 << 63:
            raise EvalError("invalid duration")
        total += int(part[1]) * _DURATION_UNITS[part[2]]
        end, last = part.end(), f"{int(part[1])}{part[2]}"
    total = _wrap(total)
    if text.startswith("-"):
        return _wrap(-total)
    if total < 0:
        raise EvalError(f"overflowed duration {last}: choose a smaller duration or INF")
    return total


def _wrap(n: int) -> int:
    """`n` as int64 arithmetic would have it."""
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)


# Times

_EPOCH = date(1970, 1, 1).toordinal()


def civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar without bounds."""
    cycles, rest = divmod(days + _EPOCH - 1, 146097)  # of 400 years
    d = date.fromordinal(rest + 1)
    return d.year + 400 * cycles, d.month, d.day


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date; `day` may be out of range."""
    cycles, rest = divmod(year - 1, 400)
    return date(rest + 1, month, 1).toordinal() + day - 1 + 146097 * cycles - _EPOCH


@functools.lru_cache(maxsize=1024)
def _date_text(days: int) -> str:
    year, month, day = civil(days)
    return f"{_year_text(year)}-{month:02d}-{day:02d}"


def _year_text(year: int) -> str:
    return f"{year:04d}" if year >= 0 else f"-{-year:04d}"


def _clock(ns: int) -> tuple[int, int, int, int, int]:
    """Days from 1970-01-01, hour, minute, second, nanosecond."""
    days, rest = divmod(int(ns), DAY)
    seconds, nanos = divmod(rest, SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return days, hour, minute, second, nanos


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""


def format_time_rfc3339nano(ns: int) -> str:
    """`2020-09-13T12:26:40.5Z`: no trailing zeros in the fraction."""
    days, hour, minute, second, nanos = _clock(ns)
    return f"{_date_text(days)}T{hour:02d}:{minute:02d}:{second:02d}{_fraction(nanos)}Z"


def format_time_default(ns: int) -> str:
    """time.Time's String: `2020-09-13 12:26:40.5 +0000 UTC`."""
    days, hour, minute, second, nanos = _clock(ns)
    return f"{_date_text(days)} {hour:02d}:{minute:02d}:{second:02d}{_fraction(nanos)} +0000 UTC"


def times_rfc3339nano(times: np.ndarray) -> list[str]:
    """`format_time_rfc3339nano` of each of an int64 array."""
    if _spared.few(len(times)):
        return [format_time_rfc3339nano(t) for t in times.tolist()]
    texts: list[str] = _arrow_times(times).to_pylist()
    return texts


def _arrow_times(times: np.ndarray) -> pa.StringArray:
    import pyarrow as pa

    times = np.ascontiguousarray(times, dtype=np.int64)
    if not times.size:
        return pa.array([], pa.string())
    seconds = times // SECOND
    nanos = times - seconds * SECOND
    text = np.empty((times.size, 30), np.uint8)
    _write_seconds(text, seconds)
    if not nanos.any():
        text[:, 19] = ord("Z")
        return _strings(text[:, :20].tobytes(), np.full(times.size, 20))
    _write_nanos(text, nanos)
    digits = text[:, 20:29] != ord("0")
    length = np.where(digits.any(axis=1), 29 - np.argmax(digits[:, ::-1], axis=1), 19)
    keep = np.arange(30) < length[:, None]
    keep[:, 29] = True
    return _strings(text[keep].tobytes(), length + 1)


_PAIRS = np.array([[ord(c) for c in f"{i:02d}"] for i in range(100)], np.uint8)


def _write_seconds(text: np.ndarray, seconds: np.ndarray) -> None:
    """Fill columns 0-18 with `2006-01-02T15:04:05`."""
    dates = seconds.astype("M8[s]").astype("M8[D]")
    months = dates.astype("M8[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    year += 1970
    day_second = seconds % 86400
    text[:, 0:2] = _PAIRS[year // 100]
    text[:, 2:4] = _PAIRS[year % 100]
    text[:, 5:7] = _PAIRS[month + 1]
    text[:, 8:10] = _PAIRS[(dates - months).astype(np.int64) + 1]
    text[:, 11:13] = _PAIRS[day_second // 3600]
    text[:, 14:16] = _PAIRS[day_second // 60 % 60]
    text[:, 17:19] = _PAIRS[day_second % 60]
    for column, mark in ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")):
        text[:, column] = ord(mark)


def _write_nanos(text: np.ndarray, nanos: np.ndarray) -> None:
    """Fill columns 19-29 with `.999999999Z`."""
    text[:, 19] = ord(".")
    text[:, 29] = ord("Z")
    text[:, 28] = nanos % 10 + ord("0")
    nanos = nanos // 10
    for column in (26, 24, 22, 20):
        text[:, column : column + 2] = _PAIRS[nanos % 100]
        nanos = nanos // 100


def _strings(data: bytes, lengths: np.ndarray) -> pa.StringArray:
    import pyarrow as pa

    offsets = np.zeros(lengths.size + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.StringArray.from_buffers(lengths.size, pa.py_buffer(offsets), pa.py_buffer(data))


# Numbers and strings

_DECIMAL = re.compile(r"[+-]?(?:[0-9_]+\.?[0-9_]*|\.[0-9_]+)(?:[eE][+-]?[0-9][0-9_]*)?")
_HEX = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F_]+\.?[0-9a-fA-F_]*|\.[0-9a-fA-F_]+)[pP][+-]?[0-9][0-9_]*")
_NAMED = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE | re.ASCII)
_LOOSE_UNDERSCORE = re.compile(r"(?<![0-9a-fA-FxX])_|_(?![0-9a-fA-F])")


def parse_float(text: str) -> float:
    """strconv.ParseFloat(text, 64): decimal or hexadecimal, `inf`, `nan`; EvalError for bad or too large ones."""
    if _NAMED.fullmatch(text):
        return float(text)
    hexadecimal = _HEX.fullmatch(text)
    if not (hexadecimal or _DECIMAL.fullmatch(text)) or not _digits_and_underscores(text, bool(hexadecimal)):
        raise EvalError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")
    bare = text.replace("_", "")
    try:
        value = float.fromhex(bare) if hexadecimal else float(bare)
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        raise EvalError(f"strconv.ParseFloat: parsing {quote(text)}: value out of range")
    return value


def _digits_and_underscores(text: str, hexadecimal: bool) -> bool:
    """Whether the mantissa has a digit and every underscore stands between digits."""
    mantissa = re.split("[pP]" if hexadecimal else "[eE]", text)[0]
    if hexadecimal:
        mantissa = mantissa.lstrip("+-")[2:]
    if not re.search("[0-9a-fA-F]", mantissa):
        return False
    return not _LOOSE_UNDERSCORE.search(text)


def parse_int(text: str) -> int:
    """strconv.ParseInt(text, 10, 64); EvalError for anything but a sign and digits and for what int64 cannot hold."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    leading = re.match("[0-9]*", digits)
    assert leading is not None
    magnitude = int(leading[0] or 0)
    if leading.end() != len(digits) or not digits:
        problem = "value out of range" if magnitude >= 1 << 64 else "invalid syntax"
    elif magnitude >= (1 << 63) + text.startswith("-"):
        problem = "value out of range"
    else:
        return -magnitude if text.startswith("-") else magnitude
    raise EvalError(f"strconv.ParseInt: parsing {quote(text)}: {problem}")


_ESCAPES = {7: r"\a", 8: r"\b", 12: r"\f", 10: r"\n", 13: r"\r", 9: r"\t", 11: r"\v", 34: r"\"", 92: r"\\"}


def quote(text: str) -> str:
    """strconv.Quote: a Go string literal; bytes that are no UTF-8 as `\\xff`, unprintable runes as `\\u00ad`."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_quote_rune, text))}"'


def _quote_rune(c: str) -> str:
    rune = ord(c)
    if rune in _ESCAPES:
        return _ESCAPES[rune]
    if c.isprintable():
        return c
    if 0xDC80 <= rune <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{rune - 0xDC00:02x}"
    if rune < 0x20 or rune == 0x7F:
        return f"\\x{rune:02x}"
    return f"\\u{rune:04x}" if rune < 0x10000 else f"\\U{rune:08x}"
