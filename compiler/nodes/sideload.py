"""`sideload`: fields and tags from files or services beside the data."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic, go_quote
from tickc.compiler.pipeline import Node, go_type, node, prop, setter, state

T204, T304 = CODES["T204"], CODES["T304"]


@node("sideload")
class Sideload(Node):
    """Look up fields and tags in documents that the tags of a point lead to."""

    source: str = prop("where the documents are: file:///dir, http://…, or an endpoint of the configuration")
    order_list: tuple[str, ...] = state(())
    fields: dict[str, Any] = state(make=dict)
    tags: dict[str, str] = state(make=dict)

    @setter
    def order(self, *templates: str) -> None:
        """The documents to look in, one after the other, as templates over the tags of the point."""
        self.order_list = templates

    @setter
    def field(self, name: str, default: Any) -> None:
        """A field to look up, and its value where no document has it."""
        self.fields[name] = default

    @setter
    def tag(self, name: str, default: str) -> None:
        """A tag to look up, and its value where no document has it."""
        self.tags[name] = default

    def check(self) -> Iterator[Diagnostic]:
        for name, value in self.fields.items():
            if type(value) not in (float, int, bool, str):
                message = f"unsupported type {go_type(value)} for field {go_quote(name)}"
                yield self.refuse(T204, message, "give a float, int, string or bool")

    def start(self) -> Iterator[Diagnostic]:
        from tickc.runtime.gotemplate import TemplateError
        from tickc.runtime.settings import TextTemplate

        for text in self.order_list:
            try:
                TextTemplate(text, "order")
            except TemplateError as error:
                yield self.refuse(T304, str(error))

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return SideloadOp(
            source=self.source,
            order=self.order_list,
            fields=dict(self.fields) or None,
            tags=dict(self.tags) or None,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SideloadOp(ir.Op):
    """Set fields and tags to what documents say for the tags of the row."""

    operator: ClassVar[str] = "Sideload"

    source: str
    order: tuple[str, ...] = ir.setting(())
    fields: dict[str, float | int | str | bool] | None = None
    tags: dict[str, str] | None = None

    @property
    def sets_tags(self) -> tuple[str, ...]:
        return tuple(self.tags or ())

    def keeps(self, names: Collection[str]) -> bool:
        return not {*names} & {*(self.fields or ()), *(self.tags or ())}

    def needs(self, wanted: ir.Wanted) -> ir.Wanted:
        from tickc.runtime.nodes.sideload import tags_read

        read = tags_read(self.order)
        if read is None:  # where a template fails the point's own fields stay
            return ir.Wanted(None, wanted.fields)
        return wanted.without_fields(*(self.fields or ())) | ir.Wanted(frozenset(read))
