"""tickc: compiles TICKscript, the dataflow language of InfluxData Kapacitor, to Python modules.

>>> import tickc
>>> task = tickc.compile(open("cpu_alert.tick").read())
>>> task.replay("cpu.srpl").to_json()
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from os import PathLike

    from tickc.backfill import backfill_all
    from tickc.runtime.udf import Udf
    from tickc.runtime.udf.python import udf
    from tickc.task import Task
    from tickc.together import replay_together

__all__ = ["Task", "backfill_all", "compile", "replay_together", "udf"]


def compile(
    script: str,
    vars: Mapping[str, Any] | None = None,
    *,
    name: str = "task",
    file: str | None = None,
    dbrps: Sequence[tuple[str, str]] | None = None,
    without: Collection[str] | None = (),
    udfs: Mapping[str, Udf] | None = None,
    config: str | PathLike[str] | None = None,
) -> Task:
    """Compile a TICKscript.

    vars: values of template variables in Kapacitor's JSON form, {"name": {"type": "int", "value": 3}}. name: the task's
    id (`.TaskName` in templates). file: the script's name in messages. dbrps: (database, retention policy) pairs that a
    stream task reads where the script has no `dbrp` (None: any). without: optimiser passes to leave out (None: all).
    udfs: user-defined functions by the name under which the script calls them, made with `tickc.udf`; config: a file
    that declares some too, whose programs may then be run (docs/udf.md), and endpoints (docs/config.md).
    Raises tickc.compiler.diagnostics.TickError, which tells every mistake with its place.
    """
    from tickc.compiler import compile_script
    from tickc.task import Task

    known, settings = dict(udfs or {}), None
    if config is not None:
        from tickc.runtime.settings import load
        from tickc.runtime.udf.config import read

        settings = load(config)
        known = {**read(config), **known}
    compiled = compile_script(
        script, file=file or f"{name}.tick", task=name, vars=vars, dbrps=dbrps, without=without, udfs=known
    )
    return Task.of(compiled.task, compiled.module, known, settings)


def __getattr__(name: str) -> Any:
    if name == "Task":
        from tickc.task import Task

        return Task
    if name == "udf":
        from tickc.runtime.udf.python import udf

        return udf
    if name == "backfill_all":
        from tickc.backfill import backfill_all

        return backfill_all
    if name == "replay_together":
        from tickc.together import replay_together

        return replay_together
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
