"""tickc backfill --source and --write-to: servers that die, runs that are killed, addresses that are wrong."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_cases import ALERT, MEAN, SECOND, START, Tickc, lines
from cutting_proxy import cutting
from influxd import Influxd

import tickc as package
from tickc.cli import main

ROLLUP = """stream
    |from().measurement('cpu').groupBy('host').where(lambda: "host" != 'h3')
    |window().period(1m).every(1m)
    |mean('usage').as('mean')
    |influxDBOut().database('{db}').measurement('rollup').tag('by', 'tickc').buffer(100){more}
"""
BATCH = """batch
    |query('SELECT mean("usage") AS mean FROM "{db}"."autogen"."cpu"')
        .period(5m).every(5m).groupBy('host', time(1m))
    |httpOut('means')
"""


def sparse(n: int, hosts: int = 4) -> str:
    """`n` points in the order in which InfluxDB gives them; of some only the field `note`, which no task reads."""
    chance = random.Random(n)
    out = []
    for i in range(n):
        moment = START + i // hosts * 10 * SECOND
        fields = [f"usage={chance.random() * 100!r}", f"seen={i}i"] if chance.random() < 0.8 else ['note="x"']
        out.append(f"cpu,dc=d{i % hosts % 2},host=h{i % hosts} {','.join(fields)} {moment}")
    return "\n".join(sorted(out, key=lambda line: (int(line.rsplit(" ", 1)[1]), line))) + "\n"


def results(folder: Path) -> dict[str, Any]:
    """What a backfill left, without its summary."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            found[str(path.relative_to(folder))] = pq.read_table(path).to_pylist()
        elif path.suffix in (".jsonl", ".lp"):
            found[path.name] = path.read_text()
    return found


WINDOWS = """
var points = stream|from().groupBy(*)
points|window().period(2m).every(30s)|count('seen')|httpOut('counts')
points|where(lambda: "usage" > 50.0)|httpOut('high')
points|barrier().period(1m)|window().period(1m).every(1m)|max('usage')|httpOut('largest')
"""


@pytest.mark.parametrize("text", [ALERT, MEAN, BATCH, WINDOWS])
def test_a_server_gives_the_results_of_a_file(influxd: Influxd, tmp_path: Path, text: str) -> None:
    database = influxd.database()
    influxd.write(sparse(2000), database)
    path = tmp_path / "cpu.lp"
    path.write_text(sparse(2000))
    task = package.compile(text.replace("{db}", database))
    bounds: dict[str, int]
    # a server cannot tell when the queries begin and end
    whole = {"start": START, "stop": START + 5400 * SECOND} if text is BATCH else {}
    for bounds in (whole, {"start": START + 600 * SECOND, "stop": START + 4000 * SECOND}):
        of_file = task.backfill(path, **bounds)
        of_server = task.backfill(source=influxd.url(database), **bounds)
        assert of_server.keys() == of_file.keys() and of_file
        for name, table in of_file.items():
            assert table.num_rows
            assert of_server[name].to_pylist() == table.to_pylist()


def test_what_influxdbout_writes_is_on_the_server(tickc: Tickc, influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=database, more=""))
    (tmp_path / "cpu.lp").write_text(sparse(4000))
    done = tickc("backfill", "rollup.tick", "--input", "cpu.lp", "--output", "lines", "--format", "lp")
    assert done.returncode == 0, done.stderr
    done = tickc(
        "backfill", "rollup.tick", "--input", "cpu.lp", "--write-to", influxd.url(), "--output", "out", "--json"
    )
    assert done.returncode == 0, done.stderr
    (expected,) = results(tmp_path / "lines").values()
    copy = influxd.database()
    influxd.write(expected, copy)
    select = "SELECT * FROM rollup GROUP BY *"
    assert influxd.query(select, database) == influxd.query(select, copy) != []
    summary = json.loads(done.stdout)
    n = len(expected.splitlines())
    assert summary["servers"] == {influxd.address: {"delivered": n, "failed": {}}}
    assert [(s["kind"], s["rows"], s["file"]) for s in summary["sinks"]] == [("influxDBOut", n, influxd.address)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cpu.lp", "lines", "out", "rollup.tick"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["_tickc.json"]


def test_from_server_to_server(tickc: Tickc, influxd: Influxd, tmp_path: Path) -> None:
    here, there = influxd.database(), influxd.database()
    influxd.query(f"DROP DATABASE {there}")
    influxd.write(sparse(1000), here)
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=there, more=".create()"))
    done = tickc(
        "backfill", "rollup.tick", "--source", influxd.url(here), "--write-to", influxd.url(), "--output", "out"
    )
    assert done.returncode == 0, done.stderr
    assert "points read" in done.stderr and influxd.address in done.stderr
    assert influxd.query("SELECT count(mean) FROM rollup", there)


def test_a_module_alone_from_server_to_server(tickc: Tickc, alone: Tickc, influxd: Influxd, tmp_path: Path) -> None:
    here, there = influxd.database(), influxd.database()
    influxd.write(sparse(1000), here)
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=there, more=""))
    tickc("compile", "rollup.tick", "-o", "rollup.py")
    done = alone("rollup.py", "--source", influxd.url(here), "--write-to", influxd.url(), "--spool", "wait")
    assert done.returncode == 0 and done.stdout == "", done
    assert "points read" in done.stderr and influxd.address in done.stderr
    assert influxd.query("SELECT count(mean) FROM rollup", there)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rollup.py", "rollup.tick"]


# ---------------------------------------------------------------------------------------------- servers that die


def begin(environment: dict[str, str], folder: Path, *arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tickc", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)


def wait(until: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.005)


def test_a_source_that_dies_and_comes_back(
    environment: dict[str, str], start_influxd: Callable[..., Influxd], tmp_path: Path
) -> None:
    server = start_influxd()
    database = server.database()
    text = sparse(40_000)
    server.write(text, database)
    (tmp_path / "task.tick").write_text(MEAN)
    (tmp_path / "cpu.lp").write_text(text)
    package.compile(MEAN).backfill(tmp_path / "cpu.lp", tmp_path / "file")
    with cutting(server.port) as proxy:
        url = f"influxdb://127.0.0.1:{proxy.port}/{database}?connections=1"
        process = begin(environment, tmp_path, "backfill", "task.tick", "--source", url, "--output", "out")
        wait(lambda: proxy.passed > 50_000, process)
        server.kill()
        time.sleep(0.5)
        server.start()
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 0, stderr
    assert results(tmp_path / "out") == results(tmp_path / "file")


def test_a_run_that_is_killed_goes_on_without_losing_or_doubling(
    tickc: Tickc, environment: dict[str, str], start_influxd: Callable[..., Influxd], tmp_path: Path
) -> None:
    """The server that is written to is away, the run is killed, the server comes back, the run is begun again."""
    server = start_influxd()
    database = server.database()
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=database, more=""))
    (tmp_path / "cpu.lp").write_text(sparse(40_000))
    run = ("backfill", "rollup.tick", "--input", "cpu.lp", "--output", "out", "--batch-rows", 500)
    package.compile((tmp_path / "rollup.tick").read_text()).backfill(
        tmp_path / "cpu.lp", write_to=server.url(), spool=tmp_path / "spool"
    )
    select = "SELECT * FROM rollup GROUP BY *"
    expected = server.query(select, database)
    server.query("DROP MEASUREMENT rollup", database)
    with cutting(server.port) as proxy:
        to = ("--write-to", f"influxdb://127.0.0.1:{proxy.port}", "--overwrite")
        process = begin(environment, tmp_path, *run, *to)
        wait(lambda: proxy.passed > 600, process)  # some batches have been confirmed
        server.kill()
        wait(lambda: len(list((tmp_path / "out.spool").glob("*/*.lp.gz"))) > 5, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert list((tmp_path / "out.spool").glob("*/*.lp.gz"))
        server.start()
        done = tickc(*run, *to)
    assert done.returncode == 0, done.stderr
    assert "had been left by a run that was broken off" in done.stderr
    assert server.query(select, database) == expected
    assert not (tmp_path / "out.spool").exists()


def test_a_server_that_stays_away(tickc: Tickc, start_influxd: Callable[..., Influxd], tmp_path: Path) -> None:
    server = start_influxd()
    database = server.database()
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=database, more=""))
    (tmp_path / "cpu.lp").write_text(sparse(4000))
    with cutting(server.port) as proxy:
        url = f"influxdb://127.0.0.1:{proxy.port}?patience=300ms"
        run = ("backfill", "rollup.tick", "--input", "cpu.lp", "--output", "out", "--batch-rows", 500)
        proxy.cuts = [900, *[-1] * 1000]  # at first one looks whether all is there
        done = tickc(*run, "--write-to", url, "--spool", "wait here")
        assert done.returncode == 1
        assert "points wait in wait here" in done.stderr and "the next run delivers them first" in done.stderr
        assert not (tmp_path / "out").exists() and list((tmp_path / "wait here").glob("*/*.lp.gz"))


def test_a_run_from_server_to_server_is_resumed(
    tickc: Tickc, environment: dict[str, str], start_influxd: Callable[..., Influxd], tmp_path: Path
) -> None:
    server = start_influxd()
    here, there = server.database(), server.database()
    text = sparse(20_000)
    server.write(text, here)
    (tmp_path / "cpu.lp").write_text(text)
    script = "var means = stream|from().measurement('cpu')|httpOut('seen')\n" + ROLLUP.format(db=there, more="")
    (tmp_path / "task.tick").write_text(script)
    package.compile(script).backfill(
        tmp_path / "cpu.lp", tmp_path / "file", write_to=server.url(), spool=tmp_path / "spool"
    )
    select = "SELECT * FROM rollup GROUP BY *"
    expected = server.query(select, there)
    server.query("DROP MEASUREMENT rollup", there)
    run = (
        "backfill", "task.tick", "--source", server.url(here), "--write-to", server.url(), "--output", "out",
        "--batch-rows", 200, "--checkpoint", 0,
    )  # fmt: skip
    process = begin(environment, tmp_path, *run)
    wait(lambda: (tmp_path / ".out.tickc-run" / "manifest.json").exists(), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = tickc(*run, "--resume")
    assert done.returncode == 0, done.stderr
    assert "the run was broken off and went on after" in done.stderr
    assert results(tmp_path / "out") == results(tmp_path / "file")
    assert server.query(select, there) == expected


# -------------------------------------------------------------------------------------------------- what is wrong


def test_wrong_addresses(
    script: Path, points: Path, influxd: Influxd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = influxd.database()
    influxd.write("cpu usage=1 1", database)

    def failing(*arguments: Any) -> tuple[int, str]:
        code = main(["backfill", str(script), "--output", str(tmp_path / "out"), *map(str, arguments)])
        told = capsys.readouterr()
        assert "secret" not in told.err + told.out
        return code, told.err

    code, told = failing("--source", "influxdb://127.0.0.1:9/db")
    assert code == 1 and "error: cannot reach InfluxDB at http://127.0.0.1:9: connection refused" in told
    code, told = failing("--source", "http://127.0.0.1:9/db")
    assert code == 2 and "is no address of InfluxDB" in told
    code, told = failing("--source", "influxdb://me:secret@h/db?timout=5s")
    assert code == 2 and "did you mean timeout?" in told
    code, told = failing("--source", influxd.url(database + "x"))
    assert code == 1 and f"did you mean {database}?" in told
    code, told = failing("--source", influxd.url(database), "--input", points)
    assert code == 2 and "Give either --input or --source." in told
    assert failing()[0] == 2
    code, told = failing("--input", points, "--spool", "x")
    assert code == 2 and "only with --write-to" in told
    code, told = failing("--input", points, "--write-to", influxd.url("nowhere"))
    assert code == 0 and "the script has no influxDBOut" in told


def test_queries_have_to_begin(influxd: Influxd, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = influxd.database()
    influxd.write(sparse(10), database)
    script = tmp_path / "means.tick"
    script.write_text(BATCH.replace("{db}", database))
    assert main(["backfill", str(script), "--source", influxd.url(database), "--output", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "error: a server cannot tell when the queries begin" in told and "hint: --start TIME" in told
    assert not (tmp_path / "out").exists()


def test_no_password_is_anywhere(
    tickc: Tickc, start_influxd: Callable[..., Influxd], tmp_path: Path, environment: dict[str, str]
) -> None:
    server = start_influxd(user=("admin", "topsecret"))
    database = server.database()
    server.write(lines(120), database)
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=database, more=""))
    place = f"influxdb://127.0.0.1:{server.port}/{database}"
    run = ("backfill", "rollup.tick", "--output", "out", "--overwrite", "--json")
    login = {**environment, "INFLUX_USERNAME": "admin", "INFLUX_PASSWORD": "topsecret"}
    config = tmp_path / "kapacitor.conf"
    config.write_text(f'[[influxdb]]\nname="own"\nurls=["{server.address}"]\nusername="admin"\npassword="topsecret"\n')
    config.chmod(0o600)
    own = server.url(database)
    ways: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("--source", own, "--write-to", own), {}),
        (("--source", place, "--write-to", place), {"env": login}),
        (("--source", f"influxdb://own/{database}", "--write-to", place, "--config", config), {}),
    ]
    for more, options in ways:
        done = tickc(*run, *more, **options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["servers"][server.address]["delivered"] > 0
        assert "topsecret" not in done.stdout + done.stderr
    wrong = tickc(*run, "--source", own.replace("topsecret", "topsecrets"), "--write-to", own)
    assert wrong.returncode == 1 and "does not accept the login: authorization failed" in wrong.stderr
    assert "topsecret" not in wrong.stdout + wrong.stderr
    for path in tmp_path.rglob("*"):
        assert path == config or path.is_dir() or b"topsecret" not in path.read_bytes(), path


def test_points_that_are_refused(tickc: Tickc, influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    influxd.write(f"rollup mean=1i {START}", database)
    (tmp_path / "rollup.tick").write_text(ROLLUP.format(db=database, more=""))
    (tmp_path / "cpu.lp").write_text(sparse(4000))
    done = tickc("backfill", "rollup.tick", "--input", "cpu.lp", "--write-to", influxd.url(), "--output", "out")
    assert done.returncode == 1
    assert "error: no point was accepted by the server" in done.stderr
    assert f"{influxd.address} refused" in done.stderr and "already exists as type integer" in done.stderr


def test_in_python(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    influxd.write(lines(120), database)
    task = package.compile(
        ROLLUP.format(db=database, more="") + "var x = stream|from().measurement('cpu')|httpOut('all')"
    )
    url = influxd.url(database)
    tables = task.backfill(source=url, write_to=url, spool=tmp_path / "spool")
    assert list(tables) == ["all"] and tables["all"].num_rows == 120
    assert influxd.query("SELECT count(mean) FROM rollup", database)
    with pytest.raises(ValueError, match="give either inputs or a source"):
        task.backfill()


def test_a_set_of_tasks_over_a_server(influxd: Influxd, tmp_path: Path) -> None:
    database, there = influxd.database(), influxd.database()
    influxd.write(sparse(1000), database)
    scripts = {"alert": ALERT, "batch": BATCH.format(db=database), "rollup": ROLLUP.format(db=there, more="")}
    tasks = [package.compile(script, name=name) for name, script in scripts.items()]
    bounds: dict[str, Any] = {"start": START, "stop": START + 2000 * SECOND}
    together = package.backfill_all(
        tasks, source=influxd.url(database), output=tmp_path / "out", write_to=influxd.url(), **bounds
    )
    assert not together.failed
    for task in tasks[:2]:
        task.backfill(source=influxd.url(database), output=tmp_path / "alone" / task.name, **bounds)
        assert results(tmp_path / "out" / task.name) == results(tmp_path / "alone" / task.name) != {}
    (sink,) = together.tasks["rollup"].sinks
    told = {"delivered": sink.rows, "failed": {}}
    assert together.servers == {f"rollup: {influxd.address}": told} and sink.rows
    assert influxd.query("SELECT count(mean) FROM rollup", there)[0]["values"][0][1] == sink.rows
    assert not list(tmp_path.glob("**/*.spool")) and not list(tmp_path.glob("**/.tickc-run"))
