"""Go's encoding/json for the values of a template; HTML-safe, as its Encoder and Marshal are by default."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .gotime import GoTime
from .strconv import format_float
from .values import INVALID, Bytes, Iface, Kind, MapValue, Struct, kind_of, type_of


class JSONError(ValueError):
    """A value JSON has no form for; the message is Go's."""


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
            "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}  # fmt: skip
_TABLE: dict[int, str] = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    **dict.fromkeys(range(56448, 56576), "\\ufffd"),
    **{ord(char): text for char, text in _ESCAPES.items()},
}


def json_string(text: str) -> str:
    """The text as a JSON string."""
    return '"' + text.translate(_TABLE) + '"'


def json_float(value: float) -> str:
    """ES6 number text: exponents below 1e-6 and from 1e21 on, without leading zeros in them."""
    if value != value or math.isinf(value):
        raise JSONError(f"json: unsupported value: {format_float(value, 'g', -1)}")
    size = abs(value)
    if size != 0 and not 1e-6 <= size < 1e21:
        text = format_float(value, "e", -1)
        return text[:-2] + text[-1] if text[-4:-1] == "e-0" else text
    return format_float(value, "f", -1)


def marshal(value: Any) -> str:
    """json.Marshal; None is nil. Raises JSONError."""
    if isinstance(value, Iface):
        value = value.value
    if value is None or value is INVALID:
        return "null"
    if isinstance(value, GoTime):
        return _time(value)
    return _WRITERS[kind_of(value)](value)


def _time(value: GoTime) -> str:
    try:
        return f'"{value.strict_text()}"'
    except ValueError as error:
        text = f"Time.MarshalJSON: {error}"
        raise JSONError(f"json: error calling MarshalJSON for type time.Time: {text}") from None


def _map(value: MapValue) -> str:
    return "{" + ",".join(f"{json_string(key)}:{marshal(value.items[key])}" for key in sorted(value.items)) + "}"


def _struct(value: Struct) -> str:
    names = value.type.promoted
    return "{" + ",".join(f"{json_string(name)}:{marshal(value.field(name))}" for name in names) + "}"


def _bytes(value: Bytes) -> str:
    import base64

    return f'"{base64.b64encode(value).decode()}"'


def _unsupported(value: Any) -> str:
    raise JSONError(f"json: unsupported type: {type_of(value).name}")


def _pointer(value: Any) -> str:
    return "{}"


_WRITERS: dict[Kind, Callable[[Any], str]] = {
    Kind.BOOL: lambda value: "true" if value else "false",
    Kind.INT: lambda value: str(int(value)),
    Kind.UINT: lambda value: str(int(value)),
    Kind.FLOAT: json_float,
    Kind.COMPLEX: _unsupported,
    Kind.STRING: json_string,
    Kind.MAP: _map,
    Kind.STRUCT: _struct,
    Kind.SLICE: _bytes,
    Kind.POINTER: _pointer,
}
