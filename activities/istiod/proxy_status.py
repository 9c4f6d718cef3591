"""Asks every istiod which proxies are connected to it and what version they run, and what version it is itself.

Each Pod of istiod is asked at its own IP, for each knows its own connections only. Where no Pod of a revision has a
list to give, the revision's Service is asked instead, which is one of them. From outside of the cluster neither may
be reachable: then nothing is known, and that is no error.

Nothing is sent to prove who asks: the connection's credentials are the API server's and nobody else's. An istiod that
wants proof (401, 403) is one that could not be asked.
Source: `/debug/syncz` and `/version` of istio/istio, pilot/pkg/xds/debug.go (allowAuthenticatedOrLocalhost).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import aiohttp
import msgspec

from activities.istiod.addresses import read_service_ip, url_host
from activities.kube.client import ClusterClient
from activities.kube.paths import path
from mesh.errors import PermissionDeniedError, UpgradeError
from mesh.istio.proxy_status import ConnectedProxies, Listing, put_together, read_listing, read_version
from mesh.k8s.objects import Metadata
from mesh.text import one_line
from mesh.wellknown import ISTIO_NAMESPACE, REVISION

MONITORING_PORT = 15014

_AT_ONCE = 16
_PATIENCE = aiohttp.ClientTimeout(total=20, sock_connect=2)
#: A proxy takes about 1 kB of an answer: this is more than any istiod serves.
_MOST_BYTES = 256 * 1024 * 1024


class _Istiod(msgspec.Struct, frozen=True):
    """A Pod of istiod, as far as it says where it is."""

    class Status(msgspec.Struct, frozen=True, rename={"pod_ip": "podIP"}):
        """Its `status`."""

        pod_ip: str = ""

    metadata: Metadata = Metadata()
    status: Status = Status()

    @property
    def revision(self) -> str:
        return self.metadata.label(REVISION) or "default"


async def read_connected_proxies(cluster: ClusterClient) -> ConnectedProxies:
    """What all running istiods say about the proxies connected to them; their troubles are in its `problems`.

    Takes at most about 40 s for 16 istiods: a revision's Pods are asked together, then perhaps its Service.

    Raises:
        UpgradeError: the API server does not answer.
    """
    asked = {"labelSelector": "app=istiod", "fieldSelector": "status.phase=Running"}
    try:
        istiods, _ = await cluster.list_all(path("Pod", ISTIO_NAMESPACE), _Istiod, asked)
    except PermissionDeniedError as error:
        return ConnectedProxies(problems=(f"Pods of istiod cannot be read: {error.message}",))
    if not istiods:
        return ConnectedProxies(problems=(f"no istiod runs in {ISTIO_NAMESPACE}",))
    revisions = sorted({one.revision for one in istiods})
    limit = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        inquiry = _Inquiry(cluster, session, limit)
        found = await asyncio.gather(
            *(inquiry.revision(name, [one for one in istiods if one.revision == name]) for name in revisions)
        )
    return put_together(listing for listings in found for listing in listings)


class _Inquiry:
    """One round of questions."""

    def __init__(self, cluster: ClusterClient, session: aiohttp.ClientSession, limit: asyncio.Semaphore) -> None:
        self._cluster = cluster
        self._session = session
        self._limit = limit

    async def revision(self, name: str, pods: Sequence[_Istiod]) -> list[Listing]:
        listings = await asyncio.gather(*(self._ask(name, one.metadata.name, one.status.pod_ip) for one in pods))
        if any(listing.problem is None for listing in listings):
            return listings
        listing = await self._ask_service(name)
        if listing.problem is not None:
            return [*listings, listing]
        if len(pods) == 1:
            # The one behind the Service is this very Pod.
            return [listing]
        return [
            listing,
            Listing(name, problem=f"{listing.istiod} is only one of {len(pods)} istiods of revision {name}"),
        ]

    async def _ask_service(self, revision: str) -> Listing:
        name = "istiod" if revision == "default" else f"istiod-{revision}"
        istiod = f"Service {name}"
        try:
            host = await read_service_ip(self._cluster, ISTIO_NAMESPACE, name)
        except UpgradeError as error:
            return Listing(istiod, problem=f"{istiod} is unknown: {error.message}")
        return await self._ask(revision, istiod, host)

    async def _ask(self, revision: str, istiod: str, host: str) -> Listing:
        if not host:
            return Listing(istiod, problem=f"{istiod} has no IP address")
        address = f"http://{url_host(host)}:{MONITORING_PORT}"
        try:
            async with self._limit:
                status, content = await self._get(f"{address}/debug/syncz")
                if status != 200:
                    return Listing(istiod, problem=_refusal(istiod, status))
                listing = read_listing(istiod, content)
                _, build = await self._get(f"{address}/version")
        except _EndlessError:
            return Listing(istiod, problem=f"the answer of {istiod} does not end")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = one_line(str(error)) or type(error).__name__
            return Listing(istiod, problem=f"{istiod} does not answer: {reason}")
        return dataclasses.replace(listing, revision=revision, version=read_version(build))

    async def _get(self, address: str) -> tuple[int, bytes]:
        async with self._session.get(address, allow_redirects=False) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise _EndlessError
            return response.status, bytes(content)


class _EndlessError(Exception):
    """More than any istiod has to say."""


def _refusal(istiod: str, status: int) -> str:
    if status in (401, 403):
        return f"{istiod} shows its proxies only to identities that it knows (HTTP {status})"
    return f"{istiod} does not list its proxies (HTTP {status})"
