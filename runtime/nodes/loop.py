"""A chain of operators on numbers as one compiled loop that a generated module brings along."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tickc.runtime.batch import DTYPES, Array, Batch, Column, Points
from tickc.runtime.graph import Operator
from tickc.runtime.kernel import Kernel
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.block import Chain
from tickc.runtime.nodes.sequence import Derivative, Sequential
from tickc.runtime.nodes.window import grown


class Loop(Chain):
    """Steps in order; on batches in which all that they read are floats, `loop` does the work of all of them.

    loop: (time, group, a float array for each of `reads`, a state array for each step that has one, faults i8[steps],
    row i8[n], an array for each of `writes`) -> rows kept; see compiler/passes/fuse_kernels.py. names: what the steps'
    lambdas refer to; a tag of such a name would clash with a field or stand for it. alone: whether the written fields
    are the only ones that go on.

    The loop is compiled once it has won its compilation back, or at once where its machine code is in the cache; until
    then the steps run one after the other, on the same state.
    """

    WORTH = 1_000_000  # rows after which compiling the loop pays

    def __init__(
        self,
        *,
        name: str,
        steps: Sequence[Operator],
        loop: Kernel[Any, Any],
        reads: Sequence[str],
        writes: Sequence[tuple[str, str]],
        names: Sequence[str] = (),
        alone: bool = False,
    ) -> None:
        super().__init__(name=name, steps=steps)
        self.loop = loop
        self.reads = tuple(reads)
        self.writes = tuple((field, Kind[kind]) for field, kind in writes)
        self.names = frozenset(names)
        self.alone = alone
        self.rows_seen = 0
        self.ready: bool | None = None  # whether there is machine code; None until it is asked for

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.rows_seen += len(batch.rows)
        if isinstance(batch, Points) and self._fits(batch) and self._worth():
            return self._run(batch)
        return super().process(batch)

    def _worth(self) -> bool:
        if self.ready is None:
            self.ready = self.loop.compiled()
        return self.ready or self.rows_seen >= self.WORTH

    def _fits(self, batch: Points) -> bool:
        rows = batch.rows
        if any(f not in rows.fields or rows.fields[f].kinds is not Kind.FLOAT for f in self.reads):
            return False
        return not any((rows.tags[t].codes >= 0).any() for t in self.names.intersection(rows.tags))

    def _run(self, batch: Points) -> Iterable[Batch]:
        n, rows = len(batch), batch.rows
        states = []
        for step in self.steps:
            if isinstance(step, Sequential):
                step.state = grown(step.state, len(batch.groups))
                states.append(step.state)
        faults, row = np.zeros(len(self.steps), np.int64), np.empty(n, np.int64)
        written: list[Array] = [np.empty(n, DTYPES[kind]) for _, kind in self.writes]
        reads = [rows.fields[f].data[Kind.FLOAT] for f in self.reads]
        kept = int(self.loop(rows.time, batch.group, *reads, *states, faults, row, *written))
        for step, count in zip(self.steps, faults.tolist()):
            if count and isinstance(step, Derivative):
                step.errors["elapsed time was 0"] += count
        if not kept:
            return
        fields = {f: Column.of(kind, values[:kept]) for (f, kind), values in zip(self.writes, written)}
        through = rows.with_(fields={} if self.alone else {f: c for f, c in rows.fields.items() if f not in fields})
        out = batch.with_rows(through)
        if kept < n:
            out = out.take(row[:kept])
        yield out.with_rows(out.rows.with_(fields={**out.rows.fields, **fields}))
