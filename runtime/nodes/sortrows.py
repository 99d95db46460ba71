"""Go's sort.Sort on lists of rows: which of several equal rows comes first is part of Kapacitor's results.

The algorithm is Go's pattern-defeating quicksort (sort/zsortinterface.go), step by step: insertion sort up to 12 rows,
else partitions around a pivot of three or nine, with its hints, its pattern breaking and its fall-back on heap sort. It
is not stable, but the same input always gives the same order, and rows that compare as equal, or not at all (NaN), end
where Go leaves them.
"""

from __future__ import annotations

import numpy as np

from tickc.runtime.kernel import kernel

# Orders of rows. The last two are those of heaps whose root is the worst of the best so far.
BY_VALUE, BY_SMALLEST, BY_LARGEST = range(3)
REVERSED = 4  # added to one of the above: Go's sort.Reverse
INSERTION = 12
UNKNOWN, INCREASING, DECREASING = range(3)


@kernel
def precedes(by, values, time, a, b):  # type: ignore[no-untyped-def]
    """Go's Less for rows a and b: BY_VALUE smaller first; BY_SMALLEST then later time first; BY_LARGEST larger values,
    then later times first; with REVERSED, whether b precedes a."""
    if by >= REVERSED:
        t = a
        a = b
        b = t
        by -= REVERSED
    if by == BY_VALUE:
        return values[a] < values[b]
    if values[a] != values[b]:
        return values[a] < values[b] if by == BY_SMALLEST else values[a] > values[b]
    return time[a] > time[b]


@kernel
def sort_rows(by, values, time, rows, n):  # type: ignore[no-untyped-def]
    """Sort rows[:n] (i8) in place as sort.Sort does with the Less of `precedes`."""
    if n <= INSERTION:
        insertion_sort(by, values, time, rows, 0, n)
        return
    limit = bit_length(n)
    waiting = np.empty((2 * limit + 66, 5), np.int64)  # a, b, limit, balanced, partitioned
    waiting[0, 0] = 0
    waiting[0, 1] = n
    waiting[0, 2] = limit
    waiting[0, 3] = 1
    waiting[0, 4] = 1
    top = 1
    while top > 0:
        top -= 1
        a = waiting[top, 0]
        b = waiting[top, 1]
        limit = waiting[top, 2]
        balanced = waiting[top, 3] == 1
        partitioned = waiting[top, 4] == 1
        length = b - a
        if length <= INSERTION:
            insertion_sort(by, values, time, rows, a, b)
            continue
        if limit == 0:
            heap_sort(by, values, time, rows, a, b)
            continue
        if not balanced:
            break_patterns(rows, a, b)
            limit -= 1
        pivot, hint = choose_pivot(by, values, time, rows, a, b)
        if hint == DECREASING:
            reverse(rows, a, b)
            pivot = (b - 1) - (pivot - a)
            hint = INCREASING
        if balanced and partitioned and hint == INCREASING and partial_insertion_sort(by, values, time, rows, a, b):
            continue
        if a > 0 and not precedes(by, values, time, rows[a - 1], rows[pivot]):
            waiting[top, 0] = partition_equal(by, values, time, rows, a, b, pivot)
            waiting[top, 2] = limit
            top += 1
            continue
        middle, already = partition(by, values, time, rows, a, b, pivot)
        left = middle - a
        right = b - middle
        smaller = min(left, right)
        # what follows the recursive call waits below it
        waiting[top, 0] = middle + 1 if left < right else a
        waiting[top, 1] = b if left < right else middle
        waiting[top, 2] = limit
        waiting[top, 3] = 1 if smaller >= length // 8 else 0
        waiting[top, 4] = 1 if already else 0
        top += 1
        waiting[top, 0] = a if left < right else middle + 1
        waiting[top, 1] = middle if left < right else b
        waiting[top, 2] = limit
        waiting[top, 3] = 1
        waiting[top, 4] = 1
        top += 1


@kernel
def bit_length(n):  # type: ignore[no-untyped-def]
    """Bits needed for n >= 0."""
    bits = 0
    while n > 0:
        n >>= 1
        bits += 1
    return bits


@kernel
def swap(rows, i, j):  # type: ignore[no-untyped-def]
    """Exchange two elements."""
    t = rows[i]
    rows[i] = rows[j]
    rows[j] = t


@kernel
def reverse(rows, a, b):  # type: ignore[no-untyped-def]
    """Reverse rows[a:b]."""
    i = a
    j = b - 1
    while i < j:
        swap(rows, i, j)
        i += 1
        j -= 1


@kernel
def insertion_sort(by, values, time, rows, a, b):  # type: ignore[no-untyped-def]
    """Sort rows[a:b]; stable."""
    for i in range(a + 1, b):
        j = i
        while j > a and precedes(by, values, time, rows[j], rows[j - 1]):
            swap(rows, j, j - 1)
            j -= 1


@kernel
def sift_down(by, values, time, rows, low, high, first):  # type: ignore[no-untyped-def]
    """Let the element at `low` of the heap at rows[first:first + high] sink to its place."""
    root = low
    while True:
        child = 2 * root + 1
        if child >= high:
            return
        if child + 1 < high and precedes(by, values, time, rows[first + child], rows[first + child + 1]):
            child += 1
        if not precedes(by, values, time, rows[first + root], rows[first + child]):
            return
        swap(rows, first + root, first + child)
        root = child


@kernel
def heap_sort(by, values, time, rows, a, b):  # type: ignore[no-untyped-def]
    """Sort rows[a:b], the greatest at the heap's top."""
    high = b - a
    for i in range((high - 1) // 2, -1, -1):
        sift_down(by, values, time, rows, i, high, a)
    for i in range(high - 1, -1, -1):
        swap(rows, a, a + i)
        sift_down(by, values, time, rows, 0, i, a)


@kernel
def break_patterns(rows, a, b):  # type: ignore[no-untyped-def]
    """Swap three elements around the middle with others that a xorshift of the length picks."""
    length = np.int64(b - a)
    random = length
    modulus = np.int64(1) << bit_length(length)
    around = a + length // 4 * 2
    for i in range(around - 1, around + 2):
        random ^= random << 13
        random ^= (random >> 7) & np.int64(0x01FFFFFFFFFFFFFF)
        random ^= random << 17
        other = random & (modulus - 1)
        if other >= length:
            other -= length
        swap(rows, i, a + other)


@kernel
def choose_pivot(by, values, time, rows, a, b):  # type: ignore[no-untyped-def]
    """A pivot for rows[a:b], and whether they look sorted upwards or downwards."""
    length = b - a
    swaps = 0
    i = a + length // 4
    j = a + length // 4 * 2
    k = a + length // 4 * 3
    if length >= 50:
        i, swaps = median(by, values, time, rows, i - 1, i, i + 1, swaps)
        j, swaps = median(by, values, time, rows, j - 1, j, j + 1, swaps)
        k, swaps = median(by, values, time, rows, k - 1, k, k + 1, swaps)
    j, swaps = median(by, values, time, rows, i, j, k, swaps)
    if swaps == 0:
        return j, INCREASING
    if swaps == 12:
        return j, DECREASING
    return j, UNKNOWN


@kernel
def median(by, values, time, rows, a, b, c, swaps):  # type: ignore[no-untyped-def]
    """Which of three places holds the median, and `swaps` plus the exchanges it took to find out."""
    if precedes(by, values, time, rows[b], rows[a]):
        swaps += 1
        t = a
        a = b
        b = t
    if precedes(by, values, time, rows[c], rows[b]):
        swaps += 1
        b = c
    if precedes(by, values, time, rows[b], rows[a]):
        swaps += 1
        b = a
    return b, swaps


@kernel
def partial_insertion_sort(by, values, time, rows, a, b):  # type: ignore[no-untyped-def]
    """Try to sort rows[a:b] by moving at most five elements; whether that was enough."""
    i = a + 1
    for _ in range(5):
        while i < b and not precedes(by, values, time, rows[i], rows[i - 1]):
            i += 1
        if i == b:
            return True
        if b - a < 50:
            return False
        swap(rows, i, i - 1)
        if i - a >= 2:
            j = i - 1
            while j >= 1 and precedes(by, values, time, rows[j], rows[j - 1]):
                swap(rows, j, j - 1)
                j -= 1
        if b - i >= 2:
            j = i + 1
            while j < b and precedes(by, values, time, rows[j], rows[j - 1]):
                swap(rows, j, j - 1)
                j += 1
    return False


@kernel
def partition_equal(by, values, time, rows, a, b, pivot):  # type: ignore[no-untyped-def]
    """Move what equals the pivot to the front of rows[a:b]; where the greater ones begin."""
    swap(rows, a, pivot)
    i = a + 1
    j = b - 1
    while True:
        while i <= j and not precedes(by, values, time, rows[a], rows[i]):
            i += 1
        while i <= j and precedes(by, values, time, rows[a], rows[j]):
            j -= 1
        if i > j:
            return i
        swap(rows, i, j)
        i += 1
        j -= 1


@kernel
def partition(by, values, time, rows, a, b, pivot):  # type: ignore[no-untyped-def]
    """Part rows[a:b] into smaller than the pivot and the rest; where the pivot is, and whether nothing had to move."""
    swap(rows, a, pivot)
    i = a + 1
    j = b - 1
    while i <= j and precedes(by, values, time, rows[i], rows[a]):
        i += 1
    while i <= j and not precedes(by, values, time, rows[j], rows[a]):
        j -= 1
    if i > j:
        swap(rows, j, a)
        return j, True
    swap(rows, i, j)
    i += 1
    j -= 1
    while True:
        while i <= j and precedes(by, values, time, rows[i], rows[a]):
            i += 1
        while i <= j and not precedes(by, values, time, rows[j], rows[a]):
            j -= 1
        if i > j:
            break
        swap(rows, i, j)
        i += 1
        j -= 1
    swap(rows, j, a)
    return j, False
