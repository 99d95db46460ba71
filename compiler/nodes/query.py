"""Where the batches of a batch task come from: `batch`, `query`, `queryFlux`.

What reads queries is imported when there is one: a stream task starts without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic, Span
from tickc.compiler.pipeline import (
    BATCH,
    STAR,
    Duration,
    Edge,
    Node,
    TimeDimension,
    arg,
    flag,
    go_type,
    node,
    prop,
    setter,
    state,
)
from tickc.runtime import influxql as q
from tickc.runtime.cron import Cron, CronError

T204, T302, T303, T304 = (CODES[c] for c in ("T204", "T302", "T303", "T304"))
FILLS = ("null", "none", "previous", "linear")


@node("batch", wants=Edge.NONE, gives=BATCH, parents=(), chains=False)
class BatchSource(Node):
    """The source of a batch task; its queries are the nodes that run."""

    runs: ClassVar[bool] = False


@node("query", wants=BATCH, gives=BATCH, parents=("batch",))
class Query(Node):
    """Query InfluxDB again and again; each result is a batch for each series."""

    text: str = arg("the query in InfluxQL, without bounds of time", name="queryStr")
    period: Duration = prop("length of the range that is queried")
    every: Duration = prop("how often to query")
    align: bool = flag("query at multiples of `every`")
    cron: str = prop("when to query, as a cron expression, instead of `every`")
    offset: Duration = prop("query for a range that ended so long ago")
    align_group: bool = flag("let groups of time begin at the start of the range")
    group_by_measurement: bool = flag("group by measurement too")
    fill: Any = prop("what stands where there is no data: 'null', 'none', 'previous', 'linear' or a number")
    cluster: str = prop("the InfluxDB to query, by its name in the configuration")
    dimensions: tuple[Any, ...] = state(())

    @setter
    def group_by(self, *dimensions: Any) -> None:
        """Group by tags, by all with `*`, and by time with time(interval)."""
        self.dimensions = dimensions

    def start(self) -> Iterator[Diagnostic]:
        from tickc.compiler import influxql

        try:
            influxql.parse(self.text)
        except influxql.QueryError as error:
            yield self._mistake(str(error), error.span.start, error.span.stop)
            return
        yield from self._dimension_errors()
        if isinstance(self.fill, str) and self.fill not in FILLS:
            yield self.refuse(T304, f"unexpected fill option {self.fill}", "use 'null', 'none', 'previous' or 'linear'")
        yield from schedule_errors(self, self.every, self.cron)

    def doubts(self) -> Iterator[Diagnostic]:
        from tickc.compiler import influxql

        spans: dict[int, tuple[int, int]] = {}
        refused = influxql.refusal(self._select(spans))
        if refused is not None:
            message = f"the database will refuse the query: {refused}"
            yield self._mistake(message, *spans.get(id(refused.part), (0, len(self.text.encode("utf-8", "replace")))))

    def _select(self, spans: dict[int, tuple[int, int]] | None = None) -> q.Select:
        """The query with the dimensions and the fill of the node; `spans`: the bytes of its text for its parts."""
        from tickc.compiler import influxql
        from tickc.runtime.influxql.text import with_dimensions, with_fill

        select = with_dimensions(influxql.parse(self.text, spans), [_dimension(d) for d in self.dimensions])
        if isinstance(self.fill, (str, int, float)) and not isinstance(self.fill, (bool, Duration)):
            return with_fill(select, self.fill)
        return select

    def _mistake(self, message: str, start: int, stop: int) -> Diagnostic:
        """A mistake in some bytes of the text of the query, shown in the script where the text stands as a literal."""
        at = _literal(self.pipeline.source.data, self.span.stop, self.text)
        if at is None:
            return self.refuse(T304, message)
        return T304.at(Span(at(start), at(max(start, stop))), message, positioned=False)

    def reads(self) -> list[Node]:
        return []

    def lower(self, *inputs: ir.Op) -> ir.Op:
        from tickc.compiler import influxql

        select = self._select()
        refused = influxql.refusal(select)
        return QueryOp(
            select=select if refused else influxql.reread(select),
            period=self.period,
            every=self.every,
            cron=self.cron,
            align=self.align,
            offset=self.offset,
            by_measurement=self.group_by_measurement,
            cluster=self.cluster,
            dbrps=self.pipeline.task_dbrps,
            refusal=str(refused or ""),
            **self.op_base(*inputs),
        )

    def _dimension_errors(self) -> Iterator[Diagnostic]:
        times = 0
        for d in self.dimensions:
            if isinstance(d, (Duration, TimeDimension)):
                times += 1
                if times > 1:
                    yield self.refuse(T303, "groupBy cannot have more than one time dimension")
                    return
            elif not isinstance(d, str) and d is not STAR:
                yield self.refuse(T204, f"invalid dimension type:{go_type(d)}, must be string or time.Duration")
                return


_LITERAL = re.compile(rb"\s*\(\s*(?:'''(?P<raw>(?s:.*?))'''|'(?P<text>(?:[^'\\]|\\'?)*+)')")


def _literal(script: bytes, after: int, text: str) -> Callable[[int], int] | None:
    """Where the bytes of `text` stand in the script, if it is the literal in the brackets behind `after`; else None."""
    found = _LITERAL.match(script, after)
    if found is None:
        return None
    triple = found["raw"] is not None
    body, begin = found[found.lastgroup or 0], found.start(found.lastgroup or 0)
    plain = body if triple else body.replace(b"\\'", b"'")
    if plain != text.encode("utf-8", "surrogateescape"):
        return None

    def at(offset: int) -> int:
        place = 0
        for _ in range(offset):
            place += 2 if not triple and body.startswith(b"\\'", place) else 1
        return begin + place

    return at


def _dimension(given: Any) -> str | q.Wildcard | q.Bucket:
    """A dimension as the query has it."""
    match given:
        case TimeDimension(length, offset):
            return q.Bucket(int(length), int(offset))
        case Duration():
            return q.Bucket(int(given), 0)
        case str():
            return given
    return q.Wildcard()


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryOp(ir.Op):
    """Where the batches of a query enter."""

    operator: ClassVar[str] = "Query"
    gives: ClassVar[Edge] = BATCH

    select: q.Select
    period: int = ir.setting(0)
    every: int = ir.setting(0)
    cron: str = ir.setting("")
    align: bool = ir.setting(False)
    offset: int = ir.setting(0)
    by_measurement: bool = ir.setting(False)
    cluster: str = ir.setting("")
    dbrps: tuple[tuple[str, str], ...] | None = ir.setting(None)
    refusal: str = ir.setting("")


@node("queryFlux", wants=BATCH, gives=BATCH, parents=("batch",), later="it queries a database")
class QueryFlux(Node):
    """Run a query in Flux again and again."""

    text: str = arg("the query in Flux", name="queryStr")
    period: Duration = prop("not used")
    every: Duration = prop("how often to query")
    align: bool = flag("query at multiples of `every`")
    cron: str = prop("when to query, as a cron expression, instead of `every`")
    offset: Duration = prop("query as if it were so long ago")
    cluster: str = prop("the InfluxDB to query, by its name in the configuration")
    org: str = prop("the organization, by name")
    org_id: str = prop("the organization, by id", name="orgID")

    def start(self) -> Iterator[Diagnostic]:
        return schedule_errors(self, self.every, self.cron)


def schedule_errors(owner: Node, every: int, cron: str) -> Iterator[Diagnostic]:
    """A query runs either every so often or by a cron expression."""
    if every and cron:
        yield owner.refuse(T303, "must not set both 'every' and 'cron' properties", "leave one of them out")
    elif every < 0:
        yield owner.refuse(T304, "'every' duration must must non-negative")
    elif not every and not cron:
        yield owner.refuse(T302, "must define one of 'every' or 'cron'", "add .every(1m)")
    elif cron:
        try:
            Cron(cron)
        except CronError as error:
            yield owner.refuse(T304, str(error), "such as '*/5 * * * *'")
