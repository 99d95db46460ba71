"""`@name()`: user-defined functions, whose options are known from their declarations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Span
from tickc.compiler.pipeline import (
    Duration,
    Edge,
    Node,
    Property,
    Refused,
    Subject,
    declare,
    go_type,
    state,
)
from tickc.runtime.expr import Literal
from tickc.runtime.kinds import Kind
from tickc.runtime.udf import Info
from tickc.runtime.udf import Option as Given

T204, T205 = CODES["T204"], CODES["T205"]

_PROTOCOL = {bool: "BOOL", int: "INT", float: "DOUBLE", str: "STRING", Duration: "DURATION"}
_WRITTEN = {"bool": "TRUE", "int": "10", "double": "10.0", "string": "'text'", "duration": "10s"}


def _typed(udf: UDF, name: str, types: tuple[str, ...], args: tuple[Any, ...]) -> None:
    """Take an option's values, which have to be of the declared types (Kapacitor pipeline/udf.go)."""
    hint = f"write .{name}({', '.join(_WRITTEN[t] for t in types)})"
    if len(args) != len(types):
        message = f"unexpected number of args to {name}, got {len(args)} expected {len(types)}"
        raise Refused(message, T205, panics=False, hint=hint)
    for value, wanted in zip(args, types):
        got = _PROTOCOL.get(type(value), go_type(value))
        if got != wanted.upper():
            message = f"unexpected arg to {name}, got {got} expected {wanted.upper()}"
            raise Refused(message, T204, panics=False, hint=hint)
    udf.given += ((name, args),)


@dataclass(frozen=True, slots=True)
class Option(Property):
    """An option of a user-defined function."""

    types: tuple[str, ...] = ()

    def set(self, owner: Subject, called_on: Subject, args: tuple[Any, ...]) -> Subject:
        assert isinstance(owner, UDF)
        _typed(owner, self.name, self.types, args)
        return called_on


def _unread(owner: Subject) -> None:
    """An option cannot be read."""


@declare("UDFNode")
class UDF(Node):
    """A user-defined function."""

    tick: ClassVar[str] = "udf"
    parents_of: ClassVar[tuple[str, ...]] = ()

    function: str = state("")
    info: Info = state(make=lambda: Info("stream", "stream"))
    given: tuple[Given, ...] = state(())

    @property
    def name(self) -> str:
        return self.fixed_name or f"{self.function}{self.id}"

    @classmethod
    def called(cls, parent: Node, function: str, info: Info, span: Span) -> UDF:
        """The node that `parent@function()` stands for; Kapacitor does not look at the arguments."""
        made = cls(function=function, info=info, span=span, extent=span)  # type: ignore[call-arg]
        made.wants, made.gives = Edge(info.wants), Edge(info.provides)
        parent.link(made)
        return made

    def find(self, name: str) -> tuple[Subject, Property] | None:
        """An option, by its very name; else a property that all nodes have."""
        types = self.info.options.get(name)
        if types is None:
            return super().find(name)
        return self, Option(name, "", (), method=_unread, types=types)

    def property_names(self) -> list[str]:
        return [*self.info.options, *super().property_names()]

    def lower(self, *inputs: ir.Op) -> ir.Op:
        options = tuple((name, tuple(_plain(v) for v in values)) for name, values in self.given)
        return UDFOp(udf=self.function, provides=self.info.provides, options=options, **self.op_base(*inputs))


def _plain(value: Any) -> Any:
    return Literal(Kind.DURATION, int(value)) if isinstance(value, Duration) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class UDFOp(ir.Op):
    """Whatever a user-defined function makes of its input; the outside sees all of it."""

    operator: ClassVar[str] = "UDF"
    remembers: ClassVar[ir.Memory] = ir.Memory("whatever the function does")
    effects: ClassVar[bool] = True

    udf: str
    provides: str = ir.setting("stream")
    options: tuple[Given, ...] = ir.setting(())

    @property
    def gives(self) -> Edge:
        """The edge that the declaration names."""
        return Edge(self.provides)
