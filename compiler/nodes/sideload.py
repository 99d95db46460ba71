"""`sideload`: fields and tags from files or services beside the data."""

from __future__ import annotations

from typing import Any

from tickc.compiler.pipeline import Node, node, prop, setter, state


@node("sideload", later="it reads files and services beside the data")
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
