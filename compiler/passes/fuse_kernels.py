"""Run a chain of operators on numbers as one compiled loop.

    derivative('v').as('rate') | stateDuration(lambda: "rate" > 1.0) | where(lambda: "state_duration" > 60.0)
    ->   one loop: for each point the three steps in turn, values in registers, nothing copied between them

The loop is emitted for float fields. It is right where it is used: the operator runs it on batches in which every field
that the chain reads is a float in every row and no tag has its name; then no step can fail but for what the loop
counts. On other batches the steps run one after the other, on the same state. Only chains with a step that follows its
group from point to point are worth it, and only lambdas of float arithmetic, comparisons and logic without state.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tickc.compiler.diagnostics import Span
from tickc.compiler.ir import Memory, Op, Plan, Wanted, setting
from tickc.compiler.nodes.rows import EvalOp, WhereOp
from tickc.compiler.nodes.sequence import DerivativeOp, StateCountOp, StateDurationOp
from tickc.compiler.passes.fuse_windows import joined
from tickc.runtime.expr import Binary, Expr, Literal, Ref, Unary
from tickc.runtime.kinds import Kind

FLOAT, INT, BOOL = Kind.FLOAT, Kind.INT, Kind.BOOL
_STEPS = (WhereOp, EvalOp, DerivativeOp, StateCountOp, StateDurationOp)
_SEQUENTIAL = (DerivativeOp, StateCountOp, StateDurationOp)
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_DEPTH = 30  # levels of a lambda that are written into a loop
_RESERVED = {"i", "g", "kept", "time", "group", "row", "faults", "previous", "elapsed", "rise", "np", "kernel", "range"}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a loop: the operator's name and lines of Python in the loop's body, one step in."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoopText:
    """What the emitter needs to write a loop: parameters are (name, what it holds), writes (array, value)."""

    reads: tuple[tuple[str, str], ...]  # (parameter, field)
    states: tuple[tuple[str, str], ...]  # (parameter, operator)
    writes: tuple[tuple[str, str, Kind], ...]  # (parameter, value, kind)
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LoopOp(Op):
    """Steps as one loop. reads: the float fields that it takes; writes: (field, kind) that it gives; alone: whether the
    written fields are the only ones; names: all that its lambdas refer to, which no tag may have."""

    operator: ClassVar[str] = "Loop"

    steps: tuple[Op, ...]
    reads: tuple[str, ...]
    writes: tuple[tuple[str, str], ...]
    names: tuple[str, ...] = setting(())
    alone: bool = setting(False)
    text: LoopText

    @property
    def remembers(self) -> Memory | None:
        return Memory.joined(s.remembers for s in self.steps)

    def settings(self) -> dict[str, Any]:
        given = super().settings()
        del given["text"]
        return given

    def needs(self, wanted: Wanted) -> Wanted:
        for step in reversed(self.steps):
            wanted = step.needs(wanted)
        return wanted


@dataclass
class _Builder:
    """Writes the steps of one chain. fields: what each name stands for now, as (Python text, kind)."""

    fields: dict[str, tuple[str, Kind]] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)  # field -> parameter
    states: dict[str, str] = field(default_factory=dict)  # operator -> parameter
    written: dict[str, tuple[str, Kind]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=lambda: set(_RESERVED))
    steps: list[Step] = field(default_factory=list)
    alone: bool = False

    def fresh(self, name: str) -> str:
        """An unused Python name that looks like `name`."""
        plain = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name) or "field"
        if plain[0].isdigit() or keyword.iskeyword(plain):
            plain = f"f_{plain}"
        chosen, n = plain, 1
        while chosen in self.taken:
            n += 1
            chosen = f"{plain}_{n}"
        self.taken.add(chosen)
        return chosen

    def add(self, op: Op) -> bool:
        """Append a step; False (and no change that matters) where it cannot be part of a loop."""
        lines = None if _deepest(op) > _DEPTH else self._lines(op)
        if lines is None:
            return False
        self.steps.append(Step(op.name, tuple(lines)))
        return True

    def value(self, name: str) -> tuple[str, Kind] | None:
        """The text and kind of a field; a field of the input is a float."""
        if name == "time":
            return None
        self.names.add(name)
        if name not in self.fields:
            if self.alone:
                return None
            self.reads[name] = self.fresh(name)
            self.fields[name] = (f"{self.reads[name]}[i]", FLOAT)
        return self.fields[name]

    def write(self, name: str, text: str, kind: Kind) -> str:
        """A line that sets a field of the output."""
        local = self.fresh(name)
        self.fields[name] = self.written[name] = (local, kind)
        return f"{local} = {tidy(text)}"

    def _lines(self, op: Op) -> list[str] | None:
        match op:
            case WhereOp(predicate=predicate):
                condition = self.predicate(predicate)
                return None if condition is None else [f"if {tidy(f'not ({condition})')}:", "    continue"]
            case EvalOp():
                return self._eval(op)
            case DerivativeOp():
                return self._derivative(op)
            case StateCountOp() | StateDurationOp():
                return self._tracker(op)
        return None

    def predicate(self, e: Expr) -> str | None:
        found = self.scalar(e)
        return found[0] if found is not None and found[1] is BOOL else None

    def _eval(self, op: EvalOp) -> list[str] | None:
        if op.tags or op.keep or op.stateful or len(set(op.names)) < len(op.names):
            return None
        referred = {n for e in op.exprs for n in e.references()}
        values = [self.scalar(e) for e in op.exprs]
        if referred & set(op.names) or any(v is None for v in values):
            return None
        if op.keep is None:
            self.alone = True
            self.fields.clear()
            self.written.clear()
        return [self.write(n, *v) for n, v in zip(op.names, values) if v is not None]

    def _derivative(self, op: DerivativeOp) -> list[str] | None:
        value = self.value(op.field)
        if value is None or value[1] is not FLOAT:
            return None
        state = self.states[op.name] = self.fresh(op.name)
        step = len(self.steps)
        lines = [
            f"previous = {state}[g]",
            'elapsed = np.float64(time[i] - previous["time"])',
            f'rise = {value[0]} - previous["value"]',
            'seen = previous["seen"]',
            'previous["seen"] = 1',
            'previous["time"] = time[i]',
            f'previous["value"] = {value[0]}',
            "if not seen:",
            "    continue",
            "if elapsed == 0.0:",
            f"    faults[{step}] += 1",
            "    continue",
        ]
        if op.non_negative:
            lines += ["if rise < 0.0:", "    continue"]
        return [*lines, self.write(op.as_name, f"rise / (elapsed / {float(op.unit)!r})", FLOAT)]

    def _tracker(self, op: StateCountOp | StateDurationOp) -> list[str] | None:
        condition = None if op.predicate.stateful() else self.predicate(op.predicate)
        if condition is None:
            return None
        state = self.states[op.name] = self.fresh(op.name)
        if isinstance(op, StateCountOp):
            first = self.write(op.as_name, "-1", INT)
            local = first.split(" = ")[0]
            return [
                f"if {tidy(condition)}:",
                f"    {state}[g] += 1",
                f"    {local} = {state}[g]",
                "else:",
                f"    {state}[g] = 0",
                f"    {local} = np.int64(-1)",
            ]
        local = self.write(op.as_name, "-1.0", FLOAT).split(" = ")[0]
        return [
            f"if {tidy(condition)}:",
            f'    if not {state}[g]["open"]:',
            f'        {state}[g]["open"] = 1',
            f'        {state}[g]["time"] = time[i]',
            f'    {local} = np.float64(time[i] - {state}[g]["time"]) / {float(op.unit)!r}',
            "else:",
            f'    {state}[g]["open"] = 0',
            f"    {local} = -1.0",
        ]

    def scalar(self, e: Expr) -> tuple[str, Kind] | None:
        """Python text and kind of an expression on one row; None where it is not of the plain kind."""
        match e:
            case Literal(kind=kind, value=value) if kind in (FLOAT, BOOL, INT):
                return (repr(value), kind)
            case Ref(name=name):
                return self.value(name)
            case Unary(op=op, operand=operand):
                inner = self.scalar(operand)
                if inner is None or (inner[1] is not BOOL if op == "!" else inner[1] is not FLOAT):
                    return None
                return (f"(not {inner[0]})", BOOL) if op == "!" else (f"(-1.0 * {inner[0]})", FLOAT)
            case Binary():
                return self._binary(e)
        return None

    def _binary(self, e: Binary) -> tuple[str, Kind] | None:
        left, right = self.scalar(e.left), self.scalar(e.right)
        if left is None or right is None:
            return None
        kinds = {left[1], right[1]}
        if e.op in ("AND", "OR") and kinds == {BOOL}:
            return f"({left[0]} {e.op.lower()} {right[0]})", BOOL
        if e.op in _COMPARISONS and kinds <= {FLOAT, INT}:
            a, b = (f"np.float64({t})" if k is INT and FLOAT in kinds else t for t, k in (left, right))
            return f"({a} {e.op} {b})", BOOL
        if e.op in ("+", "-", "*", "/") and kinds == {FLOAT}:
            return f"({left[0]} {e.op} {right[0]})", FLOAT
        return None


def _deepest(op: Op) -> int:
    """Levels of the deepest lambda of an operator, each operator of a chain being one."""
    match op:
        case WhereOp() | StateCountOp() | StateDurationOp():
            return _levels(op.predicate)
        case EvalOp():
            return max(_levels(e) for e in op.exprs)
    return 0


def _levels(expr: Expr) -> int:
    levels: dict[int, int] = {}
    for e in expr.walk():
        levels[id(e)] = 1 + max((levels[id(c)] for c in e.children), default=0)
    return levels[id(expr)]


def tidy(text: str) -> str:
    """The same expression with only the parentheses that it needs."""
    return ast.unparse(ast.parse(text, mode="eval"))


def fuse_kernels(plan: Plan) -> Plan:
    """The plan with each chain of steps on numbers, one of them sequential, as a loop."""
    readers = {id(op): plan.children(op) for op in plan}
    done: set[int] = set()
    loops: dict[int, LoopOp] = {}  # by id of the chain's last operator
    for op in plan:
        if id(op) in done or not isinstance(op, _STEPS):
            continue
        chain = _chain(op, readers)
        found = _longest(chain)
        if found is not None:
            steps, loop = found
            loops[id(steps[-1])] = loop
            done.update(id(s) for s in steps)
    if not loops:
        return plan
    return _replaced(plan, done, loops)


def _chain(first: Op, readers: dict[int, list[Op]]) -> list[Op]:
    chain = [first]
    while len(readers[id(chain[-1])]) == 1 and isinstance(following := readers[id(chain[-1])][0], _STEPS):
        chain.append(following)
    return chain


def _longest(chain: Sequence[Op]) -> tuple[list[Op], LoopOp] | None:
    """The longest start of a chain that makes a loop; None where none of two steps, one of them sequential, does."""
    builder, steps = _Builder(), list[Op]()
    for op in chain:
        if not builder.add(op):
            break
        steps.append(op)
    if len(steps) < 2 or not any(isinstance(s, _SEQUENTIAL) for s in steps):
        return None
    if len(steps) < len(chain):  # the step that failed may have left names behind
        builder = _Builder()
        for op in steps:
            builder.add(op)
    return steps, _loop(builder, steps)


def _loop(builder: _Builder, steps: list[Op]) -> LoopOp:
    span: Span | None = steps[0].span
    for step in steps[1:]:
        span = joined(span, step.span)
    writes = tuple((builder.fresh(f"out_{n}"), text, kind) for n, (text, kind) in builder.written.items())
    return LoopOp(
        name="_".join(s.name for s in steps),
        inputs=steps[0].inputs,
        span=span,
        steps=tuple(s.with_inputs() for s in steps),
        reads=tuple(builder.reads),
        writes=tuple((n, kind.name) for n, (_, kind) in builder.written.items()),
        names=tuple(sorted(builder.names)),
        alone=builder.alone,
        text=LoopText(
            tuple((p, f) for f, p in builder.reads.items()),
            tuple((p, o) for o, p in builder.states.items()),
            writes,
            tuple(builder.steps),
        ),
    )


def _replaced(plan: Plan, done: set[int], loops: dict[int, LoopOp]) -> Plan:
    new: dict[int, Op] = {}
    ops: list[Op] = []
    for op in plan:
        if id(op) in loops:
            loop = loops[id(op)]
            current: Op = loop.with_inputs(*(new[id(i)] for i in loop.inputs))
        elif id(op) in done:
            continue
        else:
            current = op.with_inputs(*(new[id(i)] for i in op.inputs))
        ops.append(current)
        new[id(op)] = current
    return Plan(tuple(ops))
