"""The reference pages are what the declarations say, and leave nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tickc import docs
from tickc.compiler.pipeline import NODES

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CHANGELOG.md", "examples/README.md", "tests/golden/README.md")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", docs.pages())
def test_pages_are_current(page: str, update: bool) -> None:
    """To refresh them: `python -m tickc.docs`."""
    path = ROOT / "docs" / page
    if update:
        path.write_text(docs.pages()[page], encoding="utf-8")
    assert path.read_text(encoding="utf-8") == docs.pages()[page]


def test_nothing_is_left_out() -> None:
    assert docs.undocumented() == []


def test_every_property_is_listed() -> None:
    page = docs.nodes_page()
    for part in ("`.fillPeriod()`", "`.stateChangesOnly(interval…)`", "`|window()` · takes stream, gives batch"):
        assert part in page
    assert "### swarmAutoscale" not in page and "| `\\|swarmAutoscale(" in page


def test_the_readme_names_what_is_refused() -> None:
    row = next(
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "| stream tasks: " in line
    )
    runs, refused = (set(re.findall(r"`(\w+)`", cell)) for cell in row.strip("|").split("|"))
    later = {tick for tick, cls in NODES.items() if cls.later}
    assert refused and refused <= later
    assert runs and not runs & later


@pytest.mark.parametrize("page", [*PAGES, *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = [t for t in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in t]
    missing = [t for t in targets if not (path.parent / t).exists()]
    assert missing == []
