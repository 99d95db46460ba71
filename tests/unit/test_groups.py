"""Tables of groups: one entry for each id, whatever the values, the batches and the way a table came about."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tickc.runtime.batch import Groups, Rows, Text, group_id
from tickc.runtime.nodes.group import ALL, Grouping
from tickc.runtime.snapshot import decode, encode, freeze, sharing, thaw


def rows(names: list[str], **tags: list[str | None]) -> Rows:
    n = len(names)
    return Rows(np.arange(n), Text.of(names), Text.constant("", n), Text.constant("", n),
                {k: Text.of(v) for k, v in tags.items()}, {})  # fmt: skip


def ids(table: Rows, dims: tuple[str, ...] | str, exclude: tuple[str, ...], by_name: bool) -> list[str]:
    """The id of each row's group, as Kapacitor makes it."""
    found = []
    for i in range(len(table)):
        own = {k: t.at(i) for k, t in table.tags.items()}
        if dims == ALL:
            tags = {k: v for k, v in sorted(own.items()) if v is not None and k not in exclude}
        else:
            tags = {k: own.get(k) or "" for k in dims}
        found.append(group_id(table.name.at(i) or "", by_name, tags))
    return found


def by_first_appearance(texts: list[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(text, len(numbers)) for text in texts]


VALUES = ["", "a", "b", "1,b=2", "1", "2", "2,c=3", "x\ny", "\u00e9", "\udcff"]


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("dims", [(), ("a",), ("a", "b"), ("a", "b", "zz"), ALL])
def test_codes_are_those_of_the_ids(dims: tuple[str, ...] | str, by_name: bool, odd: bool) -> None:
    """Whole, in pieces, and gone on with from a snapshot at every piece."""
    exclude = ("x",) if dims == ALL else ()
    for seed in range(25):
        chance = random.Random(seed)
        values = [*(VALUES if odd else VALUES[:3]), None]
        n = chance.randrange(1, 60)
        names = [chance.choice(["m", "n", "m\na=1" if odd else "m"]) for _ in range(n)]
        tags = {t: [chance.choice(values) for _ in range(n)] for t in chance.sample(["a", "b", "c", "a=1", "x"], 3)}
        table = rows(names, **tags)
        wanted = by_first_appearance(ids(table, dims, exclude, by_name))
        if not dims and not by_name:
            wanted = [0] * n
        assert Grouping(dims, exclude, by_name).encode(table).tolist() == wanted
        grouping, restored, got = Grouping(dims, exclude, by_name), Grouping(dims, exclude, by_name), list[list[int]]()
        for low, high in itertools.pairwise(sorted({0, n, *(chance.randrange(n + 1) for _ in range(4))})):
            piece = rows(names[low:high], **{k: v[low:high] for k, v in tags.items() if chance.random() < 0.9})
            for t in tags.keys() - piece.tags.keys():
                if any(v is not None for v in tags[t][low:high]):  # a column that is missing is one without values
                    piece = piece.with_(tags={**piece.tags, t: Text.of(tags[t][low:high])})
            fresh = Grouping(dims, exclude, by_name)
            fresh.restore(thaw(decode(encode(freeze(restored.snapshot())))))
            restored = fresh
            got.append(grouping.encode(piece).tolist())
            assert restored.encode(piece).tolist() == got[-1]
        assert [code for codes in got for code in codes] == wanted
        assert [g.id for g in grouping.groups] == [g.id for g in restored.groups]
        assert all(grouping.groups.codes[g.id] == code for code, g in enumerate(grouping.groups))


def test_rows_of_which_some_keep_the_measurement() -> None:
    table = rows(["m", "n", "m"], a=["1", "1", "1"])
    grouping = Grouping(("a",))
    assert grouping.encode(table).tolist() == [0, 0, 0]
    assert grouping.encode(table, np.array([True, True, False])).tolist() == [1, 2, 0]
    assert [g.id for g in grouping.groups] == ["a=1", "m\na=1", "n\na=1"]
    again = Grouping(("a",))
    again.restore(thaw(freeze(grouping.snapshot())))
    assert again.encode(table, np.array([False, True, True])).tolist() == [0, 2, 1]


def test_many_dimensions() -> None:
    tags = {f"t{i:03}": ["x", None] if i % 2 else ["x", "x"] for i in range(150)}
    grouping = Grouping(ALL)
    assert grouping.encode(rows(["m", "m"], **tags)).tolist() == [0, 1]
    assert [len(g.dims) for g in grouping.groups] == [150, 75]


def test_tables_that_are_shared_are_kept_once() -> None:
    groups = Groups()
    groups.code("m", False, {"a": "1"})
    with sharing() as tables:
        frozen = [freeze(groups), freeze({"again": groups})]
    with sharing(decode(encode(tables))):
        first, second = (thaw(part) for part in decode(encode(frozen)))
    assert second["again"] is first and first[0].tags == {"a": "1"} and len(first) == 1


@pytest.mark.parametrize("rename", ["", "all"])
@pytest.mark.parametrize("seed", range(20))
def test_groups_of_another_table_are_taken_over_as_one_by_one(seed: int, rename: str) -> None:
    chance = random.Random(seed)

    def some(count: int) -> Groups:
        table = Groups()
        for _ in range(count):
            dims = chance.choice([("host",), ("dc", "host"), ()])
            tags = {d: chance.choice(VALUES) for d in dims}
            table.code(chance.choice("mn"), chance.random() < 0.3, tags)
        return table

    bulk, single = some(0), Groups()
    for other in (some(30), some(30)):
        first = len(other) // 2 if len(bulk) else 0
        expected = [single.code(rename or g.name, g.by_name, g.tags) for g in other.since(first)]
        assert bulk.take_over(other, first, rename).tolist() == expected
        assert [(g.id, g.name, g.dims, g.tags) for g in bulk] == [(g.id, g.name, g.dims, g.tags) for g in single]


def test_ids_of_many_at_once() -> None:
    groups = Groups()
    for name, by_name, tags in [
        ("m", False, {}),
        ("m", True, {}),
        ("m", False, {"a": "x"}),
        ("n", True, {"a": "x", "b": ""}),
        ("m", False, {"b": "y"}),
    ]:
        groups.code(name, by_name, tags)
    assert groups.ids(np.array([4, 0, 3, 3, 1, 2], np.int32)) == [groups[g].id for g in (4, 0, 3, 3, 1, 2)]
    assert groups.ids(np.zeros(0, np.int32)) == []
