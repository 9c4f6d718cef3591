"""Readings of single things: a workload, the control plane, what Kyma offers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import NAMESPACES, group, path
from mesh.errors import NotFoundError, PermissionDeniedError
from mesh.k8s.kinds import TEMPLATE_KINDS
from mesh.k8s.objects import Namespace, Pod, Workload
from mesh.k8s.owners import taking_from
from mesh.k8s.raw_spec import RawObject, workload_with_raw_spec
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.targets import (
    MANAGER,
    MODULE,
    Catalogue,
    ControlPlane,
    IstioResource,
    Kyma,
    ModuleReleaseMeta,
    ModuleTemplate,
)
from mesh.wellknown import FIELD_MANAGER, ISTIO_NAMESPACE, KYMA_NAMESPACE, REVISION, SYSTEM_NAMESPACE


@dataclass(frozen=True, slots=True)
class Istiod:
    """One istiod Deployment: the control plane of a revision."""

    revision: str
    workload: Workload
    image: str


class _Resources(msgspec.Struct, frozen=True):
    """An APIResourceList."""

    class Resource(msgspec.Struct, frozen=True):
        """One kind of the group."""

        kind: str = ""

    resources: tuple[Resource, ...] = ()


class _Service(msgspec.Struct, frozen=True):
    """A Service, as far as it says where it is."""

    class Spec(msgspec.Struct, frozen=True, rename={"cluster_ip": "clusterIP"}):
        """Its `spec`."""

        cluster_ip: str = ""

    spec: Spec = Spec()


async def read_service_host(cluster: ClusterClient, namespace: str, name: str) -> str:
    """The cluster IP of a Service, empty for a headless one: right inside the cluster without needing its DNS."""
    host = (await cluster.get(path("Service", namespace, name), _Service)).spec.cluster_ip
    return "" if host == "None" else host


def url_host(host: str) -> str:
    """An IP address as URLs have it."""
    return f"[{host}]" if ":" in host else host


async def read_uid(cluster: ClusterClient) -> str:
    """The UID of namespace kube-system: what makes this cluster this cluster."""
    return (await cluster.get(f"{NAMESPACES}/{SYSTEM_NAMESPACE}", Namespace)).metadata.uid


async def serves_kind(cluster: ClusterClient, kind: str) -> bool:
    """Whether the API server has a kind of custom resource; yes where that may not be asked."""
    try:
        served = await cluster.find(group(kind), _Resources)
    except PermissionDeniedError:
        return True
    name = kind.partition(".")[0]
    return served is not None and any(one.kind == name for one in served.resources)


async def read_workload(cluster: ClusterClient, ref: WorkloadRef) -> Workload:
    """One workload, fresh, an Argo Rollout with the template that it takes; NotFoundError when it is gone."""
    where = path(ref.kind, ref.namespace, ref.name)
    found = workload_with_raw_spec(await cluster.get(where, RawObject), ref.kind)
    reference = found.spec.workload_ref
    if reference is None or reference.kind not in TEMPLATE_KINDS:
        return found
    lender = await cluster.find(path(reference.kind, ref.namespace, reference.name), RawObject)
    return found if lender is None else taking_from(found, workload_with_raw_spec(lender, reference.kind))


async def read_pods(cluster: ClusterClient, workload: Workload) -> list[Pod]:
    """The Pods that its selector selects."""
    query = {"labelSelector": workload.label_selector.query()}
    found, _ = await cluster.list_all(path("Pod", workload.metadata.namespace), Pod, query)
    return found


class _Written(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of `metadata.managedFields`."""

    manager: str = ""
    subresource: str = ""
    time: datetime | None = None


class _Managed(msgspec.Struct, frozen=True):
    """An object, as far as it tells who writes it."""

    class Metadata(msgspec.Struct, frozen=True, rename="camel"):
        """Its `metadata`."""

        managed_fields: tuple[_Written, ...] = ()

    metadata: Metadata = Metadata()


async def read_template_manager(cluster: ClusterClient, where: str, since: datetime) -> str:
    """Who wrote an object's spec last since then, besides this service.

    Taking a field away leaves no trace of itself (structured-merge-diff, merge/update.go): then only who else manages
    the object can be told.
    """
    entries = (await cluster.get(where, _Managed)).metadata.managed_fields
    others = [one for one in entries if not one.subresource and one.manager != FIELD_MANAGER]
    written = [(one.time, one.manager) for one in others if one.time is not None and one.time >= since]
    if written:
        return max(written)[1]
    names = ", ".join(sorted({one.manager for one in others}))
    return f"somebody who left no trace; it is managed by {names}" if names else "somebody"


async def _workloads(cluster: ClusterClient, kind: str, namespace: str) -> list[Workload]:
    found, _ = await cluster.list_all(path(kind, namespace), Workload)
    return [with_kind(one, kind) for one in found]


def with_kind(workload: Workload, kind: str) -> Workload:
    """Items of a list do not say their kind."""
    return msgspec.structs.replace(workload, kind=kind)


async def read_istiods(cluster: ClusterClient) -> list[Istiod]:
    """Every istiod Deployment, sorted by revision."""
    found, _ = await cluster.list_all(path("Deployment", ISTIO_NAMESPACE), Workload, {"labelSelector": "app=istiod"})
    istiods = []
    for one in found:
        template = one.spec.template
        containers = template.spec.containers if template else ()
        image = next((c.image for c in containers if c.name == "discovery"), "")
        revision = one.metadata.label(REVISION) or "default"
        istiods.append(Istiod(revision, with_kind(one, "Deployment"), image))
    return sorted(istiods, key=lambda one: one.revision)


async def read_catalogue(cluster: ClusterClient) -> Catalogue:
    """What Kyma's module management offers; NotFoundError when this is no Kyma cluster."""
    kyma = await cluster.get(path("Kyma", KYMA_NAMESPACE, "default"), Kyma)
    istio = await cluster.find(path("Istio", KYMA_NAMESPACE, "default"), IstioResource)
    release = await cluster.find(path("ModuleReleaseMeta", KYMA_NAMESPACE, MODULE), ModuleReleaseMeta)
    channels = {one.channel: one.version for one in release.spec.channels} if release else {}
    templates = {}
    for version in set(channels.values()):
        template = await cluster.find(path("ModuleTemplate", KYMA_NAMESPACE, f"{MODULE}-{version}"), ModuleTemplate)
        if template is not None:
            templates[version] = template
    return Catalogue(kyma, istio or IstioResource(), channels, templates)


async def read_control_plane(cluster: ClusterClient) -> ControlPlane:
    """Everything that the check of an upgrade looks at."""
    kyma, istio = await asyncio.gather(
        cluster.get(path("Kyma", KYMA_NAMESPACE, "default"), Kyma),
        cluster.find(path("Istio", KYMA_NAMESPACE, "default"), IstioResource),
    )
    try:
        manager: Workload | None = await read_workload(cluster, WorkloadRef(KYMA_NAMESPACE, "Deployment", MANAGER))
    except NotFoundError:
        manager = None
    pods: list[Pod] = []
    if manager is not None:
        selector = manager.label_selector.query()
        pods, _ = await cluster.list_all(path("Pod", KYMA_NAMESPACE), Pod, {"labelSelector": selector})
    deployments, daemon_sets = await asyncio.gather(
        _workloads(cluster, "Deployment", ISTIO_NAMESPACE), _workloads(cluster, "DaemonSet", ISTIO_NAMESPACE)
    )
    return ControlPlane(kyma, istio or IstioResource(), manager, pods, [*deployments, *daemon_sets])
