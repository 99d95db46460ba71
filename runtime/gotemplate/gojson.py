"""Go's encoding/json for the values of a template; HTML-safe, as its Encoder and Marshal are by default."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from tickc.runtime.gotext import format_float_json

from .gotime import Duration, GoTime, Location
from .values import (
    JS,
    Bytes,
    Iface,
    Int,
    Invalid,
    Maps,
    MapValue,
    Missing,
    Month,
    Struct,
    Uint8,
    Weekday,
    type_of,
)


class JSONError(ValueError):
    """A value JSON has no form for; the message is Go's."""


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
            "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}  # fmt: skip
_TABLE: dict[int, str] = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    **dict.fromkeys(range(56448, 56576), "\\ufffd"),
    **{ord(char): text for char, text in _ESCAPES.items()},
}


_SPECIAL = re.compile('[\\x00-\\x1f"\\\\<>&\u2028\u2029\udc80-\udcff]')
_RARE = re.compile("[\\x00-\\x09\\x0b-\\x1f\u2028\u2029\udc80-\udcff]")


def json_string(text: str) -> str:
    """The text as a JSON string."""
    if _SPECIAL.search(text) is None:
        return f'"{text}"'
    if _RARE.search(text) is not None:
        return '"' + text.translate(_TABLE) + '"'
    for char in '\\"&<>\n':  # a replacement each is many times faster than a translation
        text = text.replace(char, _ESCAPES[char])
    return f'"{text}"'


def json_float(value: float) -> str:
    """ES6 number text: exponents below 1e-6 and from 1e21 on, without leading zeros in them."""
    if 1e-4 <= value < 1e16 or -1e16 < value <= -1e-4:
        text = repr(value)
        return text[:-2] if text.endswith(".0") else text
    try:
        return str(format_float_json(value))
    except ValueError as error:
        raise JSONError(str(error)) from None


def marshal(value: Any) -> str:
    """json.Marshal; None is nil. Raises JSONError."""
    return _WRITERS[type(value)](value)


def _time(value: GoTime) -> str:
    try:
        return f'"{value.strict_text()}"'
    except ValueError as error:
        text = f"Time.MarshalJSON: {error}"
        raise JSONError(f"json: error calling MarshalJSON for type time.Time: {text}") from None


def _map(value: MapValue) -> str:
    return json_map(value.items)


def _maps(value: Maps) -> str:
    return f"[{','.join(map(marshal, value))}]"


def json_map(items: Mapping[str, Any]) -> str:
    """A map with string keys, in the order of the keys."""
    return "{" + ",".join([f"{json_string(key)}:{marshal(items[key])}" for key in sorted(items)]) + "}"


def _struct(value: Struct) -> str:
    return "{" + ",".join([f'"{name}":{marshal(value.field(name))}' for name in value.type.promoted]) + "}"


def _unsupported(value: Any) -> str:
    raise JSONError(f"json: unsupported type: {type_of(value).name}")


_WRITERS: dict[type, Callable[[Any], str]] = {
    str: json_string, JS: json_string, float: json_float, MapValue: _map, Maps: _maps, Struct: _struct, GoTime: _time,
    bool: lambda value: "true" if value else "false", Iface: lambda value: marshal(value.value),
    Bytes: lambda value: f'"{b64encode(value).decode()}"', complex: _unsupported,
    **dict.fromkeys((int, Int, Uint8, Duration, Month, Weekday), int.__repr__),
    **dict.fromkeys((type(None), Invalid), lambda value: "null"),
    **dict.fromkeys((Missing, Location), lambda value: "{}"),
}  # fmt: skip
