"""The top owner of a Pod: its controller, the controller of that, and so on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from mesh.k8s.kinds import READ_KINDS, TEMPLATE_KINDS, kind_of
from mesh.k8s.objects import Container, Metadata, OwnerReference, Pod, PodSpec, PodTemplate, Workload
from mesh.k8s.workload_ref import WorkloadRef
from mesh.wellknown import INIT_CONTAINER, PROXY_CONTAINER, SIDECAR_STATUS, VALIDATION_CONTAINER

#: Containers that the injector adds; without them a standalone Pod is its own template.
_INJECTED_CONTAINERS = frozenset({PROXY_CONTAINER, INIT_CONTAINER, VALIDATION_CONTAINER})
#: Characters of a name. Source: k8s.io/apimachinery/pkg/util/validation, DNS1123SubdomainMaxLength.
_NAME_LIMIT = 253
_UNPRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class Owner:
    """The top owner of a Pod.

    `workload` is None for standalone Pods and for kinds that are not read (custom controllers, nodes).
    `template` is that of the next Pod: the topmost template that is known, or the Pod itself.
    `direct` is the Pod's own controller, where it was read: the Job of a CronJob.
    `gone`: an owner of a kind that is read does not exist any more.
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


def workloads_by_uid(workloads: Iterable[Workload]) -> dict[str, Workload]:
    """Returns the workloads by UID. Argo Rollouts have the template of the workload that they refer to."""
    by_uid = {workload.metadata.uid: workload for workload in workloads}
    borrowers = [(one, reference) for one in by_uid.values() if (reference := one.spec.workload_ref) is not None]
    if borrowers:
        sources = {one.ref: one for one in by_uid.values() if one.kind in TEMPLATE_KINDS}
        for rollout, reference in borrowers:
            source = sources.get(WorkloadRef(rollout.metadata.namespace, reference.kind, reference.name))
            if source is not None:
                by_uid[rollout.metadata.uid] = with_template_of(rollout, source)
    return by_uid


def missing_kinds(pods: Iterable[Pod], owners: Mapping[str, Workload]) -> set[str]:
    """Returns the kinds, among those that are read, of owners that were not found."""
    owned = (*(pod.metadata for pod in pods), *(owner.metadata for owner in owners.values()))
    controllers = [controller for metadata in owned if (controller := metadata.controller()) is not None]
    kinds = {kind_of(controller) for controller in controllers if controller.uid not in owners}
    return kinds & set(READ_KINDS)


def with_template_of(rollout: Workload, source: Workload) -> Workload:
    """Returns an Argo Rollout with the template of the workload that it refers to, and its selector if it has none.

    Source: argoproj/argo-rollouts, rollout/templateref.go.
    """
    selector = rollout.spec.selector or source.spec.selector
    spec = msgspec.structs.replace(rollout.spec, template=source.spec.template, selector=selector)
    return msgspec.structs.replace(rollout, spec=spec)


def top_owner(pod: Pod, owners: Mapping[str, Workload], unread: frozenset[str] = frozenset()) -> Owner:
    """Returns the top owner of a Pod, found along its controller references.

    `owners` holds every workload that was read, by UID; workloads of the kinds in `unread` may be missing. Anyone may
    write references: one into another namespace is ignored (as by Kubernetes' garbage collector), and a cycle of owners
    ends the search.
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
            return Owner(_sanitized(kind), namespace, _sanitized(reference.name), None, known, direct, gone=gone)
        template = workload.template or template
        seen.add(reference.uid)
        above = workload.metadata.controller()
        if above is None or above.uid in seen:
            known = template or uninjected(pod)
            return Owner(workload.kind, namespace, workload.metadata.name, workload, known, direct)
        reference = above


def _sanitized(name: str) -> str:
    """Returns a kind or name shortened to what one can be: the API server does not check them in a reference."""
    return _UNPRINTABLE.sub("?", name)[:_NAME_LIMIT]


def _owner(reference: OwnerReference, namespace: str, owners: Mapping[str, Workload]) -> Workload | None:
    workload = owners.get(reference.uid)
    return workload if workload is not None and workload.metadata.namespace == namespace else None


def uninjected(pod: Pod) -> PodTemplate:
    """Returns the template of a standalone Pod: the Pod without what the injector added."""
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
            containers=_without_injected(pod.spec.containers),
            init_containers=_without_injected(pod.spec.init_containers or ()),
            host_network=pod.spec.host_network,
            service_account_name=pod.spec.service_account_name,
            raw=pod.spec.raw,
        ),
    )


def _without_injected(containers: tuple[Container, ...]) -> tuple[Container, ...]:
    return tuple(container for container in containers if container.name not in _INJECTED_CONTAINERS)
