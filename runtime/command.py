"""Runs over history as commands: `python MODULE.py`, a generated module run by itself, and what `tickc backfill` has in
common with it.
"""

from __future__ import annotations

import linecache
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from tickc.runtime import console
from tickc.runtime import options as option
from tickc.runtime.console import INTERRUPTED, Failure, count, write_stdout

if TYPE_CHECKING:
    from tickc.runtime.backfill import OnStep, Summary
    from tickc.runtime.graph import Graph
    from tickc.runtime.handlers import Outside
    from tickc.runtime.influxdb.address import Address
    from tickc.runtime.influxdb.sink import Destination
    from tickc.runtime.many import Together
    from tickc.runtime.settings import Settings
    from tickc.runtime.udf import Udf

S = TypeVar("S")

HELP = """Run this task over history: Parquet, Arrow IPC, CSV, line protocol (plain, .gz, .zst), recordings, InfluxDB.

A column `time` is needed (a timestamp or int64 ns); string columns are tags, the others fields. Each sink of the script
becomes a data set in the folder --output, which appears whole or not at all; without it the results are printed, a JSON
object a line, with the sink in `sink`.

\b
Examples:
  python {name} --input cpu.parquet
  python {name} --input 'cpu-*.lp.gz' --output out --start 2024-01-01T00:00:00Z
  python {name} --input data/ --output out --resume
  python {name} --source influxdb://localhost:8086/telegraf --output out
  python {name} --input cpu.lp --write-to influxdb://localhost:8086/rollups
"""
PRINTED_AT_ONCE = 8192  # rows
OF_FOLDERS = ("overwrite", "format", "resume", "checkpoint", "as_json")  # only where the results are not printed


def main(build: Callable[[], Graph], reads: Mapping[str, Any], arguments: Sequence[str] | None = None) -> int:
    """Run the task of a module over history; returns the exit code: 0 success, 1 failure, 2 bad usage, 130 interrupted.

    Without --output the results are printed: one JSON object a line, with the sink in `sink`.
    """
    module = Path(sys.argv[0])

    @click.command(help=HELP.format(name=module.name), context_settings=console.CONTEXT)
    @option.history(
        click.option("--output", metavar="DIR", help="Folder for the results; new or empty. [default: print them]")
    )
    @option.config
    @click.pass_context
    def command(context: click.Context, output: str | None, quiet: bool, as_json: bool, **options: Any) -> None:
        option.check_history(options)
        if output is None:
            _check_printing(context)
        tables: dict[str, Any] = {}

        def run(on_step: OnStep | None) -> Summary:
            summary, found = _backfill(build, reads, output, module.stem, on_step, **options)
            tables.update(found or {})
            return summary

        summary = watched(run, output, quiet)
        for name, table in tables.items():
            _print(name, table)
        conclude(summary, output, quiet, as_json)

    return console.run(command, arguments, f"python {module.name}")


def _check_printing(context: click.Context) -> None:
    """Bad usage where results are printed, and an option is for those in a folder."""
    for param in context.command.params:
        given = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name in OF_FOLDERS:
            raise click.UsageError(f"{param.opts[0]}: only with --output.")


def _backfill(
    build: Callable[[], Graph],
    reads: Mapping[str, Any],
    output: str | None,
    task: str,
    on_step: OnStep | None,
    *,
    inputs: Sequence[str],
    source: str | None,
    write_to: str | None,
    spool: str | None,
    config: str | None,
    handlers: bool,
    allow_exec: bool,
    input_format: str | None,
    memory: int | None,
    format: str,
    overwrite: bool,
    resume: bool,
    checkpoint: float | None,
    **reading: Any,
) -> tuple[Summary, dict[str, Any] | None]:
    """Run the graph of a module, of the task with this name; the summary, and tables where there is no output."""
    from tickc.runtime import backfill as engine
    from tickc.runtime.udf import provide

    udfs, outside = _declared(config, handlers, allow_exec)
    settings = None if outside is None else outside.settings
    graph = provide(build(), udfs, task)
    heed_hangup(op.name for op in graph.operators)
    return engine.backfill(
        graph,
        reads,
        list(inputs) if source is None else _address(source, settings),
        output,
        options=engine.Options(format=input_format, kept=engine.kept_within(memory), **reading),
        form=format,
        overwrite=overwrite,
        on_step=on_step,
        outside=outside,
        task="".join(linecache.getlines(build.__code__.co_filename)),
        resume=resume,
        checkpoint=checkpoint,
        write_to=None if write_to is None else _destination(write_to, settings, task, output, spool),
    )


def _declared(config: str | None, handlers: bool, allow_exec: bool) -> tuple[Mapping[str, Udf], Outside | None]:
    """The user-defined functions of a configuration file, and what the run may do to the world (None: nothing)."""
    if not handlers and config is None:
        return {}, None
    from tickc.runtime.handlers import Outside
    from tickc.runtime.settings import Settings, load
    from tickc.runtime.udf.config import read

    if config is None:
        return {}, Outside(Settings(), handlers, allow_exec)
    return read(config), Outside(load(config), handlers, allow_exec)


def _address(url: str, settings: Settings | None) -> Address:
    from tickc.runtime.influxdb.address import parse

    return parse(url, settings)


def _destination(url: str, settings: Settings | None, task: str, output: str | None, spool: str | None) -> Destination:
    from tickc.runtime.influxdb.sink import Destination

    return Destination.of(url, settings, task, output, spool)


def _print(sink: str, table: Any) -> None:
    """The rows of a table as JSON lines, without what a row lacks."""
    import json

    import numpy as np

    from tickc.runtime.gotext import times_rfc3339nano

    names = [name for name in table.column_names if name != "time"]
    for rows in table.to_batches(max_chunksize=PRINTED_AT_ONCE):
        times = times_rfc3339nano(rows.column("time").to_numpy(zero_copy_only=False).view(np.int64))
        lines = []
        for time, *values in zip(times, *(rows.column(name).to_pylist() for name in names)):
            row = {k: v for k, v in zip(names, values) if v is not None}
            lines.append(json.dumps({"sink": sink, "time": time, **row}, ensure_ascii=False) + "\n")
        write_stdout("".join(lines))


# ------------------------------------------------------------------------------------------ of `tickc backfill`, too


def heed_hangup(operators: Iterable[str]) -> None:
    """Where an operator (by name) is a sideload, SIGHUP has its documents loaded anew; else it ends the run."""
    if any("sideload" in name for name in operators):
        from tickc.runtime.nodes.sideload import reload_all

        signal.signal(signal.SIGHUP, reload_all)


def watched(run: Callable[[OnStep | None], S], output: str | None, quiet: bool) -> S:
    """What a run returns, while a bar shows how far it is; Failure where the task failed or a person broke it off.

    run: takes what is called after each batch.
    """
    from tickc.runtime import progress

    done = _Done()
    try:
        with progress.bar(quiet) as step:
            return run(done.following(step))
    except KeyboardInterrupt:
        raise _interrupted(done.points, output) from None
    except Exception as error:
        from tickc.runtime.graph import TaskFailed

        if not isinstance(error, TaskFailed):
            raise
        raise Failure(f"the task failed: {error}", "nothing was written") from None


def _interrupted(points: int, output: str | None) -> Failure:
    told = f"interrupted after {points:,} points"
    if output is None:
        return Failure(told, code=INTERRUPTED)
    from tickc.runtime.outputs import broken_off

    kept = broken_off(output)
    hint = "" if kept is None else f"--resume goes on after {kept:,} points"
    return Failure(f"{told}; nothing was written to {output}", hint, INTERRUPTED)


def conclude(summary: Summary | Together, output: str | None, quiet: bool, as_json: bool) -> None:
    """Tell what a run did; Failure where nothing came of it, or a task failed."""
    if not quiet:
        from tickc.runtime import progress

        progress.show(summary, output)
    if as_json:
        import json

        write_stdout(json.dumps(summary.to_json(), indent=2) + "\n")
    if summary.left_out and not summary.points_read:
        raise Failure("no point could be read")
    servers = summary.servers.values()
    if any(told["failed"] for told in servers) and not any(told["delivered"] for told in servers):
        raise Failure("no point was accepted by the server")
    if summary.failed:
        raise Failure(_told_failures(summary))


def _told_failures(summary: Any) -> str:
    """The tasks of a set that failed, a line each."""
    found = [f"{name}: {reason}" for name, reason in summary.failed.items()]
    ended = count(len(summary.tasks), "task") if summary.tasks else "no task"
    return "\n".join([*found, f"{count(len(found), 'task')} failed, {ended} came to the end"])


class _Done:
    """How far a run has come, for the one who interrupts it."""

    def __init__(self) -> None:
        self.points = 0

    def following(self, step: OnStep | None) -> OnStep:
        def follow(source: Any, summary: Any) -> None:
            self.points = summary.points_read
            if step is not None:
                step(source, summary)

        return follow
