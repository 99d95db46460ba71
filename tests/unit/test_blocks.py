"""Text in blocks: reading, decompressing, cutting between lines, and scanning by several threads."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import pyarrow as pa
import pytest

from tickc.runtime.batch import Rows
from tickc.runtime.sources import Problems, Wanted
from tickc.runtime.sources.base import Codes
from tickc.runtime.sources.blocks import Block, read_blocks, whole_lines
from tickc.runtime.sources.line_protocol import LineParser, parse_blocks


def texts(blocks: list[Block]) -> list[bytes]:
    return [block.text[block.begin : block.stop].tobytes() for block in blocks]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"a\nb", b"c\n", b"d"], [b"a\n", b"bc\n", b"d"]),
        ([b"a", b"b", b"", b"c\nd\n"], [b"abc\nd\n"]),
        ([b"\n" + b"x" * 10_000, b"\n"], [b"\n", b"x" * 10_000 + b"\n"]),
        ([b"a\n" + b"x" * 100_000, b"y\nb"], [b"a\n", b"x" * 100_000 + b"y\n", b"b"]),
        ([], []),
    ],
)
def test_blocks_end_with_a_line(parts: list[bytes], expected: list[bytes]) -> None:
    assert texts(list(whole_lines(parts))) == expected


LINES = b"".join(b"cpu,host=h%d v=%d %d\n" % (i % 9, i, i) for i in range(40_000))
MEMBERS = gzip.compress(LINES[:300_000]) + b"\0" * 9 + gzip.compress(b"") + gzip.compress(LINES[300_000:])


@pytest.mark.parametrize("packed", [LINES, gzip.compress(LINES), MEMBERS, pa.compress(LINES, "zstd", asbytes=True)])
def test_files_are_read_whole(tmp_path: Path, packed: bytes) -> None:
    path = tmp_path / "x.lp"
    path.write_bytes(packed)
    assert b"".join(texts([block for block, _ in read_blocks(str(path))])) == LINES


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(MEMBERS[:-9])
    with pytest.raises(EOFError):
        list(read_blocks(str(path)))
    path.write_bytes(MEMBERS + b"more")
    with pytest.raises(zlib.error):
        list(read_blocks(str(path)))


def test_released_blocks_are_filled_again(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(LINES * 20))
    seen = set()
    for block, _ in read_blocks(str(path)):
        seen.add(id(block))
        block.release()
    assert len(seen) == 1


def odd_text(seed: int) -> bytes:
    """Lines of many series and fields, some malformed, some with strings over several lines."""
    rng = random.Random(seed)
    made = []
    for i in range(900):
        name, host = rng.choice(["cpu", "mem", r"d\ k"]), rng.randrange(30 + i // 10)
        fields = [f"{rng.choice('abcdef')}{rng.randrange(1 + i // 90)}={rng.choice(['1', '2.5', '7i', 't', '1e-5'])}"]
        fields += [f's="{rng.choice(["x", "two", chr(10) + "lines", "a,b=1 2" + chr(10), "c v=1 1" + chr(10)])}"']
        line = f"{name},host=h{host} {','.join(fields)} {i}"
        made.append(rng.choice([line] * 9 + [line + "x", line[: len(line) // 2], "# no point", ""]))
    return "\n".join(made).encode()


def shown(batches: list[Rows]) -> dict[str, object]:
    """All columns, with the codes of text as they are."""
    rows = Rows.concat(batches)
    texts = {"name": rows.name, **rows.tags}
    return {
        "time": rows.time.tolist(),
        "codes": {k: (t.codes.tolist(), t.vocabulary.strings) for k, t in texts.items()},
        "fields": {k: [c.at(i) for i in range(len(rows))] for k, c in rows.fields.items()},
    }


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted({"host"}, {"a0", "s"}, {"cpu", "d k"}, predicate=(("a0", ">", 1.0),))]
)
@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_threads_reads_the_same(seed: int, wanted: Wanted) -> None:
    text = odd_text(seed)
    found = []
    for threads, size in [(1, len(text)), (1, 700), (3, 700), (4, 60)]:
        problems = Problems()
        parser = LineParser("x", wanted, Codes(), problems)
        blocks = [text[i : i + size] for i in range(0, len(text), size)]
        found.append((shown(list(parse_blocks(parser, blocks, threads))), problems, list(parser.fields)))
    assert all(one == found[0] for one in found)
    assert found[0][1].total > 20 and len(found[0][0]["time"]) > 50  # type: ignore[arg-type]


def test_threads_stop_with_the_one_who_asks(tmp_path: Path) -> None:
    rows = parse_blocks(LineParser("x", Wanted(), Codes(), Problems()), [LINES[:2000]] * 50, 2)
    assert len(next(rows)) > 50
    rows.close()  # type: ignore[attr-defined]
