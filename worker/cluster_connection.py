"""Which cluster, by the settings. Apart from the worker's parts: `scan` needs neither Temporal nor its libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from activities.kube.client import ClusterClient
from activities.kube.client import connect as connect_cluster
from activities.kube.discovery import read_uid
from mesh.errors import PermissionDeniedError, RefusedError, UnreachableError
from mesh.identity import cluster_name
from worker.settings import ClusterSettings

#: Seconds until a cluster that does not answer counts as not reachable: a person waits for this.
_FIRST_ANSWER = 15.0


@asynccontextmanager
async def compose_view(settings: ClusterSettings) -> AsyncIterator[tuple[ClusterClient, str]]:
    """The connection to the cluster, and its name: whoever only looks needs no right to read its UID."""
    async with await connect(settings) as cluster:
        name = name_of(cluster, settings)
        try:
            await first_uid(cluster)
        except PermissionDeniedError as error:
            if error.status != 403:
                raise
        yield cluster, name


async def connect(settings: ClusterSettings) -> ClusterClient:
    """A connection by these settings; it is not tried yet."""
    return await connect_cluster(_kubeconfig(settings), settings.context)


def _kubeconfig(settings: ClusterSettings) -> str | None:
    if settings.kubeconfig is not None and not Path(settings.kubeconfig).expanduser().is_file():
        raise RefusedError(f"There is no kubeconfig {settings.kubeconfig}.", "Check --kubeconfig.")
    return settings.kubeconfig


def name_of(cluster: ClusterClient, settings: ClusterSettings) -> str:
    """The cluster's name in workflow ids: as configured, else the context's."""
    text = settings.cluster or cluster.context
    if not text:
        raise RefusedError(
            "This cluster has no name: there is no kubeconfig context here.",
            "Name it with --cluster or KYMA_UPGRADE_CLUSTER.",
        )
    return cluster_name(text)


async def first_uid(cluster: ClusterClient) -> str:
    """The UID that makes this cluster this cluster; UnreachableError when it does not come soon."""
    try:
        async with asyncio.timeout(_FIRST_ANSWER):
            return await read_uid(cluster)
    except TimeoutError as error:
        raise UnreachableError(
            f"The cluster at {cluster.host} does not answer.", "Check the kubeconfig and the network."
        ) from error
