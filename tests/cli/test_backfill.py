"""tickc backfill: data sets, the summary, inputs that cannot be read, outputs that appear whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from cli_cases import ALERT, MEAN, SECOND, START, Tickc, lines

import tickc as tickc_package


def table(n: int, **more: Any) -> pa.Table:
    """The points of `lines` as a table."""
    usage = [95.5 if i % 2 and n // 3 <= i < 2 * n // 3 else 10.0 + i % 7 for i in range(n)]
    times = pa.array([START + 10 * i * SECOND for i in range(n)], pa.timestamp("ns", "UTC"))
    return pa.table({"time": times, "host": [f"h{i % 2}" for i in range(n)], "usage": usage, "seen": range(n), **more})


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "cpu.parquet"
    pq.write_table(table(120), path)
    return path


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_data_sets(tickc: Tickc, script: Path, parquet: Path, tmp_path: Path) -> None:
    done = tickc("backfill", script, "--input", parquet, "--output", "out", "--json")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert files(out) == ["_tickc.json", "alerts.jsonl", "alerts/part-00000.parquet", "passed/part-00000.parquet"]
    events = [json.loads(line) for line in (out / "alerts.jsonl").read_text().splitlines()]
    assert [event["level"] for event in events] == ["CRITICAL", "OK"]
    alerts = pq.read_table(out / "alerts")
    assert alerts.column("level").to_pylist() == ["CRITICAL", "OK"]
    assert alerts.column("previous_level").to_pylist() == ["OK", "CRITICAL"]
    assert {"time", "host", "id", "message", "duration", "usage", "seen"} <= set(alerts.column_names)
    passed = pq.read_table(out / "passed")
    assert passed.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert passed.column_names == ["time", "host", "seen", "usage"]
    summary = json.loads(done.stdout)
    assert summary["points_read"] == 120 and summary["alerts"] == {"CRITICAL": 1, "OK": 1}
    assert json.loads((out / "_tickc.json").read_text())["points_read"] == 120
    assert "120 points read" in done.stderr and "CRITICAL" in done.stderr and "wrote out" in done.stderr


@pytest.mark.parametrize("kind", ["arrow", "csv", "lp", "lp.gz", "folder", "glob", "ms"])
def test_inputs_of_every_kind(tickc: Tickc, script: Path, parquet: Path, tmp_path: Path, kind: str) -> None:
    data = table(120)
    arguments: list[Any] = ["--input", f"in.{kind}"]
    if kind == "arrow":
        with pa.ipc.new_file(str(tmp_path / "in.arrow"), data.schema) as writer:
            writer.write_table(data)
    elif kind == "csv":
        from pyarrow import csv

        csv.write_csv(data.set_column(0, "time", data.column("time").cast(pa.int64())), tmp_path / "in.csv")
    elif kind.startswith("lp"):
        text = lines(120).encode()
        (tmp_path / f"in.{kind}").write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
    elif kind == "ms":
        (tmp_path / "in.ms").write_text(lines(120).replace("000000\n", "\n"))
        arguments += ["--precision", "ms", "--input-format", "lines"]
    else:
        (tmp_path / "d").mkdir()
        pq.write_table(data.slice(0, 50), tmp_path / "d" / "a.parquet")
        pq.write_table(data.slice(50), tmp_path / "d" / "b.parquet")
        arguments = ["--input", "d" if kind == "folder" else "d/*.parquet"]
    wanted = tickc("backfill", script, "--input", parquet, "--output", "wanted", "--quiet")
    done = tickc("backfill", script, *arguments, "--output", "out", "--quiet")
    assert (wanted.returncode, done.returncode) == (0, 0), done.stderr
    assert (tmp_path / "out/alerts.jsonl").read_text() == (tmp_path / "wanted/alerts.jsonl").read_text()


def test_range_of_time(tickc: Tickc, tmp_path: Path, parquet: Path) -> None:
    (tmp_path / "m.tick").write_text("stream|from().measurement('cpu')|httpOut('all')")
    day = "2024-01-01T00:0"
    done = tickc("backfill", "m.tick", "--input", parquet, "--output", "out", "--start", f"{day}1:00Z", "--stop",
                 f"{day}2:00Z")  # fmt: skip
    assert done.returncode == 0
    assert pq.read_table(tmp_path / "out/all").column("seen").to_pylist() == list(range(6, 12))
    empty = tickc("backfill", "m.tick", "--input", parquet, "--output", "none", "--start", "2030-01-01")
    assert empty.returncode == 0 and "note: the inputs hold no points" in empty.stderr
    assert pq.read_table(tmp_path / "none/all").num_rows == 0


@pytest.mark.parametrize("form", ["parquet", "arrow", "jsonl", "lp"])
def test_forms_of_output(tickc: Tickc, tmp_path: Path, parquet: Path, form: str) -> None:
    (tmp_path / "w.tick").write_text(
        MEAN + "\n    |influxDBOut().database('m').retentionPolicy('r').measurement('u')\n"
    )
    done = tickc("backfill", "w.tick", "--input", parquet, "--output", "out", "--format", form)
    assert done.returncode == 0, done.stderr
    found = [f for f in files(tmp_path / "out") if f.startswith("m.r")]
    assert found == {"parquet": ["m.r/part-00000.parquet"], "arrow": ["m.r/part-00000.arrow"], "jsonl": ["m.r.jsonl"],
                     "lp": ["m.r.lp"]}[form]  # fmt: skip
    if form == "lp":
        text = (tmp_path / "out/m.r.lp").read_text()
        assert text.startswith("u,host=h0 mean=") and text.endswith("000000000\n")
    elif form == "jsonl":
        first = json.loads((tmp_path / "out/m.r.jsonl").read_text().splitlines()[0])
        assert first["measurement"] == "u" and first["time"] == "2024-01-01T00:01:00Z"


def test_what_one_run_wrote_another_can_read(tickc: Tickc, tmp_path: Path, parquet: Path) -> None:
    (tmp_path / "m.tick").write_text(MEAN)
    (tmp_path / "n.tick").write_text("stream|from().measurement('means').groupBy('host')|httpOut('again')")
    tickc("backfill", "m.tick", "--input", parquet, "--output", "out")
    assert tickc("backfill", "n.tick", "--input", "out/means", "--output", "out2").returncode == 0
    assert pq.read_table(tmp_path / "out2/again").equals(pq.read_table(tmp_path / "out/means"))


def test_fields_that_change_type_and_appear_late(tickc: Tickc, tmp_path: Path) -> None:
    (tmp_path / "all.tick").write_text("stream|from().measurement('m')|httpOut('all')")
    (tmp_path / "in.lp").write_text('m v=1 1\nm v=2i 2\nm,host=a v="x",w=true 3\nm v=4 4\n')
    done = tickc("backfill", "all.tick", "--input", "in.lp", "--output", "out", "--batch-rows", "1")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "out/all").drop_columns("time").to_pylist()
    assert [(r["v"], r["v.int"], r["v.string"], r["w"], r["host"]) for r in rows] == [
        (1.0, None, None, None, None), (None, 2, None, None, None), (None, None, "x", True, "a"),
        (4.0, None, None, None, None),
    ]  # fmt: skip
    again = tickc(
        "backfill", "all.tick", "--input", "out/all", "--measurement", "m", "--output", "out2", "--format", "lp"
    )
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out2/all.lp").read_text() == (tmp_path / "in.lp").read_text()


def test_databases_of_plain_files(tickc: Tickc, tmp_path: Path, parquet: Path) -> None:
    (tmp_path / "d.tick").write_text('dbrp "telegraf"."autogen"\nstream|from().measurement(\'cpu\')|influxDBOut()')
    done = tickc("backfill", "d.tick", "--input", parquet, "--output", "out", "--format", "lp")
    assert done.returncode == 0
    assert len((tmp_path / "out/telegraf.autogen.lp").read_text().splitlines()) == 120


def test_names_of_sinks_stay_in_the_folder(tickc: Tickc, tmp_path: Path, parquet: Path) -> None:
    names = ["../../evil", "/etc/passwd", "a/b", "A_B", "..", "", ".hidden", "_tickc.json", "x" * 300, "nul\x01", "é"]
    text = "var s = stream|from().measurement('cpu')\n" + "".join(f"s|httpOut('{n}')\n" for n in names)
    (tmp_path / "names.tick").write_text(text + "s|alert().crit(lambda: TRUE).log('/var/log/x.log')\n")
    (tmp_path / "sub").mkdir()
    done = tickc("backfill", "../names.tick", "--input", parquet, "--output", "deep/out", cwd=tmp_path / "sub")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "sub/deep/out"
    assert files(tmp_path) == sorted(["cpu.parquet", "names.tick", *(f"sub/deep/out/{f}" for f in files(out))])
    assert len([f for f in files(out) if f.endswith(".parquet")]) == len(names) + 1
    assert "a_b" in done.stderr and "var_log_x.log.jsonl" in files(out)


# ------------------------------------------------------------------------------------------------------ bad inputs


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("in.parquet", None, "there is no file"),
        ("in.parquet", b"", "is empty"),
        ("in.parquet", b"PAR1 this is not a Parquet file", "cut short"),
        ("in.parquet", b"time,host,usage\n1,a,2\n", "is not a Parquet file"),
        ("in.parquet", "truncated", "cut short"),
        ("in.lp", b"", "is empty"),
        ("in.lp.gz", gzip.compress(lines(50).encode())[:-100], "in.lp.gz"),
        ("in.lp", b"\xff\xfe\x00\x01" * 20, "no point could be read"),
        ("*.pq", None, "no file matches"),
    ],
)
def test_inputs_that_cannot_be_read(
    tickc: Tickc, script: Path, parquet: Path, tmp_path: Path, name: str, content: Any, says: str
) -> None:
    if content == "truncated":
        content = parquet.read_bytes()[:-300]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    done = tickc("backfill", script, "--input", name, "--output", "out")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    if says != "no point could be read":
        assert files(tmp_path) == before


def test_columns_that_are_not_there(tickc: Tickc, script: Path, parquet: Path, tmp_path: Path) -> None:
    done = tickc("backfill", script, "--input", parquet, "--output", "out", "--tags", "hots")
    assert done.returncode == 1 and "has no column hots" in done.stderr and "did you mean host?" in done.stderr
    script.write_text(MEAN.replace("'usage'", "'usge'"))
    done = tickc("backfill", script, "--input", parquet, "--output", "out")
    assert done.returncode == 0 and "`usge`" in done.stderr


def test_rows_without_a_measurement(tickc: Tickc, tmp_path: Path, parquet: Path) -> None:
    (tmp_path / "two.tick").write_text(
        "var a = stream|from().measurement('cpu')|httpOut('a')\nvar b = stream|from().measurement('mem')|httpOut('b')\n"
    )
    done = tickc("backfill", "two.tick", "--input", parquet, "--output", "out")
    assert done.returncode == 1 and "--measurement" in done.stderr and "cpu, mem" in done.stderr
    done = tickc("backfill", "two.tick", "--input", parquet, "--output", "out", "--measurement", "mem")
    assert done.returncode == 0
    assert pq.read_table(tmp_path / "out/b").num_rows == 120 and pq.read_table(tmp_path / "out/a").num_rows == 0


def test_malformed_lines_are_left_out_and_told(tickc: Tickc, script: Path, tmp_path: Path) -> None:
    good = lines(120).splitlines()
    bad = [b"cpu", b"cpu,host= usage=1", b"cpu usage=99999999999999999999i 1", b"cpu usage=\xff 1", b"=1"] * 3
    mixed = [part for i, line in enumerate(good) for part in ([line.encode()] + ([bad[i]] if i < len(bad) else []))]
    (tmp_path / "in.lp").write_bytes(b"\n".join(mixed) + b"\n")
    done = tickc("backfill", script, "--input", "in.lp", "--output", "out", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["points_read"] == 120 and sum(summary["left_out"].values()) == len(bad)
    assert len(summary["first_left_out"]) == 10 and summary["first_left_out"][0].startswith("in.lp: line 2 char ")
    assert done.stderr.count("in.lp: line ") == 10
    assert summary["alerts"] == {"CRITICAL": 1, "OK": 1}


def test_dropped_points_are_counted_by_node(tickc: Tickc, tmp_path: Path, parquet: Path) -> None:
    (tmp_path / "e.tick").write_text(
        "stream|from().measurement('cpu')|eval(lambda: \"nope\" + 1.0).as('x')|httpOut('x')"
    )
    done = tickc("backfill", "e.tick", "--input", parquet, "--output", "out", "--json")
    assert done.returncode == 0
    assert sum(json.loads(done.stdout)["dropped"]["eval2"].values()) == 120
    assert "eval2" in done.stderr


def test_unsorted_rows(tickc: Tickc, script: Path, tmp_path: Path) -> None:
    pq.write_table(table(120).take(list(range(119, -1, -1))), tmp_path / "in.parquet")
    done = tickc("backfill", script, "--input", "in.parquet", "--output", "out")
    assert done.returncode == 1 and "not in time order" in done.stderr and "--sort" in done.stderr
    assert not (tmp_path / "out").exists()
    done = tickc("backfill", script, "--input", "in.parquet", "--output", "out", "--sort")
    assert done.returncode == 0
    assert len((tmp_path / "out/alerts.jsonl").read_text().splitlines()) == 2


# ------------------------------------------------------------------------------------------------- bad outputs


def test_a_folder_that_is_not_empty(tickc: Tickc, script: Path, parquet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert tickc("backfill", script, "--input", parquet, "--output", out).returncode == 0
    first = files(out)
    done = tickc("backfill", script, "--input", parquet, "--output", out)
    assert done.returncode == 1 and "is not empty" in done.stderr and "--overwrite" in done.stderr
    (out / "passed/part-00009.parquet").write_text("old")
    assert tickc("backfill", script, "--input", parquet, "--output", out, "--overwrite").returncode == 0
    assert files(out) == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    done = tickc("backfill", script, "--input", parquet, "--output", "mine", "--overwrite")
    assert done.returncode == 1 and "did not write" in done.stderr
    assert files(tmp_path / "mine") == ["thesis.txt"]


def test_outputs_that_cannot_be_written(tickc: Tickc, script: Path, parquet: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for output, says in (("file", "is a file"), ("file/out", "cannot write file/out"), ("/proc/out", "cannot write")):
        done = tickc("backfill", script, "--input", parquet, "--output", output)
        assert done.returncode == 1 and says in done.stderr, done.stderr


@pytest.mark.parametrize("form", ["parquet", "arrow", "jsonl", "lp"])
def test_a_disk_that_fills(tickc: Tickc, tmp_path: Path, form: str) -> None:
    (tmp_path / "all.tick").write_text("stream|from().measurement('cpu')|httpOut('all')")
    (tmp_path / "in.lp").write_text(lines(30_000))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    tickc("check", "all.tick")
    before = files(tmp_path)
    done = tickc("backfill", "all.tick", "--input", "in.lp", "--output", "out", "--format", form, preexec_fn=limit)
    assert done.returncode == 1 and "cannot write out" in done.stderr, done.stderr
    assert "file too large" in done.stderr.lower()
    assert files(tmp_path) == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("exists", [False, True])
def test_interrupted(
    environment: dict[str, str], script: Path, tmp_path: Path, number: int, code: int, exists: bool
) -> None:
    """A run that waits for its input is interrupted: nothing stays behind."""
    fifo = tmp_path / "in.lp"
    os.mkfifo(fifo)
    if exists:
        (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "tickc", "backfill", str(script), "--input", "in.lp", "--output", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not any(p.name.find("tickc-") > 0 for p in [*tmp_path.iterdir(), *(tmp_path / "out").glob(".*")]):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert "interrupted" in errors and "nothing was written to out" in errors
    assert files(tmp_path) == ["cpu_alert.tick"]
    assert (tmp_path / "out").exists() == exists


# -------------------------------------------------------------------------------------------------- from Python


def test_tables(parquet: Path) -> None:
    task = tickc_package.compile(ALERT, name="cpu_alert")
    tables = task.backfill(parquet)
    assert set(tables) == {"alerts", "passed"}
    assert tables["passed"].column_names == ["time", "host", "seen", "usage"]
    assert tables["passed"].num_rows == 2
    assert tables["alerts"].column("level").to_pylist() == ["CRITICAL", "OK"]
    assert task.backfill(parquet, stop="2024-01-01T00:00:10Z")["passed"].num_rows == 0
    assert task.backfill([parquet], start=START, stop=START + SECOND)["passed"].schema.field("time").name == "time"


def test_tables_do_not_depend_on_the_size_of_batches(parquet: Path) -> None:
    task = tickc_package.compile(MEAN)
    whole = task.backfill(parquet)["means"]
    assert whole.num_rows == 38
    for size in (1, 7):
        assert task.backfill(parquet, batch_rows=size)["means"].to_pylist() == whole.to_pylist()


def test_summary_and_steps(parquet: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    summary = tickc_package.compile(MEAN).backfill(
        parquet, tmp_path / "out", batch_rows=50, on_step=lambda source, s: seen.append(s.points_read)
    )
    assert summary.points_read == 120 and seen[:2] == [50, 100] and seen[-1] == 120
    assert [(s.kind, s.name, s.file) for s in summary.sinks] == [("httpOut", "means", "means")]
    with pytest.raises(ValueError, match="is no time"):
        tickc_package.compile(MEAN).backfill(parquet, start="noon")
