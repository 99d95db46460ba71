"""The results of a replay: everything that left the task, as Kapacitor's JSON and line protocol."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tickc.runtime.batch import Text
from tickc.runtime.events import LEVELS, Events
from tickc.runtime.gotemplate.gojson import json_string
from tickc.runtime.graph import Output
from tickc.runtime.nodes.sinks import Write
from tickc.runtime.rowtext import json_rows, json_times, lines


class Results:
    """Collects outputs. What JSON cannot hold (NaN, infinity) is left out, as Kapacitor's encoder refuses it."""

    def __init__(self, task: str) -> None:
        self.task = task
        self._sinks: dict[str, list[str]] = defaultdict(list)
        self._alerts: dict[str, list[str]] = defaultdict(list)
        self._writes: dict[str, list[str]] = defaultdict(list)
        self.failure: str | None = None  # why the task ended before its input did

    def add(self, output: Output) -> None:
        """Take one output of the graph; kinds that leave no trace in the results are ignored."""
        match output.kind:
            case "httpOut":
                found = (f'{{"series":[{row}]}}' for row in json_rows(output.payload) if row is not None)
                _extend(self._sinks, output.name, found)
            case "alert":
                found = (event for event in json_events(output.payload) if event is not None)
                _extend(self._alerts, output.name, found)
            case "influxDBOut":
                self._write(output.payload)

    def _write(self, write: Write) -> None:
        rows = write.rows
        for target, line in zip(_targets(rows.database, rows.policy), lines(rows, write.unit)):
            self._writes[target].append(line)

    def text(self) -> str:
        """The document as JSON text, numbers written as Go writes them."""
        sinks, alerts = _members(self._sinks), _members(self._alerts)
        writes = ",".join(f"{json_string(k)}:[{','.join(map(json_string, v))}]" for k, v in self._writes.items())
        failure = "" if self.failure is None else f',"runtime_error":{json_string(self.failure)}'
        return f'{{"sinks":{{{sinks}}},"alerts":{{{alerts}}},"writes":{{{writes}}}{failure}}}'

    def to_json(self) -> dict[str, Any]:
        """The document: sinks, alerts and writes by name, each in the order in which it came."""
        return json.loads(self.text())


def _extend(where: dict[str, list[str]], name: str, found: Iterable[str]) -> None:
    entries = list(found)
    if entries:
        where[name].extend(entries)


def _members(lists: dict[str, list[str]]) -> str:
    return ",".join(f"{json_string(name)}:[{','.join(entries)}]" for name, entries in lists.items())


def _targets(database: Text, policy: Text) -> list[str]:
    return [f"{d or ''}.{p or ''}" for d, p in zip(database.tolist(), policy.tolist())]


def json_events(events: Events) -> list[str | None]:
    """The JSON of each event, as Kapacitor's log handler writes it; None where its data cannot be encoded."""
    rows = json_rows(events.data)
    times = json_times(events.time)
    recoverable = "true" if events.recoverable else "false"
    out: list[str | None] = []
    for i, (id, message, details) in enumerate(zip(events.id.tolist(), events.messages, events.details)):
        if rows[i] is None:
            out.append(None)
            continue
        out.append(
            f'{{"id":{json_string(id or "")},"message":{json_string(message)},"details":{json_string(details)},'
            f'"time":{times[i]},"duration":{events.duration[i]},"level":"{events.levels[i]}",'
            f'"data":{{"series":[{rows[i]}]}},"previousLevel":"{LEVELS[events.previous[i]]}",'
            f'"recoverable":{recoverable}}}'
        )
    return out
