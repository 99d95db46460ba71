"""When the queries of a batch task run: every so often, aligned or not, or by a cron expression.

Kapacitor's rules for a range of history (batch.go, QueryNode.Queries): the first tick comes one step after the start,
and the query of a tick T asks for the points from T - offset - period to T - offset.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from itertools import islice

import numpy as np

from tickc.runtime.batch import Array
from tickc.runtime.nodes.stream import round_, truncate

END_OF_TIME = 2**63 - 1


def local_zone() -> tzinfo:
    """The zone in which cron expressions are read: that of the variable TZ, else UTC."""
    from zoneinfo import ZoneInfo

    return ZoneInfo(os.environ.get("TZ", "").removeprefix(":") or "UTC")


@dataclass(frozen=True)
class Schedule:
    """The ticks of a query. every: ns, 0 where there is a cron expression; align: at multiples of `every`."""

    every: int
    align: bool = False
    cron: str = ""

    def ticks(self, after: int, until: int, most: int) -> Array:
        """i8[k] ns: the ticks behind the tick or start `after`, up to `until` inclusive, and no more than `most`."""
        if not self.every:
            return np.fromiter(islice(self._matches(after, until), most), np.int64)
        first = after + self.every
        if self.align:
            first = int(round_(np.array([first], np.int64), self.every)[0])
        count = min(max((until - first) // self.every + 1, 0), most)
        return first + self.every * np.arange(count, dtype=np.int64)

    def _matches(self, after: int, until: int) -> Iterator[int]:
        from tickc.runtime.cron import Cron

        cron, zone = Cron(self.cron), local_zone()
        at = cron.next(after, zone)
        while at is not None and at <= until:
            yield at
            at = cron.next(at, zone)

    def reaching(self, after: int, moment: int) -> int:
        """The first tick behind `after` (a tick, or the start) not before `moment`; END_OF_TIME: there is none."""
        if not self.every:
            return next(self._matches(max(after, moment - 1), END_OF_TIME), END_OF_TIME)
        first = int(self.ticks(after, END_OF_TIME, 1)[0])
        return first + max(0, -((first - moment) // self.every)) * self.every

    def start(self, first: int) -> int:
        """Where a run starts that is not told, so that the point at `first` (ns) is in the range of the first ticks."""
        return int(truncate(np.array([first], np.int64), self.every)[0]) if self.every else first
