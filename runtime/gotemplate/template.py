"""The face of the package: parse a template once, render it for many records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .escape import escape_trees
from .escapers import ESCAPERS
from .functions import BUILTINS, DETAILS_FUNCTIONS
from .interpret import interpret
from .parse import TemplateError, Tree, parse_trees
from .values import SHAPES, Struct, StructType

__all__ = ["Template", "TemplateError", "parse"]


class Template:
    """A parsed template; rendering does not change it."""

    def __init__(self, name: str, text: str, trees: dict[str, Tree], html: bool, shape: StructType) -> None:
        self.name = name
        self.text = text
        self.html = html
        self.shape = shape
        self._trees = trees
        self._functions = {**BUILTINS, **DETAILS_FUNCTIONS, **ESCAPERS} if html else BUILTINS
        self._escaped = not html
        self._refused: TemplateError | None = None

    def render(self, data: Mapping[str, Any]) -> str:
        """The text for one record; raises TemplateError with Go's text of the error."""
        if not self._escaped:
            self._escape()
        return interpret(self._trees, self.name, self._functions, Struct(self.shape, data))

    def _escape(self) -> None:
        """Fit the escapers in; like Go at the first rendering, and with the same error at each after that."""
        if self._refused is None:
            try:
                escape_trees(self._trees, self.name)
            except TemplateError as error:
                self._refused = error
        if self._refused is not None:
            raise self._refused
        self._escaped = True

    def render_rows(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """The texts for many records, in order."""
        return map(self.render, rows)


def parse(text: str, name: str, html: bool = False, data_shape: str | StructType = "message") -> Template:
    """Parse a template; raises TemplateError with the text Kapacitor reports when a task starts.

    `name` shows in errors ("id", "message", "details"). `html` asks for html/template, which escapes by context and
    knows `json` and `jsonCompact`. `data_shape` is the struct that the record stands for: "id", "message", "details"
    or a declared one.
    """
    shape = SHAPES[data_shape] if isinstance(data_shape, str) else data_shape
    functions = [*BUILTINS, *DETAILS_FUNCTIONS] if html else [*BUILTINS]
    trees = parse_trees(name, text, functions)
    return Template(name, text, trees, html, shape)
