"""Addresses of Services and Pods as they stand in URLs."""

from __future__ import annotations

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import path


class _Service(msgspec.Struct, frozen=True):
    """A Service, the field of it that says where it is."""

    class Spec(msgspec.Struct, frozen=True, rename={"cluster_ip": "clusterIP"}):
        """Its `spec`."""

        cluster_ip: str = ""

    spec: Spec = Spec()


async def read_service_ip(cluster: ClusterClient, namespace: str, name: str) -> str:
    """Reads the cluster IP of a Service, empty for a headless one: right in the cluster without needing its DNS."""
    address = (await cluster.get(path("Service", namespace, name), _Service)).spec.cluster_ip
    return "" if address == "None" else address


def url_host(address: str) -> str:
    """Returns an IP address as the host of a URL."""
    return f"[{address}]" if ":" in address else address
