"""A small server that speaks what InfluxDB 2 and 3 have of the interface of version 1.

No server of these versions can be installed in the tests. What it does was compared with InfluxDB 2.7.12, as it runs,
and with the source of 3.9: it checks that requests keep to the protocol, and answers in their forms and their words.
Version 2 speaks MessagePack or JSON, whichever is asked for, shows the tags of the default policy alone, tells nothing
of a database that it does not have, and takes none of the lines of a batch of which it cannot parse one. Version 3
speaks JSON alone, its documents one behind the other, floats without a fraction as integers, nothing as an empty body;
it knows no policy in the FROM of SHOW, and takes nothing of a batch of which it cannot take one line.

It has the database `db`, and answers any SELECT of a measurement m with `rows`, as far as the query's bounds of time
and its fields let them pass.
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
from urllib.parse import parse_qsl, quote, urlsplit

import msgpack

FIELDS = {"f": "float", "i": "integer"}
CODES = {400: "invalid", 401: "unauthorized", 404: "not found", 422: "unprocessable entity"}  # of version 2
UNPARSABLE = re.compile(r"\w+,\w+=\w*\\ ")  # the backslash takes the space behind a tag


class Failure(Exception):
    """What is wrong with a query."""


class StandIn:
    """version: 2 or 3. policies: those of the database, and whether they are the default one; only of version 2.

    rows: [time, f, i]. refusals: statuses of the next requests, before any succeeds.
    """

    def __init__(self, version: int, token: str) -> None:
        self.version, self.token = version, token
        self.tells = f"v{version}.7.12" if version == 2 else f"{version}.9.6"  # of itself; a proxy may leave it out
        self.policies = {"autogen": True, "rp": False}
        self.rows: list[list[Any]] = []
        self.refusals: list[int] = []
        self.queries: list[dict[str, str]] = []
        self.written: list[tuple[dict[str, str], str]] = []
        self.port = 0

    @property
    def url(self) -> str:
        """The address as `tickc` takes it, without a database."""
        return f"influxdb{self.version}://{quote(self.token, safe='')}@127.0.0.1:{self.port}/"

    def results(self, given: dict[str, str]) -> list[dict[str, Any]]:
        """The results of a query's answer, of at most `chunk_size` rows each."""
        size = int(given["chunk_size"])
        try:
            found = self._answer(given["q"], given.get("db", ""))
        except Failure as failure:
            return [{"statement_id": 0, "error": str(failure)}]
        parts = [
            {
                **one,
                "values": one["values"][i : i + size],
                **({"partial": True} if i + size < len(one["values"]) else {}),
            }
            for one in found
            for i in range(0, max(len(one["values"]), 1), size)
        ]
        if not parts:
            return [{"statement_id": 0, "series": []}] if self.version == 2 else []
        whole = [{"statement_id": 0, "series": [part]} for part in parts]
        return [{**one, "partial": True} for one in whole[:-1]] + whole[-1:]

    def refusal(self, given: dict[str, str], body: str) -> tuple[int, dict[str, Any]] | None:
        """Status and body of the answer to lines that are not taken."""
        lines = [line for line in body.split("\n") if line and not line.startswith("#")]
        bad = [line for line in lines if UNPARSABLE.match(line)]
        if self.version == 3:
            data = (
                {"original_line": bad[0], "line_number": 1, "error_message": "a tag without a value"} if bad else None
            )
            return (400, {"error": "line protocol parsing error", "data": data}) if bad else None
        policy = given.get("rp", next((name for name, default in self.policies.items() if default), None))
        if given["db"] != "db" or policy not in self.policies:
            return 404, {"code": CODES[404], "message": "no dbrp mapping found"}
        words = "\n".join(f"unable to parse '{line}': invalid tag format" for line in bad)
        return (400, {"code": CODES[400], "message": words}) if bad else None

    def _answer(self, text: str, database: str) -> list[dict[str, Any]]:
        """The series of an answer; raises Failure. database: of a query that names none."""
        third = self.version == 3
        if text.startswith("SHOW DATABASES"):
            return [{"name": "databases", "columns": ["name"], "values": [["db"]]}]
        if third and text.startswith("SHOW RETENTION POLICIES"):
            return [{"name": "retention_policies", "columns": ["name", "default"], "values": [["db", True]]}]
        place = re.search(r' (?:ON|FROM) "([^"]+)"(?:\."([^"]+)")?', text)
        here = (place[1] if place else database) == "db"
        if text.startswith("SHOW RETENTION POLICIES"):
            values = [list(policy) for policy in self.policies.items()] if here else []
            return [{"columns": ["name", "default"], "values": values}]
        if third and text.startswith("SHOW") and re.search(r'FROM "\w+"\.', text):
            raise Failure("datafusion error: This feature is not implemented: retention policy in from clause")
        if not here or (third and place and place[2] not in (None, "autogen")):
            raise Failure("Database nope not found" if third else "database not found: nope")
        if text.startswith("SHOW FIELD KEYS"):
            return [{"name": "m", "columns": ["fieldKey", "fieldType"], "values": [list(p) for p in FIELDS.items()]}]
        if text.startswith("SHOW TAG KEYS"):
            if not third and not any(self.policies.values()):
                raise Failure("default retention policy not set for: db")
            return [{"name": "m", "columns": ["tagKey"], "values": [["host"]]}]
        return self._select(text)

    def _select(self, text: str) -> list[dict[str, Any]]:
        head = text.partition(" FROM ")[0]
        names = [name for name in FIELDS if "*::field" in head or re.search(rf"\b{name}\b", head)]
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
        tags = {"tags": {"host": "a"}} if "GROUP BY *" in text or "SELECT f" in text else {}
        return [{"name": "m", **tags, "columns": ["time", *names], "values": values}] if values else []


@contextmanager
def standing_in(version: int, token: str) -> Iterator[StandIn]:
    """A server that runs within the block."""
    seen = StandIn(version, token)
    scheme = "Token" if version == 2 else "Bearer"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

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
                lines = gzip.decompress(body).decode()
                if (refusal := seen.refusal(given, lines)) is not None:
                    self._send(refusal[0], json.dumps(refusal[1]).encode(), "application/json")
                    return
                if lines:
                    seen.written.append((given, lines))
                self._send(204, b"", "")

        def _query(self, given: dict[str, str]) -> None:
            assert seen.version == 3 or self.headers["Content-Type"] == "application/x-www-form-urlencoded"
            assert given["chunked"] == "true" and int(given["chunk_size"]) > 0
            seen.queries.append(given)
            documents = [{"results": [one]} for one in seen.results(given)]
            if seen.version == 2 and self.headers["Accept"] == "application/x-msgpack":
                self._send(200, b"".join(map(msgpack.packb, documents)), "application/x-msgpack")
            else:
                assert self.headers["Accept"] == "application/json"
                text = ("\n" if seen.version == 2 else "").join(map(json.dumps, documents))
                self._send(200, re.sub(r"(\d)\.0\b", r"\1", text).encode(), "application/json")

        def _say(self, status: int, words: str) -> None:
            said = {"code": CODES.get(status, "no"), "message": words} if seen.version == 2 else {"error": words}
            self._send(status, json.dumps(said).encode(), "application/json")

        def _send(self, status: int, body: bytes, form: str) -> None:
            self.send_response(status)
            self.send_header("X-Influxdb-Version", seen.tells)
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
