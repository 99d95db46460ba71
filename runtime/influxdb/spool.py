"""Batches of line protocol on their way to a server: a folder of files, which is the queue, and outlives the run.

    FOLDER/http_localhost_8086/000000000001.lp.gz    oldest first; each is what is posted, as it is

The first line of a file is a comment that says where its points go, and which of them have newlines in them; servers
skip it. A file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.sources.base import os_reason

ENDING = ".lp.gz"
LEVEL = 1  # of gzip: the network gains most of it, the processor hardly notices


@dataclass(frozen=True, slots=True)
class Target:
    """Where points go: a database, a retention policy ("": the default one), and how many servers have to have them."""

    database: str
    policy: str = ""
    consistency: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch that waits: its file, where it goes, how many points it holds, and its size in bytes."""

    path: Path
    target: Target
    points: int
    size: int

    def body(self) -> bytes:
        """What is posted, packed with gzip."""
        return self.path.read_bytes()

    def lines(self) -> list[str]:
        """The points, a line each, which is several lines where a string has newlines."""
        head, *rest = gzip.decompress(self.body()).decode("utf-8", "surrogateescape").split("\n")
        lines = iter(rest)
        breaks = Counter(json.loads(head.removeprefix("# ")).get("breaks", ()))
        return ["\n".join(next(lines) for _ in range(1 + breaks[i])) for i in range(self.points)]


class Spool:
    """The batches for one server. Any thread may use it; only one run at a time may."""

    def __init__(self, folder: Path, server: str) -> None:
        """Takes up what an earlier run left. server: its URL. OutputError where the folder cannot be used."""
        self.folder = folder / re.sub(r"[^\w.-]+", "_", server)
        self.size = 0  # bytes of what waits
        self._changed = threading.Lock()
        self._lock = -1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder)
            for part in self.folder.glob("*.part"):
                part.unlink()
            self._waiting = deque(_read(path) for path in sorted(self.folder.glob(f"*{ENDING}")))
        except OSError as error:
            raise OutputError(f"cannot use the spool {folder}: {os_reason(error)}") from None
        self.size = sum(w.size for w in self._waiting)
        self._next = int(self._waiting[-1].path.name.removesuffix(ENDING)) + 1 if self._waiting else 1

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    @property
    def points(self) -> int:
        """How many points wait."""
        with self._changed:
            return sum(w.points for w in self._waiting)

    def put(self, target: Target, lines: Sequence[str]) -> None:
        """Let a batch wait behind all others; OutputError where the disk does not take it."""
        breaks = [i for i, line in enumerate(lines) if "\n" in line for _ in range(line.count("\n"))]
        head = json.dumps({"db": target.database, "rp": target.policy, "consistency": target.consistency,
                           "points": len(lines), "breaks": breaks})  # fmt: skip
        text = "\n".join([f"# {head}", *lines, ""]).encode("utf-8", "surrogateescape")
        data = gzip.compress(text, LEVEL, mtime=0)
        path = self.folder / f"{self._next:012}{ENDING}"
        try:
            part = path.with_suffix(".part")
            part.write_bytes(data)
            os.replace(part, path)
        except OSError as error:
            raise OutputError(f"cannot write to the spool {self.folder}: {os_reason(error)}") from None
        with self._changed:
            self._next += 1
            self._waiting.append(Waiting(path, target, len(lines), len(data)))
            self.size += len(data)

    def oldest(self) -> Waiting | None:
        """The batch that is next; None where none waits."""
        with self._changed:
            return self._waiting[0] if self._waiting else None

    def done(self, batch: Waiting) -> None:
        """The oldest batch need not wait any longer."""
        with self._changed:
            self._waiting.popleft()
            self.size -= batch.size
        batch.path.unlink()

    def sync(self) -> None:
        """See that what waits is on the disk, should the power fail."""
        with self._changed:
            paths = [w.path for w in self._waiting]
        for path in paths:
            with contextlib.suppress(FileNotFoundError):  # it was delivered meanwhile
                _sync(path)
        with contextlib.suppress(OSError):  # not every system can do it with folders
            _sync(self.folder)

    def close(self) -> None:
        """Let go of the folder, which goes away where nothing waits in it."""
        with contextlib.suppress(OSError):  # something waits
            self.folder.rmdir()
            self.folder.parent.rmdir()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked(folder: Path) -> int:
    """A handle that keeps other runs away, -1 where the system has no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return -1
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputError(
            f"another run uses the spool {folder}", "wait for it, or give a folder: --spool DIR"
        ) from None
    return handle


def _read(path: Path) -> Waiting:
    """A batch of an earlier run."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape") as file:
            head = json.loads(file.readline().removeprefix("# "))
        return Waiting(path, Target(head["db"], head["rp"], head["consistency"]), head["points"], path.stat().st_size)
    except (ValueError, KeyError, EOFError):
        raise OutputError(f"{path} is no batch that tickc left there", "move it away") from None
