"""The options that commands share: those of `tickc backfill` are those of `python MODULE.py`, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# --------------------------------------------------------------------------------------------------- what they take


class _Time(click.ParamType):
    """What a function of runtime/times.py makes of a text: ns."""

    reads: ClassVar[str]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from tickc.runtime import times

        try:
            return getattr(times, self.reads)(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(_Time):
    """RFC 3339 text or ns, as ns."""

    name, reads = "time", "nanoseconds"


class Length(_Time):
    """A length of time, such as 1h30m, as ns."""

    name, reads = "duration", "duration"


class Names(click.ParamType):
    """Names with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return tuple(name for name in value.split(",") if name) if isinstance(value, str) else value


MOST_WORKERS = 256


class Counts(click.ParamType):
    """Different numbers of workers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        found = [int(n) if n.strip().isdecimal() else 0 for n in value.split(",")]
        if not all(1 <= n <= MOST_WORKERS for n in found):
            self.fail(f"{value!r}: expected are numbers from 1 to {MOST_WORKERS}, such as 1,2,4", param, ctx)
        return tuple(dict.fromkeys(found))


class Size(click.ParamType):
    """Bytes: 2GiB, 1.5G (the same unit), 500MB (of 1000), 1000000."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(iB|B)?", str(value), re.IGNORECASE)
        if not found:
            self.fail(f"{value!r} is no size: expected is a number of bytes, such as 2GiB or 500MB", param, ctx)
        thousand = 1000 if (found[3] or "").upper() == "B" else 1024
        return int(float(found[1]) * thousand ** " KMGT".index(found[2].upper() or " "))


# ---------------------------------------------------------------------------------------------------------- options


def several(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Options as one decorator."""

    def apply(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


def clock(default: str) -> Callable[[F], F]:
    """--clock with its default."""
    return click.option(
        "--clock",
        type=click.Choice(["wall", "data"]),
        default=default,
        show_default=True,
        help="What barriers, stats and deadmans follow: the times of the data, or the wall, which never strikes here.",
    )


config = click.option(
    "--config",
    metavar="FILE",
    help="Declares user-defined functions, [udf.functions.NAME] as in Kapacitor's configuration, endpoints of web "
    "services, [[httppost]], and servers, [[influxdb]]. Naming it allows "
    "its programs to be run, as --allow-exec does for handlers; no other program that a script asks for is run.",
)
flush = click.option("--flush", is_flag=True, help="What is open at the end of the input, windows and the like, too.")
reaching = several(
    click.option("--handlers", is_flag=True, help="Call log, post and tcp handlers of alerts, and post for httpPost."),
    click.option("--allow-exec", is_flag=True, help="With --handlers: run the programs of exec handlers, too."),
)
reading = several(
    click.option("--start", type=Moment(), metavar="TIME", help="Points from this time (RFC 3339 or ns)."),
    click.option("--stop", type=Moment(), metavar="TIME", help="Points before this time (RFC 3339 or ns)."),
    click.option(
        "--measurement", metavar="NAME", help="Of rows that name none. [default: the only one the script reads]"
    ),
    click.option("--tags", type=Names(), metavar="A,B", help="Columns that are tags. [default: those of strings]"),
    click.option("--fields", type=Names(), metavar="A,B", help="Columns that are fields. [default: all others]"),
    click.option("--sort", is_flag=True, help="Order the rows by time first."),
    click.option(
        "--precision",
        type=click.Choice(["ns", "us", "ms", "s"]),
        default="ns",
        show_default=True,
        help="Unit of times in line protocol.",
    ),
    click.option(
        "--input-format",
        type=click.Choice(["parquet", "ipc", "csv", "lines", "recording"]),
        help="Of the inputs. [default: by their names]",
    ),
)
form = click.option(
    "--format",
    type=click.Choice(["parquet", "arrow", "jsonl", "lp"]),
    default="parquet",
    show_default=True,
    help="Of the output; lp is line protocol. Alerts are always JSON Lines too.",
)
batch_rows = click.option(
    "--batch-rows",
    type=click.IntRange(1, 1 << 24),
    metavar="N",
    help="Rows of a batch. [default: 65536, for several threads 131072, or 262144 of few fields]",
)


def history(output: Callable[[F], F]) -> Callable[[F], F]:
    """The options of a run over history, whose results go where the option `output` says."""
    return several(
        click.option("--input", "inputs", multiple=True, metavar="PATH", help="File, glob or folder; repeatable."),
        click.option("--source", metavar="URL", help="Instead of --input: an InfluxDB, influxdb://host:8086/database."),
        output,
        click.option("--overwrite", is_flag=True, help="Replace what an earlier run wrote to DIR."),
        reading,
        form,
        click.option(
            "--warm-up",
            type=Length(),
            default=0,
            metavar="DURATION",
            help="With --start: points of so long before it prepare windows, levels and the like; nothing that they "
            "bring is written. `tickc show --history` tells how long it has to be.",
        ),
        clock("data"),
        flush,
        reaching,
        click.option(
            "--write-to", metavar="URL", help="InfluxDB that influxDBOut writes to: influxdb://host:8086/database."
        ),
        click.option("--spool", metavar="DIR", help="Where points wait for --write-to. [default: OUTPUT.spool]"),
        click.option(
            "--resume", is_flag=True, help="Go on with a run that was broken off; what is done is not done again."
        ),
        click.option(
            "--checkpoint",
            type=click.FloatRange(0),
            metavar="SECONDS",
            help="Time between two points from which --resume can go on. [default: 60]",
        ),
        batch_rows,
        click.option(
            "--memory",
            type=Size(),
            metavar="SIZE",
            help="About how much to take; rows that windows and joins keep beyond it go to files. [default: 1.5GiB]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, MOST_WORKERS),
            metavar="N",
            help="Threads that compute; results do not depend on it. [default: one for each processor, up to 4]",
        ),
        click.option(
            "--time-parallel",
            is_flag=True,
            help="The threads compute slices of time; refused where the results would not be the same.",
        ),
        click.option("--quiet", is_flag=True, help="Neither progress nor summary."),
        click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout."),
    )


def check_range(options: Mapping[str, Any]) -> None:
    """Bad usage where --stop is before --start."""
    start, stop = options["start"], options["stop"]
    if start is not None and stop is not None and stop < start:
        raise click.UsageError("--stop is before --start.")


def check_history(options: Mapping[str, Any]) -> None:
    """Bad usage where options of a run over history do not go together."""
    if bool(options["inputs"]) == bool(options["source"]):
        raise click.UsageError("Give either --input or --source.")
    if options["spool"] and not options["write_to"]:
        raise click.UsageError("--spool: only with --write-to.")
    if options["warm_up"] and options["start"] is None:
        raise click.UsageError("--warm-up: only with --start.")
    check_range(options)
