"""In which order InfluxDB brings points of several series together.

Sums of floats, and which of two equal points a selector takes, hang on it. InfluxDB merges through binary heaps (Go's
container/heap) that compare no more than they have to, so which of two equal inputs comes first depends on what was
taken before. These kernels take the same steps.

Both merge groups of inputs, each group by itself. Input j holds the items start[j]:stop[j]; group g holds the inputs
group[g]:group[g + 1]. `out` is filled with the numbers of all items, group after group.
"""

from __future__ import annotations

from tickc.runtime.kernel import kernel
from tickc.runtime.routine import routine

PARALLEL = 2  # streams into which a server merges the series of a tag set: the number of its cores


@kernel
def precedes(a, b, at, key, texts):  # type: ignore[no-untyped-def]
    """Whether the next item of input a comes before that of b: by key, then by texts (i8[columns, items], -1 for what
    is no string, which ends the comparison)."""
    i = at[a]
    j = at[b]
    if key[i] != key[j]:
        return key[i] < key[j]
    for c in range(texts.shape[0]):
        x = texts[c, i]
        y = texts[c, j]
        if x < 0 or y < 0:
            return False
        if x != y:
            return x < y
    return False


@routine
def sift_down(heap, size, root, at, key, texts):  # type: ignore[no-untyped-def]
    while True:
        child = 2 * root + 1
        if child >= size:
            return
        if child + 1 < size and precedes(heap[child + 1], heap[child], at, key, texts):
            child += 1
        if not precedes(heap[child], heap[root], at, key, texts):
            return
        t = heap[root]
        heap[root] = heap[child]
        heap[child] = t
        root = child


@routine
def heap_push(heap, size, item, at, key, texts):  # type: ignore[no-untyped-def]
    heap[size] = item
    j = size
    while j > 0:
        parent = (j - 1) // 2
        if not precedes(heap[j], heap[parent], at, key, texts):
            return
        t = heap[j]
        heap[j] = heap[parent]
        heap[parent] = t
        j = parent


@routine
def heap_pop(heap, size, at, key, texts):  # type: ignore[no-untyped-def]
    """The first input, which is taken out of a heap of `size`."""
    first = heap[0]
    heap[0] = heap[size - 1]
    heap[size - 1] = first
    sift_down(heap, size - 1, 0, at, key, texts)
    return first


@kernel
def merge(start, stop, group, key, texts, by_run, at, heap, out):  # type: ignore[no-untyped-def]
    """Merge inputs whose items ascend by key (i8), ties by texts.

    by_run: whether an input goes on as long as its key stays the same (MergeIterator); else it is put back after each
    item (SortedMergeIterator). at, heap: i8, room for all inputs.
    """
    n = 0
    for g in range(group.size - 1):
        size = 0
        for j in range(group[g], group[g + 1]):
            at[j] = start[j]
            if start[j] < stop[j]:
                heap[size] = j
                size += 1
        if size == 1:
            for i in range(start[heap[0]], stop[heap[0]]):
                out[n] = i
                n += 1
            continue
        for root in range(size // 2 - 1, -1, -1):
            sift_down(heap, size, root, at, key, texts)
        while size > 0:
            j = heap_pop(heap, size, at, key, texts)
            size -= 1
            first = key[at[j]]
            out[n] = at[j]
            n += 1
            at[j] += 1
            while by_run and at[j] < stop[j] and key[at[j]] == first:
                out[n] = at[j]
                n += 1
                at[j] += 1
            if at[j] < stop[j]:
                heap_push(heap, size, j, at, key, texts)
                size += 1
