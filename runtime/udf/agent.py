"""Functions in other processes: programs that tickc starts, and sockets that it connects to.

The two sides exchange the messages of `messages`. One thread serves both directions: whenever it cannot write it
reads, so full pipes block nobody for good, and no more is in flight than one chunk and what the agent has answered.

Kapacitor's protocol does not say when an agent has answered all that it was sent. Here each round ends with keepalive
requests: an agent that handles its requests in order has answered everything before it answers those.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tickc.runtime.udf import EDGES, TYPES, Info, Node, Session, UdfError

SECOND = 1_000_000_000
TIMEOUT = 10 * SECOND
CHUNK = 1 << 16  # bytes that are written, and read, at once
FENCES = 2  # rounds of keepalives: agents that write from several threads may answer the first one early
MAX_ANSWERS = 4_000_000  # messages in answer to one record batch
STDERR_LINES = 8  # that are kept for the message of a failure

log = logging.getLogger("tickc.udf")


@dataclass(frozen=True, kw_only=True)
class _Remote:
    """What programs and sockets have in common. timeout: ns without an answer after which the agent counts as dead."""

    timeout: int = TIMEOUT
    _known: list[Info] = field(default_factory=list, compare=False, repr=False)

    def info(self) -> Info:
        """What the agent says of itself; it is asked once."""
        if not self._known:
            agent = self.open()
            try:
                self._known.append(agent.info())
                agent.end()
            finally:
                agent.close()
        return self._known[0]

    def start(self, node: Node) -> Session:
        from tickc.runtime.udf.remote import RemoteSession

        return RemoteSession(self.open(), node)

    def open(self) -> Agent:
        """A new connection."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Process(_Remote):
    """A program that speaks the protocol on stdin and stdout. env: added to the environment."""

    prog: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def open(self) -> Agent:
        try:
            process = subprocess.Popen(
                [self.prog, *self.args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **self.env},
                start_new_session=True,  # so that all it starts can be ended, and Ctrl-C is for us alone
            )
        except OSError as error:
            raise UdfError(f"cannot start {self.prog}: {(error.strerror or str(error)).lower()}") from None
        return Agent(_Pipes(process), self.timeout)


@dataclass(frozen=True, kw_only=True)
class Socket(_Remote):
    """An agent that listens on a unix socket; each node has a connection of its own."""

    socket: str

    def open(self) -> Agent:
        give_up = time.monotonic() + self.timeout / SECOND
        while True:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(self.timeout / SECOND)
            try:
                connection.connect(self.socket)
                return Agent(_Connection(connection), self.timeout)
            except OSError as error:  # it may be about to start
                connection.close()
                if time.monotonic() >= give_up:
                    reason = (error.strerror or str(error)).lower()
                    raise UdfError(f"cannot connect to {self.socket}: {reason}") from None
                time.sleep(min(0.05, self.timeout / SECOND))


class _Pipes:
    """The two pipes of a process, and its end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.process = process
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        for pipe in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(pipe.fileno(), False)
        self.release = weakref.finalize(self, _end, process)

    @property
    def files(self) -> tuple[int, int, int]:
        """Descriptors to write to, to read from, and of the messages; -1 for one that is closed or is not there."""
        return tuple(-1 if f.closed else f.fileno() for f in (self.stdin, self.stdout, self.stderr))  # type: ignore[return-value]

    def stop_writing(self) -> None:
        self.stdin.close()

    def outcome(self, seconds: float) -> str:
        """Why the process has ended, as Kapacitor words it; empty for success. It is given `seconds` to end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return "it closed its output and did not end"
        if code < 0:
            return f"process exited unexpectedly: signal: {signal.strsignal(-code) or -code}".lower()
        return f"process exited unexpectedly: exit status {code}" if code else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started, and take its exit code, so that no zombie stays."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Connection:
    """A connection to a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.writing = True
        connection.setblocking(False)
        self.release = weakref.finalize(self, connection.close)

    @property
    def files(self) -> tuple[int, int, int]:
        number = self.connection.fileno()
        return (number if self.writing else -1, number, -1)

    def stop_writing(self) -> None:
        self.writing = False
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def outcome(self, seconds: float) -> str:
        return ""


class Agent:
    """A connection to an agent. All methods raise UdfError where the agent fails: it ends, is silent for `timeout`
    (ns), sends what is no message, or reports an error. What it answered before was given out by then."""

    def __init__(self, channel: _Pipes | _Connection, timeout: int) -> None:
        from tickc.runtime.udf.messages import Request

        self.request = Request
        self.channel = channel
        self.timeout = timeout / SECOND
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._line = b""
        self._ended = False  # nothing more will come
        self._broken = False  # nothing more can be sent
        self._unanswered = 0  # keepalives
        self._rest()

    # -- conversations

    def info(self) -> Info:
        """What the agent takes, gives, and can be told."""
        answer = self.ask(self.request(info={}), "info").info
        try:
            options = {name: tuple(TYPES[t] for t in option.valueTypes) for name, option in answer.options.items()}
            return Info(EDGES[answer.wants], EDGES[answer.provides], dict(sorted(options.items())))
        except IndexError:
            raise UdfError("the agent names an edge or type that the protocol does not have") from None

    def ask(self, request: Any, answer: str) -> Any:
        """Send a request; the response of that kind. Data that come before it are an error."""
        for response in self._sent([request], lambda r: r.WhichOneof("message") == answer):
            if response.WhichOneof("message") == answer:
                return response
            raise UdfError(f"the agent sent data before it answered the request `{answer}`")
        raise UdfError(f"the agent did not answer the request `{answer}`")

    def exchange(self, requests: Iterable[Any]) -> Iterator[Any]:
        """Send requests; yields the data that the agent answers until it has answered everything."""
        yield from self._sent(requests)
        for _ in range(FENCES):
            self._keepalive()
            while self._unanswered or self.outgoing:
                yield from self._step()

    def rest(self) -> Iterator[Any]:
        """Close the agent's input; yields the data that it sends until it ends."""
        self._rest()
        self.channel.stop_writing()
        self._broken = True
        self._unanswered = 0
        while not self._ended:
            yield from self._step()
        if self.incoming:
            raise UdfError("read error: the answer ends within a message")
        if text := self.channel.outcome(self.timeout):
            raise UdfError(self._with_stderr(text))

    def end(self) -> None:
        """Let the agent end where it has nothing more to do; what it still sends is not heeded."""
        with contextlib.suppress(UdfError):
            for _ in self.rest():
                pass

    def close(self) -> None:
        """End the connection, and a process with it."""
        self.channel.release()

    # -- sending and receiving

    def _sent(self, requests: Iterable[Any], until: Callable[[Any], bool] | None = None) -> Iterator[Any]:
        """Send all requests; yields the data and answers that come meanwhile, at last the one that `until` accepts."""
        from tickc.runtime.udf.messages import framed

        self._rest()
        for request in requests:
            self.outgoing += framed(request)
            while len(self.outgoing) >= CHUNK:
                yield from self._step()
        while self.outgoing or until is not None:
            for response in self._step():
                yield response
                if until is not None and until(response):
                    return

    def _rest(self) -> None:
        """Begin to count the time of silence: before, nothing was expected of the agent."""
        self._heard = self._asked = time.monotonic()

    def _keepalive(self) -> None:
        from tickc.runtime.udf.messages import framed

        self.outgoing += framed(self.request(keepalive={"time": time.time_ns()}))
        self._unanswered += 1
        self._asked = time.monotonic()

    def _step(self) -> Iterator[Any]:
        """Wait until something can be written or read, do so, and yield what has come."""
        if self._ended:
            raise UdfError(self._with_stderr(self._why_ended()))
        self._watch()
        self._poll()
        yield from self._responses()

    def _watch(self) -> None:
        """Ask an agent that has been silent for half of its time; fail where all of it is over."""
        now = time.monotonic()
        if now - self._heard >= self.timeout:
            what = "keepalive timedout" if not self._broken else "the agent did not end after its input was closed"
            raise UdfError(self._with_stderr(f"{what}: nothing was heard for {self.timeout:g}s"))
        if not self._broken and now - self._asked >= self.timeout / 2:
            self._keepalive()

    def _poll(self) -> None:
        write, read, messages = self.channel.files
        poll = select.poll()
        if read >= 0:
            poll.register(read, select.POLLIN)
        if messages >= 0:
            poll.register(messages, select.POLLIN)
        if self.outgoing and write >= 0:
            poll.register(write, select.POLLOUT | (select.POLLIN if write == read else 0))
        until = min(self._heard + self.timeout, self._asked + self.timeout / 2 if not self._broken else float("inf"))
        for number, events in poll.poll(max(0.0, until - time.monotonic()) * 1000 + 1):
            if number == messages:
                self._read_messages(number)
            if number == read and events & ~select.POLLOUT:
                self._read(number)
            if number == write and events & ~select.POLLIN:
                self._write(number)

    def _write(self, number: int) -> None:
        try:
            done = os.write(number, memoryview(self.outgoing)[:CHUNK])
        except BlockingIOError:
            return
        except OSError:  # it is going; what it has still said is read until its end
            self._broken = True
            self.outgoing.clear()
            self._asked = self._heard
            self.channel.stop_writing()
            return
        del self.outgoing[:done]

    def _read(self, number: int) -> None:
        try:
            data = os.read(number, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.incoming += data
        self._ended = not data

    def _read_messages(self, number: int) -> None:
        """The lines of stderr go to the log `tickc.udf`."""
        try:
            data = os.read(number, CHUNK)
        except OSError:
            return
        if not data and isinstance(self.channel, _Pipes):
            self.channel.stderr.close()
        *lines, self._line = (self._line + data)[-CHUNK:].split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip()
            self.stderr.append(text)
            log.info("%s", text)

    def _responses(self) -> Iterator[Any]:
        from tickc.runtime.udf.messages import taken

        for response in taken(self.incoming):
            self._heard = time.monotonic()
            match response.WhichOneof("message"):
                case "keepalive":
                    self._unanswered = max(0, self._unanswered - 1)
                case "error":
                    raise UdfError(response.error.error or "the agent reports an error without saying which")
                case None:
                    raise UdfError("read error: the answer holds no message that the protocol has")
                case _:
                    yield response

    # -- messages

    def _why_ended(self) -> str:
        if self.incoming:
            return "read error: the answer ends within a message"
        kind = "process exited" if isinstance(self.channel, _Pipes) else "the agent closed the connection"
        return self.channel.outcome(1.0) or f"{kind} before it had answered everything"

    def _with_stderr(self, text: str) -> str:
        """The text with the last line that the agent wrote to stderr."""
        number = self.channel.files[2]
        if number >= 0:
            self._read_messages(number)
        last = self._line.decode("utf-8", "replace").strip() or next((s for s in reversed(self.stderr) if s), "")
        return f"{text} (it wrote: {last[:200]})" if last else text
