"""The results of a replay: everything that left the task, as Kapacitor's JSON and line protocol."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Text
from tickc.runtime.events import LEVELS, Events
from tickc.runtime.gotemplate.gojson import json_string
from tickc.runtime.graph import Output
from tickc.runtime.nodes.sinks import Write
from tickc.runtime.rowtext import coded, each, joined, json_rows, json_times, lines


class Results:
    """Collects outputs. What JSON cannot hold (NaN, infinity) is left out, as Kapacitor's encoder refuses it.

    What several nodes send to one name stands in the order of the input rows that caused it, and, where one row caused
    several entries, of the nodes in the script; so it does not depend on how the input is batched.
    """

    def __init__(self, task: str) -> None:
        self.task = task
        self._sinks: dict[str, _Entries] = defaultdict(_Entries)
        self._alerts: dict[str, _Entries] = defaultdict(_Entries)
        self._writes: dict[str, _Entries] = defaultdict(_Entries)
        self.failure: str | None = None  # why the task ended before its input did

    def add(self, output: Output) -> None:
        """Take one output of the graph; kinds that leave no trace in the results are ignored."""
        payload = output.payload
        match output.kind:
            case "httpOut":
                entries = [None if row is None else f'{{"series":[{row}]}}' for row in json_rows(payload)]
                self._sinks[output.name].add(output, payload.seq, entries)
            case "alert":
                self._alerts[output.name].add(output, payload.data.seq, json_events(payload))
            case "influxDBOut":
                self._write(output, payload)

    def _write(self, output: Output, write: Write) -> None:
        found: dict[str, tuple[list[int], list[str | None]]] = defaultdict(lambda: ([], []))
        rows = write.rows
        for target, seq, line in zip(_targets(rows.database, rows.policy), write.seq.tolist(), lines(rows, write.unit)):
            found[target][0].append(seq)
            found[target][1].append(json_string(line))
        for target, (seqs, texts) in found.items():
            self._writes[target].add(output, np.array(seqs, np.int64), texts)

    def text(self) -> str:
        """The document as JSON text, numbers written as Go writes them; names in alphabetical order."""
        sinks, alerts, writes = map(_members, (self._sinks, self._alerts, self._writes))
        failure = "" if self.failure is None else f',"runtime_error":{json_string(self.failure)}'
        return f'{{"sinks":{{{sinks}}},"alerts":{{{alerts}}},"writes":{{{writes}}}{failure}}}'

    def to_json(self) -> dict[str, Any]:
        """The document: sinks, alerts and writes by name."""
        return json.loads(self.text())


class _Entries:
    """The JSON of what was sent to one name."""

    def __init__(self) -> None:
        self.parts: list[tuple[Output, Array, Sequence[str | None]]] = []

    def add(self, output: Output, seq: Array, texts: Sequence[str | None]) -> None:
        """Take the entries of one output, which the input rows `seq` caused; None is left out."""
        self.parts.append((output, seq, texts))

    def ordered(self) -> list[str]:
        """The entries in their order."""
        texts = [text for _, _, part in self.parts for text in part]
        if len({output.place for output, _, _ in self.parts}) > 1:
            sizes = [len(part) for _, _, part in self.parts]
            place = np.repeat([output.place for output, _, _ in self.parts], sizes)
            round = np.repeat([output.round for output, _, _ in self.parts], sizes)
            order = np.lexsort((place, round, np.concatenate([seq for _, seq, _ in self.parts])))
            texts = [texts[i] for i in order.tolist()]
        return [text for text in texts if text is not None]


def _members(entries: dict[str, _Entries]) -> str:
    found = ((name, entries[name].ordered()) for name in sorted(entries))
    return ",".join(f"{json_string(name)}:[{','.join(texts)}]" for name, texts in found if texts)


def _targets(database: Text, policy: Text) -> list[str]:
    return [f"{d or ''}.{p or ''}" for d, p in zip(database.tolist(), policy.tolist())]


def json_events(events: Events) -> list[str | None]:
    """The JSON of each event, as Kapacitor's log handler writes it; None where its data cannot be encoded."""
    rows = json_rows(events.data)
    if None in rows:
        good = iter(json_events(events.take(np.array([row is not None for row in rows]))))
        return [None if row is None else next(good) for row in rows]
    recoverable = "true" if events.recoverable else "false"
    return list(
        joined(
            ['{"id":', coded(events.id, json_string), ',"message":', each(events.messages, json_string), ',"details":"',
             events.details_through(_inner_json), '","time":', json_times(events.time), ',"duration":',
             events.duration.tolist(), ',"level":"', events.levels, '","data":{"series":[', rows,
             ']},"previousLevel":"', [LEVELS[level] for level in events.previous.tolist()],
             f'","recoverable":{recoverable}}}'],
            len(events),
        )
    )  # fmt: skip


def _inner_json(text: str) -> str:
    return json_string(text)[1:-1]
