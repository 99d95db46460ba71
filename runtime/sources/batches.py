"""Kapacitor's batch recordings: a JSON batch a line (`.brpl`), a file for each query, or all of them in a server's zip.

Read as Kapacitor does (replay.go, replayBatchFromChan with recording time): a batch without points is left out, a
batch's time is at least that of its last point, numbers are floats. A line that is no batch is counted and does not end
the replay.
"""

from __future__ import annotations

import gzip
import heapq
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from tickc.runtime.batch import Array, Column, Rows, Segments, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.query import Query
from tickc.runtime.sources.base import BATCH_ROWS, Problem, Problems, SourceError, os_reason
from tickc.runtime.times import nanoseconds

FIRST_YEAR = "1678"  # the first that is in the range of ns, whole
NO_TIME = -(2**63)


@dataclass(slots=True)
class Recorded:
    """One batch as it stands in a recording; points are what JSON has, tmax and their times ns."""

    name: str
    by_name: bool
    tags: dict[str, str]
    tmax: int
    points: list[dict[str, Any]]
    times: list[int]


@dataclass(frozen=True)
class Entry:
    """The batches of one query: a file, or a member of an archive."""

    path: str
    member: str | None = None

    def __str__(self) -> str:
        return self.path if self.member is None else f"{self.path}:{self.member}"

    def read(self, problems: Problems) -> Iterator[Recorded]:
        """The batches with points, in order; SourceError where the file cannot be read."""
        number = 0
        try:
            with self._open() as file:
                for number, line in enumerate(_lines(file), 1):
                    if line.isspace():
                        continue
                    try:
                        batch = _batch(json.loads(line, parse_int=float, parse_float=_finite, parse_constant=_refused))
                    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                        text = line[:60].decode("utf-8", "replace").rstrip("\n")
                        problems.add(Problem(str(self), f"not a batch ({_reason(error)})", number, 1, text=text))
                        continue
                    if batch.points:
                        yield batch
        except OSError as error:
            raise SourceError(f"cannot read {self}: {os_reason(error)}") from None
        except (EOFError, zlib.error, zipfile.BadZipFile):
            problems.add(Problem(str(self), "the file ends in the middle", number + 1, 1))

    def _open(self) -> IO[bytes]:
        if self.member is not None:
            return zipfile.ZipFile(self.path).open(self.member)
        with open(self.path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        return gzip.open(self.path, "rb") if zipped else open(self.path, "rb")  # type: ignore[return-value]


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; those before the place where it is cut too."""
    rest = b""
    while block := file.read(1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def entries(paths: Sequence[str | os.PathLike[str]]) -> list[Entry]:
    """The entries of recordings in the numbering of Kapacitor; SourceError where a file cannot be read."""
    found: list[Entry] = []
    for given in paths:
        path = os.fspath(given)
        try:
            with open(path, "rb") as file:
                archive = file.read(4) == b"PK\x03\x04"
            if archive:
                with zipfile.ZipFile(path) as opened:
                    found.extend(Entry(path, name) for name in opened.namelist())
            else:
                found.append(Entry(path))
        except OSError as error:
            raise SourceError(f"cannot read {path}: {os_reason(error)}") from None
        except zipfile.BadZipFile:
            raise SourceError(f"{path} is a damaged archive") from None
    return found


def replay(
    queries: Sequence[tuple[int, Query]], given: Sequence[Entry], problems: Problems, batch_rows: int = BATCH_ROWS
) -> Iterator[dict[int, Segments]]:
    """The batches of recordings, for `Graph.feed`.

    queries: position in the graph and operator, in the order of the script; Kapacitor numbers them from the last one.
    given: as many.
    Batches of different queries come in the order of their times, as far as each query's own order lets them.
    """
    streams = [_in_time(i, entry.read(problems)) for i, entry in zip(range(len(given)), reversed(given))]
    waiting: list[tuple[int, Recorded]] = []
    points = 0
    for _, i, batch in heapq.merge(*streams, key=lambda item: item[:2]):
        waiting.append((i, batch))
        points += len(batch.points)
        if points >= batch_rows:
            yield _segments(queries, waiting)
            waiting, points = [], 0
    if waiting:
        yield _segments(queries, waiting)


def _in_time(query: int, batches: Iterable[Recorded]) -> Iterator[tuple[int, int, Recorded]]:
    latest = NO_TIME
    for batch in batches:
        latest = max(latest, batch.tmax)
        yield latest, query, batch


def _segments(queries: Sequence[tuple[int, Query]], batches: Sequence[tuple[int, Recorded]]) -> dict[int, Segments]:
    out: dict[int, Segments] = {}
    for i, (at, query) in enumerate(queries):
        seq = [k for k, (owner, _) in enumerate(batches) if owner == i]
        if seq:
            out[at] = segments(query, [batches[k][1] for k in seq], np.array(seq, np.int64))
    return out


def segments(query: Query, batches: Sequence[Recorded], seq: Array) -> Segments:
    """Recorded batches on the edge of a query."""
    sizes = np.array([len(b.points) for b in batches], np.int64)
    stop = np.cumsum(sizes)
    n = int(stop[-1])
    fields = [p.get("fields") or {} for b in batches for p in b.points]
    tags = [p.get("tags") or b.tags for b in batches for p in b.points]
    names = Text.of(b.name for b in batches)
    rows = Rows(
        np.array([t for b in batches for t in b.times], np.int64),
        names.take(np.repeat(np.arange(len(batches)), sizes)),
        no_text(n),
        no_text(n),
        {k: Text.of(t.get(k) for t in tags) for k in dict.fromkeys(k for t in tags for k in t)},
        {k: _column([f.get(k, _ABSENT) for f in fields]) for k in dict.fromkeys(k for f in fields for k in f)},
    )
    group = [query.groups.code(b.name, b.by_name, dict(sorted(b.tags.items()))) for b in batches]
    tmax = np.array([b.tmax for b in batches], np.int64)
    return Segments(rows, stop - sizes, stop, tmax, np.array(group, np.int32), query.groups, names, seq)


_ABSENT = object()
_KINDS = {float: Kind.FLOAT, str: Kind.STRING, bool: Kind.BOOL, type(None): Kind.NIL, object: Kind.MISSING}


def _column(values: list[Any]) -> Column:
    """A column of JSON values; null is a field without a value."""
    kinds = np.array([_KINDS[type(v)] for v in values], np.uint8)
    data: dict[Kind, Any] = {}
    for kind in map(Kind, np.unique(kinds).tolist()):
        if kind is Kind.STRING:
            data[kind] = Text.of(v if type(v) is str else None for v in values)
        elif kind in (Kind.FLOAT, Kind.BOOL):
            wanted, dtype = (float, np.float64) if kind is Kind.FLOAT else (bool, np.bool_)
            data[kind] = np.array([v if type(v) is wanted else 0 for v in values], dtype)
    return Column(kinds, data, len(values)).normal()


def _batch(given: dict[str, Any]) -> Recorded:
    points = given.get("points") or []
    for point in points:
        if not {type(v) for v in (point.get("fields") or {}).values()} <= _VALUES:
            raise ValueError("a field is a list or an object")
    tags = given.get("tags") or {}
    if not all(type(v) is str for t in (tags, *(p.get("tags") or {} for p in points)) for v in t.values()):
        raise ValueError("a tag is no string")
    times = [_time(p["time"]) for p in points]
    tmax = max(_time(given.get("tmax")), times[-1]) if times else NO_TIME
    return Recorded(str(given.get("name") or ""), bool(given.get("byname")), tags, tmax, points, times)


_VALUES = {float, str, bool, type(None)}


def _time(text: str | None) -> int:
    """ns of a time in RFC 3339; Go's zero time, and what else is out of the range of ns, is before all others."""
    if not text or text[:4] < FIRST_YEAR:
        return NO_TIME
    found = nanoseconds(text)
    assert found is not None
    return found


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is out of range")
    return value


def _refused(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at char {error.colno}"
    if isinstance(error, KeyError):
        return f"a point lacks {error}"
    if isinstance(error, ValueError):
        return str(error)
    return "not of the form of one"
