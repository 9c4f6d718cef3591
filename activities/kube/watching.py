"""What changed in the cluster: one watch per kind for the whole cluster, for everybody who waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from activities.kube.client import ClusterClient, Page
from activities.kube.paths import path
from activities.kube.reads import serves_kind
from mesh.errors import ExpiredError, UnreachableError
from mesh.k8s.objects import Metadata
from mesh.k8s.owners import ARGO_ROLLOUT

#: Workloads, and what decides about them: labels of namespaces, budgets.
_KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "Namespace", "PodDisruptionBudget")
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """Something about this object changed, or it is gone."""

    kind: str
    namespace: str
    name: str


class _Changed(msgspec.Struct, frozen=True):
    metadata: Metadata = Metadata()


async def watch_changes(
    cluster: ClusterClient, on_change: Callable[[ObjectReference], None], on_started: Callable[[], None]
) -> None:
    """Reports every change of Pods and of workloads. Never ends; a cut watch goes on where it was.

    `on_started` is called once it is certain that no change from now on is missed.
    """
    kinds = (*_KINDS, ARGO_ROLLOUT) if await serves_kind(cluster, ARGO_ROLLOUT) else _KINDS
    versions = [await _version(cluster, kind) for kind in kinds]
    on_started()
    async with asyncio.TaskGroup() as group:
        for kind, version in zip(kinds, versions, strict=True):
            group.create_task(_follow(cluster, kind, version, on_change))


async def _version(cluster: ClusterClient, kind: str) -> str:
    # One item is enough to learn the version to watch from.
    page = await cluster.get(path(kind), Page, {"limit": 1})
    return page.metadata.resource_version


async def _follow(
    cluster: ClusterClient, kind: str, version: str, on_change: Callable[[ObjectReference], None]
) -> None:
    where = path(kind)
    while True:
        try:
            if not version:
                version = await _version(cluster, kind)
            async for type_, raw in cluster.watch(where, version):
                metadata = msgspec.json.decode(raw, type=_Changed).metadata
                version = metadata.resource_version
                if type_ != "BOOKMARK":
                    on_change(ObjectReference(kind, metadata.namespace, metadata.name))
        except ExpiredError:
            version = ""
        except UnreachableError:
            await asyncio.sleep(_AGAIN_SECONDS)
