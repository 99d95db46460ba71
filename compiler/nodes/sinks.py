"""Where data leave a task: httpOut, httpPost, influxDBOut, kapacitorLoopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tickc.compiler import ir
from tickc.compiler.diagnostics import CODES, Diagnostic, go_quote
from tickc.compiler.pipeline import Duration, Edge, Node, arg, args, flag, node, prop, setter, state

T302, T303, T304 = CODES["T302"], CODES["T303"], CODES["T304"]

FLUSH = 10_000_000_000


@node("httpOut", desc="http_out", go="HTTPOutNode")
class HttpOut(Node):
    """Show the last data of each group under a path of the task."""

    endpoint: str = arg("the path", name="endpoint")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return HttpOutOp(path=self.endpoint, **self.op_base(*inputs))


@dataclass(frozen=True, kw_only=True, eq=False)
class HttpOutOp(ir.Op):
    """Hand out rows with all their columns, and pass them on."""

    operator: ClassVar[str] = "HttpOut"
    effects: ClassVar[bool] = True
    rowwise: ClassVar[bool] = True

    path: str


@node("httpPost", desc="http_post", go="HTTPPostNode")
class HttpPost(Node):
    """Send each point or batch to a web service."""

    urls: tuple[str, ...] = args("the address; or use .endpoint()")
    code_field: str = prop("a field for the status of the answer")
    capture_response: bool = flag("log the answer where the service refuses")
    timeout: Duration = prop("how long to wait for an answer; 0 is for ever")
    endpoints: tuple[str, ...] = state(())
    headers: dict[str, str] = state(make=dict)

    @setter
    def endpoint(self, name: str) -> None:
        """An endpoint of the configuration."""
        self.endpoints += (name,)

    @setter
    def header(self, name: str, value: str) -> None:
        """A header of the request."""
        self.headers[name] = value

    def check(self) -> Iterator[Diagnostic]:
        if len(self.urls) > 1:
            yield self.refuse(T303, f"httpPost expects 0 or 1 arguments, got {len(self.urls)}")
        elif len(self.endpoints) > 1:
            yield self.refuse(T303, f"httpPost expects 0 or 1 endpoints, got {len(self.endpoints)}")
        elif not self.urls and not self.endpoints:
            yield self.refuse(T302, "must provide url or endpoint", "write |httpPost('http://…') or add .endpoint('…')")
        elif self.urls and self.endpoints:
            yield self.refuse(T303, "only one endpoint and url may be specified")
        if any(name.upper() == "AUTHENTICATE" for name in self.headers):
            yield self.refuse(T304, "cannot set 'authenticate' header")

    def start(self) -> Iterator[Diagnostic]:
        from tickc.runtime.gotemplate import TemplateError
        from tickc.runtime.settings import TextTemplate

        for url in self.urls:
            try:
                TextTemplate(url, "body")
            except TemplateError as error:
                yield self.refuse(T304, f"error in url templating: failed to parse template: {error}")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return HttpPostOp(
            url="".join(self.urls),
            endpoint="".join(self.endpoints),
            headers=dict(self.headers) or None,
            code_field=self.code_field,
            capture_response=self.capture_response,
            timeout=self.timeout,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class HttpPostOp(ir.Op):
    """Post rows with all their columns, and pass them on with the answer's status."""

    operator: ClassVar[str] = "HttpPost"
    effects: ClassVar[bool] = True

    url: str = ir.setting("")
    endpoint: str = ir.setting("")
    headers: dict[str, str] | None = None
    code_field: str = ir.setting("")
    capture_response: bool = ir.setting(False)
    timeout: int = ir.setting(0)


@node("influxDBOut", desc="influxdb_out", gives=Edge.NONE, chains=False)
class InfluxDBOut(Node):
    """Write the points to InfluxDB."""

    cluster: str = prop("the InfluxDB to write to, by its name in the configuration")
    database: str = prop("the database; by default the point's")
    retention_policy: str = prop("the retention policy; by default the point's")
    measurement: str = prop("the measurement; by default the point's")
    write_consistency: str = prop("consistency of the write in a cluster")
    precision: str = prop("unit of the times that are written: n, u, ms, s, m, h")
    buffer: int = prop("how many points to write at once", default=1000)
    flush_interval: Duration = prop("write at least this often", default=Duration(FLUSH))
    create: bool = flag("create the database when the task starts")
    tags: dict[str, str] = state(make=dict)

    @setter
    def tag(self, key: str, value: str) -> None:
        """A tag to add to every point."""
        self.tags[key] = value

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return InfluxDBOutOp(
            database=self.database,
            policy=self.retention_policy,
            measurement=self.measurement,
            precision=self.precision,
            tags=dict(self.tags) or None,
            cluster=self.cluster,
            write_consistency=self.write_consistency,
            buffer=self.buffer,
            flush_interval=self.flush_interval,
            create=self.create,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class InfluxDBOutOp(ir.Op):
    """Write points as line protocol; nothing comes behind."""

    operator: ClassVar[str] = "InfluxDBOut"
    effects: ClassVar[bool] = True
    gives: ClassVar[Edge] = Edge.NONE

    database: str = ir.setting("")
    policy: str = ir.setting("")
    measurement: str = ir.setting("")
    precision: str = ir.setting("")
    tags: dict[str, str] | None = None
    cluster: str = ir.setting("")
    write_consistency: str = ir.setting("")
    buffer: int = ir.setting(1000)
    flush_interval: int = ir.setting(FLUSH)
    create: bool = ir.setting(False)


@node("kapacitorLoopback", desc="kapacitor_loopback", gives=Edge.NONE, chains=False)
class KapacitorLoopback(Node):
    """Write the points back into the streams of the server."""

    database: str = prop("the database to write to")
    retention_policy: str = prop("the retention policy to write to")
    measurement: str = prop("the measurement; by default the point's")
    tags: dict[str, str] = state(make=dict)

    @setter
    def tag(self, key: str, value: str) -> None:
        """A tag to add to every point."""
        self.tags[key] = value

    def check(self) -> Iterator[Diagnostic]:
        if not self.database:
            yield self.refuse(T302, "must specify a database", "add .database('…')")
        elif not self.retention_policy:
            yield self.refuse(T302, "must specify a retention policy", "add .retentionPolicy('…')")

    def start(self) -> Iterator[Diagnostic]:
        if (self.database, self.retention_policy) in (self.pipeline.task_dbrps or ()):
            target = f"{go_quote(self.database)}.{go_quote(self.retention_policy)}"
            yield self.refuse(T304, f"loop detected on dbrp: {target}")

    def lower(self, *inputs: ir.Op) -> ir.Op:
        return KapacitorLoopbackOp(
            database=self.database,
            policy=self.retention_policy,
            measurement=self.measurement,
            tags=dict(self.tags) or None,
            **self.op_base(*inputs),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class KapacitorLoopbackOp(ir.Op):
    """Hand points to other tasks; nothing comes behind."""

    operator: ClassVar[str] = "KapacitorLoopback"
    effects: ClassVar[bool] = True
    gives: ClassVar[Edge] = Edge.NONE

    database: str
    policy: str
    measurement: str = ir.setting("")
    tags: dict[str, str] | None = None
