"""All that generated modules and the command line need to run: the names here are public.

Names are loaded when they are first used, so that importing the package stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Alert": "nodes.alert",
    "Barrier": "nodes.clock",
    "Block": "nodes.block",
    "ChangeDetect": "nodes.sequence",
    "Combine": "nodes.combine",
    "CountWindow": "nodes.window",
    "Default": "nodes.rows",
    "Delete": "nodes.rows",
    "Derivative": "nodes.sequence",
    "Eval": "nodes.eval",
    "Flatten": "nodes.combine",
    "From": "nodes.stream",
    "Graph": "graph",
    "GroupBy": "nodes.group",
    "HttpOut": "nodes.sinks",
    "HttpPost": "nodes.http_post",
    "InfluxDBOut": "nodes.sinks",
    "InfluxQL": "nodes.influxql",
    "Join": "nodes.join",
    "KapacitorLoopback": "nodes.sinks",
    "JoinedFolds": "nodes.fold",
    "Log": "nodes.rows",
    "Loop": "nodes.loop",
    "NoOp": "nodes.rows",
    "Output": "graph",
    "Query": "nodes.query",
    "Rows": "batch",
    "Sample": "nodes.rows",
    "Select": "nodes.block",
    "Shift": "nodes.rows",
    "Sideload": "nodes.sideload",
    "Source": "graph",
    "StateCount": "nodes.sequence",
    "StateDuration": "nodes.sequence",
    "Stats": "nodes.clock",
    "TimeWindow": "nodes.window",
    "Trickle": "nodes.rows",
    "UDF": "nodes.udf",
    "Unfed": "nodes.rows",
    "Union": "nodes.join",
    "Where": "nodes.eval",
    "WindowFold": "nodes.fold",
    "call": "expr",
    "chain": "expr",
    "duration": "expr",
    "lit": "expr",
    "main": "command",
    "nested": "expr",
    "pattern": "expr",
    "ref": "expr",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
