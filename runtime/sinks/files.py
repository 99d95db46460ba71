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


class SinkError(OutputError):
    """A file that cannot be written. `message` stands alone; `hint` says what to do, or is empty."""


@contextlib.contextmanager
def telling(path: str) -> Iterator[None]:
    """SinkError for what the operating system refuses: no room, no permission, no such folder."""
    import pyarrow as pa

    try:
        yield
    except SinkError:
        raise
    except OSError as error:
        raise SinkError(f"cannot write {path}: {os_reason(error)}") from None
    except pa.ArrowException as error:
        raise SinkError(f"cannot write {path}: {error}") from None


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


class TextFile:
    """A file of lines, to which lines are appended."""

    def __init__(self, path: Path, size: int = 0) -> None:
        """size: bytes that are there already; what comes after them is cut off."""
        self.path = path
        self.file: IO[bytes] = open(path, "ab")  # noqa: SIM115
        self.file.truncate(size)

    def put(self, texts: Iterable[str]) -> None:
        """Append lines."""
        whole = "".join(f"{text}\n" for text in texts)
        self.file.write(whole.encode("utf-8", "surrogateescape"))

    def mark(self) -> int:
        """Make what was written last; how many bytes it is."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size

    def close(self) -> None:
        """Nothing more will be written."""
        self.mark()
        self.file.close()

    def abort(self) -> None:
        """Let go of the file, which will be removed."""
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
