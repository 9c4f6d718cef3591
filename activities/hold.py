"""Who restarts: the hold that keeps Kyma's module from restarting customers' workloads, and the lease on the cluster.

The admission policy is installed once with the service (deploy/hold.yaml); at run time only one ConfigMap of the
service's own namespace is written. It ends by itself when it is not renewed. docs/adr/0006.
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
#: A Deployment of no replicas: the policy refuses our own dry-run change of it exactly as it refuses the module's.
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
    """`holder` is the upgrade's workflow and first run; `duration` is how long both hold without renewal."""

    cluster: ClusterRef
    holder: str
    duration: timedelta
    hold: bool


class HoldActivities:
    """Activities of the hold and the lease."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served

    @activity.defn
    @heartbeating
    async def renew_hold(self, ask: HoldInput) -> None:
        """Takes or renews the lease and, if asked for, the hold. ConflictError when another upgrade has the cluster."""
        cluster = self._served.connection_for(ask.cluster)
        await _take_lease(cluster, ask)
        if ask.hold:
            until = rfc3339(datetime.now(UTC) + ask.duration)
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": HOLD_CONFIG_MAP, "namespace": HOME_NAMESPACE},
                "data": {"upgrade": ask.holder, "until": until},
            }
            await cluster.patch(_HOLD, body, ConfigMap, APPLY_PATCH)

    @activity.defn
    @translating_errors
    async def await_hold(self, ask: HoldInput) -> None:
        """Waits until a change like the module's is really refused: a new policy takes seconds to be in force."""
        cluster = self._served.connection_for(ask.cluster)
        for _ in range(_IN_FORCE_SECONDS):
            if await _refused(cluster):
                return
            activity.heartbeat()
            await asyncio.sleep(1)
        raise ClusterError(
            "The hold is not in force: a change like the module's restart was not refused.",
            "Check that deploy/hold.yaml is applied: kubectl get validatingadmissionpolicybinding kyma-upgrade-hold.",
        )

    @activity.defn
    @heartbeating
    async def release_hold(self, ask: HoldInput) -> None:
        """Lets go of the hold and the lease, if they are this upgrade's."""
        cluster = self._served.connection_for(ask.cluster)
        held = await cluster.find(_HOLD, ConfigMap)
        if held is not None and (held.data or {}).get("upgrade") == ask.holder:
            await cluster.delete(_HOLD)
        lease = await cluster.find(_LEASE, Lease)
        if lease is not None and lease.spec.holder_identity == ask.holder:
            await cluster.delete(_LEASE)


async def _take_lease(cluster: ClusterClient, ask: HoldInput) -> None:
    now = datetime.now(UTC)
    spec = {
        "holderIdentity": ask.holder,
        "leaseDurationSeconds": int(ask.duration.total_seconds()),
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
    alive = renewed is not None and now < renewed + timedelta(seconds=lease.spec.lease_duration_seconds)
    if holder != ask.holder and holder is not None and alive:
        raise ConflictError(
            f"The cluster belongs to another upgrade: Lease {HOME_NAMESPACE}/{UPGRADE_LEASE} is held by {holder}.",
            "Wait for it to end, or delete the Lease if that upgrade is gone for good.",
        )
    # With the resource version read: of two that take a dead lease, one wins.
    version = {"resourceVersion": lease.metadata.resource_version}
    await cluster.patch(_LEASE, {"metadata": version, "spec": spec}, Lease)


async def _refused(cluster: ClusterClient) -> bool:
    mark = {MODULE_RESTARTED_AT: rfc3339(datetime.now(UTC))}
    body = {"spec": {"template": {"metadata": {"annotations": mark}}}}
    try:
        await cluster.patch(_PROBE, body, Workload, dry_run=True)
    except RejectedError:
        return True
    except NotFoundError:
        return False
    return False
