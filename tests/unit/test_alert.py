"""alert: Kapacitor's traces, and a plain twin of its state machine on random rows, cuts and settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import SECOND, T, cut, moved, outputs, plain, points, rows, segments, shared

from tickc.runtime.batch import Column
from tickc.runtime.events import DEFAULT_DETAILS, LEVELS
from tickc.runtime.expr import Expr, call, ref
from tickc.runtime.graph import Graph, Output, Source, TaskFailed
from tickc.runtime.kinds import Kind
from tickc.runtime.nodes.alert import Alert, Topics
from tickc.runtime.nodes.stream import From
from tickc.runtime.results import Results

V = ref("v")
A = {"host": "a"}


def events(sent: list[Output]) -> list[tuple[float, str, int, str]]:
    """(seconds after T, level, duration in s, previous level) of all events."""
    return [
        ((t - T) / SECOND, LEVELS[level], duration // SECOND, LEVELS[before])
        for out in sent
        if out.kind == "alert"
        for e in [out.payload]
        for t, level, duration, before in zip(e.time, e.level, e.duration, e.previous)
    ]


def trace(values: list[float], **how: Any) -> list[tuple[float, str, int, str]]:
    given_rows = rows([(t, A, {"v": v}) for t, v in enumerate(values)])
    found = events(outputs([given_rows], Alert(name="alert2", logs=("x",), **how)))
    assert found == events(outputs(cut(given_rows, range(len(values))), Alert(name="alert2", logs=("x",), **how)))
    return found


def levels(found: list[tuple[float, str, int, str]]) -> list[tuple[float, str]]:
    return [(t, level) for t, level, _, _ in found]


# --- Kapacitor's traces ---------------------------------------------------------------------------------------------


def test_resets() -> None:
    found = trace([1, 11, 8, 21, 15, 13, 11, 9, 4, 8, 22, 3], warn=V > 10, warn_reset=V < 5, crit=V > 20,
                  crit_reset=V < 12)  # fmt: skip
    assert levels(found) == [
        (1, "WARNING"), (2, "WARNING"), (3, "CRITICAL"), (4, "CRITICAL"), (5, "CRITICAL"), (6, "WARNING"),
        (7, "WARNING"), (8, "OK"), (10, "CRITICAL"), (11, "OK"),
    ]  # fmt: skip


def test_state_changes_only_with_duration() -> None:
    how = {"warn": V > 0, "state_changes_only": True, "state_changes_duration": 3 * SECOND}
    found = trace([0, 1, 1, 1, 1, 1, 0, 0, 0, 1], **how)
    assert found == [(1, "WARNING", 0, "OK"), (4, "WARNING", 3, "WARNING"), (6, "OK", 5, "WARNING"),
                     (9, "WARNING", 0, "OK")]  # fmt: skip


def test_no_recoveries() -> None:
    found = trace([1, 0, 1, 1], warn=V > 0, no_recoveries=True)
    assert [e[:3] for e in found] == [(0, "WARNING", 0), (2, "WARNING", 0), (3, "WARNING", 1)]


def test_flapping() -> None:
    found = trace([0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0], warn=V > 0, flapping=(0.25, 0.5), history=5)
    assert levels(found) == [(1, "WARNING"), (2, "OK"), (9, "WARNING"), (10, "WARNING"), (11, "OK")]


def test_flap_thresholds_are_shares() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Alert(name="a", flapping=(0.2, 1.5))


def test_batch_with_all() -> None:
    node = Alert(name="a", crit=V > 1, info=V > 0, all=True, logs=("x",))
    list(node.process(segments([(10, A, [(0, {}, {"v": 1}), (1, {}, {"v": 2})])])))
    assert levels(events(node.outputs)) == [(10, "INFO")]
    assert node.outputs[0].payload.point.fields["v"].at(0) == 2


def test_errors_of_levels_and_resets() -> None:
    node = Alert(name="a", warn=V > 0, warn_reset=ref("nope") > 0, crit=ref("nope") > 0, logs=("x",))
    list(node.process(points([(0, A, {"v": 1}), (1, A, {"v": 0})])))
    assert levels(events(node.outputs)) == [(0, "WARNING"), (1, "OK")]
    assert sum(node.errors.values()) == 4


# --- a plain twin ---------------------------------------------------------------------------------------------------


@dataclass
class TwinGroup:
    history: list[int]
    at: int = 0
    flapping: bool = False
    first: int | None = None
    last: int | None = None


@dataclass
class Twin:
    """alert.go, point by point. tests: for INFO, WARNING, CRITICAL a predicate; resets likewise (None: not there)."""

    tests: list[Callable[[Any], bool] | None]
    resets: list[Callable[[Any], bool] | None]
    how: dict[str, Any]
    groups: dict[str, TwinGroup] = field(default_factory=dict)
    topic: dict[str, tuple[int, int]] = field(default_factory=dict)
    found: list[Any] = field(default_factory=list)
    id: Callable[[str], str] = lambda group: group

    def level(self, value: Any, current: int) -> int:
        def first(high: int, low: int) -> int | None:
            for level in range(high, low, -1):
                test = self.tests[level - 1]
                if test is not None and test(value):
                    return level
            return None

        if (level := first(3, max(current - 1, 0))) is not None:
            return level
        reset = self.resets[current - 1] if current else None
        if reset is not None and not reset(value):
            return current
        return first(current, 0) or 0

    def group(self, name: str, time: int) -> TwinGroup:
        if name not in self.groups:
            g = self.groups[name] = TwinGroup([0] * self.how.get("history", 21))
            level, since = self.topic.get(self.id(name), (0, 0))
            if level:
                self.push(g, time, level)
                self.trigger(g, since)
        return self.groups[name]

    def push(self, g: TwinGroup, time: int, level: int) -> tuple[bool, bool]:
        n = len(g.history)
        changed = g.history[g.at] != level
        g.at = (g.at + 1) % n
        g.history[g.at] = level
        if "flapping" in self.how:
            low, high = self.how["flapping"]
            weight, total = 1.2 / 1.5, 0.0
            step = (1.2 - 0.8) / (n - 1)
            weight = 0.8
            for k in range(n - 1):
                a = (k + g.at) % n
                if g.history[a] != g.history[a - 1]:
                    total += weight
                weight += step
            share = total / (n - 1)
            if g.flapping and share < low:
                g.flapping = False
            elif not g.flapping and share > high:
                g.flapping = True
        repeat = self.how.get("state_changes_duration", 0)
        return changed, not changed and repeat != 0 and (g.last is None or time - g.last >= repeat)

    def trigger(self, g: TwinGroup, time: int) -> int:
        g.last = time
        if g.history[g.at - 1] == 0:
            g.first = time
        return 2**63 - 1 if g.first is None else g.last - g.first

    def send(self, name: str, g: TwinGroup, time: int, level: int) -> None:
        duration = self.trigger(g, time)
        if self.how.get("no_recoveries") and level == 0:
            return
        before = self.topic.get(self.id(name), (0, 0))[0]
        self.topic[self.id(name)] = (level, time)
        self.found.append((name, (time - T) / SECOND, LEVELS[level], duration // SECOND, LEVELS[before]))

    def held_back(self, g: TwinGroup, changed: bool, expired: bool) -> bool:
        return g.flapping or bool(self.how.get("state_changes_only") and not changed and not expired)

    def point(self, name: str, time: int, value: Any) -> None:
        g = self.group(name, time)
        level = self.level(value, g.history[g.at])
        changed, expired = self.push(g, time, level)
        if not self.held_back(g, changed, expired) and (level or changed):
            self.send(name, g, time, level)

    def batch(self, name: str, tmax: int, values: list[tuple[int, Any]]) -> None:
        g = self.group(name, tmax)
        if not values:
            return
        current = g.history[g.at]
        found = [self.level(v, current) for _, v in values]
        level = min(found) if self.how.get("all") else max(found)
        time = tmax if self.how.get("all") or level == 0 else values[found.index(max(found))][0]
        changed, expired = self.push(g, time, level)
        if changed if level == 0 else not self.held_back(g, changed, expired):
            self.send(name, g, time, level)


def counted(every: int) -> Callable[[Any], bool]:
    """`count() % every == 0`: its state is shared by all groups."""
    seen = 0

    def test(value: Any) -> bool:
        nonlocal seen
        seen += 1
        return seen % every == 0

    return test


def above(limit: float) -> Callable[[Any], bool]:
    return lambda value: value is not None and value > limit


def below(limit: float) -> Callable[[Any], bool]:
    return lambda value: value is None or value < limit  # an error is as good as a reset that passed


@st.composite
def setups(draw: Any) -> tuple[dict[str, Any], Callable[[], Twin]]:
    """Keywords of an alert, and a maker of its twin."""
    how: dict[str, Any] = {}
    makers: list[list[Callable[[], Callable[[Any], bool]] | None]] = [[None] * 3, [None] * 3]
    for i, (name, limit) in enumerate((("info", 2), ("warn", 4), ("crit", 6))):
        kind = draw(st.sampled_from(["above", "above", "none", "count"]))
        if kind == "none":
            continue
        every = draw(st.integers(1, 4))
        how[name] = limit < V if kind == "above" else call("count") % every == 0
        makers[0][i] = partial(above, limit) if kind == "above" else partial(counted, every)
        reset = draw(st.sampled_from(["none", "none", "below", "count"]))
        if reset == "below":
            how[f"{name}_reset"] = limit - 1 > V
            makers[1][i] = partial(below, limit - 1)
        elif reset == "count":
            how[f"{name}_reset"] = call("count") % 2 == 0
            makers[1][i] = partial(counted, 2)
    options: dict[str, Any] = {
        "all": draw(st.booleans()),
        "state_changes_only": draw(st.booleans()),
        "state_changes_duration": draw(st.sampled_from([0, 3 * SECOND])),
        "no_recoveries": draw(st.booleans()),
        "history": draw(st.sampled_from([2, 3, 5, 21])),
    }
    if draw(st.booleans()):
        options["flapping"] = draw(st.sampled_from([(0.25, 0.5), (0.1, 0.2), (0.0, 0.05)]))

    def twin() -> Twin:
        tests, resets = ([None if make is None else make() for make in some] for some in makers)
        return Twin(tests, resets, options)

    return {**how, **options}, twin


VALUES = st.sampled_from([None, 0, 1, 3, 3, 5, 5, 7, 7.5])
STREAM = st.lists(st.tuples(st.sampled_from("abc"), VALUES), min_size=1, max_size=40)
SAME_ID = {"id": "one"}


def seen(node_outputs: list[Output]) -> list[Any]:
    """(group, seconds, level, duration, previous level) of all events."""
    names = [e.data.groups[g].id for out in node_outputs for e in [out.payload] for g in e.data.group.tolist()]
    return [(name.removeprefix("host="), *found) for name, found in zip(names, events(node_outputs))]


@settings(deadline=None, max_examples=150)
@given(setups(), STREAM, st.lists(st.integers(0, 40)), st.booleans(), st.integers(0, 40))
def test_stream_twin(setup: Any, stream: Any, edges: list[int], one_id: bool, restart: int) -> None:
    how, make_twin = setup
    twin = make_twin()
    if one_id:
        how = {**how, **SAME_ID}
        twin.id = lambda group: "one"
    for t, (host, value) in enumerate(stream):
        twin.point(host, T + t * SECOND, value)
    whole = points([(t, {"host": h}, {} if v is None else {"v": v}) for t, (h, v) in enumerate(stream)])
    for some in ([], edges, range(len(stream))):
        node = Alert(name="a", logs=("x",), **how)
        passed = [p for part in cut(whole, list(some)) for out in node.process(part) for p in plain(out)]
        assert seen(node.outputs) == twin.found
        assert [(p[3].removeprefix("host="), p[0]) for p in passed] == [e[:2] for e in twin.found]
    first, *rest = cut(whole, [restart])
    old, new = (Alert(name="a", logs=("x",), **how) for _ in range(2))
    list(old.process(first))
    moved(old, new)
    for part in rest:
        list(new.process(part))
    assert seen(old.outputs) + seen(new.outputs) == twin.found


@settings(deadline=None, max_examples=100)
@given(setups(), STREAM, st.lists(st.integers(0, 40)), st.lists(st.integers(0, 20)))
def test_batch_twin(setup: Any, stream: Any, sizes: list[int], edges: list[int]) -> None:
    how, make_twin = setup
    twin = make_twin()
    batches: list[Any] = []
    for a, b in pairwise([0, *sorted(s for s in sizes if s <= len(stream)), len(stream)]):
        host = stream[min(a, len(stream) - 1)][0]
        batches.append((float(b), {"host": host}, [(t, {}, {} if v is None else {"v": v})
                                                   for t, (_, v) in enumerate(stream[a:b], a)]))  # fmt: skip
        twin.batch(host, T + b * SECOND, [(T + t * SECOND, v) for t, (_, v) in enumerate(stream[a:b], a)])
    whole = segments(batches)
    for parts in ([whole], [shared(whole)], cut(whole, edges)):
        node = Alert(name="a", logs=("x",), **how)
        passed = [b for part in parts for out in node.process(part) for b in plain(out)]
        assert seen(node.outputs) == twin.found
        assert [b[1].removeprefix("host=") for b in passed] == [e[0] for e in twin.found]


# --- topics and inhibition ------------------------------------------------------------------------------------------


def branches(given_rows: Any, *alerts: dict[str, Any]) -> list[Output]:
    """Several alerts side by side on one grouped stream, with shared topics."""
    graph, topics = Graph(), Topics()
    source = graph.add(From(name="from1", group_by=("host",)), graph.add(Source(name="stream0")))
    for how in alerts:
        graph.add(Alert(topics=topics, **how), source)
    return list(graph.run(given_rows))


def ways(given_rows: Any) -> list[Any]:
    return [[given_rows], cut(given_rows, range(len(given_rows))), cut(given_rows, [2, 5])]


@pytest.mark.parametrize("first", ["down", "app"])
def test_inhibited_events_are_not_sent(first: str) -> None:
    down = {"name": "down", "crit": ref("down"), "inhibit": (("app", ("host",)),), "logs": ("down",),
            "state_changes_only": True}  # fmt: skip
    app = {"name": "app", "crit": V > 0, "category": "app", "logs": ("app",)}
    table = [(0, "a", True), (1, "b", False), (2, "a", True), (3, "a", False), (4, "a", False), (5, "b", True)]
    given_rows = rows([(t, {"host": h}, {"v": 1, "down": d}) for t, h, d in table])
    for parts in ways(given_rows):
        sent = branches(parts, *([down, app] if first == "down" else [app, down]))
        by_path: dict[str, list[float]] = {"down": [], "app": []}
        for out in sent:
            by_path[out.name].extend(((out.payload.time - T) / SECOND).tolist())
        assert by_path["down"] == [0, 3, 5]
        # an alert sees at a row what those before it in the graph did at that row
        assert by_path["app"] == ([1, 3, 4] if first == "down" else [0, 1, 4, 5])


def test_named_topic_gives_a_new_group_its_level() -> None:
    first = {"name": "one", "warn": V > 0, "topic": "t", "id": "x", "logs": ("one",)}
    second = {"name": "two", "crit": V > 1, "topic": "t", "id": "x", "logs": ("two",), "state_changes_only": True}
    given_rows = rows([(0, A, {"v": 1}), (1, A, {"v": 1})])
    for parts in ways(given_rows):
        sent = branches(parts, first, second)
        assert events([o for o in sent if o.name == "two"]) == [(0, "OK", 0, "WARNING")]


# --- texts and what goes on -----------------------------------------------------------------------------------------


def documents(*how: dict[str, Any], fields: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    results = Results("task")
    given_rows = rows([(0, {"host": "a", "zone": "z"}, fields or {"v": 2.5, "n": 3, "s": "x", "b": True})])
    for one in how:
        for out in outputs([given_rows], Alert(name="alert2", task="task", crit=V > 0, logs=("x",), **one)):
            results.add(out)
    return results.to_json()["alerts"].get("x", [])


@pytest.mark.parametrize(
    "message",
    [
        "{{ .ID }} is {{ .Level }}",
        '{{ .Name }}|{{.Group}}|{{ .TaskName }}|{{ index .Tags "zone" }}|{{ index .Tags "none" }}',
        '{{ index .Fields "v" }} {{ index .Fields "n" }} {{ index .Fields "s" }} {{ index .Fields "b" }}',
        '{{ index .Fields "none" }}!}}',
        "plain",
        "",
    ],
)
def test_simple_templates_agree_with_the_full_renderer(message: str) -> None:
    full = message + "{{ if false }}{{ end }}"
    simple, rendered = documents({"message": message}, {"message": full})
    assert simple["message"] == rendered["message"]


def test_event_document() -> None:
    (event,) = documents({"message": "{{ .Time }} {{ .Duration }}", "details": "<b>{{ .Message }}</b>"})
    assert event == {
        "id": "m:host=a", "message": "2020-09-13 12:26:40 +0000 UTC 0s",
        "details": "<b>2020-09-13 12:26:40 &#43;0000 UTC 0s</b>", "time": "2020-09-13T12:26:40Z", "duration": 0,
        "level": "CRITICAL", "previousLevel": "OK", "recoverable": True,
        "data": {"series": [{"name": "m", "tags": {"host": "a", "zone": "z"}, "columns": ["time", "b", "n", "s", "v"],
                             "values": [["2020-09-13T12:26:40Z", True, 3, "x", 2.5]]}]},
    }  # fmt: skip


def test_default_details_are_those_of_the_template() -> None:
    default, written = documents({}, {"details": DEFAULT_DETAILS})
    assert default["details"] == written["details"] != ""


STRANGE = "<>&'\"+`\\ \n\t\x01\u2028\udcff é%s{}"


def test_default_details_of_any_event_are_those_of_the_template() -> None:
    given_rows = rows(
        [
            (0, {"host": STRANGE, "zone": "z"}, {"v": 1e25, "n": -3, "s": STRANGE, "b": True}),
            (1, {"host": "a"}, {"v": 2.5e-9, "s": "plain"}),
            (2, {"host": "a", "zone": STRANGE}, {"v": math.inf, STRANGE: 1}),
            (3, {"host": "b"}, {"v": 1.5, "n": 2.5}),
        ]
    )
    for parts in ([given_rows], cut(given_rows, range(5)), cut(given_rows, [2])):
        default, written = (Results("task"), Results("task"))
        for results, details in ((default, None), (written, DEFAULT_DETAILS)):
            node = Alert(name="alert2", task=STRANGE, crit=V > 0, logs=("x",), message=STRANGE, details=details)
            for out in outputs(parts, node):
                results.add(out)
        assert default.text() == written.text()
        assert len(default.to_json()["alerts"]["x"]) == 3


def test_an_event_that_json_cannot_hold_is_left_out() -> None:
    assert documents({}, fields={"v": 1.0, "w": float("nan")}) == []


@pytest.mark.parametrize("part", ["id", "message", "details"])
def test_a_failing_template_ends_the_task(part: str) -> None:
    with pytest.raises(TaskFailed, match="alert2: template: "):
        documents({part: "{{ slice .Name 10 }}"})


@pytest.mark.parametrize("part", ["id", "message", "details"])
def test_what_comes_before_a_failure_is_sent(part: str) -> None:
    stream = points([(t, {"host": "a", "zone": "x" * (5 - t)}, {"v": 1}) for t in range(5)])
    node = Alert(name="alert2", warn=V > 0, logs=("x",), **{part: "{{ slice .Tags.zone 2 }}"})
    passed = []
    with pytest.raises(TaskFailed, match=r"alert2: template: .* out of range"):
        for out in node.process(stream):
            passed.extend(plain(out))
    assert [p[0] for p in passed] == [e[0] for e in events(node.outputs)] == [0, 1, 2, 3]


def test_a_null_field_prints_like_a_missing_one() -> None:
    stream = points([(0, A, {"v": 1, "w": 2}), (1, A, {"v": 1})])
    kinds = np.array([Kind.INT, Kind.NIL], np.uint8)
    column = Column(kinds, stream.rows.fields["w"].data, 2)
    node = Alert(name="a", warn=V > 0, logs=("x",), message='{{ index .Fields "w" }}')
    list(node.process(stream.with_rows(stream.rows.with_(fields={**stream.rows.fields, "w": column}))))
    assert node.outputs[0].payload.messages == ["2", "<no value>"]


def test_ids_by_tags_that_are_no_dimensions() -> None:
    table = [(0, "a", "x"), (1, "a", "y"), (2, "a", "x"), (3, "b", "y")]
    given_rows = rows([(t, {"host": h, "zone": z}, {"v": 1}) for t, h, z in table])
    for template in ('{{ index .Tags "zone" }}', "{{ .Tags.zone }}"):
        for parts in ways(given_rows):
            sent = outputs(parts, Alert(name="a", warn=V > 0, id=template, logs=("x",)))
            assert [i for out in sent for i in out.payload.id.tolist()] == ["x", "y", "x", "y"]
            assert [e[3] for e in events(sent)] == ["OK", "OK", "WARNING", "WARNING"]


AUGMENT = {"level_tag": "level", "id_tag": "zone", "level_field": "l", "id_field": "i", "message_field": "m",
           "duration_field": "d"}  # fmt: skip
ADDED = {"l": "WARNING", "i": "m:host=a", "m": "m:host=a is WARNING", "d": 0}


def test_added_tags_and_fields_of_points() -> None:
    node = Alert(name="a", warn=V > 0, **AUGMENT)
    (out,) = node.process(points([(0, {"host": "a", "zone": "z"}, {"v": 1}), (1, A, {"v": 0})], ("host", "zone")))
    id = "m:host=a,zone=z"
    ((_, tags, fields, group),) = plain(out)
    assert tags == {"host": "a", "zone": id, "level": "WARNING"}
    assert fields == {"v": 1, **ADDED, "i": id, "m": f"{id} is WARNING"}
    assert group == f"host=a,zone={id}"
    assert not node.outputs


def test_added_tags_and_fields_of_batches() -> None:
    batch = segments([(9, A, [(0, {}, {"v": 0}), (1, {}, {"v": 1})]), (19, A, [(10, {}, {"v": 0})])])
    whole = [b for out in Alert(name="a", warn=V > 0, **AUGMENT).process(batch) for b in plain(out)]
    more = {"level": "WARNING", "zone": "m:host=a"}
    assert whole[0][1:] == ("host=a,level=WARNING,zone=m:host=a", {**A, **more},
                            [(0, {**A, **more}, {"v": 0, **ADDED}), (1, {**A, **more}, {"v": 1, **ADDED})])  # fmt: skip
    assert whole[1][2]["level"] == "OK" and whole[1][3][0][2]["d"] == 18 * SECOND


def test_stateful_predicate_is_as_fast_as_its_rows_are_regular() -> None:
    """A long run without events is evaluated in few pieces."""
    n = 50_000
    stream = points([(0, A, {"v": 1.0})])
    index = np.zeros(n, np.int64)
    long = stream.take(index).with_rows(stream.rows.take(index).with_(time=T + np.arange(n) * SECOND))
    node = Alert(name="a", crit=call("sigma", V) > 3.0, logs=("x",))
    calls = 0
    evaluate = node._evaluate

    def counting(*args: Any) -> None:
        nonlocal calls
        calls += 1
        evaluate(*args)

    node._evaluate = counting
    list(node.process(long))
    assert calls < 20 and not node.outputs


@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 7], range(1, 40)])
def test_errors_of_stateful_predicates_are_counted_once_a_test(cuts: Sequence[int]) -> None:
    """As often as Kapacitor tests them, which is twice where the level was CRITICAL, evaluated ahead or not."""
    values = [float(i % 7) if i % 3 else None for i in range(40)]
    given_rows = rows([(t, A, {} if v is None else {"v": v}) for t, v in enumerate(values)])
    alert = Alert(name="alert2", logs=("x",), crit=call("sigma", V) > 1.2, warn=V > 5.0)
    outputs(cut(given_rows, cuts), alert)
    assert alert.errors == {"error evaluating level CRITICAL": 17, "error evaluating level WARNING": 14}


def test_predicates_are_expressions() -> None:
    node = Alert(name="a", info_reset=V > 0)
    assert node.lambdas == [None] * 6  # a reset without its level does nothing
    assert isinstance(V > 0, Expr)
