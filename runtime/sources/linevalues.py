"""What stands in a line of line protocol behind its key, read by kernels: numbers, strings, booleans, times.

A reader gives its outcome: DONE, another of the negative ones, or the number in REASONS of what is wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.primitive import word
from tickc.runtime.routine import bare_routine
from tickc.runtime.sources.decimals import EXACT, FLOAT_POWERS, POWERS, SIGN, U0, U1, float_bits
from tickc.runtime.sources.linetext import (
    BACKSLASH,
    COMMA,
    DIGIT0,
    DIGIT9,
    DOT,
    EIGHT,
    EQUALS,
    LETTER_E,
    LETTER_F,
    LETTER_I,
    LETTER_N,
    LETTER_T,
    LETTER_U,
    MASKS,
    MINUS,
    NEWLINE,
    PLUS,
    QUOTE,
    SPACE,
    TEN,
    ZEROS,
    byte_of,
    ends_line,
    ends_value,
    enter,
    find,
    first_of,
    hash_of,
    is_full,
    look_up,
    not_digits,
    skip_blanks,
    spelled,
    valid_utf8,
    value_of,
)

# cells of the cursor, i8[CURSOR], in which the scanner tells how far it came
POS, LINE, ROWS, PREVIOUS, SERIES, KEY_BYTES, STRINGS, ERRORS, AT, END, OPEN_END = range(11)
CURSOR = 16

REASONS = (
    "missing measurement",
    "missing tag key",
    "missing tag value",
    "`=` in a tag value without a backslash before it",
    "duplicate tags",
    "missing fields",
    "missing field key",
    "missing field value",
    "missing `=` after the field key",
    "invalid number",
    "number out of range",
    "invalid boolean",
    "unsigned integers are not part of InfluxDB 1.x",
    "a string without its closing quote",
    "text after the closing quote",
    "invalid timestamp",
    "timestamp out of range",
    "text after the timestamp",
    "missing timestamp",
    "text that is not UTF-8",
    "measurement, tags and field key are longer than 65535 bytes",
    "more than 1000 tags",
    "the recording ends within a record",
    "a record without a point",
    "invalid value",
)
(
    NO_MEASUREMENT, NO_TAG_KEY, NO_TAG_VALUE, BAD_TAG, DUPLICATE_TAGS, NO_FIELDS, NO_FIELD_KEY, NO_VALUE, NO_EQUALS,
    BAD_NUMBER, NUMBER_RANGE, BAD_BOOLEAN, UNSIGNED, OPEN_STRING, AFTER_STRING, BAD_TIME, TIME_RANGE, AFTER_TIME,
    NO_TIME, NOT_UTF8, LONG_KEY, MANY_TAGS, CUT_RECORD, NO_POINT, BAD_VALUE,
) = range(len(REASONS))  # fmt: skip

# outcomes of the parts of the scanner that are no reason
DONE, HARD, INCOMPLETE, NO_ROOM, ABSENT_TIME, BLANK = -1, -2, -3, -4, -5, -6

MAX_OPEN = 65_536  # bytes of a string with newlines in it; beyond that its closing quote is taken to be missing

# codes in the kinds that are scanned: 0 absent, else Kind + 1
ABSENT = 0
FLOAT, INT, STRING, BOOL = int(Kind.FLOAT) + 1, int(Kind.INT) + 1, int(Kind.STRING) + 1, int(Kind.BOOL) + 1

SPELLINGS = b"t T true True TRUE f F false False FALSE".split()
BOOLEANS = np.array([(len(b), int.from_bytes(b, "little")) for b in SPELLINGS], np.uint64)  # the five true ones first
POWER8 = np.uint64(10**8)
LARGEST = np.uint64((1 << 63) - 1)
LAST_TIME = (1 << 63) - 2  # InfluxDB keeps the two ends of the range for itself


class Floats(NamedTuple):
    """powers: `power_table()`; solved: i8[k, 2], where HARD_FLOAT asked for a float, and its bits."""

    powers: Array
    solved: Array


@bare_routine
def scan_number(buf, i):  # type: ignore[no-untyped-def]
    """Any number, digit by digit: (reason or -1, whether int, mantissa u8, exponent of ten, digits lost, end).

    digits lost: the mantissa has its first 19 digits only, and some of the others is not zero.
    """
    p = i
    if buf[p] == MINUS:
        p += 1
    mantissa = U0
    exponent = np.int64(0)
    figures = 0  # significant digits in the mantissa
    digits = 0
    lost = False
    point = False
    while True:
        c = buf[p]
        if c == DOT and not point:
            point = True
        elif c >= DIGIT0 and c <= DIGIT9:
            digits += 1
            if figures < 19:
                mantissa = mantissa * TEN + np.uint64(c - DIGIT0)
                if mantissa != U0:
                    figures += 1
                if point:
                    exponent -= 1
            else:
                if c != DIGIT0:
                    lost = True
                if not point:
                    exponent += 1
        else:
            break
        p += 1
    if digits == 0:
        return BAD_NUMBER, False, U0, exponent, lost, p
    if c == LETTER_I:
        if point:
            return BAD_NUMBER, True, U0, exponent, lost, p
        if exponent > 0 or lost:
            return NUMBER_RANGE, True, U0, exponent, lost, i
        return -1, True, mantissa, exponent, lost, p + 1
    if c == LETTER_U and not point:
        return UNSIGNED, True, U0, exponent, lost, p
    if c == LETTER_E or c == LETTER_E - 32:
        p += 1
        down = buf[p] == MINUS
        if down or buf[p] == PLUS:
            p += 1
        if buf[p] < DIGIT0 or buf[p] > DIGIT9:
            return BAD_NUMBER, False, U0, exponent, lost, p
        power = np.int64(0)
        while buf[p] >= DIGIT0 and buf[p] <= DIGIT9:
            if power < 100_000_000:
                power = power * 10 + np.int64(buf[p] - DIGIT0)
            p += 1
        exponent += -power if down else power
    return -1, False, mantissa, exponent, lost, p


@bare_routine
def slow_float(mantissa, exponent, lost, p, powers, solved):  # type: ignore[no-untyped-def]
    """The bits of a positive float, -1 where only Python can tell and has not yet, -2 where it is out of range.

    p: where it stands; powers, solved: as in `Floats`.
    """
    if mantissa == U0:
        return np.int64(0)
    if exponent > 400:
        return np.int64(-2)
    if exponent < -400:
        return np.int64(0)
    bits = float_bits(mantissa, exponent, powers)
    if lost and bits != float_bits(mantissa + U1, exponent, powers):
        bits = np.int64(-1)
    if bits == -1:
        for k in range(solved.shape[0]):
            if solved[k, 0] == p:
                bits = solved[k, 1]
    return bits


@bare_kernel
def bits_of(value):  # type: ignore[no-untyped-def]
    """The bits of a float as i8."""
    return np.float64(value).view(np.int64)


@bare_kernel
def read_exponent(words, q):  # type: ignore[no-untyped-def]
    """What stands behind the `e` of a number, of at most seven digits: (power of ten, bytes); 0 bytes: it is none."""
    w = word(words, q)
    c = byte_of(w, 0)
    signed = np.int64(c in (MINUS, PLUS))
    d = (w >> np.uint64(8 * signed)) ^ ZEROS
    n = first_of(not_digits(d))
    power = np.int64(value_of(d, n))
    return -power if c == MINUS else power, np.int64(0) if n == 0 or n == 8 else n + signed


@bare_kernel
def read_decimal(words, q, d, point, convert, floats):  # type: ignore[no-untyped-def]
    """The number at `q` whose first eight bytes `d` (XORed with ZEROS) are seven digits and the point, as byte
    `point`: (the bits of its float as i8, end). -1 in place of the bits: it is another number, none, or hard."""
    mantissa = spelled((d & MASKS[point] | d >> EIGHT & ~MASKS[point]) << EIGHT)
    places = 7 - point
    q += 8
    d = word(words, q) ^ ZEROS
    n = first_of(not_digits(d))
    if n == 8:
        mantissa = mantissa * POWER8 + spelled(d)
        places += 8
        q += 8
        d = word(words, q) ^ ZEROS
        n = first_of(not_digits(d))
        if n > 4:  # more than 19 digits
            return np.int64(-1), q
    mantissa = mantissa * POWERS[n] + value_of(d, n)
    exponent = -places - n
    c = byte_of(d, n) ^ DIGIT0
    q += n
    if c | 32 == LETTER_E:
        power, n = read_exponent(words, q + 1)
        if n == 0:
            return np.int64(-1), q
        exponent += power
        q += 1 + n
        c = byte_of(word(words, q), 0)
    if not ends_value(c):
        return np.int64(-1), q
    if not convert:
        return np.int64(0), q
    bits = float_bits(mantissa, exponent, floats.powers)
    if bits < 0 and mantissa <= EXACT and exponent <= 0 and exponent >= -22:
        bits = bits_of(np.float64(np.int64(mantissa)) / FLOAT_POWERS[-exponent])
    return bits, q


@bare_kernel
def begins_number(c):  # type: ignore[no-untyped-def]
    """Whether a value that begins with the byte is read as a number."""
    return (c >= DIGIT0 and c <= DIGIT9) or c in (MINUS, DOT)


@bare_kernel
def read_number(text, p, convert, floats):  # type: ignore[no-untyped-def]
    """The number at `p`: (outcome, kind, its bits as i8, end). Where the outcome is a reason, end is where it stands.

    convert: whether the value of a float is wanted, beyond whether it is one.
    """
    buf, words = text.bytes, text.words
    negative = buf[p] == MINUS
    q = p + 1 if negative else p
    w = word(words, q) ^ ZEROS
    n = first_of(not_digits(w))
    mantissa = value_of(w, n)
    q += n
    if n == 8:
        w = word(words, q) ^ ZEROS
        m = first_of(not_digits(w))
        mantissa = mantissa * POWERS[m] + value_of(w, m)
        q += m
        n += m
    kind = FLOAT
    places = np.int64(0)
    if buf[q] == DOT:
        q += 1
        w = word(words, q) ^ ZEROS
        places += first_of(not_digits(w))
        mantissa = mantissa * POWERS[places] + value_of(w, places)
        q += places
        if places == 8:
            w = word(words, q) ^ ZEROS
            m = first_of(not_digits(w))
            mantissa = mantissa * POWERS[m] + value_of(w, m)
            q += m
            places += m
        n += places
    elif buf[q] == LETTER_I:
        kind = INT
        q += 1
    exponent = -places
    lost = False
    if n == 0 or n > 18 or not ends_value(np.int64(buf[q])):
        reason, whole, mantissa, exponent, lost, q = scan_number(buf, p)
        if reason >= 0:
            return reason, kind, np.int64(0), q
        kind = INT if whole else FLOAT
        if whole and mantissa > LARGEST and not (negative and mantissa == LARGEST + U1):
            return NUMBER_RANGE, kind, np.int64(0), p
        convert = True
    if kind == INT:
        return DONE, kind, np.int64(U0 - mantissa if negative else mantissa), q
    if not lost and exponent <= 0 and exponent >= -22 and mantissa <= EXACT:
        value = np.float64(np.int64(mantissa)) / FLOAT_POWERS[-exponent]
        return DONE, kind, bits_of(-value if negative else value), q
    bits = np.int64(0)
    if convert:
        bits = slow_float(mantissa, exponent, lost, p, floats.powers, floats.solved)
        if bits == -1:
            return HARD, kind, bits, q
        if bits == -2:
            return NUMBER_RANGE, kind, bits, p
    return DONE, kind, bits | SIGN if negative else bits, q


@bare_routine
def last_quote(buf, i):  # type: ignore[no-untyped-def]
    """The last quote of a string that goes on at `i`, behind a closing quote, or -1 where it does not end with one.

    InfluxDB takes what lies between the first and the last quote of a value, as in `"a""b"`, unless there is an `=`
    outside quotes. It is refused here where it would cut off another character than a quote, or where its two passes
    disagree, as on a comma behind a backslash.
    """
    quoted = False
    while quoted or not ends_value(np.int64(buf[i])):
        c = buf[i]
        if c == NEWLINE or (c == EQUALS and not quoted):
            return -1
        if c == BACKSLASH:
            if buf[i + 1] == NEWLINE or (buf[i + 1] == COMMA and not quoted):
                return -1
            i += 1
        elif c == QUOTE:
            quoted = not quoted
        i += 1
    return i - 1 if buf[i - 1] == QUOTE else -1


@bare_routine
def scan_string(text, i, stop):  # type: ignore[no-untyped-def]
    """The end of the string that begins with the quote at `i`: (its closing quote, a backslash in it, a newline in it).

    -1 in place of the quote: it is missing. -2: the text ends before it is clear.
    """
    buf = text.bytes
    i += 1
    begin = i
    escaped = False
    broken = False
    while True:
        i = find(text.words, i, QUOTE, BACKSLASH, NEWLINE)
        if i >= stop:
            return -2, escaped, broken
        c = buf[i]
        if c == QUOTE:
            if broken or ends_value(np.int64(buf[i + 1])):
                return i, escaped, broken
            last = last_quote(buf, i + 1)
            return (last, True, broken) if last >= 0 else (i, escaped, broken)
        if c == BACKSLASH:
            escaped = True
            i += 1 if buf[i + 1] == NEWLINE else 2
        else:
            broken = True
            i += 1
        if broken and i - begin > MAX_OPEN:
            return -1, escaped, broken


@bare_kernel
def read_string(text, p, stop, final, stored, cursor, strings):  # type: ignore[no-untyped-def]
    """The string whose opening quote stands at `p`: (outcome, its number, end, whether a newline is in it).

    stored: enter it in the table of strings; else the number is 0.
    """
    quote, escaped, broken = scan_string(text, p, stop)
    if quote < 0:
        return INCOMPLETE if quote == -2 and not final else OPEN_STRING, np.int64(0), p, broken
    begin = p + 1
    length = quote - begin
    known = np.int64(0)
    slot = np.int64(0)
    h = U0
    if stored:
        h = hash_of(text.words, begin, length)
        known = look_up(text.words, begin, length, h, strings.info, strings.hash, strings.slots, text.words)
        slot = -1 - known
    if not stored or known < 0:
        bad = valid_utf8(text, begin, quote)
        if bad >= 0:
            return NOT_UTF8, np.int64(0), bad, broken
    if known < 0:
        known = cursor[STRINGS]
        if is_full(strings, known):
            return NO_ROOM, np.int64(0), p, broken
        enter(strings, known, begin, length, h, slot)
        strings.info[known, 2] = np.int64(escaped)
        cursor[STRINGS] = known + 1
    c = text.bytes[quote + 1]
    if broken and c != COMMA and c != SPACE and not ends_line(text.bytes, quote + 1):
        return OPEN_STRING, known, p, broken  # rather than text after a quote that belongs to a later line
    return DONE, known, quote + 1, broken


@bare_kernel
def read_boolean(text, p):  # type: ignore[no-untyped-def]
    """The boolean at `p`: (outcome, 0 or 1, end). What else may stand there has been tried before."""
    buf = text.bytes
    w = word(text.words, p)
    for k in range(BOOLEANS.shape[0]):
        n = np.int64(BOOLEANS[k, 0])
        if w & MASKS[n] == BOOLEANS[k, 1] and ends_value(np.int64(buf[p + n])):
            return DONE, np.int64(k < 5), p + n
    c = np.int64(buf[p]) | 32
    if buf[p] == COMMA or buf[p] == SPACE or ends_line(buf, p):
        reason = NO_VALUE
    elif c in (LETTER_T, LETTER_F):
        reason = BAD_BOOLEAN
    else:
        reason = BAD_NUMBER if buf[p] == PLUS or c in (LETTER_N, LETTER_I) else BAD_VALUE
    return reason, np.int64(0), p


@bare_routine
def read_word(text, p, stop, final, stored, cursor, strings):  # type: ignore[no-untyped-def]
    """The string or boolean at `p`: (outcome, kind, its bits as i8, end, whether a newline is in it)."""
    if text.bytes[p] == QUOTE:
        outcome, bits, q, broken = read_string(text, p, stop, final, stored, cursor, strings)
        return outcome, STRING, bits, q, broken
    outcome, bits, q = read_boolean(text, p)
    return outcome, BOOL, bits, q, False


@bare_routine
def read_time(text, q, scale):  # type: ignore[no-untyped-def]
    """What follows the space at `q` behind the fields: (outcome, ns, the line's end); ABSENT_TIME: nothing follows.

    After an outcome that is a reason, where it stands is in place of the line's end.
    """
    buf = text.bytes
    begin = skip_blanks(buf, q)
    if ends_line(buf, begin):
        return ABSENT_TIME, np.int64(0), begin
    negative = buf[begin] == MINUS
    digits = begin + 1 if negative else begin
    p = digits
    value = U0
    while buf[p] >= DIGIT0 and buf[p] <= DIGIT9:
        if value > LARGEST // TEN:
            return TIME_RANGE, np.int64(0), begin
        value = value * TEN + np.uint64(buf[p] - DIGIT0)
        p += 1
    if p > digits and value > LARGEST:
        return TIME_RANGE, np.int64(0), begin
    if p == digits or (buf[p] != SPACE and not ends_line(buf, p)):
        return BAD_TIME, np.int64(0), p
    while buf[p] == SPACE:
        p += 1
    if not ends_line(buf, p):
        return AFTER_TIME, np.int64(0), p
    if value > np.uint64(LAST_TIME // scale):
        return TIME_RANGE, np.int64(0), begin
    time = np.int64(value) * scale
    return DONE, -time if negative else time, p
