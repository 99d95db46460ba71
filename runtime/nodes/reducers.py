"""Kernels that reduce slices of a column: the aggregates and selectors of InfluxQL, bit for bit.

All take `index` (i8, or None), `start` and `stop` (i8[m]): slice j holds the rows index[start[j]:stop[j]], or the rows
start[j]…stop[j]-1 where index is None. Slices may overlap; nothing is copied. Rows of a slice stand in order of
arrival. Floats accumulate in that order, one by one; ints wrap. `out` has one element a slice. Rules come from
InfluxDB 1.9 query/call_iterator.go and query/functions.go, which Kapacitor 1.8 calls.
"""

from __future__ import annotations

import numpy as np

from tickc.runtime.gosort import BY_KEY_DOWN_THEN_TIE, BY_KEY_THEN_TIE, sort_by_float, sort_by_two
from tickc.runtime.kernel import kernel

TINY = 2.3e-308  # above the smallest normal float64
SCALE = 2.0**600
FEW = 16  # up to which rank from either end a sorted buffer beats partitioning
STABLE = 12  # up to which length Go's sort is an insertion sort, hence stable


@kernel
def sum_(values, index, start, stop, out):  # type: ignore[no-untyped-def]
    """Sums. values, out: f8 or i8 (which wraps)."""
    for j in range(start.size):
        out[j] = 0
        total = out[j]
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            total += values[row]
        out[j] = total


@kernel
def mean_f(values, index, start, stop, out):  # type: ignore[no-untyped-def]
    """Means of f8 values; NaN for an empty slice."""
    for j in range(start.size):
        total = np.float64(0.0)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            total += values[row]
        out[j] = total / np.float64(stop[j] - start[j])


@kernel
def mean_i(values, index, start, stop, out):  # type: ignore[no-untyped-def]
    """Means of i8 values: the wrapped sum, as a float, divided by the count. out: f8."""
    for j in range(start.size):
        total = np.int64(0)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            total += values[row]
        out[j] = np.float64(total) / np.float64(stop[j] - start[j])


@kernel
def spread_f(values, index, start, stop, out):  # type: ignore[no-untyped-def]
    """Maximum - minimum with Go's math.Max and math.Min: the infinity wins, then NaN; -Inf for an empty slice."""
    for j in range(start.size):
        low = np.float64(np.inf)
        high = np.float64(-np.inf)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            v = values[row]
            if v < low or (v != v and low != -np.inf):
                low = v
            if v == -np.inf:
                low = v
            if v > high or (v != v and high != np.inf):
                high = v
            if v == np.inf:
                high = v
        out[j] = high - low


@kernel
def spread_i(values, index, start, stop, out):  # type: ignore[no-untyped-def]
    """Maximum - minimum of i8 values, wrapping; 1 for an empty slice."""
    for j in range(start.size):
        low = np.int64(9223372036854775807)
        high = np.int64(-9223372036854775808)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            v = values[row]
            if v < low:
                low = v
            if v > high:
                high = v
        out[j] = high - low


@kernel
def square(x):  # type: ignore[no-untyped-def]
    """Go's math.Pow(x, 2): x * x, but a subnormal result has been rounded to 53 bits before."""
    y = x * x
    if y < TINY and x != 0.0:
        scaled = x * SCALE
        y = scaled * scaled / SCALE / SCALE
    return y


@kernel
def stddev(values, index, start, stop, out):  # type: ignore[no-untyped-def]
    """Sample standard deviation of f8 or i8 values, over those that are not NaN; NaN below two rows. out: f8."""
    for j in range(start.size):
        out[j] = np.nan
        if stop[j] - start[j] < 2:
            continue
        mean = np.float64(0.0)
        count = np.float64(0.0)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            v = np.float64(values[row])
            if v == v:
                count += 1.0
                mean += (v - mean) / count
        variance = np.float64(0.0)
        for i in range(start[j], stop[j]):
            row = i if index is None else index[i]
            v = np.float64(values[row])
            if v == v:
                variance += square(v - mean)
        out[j] = np.sqrt(variance / (count - 1.0))


@kernel
def first_rows(keys, time, index, start, stop, out):  # type: ignore[no-untyped-def]
    """The row with the earliest time; of equal times the one with the larger key, then the earlier arrival.

    keys: f8 or i8 in the order of the values; time: i8; out: i8[m] rows, -1 for an empty slice.
    """
    for j in range(start.size):
        best = np.int64(-1)
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            if best < 0 or time[row] < time[best] or (time[row] == time[best] and keys[row] > keys[best]):
                best = row
        out[j] = best


@kernel
def last_rows(keys, time, index, start, stop, out):  # type: ignore[no-untyped-def]
    """The row with the latest time; of equal times the one with the larger key, then the earlier arrival."""
    for j in range(start.size):
        best = np.int64(-1)
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            if best < 0 or time[row] > time[best] or (time[row] == time[best] and keys[row] > keys[best]):
                best = row
        out[j] = best


@kernel
def min_rows(keys, time, index, start, stop, out):  # type: ignore[no-untyped-def]
    """The row with the smallest value; of equal ones the earlier time, then arrival. A NaN stays where it is first."""
    for j in range(start.size):
        best = np.int64(-1)
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            if best < 0 or keys[row] < keys[best] or (keys[row] == keys[best] and time[row] < time[best]):
                best = row
        out[j] = best


@kernel
def max_rows(keys, time, index, start, stop, out):  # type: ignore[no-untyped-def]
    """The row with the largest value; of equal ones the earlier time, then arrival. A NaN stays where it is first."""
    for j in range(start.size):
        best = np.int64(-1)
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            if best < 0 or keys[row] > keys[best] or (keys[row] == keys[best] and time[row] < time[best]):
                best = row
        out[j] = best


@kernel
def rank_of(n, p):  # type: ignore[no-untyped-def]
    """Which of n sorted rows is the p-th percentile (0-based); -1 where none is."""
    rank = np.floor(np.float64(n) * p / 100.0 + 0.5)
    if rank >= 1.0 and rank <= np.float64(n):
        return np.int64(rank) - 1
    return np.int64(-1)


@kernel
def nth_smallest(a, n, k):  # type: ignore[no-untyped-def]
    """The value of rank k of a[:n], which is reordered; none may be NaN."""
    low = np.int64(0)
    high = np.int64(n - 1)
    while high - low > STABLE:
        x = a[low]
        y = a[(low + high) // 2]
        z = a[high]
        pivot = max(min(x, y), min(max(x, y), z))
        i = low
        j = high
        while i <= j:
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
            if i <= j:
                t = a[i]
                a[i] = a[j]
                a[j] = t
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return a[k]
    for i in range(low + 1, high + 1):
        t = a[i]
        j = i
        while j > low and a[j - 1] > t:
            a[j] = a[j - 1]
            j -= 1
        a[j] = t
    return a[k]


@kernel
def value_of_rank(values, index, first, n, k, scratch):  # type: ignore[no-untyped-def]
    """The value of rank k in the slice of n rows from `first`; none may be NaN. scratch: room for n values."""
    if n - k <= FEW:  # the n - k largest, ascending
        held = n - k
        for i in range(n):
            row = first + i if index is None else index[first + i]
            v = values[row]
            if i < held:
                at = i
            elif v > scratch[0]:
                at = 0
                while at + 1 < held and scratch[at + 1] < v:
                    scratch[at] = scratch[at + 1]
                    at += 1
                scratch[at] = v
                continue
            else:
                continue
            while at > 0 and scratch[at - 1] > v:
                scratch[at] = scratch[at - 1]
                at -= 1
            scratch[at] = v
        return scratch[0]
    if k < FEW:  # the k + 1 smallest, descending
        held = k + 1
        for i in range(n):
            row = first + i if index is None else index[first + i]
            v = values[row]
            if i < held:
                at = i
            elif v < scratch[0]:
                at = 0
                while at + 1 < held and scratch[at + 1] > v:
                    scratch[at] = scratch[at + 1]
                    at += 1
                scratch[at] = v
                continue
            else:
                continue
            while at > 0 and scratch[at - 1] < v:
                scratch[at] = scratch[at - 1]
                at -= 1
            scratch[at] = v
        return scratch[0]
    for i in range(n):
        row = first + i if index is None else index[first + i]
        scratch[i] = values[row]
    return nth_smallest(scratch, n, k)


@kernel
def has_nan(values, index, first, n):  # type: ignore[no-untyped-def]
    """Whether one of the n rows from `first` is NaN."""
    found = False
    for i in range(n):
        row = first + i if index is None else index[first + i]
        v = values[row]
        if v != v:
            found = True
    return found


@kernel
def go_order(values, index, first, n, order):  # type: ignore[no-untyped-def]
    """order[:n] (i8): the rows of a slice by value as Go's sort.Sort leaves them."""
    for i in range(n):
        order[i] = first + i if index is None else index[first + i]
    sort_by_float(values, order, 0, n)


@kernel
def percentile_rows(values, index, start, stop, p, scratch, order, out):  # type: ignore[no-untyped-def]
    """The row of the p-th percentile (f8) among f8 or i8 values: nearest rank; -1 where the rank is outside.

    scratch: values, order: i8, room for the longest slice. Of equal values the one that Go's sort puts there.
    """
    for j in range(start.size):
        first = np.int64(start[j])
        n = np.int64(stop[j]) - first
        k = rank_of(n, p)
        out[j] = -1
        if k < 0:
            continue
        if has_nan(values, index, first, n):
            go_order(values, index, first, n, order)
            out[j] = order[k]
            continue
        v = value_of_rank(values, index, first, n, k, scratch)
        equal = 0
        found = np.int64(0)
        for i in range(n):
            row = first + i if index is None else index[first + i]
            if values[row] == v:
                equal += 1
                found = row
        if equal > 1:
            go_order(values, index, first, n, order)
            found = order[k]
        out[j] = found


@kernel
def median_f(values, index, start, stop, scratch, order, out):  # type: ignore[no-untyped-def]
    """Medians of f8 values: the middle one, or low + (high - low) / 2; NaN for an empty slice."""
    for j in range(start.size):
        first = np.int64(start[j])
        n = np.int64(stop[j]) - first
        out[j] = np.nan
        if n == 0:
            continue
        middle = n // 2
        if has_nan(values, index, first, n):
            go_order(values, index, first, n, order)
            high = values[order[middle]]
            low = values[order[max(middle - 1, 0)]]
        else:
            high = value_of_rank(values, index, first, n, middle, scratch)
            low = high
            if n % 2 == 0:
                low = value_of_rank(values, index, first, n, middle - 1, scratch)
            elif high == 0.0:  # 0 and -0 are equal: which one it is depends on the sort
                go_order(values, index, first, n, order)
                high = values[order[middle]]
        if n % 2 == 0:
            out[j] = low + (high - low) / 2.0
        else:
            out[j] = high


@kernel
def median_i(values, index, start, stop, scratch, out):  # type: ignore[no-untyped-def]
    """Medians of i8 values as f8: the middle one, or float(low) + float(high - low) / 2, where high - low wraps."""
    for j in range(start.size):
        first = np.int64(start[j])
        n = np.int64(stop[j]) - first
        out[j] = np.nan
        if n == 0:
            continue
        high = value_of_rank(values, index, first, n, n // 2, scratch)
        if n % 2 == 0:
            low = value_of_rank(values, index, first, n, n // 2 - 1, scratch)
            out[j] = np.float64(low) + np.float64(high - low) / 2.0
        else:
            out[j] = np.float64(high)


@kernel
def mode_rows(values, time, index, start, stop, order, out):  # type: ignore[no-untyped-def]
    """A row that holds the most frequent value, by the scan of FloatModeReduceSlice; -1 for an empty slice.

    Of equally frequent values the larger wins, unless the first time of its run is after that of the best one's last
    counted row.
    """
    for j in range(start.size):
        first = np.int64(start[j])
        n = np.int64(stop[j]) - first
        out[j] = -1
        if n == 0:
            continue
        go_order(values, index, first, n, order)
        best = order[0]
        best_count = 0
        count = 0
        value = values[best]
        since = time[best]
        best_time = since
        for i in range(n):
            row = order[i]
            if values[row] != value:
                count = 1
                value = values[row]
                since = time[row]
                continue
            count += 1
            if best_count > count or (best_count == count and since > best_time):
                continue
            best_count = count
            best = row
            best_time = time[row]
        out[j] = best


@kernel
def worse(largest, values, time, a, b):  # type: ignore[no-untyped-def]
    """Whether row a has the smaller value (the larger one if not `largest`), or an equal one at a later time."""
    if values[a] != values[b]:
        return values[a] < values[b] if largest else values[a] > values[b]
    return time[a] > time[b]


@kernel
def best_rows(values, time, index, start, stop, n, largest, out, count):  # type: ignore[no-untyped-def]
    """The n largest (or smallest) rows of each slice, the best first, of equal ones the earliest.

    values: f8 or i8; out: i8, the rows of all slices one after another; count: i8[m]. A heap of the best so far, the
    worst at its root, and Go's sort of what it holds in the end, as FloatTopReducer has it; so rows that are equal in
    value and time come in its order.
    """
    base = np.int64(0)
    for j in range(start.size):
        held = np.int64(0)
        heap = out[base:]
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            if held < n:
                heap[held] = row
                held += 1
                at = held - 1
                while at > 0:
                    parent = (at - 1) // 2
                    if not worse(largest, values, time, heap[at], heap[parent]):
                        break
                    t = heap[at]
                    heap[at] = heap[parent]
                    heap[parent] = t
                    at = parent
            elif worse(largest, values, time, heap[0], row):
                heap[0] = row
                at = np.int64(0)
                while True:
                    child = 2 * at + 1
                    if child >= held:
                        break
                    if child + 1 < held and worse(largest, values, time, heap[child + 1], heap[child]):
                        child += 1
                    if not worse(largest, values, time, heap[child], heap[at]):
                        break
                    t = heap[at]
                    heap[at] = heap[child]
                    heap[child] = t
                    at = child
        sort_by_two(values, time, heap, 0, held, BY_KEY_DOWN_THEN_TIE if largest else BY_KEY_THEN_TIE)
        count[j] = held
        base += held


@kernel
def distinct_rows(keys, index, start, stop, table, stamp, out, count):  # type: ignore[no-untyped-def]
    """The first row of each distinct value of a slice, in order of arrival.

    keys: i8, equal for equal values (a NaN has a key of its own in each row); table, stamp: i8 of a power of two at
    least twice the longest slice, stamp zero; out: i8, the rows of all slices one after another; count: i8[m].
    """
    mask = table.size - 1
    base = np.int64(0)
    for j in range(start.size):
        held = np.int64(0)
        for i in range(start[j], stop[j]):
            row = np.int64(i) if index is None else index[i]
            key = keys[row]
            slot = (key ^ (key >> 29) ^ (key >> 47)) & mask
            while stamp[slot] == j + 1 and table[slot] != key:
                slot = (slot + 1) & mask
            if stamp[slot] != j + 1:
                stamp[slot] = j + 1
                table[slot] = key
                out[base + held] = row
                held += 1
        count[j] = held
        base += held
