"""The page of `tickc bench --html`: where the time of a run goes, in boxes as wide as it is long, and by line.

The page stands alone: no script, no font, no picture from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from tickc.bench import headline, parts, ratios, size, span

if TYPE_CHECKING:
    from tickc.bench import Measured, Stage

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
.wrap { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
th, td { padding: 5px 10px; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; border-top: 0; }
th:first-child, td:first-child { text-align: left; }
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
    """The HTML page of one task, or of two next to each other."""
    first = measured[0]
    names = " and ".join(dict.fromkeys(escape(m.task) for m in measured))
    longest = max(m.seconds for m in measured) or 1.0
    body = [f"<h1>{names}</h1>", *(f"<p>{escape(headline(m))}</p>" for m in measured)]
    if len(measured) == 1:
        body += _cards(first)
    for number, m in enumerate(measured):
        title = "Where the time goes" if len(measured) == 1 else f"{('First', 'Second')[number]}: {escape(m.task)}"
        body += [f"<h2>{title}</h2>", *_flame(m, longest)]
    if len(measured) == 2:
        body += ["<h2>Next to each other</h2>", *_comparison(*measured)]
    for m in measured:
        body += [f"<h2>Stages{'' if len(measured) == 1 else f' of {escape(m.task)}'}</h2>", *_stages(m)]
        body += ["<h2>By line of the script</h2>", *_script(m)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{names} · tickc bench</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _cards(m: Measured) -> Iterator[str]:
    yield '<div class="cards">'
    for value, label in (
        (f"{m.points_per_second:,.0f}", "points/s"),
        (_seconds(m.seconds), f"for {m.points:,} points"),
        (size(m.bytes_in), "read"),
        (size(m.bytes_out), f"written, {m.rows_out:,} rows"),
        (size(m.peak_bytes), "of memory at most"),
        (_seconds(m.cpu), "of processor time"),
    ):
        yield f'<div class="card"><b>{value}</b><span>{label}</span></div>'
    yield "</div>"


# ----------------------------------------------------------------------------------------------------------- boxes


def _flame(m: Measured, longest: float) -> Iterator[str]:
    """Three rows of boxes: the whole, its parts, and the stages of the computing."""
    yield '<div class="flame">'
    yield _row([_box("whole", m.task, 0.0, m.seconds, longest, f"{_seconds(m.seconds)} in all")])
    row, left = [], 0.0
    inner: list[str] = []
    for name, seconds, told in parts(m):
        row.append(
            _box(name, name, left, seconds, longest, f"{name}: {_seconds(seconds)} ({_share(seconds, m)}); {told}")
        )
        if name == "compute":
            inner = list(_stage_boxes(m, left, seconds, longest))
        left += seconds
    yield _row(row)
    yield _row(inner)
    yield "</div>"


def _stage_boxes(m: Measured, left: float, available: float, longest: float) -> Iterator[str]:
    hottest = max((stage.seconds for stage in m.stages), default=0.0) or 1.0
    for stage in m.stages:
        heat = f"background: rgba(var(--heat), {0.25 + 0.65 * stage.seconds / hottest:.2f})"
        yield _box("stage", stage.name, left, stage.seconds, longest, _told(stage, m), heat)
        left += stage.seconds
    rest = available - sum(stage.seconds for stage in m.stages)
    if rest > 0:
        yield _box(
            "between", "between", left, rest, longest, f"between the operators: {_seconds(rest)} ({_share(rest, m)})"
        )


def _told(stage: Stage, m: Measured) -> str:
    lines = f", lines {span(stage)}" if stage.lines else ""
    steps = f"\nfused: {', '.join(stage.steps)}" if stage.steps else ""
    return (
        f"{stage.name} ({stage.kind}{lines}): {_seconds(stage.seconds)} ({_share(stage.seconds, m)})\n"
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


def _stages(m: Measured) -> Iterator[str]:
    heads = ("stage", "lines", "seconds", "share", "", "rows in", "rows out", "bytes in", "bytes out", "calls")
    rows = [
        (f"<code>{escape(s.name)}</code>", span(s), _seconds(s.seconds), _share(s.seconds, m), _bar(s.seconds, m),
         f"{s.rows_in:,}", f"{s.rows_out:,}", size(s.bytes_in), size(s.bytes_out), f"{s.calls:,}")
        for s in m.stages
    ]  # fmt: skip
    yield from _table(heads, rows)


def _bar(seconds: float, m: Measured) -> str:
    width = 120 * seconds / m.seconds if m.seconds else 0
    return f'<span class="track"><span class="bar" style="width: {width:.0f}px"></span></span>'


def _comparison(first: Measured, second: Measured) -> Iterator[str]:
    found = ratios(first, second)
    rows: list[tuple[str, ...]] = [
        ("whole", _seconds(first.seconds), _seconds(second.seconds), _times(found["seconds"]))
    ]
    rows += [
        (name, _seconds(a), _seconds(b), _times(found[name]))
        for (name, a, _), (_, b, _) in zip(parts(first), parts(second))
    ]
    rows.append(("memory", size(first.peak_bytes), size(second.peak_bytes), _times(found["peak_bytes"])))
    at = [{stage.name: stage.seconds for stage in m.stages} for m in (first, second)]
    for name in dict.fromkeys((*at[0], *at[1])):
        both = (_seconds(a[name]) if name in a else "" for a in at)
        rows.append((f"<code>{escape(name)}</code>", *both, _times(found["stages"].get(name))))
    yield from _table(("", "first", "second", "first / second"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield '<div class="wrap"><table><tr>' + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table></div>"


def _script(m: Measured) -> Iterator[str]:
    """The script; behind each line the heat of the stage that it belongs to, before its first line the seconds."""
    heat: dict[int, float] = {}
    begins: dict[int, list[Stage]] = {}
    for stage in m.stages:
        if stage.lines is not None:
            begins.setdefault(stage.lines[0], []).append(stage)
            for line in range(stage.lines[0], stage.lines[1] + 1):
                heat[line] = max(heat.get(line, 0.0), stage.seconds)
    hottest = max(heat.values(), default=0.0) or 1.0
    lines = []
    for number, text in enumerate(m.script.split("\n"), 1):
        time = sum(stage.seconds for stage in begins.get(number, ()))
        told = "\n".join(_told(stage, m) for stage in begins.get(number, ()))
        shade = f"background: rgba(var(--heat), {0.45 * heat.get(number, 0.0) / hottest:.2f})"
        shown = _seconds(time) if begins.get(number) else ""
        lines.append(
            f'<div style="{shade}" title="{escape(told)}"><span class="time">{shown}</span>'
            f'<span class="text">{escape(text)}</span></div>'
        )
    yield f"<pre>{''.join(lines)}</pre>"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"


def _share(seconds: float, m: Measured) -> str:
    return f"{100 * seconds / m.seconds:.0f} %" if m.seconds else ""


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    kind = "better" if ratio > 1.05 else "worse" if ratio < 0.95 else ""
    return f'<span class="{kind}">{ratio:.2f}</span>'
