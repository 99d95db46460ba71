"""`python MODULE.py --input data.parquet`: a generated module run by itself."""

from __future__ import annotations

import argparse
import json
import linecache
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tickc.runtime.graph import CLOCKS, Graph

PRECISIONS = ("ns", "us", "ms", "s")
FORMATS = ("parquet", "arrow", "jsonl", "lp")


def main(build: Callable[[], Graph], reads: Mapping[str, Any], arguments: Sequence[str] | None = None) -> int:
    """Run the task of a module over files; returns the exit code: 0 success, 1 failure, 2 bad usage, 130 interrupted.

    Without --output the results are printed: one JSON object a line, with the sink in `sink`.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(build, reads, options)
    except KeyboardInterrupt:
        return _tell(
            "interrupted" + ("" if options.output is None else f"; nothing was written to {options.output}"), 130
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("TICKC_DEBUG") == "1":
            raise
        hint = getattr(error, "hint", "")
        message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        return _tell(f"error: {message}" + (f"\n  = hint: {hint}" if hint else ""), 1)


def _terminate(number: int, frame: Any) -> NoReturn:
    """A polite kill: leave through the `finally` blocks, so that no half output stays behind."""
    raise SystemExit(128 + number)


def heed_hangup(operators: Iterable[str]) -> None:
    """Where an operator (by name) is a sideload, SIGHUP has its documents loaded anew; else it ends the run."""
    if any("sideload" in name for name in operators):
        from tickc.runtime.nodes.sideload import reload_all

        signal.signal(signal.SIGHUP, reload_all)


def _tell(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _run(build: Callable[[], Graph], reads: Mapping[str, Any], o: argparse.Namespace) -> int:
    from tickc.runtime.backfill import Options, backfill
    from tickc.runtime.udf import provide

    options = Options(
        start=o.start, stop=o.stop, measurement=o.measurement, tags=o.tags, fields=o.fields, sort=o.sort,
        precision=o.precision, clock=o.clock, flush=o.flush, workers=o.workers,
    )  # fmt: skip
    graph = provide(build(), _udfs(o.config), Path(sys.argv[0]).stem)
    heed_hangup(op.name for op in graph.operators)
    summary, tables = backfill(
        graph, reads, o.input, o.output, options=options, form=o.format, overwrite=o.overwrite, outside=_outside(o),
        task="".join(linecache.getlines(build.__code__.co_filename)), resume=o.resume, checkpoint=o.checkpoint,
    )  # fmt: skip
    for name, table in (tables or {}).items():
        _print(name, table)
    losses = sum(summary.left_out.values())
    _tell(
        f"{summary.points_read:,} points read in {summary.seconds:.2f} s"
        + (f", {losses:,} left out" if losses else "")
        + (f"; wrote {o.output}" if o.output else ""),
        0,
    )
    for text in (*summary.first_left_out, *(f"note: {note}" for note in summary.notes)):
        _tell(text, 0)
    return 0 if summary.points_read or not losses else 1


def _udfs(config: str | None) -> dict[str, Any]:
    """The user-defined functions that a configuration file declares."""
    if config is None:
        return {}
    from tickc.runtime.udf.config import read

    return {**read(config)}


def _outside(o: argparse.Namespace) -> Any:
    """What the run may do to the world."""
    if not o.handlers and o.config is None:
        return None
    from tickc.runtime.handlers import Outside
    from tickc.runtime.settings import Settings, load

    return Outside(Settings() if o.config is None else load(o.config), o.handlers, o.allow_exec)


def _print(sink: str, table: Any) -> None:
    """The rows of a table as JSON lines, without what a row lacks."""
    import numpy as np

    from tickc.runtime.gotext import times_rfc3339nano

    times = times_rfc3339nano(np.asarray(table.column("time").to_numpy()).view(np.int64))
    names = [name for name in table.column_names if name != "time"]
    columns = [table.column(name).to_pylist() for name in names]
    for time, *values in zip(times, *columns):
        row = {k: v for k, v in zip(names, values) if v is not None}
        print(json.dumps({"sink": sink, "time": time, **row}, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    from tickc.runtime.times import nanoseconds

    def moment(text: str) -> int | None:
        try:
            return nanoseconds(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def count(text: str) -> int:
        if not text.isdecimal() or not int(text):
            raise argparse.ArgumentTypeError("a whole number from 1 on")
        return int(text)

    name = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog=f"python {name}",
        description="Run this task over files of history.",
        epilog=f"example: python {name} --input data.parquet --output out",
    )
    names = _names
    parser.add_argument("--input", action="append", required=True, metavar="PATH", help="file, glob or folder")
    parser.add_argument(
        "--output", metavar="DIR", help="write data sets to this folder (default: JSON lines on stdout)"
    )
    parser.add_argument("--start", type=moment, metavar="TIME", help="points from this time (RFC 3339)")
    parser.add_argument("--stop", type=moment, metavar="TIME", help="points before this time (RFC 3339)")
    parser.add_argument("--measurement", metavar="NAME", help="of rows that do not say theirs")
    parser.add_argument("--tags", type=names, metavar="A,B", help="columns that are tags")
    parser.add_argument("--fields", type=names, metavar="A,B", help="columns that are fields")
    parser.add_argument("--sort", action="store_true", help="order the rows by time first")
    parser.add_argument("--precision", choices=PRECISIONS, default="ns", help="of times in line protocol")
    parser.add_argument("--clock", choices=CLOCKS, default="data", help="what barriers, stats and deadmans follow")
    parser.add_argument("--flush", action="store_true", help="what is open at the end of the input comes out too")
    parser.add_argument(
        "--workers", type=count, metavar="N", help="threads that compute (one for each processor, up to 4)"
    )
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="of the output")
    parser.add_argument("--config", metavar="FILE", help="declares user-defined functions, whose programs may be run")
    parser.add_argument("--handlers", action="store_true", help="call log, post and tcp handlers; post for httpPost")
    parser.add_argument("--allow-exec", action="store_true", help="with --handlers: run the programs of exec handlers")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier run wrote to the folder")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was broken off")
    parser.add_argument("--checkpoint", type=float, metavar="SECONDS", help="time between points to resume at (60)")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
