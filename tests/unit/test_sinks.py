"""Sinks: what they write is read back, and a file appears whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.sinks import SinkError, open_sink, to_arrow, whole_file
from tickc.runtime.sources import open_inputs, parse_lines

FILES = ["a.parquet", "a.arrow", "a.jsonl", "a.lp", "a.lp.gz"]
LINES = r"""cpu,host=a f=1.5,i=3i,s="say \"hi\"",b=true 1000000000
cpu,host=b f=1e+21,i=4i,s="two
lines",b=false 1500000000
mem,zone=eu\ 1 f=-0 2000000000
"""


def sample() -> Rows:
    return parse_lines(LINES)


def points(rows: Rows) -> list[Any]:
    """The rows with only what they have, floats so that -0 differs from 0."""
    return [
        (
            rows.name.at(i),
            sorted((k, v) for k, t in rows.tags.items() if (v := t.at(i)) is not None),
            sorted((k, repr(v)) for k, c in rows.fields.items() if (v := c.at(i)) is not None),
            int(rows.time[i]),
        )
        for i in range(len(rows))
    ]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.lp", "a.lp.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    rows = sample()
    with open_sink(tmp_path / name) as sink:
        sink.write(rows.take(slice(0, 1)))
        sink.write(rows.take(slice(1, 1)))
        sink.write(rows.take(slice(1, None)))
    assert sink.rows_written == 3
    assert points(Rows.concat(list(open_inputs(tmp_path / name)))) == points(rows)
    assert os.listdir(tmp_path) == [name]
    (tmp_path / "plain").touch()
    assert (tmp_path / name).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_line_protocol_is_as_kapacitor_writes_it(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a.lp") as sink:
        sink.write(sample())
    first, second, third, last = (tmp_path / "a.lp").read_text().splitlines()
    assert first == r'cpu,host=a b=true,f=1.5,i=3i,s="say \"hi\"" 1000000000'
    assert second == 'cpu,host=b b=false,f=1000000000000000000000,i=4i,s="two'
    assert third == 'lines" 1500000000'
    assert last == r"mem,zone=eu\ 1 f=-0 2000000000"


def test_json_lines(tmp_path: Path) -> None:
    rows = sample()
    odd = Column.of(Kind.FLOAT, np.array([np.nan, np.inf, 2.0]))
    with open_sink(tmp_path / "a.jsonl") as sink:
        sink.write(rows.with_(fields={"f": odd, "s": rows.fields["s"]}))
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert found == [
        {"time": "1970-01-01T00:00:01Z", "measurement": "cpu", "host": "a", "f": "nan", "s": 'say "hi"'},
        {"time": "1970-01-01T00:00:01.5Z", "measurement": "cpu", "host": "b", "f": "inf", "s": "two\nlines"},
        {"time": "1970-01-01T00:00:02Z", "measurement": "mem", "zone": "eu 1", "f": 2.0},
    ]


def test_to_arrow() -> None:
    values = np.arange(3) / 2
    rows = Rows(
        np.arange(3), Text.constant("m", 3), Text.constant("", 3), Text.constant("", 3),
        {"host": Text.of(["a", None, "b"])}, {"f": Column.of(Kind.FLOAT, values)},
    )  # fmt: skip
    batch = to_arrow(rows)
    assert batch.schema.names == ["time", "host", "f"]
    assert batch.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert batch.schema.field("host").type == pa.dictionary(pa.int32(), pa.string())
    assert batch.column("host").to_pylist() == ["a", None, "b"]
    assert batch.column("f").buffers()[1].address == values.ctypes.data


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_columns_and_kinds_that_come_later(tmp_path: Path, name: str) -> None:
    texts = ["m v=1 1\n" * 3, "m,host=a v=2i 2\n", 'm v="x",w=t 3\n', "m v=4 4\n"]
    with open_sink(tmp_path / name) as sink:
        for text in texts:
            sink.write(parse_lines(text))
            sink._flush()  # type: ignore[attr-defined]
    rows = Rows.concat(list(open_inputs(tmp_path / name)))
    assert points(rows) == points(Rows.concat([parse_lines(text) for text in texts]))
    if name.endswith("parquet"):
        assert pq.read_schema(tmp_path / name).names == ["time", "measurement", "host", "v", "v.int", "v.string", "w"]


@pytest.mark.parametrize("name", FILES)
def test_an_empty_sink_leaves_a_file(tmp_path: Path, name: str) -> None:
    open_sink(tmp_path / name).close()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", FILES)
def test_an_aborted_sink_leaves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"before")
    sink = open_sink(tmp_path / name)
    sink.write(sample())
    sink.abort()
    sink.abort()
    sink.close()
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"before"
    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / name) as sink:
        sink.write(sample())
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"before"


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match=r"cannot write .*: no such f"):
        open_sink(tmp_path / "nowhere" / name)


def test_an_unknown_ending(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"the ending of .*a\.txt does not tell a format"):
        open_sink(tmp_path / "a.txt")


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", FILES)
def test_a_disk_that_fills(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    many = parse_lines("".join(f"m v={x} {i}\n" for i, x in enumerate(rng.random(4000))))
    with full_disk(4096), pytest.raises(SinkError, match=r"cannot write .*: "), open_sink(tmp_path / name) as sink:
        for _ in range(20):
            sink.write(many)
    assert os.listdir(tmp_path) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from tickc.runtime.sinks import open_sink\n"
        "from tickc.runtime.sources import parse_lines\n"
        f"with open_sink({str(tmp_path / 'a.parquet')!r}) as sink:\n"
        "    sink.write(parse_lines('m v=1 1'))\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode != 0 and b"KeyboardInterrupt" in done.stderr
    assert os.listdir(tmp_path) == []


def test_whole_file(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as file:
        file.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"x"
    with pytest.raises(ValueError), whole_file(tmp_path / "b") as file:
        file.write(b"x")
        raise ValueError
    assert os.listdir(tmp_path) == ["a"]
