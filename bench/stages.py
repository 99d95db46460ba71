"""Where the time of a job goes: one more run of its operators, with the meter of `tickc bench`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tickc.meter import Meter
from tickc.runtime.graph import Entering
from tickc.task import Task


def keep(benchmark: Any, task: Task, batches: Sequence[Entering], workers: int = 1) -> None:
    """Add to a benchmark what a run takes: ms of processor time by stage, and the share in which threads are busy."""
    graph, meter = task.build(), Meter()
    stages = meter.watch(graph, task.lines)
    began = time.perf_counter()
    for _ in task.process(batches, graph=graph, workers=workers):
        pass
    took = time.perf_counter() - began
    meter.here()
    benchmark.extra_info["stages"] = {stage.name: stage.cpu * 1e3 for stage in stages}
    benchmark.extra_info["busy"] = {name: thread.cpu / took for name, thread in sorted(meter.threads.items())}
