"""Work in steps, of which some may be done in other threads.

A generator of `Steps` yields work that others may do, and is given what tells its result, or raises what the work did:

    data = (yield partial(encode, rows))()

It yields None where there is nothing to do but a good place to go on with another one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

Work = Callable[[], Any]
Steps = Generator[Work | None, Work, None]

_OVER: Any = object()


def in_turn(steps: Steps) -> None:
    """Make all steps, and do the work where it is asked for."""
    work = _next(steps, None)
    while work is not _OVER:
        work = _next(steps, work)


def in_step(many: Iterable[Steps], threads: int = 1, run: Callable[..., Iterable[Any]] = map) -> None:
    """Make the steps of many, each step for all of them: code that runs again and again takes half the time. The work
    that they ask for in one step is done in `threads` parts, which `run` may do side by side."""
    going: list[tuple[Steps, Any]] = [(steps, None) for steps in many]
    while going:
        asked = [(steps, work) for steps, given in going if (work := _next(steps, given)) is not _OVER]
        works = [(Future[Any](), work) for _, work in asked if work is not None]
        list(run(_do, [works[i::threads] for i in range(min(threads, len(works)))]))
        results = iter(works)
        going = [(steps, None if work is None else next(results)[0].result) for steps, work in asked]


def _next(steps: Steps, given: Any) -> Any:
    """The next work, `_OVER` behind the last step."""
    try:
        return steps.send(given)
    except StopIteration:
        return _OVER


def _do(works: Sequence[tuple[Future[Any], Work]]) -> None:
    for future, work in works:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
