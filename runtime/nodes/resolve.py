"""Kernels that choose reducers: which points of a column of several kinds reach one, and of which kind it is.

Kapacitor creates a reducer for the type of the first value in a segment, and refuses later values of other types. What
a type that has no reducer gets depends on what the node was asked for before, over all groups (influxql.go,
getCreateFn).
"""

from __future__ import annotations

import numpy as np

from tickc.runtime.batch import MISSING
from tickc.runtime.kernel import kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.transforms import FRESH, REPEAT, SKIP

NONE = 15  # in place of a kind: no reducer yet
TIME, KIND, OPEN, NAME = range(4)  # columns of the i8 state of a group's open run
FLOAT, INT, DURATION, NIL = int(Kind.FLOAT), int(Kind.INT), int(Kind.DURATION), int(Kind.NIL)


@kernel
def realize(kind, supported, node):  # type: ignore[no-untyped-def]
    """The kind whose reducer a first value of `kind` gets; NONE where it gets none.

    node: i8[2], the last kind that was asked for and the last that had a reducer. An unsupported kind is refused once;
    when the same kind is asked for again, the node gives the reducer that it still has (Kapacitor getCreateFn).
    """
    if kind == DURATION:  # an int64 to Go's reflection, but not when the value is read
        kind = INT
    if kind == node[0] and node[1] != NONE:
        return node[1]
    node[0] = kind
    if not supported[kind]:
        return NONE
    node[1] = kind
    return kind


@kernel
def resolve_segments(  # type: ignore[no-untyped-def]
    kinds, index, start, stop, supported, empty_ok, node, out_index, out_start, out_stop, out_kind, bad
):
    """Which rows of each segment reach a reducer, and of which kind it is, for a column of several kinds.

    kinds: u1[rows]; supported: bool[16]. out_index: i8[total] lists the rows; out_kind: i8[m], NONE where the segment
    emits nothing. bad: i8[16, 16] counts the errors by the kind of the reducer (NONE: none yet) and of the value.
    """
    at = 0
    for j in range(start.size):
        kind = np.int64(NONE)
        size = 0
        out_start[j] = at
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            k = np.int64(kinds[row])
            if kind == NONE:
                if k != MISSING and k != NIL:
                    kind = np.int64(realize(k, supported, node))
                if kind == NONE:
                    bad[NONE, k] += 1
                    continue
            size += 1
            if k == kind:
                out_index[at] = row
                at += 1
            else:
                bad[kind, k] += 1
        if size == 0 and empty_ok:
            kind = np.int64(realize(FLOAT, supported, node))
        out_kind[j] = kind
        out_stop[j] = at


@kernel
def scan_runs(  # type: ignore[no-untyped-def]
    kinds, time, name, group, kept_group, supported, node, runs, run_of_group, row_run,
    out_run, out_row, out_time, out_kind, out_name, bad,
):  # fmt: skip
    """Cut the points of each group into runs of equal time, and choose each run's reducer.

    kinds: u1[n], time: i8[n], name, group: i4[n]; kept_group: i4[c], the groups of the rows carried from earlier
    batches, all of them of the open runs. runs: i8[groups, 4], the open runs; run_of_group: i8[groups] scratch.
    row_run: i8[c + n] gets each row's run, -1 where the row does not reach a reducer. For each run that ends with a
    reducer the out arrays get its number, the row that ends it, its time, kind and name. Returns (ended, all) runs.
    """
    known = np.int64(0)
    ended = 0
    carried = kept_group.size
    for g in range(run_of_group.size):
        run_of_group[g] = -1
    for i in range(carried):
        g = kept_group[i]
        if run_of_group[g] < 0:
            run_of_group[g] = known
            known += 1
        row_run[i] = run_of_group[g]
    for i in range(group.size):
        g = group[i]
        if runs[g, OPEN] == 0 or runs[g, TIME] != time[i]:
            if runs[g, OPEN] != 0 and runs[g, KIND] != NONE:
                if run_of_group[g] < 0:  # a reducer that got no value
                    run_of_group[g] = known
                    known += 1
                out_run[ended] = run_of_group[g]
                out_row[ended] = i
                out_time[ended] = runs[g, TIME]
                out_kind[ended] = runs[g, KIND]
                out_name[ended] = runs[g, NAME]
                ended += 1
            runs[g, OPEN] = 1
            runs[g, TIME] = time[i]
            runs[g, KIND] = NONE
            runs[g, NAME] = name[i]
            run_of_group[g] = -1
        row_run[carried + i] = -1
        k = np.int64(kinds[i])
        if runs[g, KIND] == NONE:
            if k != MISSING and k != NIL:
                runs[g, KIND] = realize(k, supported, node)
            if runs[g, KIND] == NONE:
                bad[NONE, k] += 1
                continue
        if k != runs[g, KIND]:
            bad[runs[g, KIND], k] += 1
            continue
        if run_of_group[g] < 0:
            run_of_group[g] = known
            known += 1
        row_run[carried + i] = run_of_group[g]
    return ended, known


@kernel
def resolve_points(kinds, row, slot, supported, node, slot_kind, status, out_kind, bad):  # type: ignore[no-untyped-def]
    """For transforms: which points reach the reducer of their slot, and of which kind it is.

    kinds: u1[rows]; row, slot, status as in `transforms`; slot_kind: i8[slots], 1 + the kind of the slot's reducer, 0
    where it has none yet. out_kind: u1[n]; bad as in `resolve_segments`.
    """
    for i in range(slot.size):
        g = slot[i]
        k = np.int64(kinds[i if row is None else row[i]])
        status[i] = SKIP
        if slot_kind[g] == 0:
            if k != MISSING and k != NIL:
                kind = realize(k, supported, node)
                if kind != NONE:
                    slot_kind[g] = kind + 1
            if slot_kind[g] == 0:
                bad[NONE, k] += 1
                continue
        out_kind[i] = slot_kind[g] - 1
        if k == slot_kind[g] - 1:
            status[i] = FRESH
        else:
            status[i] = REPEAT
            bad[slot_kind[g] - 1, k] += 1
