"""Kernels that reduce slices of a column: the aggregates and selectors of InfluxQL, bit for bit.

All take `index` (i8, or None), `start` and `stop` (i8[m]): slice j holds the rows index[start[j]:stop[j]], or the rows
start[j]…stop[j]-1 where index is None. Slices may overlap; nothing is copied. Rows of a slice stand in order of
arrival. Floats accumulate in that order, one by one; ints wrap. `out` has one element a slice. release: which Go sorts
equal values, `gosort.GO_1_19` or 0 for later ones. Rules come from InfluxDB 1.9 query/call_iterator.go and
query/functions.go, which Kapacitor 1.8 calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tickc.runtime.gosort import BY_KEY_DOWN_THEN_TIE, BY_KEY_THEN_TIE, sort_by_float, sort_by_int, sort_by_two
from tickc.runtime.kernel import bare_kernel, kernel
from tickc.runtime.routine import bare_routine, routine

TINY = 2.3e-308  # above the smallest normal float64
SCALE = 2.0**600
LEAST, MOST = -9223372036854775808, 9223372036854775807
ONE, FARTHEST = np.uint64(1), np.uint64(2**64 - 1)
FEW = 16  # up to how many of the largest values a sorted buffer beats partitioning
WALK = 8  # steps after which a search that began at an old key gives up


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


@bare_kernel
def float_keys(values, bits, index, out):  # type: ignore[no-untyped-def]
    """out: i8, ordered as the values at `index` (None: all) are, 0 and -0 alike; bits: the values as i8.

    Returns whether there is a NaN (its key has no meaning), and whether there is a -0.
    """
    nan = False
    negative_zero = False
    for i in range(out.size):
        row = i if index is None else index[i]
        b = bits[row]
        if values[row] != values[row]:
            nan = True
        if b == LEAST:
            negative_zero = True
            b = 0
        out[i] = b ^ ((b >> 63) & MOST)
    return nan, negative_zero


@bare_routine
def nth_smallest(a: Any, n: Any, k: Any) -> Any:
    """The value of rank k of a[:n] (i8), which is reordered."""
    low: Any = np.int64(0)
    high: Any = np.int64(n - 1)
    while high - low > 12:
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


@bare_routine
def select_largest(a, held, scratch):  # type: ignore[no-untyped-def]
    """The smallest of the `held` largest of a (i8), which are kept in ascending order in scratch."""
    for i in range(a.size):
        v = a[i]
        if i < held:
            at = i
            while at > 0 and scratch[at - 1] > v:
                scratch[at] = scratch[at - 1]
                at -= 1
            scratch[at] = v
        elif v > scratch[0]:
            at = 0
            while at + 1 < held and scratch[at + 1] < v:
                scratch[at] = scratch[at + 1]
                at += 1
            scratch[at] = v
    return scratch[0]


@bare_kernel
def next_above(a, x):  # type: ignore[no-untyped-def]
    """The smallest of a (i8) that is larger than x, of which there is one. Counted round from x on, as all 64 bits do
    without a sign, it is the nearest; so there is nothing to decide for each."""
    base = np.uint64(x) + ONE
    nearest = FARTHEST
    for i in range(a.size):
        nearest = min(nearest, np.uint64(a[i]) - base)
    return np.int64(base + nearest)


@bare_kernel
def next_below(a, x):  # type: ignore[no-untyped-def]
    """The largest of a (i8) that is smaller than x, of which there is one."""
    base = np.uint64(x) - ONE
    nearest = FARTHEST
    for i in range(a.size):
        nearest = min(nearest, base - np.uint64(a[i]))
    return np.int64(base - nearest)


@bare_kernel
def counted(a, x):  # type: ignore[no-untyped-def]
    """How many of a (i8) are smaller than x, and how many equal."""
    below = np.int64(0)
    equal = np.int64(0)
    for i in range(a.size):
        below += np.int64(a[i] < x)
        equal += np.int64(a[i] == x)
    return below, equal


@bare_kernel
def ranked(keys, start, stop, owner, rank, last, scratch, out_key, out_below, out_equal):  # type: ignore[no-untyped-def]
    """The key (i8) of a given rank in each of the slices keys[start[j]:stop[j]], without sorting.

    rank: i8[m], -1 to leave a slice out. owner: i8 or i4[m]; where a slice overlaps the one before it of the same owner
    (sliding windows), what left and what came tells how many are below that one's key now, and the search walks from
    there to neighbours, mostly one or none; else it is a selection. last: i8[owners, 5], zeros: the last slice of each,
    its key, and how many were below and equal. scratch: i8, room for the longest slice. Out, i8[m]: the key, how many
    are smaller and how many are equal.
    """
    for j in range(start.size):
        k = rank[j]
        if k < 0:
            continue
        first, end, o = start[j], stop[j], owner[j]
        a = keys[first:end]
        n = a.size
        since, until, x, below, equal = last[o, 0], last[o, 1], last[o, 2], last[o, 3], last[o, 4]
        found = since <= first < until <= end and first - since + end - until < n
        if found:
            less, same = counted(keys[until:end], x)
            below += less
            equal += same
            less, same = counted(keys[since:first], x)
            below -= less
            equal -= same
            for _ in range(WALK):
                if k < below:
                    x = next_below(a, x)
                    equal = counted(a, x)[1]
                    below -= equal
                elif k >= below + equal:
                    below += equal
                    x = next_above(a, x)
                    equal = counted(a, x)[1]
                else:
                    break
            found = below <= k < below + equal
        if not found:
            if n - k <= FEW:
                x = select_largest(a, n - k, scratch)
            else:
                for i in range(n):
                    scratch[i] = a[i]
                x = nth_smallest(scratch, n, k)
            below, equal = counted(a, x)
        last[o, 0], last[o, 1], last[o, 2], last[o, 3], last[o, 4] = first, end, x, below, equal
        out_key[j] = x
        out_below[j] = below
        out_equal[j] = equal


@bare_kernel
def lower_keys(keys, start, stop, key, below, out):  # type: ignore[no-untyped-def]
    """out, i8[m]: of each slice keys[start[j]:stop[j]] the largest that is smaller than key[j]; the key itself where
    none is: below, i8[m], tells how many are."""
    for j in range(start.size):
        out[j] = next_below(keys[start[j] : stop[j]], key[j]) if below[j] > 0 else key[j]


@kernel
def ranked_places(keys, start, stop, rank, key, equal, exact, order, out, release=0):  # type: ignore[no-untyped-def]
    """Where in `keys` the given rank of each slice is: of several equal ones the one that Go's sort puts there.

    exact: False where any of them will do. order: i8, room for the longest slice; out: i8[m], -1 where rank is.
    """
    for j in range(start.size):
        out[j] = -1
        if rank[j] < 0:
            continue
        if equal[j] > 1 and exact:
            n = stop[j] - start[j]
            for i in range(n):
                order[i] = start[j] + i
            sort_by_int(keys, order, 0, n, release)
            out[j] = order[rank[j]]
            continue
        for i in range(start[j], stop[j]):
            if keys[i] == key[j]:
                out[j] = i
                break


@routine
def go_order(values, index, first, n, order, release):  # type: ignore[no-untyped-def]
    """order[:n] (i8): the rows of a slice by value as Go's sort.Sort leaves them."""
    for i in range(n):
        order[i] = first + i if index is None else index[first + i]
    sort_by_float(values, order, 0, n, release)


@kernel
def sorted_rows(values, index, start, stop, rank, order, out, release=0):  # type: ignore[no-untyped-def]
    """The row of a given rank in each slice by sorting it: for values with NaNs, which have no rank but a place after
    Go's sort. rank, out: i8[m], -1 for none; order: i8, room for the longest slice."""
    for j in range(start.size):
        out[j] = -1
        if rank[j] >= 0:
            go_order(values, index, start[j], stop[j] - start[j], order, release)
            out[j] = order[rank[j]]


@kernel
def mode_rows(values, time, index, start, stop, order, out, release=0):  # type: ignore[no-untyped-def]
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
        go_order(values, index, first, n, order, release)
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
def best_rows(values, time, index, start, stop, n, largest, out, count, release=0):  # type: ignore[no-untyped-def]
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
        order = (BY_KEY_DOWN_THEN_TIE if largest else BY_KEY_THEN_TIE) + release
        sort_by_two(values, time, heap, 0, held, order)  # type: ignore[arg-type]
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
