"""A web server on the loopback device, for tests of what posts and fetches."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What came in: (path, headers, body); and what is answered, after `delay` seconds."""

    url: str = ""
    status: int = 200
    answer: bytes = b""
    delay: float = 0.0
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)


@contextmanager
def serving() -> Iterator[Server]:
    """A server that runs within the block."""
    seen = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.requests.append((self.path, dict(self.headers), body.decode()))
            seen.connections.add(self.client_address[1])
            time.sleep(seen.delay)
            self.send_response(seen.status)
            self.send_header("Content-Length", str(len(seen.answer)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(seen.answer)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
