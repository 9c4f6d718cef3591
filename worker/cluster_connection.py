"""The connection to the cluster that the settings name. Imports nothing of Temporal, which `scan` works without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from activities.kube.client import ClusterClient, connect
from activities.kube.discovery import read_uid
from mesh.errors import PermissionDeniedError, RefusedError, UnreachableError
from mesh.identity import cluster_name
from worker.settings import ClusterSettings

#: Seconds until a cluster that does not answer counts as unreachable: an operator waits for it.
_FIRST_ANSWER_SECONDS = 15.0


@asynccontextmanager
async def compose_reader(settings: ClusterSettings) -> AsyncIterator[tuple[ClusterClient, str]]:
    """Connects for reading only; yields the client and the name of the cluster.

    A reader needs no permission to read the UID of the cluster.
    """
    async with await connect_cluster(settings) as cluster:
        name = name_of(cluster, settings)
        try:
            await first_uid(cluster)
        except PermissionDeniedError as error:
            if error.status != 403:
                raise
        yield cluster, name


async def connect_cluster(settings: ClusterSettings) -> ClusterClient:
    """Returns a client; nothing is sent to the cluster yet."""
    return await connect(_kubeconfig(settings), settings.context)


def _kubeconfig(settings: ClusterSettings) -> str | None:
    if settings.kubeconfig is not None and not Path(settings.kubeconfig).expanduser().is_file():
        raise RefusedError(f"There is no kubeconfig {settings.kubeconfig}.", "Check --kubeconfig.")
    return settings.kubeconfig


def name_of(cluster: ClusterClient, settings: ClusterSettings) -> str:
    """Returns the cluster's name in workflow ids: the configured name, else the context's."""
    text = settings.cluster or cluster.context
    if not text:
        raise RefusedError(
            "The cluster has no name: there is no kubeconfig context.",
            "Name it with --cluster or KYMA_UPGRADE_CLUSTER.",
        )
    return cluster_name(text)


async def first_uid(cluster: ClusterClient) -> str:
    """Returns the UID that identifies the cluster.

    Raises:
        UnreachableError: the cluster does not answer within 15 seconds.
    """
    try:
        async with asyncio.timeout(_FIRST_ANSWER_SECONDS):
            return await read_uid(cluster)
    except TimeoutError as error:
        raise UnreachableError(
            f"The cluster at {cluster.host} does not answer.", "Check the kubeconfig and the network."
        ) from error
