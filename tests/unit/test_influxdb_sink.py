"""What influxDBOut writes arrives at servers: all of it, once, in order, whatever happens to them."""

from __future__ import annotations

import gzip
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cutting_proxy import cutting
from influxd import Influxd
from influxdb_stand_in import StandIn, standing_in
from test_influxdb_source import ALL, ODD, in_file, points, random_points, read

import tickc
from tickc.runtime.backfill import SinkCount
from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.emitted import emitted
from tickc.runtime.influxdb import sink as module
from tickc.runtime.influxdb.address import parse
from tickc.runtime.influxdb.sink import Delivery, Destination, Tally, refusals, refused_together
from tickc.runtime.influxdb.spool import Spool, Target
from tickc.runtime.kinds import Kind
from tickc.runtime.outputs import Tables
from tickc.runtime.settings import Cluster, Settings, SettingsError
from tickc.runtime.sinks.columns import OutputError
from tickc.runtime.sources.base import SourceError
from tickc.runtime.sources.inputs import open_inputs

COPY = "stream|from()|influxDBOut().buffer(50)"


class Run:
    """A task whose influxDBOut nodes write to servers."""

    def __init__(self, url: str, spool: Path, script: str = COPY, settings: Settings | None = None) -> None:
        self.graph = tickc.compile(script).build()
        self.tables = Tables()
        self.delivery = Delivery(self.tables, self.graph, Destination(parse(url, settings, {}), spool), settings)
        self.sinks: dict[tuple[str, str], Any] = {}

    def feed(self, rows: Rows) -> None:
        self._write(list(self.graph.feed(rows)))

    def end(self) -> dict[str, Any]:
        """What became of the points, all servers together."""
        self._write(list(self.graph.end()))
        self.delivery.close()
        told = self.delivery.summary().values()
        failed: dict[str, int] = {}
        for one in told:
            failed.update(one["failed"])
        return {"delivered": sum(one["delivered"] for one in told), "failed": failed}

    def _write(self, outputs: list[Any]) -> None:
        for found in emitted(outputs):
            key = found.kind, found.name
            if key not in self.sinks:
                self.sinks[key] = self.delivery.open(SinkCount(*key))
            self.sinks[key].write(found)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.delivery.abort()


def rows_of(text: str, folder: Path) -> list[Rows]:
    path = folder / "given.lp"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return list(open_inputs(path, check_order=False, batch_rows=100))


def copied(url: str, text: str, folder: Path, **options: Any) -> dict[str, Any]:
    with Run(url, folder / "spool", **options) as run:
        for rows in rows_of(text, folder):
            run.feed(rows)
        return run.end()


def waiting(folder: Path) -> list[str]:
    """The lines that wait in a spool, in order."""
    return [
        line
        for path in sorted(folder.glob("spool/*/*.lp.gz"))
        for line in gzip.decompress(path.read_bytes()).decode().split("\n")[1:-1]
    ]


@pytest.mark.parametrize("text", [ODD, random_points(11, 700, 10**9)])
def test_what_is_written_can_be_read_again(influxd: Influxd, tmp_path: Path, text: str) -> None:
    database = influxd.database()
    told = copied(influxd.url(database), text, tmp_path)
    expected = in_file(text, tmp_path, database)
    assert told == {"delivered": len(expected), "failed": {}}
    assert read(influxd.url(database)) == expected
    assert not (tmp_path / "spool").exists()


def test_databases_policies_measurements_and_tags_of_the_node(influxd: Influxd, tmp_path: Path) -> None:
    one, two = influxd.database(), influxd.database()
    influxd.query(f'CREATE RETENTION POLICY "a.b" ON {two} DURATION INF REPLICATION 1')
    script = f"""
    var points = stream|from()
    points|influxDBOut().database('{one}').measurement('copy').tag('by', 'tick').tag('host', 'all')
    points|influxDBOut().database('{two}').retentionPolicy('a.b').precision('s')
    """
    text = "m,host=a,dc=x v=1 1999999999\nm,dc=y v=2 -1999999999\n"
    assert copied(influxd.url(), text, tmp_path, script=script)["delivered"] == 4
    found = [(p[0], p[1], p[4]) for p in read(influxd.url(one))]
    assert found == [
        (-1999999999, "copy", {"by": "tick", "host": "all", "dc": "y"}),
        (1999999999, "copy", {"by": "tick", "host": "all", "dc": "x"}),
    ]
    assert [(p[0], p[1], p[3]) for p in read(influxd.url(two, "a%2Eb"))] == [
        (-1000000000, "m", "a.b"),
        (1000000000, "m", "a.b"),
    ]


def test_of_two_points_for_one_moment_the_later_stays(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    text = "".join(f"m,k={i % 7} v={i}i 5\n" for i in range(3000))
    copied(influxd.url(database), text, tmp_path)
    assert sorted(p[5]["v"][1] for p in read(influxd.url(database))) == list(range(2993, 3000))


def test_batches_are_as_large_as_the_buffer_says(influxd: Influxd, tmp_path: Path, monkeypatch: Any) -> None:
    database = influxd.database()
    put: list[int] = []
    original = Spool.put

    def listen(self: Spool, target: Target, lines: list[str]) -> None:
        put.append(len(lines))
        original(self, target, lines)

    monkeypatch.setattr(Spool, "put", listen)
    text = "".join(f"m v={i} {i}\n" for i in range(1050))
    copied(influxd.url(database), text, tmp_path, script="stream|from()|influxDBOut().buffer(300)")
    assert put == [300, 300, 300, 150]
    put.clear()
    monkeypatch.setattr(module, "BATCH_LINES", 40)
    copied(influxd.url(database), text, tmp_path, script="stream|from()|influxDBOut().buffer(300)")
    assert max(put) == 40 and sum(put) == 1050


def test_points_do_not_wait_longer_than_the_flush_interval(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    with Run(influxd.url(database), tmp_path, "stream|from()|influxDBOut().flushInterval(10ms)") as run:
        run.feed(rows_of("m v=1 1\n", tmp_path)[0])
        deadline = time.monotonic() + 10
        while not influxd.query("SELECT v FROM m", database):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.end()


def test_databases_are_created(influxd: Influxd, tmp_path: Path) -> None:
    script = "stream|from()|influxDBOut().database('made \"here\"').retentionPolicy('one').create()"
    with Run(influxd.url(), tmp_path / "spool", script) as run:
        run.feed(rows_of("m v=1 1\n", tmp_path)[0])
        assert run.end()["delivered"] == 1
    assert len(read(influxd.url("made%20%22here%22", "one"))) == 1
    influxd.query('DROP DATABASE "made \\"here\\""')


def test_a_database_that_cannot_be_created_is_noted(start_influxd: Callable[..., Influxd], tmp_path: Path) -> None:
    server = start_influxd(user=("admin", "a"))
    database = server.database()
    server.query("CREATE USER writer WITH PASSWORD 'w'")
    server.query(f"GRANT ALL ON {database} TO writer")
    script = f"stream|from()|influxDBOut().database('{database}').create()"
    with Run(f"influxdb://writer:w@127.0.0.1:{server.port}", tmp_path / "spool", script) as run:
        run.feed(rows_of("m v=1 1\n", tmp_path)[0])
        assert run.end()["delivered"] == 1
        assert any("could not create the database" in note for note in run.delivery.notes())


def test_clusters_are_those_of_the_settings(
    influxd: Influxd, start_influxd: Callable[..., Influxd], tmp_path: Path
) -> None:
    other = start_influxd(user=("me", "word"))
    here, there = influxd.database(), other.database()
    script = f"""
    var points = stream|from()
    points|influxDBOut().database('{here}')
    points|influxDBOut().database('{there}').cluster('far')
    """
    settings = Settings(clusters={"far": Cluster("far", (other.address,), username="me", password="word")})
    assert copied(influxd.url(), "m v=1 1\n", tmp_path, script=script, settings=settings)["delivered"] == 2
    assert len(read(influxd.url(here))) == len(read(other.url(there))) == 1
    with pytest.raises(SettingsError, match="no \\[\\[influxdb\\]\\] named 'far'"):
        copied(influxd.url(), "m v=1 1\n", tmp_path, script=script)


def test_other_sinks_are_left_alone(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    script = "var p = stream|from()\np|httpOut('seen')\np|influxDBOut()"
    with Run(influxd.url(database), tmp_path / "spool", script) as run:
        run.feed(rows_of("m v=1 1\nm v=2 2\n", tmp_path)[0])
        run.end()
        assert run.tables.result()["seen"].num_rows == 2
        assert list(run.tables.result()) == ["seen"]


# ------------------------------------------------------------------------------------------------ what is refused


def test_points_that_a_server_refuses_are_counted(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    influxd.write("m v=1 1\n", database)
    text = "".join(f"m v={i}i {i}\nm w={i} {i}\nn nan={i} {i}\n" for i in range(2, 102))
    script = """
    var p = stream|from()
    p|influxDBOut().buffer(60)
    p|where(lambda: isPresent("nan"))|eval(lambda: "nan" / 0.0).as('inf')|influxDBOut()
    """
    told = copied(influxd.url(database), text, tmp_path, script=script)
    conflict = 'field type conflict: input field "v" on measurement "m" is type integer, already exists as type float'
    assert told["failed"] == {f"partial write: {conflict}": 100, "InfluxDB has neither NaN nor infinity": 100}
    assert told["delivered"] == 200
    assert len(read(influxd.url(database))) == 201
    assert not (tmp_path / "spool").exists()


def test_points_that_have_no_form_are_not_sent(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    script = """
    stream|from()|eval(lambda: 1.0 / "d").as('q').keep()|delete().field('a')|delete().field('d')|influxDBOut()
    """
    told = copied(influxd.url(database), "m d=1 1\nm d=0 2\nm d=2 3\n", tmp_path, script=script)
    assert told == {"delivered": 2, "failed": {"InfluxDB has neither NaN nor infinity": 1}}
    script = "stream|from()|delete().field('d')|influxDBOut()"
    told = copied(influxd.url(database), "m d=1 5\nm d=0,e=1 6\n", tmp_path, script=script)
    assert told == {"delivered": 1, "failed": {"no field": 1}}
    script = """
    var p = stream|from()
    var a = p|where(lambda: "d" == 1)
    a|join(p|where(lambda: "d" == 2)).as('a', 'b').fill('null')|influxDBOut()
    """
    told = copied(influxd.url(database), "m d=1 7\nm d=2 8\nm d=1 9\nm d=2 9\n", tmp_path, script=script)
    assert told == {"delivered": 1, "failed": {"a field without a value": 2}}
    assert [p[0] for p in read(influxd.url(database))] == [1, 3, 6, 9]


def test_words_of_refusals() -> None:
    assert refusals("unable to parse 'a': missing fields\nunable to parse 'b 'c': bad timestamp", 2) == {
        "unable to parse: missing fields": 1,
        "unable to parse: bad timestamp": 1,
    }
    assert refusals("partial write: points beyond retention policy dropped=7", 10) == {
        "partial write: points beyond retention policy": 7
    }
    assert refusals("partial write: unable to parse 'm f=NaN 5': invalid number dropped=0", 3) == {
        "unable to parse: invalid number": 1
    }
    assert refusals("something else", 10) == {"something else": 10}
    conflict = "failure writing points to database: partial write: field type conflict: input field"
    assert refusals(f"{conflict} dropped=2", 3) == {conflict: 2}
    outside = "partial write: dropped {} points outside retention policy of duration 1h0m0s - oldest point m at {}"
    old = "partial write: points outside retention policy of duration 1h0m0s"
    assert refusals(outside.format(2, "1970 dropped because … dropped=2 for database: 8b"), 3) == {old: 2}
    assert refusals(outside.format(7, "1971 dropped because … dropped=7 for database: 8b"), 9) == {old: 7}


def test_many_reasons_of_refusals() -> None:
    tally = Tally()
    for i in range(1000):
        tally.reject({f"reason {i}": 2})
        tally.reject({"reason 5": 1})
    assert len(tally.rejected) == 101 and tally.rejected.total() == 3000
    assert tally.rejected["other reasons"] == 1800 and tally.rejected["reason 5"] == 1002


def test_words_of_refusals_because_of_other_points() -> None:
    line = "unable to parse 'm f=': missing field value"
    assert refused_together(line, 2) and not refused_together(line, 1)
    assert not refused_together(f"partial write: {line} dropped=0", 2)
    assert not refused_together("partial write: field type conflict: input field dropped=1", 2)
    assert refused_together("line protocol parsing error: of another type", 2)
    assert not refused_together("line protocol parsing error: of another type", 1)


def test_what_ends_a_run(influxd: Influxd, start_influxd: Callable[..., Influxd], tmp_path: Path) -> None:
    def failing(url: str, script: str = COPY) -> OutputError | SourceError:
        with pytest.raises((OutputError, SourceError)) as caught:
            copied(url, "m v=1 1\n", tmp_path, script=script)
        return caught.value

    server = start_influxd(user=("admin", "secret"))
    database = server.database()
    wrong = failing(f"influxdb://admin:wrong@127.0.0.1:{server.port}/{database}")
    assert "does not accept the login" in wrong.message and "wrong" not in wrong.message + wrong.hint
    absent = failing(influxd.url("nowhere"))
    assert absent.message == f'{influxd.address}: database not found: "nowhere"'
    assert ".create()" in absent.hint
    assert "name no database" in failing(influxd.url()).message
    assert "cannot reach InfluxDB" in failing("influxdb://127.0.0.1:9/db").message
    policy = failing(influxd.url(influxd.database(), "nope"))
    assert policy.message == f"{influxd.address}: retention policy not found: nope"
    assert not (tmp_path / "spool").exists()


def test_a_database_that_goes_away_ends_the_run(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    with Run(influxd.url(database), tmp_path / "spool") as run:
        influxd.query(f"DROP DATABASE {database}")
        with pytest.raises(OutputError) as caught:
            for rows in rows_of("".join(f"m v={i} {i}\n" for i in range(1000)), tmp_path):
                run.feed(rows)
            run.end()
    assert f'database not found: "{database}"' in caught.value.message
    assert f"points wait in {tmp_path}" in caught.value.message
    assert waiting(tmp_path)[0] == "m v=0 0"


# -------------------------------------------------------------------------------------------- servers that go away


def test_a_server_that_dies_and_comes_back_has_all_points(
    start_influxd: Callable[..., Influxd], tmp_path: Path
) -> None:
    server = start_influxd()
    database = server.database()
    text = random_points(12, 3000, 10**9)
    batches = rows_of(text, tmp_path)
    with Run(server.url(database), tmp_path / "spool") as run:
        for i, rows in enumerate(batches):
            run.feed(rows)
            if i in (3, 15):
                server.kill()
                time.sleep(0.3)
            if i == 10:
                server.start()
        threading.Timer(0.5, server.start).start()
        told = run.end()
    assert told["failed"] == {}
    assert read(server.url(database)) == in_file(text, tmp_path, database)
    assert not (tmp_path / "spool").exists()


def test_answers_that_are_lost_double_nothing(influxd: Influxd, tmp_path: Path) -> None:
    """The server has written a batch, but its word does not arrive: the batch is posted again."""
    database = influxd.database()
    text = random_points(13, 1000, 10**9)
    with cutting(influxd.port) as proxy:
        with Run(f"influxdb://127.0.0.1:{proxy.port}/{database}", tmp_path / "spool") as run:
            proxy.cuts = [-1, 0, 5, -1, 300, 1000, -1]
            for rows in rows_of(text, tmp_path):
                run.feed(rows)
            told = run.end()
        assert proxy.broken >= 4
    expected = in_file(text, tmp_path, database)
    assert told == {"delivered": len(expected), "failed": {}}
    assert read(influxd.url(database)) == expected


def test_what_was_not_delivered_is_the_first_that_the_next_run_delivers(
    start_influxd: Callable[..., Influxd], tmp_path: Path
) -> None:
    server = start_influxd()
    database = server.database()
    url = server.url(database) + "?patience=300ms"
    first, second = random_points(14, 600, 10**9), random_points(15, 300, 10**9)
    with Run(url, tmp_path / "spool") as run:
        server.kill()
        for rows in rows_of(first, tmp_path):
            run.feed(rows)
        with pytest.raises(OutputError) as caught:
            run.end()
    lines = waiting(tmp_path)
    assert f"{len(lines)} points wait in {tmp_path}" in caught.value.message
    assert "the next run delivers them first" in caught.value.message
    server.start()
    with Run(url, tmp_path / "spool") as run:
        for rows in rows_of(second, tmp_path):
            run.feed(rows)
        told = run.end()
        assert f"{len(lines)} of the points delivered had been left" in "".join(run.delivery.notes())
    assert told["delivered"] == len(lines) + len(in_file(second, tmp_path, database))
    both = {(p[0], p[1], tuple(sorted(p[4].items()))) for t in (first, second) for p in in_file(t, tmp_path, database)}
    assert len(read(server.url(database))) == len(both)
    assert not (tmp_path / "spool").exists()


def test_a_run_that_is_broken_off_leaves_whole_batches(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    with (
        cutting(influxd.port) as proxy,
        Run(f"influxdb://127.0.0.1:{proxy.port}/{database}", tmp_path / "spool") as run,
    ):
        proxy.cuts = [-1] * 1000
        for rows in rows_of("".join(f"m v={i} {i}\n" for i in range(500)), tmp_path):
            run.feed(rows)
        run.delivery.sync()
    assert len(waiting(tmp_path)) == 500
    assert sorted(p.name for p in tmp_path.glob("spool/*/*"))[0] == "000000000001.lp.gz"


def test_a_spool_is_for_one_run_at_a_time(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    first = Run(influxd.url(database), tmp_path / "spool")
    with first, pytest.raises(OutputError, match="another run uses the spool"):
        Run(influxd.url(database), tmp_path / "spool")


def test_a_spool_that_cannot_be_used_is_told(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(OutputError, match="cannot use the spool"):
        Run(influxd.url(database), tmp_path / "spool")


def test_damaged_batches_are_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "http://h:1")
    spool.put(Target("db"), ["m v=1 1", "m v=2 2"])
    spool.close()
    path = next(tmp_path.glob("*/*.lp.gz"))
    path.write_bytes(path.read_bytes()[:15])
    with pytest.raises(OutputError, match="is no batch that tickc left there"):
        Spool(tmp_path, "http://h:1")


def test_what_half_a_write_left_in_a_spool_is_no_batch(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "http://h:1")
    spool.put(Target("db", "rp", "all"), ["m v=1 1"])
    spool.close()
    part = spool.folder / "000000000002.part"
    part.write_bytes(b"half")
    again = Spool(tmp_path, "http://h:1")
    batch = again.oldest()
    assert batch is not None and (batch.target, batch.points) == (Target("db", "rp", "all"), 1)
    assert len(again) == again.points == 1 and not part.exists()
    again.put(Target("db"), ["m v=2 2"])
    again.done(batch)
    assert [w.name for w in sorted(again.folder.iterdir())] == ["000000000002.lp.gz"]
    again.close()


def test_a_full_spool_holds_back_the_run(influxd: Influxd, tmp_path: Path, monkeypatch: Any) -> None:
    database = influxd.database()
    monkeypatch.setattr(module, "AWAY", 2000)
    with cutting(influxd.port) as proxy:
        url = f"influxdb://127.0.0.1:{proxy.port}/{database}?patience=300ms"
        with Run(url, tmp_path / "spool") as run:
            proxy.cuts = [-1] * 1000
            batches = rows_of("".join(f"m v={i} {i}\n" for i in range(5000)), tmp_path)
            run.feed(batches[0])
            (writer,) = run.delivery.writers.values()
            while not writer._away:
                time.sleep(0.01)
            with pytest.raises(OutputError, match=r"is full, and http.* is away"):
                for rows in batches[1:]:
                    run.feed(rows)


def test_a_slow_server_holds_back_the_run_but_loses_nothing(influxd: Influxd, tmp_path: Path, monkeypatch: Any) -> None:
    database = influxd.database()
    monkeypatch.setattr(module, "HERE", 1000)
    text = "".join(f"m v={i} {i}\n" for i in range(3000))
    assert copied(influxd.url(database), text, tmp_path)["delivered"] == 3000
    assert [p[0] for p in read(influxd.url(database))] == list(range(3000))


# ----------------------------------------------------------------------------------------------- versions 2 and 3


@pytest.fixture(params=[2, 3])
def other(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    with standing_in(request.param, token="to/ken") as server:
        yield server


def test_other_versions_are_written_to_by_their_interface_of_version_1(other: StandIn, tmp_path: Path) -> None:
    other.refusals = [503, 429, 500]
    url = f"influxdb{other.version}://to%2Fken@127.0.0.1:{other.port}/db.rp?org=me"
    text = "m,host=a f=1.5,i=2i 10\nm f=2 20\n"
    assert copied(url, text, tmp_path) == {"delivered": 2, "failed": {}}
    given, body = other.written[0]
    assert given == {"db": "db", "rp": "rp", "precision": "ns", "org": "me"}
    assert body.split("\n")[1:] == ["m,host=a f=1.5,i=2i 10", "m f=2 20", ""]
    assert not other.refusals and len(other.written) == 1


def test_other_versions_refuse_points(other: StandIn, tmp_path: Path) -> None:
    with Run(f"{other.url}db", tmp_path / "spool") as run:
        other.refusals = [422 if other.version == 2 else 400]
        for rows in rows_of("m f=1 10\n", tmp_path):
            run.feed(rows)
        assert run.end() == {"delivered": 0, "failed": {"busy": 1}}


def test_a_wrong_token_ends_the_run(other: StandIn, tmp_path: Path) -> None:
    url = f"{other.url}db"
    with pytest.raises(OutputError, match="does not accept the login"), Run(url, tmp_path / "spool") as run:
        other.token = "another"
        for rows in rows_of("m f=1 10\n", tmp_path):
            run.feed(rows)
        run.end()
    assert waiting(tmp_path) == ["m f=1 10"]
    with pytest.raises((OutputError, SourceError), match="does not accept the login") as error:
        copied(url, "m f=1 10\n", tmp_path)
    assert f"influxdb{other.version}://TOKEN@" in error.value.hint


@pytest.mark.parametrize("bad", [[0], [35, 36, 37, 99], list(range(1, 100)), list(range(100))])
def test_points_are_not_lost_with_others_that_are_refused(other: StandIn, tmp_path: Path, bad: list[int]) -> None:
    """These versions take nothing of a batch of which they cannot take one line. A tag that ends with a backslash, as
    tables may have it, makes such a line."""
    n = 100
    hosts = ["a\\" if i in bad else "a" for i in range(n)]
    text = [None if i % 7 else "two\n\nlines, of which one ends \\" for i in range(n)]
    rows = Rows(
        np.arange(n), Text.constant("m", n), Text.constant("db", n), Text.constant("autogen", n),
        {"h": Text.of(hosts)}, {"v": Column.of(Kind.INT, np.arange(n)), "s": Column.of_values(text)},
    )  # fmt: skip
    with Run(f"{other.url}db", tmp_path / "spool", "stream|from()|influxDBOut().buffer(1000)") as run:
        run.feed(rows)
        told = run.end()
    reason = "unable to parse: invalid tag format"
    reason = reason if other.version == 2 else "line protocol parsing error: a tag without a value"
    assert told == {"delivered": n - len(bad), "failed": {reason: len(bad)}}
    body = "".join(body for _, body in other.written)
    assert [int(t) for t in re.findall(r"v=\d+i (\d+)$", body, re.MULTILINE)] == [i for i in range(n) if i not in bad]
    assert body.count("two\n\nlines, of which one ends \\\\") == sum(i % 7 == 0 and i not in bad for i in range(n))


def test_a_database_without_a_bucket(tmp_path: Path) -> None:
    """InfluxDB 2 takes the policy of a bucket `db/rp` for the default one only where it was mapped so."""
    with standing_in(2, "token") as server:
        for place in ("nope", "db.nope"):
            with pytest.raises(OutputError, match=f"has no bucket for {place}: no dbrp mapping found") as error:
                copied(f"{server.url}{place}", "m f=1 10\n", tmp_path)
            assert "influx v1 dbrp create" in error.value.hint
        server.policies = {"rp": False}
        with pytest.raises(OutputError, match="has no bucket for db:"):
            copied(f"{server.url}db", "m f=1 10\n", tmp_path)
        assert not server.written


def test_points_are_those_of_the_source(influxd: Influxd, tmp_path: Path) -> None:
    """From one database into another: nothing changes on the way."""
    from tickc.runtime.influxdb.client import Server
    from tickc.runtime.influxdb.source import Points

    here, there = influxd.database(), influxd.database()
    influxd.write(random_points(16, 500, 10**6) + ODD, here)
    with Run(influxd.url(there), tmp_path / "spool", f"stream|from()|influxDBOut().database('{there}')") as run:
        source = Points(Server(parse(influxd.url(here), environment={})), ALL)
        before = []
        for rows in source:
            before.extend(points(rows))
            run.feed(rows)
        run.end()
    assert [(p[0], p[1], p[4], p[5]) for p in read(influxd.url(there))] == [(p[0], p[1], p[4], p[5]) for p in before]
