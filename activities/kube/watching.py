"""What changed in the cluster: one watch per kind for the whole cluster, for everybody who waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from activities.kube.client import Cluster, Page
from activities.kube.paths import path
from mesh.errors import ExpiredError, UnreachableError
from mesh.objects import Metadata

_KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job")
_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Change:
    """Something about this object changed, or it is gone."""

    kind: str
    namespace: str
    name: str


class _Changed(msgspec.Struct, frozen=True):
    metadata: Metadata = Metadata()


async def follow(cluster: Cluster, report: Callable[[Change], None]) -> None:
    """Reports every change of Pods and of workloads from now on. Never ends; a cut watch goes on where it was."""
    async with asyncio.TaskGroup() as group:
        for kind in _KINDS:
            group.create_task(_follow(cluster, kind, report))


async def _follow(cluster: Cluster, kind: str, report: Callable[[Change], None]) -> None:
    where = path(kind)
    version = ""
    while True:
        try:
            if not version:
                # One item is enough to learn the version to watch from.
                page = await cluster.get(where, Page, {"limit": 1})
                version = page.metadata.resource_version
            async for type_, raw in cluster.watch(where, version):
                metadata = msgspec.json.decode(raw, type=_Changed).metadata
                version = metadata.resource_version
                if type_ != "BOOKMARK":
                    report(Change(kind, metadata.namespace, metadata.name))
        except ExpiredError:
            version = ""
        except UnreachableError:
            await asyncio.sleep(_AGAIN_SECONDS)
