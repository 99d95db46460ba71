"""`alert`: levels, events, and the handlers that they go to (declared in handlers.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic
from tickc.compiler.pipeline import (
    Duration,
    LambdaValue,
    Node,
    Property,
    Subject,
    arg,
    capitalised,
    declare,
    flag,
    node,
    prop,
    setter,
    state,
)
from tickc.runtime.expr import Expr

T302, T304 = CODES["T302"], CODES["T304"]

DEFAULT_ID = "{{ .Name }}:{{ .Group }}"
DEFAULT_MESSAGE = "{{ .ID }} is {{ .Level }}"
DEFAULT_DETAILS = "{{ json . }}"
LEVELS = ("info", "warn", "crit")


@lru_cache(256)
def _template_error(text: str, name: str) -> str | None:
    """What is wrong with a template (`id`, `message` or `details`)."""
    from tickc.runtime.gotemplate import TemplateError, parse

    try:
        parse(text, name, name == "details", name)
    except TemplateError as error:
        return str(error)
    return None


@node("alert")
class Alert(Node):
    """Give each point or batch a level, and send an event where that asks for one."""

    category: str = prop("the category of the events, for .inhibit() of other alerts")
    topic: str = prop("a topic that events go to, besides the handlers below")
    id_: str = prop("template of the event's id", default=DEFAULT_ID)
    message: str = prop("template of the event's message", default=DEFAULT_MESSAGE)
    details: str = prop("template of the event's details, in HTML", default=DEFAULT_DETAILS)
    info: LambdaValue | None = prop("when the level is INFO")
    warn: LambdaValue | None = prop("when the level is WARNING")
    crit: LambdaValue | None = prop("when the level is CRITICAL")
    info_reset: LambdaValue | None = prop("what has to be true before the level INFO is left")
    warn_reset: LambdaValue | None = prop("what has to be true before the level WARNING is left")
    crit_reset: LambdaValue | None = prop("what has to be true before the level CRITICAL is left")
    flap_low: float = prop("the same as the first value of .flapping()")
    flap_high: float = prop("the same as the second value of .flapping()")
    history: int = prop("how many levels are looked at to see flapping", default=21)
    level_tag: str = prop("a tag for the level")
    level_field: str = prop("a field for the level")
    message_field: str = prop("a field for the message")
    duration_field: str = prop("a field for how long the level has not been OK, in ns")
    id_tag: str = prop("a tag for the id")
    id_field: str = prop("a field for the id")
    all: bool = flag("for a batch, take the lowest level of all points instead of the highest")
    no_recoveries: bool = flag("send no event when the level goes back to OK")
    state_changes_only_duration: Duration = prop("the same as the value of .stateChangesOnly()")
    changes_only: bool = state(False)
    use_flapping: bool = state(False)
    inhibitors: tuple[tuple[str, tuple[str, ...]], ...] = state(())
    handlers: list[Handler] = state(make=list)

    @setter
    def state_changes_only(self, *interval: Duration) -> None:
        """Send an event only when the level changes, or again after this long."""
        self.changes_only = True
        if len(interval) == 1:
            self.state_changes_only_duration = interval[0]

    @setter
    def flapping(self, low: float, high: float) -> None:
        """Hold events back while the level changes often; from 0.0 to 1.0, when to send again and when to hold back."""
        self.use_flapping, self.flap_low, self.flap_high = True, low, high

    @setter
    def inhibit(self, category: str, *tags: str) -> None:
        """While this alert is not OK, hold back those of a category that agree in these tags."""
        self.inhibitors += ((category, tags),)

    def after_method(self) -> Subject:
        return AlertData(alert=self)

    # -- checking and lowering

    def check(self) -> Iterator[Diagnostic]:
        for handler in sorted(self.handlers, key=lambda h: h.checked_at):
            yield from handler.check()

    def start(self) -> Iterator[Diagnostic]:
        yield from self._template_errors()
        for handler in self.handlers:
            yield from handler.start()
        for level in LEVELS:
            if getattr(self, level) is not None:
                for name in (level, f"{level}Reset"):
                    value = getattr(self, name.replace("Reset", "_reset"))
                    yield from self.compile_errors(value, f"Failed to compile stateful expression for {name}: {{}}")
        if self.use_flapping and max(self.flap_low, self.flap_high) > 1:
            message = "alert flap thresholds are percentages and should be between 0 and 1"
            yield self.refuse(T304, message, "write 0.25 for 25 %")

    def _template_errors(self) -> Iterator[Diagnostic]:
        for name, text in (("id", self.id_), ("message", self.message), ("details", self.details)):
            if (error := _template_error(text, name)) is not None:
                yield self.refuse(T304, error)

    def lower(self, *inputs: ir.Op) -> ir.Op:
        def predicate(name: str, level: str) -> Expr | None:
            value: LambdaValue | None = getattr(self, name)
            return value.expr if value is not None and getattr(self, level) is not None else None

        levels: dict[str, Any] = {level: predicate(level, level) for level in LEVELS}
        levels |= {f"{level}_reset": predicate(f"{level}_reset", level) for level in LEVELS}
        return AlertOp(
            task=self.pipeline.task,
            id=self.id_,
            message=self.message,
            details=None if self.details == DEFAULT_DETAILS else self.details,
            **levels,
            all=self.all,
            state_changes_only=self.changes_only,
            state_changes_duration=self.state_changes_only_duration,
            flapping=(self.flap_low, self.flap_high) if self.use_flapping else None,
            history=max(self.history, 2),
            no_recoveries=self.no_recoveries,
            level_tag=self.level_tag,
            level_field=self.level_field,
            id_tag=self.id_tag,
            id_field=self.id_field,
            message_field=self.message_field,
            duration_field=self.duration_field,
            topic=self.topic,
            category=self.category,
            inhibit=self.inhibitors,
            logs=tuple(h.path for h in self.handlers if isinstance(h, LogHandler)),
            modes={h.path: h.mode for h in self.handlers if isinstance(h, LogHandler) and h.mode} or None,
            handlers=tuple((h.kind, h.settings()) for h in self.handlers if not isinstance(h, LogHandler)),
            **self.op_base(*inputs),
        )


@dataclass(kw_only=True, eq=False)
class AlertData(Subject):
    """What a property method of an alert gives back: the alert under another name."""

    class_go: ClassVar[str] = "AlertNodeData"

    alert: Alert

    @property
    def node(self) -> Node:
        return self.alert

    def find(self, name: str) -> tuple[Subject, Property] | None:
        return self.alert.find(name)

    def property_names(self) -> list[str]:
        return self.alert.property_names()


@dataclass(kw_only=True, eq=False)
class Handler(Subject):
    """Something that events go to. Properties of the alert can be set on it as well."""

    kind: ClassVar[str] = ""
    tick: ClassVar[str] = ""
    checked_at: ClassVar[int] = 0  # the order in which Kapacitor checks kinds of handlers
    label: ClassVar[str] = "a handler"

    alert: Alert

    @property
    def node(self) -> Node:
        return self.alert

    def find(self, name: str) -> tuple[Subject, Property] | None:
        return super().find(name) or self.alert.find(name)

    def property_names(self) -> list[str]:
        return [*super().property_names(), *self.alert.property_names()]

    def check(self) -> Iterator[Diagnostic]:
        """What is wrong with the definition."""
        return iter(())

    def start(self) -> Iterator[Diagnostic]:
        """What would keep Kapacitor from starting the task."""
        return iter(())

    def settings(self) -> dict[str, Any]:
        """All that the script has set, by field."""
        out = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
            if f.name != "alert" and value != default:
                out[f.name.rstrip("_")] = value
        return out


_H = TypeVar("_H", bound=type[Handler])
HANDLERS: dict[str, type[Handler]] = {}


def handler(tick: str, go: str, kind: str = "") -> Callable[[_H], _H]:
    """Declare a handler: the property of an alert that adds it, its Go class, and the kind that the API calls it."""

    def register(cls: _H) -> _H:
        made = declare(go)(cls)
        made.tick, made.kind = tick, kind or tick.lower()
        HANDLERS[tick] = made
        Alert.properties[capitalised(tick)] = Property(tick, made.doc, made.params, method=_adder(made))
        return made

    return register


def _adder(cls: type[Handler]) -> Callable[..., Subject]:
    def add(alert: Alert, **given: Any) -> Subject:
        made = cls(alert=alert, **{p.field: given[p.name] for p in cls.params})
        alert.handlers.append(made)
        return made

    return add


@handler("log", "LogHandler")
class LogHandler(Handler):
    """Append each event to a file, as a line of JSON."""

    path: str = arg("the file", name="filePath")
    mode: int = prop("permissions of the file", default=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class AlertOp(ir.Op):
    """Levels and events of each group; lets through what makes an event."""

    operator: ClassVar[str] = "Alert"
    effects: ClassVar[bool] = True
    remembers: ClassVar[ir.Memory] = ir.Memory("the level of each group, and since when it has it")

    task: str
    id: str
    message: str
    details: str | None = None
    info: Expr | None = None
    warn: Expr | None = None
    crit: Expr | None = None
    info_reset: Expr | None = None
    warn_reset: Expr | None = None
    crit_reset: Expr | None = None
    all: bool = ir.setting(False)
    state_changes_only: bool = ir.setting(False)
    state_changes_duration: int = ir.setting(0)
    flapping: tuple[float, float] | None = None
    history: int = ir.setting(21)
    no_recoveries: bool = ir.setting(False)
    level_tag: str = ir.setting("")
    level_field: str = ir.setting("")
    id_tag: str = ir.setting("")
    id_field: str = ir.setting("")
    message_field: str = ir.setting("")
    duration_field: str = ir.setting("")
    topic: str = ir.setting("")
    category: str = ir.setting("")
    inhibit: tuple[tuple[str, tuple[str, ...]], ...] = ir.setting(())
    logs: tuple[str, ...] = ir.setting(())
    modes: dict[str, int] | None = None
    handlers: tuple[tuple[str, dict[str, Any]], ...] = ir.setting(())
