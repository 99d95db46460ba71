"""`|combine()` and `|flatten()`: the points of one time in one group, brought together.

Both take the points of a group in runs of equal rounded time. On a stream a run is over when a point of another time
arrives in the group, and the last one is never over; in a batch the end of the batch ends a run too. Runs come out in
the order of the points that ended them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from tickc.runtime.batch import (
    BARRIER,
    MISSING,
    Array,
    Batch,
    Column,
    Groups,
    Marks,
    Points,
    Rows,
    Segments,
    Text,
    select,
)
from tickc.runtime.expr import Expr, Frame, Lambda
from tickc.runtime.graph import AT_THE_END, Operator, TaskFailed
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.common import no_text
from tickc.runtime.nodes.group import Codes, Combinations, Lookup, Retagging, absent
from tickc.runtime.nodes.stream import round_
from tickc.runtime.nodes.window import Names, grown, rows_by_group

TIME, USEFUL = range(2)  # columns of the per-group i8 state of the open run: its time, whether it brings anything
STILL_OPEN = -1
AT_ONCE = 1 << 16  # combinations that come out in one batch
LONGEST_NAME = 1 << 16  # what a field name may have, in InfluxDB, is no longer
CELLS = 1 << 24  # rows times columns of a batch that flatten gives


@kernel
def end_runs(time, group, useful, first, state, sticky, number, current, out_time, out_row):  # type: ignore[no-untyped-def]
    """Number the runs that end, in order, and their rows.

    time: i8[n], rounded; group: i4[n]; useful: bool[n], whether the row brings anything; the rows before `first` belong
    to the open runs of their groups. state: i8[groups, 2], updated. sticky: a run that brings something and is later
    than the one after it leaves its time to that one (Kapacitor flatten.go). current: i8[groups], work space. Writes
    number: i8[n], STILL_OPEN for rows of runs that go on, and for each run that ends its time and the row that ended
    it. Returns how many.
    """
    for g in range(current.size):
        current[g] = -1
    opened = 0
    ended = 0
    names = np.full(time.size, STILL_OPEN, np.int64)
    for i in range(time.size):
        g = group[i]
        if current[g] < 0 or (i >= first and time[i] != state[g, TIME]):
            if i >= first:
                t = time[i]
                if current[g] >= 0:
                    names[current[g]] = ended
                    out_time[ended] = state[g, TIME]
                    out_row[ended] = i
                    ended += 1
                    if sticky and state[g, USEFUL] == 1:
                        t = max(t, state[g, TIME])
                state[g, TIME] = t
                state[g, USEFUL] = 0
            current[g] = opened
            opened += 1
        number[i] = current[g]
        if useful[i]:
            state[g, USEFUL] = 1
    for i in range(time.size):
        number[i] = names[number[i]]
    return ended


@dataclass(frozen=True, slots=True)
class Ended:
    """Runs that ended: their rows, some of which may belong to runs that go on.

    number: i8[n], the run of each row, ascending with the rows of one run; time, group, seq: of each run, name too.
    """

    rows: Rows
    number: Array
    time: Array
    group: Array
    name: Text
    seq: Array

    def __len__(self) -> int:
        return len(self.time)

    def in_order(self) -> Array:
        """The rows of the runs, run after run."""
        done = np.flatnonzero(self.number != STILL_OPEN)
        return done[np.argsort(self.number[done], kind="stable")]


class Runs:
    """The runs of a stream's groups: what is kept of those that are open."""

    def __init__(self, tolerance: int, sticky: bool) -> None:
        self.tolerance, self.sticky = tolerance, sticky
        self.kept: Rows | None = None
        self.group = np.zeros(0, np.int32)
        self.state = np.zeros((0, 2), np.int64)
        self.names = Names()
        self.groups = Groups()  # those of the input

    def snapshot(self) -> list[object]:
        return [self.kept, self.group, self.state, self.names.snapshot(), self.groups]

    def restore(self, saved: list[Any]) -> None:
        self.kept, self.group, self.state, names, self.groups = saved
        self.names.restore(names)

    def join(self, batch: Points) -> Rows:
        """The kept rows and those of the batch."""
        self.groups = batch.groups
        self.names.learn(batch.group, batch.groups, batch.rows.name)
        return Rows.concat([self.kept, batch.rows]) if self.kept is not None and len(self.kept) else batch.rows

    def end(self, batch: Points, rows: Rows, useful: Array) -> Ended | None:
        """The runs that end in `batch`; rows: what `join` gave; useful: bool[n]."""
        first = len(rows) - len(batch)
        group = np.concatenate([self.group, batch.group]) if first else batch.group
        self.state = grown(self.state, len(batch.groups))
        number, time, row = np.empty((3, len(rows)), np.int64)
        current = np.empty(len(batch.groups), np.int64)
        times = round_(rows.time, self.tolerance)
        ended = end_runs(times, group, useful, first, self.state, self.sticky, number, current, time, row)
        still = np.flatnonzero(number == STILL_OPEN)
        self.kept, self.group = rows.take(still), group[still]
        if not ended:
            return None
        cause = row[:ended]
        groups = group[cause]
        return Ended(rows, number, time[:ended], groups, self.names.of(groups), batch.seq[cause - first])

    def release(self, groups: Array, seq: int) -> Ended | None:
        """The open runs of some groups (bool[groups]), which end here; seq: what ends them."""
        if self.kept is None or not (mine := groups[self.group]).any():
            return None
        rows = self.kept.take(mine)
        codes, number = np.unique(self.group[mine], return_inverse=True)
        self.kept, self.group = self.kept.take(~mine), self.group[~mine]
        return Ended(
            rows, number, self.state[codes, TIME], codes, self.names.of(codes), np.full(len(codes), seq, np.int64)
        )

    def passed(self, marks: Marks) -> Array:
        """bool[groups]: the groups whose open run is older than a barrier. It gives groups that it brings no name."""
        self.groups = marks.groups
        barriers = marks.take(marks.kind == BARRIER)
        self.names.nameless(barriers.group, marks.groups)
        self.state = grown(self.state, len(marks.groups))
        passed = np.zeros(len(marks.groups), np.bool_)
        passed[barriers.group] = barriers.time > self.state[barriers.group, TIME]
        return passed

    def forget(self, codes: Array, groups: Groups) -> None:
        """Drop what is kept of groups."""
        gone = np.zeros(len(groups), np.bool_)
        gone[codes] = True
        self.names.forget(codes, groups)
        if self.kept is not None:
            stay = ~gone[self.group]
            self.kept, self.group = self.kept.take(stay), self.group[stay]


def runs_of_batches(batch: Segments, tolerance: int) -> tuple[Ended, Array]:
    """All runs of flat batches, and the number of the batch of each."""
    n = len(batch.rows)
    owner, time = batch.owner(), round_(batch.rows.time, tolerance)
    starts = np.ones(n, np.bool_)
    starts[1:] = (time[1:] != time[:-1]) | (owner[1:] != owner[:-1])
    row = np.flatnonzero(starts)
    home = owner[row]
    ended = Ended(
        batch.rows, np.cumsum(starts) - 1, time[row], batch.group[home], batch.name.take(home), batch.seq[home]
    )
    return ended, home


# ------------------------------------------------------------------------------------------------------------- combine


@kernel
def next_subset(indices, n):  # type: ignore[no-untyped-def]
    """Move i8[k] ascending indices below n to the next subset in lexicographic order; False after the last one."""
    k = indices.size
    i = k - 1
    while i >= 0 and indices[i] == i + n - k:
        i -= 1
    if i < 0:
        return False
    indices[i] += 1
    for j in range(i + 1, k):
        indices[j] = indices[j - 1] + 1
    return True


@kernel
def assign(matches, at, indices, free, chosen):  # type: ignore[no-untyped-def]
    """Give each condition in turn the first free point of a subset that meets it; whether all of them get one.

    matches: bool[k, n], the run's rows from `at` on; indices: i8[k]; free: bool[k], work space; chosen: i8[k] rows.
    """
    k = indices.size
    for i in range(k):
        free[i] = True
    for s in range(k):
        found = False
        for i in range(k):
            if not found and free[i] and matches[s, at + indices[i]]:
                free[i] = False
                chosen[s] = at + indices[i]
                found = True
        if not found:
            return False
    return True


@kernel
def combinations(matches, start, stop, cursor, indices, out):  # type: ignore[no-untyped-def]
    """Write the subsets of each run whose points meet all conditions, as many as there is room for.

    matches: bool[k, n]; start, stop: i8[runs]; cursor: i8[2], the run and whether `indices`, i8[k], holds its next
    subset; both are moved on. Writes the rows and the run in out: i8[k + 1, room]. Returns how many.
    """
    k = indices.size
    free = np.empty(k, np.bool_)
    chosen = np.empty(k, np.int64)
    found = 0
    while cursor[0] < start.size and found < out.shape[1]:
        run = cursor[0]
        n = stop[run] - start[run]
        if cursor[1] == 0:
            for i in range(k):
                indices[i] = i
        more = n >= k
        while more and found < out.shape[1]:
            if assign(matches, start[run], indices, free, chosen):
                for s in range(k):
                    out[s, found] = chosen[s]
                out[k, found] = run
                found += 1
            more = next_subset(indices, n)
        cursor[1] = 1
        if not more:
            cursor[0] += 1
            cursor[1] = 0
    return found


class Combine(Operator):
    """Every choice of as many points of a run as there are conditions, in which each condition is met by one of them.

    Kapacitor combine.go: the subsets of a run in lexicographic order of its points; each condition in turn takes the
    first point left that meets it. Lambdas are evaluated once for each point, when its run ends. A first point whose
    time is not a multiple of the tolerance makes Kapacitor crash; here it begins a run as any other.

    own_tags: tags that points may have otherwise than their batch; their group follows from those.
    """

    STATE = ("lambdas", "runs", "retagging")
    alone = True

    def __init__(
        self,
        *,
        name: str,
        exprs: Sequence[Expr],
        names: Sequence[str],
        delimiter: str = ".",
        tolerance: int = 0,
        max: int = 1_000_000,
        own_tags: Sequence[str] = (),
    ) -> None:
        super().__init__(name=name)
        self.own_tags, self.retagging = own_tags, Retagging()
        self.lambdas = [Lambda(e, wants=Kind.BOOL, seed=f"{name}/{i}") for i, e in enumerate(exprs)]
        self.prefixes = tuple(n + delimiter for n in names)
        self.tolerance, self.max = tolerance, max
        self.runs = Runs(tolerance, sticky=False)

    def points(self, batch: Points) -> Iterable[Batch]:
        rows = self.runs.join(batch)
        ended = self.runs.end(batch, rows, np.zeros(len(rows), np.bool_))
        if ended is not None:
            yield from self._combined(ended, batch.groups)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.flat()
        if len(batch.rows):
            yield from self._combined(runs_of_batches(batch, self.tolerance)[0], batch.groups)

    def marks(self, marks: Marks) -> Iterable[Any]:
        self.runs.passed(marks)
        return super().marks(marks)

    def flush(self) -> Iterable[Batch]:
        """The combinations of the open runs."""
        ended = self.runs.release(np.ones(len(self.runs.groups), np.bool_), AT_THE_END)
        return () if ended is None else self._combined(ended, self.runs.groups)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.runs.forget(codes, groups)
        for condition in self.lambdas:
            condition.forget(codes)

    def _combined(self, ended: Ended, groups: Groups) -> Iterator[Points]:
        order = ended.in_order()
        sizes = np.bincount(ended.number[order], minlength=len(ended))
        refused = self._refused(sizes)
        if refused is not None:
            order = order[: int(sizes[: refused + 1].sum())]
        rows, number = ended.rows.take(order), ended.number[order]
        matches = self._matches(rows, ended.group[number])
        stop = np.cumsum(sizes[:refused])
        for chosen in self._subsets(matches, stop - sizes[:refused], stop):
            yield self._points(ended, groups, rows, chosen)
        if refused is not None:
            raise TaskFailed(
                f"{self.name}: refusing to perform combination as total combinations "
                f"{comb(int(sizes[refused]), len(self.lambdas))} exceeds max combinations {self.max}",
                int(ended.seq[refused]),
            )

    def _refused(self, sizes: Array) -> int | None:
        """The first run that has too many subsets; None where there is none."""
        k = len(self.lambdas)
        excessive = [n for n in np.unique(sizes).tolist() if n >= k and comb(n, k) > self.max]
        return int(np.argmax(sizes >= excessive[0])) if excessive else None

    def _matches(self, rows: Rows, group: Array) -> Array:
        """bool[k, n]: which points meet which conditions; one that cannot be evaluated is not met."""
        matches = np.empty((len(self.lambdas), len(rows)), np.bool_)
        for met, condition in zip(matches, self.lambdas):
            met[:], error = condition.mask(Frame.of(condition.names, rows.fields, rows.tags, rows.time, group))
            if error is not None:
                self.errors["expression could not be evaluated"] += int(np.count_nonzero(error))
        return matches

    def _subsets(self, matches: Array, start: Array, stop: Array) -> Iterator[Array]:
        """The chosen rows and the run of each combination, i8[k + 1, m] at a time."""
        k = len(self.lambdas)
        possible = sum(comb(n, k) * m for n, m in zip(*_counted(stop - start)))
        cursor, indices = np.zeros(2, np.int64), np.zeros(k, np.int64)
        while cursor[0] < len(start):
            out = np.empty((k + 1, max(1, min(possible, AT_ONCE))), np.int64)
            found = combinations(matches, start, stop, cursor, indices, out)
            if found:
                yield out[:, :found]

    def _points(self, ended: Ended, groups: Groups, rows: Rows, chosen: Array) -> Points:
        refs, run = chosen[:-1], chosen[-1]
        group, n = ended.group[run], len(run)
        sources = [(p, at, name, c) for p, at in zip(self.prefixes, refs) for name, c in rows.fields.items()]
        fields = {prefix + name: column.take(at) for prefix, at, name, column in sources}
        tags = self._tags(groups, group, rows.tags, refs)
        out = Rows(ended.time[run], ended.name.take(run), no_text(n), no_text(n), tags, fields)
        if self.own_tags:
            group, groups = self.retagging.encode(group, groups, out, self.own_tags), self.retagging.groups
        return Points(out, group, groups, ended.seq[run])

    def groups_behind(self, groups: Groups) -> Groups:
        return self.retagging.groups if self.own_tags else groups

    def _tags(self, groups: Groups, group: Array, tags: Mapping[str, Text], refs: Array) -> dict[str, Text]:
        """Dimensions as they are, other tags with the prefix of their point."""
        used = [(g, frozenset(groups[g].dims)) for g in np.unique(group).tolist()]
        out: dict[str, Text] = {}
        for tag, text in tags.items():
            plain = np.array([g for g, dims in used if tag in dims], np.int32)
            shared = len(plain) == len(used)
            where = None if shared or not len(plain) else np.isin(group, plain)
            if not shared:
                for prefix, at in zip(self.prefixes, refs):
                    out[prefix + tag] = _where(text.take(at), where, False)
            if len(plain):
                out[tag] = _where(_any_of(text, refs), where, True)
        return out


def _counted(values: Array) -> tuple[list[int], list[int]]:
    """The distinct values, and how often each occurs."""
    found, times = np.unique(values, return_counts=True)
    return found.tolist(), times.tolist()


def _any_of(text: Text, refs: Array) -> Text:
    """Of each column of rows `refs` the last text that is not absent."""
    codes = text.codes[refs[-1]]
    for at in refs[-2::-1]:
        if not (codes < 0).any():
            break
        codes = np.where(codes < 0, text.codes[at], codes)
    return Text(codes, text.vocabulary)


def _where(text: Text, rows: Array | None, wanted: bool) -> Text:
    """The text in the rows where the mask (None: all are wanted) is `wanted`, absent in others."""
    if rows is None:
        return text
    return Text(np.where(rows == wanted, text.codes, np.int32(-1)), text.vocabulary)


# ------------------------------------------------------------------------------------------------------------- flatten


class Prefixes:
    """What the values of tags put before the names of fields, numbered: one text for each combination of values.

    A combination that lacks a tag is not complete; its text is what comes before that tag.
    """

    def __init__(self, on: Sequence[str], delimiter: str) -> None:
        self.on, self.delimiter = tuple(on), delimiter
        self.texts: list[str] = []
        self._complete: list[bool] = []
        self._numbers: dict[tuple[str, bool], int] = {}
        self._codes = [Codes() for _ in self.on]
        self._combinations = Combinations()
        self._lookup = Lookup()

    def number(self, text: str, complete: bool) -> int:
        """The number of a text, which is added where it is new."""
        known = self._numbers.get((text, complete))
        if known is None:
            known = self._numbers[text, complete] = len(self.texts)
            self.texts.append(text)
            self._complete.append(complete)
        return known

    @property
    def complete(self) -> Array:
        """bool[prefixes]: which are complete."""
        return np.array(self._complete, np.bool_)

    def encode(self, rows: Rows) -> Array:
        """i4[n]: the number of each row's prefix."""
        n = len(rows)
        if not self.on:
            return np.full(n, self.number("", True), np.int32)
        texts = [rows.tags.get(tag) or absent(n) for tag in self.on]
        columns = [codes.of(text) for codes, text in zip(self._codes, texts)]
        codes = columns[0] + np.int32(1) if len(columns) == 1 else self._combinations.encode(columns)

        def make(row: int) -> int:
            values = [text.at(row) for text in texts]
            there = [v for v in values[: values.index(None) if None in values else None] if v is not None]
            return self.number(self.delimiter.join(there), len(there) == len(values))

        return self._lookup.groups(codes, make)


class Flatten(Operator):
    """One point of each run, with a field for every field of its points, under the values of the `on` tags.

    Kapacitor flatten.go: later points win. A point that lacks a tag is left out, but the values before that tag stay in
    Kapacitor's buffer and go before the name of the next point that is not, here as well. Where the names of several
    fields of a point become one (`drop_name`), the last field in alphabetical order wins; in Kapacitor chance decides.
    """

    STATE = ("runs", "left")
    alone = True

    def __init__(
        self,
        *,
        name: str,
        on: Sequence[str] = (),
        delimiter: str = ".",
        tolerance: int = 0,
        drop_name: bool = False,
    ) -> None:
        super().__init__(name=name)
        self.delimiter, self.tolerance, self.drop_name = delimiter, tolerance, drop_name
        self.prefixes = Prefixes(on, delimiter)
        self.runs = Runs(tolerance, sticky=True)
        self.left = ""  # what points without a tag left for the next name

    def points(self, batch: Points) -> Iterable[Batch]:
        rows = self.runs.join(batch)
        prefix = self.prefixes.encode(rows)
        useful = self.prefixes.complete[prefix] & _any_field(rows)
        ended = self.runs.end(batch, rows, useful)
        if ended is not None:
            yield from self._flattened(ended, prefix, useful, batch.groups)

    def marks(self, marks: Marks) -> Iterable[Any]:
        """A barrier ends the run of its group where that is older."""
        passed = self.runs.passed(marks)
        yield from self._release(passed, int(marks.seq[0]))
        yield from super().marks(marks)

    def flush(self) -> Iterable[Batch]:
        """The points of the open runs."""
        return self._release(np.ones(len(self.runs.groups), np.bool_), AT_THE_END)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.runs.forget(codes, groups)

    def _release(self, groups: Array, seq: int) -> Iterable[Batch]:
        ended = self.runs.release(groups, seq)
        if ended is not None:
            prefix = self.prefixes.encode(ended.rows)
            useful = self.prefixes.complete[prefix] & _any_field(ended.rows)
            yield from self._flattened(ended, prefix, useful, self.runs.groups)

    def _flattened(self, ended: Ended, prefix: Array, useful: Array, groups: Groups) -> Iterable[Batch]:
        """The points of runs that ended; prefix, useful: of each row of theirs."""
        rows = ended.rows
        prefix = self._settle(ended, prefix)
        usable = np.flatnonzero((ended.number != STILL_OPEN) & useful)
        number, prefix = ended.number[usable], prefix[usable]
        comes = np.zeros(len(ended), np.bool_)
        comes[number] = True
        for runs in self._pieces(np.flatnonzero(comes), number, prefix, len(rows.fields)):
            mine = slice(None) if len(runs) == len(comes) else (number >= runs[0]) & (number <= runs[-1])
            made = self._rows(ended, runs, usable[mine], number[mine], prefix[mine], groups)
            yield Points(made, ended.group[runs], groups, ended.seq[runs])

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.flat()
        ended, home = runs_of_batches(batch, self.tolerance)
        prefix = self.prefixes.encode(batch.rows)
        useful = np.flatnonzero(self.prefixes.complete[prefix] & _any_field(batch.rows))
        prefix = self._settle(ended, prefix)
        comes = np.append(home[1:] != home[:-1], True)[: len(home)]  # the last run does, even without any field
        comes[ended.number[useful]] = True
        runs = np.flatnonzero(comes)
        made = self._rows(ended, runs, useful, ended.number[useful], prefix[useful], batch.groups)
        stop = np.searchsorted(home[runs], np.arange(len(batch)), side="right")
        start = np.concatenate([np.zeros(1, np.int64), stop[:-1]])[: len(batch)]
        yield Segments(made, start, stop, batch.tmax, batch.group, batch.groups, batch.name, batch.seq)

    def _settle(self, ended: Ended, prefix: Array) -> Array:
        """Count the points that lack a tag; the prefixes with what such points leave to others."""
        lacking = (ended.number != STILL_OPEN) & ~self.prefixes.complete[prefix]
        if lacking.any():
            self.errors["point missing tag for flatten operation"] += int(np.count_nonzero(lacking))
        return self._with_left_texts(ended, prefix) if self.left or lacking.any() else prefix

    def _pieces(self, runs: Array, number: Array, prefix: Array, fields: int) -> Iterator[Array]:
        """The runs in pieces, so that a table of each piece's rows and columns is not too large."""
        if len(runs) * len(self.prefixes.texts) * fields > CELLS and len(runs) > 1:
            mine = (number >= runs[0]) & (number <= runs[-1])
            if len(runs) * len(np.unique(prefix[mine])) * fields > CELLS:
                for half in np.array_split(runs, 2):
                    yield from self._pieces(half, number, prefix, fields)
                return
        if len(runs):
            yield runs

    def _rows(self, ended: Ended, runs: Array, usable: Array, number: Array, prefix: Array, groups: Groups) -> Rows:
        """The points of `runs`, of whose rows `usable` is the index, number the run and prefix the prefix."""
        place = np.searchsorted(runs, number)
        fields = self._fields(ended.rows, usable, prefix, place, len(runs))
        nowhere, tags = no_text(len(runs)), groups.tags(ended.group[runs])
        return Rows(ended.time[runs], ended.name.take(runs), nowhere, nowhere, tags, fields)

    def _fields(self, rows: Rows, usable: Array, prefix: Array, place: Array, n: int) -> dict[str, Column]:
        """The fields of n rows: those of row usable[i], under its prefix, go to row place[i]."""
        total = len(self.prefixes.texts)
        index, begin = np.empty(len(usable), np.int64), np.empty(total + 1, np.int64)
        rows_by_group(prefix, total, index, begin)
        sources: dict[str, list[tuple[Array, Column]]] = {}
        names = sorted(rows.fields)
        for p in np.flatnonzero(begin[1:] > begin[:-1]).tolist():
            mine = index[begin[p] : begin[p + 1]]
            for field in names:
                there, column = _present(rows.fields[field], usable[mine])
                if len(column):
                    at = mine if there is None else mine[there]
                    sources.setdefault(self._name(self.prefixes.texts[p], field), []).append((at, column))
        return {name: _scattered(sources[name], place, n) for name in sorted(sources)}

    def _name(self, prefix: str, field: str) -> str:
        if self.drop_name:
            return prefix
        return f"{prefix}{self.delimiter}{field}" if prefix else field

    def _with_left_texts(self, ended: Ended, prefix: Array) -> Array:
        """The prefixes with what incomplete ones leave to the next complete one, in the order of the runs."""
        prefix, prefixes = prefix.copy(), self.prefixes
        order = ended.in_order()
        mine = prefix[order]
        ends = np.flatnonzero(prefixes.complete[mine])
        leaves = ~prefixes.complete & np.array([bool(t) for t in prefixes.texts])
        parts: dict[int, list[str]] = {0: [self.left]}
        givers = np.flatnonzero(leaves[mine])
        for giver, taker in zip(mine[givers].tolist(), np.searchsorted(ends, givers).tolist()):
            parts.setdefault(taker, []).append(prefixes.texts[giver])
        self.left = "".join(parts.pop(len(ends), ()))[:LONGEST_NAME]
        for taker, texts in parts.items():
            if any(texts):
                row = order[ends[taker]]
                prefix[row] = prefixes.number("".join(texts) + prefixes.texts[prefix[row]], True)
        return prefix


def _any_field(rows: Rows) -> Array:
    """bool[n]: the rows with at least one field."""
    columns = rows.fields.values()
    if any(isinstance(c.kinds, Kind) and c.kinds is not Kind.MISSING for c in columns):
        return np.ones(len(rows), np.bool_)
    found = np.zeros(len(rows), np.bool_)
    for column in columns:
        found |= column.present()
    return found


def _present(column: Column, rows: Array) -> tuple[Array | None, Column]:
    """The column at those of the rows that have it, and which these are; None for all of them."""
    if isinstance(column.kinds, Kind):
        return (None, column.take(rows)) if column.kinds is not Kind.MISSING else (None, Column.absent(0))
    there = np.flatnonzero(column.kinds[rows] != MISSING)
    return there, column.take(rows[there]).normal()


def _scattered(sources: Sequence[tuple[Array, Column]], place: Array, n: int) -> Column:
    """Entry i of place says where in a column of n the value of entry i goes; later entries win.

    sources: entries (ascending) and their values.
    """
    at, column = sources[0]
    if len(sources) > 1:
        at = np.concatenate([a for a, _ in sources])
        order = np.argsort(at, kind="stable")
        at, column = at[order], Column.concat([c for _, c in sources]).take(order)
    rows = place[at]
    if len(rows) == n and (n < 2 or bool((rows[1:] > rows[:-1]).all())):
        return column
    return select([(rows, column)], n)
