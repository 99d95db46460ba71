"""`tickc bench` as a process: tables, JSON, the page, two versions, and what goes wrong."""

from __future__ import annotations

import json
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cli_cases import MEAN, Tickc, lines

from tickc.bench import Measured, ratios, size, unit
from tickc.meter import Meter, Stage, Thread
from tickc.runtime.batch import Points
from tickc.runtime.graph import Graph, Operator

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
    for word in ("source", "compute", "sink", "alert2", "5-8", "rows in", "on 1 worker", "others", "busy"):
        assert word in done.stdout


def test_json_adds_up(tickc: Tickc, script: Path, points: Path) -> None:
    done = tickc("bench", script, "--input", points, "--json", "--format", "jsonl")
    [one] = json.loads(done.stdout)["tasks"]
    assert one["points"] == 120 and one["bytes_in"] == points.stat().st_size and len(one["runs"]) == 3
    assert one["seconds"] == min(one["runs"]) and one["peak_bytes"] > 10_000_000 and one["bytes_out"] > 100
    assert one["source"] + one["compute"] + one["sink"] == pytest.approx(one["seconds"])
    stages = {stage["name"]: stage for stage in one["stages"]}
    assert sum(stage["seconds"] for stage in stages.values()) <= one["compute"]
    assert sum(one["cpu_of"].values()) == pytest.approx(one["cpu"])
    assert [thread["name"] for thread in one["threads"]] == ["main", "others"]
    assert {*stages, "source", "sink"} >= one["threads"][0]["work"].keys() >= {"source", "sink", "alert2"}
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


def test_workers_next_to_each_other(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "mean.tick").write_text(MEAN)
    (tmp_path / "many.lp").write_text(lines(6000, hosts=20))
    more = ("--input", "many.lp", "--batch-rows", "500", "--repeat", "1")
    done = tickc("bench", "mean.tick", *more, "--workers", "1,2", "--json", "--html", "out.html")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    one, two = document["tasks"]
    assert (one["workers"], two["workers"]) == (1, 2) and list(document["ratios"]) == ["2"]
    assert document["ratios"]["2"]["seconds"] == pytest.approx(one["seconds"] / two["seconds"], abs=1e-3)
    counts = [[(s["name"], s["rows_in"], s["rows_out"]) for s in m["stages"]] for m in (one, two)]
    assert counts[0] == counts[1] and one["rows_out"] == two["rows_out"] > 0
    assert [thread["name"] for thread in two["threads"]] == ["main", "worker-1", "write", "others"]
    assert sum(thread["cpu"] for thread in two["threads"]) == pytest.approx(two["cpu"], rel=0.05)
    for stage in two["stages"]:
        assert stage["cpu"] == pytest.approx(sum(t["work"].get(stage["name"], 0.0) for t in two["threads"]))
    assert two["threads"][2]["work"].keys() == {"sink"} and two["threads"][3]["work"] == {}
    page = (tmp_path / "out.html").read_text()
    assert "thread worker-1, busy" in page and page.count("<h2>By line of the script</h2>") == 1
    shown = tickc("bench", "mean.tick", *more, "--workers", "1,2")
    for word in ("on 2 workers", "1 / 2", "stage, processor time", "thread, busy", "worker-1"):
        assert word in shown.stdout


def test_what_is_worth_knowing_is_told(tickc: Tickc, script: Path, points: Path) -> None:
    (script.parent / "deadman.tick").write_text("stream|from().measurement('cpu')|deadman(0.0, 10s)|httpOut('out')")
    done = tickc("bench", "deadman.tick", "--input", points, "--workers", "2", "--repeat", "1")
    assert done.returncode == 0 and "note: one thread computed: " in done.stdout
    done = tickc("bench", script, "--input", points, "--start", "2030-01-01T00:00:00Z", "--repeat", "1")
    assert done.returncode == 0 and "note: the inputs hold no points" in done.stdout


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
        ([script, "--input", points, "--workers", "1,0"], 2, "from 1 to 256"),
        ([script, "--compare", script, "--input", points, "--workers", "1,2"], 2, "one number of --workers"),
    ):
        done = tickc("bench", *arguments)
        assert done.returncode == code and told in done.stderr and not done.stdout, done.stderr
    assert list(tmp_path.glob("tickc-bench-*")) == []


def test_a_measurement_does_not_change_what_comes_out() -> None:
    import tickc as package
    from tickc.runtime.results import Results
    from tickc.runtime.sources import parse_lines

    text = "".join(f"cpu,host=h{i % 3} usage={i % 17}.5 {i * 10_000_000_000}\n" for i in range(500))
    rows = parse_lines(text)
    task = package.compile(MEAN, name="mean")
    found, counted = [], []
    for workers, measured in ((1, False), (1, True), (2, True)):
        graph = task.build()
        stages = Meter().watch(graph, task.lines) if measured else []
        results = Results("mean")
        for output in graph.run([rows.take(slice(i, i + 100)) for i in range(0, 500, 100)], workers=workers):
            results.add(output)
        found.append(results.text())
        counted += [[(stage.rows_in, stage.rows_out) for stage in stages]] * measured
    assert found[0] == found[1] == found[2]
    assert counted[0] == counted[1] and counted[0][0] == (500, 500) and counted[0][-1][1] > 0


class Halves(Operator):
    """Works now, later, and with help; each for its own time of a processor."""

    NOW, SHARED, LATER = 0.05, 0.04, 0.03

    def attach(self, graph: Graph) -> None:
        self.team = graph.team

    def points(self, batch: Points) -> Any:
        work(self.NOW)
        self.team.map(work, [self.SHARED] * 2)
        yield from self.later(lambda: self.made(batch))

    def made(self, batch: Points) -> Any:
        work(self.LATER)
        yield batch


def work(seconds: float) -> None:
    """Use a processor."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_the_time_of_a_stage_is_its_turns_wherever_they_ran(workers: int) -> None:
    from tickc.runtime.graph import Source
    from tickc.runtime.sources import parse_lines

    graph = Graph()
    graph.add(Halves(name="halves"), graph.add(Source(name="stream0")))
    meter = Meter()
    source, halves = meter.watch(graph, {"halves": (2, 3)})
    rounds = 6
    list(graph.run([parse_lines(f"cpu usage=1 {i}\n") for i in range(rounds)], workers=workers, last=False))
    meter.here()
    expected = rounds * (Halves.NOW + 2 * Halves.SHARED + Halves.LATER)
    assert halves.cpu == pytest.approx(expected, rel=0.1) and source.cpu < 0.1 * expected
    assert (halves.lines, halves.rows_in, halves.rows_out) == ((2, 3), rounds, rounds)
    assert len(meter.threads) == workers
    assert sum(thread.work["halves"] for thread in meter.threads.values()) == pytest.approx(halves.cpu)
    assert all(thread.cpu >= sum(thread.work.values()) for thread in meter.threads.values())
    if workers == 1:
        assert halves.seconds >= expected


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
    a.stages, a.threads = [Stage("alert2", lines=(5, 8), cpu=0.5)], [Thread("main", 1.0, {"alert2": 0.5})]
    assert Measured.of_json(json.loads(json.dumps(a.to_json()))) == a and a.to_json()["threads"][0]["busy"] == 0.5
    assert unit([b])(0.0125) == "12.5 ms" and unit([b, a])(0.0125) == "0.013 s"
