"""`--config`, `--template` and files of tasks, as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_cases import Tickc, lines, recording

AGENT = Path(__file__).parents[1] / "unit" / "udf_agent.py"
SCRIPT = "stream|from().measurement('cpu').groupBy('host')@f().size(3)|httpOut('o')"
TEMPLATE = "var m string\nvar crit float\nstream|from().measurement(m).where(lambda: \"usage\" > crit)|httpOut('o')"
VARS = {"m": {"type": "string", "value": "cpu"}, "crit": {"type": "float", "value": 90}}


def config(folder: Path, mode: str) -> None:
    arguments = json.dumps(["-u", str(AGENT), mode])
    text = f'[udf.functions.f]\nprog = "{sys.executable}"\nargs = {arguments}\ntimeout = "20s"\n'
    (folder / "tickc.toml").write_text(text)


@pytest.fixture
def inputs(tmp_path: Path) -> None:
    (tmp_path / "t.tick").write_text(SCRIPT)
    (tmp_path / "r.srpl").write_text(recording(10))
    (tmp_path / "cpu.lp").write_text(lines(10))
    (tmp_path / "tmpl.tick").write_text(TEMPLATE)
    (tmp_path / "v.json").write_text(json.dumps(VARS))


pytestmark = pytest.mark.usefixtures("inputs")


def test_replay_with_a_process(tickc: Tickc, tmp_path: Path) -> None:
    config(tmp_path, "count")
    done = tickc("replay", "t.tick", "--recording", "r.srpl", "--config", "tickc.toml")
    assert done.returncode == 0, done.stderr
    out = [row["series"][0] for row in json.loads(done.stdout)["sinks"]["o"]]
    assert [s["values"][0][s["columns"].index("seen")] for s in out] == [*range(1, 11)]


def test_an_agent_that_dies(tickc: Tickc, tmp_path: Path) -> None:
    config(tmp_path, "die")
    done = tickc("replay", "t.tick", "--recording", "r.srpl", "--config", "tickc.toml")
    why = "f2: process exited unexpectedly: exit status 3 (it wrote: out of luck)"
    assert done.returncode == 1 and f"error: the task failed: {why}" in done.stderr
    assert json.loads(done.stdout)["runtime_error"] == why
    assert len(json.loads(done.stdout)["sinks"]["o"]) == 2


def test_no_program_runs_without_the_option(tickc: Tickc) -> None:
    done = tickc("check", "t.tick")
    assert done.returncode == 2
    assert 'no method or property "f" on *pipeline.FromNode' in done.stderr and "--config tickc.toml" in done.stderr


def test_a_module_takes_the_configuration_too(tickc: Tickc, tmp_path: Path, environment: dict[str, str]) -> None:
    config(tmp_path, "count")
    assert tickc("compile", "t.tick", "-o", "t.py", "--config", "tickc.toml").returncode == 0
    assert tickc("check", "t.tick", "--config", "tickc.toml").returncode == 0
    done = tickc("backfill", "t.py", "--input", "cpu.lp", "--output", "out", "--json", "--config", "tickc.toml")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sinks"][0]["emissions"] == 10
    command = [sys.executable, "t.py", "--input", "cpu.lp", "--config", "tickc.toml"]
    alone = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert alone.returncode == 0, alone.stderr
    assert [json.loads(line)["seen"] for line in alone.stdout.splitlines()] == [*range(1, 11)]
    without = tickc("replay", "t.py", "--recording", "r.srpl")
    assert without.returncode == 1 and "the task failed: f2: no such UDF f" in without.stderr


def test_a_python_function_from_the_configuration(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import tickc\n\n@tickc.udf(options={'size': int})\ndef f(batch, size):\n    return batch.slice(0, size)\n"
    )
    (tmp_path / "tickc.toml").write_text('[udf.functions.f]\npython = "own.py:f"\n')
    done = tickc("replay", "t.tick", "--recording", "r.srpl", "--config", "tickc.toml")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["sinks"]["o"]) == 6  # three of each host


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("[udf.functions.f]\nprog = ''", 2, "must set either prog or socket"),
        ("[udf.functions.f]\nprog = '/no/such'", 1, 'failed to load process info for "f": cannot start /no/such'),
        ("x", 2, "is not TOML"),
    ],
)
def test_configurations_that_do_not_work(tickc: Tickc, tmp_path: Path, text: str, code: int, message: str) -> None:
    (tmp_path / "tickc.toml").write_text(text)
    done = tickc("check", "t.tick", "--config", "tickc.toml")
    assert done.returncode == code and message in done.stderr


def test_show_and_draw(tickc: Tickc, tmp_path: Path) -> None:
    config(tmp_path, "echo")
    for more in ([], ["--passes"], ["--dot"], ["--svg"], ["--dot", "--passes"]):
        done = tickc("show", "t.tick", "--config", "tickc.toml", *more)
        assert done.returncode == 0 and "f2" in done.stdout, (more, done.stderr)


# ----------------------------------------------------------------------------------------------------------- templates


def test_check_a_template(tickc: Tickc) -> None:
    assert tickc("check", "--template", "tmpl.tick").returncode == 0
    done = tickc("check", "tmpl.tick")
    assert done.returncode == 2 and 'missing value for var "m".' in done.stderr


def test_compile_a_template(tickc: Tickc) -> None:
    done = tickc("compile", "--template", "tmpl.tick", "--vars", "v.json")
    assert done.returncode == 0 and 'measurement="cpu"' in done.stdout
    done = tickc("compile", "--template", "tmpl.tick")
    assert done.returncode == 2 and 'missing value for var "m".' in done.stderr


@pytest.mark.parametrize("name", ["task.json", "task.yaml"])
def test_the_file_of_a_task(tickc: Tickc, tmp_path: Path, name: str) -> None:
    task = {"id": "mine", "template-id": "tmpl", "dbrps": [{"db": "db", "rp": "rp"}], "vars": VARS}
    (tmp_path / name).write_text(json.dumps(task))  # which is YAML too
    done = tickc("compile", "--template", "tmpl.tick", "--vars", name)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith('"""mine: generated') and 'dbrps=(("db", "rp"),)' in done.stdout
    replayed = tickc("replay", "tmpl.tick", "--vars", name, "--recording", "r.srpl")
    assert len(json.loads(replayed.stdout)["sinks"]["o"]) == 1 or replayed.returncode == 0


def test_a_file_for_another_template(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(json.dumps({"template-id": "other", "vars": VARS}))
    done = tickc("compile", "--template", "tmpl.tick", "--vars", "o.json")
    assert done.returncode == 0 and "note: o.json is for the template other" in done.stderr
