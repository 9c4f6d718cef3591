"""Who manages a Pod, followed to the top."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from mesh.k8s.kinds import READ_KINDS, TEMPLATE_KINDS, kind_of
from mesh.k8s.objects import Container, Metadata, OwnerReference, Pod, PodSpec, PodTemplate, Workload
from mesh.k8s.workload_ref import WorkloadRef
from mesh.wellknown import INIT_CONTAINER, PROXY_CONTAINER, SIDECAR_STATUS, VALIDATION_CONTAINER

#: What the injector adds and would add again; taken off a standalone Pod to learn what it would get now.
_INJECTED_CONTAINERS = frozenset({PROXY_CONTAINER, INIT_CONTAINER, VALIDATION_CONTAINER})
#: Of names: k8s.io/apimachinery/pkg/util/validation, DNS1123SubdomainMaxLength.
_LONGEST = 253
_UNPRINTED = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class Owner:
    """The top owner of a Pod.

    `workload` is None for standalone Pods and for kinds that are not read (custom controllers, nodes).
    `template` is what the next Pod would be made from: the topmost template known, or the Pod itself.
    `direct` is the controller that made the Pod, where it was read: a Job below its CronJob.
    `gone` tells that an owner of a kind that is read does not exist any more.
    """

    kind: str
    namespace: str
    name: str
    workload: Workload | None
    template: PodTemplate
    direct: Workload | None = None
    gone: bool = False

    @property
    def ref(self) -> WorkloadRef:
        """The workload's identity within its cluster."""
        return WorkloadRef(self.namespace, self.kind, self.name)


def by_uid(workloads: Iterable[Workload]) -> dict[str, Workload]:
    """What `top_owner` looks up; Argo Rollouts that take their template from another of the workloads have it."""
    found = {one.metadata.uid: one for one in workloads}
    takers = [(one, reference) for one in found.values() if (reference := one.spec.workload_ref) is not None]
    if takers:
        lenders = (one for one in found.values() if one.kind in TEMPLATE_KINDS)
        named = {one.ref: one for one in lenders}
        for one, reference in takers:
            lender = named.get(WorkloadRef(one.metadata.namespace, reference.kind, reference.name))
            if lender is not None:
                found[one.metadata.uid] = taking_from(one, lender)
    return found


def missing_kinds(pods: Iterable[Pod], owners: Mapping[str, Workload]) -> set[str]:
    """The kinds that are read, and of which an owner of a Pod or of its owner was not found."""
    about = (*(one.metadata for one in pods), *(one.metadata for one in owners.values()))
    makers = [maker for one in about if (maker := one.controller()) is not None]
    kinds = {kind_of(one) for one in makers if one.uid not in owners}
    return kinds & set(READ_KINDS)


def taking_from(rollout: Workload, lender: Workload) -> Workload:
    """An Argo Rollout with the template of its `workloadRef`, and with its selector if it has none of its own.

    Source: argoproj/argo-rollouts, rollout/templateref.go.
    """
    selector = rollout.spec.selector or lender.spec.selector
    spec = msgspec.structs.replace(rollout.spec, template=lender.spec.template, selector=selector)
    return msgspec.structs.replace(rollout, spec=spec)


def top_owner(pod: Pod, owners: Mapping[str, Workload], unread: frozenset[str] = frozenset()) -> Owner:
    """Follows controller references upwards.

    `owners` holds every workload that was read, by UID; of the kinds in `unread` not all may be read. Anybody may
    write references: one into another namespace means nothing (as for Kubernetes' garbage collector), and
    owners that own each other end the way up.
    """
    namespace = pod.metadata.namespace
    reference = pod.metadata.controller()
    if reference is None:
        return Owner("Pod", namespace, pod.metadata.name, None, uninjected(pod))
    direct = _owner(reference, namespace, owners)
    template = None
    seen: set[str] = set()
    while True:
        workload = _owner(reference, namespace, owners)
        if workload is None:
            kind, known = kind_of(reference), template or uninjected(pod)
            gone = kind in READ_KINDS and kind not in unread
            return Owner(_written(kind), namespace, _written(reference.name), None, known, direct, gone=gone)
        template = workload.template or template
        seen.add(reference.uid)
        above = workload.metadata.controller()
        if above is None or above.uid in seen:
            known = template or uninjected(pod)
            return Owner(workload.kind, namespace, workload.metadata.name, workload, known, direct)
        reference = above


def _written(name: str) -> str:
    """A kind or name as anybody may write it, cut to what one can be: the API server checks neither in a reference."""
    return _UNPRINTED.sub("?", name)[:_LONGEST]


def _owner(reference: OwnerReference, namespace: str, owners: Mapping[str, Workload]) -> Workload | None:
    workload = owners.get(reference.uid)
    return workload if workload is not None and workload.metadata.namespace == namespace else None


def uninjected(pod: Pod) -> PodTemplate:
    """The Pod as it was before injection, as far as injection is concerned."""
    if pod.metadata.annotation(SIDECAR_STATUS) is None:
        return PodTemplate(metadata=pod.metadata, spec=pod.spec)
    annotations = {k: v for k, v in (pod.metadata.annotations or {}).items() if k != SIDECAR_STATUS}
    return PodTemplate(
        metadata=Metadata(
            name=pod.metadata.name,
            namespace=pod.metadata.namespace,
            uid=pod.metadata.uid,
            labels=pod.metadata.labels,
            annotations=annotations,
        ),
        spec=PodSpec(
            containers=_own(pod.spec.containers),
            init_containers=_own(pod.spec.init_containers or ()),
            host_network=pod.spec.host_network,
            service_account_name=pod.spec.service_account_name,
            whole=pod.spec.whole,
        ),
    )


def _own(containers: tuple[Container, ...]) -> tuple[Container, ...]:
    return tuple(one for one in containers if one.name not in _INJECTED_CONTAINERS)
