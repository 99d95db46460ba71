"""Tree -> text: Kapacitor's canonical form, and what holds of it for any tree."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickc.compiler.diagnostics import Source, Span, TickError
from tickc.compiler.syntax import (
    Binary,
    Boolean,
    Call,
    Chain,
    Comment,
    DbRp,
    Declaration,
    DurationLiteral,
    Identifier,
    Lambda,
    ListLiteral,
    Number,
    Program,
    Reference,
    RegexLiteral,
    Star,
    String,
    Tree,
    TypeDeclaration,
    Unary,
    _starts_with_comment,
    format,
    format_duration,
    format_expression,
    format_float,
    parse,
)

AT = Span(0, 0)

FORMS = [  # script, what Kapacitor 1.8.3 makes of it
    ("", ""),
    ("var x=1", "var x = 1\n"),
    ("var x=01 var y=00 var z=1.50", "var x = 01\n\nvar y = 00\n\nvar z = 1.5\n"),
    ("var x=5. var y=.5", "var x = 5.0\n\nvar y = 0.5\n"),
    ("var x=60s var y=3µ", "var x = 60s\n\nvar y = 3µ\n"),
    ("var x= /^\\/root\\//", "var x = /^\\/root\\//\n"),
    ("var n   int", "var n int\n"),
    ('dbrp  "a" . "b"', 'dbrp "a"."b"\n'),
    ("var z=[ 'a' ,'b',*,]", "var z = ['a', 'b', *]\n"),
    ("var s='it\\'s' var t='''it's'''", "var s = 'it\\'s'\n\nvar t = '''it's'''\n"),
    ("var x = (1) + ((2))", "var x = 1 + 2\n"),
    ("var x = (1 + 2) * -(3)", "var x = (1 + 2) * -3\n"),
    (
        "stream|from().measurement('cpu').groupBy('a',\n 'b')\n// before window\n|window().period(10s)   |eval(lambda:"
        " -\"m\"*2.50).as('k')\n",
        "stream\n    |from()\n        .measurement('cpu')\n"
        "        .groupBy(\n            'a',\n            'b'\n        )\n"
        "    // before window\n    |window()\n        .period(10s)\n"
        "    |eval(lambda: -\"m\" * 2.5)\n        .as('k')\n",
    ),
    (
        'var y = lambda: "a">x AND ("b"==\'c\' OR\n "c" =~ /a\\/b/)',
        'var y = lambda: "a" > x AND ("b" == \'c\' OR\n    "c" =~ /a\\/b/)\n',
    ),
    (
        "f(lambda: \n(1 + 2) \n< \n(sin(6))\nAND \n(TRUE\nOR (FALSE \nAND TRUE)))",
        "f(lambda: (1 + 2) <\n    sin(6) AND\n    (TRUE OR\n        (FALSE AND\n            TRUE)))\n",
    ),
    (
        "f(lambda:\n// less\n(1 + 2)\n< 3\nAND\n// more\n(TRUE OR FALSE), 'arg',)",
        "f(\n    lambda: \n    // less\n    (1 + 2) <\n    3 AND\n    // more\n    (TRUE OR FALSE),\n    'arg'\n)\n",
    ),
    (
        "// one\n\n//two\n//    indented\n//\n\n\nvar x = stream\n"
        "\t|from()\n\t\t//.measurement('mem')\n\t\t.b()\n// own\nx |c()",
        "// one\n\n// two\n//    indented\n//\nvar x = stream\n"
        "    |from()\n        // .measurement('mem')\n        .b()\n\n"
        "// own\nx\n    |c()\n",
    ),
    ("a // end", "a\n\n// end\n\n"),
    ("// alone", "// alone\n\n"),
    ("a|b(\n['c', d], lambda: e)", "a\n    |b(\n        [        'c',         d],\n        lambda: e\n    )\n"),
    ("a|\n// c\nb()", "a\n    |\n    // c\n    b()\n"),
    ("x|f(a|b().c())", "x\n    |f(\n        a\n            |b()\n                .c()\n    )\n"),
]


@pytest.mark.parametrize(("script", "expected"), FORMS)
def test_forms(script: str, expected: str) -> None:
    assert format(script) == expected
    assert format(expected) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        # node.go's own second run gives this
        ("var x = (b\n OR c) AND d", "var x = (b OR\n    c) AND\nd\n"),
        # comments that node.go loses
        ("f(a // b\n).c()", "f(a)\n        // b\n        .c()\n"),
        ("f(// b\n-a)", "f(\n    // b\n    -a\n)\n"),
        ("var // b\nx = 1", "// b\nvar x = 1\n"),
        # without these parentheses the text would mean something else, or nothing
        ("(a)\n(b + c)", "(a)\n\n(b + c)\n"),
        ("5\n(-b)", "5\n\n(-b)\n"),
        ("a.b()\n-c", "a\n        .b()\n\n-c\n"),
        ("f(lambda: (/a/))", "f(lambda: (/a/))\n"),
        ("var x = (*) * (*)", "var x = (*) * *\n"),
        ("var x = a AND (/b/)", "var x = a AND (/b/)\n"),
        ("var x = (a // b\n- c)", "var x = (\n    // b\n    (a -\n        c))\n"),
        ("f(\n// a\n\n/b/)", "f(\n    // a\n    (/b/)\n)\n"),
        ("var x = //", "var x = //\n"),
    ],
)
def test_where_kapacitor_needs_another_run_or_goes_wrong(script: str, expected: str) -> None:
    assert format(script) == expected
    assert format(expected) == expected
    assert parse(expected) == parse(script)


def test_takes_text_source_and_tree() -> None:
    assert format("a") == format(Source("a")) == format(parse("a")) == "a\n"
    with pytest.raises(TickError):
        format("a +")


def test_what_no_script_has() -> None:
    def given_name(value: Tree) -> Program:
        return Program(statements=(Declaration(name="x", value=value, span=AT),), span=AT)

    assert format(given_name(DurationLiteral(value=5, span=AT))) == "var x = 5ns\n"
    assert format(given_name(RegexLiteral(pattern="a/b", span=AT))) == "var x = /a\\/b/\n"


def test_format_expression() -> None:
    program = parse('f(lambda: ("a" + 1) * sin( 2 ))')
    (call,) = program.statements
    assert isinstance(call, Call) and isinstance(call.args[0], Lambda)
    assert format_expression(call.args[0].body) == '("a" + 1) * sin(2)'


def test_format_duration_takes_the_largest_exact_unit() -> None:
    minute = 60_000_000_000
    values = [0, 7 * 24 * 60 * minute, 36 * 60 * minute, 90 * minute, 90 * 10**9, 1_500_000_000, 1_500, 1]
    assert [format_duration(v) for v in values] == ["0s", "1w", "36h", "90m", "90s", "1500ms", "1500ns", "1ns"]


def test_format_float() -> None:
    values = [1.0, 0.1, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 0.30000000000000004]
    texts = [format_float(v) for v in values]
    assert texts[:4] == ["1.0", "0.1", "1000000000000000000000.0", "0.0000001"]
    assert [float(t) for t in texts] == values and all("e" not in t for t in texts)


# ------------------------------------------------------------------------------------------------------ any tree at all

WORDS = ("AND", "OR", "TRUE", "FALSE", "var", "dbrp")
names = st.from_regex(r"[a-zA-Zé][a-zA-Z0-9_]{0,5}", fullmatch=True).filter(lambda name: name not in WORDS)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text("'\"\\a/\n", max_size=8)
plain = texts.filter(lambda text: not text.endswith("\\"))  # else the closing quote would be escaped
triple = texts.filter(lambda text: "''" not in text and not text.endswith("'"))
comments = st.none() | st.lists(st.from_regex(r"[a-z][ a-z]{0,3}[a-z]", fullmatch=True), min_size=1, max_size=2).map(
    lambda lines: Comment(tuple(lines), AT)
)


def build(kind: type[Tree], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Tree]:
    """Trees of one kind, now and then with a comment."""
    rare = st.integers(0, 5).flatmap(lambda n: comments if n == 0 else st.none())
    return st.builds(kind, span=st.just(AT), comment=rare, **fields)


def durations(n: int, unit: str) -> DurationLiteral:
    (declaration,) = parse(f"var x = {n}{unit}").statements
    assert isinstance(declaration, Declaration) and isinstance(declaration.value, DurationLiteral)
    return declaration.value


stars = build(Star)
identifiers = build(Identifier, name=names)
strings = build(String, value=plain) | build(String, value=triple, triple=st.just(True))
leaves = st.one_of(
    identifiers,
    strings,
    stars,
    build(Number, value=st.integers(0, 2**63 - 1), base=st.sampled_from([8, 10])),
    build(Number, value=st.floats(0, allow_infinity=False, allow_nan=False).map(math.fabs)),
    build(Boolean, value=st.booleans()),
    st.builds(durations, st.integers(0, 10**5), st.sampled_from(["u", "µ", "ms", "s", "m", "h", "d"])),
    build(RegexLiteral, pattern=st.sampled_from(["a", "a/b", "^/x$", "[/]", "\\.", "é+"])),
    build(Reference, name=plain),
)


def operands(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    ops = ["+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", ">=", "=~", "!~", "AND", "OR"]
    return st.one_of(
        build(Unary, op=st.sampled_from("-!"), operand=inner),
        build(Binary, op=st.sampled_from(ops), left=inner, right=inner, parens=st.booleans(), multiline=st.booleans()),
        build(Call, name=names, args=st.lists(inner, max_size=3).map(tuple), multiline=st.booleans()),
    )


binaries = st.recursive(leaves, operands, max_leaves=8)
lists = build(ListLiteral, items=st.lists(identifiers | strings | stars, max_size=3).map(tuple))
lambdas = build(Lambda, body=binaries)


def chains(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    calls = build(Call, name=names, args=st.lists(inner, max_size=2).map(tuple), multiline=st.booleans())
    link = st.tuples(st.just("|"), calls) | st.tuples(st.sampled_from(".@"), calls | identifiers)

    def chain(left: Tree, links: list[tuple[str, Call]], comment: Comment | None) -> Tree:
        for text, right in links:
            left = Chain(left=left, link=text, right=right, span=AT, comment=comment)
        return left

    return calls | st.builds(chain, identifiers | calls, st.lists(link, min_size=1, max_size=3), comments)


expressions = st.recursive(binaries | lists | lambdas, chains, max_leaves=4)
statements = st.one_of(
    expressions,
    # a comment right after `=` would be a regular expression; no script has one there
    build(Declaration, name=names, value=expressions.filter(lambda tree: not _starts_with_comment(tree))),
    build(TypeDeclaration, name=names, type=names),
    build(DbRp, database=plain, retention_policy=plain),
)
declarations = statements.filter(lambda tree: isinstance(tree, (Declaration, TypeDeclaration, DbRp)))
programs = st.builds(
    # an expression may read as one with the statement before (`A` and `-*` as `A - *`), so it stands alone
    lambda statements, end: Program(statements=tuple(statements), end_comment=end, span=AT),
    st.lists(declarations, max_size=4) | st.lists(statements, min_size=1, max_size=1),
    comments,
)


@settings(max_examples=150, deadline=None)
@given(programs)
def test_any_tree_comes_back(program: Program) -> None:
    text = format(program)
    assert parse(text) == program
    assert format(text) == text
    assert format(parse(text)) == text


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*"()[]|.@,*-!+/=<>'\"#\n ", "//", "==", "=~", "AND", "a", "f(", "1", "1m", "lambda:", "var ", "'''"]
        )
    )
)
def test_any_text_parses_or_is_told_why(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        formatted = format(text)
    except TickError as error:
        assert str(error).startswith("error[T1")
    else:
        assert format(formatted) == formatted
        assert parse(formatted) == parse(text)
