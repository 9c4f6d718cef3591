"""Readings of a cluster as the snapshots that the pure core decides on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from activities.kube.client import Cluster
from activities.kube.paths import NAMESPACES, WEBHOOKS, path
from mesh.errors import NotFoundError
from mesh.injection import Injector, injection_webhooks, injector_config
from mesh.kyma import (
    MANAGER,
    MODULE,
    NAMESPACE,
    Catalogue,
    ControlPlane,
    IstioResource,
    Kyma,
    ModuleReleaseMeta,
    ModuleTemplate,
)
from mesh.objects import ConfigMap, DisruptionBudget, Namespace, Pod, WebhookConfiguration, Workload
from mesh.owners import READ_KINDS
from mesh.survey import World

ISTIO_NAMESPACE = "istio-system"
_INJECTOR_SELECTOR = "istio-sidecar-injector"


@dataclass(frozen=True, slots=True)
class Istiod:
    """One istiod Deployment: the control plane of a revision."""

    revision: str
    workload: Workload
    image: str


async def read_uid(cluster: Cluster) -> str:
    """The UID of namespace kube-system: what makes this cluster this cluster."""
    return (await cluster.get(f"{NAMESPACES}/kube-system", Namespace)).metadata.uid


async def read_injector(cluster: Cluster) -> Injector:
    """Webhooks and injector ConfigMaps of every revision, as they are now."""
    hooks, _ = await cluster.list_all(WEBHOOKS, WebhookConfiguration)
    maps, _ = await cluster.list_all(path("ConfigMap", ISTIO_NAMESPACE), ConfigMap)
    configs = [injector_config(one) for one in maps if one.metadata.name.startswith(_INJECTOR_SELECTOR)]
    return Injector(injection_webhooks(hooks), {one.revision: one for one in configs})


async def read_world(cluster: Cluster, namespaces: Sequence[str] = ()) -> World:
    """Pods, their owners and what decides about injection.

    Owners are read after the Pods: the newer side may only know more than the older one asks for.
    """
    taken_at = datetime.now(UTC)
    scopes: Sequence[str | None] = list(namespaces) or [None]
    pods: list[Pod] = []
    version = ""
    for scope in scopes:
        found, version = await cluster.list_all(path("Pod", scope), Pod)
        pods += found
    kinds = [(kind, scope) for kind in READ_KINDS for scope in scopes]
    reading_workloads = asyncio.gather(*(_workloads(cluster, kind, scope) for kind, scope in kinds))
    spaces, injector, budgets, workloads = await asyncio.gather(
        cluster.list_all(NAMESPACES, Namespace), read_injector(cluster), _budgets(cluster, scopes), reading_workloads
    )
    return World(
        taken_at=taken_at,
        resource_version=version,
        namespaces={one.metadata.name: one for one in spaces[0]},
        pods=tuple(pods),
        owners={one.metadata.uid: one for group in workloads for one in group},
        injector=injector,
        budgets=tuple(budgets),
    )


async def _workloads(cluster: Cluster, kind: str, scope: str | None) -> list[Workload]:
    found, _ = await cluster.list_all(path(kind, scope), Workload)
    # Items of a list do not say their kind.
    return [msgspec.structs.replace(one, kind=kind) for one in found]


async def _budgets(cluster: Cluster, scopes: Sequence[str | None]) -> list[DisruptionBudget]:
    found = await asyncio.gather(
        *(cluster.list_all(path("PodDisruptionBudget", scope), DisruptionBudget) for scope in scopes)
    )
    return [one for group, _ in found for one in group]


async def read_workload(cluster: Cluster, kind: str, namespace: str, name: str) -> Workload:
    """One workload, fresh; NotFoundError when it is gone."""
    found = await cluster.get(path(kind, namespace, name), Workload)
    return msgspec.structs.replace(found, kind=kind)


async def read_istiods(cluster: Cluster) -> list[Istiod]:
    """Every istiod Deployment, sorted by revision."""
    found, _ = await cluster.list_all(path("Deployment", ISTIO_NAMESPACE), Workload, {"labelSelector": "app=istiod"})
    istiods = []
    for one in found:
        template = one.spec.template
        containers = template.spec.containers if template else ()
        image = next((c.image for c in containers if c.name == "discovery"), "")
        revision = one.metadata.label("istio.io/rev") or "default"
        istiods.append(Istiod(revision, msgspec.structs.replace(one, kind="Deployment"), image))
    return sorted(istiods, key=lambda one: one.revision)


async def read_catalogue(cluster: Cluster) -> Catalogue:
    """What Kyma's module management offers; NotFoundError when this is no Kyma cluster."""
    kyma = await cluster.get(path("Kyma", NAMESPACE, "default"), Kyma)
    istio = await cluster.find(path("Istio", NAMESPACE, "default"), IstioResource)
    release = await cluster.find(path("ModuleReleaseMeta", NAMESPACE, MODULE), ModuleReleaseMeta)
    channels = {one.channel: one.version for one in release.spec.channels} if release else {}
    templates = {}
    for version in set(channels.values()):
        template = await cluster.find(path("ModuleTemplate", NAMESPACE, f"{MODULE}-{version}"), ModuleTemplate)
        if template is not None:
            templates[version] = template
    return Catalogue(kyma, istio or IstioResource(), channels, templates)


async def read_control_plane(cluster: Cluster) -> ControlPlane:
    """Everything that the check of an upgrade looks at."""
    kyma, istio = await asyncio.gather(
        cluster.get(path("Kyma", NAMESPACE, "default"), Kyma),
        cluster.find(path("Istio", NAMESPACE, "default"), IstioResource),
    )
    try:
        manager: Workload | None = await read_workload(cluster, "Deployment", NAMESPACE, MANAGER)
    except NotFoundError:
        manager = None
    pods: list[Pod] = []
    if manager is not None:
        selector = manager.label_selector.query()
        pods, _ = await cluster.list_all(path("Pod", NAMESPACE), Pod, {"labelSelector": selector})
    deployments, daemon_sets = await asyncio.gather(
        _workloads(cluster, "Deployment", ISTIO_NAMESPACE), _workloads(cluster, "DaemonSet", ISTIO_NAMESPACE)
    )
    return ControlPlane(kyma, istio or IstioResource(), manager, pods, [*deployments, *daemon_sets])
