"""Lambda functions on numbers, equal to Go's `math` package on amd64 to the last bit.

Go does not call the C library. Most routines are the FreeBSD msun ones (erf, expm1, log1p, cbrt, asinh, Bessel) or the
Cephes ones (sin, tan, tanh, gamma, atan), with the order of every operation as Go has it and no fused multiply-add;
`exp`, `log`, `hypot`, `max` and `min` are the assembly of amd64, and `exp` there does fuse. Each docstring names the
algorithm. Results were compared with Go 1.26 over the values in tests/fixtures/go.

All take and return float64 unless a docstring says otherwise; arguments outside the domain give NaN. Two habits keep
interpreted and compiled runs the same: an argument is made `np.float64` before it can be a divisor (a Python float
would raise), and bits are handled as int64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tickc.runtime.builtins import builtin
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.primitive import primitive
from tickc.runtime.routine import routine

_FLOAT = (Kind.FLOAT,)
_FLOAT2 = (Kind.FLOAT, Kind.FLOAT)

ZERO, ONE, TWO = np.float64(0.0), np.float64(1.0), np.float64(2.0)
INF, NAN = np.float64(math.inf), np.float64(math.nan)
LN2 = 0.6931471805599453
PI = 3.141592653589793
HALF_PI = 1.5707963267948966
QUARTER_PI = 0.7853981633974483
LN2_HI = 6.93147180369123816490e-01  # ln 2 in two parts; the upper has 32 trailing zero bits
LN2_LO = 1.90821492927058770002e-10


# Bits of a float64


@kernel
def float_bits(x: float) -> np.int64:
    """The IEEE 754 representation of `x`, as int64."""
    return np.float64(x).view(np.int64)


@kernel
def float_from_bits(bits: Any) -> np.float64:
    """The float64 with the representation `bits` (int64)."""
    return np.int64(bits).view(np.float64)


@kernel
def is_special(x: float) -> bool:
    """Whether `x` is NaN or an infinity."""
    return x - x != 0.0


@routine
def frexp(x: float) -> tuple[Any, Any]:
    """`x` as fraction and exponent, 0.5 <= |fraction| < 1; zeros, NaN and infinities come with exponent 0."""
    if x == 0.0 or is_special(x):
        return np.float64(x), np.int64(0)
    shift = np.int64(0)
    if abs(x) < 2.2250738585072014e-308:
        x = x * 4503599627370496.0  # 2**52
        shift = np.int64(-52)
    bits = float_bits(x)
    exponent = shift + ((bits >> 52) & 0x7FF) - 1022
    return float_from_bits((bits & ~0x7FF0000000000000) | 0x3FE0000000000000), exponent


@routine
def ldexp(fraction: float, exponent: Any) -> Any:
    """`fraction` times 2**`exponent`, rounded once where the result is subnormal."""
    if fraction == 0.0 or is_special(fraction):
        return np.float64(fraction)
    exponent = np.int64(exponent)
    if abs(fraction) < 2.2250738585072014e-308:
        fraction = fraction * 4503599627370496.0  # 2**52
        exponent -= 52
    bits = float_bits(fraction)
    exponent += ((bits >> 52) & 0x7FF) - 1023
    if exponent < -1075:
        return np.float64(np.copysign(0.0, fraction))
    if exponent > 1023:
        return np.float64(np.copysign(INF, fraction))
    scale = 1.0
    if exponent < -1022:
        exponent += 53
        scale = 1.1102230246251565e-16  # 2**-53
    return scale * float_from_bits((bits & ~0x7FF0000000000000) | ((exponent + 1023) << 52))


@primitive("float64", lambda builder, args: builder.fma(*args))
def fma(a: float, b: float, c: float) -> float:
    """a*b + c rounded once, for a product in the normal range (Dekker's exact product, then an exact sum)."""
    a, b = float(a), float(b)
    product = a * b
    t = a * 134217729.0  # 2**27 + 1, Veltkamp's split
    a_high = t - (t - a)
    t = b * 134217729.0
    b_high = t - (t - b)
    a_low, b_low = a - a_high, b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return np.float64(math.fsum((product, error, float(c))))


# Rounding, sign, remainder


def _max_arrays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    larger = np.where(x > y, x, y)
    larger = np.where((x == 0) & (y == 0) & np.signbit(y), x, larger)
    larger = np.where(np.isnan(x) | np.isnan(y), NAN, larger)
    return np.where((x == INF) | (y == INF), INF, larger)


def _min_arrays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -_max_arrays(-x, -y)


@builtin("abs", _FLOAT, Kind.FLOAT, vector=np.abs, examples={"abs(-2.5)": 2.5})
@kernel
def abs_(x: float) -> float:
    """The magnitude of x."""
    return abs(np.float64(x))


@builtin("ceil", _FLOAT, Kind.FLOAT, vector=np.ceil, examples={"ceil(1.2)": 2.0, "ceil(-0.5)": -0.0})
@kernel
def ceil(x: float) -> float:
    """The least integer that is not below x."""
    return np.ceil(np.float64(x))


@builtin("floor", _FLOAT, Kind.FLOAT, vector=np.floor, examples={"floor(-1.2)": -2.0})
@kernel
def floor(x: float) -> float:
    """The greatest integer that is not above x."""
    return np.floor(np.float64(x))


@builtin("trunc", _FLOAT, Kind.FLOAT, vector=np.trunc, examples={"trunc(-1.7)": -1.0})
@kernel
def trunc(x: float) -> float:
    """x without its fraction."""
    return np.trunc(np.float64(x))


@builtin("sqrt", _FLOAT, Kind.FLOAT, vector=np.sqrt, examples={"sqrt(2.25)": 1.5, "sqrt(-1.0)": math.nan})
@kernel
def sqrt(x: float) -> float:
    """The square root of x."""
    return np.sqrt(np.float64(x))


@builtin("mod", _FLOAT2, Kind.FLOAT, vector=np.fmod, examples={"mod(-7.5, 2.0)": -1.5, "mod(1.0, 0.0)": math.nan})
@kernel
def mod(x: float, y: float) -> float:
    """The remainder of x / y, exact, with the sign of x."""
    return np.fmod(np.float64(x), np.float64(y))


@builtin("max", _FLOAT2, Kind.FLOAT, vector=_max_arrays, examples={"max(1.0, 2.0)": 2.0, "max(-0.0, 0.0)": 0.0})
@routine
def max_(x: float, y: float) -> float:
    """The larger of x and y: NaN if either is, except that +Inf wins; 0 is above -0."""
    if x == INF or y == INF:
        return INF
    if x != x or y != y:
        return NAN
    if x == 0.0 and y == 0.0:
        return y if np.copysign(1.0, x) < 0.0 else x
    return x if x > y else y


@builtin("min", _FLOAT2, Kind.FLOAT, vector=_min_arrays, examples={"min(1.0, 2.0)": 1.0, "min(0.0, -0.0)": -0.0})
@routine
def min_(x: float, y: float) -> float:
    """The smaller of x and y: NaN if either is, except that -Inf wins; -0 is below 0."""
    if x == -INF or y == -INF:
        return -INF
    if x != x or y != y:
        return NAN
    if x == 0.0 and y == 0.0:
        return x if np.copysign(1.0, x) < 0.0 else y
    return x if x < y else y


@builtin("hypot", _FLOAT2, Kind.FLOAT, examples={"hypot(3.0, 4.0)": 5.0})
@routine
def hypot(x: float, y: float) -> float:
    """sqrt(x*x + y*y) without needless overflow: larger * sqrt(1 + (smaller/larger)**2)."""
    x, y = abs(np.float64(x)), abs(np.float64(y))
    if x == INF or y == INF:
        return INF
    if x != x or y != y:
        return NAN
    if x < y:
        x, y = y, x
    if x == 0.0:
        return ZERO
    y = y / x
    return x * np.sqrt(1.0 + y * y)


# Exponentials and logarithms


@builtin("exp", _FLOAT, Kind.FLOAT, examples={"exp(0.0)": 1.0, "exp(1.0)": math.e})
@routine
def exp(x: float) -> float:
    """e**x, as Go's assembly for amd64 with FMA.

    Shibata's method (SLEEF): x - k ln 2 is divided by 16, a Taylor series gives exp - 1, four times
    y -> y (y + 2) undoes the division.
    """
    x = np.float64(x)
    if x != x:
        return x
    if x > 709.782712893384:
        return INF
    if x < -800.0:
        return ZERO
    k = np.rint(x * 1.4426950408889634)
    x = fma(-k, 0.69314718055966295651160180568695068359375, x)
    x = fma(-k, 0.28235290563031577122588448175013436025525412068e-12, x)
    x *= 0.0625
    y = fma(x, 2.48015873015873e-05, 0.0001984126984126984)
    y = fma(x, y, 0.001388888888888889)
    y = fma(x, y, 0.008333333333333333)
    y = fma(x, y, 0.041666666666666664)
    y = fma(x, y, 0.16666666666666666)
    y = fma(x, y, 0.5)
    y = fma(x, y, 1.0)
    x *= y
    x *= x + 2.0
    x *= x + 2.0
    x *= x + 2.0
    x = fma(x + 2.0, x, 1.0)
    return _scale_exp(x, np.int64(k) + 1023)


@routine
def _scale_exp(y: float, exponent: Any) -> float:
    """`y` times 2**(exponent - 1023); below the normal range it is scaled in two steps and so rounded once."""
    if exponent >= 0x7FF:
        return INF
    if exponent > 0:
        return y * float_from_bits(exponent << 52)
    if exponent < -52:
        return ZERO
    return y * float_from_bits((exponent + 1022) << 52) * 2.2250738585072014e-308


@builtin("exp2", _FLOAT, Kind.FLOAT, examples={"exp2(10.0)": 1024.0})
@routine
def exp2(x: float) -> float:
    """2**x (FreeBSD e_exp.c on the fraction)."""
    if x != x:
        return x
    if x > 1023.9999999999999:
        return INF
    if x < -1074.0:
        return ZERO
    k = np.trunc(x + np.copysign(0.5, x)) if x != 0.0 else 0.0
    t = x - k
    high = t * LN2_HI
    low = -t * LN2_LO
    r = high - low
    t = r * r
    p = 6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
    c = r - t * (1.66666666666666657415e-01 + t * (-2.77777777770155933842e-03 + t * p))
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    return ldexp(y, np.int64(k))


@builtin("expm1", _FLOAT, Kind.FLOAT, examples={"expm1(0.0)": 0.0, "expm1(1e-10)": 1.00000000005e-10})
@routine
def expm1(x: float) -> float:
    """e**x - 1, accurate near 0 (FreeBSD s_expm1.c)."""
    x = np.float64(x)
    if x != x or x == INF:
        return x
    size = abs(x)
    if size >= 38.816242111356935 and (x < 0.0 or size >= 709.782712893384):  # 56 ln 2; overflow
        return -ONE if x < 0.0 else INF
    if size <= 0.34657359027997264:  # ln 2 / 2
        if size < 5.551115123125783e-17:  # 2**-54
            return x
        return _expm1_near(x)
    if size < 1.0397207708399179:  # 3 ln 2 / 2
        k = np.copysign(1.0, x)
    else:
        k = np.trunc(1.4426950408889634 * x + np.copysign(0.5, x))
    high = x - k * LN2_HI
    low = k * LN2_LO
    x = high - low
    return _expm1_scaled(x, (high - x) - low, np.int64(k))


@routine
def _expm1_terms(x: float) -> tuple[float, float]:
    """x*x/2 and the correction term e of s_expm1.c, for |x| <= ln 2 / 2."""
    half = 0.5 * x
    hxs = x * half
    r = -7.93650757867487942473e-05 + hxs * (4.00821782732936239552e-06 + hxs * -2.01099218183624371326e-07)
    r1 = 1.0 + hxs * (-3.33333333333331316428e-02 + hxs * (1.58730158725481460165e-03 + hxs * r))
    t = 3.0 - r1 * half
    return hxs, hxs * ((r1 - t) / (6.0 - x * t))


@kernel
def _expm1_near(x: float) -> float:
    hxs, e = _expm1_terms(x)
    return x - (x * e - hxs)


@routine
def _expm1_scaled(x: float, c: float, k: Any) -> float:
    """2**k e**x - 1, where x + c is the reduced argument and k is not 0."""
    hxs, e = _expm1_terms(x)
    e = x * (e - c) - c
    e -= hxs
    if k == -1:
        return 0.5 * (x - e) - 0.5
    if k == 1:
        if x < -0.25:
            return -2.0 * (e - (x + 0.5))
        return 1.0 + 2.0 * (x - e)
    if k <= -2 or k > 56:
        y = 1.0 - (e - x)
        return float_from_bits(float_bits(y) + (k << 52)) - 1.0
    if k < 20:
        t = float_from_bits(0x3FF0000000000000 - (np.int64(0x20000000000000) >> k))
        y = t - (e - x)
    else:
        t = float_from_bits((1023 - k) << 52)
        y = x - (e + t)
        y += 1.0
    return float_from_bits(float_bits(y) + (k << 52))


@builtin("log", _FLOAT, Kind.FLOAT, examples={"log(1.0)": 0.0, "log(0.0)": -math.inf, "log(-1.0)": math.nan})
@routine
def log(x: float) -> float:
    """The natural logarithm, as Go's assembly for amd64 (FreeBSD e_log.c).

    It does not normalise: subnormal arguments give about -708, not their logarithm.
    """
    x = np.float64(x)
    if x == 0.0:
        return -INF
    if x < 0.0:
        return NAN
    if is_special(x):
        return x
    bits = float_bits(x)
    k = np.float64(((bits >> 52) & 0x7FF) - 1022)
    f = float_from_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FE0000000000000)
    if f <= 0.7071067811865476:
        k -= 1.0
        f *= 2.0
    f -= 1.0
    s = f / (2.0 + f)
    s2 = s * s
    s4 = s2 * s2
    t1 = s2 * (
        6.666666666666735130e-01
        + s4 * (2.857142874366239149e-01 + s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01))
    )
    t2 = s4 * (3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01))
    r = t1 + t2
    half = 0.5 * f * f
    return k * LN2_HI - ((half - (s * (half + r) + k * LN2_LO)) - f)


@builtin("log10", _FLOAT, Kind.FLOAT, examples={"log10(100.0)": 2.0})
@kernel
def log10(x: float) -> float:
    """The decimal logarithm: log(x) * (1/ln 10)."""
    return log(x) * 0.4342944819032518


@builtin("log2", _FLOAT, Kind.FLOAT, examples={"log2(8.0)": 3.0})
@routine
def log2(x: float) -> float:
    """The binary logarithm, exact for powers of two."""
    fraction, exponent = frexp(np.float64(x))
    if fraction == 0.5:
        return np.float64(exponent - 1)
    return log(fraction) * 1.4426950408889634 + np.float64(exponent)


@builtin("logb", _FLOAT, Kind.FLOAT, examples={"logb(10.0)": 3.0, "logb(0.0)": -math.inf})
@routine
def logb(x: float) -> float:
    """The binary exponent of x: floor(log2 |x|)."""
    x = np.float64(x)
    if x == 0.0:
        return -INF
    if is_special(x):
        return x * x
    _, exponent = frexp(x)
    return np.float64(exponent - 1)


@builtin("log1p", _FLOAT, Kind.FLOAT, examples={"log1p(0.0)": 0.0, "log1p(-1.0)": -math.inf})
@routine
def log1p(x: float) -> float:
    """log(1 + x), accurate near 0 (FreeBSD s_log1p.c)."""
    x = np.float64(x)
    if x < -1.0 or x != x:
        return NAN
    if x == -1.0:
        return -INF
    if x == INF:
        return x
    size = abs(x)
    if size < 1.862645149230957e-09:  # 2**-29
        if size < 5.551115123125783e-17:  # 2**-54
            return x
        return x - x * x * 0.5
    if -2.928932188134524755992e-01 < x < 4.142135623730950488017e-01:  # sqrt(2)/2 - 1, sqrt(2) - 1
        return _log1p_sum(x, 0.0, 0.0, False)
    if size < 9007199254740992.0:  # 2**53
        u: float = 1.0 + x
        c: float = 1.0 - (u - x) if u >= 2.0 else x - (u - 1.0)
        c /= u
    else:
        u = x
        c = 0.0
    bits = float_bits(u)
    k = np.float64((bits >> 52) - 1023)
    bits &= 0x000FFFFFFFFFFFFF
    if bits < 0x0006A09E667F3BCD:
        f: float = float_from_bits(bits | 0x3FF0000000000000) - 1.0
    else:
        k += 1.0
        f = float_from_bits(bits | 0x3FE0000000000000) - 1.0
        bits = (0x0010000000000000 - bits) >> 2
    return _log1p_sum(f, k, c, bits == 0)


@routine
def _log1p_sum(f: float, k: float, c: float, tiny: bool) -> float:
    """log(1 + f) + k ln 2 + c; `tiny` says that f is below 2**-20."""
    half = 0.5 * f * f
    if tiny:
        if f == 0.0:
            return ZERO if k == 0.0 else k * LN2_HI + (c + k * LN2_LO)
        r = half * (1.0 - 0.66666666666666666 * f)
        if k == 0.0:
            return f - r
        return k * LN2_HI - ((r - (k * LN2_LO + c)) - f)
    s = f / (2.0 + f)
    z = s * s
    r = 1.531383769920937332e-01 + z * 1.479819860511658591e-01
    r = 2.222219843214978396e-01 + z * (1.818357216161805012e-01 + z * r)
    r = z * (6.666666666666735130e-01 + z * (3.999999999940941908e-01 + z * (2.857142874366239149e-01 + z * r)))
    if k == 0.0:
        return f - (half - s * (half + r))
    return k * LN2_HI - ((half - (s * (half + r) + (k * LN2_LO + c))) - f)


# Powers and roots


@kernel
def _is_odd(x: float) -> bool:
    """Whether `x` is an odd integer."""
    return abs(x) < 9007199254740992.0 and np.trunc(x) == x and np.int64(x) & 1 == 1


@routine
def _pow_of_zero(x: float, y: float) -> float:
    """x**y for x = 0 or -0."""
    odd = np.copysign(1.0, x) < 0.0 and _is_odd(y)
    if y < 0.0:
        return -INF if odd else INF
    return x if odd else ZERO


@routine
def _pow_special(x: float, y: float) -> float:
    """x**y where one of them is infinite and neither is NaN."""
    if is_special(y):
        if x == -1.0:
            return ONE
        return ZERO if (abs(x) < 1.0) == (y > 0.0) else INF
    if x < 0.0:
        return _pow_of_zero(-0.0, -y)
    return ZERO if y < 0.0 else INF


@builtin("pow", _FLOAT2, Kind.FLOAT, examples={"pow(2.0, 10.0)": 1024.0, "pow(0.0, 0.0)": 1.0})
@routine
def pow_(x: float, y: float) -> float:
    """x**y: the fraction of y by exp and log, its integer part by repeated squaring on (fraction, exponent)."""
    x, y = np.float64(x), np.float64(y)
    if y == 0.0 or x == 1.0:
        return ONE
    if y == 1.0:
        return x
    if x != x or y != y:
        return NAN
    if x == 0.0:
        return _pow_of_zero(x, y)
    if is_special(x) or is_special(y):
        return _pow_special(x, y)
    if y == 0.5:
        return np.sqrt(x)
    if y == -0.5:
        return 1.0 / np.sqrt(x)
    size = abs(y)
    whole = np.trunc(size)
    part = size - whole
    if part != 0.0 and x < 0.0:
        return NAN
    if whole >= 9.223372036854775808e18:
        if x == -1.0:
            return ONE
        return ZERO if (abs(x) < 1.0) == (y > 0.0) else INF
    return _pow_finite(x, y, whole, part)


@routine
def _pow_finite(x: float, y: float, whole: float, part: float) -> float:
    """x**y where |y| = whole + part; x is finite and not 0."""
    product = 1.0
    exponent = np.int64(0)
    if part != 0.0:
        if part > 0.5:
            part -= 1.0
            whole += 1.0
        product = exp(part * log(x))
    fraction, shift = frexp(x)
    i = np.int64(whole)
    while i != 0:
        if shift < -4096 or shift > 4096:
            exponent += shift
            break
        if i & 1 == 1:
            product *= fraction
            exponent += shift
        fraction *= fraction
        shift <<= 1
        if fraction < 0.5:
            fraction += fraction
            shift -= 1
        i >>= 1
    if y < 0.0:
        return ldexp(np.float64(1.0) / product, -exponent)
    return ldexp(product, exponent)


def _pow10_table() -> np.ndarray:
    """10**n for n = -323 … 308, rounded as Go's product (quotient) of two table entries is."""
    positive = [float(f"1e{n // 32 * 32}") * float(f"1e{n % 32}") for n in range(309)]
    negative = [float(f"1e-{n // 32 * 32}") / float(f"1e{n % 32}") for n in range(323, 0, -1)]
    return np.array(negative + positive)


_POW10 = _pow10_table()


@builtin("pow10", (Kind.INT,), Kind.FLOAT, examples={"pow10(3)": 1000.0, "pow10(-400)": 0.0})
@routine
def pow10(n: int) -> float:
    """10**n (n: int64): 0 below -323, +Inf above 308."""
    if n < -323:
        return ZERO
    if n > 308:
        return INF
    return _POW10[n + 323]


@builtin("cbrt", _FLOAT, Kind.FLOAT, examples={"cbrt(27.0)": 3.0})
@routine
def cbrt(x: float) -> float:
    """The cube root (FreeBSD s_cbrt.c, the form of 1993)."""
    x = np.float64(x)
    if x == 0.0 or is_special(x):
        return x
    size = abs(x)
    if size < 2.2250738585072014e-308:
        t = float_from_bits(float_bits(18014398509481984.0 * size) // 3 + (696219795 << 32))
    else:
        t = float_from_bits(float_bits(size) // 3 + (715094163 << 32))
    r = t * t / size
    s = 5.42857142857142815906e-01 + r * t
    t *= 3.57142857142857150787e-01 + 1.60714285714285720630e00 / (
        s + 1.41428571428571436819e00 + -7.05306122448979611050e-01 / s
    )
    t = float_from_bits((float_bits(t) & -0x40000000) + (1 << 30))
    s = t * t
    r = size / s
    w = t + t
    r = (r - t) / (w + r)
    t = t + t * r
    return np.copysign(t, x)


# Trigonometric functions


_FOUR_OVER_PI = np.array(
    [
        0x0000000000000001, 0x45F306DC9C882A53, 0xF84EAFA3EA69BB81, 0xB6C52B3278872083, 0xFCA2C757BD778AC3,
        0x6E48DC74849BA5C0, 0x0C925DD413A32439, 0xFC3BD63962534E7D, 0xD1046BEA5D768909, 0xD338E04D68BEFC82,
        0x7323AC7306A673E9, 0x3908BF177BF25076, 0x3FF12FFFBC0B301F, 0xDE5E2316B414DA3E, 0xDA6CFD9E4F96136E,
        0x9E8C7ECD3CBFD45A, 0xEA4F758FD7CBE2F6, 0x7A0E73EF14A525D4, 0xD7F6BF623F1ABA10, 0xAC06608DF8F6D757,
    ],
    dtype=np.uint64,
)  # fmt: skip


@routine
def _word(digit: Any, shift: Any) -> Any:
    """64 bits of 4/pi (uint64), from bit 64*digit + shift on."""
    word = _FOUR_OVER_PI[digit]
    if shift == 0:
        return word
    return (word << np.uint64(shift)) | (_FOUR_OVER_PI[digit + 1] >> np.uint64(64 - shift))


@routine
def _high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of the 128-bit product of two uint64."""
    half = np.uint64(32)
    low = np.uint64(0xFFFFFFFF)
    a0, a1 = a & low, a >> half
    b0, b1 = b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    rest = (middle & low) + a0 * b1
    return a1 * b1 + (middle >> half) + (rest >> half)


@routine
def _reduce_huge(x: float) -> tuple[Any, Any]:
    """Octant (0 … 7, made even) and remainder of x >= 2**29 modulo pi/4, by Payne and Hanek."""
    bits = float_bits(x)
    position = (bits >> 52) - 1023 - 52 + 61
    digit, shift = position // 64, position % 64
    mantissa = np.uint64((bits & 0x000FFFFFFFFFFFFF) | 0x0010000000000000)
    z1 = _word(digit + 1, shift)
    z1_low = z1 * mantissa
    low = z1_low + _high_product(_word(digit + 2, shift), mantissa)
    high = _word(digit, shift) * mantissa + _high_product(z1, mantissa)
    if low < z1_low:
        high = high + np.uint64(1)
    octant = np.int64(high >> np.uint64(61))
    high = (high << np.uint64(3)) | (low >> np.uint64(61))
    zeros = np.int64(0)
    while zeros < 63 and (high << np.uint64(zeros)) < np.uint64(0x8000000000000000):
        zeros += 1
    if zeros == 63:
        high = low
    else:
        high = (high << np.uint64(zeros + 1)) | (low >> np.uint64(63 - zeros))
    z = float_from_bits(np.int64(high >> np.uint64(12)) | ((1022 - zeros) << 52))
    if octant & 1 == 1:
        octant = (octant + 1) & 7
        z -= 1.0
    return octant, z * QUARTER_PI


@routine
def _reduce(x: float) -> tuple[Any, Any]:
    """Octant (even, 0 … 6) and remainder of x >= 0 modulo pi/4, by Cody and Waite with pi/4 in three parts."""
    if x >= 536870912.0:  # 2**29
        return _reduce_huge(x)
    octant = np.int64(x * 1.2732395447351628)
    if octant & 1 == 1:
        octant += 1
    y = np.float64(octant)
    z = ((x - y * 7.85398125648498535156e-1) - y * 3.77489470793079817668e-8) - y * 2.69515142907905952645e-15
    return octant & 7, z


@routine
def _sin_near(z: float) -> float:
    """sin z for |z| <= pi/4 (Cephes sin.c)."""
    zz = z * z
    p = ((1.58962301576546568060e-10 * zz + -2.50507477628578072866e-8) * zz + 2.75573136213857245213e-6) * zz
    p = ((p + -1.98412698295895385996e-4) * zz + 8.33333333332211858878e-3) * zz + -1.66666666666666307295e-1
    return z + z * zz * p


@routine
def _cos_near(z: float) -> float:
    """cos z for |z| <= pi/4 (Cephes sin.c)."""
    zz = z * z
    p = ((-1.13585365213876817300e-11 * zz + 2.08757008419747316778e-9) * zz + -2.75573141792967388112e-7) * zz
    p = ((p + 2.48015872888517045348e-5) * zz + -1.38888888888730564116e-3) * zz + 4.16666666666665929218e-2
    return 1.0 - 0.5 * zz + zz * zz * p


@builtin("sin", _FLOAT, Kind.FLOAT, examples={"sin(0.0)": 0.0})
@routine
def sin(x: float) -> float:
    """The sine of x radians (Cephes sin.c)."""
    x = np.float64(x)
    if x == 0.0 or x != x:
        return x
    if is_special(x):
        return NAN
    octant, z = _reduce(abs(x))
    y = _cos_near(z) if octant & 3 == 2 else _sin_near(z)
    return -y if (x < 0.0) != (octant > 3) else y


@builtin("cos", _FLOAT, Kind.FLOAT, examples={"cos(0.0)": 1.0})
@routine
def cos(x: float) -> float:
    """The cosine of x radians (Cephes sin.c)."""
    x = np.float64(x)
    if is_special(x):
        return NAN
    octant, z = _reduce(abs(x))
    y = _sin_near(z) if octant & 3 == 2 else _cos_near(z)
    return -y if octant == 2 or octant == 4 else y


@builtin("tan", _FLOAT, Kind.FLOAT, examples={"tan(0.0)": 0.0})
@routine
def tan(x: float) -> float:
    """The tangent of x radians (Cephes tan.c)."""
    x = np.float64(x)
    if x == 0.0 or x != x:
        return x
    if is_special(x):
        return NAN
    octant, z = _reduce(abs(x))
    zz = z * z
    y = z
    if zz > 1e-14:
        p = (-1.30936939181383777646e4 * zz + 1.15351664838587416140e6) * zz + -1.79565251976484877988e7
        q = ((zz + 1.36812963470692954678e4) * zz + -1.32089234440210967447e6) * zz
        q = (q + 2.50083801823357915839e7) * zz + -5.38695755929454629881e7
        y = z + z * (zz * p / q)
    if octant & 2 == 2:
        y = -1.0 / y
    return -y if x < 0.0 else y


@routine
def _atan_near(x: float) -> float:
    """atan x for 0 <= x <= 0.66 (Cephes atan.c)."""
    z = x * x
    p = ((-8.750608600031904122785e-01 * z + -1.615753718733365076637e01) * z + -7.500855792314704667340e01) * z
    p = (p + -1.228866684490136173410e02) * z + -6.485021904942025371773e01
    q = ((z + 2.485846490142306297962e01) * z + 1.650270098316988542046e02) * z
    q = ((q + 4.328810604912902668951e02) * z + 4.853903996359136964868e02) * z + 1.945506571482613964425e02
    z = z * p / q
    return x * z + x


@routine
def _atan_positive(x: float) -> float:
    """atan x for x > 0, reduced to at most 0.66 (Cephes atan.c)."""
    if x <= 0.66:
        return _atan_near(x)
    if x > 2.41421356237309504880:  # tan(3 pi / 8)
        return HALF_PI - _atan_near(1.0 / x) + 6.123233995736765886130e-17
    return QUARTER_PI + _atan_near((x - 1.0) / (x + 1.0)) + 3.061616997868383e-17


@builtin("atan", _FLOAT, Kind.FLOAT, examples={"atan(1.0)": 0.7853981633974483})
@routine
def atan(x: float) -> float:
    """The arc tangent, in radians (Cephes atan.c)."""
    x = np.float64(x)
    if x == 0.0:
        return x
    if x > 0.0:
        return _atan_positive(x)
    return -_atan_positive(-x)


@builtin("asin", _FLOAT, Kind.FLOAT, examples={"asin(0.0)": 0.0, "asin(2.0)": math.nan})
@routine
def asin(x: float) -> float:
    """The arc sine, in radians: atan(x / sqrt(1 - x*x))."""
    x = np.float64(x)
    if x == 0.0:
        return x
    size = abs(x)
    if size > 1.0:
        return NAN
    root = np.sqrt(1.0 - size * size)
    angle = HALF_PI - _atan_positive(root / size) if size > 0.7 else _atan_positive(size / root)
    return -angle if x < 0.0 else angle


@builtin("acos", _FLOAT, Kind.FLOAT, examples={"acos(1.0)": 0.0})
@routine
def acos(x: float) -> float:
    """The arc cosine, in radians: pi/2 - asin(x)."""
    return HALF_PI - asin(x)


@builtin("atan2", _FLOAT2, Kind.FLOAT, examples={"atan2(0.0, -1.0)": math.pi, "atan2(1.0, 0.0)": math.pi / 2})
@routine
def atan2(y: float, x: float) -> float:
    """The angle of the point (x, y), in radians, -pi … pi."""
    y, x = np.float64(y), np.float64(x)
    if y != y or x != x:
        return NAN
    if y == 0.0:
        return np.copysign(0.0 if np.copysign(1.0, x) > 0.0 else PI, y)
    if x == 0.0:
        return np.copysign(HALF_PI, y)
    if is_special(x):
        if is_special(y):
            return np.copysign(QUARTER_PI if x > 0.0 else 2.356194490192345, y)
        return np.copysign(0.0 if x > 0.0 else PI, y)
    if is_special(y):
        return np.copysign(HALF_PI, y)
    angle = atan(y / x)
    if x < 0.0:
        return angle + PI if angle <= 0.0 else angle - PI
    return angle


# Hyperbolic functions


@builtin("sinh", _FLOAT, Kind.FLOAT, examples={"sinh(0.0)": 0.0})
@routine
def sinh(x: float) -> float:
    """The hyperbolic sine: by exp above 0.5, else a rational function (Hart and Cheney)."""
    x = np.float64(x)
    size = abs(x)
    if size > 21.0:
        y = exp(size) * 0.5
    elif size > 0.5:
        e = np.float64(exp(size))
        y = (e - 1.0 / e) * 0.5
    else:
        s = size * size
        p = (-0.2630563213397497062819489e2 * s + -0.2894211355989563807284660366e4) * s
        p = (p + -0.8991272022039509355398013511e5) * s + -0.6307673640497716991184787251e6
        q = ((s + -0.173678953558233699533450911e3) * s + 0.1521517378790019070696485176e5) * s
        y = p * size / (q + -0.6307673640497716991212077277e6)
    return np.copysign(y, x)


@builtin("cosh", _FLOAT, Kind.FLOAT, examples={"cosh(0.0)": 1.0})
@routine
def cosh(x: float) -> float:
    """The hyperbolic cosine, by exp."""
    x = abs(np.float64(x))
    if x > 21.0:
        return exp(x) * 0.5
    e = np.float64(exp(x))
    return (e + 1.0 / e) * 0.5


@builtin("tanh", _FLOAT, Kind.FLOAT, examples={"tanh(0.0)": 0.0, "tanh(50.0)": 1.0})
@routine
def tanh(x: float) -> float:
    """The hyperbolic tangent (Cephes tanh.c)."""
    x = np.float64(x)
    size = abs(x)
    if size > 44.014845965556525:
        return -ONE if x < 0.0 else ONE
    if size >= 0.625:
        y = 1.0 - 2.0 / (np.float64(exp(2.0 * size)) + 1.0)
        return -y if x < 0.0 else y
    if x == 0.0:
        return x
    s = x * x
    p = (-9.64399179425052238628e-1 * s + -9.92877231001918586564e1) * s + -1.61468768441708447952e3
    q = ((s + 1.12811678491632931402e2) * s + 2.23548839060100448583e3) * s + 4.84406305325125486048e3
    return x + x * s * p / q


@builtin("asinh", _FLOAT, Kind.FLOAT, examples={"asinh(0.0)": 0.0})
@routine
def asinh(x: float) -> float:
    """The inverse of sinh (FreeBSD s_asinh.c)."""
    x = np.float64(x)
    if is_special(x):
        return x
    size = abs(x)
    if size > 268435456.0:  # 2**28
        y = log(size) + LN2
    elif size > 2.0:
        y = log(2.0 * size + 1.0 / (np.sqrt(size * size + 1.0) + size))
    elif size < 3.725290298461914e-09:  # 2**-28
        y = size
    else:
        y = log1p(size + size * size / (1.0 + np.sqrt(1.0 + size * size)))
    return np.copysign(y, x)


@builtin("acosh", _FLOAT, Kind.FLOAT, examples={"acosh(1.0)": 0.0, "acosh(0.5)": math.nan})
@routine
def acosh(x: float) -> float:
    """The inverse of cosh (FreeBSD e_acosh.c)."""
    x = np.float64(x)
    if not x >= 1.0:
        return NAN
    if x == 1.0:
        return ZERO
    if x >= 268435456.0:  # 2**28
        return log(x) + LN2
    if x > 2.0:
        return log(2.0 * x - 1.0 / (x + np.sqrt(x * x - 1.0)))
    t = x - 1.0
    return log1p(t + np.sqrt(2.0 * t + t * t))


@builtin("atanh", _FLOAT, Kind.FLOAT, examples={"atanh(0.0)": 0.0, "atanh(1.0)": math.inf})
@routine
def atanh(x: float) -> float:
    """The inverse of tanh (FreeBSD e_atanh.c)."""
    x = np.float64(x)
    size = abs(x)
    if not size <= 1.0:
        return NAN
    if size == 1.0:
        return x * INF
    if size < 3.725290298461914e-09:  # 2**-28
        y = size
    elif size < 0.5:
        y = size + size
        y = 0.5 * log1p(y + y * size / (1.0 - size))
    else:
        y = 0.5 * log1p((size + size) / (1.0 - size))
    return np.copysign(y, x)


from tickc.runtime.builtins import special  # noqa: E402, F401  declares erf, gamma and the Bessel functions
