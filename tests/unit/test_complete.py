"""Every node and property that Kapacitor has is declared, documented, and either lowered or refused with a reason."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
from importlib import import_module

import pytest

import tickc.runtime
from tickc.compiler import ir
from tickc.compiler import nodes as families
from tickc.compiler.nodes.alert import HANDLERS, Alert
from tickc.compiler.pipeline import NODES, Node, Subject, camel, capitalised

FUNCTION = "as usePointTimes"

# Kapacitor 1.8.3: the properties of each node that its documentation lists (`quiet` is on all of them).
PROPERTIES = {
    "alert": "category topic id message details info warn crit infoReset warnReset critReset flapping history levelTag "
    "levelField messageField durationField idTag idField all noRecoveries stateChangesOnly inhibit post tcp email exec "
    "log victorOps pagerDuty pagerDuty2 pushover sensu slack discord bigPanda telegram hipChat alerta opsGenie "
    "opsGenie2 talk mqtt snmpTrap kafka teams serviceNow zenoss",
    "barrier": "idle period delete",
    "batch": "",
    "bottom": FUNCTION,
    "changeDetect": "",
    "combine": "as delimiter tolerance max",
    "count": FUNCTION,
    "cumulativeSum": FUNCTION,
    "deadman": "",
    "default": "field tag",
    "delete": "field tag",
    "derivative": "as unit nonNegative",
    "difference": FUNCTION,
    "distinct": FUNCTION,
    "ec2Autoscale": "cluster groupName groupNameTag outputGroupNameTag currentField max min replicas increaseCooldown "
    "decreaseCooldown",
    "elapsed": FUNCTION,
    "eval": "as tags keep",
    "first": FUNCTION,
    "flatten": "on delimiter tolerance dropOriginalFieldName",
    "from": "where groupBy groupByMeasurement database retentionPolicy measurement truncate round",
    "groupBy": "exclude byMeasurement",
    "holtWinters": FUNCTION,
    "holtWintersWithFit": FUNCTION,
    "httpOut": "endpoint",
    "httpPost": "endpoint header codeField captureResponse timeout",
    "influxDBOut": "cluster database retentionPolicy measurement writeConsistency precision buffer flushInterval tag "
    "create",
    "join": "as on delimiter deleteAll streamName tolerance fill",
    "k8sAutoscale": "cluster namespace kind resourceName resourceNameTag currentField max min replicas "
    "increaseCooldown decreaseCooldown namespaceTag kindTag resourceTag",
    "kapacitorLoopback": "database retentionPolicy measurement tag",
    "last": FUNCTION,
    "log": "level prefix",
    "max": FUNCTION,
    "mean": FUNCTION,
    "median": FUNCTION,
    "min": FUNCTION,
    "mode": FUNCTION,
    "movingAverage": FUNCTION,
    "noOp": "",
    "percentile": FUNCTION,
    "query": "period every align cron offset alignGroup groupBy groupByMeasurement fill cluster",
    "queryFlux": "period every align cron offset cluster org orgID",
    "sample": "",
    "shift": "shift",
    "sideload": "source order field tag",
    "spread": FUNCTION,
    "stateCount": "as",
    "stateDuration": "as unit",
    "stats": "align",
    "stddev": FUNCTION,
    "stream": "",
    "sum": FUNCTION,
    "swarmAutoscale": "cluster serviceName serviceNameTag outputServiceNameTag currentField max min replicas "
    "increaseCooldown decreaseCooldown",
    "top": FUNCTION,
    "trickle": "",
    "union": "rename",
    "where": "",
    "window": "period every align fillPeriod periodCount everyCount",
}

HANDLER_PROPERTIES = {
    "alerta": "token resource event environment group value origin services correlated attribute timeout",
    "bigPanda": "appKey host primaryProperty secondaryProperty attribute",
    "discord": "workspace username avatarURL embedTitle",
    "email": "to toTemplates",
    "exec": "",
    "hipChat": "room token",
    "kafka": "cluster kafkaTopic disablePartitionById partitionHashAlgorithm template",
    "log": "filePath mode",
    "mqtt": "brokerName topic qos retained",
    "opsGenie": "teams recipients",
    "opsGenie2": "teams recipients recoveryAction details",
    "pagerDuty": "serviceKey",
    "pagerDuty2": "routingKey link serviceKey",
    "post": "URL endpoint header captureResponse timeout skipSSLVerification",
    "pushover": "userKey device title URL URLTitle sound",
    "sensu": "source handlers metadata",
    "serviceNow": "URL username password source node type resource metricName messageKey additionalInfo",
    "slack": "workspace channel username iconEmoji",
    "snmpTrap": "trapOid data",
    "talk": "",
    "tcp": "address",
    "teams": "channelURL",
    "telegram": "chatId parseMode disableWebPagePreview disableNotification",
    "victorOps": "routingKey",
    "zenoss": "URL username password action method type tid collector summary device component eventClassKey "
    "eventClass message customField",
}

OPS = sorted(
    {
        cls
        for module in pkgutil.iter_modules(families.__path__)
        for cls in vars(import_module(f"{families.__name__}.{module.name}")).values()
        if isinstance(cls, type) and issubclass(cls, ir.Op) and "operator" in vars(cls)
    },
    key=lambda cls: cls.__name__,
)


def test_all_nodes_are_declared() -> None:
    assert sorted(NODES) == sorted(PROPERTIES)
    assert sorted(HANDLERS) == sorted(HANDLER_PROPERTIES)


@pytest.mark.parametrize("tick", PROPERTIES)
def test_properties_have_kapacitors_names(tick: str) -> None:
    declared = {p.name for p in NODES[tick].properties.values()}
    wanted = {*PROPERTIES[tick].split(), "quiet"}
    assert wanted <= declared
    extra = declared - wanted  # what Go's reflection lets a script set although the documentation does not list it
    assert extra <= {"field", "lambda", "interval", "queryStr", "flapLow", "flapHigh", "stateChangesOnlyDuration"}


@pytest.mark.parametrize("tick", HANDLER_PROPERTIES)
def test_handlers_have_kapacitors_properties(tick: str) -> None:
    assert {p.name for p in HANDLERS[tick].properties.values()} == set(HANDLER_PROPERTIES[tick].split())


@pytest.mark.parametrize("subject", [*NODES.values(), *HANDLERS.values()], ids=lambda cls: cls.__name__)
def test_everything_is_documented(subject: type[Subject]) -> None:
    assert subject.doc.endswith("."), "a node's docstring is a sentence"
    for p in subject.properties.values():
        assert (p.doc and p.name == p.go[0].lower() + p.go[1:]) or p.name[0].isupper(), p.name
    for param in subject.params:
        assert param.doc, f"{param.name} is not documented"
        assert param.go and param.label


@pytest.mark.parametrize("cls", NODES.values(), ids=lambda cls: cls.tick)
def test_a_node_is_lowered_or_says_why_not(cls: type[Node]) -> None:
    assert cls.go
    lowered = cls.lower is not Node.lower
    if cls.tick == "batch":  # only names the source; its queries are the operators
        assert not lowered and not cls.later
    else:
        assert lowered != bool(cls.later)


@pytest.mark.parametrize("op", OPS, ids=lambda cls: cls.__name__)
def test_settings_of_an_operator_are_keywords_of_its_class(op: type[ir.Op]) -> None:
    keywords = inspect.signature(getattr(tickc.runtime, op.operator)).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in keywords.values()):
        return
    for f in dataclasses.fields(op):
        if f.name in ("inputs", "span", "gives"):
            continue
        assert f.name in keywords, f"{op.operator} has no keyword {f.name}"
        default = keywords[f.name].default
        if f.default is dataclasses.MISSING:
            continue
        if f.default is None:
            assert not default
        else:
            assert default == f.default


@pytest.mark.parametrize("op", OPS, ids=lambda cls: cls.__name__)
def test_an_operator_says_what_it_is(op: type[ir.Op]) -> None:
    assert op.__doc__
    for name, method in vars(op).items():
        assert not inspect.isfunction(method) or name.startswith("_") or hasattr(ir.Op, name), name


def test_names_are_made_from_fields() -> None:
    assert camel("fill_period") == "fillPeriod"
    assert camel("as_") == "as"
    assert capitalised("httpOut") == "HttpOut"
    assert Alert.properties["InfoReset"].name == "infoReset"
