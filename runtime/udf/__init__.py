"""User-defined functions: what a script calls with `@name()`.

A function is declared under a name, in a configuration file (`config.read`), or in Python (`python.udf`). A declaration
tells the compiler what it takes, what it gives and which options it has, and starts a session for each node that uses
it. Sessions take record batches of an edge and give record batches, wherever the function itself runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from tickc.runtime.batch import Batch
    from tickc.runtime.graph import Graph

T = TypeVar("T")

TYPES = ("bool", "int", "double", "string", "duration")  # of options, in the order of the protocol's numbers
EDGES = ("stream", "batch")  # the same

Option = tuple[str, tuple[Any, ...]]  # name and values; a duration is a Literal of tickc.runtime.expr


class UdfError(Exception):
    """A user-defined function cannot be had, or failed. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, slots=True)
class Info:
    """What a function takes and gives (`stream` or `batch`), and the types of each option's values (see TYPES)."""

    wants: str
    provides: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """The node that a session works for, the options that the script sets, and what the plan expects of it."""

    task: str
    name: str
    options: Sequence[Option]
    provides: str


class Session(Protocol):
    """A function at work for one node. Methods raise UdfError where it fails; then only `close` may follow."""

    def run(self, batch: Batch) -> Iterator[Batch]:
        """Give the function a batch; yields what it answers."""

    def finish(self) -> Iterator[Batch]:
        """Tell it that the input has ended; yields the rest."""

    def snapshot(self) -> Any:
        """Its state between two batches, as `tickc.runtime.snapshot.freeze` takes it."""

    def restore(self, saved: Any) -> None:
        """Take over a snapshot; before the first batch."""

    def close(self) -> None:
        """Release what it holds, whatever state it is in. May be called again."""


class Udf(Protocol):
    """A declaration."""

    def info(self) -> Info:
        """Raises UdfError where it cannot be had."""

    def start(self, node: Node) -> Session:
        """Raises UdfError where the function cannot be started with these options."""


Udfs = Mapping[str, Udf]
NO_UDFS: Udfs = {}
_SHARED = "user-defined functions"


def provide(graph: Graph, udfs: Udfs, task: str = "") -> Graph:
    """Let the operators of a graph find the functions that they use; returns the graph."""
    graph.shared[_SHARED] = (dict(udfs), task)
    return graph


def closing(graph: Graph, outputs: Iterator[T]) -> Iterator[T]:
    """What comes of running a graph; afterwards, whatever ended it, no function is left running."""
    try:
        yield from outputs
    finally:
        for operator in graph.operators:
            if hasattr(operator, "close"):
                operator.close()


def provided(shared: Mapping[str, Any], name: str) -> tuple[Udf, str]:
    """The function of that name and the task's id; UdfError where the graph was given none."""
    udfs, task = shared.get(_SHARED, (NO_UDFS, ""))
    if name not in udfs:
        raise UdfError(f"no such UDF {name}", "name the file that declares it: --config tickc.toml")
    return udfs[name], task
