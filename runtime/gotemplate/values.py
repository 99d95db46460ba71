"""The Go values a template meets: their types, methods and struct shapes.

A Go value is represented by the Python value whose class tells its Go type:

    str string, float float64, bool bool, int int64 (of a point's field), Int int, Uint8 uint8, complex complex128,
    Duration, GoTime, Month, Weekday, Location (*time.Location), Bytes []uint8, JS template.JS, Maps a slice of maps,
    Missing *ast.Missing, MapValue a map, Struct a struct

Two things of Go's reflection have no Python value: `INVALID` is reflect's zero Value (a map lookup without result,
`nil`) and `Iface` wraps what still has the static type interface{}, which shows in error texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from .gotime import LOCAL, MONTHS, UTC, WEEKDAYS, YEAR_ONE, Duration, GoTime, Location
from .strconv import to_bytes, wrap64


class Kind(Enum):
    """reflect.Kind, as far as it matters here."""

    INVALID = auto()
    BOOL = auto()
    INT = auto()
    UINT = auto()
    FLOAT = auto()
    COMPLEX = auto()
    STRING = auto()
    MAP = auto()
    STRUCT = auto()
    SLICE = auto()
    POINTER = auto()
    INTERFACE = auto()


class Invalid:
    """reflect.Value{}: no value."""

    __slots__ = ()


INVALID: Final = Invalid()


@dataclass(slots=True, frozen=True)
class Iface:
    """A value whose static type is interface{}; the dynamic one, or None for a nil interface."""

    value: Any


class Int(int):
    """int: literals, lengths, calendar parts."""


class Uint8(int):
    """uint8: a byte of a string."""


class Int32(int):
    """int32: only as a field of time.Time's internals."""


class Uint64(int):
    """uint64: only as a field of time.Time's internals."""


class Month(int):
    """time.Month, 1 is January."""

    def __str__(self) -> str:
        return MONTHS[self - 1] if 1 <= self <= 12 else f"%!Month({int(self)})"


class Weekday(int):
    """time.Weekday, 0 is Sunday."""

    def __str__(self) -> str:
        return WEEKDAYS[self] if 0 <= self <= 6 else f"%!Weekday({int(self)})"


class JS(str):
    """template.JS: text that html/template takes for JavaScript as it is; what `json` returns."""

    __slots__ = ()


class Bytes(bytes):
    """[]uint8."""


class Maps(list[Any]):
    """[]map[string]interface {}: a list of MapValue."""


class Missing:
    """*ast.Missing: the value of a field that `eval` kept although it was absent; Kapacitor has only one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Missing)

    def __hash__(self) -> int:
        return 0


class CallError(Exception):
    """A function or method that failed; the message is Go's."""


@dataclass(eq=False)
class Type:
    """A Go type: name, kind, what it is made of, what can be called on it."""

    name: str
    kind: Kind
    element: Type | None = None
    methods: dict[str, Method] = field(default_factory=dict)
    stringer: bool = False


@dataclass(frozen=True)
class Method:
    """A method: a function of (receiver, *arguments), its parameters, Go's complaint if it has no usable result."""

    call: Callable[..., Any]
    parameters: tuple[Type, ...] = ()
    refused: str = ""


@dataclass(eq=False)
class StructType(Type):
    """A struct; `fields` are its own, `promoted` all that can be named, with those of embedded structs."""

    fields: tuple[tuple[str, Type], ...] = ()
    embedded: frozenset[str] = frozenset()
    promoted: dict[str, Type] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class MapValue:
    """A Go map: a Python mapping and its type."""

    type: Type
    items: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.items)


@dataclass(slots=True, eq=False)
class Struct:
    """A Go struct over a record; `record` holds promoted fields under their own names."""

    type: StructType
    record: Any

    def field(self, name: str) -> Any:
        """The Go value of a field that exists."""
        if name in self.type.embedded:
            inner = dict(self.type.fields)[name]
            assert isinstance(inner, StructType)
            return Struct(inner, self.record)
        return as_go(self.type.promoted[name], self.record[name])


BOOL = Type("bool", Kind.BOOL)
INT = Type("int", Kind.INT)
INT32 = Type("int32", Kind.INT)
INT64 = Type("int64", Kind.INT)
UINT8 = Type("uint8", Kind.UINT)
UINT64 = Type("uint64", Kind.UINT)
FLOAT64 = Type("float64", Kind.FLOAT)
COMPLEX128 = Type("complex128", Kind.COMPLEX)
STRING = Type("string", Kind.STRING)
ANY = Type("interface {}", Kind.INTERFACE)
VALUE = Type("reflect.Value", Kind.STRUCT)
STRING_MAP = Type("map[string]string", Kind.MAP, STRING)
ANY_MAP = Type("map[string]interface {}", Kind.MAP, ANY)
BYTES = Type("[]uint8", Kind.SLICE, UINT8)
MAPS = Type("[]map[string]interface {}", Kind.SLICE, ANY_MAP)
DURATION = Type("time.Duration", Kind.INT, stringer=True)
MONTH = Type("time.Month", Kind.INT, stringer=True)
WEEKDAY = Type("time.Weekday", Kind.INT, stringer=True)
LOCATION = Type("*time.Location", Kind.POINTER, stringer=True)
SCRIPT = Type("template.JS", Kind.STRING)
MISSING = Type("*ast.Missing", Kind.POINTER)
TIME = StructType("time.Time", Kind.STRUCT, stringer=True, fields=(("wall", UINT64), ("ext", INT64), ("loc", LOCATION)))

_TYPES: dict[type, Type] = {
    bool: BOOL, int: INT64, Int: INT, Int32: INT32, Uint8: UINT8, Uint64: UINT64, float: FLOAT64, complex: COMPLEX128,
    str: STRING, JS: SCRIPT, Bytes: BYTES, Maps: MAPS, Duration: DURATION, Month: MONTH, Weekday: WEEKDAY,
    Location: LOCATION, GoTime: TIME, Missing: MISSING,
}  # fmt: skip


def type_of(value: Any) -> Type:
    """The Go type of a value that is there."""
    found = _TYPES.get(type(value))
    if found is not None:
        return found
    if isinstance(value, MapValue | Struct):
        return value.type
    if isinstance(value, Iface):
        return ANY
    raise TypeError(f"no Go value: {value!r}")


def kind_of(value: Any) -> Kind:
    """reflect's kind of a value, INVALID included."""
    return Kind.INVALID if value is INVALID else type_of(value).kind


def as_go(type: Type, raw: Any) -> Any:
    """The Go value of type `type` that a record's plain Python value stands for."""
    if type.kind is Kind.MAP:
        return raw if isinstance(raw, MapValue) else MapValue(type, raw or {})
    if type is TIME:
        return raw if isinstance(raw, GoTime) else GoTime(raw)
    if type is DURATION:
        return Duration(raw)
    if isinstance(type, StructType):
        return Struct(type, raw)
    return raw


def zero_of(type: Type) -> Any:
    """reflect.Zero of a map's element type."""
    return "" if type is STRING else Iface(None)


def strip(value: Any) -> Any:
    """The value without its interface; INVALID for a nil one."""
    if type(value) is Iface:
        return INVALID if value.value is None else value.value
    return value


def indirect(value: Any) -> Any:
    """The value without interface and behind the pointer, if that can be seen through."""
    value = strip(value)
    return MISSING_STRUCT if type(value) is Missing else value


def members(value: Any) -> list[Any]:
    """The elements of a slice."""
    return value if isinstance(value, Maps) else [Uint8(byte) for byte in value]


def length(value: Any) -> int:
    """len() of a string, map or slice, in Go's units."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(to_bytes(value))
    return len(value.items) if isinstance(value, MapValue) else len(value)


# ----------------------------------------------------------------------------------------------------------- methods


def _refuse(name: str, outputs: int, second: str = "") -> Method:
    if outputs == 2:
        text = f"invalid function signature for {name}: second return value should be error; is {second}"
    else:
        text = f"function {name} has {outputs} return values; should be 1 or 2"
    return Method(lambda time: INVALID, (), text)


def _marshal(name: str, wrap: str = "") -> Callable[[GoTime], Bytes]:
    def marshal(time: GoTime) -> Bytes:
        try:
            return Bytes(f"{wrap}{time.strict_text()}{wrap}".encode())
        except ValueError as error:
            raise CallError(f"Time.{name}: {error}") from None

    return marshal


def _in(time: GoTime, loc: Location | None) -> GoTime:
    if loc is None:
        raise CallError("time: missing Location in call to Time.In")
    return time.at(loc)


DURATION.methods.update({
    "Abs": Method(lambda d: d.absolute()),
    "Hours": Method(lambda d: d.hours()),
    "Microseconds": Method(lambda d: d.whole(1000)),
    "Milliseconds": Method(lambda d: d.whole(1_000_000)),
    "Minutes": Method(lambda d: d.minutes()),
    "Nanoseconds": Method(lambda d: int(d)),
    "Round": Method(lambda d, m: d.round(m), (DURATION,)),
    "Seconds": Method(lambda d: d.seconds()),
    "String": Method(str),
    "Truncate": Method(lambda d, m: d.truncate(m), (DURATION,)),
})  # fmt: skip
for _named in (MONTH, WEEKDAY, LOCATION):
    _named.methods["String"] = Method(str)

TIME.methods.update({
    "Add": Method(lambda t, d: t.add(d), (DURATION,)),
    "AddDate": Method(lambda t, y, m, d: t.add_date(y, m, d), (INT, INT, INT)),
    "After": Method(lambda t, u: t.ns > u.ns, (TIME,)),
    "AppendBinary": Method(lambda t, b: Bytes(b + t.binary()), (BYTES,)),
    "AppendFormat": Method(lambda t, b, layout: Bytes(b + to_bytes(t.format(layout))), (BYTES, STRING)),
    "AppendText": Method(lambda t, b: Bytes(b + _marshal("AppendText")(t)), (BYTES,)),
    "Before": Method(lambda t, u: t.ns < u.ns, (TIME,)),
    "Clock": _refuse("Clock", 3),
    "Compare": Method(lambda t, u: Int(t.compare(u)), (TIME,)),
    "Date": _refuse("Date", 3),
    "Day": Method(lambda t: Int(t.date()[2])),
    "Equal": Method(lambda t, u: t.ns == u.ns, (TIME,)),
    "Format": Method(lambda t, layout: t.format(layout), (STRING,)),
    "GoString": Method(lambda t: t.go_string()),
    "GobEncode": Method(lambda t: Bytes(t.binary())),
    "Hour": Method(lambda t: Int(t.clock() // 3_600_000_000_000)),
    "ISOWeek": _refuse("ISOWeek", 2, "int"),
    "In": Method(_in, (LOCATION,)),
    "IsDST": Method(lambda t: t.is_dst()),
    "IsZero": Method(lambda t: t.is_zero()),
    "Local": Method(lambda t: t.at(LOCAL)),
    "Location": Method(lambda t: t.loc),
    "MarshalBinary": Method(lambda t: Bytes(t.binary())),
    "MarshalJSON": Method(_marshal("MarshalJSON", '"')),
    "MarshalText": Method(_marshal("MarshalText")),
    "Minute": Method(lambda t: Int(t.clock() // 60_000_000_000 % 60)),
    "Month": Method(lambda t: Month(t.date()[1])),
    "Nanosecond": Method(lambda t: Int(t.ns % 1_000_000_000)),
    "Round": Method(lambda t, d: t.round(d), (DURATION,)),
    "Second": Method(lambda t: Int(t.clock() // 1_000_000_000 % 60)),
    "String": Method(str),
    "Sub": Method(lambda t, u: t.sub(u), (TIME,)),
    "Truncate": Method(lambda t, d: t.truncate(d), (DURATION,)),
    "UTC": Method(lambda t: t.at(UTC)),
    "Unix": Method(lambda t: t.unix(1_000_000_000)),
    "UnixMicro": Method(lambda t: t.unix(1000)),
    "UnixMilli": Method(lambda t: t.unix(1_000_000)),
    "UnixNano": Method(lambda t: t.unix(1)),
    "Weekday": Method(lambda t: Weekday(t.weekday())),
    "Year": Method(lambda t: Int(t.date()[0])),
    "YearDay": Method(lambda t: Int(t.year_day())),
    "Zone": _refuse("Zone", 2, "int"),
    "ZoneBounds": _refuse("ZoneBounds", 2, "time.Time"),
})  # fmt: skip


def time_internals(time: GoTime) -> tuple[Uint64, int, Any]:
    """The three fields of the struct time.Time, which show under verbs such as %d."""
    seconds, rest = divmod(time.ns - YEAR_ONE, 1_000_000_000)
    return Uint64(rest), wrap64(seconds), INVALID if time.loc is UTC else time.loc


# ------------------------------------------------------------------------------------------------------------ shapes


def struct(name: str, *fields: tuple[str, Type], embeds: StructType | None = None) -> StructType:
    """Declare a struct; an embedded struct comes first and lends its fields."""
    if embeds is None:
        return StructType(name, Kind.STRUCT, fields=fields, promoted=dict(fields))
    inner = embeds.name.rpartition(".")[2]
    return StructType(name, Kind.STRUCT, fields=((inner, embeds), *fields), embedded=frozenset((inner,)),
                      promoted={**embeds.promoted, **dict(fields)})  # fmt: skip


MISSING_STRUCT = Struct(struct("ast.Missing"), {})

SERVER_INFO = struct("kapacitor.serverInfo", ("Hostname", STRING), ("ClusterID", STRING), ("ServerID", STRING))
ID_INFO = struct(
    "kapacitor.idInfo", ("Name", STRING), ("TaskName", STRING), ("Group", STRING), ("Tags", STRING_MAP),
    ("ServerInfo", SERVER_INFO),
)  # fmt: skip
MESSAGE_INFO = struct(
    "kapacitor.messageInfo", ("ID", STRING), ("Fields", ANY_MAP), ("Level", STRING), ("Time", TIME),
    ("Duration", DURATION), embeds=ID_INFO,
)  # fmt: skip
DETAILS_INFO = struct("kapacitor.detailsInfo", ("Message", STRING), embeds=MESSAGE_INFO)

EVENT_DATA = struct(
    "alert.TemplateData", ("ID", STRING), ("Message", STRING), ("Level", STRING), ("Time", TIME),
    ("Duration", DURATION), ("Details", STRING), ("Name", STRING), ("TaskName", STRING), ("Group", STRING),
    ("Tags", STRING_MAP), ("Fields", ANY_MAP),
)  # fmt: skip

SHAPES = {"id": ID_INFO, "message": MESSAGE_INFO, "details": DETAILS_INFO, "event": EVENT_DATA}
"""The records: of the three templates of an alert, and of the templates of its handlers ("event")."""
