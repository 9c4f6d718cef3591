"""Kubernetes Events on workloads: what `kubectl describe` shows to whoever owns them."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import path
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.text import rfc3339
from mesh.wellknown import FIELD_MANAGER

_API = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    ARGO_ROLLOUT: "argoproj.io/v1alpha1",
}
#: Longest message that the API takes.
_MESSAGE_LIMIT = 1000


async def record_event(
    cluster: ClusterClient, *, namespace: str, kind: str, name: str, reason: str, message: str, warning: bool
) -> None:
    """Writes an Event; one more of the same reason within a run of this service is a new Event, as with kubectl."""
    now = rfc3339(datetime.now(UTC))
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:200]}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": _API.get(kind, "v1"),
            "kind": kind.partition(".")[0],
            "name": name,
            "namespace": namespace,
        },
        "reason": reason,
        "message": message[:_MESSAGE_LIMIT],
        "type": "Warning" if warning else "Normal",
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    await cluster.create(path("Event", namespace), body, msgspec.Raw)
