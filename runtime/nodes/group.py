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

    def __init__(self, own: Vocabulary | None = None) -> None:
        self.own = Vocabulary() if own is None else own
        self._seen: Vocabulary | None = None
        self.table = np.zeros(0, np.int32)

    def of(self, text: Text) -> Array:
        """i4[n]: own codes, -1 for an absent string."""
        foreign = text.vocabulary
        if foreign is not self._seen or len(self.table) != len(foreign) + 1:
            known = self.table[:-1] if foreign is self._seen else self.table[:0]
            fresh = self.own.encode_from(foreign, np.arange(len(known), len(foreign)))
            self.table = np.concatenate([known, fresh, np.array([-1], np.int32)])
            self._seen = foreign
        return self.table[text.codes]


class Combinations:
    """Dense codes of the combinations of several code columns, in order of first appearance; columns may be added."""

    def __init__(self) -> None:
        self._pairs: list[Pairs] = []

    def __len__(self) -> int:
        """How many there were."""
        return self._pairs[-1].count if self._pairs else 0

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
        """i4[n] group codes; `make` gives the group of the first row of a code that is new."""
        return self.in_bulk(codes, lambda rows: np.fromiter(map(make, rows.tolist()), np.int32, len(rows)))

    def in_bulk(self, codes: Array, make: Callable[[Array], Array]) -> Array:
        """i4[n] group codes; `make` gives the groups (i4[m]) of the first rows (i8[m], ascending) of new codes."""
        self._reserve(int(codes.max()) + 1 if len(codes) else 0)
        found = np.empty(len(codes), np.int32)
        if known(codes, self.table, found):
            return found
        new, rows = first_rows(codes, self.table < 0)
        self.table[new] = make(rows)
        return self.table[codes]

    def learn(self, codes: Array) -> None:
        """Note that group i has the code codes[i]."""
        self._reserve(int(codes.max()) + 1 if len(codes) else 0)
        self.table[codes] = np.arange(len(codes))

    def _reserve(self, top: int) -> None:
        if top > len(self.table):
            more = np.full(max(top, 2 * len(self.table)) - len(self.table), -1, np.int32)
            self.table = np.concatenate([self.table, more])


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


def first_rows(codes: Array, wanted: Array) -> tuple[Array, Array]:
    """The wanted codes (bool[codes]) that occur, in order of first appearance, and the first row of each."""
    first = np.full(len(wanted), -1, np.int64)
    note_first_rows(codes, wanted.copy(), first)
    found = np.flatnonzero(first >= 0)
    found = found[np.argsort(first[found])]
    return found, first[found]


class Grouping:
    """Group codes of points by tags: `dims` (sorted names, or ALL), `exclude` (for ALL), and the measurement."""

    def __init__(self, dims: Sequence[str] | str, exclude: Sequence[str] = (), by_name: bool = False) -> None:
        self.dims = ALL if dims == ALL else tuple(dims)
        self.exclude = frozenset(exclude)
        self.by_name = by_name
        self._begin(Groups())

    def _begin(self, groups: Groups) -> None:
        """Go on with a table of groups; the tables that lead to them are derived anew."""
        self.groups = groups
        self._codes: dict[str, Codes] = {}
        self._name_codes = Codes(groups.names)
        self._star: list[str] = []
        self._direct = Vocabulary(), np.zeros(0, np.int32)  # of one tag: from its codes to groups, -1 unknown
        self._checked: dict[str, int] = {}
        self.plain = True  # whether different values make different ids
        named = groups.by_name.values
        self._named = self.by_name or (len(named) > 0 and bool(named.any()))  # whether a group may have the measurement
        if self.dims == ALL:
            self._star.extend(sorted(groups.values))
        self._learn_groups()

    def snapshot(self) -> Any:
        """The groups, and whether their ids may be alike."""
        return [self.groups, self.plain]

    def restore(self, saved: Any) -> None:
        groups, plain = saved
        self._begin(groups)
        self.plain = plain

    def encode(self, rows: Rows, by_name: Array | None = None) -> Array:
        """i4[n] group codes of rows. by_name: bool[n], rows whose group has the measurement although `self` has not."""
        n = len(rows)
        if not self._named and by_name is not None and by_name.any():
            self._named = True
            self._learn_groups()
        named = self._named
        if not self.dims and not named:
            return np.full(n, self.groups.code(rows.name.at(0) or "", False, {}) if n else 0, np.int32)
        names = self._names(rows)
        if len(names) == 1 and not named and names[0] in rows.tags:
            quick = self._quick(rows.tags[names[0]])
            if quick is not None:
                return quick
        mask = np.full(n, self.by_name) if by_name is None else by_name | self.by_name
        columns = {name: self._values(rows, name) for name in names}
        codes = self._combined(columns, self._name_codes.of(rows.name) if named else None, mask)

        def make(new: Array) -> Array:
            """The groups of rows that are the first of theirs."""
            tags = {name: Text(columns[name][new], self._own(name).own) for name in sorted(names)}
            if by_name is None and self._plain(rows.name.take(new), tags):
                first = self.groups.extend(rows.name.take(new).filled(""), self.by_name, tags)
                return np.arange(first, first + len(new), dtype=np.int32)
            self.plain = False
            return np.array([
                self.groups.code(rows.name.at(row) or "", bool(mask[row]),
                                 {k: v for k, text in tags.items() if (v := text.at(i)) is not None})
                for i, row in enumerate(new.tolist())
            ], np.int32)  # fmt: skip

        found = self._lookup.in_bulk(codes, make)
        if len(names) == 1 and not named and names[0] in rows.tags:
            self._learn(rows.tags[names[0]], self._own(names[0]))
        return found

    def _own(self, name: str) -> Codes:
        """The codes of the values of a tag."""
        codes = self._codes.get(name)
        if codes is None:
            codes = self._codes[name] = Codes(self.groups.words.setdefault(name, Vocabulary()))
        return codes

    def _values(self, rows: Rows, name: str) -> Array:
        """i4[n]: the values of a tag as codes of its words; of dimensions that are named, no value is the empty one."""
        codes = self._own(name)
        if name not in rows.tags:
            return np.full(len(rows), -1 if self.dims == ALL else codes.own.code(""), np.int32)
        found = codes.of(rows.tags[name])
        if self.dims != ALL and len(found) and found.min() < 0:
            found = np.where(found < 0, np.int32(codes.own.code("")), found)
        return found

    def _combined(self, columns: Mapping[str, Array], names: Array | None, named: Array) -> Array:
        """i4[n]: codes of the combinations of tags, and of the measurement where `named` (bool[n]) holds."""
        parts = list(columns.values())
        if names is not None:
            parts.append(np.where(named, names, np.int32(-1)))
        if not parts:  # `*` on points without tags
            return np.zeros(len(named), np.int32)
        return parts[0] + np.int32(1) if len(parts) == 1 else self._combinations.encode(parts)

    def _plain(self, name: Text, tags: Mapping[str, Text]) -> bool:
        """Whether no other values can make the ids that these make."""
        if self.plain and (self.dims == ALL or len(self.dims) > 1):
            self.plain = not any(map(self._odd, self._unchecked(tags))) and not any(map(self._odd, tags))
        if self.plain and self.by_name:
            self.plain = not any("\n" in name.vocabulary.strings[c] for c in name.used().tolist())
        return self.plain

    @staticmethod
    def _odd(text: str) -> bool:
        return "," in text or "=" in text

    def _unchecked(self, tags: Iterable[str]) -> Iterable[str]:
        """Values of tags that are new."""
        for tag in tags:
            words = self._own(tag).own.strings
            yield from words[self._checked.get(tag, 0) :]
            self._checked[tag] = len(words)

    def _learn_groups(self) -> None:
        """Derive the table that leads from combinations to the groups that are there."""
        self._combinations, self._lookup = Combinations(), Lookup()
        n = len(self.groups)
        if not n or (not self.dims and not self._named):
            return
        names = self._star if self.dims == ALL else self.dims
        columns = {d: self.groups.values[d].values if d in self.groups.values else np.full(n, -1, np.int32)
                   for d in names}  # fmt: skip
        names_of = self.groups.name.values if self._named else None
        self._lookup.learn(self._combined(columns, names_of, self.groups.by_name.values))

    def _quick(self, text: Text) -> Array | None:
        """The groups of one tag by its codes alone, where all of them are known."""
        vocabulary, table = self._direct
        if text.vocabulary is not vocabulary or len(table) != len(vocabulary) + 1:
            return None
        found = np.empty(len(text), np.int32)
        return found if known(text.codes, table, found) else None

    def _learn(self, text: Text, codes: Codes) -> None:
        own = codes.table.copy()
        if self.dims != ALL:
            own[own < 0] = codes.own.find("", -1)
        own += 1
        inside = own < len(self._lookup.table)
        self._direct = text.vocabulary, np.where(inside, self._lookup.table[np.where(inside, own, 0)], np.int32(-1))

    def _names(self, rows: Rows) -> Sequence[str]:
        if self.dims != ALL:
            return self.dims
        fresh = sorted(t for t in rows.tags if t not in self.exclude and t not in self._star)
        if fresh:
            self._star.extend(fresh)
            self._learn_groups()
        return self._star


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
    alone = True

    def __init__(
        self, *, name: str, dims: Sequence[str] | str = (), exclude: Sequence[str] = (), by_measurement: bool = False
    ) -> None:
        super().__init__(name=name)
        self.grouping = Grouping(dims, exclude, by_measurement)
        self.regroup = Regroup(dims, exclude, by_measurement)
        self.batches = False  # whether it stands on a batch edge

    def points(self, batch: Points) -> Iterable[Batch]:
        old = batch.groups.by_name.values
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
