"""The functions a template can call: Go's built-ins and Kapacitor's `json` and `jsonCompact`.

Each takes Go values (values.py) and raises CallError with the text of Go's error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .gofmt import sprint, sprintf, sprintln, text_of
from .gojson import JSONError, marshal
from .strconv import from_bytes, rune, to_bytes
from .values import (
    ANY,
    INVALID,
    JS,
    STRING,
    VALUE,
    CallError,
    Iface,
    Int,
    Kind,
    Maps,
    MapValue,
    Struct,
    Type,
    Uint8,
    indirect,
    kind_of,
    length,
    strip,
    type_of,
    zero_of,
)


@dataclass(frozen=True)
class Function:
    """A function: its body, the types of its parameters, and the type of any further ones."""

    call: Callable[..., Any]
    fixed: tuple[Type, ...] = ()
    rest: Type | None = None


# ------------------------------------------------------------------------------------------------- index and slice


def _index_argument(value: Any, limit: int) -> int:
    kind = kind_of(value)
    if kind is Kind.INVALID:
        raise CallError("cannot index slice/array with nil")
    if kind not in (Kind.INT, Kind.UINT):
        raise CallError(f"cannot index slice/array with type {type_of(value).name}")
    if not 0 <= value <= limit:
        raise CallError(f"index out of range: {int(value)}")
    return int(value)


def _key(value: Any) -> str:
    if value is INVALID:
        raise CallError("value is nil; should be of type string")
    if type(value) is not str:
        raise CallError(f"value has type {type_of(value).name}; should be string")
    return value


def index(item: Any, *indexes: Any) -> Any:
    """Go's index: map elements and bytes."""
    item = strip(item)
    if item is INVALID:
        raise CallError("index of untyped nil")
    for at in map(strip, indexes):
        if type(item) is Iface and item.value is None:
            raise CallError("index of nil pointer")
        item = indirect(item)
        match kind_of(item):
            case Kind.STRING | Kind.SLICE:
                item = _element(item, at)
            case Kind.MAP:
                item = lookup(item, _key(at), zero=True)
            case _:
                raise CallError(f"can't index item of type {type_of(item).name}")
    return item


def _element(item: Any, at: Any) -> Any:
    data = to_bytes(item) if isinstance(item, str) else item
    position = _index_argument(at, len(data))
    if position == len(data):
        raise CallError(f"reflect: {'string' if isinstance(item, str) else 'slice'} index out of range")
    return data[position] if isinstance(data, Maps) else Uint8(data[position])


def lookup(table: MapValue, key: str, zero: bool = False) -> Any:
    """The element under a key; what is not there is INVALID or, with `zero`, Go's zero value."""
    if key in table.items:
        value = table.items[key]
        return Iface(value) if table.type.element is ANY else value
    return zero_of(table.type.element) if zero and table.type.element else INVALID


def slice_of(item: Any, *indexes: Any) -> Any:
    """Go's slice: part of a string or of bytes."""
    item = strip(item)
    if item is INVALID:
        raise CallError("slice of untyped nil")
    item = indirect(item)
    if len(indexes) > 3:
        raise CallError(f"too many slice indexes: {len(indexes)}")
    kind = kind_of(item)
    if kind is Kind.STRING and len(indexes) == 3:
        raise CallError("cannot 3-index slice a string")
    if kind not in (Kind.STRING, Kind.SLICE):
        raise CallError(f"can't slice item of type {type_of(item).name}")
    data = to_bytes(item) if kind is Kind.STRING else item
    bounds = [0, len(data)]
    for place, value in enumerate(indexes):
        bounds[place : place + 1] = [_index_argument(value, len(data))]
    if bounds[0] > bounds[1]:
        raise CallError(f"invalid slice index: {bounds[0]} > {bounds[1]}")
    if len(indexes) == 3 and bounds[1] > bounds[2]:
        raise CallError(f"invalid slice index: {bounds[1]} > {bounds[2]}")
    part = data[bounds[0] : bounds[1]]
    return type(item)(from_bytes(part)) if kind is Kind.STRING else type(item)(part)


def len_of(item: Any) -> Int:
    """Go's len."""
    if type(item) is Iface and item.value is None:
        raise CallError("len of nil pointer")
    item = indirect(item)
    kind = kind_of(item)
    if kind is Kind.INVALID:
        raise CallError("reflect: call of reflect.Value.Type on zero Value")
    if kind not in (Kind.STRING, Kind.MAP, Kind.SLICE):
        raise CallError(f"len of type {type_of(item).name}")
    return Int(length(item))


# ------------------------------------------------------------------------------------------------------ comparison


def is_true(value: Any) -> bool:
    """Go's truth of a value: not the zero of its type."""
    value = strip(value)
    match kind_of(value):
        case Kind.INVALID:
            return False
        case Kind.STRING | Kind.MAP | Kind.SLICE:
            return length(value) > 0
        case Kind.STRUCT | Kind.POINTER:
            return True
    return bool(value)


_BASIC = {Kind.BOOL, Kind.COMPLEX, Kind.INT, Kind.FLOAT, Kind.STRING, Kind.UINT}
_NUMBERS = {Kind.INT, Kind.UINT}


def equal(first: Any, *others: Any) -> bool:
    """Go's eq: whether the first equals any of the others."""
    first = strip(first)
    if not others:
        raise CallError("missing argument for comparison")
    return any(_equal(first, strip(other)) for other in others)


def _equal(first: Any, other: Any) -> bool:
    kind, other_kind = _basic(first), _basic(other)
    if kind != other_kind and not {kind, other_kind} <= _NUMBERS:
        if first is not INVALID and other is not INVALID:
            names = f"{type_of(first).name} and {type_of(other).name}"
            raise CallError(f"incompatible types for comparison: {names}")
        return False
    if kind is not Kind.INVALID:
        return bool(first == other)
    return _equal_composite(first, other)


def _equal_composite(first: Any, other: Any) -> bool:
    if first is INVALID or other is INVALID:
        return first is other
    if kind_of(first) is not kind_of(other):
        raise CallError(f"non-comparable types {_described(first)}, {type_of(other).name}: {_described(other, False)}")
    if not _comparable(type_of(other)):
        raise CallError(f"non-comparable type {_described(other)}")
    if isinstance(first, Struct):
        names = first.type.promoted if first.type is getattr(other, "type", None) else ()
        return bool(names) and all(first.field(name) == other.field(name) for name in names)
    return bool(first == other)


def _described(value: Any, typed: bool = True) -> str:
    return f"{sprintf('%s', (value,))}: {type_of(value).name}" if typed else text_of(value)


def _comparable(type: Type) -> bool:
    return type.kind not in (Kind.MAP, Kind.SLICE) and all(_comparable(t) for _, t in getattr(type, "fields", ()))


def _basic(value: Any) -> Kind:
    kind = kind_of(value)
    return kind if kind in _BASIC else Kind.INVALID


def less(first: Any, second: Any) -> bool:
    """Go's lt."""
    first, second = strip(first), strip(second)
    kind, other = _basic(first), _basic(second)
    if kind is Kind.INVALID or other is Kind.INVALID:
        raise CallError("invalid type for comparison")
    if kind is not other and not {kind, other} <= _NUMBERS:
        raise CallError(f"incompatible types for comparison: {type_of(first).name} and {type_of(second).name}")
    if kind in (Kind.BOOL, Kind.COMPLEX):
        raise CallError("invalid type for comparison")
    if kind is Kind.STRING:
        return to_bytes(first) < to_bytes(second)
    return bool(first < second)


def less_or_equal(first: Any, second: Any) -> bool:
    return less(first, second) or equal(first, second)


# -------------------------------------------------------------------------------------------------------- escaping

_JS_TABLE = {92: "\\\\", 39: "\\'", 34: '\\"', 60: "\\u003C", 62: "\\u003E", 38: "\\u0026", 61: "\\u003D"}


def printed(args: Sequence[Any]) -> str:
    """The text the escaping functions work on."""
    if len(args) == 1 and type(args[0]) is str:
        return args[0]
    return sprint(["<no value>" if arg is None else indirect(arg) for arg in args])


def html(*args: Any) -> str:
    """The built-in html: text for HTML without context."""
    return escape_html(printed(args))


def escape_html(text: str) -> str:
    """The characters that mean something in HTML as entities."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;").replace("\0", "\ufffd")


def js(*args: Any) -> str:
    """The built-in js: text for inside a JavaScript string."""
    text = printed(args)
    if text.isascii() and text.isalnum():
        return text
    return "".join(map(_js_char, text))


def _js_char(char: str) -> str:
    code = rune(char)
    if code in _JS_TABLE:
        return _JS_TABLE[code]
    if code < 0x20:
        return f"\\u00{code:02X}"
    if code < 0x80:
        return char
    if 0xDC80 <= ord(char) <= 0xDCFF or char.isprintable():
        return char
    return f"\\u{code:04X}"


_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def urlquery(*args: Any) -> str:
    """The built-in urlquery: url.QueryEscape."""
    data = to_bytes(printed(args))
    return "".join(chr(b) if b in _UNRESERVED else "+" if b == 32 else f"%{b:02X}" for b in data)


def json(value: Any) -> JS:
    """Kapacitor's json: the encoding and a newline; nothing if there is none, as its error is thrown away."""
    try:
        return JS(marshal(value) + "\n")
    except JSONError:
        return JS("")


def json_compact(value: Any) -> JS:
    """Kapacitor's jsonCompact: json without the newline."""
    return JS(json(value).removesuffix("\n"))


def _call(value: Any, *args: Any) -> Any:
    """The built-in call: no value in alert data is a function."""
    raise AssertionError("the interpreter makes this error, with the name of the value")


BUILTINS: dict[str, Function] = {
    "and": Function(_call, (VALUE,), VALUE),
    "call": Function(_call, (VALUE,), VALUE),
    "eq": Function(equal, (VALUE,), VALUE),
    "ge": Function(lambda a, b: not less(a, b), (VALUE, VALUE)),
    "gt": Function(lambda a, b: not less_or_equal(a, b), (VALUE, VALUE)),
    "html": Function(html, (), ANY),
    "index": Function(index, (VALUE,), VALUE),
    "js": Function(js, (), ANY),
    "le": Function(less_or_equal, (VALUE, VALUE)),
    "len": Function(len_of, (VALUE,)),
    "lt": Function(less, (VALUE, VALUE)),
    "ne": Function(lambda a, b: not equal(a, b), (VALUE, VALUE)),
    "not": Function(lambda value: not is_true(value), (VALUE,)),
    "or": Function(_call, (VALUE,), VALUE),
    "print": Function(lambda *args: sprint(args), (), ANY),
    "printf": Function(lambda format, *args: sprintf(format, args), (STRING,), ANY),
    "println": Function(lambda *args: sprintln(args), (), ANY),
    "slice": Function(slice_of, (VALUE,), VALUE),
    "urlquery": Function(urlquery, (), ANY),
}

DETAILS_FUNCTIONS: dict[str, Function] = {
    "json": Function(json, (ANY,)),
    "jsonCompact": Function(json_compact, (ANY,)),
}
