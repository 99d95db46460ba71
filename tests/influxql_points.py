"""Points, and answers of queries over them as a server of InfluxDB and as tickc give them, in one form to compare."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgpack
import numpy as np
from influxd import Influxd

from tickc.compiler.influxql import parse
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.influxql.evaluate import Evaluator
from tickc.runtime.influxql.history import History
from tickc.runtime.influxql.text import bounded, text

Point = tuple[str, dict[str, str], dict[str, Any], int]  # measurement, tags, fields, ns
Series = dict[str, Any]
Range = tuple[int, int]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
WEEK = 7 * 86_400 * SECOND
SHARD = 1_600_041_600 * SECOND  # a Monday, at which a shard begins

REQUEST = 100  # statements that a server is asked at once


# Points


def cpu_and_disk(seed: int = 1) -> list[Point]:
    """Points of a quarter of an hour on each side of a shard's beginning: five series of `cpu` with missing tags, gaps,
    missing fields, negative numbers, equal values, all kinds of fields; `disk`, `cpu_load`, and `notags` without tags;
    and points that are written twice."""
    chance = random.Random(seed)
    hosts = [("a", "eu", "1"), ("b", "eu", "2"), ("c", "us", "1"), ("d", "", "2"), ("e", "us", "")]
    points: list[Point] = []

    def cpu(time: int, host: str, region: str, rack: str, always: bool) -> None:
        def some(share: float) -> bool:
            return always or chance.random() < share

        fields: dict[str, Any] = {}
        if some(0.9):
            fields["usage"] = round(chance.gauss(50, 30), chance.choice([0, 1, 5, 15]))
        if some(0.8):
            fields["load"] = chance.randrange(-5, 100)
        if some(0.5):
            fields["ok"] = chance.random() < 0.5
        if some(0.6):
            fields["state"] = chance.choice(["busy", "idle", "wait", "x y", ""])
        if some(0.3):
            fields["tie"] = float(chance.randrange(3))
        tags = {k: v for k, v in (("host", host), ("region", region), ("rack", rack)) if v}
        if fields:
            points.append(("cpu", tags, fields, time))

    for start in (SHARD - 900 * SECOND, SHARD):
        for host in hosts:
            cpu(start, *host, True)
        for i in (i for i in range(1, 90) if not 30 < i < 38):
            for host in hosts:
                silent = host[0] == "b" and 50 < i < 70
                if not silent and chance.random() < 0.85:
                    late = chance.randrange(3) if host[0] == "c" else 0
                    cpu(start + (i * 10 + late) * SECOND, *host, False)
        for time in range(start, start + 900 * SECOND, 15 * SECOND):
            for name in "ab":
                for path in ("/", "/var"):
                    fields = {"used": chance.randrange(10**9, 10**12), "free": chance.random(),
                              "load": chance.random() * 10}  # fmt: skip
                    points.append(("disk", {"host": name, "path": path}, fields, time))
            points.append(
                ("cpu_load", {"host": "a"}, {"load": chance.random() * 4, "usage": chance.randrange(5)}, time)
            )
            points.append(("notags", {}, {"v": chance.random(), "n": chance.randrange(100)}, time))
    again = [p for p in points if p[0] == "cpu"]
    for _ in range(60):
        name, tags, _, time = chance.choice(again)
        fields = {"usage": chance.random() * 10} if chance.random() < 0.5 else {"load": 7, "state": "again"}
        points.append((name, tags, fields, time))
    return points


def many_series(seed: int) -> list[Point]:
    """23 series in three shards, points in no order; the field `i` is of ints in some shards and of floats in another,
    `s` of texts and of bools."""
    chance = random.Random(seed)
    hosts = [(f"h{i}", chance.choice(["x", "y", "z", ""]), chance.choice(["1", "2", ""])) for i in range(23)]
    points: list[Point] = []
    for start in (SHARD - WEEK - 600 * SECOND, SHARD - 600 * SECOND, SHARD):
        for time in range(start, start + 1200 * SECOND, 10 * SECOND):
            shard = (time - SHARD) // WEEK
            for host, a, b in hosts:
                if chance.random() > 0.2:
                    continue
                fields: dict[str, Any] = {}
                if chance.random() < 0.9:
                    fields["v"] = chance.gauss(0, 1) * 10 ** chance.randrange(-3, 8)
                if chance.random() < 0.7:
                    whole = chance.randrange(-8000, 8000)
                    fields["i"] = whole / 8 if shard == -1 else whole * 100
                if chance.random() < 0.4:
                    fields["s"] = chance.choice("abcdef") if shard < 0 else chance.random() < 0.5
                if chance.random() < 0.3:
                    fields["k"] = float(chance.randrange(4))
                if fields:
                    tags = {k: v for k, v in (("host", host), ("a", a), ("b", b)) if v}
                    points.append(("m", tags, fields, time + chance.randrange(2) * 5 * SECOND))
    chance.shuffle(points)
    return points


def lines(points: Iterable[Point]) -> str:
    """The points as line protocol."""
    return "\n".join(
        f"{_key(name, tags)} {','.join(f'{_escaped(k)}={_literal(v)}' for k, v in fields.items())} {time}"
        for name, tags, fields, time in points
    )


def _key(name: str, tags: Mapping[str, str]) -> str:
    return _escaped(name) + "".join(f",{_escaped(k)}={_escaped(v)}" for k, v in sorted(tags.items()))


def _escaped(value: str) -> str:
    for c in ",= ":
        value = value.replace(c, "\\" + c)
    return value


def _literal(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return f"{value}i"
        case str():
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def rows(points: Sequence[Point], database: str = "db", policy: str = "autogen") -> Rows:
    """The points as rows."""
    n = len(points)
    tags = sorted({k for p in points for k in p[1]})
    fields = sorted({k for p in points for k in p[2]})
    return Rows(
        np.array([p[3] for p in points], np.int64),
        Text.of(p[0] for p in points),
        Text.constant(database, n),
        Text.constant(policy, n),
        {k: Text.of(p[1].get(k) for p in points) for k in tags},
        {k: Column.of_values([p[2].get(k) for p in points]) for k in fields},
    )


def history(points: Sequence[Point], database: str = "db", **options: Any) -> History:
    found = History(**options)
    found.append(rows(points, database))
    return found


# Answers


def ours(query: str | Evaluator, points: History, ranges: Sequence[Range]) -> list[list[Series]]:
    """The series of each range; the ranges ascend by their ends."""
    evaluator = Evaluator(parse(query)) if isinstance(query, str) else query
    start, stop = (np.array([r[i] for r in ranges], np.int64) for i in (0, 1))
    return series(evaluator.answer(points, start, stop), len(ranges))


def series(answer: Answer, runs: int) -> list[list[Series]]:
    """The series of an answer by range, as InfluxDB's JSON has them."""
    found: list[list[Series]] = [[] for _ in range(runs)]
    columns = [[column.at(i) for i in range(len(answer.time))] for column in answer.fields.values()]
    for j in range(len(answer)):
        values = [
            [int(answer.time[i]), *(column[i] for column in columns)] for i in range(answer.start[j], answer.stop[j])
        ]
        one: Series = {"name": answer.name.at(j), "columns": ["time", *answer.fields], "values": values}
        tags = {k: v.at(j) for k, v in answer.tags.items() if v.codes[j] >= 0}
        if tags:
            one["tags"] = tags
        found[answer.run[j]].append(one)
    return found


def theirs(
    server: Influxd, database: str, queries: Sequence[str], ranges: Sequence[Range]
) -> list[list[list[Series] | str]]:
    """What a server gives for each query and range: series with numbers as ints or floats, or the text of its error."""
    trees = [parse(query) for query in queries]
    asked = [text(bounded(tree, *one)) for tree in trees for one in ranges]
    found: list[list[Series] | str] = []
    while len(found) < len(asked):
        for answer in _answers(server, database, asked[len(found) : len(found) + REQUEST]):
            if isinstance(answer, str):  # it ends the request, and what it says is lost
                found += _answers(server, database, [asked[len(found)]])
                break
            found.append(answer)
    return [found[i : i + len(ranges)] for i in range(0, len(found), len(ranges))]


def _answers(server: Influxd, database: str, asked: Sequence[str]) -> list[list[Series] | str]:
    """The answers to statements that are asked at once, up to the first that is an error."""
    body = urlencode({"q": ";".join(asked), "db": database}).encode()
    request = Request(f"{server.address}/query", body, {"Accept": "application/x-msgpack"})
    try:
        with urlopen(request, timeout=60) as response:
            results = msgpack.unpackb(response.read(), ext_hook=_time)["results"]
    except HTTPError as error:
        results = [json.loads(error.read())]
    return [
        r["error"] if "error" in r else [{k: v for k, v in s.items() if k != "partial"} for s in r.get("series", [])]
        for r in results
    ]


def _time(code: int, data: bytes) -> int:
    """The ns of a time in InfluxDB's MessagePack."""
    assert code == 5
    return int.from_bytes(data[:8], "big", signed=True) * SECOND + int.from_bytes(data[8:], "big")
