"""`|sideload()`: fields and tags from documents beside the data.

What a point gets depends on its tags alone, and only on those that the templates of `order` read: it is looked up once
for each combination of their values.
"""

from __future__ import annotations

import json
import math
import os
import posixpath
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np

from tickc.runtime.batch import Array, Batch, Column, Groups, Points, Rows, Segments, Text, select
from tickc.runtime.builtins import EvalError
from tickc.runtime.gotemplate import TemplateError
from tickc.runtime.gotemplate.values import STRING_MAP, MapValue
from tickc.runtime.gotext import format_float_f, parse_float, parse_int, quote
from tickc.runtime.graph import Operator, TaskFailed
from tickc.runtime.nodes.group import Codes, Combinations, Lookup, Retagging, absent
from tickc.runtime.settings import Endpoint, Settings, TextTemplate
from tickc.runtime.web import Client, WebError

Value = float | int | str | bool
Documents = Mapping[str, Mapping[str, Any]]
NO_SETTINGS = Settings()
MOST_VALUES = 1_000_000  # of one YAML file, with those that aliases repeat


class SideloadError(Exception):
    """The documents cannot be had; the text is Kapacitor's where it has one."""


# ----------------------------------------------------------------------------------------------------------- documents


def load(source: str, settings: Settings = NO_SETTINGS) -> Documents:
    """The documents of a source, by the path that `order` gives; raises SideloadError."""
    if not urlsplit(source).scheme:
        if source not in settings.endpoints:
            raise SideloadError(f"Specified endpoint does not exist: {source}")
        endpoint = settings.endpoints[source]
    else:
        endpoint = Endpoint(source)
    try:
        url = endpoint.address.render(MapValue(STRING_MAP, {}))
    except TemplateError as error:
        raise SideloadError(str(error)) from None
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return _fetched(url, endpoint)
    if parts.scheme != "file":
        text = f"unsupported source scheme {quote(parts.scheme)}, must be 'file', 'http', or 'https'"
        raise SideloadError(text)
    path = unquote(parts.path)
    if not path.startswith("/"):
        raise SideloadError(f"sideload source path must be absolute {quote(path)}")
    return _read_folder(posixpath.normpath(path))


def _fetched(url: str, endpoint: Endpoint) -> Documents:
    client = Client()
    try:
        status, body = client.request("GET", url, headers=endpoint.all_headers())
    except WebError as error:
        raise SideloadError(f"Error fetching sideload data from {url} :: {error}") from None
    finally:
        client.close()
    if status // 100 != 2:
        raise SideloadError(f"Error fetching sideload data from {url} :: status {status}")
    try:
        found = _json(body)
    except ValueError as error:
        raise SideloadError(f"Error fetching sideload data from {url} :: {error}") from None
    documents = {k: {} if v is None else v for k, v in (found or {}).items()}
    if not all(isinstance(v, dict) for v in documents.values()):
        raise SideloadError(f"Error fetching sideload data from {url} :: a value is not an object")
    return documents


def _read_folder(folder: str) -> Documents:
    documents: dict[str, Mapping[str, Any]] = {}
    try:
        os.lstat(folder)
        for path in _files(Path(folder)):
            relative = path.relative_to(folder).as_posix()
            if relative.startswith("."):
                raise SideloadError("invalid relative path")
            documents[relative] = _document(path)
    except OSError as error:
        text = f"lstat {error.filename}: {(error.strerror or '').lower()}"
        raise SideloadError(f"failed to update sideload cache for source file {quote(folder)}: {text}") from None
    except SideloadError as error:
        raise SideloadError(f"failed to update sideload cache for source file {quote(folder)}: {error}") from None
    return documents


def _files(folder: Path) -> Iterable[Path]:
    """All files below a folder, by name."""
    if not folder.is_dir():
        yield folder
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry


def _document(path: Path) -> Mapping[str, Any]:
    """The values of a file; of one that is neither JSON nor YAML none."""
    data = path.read_bytes()
    kind = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}.get(path.suffix)
    if kind is None:
        return {}
    try:
        found = _json(data) if kind == "json" else _yaml(data)
    except ValueError as error:
        raise SideloadError(f"failed to unmarshal {kind} values {quote(str(path))}: {error}") from None
    return found or {}


def _json(data: bytes) -> dict[str, Any] | None:
    """A JSON object (null is None) with floats for all numbers, as Go has them; raises ValueError."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"cannot unmarshal number {text}")
        return value

    try:
        text = data.decode("utf-8", "replace")
        found = json.loads(text, parse_int=number, parse_float=number, parse_constant=number)
    except RecursionError:
        raise ValueError("exceeded max depth") from None
    return _object(found)


def _object(found: Any) -> dict[str, Any] | None:
    if found is not None and not isinstance(found, dict):
        raise ValueError("it holds no object")
    return found


def _yaml(data: bytes) -> dict[str, Any] | None:
    """A YAML mapping as the JSON object that Kapacitor makes of it; raises ValueError."""
    try:
        import yaml
    except ImportError:
        raise ValueError("pyyaml is not installed: pip install 'tickc[yaml]'") from None

    try:
        found = _plain(yaml.load(data.decode("utf-8", "replace"), _loader()), [MOST_VALUES])  # a safe loader
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    return _object(found)


def _loader() -> Any:
    """A safe loader with the scalars of Go's yaml.v2: no times, no sexagesimal numbers, `1e3` is a number."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}

    words = {w: v for v, names in ((True, "y yes true on"), (False, "n no false off")) for w in names.split()}
    words = {form: v for w, v in words.items() for form in (w, w.title(), w.upper())}
    numbers = r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*)"
    floats = r"[-+]?(?:[0-9]*\.?[0-9]+|[0-9]+\.)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    for tag, pattern, first in (
        ("bool", "|".join(words), "yYnNtTfFoO"),
        ("int", numbers, "-+0123456789"),
        ("float", floats, "-+.0123456789"),
        ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", "<<", "<"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), list(first))
    Loader.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: words[node.value])
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _yaml_int(node.value))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _yaml_float(node.value))
    return Loader


def _yaml_int(text: str) -> int:
    text = text.replace("_", "")
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        digits = "0o" + digits[1:]
    return sign * int(digits, 0)


def _yaml_float(text: str) -> float:
    return float(text.replace(".", "", 1) if text.lstrip("+-")[1:].isalpha() else text)


def _plain(value: Any, budget: list[int]) -> Any:
    """What JSON has for a value of YAML: keys are strings, numbers floats. budget: how many values there may be."""
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("document contains excessive aliasing")
    match value:
        case bool() | str() | None:
            return value
        case int() | float():
            number = float(value)
            if not math.isfinite(number):
                raise ValueError(f"unsupported value: {number}")
            return number
        case dict():
            return {_key(k): _plain(v, budget) for k, v in value.items()}
        case list():
            return [_plain(v, budget) for v in value]
    raise ValueError(f"unsupported type: {type(value).__name__}")


def _key(key: Any) -> str:
    match key:
        case str():
            return key
        case bool():
            return "true" if key else "false"
        case int():
            return str(key)
        case float():
            return format_float_f(key)
    raise ValueError("a key is no scalar")


# --------------------------------------------------------------------------------------------------------- conversions

_BOOLS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True)
_BOOLS |= dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False)


def converted(value: Any, default: Value) -> Value:
    """A value of a document as the type of the default (Kapacitor sideload.go, convertType); raises EvalError."""
    match default, value:
        case (bool(), bool()) | (str(), str()):
            return value
        case bool(), str() if value in _BOOLS:
            return _BOOLS[value]
        case str(), bool():
            return "true" if value else "false"
        case str(), float():
            return format_float_f(value)
        case (bool(), _) | (_, bool()):
            pass
        case int(), float() if value.is_integer() and -(2.0**63) <= value < 2.0**63:
            return int(value)
        case int(), str():
            return parse_int(value)
        case float(), float():
            return value
        case float(), str():
            return parse_float(value)
    raise EvalError("cannot convert value")


# -------------------------------------------------------------------------------------------------------- the operator

_READS = re.compile(r'\{\{-? *(?:\.([A-Za-z_]\w*)|index +\. +"([^"\\{}]*)") *-?\}\}')


def tags_read(templates: Iterable[str]) -> tuple[str, ...] | None:
    """The tags that templates read; None where it may be any."""
    found: dict[str, None] = {}
    for text in templates:
        if "{{" in _READS.sub("", text):
            return None
        found.update(dict.fromkeys(a or b for a, b in _READS.findall(text)))
    return tuple(found)


def reload_all(*_: Any) -> None:
    """Have every sideload load its documents anew before the next batch that it gets; serves as a handler of signals.

    Kapacitor does so on POST /kapacitor/v1/sideload/reload. What came of it is told on stderr.
    """
    Sideload.asked += 1


class _Tagged:
    """Numbers the combinations of values of some tags (None: of all), in order of first appearance."""

    def __init__(self, tags: Sequence[str] | None) -> None:
        self.tags = tags
        self.known: list[str] = list(tags or ())
        self._codes: dict[str, Codes] = {}
        self._reset()

    def _reset(self) -> None:
        self._combinations, self._lookup = Combinations(), Lookup()

    def encode(self, rows: Rows, make: Callable[[dict[str, str]], int]) -> Array:
        """i4[n]: what `make` gave for each row's combination."""
        n = len(rows)
        if self.tags is None and (fresh := sorted(rows.tags.keys() - set(self.known))):
            self.known += fresh
            self._reset()
        texts = {t: rows.tags.get(t) or absent(n) for t in self.known}
        columns = [self._codes.setdefault(t, Codes()).of(text) for t, text in texts.items()]
        codes = self._combinations.encode(columns or [np.zeros(n, np.int32)])

        def first(row: int) -> int:
            return make({t: v for t, text in texts.items() if (v := text.at(row)) is not None})

        return self._lookup.groups(codes, first)


class Sideload(Operator):
    """Sets fields and tags to what the first document that has them says, or to their defaults.

    The documents are loaded with the first batch (TaskFailed where they cannot be had) and by `reload`. A value that
    does not fit the default's type is counted and the default stands; where a template of `order` fails the point goes
    on as it is, counted.
    """

    asked: ClassVar[int] = 0  # how often the documents of all nodes were to be loaded anew

    STATE = ("retagging", "batches")

    def __init__(
        self,
        *,
        name: str,
        source: str,
        order: Sequence[str] = (),
        fields: Mapping[str, Value] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name=name)
        self.source = source
        self.order = [TextTemplate(text, "order") for text in order]
        self.defaults: list[tuple[str, Value]] = [*(fields or {}).items(), *(tags or {}).items()]
        self.fields, self.tags = tuple(fields or ()), tuple(tags or ())
        self.settings = NO_SETTINGS
        self.documents: Documents | None = None
        self.heeded = Sideload.asked
        self.retagging = Retagging()
        self.batches = False  # whether it stands on a batch edge
        self._forget()

    def _forget(self) -> None:
        self._tagged = _Tagged(tags_read(t.text for t in self.order))
        self._values: list[list[Value]] = [[] for _ in self.defaults]  # for each combination
        self._columns: list[Column] | None = None  # the same as columns; None: not yet
        self._problems: list[list[str]] = []
        self._failed: list[bool] = []

    def connect(self, outside: Any) -> None:
        """Take the endpoints of the settings."""
        self.settings = outside.settings

    def reload(self) -> None:
        """Load the documents anew; raises SideloadError, and goes on with the old ones then."""
        self.documents = load(self.source, self.settings)
        self._forget()

    def process(self, batch: Batch) -> Iterable[Batch]:
        self._ensure()
        rows = self._rows(batch.rows)
        if isinstance(batch, Segments) or not self.tags:
            self.batches = isinstance(batch, Segments)
            yield batch.with_rows(rows)
            return
        dims = {t for t in self.tags if any(t in g.dims for g in batch.groups)}
        group = self.retagging.encode(batch.group, batch.groups, rows, dims)
        yield Points(rows, group, self.retagging.groups, batch.seq)

    def groups_behind(self, groups: Groups) -> Groups:
        return self.retagging.groups if self.tags and not self.batches else groups

    def finish(self) -> Iterable[Batch]:
        self._ensure()
        return ()

    def _ensure(self) -> None:
        asked, self.heeded = Sideload.asked != self.heeded, Sideload.asked
        if self.documents is None:
            try:
                self.reload()
            except SideloadError as error:
                raise TaskFailed(str(error)) from None
        elif asked:
            try:
                self.reload()
                print(f"{self.name}: the documents were loaded anew", file=sys.stderr)
            except SideloadError as error:
                print(f"{self.name}: the documents stay as they were: {error}", file=sys.stderr)

    def _rows(self, rows: Rows) -> Rows:
        if not len(rows):
            return rows
        codes = self._tagged.encode(rows, self._look_up)
        times = np.bincount(codes, minlength=len(self._problems))
        for code in np.flatnonzero(times).tolist():
            for problem in self._problems[code]:
                self.errors[problem] += int(times[code])
        failed = np.array(self._failed, np.bool_)[codes]
        if self._columns is None:
            self._columns = [Column.of_values(v) for v in self._values]
        columns = [c.take(codes) for c in self._columns]
        k = len(self.fields)
        fields = dict(zip(self.fields, columns[:k]))
        tags: dict[str, Text] = {t: c.data[next(iter(c.data))] for t, c in zip(self.tags, columns[k:])}
        if failed.any():
            fields = {f: _unless(failed, c, rows.field(f)) for f, c in fields.items()}
            tags = {t: _text_unless(failed, text, rows.tags.get(t)) for t, text in tags.items()}
        return rows.with_(fields={**rows.fields, **fields}, tags={**rows.tags, **tags})

    def _look_up(self, tags: dict[str, str]) -> int:
        """Note the values for points with these tags; returns their number."""
        self._columns = None
        problems: list[str] = []
        paths: list[str] = []
        failed = False
        try:
            paths = [t.render(MapValue(STRING_MAP, tags)) for t in self.order]
        except TemplateError:
            failed = True
            problems.append("failed to evaluate order template")
        found = [self.documents[p] for p in paths if p in self.documents] if self.documents is not None else []
        for values, (name, default) in zip(self._values, self.defaults):
            key = posixpath.normpath(name)
            value = next((d[key] for d in found if key in d), None)
            try:
                values.append(default if value is None else converted(value, default))
            except EvalError:
                values.append(default)
                problems.append(f"failed to load key {name}")
        self._problems.append(problems)
        self._failed.append(failed)
        return len(self._failed) - 1


def _unless(failed: Array, column: Column, before: Column) -> Column:
    """`column`, and `before` in the rows that failed."""
    rows = [np.flatnonzero(~failed), np.flatnonzero(failed)]
    return select([(r, c.take(r)) for r, c in zip(rows, (column, before))], len(failed))


def _text_unless(failed: Array, text: Text, before: Text | None) -> Text:
    before = before or absent(len(failed))
    own = before.recode(text.vocabulary)
    return Text(np.where(failed, own.codes, text.codes), text.vocabulary)
