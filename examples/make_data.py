"""Write the examples' data: six hours of a small web shop, with an incident between 11:00 and 12:20.

    python examples/make_data.py [FOLDER]        by default examples/data

One Parquet file a measurement (cpu, mem, disk, requests, queue) and `all.lp`, the same points as line protocol in order
of time. The numbers are drawn from a fixed seed, so every run writes the same data.

What happens: at 11:00 a job on db01 begins to fill the disk; it is cleaned up at 12:20. At 11:30 the application on
web02 begins to leak memory and is restarted at 12:05. From 11:40 to 12:05 web02 is short of CPU, `checkout` answers
slowly and with errors, and from 11:45 to 12:05 the queue of orders is not worked off. What else is in it: web03 sends
nothing from 10:10 to 10:25, one point in two hundred is lost, and cpu has single peaks that mean nothing.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20240514
START = 1_715_677_200  # 2024-05-14T09:00:00Z
HOURS = 6
HOSTS = {"web01": "north", "web02": "north", "web03": "south", "db01": "south"}
SERVICES = ("catalog", "checkout", "search")
GIB = 1 << 30


@dataclass(frozen=True)
class Point:
    """One point: its time in seconds, its tags and its fields."""

    time: int
    tags: dict[str, str]
    fields: dict[str, Any]


def clock(hour: int, minute: int = 0) -> int:
    """Seconds of a time of the day."""
    return START + (hour - 9) * 3600 + minute * 60


def between(time: int, first: int, last: int) -> bool:
    return first <= time < last


def cpu(rng: random.Random, time: int) -> Iterator[Point]:
    """CPU usage in percent of each host, every 10 s."""
    for host, region in HOSTS.items():
        usage = {"db01": 35.0}.get(host, 45.0) + rng.gauss(0.0, 4.0)
        if rng.random() < 0.004:
            usage += 45.0
        if host == "web02" and between(time, clock(11, 40), clock(12, 5)):
            usage = 95.0 + rng.gauss(0.0, 1.5)
        usage = min(max(usage, 0.0), 100.0)
        yield Point(time, {"host": host, "region": region}, {"usage": round(usage, 2), "idle": round(100.0 - usage, 2)})


def mem(rng: random.Random, time: int) -> Iterator[Point]:
    """Memory in percent of each host, every 30 s."""
    for host, region in HOSTS.items():
        used = 60.0 + rng.gauss(0.0, 1.0)
        if host == "web02" and between(time, clock(11, 30), clock(12, 5)):
            used += 37.0 * (time - clock(11, 30)) / (clock(12, 5) - clock(11, 30))
        yield Point(time, {"host": host, "region": region}, {"used_percent": round(min(used, 99.5), 2)})


def disk(rng: random.Random, time: int) -> Iterator[Point]:
    """Bytes on the disks of each host, every minute."""
    for host, region in HOSTS.items():
        size = (500 if host == "db01" else 100) * GIB
        used = size * 2 // 5 + (time - START) * 20_000 + rng.randrange(0, 1 << 20)
        if host == "db01" and between(time, clock(11), clock(12, 20)):
            used += (time - clock(11)) * 50 * (1 << 20)
        yield Point(time, {"host": host, "region": region}, {"used": used, "total": size})


def requests(rng: random.Random, time: int) -> Iterator[Point]:
    """Requests to the services, one in ten recorded: every 2 s one, of a service at random."""
    service = rng.choice(SERVICES)
    bad = service == "checkout" and between(time, clock(11, 40), clock(12, 5))
    status = 503 if rng.random() < (0.25 if bad else 0.004) else 200
    latency = rng.lognormvariate(6.6 if bad else 4.0, 0.4)
    host = rng.choice(["web01", "web02", "web03"])
    yield Point(time, {"host": host, "service": service}, {"status": status, "latency_ms": round(latency, 1)})


def queue(rng: random.Random, time: int) -> Iterator[Point]:
    """Orders that wait and that were worked off in the last 15 s."""
    stalled = between(time, clock(11, 45), clock(12, 5))
    waiting = (time - clock(11, 45)) // 3 if stalled else rng.randrange(0, 6)
    yield Point(time, {"queue": "orders"}, {"waiting": waiting, "done": 0 if stalled else rng.randrange(1, 9)})


MEASUREMENTS: dict[str, tuple[Callable[[random.Random, int], Iterator[Point]], int]] = {
    "cpu": (cpu, 10),
    "mem": (mem, 30),
    "disk": (disk, 60),
    "requests": (requests, 2),
    "queue": (queue, 15),
}


def points(name: str) -> list[Point]:
    """All points of a measurement, in order of time."""
    make, step = MEASUREMENTS[name]
    rng = random.Random(f"{SEED} {name}")
    found = []
    for time in range(START, START + HOURS * 3600, step):
        for point in make(rng, time):
            silent = point.tags.get("host") == "web03" and between(time, clock(10, 10), clock(10, 25))
            if rng.random() >= 0.005 and not silent:
                found.append(point)
    return found


def table(found: list[Point]) -> pa.Table:
    """Points as a table: time, the tags, the fields."""
    columns: dict[str, Any] = {"time": pa.array([p.time * 10**9 for p in found], pa.timestamp("ns", "UTC"))}
    for tag in found[0].tags:
        columns[tag] = pa.array([p.tags[tag] for p in found]).dictionary_encode()
    for field in found[0].fields:
        columns[field] = pa.array([p.fields[field] for p in found])
    return pa.table(columns)


def line(name: str, point: Point) -> str:
    """A point as line protocol."""
    tags = "".join(f",{k}={v}" for k, v in point.tags.items())
    fields = ",".join(f"{k}={v}i" if isinstance(v, int) else f"{k}={v}" for k, v in point.fields.items())
    return f"{name}{tags} {fields} {point.time * 10**9}\n"


def write(folder: Path) -> None:
    """Write all files of data into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: points(name) for name in MEASUREMENTS}
    lines = [(p.time, line(name, p)) for name, found in made.items() for p in found]
    lines.sort(key=lambda pair: pair[0])
    (folder / "all.lp").write_text("".join(text for _, text in lines), encoding="utf-8")
    for name, found in made.items():
        pq.write_table(table(found), folder / f"{name}.parquet")
    print(f"wrote {len(lines):,} points of {', '.join(made)} to {folder}")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
