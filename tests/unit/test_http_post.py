"""httpPost with a real server, one that refuses, and none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from streams import fed, points, rows, segments
from web_server import serving

import tickc
from tickc.runtime import web
from tickc.runtime.graph import TaskFailed
from tickc.runtime.handlers import Outside
from tickc.runtime.nodes.http_post import HttpPost
from tickc.runtime.settings import Endpoint, Settings, SettingsError, load
from tickc.runtime.web import Client, WebError

GIVEN = [(i, {"host": "a"}, {"v": i}) for i in range(4)]


def posting(settings: Settings | None = None, **options: Any) -> HttpPost:
    node = HttpPost(name="http_post2", code_field="code", **options)
    node.connect(Outside(settings or Settings(), handlers=True))
    return node


def test_points_are_posted_in_order_over_one_connection() -> None:
    with serving() as server:
        node = posting(url=server.url + "/data", headers={"X-Key": "k"})
        found = fed(node, [points(GIVEN)])
        node.close()
    assert [f for _, _, f, _ in found] == [{"v": i, "code": 200} for i in range(4)]
    assert [json.loads(body)["series"][0]["values"][0][1] for _, _, body in server.requests] == [0, 1, 2, 3]
    path, headers, body = server.requests[0]
    assert (path, headers["Content-Type"], headers["X-Key"]) == ("/data", "application/json", "k")
    assert body == (
        '{"series":[{"name":"m","tags":{"host":"a"},"columns":["time","v"],"values":[["2020-09-13T12:26:40Z",0]]}]}\n'
    )
    assert len(server.connections) == 1


def test_a_batch_is_one_post_and_its_points_get_the_code() -> None:
    with serving() as server:
        server.status, server.answer = 503, b"overloaded"
        node = posting(url=server.url, capture_response=True)
        found = fed(node, [segments([(9, {"host": "a"}, GIVEN[:2]), (9, {"host": "b"}, [])])])
    assert [f for _, _, f in found[0][3]] == [{"v": 0, "code": 503}, {"v": 1, "code": 503}]
    assert len(server.requests) == 2
    assert node.errors == {"POST returned non 2xx status code 503: overloaded": 2}


def test_nothing_is_posted_without_leave() -> None:
    with serving() as server:
        node = HttpPost(name="h", url=server.url, code_field="code")
        assert [f["code"] for _, _, f, _ in fed(node, [points(GIVEN)])] == [0] * 4
    assert not server.requests and sum(node.errors.values()) == 4


def test_an_endpoint_that_is_down_loses_no_rows_and_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        server.delay = 30
        node = posting(url=server.url, timeout=100_000_000)
        began = time.monotonic()
        found = fed(node, [points([(i, {"host": "a"}, {"v": i}) for i in range(500)])])
        assert time.monotonic() - began < 5
    assert [f for _, _, f, _ in found] == [{"v": i, "code": 0} for i in range(500)]
    assert sum(node.errors.values()) == 500
    (note,) = node.notes()
    assert note.startswith("http_post2: 500 posts failed, and what they carried went on: failed to POST data: ")
    assert len(server.requests) == web.PATIENCE


def test_a_host_is_tried_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(web.time, "monotonic", lambda: now[0])
    client = Client(1.0)
    for _ in range(web.PATIENCE):
        with pytest.raises(WebError, match="refused"):
            client.request("POST", "http://127.0.0.1:9/x")
    with pytest.raises(WebError, match="left alone"):
        client.request("POST", "http://127.0.0.1:9/x")
    now[0] += 1.5
    with pytest.raises(WebError, match="refused"):
        client.request("POST", "http://127.0.0.1:9/x")


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "http://h:99999999/", "not an address", "http://[::1"])
def test_bad_addresses_are_errors(url: str) -> None:
    with pytest.raises(WebError):
        Client(0.1).request("GET", url)


def test_templates_of_rows_and_addresses(tmp_path: Path) -> None:
    (tmp_path / "row.tmpl").write_text(
        "{{ .Name }}{{ range .Values }} {{ .v }}@{{ .time.Unix }}{{ end }} {{ json .Tags }}"
    )
    (tmp_path / "c.toml").write_text(
        '[[httppost]]\nendpoint = "e"\nurl = "URL/{{ index .Tags \\"host\\" }}"\nrow-template-file = "row.tmpl"\n'
        '[httppost.headers]\nX-One = "1"\n[httppost.basic-auth]\nusername = "u"\npassword = "p"\n'
    )
    with serving() as server:
        text = (tmp_path / "c.toml").read_text().replace("URL", server.url)
        (tmp_path / "c.toml").write_text(text)
        node = posting(load(tmp_path / "c.toml"), endpoint="e")
        fed(node, [points(GIVEN[:1])])
        fed(node, [segments([(9, {"host": "b"}, [(1, {}, {"v": 2.5}), (2, {}, {"v": 3.0})])])])
    assert [(path, body) for path, _, body in server.requests] == [
        ("/a", 'm 0@1600000000 {"host":"a"}\n'),
        ("/b", 'm 2.5@1600000001 3@1600000002 {"host":"b"}\n'),
    ]
    headers = server.requests[0][1]
    assert (headers["X-One"], headers["Authorization"], headers.get("Content-Type")) == ("1", "Basic dTpw", None)


def test_a_template_that_fails_is_counted() -> None:
    node = posting(Settings({"e": Endpoint("http://127.0.0.1:9/", row_template="{{ index .Values 7 }}")}), endpoint="e")
    assert [f["code"] for _, _, f, _ in fed(node, [points(GIVEN[:1])])] == [0]
    assert "template" in next(iter(node.errors))


def test_an_unknown_endpoint_ends_the_task() -> None:
    with pytest.raises(TaskFailed, match="endpoint 'nope' does not exist"):
        posting(endpoint="nope")


@pytest.mark.parametrize(
    "text, message",
    [
        ("[[httppost]]\nurl='x'", "must specify endpoint name"),
        ("[[httppost]]\nendpoint='x'", "must specify url"),
        ("[[httppost]]\nendpoint='x'\nurl='{{'", "unclosed action|unexpected"),
        ("[[httppost]]\nendpoint='x'\nurl='y'\nrow-template='a'\nrow-template-file='b'", "only one of"),
        ("[[httppost]]\nendpoint='x'\nurl='y'\nalert-template-file='missing'", "failed to read template file"),
        ("[[httppost]]\nendpoint='x'\nurl='y'\ncolour='b'", "no setting `colour`"),
        ("[[httppost]]\nendpoint=1\nurl='y'", "strings"),
        ("[httppost]\nendpoint='x'", "list"),
        ("not toml", "not TOML"),
    ],
)
def test_settings_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        load(tmp_path / "c.toml")


def test_a_replay_posts_when_asked() -> None:
    with serving() as server:
        task = tickc.compile(f"stream|from()|httpPost('{server.url}').codeField('c')|httpOut('x')")
        for handlers, code in ((False, 0), (True, 200)):
            found = task.replay(rows(GIVEN), handlers=handlers).to_json()["sinks"]["x"]
            assert [r["series"][0]["values"][0][1] for r in found] == [code] * 4
    assert len(server.requests) == 4
