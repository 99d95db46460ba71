"""Scripts that are evaluated: values, variables, chains, and Kapacitor's words for each mistake."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tickc.compiler.diagnostics import Source, TickError
from tickc.compiler.evaluate import evaluate
from tickc.compiler.nodes.alert import Alert
from tickc.compiler.nodes.rows import Default, Eval, Where
from tickc.compiler.nodes.stream import From
from tickc.compiler.pipeline import STAR, Duration, Node, Pipeline, Regex
from tickc.compiler.syntax import parse
from tickc.runtime.expr import Literal, duration, ref
from tickc.runtime.kinds import Kind


def run(text: str, vars: dict[str, Any] | None = None) -> Pipeline:
    source = Source(text)
    return evaluate(parse(source), source, vars)


def errors(text: str, vars: dict[str, Any] | None = None) -> list[str]:
    """The messages of a script that is refused, as Kapacitor words them."""
    with pytest.raises(TickError) as caught:
        run(text, vars)
    return [d.text(Source(text)) for d in caught.value.diagnostics]


def hints(text: str) -> list[str | None]:
    with pytest.raises(TickError) as caught:
        run(text)
    return [d.hint for d in caught.value.diagnostics]


def value(text: str, vars: dict[str, Any] | None = None) -> Any:
    """The value of variable `x` of a script, as a field default shows it."""
    pipeline = run(f"{text}\nstream|from()|default().field('x', x)", vars)
    (node,) = (n for n in pipeline.nodes if isinstance(n, Default))
    return node.fields["x"]


def only(pipeline: Pipeline, cls: type[Node]) -> Any:
    (found,) = (n for n in pipeline.nodes if isinstance(n, cls))
    return found


# --- values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        ("0755", 493),
        ("7.", 7.0),
        ("-7", -7),
        ("-9223372036854775807 - 2", 2**63 - 1),  # wraps
        ("!TRUE", False),
        ("'a' + 'b'", "ab"),
        ("1 + 2 * 3", 7),
        ("7 / 2", 3),
        ("-7 % 3", -1),
        ("1.5 * 2.0", 3.0),
        ("1h / 7m", 8),
        ("'x1' =~ /x[0-9]/", True),
        ("1 < 2.5 AND 'a' != 'b'", True),
        ("FALSE OR TRUE", True),
        ("float(3) + 1.5", 4.5),
        ("strToUpper('a') + 'b'", "Ab"),
    ],
)
def test_expressions_have_values(text: str, expected: Any) -> None:
    found = value(f"var x = {text}")
    assert found == expected
    assert type(found) is type(expected)


def test_variables_stand_for_values() -> None:
    assert value("var a = 2\nvar b = a\nvar x = a * b + 1") == 5
    assert value("var a = 2\nvar x = -a") == -2


def test_the_sign_of_zero_is_kept() -> None:
    assert str(value("var a = 0.0\nvar x = -a")) == "-0.0"


def test_values_of_all_types_reach_the_pipeline() -> None:
    pipeline = run(
        "var d = 1m * 2\nvar s = *\nvar r = /a.c/\n"
        "stream|from().truncate(d).groupBy(s)|eval(lambda: \"x\" =~ r AND d > 1s).as('y')"
    )
    node = only(pipeline, From)
    assert node.truncate == 120_000_000_000 and isinstance(node.truncate, Duration)
    assert node.dimensions == (STAR,)
    (expression,) = only(pipeline, Eval).expressions
    matches = ref("x").matches(Literal(Kind.REGEX, "a.c"))
    assert expression.expr.same(matches & (duration(120_000_000_000) > duration(1_000_000_000)))


def test_a_lone_list_is_spread() -> None:
    pipeline = run("var dims = ['a', 'b']\nvar n = 'c'\nstream|from().groupBy(dims)\n|groupBy([n, 'd'])")
    assert [n.dimensions for n in pipeline.nodes if hasattr(n, "dimensions")] == [("a", "b"), ("c", "d")]


def test_lambdas_capture_values_and_splice_lambdas() -> None:
    pipeline = run('var low = 1.5\nvar l = lambda: "v" > low\nstream|from()|where(lambda: l AND !(l))')
    assert repr(only(pipeline, Where).condition.expr) == "nested(ref('v') > 1.5) & ~nested(ref('v') > 1.5)"


def test_a_second_where_of_from_changes_the_variable_it_came_from() -> None:
    """Kapacitor joins the conditions in place: whoever uses the same variable sees it."""
    pipeline = run(
        'var l = lambda: "a" > 1\nvar one = stream|from().where(l)\none.where(lambda: "b" > 2)\nstream|from()|where(l)'
    )
    assert repr(only(pipeline, Where).condition.expr) == "(ref('a') > 1) & (ref('b') > 2)"


def test_a_long_chain_of_operators_is_no_trouble() -> None:
    either = " OR ".join(f'"a" == {i}' for i in range(300))
    assert only(run(f"stream|from()|where(lambda: {either})"), Where).condition.operands == 300 * 3 + 299


def test_properties_can_be_read() -> None:
    pipeline = run(
        "var w = stream|from()|window().period(12s).every(4s)\nvar p = w.period\nvar e = w.every\n"
        "w|default().field('x', p / e)"
    )
    assert only(pipeline, Default).fields == {"x": 3}


def test_a_node_can_be_changed_by_later_statements() -> None:
    pipeline = run("var f = stream|from()\nf|where(lambda: TRUE)\nf.measurement('late')")
    assert only(pipeline, From).measurement == "late"


def test_only_the_first_letter_of_a_name_is_free() -> None:
    assert only(run("stream|From().Measurement('a')"), From).measurement == "a"
    assert errors("stream|from().retentionpolicy('a')") == [
        'line 1 char 15: no method or property "retentionpolicy" on *pipeline.FromNode'
    ]


def test_comments_describe_variables() -> None:
    pipeline = run("// how much\n// is too much\nvar limit = 5\nstream|from()")
    assert pipeline.variables["limit"].type == "int"
    assert [line.strip() for line in pipeline.variables["limit"].description.split("\n")] == [
        "how much",
        "is too much",
    ]


def test_the_source_stands_where_the_script_first_names_it() -> None:
    script = "// first\nvar period = 1m\nvar a = stream\n    |from()\nvar b = stream|from()"
    source = run(script).nodes[0]
    assert source.span == source.extent and script[source.span.start : source.span.stop] == "stream"
    assert source.span.start == script.index("stream")
    assert run("batch|query('SELECT x FROM a.b.c')").nodes[0].span.stop == len("batch")


def test_dbrp_statements_are_kept() -> None:
    assert run('dbrp "a"."b"\nstream|from()\ndbrp "c"."d e"').dbrps == (("a", "b"), ("c", "d e"))


def test_a_name_alone_is_not_looked_up() -> None:
    assert run("nothing\nstream|from()\n5").nodes[0].name == "stream0"


# --- variables from outside


BAD_DURATION = 'invalid duration string for var x: invalid duration "5"'
VARS: dict[str, Any] = {
    "limit": {"type": "float", "value": 41},
    "n": {"type": "int", "value": -3},
    "s": {"type": "string", "value": "is-"},
    "on": {"type": "bool", "value": True},
    "pat": {"type": "regex", "value": "^a[12]"},
    "win": {"type": "duration", "value": "1m20s"},
    "cond": {"type": "lambda", "value": '"n" >= 0'},
    "dims": {"type": "list", "value": [{"type": "string", "value": "dc"}, {"type": "star"}]},
    "all": {"type": "star", "value": "*"},
}


@pytest.mark.parametrize(("name", "expected"), [("limit", 41.0), ("n", -3), ("s", "is-"), ("on", True)])
def test_template_variables_take_their_values_from_outside(name: str, expected: Any) -> None:
    found = value(f"var {name} {VARS[name]['type']}\nvar x = {name}", VARS)
    assert found == expected and type(found) is type(expected)


def test_all_types_can_be_supplied() -> None:
    declared = "\n".join(f"var {name} {given['type']}" for name, given in VARS.items())
    pipeline = run(f"{declared}\nstream|from().truncate(win).where(cond)|groupBy(all)|where(lambda: pat == s)", VARS)
    assert only(pipeline, From).truncate == 80_000_000_000
    assert repr(only(pipeline, From).predicate.expr) == "ref('n') >= 0"


def test_supplied_values_win_over_defaults() -> None:
    assert value("var x = 5", {"x": {"type": "int", "value": 6}, "unused": {"type": "bool", "value": True}}) == 6


@pytest.mark.parametrize(
    ("script", "given", "message"),
    [
        ("var x float", None, 'missing value for var "x".'),
        ("var x decimal", None, 'invalid var type "decimal"'),
        ("var x float", {"type": "int", "value": 5}, "invalid type supplied for x, got int exp float"),
        ("var x = 5.0", {"type": "string", "value": "5"}, "invalid type supplied for x, got string exp float"),
        ("var x = TRUE", {"type": "int", "value": 1}, "invalid type supplied for x, got int exp boolean"),
        ("var x = stream", {"type": "int", "value": 1}, "invalid type supplied for x, got int exp invalid type"),
        ("var x int", {"type": "int", "value": 1.5}, "invalid var x: expected int value"),
        ("var x int", {"type": "whole", "value": 1}, "unknown VarType whole"),
        ("var x list", {"type": "list", "value": "a"}, "invalid var x: expected list of vars"),
        (
            "var x duration",
            {"type": "duration", "value": "5"},
            'invalid duration string for var x: invalid duration "5"',
        ),
    ],
)
def test_what_is_wrong_with_supplied_values(script: str, given: Any, message: str) -> None:
    assert errors(f"{script}\nstream|from()", {"x": given} if given else None) == [message]


# --- mistakes, with Kapacitor's text and position


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must provide TICKscript"),
        ("// nothing", "invalid task type: invalid"),
        ("stream|from()\nbatch|query('')", "invalid task type: invalid"),
        ("var x = 5\nvar x = 6\nstream|from()", "attempted to redefine x, vars are immutable"),
        ("var stream = 6\nvar y = stream|from()", "attempted to redefine stream, vars are immutable"),
        ("stream|from().measurement(nope)", 'name "nope" is undefined. Names in scope: time,stream'),
        ("stream|from()\n  |mean()", "line 2 char 4: error calling func \"mean\" on obj *pipeline.FromNode: "
         "reflect: Call with too few input arguments"),
        ("stream|from()|mean('a', 'b')", "line 1 char 15: error calling func \"mean\" on obj *pipeline.FromNode: "
         "reflect: Call with too many input arguments"),
        ("stream|from()|percentile('v', 50)", "line 1 char 15: error calling func \"percentile\" on obj "
         "*pipeline.FromNode: reflect: Call using int64 as type float64"),
        ("stream|from()|eval('v')", "line 1 char 15: error calling func \"eval\" on obj *pipeline.FromNode: "
         "reflect: cannot use string as type *ast.LambdaNode in Call"),
        ("stream|from()|union(5)", "line 1 char 15: error calling func \"union\" on obj *pipeline.FromNode: "
         "reflect: cannot use int64 as type pipeline.Node in Call"),
        ("stream|from()|window().period(10)", "line 1 char 24: error calling func \"period\" on obj "
         "*pipeline.WindowNode: reflect.Set: value of type int64 is not assignable to type time.Duration"),
        ("stream|from()|window().align(TRUE)", "line 1 char 24: error calling func \"align\" on obj "
         "*pipeline.WindowNode: reflect: Call with too many input arguments"),
        ("stream|from().measurement(\"cpu\")", "line 1 char 15: cannot assign *ast.ReferenceNode to type string, "
         "did you use double quotes instead of single quotes?"),
        ("stream|from()|mean(\"v\")", "line 1 char 15: cannot assign *ast.ReferenceNode to type string, "
         "did you use double quotes instead of single quotes?"),
        ("stream|from().measurement('a', 'b')", "line 1 char 15: too many arguments to set property Measurement on "
         "*pipeline.FromNode"),
        ("stream|from().bogus('a')", "line 1 char 15: no method or property \"bogus\" on *pipeline.FromNode"),
        ("stream|from()@bogus()", "line 1 char 15: no method or property \"bogus\" on *pipeline.FromNode"),
        ("stream|from()|measurement('a')", "line 1 char 15: no chaining method \"measurement\" on *pipeline.FromNode, "
         "but property does exist. Use '.' operator instead: 'node.measurement(..)'."),
        ("stream|from().mean('a')", "line 1 char 15: no property method \"mean\" on *pipeline.FromNode, "
         "but chaining method does exist. Use '|' operator instead: 'node|mean(..)'."),
        ("stream|from()@mean('a')", "line 1 char 15: no dynamic method \"mean\" on *pipeline.FromNode, "
         "but chaining method does exist. Use '|' operator instead: 'node|mean(..)'."),
        ("stream|from()@measurement('a')", "line 1 char 15: no dynamic method \"measurement\" on *pipeline.FromNode, "
         "but property does exist. Use '.' operator instead: 'node.measurement(..)'."),
        ("stream|from().name('a')", "line 1 char 15: no property method \"name\" on *pipeline.FromNode, "
         "but chaining method does exist. Use '|' operator instead: 'node|name(..)'."),
        ("stream|mean('a')", "line 1 char 8: no method or property \"mean\" on *pipeline.StreamNode"),
        ("stream|from()|influxDBOut()|log()", "line 1 char 29: no method or property \"log\" on "
         "*pipeline.InfluxDBOutNode"),
        ("stream|from()|noOp()", "line 1 char 15: no method or property \"noOp\" on *pipeline.FromNode"),
        ("stream|from()|window()|window()", "line 1 char 24: error calling func \"window\" on obj "
         "*pipeline.WindowNode: cannot Window batch edge"),
        ("stream|from()|trickle()", "line 1 char 15: error calling func \"trickle\" on obj *pipeline.FromNode: "
         "cannot Trickle stream edge"),
        ("stream|from()|sample('a')", "line 1 char 15: error calling func \"sample\" on obj *pipeline.FromNode: "
         "must pass int64 or duration to new sample node"),
        ("stream|from()\nvar x = stream.foo", "line 2 char 15: object *pipeline.StreamNode has no property foo"),
        ("var d = 5\nd.foo()\nstream|from()", "line 2 char 3: cannot get properties of non pointer value"),
        ("var d = 5\nvar e = d.foo\nstream|from()", "line 2 char 10: cannot get properties of non pointer value"),
        ("var l = lambda: 1\nl.a()\nstream|from()", "line 2 char 3: no method or property \"a\" on *ast.LambdaNode"),
        ("foo(5)\nstream|from()", "line 1 char 1: no global function \"foo\" defined"),
        ("stream|from().groupBy(time())", "line 1 char 23: error calling func \"time\" on obj <nil>: "
         "reflect: Call with too few input arguments"),
        ("stream|from().groupBy(time(1s, 1s, 1s))", "line 1 char 23: time() function expects 1 or 2 args, got 3"),
        ("var x = -'a'\nstream|from()", "line 1 char 9: invalid arugument to '-' a"),
        ("var x = !5\nstream|from()", "line 1 char 9: invalid arugument to '!' 5"),
        ("var x = 1 / 0\nstream|from()", "runtime error: integer divide by zero"),
        ("var x = \"a\" + 1\nstream|from()", 'name "a" is undefined. Names in scope: '),
        ("var x = 'a' + 1\nstream|from()", "mismatched type to binary operator. got string + int. "
         "see bool(), int(), float(), string(), duration()"),
        ("stream|from().where(lambda: \"v\" > stream)", "unsupported literal type *pipeline.StreamNode"),
        ("stream|from()|alert().all()|bogus()", "line 1 char 29: no method or property \"bogus\" on "
         "*pipeline.AlertNodeData"),
        ("stream|from()|alert().crit(lambda: TRUE)|bogus()", "line 1 char 42: no method or property \"bogus\" on "
         "*pipeline.AlertNode"),
        ("stream|from()|alert().slack().bogus()", "line 1 char 31: no method or property \"bogus\" on "
         "*pipeline.SlackHandler"),
        ("stream|from()|alert().flapping(0.1)", "line 1 char 23: error calling func \"flapping\" on obj "
         "*pipeline.AlertNode: reflect: Call with too few input arguments"),
        ("stream|from()|deadman(5, 10s)", "line 1 char 15: error calling func \"deadman\" on obj *pipeline.FromNode: "
         "reflect: Call using int64 as type float64"),
    ],
)  # fmt: skip
def test_kapacitors_message_comes_first(text: str, message: str) -> None:
    assert errors(text)[0] == message


def test_each_mistake_is_reported_once() -> None:
    script = "stream|from().mesurement('a').where(lambda: \"x\" > y OR z)|windw().period(10)|mean(u)\nvar v = -'a'"
    assert errors(script) == [
        'line 1 char 15: no method or property "mesurement" on *pipeline.FromNode',
        'name "y" is undefined. Names in scope: time,stream',
        'name "z" is undefined. Names in scope: time,stream',
        'line 1 char 59: no method or property "windw" on *pipeline.FromNode',
        'name "u" is undefined. Names in scope: time,stream',
        "line 2 char 9: invalid arugument to '-' a",
    ]


def test_what_depends_on_a_mistake_is_no_mistake() -> None:
    assert (
        len(errors("var a = nope\nvar b = a + 1\nvar c = [b]\nstream|from().measurement(b).groupBy(c)|where(a)")) == 1
    )


def test_a_property_written_for_a_node_is_taken_for_it() -> None:
    assert len(errors("stream|from().eval(lambda: 1).as('x')|httpOut('o')")) == 1


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("stream|from().mesurement('a')", "did you mean `measurement`?"),
        ("stream|from()|meen('a')", "did you mean `mean`?"),
        ("stream|from().every(10s)", "`every` is a property of query, queryFlux, window"),
        ("stream|from()|eval(lambda: 1).fillPeriod()", "`fillPeriod` is a property of window"),
        ("stream|from()|query('a')", "`query` can follow batch"),
        ("stream|from()|measurement('a')", "write .measurement(…)"),
        ("stream|from()|percentile('v', 50)", "write it with a point: 50.0"),
        ("stream|from()|window().period('10s')", "write it without quotes: 10s"),
        ("stream|from()|window().period(10)", "write it with a unit: 10s"),
        ('stream|from().measurement("cpu")', "write it in single quotes: 'cpu'"),
        ("stream|from()|where('a')", "write it after `lambda: `"),
        ("stream|from()|movingAverage('v', 5.0)", "write it without the point: 5"),
        ("stream|from()|mean()", "the arguments are (field)"),
        ("stream|from()|top('v')", "the arguments are (num, field, fieldsAndTags…)"),
        ("stream|from()|window().align(1)", "it takes no argument"),
        ("var limit = 1\nstream|from().where(lambda: limits > 2)", "did you mean `limit`?"),
        ("var x = batch\nstream|from()", "a script cannot use both `stream` and `batch`"),
        ("stream|from().where\nvar x = stream|from().where", "write .where(…) to set it"),
        ("var x in\nstream|from()", "did you mean `int`?"),
    ],
)
def test_hints_can_be_typed_in(text: str, hint: str) -> None:
    assert hints(text)[0] == hint


# --- limits


def doubling(first: str, step: str) -> str:
    lines = [f"var a0 = {first}", *(f"var a{i} = {step.format(f'a{i - 1}')}" for i in range(1, 60))]
    return "\n".join([*lines, "stream|from()"])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (doubling("'abcdefgh'", "{0} + {0}"), "a string may have 1,048,576 bytes"),
        (doubling("lambda: TRUE", "lambda: {0} AND {0}"), "with its variables filled in, a lambda"),
        (doubling("['a']", "[{0}, {0}]"), "a list may have 50,000 items"),
        ("var l = lambda: TRUE\nvar f = stream|from()\n" + "f.where(l)\n" * 60, "line 18 char 3: with its variables"),
        ("var f = stream|from()\n" + "f|log()\n" * 10_001, "line 10000 char 3: a script may have 10,000 nodes"),
    ],
    ids=["string", "lambda", "list", "where", "nodes"],
)  # fmt: skip
def test_what_variables_put_together_stays_small(script: str, message: str) -> None:
    assert errors(script)[0].startswith(message)


def test_a_chain_may_be_as_deep_as_its_nodes() -> None:
    lines = ["var a0 = stream|from()", *(f"var a{i} = a{i - 1}|log()" for i in range(1, 3000))]
    assert len(run("\n".join(lines)).nodes) == 3001


def test_the_compiler_imports_nothing_heavy() -> None:
    code = "import sys, tickc.compiler as c; print([m for m in ('numba', 'polars', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_regexes_are_values() -> None:
    assert run("var r = /a/\nstream|from()").variables["r"].value == Regex("a")


def test_handlers_share_the_alerts_properties() -> None:
    alert = only(run("stream|from()|alert().slack().channel('#a').crit(lambda: TRUE).log('x').mode(5).id('i')"), Alert)
    assert alert.crit is not None and alert.id_ == "i"
    assert [(h.kind, h.settings()) for h in alert.handlers] == [
        ("slack", {"channel": "#a"}),
        ("log", {"path": "x", "mode": 5}),
    ]
