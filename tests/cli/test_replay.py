"""tickc replay: the results document, exit codes, and recordings that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from cli_cases import ALERT, MEAN, Tickc, lines, recording


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "cpu.srpl"
    path.write_text(recording(120))
    return path


def test_results_go_to_stdout_or_a_file(tickc: Tickc, script: Path, recorded: Path, tmp_path: Path) -> None:
    done = tickc("replay", script, "--recording", recorded)
    assert done.returncode == 0 and done.stderr == ""
    document = json.loads(done.stdout)
    assert list(document) == ["sinks", "alerts", "writes"]
    assert [event["level"] for event in document["alerts"]["alerts"]] == ["CRITICAL", "OK"]
    assert document["alerts"]["alerts"][0]["id"] == "cpu:host=h1"
    to_file = tickc("replay", script, "--recording", recorded, "--results", "out.json")
    assert (to_file.returncode, to_file.stdout) == (0, "")
    assert (tmp_path / "out.json").read_text() == done.stdout
    for flags in (["--no-passes"], ["--no-pass", "push_filters"]):
        assert tickc("replay", script, "--recording", recorded, *flags).stdout == done.stdout


def test_task_name(tickc: Tickc, script: Path, recorded: Path) -> None:
    script.write_text(ALERT.replace(".log(", ".id('{{ .TaskName }}').log("))
    for flags, name in (([], "cpu_alert"), (["--task", "other"], "other")):
        document = json.loads(tickc("replay", script, "--recording", recorded, *flags).stdout)
        assert document["alerts"]["alerts"][0]["id"] == name


def test_gzip_and_data_files(tickc: Tickc, script: Path, recorded: Path, points: Path, tmp_path: Path) -> None:
    wanted = tickc("replay", script, "--recording", recorded).stdout
    (tmp_path / "cpu.gz.srpl").write_bytes(gzip.compress(recorded.read_bytes()))
    assert tickc("replay", script, "--recording", "cpu.gz.srpl").stdout == wanted
    assert tickc("replay", script, "--data", points, "--db", "db", "--rp", "rp").stdout == wanted
    some = tickc(
        "replay", script, "--data", points, "--start", "2024-01-01T00:10:00Z", "--stop", "2024-01-01T00:12:00Z"
    )
    found = json.loads(some.stdout)["alerts"]["alerts"]
    assert [event["time"] for event in found] == ["2024-01-01T00:10:10Z"]


def test_dbrp(tickc: Tickc, script: Path, recorded: Path) -> None:
    assert json.loads(tickc("replay", script, "--recording", recorded, "--dbrp", "other.rp").stdout)["sinks"] == {}
    assert json.loads(tickc("replay", script, "--recording", recorded, "--dbrp", "db.rp").stdout)["sinks"] != {}
    assert tickc("replay", script, "--recording", recorded, "--dbrp", "db").returncode == 2


def test_a_script_that_does_not_compile(tickc: Tickc, script: Path, recorded: Path, tmp_path: Path) -> None:
    script.write_text("stream\n    |frm()\n")
    done = tickc("replay", script, "--recording", recorded, "--results", "out.json")
    assert done.returncode == 2 and "line 2 char 6" in done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert list(document) == ["error"] and document["error"].startswith("line 2 char 6: ")


def test_a_task_that_does_not_start(tickc: Tickc, script: Path, recorded: Path, tmp_path: Path) -> None:
    script.write_text(MEAN.replace(".period(1m).every(1m)", ""))
    done = tickc("replay", script, "--recording", recorded, "--results", "out.json")
    assert done.returncode == 2
    assert "window node must have either" in json.loads((tmp_path / "out.json").read_text())["error"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "there is no file"), (b"", "is empty"), (gzip.compress(recording(50).encode())[:-200], "cut short")],
    ids=["missing", "empty", "truncated"],
)
def test_recordings_that_cannot_be_read(
    tickc: Tickc, script: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "r.srpl").write_bytes(content)
    done = tickc("replay", script, "--recording", "r.srpl", "--results", "out.json")
    assert done.returncode == 1
    assert "r.srpl" in done.stderr and says in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_malformed_points_are_told(tickc: Tickc, script: Path, tmp_path: Path) -> None:
    good = lines(40).splitlines()
    broken = [good[i] if i % 3 else good[i].replace("=", "") for i in range(40)]
    (tmp_path / "r.srpl").write_text("".join(f"db\nrp\n{line}\n" for line in broken))
    done = tickc("replay", script, "--recording", "r.srpl")
    assert done.returncode == 0
    assert "14 points left out" in done.stderr and "… and 4 more" in done.stderr
    assert done.stderr.count("r.srpl: line ") == 10


def test_recording_options(tickc: Tickc, script: Path, recorded: Path) -> None:
    for arguments in (
        [],
        ["--recording", recorded, "--data", recorded],
        ["--recording", recorded, "--db", "db"],
        ["--recording", recorded, "--recording", recorded],
    ):
        assert tickc("replay", script, *arguments).returncode == 2


def test_modules(tickc: Tickc, script: Path, recorded: Path, tmp_path: Path) -> None:
    tickc("compile", script, "-o", "cpu_alert.py")
    assert tickc("replay", "cpu_alert.py", "--recording", recorded).returncode == 0
    done = tickc("replay", "cpu_alert.py", "--recording", recorded, "--vars", "v.json")
    assert done.returncode == 2 and "--vars has no effect" in done.stderr
    for text in ("import os\n", "syntax error", "raise ImportError('x')", "\xff"):
        (tmp_path / "other.py").write_text(text, encoding="latin-1")
        done = tickc("replay", "other.py", "--recording", recorded)
        assert done.returncode == 2 and "is not a module of tickc" in done.stderr


def test_an_operator_that_fails_is_named(
    tickc: Tickc, script: Path, recorded: Path, environment: dict[str, str]
) -> None:
    """A mistake in tickc itself: no traceback, but the place in the script."""
    import subprocess
    import sys

    code = (
        "import sys, tickc.runtime.nodes.sinks as s, tickc.cli as c\n"
        "s.HttpOut.process = lambda self, batch: 1 // 0\n"
        f"sys.exit(c.main(['replay', {str(script)!r}, '--recording', {str(recorded)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "internal error in http_out3 (line 9): ZeroDivisionError" in done.stderr
    debug = {**environment, "TICKC_DEBUG": "1"}
    assert "Traceback" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=debug).stderr


def test_verbose_tells_what_was_dropped(tickc: Tickc, script: Path, recorded: Path) -> None:
    script.write_text("stream|from().measurement('cpu')|eval(lambda: \"nope\" + 1.0).as('x')|httpOut('x')")
    done = tickc("-v", "replay", script, "--recording", recorded)
    assert done.returncode == 0 and "eval2 dropped 120 points: " in done.stderr and " s\n" in done.stderr


def test_a_side_of_a_join_that_never_comes_is_told(tickc: Tickc, script: Path, recorded: Path) -> None:
    script.write_text("""var cpu = stream|from().measurement('cpu')
var gone = stream|from().measurement('gone')
cpu|join(gone).as('cpu', 'gone')|httpOut('x')""")
    done = tickc("replay", script, "--recording", recorded, "--results", "-")
    assert done.returncode == 0 and json.loads(done.stdout)["sinks"] == {}
    assert done.stderr == "note: join4: nothing came from `gone`; 120 points of the others joined nothing\n"


def test_posts_to_a_service_that_is_down_are_told(tickc: Tickc, script: Path, recorded: Path) -> None:
    script.write_text("stream|from().measurement('cpu')|httpPost('http://127.0.0.1:1/x')|httpOut('x')")
    done = tickc("replay", script, "--recording", recorded, "--results", "-", "--handlers")
    assert done.returncode == 0 and len(json.loads(done.stdout)["sinks"]["x"]) == 120
    assert "note: http_post2: 120 posts failed, and what they carried went on: failed to POST data: " in done.stderr


def test_an_unwritable_result(tickc: Tickc, script: Path, recorded: Path) -> None:
    done = tickc("replay", script, "--recording", recorded, "--results", "no/such/out.json")
    assert done.returncode == 1 and "cannot write no/such/out.json: no such file or directory" in done.stderr
