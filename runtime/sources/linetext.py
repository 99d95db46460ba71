"""Bytes as the scanner of line protocol sees them: words of eight, texts that are looked up, lines.

All arithmetic on words is u8, which wraps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.primitive import matches, trailing_zeros, word
from tickc.runtime.routine import bare_routine
from tickc.runtime.sources.decimals import U0, U1

TAB, NEWLINE, RETURN, SPACE, QUOTE, HASH, COMMA, MINUS, PLUS, DOT = 9, 10, 13, 32, 34, 35, 44, 45, 43, 46
DIGIT0, DIGIT9, EQUALS, BACKSLASH = 48, 57, 61, 92
LETTER_E, LETTER_F, LETTER_I, LETTER_N, LETTER_T, LETTER_U = 101, 102, 105, 110, 116, 117

ZEROS = np.uint64(0x3030303030303030)
OVER_NINE = np.uint64(0x7676767676767676)
HIGH = np.uint64(0x8080808080808080)
LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
BYTE = np.uint64(0xFF)
PAIRS = np.uint64(0x000000FF000000FF)
TEN = np.uint64(10)
EIGHT = np.uint64(8)
UPPER = np.uint64(100 + (1_000_000 << 32))
LOWER = np.uint64(1 + (10_000 << 32))
R16, R29, R32, R33 = (np.uint64(k) for k in (16, 29, 32, 33))
MASKS = np.array([(1 << (8 * k)) - 1 for k in range(9)], np.uint64)  # the first k bytes of a word
ENDS = np.uint64(sum(1 << c for c in (COMMA, SPACE, NEWLINE, RETURN)))
SEED = np.uint64(0x9E3779B97F4A7C15)
FACTOR = np.uint64(0xFF51AFD7ED558CCD)


class Buffer(NamedTuple):
    """bytes: u1, the text up to how[STOP], a newline there, and at least 63 bytes more; words: the same memory as u8
    that begin at each byte."""

    bytes: Array
    words: Array


class Table(NamedTuple):
    """Texts with dense numbers. info: i8[cap, ≥ 2], start and length of each text in `bytes` (u1; `words`, the same
    memory as u8 that begin at each byte); hash: u8[cap]; slots: i4[power of two], number + 1 or 0."""

    info: Array
    hash: Array
    slots: Array
    bytes: Array
    words: Array


# ---------------------------------------------------------------------------------------------------------------- words


@bare_kernel
def not_digits(w):  # type: ignore[no-untyped-def]
    """The highest bit of each byte of a word (XORed with ZEROS) that is no digit."""
    return (((w & LOW) + OVER_NINE) | w) & HIGH


@bare_kernel
def first_of(marks):  # type: ignore[no-untyped-def]
    """Which byte is the first with its highest bit set; 8 where none is."""
    return trailing_zeros(marks) >> 3


@bare_kernel
def byte_of(w, k):  # type: ignore[no-untyped-def]
    """Byte k (0 to 7) of a word, as i8."""
    return np.int64((w >> np.uint64(8 * k)) & BYTE)


@bare_kernel
def spelled(w):  # type: ignore[no-untyped-def]
    """The number (u8) that the eight bytes of a word spell, each a digit without its ZEROS."""
    w = w * TEN + (w >> EIGHT)
    return ((w & PAIRS) * UPPER + ((w >> R16) & PAIRS) * LOWER) >> R32


@bare_kernel
def value_of(w, n):  # type: ignore[no-untyped-def]
    """The number that the first n (0 to 8) bytes of a word spell, as u8."""
    return U0 if n == 0 else spelled(w << np.uint64(64 - 8 * n))


@bare_kernel
def ends_value(c):  # type: ignore[no-untyped-def]
    """Whether the byte is one that may stand behind a value: a comma, space, newline or carriage return."""
    return c < 64 and (ENDS >> np.uint64(c)) & U1 != U0


@bare_kernel
def same(words, at, known, start, length):  # type: ignore[no-untyped-def]
    """Whether `length` bytes of two texts are equal."""
    k = 0
    while k + 8 <= length:
        if word(words, at + k) != word(known, start + k):
            return False
        k += 8
    return k == length or (word(words, at + k) ^ word(known, start + k)) & MASKS[length - k] == U0


@bare_kernel
def find(words, i, a, b, c):  # type: ignore[no-untyped-def]
    """Where the next byte a, b or c stands, from `i` on; there is one."""
    while True:
        found = matches(words, i, a, b, c)
        if found != U0:
            return i + trailing_zeros(found)
        i += 32


@bare_routine
def find_newline(words, i):  # type: ignore[no-untyped-def]
    """Where the next newline stands; there is one at the end of the text."""
    return find(words, i, NEWLINE, NEWLINE, NEWLINE)


# ------------------------------------------------------------------------------------------------------ texts in tables


@bare_routine
def hash_of(words, start, length):  # type: ignore[no-untyped-def]
    """A hash (u8) of `length` bytes from `start`."""
    h = SEED ^ np.uint64(length)
    k = 0
    while k + 8 <= length:
        h = (h ^ word(words, start + k)) * FACTOR
        h ^= h >> R29
        k += 8
    if k < length:
        h = (h ^ (word(words, start + k) & MASKS[length - k])) * FACTOR
        h ^= h >> R29
    return h


@bare_routine
def look_up(words, at, length, h, info, hashes, slots, known):  # type: ignore[no-untyped-def]
    """The number of a text in a table (its parts, with the words `known`), or -1 - slot where it is not in it."""
    mask = slots.size - 1
    slot = np.int64(h >> R33) & mask
    while slots[slot] != 0:
        number = np.int64(slots[slot]) - 1
        if hashes[number] == h and info[number, 1] == length and same(words, at, known, info[number, 0], length):
            return number
        slot = (slot + 1) & mask
    return -1 - slot


@bare_kernel
def enter(table, number, start, length, h, slot):  # type: ignore[no-untyped-def]
    """Enter text `number` into a table; `slot` comes from `look_up`."""
    table.slots[slot] = number + 1
    table.hash[number] = h
    table.info[number, 0] = start
    table.info[number, 1] = length


@bare_kernel
def is_full(table, number):  # type: ignore[no-untyped-def]
    """Whether there is no room for text `number`."""
    return number == table.hash.size or 2 * number + 2 > table.slots.size


# ----------------------------------------------------------------------------------------------------------------- text


@bare_routine
def valid_utf8(text, start, stop):  # type: ignore[no-untyped-def]
    """Where the first byte stands that is not part of UTF-8 text, or -1."""
    buf = text.bytes
    i = start
    while i < stop:
        c = np.int64(buf[i])
        if c < 0x80:
            i += 8 if word(text.words, i) & HIGH == U0 else 1
            continue
        least = 0x80
        most = 0xBF
        more = 1
        if c >= 0xE0:
            more = 2 if c < 0xF0 else 3
            if c == 0xE0:
                least = 0xA0
            elif c == 0xED:
                most = 0x9F
            elif c == 0xF0:
                least = 0x90
            elif c == 0xF4:
                most = 0x8F
        if c < 0xC2 or c > 0xF4 or i + more >= stop or buf[i + 1] < least or buf[i + 1] > most:
            return i
        for k in range(2, more + 1):
            if buf[i + k] < 0x80 or buf[i + k] > 0xBF:
                return i
        i += more + 1
    return -1


@bare_kernel
def skip_blanks(buf, i):  # type: ignore[no-untyped-def]
    """The next position that holds neither space, tab nor NUL."""
    while buf[i] == SPACE or buf[i] == TAB or buf[i] == 0:
        i += 1
    return i


@bare_kernel
def ends_line(buf, i):  # type: ignore[no-untyped-def]
    """Whether a newline, or a carriage return and a newline, stands at `i`."""
    return buf[i] == NEWLINE or (buf[i] == RETURN and buf[i + 1] == NEWLINE)
