"""`|where()` and `|eval()`: lambdas on each point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tickc.runtime.batch import Array, Batch, Column, Groups, Points, Rows, Segments
from tickc.runtime.expr import Expr, Frame, Lambda
from tickc.runtime.graph import Operator
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.group import Retagging


class Where(Operator):
    """Keeps the points for which the predicate holds; a batch that loses all its points stays, empty."""

    STATE = ("predicate",)
    alone = True

    def __init__(self, *, name: str, predicate: Expr) -> None:
        super().__init__(name=name)
        self.predicate = Lambda(predicate, wants=Kind.BOOL, seed=name)

    def points(self, batch: Points) -> Iterable[Batch]:
        held = self._mask(batch.rows, batch.group)
        if held.all():
            yield batch
        elif held.any():
            yield batch.take(held)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = by_row(batch, self.predicate.stateful)
        group = batch.group[batch.owner()] if batch.index is None else None
        held = self._mask(batch.rows, group)
        yield batch if held.all() else batch.keep(held)

    def forget(self, codes: Array, groups: Groups) -> None:
        self.predicate.forget(codes)

    def apart(self) -> bool:
        return self.predicate.apart()

    def _mask(self, rows: Rows, group: Array | None) -> Array:
        held, error = self.predicate.mask(Frame.of(self.predicate.names, rows.fields, rows.tags, rows.time, group))
        if error is not None:
            self.errors["predicate could not be evaluated"] += int(np.count_nonzero(error))
        return held


def by_row(batch: Segments, always: bool) -> Segments:
    """Segments whose rows can be treated one by one: flat, unless many of them share their rows (and not `always`)."""
    if always or int(batch.sizes.sum()) <= 2 * len(batch.rows):
        return batch.flat()
    return batch


class Eval(Operator):
    """Sets fields (and tags) to the values of lambdas; a point on which one cannot be evaluated is dropped."""

    STATE = ("lambdas", "retagging", "batches")
    alone = True

    def __init__(
        self,
        *,
        name: str,
        exprs: Sequence[Expr],
        names: Sequence[str],
        tags: Sequence[str] = (),
        keep: Sequence[str] | None = None,
        quiet: bool = False,
    ) -> None:
        """keep: None keeps no other field, () keeps all, names keep just those."""
        super().__init__(name=name)
        self.lambdas = [Lambda(e, seed=f"{name}/{i}") for i, e in enumerate(exprs)]
        self.names = tuple(names)
        self.tags = tuple(tags)
        self.keep = None if keep is None else tuple(keep)
        self.quiet = quiet
        self.retagging = Retagging()
        self.batches = False  # whether it stands on a batch edge

    def points(self, batch: Points) -> Iterable[Batch]:
        rows, alive = self._rows(batch.rows, batch.group)
        if not len(rows):
            return
        if alive is not None:
            batch = batch.take(alive)
        if not self.tags:
            yield batch.with_rows(rows)
            return
        group = self.retagging.encode(batch.group, batch.groups, rows, self.tags)
        yield Points(rows, group, self.retagging.groups, batch.seq)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        self.batches = True
        batch = by_row(batch, any(e.stateful for e in self.lambdas))
        group = batch.group[batch.owner()] if batch.index is None else None
        rows, alive = self._rows(batch.rows, group)
        if alive is not None:
            held = np.zeros(len(batch.rows), np.bool_)
            held[alive] = True
            kept = batch.keep(held)
            if batch.index is None:
                yield kept.with_rows(rows)
                return
            place = np.cumsum(held) - 1
            assert kept.index is not None
            yield Segments(rows, kept.start, kept.stop, kept.tmax, kept.group, kept.groups, kept.name, kept.seq,
                           place[kept.index])  # fmt: skip
            return
        yield batch.with_rows(rows)

    def groups_behind(self, groups: Groups) -> Groups:
        return self.retagging.groups if self.tags and not self.batches else groups

    def forget(self, codes: Array, groups: Groups) -> None:
        for expression in self.lambdas:
            expression.forget(codes)

    def apart(self) -> bool:
        return not self.tags and all(expression.apart() for expression in self.lambdas)

    def _rows(self, rows: Rows, group: Array | None) -> tuple[Rows, Array | None]:
        """The rows with their new fields and tags, and the index of those that survive (None: all)."""
        alive: Array | None = None
        computed: dict[str, Column] = {}
        referenced: dict[str, Column] = {}
        for name, expression in zip(self.names, self.lambdas):
            frame = Frame.of(expression.names, rows.fields, rows.tags, rows.time, group, computed)
            outcome = expression(frame)
            if self.keep:
                referenced.update({n: frame.column(n) for n in expression.names if n != "time"})
            for reread in computed.keys() & {*expression.names}:  # the point's own value comes back into scope
                computed[reread] = frame.column(reread)
            computed[name] = outcome.column
            if outcome.error is not None:
                rows, group, alive = self._drop(outcome.error, rows, group, alive, (computed, referenced))
        rows, group, alive = self._drop_bad_tags(rows, group, alive, computed, referenced)
        tags = {**rows.tags, **{t: computed[t].data[Kind.STRING] for t in self.tags}} if len(rows) else rows.tags
        fields = {n: c for n, c in computed.items() if n not in self.tags}
        if self.keep == ():
            fields = {**rows.fields, **computed}
        elif self.keep:
            scope = {**referenced, **computed}
            lost = np.zeros(len(rows), np.bool_)
            fields = {n: self._kept(n, scope, rows, lost) for n in self.keep}
            if lost.any():
                rows, group, alive = self._drop(lost, rows, group, alive, (fields,), "field to keep does not exist")
                tags = {t: rows.tags[t] for t in rows.tags} | {t: v.take(~lost) for t, v in tags.items()}
        return rows.with_(tags=tags, fields=fields), alive

    def _kept(self, name: str, scope: dict[str, Column], rows: Rows, lost: Array) -> Column:
        """The column under which a name is kept; marks rows that have no such value."""
        if name not in scope:
            column = rows.field(name)
            lost |= ~column.present()
            return column
        column = scope[name]
        if column.kinds is Kind.CLASH:  # no row is left: none of those with a tag and a field of the name can be read
            return Column.absent(column.n)
        missing = ~column.present()
        if not missing.any():
            return column
        kinds = np.where(missing, np.uint8(Kind.HOLE), column.kinds_array())
        return Column(kinds, column.data, column.n).normal()

    def _drop_bad_tags(
        self,
        rows: Rows,
        group: Array | None,
        alive: Array | None,
        computed: dict[str, Column],
        referenced: dict[str, Column],
    ) -> tuple[Rows, Array | None, Array | None]:
        for tag in self.tags:
            bad = ~computed[tag].is_kind(Kind.STRING)
            if bad.any():
                rows, group, alive = self._drop(
                    bad, rows, group, alive, (computed, referenced), "tag value is not a string"
                )
        return rows, group, alive

    def _drop(
        self,
        bad: Array,
        rows: Rows,
        group: Array | None,
        alive: Array | None,
        columns: Iterable[dict[str, Column]],
        reason: str = "expression could not be evaluated",
    ) -> tuple[Rows, Array | None, Array | None]:
        if not self.quiet:
            self.errors[reason] += int(np.count_nonzero(bad))
        good = np.flatnonzero(~bad)
        for some in columns:
            some.update({k: v.take(good) for k, v in some.items()})
        return rows.take(good), None if group is None else group[good], good if alive is None else alive[good]
