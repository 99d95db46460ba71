"""The nodes of TICKscript, a file a family: declaration, checks, the operator of the plan. Importing registers all."""

from tickc.compiler.nodes import (  # noqa: F401
    alert,
    autoscale,
    clock,
    combine,
    group,
    handlers,
    influxql,
    join,
    query,
    rows,
    sequence,
    sideload,
    sinks,
    stream,
    window,
)
