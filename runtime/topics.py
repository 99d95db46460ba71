"""What the alerts of one graph know of each other: named topics, and which categories are inhibited."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING
from weakref import ref

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

    def apply(self) -> int:
        """Count it; returns by how much more what is inhibited is so (1, 0 or -1)."""
        on, key = self.alert.on, (self.rule, self.values)
        before = on[key] > 0
        on[key] += 1 if self.on else -1
        return (on[key] > 0) - before


UNKNOWN, INHIBITED, ALLOWED = range(3)  # what is decided on an event that was held back


class Topics:
    """What the alerts of one graph know of each other: named topics, and which categories are inhibited.

    Kapacitor's alerts run side by side, so what one sees of another depends on chance. Here an event at one input row
    sees what happened at earlier rows, and at the same row in alerts that come earlier in the graph.
    """

    def __init__(self) -> None:
        self._alerts: list[ref[Alert]] = []  # which know their topics: a graph that is not used any more goes at once
        self._deferred: list[Deferred] = []
        self._switches: list[Switch] = []
        self._places = 0

    def join(self, alert: Alert) -> int:
        """Take an alert in, in graph order; returns its number."""
        self._alerts.append(ref(alert))
        return len(self._alerts) - 1

    @property
    def alerts(self) -> list[Alert]:
        """The alerts, in graph order."""
        return [alert for known in self._alerts if (alert := known()) is not None]

    @property
    def last(self) -> Alert | None:
        """The last alert that has not failed, which is the last one to see a round."""
        return next((a for a in reversed(self.alerts) if not a.failed), None)

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

    def end(self, alert: Alert, place: int) -> None:
        """An alert has failed at a place: what it would have switched behind that is forgotten."""
        self._switches = [c for c in self._switches if c.alert is not alert or c.place <= place]

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
        switches, deferred = self._switches, self._deferred
        if not switches and not deferred:
            return
        keys = np.concatenate(
            [
                np.array([(c.place, c.alert.number, c.seq) for c in switches], np.int64).reshape(-1, 3).T,
                *(np.array([d.place, np.full(len(d.seq), d.alert.number), d.seq]) for d in deferred),
            ],
            axis=1,
        )
        edges = np.cumsum([len(switches), *(len(d.seq) for d in deferred)]).tolist()
        order = np.lexsort(keys)  # a switch stands before what has the same place
        order = order[: self._before_holds(keys[:, order])]
        verdicts = np.full(edges[-1], UNKNOWN, np.int8)
        verdicts[order] = ALLOWED
        changes = np.flatnonzero(order < len(switches)).tolist()
        on = sum(n > 0 for alert in self.alerts for n in alert.on.values())
        for start, stop in pairwise([0, *changes, len(order)]):
            if start < stop and order[start] < len(switches):
                on += switches[order[start]].apply()
                start += 1
            for event in order[start:stop].tolist() if on else ():
                k = bisect_right(edges, event) - 1
                some, i = deferred[k], event - edges[k]
                if self._inhibited(some.alert.category, some.events.tags[i]):
                    verdicts[event] = INHIBITED
        done, *of = np.split(verdicts, edges[:-1])
        for some, verdict in zip(deferred, of):
            some.alert.inhibited += int(np.count_nonzero(verdict == INHIBITED))
            last.outputs.extend(some.alert.sent(some.take(verdict == ALLOWED)))
        self._deferred = [d.take(v == UNKNOWN) for d, v in zip(deferred, of) if (v == UNKNOWN).any()]
        self._switches = [switches[i] for i in np.flatnonzero(done == UNKNOWN).tolist()]

    def _before_holds(self, keys: Array) -> int:
        """How many of the ordered keys (i8[3, n]: place, alert, seq) come before all places at which alerts hold."""
        held = min(((a.held.seq, a.number, a.held.place) for a in self.alerts if a.held is not None), default=None)
        if held is None:
            return keys.shape[1]
        place, number, seq = keys
        before = (number < held[1]) | (number == held[1]) & (place < held[2])
        return int(np.count_nonzero((seq < held[0]) | (seq == held[0]) & before))

    def _inhibited(self, category: str, tags: Mapping[str, str]) -> bool:
        return any(
            rule[0] == category and alert.on[k, tuple(tags.get(t, "") for t in rule[1:])] > 0
            for alert in self.alerts
            for k, rule in enumerate(alert.inhibit)
        )
