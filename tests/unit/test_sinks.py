"""Sinks: what they write is read back, and its bytes hang on the rows alone."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.kinds import Kind
from tickc.runtime.rowtext import lines
from tickc.runtime.sinks import SinkError, columns, parts, whole_file
from tickc.runtime.sinks.columns import Frame
from tickc.runtime.sinks.files import TextFile, json_lines
from tickc.runtime.sinks.parts import DataSet
from tickc.runtime.snapshot import decode, encode, freeze, thaw
from tickc.runtime.sources import open_inputs, parse_lines

LINES = r"""cpu,host=a f=1.5,i=3i,s="say \"hi\"",b=true 1000000000
cpu,host=b f=1e+21,i=4i,s="two
lines",b=false 1500000000
mem,zone=eu\ 1 f=-0 2000000000
"""
FORMS = ["parquet", "arrow"]


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


def fresh(folder: Path, form: str, saved: Any = None) -> DataSet:
    return DataSet(str(folder), form, Frame(measurement=True), saved)


def closed(data: DataSet, target: Path) -> dict[str, bytes]:
    """The bytes of the files of a data set, by name."""
    target.mkdir()
    data.close(str(target))
    return {p.name: p.read_bytes() for p in target.iterdir()}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_is_read(tmp_path: Path, form: str) -> None:
    rows, data = sample(), fresh(tmp_path / "pieces", form)
    for start, stop in ((0, 1), (1, 1), (1, None)):
        data.write(rows.take(slice(start, stop)))
    assert list(closed(data, tmp_path / "out")) == [f"part-00000.{form}"]
    assert points(Rows.concat(list(open_inputs(tmp_path / "out")))) == points(rows)


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_data_set_is_a_file(tmp_path: Path, form: str) -> None:
    assert list(closed(fresh(tmp_path / "pieces", form), tmp_path / "out")) == [f"part-00000.{form}"]
    assert sum(len(rows) for rows in open_inputs(tmp_path / "out")) == 0


def test_columns(tmp_path: Path) -> None:
    """Tags, then fields, each in the order of their names; kinds of a field in the order in which they come."""
    texts = ["m z=1 1\nm v=1i 2\n", "m,host=a v=2 3\n", 'm,dc=b v="x",w=t 4\n']
    data = fresh(tmp_path / "pieces", "parquet")
    for text in texts:
        data.write(parse_lines(text))
    closed(data, tmp_path / "out")
    names = pq.read_schema(tmp_path / "out/part-00000.parquet").names
    assert names == ["time", "measurement", "dc", "host", "v", "v.float", "v.string", "w", "z"]
    first = Frame(False, ("w", "v")).batch(parse_lines("".join(texts)))
    assert first.schema.names == ["time", "dc", "host", "w", "v", "v.float", "v.string", "z"]


def mixed(n: int, seed: int) -> Rows:
    """Rows whose columns, kinds and texts come one after the other."""
    chance = random.Random(seed)
    text = []
    for i in range(n):
        fields = [f"f={chance.random()}"] if chance.random() < 0.9 else ["late=1"] if i > n // 2 else ["i=1i"]
        if chance.random() < 0.2:
            fields.append(chance.choice(["k=1", "k=2i", 'k="t"', "k=t"]))
        if i > n // 3:
            fields.append(f's="{chance.randrange(30)}"')
        tags = f",host=h{chance.randrange(5 + i // 40)}" + (",zone=z" if chance.random() < 0.01 else "")
        text.append(f"m{chance.randrange(2)}{tags} {','.join(fields)} {i}\n")
    return parse_lines("".join(text))


@pytest.mark.parametrize("form", FORMS)
def test_the_bytes_hang_on_the_rows_alone(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever batches they come, and wherever a run is broken off and gone on with."""
    monkeypatch.setattr(parts, "ROW_GROUP", 64)
    monkeypatch.setattr(parts, "PART", 256)
    rows = mixed(700, 1)
    whole = fresh(tmp_path / "whole", form)
    whole.write(rows)
    wanted = closed(whole, tmp_path / "wanted")
    assert len(wanted) == 3 and points(Rows.concat(list(open_inputs(tmp_path / "wanted")))) == points(rows)
    for seed in range(12):
        chance = random.Random(seed)
        folder = tmp_path / f"pieces{seed}"
        data, at, saved, marked = fresh(folder, form), 0, None, 0
        while at < len(rows):
            n = chance.choice([1, 3, 17, 100, 300])
            data.write(rows.take(slice(at, at + n)))
            at += n
            if data.waiting and chance.random() < 0.1:
                data.set_aside()
                assert data.held == 0
            if seed and chance.random() < 0.2:
                saved, marked = encode(freeze(data.mark())), at
            if seed and saved is not None and chance.random() < 0.1:
                data.abort()
                data, at = fresh(folder, form, thaw(decode(saved))), marked
        assert closed(data, tmp_path / f"out{seed}") == wanted, seed


def test_text_file(tmp_path: Path) -> None:
    file = TextFile(str(tmp_path / "a"))
    file.put(lines(sample()))
    size = file.mark()
    before = (tmp_path / "a").read_bytes()
    file.put(["more"])
    file.abort()
    again = TextFile(str(tmp_path / "a"), size)
    again.put(["\udcff"])
    again.close(str(tmp_path / "b"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == before + b"\xff\n"
    assert before.decode().splitlines() == [
        r'cpu,host=a b=true,f=1.5,i=3i,s="say \"hi\"" 1000000000',
        'cpu,host=b b=false,f=1000000000000000000000,i=4i,s="two',
        'lines" 1500000000',
        r"mem,zone=eu\ 1 f=-0 2000000000",
    ]


def test_a_text_file_that_is_short_has_only_its_last_name(tmp_path: Path) -> None:
    file = TextFile(str(tmp_path / "pieces" / "a"))
    file.put(["x"])
    file.close(str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"x\n" and not (tmp_path / "pieces").exists()


def test_json_lines() -> None:
    rows = sample()
    odd = Column.of(Kind.FLOAT, np.array([np.nan, np.inf, 2.0]))
    found = [json.loads(line) for line in json_lines(rows.with_(fields={"s": rows.fields["s"], "f": odd}))]
    assert found == [
        {"time": "1970-01-01T00:00:01Z", "measurement": "cpu", "host": "a", "f": "nan", "s": 'say "hi"'},
        {"time": "1970-01-01T00:00:01.5Z", "measurement": "cpu", "host": "b", "f": "inf", "s": "two\nlines"},
        {"time": "1970-01-01T00:00:02Z", "measurement": "mem", "zone": "eu 1", "f": 2.0},
    ]
    assert list(found[0]) == ["time", "measurement", "host", "f", "s"]


def test_frames_share_memory() -> None:
    n = 3 * columns.FEW
    values = np.arange(n) / 2
    rows = Rows(
        np.arange(n), Text.constant("m", n), Text.constant("", n), Text.constant("", n),
        {"host": Text.of(["b", None, "a"] * columns.FEW)}, {"f": Column.of(Kind.FLOAT, values)},
    )  # fmt: skip
    batch = Frame(measurement=False).batch(rows)
    assert batch.schema.names == ["time", "host", "f"]
    assert batch.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert batch.schema.field("host").type == pa.dictionary(pa.int32(), pa.string())
    assert batch.column("host").to_pylist() == ["b", None, "a"] * columns.FEW
    assert batch.column("f").buffers()[1].address == values.ctypes.data


@pytest.mark.parametrize("measurement", [False, True])
def test_few_rows_make_the_batch_that_many_would(measurement: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = parse_lines(b'cpu,host=a f=2i,i=3.5,b="x" 7\nmem,zone=c s="\xff" 8\n')
    for some in (sample(), sample().take(slice(0, 0)), Rows.concat([sample(), odd]), odd):
        few = Frame(measurement, ("i",)).batch(some)
        monkeypatch.setattr(columns, "FEW", -1)
        many = Frame(measurement, ("i",)).batch(some)
        monkeypatch.undo()
        assert few.schema.equals(many.schema, check_metadata=True)
        for one, other in zip(few.columns, many.columns):
            assert str(one) == str(other)  # also the order of a dictionary


def test_whole_file(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as file:
        file.write(b"x")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"x"
    with pytest.raises(ValueError), whole_file(tmp_path / "b") as file:
        file.write(b"x")
        raise ValueError
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(SinkError, match=r"cannot write .*: no such f"), whole_file(tmp_path / "nowhere/a"):
        pass
