"""User-defined functions in processes and behind sockets: agents that behave, and agents that do not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import T, cut, plain, points, rows, segments

import tickc
from tickc.runtime.graph import Graph, TaskFailed
from tickc.runtime.nodes.udf import UDF
from tickc.runtime.snapshot import decode, encode
from tickc.runtime.udf import Info, UdfError, provide
from tickc.runtime.udf.agent import Process, Socket

AGENT = Path(__file__).with_name("udf_agent.py")
SECOND = 1_000_000_000
STREAM = points([(i, {"host": "ab"[i % 2]}, {"v": float(i), "n": i, "s": "é", "b": i > 2}) for i in range(6)])


def agent(mode: str, seconds: float = 10.0) -> Process:
    return Process(prog=sys.executable, args=("-u", str(AGENT), mode), timeout=round(seconds * SECOND))


def operator(udf: Any, provides: str = "stream", **settings: Any) -> UDF:
    made = UDF(name="f1", udf="f", provides=provides, **settings)
    made.attach(provide(Graph(), {"f": udf}, "task"))
    return made


def fed(op: UDF, *batches: Any) -> list[Any]:
    return [row for batch in batches for out in op.process(batch) for row in plain(out)]


def ended(op: UDF) -> list[Any]:
    return [row for out in op.finish() for row in plain(out)]


def failing(op: UDF, *batches: Any) -> tuple[list[Any], str]:
    """What comes out before the task fails, and why it does; no process is left then."""
    out: list[Any] = []
    with pytest.raises(TaskFailed) as caught:
        for batch in batches:
            for one in op.process(batch):
                out.extend(plain(one))
        for one in op.finish():
            out.extend(plain(one))
    assert children() == []
    assert list(op.finish()) == []
    return out, str(caught.value)


def children() -> list[str]:
    """The processes that this one has started and that have not been waited for, dead or alive."""
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not path.exists():
        return []
    mine = []
    for pid in path.read_text().split():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"udf_agent" in command or not command:
            mine.append(pid)
    return mine


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert children() == []


# --------------------------------------------------------------------------------------------------------- good agents


def test_the_agent_says_what_it_takes() -> None:
    udf = agent("echo")
    assert udf.info() == Info("stream", "stream", {"period": ("duration",), "size": ("int",)})
    assert udf.info() is udf.info()
    assert agent("batch").info().wants == "batch"


def test_points_go_there_and_back() -> None:
    op = operator(agent("echo"))
    [out] = op.process(STREAM)
    assert plain(out) == plain(STREAM)
    assert out.seq.tolist() == list(range(6))
    assert out.rows.database.tolist() == ["db"] * 6 and out.rows.policy.tolist() == ["rp"] * 6
    assert ended(op) == []


def test_the_agent_is_told_options_task_and_node() -> None:
    from tickc.runtime.expr import duration

    op = operator(agent("echo"), options=(("size", (3,)), ("period", (duration(60 * SECOND),)), ("size", (-4,))))
    fed(op, STREAM)
    session: Any = op._session
    told = session.agent.stderr[0]
    assert told.startswith("init ") and "task" in told and "f1" in told
    assert told.count("size") == 2 and told.index("size") < told.index("period")
    op.close()


@pytest.mark.parametrize("edges", [[], [1, 2, 3, 4, 5], [2, 4]])
def test_what_a_round_is_answered_comes_out_in_it(edges: list[int]) -> None:
    op = operator(agent("count"))
    for piece in cut(STREAM, edges):
        assert [(row[0], row[2]["seen"]) for row in fed(op, piece)] == [
            (t, int(t) + 1) for t in ((piece.rows.time - T) / SECOND).tolist()
        ]
    assert ended(op) == []


def test_an_agent_may_answer_at_the_end() -> None:
    op = operator(agent("hold"))
    assert fed(op, *cut(STREAM, [2])) == []
    assert ended(op) == plain(STREAM)


def test_or_never() -> None:
    op = operator(agent("silent"))
    assert fed(op, STREAM) == ended(op) == []


def test_batches() -> None:
    given = segments(
        [
            (10, {"host": "a"}, [(1, {}, {"v": 1.0}), (2, {"x": "y"}, {"v": 2, "w": True})]),
            (10, {"host": "b"}, []),
            (20, {"host": "b"}, [(11, {}, {"v": 0.5})]),
        ]
    )
    op = operator(agent("batch"), "batch")
    [out] = op.process(given)
    assert plain(out) == plain(given)
    assert out.seq.tolist() == [0, 1, 2]
    assert ended(op) == []


def test_a_batch_may_come_over_several_rounds() -> None:
    op = operator(agent("half"), "batch")
    first, second = cut(STREAM, [3])
    assert fed(op, first) == []
    saved = decode(encode(op.snapshot()))
    out = [member[0] for batch in fed(op, second.take(slice(0, 1))) for member in batch[3]]
    assert out == [0.0, 1.0, 2.0, 3.0]
    op.close()
    again = operator(agent("half"), "batch")
    again.restore(saved)
    assert [member[0] for batch in fed(again, second.take(slice(0, 1))) for member in batch[3]] == out
    again.close()


def test_more_answers_than_the_pipes_hold() -> None:
    """Neither side waits for the other: megabytes come back while the points are still being sent."""
    many = points([(i / 100, {"host": "a"}, {"v": float(i), "text": "x" * 50}) for i in range(500)])
    op = operator(agent("chatter"))
    out = list(op.process(many))
    assert sum(map(len, out)) == 100_000
    assert {int(s) for one in out for s in np.unique(one.seq)} == {499}
    assert ended(op) == []


def test_messages_on_stderr_block_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tickc.udf")
    many = points([(i, {"host": "a"}, {"v": float(i)}) for i in range(200)])
    op = operator(agent("shout"))
    assert len(fed(op, many)) == 200
    assert ended(op) == []
    assert any(record.getMessage() == "x" * 4096 for record in caplog.records)


def test_groups_by_measurement_and_without_dimensions() -> None:
    from tickc.runtime.batch import Groups, Points

    groups = Groups()
    codes = [groups.code("m", True, {"host": "a"}), groups.code("m", False, {})]
    given = rows([(0, {"host": "a"}, {"v": 1.0}), (1, {}, {"v": 2.0})])
    op = operator(agent("echo"))
    assert [row[3] for row in fed(op, Points(given, np.array(codes, np.int32), groups, np.arange(2)))] == [
        "m\nhost=a",
        "",
    ]
    op.close()


# -------------------------------------------------------------------------------------------------------------- state


def test_the_state_of_the_agent_is_in_snapshots() -> None:
    first, second = cut(STREAM, [3])
    op = operator(agent("count"))
    fed(op, first)
    saved = decode(encode(op.snapshot()))
    op.close()
    again = operator(agent("count"))
    again.restore(saved)
    assert [row[2]["seen"] for row in fed(again, second)] == [4, 5, 6]
    again.close()


def test_a_snapshot_before_the_first_batch_starts_nothing() -> None:
    op = operator(agent("echo"))
    again = operator(agent("echo"))
    again.restore(decode(encode(op.snapshot())))
    assert op._session is again._session is None


def test_an_empty_snapshot_is_not_restored() -> None:
    op = operator(agent("forgetful"))
    fed(op, STREAM)
    saved = decode(encode(op.snapshot()))
    op.close()
    again = operator(agent("forgetful"))
    again.restore(saved)
    assert len(fed(again, STREAM)) == 6
    again.close()


def test_an_agent_that_cannot_restore() -> None:
    op = operator(agent("unrestorable"))
    fed(op, STREAM)
    saved = decode(encode(op.snapshot()))
    op.close()
    with pytest.raises(TaskFailed, match="f1: error restoring snapshot: not supported"):
        operator(agent("unrestorable")).restore(saved)


# ---------------------------------------------------------------------------------------------------------- bad agents


@pytest.mark.parametrize(
    ("mode", "came", "message"),
    [
        ("die", 2, "process exited unexpectedly: exit status 3 (it wrote: out of luck)"),
        ("killed", 2, "process exited unexpectedly: signal: killed"),
        ("leave", 2, "process exited before it had answered everything"),
        ("garbage", 2, "read error: the answer does not begin with the length of a message"),
        ("nonsense", 2, "read error: the answer is no message of the protocol"),
        ("empty", 2, "read error: the answer holds no message that the protocol has"),
        ("huge", 2, "read error: the answer claims to be a message of 268,435,455 bytes"),
        ("cut", 2, "read error: the answer ends within a message"),
        ("error", 2, "no such field"),
        ("end first", 0, "the agent sent the end of a batch that it had not begun"),
        ("bad end", 6, "process exited unexpectedly: exit status 7"),
    ],
)
def test_an_agent_that_fails_ends_the_task_and_loses_nothing(mode: str, came: int, message: str) -> None:
    provides = "batch" if mode == "end first" else "stream"
    out, text = failing(operator(agent(mode), provides), STREAM)
    assert text.startswith(f"f1: {message}")
    assert out == plain(STREAM)[:came]


@pytest.mark.parametrize(
    ("mode", "came", "message"),
    [
        ("hang", 2, "keepalive timedout: nothing was heard for 0.4s"),
        ("slow start", 0, "keepalive timedout: nothing was heard for 0.4s"),
        ("linger", 6, "the agent did not end after its input was closed: nothing was heard for 0.4s"),
    ],
)
def test_an_agent_that_hangs_is_ended(mode: str, came: int, message: str) -> None:
    udf = agent(mode, 0.4)
    op = operator(_Patient(udf) if mode != "slow start" else udf)
    began = time.monotonic()
    out, text = failing(op, STREAM)
    assert message in text
    assert out == plain(STREAM)[:came]
    assert time.monotonic() - began < 20


class _Patient:
    """Waits long for the agent to start, as Python does on a busy machine, and then as long as it says."""

    def __init__(self, udf: Process) -> None:
        self.udf = udf

    def start(self, node: Any) -> Any:
        session: Any = Process(prog=self.udf.prog, args=self.udf.args).start(node)
        session.agent.timeout = self.udf.timeout / SECOND
        return session


def test_an_agent_that_answers_no_keepalive_is_dead() -> None:
    out, text = failing(operator(_Patient(agent("deaf", 0.4))), STREAM)
    assert len(out) == 6 and "keepalive timedout" in text


def test_an_agent_that_refuses_its_options() -> None:
    assert failing(operator(agent("refuse")), STREAM) == ([], "f1: failed to initialize processes must supply a field")


def test_which_is_told_where_there_are_no_points_too() -> None:
    assert failing(operator(agent("refuse"))) == ([], "f1: failed to initialize processes must supply a field")


def test_an_agent_that_sends_points_for_batches() -> None:
    out, text = failing(operator(agent("liar"), "batch"), STREAM)
    assert (out, text) == ([], "f1: the agent sent a point, though it provides a batch edge")


def test_programs_that_cannot_be_started() -> None:
    with pytest.raises(UdfError, match="cannot start /no/such/program: no such file or directory"):
        Process(prog="/no/such/program").info()
    with pytest.raises(UdfError, match="process exited unexpectedly: exit status 1"):
        Process(prog=sys.executable, args=("-c", "raise SystemExit(1)")).info()


def test_fields_that_the_protocol_has_no_place_for() -> None:
    from tickc.runtime.batch import Column
    from tickc.runtime.kinds import Kind

    given = STREAM.with_rows(STREAM.rows.with_(fields={"d": Column.of(Kind.DURATION, np.arange(6))}))
    _, text = failing(operator(agent("echo")), given)
    assert text == "f1: the field 'd' is a duration, which agents cannot be sent"


def test_a_flood_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickc.runtime.udf.remote.MAX_ANSWERS", 500)
    out, text = failing(operator(agent("chatter")), STREAM)
    assert len(out) == 500 and "answers one batch of rows with more than 500 messages" in text


def test_a_graph_that_is_given_up_leaves_no_process() -> None:
    op = operator(agent("echo"))
    fed(op, STREAM)
    assert len(children()) == 1
    del op
    gc.collect()
    assert children() == []


# ------------------------------------------------------------------------------------------------------- whole tasks


SCRIPT = "stream|from().measurement('m').groupBy('host')@f().size(3)|httpOut('o')"


def test_a_task_shows_what_came_before_its_failure() -> None:
    given = rows([(i, {"host": "a"}, {"v": float(i)}) for i in range(6)])
    results = tickc.compile(SCRIPT, udfs={"f": agent("die")}).replay(given)
    assert results.failure == "f2: process exited unexpectedly: exit status 3 (it wrote: out of luck)"
    assert len(results.to_json()["sinks"]["o"]) == 2


def test_results_do_not_depend_on_how_the_input_is_cut() -> None:
    task = tickc.compile(SCRIPT, udfs={"f": agent("count")})
    given = rows([(i, {"host": "ab"[i % 2]}, {"v": float(i)}) for i in range(12)])
    whole = task.replay(given).to_json()
    assert task.replay([given.take(slice(i, i + 1)) for i in range(12)]).to_json() == whole
    assert task.replay([given.take(slice(0, 5)), given.take(slice(5, 12))]).to_json() == whole


def test_an_interrupted_replay_leaves_no_process() -> None:
    task = tickc.compile(SCRIPT, udfs={"f": agent("echo")})
    given = rows([(0, {"host": "a"}, {"v": 1.0})])
    outputs = task.process([given, given])
    next(outputs)
    assert len(children()) == 1
    outputs.close()  # type: ignore[attr-defined]
    assert children() == []


# ------------------------------------------------------------------------------------------------------------ sockets


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def listen(mode: str, seconds: float = 10.0) -> Socket:
        path = tmp_path / "agent.sock"
        started.append(subprocess.Popen([sys.executable, "-u", str(AGENT), mode, str(path)]))
        return Socket(socket=str(path), timeout=round(seconds * SECOND))

    yield listen
    for process in started:
        process.kill()
        process.wait()


def test_an_agent_behind_a_socket(listening: Any) -> None:
    udf = listening("count")
    assert udf.info().options == {"period": ("duration",), "size": ("int",)}
    for _ in range(2):  # a connection for each node
        op = operator(udf)
        assert [row[2]["seen"] for row in fed(op, *cut(STREAM, [2]))] == [1, 2, 3, 4, 5, 6]
        assert ended(op) == []


def test_an_agent_that_closes_the_connection(listening: Any) -> None:
    op = operator(listening("die"))
    with pytest.raises(TaskFailed, match="f1: the agent closed the connection before it had answered everything"):
        fed(op, STREAM)


def test_a_socket_where_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(UdfError, match=r"cannot connect to .*none: no such file or directory"):
        Socket(socket=str(tmp_path / "none"), timeout=SECOND // 10).info()
