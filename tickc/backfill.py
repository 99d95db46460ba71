"""A task over files of history: the face of tickc.runtime.backfill for Python and the command line."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Collection, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickc.runtime.backfill import OnStep, Options, Paths
    from tickc.runtime.influxdb.address import Address
    from tickc.runtime.influxdb.sink import Destination
    from tickc.runtime.many import Together
    from tickc.task import Task


YOUNG = 400_000  # objects from which garbage is looked for where there are many tasks


@contextlib.contextmanager
def seldom_collecting() -> Iterator[None]:
    """Within the block garbage is looked for less often: a thousand tasks are a million objects, all of which stay, and
    to look through them again and again takes as long as to run the tasks."""
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], YOUNG) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def backfill(
    task: Task,
    inputs: Paths = (),
    output: str | PathLike[str] | None = None,
    *,
    start: Any = None,
    stop: Any = None,
    warm_up: Any = 0,
    workers: int | None = None,
    time_parallel: bool = False,
    memory: int | None = None,
    measurement: str | None = None,
    tags: Collection[str] | None = None,
    fields: Collection[str] | None = None,
    sort: bool = False,
    precision: str = "ns",
    input_format: str | None = None,
    batch_rows: int | None = None,
    format: str = "parquet",
    clock: str = "data",
    flush: bool = False,
    handlers: bool = False,
    allow_exec: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint: float | None = None,
    source: str | None = None,
    write_to: str | None = None,
    spool: str | PathLike[str] | None = None,
    on_step: OnStep | None = None,
) -> Any:
    """Run a task over files: Parquet, Arrow IPC, CSV, line protocol; paths, globs and folders. Or over a server.

    With `output`, a folder, the results are written there (see tickc.runtime.outputs) and a Summary is returned;
    without one, {sink name: pyarrow.Table} with the columns `time`, tags and fields (`.log(NAME)` under NAME).

    start, stop: RFC 3339 text, datetime or ns, stop exclusive. warm_up: timedelta, ns, or text such as "10m";
    points of so long before `start` prepare windows, levels and the like, but nothing that they bring is written.
    workers: threads that compute, by default as many as there are processors, up to 4; time_parallel: they compute
    slices of time, and what would not give the same results is refused (docs/decisions/workers.md); memory: about
    how many bytes the process may take, by default 1.5 GiB, beyond which rows that windows and joins keep go to
    files; the results depend on neither. measurement: of rows that do not say theirs. tags, fields: columns that
    are such, against the defaults. sort: order the rows by time. precision: of line protocol. input_format: where
    names do not tell. format: of the output: parquet, arrow, jsonl or lp. clock: what barriers, statistics and
    deadmans follow: "data", the times of the points, or "wall", which a backfill outruns, so that they never
    strike. flush: what is open when the input ends, windows and the like, comes out. handlers: whether the handlers
    of alerts are called and data posted; allow_exec: whether programs are run, too (docs/handlers.md). overwrite:
    replace what a run wrote to `output`. resume: go on with a run to `output` that was broken off, and leave one
    that was not as it is; checkpoint: seconds between two points from which that is possible (docs/cli.md). source:
    in place of inputs, the address of an InfluxDB, and write_to: of the one that influxDBOut writes to
    (docs/influxdb.md); spool: the folder in which points wait for it, by default `output` with `.spool` behind its
    name. on_step is called with (input, Summary so far) after each batch.

    Raises SourceError where an input cannot be read, OutputError where the output cannot be written, and SettingsError
    where an address is wrong; nothing is written then.
    """
    from tickc.runtime import backfill as engine

    options = _options(
        inputs,
        source,
        start=start,
        stop=stop,
        warm_up=warm_up,
        measurement=measurement,
        tags=tags,
        fields=fields,
        sort=sort,
        precision=precision,
        format=input_format,
        batch_rows=batch_rows,
        clock=clock,
        flush=flush,
        workers=workers,
        time_parallel=time_parallel,
        kept=engine.kept_within(memory),
    )
    try:
        summary, tables = engine.backfill(
            task.build(),
            task.module.READS,
            inputs if source is None else _address(source, task),
            output,
            options=options,
            form=format,
            overwrite=overwrite,
            on_step=on_step,
            outside=task.outside(handlers, allow_exec),
            task=task.source,
            resume=resume,
            checkpoint=checkpoint,
            write_to=None if write_to is None else _destination(write_to, task, output, spool),
        )
    except Exception as error:
        task.locate(error)
        raise
    return summary if tables is None else tables


@seldom_collecting()
def backfill_all(
    tasks: Sequence[Task],
    inputs: Paths = (),
    output: str | PathLike[str] | None = None,
    *,
    workers: int | None = None,
    memory: int | None = None,
    input_format: str | None = None,
    batch_rows: int | None = None,
    format: str = "parquet",
    handlers: bool = False,
    allow_exec: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint: float | None = None,
    source: str | None = None,
    write_to: str | None = None,
    spool: str | PathLike[str] | None = None,
    on_step: OnStep | None = None,
    **reading: Any,
) -> Together:
    """Run many tasks over the same files or server, which are read once for all of them.

    The results of each are those of a backfill of it alone: in the folder OUTPUT/NAME, or, without `output`, as tables
    in the summary, by the task's name. The summary also tells which tasks failed, and why; others are not touched by
    that. The options are those of `backfill`; with `write_to` the points of a task wait in SPOOL/NAME,
    by default OUTPUT/NAME.spool.

    Raises what `backfill` raises where the inputs or the output are at fault, and ValueError where two tasks have one
    name.
    """
    from tickc.runtime import many
    from tickc.runtime.backfill import kept_within

    options = _options(
        inputs,
        source,
        format=input_format,
        batch_rows=batch_rows,
        workers=workers,
        kept=kept_within(memory) // max(len(tasks), 1),
        **reading,
    )
    jobs = [
        many.Job(
            task.name,
            task.build(),
            task.module.READS,
            task.source,
            task.outside(handlers, allow_exec),
            None if write_to is None else _destination(write_to, task, *_places(task, output, spool)),
            task.locate,
        )
        for task in tasks
    ]
    return many.backfill_all(
        jobs,
        inputs if source is None else _address(source, tasks[0]),
        output,
        options=options,
        form=format,
        overwrite=overwrite,
        on_step=on_step,
        resume=resume,
        checkpoint=checkpoint,
    )


def _options(
    inputs: Paths,
    source: str | None,
    *,
    workers: int | None,
    start: Any = None,
    stop: Any = None,
    warm_up: Any = 0,
    **given: Any,
) -> Options:
    """How to read and write; ValueError where that is not clear."""
    from tickc.runtime.backfill import Options
    from tickc.runtime.times import duration, nanoseconds

    if workers is not None and workers < 1:
        raise ValueError("workers must be 1 or more")
    if (source is None) == (not isinstance(inputs, (str, PathLike)) and not inputs):
        raise ValueError("give either inputs or a source")
    if warm_up and start is None:
        raise ValueError("warm_up needs a start")
    begin, end = nanoseconds(start), nanoseconds(stop)
    return Options(start=begin, stop=end, warm_up=duration(warm_up), workers=workers, **given)


def _address(url: str, task: Task) -> Address:
    from tickc.runtime.influxdb.address import parse

    return parse(url, task.settings)


def _places(
    task: Task, output: str | PathLike[str] | None, spool: str | PathLike[str] | None
) -> tuple[str | None, str | None]:
    """The output and the spool of one task of a set."""
    own = (None if folder is None else os.path.join(folder, task.name) for folder in (output, spool))
    return next(own), next(own)


def _destination(
    url: str, task: Task, output: str | PathLike[str] | None, spool: str | PathLike[str] | None
) -> Destination:
    from tickc.runtime.influxdb.sink import Destination

    return Destination.of(url, task.settings, task.name, output, spool)
