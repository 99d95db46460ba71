"""The scanner of line protocol: kernels that read lines of text straight into columns.

`scan_lines` goes through a buffer once. What comes back line after line is looked up, not decoded: the bytes before
the first space (measurement and tags) are the key of a series, the bytes before `=` the key of a field. Both are
guessed from what followed last time and compared eight bytes at a time; only where the guess is wrong is the text
searched, hashed and looked up in an open-addressing table. A number of up to seven digits is read in one go, a longer
one eight digits at a time. Lines of series that nobody wants are not parsed.

Rules are those of InfluxDB 1.x (models/points.go), except where line_protocol.py says otherwise. A backslash before a
comma, space or equals sign takes away its meaning; in a string it does so for the quote and itself. A newline within
quotes belongs to the string; elsewhere it ends the line.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.primitive import word
from tickc.runtime.routine import bare_routine
from tickc.runtime.sources.decimals import FLOAT_POWERS, POWERS, SIGN, U0, U1
from tickc.runtime.sources.linetext import (
    BACKSLASH,
    COMMA,
    DOT,
    EIGHT,
    EQUALS,
    HASH,
    LETTER_I,
    MASKS,
    MINUS,
    NEWLINE,
    QUOTE,
    RETURN,
    SPACE,
    ZEROS,
    byte_of,
    ends_line,
    ends_value,
    enter,
    find,
    find_newline,
    first_of,
    hash_of,
    is_full,
    look_up,
    not_digits,
    same,
    skip_blanks,
    spelled,
    valid_utf8,
    value_of,
)
from tickc.runtime.sources.linevalues import (
    ABSENT,
    ABSENT_TIME,
    AFTER_STRING,
    AT,
    BAD_NUMBER,
    BAD_TAG,
    BLANK,
    CUT_RECORD,
    DONE,
    DUPLICATE_TAGS,
    END,
    ERRORS,
    FLOAT,
    HARD,
    INCOMPLETE,
    INT,
    KEY_BYTES,
    LAST_TIME,
    LINE,
    LONG_KEY,
    MANY_TAGS,
    NO_EQUALS,
    NO_FIELD_KEY,
    NO_FIELDS,
    NO_MEASUREMENT,
    NO_POINT,
    NO_ROOM,
    NO_TAG_KEY,
    NO_TAG_VALUE,
    NO_TIME,
    NOT_UTF8,
    OPEN_END,
    POS,
    PREVIOUS,
    ROWS,
    SERIES,
    STRING,
    begins_number,
    read_decimal,
    read_number,
    read_time,
    read_word,
)

# why `scan_lines` returned
MORE, FULL, NEW_FIELD, SERIES_FULL, STRINGS_FULL, HARD_FLOAT = range(6)

# cells of `how`, i8[6]. FINAL: no text follows; RECORDING: three lines a point (database, policy, line protocol);
# SCALE: ns of the precision; DEFAULT_TIME, HAS_DEFAULT: the time of lines without one
STOP, FINAL, RECORDING, SCALE, DEFAULT_TIME, HAS_DEFAULT = range(6)

# columns of the tables' `info`. Series: the key's place, where the measurement begins in it, and what is known
START, LENGTH, OFFSET, FLAG, NEXT, FIRST_FIELD = range(6)
WANTED, UNWANTED = range(2)  # FLAG

# columns of fields: the key's place (with its `=`), its column or -1, the field after it, where in the key the second
# and third word of its head begin
COLUMN, FOLLOWS, SECOND, THIRD = 2, 3, 4, 5
HEAD = 24  # bytes of a key that are in its head: u8[4], a mask and three words

# columns of conditions, i8[k, 5]: a measurement or tag, and the text it must have; see `wants`
MEASUREMENT, SAME, DIFFERENT = range(3)
# columns of tests, i8[k, 4]: the column, the code of the kind, the operator, and the bits to compare with; an operator
# has a bit for each order in which it holds: 1 below, 2 equal, 4 above
OPERATORS = {"==": 2, "!=": 5, "<": 1, "<=": 3, ">": 4, ">=": 6}

MAX_KEY = 65_535
MAX_TAGS = 1000


class Out(NamedTuple):
    """The batch that is filled. times: i8[n] ns; series: i4[n]; for each column of fields floats f8[columns, n], ints
    i8[columns, n] (the same memory; booleans as 0 and 1, strings as numbers in their table), kinds u1[columns, n]
    (ABSENT, FLOAT, …), all ABSENT before."""

    times: Array
    series: Array
    floats: Array
    ints: Array
    kinds: Array


class Wanting(NamedTuple):
    """Which lines are wanted. conditions: i8[k, 5], of a series, with their texts (u1); tests: i8[k, 4], of fields."""

    conditions: Array
    texts: Array
    tests: Array


class Report(NamedTuple):
    """errors: i8[k, 4], the first malformed lines: line, position, reason, beginning; reasons: i8, how many of each."""

    errors: Array
    reasons: Array


# --------------------------------------------------------------------------------------------------------------- series


@bare_kernel
def unescaped(buf, i, end, a, b):  # type: ignore[no-untyped-def]
    """Where the next byte a or b without a backslash before it stands, from `i` on, or `end`."""
    while i < end and not ((buf[i] == a or buf[i] == b) and buf[i - 1] != BACKSLASH):
        i += 1
    return i


@bare_routine
def check_key(text, start, end, spans):  # type: ignore[no-untyped-def]
    """Check measurement and tags from `start` to `end`: (the reason, where it stands), or (-1, number of tags).

    spans: i8[MAX_TAGS + 1, 3], filled with begin, end of the key and end of the value of each tag, behind those of the
    measurement.
    """
    buf = text.bytes
    if start >= end or buf[start] == COMMA:
        return NO_MEASUREMENT, start
    if end - start > MAX_KEY:
        return LONG_KEY, start
    i = unescaped(buf, start + 1, end, COMMA, COMMA)
    spans[0, 0] = start
    spans[0, 1] = i
    known = 0
    while i < end:
        i += 1
        begin = i
        if i >= end or buf[i] == COMMA or buf[i] == EQUALS:
            return NO_TAG_KEY, i
        equals = unescaped(buf, i + 1, end, COMMA, EQUALS)
        if equals >= end or buf[equals] == COMMA:
            return NO_TAG_VALUE, equals
        if known == MAX_TAGS:
            return MANY_TAGS, begin
        size = equals - begin
        for k in range(1, known + 1):
            if spans[k, 1] - spans[k, 0] == size and same(text.words, begin, text.words, spans[k, 0], size):
                return DUPLICATE_TAGS, begin
        i = equals + 1
        if i >= end or buf[i] == COMMA:
            return NO_TAG_VALUE, i
        i = unescaped(buf, i + 1, end, COMMA, EQUALS)
        if i < end and buf[i] == EQUALS:
            return BAD_TAG, i
        known += 1
        spans[known, 0] = begin
        spans[known, 1] = equals
        spans[known, 2] = i
    bad = valid_utf8(text, start, end)
    if bad >= 0:
        return NOT_UTF8, bad
    return -1, known


@bare_kernel
def reads_as(buf, begin, end, known, start, length):  # type: ignore[no-untyped-def]
    """Whether `length` bytes of `known` are what stands from `begin` to `end`."""
    k = 0
    while k < length and begin + k < end and buf[begin + k] == known[start + k]:
        k += 1
    return k == length == end - begin


@bare_routine
def wants(buf, start, end, spans, tags, wanting):  # type: ignore[no-untyped-def]
    """Whether points of a series are wanted: WANTED or UNWANTED. A key with backslashes always is.

    Conditions are MEASUREMENT, with a name of which one must be the series', or SAME and DIFFERENT, with a tag and the
    value that it must have or not; a series without the tag is wanted. Columns: which, then start and length of the
    tag and of the text.
    """
    conditions, texts = wanting.conditions, wanting.texts
    for i in range(start, end):
        if buf[i] == BACKSLASH:
            return WANTED
    named = True
    found = False
    for c in range(conditions.shape[0]):
        which = conditions[c, 0]
        if which == MEASUREMENT:
            named = False
            found = found or reads_as(buf, spans[0, 0], spans[0, 1], texts, conditions[c, 3], conditions[c, 4])
            continue
        for k in range(1, tags + 1):
            if reads_as(buf, spans[k, 0], spans[k, 1], texts, conditions[c, 1], conditions[c, 2]):
                equal = reads_as(buf, spans[k, 1] + 1, spans[k, 2], texts, conditions[c, 3], conditions[c, 4])
                if equal != (which == SAME):
                    return UNWANTED
    return WANTED if named or found else UNWANTED


@bare_routine
def enter_series(text, pos, begin, end, previous, cursor, spans, series, wanting):  # type: ignore[no-untyped-def]
    """The number of the series with the key from `pos` to `end`, entered where it is new: (outcome, number or place).

    begin: where the measurement begins; before it stand database and policy in a recording.
    """
    length = end - pos
    h = hash_of(text.words, pos, length)
    number = look_up(text.words, pos, length, h, series.info, series.hash, series.slots, series.words)
    if number >= 0:
        return DONE, number
    slot = -1 - number
    reason, at = check_key(text, begin, end, spans)
    if reason >= 0:
        return reason, at
    if valid_utf8(text, pos, begin) >= 0:
        return NOT_UTF8, begin
    number = cursor[SERIES]
    offset = cursor[KEY_BYTES]
    if is_full(series, number) or offset + length + 32 > series.bytes.size:
        cursor[AT] = pos
        cursor[END] = end
        return NO_ROOM, number
    for k in range(length):
        series.bytes[offset + k] = text.bytes[pos + k]
    enter(series, number, offset, length, h, slot)
    series.info[number, OFFSET] = begin - pos
    series.info[number, FLAG] = wants(text.bytes, begin, end, spans, at, wanting)
    series.info[number, NEXT] = number
    series.info[number, FIRST_FIELD] = -1 if previous < 0 else series.info[previous, FIRST_FIELD]
    cursor[SERIES] = number + 1
    cursor[KEY_BYTES] = offset + length
    return DONE, number


# ---------------------------------------------------------------------------------------------------------------- lines


@bare_routine
def begin_line(text, pos, stop, final, recording):  # type: ignore[no-untyped-def]
    """What stands at `pos`, the beginning of a line or record: (outcome, begin, end).

    DONE: a point, its measurement begins at `begin`, and the first unescaped space or else the newline is at `end`.
    BLANK: a line without a point, up to the newline at `end`. INCOMPLETE: the text ends before it is clear. A reason:
    `begin` is where it stands.
    """
    buf, words = text.bytes, text.words
    begin = pos
    if recording:
        first = find_newline(words, pos)
        second = first if first >= stop else find_newline(words, first + 1)
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
            end = find_newline(words, begin)
            return BLANK if final or end < stop else INCOMPLETE, begin, end
    end = begin
    while True:  # the first byte of a measurement may be any
        end = find(words, end + 1, SPACE, NEWLINE, NEWLINE)
        if buf[end] == NEWLINE or buf[end - 1] != BACKSLASH:
            break
    if buf[end] != NEWLINE:
        return DONE, begin, end
    if buf[begin] == COMMA:
        return NO_MEASUREMENT, begin, end
    return NO_FIELDS, end - 1 if buf[end - 1] == RETURN else end, end


@bare_routine
def clear_row(kinds, row):  # type: ignore[no-untyped-def]
    """Take back what a line has written that does not become a row."""
    if row < kinds.shape[1]:
        for column in range(kinds.shape[0]):
            kinds[column, row] = ABSENT


@bare_routine
def passes(out, row, tests):  # type: ignore[no-untyped-def]
    """Whether a row may fulfil all tests; one on a field that is absent or of another kind decides nothing."""
    for t in range(tests.shape[0]):
        column = tests[t, 0]
        if column >= 0 and out.kinds[column, row] == tests[t, 1]:
            value, literal = out.ints[column, row], tests[t, 3]
            order = np.int64(value > literal) - np.int64(value < literal)
            if tests[t, 1] == FLOAT:
                x, y = out.floats[column, row], np.int64(literal).view(np.float64)
                order = np.int64(x > y) - np.int64(x < y)
            if (tests[t, 2] >> (order + 1)) & 1 == 0:
                return False
    return True


@bare_routine
def find_field(text, p, cursor, fields):  # type: ignore[no-untyped-def]
    """The number of the field whose key begins at `p`: (outcome, number or place); NO_ROOM where it is a new one."""
    buf = text.bytes
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
    h = hash_of(text.words, p, n)
    number = look_up(text.words, p, n, h, fields.info, fields.hash, fields.slots, fields.words)
    if number >= 0:
        return DONE, number
    bad = valid_utf8(text, p, q)
    if bad >= 0:
        return NOT_UTF8, bad
    if n > MAX_KEY:
        return LONG_KEY, p
    cursor[AT] = p
    cursor[END] = q
    return NO_ROOM, p


@bare_kernel
def scan_lines(text, how, cursor, out, series, fields, heads, strings, wanting, floats, spans, report):  # type: ignore[no-untyped-def]
    """Read lines from cursor[POS] on until the text, a table or the batch is at its end; returns why (MORE, FULL, …).

    heads: u8[cap, 4], the first HEAD bytes of each field's key: a mask and three words. spans: scratch of `check_key`.
    Where a table is full, nothing of the line concerned remains, and cursor[AT], cursor[END] say what is needed.
    """
    buf, words = text.bytes, text.words
    info = series.info
    kinds, ints, values = out.kinds, out.ints, out.floats
    stop, final, recording, scale = how[STOP], how[FINAL] != 0, how[RECORDING] != 0, how[SCALE]
    latest = np.uint64(LAST_TIME // scale)
    pos = cursor[POS]
    line = cursor[LINE]
    row = cursor[ROWS]
    previous = cursor[PREVIOUS]
    status = MORE
    while pos < stop:
        if row == out.times.size:
            status = FULL
            break
        outcome = DONE
        at = pos  # after an outcome that is a reason: where it stands
        point = pos  # where the measurement begins
        end = pos  # of the key
        number = np.int64(-1)

        # which series: the one that followed the previous one last time, else search
        if previous >= 0:
            guess = info[previous, NEXT]
            length = info[guess, LENGTH]
            if (
                pos + length < stop
                and buf[pos + length] == SPACE
                and same(words, pos, series.words, info[guess, START], length)
            ):
                number = guess
                point = pos + info[guess, OFFSET]
                end = pos + length
        if number < 0:
            outcome, point, end = begin_line(text, pos, stop, final, recording)
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
                outcome, number = enter_series(text, pos, point, end, previous, cursor, spans, series, wanting)
                if outcome == NO_ROOM:
                    status = SERIES_FULL
                    break
                at = number
                if outcome == DONE and previous >= 0:
                    info[previous, NEXT] = number

        time = how[DEFAULT_TIME]
        timed = how[HAS_DEFAULT] != 0
        broken = False
        finish = end  # where the line ends
        store = outcome == DONE and info[number, FLAG] == WANTED
        fielded = store
        if outcome == DONE and not store:
            finish = find(words, end, QUOTE, NEWLINE, NEWLINE)
            fielded = buf[finish] == QUOTE  # a newline may be part of a string
        if fielded:
            room = MAX_KEY - 3 - (end - point)
            p = skip_blanks(buf, end)
            f = info[number, FIRST_FIELD]
            last = np.int64(-1)
            if ends_line(buf, p):
                outcome = NO_FIELDS
                at = p
            while outcome == DONE:
                hit = False
                if f >= 0:
                    differ = word(words, p) ^ heads[f, 1]
                    differ |= word(words, p + fields.info[f, SECOND]) ^ heads[f, 2]
                    differ |= word(words, p + fields.info[f, THIRD]) ^ heads[f, 3]
                    hit = differ & heads[f, 0] == U0
                    n = fields.info[f, LENGTH]
                    if hit and n > HEAD:
                        hit = p + n <= stop and same(words, p, fields.words, fields.info[f, START], n)
                if not hit:
                    outcome, f = find_field(text, p, cursor, fields)
                    if outcome != DONE:
                        at = f
                        status = NEW_FIELD
                        break
                    if last < 0:
                        info[number, FIRST_FIELD] = f
                    else:
                        fields.info[last, FOLLOWS] = f
                last = f
                n = fields.info[f, LENGTH]
                if n > room:
                    outcome = LONG_KEY
                    at = p
                    break
                column = fields.info[f, COLUMN] if store else np.int64(-1)
                p += n

                # a number that ends within eight bytes, else any value
                q = p
                w = word(words, q)
                negative = byte_of(w, 0) == MINUS
                if negative:
                    q += 1
                    w = word(words, q)
                d = w ^ ZEROS
                marks = not_digits(d)
                behind = marks & (marks - U1)
                k = first_of(marks)  # digits before the first byte that is none
                e = first_of(behind)
                kind = ABSENT
                n = k
                places = np.int64(0)
                c = np.int64(0)
                if marks != U0:
                    c = byte_of(w, k)
                    if ends_value(c):
                        kind = FLOAT
                        q += k
                    elif behind != U0 and ends_value(byte_of(w, e)):
                        if c == DOT:
                            kind = FLOAT
                            n = e - 1
                            places = n - k
                            d = (d & MASKS[k]) | ((d >> EIGHT) & ~MASKS[k])
                        elif c == LETTER_I and e == k + 1:
                            kind = INT
                        q += e
                        c = byte_of(w, e)
                if kind != ABSENT and n > 0:
                    if column >= 0:
                        whole = np.int64(spelled(d << np.uint64(64 - 8 * n)))
                        kinds[column, row] = kind
                        if kind == FLOAT:
                            value = np.float64(whole) / FLOAT_POWERS[places]
                            values[column, row] = -value if negative else value
                        else:
                            ints[column, row] = -whole if negative else whole
                else:
                    more = False
                    bits = np.int64(-1)
                    if c == DOT and behind == U0:
                        bits, e = read_decimal(words, q, d, k, column >= 0, floats)
                    if bits >= 0:
                        kind = FLOAT
                        bits = bits | SIGN if negative else bits
                        q = e
                    elif begins_number(buf[p]):
                        outcome, kind, bits, q = read_number(text, p, column >= 0, floats)
                    else:
                        outcome, kind, bits, q, more = read_word(text, p, stop, final, column >= 0, cursor, strings)
                    broken = broken or more
                    if outcome != DONE:
                        status = STRINGS_FULL
                        if outcome == HARD:
                            status = HARD_FLOAT
                            cursor[AT] = p
                            cursor[END] = q
                        at = q
                        break
                    if column >= 0:
                        kinds[column, row] = kind
                        ints[column, row] = bits
                    c = np.int64(buf[q])
                if c == COMMA:
                    p = q + 1
                    f = fields.info[last, FOLLOWS]
                    continue

                # the time and the end of the line
                finish = q
                if c == SPACE:
                    d = word(words, q + 1) ^ ZEROS
                    if not_digits(d) == U0:
                        stamp = spelled(d)
                        d = word(words, q + 9) ^ ZEROS
                        k = first_of(not_digits(d))
                        stamp = stamp * POWERS[k] + value_of(d, k)
                        finish = q + 9 + k
                        if k == 8:
                            d = word(words, finish) ^ ZEROS
                            k = first_of(not_digits(d)) & 3  # of more digits the rest is no end of a line
                            stamp = stamp * POWERS[k] + value_of(d, k)
                            finish += k
                        if stamp <= latest and ends_line(buf, finish):
                            time = np.int64(stamp) * scale
                            timed = True
                            break
                    outcome, moment, finish = read_time(text, q, scale)
                    at = finish
                    if outcome == ABSENT_TIME:
                        outcome = DONE
                    elif outcome == DONE:
                        time = moment
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
                clear_row(kinds, row)
                break
            status = MORE

        if outcome == DONE:
            if buf[finish] == RETURN:
                finish += 1
        else:
            finish = stop if outcome == CUT_RECORD else find_newline(words, point)
        cut = finish >= stop or (outcome != DONE and broken and find_newline(words, min(at, stop)) >= stop)
        if cut and not final:  # what is wrong may be that the text ends here
            clear_row(kinds, row)
            break
        if outcome != DONE:
            clear_row(kinds, row)
            if cursor[ERRORS] < report.errors.shape[0]:
                report.errors[cursor[ERRORS], 0] = line
                report.errors[cursor[ERRORS], 1] = min(at, stop)
                report.errors[cursor[ERRORS], 2] = outcome
                report.errors[cursor[ERRORS], 3] = pos
            cursor[ERRORS] += 1
            report.reasons[outcome] += 1
        else:
            if store and wanting.tests.shape[0] > 0 and not passes(out, row, wanting.tests):
                clear_row(kinds, row)
            elif store:
                out.times[row] = time
                out.series[row] = number
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
