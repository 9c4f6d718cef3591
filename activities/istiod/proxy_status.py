"""Asks every istiod which proxies are connected to it, what version they run, and what version it runs itself.

Each Pod of istiod is asked at its own IP, for each knows its own connections only. Where no Pod of a revision lists
its proxies, the revision's Service is asked instead, which is one of them. From outside of the cluster neither may be
reachable: then nothing is known, and that is no error.

No credentials are sent: those of the connection are for the API server and nothing else. An istiod that demands some
(401, 403) is one that could not be asked.
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
from mesh.istio.proxy_status import ConnectedProxies, IstiodListing, merge_listings, read_listing, read_version
from mesh.k8s.objects import Metadata
from mesh.text import one_line
from mesh.wellknown import ISTIO_NAMESPACE, REVISION

MONITORING_PORT = 15014

_REQUESTS_AT_ONCE = 16
_TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=2)
#: Bytes of the longest answer that is read. A proxy takes about 1 kB of one: this is more than any istiod serves.
_MAX_BYTES = 256 * 1024 * 1024


class _IstiodPod(msgspec.Struct, frozen=True):
    """A Pod of istiod, the fields of it that say where it is."""

    class Status(msgspec.Struct, frozen=True, rename={"pod_ip": "podIP"}):
        """Its `status`."""

        pod_ip: str = ""

    metadata: Metadata = Metadata()
    status: Status = Status()

    @property
    def revision(self) -> str:
        return self.metadata.label(REVISION) or "default"


async def read_connected_proxies(cluster: ClusterClient) -> ConnectedProxies:
    """Reads what all running istiods say of the proxies connected to them; `problems` says which could not be asked.

    Takes at most about 40 s for 16 istiods: a revision's Pods are asked together, then perhaps its Service.

    Raises:
        UpgradeError: the API server does not answer.
    """
    query = {"labelSelector": "app=istiod", "fieldSelector": "status.phase=Running"}
    try:
        pods, _ = await cluster.list_all(path("Pod", ISTIO_NAMESPACE), _IstiodPod, query)
    except PermissionDeniedError as error:
        return ConnectedProxies(problems=(f"Pods of istiod cannot be read: {error.message}",))
    if not pods:
        return ConnectedProxies(problems=(f"no istiod runs in {ISTIO_NAMESPACE}",))
    by_revision: dict[str, list[_IstiodPod]] = {}
    for pod in pods:
        by_revision.setdefault(pod.revision, []).append(pod)
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        reader = _ProxyStatusReader(cluster, session)
        listings = await asyncio.gather(*(reader.revision(name, by_revision[name]) for name in sorted(by_revision)))
    return merge_listings(listing for of_revision in listings for listing in of_revision)


class _ProxyStatusReader:
    """Asks the istiods, a limited number of them at the same time."""

    def __init__(self, cluster: ClusterClient, session: aiohttp.ClientSession) -> None:
        self._cluster = cluster
        self._session = session
        self._limit = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def revision(self, name: str, pods: Sequence[_IstiodPod]) -> list[IstiodListing]:
        listings = await asyncio.gather(*(self._ask(name, pod.metadata.name, pod.status.pod_ip) for pod in pods))
        if any(listing.problem is None for listing in listings):
            return listings
        of_service = await self._ask_service(name)
        if of_service.problem is not None:
            return [*listings, of_service]
        if len(pods) == 1:
            # The one behind the Service is this very Pod.
            return [of_service]
        return [
            of_service,
            IstiodListing(name, problem=f"{of_service.istiod} is only one of {len(pods)} istiods of revision {name}"),
        ]

    async def _ask_service(self, revision: str) -> IstiodListing:
        name = "istiod" if revision == "default" else f"istiod-{revision}"
        istiod = f"Service {name}"
        try:
            address = await read_service_ip(self._cluster, ISTIO_NAMESPACE, name)
        except UpgradeError as error:
            return IstiodListing(istiod, problem=f"{istiod} is unknown: {error.message}")
        return await self._ask(revision, istiod, address)

    async def _ask(self, revision: str, istiod: str, address: str) -> IstiodListing:
        if not address:
            return IstiodListing(istiod, problem=f"{istiod} has no IP address")
        url = f"http://{url_host(address)}:{MONITORING_PORT}"
        try:
            async with self._limit:
                status, content = await self._get(f"{url}/debug/syncz")
                if status != 200:
                    return IstiodListing(istiod, problem=_refusal(istiod, status))
                listing = read_listing(istiod, content)
                _, build = await self._get(f"{url}/version")
        except _TooLongError:
            return IstiodListing(istiod, problem=f"the answer of {istiod} does not end")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = one_line(str(error)) or type(error).__name__
            return IstiodListing(istiod, problem=f"{istiod} does not answer: {reason}")
        return dataclasses.replace(listing, revision=revision, version=read_version(build))

    async def _get(self, url: str) -> tuple[int, bytes]:
        async with self._session.get(url, allow_redirects=False) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise _TooLongError
            return response.status, bytes(content)


class _TooLongError(Exception):
    """An answer is longer than any istiod's."""


def _refusal(istiod: str, status: int) -> str:
    if status in (401, 403):
        return f"{istiod} shows its proxies only to identities that it knows (HTTP {status})"
    return f"{istiod} does not list its proxies (HTTP {status})"
