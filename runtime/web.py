"""Requests to web services: bounded in time, over connections that stay open, and few to a host that is down."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT = 10.0  # seconds, where a script sets none
PATIENCE = 3  # failures in a row after which a host is left alone for a while
LONGEST_PAUSE = 60.0
MOST_OF_ANSWER = 1 << 26  # bytes


class WebError(Exception):
    """A request did not get an answer."""


@dataclass(slots=True)
class _Host:
    """The connection to one host, and how long it has failed."""

    connection: http.client.HTTPConnection | None = None
    failures: int = 0
    pause: float = 0.0
    until: float = 0.0  # no request before this moment


@dataclass
class Client:
    """Sends requests one after the other; not for several threads at once.

    A host that fails PATIENCE times in a row gets no request for a second, then for two, four, … seconds; what would
    have been sent fails at once.
    """

    timeout: float = TIMEOUT
    verify: bool = True
    _hosts: dict[tuple[str, str], _Host] = field(default_factory=dict)

    def request(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The status and the body of the answer; raises WebError where there is none."""
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise WebError(f"{url!r} is no address: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise WebError(f"{url!r} is no address of http or https")
        host = self._hosts.setdefault((parts.scheme, parts.netloc), _Host())
        if time.monotonic() < host.until:
            raise WebError(f"{parts.netloc} did not answer before and is left alone for a while")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = self._exchange(host, parts.scheme, parts.netloc.rpartition("@")[2], method, target, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._failed(host)
            raise WebError(f"{method} {url}: {error or type(error).__name__}") from None
        host.failures, host.pause = 0, 0.0
        return answer

    def close(self) -> None:
        """Close all connections."""
        for host in self._hosts.values():
            _drop(host)

    def _exchange(
        self, host: _Host, scheme: str, place: str, method: str, target: str, body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> tuple[int, bytes]:  # fmt: skip
        deadline = time.monotonic() + self.timeout
        reused = host.connection is not None
        connection = host.connection = host.connection or self._connect(scheme, place)
        try:
            connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
        except (ConnectionError, http.client.BadStatusLine):
            _drop(host)
            if not reused:
                raise
            return self._exchange(host, scheme, place, method, target, body, headers)  # it had been closed meanwhile
        data = _read(connection, answer, deadline)
        if answer.will_close:
            _drop(host)
        return answer.status, data

    def _connect(self, scheme: str, place: str) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(place, timeout=self.timeout)
        import ssl

        context = ssl.create_default_context() if self.verify else ssl._create_unverified_context()
        return http.client.HTTPSConnection(place, timeout=self.timeout, context=context)

    @staticmethod
    def _failed(host: _Host) -> None:
        _drop(host)
        host.failures += 1
        if host.failures >= PATIENCE:
            host.pause = min(2 * host.pause or 1.0, LONGEST_PAUSE)
            host.until = time.monotonic() + host.pause


def _drop(host: _Host) -> None:
    if host.connection is not None:
        host.connection.close()
        host.connection = None


def _read(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body; TimeoutError where it takes too long, ValueError where it is too long."""
    parts: list[bytes] = []
    size = 0
    while part := answer.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MOST_OF_ANSWER:
            raise ValueError("the answer is too long")
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    answer.close()  # all of it is read; the connection is free again
    return b"".join(parts)
