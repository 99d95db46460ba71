"""Room for arrays: in memory up to a budget, in files beyond it; and folders for files that have to have a name.

An array in a file is mapped into memory: its pages come when they are touched, and may go at any time without being
lost. The files have no name (they go with the process) and stand in the folder for temporary files. What has a name
goes with the process too, unless that is killed; then the next process that makes such a folder removes it.
"""

from __future__ import annotations

import glob
import mmap
import os
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING

import numpy as np

from tickc.runtime.batch import Array

if TYPE_CHECKING:
    from tickc.runtime.graph import Operator

LEAST = 1 << 20  # bytes of an array that is worth a file


class Rooms:
    """Where the arrays of an operator find room; its `budget` tells how many bytes of them may be in memory."""

    def __init__(self, owner: Operator) -> None:
        self.owner = owner
        self.held = 0  # bytes in memory
        self._files: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def empty(self, n: int, dtype: np.dtype) -> Array:
        """An array [n] without values. OutputError where neither memory may be used nor a file can."""
        size = n * dtype.itemsize
        if size >= LEAST and self.held + size > self.owner.budget:
            return np.ndarray(n, dtype, buffer=self._file(size))
        self.held += size
        return np.empty(n, dtype)

    def release(self, array: Array) -> None:
        """The owner lets go of an array that was found here."""
        if not isinstance(array.base, mmap.mmap):
            self.held -= array.nbytes

    @property
    def beyond(self) -> bool:
        """Whether arrays are in files."""
        return len(self._files) > 0

    def rest(self) -> None:
        """Let go of the memory of what is in files."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for pages in self._files:
                pages.madvise(mmap.MADV_DONTNEED)

    def _file(self, size: int) -> mmap.mmap:
        try:
            with tempfile.TemporaryFile(prefix="tickc-kept-") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)  # else a full disk would end the process later
                else:
                    file.truncate(size)
                pages = mmap.mmap(file.fileno(), size)
        except OSError as error:
            from tickc.runtime.sinks.columns import OutputError

            raise OutputError(
                f"no room for the rows that windows keep: {error.strerror} in {tempfile.gettempdir()}",
                "set TMPDIR to a folder with room, or let more stay in memory (--memory)",
            ) from None
        self._files.add(pages)
        return pages


class Scratch:
    """A folder for temporary files, `path`, which goes with this object."""

    def __init__(self, prefix: str) -> None:
        """Removes folders of that prefix whose processes were killed. Raises OSError."""
        for left in glob.glob(os.path.join(tempfile.gettempdir(), f"{prefix}*")):
            if (lock := _locked(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
        lock = None
        while lock is None:  # another process may have removed it before it was locked
            self._folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
            self.path = self._folder.name
            lock = _locked(self.path)
        weakref.finalize(self, os.close, lock)


def _locked(folder: str) -> int | None:
    """A lock on a folder, which goes with the process; None where another process has it, has removed the folder, or
    owns it. Raises OSError where the file system knows no locks."""
    import fcntl

    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(folder)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None
