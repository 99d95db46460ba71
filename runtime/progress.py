"""What a person sees of a long run: a progress bar on a terminal, and a summary at the end. All of it on stderr."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tickc.runtime.console import visible

if TYPE_CHECKING:
    from tickc.runtime.backfill import OnStep, Summary
    from tickc.runtime.many import Together

MAX_ROWS = 40  # of the summary's tables
COUNTS = ("emissions", "rows", "events", "points", "times", "seconds", "results", "dropped")  # columns of numbers


@contextmanager
def bar(quiet: bool) -> Iterator[OnStep | None]:
    """A progress bar with points, points/s and the time that is left; None where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading", total=None)

        def step(source: Any, summary: Summary) -> None:
            text = f"{summary.points_read:,} points, {summary.points_per_second:,.0f}/s"
            progress.update(task, description=text, total=source.size or None, completed=source.position)

        yield step


def show(summary: Summary | Together, output: str | None) -> None:
    """Print what a run of one task or of a set did, and where its results are, if in files."""
    from rich.console import Console
    from rich.text import Text

    from tickc.runtime.backfill import Summary

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"{summary.points_read:,} points read in {summary.seconds:.2f} s ({summary.points_per_second:,.0f} points/s)"
    )
    notes = _one(console, summary) if isinstance(summary, Summary) else _many(console, summary)
    table(console, ("left out of the input", "times"), [(reason, f"{n:,}") for reason, n in summary.left_out.items()])
    for text in (*(f"  {p}" for p in summary.first_left_out), *(f"note: {n}" for n in notes)):
        console.print(Text(visible(text)))
    if output is not None:
        console.print(Text(f"wrote {visible(output)}"))


def _one(console: Any, summary: Summary) -> Sequence[str]:
    """Print tables of one task; its notes."""
    sinks = [(s.kind, s.name, f"{s.emissions:,}", f"{s.rows:,}", s.file or "") for s in summary.sinks]
    shown = 5 if any(s.file for s in summary.sinks) else 4  # columns: none of files where there are none
    table(console, ("sink", "name", "emissions", "rows", "file")[:shown], [sink[:shown] for sink in sinks])
    table(console, ("alerts", "events"), [(level, f"{n:,}") for level, n in summary.alerts.items()])
    dropped = [(op, reason, f"{n:,}") for op, reasons in summary.dropped.items() for reason, n in reasons.items()]
    table(console, ("dropped in", "because", "points"), dropped)
    return summary.notes


def _many(console: Any, together: Together) -> Sequence[str]:
    """Print a line for each task of a set, and one for all; the notes of the tasks, those that are alike once."""
    counts = {name: _counts(summary) for name, summary in together.tasks.items()}
    lines = [(name, *(f"{n:,}" for n in numbers)) for name, numbers in counts.items()]
    heads = ("points", "results", "events", "dropped")
    table(console, ("task", *heads), lines)
    if len(lines) > 1:
        total = (f"{head} {sum(column):,}" for head, column in zip(heads, zip(*counts.values())))
        console.print(f"{len(lines):,} tasks: {', '.join(total)}")
    by_note: dict[str, list[str]] = {}
    for name, summary in together.tasks.items():
        for note in summary.notes:
            by_note.setdefault(note, []).append(name)
    return [f"{_named(names)}: {note}" for note, names in by_note.items()]


def _counts(summary: Summary) -> tuple[int, int, int, int]:
    """Points that entered a task, rows in its sinks, events, and points that it dropped."""
    dropped = sum(n for reasons in summary.dropped.values() for n in reasons.values())
    return summary.points_entered, sum(s.rows for s in summary.sinks), sum(summary.alerts.values()), dropped


def _named(tasks: Sequence[str]) -> str:
    return ", ".join(tasks[:3]) + (f" and {len(tasks) - 3:,} more tasks" if len(tasks) > 3 else "")


def table(
    console: Any, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: Collection[str] = COUNTS
) -> None:
    """Print rows under their heads, on the right in the columns `numbers`; nothing where there are none."""
    if not rows:
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for head in heads:
        number = head in numbers  # words may go on in another line, numbers are whole
        shown.add_column(head, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows[:MAX_ROWS]:
        shown.add_row(*(Text(visible(cell)) for cell in row))
    console.print(shown, crop=False)
    if len(rows) > MAX_ROWS:
        console.print(f"… and {len(rows) - MAX_ROWS:,} more")
