"""Go's strconv for templates: quoting, unquoting, numbers in both directions.

A Go string is bytes; here it is a `str` in which a byte that is not part of valid UTF-8 is one lone surrogate
(Python's "surrogateescape"), so that `len` counts what Go counts as runes and no byte is lost.
"""

from __future__ import annotations

import math

MAX_RUNE = 0x10FFFF
RUNE_ERROR = 0xFFFD
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
UINT64_MASK = (1 << 64) - 1

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_UNESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_HEX = frozenset("0123456789abcdefABCDEF")
_BASES = {"x": 16, "o": 8, "b": 2}


class GoSyntaxError(ValueError):
    """strconv.ErrSyntax and its relatives; the message is Go's."""


def to_bytes(text: str) -> bytes:
    """The bytes of a Go string."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return clean(text).encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """The string of Go's bytes; bytes that are not UTF-8 survive as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def clean(text: str) -> str:
    """The text with surrogates that cannot come from bytes made U+FFFD."""
    return "".join("\ufffd" if 0xD800 <= ord(c) < 0xDC80 or 0xDD00 <= ord(c) < 0xE000 else c for c in text)


def rune(char: str) -> int:
    """The code point Go decodes: U+FFFD for a byte that is not UTF-8."""
    code = ord(char)
    return RUNE_ERROR if 0xD800 <= code < 0xE000 else code


def wrap64(value: int) -> int:
    """The value as an int64 after wrap-around."""
    return ((value + (1 << 63)) & UINT64_MASK) - (1 << 63)


def is_print(char: str) -> bool:
    """Go's strconv.IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space."""
    return char.isprintable()


def quote_ascii(text: str) -> str:
    """Go's strconv.QuoteToASCII."""
    return '"' + "".join(_quoted(c, '"', True) for c in text) + '"'


def quote_rune(code: int, ascii_only: bool = False) -> str:
    """Go's strconv.QuoteRune; what is no code point is quoted as U+FFFD."""
    if not 0 <= code <= MAX_RUNE or 0xD800 <= code < 0xE000:
        code = RUNE_ERROR
    return "'" + _quoted(chr(code), "'", ascii_only) + "'"


def _quoted(char: str, mark: str, ascii_only: bool) -> str:
    code = ord(char)
    if 0xDC80 <= code < 0xDD00:
        return f"\\x{code - 0xDC00:02x}"
    if char == mark or char == "\\":
        return "\\" + char
    if char.isprintable() and (code < 0x80 or not ascii_only):
        return char
    if char in _ESCAPES:
        return _ESCAPES[char]
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def can_backquote(text: str) -> bool:
    """Whether the text can stand between backquotes in Go source."""
    for char in text:
        code = ord(char)
        if code in (0x60, 0x7F, 0xFEFF) or (code < 0x20 and char != "\t") or 0xDC80 <= code < 0xDD00:
            return False
    return True


def unquote(literal: str) -> str:
    """The string that a Go string literal (either kind of quotes) stands for; raises GoSyntaxError."""
    if len(literal) < 2 or literal[0] != literal[-1] or literal[0] not in '"`':
        raise GoSyntaxError("invalid syntax")
    body = literal[1:-1]
    if literal[0] == "`":
        if "`" in body:
            raise GoSyntaxError("invalid syntax")
        return body.replace("\r", "")
    if "\\" not in body and '"' not in body and "\n" not in body:
        return body
    if "\n" in body:
        raise GoSyntaxError("invalid syntax")
    out = bytearray()
    at = 0
    while at < len(body):
        code, is_byte, at = unquote_char(body, at, '"')
        out += bytes((code,)) if is_byte else from_code(code)
    return from_bytes(bytes(out))


def from_code(code: int) -> bytes:
    """The bytes of one decoded character; a lone surrogate is the byte it stands for."""
    return to_bytes(chr(code))


def unquote_char(text: str, at: int, mark: str) -> tuple[int, bool, int]:
    """The character or byte at `at` of a literal's body: (value, whether it is one raw byte, where it ends)."""
    if at >= len(text):
        raise GoSyntaxError("invalid syntax")
    char = text[at]
    if char == mark:
        raise GoSyntaxError("invalid syntax")
    if char != "\\":
        return ord(char), False, at + 1
    if at + 1 >= len(text):
        raise GoSyntaxError("invalid syntax")
    char = text[at + 1]
    at += 2
    if char in _UNESCAPES:
        return _UNESCAPES[char], False, at
    if char in "xuU":
        width = {"x": 2, "u": 4, "U": 8}[char]
        code = _digits(text[at : at + width], width, 16)
        if char != "x" and (code > MAX_RUNE or 0xD800 <= code < 0xE000):
            raise GoSyntaxError("invalid syntax")
        return code, char == "x", at + width
    if char in "01234567":
        code = _digits(text[at - 1 : at + 2], 3, 8)
        if code > 255:
            raise GoSyntaxError("invalid syntax")
        return code, True, at + 2
    if char in "'\"" and char == mark:
        return ord(char), False, at
    raise GoSyntaxError("invalid syntax")


def _digits(text: str, width: int, base: int) -> int:
    allowed = _HEX if base == 16 else frozenset("01234567")
    if len(text) < width or any(c not in allowed for c in text):
        raise GoSyntaxError("invalid syntax")
    return int(text, base)


def underscores_ok(text: str) -> bool:
    """Go's rule: an underscore stands between digits or after a base prefix."""
    previous = "^"
    text = text[1:] if text[:1] in ("+", "-") else text
    is_hex = False
    if len(text) >= 2 and text[0] == "0" and text[1].lower() in _BASES:
        previous, is_hex, text = "0", text[1].lower() == "x", text[2:]
    for char in text:
        if char in "0123456789" or (is_hex and char in _HEX):
            previous = "0"
        elif char == "_":
            if previous != "0":
                return False
            previous = "_"
        elif previous == "_":
            return False
        else:
            previous = "!"
    return previous != "_"


def parse_uint(text: str) -> int | None:
    """strconv.ParseUint(text, 0, 64); None for any error."""
    digits, base = text, 10
    if len(text) >= 3 and text[0] == "0" and text[1].lower() in _BASES:
        digits, base = text[2:], _BASES[text[1].lower()]
    elif text[:1] == "0":
        digits, base = text[1:] or "0", 8 if len(text) > 1 else 10
    if "_" in digits:
        if not underscores_ok(text):
            return None
        digits = digits.replace("_", "")
    allowed = "0123456789abcdef"[:base]
    if not digits or any(c not in allowed for c in digits.lower()):
        return None
    value = int(digits, base)
    return value if value <= UINT64_MASK else None


def parse_int(text: str) -> int | None:
    """strconv.ParseInt(text, 0, 64); None for any error."""
    negative = text[:1] == "-"
    value = parse_uint(text[1:] if text[:1] in ("+", "-") else text)
    if value is None or value > INT64_MAX + negative:
        return None
    return -value if negative else value


def parse_float(text: str) -> float | None:
    """strconv.ParseFloat of the text of a number token; None for any error (out of range is one)."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if "_" in body:
        if not underscores_ok(text):
            return None
        body = body.replace("_", "")
    is_hex = body[:2].lower() == "0x"
    try:
        if is_hex:
            if "p" not in body.lower():
                return None
            value = float.fromhex(body)
        elif body[:1].isalpha():
            return None
        else:
            value = float(body)
    except (ValueError, OverflowError):
        return None
    if math.isinf(value):
        return None
    return -value if text[:1] == "-" else value


def shortest(value: float) -> tuple[str, int]:
    """Shortest digits that give back a finite |value| and the exponent of the first: 0.00123 is ('123', -3)."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    if whole != "0":
        point = len(whole) - 1
    else:
        point = -1 - (len(fraction) - len(fraction.lstrip("0")))
    digits = (whole + fraction).strip("0")
    if not digits:
        return "0", 0
    return digits, point + (int(exponent) if exponent else 0)


def format_float(value: float, verb: str, precision: int) -> str:
    """strconv.FormatFloat; precision -1 asks for the fewest digits that give the value back."""
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    lower = verb.lower()
    if verb == "b":
        return sign + _binary(abs(value))
    if lower == "x":
        text = _hexadecimal(abs(value), precision)
        return sign + (text.upper() if verb == "X" else text)
    if precision < 0:
        return sign + _shortest_text(value, verb)
    if lower == "g":
        text = f"{abs(value):.{max(precision, 1)}g}"
    else:
        text = f"{abs(value):.{precision}{lower}}"
    return sign + (text.upper() if verb in "EG" else text)


def _shortest_text(value: float, verb: str) -> str:
    digits, exponent = shortest(value)
    if verb in "eE" or (verb in "gG" and not -4 <= exponent < 6):
        text = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        mark = "E" if verb in "EG" else "e"
        return f"{text}{mark}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return whole + ("." + digits[exponent + 1 :] if len(digits) > exponent + 1 else "")


def _binary(value: float) -> str:
    if value == 0.0:
        return "0p-1074"
    mantissa, exponent = math.frexp(value)
    shift = 53 if exponent >= -1021 else exponent + 1074
    return f"{int(math.ldexp(mantissa, shift))}p{exponent - shift:+d}"


def _hexadecimal(value: float, precision: int) -> str:
    if value == 0.0:
        mantissa, exponent = 0, 0
    else:
        fraction, exponent = math.frexp(value)
        mantissa, exponent = int(math.ldexp(fraction, 53)), exponent - 1
    bits = mantissa << 8  # 1 integer bit, 60 fraction bits
    if 0 <= precision < 15:
        drop = 60 - 4 * precision
        rest = bits & ((1 << drop) - 1)
        bits >>= drop
        half = 1 << (drop - 1)
        if rest > half or (rest == half and bits & 1):
            bits += 1
        bits <<= drop
        if bits >> 61:
            bits >>= 1
            exponent += 1
    digits = f"{bits & ((1 << 60) - 1):015x}"
    digits = digits.rstrip("0") if precision < 0 else digits[:precision].ljust(precision, "0")
    return f"0x{bits >> 60}{'.' if digits else ''}{digits}p{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
