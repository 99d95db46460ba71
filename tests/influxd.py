"""A real server of InfluxDB for the tests: `influxd` 1.x on free ports of this machine, with a folder of its own.

Where there is none, these tests are skipped, and the end of the run says so; in CI (`CI=true`) they fail.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

UNPACKED = Path(sys.prefix) / "influxdb/usr/bin/influxd"  # where `make test` puts Debian's package
INFLUXD = shutil.which("influxd") or (str(UNPACKED) if UNPACKED.exists() else None)
ABSENT = "there is no `influxd` here, so nothing was tested against a server of InfluxDB: apt-get install influxdb"
STARTS = 5  # a free port may be taken by another before the server has it
PATIENCE = 30.0  # seconds until a server has to answer
CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[coordinator]
{coordinator}
[monitor]
store-enabled = false
[continuous_queries]
enabled = false
[subscriber]
enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
{http}
"""


class Refused(Exception):
    """The server answered with an error: its status and its text."""


class Influxd:
    """A server; `start` and `kill` it as often as you like, it keeps its port and its data."""

    def __init__(
        self,
        folder: Path,
        *,
        user: tuple[str, str] | None = None,
        tls: bool = False,
        http: dict[str, Any] | None = None,
        coordinator: dict[str, Any] | None = None,
    ) -> None:
        """user: name and password of the administrator, where the server asks for one.

        http, coordinator: settings of these sections.
        """
        self.folder, self.user = folder, user
        self.certificate = folder / "ca.pem" if tls else None  # the authority's
        self.port = 0
        self._http = {"auth-enabled": user is not None, **(http or {})}
        self._coordinator = coordinator or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        folder.mkdir(parents=True, exist_ok=True)
        if tls:
            self._http |= {"https-enabled": True, "https-certificate": str(_certificate(folder))}

    @property
    def address(self) -> str:
        """http://127.0.0.1:port, or https."""
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}"

    def url(self, db: str = "", rp: str = "", *, login: bool = True) -> str:
        """The address as `tickc` takes it: influxdb://user:password@127.0.0.1:port/db.rp."""
        scheme = "influxdb+https" if self.certificate else "influxdb"
        user = "{}:{}@".format(*self.user) if self.user and login else ""
        return f"{scheme}://{user}127.0.0.1:{self.port}/{db}{'.' + rp if rp else ''}"

    def start(self) -> Influxd:
        """Starts the server and waits until it answers."""
        assert INFLUXD and self._process is None
        first = not self.port
        for _ in range(STARTS if first else 1):
            self.port = self.port if not first else _free_port()
            if self._started():
                break
        else:
            raise RuntimeError(f"influxd does not start:\n{(self.folder / 'log').read_text()[-2000:]}")
        if first and self.user:
            name, password = self.user
            self.query(f"CREATE USER \"{name}\" WITH PASSWORD '{password}' WITH ALL PRIVILEGES", login=False)
        return self

    def _started(self) -> bool:
        config = self.folder / "influxdb.conf"
        sections = {"http": self._http, "coordinator": self._coordinator}
        texts = {k: "\n".join(f"{n} = {json.dumps(v)}" for n, v in given.items()) for k, given in sections.items()}
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, **texts))
        self._process = _run([str(INFLUXD), "-config", str(config)], self.folder / "log")
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._send("GET", "/ping", {}, None, login=False)
                return True
            except OSError:
                time.sleep(0.02)
        self.kill()
        return False

    def kill(self) -> None:
        """Ends the server as a crash would: nothing is flushed, connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kills the server and starts it again."""
        self.kill()
        self.start()

    def database(self) -> str:
        """The name of a new database, which no other test uses."""
        name = f"db{next(self._names)}"
        self.query(f'CREATE DATABASE "{name}"')
        return name

    def write(self, lines: str | bytes, db: str, rp: str = "") -> None:
        """Writes line protocol with times in ns; raises Refused."""
        body = lines.encode() if isinstance(lines, str) else lines
        self._send("POST", "/write", {"db": db, "rp": rp, "precision": "ns"}, body)

    def query(self, text: str, db: str = "", rp: str = "", *, login: bool = True) -> list[dict[str, Any]]:
        """The series of a query's answer as InfluxDB's JSON has them, times in ns; raises Refused."""
        parameters = {"q": text, "db": db, "rp": rp, "epoch": "ns"}
        answer = json.loads(self._send("POST", "/query", parameters, b"", login=login))
        for result in answer["results"]:
            if "error" in result:
                raise Refused(result["error"])
        return [series for result in answer["results"] for series in result.get("series", ())]

    def _send(self, method: str, path: str, query: dict[str, str], body: bytes | None, *, login: bool = True) -> bytes:
        request = Request(f"{self.address}{path}?{urlencode(query)}", body, method=method)
        if self.user and login:
            request.add_header("Authorization", "Basic " + base64.b64encode(":".join(self.user).encode()).decode())
        context = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        try:
            with urlopen(request, timeout=PATIENCE, context=context) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            raise Refused(f"{error.code}: {error.read().decode()}") from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _certificate(folder: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 and localhost; ca.pem beside it is the authority's."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder / "server.pem"


def _run(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """The process, which does not outlive this one.

    The kernel kills it when the thread that started it ends (`setpriv --pdeathsig`): one is kept for that.
    """
    setpriv = shutil.which("setpriv")
    started: Future[subprocess.Popen[bytes]] = Future()

    def run() -> None:
        with open(log, "ab") as file:
            guard = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
            process = subprocess.Popen([*guard, *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        started.set_result(process)
        process.wait()

    threading.Thread(target=run, daemon=True).start()
    return started.result()


@pytest.fixture(scope="session")
def start_influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Influxd]]:
    """Starts servers with the options of Influxd; all are killed at the end of the run."""
    if INFLUXD is None:
        pytest.fail(ABSENT) if os.environ.get("CI") == "true" else pytest.skip(ABSENT)
    servers: list[Influxd] = []

    def start(**options: Any) -> Influxd:
        servers.append(Influxd(tmp_path_factory.mktemp("influxd"), **options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def influxd(start_influxd: Callable[..., Influxd]) -> Influxd:
    """A server that tests share, each in a `database()` of its own; it has to be left running."""
    return start_influxd()
