"""Conversions between the types of lambda expressions, and human-readable sizes.

Those between numbers are kernels; those that read or write text, or can fail, are plain functions on one value.
"""

from __future__ import annotations

import math

import numpy as np

from tickc.runtime import gotext
from tickc.runtime.builtins import EvalError, builtin, gomath
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind

INT_MIN = -(1 << 63)


def _same(values: np.ndarray) -> np.ndarray:
    return values


# bool


@builtin("bool", (Kind.BOOL,), Kind.BOOL, vector=_same, examples={"bool(TRUE)": True})
@kernel
def bool_from_bool(x: bool) -> bool:
    """x itself."""
    return x


@builtin(
    "bool", (Kind.INT,), Kind.BOOL, examples={"bool(1)": True, "bool(2)": EvalError("cannot convert 2 to boolean")}
)
def bool_from_int(x: int) -> bool:
    """1 is true, 0 false, all else an error."""
    if x not in (0, 1):
        raise EvalError(f"cannot convert {x} to boolean")
    return bool(x == 1)


@builtin(
    "bool",
    (Kind.FLOAT,),
    Kind.BOOL,
    examples={"bool(0.0)": False, "bool(1.5)": EvalError("cannot convert 1.5 to boolean")},
)
def bool_from_float(x: float) -> bool:
    """1.0 is true, 0.0 false, all else an error."""
    if x not in (0.0, 1.0):
        raise EvalError(f"cannot convert {gotext.format_float_g(x)} to boolean")
    return bool(x == 1.0)


_BOOLS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
_BOOLS |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


@builtin(
    "bool",
    (Kind.STRING,),
    Kind.BOOL,
    examples={"bool('t')": True, "bool('yes')": EvalError('strconv.ParseBool: parsing "yes": invalid syntax')},
)
def bool_from_string(x: str) -> bool:
    """`1 t T TRUE true True` are true, `0 f F FALSE false False` false, all else an error."""
    if x not in _BOOLS:
        raise EvalError(f"strconv.ParseBool: parsing {gotext.quote(x)}: invalid syntax")
    return _BOOLS[x]


# int


@builtin("int", (Kind.INT,), Kind.INT, vector=_same, examples={"int(3)": 3})
@kernel
def int_from_int(x: int) -> np.int64:
    """x itself."""
    return np.int64(x)


def _ints_from_floats(values: np.ndarray) -> np.ndarray:
    fits = (values >= -9.223372036854775808e18) & (values < 9.223372036854775808e18)
    return np.where(fits, np.where(fits, values, 0.0).astype(np.int64), np.int64(INT_MIN))


@builtin("int", (Kind.FLOAT,), Kind.INT, vector=_ints_from_floats, examples={"int(-2.7)": -2, "int(1e300)": INT_MIN})
@kernel
def int_from_float(x: float) -> np.int64:
    """x without its fraction; -2**63 for NaN and what int64 cannot hold, as the processor has it."""
    if x >= -9.223372036854775808e18 and x < 9.223372036854775808e18:
        return np.int64(x)
    return np.int64(-0x8000000000000000)


@builtin("int", (Kind.BOOL,), Kind.INT, vector=lambda x: x.astype(np.int64), examples={"int(TRUE)": 1})
@kernel
def int_from_bool(x: bool) -> np.int64:
    """1 for true, 0 for false."""
    return np.int64(1 if x else 0)


@builtin(
    "int",
    (Kind.STRING,),
    Kind.INT,
    examples={"int('-42')": -42, "int('4.2')": EvalError('strconv.ParseInt: parsing "4.2": invalid syntax')},
)
def int_from_string(x: str) -> int:
    """The decimal number `x`, an optional sign and digits; an error if it is anything else or too large."""
    return gotext.parse_int(x)


# float


@builtin("float", (Kind.FLOAT,), Kind.FLOAT, vector=_same, examples={"float(2.5)": 2.5})
@kernel
def float_from_float(x: float) -> np.float64:
    """x itself."""
    return np.float64(x)


@builtin("float", (Kind.INT,), Kind.FLOAT, vector=lambda x: x.astype(np.float64), examples={"float(3)": 3.0})
@kernel
def float_from_int(x: int) -> np.float64:
    """The float nearest to x."""
    return np.float64(x)


@builtin("float", (Kind.BOOL,), Kind.FLOAT, vector=lambda x: x.astype(np.float64), examples={"float(TRUE)": 1.0})
@kernel
def float_from_bool(x: bool) -> np.float64:
    """1.0 for true, 0.0 for false."""
    return np.float64(1.0 if x else 0.0)


@builtin(
    "float",
    (Kind.STRING,),
    Kind.FLOAT,
    examples={
        "float('1e3')": 1000.0,
        "float('inf')": math.inf,
        "float(' 1')": EvalError('strconv.ParseFloat: parsing " 1": invalid syntax'),
    },
)
def float_from_string(x: str) -> float:
    """The number `x`, decimal or hexadecimal, `inf` or `nan`; an error if it is anything else or too large."""
    return gotext.parse_float(x)


# string


@builtin("string", (Kind.STRING,), Kind.STRING, examples={"string('a')": "a"})
def string_from_string(x: str) -> str:
    """x itself."""
    return x


@builtin("string", (Kind.INT,), Kind.STRING, examples={"string(-5)": "-5"})
def string_from_int(x: int) -> str:
    """x in decimal."""
    return str(int(x))


@builtin("string", (Kind.FLOAT,), Kind.STRING, examples={"string(3.0)": "3", "string(1e21)": "1000000000000000000000"})
def string_from_float(x: float) -> str:
    """The shortest digits that give x back, never with an exponent."""
    return gotext.format_float_f(x)


@builtin("string", (Kind.BOOL,), Kind.STRING, examples={"string(TRUE)": "true"})
def string_from_bool(x: bool) -> str:
    """`true` or `false`."""
    return "true" if x else "false"


@builtin("string", (Kind.DURATION,), Kind.STRING, examples={"string(90s)": "90s", "string(7d)": "1w"})
def string_from_duration(x: int) -> str:
    """x (ns) in the largest unit that divides it."""
    return gotext.format_duration_influx(x)


# duration


@builtin("duration", (Kind.DURATION,), Kind.DURATION, vector=_same, examples={"duration(1m)": 60_000_000_000})
@kernel
def duration_from_duration(x: int) -> np.int64:
    """x itself."""
    return np.int64(x)


@builtin(
    "duration",
    (Kind.INT, Kind.DURATION),
    Kind.DURATION,
    vector=np.multiply,
    examples={"duration(5, 1s)": 5_000_000_000},
)
@kernel
def duration_from_int(x: int, unit: int) -> np.int64:
    """x times `unit`; wraps at 64 bits."""
    return np.int64(x) * np.int64(unit)


@builtin(
    "duration",
    (Kind.FLOAT, Kind.DURATION),
    Kind.DURATION,
    vector=lambda x, unit: _ints_from_floats(x * unit),
    examples={"duration(1.5, 1ms)": 1_500_000},
)
@kernel
def duration_from_float(x: float, unit: int) -> np.int64:
    """x times `unit`, in whole nanoseconds towards zero."""
    return int_from_float(x * np.float64(unit))


@builtin(
    "duration",
    (Kind.STRING, Kind.DURATION),
    Kind.DURATION,
    examples={
        "duration('1h30m', 1s)": 5_400_000_000_000,
        "duration('1.5h', 1s)": EvalError('invalid duration string "1.5h"'),
    },
)
def duration_from_string(x: str, unit: int) -> int:
    """The InfluxQL duration `x`; `unit` must be given and has no effect."""
    try:
        return gotext.parse_duration_influx(x)
    except EvalError:
        raise EvalError(f"invalid duration string {gotext.quote(x)}") from None


# humanBytes

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


@builtin(
    "humanBytes",
    (Kind.INT,),
    Kind.STRING,
    examples={"humanBytes(1024)": "1.0 kB", "humanBytes(82854982)": "83 MB", "humanBytes(-1)": "18 EB"},
)
def human_bytes_from_int(x: int) -> str:
    """x as a size in SI units; a negative one counts from 2**64 down."""
    return _human_bytes(int(x) % (1 << 64))


@builtin("humanBytes", (Kind.FLOAT,), Kind.STRING, examples={"humanBytes(999999.0)": "1000 kB"})
def human_bytes_from_float(x: float) -> str:
    """x, made an unsigned integer as amd64 does, as a size in SI units."""
    if x < 9.223372036854775808e18:
        return _human_bytes(int(int_from_float(x)) % (1 << 64))
    return _human_bytes(int(int_from_float(x - 9.223372036854775808e18)) % (1 << 64) | (1 << 63))


def _human_bytes(size: int) -> str:
    """go-humanize's Bytes: one decimal below ten units, none above."""
    if size < 10:
        return f"{size} B"
    exponent = math.floor(gomath.log(float(size)) / gomath.log(1000.0))
    value = math.floor(float(size) / gomath.pow_(1000.0, float(exponent)) * 10 + 0.5) / 10
    return f"{value:.{1 if value < 10 else 0}f} {_SIZES[exponent]}"
