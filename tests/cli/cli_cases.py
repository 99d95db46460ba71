"""Scripts and points of the command line's tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

SECOND = 1_000_000_000
START = 1_704_067_200 * SECOND  # 2024-01-01T00:00:00Z
Tickc = Callable[..., "subprocess.CompletedProcess[str]"]

ALERT = """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |alert()
        .crit(lambda: "usage" > 90.0)
        .stateChangesOnly()
        .log('alerts')
    |httpOut('passed')
"""
MEAN = """stream
    |from().measurement('cpu').groupBy('host')
    |window().period(1m).every(1m)
    |mean('usage')
    |httpOut('means')
"""


def lines(n: int, hosts: int = 2, step: int = 10) -> str:
    """`n` points of line protocol; the usage of h1 is above 90 in the middle third."""
    out = []
    for i in range(n):
        host = f"h{i % hosts}"
        usage = 95.5 if host == "h1" and n // 3 <= i < 2 * n // 3 else 10.0 + i % 7
        out.append(f"cpu,host={host} usage={usage},seen={i}i {START + i * step * SECOND}")
    return "\n".join(out) + "\n"


def recording(n: int) -> str:
    """The same points as a recording."""
    return "".join(f"db\nrp\n{line}\n" for line in lines(n).splitlines())
