"""Pictures of a task's graph: Graphviz's language, and SVG laid out here.

The layout is the layered one of Sugiyama: a node stands a layer below its lowest parent, an edge over several layers
gets a bend in each, layers are ordered by the mean place of their neighbours, and nodes are moved towards these as far
as their order allows. All text of a script is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tickc.compiler.diagnostics import Source
    from tickc.compiler.ir import Plan
    from tickc.compiler.pipeline import Pipeline

CHAR, LINE, PAD = 7.3, 16.0, 10.0  # px of a character (of the widest fonts), a line of text, the space around it
GAP_X, GAP_Y, MARGIN = 28.0, 44.0, 20.0
MAX_TEXT, MAX_LINES = 46, 7  # characters of a line in a box, lines of it
PORT = 18.0  # px between edges that end at one box
SWEEPS = 8
NAME_CLASS, BATCH_CLASS = ' class="n"', ' class="b"'


@dataclass(slots=True, eq=False)
class Box:
    """A node of the drawing, or a bend of a long edge (no lines)."""

    name: str
    lines: tuple[str, ...] = ()
    title: str = ""
    batch: bool = False
    layer: int = 0
    x: float = 0.0  # of the middle
    y: float = 0.0  # of the top
    row: float = 0.0  # height of the layer
    above: list[Box] = field(default_factory=list)
    below: list[Box] = field(default_factory=list)

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * CHAR + 2 * PAD if self.lines else 4.0

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + PAD if self.lines else 0.0


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node to draw: its name, what stands below the name, a tooltip, its parents, and whether it gives batches."""

    name: str
    text: str
    tooltip: str
    parents: tuple[str, ...]
    batch: bool = False


def of_pipeline(pipeline: Pipeline) -> list[Vertex]:
    """The graph as written."""
    return [
        Vertex(n.name, pipeline.source.snippet(n.extent), f"{n.wants.value} -> {n.gives.value}",
               tuple(p.name for p in n.parents), n.gives.value == "batch")
        for n in sorted(pipeline.nodes, key=lambda n: n.id)
    ]  # fmt: skip


def of_plan(plan: Plan, source: Source) -> list[Vertex]:
    """The graph as it runs."""
    return [
        Vertex(op.name, source.snippet(op.span) if op.span else "", op.describe(), tuple(i.name for i in op.inputs))
        for op in plan
    ]


def dot(title: str, vertices: Sequence[Vertex]) -> str:
    """The graph in Graphviz's language."""
    lines = [f"digraph {_quoted(title)} {{", "    node [shape=box, fontname=monospace];"]
    batch = {v.name for v in vertices if v.batch}
    for v in vertices:
        label = "\\n".join(_quoted(text)[1:-1] for text in _lines(v))
        lines.append(f'    {_quoted(v.name)} [label="{label}", tooltip={_quoted(v.tooltip)}];')
    for v in vertices:
        for parent in v.parents:
            lines.append(f"    {_quoted(parent)} -> {_quoted(v.name)}{' [style=bold]' if parent in batch else ''};")
    return "\n".join([*lines, "}", ""])


def svg(title: str, vertices: Sequence[Vertex]) -> str:
    """The graph as an SVG picture that needs nothing else; edges of batches are drawn bold."""
    boxes = {v.name: Box(v.name, _lines(v), v.tooltip, batch=v.batch) for v in vertices}
    edges = [(boxes[parent], boxes[v.name]) for v in vertices for parent in v.parents]
    paths = layout(list(boxes.values()), edges)
    return _svg(title, list(boxes.values()), paths)


def _lines(v: Vertex) -> tuple[str, ...]:
    """What stands in a box: the name, then the part of the script, with as many properties in a line as fit."""
    words = " ".join(v.text.split())
    if not words or words == v.name:
        return (v.name,)
    lines = [""]
    for part in re.split(r"(?<=\))\s*(?=[.|@])", words):
        if lines[-1] and len(lines[-1]) + len(part) > MAX_TEXT:
            lines.append("")
        lines[-1] += part
    if len(lines) >= MAX_LINES:
        lines = [*lines[: MAX_LINES - 2], "…"]
    return (v.name, *(line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…" for line in lines))


def _quoted(text: str) -> str:
    """A string of Graphviz; control characters, which no reader shows, become spaces."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


# ---------------------------------------------------------------------------------------------------- the layout


def layout(boxes: list[Box], edges: Sequence[tuple[Box, Box]]) -> list[list[Box]]:
    """Place the boxes (parents come before children); returns each edge as the boxes and bends that it goes through."""
    parents: dict[int, list[Box]] = {}
    for a, b in edges:
        parents.setdefault(id(b), []).append(a)
    for box in boxes:
        box.layer = max((p.layer + 1 for p in parents.get(id(box), ())), default=0)
    layers: list[list[Box]] = [[] for _ in range(max((b.layer for b in boxes), default=-1) + 1)]
    for box in boxes:
        layers[box.layer].append(box)
    paths = [_bends(a, b, layers) for a, b in edges]
    _order(layers)
    _place(layers)
    return paths


def _bends(a: Box, b: Box, layers: list[list[Box]]) -> list[Box]:
    path = [a]
    for layer in range(a.layer + 1, b.layer):
        bend = Box("", layer=layer)
        layers[layer].append(bend)
        path.append(bend)
    path.append(b)
    for upper, lower in pairwise(path):
        upper.below.append(lower)
        lower.above.append(upper)
    return path


def _order(layers: list[list[Box]]) -> None:
    """Order each layer by the mean position of the neighbours above, then below, some times."""
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            position = {id(b): i for row in layers for i, b in enumerate(row)}
            mean = {id(b): _mean([position[id(n)] for n in (b.above if sweep % 2 == 0 else b.below)], position[id(b)])
                    for b in layer}  # fmt: skip
            layer.sort(key=lambda b: mean[id(b)])


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _place(layers: list[list[Box]]) -> None:
    y = MARGIN
    for layer in layers:
        x = 0.0
        for box in layer:
            box.x, box.y = x + box.width / 2, y
            x += box.width + GAP_X
        row = max(b.height for b in layer)
        for box in layer:
            box.row = row
        y += row + GAP_Y
    for sweep in range(2 * SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _align(layer, [_mean([n.x for n in (b.above if sweep % 2 == 0 else b.below)], b.x) for b in layer])
    left = min((b.x - b.width / 2 for row in layers for b in row), default=0.0)
    for layer in layers:
        for box in layer:
            box.x += MARGIN - left


def _align(layer: list[Box], wanted: Sequence[float]) -> None:
    """Move the boxes of a layer as near to the wanted places as their order and widths allow (least squares)."""
    runs: list[list[float]] = []  # [sum of (wanted - offset), boxes, width before the run's first box]
    offset = 0.0
    offsets = []
    for i, box in enumerate(layer):
        offset += (layer[i - 1].width + box.width) / 2 + GAP_X if i else 0.0
        offsets.append(offset)
        runs.append([wanted[i] - offset, 1.0])
        while len(runs) > 1 and runs[-2][0] / runs[-2][1] >= runs[-1][0] / runs[-1][1]:
            total, count = runs.pop()
            runs[-1][0] += total
            runs[-1][1] += count
    at = 0
    for total, count in runs:
        for _ in range(int(count)):
            layer[at].x = total / count + offsets[at]
            at += 1


# ------------------------------------------------------------------------------------------------------- the SVG

_STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#1b1f24}.n{font-weight:bold}"
    "rect{fill:#f6f8fa;stroke:#57606a;rx:5}path{fill:none;stroke:#57606a;stroke-width:1.3}.b{stroke-width:2.6}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#161b22;stroke:#8b949e}path{stroke:#8b949e}}"
)


def _svg(title: str, boxes: Sequence[Box], paths: Sequence[Sequence[Box]]) -> str:
    width = max((b.x + b.width / 2 for b in (*boxes, *(p for path in paths for p in path))), default=0.0) + MARGIN
    height = max((b.y + b.height for b in boxes), default=0.0) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_xml(title)}</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#57606a;stroke:none"/></marker>'
        "</defs>",
        *(
            f'<path{BATCH_CLASS if path[0].batch else ""} d="{_curve(path, port)}" marker-end="url(#arrow)"/>'
            for path, port in zip(paths, _ports(paths))
        ),
        *(_box(box) for box in boxes),
    ]
    return "\n".join([*parts, "</svg>", ""])


def _ports(paths: Sequence[Sequence[Box]]) -> list[float]:
    """Where each edge ends: those that end at one box do so side by side, in the order in which they come."""
    ending: dict[int, list[int]] = {}
    for i, path in enumerate(paths):
        ending.setdefault(id(path[-1]), []).append(i)
    ports = [0.0] * len(paths)
    for edges in ending.values():
        edges.sort(key=lambda i: paths[i][-2].x)
        box = paths[edges[0]][-1]
        step = min(PORT, box.width / (len(edges) + 1))
        for k, i in enumerate(edges):
            ports[i] = box.x + (k - (len(edges) - 1) / 2) * step
    return ports


def _curve(path: Sequence[Box], port: float) -> str:
    """From the foot of the first box to a place at the head of the last; sideways between the layers only."""
    x = path[0].x
    text = f"M{x:.1f} {path[0].y + path[0].height:.1f}"
    for above, box in pairwise(path):
        to, y = port if box is path[-1] else box.x, above.y + above.row
        middle = (y + box.y) / 2
        text += f"V{y:.1f}C{x:.1f} {middle:.1f} {to:.1f} {middle:.1f} {to:.1f} {box.y:.1f}"
        x = to
    return text


def _box(box: Box) -> str:
    left = box.x - box.width / 2
    texts = [
        f'<text x="{left + PAD:.1f}" y="{box.y + PAD / 2 + LINE * (i + 0.75):.1f}"'
        f"{NAME_CLASS if i == 0 else ''}>{_xml(line)}</text>"
        for i, line in enumerate(box.lines)
    ]
    return (
        f'<g><title>{_xml(box.title)}</title><rect x="{left:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}"/>{"".join(texts)}</g>'
    )


def _xml(text: str) -> str:
    """Text of an XML document; characters that XML cannot hold become U+FFFD."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
