"""Text in blocks of some megabytes: read, decompressed, and cut between lines.

A block has room before its text, for what the block before it left over, and after it, for a scanner that looks ahead.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tickc.runtime.batch import Array

BLOCK = 8 << 20
ROOM = 64 << 10  # bytes before a block
PAD = 64  # bytes after the text that the scanner may look at
LONGEST_LINE = 256 << 20
TAIL = 4096  # bytes at the end of a block in which its last newline is looked for first
PACKED = 1 << 20  # compressed bytes that are taken at once
NOTHING = np.zeros(0, np.uint8)


class Block:
    """A piece of text in memory, text[begin:stop] (u1), which may be filled again."""

    def __init__(self, size: int, room: int = ROOM, free: deque[Block] | None = None) -> None:
        """free: where the block goes when it is not used any more."""
        self.text = np.zeros(room + size + PAD, np.uint8)
        self.size = size
        self.begin = self.stop = room
        self.free = free

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

    def release(self) -> None:
        """The text is not used any more."""
        if self.free is not None:
            self.free.append(self)

    def cut(self) -> Array:
        """Take what stands behind the last newline, all where there is none, away from the block and return it."""
        size = TAIL
        while True:
            low = max(self.begin, self.stop - size)
            end = low + self.text[low : self.stop].tobytes().rfind(b"\n") + 1
            if end > low or low == self.begin:
                break
            size *= 16
        rest = self.text[end : self.stop].copy()
        self.stop = end
        return rest


class Gunzip:
    """The text of a gzip file of one or several members.

    EOFError where it ends too early, zlib.error where it is damaged. It is read some 30 % faster than by Python's own
    reader, which computes the check sum apart.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.packed = b""
        self.member = self._begin()

    @staticmethod
    def _begin() -> Any:
        import zlib

        return zlib.decompressobj(zlib.MAX_WBITS | 16)

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of `view`; how many bytes, 0 at the end."""
        while True:
            if self.member.eof:
                self.packed = self.member.unused_data.lstrip(b"\0") or self.raw.read(PACKED).lstrip(b"\0")
                if not self.packed:
                    return 0
                self.member = self._begin()
            self.packed = self.packed or self.raw.read(PACKED)
            if not self.packed:
                raise EOFError
            text = self.member.decompress(self.packed, min(len(view), PACKED))
            self.packed = self.member.unconsumed_tail
            if text:
                view[: len(text)] = text
                return len(text)


def is_compressed(path: str) -> bool:
    """Whether a file is one that `read_blocks` decompresses. Raises OSError."""
    with open(path, "rb") as file:
        return _packing(file.read(4)) is not None


def _packing(head: bytes) -> str | None:
    return "gzip" if head[:2] == b"\x1f\x8b" else "zstd" if head == b"\x28\xb5\x2f\xfd" else None


def read_blocks(path: str, size: int = BLOCK) -> Iterator[tuple[Block, int]]:
    """The text of a file in blocks of `size` bytes, and where in the file each ends; gzip and zstd are decompressed.

    Blocks that were released are filled again. Raises OSError, EOFError and zlib.error.
    """
    with open(path, "rb") as raw:
        packing = _packing(raw.read(4))
        raw.seek(0)
        stream: Any = raw
        if packing == "gzip":
            stream = Gunzip(raw)
        elif packing == "zstd":
            import pyarrow as pa

            stream = pa.CompressedInputStream(raw, "zstd")
        size = size if packing else min(size, os.path.getsize(path))
        free: deque[Block] = deque()
        while (block := free.pop() if free else Block(size, free=free)).fill(stream):
            yield block, raw.tell()


def whole_lines(blocks: Iterable[Block | bytes]) -> Iterator[Block]:
    """The text of blocks that are cut anywhere in blocks that end with a newline; only the last one may not."""
    rest = NOTHING
    for data in blocks:
        block = (Block.of(data) if isinstance(data, bytes) else data).behind(rest)
        rest = block.cut()
        if block.stop > block.begin:
            yield block
        if len(rest) > LONGEST_LINE:
            break
    if len(rest):
        yield Block.of(rest)
