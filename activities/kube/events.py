"""Records Kubernetes Events on workloads: what `kubectl describe` shows to their owners."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from activities.kube.client import ClusterClient
from activities.kube.paths import api_version, path
from mesh.k8s.workload_ref import WorkloadRef
from mesh.text import rfc3339
from mesh.wellknown import FIELD_MANAGER

#: Characters of the longest message that the API takes.
_MESSAGE_LIMIT = 1000


async def record_event(
    cluster: ClusterClient, workload: WorkloadRef, *, reason: str, message: str, warning: bool
) -> None:
    """Writes a new Event each time, also for the same reason as before."""
    now = rfc3339(datetime.now(UTC))
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{workload.name[:200]}.", "namespace": workload.namespace},
        "involvedObject": {
            "apiVersion": api_version(workload.kind),
            "kind": workload.kind.partition(".")[0],
            "name": workload.name,
            "namespace": workload.namespace,
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
    await cluster.create(path("Event", workload.namespace), body, msgspec.Raw)
