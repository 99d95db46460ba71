"""The reference pages docs/nodes.md and docs/functions.md, printed from the declarations.

    python -m tickc.docs [FOLDER]        by default docs

What a node or function is called, takes and does comes from where it is declared; what is said here besides is how far
each node agrees with Kapacitor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tickc.compiler import nodes  # noqa: F401  (registers all nodes)
from tickc.compiler.nodes.alert import HANDLERS
from tickc.compiler.nodes.influxql import Function
from tickc.compiler.pipeline import NODES, Duration, Edge, Node, Parameter, Property, Subject
from tickc.runtime import builtins
from tickc.runtime.builtins import EvalError
from tickc.runtime.expr import function_names
from tickc.runtime.gotext import format_duration_influx
from tickc.runtime.kinds import Kind

FAMILIES: dict[str, tuple[str, ...]] = {
    "Where points enter": ("stream", "from"),
    "Where batches enter": ("batch", "query"),
    "Points by themselves": (
        "where",
        "eval",
        "default",
        "delete",
        "shift",
        "sample",
        "log",
        "noOp",
        "trickle",
        "sideload",
    ),
    "Groups": ("groupBy",),
    "Windows": ("window",),
    "Functions of a field": tuple(tick for tick, cls in NODES.items() if issubclass(cls, Function)),
    "From point to point": ("derivative", "changeDetect", "stateCount", "stateDuration"),
    "Several points into one": ("combine", "flatten"),
    "Several inputs": ("join", "union"),
    "Alerts": ("alert", "deadman"),
    "By the clock": ("barrier", "stats"),
    "Where data leave": ("httpOut", "httpPost", "influxDBOut", "kapacitorLoopback"),
}

# What a reader has to know of a node's results: where care was needed to be exact, and what differs and why.
NOTES: Mapping[str, str] = {
    "stream": "A point enters once for each `from` whose measurement it has and each database and retention policy "
    "that "
    "the task reads, as Kapacitor subscribes. Differs: without `dbrp` in the script (or `--dbrp`) every "
    "database is read, since a file of history seldom names one.",
    "from": "Exact. `truncate` and `round` count from the year 1, as Go does, not from 1970.",
    "query": "Exact with recordings, and against InfluxDB 1.x. A backfill and `tickc replay --data` answer the query "
    "from files, see [queries](influxql.md). As in Kapacitor: a `GROUP BY` of the text is dropped, numbers become "
    "floats, a series without points in the range makes no batch; `alignGroup` has an effect on live queries only. "
    "Differs: cron expressions are read in the zone of the variable TZ, else in UTC; Kapacitor lets no task query a "
    "subquery, a backfill does.",
    "where": "Exact. A point on which the condition fails is dropped and counted. Differs: an integer division by zero "
    "ends Kapacitor itself here; it is counted as any other failure.",
    "eval": "Exact, integer overflow and the results of Go's own `math` included. A point on which an expression fails "
    "is dropped and counted.",
    "default": "Exact. On batches the tags become dimensions, as in Kapacitor.",
    "delete": "Exact.",
    "shift": "Exact.",
    "sample": "Exact. Multiples of a duration count from the year 1.",
    "log": "Data pass unchanged. Differs: nothing is written, since a replay and a backfill have no log of a server.",
    "noOp": "Exact.",
    "trickle": "Exact.",
    "sideload": "Exact in what is found and how it is converted. The documents are loaded with the first point, and "
    "anew between two batches on SIGHUP (`kill -HUP`), as Kapacitor does on a request to `/sideload/reload`; "
    "the task fails where they cannot be had or one is broken, with Kapacitor's message. Differs: an endpoint that "
    "does not exist fails the task, where it ends Kapacitor itself; an answer other than 2xx is refused; a default "
    "that is a duration is refused; a text that becomes an int is one, where Kapacitor makes a value of it that prints "
    "as one and that no lambda accepts. YAML needs `pip install 'tickc[yaml]'`.",
    "groupBy": "Exact. On batches the order of points with equal time is that of Go's unstable sort, which is ported.",
    "window": "Exact for every relation of `period` and `every`, late points included: Kapacitor keeps the points of a "
    "group in a ring buffer, and what a purge leaves of late points depends on where the ring has wrapped; its "
    "indices are kept too. A window that is open at the end of the input is not emitted, as in Kapacitor, unless "
    "`--flush` asks for it.",
    "count": "Exact.",
    "sum": "Exact: added from left to right, so the last bits of a float sum are Kapacitor's; sums of ints wrap.",
    "mean": "Exact: summed from left to right; the mean of ints divides the wrapped sum.",
    "median": "Exact. Differs: of a window without one usable value, where Kapacitor ends, nothing comes and an error "
    "is "
    "counted.",
    "mode": "Exact, with Kapacitor's rule for values that occur equally often. Differs as `median` does.",
    "spread": "Exact.",
    "stddev": "Exact: a running mean, then the squares in order; NaN of a single value, as in Kapacitor.",
    "first": "Exact; of equal times the greater value. Differs as `median` does.",
    "last": "Exact; of equal times the greater value. Differs as `median` does.",
    "min": "Exact; of equal values the earliest. Differs as `median` does.",
    "max": "Exact; of equal values the earliest. Differs as `median` does.",
    "percentile": "Exact, also in which of several points with the same value is chosen: that is decided by Go's "
    "unstable "
    "sort, which is ported. Where the rank is outside of the window nothing comes.",
    "distinct": "Exact.",
    "top": "Exact, with the order of Go's sort for equal values. The further names are accepted and have no effect on "
    "the fields, as in Kapacitor.",
    "bottom": "Exact, as `top`.",
    "elapsed": "Exact.",
    "difference": "Exact.",
    "movingAverage": "Exact: a running sum that a value enters and another leaves, with the drift that comes of it.",
    "cumulativeSum": "Exact.",
    "holtWinters": "The search for the parameters makes the same steps in the same order as InfluxDB 1.9's. Equal to "
    "the last bit in all recorded cases; where the end of the search hangs on a single bit, 1e-6 relative is held to.",
    "holtWintersWithFit": "As `holtWinters`.",
    "derivative": "Exact. A point with the time of the one before is dropped and counted.",
    "changeDetect": "Exact: compared with the last point that went through, type and value.",
    "stateCount": "Exact. A point on which the condition fails is dropped and does not end the run.",
    "stateDuration": "Exact. A point on which the condition fails is dropped and does not end the run.",
    "combine": "Exact. On a stream the points of one time are complete when one of another time arrives in the group; "
    "those of the last time are never complete, as in Kapacitor.",
    "flatten": "Exact; complete as for `combine`. The values that a point without one of the tags leaves in "
    "Kapacitor's buffer stand before the next name here, too. Differs: where `dropOriginalFieldName` gives several "
    "fields of a point one name the last in alphabetical order wins, in Kapacitor any.",
    "httpPost": "Posts only with `--handlers`; else, as where the service is out of reach, `codeField` is 0 and the "
    "data pass on. Then exact in bodies, headers and codes. Differs: redirects are not followed, no request waits "
    "longer than 10 s or `timeout`, and a host that is down is left alone for a while; how many posts failed is told "
    "at the end. See [handlers](handlers.md).",
    "kapacitorLoopback": "Exact in points. They enter the other tasks of a replay or backfill of several, where these "
    "read that database and policy; a backfill also writes them as a data set of their own. Differs: they do so before "
    "the next row of the input, while Kapacitor has no order there. Its check for loops is here too, and circles of "
    "several tasks are refused.",
    "join": "Exact where Kapacitor is: which points meet and what is in them. Differs: messages of the parents are "
    "taken in the order of the points that caused them, and of one point in the order in which the parents stand; in "
    "Kapacitor that order is a race, which shows where a parent lags behind. What waits goes to files beyond 256 MiB; "
    "a parent from which nothing came is told at the end of a run.",
    "union": "Exact where Kapacitor is. Differs: ties are broken by the order of the points that came in, then the "
    "arguments come before the node that it is chained from; in Kapacitor that is a race.",
    "alert": "Events, levels, durations, templates and their HTML escaping are exact. Differs: events of `.log` become "
    "results, and a handler is called only with `--handlers` ([handlers](handlers.md)); topics are empty when a run "
    "begins, while a server remembers levels over a restart of the task; `.ServerInfo` names the host `localhost`; a "
    "template that takes more than 1,000,000 steps fails the task, where Kapacitor goes on for as long as it takes. "
    "Alerts that run side by side see each other's topics and inhibitions in the order of the points, which is left "
    "to chance in Kapacitor.",
    "deadman": "`stats(interval).align()|derivative('emitted').unit(interval).nonNegative()|alert()` with the texts "
    "of Kapacitor; goes by the clock as `stats` does.",
    "barrier": "Goes by the clock on the wall in Kapacitor, which a replay outruns, so that no barrier ever comes: so "
    "in a `tickc replay`. With `--clock data`, and in a backfill, it goes by the time of the data, which Kapacitor "
    "cannot: `period` at each multiple, `idle` when the data are past the group's last point by so much. A "
    "barrier comes before the point that moves time to it. What nodes do with barriers and with groups that are "
    "deleted is as in Kapacitor. See [data time](decisions/data-time.md).",
    "stats": "Goes by the clock as `barrier` does: silent in a `tickc replay`, on the time of the data with "
    "`--clock data` and in a backfill. A point counts once time is past the point's arrival. Differs: groups come in "
    "the order of their first points, in Kapacitor at random; the first aligned time is the next multiple, where "
    "Kapacitor stamps the first one with its start, rounded.",
    "httpOut": "Exact. Differs: Kapacitor shows the last emission at an address; here every emission is kept. A replay "
    "leaves out rows that JSON cannot hold (NaN), which Kapacitor fails to show; the files of a backfill have "
    "them.",
    "influxDBOut": "Exact in points, types and times. With `--write-to` the points of a backfill go to a server "
    "([influxdb.md](influxdb.md)). Differs without it: they become a file (or, in a replay, line protocol), and "
    "cluster, buffer, flushInterval, writeConsistency and create, which say how to write to a server, have no effect.",
}

# Functions that are part of the evaluation itself.
SPECIAL: Mapping[str, tuple[str, str]] = {
    "count": ("count() int", "How often this call was reached, in the group so far."),
    "if": ("if(boolean, T, T) T", "The second argument where the first is true, else the third; both are evaluated."),
    "isPresent": ("isPresent(\"name\") boolean", "Whether the point has the field or tag."),
    "now": ("now() time", "The time of the clock."),
    "rand": ("rand() int, rand(int) int", "A random number, not negative, and below the argument if there is one. "
             "Differs: every run gives the same numbers."),
    "sigma": ("sigma(float) float", "How many standard deviations the value is from the mean of those so far."),
    "spread": ("spread(float) float", "The greatest value minus the least, of those so far."),
}  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- nodes


def nodes_page() -> str:
    """docs/nodes.md."""
    return "\n".join(_nodes_page()) + "\n"


def _nodes_page() -> Iterator[str]:
    yield "# Nodes"
    yield ""
    yield (
        "Every node of Kapacitor 1.8.3, with its properties. *Exact* means: the same points in the same order within a "
        "group, with the same types and the same bits of every float. This page is printed from the declarations "
        "(`python -m tickc.docs`)."
    )
    for title, ticks in FAMILIES.items():
        yield f"\n## {title}"
        for tick in ticks:
            if _is_built(NODES[tick]):
                yield from _node(NODES[tick])
    yield from _handlers()
    yield from _refused()


def _handlers() -> Iterator[str]:
    yield "\n## Handlers of alerts\n"
    yield (
        "Properties of `alert` that say where events go. All are checked as Kapacitor checks them. Without "
        "`--handlers` none is called, with it `log`, `post`, `tcp` and, where `--allow-exec` says so, `exec`; the "
        "others belong to a live service. See [handlers](handlers.md)."
    )
    yield "\n| handler | properties | |\n|---|---|---|"
    for tick, cls in HANDLERS.items():
        named = ", ".join(f"`.{_call(p.name, p.params)}`" for p in cls.properties.values())
        yield f"| `.{_call(tick, cls.params)}` | {named} | {_cell(cls.doc)} |"


def _refused() -> Iterator[str]:
    yield "\n## Not supported yet\n"
    yield (
        "These nodes are known, so scripts with them can be checked, formatted and drawn. Compiling one is refused "
        "(`T401`)."
    )
    yield "\n| node | properties | what it does | why not yet |\n|---|---|---|---|"
    for cls in NODES.values():
        if cls.later:
            form = _cell(_sign(cls) + _call(cls.tick, cls.params))
            named = ", ".join(f"`.{_call(p.name, p.params)}`" for p in _own(cls))
            yield f"| `{form}` | {named} | {_cell(cls.doc)} | {_cell(cls.later)} |"


def _node(cls: type[Node]) -> Iterator[str]:
    yield f"\n### {cls.tick}\n"
    yield f"`{_sign(cls)}{_call(cls.tick, cls.params)}` · {_edges(cls)}\n"
    yield cls.doc
    if cls.params:
        yield ""
        yield from (f"- `{p.name}`: {p.label}, {p.doc}" for p in cls.params)
    if own := _own(cls):
        yield "\n| property | default | |\n|---|---|---|"
        for p in own:
            yield f"| `.{_call(p.name, p.params)}` | {_default(p)} | {_cell(p.doc)} |"
    yield f"\n{NOTES[cls.tick]}"


def _is_built(cls: type[Node]) -> bool:
    return not cls.later and cls.lower is not Node.lower


def _own(cls: type[Subject]) -> list[Property]:
    """The properties that are said of each node: not `.quiet()`, nor handlers, nor the arguments once more."""
    given = {p.field for p in cls.params}
    return [
        p
        for p in cls.properties.values()
        if p.name != "quiet" and p.name not in HANDLERS and not (p.field and p.field in given)
    ]


def _sign(cls: type[Node]) -> str:
    return "" if not cls.parents_of else "|"


def _call(name: str, params: Iterable[Parameter]) -> str:
    return f"{name}({', '.join(p.name + ('…' if p.variadic else '') for p in params)})"


def _edges(cls: type[Node]) -> str:
    if cls.class_wants is cls.class_gives:
        return "stream and batch edges" if cls.class_wants is Edge.SAME else f"{cls.class_wants.value} edges"
    words = {Edge.SAME: "stream or batch", Edge.NONE: "nothing"}
    wants, gives = (words.get(e, e.value) for e in (cls.class_wants, cls.class_gives))
    return f"takes {wants}, gives {gives}"


def _default(p: Property) -> str:
    if p.method is not None or p.default is None or p.default == "" or p.default is False:
        return ""
    if isinstance(p.default, Duration):
        return f"`{format_duration_influx(p.default)}`" if p.default else ""
    return f"`{p.default!r}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# ----------------------------------------------------------------------------------------------------------- functions


def functions_page() -> str:
    """docs/functions.md."""
    return "\n".join(_functions_page()) + "\n"


def _functions_page() -> Iterator[str]:
    yield "# Functions of lambdas"
    yield ""
    yield (
        "Every function that a lambda expression can call, by its forms. All agree with Go 1.26 on amd64, which "
        "Kapacitor is built with: tests/fixtures/go holds thousands of its values, and the tests run each example "
        "below. This page is printed from the declarations (`python -m tickc.docs`)."
    )
    yield "\n## Functions with state, and those that are part of the language\n"
    yield (
        "`count`, `sigma` and `spread` have a state: each place in the script has one for each group; in `from`, in "
        "the conditions of `alert`, and in a lambda that stands in another by way of a variable, one for all groups. A "
        "call that is not reached, because AND or OR ends before, leaves the state as it is."
    )
    yield "\n| function | |\n|---|---|"
    yield from (f"| `{form}` | {_cell(text)} |" for form, text in SPECIAL.values())
    yield "\n## Functions of their arguments\n"
    yield "| function | | examples |\n|---|---|---|"
    for name in builtins.names():
        for kinds, one in (builtins.overloads(name) or {}).items():
            form = f"{name}({', '.join(k.label for k in kinds)}) {one.result.label}"
            shown = "<br>".join(f"`{_cell(text)}` → {_value(v, one.result)}" for text, v in one.examples.items())
            yield f"| `{form}` | {_cell(one.doc)} | {shown} |"


def _value(value: Any, kind: Kind) -> str:
    """An example's value as a script would have it."""
    if isinstance(value, EvalError):
        return f"error: {_cell(str(value))}"
    match kind:
        case Kind.DURATION:
            return f"`{format_duration_influx(value)}`"
        case Kind.STRING:
            return f"`'{_cell(value)}'`"
        case Kind.BOOL:
            return f"`{str(value).upper()}`"
    return f"`{value!r}`"


def undocumented() -> list[str]:
    """Nodes and functions that the pages would leave out."""
    listed = {tick for ticks in FAMILIES.values() for tick in ticks}
    built = {tick for tick, cls in NODES.items() if _is_built(cls)}
    functions = {*builtins.names(), *SPECIAL}
    return sorted({*(built - listed), *(built - NOTES.keys()), *({*function_names()} - functions)})


def pages() -> dict[str, str]:
    """The pages by the names of their files."""
    return {"nodes.md": nodes_page(), "functions.md": functions_page()}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs")
    for file, text in pages().items():
        (folder / file).write_text(text, encoding="utf-8")
        print(f"wrote {folder / file}")
