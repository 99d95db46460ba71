"""A proxy for TCP on the loopback device that breaks connections off when a test says so."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Proxy:
    """Passes bytes to and fro. `cuts`: after how many bytes of answers the next connections break, one after another;
    -1: as soon as an answer comes, of which nothing is passed on. Connections beyond these are left alone."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.cuts: list[int] = []
        self.broken = self.passed = 0  # connections so far, and bytes of answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        threading.Thread(target=_copy, args=(client, server), daemon=True).start()
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 14):
                limit = self.cuts[0] if self.cuts else None
                if limit is not None and passed + len(data) > limit:
                    self.cuts.pop(0)
                    self.broken += 1
                    client.sendall(data[: max(limit - passed, 0)])
                    break
                client.sendall(data)
                passed += len(data)
                self.passed += len(data)
        for one in (client, server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # which wakes the thread that reads it
            one.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 14):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def cutting(port: int) -> Iterator[Proxy]:
    """A proxy to a port of this machine that runs within the block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
