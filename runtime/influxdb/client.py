"""A client of InfluxDB's HTTP interface of version 1, which versions 2 and 3 have as well."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from tickc.runtime.influxdb.address import EXAMPLE, Address
from tickc.runtime.influxdb.answers import (
    JSON,
    MSGPACK,
    Gathered,
    InfluxDBError,
    Kinds,
    Series,
    answer,
    series,
)
from tickc.runtime.influxql.answer import Answer

log = logging.getLogger("tickc.influxdb")
T = TypeVar("T")

CHUNK_ROWS = 10_000
READ_BYTES = 1 << 16
WORDS_BYTES = 1 << 24  # of a refusal: it may quote every line of a batch
CONNECT = 10.0  # seconds
PAUSE, LONGEST_PAUSE = 0.1, 15.0  # seconds between attempts
TELL_AFTER = 2.0  # seconds after which the user hears that a server is away
SETTINGS = "or in [[influxdb]] of --config FILE"
LOGINS = {
    1: f"give it in the URL ({EXAMPLE}), in INFLUX_USERNAME and INFLUX_PASSWORD, {SETTINGS}",
    2: f"give a token in the URL (influxdb2://TOKEN@HOST:8086/DATABASE), in INFLUX_TOKEN, {SETTINGS}",
    3: f"give a token in the URL (influxdb3://TOKEN@HOST:8181/DATABASE), in INFLUXDB3_AUTH_TOKEN, {SETTINGS}",
}
TO_MAP = "name a bucket so (with a policy: DATABASE/POLICY) or map one: influx v1 dbrp create; the token must allow it"
UNMAPPED = "no dbrp mapping found"  # what version 2 says of a database to which no bucket belongs
NOT_INSTALLED = "pip install 'tickc[influxdb]'"


class Server:
    """An InfluxDB at an address. Any thread may use it.

    What fails because the server is away or busy is tried again, for as long as the address has patience; but the first
    word, `check`, is not. All methods raise InfluxDBError.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.version = address.version  # or what the server tells of itself, 1, 2 or 3
        self._closing = threading.Event()
        self._pool = _pool(address)

    def close(self) -> None:
        """Close the connections; what waits for the server gives up."""
        self._closing.set()
        self._pool.clear()

    # -- questions

    def check(self, reads: bool = True) -> None:
        """Ask whether the server is there, its version and, where it is to be read, whether it takes the login."""
        with self._request("GET", "/ping", {}) as response:
            response.drain_conn()
            if told := re.match("v?([123])[.]", response.headers.get("X-Influxdb-Version", "")):
                self.version = int(told[1])
        if reads:
            for _ in self._series("SHOW DATABASES", "", ""):
                pass

    def table(self, text: str, database: str = "", policy: str = "") -> list[tuple[str, dict[str, Any]]]:
        """The rows of an answer to SHOW and the like: (name of the series, {column: value})."""
        found = self.patiently(lambda: list(self._series(text, database, policy)))
        return [(one.name, dict(zip(one.columns, row))) for one in found for row in one.values]

    def tags(self, text: str, database: str = "") -> Mapping[str, str]:
        """The tags of the first series of a query's answer."""
        found = self.patiently(lambda: list(self._series(text, database, "")))
        return found[0].tags if found else {}

    def execute(self, text: str) -> None:
        """Run a statement such as CREATE DATABASE."""
        self.table(text)

    def gather(
        self, text: str, database: str = "", policy: str = "", *, wanted: frozenset[str] | None = None,
        kinds: Kinds | None = None, go_on: Callable[[int], bool] = lambda rows: True,
    ) -> Gathered:  # fmt: skip
        """All rows of a SELECT, asked once.

        wanted: the columns to keep. kinds: of the columns, for servers that answer in JSON. go_on: TooMuch where it
        says no to the rows that came so far.
        """
        gathered = Gathered(wanted, kinds or {})
        for found in self._series(text, database, policy):
            gathered.add(found)
            if not go_on(gathered.rows):
                raise TooMuch
        return gathered

    def answer(self, text: str, database: str = "", policy: str = "", run: int = 0) -> Answer:
        """The answer to a SELECT; database and policy: of measurements that name none, "" for those of the address."""
        gathered = self.patiently(lambda: self.gather(text, database, policy))
        if gathered.beyond.counts:
            column, value = next(iter(gathered.beyond.first.items()))
            raise InfluxDBError(f"column {column} has a number beyond int64: {value}")
        return answer(gathered, run)

    def answers(self, texts: Sequence[str], database: str = "", policy: str = "") -> Iterator[Answer]:
        """The answer to each query, in order; `run` is its position. As many are asked at once as the address says."""
        tasks = ((lambda i=i, t=t: self.answer(t, database, policy, i)) for i, t in enumerate(texts))
        return self.at_once(tasks)

    def at_once(self, tasks: Iterator[Callable[[], T]]) -> Iterator[T]:
        """The results of tasks in order; as many as the address has connections are at work at a time."""
        waiting: deque[Future[T]] = deque()
        for task in tasks:
            waiting.append(self.begin(task))
            if len(waiting) >= self.address.connections:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    @staticmethod
    def begin(task: Callable[[], T]) -> Future[T]:
        """Do a task in a thread of its own, which does not hold back the end of the program."""
        coming: Future[T] = Future()

        def run() -> None:
            try:
                coming.set_result(task())
            except BaseException as error:  # it is raised where the result is asked for
                coming.set_exception(error)

        threading.Thread(target=run, name="tickc-influxdb", daemon=True).start()
        return coming

    # -- writing

    def write(self, body: bytes, database: str, policy: str = "", consistency: str = "") -> None:
        """Write line protocol, packed with gzip, with times in ns; asked once."""
        given = {"db": database, "rp": policy, "precision": "ns", "consistency": consistency}
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        try:
            with self._request("POST", "/write", given, body, headers) as response:
                response.drain_conn()
        except InfluxDBError as error:
            if UNMAPPED not in error.reason:
                raise
            place = f"{database}.{policy}" if policy else database
            raise InfluxDBError(
                f"{self.address.base} has no bucket for {place}: {error.reason}", TO_MAP,
                status=error.status, reason=error.reason,
            ) from None  # fmt: skip

    # -- the ways of HTTP

    def patiently(self, work: Callable[[], T]) -> T:
        """What `work` gives, which is tried again while the server is away or busy, with pauses that grow."""
        began = told = 0.0
        pauses = backoff()
        while True:
            try:
                found = work()
            except InfluxDBError as error:
                now = time.monotonic()
                began = began or now
                if not error.transient or self._closing.is_set() or now - began >= self.address.patience:
                    raise
                if not told and now - began >= TELL_AFTER:
                    log.warning("waiting for InfluxDB: %s", error.message)
                    told = now
                self._closing.wait(min(next(pauses), began + self.address.patience - now))
            else:
                if told:
                    log.warning("InfluxDB at %s is back", self.address.base)
                return found

    def _series(self, text: str, database: str, policy: str) -> Iterator[Series]:
        """The series of the answer to one statement, as they come."""
        asked = {
            "q": text, "db": database or self.address.database, "rp": policy or self.address.policy,
            "epoch": "ns", "chunked": "true", "chunk_size": str(CHUNK_ROWS),
        }  # fmt: skip
        third = self.version == 3  # which reads no body of old, and answers nothing with nothing
        with self._request("GET" if third else "POST", "/query", asked) as response:
            form = response.headers.get("Content-Type", "").partition(";")[0].strip()
            if form not in (MSGPACK, JSON):
                raise InfluxDBError(  # or the connection broke within the header
                    f"{self.address.base} does not answer as InfluxDB does", "is this the address of an InfluxDB?",
                    transient=True,
                )  # fmt: skip
            with _telling(self.address):
                chunks = response.stream(READ_BYTES)
                yield from series(chunks, form, lambda words: _refusal(words, text), may_be_empty=third)

    @contextmanager
    def _request(
        self, method: str, path: str, given: Mapping[str, str], body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:  # fmt: skip
        """The response to a request, its body not read yet; the connection is kept where it is read to the end."""
        from urllib.parse import urlencode

        address = self.address
        given = {k: v for k, v in {**given, "org": address.org}.items() if v}
        query = urlencode(given, errors="surrogateescape")
        own = {"Accept": MSGPACK if self.version < 3 else JSON, **_login(address), **(headers or {})}
        url = address.base + path
        if body is None and method == "POST":
            body, own["Content-Type"] = query.encode(), "application/x-www-form-urlencoded"
        elif query:
            url = f"{url}?{query}"
        with _telling(address):
            response = self._pool.request(
                method, url, body=body, headers=own, preload_content=False, redirect=False, retries=False
            )
        done = False
        try:
            if response.status // 100 != 2:
                with _telling(address):
                    raise _rejection(address, response.status, response.read(WORDS_BYTES))
            yield response
            done = True
        finally:
            if done:
                response.release_conn()
            else:
                response.close()


class TooMuch(InfluxDBError):
    """There are more rows than were wanted at once, or more than the server gives at once."""

    def __init__(self, words: str = "") -> None:
        super().__init__(f"the query asks for too much at once: {words}" if words else "the query gives too many rows")


def backoff() -> Iterator[float]:
    """Pauses in seconds, each about twice the last, with chance in it so that clients do not come back together."""
    pause = PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, LONGEST_PAUSE)


def quoted(name: str) -> str:
    """An identifier of InfluxQL (influxql.QuoteIdent)."""
    return '"' + name.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') + '"'


def text_literal(text: str) -> str:
    """A string of InfluxQL (influxql.QuoteString)."""
    return "'" + text.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "\\'") + "'"


def _pool(address: Address) -> Any:
    """A pool of connections; SourceError where the library or a file of a certificate is not there."""
    try:
        import msgpack  # noqa: F401
        import urllib3
    except ImportError as error:
        raise InfluxDBError(f"InfluxDB needs the package {error.name}", NOT_INSTALLED) from None
    import ssl

    tls: dict[str, Any] = {}
    if address.base.startswith("https://"):
        try:
            context = ssl.create_default_context(cafile=address.ca or None)
            if address.certificate:
                context.load_cert_chain(address.certificate, address.key or None)
        except (OSError, ssl.SSLError) as error:
            files = " or ".join(f for f in (address.ca, address.certificate, address.key) if f)
            raise InfluxDBError(f"cannot use the certificates in {files}: {_words(error)}") from None
        if not address.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user knows
        tls["ssl_context"] = context
    timeout = urllib3.Timeout(connect=min(CONNECT, address.timeout), read=address.timeout)
    return urllib3.PoolManager(num_pools=1, maxsize=3 * address.connections, timeout=timeout, **tls)


def _login(address: Address) -> dict[str, str]:
    if address.token:
        return {"Authorization": f"{'Bearer' if address.version == 3 else 'Token'} {address.token}"}
    if not address.username:
        return {}
    import base64

    secret = base64.b64encode(f"{address.username}:{address.password}".encode()).decode()
    return {"Authorization": f"Basic {secret}"}


@contextmanager
def _telling(address: Address) -> Iterator[None]:
    """InfluxDBError for what goes wrong with a connection."""
    from urllib3 import exceptions

    try:
        yield
    except (exceptions.HTTPError, OSError) as error:
        raise _unreachable(address, error) from None


def _unreachable(address: Address, error: Exception) -> InfluxDBError:
    from urllib3 import exceptions

    words = _words(error)
    if "CERTIFICATE_VERIFY_FAILED" in words or "certificate verify failed" in words:
        return InfluxDBError(
            f"the certificate of {address.base} is not trusted: {words}",
            "name the authority that signed it, ?ssl-ca=FILE, or trust any: ?insecure-skip-verify=yes",
        )
    if "WRONG_VERSION_NUMBER" in words.upper().replace(" ", "_") or "RECORD_LAYER_FAILURE" in words.upper():
        return InfluxDBError(f"{address.base} does not speak TLS", "write influxdb:// in place of influxdb+https://")
    if isinstance(error, (exceptions.ProtocolError, exceptions.DecodeError)) and not _refused(error):
        return InfluxDBError(f"the connection to {address.base} broke: {words}", transient=True)
    if isinstance(error, exceptions.ReadTimeoutError):
        return InfluxDBError(
            f"{address.base} did not answer within {address.timeout:g} s", "?timeout=10m waits longer", transient=True
        )
    return InfluxDBError(
        f"cannot reach InfluxDB at {address.base}: {words}", f"is it running there? such as {EXAMPLE}", transient=True
    )


def _refused(error: Exception) -> bool:
    return any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        nested = [a for a in one.args if isinstance(a, BaseException)]
        todo.extend([one.__cause__, one.__context__, getattr(one, "reason", None), *nested])


def _words(error: Exception) -> str:
    """What an error says, without the names of Python's objects."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return re.sub(r"^\[[^]]*\] | \(_ssl\.c:\d+\)", "", cause.strerror).lower()
    text = re.sub(r"<[^>]*>:? ?|\w+\((?:host|')[^)]*\):? ?", "", str(error))
    return text.strip(" ()'\"") or type(error).__name__


def _rejection(address: Address, status: int, body: bytes) -> InfluxDBError:
    """The error for an answer whose status is none of success."""
    words = _said(body) or f"status {status}"
    if status in (401, 403):
        problem = "does not accept the login" if status == 401 else "does not allow this"
        return InfluxDBError(f"{address.base} {problem}: {words}", LOGINS[address.version], status=status, reason=words)
    if "HTTP request to an HTTPS server" in words:
        return InfluxDBError(f"{address.base} speaks TLS only", "write influxdb+https:// in place of influxdb://")
    if status == 404 and not any(known in words for known in ("database", "bucket", UNMAPPED)):
        return InfluxDBError(
            f"{address.base} does not answer as InfluxDB does: {words}", "is this the address of an InfluxDB?",
            status=status, reason=words,
        )  # fmt: skip
    lasting = (status // 100 != 5 and status != 429) or "retention policy not found" in words
    return InfluxDBError(f"{address.base}: {words}", transient=not lasting, status=status, reason=words)


def _said(body: bytes) -> str:
    """The message in the body of an error, of any version."""
    import json

    from msgpack import UnpackException, unpackb

    text = body.decode("utf-8", "replace").strip()
    for read in (json.loads, unpackb):
        try:
            document = read(body)
        except (ValueError, UnpackException):
            continue
        if isinstance(document, dict):
            said = str(document.get("error") or document.get("message") or text)
            detail = document.get("data")  # of version 3: the line that it cannot take
            return f"{said}: {detail['error_message']}" if isinstance(detail, dict) else said
    return " ".join(text.split())[:300]


_LIMITS = ("max-select-", "query-timeout limit exceeded", "timeout")


def _refusal(words: str, text: str) -> InfluxDBError:
    """The error for what a server says of a query."""
    if any(limit in words for limit in _LIMITS):
        return TooMuch(words)
    if "not found" in words:
        return InfluxDBError(f"InfluxDB: {words}", reason=words)
    shown = text if len(text) <= 500 else text[:500] + " …"
    return InfluxDBError(f"InfluxDB refuses the query: {words}", f"the query was {shown}", reason=words)
