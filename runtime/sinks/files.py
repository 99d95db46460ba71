"""Files: written as a whole or not at all, and files of lines that a run appends to and can go back in."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from tickc.runtime.batch import Rows
from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.sources.base import os_reason


def sync_all(path: str | os.PathLike[str]) -> None:
    """Make all last that the file system of a folder holds; for thousands of files that is much the fastest way."""
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # not on Linux
        os.sync()
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        if syncfs(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), os.fspath(path))
    finally:
        os.close(handle)


TEXT_HELD = 64 << 10  # bytes of lines that are written at once


class SinkError(OutputError):
    """A file that cannot be written. `message` stands alone; `hint` says what to do, or is empty."""


class telling:
    """A block in which what the operating system refuses (no room, no permission, no such folder) is an OutputError of
    the kind `raises` that names `path`."""

    __slots__ = ("path", "raises")

    def __init__(self, path: str, raises: type[OutputError] = SinkError) -> None:
        self.path, self.raises = path, raises

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            return
        import pyarrow as pa

        if isinstance(error, SinkError) and self.raises is not SinkError:
            raise self.raises(error.message, error.hint) from None
        if isinstance(error, OSError):
            raise self.raises(f"cannot write {self.path}: {os_reason(error)}") from None
        if isinstance(error, pa.ArrowException):
            raise self.raises(f"cannot write {self.path}: {error}") from None


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write bytes to that gets its name only when the block ends well; gzip where the name ends in `.gz`.

    SinkError where it cannot be written. After any exception nothing is left, and a file of that name is as it was.
    """
    path = os.fspath(path)
    with telling(path), _temporary(Path(path)) as temporary:
        with open(temporary, "wb") as raw:
            if path.endswith(".gz"):
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # not every file system can make a name last
            sync(os.path.dirname(path) or ".")


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[str]:
    """The name of a new file in the same folder, which is removed in the end if it is still there."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())
    try:
        yield name
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync(path: str | os.PathLike[str]) -> None:
    """Make what a file (or a folder) holds last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put(path: str | os.PathLike[str], data: bytes) -> None:
    """Make a file of what it shall hold, with no more calls than that takes."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
    finally:
        os.close(handle)


class TextFile:
    """A file of lines, to which lines are appended. It is there once there are enough of them, or after a mark."""

    def __init__(self, path: str, size: int = 0) -> None:
        """size: bytes that are there already; what comes after them is cut off."""
        self.path, self.size = path, size
        self.file: IO[bytes] | None = None
        self.waiting: list[bytes] = []
        self.held = 0  # bytes that wait

    def put(self, texts: Iterable[str]) -> None:
        """Append lines."""
        whole = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogateescape")
        self.waiting.append(whole)
        self.held += len(whole)
        if self.held >= TEXT_HELD:
            self._write()

    def _write(self) -> None:
        if self.file is None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self.file = open(self.path, "ab")  # noqa: SIM115
            self.file.truncate(self.size)
        self.file.writelines(self.waiting)
        self.waiting, self.held = [], 0

    def mark(self, durable: bool = True) -> int:
        """Write all there is to the file, and make it last where `durable`; how many bytes it is."""
        if self.waiting:
            self._write()
        if self.file is None:
            return self.size
        self.file.flush()
        if durable:
            os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size

    def close(self, target: str, durable: bool = True) -> None:
        """Nothing more will be written; the file gets the name `target` too, or, where it is not there yet, alone."""
        if self.file is None and not self.size:
            put(target, b"".join(self.waiting))
            if durable:
                sync(target)
            return
        self._write()
        self.mark(durable)
        self.abort()
        os.link(self.path, target)

    def abort(self) -> None:
        """Let go of the file, which will be removed."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()


def json_lines(rows: Rows) -> list[str]:
    """A JSON object a row: its time in RFC 3339, `measurement`, its tags and its fields in the order of their names;
    NaN and infinities as text."""
    import json

    from tickc.runtime.gotext import times_rfc3339nano

    columns: dict[str, list[Any]] = {"time": times_rfc3339nano(rows.time)}
    columns["measurement"] = [name or None for name in rows.name.tolist()]
    columns |= {name: rows.tags[name].tolist() for name in sorted(rows.tags)}
    for name in sorted(rows.fields):
        columns[name] = [rows.fields[name].at(row) for row in range(len(rows))]
    return [
        json.dumps({k: _finite(v) for k, v in zip(columns, row) if v is not None}, ensure_ascii=False)
        for row in zip(*columns.values())
    ]


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
