"""Columns left out, and several row-wise operators as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tickc.runtime.batch import Batch, Marks, Rows
from tickc.runtime.graph import Graph, Operator

Names = Sequence[str] | None


def select(rows: Rows, tags: Names, fields: Names) -> Rows:
    """Rows with only some of their columns; None stands for all."""
    if tags is not None and not rows.tags.keys() <= {*tags}:
        rows = rows.with_(tags={t: rows.tags[t] for t in tags if t in rows.tags})
    if fields is not None and not rows.fields.keys() <= {*fields}:
        rows = rows.with_(fields={f: rows.fields[f] for f in fields if f in rows.fields})
    return rows


class Select(Operator):
    """Only some of the columns go on."""

    alone = True

    def __init__(self, *, name: str, tags: Names = None, fields: Names = None) -> None:
        super().__init__(name=name)
        self.tags, self.fields = tags, fields

    def process(self, batch: Batch) -> Iterable[Batch]:
        yield batch.with_rows(select(batch.rows, self.tags, self.fields))

    def apart(self) -> bool:
        return True


class Chain(Operator):
    """Steps in order, as one operator of the graph."""

    def __init__(self, *, name: str, steps: Sequence[Operator]) -> None:
        super().__init__(name=name)
        self.steps = tuple(steps)
        for step in self.steps:
            step.outputs = self.outputs  # what a step sends leaves the graph in the order of calls
        self.alone = all(step.alone for step in self.steps)

    def attach(self, graph: Graph) -> None:
        for step in self.steps:
            step.attach(graph)

    def process(self, batch: Batch) -> Iterable[Batch]:
        return self._from(0, batch)

    def _from(self, at: int, batch: Any) -> Iterable[Batch]:
        if at == len(self.steps):
            yield batch
            return
        entering = batch if isinstance(batch, Marks) else self.entering(at, batch)
        for out in self.steps[at].receive(entering):
            yield from self._from(at + 1, out)

    def apart(self) -> bool:
        return all(step.apart() for step in self.steps)

    def marks(self, marks: Marks) -> Iterable[Any]:
        return self._from(0, marks)

    def flush(self) -> Iterable[Batch]:
        for at, step in enumerate(self.steps):
            for out in step.flush():
                yield from self._from(at + 1, out)

    def entering(self, at: int, batch: Batch) -> Batch:
        """What is given to a step of the batch that reaches it."""
        return batch

    def snapshot(self) -> dict[str, Any]:
        return {step.name: step.snapshot() for step in self.steps}

    def restore(self, saved: dict[str, Any]) -> None:
        for step in self.steps:
            step.restore(saved[step.name])


class Block(Chain):
    """Steps in order, each given just the columns (tags, fields) that it and the steps after it read."""

    def __init__(self, *, name: str, steps: Sequence[Operator], reads: Sequence[tuple[Names, Names]]) -> None:
        super().__init__(name=name, steps=steps)
        self.reads = tuple(reads)

    def entering(self, at: int, batch: Batch) -> Batch:
        return batch.with_rows(select(batch.rows, *self.reads[at]))
