"""User-defined functions: what scripts may say of them, and functions in Python on record batches."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from streams import T, cut, moved, plain, points, rows, segments

import tickc
from tickc.compiler import compile_script
from tickc.compiler.diagnostics import TickError
from tickc.runtime.graph import Graph, TaskFailed
from tickc.runtime.nodes.udf import UDF
from tickc.runtime.udf import Info, Node, UdfError, provide
from tickc.runtime.udf.config import ConfigError, read

OPTIONS = {"flag": (), "size": int, "field": str, "scale": float, "on": bool, "every": timedelta, "range": (int, str)}


@tickc.udf(options=OPTIONS)
def same(batch: pa.RecordBatch, **options: Any) -> pa.RecordBatch:
    return batch


@tickc.udf(wants="batch")
def batched(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


UDFS = {"same": same, "batched": batched}


def script(chain: str) -> str:
    return f"stream|from().measurement('m').groupBy('host'){chain}"


def mistake(chain: str, udfs: Any = UDFS) -> str:
    """The first mistake of a script, as Kapacitor words it."""
    with pytest.raises(TickError) as caught:
        compile_script(script(chain), udfs=udfs)
    first = caught.value.diagnostics[0]
    assert caught.value.source is not None
    return first.text(caught.value.source)


def operator(udf: Any, **settings: Any) -> UDF:
    """An operator that calls `udf`."""
    made = UDF(name="f1", udf="f", provides=udf.info().provides, **settings)
    graph = Graph()
    made.attach(provide(graph, {"f": udf}, "task"))
    return made


def fed(op: UDF, *batches: Any) -> list[Any]:
    return [row for batch in batches for out in op.process(batch) for row in plain(out)]


def ended(op: UDF) -> list[Any]:
    return [row for out in op.finish() for row in plain(out)]


# ------------------------------------------------------------------------------------------------------ declarations


def test_a_declaration_says_what_the_function_takes() -> None:
    assert same.info() == Info(
        "stream",
        "stream",
        {
            "every": ("duration",),
            "field": ("string",),
            "flag": (),
            "on": ("bool",),
            "range": ("int", "string"),
            "scale": ("double",),
            "size": ("int",),
        },
    )
    assert same("a batch") == "a batch"
    with pytest.raises(ValueError, match="an edge is one of stream, batch, not 'points'"):
        tickc.udf(wants="points")
    with pytest.raises(ValueError, match="option x: a type is one of bool, int, double, string, duration, not"):
        tickc.udf(options={"x": list})


def test_importing_tickc_loads_nothing_of_it() -> None:
    code = "import sys, tickc; print([m for m in sys.modules if 'udf' in m or m in ('numpy', 'google.protobuf')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n"


# ----------------------------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ("@nope()", 'no method or property "nope" on *pipeline.FromNode'),
        ("|same()", 'no chaining method "same" on *pipeline.FromNode, but dynamic method does exist. '
         "Use '@' operator instead: 'node@same(..)'."),
        (".same()", 'no property method "same" on *pipeline.FromNode, but dynamic method does exist. '
         "Use '@' operator instead: 'node@same(..)'."),
        ("@window()", 'no dynamic method "window" on *pipeline.FromNode, but chaining method does exist. '
         "Use '|' operator instead: 'node|window(..)'."),
        ("@where()", 'no dynamic method "where" on *pipeline.FromNode, but property does exist. '
         "Use '.' operator instead: 'node.where(..)'."),
        ("@same().sise(1)", 'no method or property "sise" on *pipeline.UDFNode'),
        ("@same().Size(1)", 'no method or property "Size" on *pipeline.UDFNode'),
        ("@same().size()", "unexpected number of args to size, got 0 expected 1"),
        ("@same().flag(TRUE)", "unexpected number of args to flag, got 1 expected 0"),
        ("@same().range(1)", "unexpected number of args to range, got 1 expected 2"),
        ("@same().size(1.0)", "unexpected arg to size, got DOUBLE expected INT"),
        ("@same().size('1')", "unexpected arg to size, got STRING expected INT"),
        ("@same().scale(1)", "unexpected arg to scale, got INT expected DOUBLE"),
        ("@same().every(1)", "unexpected arg to every, got INT expected DURATION"),
        ("@same().field(10s)", "unexpected arg to field, got DURATION expected STRING"),
        ("@same().on('a')", "unexpected arg to on, got STRING expected BOOL"),
        ("@same().range('a', 1)", "unexpected arg to range, got STRING expected INT"),
        ("@same().size(/x/)", "unexpected arg to size, got *regexp.Regexp expected INT"),
    ],
)  # fmt: skip
def test_mistakes_are_worded_as_kapacitor_does(chain: str, message: str) -> None:
    found = mistake(chain)
    head, _, text = found.partition(": ")
    assert text == message and head.startswith("line 1 char ")


def test_edges_have_to_match() -> None:
    text = "cannot add child mismatched edges: from1:stream -> batched2:batch"
    assert mistake("@batched()") == text
    assert "same3:stream" in mistake("|window().period(1m).every(1m)@same()")


def test_hints() -> None:
    with pytest.raises(TickError, match="did you mean `same`"):
        compile_script(script("@sam()"), udfs=UDFS)
    with pytest.raises(TickError, match="the user-defined functions are batched, same"):
        compile_script(script("@other()"), udfs=UDFS)
    with pytest.raises(TickError, match=r"--config tickc\.toml"):
        compile_script(script("@same()"))
    with pytest.raises(TickError, match=r"write \.range\(10, 'text'\)"):
        compile_script(script("@same().range(1)"), udfs=UDFS)


def test_generated_code_names_the_function_and_its_options() -> None:
    chain = "@same().field('v').every(1m).range(1, 'a').flag().quiet()|httpOut('o')"
    text = compile_script(script(chain), udfs=UDFS).module.text
    assert 'udf="same"' in text
    for part in ('("field", ("v",))', '("every", (duration(60_000_000_000),))', '("range", (1, "a"))', '("flag", ())'):
        assert part in text
    assert text == compile_script(script(chain), udfs=UDFS).module.text


def test_a_list_is_spread_and_arguments_of_the_call_are_not_looked_at() -> None:
    text = compile_script("var f = ['a']\n" + script("@same(1, 'x').field(f)"), udfs=UDFS).module.text
    assert '("field", ("a",))' in text


def test_a_function_that_cannot_be_asked_is_an_error_of_its_own() -> None:
    class Broken:
        def info(self) -> Info:
            raise UdfError("cannot start x: no such file", "install x")

        def start(self, node: Node) -> Any:
            raise AssertionError

    with pytest.raises(UdfError, match='failed to load process info for "f": cannot start x: no such file') as caught:
        compile_script(script("@f()"), udfs={"f": Broken()})
    assert caught.value.hint == "install x"


def test_a_graph_without_functions_fails_clearly() -> None:
    task = tickc.compile(script("@same()|httpOut('o')"), udfs=UDFS)
    graph = task.module.build()
    with pytest.raises(TaskFailed, match="same2: no such UDF same"):
        list(graph.run([rows([(0, {}, {"v": 1.0})])]))


# --------------------------------------------------------------------------------------------------- Python functions

STREAM = points(
    [(i, {"host": "ab"[i % 2]}, {"v": float(i), "n": i, "s": "x", "b": i > 2, **({"m": 1.0} if i == 3 else {})})
     for i in range(6)]
)  # fmt: skip


def test_rows_come_back_as_they_went() -> None:
    assert fed(operator(same), STREAM) == plain(STREAM)


def test_options_are_keyword_arguments() -> None:
    seen: list[dict[str, Any]] = []

    @tickc.udf(options={**OPTIONS, "as": str})
    def note(batch: pa.RecordBatch, **options: Any) -> None:
        seen.append(options)

    text = "@f().as('x').field('a').field('b').every(1s).range(1, 'a').flag()"
    task = tickc.compile(script(f"{text}|httpOut('o')"), udfs={"f": note})
    assert task.replay(rows([(0, {"host": "a"}, {"v": 1.0})])).to_json()["sinks"] == {}
    assert seen == [{"as_": "x", "field": "b", "every": 1_000_000_000, "range": (1, "a"), "flag": True}]


def test_a_function_sees_one_group_at_a_time() -> None:
    seen: list[Any] = []

    @tickc.udf()
    def note(batch: pa.RecordBatch) -> pa.RecordBatch:
        about = batch.schema.metadata
        seen.append((about[b"measurement"], about[b"group"], batch.column("n").to_pylist()))
        return batch

    fed(operator(note), STREAM)
    assert seen == [(b"m", b"host=a", [0, 2, 4]), (b"m", b"host=b", [1, 3, 5])]


def test_or_all_groups_at_once() -> None:
    @tickc.udf(by_group=False)
    def shares(batch: pa.RecordBatch) -> pa.RecordBatch:
        share = pc.divide(batch.column("v"), pc.sum(batch.column("v")))
        return batch.append_column("share", share)

    assert [f["share"] for _, _, f, _ in fed(operator(shares), STREAM)] == [i / 15 for i in range(6)]


def test_filtered_rows_keep_their_places() -> None:
    @tickc.udf()
    def odd(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pc.not_equal(batch.column("n"), 2))

    [out] = operator(odd).process(STREAM)
    assert out.rows.field("n").data[1].tolist() == [0, 1, 3, 4, 5]
    assert out.seq.tolist() == [0, 1, 3, 4, 5]


def test_new_rows_stand_where_the_last_one_does() -> None:
    @tickc.udf()
    def total(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch({"time": batch.column("time")[-1:], "sum": [pc.sum(batch.column("v")).as_py()]})

    [out] = operator(total).process(STREAM)
    assert out.seq.tolist() == [4, 5]
    assert plain(out) == [
        (4.0, {"host": "a"}, {"sum": 6.0}, "host=a"),
        (5.0, {"host": "b"}, {"sum": 9.0}, "host=b"),
    ]


def test_tags_are_dictionaries_and_dimensions_follow_them() -> None:
    @tickc.udf(by_group=False)
    def renamed(batch: pa.RecordBatch) -> pa.RecordBatch:
        host = pa.array(["z"] * batch.num_rows).dictionary_encode()
        at = batch.schema.names.index("host")
        return batch.set_column(at, "host", host).append_column("rack", pa.array(["r"] * 6).dictionary_encode())

    out = fed(operator(renamed), STREAM)
    assert {(tuple(sorted(tags.items())), group) for _, tags, _, group in out} == {
        ((("host", "z"), ("rack", "r")), "host=z")
    }


def test_a_field_of_several_types_has_several_columns() -> None:
    mixed = points([(0, {"host": "a"}, {"v": 1.5}), (1, {"host": "a"}, {"v": 2}), (2, {"host": "a"}, {"w": True})])
    names: list[str] = []

    @tickc.udf()
    def note(batch: pa.RecordBatch) -> pa.RecordBatch:
        names.extend(batch.schema.names)
        return batch

    assert fed(operator(note), mixed) == plain(mixed)
    assert names == ["time", "host", "v", "v.int", "w", "__row__"]


class Running:
    """The running sum of a field, for each group."""

    def __init__(self, field: str = "v", fail: bool = False) -> None:
        self.field, self.total = field, 0.0
        if fail:
            raise ValueError("must not fail")

    def process(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        sums = self.total + np.cumsum(np.array(batch.column(self.field)))
        self.total = float(sums[-1])
        return pa.record_batch({"time": batch.column("time"), "host": batch.column("host"), "sum": sums})

    def finish(self) -> pa.RecordBatch:
        return pa.record_batch({"time": pa.array([T], pa.timestamp("ns")), "end": [self.total]})

    def snapshot(self) -> dict[str, Any]:
        return {"total": self.total}

    def restore(self, saved: dict[str, Any]) -> None:
        self.total = saved["total"]


running = tickc.udf(options={"field": str, "fail": bool})(Running)
WHOLE = [0.0, 1.0, 2.0, 4.0, 6.0, 9.0]


@pytest.mark.parametrize("edges", [[], [1, 2, 3, 4, 5], [2], [3, 4]])
def test_state_belongs_to_the_group(edges: list[int]) -> None:
    op = operator(running)
    out = fed(op, *cut(STREAM, edges))
    assert [row[2]["sum"] for row in out] == WHOLE
    assert [(row[2]["end"], row[3]) for row in ended(op)] == [(6.0, "host=a"), (9.0, "host=b")]
    assert ended(op) == []


def test_state_is_kept_in_snapshots() -> None:
    first, second = cut(STREAM, [3])
    op = operator(running)
    before = fed(op, first)
    op = moved(op, operator(running))
    assert [row[2]["sum"] for row in [*before, *fed(op, second)]] == WHOLE
    assert [row[2]["end"] for row in ended(op)] == [6.0, 9.0]


def test_every_task_begins_afresh() -> None:
    task = tickc.compile(script("@f().field('v')|httpOut('o')"), udfs={"f": running})
    given = rows([(0, {"host": "a"}, {"v": 1.0}), (1, {"host": "a"}, {"v": 2.0})])
    assert task.replay(given).to_json() == task.replay(given).to_json()


def test_batches() -> None:
    @tickc.udf(wants="batch")
    def reverse(batch: pa.RecordBatch) -> pa.RecordBatch:
        assert batch.schema.metadata[b"tmax"] == str(T + 10**10).encode()
        return batch.take(pa.array(range(batch.num_rows)[::-1]))

    given = segments([(10, {"host": "a"}, [(1, {}, {"v": 1.0}), (2, {}, {"v": 2.0})]), (10, {"host": "b"}, [])])
    [(tmax, group, tags, members)] = fed(operator(reverse), given)
    assert (tmax, group, tags) == (10.0, "host=a", {"host": "a"})
    assert [(t, f) for t, _, f in members] == [(2.0, {"v": 2.0}), (1.0, {"v": 1.0})]


def test_from_batches_to_points_and_back() -> None:
    @tickc.udf(wants="batch", provides="stream")
    def last(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.slice(batch.num_rows - 1)

    @tickc.udf(provides="batch")
    def bundle(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.replace_schema_metadata({"tmax": str(T)})

    given = segments([(10, {"host": "a"}, [(1, {}, {"v": 1.0}), (2, {}, {"v": 2.0})])])
    assert fed(operator(last), given) == [(2.0, {"host": "a"}, {"v": 2.0}, "host=a")]
    out = fed(operator(bundle), STREAM)
    assert [(tmax, group, len(members)) for tmax, group, _, members in out] == [(0.0, "host=a", 3), (0.0, "host=b", 3)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda batch: 7, "it gave back int, where a pyarrow.RecordBatch is expected"),
        (lambda batch: batch.drop_columns(["time"]), "it gave back a record batch without a column `time`"),
        (lambda batch: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda batch: batch.append_column("x", pa.array([[1]] * batch.num_rows)), "the column 'x' is of type list"),
        (lambda batch: pa.record_batch({"time": ["a"]}), "the column `time` is of type string"),
        (lambda batch: pa.record_batch({"time": pa.array([None], pa.int64())}), "the column `time` has nulls"),
        (lambda batch: pa.record_batch({"time": [1], "__row__": [99]}), "the column __row__ does not hold numbers"),
    ],
)  # fmt: skip
def test_a_function_that_fails_ends_the_task(given: Any, message: str) -> None:
    op = operator(tickc.udf()(given))
    with pytest.raises(TaskFailed, match="f1: ") as caught:
        fed(op, STREAM)
    assert message in str(caught.value)
    assert ended(op) == []


def test_options_that_a_class_refuses() -> None:
    task = tickc.compile(script("@f().fail(TRUE)|httpOut('o')"), udfs={"f": running})
    results = task.replay(rows([(0, {"host": "a"}, {"v": 1.0})]))
    assert results.failure == "f2: ValueError: must not fail"


# ------------------------------------------------------------------------------------------------- configuration files


def config(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "tickc.toml"
    path.write_text(text)
    return read(path)


def test_a_file_declares_functions(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(
        "import tickc\n\n@tickc.udf(options={'field': str})\ndef twice(batch, field):\n    return [batch, batch]\n"
    )
    found = config(
        tmp_path,
        """
        hostname = "other tables are not looked at"
        [udf.functions.mov]
        prog = "python3"
        args = ["-u", "mov.py"]
        timeout = "1m1.5s"
        env = { A = "b" }
        [udf.functions.out]
        socket = "/tmp/x.sock"
        timeout = "100ms"
        [udf.functions.twice]
        python = "functions.py:twice"
        """,
    )
    assert (found["mov"].prog, found["mov"].args, found["mov"].env) == ("python3", ("-u", "mov.py"), {"A": "b"})
    assert (found["mov"].timeout, found["out"].timeout) == (61_500_000_000, 100_000_000)
    assert found["out"].socket == "/tmp/x.sock"
    assert found["twice"].info() == Info("stream", "stream", {"field": ("string",)})
    task = tickc.compile(script("@twice().field('v')|httpOut('o')"), config=tmp_path / "tickc.toml")
    assert len(task.replay(rows([(0, {"host": "a"}, {"v": 1.0})])).to_json()["sinks"]["o"]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[udf.functions.f]\ntimeout = '1ms'\nprog = 'x'", "UDF f: timeout is too small: 1ms"),
        ("[udf.functions.f]\ntimeout = 'soon'\nprog = 'x'", "`timeout` is no duration: 'soon'"),
        ("[udf.functions.f]\ntimeout = '10s'", "UDF f: must set either prog or socket"),
        ("[udf.functions.f]\nprog = 'a'\nsocket = 'b'", "UDF f: both socket and process config provided"),
        ("[udf.functions.f]\nprog = 'a'\npython = 'b:c'", "UDF f: python stands beside another kind of function"),
        ("[udf.functions.f]\nprogram = 'a'", "UDF f: there is no setting `program`"),
        ("[udf.functions.f]\nprog = 'a'\nargs = [1]", "UDF f: `args` takes a list of strings"),
        ("[udf]\nfunctions = 3", "`functions` is not a table"),
        ("[udf.functions]\nf = 3", "UDF f is not a table"),
        ("[udf", "is not TOML"),
    ],
)
def test_mistakes_of_a_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, text)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("functions", "python takes a module and a name"),
        ("nowhere.py:f", "cannot import nowhere.py:f: FileNotFoundError"),
        ("math:pi", "math:pi is no user-defined function"),
    ],
)
def test_functions_that_cannot_be_imported(tmp_path: Path, place: str, message: str) -> None:
    found = config(tmp_path, f"[udf.functions.f]\npython = '{place}'")
    with pytest.raises(UdfError, match=message):
        found["f"].info()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: no such file or directory"):
        read(tmp_path / "none.toml")
