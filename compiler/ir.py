"""The logical plan: operators as the passes see them.

An `Op` names a class of tickc.runtime and holds its configuration: each dataclass field of a subclass is the keyword of
the same name in the constructor of the runtime class `Op.operator`. What a pass needs to know of an operator it asks
the operator (`needs`, `stateful`, `rowwise`), so a new one is optimised without editing passes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from tickc.compiler.diagnostics import Span
from tickc.compiler.lexer import format_duration
from tickc.runtime.expr import Expr


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns that something reads: names of tags and of fields; None stands for all of them.

    A reference in a lambda may be either, so it is in both sets.
    """

    tags: frozenset[str] | None = frozenset()
    fields: frozenset[str] | None = frozenset()

    def __or__(self, other: Wanted) -> Wanted:
        return Wanted(_union(self.tags, other.tags), _union(self.fields, other.fields))

    @staticmethod
    def names(*names: str) -> Wanted:
        """Names that may be tags or fields."""
        return Wanted(frozenset(names), frozenset(names))

    @staticmethod
    def of(*exprs: Expr | None) -> Wanted:
        """What lambdas read."""
        return Wanted.names(*(n for e in exprs if e is not None for n in e.references() if n != "time"))

    def without_fields(self, *names: str) -> Wanted:
        return Wanted(self.tags, None if self.fields is None else self.fields - set(names))

    def without_tags(self, *names: str) -> Wanted:
        return Wanted(None if self.tags is None else self.tags - set(names), self.fields)


ALL = Wanted(None, None)
NOTHING = Wanted()


def _shown(value: Any) -> str:
    """A setting in a plan: steps by what they are."""
    if isinstance(value, tuple) and value and all(isinstance(v, Op) for v in value):
        return "[" + ", ".join(v.describe() for v in value) + "]"
    return repr(value)


def _union(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    return None if a is None or b is None else a | b


@dataclass(frozen=True, slots=True)
class Memory:
    """What an operator remembers of earlier points.

    what: in words. reach: ns, points: what lies farther back than both in a group decides about nothing, as long as the
    group has points meanwhile; None: there is no such time, a point may decide about all that come after it.
    """

    what: str
    reach: int | None = None
    points: int = 0

    @staticmethod
    def of(*exprs: Expr | None) -> Memory | None:
        """What lambdas remember."""
        if any(e is not None and e.stateful() for e in exprs):
            return Memory("what count(), sigma() and spread() were given")
        if any(e is not None and e.calls({"rand"}) for e in exprs):
            return Memory("which random numbers it had")
        return None

    @staticmethod
    def joined(memories: Iterable[Memory | None]) -> Memory | None:
        """What steps one behind the other remember."""
        some = [m for m in memories if m is not None]
        reach = None if any(m.reach is None for m in some) else sum(m.reach or 0 for m in some)
        return Memory("; ".join(m.what for m in some), reach, sum(m.points for m in some)) if some else None


def setting(default: Any = None) -> Any:
    """A configuration field with a default that is left out of generated code when it has it."""
    return field(default=default)


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operator of the plan. name: Kapacitor's node name (`window2`), joined with `_` when operators were fused."""

    operator: ClassVar[str]  # the class in tickc.runtime
    effects: ClassVar[bool] = False  # whether the outside sees what comes in (sinks, alerts, logs)
    timed: ClassVar[bool] = False  # whether it follows the clock, which every point of the task moves
    marks: ClassVar[bool] = False  # whether it sends barriers

    name: str
    inputs: tuple[Op, ...] = ()
    span: Span | None = None

    @property
    def remembers(self) -> Memory | None:
        """What of earlier points decides about what comes out; None: nothing."""
        return None

    @property
    def reach(self) -> int:
        """ns by which results may lie before or behind the points that they are made of, beside what it remembers."""
        return 0

    @property
    def stateful(self) -> bool:
        """Whether what comes out depends on earlier points."""
        return self.remembers is not None

    @property
    def random(self) -> bool:
        """Whether it draws random numbers, so that two of equal settings do not give the same."""
        values = [getattr(self, f.name) for f in fields(self)]
        exprs = [e for v in values for e in (v if isinstance(v, tuple) else (v,)) if isinstance(e, Expr)]
        return any(e.calls({"rand"}) for e in exprs)

    @property
    def rowwise(self) -> bool:
        """Whether each row is treated by itself and keeps its place, or is dropped."""
        return False

    @property
    def sets_tags(self) -> tuple[str, ...]:
        """Tags that it gives points of a batch and not, or not always with that value, the batch."""
        return ()

    @property
    def keeps_rows(self) -> bool:
        """Whether rows are held back between batches."""
        return False

    def needs(self, wanted: Wanted) -> Wanted:
        """The input columns that are read where `wanted` of the output is; all, where an operator does not say."""
        return ALL

    def needs_of(self, wanted: Wanted, parent: int) -> Wanted:
        """`needs` of one of several inputs, by position."""
        return self.needs(wanted)

    def keeps(self, names: Collection[str]) -> bool:
        """Whether references to `names` mean the same before and after the operator, in each row that it keeps."""
        return False

    def settings(self) -> dict[str, Any]:
        """The constructor's keywords, without those that have their default; `name` first."""
        out: dict[str, Any] = {"name": self.name}
        for f in fields(self):
            if f.name in ("name", "inputs", "span"):
                continue
            value = getattr(self, f.name)
            if not (value is f.default or (not isinstance(value, Expr) and repr(value) == repr(f.default))):
                out[f.name] = value
        return out

    def with_inputs(self, *inputs: Op) -> Op:
        """The same operator on other inputs; itself where they are the same."""
        if len(inputs) == len(self.inputs) and all(a is b for a, b in zip(inputs, self.inputs)):
            return self
        return replace(self, inputs=inputs)

    def describe(self) -> str:
        """One line for plans: class and settings."""
        shown = ", ".join(f"{k}={_shown(v)}" for k, v in self.shown_settings().items() if k != "name")
        return f"{self.name}: {self.operator}({shown})"

    def shown_settings(self) -> dict[str, Any]:
        """The settings that plans show."""
        return self.settings()


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceOp(Op):
    """Where the points of a stream task enter. tags, fields: the columns that are read, None for all."""

    operator: ClassVar[str] = "Source"

    measurements: tuple[str, ...] = setting(("",))
    dbrps: tuple[tuple[str, str], ...] | None = setting(None)
    tags: tuple[str, ...] | None = setting(None)
    fields: tuple[str, ...] | None = setting(None)
    where: tuple[tuple[str, str, Any], ...] = setting(())

    def settings(self) -> dict[str, Any]:
        given = super().settings()
        return {k: v for k, v in given.items() if k not in ("tags", "fields", "where")}

    def shown_settings(self) -> dict[str, Any]:
        reads = {k: v for k, v in self.reads().items() if v is not None and v != ()}
        return {**self.settings(), **reads}

    def reads(self) -> dict[str, Any]:
        """What a file source has to deliver: it may leave out rows that fail a (column, op, value) of `where`."""
        return {"measurements": self.measurements, "tags": self.tags, "fields": self.fields, "where": self.where}


@dataclass(frozen=True, kw_only=True, eq=False)
class UnfedOp(Op):
    """Lets nothing through: stands where Kapacitor's trickle leaves out a child."""

    operator: ClassVar[str] = "Unfed"

    def needs(self, wanted: Wanted) -> Wanted:
        return NOTHING


@dataclass(frozen=True, slots=True)
class Plan:
    """All operators, parents before children, in the order in which they run."""

    ops: tuple[Op, ...]

    def marked(self, op: Op) -> bool:
        """Whether barriers may reach an operator."""
        reached: set[int] = set()
        for o in self.ops:
            if any(i.marks or id(i) in reached for i in o.inputs):
                reached.add(id(o))
        return id(op) in reached

    def children(self, op: Op) -> list[Op]:
        """The operators that read `op`."""
        return [o for o in self.ops if any(i is op for i in o.inputs)]

    def rewrite(self, change: Callable[[Op], Op | None]) -> Plan:
        """Apply `change` to each operator, inputs first; None removes the operator and gives its input to its readers.

        Returns the same plan where nothing changes. Untouched parts keep their identity.
        """
        new: dict[int, Op] = {}
        kept: list[Op] = []
        for op in self.ops:
            current = op.with_inputs(*(new[id(i)] for i in op.inputs))
            changed = change(current)
            new[id(op)] = current.inputs[0] if changed is None else changed
            if changed is not None:
                kept.append(changed)
        if len(kept) == len(self.ops) and all(a is b for a, b in zip(kept, self.ops)):
            return self
        return Plan(tuple(kept))

    def verify(self) -> None:
        """Raise AssertionError where the plan is malformed: inputs come before, names are distinct."""
        seen: set[int] = set()
        names: set[str] = set()
        for op in self.ops:
            assert all(id(i) in seen for i in op.inputs), f"{op.name} comes before one of its inputs"
            assert op.name not in names, f"two operators are named {op.name}"
            seen.add(id(op))
            names.add(op.name)

    def show(self) -> str:
        """The plan as text, an operator a line, with the names of its inputs."""
        return "\n".join(
            f"{op.describe()}" + (f"  <- {', '.join(i.name for i in op.inputs)}" if op.inputs else "")
            for op in self.ops
        )

    def history(self) -> tuple[int, int] | None:
        """How far back points may lie that decide about what comes out at a time: ns, and points of each group besides;
        None where there is no bound."""
        found: dict[int, tuple[int, int]] = {}
        for op in self.ops:
            memory = op.remembers or Memory("", 0)
            if memory.reach is None:
                return None
            reach, points = (max((found[id(i)][k] for i in op.inputs), default=0) for k in (0, 1))
            found[id(op)] = reach + memory.reach + op.reach, points + memory.points
        return max((r for r, _ in found.values()), default=0), max((n for _, n in found.values()), default=0)

    def show_history(self) -> str:
        """What operators remember, as text: a line for each that does, and how far back the plan reaches in all."""
        rows = [("operator", "remembers", "that far back")]
        for op in self.ops:
            memory = op.remembers
            if memory is not None:
                bound = None if memory.reach is None else (memory.reach + op.reach, memory.points)
                rows.append((op.name, memory.what, _span(bound)))
            elif op.reach:
                rows.append((op.name, "nothing, but moves times", _span((op.reach, 0))))
        if len(rows) == 1:
            return "no operator remembers anything: a range of time gives what it gives within a longer one"
        widths = [max(len(row[k]) for row in rows) for k in (0, 1)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows]
        unbounded = [op.name for op in self.ops if op.remembers is not None and op.remembers.reach is None]
        if unbounded:
            end = f"in all: no bound, for {', '.join(unbounded)}; results of a range of time may hang on all before it"
        else:
            end = f"in all: {_span(self.history())}, where each group has points all the time"
        return "\n".join([*lines, end])

    def __iter__(self) -> Iterator[Op]:
        return iter(self.ops)


def _span(bound: tuple[int, int] | None) -> str:
    """A bound for people: time, and points of each group."""
    if bound is None:
        return "no bound"
    reach, points = bound
    told = [format_duration(reach)] if reach else []
    told += [f"{points:,} point{'s' if points != 1 else ''} of each group"] if points else []
    return " and ".join(told) or "0s"
