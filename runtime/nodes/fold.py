"""`|window()|mean()` and the like in one pass: an accumulator per group instead of the window's points.

For windows by time that do not overlap (period <= every) a point belongs to at most one emission, so the aggregate can
be folded as the points arrive, in the order in which Kapacitor's reducer would see them. What keeps this exact is the
purge at each emission. It drops a prefix: all points of earlier windows (each came before `next` passed, so it is
older than the new limit), then new points older than the limit until the first that is not. The one exception is
Kapacitor's ring buffer: when it has wrapped and the point in its last slot is older than the limit, everything up to
that slot is dropped, whatever its time. So the ring's indices are carried along (see window.py), and from that slot on
a second accumulator holds what would be left.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Batch, Column, Groups, Points, Rows, Text
from tickc.runtime.graph import AT_THE_END, Graph, Operator
from tickc.runtime.kernel import bare_kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.resolve import NONE
from tickc.runtime.nodes.stream import YEAR_ONE
from tickc.runtime.nodes.window import (
    CAP,
    LEN,
    NEW,
    NEXT,
    OPEN,
    SIZE,
    START,
    STOP,
    Names,
    first_emission,
    floor_to,
    grown,
    ring_insert_many,
)
from tickc.runtime.prefetch import LINE, prefetch, rows_ahead
from tickc.runtime.team import ALONE

# State of a group, one row of i8[groups, WIDTH], of which the sums are read as f8: the ring's (see window.py); points
# since the last purge (NEW), the insertion that fills the ring's last slot (0: none will), whether that point was late
# (ALL: the second accumulator holds every point, see open_window), points that only add to the first accumulator (how
# many were taken since the counts were brought up to date, and how many may be), then that accumulator. Second ones are
# apart, `late`: i8[groups, ACC]. What a point needs that only adds, what one needs that ends a window, and all else, is
# in lines of a cache of its own.
LAST, LATE, TAKEN, MAY_TAKE, FIRST_ACC = 8, 9, 10, 11, 12
# An accumulator: the kind that the first value with a reducer asks for, sums (or lows) of floats and of ints, whether a
# point is in it, points skipped before that, floats and ints so far, their highs; and of the values before that first
# one, the first and last kind and the first that came twice in a row: whether Kapacitor gives them an earlier reducer
# (see resolve.py).
FIRST, SUM, LOW, SEEN, SKIPPED, FLOATS, INTS, SUM_HIGH, HIGH, LEAD_FIRST, LEAD_LAST, LEAD_TWICE, ACC = range(13)
WIDTH = FIRST_ACC + ACC
COUNT_F, SUM_F, MEAN_F, SPREAD_F = 0, 1, 2, 3
FUNCTIONS = {"count": COUNT_F, "sum": SUM_F, "mean": MEAN_F, "spread": SPREAD_F}
FLOAT_KIND, INT_KIND, DURATION_KIND = int(Kind.FLOAT), int(Kind.INT), int(Kind.DURATION)
MISSING_KIND, NIL_KIND = int(Kind.MISSING), int(Kind.NIL)
ALL = 2
UNLIMITED = 1 << 62
SIDE_BY_SIDE = 10_000  # rows from which aggregates are folded in threads
LEAST, GREATEST = -(1 << 63), (1 << 63) - 1


@bare_kernel
def clear(state, sums, g, at, function):  # type: ignore[no-untyped-def]
    """Empty the accumulator at `at` of a group. state, sums: those of groups, or `late`."""
    state[g, at + SEEN] = 0
    state[g, at + SKIPPED] = 0
    state[g, at + FIRST] = NONE
    state[g, at + FLOATS] = 0
    state[g, at + INTS] = 0
    state[g, at + LEAD_FIRST] = NONE
    state[g, at + LEAD_TWICE] = NONE
    if function == SPREAD_F:
        state[g, at + LOW] = GREATEST
        state[g, at + HIGH] = LEAST
        sums[g, at + SUM] = np.inf
        sums[g, at + SUM_HIGH] = -np.inf
    else:
        state[g, at + LOW] = 0
        sums[g, at + SUM] = 0.0


@bare_kernel
def open_window(state, sums, late, late_sums, node, g, function):  # type: ignore[no-untyped-def]
    """Begin a window of a group: find which insertion will fill the ring's last slot.

    A ring that was emptied when it stood at its end is not purged at all where the points to come fill it exactly and
    the last is not late: Kapacitor takes them for the upper part of a ring that has wrapped, which is empty.
    """
    state[g, NEW] = 0
    state[g, LATE] = 0
    wrapped = state[g, START] > state[g, STOP] or (state[g, START] == state[g, STOP] and state[g, SIZE] > 0)
    state[g, LAST] = 0 if wrapped else state[g, CAP] - state[g, STOP]
    clear(state, sums, g, FIRST_ACC, function)
    if state[g, CAP] > 0 and state[g, SIZE] == 0 and state[g, START] == state[g, CAP]:
        state[g, LATE] = ALL
        state[g, LAST] = state[g, CAP]
        clear(late, late_sums, g, 0, function)
        late[g, SEEN] = 1
        node[3] = 1


@bare_kernel
def settle(state, g, counter):  # type: ignore[no-untyped-def]
    """Bring the counts of a group up to date with the points that were only added. counter: FLOATS or INTS."""
    state[g, NEW] += state[g, TAKEN]
    state[g, FIRST_ACC + counter] += state[g, TAKEN]
    state[g, TAKEN] = 0
    state[g, MAY_TAKE] = 0


@bare_kernel
def accumulate(state, sums, g, at, t, limit, kind, x, k, function):  # type: ignore[no-untyped-def]
    """Fold one point into the accumulator at `at`. Returns 1 where its value could not be used."""
    if state[g, at + SEEN] == 0:
        if t < limit:
            state[g, at + SKIPPED] += 1
            return 0
        state[g, at + SEEN] = 1
    if kind in (MISSING_KIND, NIL_KIND):
        return 1
    asked = INT_KIND if kind == DURATION_KIND else kind  # an int64 to Go's reflection, but not when the value is read
    if state[g, at + FIRST] == NONE:
        if function != COUNT_F and asked != FLOAT_KIND and asked != INT_KIND:
            if state[g, at + LEAD_FIRST] == NONE:
                state[g, at + LEAD_FIRST] = kind
            elif state[g, at + LEAD_TWICE] == NONE and kind == state[g, at + LEAD_LAST]:
                state[g, at + LEAD_TWICE] = kind
            state[g, at + LEAD_LAST] = kind
            return 1
        state[g, at + FIRST] = asked
    if function == COUNT_F:
        if kind == state[g, at + FIRST]:
            state[g, at + (FLOATS if kind == FLOAT_KIND else INTS)] += 1
            return 0
        return 1
    if kind == FLOAT_KIND:
        state[g, at + FLOATS] += 1
        if function != SPREAD_F:
            sums[g, at + SUM] += x
        else:
            if x < sums[g, at + SUM] or (x != x and sums[g, at + SUM] != -np.inf) or x == -np.inf:
                sums[g, at + SUM] = x
            if x > sums[g, at + SUM_HIGH] or (x != x and sums[g, at + SUM_HIGH] != np.inf) or x == np.inf:
                sums[g, at + SUM_HIGH] = x
    elif kind == INT_KIND:
        state[g, at + INTS] += 1
        if function != SPREAD_F:
            state[g, at + LOW] += k
        else:
            state[g, at + LOW] = min(state[g, at + LOW], k)
            state[g, at + HIGH] = max(state[g, at + HIGH], k)
    return 0 if kind == state[g, at + FIRST] else 1


@bare_kernel
def reducer_kind(state, g, at, function, node):  # type: ignore[no-untyped-def]
    """The kind whose reducer Kapacitor gives to the values of an accumulator, NONE for none; node as in resolve.py."""
    lead = state[g, at + LEAD_FIRST]
    if lead != NONE:
        if node[1] != NONE and lead == node[0]:
            return node[1]
        if node[1] != NONE and state[g, at + LEAD_TWICE] != NONE:
            node[0] = state[g, at + LEAD_TWICE]
            return node[1]
        node[0] = state[g, at + LEAD_LAST]
    first = state[g, at + FIRST]
    if first == NONE:
        if function not in (COUNT_F, SUM_F):
            return NONE
        first = FLOAT_KIND  # an empty batch counts as one of floats
    if first != node[0] or node[1] == NONE:
        node[0] = first
        node[1] = first
    return node[1]


@bare_kernel
def close_window(state, late, g):  # type: ignore[no-untyped-def]
    """Move the ring's indices over the insertions since the last purge and purge; returns the accumulator that holds
    what is left: 0 for all new points but a prefix, 1 for those after the ring's last slot, or for all."""
    old = state[g, SIZE]
    ring_insert_many(state, g)
    if state[g, LATE] == ALL and state[g, NEW] == state[g, LAST]:
        return 1
    unwrapped = state[g, START] < state[g, STOP]
    lower_only = not unwrapped and state[g, LATE] == 1
    if unwrapped:
        state[g, START] += old + state[g, FIRST_ACC + SKIPPED]
        state[g, SIZE] = state[g, STOP] - state[g, START]
        return 0
    upper = state[g, LEN] - state[g, START]
    if lower_only:
        state[g, START] = late[g, SKIPPED]
        state[g, SIZE] = state[g, STOP] - state[g, START]
        return 1
    dropped = old + state[g, FIRST_ACC + SKIPPED]
    if dropped >= upper:
        state[g, START] = dropped - upper
        state[g, SIZE] = state[g, STOP] - state[g, START]
    else:
        state[g, START] += dropped
        state[g, SIZE] = state[g, LEN] - state[g, START] + state[g, STOP]
    return 0


@bare_kernel
def put_result(state, sums, g, at, function, node, e, out_kind, out_count, out_float, out_int):  # type: ignore[no-untyped-def]
    """Write what the accumulator at `at` of a group holds as emission `e`, see `fold_windows`."""
    kind = np.int64(reducer_kind(state, g, at, function, node))
    out_kind[e] = kind
    out_count[e] = state[g, at + (FLOATS if kind == FLOAT_KIND else INTS)]
    out_float[e, 0] = sums[g, at + SUM]
    out_int[e, 0] = state[g, at + LOW]
    if function == SPREAD_F:
        out_float[e, 1] = sums[g, at + SUM_HIGH]
        out_int[e, 1] = state[g, at + HIGH]


@bare_kernel
def fold_windows(  # type: ignore[no-untyped-def]
    time, group, kinds, floats, ints, state, sums, late, late_sums, node, period, every, offset, align, fill, function,
    ahead, out_row, out_tmax, out_kind, out_count, out_float, out_int,
):  # fmt: skip
    """Fold rows into their groups' open windows and write the windows that end.

    time: i8[n]; group: i4[n]; kinds: u1[n], or u1[1] for all; floats: f8[n], ints: i8[n] (either may be of length 1
    where no row is of its kind); state: i8[groups, WIDTH], late: i8[groups, ACC], sums, late_sums: the same as f8;
    node: i8[4], the last kind that was asked for, the last that had a reducer, the counter of the points that were only
    added, and whether an accumulator in `late` was ever used; ahead: see prefetch.py.
    Writes for each emission its row, batch time, kind and number of values, and the low (or sum) and high as floats
    f8[n, 2] and ints i8[n, 2]. Returns (emissions, values that could not be used). Two short cuts do what the rest
    would: for points that only add to the first accumulator, and for those that begin a window.
    """
    emitted = 0
    wrong = 0
    uniform = kinds.size == 1 and function != SPREAD_F
    all_float = uniform and kinds[0] == FLOAT_KIND
    all_int = uniform and kinds[0] == INT_KIND
    counter = INTS if all_int else FLOATS
    if counter != node[2]:
        for g in range(state.shape[0]):
            settle(state, g, node[2])
        node[2] = counter
    last = group.size - 1
    for i in range(time.size):
        if ahead is not None:
            soon = group[min(i + ahead, last)]
            prefetch(state, soon, 0)
            prefetch(state, soon, LINE)
            prefetch(state, soon, 2 * LINE)
        g = group[i]
        t = time[i]
        if t < state[g, NEXT] and state[g, TAKEN] < state[g, MAY_TAKE]:
            if all_float:
                sums[g, FIRST_ACC + SUM] += floats[i]
                state[g, TAKEN] += 1
                continue
            if all_int:
                state[g, FIRST_ACC + LOW] += ints[i]
                state[g, TAKEN] += 1
                continue
        settle(state, g, counter)
        if state[g, OPEN] == 0:
            state[g, OPEN] = 1
            state[g, NEXT] = first_emission(t, period, every, offset, align, fill)
            open_window(state, sums, late, late_sums, node, g, function)
        if t >= state[g, NEXT]:
            out_row[emitted] = i
            out_tmax[emitted] = state[g, NEXT]
            if close_window(state, late, g) == 0:
                put_result(
                    state, sums, g, FIRST_ACC, function, node, emitted, out_kind, out_count, out_float, out_int
                )  # fmt: skip
            else:
                put_result(late, late_sums, g, 0, function, node, emitted, out_kind, out_count, out_float, out_int)
            emitted += 1
            state[g, NEXT] = floor_to(t + every, every, offset) if align else t + every
            open_window(state, sums, late, late_sums, node, g, function)
            if (all_float or all_int) and state[g, LATE] == 0 and t >= state[g, NEXT] - period:
                state[g, NEW] = 1
                state[g, FIRST_ACC + SEEN] = 1
                state[g, FIRST_ACC + FIRST] = kinds[0]
                state[g, FIRST_ACC + counter] = 1
                if all_float:
                    sums[g, FIRST_ACC + SUM] += floats[i]
                else:
                    state[g, FIRST_ACC + LOW] = ints[i]
                state[g, MAY_TAKE] = state[g, LAST] - 2 if state[g, LAST] > 1 else UNLIMITED
                continue
        limit = state[g, NEXT] - period
        kind = np.int64(kinds[i] if kinds.size > 1 else kinds[0])
        x = floats[i] if kind == FLOAT_KIND else 0.0
        k = ints[i] if kind == INT_KIND else 0
        state[g, NEW] += 1
        more = state[g, NEW] - state[g, LAST]
        if state[g, LATE] == ALL and (more > 0 or (more == 0 and t < limit)):
            state[g, LATE] = 0
            state[g, LAST] = 0
        if state[g, LATE] > 0:
            accumulate(late, late_sums, g, 0, t, limit, kind, x, k, function)
        elif state[g, NEW] == state[g, LAST] and t < limit:
            state[g, LATE] = 1
            clear(late, late_sums, g, 0, function)
            node[3] = 1
        wrong += accumulate(state, sums, g, FIRST_ACC, t, limit, kind, x, k, function)
        if state[g, LATE] == ALL and state[g, FIRST_ACC + SKIPPED] == 0:  # both accumulators will be the same
            state[g, LATE] = 0
            state[g, LAST] = 0
        if (all_float or all_int) and state[g, FIRST_ACC + FIRST] == kind and state[g, LATE] == 0:
            left = state[g, LAST] - state[g, NEW] - 1
            state[g, MAY_TAKE] = left if state[g, LAST] > state[g, NEW] else UNLIMITED
    return emitted, wrong


@bare_kernel
def flush_folds(  # type: ignore[no-untyped-def]
    state, sums, late, late_sums, node, function, out_group, out_tmax, out_kind, out_count, out_float, out_int
):  # fmt: skip
    """Write the windows that hold a point which has not come out yet, as `fold_windows` does, with their groups."""
    emitted = 0
    for g in range(state.shape[0]):
        settle(state, g, node[2])
        if state[g, OPEN] == 0 or state[g, NEW] == 0:
            continue
        out_group[emitted] = g
        out_tmax[emitted] = state[g, NEXT]
        if close_window(state, late, g) == 0:
            put_result(state, sums, g, FIRST_ACC, function, node, emitted, out_kind, out_count, out_float, out_int)
        else:
            put_result(late, late_sums, g, 0, function, node, emitted, out_kind, out_count, out_float, out_int)
        emitted += 1
        open_window(state, sums, late, late_sums, node, g, function)
    return emitted


Aggregate = tuple[str, str, str]  # function, field, name of the result


class _Fold:
    """The state of one aggregate: accumulators by group, and what the node was asked for (see resolve.py)."""

    def __init__(self, function: str, field: str) -> None:
        self.function, self.field = function, field
        self.state = np.zeros((0, WIDTH), np.int64)
        self.late = np.zeros((0, ACC), np.int64)
        self.node = np.array([NONE, NONE, FLOATS, 0], np.int64)
        self.kinds: set[int] = set()  # of values that came, while this object was there; NONE: several in one batch

    def reserve(self, groups: int) -> None:
        """Make room for groups. Second accumulators take no memory before the first one is used."""
        self.state = grown(self.state, groups)
        if len(self.late) < len(self.state):
            self.late = grown(self.late if self.node[3] else self.late[:0], len(self.state))

    def arrays(self) -> tuple[Array, Array, Array, Array, Array]:
        """What kernels update, and the same as floats."""
        return self.state, self.state.view(np.float64), self.late, self.late.view(np.float64), self.node

    def snapshot(self) -> tuple[Array, Array, Array]:
        return self.state, self.late if self.node[3] else self.late[:0], self.node

    def restore(self, saved: tuple[Array, Array, Array]) -> None:
        self.state, self.late, self.node = saved


class _Results:
    """Room for the results of up to n windows of one aggregate; see `fold_windows`. It is used again and again."""

    def __init__(self, n: int) -> None:
        self.row, self.tmax, self.kind, self.count = np.empty((4, n), np.int64)
        self.floats, self.ints = np.empty((n, 2)), np.empty((n, 2), np.int64)


class JoinedFolds(Operator):
    """A window by time and aggregates over it, where windows do not overlap; a window comes out where all of them have
    a result, named `stream_name` or as its group. The windows of all aggregates end at the same rows."""

    STATE = ("names", "folds", "groups")
    alone = True

    def __init__(
        self,
        *,
        name: str,
        aggregates: Sequence[Aggregate],
        period: int,
        every: int,
        align: bool = False,
        fill_period: bool = False,
        stream_name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.folds = [_Fold(function, field) for function, field, _ in aggregates]
        self.as_names = tuple(as_name for _, _, as_name in aggregates)
        self.period, self.every, self.align, self.fill_period = period, every, align, fill_period
        self.stream_name = stream_name
        self.names = Names()
        self.groups = Groups()  # those of the input
        self._results = [_Results(0) for _ in aggregates]  # of the last batch
        self.team = ALONE

    def attach(self, graph: Graph) -> None:
        self.team = graph.team

    def points(self, batch: Points) -> Iterable[Batch]:
        self.groups = batch.groups
        self.names.learn(batch.group, batch.groups, batch.rows.name)
        if len(self._results[0].row) < len(batch):
            self._results = [_Results(len(batch)) for _ in self.folds]
        results = self._results
        run = self.team.map if len(batch) >= SIDE_BY_SIDE else map  # each aggregate has a state of its own
        counts = list(run(self._fold, self.folds, repeat(batch), results))
        for fold, (_, wrong) in zip(self.folds, counts):
            if wrong:
                self.errors[f"field {fold.field} is missing or of another type"] += wrong
        row = results[0].row[: counts[0][0]]
        yield from self._emit(batch.group[row], batch.seq[row], results)

    def _fold(self, fold: _Fold, batch: Points, out: _Results) -> tuple[int, int]:
        """Fold the rows into one aggregate; the number of windows that end, and of values that could not be used."""
        fold.reserve(len(batch.groups))
        kinds, f, i = _operands(batch.rows.field(fold.field))
        fold.kinds.add(int(kinds[0]) if len(kinds) == 1 else NONE)
        emitted, wrong = fold_windows(
            batch.rows.time, batch.group, kinds, f, i, *fold.arrays(), self.period, self.every,
            YEAR_ONE % self.every, self.align, self.fill_period, FUNCTIONS[fold.function],
            rows_ahead(fold.state), out.row, out.tmax, out.kind, out.count, out.floats, out.ints,
        )  # fmt: skip
        return int(emitted), int(wrong)

    def flush(self) -> Iterable[Batch]:
        """The windows that hold a point which has not come out yet, as their next emission would be."""
        results = [_Results(len(fold.state)) for fold in self.folds]
        emitted = 0
        for fold, out in zip(self.folds, results):
            fold.reserve(len(fold.state))
            emitted = flush_folds(
                *fold.arrays(), FUNCTIONS[fold.function], out.row, out.tmax, out.kind, out.count,
                out.floats, out.ints,
            )  # fmt: skip
        group = results[0].row[:emitted].astype(np.int32)
        return self._emit(group, np.full(emitted, AT_THE_END), results)

    def common(self) -> Hashable:
        """What the nodes of the aggregates were asked for."""
        return tuple(tuple(fold.node.tolist()) for fold in self.folds)

    def apart(self) -> bool:
        """A window that follows on the one before holds a value, and values of one kind leave no choice of reducers,
        which is what groups share."""
        kinds = {kind for fold in self.folds for kind in fold.kinds}
        return self.period == self.every and len(kinds) < 2 and kinds <= {FLOAT_KIND, INT_KIND}

    def _emit(self, group: Array, seq: Array, results: Sequence[_Results]) -> Iterable[Batch]:
        """The results of the windows that end; group, seq: i4[m], i8[m] of these."""
        m = len(group)
        there = np.logical_and.reduce([out.kind[:m] != NONE for out in results])
        if not there.any():
            return
        chosen = slice(0, m) if there.all() else np.flatnonzero(there)
        columns = {
            name: _column(fold.function, *(a[:m][chosen] for a in (out.kind, out.count, out.floats, out.ints)))
            for name, fold, out in zip(self.as_names, self.folds, results)
        }
        group, seq = group[chosen], seq[chosen]
        tmax = self._time(results[0].tmax[:m][chosen], results[0].count[:m][chosen])
        nothing = Text.constant("", len(group))
        name = Text.constant(self.stream_name, len(group)) if self.stream_name else self.names.of(group)
        rows = Rows(tmax, name, nothing, nothing, self.groups.tags(group), columns)
        yield Points(rows, group, self.groups, seq)

    def _time(self, tmax: Array, count: Array) -> Array:
        """The times of the results."""
        return tmax.copy()


class WindowFold(JoinedFolds):
    """A window by time and the aggregate of one field over it, where windows do not overlap."""

    def __init__(
        self,
        *,
        name: str,
        function: str,
        field: str,
        as_name: str,
        period: int,
        every: int,
        align: bool = False,
        fill_period: bool = False,
        point_times: bool = False,
    ) -> None:
        window: dict[str, Any] = {"period": period, "every": every, "align": align, "fill_period": fill_period}
        super().__init__(name=name, aggregates=[(function, field, as_name)], **window)
        self.point_times = function if point_times else ""

    def _time(self, tmax: Array, count: Array) -> Array:
        """`sum` gives its points the time 0 when it is asked for point times, `count` those of empty windows."""
        if self.point_times == "sum":
            return np.zeros_like(tmax)
        return np.where(count == 0, 0, tmax) if self.point_times == "count" else super()._time(tmax, count)


def _operands(column: Column) -> tuple[Array, Array, Array]:
    """u1 kinds (of length 1 where all rows are of one), f8 and i8 values (of length 1 where there are none)."""
    kinds = np.array([column.kinds], np.uint8) if isinstance(column.kinds, Kind) else column.kinds
    floats = column.data.get(Kind.FLOAT, np.zeros(1))
    return kinds, floats, column.data.get(Kind.INT, np.zeros(1, np.int64))


def _column(function: str, kind: Array, count: Array, floats: Array, ints: Array) -> Column:
    """The results of windows that have one, in memory of their own."""
    if function == "count":
        return Column.of(Kind.INT, count.copy())
    is_int = kind == INT_KIND
    with np.errstate(all="ignore"):
        if function == "sum":
            return _numbers(floats[:, 0].copy(), ints[:, 0].copy(), is_int)
        if function == "mean":
            total = np.where(is_int, ints[:, 0].astype(np.float64), floats[:, 0]) if is_int.any() else floats[:, 0]
            return Column.of(Kind.FLOAT, total / count)
        return _numbers(floats[:, 1] - floats[:, 0], ints[:, 1] - ints[:, 0], is_int)


def _numbers(floats: Array, ints: Array, is_int: Array) -> Column:
    data: dict[Kind, Any] = {Kind.FLOAT: floats, Kind.INT: ints}
    if not is_int.any():
        return Column.of(Kind.FLOAT, floats)
    return Column(np.where(is_int, np.uint8(Kind.INT), np.uint8(Kind.FLOAT)), data, len(floats)).normal()
