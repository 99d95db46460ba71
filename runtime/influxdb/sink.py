"""What |influxDBOut writes, delivered to servers of InfluxDB.

Lines are collected for each database and retention policy until there are as many as the node's buffer, or its flush
interval is over, and go through a spool on the disk (see `spool`) to a thread that posts them, one batch after the
other: the order of points never changes, so of two for one moment of a series the later one stays. A batch that a
server did not confirm is posted again, which changes nothing where it had arrived. While a server is away its batches
wait and the run goes on; at the end it waits for the server, as long as the address has patience.

What a server refuses for good is counted with its words: points of the wrong type, lines that it cannot parse. What
ends the run is a refusal of all: a wrong password, no such database. The batches stay in the spool then, and the next
run delivers them first.
"""

from __future__ import annotations

import gzip
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tickc.runtime.batch import Array, Rows
from tickc.runtime.emitted import Emitted, Part, Reached
from tickc.runtime.influxdb.address import Address, named, parse
from tickc.runtime.influxdb.answers import InfluxDBError
from tickc.runtime.influxdb.client import TELL_AFTER, Server, backoff, log, quoted
from tickc.runtime.influxdb.spool import LEVEL, Spool, Target, Waiting
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.sinks import InfluxDBOut
from tickc.runtime.rowtext import encodable
from tickc.runtime.sinks.columns import OutputError

if TYPE_CHECKING:
    from tickc.runtime.backfill import Sink, SinkCount, Sinks
    from tickc.runtime.graph import Graph
    from tickc.runtime.settings import Settings

BATCH_LINES = 10_000  # of one batch at most
BATCH_CHARACTERS = 1 << 20
HERE, AWAY = 64 << 20, 4 << 30  # bytes that may wait in the spool while the server is there, and while it is away
BUFFER, INTERVAL = 1000, 10_000_000_000  # points and ns, where a node says nothing
MOST_REASONS, OTHER_REASONS = 100, "other reasons"
TICK = 1.0  # seconds between looks at the age of what is collected
REFUSED = (400, 422)  # statuses by which a server refuses points; what else is no success concerns all of them


@dataclass
class Tally:
    """What became of the points for one server.

    earlier: of those delivered, how many another run had left; rejected: reason -> points; notes: what went wrong else.
    """

    delivered: int = 0
    earlier: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def reject(self, reasons: Mapping[str, int]) -> None:
        """Count points that were not taken; what goes beyond the first hundred reasons stands together."""
        for reason, points in reasons.items():
            if points:
                known = reason in self.rejected or len(self.rejected) < MOST_REASONS
                self.rejected[reason if known else OTHER_REASONS] += points


@dataclass
class _Buffer:
    """Lines for one target, and the moment at which they are due."""

    lines: list[str] = field(default_factory=list)
    due: float = 0.0


class Writer:
    """Writes to one server, with a thread of its own; to be ended by `finish` or `abort`."""

    def __init__(self, server: Server, spool: Spool) -> None:
        self.server, self.spool = server, spool
        self.tally = Tally()
        self._earlier = len(spool)  # batches of another run
        self._buffers: dict[Target, _Buffer] = {}
        self._changed = threading.Condition()
        self._aborted = self._away = False
        self._ending: float | None = None  # since when
        self._failure: OutputError | None = None
        self._thread = threading.Thread(target=self._run, name="tickc-influxdb-writer", daemon=True)
        self._thread.start()

    def takeable(self, part: Part) -> Part:
        """The points that line protocol can hold; others, which servers refuse, are counted here.

        A server that refuses points of a batch for their types does not tell of lines that it could not parse.
        """
        good = np.ones(len(part.rows), np.bool_)
        for reason, bad in _unwritable(part.rows):
            with self._changed:
                self.tally.reject({reason: int(np.count_nonzero(bad & good))})
            good &= ~bad
        return part if good.all() else replace(part, rows=part.rows.take(good), seq=part.seq[good])

    def put(self, target: Target, lines: Sequence[str], size: int, interval: float) -> None:
        """Let lines be written, with others as soon as there are `size`, or after `interval` seconds.

        OutputError where what came before could not be written, or nothing more can wait.
        """
        with self._changed:
            self._check()
            buffer = self._buffers.setdefault(target, _Buffer())
            if not buffer.lines:
                buffer.due = time.monotonic() + interval
            buffer.lines.extend(lines)
            if len(buffer.lines) >= size:
                self._spool(target)
            if not self._changed.wait_for(self._has_room, self.server.address.patience):
                raise OutputError(f"the spool {self.spool.folder} is full, and {self.server.address.base} is away")
            self._check()

    def sync(self) -> None:
        """All lines so far are delivered, or on the disk, when this returns."""
        with self._changed:
            self._check()
            self._flush()
        self.spool.sync()

    def finish(self) -> None:
        """Wait until all is delivered; OutputError where it cannot be."""
        with self._changed:
            self._check()
            self._flush()
            self._ending = time.monotonic()
            self._changed.notify_all()
        self._thread.join()
        self.spool.close()
        self.server.close()
        self._check()

    def abort(self) -> None:
        """End at once; what was not delivered stays in the spool."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()
        self.server.close()
        self._thread.join(TICK)
        self.spool.close()

    # -- in the thread of the run

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _has_room(self) -> bool:
        return self._failure is not None or self.spool.size <= (AWAY if self._away else HERE)

    def _flush(self, moment: float | None = None) -> None:
        """Spool what is collected, or what is due at a moment."""
        for target, buffer in self._buffers.items():
            if buffer.lines and (moment is None or buffer.due <= moment):
                self._spool(target)

    def _spool(self, target: Target) -> None:
        lines, self._buffers[target].lines = self._buffers[target].lines, []
        for batch in _batches(lines):
            self.spool.put(target, batch)
        self._changed.notify_all()

    # -- in the thread that posts

    def _run(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._deliver(batch)
        except OutputError as error:
            self._fail(error)
        except Exception as error:  # whatever it is, the run hears of it
            self._fail(OutputError(f"cannot write to {self.server.address.base}: {error}"))

    def _fail(self, error: OutputError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _next(self) -> Waiting | None:
        """The batch to post, as soon as there is one; None where there will be none."""
        with self._changed:
            while not self._aborted:
                self._flush(time.monotonic())
                if (batch := self.spool.oldest()) is not None or self._ending is not None:
                    return batch
                self._changed.wait(TICK)
            return None

    def _deliver(self, batch: Waiting) -> None:
        """Post a batch until the server takes or refuses it."""
        words = self._post(batch.target, batch.body())
        rejected = self._rejected(batch.target, words, batch.points, batch.lines)
        if rejected is not None:
            self._settle(batch, rejected)

    def _rejected(
        self, target: Target, words: str | None, points: int, lines: Callable[[], Sequence[str]]
    ) -> Counter[str] | None:
        """What the server does not take of points of which it said `words`, by reason; None where the run was aborted.

        Where it takes none of them because of some, those that it does not name are posted again, else halves of them.
        """
        if words is None:
            return None
        if not refused_together(words, points):
            return refusals(words, points) if words else Counter()
        every, named = lines(), dict(_UNPARSED.findall(words))
        rejected = Counter(f"unable to parse: {named[line]}" for line in every if line in named)
        rest = [line for line in every if line not in named]
        for part in [rest] if rejected else [every[: points // 2], every[points // 2 :]]:
            body = gzip.compress("\n".join([*part, ""]).encode("utf-8", "surrogateescape"), LEVEL, mtime=0)
            found = self._rejected(target, self._post(target, body), len(part), lambda part=part: part)  # type: ignore[misc]
            if found is None:
                return None
            rejected += found
        return rejected

    def _post(self, target: Target, body: bytes) -> str | None:
        """Post until the server takes it, "", or refuses it, in its words; None where the run was aborted."""
        pauses, began, told = backoff(), time.monotonic(), False
        words: str | None = None
        while not self._aborted and words is None:
            try:
                self.server.write(body, target.database, target.policy, target.consistency)
                words = ""
            except InfluxDBError as error:
                if error.status in REFUSED:
                    words = error.reason
                    continue
                if not error.transient:
                    raise self._broken_off(error) from None
                self._wait(next(pauses), began, error)
                if not told and time.monotonic() - began >= TELL_AFTER:
                    log.warning("waiting for InfluxDB: %s", error.message)
                    told = True
        if told:
            log.warning("InfluxDB at %s is back", self.server.address.base)
        return words

    def _wait(self, pause: float, began: float, error: InfluxDBError) -> None:
        """Pause because the server has been away since `began`; OutputError where patience is over at the end."""
        with self._changed:
            self._away = True
            self._changed.wait_for(lambda: self._aborted, pause)
            patient_until = max(began, self._ending or 0.0) + self.server.address.patience
            if self._ending is not None and time.monotonic() >= patient_until:
                raise self._broken_off(error)

    def _settle(self, batch: Waiting, rejected: Counter[str]) -> None:
        """The server took the batch but for what it rejected."""
        with self._changed:
            self._away = False
            self.tally.reject(rejected)
            taken = batch.points - rejected.total()
            self.tally.delivered += taken
            if self._earlier:
                self._earlier -= 1
                self.tally.earlier += taken
            self.spool.done(batch)
            self._changed.notify_all()

    def _broken_off(self, error: InfluxDBError) -> OutputError:
        waiting = f"{self.spool.points:,} points wait in {self.spool.folder}; the next run delivers them first"
        return OutputError(f"{error.message}\n  {waiting}", error.hint)


def refusals(words: str, points: int) -> Counter[str]:
    """How many points of a batch a server did not take, by reason, as it says itself.

    InfluxDB 1.x: `partial write: REASON dropped=3`, or `unable to parse 'LINE': REASON` for each line, of which the
    others are written where it begins with `partial write`.
    """
    reasons = Counter(f"unable to parse: {reason}" for _, reason in _UNPARSED.findall(words))
    if reasons:
        return reasons if reasons.total() <= points else Counter({next(iter(reasons)): points})
    dropped = sum(map(int, _DROPPED.findall(words)))
    reason = _OUTSIDE.sub(r"\1", _DROPPED.sub("", words)).strip()
    return Counter({reason: min(dropped, points) if dropped else points})


def refused_together(words: str, points: int) -> bool:
    """Whether a server refuses points of a batch because of others: it takes none of them.

    InfluxDB 2 names the lines that it cannot parse, InfluxDB 3 the first one that it cannot take.
    """
    if words.startswith("line protocol parsing error"):
        return points > 1
    return not words.startswith("partial write") and 0 < len(_UNPARSED.findall(words)) < points


_UNPARSED = re.compile(r"unable to parse '(.*?)': (.*?)(?: dropped=\d+)?(?=\n|$)", re.DOTALL)
_DROPPED = re.compile(r" ?dropped=(\d+)")
_OUTSIDE = re.compile(r"dropped \d+ (points outside retention policy of duration \S+).*", re.DOTALL)  # then times


def _batches(lines: Sequence[str]) -> list[list[str]]:
    """Lines in order, in batches that a server takes at once."""
    batches: list[list[str]] = [[]]
    characters = 0
    for line in lines:
        if batches[-1] and (len(batches[-1]) >= BATCH_LINES or characters + len(line) > BATCH_CHARACTERS):
            batches.append([])
            characters = 0
        batches[-1].append(line)
        characters += len(line)
    return batches if lines else []


# ------------------------------------------------------------------------------------------------- sinks of a run


@dataclass(frozen=True)
class Destination:
    """Where influxDBOut writes to, and the folder of the spool."""

    address: Address
    spool: Path

    @staticmethod
    def of(
        url: str,
        settings: Settings | None,
        task: str,
        output: str | PathLike[str] | None,
        spool: str | PathLike[str] | None,
    ) -> Destination:
        """The server at `url`, with a spool beside the output, or named after the task, unless one is given."""
        beside = f"{(output and os.fspath(output).rstrip(os.sep)) or task}.spool"
        return Destination(parse(url, settings), Path(spool or beside))


@dataclass(frozen=True)
class _Way:
    """How the points of one node are written. interval: seconds."""

    writer: Writer
    consistency: str
    size: int
    interval: float


class Delivery:
    """The sinks of a run whose influxDBOut nodes write to servers; all others are those of `inner`."""

    def __init__(self, inner: Sinks, graph: Graph, to: Destination, settings: Settings | None) -> None:
        """Asks the servers whether they are there, and creates the databases that nodes want created.

        Nodes write to the address of `to`, those with a cluster to the [[influxdb]] of that name. Raises SourceError,
        OutputError and SettingsError.
        """
        from tickc.runtime.graph import operators

        self.inner, self.address = inner, to.address
        self.writers: dict[str, Writer] = {}
        nodes = [op for op in operators(graph) if isinstance(op, InfluxDBOut) and op.kind == InfluxDBOut.kind]
        addresses = {n.name: named(c, settings) if (c := n.delivery.get("cluster")) else to.address for n in nodes}
        try:
            for own in dict.fromkeys(addresses.values()):
                if own.base not in self.writers:
                    theirs = [node for node in nodes if addresses[node.name].base == own.base]
                    self.writers[own.base] = _writer(own, theirs, to.spool)
        except BaseException:
            self.abort()
            raise
        self._ways = {node.name: self._way(node, addresses[node.name]) for node in nodes}

    def _way(self, node: InfluxDBOut, address: Address) -> _Way:
        given = node.delivery
        return _Way(
            self.writers[address.base], given.get("write_consistency", ""), given.get("buffer", BUFFER),
            given.get("flush_interval", INTERVAL) / 1e9,
        )  # fmt: skip

    def open(self, count: SinkCount) -> Sink:
        """The sink for the points of influxDBOut, or that of `inner`."""
        if count.kind != InfluxDBOut.kind:
            return self.inner.open(count)
        count.file = ", ".join(self.writers)
        return self

    def write(self, emitted: Reached) -> None:
        """Take the points of influxDBOut nodes for one database and retention policy."""
        assert isinstance(emitted, Emitted)  # of tasks that write to servers nothing is dealt out
        ways: dict[_Way, list[Part]] = {}
        for part in emitted.parts:
            if len(part.rows):
                ways.setdefault(self._ways[part.operator], []).append(_in_ns(part))
        for way, found in ways.items():
            parts = [part for part in map(way.writer.takeable, found) if len(part.rows)]
            if not parts:
                continue
            rows = parts[0].rows
            database, policy = rows.database.at(0) or "", rows.policy.at(0) or ""
            if not database:
                database, policy = self.address.database, policy or self.address.policy
            if not database:
                raise OutputError(
                    "influxDBOut writes points that name no database",
                    "name it in the script, .database('…'), or behind the host in --write-to",
                )
            target = Target(database, policy, way.consistency)
            way.writer.put(target, list(replace(emitted, parts=parts).lines()), way.size, way.interval)

    def sync(self) -> None:
        """All points so far are delivered, or on the disk, when this returns."""
        for writer in self.writers.values():
            writer.sync()

    def close(self) -> None:
        """Wait until all points are delivered, and close the other sinks."""
        for writer in self.writers.values():
            writer.finish()
        self.inner.close()

    def abort(self) -> None:
        """End at once; what was not delivered stays in the spool."""
        for writer in self.writers.values():
            writer.abort()

    def summary(self) -> dict[str, dict[str, Any]]:
        """For each server the points that were delivered, and those that were refused by reason."""
        return {
            base: {"delivered": w.tally.delivered, "failed": dict(w.tally.rejected)} for base, w in self.writers.items()
        }

    def notes(self) -> Iterator[str]:
        """What the user may not expect."""
        if not self.writers:
            yield f"the script has no influxDBOut, so nothing was written to {self.address.base}"
        for base, writer in self.writers.items():
            tally = writer.tally
            yield from (f"{base}: {note}" for note in tally.notes)
            if tally.earlier:
                yield f"{base}: {tally.earlier:,} of the points delivered had been left by a run that was broken off"
            for reason, n in tally.rejected.items():
                yield f"{base} refused {n:,} points: {reason}"


def _unwritable(rows: Rows) -> Iterator[tuple[str, Array]]:
    """Reasons for which InfluxDB refuses points, and bool[n]: which."""
    if not (finite := encodable(rows)).all():
        yield "InfluxDB has neither NaN nor infinity", ~finite
    columns = rows.fields.values()
    if any(Kind.NIL in np.unique(column.kinds) for column in columns):
        yield "a field without a value", np.any([column.is_kind(Kind.NIL) for column in columns], axis=0)
    if not any(column.kinds is not Kind.MISSING and isinstance(column.kinds, Kind) for column in columns):
        yield "no field", ~np.any([np.zeros(len(rows), np.bool_), *(c.present() for c in columns)], axis=0)


def _in_ns(part: Part) -> Part:
    """The part with times that are as exact as the node's unit, in ns."""
    unit = part.payload.unit
    time = part.rows.time if unit == 1 else np.sign(part.rows.time) * (np.abs(part.rows.time) // unit) * unit
    return replace(part, rows=part.rows.with_(time=time), payload=None)


def _writer(address: Address, nodes: Sequence[InfluxDBOut], spool: Path) -> Writer:
    """The writer to a server that is there, with the databases that the nodes want created."""
    server = Server(address)
    server.check(reads=False)
    notes = [note for node in nodes if node.delivery.get("create") for note in _create(server, node)]
    databases = dict.fromkeys((n.database or address.database, n.policy or address.policy) for n in nodes)
    for database, policy in databases:
        if database:
            _look(server, database, policy)
    writer = Writer(server, Spool(spool, address.base))
    writer.tally.notes.extend(notes)
    return writer


def _create(server: Server, node: InfluxDBOut) -> Iterator[str]:
    """Create the database of a node; as in Kapacitor the task runs where that fails."""
    policy = f" WITH NAME {quoted(node.policy)}" if node.policy else ""
    try:
        server.execute(f"CREATE DATABASE {quoted(node.database)}{policy}")
    except InfluxDBError as error:
        yield f"{node.name} could not create the database {node.database}: {error.message}"


def _look(server: Server, database: str, policy: str) -> None:
    """OutputError where the server has no such database, or does not let us write to it; version 3 creates them."""
    if server.version == 3:
        return
    try:
        server.patiently(lambda: server.write(gzip.compress(b"", mtime=0), database, policy))
    except InfluxDBError as error:
        hint = "create it, or let the script do so: .create()" if "not found" in error.reason else error.hint
        raise OutputError(error.message, hint) from None
