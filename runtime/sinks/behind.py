"""Writing while the next rows are computed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickc.runtime.backfill import Sink, SinkCount, Sinks
    from tickc.runtime.emitted import Reached

WAITING = 2  # writes at most that are under way


class Behind:
    """Sinks that a thread of its own writes to, in order. What a write raises is raised by one of the next calls."""

    def __init__(self, inner: Sinks) -> None:
        self.inner = inner
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tickc-write")
        self._writes: deque[Future[None]] = deque()

    def open(self, count: SinkCount) -> Sink:
        return _Sink(self, self.inner.open(count))

    def write(self, sink: Sink, emitted: Reached) -> None:
        self._writes.append(self._thread.submit(sink.write, emitted))
        self._settle(WAITING)

    def settle(self) -> None:
        """Wait until all is written."""
        self._settle(0)

    def _settle(self, left: int) -> None:
        while len(self._writes) > left:
            self._writes.popleft().result()

    def close(self) -> None:
        self.settle()
        self.inner.close()

    def stop(self) -> None:
        """End the thread; what waits is not written any more."""
        self._thread.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Sink:
    behind: Behind
    inner: Sink

    def write(self, emitted: Reached) -> None:
        self.behind.write(self.inner, emitted)
