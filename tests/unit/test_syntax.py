"""Text -> tree: tokens, literals, comments, the shape and positions of trees, and the errors in Kapacitor's words."""

import threading
import time

import pytest

from tickc.compiler import mistakes
from tickc.compiler.diagnostics import Source, Span, TickError
from tickc.compiler.lexer import Lexer
from tickc.compiler.mistakes import _AFTER, _EXAMPLES
from tickc.compiler.syntax import (
    MAX_BYTES,
    Binary,
    Boolean,
    Call,
    Chain,
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
    extent,
    parse,
)


def only(text: str) -> Tree:
    """The one statement of a script, or what it gives to a variable."""
    (statement,) = parse(text).statements
    return statement.value if isinstance(statement, Declaration) else statement


def messages(text: str) -> list[str]:
    with pytest.raises(TickError) as caught:
        parse(text)
    return [d.message for d in caught.value.diagnostics]


def shape(tree: Tree) -> str:
    """The tree with every operator's operands in brackets."""
    match tree:
        case Binary(op=op, left=left, right=right):
            return f"[{shape(left)} {op} {shape(right)}]"
        case Unary(op=op, operand=operand):
            return f"[{op}{shape(operand)}]"
        case Call(name=name, args=args):
            return f"{name}({', '.join(map(shape, args))})"
        case Chain(left=left, link=link, right=right):
            return f"<{shape(left)} {link} {shape(right)}>"
        case Lambda(body=body):
            return f"lambda {shape(body)}"
        case ListLiteral(items=items):
            return f"list({', '.join(map(shape, items))})"
        case Number(value=value) | String(value=value) | Boolean(value=value):
            return repr(value)
        case Identifier(name=name) | Reference(name=name):
            return name
        case DurationLiteral(text=text) | RegexLiteral(text=text):
            return text
        case Star():
            return "*"
    raise AssertionError(tree)


def shapes(text: str) -> list[str]:
    return [shape(statement) for statement in parse(text).statements]


@pytest.mark.parametrize(
    ("text", "value", "base"),
    [("0", 0, 10), ("00", 0, 8), ("0755", 493, 8), ("42", 42, 10), ("9223372036854775807", 2**63 - 1, 10),
     ("5.", 5.0, 10), (".5", 0.5, 10), ("0755.0", 755.0, 10), ("2.50", 2.5, 10), ("0" * 5000, 0, 8)],
)  # fmt: skip
def test_numbers(text: str, value: float, base: int) -> None:
    number = only(f"var x = {text}")
    assert isinstance(number, Number)
    assert (number.value, type(number.value), number.base) == (value, type(value), base)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1u", 1_000), ("3µ", 3_000), ("5ms", 5_000_000), ("10s", 10**10), ("1m", 6 * 10**10), ("2h", 72 * 10**11),
     ("1d", 864 * 10**11), ("1w", 6048 * 10**11), ("010s", 10**10)],
)  # fmt: skip
def test_durations(text: str, nanoseconds: int) -> None:
    duration = only(f"var x = {text}")
    assert isinstance(duration, DurationLiteral) and (duration.value, duration.text) == (nanoseconds, text)


def test_a_duration_has_one_unit() -> None:
    assert shapes("1m30s") == ["1m", "30s"]
    assert shapes("10ns") == ["10", "ns"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("''", ""), ("'it\\'s'", "it's"), ("'a\\n'", "a\\n"), ("'a\\\\'s'", "a\\'s"), ("'a\nb'", "a\nb"), ("''''''", ""),
     ("'''it's ''x''.'''", "it's ''x''."), ("'''a\\'b'''", "a\\'b"), ("'é'", "é")],
)  # fmt: skip
def test_strings(text: str, value: str) -> None:
    string = only(f"var x = {text}")
    assert isinstance(string, String)
    assert (string.value, string.triple) == (value, text.startswith("'''"))


def test_a_backslash_after_two_quotes_escapes_even_in_three() -> None:
    string = only("var x = '''a''\\'b'''")
    assert isinstance(string, String) and string.value == "a''\\'b"


def test_references_and_regular_expressions() -> None:
    assert only('f("a\\"b c")') == Call(name="f", args=(Reference(name='a"b c', span=Span(0, 0)),), span=Span(0, 0))
    regex = only("var r = /a\\/b\\.c/")
    assert isinstance(regex, RegexLiteral)
    assert (regex.pattern, regex.text) == ("a/b\\.c", "a\\/b\\.c")
    assert shapes("f(/a/, /b/)") == ["f(a, b)"]


def test_what_looks_like_a_comment_after_equals_is_an_empty_regular_expression() -> None:
    first, *rest = parse("var a = // b\nc").statements
    assert isinstance(first, Declaration) and first.value == RegexLiteral(pattern="", span=Span(0, 0))
    assert [shape(r) for r in rest] == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / b / c", ["[[a / b] / c]"]),
        ("f(*) * 2", ["[f(*) * 2]"]),
        ("[a] *", ["list(a)", "*"]),
        ("a - -b", ["[a - [-b]]"]),
        ("a\n-b", ["[a - b]"]),
        ("a.b\n-c", ["<a . b>", "[-c]"]),
        ("a // c\n/b/", ["a"]),
        ("a // c\n\n/b/", ["a", "b"]),
        ("lambda", ["lambda"]),
        ("lambda(a)", ["lambda(a)"]),
        ("AND2 ORé TRUEx var_", ["AND2", "ORé", "TRUEx", "var_"]),
        ("é٣ x", ["é٣", "x"]),
        ("a\u00a0\u2003\u3000b", ["a", "b"]),
    ],
)
def test_operator_and_operand_position(text: str, expected: list[str]) -> None:
    assert shapes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4", "[[1 + [2 * 3]] - 4]"),
        ("a OR b AND c == d < e + f * g", "[a OR [b AND [c == [d < [e + [f * g]]]]]]"),
        ("a * b + c < d == e AND f OR g", "[[[[[[a * b] + c] < d] == e] AND f] OR g]"),
        ("a AND b AND c", "[[a AND b] AND c]"),
        ("a == b != c =~ d !~ e", "[[[[a == b] != c] =~ d] !~ e]"),
        ("a > b >= c < d <= e", "[[[[a > b] >= c] < d] <= e]"),
        ("a / b % c * d", "[[[a / b] % c] * d]"),
        ("-a * b", "[[-a] * b]"),
        ("!a == b", "[[!a] == b]"),
        ("!-!a", "[![-[!a]]]"),
        ("(a + b) * c", "[[a + b] * c]"),
        ("a + (b + c)", "[a + [b + c]]"),
        ("((a))", "a"),
        ("f(a + 1) + g(b,)", "[f([a + 1]) + g(b)]"),
        ("f(lambda: a) + 1", "[f(lambda a) + 1]"),
        ("f(g(lambda: a, [b]), h|i(),)", "f(g(lambda a, list(b)), <h | i()>)"),
    ],
)
def test_precedence(text: str, expected: str) -> None:
    assert shapes(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b().c(1)@d().e@f", ["<<<<<a | b()> . c(1)> @ d()> . e> @ f>"]),
        ("f(x)|b()", ["<f(x) | b()>"]),
        ("a\n  // x\n  |b()\n\n  // y\n  .c()", ["<<a | b()> . c()>"]),
        ("a.b(c)(d)", ["<a . b(c)>", "d"]),
        ("['a', b, *,]", ["list('a', b, *)"]),
        ("[]", ["list()"]),
    ],
)
def test_chains_and_lists(text: str, expected: list[str]) -> None:
    assert shapes(text) == expected


def test_equal_trees_mean_the_same() -> None:
    assert only("f(017 + 1m, 'a')") == only("f( // c\n15 +\n60s, '''a''')")
    assert len({only("var x = 1"), only("var x = 1.0"), only("var x = 2"), only("var x = 01")}) == 3


def test_statements() -> None:
    at = Span(0, 0)
    assert parse('dbrp "a"."b" var x int var y = z').statements == (
        DbRp(database="a", retention_policy="b", span=at),
        TypeDeclaration(name="x", type="int", span=at),
        Declaration(name="y", value=Identifier(name="z", span=at), span=at),
    )
    assert parse(" \n").statements == ()


def test_positions_are_kapacitors() -> None:
    text = "var x = é_|f(a +\n b)\n  .g(-1, lambda: y).h"
    (declaration,) = parse(text).statements
    source = Source(text)
    assert isinstance(declaration, Declaration)
    h = declaration.value
    assert isinstance(h, Chain) and source.snippet(h.span) == ".h" and source.snippet(h.right.span) == "h"
    g = h.left
    assert isinstance(g, Chain) and source.line_char(g.span.start) == (3, 3)
    assert isinstance(g.right, Call) and source.line_char(g.right.span.start) == (3, 4)
    assert source.snippet(g.right.span) == "g(-1, lambda: y)" and source.snippet(g.right.name_span) == "g"
    f = g.left
    assert isinstance(f, Chain) and isinstance(f.right, Call) and not f.right.multiline  # `+` is on the name's line
    (plus,) = f.right.args
    assert isinstance(plus, Binary) and source.snippet(plus.span) == "+" and plus.multiline
    assert source.snippet(extent(plus)) == "a +\n b"
    assert source.snippet(extent(h)) == text.removeprefix("var x = ")
    assert extent(declaration) == Span(0, len(source.data))
    assert declaration.name_span and source.snippet(declaration.name_span) == "x"


def test_comments_go_to_what_follows() -> None:
    program = parse(
        "// one\n//two\n\n//  three \nvar x = 5 // four\nstream // five\n  |f(// six\n a, // seven\n b // eight\n )"
        " // nine\n.g()\n// ten\n"
    )
    declaration, chain = program.statements
    assert declaration.comment and declaration.comment.lines == ("one", "two", "\n", " three")
    assert declaration.comment.text == "one\ntwo\n\n\n three"
    assert isinstance(chain, Chain) and chain.comment and chain.comment.lines == ("eight", "\n", "nine")
    f = chain.left
    assert isinstance(f, Chain) and f.comment and f.comment.lines == ("five",)
    assert isinstance(f.left, Identifier) and f.left.comment and f.left.comment.lines == ("four",)
    assert isinstance(f.right, Call)
    assert [arg.comment and arg.comment.lines for arg in f.right.args] == [("six",), ("seven",)]
    assert program.end_comment and program.end_comment.lines == ("ten",)


def test_a_slash_after_a_comment_goes_on_with_it() -> None:
    program = parse("// one\n / two\nx")
    assert shapes("// one\n / two\nx") == ["x"]
    assert program.statements[0].comment and program.statements[0].comment.lines == ("one", "/ two")


def test_every_token_has_the_bytes_it_covers() -> None:
    source = Source("var é = 'ü' + \"€\" // ß\nlambda: /😀/ 10µ")
    for token in Lexer(source).run()[:-1]:
        assert source.snippet(token.span) == token.text


VALUE = '"number","string","duration","identifier","TRUE","FALSE","==","(","-","!"'
ERRORS = [  # what Kapacitor 1.8.3 says, after `parser: `
    ("a\n\n\nvar b = ", 'unexpected EOF line 4 char 9 in "var b = ". expected: ' + VALUE),
    (
        "a\n\n\nvar b = stream.window()var period)\n\nvar x = 1",
        'unexpected ) line 4 char 34 in "var period)". expected: "identifier"',
    ),
    ("var b = stream.window(\nb.period(10s)", 'unexpected EOF line 2 char 14 in "eriod(10s)". expected: ")"'),
    ("var", 'unexpected EOF line 1 char 4 in "var". expected: "identifier"'),
    ("var x", 'unexpected EOF line 1 char 6 in "var x". expected: "identifier"'),
    ("var x 5", 'unexpected number line 1 char 7 in "var x 5". expected: "identifier"'),
    ("var 5", 'unexpected number line 1 char 5 in "var 5". expected: "identifier"'),
    ("var x =", 'unexpected EOF line 1 char 8 in "var x =". expected: ' + VALUE),
    ("var x = var y", 'unexpected var line 1 char 9 in "var x = var y". expected: ' + VALUE),
    ("var x = [1]", 'unexpected number line 1 char 10 in "var x = [1]". expected: "identifier","string","*"'),
    ("var x = ['a' 'b']", "unexpected string line 1 char 14 in \" x = ['a' 'b']\". expected: \"]\""),
    ("var x = ['a',", 'unexpected EOF line 1 char 14 in " x = [\'a\',". expected: "identifier","string","*"'),
    ("dbrp", 'unexpected EOF line 1 char 5 in "dbrp". expected: "reference"'),
    ("dbrp 'a'", 'unexpected string line 1 char 6 in "dbrp \'a\'". expected: "reference"'),
    ('dbrp "a"', 'unexpected EOF line 1 char 9 in "dbrp "a"". expected: "."'),
    ('dbrp "a" "b"', 'unexpected reference line 1 char 10 in "dbrp "a" "b"". expected: "."'),
    ('dbrp "a".b', 'unexpected identifier line 1 char 10 in "dbrp "a".b". expected: "reference"'),
    ("f(", 'unexpected EOF line 1 char 3 in "f(". expected: ' + VALUE),
    ("f(a", 'unexpected EOF line 1 char 4 in "f(a". expected: ")"'),
    ("f(a b)", 'unexpected identifier line 1 char 5 in "f(a b)". expected: ")"'),
    ("f(a,,b)", 'unexpected , line 1 char 5 in "f(a,,b)". expected: ' + VALUE),
    ("f(lambda: lambda: a)", 'unexpected lambda line 1 char 11 in "f(lambda: lambda: a)". expected: ' + VALUE),
    ("f(lambda: g(lambda: a))", 'unexpected lambda line 1 char 13 in "lambda: g(lambda: a)". expected: ' + VALUE),
    ("1 + f(lambda: a)", 'unexpected lambda line 1 char 7 in "1 + f(lambda: a)". expected: ' + VALUE),
    ("f(lambda: [a])", 'unexpected [ line 1 char 11 in "f(lambda: [a])". expected: ' + VALUE),
    ("f(lambda: a.b)", 'unexpected . line 1 char 12 in "(lambda: a.b)". expected: ")"'),
    ("f(lambda: a|b())", 'unexpected | line 1 char 12 in "(lambda: a|b())". expected: ")"'),
    ("(a", 'unexpected EOF line 1 char 3 in "(a". expected: ")"'),
    ("()", 'unexpected ) line 1 char 2 in "()". expected: ' + VALUE),
    ("((a)", 'unexpected EOF line 1 char 5 in "((a)". expected: ")"'),
    ("a|b", 'unexpected EOF line 1 char 4 in "a|b". expected: "("'),
    ("a|", 'unexpected EOF line 1 char 3 in "a|". expected: "identifier"'),
    ("a|5", 'unexpected number line 1 char 3 in "a|5". expected: "identifier"'),
    ("a.5x.", 'unexpected EOF line 1 char 6 in "a.5x.". expected: "identifier"'),
    ("a..b", 'unexpected . line 1 char 3 in "a..b". expected: "identifier"'),
    ("a@", 'unexpected EOF line 1 char 3 in "a@". expected: "identifier"'),
    ("a@()", 'unexpected ( line 1 char 3 in "a@()". expected: "identifier"'),
    ("a|b.c()", 'unexpected . line 1 char 4 in "a|b.c()". expected: "("'),
    ("x 'a' )", "unexpected ) line 1 char 7 in \"x 'a' )\". expected: " + VALUE),
    ("'a'.b", "unexpected . line 1 char 4 in \"'a'.b\". expected: " + VALUE),
    ("lambda: /a/", 'unexpected / line 1 char 9 in "lambda: /a/". expected: ' + VALUE),
    ("lambda: a AND /b/", 'unexpected / line 1 char 15 in "da: a AND /b/". expected: ' + VALUE),
    ("f(lambda: a and b)", 'unexpected identifier line 1 char 13 in "lambda: a and b)". expected: ")"'),
    ("a + ", 'unexpected EOF line 1 char 5 in "a + ". expected: ' + VALUE),
    ("a + + b", "unexpected unknown state, last char: '+' line 1 char 5 in \"a + + b\". expected: " + VALUE),
    ("a = b", 'unexpected = line 1 char 3 in "a = b". expected: ' + VALUE),
    ("!", 'unexpected EOF line 1 char 2 in "!". expected: ' + VALUE),
    ("! =", "unexpected unknown state, last char: '=' line 1 char 3 in \"! =\". expected: " + VALUE),
    ("a ! b )", 'unexpected ) line 1 char 7 in "a ! b )". expected: ' + VALUE),
    ("5..2", 'unexpected multiple decimals in number line 1 char 1 in "5..2". expected: ' + VALUE),
    ("1.2.3", 'unexpected multiple decimals in number line 1 char 1 in "1.2.3". expected: ' + VALUE),
    ("a.1.2.", 'unexpected multiple decimals in number line 1 char 2 in "a.1.2.". expected: ' + VALUE),
    ("'abc", 'unexpected unterminated string line 1 char 1 in "\'abc". expected: ' + VALUE),
    ("'''abc''", "unexpected unterminated string line 1 char 1 in \"'''abc''\". expected: " + VALUE),
    ("'abc\\'", "unexpected unterminated string line 1 char 1 in \"'abc\\'\". expected: " + VALUE),
    ('"abc', 'unexpected unterminated field reference line 1 char 1 in ""abc". expected: ' + VALUE),
    ('"abc\\"', 'unexpected unterminated field reference line 1 char 1 in ""abc\\"". expected: ' + VALUE),
    ("/abc", 'unexpected unterminated regex line 1 char 1 in "/abc". expected: ' + VALUE),
    ("f(/a\\/", 'unexpected unterminated regex line 1 char 3 in "f(/a\\/". expected: ' + VALUE),
    ("a =~ /b", 'unexpected unterminated regex line 1 char 6 in "a =~ /b". expected: ' + VALUE),
    ("/", 'unexpected unexpected "�" expected "/" line 1 char 1 in "/". expected: ' + VALUE),
    ("_a", "unexpected unknown state, last char: '_' line 1 char 1 in \"_a\". expected: " + VALUE),
    ("a_b + _", "unexpected unknown state, last char: '_' line 1 char 7 in \"a_b + _\". expected: " + VALUE),
    ("#", "unexpected unknown state, last char: '#' line 1 char 1 in \"#\". expected: " + VALUE),
    ("é#", "unexpected unknown state, last char: '#' line 1 char 3 in \"é#\". expected: " + VALUE),
    ("var x = 'é' €", "unexpected unknown state, last char: '€' line 1 char 14 in \" x = 'é' €\". expected: " + VALUE),
    ("²", "unexpected unknown state, last char: '²' line 1 char 1 in \"²\". expected: " + VALUE),
    ("a ²", "unexpected unknown state, last char: '²' line 1 char 3 in \"a ²\". expected: " + VALUE),
    ("x²", "unexpected unknown state, last char: '²' line 1 char 2 in \"x²\". expected: " + VALUE),
    ("\x1c", "unexpected unknown state, last char: '\\x1c' line 1 char 1 in \"\x1c\". expected: " + VALUE),
    ("\ufeffa", "unexpected unknown state, last char: '\\ufeff' line 1 char 1 in \"\ufeffa\". expected: " + VALUE),
    ("a\xa0)", 'unexpected ) line 1 char 4 in "a\xa0)". expected: ' + VALUE),
    ("08", 'illegal number syntax: "08"'),
    ("9223372036854775808", 'illegal number syntax: "9223372036854775808"'),
    ("9223372036854775807 )", 'unexpected ) line 1 char 21 in "854775807 )". expected: ' + VALUE),
    ("٣", 'illegal number syntax: "٣"'),
    ("٣.5", 'illegal number syntax: "٣.5"'),
    ("٣m", "invalid duration"),
    ("9999999999999999999w", "invalid duration"),
    ("var x = /a(b/", "error parsing regexp: missing closing ): `a(b`"),
    ("f(/*/, 08)", "error parsing regexp: missing argument to repetition operator: `*`"),
    ("08 #", 'illegal number syntax: "08"'),
    ("[08]", 'unexpected number line 1 char 2 in "[08]". expected: "identifier","string","*"'),
    ("var x = // c\n5)", 'unexpected ) line 2 char 2 in "5)". expected: ' + VALUE),
    ("a // c\n = 5", "unexpected unknown state, last char: '=' line 2 char 2 in \" = 5\". expected: " + VALUE),
    ("a // c\n + 5", "unexpected unknown state, last char: '+' line 2 char 2 in \" + 5\". expected: " + VALUE),
    ("a // c\n* )", 'unexpected ) line 2 char 3 in "* )". expected: ' + VALUE),
    ("a[", 'unexpected EOF line 1 char 3 in "a[". expected: "identifier","string","*"'),
    ("a]", 'unexpected ] line 1 char 2 in "a]". expected: ' + VALUE),
    ("a,", 'unexpected , line 1 char 2 in "a,". expected: ' + VALUE),
    ("lambda : a", "unexpected unknown state, last char: ':' line 1 char 8 in \"lambda : a\". expected: " + VALUE),
    ("f(lambda a)", 'unexpected identifier line 1 char 10 in "f(lambda a)". expected: ")"'),
    ("AND", 'unexpected AND line 1 char 1 in "AND". expected: ' + VALUE),
    ("var AND = 5", 'unexpected AND line 1 char 5 in "var AND = 5". expected: "identifier"'),
    ("TRUE(", 'unexpected EOF line 1 char 6 in "TRUE(". expected: ' + VALUE),
    ("var x = TRUE FALSE )", 'unexpected ) line 1 char 20 in "RUE FALSE )". expected: ' + VALUE),
    ("'''a''\\'b''' )", "unexpected ) line 1 char 14 in \"a''\\'b''' )\". expected: " + VALUE),
    ("x\n\n  foo bar baz )\nx", 'unexpected ) line 3 char 15 in "o bar baz )". expected: ' + VALUE),
    (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaa\n)bbbbbbbbbbbbbbbbbbbbbbb",
        'unexpected ) line 2 char 1 in ")bbbbbbbbb". expected: ' + VALUE,
    ),
    ("ééééé)ééééé", 'unexpected ) line 1 char 11 in "ééééé)éééé�". expected: ' + VALUE),
    ("éééééé )éééé€€€", 'unexpected ) line 1 char 14 in "�éééé )éééé�". expected: ' + VALUE),
    ("a.b - ]", 'unexpected ] line 1 char 7 in "a.b - ]". expected: ' + VALUE),
    ("@", 'unexpected @ line 1 char 1 in "@". expected: ' + VALUE),
    ("|", 'unexpected | line 1 char 1 in "|". expected: ' + VALUE),
    ("*5 )", 'unexpected ) line 1 char 4 in "*5 )". expected: ' + VALUE),
    ("a % % b", "unexpected unknown state, last char: '%' line 1 char 5 in \"a % % b\". expected: " + VALUE),
    ("f(a) g(b) )", 'unexpected ) line 1 char 11 in "f(a) g(b) )". expected: ' + VALUE),
    ("f(a)|5", 'unexpected number line 1 char 6 in "f(a)|5". expected: "identifier"'),
    ("stream|from().groupBy(*, 'a' 'b')", "unexpected string line 1 char 30 in \"By(*, 'a' 'b')\". expected: \")\""),
    ("var x = 1m30s )", 'unexpected ) line 1 char 15 in "x = 1m30s )". expected: ' + VALUE),
    ("f(10ns)", 'unexpected identifier line 1 char 5 in "f(10ns)". expected: ")"'),
    ("f(1.5h)", 'unexpected identifier line 1 char 6 in "f(1.5h)". expected: ")"'),
    ("f(1e5)", 'unexpected identifier line 1 char 4 in "f(1e5)". expected: ")"'),
    ("a =! b", 'unexpected = line 1 char 3 in "a =! b". expected: ' + VALUE),
    ("a => b", 'unexpected = line 1 char 3 in "a => b". expected: ' + VALUE),
    ("a <> b", "unexpected unknown state, last char: '>' line 1 char 4 in \"a <> b\". expected: " + VALUE),
    ("a === b", "unexpected unknown state, last char: '=' line 1 char 5 in \"a === b\". expected: " + VALUE),
    ("x = = y", 'unexpected = line 1 char 3 in "x = = y". expected: ' + VALUE),
    (";", "unexpected unknown state, last char: ';' line 1 char 1 in \";\". expected: " + VALUE),
    ("{", "unexpected unknown state, last char: '{' line 1 char 1 in \"{\". expected: " + VALUE),
    ("}", "unexpected unknown state, last char: '}' line 1 char 1 in \"}\". expected: " + VALUE),
    ("^", "unexpected unknown state, last char: '^' line 1 char 1 in \"^\". expected: " + VALUE),
    ("~a", "unexpected unknown state, last char: '~' line 1 char 1 in \"~a\". expected: " + VALUE),
    ("a ~ b", "unexpected unknown state, last char: '~' line 1 char 3 in \"a ~ b\". expected: " + VALUE),
    ("a && b", "unexpected unknown state, last char: '&' line 1 char 3 in \"a && b\". expected: " + VALUE),
    ("a || b", 'unexpected | line 1 char 4 in "a || b". expected: "identifier"'),
    ("\\", "unexpected unknown state, last char: '\\\\' line 1 char 1 in \"\\\". expected: " + VALUE),
    ("`a`", "unexpected unknown state, last char: '`' line 1 char 1 in \"`a`\". expected: " + VALUE),
    ("a:b", "unexpected unknown state, last char: ':' line 1 char 2 in \"a:b\". expected: " + VALUE),
    ("😀", "unexpected unknown state, last char: '😀' line 1 char 1 in \"😀\". expected: " + VALUE),
    ("\x00", "unexpected unknown state, last char: '\\x00' line 1 char 1 in \"\x00\". expected: " + VALUE),
    ("a\x7f", "unexpected unknown state, last char: '\\x7f' line 1 char 2 in \"a\x7f\". expected: " + VALUE),
    ("x\n\t)", 'unexpected ) line 2 char 2 in "\t)". expected: ' + VALUE),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors_are_kapacitors(text: str, message: str) -> None:
    assert messages(text)[0] == "parser: " + message


def test_every_cause_is_told_once_and_in_order() -> None:
    text = (
        "var a = )\nvar b = 08\nstream\n    |from()\n        .where(lambda: a and b)\nvar c = 5 +\nvar d = 6\nx 'ok'\n"
    )
    with pytest.raises(TickError) as caught:
        parse(text)
    source = Source(text)
    assert [d.span and source.line_char(d.span.start) for d in caught.value.diagnostics] == [
        (1, 9), (2, 9), (5, 26), (7, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["f('a)\nvar x = 'b'\nvar y = )", 'f("a)\nvar y = )', "var a = '''x\nvar y = )"])
def test_quotes_out_of_step_give_one_error(text: str) -> None:
    assert len(messages(text)) == 1


def test_the_number_of_errors_is_limited() -> None:
    assert len(messages("var x = )\n" * 1000)) == mistakes.MAX_ERRORS


@pytest.mark.parametrize(("hint", "examples"), _EXAMPLES + _AFTER)
def test_examples_get_their_hint(hint: str, examples: tuple[str, ...]) -> None:
    for example in examples:
        with pytest.raises(TickError) as caught:
            parse(example)
        assert caught.value.diagnostics[0].hint == hint, example


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("stream|window().period(1m30s)", "a duration has one unit: write 90s for 1m30s"),
        ("stream|window().period(1min)", "the units are u, ms, s, m, h, d and w: write 1m for 1min"),
        ("stream|window().period(10ns)", "there are no nanoseconds; the smallest unit is u, a microsecond"),
        ("stream|window().period(1.5h)", "a duration is a whole number of its unit: write 90m for 1.5h"),
        ("f('it's')", "a quote inside a string is written \\'"),
        ("f(a b)", "separate arguments with a comma, or close the bracket before this"),
        ("f(a\n|g()", "close the `(` of line 1 char 2 with `)`"),
        ("f(a\n", "close the `(` of line 1 char 2 with `)`"),
        ("var x = (\nvar y = 2", "close the `(` of line 1 char 9 with `)`"),
        ("var x = ['a'\nvar y = 2", "close the `[` of line 1 char 9 with `]`"),
        ("f(a))", "take the `)` away: nothing is open here that it closes"),
        ("var x = 1 +\nvar y = 2", "a value is missing after `+`"),
        ("f('a)\n|g('b')", "the string of line 1 char 3 goes on over the end of its line: is a ' missing there?"),
        ("var x = 089", "a leading zero makes a number octal: write 89"),
    ],
)
def test_hints(text: str, hint: str) -> None:
    with pytest.raises(TickError) as caught:
        parse(text)
    assert caught.value.diagnostics[0].hint == hint


@pytest.mark.parametrize(
    "text",
    ["(" * 10_000 + "a" + ")" * 10_000, "-" * 10_000 + "a", "f(" * 10_000, "(-" * 150, "a" + " + a - a" * 10_000,
     "a" + "|f()" * 20_000, "a OR b AND c == d < e + f * (" * 170 + "g" + ")" * 170],
)  # fmt: skip
def test_deep_scripts_are_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    (message,) = messages(text)
    assert message.startswith("the script is nested too deeply")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "text",
    ["(" * 199 + "a" + ")" * 199, "var x = " + "a" + " + a - a" * 450, "var x = " + " OR ".join("a" * 20_000),
     "var x = " + "a OR " * 9_000 + " AND ".join("b" * 9_000), "a" + "|f()" * 900,
     "var x = " + "a OR b AND c == d < e + f * (" * 140 + "g" + ")" * 140],
)  # fmt: skip
def test_what_is_just_not_too_deep_can_be_walked(text: str) -> None:
    for statement in parse(text).statements:
        assert extent(statement).stop <= len(text)
        assert statement == parse(text).statements[0] and hash(statement)


def test_long_scripts_are_refused() -> None:
    (message,) = messages("a\n" * 5_000_000)
    assert message == "the script is too long: 9.5 MiB, and 4 MiB is the limit"
    assert parse("a" + " " * (MAX_BYTES - 1)).statements


@pytest.mark.parametrize(
    "text", ["'" + "\\" * 200_000, "//\n" * 100_000, " " * 500_000 + "#", "'" * 100_001, "9" * 200_000]
)
def test_lexing_takes_linear_time(text: str) -> None:
    started = time.perf_counter()
    Lexer(Source(text)).run()
    assert time.perf_counter() - started < 5


def test_bytes_that_are_no_utf8() -> None:
    text = b"var a = '\xff' \xff".decode("utf-8", "surrogateescape")
    assert messages(text)[0].startswith("parser: unexpected unknown state, last char: '\ufffd' line 1 char 13 in ")


def test_threads_can_parse_at_once() -> None:
    text = 'stream\n    |from()\n        .where(lambda: "a" >\n 1)\n' * 20
    expected = parse(text)
    results: list[Program] = []
    threads = [threading.Thread(target=lambda: results.extend(parse(text) for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 20
