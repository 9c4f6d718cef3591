"""Reads the custom resources of Kyma's module management, and what the check of a control plane needs."""

from __future__ import annotations

import asyncio

from activities.kube.client import ClusterClient
from activities.kube.paths import path
from activities.kube.workloads import read_workload, with_kind
from mesh.errors import NotFoundError
from mesh.k8s.objects import Pod, Workload
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.readiness import MANAGER, ControlPlaneState
from mesh.kyma.resources import MODULE, IstioResource, Kyma, ModuleReleaseMeta, ModuleTemplate
from mesh.kyma.targets import Catalogue
from mesh.wellknown import ISTIO_NAMESPACE, KYMA_NAMESPACE


async def read_catalogue(cluster: ClusterClient) -> Catalogue:
    """Reads which Istio modules Kyma offers, and which one is installed.

    Raises:
        NotFoundError: there is no Kyma CR.
    """
    kyma = await cluster.get(path("Kyma", KYMA_NAMESPACE, "default"), Kyma)
    istio = await cluster.find(path("Istio", KYMA_NAMESPACE, "default"), IstioResource)
    release = await cluster.find(path("ModuleReleaseMeta", KYMA_NAMESPACE, MODULE), ModuleReleaseMeta)
    channels = {channel.channel: channel.version for channel in release.spec.channels} if release else {}
    templates = {}
    for version in set(channels.values()):
        template = await cluster.find(path("ModuleTemplate", KYMA_NAMESPACE, f"{MODULE}-{version}"), ModuleTemplate)
        if template is not None:
            templates[version] = template
    return Catalogue(kyma, istio or IstioResource(), channels, templates)


async def read_control_plane(cluster: ClusterClient) -> ControlPlaneState:
    """Reads the Kyma and Istio CRs, the module's manager with its Pods, and the workloads of the control plane.

    Raises:
        NotFoundError: there is no Kyma CR.
    """
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
        _istio_workloads(cluster, "Deployment"), _istio_workloads(cluster, "DaemonSet")
    )
    return ControlPlaneState(kyma, istio or IstioResource(), manager, pods, [*deployments, *daemon_sets])


async def _istio_workloads(cluster: ClusterClient, kind: str) -> list[Workload]:
    workloads, _ = await cluster.list_all(path(kind, ISTIO_NAMESPACE), Workload)
    return [with_kind(workload, kind) for workload in workloads]
