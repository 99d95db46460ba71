"""Files of every format: what is read, in which order and types, and what is said of files that cannot be read."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from tickc.runtime.batch import Rows
from tickc.runtime.kinds import Kind
from tickc.runtime.sources import (
    Problems,
    SourceError,
    Wanted,
    expand,
    files,
    open_inputs,
    read_recording,
    sorting,
    write_recording,
)

S = 1_000_000_000
Table = dict[str, Any]


def table(n: int = 6, start: int = 0) -> pa.Table:
    """Times 1 s apart, a tag, a string column and fields of every type."""
    return pa.table(
        {
            "time": pa.array((np.arange(n) + start) * S).cast(pa.timestamp("ns", tz="UTC")),
            "host": pa.array([f"h{i % 2}" for i in range(n)]).dictionary_encode(),
            "zone": [None if i == 1 else "eu" for i in range(n)],
            "f": [None if i == 2 else i / 2 for i in range(n)],
            "i": pa.array([None if i == 3 else i for i in range(n)], pa.int32()),
            "b": [None if i == 4 else i % 2 == 0 for i in range(n)],
        }
    )


def parquet(path: Path, data: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data, path, **options)
    return path


def read(paths: Any, **options: Any) -> Rows:
    options.setdefault("default_measurement", "m")
    return Rows.concat(list(open_inputs(paths, **options)))


def columns(rows: Rows) -> Table:
    """All columns of the rows as lists."""
    found: Table = {"time": (rows.time // S).tolist(), "name": rows.name.tolist()}
    found |= {k: v.tolist() for k, v in rows.tags.items()}
    return found | {k: [v.at(i) for i in range(len(rows))] for k, v in rows.fields.items()}


EXPECTED: Table = {
    "time": [0, 1, 2, 3, 4, 5],
    "name": ["m"] * 6,
    "host": ["h0", "h1"] * 3,
    "zone": ["eu", None, "eu", "eu", "eu", "eu"],
    "f": [0.0, 0.5, None, 1.5, 2.0, 2.5],
    "i": [0, 1, 2, None, 4, 5],
    "b": [True, False, True, False, None, False],
}


def write_csv(data: pa.Table, path: Path) -> None:
    from pyarrow import csv

    csv.write_csv(data.set_column(1, "host", data["host"].cast(pa.string())), path)


def write_stream(data: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, data.schema) as writer:
        writer.write_table(data, max_chunksize=4)


FORMATS: dict[str, Callable[[pa.Table, Path], None]] = {
    "a.parquet": lambda t, p: pq.write_table(t, p, row_group_size=4),
    "a.arrow": lambda t, p: feather.write_feather(t, p, compression="zstd", chunksize=4),
    "a.feather": lambda t, p: feather.write_feather(t, p, compression="uncompressed"),
    "a.arrows": write_stream,
    "a.csv": write_csv,
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path: Path, name: str) -> None:
    FORMATS[name](table(), tmp_path / name)
    assert columns(read(tmp_path / name)) == EXPECTED
    assert list(columns(read(tmp_path / name, columns=({"zone"}, {"i"})))) == ["time", "name", "zone", "i"]


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_told_by_their_first_bytes_too(tmp_path: Path, name: str) -> None:
    if not name.endswith(".csv"):
        FORMATS[name](table(), tmp_path / name)
        os.rename(tmp_path / name, tmp_path / "data")
        assert columns(read(tmp_path / "data")) == EXPECTED


def test_times_of_any_unit(tmp_path: Path) -> None:
    for kind in (pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Rome"), pa.timestamp("ns")):
        time = pa.array([5, 6], pa.timestamp("s")).cast(pa.timestamp(kind.unit)).cast(kind)
        data = pa.table({"time": time, "v": [1.0, 2.0]})
        assert read(parquet(tmp_path / "a.parquet", data)).time.tolist() == [5 * S, 6 * S]
    plain = parquet(tmp_path / "b.parquet", pa.table({"time": [5, 6], "v": [1.0, 2.0]}))
    assert read(plain).time.tolist() == [5, 6]


def test_a_time_that_is_none(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", pa.table({"time": pa.array([5.0]), "v": [1.0]}))
    with pytest.raises(SourceError, match=r"column `time` of .* is of type double"):
        read(path)
    path = parquet(tmp_path / "b.parquet", pa.table({"times": [5], "v": [1.0]}))
    with pytest.raises(SourceError, match=r"no column `time`\n  = hint: did you mean times\?"):
        read(path)
    path = parquet(tmp_path / "c.parquet", pa.table({"time": pa.array([10**10], pa.timestamp("s")), "v": [1.0]}))
    with pytest.raises(SourceError, match="outside the years 1678 to 2262"):
        read(path)


def test_rows_without_a_time_are_counted(tmp_path: Path) -> None:
    data = pa.table({"time": [1, None, 3, None], "v": [1.0, 2.0, 3.0, 4.0]})
    source = open_inputs(parquet(tmp_path / "a.parquet", data), default_measurement="m")
    [rows] = source
    assert rows.fields["v"].only(Kind.FLOAT).tolist() == [1.0, 3.0]
    assert source.problems.counts == {"the row has no time": 2}
    assert source.problems.first[0].row == 1


def test_types_of_fields(tmp_path: Path) -> None:
    import decimal

    data = pa.table(
        {
            "time": [1, 2],
            "u8": pa.array([1, 255], pa.uint8()),
            "i16": pa.array([-1, 2], pa.int16()),
            "u64": pa.array([7, 2**63], pa.uint64()),
            "f32": pa.array([0.1, 2.0], pa.float32()),
            "d": pa.array([decimal.Decimal("1.25"), None]),
            "n": pa.nulls(2),
        }
    )
    source = open_inputs(parquet(tmp_path / "a.parquet", data), default_measurement="m")
    [rows] = source
    found = columns(rows)
    assert found["u8"] == [1, 255] and found["i16"] == [-1, 2] and found["u64"] == [7, None]
    assert found["f32"] == [float(np.float32(0.1)), 2.0] and found["d"] == [1.25, None] and found["n"] == [None, None]
    assert source.problems.counts == {"column u64: the number is beyond int64": 1}
    assert source.problems.first[0].row == 1 and source.problems.first[0].text == str(2**63)


def test_a_type_without_meaning(tmp_path: Path) -> None:
    data = pa.table({"time": [1], "day": pa.array([1], pa.date32()), "v": [1.0]})
    path = parquet(tmp_path / "a.parquet", data)
    with pytest.raises(SourceError, match=r"column day of .* is of type date32"):
        read(path)
    assert columns(read(path, columns=((), {"v"})))["v"] == [1.0]


def test_tags_and_fields_against_the_defaults(tmp_path: Path) -> None:
    data = pa.table({"time": [1, 2], "host": ["a", "b"], "text": ["x", None], "code": [3, 4]})
    path = parquet(tmp_path / "a.parquet", data)
    rows = read(path, tags=["host"])
    assert set(rows.tags) == {"host"} and set(rows.fields) == {"text", "code"}
    assert rows.fields["text"].kinds_array().tolist() == [Kind.STRING, Kind.MISSING]
    rows = read(path, fields=["text"])
    assert rows.tags["code"].tolist() == ["3", "4"] and set(rows.fields) == {"text"}
    rows = read(path, tags=["host"], fields=["code"])
    assert set(rows.tags) == {"host"} and set(rows.fields) == {"code"}
    with pytest.raises(SourceError, match=r"no column hots\n  = hint: did you mean host\?"):
        read(path, tags=["hots"])


def test_measurement_database_and_policy_columns(tmp_path: Path) -> None:
    data = pa.table({"time": [1, 2, 3], "measurement": ["cpu", None, "mem"], "database": ["d"] * 3,
                     "retention_policy": ["p", None, "p"], "v": [1, 2, 3]})  # fmt: skip
    path = parquet(tmp_path / "a.parquet", data)
    rows = read(path, default_measurement="disk")
    assert rows.name.tolist() == ["cpu", "disk", "mem"]
    assert rows.database.tolist() == ["d"] * 3 and rows.policy.tolist() == ["p", "", "p"]
    assert read(path, measurements={"mem"}).time.tolist() == [3]


def test_no_measurement_at_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="which measurement its rows belong to\n  = hint: give one: --measurement"):
        open_inputs(parquet(tmp_path / "a.parquet", table()))


# --- several files --------------------------------------------------------------------------------------------------


def test_files_follow_each_other_in_order(tmp_path: Path) -> None:
    for name, start in (("b.parquet", 0), ("a.parquet", 6), ("c.parquet", 3)):
        parquet(tmp_path / name, table(3, start))
    assert columns(read([tmp_path / "b.parquet", tmp_path / "a.parquet"]))["time"] == [0, 1, 2, 6, 7, 8]
    assert columns(read(str(tmp_path / "*.parquet")))["time"] == [6, 7, 8, 0, 1, 2, 3, 4, 5]
    assert columns(read(tmp_path))["time"] == [6, 7, 8, 0, 1, 2, 3, 4, 5]
    assert columns(read(tmp_path, sort=True))["time"] == list(range(9))


def test_codes_are_the_same_in_all_files(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", pa.table({"time": [1, 2], "host": ["b", "a"], "v": [1, 2]}))
    parquet(tmp_path / "2.parquet", pa.table({"time": [1, 2, 3], "host": ["c", "a", "b"], "v": [1, 2, 3]}))
    first, second = open_inputs(tmp_path, default_measurement="m")
    assert first.tags["host"].vocabulary is second.tags["host"].vocabulary
    assert [first.tags["host"].codes.tolist(), second.tags["host"].codes.tolist()] == [[0, 1], [2, 1, 0]]


def test_hive_partitions(tmp_path: Path) -> None:
    parquet(tmp_path / "measurement=cpu" / "dc=eu%20west" / "0.parquet", table(2))
    parquet(tmp_path / "measurement=mem" / "dc=__HIVE_DEFAULT_PARTITION__" / "0.parquet", table(2))
    parquet(tmp_path / "_tmp" / "x.parquet", table(2))
    (tmp_path / "_SUCCESS").write_text("")
    rows = Rows.concat(list(open_inputs(tmp_path)))
    assert rows.name.tolist() == ["cpu", "cpu", "mem", "mem"]
    assert rows.tags["dc"].tolist() == ["eu west", "eu west", None, None]
    rows = Rows.concat(list(open_inputs(str(tmp_path / "measurement=cpu" / "*" / "*.parquet"))))
    assert rows.name.tolist() == ["cpu", "cpu"]


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no data file in the folder"):
        expand(str(tmp_path))
    with pytest.raises(SourceError, match="no file matches"):
        expand(str(tmp_path / "*.parquet"))


# --- order and range ------------------------------------------------------------------------------------------------


def test_unsorted_rows_are_named(tmp_path: Path) -> None:
    data = pa.table({"time": [1, 2, 2, 9, 8, 10], "v": range(6)})
    path = parquet(tmp_path / "a.parquet", data)
    with pytest.raises(SourceError, match=r"row 4 is earlier than the row before it\n  = hint: add --sort"):
        read(path)
    across = parquet(tmp_path / "b.parquet", data, row_group_size=4)
    with pytest.raises(SourceError, match="row 4 is earlier"):
        read(across)
    assert columns(read(path, sort=True))["v"] == [0, 1, 2, 4, 3, 5]
    assert columns(read(path, check_order=False))["v"] == [0, 1, 2, 3, 4, 5]
    lines = tmp_path / "a.lp"
    lines.write_text("m v=1 2\nm v=2 1\n")
    with pytest.raises(SourceError, match="row 1 is earlier"):
        read(lines)


def test_sorting_by_runs_is_stable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    time = rng.integers(0, 50, 2000)
    data = pa.table({"time": time, "host": [f"h{t % 3}" for t in time], "v": range(2000),
                     "s": [f"s{i}" for i in range(2000)]})  # fmt: skip
    path = parquet(tmp_path / "a.parquet", data, row_group_size=100)
    order = np.argsort(time, kind="stable")
    for run_rows in (10**6, 500, 100):
        monkeypatch.setattr(sorting, "RUN_ROWS", run_rows)
        batches = list(open_inputs(path, default_measurement="m", tags=["host"], sort=True, batch_rows=64))
        rows = Rows.concat(batches)
        assert rows.fields["v"].only(Kind.INT).tolist() == order.tolist()
        assert rows.tags["host"].tolist() == [f"h{t % 3}" for t in time[order]]
        assert columns(rows)["s"] == [f"s{i}" for i in order]
        assert len({id(b.tags["host"].vocabulary) for b in batches}) == 1


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.lp"])
def test_a_range_of_time(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.lp":
        path.write_text("".join(f"m f={i} {i * S}\n" for i in range(6)))
    else:
        FORMATS[name](table(), path)
    assert columns(read(path, start=2 * S, stop=4 * S))["time"] == [2, 3]
    assert columns(read(path, start=2 * S - 1, stop=4 * S + 1))["time"] == [2, 3, 4]
    assert list(open_inputs(path, default_measurement="m", start=9 * S)) == []


def test_row_groups_are_skipped_by_their_statistics(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table(60), row_group_size=10)

    def groups(**options: Any) -> list[int]:
        [reader] = open_inputs(path, default_measurement="m", **options).readers
        assert isinstance(reader, files.Parquet)
        return [g for g, _, _ in reader.groups()]

    assert groups(start=20 * S, stop=30 * S) == [2]
    assert groups(start=19 * S, stop=30 * S + 1) == [1, 2, 3]
    assert groups(predicate=[("f", ">", 22.0)]) == [4, 5]
    assert groups(predicate=[("f", ">=", 24.5), ("i", "<", 55)]) == [4, 5]
    assert groups(predicate=[("i", "==", 33)]) == [3]
    assert groups(predicate=[("host", "==", "h7")]) == []
    assert groups(predicate=[("host", "!=", "h0"), ("nope", "==", 1)]) == list(range(6))
    assert groups(predicate=[("host", "==", 5)]) == list(range(6))


def test_large_row_groups_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path / "a.parquet", table(1000))
    expected = columns(read(path))
    monkeypatch.setattr(files, "GROUP_BYTES", 1000)
    monkeypatch.setattr(files, "PIECE_ROWS", 300)
    assert [len(b) for b in open_inputs(path, default_measurement="m")] == [300, 300, 300, 100]
    assert columns(read(path)) == expected


def test_batches_are_small_and_progress_is_known(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table(1000), row_group_size=400)
    source = open_inputs(path, default_measurement="m", batch_rows=150)
    assert source.total_rows == 1000 and source.position == 0 and source.size == path.stat().st_size
    assert source.columns == ({"host", "zone"}, {"f", "i", "b"})
    assert [len(b) for b in source] == [150, 150, 100, 150, 150, 100, 150, 50]
    assert source.rows_read == 1000 and source.position == source.size


# --- files that cannot be read --------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    parquet(tmp_path / "data.parquet", table())
    with pytest.raises(SourceError, match=r"there is no file .*dato\.parquet\n  = hint: did you mean data\.parquet\?"):
        read(tmp_path / "dato.parquet")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.lp", "a.srpl"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.arrows"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_file(tmp_path: Path, name: str, keep: float) -> None:
    FORMATS[name](table(1000), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(SourceError, match=r"cut short|not a readable|damaged"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_something_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("m v=1 1\n" * 10)
    with pytest.raises(SourceError, match=r"is not a (Parquet file|readable Arrow IPC file)"):
        read(tmp_path / name)


def test_damaged_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table(5000))
    data = bytearray(path.read_bytes())
    for at in range(100, len(data) - 3000, 37):
        data[at] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(SourceError):
        columns(read(path))


def test_a_damaged_footer(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table())
    data = bytearray(path.read_bytes())
    data[-8:-4] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        read(path)


def test_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(SourceError, match=r"no data file|is a folder"):
        read(tmp_path / "x.parquet")


def test_csv_types_are_those_of_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CSV_BLOCK", 64)
    body = "".join(f"{i},a,{i},{i},\n" for i in range(50)) + "50,b,1.5,x,7\n"
    (tmp_path / "a.csv").write_text("time,host,v,w,late\n" + body)
    rows = read(tmp_path / "a.csv")
    assert rows.fields["v"].only(Kind.FLOAT).tolist() == [*map(float, range(50)), 1.5]
    assert rows.tags["w"].tolist() == [*map(str, range(50)), "x"]
    assert rows.fields["late"].at(49) is None and rows.fields["late"].at(50) == 7
    (tmp_path / "b.csv").write_text("time,v\n2020-01-01T00:00:00Z,1\n2020-01-01T00:00:01.5Z,2\n")
    assert read(tmp_path / "b.csv").time.tolist() == [1577836800 * S, 1577836801 * S + S // 2]


# --- recordings and compressed lines --------------------------------------------------------------------------------

RECORD = b"db\nrp\nm,host=a v=1 1577836800000000000\n"


def recorded(path: Path, text: bytes) -> tuple[Rows | None, Problems]:
    path.write_bytes(text)
    problems = Problems()
    batches = list(read_recording(path, problems=problems))
    return (Rows.concat(batches) if batches else None), problems


def test_a_recording(tmp_path: Path) -> None:
    text = RECORD + b"other\r\n\r\nm v=2i 5\r\n" + b'db\nrp\nm s="a\nb" 3\n'
    for data in (text, gzip.compress(text)):
        rows, problems = recorded(tmp_path / "a.srpl", data)
        assert rows is not None and not problems
        assert rows.database.tolist() == ["db", "other", "db"] and rows.policy.tolist() == ["rp", "", "rp"]
        assert rows.time.tolist() == [1577836800 * S, 5, 3]
        assert [rows.fields["v"].at(0), rows.fields["v"].at(1), rows.fields["s"].at(2)] == [1.0, 2, "a\nb"]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"db\n", "the recording ends within a record"),
        (b"db\nrp\n", "the recording ends within a record"),
        (b"db\nrp\nm v=", "missing field value"),
        (b"db\nrp\nm v=1", "missing timestamp"),
        (b"db\nrp\nm v=1 15778368", "the recording ends within a record"),
    ],
)
def test_a_recording_that_is_cut(tmp_path: Path, tail: bytes, reason: str) -> None:
    rows, problems = recorded(tmp_path / "a.srpl", RECORD * 3 + tail)
    assert rows is not None and len(rows) == 3
    assert problems.counts == {reason: 1}


def test_a_recording_without_a_last_newline(tmp_path: Path) -> None:
    rows, problems = recorded(tmp_path / "a.srpl", (RECORD * 3)[:-1] + b"")
    assert rows is not None and len(rows) == 3 and not problems
    rows, problems = recorded(tmp_path / "a.srpl", RECORD + b"\n\n")
    assert rows is not None and len(rows) == 1 and not problems


def test_broken_points_of_a_recording(tmp_path: Path) -> None:
    rows, problems = recorded(tmp_path / "a.srpl", RECORD + b"db\nrp\nm v=x 1\ndb\nrp\n\ndb\nrp\n# no\n" + RECORD)
    assert rows is not None and len(rows) == 2
    assert [(p.line, p.column, p.reason) for p in problems.first] == [
        (6, 5, "invalid value"), (9, 1, "a record without a point"), (12, 1, "a record without a point"),
    ]  # fmt: skip


def test_recordings_are_written_as_they_are_read(tmp_path: Path) -> None:
    rows, _ = recorded(tmp_path / "a.srpl", RECORD + b'd\nr\nm,t=a\\ b i=5i,s="q\\"",u=true -7\n')
    assert rows is not None
    assert write_recording(tmp_path / "b.srpl.gz", [rows]) == 2
    assert gzip.decompress((tmp_path / "b.srpl.gz").read_bytes()) == (tmp_path / "a.srpl").read_bytes()
    assert columns(Rows.concat(list(read_recording(tmp_path / "b.srpl.gz")))) == columns(rows)


def test_compressed_lines(tmp_path: Path) -> None:
    text = "".join(f"m v={i} {i * S}\n" for i in range(2000)).encode()
    (tmp_path / "a.lp").write_bytes(text)
    (tmp_path / "a.lp.gz").write_bytes(gzip.compress(text[:5000]) + gzip.compress(text[5000:]))
    with pa.CompressedOutputStream(str(tmp_path / "a.lp.zst"), "zstd") as file:
        file.write(text)
    for name in ("a.lp", "a.lp.gz", "a.lp.zst"):
        assert read(tmp_path / name).time.tolist() == [i * S for i in range(2000)]


@pytest.mark.parametrize("name", ["a.lp.gz", "a.lp.zst"])
def test_compressed_lines_that_are_cut(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    text = "".join(f"m v={x} {i}\n" for i, x in enumerate(rng.random(3000))).encode()
    with pa.CompressedOutputStream(str(tmp_path / name), "gzip" if name.endswith("gz") else "zstd") as file:
        file.write(text)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError):
        read(tmp_path / name)


def test_small_recordings_need_neither_numba_nor_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "a.srpl").write_bytes(RECORD * 200)
    program = (
        "import sys; from tickc.runtime.sources.recording import read_recording\n"
        f"assert sum(map(len, read_recording({str(tmp_path / 'a.srpl')!r}))) == 200\n"
        "assert not {'numba', 'pyarrow', 'polars'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_wanted() -> None:
    assert Wanted().tag("x") and not Wanted({"y"}).tag("x")
