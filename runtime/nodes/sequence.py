"""Nodes that compare a point with earlier ones of its group: derivative, stateCount, stateDuration, changeDetect.

On a stream edge a group's state lasts; on a batch edge it starts anew with each batch. So the kernels take a code a row
(of its group, or of its batch) and an array of states, which is kept for a stream and fresh for batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tickc.runtime.batch import MISSING, STRING, Array, Batch, Column, Groups, Points, Rows, Segments, Vocabulary
from tickc.runtime.expr import Expr, Frame, Lambda
from tickc.runtime.graph import Operator
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.window import grown

SECOND = 1_000_000_000


class Sequential(Operator):
    """What the nodes of this family share: `_rows` on the rows of an edge, with a state a group or a batch."""

    STATE: tuple[str, ...] = ("state",)
    alone = True

    def __init__(self, *, name: str, state: Array) -> None:
        """state: an empty array of the type of the states."""
        super().__init__(name=name)
        self.state = state

    def points(self, batch: Points) -> Iterable[Batch]:
        self.state = grown(self.state, len(batch.groups))
        rows, keep = self._rows(batch.rows, batch.group, batch.group, self.state)
        if keep is None or keep.all():
            yield batch.with_rows(rows)
        elif keep.any():
            yield batch.with_rows(rows).take(keep)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.flat()
        owner = batch.owner().astype(np.int32)
        fresh = np.zeros(len(batch), self.state.dtype)
        rows, keep = self._rows(batch.rows, owner, batch.group[owner], fresh)
        batch = batch.with_rows(rows)
        yield batch if keep is None or keep.all() else batch.keep(keep)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.state = grown(self.state, len(groups))
        self.state[codes] = np.zeros(1, self.state.dtype)

    def _rows(self, rows: Rows, code: Array, group: Array, state: Array) -> tuple[Rows, Array | None]:
        """The rows with what the node adds, and bool[n] of those that come out (None: all).

        code: i4[n], the entry of `state` for each row; group: i4[n], the row's group.
        """
        raise NotImplementedError


DERIVATIVE = np.dtype([("seen", "i1"), ("time", "i8"), ("value", "f8")])


@kernel
def derivative_kernel(time, value, valid, code, unit, non_negative, state, keep, out):  # type: ignore[no-untyped-def]
    """Change per `unit` since the previous valid row of the same code (Kapacitor derivative.go).

    time: i8[n] ns, value: f8[n], valid: bool[n] (a number is there), code: i4[n], unit: f8, state: DERIVATIVE[codes] ->
    keep: bool[n], out: f8[n]. Returns how many rows had the time of the previous one.
    """
    standing = 0
    for i in range(time.size):
        keep[i] = False
        if not valid[i]:
            continue
        s = state[code[i]]
        if s["seen"]:
            elapsed = np.float64(time[i] - s["time"])
            rise = value[i] - s["value"]
            if elapsed == 0.0:
                standing += 1
            elif not (non_negative and rise < 0.0):
                keep[i] = True
                out[i] = rise / (elapsed / unit)
        s["seen"] = 1
        s["time"] = time[i]
        s["value"] = value[i]
    return standing


class Derivative(Sequential):
    """The change of a field per `unit`; the first point of a group or batch, and points without a number, go."""

    def __init__(
        self, *, name: str, field: str, as_name: str | None = None, unit: int = SECOND, non_negative: bool = False
    ) -> None:
        super().__init__(name=name, state=np.zeros(0, DERIVATIVE))
        self.field, self.as_name = field, field if as_name is None else as_name
        self.unit, self.non_negative = unit, non_negative

    def _rows(self, rows: Rows, code: Array, group: Array, state: Array) -> tuple[Rows, Array | None]:
        n = len(rows)
        value, valid = numbers(rows.field(self.field))
        keep, out = np.empty(n, np.bool_), np.zeros(n)
        standing = derivative_kernel(
            rows.time, value, valid, code, float(self.unit), self.non_negative, state, keep, out
        )
        if not valid.all():
            self.errors["field is the wrong type"] += int(np.count_nonzero(~valid))
        if standing:
            self.errors["elapsed time was 0"] += int(standing)
        return _with_field(rows, self.as_name, Column.of(Kind.FLOAT, out)), keep


def numbers(column: Column) -> tuple[Array, Array]:
    """f8[n]: the values of ints and floats; bool[n]: where there is one."""
    n = column.n
    if column.kinds is Kind.FLOAT:
        return column.data[Kind.FLOAT], np.ones(n, np.bool_)
    if column.kinds is Kind.INT:
        return column.data[Kind.INT].astype(np.float64), np.ones(n, np.bool_)
    value, valid = np.zeros(n), np.zeros(n, np.bool_)
    for kind in (Kind.FLOAT, Kind.INT):
        if kind in column.data:
            rows = column.is_kind(kind)
            value[rows] = column.data[kind][rows]
            valid |= rows
    return value, valid


def _with_field(rows: Rows, name: str, column: Column) -> Rows:
    return rows.with_(fields={**rows.fields, name: column})


class StateTracker(Sequential):
    """Shared by stateCount and stateDuration: a predicate, and a number for how long it has held."""

    STATE = ("state", "predicate")

    def __init__(self, *, name: str, predicate: Expr, as_name: str, state: Array) -> None:
        super().__init__(name=name, state=state)
        self.predicate = Lambda(predicate, wants=Kind.BOOL, seed=name)
        self.as_name = as_name

    def forget(self, codes: Array, groups: Groups) -> None:
        super().forget(codes, groups)
        self.predicate.forget(codes)

    def _rows(self, rows: Rows, code: Array, group: Array, state: Array) -> tuple[Rows, Array | None]:
        frame = Frame.of(self.predicate.names, rows.fields, rows.tags, rows.time, group)
        held, error = self.predicate.mask(frame)
        keep = None if error is None else ~error
        if error is not None:
            self.errors["error while evaluating expression"] += int(np.count_nonzero(error))
        valid = np.ones(len(rows), np.bool_) if keep is None else keep
        return _with_field(rows, self.as_name, self._track(rows.time, held, valid, code, state)), keep

    def _track(self, time: Array, held: Array, valid: Array, code: Array, state: Array) -> Column:
        """The values of the new field. held, valid: bool[n]; what stands in rows that are not valid does not count."""
        raise NotImplementedError


@kernel
def state_count_kernel(held, valid, code, state, out):  # type: ignore[no-untyped-def]
    """How many points the predicate has held for, -1 where it does not. state: i8[codes] -> out: i8[n]."""
    for i in range(held.size):
        if valid[i]:
            c = code[i]
            state[c] = state[c] + 1 if held[i] else 0
            out[i] = state[c] if held[i] else -1


class StateCount(StateTracker):
    """`|stateCount()`: the number of consecutive points for which the predicate holds."""

    def __init__(self, *, name: str, predicate: Expr, as_name: str = "state_count") -> None:
        super().__init__(name=name, predicate=predicate, as_name=as_name, state=np.zeros(0, np.int64))

    def _track(self, time: Array, held: Array, valid: Array, code: Array, state: Array) -> Column:
        out = np.zeros(len(time), np.int64)
        state_count_kernel(held, valid, code, state, out)
        return Column.of(Kind.INT, out)


START = np.dtype([("open", "i1"), ("time", "i8")])


@kernel
def state_duration_kernel(time, held, valid, code, unit, state, out):  # type: ignore[no-untyped-def]
    """How long the predicate has held, in `unit`s, -1 where it does not. state: START[codes] -> out: f8[n]."""
    for i in range(held.size):
        if valid[i]:
            s = state[code[i]]
            if not held[i]:
                s["open"] = 0
                out[i] = -1.0
            else:
                if not s["open"]:
                    s["open"] = 1
                    s["time"] = time[i]
                out[i] = np.float64(time[i] - s["time"]) / unit


class StateDuration(StateTracker):
    """`|stateDuration()`: the time since the predicate began to hold, in `unit`s."""

    def __init__(self, *, name: str, predicate: Expr, as_name: str = "state_duration", unit: int = SECOND) -> None:
        super().__init__(name=name, predicate=predicate, as_name=as_name, state=np.zeros(0, START))
        self.unit = unit

    def _track(self, time: Array, held: Array, valid: Array, code: Array, state: Array) -> Column:
        out = np.zeros(len(time))
        state_duration_kernel(time, held, valid, code, float(self.unit), state, out)
        return Column.of(Kind.FLOAT, out)


ABSENT = 0  # what `Kind + 1` is where the last emitted row lacked the field, or held a null: both compare as nil
NEVER_EQUAL = 255  # NaN


@kernel
def change_kernel(kind, bits, code, last_kind, last_bits, keep, missing):  # type: ignore[no-untyped-def]
    """Rows that differ in a listed field from the last kept row of the same code (Kapacitor change_detect.go).

    kind: u1[n, fields], the kind + 1, NEVER_EQUAL for NaN, or MISSING + 1; bits: i8[n, fields]; code: i4[n];
    last_kind: u1[codes, fields] (ABSENT at first); last_bits: i8[codes, fields] -> keep: bool[n]. missing: i8[fields]
    counts the fields that were looked for in vain.
    """
    n, fields = kind.shape
    for i in range(n):
        c = code[i]
        changed = False
        for f in range(fields):
            k = kind[i, f]
            if k == MISSING + 1:
                missing[f] += 1
            elif k != last_kind[c, f] or k == NEVER_EQUAL or (k != ABSENT and bits[i, f] != last_bits[c, f]):
                changed = True
                break
        keep[i] = changed
        if changed:
            for f in range(fields):
                last_kind[c, f] = ABSENT if kind[i, f] == MISSING + 1 else kind[i, f]
                last_bits[c, f] = bits[i, f]


class ChangeDetect(Operator):
    """Lets a point pass if the type or value of a listed field differs from the last point that passed."""

    STATE = ("kinds", "bits", "words")
    alone = True

    def __init__(self, *, name: str, fields: Sequence[str]) -> None:
        super().__init__(name=name)
        self.fields = tuple(fields)
        self.kinds = np.zeros((0, len(self.fields)), np.uint8)
        self.bits = np.zeros((0, len(self.fields)), np.int64)
        self.words = Vocabulary()

    def points(self, batch: Points) -> Iterable[Batch]:
        self.kinds = grown(self.kinds, len(batch.groups))
        self.bits = grown(self.bits, len(batch.groups))
        keep = self._changed(batch.rows, batch.group, self.kinds, self.bits)
        if keep.all():
            yield batch
        elif keep.any():
            yield batch.take(keep)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.flat()
        kinds = np.zeros((len(batch), len(self.fields)), np.uint8)
        keep = self._changed(batch.rows, batch.owner().astype(np.int32), kinds, kinds.astype(np.int64))
        yield batch if keep.all() else batch.keep(keep)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.kinds, self.bits = grown(self.kinds, len(groups)), grown(self.bits, len(groups))
        self.kinds[codes] = ABSENT

    def _changed(self, rows: Rows, code: Array, last_kind: Array, last_bits: Array) -> Array:
        n, fields = len(rows), len(self.fields)
        kind, bits = np.empty((n, fields), np.uint8), np.zeros((n, fields), np.int64)
        for f, name in enumerate(self.fields):
            kind[:, f], bits[:, f] = self._encoded(rows.field(name))
        keep, missing = np.empty(n, np.bool_), np.zeros(fields, np.int64)
        change_kernel(kind, bits, code, last_kind, last_bits, keep, missing)
        for name, count in zip(self.fields, missing.tolist()):
            if count:
                self.errors[f"expected field {name} not found"] += count
        return keep

    def _encoded(self, column: Column) -> tuple[Array, Array]:
        """u1[n] kinds and i8[n] bits that are equal where Go's `==` on interfaces is."""
        kinds = column.kinds_array().astype(np.uint8) + np.uint8(1)
        kinds[kinds == Kind.NIL + 1] = ABSENT
        bits = np.zeros(column.n, np.int64)
        for kind, values in column.data.items():
            rows = slice(None) if column.kinds is kind else column.is_kind(kind)
            if kind is STRING:
                bits[rows] = values.recode(self.words).codes[rows]
            elif kind is Kind.FLOAT:
                bits[rows] = (values + 0.0)[rows].view(np.int64)  # -0 + 0 is 0
                kinds[rows] = np.where(np.isnan(values[rows]), np.uint8(NEVER_EQUAL), kinds[rows])
            else:
                bits[rows] = values[rows]
        return kinds, bits
