"""What reaches out of a replay or backfill, and only where the user asks for it: the handlers of alerts.

Each handler has a queue and a thread of its own, so that a slow or dead one holds back neither the data nor the others.
A queue that is full takes no more; what it does not take, and what is not delivered when time is up, is counted.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tickc.runtime.events import LEVELS, Events
from tickc.runtime.gotemplate import TemplateError
from tickc.runtime.gotemplate.values import BOOL, DURATION, STRING, TIME, Struct, struct
from tickc.runtime.graph import Graph, Output, TaskFailed
from tickc.runtime.results import json_events
from tickc.runtime.settings import Endpoint, Settings
from tickc.runtime.web import Client, WebError

ROOM = 50_000  # events that wait for a handler
ROOM_BYTES = 1 << 26  # and how long they may be together
LOG_PATIENCE = 10.0  # seconds that data wait, all in all, for a disk that does not keep up
DRAIN = 30.0  # seconds in which the queues are emptied at the end
HASTE = 1.0  # the same where the run was broken off
TCP_TIMEOUT = 10.0
EXEC_TIMEOUT = 30.0
CALLED = ("log", "post", "tcp", "exec")
EVENT = struct(
    "alert.Data", ("ID", STRING), ("Message", STRING), ("Details", STRING), ("Time", TIME), ("Duration", DURATION),
    ("Level", STRING), ("PreviousLevel", STRING), ("Recoverable", BOOL),
)  # fmt: skip


@dataclass(frozen=True)
class Outside:
    """What a run may do to the world: call handlers and post data; run programs; and the settings for it."""

    settings: Settings = field(default_factory=Settings)
    handlers: bool = False
    allow_exec: bool = False
    drain: float = DRAIN


def reaching(graph: Graph, outside: Outside, outputs: Iterable[Output]) -> Iterator[Output]:
    """`outputs` of a run of `graph`, which go to their handlers as they pass; at the end the queues are emptied.

    Iterate it under `runtime.udf.closing`; TaskFailed where the settings lack what the task needs.
    """
    handlers = connect(graph, outside)
    in_hand = outside.drain
    try:
        for output in outputs:
            handlers.take(output)
            yield output
    except TaskFailed:
        raise
    except BaseException:
        in_hand = min(in_hand, HASTE)
        raise
    finally:
        handlers.close(in_hand)


def connect(graph: Graph, outside: Outside) -> Handlers:
    """Give the operators of a graph what they may use; returns the handlers of its alerts."""
    modes: dict[str, int] = {}
    logs: Counter[str] = Counter()
    for owner in graph.operators:
        for operator in (owner, *getattr(owner, "steps", ())):
            modes.update(getattr(operator, "modes", {}))
            logs.update({*getattr(operator, "logs", ())})
            if hasattr(operator, "connect"):
                operator.connect(outside)
    handlers = Handlers(outside, modes, {path for path, alerts in logs.items() if alerts > 1}, graph)
    graph.shared["handlers"] = handlers
    return handlers


@dataclass
class Tally:
    """What became of the events for one handler. failed: reason -> events."""

    delivered: int = 0
    failed: Counter[str] = field(default_factory=Counter)


class Handlers:
    """The handlers that were called so far, by name."""

    def __init__(
        self, outside: Outside, modes: Mapping[str, int], shared: Collection[str] = (), graph: Graph | None = None
    ) -> None:
        """modes: permissions of log files, by path; shared: the paths that several alerts of `graph` write to."""
        self.outside, self.modes, self.shared, self.graph = outside, modes, shared, graph
        self._mixed: dict[str, list[Output]] = {}  # what shared logs got in the last round
        self._round = 0
        self.tallies: dict[str, Tally] = {}
        self._workers: dict[Any, Worker | str] = {}  # a text: why it is not called

    def take(self, output: Output) -> None:
        """Queue the events of an output for its handler; outputs of other kinds are ignored."""
        if not self.outside.handlers:
            return
        if self.graph is not None and self.graph.rounds != self._round:
            self._mix()
            self._round = self.graph.rounds
        if output.kind == "alert" and output.name in self.shared:
            self._mixed.setdefault(output.name, []).append(output)
        elif output.kind == "alert":
            self._deliver(("log", output.name), "log", {"path": output.name}, output.payload)
        elif output.kind == "handler":
            settings, events = output.payload
            self._deliver((output.operator, output.name, id(settings)), output.name, settings, events)

    def close(self, drain: float | None = None) -> None:
        """Empty the queues, in no more seconds than `drain` (None: as `outside` says)."""
        self._mix()
        deadline = time.monotonic() + (self.outside.drain if drain is None else drain)
        workers = [w for w in self._workers.values() if isinstance(w, Worker)]
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.join(deadline)

    def summary(self) -> dict[str, dict[str, Any]]:
        """For each handler the events that were delivered, and those that were not by reason."""
        return {k: {"delivered": t.delivered, "failed": dict(t.failed)} for k, t in self.tallies.items()}

    def _mix(self) -> None:
        """Deliver what shared logs got in a round, in the order of the input rows that caused it."""
        mixed, self._mixed = self._mixed, {}
        for path, outputs in mixed.items():
            events = [output.payload for output in sorted(outputs, key=lambda output: output.place)]
            self._deliver(("log", path), "log", {"path": path}, *events)

    def _deliver(self, key: Any, kind: str, settings: Mapping[str, Any], *events: Events) -> None:
        worker = self._workers.get(key)
        if worker is None:
            worker = self._workers[key] = self._worker(kind, settings)
        if not isinstance(worker, Worker):
            self.tallies[kind].failed[worker] += sum(map(len, events))
            return
        items = [item for some in events for item in worker.handler.items(some)]
        if len(events) > 1:
            order = np.argsort(np.concatenate([some.data.seq for some in events]), kind="stable")
            items = [items[i] for i in order.tolist()]
        worker.put(items)

    def _worker(self, kind: str, settings: Mapping[str, Any]) -> Worker | str:
        try:
            label, handler = self._handler(kind, settings)
        except HandlerError as error:
            self.tallies.setdefault(kind, Tally())
            return str(error)
        return Worker(handler, self.tallies.setdefault(label, Tally()))

    def _handler(self, kind: str, settings: Mapping[str, Any]) -> tuple[str, Handler]:
        match kind:
            case "log":
                path = settings["path"]
                return f"log {path}", LogFile(path, self.modes.get(path) or 0o600)
            case "tcp":
                return f"tcp {settings['address']}", Tcp(settings["address"])
            case "post":
                return self._post(settings)
            case "exec":
                if not self.outside.allow_exec:
                    raise HandlerError("no program is run without leave: --allow-exec")
                command = [settings["executable"], *settings.get("arguments", ())]
                return f"exec {command[0]}", Exec(command)
        raise HandlerError(f"not called here: only {', '.join(CALLED)} are")

    def _post(self, settings: Mapping[str, Any]) -> tuple[str, Handler]:
        endpoints, name = self.outside.settings.endpoints, settings.get("endpoint", "")
        url = settings.get("url", "")
        if name not in endpoints and not url:
            raise HandlerError(f"endpoint '{name}' does not exist")
        endpoint = endpoints[name] if name in endpoints else Endpoint(url)
        try:
            _ = endpoint.address
        except TemplateError as error:
            raise HandlerError(str(error)) from None
        return f"post {name or url}", Post(endpoint, settings)


class HandlerError(Exception):
    """A handler did not do its work."""


class Worker:
    """A queue of events and the thread that delivers them."""

    def __init__(self, handler: Handler, tally: Tally) -> None:
        self.handler, self.tally = handler, tally
        self._queue: deque[Any] = deque()
        self._bytes = self._in_hand = 0
        self._ending = self._given_up = False
        self._changed = threading.Condition()
        self._patience = handler.patience
        self._thread = threading.Thread(target=self._run, name=f"tickc {type(handler).__name__}", daemon=True)
        self._thread.start()

    def put(self, items: Iterable[Any]) -> None:
        """Queue what the handler made of events (None: it could not), as far as there is room."""
        with self._changed:
            for item in items:
                if item is None:
                    self.tally.failed["the event cannot be written"] += 1
                elif self._room(item):
                    self._queue.append(item)
                    self._bytes += len(item)
                else:
                    self.tally.failed["the queue is full"] += 1
            self._changed.notify_all()

    def _room(self, item: Any) -> bool:
        """Whether there is room for one more; a handler may be worth waiting for."""
        if self._fits(item) or self._patience <= 0:
            return self._fits(item)
        began = time.monotonic()
        self._changed.notify_all()
        self._changed.wait_for(lambda: self._fits(item), self._patience)
        self._patience -= time.monotonic() - began
        return self._fits(item)

    def _fits(self, item: Any) -> bool:
        return not self._queue or (len(self._queue) < ROOM and self._bytes + len(item) <= ROOM_BYTES)

    def end(self) -> None:
        """No more events will come."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def join(self, deadline: float) -> None:
        """Wait until all is delivered, or until the deadline; what is left then is given up."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            if self._thread.is_alive():
                self._given_up = True
                left = len(self._queue) + self._in_hand
                self._queue.clear()
                self.tally.failed["not delivered in time"] += left

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ending)
                if not self._queue:
                    break
                items = [self._queue.popleft() for _ in range(min(self.handler.at_once, len(self._queue)))]
                self._bytes -= sum(map(len, items))
                self._in_hand = len(items)
                self._changed.notify_all()
            self._deliver(items)
        self.handler.close()

    def _deliver(self, items: Sequence[Any]) -> None:
        reason = ""
        try:
            self.handler.deliver(items)
        except Exception as error:  # whatever it is, the thread goes on with the next event
            reason = str(error) or type(error).__name__
        with self._changed:
            self._in_hand = 0
            if self._given_up:
                return
            if reason:
                self.tally.failed[reason[:300]] += len(items)
            else:
                self.tally.delivered += len(items)


# ----------------------------------------------------------------------------------------------------------- handlers


class Handler(ABC):
    """Delivers events. at_once: how many it may be given; patience: seconds that data may wait for it in all."""

    at_once = 1
    patience = 0.0

    def items(self, events: Events) -> Sequence[Any]:
        """What is queued for each event, something with a length; None where it has no form."""
        return [None if text is None else text + "\n" for text in json_events(events)]

    @abstractmethod
    def deliver(self, items: Sequence[Any]) -> None:
        """Deliver what `items` gave; raises HandlerError or OSError."""

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Release what is held. Called in the thread, after the last event."""


class LogFile(Handler):
    """Appends each event to a file, as a line of JSON."""

    at_once = 1_000
    patience = LOG_PATIENCE

    def __init__(self, path: str, mode: int) -> None:
        self.path, self.mode = path, mode

    def deliver(self, items: Sequence[str]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, self.mode)
        with open(descriptor, "ab") as file:
            file.write("".join(items).encode("utf-8", "surrogateescape"))


class Tcp(Handler):
    """Sends each event to an address, over a connection of its own, as Kapacitor does."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            raise HandlerError(f"{address!r} is no host and port")
        self.address = host.strip("[]") or "localhost", int(port)

    def items(self, events: Events) -> Sequence[Any]:
        return [None if text is None else text + "\n" for text in super().items(events)]  # an empty line, as Kapacitor

    def deliver(self, items: Sequence[str]) -> None:
        with socket.create_connection(self.address, TCP_TIMEOUT) as connection:
            connection.sendall("".join(items).encode("utf-8", "surrogateescape"))
            connection.shutdown(socket.SHUT_WR)


class Exec(Handler):
    """Runs a program, without a shell, with the event on its standard input."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def deliver(self, items: Sequence[str]) -> None:
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
        ) as process:
            try:
                process.communicate("".join(items).encode("utf-8", "surrogateescape"), EXEC_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise HandlerError(f"{self.command[0]} took longer than {EXEC_TIMEOUT:g} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise HandlerError(f"{self.command[0]} ended with status {process.returncode}")


@dataclass(frozen=True, slots=True)
class _Request:
    url: str
    body: bytes

    def __len__(self) -> int:
        return len(self.body)


class Post(Handler):
    """Posts each event to a web service, as JSON or as the template of the endpoint has it."""

    def __init__(self, endpoint: Endpoint, settings: Mapping[str, Any]) -> None:
        self.endpoint = endpoint
        kind = {} if endpoint.alert else {"Content-Type": "application/json"}
        self.headers = {**endpoint.all_headers(), **settings.get("headers", {}), **kind}
        self.capture = bool(settings.get("capture_response"))
        timeout = settings.get("timeout", 0) / 1e9
        verify = not settings.get("skip_ssl_verification")
        self.client = Client(timeout, verify) if timeout else Client(verify=verify)

    def items(self, events: Events) -> Sequence[Any]:
        if self.endpoint.alert is None and self.endpoint.address.constant:
            url, texts = self.endpoint.url, super().items(events)
            return [t if t is None else _Request(url, t.encode("utf-8", "surrogateescape")) for t in texts]
        return [self._request(text, event) for text, event in zip(super().items(events), _records(events))]

    def _request(self, text: str | None, event: Struct) -> _Request | None:
        try:
            if self.endpoint.alert is not None:
                text = self.endpoint.alert.render(event)
            url = self.endpoint.address.render(event)
        except TemplateError:
            return None
        return None if text is None else _Request(url, text.encode("utf-8", "surrogateescape"))

    def deliver(self, items: Sequence[_Request]) -> None:
        for request in items:
            try:
                status, body = self.client.request("POST", request.url, request.body, self.headers)
            except WebError as error:
                raise HandlerError(str(error)) from None
            if status // 100 != 2:
                text = body.decode("utf-8", "replace") if self.capture else ""
                raise HandlerError(f"{request.url} answered with status {status}" + (f": {text}" if text else ""))

    def close(self) -> None:
        self.client.close()


def _records(events: Events) -> Iterator[Struct]:
    """What templates of endpoints see of each event."""
    ids, times, durations = events.id.tolist(), events.time.tolist(), events.duration.tolist()
    previous = events.previous.tolist()
    for i, (message, details) in enumerate(zip(events.messages, events.details)):
        record = {
            "ID": ids[i] or "",
            "Message": message,
            "Details": details,
            "Time": times[i],
            "Duration": durations[i],
            "Level": events.levels[i],
            "PreviousLevel": LEVELS[previous[i]],
            "Recoverable": events.recoverable,
        }
        yield Struct(EVENT, record)
