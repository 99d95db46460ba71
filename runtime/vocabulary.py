"""Distinct strings with dense codes.

A vocabulary has two forms of which either may be behind the other: Python's list and dict for strings that come one by
one, and bytes with a hash table for those that come as Arrow's arrays, a million at once. What one form lacks it learns
from the other when it is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np

from tickc.runtime.kernel import COMPILE_AFTER, kernel
from tickc.runtime.prefetch import AHEAD, prefetch

Array = np.ndarray

MANY = COMPILE_AFTER  # strings at once for which the form in bytes is worth it
ROOM = 1 << 15  # for how many a table has room at first
RECORD = 8  # bytes before a string in the form in bytes
PAD = 8  # bytes behind a text that may be read with it
SEED = np.uint64(0x9E3779B97F4A7C15)
FACTOR = np.uint64(0xFF51AFD7ED558CCD)
LOW = np.uint64(0xFFFFFFFF)
U0, R17, R29, R32 = (np.uint64(k) for k in (0, 17, 29, 32))
PLACE = (1 << 48) - 1
MASKS = np.array([(1 << (8 * k)) - 1 for k in range(8)], np.uint64)  # the first k bytes of a word


_GROWING = threading.RLock()  # held by the thread that adds to a vocabulary


class Vocabulary:
    """Distinct strings with dense codes; grows only. Threads may share it."""

    __slots__ = ("_bytes", "_codes", "_strings")

    def __init__(self, strings: Iterable[str] = ()) -> None:
        self._strings: list[str] = list(strings)
        self._codes: dict[str, int] = {s: i for i, s in enumerate(self._strings)}
        self._bytes: Bytes | None = None

    def __len__(self) -> int:
        return len(self._strings) if self._bytes is None else max(len(self._strings), len(self._bytes))

    @property
    def strings(self) -> list[str]:
        """The strings by code."""
        if self._bytes is not None and len(self._bytes) > len(self._strings):
            with _GROWING:
                self._strings.extend(_strings(*self._bytes.take(np.arange(len(self._strings), len(self._bytes)))))
        return self._strings

    @property
    def codes(self) -> dict[str, int]:
        """The codes by string."""
        if self._bytes is not None and len(self._codes) < len(self):
            with _GROWING:
                known = len(self._codes)
                self._codes.update(zip(self.strings[known:], range(known, len(self))))
        return self._codes

    def find(self, text: str, default: int = -2) -> int:
        """The code of `text`, or `default`, which no row has, where it is not there."""
        known = self._codes.get(text)
        if known is None and self._bytes is not None:
            with _GROWING:
                known = self._bytes.find(text)
        return default if known is None or known < 0 else known

    def code(self, text: str) -> int:
        """The code of `text`, which is added where it is new."""
        known = self._codes.get(text)
        return self._add(text) if known is None else known

    def _add(self, text: str) -> int:
        with _GROWING:
            known = self.codes.get(text)
            if known is None:
                known = len(self.strings)
                self._strings.append(text)  # before the code is known, so that a code always has its string
                self._codes[text] = known
        return known

    def encode(self, texts: Iterable[str]) -> Array:
        """i4 codes of `texts`, added where new."""
        return np.fromiter((self.code(t) for t in texts), np.int32)

    def encode_utf8(self, text: Array, ends: Array) -> Array:
        """i4[n] codes of n strings, added where new. text: u1, their UTF-8 one after the other (surrogates as three
        bytes); ends: i8[n + 1], where each begins and the last one ends."""
        if len(ends) <= MANY:
            return self.encode(_strings(text, ends))
        with _GROWING:
            return self._in_bytes().encode(text, ends)

    def encode_from(self, other: Vocabulary, codes: Array) -> Array:
        """i4[n] codes of strings of another vocabulary, which has the codes i8[n] for them; added where new."""
        if len(codes) < MANY:
            return self.encode(other.texts(codes))
        text, ends = other.utf8(codes)
        with _GROWING:
            return self._in_bytes().encode(text, ends)

    def texts(self, codes: Array) -> Iterable[str]:
        """The strings of codes (i8[n])."""
        if self._bytes is not None and len(self._bytes) > len(self._strings):
            return _strings(*self._bytes.take(codes))
        return [self._strings[c] for c in codes.tolist()]

    def utf8(self, codes: Array | None = None) -> tuple[Array, Array]:
        """The strings of codes (i8[n]), or all, in the form in which `encode_utf8` takes them."""
        if self._bytes is None and len(self) < MANY:
            return _utf8(self._strings if codes is None else self.texts(codes))
        return self._in_bytes().take(np.arange(len(self)) if codes is None else codes)

    def _in_bytes(self) -> Bytes:
        """The form in bytes of all strings."""
        with _GROWING:
            if self._bytes is None:
                self._bytes = Bytes()
            if len(self._bytes) < len(self._strings):
                self._bytes.encode(*_utf8(self._strings[len(self._bytes) :]))
            return self._bytes


class Bytes:
    """Distinct strings with dense codes, as bytes with a hash table.

    text: u1, a record for each string: a word with its code and length (32 bits each), then its bytes. begin: i8[cap +
    1], where the record of each code begins, and where the last one ends. hash: i8[cap] of 47 bits. slots: i8[power of
    two, at least twice the strings], where a record begins, with the highest 15 bits of its hash above; 0 where there
    is none. So a string that is known is found with two looks into memory.
    """

    def __init__(self) -> None:
        self.count = 0
        self.begin = np.full(ROOM + 1, RECORD, np.int64)
        self.hash = np.zeros(ROOM, np.int64)
        self.slots = np.zeros(4 * ROOM, np.int64)
        self.text = np.zeros(32 * ROOM, np.uint8)

    def __len__(self) -> int:
        return self.count

    def encode(self, text: Array, ends: Array) -> Array:
        """See `Vocabulary.encode_utf8`."""
        n = len(ends) - 1
        padded = np.empty(len(text) + PAD, np.uint8)
        padded[: len(text)] = text
        words = _words(padded)
        hashes, codes, done = np.empty(n, np.int64), np.empty(n, np.int32), 0
        hash_texts(words, ends, hashes)
        while True:
            done, self.count = enter(words, ends, hashes, done, _words(self.text), self.begin, self.hash, self.slots,
                                     self.count, codes)  # fmt: skip
            if done == n:
                return codes
            self._grow(int(ends[done + 1] - ends[done]))

    def find(self, text: str) -> int:
        """The code of a string, less than 0 where it is not there."""
        data, ends = _utf8([text])
        words, h = _words(np.append(data, np.zeros(PAD, np.uint8))), np.empty(1, np.int64)
        hash_texts(words, ends, h)
        return int(look_up(words, 0, len(data), int(h[0]), _words(self.text), self.slots))

    def _grow(self, size: int) -> None:
        """Make room for a string of `size` bytes, and for many more."""
        if self.count == len(self.hash):
            self.begin = np.concatenate([self.begin, np.zeros_like(self.hash)])
            self.hash = np.concatenate([self.hash, np.zeros_like(self.hash)])
            self.slots = np.zeros(2 * len(self.slots), np.int64)
            place(self.begin, self.hash, self.count, self.slots)
        used = int(self.begin[self.count])
        if used + RECORD + size + PAD > len(self.text):
            self.text = np.concatenate([self.text[:used], np.zeros(used + 2 * (RECORD + size + PAD), np.uint8)])

    def take(self, codes: Array) -> tuple[Array, Array]:
        """See `Vocabulary.utf8`."""
        begin = self.begin[codes]
        ends = np.zeros(len(codes) + 1, np.int64)
        np.cumsum(self.begin[codes + 1] - begin - RECORD, out=ends[1:])
        text = np.empty(int(ends[-1]) + PAD, np.uint8)
        gather(_words(self.text), begin + RECORD, ends, _words(text))
        return text[: ends[-1]], ends


def _words(text: Array) -> Array:
    """u8[n - 7]: the eight bytes that begin at each byte of u1[n], little-endian, in the same memory."""
    return np.ndarray((len(text) - 7,), "<u8", text.data, 0, (1,))


def _strings(text: Array, ends: Array) -> Iterator[str]:
    whole = text.tobytes()
    for start, stop in pairwise(ends.tolist()):
        yield whole[start:stop].decode("utf-8", "surrogatepass")


def _utf8(strings: Iterable[str]) -> tuple[Array, Array]:
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=ends[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), ends


@kernel
def hash_texts(words, ends, out):  # type: ignore[no-untyped-def]
    """out[i] = a hash (i8[n] of 47 bits) of the bytes ends[i] to ends[i + 1] (i8[n + 1]) of a text, given as words."""
    for i in range(out.size):
        at, stop = ends[i], ends[i + 1]
        h = SEED ^ np.uint64(stop - at)
        while at + 8 <= stop:
            h = (h ^ words[at]) * FACTOR
            h ^= h >> R29
            at += 8
        if at < stop:
            h = (h ^ (words[at] & MASKS[stop - at])) * FACTOR
            h ^= h >> R29
        out[i] = np.int64(h >> R17)


@kernel
def look_up(words, start, length, h, known, slots):  # type: ignore[no-untyped-def]
    """The code of the text of `length` bytes at words[start] with the hash h in a table, or -1 - the slot for it."""
    mask = slots.size - 1
    slot = h & mask
    while slots[slot] != 0:
        record = slots[slot] & PLACE
        if slots[slot] >> 48 == h >> 32 and np.int64(known[record] >> R32) == length:
            at = record + RECORD
            k = 0
            while k + 8 <= length and words[start + k] == known[at + k]:
                k += 8
            if k == length or (k + 8 > length and (words[start + k] ^ known[at + k]) & MASKS[length - k] == U0):
                return np.int64(known[record] & LOW)
        slot = (slot + 1) & mask
    return -1 - slot


@kernel
def enter(words, ends, hashes, first, known, begin, own, slots, count, out):  # type: ignore[no-untyped-def]
    """Codes (i4[n]) of the texts from `first` on, of which those that are new are entered into a table.

    words, ends, hashes: of the texts; known (words of the text), begin, own (hashes), slots: of the table, see Bytes;
    count: strings in it. Returns how many texts have their code, all or those before the first for which there is no
    room, and how many strings there are.
    """
    last, mask = out.size - 1, slots.size - 1
    for i in range(first, out.size):
        prefetch(slots, hashes[min(i + 2 * AHEAD, last)] & mask, 0)
        prefetch(known, slots[hashes[min(i + AHEAD, last)] & mask] & PLACE, 0)
        start = ends[i]
        length = ends[i + 1] - start
        code = look_up(words, start, length, hashes[i], known, slots)
        if code < 0:
            record = begin[count]
            if count == own.size or record + RECORD + length >= known.size:
                return i, count
            slot = -1 - code
            code = count
            count += 1
            for k in range(0, length, 8):
                known[record + RECORD + k] = words[start + k]
            known[record] = np.uint64(code) | np.uint64(length) << R32
            begin[count] = record + RECORD + length
            own[code] = hashes[i]
            slots[slot] = hashes[i] >> 32 << 48 | record
        out[i] = code
    return out.size, count


@kernel
def place(begin, own, count, slots):  # type: ignore[no-untyped-def]
    """Enter `count` strings, which differ, into empty slots; see Bytes."""
    mask = slots.size - 1
    for code in range(count):
        slot = own[code] & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = own[code] >> 32 << 48 | begin[code]


@kernel
def gather(words, begin, ends, out):  # type: ignore[no-untyped-def]
    """Copy texts that begin at begin[i] (i8[n]), one behind the other, to ends[i] … ends[i + 1] (i8[n + 1]); all texts
    are words of eight bytes that begin at each byte."""
    for i in range(begin.size):
        shift = begin[i] - ends[i]
        at = ends[i]
        while at < ends[i + 1]:
            out[at] = words[at + shift]
            at += 8
