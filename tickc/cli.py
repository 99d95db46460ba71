"""The command line: check, fmt, compile, replay, backfill, show.

Exit codes: 0 success; 1 a failure while running; 2 bad usage or a script that does not compile; 130 interrupted.
Results go to stdout, all else to stderr. Only click is imported at the top: what a command needs the command imports.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tickc.runtime import console
from tickc.runtime import options as option
from tickc.runtime.console import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    Failure,
    count,
    report,
    say,
    show_script_errors,
    visible,
    write_stdout,
)

if TYPE_CHECKING:
    from tickc.bench import Measured
    from tickc.compiler import Compiled
    from tickc.compiler.emit import Module
    from tickc.runtime.graph import Graph
    from tickc.runtime.settings import Settings
    from tickc.runtime.sources.base import Problems
    from tickc.runtime.udf import Udf
    from tickc.task import Task
    from tickc.variables import TaskFile


SCRIPTS_APIECE = 32  # scripts from which it is worth it to have another process compile them


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code and never raises."""
    return console.run(cli, arguments, "tickc")


# ----------------------------------------------------------------------------------------------- shared options


@click.group(context_settings=console.CONTEXT)
@click.version_option(package_name="tickc", message="tickc %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Tell on stderr what is done and how long it takes.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """Compile TICKscript, the language of InfluxData Kapacitor, and run it on data.

    \b
    Examples:
      tickc check cpu_alert.tick
      tickc compile cpu_alert.tick -o cpu_alert.py
      tickc replay cpu_alert.tick --recording cpu.srpl
      tickc backfill cpu_alert.tick --input 'data/*.parquet' --output out
    """
    context.obj = verbose


_vars = click.option(
    "--vars",
    "vars_file",
    metavar="FILE",
    help='Values of template variables, JSON as Kapacitor takes it: {"crit": {"type": "float", "value": 90}}; '
    "or the file of a task made of a template, as `kapacitor define -file` takes it (JSON or YAML).",
)
_template = click.option(
    "--template",
    is_flag=True,
    help="The script is a template: check its definition first, in which variables need no value.",
)
_passes = option.several(
    click.option("--no-pass", "no_pass", multiple=True, metavar="NAME", help="Leave out an optimiser pass."),
    click.option("--no-passes", is_flag=True, help="Leave out all optimiser passes."),
)


_task = click.option(
    "--task", "task_name", metavar="NAME", help="The task's id (.TaskName). [default: the script's file name]"
)
_dbrp = click.option(
    "--dbrp",
    multiple=True,
    metavar="DB.RP",
    help="Database and retention policy that the task reads where the script has no `dbrp`. [default: any]",
)
_script = click.argument("script", metavar="TASK.tick")
_compiling = option.several(_vars, option.config, _passes, _task, _dbrp)
_SHARED = ("vars_file", "config", "no_pass", "no_passes", "task_name", "dbrp")  # parameters of `_compiling`


def _read_script(path: str) -> str:
    """The text of a script (`-` is stdin); a byte that is no UTF-8 is kept as Kapacitor keeps it."""
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {path}: {_reason(error)}", code=REFUSED) from None
    return data.decode("utf-8", "surrogateescape")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _script_file(path: str) -> str:
    return "<stdin>" if path == "-" else path


def _task_name(path: str) -> str:
    return "task" if path == "-" else Path(path).stem


def _read_vars(path: str | None) -> TaskFile:
    from tickc import variables

    return variables.TaskFile() if path is None else variables.read(path)


def _read_config(path: str | None) -> dict[str, Udf]:
    """The user-defined functions that a configuration file declares."""
    if path is None:
        return {}
    from tickc.runtime.udf import config

    return config.read(path)


def _read_settings(path: str | None) -> Settings | None:
    """The endpoints that a configuration file declares."""
    if path is None:
        return None
    from tickc.runtime import settings

    return settings.load(path)


def _without(no_pass: Sequence[str], no_passes: bool) -> Collection[str] | None:
    """The passes to leave out (None: all); an unknown name is bad usage."""
    from tickc.compiler.diagnostics import did_you_mean
    from tickc.compiler.passes import PASSES

    known = [name for name, _ in PASSES]
    for name in no_pass:
        if name not in known:
            listed = f"the passes are {', '.join(known)}" if known else "there are no passes"
            raise Failure(f"there is no pass {name!r}", did_you_mean(name, known) or listed, REFUSED)
    return None if no_passes else tuple(no_pass)


def _dbrps(given: Sequence[str]) -> list[tuple[str, str]] | None:
    pairs = []
    for text in given:
        database, dot, policy = text.partition(".")
        if not (database and dot and policy):
            raise Failure(f"--dbrp takes a database and a retention policy, not {text!r}", "--dbrp db.rp", REFUSED)
        pairs.append((database, policy))
    return pairs or None


def _compiled(script: str, o: dict[str, Any], udfs: dict[str, Udf]) -> Compiled:
    from tickc.compiler import compile_script

    text = _read_script(script)
    given = _read_vars(o["vars_file"])
    return compile_script(
        text,
        file=_script_file(script),
        task=o["task_name"] or given.id or _task_name(script),
        vars=given.vars,
        dbrps=_dbrps(o["dbrp"]) or given.dbrps,
        without=_without(o["no_pass"], o["no_passes"]),
        udfs=udfs,
    )


def _load(path: str, o: dict[str, Any]) -> Task:
    """The task of a script or of a generated module."""
    from tickc.task import ModuleError, Task

    udfs = _read_config(o["config"])
    if not path.endswith(".py"):
        compiled = _compiled(path, o, udfs)
        return Task.of(compiled.task, compiled.module, udfs, _read_settings(o["config"]))
    for name in _SHARED:
        if o[name] and name != "config":
            shown = "--" + name.removesuffix("_file").removesuffix("_name").replace("_", "-")
            raise Failure(f"{shown} has no effect on a compiled module", f"give the script, not {path}", REFUSED)
    try:
        return Task.load(path, udfs, _read_settings(o["config"]))
    except OSError as error:
        raise Failure(f"cannot read {path}: {_reason(error)}", code=REFUSED) from None
    except ModuleError as error:
        raise Failure(str(error), "compile the script: tickc compile TASK.tick -o TASK.py", REFUSED) from None


class _Clock:
    """Tells on stderr how long something took, with -v."""

    def __init__(self, context: click.Context) -> None:
        self.verbose = bool(context.find_object(bool))
        self.at = time.perf_counter()

    def tell(self, what: str) -> None:
        now = time.perf_counter()
        if self.verbose:
            say(f"{what} in {now - self.at:.3f} s")
        self.at = now


# --------------------------------------------------------------------------------------------------------- check


@cli.command(short_help="Tell what is wrong with scripts.")
@click.argument("scripts", metavar="TASK.tick…", nargs=-1, required=True)
@_vars
@option.config
@_template
@click.pass_context
def check(
    context: click.Context, scripts: Sequence[str], vars_file: str | None, config: str | None, template: bool
) -> None:
    """Tell what is wrong with scripts, each mistake with its line. Exit code 2 where a script has one.

    A script that Kapacitor takes although its task would not start, or a query in it would be refused, is told as a
    warning.

    \b
    Examples:
      tickc check cpu_alert.tick
      tickc check tasks/*.tick --vars vars.json
      tickc check --template templates/*.tick
    """
    from tickc.compiler import check_script, warnings
    from tickc.compiler.diagnostics import Source, TickError, render

    given, udfs = _read_vars(vars_file).vars, _read_config(config)
    clock = _Clock(context)
    bad = 0
    for script in scripts:
        try:
            source = Source(_read_script(script), _script_file(script))
            pipeline = check_script(source, given, udfs=udfs, template=template)
            clock.tell(f"{script} is valid: checked")
            for warning in () if template else warnings(pipeline):
                say(render(warning, source, "warning").rstrip("\n"), style="error")
        except TickError as error:
            show_script_errors(error)
            bad += 1
    if bad:
        raise click.exceptions.Exit(REFUSED)


# ----------------------------------------------------------------------------------------------------------- fmt


@cli.command(short_help="Bring scripts into the canonical form.")
@click.argument("files", metavar="[FILES|-]", nargs=-1)
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 where a file would change.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change.")
def fmt(files: Sequence[str], check: bool, diff: bool) -> None:
    """Bring scripts into the canonical form, in place.

    `-` reads stdin and writes stdout; a folder stands for all *.tick in it.

    \b
    Examples:
      tickc fmt cpu_alert.tick
      tickc fmt --check --diff tasks
      tickc fmt - < cpu_alert.tick
    """
    from tickc.compiler.diagnostics import Source, TickError
    from tickc.compiler.syntax import format

    changed = bad = 0
    for path in _script_files(files or ("-",)):
        old = _read_script(path)
        try:
            new = format(Source(old, _script_file(path)))
        except TickError as error:
            show_script_errors(error)
            bad += 1
            continue
        changed += new != old
        _formatted(path, old, new, check, diff)
    if bad or (check and changed):
        raise click.exceptions.Exit(REFUSED if bad else FAILED)


def _script_files(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if path != "-" and Path(path).is_dir():
            yield from map(str, sorted(Path(path).rglob("*.tick")))
        else:
            yield path


def _formatted(path: str, old: str, new: str, check: bool, diff: bool) -> None:
    if diff and new != old:
        import difflib

        lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), path, path)
        write_stdout("".join(x if x.endswith("\n") else f"{x}\n\\ No newline at end of file\n" for x in lines))
    if check and new != old:
        say(f"would format {path}")
    if check or diff:
        return
    if path == "-":
        write_stdout(new)
    elif new != old:
        _write_whole(path, new)
        say(f"formatted {path}")


def _write_whole(path: str, text: str) -> None:
    """Write a file whole or not at all; raises Failure where that is not possible."""
    from tickc.task import write_whole

    try:
        write_whole(Path(path), text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise Failure(f"cannot write {path}: {_reason(error)}") from None


# ------------------------------------------------------------------------------------------------------- compile


@cli.command(name="compile", short_help="Compile a script to a Python module.")
@_script
@click.option("-o", "--output", metavar="MODULE.py", default="-", help="Where the module goes. [default: stdout]")
@click.option("--warm", is_flag=True, help="Also compile the machine code of the kernels, which is then cached.")
@_template
@_compiling
@click.pass_context
def compile_command(
    context: click.Context, script: str, output: str, warm: bool, template: bool, **options: Any
) -> None:
    """Compile a script to a Python module, which can be read, imported and run.

    \b
    Examples:
      tickc compile cpu_alert.tick -o cpu_alert.py
      tickc compile cpu_alert.tick -o cpu_alert.py --vars vars.json --warm
      tickc compile --template mean_alert.tick --vars cpu_alert.yaml -o cpu_alert.py
      python cpu_alert.py --input cpu.parquet
    """
    clock = _Clock(context)
    udfs = _read_config(options["config"])
    if template:
        _check_template(script, options, udfs)
    compiled = _compiled(script, options, udfs)
    clock.tell("compiled")
    text = compiled.module.text
    if output == "-":
        write_stdout(text)
    else:
        _write_whole(output, text)
        operators = len(compiled.plan.ops)
        say(f"wrote {output}: {count(operators, 'operator')}, {count(text.count(chr(10)), 'line')}")
    if warm:
        from tickc.task import Task

        Task.of(compiled.task, compiled.module, udfs).warm()
        clock.tell("compiled machine code")


def _check_template(script: str, options: dict[str, Any], udfs: dict[str, Udf]) -> None:
    """Check a template as it is defined, and tell where the variables are said to be for another one."""
    from tickc.compiler import check_script
    from tickc.compiler.diagnostics import Source

    check_script(Source(_read_script(script), _script_file(script)), udfs=udfs, template=True)
    wanted = _read_vars(options["vars_file"]).template
    if wanted and wanted != _task_name(script):
        say(f"note: {options['vars_file']} is for the template {wanted}")


# ---------------------------------------------------------------------------------------------------------- warm


@cli.command(short_help="Compile machine code before it is needed.")
@click.argument("tasks", metavar="[TASK.tick|MODULE.py]…", nargs=-1)
@_vars
@option.config
@_passes
@click.option("--quiet", is_flag=True, help="Neither progress nor summary.")
@click.option("--json", "as_json", is_flag=True, help="What was compiled as JSON on stdout.")
def warm(tasks: Sequence[str], quiet: bool, as_json: bool, **options: Any) -> None:
    """Compile the machine code of all that tickc has, or of what some tasks need, and keep it in the cache folder
    ($TICKC_CACHE, else ~/.cache/tickc). Otherwise it is compiled when an input is large enough to win it back.

    \b
    Examples:
      tickc warm
      tickc warm tasks/*.tick
    """
    from tickc import warm as warming

    loaded = [_load(path, {**options, "task_name": None, "dbrp": ()}) for path in tasks]
    steps = list(warming.of_tasks(loaded) if loaded else warming.everything())
    with warming.watched(len(steps), quiet) as (begins, told):
        made, seconds = warming.run(steps, begins, told)
    if not quiet:
        warming.show(made, seconds)
    if as_json:
        import json

        write_stdout(json.dumps(warming.to_json(made, seconds), indent=2) + "\n")


# -------------------------------------------------------------------------------------------------------- replay


@cli.command(short_help="Replay a recording through tasks; results as JSON.")
@click.argument("tasks", metavar="TASK.tick|MODULE.py…", nargs=-1, required=True)
@click.option(
    "--recording",
    "recordings",
    multiple=True,
    metavar="PATH",
    help="A recording of Kapacitor: .srpl; for a batch task a .brpl for each query, that of the last query first, or "
    "the zip of a server.",
)
@click.option("--data", metavar="FILE", help="Instead of a recording: a file with data (line protocol, Parquet, …).")
@click.option("--db", metavar="DB", help="With --data: the database that the data stand for.")
@click.option("--rp", metavar="RP", help="With --data: the retention policy that the data stand for.")
@click.option("--start", type=option.Moment(), metavar="TIME", help="With --data: replay from this time (RFC 3339).")
@click.option("--stop", type=option.Moment(), metavar="TIME", help="With --data: replay up to this time (RFC 3339).")
@click.option("--results", metavar="OUT.json", default="-", help="Where the results go. [default: stdout]")
@option.clock("wall")
@option.flush
@option.reaching
@_compiling
@click.pass_context
def replay(
    context: click.Context, tasks: Sequence[str], recordings: Sequence[str], results: str, **options: Any
) -> None:
    """Replay a recording through a task as Kapacitor does, and write all results as one JSON document.

    With --data a batch task asks its queries of the data, between --start and --stop, as a batch replay asks InfluxDB.

    The document has the keys `sinks`, `alerts` and `writes`; `error` where the script does not compile; `runtime_error`
    where the task failed, with the results up to there. Of several tasks, which feed each other by kapacitorLoopback,
    it has such a document under the name of each.

    \b
    Examples:
      tickc replay cpu_alert.tick --recording cpu.srpl
      tickc replay rollup.tick alert.tick --recording cpu.srpl
      tickc replay cpu_alert.tick --recording cpu.srpl --results out.json --vars vars.json
      tickc replay mean_alert.tick --recording 0.brpl --recording 1.brpl
      tickc replay mean_alert.tick --data cpu.parquet --db telegraf --rp autogen \\
        --start 2024-01-01T00:00:00Z --stop 2024-01-02T00:00:00Z
    """
    import json

    from tickc.compiler.diagnostics import TickError
    from tickc.runtime.command import heed_hangup

    clock = _Clock(context)
    _check_input_options(recordings, options)
    if _several_tasks(tasks):
        _replay_all(tasks, recordings, results, options, clock.verbose)
        clock.tell("replayed")
        return
    try:
        loaded = _load(tasks[0], options)
    except TickError as error:
        _write_results(results, json.dumps({"error": _kapacitor_text(error)}))
        raise
    clock.tell("loaded the task")
    heed_hangup(loaded.lines)
    graph = loaded.build()
    given, left_out = _recorded(graph, recordings, options)
    _replay(loaded, graph, given, results, clock.verbose, {k: options[k] for k in _RUNNING})
    clock.tell("replayed")
    _tell_problems(left_out())


def _replay_all(
    paths: Sequence[str], recordings: Sequence[str], results: str, o: dict[str, Any], verbose: bool
) -> None:
    """Replay through several tasks."""
    from tickc.runtime.command import heed_hangup
    from tickc.together import Replay

    loaded = _load_all(paths, o)
    heed_hangup(line for task in loaded for line in task.lines)
    run = Replay(loaded, **{k: o[k] for k in _RUNNING})
    if recordings and run.batches:
        raise Failure(
            f"{run.batches[0]} is a batch task, which takes recordings of its own", "replay it alone", REFUSED
        )
    found: list[Callable[[], Problems]] = []

    def given(name: str, graph: Graph) -> Iterable[Any]:
        entering, left_out = _recorded(graph, recordings, o)
        found.append(left_out)
        return entering

    try:
        done = run.over(given)
    except KeyboardInterrupt:
        raise Failure("interrupted; no results were written", code=INTERRUPTED) from None
    import json

    documents = (f"{json.dumps(name)}:{one.text()}" for name, one in done.items())
    _write_results(results, "{" + ",".join(documents) + "}")
    for left_out in found[:1]:
        _tell_problems(left_out())
    for graph in run.graphs:
        _tell_handlers(graph, verbose)
        _tell_of_nodes(graph, verbose)
    failed = {name: one.failure for name, one in done.items() if one.failure is not None}
    if failed:
        raise Failure("\n".join(f"{name}: the task failed: {failure}" for name, failure in failed.items()))


def _check_input_options(recordings: Sequence[str], options: dict[str, Any]) -> None:
    if bool(recordings) == bool(options["data"]):
        raise click.UsageError("Give either --recording or --data.")
    if recordings and (extra := [f"--{k}" for k in ("db", "rp", "start", "stop") if options[k]]):
        raise click.UsageError(f"{', '.join(extra)}: only with --data.")
    option.check_range(options)


_RUNNING = ("handlers", "allow_exec", "clock", "flush")


def _recorded(
    graph: Graph, recordings: Sequence[str], o: dict[str, Any]
) -> tuple[Iterable[Any], Callable[[], Problems]]:
    """What is sent through the graph, and a function that tells what has been left out of its source."""
    from tickc.runtime import replay
    from tickc.runtime.sources.base import Problems
    from tickc.runtime.sources.inputs import open_inputs

    problems = Problems()
    if recordings:
        return replay.recorded(graph, recordings, problems), lambda: problems
    source = open_inputs(o["data"], check_order=False)
    home = (o["db"] or "", o["rp"] or "")
    given = replay.stored(graph, source, home, o["start"], o["stop"], problems)
    return given, lambda: Problems.of([source.problems, problems])


def _tell_problems(problems: Problems) -> None:
    """What the source left out, and where; of many only the first ten."""
    if not problems:
        return
    say(f"{count(problems.total, problems.unit)} left out of the input:")
    for problem in problems.first:
        say(f"  {visible(str(problem))}")
    if problems.total > len(problems.first):
        say(f"  … and {problems.total - len(problems.first):,} more")


def _replay(
    task: Task, graph: Graph, given: Iterable[Any], results: str, verbose: bool, running: dict[str, Any]
) -> None:
    """Run and write the results; where the task fails as Kapacitor's would, those until then with the reason."""
    from tickc.runtime.graph import TaskFailed
    from tickc.runtime.results import Results

    collected, graph.goes_on = Results(task.name), True
    try:
        for output in task.process(given, graph=graph, **running):
            collected.add(output)
    except TaskFailed as error:
        collected.failure = str(error)
        _write_results(results, collected.text())
        raise Failure(f"the task failed: {error}") from None
    except KeyboardInterrupt:
        raise Failure("interrupted; no results were written", code=INTERRUPTED) from None
    except Exception as error:
        task.locate(error)
        raise
    _write_results(results, collected.text())
    _tell_handlers(graph, verbose)
    _tell_of_nodes(graph, verbose)


def _tell_handlers(graph: Any, verbose: bool) -> None:
    """What became of the events for handlers."""
    handlers = graph.shared.get("handlers")
    for name, told in handlers.summary().items() if handlers is not None else ():
        if verbose:
            say(f"{name}: {count(told['delivered'], 'event')} delivered")
        for reason, n in told["failed"].items():
            say(f"{visible(name)}: {count(n, 'event')} not delivered: {visible(reason)}")


def _tell_of_nodes(graph: Any, verbose: bool) -> None:
    """What the user may not expect, and the points that each node dropped, and why."""
    from tickc.runtime.graph import operators

    for op in operators(graph):
        for note in op.notes():
            say(f"note: {visible(note)}")
        for reason, n in op.errors.items() if verbose else ():
            say(f"{op.name} dropped {count(n, 'point')}: {visible(reason)}")


def _kapacitor_text(error: Any) -> str:
    """All mistakes as Kapacitor words them, a line each."""
    return "\n".join(d.text(error.source) if error.source else d.message for d in error.diagnostics)


def _write_results(path: str, document: str) -> None:
    if path == "-":
        write_stdout(document + "\n")
    else:
        _write_whole(path, document + "\n")


# ------------------------------------------------------------------------------------------------------ backfill


@cli.command(short_help="Run tasks over history, in files or InfluxDB.")
@click.argument("tasks", metavar="TASK.tick|MODULE.py…", nargs=-1, required=True)
@option.history(click.option("--output", required=True, metavar="DIR", help="Folder for the results; new or empty."))
@_compiling
def backfill(
    tasks: Sequence[str], inputs: Sequence[str], output: str, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Run tasks over history: Parquet, Arrow IPC, CSV, line protocol (plain, .gz, .zst), recordings, InfluxDB.

    A column `time` is needed (a timestamp or int64 ns); string columns are tags, the others fields. Each sink of the
    script becomes a data set in DIR, which appears whole or not at all. Of several tasks, or those of a folder, each
    has a folder DIR/NAME, and the input is read once for all of them.

    \b
    Examples:
      tickc backfill cpu_alert.tick --input cpu.parquet --output out
      tickc backfill cpu_alert.tick --input 'cpu-*.lp.gz' --output out --start 2024-01-01T00:00:00Z
      tickc backfill cpu_alert.py --input data/ --output out --tags host,region --json
      tickc backfill cpu_alert.py --input data/ --output out --resume
      tickc backfill tasks/*.tick --input 'data/*.parquet' --output out
      tickc backfill cpu_alert.tick --source influxdb://localhost:8086/telegraf --output out
      tickc backfill rollup.tick --input cpu.lp --write-to influxdb://localhost:8086/rollups --output out
    """
    from tickc.backfill import seldom_collecting
    from tickc.runtime.command import conclude, heed_hangup, watched

    option.check_history({"inputs": inputs, **options})
    compiling = {name: options.pop(name) for name in _SHARED}
    several = _several_tasks(tasks)
    with seldom_collecting():
        loaded = _load_all(tasks, compiling) if several else [_load(tasks[0], compiling)]
    heed_hangup(line for task in loaded for line in task.lines)
    run = _backfill_all if several else _backfill_one
    summary = watched(lambda step: run(loaded, list(inputs), output, {**options, "on_step": step}), output, quiet)
    conclude(summary, output, quiet, as_json)


def _several_tasks(paths: Sequence[str]) -> bool:
    """Whether tasks run as a set, each with a folder of its own."""
    return len(paths) > 1 or Path(paths[0]).is_dir()


def _is_data(path: str) -> bool:
    """Whether a path that stands for a script has the ending of a file of data, as behind a shell's glob."""
    from tickc.runtime.sources.inputs import COMPRESSED, ENDINGS

    return path.endswith((*(ending for ending in ENDINGS if ending != ".txt"), *COMPRESSED))


def _load_all(paths: Sequence[str], o: dict[str, Any]) -> list[Task]:
    """The tasks of scripts, modules and folders of scripts; where a script does not compile, all mistakes are told."""
    from tickc.compiler.diagnostics import TickError

    if o["task_name"]:
        raise Failure("--task names one task, and there are several", code=REFUSED)
    loaded: dict[str, tuple[str, Task]] = {}
    bad, files = 0, list(_script_files(paths))
    if not files:
        raise Failure(f"there is no script in {paths[0]}", code=REFUSED)
    if (data := next(filter(_is_data, files), None)) is not None:
        hint = "repeat --input for each file, or give it a folder, or a glob in quotes: --input 'data/*.parquet'"
        raise Failure(f"{data} is data, not a script", hint, REFUSED)
    ahead = _loaded_ahead(files, o)
    for path in files:
        try:
            task = ahead.get(path) or _load(path, _of_one(path, o))
        except TickError as error:
            show_script_errors(error)
            bad += 1
            continue
        if task.name in loaded:
            both = f"{loaded[task.name][0]} and {path}"
            raise Failure(f"two tasks have the name {task.name}: {both}", "rename one of the files", REFUSED)
        loaded[task.name] = path, task
    if bad:
        raise Failure(f"{bad:,} of {count(len(files), 'script')} did not compile; nothing was run", code=REFUSED)
    return [task for _, task in loaded.values()]


def _of_one(path: str, o: dict[str, Any]) -> dict[str, Any]:
    """The options of several tasks as those of one."""
    return {**o, "task_name": None if path.endswith(".py") else _task_name(path)}


def _loaded_ahead(files: Sequence[str], o: dict[str, Any]) -> dict[str, Task]:
    """The tasks of scripts, compiled by several processes where that is worth it; without those that do not compile."""
    import signal
    from concurrent.futures import ProcessPoolExecutor

    from tickc.runtime.team import cores
    from tickc.task import Task

    scripts = [path for path in files if not path.endswith(".py")]
    processes = min(cores(), len(scripts) // SCRIPTS_APIECE)
    if processes < 2 or o["config"] is not None:  # which tells of programs to run
        return {}
    with ProcessPoolExecutor(processes, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        made = pool.map(_coded, scripts, [_of_one(path, o) for path in scripts], chunksize=SCRIPTS_APIECE)
        found = zip(scripts, made)
        return {path: Task.of(one.name, one.module, code=one.code) for path, one in found if one is not None}


@dataclass(frozen=True)
class _Coded:
    """What another process made of a script."""

    name: str
    module: Module
    code: bytes


def _coded(path: str, o: dict[str, Any]) -> _Coded | None:
    """A script compiled; None where it does not compile, which is told where that is tried again."""
    from tickc.compiler.diagnostics import TickError
    from tickc.task import coded

    try:
        compiled = _compiled(path, o, {})
    except (TickError, Failure):
        return None
    return _Coded(compiled.task, compiled.module, coded(compiled.module.text))


def _backfill_one(tasks: Sequence[Task], inputs: list[str], output: str, options: dict[str, Any]) -> Any:
    return tasks[0].backfill(inputs, output, **options)


def _backfill_all(tasks: Sequence[Task], inputs: list[str], output: str, options: dict[str, Any]) -> Any:
    import resource

    from tickc.backfill import backfill_all

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # tasks with large results have files open, each its own
    return backfill_all(tasks, inputs, output, **options)


# --------------------------------------------------------------------------------------------------------- bench


@cli.command(short_help="Measure how fast a task runs, and where its time goes.")
@click.argument("task", metavar="TASK.tick|MODULE.py")
@click.option("--input", "inputs", multiple=True, required=True, metavar="PATH", help="File, glob or folder.")
@click.option("--compare", metavar="TASK.tick|MODULE.py", help="Another version, run on the same inputs.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Runs; the fastest one counts.")
@click.option(
    "--workers",
    type=option.Counts(),
    default="1",
    show_default=True,
    metavar="N[,N…]",
    help="Threads that compute; several numbers, each in runs of its own, are told next to each other.",
)
@option.reading
@option.form
@option.clock("data")
@option.flush
@option.batch_rows
@click.option("--json", "as_json", is_flag=True, help="The measurement as JSON on stdout, instead of tables.")
@click.option("--html", metavar="FILE", help="Write a page of the measurement too.")
@_compiling
def bench(
    task: str,
    inputs: Sequence[str],
    compare: str | None,
    workers: Sequence[int],
    as_json: bool,
    html: str | None,
    **options: Any,
) -> int | None:
    """Run a task over files, and tell how fast it was: points/s, memory, the time in source, stages and sink, how busy
    each thread was, rows and bytes that went through. The results are written to a folder that is removed.

    \b
    Examples:
      tickc bench cpu_alert.tick --input cpu.parquet
      tickc bench cpu_alert.tick --input cpu.parquet --workers 1,2,4
      tickc bench new.tick --compare old.py --input 'cpu-*.parquet' --repeat 5
      tickc bench cpu_alert.tick --input cpu.lp.gz --html cpu_alert.html
    """
    from tickc import bench as benching

    option.check_range(options)
    if compare and len(workers) > 1:
        raise click.UsageError("--compare takes one number of --workers")
    compiling = {name: options.pop(name) for name in _SHARED}
    for_module = {"config": compiling["config"], **dict.fromkeys(set(_SHARED) - {"config"})}
    measured = []
    for path, n in product((task, compare) if compare else (task,), workers):
        own = for_module if compare and path.endswith(".py") else compiling
        one = benching.apart(partial(_measured, path, own, inputs, {**options, "workers": n}), report)
        if isinstance(one, int):
            return one
        measured.append(one)
    if html is not None:
        from tickc.flame import page

        _write_whole(html, page(measured))
    if as_json:
        import json

        write_stdout(json.dumps(benching.to_json(measured), indent=2) + "\n")
    else:
        benching.show(measured)
    return None


def _measured(path: str, compiling: dict[str, Any], inputs: Sequence[str], options: dict[str, Any]) -> Measured:
    from tickc import bench as benching
    from tickc.runtime.graph import TaskFailed

    try:
        return benching.measure(_load(path, compiling), list(inputs), **options)
    except TaskFailed as error:
        raise Failure(f"the task failed: {error}") from None
    except KeyboardInterrupt:
        raise Failure("", code=INTERRUPTED) from None


# ---------------------------------------------------------------------------------------------------------- show


@cli.command(short_help="Show the plan of a task, or draw its graph.")
@_script
@click.option("--passes", is_flag=True, help="The plan after each optimiser pass; of a picture, the plan that runs.")
@click.option(
    "--history", is_flag=True, help="What each node remembers of earlier points, and how far back they may lie."
)
@click.option("--dot", "form", flag_value="dot", help="The graph in Graphviz's language.")
@click.option("--svg", "form", flag_value="svg", help="The graph as a picture (SVG).")
@_compiling
def show(script: str, passes: bool, history: bool, form: str | None, **options: Any) -> None:
    """Show the plan that a script becomes, or draw its graph as written.

    \b
    Examples:
      tickc show cpu_alert.tick --passes
      tickc show cpu_alert.tick --history
      tickc show cpu_alert.tick --svg > cpu_alert.svg
    """
    if form:
        write_stdout(_drawn(script, passes, form, options))
        return
    compiled = _compiled(script, options, _read_config(options["config"]))
    if history:
        write_stdout(compiled.plans[0][1].show_history() + "\n")
    else:
        write_stdout("\n".join(_plans(compiled)) if passes else compiled.plan.show() + "\n")


def _drawn(script: str, passes: bool, form: str, options: dict[str, Any]) -> str:
    """The graph as written, or after the passes; the former also of a script that cannot be run yet."""
    from tickc import draw
    from tickc.compiler import check_script
    from tickc.compiler.diagnostics import Source

    title = options["task_name"] or _task_name(script)
    udfs = _read_config(options["config"])
    if passes:
        compiled = _compiled(script, options, udfs)
        vertices = draw.of_plan(compiled.plan, compiled.source)
    else:
        source = Source(_read_script(script), _script_file(script))
        vertices = draw.of_pipeline(check_script(source, _read_vars(options["vars_file"]).vars, udfs=udfs))
    return draw.dot(title, vertices) if form == "dot" else draw.svg(title, vertices)


def _plans(compiled: Compiled) -> Iterator[str]:
    """The plan after each pass; of a pass that changed nothing, only that."""
    before = None
    for name, plan in compiled.plans:
        text = plan.show()
        yield f"== {name}" + (": no change\n" if text == before else f"\n{text}\n")
        before = text
