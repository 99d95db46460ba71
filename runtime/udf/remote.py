"""A session with an agent in another process: batches of rows as messages, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tickc.runtime.batch import Batch, Column, Groups, Points, Rows, Segments, Text
from tickc.runtime.expr import Literal
from tickc.runtime.kinds import Kind
from tickc.runtime.udf import Node, UdfError
from tickc.runtime.udf.agent import MAX_ANSWERS, Agent

PART = 8192  # answered points that are made columns at once
_MAPS = {Kind.FLOAT: "fieldsDouble", Kind.INT: "fieldsInt", Kind.STRING: "fieldsString", Kind.BOOL: "fieldsBool"}


class RemoteSession:
    """An agent at work for one node.

    What it answers to a batch comes out with it, in the order of the answers; each answered point stands where the
    point of the input does, if there are as many, else all stand where the last point does.
    """

    def __init__(self, agent: Agent, node: Node) -> None:
        self.agent = agent
        self.node = node
        self.groups = Groups()
        self.open: list[Any] = []  # messages of a batch of which the end has not come
        self.seq = 0
        try:
            self._initialise()
        except BaseException:
            agent.close()
            raise

    def _initialise(self) -> None:
        options = [{"name": name, "values": [_value(v) for v in values]} for name, values in self.node.options]
        init = {"options": options, "taskID": self.node.task, "nodeID": self.node.name}
        answer = self.agent.ask(self.agent.request(init=init), "init").init
        if not answer.success:
            raise UdfError(f"failed to initialize processes {answer.error}")

    def run(self, batch: Batch) -> Iterator[Batch]:
        seq = batch.seq
        self.seq = int(seq[-1]) if len(seq) else self.seq
        requests = _points(self.agent, batch) if isinstance(batch, Points) else _batches(self.agent, batch)
        yield from self._answered(self.agent.exchange(requests), seq)

    def finish(self) -> Iterator[Batch]:
        yield from self._answered(self.agent.rest(), np.zeros(0, np.int64))
        if self.open:
            raise UdfError("the agent ended within a batch")
        self.agent.close()

    def snapshot(self) -> Any:
        answer = self.agent.ask(self.agent.request(snapshot={}), "snapshot").snapshot
        began = [np.frombuffer(m.SerializeToString(), np.uint8) for m in self.open]
        return [self.groups, np.frombuffer(answer.snapshot, np.uint8), began]

    def restore(self, saved: Any) -> None:
        """Kapacitor udf.go: an agent that gave an empty snapshot is not asked to restore it."""
        from tickc.runtime.udf.messages import Response

        self.groups, state, began = saved
        self.open = [Response.FromString(m.tobytes()) for m in began]
        if not len(state):
            return
        answer = self.agent.ask(self.agent.request(restore={"snapshot": state.tobytes()}), "restore").restore
        if not answer.success:
            raise UdfError(f"error restoring snapshot: {answer.error}")

    def close(self) -> None:
        self.agent.close()

    # -- answers

    def _answered(self, responses: Iterator[Any], asked: np.ndarray) -> Iterator[Batch]:
        """The data of responses as batches; where the agent fails, what came before it."""
        made: list[Batch] = []
        failure: UdfError | None = None
        try:
            made.extend(self._collected(responses))
        except _Partly as partly:
            made.extend(partly.made)
            failure = partly.error
        yield from self._in_place(made, asked)
        if failure is not None:
            raise failure

    def _collected(self, responses: Iterator[Any]) -> list[Batch]:
        made: list[Batch] = []
        points: list[Any] = []
        batches: list[list[Any]] = []
        count = rows = 0
        try:
            for response in responses:
                count += 1
                if count > MAX_ANSWERS:
                    raise UdfError(f"the agent answers one batch of rows with more than {MAX_ANSWERS:,} messages")
                rows += 1
                if not self.open and response.WhichOneof("message") == "point":
                    points.append(self._checked(response, "stream").point)
                elif whole := self._batched(response):
                    batches.append(whole)
                if rows >= PART:
                    made.extend(self._made(points, batches))
                    points, batches, rows = [], [], 0
        except UdfError as error:
            raise _Partly([*made, *self._made(points, batches)], error) from error
        return [*made, *self._made(points, batches)]

    def _checked(self, response: Any, edge: str) -> Any:
        if edge != self.node.provides:
            what = "a point" if edge == "stream" else "a batch"
            raise UdfError(f"the agent sent {what}, though it provides a {self.node.provides} edge")
        return response

    def _batched(self, response: Any) -> list[Any] | None:
        """The messages of a batch that is now whole."""
        kind = response.WhichOneof("message")
        if kind == "begin":
            self.open = [self._checked(response, "batch")]
        elif kind not in ("point", "end"):
            return None  # an answer that nobody has asked for; Kapacitor logs it
        elif not self.open:
            raise UdfError("the agent sent the end of a batch that it had not begun")
        else:
            if len(self.open) > MAX_ANSWERS:
                raise UdfError(f"the agent sent a batch of more than {MAX_ANSWERS:,} points")
            self.open.append(response)
            if kind == "end":
                whole, self.open = self.open, []
                return whole
        return None

    def _made(self, points: list[Any], batches: list[list[Any]]) -> Iterator[Batch]:
        if points:
            yield _points_of(points, self.groups)
        if batches:
            yield _segments_of(batches, self.groups)

    def _in_place(self, made: list[Batch], asked: np.ndarray) -> Iterator[Batch]:
        """The answers with `seq` of the rows that they answer."""
        total = sum(len(batch) for batch in made)
        seq = asked if total == len(asked) else np.full(total, self.seq, np.int64)
        at = 0
        for batch in made:
            batch.seq[:] = seq[at : at + len(batch)]
            at += len(batch)
            yield batch


class _Partly(Exception):
    """An agent failed after it had answered something."""

    def __init__(self, made: list[Batch], error: UdfError) -> None:
        super().__init__(str(error))
        self.made, self.error = made, error


# ---------------------------------------------------------------------------------------------- from rows to messages


def _value(value: Any) -> dict[str, Any]:
    """The message of an option's value."""
    match value:
        case Literal(kind=Kind.DURATION, value=ns):
            return {"type": 4, "durationValue": ns}
        case bool():
            return {"type": 0, "boolValue": value}
        case int():
            return {"type": 1, "intValue": value}
        case float():
            return {"type": 2, "doubleValue": value}
        case str():
            return {"type": 3, "stringValue": value}
    raise TypeError(f"not a value of an option: {value!r}")


def _points(agent: Agent, batch: Points) -> Iterator[Any]:
    rows = batch.rows
    columns = zip(rows.time.tolist(), rows.name.tolist(), rows.database.tolist(), rows.policy.tolist(),
                  batch.group.tolist(), _tags(rows.tags, len(rows)), _fields(rows))  # fmt: skip
    for time, name, database, policy, g, tags, fields in columns:
        group = batch.groups[g]
        yield _request(
            agent,
            point={
                "time": time,
                "name": name or "",
                "database": database or "",
                "retentionPolicy": policy or "",
                "group": group.id,
                "dimensions": group.dims,
                "byName": group.by_name,
                "tags": tags,
                **fields,
            },
        )


def _batches(agent: Agent, batch: Segments) -> Iterator[Any]:
    batch = batch.flat()
    rows = batch.rows
    owner = batch.owner()
    own = batch.groups.tags(batch.group[owner])
    points = list(zip(rows.time.tolist(), _tags({**rows.tags, **own}, len(rows)), _fields(rows)))
    described = zip(batch.start.tolist(), batch.stop.tolist(), batch.tmax.tolist(), batch.group.tolist(),
                    batch.name.tolist())  # fmt: skip
    for start, stop, tmax, g, name in described:
        group = batch.groups[g]
        about = {"name": name or "", "group": group.id, "tags": dict(group.tags)}
        yield _request(agent, begin={**about, "size": stop - start, "byName": group.by_name})
        for time, tags, fields in points[start:stop]:
            yield _request(agent, point={"time": time, "group": group.id, "tags": tags, **fields})
        yield _request(agent, end={**about, "tmax": tmax})


def _request(agent: Agent, **message: Any) -> Any:
    try:
        return agent.request(**message)
    except ValueError as error:  # text that is not UTF-8
        raise UdfError(f"write error: {error}") from None


def _tags(tags: Mapping[str, Text], n: int) -> Iterator[dict[str, str]]:
    if not tags:
        return ({} for _ in range(n))
    names = list(tags)
    values = zip(*(tags[name].tolist() for name in names))
    return ({k: v for k, v in zip(names, row) if v is not None} for row in values)


def _fields(rows: Rows) -> list[dict[str, dict[str, Any]]]:
    """For each row the maps of its fields by type."""
    out: list[dict[str, dict[str, Any]]] = [{} for _ in range(len(rows))]
    for name, column in rows.fields.items():
        kinds = column.kinds_array()
        for kind in map(Kind, np.unique(kinds).tolist()):
            if kind is Kind.MISSING:
                continue
            if kind not in _MAPS:
                raise UdfError(f"the field {name!r} is {_WHAT.get(kind, kind.label)}, which agents cannot be sent")
            values, where = column.data[kind].tolist(), _MAPS[kind]
            chosen = range(len(rows)) if column.kinds is kind else np.flatnonzero(kinds == kind).tolist()
            for row in chosen:
                out[row].setdefault(where, {})[name] = values[row]
    return out


_WHAT = {Kind.DURATION: "a duration", Kind.NIL: "null", Kind.HOLE: "null"}


# ---------------------------------------------------------------------------------------------- from messages to rows


def _points_of(points: Sequence[Any], groups: Groups) -> Points:
    rows = _rows(points, [p.name for p in points])
    codes = [groups.code(p.name, p.byName, {d: p.tags.get(d, "") for d in p.dimensions}) for p in points]
    return Points(rows, np.array(codes, np.int32), groups, np.zeros(len(points), np.int64))


def _segments_of(batches: Sequence[Sequence[Any]], groups: Groups) -> Segments:
    ends = [batch[-1].end for batch in batches]
    points = [m.point for batch in batches for m in batch[1:-1]]
    sizes = np.array([len(batch) - 2 for batch in batches], np.int64)
    stop = np.cumsum(sizes)
    names = [end.name for batch, end in zip(batches, ends) for _ in batch[1:-1]]
    codes = [
        groups.code(end.name, batch[0].begin.byName, dict(sorted(end.tags.items())))
        for batch, end in zip(batches, ends)
    ]
    return Segments(
        rows=_rows(points, names),
        start=stop - sizes,
        stop=stop,
        tmax=np.array([end.tmax for end in ends], np.int64),
        group=np.array(codes, np.int32),
        groups=groups,
        name=Text.of(end.name for end in ends),
        seq=np.zeros(len(batches), np.int64),
    )


def _rows(points: Sequence[Any], names: Iterable[str]) -> Rows:
    fields = [{**p.fieldsString, **p.fieldsInt, **p.fieldsDouble, **p.fieldsBool} for p in points]
    tags = [dict(p.tags) for p in points]
    return Rows(
        np.array([p.time for p in points], np.int64),
        Text.of(names),
        Text.of(p.database for p in points),
        Text.of(p.retentionPolicy for p in points),
        {name: Text.of(t.get(name) for t in tags) for name in sorted({k for t in tags for k in t})},
        {name: Column.of_values([f.get(name) for f in fields]) for name in sorted({k for f in fields for k in f})},
    )
