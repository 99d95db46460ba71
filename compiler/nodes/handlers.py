"""The handlers of alerts. A replay calls none of them but `log`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from tickc.compiler.diagnostics import CODES, Diagnostic, go_quote
from tickc.compiler.nodes.alert import Handler, handler
from tickc.compiler.pipeline import Duration, arg, args, flag, prop, setter, state

T302, T304 = CODES["T302"], CODES["T304"]


@handler("exec", "ExecHandler")
class Exec(Handler):
    """Run a program and give it the event as JSON."""

    executable: str = arg("the program")
    arguments: tuple[str, ...] = args("its arguments")


@handler("tcp", "TcpHandler")
class Tcp(Handler):
    """Send the event as JSON to an address."""

    address: str = arg("host and port", name="address")


@handler("post", "AlertHTTPPostHandler")
class Post(Handler):
    """Send the event as JSON to a web service."""

    checked_at: ClassVar[int] = 1

    urls: tuple[str, ...] = args("the address; or use .endpoint()")
    url: str = prop("the address", name="URL")
    endpoint: str = prop("an endpoint of the configuration")
    capture_response: bool = flag("log the answer where the service refuses")
    timeout: Duration = prop("how long to wait for an answer; 0 is for ever")
    skip_ssl_verification: bool = flag("trust any certificate", name="skipSSLVerification")
    headers: dict[str, str] = state(make=dict)

    def __post_init__(self) -> None:
        self.url = self.urls[0] if self.urls else ""
        self.urls = ()

    @setter
    def header(self, name: str, value: str) -> None:
        """A header of the request."""
        self.headers[name] = value

    def check(self) -> Iterator[Diagnostic]:
        if any(name.upper() == "AUTHENTICATE" for name in self.headers):
            yield self.alert.refuse(T304, "invalid post: cannot set 'authenticate' header")

    def start(self) -> Iterator[Diagnostic]:
        if not self.endpoint and not self.url:
            yield self.alert.refuse(T302, "Either URL or endpoint must be non-empty", "write .post('http://…')")


@handler("email", "EmailHandler", kind="smtp")
class Email(Handler):
    """Send the event as e-mail."""

    addresses: tuple[str, ...] = args("addresses; by default those of the configuration")
    templates: tuple[str, ...] = state(())

    @setter
    def to(self, *addresses: str) -> None:
        """More addresses."""
        self.addresses += addresses

    @setter
    def to_templates(self, *templates: str) -> None:
        """More addresses, as templates over the event."""
        self.templates += templates


@handler("victorOps", "VictorOpsHandler")
class VictorOps(Handler):
    """Send the event to VictorOps."""

    routing_key: str = prop("the routing key")


@handler("pagerDuty", "PagerDutyHandler")
class PagerDuty(Handler):
    """Send the event to PagerDuty (API version 1)."""

    service_key: str = prop("the service key")


@handler("pagerDuty2", "PagerDuty2Handler")
class PagerDuty2(Handler):
    """Send the event to PagerDuty (API version 2)."""

    routing_key: str = prop("the routing key")
    links: tuple[tuple[str, str], ...] = state(())

    @setter
    def service_key(self, key: str) -> None:
        """The same as .routingKey()."""
        self.routing_key = key

    @setter
    def link(self, href: str, *text: str) -> None:
        """A link to show, and its text."""
        self.links += ((href, text[0] if text else ""),)


@handler("pushover", "PushoverHandler")
class Pushover(Handler):
    """Send the event to Pushover."""

    user_key: str = prop("the key of the user or group")
    device: str = prop("the device")
    title: str = prop("the title")
    url: str = prop("an address to show", name="URL")
    url_title: str = prop("the text of the address", name="URLTitle")
    sound: str = prop("the sound")


@handler("sensu", "SensuHandler")
class Sensu(Handler):
    """Send the event to Sensu."""

    source: str = prop("the source, as a template")
    handler_names: tuple[str, ...] = state(())
    metadata_entries: dict[str, Any] = state(make=dict)

    @setter
    def handlers(self, *names: str) -> None:
        """Handlers of Sensu."""
        self.handler_names = names

    @setter
    def metadata(self, key: str, value: Any) -> None:
        """An entry of the metadata."""
        self.metadata_entries[key] = value


@handler("slack", "SlackHandler")
class Slack(Handler):
    """Send the message to Slack."""

    workspace: str = prop("the workspace, by its name in the configuration")
    channel: str = prop("the channel")
    username: str = prop("the name of the sender")
    icon_emoji: str = prop("the picture of the sender, as an emoji")


@handler("discord", "DiscordHandler")
class Discord(Handler):
    """Send the message to Discord."""

    workspace: str = prop("the workspace, by its name in the configuration")
    username: str = prop("the name of the sender")
    avatar_url: str = prop("the picture of the sender", name="avatarURL")
    embed_title: str = prop("the title")


@handler("bigPanda", "BigPandaHandler")
class BigPanda(Handler):
    """Send the event to BigPanda."""

    app_key: str = prop("the key of the application")
    host: str = prop("the host")
    primary_property: str = prop("the primary property")
    secondary_property: str = prop("the secondary property")
    attributes: dict[str, Any] = state(make=dict)

    @setter
    def attribute(self, key: str, value: Any) -> None:
        """An attribute of the event."""
        self.attributes[key] = value


@handler("telegram", "TelegramHandler")
class Telegram(Handler):
    """Send the message to Telegram."""

    chat_id: str = prop("the chat")
    parse_mode: str = prop("how the message is written: Markdown or HTML")
    disable_web_page_preview: bool = flag("show no previews of links")
    disable_notification: bool = flag("make no sound")


@handler("hipChat", "HipChatHandler")
class HipChat(Handler):
    """Send the message to HipChat."""

    room: str = prop("the room")
    token: str = prop("the token")


@handler("alerta", "AlertaHandler")
class Alerta(Handler):
    """Send the event to Alerta."""

    token: str = prop("the token")
    resource: str = prop("the resource, as a template")
    event: str = prop("the event, as a template")
    environment: str = prop("the environment, as a template")
    group: str = prop("the group, as a template")
    value: str = prop("the value, as a template")
    origin: str = prop("the origin")
    timeout: Duration = prop("how long the alert stays")
    service_names: tuple[str, ...] = state(())
    correlations: tuple[str, ...] = state(())
    attributes: dict[str, Any] = state(make=dict)

    @setter
    def services(self, *names: str) -> None:
        """The services that are affected."""
        self.service_names = names

    @setter
    def correlated(self, *events: str) -> None:
        """Related events."""
        self.correlations = events

    @setter
    def attribute(self, key: str, value: Any) -> None:
        """An attribute of the alert."""
        self.attributes[key] = value


@handler("opsGenie", "OpsGenieHandler")
class OpsGenie(Handler):
    """Send the event to OpsGenie (API version 1)."""

    team_names: tuple[str, ...] = state(())
    recipient_names: tuple[str, ...] = state(())

    @setter
    def teams(self, *names: str) -> None:
        """The teams to tell."""
        self.team_names = names

    @setter
    def recipients(self, *names: str) -> None:
        """The people to tell."""
        self.recipient_names = names


@handler("opsGenie2", "OpsGenie2Handler")
class OpsGenie2(OpsGenie):
    """Send the event to OpsGenie (API version 2)."""

    recovery: str = state("")
    with_details: bool = state(False)

    @setter
    def recovery_action(self, action: str) -> None:
        """What a recovery does: 'notes' or 'close'."""
        self.recovery = action

    @setter
    def details(self) -> None:
        """Send the details as well."""
        self.with_details = True


@handler("talk", "TalkHandler")
class Talk(Handler):
    """Send the message to Talk."""


@handler("mqtt", "MQTTHandler")
class Mqtt(Handler):
    """Publish the message on a topic of MQTT."""

    topic: str = arg("the topic", name="topic")
    broker_name: str = prop("the broker, by its name in the configuration")
    qos: int = prop("quality of service: 0, 1 or 2")
    retained: bool = prop("whether the broker keeps the message")


@handler("snmpTrap", "SNMPTrapHandler")
class SnmpTrap(Handler):
    """Send an SNMP trap."""

    trap_oid: str = arg("the OID of the trap", name="trapOid")
    entries: tuple[tuple[str, str, str], ...] = state(())

    @setter
    def data(self, oid: str, type: str, value: str) -> None:
        """A datum: its OID, its type (c, i, n, s or t), its value as a template."""
        self.entries += ((oid, type, value),)

    def check(self) -> Iterator[Diagnostic]:
        wrong = ""
        if not self.trap_oid:
            wrong = "you must supply a trap Oid"
        for oid, type, _ in self.entries:
            if not wrong and type not in ("c", "i", "n", "s", "t"):
                wrong = f"unsupported data type {go_quote(type)} for data entry {go_quote(oid)}"
        if wrong:
            yield self.alert.refuse(T304, f"invalid SNMP trap {go_quote(self.trap_oid)}: {wrong}")


@handler("kafka", "KafkaHandler")
class Kafka(Handler):
    """Send the event to Kafka."""

    cluster: str = prop("the cluster, by its name in the configuration")
    kafka_topic: str = prop("the topic")
    template: str = prop("the message, as a template over the event; by default the event as JSON")
    disable_partition_by_id: bool = flag("do not choose the partition by the event's id")
    partition_hash_algorithm: str = prop("how the partition is chosen: crc32, murmur2, fnv-1a")


@handler("teams", "TeamsHandler")
class Teams(Handler):
    """Send the message to Microsoft Teams."""

    channel_url: str = prop("the address of the channel", name="channelURL")


@handler("serviceNow", "ServiceNowHandler")
class ServiceNow(Handler):
    """Send the event to ServiceNow."""

    url: str = prop("the address of the service", name="URL")
    username: str = prop("the user")
    password: str = prop("the password")
    source: str = prop("the source of the event")
    node_: str = prop("the node, as a template")
    type: str = prop("the type, as a template")
    resource: str = prop("the resource, as a template")
    metric_name: str = prop("the metric, as a template")
    message_key: str = prop("the key of the message, as a template")
    more: dict[str, Any] = state(make=dict)

    @setter
    def additional_info(self, key: str, value: Any) -> None:
        """An entry of the additional information."""
        self.more[key] = value


@handler("zenoss", "ZenossHandler")
class Zenoss(Handler):
    """Send the event to Zenoss."""

    url: str = prop("the address of the service", name="URL")
    username: str = prop("the user")
    password: str = prop("the password")
    action: str = prop("the router's name")
    method: str = prop("the router's method")
    type: str = prop("the type of the request")
    tid: int = prop("the number of the transaction")
    collector: str = prop("the collector")
    summary: str = prop("the summary, as a template", default="{{ .Message }}")
    device: str = prop("the device, as a template")
    component: str = prop("the component, as a template")
    event_class_key: str = prop("the key of the event class, as a template")
    event_class: str = prop("the event class, as a template")
    message: str = prop("the message, as a template")
    custom_fields: dict[str, Any] = state(make=dict)

    @setter
    def custom_field(self, name: str, value: Any) -> None:
        """A field of the event."""
        self.custom_fields[name] = value
