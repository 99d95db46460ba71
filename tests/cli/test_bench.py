"""`tickc bench` as a process: tables, JSON, the page, two versions, and what goes wrong."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cli_cases import MEAN, Tickc

from tickc.bench import Measured, ratios, size

LINKS = {"href", "src", "srcset", "data", "action", "poster"}


class Page(HTMLParser):
    """Counts the elements of a page, and holds what it would load and the titles of its boxes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.titles: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        for name, value in attributes:
            if name in LINKS or tag in ("script", "link", "iframe", "img"):
                self.loads.append(f"{tag} {name}={value}")
            if name == "title" and value:
                self.titles.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_tables(tickc: Tickc, script: Path, points: Path) -> None:
    done = tickc("bench", script, "--input", points, "--repeat", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cpu_alert: 120 points in ") and "the best of 2 runs" in done.stdout
    for word in ("source", "compute", "sink", "alert2", "5-8", "rows in"):
        assert word in done.stdout


def test_json_adds_up(tickc: Tickc, script: Path, points: Path) -> None:
    done = tickc("bench", script, "--input", points, "--json", "--format", "jsonl")
    [one] = json.loads(done.stdout)["tasks"]
    assert one["points"] == 120 and one["bytes_in"] == points.stat().st_size and len(one["runs"]) == 3
    assert one["seconds"] == min(one["runs"]) and one["peak_bytes"] > 10_000_000 and one["bytes_out"] > 100
    assert one["source"] + one["compute"] + one["sink"] == pytest.approx(one["seconds"])
    stages = {stage["name"]: stage for stage in one["stages"]}
    assert sum(stage["seconds"] for stage in stages.values()) <= one["compute"]
    assert stages["stream0"]["rows_out"] == stages["alert2"]["rows_in"] == 120
    assert 0 < stages["alert2"]["rows_out"] < 120
    assert stages["alert2"]["lines"] == [5, 8] and stages["stream0"]["bytes_out"] > 0


def test_two_versions(tickc: Tickc, script: Path, points: Path, tmp_path: Path) -> None:
    (tmp_path / "mean.tick").write_text(MEAN)
    assert tickc("compile", "mean.tick", "-o", "mean.py").returncode == 0
    done = tickc("bench", "mean.tick", "--compare", "mean.py", "--no-passes", "--input", points, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    first, second = document["tasks"]
    assert [stage["name"] for stage in first["stages"]] != [stage["name"] for stage in second["stages"]]
    assert first["rows_out"] == second["rows_out"] > 0
    assert document["ratios"]["seconds"] == pytest.approx(first["seconds"] / second["seconds"], abs=1e-3)
    shown = tickc("bench", "mean.tick", "--compare", "mean.py", "--input", points, "--repeat", "1")
    assert "first / second" in shown.stdout and "processor" in shown.stdout


@pytest.mark.parametrize("compared", [False, True])
def test_page_stands_alone(tickc: Tickc, script: Path, points: Path, tmp_path: Path, compared: bool) -> None:
    more = ["--compare", script] if compared else []
    assert tickc("bench", script, *more, "--input", points, "--repeat", "1", "--html", "out.html").returncode == 0
    text = (tmp_path / "out.html").read_text()
    page = Page(text)
    assert page.loads == [] and page.open == [] and "url(" not in text and "@import" not in text
    assert any(title.startswith("alert2 (Alert, lines 5-8): ") for title in page.titles)
    assert text.count("<h2>By line of the script</h2>") == 1 + compared
    assert ".crit(lambda: &quot;usage&quot; &gt; 90.0)" in text


def test_what_goes_wrong(tickc: Tickc, script: Path, points: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tick").write_text("stream|frm()")
    for arguments, code, told in (
        (["bad.tick", "--input", points], 2, "frm"),
        ([script, "--input", "nowhere.lp"], 1, "there is no file nowhere.lp"),
        ([script, "--compare", "bad.tick", "--input", points], 2, "frm"),
        ([script], 2, "--input"),
        ([script, "--input", points, "--repeat", "0"], 2, "--repeat"),
    ):
        done = tickc("bench", *arguments)
        assert done.returncode == code and told in done.stderr and not done.stdout, done.stderr
    assert list(tmp_path.glob("tickc-bench-*")) == []


def test_a_measurement_does_not_change_what_comes_out() -> None:
    import tickc as package
    from tickc.bench import watch
    from tickc.runtime.results import Results
    from tickc.runtime.sources import parse_lines

    text = "".join(f"cpu,host=h{i % 3} usage={i % 17}.5 {i * 10_000_000_000}\n" for i in range(500))
    task = package.compile(MEAN, name="mean")
    found = []
    for measured in (False, True):
        graph = task.build()
        stages = watch(graph, task.lines) if measured else []
        results = Results("mean")
        rows = parse_lines(text)
        for output in graph.run([rows.take(slice(0, 200)), rows.take(slice(200, None))]):
            results.add(output)
        found.append(results.text())
    assert found[0] == found[1]
    assert stages[0].rows_in == stages[0].rows_out == 500 and stages[-1].rows_out > 0


def test_batch_tasks_are_measured_too(tickc: Tickc, points: Path, tmp_path: Path) -> None:
    (tmp_path / "q.tick").write_text(
        "batch|query('SELECT mean(usage) FROM db.rp.cpu').period(1m).every(1m).groupBy('host')|httpOut('q')\n"
    )
    done = tickc("bench", "q.tick", "--input", points, "--json")
    assert done.returncode == 0, done.stderr
    [one] = json.loads(done.stdout)["tasks"]
    assert one["points"] == 120 and one["rows_out"] > 0


def test_numbers() -> None:
    assert [size(n) for n in (0, 999, 1500, 2_500_000, 7.5e9, 1e13)] == [
        "0 B", "999 B", "1.5 kB", "2.5 MB", "7.5 GB", "10000.0 GB",
    ]  # fmt: skip
    a, b = Measured("a", "", seconds=2.0, source=1.0), Measured("b", "", seconds=0.5)
    found: dict[str, Any] = ratios(a, b)
    assert found["seconds"] == 4.0 and found["source"] is None and found["stages"] == {}
    assert Measured.of_json(json.loads(json.dumps(a.to_json()))) == a
