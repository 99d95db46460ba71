"""What is posted of data: rows as JSON or as the template of an endpoint has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tickc.runtime.batch import Points, Rows, Segments
from tickc.runtime.gotemplate import Duration, GoTime, Missing, TemplateError
from tickc.runtime.gotemplate.values import ANY_MAP, MAPS, STRING, STRING_MAP, Maps, MapValue, Struct, struct
from tickc.runtime.kinds import Kind
from tickc.runtime.rowtext import Writers, json_rows, values
from tickc.runtime.settings import Endpoint
from tickc.runtime.web import Client

ROW = struct("kapacitor.mappedRow", ("Name", STRING), ("Tags", STRING_MAP), ("Values", MAPS))
_NIL: Any = object()
_VALUES: Writers = {
    Kind.FLOAT: lambda data: data.tolist(),
    Kind.INT: lambda data: data.tolist(),
    Kind.DURATION: lambda data: [Duration(v) for v in data.tolist()],
    Kind.BOOL: lambda data: data.tolist(),
    Kind.STRING: lambda data: data.tolist(),
    Kind.NIL: lambda n: [_NIL] * n,
    Kind.HOLE: lambda n: [Missing()] * n,
}


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out in one POST."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class Posts:
    """Makes and sends the requests for points or batches."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str], timeout: float) -> None:
        """headers win over those of the endpoint; timeout: seconds."""
        self.endpoint = endpoint
        kind = {} if endpoint.row else {"Content-Type": "application/json"}
        self.headers = {**endpoint.all_headers(), **kind, **headers}
        self.client = Client(timeout)

    def requests(self, batch: Points | Segments) -> Iterator[Request | str]:
        """The request for each point or batch; a text where it cannot be made."""
        address, row = self.endpoint.address, self.endpoint.row
        texts = json_rows(batch) if row is None else [""] * len(batch)
        records = iter([None] * len(batch)) if row is None and address.constant else mapped_rows(batch)
        for text, record in zip(texts, records):
            if text is None:
                yield "failed to marshal row data json"
                continue
            try:
                body = row.render(record) if row is not None else f'{{"series":[{text}]}}\n'
                yield Request(address.render(record), body.encode("utf-8", "surrogateescape"), self.headers)
            except TemplateError as error:
                yield f"failed to execute template: {error}"

    def send(self, request: Request) -> tuple[int, bytes]:
        """The status and body of the answer; raises WebError."""
        return self.client.request("POST", request.url, request.body, request.headers)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


def mapped_rows(batch: Points | Segments) -> Iterator[Struct]:
    """What templates see of each point or batch: .Name, .Tags and .Values, a map for each of its rows."""
    if isinstance(batch, Points):
        rows, names = batch.rows, batch.rows.name.tolist()
        for name, own, tags in zip(names, _maps(rows), _tags(rows)):
            yield Struct(ROW, {"Name": name or "", "Tags": tags, "Values": Maps([MapValue(ANY_MAP, own)])})
        return
    batch = batch.flat()
    maps = [{**tags, **own} for tags, own in zip(_tags(batch.rows), _maps(batch.rows))]
    for j, (start, stop) in enumerate(zip(batch.start.tolist(), batch.stop.tolist())):
        group = batch.groups[int(batch.group[j])].tags
        shown = [k for k in maps[start] if k not in group] if stop > start else []
        found = [MapValue(ANY_MAP, {k: m.get(k) for k in shown}) for m in maps[start:stop]]
        yield Struct(ROW, {"Name": batch.name.at(j) or "", "Tags": group, "Values": Maps(found)})


def _maps(rows: Rows) -> Iterator[dict[str, Any]]:
    columns = [(name, values(column, _VALUES)) for name, column in rows.fields.items()]
    for i, time in enumerate(rows.time.tolist()):
        found = {name: None if c[i] is _NIL else c[i] for name, c in columns if c[i] is not None}
        yield {"time": GoTime(time), **found}


def _tags(rows: Rows) -> Iterator[dict[str, str]]:
    columns = [(name, text.tolist()) for name, text in rows.tags.items()]
    for i in range(len(rows)):
        yield {name: v for name, c in columns if (v := c[i]) is not None}
