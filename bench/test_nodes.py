"""Single nodes at work: a join of two streams, a union, a flatten, and an alert that sends an event for every point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_jobs import source

import tickc
from tickc.task import Task

TWO = """var a = stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_idle")
        .as('v')

var b = stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_user")
        .as('v')

a
"""
NODES = {
    "join": f"{TWO}    |join(b)\n        .as('a', 'b')\n        .tolerance(5s)\n    |httpOut('out')\n",
    "union": f"{TWO}    |union(b)\n    |httpOut('out')\n",
    "flatten": """stream
    |from()
        .measurement('cpu')
    |eval(lambda: "usage_idle")
        .as('v')
    |flatten()
        .on('host')
    |httpOut('out')
""",
    "events": """stream
    |from()
        .measurement('cpu')
        .groupBy('host')
    |eval(lambda: "usage_idle")
        .as('v')
    |alert()
        .crit(lambda: "v" >= 0.0)
        .message('{{ .ID }} is {{ .Level }}: {{ index .Fields "v" | printf "%0.2f" }}')
        .log('all')
""",
}


def run(task: Task, path: Path) -> int:
    """How many outputs there are, and for alerts how many messages were written."""
    count = 0
    for output in task.process(source(task, path)):
        count += len(output.payload.messages) if output.kind == "alert" else 1
    return count


@pytest.mark.parametrize("name", list(NODES))
def test_node(benchmark: Any, cpu: Path, name: str) -> None:
    task = tickc.compile(NODES[name], name=name)
    benchmark.group = f"{name} node"
    assert benchmark.pedantic(run, (task, cpu), rounds=5, warmup_rounds=2, iterations=1)
