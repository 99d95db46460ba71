"""Vocabularies in their two forms, and columns of many distinct strings through sources and sinks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickc
from tickc.runtime.batch import Text, Vocabulary
from tickc.runtime.sinks.columns import _dictionary
from tickc.runtime.snapshot import freeze, thaw
from tickc.runtime.sources.columnar import text_of
from tickc.runtime.vocabulary import MANY

MANY_NAMES = [f"device-{i:06d}" for i in range(3 * MANY)]


def utf8(strings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [s.encode("utf-8", "surrogatepass") for s in strings]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)])


def text_like(chance: random.Random) -> str:
    size = chance.choice([0, 1, 3, 7, 8, 9, 15, 16, 17, 40])
    return "".join(chance.choice("abcdeé€\U0001f600\udcff\x00") for _ in range(size))


@pytest.mark.parametrize("seed", range(4))
def test_both_forms_are_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dict gives, however strings come and are asked for."""
    monkeypatch.setattr("tickc.runtime.vocabulary.MANY", 3)
    monkeypatch.setattr("tickc.runtime.vocabulary.ROOM", 4)
    chance = random.Random(seed)
    words, twin = Vocabulary(["first"]), {"first": 0}
    for _ in range(120):
        some = [text_like(chance) for _ in range(chance.randrange(12))]
        wanted = [twin.setdefault(s, len(twin)) for s in some]
        match chance.randrange(5):
            case 0:
                assert [words.code(s) for s in some] == wanted
            case 1:
                other = Vocabulary()
                codes = np.array([other.code(s) for s in some], np.int64)
                assert words.encode_from(other, codes).tolist() == wanted
            case _:
                assert words.encode_utf8(*utf8(some)).tolist() == wanted
        match chance.randrange(6):
            case 0:
                assert words.strings == list(twin)
            case 1:
                assert words.codes == twin
            case 2:
                codes = np.array(wanted, np.int64)
                text, ends = words.utf8(codes)
                assert (text.tobytes(), ends.tolist()) == (utf8(some)[0].tobytes(), utf8(some)[1].tolist())
                assert list(words.texts(codes)) == some
            case 3:
                found = [words.find(s) for s in (*some, "nowhere")]
                assert found == [*wanted, -2]
            case 4:
                words = thaw(freeze(words))
        assert len(words) == len(twin)
    assert words.strings == list(twin) and words.codes == twin


def test_threads_add_at_once() -> None:
    words = Vocabulary()
    parts = [MANY_NAMES[i : i + 2 * MANY] for i in (0, MANY // 2, MANY)]

    def add(i: int) -> np.ndarray:
        return words.encode_utf8(*utf8(parts[i])) if i < 2 else words.encode(parts[i])

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(add, range(3)))
    assert sorted(words.strings) == MANY_NAMES
    for part, codes in zip(parts, found):
        assert [words.strings[c] for c in codes.tolist()] == part


@pytest.mark.parametrize(
    "form", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_columns_of_many_strings(form: pa.DataType) -> None:
    chance = random.Random(1)
    values = [None if chance.random() < 0.1 else chance.choice(MANY_NAMES) for _ in range(3 * MANY)]
    column = pa.array(values, pa.string()).cast(form) if form != pa.string_view() else pa.array(values, form)
    words = Vocabulary(["device-000007"])
    for part in (column.slice(0, 5), column.slice(7), column):
        text = text_of(part, words)
        assert text.tolist() == part.to_pylist()
    back = _dictionary(text)
    assert back.to_pylist() == values
    occurring = list(dict.fromkeys(v for v in values if v is not None))
    assert back.dictionary.to_pylist() == occurring


@pytest.mark.parametrize("codes", [[], [-1], [-1, -1, 70_000, 5, 5], [9, 8, 9, 0], [70_000]])
def test_a_few_rows_of_many_strings(codes: list[int]) -> None:
    """They do not go through all of them, and say the same."""
    large = Vocabulary()
    large.encode_utf8(*utf8(MANY_NAMES + [f"more-{i}" for i in range(20_000)]))
    few = Text(np.array(codes, np.int32), large)
    words = [None if c < 0 else large.strings[c] for c in codes]
    assert few._few
    assert few.tolist() == words
    assert few.used().tolist() == sorted({*codes} - {-1})
    own = Vocabulary(["more-10000"])
    assert few.recode(own).tolist() == words
    assert own.strings == ["more-10000", *(large.strings[c] for c in sorted({*codes} - {-1, 70_000}))]
    constant = Text(np.broadcast_to(np.int32(7), (3,)), large)
    assert constant.used().tolist() == [7]
    assert constant.tolist() == [large.strings[7]] * 3


def test_one_string_in_all_rows_stays_without_storage() -> None:
    one, same, other = Text.constant("m", 3), Text.constant("m", 2), Text.constant("n", 1)
    whole = Text.concat([one, same, Text.of([])])
    assert whole.tolist() == ["m"] * 5
    assert whole.codes.strides == (0,)
    assert Text.concat([one, other]).tolist() == ["m", "m", "m", "n"]
    assert Text.concat([one, Text.of(["m", None])]).tolist() == ["m", "m", "m", "m", None]
    moved = one.recode(Vocabulary(["x"]))
    assert (moved.tolist(), moved.codes.strides) == (["m"] * 3, (0,))
    absent = Text(np.broadcast_to(np.int32(-1), (2,)), Vocabulary(["x"]))
    assert Text.concat([absent, absent.recode(Vocabulary())]).tolist() == [None] * 4


def test_strings_that_are_no_utf8_are_written_with_a_sign_for_it() -> None:
    names = [*MANY_NAMES[:MANY], "caf\udcc3"]
    words = Vocabulary()
    written = _dictionary(Text(words.encode_utf8(*utf8(names)), words))
    assert written.to_pylist() == [*names[:-1], "caf\ufffd"]


@pytest.mark.parametrize("last", [b"caf\xc3", b"\xa9"])
def test_columns_that_are_no_utf8(last: bytes) -> None:
    values = pa.array([b"device"] * MANY + [b"caf\xc3", last])
    column = pa.StringArray.from_buffers(len(values), *values.buffers()[1:])
    with pytest.raises(UnicodeDecodeError):
        text_of(column, Vocabulary())


def test_many_groups(tmp_path: Path) -> None:
    """Groups that do not repeat within a row group, whose names come as plain strings."""
    n, rounds = 2 * MANY, 3
    order = np.random.default_rng(1).permuted(np.tile(np.arange(n), (rounds, 1)), axis=1)
    times = np.repeat(np.arange(rounds) * 120_000_000_000, n) + np.tile(np.arange(n), rounds)
    table = pa.table({
        "time": pa.array(times, pa.timestamp("ns")),
        "id": pa.array([MANY_NAMES[i] for i in order.ravel().tolist()]),
        "v": pa.array(order.ravel() + np.repeat(np.arange(rounds), n), pa.float64()),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=n)
    task = tickc.compile("""stream
    |from()
        .measurement('m')
        .groupBy('id')
    |window()
        .period(1m)
        .every(1m)
    |sum('v')
    |httpOut('sums')
""")
    found = task.backfill(tmp_path / "m.parquet")["sums"].select(["id", "sum"]).to_pydict()
    groups = [MANY_NAMES[i] for i in [*order[1].tolist(), *order[2].tolist()]]
    assert found["id"] == groups
    assert found["sum"] == [float(i) for i in order[1].tolist()] + [i + 1.0 for i in order[2].tolist()]
