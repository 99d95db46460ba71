"""`tickc warm` as a process: what it compiles, what it tells, and that it is found again."""

from __future__ import annotations

import json
from pathlib import Path

from cli_cases import Tickc

from tickc import warm

LOOP = """stream
    |from()
        .measurement('m')
        .groupBy('host')
    |derivative('v')
        .unit(1s)
        .as('rate')
    |stateDuration(lambda: "rate" > 0.0)
    |where(lambda: "state_duration" > 1.0)
    |httpOut('out')
"""


def test_warm_compiles_what_a_task_needs(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "loop.tick").write_text(LOOP)
    first = tickc("warm", "loop.tick", "--json")
    assert first.returncode == 0, first.stderr
    made = {one["kernel"]: one["seconds"] for one in json.loads(first.stdout)["compiled"]}
    assert {"sources.scan.scan_lines", "derivative2_state_duration3_where4_loop"} <= set(made)
    assert all(seconds > 0.0 for seconds in made.values())
    assert "compiled" in first.stderr and "scan_lines" in first.stderr and "MB in" in first.stderr

    again = tickc("warm", "loop.tick", "--json")
    assert json.loads(again.stdout)["compiled"] == []
    assert "all kernels were compiled before" in again.stderr


def test_warm_refuses_a_broken_script(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "bad.tick").write_text("stream|frm()")
    done = tickc("warm", "bad.tick")
    assert done.returncode == 2 and "frm" in done.stderr


def test_the_scripts_compile_and_run() -> None:
    import tickc as package

    titles = [title for title, _ in warm.everything()]
    assert len(set(titles)) == len(titles)
    for _, script in [*warm.scripts(), ("queries", warm.queries())]:
        package.compile(script, name="warm")
