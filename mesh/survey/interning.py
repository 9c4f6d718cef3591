"""Compact objects: 10,000 Pods in a few megabytes.

Pods of one workload differ in their names and times only, so every other part is kept once. Of Ready Pods, only what a
survey reads is kept. A survey of compact objects is equal to that of the full ones (a property test compares).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TypeVar, cast

import msgspec

from mesh.k8s.kinds import READ_KINDS, kind_of
from mesh.k8s.objects import (
    Condition,
    Container,
    ContainerStatus,
    Metadata,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Workload,
)
from mesh.survey.pod_rules import pod_cause
from mesh.wellknown import LAST_APPLIED_CONFIGURATION, PROXY_CONTAINER

T = TypeVar("T")

#: Domains of the annotations that rules and Istio's own templates read; others may differ in each Pod.
_ANNOTATION_DOMAINS = ("istio.io/", "kyma-project.io/")
#: Reasons of a Deployment's conditions that no rule reads.
_UNREAD_REASONS = frozenset({"NewReplicaSetAvailable", "MinimumReplicasAvailable"})
_TEMPLATE_ABOVE = frozenset({("ReplicaSet", "Deployment"), ("Job", "CronJob")})


class Interner:
    """Keeps equal parts of objects once. `now` is the time of the reading that it serves."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._known: dict[tuple[type, bytes], object] = {}
        self._encode = msgspec.msgpack.Encoder().encode

    def __len__(self) -> int:
        """Returns how many different parts are kept."""
        return len(self._known)

    def pod(self, pod: Pod) -> Pod:
        """Returns what a survey reads of a Pod."""
        metadata = pod.metadata
        reference = metadata.controller()
        deleting = metadata.deletion_timestamp is not None
        healthy = not deleting and (pod.status.phase == "Succeeded" or pod_cause(pod, self._now) is None)
        return Pod(
            metadata=Metadata(
                name=metadata.name,
                namespace=self.intern(metadata.namespace),
                uid=metadata.uid,
                labels=self.intern(metadata.labels),
                annotations=self.intern(_annotations(metadata.annotations or {}, reference)),
                creation_timestamp=metadata.creation_timestamp,
                deletion_timestamp=metadata.deletion_timestamp,
                finalizers=metadata.finalizers if deleting else None,
                owner_references=self.intern(() if reference is None else (reference,)),
            ),
            spec=self.intern(
                _spec(pod.spec, None if _has_template(reference) else pod.spec.raw, with_causes=not healthy)
            ),
            status=self.intern(_healthy_status(pod.status)) if healthy or deleting else pod.status,
        )

    def workload(self, workload: Workload) -> Workload:
        """Returns what a survey reads of a workload."""
        metadata, spec = workload.metadata, workload.spec
        reference = metadata.controller()
        # Of a Deployment with its ten old ReplicaSets only its own template counts. The template of an Argo Rollout
        # may be that of an object that is not read: so the ReplicaSets with Pods keep theirs.
        inherited = reference is not None and (workload.kind, kind_of(reference)) in _TEMPLATE_ABOVE
        has_no_pods = reference is not None and workload.kind == "ReplicaSet" and not workload.status.replicas
        template = None if inherited or has_no_pods else spec.template
        if template is not None:
            template_metadata = template.metadata
            template = msgspec.structs.replace(
                template,
                metadata=Metadata(
                    labels=self.intern(template_metadata.labels), annotations=self.intern(template_metadata.annotations)
                ),
                spec=self.intern(_spec(template.spec, template.spec.raw)),
            )
        return msgspec.structs.replace(
            workload,
            metadata=Metadata(
                name=metadata.name,
                namespace=self.intern(metadata.namespace),
                uid=metadata.uid,
                generation=metadata.generation,
                labels=self.intern(metadata.labels),
                annotations=self.intern(_without_last_applied(metadata.annotations or {})),
                owner_references=self.intern(() if reference is None else (reference,)),
            ),
            spec=msgspec.structs.replace(spec, template=template, selector=None),
            status=msgspec.structs.replace(workload.status, conditions=_read_conditions(workload.status.conditions)),
        )

    def link(self, workload: Workload) -> Workload:
        """Returns the identity and the owner of a controller between a workload and its Pods."""
        owner = workload.metadata.controller()
        metadata = Metadata(
            name=workload.metadata.name,
            namespace=self.intern(workload.metadata.namespace),
            uid=workload.metadata.uid,
            owner_references=self.intern(() if owner is None else (owner,)),
        )
        return Workload(kind=workload.kind, metadata=metadata)

    def intern(self, value: T) -> T:
        """Returns the kept object that equals `value`."""
        return cast("T", self._known.setdefault((type(value), self._encode(value)), value))


def _read_conditions(conditions: tuple[Condition, ...] | None) -> tuple[Condition, ...]:
    return tuple(condition for condition in conditions or () if condition.reason not in _UNREAD_REASONS)


def _has_template(reference: OwnerReference | None) -> bool:
    return reference is not None and kind_of(reference) in READ_KINDS


def _annotations(annotations: Mapping[str, str], reference: OwnerReference | None) -> dict[str, str]:
    if _has_template(reference):
        return {key: value for key, value in annotations.items() if _is_read(key)}
    # The Pod is its own template, and an injection template may read any annotation.
    return _without_last_applied(annotations)


def _without_last_applied(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if key != LAST_APPLIED_CONFIGURATION}


@lru_cache(maxsize=4096)
def _is_read(annotation: str) -> bool:
    return any(domain in annotation for domain in _ANNOTATION_DOMAINS)


def _spec(spec: PodSpec, raw: str | None, *, with_causes: bool = False) -> PodSpec:
    """The spec, with resources of proxies alone. `with_causes`: with the fields that explain why a Pod does not run."""
    first = spec.init_containers
    return PodSpec(
        containers=tuple(_container(container) for container in spec.containers),
        init_containers=None if first is None else tuple(_container(container) for container in first),
        host_network=spec.host_network,
        service_account_name=spec.service_account_name,
        node_name=spec.node_name if with_causes else "",
        image_pull_secrets=spec.image_pull_secrets if with_causes else None,
        raw=raw,
    )


def _container(container: Container) -> Container:
    if container.name == PROXY_CONTAINER:
        return container
    return Container(name=container.name, image=container.image)


def _healthy_status(status: PodStatus) -> PodStatus:
    """Returns the status of a healthy Pod: that it is Ready, and which proxy really runs."""
    return PodStatus(
        phase=status.phase,
        conditions=tuple(
            Condition(type="Ready", status=one.status) for one in status.conditions or () if one.type == "Ready"
        ),
        container_statuses=_proxies(status.container_statuses),
        init_container_statuses=_proxies(status.init_container_statuses),
    )


def _proxies(statuses: tuple[ContainerStatus, ...] | None) -> tuple[ContainerStatus, ...]:
    return tuple(
        ContainerStatus(name=one.name, image_id=one.image_id) for one in statuses or () if one.name == PROXY_CONTAINER
    )
