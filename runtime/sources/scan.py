"""The scanner of line protocol: kernels that read lines of text straight into columns.

`scan_lines` goes through a buffer once. What comes back line after line is looked up, not decoded: the bytes before
the first space (measurement and tags) are the key of a series, the bytes before `=` the key of a field. Both are
guessed from what followed last time and compared eight bytes at a time; only where the guess is wrong is the text
searched, hashed and looked up in an open-addressing table. Numbers are read eight digits at a time.

Rules are those of InfluxDB 1.x (models/points.go), except where line_protocol.py says otherwise. A backslash before a
comma, space or equals sign takes away its meaning; in a string it does so for the quote and itself. A newline within
quotes belongs to the string; elsewhere it ends the line. All arithmetic on words is u8, which wraps.
"""

from __future__ import annotations

import numpy as np

from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.routine import routine
from tickc.runtime.sources.decimals import EXACT, FLOAT_POWERS, POWERS, SIGN, U0, U1, float_bits

# why `scan_lines` returned
MORE, FULL, NEW_FIELD, SERIES_FULL, STRINGS_FULL, HARD_FLOAT = range(6)

# cells of the cursor, i8[CURSOR]
POS, LINE, ROWS, PREVIOUS, SERIES, KEY_BYTES, STRINGS, ERRORS, AT, END, OPEN_END = range(11)
CURSOR = 16

# columns of the table of series, i8[cap, 6]: the key's place, where the measurement begins in it, and what is known
START, LENGTH, OFFSET, FLAG, NEXT, FIRST_FIELD = range(6)
UNKNOWN, WANTED, UNWANTED = range(3)  # FLAG

# columns of the table of fields, i8[cap, 4]: the key's place (with its `=`), its column or -1, the field after it
COLUMN, FOLLOWS = 2, 3

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

MAX_KEY = 65_535
MAX_TAGS = 1000
MAX_OPEN = 65_536  # bytes of a string with newlines in it; beyond that its closing quote is taken to be missing

# codes in the kinds that are scanned: 0 absent, else Kind + 1
ABSENT = 0
FLOAT, INT, STRING, BOOL = int(Kind.FLOAT) + 1, int(Kind.INT) + 1, int(Kind.STRING) + 1, int(Kind.BOOL) + 1
KINDS = 5

TAB, NEWLINE, RETURN, SPACE, QUOTE, HASH, COMMA, MINUS, PLUS, DOT = 9, 10, 13, 32, 34, 35, 44, 45, 43, 46
DIGIT0, DIGIT9, EQUALS, BACKSLASH = 48, 57, 61, 92
LETTER_E, LETTER_I, LETTER_U, LETTER_N = 101, 105, 117, 110

ALL = (1 << 64) - 1
ZEROS = np.uint64(0x3030303030303030)
NOT_DIGIT = np.uint64(0x7676767676767676)
HIGH = np.uint64(0x8080808080808080)
EACH = np.uint64(0x0101010101010101)
WHICH = np.uint64(0x0001020304050607)
PAIRS = np.uint64(0x000000FF000000FF)
TEN = np.uint64(10)
EIGHT = np.uint64(8)
UPPER = np.uint64(100 + (1_000_000 << 32))
LOWER = np.uint64(1 + (10_000 << 32))
R7, R16, R29, R32, R33, R56 = (np.uint64(k) for k in (7, 16, 29, 32, 33, 56))
MASKS = np.array([(1 << (8 * k)) - 1 for k in range(9)], np.uint64)  # the first k bytes of a word
SPACES = np.uint64(0x2020202020202020)
BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
QUOTES = np.uint64(0x2222222222222222)
NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)
SEED = np.uint64(0x9E3779B97F4A7C15)
FACTOR = np.uint64(0xFF51AFD7ED558CCD)
LARGEST = np.uint64((1 << 63) - 1)
LAST_TIME = (1 << 63) - 2  # InfluxDB keeps the two ends of the range for itself


@kernel
def digits_in(word):  # type: ignore[no-untyped-def]
    """How many of the leading bytes of `word` (already XORed with ZEROS) are digits, 0 to 8."""
    hit = ((word + NOT_DIGIT) | word) & HIGH
    if hit == U0:
        return 8
    lowest = hit & (~hit + U1)
    return np.int64(((lowest >> R7) * WHICH) >> R56)


@kernel
def value_of(word, n):  # type: ignore[no-untyped-def]
    """The number that the first n (0 to 8) bytes of `word` (XORed with ZEROS) spell, as u8."""
    if n == 0:
        return U0
    w = word << np.uint64(64 - 8 * n)
    w = w * TEN + (w >> EIGHT)
    return ((w & PAIRS) * UPPER + ((w >> R16) & PAIRS) * LOWER) >> R32


@routine
def hash_of(words, start, length):  # type: ignore[no-untyped-def]
    """A hash (u8) of `length` bytes from `start`."""
    h = SEED ^ np.uint64(length)
    k = 0
    while k + 8 <= length:
        h = (h ^ words[start + k]) * FACTOR
        h ^= h >> R29
        k += 8
    if k < length:
        h = (h ^ (words[start + k] & MASKS[length - k])) * FACTOR
        h ^= h >> R29
    return h


@kernel
def same(words, at, known, start, length):  # type: ignore[no-untyped-def]
    """Whether `length` bytes of two texts are equal."""
    k = 0
    while k + 8 <= length:
        if words[at + k] != known[start + k]:
            return False
        k += 8
    return k == length or (words[at + k] ^ known[start + k]) & MASKS[length - k] == U0


@routine
def find(words, at, length, h, slots, hashes, spans, known):  # type: ignore[no-untyped-def]
    """The number of a text in a table, or -1 - slot where it is not in it.

    slots: i4[power of two], number + 1 or 0; hashes: u8[cap]; spans: i8[cap, ≥ 2] start and length in the text `known`.
    """
    mask = slots.size - 1
    slot = np.int64(h >> R33) & mask
    while slots[slot] != 0:
        number = np.int64(slots[slot]) - 1
        if hashes[number] == h and spans[number, 1] == length and same(words, at, known, spans[number, 0], length):
            return number
        slot = (slot + 1) & mask
    return -1 - slot


@routine
def valid_utf8(buf, words, start, stop):  # type: ignore[no-untyped-def]
    """Where the first byte stands that is not part of UTF-8 text, or -1."""
    i = start
    while i < stop:
        c = np.int64(buf[i])
        if c < 0x80:
            i += 8 if words[i] & HIGH == U0 else 1
            continue
        least = 0x80
        most = 0xBF
        if c >= 0xC2 and c <= 0xDF:
            more = 1
        elif c >= 0xE0 and c <= 0xEF:
            more = 2
            if c == 0xE0:
                least = 0xA0
            elif c == 0xED:
                most = 0x9F
        elif c >= 0xF0 and c <= 0xF4:
            more = 3
            if c == 0xF0:
                least = 0x90
            elif c == 0xF4:
                most = 0x8F
        else:
            return i
        if i + more >= stop or buf[i + 1] < least or buf[i + 1] > most:
            return i
        for k in range(2, more + 1):
            if buf[i + k] < 0x80 or buf[i + k] > 0xBF:
                return i
        i += more + 1
    return -1


@routine
def find_newline(buf, words, i):  # type: ignore[no-untyped-def]
    """Where the next newline stands; there is one at the end of the text."""
    while True:
        w = words[i] ^ NEWLINES
        if (w - EACH) & ~w & HIGH != U0:
            break
        i += 8
    while buf[i] != NEWLINE:
        i += 1
    return i


@routine
def find_quote_or_newline(buf, words, i):  # type: ignore[no-untyped-def]
    """Where the next double quote or newline stands."""
    while True:
        q = words[i] ^ QUOTES
        n = words[i] ^ NEWLINES
        if (((q - EACH) & ~q) | ((n - EACH) & ~n)) & HIGH != U0:
            break
        i += 8
    while buf[i] != NEWLINE and buf[i] != QUOTE:
        i += 1
    return i


@routine
def find_key_end(buf, words, i):  # type: ignore[no-untyped-def]
    """Where the first unescaped space after `i` stands, or the newline where there is none."""
    i += 1
    while True:
        w = words[i]
        s = w ^ SPACES
        n = w ^ NEWLINES
        if (((s - EACH) & ~s) | ((n - EACH) & ~n)) & HIGH == U0:
            i += 8
            continue
        stop = i + 8
        while i < stop:
            c = buf[i]
            if c == NEWLINE or (c == SPACE and buf[i - 1] != BACKSLASH):
                return i
            i += 1


@routine
def check_key(buf, words, start, end, tags):  # type: ignore[no-untyped-def]
    """Check measurement and tags from `start` to `end`: (-1, 0) or the reason and where it stands.

    tags: i8[MAX_TAGS, 2], scratch for the tag keys.
    """
    if start >= end or buf[start] == COMMA:
        return NO_MEASUREMENT, start
    if end - start > MAX_KEY:
        return LONG_KEY, start
    i = start + 1
    while i < end and not (buf[i] == COMMA and buf[i - 1] != BACKSLASH):
        i += 1
    known = 0
    while i < end:
        i += 1
        begin = i
        if i >= end or buf[i] == COMMA or buf[i] == EQUALS:
            return NO_TAG_KEY, i
        i += 1
        while i < end and not ((buf[i] == COMMA or buf[i] == EQUALS) and buf[i - 1] != BACKSLASH):
            i += 1
        if i >= end or buf[i] == COMMA:
            return NO_TAG_VALUE, i
        if known == MAX_TAGS:
            return MANY_TAGS, begin
        for k in range(known):
            if tags[k, 1] - tags[k, 0] == i - begin:
                j = 0
                while j < i - begin and buf[tags[k, 0] + j] == buf[begin + j]:
                    j += 1
                if j == i - begin:
                    return DUPLICATE_TAGS, begin
        tags[known, 0] = begin
        tags[known, 1] = i
        known += 1
        i += 1
        if i >= end or buf[i] == COMMA:
            return NO_TAG_VALUE, i
        i += 1
        while i < end and not (buf[i] == COMMA and buf[i - 1] != BACKSLASH):
            if buf[i] == EQUALS and buf[i - 1] != BACKSLASH:
                return BAD_TAG, i
            i += 1
    bad = valid_utf8(buf, words, start, end)
    if bad >= 0:
        return NOT_UTF8, bad
    return -1, 0


@kernel
def skip_blanks(buf, i):  # type: ignore[no-untyped-def]
    """The next position that holds neither space, tab nor NUL."""
    while buf[i] == SPACE or buf[i] == TAB or buf[i] == 0:
        i += 1
    return i


@routine
def scan_boolean(buf, i):  # type: ignore[no-untyped-def]
    """(1, 0 or -1 where it is none, the position after it) for t T true True TRUE f F false False FALSE."""
    c = buf[i]
    upper = c == 84 or c == 70
    truth = c == 116 or c == 84
    if not truth and c != 102 and c != 70:
        return -1, i
    word = TRUE if truth else FALSE
    end = i + 1
    while buf[end] != COMMA and buf[end] != SPACE and buf[end] != NEWLINE and buf[end] != RETURN:
        end += 1
    if end - i == 1:
        return np.int64(truth), end
    if end - i != word.size:
        return -1, i
    lower = True
    capital = upper
    for k in range(1, word.size):
        lower = lower and buf[i + k] == word[k]
        capital = capital and buf[i + k] == word[k] - 32
    return (np.int64(truth), end) if lower or capital else (-1, i)


TRUE = np.frombuffer(b"true", np.uint8)
FALSE = np.frombuffer(b"false", np.uint8)


@routine
def scan_string(buf, words, i, stop):  # type: ignore[no-untyped-def]
    """The end of the string that begins with the quote at `i`: (its closing quote, a backslash in it, a newline in it).

    -1 in place of the quote: it is missing. -2: the text ends before it is clear.
    """
    i += 1
    begin = i
    escaped = False
    broken = False
    while True:
        w = words[i]
        q = w ^ QUOTES
        b = w ^ BACKSLASHES
        n = w ^ NEWLINES
        if (((q - EACH) & ~q) | ((b - EACH) & ~b) | ((n - EACH) & ~n)) & HIGH == U0:
            i += 8
            continue
        c = buf[i]
        while c != QUOTE and c != BACKSLASH and c != NEWLINE:
            i += 1
            c = buf[i]
        if i >= stop:
            return -2, escaped, broken
        if c == QUOTE:
            return i, escaped, broken
        if c == BACKSLASH:
            escaped = True
            if buf[i + 1] == NEWLINE:
                i += 1
            else:
                i += 2
        else:
            broken = True
            i += 1
        if broken and i - begin > MAX_OPEN:
            return -1, escaped, broken


@routine
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


@routine
def slow_float(mantissa, exponent, lost, powers):  # type: ignore[no-untyped-def]
    """The bits of a positive float, -1 where only Python can tell, -2 where it is out of range."""
    if mantissa == U0:
        return np.int64(0)
    if exponent > 400:
        return np.int64(-2)
    if exponent < -400:
        return np.int64(0)
    bits = float_bits(mantissa, exponent, powers)
    if lost and bits != float_bits(mantissa + U1, exponent, powers):
        return np.int64(-1)
    return bits


@routine
def scan_time(buf, words, i):  # type: ignore[no-untyped-def]
    """An integer: (reason or -1, value i8, end). Digits must follow; what comes after them is not looked at."""
    negative = buf[i] == MINUS
    p = i + 1 if negative else i
    value = U0
    begin = p
    while buf[p] == DIGIT0:
        p += 1
    figures = p
    while True:
        word = words[p] ^ ZEROS
        n = digits_in(word)
        if p + n - figures > 19:
            return TIME_RANGE, np.int64(0), i
        value = value * POWERS[n] + value_of(word, n)
        p += n
        if n < 8:
            break
    if p == begin:
        return BAD_TIME, np.int64(0), p
    if value > LARGEST:
        return TIME_RANGE, np.int64(0), i
    return -1, -np.int64(value) if negative else np.int64(value), p


@kernel
def ends_line(buf, i):  # type: ignore[no-untyped-def]
    """Whether a newline, or a carriage return and a newline, stands at `i`."""
    return buf[i] == NEWLINE or (buf[i] == RETURN and buf[i + 1] == NEWLINE)


@routine
def clear_row(kinds, counts, row):  # type: ignore[no-untyped-def]
    """Take back what a line has written before it turned out to be malformed or incomplete."""
    if row < kinds.shape[1]:
        for column in range(kinds.shape[0]):
            if kinds[column, row] != ABSENT:
                counts[column, kinds[column, row]] -= 1
                kinds[column, row] = ABSENT


@kernel
def add_entry(number, start, length, h, slot, slots, hashes, spans):  # type: ignore[no-untyped-def]
    """Enter text `number` into the table; `slot` comes from `find`."""
    slots[slot] = number + 1
    hashes[number] = h
    spans[number, 0] = start
    spans[number, 1] = length


@kernel
def bits_of(value):  # type: ignore[no-untyped-def]
    """The bits of a float as i8."""
    return np.float64(value).view(np.int64)


@kernel
def read_number(buf, words, p, convert, powers, solved_at, solved):  # type: ignore[no-untyped-def]
    """The number at `p`: (outcome, kind, its bits as i8, end). Where the outcome is a reason, end is where it stands.

    convert: whether the value of a float is wanted, beyond whether it is one.
    """
    negative = buf[p] == MINUS
    q = p + 1 if negative else p
    word = words[q] ^ ZEROS
    n = digits_in(word)
    mantissa = value_of(word, n)
    q += n
    if n == 8:
        word = words[q] ^ ZEROS
        m = digits_in(word)
        mantissa = mantissa * POWERS[m] + value_of(word, m)
        q += m
        n += m
    kind = FLOAT
    places = np.int64(0)
    if buf[q] == DOT:
        q += 1
        word = words[q] ^ ZEROS
        places += digits_in(word)
        mantissa = mantissa * POWERS[places] + value_of(word, places)
        q += places
        if places == 8:
            word = words[q] ^ ZEROS
            m = digits_in(word)
            mantissa = mantissa * POWERS[m] + value_of(word, m)
            q += m
            places += m
        n += places
    elif buf[q] == LETTER_I:
        kind = INT
        q += 1
    exponent = -places
    lost = False
    c = buf[q]
    if n == 0 or n > 18 or not (c == COMMA or c == SPACE or c == NEWLINE or c == RETURN):  # noqa: SIM109
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
        bits = slow_float(mantissa, exponent, lost, powers)
        if bits == -1:
            for k in range(solved_at.size):
                if solved_at[k] == p:
                    bits = solved[k]
        if bits == -1:
            return HARD, kind, bits, q
        if bits == -2:
            return NUMBER_RANGE, kind, bits, p
    return DONE, kind, bits | SIGN if negative else bits, q


@routine
def read_string(  # type: ignore[no-untyped-def]
    buf, words, p, stop, final, stored, cursor, strings, string_hash, string_slots
):
    """The string whose opening quote stands at `p`: (outcome, its number, end, whether a newline is in it).

    stored: enter it in the table of strings; else the number is 0.
    """
    quote, escaped, broken = scan_string(buf, words, p, stop)
    if quote < 0:
        return INCOMPLETE if quote == -2 and not final else OPEN_STRING, np.int64(0), p, broken
    begin = p + 1
    length = quote - begin
    if not stored:
        bad = valid_utf8(buf, words, begin, quote)
        return (DONE, np.int64(0), quote + 1, broken) if bad < 0 else (NOT_UTF8, np.int64(0), bad, broken)
    h = hash_of(words, begin, length)
    known = find(words, begin, length, h, string_slots, string_hash, strings, words)
    if known < 0:
        bad = valid_utf8(buf, words, begin, quote)
        if bad >= 0:
            return NOT_UTF8, np.int64(0), bad, broken
        slot = -1 - known
        known = cursor[STRINGS]
        if known == string_hash.size or 2 * known + 2 > string_slots.size:
            return NO_ROOM, np.int64(0), p, broken
        add_entry(known, begin, length, h, slot, string_slots, string_hash, strings)
        strings[known, 2] = np.int64(escaped)
        cursor[STRINGS] = known + 1
    return DONE, np.int64(known), quote + 1, broken


@routine
def read_boolean(buf, p):  # type: ignore[no-untyped-def]
    """The boolean at `p`: (outcome, 0 or 1, end). What else may stand there has been tried before."""
    truth, q = scan_boolean(buf, p)
    if truth >= 0:
        return DONE, np.int64(truth), q
    if buf[p] == COMMA or buf[p] == SPACE or ends_line(buf, p):
        return NO_VALUE, np.int64(0), p
    lower = np.int64(buf[p]) | 32
    if lower == 116 or lower == 102:
        return BAD_BOOLEAN, np.int64(0), p
    numeric = buf[p] == PLUS or lower in (LETTER_N, LETTER_I)
    return BAD_NUMBER if numeric else BAD_VALUE, np.int64(0), p


@routine
def read_time(buf, words, q, scale):  # type: ignore[no-untyped-def]
    """What follows the space at `q` behind the fields: (outcome, ns, the line's end); ABSENT_TIME: nothing follows."""
    p = skip_blanks(buf, q)
    if ends_line(buf, p):
        return ABSENT_TIME, np.int64(0), p
    reason, time, q = scan_time(buf, words, p)
    if reason >= 0:
        return reason, time, q
    if buf[q] != SPACE and not ends_line(buf, q):
        return BAD_TIME, time, q
    while buf[q] == SPACE:
        q += 1
    if not ends_line(buf, q):
        return AFTER_TIME, time, q
    if time > LAST_TIME // scale or time < -(LAST_TIME // scale):
        return TIME_RANGE, time, p
    return DONE, time * scale, q


@routine
def enter_series(  # type: ignore[no-untyped-def]
    buf, words, pos, begin, end, previous, cursor, scratch, series, series_hash, series_slots, keys, key_words
):
    """The number of the series with the key from `pos` to `end`, entered where it is new: (outcome, number or place).

    begin: where the measurement begins; before it stand database and policy in a recording.
    """
    length = end - pos
    h = hash_of(words, pos, length)
    number = find(words, pos, length, h, series_slots, series_hash, series, key_words)
    if number >= 0:
        return DONE, number
    slot = -1 - number
    reason, at = check_key(buf, words, begin, end, scratch)
    if reason >= 0:
        return reason, at
    bad = valid_utf8(buf, words, pos, begin)
    if bad >= 0:
        return NOT_UTF8, begin
    number = cursor[SERIES]
    offset = cursor[KEY_BYTES]
    if number == series_hash.size or 2 * number + 2 > series_slots.size or offset + length + 16 > keys.size:
        cursor[AT] = pos
        cursor[END] = end
        return NO_ROOM, number
    for k in range(length):
        keys[offset + k] = buf[pos + k]
    add_entry(number, offset, length, h, slot, series_slots, series_hash, series)
    series[number, OFFSET] = begin - pos
    series[number, FLAG] = UNKNOWN
    series[number, NEXT] = number
    series[number, FIRST_FIELD] = -1 if previous < 0 else series[previous, FIRST_FIELD]
    cursor[SERIES] = number + 1
    cursor[KEY_BYTES] = offset + length
    return DONE, number


@routine
def find_field(buf, words, p, cursor, fields, field_hash, field_slots, field_words):  # type: ignore[no-untyped-def]
    """The number of the field whose key begins at `p`: (outcome, number or place); NO_ROOM where it is a new one."""
    q = p
    c = buf[q]
    while c != NEWLINE and c != EQUALS and c != COMMA and c != SPACE:
        q += 1
        if c == BACKSLASH and buf[q] != NEWLINE:
            q += 1
        c = buf[q]
    if q == p:
        return NO_FIELD_KEY, p
    if c != EQUALS or buf[q - 1] == BACKSLASH:  # InfluxDB's second pass would not see an `=` behind two backslashes
        return NO_EQUALS, q
    n = q + 1 - p
    number = find(words, p, n, hash_of(words, p, n), field_slots, field_hash, fields, field_words)
    if number >= 0:
        return DONE, number
    bad = valid_utf8(buf, words, p, q)
    if bad >= 0:
        return NOT_UTF8, bad
    if n > MAX_KEY:
        return LONG_KEY, p
    cursor[AT] = p
    cursor[END] = q
    return NO_ROOM, p


@routine
def begin_line(buf, words, pos, stop, final, recording):  # type: ignore[no-untyped-def]
    """What stands at `pos`, the beginning of a line or record: (outcome, begin, end).

    DONE: a point, its measurement begins at `begin`, and the first unescaped space or else the newline is at `end`.
    BLANK: a line without a point, up to the newline at `end`. INCOMPLETE: the text ends before it is clear. A reason:
    `begin` is where it stands.
    """
    begin = pos
    if recording:
        first = find_newline(buf, words, pos)
        second = first if first >= stop else find_newline(buf, words, first + 1)
        begin = second + 1
        if begin < stop:
            begin = skip_blanks(buf, begin)
        if begin >= stop:
            if not final:
                return INCOMPLETE, pos, pos
            while pos < stop and buf[pos] <= SPACE:
                pos += 1
            return CUT_RECORD if pos < stop else BLANK, pos, stop
        if ends_line(buf, begin) or buf[begin] == HASH:
            return NO_POINT, begin, begin
    else:
        begin = skip_blanks(buf, begin)
        if ends_line(buf, begin) or buf[begin] == HASH:
            end = find_newline(buf, words, begin)
            return BLANK if final or end < stop else INCOMPLETE, begin, end
    end = find_key_end(buf, words, begin)
    if buf[end] != NEWLINE:
        return DONE, begin, end
    if buf[begin] == COMMA:
        return NO_MEASUREMENT, begin, end
    return NO_FIELDS, end - 1 if buf[end - 1] == RETURN else end, end


@kernel
def scan_lines(  # type: ignore[no-untyped-def]
    buf, words, stop, final, recording, cursor,
    times, row_series, ints, kinds, counts,
    series, series_hash, series_slots, keys, key_words,
    fields, field_hash, field_slots, field_words, field_heads,
    strings, string_hash, string_slots,
    errors, reasons, scratch, powers, scale, default_time, has_default, solved_at, solved,
):  # fmt: skip
    """Read lines from cursor[POS] on until the text, a table or the batch is at its end; returns why (MORE, FULL, …).

    buf: u1, the text up to `stop`, a newline there, and at least 32 bytes more. words: the same memory as u8 that begin
    at each byte. final: no text follows. recording: three lines a point (database, policy, line protocol).
    Batch: times i8[n] ns, row_series i4[n], and for each column of fields ints i8[columns, n] (floats by their bits,
    booleans as 0 and 1, strings as numbers in `strings`), kinds u1 (ABSENT, FLOAT, …), counts i8[columns, KINDS].
    Tables, each with hashes u8[cap] and slots i4[2^k]: series i8[cap, 6] with keys u1 (and key_words, as above),
    fields i8[cap, 4] with field_words and field_heads u8[cap, 4] (first 16 bytes of the key and their masks), strings
    i8[cap, 3] (place in buf, and whether a backslash is in it).
    errors: i8[k, 4] of the first malformed lines: line, position, reason, beginning; reasons: i8, how many of each.
    scale: ns of the precision. solved_at, solved: floats that HARD_FLOAT asked for, and where in buf they stand.
    Where a table is full, nothing of the line concerned remains, and cursor[AT], cursor[END] say what is needed.
    """
    pos = cursor[POS]
    line = cursor[LINE]
    row = cursor[ROWS]
    previous = cursor[PREVIOUS]
    status = MORE
    while pos < stop:
        if row == times.size:
            status = FULL
            break
        outcome = DONE
        at = pos  # after an outcome that is a reason: where it stands
        point = pos  # where the measurement begins
        end = pos  # of the key
        number = np.int64(-1)

        # which series: the one that followed the previous one last time, else search
        if previous >= 0:
            guess = series[previous, NEXT]
            length = series[guess, LENGTH]
            if (
                pos + length < stop
                and buf[pos + length] == SPACE
                and same(words, pos, key_words, series[guess, START], length)
            ):
                number = guess
                point = pos + series[guess, OFFSET]
                end = pos + length
        if number < 0:
            outcome, point, end = begin_line(buf, words, pos, stop, final, recording)
            if outcome == INCOMPLETE:
                break
            if outcome == BLANK:
                pos = end + 1
                line += 1
                continue
            at = point
            if outcome == DONE:
                if not recording:
                    pos = point
                outcome, number = enter_series(
                    buf, words, pos, point, end, previous, cursor, scratch,
                    series, series_hash, series_slots, keys, key_words,
                )  # fmt: skip
                if outcome == NO_ROOM:
                    status = SERIES_FULL
                    break
                at = number
                if outcome == DONE and previous >= 0:
                    series[previous, NEXT] = number

        time = default_time
        timed = has_default
        broken = False
        finish = end  # where the line ends
        store = outcome == DONE and series[number, FLAG] != UNWANTED
        fielded = store
        if outcome == DONE and not store:
            finish = find_quote_or_newline(buf, words, end)
            fielded = buf[finish] == QUOTE  # a newline may be part of a string
        if fielded:
            room = MAX_KEY - 3 - (end - point)
            p = skip_blanks(buf, end)
            f = series[number, FIRST_FIELD]
            last = np.int64(-1)
            if ends_line(buf, p):
                outcome = NO_FIELDS
                at = p
            while outcome == DONE:
                hit = False
                if f >= 0:
                    differ = (words[p] ^ field_heads[f, 0]) & field_heads[f, 1]
                    differ |= (words[p + 8] ^ field_heads[f, 2]) & field_heads[f, 3]
                    hit = differ == U0
                    n = fields[f, LENGTH]
                    if hit and n > 16:
                        hit = p + n <= stop and same(words, p, field_words, fields[f, START], n)
                if not hit:
                    outcome, f = find_field(buf, words, p, cursor, fields, field_hash, field_slots, field_words)
                    if outcome != DONE:
                        at = f
                        status = NEW_FIELD
                        break
                    if last < 0:
                        series[number, FIRST_FIELD] = f
                    else:
                        fields[last, FOLLOWS] = f
                last = f
                if fields[f, LENGTH] > room:
                    outcome = LONG_KEY
                    at = p
                    break
                column = fields[f, COLUMN] if store else np.int64(-1)
                p += fields[f, LENGTH]
                c = buf[p]
                if (c >= DIGIT0 and c <= DIGIT9) or c == MINUS or c == DOT:  # noqa: SIM109
                    outcome, kind, bits, q = read_number(buf, words, p, column >= 0, powers, solved_at, solved)
                elif c == QUOTE:
                    kind = STRING
                    outcome, bits, q, more = read_string(
                        buf, words, p, stop, final, column >= 0, cursor, strings, string_hash, string_slots
                    )
                    broken = broken or more
                    if outcome == DONE and more and buf[q] != COMMA and buf[q] != SPACE and not ends_line(buf, q):
                        outcome = OPEN_STRING  # rather than text after a quote that belongs to a later line
                        q = p
                else:
                    kind = BOOL
                    outcome, bits, q = read_boolean(buf, p)
                if outcome != DONE:
                    status = STRINGS_FULL
                    if outcome == HARD:
                        status = HARD_FLOAT
                        cursor[AT] = p
                        cursor[END] = q
                    at = q
                    break
                if column >= 0:
                    if kinds[column, row] != ABSENT:  # a field that stands twice in a line
                        counts[column, kinds[column, row]] -= 1
                    counts[column, kind] += 1
                    kinds[column, row] = kind
                    ints[column, row] = bits
                c = buf[q]
                if c == COMMA:
                    p = q + 1
                    f = fields[last, FOLLOWS]
                    continue
                finish = q
                if c == SPACE:
                    outcome, stamp, finish = read_time(buf, words, q, scale)
                    at = finish
                    if outcome == ABSENT_TIME:
                        outcome = DONE
                    elif outcome == DONE:
                        time = stamp
                        timed = True
                elif not ends_line(buf, q):
                    outcome = AFTER_STRING if kind == STRING else BAD_NUMBER
                    at = q
                break
            if outcome == DONE and not timed:
                outcome = NO_TIME
                at = finish
            if outcome == NO_ROOM or outcome == HARD or outcome == INCOMPLETE:  # noqa: SIM109
                if outcome == INCOMPLETE:
                    status = MORE
                clear_row(kinds, counts, row)
                break
            status = MORE

        if outcome == DONE:
            if buf[finish] == RETURN:
                finish += 1
        else:
            finish = stop if outcome == CUT_RECORD else find_newline(buf, words, point)
        cut = finish >= stop or (outcome != DONE and broken and find_newline(buf, words, min(at, stop)) >= stop)
        if cut and not final:  # what is wrong may be that the text ends here
            clear_row(kinds, counts, row)
            break
        if outcome != DONE:
            clear_row(kinds, counts, row)
            if cursor[ERRORS] < errors.shape[0]:
                errors[cursor[ERRORS], 0] = line
                errors[cursor[ERRORS], 1] = min(at, stop)
                errors[cursor[ERRORS], 2] = outcome
                errors[cursor[ERRORS], 3] = pos
            cursor[ERRORS] += 1
            reasons[outcome] += 1
        else:
            if store:
                times[row] = time
                row_series[row] = number
                row += 1
                cursor[OPEN_END] = np.int64(finish >= stop)
            previous = number
            if broken:
                for k in range(point, finish):
                    if buf[k] == NEWLINE:
                        line += 1
        line += 3 if recording else 1
        pos = finish + 1
    cursor[POS] = min(pos, stop)
    cursor[LINE] = line
    cursor[ROWS] = row
    cursor[PREVIOUS] = previous
    return status
