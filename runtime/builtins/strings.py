"""Lambda functions on strings, as Go's package strings: offsets and lengths are bytes, sets and empty matches runes.

A string is a `str` in which a byte that is no UTF-8 is a surrogate escape. Where Go works on bytes the body does too;
where Go works on runes, such a byte counts as U+FFFD, as it does in Go.
"""

from __future__ import annotations

import functools

from tickc.runtime.builtins import EvalError, builtin
from tickc.runtime.kinds import Kind
from tickc.runtime.regex import Regex

_STRING = (Kind.STRING,)
_STRING2 = (Kind.STRING, Kind.STRING)

_BAD_BYTES = {0xDC00 + byte: "\ufffd" for byte in range(0x80, 0x100)}
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"  # fmt: skip  # noqa: E501


def to_bytes(text: str) -> bytes:
    """The bytes that `text` stands for."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """`data` as a string, with surrogate escapes for what is no UTF-8."""
    return data.decode("utf-8", "surrogateescape")


def _runes(text: str) -> str:
    """`text` as Go's `range` sees it."""
    return text if text.isascii() else text.translate(_BAD_BYTES)


@builtin("strContains", _STRING2, Kind.BOOL, examples={"strContains('cpu.load', 'load')": True})
def str_contains(value: str, part: str) -> bool:
    """Whether `part` occurs in `value`."""
    return to_bytes(part) in to_bytes(value)


@builtin("strContainsAny", _STRING2, Kind.BOOL, examples={"strContainsAny('abc', 'xyzc')": True})
def str_contains_any(value: str, chars: str) -> bool:
    """Whether any character of `chars` occurs in `value`."""
    return str_index_any(value, chars) >= 0


@builtin(
    "strCount",
    _STRING2,
    Kind.INT,
    examples={"strCount('cheese', 'e')": 3, "strCount('five', '')": 5, "strCount('aaa', 'aa')": 1},
)
def str_count(value: str, part: str) -> int:
    """How often `part` occurs without overlap; an empty one counts the characters, plus one."""
    return to_bytes(value).count(to_bytes(part)) if part else len(value) + 1


@builtin(
    "strHasPrefix",
    _STRING2,
    Kind.BOOL,
    examples={"strHasPrefix('cpu.load', 'cpu')": True, "strHasPrefix('', 'a')": False},
)
def str_has_prefix(value: str, prefix: str) -> bool:
    """Whether `value` begins with `prefix`."""
    return to_bytes(value).startswith(to_bytes(prefix))


@builtin("strHasSuffix", _STRING2, Kind.BOOL, examples={"strHasSuffix('cpu.load', 'load')": True})
def str_has_suffix(value: str, suffix: str) -> bool:
    """Whether `value` ends with `suffix`."""
    return to_bytes(value).endswith(to_bytes(suffix))


@builtin("strIndex", _STRING2, Kind.INT, examples={"strIndex('héllo', 'l')": 3, "strIndex('a', 'b')": -1})
def str_index(value: str, part: str) -> int:
    """The byte offset of the first `part` in `value`, -1 without one."""
    return to_bytes(value).find(to_bytes(part))


@builtin("strIndexAny", _STRING2, Kind.INT, examples={"strIndexAny('golang', 'ny')": 4})
def str_index_any(value: str, chars: str) -> int:
    """The byte offset of the first of `chars` in `value`, -1 without one."""
    wanted = set(_runes(chars))
    for i, rune in enumerate(_runes(value)):
        if rune in wanted:
            return len(to_bytes(value[:i]))
    return -1


@builtin("strLastIndex", _STRING2, Kind.INT, examples={"strLastIndex('hello', 'l')": 3, "strLastIndex('ab', '')": 2})
def str_last_index(value: str, part: str) -> int:
    """The byte offset of the last `part` in `value`, -1 without one."""
    return to_bytes(value).rfind(to_bytes(part))


@builtin("strLastIndexAny", _STRING2, Kind.INT, examples={"strLastIndexAny('golang', 'go')": 5})
def str_last_index_any(value: str, chars: str) -> int:
    """The byte offset of the last of `chars` in `value`, -1 without one."""
    wanted = set(_runes(chars))
    runes = _runes(value)
    for i in range(len(runes) - 1, -1, -1):
        if runes[i] in wanted:
            return len(to_bytes(value[:i]))
    return -1


@builtin("strLength", _STRING, Kind.INT, examples={"strLength('hello')": 5, "strLength('héllo')": 6})
def str_length(value: str) -> int:
    """The length of `value` in bytes."""
    return len(to_bytes(value))


@builtin(
    "strReplace",
    (Kind.STRING, Kind.STRING, Kind.STRING, Kind.INT),
    Kind.STRING,
    examples={
        "strReplace('oink oink oink', 'k', 'ky', 2)": "oinky oinky oink",
        "strReplace('oink', 'oink', 'moo', -1)": "moo",
        "strReplace('ab', '', '-', -1)": "-a-b-",
    },
)
def str_replace(value: str, old: str, new: str, n: int) -> str:
    """`value` with the first n `old` replaced, all if n is negative; an empty `old` is found between characters."""
    if old:
        return from_bytes(to_bytes(value).replace(to_bytes(old), to_bytes(new), int(n)))
    return from_bytes(to_bytes(value.replace("", new, int(n))))


@builtin(
    "strSubstring",
    (Kind.STRING, Kind.INT, Kind.INT),
    Kind.STRING,
    examples={
        "strSubstring('hello', 1, 3)": "el",
        "strSubstring('hello', 0, 5)": EvalError("stop index too large for string in strSubstring: 5"),
        "strSubstring('hello', -1, 2)": EvalError("found negative index for strSubstring: -1"),
        "strSubstring('hello', 3, 2)": EvalError("runtime error: slice bounds out of range [3:2]"),
    },
)
def str_substring(value: str, start: int, stop: int) -> str:
    """The bytes start to stop of `value`, `stop` excluded; Kapacitor wants `stop` below the length."""
    data = to_bytes(value)
    for index in (start, stop):
        if index < 0:
            raise EvalError(f"found negative index for strSubstring: {index}")
    if stop >= len(data):
        raise EvalError(f"stop index too large for string in strSubstring: {stop}")
    if start > stop:
        raise EvalError(f"runtime error: slice bounds out of range [{start}:{stop}]")
    return from_bytes(data[start:stop])


# Characters whose case mappings came with Unicode 16; Go 1.26 has Unicode 15, Python 3.14 has 16
_LATER = {0x019B, 0x0264, 0x1C89, 0x1C8A, *range(0xA7CB, 0xA7CE), 0xA7DA, 0xA7DB, 0xA7DC, *range(0x10D50, 0x10D86)}


@functools.lru_cache(maxsize=4096)
def _lower(c: str) -> str:
    """Unicode's simple lower-case mapping, always one character."""
    if c == "İ":
        return "i"
    lower = c.lower()
    return lower if len(lower) == 1 and ord(c) not in _LATER else c


@functools.lru_cache(maxsize=4096)
def _upper(c: str) -> str:
    """Unicode's simple upper-case mapping: for Greek with iota subscript it is the title case, for ß there is none."""
    if ord(c) in _LATER:
        return c
    upper, title = c.upper(), c.title()
    if len(upper) == 1:
        return upper
    return title if len(title) == 1 else c


@builtin("strToLower", _STRING, Kind.STRING, examples={"strToLower('GoPher')": "gopher"})
def str_to_lower(value: str) -> str:
    """`value` in lower case, character by character."""
    return value.lower() if value.isascii() else "".join(map(_lower, _runes(value)))


@builtin("strToUpper", _STRING, Kind.STRING, examples={"strToUpper('straße')": "STRAßE"})
def str_to_upper(value: str) -> str:
    """`value` in upper case, character by character."""
    return value.upper() if value.isascii() else "".join(map(_upper, _runes(value)))


@builtin("strTrim", _STRING2, Kind.STRING, examples={"strTrim('!!a!b!', '!')": "a!b"})
def str_trim(value: str, chars: str) -> str:
    """`value` without the characters of `chars` at both ends."""
    return str_trim_right(str_trim_left(value, chars), chars)


@builtin("strTrimLeft", _STRING2, Kind.STRING, examples={"strTrimLeft('xxabxx', 'x')": "abxx"})
def str_trim_left(value: str, chars: str) -> str:
    """`value` without the characters of `chars` at its beginning."""
    runes = _runes(value)
    return value[len(runes) - len(runes.lstrip(_runes(chars))) :] if chars else value


@builtin("strTrimRight", _STRING2, Kind.STRING, examples={"strTrimRight('xxabxx', 'x')": "xxab"})
def str_trim_right(value: str, chars: str) -> str:
    """`value` without the characters of `chars` at its end."""
    return value[: len(_runes(value).rstrip(_runes(chars)))] if chars else value


@builtin("strTrimPrefix", _STRING2, Kind.STRING, examples={"strTrimPrefix('cpu.cpu.x', 'cpu.')": "cpu.x"})
def str_trim_prefix(value: str, prefix: str) -> str:
    """`value` without one `prefix` at its beginning."""
    return from_bytes(to_bytes(value).removeprefix(to_bytes(prefix)))


@builtin("strTrimSuffix", _STRING2, Kind.STRING, examples={"strTrimSuffix('load.avg', '.avg')": "load"})
def str_trim_suffix(value: str, suffix: str) -> str:
    """`value` without one `suffix` at its end."""
    return from_bytes(to_bytes(value).removesuffix(to_bytes(suffix)))


@builtin("strTrimSpace", _STRING, Kind.STRING, examples={"strTrimSpace('  a b\t')": "a b"})
def str_trim_space(value: str) -> str:
    """`value` without white space, in Unicode's sense, at both ends."""
    return value.strip(_SPACE)


@builtin(
    "regexReplace",
    (Kind.REGEX, Kind.STRING, Kind.STRING),
    Kind.STRING,
    examples={
        "regexReplace(/a(x*)b/, '-ab-axxb-', 'T')": "-T-T-",
        "regexReplace(/a(x*)b/, '-ab-axxb-', '$1')": "--xx-",
        "regexReplace(/a(x*)b/, '-ab-axxb-', '${1}W')": "-W-xxW-",
    },
)
def regex_replace(pattern: Regex, value: str, replacement: str) -> str:
    """`value` with every match replaced; `$1`, `${1}`, `$name` in `replacement` are what the groups matched."""
    return pattern.replace_all(value, replacement)
