"""Handlers of alerts in a replay and a backfill: files, servers and programs that are really there."""

from __future__ import annotations

import json
import socket
import socketserver
import stat
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from streams import rows
from web_server import serving

import tickc
from tickc.runtime import handlers
from tickc.runtime.graph import TaskFailed
from tickc.runtime.handlers import Outside, connect, reaching
from tickc.runtime.settings import Endpoint, Settings
from tickc.runtime.udf import closing

GIVEN = rows([(i, {"host": "a"}, {"v": i}) for i in range(4)])


def task(properties: str, crit: str = '"v" >= 2') -> tickc.Task:
    return tickc.compile(f"stream|from()|alert().crit(lambda: {crit}).id('e').stateChangesOnly(){properties}", name="t")


def told(compiled: tickc.Task, given: Any = GIVEN, settings: Settings | None = None, **options: Any) -> dict[str, Any]:
    """Run with handlers; what became of the events."""
    graph = compiled.build()
    outside = Outside(settings or Settings(), handlers=True, **options)
    for _ in closing(graph, reaching(graph, outside, graph.run([given]))):
        pass
    return graph.shared["handlers"].summary()


def test_nothing_is_called_by_default(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    found = task(f".log('{log}')").replay(GIVEN).to_json()
    assert len(found["alerts"][str(log)]) == 1 and not log.exists()


def test_a_log_file_is_appended_to_with_its_mode(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    compiled = task(f".log('{log}').mode(0640)")
    expected = compiled.replay(GIVEN).to_json()["alerts"][str(log)]
    assert told(compiled) == {f"log {log}": {"delivered": 1, "failed": {}}}
    told(compiled)
    assert [json.loads(line) for line in log.read_text().splitlines()] == expected * 2
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


@pytest.mark.parametrize("cuts", [[0, 12], [0, 5, 6, 12], list(range(13))])
def test_two_alerts_on_one_log_write_in_the_order_of_the_rows(tmp_path: Path, cuts: list[int]) -> None:
    log, other = tmp_path / "events.log", tmp_path / "other.log"
    script = f"""
var all = stream|from()
all|alert().id('first').crit(lambda: "v" % 2 == 0).all().log('{log}').log('{other}')
all|alert().id('second').crit(lambda: "v" % 3 == 0).log('{log}')
"""
    given = rows([(i, {"host": "a"}, {"v": i}) for i in range(12)])
    compiled = tickc.compile(script, name="t")
    graph = compiled.build()
    pieces = [given.take(slice(a, b)) for a, b in pairwise(cuts)]
    for _ in closing(graph, reaching(graph, Outside(handlers=True), graph.run(pieces))):
        pass
    events = [json.loads(line) for line in log.read_text().splitlines()]
    numbers = [(int(e["time"][-3:-1]) - 40, e["id"]) for e in events]
    assert numbers == sorted(numbers) and len({i for i, e in numbers if e == "second"}) == 8
    assert compiled.replay(pieces).to_json()["alerts"][str(log)] == events
    assert [json.loads(line) for line in other.read_text().splitlines()] == [e for e in events if e["id"] == "first"]


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    found = told(task(f".log('{tmp_path}/no/such.log')"))
    (tally,) = found.values()
    assert tally["delivered"] == 0 and "No such file" in next(iter(tally["failed"]))


def test_post() -> None:
    with serving() as server:
        found = told(task(f".post('{server.url}/hook').header('X-Key', 'k')", '"v" % 2 == 0'))
    assert found == {f"post {server.url}/hook": {"delivered": 4, "failed": {}}}
    path, headers, body = server.requests[0]
    assert (path, headers["X-Key"], headers["Content-Type"]) == ("/hook", "k", "application/json")
    assert [json.loads(b)["level"] for _, _, b in server.requests] == ["CRITICAL", "OK"] * 2
    assert json.loads(body)["id"] == "e" and len(server.connections) == 1


def test_post_to_an_endpoint_with_a_template() -> None:
    with serving() as server:
        endpoint = Endpoint(server.url, {"X-One": "1"}, alert_template="{{ .ID }} {{ .Level }} {{ .Time.Unix }}")
        told(task(".post().endpoint('e')"), settings=Settings({"e": endpoint}))
        assert "does not exist" in str(told(task(".post().endpoint('other')")))
    assert [(h["X-One"], body) for _, h, body in server.requests] == [("1", "e CRITICAL 1600000002")]


def test_post_that_is_refused() -> None:
    with serving() as server:
        server.status, server.answer = 500, b"no"
        (tally,) = told(task(f".post('{server.url}').captureResponse()")).values()
    assert tally == {"delivered": 0, "failed": {f"{server.url} answered with status 500: no": 1}}


def test_tcp() -> None:
    received: list[bytes] = []

    class Receiver(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            received.append(self.rfile.read())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        found = told(task(f".tcp('{address}')", '"v" % 2 == 0'))
        began = time.monotonic()
        while len(received) < 4 and time.monotonic() - began < 5:
            time.sleep(0.01)
        server.shutdown()
    assert found == {f"tcp {address}": {"delivered": 4, "failed": {}}}
    assert [json.loads(data)["level"] for data in received].count("OK") == 2


def test_tcp_to_nobody() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (tally,) = told(task(f".tcp('127.0.0.1:{unused.getsockname()[1]}')")).values()
    assert sum(tally["failed"].values()) == 1


def test_exec_needs_leave(tmp_path: Path) -> None:
    made = tmp_path / "made"
    script = f"import sys; open({str(made)!r}, 'a').write(sys.argv[1] + sys.stdin.read())"
    (tmp_path / "p.py").write_text(script)
    compiled = task(f".exec('{sys.executable}', '{tmp_path}/p.py', '$(x) ; y')")
    assert "--allow-exec" in str(told(compiled)) and not made.exists()
    assert told(compiled, allow_exec=True) == {f"exec {sys.executable}": {"delivered": 1, "failed": {}}}
    argument, _, event = made.read_text().partition("{")
    assert argument == "$(x) ; y" and json.loads("{" + event)["level"] == "CRITICAL"


@pytest.mark.parametrize("command, reason", [("'false'", "status 1"), ("'/no/such/program'", "No such file")])
def test_exec_that_fails(command: str, reason: str) -> None:
    (tally,) = told(task(f".exec({command})"), allow_exec=True).values()
    assert reason in next(iter(tally["failed"]))


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "EXEC_TIMEOUT", 0.1)
    (tally,) = told(task(".exec('sleep', '60')"), allow_exec=True).values()
    assert "longer" in next(iter(tally["failed"]))


def test_other_handlers_are_told_not_called() -> None:
    (tally,) = told(task(".slack()")).values()
    assert sum(tally["failed"].values()) == 1 and "not called here" in next(iter(tally["failed"]))


def test_a_slow_handler_holds_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "ROOM", 5)
    log = tmp_path / "events.log"
    given = rows([(i, {"host": "a"}, {"v": 2 * (i % 2)}) for i in range(40)])
    with serving() as server:
        server.delay = 60
        began = time.monotonic()
        found = told(task(f".log('{log}').post('{server.url}')"), given, drain=0.3)
        assert time.monotonic() - began < 5
    assert found[f"log {log}"] == {"delivered": 39, "failed": {}}
    slow = found[f"post {server.url}"]
    assert slow["delivered"] == 0 and sum(slow["failed"].values()) == 39
    assert slow["failed"]["the queue is full"] >= 33 and slow["failed"]["not delivered in time"] >= 5


def test_what_came_before_a_failure_is_delivered(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    script = f"""
        var data = stream|from()
        data|alert().crit(lambda: "v" == 0).log('{log}')
        data|combine(lambda: TRUE, lambda: TRUE).as('l', 'r').max(1)
    """
    given = rows([(i // 3, {"host": "a"}, {"v": i}) for i in range(4)])
    compiled = tickc.compile(script)
    with pytest.raises(TaskFailed, match="refusing to perform combination"):
        list(compiled.process([given], handlers=True))
    assert len(log.read_text().splitlines()) == 2


def test_a_backfill_calls_them_and_tells(tmp_path: Path) -> None:
    data, log = tmp_path / "in.lp", tmp_path / "events.log"
    data.write_text("".join(f"m v={i}i {i}000000000\n" for i in range(4)))
    compiled = task(f".log('{log}').tcp('127.0.0.1:1')")
    quiet = compiled.backfill(data, tmp_path / "out1")
    assert not log.exists() and quiet.handlers == {}
    summary = compiled.backfill(data, tmp_path / "out2", handlers=True)
    assert summary.handlers[f"log {log}"] == {"delivered": 1, "failed": {}}
    assert len(log.read_text().splitlines()) == 1
    assert any("tcp 127.0.0.1:1: 1 events were not delivered" in note for note in summary.notes)


def test_connecting_gives_settings_to_operators() -> None:
    graph = task("").build()
    assert connect(graph, Outside()) is graph.shared["handlers"]


def test_loopback_points_become_a_data_set(tmp_path: Path) -> None:
    script = "stream|from()|kapacitorLoopback().database('d').retentionPolicy('r').measurement('n').tag('k', 'x')"
    data = tmp_path / "in.lp"
    data.write_text("m,host=a v=1i 1000000000\nm,host=b v=2i 2000000000\n")
    compiled = tickc.compile(script, dbrps=[("db", "rp")])
    table = compiled.backfill(data)["d.r"]
    assert table.column("host").to_pylist() == ["a", "b"] and table.column("k").to_pylist() == ["x", "x"]
    assert compiled.replay(rows([(0, {}, {"v": 1})])).to_json() == {"sinks": {}, "alerts": {}, "writes": {}}
    with pytest.raises(Exception, match="loop detected on dbrp"):
        tickc.compile(script, dbrps=[("d", "r")])
