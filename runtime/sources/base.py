"""What all sources share: how they fail, how they report what they leave out, and which columns they are asked for."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tickc.runtime.batch import Vocabulary

Operator = Literal["==", "!=", "<", "<=", ">", ">="]
Conjunct = tuple[str, Operator, str | int | float | bool]

BATCH_ROWS = 65_536  # rows of the batches that sources yield, about: small enough for caches, large enough for kernels
NEVER, END = -(2**63), 2**63 - 1  # times (ns) before and after all others
FIRST_KEPT = 10  # problems of which position and reason are kept; the others are only counted


class SourceError(Exception):
    """An input that cannot be read. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message if not hint else f"{message}\n  = hint: {hint}")
        self.message = message
        self.hint = hint


class Unsuitable(SourceError):
    """Inputs that do not fit the task, or of which the options do not say enough: bad usage."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One row or value that was left out: where it stands, why, and the beginning of its text.

    line, column: from 1, of a text file, column in characters; row: from 0, of a columnar file; None where unknown.
    """

    path: str
    reason: str
    line: int | None = None
    column: int | None = None
    row: int | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.line is not None:
            where = f"{self.path}: line {self.line} char {self.column}"
        elif self.row is not None:
            where = f"{self.path}: row {self.row}"
        else:
            where = self.path
        return f"{where}: {self.reason}" + (f": {self.text}" if self.text else "")


@dataclass
class Problems:
    """What a source left out, by reason; of the first ten also where. unit: what the source is made of."""

    counts: Counter[str] = field(default_factory=Counter)
    first: list[Problem] = field(default_factory=list)
    unit: str = "point"

    @staticmethod
    def of(parts: Iterable[Problems]) -> Problems:
        """Those of several sources, in their order."""
        found = Problems()
        for part in parts:
            found.counts.update(part.counts)
            found.first.extend(part.first[: FIRST_KEPT - len(found.first)])
        return found

    @property
    def total(self) -> int:
        """How many rows and values were left out."""
        return self.counts.total()

    def __bool__(self) -> bool:
        return bool(self.counts)

    def copy(self) -> Problems:
        """The same problems, which others that are added do not reach."""
        return Problems(self.counts.copy(), list(self.first), self.unit)

    def become(self, other: Problems) -> None:
        """Have just the problems of `other`."""
        self.counts.clear()
        self.counts.update(other.counts)
        self.first[:] = other.first

    def snapshot(self) -> list[Any]:
        """The problems as JSON."""
        return [dict(self.counts), [asdict(problem) for problem in self.first]]

    def restore(self, saved: Sequence[Any]) -> None:
        """Have just the problems of a snapshot."""
        counts, first = saved
        self.become(Problems(Counter(counts), [Problem(**problem) for problem in first]))

    def add(self, problem: Problem, times: int = 1) -> None:
        """Count a problem, and keep it where it is among the first."""
        self.counts[problem.reason] += times
        if len(self.first) < FIRST_KEPT:
            self.first.append(problem)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which columns and rows a reader needs; None is all of them.

    start, stop: ns, rows with start <= time < stop. predicate: conjuncts (column, operator, literal) which all rows of
    interest fulfil; a source may use it to skip parts of a file that cannot contain such rows, and need not.
    """

    tags: Collection[str] | None = None
    fields: Collection[str] | None = None
    measurements: Collection[str] | None = None
    start: int | None = None
    stop: int | None = None
    predicate: tuple[Conjunct, ...] = ()

    def tag(self, name: str) -> bool:
        return self.tags is None or name in self.tags

    def field(self, name: str) -> bool:
        return self.fields is None or name in self.fields

    def measurement(self, name: str) -> bool:
        return self.measurements is None or name in self.measurements


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean X?` for the nearest known name, else the list of those there are; empty where there are none."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1, 0.6)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(names[:20])}" + (", …" if len(names) > 20 else "") if names else ""


def os_reason(error: OSError) -> str:
    """Why an operation of the operating system failed, in words."""
    return (error.strerror or str(error) or type(error).__name__).lower()


class Codes:
    """The vocabularies of measurements, databases, policies and tags, which all batches of an input share."""

    def __init__(self) -> None:
        self.name = Vocabulary()
        self.database = Vocabulary()
        self.policy = Vocabulary()
        self.tags: dict[str, Vocabulary] = {}

    def tag(self, name: str) -> Vocabulary:
        """The vocabulary of one tag, made at its first use."""
        known = self.tags.get(name)
        if known is None:
            known = self.tags[name] = Vocabulary()
        return known
