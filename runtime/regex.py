"""Regular expressions as Go's `regexp` has them: RE2 syntax, leftmost-first, linear time, and Go's words for errors."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re2

_NEST_LIMIT = 1000  # Go's regexp/syntax; RE2 itself has no such limit

# RE2's words for an error -> Go's; RE2 and Go go through a pattern in the same way and quote the same part of it.
_GO_WORDS = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid escape sequence": "invalid escape sequence",
    "invalid character class": "invalid character class",
    "invalid character class range": "invalid character class range",
    "invalid named capture group": "invalid named capture",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid UTF-8": "invalid UTF-8",
}


@lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Any:
    """`pattern` compiled by RE2, with `search`, `sub` and so on. ValueError with Go's text where Go refuses it."""
    import re2

    options = re2.Options()
    options.log_errors = False
    if byte_only := re.search(
        r"(?:[^\\]|^)(?:\\\\)*(\\C)", pattern
    ):  # RE2 matches a byte with it, Go has no such thing
        raise ValueError(f"error parsing regexp: invalid escape sequence: `{byte_only[1]}`")
    if pattern.count("(") >= _NEST_LIMIT and _nesting(pattern) >= _NEST_LIMIT:
        raise ValueError(f"error parsing regexp: expression nests too deeply: `{pattern}`")
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        raise ValueError(f"error parsing regexp: {_go_text(error, pattern)}") from None


def _go_text(error: re2.error, pattern: str) -> str:
    said = error.args[0]
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    if text.startswith("trailing \\"):
        return "trailing backslash at end of expression: ``"
    words, found, quoted = text.partition(": ")
    if not found or words not in _GO_WORDS:
        return f"expression too large: `{pattern}`"
    if words == "invalid perl operator" and quoted.startswith(("(?<=", "(?<!")):  # to Go, a name that goes wrong
        rest = pattern[pattern.index(quoted) :]
        return f"invalid named capture: `{rest[: rest.find('>') + 1] or rest}`"
    return f"{_GO_WORDS[words]}: `{quoted}`"


def _nesting(pattern: str) -> int:
    """How deep groups nest in `pattern`, which may not be well formed."""
    depth = deepest = 0
    for token in re.findall(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|[()]", pattern, re.DOTALL):
        depth += (token == "(") - (token == ")")
        deepest = max(deepest, depth)
    return deepest
