"""Which columns of each operator's output are read (analysis for the passes that drop columns)."""

from __future__ import annotations

from tickc.compiler.ir import NOTHING, Plan, Wanted


def demands(plan: Plan) -> dict[int, Wanted]:
    """By id of the operator: what its readers need of its output, going from the last operator to the first."""
    wanted: dict[int, Wanted] = {id(op): NOTHING for op in plan}
    for op in reversed(plan.ops):
        for i, parent in enumerate(op.inputs):
            wanted[id(parent)] |= op.needs_of(wanted[id(op)], i)
    return wanted


def names(some: frozenset[str] | None) -> tuple[str, ...] | None:
    """A set of column names as a setting: sorted, None for all."""
    return None if some is None else tuple(sorted(some))


def narrow(wanted: Wanted) -> bool:
    """Whether `wanted` leaves out any column."""
    return wanted.tags is not None or wanted.fields is not None
