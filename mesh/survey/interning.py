"""Objects made small while they are read: 10,000 Pods in a few megabytes.

Pods of one workload differ in their names and times only. Everything else of them is kept once, and of Pods that are
well, nothing but that. Judging a compact object gives what judging the whole one gives (a property test compares).
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

#: Domains whose annotations some rule or Istio's own template reads; network plug-ins write others, unlike in each Pod.
_DOMAINS = ("istio.io/", "kyma-project.io/")
#: Reasons of a Deployment's conditions that nobody asks for.
_ALL_IS_WELL = frozenset({"NewReplicaSetAvailable", "MinimumReplicasAvailable"})
_TEMPLATE_ABOVE = frozenset({("ReplicaSet", "Deployment"), ("Job", "CronJob")})


class Interner:
    """Keeps equal parts once. Lives as long as one reading, which `now` is the time of."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._known: dict[tuple[type, bytes], object] = {}
        self._encode = msgspec.msgpack.Encoder().encode

    def __len__(self) -> int:
        """How many different parts it keeps."""
        return len(self._known)

    def pod(self, pod: Pod) -> Pod:
        """What judging needs of a Pod."""
        about = pod.metadata
        reference = about.controller()
        leaving = about.deletion_timestamp is not None
        well = not leaving and (pod.status.phase == "Succeeded" or pod_cause(pod, self._now) is None)
        return Pod(
            metadata=Metadata(
                name=about.name,
                namespace=self.intern(about.namespace),
                uid=about.uid,
                labels=self.intern(about.labels),
                annotations=self.intern(_annotations(about.annotations or {}, reference)),
                creation_timestamp=about.creation_timestamp,
                deletion_timestamp=about.deletion_timestamp,
                finalizers=about.finalizers if leaving else None,
                owner_references=self.intern(() if reference is None else (reference,)),
            ),
            spec=self.intern(_spec(pod.spec, None if _has_template(reference) else pod.spec.raw, placed=not well)),
            status=self.intern(_well(pod.status)) if well or leaving else pod.status,
        )

    def workload(self, workload: Workload) -> Workload:
        """What judging needs of a controller."""
        about, spec = workload.metadata, workload.spec
        reference = about.controller()
        # There are ten old ReplicaSets for each Deployment, and its own template is the one that counts. That of an
        # Argo Rollout may lie where it is not read: of its ReplicaSets, those that have Pods keep theirs.
        below = reference is not None and (workload.kind, kind_of(reference)) in _TEMPLATE_ABOVE
        emptied = reference is not None and workload.kind == "ReplicaSet" and not workload.status.replicas
        template = None if below or emptied else spec.template
        if template is not None:
            made = template.metadata
            template = msgspec.structs.replace(
                template,
                metadata=Metadata(labels=self.intern(made.labels), annotations=self.intern(made.annotations)),
                spec=self.intern(_spec(template.spec, template.spec.raw)),
            )
        return msgspec.structs.replace(
            workload,
            metadata=Metadata(
                name=about.name,
                namespace=self.intern(about.namespace),
                uid=about.uid,
                generation=about.generation,
                labels=self.intern(about.labels),
                annotations=self.intern(_without_last_applied(about.annotations or {})),
                owner_references=self.intern(() if reference is None else (reference,)),
            ),
            spec=msgspec.structs.replace(spec, template=template, selector=None),
            status=msgspec.structs.replace(workload.status, conditions=_telling(workload.status.conditions)),
        )

    def link(self, workload: Workload) -> Workload:
        """Of a controller between a workload and its Pods: which it is, and whose."""
        about = workload.metadata
        above = about.controller()
        metadata = Metadata(
            name=about.name,
            namespace=self.intern(about.namespace),
            uid=about.uid,
            owner_references=self.intern(() if above is None else (above,)),
        )
        return Workload(kind=workload.kind, metadata=metadata)

    def intern(self, value: T) -> T:
        """The one kept object that equals `value`."""
        return cast("T", self._known.setdefault((type(value), self._encode(value)), value))


def _telling(conditions: tuple[Condition, ...] | None) -> tuple[Condition, ...]:
    return tuple(one for one in conditions or () if one.reason not in _ALL_IS_WELL)


def _has_template(reference: OwnerReference | None) -> bool:
    return reference is not None and kind_of(reference) in READ_KINDS


def _annotations(found: Mapping[str, str], reference: OwnerReference | None) -> dict[str, str]:
    if _has_template(reference):
        return {key: value for key, value in found.items() if _is_read(key)}
    # The Pod is its own template, and an injection template may read any annotation.
    return _without_last_applied(found)


def _without_last_applied(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if key != LAST_APPLIED_CONFIGURATION}


@lru_cache(maxsize=4096)
def _is_read(annotation: str) -> bool:
    return any(domain in annotation for domain in _DOMAINS)


def _spec(spec: PodSpec, raw: str | None, *, placed: bool = False) -> PodSpec:
    """Resources are compared for proxies alone. `placed`: with its node and Secrets, which tell why it does not run."""
    first = spec.init_containers
    return PodSpec(
        containers=tuple(_container(one) for one in spec.containers),
        init_containers=None if first is None else tuple(_container(one) for one in first),
        host_network=spec.host_network,
        service_account_name=spec.service_account_name,
        node_name=spec.node_name if placed else "",
        image_pull_secrets=spec.image_pull_secrets if placed else None,
        raw=raw,
    )


def _container(one: Container) -> Container:
    return one if one.name == PROXY_CONTAINER else Container(name=one.name, image=one.image)


def _well(status: PodStatus) -> PodStatus:
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
