"""Where things stand in a script, and how a mistake is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, stop) of the script's UTF-8 text."""

    start: int
    stop: int
