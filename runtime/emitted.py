"""What reaches the sinks of a task in one round of its graph: rows, and the texts that files of lines hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Points, Rows, Segments, Text, Vocabulary
from tickc.runtime.graph import Output
from tickc.runtime.kinds import Kind

KINDS = ("httpOut", "alert", "influxDBOut", "kapacitorLoopback")
EVENT_FIELDS = ("id", "level", "previous_level", "message", "duration")


@dataclass(frozen=True, slots=True)
class Part:
    """What an operator, which has a place in the graph, sent to a sink: n rows, i8[n] seq of the input rows that caused
    them, and the payload."""

    operator: str
    place: int
    rows: Rows
    seq: Array
    payload: Any


@dataclass(frozen=True)
class Emitted:
    """What reached one sink. Parts of several operators are mixed in the order of the input rows that caused them, and
    what one row caused in that of the operators."""

    kind: str
    name: str
    parts: Sequence[Part]

    def __len__(self) -> int:
        """How many rows there are."""
        return sum(len(p.rows) for p in self.parts)

    @cached_property
    def _order(self) -> Array | None:
        """i8[n]: the rows of all parts in their order; None where that is how they stand."""
        if len({p.place for p in self.parts}) == 1:
            return None
        return np.argsort(np.concatenate([p.seq for p in self.parts]), kind="stable")

    @cached_property
    def rows(self) -> Rows:
        """The rows, of an alert those of its events (see `event_rows`)."""
        rows = Rows.concat([p.rows for p in self.parts])
        return rows if self._order is None else rows.take(self._order)

    @property
    def emissions(self) -> int:
        """How many points, batches or events there are."""
        return sum(len(p.payload) if isinstance(p.payload, Segments) else len(p.rows) for p in self.parts)

    def json(self) -> Iterable[str]:
        """The rows as JSON, events as Kapacitor writes them. An event with a NaN or infinity has no such form."""
        return [text for text in self.json_texts if text is not None]

    def lines(self) -> Iterable[str]:
        """The rows as line protocol, with the unit of time that the script's nodes have."""
        return self.line_texts

    @cached_property
    def json_texts(self) -> list[str | None]:
        """The JSON of each row; None of one that has no such form."""
        if self.kind != "alert":
            from tickc.runtime.sinks.files import json_lines

            return [*json_lines(self.rows)]
        from tickc.runtime.results import json_events

        return self._ordered([event for p in self.parts for event in json_events(p.payload)])

    @cached_property
    def line_texts(self) -> list[str]:
        """The line of each row."""
        from tickc.runtime.rowtext import lines

        return self._ordered([line for p in self.parts for line in lines(p.rows, getattr(p.payload, "unit", 1))])

    @cached_property
    def group(self) -> Array:
        """i4[n]: the group of each row, of points and their events."""
        groups = np.concatenate([_points(p.payload).group for p in self.parts])
        return groups if self._order is None else groups[self._order]

    def _ordered(self, texts: list[Any]) -> list[Any]:
        return texts if self._order is None else [texts[i] for i in self._order.tolist()]


class Deal:
    """What reached one sink, in the `order` (i8[n]) of those whom it is dealt out to."""

    def __init__(self, whole: Emitted, order: Array) -> None:
        self.whole, self.order = whole, order

    @cached_property
    def rows(self) -> Rows:
        return self.whole.rows.take(self.order)

    @cached_property
    def json_texts(self) -> list[str | None]:
        return [self.whole.json_texts[i] for i in self.order.tolist()]

    @cached_property
    def line_texts(self) -> list[str]:
        return [self.whole.line_texts[i] for i in self.order.tolist()]


@dataclass(frozen=True, slots=True)
class Dealt:
    """The rows start <= i < stop of a deal; has the face of `Emitted` as far as sinks need it."""

    deal: Deal
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def kind(self) -> str:
        return self.deal.whole.kind

    @property
    def name(self) -> str:
        return self.deal.whole.name

    @property
    def rows(self) -> Rows:
        rows = self.deal.rows.take(slice(self.start, self.stop))
        return rows.with_(fields={name: column.normal() for name, column in rows.fields.items()})

    @property
    def emissions(self) -> int:
        return len(self)

    def json(self) -> Iterable[str]:
        return [text for text in self.deal.json_texts[self.start : self.stop] if text is not None]

    def lines(self) -> Iterable[str]:
        return self.deal.line_texts[self.start : self.stop]


Reached = Emitted | Dealt  # what reached one sink


def _points(payload: Any) -> Points:
    return payload if isinstance(payload, Points) else payload.data


def emitted(outputs: Iterable[Output]) -> list[Emitted]:
    """What the outputs of one round bring to each sink, the sink that is reached first before others."""
    sinks: dict[tuple[str, str], list[Part]] = {}
    for output in outputs:
        if output.kind in KINDS:
            for name, part in _parts(output):
                sinks.setdefault((output.kind, name), []).append(part)
    found = [Emitted(kind, name, sorted(parts, key=lambda part: part.place)) for (kind, name), parts in sinks.items()]
    return sorted(found, key=lambda e: min((int(p.seq[0]) for p in e.parts if len(p.seq)), default=0))


def _parts(output: Output) -> Iterator[tuple[str, Part]]:
    """The rows of an output, and the name of the sink for each part of it."""
    payload, by = output.payload, (output.operator, output.place)
    if output.kind == "alert":
        yield output.name, Part(*by, event_rows(payload), payload.data.seq, payload)
    elif output.kind in ("influxDBOut", "kapacitorLoopback"):
        for name, rows, seq in written(payload.rows, payload.seq):
            yield name, Part(*by, rows, seq, payload)
    elif isinstance(payload, Points):
        yield output.name, Part(*by, payload.rows, payload.seq, payload)
    else:
        flat = payload.flat()
        yield output.name, Part(*by, batch_rows(flat), flat.seq[flat.owner()], payload)


def batch_rows(batch: Segments) -> Rows:
    """The points of batches, with the tags of their groups."""
    flat = batch.flat()
    rows, owner = flat.rows, flat.owner()
    own = {name: text.take(owner) for name, text in flat.groups.tags(flat.group).items()}
    mixed = {name: _over(text, rows.tags[name]) for name, text in own.items() if name in rows.tags}
    return rows.with_(name=flat.name.take(owner), tags={**rows.tags, **own, **mixed})


def _over(upper: Text, lower: Text) -> Text:
    """`upper`, and `lower` where it is absent."""
    if not (upper.codes < 0).any():
        return upper
    words = Vocabulary()
    return Text(np.where(upper.codes < 0, lower.recode(words).codes, upper.recode(words).codes), words)


def written(rows: Rows, seq: Array) -> Iterator[tuple[str, Rows, Array]]:
    """The rows, and their seq, for each `db.rp` that they are written to."""
    databases, policies = rows.database.used().tolist(), rows.policy.used().tolist()
    for d in databases:
        for p in policies:
            name = f"{rows.database.vocabulary.strings[d]}.{rows.policy.vocabulary.strings[p]}"
            if len(databases) == len(policies) == 1:
                yield name, rows, seq
                return
            some = np.flatnonzero((rows.database.codes == d) & (rows.policy.codes == p))
            if len(some):
                yield name, rows.take(some), seq[some]


_LEVELS = Vocabulary(("OK", "INFO", "WARNING", "CRITICAL"))


def event_rows(events: Any) -> Rows:
    """Alert events as rows: the fields `id`, `level`, `previous_level`, `message` and `duration`, then the event's own.

    A tag or field of the event with one of these names is called `tag.NAME` or `field.NAME`.
    """
    data = events.data
    if isinstance(data, Points):
        name, tags = data.rows.name, data.rows.tags
    else:
        name, tags = data.name, data.groups.tags(data.group)
    fields = {
        "id": Column.of(Kind.STRING, events.id),
        "level": Column.of(Kind.STRING, Text(events.level.astype(np.int32), _LEVELS)),
        "previous_level": Column.of(Kind.STRING, Text(events.previous.astype(np.int32), _LEVELS)),
        "message": Column.of(Kind.STRING, Text.of(events.messages)),
        "duration": Column.of(Kind.DURATION, events.duration),
        **{_clear(k, "field"): v for k, v in events.point.fields.items()},
    }
    return events.point.with_(
        time=events.time, name=name, tags={_clear(k, "tag"): v for k, v in tags.items()}, fields=fields
    )


def _clear(name: str, kind: str) -> str:
    return f"{kind}.{name}" if name in EVENT_FIELDS else name
