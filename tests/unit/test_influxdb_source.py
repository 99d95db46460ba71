"""The points of a server: all of them, with their types and bits, in the order of their times."""

from __future__ import annotations

import gzip
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import cutting
from influxd import Influxd

from tickc.runtime.batch import Rows
from tickc.runtime.influxdb.address import parse
from tickc.runtime.influxdb.client import Server
from tickc.runtime.influxdb.source import Points
from tickc.runtime.kinds import Kind
from tickc.runtime.sources.base import SourceError, Wanted
from tickc.runtime.sources.inputs import open_inputs

WEEK = 7 * 86400 * 10**9
MOMENT = 1_600_000_000 * 10**9

Point = tuple[Any, ...]
ALL = Wanted()


def points(rows: Rows) -> Iterator[Point]:
    """Each point: time, name, database, policy, tags, fields with their kinds and bits."""
    tags = {k: v.tolist() for k, v in rows.tags.items()}
    names, databases, policies = rows.name.tolist(), rows.database.tolist(), rows.policy.tolist()
    fields = {k: (v.kinds_array().tolist(), [v.at(i) for i in range(len(rows))]) for k, v in rows.fields.items()}
    for i, moment in enumerate(rows.time.tolist()):
        own = {k: v[i] for k, v in tags.items() if v[i] is not None}
        values = {k: (Kind(kinds[i]).name, bits(v[i])) for k, (kinds, v) in fields.items() if kinds[i] != Kind.MISSING}
        yield moment, names[i], databases[i], policies[i], own, values


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def read(url: str, wanted: Wanted = ALL, slice_rows: int | None = None, **options: Any) -> list[Point]:
    found = Points(Server(parse(url, environment={})), wanted, **options)
    if slice_rows is not None:
        found.slice_rows = slice_rows
    try:
        read = [point for rows in found for point in points(rows)]
    finally:
        found.close()
    assert found.rows_read == len(read)
    assert not found.problems
    return read


def in_file(text: str, folder: Path, database: str, wanted: Wanted = ALL) -> list[Point]:
    """The points of line protocol as a file gives them, in the order in which the source promises them."""
    path = folder / "points.lp"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    source = open_inputs(
        path, columns=(wanted.tags, wanted.fields), measurements=wanted.measurements, start=wanted.start,
        stop=wanted.stop, check_order=False,
    )  # fmt: skip
    whole = open_inputs(path, check_order=False)
    order = [(p[0], p[1], p[4]) for rows in whole for p in points(rows)]
    if wanted.start is not None or wanted.measurements is not None:
        order = [p for p in order if wanted.start is None or wanted.start <= p[0] < (wanted.stop or 2**63)]
        order = [p for p in order if wanted.measurement(p[1])]
    keys = sorted({k for _, _, tags in order for k in tags})
    found = [p for rows in source for p in points(rows)]
    assert len(found) == len(order)
    place = sorted(range(len(found)), key=lambda i: (*order[i][:2], [order[i][2].get(k, "") for k in keys]))
    return [(*found[i][:2], database, "autogen", *found[i][4:]) for i in place]


def random_points(seed: int, count: int, spread: int) -> str:
    """Line protocol of some measurements: ties, several tags or none, fields that are often absent."""
    chance = random.Random(seed)
    series: dict[tuple[str, int], str] = {}
    for _ in range(count):
        name = chance.choice(["cpu", "mem", "disk io"])
        tags = "".join(
            f",{k}={chance.choice(values)}"
            for k, values in [("host", "abc"), ("dc", ["ü", "x\\ y"]), ("a", "12")]
            if chance.random() < 0.7
        )
        fields = {
            "usage": f"{struct.unpack('<d', struct.pack('<Q', chance.getrandbits(62)))[0]!r}",
            "count": f"{chance.randint(-(2**63), 2**63 - 1)}i",
            "up": chance.choice(["true", "false"]),
            "state": chance.choice(['"on"', '"o,f= f\\""', '""']),
        }
        own = [k for k in fields if chance.random() < 0.3] or [chance.choice(list(fields))]
        key = name.replace(" ", "\\ ") + tags
        moment = MOMENT + chance.randrange(count) * spread
        series[key, moment] = f"{key} {','.join(f'{k}={fields[k]}' for k in own)} {moment}"
    return "\n".join(series.values()) + "\n"


SOME = [
    ALL,
    Wanted(tags=["host"], fields=["usage"], measurements=["cpu"]),
    Wanted(tags=[], fields=["usage", "count"]),
    Wanted(tags=["dc"], fields=[], measurements=["mem", "disk io"]),
    Wanted(tags=["host"], fields=["nowhere"], measurements=["cpu"]),
    Wanted(start=MOMENT + 100 * 10**9, stop=MOMENT + 500 * 10**9),
]


@pytest.mark.parametrize("wanted", SOME)
@pytest.mark.parametrize("slice_rows", [None, 7])
def test_the_points_are_those_that_were_written(
    influxd: Influxd, tmp_path: Path, wanted: Wanted, slice_rows: int | None
) -> None:
    text = random_points(1, 800, 10**9)
    database = influxd.database()
    influxd.write(text, database)
    assert read(influxd.url(database), wanted, slice_rows) == in_file(text, tmp_path, database, wanted)


ODD = (
    'we\\ ird\\,\\ "na=me",ta\\=g\\ "k=\\"v\\,\\ \\=ü,host=a\\ b '
    'fi\\=eld\\,\\ x="a \\"quoted\\" \\\\ back, \n line",ü=1i 1\n'
    "m float=-0,int=-9223372036854775808i -1\n"
    "m float=5e-324,int=9223372036854775807i,text=\"日本\" 0\n"
    'm float=1.7976931348623157e308,yes=T,no=F,empty="" 9223372036854775806\n'
    "m float=0.1,int=9007199254740993i -9223372036854775806\n"
    "m,float=tag float=5,int=5i 2\n"
)  # fmt: skip


def test_odd_names_and_values_keep_every_bit(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    influxd.write(ODD, database)
    found = read(influxd.url(database))
    assert found == in_file(ODD, tmp_path, database)
    floats = [p[5]["float"][1] for p in found if "float" in p[5]]
    assert struct.pack("<d", -0.0) in floats and struct.pack("<d", 5e-324) in floats


def test_bytes_that_are_no_utf8_are_kept(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write(b'm,k=\xfe s="\xff\x80" 1', database)
    assert read(influxd.url(database)) == [
        (1, "m", database, "autogen", {"k": "\udcfe"}, {"s": ("STRING", "\udcff\udc80")})
    ]


def test_points_with_none_of_the_fields_are_read_too(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("m a=1,b=1 1\nm b=2 2\nm a=3 3\n", database)
    assert [p[0] for p in read(influxd.url(database), Wanted(fields=["a"]))] == [1, 2, 3]


def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that are sent from now on."""
    sent: list[str] = []
    gather = Server.gather

    def listen(self: Server, text: str, *given: Any, **options: Any) -> Any:
        sent.append(text)
        return gather(self, text, *given, **options)

    monkeypatch.setattr(Server, "gather", listen)
    return sent


def test_only_what_is_wanted_is_asked_for(influxd: Influxd, monkeypatch: pytest.MonkeyPatch) -> None:
    database = influxd.database()
    influxd.write("cpu,host=a,dc=x usage=1,idle=2,nice=3 10\nmem free=1 10\n", database)
    sent = queries(monkeypatch)
    wanted = Wanted(tags=["host"], fields=["usage"], measurements=["cpu"], start=5, stop=20)
    assert len(read(influxd.url(database), wanted, slice_rows=10**6)) == 1
    place = f'"{database}"."autogen"."cpu"'
    assert sent[0].startswith(f'SELECT "usage"::field FROM {place} WHERE time >= 5 AND time < 6 GROUP BY *')
    absent = [text for text in sent if "idle" in text]
    assert absent[0].startswith(f'SELECT "idle"::field, "nice"::field FROM {place} WHERE time >= ')
    assert '("usage"::field = "usage"::field) = false' in absent[0]
    assert not any("mem" in text for text in sent)


CONDITIONS: list[tuple[Any, Callable[[Point], bool], str]] = [
    (("usage", ">", 50.5), lambda p: value(p, "usage") > 50.5, '"usage"::float > 50.5'),
    (("usage", "<=", -2), lambda p: value(p, "usage") <= -2, '"usage"::float <= -2'),
    (("usage", "==", 1e-7), lambda p: value(p, "usage") == 1e-7, '"usage"::float = 0.0000001'),
    (("usage", "!=", 1e22), lambda p: value(p, "usage") != 1e22, '"usage"::float != 10000000000000000000000.0'),
    (("count", ">=", 2**53 + 1), lambda p: value(p, "count") >= 2**53 + 1, f'"count"::integer >= {2**53 + 1}'),
    (("count", "<", -0.5), lambda p: value(p, "count") < -0.5, '"count"::integer < -0.5'),
    (("state", "==", "o'n\\"), lambda p: value(p, "state") == "o'n\\", "\"state\"::string = 'o\\'n\\\\'"),
    (("state", "!=", ""), lambda p: value(p, "state") != "", "\"state\"::string != ''"),
    (("up", "==", True), lambda p: value(p, "up") is True, '"up"::boolean = true'),
    (("host", "==", "a b"), lambda p: p[4].get("host") == "a b", "\"host\"::tag = 'a b'"),
    (("host", "!=", "a b"), lambda p: p[4].get("host") != "a b", "\"host\"::tag != 'a b'"),
]


def value(point: Point, name: str) -> Any:
    kind, found = point[5].get(name, ("", None))
    found = struct.unpack("<d", found)[0] if kind == "FLOAT" else found
    return float("nan") if found is None else found


@pytest.mark.parametrize(("conjunct", "holds", "text"), CONDITIONS)
def test_the_server_filters(
    influxd: Influxd, monkeypatch: pytest.MonkeyPatch, conjunct: Any, holds: Callable[[Point], bool], text: str
) -> None:
    database = influxd.database()
    usages = [0.0, -0.0, 1e-7, 50.5, 50.50000000000001, 1e22, -2.0, -2.0000000000000004, 1.7e308]
    counts = [0, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
    states = ["on", "", "o'n\\"]
    lines = [f"m,host=a\\ b usage={u!r} {i}" for i, u in enumerate(usages)]
    lines += [f"m,host=b count={c}i {100 + i}" for i, c in enumerate(counts)]
    quoted = [s.replace("\\", "\\\\") for s in states]
    lines += [f'm state="{s}",up={"true" if i % 2 else "false"} {200 + i}' for i, s in enumerate(quoted)]
    influxd.write("\n".join(lines), database)
    everything = read(influxd.url(database))
    assert len(everything) == len(lines)
    sent = queries(monkeypatch)
    found = read(influxd.url(database), Wanted(predicate=(conjunct,)))
    column = conjunct[0]
    expected = [p for p in everything if holds(p) and (column == "host" or column in p[5])]
    assert found == expected
    assert text in sent[0]


def test_what_a_server_would_judge_otherwise_it_is_not_told(influxd: Influxd, monkeypatch: pytest.MonkeyPatch) -> None:
    database = influxd.database()
    influxd.write('m,host=a,both=x usage=1,both=1,state="s" 1\n', database)
    predicate = (("both", "==", "x"), ("usage", "==", "1"), ("state", "<", "t"), ("host", ">", "a"), ("none", "==", 1))
    sent = queries(monkeypatch)
    assert len(read(influxd.url(database), Wanted(predicate=predicate))) == 1  # type: ignore[arg-type]
    assert all(text.count("AND") == 1 for text in sent)  # the bounds of time


def test_a_field_that_changes_its_type_between_shards(influxd: Influxd, tmp_path: Path) -> None:
    database = influxd.database()
    kinds = ["1.5", "2i", "3", "4i", '"five"', "6i"]
    start = MOMENT // WEEK * WEEK
    text = "".join(f"m f={v} {start + i * WEEK + j * 3600 * 10**9}\n" for i, v in enumerate(kinds) for j in range(20))
    influxd.write(text, database)
    for wanted in (ALL, Wanted(predicate=(("f", ">", 0.0),))):
        found = read(influxd.url(database), wanted)
        assert found == in_file(text, tmp_path, database)
    assert [p[5]["f"][0] for p in found][::20] == ["FLOAT", "INT", "FLOAT", "INT", "STRING", "INT"]


def test_long_silences_and_dense_moments(influxd: Influxd, tmp_path: Path) -> None:
    """Slices grow over what is empty, and are asked again, smaller, where they turn out too large."""
    database = influxd.database()
    lines = [f"m v={i} {i * WEEK * 50}" for i in range(20)]
    lines += [f"m,k={k} v={i} {MOMENT + i * 1000}" for i in range(2000) for k in range(5)]
    text = "\n".join(lines) + "\n"
    influxd.write(text, database)
    found = Points(Server(parse(influxd.url(database), environment={})), ALL)
    found.slice_rows = 20
    asked: list[tuple[int, int]] = []
    read_slice = found._read

    def listen(start: int, stop: int, dropped: threading.Event) -> Any:
        asked.append((start, stop))
        return read_slice(start, stop, dropped)

    found._read = listen  # type: ignore[method-assign]
    assert [p for rows in found for p in points(rows)] == in_file(text, tmp_path, database)
    assert len(asked) < 2500


def test_what_one_moment_holds_cannot_be_cut(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("\n".join(f"m,k={k} v=1 5" for k in range(300)), database)
    assert len(read(influxd.url(database), slice_rows=10)) == 300


def test_a_server_that_gives_only_so_much_at_once(start_influxd: Callable[..., Influxd]) -> None:
    server = start_influxd(coordinator={"max-select-point": 1000})
    database = server.database()
    server.write("\n".join(f"m v={i} {i}" for i in range(20_000)), database)
    assert [p[0] for p in read(server.url(database))] == list(range(20_000))


def test_several_policies_of_the_task(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.query(f'CREATE RETENTION POLICY "one week" ON {database} DURATION INF REPLICATION 1')
    influxd.write("m v=1 1\nm v=2 3", database)
    influxd.write("m v=1 2\nm v=9 3", database, "one week")
    assert [p[0] for p in read(influxd.url(database))] == [1, 3]
    assert [p[0] for p in read(influxd.url(database, "one%20week"))] == [2, 3]
    found = read(influxd.url(), origins=[(database, "autogen"), (database, "one week")])
    assert [(p[0], p[3]) for p in found] == [(1, "autogen"), (2, "one week"), (3, "autogen"), (3, "one week")]


def test_a_run_goes_on_where_another_stopped(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write(random_points(3, 500, 10**6), database)
    whole = read(influxd.url(database), slice_rows=40)

    def opened() -> Points:
        found = Points(Server(parse(influxd.url(database), environment={})), ALL, batch_rows=13)
        found.slice_rows = 40
        return found

    for stop in (0, 1, 5, 17):
        first, head = opened(), []
        rows = iter(first)
        for _ in range(stop):
            head.extend(points(next(rows)))
        place = first.place()
        if stop == 17:
            influxd.write("mem v=1 9000000000000000000", database)  # what comes later is not of this run
        second = opened()
        second.go_on(place)
        assert head + [p for rows in second for p in points(rows)] == whole
        assert second.rows_read == len(whole)


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_a_server_that_dies_and_comes_back(start_influxd: Callable[..., Influxd], tmp_path: Path) -> None:
    server = start_influxd()
    database = server.database()
    text = random_points(4, 3000, 10**9)
    server.write(text, database)
    found = Points(Server(parse(server.url(database), environment={})), ALL, batch_rows=50)
    found.slice_rows = 50
    seen: list[Point] = []
    for i, rows in enumerate(found):
        seen.extend(points(rows))
        if i in (3, 20):
            server.kill()
            threading.Timer(0.5, server.start).start()
    assert seen == in_file(text, tmp_path, database)


@pytest.mark.parametrize("form", ["application/x-msgpack", "application/json"])
def test_answers_that_are_cut(influxd: Influxd, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickc.runtime.influxdb.client.MSGPACK", form)
    database = influxd.database()
    text = random_points(5, 1500, 10**9)
    influxd.write(text, database)
    with cutting(influxd.port) as proxy:
        found = Points(Server(parse(f"influxdb://127.0.0.1:{proxy.port}/{database}", environment={})), ALL)
        found.slice_rows = 200
        proxy.cuts = [-1, 0, 1, 200, 300, 500, 1000, 2000, 3000, 5000, 8000, 9000, 9500, 10000]
        seen = [p for rows in found for p in points(rows)]
        assert proxy.broken >= 3
    assert seen == in_file(text, tmp_path, database)


def test_a_server_that_always_breaks_off_is_told_with_the_place(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write(f"m v=1 {MOMENT}\nm v=2 {MOMENT + WEEK}", database)
    with cutting(influxd.port) as proxy:
        found = Points(
            Server(parse(f"influxdb://127.0.0.1:{proxy.port}/{database}?patience=300ms", environment={})), ALL
        )
        proxy.cuts = [10] * 1000
        with pytest.raises(SourceError) as caught:
            list(found)
    assert f"the connection to http://127.0.0.1:{proxy.port} broke" in caught.value.message
    assert "all points before 2020-09-13T12:26:40Z had been read" in caught.value.message


def failing(url: str, wanted: Wanted = ALL, **options: Any) -> SourceError:
    began = time.monotonic()
    with pytest.raises(SourceError) as caught:
        Points(Server(parse(url, environment={})), wanted, **options)
    assert time.monotonic() - began < 5
    return caught.value


def test_a_server_that_is_not_there() -> None:
    error = failing("influxdb://127.0.0.1:9/db")
    assert error.message == "cannot reach InfluxDB at http://127.0.0.1:9: connection refused"
    assert "is it running there?" in error.hint
    error = failing("influxdb://no-such-host.invalid/db")
    assert "cannot reach InfluxDB at http://no-such-host.invalid:8086: " in error.message
    assert "object at" not in error.message


def test_logins(start_influxd: Callable[..., Influxd]) -> None:
    server = start_influxd(user=("admin", "p@ss/w:rd"))
    database = server.database()
    server.write("m v=1 1", database)
    url = f"influxdb://admin:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}/{database}"
    assert len(read(url)) == 1
    login = {"INFLUX_USERNAME": "admin", "INFLUX_PASSWORD": "p@ss/w:rd"}
    Server(parse(server.url(database, login=False), environment=login)).check()
    error = failing(server.url(database, login=False))
    assert "does not accept the login: unable to parse authentication credentials" in error.message
    error = failing(url.replace("ss", "xx"))
    assert error.message == f"{server.address} does not accept the login: authorization failed"
    assert "INFLUX_PASSWORD" in error.hint and "p@xx" not in error.message + error.hint
    server.query("CREATE USER reader WITH PASSWORD 'r'")
    error = failing(f"influxdb://reader:r@127.0.0.1:{server.port}/{database}")
    assert "not authorized" in error.message


def test_tls(start_influxd: Callable[..., Influxd]) -> None:
    server = start_influxd(tls=True)
    database = server.database()
    server.write("m v=1 1", database)
    url = server.url(database)
    assert len(read(f"{url}?ssl-ca={server.certificate}")) == 1
    assert len(read(f"{url}?insecure-skip-verify=yes")) == 1
    error = failing(url)
    assert f"the certificate of {server.address} is not trusted" in error.message
    assert "?ssl-ca=FILE" in error.hint
    error = failing(url.replace("+https", ""))
    assert "speaks TLS only" in error.message
    error = failing(f"{url}?ssl-ca=/no/such/file")
    assert "cannot use the certificates in /no/such/file: no such file" in error.message


def test_plain_http_where_tls_is_asked_for(influxd: Influxd) -> None:
    error = failing(f"influxdb+https://127.0.0.1:{influxd.port}/db")
    assert "does not speak TLS" in error.message


def test_what_is_not_there(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("cpu v=1 1", database)
    error = failing(influxd.url(database + "x"))
    assert error.message == f"there is no database {database}x at {influxd.address}"
    assert error.hint == f"did you mean {database}?"
    error = failing(influxd.url(database, "autogn"))
    assert error.message == f"the database {database} has no retention policy autogn"
    assert error.hint == "did you mean autogen?"
    error = failing(influxd.url(database), Wanted(measurements=["cpuu"]))
    assert error.message == f"there is no measurement cpuu in the database {database}"
    assert error.hint == "did you mean cpu?"
    error = failing(influxd.url(influxd.database()))
    assert "holds no measurement" in error.message
    error = failing(influxd.url())
    assert "names no database" in error.message
    error = failing(influxd.url(database), origins=[("telegraf", "autogen")])
    assert error.message == f"the task reads telegraf.autogen, and the address names {database}.autogen"
    error = failing(influxd.url(database) + "?measurement=mem", Wanted(measurements=["cpu"]))
    assert error.message == "the task reads cpu, the address names mem"


def test_an_empty_range_is_no_error(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("cpu v=1 1", database)
    assert read(influxd.url(database), Wanted(start=5, stop=10)) == []
    assert read(influxd.url(database), Wanted(start=5)) == []
    assert read(influxd.url(database), Wanted(stop=1)) == []


def test_some_other_web_server() -> None:
    from web_server import serving

    with serving() as other:
        other.answer = b"hello"
        error = failing(other.url.replace("http", "influxdb") + "/db")
        assert "does not answer as InfluxDB does" in error.message
        other.status = 404
        error = failing(other.url.replace("http", "influxdb") + "/db")
        assert "does not answer as InfluxDB does: hello" in error.message


def test_numbers_in_json_have_the_types_of_their_fields(
    influxd: Influxd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a server that does not speak MessagePack."""
    monkeypatch.setattr("tickc.runtime.influxdb.client.MSGPACK", "application/json")
    database = influxd.database()
    text = ODD + random_points(6, 300, 10**9)
    influxd.write(text, database)
    assert read(influxd.url(database), slice_rows=50) == in_file(text, tmp_path, database)


def test_batches_are_no_larger_than_asked(influxd: Influxd) -> None:
    database = influxd.database()
    influxd.write("\n".join(f"m v={i} {i}" for i in range(100)), database)
    found = Points(Server(parse(influxd.url(database), environment={})), ALL, batch_rows=30)
    moments = [(len(rows), moment == rows.time[-1]) for rows, moment in found.in_time()]
    assert all(n <= 30 and last for n, last in moments)
    assert found.position == found.size == 100
    assert found.columns == (set(), {"v"})


def test_gzip_of_nothing_is_a_request(influxd: Influxd) -> None:
    """What looks whether a database is there: a server of version 1 takes it."""
    Server(parse(influxd.url(), environment={})).write(gzip.compress(b""), influxd.database())
