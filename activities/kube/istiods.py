"""Reads the istiod Deployments of a cluster, of which each is the control plane of a revision."""

from __future__ import annotations

from dataclasses import dataclass

from activities.kube.client import ClusterClient
from activities.kube.paths import path
from activities.kube.workloads import with_kind
from mesh.k8s.objects import Workload
from mesh.wellknown import ISTIO_NAMESPACE, REVISION


@dataclass(frozen=True, slots=True)
class Istiod:
    """One istiod Deployment and the image of its container `discovery`, empty where it has none."""

    revision: str
    workload: Workload
    image: str


async def read_istiods(cluster: ClusterClient) -> list[Istiod]:
    """Reads every istiod Deployment, sorted by revision."""
    query = {"labelSelector": "app=istiod"}
    deployments, _ = await cluster.list_all(path("Deployment", ISTIO_NAMESPACE), Workload, query)
    return sorted(map(_istiod, deployments), key=lambda istiod: istiod.revision)


def _istiod(deployment: Workload) -> Istiod:
    template = deployment.spec.template
    containers = template.spec.containers if template else ()
    image = next((container.image for container in containers if container.name == "discovery"), "")
    revision = deployment.metadata.label(REVISION) or "default"
    return Istiod(revision, with_kind(deployment, "Deployment"), image)
