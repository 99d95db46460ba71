"""The face of the package: parse a template once, render it for many records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .compile import Compiled, compile_template
from .escape import escape_trees
from .escapers import ESCAPERS
from .functions import BUILTINS, DETAILS_FUNCTIONS
from .interpret import interpret
from .lex import TemplateError
from .parse import Tree, parse_trees
from .values import SHAPES, Struct, StructType

__all__ = ["Template", "TemplateError", "parse"]


class Template:
    """A parsed template; rendering does not change what it renders.

    A record is a mapping with all fields of the shape: strings, `Tags` (str to str), `Fields` (str to float, int, str,
    bool, Duration or None), `Time` and `Duration` (int nanoseconds or GoTime and Duration), `ServerInfo` (a mapping).
    """

    def __init__(self, name: str, text: str, trees: dict[str, Tree], html: bool, shape: StructType) -> None:
        self.name = name
        self.text = text
        self.html = html
        self.shape = shape
        self._trees = trees
        self._functions = {**BUILTINS, **DETAILS_FUNCTIONS, **ESCAPERS} if html else BUILTINS
        self._compiled: Compiled | None = None
        self._prepared = False
        self._refused: TemplateError | None = None

    def render(self, data: Mapping[str, Any]) -> str:
        """The text for one record; raises TemplateError with Go's text of the error."""
        compiled = self._compiled if self._prepared else self._prepare()
        if compiled is not None:
            try:
                return compiled.row(data)
            except Exception:  # whatever it is, the interpreter makes the text or the error of it
                pass
        return self._interpret(data)

    def render_rows(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """The texts for many records, in order."""
        return map(self.render, rows)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """What `render_columns` needs: names of fields, `Tags.key`, `Fields.key`; None if it cannot be used."""
        compiled = self._compiled if self._prepared else self._prepare()
        return compiled.columns if compiled is not None and compiled.rows is not None else None

    def render_columns(self, columns: Mapping[str, Sequence[Any]], n: int) -> list[str]:
        """The texts of n rows, from the columns that `columns` names; None in a column is a value that is missing."""
        names = self.columns
        if names is None or self._compiled is None or self._compiled.rows is None:
            raise ValueError("this template needs whole records")
        table = zip(*(columns[name] for name in names)) if names else iter([()] * n)
        return self._compiled.rows(table, self._interpret_row)

    def _prepare(self) -> Compiled | None:
        """Escape (like Go at the first rendering, with the same error at each after it) and compile."""
        if self._refused is not None:
            raise self._refused
        if self.html:
            try:
                escape_trees(self._trees, self.name)
            except TemplateError as error:
                self._refused = error
                raise
        root = self._trees[self.name].root
        if root is not None:
            self._compiled = compile_template(root, self._functions, self.shape)
        self._prepared = True
        return self._compiled

    def _interpret(self, data: Mapping[str, Any]) -> str:
        return interpret(self._trees, self.name, self._functions, Struct(self.shape, data))

    def _interpret_row(self, row: tuple[Any, ...]) -> str:
        """The interpreter's text of one row of columns."""
        record: dict[str, Any] = {"Tags": {}, "Fields": {}}
        for column, value in zip(self.columns or (), row):
            table, dot, key = column.partition(".")
            if not dot:
                record[table] = value
            elif value is not None:
                record[table] = {**record[table], key: value}
        return self._interpret(record)


def parse(text: str, name: str, html: bool = False, data_shape: str | StructType = "message") -> Template:
    """Parse a template; raises TemplateError with the text Kapacitor reports when a task starts.

    `name` shows in errors ("id", "message", "details"). `html` asks for html/template, which escapes by context and
    knows `json` and `jsonCompact`. `data_shape` is the struct that the record stands for: "id", "message", "details",
    "event" (templates of handlers) or a declared one.
    """
    shape = SHAPES[data_shape] if isinstance(data_shape, str) else data_shape
    functions = [*BUILTINS, *DETAILS_FUNCTIONS] if html else [*BUILTINS]
    trees = parse_trees(name, text, functions)
    return Template(name, text, trees, html, shape)
