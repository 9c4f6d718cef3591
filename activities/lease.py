"""The lease on a cluster: a Kubernetes Lease, so that one upgrade at a time changes the cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import path
from mesh.errors import ConflictError
from mesh.k8s.objects import Metadata
from mesh.wellknown import HOME_NAMESPACE, UPGRADE_LEASE

_LOCATION = path("Lease", HOME_NAMESPACE, UPGRADE_LEASE)
_MICRO_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The `spec` of a Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int = 0
    renew_time: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether the lease was renewed within its duration."""
        return self.renew_time is not None and now < self.renew_time + timedelta(seconds=self.lease_duration_seconds)


class Lease(msgspec.Struct, frozen=True):
    """A Lease of group coordination.k8s.io."""

    metadata: Metadata = Metadata()
    spec: LeaseSpec = LeaseSpec()


async def take_lease(cluster: ClusterClient, holder: str, duration: timedelta) -> None:
    """Takes or renews the lease for `holder`; it expires `duration` from now.

    Raises:
        ConflictError: another holder's lease is in force.
    """
    now = datetime.now(UTC)
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": int(duration.total_seconds()),
        "renewTime": now.strftime(_MICRO_TIME),
    }
    lease = await cluster.find(_LOCATION, Lease)
    if lease is None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": UPGRADE_LEASE, "namespace": HOME_NAMESPACE},
            "spec": spec,
        }
        await cluster.create(path("Lease", HOME_NAMESPACE), body, Lease)
        return
    current = lease.spec.holder_identity
    if current not in (None, holder) and lease.spec.in_force(now):
        raise ConflictError(
            f"The cluster belongs to another upgrade: Lease {HOME_NAMESPACE}/{UPGRADE_LEASE} is held by {current}.",
            "Wait for that upgrade to end. If it does not exist any more, delete the Lease.",
        )
    # With the resource version that was read: of two upgrades that take an expired lease, one wins.
    version = {"resourceVersion": lease.metadata.resource_version}
    await cluster.patch(_LOCATION, {"metadata": version, "spec": spec}, Lease)


async def release_lease(cluster: ClusterClient, holder: str) -> None:
    """Deletes the lease, where it is this holder's."""
    lease = await cluster.find(_LOCATION, Lease)
    if lease is not None and lease.spec.holder_identity == holder:
        await cluster.delete(_LOCATION)
