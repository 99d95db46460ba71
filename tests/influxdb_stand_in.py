"""A small server that speaks what InfluxDB 2 and 3 have of the interface of version 1.

No server of these versions can be installed here, so this one checks that requests keep to the protocol (their
documentation: /query and /write of the "v1 compatibility API") and answers in their forms: version 2 in MessagePack or
JSON, whichever is asked for, version 3 in JSON alone, floats without a fraction as integers, nothing as an empty body.
It answers any SELECT of a measurement m with `rows`, as far as the query's bounds of time and its fields let them pass.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgpack

FIELDS = {"f": "float", "i": "integer"}


class StandIn:
    """version: 2 or 3. rows: [time, f, i]. refusals: statuses of the next requests, before any succeeds."""

    def __init__(self, version: int, token: str) -> None:
        self.version, self.token = version, token
        self.rows: list[list[Any]] = []
        self.refusals: list[int] = []
        self.queries: list[dict[str, str]] = []
        self.written: list[tuple[dict[str, str], str]] = []
        self.port = 0

    def answer(self, text: str) -> list[dict[str, Any]]:
        """The series of an answer."""
        if text.startswith("SHOW DATABASES"):
            return [{"name": "databases", "columns": ["name"], "values": [["db"]]}]
        if text.startswith("SHOW RETENTION POLICIES"):
            return [{"columns": ["name", "default"], "values": [["autogen", True]]}]
        if text.startswith("SHOW FIELD KEYS"):
            return [{"name": "m", "columns": ["fieldKey", "fieldType"], "values": [list(p) for p in FIELDS.items()]}]
        if text.startswith("SHOW TAG KEYS"):
            return [{"name": "m", "columns": ["tagKey"], "values": [["host"]]}]
        return self._select(text)

    def _select(self, text: str) -> list[dict[str, Any]]:
        head = text.partition(" FROM ")[0]
        names = [name for name in FIELDS if re.search(rf"\b{name}\b", head)]
        at = [1 + list(FIELDS).index(name) for name in names]
        rows = [row for row in self.rows if any(row[i] is not None for i in at)]
        for operator, moment in re.findall(r"time (>=|<) (-?\d+)", text):
            rows = [row for row in rows if (row[0] >= int(moment)) == (operator == ">=")]
        for name in re.findall(r'\("([^"]+)"::field = "[^"]+"::field\) = false', text):
            absent = [row for row in rows if name not in FIELDS or row[1 + list(FIELDS).index(name)] is None]
            rows = absent if self.version == 2 else []  # for version 3 null = false is null
        if "ORDER BY time DESC" in text:
            rows = rows[::-1]
        if "LIMIT 1" in text:
            rows = rows[:1]
        values = [[row[0], *(row[i] for i in at)] for row in rows]
        tags = {} if "LIMIT" in text else {"tags": {"host": "a"}}
        return [{"name": "m", **tags, "columns": ["time", *names], "values": values}] if values else []


@contextmanager
def standing_in(version: int, token: str) -> Iterator[StandIn]:
    """A server that runs within the block."""
    seen = StandIn(version, token)
    scheme = "Token" if version == 2 else "Bearer"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if urlsplit(self.path).path == "/ping":
                self._send(204, b"", "")
            else:
                self.do_POST()

        def do_POST(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != f"{scheme} {seen.token}":
                self._say(401, "unauthorized access")
            elif seen.refusals:
                self._say(seen.refusals.pop(0), "busy")
            elif parts.path == "/query":
                assert (self.command == "GET") == (seen.version == 3)
                self._query(dict(parse_qsl(parts.query if seen.version == 3 else body.decode())))
            else:
                assert parts.path == "/write" and self.headers["Content-Encoding"] == "gzip"
                given = dict(parse_qsl(parts.query))
                assert given["db"] and given["precision"] == "ns"
                seen.written.append((given, gzip.decompress(body).decode()))
                self._send(204, b"", "")

        def _query(self, given: dict[str, str]) -> None:
            assert seen.version == 3 or self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            assert given["chunked"] == "true" and int(given["chunk_size"]) > 0
            seen.queries.append(given)
            result = {"results": [{"statement_id": 0, "series": seen.answer(given["q"])}]}
            if seen.version == 2 and self.headers["Accept"] == "application/x-msgpack":
                self._send(200, msgpack.packb(result), "application/x-msgpack")
            else:
                assert self.headers["Accept"] == "application/json"
                text = re.sub(r"(\d)\.0\b", r"\1", json.dumps(result)) + "\n"
                empty = seen.version == 3 and not result["results"][0]["series"]
                self._send(200, b"" if empty else text.encode(), "application/json")

        def _say(self, status: int, words: str) -> None:
            name = "message" if seen.version == 2 else "error"
            self._send(status, json.dumps({"code": "no", name: words}).encode(), "application/json")

        def _send(self, status: int, body: bytes, form: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", form)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
