"""sideload: files, services, templates, conversions, what is missing or broken; next to a plain Python twin."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from streams import cut, fed, moved, points, segments
from web_server import serving

from tickc.runtime.builtins import EvalError
from tickc.runtime.graph import TaskFailed
from tickc.runtime.handlers import Outside
from tickc.runtime.nodes.sideload import Sideload, SideloadError, converted, load, tags_read
from tickc.runtime.settings import Endpoint, Settings

DOCUMENTS = {
    "host/a.json": {"limit": 5, "name": "first", "on": True, "nothing": None},
    "host/b.yml": {"limit": "7", "deep": {"x": 1}, "name": 2.5},
    "default.yaml": {"limit": 1.5, "name": "default", "deep": 1},
}
BOMB = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
ORDER = ("host/{{ .host }}.json", "host/{{.host}}.yml", "default.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, values in DOCUMENTS.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(json.dumps(values))  # JSON is YAML too
    (tmp_path / "README").write_text("no values")
    return tmp_path


def node(folder: Path, **options: Any) -> Sideload:
    return Sideload(name="sideload2", source=f"file://{folder}", **{"order": ORDER, **options})


def test_the_first_document_that_has_a_key_wins(folder: Path) -> None:
    given = [(i, {"host": h}, {"v": i}) for i, h in enumerate("abca")]
    sideload = node(folder, fields={"limit": 0, "name": "?", "on": False, "none": 1.5}, tags={"name": "t", "deep": "d"})
    found = fed(sideload, [points(given)])
    assert [(f["limit"], f["name"], f["on"], f["none"]) for _, _, f, _ in found] == [
        (5, "first", True, 1.5),
        (7, "2.5", False, 1.5),
        (0, "default", False, 1.5),
        (5, "first", True, 1.5),
    ]
    assert [(t["name"], t["deep"]) for _, t, _, _ in found] == [
        ("first", "1"),
        ("2.5", "d"),
        ("default", "1"),
        ("first", "1"),
    ]
    assert sideload.errors == {"failed to load key limit": 1, "failed to load key deep": 1}


def twin(given: list[Any], defaults: dict[str, Any]) -> list[Any]:
    """What each point gets, looked up one by one."""
    out = []
    for t, tags, fields in given:
        host = tags.get("host", "<no value>")
        own = {}
        for key, default in defaults.items():
            paths = [p.replace("{{ .host }}", host).replace("{{.host}}", host) for p in ORDER]
            value = next((DOCUMENTS[p][key] for p in paths if key in DOCUMENTS.get(p, {})), None)
            value = float(value) if isinstance(value, int) and not isinstance(value, bool) else value
            try:
                own[key] = default if value is None else converted(value, default)
            except EvalError:
                own[key] = default
        out.append((t, tags, {**fields, **own}))
    return out


def test_twin_with_random_cuts_and_a_snapshot(folder: Path) -> None:
    chance = random.Random(2)
    given = [(i, {"host": chance.choice("abcd"), "x": str(i % 7)} if i % 5 else {}, {"v": i}) for i in range(60)]
    defaults = {"limit": 0.5, "name": "?", "deep": 4, "nothing": "n"}
    wanted = twin(given, defaults)
    for edges in ([], list(range(60)), sorted(chance.sample(range(60), 4))):
        found = fed(node(folder, fields=defaults), cut(points(given), edges))
        assert [(t, tags, f) for t, tags, f, _ in found] == wanted
    first, second = cut(points(given), [25])
    old, new = (node(folder, fields=defaults, tags={"x": "1"}) for _ in range(2))
    assert len(fed(old, [first]) + fed(moved(old, new), [second])) == 60
    batch = segments([(9, {"host": "a"}, given[1:3]), (9, {"host": "b"}, [])])
    assert [f["limit"] for _, _, f in fed(node(folder, fields=defaults), [batch])[0][3]] == [5.0, 5.0]


def test_a_dimension_that_is_loaded_changes_the_group(folder: Path) -> None:
    sideload = node(folder, tags={"name": "t"})
    given = points([(0, {"host": "a", "name": "old"}, {"v": 1})], group_by=("host", "name"))
    assert [g for *_, g in fed(sideload, [given])] == ["host=a,name=first"]


def test_templates_that_read_any_tag(folder: Path) -> None:
    order = ("{{ range $k, $v := . }}{{ $k }}/{{ $v }}.json{{ end }}",)
    given = [(0, {"host": "a"}, {"v": 1}), (1, {"host": "a", "x": "y"}, {"v": 1})]
    found = fed(node(folder, order=order, fields={"limit": 0}), cut(points(given), [1]))
    assert [f["limit"] for _, _, f, _ in found] == [5, 0]
    assert tags_read(order) is None and tags_read(ORDER) == ("host",)
    assert tags_read(['{{ index . "a b" }}-{{.c}}', "plain"]) == ("a b", "c")


def test_a_template_that_fails_leaves_the_point_alone(folder: Path) -> None:
    order = ('{{ if eq .host "a" }}{{ index . 1 }}{{ end }}default.yaml',)
    sideload = node(folder, order=order, fields={"limit": 0.0}, tags={"name": "t"})
    given = [(0, {"host": "a", "name": "own"}, {"v": 1, "limit": "own"}), (1, {"host": "b"}, {"v": 1})]
    found = fed(sideload, [points(given)])
    assert [(f["limit"], t["name"]) for _, t, f, _ in found] == [("own", "own"), (1.5, "default")]
    assert sideload.errors == {"failed to evaluate order template": 1}


@pytest.mark.parametrize(
    "value, default, wanted",
    [
        (3.0, 0, 3), (3.5, 0, None), ("12", 0, 12), ("1.5", 0, None), (True, 0, None), (1e30, 0, None),
        (3.0, 0.5, 3.0), ("0x1p-2", 0.5, 0.25), ("x", 0.5, None), (False, 0.5, None),
        (True, False, True), ("t", False, True), ("yes", False, None), (1.0, False, None),
        (3.0, "", "3"), (1e21, "", "1000000000000000000000"), (True, "", "true"), ("s", "", "s"), ({}, "", None),
        ([], 1, None),
    ],
)  # fmt: skip
def test_conversions(value: Any, default: Any, wanted: Any) -> None:
    if wanted is None:
        with pytest.raises(EvalError):
            converted(value, default)
    else:
        assert converted(value, default) == wanted and type(converted(value, default)) is type(default)


def test_yaml_scalars_are_those_of_go(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(
        "yes: on\n2: 0x10\noct: 010\nexp: 1e3\ntime: 2001-01-01\nclock: 1:30\nnothing: ~\nlist: [1, y]\nbig: 1_000\n"
        "base: &b {x: 1}\nmerged:\n  <<: *b\n"
    )
    assert load(f"file://{tmp_path}")["a.yml"] == {
        "true": True, "2": 16.0, "oct": 8.0, "exp": 1000.0, "time": "2001-01-01", "clock": "1:30", "nothing": None,
        "list": [1.0, True], "big": 1000.0, "base": {"x": 1.0}, "merged": {"x": 1.0},
    }  # fmt: skip


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.json", "{", "failed to unmarshal json values"),
        ("a.json", "[1]", "it holds no object"),
        ("a.json", '{"a": 1e999}', "cannot unmarshal number"),
        ("a.json", '{"a": NaN}', "cannot unmarshal number"),
        ("a.json", "[" * 5000, "failed to unmarshal json values"),
        ("a.yml", "a: [", "failed to unmarshal yaml values"),
        ("a.yml", "- 1", "it holds no object"),
        ("a.yml", "a: &x [*x]", "failed to unmarshal yaml values"),
        ("a.yml", "? [1]\n: 2", "failed to unmarshal yaml values"),
        ("a.yml", BOMB, "excessive aliasing"),
        ("a.yml", "a: !!python/object/apply:os.system ['true']", "failed to unmarshal yaml values"),
        (".hidden", "", "invalid relative path"),
    ],
)
def test_a_broken_file_ends_the_task(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TaskFailed, match=f"failed to update sideload cache for source file.*{message}"):
        list(node(tmp_path).finish())


@pytest.mark.parametrize(
    "source, message",
    [
        ("file://rel/dir", 'failed to update sideload cache for source file "/dir": lstat /dir: no such file'),
        ("file:rel", "absolute"),
        ("ftp://x/", 'unsupported source scheme "ftp"'),
        ("name", "Specified endpoint does not exist: name"),
        ("http://127.0.0.1:9/", "Error fetching sideload data from http://127.0.0.1:9/ ::"),
        ("file:///x{{", ""),
    ],
)
def test_sources_that_cannot_be_had(source: str, message: str) -> None:
    with pytest.raises(SideloadError) as error:
        load(source)
    assert message in str(error.value)


def test_reload_goes_on_with_the_old_documents_where_it_fails(folder: Path) -> None:
    sideload = node(folder, fields={"limit": 0.0})
    given = points([(0, {"host": "a"}, {"v": 1})])
    assert fed(sideload, [given])[0][2]["limit"] == 5
    (folder / "host/a.json").write_text('{"limit": 6}')
    sideload.reload()
    assert fed(sideload, [given])[0][2]["limit"] == 6
    (folder / "host/a.json").write_text("{")
    with pytest.raises(SideloadError):
        sideload.reload()
    assert fed(sideload, [given])[0][2]["limit"] == 6


def test_http_source_and_an_endpoint_of_the_settings() -> None:
    given = points([(0, {"host": "a"}, {"v": 1})])
    with serving() as server:
        server.answer = b'{"h/a": {"limit": 3}, "x": null}'
        for source in (server.url, "docs"):
            sideload = Sideload(name="s", source=source, order=("h/{{.host}}",), fields={"limit": 0})
            sideload.connect(Outside(Settings({"docs": Endpoint(server.url, username="u", password="p")})))
            assert fed(sideload, [given])[0][2]["limit"] == 3
        assert server.requests[1][1]["Authorization"] == "Basic dTpw"
        for status, answer in ((500, b"{}"), (200, b"[]"), (200, b'{"a": 1}'), (200, b"{")):
            server.status, server.answer = status, answer
            with pytest.raises(SideloadError, match="Error fetching sideload data"):
                load(server.url)
