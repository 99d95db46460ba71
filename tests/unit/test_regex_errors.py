"""Regular expressions: what Go accepts is accepted, what Go refuses is refused in Go's words."""

import pytest

from tickc.runtime.regex import compile_regex

REFUSED = [  # pattern, what Go's regexp says after `error parsing regexp: `
    ("[a", "missing closing ]: `[a`"),
    ("(a", "missing closing ): `(a`"),
    ("a)", "unexpected ): `a)`"),
    ("*", "missing argument to repetition operator: `*`"),
    ("a**", "invalid nested repetition operator: `**`"),
    ("a{2000}", "invalid repeat count: `{2000}`"),
    ("a{2,1}", "invalid repeat count: `{2,1}`"),
    ("\\8", "invalid escape sequence: `\\8`"),
    ("[z-a]", "invalid character class range: `z-a`"),
    ("(?P<n", "invalid named capture: `(?P<n`"),
    ("(?P<a-b>x)", "invalid named capture: `(?P<a-b>`"),
    ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
    ("(?<=a)", "invalid named capture: `(?<=a)`"),
    ("(?<!a)b", "invalid named capture: `(?<!a)b`"),
    ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
    ("\\p{Foo}", "invalid character class range: `\\p{Foo}`"),
    ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
    ("\\", "trailing backslash at end of expression: ``"),
    ("\\C", "invalid escape sequence: `\\C`"),
    ("a\\\\\\C", "invalid escape sequence: `\\C`"),
    ("(?#c)", "invalid or unsupported Perl syntax: `(?#`"),
    ("\\é", "invalid escape sequence: `\\é`"),
    ("(a{500}){3}", "invalid repeat count: `{3}`"),
    ("x{1001}", "invalid repeat count: `{1001}`"),
]


@pytest.mark.parametrize(("pattern", "message"), REFUSED)
def test_go_words(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        compile_regex(pattern)
    assert str(caught.value) == f"error parsing regexp: {message}"


def test_groups_nest_as_deep_as_in_go() -> None:
    assert compile_regex("(" * 998 + "a" + ")" * 998)
    with pytest.raises(ValueError, match="expression nests too deeply"):
        compile_regex("(" * 1000 + "a" + ")" * 1000)
    assert compile_regex("[(]" * 1000 + r"\(" * 1000)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b+", "abba", True),
        ("^b", "abba", False),
        ("(?i)ERROR", "an error", True),
        (r"\pL", "5é", True),
        (r"\\C", "\\C", True),
        ("", "", True),
        ("[^é]$", "é", False),
        (r"(?P<year>\d{4})", "in 2026", True),
    ],
)
def test_search(pattern: str, text: str, found: bool) -> None:
    assert bool(compile_regex(pattern).search(text)) is found


def test_time_is_linear() -> None:
    assert not compile_regex("(a+)+$").search("a" * 10_000 + "b")
