"""Lambdas with thousands of operators in a row: functions on expressions loop over them instead of recursing."""

from __future__ import annotations

import importlib
import random
import sys
from typing import Any

import numpy as np
import pytest
from streams import rows

import tickc
from tickc.compiler.pipeline import LambdaValue, unusable
from tickc.compiler.syntax import format
from tickc.runtime import expr as exprs
from tickc.runtime.builtins import EvalError
from tickc.runtime.expr import Binary, Expr, Frame, Kinds, Lambda, call, check, kind_of, lit, nested, ref
from tickc.runtime.kinds import Kind

folding = importlib.import_module("tickc.compiler.passes.fold_constants")  # the function has the module's name
GIVEN = rows([(i, {"host": f"h{i}"}, {"v": i, "f": i / 2}) for i in range(12)])
MANY = 10_001


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (" OR ".join(f"\"host\" == 'h{i * 3}'" for i in range(MANY)), [0, 3, 6, 9]),
        (" AND ".join(f'"v" != {i * 2}' for i in range(MANY)), [1, 3, 5, 7, 9, 11]),
        (" + ".join(['"f"'] * MANY) + f" > {MANY * 4.25}", [9, 10, 11]),
        (" + ".join(["1"] * MANY) + f' + "v" == {MANY + 4}', [4]),
        (" OR ".join(f'(isPresent("v") AND "v" == {i * 5})' for i in range(5_001)), [0, 5, 10]),
    ],
)  # fmt: skip
def test_long_chains(body: str, kept: list[int]) -> None:
    script = f"stream|from()|eval(lambda: {body}).as('b').keep()|where(lambda: \"b\")|httpOut('x')"
    task = tickc.compile(script)
    found = task.replay(GIVEN).to_json()["sinks"]["x"]
    assert [e["series"][0]["values"][0][-1] for e in found] == kept
    assert format(script).count(body[:12]) >= 1


def test_other_chains_have_a_limit() -> None:
    with pytest.raises(tickc.compiler.diagnostics.TickError, match="nested too deeply"):
        tickc.compile("stream|from().where(lambda: " + "1 + 2 - " * 1_000 + '"v" > 0)')


# Looping has to give what recursion gives: here a chain is as long as one operator, which makes functions recurse.


def recursing(patch: pytest.MonkeyPatch) -> None:
    def one(e: Binary, known: Any = ()) -> list[Binary]:
        return [e]

    patch.setattr(exprs, "run", one)
    patch.setattr(folding, "run", one)


def some(chance: random.Random, depth: int = 0) -> Expr:
    """A random expression, of the right types or not."""
    if depth > 3 or chance.random() < 0.15:
        leaves = [
            ref("v"),
            ref("f"),
            ref("host"),
            ref("none"),
            ref("mixed"),
            lit(1),
            lit(0),
            lit(2.5),
            lit("h1"),
            lit(True),
        ]
        return chance.choice([*leaves, call("count"), exprs.duration(5)])
    if chance.random() < 0.7:
        op = chance.choice(["AND", "OR", "+", "-", "*", "/", "==", "<"])
        e = some(chance, depth + 1)
        for _ in range(chance.randrange(1, 5)):
            e = Binary(op, e, some(chance, depth + 1))
        return e
    one = some(chance, depth + 1)
    return chance.choice([call("float", one), exprs.Unary("!", one), exprs.Unary("-", one), nested(one)])


def told(e: Expr) -> list[Any]:
    """What all functions say of an expression."""
    found: list[Any] = []
    columns = {**GIVEN.fields, "mixed": exprs.Column.of_values([None, 1, 2.5, "x", True, 0] * 2)}
    kinds = Kinds({"v": Kind.INT, "f": Kind.FLOAT, "host": Kind.STRING, "none": Kind.MISSING, "mixed": Kind.FLOAT})
    for ask in (
        lambda: check(e),
        lambda: kind_of(e, kinds),
        lambda: exprs.constant_kind(e),
        lambda: exprs.is_dynamic(e),
    ):
        try:
            found.append(ask())
        except EvalError as error:
            found.append(str(error))
    found.append(repr(folding.fold(e)))
    run = Lambda(e)
    outcome = run(Frame.of(run.names, columns, GIVEN.tags, GIVEN.time, np.arange(12, dtype=np.int32) % 2))
    values = [repr(outcome.column.at(i)) if outcome.error is None or not outcome.error[i] else None for i in range(12)]
    return [*found, unusable(e), values, run.problems]


@pytest.mark.parametrize("seed", range(6))
def test_loops_and_recursion_agree(seed: int) -> None:
    chance = random.Random(seed)
    for e in [some(chance) for _ in range(50)]:
        with pytest.MonkeyPatch.context() as patch:
            recursing(patch)
            expected = told(e)
        assert told(e) == expected


def test_what_a_chain_holds_that_is_no_expression() -> None:
    bad = tickc.compiler.pipeline.Unusable("*ast.ListNode")
    text = "Given node type is not valid evaluation node: *ast.ListNode"
    a, b = ref("a"), ref("b")
    left, right = "Failed to handle left node: ", "Failed to handle right node: "
    assert unusable(Binary("OR", Binary("OR", bad, a), b)) == left + left + text
    assert unusable(Binary("OR", Binary("OR", a, bad), b)) == left + right + text
    assert unusable(Binary("OR", Binary("OR", a, b), bad)) == right + text


def test_depth_counts_a_chain_once() -> None:
    e = exprs.chain("OR", *(ref(str(i)) for i in range(5_000)))
    assert e.depth() == 2
    assert LambdaValue.of(e).depth == 2 and LambdaValue.of(e).operands == 9_999
    assert Binary("AND", e, Binary("AND", e, e)).depth() == 4
    value = LambdaValue.of(ref("a"))
    for _ in range(3_000):
        value.extend(LambdaValue.of(ref("b")))
    assert value.depth == value.expr.depth() == 2


def test_a_long_chain_is_not_written_into_a_loop() -> None:
    body = " AND ".join(['"f" > 1.0'] * 100)
    task = tickc.compile(f"stream|from()|stateCount(lambda: \"f\" > 2.0)|where(lambda: {body})|httpOut('x')")
    assert "chain(" in task.source and "Where(" in task.source and "Loop(" not in task.source
    assert len(task.replay(GIVEN).to_json()["sinks"]["x"]) == 9


def test_threads_share_the_limit_of_recursion() -> None:
    own = sys.getrecursionlimit()
    one, other = exprs.deep_recursion(500), exprs.deep_recursion(400)
    one.__enter__()
    assert sys.getrecursionlimit() == 7_000
    other.__enter__()
    one.__exit__(None, None, None)
    assert sys.getrecursionlimit() == 5_800, "the other one is still in its tree"
    other.__exit__(None, None, None)
    assert sys.getrecursionlimit() == own
