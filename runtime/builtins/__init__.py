"""Lambda functions. Each is one declared Python function; everything else derives from the declaration.

The scalar body is the reference: it takes and returns Python/NumPy scalars (`float`, `int` as int64 ns for durations
and times, `bool`, `str`), and raises `EvalError` where Kapacitor reports an evaluation error. A function on numbers
keeps to what a kernel may contain and is declared on a `@kernel`, so that it can be called from compiled loops; one on
strings is evaluated once per distinct argument, never per point.

Strings are Python `str`; bytes that are not UTF-8 are kept as surrogate escapes (PEP 383), so that byte offsets work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tickc.runtime.kernel import Kernel
from tickc.runtime.kinds import Kind


class EvalError(ValueError):
    """A lambda could not be evaluated on one point; the text is Kapacitor's."""


@dataclass(frozen=True)
class Builtin:
    """One overload of a lambda function.

    vector: the same function on arrays (float64, int64 or bool of one length), where NumPy's is equal to the last
    bit; without it a numeric function is mapped by a kernel and a string function by distinct arguments.
    examples: TICKscript text -> value (or an EvalError's text in an `EvalError`); they are the docs and run as tests.
    """

    name: str
    args: tuple[Kind, ...]
    result: Kind
    call: Callable[..., Any]
    doc: str
    vector: Callable[..., np.ndarray] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)


_DECLARED: dict[str, dict[tuple[Kind, ...], Builtin]] = {}


def builtin(
    name: str,
    args: tuple[Kind, ...],
    result: Kind,
    *,
    vector: Callable[..., np.ndarray] | None = None,
    examples: Mapping[str, Any] | None = None,
) -> Callable[[Any], Any]:
    """Declare the decorated function (or `@kernel`) as the overload of lambda function `name` for `args`.

    May be stacked to declare several overloads with one body.
    """

    def declare(function: Any) -> Any:
        doc = function.function.__doc__ if isinstance(function, Kernel) else function.__doc__
        overloads = _DECLARED.setdefault(name, {})
        assert args not in overloads, f"{name}{args} is declared twice"
        overloads[args] = Builtin(name, args, result, function, doc or "", vector, examples or {})
        return function

    return declare


def overloads(name: str) -> Mapping[tuple[Kind, ...], Builtin] | None:
    """The overloads of the function `name` by argument kinds, or None where there is no such function."""
    _load()
    return _DECLARED.get(name)


def names() -> list[str]:
    """The names of all lambda functions that are pure, sorted."""
    _load()
    return sorted(_DECLARED)


def _load() -> None:
    from tickc.runtime.builtins import conversion, gomath, special, strings, time  # noqa: F401
