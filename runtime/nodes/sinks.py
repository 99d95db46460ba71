"""Where data leaves a task: httpOut, influxDBOut, kapacitorLoopback."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tickc.runtime.batch import Array, Batch, Points, Rows, Segments, Text
from tickc.runtime.graph import Operator


class HttpOut(Operator):
    """Shows each point or batch under `path`, and passes it on."""

    alone = True
    sends = True

    def __init__(self, *, name: str, path: str) -> None:
        super().__init__(name=name)
        self.path = path

    def process(self, batch: Batch) -> Iterable[Batch]:
        self.send("httpOut", self.path, batch)
        yield batch

    def apart(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Write:
    """Points for InfluxDB, in order, with the database, retention policy, measurement and tags they are written with.

    unit: ns of one unit of the timestamps. seq: as in `Points`.
    """

    rows: Rows
    unit: int
    seq: Array


# models.GetPrecisionMultiplier of InfluxDB 1.9: other texts, "us" among them, leave nanoseconds
UNITS = {"u": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_GO_DURATION = re.compile(r"1(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h)(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*")


def precision_unit(precision: str) -> int | None:
    """ns of one unit of timestamps; None where Kapacitor refuses to write (`1<precision>` is no duration of Go)."""
    if not _GO_DURATION.fullmatch("1" + (precision or "ns")):
        return None
    return UNITS.get(precision, 1)


class InfluxDBOut(Operator):
    """Writes points to InfluxDB; nothing comes behind it.

    Kapacitor influxdb_out.go: a point is written to its own database and policy unless the node names them, a batch
    only to those that the node names; tags of the node win over tags of the point.
    """

    kind = "influxDBOut"
    alone = True
    sends = True

    def __init__(
        self,
        *,
        name: str,
        database: str = "",
        policy: str = "",
        measurement: str = "",
        precision: str = "",
        tags: Mapping[str, str] = {},
        **delivery: Any,
    ) -> None:
        """delivery: cluster, write consistency, buffer size and the like, which only a writer to a server heeds."""
        super().__init__(name=name)
        self.database, self.policy, self.measurement = database, policy, measurement
        self.unit = precision_unit(precision)
        self.tags = dict(tags)
        self.delivery = delivery

    def points(self, batch: Points) -> Iterable[Batch]:
        self._write(batch.rows, batch.seq)
        return ()

    def segments(self, batch: Segments) -> Iterable[Batch]:
        batch = batch.flat()
        n = len(batch.rows)
        nowhere = Text.constant("", n)
        owner = batch.owner()
        rows = batch.rows.with_(name=batch.name.take(owner), database=nowhere, policy=nowhere)
        self._write(rows, batch.seq[owner])
        return ()

    def _write(self, rows: Rows, seq: Array) -> None:
        n = len(rows)
        if self.unit is None:
            self.errors["failed to write points to InfluxDB: precision is not a duration unit"] += n
            return
        if not n:
            return
        own = {"database": self.database, "policy": self.policy, "name": self.measurement}
        changes: dict[str, Any] = {k: Text.constant(v, n) for k, v in own.items() if v}
        if self.tags:
            changes["tags"] = {**rows.tags, **{k: Text.constant(v, n) for k, v in self.tags.items()}}
        self.send(self.kind, f"{self.database}.{self.policy}", Write(rows.with_(**changes), self.unit, seq))


class KapacitorLoopback(InfluxDBOut):
    """Hands points back to the streams of a server, under another database and retention policy.

    Kapacitor kapacitor_loopback.go: the points of a batch keep their batch's name, whatever the node says.
    """

    kind = "kapacitorLoopback"

    def __init__(
        self, *, name: str, database: str, policy: str, measurement: str = "", tags: Mapping[str, str] = {}
    ) -> None:
        super().__init__(name=name, database=database, policy=policy, measurement=measurement, tags=tags)

    def segments(self, batch: Segments) -> Iterable[Batch]:
        named, self.measurement = self.measurement, ""
        made = super().segments(batch)
        self.measurement = named
        return made
