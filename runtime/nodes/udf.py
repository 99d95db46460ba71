"""`@name()`: user-defined functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tickc.runtime.batch import Batch
from tickc.runtime.graph import Graph, Operator, TaskFailed
from tickc.runtime.udf import Node, Option, Session, UdfError, provided


class UDF(Operator):
    """Gives everything to a user-defined function, and what that answers to the nodes behind it.

    The function is looked up by name and started with the first batch (at the latest at the end of the input), in a
    session of its own. Where it fails the task ends, after what the function answered before.
    """

    def __init__(self, *, name: str, udf: str, provides: str = "stream", options: Sequence[Option] = ()) -> None:
        super().__init__(name=name)
        self.udf, self.provides, self.options = udf, provides, tuple(options)
        self.shared: dict[str, Any] = {}
        self._session: Session | None = None
        self._over = False

    def attach(self, graph: Graph) -> None:
        self.shared = graph.shared

    def process(self, batch: Batch) -> Iterable[Batch]:
        if not self._over and len(batch):
            yield from self._guarded(lambda session: session.run(batch))

    def finish(self) -> Iterable[Batch]:
        if not self._over:
            yield from self._guarded(lambda session: session.finish())
            self.close()

    def close(self) -> None:
        self._over = True
        if self._session is not None:
            self._session.close()
            self._session = None

    def marks(self, marks: Any) -> Iterable[Any]:
        """Barriers and the deletion of groups end here (Kapacitor udf/server.go)."""
        return ()

    def snapshot(self) -> dict[str, Any]:
        from tickc.runtime.snapshot import freeze

        try:
            return {"session": None if self._session is None else freeze(self._session.snapshot())}
        except UdfError as error:
            raise self._failed(error) from error

    def restore(self, saved: dict[str, Any]) -> None:
        from tickc.runtime.snapshot import thaw

        if saved["session"] is None:
            return
        try:
            self._started().restore(thaw(saved["session"]))
        except UdfError as error:
            raise self._failed(error) from error

    def _guarded(self, use: Any) -> Iterator[Batch]:
        try:
            yield from use(self._started())
        except UdfError as error:
            raise self._failed(error) from error

    def _started(self) -> Session:
        if self._session is None:
            declared, task = provided(self.shared, self.udf)
            self._session = declared.start(Node(task, self.name, self.options, self.provides))
        return self._session

    def _failed(self, error: UdfError) -> TaskFailed:
        self.close()
        return TaskFailed(f"{self.name}: {error}")
