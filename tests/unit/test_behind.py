"""Sinks that a thread of its own writes to."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tickc.runtime.backfill import SinkCount
from tickc.runtime.sinks.behind import WAITING, Behind
from tickc.runtime.sinks.columns import OutputError


class Inner:
    """Notes what is written; fails at `bad`, and waits with everything until `go` is set."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any]] = []
        self.go = threading.Event()
        self.threads: set[int] = set()
        self.closed = False

    def open(self, count: SinkCount) -> Any:
        return _Noted(self, count.name)

    def close(self) -> None:
        self.closed = True


class _Noted:
    def __init__(self, inner: Inner, name: str) -> None:
        self.inner, self.name = inner, name

    def write(self, emitted: Any) -> None:
        assert self.inner.go.wait(10)
        self.inner.threads.add(threading.get_ident())
        if emitted == "bad":
            raise OutputError("the disk is full", "")
        self.inner.written.append((self.name, emitted))


@pytest.fixture
def inner() -> Inner:
    return Inner()


def test_order_and_thread(inner: Inner) -> None:
    behind = Behind(inner)
    one, two = (behind.open(SinkCount("httpOut", name)) for name in "ab")
    one.write(0)  # type: ignore[arg-type]
    two.write(1)  # type: ignore[arg-type]
    assert inner.written == []
    inner.go.set()
    for k in range(2, 9):
        (one, two)[k % 2].write(k)  # type: ignore[arg-type]
        assert len(inner.written) >= k - WAITING
    behind.settle()
    assert inner.written == [("ab"[k % 2], k) for k in range(9)]
    assert threading.get_ident() not in inner.threads
    assert len(inner.threads) == 1
    behind.close()
    assert inner.closed
    behind.stop()


def test_an_error_is_raised_later(inner: Inner) -> None:
    inner.go.set()
    behind = Behind(inner)
    sink = behind.open(SinkCount("httpOut", "a"))
    sink.write("bad")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="the disk is full"):
        behind.close()
    assert not inner.closed
    behind.stop()


def test_what_waits_is_given_up(inner: Inner) -> None:
    behind = Behind(inner)
    sink = behind.open(SinkCount("httpOut", "a"))
    for k in range(WAITING):
        sink.write(k)  # type: ignore[arg-type]
    threading.Timer(0.05, inner.go.set).start()
    behind.stop()
    assert inner.written == [("a", 0)]
