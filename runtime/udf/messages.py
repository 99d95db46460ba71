"""The messages of Kapacitor's protocol for user-defined functions, and their framing.

Every message is a Request (to the agent) or a Response (from it), written as protobuf after a varint of its length.
The classes are made when the module is imported, from the table below; they live in a pool of their own, so an agent's
own copy of the protocol can be loaded in the same process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tickc.runtime.udf import UdfError

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError
except ImportError as error:
    raise UdfError(f"processes and sockets need the package protobuf: {error}", "pip install 'tickc[udf]'") from None

MAX_MESSAGE = 64 << 20  # bytes; what claims to be longer is no message

_ENUMS = {"EdgeType": ("STREAM", "BATCH"), "ValueType": ("BOOL", "INT", "DOUBLE", "STRING", "DURATION")}

_SUCCESS = {"success": "1 bool", "error": "2 string"}
_TIME = {"time": "1 int64"}
_DATA = {"begin": "16 BeginBatch", "point": "17 Point", "end": "18 EndBatch"}
_MESSAGES: dict[str, dict[str, str]] = {
    "InfoRequest": {},
    "InfoResponse": {"wants": "1 EdgeType", "provides": "2 EdgeType", "options": "3 map string OptionInfo"},
    "OptionInfo": {"valueTypes": "1 repeated ValueType"},
    "InitRequest": {"options": "1 repeated Option", "taskID": "2 string", "nodeID": "3 string"},
    "Option": {"name": "1 string", "values": "2 repeated OptionValue"},
    "OptionValue": {
        "type": "1 ValueType",
        "boolValue": "2 bool of value",
        "intValue": "3 int64 of value",
        "doubleValue": "4 double of value",
        "stringValue": "5 string of value",
        "durationValue": "6 int64 of value",
    },
    "InitResponse": _SUCCESS,
    "SnapshotRequest": {},
    "SnapshotResponse": {"snapshot": "1 bytes"},
    "RestoreRequest": {"snapshot": "1 bytes"},
    "RestoreResponse": _SUCCESS,
    "KeepaliveRequest": _TIME,
    "KeepaliveResponse": _TIME,
    "ErrorResponse": {"error": "1 string"},
    "BeginBatch": {
        "name": "1 string",
        "group": "2 string",
        "tags": "3 map string string",
        "size": "4 int64",
        "byName": "5 bool",
    },
    "Point": {
        "time": "1 int64",
        "name": "2 string",
        "database": "3 string",
        "retentionPolicy": "4 string",
        "group": "5 string",
        "dimensions": "6 repeated string",
        "tags": "7 map string string",
        "fieldsDouble": "8 map string double",
        "fieldsInt": "9 map string int64",
        "fieldsString": "10 map string string",
        "byName": "11 bool",
        "fieldsBool": "12 map string bool",
    },
    "EndBatch": {
        "name": "1 string",
        "group": "2 string",
        "tmax": "3 int64",
        "tags": "4 map string string",
        "byName": "5 bool",
    },
    "Request": {
        "info": "1 InfoRequest",
        "init": "2 InitRequest",
        "keepalive": "3 KeepaliveRequest",
        "snapshot": "4 SnapshotRequest",
        "restore": "5 RestoreRequest",
        **_DATA,
    },
    "Response": {
        "info": "1 InfoResponse",
        "init": "2 InitResponse",
        "keepalive": "3 KeepaliveResponse",
        "snapshot": "4 SnapshotResponse",
        "restore": "5 RestoreResponse",
        "error": "6 ErrorResponse",
        **_DATA,
    },
}
_FORM = re.compile(r"(\d+) (repeated )?(map string )?(\w+)(?: of (\w+))?")
_SCALARS = ("bool", "bytes", "double", "int64", "string")
_CHOICES = {"Request": "message", "Response": "message"}  # messages of which one field is set, and the choice's name


def _field(owner: Any, name: str, form: str, package: str) -> None:
    """Add a field to the description of a message."""
    match = _FORM.fullmatch(form)
    assert match is not None, form
    number, repeated, mapped, kind, choice = match.groups()
    field = owner.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if repeated or mapped else field.LABEL_OPTIONAL
    if mapped:
        entry = owner.nested_type.add(name=f"{name[0].upper()}{name[1:]}Entry")
        entry.options.map_entry = True
        _field(entry, "key", "1 string", package)
        _field(entry, "value", f"2 {kind}", package)
        field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{owner.name}.{entry.name}"
    elif kind in _SCALARS:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    else:
        field.type = field.TYPE_ENUM if kind in _ENUMS else field.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"
    if choice := choice or _CHOICES.get(owner.name, ""):
        if not owner.oneof_decl:
            owner.oneof_decl.add(name=choice)
        field.oneof_index = 0


def _classes() -> Mapping[str, Any]:
    """The message classes by name."""
    package = "tickc.udf"
    file = descriptor_pb2.FileDescriptorProto(name="tickc/udf.proto", package=package, syntax="proto3")
    for name, members in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, member in enumerate(members):
            enum.value.add(name=member, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for key, form in fields.items():
            _field(message, key, form, package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in _MESSAGES
    }


_CLASSES = _classes()
Request: Any = _CLASSES["Request"]
Response: Any = _CLASSES["Response"]


def framed(message: Any) -> bytes:
    """A message after the varint of its length."""
    data = message.SerializeToString()
    size, head = len(data), bytearray()
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data


def taken(buffer: bytearray) -> Iterator[Any]:
    """The whole responses at the beginning of `buffer`, from which they are removed; UdfError where they are none."""
    at = 0
    try:
        while (frame := _frame(buffer, at)) is not None:
            start, stop = frame
            try:
                response = Response.FromString(bytes(buffer[start:stop]))
            except DecodeError as error:
                raise UdfError(f"read error: the answer is no message of the protocol: {error}") from None
            at = stop
            yield response
    finally:
        del buffer[:at]


def _frame(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Where the message whose length stands at `at` begins and ends; None where not all of it is there."""
    size = shift = 0
    for i in range(at, min(at + 5, len(buffer))):
        size |= (buffer[i] & 0x7F) << shift
        shift += 7
        if buffer[i] < 0x80:
            if size > MAX_MESSAGE:
                raise UdfError(f"read error: the answer claims to be a message of {size:,} bytes")
            stop = i + 1 + size
            return (i + 1, stop) if stop <= len(buffer) else None
    if len(buffer) - at >= 5:
        raise UdfError("read error: the answer does not begin with the length of a message")
    return None
