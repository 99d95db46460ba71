"""check, fmt, compile and show: what they print and write, and how they fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import pytest
from cli_cases import ALERT, Tickc, recording

BAD = "stream\n    |frm()\n"


@pytest.mark.parametrize("command", ["", "check", "fmt", "compile", "replay", "backfill", "show"])
def test_help_has_examples(tickc: Tickc, command: str) -> None:
    done = tickc(*filter(None, [command]), "--help")
    assert done.returncode == 0
    assert f"tickc {command}".strip() in done.stdout and "Examples:" in done.stdout


def test_version(tickc: Tickc) -> None:
    assert tickc("--version").stdout.startswith("tickc 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"], ["check"], ["compile"], ["check", "--nope", "x.tick"], ["replay", "x.tick"],
        ["backfill", "x.tick"],
        ["check", "missing.tick"], ["backfill", "x.tick", "--input", "a", "--output", "b", "--start", "yesterday"],
        ["backfill", "x.tick", "--input", "a", "--output", "b", "--workers", "0"],
    ],
)  # fmt: skip
def test_bad_usage(tickc: Tickc, arguments: list[str]) -> None:
    done = tickc(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip() and not done.stdout


def test_check_good(tickc: Tickc, script: Path) -> None:
    done = tickc("check", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "cpu_alert.tick" in tickc("-v", "check", script).stderr


def test_check_bad(tickc: Tickc, script: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tick").write_text(BAD)
    done = tickc("check", script, "bad.tick")
    assert done.returncode == 2
    for part in ("error[T2", "line 2 char 6: ", "bad.tick", "    |frm()", "^^^", "did you mean `from`?"):
        assert part in done.stderr, part
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("batch|query('SELECT v FRM \"db\".\"rp\".\"m\"').period(1m).every(1m)|httpOut('x')",
         "warning[T304]: line 1 char 23: failed to parse InfluxQL query: found FRM, expected FROM at line 1, char 10"),
        ("batch|query('SELECT v FROM \"db\".\"rp\".\"m\"').period(1m)|httpOut('x')",
         "warning[T302]: line 1 char 7: must define one of 'every' or 'cron'"),
        ("stream|from()|queryless()", ""),
    ],
)  # fmt: skip
def test_check_warns_of_what_would_not_start(tickc: Tickc, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.tick").write_text(text)
    done = tickc("check", tmp_path / "x.tick")
    if not told:
        assert done.returncode == 2 and "warning" not in done.stderr
        return
    assert done.returncode == 0
    assert done.stderr.startswith(told)
    assert "^" in done.stderr
    assert tickc("compile", tmp_path / "x.tick").returncode == 2


def test_check_warns_of_a_query_that_will_be_refused(tickc: Tickc, tmp_path: Path) -> None:
    script = tmp_path / "x.tick"
    script.write_text("""batch|query('SELECT mean(v), derivative(v, 1) FROM "db"."rp"."m"').period(1m).every(1m)""")
    done = tickc("check", script)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "warning[T304]: line 1 char 44: the database will refuse the query: second argument to derivative must be a"
    )
    assert tickc("compile", script, "-o", tmp_path / "x.py").returncode == 0


def test_check_vars(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "t.tick").write_text("var crit float\n" + ALERT.replace("90.0", "crit"))
    (tmp_path / "v.json").write_text('{"crit": {"type": "float", "value": 90}}')
    (tmp_path / "no.json").write_text("{crit: 90}")
    (tmp_path / "list.json").write_text("[]")
    assert tickc("check", "t.tick", "--vars", "v.json").returncode == 0
    assert tickc("check", "t.tick").returncode == 2
    for name in ("no.json", "list.json", "missing.json"):
        done = tickc("check", "t.tick", "--vars", name)
        assert done.returncode == 2 and name in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "1" + ")" * 10_000,
        "var x = " + "-" * 10_000 + "1",
        "stream" + "|from()" * 10_000,
        "var x = lambda: " + "if(TRUE, " * 10_000 + "1" + ", 2)" * 10_000,
        "var x = '" + "x" * 10_000_000 + "'",
        "stream|from().where(lambda: \"a\" =~ /(((((x{1,1000}){1,1000}){1,1000}))))/)",
    ],
    ids=["parentheses", "signs", "chain", "calls", "10 MB", "regex"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "fmt"])
def test_hostile_scripts(tickc: Tickc, tmp_path: Path, text: str, command: str) -> None:
    (tmp_path / "t.tick").write_text(text)
    done = tickc(command, "t.tick", timeout=60)
    assert done.returncode == 2 and "error[T" in done.stderr
    assert len(done.stderr) < 10_000


def test_fmt(tickc: Tickc, tmp_path: Path) -> None:
    path = tmp_path / "a.tick"
    path.write_text("stream|from().measurement('cpu')")
    assert tickc("fmt", "--check", path).returncode == 1
    diff = tickc("fmt", "--diff", path)
    assert diff.returncode == 0 and "+    |from()" in diff.stdout
    assert path.read_text() == "stream|from().measurement('cpu')"
    assert tickc("fmt", path).returncode == 0
    formatted = path.read_text()
    assert formatted == "stream\n    |from()\n        .measurement('cpu')\n"
    assert tickc("fmt", "--check", tmp_path).returncode == 0
    assert tickc("fmt", "-", input="stream|from().measurement('cpu')").stdout == formatted
    (tmp_path / "b.tick").write_text("stream|")
    done = tickc("fmt", tmp_path)
    assert done.returncode == 2 and "b.tick" in done.stderr
    assert (tmp_path / "b.tick").read_text() == "stream|"


def test_compile_writes_a_module_that_runs(
    tickc: Tickc, script: Path, points: Path, environment: dict[str, str]
) -> None:
    done = tickc("compile", script, "-o", "cpu_alert.py")
    assert done.returncode == 0 and "wrote cpu_alert.py" in done.stderr
    module = script.parent / "cpu_alert.py"
    assert module.read_text() == tickc("compile", script).stdout
    assert module.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o022))
    run = subprocess.run([sys.executable, module, "--input", points], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    printed = [json.loads(line) for line in run.stdout.splitlines()]
    assert [r["level"] for r in printed if r["sink"] == "alerts"] == ["CRITICAL", "OK"]
    assert "120 points read" in run.stderr
    assert tickc("replay", module, "--data", points).stdout == tickc("replay", script, "--data", points).stdout


def test_a_module_tells_its_errors(tickc: Tickc, alone: Tickc, script: Path, points: Path) -> None:
    tickc("compile", script, "-o", "cpu_alert.py")
    given = f"--input {points.name}"
    for arguments, code, told in (
        ("", 2, "Give either --input or --source."),
        ("--input missing.parquet", 1, "there is no file missing.parquet"),
        ("--input x --start noon", 2, "'noon' is no time"),
        (f"{given} --source influxdb://h/db", 2, "Give either --input or --source."),
        (f"{given} --memory much", 2, "'much' is no size"),
        (f"{given} --spool s", 2, "--spool: only with --write-to."),
        (f"{given} --resume", 2, "--resume: only with --output."),
        (f"{given} --format parquet", 2, "--format: only with --output."),
        ("--source http://h/db", 2, "is no address of InfluxDB"),
        ("--source influxdb://127.0.0.1:9/db", 1, "cannot reach InfluxDB at http://127.0.0.1:9: connection refused"),
        (f"{given} --input-format parquet", 1, "is not a Parquet file"),
    ):
        done = alone("cpu_alert.py", *arguments.split())
        assert (done.returncode, done.stdout) == (code, "") and told in done.stderr, (arguments, done)


def test_a_module_has_the_options_of_backfill(tickc: Tickc, alone: Tickc, script: Path) -> None:
    tickc("compile", script, "-o", "cpu_alert.py")
    shown = [done.stdout for done in (tickc("backfill", "--help"), alone("cpu_alert.py", "--help"))]
    assert "Examples:\n    python cpu_alert.py --input" in shown[1]
    whole, own = (set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE)) for text in shown)
    assert whole - own == {"--vars", "--no-pass", "--no-passes", "--task", "--dbrp"} and own <= whole


def test_a_module_and_its_options(tickc: Tickc, alone: Tickc, script: Path, points: Path, tmp_path: Path) -> None:
    tickc("compile", script, "-o", "cpu_alert.py")
    (tmp_path / "cpu").write_bytes(points.read_bytes())
    given = ("--input", "cpu", "--input-format", "lines", "--batch-rows", 7, "--memory", "500MB", "--workers", 2)
    printed = alone("cpu_alert.py", *given, "--quiet")
    assert printed.stderr == "" and printed.stdout == alone("cpu_alert.py", "--input", points).stdout != ""
    done = alone("cpu_alert.py", *given, "--output", "own", "--format", "lp", "--json")
    assert json.loads(done.stdout)["points_read"] == 120 and "wrote own" in done.stderr
    assert tickc("backfill", script, "--input", points, "--output", "out", "--format", "lp").returncode == 0
    own, other = ({p.name: p.read_bytes() for p in (tmp_path / d).rglob("part-*")} for d in ("own", "out"))
    assert own == other != {}


def test_warm(tickc: Tickc, script: Path, environment: dict[str, str]) -> None:
    """The made-up points go through; that machine code comes of it is a matter of the kernels' own tests."""
    done = tickc("-v", "compile", script, "-o", "m.py", "--warm", env={**environment, "TICKC_INTERPRET": "1"})
    assert done.returncode == 0 and "compiled machine code in" in done.stderr


def test_compile_failing_leaves_the_old_file(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "bad.tick").write_text(BAD)
    (tmp_path / "m.py").write_text("old")
    assert tickc("compile", "bad.tick", "-o", "m.py").returncode == 2
    assert (tmp_path / "m.py").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.tick", "m.py"]


def test_compile_to_where_nothing_can_be_written(tickc: Tickc, script: Path) -> None:
    done = tickc("compile", script, "-o", "no/such/folder/m.py")
    assert done.returncode == 1 and "cannot write no/such/folder/m.py" in done.stderr


# what ends strings, docstrings, comments and templates, or would mean something to a shell or a format
NASTY = "a\"\"\"'''\\\n{{ }} {% x %} \\u0041 \r\x00 \u202e # é 💥 $(x) `x` %s {0}"


FIRST = NASTY.split("\\")[0].replace("'", "")


def test_nothing_of_a_script_becomes_code(tickc: Tickc, tmp_path: Path, environment: dict[str, str]) -> None:
    """Quotes, newlines and what ends docstrings, in every place where a script has text of its own."""
    literal = NASTY.replace("\x00", "").replace("'", "\\'")
    reference = NASTY.replace("\x00", "").replace('"', '\\"')
    text = (
        f"// {FIRST}\nvar x = '{literal}'\n"
        "stream|from().measurement('cpu')"
        f"|eval(lambda: '{literal}').as('{literal}')"
        f"|where(lambda: \"{reference}\" == x)"
        f"|alert().crit(lambda: TRUE).message('{FIRST}').details('x').log('{literal}')"
        f"|httpOut('{literal}')\n"
    )  # fmt: skip
    (tmp_path / 'a"""b.tick').write_text(text, encoding="utf-8")
    (tmp_path / "data.srpl").write_text(recording(2))
    done = tickc("compile", 'a"""b.tick', "-o", "m.py")
    assert done.returncode == 0, done.stderr
    tree = compile((tmp_path / "m.py").read_text(encoding="utf-8"), "m.py", "exec")
    assert tree is not None
    done = tickc("replay", "m.py", "--recording", "data.srpl")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    written = NASTY.replace("\x00", "")
    assert list(found["sinks"]) == [written] and list(found["alerts"]) == [written]
    assert len(found["sinks"][written]) == 2


def test_show(tickc: Tickc, script: Path) -> None:
    plan = tickc("show", script)
    assert plan.returncode == 0 and "alert2" in plan.stdout
    assert "== lowered" in tickc("show", script, "--passes").stdout
    dot = tickc("show", script, "--dot").stdout
    assert dot.startswith("digraph") and '"from1" -> "alert2"' in dot
    svg = tickc("show", script, "--svg").stdout
    assert xml.dom.minidom.parseString(svg.encode()).documentElement.tagName == "svg"
    assert tickc("show", script, "--svg", "--passes").returncode == 0


def test_unknown_pass(tickc: Tickc, script: Path) -> None:
    done = tickc("compile", script, "--no-pass", "push_filter")
    assert done.returncode == 2 and "did you mean `push_filters`?" in done.stderr
    assert tickc("compile", script, "--no-pass", "push_filters", "--no-passes").returncode == 0


def test_a_pipe_that_closes_early_is_quiet(script: Path, environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m tickc compile {script} | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert done.stderr == "" and done.stdout == '"'


def test_colour_only_on_a_terminal(script: Path, environment: dict[str, str]) -> None:
    import pty

    script.write_text(BAD)

    def on_terminal(more: dict[str, str]) -> bytes:
        ours, theirs = pty.openpty()
        process = subprocess.Popen([sys.executable, "-m", "tickc", "check", script], stderr=theirs,
                                   env={**environment, **more})  # fmt: skip
        process.wait(60)
        os.close(theirs)
        data = os.read(ours, 1 << 16)
        os.close(ours)
        return data

    assert b"\x1b[31m" in on_terminal({})
    assert b"\x1b" not in on_terminal({"NO_COLOR": "1"})
