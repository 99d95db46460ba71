"""Kapacitor's stream recordings (`.srpl`): three lines a point, which are database, retention policy and line protocol.

Read as Kapacitor does (replay.go), in file order whatever the times, except that a malformed point does not end the
replay and a string may hold a newline.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tickc.runtime.batch import Rows
from tickc.runtime.sources.base import BATCH_ROWS, Codes, Problems, Wanted
from tickc.runtime.sources.columnar import Defaults
from tickc.runtime.sources.files import Job
from tickc.runtime.sources.inputs import format_of
from tickc.runtime.sources.line_protocol import LineFile


def read_recording(
    path: str | os.PathLike[str], *, wanted: Wanted | None = None, problems: Problems | None = None,
    codes: Codes | None = None, batch_rows: int = BATCH_ROWS,
) -> Iterator[Rows]:  # fmt: skip
    """The points of a recording, plain or gzip, in file order. A malformed or cut record is counted in `problems`.

    SourceError where the file cannot be read; that it is missing or empty is found before the first batch.
    """
    wanted, problems = wanted or Wanted(), problems if problems is not None else Problems()
    path = os.fspath(path)
    format_of(path)
    job = Job(wanted, Defaults(), codes or Codes(), problems, batch_rows=batch_rows)
    return iter(LineFile(path, job, recording=True))


def write_recording(path: str | os.PathLike[str], batches: Iterable[Rows]) -> int:
    """Write points as a recording, gzip where the name ends in `.gz`; the file appears whole. Returns how many."""
    from tickc.runtime.rowtext import lines
    from tickc.runtime.sinks.files import whole_file

    written = 0
    with whole_file(os.fspath(path)) as file:
        for rows in batches:
            databases, policies = rows.database.tolist(), rows.policy.tolist()
            for database, policy, line in zip(databases, policies, lines(rows)):
                file.write(f"{database or ''}\n{policy or ''}\n{line}\n".encode("utf-8", "surrogateescape"))
            written += len(rows)
    return written
