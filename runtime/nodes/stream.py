"""`stream|from()`: which points a branch takes, their time, and their groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tickc.runtime.batch import Array, Batch, Groups, Points, Text
from tickc.runtime.expr import Expr, Frame, Lambda
from tickc.runtime.graph import Operator
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.group import Grouping

YEAR_ONE = 62135596800_000_000_000  # ns from 0001-01-01 to 1970-01-01, where Go's Truncate and Round count from


def past_multiple(time: Array, unit: int) -> Array:
    """i8[n]: ns since the last multiple of `unit` (ns) as Go counts them; unit > 0."""
    return (time % unit + YEAR_ONE % unit) % unit


def truncate(time: Array, unit: int) -> Array:
    """Go's Time.Truncate on i8[n] ns; `unit` <= 0 changes nothing."""
    return time if unit <= 0 else time - past_multiple(time, unit)


def round_(time: Array, unit: int) -> Array:
    """Go's Time.Round on i8[n] ns: halves go up; `unit` <= 0 changes nothing."""
    if unit <= 0:
        return time
    past = past_multiple(time, unit)
    return np.where(past < unit - past, time - past, time + (unit - past))


class From(Operator):
    """Filters points by origin and predicate (one function state for the node), moves their time, groups them."""

    STATE = ("where", "grouping")
    alone = True

    def __init__(
        self,
        *,
        name: str,
        database: str = "",
        policy: str = "",
        measurement: str = "",
        where: Expr | None = None,
        truncate: int = 0,
        round: int = 0,
        group_by: Sequence[str] | str = (),
        by_measurement: bool = False,
    ) -> None:
        super().__init__(name=name)
        self.origin = {"database": database, "policy": policy, "name": measurement}
        self.where = Lambda(where, per_group=False, wants=Kind.BOOL, seed=name) if where is not None else None
        self.unit_truncate = truncate
        self.unit_round = round
        self.grouping = Grouping(group_by, (), by_measurement)

    def points(self, batch: Points) -> Iterable[Batch]:
        for attribute, wanted in self.origin.items():
            if wanted:
                batch = _only(batch, getattr(batch.rows, attribute), wanted)
        if self.where is not None and len(batch):
            batch = self._filter(batch, self.where)
        if not len(batch):
            return
        rows = batch.rows
        if self.unit_truncate or self.unit_round:
            rows = rows.with_(time=round_(truncate(rows.time, self.unit_truncate), self.unit_round))
        yield Points(rows, self.grouping.encode(rows), self.grouping.groups, batch.seq)

    def groups_behind(self, groups: Groups) -> Groups:
        return self.grouping.groups

    def _filter(self, batch: Points, where: Lambda) -> Points:
        rows = batch.rows
        held, error = where.mask(Frame.of(where.names, rows.fields, rows.tags, rows.time))
        if error is not None:
            self.errors["predicate could not be evaluated"] += int(np.count_nonzero(error))
        return batch if held.all() else batch.take(held)


def _only(batch: Points, text: Text, wanted: str) -> Points:
    code = text.vocabulary.find(wanted)
    if text.codes.strides == (0,) and len(text.codes):  # one value for all rows
        return batch if text.codes[0] == code else batch.take(slice(0, 0))
    same = text.codes == code
    return batch if same.all() else batch.take(same)
