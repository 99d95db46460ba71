"""Line protocol and Kapacitor's stream recordings as rows.

The rules are those of InfluxDB 1.x, read off its parser (models/points.go), with these differences:

- a newline outside quotes always ends a line, also after a backslash, and CR LF ends one as LF does;
- where a line with a string over several lines is malformed, reading goes on at its second line, since most likely a
  quote is missing; so an unclosed quote costs one line, not the rest of the file;
- text after the last quote of a string, two backslashes at the end of a field key, and text that is not UTF-8 are
  errors, where InfluxDB reads something else than was written.

A malformed line is dropped as a whole and counted; of the first ten it is kept where and why. Lines of series that are
not wanted, by measurement or tags, are skipped, so nobody knows whether they are malformed.

The text comes in blocks of some megabytes, each scanned by `scan.scan_lines` into columns (`Scanner`), several at a
time by as many threads. `LineParser` takes what they found in the order of the text, and makes rows of it. What is the
same in many rows is decoded once: a series (measurement and tags) when it first appears, a field key likewise, a string
once a batch.
"""

from __future__ import annotations

import os
import re
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Rows, Text, Vocabulary
from tickc.runtime.kernel import Kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.sources import linetext, linevalues, scan
from tickc.runtime.sources.base import (
    BATCH_ROWS,
    FIRST_KEPT,
    NEVER,
    Codes,
    Problem,
    Problems,
    SourceError,
    Wanted,
    os_reason,
)
from tickc.runtime.sources.blocks import (
    BLOCK,
    LONGEST_LINE,
    NOTHING,
    PAD,
    Block,
    is_compressed,
    read_blocks,
    whole_lines,
)
from tickc.runtime.sources.columnar import constant
from tickc.runtime.sources.decimals import power_table
from tickc.runtime.sources.files import Job, check_order, cut, one_ahead, until
from tickc.runtime.team import cores

GLIMPSE = 4096  # bytes at the beginning of a file in which its first time is looked for
INTERPRET = 512 << 10  # bytes: a shorter text is scanned by the interpreter, as loading machine code takes longer
INTERPRET_COLD = 4 << 20  # the same where there is no machine code yet: compiling takes some seconds
CELLS = 32 << 20  # cells of a batch at most: rows times columns
LONG_TIME = 10**17  # ns: later times, from 1973 on, have the same number of digits for centuries
MISSING = np.uint8(Kind.MISSING)
PRECISIONS = {
    "n": 1, "ns": 1, "u": 1_000, "us": 1_000, "µ": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip
CODE_TO_KIND = np.array([MISSING, Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL], np.uint8)
LITERALS = {float: linevalues.FLOAT, int: linevalues.INT, bool: linevalues.BOOL}  # that fields are compared with


class Table:
    """Texts with dense numbers, in the form that the scanner looks them up (`linetext.Table`), and room for more."""

    def __init__(self, capacity: int, width: int, text: int = 0) -> None:
        self.info = np.zeros((capacity, width), np.int64)
        self.hash = np.zeros(capacity, np.uint64)
        self.slots = np.zeros(4 * capacity, np.int32)
        self.text = np.zeros(text + PAD, np.uint8)
        self.words = words_of(self.text)
        self.bytes_used = 0

    @property
    def parts(self) -> linetext.Table:
        return linetext.Table(self.info, self.hash, self.slots, self.text, self.words)

    def grow(self, used: int, more_text: int = 0) -> None:
        """Double the table where it is full of `used` texts, and make room for `more_text` bytes."""
        if 2 * used >= len(self.hash):
            capacity = 2 * len(self.hash)
            self.info = np.concatenate([self.info, np.zeros_like(self.info)])
            self.hash = np.concatenate([self.hash, np.zeros_like(self.hash)])
            self.slots = np.zeros(4 * capacity, np.int32)
            mask = len(self.slots) - 1
            taken: dict[int, int] = {}
            for number, slot in enumerate(((self.hash[:used] >> linetext.R33).astype(np.int64) & mask).tolist()):
                while slot in taken:
                    slot = (slot + 1) & mask
                taken[slot] = number + 1
            self.slots[list(taken)] = list(taken.values())
        if self.bytes_used + more_text + PAD > len(self.text):
            text = np.zeros(2 * (self.bytes_used + more_text) + PAD, np.uint8)
            text[: self.bytes_used] = self.text[: self.bytes_used]
            self.text, self.words = text, words_of(text)


def words_of(text: Array) -> Array:
    """u8[n - 7]: the eight bytes that begin at each byte of u1[n], little-endian, in the same memory."""
    return np.ndarray((len(text) - 7,), "<u8", text.data, 0, (1,))


class Batch:
    """The arrays of one batch that the scanner fills."""

    def __init__(self, rows: int, columns: int) -> None:
        self.times = np.empty(rows, np.int64)
        self.series = np.empty(rows, np.int32)
        self.floats = np.empty((columns, rows), np.float64)
        self.ints = self.floats.view(np.int64)
        self.kinds = np.zeros((columns, rows), np.uint8)
        self.parts = scan.Out(self.times, self.series, self.floats, self.ints, self.kinds)

    def column(self, column: int, n: int, strings: Strings) -> Column | None:
        """The first n values of a column; None where there is none."""
        kinds = self.kinds[column, :n]
        first = int(kinds[0])
        if (kinds == first).all():
            return (
                None
                if first == linevalues.ABSENT
                else Column.of(Kind(first - 1), self._values(column, first, kinds, strings))
            )
        there = np.flatnonzero(np.bincount(kinds))
        data = {Kind(c - 1): self._values(column, c, kinds, strings) for c in there.tolist() if c != linevalues.ABSENT}
        return Column(CODE_TO_KIND[kinds], data, n)

    def _values(self, column: int, code: int, kinds: Array, strings: Strings) -> Any:
        ints = self.ints[column, : len(kinds)]
        match code:
            case linevalues.FLOAT:
                return self.floats[column, : len(kinds)]
            case linevalues.BOOL:
                return ints != 0
            case linevalues.STRING:
                return strings.text(ints, kinds == code)
        return ints


class Strings:
    """The strings of a batch, and the code of each text where two texts spell the same string."""

    def __init__(self, text: Array, spans: Array) -> None:
        """text: u1; spans: i8[k, 3], begin and length of each string in it, and whether there is a backslash."""
        strings = _texts(text, spans[:, 0], spans[:, 0] + spans[:, 1]) if len(spans) else []
        escaped = np.flatnonzero(spans[:, 2]).tolist()
        for number in escaped:
            strings[number] = unescape_string(strings[number])
        self.codes: Array | None = None
        self.vocabulary = Vocabulary() if escaped else Vocabulary(strings)
        if escaped:
            self.codes = self.vocabulary.encode(strings)

    def text(self, numbers: Array, mine: Array) -> Text:
        """The strings of those numbers where `mine` says so."""
        chosen = np.where(mine, numbers, 0)
        if self.codes is not None:
            chosen = self.codes[chosen]
        return Text(np.where(mine, chosen, -1).astype(np.int32), self.vocabulary)


MANY = 1_000  # strings from which it pays to decode the text around them as well


def _texts(text: Array, start: Array, stop: Array) -> list[str]:
    """The strings that stand in UTF-8 at text[start:stop]."""
    if len(start) < MANY:
        view = text.data
        return [str(view[a:b], "utf-8") for a, b in zip(start.tolist(), stop.tolist())]
    first, last = int(start.min()), int(stop.max())
    whole = str(text.data[first:last], "latin-1")  # a character a byte, which is cut faster
    found = [whole[a:b] for a, b in zip((start - first).tolist(), (stop - first).tolist())]
    return found if whole.isascii() else [s if s.isascii() else s.encode("latin-1").decode() for s in found]


SeriesKey = tuple[bytes, int] | None  # the key, and where in it the measurement begins; None: its points are unwanted


@dataclass
class Filled:
    """A batch that was scanned. times: i8[n] ns; series: i4[n], numbers of the scanner."""

    times: Array
    series: Array
    fields: dict[str, Column]


@dataclass
class Scanned:
    """What a scanner found in a block.

    end: where the complete lines end. lines: how many there are. series: those that the scanner had not seen before;
    fields: names of columns likewise. problems: the first ten malformed lines,
    with line numbers from 0 on; reasons: how many of each. open_end: the last row is a line without a newline.
    """

    scanner: Scanner
    end: int
    lines: int
    batches: list[Filled]
    series: list[SeriesKey]
    fields: list[str]
    problems: list[Problem]
    reasons: Array
    open_end: bool


class Scanner:
    """Scans blocks one by one; its tables of series and fields are kept from one to the next.

    A batch has at most `batch_rows` rows and never spans two blocks.
    """

    def __init__(
        self, path: str, wanted: Wanted, *, scale: int, default_time: int | None, recording: bool, batch_rows: int
    ) -> None:
        self.path, self.wanted = path, wanted
        self.recording = recording
        self.batch_rows = batch_rows
        self.how = np.array([0, 0, recording, scale, default_time or 0, default_time is not None], np.int64)
        self.cursor = np.zeros(linevalues.CURSOR, np.int64)
        self.cursor[linevalues.PREVIOUS] = -1
        self.series = Table(64, 6, 4096)
        self.fields = Table(32, 6, 1024)
        self.heads = np.zeros((32, 4), np.uint64)
        self.strings = Table(256, 3)
        self.columns: dict[str, int] = {}  # the fields that are read, in order of appearance
        self.field_count = 0
        conditions, texts = _conditions(wanted)
        self.tests, literals = _tests(wanted)
        self.wanting = scan.Wanting(conditions, texts, literals)
        self.spans = np.zeros((scan.MAX_TAGS + 1, 3), np.int64)
        self.numbers = np.zeros(0, np.int32)  # what `LineParser` calls the series
        self.good = True

    def read(self, block: Block, final: bool = False) -> Scanned:
        """The complete lines of a block; of the last one all lines."""
        cursor = self.cursor
        text, stop = block.text, block.stop
        text[stop : stop + PAD] = 0
        text[stop] = linetext.NEWLINE
        buffer = linetext.Buffer(text, words_of(text))
        self.how[scan.STOP], self.how[scan.FINAL] = stop, final
        cursor[[linevalues.POS, linevalues.LINE, linevalues.ERRORS, linevalues.OPEN_END]] = block.begin, 0, 0, 0
        known, columns = int(cursor[linevalues.SERIES]), len(self.columns)
        report = scan.Report(np.zeros((FIRST_KEPT, 4), np.int64), np.zeros(len(linevalues.REASONS), np.int64))
        scanner = _scanner(stop - block.begin)
        batches = []
        status = scan.FULL
        while status != scan.MORE:
            batch = self._batch(stop - int(cursor[linevalues.POS]))
            status = self._fill(scanner, batch, buffer, report)
            if n := int(cursor[linevalues.ROWS]):
                batches.append(self._filled(batch, n, text))
        return Scanned(
            self, int(cursor[linevalues.POS]), int(cursor[linevalues.LINE]), batches, self._keys(known),
            list(self.columns)[columns:], self._problems(report, text, block.begin), report.reasons,
            bool(cursor[linevalues.OPEN_END]),
        )  # fmt: skip

    def _batch(self, size: int) -> Batch:
        self.strings.slots[:] = 0
        self.cursor[linevalues.STRINGS] = self.cursor[linevalues.ROWS] = 0
        width = max(8, 2 * len(self.columns))
        rows = min(self.batch_rows, max(16, CELLS // width), size // 6 + 2)
        return Batch(rows, width)

    def _fill(self, scanner: Callable[..., int], batch: Batch, buffer: linetext.Buffer, report: scan.Report) -> int:
        """Scan until the batch or the text is at its end; a batch of too few columns ends where a new field appears."""
        cursor, series, fields, strings = self.cursor, self.series, self.fields, self.strings
        powers = power_table()
        solved: dict[int, int] = {}
        while True:
            floats = linevalues.Floats(powers, np.array(list(solved.items()) or [(-1, 0)], np.int64))
            status = scanner(buffer, self.how, cursor, batch.parts, series.parts, fields.parts, self.heads,
                             strings.parts, self.wanting, floats, self.spans, report)  # fmt: skip
            at, end = int(cursor[linevalues.AT]), int(cursor[linevalues.END])
            match status:
                case scan.NEW_FIELD:
                    if len(self.columns) == len(batch.kinds):
                        return scan.FULL
                    self._add_field(buffer, at, end)
                case scan.SERIES_FULL:
                    series.bytes_used = int(cursor[linevalues.KEY_BYTES])
                    series.grow(int(cursor[linevalues.SERIES]), end - at)
                case scan.STRINGS_FULL:
                    strings.grow(int(cursor[linevalues.STRINGS]))
                case scan.HARD_FLOAT:  # the float nearest to the decimal number there
                    value = abs(float(buffer.bytes[at:end].tobytes()))
                    solved = {k: v for k, v in solved.items() if k >= int(cursor[linevalues.POS])}  # those of this line
                    solved[at] = -2 if value == float("inf") else int(np.float64(value).view(np.int64))
                case _:
                    return int(status)

    def _add_field(self, buffer: linetext.Buffer, at: int, end: int) -> None:
        """Enter a field key that was not seen before; several spellings of a name share its column."""
        number = self.field_count
        size = end + 1 - at  # with the `=`
        fields = self.fields
        fields.grow(number + 1, size)
        if len(self.heads) < len(fields.hash):
            self.heads = np.concatenate([self.heads, np.zeros_like(self.heads)])
        start = fields.bytes_used
        key = buffer.bytes[at : end + 1]
        fields.text[start : start + size] = key
        fields.bytes_used += size
        with np.errstate(all="ignore"):
            h = _plain(linetext.hash_of)(buffer.words, at, size)
        slot = int(h >> linetext.R33) & (len(fields.slots) - 1)
        while fields.slots[slot]:
            slot = (slot + 1) & (len(fields.slots) - 1)
        fields.slots[slot] = number + 1
        fields.hash[number] = h
        second, third = (max(0, min(size - 8, most)) for most in ((8, 16) if size > 16 else (16, 16)))
        fields.info[number] = (
            start,
            size,
            self._column(unescape_field(key[:-1].tobytes().decode())),
            -1,
            second,
            third,
        )
        head = np.zeros(scan.HEAD, np.uint8)
        head[: min(size, scan.HEAD)] = key[: scan.HEAD]
        words = words_of(head)
        self.heads[number] = (linetext.MASKS[min(size, 8)], words[0], words[second], words[third])
        self.field_count = number + 1

    def _column(self, name: str) -> int:
        if not self.wanted.field(name):
            return -1
        column = self.columns.setdefault(name, len(self.columns))
        for test, (field, _) in enumerate(self.tests):
            if field == name:
                self.wanting.tests[test, 0] = column
        return column

    def _filled(self, batch: Batch, n: int, text: Array) -> Filled:
        strings = Strings(text, self.strings.info[: int(self.cursor[linevalues.STRINGS])])
        columns = ((name, batch.column(column, n, strings)) for name, column in self.columns.items())
        return Filled(batch.times[:n], batch.series[:n], {name: c for name, c in columns if c is not None})

    def _keys(self, known: int) -> list[SeriesKey]:
        """The keys of all series but the first `known`."""
        count = int(self.cursor[linevalues.SERIES])
        if known == count:
            return []
        whole = self.series.text.data
        spans = self.series.info[known:count, : scan.FLAG + 1].tolist()
        return [None if flag == scan.UNWANTED else (bytes(whole[start : start + length]), offset)
                for start, length, offset, flag in spans]  # fmt: skip

    def _problems(self, report: scan.Report, text: Array, first: int) -> list[Problem]:
        """The malformed lines of a block that begins at `first`."""
        found = []
        for line, at, reason, begin in report.errors[: int(self.cursor[linevalues.ERRORS])].tolist():
            before = text[begin:at].tobytes()
            start = first + text[first:at].tobytes().rfind(b"\n") + 1
            column = len(text[start:at].tobytes().decode(errors="replace")) + 1
            shown = text[start : start + 80].tobytes().split(b"\n")[0].decode(errors="replace").strip()
            line += before.count(b"\n")
            found.append(Problem(self.path, linevalues.REASONS[reason], line=line, column=column, text=shown))
        return found


def _conditions(wanted: Wanted) -> tuple[Array, Array]:
    """What `wanted` says of measurements and tags, as `scan.wants` reads it."""
    found: list[tuple[int, str, str]] = [(scan.MEASUREMENT, "", name) for name in sorted(wanted.measurements or ())]
    for name, operator, literal in wanted.predicate:
        if isinstance(literal, str) and operator in ("==", "!="):
            found.append((scan.SAME if operator == "==" else scan.DIFFERENT, name, literal))
    texts, rows = b"", []
    for which, name, literal in found:
        a, b = (text.encode("utf-8", "surrogateescape") for text in (name, literal))
        rows.append((which, len(texts), len(a), len(texts) + len(a), len(b)))
        texts += a + b
    return np.array(rows, np.int64).reshape(-1, 5), np.frombuffer(bytearray(texts), np.uint8)


def _tests(wanted: Wanted) -> tuple[list[tuple[str, Any]], Array]:
    """What `wanted` says of fields, their names and, as `scan.passes` reads it, the tests; of no column yet."""
    names, rows = [], []
    for name, operator, literal in wanted.predicate:
        code = LITERALS.get(type(literal))
        if code is not None:
            bits = np.float64(literal).view(np.int64) if isinstance(literal, float) else np.int64(literal)
            names.append((name, literal))
            rows.append((-1, code, scan.OPERATORS[operator], int(bits)))
    return names, np.array(rows, np.int64).reshape(-1, 4)


class LineParser:
    """Rows of what scanners found, in the order of the text.

    recording: three lines a point. default_time: ns, of lines without a timestamp, which else are malformed.
    """

    def __init__(
        self, path: str, wanted: Wanted, codes: Codes, problems: Problems, *,
        precision: str = "ns", default_time: int | None = None, recording: bool = False, batch_rows: int = BATCH_ROWS,
    ) -> None:  # fmt: skip
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise SourceError(f"there is no precision {precision}", f"it is one of {known}")
        self.path, self.problems, self.recording = path, problems, recording
        self.options: dict[str, Any] = {"scale": PRECISIONS[precision], "default_time": default_time,
                                        "recording": recording, "batch_rows": batch_rows}  # fmt: skip
        self.wanted = wanted
        self.parts = SeriesParts(codes, wanted, recording)
        self.fields: dict[str, None] = {}  # in order of appearance
        self.lines = 0
        self.latest = 0  # time of the last row

    def scanner(self) -> Scanner:
        """A new scanner of the text."""
        return Scanner(self.path, self.wanted, **self.options)

    def rows(self, found: Scanned, last: bool = False) -> Iterator[Rows]:
        """The rows of the next block."""
        scanner = found.scanner
        self._report(found)
        if found.series:
            new = np.array([self.parts.number(key) for key in found.series], np.int32)
            scanner.numbers = np.concatenate([scanner.numbers, new])
        self.fields.update(dict.fromkeys(found.fields))
        for batch in found.batches:
            fields = {name: batch.fields[name] for name in self.fields if name in batch.fields}
            n = len(batch.times)
            if last and batch is found.batches[-1] and found.open_end and self.recording:
                n -= self._cut_short(int(batch.times[n - 2]) if n > 1 else self.latest, int(batch.times[n - 1]))
            self.latest = int(batch.times[n - 1]) if n else self.latest
            rows = self.parts.rows(batch.times, scanner.numbers[batch.series], fields)
            if len(rows := rows if n == len(batch.times) else rows.take(slice(0, n))):
                yield rows

    def _report(self, found: Scanned) -> None:
        for problem in found.problems:
            self.problems.add(replace(problem, line=self.lines + (problem.line or 0) + 1), 0)
        for reason in np.flatnonzero(found.reasons).tolist():
            self.problems.counts[linevalues.REASONS[reason]] += int(found.reasons[reason])
        self.lines += found.lines

    def _cut_short(self, before: int, last: int) -> int:
        """1 where the last line of a recording was cut within its timestamp, which then has fewer digits, else 0."""
        if before < LONG_TIME or last * 10 > before:
            return 0
        self.problems.add(Problem(self.path, linevalues.REASONS[linevalues.CUT_RECORD], line=self.lines, column=1))
        return 1


class SeriesParts:
    """What each series consists of: its measurement, database, policy and tags, as codes."""

    def __init__(self, codes: Codes, wanted: Wanted, recording: bool) -> None:
        self.codes, self.wanted, self.recording = codes, wanted, recording
        self.numbers: dict[bytes, int] = {}
        self.columns: dict[str, list[int]] = {"name": [], "database": [], "policy": []}  # of series not yet in `arrays`
        self.arrays: dict[str, Array] = {name: np.zeros(0, np.int32) for name in self.columns}
        self.unwanted = False

    def number(self, series: SeriesKey) -> int:
        """The number of a series, taken apart where it is new; 0 of one that no row has."""
        if series is None:
            return 0
        key, _ = series
        known = self.numbers.get(key)
        if known is None:
            known = self.numbers[key] = len(self.numbers)
            self._add(key.decode(), known - len(self.arrays["name"]))
        return known

    def _add(self, text: str, place: int) -> None:
        database = policy = ""
        if self.recording:
            database, policy, text = text.split("\n", 2)
            text = text.lstrip(" \t\0")
        name, tags = split_key(text)
        columns, codes = self.columns, self.codes
        columns["name"].append(codes.name.code(name))
        columns["database"].append(codes.database.code(database.removesuffix("\r")))
        columns["policy"].append(codes.policy.code(policy.removesuffix("\r")))
        for tag, value in tags:
            if self.wanted.tag(tag):
                column = columns.setdefault("tag " + tag, [])
                column.extend([-1] * (place - len(column)))
                column.append(codes.tag(tag).code(value))
        self.unwanted = self.unwanted or not self.wanted.measurement(name)

    def rows(self, time: Array, series: Array, fields: dict[str, Column]) -> Rows:
        """The rows of those times, series numbers (i4) and fields, without measurements that are not wanted."""
        self._update()
        codes = self.codes
        tags = {column[4:]: Text(values[series], codes.tag(column[4:]))
                for column, values in self.arrays.items() if column.startswith("tag ")}  # fmt: skip
        name = self._part("name", series, codes.name)
        database = self._part("database", series, codes.database)
        policy = self._part("policy", series, codes.policy)
        rows = Rows(time, name, database, policy, tags, fields)
        if self.unwanted:
            use = np.array([self.wanted.measurement(s) for s in codes.name.strings])[name.codes]
            if not use.all():
                rows = rows.take(use)
        return rows

    def _part(self, part: str, series: Array, vocabulary: Vocabulary) -> Text:
        if len(vocabulary) == 1:
            return constant(vocabulary.strings[0], vocabulary, len(series))
        return Text(self.arrays[part][series], vocabulary)

    def _update(self) -> None:
        """Take over the series that are new."""
        known, count = len(self.arrays["name"]), len(self.numbers)
        if known == count:
            return
        for name, column in self.columns.items():
            before = self.arrays.get(name)
            if before is None:
                before = np.full(known, -1, np.int32)
            column.extend([-1] * (count - known - len(column)))
            self.arrays[name] = np.concatenate([before, np.array(column, np.int32)])
            column.clear()


def split_key(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Measurement and tags of a series key, with escapes undone."""
    if "\\" not in text:
        name, *pairs = text.split(",")
        return name, [(key, value) for key, _, value in (pair.partition("=") for pair in pairs)]
    name, *pairs = re.split(r"(?<!\\),", text)
    if not name:  # a comma at the very beginning would be no measurement, so this is none
        name, pairs = "," + pairs[0], pairs[1:]
    return unescape_name(name), [_split_tag(pair) for pair in pairs]


def _split_tag(pair: str) -> tuple[str, str]:
    key, value = re.split(r"(?<!\\)=", pair, maxsplit=1)
    return unescape_tag(key), unescape_tag(value)


def unescape_tag(text: str) -> str:
    """A tag key or value without the backslashes before comma, space and equals sign."""
    return re.sub(r"\\([, =])", r"\1", text)


def unescape_name(text: str) -> str:
    """A measurement without the backslashes before comma, space, equals sign and double quote."""
    return re.sub(r'\\([, ="])', r"\1", text)


unescape_field = unescape_name  # the same rule


def unescape_string(text: str) -> str:
    """A string value without the backslashes before double quote and backslash."""
    return re.sub(r'\\(["\\])', r"\1", text)


@cache
def _plain(kernel: Kernel[..., Any]) -> Callable[..., Any]:
    """The kernel and all that it calls as ordinary functions, which do not count what they are given.

    `Kernel` compiles after so many elements; the arrays here have many elements from the start, of which few are used.
    """
    function = kernel.function
    names = {name: _plain(value) for name, value in function.__globals__.items()
             if isinstance(value, Kernel) and value is not kernel and name in function.__code__.co_names}  # fmt: skip
    return types.FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)


def _scanner(size: int) -> Callable[..., int]:
    """`scan_lines` for a text of so many bytes: interpreted where that is done sooner than loading or compiling it."""
    kernel = scan.scan_lines
    if kernel._machine is None:
        limit = INTERPRET if kernel.compiled() else INTERPRET_COLD
        if size <= limit or os.environ.get("TICKC_INTERPRET") == "1":
            return _interpreted
    return kernel.machine()


def _interpreted(*args: Any) -> int:
    with np.errstate(all="ignore"):
        return int(_plain(scan.scan_lines)(*args))


def parse_blocks(parser: LineParser, blocks: Iterable[Block | bytes], threads: int = 1) -> Iterator[Rows]:
    """The rows of a text that comes in blocks, cut anywhere, whatever the number of threads.

    A block is scanned as if it began with a line. Where it did not, as a string with a newline began in the block
    before it, what was found is thrown away, with the scanner, which has learnt from it.
    """
    scanner, rest = parser.scanner(), NOTHING
    for block, found in _scanned(parser, whole_lines(blocks), threads):
        if found is None or not found.scanner.good or len(rest):
            if found is not None:
                found.scanner.good = False
            block = block.behind(rest)
            found = scanner.read(block)
        yield from parser.rows(found)
        rest = block.text[found.end : block.stop].copy()
        block.release()
        if len(rest) > LONGEST_LINE:
            message = f"{parser.path}: line {parser.lines + 1} is longer than {LONGEST_LINE >> 20} MiB"
            raise SourceError(message, "is it line protocol?")
    yield from parser.rows(scanner.read(Block.of(rest), final=True), last=True)


def _scanned(parser: LineParser, blocks: Iterable[Block], threads: int) -> Iterator[tuple[Block, Scanned | None]]:
    """The blocks with what scanners in other threads found in them, None where there are none, a few blocks ahead."""
    if threads == 1:
        for block in blocks:
            yield block, None
        return
    idle: deque[Scanner] = deque()

    def work(block: Block) -> Scanned:
        try:
            scanner = idle.pop()
        except IndexError:
            scanner = parser.scanner()
        found = (scanner if scanner.good else parser.scanner()).read(block)
        idle.append(found.scanner)
        return found

    _scanner(BLOCK)  # machine code is loaded by one thread
    waiting: deque[tuple[Block, Future[Scanned]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tickc-scan")
    try:
        for block in blocks:
            waiting.append((block, pool.submit(work, block)))
            if len(waiting) > threads:
                block, coming = waiting.popleft()
                yield block, coming.result()
        while waiting:
            block, coming = waiting.popleft()
            yield block, coming.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class LineFile:
    """A file of line protocol or a recording, plain or compressed. See `inputs.Reader`."""

    total_rows: int | None = None

    def __init__(self, path: str, job: Job, *, precision: str = "ns", default_time: int | None = None,
                 recording: bool = False) -> None:  # fmt: skip
        self.path, self.job, self.problems, self.recording = path, job, job.problems, recording
        self.in_order = not (recording or job.sorted)
        self._parser = partial(LineParser, path, precision=precision, default_time=default_time, recording=recording,
                               batch_rows=job.batch_rows)  # fmt: skip
        self.parser = self._parser(job.wanted, job.codes, job.problems)
        try:
            self.size = os.path.getsize(path)
            large = self.size > BLOCK or (self.size > BLOCK >> 5 and is_compressed(path))
        except OSError as error:
            raise SourceError(f"cannot read {path}: {os_reason(error)}") from None
        if self.size == 0:
            raise SourceError(f"{path} is empty")
        self.large = large
        self.position = 0

    def floor(self) -> int:
        """See `inputs.Reader`; what the first lines say, where all of them are good."""
        problems = Problems()
        parser = self._parser(Wanted(), Codes(), problems)
        block = next(self._blocks(GLIMPSE))
        block.cut()
        times = [rows.time[0] for rows in parser.rows(parser.scanner().read(block, final=True))]
        return int(times[0]) if times and not problems else NEVER

    def __iter__(self) -> Iterator[Rows]:
        wanted, latest, first = self.job.wanted, None, 0
        for found in self._rows():
            rows = until(found, wanted.stop) if self.in_order else found
            if self.in_order:
                latest = check_order(rows, latest, self.path, first)
            first += len(rows)
            if len(inside := cut(rows, wanted, not self.in_order)):
                yield inside
            if len(rows) < len(found):
                return

    def _rows(self) -> Iterator[Rows]:
        """All rows: of a large file the next blocks are read and scanned in other threads."""
        blocks = self._blocks()
        if not self.large:
            return parse_blocks(self.parser, blocks)
        threads = 1 if self.recording else cores()  # where a record begins, no line tells
        return parse_blocks(self.parser, one_ahead(blocks, self.job.pool), threads)

    def _blocks(self, size: int = BLOCK) -> Iterator[Block]:
        import zlib

        try:
            for block, place in read_blocks(self.path, size):
                self.position = place
                yield block
        except EOFError:
            raise SourceError(f"{self.path} is cut short: its compressed data ends too early") from None
        except (OSError, ValueError, zlib.error) as error:
            reason = os_reason(error) if isinstance(error, OSError) else str(error)
            raise SourceError(f"cannot read {self.path}: {reason}") from None


def parse_lines(text: bytes | str, *, path: str = "<text>", precision: str = "ns", default_time: int | None = None,
                wanted: Wanted | None = None, problems: Problems | None = None) -> Rows:  # fmt: skip
    """All points of a text of line protocol as one batch; malformed lines are counted in `problems`."""
    parser = LineParser(path, wanted or Wanted(), Codes(), problems if problems is not None else Problems(),
                        precision=precision, default_time=default_time)  # fmt: skip
    parts = list(parse_blocks(parser, [text.encode() if isinstance(text, str) else text]))
    return Rows.concat(parts) if parts else parser.parts.rows(np.zeros(0, np.int64), np.zeros(0, np.int32), {})
