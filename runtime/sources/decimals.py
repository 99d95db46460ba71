"""Decimal text to float64, correctly rounded, as kernels.

A number is a decimal mantissa of at most 19 digits and a power of ten. Three ways lead to its float, from fast to slow:
one exact division or multiplication where mantissa and power are exact floats (Clinger, 1990); a product with a 128-bit
power of ten of which the error is bounded (Eisel and Lemire, 2021); Python's `float` for the few that remain.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.primitive import high_half, leading_zeros

U0, U1, U3 = np.uint64(0), np.uint64(1), np.uint64(3)
U53, U63 = np.uint64(53), np.uint64(63)
LOW9 = np.uint64(0x1FF)
MANTISSA = np.uint64((1 << 52) - 1)
EXACT = np.uint64(1 << 53)  # integers up to here are floats
SIGN = np.int64(-(1 << 63))
LEAST, GREATEST = -348, 347  # powers of ten in the table

POWERS = np.array([10**i for i in range(20)], np.uint64)
FLOAT_POWERS = np.array([float(10**i) for i in range(23)])


@cache
def power_table() -> Array:
    """u8[696, 2]: the upper 128 bits of 10^q for q from -348 to 347, scaled so that the first bit is set; high, low."""
    table = np.zeros((GREATEST - LEAST + 1, 2), np.uint64)
    for q in range(LEAST, GREATEST + 1):
        if q >= 0:
            value = 10**q
            bits = value.bit_length()
            top = value << (128 - bits) if bits <= 128 else value >> (bits - 128)
        else:
            value = 10**-q
            top = (1 << (value.bit_length() + 127)) // value
            top >>= top.bit_length() - 128
        table[q - LEAST] = (top >> 64, top & ((1 << 64) - 1))
    return table


@bare_kernel
def float_bits(mantissa, exponent, powers):  # type: ignore[no-untyped-def]
    """The bits (i8) of the float nearest to mantissa * 10^exponent, or -1 where this way cannot tell (it is rare).

    mantissa: u8; exponent: int; powers: `power_table()`. Subnormal and infinite results are among the -1.
    """
    if mantissa == U0:
        return np.int64(0)
    if exponent < LEAST or exponent > GREATEST:
        return np.int64(-1)
    shift = leading_zeros(mantissa)
    m = mantissa << np.uint64(shift)
    high = powers[exponent - LEAST, 0]
    x1, x0 = high_half(m, high), m * high
    if x1 & LOW9 == LOW9 and x0 + m < m:  # the lower half of the power may decide
        low = powers[exponent - LEAST, 1]
        y1, y0 = high_half(m, low), m * low
        x0 = x0 + y1
        if x0 < y1:
            x1 = x1 + U1
        if x1 & LOW9 == LOW9 and x0 + U1 == U0 and y0 + m < m:
            return np.int64(-1)
    top = np.int64(x1 >> U63)
    rounded = x1 >> np.uint64(top + 9)
    if x0 == U0 and x1 & LOW9 == U0 and rounded & U3 == U1:  # half-way between two floats, perhaps
        return np.int64(-1)
    rounded = (rounded + (rounded & U1)) >> U1
    # 10^q = 2^(q * log2(10)); 217706 / 2^16 is log2(10), near enough for the powers in the table
    binary = ((217706 * exponent) >> 16) + 64 + 1023 - shift - (1 - top)
    if rounded >> U53 != U0:
        rounded >>= U1
        binary += 1
    if binary <= 0 or binary >= 0x7FF:
        return np.int64(-1)
    return np.int64(binary << 52) | np.int64(rounded & MANTISSA)
