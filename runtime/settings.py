"""Settings of what lies outside of a task: endpoints of web services, InfluxDBs; from a TOML file (docs/config.md)."""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from tickc.runtime.gotemplate import TemplateError
from tickc.runtime.gotemplate.functions import BUILTINS, DETAILS_FUNCTIONS
from tickc.runtime.gotemplate.interpret import interpret
from tickc.runtime.gotemplate.parse import parse_trees


class SettingsError(Exception):
    """The file of settings cannot be used: a sentence and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class TextTemplate:
    """A template of Go's text/template over any value, with `json` and `jsonCompact`."""

    def __init__(self, text: str, name: str) -> None:
        """Raises TemplateError where it cannot be parsed; `name` shows in errors."""
        self.text, self.name = text, name
        self._functions = {**BUILTINS, **DETAILS_FUNCTIONS}
        self._trees = parse_trees(name, text, self._functions)

    @property
    def constant(self) -> bool:
        """Whether the text is the same for all values."""
        return "{{" not in self.text

    def render(self, value: Any) -> str:
        """The text for a Go value; raises TemplateError."""
        return self.text if self.constant else interpret(self._trees, self.name, self._functions, value)


@dataclass(frozen=True)
class Endpoint:
    """Where and how data are posted. url, row_template and alert_template are templates of Go."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    username: str = ""
    password: str = ""
    row_template: str = ""
    alert_template: str = ""

    @cached_property
    def address(self) -> TextTemplate:
        return TextTemplate(self.url, "body")

    @cached_property
    def row(self) -> TextTemplate | None:
        return TextTemplate(self.row_template, "body") if self.row_template else None

    @cached_property
    def alert(self) -> TextTemplate | None:
        return TextTemplate(self.alert_template, "body") if self.alert_template else None

    def all_headers(self) -> dict[str, str]:
        """The headers, with the password if there is one."""
        if not (self.username and self.password):
            return dict(self.headers)
        secret = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {secret}", **self.headers}


@dataclass(frozen=True)
class Cluster:
    """An InfluxDB, as [[influxdb]] of Kapacitor's configuration has it. ca, certificate, key: paths of PEM files.

    timeout: a text such as 30s; "" and 0 are none.
    """

    name: str
    urls: tuple[str, ...]
    default: bool = False
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""
    insecure: bool = False
    timeout: str = ""


@dataclass(frozen=True)
class Settings:
    """All settings; endpoints and InfluxDBs by name."""

    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)


_TEXTS = {"url", "row-template", "alert-template", "row-template-file", "alert-template-file", "endpoint"}


def load(path: str | PathLike[str]) -> Settings:
    """The settings of a TOML file; raises SettingsError."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    tables = document.get("httppost", [])
    if not isinstance(tables, list):
        raise SettingsError(f"{path}: `httppost` is a table, and has to be a list of them", "write [[httppost]]")
    endpoints: dict[str, Endpoint] = {}
    for table in tables:
        try:
            name, endpoint = _endpoint(table, Path(path).parent)
        except (SettingsError, TemplateError) as error:
            raise SettingsError(f"{path}: [[httppost]] {table.get('endpoint', '')}: {error}") from None
        endpoints[name] = endpoint
    return Settings(endpoints, _clusters(document.get("influxdb", []), path))


def _endpoint(table: Mapping[str, Any], folder: Path) -> tuple[str, Endpoint]:
    headers, auth = table.get("headers", {}), table.get("basic-auth", {})
    if unknown := sorted(table.keys() - _TEXTS - {"headers", "basic-auth"}):
        raise SettingsError(f"there is no setting `{unknown[0]}`")
    if not all(isinstance(table.get(k, ""), str) for k in _TEXTS) or not all(
        isinstance(t, dict) and all(isinstance(v, str) for v in t.values()) for t in (headers, auth)
    ):
        raise SettingsError("all values have to be strings")
    if not table.get("endpoint"):
        raise SettingsError("must specify endpoint name")
    if not table.get("url"):
        raise SettingsError("must specify url")
    row, alert = (_template(table, kind, folder) for kind in ("row-template", "alert-template"))
    endpoint = Endpoint(table["url"], headers, auth.get("username", ""), auth.get("password", ""), row, alert)
    _ = endpoint.address, endpoint.row, endpoint.alert  # templates that cannot be parsed are told here
    return table["endpoint"], endpoint


_CLUSTER = {
    "username": "username", "password": "password", "token": "token", "ssl-ca": "ca", "ssl-cert": "certificate",
    "ssl-key": "key", "timeout": "timeout",
}  # fmt: skip


def _clusters(tables: Any, path: str | PathLike[str]) -> dict[str, Cluster]:
    """The InfluxDBs that are enabled, by name; what concerns only a server of Kapacitor is not looked at."""
    if not isinstance(tables, list):
        raise SettingsError(f"{path}: `influxdb` is a table, and has to be a list of them", "write [[influxdb]]")
    clusters: dict[str, Cluster] = {}
    for table in tables:
        if table.get("enabled", True) is False:
            continue
        name, urls = table.get("name", "default"), table.get("urls", ["http://localhost:8086"])
        texts = {k: table.get(k, "") for k in _CLUSTER}
        if not (isinstance(name, str) and isinstance(urls, list) and all(isinstance(u, str) for u in urls) and urls):
            raise SettingsError(f"{path}: [[influxdb]] must have a name and a list of urls")
        if wrong := sorted(k for k, v in texts.items() if not isinstance(v, str)):
            raise SettingsError(f"{path}: [[influxdb]] {name}: {wrong[0]} has to be a string")
        if bad := [u for u in urls if not u.startswith(("http://", "https://"))]:
            raise SettingsError(f"{path}: [[influxdb]] {name}: {bad[0]} is no URL of http or https")
        folder = Path(path).parent
        for file in ("ssl-ca", "ssl-cert", "ssl-key"):
            texts[file] = str(folder / texts[file]) if texts[file] else ""
        clusters[name] = Cluster(
            name, tuple(urls), default=bool(table.get("default")), insecure=bool(table.get("insecure-skip-verify")),
            **{_CLUSTER[k]: v for k, v in texts.items()},
        )  # fmt: skip
    return clusters


def _template(table: Mapping[str, Any], kind: str, folder: Path) -> str:
    file = table.get(f"{kind}-file")
    if not file:
        return str(table.get(kind, ""))
    if table.get(kind):
        raise SettingsError(f"must specify only one of {kind} and {kind}-file")
    try:
        return (folder / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"failed to read template file {file}: {error}") from None
