"""Threads that compute together, the one that asks among them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

R = TypeVar("R")


MOST = 4  # threads where nobody says how many: few graphs have work for more


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # of mallopt(3)


def keep_memory() -> None:
    """Have the C library, where it is glibc, keep what is freed.

    It gives the memory of arrays back to the system, and takes it again for the next batch; with threads each of that
    interrupts the others, which costs more than a second thread gains.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for what, value in ((_MMAP_THRESHOLD, 64 << 20), (_TRIM_THRESHOLD, 256 << 20), (_ARENA_MAX, 1)):
            mallopt(what, value)


class Errand:
    """A call that any thread of a team may make; what it gave, or raised, is kept."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:  # raised again where the result is asked for
            self.error = error


class Work(Protocol):
    """What threads of a team do while nobody asks them for help."""

    def take(self) -> Callable[[], None] | None:
        """The next thing to do, None while there is none; called with the team's `bell` held."""


class Team:
    """`size` threads, of which the caller of `map` is one; others are there between `start` and `stop`.

    bell: guards what the threads share, and is rung when there is something new for one that waits.
    """

    def __init__(self) -> None:
        self.size = 1
        self.bell = threading.Condition()
        self._errands: deque[Errand] = deque()
        self._threads: list[threading.Thread] = []
        self._work: Work | None = None
        self._stopping = False

    def start(self, size: int, work: Work) -> None:
        """Have `size - 1` threads that do `work`."""
        keep_memory()
        self.size, self._work, self._stopping = size, work, False
        for i in range(1, size):
            thread = threading.Thread(target=self._run, name=f"tickc-worker-{i}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let the threads end, after what they are at."""
        with self.bell:
            self._stopping = True
            self.bell.notify_all()
        for thread in self._threads:
            thread.join()
        self.size, self._threads, self._work = 1, [], None

    def map(self, function: Callable[..., R], *arguments: Iterable[Any]) -> list[R]:
        """What `function` gives for each of the arguments, in order; threads that are free take some of the calls."""
        errands = [Errand(function, given) for given in zip(*arguments)]
        if self.size == 1 or len(errands) < 2:
            return [errand.function(*errand.arguments) for errand in errands]
        with self.bell:
            self._errands.extend(errands)
            self.bell.notify_all()
        for errand in errands:
            with self.bell:
                mine = errand in self._errands
                if mine:
                    self._errands.remove(errand)
            if mine:
                errand.run()
                errand.over = True
        with self.bell:
            self.bell.wait_for(lambda: all(errand.over for errand in errands))
        for errand in errands:
            if errand.error is not None:
                raise errand.error
        return [errand.result for errand in errands]

    def help(self, until: Callable[[], bool]) -> None:
        """Do what there is to do in the caller's thread, until `until` (called with the bell held) holds."""
        while True:
            with self.bell:
                while not until():
                    task = self._next()
                    if task is not None:
                        break
                    self.bell.wait()
                else:
                    return
            task()

    def _run(self) -> None:
        self.help(lambda: self._stopping)

    def _next(self) -> Callable[[], None] | None:
        if self._errands:
            errand = self._errands.pop()  # its thread takes the first: so each call mostly stays where it was before
            return lambda: self._done(errand)
        return None if self._work is None else self._work.take()

    def _done(self, errand: Errand) -> None:
        errand.run()
        with self.bell:
            errand.over = True
            self.bell.notify_all()


ALONE = Team()  # that of an operator which is in no graph
