"""Rows as text: Kapacitor's JSON of points and batches, and line protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tickc.runtime.batch import Array, Column, Points, Rows, Segments, Text
from tickc.runtime.gotemplate.gojson import json_string
from tickc.runtime.gotext import floats_f, floats_json, format_duration_go, times_rfc3339nano
from tickc.runtime.kinds import Kind

Writers = Mapping[Kind, Callable[[Any], Sequence[Any]]]


def values(column: Column, writers: Writers) -> list[Any]:
    """One Python value a row, None where the row lacks the field.

    writers: for each kind that can be there, from the column's data of that kind (the number of rows where a kind has
    none) to the values of all rows.
    """
    if isinstance(column.kinds, Kind):
        return _of_kind(column, column.kinds, writers)
    out: list[Any] = [None] * column.n
    for code in np.unique(column.kinds).tolist():
        some = column.take(np.flatnonzero(column.kinds == code))
        for row, value in zip(np.flatnonzero(column.kinds == code).tolist(), _of_kind(some, Kind(code), writers)):
            out[row] = value
    return out


def _of_kind(column: Column, kind: Kind, writers: Writers) -> list[Any]:
    if kind is Kind.MISSING:
        return [None] * column.n
    return list(writers[kind](column.data.get(kind, column.n)))


def coded(text: Text, write: Callable[[str], str]) -> list[str | None]:
    """`write` of the string of each row, once for each distinct one; None where it is absent."""
    table: dict[int, str | None] = {c: write(text.vocabulary.strings[c]) for c in text.used().tolist()}
    table[-1] = None
    return [table[c] for c in text.codes.tolist()]


def each(texts: Sequence[str], write: Callable[[str], str]) -> list[str]:
    """`write` of each text, once for each distinct one."""
    table = {text: write(text) for text in set(texts)}
    return [table[text] for text in texts]


def in_json(write: Callable[[str], str]) -> Callable[[str], str]:
    """What makes `write` of the JSON string of a text; `write` as in `Events.details_through`."""
    quote = write('"')
    return lambda text: quote + text + quote if _PLAIN(text) else write(json_string(text))


_PLAIN = re.compile(r"[ !#$%()*,\-./0-9:;=?@A-Z\[\]^_a-z{|}~]*").fullmatch


def joined(parts: Sequence[str | Sequence[Any]], n: int) -> list[str]:
    """n texts put together of parts, each a text that is the same in all of them, or one text for each."""
    form = "".join([part.replace("%", "%%") if isinstance(part, str) else "%s" for part in parts])
    columns = [part for part in parts if not isinstance(part, str)]
    return [form % row for row in zip(*columns)] if columns else [form % ()] * n


def whole(cells: Iterable[Sequence[Any]]) -> bool:
    """Whether there is a value in each row of all columns (see `values`)."""
    return not any(None in column for column in cells)


# --- JSON -----------------------------------------------------------------------------------------------------------

JSON_VALUES: Writers = {
    Kind.FLOAT: lambda data: floats_json(data),
    Kind.INT: lambda data: map(str, data.tolist()),  # type: ignore[dict-item,return-value]
    Kind.DURATION: lambda data: map(str, data.tolist()),  # type: ignore[dict-item,return-value]
    Kind.BOOL: lambda data: ["true" if v else "false" for v in data.tolist()],
    Kind.STRING: lambda data: coded(data, json_string),
    Kind.NIL: lambda n: ["null"] * n,
    Kind.HOLE: lambda n: ["{}"] * n,
}


def json_times(time: Array) -> list[str]:
    """RFC 3339 times, quoted. time: i8[n] ns."""
    return [f'"{t}"' for t in times_rfc3339nano(time)]


def encodable(rows: Rows) -> Array:
    """bool[n]: rows without NaN and infinity, which JSON has no form for."""
    good = np.ones(len(rows), np.bool_)
    for column in rows.fields.values():
        if Kind.FLOAT in column.data:
            bad = ~np.isfinite(column.data[Kind.FLOAT])
            good &= ~(bad if column.kinds is Kind.FLOAT else bad & column.is_kind(Kind.FLOAT))
    return good


def json_points(rows: Rows) -> list[str | None]:
    """The JSON row of each point (edge.PointMessage.ToRow): all its tags, its fields by name. None: not encodable."""
    names = sorted(rows.fields)
    heads = [json_string(name) for name in names]
    cells = [values(rows.fields[name], JSON_VALUES) for name in names]
    measurements, times, tags = coded(rows.name, json_string), json_times(rows.time), json_tags(rows)
    headers = [_header(name or "", own) for name, own in zip(measurements, tags)]
    if whole(cells):
        columns = ",".join(['"time"', *heads])
        shown = [part for column in cells for part in (",", column)]
        texts = joined([headers, f'"columns":[{columns}],"values":[[', times, *shown, "]]}"], len(rows))
    else:
        texts = []
        for row, (header, time) in enumerate(zip(headers, times)):
            there = [(h, c[row]) for h, c in zip(heads, cells) if c[row] is not None]
            columns = ",".join(['"time"', *(h for h, _ in there)])
            written = ",".join([time, *(v for _, v in there)])
            texts.append(f'{header}"columns":[{columns}],"values":[[{written}]]}}')
    good = encodable(rows)
    return list(texts) if good.all() else [text if fine else None for text, fine in zip(texts, good.tolist())]


def json_fields(rows: Rows, write: Callable[[str], str]) -> list[str]:
    """`write` of the JSON object of each row's fields (finite numbers only), `write` as in `Events.details_through`."""
    names = sorted(rows.fields)
    if not names:
        return [write("{}")] * len(rows)
    string = in_json(write)
    writers = {
        **JSON_VALUES,
        Kind.FLOAT: lambda data: [write(text) if "+" in text else text for text in map(str, floats_json(data))],
        Kind.STRING: lambda data: coded(data, string),
        Kind.HOLE: lambda n: [write("{}")] * n,
    }
    cells = [values(rows.fields[name], writers) for name in names]
    begin, comma, end = map(write, "{,}")
    heads = [write(json_string(name) + ":") for name in names]
    if whole(cells):
        members = [part for head, column in zip(heads, cells) for part in (comma + head, column)]
        return joined([begin + heads[0], *members[1:], end], len(rows))
    return [
        begin + comma.join([head + value for head, value in zip(heads, row) if value is not None]) + end
        for row in zip(*cells)
    ]


def json_batches(batch: Segments) -> list[str | None]:
    """The JSON row of each batch (edge.BufferedBatchMessage.ToRow). None: it holds what JSON cannot.

    The columns are the fields of the first point, and its tags that are not the batch's.
    """
    batch = batch.flat()
    rows = batch.rows
    fields = {name: values(column, JSON_VALUES) for name, column in rows.fields.items()}
    there = {name: column.present() for name, column in rows.fields.items()}
    tags = {name: coded(text, json_string) for name, text in rows.tags.items()}
    times = json_times(rows.time)
    bad = np.concatenate([[0], np.cumsum(~encodable(rows))])
    out: list[str | None] = []
    for j, (start, stop) in enumerate(zip(batch.start.tolist(), batch.stop.tolist())):
        group = batch.groups[int(batch.group[j])]
        head = _header(json_string(batch.name.at(j) or ""), json_object(group.tags))
        if start == stop:
            out.append(head[:-1] + "}" if len(head) > 1 else "{}")
            continue
        # a field and a tag of one name make two columns, which both show the field
        columns = sorted([n for n, is_there in there.items() if is_there[start]]
                         + [n for n, c in tags.items() if c[start] is not None and n not in group.tags])  # fmt: skip
        if bad[stop] > bad[start] and not _encodable(rows, start, stop, columns):
            out.append(None)
            continue
        lines = [
            ",".join([times[row], *(_cell(name, row, fields, tags) for name in columns)]) for row in range(start, stop)
        ]
        names = ",".join(['"time"', *map(json_string, columns)])
        out.append(f'{head}"columns":[{names}],"values":[[{"],[".join(lines)}]]}}')
    return out


def _cell(name: str, row: int, fields: dict[str, list[Any]], tags: dict[str, list[str | None]]) -> str:
    value = fields[name][row] if name in fields else None
    if value is None and name in tags:
        value = tags[name][row]
    return "null" if value is None else value


def _encodable(rows: Rows, start: int, stop: int, shown: Sequence[str]) -> bool:
    """Whether there is neither NaN nor infinity in the columns that are shown."""
    some = rows.take(slice(start, stop))
    return bool(encodable(some.with_(fields={n: some.fields[n] for n in shown if n in some.fields})).all())


def _header(name: str, tags: str) -> str:
    """The beginning of a row; Go leaves out what is empty."""
    parts = ([f'"name":{name},'] if name != '""' else []) + ([f'"tags":{tags},'] if tags != "{}" else [])
    return "{" + "".join(parts)


def json_object(tags: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{json_string(k)}:{json_string(v)}" for k, v in sorted(tags.items())) + "}"


def json_tags(rows: Rows) -> Iterator[str]:
    """The JSON object of each row's tags, those that are the same in several rows are the same text."""
    names = sorted(rows.tags)
    known: dict[tuple[str | None, ...], str] = {}
    columns = [coded(rows.tags[name], json_string) for name in names]
    if not columns:
        yield from ["{}"] * len(rows)
        return
    heads = [json_string(name) for name in names]
    for found in zip(*columns):
        text = known.get(found)
        if text is None:
            members = ",".join(f"{h}:{v}" for h, v in zip(heads, found) if v is not None)
            text = known[found] = "{" + members + "}"
        yield text


# --- line protocol --------------------------------------------------------------------------------------------------

_NAME = str.maketrans({",": "\\,", " ": "\\ "})
_TAG = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})
_FIELD = str.maketrans({",": "\\,", '"': '\\"', " ": "\\ ", "=": "\\="})
_STRING = str.maketrans({'"': '\\"', "\\": "\\\\"})


def _name(text: str) -> str:
    """models.AppendMakeKey: a name that is escaped already is not escaped once more."""
    return text.replace("\\,", ",").replace("\\ ", " ").translate(_NAME)


def _quoted(text: str) -> str:
    return f'"{text.translate(_STRING)}"'


LINE_VALUES: Writers = {
    Kind.FLOAT: lambda data: floats_f(data),
    Kind.INT: lambda data: [f"{v}i" for v in data.tolist()],
    Kind.DURATION: lambda data: [f'"{format_duration_go(v)}"' for v in data.tolist()],
    Kind.BOOL: lambda data: ["true" if v else "false" for v in data.tolist()],
    Kind.STRING: lambda data: coded(data, _quoted),
    Kind.NIL: lambda n: [""] * n,  # influxdb's client writes the name and nothing behind it
    Kind.HOLE: lambda n: ['"&{}"'] * n,  # influxdb's client prints the pointer to an empty struct
}


def lines(rows: Rows, unit: int = 1) -> list[str]:
    """The line of each point; `unit`: ns of one unit of the timestamps, which are cut towards zero."""
    fields = sorted(rows.fields)
    cells = [values(rows.fields[name], LINE_VALUES) for name in fields]
    heads = [name.translate(_FIELD) + "=" for name in fields]
    keys = [_or_empty(coded(rows.name, _name)), *(_tag_cells(t, rows.tags[t]) for t in sorted(rows.tags))]
    stamps = (np.sign(rows.time) * (np.abs(rows.time) // unit)).tolist()
    if whole(cells):
        pairs: Sequence[Any] = [part for head, column in zip(heads, cells) for part in ("," + head, column)]
        pairs = [heads[0], *pairs[1:]] if heads else []
    else:
        pairs = [[",".join([h + v for h, v in zip(heads, row) if v is not None]) for row in zip(*cells)]]
    return joined([*keys, " ", *pairs, " ", stamps], len(rows))


def _tag_cells(name: str, tags: Text) -> list[str]:
    """`,name=value` of each row; an empty value is left out."""
    head = f",{name.translate(_TAG)}="
    return _or_empty(coded(tags, lambda v: head + v.translate(_TAG) if v else ""))


def _or_empty(texts: Sequence[str | None]) -> list[str]:
    return [text or "" for text in texts]


def json_rows(batch: Points | Segments) -> list[str | None]:
    """The JSON row of each point, or of each batch."""
    return json_points(batch.rows) if isinstance(batch, Points) else json_batches(batch)
