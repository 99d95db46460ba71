"""Where an InfluxDB is and how to log in: `influxdb://user:password@host:8086/db.rp`, settings, the environment.

influxdb://    InfluxDB 1.x           influxdb+https://    the same over TLS
influxdb2://   InfluxDB 2.x, by its endpoints of version 1; the token stands where the user would
influxdb3://   InfluxDB 3.x, likewise
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from tickc.runtime.settings import Cluster, Settings, SettingsError
from tickc.runtime.sources.base import did_you_mean

PORTS = {1: 8086, 2: 8086, 3: 8181}
SCHEMES = {"influxdb": 1, "influxdb2": 2, "influxdb3": 3}
TIMEOUT = 300.0  # seconds without a byte after which a server counts as away
PATIENCE = 300.0  # seconds that a server may be away
CONNECTIONS = 4
USERS = ("INFLUX_USERNAME", "INFLUX_PASSWORD")  # as the client programs of InfluxDB have them
TOKENS = {1: ("INFLUX_TOKEN",), 2: ("INFLUX_TOKEN",), 3: ("INFLUXDB3_AUTH_TOKEN", "INFLUX_TOKEN")}
EXAMPLE = "influxdb://USER:PASSWORD@HOST:8086/DATABASE"
_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)")
_UNIT = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_FLAGS = {"": True, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class Address:
    """One server, the login, and what of it is meant.

    base: its URL over http or https. version: 1, 2 or 3. database, policy: "" where the URL does not say. measurements:
    empty for all. timeout, patience: seconds.
    """

    base: str
    version: int = 1
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    org: str = ""
    database: str = ""
    policy: str = ""
    measurements: tuple[str, ...] = ()
    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True
    timeout: float = TIMEOUT
    patience: float = PATIENCE
    connections: int = CONNECTIONS

    def __str__(self) -> str:
        """The address without login, as messages show it."""
        place = quote(self.database, safe="") + (f".{quote(self.policy, safe='')}" if self.policy else "")
        return f"{self.base}/{place}" if place else self.base


def parse(text: str, settings: Settings | None = None, environment: Mapping[str, str] | None = None) -> Address:
    """The address that a URL gives, completed by the settings and the environment (None: of this process).

    A URL without a host is the default [[influxdb]] of the settings; one whose host is the name of an [[influxdb]], or
    that is one of its `urls`, takes from there what it does not say. Raises SettingsError.
    """
    environment = os.environ if environment is None else environment
    parts, version, secure = _split(text)
    try:
        options = _options(parts.query)
        cluster = _cluster(parts, secure, settings)
        known = _of_cluster(cluster) if cluster is not None else {}
        if parts.hostname and not (cluster is not None and cluster.name == parts.netloc.rpartition("@")[2]):
            known["base"] = _base(parts, version, secure)
        elif cluster is None:
            known["base"] = f"http{'s' if secure else ''}://localhost:{PORTS[version]}"
        given = {**known, **_login(parts, version, environment, known), **options}
        return Address(version=version, **given, **_place(parts.path))
    except SettingsError as error:
        raise SettingsError(f"{_hidden(text)}: {error.message}", error.hint) from None


def named(name: str, settings: Settings | None) -> Address:
    """The address of an [[influxdb]] of the settings, as `.cluster(NAME)` means it; raises SettingsError."""
    clusters = {} if settings is None else settings.clusters
    if name not in clusters:
        hint = did_you_mean(name, clusters) or "give the file that declares it: --config FILE"
        raise SettingsError(f"there is no [[influxdb]] named {name!r} in the settings", hint)
    return Address(**_of_cluster(clusters[name]))


def _split(text: str) -> tuple[SplitResult, int, bool]:
    """The parts of a URL, the version of the server, and whether it is reached over TLS."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise SettingsError(
            f"{_hidden(text)} is no URL", f"such as {EXAMPLE}; / # ? @ : of name and password are %2F %23 %3F %40 %3A"
        ) from None
    kind, plus, transport = parts.scheme.partition("+")
    if kind not in SCHEMES or (plus and transport not in ("http", "https")):
        schemes = ", ".join(f"{s}://" for s in (*SCHEMES, "influxdb+https"))
        raise SettingsError(f"{_hidden(text)} is no address of InfluxDB", f"it begins with one of {schemes}")
    return parts, SCHEMES[kind], transport == "https"


def _hidden(text: str) -> str:
    """A URL without what may be secret in it."""
    text = re.sub(r"//.*@", "//…@", text)
    return re.sub(r"(token=)[^&#]*", r"\1…", text)


def _base(parts: SplitResult, version: int, secure: bool) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"http{'s' if secure else ''}://{host}:{parts.port or PORTS[version]}"


def _cluster(parts: SplitResult, secure: bool, settings: Settings | None) -> Cluster | None:
    """What the settings know of the server."""
    clusters = {} if settings is None else settings.clusters
    place = parts.netloc.rpartition("@")[2]
    if not place:
        return next((c for c in clusters.values() if c.default or len(clusters) == 1), None)
    if place in clusters:
        return clusters[place]
    wanted = _base(parts, SCHEMES[parts.scheme.partition("+")[0]], secure)
    return next((c for c in clusters.values() if wanted in (_whole(u) for u in c.urls)), None)


def _whole(url: str) -> str:
    """The URL of a server with its port."""
    parts = urlsplit(url)
    return _base(parts, 1, parts.scheme == "https")


def _of_cluster(cluster: Cluster) -> dict[str, Any]:
    known: dict[str, Any] = {
        "base": _whole(cluster.urls[0]),
        "username": cluster.username,
        "password": cluster.password,
        "token": cluster.token,
        "ca": cluster.ca,
        "certificate": cluster.certificate,
        "key": cluster.key,
    }
    if timeout := sum(_parts(cluster.timeout)):
        known["timeout"] = timeout
    return {k: v for k, v in known.items() if v} | {"verify": not cluster.insecure}


def _login(
    parts: SplitResult, version: int, environment: Mapping[str, str], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Name and password, or a token: of the URL, else of the settings, else of the environment."""
    name, secret = unquote(parts.username or ""), unquote(parts.password or "")
    if name or secret:
        if version > 1 and not (name and secret):
            return {"token": name or secret}
        return {"username": name, "password": secret, "token": ""}
    org = {"org": environment["INFLUX_ORG"]} if version == 2 and environment.get("INFLUX_ORG") else {}
    if known.get("username") or known.get("token"):
        return org
    token = next((environment[v] for v in TOKENS[version] if environment.get(v)), "")
    if token and (version > 1 or not environment.get(USERS[0])):
        return {"token": token, **org}
    return {"username": environment.get(USERS[0], ""), "password": environment.get(USERS[1], ""), **org}


def _place(path: str) -> dict[str, Any]:
    """Database and retention policy of a path; a dot or slash of a name is written %2E or %2F."""
    place = path.strip("/")
    if "/" in place:
        raise SettingsError("the path has more parts than a database", f"such as {EXAMPLE}.POLICY?measurement=cpu")
    database, dot, policy = place.partition(".")
    if dot and not (database and policy):
        raise SettingsError(f"{place!r} is no database and retention policy", f"such as {EXAMPLE}.POLICY")
    return {"database": unquote(database), "policy": unquote(policy)}


def _options(query: str) -> dict[str, Any]:
    """What stands behind the question mark."""
    given: dict[str, Any] = {}
    measurements: list[str] = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        match name:
            case "measurement":
                measurements.append(value)
            case "timeout" | "patience":
                given[name] = _seconds(value, name)
            case "connections":
                given[name] = _count(value)
            case "insecure-skip-verify":
                given["verify"] = not _flag(value, name)
            case "ssl-ca" | "ssl-cert" | "ssl-key":
                given[{"ssl-ca": "ca", "ssl-cert": "certificate", "ssl-key": "key"}[name]] = value
            case "org" | "token":
                given[name] = value
            case _:
                raise SettingsError(f"there is no option {name!r}", did_you_mean(name, _KNOWN))
    return {**given, "measurements": tuple(dict.fromkeys(measurements))} if measurements else given


_KNOWN = (
    "connections", "insecure-skip-verify", "measurement", "org", "patience", "ssl-ca", "ssl-cert", "ssl-key",
    "timeout", "token",
)  # fmt: skip


def _seconds(text: str, name: str) -> float:
    """The length of a time such as 30s, 1m30s, 500ms or a number of seconds."""
    total = sum(_parts(text))
    if not total:
        raise SettingsError(f"{name} is a length of time, not {text!r}", "such as 30s or 5m")
    return total


def _parts(text: str) -> Iterator[float]:
    end = 0
    while end < len(text):
        part = _LENGTH.match(text, end)
        if part is None or (not part[2] and end):
            raise SettingsError(f"{text!r} is no length of time", "such as 30s or 5m")
        yield float(part[1]) * _UNIT[part[2]]
        end = part.end()


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise SettingsError(f"connections is a number from 1 to 64, not {text!r}")
    return int(text)


def _flag(text: str, name: str) -> bool:
    if text not in _FLAGS:
        raise SettingsError(f"{name} is yes or no, not {text!r}")
    return _FLAGS[text]
