"""What a backfill leaves: tables, or a folder that appears whole or not at all.

OUTPUT/NAME/part-00000.parquet    what reached |httpOut('NAME'), what |influxDBOut wrote to NAME = db.rp
OUTPUT/NAME/part-00000.parquet    the events of .log('NAME') as a table
OUTPUT/NAME.jsonl                 the same events as Kapacitor's JSON, one a line
OUTPUT/_tickc.json                the summary of the run; marks the folder as one that tickc made
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tickc.runtime.sources.base import os_reason

MARK = "_tickc.json"
MAX_NAME = 120  # bytes of a file name that comes from a script
NOT_EMPTY = "give another folder, or add --overwrite to replace what a run wrote there before"


def safe_name(name: str, taken: set[str]) -> str:
    """A file name for a sink: the name where it can be one, else with `_` for what cannot stand in file names.

    It has no separators, does not begin with `.`, `_` or `-` (such files are hidden, or options), and differs from
    `taken`, also where a file system ignores case. It is added to `taken`.
    """
    clean = "".join(c if c.isalnum() or c in "._- " else "_" for c in name).strip(" ").lstrip("._-").rstrip(".")
    clean = clean.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore") or "sink"
    unique, n = clean, 2
    while unique.casefold() in taken:
        unique, n = f"{clean}-{n}", n + 1
    taken.add(unique.casefold())
    return unique


class OutputError(Exception):
    """The output cannot be written. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message}\n  = hint: {hint}")
        self.message = message
        self.hint = hint


class Staging:
    """A folder beside (or in) the output folder, in which all is written until `commit` moves it into place.

    Leave the `with` block without `commit` and nothing stays behind. A new output folder appears by one rename; in one
    that is there already, empty or of an earlier run, the finished files are moved in one by one, and back on an error.
    """

    def __init__(self, output: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.output = Path(os.path.realpath(output))
        self.given = os.fspath(output)
        self.exists = self.output.is_dir()
        self.old: list[Path] = []
        with _telling(self.given):
            if self.exists:
                self.old = self._replaced(overwrite)
                parent, prefix = self.output, ".tickc-"
            elif self.output.exists():
                raise OutputError(f"{self.given} is a file, and the output is a folder", "give the name of a folder")
            else:
                parent, prefix = self.output.parent, f".{self.output.name}.tickc-"
                parent.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            self.path.chmod(0o777 & ~_umask())

    def _replaced(self, overwrite: bool) -> list[Path]:
        """What stands in the output folder and will be replaced."""
        there = [p for p in self.output.iterdir() if not p.name.startswith(".tickc-")]
        if there and not overwrite:
            raise OutputError(f"the output folder {self.given} is not empty", NOT_EMPTY)
        if there and not (self.output / MARK).is_file():
            raise OutputError(
                f"the output folder {self.given} holds files that tickc did not write",
                "give another folder: --overwrite only replaces what a run wrote before",
            )
        return there

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: Any) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def commit(self) -> None:
        """Move what was written into place."""
        with _telling(self.given):
            if not self.exists:
                os.rename(self.path, self.output)
                return
            aside = self.path / ".old"
            aside.mkdir()
            moves = [(p, aside / p.name) for p in self.old]
            moves += [(p, self.output / p.name) for p in self.path.iterdir() if p != aside]
            _move_all(moves)


def _move_all(moves: list[tuple[Path, Path]]) -> None:
    """Rename all of them, or none where one fails."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            with contextlib.suppress(OSError):
                os.rename(target, source)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _telling(path: str) -> Any:
    """OutputError for what the operating system refuses."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {os_reason(error)}") from None
