"""What the alerts of one graph know of each other: named topics, and which categories are inhibited."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.events import Events

if TYPE_CHECKING:
    from tickc.runtime.nodes.alert import Alert


@dataclass(slots=True)
class Deferred:
    """Events of a category that some alert inhibits: they wait until all alerts are through with the round.

    ids: i4[n]; seq, place: i8[n], the input rows, and where the events stand among what the alert saw (`Topics.place`).
    """

    alert: Alert
    events: Events
    ids: Array
    seq: Array
    place: Array

    def take(self, chosen: Array) -> Deferred:
        """Some of the events (mask)."""
        if chosen.all():
            return self
        rows = np.flatnonzero(chosen)
        return Deferred(self.alert, self.events.take(rows), self.ids[rows], self.seq[rows], self.place[rows])


@dataclass(slots=True)
class Switch:
    """An inhibitor of `alert` that goes on or off at an input row; place as in `Deferred`."""

    alert: Alert
    rule: int
    values: tuple[str, ...]
    on: bool
    seq: int
    place: int


UNKNOWN, INHIBITED, ALLOWED = range(3)  # what is decided on an event that was held back


class Topics:
    """What the alerts of one graph know of each other: named topics, and which categories are inhibited.

    Kapacitor's alerts run side by side, so what one sees of another depends on chance. Here an event at one input row
    sees what happened at earlier rows, and at the same row in alerts that come earlier in the graph.
    """

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self._deferred: list[Deferred] = []
        self._switches: list[Switch] = []
        self._places = 0

    def join(self, alert: Alert) -> int:
        """Take an alert in, in graph order; returns its number."""
        self.alerts.append(alert)
        return len(self.alerts) - 1

    def sharing(self, topic: str) -> list[Alert]:
        """The alerts that send to a named topic."""
        return [a for a in self.alerts if a.topic == topic]

    def guards(self, category: str) -> bool:
        """Whether some alert inhibits events of the category."""
        return any(rule[0] == category for a in self.alerts for rule in a.inhibit)

    def place(self, n: int) -> int:
        """Number the next n points or batches that an alert sees, as one input row may bring several; the first."""
        self._places += n
        return self._places - n

    def defer(self, deferred: Deferred) -> None:
        """Hold events back until the round is over."""
        self._deferred.append(deferred)

    def switch(self, change: Switch) -> None:
        """Note that an inhibitor goes on or off."""
        self._switches.append(change)

    @property
    def guarding(self) -> bool:
        """Whether events that a topic would remember may be inhibited: what was sent is then known late."""
        return any(a.remembers and self.guards(a.category) for a in self.alerts)

    def undecided(self, alert: Alert, id: str, seq: int) -> bool:
        """Whether an event of an id that the topic of an alert would remember of rows up to `seq` is held back."""
        telling = self.sharing(alert.topic) if alert.topic else [alert]
        heard = telling[: telling.index(alert) + 1]
        return any(
            d.alert in heard and bool(np.any(d.seq[d.ids == d.alert.ids.vocabulary.find(id)] <= seq))
            for d in self._deferred
        )

    def deliver(self, last: Alert) -> None:
        """Decide on the events held back, and send them by way of the last alert; where alerts hold, on those that come
        before the rows at which they do."""
        steps: list[tuple[int, int, int, int, Any]] = [(c.seq, c.alert.number, c.place, -1, c) for c in self._switches]
        verdicts = [np.full(len(d.events), UNKNOWN, np.int8) for d in self._deferred]
        for k, deferred in enumerate(self._deferred):
            number, places = deferred.alert.number, zip(deferred.seq.tolist(), deferred.place.tolist())
            steps.extend((seq, number, place, i, k) for i, (seq, place) in enumerate(places))
        steps.sort(key=lambda step: step[:4])
        held = [(a.held.seq, a.number, a.held.place) for a in self.alerts if a.held is not None]
        known = bisect_left(steps, min(held), key=lambda step: step[:3]) if held else len(steps)
        for _, _, _, i, what in steps[:known]:
            if isinstance(what, Switch):
                what.alert.on[what.rule, what.values] += 1 if what.on else -1
            else:
                deferred = self._deferred[what]
                inhibited = self._inhibited(deferred.alert.category, deferred.events.tags[i])
                verdicts[what][i] = INHIBITED if inhibited else ALLOWED
        for deferred, verdict in zip(self._deferred, verdicts):
            deferred.alert.inhibited += int(np.count_nonzero(verdict == INHIBITED))
            last.outputs.extend(deferred.alert.sent(deferred.take(verdict == ALLOWED)))
        self._deferred = [d.take(v == UNKNOWN) for d, v in zip(self._deferred, verdicts) if (v == UNKNOWN).any()]
        self._switches = [step[-1] for step in steps[known:] if isinstance(step[-1], Switch)]

    def _inhibited(self, category: str, tags: Mapping[str, str]) -> bool:
        return any(
            rule[0] == category and alert.on[k, tuple(tags.get(t, "") for t in rule[1:])] > 0
            for alert in self.alerts
            for k, rule in enumerate(alert.inhibit)
        )
