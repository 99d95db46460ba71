"""Answers of a server to queries: their types, their order, and what is wrong with them."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from cutting_proxy import cutting
from influxd import Influxd
from influxdb_stand_in import StandIn, standing_in

from tickc.runtime.batch import Rows
from tickc.runtime.influxdb.address import parse
from tickc.runtime.influxdb.answers import InfluxDBError, column, series
from tickc.runtime.influxdb.client import Server
from tickc.runtime.influxdb.source import Points
from tickc.runtime.influxql.answer import Answer
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import SourceError, Wanted


def at(url: str) -> Server:
    return Server(parse(url, environment={}))


def shown(answer: Answer) -> list[Any]:
    """Each series: run, name, tags, and its rows: time, then (kind, value) of each field that is there."""
    names = list(answer.fields)
    found = []
    for j in range(len(answer)):
        rows = []
        for i in range(int(answer.start[j]), int(answer.stop[j])):
            cells = {}
            for name in names:
                kind = Kind(int(answer.fields[name].kinds_array()[i]))
                if kind is not Kind.MISSING:
                    cells[name] = (kind.name, answer.fields[name].at(i))
            rows.append((int(answer.time[i]), cells))
        tags = {k: v.at(j) for k, v in answer.tags.items()}
        found.append((int(answer.run[j]), answer.name.at(j), tags, rows))
    return found


def test_types_and_series(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write(
        'm,h=b i=1i,f=1,s="x",b=true 10\nm,h=a i=2i,f=2.5 10\nm,h=a i=9007199254740993i 20\nm f=-0 30\n', database
    )
    server = at(influxd.url(database))
    select = "SELECT i, f, s, b FROM m GROUP BY h"
    assert shown(server.answer(select)) == [
        (0, "m", {"h": ""}, [(30, {"f": ("FLOAT", -0.0)})]),
        (0, "m", {"h": "a"}, [(10, {"i": ("INT", 2), "f": ("FLOAT", 2.5)}), (20, {"i": ("INT", 9007199254740993)})]),
        (0, "m", {"h": "b"}, [(10, {"i": ("INT", 1), "f": ("FLOAT", 1.0), "s": ("STRING", "x"), "b": ("BOOL", True)})]),
    ]
    assert list(server.answer(select).fields) == ["i", "f", "s", "b"]
    found = shown(server.answer("SELECT count(f), sum(i), mean(f), max(f) FROM m"))
    assert found[0][3] == [
        (0, {"count": ("INT", 3), "sum": ("INT", 9007199254740996), "mean": ("FLOAT", 3.5 / 3), "max": ("FLOAT", 2.5)})
    ]


def test_empty_buckets_are_rows_without_values(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("m v=1 1\nm v=3 25\n", database)
    answer = at(influxd.url(database)).answer("SELECT mean(v) FROM m WHERE time >= 0 AND time < 30 GROUP BY time(10ns)")
    assert shown(answer)[0][3] == [(0, {"mean": ("FLOAT", 1.0)}), (10, {}), (20, {"mean": ("FLOAT", 3.0)})]


def test_no_series_is_an_answer(influxd: Influxd) -> None:
    database = influxd.database()
    answer = at(influxd.url(database)).answer("SELECT mean(v) FROM m")
    assert len(answer) == 0 and len(answer.time) == 0 and shown(answer) == []


def test_long_series_come_in_parts(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("\n".join(f"m,h={h} v={i}i {i}" for h in "ab" for i in range(25_000)), database)
    answer = at(influxd.url(database)).answer("SELECT v FROM m GROUP BY h")
    assert (answer.stop - answer.start).tolist() == [25_000, 25_000]
    assert (answer.fields["v"].only(Kind.INT) == answer.time).all()


def test_many_queries_are_answered_in_order(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("\n".join(f"m v={i} {i}" for i in range(200)), database)
    texts = [f"SELECT sum(v) FROM m WHERE time >= {i} AND time < {i + 2}" for i in range(200)]
    answers = list(at(influxd.url(database)).answers(texts))
    assert [a.run.tolist() for a in answers] == [[i] for i in range(200)]
    assert [a.fields["sum"].at(0) for a in answers] == [
        float(i + min(i + 1, 199)) if i < 199 else 199.0 for i in range(200)
    ]


def test_other_databases_and_policies(influxd: Influxd) -> None:
    one, two = influxd.database(), influxd.database()
    influxd.write("m v=1 1", one)
    influxd.write("m v=2 1", two)
    server = at(influxd.url(one))
    assert server.answer("SELECT v FROM m", two).fields["v"].at(0) == 2.0
    assert server.answer(f'SELECT v FROM "{two}"."autogen"."m"').fields["v"].at(0) == 2.0


def failing(server: Server, text: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        server.answer(text)
    return caught.value


def test_queries_that_are_refused(influxd: Influxd) -> None:
    server = at(influxd.url(influxd.database()))
    error = failing(server, "SELECT FROM m")
    assert "error parsing query: found FROM" in error.message
    influxd.write("m v=1 1", server.address.database)
    error = failing(server, "SELECT mean(v), v FROM m")
    assert error.message == "InfluxDB refuses the query: mixing aggregate and non-aggregate queries is not supported"
    assert "SELECT mean(v), v FROM m" in error.hint
    assert failing(server, "SELECT v FROM nowhere.autogen.m").message == "InfluxDB: database not found: nowhere"


def test_a_server_that_dies_between_queries(
    start_influxd: Callable[..., Influxd], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tickc.runtime.influxdb.client.TELL_AFTER", 0.2)
    influxd = start_influxd()
    database = influxd.database()
    influxd.write("\n".join(f"m v={i} {i}" for i in range(60)), database)
    answers = at(influxd.url(database)).answers([f"SELECT v FROM m WHERE time = {i}" for i in range(60)])
    found = [next(answers)]
    influxd.kill()
    threading.Timer(0.5, influxd.start).start()
    found.extend(answers)
    assert [a.fields["v"].at(0) for a in found] == list(range(60))
    assert f"waiting for InfluxDB: cannot reach InfluxDB at {influxd.address}: connection refused" in caplog.messages
    assert f"InfluxDB at {influxd.address} is back" in caplog.messages


def test_patience_ends(influxd: Influxd) -> None:
    with cutting(influxd.port) as proxy:
        proxy.cuts = [0] * 1000
        error = failing(at(f"influxdb://127.0.0.1:{proxy.port}/db?patience=200ms"), "SELECT v FROM m")
    assert "broke" in error.message and proxy.broken > 1


def test_a_server_that_does_not_answer() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = failing(at(f"influxdb://127.0.0.1:{port}/db?timeout=200ms&patience=100ms"), "SELECT v FROM m")
    assert error.message == f"http://127.0.0.1:{port} did not answer within 0.2 s"
    assert "timeout" in error.hint


# ------------------------------------------------------------------------------- what no server was seen to do


def parts(*documents: Any, form: str = "application/x-msgpack") -> list[Any]:
    pack = msgpack.packb if form.endswith("msgpack") else lambda d: json.dumps(d).encode() + b"\n"
    body = b"".join(map(pack, documents))
    chunks = [body[i : i + 7] for i in range(0, len(body), 7)]
    return list(series(chunks, form, InfluxDBError))


def part(rows: list[Any], partial: bool) -> dict[str, Any]:
    one = {"name": "m", "columns": ["time", "v"], "values": rows} | ({"partial": True} if partial else {})
    return {"results": [{"statement_id": 0, "series": [one]} | ({"partial": True} if partial else {})]}


@pytest.mark.parametrize("form", ["application/x-msgpack", "application/json"])
def test_an_answer_that_was_to_go_on_is_not_whole(form: str) -> None:
    whole = parts(part([[1, 2]], True), part([[2, 3]], False), form=form)
    assert [s.values for s in whole] == [[[1, 2]], [[2, 3]]]
    for documents in ([part([[1, 2]], True)], []):
        with pytest.raises(InfluxDBError, match="ends before it is complete") as caught:
            parts(*documents, form=form)
        assert caught.value.transient


@pytest.mark.parametrize("form", ["application/x-msgpack", "application/json"])
def test_an_answer_that_ends_within_a_document(form: str) -> None:
    pack = msgpack.packb if form.endswith("msgpack") else lambda d: json.dumps(d).encode() + b"\n"
    body = pack(part([[1, 2]], False))
    for length in range(len(body) - 1):
        with pytest.raises(InfluxDBError) as caught:
            list(series([body[:length]], form, InfluxDBError))
        assert caught.value.transient


def test_an_error_after_the_first_rows() -> None:
    with pytest.raises(InfluxDBError, match="it broke"):
        parts(part([[1, 2]], True), {"results": [{"statement_id": 0, "error": "it broke"}]})


def test_columns_of_json() -> None:
    assert column([1, 2.5, None]).kinds_array().tolist() == [Kind.INT, Kind.FLOAT, Kind.MISSING]
    assert column([1, None], Kind.FLOAT).data[Kind.FLOAT].tolist()[:1] == [1.0]
    assert column([None, None]).kinds is Kind.MISSING
    assert column([True, None, False]).present().tolist() == [True, False, True]
    with pytest.raises(OverflowError):
        column([2**63])


# ----------------------------------------------------------- versions 2 and 3, by a stand-in that knows the protocol


@pytest.fixture(params=[2, 3])
def other(request: pytest.FixtureRequest) -> Any:
    with standing_in(request.param, token="to/ken") as server:
        yield server


def test_other_versions_are_asked_with_a_token(other: StandIn) -> None:
    server = at(f"{other.url}db.rp?org=me")
    server.check()
    other.rows = [[10, 5.5, 7], [20, 6.0, None]]
    assert shown(server.answer("SELECT f, i FROM m")) == [
        (0, "m", {"host": "a"}, [(10, {"f": ("FLOAT", 5.5), "i": ("INT", 7)}), (20, {"f": ("FLOAT", 6.0)})])
    ]
    assert len(server.answer("SELECT f, i FROM m WHERE time < 5")) == 0
    query = other.queries[-1]
    assert query["db"] == "db" and query["rp"] == "rp" and query["org"] == "me" and query["epoch"] == "ns"


def test_other_versions_refuse_a_wrong_token(other: StandIn) -> None:
    with pytest.raises(SourceError, match="does not accept the login"):
        at(f"influxdb{other.version}://wrong@127.0.0.1:{other.port}/db").check()


def test_long_answers_of_other_versions(other: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documents of InfluxDB 3 stand one behind the other, without a newline."""
    monkeypatch.setattr("tickc.runtime.influxdb.client.CHUNK_ROWS", 7)
    other.rows = [[i, i + 0.5, i] for i in range(100)]
    answer = at(f"{other.url}db").answer("SELECT f, i FROM m")
    assert len(answer) == 1 and answer.time.tolist() == list(range(100))
    assert answer.fields["f"].only(Kind.FLOAT).tolist() == [i + 0.5 for i in range(100)]


@pytest.mark.parametrize("between", ["", "\n", "\r\n"])
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 10**6])
def test_documents_of_json_stand_one_behind_the_other(between: str, piece: int) -> None:
    texts = ['}{"', '} {"a', "}", '{"results"', 'a"}{"b', '\\"}{', "\n}\n{"]
    results = [
        {"series": [{"name": t, "columns": ["time", t], "values": [[i, t]]}], "partial": i + 1 < len(texts)}
        for i, t in enumerate(texts)
    ]
    whole = between.join(json.dumps({"results": [r]}, separators=(",", ":")) for r in results).encode()
    cut = [whole[i : i + piece] for i in range(0, len(whole), piece)]
    found = list(series(cut, "application/json", InfluxDBError))
    assert [(s.name, s.values) for s in found] == [(t, [[i, t]]) for i, t in enumerate(texts)]
    with pytest.raises(InfluxDBError, match="ends before it is complete"):
        list(series(cut[:-1] if piece < len(whole) else [whole[:-1]], "application/json", InfluxDBError))


def test_points_of_other_versions(other: StandIn) -> None:
    """InfluxDB 3 does not know how to ask for points without a field, so all fields are asked for."""
    other.rows = [[10, 5.0, 7], [20, None, -1]]
    server = at(f"influxdb{other.version}://to%2Fken@127.0.0.1:{other.port}/db")
    found = Points(server, Wanted(fields=["f"], measurements=["m"]))
    rows = Rows.concat(list(found))
    assert rows.time.tolist() == [10, 20]
    assert rows.policy.at(0) == "autogen" and rows.tags["host"].at(1) == "a"
    assert rows.fields["f"].kinds_array().tolist() == [Kind.FLOAT, Kind.MISSING]
    asked = [q["q"] for q in other.queries if "GROUP BY *" in q["q"]]
    assert ('SELECT "f"::field, "i"::field FROM' in asked[0]) == (other.version == 3)


@pytest.mark.parametrize("policies", [{"rp": False, "autogen": True}, {"rp": False}])
def test_tags_of_any_policy(other: StandIn, policies: dict[str, bool]) -> None:
    """InfluxDB 2 shows the tags of the default policy alone; InfluxDB 3 has databases named `db/rp`."""
    other.policies = policies
    other.rows = [[10, 5.0, 7]]
    rp = "rp" if other.version == 2 else "autogen"
    rows = Rows.concat(list(Points(at(f"{other.url}db.{rp}"), Wanted())))
    assert rows.policy.at(0) == rp and rows.tags["host"].at(0) == "a"


@pytest.mark.parametrize("tells", ["v2.7.12", "3.9.6", "unknown", ""])
def test_a_server_tells_its_version(tells: str) -> None:
    """InfluxDB 2 can be addressed as version 1, which it looks like, and has all tags nevertheless."""
    with standing_in(2, "token") as server:
        server.rows, server.tells, server.policies = [[10, 5.0, 7]], tells, {"rp": False}
        address = at(f"influxdb{'' if tells == 'v2.7.12' else '2'}://127.0.0.1:{server.port}/db.rp?token=token")
        if tells == "3.9.6":
            address.check(reads=False)
            assert address.version == 3
        else:
            rows = Rows.concat(list(Points(address, Wanted())))
            assert address.version == 2 and rows.tags["host"].at(0) == "a"


def test_what_version_2_does_not_have() -> None:
    with standing_in(2, "token") as server:
        with pytest.raises(SourceError, match="there is no database nope at http") as error:
            Points(at(f"{server.url}nope"), Wanted())
        assert "db" in error.value.hint
        with pytest.raises(SourceError, match="has no retention policy nope"):
            Points(at(f"{server.url}db.nope"), Wanted())
        server.policies = {"rp": False}
        with pytest.raises(SourceError, match="the database db has no default retention policy") as error:
            Points(at(f"{server.url}db"), Wanted())
        assert error.value.hint == "name one: db.rp"


def test_what_version_3_does_not_have() -> None:
    with standing_in(3, "token") as server, pytest.raises(SourceError, match="Database nope not found"):
        Points(at(f"{server.url}nope"), Wanted())


def test_busy_servers_are_asked_again(other: StandIn) -> None:
    other.refusals = [503, 429, 500]
    other.rows = [[1, struct.unpack("<d", b"\x01" + b"\0" * 7)[0], 0]]
    answer = at(f"influxdb{other.version}://to%2Fken@127.0.0.1:{other.port}/db").answer("SELECT f, i FROM m")
    assert answer.fields["f"].at(0) == 5e-324 and not other.refusals
    assert np.array_equal(answer.run, [0])
