"""Reads which cluster this is, and which kinds its API server serves."""

from __future__ import annotations

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import NAMESPACES, group
from mesh.errors import PermissionDeniedError
from mesh.k8s.objects import Namespace
from mesh.wellknown import SYSTEM_NAMESPACE


class _ResourceList(msgspec.Struct, frozen=True):
    """An APIResourceList: what a group and version consists of."""

    class Resource(msgspec.Struct, frozen=True):
        """One kind of the group."""

        kind: str = ""

    resources: tuple[Resource, ...] = ()


async def read_uid(cluster: ClusterClient) -> str:
    """Reads the UID of namespace kube-system, which stands for the cluster: names of clusters may be taken twice."""
    return (await cluster.get(f"{NAMESPACES}/{SYSTEM_NAMESPACE}", Namespace)).metadata.uid


async def serves_kind(cluster: ClusterClient, kind: str) -> bool:
    """Whether the API server has a kind of custom resource; True without the permission to ask."""
    try:
        served = await cluster.find(group(kind), _ResourceList)
    except PermissionDeniedError:
        return True
    name = kind.partition(".")[0]
    return served is not None and any(resource.kind == name for resource in served.resources)
