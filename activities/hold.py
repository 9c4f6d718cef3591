"""The hold: an admission policy keeps Kyma's module from restarting workloads while an upgrade restarts them.

The policy is installed once with the service (deploy/hold.yaml); at run time only a ConfigMap in the service's own
namespace is written, beside the lease. Both expire when they are not renewed. See docs/adr/0006.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.boundary import ServedCluster, heartbeating, translating_errors
from activities.kube.client import APPLY_PATCH, ClusterClient
from activities.kube.paths import path
from activities.lease import release_lease, take_lease
from mesh.errors import ClusterError, NotFoundError, RejectedError
from mesh.identity import ClusterRef
from mesh.k8s.objects import ConfigMap, Workload
from mesh.text import rfc3339
from mesh.wellknown import HOLD_CONFIG_MAP, HOLD_PROBE_DEPLOYMENT, HOME_NAMESPACE, MODULE_RESTARTED_AT

_HOLD = path("ConfigMap", HOME_NAMESPACE, HOLD_CONFIG_MAP)
#: A Deployment without replicas: the policy refuses a dry-run change of it as it refuses the module's restarts.
_PROBE = path("Deployment", HOME_NAMESPACE, HOLD_PROBE_DEPLOYMENT)
_IN_FORCE_SECONDS = 30


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
        await take_lease(cluster, request.holder, request.duration)
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
            "Apply deploy/hold.yaml.",
        )

    @activity.defn
    @heartbeating
    async def release_hold(self, request: HoldInput) -> None:
        """Releases the hold and the lease, where they are this upgrade's."""
        cluster = self._served.connection_for(request.cluster)
        held = await cluster.find(_HOLD, ConfigMap)
        if held is not None and (held.data or {}).get("upgrade") == request.holder:
            await cluster.delete(_HOLD)
        await release_lease(cluster, request.holder)


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
