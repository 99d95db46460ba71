"""Nodes that set the size of a service: k8sAutoscale, swarmAutoscale, ec2Autoscale."""

from __future__ import annotations

from collections.abc import Iterator

from tickc.compiler.diagnostics import CODES, Diagnostic
from tickc.compiler.pipeline import STREAM, Duration, LambdaValue, Node, declare, node, prop

T302, T303, T304 = CODES["T302"], CODES["T303"], CODES["T304"]
LATER = "it changes services outside"


@declare("AutoscaleNode")
class Autoscale(Node):
    """What the three have in common."""

    cluster: str = prop("the cluster, by its name in the configuration")
    min: int = prop("the least number of instances", default=1)
    max: int = prop("the greatest number of instances; 0 for no limit")
    replicas: LambdaValue | None = prop("how many instances there should be")
    current_field: str = prop("under this name the expression sees how many there are")
    increase_cooldown: Duration = prop("time between two increases")
    decrease_cooldown: Duration = prop("time between two decreases")

    def _common(self) -> Iterator[Diagnostic]:
        if self.min < 1:
            yield self.refuse(T304, f"min must be >= 1, got {self.min}")
        elif self.replicas is None:
            yield self.refuse(T302, "must provide a replicas lambda expression", "add .replicas(lambda: …)")

    def _one_of(self, first: str, second: str, names: str) -> Iterator[Diagnostic]:
        if bool(first) == bool(second):
            yield self.refuse(T303, f"must specify exactly one of {names}")
        else:
            yield from self._common()


KINDS = ("deployments", "replicasets", "replicationcontrollers")


@node("k8sAutoscale", desc="k8s_autoscale", gives=STREAM, later=LATER)
class K8sAutoscale(Autoscale):
    """Set the number of replicas of a resource of Kubernetes."""

    namespace: str = prop("the namespace of the resource")
    kind: str = prop("'deployments', 'replicasets' or 'replicationcontrollers'", default="deployments")
    resource_name: str = prop("the name of the resource")
    resource_name_tag: str = prop("the tag that holds the name of the resource")
    namespace_tag: str = prop("tag for the namespace", default="namespace")
    kind_tag: str = prop("tag for the kind", default="kind")
    resource_tag: str = prop("tag for the resource", default="resource")

    def check(self) -> Iterator[Diagnostic]:
        problems = self._one_of(self.resource_name, self.resource_name_tag, "ResourceName or ResourceNameTag")
        if bool(self.resource_name) != bool(self.resource_name_tag) and self.kind not in KINDS:
            yield self.refuse(
                T304,
                f"invalid Kind, must be 'deployments', 'replicasets' or 'replicationcontrollers', got {self.kind}",
            )
        yield from problems


@node("swarmAutoscale", desc="swarm_autoscale", gives=STREAM, later=LATER)
class SwarmAutoscale(Autoscale):
    """Set the number of replicas of a service of Docker Swarm."""

    service_name: str = prop("the name of the service")
    service_name_tag: str = prop("the tag that holds the name of the service")
    output_service_name_tag: str = prop("tag for the name of the service")

    def check(self) -> Iterator[Diagnostic]:
        return self._one_of(self.service_name, self.service_name_tag, "ServiceName or ServiceNameTag")


@node("ec2Autoscale", desc="ec2_autoscale", gives=STREAM, later=LATER)
class Ec2Autoscale(Autoscale):
    """Set the desired capacity of a group of EC2."""

    group_name: str = prop("the name of the group")
    group_name_tag: str = prop("the tag that holds the name of the group")
    output_group_name_tag: str = prop("tag for the name of the group")

    def check(self) -> Iterator[Diagnostic]:
        return self._one_of(self.group_name, self.group_name_tag, "GroupName or GroupNameTag")
