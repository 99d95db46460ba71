"""Templates against what Go makes of them, and the limits, speed paths and errors that are our own."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickc.runtime.gotemplate import Duration, GoTime, Missing, TemplateError, parse, set_local_zone
from tickc.runtime.gotemplate.template import Template

FIXTURES = Path(__file__).parents[1] / "fixtures" / "templates" / "templates.json.gz"

RECORD: dict[str, Any] = {
    "ID": "cpu:host=a", "Name": "cpu", "TaskName": "cpu_alert", "Group": "host=a", "Level": "CRITICAL",
    "Message": "cpu:host=a is CRITICAL", "Tags": {"host": "a", "rack": "r1"}, "Time": 1_600_000_001_000_000_000,
    "Fields": {"mean": 31.25, "n": 3, "ok": True, "who": "ann & <bob>", "took": Duration(90_000_000_000)},
    "Duration": 61_001_234_567, "ServerInfo": {"Hostname": "kap01", "ClusterID": "c-1", "ServerID": "s-2"},
}  # fmt: skip


def decoded(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "surrogateescape")


def field(kind: str, value: str) -> Any:
    match kind:
        case "float":
            return float(value)
        case "int":
            return int(value)
        case "bool":
            return value == "true"
        case "duration":
            return Duration(int(value))
        case "base64":
            return decoded(value)
        case "missing":
            return Missing()
    return None


def record(raw: dict[str, Any]) -> dict[str, Any]:
    fields = {name: field(f["type"], f["value"]) for name, f in raw["Fields"].items()}
    return {**raw, "Fields": fields, "ServerInfo": raw}


def load() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    path = os.environ.get("TICKC_TEMPLATES")
    data = json.loads(Path(path).read_bytes() if path else gzip.decompress(FIXTURES.read_bytes()))
    for fixture in data["fixtures"]:
        for key in ("text", "out", "err"):
            value = fixture.get(key, "")
            fixture[key] = decoded(value) if fixture.get("b64") else value
    return [record(raw) for raw in data["records"]], data["fixtures"]


RECORDS, CASES = load()


def outcome(fixture: dict[str, Any], render: str) -> tuple[str, str]:
    """("out", text), ("err", text) at rendering or ("parse", text)."""
    shape, html = fixture["shape"], fixture.get("html", False)
    try:
        template = parse(fixture["text"], shape, html=html, data_shape=shape)
    except TemplateError as error:
        return "parse", error.message
    try:
        data = RECORDS[fixture["data"]]
        # In a column None is a missing value, not nil.
        if render == "columns" and template.columns is not None and "Fields.nil" not in template.columns:
            return "out", template.render_columns({c: [cell(data, c)] for c in template.columns}, 1)[0]
        if render == "interpreter":
            template._prepare()
            return "out", template._interpret(data)
        return "out", template.render(data)
    except TemplateError as error:
        return "err", error.message


def cell(data: dict[str, Any], column: str) -> Any:
    table, _, key = column.partition(".")
    return data[table].get(key) if key else data[table]


@pytest.mark.parametrize("render", ["interpreter", "render", "columns"])
def test_agrees_with_go(render: str) -> None:
    assert len(CASES) >= 1500
    wrong = []
    for fixture in CASES:
        kind = "out" if not fixture["err"] else "parse" if fixture.get("parse") else "err"
        want = (kind, fixture["err"] or fixture["out"])
        got = outcome(fixture, render)
        if got != want:
            wrong.append((fixture["text"], fixture["data"], want, got))
    assert not wrong, f"{len(wrong)} of {len(CASES)} differ, first {wrong[:3]}"


@pytest.mark.parametrize("text", [
    "{{ .ID }} is {{ .Level }}",
    '{{ .ID }} is {{ .Level }} value {{ index .Fields "mean" | printf "%0.2f" }}',
    '{{ if eq .Level "CRITICAL" }}PAGE{{ else if eq .Level "OK" "INFO" }}x{{ end }} {{ printf "%.1f%%" .Fields.mean }}',
    "{{ range $k, $v := .Tags }}{{ $k }}={{ $v }};{{ end }} {{ range $k, $v := .Fields }}[{{ $k }} {{ $v }}]{{ end }}",
    '{{ .Time }} {{ .Time.Unix }} {{ .Time.Format "Mon Jan 2 15:04:05.000 2006" }} {{ .Duration.Seconds }}',
    '{{ with index .Fields "who" }}{{ . | printf "%q" }} {{ html . }} {{ js . }} {{ urlquery . }}{{ else }}-{{ end }}',
    "{{ if and (gt .Fields.mean 10.0) (lt .Fields.n 5) (not .Fields.no) }}big{{ end }} {{ len .Fields }} {{ .Fields }}",
    "{{ $x := .Fields.n }}{{ range 3 }}{{ $x = . }}{{ end }}{{ $x }} {{ print .Level 1 2 }} {{ .ServerInfo.Hostname }}",
])  # fmt: skip
def test_usual_messages_are_compiled(text: str) -> None:
    template = parse(text, "message")
    want = template._interpret(RECORD)
    compiled = template._prepare()
    assert compiled is not None and compiled.row(RECORD) == want
    columns = {c: [cell(RECORD, c)] * 3 for c in template.columns or ()}
    assert template.render_columns(columns, 3) == [want] * 3
    assert list(template.render_rows([RECORD, RECORD])) == [want, want]


@pytest.mark.parametrize("text", ["{{ json . }}", '<a href="/{{ .Name }}">{{ .Message }} {{ jsonCompact .Tags }}</a>'])
def test_usual_details_are_compiled(text: str) -> None:
    template = parse(text, "details", html=True, data_shape="details")
    got = template.render(RECORD)
    assert template._compiled is not None and template._compiled.row(RECORD) == template._interpret(RECORD) == got


def test_default_details() -> None:
    text = parse("{{ json . }}", "details", html=True, data_shape="details").render(RECORD)
    assert text.startswith("{&#34;Name&#34;:&#34;cpu&#34;,&#34;TaskName&#34;:&#34;cpu_alert&#34;,")
    assert text.endswith("&#34;Message&#34;:&#34;cpu:host=a is CRITICAL&#34;}\n")
    assert json.loads(text.replace("&#34;", '"').replace("&amp;", "&"))["Fields"]["who"] == "ann & <bob>"


def test_columns_name_only_what_is_used() -> None:
    template = parse('{{ .ID }} {{ .Fields.mean }} {{ index .Tags "host" }} {{ .ServerInfo.Hostname }}', "message")
    assert template.columns == ("ID", "Fields.mean", "Tags.host", "ServerInfo")
    assert parse("plain", "message").render_columns({}, 2) == ["plain", "plain"]
    assert parse("{{ . }}", "message").columns is None


def test_rows_that_fail_give_the_error_of_go() -> None:
    template = parse("{{ if gt .Fields.mean 10.0 }}x{{ end }}", "message")
    good = template.render_columns({"Fields.mean": [31.5, 2.0]}, 2)
    assert good == ["x", ""]
    with pytest.raises(TemplateError, match="incompatible types for comparison: int64 and float64"):
        template.render_columns({"Fields.mean": [31.5, 2]}, 2)


@pytest.mark.parametrize(("text", "message", "line"), [
    ("{{ .Level", "template: message:1: unclosed action", 1),
    ("a\n{{ . } }}", 'template: message:2: unexpected "}" in operand', 2),
    ("{{ foo }}", 'template: message:1: function "foo" not defined', 1),
    ("{{ json . }}", 'template: message:1: function "json" not defined', 1),
])  # fmt: skip
def test_parse_errors_have_a_place(text: str, message: str, line: int) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text, "message")
    assert (caught.value.message, caught.value.line) == (message, line)
    assert caught.value.offset is not None and 0 <= caught.value.offset <= len(text)


def test_run_errors_have_a_place() -> None:
    with pytest.raises(TemplateError) as caught:
        parse("é\né {{ .Missing }}", "message").render(RECORD)
    text = 'template: message:2:6: executing "message" at <.Missing>: '
    assert caught.value.message == text + "can't evaluate field Missing in type kapacitor.messageInfo"
    assert (caught.value.line, caught.value.offset) == (2, 7)


def test_html_errors_come_at_each_rendering() -> None:
    template = parse("<a href='{{ if .ID }}?{{ end }}{{ .ID }}'", "details", html=True, data_shape="details")
    for _ in range(2):
        with pytest.raises(TemplateError, match=r"html/template:details:1:34: .* in an ambiguous context within a URL"):
            template.render(RECORD)


@pytest.mark.parametrize(("text", "message"), [
    ("{{ range 1000000000 }}{{ range 1000000000 }}{{ end }}{{ end }}", "exceeded maximum number of steps"),
    ("{{ range 1000000000 }}x{{ end }}", "exceeded maximum number of steps"),
    ("{{ range 1000000000 }}{{ $x := printf \"%999999d\" 1 }}{{ end }}", "exceeded maximum number of steps"),
    ("{{ range 1000 }}" + "x" * 100_000 + "{{ end }}", "maximum size of output"),
    ('{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" }}', r"maximum template depth \(100000\)"),
    ('{{ define "a" }}{{ if 1 }}{{ template "a" . }}{{ end }}{{ end }}{{ template "a" }}', "maximum template depth"),
])  # fmt: skip
def test_limits(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        parse(text, "message").render(RECORD)


def test_nesting_has_a_limit() -> None:
    for deep in ("{{ " + "(" * 5000, "{{ if 1 }}" * 5000, "{{ range 1 }}" * 300 + "{{ end }}" * 300):
        with pytest.raises(TemplateError, match="max expression depth exceeded"):
            parse(deep, "message")
    fine = "{{ range 1 }}" * 90 + "x" + "{{ end }}" * 90
    assert parse(fine, "message").render(RECORD) == "x"
    assert parse("{{ print " + "(" * 90 + "1" + ")" * 90 + " }}", "message").render(RECORD) == "1"
    with pytest.raises(TemplateError, match="number of steps of the analysis"):
        parse(fine, "details", html=True, data_shape="details").render(RECORD)


def test_values_of_python() -> None:
    data = {**RECORD, "Time": GoTime(0), "Duration": Duration(5), "Fields": {"m": Missing(), "nil": None}}
    assert parse("{{ .Time }} {{ .Duration }}", "message").render(data) == "1970-01-01 00:00:00 +0000 UTC 5ns"
    assert parse("{{ .Fields.m }} {{ .Fields.nil }}", "message").render(data) == "{} <no value>"
    assert parse("{{ print .Fields.m .Fields.nil }}", "message").render(data) == "&{} <nil>"
    assert parse("{{ .Fields.lone }}", "message").render({**RECORD, "Fields": {"lone": "\ud800"}}) != ""
    assert parse("\ud800{{ .ID }}", "message").render(RECORD) == "\ufffdcpu:host=a"


@pytest.fixture
def berlin() -> Iterator[None]:
    set_local_zone(ZoneInfo("Europe/Berlin"))
    yield
    set_local_zone(None)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(("text", "want"), [
    ("{{ .Time.Local }}", "2020-09-13 14:26:41 +0200 CEST"),
    ('{{ .Time.Local.Format "2006-01-02T15:04:05Z07:00" }}', "2020-09-13T14:26:41+02:00"),
    ("{{ .Time.Local.Hour }} {{ .Time.Hour }} {{ .Time.Local.IsDST }}", "14 12 true"),
    ("{{ (.Time.Local.AddDate 0 4 0).Hour }} {{ .Time.Local.AddDate 0 4 0 }}", "14 2021-01-13 14:26:41 +0100 CET"),
    ('{{ printf "%#v" .Time.Local }}', "time.Date(2020, time.September, 13, 14, 26, 41, 0, time.Local)"),
    ("{{ .Time.Equal .Time.Local }} {{ eq .Time .Time.Local }}", "true false"),
])  # fmt: skip
def test_local_zone(text: str, want: str) -> None:
    assert parse(text, "message").render(RECORD) == want


# ---------------------------------------------------------------------------------------------------------- garbage

WORDS = st.sampled_from([
    "{{", "}}", "{{-", "-}}", " ", ".", ".ID", ".Fields", ".Tags", ".Time", ".Fields.mean", "$x", ":=", "=", "|", "(",
    ")", '"', '"a"', "`", "'", "if ", "else ", "end", "range ", "with ", "define ", "template ", "block ", "break",
    "continue", "printf ", '"%d"', '"%*[1]v"', "index ", "len ", "eq ", "and ", "or ", "not ", "1", "-1.5", "0x", "1i",
    "nil", "true", ",", "\n", "é", "\\", "/*", "*/", "<a href=", "<script>", "</script>", "<!--", "-->", "${", "{", "}",
    "/", "<style>", "url(", "&#x3e;", "slice ", ".Time.Format ", ".Duration", "html", "json ", "call ", "\x00",
    "\udcff", "<p ", "title=",
])  # fmt: skip


def try_out(text: str, html: bool) -> Template | None:
    shape = "details" if html else "message"
    try:
        template = parse(text, shape, html=html, data_shape=shape)
        template.render(RECORD)
    except TemplateError:
        return None
    return template


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=25).map("".join), st.booleans())
def test_garbage_gives_text_or_an_error(text: str, html: bool) -> None:
    template = try_out(text, html)
    if template is not None:
        assert template.render(RECORD) == template._interpret(RECORD)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.booleans())
def test_any_text(text: str, html: bool) -> None:
    try_out("{{" + text, html)
    try_out(text + "{{ .ID }}", html)


@settings(max_examples=200, deadline=None)
@given(st.floats(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=10))
def test_compiled_printf_agrees_with_the_interpreter(number: float, whole: int, text: str) -> None:
    data = {**RECORD, "Fields": {"a": number, "b": whole, "c": text}}
    source = (
        '{{ range $k, $v := .Fields }}{{ $v }} {{ printf "%v %.2f %+08.1f %d %5d %e %s" $v $v $v $v $v $v $v }}'
        "{{ end }} {{ .Fields }} {{ gt .Fields.a 1.5 }} {{ le .Fields.b 5 }} {{ json .Fields }}"
    )
    template = parse(source, "details", html=True, data_shape="details")
    assert template.render(data) == template._interpret(data)
