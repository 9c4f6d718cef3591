"""What changed in the cluster: one watch per kind for the whole cluster, for everybody who waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from activities.kube.client import Cluster, Page
from activities.kube.paths import path
from activities.kube.reads import serves
from mesh.errors import ExpiredError, UnreachableError
from mesh.k8s.objects import Metadata
from mesh.k8s.owners import ARGO_ROLLOUT

#: Workloads, and what decides about them: labels of namespaces, budgets.
_KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "Namespace", "PodDisruptionBudget")
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Change:
    """Something about this object changed, or it is gone."""

    kind: str
    namespace: str
    name: str


class _Changed(msgspec.Struct, frozen=True):
    metadata: Metadata = Metadata()


async def follow(cluster: Cluster, report: Callable[[Change], None], begun: Callable[[], None]) -> None:
    """Reports every change of Pods and of workloads. Never ends; a cut watch goes on where it was.

    `begun` is called once it is certain that no change from now on is missed.
    """
    kinds = (*_KINDS, ARGO_ROLLOUT) if await serves(cluster, ARGO_ROLLOUT) else _KINDS
    versions = [await _version(cluster, kind) for kind in kinds]
    begun()
    async with asyncio.TaskGroup() as group:
        for kind, version in zip(kinds, versions, strict=True):
            group.create_task(_follow(cluster, kind, version, report))


async def _version(cluster: Cluster, kind: str) -> str:
    # One item is enough to learn the version to watch from.
    page = await cluster.get(path(kind), Page, {"limit": 1})
    return page.metadata.resource_version


async def _follow(cluster: Cluster, kind: str, version: str, report: Callable[[Change], None]) -> None:
    where = path(kind)
    while True:
        try:
            if not version:
                version = await _version(cluster, kind)
            async for type_, raw in cluster.watch(where, version):
                metadata = msgspec.json.decode(raw, type=_Changed).metadata
                version = metadata.resource_version
                if type_ != "BOOKMARK":
                    report(Change(kind, metadata.namespace, metadata.name))
        except ExpiredError:
            version = ""
        except UnreachableError:
            await asyncio.sleep(_AGAIN_SECONDS)
