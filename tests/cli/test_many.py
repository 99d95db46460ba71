"""tickc backfill with several tasks: a folder for each, failures that stay apart, what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_cases import ALERT, MEAN, Tickc, lines, recording

from tickc.cli import SCRIPTS_APIECE, main

FAILING = """stream
    |from().measurement('cpu').truncate(1m)
    |combine(lambda: TRUE, lambda: TRUE)
        .as('l', 'r')
        .max(3)
    |httpOut('pairs')
"""
LOUD = """stream
    |from().measurement('cpu').where(lambda: "host" == 'h1')
    |httpOut('h1')
"""


def scripts(folder: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (folder / f"{name}.tick").write_text(text)
    return [folder / f"{name}.tick" for name in texts]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tickc:
    """`tickc` in the test's folder, without a process of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        code = main([str(a) for a in arguments])
        said = capsys.readouterr()
        assert "internal error" not in said.err, said.err
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder but for the summary, which tells how long a run took."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if not name.endswith("_tickc.json")}


def test_each_task_has_the_folder_that_it_has_alone(tickc: Tickc, here: Tickc, tmp_path: Path, points: Path) -> None:
    tasks = scripts(tmp_path, alert=ALERT, mean=MEAN, loud=LOUD)
    module = tmp_path / "again.py"
    assert here("compile", tasks[1], "-o", module).returncode == 0
    done = tickc("backfill", *tasks, module, "--input", points, "--output", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["again", "alert", "loud", "mean"]
    summary = json.loads(done.stdout)
    assert summary["points_read"] == 120 and summary["tasks"]["alert"]["alerts"] == {"CRITICAL": 1, "OK": 1}
    assert summary["tasks"]["loud"]["points_entered"] == 60
    assert "4 tasks: points 420" in done.stderr and "wrote out" in done.stderr
    for task in (*tasks, module):
        assert here("backfill", task, "--input", points, "--output", f"alone/{task.stem}").returncode == 0
        assert contents(tmp_path / "out" / task.stem) == contents(tmp_path / "alone" / task.stem) != {}


def test_a_folder_of_scripts_and_files_of_several_measurements(here: Tickc, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    scripts(tmp_path / "tasks", cpu=MEAN, mem=MEAN.replace("'cpu'", "'mem'"))
    mixed = "".join(f"{line}\n{line.replace('cpu', 'mem')}\n" for line in lines(60).splitlines())
    (tmp_path / "both.lp").write_text(mixed)
    done = here("backfill", "tasks", "--input", "both.lp", "--output", "out")
    assert done.returncode == 0, done.stderr
    cpu, mem = (pq.read_table(tmp_path / "out" / name / "means") for name in ("cpu", "mem"))
    assert cpu.equals(mem) and cpu.num_rows > 2


def test_a_task_that_fails_leaves_the_others_as_they_are(here: Tickc, tmp_path: Path, points: Path) -> None:
    tasks = scripts(tmp_path, alert=ALERT, pairs=FAILING)
    done = here("backfill", *tasks, "--input", points, "--output", "out")
    assert done.returncode == 1
    assert "pairs: the task failed: combine2: refusing to perform combination" in done.stderr
    assert "1 task failed, 1 task came to the end" in done.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["alert"]


def test_nothing_runs_where_a_script_does_not_compile(here: Tickc, tmp_path: Path, points: Path) -> None:
    tasks = scripts(tmp_path, alert=ALERT, one="stream|frm()", two="stream|from(")
    done = here("backfill", *tasks, "--input", points, "--output", "out")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "frm" in done.stderr and "two.tick" in done.stderr
    assert "2 of 3 scripts did not compile; nothing was run" in done.stderr


def test_what_is_refused(here: Tickc, tmp_path: Path, points: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "empty").mkdir()
    [alert, mean] = scripts(tmp_path, alert=ALERT, mean=MEAN)
    [other] = scripts(tmp_path / "more", alert=ALERT)
    run = ("--input", points, "--output", "out")
    twice = here("backfill", alert, other, *run)
    assert twice.returncode == 2 and "two tasks have the name alert" in twice.stderr
    named = here("backfill", alert, mean, *run, "--task", "x")
    assert named.returncode == 2 and "--task" in named.stderr
    unquoted = here("backfill", alert, "--input", points, "b.parquet", "c.csv.gz", "--output", "out")
    assert unquoted.returncode == 2 and "b.parquet is data, not a script" in unquoted.stderr
    assert "--input 'data/*.parquet'" in unquoted.stderr
    nothing = here("backfill", "empty", *run)
    assert nothing.returncode == 2 and "no script in empty" in nothing.stderr
    assert not (tmp_path / "out").exists()
    assert here("backfill", alert, "--input", points, "--output", "out").returncode == 0
    taken = here("backfill", alert, mean, *run)
    assert taken.returncode == 1 and "holds the results of a single task" in taken.stderr


def test_a_folder_that_is_there(here: Tickc, tmp_path: Path, points: Path) -> None:
    tasks = scripts(tmp_path, alert=ALERT, mean=MEAN)
    run = ("--input", points, "--output", "out")
    assert here("backfill", *tasks, *run).returncode == 0
    before = contents(tmp_path / "out")
    refused = here("backfill", *tasks, *run)
    assert refused.returncode == 1 and "out/alert is not empty" in refused.stderr and "--overwrite" in refused.stderr
    again = here("backfill", *tasks, *run, "--resume")
    assert again.returncode == 0 and "were there already" in again.stderr
    assert here("backfill", *tasks, *run, "--overwrite").returncode == 0
    assert contents(tmp_path / "out") == before
    [third] = scripts(tmp_path, third=LOUD)
    added = here("backfill", *tasks, third, *run, "--resume", "--json")
    assert added.returncode == 0, added.stderr
    assert set(contents(tmp_path / "out")) == {*before, "third/h1/part-00000.parquet"}


ROLLUP = """stream
    |from().measurement('cpu').groupBy('host')
    |window().period(1m).every(1m)
    |mean('usage')
    |kapacitorLoopback().database('rollup').retentionPolicy('means').measurement('cpu_mean')
"""
READER = """dbrp "rollup"."means"
stream
    |from().measurement('cpu_mean').groupBy('host')
    |alert().crit(lambda: "mean" > 90.0).stateChangesOnly().log('alerts')
    |httpOut('sent')
"""


def test_tasks_that_feed_each_other(tickc: Tickc, here: Tickc, tmp_path: Path) -> None:
    tasks = scripts(tmp_path, reader=READER, rollup=ROLLUP, other=MEAN)
    (tmp_path / "cpu.srpl").write_text(recording(120))
    (tmp_path / "cpu.lp").write_text(lines(120))
    done = here("replay", *tasks, "--recording", "cpu.srpl")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert list(results) == ["reader", "rollup", "other"] and results["other"]["sinks"]["means"]
    events = results["reader"]["alerts"]["alerts"]
    assert [event["level"] for event in events] == ["CRITICAL", "OK"]
    run = tickc("backfill", *tasks, "--input", "cpu.lp", "--output", "out", "--format", "jsonl")
    assert run.returncode == 0, run.stderr
    written = [json.loads(line) for line in (tmp_path / "out/reader/alerts.jsonl").read_text().splitlines()]
    assert written == events
    again = here("backfill", *tasks, "--input", "cpu.lp", "--output", "out", "--format", "jsonl", "--resume")
    assert again.returncode == 0 and "were there already" in again.stderr


def test_tasks_that_feed_each_other_in_a_circle(here: Tickc, tmp_path: Path, points: Path) -> None:
    back = ROLLUP.replace("measurement('cpu')", "measurement('cpu_mean')").replace("'cpu_mean')\n", "'cpu')\n")
    tasks = scripts(tmp_path, there=ROLLUP, back=back.replace("usage", "mean"))
    done = here("backfill", *tasks, "--input", points, "--output", "out")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "in a circle by kapacitorLoopback: there -> back -> there" in done.stderr


def test_many_scripts_are_compiled_by_several_processes(tickc: Tickc, tmp_path: Path, points: Path) -> None:
    """The outcome is that of one; mistakes are told, those of all scripts."""
    (tmp_path / "tasks").mkdir()
    texts = {f"t{i:02d}": MEAN.replace("'cpu'", f"'cpu{i}'") for i in range(2 * SCRIPTS_APIECE)}
    scripts(tmp_path / "tasks", **{**texts, "t05": MEAN, "t50": ALERT})
    done = tickc("backfill", "tasks", "--input", points, "--output", "out", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    assert [*json.loads(done.stdout)["tasks"]] == [*texts]
    for name in ("t05", "t50"):
        alone = tickc("backfill", f"tasks/{name}.tick", "--input", points, "--output", f"alone/{name}")
        assert alone.returncode == 0, alone.stderr
        assert contents(tmp_path / "out" / name) == contents(tmp_path / "alone" / name) != {}
    scripts(tmp_path / "tasks", t07=MEAN.replace("mean", "men"), t60="stream|from().wher(1)")
    bad = tickc("backfill", "tasks", "--input", points, "--output", "out", "--overwrite")
    assert bad.returncode == 2 and "2 of 64 scripts did not compile; nothing was run" in bad.stderr
    assert "tasks/t07.tick" in bad.stderr and "tasks/t60.tick" in bad.stderr and "Traceback" not in bad.stderr
