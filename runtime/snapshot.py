"""Snapshots: the state of operators as immutable copies, and as bytes (Arrow IPC) to keep.

State is made of scalars, strings, lists, tuples, dicts, NumPy arrays, the types of `batch`, and objects with `snapshot`
and `restore` of their own. `freeze` turns it into plain trees (dict, list, scalar, array); `thaw` builds the state
again; `encode` and `decode` write a frozen tree as one Arrow IPC stream: a JSON skeleton in the schema's metadata and
each array as the binary value of a record batch, in the order of the skeleton.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from os import PathLike
from typing import IO, Any

import numpy as np

from tickc.runtime import batch as _batch
from tickc.runtime.batch import Groups, Pairs, Vocabulary
from tickc.runtime.kinds import Kind

_RECORDS = {c.__name__: c for c in (_batch.Text, _batch.Column, _batch.Rows, _batch.Points, _batch.Segments)}


class Unchanging:
    """State whose arrays nothing will change: they are frozen without copies, and thawed as they are."""

    def __init__(self, state: Any) -> None:
        self.state = state


def freeze(state: Any, copied: bool = True) -> Any:
    """`state` as plain trees that no later change reaches; arrays are copied unless nothing will change them."""
    match state:
        case None | bool() | str() | float():
            return state
        case Kind():
            return {"$": "Kind", "value": int(state)}
        case int():
            return state
        case np.generic():
            return state.item()
        case np.ndarray():
            return np.array(state) if copied else state
        case Unchanging():
            return {"$": "Unchanging", "state": freeze(state.state, False)}
        case Counter():
            return {"$": "Counter", "items": [[freeze(k), v] for k, v in state.items()]}
        case Vocabulary() | Groups():
            return _once(state)
        case Pairs():
            return {"$": "Pairs", "count": state.count, "keys": np.array(state.keys), "codes": np.array(state.codes)}
        case Mapping():
            return {"$": "dict", "items": [[freeze(k), freeze(v, copied)] for k, v in state.items()]}
        case tuple():
            return {"$": "tuple", "items": [freeze(v, copied) for v in state]}
        case list():
            return [freeze(v, copied) for v in state]
    if hasattr(state, "snapshot"):
        return {"$": "object", "state": freeze(state.snapshot(), copied)}
    if is_dataclass(state) and type(state).__name__ in _RECORDS:
        return {"$": type(state).__name__, **{f.name: freeze(getattr(state, f.name), copied) for f in fields(state)}}
    raise TypeError(f"{type(state).__name__} cannot be part of a snapshot")


@dataclass
class _Once:
    """What several parts of a snapshot have in common. numbers: by id of the object, which is held."""

    numbers: dict[int, tuple[Any, int]] = field(default_factory=dict)
    frozen: list[Any] = field(default_factory=list)
    thawed: dict[int, Any] = field(default_factory=dict)


_SHARED: ContextVar[_Once | None] = ContextVar("shared", default=None)


@contextmanager
def sharing(frozen: list[Any] | None = None) -> Iterator[list[Any]]:
    """A block in which tables that `freeze` meets more than once are frozen once, into the list that it yields; or,
    with such a list, in which `thaw` makes one object of each. A block within another is part of it: its list stays
    empty."""
    if _SHARED.get() is not None:
        yield []
        return
    shared = _Once(frozen=[] if frozen is None else frozen)
    token = _SHARED.set(shared)
    try:
        yield shared.frozen
    finally:
        _SHARED.reset(token)


def _once(state: Vocabulary | Groups) -> Any:
    shared = _SHARED.get()
    if shared is None:
        return _frozen_table(state)
    if id(state) not in shared.numbers:
        frozen = _frozen_table(state)  # which may contain others
        shared.numbers[id(state)] = state, len(shared.frozen)
        shared.frozen.append(frozen)
    return {"$": "once", "number": shared.numbers[id(state)][1]}


def _frozen_table(state: Vocabulary | Groups) -> Any:
    if isinstance(state, Groups):
        return {"$": "Groups", "state": freeze(state.snapshot())}
    text, ends = state.utf8()
    return {"$": "Vocabulary", "text": text, "ends": ends}


def _thawed_once(number: int) -> Any:
    shared = _SHARED.get()
    assert shared is not None, "thawed outside of a `sharing` block"
    if number not in shared.thawed:
        shared.thawed[number] = thaw(shared.frozen[number])
    return shared.thawed[number]


def thaw(frozen: Any, fresh: Any = None, copied: bool = True) -> Any:
    """State from a frozen tree. `fresh` is what a new operator has in its place; an object with
    `restore` takes its own state over. copied: whether arrays are."""
    match frozen:
        case np.ndarray():
            return np.array(frozen) if copied else frozen
        case list():
            olds = fresh if isinstance(fresh, list) and len(fresh) == len(frozen) else [None] * len(frozen)
            return [thaw(v, o, copied) for v, o in zip(frozen, olds)]
        case {"$": tag}:
            return _thaw_tagged(tag, frozen, fresh, copied)
    return frozen


def _thaw_tagged(tag: str, frozen: dict[str, Any], fresh: Any, copied: bool) -> Any:
    match tag:
        case "Kind":
            return Kind(frozen["value"])
        case "Unchanging":
            return thaw(frozen["state"], copied=False)
        case "Counter":
            return Counter({thaw(k): v for k, v in frozen["items"]})
        case "Vocabulary":
            words = Vocabulary()
            words.encode_utf8(np.array(frozen["text"]), np.array(frozen["ends"]))
            return words
        case "Groups":
            groups = Groups()
            groups.restore(thaw(frozen["state"]))
            return groups
        case "once":
            return _thawed_once(frozen["number"])
        case "Pairs":
            pairs = Pairs()
            pairs.count, pairs.keys, pairs.codes = frozen["count"], np.array(frozen["keys"]), np.array(frozen["codes"])
            return pairs
        case "object":
            fresh.restore(thaw(frozen["state"]))
            return fresh
        case "dict":
            olds = fresh if isinstance(fresh, dict) else {}
            return {(key := thaw(k)): thaw(v, olds.get(key), copied) for k, v in frozen["items"]}
        case "tuple":
            parts = fresh if isinstance(fresh, tuple) and len(fresh) == len(frozen["items"]) else None
            return tuple(thaw(v, parts[i] if parts else None, copied) for i, v in enumerate(frozen["items"]))
    return _RECORDS[tag](**{k: thaw(v, copied=copied) for k, v in frozen.items() if k != "$"})


def encode(frozen: Any) -> bytes:
    """A frozen tree as an Arrow IPC stream."""
    import io

    file = io.BytesIO()
    write(frozen, file)
    return file.getvalue()


def write(frozen: Any, file: IO[bytes]) -> None:
    """Write a frozen tree as an Arrow IPC stream; its arrays go to the file without a copy."""
    import pyarrow as pa

    arrays: list[np.ndarray] = []

    def skeleton(part: Any) -> Any:
        match part:
            case np.ndarray():
                arrays.append(part)
                descr = part.dtype.descr if part.dtype.names else part.dtype.str
                return {"$": "array", "dtype": descr, "shape": list(part.shape)}
            case dict():
                return {k: skeleton(v) for k, v in part.items()}
            case list():
                return [skeleton(v) for v in part]
            case float():
                return {"$": "float", "hex": part.hex()}
        return part

    text = json.dumps(skeleton(frozen))
    schema = pa.schema([("data", pa.large_binary())], metadata={"tickc.snapshot": text})
    with pa.ipc.new_stream(file, schema) as writer:
        for array in arrays:
            data = pa.py_buffer(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            ends = pa.py_buffer(np.array([0, array.nbytes], np.int64))
            value = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, data])
            writer.write_batch(pa.record_batch([value], schema=schema))


def decode(data: bytes) -> Any:
    """The frozen tree that `encode` wrote; raises pyarrow.ArrowInvalid where the bytes are damaged."""
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        return _filled(reader)


def read(path: str | PathLike[str], copied: bool = True) -> Any:
    """The frozen tree of a file that `write` wrote; raises pyarrow.ArrowInvalid where it is damaged.

    copied: whether its arrays are copied into memory, or stay parts of the file, which must not change.
    """
    import pyarrow as pa

    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        return _filled(reader, copied)


def _filled(reader: Any, copied: bool = True) -> Any:
    """The tree of an open stream."""
    skeleton = json.loads(reader.schema.metadata[b"tickc.snapshot"])
    arrays = (batch.column(0) for batch in reader)

    def fill(part: Any) -> Any:
        match part:
            case {"$": "array", "dtype": dtype, "shape": shape}:
                form = np.dtype([tuple(d) for d in dtype] if isinstance(dtype, list) else dtype)
                data = next(arrays).buffers()[2]
                flat = np.zeros(0, form) if data is None else np.frombuffer(data, form)
                return (flat.copy() if copied else flat).reshape(shape)
            case {"$": "float", "hex": text}:
                return float.fromhex(text)
            case dict():
                return {k: fill(v) for k, v in part.items()}
            case list():
                return [fill(v) for v in part]
        return part

    return fill(skeleton)
