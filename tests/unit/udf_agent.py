"""A small agent for the tests of user-defined functions in processes: `python udf_agent.py MODE [SOCKET]`.

It speaks the protocol by itself, with a codec that knows just what the tests need, so that a mistake in tickc's own
messages does not cancel itself out. MODE says how it behaves; data are sent back byte for byte.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from typing import Any, BinaryIO

INFO, INIT, KEEPALIVE, SNAPSHOT, RESTORE, ERROR, BEGIN, POINT, END = 1, 2, 3, 4, 5, 6, 16, 17, 18


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def read_varint(file: BinaryIO) -> int | None:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value


def parts(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a message: (number, value), blocks as bytes, fixed 8 bytes as a double."""
    out: list[tuple[int, Any]] = []
    at = 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = take()
        if key & 7 == 0:
            out.append((key >> 3, take()))
        elif key & 7 == 1:
            out.append((key >> 3, struct.unpack_from("<d", data, at)[0]))
            at += 8
        else:
            size = take()
            out.append((key >> 3, data[at : at + size]))
            at += size
    return out


class Agent:
    def __init__(self, mode: str, source: BinaryIO, target: BinaryIO) -> None:
        self.mode, self.source, self.target = mode, source, target
        self.points = 0
        self.held: list[bytes] = []

    def send(self, kind: int, data: bytes) -> None:
        message = block(kind, data)
        self.target.write(varint(len(message)) + message)
        self.target.flush()

    def run(self) -> None:
        while (size := read_varint(self.source)) is not None:
            [(kind, data)] = parts(self.source.read(size))
            self.answer(kind, data)
        self.over()

    def answer(self, kind: int, data: bytes) -> None:
        if kind == INFO:
            edge = 1 if self.mode in ("batch", "liar", "half") else 0
            option = block(3, block(1, b"size") + block(2, block(1, varint(1))))
            dashes = block(3, block(1, b"period") + block(2, block(1, varint(4))))
            wants = 1 if self.mode == "batch" else 0
            self.send(INFO, number(1, wants) + number(2, edge) + option + dashes)
        elif kind == INIT:
            self.init(data)
        elif kind == KEEPALIVE:
            if self.mode != "deaf":
                self.send(KEEPALIVE, data)
        elif kind == SNAPSHOT:
            self.send(SNAPSHOT, b"" if self.mode == "forgetful" else block(1, struct.pack("<d", self.points)))
        elif kind == RESTORE:
            self.restore(data)
        else:
            self.data(kind, data)

    def init(self, data: bytes) -> None:
        if self.mode == "slow start":
            time.sleep(60)
        good = self.mode != "refuse"
        sys.stderr.write(f"init {data!r}\n")
        self.send(INIT, number(1, good) + (b"" if good else block(2, b"must supply a field")))

    def restore(self, data: bytes) -> None:
        if self.mode in ("unrestorable", "forgetful"):
            self.send(RESTORE, block(2, b"not supported"))
            return
        [(_, state)] = parts(data)
        self.points = int(struct.unpack("<d", state)[0])
        self.send(RESTORE, number(1, 1))

    def data(self, kind: int, data: bytes) -> None:
        self.points += kind == POINT
        match self.mode:
            case "die" if self.points == 3:
                sys.stderr.write("out of luck\n")
                sys.stderr.flush()
                os._exit(3)
            case "killed" if self.points == 3:
                os.kill(os.getpid(), 9)
            case "leave" if self.points == 3:
                os._exit(0)
            case "hang" if self.points == 3:
                time.sleep(60)
            case "garbage" if self.points == 3:
                self.target.write(b"\xff" * 64)
                self.target.flush()
            case "nonsense" if self.points == 3:
                self.target.write(b"\x04\x0a\xff\xff\xff")
                self.target.flush()
            case "empty" if self.points == 3:
                self.target.write(b"\x00")
                self.target.flush()
            case "huge" if self.points == 3:
                self.target.write(b"\xff\xff\xff\x7f")
                self.target.flush()
            case "cut" if self.points == 3:
                self.target.write(b"\x20\x0a")
                self.target.flush()
                os._exit(0)
            case "error" if self.points == 3:
                self.send(ERROR, block(1, b"no such field"))
            case "end first":
                self.send(END, block(1, b"m"))
            case "hold":
                self.held.append(data)
            case "silent":
                pass
            case "liar":
                self.send(POINT, data)
            case "chatter":
                for _ in range(200):
                    self.send(kind, data)
            case "shout":
                sys.stderr.write("x" * 4096 + "\n")
                self.send(kind, data)
            case "count":
                self.send(POINT, data + block(9, block(1, b"seen") + number(2, self.points)))
            case "half":
                if self.points == 1:
                    self.send(BEGIN, block(1, b"m"))
                self.send(POINT, data)
                if self.points == 4:
                    self.send(END, block(1, b"m") + number(3, 1_600_000_000_000_000_000))
            case _:
                self.send(kind, data)

    def over(self) -> None:
        for data in self.held:
            self.send(POINT, data)
        if self.mode == "linger":
            time.sleep(60)
        if self.mode == "bad end":
            os._exit(7)


def serve(mode: str, path: str) -> None:
    """Serve connections one after the other."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as file:
                Agent(mode, file, file).run()  # type: ignore[arg-type]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        serve(sys.argv[1], sys.argv[2])
    Agent(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer).run()
