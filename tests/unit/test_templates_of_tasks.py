"""Templates of tasks: their definition without values, files of variables, and the errors of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tickc.compiler import check_script, compile_script
from tickc.compiler.diagnostics import Source, TickError
from tickc.variables import TaskFile, VariablesError, read

TYPES = ("int", "float", "bool", "string", "regex", "duration", "lambda", "list", "star")
TEMPLATE = """
// Which measurement to read
var measurement string
var where_filter = lambda: TRUE
var groups = [*]
var field string
var window = 5m
var crit lambda
var name_is regex
var every duration
var tags list
var all star
var scale = 1.0
var on bool

stream
    |from()
        .measurement(measurement)
        .where(where_filter)
        .where(lambda: "name" =~ name_is)
        .groupBy(tags)
    |window()
        .period(window)
        .every(every)
    |mean(field)
    |eval(lambda: "mean" * scale)
        .as('mean')
    |alert()
        .crit(crit)
"""
VARS: dict[str, Any] = {
    "measurement": {"type": "string", "value": "cpu"},
    "where_filter": {"type": "lambda", "value": "\"cpu\" == 'cpu-total'"},
    "groups": {"type": "list", "value": [{"type": "string", "value": "host"}, {"type": "star", "value": ""}]},
    "field": {"type": "string", "value": "usage"},
    "window": {"type": "duration", "value": "1m"},
    "crit": {"type": "lambda", "value": '"mean" > 90.0'},
    "name_is": {"type": "regex", "value": "^web"},
    "every": {"type": "duration", "value": 60_000_000_000},
    "tags": {"type": "list", "value": [{"type": "string", "value": "host"}]},
    "all": {"type": "star", "value": "*"},
    "scale": {"type": "float", "value": 2},
    "on": {"type": "bool", "value": True},
    "not_declared": {"type": "int", "value": 3},
}


def defined(script: str, vars: Any = None) -> None:
    """Check a script as the definition of a template."""
    check_script(Source(script), vars, template=True)


def mistakes(script: str, vars: Any = None, *, template: bool = False) -> list[str]:
    with pytest.raises(TickError) as caught:
        check_script(Source(script), vars, template=template)
    return [d.message for d in caught.value.diagnostics]


# --------------------------------------------------------------------------------------------------------- definitions


def test_a_template_needs_no_values() -> None:
    defined(TEMPLATE)
    assert mistakes(TEMPLATE)[0] == 'missing value for var "measurement".'


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_a_zero(kind: str) -> None:
    defined(f"var x {kind}\nstream|from()")


def test_zeros_are_of_their_types() -> None:
    defined(
        "var d duration\nvar i int\nvar f float\nvar s string\nvar b bool\n"
        "stream|from().truncate(d).measurement(s)|sample(i)|percentile('v', f)|barrier().idle(10s).delete(b)"
    )
    [text] = mistakes("var x int\nstream|from().truncate(x)", template=True)
    assert "value of type int64 is not assignable to type time.Duration" in text


def test_a_zero_lambda_is_not_shared() -> None:
    script = 'var w lambda\nstream|from().where(w).where(lambda: "a" > 1)'
    defined(script)
    defined(script)


def test_other_mistakes_of_a_template_are_told() -> None:
    assert mistakes("var x integer\nstream|from()", template=True) == ['invalid var type "integer"']
    assert mistakes("var x int\nstream|frm()", template=True) == ['no method or property "frm" on *pipeline.StreamNode']


def test_a_given_value_is_taken() -> None:
    vars = {"x": {"type": "float", "value": 1.0}}
    assert mistakes("var x int\nstream|from()", vars, template=True) == [
        "invalid type supplied for x, got float exp int"
    ]


def test_division_by_the_zero_of_a_template() -> None:
    """As in Kapacitor, which evaluates a definition with the zeros."""
    assert mistakes("var x int\nvar y = 1 / x\nstream|from()", template=True)[0].endswith("divide by zero")


def test_a_template_becomes_a_task() -> None:
    text = compile_script(TEMPLATE, vars=VARS).module.text
    for part in ('measurement="cpu"', 'group_by=("host",)', '"cpu-total"', '"^web"', 'ref("mean")', '"usage"'):
        assert part in text


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("field", {"type": "int", "value": 1}, "invalid type supplied for field, got int exp string"),
        ("window", {"type": "string", "value": "1m"}, "invalid type supplied for window, got string exp duration"),
        ("on", {"type": "string", "value": "true"}, "invalid type supplied for on, got string exp boolean"),
        ("every", {"type": "duration", "value": "soon"}, "invalid duration string for var every"),
        ("every", {"type": "duration", "value": 1.5}, "expected int or string value"),
        ("scale", {"type": "float", "value": "1"}, "expected float value"),
        ("tags", {"type": "list", "value": "host"}, "expected list of vars"),
        ("name_is", {"type": "regex", "value": "("}, "invalid regex pattern"),
        ("crit", {"type": "lambda", "value": "1 +"}, "invalid lambda expression"),
        ("field", {"type": "text", "value": "a"}, "unknown VarType text"),
        ("field", "usage", "invalid var field"),
    ],
)
def test_wrong_values(name: str, given: Any, message: str) -> None:
    assert message in mistakes(TEMPLATE, {**VARS, name: given})[0]


@pytest.mark.parametrize("name", ["measurement", "field", "crit", "name_is", "every", "tags", "all", "on"])
def test_missing_values(name: str) -> None:
    vars = {k: v for k, v in VARS.items() if k != name}
    assert mistakes(TEMPLATE, vars)[0] == f'missing value for var "{name}".'


@pytest.mark.parametrize("name", ["where_filter", "groups", "window", "scale"])
def test_defaults(name: str) -> None:
    check_script(Source(TEMPLATE), {k: v for k, v in VARS.items() if k != name})


# --------------------------------------------------------------------------------------------------------------- files

TASK = {
    "id": "cpu_alert",
    "template-id": "mean_alert",
    "dbrps": [{"db": "telegraf", "rp": "autogen"}],
    "vars": VARS,
}
YAML = """
template-id: mean_alert
dbrps:
  - db: telegraf
    rp: autogen
vars:
  measurement:
    type: string
    value: cpu
  tags:
    type: list
    value:
      - type: string
        value: host
  crit: {type: lambda, value: '"mean" > 90.0'}
"""


def written(tmp_path: Path, text: str | Any, name: str = "vars.json") -> Path:
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def test_a_file_of_variables(tmp_path: Path) -> None:
    assert read(written(tmp_path, VARS)) == TaskFile(VARS)
    assert read(written(tmp_path, {})) == TaskFile({})


def test_a_file_of_a_task(tmp_path: Path) -> None:
    found = read(written(tmp_path, TASK))
    assert found == TaskFile(VARS, "cpu_alert", "mean_alert", (("telegraf", "autogen"),))
    assert read(written(tmp_path, {"template-id": "t"})) == TaskFile({}, "", "t")
    assert read(written(tmp_path, {"vars": {}})) == TaskFile({})


def test_yaml(tmp_path: Path) -> None:
    found = read(written(tmp_path, YAML, "task.yaml"))
    assert (found.template, found.dbrps) == ("mean_alert", (("telegraf", "autogen"),))
    assert found.vars["crit"] == VARS["crit"] and found.vars["tags"] == VARS["tags"]
    plain = read(written(tmp_path, "crit: {type: float, value: 90.5}", "vars.yml"))
    assert plain == TaskFile({"crit": {"type": "float", "value": 90.5}})


def test_variables_may_be_called_like_the_parts_of_a_task(tmp_path: Path) -> None:
    vars = {"vars": {"type": "string", "value": "a"}, "id": {"type": "int", "value": 1}}
    assert read(written(tmp_path, vars)) == TaskFile(vars)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("v.json", "{", "v.json is not JSON"),
        ("v.json", "[]", "v.json holds no JSON object"),
        ("v.yaml", "a: [", "v.yaml is not YAML"),
        ("v.yaml", "- a", "v.yaml holds no JSON object"),
        ("v.json", '{"vars": 3}', "`vars` is no object"),
        ("v.json", '{"vars": {}, "id": 3}', "`id` is no text"),
        ("v.json", '{"vars": {}, "dbrps": {"db": "a"}}', "`dbrps` is no list of databases"),
        ("v.json", '{"vars": {}, "dbrps": [{"db": "a"}]}', "`dbrps` is no list of databases"),
        ("v.json", '{"vars": {}, "dbrps": ["a.b"]}', "`dbrps` is no list of databases"),
    ],
)
def test_files_of_another_form(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(VariablesError) as caught:
        read(written(tmp_path, text, name))
    assert message in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VariablesError, match=r"cannot read .*: no such file or directory"):
        read(tmp_path / "none.json")
