"""Rows of several files in order of time: the order itself, and what is held meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tickc.runtime.batch import Column, Rows, Text
from tickc.runtime.influxql.history import History
from tickc.runtime.kinds import Kind
from tickc.runtime.sources import open_inputs, parse_lines
from tickc.runtime.sources.base import NEVER
from tickc.runtime.sources.files import AHEAD
from tickc.runtime.sources.sorting import Lane, merged
from tickc.runtime.team import cores

ENDINGS = ["parquet", "arrow", "arrows", "csv", "lp", "lp.gz"]


def rows_of(lane: int, times: Sequence[int]) -> Rows:
    """Rows of those times; the field `v` numbers them within the lane."""
    n = len(times)
    at = Text.constant("", n)
    fields = {"v": Column.of(Kind.INT, np.arange(n)), "lane": Column.of(Kind.INT, np.full(n, lane))}
    return Rows(np.array(times, np.int64), at, at, at, {}, fields)


class Given(Lane):
    """A lane that is cut at some places; reads: how many pieces were asked for."""

    def __init__(self, rows: Rows, cuts: Sequence[int], known: int = NEVER) -> None:
        super().__init__(known)
        edges = [0, *sorted(cuts), len(rows)]
        self.pieces = [rows.take(slice(a, b)) for a, b in pairwise(edges) if a < b]
        self.reads = 0

    def next(self) -> tuple[Rows, Any] | None:
        self.reads += 1
        return (self.pieces[self.reads - 1], None) if self.reads <= len(self.pieces) else None

    @property
    def rows_held(self) -> int:
        return sum(len(rows) for rows, _ in self.held)


def points(rows: Rows) -> list[tuple[int, int, int]]:
    """Time, lane and number of each row."""
    return list(zip(rows.time.tolist(), *(rows.fields[name].data[Kind.INT].tolist() for name in ("lane", "v"))))


@pytest.mark.parametrize("seed", range(100))
def test_the_order_is_that_of_time_then_lane_then_place(seed: int) -> None:
    chance = random.Random(seed)
    lanes = []
    for i in range(chance.randrange(1, 6)):
        low = chance.choice([0, 0, 20, 40])
        times = sorted(chance.randrange(low, low + 30) for _ in range(chance.randrange(60)))
        cuts = [chance.randrange(len(times) + 1) for _ in range(chance.choice([0, 3, 60]))]
        known = times[0] - chance.randrange(2) if times and chance.random() < 0.5 else NEVER
        lanes.append(Given(rows_of(i, times), cuts, known))
    wanted = sorted(p for lane in lanes for rows in lane.pieces for p in points(rows))
    found = []
    for rows in merged(lanes, chance.choice([1, 2, 5, 16, 100])):
        found += points(rows)
        assert found == wanted[: len(found)]  # with those that are left out
    assert found == wanted


def test_lanes_one_after_the_other_go_through_as_they_are() -> None:
    """In whatever order they are given; none is read before its time has come."""
    lanes = [Given(rows_of(i, range(i * 10, i * 10 + 10)), [4, 8], i * 10) for i in (2, 0, 1)]
    pieces = [rows for i in (1, 2, 0) for rows in lanes[i].pieces]
    read = []
    for rows, piece in zip(merged(lanes, 1000), pieces, strict=True):
        assert rows is piece
        read.append([lane.reads for lane in lanes])
    assert read[:5] == [[0, 1, 0], [0, 2, 0], [0, 3, 0], [0, 4, 1], [0, 4, 2]]


def test_many_lanes_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that have begun are looked at."""
    asked = 0

    def ready(lane: Lane, *given: Any) -> Iterator[Rows]:
        nonlocal asked
        asked += 1
        return original(lane, *given)

    original = Lane.ready
    monkeypatch.setattr(Lane, "ready", ready)
    lanes = [Given(rows_of(i, range(i * 10, i * 10 + 10)), [], i * 10) for i in range(300)]
    assert sum(map(len, merged(lanes, 100))) == 3000
    assert asked < 10 * len(lanes)


@pytest.mark.parametrize("count", [2, 7, 40])
def test_what_is_held_of_lanes_that_overlap(count: int) -> None:
    batch, n = 64, 1000
    lanes = [Given(rows_of(i, range(0, 2 * n, 2)), range(0, n, batch), 0) for i in range(count)]
    sizes = []
    for rows in merged(lanes, batch):
        sizes.append(len(rows))
        assert max(lane.rows_held for lane in lanes) < 2 * batch
    assert sum(sizes) == count * n
    assert max(sizes) <= 2 * batch + count * (batch // 16 + 1)
    assert len(sizes) < 2 * count * n // batch  # not in crumbs


def write(path: Path, times: Sequence[int]) -> None:
    """A file with a tag and a field, in the format of its ending. Where it can be, the first row has no time."""
    values = [float(i) for i in range(len(times))]
    table = pa.table(
        {"time": pa.array([None, *times], pa.int64()), "host": ["a"] * (len(times) + 1), "v": [0.5, *values]}
    )
    match path.suffixes:
        case [".parquet"]:
            pq.write_table(table, path, row_group_size=3)
        case [".arrow"]:
            with pa.ipc.new_file(path, table.schema) as file:
                file.write_table(table, 2)
        case [".arrows"]:
            with pa.ipc.new_stream(path, table.schema) as stream:
                stream.write_table(table, 2)
        case [".csv"]:
            pyarrow.csv.write_csv(table, path)
        case _:
            with pa.output_stream(path) as out:
                out.write("".join(f"m,host=a v={v} {t}\n" for t, v in zip(times, values)).encode())


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_are_not_opened_before_their_time(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(3):
        write(tmp_path / f"{day}.{ending}", range(day * 100, day * 100 + 10))
    source = open_inputs(str(tmp_path / f"*.{ending}"), default_measurement="m")
    assert [reader.floor() for reader in source.readers] == [0, 100, 200]
    begun = []
    for i, stream in enumerate(source.streams):
        read = stream._read
        monkeypatch.setattr(stream, "_read", lambda i=i, read=read: begun.append(i) or read())
    seen = [(rows.time.tolist(), moment, [*begun]) for rows, moment in source.in_time()]
    assert [t for times, _, _ in seen for t in times] == [*range(10), *range(100, 110), *range(200, 210)]
    assert all(moment == times[-1] for times, moment, _ in seen)
    assert all(opened == list(range(times[0] // 100 + 1)) for times, _, opened in seen)


def shown(batches: Iterable[tuple[Rows, int]]) -> list[tuple[int, Any]]:
    """Time and value of each row, as they come."""
    return [(int(t), rows.fields["v"].at(i)) for rows, _ in batches for i, t in enumerate(rows.time)]


def by_time(points: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """What counts of an order where no two values differ in type."""
    return sorted(points, key=lambda point: point[0])


def test_files_that_overlap_share_threads(tmp_path: Path) -> None:
    for i in range(20):
        write(tmp_path / f"{i}.parquet", range(i, 100))
    others = {*threading.enumerate()}
    given = open_inputs(str(tmp_path / "*.parquet"), default_measurement="m", batch_rows=4).in_time()
    for _ in zip(given, range(30)):
        assert 1 <= len({*threading.enumerate()} - others) <= max(AHEAD, cores())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("batch_rows", [1, 2, 7, 1000])
def test_files_that_overlap(tmp_path: Path, ending: str, batch_rows: int) -> None:
    for i in range(3):
        write(tmp_path / f"{i}.{ending}", [t // (i + 1) for t in range(40)])
    wanted = [(time, float(v)) for time, _, v in sorted((t // (i + 1), i, t) for i in range(3) for t in range(40))]

    def opened() -> Any:
        return open_inputs(str(tmp_path / f"*.{ending}"), default_measurement="m", batch_rows=batch_rows)

    whole, chance, found = opened(), random.Random(batch_rows), []
    for rows, moment in whole.in_time():
        found += shown([(rows, moment)])
        assert whole.rows_read == len(found)
        assert all(time >= moment for time, _ in wanted[len(found) :] if moment != NEVER)
        if chance.random() < 0.2:
            other = opened()
            other.go_on(whole.place())
            rest = shown(other.in_time())
            assert other.rows_read == len(wanted)
            assert by_time([*found, *rest]) == wanted
    assert by_time(found) == wanted


def kept(batches: Iterable[Rows]) -> list[Any]:
    """What a database keeps of rows that are written to it in this order."""
    history = History()
    for rows in batches:
        history.append(rows)
    table = history.table()
    fields = {name: [column.at(i) for i in range(len(table))] for name, column in sorted(table.fields.items())}
    return [history.dropped, history.kinds, table.time.tolist(), repr(fields)]


@pytest.mark.parametrize("seed", range(15))
def test_values_that_differ_in_type(tmp_path: Path, seed: int) -> None:
    """A database keeps what it keeps of the rows in order."""
    chance = random.Random(seed)
    order = []
    for i in range(3):
        odd = chance.choice([0.0, 0.02, 0.5])
        lines = []
        for time in sorted(chance.randrange(60) for _ in range(50)):
            u, v = (f"{chance.randrange(9)}{'i' if chance.random() < odd else ''}" for _ in "uv")
            lines.append(f"m {chance.choice([f'u={u}', f'v={v}', f'u={u},v={v}'])} {time}\n")
            order.append((time, i, len(lines), lines[-1]))
        (tmp_path / f"{i}.lp").write_text("".join(lines))
    wanted = kept([parse_lines("".join(line for *_, line in sorted(order)))])

    def opened() -> Any:
        return open_inputs(str(tmp_path / "*.lp"), batch_rows=chance.choice([1, 2, 7, 1000]))

    whole, given = opened(), []
    for rows, _ in whole.in_time():
        given.append(rows)
        if chance.random() < 0.05:
            other = opened()
            other.go_on(whole.place())
            assert kept([*given, *(rows for rows, _ in other.in_time())]) == wanted
    assert kept(given) == wanted


def test_a_first_time_that_the_beginning_does_not_tell(tmp_path: Path) -> None:
    (tmp_path / "a.lp").write_text('m s="\nx v=1 90" 10\nm s="b" 20\n')
    (tmp_path / "b.lp").write_text("nonsense\nm v=1 5\n")
    (tmp_path / "c.lp").write_text('m s="' + "x" * 5000 + '" 7\n')
    pq.write_table(pa.table({"time": [7, 8], "v": [1.0, 2.0]}), tmp_path / "d.parquet", write_statistics=False)
    source = open_inputs([str(tmp_path / name) for name in ("a.lp", "b.lp", "c.lp", "d.parquet")],
                         default_measurement="m")  # fmt: skip
    assert [reader.floor() for reader in source.readers] == [10, NEVER, NEVER, NEVER]
    assert sorted(t for rows, _ in source.in_time() for t in rows.time.tolist()) == [5, 7, 7, 8, 10, 20]
    assert source.problems.total == 1


def test_problems_are_told_in_the_order_of_files(tmp_path: Path) -> None:
    """Wherever a run was broken off, and in whatever batches it reads."""
    (tmp_path / "a.lp").write_text("".join(f"m v=1 {t}\nbad {t}\n" for t in range(30)))
    (tmp_path / "b.lp").write_text("".join(f"worse {t}\nm v=1 {t}\n" for t in range(0, 60, 2)))
    for name in "cd":
        times = [None if t % 4 == 1 else t for t in range(40)]
        table = pa.table({"time": pa.array(times, pa.int64()), "v": [1.0] * 40})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=11)

    def opened(batch_rows: int) -> Any:
        return open_inputs(str(tmp_path / "*"), default_measurement="m", batch_rows=batch_rows)

    whole = opened(1000)
    for _ in whole.in_time():
        pass
    assert whole.problems.counts == {"missing `=` after the field key": 60, "the row has no time": 20}
    assert {p.path[-4:] for p in whole.problems.first} == {"a.lp"}
    other, known = opened(3), whole.problems.snapshot()
    for _ in other.in_time():
        resumed = opened(5)
        resumed.go_on(other.place())
        for _ in resumed.in_time():
            pass
        assert resumed.problems.snapshot() == known
    assert other.problems.snapshot() == known


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_nothing_is_read_behind_the_stop(tmp_path: Path, ending: str, batch_rows: int) -> None:
    """Rows behind it may be in any order."""
    write(tmp_path / f"a.{ending}", [1, 2, 3, 10, 4, 5, 11])
    source = open_inputs(str(tmp_path / f"a.{ending}"), default_measurement="m", stop=10, batch_rows=batch_rows)
    assert [t for rows in source for t in rows.time.tolist()] == [1, 2, 3]
