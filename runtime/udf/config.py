"""The configuration file that declares user-defined functions: tables `[udf.functions.NAME]`, as Kapacitor has them.

    [udf.functions.movingAverage]
    prog = "/usr/bin/python3"
    args = ["-u", "moving_avg.py"]
    timeout = "10s"
    env = { PYTHONPATH = "agents" }

    [udf.functions.outliers]
    socket = "/tmp/outliers.sock"

    [udf.functions.zscore]
    python = "functions.py:zscore"      # a function or class in this process; see `tickc.udf`

Other tables are not looked at, so Kapacitor's own file will do.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tickc.runtime.udf import Info, Node, Session, Udf, UdfError
from tickc.runtime.udf.agent import TIMEOUT, Process, Socket

_KEYS = {"prog": str, "args": list, "env": dict, "socket": str, "python": str, "timeout": str}
_KINDS = {str: "a string", list: "a list of strings", dict: "a table of strings"}
MILLISECOND = 1_000_000
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": MILLISECOND, "s": 1_000_000_000,
          "m": 60_000_000_000, "h": 3_600_000_000_000}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


class ConfigError(Exception):
    """The file cannot be read, or says what has no meaning. `message` stands alone; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def read(path: str | PathLike[str]) -> dict[str, Udf]:
    """The user-defined functions that a file declares, by name; none of them is started. Raises ConfigError."""
    try:
        document = tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    functions = _table(_table(document, "udf", str(path)), "functions", f"{path}: udf")
    return {name: _declared(name, given, Path(path)) for name, given in functions.items()}


def _table(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = document.get(key, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where}: `{key}` is not a table", "write tables [udf.functions.NAME]")
    return found


def _declared(name: str, given: Any, path: Path) -> Udf:
    where = f"{path}: UDF {name}"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is not a table", f"write [udf.functions.{name}]")
    for key, value in given.items():
        _check(where, key, value)
    process = [key for key in ("prog", "args", "env") if given.get(key)]
    if given.get("python"):
        if process or given.get("socket"):
            raise ConfigError(f"{where}: python stands beside another kind of function", "give python alone")
        return InModule(given["python"], path.parent)
    timeout = _timeout(where, given)
    if given.get("socket"):
        if process:
            raise ConfigError(f"{where}: both socket and process config provided", "give either socket or prog")
        return Socket(socket=given["socket"], timeout=timeout)
    if not given.get("prog"):
        raise ConfigError(f"{where}: must set either prog or socket")
    return Process(
        prog=given["prog"], args=tuple(given.get("args", ())), env=dict(given.get("env", {})), timeout=timeout
    )


def _check(where: str, key: str, value: Any) -> None:
    wanted = _KEYS.get(key)
    if wanted is None:
        raise ConfigError(f"{where}: there is no setting `{key}`", f"the settings are {', '.join(_KEYS)}")
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, wanted) or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"{where}: `{key}` takes {_KINDS[wanted]}")


def _timeout(where: str, given: Mapping[str, Any]) -> int:
    """ns; Kapacitor's rule for it."""
    text = given.get("timeout")
    if text is None:
        return TIMEOUT
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ConfigError(f"{where}: `timeout` is no duration: {text!r}", 'write it like "10s"')
    timeout = sum(round(float(n) * _UNITS[unit]) for n, unit in parts)
    if timeout <= MILLISECOND:
        raise ConfigError(f"{where}: timeout is too small: {text}", 'write it like "10s"')
    return timeout


@dataclass(frozen=True)
class InModule:
    """A Python function that is imported when it is first needed: `file.py:name`, beside the file, or `module:name`."""

    place: str
    folder: Path

    def info(self) -> Info:
        return self._found().info()

    def start(self, node: Node) -> Session:
        return self._found().start(node)

    def _found(self) -> Udf:
        source, colon, name = self.place.rpartition(":")
        if not colon:
            hint = 'write python = "functions.py:name"'
            raise UdfError(f"python takes a module and a name, not {self.place!r}", hint)
        try:
            found = getattr(self._module(source), name)
        except Exception as error:
            raise UdfError(f"cannot import {self.place}: {type(error).__name__}: {error}") from error
        if not hasattr(found, "info") or not hasattr(found, "start"):
            raise UdfError(f"{self.place} is no user-defined function", "decorate it with @tickc.udf(…)")
        return found

    def _module(self, source: str) -> Any:
        if not source.endswith(".py"):
            return importlib.import_module(source)
        path = (self.folder / source).resolve()
        key = f"tickc_udf:{path}"
        if key not in sys.modules:
            spec = importlib.util.spec_from_file_location(key, path)
            assert spec is not None and spec.loader is not None
            module = sys.modules[key] = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[key]
                raise
        return sys.modules[key]
