"""InfluxQL functions against a twin that reads one message after another, as Kapacitor does.

Random points of mixed kinds, random windows, random cuts: the operator's output must be the twin's, however the input
is cut, and with a snapshot between the cuts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickc.runtime import gosort, kernel
from tickc.runtime.batch import Column, Groups, Points, Rows, Segments, Text
from tickc.runtime.nodes import influxql, reducers, resolve, transforms
from tickc.runtime.nodes.influxql import InfluxQL
from tickc.runtime.snapshot import decode, encode

ZERO_TIME = None  # a reducer that supplies no time
SUPPORTED = {name: {k.name for k in kinds} for name, kinds in influxql.FUNCTIONS.items()}
ARGS: dict[str, tuple[Any, ...]] = {
    "percentile": (70.0,),
    "top": (3, "x"),
    "bottom": (2,),
    "elapsed": (3,),
    "movingAverage": (2,),
}
FUNCTIONS = [f for f in influxql.FUNCTIONS if not f.startswith("holtWinters")]


class Crash(Exception):
    """What would end Kapacitor; the batch or point is dropped."""


def kind_of(value: Any) -> str:
    return {bool: "BOOL", int: "INT", float: "FLOAT", str: "STRING"}[type(value)]


def wrap(n: int) -> int:
    return (n + 2**63) % 2**64 - 2**63


class Reducer:
    """The values of one segment, reduced when asked; points are (time, value, tags, fields)."""

    def __init__(self, function: str, args: tuple[Any, ...], kind: str) -> None:
        self.function, self.args, self.kind = function, args, kind
        self.points: list[tuple[int, Any, dict[str, str], dict[str, Any]]] = []
        self.unread = False

    def add(self, time: int, value: Any, tags: dict[str, str], fields: dict[str, Any]) -> None:
        if self.function == "difference" and self.points and self.points[-1][0] == time:
            return
        self.points.append((time, value, tags, fields))
        self.unread = True

    def emit(self) -> list[tuple[int | None, Any, Any]]:
        """(time, value, point) of each result."""
        return getattr(self, self.function)([p[1] for p in self.points])

    def total(self, values: list[Any]) -> Any:
        total = 0.0 if self.kind == "FLOAT" else 0
        for v in values:
            total = total + v if self.kind == "FLOAT" else wrap(total + v)
        return total

    def count(self, values: list[Any]) -> Any:
        return [(ZERO_TIME if values else 0, len(values), None)]

    def sum(self, values: list[Any]) -> Any:
        return [(0, self.total(values), None)]

    def mean(self, values: list[Any]) -> Any:
        return [(ZERO_TIME, float(self.total(values)) / len(values) if values else math.nan, None)]

    def spread(self, values: list[Any]) -> Any:
        if self.kind == "INT":
            return [(ZERO_TIME, wrap(max(values, default=-(2**63)) - min(values, default=2**63 - 1)), None)]
        low, high = math.inf, -math.inf
        for v in values:
            low = -math.inf if -math.inf in (low, v) else math.nan if v != v or low != low else min(low, v)
            high = math.inf if math.inf in (high, v) else math.nan if v != v or high != high else max(high, v)
        return [(ZERO_TIME, high - low, None)]

    def stddev(self, values: list[Any]) -> Any:
        if len(values) < 2:
            return [(ZERO_TIME, math.nan, None)]
        known = [float(v) for v in values if v == v]
        mean = 0.0
        for k, v in enumerate(known, 1):
            mean += (v - mean) / k
        variance = 0.0
        for v in known:
            variance += (v - mean) * (v - mean)
        if len(known) == 1:
            return [(ZERO_TIME, math.nan, None)]
        return [(ZERO_TIME, float(np.sqrt(np.float64(variance) / (len(known) - 1))), None)]

    def by_value(self, values: list[Any]) -> list[int]:
        """Places in the order of Go's sort."""
        keys = np.array(values, np.float64 if self.kind == "FLOAT" else np.int64)
        order = np.arange(len(values))
        sort = gosort.sort_by_float if self.kind == "FLOAT" else gosort.sort_by_int
        sort.interpreted()(keys, order, 0, len(values))
        return order.tolist()

    def median(self, values: list[Any]) -> Any:
        if not values:
            raise Crash
        if len(values) == 1:
            return [(self.points[0][0] if self.kind == "FLOAT" else ZERO_TIME, float(values[0]), None)]
        order = self.by_value(values)
        high, low = values[order[len(values) // 2]], values[order[len(values) // 2 - 1]]
        if len(values) % 2:
            return [(ZERO_TIME, float(high), None)]
        gap = high - low if self.kind == "FLOAT" else wrap(high - low)
        return [(ZERO_TIME, float(low) + float(gap) / 2, None)]

    def mode(self, values: list[Any]) -> Any:
        if not values:
            raise Crash
        if len(values) == 1:
            return [(self.points[0][0], values[0], None)]
        order = self.by_value(values)
        best_count = count = 0
        current = best = values[order[0]]
        best_time = since = self.points[order[0]][0]
        for i in order:
            if values[i] != current:
                count, current, since = 1, values[i], self.points[i][0]
                continue
            count += 1
            if best_count > count or (best_count == count and since > best_time):
                continue
            best_count, best, best_time = count, values[i], self.points[i][0]
        return [(ZERO_TIME, best, None)]

    def one(self, better: Any) -> Any:
        if not self.points:
            raise Crash
        best = self.points[0]
        for p in self.points[1:]:
            if better(p[0], p[1], best[0], best[1]):
                best = p
        return [(best[0], best[1], best)]

    def first(self, values: list[Any]) -> Any:
        if self.kind == "BOOL":
            return self.one(lambda t, v, bt, bv: t < bt or (t == bt and not v and bv))
        return self.one(lambda t, v, bt, bv: t < bt or (t == bt and v > bv))

    def last(self, values: list[Any]) -> Any:
        return self.one(lambda t, v, bt, bv: t > bt or (t == bt and v > bv))

    def min(self, values: list[Any]) -> Any:
        return self.one(lambda t, v, bt, bv: v < bv or (v == bv and t < bt))

    def max(self, values: list[Any]) -> Any:
        return self.one(lambda t, v, bt, bv: v > bv or (v == bv and t < bt))

    def percentile(self, values: list[Any]) -> Any:
        i = math.floor(len(values) * self.args[0] / 100.0 + 0.5) - 1
        if not 0 <= i < len(values):
            return []
        p = self.points[self.by_value(values)[i]]
        return [(p[0], p[1], p)]

    def distinct(self, values: list[Any]) -> Any:
        found: dict[Any, Any] = {}
        for i, p in enumerate(self.points):
            found.setdefault(("nan", i) if p[1] != p[1] else p[1], p)
        points = list(found.values())
        if any(p[1] != p[1] for p in points):  # their order is free in Kapacitor
            points.sort(key=lambda p: (p[0], p[1] != p[1], 0.0 if p[1] != p[1] else p[1]))
        else:
            points.sort(key=lambda p: (p[0], p[1]))
        return [(p[0], p[1], None) for p in points]

    def heap(self, sign: int) -> Any:
        """Go's container/heap with the worst at the root, then Go's sort in reverse."""
        n = self.args[0]

        def worse(a: Any, b: Any) -> bool:
            if a[1] != b[1]:
                return a[1] < b[1] if sign > 0 else a[1] > b[1]
            return a[0] > b[0]

        heap: list[Any] = []
        for p in self.points:
            if len(heap) == n:
                if not worse(heap[0], p):
                    continue
                heap[0] = p
                at = 0
                while (child := 2 * at + 1) < n:
                    if child + 1 < n and worse(heap[child + 1], heap[child]):
                        child += 1
                    if not worse(heap[child], heap[at]):
                        break
                    heap[at], heap[child] = heap[child], heap[at]
                    at = child
                continue
            heap.append(p)
            at = len(heap) - 1
            while at and worse(heap[at], heap[(at - 1) // 2]):
                heap[at], heap[(at - 1) // 2] = heap[(at - 1) // 2], heap[at]
                at = (at - 1) // 2
        for i in range(1, len(heap)):  # few enough for an insertion sort
            j = i
            while j and worse(heap[j - 1], heap[j]):
                heap[j], heap[j - 1] = heap[j - 1], heap[j]
                j -= 1
        return [(p[0], p[1], p) for p in heap]

    def top(self, values: list[Any]) -> Any:
        return self.heap(1)

    def bottom(self, values: list[Any]) -> Any:
        return self.heap(-1)

    def elapsed(self, values: list[Any]) -> Any:
        if len(self.points) < 2:
            return []
        d = self.points[-1][0] - self.points[-2][0]
        return [(self.points[-1][0], abs(d) // self.args[0] * (1 if d >= 0 else -1), None)]

    def difference(self, values: list[Any]) -> Any:
        if len(values) < 2 or not self.unread:
            return []
        self.unread = False
        d = values[-1] - values[-2]
        return [(self.points[-1][0], d if self.kind == "FLOAT" else wrap(d), None)]

    def cumulativeSum(self, values: list[Any]) -> Any:
        return [(self.points[-1][0], self.total(values), None)] if values else []

    def movingAverage(self, values: list[Any]) -> Any:
        n = self.args[0]
        if len(values) < n:
            return []
        total = 0.0 if self.kind == "FLOAT" else 0
        for i, v in enumerate(values):
            if i >= n:
                total -= values[i - n]
            total += v
            total = total if self.kind == "FLOAT" else wrap(total)
        return [(self.points[-1][0], float(total) / n, None)]


class Twin:
    """The node: what it sends for each message."""

    def __init__(self, function: str, field: str, as_name: str, args: tuple[Any, ...], point_times: bool) -> None:
        self.function, self.field, self.as_name, self.args = function, field, as_name, args
        self.transform = function in influxql.TRANSFORMS
        self.point_times = point_times or self.transform
        self.current: str | None = None
        self.good: str | None = None
        self.groups: dict[str, dict[str, Any]] = {}
        self.errors = 0

    def group(self, gid: str, name: str, time: int) -> dict[str, Any]:
        return self.groups.setdefault(gid, {"name": name, "time": time, "reducer": None})

    def create(self, kind: str) -> Reducer | None:
        if not (kind == self.current and self.good):
            self.current = kind
            if kind not in SUPPORTED[self.function]:
                return None
            self.good = kind
        return Reducer(self.function, self.args, self.good or "")

    def aggregate(self, g: dict[str, Any], point: Any) -> bool:
        """Whether the point reached a reducer, be it to be refused there."""
        time, tags, fields = point
        if g["reducer"] is None:
            if fields.get(self.field) is not None:
                g["reducer"] = self.create(kind_of(fields[self.field]))
            if g["reducer"] is None:
                self.errors += 1
                return False
        value = fields.get(self.field)
        if value is None or kind_of(value) != g["reducer"].kind:
            self.errors += 1
        else:
            g["reducer"].add(time, value, tags, fields)
        return True

    def results(self, g: dict[str, Any], group_tags: dict[str, str]) -> Any:
        """What a reducer gives, as points: (time, tags, fields)."""
        try:
            found = g["reducer"].emit()
        except Crash:
            self.errors += 1
            return None
        out = []
        for time, value, point in found:
            fields = {self.as_name: value}
            tags = group_tags
            if self.function in influxql.SELECTORS:
                tags = point[2]
                fields = {**{k: v for k, v in point[3].items() if k != self.field and v is not None}, **fields}
            elif self.function in ("top", "bottom"):
                tags = {**group_tags, **point[2]}
            out.append((g["time"] if not self.point_times or time is None else time, tags, fields))
        return out

    def message(self, g: dict[str, Any], tags: dict[str, str], seq: int) -> Iterator[Any]:
        found = self.results(g, tags)
        if found is None:
            return
        if self.function in influxql.TO_BATCH:
            yield seq, g["name"], max([g["time"], *(t for t, _, _ in found)]), tags, found
        else:
            for time, own, fields in found:
                yield seq, g["name"], time, own, fields

    def point(self, gid: str, tags: dict[str, str], name: str, point: Any, seq: int) -> Iterator[Any]:
        g = self.group(gid, name, point[0])
        if self.transform:
            if self.aggregate(g, point):
                yield from self.message(g, tags, seq)
            return
        if point[0] != g["time"]:
            if g["reducer"] is not None:
                yield from self.message(g, tags, seq)
            g.update(name=name, time=point[0], reducer=None)
        self.aggregate(g, point)

    def batch(self, gid: str, tags: dict[str, str], name: str, tmax: int, points: Any, seq: int) -> Iterator[Any]:
        g = self.group(gid, name, tmax)
        g.update(time=tmax, reducer=None)
        if self.transform:
            out = []
            for p in points:
                if self.aggregate(g, p):
                    out.extend(self.results(g, tags))
            yield seq, name, tmax, tags, out
            return
        size = sum([self.aggregate(g, p) for p in points])
        if not size:
            if self.function not in ("count", "sum"):
                return
            g["reducer"] = self.create("FLOAT")
        yield from self.message(g, tags, seq)


def plain(value: Any) -> Any:
    """A value with its type, and a float by its bits (all NaNs alike)."""
    if isinstance(value, float):
        return "nan" if value != value else value.hex()
    return type(value).__name__, value


def normal(message: Any) -> Any:
    seq, name, time, tags, body = message
    if isinstance(body, dict):
        return seq, name, time, tags, {k: plain(v) for k, v in body.items()}
    return seq, name, time, tags, [(t, own, {k: plain(v) for k, v in f.items()}) for t, own, f in body]


def row(rows: Rows, i: int) -> Any:
    tags = {k: t.at(i) for k, t in rows.tags.items() if t.at(i) is not None}
    fields = {k: c.at(i) for k, c in rows.fields.items() if c.at(i) is not None}
    return int(rows.time[i]), tags, fields


def messages(batches: Any) -> Iterator[Any]:
    """What an operator gave, in the twin's form."""
    for b in batches:
        for j in range(len(b)):
            if isinstance(b, Points):
                time, tags, fields = row(b.rows, j)
                yield normal((int(b.seq[j]), b.rows.name.at(j), time, tags, fields))
            else:
                index = range(b.start[j], b.stop[j]) if b.index is None else b.index[b.start[j] : b.stop[j]]
                group = dict(b.groups[int(b.group[j])].tags)
                found = [row(b.rows, int(i)) for i in index]
                yield normal((int(b.seq[j]), b.name.at(j), int(b.tmax[j]), group, found))


# Input

FLOATS = [0.0, -0.0, 1.5, 2.5, 2.5, -3.0, 1e300, 7.25]
INTS = [0, 1, 2, -5, 2**62, -(2**63)]
values = {
    "float": st.sampled_from(FLOATS),
    "special": st.sampled_from([*FLOATS, math.nan, math.inf, -math.inf]),
    "int": st.sampled_from(INTS),
    "number": st.sampled_from([*FLOATS, *INTS]),
    "string": st.sampled_from(["", "a", "b", "é", "zz"]),
    "bool": st.booleans(),
    "missing": st.sampled_from([1.5, 2.5, 4.0, None]),
    "mixed": st.sampled_from([1.5, 2.5, 4.0, 7, 8, "a", "b", True, False, None]),
}
HOSTS = ["a", "b", None]


@st.composite
def streams(draw: Any) -> tuple[Rows, list[Any], np.ndarray, Groups]:
    n = draw(st.integers(1, 30))
    column = draw(st.lists(values[draw(st.sampled_from(sorted(values)))], min_size=n, max_size=n))
    times = draw(st.lists(st.integers(0, draw(st.sampled_from([2, 5, 40]))), min_size=n, max_size=n))
    if draw(st.booleans()):
        times.sort()
    hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=n, max_size=n))
    names = draw(st.lists(st.sampled_from(["m", "m", "w"]), min_size=n, max_size=n))
    regions = draw(st.lists(st.sampled_from(["x", "y", None]), min_size=n, max_size=n))
    rows = Rows(
        np.array(times, np.int64), Text.of(names), Text.constant("db", n), Text.constant("rp", n),
        {"host": Text.of(hosts), "region": Text.of(regions)},
        {"v": Column.of_values(column), "w": Column.of_values(list(range(n)))},
    )  # fmt: skip
    groups = Groups()
    codes = [groups.code("m", False, {"host": h or ""}) for h in hosts]
    plain_points = [row(rows, i) for i in range(n)]
    return rows, plain_points, np.array(codes, np.int32), groups


@pytest.fixture(params=["interpreted", "compiled"])
def execution(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the kernels as plain Python, or all as machine code."""
    for module in (reducers, transforms, resolve, gosort):
        for k in vars(module).values():
            if isinstance(k, kernel.Kernel):
                monkeypatch.setattr(k, "_machine", None)
                monkeypatch.setattr(k, "_work", 0)
    if request.param == "interpreted":
        monkeypatch.setenv("TICKC_INTERPRET", "1")
    else:
        monkeypatch.delenv("TICKC_INTERPRET", raising=False)
        monkeypatch.setattr(kernel, "COMPILE_AFTER", 0)


def operator(function: str, as_name: str, point_times: bool) -> InfluxQL:
    args = ARGS.get(function, ())
    return InfluxQL(name="x", function=function, field="v", as_name=as_name, args=args, point_times=point_times)


def run(op: InfluxQL, parts: list[Any], fresh: Any) -> tuple[list[Any], int]:
    """All output of the parts, going through a snapshot between them, and how many errors were counted."""
    out: list[Any] = []
    for part in parts:
        out.extend(messages(op.process(part)))
        saved = decode(encode(op.snapshot()))
        errors = op.errors
        op = fresh()
        op.restore(saved)
        op.errors = errors
    return out, sum(op.errors.values())


def cuts(data: Any, n: int) -> list[slice]:
    marks = sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=4))})
    if data.draw(st.booleans()):
        marks = list(range(n + 1))
    return [slice(a, b) for a, b in pairwise(marks)]


SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("function", FUNCTIONS)
@SETTINGS
@given(data=st.data())
def test_stream_edge(function: str, execution: None, data: Any) -> None:
    rows, points, codes, groups = data.draw(streams())
    as_name, point_times = data.draw(st.sampled_from(["out", "v", "w"])), data.draw(st.booleans())
    twin = Twin(function, "v", as_name, ARGS.get(function, ()), point_times)
    expected: list[Any] = []
    for i, p in enumerate(points):
        tags = dict(groups[int(codes[i])].tags)
        expected.extend(map(normal, twin.point(groups[int(codes[i])].id, tags, rows.name.at(i) or "", p, 10 + i)))
    whole = Points(rows, codes, groups, np.arange(10, 10 + len(rows)))
    found, errors = run(
        operator(function, as_name, point_times),
        [whole.take(part) for part in cuts(data, len(rows))],
        lambda: operator(function, as_name, point_times),
    )
    assert found == expected
    assert errors == twin.errors


@pytest.mark.parametrize("function", FUNCTIONS)
@SETTINGS
@given(data=st.data())
def test_batch_edge(function: str, execution: None, data: Any) -> None:
    rows, points, codes, groups = data.draw(streams())
    as_name, point_times = data.draw(st.sampled_from(["out", "v", "w"])), data.draw(st.booleans())
    order = np.argsort(codes, kind="stable")
    begin = np.searchsorted(codes[order], np.arange(len(groups) + 1))
    m = data.draw(st.integers(1, 8))
    group = np.array(data.draw(st.lists(st.integers(0, len(groups) - 1), min_size=m, max_size=m)), np.int32)
    ends = [sorted(data.draw(st.tuples(*[st.integers(int(begin[g]), int(begin[g + 1]))] * 2))) for g in group]
    start, stop = np.array(ends, np.int64).T
    index: Any = order
    if data.draw(st.booleans()):  # the same rows without an index
        index, rows, points = None, rows.take(order), [points[i] for i in order]
    names = data.draw(st.lists(st.sampled_from(["m", "w"]), min_size=m, max_size=m))
    tmax = np.array(data.draw(st.lists(st.integers(0, 40), min_size=m, max_size=m)), np.int64)
    whole = Segments(
        rows, np.ascontiguousarray(start), np.ascontiguousarray(stop), tmax, group, groups, Text.of(names),
        np.arange(5, 5 + m), index=index,
    )  # fmt: skip
    twin = Twin(function, "v", as_name, ARGS.get(function, ()), point_times)
    expected: list[Any] = []
    for j in range(m):
        member = groups[int(group[j])]
        inside = [points[i] for i in (range(start[j], stop[j]) if index is None else index[start[j] : stop[j]])]
        expected.extend(
            map(normal, twin.batch(member.id, dict(member.tags), names[j], int(tmax[j]), inside, 5 + j))
        )  # fmt: skip
    found, errors = run(
        operator(function, as_name, point_times),
        [whole.take(np.arange(part.start, part.stop)) for part in cuts(data, m)],
        lambda: operator(function, as_name, point_times),
    )
    assert found == expected
    assert errors == twin.errors
