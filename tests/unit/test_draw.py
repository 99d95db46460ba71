"""The SVG picture of a graph: text within its box, edges past other boxes."""

from __future__ import annotations

import random
import re
import xml.dom.minidom

import pytest

from tickc.draw import CHAR, PAD, Vertex, svg

Rect = tuple[float, float, float, float]


def parts(picture: str) -> tuple[list[Rect], list[list[float]], list[tuple[float, float, str]]]:
    """Rectangles (left, top, right, bottom), the numbers of each edge's path, and texts with their places."""
    tree = xml.dom.minidom.parseString(picture.encode())

    def number(node: xml.dom.minidom.Element, name: str) -> float:
        return float(node.getAttribute(name))

    rects = [
        (number(r, "x"), number(r, "y"), number(r, "x") + number(r, "width"), number(r, "y") + number(r, "height"))
        for r in tree.getElementsByTagName("rect")
    ]
    edges = [p.getAttribute("d") for p in tree.getElementsByTagName("path") if p.getAttribute("marker-end")]
    texts = [(number(t, "x"), number(t, "y"), t.firstChild.data) for t in tree.getElementsByTagName("text")]
    return rects, [[float(n) for n in re.findall(r"-?[\d.]+", edge)] for edge in edges], texts


def along(numbers: list[float]) -> list[tuple[float, float]]:
    """Points of an edge: M x y, then (V y, C with three points) for each layer."""
    x, y = numbers[:2]
    points = [(x, y)]
    for i in range(2, len(numbers), 7):
        y, (x1, y1, x2, y2, x3, y3) = numbers[i], numbers[i + 1 : i + 7]
        for k in range(41):
            t = k / 40
            a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
            points.append((a * x + b * x1 + c * x2 + d * x3, a * y + b * y1 + c * y2 + d * y3))
        x, y = x3, y3
    return points


@pytest.mark.parametrize("seed", range(20))
def test_edges_go_past_boxes_and_text_stays_within(seed: int) -> None:
    chance = random.Random(seed)
    vertices: list[Vertex] = []
    for i in range(chance.randrange(2, 16)):
        parents = tuple(v.name for v in chance.sample(vertices, min(len(vertices), chance.randrange(1, 4))))
        text = "|f()" + "".join(f".property{chance.randrange(99)}('x' + 'y')" for _ in range(chance.randrange(9)))
        vertices.append(Vertex(f"node{i}", text, "", parents, chance.random() < 0.5))
    rects, edges, texts = parts(svg("t", vertices))
    assert len(rects) == len(vertices) and len(edges) == sum(len(v.parents) for v in vertices)
    for edge in edges:
        for x, y in along(edge):
            assert not any(left < x < right and top + 0.1 < y < bottom - 0.1 for left, top, right, bottom in rects)
    for x, y, text in texts:
        assert any(left < x and x + len(text) * CHAR <= right - PAD + 0.1 and top < y < bottom
                   for left, top, right, bottom in rects)  # fmt: skip
    for i, (left, top, right, bottom) in enumerate(rects):
        assert not any(a < right and left < c and b < bottom and top < d for a, b, c, d in rects[:i])


def test_a_box_shows_a_property_a_line_where_they_are_long() -> None:
    text = (
        "|alert()\n    .id('{{ .Name }}')\n    .crit(lambda: \"usage\" > 90.0)\n    .stateChangesOnly()\n    .log('x')"
    )
    _, _, texts = parts(svg("t", [Vertex("alert2", text, "", ())]))
    assert [t for _, _, t in texts] == [
        "alert2",
        "|alert().id('{{ .Name }}')",
        '.crit(lambda: "usage" > 90.0)',
        ".stateChangesOnly().log('x')",
    ]


def test_edges_that_end_at_one_box_end_side_by_side() -> None:
    a, b = Vertex("a", "", "", ()), Vertex("b", "", "", ())
    _, edges, _ = parts(svg("t", [a, b, Vertex("join", "|join(b).as('x', 'y')", "", ("a", "b"))]))
    assert len({edge[-2] for edge in edges}) == 2
