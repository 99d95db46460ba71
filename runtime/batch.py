"""Data in flight: columns, rows, groups, and the two forms in which an edge carries them.

A stream edge carries `Points`, a batch edge `Segments`. Both stand on `Rows`, a table of columns in arrival order.
Everything here is immutable except `Vocabulary` and `Groups`, which only grow, so a code once given stays valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby, repeat
from typing import Any

import numpy as np

from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.vocabulary import Vocabulary

Array = np.ndarray
MISSING = int(Kind.MISSING)
STRING = Kind.STRING
FEW = 16  # rows up to which a loop costs less than calls of NumPy
DTYPES = {Kind.FLOAT: np.float64, Kind.INT: np.int64, Kind.BOOL: np.bool_, Kind.DURATION: np.int64}
_ZERO = bytes(4)


@dataclass(frozen=True, slots=True)
class Text:
    """A column of strings: i4[n] codes into a vocabulary, -1 for an absent one."""

    codes: Array
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.codes)

    @staticmethod
    def constant(text: str, n: int) -> Text:
        """`n` times `text`, without storage for the rows."""
        return Text(np.ndarray((n,), np.int32, _ZERO, strides=(0,)), Vocabulary([text]))

    @staticmethod
    def of(texts: Iterable[str | None]) -> Text:
        """Encode strings; None is absent."""
        texts = list(texts)
        vocabulary = Vocabulary(dict.fromkeys(t for t in texts if t is not None))
        codes = vocabulary.codes
        return Text(np.array([-1 if t is None else codes[t] for t in texts], np.int32), vocabulary)

    def take(self, rows: Array | slice) -> Text:
        if isinstance(rows, np.ndarray) and self.codes.strides == (0,) and len(self.codes):
            return Text(np.broadcast_to(self.codes[0], (_taken(rows),)), self.vocabulary)
        return Text(self.codes[rows], self.vocabulary)

    def at(self, row: int) -> str | None:
        code = self.codes[row]
        return None if code < 0 else self.vocabulary.strings[code]

    def tolist(self) -> list[str | None]:
        codes = self.codes.tolist()
        if self._few and min(codes, default=0) >= 0:
            return list(self.vocabulary.texts(self.codes))
        strings = self.vocabulary.strings
        return [None if c < 0 else strings[c] for c in codes]

    def filled(self, text: str) -> Text:
        """The same strings, and `text` where one is absent."""
        absent = self.codes < 0
        if not absent.any():
            return self
        return Text(np.where(absent, np.int32(self.vocabulary.code(text)), self.codes), self.vocabulary)

    def used(self) -> Array:
        """The codes that occur (without -1), ascending."""
        if len(self) <= FEW:
            return np.array(sorted({*self.codes.tolist()} - {-1}), np.int64)
        codes = self.codes[:1] if self.codes.strides == (0,) else self.codes
        if len(self.vocabulary) == 1:
            return np.zeros(int(codes.max() >= 0), np.int64)
        if self._few:
            found = np.unique(codes)
            return found[np.searchsorted(found, 0) :]
        present = np.zeros(len(self.vocabulary) + 1, np.bool_)
        present[codes] = True
        return np.flatnonzero(present[:-1])

    def recode(self, vocabulary: Vocabulary) -> Text:
        """The same strings with codes of `vocabulary`, which learns the new ones."""
        if vocabulary is self.vocabulary:
            return self
        used = self.used()
        codes = vocabulary.encode_from(self.vocabulary, used)
        if len(self) and self.codes.strides == (0,):
            return Text(np.broadcast_to(codes[0] if len(codes) else np.int32(-1), (len(self),)), vocabulary)
        if len(self) <= FEW:
            known = dict(zip(used.tolist(), codes.tolist()))
            return Text(np.array([known.get(c, -1) for c in self.codes.tolist()], np.int32), vocabulary)
        if self._few and len(used):
            found = codes[np.minimum(np.searchsorted(used, self.codes), len(used) - 1)]
            return Text(np.where(self.codes < 0, np.int32(-1), found), vocabulary)
        table = np.full(len(self.vocabulary) + 1, -1, np.int32)
        table[used] = codes
        return Text(table[self.codes], vocabulary)

    @property
    def _few(self) -> bool:
        """Whether the vocabulary is so large that to go through all of it would take longer than the rows do."""
        return 64 * len(self.codes) < len(self.vocabulary)

    @staticmethod
    def concat(parts: Sequence[Text]) -> Text:
        first = parts[0]
        if any(p.vocabulary is not first.vocabulary for p in parts):
            shared = Vocabulary()
            parts = [p.recode(shared) for p in parts]
        whole = [p.codes for p in parts if len(p)]
        if whole and all(codes.strides == (0,) and codes[0] == whole[0][0] for codes in whole):
            return Text(np.broadcast_to(whole[0][0], (sum(map(len, whole)),)), parts[0].vocabulary)
        return Text(np.concatenate([p.codes for p in parts]), parts[0].vocabulary)


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one field.

    kinds: the one kind of all n rows, or u1[n], MISSING where a row lacks the field.
    data: for each kind that occurs, an array over all n rows (f8, i8, bool; durations i8 ns; strings a `Text`); what
    stands at rows of another kind is undefined. Kind.NIL has no data.
    """

    kinds: Kind | Array
    data: Mapping[Kind, Any]
    n: int

    @staticmethod
    def of(kind: Kind, values: Any) -> Column:
        """A column of one kind, present in every row."""
        return Column(kind, {kind: values}, len(values))

    @staticmethod
    def masked(kind: Kind, values: Any, present: Array) -> Column:
        """A column of one kind, present where the bool[n] mask says so."""
        if present.all():
            return Column.of(kind, values)
        return Column(np.where(present, np.uint8(kind), np.uint8(MISSING)), {kind: values}, len(present))

    @staticmethod
    def absent(n: int) -> Column:
        return Column(Kind.MISSING, {}, n)

    @staticmethod
    def of_values(values: Sequence[Any]) -> Column:
        """From Python values (float, int, str, bool or None for absent); for small inputs."""
        kinds = np.array([_kind_of(v) for v in values], np.uint8)
        data: dict[Kind, Any] = {}
        for kind in map(Kind, np.unique(kinds)):
            if kind is STRING:
                data[kind] = Text.of(v if isinstance(v, str) else None for v in values)
            elif kind in DTYPES:
                data[kind] = np.array([v if k == kind else 0 for v, k in zip(values, kinds)], DTYPES[kind])
        return Column(kinds, data, len(values)).normal()

    def __len__(self) -> int:
        return self.n

    def normal(self) -> Column:
        """The same column with a scalar `kinds` where all rows are of one kind, and without unused data."""
        if isinstance(self.kinds, Kind) or self.n == 0:
            return self
        first = self.kinds[0]
        if (self.kinds == first).all():
            kind = Kind(int(first))
            return Column(kind, {k: v for k, v in self.data.items() if k is kind}, self.n)
        return self

    def is_kind(self, kind: Kind) -> Array:
        """bool[n]: where the row's value is of `kind`."""
        if isinstance(self.kinds, Kind):
            return np.full(self.n, self.kinds is kind)
        return self.kinds == kind

    def kinds_array(self) -> Array:
        """u1[n]: the kind of each row."""
        if isinstance(self.kinds, Kind):
            return np.full(self.n, self.kinds, np.uint8)
        return self.kinds

    def present(self) -> Array:
        """bool[n]: where the row has the field (a nil counts)."""
        if isinstance(self.kinds, Kind):
            return np.full(self.n, self.kinds is not Kind.MISSING)
        return self.kinds != MISSING

    def only(self, kind: Kind) -> Any | None:
        """The data where every row has the field with `kind`, else None."""
        return self.data[kind] if self.kinds is kind else None

    def take(self, rows: Array | slice) -> Column:
        if isinstance(self.kinds, Kind):
            n = len(range(*rows.indices(self.n))) if isinstance(rows, slice) else _taken(rows)
            kinds: Kind | Array = self.kinds
        else:
            kinds = self.kinds[rows]
            n = len(kinds)
        data = {k: v.take(rows) if isinstance(v, Text) else v[rows] for k, v in self.data.items()}
        return Column(kinds, data, n)

    def at(self, row: int) -> Any:
        """The Python value of one row; None where absent or nil."""
        kind = self.kinds if isinstance(self.kinds, Kind) else Kind(int(self.kinds[row]))
        values = self.data.get(kind)
        if values is None:
            return None
        if isinstance(values, Text):
            return values.at(row)
        return values[row].item()

    @staticmethod
    def concat(parts: Sequence[Column]) -> Column:
        if len(parts) == 1:
            return parts[0]
        n = sum(p.n for p in parts)
        first = parts[0].kinds
        if isinstance(first, Kind) and all(p.kinds is first for p in parts):
            kinds: Kind | Array = first
        else:
            kinds = np.concatenate([p.kinds_array() for p in parts])
        data = {kind: _concat_kind(kind, parts) for kind in sorted({k for p in parts for k in p.data})}
        return Column(kinds, data, n).normal()


def select(choices: Sequence[tuple[Array, Column]], n: int) -> Column:
    """Scatter columns into one of n rows: each choice is (rows i8[m], Column of m); other rows lack the field."""
    kinds = np.full(n, MISSING, np.uint8)
    data: dict[Kind, Any] = {}
    vocabulary = Vocabulary()
    for rows, column in choices:
        kinds[rows] = column.kinds_array()
        for kind, values in column.data.items():
            if kind is STRING:
                target = data.setdefault(kind, Text(np.full(n, -1, np.int32), vocabulary))
                target.codes[rows] = values.recode(vocabulary).codes
            else:
                target = data.setdefault(kind, np.zeros(n, DTYPES[kind]))
                target[rows] = values
    return Column(kinds, data, n).normal()


def _taken(rows: Array) -> int:
    return int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)


def _kind_of(value: Any) -> Kind:
    match value:
        case None:
            return Kind.MISSING
        case bool():
            return Kind.BOOL
        case int():
            return Kind.INT
        case float():
            return Kind.FLOAT
        case str():
            return Kind.STRING
    raise TypeError(f"not a field value: {value!r}")


def _concat_kind(kind: Kind, parts: Sequence[Column]) -> Any:
    if kind is STRING:
        return Text.concat([p.data[kind] if kind in p.data else Text(np.full(p.n, -1, np.int32), Vocabulary())
                            for p in parts])  # fmt: skip
    return np.concatenate([p.data[kind] if kind in p.data else np.zeros(p.n, DTYPES[kind]) for p in parts])


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of n points in arrival order.

    time: i8[n] ns since 1970; name, database, policy: measurement, database and retention policy of each point; tags:
    a column without any value may be there, it means the same as no column.
    """

    time: Array
    name: Text
    database: Text
    policy: Text
    tags: Mapping[str, Text]
    fields: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Array | slice) -> Rows:
        """The rows of an index array, a bool mask or a slice."""
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        return Rows(
            self.time[rows],
            self.name.take(rows),
            self.database.take(rows),
            self.policy.take(rows),
            {k: v.take(rows) for k, v in self.tags.items()},
            {k: v.take(rows) for k, v in self.fields.items()},
        )

    def with_(self, **changes: Any) -> Rows:
        return replace(self, **changes)

    @property
    def nbytes(self) -> int:
        """About how many bytes the rows take, without their vocabularies."""
        texts = [self.name, self.database, self.policy, *self.tags.values()]
        arrays = [self.time, *(c.kinds for c in self.fields.values() if not isinstance(c.kinds, Kind))]
        for column in self.fields.values():
            for values in column.data.values():
                (texts if isinstance(values, Text) else arrays).append(values)
        return sum(0 if a.strides == (0,) else a.nbytes for a in (*arrays, *(text.codes for text in texts)))

    def field(self, name: str) -> Column:
        """The field `name`, absent in every row where there is no such column."""
        column = self.fields.get(name)
        return Column.absent(len(self)) if column is None else column

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        """All rows of `parts`, in order; a column that a part lacks is absent in its rows."""
        parts = [p for p in parts if len(p)] or list(parts[:1])
        if len(parts) == 1:
            return parts[0]
        tags = {name: None for p in parts for name in p.tags}
        fields = {name: None for p in parts for name in p.fields}
        return Rows(
            np.concatenate([p.time for p in parts]),
            Text.concat([p.name for p in parts]),
            Text.concat([p.database for p in parts]),
            Text.concat([p.policy for p in parts]),
            {name: Text.concat([_tag(p, name, parts) for p in parts]) for name in tags},
            {name: Column.concat([p.field(name) for p in parts]) for name in fields},
        )


def _tag(rows: Rows, name: str, all_parts: Sequence[Rows]) -> Text:
    found = rows.tags.get(name)
    if found is not None:
        return found
    vocabulary = next(p.tags[name].vocabulary for p in all_parts if name in p.tags)
    return Text(np.full(len(rows), -1, np.int32), vocabulary)


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of one group: its dimensions, their values, and the name of the message that made it."""

    id: str
    by_name: bool
    dims: tuple[str, ...]
    tags: Mapping[str, str]
    name: str


NO_DIMENSIONS: tuple[str, ...] = ()
AT_HAND = 4096  # groups that are kept as objects once they were asked for


class Growing:
    """An array that grows at its end."""

    __slots__ = ("_room", "values")

    def __init__(self, values: Array) -> None:
        self._room = self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def extend(self, more: Array | int, count: int) -> None:
        """Append `count` values."""
        old, new = len(self.values), len(self.values) + count
        if new > len(self._room):
            room = self._larger(max(new, 2 * old, 16))
            room[:old] = self.values
            self._room = room
        self._room[old:new] = more
        self.values = self._room[:new]

    def _larger(self, n: int) -> Array:
        """Room for n values."""
        return np.empty(n, self._room.dtype)


_NO_CODES, _NO_FLAGS = np.zeros(0, np.int32), np.zeros(0, np.bool_)


class Groups:
    """The groups that have appeared on an edge, by dense code in order of first appearance; grows only.

    One thread may let it grow while others read: what was there stays as it is.

    They are columns: the dimensions that each has, the value of each dimension, the name. A `Group` is made of them
    when it is asked for, and so are the ids.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[str, ...]] = []  # the dimensions that groups have
        self.shape = Growing(_NO_CODES)  # which of them each has
        self.by_name = Growing(_NO_FLAGS)
        self.names = Vocabulary()
        self.name = Growing(_NO_CODES)
        self.words: dict[str, Vocabulary] = {}  # the values of each dimension
        self.values: dict[str, Growing] = {}  # i4, -1 where a group lacks the dimension
        self._codes: dict[str, int] = {}
        self._at_hand: dict[int, Group] = {}

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, code: int) -> Group:
        found = self._at_hand.get(code)
        if found is None:
            if len(self._at_hand) >= AT_HAND:
                self._at_hand = {}
            found = self._at_hand[code] = self._made(code)
        return found

    def _made(self, code: int) -> Group:
        dims = self.shapes[self.shape.values[code]]
        tags = {d: self.words[d].strings[self.values[d].values[code]] for d in dims}
        name, by_name = self.names.strings[self.name.values[code]], bool(self.by_name.values[code])
        return Group(group_id(name, by_name, tags), by_name, dims, tags, name)

    def ids(self, codes: Array) -> list[str]:
        """The ids of the groups `codes` (i4[m])."""
        found = np.empty(len(codes), object)
        kinds = 2 * self.shape.values[codes] + self.by_name.values[codes]
        for kind in np.unique(kinds).tolist():
            rows, dims = np.flatnonzero(kinds == kind), self.shapes[kind >> 1]
            some = codes[rows]
            names = Text(self.name.values[some], self.names).tolist()
            values = [Text(self.values[d].values[some], self.words[d]).tolist() for d in dims]
            table = zip(*values) if dims else repeat(())
            found[rows] = [group_id(name or "", kind & 1 == 1, dict(zip(dims, row))) for name, row in zip(names, table)]
        return found.tolist()

    def __iter__(self) -> Iterator[Group]:
        return self.since(0)

    def since(self, code: int) -> Iterator[Group]:
        """The groups from a code on."""
        return map(self.__getitem__, range(code, len(self)))

    @property
    def codes(self) -> Mapping[str, int]:
        """The codes by id."""
        if len(self._codes) < len(self):
            self._codes.update((self._made(code).id, code) for code in range(len(self._codes), len(self)))
        return self._codes

    def code(self, name: str, by_name: bool, tags: Mapping[str, str]) -> int:
        """The code of the group of a point of measurement `name` whose dimensions have the values `tags`, in order."""
        id = group_id(name, by_name, tags)
        found = self.codes.get(id)
        if found is None:
            columns = {d: Text.constant(value, 1) for d, value in tags.items()}
            found = self._codes[id] = self.extend(Text.constant(name, 1), by_name, columns)
        return found

    def known(self, group: Group) -> int:
        """The code of a group of another table. One that only a mark has brought has no name but that in its id."""
        return self.code(group.name if group.by_name else "", group.by_name, group.tags)

    def take_over(self, other: Groups, first: int, rename: str = "") -> Array:
        """i4[m]: the codes here of another table's groups from the code `first` on, which are added where they are new.

        rename: the name of those that are added; theirs where it is empty.
        """
        there = len(other)  # another thread may let it grow
        found = np.empty(there - first, np.int32)
        added: list[int] = []
        codes, at = self.codes, len(self)
        for i, group in enumerate(map(other.__getitem__, range(first, there))):
            id = group_id(rename or group.name, group.by_name, group.tags)
            if id not in codes:
                self._codes[id] = at + len(added)
                added.append(first + i)
            found[i] = codes[id]
        for (shape, by_name), run in groupby(
            added, lambda code: (other.shape.values[code], other.by_name.values[code])
        ):
            rows = np.fromiter(run, np.int64)
            name = Text.constant(rename, len(rows)) if rename else Text(other.name.values[rows], other.names)
            tags = {d: Text(other.values[d].values[rows], other.words[d]) for d in other.shapes[shape]}
            self.extend(name, bool(by_name), tags)
        return found

    def extend(self, name: Text, by_name: bool, tags: Mapping[str, Text]) -> int:
        """Append m groups whose ids are none of those here; the code of the first of them. A group has the dimensions
        of which its row in `tags` (in order) has a value."""
        first, m = len(self), len(name)
        self.name.extend(name.recode(self.names).codes, m)
        self.by_name.extend(by_name, m)
        for dim, text in tags.items():
            codes = text.recode(self.words.setdefault(dim, Vocabulary())).codes
            self.values.setdefault(dim, Growing(np.full(first, -1, np.int32))).extend(codes, m)
        for dim in self.values.keys() - tags.keys():
            self.values[dim].extend(-1, m)
        self.shape.extend(self._shapes(tags, m), m)
        return first

    def _shapes(self, tags: Mapping[str, Text], m: int) -> Array:
        """i4[m]: which of the shapes groups have that have a value where `tags` has one."""
        there = np.array([text.codes >= 0 for text in tags.values()], np.bool_).reshape(len(tags), m)
        if there.all():
            return np.full(m, self._shape_number(tuple(tags)), np.int32)
        patterns, which = np.unique(there.T, axis=0, return_inverse=True) if len(tags) else (there.T[:1], [0] * m)
        found = [tuple(d for d, has in zip(tags, pattern) if has) for pattern in patterns.tolist()]
        return np.array([self._shape_number(shape) for shape in found], np.int32)[which]

    def _shape_number(self, shape: tuple[str, ...]) -> int:
        if shape not in self.shapes:
            self.shapes.append(shape)
        return self.shapes.index(shape)

    def tags(self, codes: Array) -> dict[str, Text]:
        """The tags of the groups `codes` (i4[n]) as columns of n: a dimension that a group lacks is absent, one that
        its points lack is the empty string."""
        return {dim: Text(values.values[codes], self.words[dim]) for dim, values in [*self.values.items()]}

    def snapshot(self) -> list[Any]:
        """The columns."""
        dims = [[d, self.words[d], values.values] for d, values in self.values.items()]
        return [self.shapes, self.shape.values, self.by_name.values, self.names, self.name.values, dims]

    def restore(self, saved: Sequence[Any]) -> None:
        """Take over a snapshot; for an empty table."""
        shapes, shape, by_name, self.names, name, dims = saved
        self.shapes = [tuple(s) for s in shapes]
        self.shape, self.by_name, self.name = Growing(shape), Growing(by_name), Growing(name)
        self.words = {d: words for d, words, _ in dims}
        self.values = {d: Growing(values) for d, _, values in dims}


def group_id(name: str, by_name: bool, tags: Mapping[str, str]) -> str:
    """Kapacitor's text of a group id (models.ToGroupID): `name`, newline, `t1=v1,t2=v2`."""
    values = ",".join(f"{k}={v}" for k, v in tags.items())
    if not by_name:
        return values
    return f"{name}\n{values}" if values else name


@dataclass(frozen=True)
class Points:
    """A record batch on a stream edge.

    rows: the points in arrival order; group: i4[n] codes into `groups`; seq: i8[n], ascending, the number of the input
    row that caused each point to come out (it orders the rows of branches that meet again).
    """

    rows: Rows
    group: Array
    groups: Groups
    seq: Array

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def time(self) -> Array:
        """i8[n] ns: the points' time."""
        return self.rows.time

    def take(self, rows: Array | slice) -> Points:
        if isinstance(rows, np.ndarray) and rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        return Points(self.rows.take(rows), self.group[rows], self.groups, self.seq[rows])

    def with_rows(self, rows: Rows) -> Points:
        return replace(self, rows=rows)

    @staticmethod
    def concat(parts: Sequence[Points]) -> Points:
        """All points of batches of one edge."""
        if len(parts) == 1:
            return parts[0]
        return Points(
            Rows.concat([p.rows for p in parts]),
            np.concatenate([p.group for p in parts]),
            parts[0].groups,
            np.concatenate([p.seq for p in parts]),
        )


@dataclass(frozen=True)
class Segments:
    """A record batch on a batch edge: m batches of Kapacitor, each a run of rows.

    The points of batch j are `rows` at `index[start[j]:stop[j]]`, or at `start[j]…stop[j]-1` where index is None; runs
    may overlap (windows share rows). tmax: i8[m] ns, the batch's time; group: i4[m] codes; name: the batches' names;
    seq: i8[m] as in `Points`. The batch's tags are those of its group.
    """

    rows: Rows
    start: Array
    stop: Array
    tmax: Array
    group: Array
    groups: Groups
    name: Text
    seq: Array
    index: Array | None = field(default=None)

    def __len__(self) -> int:
        return len(self.start)

    @property
    def time(self) -> Array:
        """i8[m] ns: the batches' time."""
        return self.tmax

    @cached_property
    def sizes(self) -> Array:
        """i8[m]: points in each batch."""
        return self.stop - self.start

    def flat(self) -> Segments:
        """The same batches with rows of their own: adjacent, without index, in order."""
        sizes = self.sizes
        stop = np.cumsum(sizes)
        start = stop - sizes
        total = int(stop[-1]) if len(stop) else 0
        if self.index is None and total == len(self.rows) and (self.start == start).all():
            return self
        rows = np.arange(total, dtype=np.int64) + np.repeat(self.start - start, sizes)
        if self.index is not None:
            rows = self.index[rows]
        return replace(self, rows=self.rows.take(rows), start=start, stop=stop, index=None)

    def owner(self) -> Array:
        """i8[total]: for flat segments, the batch of each row."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def keep(self, mask: Array) -> Segments:
        """The batches with only the rows where bool[rows] is true; batches that lose all rows stay, empty."""
        if self.index is None:
            before = np.concatenate([[0], np.cumsum(mask)])
            rows = self.rows.take(mask)
            return replace(self, rows=rows, start=before[self.start], stop=before[self.stop])
        chosen = mask[self.index]
        before = np.concatenate([[0], np.cumsum(chosen)])
        return replace(self, index=self.index[chosen], start=before[self.start], stop=before[self.stop])

    def with_rows(self, rows: Rows) -> Segments:
        return replace(self, rows=rows)

    def with_seq(self, seq: Array) -> Segments:
        return replace(self, seq=seq)

    def take(self, batches: Array | slice) -> Segments:
        """Some of the batches (index array, mask or slice), sharing the rows."""
        return replace(
            self,
            start=self.start[batches],
            stop=self.stop[batches],
            tmax=self.tmax[batches],
            group=self.group[batches],
            name=self.name.take(batches),
            seq=self.seq[batches],
        )


BARRIER, DELETE = 0, 1  # kinds of marks


@dataclass(frozen=True)
class Marks:
    """Messages without data, among the batches of an edge.

    kind: u1[m]; BARRIER: nothing older than its time will follow for the group; DELETE: the group can be forgotten.
    time: i8[m] ns; group: i4[m] codes; seq: i8[m], the row before which they stand.
    """

    time: Array
    group: Array
    groups: Groups
    kind: Array
    seq: Array

    def __len__(self) -> int:
        return len(self.time)

    def take(self, chosen: Array | slice) -> Marks:
        """Some of the marks (index array or mask)."""
        return Marks(self.time[chosen], self.group[chosen], self.groups, self.kind[chosen], self.seq[chosen])

    def among(self, groups: Groups) -> Marks:
        """The same marks with codes of `groups`, where groups of equal ids are one."""
        if groups is self.groups:
            return self
        codes = np.fromiter((groups.known(self.groups[g]) for g in self.group.tolist()), np.int32, len(self))
        return Marks(self.time, codes, groups, self.kind, self.seq)


Batch = Points | Segments


@kernel
def pair_codes(left, right, keys, codes, known, out):  # type: ignore[no-untyped-def]
    """Dense codes of the pairs (left[i], right[i]) in order of first appearance.

    left, right: i4[n], at least -1 -> out: i8[n]. keys: i8[cap] (-1 free) and codes: i8[cap] are an open-addressing
    table, cap a power of two of at least twice the pairs. known: pairs so far. Returns the new number of pairs.
    """
    mask = keys.size - 1
    for i in range(left.size):
        key = (np.int64(left[i]) + 1) * np.int64(4294967296) + np.int64(right[i]) + 1
        slot = (key ^ (key >> 29)) & mask
        while keys[slot] != -1 and keys[slot] != key:
            slot = (slot + 1) & mask
        if keys[slot] == -1:
            keys[slot] = key
            codes[slot] = known
            known += 1
        out[i] = codes[slot]
    return known


class Pairs:
    """Numbers pairs of codes densely in order of first appearance; grows only."""

    def __init__(self) -> None:
        self.count = 0
        self.keys = np.full(1024, -1, np.int64)
        self.codes = np.zeros(1024, np.int64)

    def encode(self, left: Array, right: Array) -> Array:
        """i4[n] codes of the pairs of two i4[n]."""
        self._reserve(self.count + len(left))
        out = np.empty(len(left), np.int64)
        self.count = int(pair_codes(np.ascontiguousarray(left), np.ascontiguousarray(right),
                                    self.keys, self.codes, self.count, out))  # fmt: skip
        return out.astype(np.int32)

    def _reserve(self, pairs: int) -> None:
        if 2 * pairs <= len(self.keys):
            return
        known = self.keys[self.keys != -1]
        values = self.codes[self.keys != -1]
        size = 1 << (2 * pairs - 1).bit_length()
        keys = np.full(size, -1, np.int64)
        codes = np.zeros(size, np.int64)
        slot = (known ^ (known >> 29)) & (size - 1)
        for k, v, s in zip(known.tolist(), values.tolist(), slot.tolist()):
            while keys[s] != -1:
                s = (s + 1) & (size - 1)
            keys[s], codes[s] = k, v
        self.keys, self.codes = keys, codes
