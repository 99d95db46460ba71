"""Group codes: from dimensions and tags to the dense codes that index every per-group array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Groups, Marks, Pairs, Points, Rows, Segments, Text, Vocabulary
from tickc.runtime.graph import AT_THE_END, Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.nodes.regroup import Regroup

ALL = "*"  # in place of dimensions: all tags of the point


class Codes:
    """Codes of one text column in a vocabulary of its own, so that they stay the same whatever batches bring."""

    def __init__(self) -> None:
        self.own = Vocabulary()
        self._seen: Vocabulary | None = None
        self.table = np.zeros(0, np.int32)

    def of(self, text: Text) -> Array:
        """i4[n]: own codes, -1 for an absent string."""
        foreign = text.vocabulary
        if foreign is not self._seen or len(self.table) != len(foreign) + 1:
            known = self.table[:-1] if foreign is self._seen else self.table[:0]
            fresh = self.own.encode(foreign.strings[len(known) :])
            self.table = np.concatenate([known, fresh, np.array([-1], np.int32)])
            self._seen = foreign
        return self.table[text.codes]


class Combinations:
    """Dense codes of the combinations of several code columns, in order of first appearance; columns may be added."""

    def __init__(self) -> None:
        self._pairs: list[Pairs] = []

    def encode(self, columns: Sequence[Array]) -> Array:
        """i4[n] codes of the rows' combinations of i4[n] columns (at least -1)."""
        while len(self._pairs) < len(columns):
            self._pairs.append(Pairs())
        combined = self._pairs[0].encode(columns[0], np.broadcast_to(np.int32(0), columns[0].shape))
        for pairs, column in zip(self._pairs[1:], columns[1:]):
            combined = pairs.encode(combined, column)
        return combined


class Lookup:
    """A table from dense codes to group codes, filled as codes appear."""

    def __init__(self) -> None:
        self.table = np.full(64, -1, np.int32)

    def groups(self, codes: Array, make: Callable[[int], int]) -> Array:
        """i4[n] group codes; `make(row)` gives the group of the first row of a code that is new."""
        top = int(codes.max()) + 1 if len(codes) else 0
        if top > len(self.table):
            more = np.full(max(top, 2 * len(self.table)) - len(self.table), -1, np.int32)
            self.table = np.concatenate([self.table, more])
        found = np.empty(len(codes), np.int32)
        if known(codes, self.table, found):
            return found
        for code, row in first_rows(codes, self.table < 0):
            self.table[code] = make(row)
        return self.table[codes]


@kernel
def known(codes, table, out):  # type: ignore[no-untyped-def]
    """out[i] = table[codes[i]] (i4[n]); returns whether all of them are at least 0."""
    least = np.int32(0)
    for i in range(codes.size):
        value = table[codes[i]]
        out[i] = value
        least = min(least, value)
    return least >= 0


@kernel
def note_first_rows(codes, wanted, first):  # type: ignore[no-untyped-def]
    """first[c] = the first i with codes[i] = c, for codes that are wanted (bool[codes]), which become unwanted."""
    for i in range(codes.size):
        c = codes[i]
        if wanted[c]:
            wanted[c] = False
            first[c] = i


def first_rows(codes: Array, wanted: Array) -> list[tuple[int, int]]:
    """(code, first row) of the wanted codes (bool[codes]) that occur, in order of first appearance."""
    first = np.full(len(wanted), -1, np.int64)
    note_first_rows(codes, wanted.copy(), first)
    found = np.flatnonzero(first >= 0)
    return [(int(c), int(first[c])) for c in found[np.argsort(first[found])]]


class Grouping:
    """Group codes of points by tags: `dims` (sorted names, or ALL), `exclude` (for ALL), and the measurement."""

    def __init__(self, dims: Sequence[str] | str, exclude: Sequence[str] = (), by_name: bool = False) -> None:
        self.dims = ALL if dims == ALL else tuple(dims)
        self.exclude = frozenset(exclude)
        self.by_name = by_name
        self.groups = Groups()
        self._codes: dict[str, Codes] = {}
        self._name_codes = Codes()
        self._star: list[str] = []
        self._combinations = Combinations()
        self._lookup = Lookup()
        self._direct = Vocabulary(), np.zeros(0, np.int32)  # of one tag: from its codes to groups, -1 unknown

    def snapshot(self) -> Any:
        """The groups; the tables that lead to them are derived anew."""
        return self.groups

    def restore(self, groups: Groups) -> None:
        self.__init__(self.dims, tuple(self.exclude), self.by_name)  # type: ignore[misc]
        self.groups = groups

    def encode(self, rows: Rows, by_name: Array | None = None) -> Array:
        """i4[n] group codes of rows. by_name: bool[n], rows whose group has the measurement although `self` has not."""
        n = len(rows)
        named = self.by_name or (by_name is not None and bool(by_name.any()))
        if not self.dims and not named:
            return np.full(n, self.groups.code(rows.name.at(0) or "", False, {}) if n else 0, np.int32)
        names = self._names(rows)
        if len(names) == 1 and not named and names[0] in rows.tags:
            quick = self._quick(rows.tags[names[0]])
            if quick is not None:
                return quick
        columns = [self._codes.setdefault(name, Codes()).of(self._tag(rows, name)) for name in names]
        mask = np.ones(n, np.bool_) if self.by_name else by_name
        if named:
            columns.append(self._measurements(rows, mask))
        if not columns:  # `*` on points without tags
            columns.append(np.zeros(n, np.int32))
        codes = columns[0] + np.int32(1) if len(columns) == 1 else self._combinations.encode(columns)

        def make(row: int) -> int:
            tags = {name: rows.tags[name].at(row) if name in rows.tags else None for name in names}
            if self.dims == ALL:
                tags = {k: v for k, v in tags.items() if v is not None}
            own = mask is not None and bool(mask[row])
            return self.groups.code(rows.name.at(row) or "", own, {k: v or "" for k, v in sorted(tags.items())})

        found = self._lookup.groups(codes, make)
        if len(names) == 1 and not named and names[0] in rows.tags:
            self._learn(rows.tags[names[0]], self._codes[names[0]])
        return found

    def _quick(self, text: Text) -> Array | None:
        """The groups of one tag by its codes alone, where all of them are known."""
        vocabulary, table = self._direct
        if text.vocabulary is not vocabulary or len(table) != len(vocabulary) + 1:
            return None
        found = np.empty(len(text), np.int32)
        return found if known(text.codes, table, found) else None

    def _learn(self, text: Text, codes: Codes) -> None:
        own = codes.table + 1
        inside = own < len(self._lookup.table)
        self._direct = text.vocabulary, np.where(inside, self._lookup.table[np.where(inside, own, 0)], np.int32(-1))

    def _names(self, rows: Rows) -> Sequence[str]:
        if self.dims != ALL:
            return self.dims
        fresh = sorted(t for t in rows.tags if t not in self.exclude and t not in self._star)
        if fresh:
            self._star.extend(fresh)
            self._combinations = Combinations()
            self._lookup = Lookup()
        return self._star

    def _measurements(self, rows: Rows, mask: Array | None) -> Array:
        if mask is None:
            return np.full(len(rows), -1, np.int32)
        return np.where(mask, self._name_codes.of(rows.name), np.int32(-1))

    @staticmethod
    def _tag(rows: Rows, name: str) -> Text:
        found = rows.tags.get(name)
        return found if found is not None else absent(len(rows))


_NO_WORDS = Vocabulary()


def absent(n: int) -> Text:
    """A text column without any value."""
    return Text(np.broadcast_to(np.int32(-1), (n,)), _NO_WORDS)


class Retagging:
    """Group codes after tags of points were set: the dimensions stay, their values may have changed."""

    def __init__(self) -> None:
        self.groups = Groups()
        self._reset()

    def _reset(self) -> None:
        self._by_names: dict[tuple[str, ...], tuple[dict[str, Codes], Combinations, Lookup]] = {}

    def snapshot(self) -> Any:
        return self.groups

    def restore(self, groups: Groups) -> None:
        self.groups = groups
        self._reset()

    def encode(self, group: Array, groups: Groups, rows: Rows, changed: Iterable[str]) -> Array:
        """i4[n] codes in `self.groups` of rows of `group` (codes of `groups`) of which the tags `changed` were set."""
        names = tuple(sorted(changed))
        codes, combinations, lookup = self._by_names.setdefault(
            names, ({n: Codes() for n in names}, Combinations(), Lookup())
        )
        columns = [group, *(codes[n].of(rows.tags[n]) if n in rows.tags else absent(len(rows)).codes for n in names)]

        def make(row: int) -> int:
            old = groups[int(group[row])]
            tags = {d: self._value(rows, d, row, old.tags) if d in names else old.tags[d] for d in old.dims}
            return self.groups.code(rows.name.at(row) or "", old.by_name, tags)

        return lookup.groups(combinations.encode(columns), make)

    @staticmethod
    def _value(rows: Rows, dim: str, row: int, old: Mapping[str, str]) -> str:
        found = rows.tags.get(dim)
        return (found.at(row) if found is not None else None) or ""


class GroupBy(Operator):
    """`|groupBy()`: new dimensions. On a batch edge the batches of one time are split anew (see regroup)."""

    STATE = ("grouping", "regroup", "batches")

    def __init__(
        self, *, name: str, dims: Sequence[str] | str = (), exclude: Sequence[str] = (), by_measurement: bool = False
    ) -> None:
        super().__init__(name=name)
        self.grouping = Grouping(dims, exclude, by_measurement)
        self.regroup = Regroup(dims, exclude, by_measurement)
        self.batches = False  # whether it stands on a batch edge

    def points(self, batch: Points) -> Iterable[Batch]:
        old = np.array([g.by_name for g in batch.groups], np.bool_)
        by_name = old[batch.group] if old.any() else None
        yield Points(batch.rows, self.grouping.encode(batch.rows, by_name), self.grouping.groups, batch.seq)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        self.batches = True
        return self.regroup.process(batch)

    def marks(self, marks: Marks) -> Iterable[Any]:
        return self.regroup.marks(marks) if self.batches else super().marks(marks)

    def groups_behind(self, groups: Groups) -> Groups:
        return self.grouping.groups

    def flush(self) -> Iterable[Batch]:
        """The batches of the last time."""
        return self.regroup.release(AT_THE_END)
