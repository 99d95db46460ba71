"""The page of `tickc bench --html`: where the time of a run goes, in boxes as wide as it is long, and by line.

The page stands alone: no script, no font, no picture from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from tickc.bench import (
    OTHERS,
    STAGE_HEADS,
    between,
    by_workers,
    compared,
    doing,
    headline,
    heads,
    labels,
    parts,
    percent,
    share,
    size,
    span,
    times,
    unit,
)

if TYPE_CHECKING:
    from tickc.bench import Measured
    from tickc.meter import Stage, Thread

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #23262b; --soft: #6d727a; --line: #dedbd3; --card: #ffffff;
  --source: #7fa6d6; --sink: #86b89a; --compute: #e2b46c; --between: #d9d4c9; --heat: 219, 120, 40; }
@media (prefers-color-scheme: dark) { :root { --paper: #191b1f; --ink: #e6e4df; --soft: #9a9fa8; --line: #363a41;
  --card: #22252a; --source: #426a9c; --sink: #437a59; --compute: #97702c; --between: #3c4048; --heat: 240, 150, 60; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 32px 28px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 32px 0 10px; }
p { margin: 4px 0; color: var(--soft); }
code, pre, .box, .mono { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, monospace; font-size: 12.5px; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 6px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px;
  min-width: 140px; }
.card b { display: block; font-size: 20px; } .card span { color: var(--soft); font-size: 13px; }
.flame { position: relative; margin: 8px 0 4px; }
.row { position: relative; height: 30px; margin-bottom: 2px; }
.box { position: absolute; top: 0; bottom: 0; overflow: hidden; white-space: nowrap; text-overflow: ellipsis;
  padding-top: 6px; text-indent: 7px; border-radius: 3px; border-right: 1px solid var(--paper); cursor: default; }
.box:hover { outline: 2px solid var(--ink); z-index: 1; }
.whole { background: var(--line); } .source { background: var(--source); } .sink { background: var(--sink); }
.compute { background: var(--compute); } .between { background: var(--between); color: var(--soft); }
.thread { margin: 10px 0 2px; color: var(--soft); font-size: 13px; }
.wrap { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
th, td { padding: 5px 10px; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; border-top: 0; }
th:first-child, td:first-child, .words td:last-child, .words th:last-child { text-align: left; }
td .track { display: inline-block; width: 120px; text-align: left; }
td .bar { display: inline-block; height: 8px; background: rgb(var(--heat)); border-radius: 2px;
  vertical-align: middle; }
pre { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 0;
  overflow-x: auto; }
pre div { display: flex; padding-right: 14px; } pre .time { flex: 0 0 88px; text-align: right; color: var(--soft); }
pre .text { padding-left: 14px; white-space: pre; }
.better { color: #2e7d4f; } .worse { color: #b3423a; }
"""


def page(measured: Sequence[Measured]) -> str:
    """The HTML page of one measurement, or of several next to each other."""
    names = " and ".join(dict.fromkeys(escape(m.task) for m in measured))
    longest = max(m.seconds for m in measured) or 1.0
    notes = dict.fromkeys(note for m in measured for note in m.notes)
    body = [f"<h1>{names}</h1>", *(f"<p>{escape(headline(m))}</p>" for m in measured)]
    body += [f"<p>note: {escape(note)}</p>" for note in notes]
    several = len(measured) > 1
    if not several:
        body += _cards(measured[0])
    took = unit(measured)
    for label, m in zip(labels(measured), measured):
        title = f"Where the time goes: {escape(m.task)}, {label}" if several else "Where the time goes"
        body += [f"<h2>{title}</h2>", *_flame(m, longest, took)]
    body += [GUIDE]
    if several:
        body += ["<h2>Next to each other</h2>", *_comparison(measured)]
    scripts = measured[:1] if by_workers(measured) else measured
    for label, m in zip(labels(measured), measured):
        body += [f"<h2>Stages{f' of {escape(m.task)}, {label}' if several else ''}</h2>", *_stages(m, took)]
        body += [f"<h2>Threads{f' of {escape(m.task)}, {label}' if several else ''}</h2>", *_threads(m, took)]
        if m in scripts:
            body += ["<h2>By line of the script</h2>", *_script(m, took)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{names} · tickc bench</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


GUIDE = (
    "<p>The whole run, below it what the run waited for: rows from the source, the computing, results being written. "
    "Then each thread, in boxes as wide as the processor time that its work took; for what is "
    "left the thread was idle, or waited. Point at a box for its numbers.</p>"
)


def _cards(m: Measured) -> Iterator[str]:
    took = unit([m])
    yield '<div class="cards">'
    for value, label in (
        (f"{m.points_per_second:,.0f}", "points/s"),
        (took(m.seconds), f"for {m.points:,} points"),
        (size(m.bytes_in), "read"),
        (size(m.bytes_out), f"written, {m.rows_out:,} rows"),
        (size(m.peak_bytes), "of memory at most"),
        (took(m.cpu), "of processor time"),
    ):
        yield f'<div class="card"><b>{value}</b><span>{label}</span></div>'
    yield "</div>"


# ----------------------------------------------------------------------------------------------------------- boxes


def _flame(m: Measured, longest: float, took: Callable[[float], str]) -> Iterator[str]:
    """Rows of boxes: the whole, its parts, and the work of each thread."""
    yield '<div class="flame">'
    yield _row([_box("whole", m.task, 0.0, m.seconds, longest, f"{took(m.seconds)} in all")])
    row, left = [], 0.0
    for name, told in parts(m):
        seconds = getattr(m, name)
        row.append(_box(name, name, left, seconds, longest, f"{name}: {took(seconds)} ({share(seconds, m)}); {told}"))
        left += seconds
    yield _row(row)
    for thread in m.threads:
        if thread.name != OTHERS:
            yield f'<div class="thread">thread {escape(thread.name)}, busy {percent(m.busy(thread))}</div>'
            yield _row(list(_work(thread, m, longest, took)))
    yield "</div>"


def _work(thread: Thread, m: Measured, longest: float, took: Callable[[float], str]) -> Iterator[str]:
    """A box for each kind of work that a thread did, those of stages the hotter the longer the stage took."""
    stages = {stage.name: stage for stage in m.stages}
    hottest = max((stage.cpu for stage in m.stages), default=0.0) or 1.0
    order = ("source", *stages, "sink")
    left = 0.0
    for name in sorted(thread.work, key=order.index):
        cpu = thread.work[name]
        if name in stages:
            heat = f"background: rgba(var(--heat), {0.25 + 0.65 * stages[name].cpu / hottest:.2f})"
            yield _box("stage", name, left, cpu, longest, f"{took(cpu)} of {_told(stages[name], m, took)}", heat)
        else:
            yield _box(name, name, left, cpu, longest, f"{name}: {took(cpu)} of processor time")
        left += cpu
    rest = thread.cpu - sum(thread.work.values())
    if rest > 0:
        told = f"between the stages: {took(rest)} of processor time ({share(rest, m)})"
        yield _box("between", "between", left, rest, longest, told)


def _told(stage: Stage, m: Measured, took: Callable[[float], str]) -> str:
    lines = f", lines {span(stage)}" if stage.lines else ""
    steps = f"\nfused: {', '.join(stage.steps)}" if stage.steps else ""
    return (
        f"{stage.name} ({stage.kind}{lines}): {took(stage.seconds)} ({share(stage.seconds, m)}), "
        f"{took(stage.cpu)} of processor time\n"
        f"{stage.rows_in:,} rows in, {stage.rows_out:,} out; "
        f"{size(stage.bytes_in)} in, {size(stage.bytes_out)} out{steps}"
    )


def _row(boxes: Sequence[str]) -> str:
    return f'<div class="row">{"".join(boxes)}</div>'


def _box(kind: str, label: str, left: float, seconds: float, longest: float, title: str, style: str = "") -> str:
    place = f"left: {100 * left / longest:.3f}%; width: {100 * seconds / longest:.3f}%; {style}"
    shown = escape(label) if seconds / longest > 0.015 else ""
    return f'<div class="box {kind}" style="{place}" title="{escape(title)}">{shown}</div>'


# ---------------------------------------------------------------------------------------------------------- tables


def _stages(m: Measured, took: Callable[[float], str]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [
        (_code(s.name), span(s), took(s.seconds), share(s.seconds, m), took(s.cpu), f"{s.rows_in:,}",
         f"{s.rows_out:,}", size(s.bytes_in), size(s.bytes_out), f"{s.calls:,}", _bar(s.cpu / (m.cpu or 1.0)))
        for s in m.stages
    ]  # fmt: skip
    rest = between(m)
    rows.append(("between them", "", "", "", took(rest), *[""] * 5, _bar(rest / (m.cpu or 1.0))))
    yield from _table((*STAGE_HEADS, "calls", "of all processor time"), rows)


def _threads(m: Measured, took: Callable[[float], str]) -> Iterator[str]:
    rows = [
        (_code(t.name), took(t.cpu), percent(m.busy(t)), _bar(min(m.busy(t), 1.0)), escape(doing(t, m)))
        for t in m.threads
    ]
    yield from _table(("thread", "processor", "busy", "", "most of it in"), rows, "words")


def _bar(share: float) -> str:
    return f'<span class="track"><span class="bar" style="width: {120 * share:.0f}px"></span></span>'


def _comparison(measured: Sequence[Measured]) -> Iterator[str]:
    for first, lines in compared(measured).items():
        rows = []
        for line in lines:
            begin, others = line.cells()
            cells = (cell for text, ratio in others for cell in (text, _ratio(ratio)))
            rows.append((line.name if first == "part" else _code(line.name), begin, *cells))
        yield from _table(heads(measured, first), rows)
        yield "<p></p>"


def _code(name: str) -> str:
    return f"<code>{escape(name)}</code>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "numbers") -> Iterator[str]:
    """A table; of the kind `words` where the last column is one of words."""
    yield f'<div class="wrap"><table class="{kind}"><tr>' + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table></div>"


def _script(m: Measured, took: Callable[[float], str]) -> Iterator[str]:
    """The script; behind each line the heat of the stage that it belongs to, before its first line the time."""
    heat: dict[int, float] = {}
    begins: dict[int, list[Stage]] = {}
    for stage in m.stages:
        if stage.lines is not None:
            begins.setdefault(stage.lines[0], []).append(stage)
            for line in range(stage.lines[0], stage.lines[1] + 1):
                heat[line] = max(heat.get(line, 0.0), stage.cpu)
    hottest = max(heat.values(), default=0.0) or 1.0
    lines = []
    for number, text in enumerate(m.script.split("\n"), 1):
        time = sum(stage.cpu for stage in begins.get(number, ()))
        told = "\n".join(_told(stage, m, took) for stage in begins.get(number, ()))
        shade = f"background: rgba(var(--heat), {0.45 * heat.get(number, 0.0) / hottest:.2f})"
        shown = took(time) if begins.get(number) else ""
        lines.append(
            f'<div style="{shade}" title="{escape(told)}"><span class="time">{shown}</span>'
            f'<span class="text">{escape(text)}</span></div>'
        )
    yield f"<pre>{''.join(lines)}</pre>"


def _ratio(ratio: float | None) -> str:
    kind = "" if ratio is None else "better" if ratio > 1.05 else "worse" if ratio < 0.95 else ""
    return f'<span class="{kind}">{times(ratio)}</span>'
