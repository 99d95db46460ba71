"""Line protocol and Kapacitor's stream recordings as rows.

The rules are those of InfluxDB 1.x, read off its parser (models/points.go), with these differences:

- a newline outside quotes always ends a line, also after a backslash, and CR LF ends one as LF does;
- where a line with a string over several lines is malformed, reading goes on at its second line, since most likely a
  quote is missing; so an unclosed quote costs one line, not the rest of the file;
- text right after a closing quote, two backslashes at the end of a field key, and text that is not UTF-8 are errors.

A malformed line is dropped as a whole and counted; of the first ten it is kept where and why.

The text is read in blocks of some megabytes, each scanned by `scan.scan_lines` into columns. What is the same in many
rows is decoded once: a series (measurement and tags) when it first appears, a field key likewise, a string once a
batch.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Rows, Text, Vocabulary
from tickc.runtime.kernel import Kernel, cache_folder
from tickc.runtime.kinds import Kind
from tickc.runtime.sources import scan
from tickc.runtime.sources.base import BATCH_ROWS, Codes, Problem, Problems, SourceError, Wanted, os_reason
from tickc.runtime.sources.columnar import constant
from tickc.runtime.sources.decimals import power_table
from tickc.runtime.sources.files import Job, check_order, cut, one_ahead

BLOCK = 8 << 20
BLOCKS = 3  # blocks in memory: one is parsed, one is being read
ROOM = 64 << 10  # bytes before a block
LONGEST_LINE = 256 << 20
PAD = 64  # bytes after the text that the scanner may look at
INTERPRET = 512 << 10  # bytes: a shorter text is scanned by the interpreter, as loading machine code takes longer
INTERPRET_COLD = 4 << 20  # the same where there is no machine code yet: compiling takes some ten seconds
CELLS = 32 << 20  # cells of a batch at most: rows times columns
LONG_TIME = 10**17  # ns: later times, from 1973 on, have the same number of digits for centuries
MISSING = np.uint8(Kind.MISSING)
PRECISIONS = {
    "n": 1, "ns": 1, "u": 1_000, "us": 1_000, "µ": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
    "m": 60_000_000_000, "h": 3_600_000_000_000,
}  # fmt: skip
CODE_TO_KIND = np.array([MISSING, Kind.FLOAT, Kind.INT, Kind.STRING, Kind.BOOL], np.uint8)


Scanner = Callable[..., int]


class Table:
    """Texts with dense numbers, in the form that the scanner looks them up (see `scan.find`)."""

    def __init__(self, capacity: int, width: int, text: int = 0) -> None:
        self.info = np.zeros((capacity, width), np.int64)
        self.hash = np.zeros(capacity, np.uint64)
        self.slots = np.zeros(4 * capacity, np.int32)
        self.text = np.zeros(text + PAD, np.uint8)
        self.words = words_of(self.text)
        self.bytes_used = 0

    def grow(self, used: int, more_text: int = 0) -> None:
        """Double the table where it is full of `used` texts, and make room for `more_text` bytes."""
        if 2 * used >= len(self.hash):
            capacity = 2 * len(self.hash)
            self.info = np.concatenate([self.info, np.zeros_like(self.info)])
            self.hash = np.concatenate([self.hash, np.zeros_like(self.hash)])
            self.slots = np.zeros(4 * capacity, np.int32)
            mask = len(self.slots) - 1
            taken: dict[int, int] = {}
            for number, slot in enumerate(((self.hash[:used] >> scan.R33).astype(np.int64) & mask).tolist()):
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
        self.times = np.zeros(rows, np.int64)
        self.series = np.zeros(rows, np.int32)
        self.values = np.zeros((columns, rows), np.float64)
        self.ints = self.values.view(np.int64)
        self.kinds = np.zeros((columns, rows), np.uint8)
        self.counts = np.zeros((columns, scan.KINDS), np.int64)


class LineParser:
    """Parses blocks of text; series, fields and vocabularies are kept from one to the next.

    recording: three lines a point. default_time: ns, of lines without a timestamp, which else are malformed. A batch
    has at most `batch_rows` rows and never spans two blocks.
    """

    def __init__(
        self, path: str, wanted: Wanted, codes: Codes, problems: Problems, *,
        precision: str = "ns", default_time: int | None = None, recording: bool = False, batch_rows: int = BATCH_ROWS,
    ) -> None:  # fmt: skip
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise SourceError(f"there is no precision {precision}", f"it is one of {known}")
        self.path, self.wanted, self.codes, self.problems = path, wanted, codes, problems
        self.scale = PRECISIONS[precision]
        self.default_time = default_time
        self.recording = recording
        self.batch_rows = batch_rows
        self.cursor = np.zeros(scan.CURSOR, np.int64)
        self.cursor[scan.LINE] = 1
        self.cursor[scan.PREVIOUS] = -1
        self.series = Table(64, 6, 4096)
        self.fields = Table(32, 4, 1024)
        self.heads = np.zeros((32, 4), np.uint64)
        self.strings = Table(256, 3)
        self.columns: list[str] = []  # names of the fields that are read, in order of appearance
        self.column_of: dict[str, int] = {}
        self.field_count = 0
        self.decoded = 0  # series of which the parts are known
        self.parts = SeriesParts(codes, wanted, recording)
        self.reasons = np.zeros(len(scan.REASONS), np.int64)
        self.errors = np.zeros((10, 4), np.int64)
        self.scratch = np.zeros((scan.MAX_TAGS, 2), np.int64)
        self.latest = 0  # time of the last row
        self.solved: list[tuple[int, int]] = []
        self.solved_line = -1

    def parse(self, text: Array, start: int, stop: int, final: bool) -> Iterator[Rows]:
        """The rows of the complete lines in text[start:stop] (u1, PAD bytes more); cursor[POS] says where they end."""
        cursor = self.cursor
        text[stop : stop + PAD] = 0
        text[stop] = scan.NEWLINE
        words = words_of(text)
        scanner = _scanner(stop - start)
        cursor[scan.POS] = start
        status = scan.FULL
        while status != scan.MORE:
            batch = self._batch(stop - int(cursor[scan.POS]))
            status = self._fill(scanner, batch, text, words, stop, final)
            self._report(text, start)
            rows = self._rows(batch, text, final and status == scan.MORE)
            if rows is not None:
                yield rows

    def _batch(self, size: int) -> Batch:
        self.strings.slots[:] = 0
        self.cursor[scan.STRINGS] = self.cursor[scan.ROWS] = 0
        width = max(8, 2 * len(self.columns))
        rows = min(self.batch_rows, max(16, CELLS // width), size // 6 + 2)
        return Batch(rows, width)

    def _fill(self, scanner: Scanner, batch: Batch, text: Array, words: Array, stop: int, final: bool) -> int:
        """Scan until the batch or the text is at its end; a batch of too few columns ends where a new field appears."""
        cursor, default = self.cursor, self.default_time
        powers = power_table()
        while True:
            solved_at = np.array([at for at, _ in self.solved] or [-1], np.int64)
            solved = np.array([bits for _, bits in self.solved] or [0], np.int64)
            series, fields, strings = self.series, self.fields, self.strings
            status = scanner(
                text, words, stop, final, self.recording, cursor,
                batch.times, batch.series, batch.ints, batch.kinds, batch.counts,
                series.info, series.hash, series.slots, series.text, series.words,
                fields.info, fields.hash, fields.slots, fields.words, self.heads,
                strings.info, strings.hash, strings.slots,
                self.errors, self.reasons, self.scratch, powers, self.scale, default or 0, default is not None,
                solved_at, solved,
            )  # fmt: skip
            at, end = int(cursor[scan.AT]), int(cursor[scan.END])
            match status:
                case scan.NEW_FIELD:
                    if len(self.columns) == len(batch.counts):
                        return scan.FULL
                    self._add_field(text[at:end].tobytes(), text, words, at, end)
                case scan.SERIES_FULL:
                    series.bytes_used = int(cursor[scan.KEY_BYTES])
                    series.grow(int(cursor[scan.SERIES]), end - at)
                case scan.STRINGS_FULL:
                    strings.grow(int(cursor[scan.STRINGS]))
                case scan.HARD_FLOAT:
                    self._solve(text, at, end)
                case _:
                    return int(status)

    def _add_field(self, raw: bytes, text: Array, words: Array, at: int, end: int) -> None:
        """Enter a field key that was not seen before; several spellings of a name share its column."""
        number = self.field_count
        size = end + 1 - at  # with the `=`
        fields = self.fields
        fields.grow(number + 1, size)
        if len(self.heads) < len(fields.hash):
            self.heads = np.concatenate([self.heads, np.zeros_like(self.heads)])
        start = fields.bytes_used
        fields.text[start : start + size] = text[at : end + 1]
        fields.bytes_used += size
        with np.errstate(all="ignore"):
            h = _plain(scan.hash_of)(words, at, size)
        slot = int(h >> scan.R33) & (len(fields.slots) - 1)
        while fields.slots[slot]:
            slot = (slot + 1) & (len(fields.slots) - 1)
        fields.slots[slot] = number + 1
        fields.hash[number] = h
        name = unescape_field(raw.decode())
        fields.info[number] = (start, size, self._column(name), -1)
        head = raw[:16] + b"=" if len(raw) < 16 else raw[:16]
        mask = b"\xff" * min(size, 16)
        both = (head.ljust(16, b"\0"), mask.ljust(16, b"\0"))
        self.heads[number] = [int.from_bytes(b[k : k + 8], "little") for k in (0, 8) for b in both]
        self.field_count = number + 1

    def _column(self, name: str) -> int:
        if not self.wanted.field(name):
            return -1
        if name not in self.column_of:
            self.column_of[name] = len(self.columns)
            self.columns.append(name)
        return self.column_of[name]

    def _solve(self, text: Array, at: int, end: int) -> None:
        """Find the float that the scanner cannot: the one nearest to the decimal number at text[at:end]."""
        if self.solved_line != self.cursor[scan.POS]:
            self.solved.clear()
            self.solved_line = int(self.cursor[scan.POS])
        value = abs(float(text[at:end].tobytes()))
        bits = -2 if value == float("inf") else int(np.float64(value).view(np.int64))
        self.solved.append((at, bits))

    def _report(self, text: Array, first: int) -> None:
        """Take over the malformed lines of the last scan while their text, which begins at `first`, is there."""
        kept = min(int(self.cursor[scan.ERRORS]), len(self.errors))
        for line, at, reason, begin in self.errors[:kept].tolist():
            before = text[begin:at].tobytes()
            start = first + text[first:at].tobytes().rfind(b"\n") + 1
            column = len(text[start:at].tobytes().decode(errors="replace")) + 1
            shown = text[start : start + 80].tobytes().split(b"\n")[0].decode(errors="replace").strip()
            line += before.count(b"\n")
            self.problems.add(Problem(self.path, scan.REASONS[reason], line=line, column=column, text=shown), 0)
        for reason in np.flatnonzero(self.reasons).tolist():
            self.problems.counts[scan.REASONS[reason]] += int(self.reasons[reason])
        self.reasons[:] = 0
        self.cursor[scan.ERRORS] = 0

    def _rows(self, batch: Batch, text: Array, last: bool) -> Rows | None:
        n = int(self.cursor[scan.ROWS])
        self._decode_series()
        if last and n and self.cursor[scan.OPEN_END] and self.recording:
            n -= self._cut_short(int(batch.times[n - 2]) if n > 1 else self.latest, int(batch.times[n - 1]))
        if not n:
            return None
        self.latest = int(batch.times[n - 1])
        strings = self._decode_strings(text)
        fields = {}
        for column, name in enumerate(self.columns):
            values = self._values(batch, column, n, strings)
            if values is not None:
                fields[name] = values
        rows = self.parts.rows(batch.times[:n], batch.series[:n], fields)
        return rows if len(rows) else None

    def _cut_short(self, before: int, last: int) -> int:
        """1 where the last line of a recording was cut within its timestamp, which then has fewer digits, else 0."""
        if before < LONG_TIME or last * 10 > before:
            return 0
        reason = scan.REASONS[scan.CUT_RECORD]
        self.problems.add(Problem(self.path, reason, line=int(self.cursor[scan.LINE]) - 1, column=1))
        return 1

    def _decode_series(self) -> None:
        known, series = int(self.cursor[scan.SERIES]), self.series
        if known == self.decoded:
            return
        text = series.text[: int(self.cursor[scan.KEY_BYTES])].tobytes()
        for number in range(self.decoded, known):
            start, length, offset = series.info[number, :3].tolist()
            use = self.parts.add(text[start : start + length], offset)
            series.info[number, scan.FLAG] = scan.WANTED if use else scan.UNWANTED
        self.decoded = known

    def _decode_strings(self, text: Array) -> tuple[Vocabulary, Array | None]:
        """The strings of the batch, and the code of each text where two texts spell the same string."""
        count = int(self.cursor[scan.STRINGS])
        vocabulary = Vocabulary()
        if not count:
            return vocabulary, None
        whole = text.data
        codes = np.empty(count, np.int64)
        for number, (start, length, escaped) in enumerate(self.strings.info[:count].tolist()):
            string = str(whole[start : start + length], "utf-8")
            codes[number] = vocabulary.code(unescape_string(string) if escaped else string)
        return vocabulary, codes if len(vocabulary) < count else None

    def _values(self, batch: Batch, column: int, n: int, strings: tuple[Vocabulary, Array | None]) -> Column | None:
        counts = batch.counts[column]
        there = [code for code in range(1, scan.KINDS) if counts[code]]
        if not there:
            return None
        data: dict[Kind, Any] = {}
        kinds = batch.kinds[column, :n]
        for code in there:
            ints = batch.ints[column, :n]
            match Kind(code - 1):
                case Kind.FLOAT:
                    data[Kind.FLOAT] = batch.values[column, :n]
                case Kind.INT:
                    data[Kind.INT] = ints
                case Kind.BOOL:
                    data[Kind.BOOL] = ints != 0
                case Kind.STRING:
                    data[Kind.STRING] = _text(ints, kinds == code, strings)
        if len(there) == 1 and counts[there[0]] == self.cursor[scan.ROWS]:
            return Column(Kind(there[0] - 1), data, n)
        return Column(CODE_TO_KIND[kinds], data, n)


def _text(ints: Array, mine: Array, strings: tuple[Vocabulary, Array | None]) -> Text:
    vocabulary, codes = strings
    chosen = np.where(mine, ints, 0)
    if codes is not None:
        chosen = codes[chosen]
    return Text(np.where(mine, chosen, -1).astype(np.int32), vocabulary)


class SeriesParts:
    """What each series consists of: its measurement, database, policy and tags, as codes."""

    def __init__(self, codes: Codes, wanted: Wanted, recording: bool) -> None:
        self.codes, self.wanted, self.recording = codes, wanted, recording
        self.names: list[int] = []
        self.databases: list[int] = []
        self.policies: list[int] = []
        self.tags: dict[str, list[int]] = {}
        self.unwanted = False
        self.arrays: dict[str, Array] = {}
        self.of = -1  # number of series that `arrays` are of

    def add(self, key: bytes, offset: int) -> bool:
        """Take the next series apart; offset: where the measurement begins. Says whether its points are wanted."""
        text = key.decode()
        database = policy = ""
        if self.recording:
            database, policy, text = text.split("\n", 2)
            text = text.lstrip(" \t\0")
        name, tags = split_key(text)
        number = len(self.names)
        self.names.append(self.codes.name.code(name))
        self.databases.append(self.codes.database.code(database.removesuffix("\r")))
        self.policies.append(self.codes.policy.code(policy.removesuffix("\r")))
        for tag, value in tags:
            if self.wanted.tag(tag):
                column = self.tags.setdefault(tag, [])
                column.extend([-1] * (number + 1 - len(column)))
                column[number] = self.codes.tag(tag).code(value)
        use = self.wanted.measurement(name)
        self.unwanted = self.unwanted or not use
        return use

    def rows(self, time: Array, series: Array, fields: dict[str, Column]) -> Rows:
        """The rows of those times, series numbers (i4) and fields, without measurements that are not wanted."""
        self._update()
        codes = self.codes
        tags = {}
        for tag in self.tags:
            values = self.arrays["tag " + tag]
            tags[tag] = Text(values[series], codes.tag(tag))
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
        values = self.arrays[part]
        if len(vocabulary) == 1:
            return constant(vocabulary.strings[0], vocabulary, len(series))
        return Text(values[series], vocabulary)

    def _update(self) -> None:
        count = len(self.names)
        if self.of == count:
            return
        self.arrays = {
            "name": np.array(self.names, np.int32),
            "database": np.array(self.databases, np.int32),
            "policy": np.array(self.policies, np.int32),
        }
        for tag, column in self.tags.items():
            column.extend([-1] * (count - len(column)))
            self.arrays["tag " + tag] = np.array(column, np.int32)
        self.of = count


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


def _scanner(size: int) -> Scanner:
    """`scan_lines` for a text of so many bytes: interpreted where that is done sooner than loading or compiling it."""
    kernel = scan.scan_lines
    if kernel._machine is None:
        cached = any((cache_folder() / "kernels").glob(f"*{kernel.fingerprint()[:16]}*.nbi"))
        if size <= (INTERPRET if cached else INTERPRET_COLD) or os.environ.get("TICKC_INTERPRET") == "1":
            return _interpreted
    return kernel.machine()


def _interpreted(*args: Any) -> int:
    with np.errstate(all="ignore"):
        return int(_plain(scan.scan_lines)(*args))


class Block:
    """A piece of text in memory with room before it, for the line that the previous piece left unfinished."""

    def __init__(self, size: int, room: int = ROOM) -> None:
        self.text = np.zeros(room + size + PAD, np.uint8)
        self.size = size
        self.begin = self.stop = room

    @staticmethod
    def of(data: bytes | Array) -> Block:
        block = Block(len(data))
        block.stop += len(data)
        block.text[block.begin : block.stop] = np.frombuffer(data, np.uint8)
        return block

    def fill(self, stream: Any) -> bool:
        """Read as much as there is room for; False where nothing is left to read."""
        self.begin = self.stop = len(self.text) - PAD - self.size
        view = memoryview(self.text.data)
        while self.stop < len(self.text) - PAD:
            n = stream.readinto(view[self.stop : len(self.text) - PAD])
            if not n:
                break
            self.stop += n
        return self.stop > self.begin

    def behind(self, rest: Array) -> Block:
        """The text with `rest` before it."""
        if len(rest) > self.begin:
            return Block.of(np.concatenate([rest, self.text[self.begin : self.stop]]))
        self.text[self.begin - len(rest) : self.begin] = rest
        self.begin -= len(rest)
        return self


def parse_blocks(parser: LineParser, blocks: Iterable[Block | bytes]) -> Iterator[Rows]:
    """The rows of a text that comes in blocks, cut anywhere. A block is used until the next one is asked for."""
    rest = np.zeros(0, np.uint8)
    for data in blocks:
        block = (Block.of(data) if isinstance(data, bytes) else data).behind(rest)
        yield from parser.parse(block.text, block.begin, block.stop, False)
        rest = block.text[int(parser.cursor[scan.POS]) : block.stop].copy()
        if len(rest) > LONGEST_LINE:
            line = int(parser.cursor[scan.LINE])
            raise SourceError(f"{parser.path}: line {line} is longer than {LONGEST_LINE >> 20} MiB",
                              "is it line protocol?")  # fmt: skip
    last = Block.of(rest)
    yield from parser.parse(last.text, last.begin, last.stop, True)


def read_blocks(path: str, size: int = BLOCK) -> Iterator[tuple[Block, int]]:
    """The bytes of a file, `size` at a time, and where in the file each block ends; gzip and zstd are decompressed.

    A block is used again for the third one after it.
    """
    with open(path, "rb") as raw:
        head = raw.read(4)
        raw.seek(0)
        stream: Any = raw
        if head[:2] == b"\x1f\x8b":
            import gzip

            stream = gzip.GzipFile(fileobj=raw)
        elif head == b"\x28\xb5\x2f\xfd":
            import pyarrow as pa

            stream = pa.CompressedInputStream(raw, "zstd")
        blocks = [Block(min(size, os.path.getsize(path)) if stream is raw else size)]
        turn = 0
        while blocks[turn].fill(stream):
            yield blocks[turn], raw.tell()
            if len(blocks) < BLOCKS:
                blocks.append(Block(size))
            turn = (turn + 1) % BLOCKS


class LineFile:
    """A file of line protocol or a recording, plain or compressed. See `inputs.Reader`."""

    total_rows: int | None = None

    def __init__(self, path: str, job: Job, *, precision: str = "ns", default_time: int | None = None,
                 recording: bool = False) -> None:  # fmt: skip
        self.path, self.job = path, job
        self.in_order = not (recording or job.sorted)
        self.parser = LineParser(path, job.wanted, job.codes, job.problems, precision=precision,
                                 default_time=default_time, recording=recording, batch_rows=job.batch_rows)  # fmt: skip
        try:
            self.size = os.path.getsize(path)
        except OSError as error:
            raise SourceError(f"cannot read {path}: {os_reason(error)}") from None
        if self.size == 0:
            raise SourceError(f"{path} is empty")
        self.position = 0

    def __iter__(self) -> Iterator[Rows]:
        wanted, latest, first = self.job.wanted, None, 0
        blocks = self._blocks()
        for rows in parse_blocks(self.parser, one_ahead(blocks) if self.size > BLOCK else blocks):
            if self.in_order:
                latest = check_order(rows, latest, self.path, first)
                if wanted.stop is not None and rows.time[0] >= wanted.stop:
                    return
            first += len(rows)
            rows = cut(rows, wanted, not self.in_order)
            if len(rows):
                yield rows

    def _blocks(self) -> Iterator[Block]:
        import zlib

        try:
            for block, place in read_blocks(self.path):
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
