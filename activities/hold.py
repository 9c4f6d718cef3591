"""Keeps others from restarting workloads: the hold on Kyma's module, and the lease on the cluster.

The admission policy is installed once with the service (deploy/hold.yaml); at run time only a ConfigMap and a
Lease in the service's own namespace are written. Both expire when they are not renewed. See docs/adr/0006.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from temporalio import activity

from activities.boundary import ServedCluster, heartbeating, translating_errors
from activities.kube.client import APPLY_PATCH, ClusterClient
from activities.kube.paths import path
from mesh.errors import ClusterError, ConflictError, NotFoundError, RejectedError
from mesh.identity import ClusterRef
from mesh.k8s.objects import ConfigMap, Metadata, Workload
from mesh.text import rfc3339
from mesh.wellknown import HOLD_CONFIG_MAP, HOLD_PROBE_DEPLOYMENT, HOME_NAMESPACE, MODULE_RESTARTED_AT, UPGRADE_LEASE

_HOLD = path("ConfigMap", HOME_NAMESPACE, HOLD_CONFIG_MAP)
_LEASE = path("Lease", HOME_NAMESPACE, UPGRADE_LEASE)
#: A Deployment without replicas: the policy refuses a dry-run change of it as it refuses the module's restarts.
_PROBE = path("Deployment", HOME_NAMESPACE, HOLD_PROBE_DEPLOYMENT)
_IN_FORCE_SECONDS = 30
_MICRO_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of a Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int = 0
    renew_time: datetime | None = None


class Lease(msgspec.Struct, frozen=True):
    """A Lease."""

    metadata: Metadata = Metadata()
    spec: LeaseSpec = LeaseSpec()


@dataclass(frozen=True, slots=True)
class HoldInput:
    """`holder` names the upgrade by workflow id and first run id. Lease and hold expire `duration` after a renewal.

    `hold`: whether the module's restarts are refused; False for the lease alone.
    """

    cluster: ClusterRef
    holder: str
    duration: timedelta
    hold: bool


class HoldActivities:
    """Activities that take, renew and release the lease and the hold."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served

    @activity.defn
    @heartbeating
    async def renew_hold(self, request: HoldInput) -> None:
        """Takes or renews the lease and, where the input asks for it, the hold.

        Raises:
            ConflictError: another upgrade has the lease.
        """
        cluster = self._served.connection_for(request.cluster)
        await _take_lease(cluster, request)
        if request.hold:
            until = rfc3339(datetime.now(UTC) + request.duration)
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": HOLD_CONFIG_MAP, "namespace": HOME_NAMESPACE},
                "data": {"upgrade": request.holder, "until": until},
            }
            await cluster.patch(_HOLD, body, ConfigMap, APPLY_PATCH)

    @activity.defn
    @translating_errors
    async def await_hold(self, request: HoldInput) -> None:
        """Waits until the API server refuses a change like the module's: a new policy takes seconds to be in force."""
        cluster = self._served.connection_for(request.cluster)
        for _ in range(_IN_FORCE_SECONDS):
            if await _refuses_restart(cluster):
                return
            activity.heartbeat()
            await asyncio.sleep(1)
        raise ClusterError(
            "The hold is not in force: the API server accepts a change like the module's restart.",
            "Check that deploy/hold.yaml is applied: kubectl get validatingadmissionpolicybinding kyma-upgrade-hold.",
        )

    @activity.defn
    @heartbeating
    async def release_hold(self, request: HoldInput) -> None:
        """Releases the hold and the lease, where they are this upgrade's."""
        cluster = self._served.connection_for(request.cluster)
        held = await cluster.find(_HOLD, ConfigMap)
        if held is not None and (held.data or {}).get("upgrade") == request.holder:
            await cluster.delete(_HOLD)
        lease = await cluster.find(_LEASE, Lease)
        if lease is not None and lease.spec.holder_identity == request.holder:
            await cluster.delete(_LEASE)


async def _take_lease(cluster: ClusterClient, request: HoldInput) -> None:
    now = datetime.now(UTC)
    spec = {
        "holderIdentity": request.holder,
        "leaseDurationSeconds": int(request.duration.total_seconds()),
        "renewTime": now.strftime(_MICRO_TIME),
    }
    lease = await cluster.find(_LEASE, Lease)
    if lease is None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": UPGRADE_LEASE, "namespace": HOME_NAMESPACE},
            "spec": spec,
        }
        await cluster.create(path("Lease", HOME_NAMESPACE), body, Lease)
        return
    holder, renewed = lease.spec.holder_identity, lease.spec.renew_time
    in_force = renewed is not None and now < renewed + timedelta(seconds=lease.spec.lease_duration_seconds)
    if holder != request.holder and holder is not None and in_force:
        raise ConflictError(
            f"The cluster belongs to another upgrade: Lease {HOME_NAMESPACE}/{UPGRADE_LEASE} is held by {holder}.",
            "Wait for that upgrade to end. If it does not exist any more, delete the Lease.",
        )
    # With the resource version that was read: of two upgrades that take an expired lease, one wins.
    version = {"resourceVersion": lease.metadata.resource_version}
    await cluster.patch(_LEASE, {"metadata": version, "spec": spec}, Lease)


async def _refuses_restart(cluster: ClusterClient) -> bool:
    mark = {MODULE_RESTARTED_AT: rfc3339(datetime.now(UTC))}
    body = {"spec": {"template": {"metadata": {"annotations": mark}}}}
    try:
        await cluster.patch(_PROBE, body, Workload, dry_run=True)
    except RejectedError:
        return True
    except NotFoundError:
        return False
    return False
