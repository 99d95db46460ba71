"""Files with the values of a template's variables, in the forms that Kapacitor takes.

`kapacitor define -vars` takes the variables alone, `-file` the whole task that is made of a template:

    {"crit": {"type": "float", "value": 90.0}, …}
    {"id": …, "template-id": …, "dbrps": [{"db": …, "rp": …}], "vars": {"crit": {"type": "float", "value": 90.0}, …}}

Both can be JSON or YAML, by the ending of the file's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

EXAMPLE = '{"crit": {"type": "float", "value": 90.0}}'
_TASK_KEYS = {"id", "template-id", "dbrps", "vars"}


class VariablesError(Exception):
    """The file cannot be read, or has another form. `message` stands alone; `hint` says what to do, or is empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True, slots=True)
class TaskFile:
    """What a file says of a task: its id and template (or ""), what it reads (None: nothing said), its variables."""

    vars: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    template: str = ""
    dbrps: tuple[tuple[str, str], ...] | None = None


def read(path: str | PathLike[str]) -> TaskFile:
    """Read a file of variables, or of a task. The variables themselves are looked at when a script is compiled."""
    found = _document(path)
    if not isinstance(found, dict):
        raise VariablesError(f"{path} holds no JSON object", f"it should look like {EXAMPLE}")
    if not _is_task(found):
        return TaskFile(found)
    vars = found.get("vars") or {}
    if not isinstance(vars, Mapping):
        raise VariablesError(f"{path}: `vars` is no object", f"it should look like {EXAMPLE}")
    return TaskFile(vars, _text(path, found, "id"), _text(path, found, "template-id"), _dbrps(path, found.get("dbrps")))


def _document(path: str | PathLike[str]) -> Any:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise VariablesError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        return _yaml(path, data)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise VariablesError(f"{path} is not JSON: {error}") from None


def _yaml(path: str | PathLike[str], data: bytes) -> Any:
    try:
        import yaml
    except ImportError:
        raise VariablesError(f"{path}: reading YAML needs the package pyyaml", "pip install 'tickc[yaml]'") from None
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise VariablesError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


def _is_task(found: Mapping[str, Any]) -> bool:
    """Whether a document describes a task; a lone variable may be called `vars` or `id` too."""
    if not found or not set(found) <= _TASK_KEYS:
        return False
    return not all(isinstance(value, Mapping) and isinstance(value.get("type"), str) for value in found.values())


def _text(path: str | PathLike[str], found: Mapping[str, Any], key: str) -> str:
    value = found.get(key) or ""
    if not isinstance(value, str):
        raise VariablesError(f"{path}: `{key}` is no text")
    return value


def _dbrps(path: str | PathLike[str], given: Any) -> tuple[tuple[str, str], ...] | None:
    if given is None:
        return None
    pairs = [(d.get("db"), d.get("rp")) for d in given if isinstance(d, Mapping)] if isinstance(given, list) else None
    if pairs is None or len(pairs) < len(given) or not all(isinstance(x, str) and x for pair in pairs for x in pair):
        hint = '"dbrps": [{"db": "telegraf", "rp": "autogen"}]'
        raise VariablesError(f"{path}: `dbrps` is no list of databases", hint)
    return tuple((str(db), str(rp)) for db, rp in pairs) or None
