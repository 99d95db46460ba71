"""Go's sort.Sort as kernels: not stable, but the same permutation as Go for the same input.

InfluxQL's functions sort points with sort.Sort, so which of several equal points `percentile` or `top` returns depends
on its moves. It is pattern-defeating quicksort (Orson Peters): insertion sort up to 12 elements, a pivot by median of
three or ninther, heap sort after too many bad partitions. Every comparison and swap here is Go's, so the result is too
where the order is none at all, as with NaN.

The kernels sort `index[lo:hi]` in place, by keys that are looked up at the index: `keys[index[i]]`. Types: `index` i8;
`keys` f8 or i8; `ties` f8 or i8. Each pair of types is compiled once; the `np.int64(…)` of the entries are there
because Numba would compile all of it anew for a literal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tickc.runtime.kernel import kernel
from tickc.runtime.routine import routine

# How two points compare
BY_KEY = 0  # keys, ascending; equal ones in no order
BY_KEY_THEN_TIE = 1  # keys ascending, then ties ascending
BY_KEY_DOWN_THEN_TIE = 3  # keys descending, then ties ascending
BY_KEY_THEN_TIE_DOWN = 5
BY_BOTH_DOWN = 7
_KEY_DOWN = 2
_TIE_DOWN = 4
_COMPARES = 7

GO_1_19 = 8  # added to one of these: equal elements end where Go 1.19 puts them, not where later releases do

_INCREASING = 1
_DECREASING = 2
_UNKNOWN = 0


@kernel
def sort_by_float(keys: np.ndarray, index: np.ndarray, lo: int, hi: int, release: int = 0) -> None:
    """Sort `index[lo:hi]` by `keys` (f8), ascending, as sort.Sort with `a.Value < b.Value`. release: 0 or GO_1_19."""
    _sort(keys, index, index, np.int64(lo), np.int64(hi), np.int64(BY_KEY + release))


@kernel
def sort_by_int(keys: np.ndarray, index: np.ndarray, lo: int, hi: int, release: int = 0) -> None:
    """Sort `index[lo:hi]` by `keys` (i8: values or times), ascending, as sort.Sort with `a.Time < b.Time`."""
    _sort(keys, index, index, np.int64(lo), np.int64(hi), np.int64(BY_KEY + release))


@kernel
def sort_by_two(keys: np.ndarray, ties: np.ndarray, index: np.ndarray, lo: int, hi: int, order: int) -> None:
    """Sort `index[lo:hi]` by `keys` and, where these are equal, by `ties`; `order` is one of the constants above.

    A pair is compared as `if a.key != b.key { return a.key < b.key }; return a.tie < b.tie`, so NaN is unequal to all
    and below none. top: (value, time), BY_KEY_DOWN_THEN_TIE; bottom: (value, time), BY_KEY_THEN_TIE; distinct:
    (time, value), BY_KEY_THEN_TIE.
    """
    _sort(keys, ties, index, np.int64(lo), np.int64(hi), np.int64(order))


@routine
def _less(keys: Any, ties: Any, part: Any, i: Any, j: Any, order: Any) -> bool:
    """Whether the point at place i of `part` must come before the one at place j."""
    a, b = part[i], part[j]
    if order & _COMPARES == BY_KEY:
        return keys[a] < keys[b]
    if keys[a] != keys[b]:
        return keys[a] > keys[b] if order & _KEY_DOWN else keys[a] < keys[b]
    return ties[a] > ties[b] if order & _TIE_DOWN else ties[a] < ties[b]


@kernel
def _swap(part: Any, i: Any, j: Any) -> None:
    kept = part[i]
    part[i] = part[j]
    part[j] = kept


@routine
def _bit_length(n: Any) -> int:
    length = 0
    while n > 0:
        n >>= 1
        length += 1
    return length


@routine
def _sort(keys: Any, ties: Any, part: Any, lo: Any, hi: Any, order: Any) -> None:
    """Sort `part[lo:hi]`. Go's recursion is a stack of ranges here: of a partition's sides the shorter goes first.

    A row of the stack: begin, end, bad pivots left, whether the last partition was balanced, whether it moved nothing.
    """
    if hi - lo < 2:
        return
    stack = np.empty((64, 5), np.int64)
    stack[0, 0] = lo
    stack[0, 1] = hi
    stack[0, 2] = _bit_length(hi - lo)
    stack[0, 3] = 1
    stack[0, 4] = 1
    depth = 1
    while depth > 0:
        row = stack[depth - 1]
        if _step(keys, ties, part, order, lo, row, stack[depth]):
            depth -= 1
        elif row[1] < 0:  # `_step` left the shorter side to be sorted first
            row[1] = -row[1]
            depth += 1


@routine
def _step(keys: Any, ties: Any, part: Any, order: Any, lo: Any, row: Any, below: Any) -> bool:
    """One round of pdqsort on the range in `row`; whether the range is sorted.

    Otherwise `row` is the range that remains. Where a partition gave a second one, that is in `below`, and row's end
    is negated to say so.
    """
    a, b = row[0], row[1]
    length = b - a
    if length <= 12:
        _insertion_sort(keys, ties, part, order, a, b)
        return True
    if row[2] == 0:
        _heap_sort(keys, ties, part, order, a, b)
        return True
    if row[3] == 0:
        _break_patterns(part, a, b, order)
        row[2] -= 1
    pivot, hint = _choose_pivot(keys, ties, part, order, a, b)
    if hint == _DECREASING:
        _reverse(part, a, b)
        pivot = (b - 1) - (pivot - a)
        hint = _INCREASING
    if row[3] == 1 and row[4] == 1 and hint == _INCREASING and _nearly_sorted(keys, ties, part, order, lo, a, b):
        return True
    if a > lo and not _less(keys, ties, part, a - 1, pivot, order):
        row[0] = _partition_equal(keys, ties, part, order, a, b, pivot)
        return False
    middle, untouched = _partition(keys, ties, part, order, a, b, pivot)
    _divide(row, below, middle, untouched)
    return False


@routine
def _divide(row: Any, below: Any, middle: Any, untouched: Any) -> None:
    """Split `row` at `middle`: the shorter side to `below`, the longer one stays; the end of `row` is negated."""
    a, b = row[0], row[1]
    left, right = middle - a, b - middle
    row[4] = 1 if untouched else 0
    row[3] = 1 if min(left, right) >= (b - a) // 8 else 0
    below[2] = row[2]
    below[3] = 1
    below[4] = 1
    if left < right:
        below[0] = a
        below[1] = middle
        row[0] = middle + 1
        row[1] = -b
    else:
        below[0] = middle + 1
        below[1] = b
        row[1] = -middle


@routine
def _insertion_sort(keys: Any, ties: Any, part: Any, order: Any, a: Any, b: Any) -> None:
    for i in range(a + 1, b):
        j = i
        while j > a and _less(keys, ties, part, j, j - 1, order):
            _swap(part, j, j - 1)
            j -= 1


@routine
def _sift_down(keys: Any, ties: Any, part: Any, order: Any, root: Any, hi: Any, first: Any) -> None:
    while True:
        child = 2 * root + 1
        if child >= hi:
            return
        if child + 1 < hi and _less(keys, ties, part, first + child, first + child + 1, order):
            child += 1
        if not _less(keys, ties, part, first + root, first + child, order):
            return
        _swap(part, first + root, first + child)
        root = child


@routine
def _heap_sort(keys: Any, ties: Any, part: Any, order: Any, a: Any, b: Any) -> None:
    n = b - a
    for i in range((n - 1) // 2, -1, -1):
        _sift_down(keys, ties, part, order, i, n, a)
    for i in range(n - 1, -1, -1):
        _swap(part, a, a + i)
        _sift_down(keys, ties, part, order, 0, i, a)


@routine
def _break_patterns(part: Any, a: Any, b: Any, order: Any) -> None:
    """Swap three elements at the middle with ones chosen by xorshift, seeded with the length."""
    length = b - a
    random = np.uint64(length)
    mask = (np.int64(1) << _bit_length(length)) - 1
    middle = a + length // 4 * 2
    for i in range(middle - 1, middle + 2):
        random ^= random << np.uint64(13)
        random ^= random >> np.uint64(17 if order & GO_1_19 else 7)
        random ^= random << np.uint64(5 if order & GO_1_19 else 17)
        other = np.int64(random & np.uint64(mask))
        if other >= length:
            other -= length
        _swap(part, i, a + other)


@routine
def _median(keys: Any, ties: Any, part: Any, order: Any, a: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """Which of three places holds the median, and how many swaps that took."""
    swaps = 0
    if _less(keys, ties, part, b, a, order):
        swaps += 1
        a, b = b, a
    if _less(keys, ties, part, c, b, order):
        swaps += 1
        b, c = c, b
    if _less(keys, ties, part, b, a, order):
        swaps += 1
        a, b = b, a
    return b, swaps


@routine
def _choose_pivot(keys: Any, ties: Any, part: Any, order: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """The pivot's place and what the samples say of the range; `b - a` is above 12."""
    quarter = (b - a) // 4
    i, j, k = a + quarter, a + quarter * 2, a + quarter * 3
    swaps = 0
    if b - a >= 50:
        i, more = _median(keys, ties, part, order, i - 1, i, i + 1)
        swaps += more
        j, more = _median(keys, ties, part, order, j - 1, j, j + 1)
        swaps += more
        k, more = _median(keys, ties, part, order, k - 1, k, k + 1)
        swaps += more
    j, more = _median(keys, ties, part, order, i, j, k)
    swaps += more
    if swaps == 0:
        return j, _INCREASING
    return j, _DECREASING if swaps == 12 else _UNKNOWN


@routine
def _reverse(part: Any, a: Any, b: Any) -> None:
    i, j = a, b - 1
    while i < j:
        _swap(part, i, j)
        i += 1
        j -= 1


@routine
def _nearly_sorted(keys: Any, ties: Any, part: Any, order: Any, lo: Any, a: Any, b: Any) -> bool:
    """Mend up to five pairs that are out of order; whether the range is sorted then. All begins at `lo`."""
    i = a + 1
    for _ in range(5):
        while i < b and not _less(keys, ties, part, i, i - 1, order):
            i += 1
        if i == b:
            return True
        if b - a < 50:
            return False
        _swap(part, i, i - 1)
        if i - a >= 2:
            j = i - 1
            while j > lo and _less(keys, ties, part, j, j - 1, order):
                _swap(part, j, j - 1)
                j -= 1
        if b - i >= 2:
            j = i + 1
            while j < b and _less(keys, ties, part, j, j - 1, order):
                _swap(part, j, j - 1)
                j += 1
    return False


@routine
def _partition_equal(keys: Any, ties: Any, part: Any, order: Any, a: Any, b: Any, pivot: Any) -> int:
    """Elements equal to the pivot first, then, from the returned place on, the larger ones; none is smaller."""
    _swap(part, a, pivot)
    i, j = a + 1, b - 1
    while True:
        while i <= j and not _less(keys, ties, part, a, i, order):
            i += 1
        while i <= j and _less(keys, ties, part, a, j, order):
            j -= 1
        if i > j:
            return i
        _swap(part, i, j)
        i += 1
        j -= 1


@routine
def _partition(keys: Any, ties: Any, part: Any, order: Any, a: Any, b: Any, pivot: Any) -> tuple[Any, bool]:
    """Smaller elements before the pivot, the others after it: its new place, and whether nothing had to move."""
    _swap(part, a, pivot)
    i, j = a + 1, b - 1
    untouched = True
    while True:
        while i <= j and _less(keys, ties, part, i, a, order):
            i += 1
        while i <= j and not _less(keys, ties, part, j, a, order):
            j -= 1
        if i > j:
            _swap(part, j, a)
            return j, untouched
        untouched = False
        _swap(part, i, j)
        i += 1
        j -= 1
