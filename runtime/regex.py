"""Regular expressions as Go's package regexp has them, matched by RE2 (module `re2`).

Go's package and RE2 share the syntax, the leftmost-first rule and the linear time, but not every detail: names of
groups may repeat in Go, `\\C` is refused, Unicode classes have more names, messages differ. So a pattern is read here
by Go's rules (regexp/syntax, Perl flags), which gives Go's errors, and handed to RE2 in a form that both understand.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_REPEAT = 1000  # also of nested repetitions, multiplied
MAX_HEIGHT = 1000  # of the tree of operators
MAX_MEMORY = 64 << 20  # bytes that RE2 may use for a program and its automata; Go allows about as much


class RegexError(ValueError):
    """A pattern that Go refuses; the text is Go's, `error parsing regexp: missing closing ]: `[a``."""

    def __init__(self, problem: str, part: str) -> None:
        super().__init__(f"error parsing regexp: {problem}: `{part}`")


@dataclass(frozen=True)
class Regex:
    """A compiled pattern. Strings may hold surrogate escapes: such a byte matches as U+FFFD does."""

    pattern: str
    names: tuple[str, ...]  # of the groups; "" where one has none and for the whole match
    has_no_boundary: bool  # it uses \B
    matcher: Any = field(repr=False, compare=False)

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        return self._find(_valid(text), 0) is not None

    def replace_all(self, text: str, template: str) -> str:
        """`text` with each match replaced by `template`, in which `$1`, `${1}`, `$name`, `${name}` stand for groups.

        As Regexp.ReplaceAllString: a name is as long as it can be, an unknown one is empty, `$$` is a dollar; an
        empty match right after another match is left alone.
        """
        parts = _template(template)
        out: list[str] = []
        end = 0
        for spans in self._matches(_valid(text)):
            start, stop = spans[0]
            out.append(text[end:start])
            if stop > end or start == 0:
                out.extend(part if literal else self._group(text, part, spans) for literal, part in parts)
            end = stop
        out.append(text[end:])
        return "".join(out).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    def _matches(self, text: str) -> Iterator[list[tuple[int, int]]]:
        """The spans of all groups of each match, (-1, -1) for a group that took no part."""
        position = 0
        while position <= len(text):
            found = self._find(text, position)
            if found is None:
                return
            yield [found.span(i) for i in range(len(self.names))]
            position = max(found.end(), position + 1)

    def _find(self, text: str, position: int) -> Any:
        """The first match from `position` on. RE2 finds `\\B` between two bytes of a character; that is no match."""
        if self.has_no_boundary and not text.isascii():
            data = text.encode()
            while found := self.matcher.search(data, len(text[:position].encode())):
                start = len(data[: found.start()].decode("utf-8", "ignore"))
                if len(text[:start].encode()) == found.start():
                    return self.matcher.search(text, start)
                position = start + 1
            return None
        return self.matcher.search(text, position)

    def _group(self, text: str, name: str, spans: list[tuple[int, int]]) -> str:
        """What the group `name` matched; of several with the name, the first that took part."""
        if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
            chosen = [int(name)] if int(name) < len(spans) else []
        else:
            chosen = [i for i, known in enumerate(self.names) if known == name]
        for i in chosen:
            if spans[i][0] >= 0:
                return text[spans[i][0] : spans[i][1]]
        return ""


@functools.lru_cache(maxsize=1024)
def compile_regex(pattern: str) -> Regex:
    """The compiled form of a Go regular expression, or ValueError with Go's message."""
    import re2

    reader = _Reader(pattern)
    translated = reader.translate()
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    try:
        matcher = re2.compile(translated, options)
    except re2.error:
        raise RegexError("expression too large", pattern) from None
    return Regex(pattern, tuple(reader.names), reader.has_no_boundary, matcher)


_BAD_BYTES = {0xDC00 + byte: "\ufffd" for byte in range(0x80, 0x100)}


def _valid(text: str) -> str:
    return text if text.isascii() else text.translate(_BAD_BYTES)


@functools.lru_cache(maxsize=256)
def _template(template: str) -> list[tuple[bool, str]]:
    """Parts of a replacement: (True, literal text) or (False, name or number of a group)."""
    parts: list[tuple[bool, str]] = []
    while template:
        before, dollar, template = template.partition("$")
        parts.append((True, before))
        if not dollar:
            break
        if template.startswith("$"):
            parts.append((True, "$"))
            template = template[1:]
            continue
        name, length = _group_name(template)
        parts.append((False, name) if name else (True, "$"))
        template = template[length:]
    return parts


def _group_name(text: str) -> tuple[str, int]:
    """The group named at the beginning of `text` and how long that is; ("", 0) where none is."""
    brace = text.startswith("{")
    end = int(brace)
    while end < len(text) and (text[end].isalpha() or text[end].isdecimal() or text[end] == "_"):
        end += 1
    name = text[int(brace) : end]
    if not name or (brace and text[end : end + 1] != "}"):
        return "", 0
    return name, end + brace


# Reading patterns

_POSIX = {
    f"[:{sign}{name}:]"
    for name in (
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
        "lower", "print", "punct", "space", "upper", "word", "xdigit",
    )
    for sign in ("", "^")
}  # fmt: skip
_CATEGORIES = {
    "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No",
    "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
}  # fmt: skip
_CATEGORY_ALIASES = {
    "Casedletter": "Lc", "Closepunctuation": "Pe", "Combiningmark": "M", "Connectorpunctuation": "Pc",
    "Control": "Cc", "Currencysymbol": "Sc", "Dashpunctuation": "Pd", "Decimalnumber": "Nd", "Enclosingmark": "Me",
    "Finalpunctuation": "Pf", "Format": "Cf", "Initialpunctuation": "Pi", "Letter": "L", "Letternumber": "Nl",
    "Lineseparator": "Zl", "Lowercaseletter": "Ll", "Mark": "M", "Mathsymbol": "Sm", "Modifierletter": "Lm",
    "Modifiersymbol": "Sk", "Nonspacingmark": "Mn", "Number": "N", "Openpunctuation": "Ps", "Other": "C",
    "Otherletter": "Lo", "Othernumber": "No", "Otherpunctuation": "Po", "Othersymbol": "So",
    "Paragraphseparator": "Zp", "Privateuse": "Co", "Punctuation": "P", "Separator": "Z", "Spaceseparator": "Zs",
    "Spacingmark": "Mc", "Surrogate": "Cs", "Symbol": "S", "Titlecaseletter": "Lt", "Unassigned": "Cn",
    "Uppercaseletter": "Lu", "Cntrl": "Cc", "Digit": "Nd", "Punct": "P",
}  # fmt: skip
_REPEAT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_NAME = re.compile(r"[0-9A-Za-z_]+")
_SIMPLE_ESCAPES = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass
class _Group:
    """A group that is open: what has been read of it, as far as limits and errors depend on it."""

    items: int = 0  # in the branch being read
    height: int = 0  # of the highest of them
    branches: int = 0  # that are complete
    branch_height: int = 0
    repeats: int = 1  # the largest product of nested repetitions
    last: tuple[int, int] | None = None  # height and repeats of the item that a repetition would take
    last_is_literal: bool = False
    captures: bool = False

    def push(self, height: int, repeats: int, literal: bool = False) -> None:
        """Add an item; adjacent literals are one."""
        if not (literal and self.last_is_literal):
            self.items += 1
        self.last, self.last_is_literal = (height, repeats), literal
        self.height, self.repeats = max(self.height, height), max(self.repeats, repeats)

    def repeat(self, factor: int) -> None:
        """Repeat the last item, `factor` times as far as the limit is concerned."""
        assert self.last is not None
        height, repeats = self.last
        self.items -= not self.last_is_literal
        self.push(height + 1, factor * repeats)

    def end_branch(self) -> None:
        """A `|` or the end of the group."""
        self.branches += 1
        self.branch_height = max(self.branch_height, self.height + (self.items > 1), 1)
        self.items, self.height, self.last, self.last_is_literal = 0, 0, None, False

    def total_height(self) -> int:
        """The height of the whole group, once its last branch has ended."""
        return self.branch_height + (self.branches > 1) + self.captures


class _Reader:
    """Reads one pattern by Go's rules and writes it for RE2: `names` are those of the groups afterwards."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.names = [""]
        self.has_no_boundary = False
        self.open = [_Group()]
        self.out: list[str] = []

    def translate(self) -> str:
        """The pattern in RE2's syntax, without names of groups."""
        previous_repeat = -1  # where the repetition began that was read last, if one was
        while self.position < len(self.pattern):
            start = self.position
            previous_repeat = start if self._step(previous_repeat) else -1
        if len(self.open) > 1:
            raise RegexError("missing closing )", self.pattern)
        self._close()
        return "".join(self.out)

    def _step(self, previous_repeat: int) -> bool:
        """Read one element; whether it was a repetition."""
        c = self.pattern[self.position]
        match c:
            case "*" | "+" | "?":
                self._repeat(1, self.position + 1, 1, previous_repeat)
                return True
            case "{" if found := _REPEAT.match(self.pattern, self.position):
                self._counted(found, previous_repeat)
                return True
            case "(":
                self._open()
            case "|":
                self.open[-1].end_branch()
                self._write("|", 1)
            case ")":
                self._close_group()
            case "^" | "$" | ".":
                self.open[-1].push(1, 1)
                self._write(c, 1)
            case "[":
                self._class()
            case "\\":
                self._backslash()
            case _:
                self._literal(self._rune())
        return False

    def _write(self, text: str, length: int) -> None:
        """Put `text` in the place of `length` characters."""
        self.out.append(text)
        self.position += length

    def _rune(self) -> str:
        """The next character, which must be UTF-8."""
        c = self.pattern[self.position]
        self._check_utf8(c, self.position)
        self.position += 1
        return c

    def _check_utf8(self, text: str, start: int) -> None:
        for i, c in enumerate(text):
            if "\udc80" <= c <= "\udcff":
                raise RegexError("invalid UTF-8", self.pattern[start + i :])

    def _literal(self, c: str) -> None:
        self.open[-1].push(1, 1, literal=True)
        self.out.append(_escaped(c))

    # Repetition

    def _counted(self, found: re.Match[str], previous_repeat: int) -> None:
        low = int(found[1])
        high = low if not found[2] else int(found[3]) if found[3] else -1
        if low > MAX_REPEAT or high > MAX_REPEAT or 0 <= high < low:
            raise RegexError("invalid repeat count", found[0])
        factor = low if high < 0 else high
        self._repeat(factor, found.end(), max(low, high), previous_repeat)

    def _repeat(self, factor: int, end: int, largest: int, previous_repeat: int) -> None:
        """A repetition up to `end`; `largest` of its numbers decides whether the product is checked."""
        start = self.position
        if self.pattern.startswith("?", end):
            end += 1
        if previous_repeat >= 0:
            raise RegexError("invalid nested repetition operator", self.pattern[previous_repeat:end])
        group = self.open[-1]
        if group.last is None:
            raise RegexError("missing argument to repetition operator", self.pattern[start:end])
        counted = self.pattern[start] == "{"
        group.repeat((factor or int(largest > 0)) if counted else 1)
        assert group.last is not None
        if counted and largest >= 2 and group.last[1] > MAX_REPEAT:
            raise RegexError("invalid repeat count", self.pattern[start:end])
        self._check_height(group.last[0])
        self._write(self.pattern[start:end], end - start)

    def _check_height(self, height: int) -> None:
        if height > MAX_HEIGHT:
            raise RegexError("expression nests too deeply", self.pattern)

    # Groups

    def _open(self) -> None:
        rest = self.pattern[self.position :]
        if not rest.startswith("(?"):
            self._start_group("")
            self._write("(", 1)
        elif (len(rest) > 4 and rest.startswith("(?P<")) or (len(rest) > 3 and rest.startswith("(?<")):
            self._named_group(rest)
        else:
            self._flags(rest)

    def _start_group(self, name: str) -> None:
        self.names.append(name)
        self.open.append(_Group(captures=True))

    def _named_group(self, rest: str) -> None:
        start, end = rest.index("<") + 1, rest.find(">")
        self._check_utf8(rest[:end] if end >= 0 else rest, self.position)
        if end < 0:
            raise RegexError("invalid named capture", rest)
        if not _NAME.fullmatch(rest, start, end):
            raise RegexError("invalid named capture", rest[: end + 1])
        self._start_group(rest[start:end])
        self._write("(", end + 1)

    def _flags(self, rest: str) -> None:
        """`(?flags)` or `(?flags:`, flags being letters of imsU, a minus, letters."""
        found = re.match(r"\(\?[imsU]*(-[imsU]+)?([:)])", rest)
        if found is None:
            good = re.match(r"\(\?[imsU]*(-[imsU]*)?", rest)
            assert good is not None
            self._check_utf8(rest[good.end() : good.end() + 1], self.position + good.end())
            raise RegexError("invalid or unsupported Perl syntax", rest[: good.end() + 1])
        if found[2] == ":":
            self.open.append(_Group())
        self._write(found[0], found.end())

    def _close_group(self) -> None:
        if len(self.open) == 1:
            raise RegexError("unexpected )", self.pattern)
        self._close()
        self._write(")", 1)

    def _close(self) -> None:
        group = self.open[-1]
        group.end_branch()
        self._check_height(group.total_height())
        if len(self.open) > 1:
            self.open.pop()
            self.open[-1].push(group.total_height(), group.repeats)

    # Escapes and classes

    def _backslash(self) -> None:
        following = self.pattern[self.position + 1 : self.position + 2]
        if following == "Q":
            quoted, end, _ = self.pattern[self.position + 2 :].partition("\\E")
            self._check_utf8(quoted, self.position + 2)
            for c in quoted:
                self._literal(c)
            self.position += 2 + len(quoted) + len(end)
        elif following and following in "AbBz":
            self.has_no_boundary |= following == "B"
            self.open[-1].push(1, 1)
            self._write(f"\\{following}", 2)
        elif (text := self._class_escape(inside=False)) is not None:
            self.open[-1].push(1, 1)
            self.out.append(text)
        else:
            self._literal(self._escape())

    def _class_escape(self, inside: bool) -> str | None:
        """`\\d` and its like or `\\p{…}`, for RE2; None, and nothing read, for anything else."""
        following = self.pattern[self.position + 1 : self.position + 2]
        if following and following in "dDsSwW":
            self.position += 2
            return f"\\{following}"
        if following and following in "pP":
            return self._unicode_class(inside)
        return None

    def _unicode_class(self, inside: bool) -> str:
        start = self.position
        negated = self.pattern[start + 1] == "P"
        end = start + 3
        name = self.pattern[start + 2 : end]
        self._check_utf8(name, start + 2)
        if name == "{":
            end = self.pattern.find("}", start) + 1
            self._check_utf8(self.pattern[start : end or None], start)
            if not end:
                raise RegexError("invalid character class range", self.pattern[start:])
            name = self.pattern[start + 3 : end - 1]
        if name.startswith("^"):
            negated, name = not negated, name[1:]
        text = _unicode_text(name, negated, inside)
        if text is None:
            raise RegexError("invalid character class range", self.pattern[start:end])
        self.position = end
        return text

    def _class(self) -> None:
        start = self.position
        self.position += 1
        out = ["["]
        if self.pattern.startswith("^", self.position):
            out.append("^")
            self.position += 1
        first = True
        while first or not self.pattern.startswith("]", self.position):
            first = False
            out.append(self._class_item(start))
        self.open[-1].push(1, 1)
        self._write("".join(out) + "]", 1)

    def _class_item(self, class_start: int) -> str:
        start = self.position
        if self.pattern.startswith("[:", start) and (end := self.pattern.find(":]", start + 2)) >= 0:
            name = self.pattern[start : end + 2]
            if name not in _POSIX:
                raise RegexError("invalid character class range", name)
            self.position = end + 2
            return name
        if self.pattern.startswith("\\", start) and (text := self._class_escape(inside=True)) is not None:
            return text
        low = high = self._class_rune(class_start)
        if self.pattern.startswith("-", self.position) and self.pattern[self.position + 1 : self.position + 2] not in (
            "",
            "]",
        ):
            self.position += 1
            high = self._class_rune(class_start)
            if high < low:
                raise RegexError("invalid character class range", self.pattern[start : self.position])
        return _code(low) if low == high else f"{_code(low)}-{_code(high)}"

    def _class_rune(self, class_start: int) -> str:
        if self.position >= len(self.pattern):
            raise RegexError("missing closing ]", self.pattern[class_start:])
        return self._escape() if self.pattern[self.position] == "\\" else self._rune()

    def _escape(self) -> str:
        """The character that an escape stands for."""
        start = self.position
        self.position += 1
        if self.position >= len(self.pattern):
            raise RegexError("trailing backslash at end of expression", "")
        c = self._rune()
        if c in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[c]
        if c == "x":
            return self._hexadecimal(start)
        octal = re.compile("0[0-7]{0,2}|[1-7][0-7]{1,2}").match(self.pattern, start + 1)
        if octal:
            self.position = octal.end()
            return chr(int(octal[0], 8))
        if c.isascii() and not c.isalnum():
            return c
        raise RegexError("invalid escape sequence", self.pattern[start : self.position])

    def _hexadecimal(self, start: int) -> str:
        """The rest of `\\x7f` or `\\x{10ffff}`."""
        found = re.compile(r"\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2})").match(self.pattern, self.position)
        if found and (code := int(found[1] or found[2], 16)) <= sys.maxunicode:
            self.position = found.end()
            return chr(code)
        raise RegexError("invalid escape sequence", self.pattern[start : self._bad_hexadecimal_end()])

    def _bad_hexadecimal_end(self) -> int:
        """Where Go gives up reading: at the first character that cannot be, or that makes the number too large."""
        text, i, code = self.pattern, self.position, 0
        if not text.startswith("{", i):
            self._check_utf8(text[i : i + 2], i)
            return min(i + 2, len(text))
        i += 1
        while i < len(text) and re.fullmatch("[0-9a-fA-F]", text[i]) and code <= sys.maxunicode:
            code = code * 16 + int(text[i], 16)
            i += 1
        if code > sys.maxunicode:
            return i
        self._check_utf8(text[i : i + 1], i)
        return min(i + 1, len(text))


def _code(c: str) -> str:
    return c if c.isascii() and c.isalnum() else f"\\x{{{ord(c):x}}}"


def _escaped(c: str) -> str:
    return c if c.isalnum() else _code(c)


def _unicode_text(name: str, negated: bool, inside: bool) -> str | None:
    """RE2's text for a Unicode class, `inside` brackets or not; None where Go does not know `name`."""
    name = re.sub("[-_ ]", "", name)
    name = "".join(c.lower() if c.isascii() else c for c in name)
    if name[:1].isascii():
        name = name[:1].upper() + name[1:]
    name = _CATEGORY_ALIASES.get(name, name)
    if name in ("Any", "Assigned", "Ascii", "Lc", "C", "Cn"):
        ranges = _ranges(name, negated)
        return ranges if inside else f"[{ranges}]"
    if name in _CATEGORIES or _is_script(name):
        return f"\\{'P' if negated else 'p'}{{{name}}}"
    return None


@functools.cache
def _is_script(name: str) -> bool:
    import re2

    options = re2.Options()
    options.log_errors = False
    if not re.fullmatch("[A-Z][a-z]+", name):
        return False
    try:
        re2.compile(f"\\p{{{name}}}", options)
    except re2.error:
        return False
    return True


@functools.cache
def _ranges(name: str, negated: bool) -> str:
    """The classes that RE2 lacks, or takes to be smaller, as ranges."""
    categories = {"Lc": ("Lu", "Ll", "Lt"), "C": ("Cc", "Cf", "Cn", "Co", "Cs"), "Cn": ("Cn",), "Assigned": ("Cn",)}
    if name == "Any":
        inside = [True] * (sys.maxunicode + 1)
    elif name == "Ascii":
        inside = [code < 0x80 for code in range(sys.maxunicode + 1)]
    else:
        wanted = categories[name]
        inside = [unicodedata.category(chr(code)) in wanted for code in range(sys.maxunicode + 1)]
    turned = negated != (name == "Assigned")
    out, start = [], 0
    for code in range(1, len(inside) + 1):
        if code == len(inside) or inside[code] != inside[start]:
            if inside[start] != turned:
                out.append(f"\\x{{{start:x}}}-\\x{{{code - 1:x}}}")
            start = code
    return "".join(out)
