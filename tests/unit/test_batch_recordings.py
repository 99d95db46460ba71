"""Recordings of batches: a file a query, the archive of a server, and what is wrong in them."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tickc.runtime import influxql as q
from tickc.runtime.batch import Segments
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.query import Query
from tickc.runtime.sources.base import Problems, SourceError
from tickc.runtime.sources.batches import entries, replay

SECOND = 1_000_000_000
SELECT = q.Select((q.Field(q.Wildcard()),), (q.Measurement("db", "rp", "m"),))


def line(second: int, *values: Any, tmax: int | None = None, **more: Any) -> str:
    points = [{"fields": {"v": v}, "time": f"1970-01-01T00:00:{second + i:02}Z"} for i, v in enumerate(values)]
    end = second + 10 if tmax is None else tmax
    return json.dumps({"name": "m", "tmax": f"1970-01-01T00:00:{end:02}Z", "points": points, **more})


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in lines))
    return path


def read(*paths: Path, count: int = 1, batch_rows: int = 65_536) -> tuple[list[dict[int, Segments]], Problems]:
    problems = Problems()
    asked = [(i, Query(name=f"query{i + 1}", select=SELECT, every=SECOND)) for i in range(count)]
    return list(replay(asked, entries(paths), problems, batch_rows)), problems


def only(*paths: Path) -> Segments:
    found, problems = read(*paths)
    assert not problems and len(found) == 1
    return found[0][0]


def test_numbers_are_floats_and_null_is_a_field_without_a_value(tmp_path: Path) -> None:
    batch = only(write(tmp_path / "0.brpl", line(0, 5, "x", True, None)))
    kinds = batch.rows.fields["v"].kinds_array().tolist()
    assert kinds == [Kind.FLOAT, Kind.STRING, Kind.BOOL, Kind.NIL]
    assert batch.rows.fields["v"].at(0) == 5.0


def test_points_have_their_own_tags_or_those_of_the_batch(tmp_path: Path) -> None:
    points = [
        {"fields": {"v": 1}, "time": "1970-01-01T00:00:01Z", "tags": {"host": "a", "core": "1"}},
        {"fields": {"v": 2}, "time": "1970-01-01T00:00:02Z"},
    ]
    text = json.dumps({"name": "m", "tmax": "1970-01-01T00:00:05Z", "tags": {"host": "a"}, "points": points})
    batch = only(write(tmp_path / "0.brpl", text))
    assert batch.rows.tags["core"].tolist() == ["1", None]
    assert batch.rows.tags["host"].tolist() == ["a", "a"]
    assert batch.groups[0].id == "host=a"


def test_a_batch_by_measurement_has_it_in_its_group(tmp_path: Path) -> None:
    batch = only(write(tmp_path / "0.brpl", line(0, 1, tags={"host": "a"}, byname=True)))
    assert batch.groups[0].id == "m\nhost=a"


def test_a_batch_ends_no_earlier_than_its_last_point(tmp_path: Path) -> None:
    batch = only(write(tmp_path / "0.brpl", line(3, 1, 2, tmax=3), line(20, 1, tmax=40)))
    assert (batch.tmax // SECOND).tolist() == [4, 40]


def test_the_zero_time_of_go_is_before_all_others(tmp_path: Path) -> None:
    text = line(3, 1).replace("1970-01-01T00:00:13Z", "0001-01-01T00:00:00Z")
    assert (only(write(tmp_path / "0.brpl", text)).tmax // SECOND).tolist() == [3]


def test_empty_batches_are_left_out(tmp_path: Path) -> None:
    batch = only(write(tmp_path / "0.brpl", line(0, 1), line(10), line(20, 2)))
    assert (batch.tmax // SECOND).tolist() == [10, 30]


def test_what_is_no_batch_is_counted_with_its_place(tmp_path: Path) -> None:
    bad = ["{", '{"points": [{"fields": {}}]}', line(0, [1]), line(0, 1, tags={"a": 5}), "[]", "NaN"]
    bad += [line(0, 1).replace("1970", "19x0"), '{"points": 3}', line(0, 1e308).replace("1e+308", "1e999")]
    found, problems = read(write(tmp_path / "0.brpl", line(0, 1), *bad, line(40, 2)))
    assert (found[0][0].tmax // SECOND).tolist() == [10, 50]
    assert problems.total == len(bad)
    assert problems.first[0].line == 2
    assert "0.brpl: line 2 char 1: not a batch" in str(problems.first[0])


def test_queries_are_numbered_from_the_last(tmp_path: Path) -> None:
    first, last = write(tmp_path / "0.brpl", line(0, 1)), write(tmp_path / "1.brpl", line(0, "x"))
    found, _ = read(first, last, count=2)
    assert found[0][0].rows.fields["v"].at(0) == "x"
    assert found[0][1].rows.fields["v"].at(0) == 1.0


def test_batches_of_several_queries_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    late = write(tmp_path / "0.brpl", line(0, 1, tmax=5), line(10, 2, tmax=25))
    early = write(tmp_path / "1.brpl", line(0, 3, tmax=10), line(10, 4, tmax=20), line(20, 5, tmax=25))
    found, _ = read(late, early, count=2)
    assert found[0][0].seq.tolist() == [1, 2, 3]  # the first query of the script, which comes first at equal times
    assert found[0][1].seq.tolist() == [0, 4]


def test_rounds_hold_a_bounded_number_of_points(tmp_path: Path) -> None:
    found, _ = read(write(tmp_path / "0.brpl", *(line(i, 1, 2) for i in range(5))), batch_rows=4)
    assert [len(some[0].rows) for some in found] == [4, 4, 2]


def test_the_archive_of_a_server(tmp_path: Path) -> None:
    path = tmp_path / "recording.brpl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("batch.0", line(0, 1) + "\n")
        archive.writestr("batch.1", line(0, "x") + "\n")
    found, _ = read(path, count=2)
    assert found[0][0].rows.fields["v"].at(0) == "x"


def test_gzip_and_a_file_that_was_cut(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    data = gzip.compress("".join(line(i % 49, chance.random()) + "\n" for i in range(5000)).encode())
    (tmp_path / "0.brpl").write_bytes(data)
    assert len(only(tmp_path / "0.brpl")) == 5000
    (tmp_path / "0.brpl").write_bytes(data[: len(data) // 2])
    found, problems = read(tmp_path / "0.brpl")
    assert 0 < sum(len(some[0]) for some in found) < 5000
    assert "the file ends in the middle" in problems.counts


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        entries([tmp_path / "none.brpl"])


def test_groups_keep_their_codes(tmp_path: Path) -> None:
    lines = [line(i, 1, tags={"host": host}) for i, host in enumerate("abacb")]
    batch = only(write(tmp_path / "0.brpl", *lines))
    assert batch.group.tolist() == [0, 1, 0, 2, 1]
    assert batch.start.tolist() == np.arange(5).tolist()
