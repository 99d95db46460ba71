"""What the command line and a generated module that runs as a program have in common: the run of a command, and what a
person at a terminal is told.

Results go to stdout, all else to stderr. Only click is imported at the top: what a command needs the command imports.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}  # of commands


class Failure(Exception):
    """Something that the user can mend: a sentence, what to do about it, and the exit code."""

    def __init__(self, message: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


def run(command: click.Command, arguments: Sequence[str] | None, name: str) -> int:
    """Run a command, which users call `name`; returns the exit code and never raises."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = command.main(arguments, prog_name=name, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", style="error")
        return INTERRUPTED
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else FAILED
    except BaseException as error:
        return report(error)


def _terminate(number: int, frame: Any) -> NoReturn:
    """A polite kill: leave through the `finally` blocks, so that no half output stays behind."""
    raise SystemExit(128 + number)


def report(error: BaseException) -> int:
    """Tell an error as a person wants to read it; returns the exit code."""
    if os.environ.get("TICKC_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    told = _as_failure(error)
    prefix = "" if told.code == INTERRUPTED or not told.message else "error: "
    say(prefix + told.message, told.hint, style="error")
    return told.code


def _as_failure(error: BaseException) -> Failure:
    kinds = {kind.__name__ for kind in type(error).__mro__}  # names, so that telling an error loads nothing
    if isinstance(error, Failure):
        return error
    if "TickError" in kinds:
        show_script_errors(error)
        return Failure("", code=REFUSED)
    if kinds & {"ConfigError", "SettingsError", "VariablesError", "LoopError", "Unsuitable"}:
        return Failure(getattr(error, "message", str(error)), getattr(error, "hint", ""), REFUSED)
    if kinds & {"SourceError", "OutputError", "UdfError"}:
        return Failure(getattr(error, "message", str(error)), getattr(error, "hint", ""))
    if isinstance(error, OSError):
        return Failure(_os_message(error))
    if isinstance(error, MemoryError):
        return Failure("out of memory", "read fewer rows at a time: --batch-rows 8192")
    return _internal(error)


def _os_message(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def _internal(error: BaseException) -> Failure:
    where = getattr(error, "__notes__", None)
    place = f" {where[0]}" if where else ""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(
        f"internal error{place}: {text}",
        "this is a mistake in tickc; please report it with the script and what TICKC_DEBUG=1 prints",
    )


def say(text: str, hint: str = "", style: str = "") -> None:
    """A message on stderr, coloured on a terminal; a terminal that went away is no error."""
    if hint:
        text = f"{text}\n  = hint: {hint}" if text else f"hint: {hint}"
    if not text:
        return
    with contextlib.suppress(OSError):
        click.echo(_coloured(text) if style else text, err=True, color=_colour())


def _colour() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


def _coloured(text: str) -> str:
    """Errors in red, carets in red, hints in cyan, the frame of a source line in blue."""
    return "\n".join(_coloured_line(line) for line in text.split("\n"))


def _coloured_line(line: str) -> str:
    head, colon, rest = line.partition(": ")
    if head.startswith(("error", "warning")) and colon:
        colour = "red" if head.startswith("error") else "yellow"
        return click.style(head, fg=colour, bold=True) + colon + click.style(rest, bold=True)
    gutter, bar, code = line.partition("│")
    if bar and not gutter.strip():
        return click.style(gutter + bar, fg="blue") + click.style(code, fg="red", bold=True)
    if bar and gutter.strip().isdigit():
        return click.style(gutter + bar, fg="blue") + code
    if line.lstrip().startswith("= hint"):
        return click.style(line, fg="cyan")
    return line


def show_script_errors(error: Any) -> None:
    """Every mistake of a script, and how many there are where that is not plain to see."""
    say(str(error).rstrip("\n"), style="error")
    if len(error.diagnostics) > 1:
        say(f"\n{len(error.diagnostics)} errors", style="error")


def write_stdout(text: str) -> None:
    """Write to stdout; what is no UTF-8 as it was read."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def count(n: int, noun: str) -> str:
    """A number with its noun."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def visible(text: str) -> str:
    """Text of a file without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
