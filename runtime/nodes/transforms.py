"""Kernels of the InfluxQL transforms: one value for each point, from the points before it in the same slot.

A slot is a group on a stream edge and a batch on a batch edge. All kernels take `row` (i8[n], or None: rows 0…n-1), the
rows in order, `slot` (i8 or i4[n]), the slot of each, and `status` (u1[n]): FRESH, the value is used and may give an
output; REPEAT, the point was refused, and Kapacitor asks the reducer for its output all the same; SKIP. The state is
one element a slot and updated in place. out, out_time, emits: n; where `emits` is set there is an output. Rules come
from InfluxDB 1.9 query/functions.go.
"""

from __future__ import annotations

import numpy as np

from tickc.runtime.kernel import kernel

SKIP, FRESH, REPEAT = range(3)


@kernel
def elapsed(time, row, slot, status, unit, seen, before, now, out, out_time, emits):  # type: ignore[no-untyped-def]
    """Units (i8 ns) between the last two points, truncated. State: i8, how many points, the times of the last two."""
    for i in range(slot.size):
        emits[i] = False
        if status[i] == SKIP:
            continue
        g = slot[i]
        if status[i] == FRESH:
            at = i if row is None else row[i]
            before[g] = now[g]
            now[g] = time[at]
            seen[g] += 1
        if seen[g] < 2:
            continue
        d = now[g] - before[g]
        units = d // unit
        if units < 0 and units * unit != d:
            units += 1
        out[i] = units
        out_time[i] = now[g]
        emits[i] = True


@kernel
def difference(values, time, row, slot, status, seen, now, last, out, out_time, emits):  # type: ignore[no-untyped-def]
    """Value - the one before; a point at the time of the one before is passed over. State: i8 points, i8 time, last."""
    for i in range(slot.size):
        emits[i] = False
        if status[i] != FRESH:
            continue
        g = slot[i]
        at = i if row is None else row[i]
        if seen[g] > 0:
            if now[g] == time[at]:
                continue
            out[i] = values[at] - last[g]
            out_time[i] = time[at]
            emits[i] = True
        seen[g] += 1
        now[g] = time[at]
        last[g] = values[at]


@kernel
def cumulative_sum(values, time, row, slot, status, seen, now, total, out, out_time, emits):  # type: ignore[no-untyped-def]
    """Sum of the values so far. State: i8 points, i8 time of the last, the sum."""
    for i in range(slot.size):
        emits[i] = False
        if status[i] == SKIP:
            continue
        g = slot[i]
        if status[i] == FRESH:
            at = i if row is None else row[i]
            seen[g] += 1
            now[g] = time[at]
            total[g] += values[at]
        if seen[g] > 0:
            out[i] = total[g]
            out_time[i] = now[g]
            emits[i] = True


@kernel
def moving_average(values, time, row, slot, status, seen, now, total, ring, out, out_time, emits):  # type: ignore[no-untyped-def]
    """Mean of the last n values, from a running sum: the oldest is taken off, then the newest added. out: f8.

    State: i8 points, i8 time of the last, the sum, ring [slots, n] (one row for all where slots follow each other).
    """
    n = ring.shape[1]
    for i in range(slot.size):
        emits[i] = False
        if status[i] == SKIP:
            continue
        g = slot[i]
        if status[i] == FRESH:
            at = i if row is None else row[i]
            place = seen[g] % n
            if seen[g] >= n:
                total[g] -= ring[g % ring.shape[0], place]
            ring[g % ring.shape[0], place] = values[at]
            total[g] += values[at]
            now[g] = time[at]
            seen[g] += 1
        if seen[g] >= n:
            out[i] = np.float64(total[g]) / np.float64(n)
            out_time[i] = now[g]
            emits[i] = True
