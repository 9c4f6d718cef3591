"""What the cluster itself shows of an item: the warning on each Pod, and the Event on the workload."""

from __future__ import annotations

from temporalio import activity

from activities.kube.client import ClusterClient
from activities.kube.events import record_event
from activities.kube.meta_v1 import PartialObjectMetadata
from activities.kube.paths import path
from mesh.errors import NotFoundError, PermissionDeniedError
from mesh.k8s.pod_warnings import Patch
from mesh.survey.finding import Finding


async def patch_pod_annotations(cluster: ClusterClient, namespace: str, patches: dict[str, Patch]) -> int:
    """Patches annotations of Pods by name; returns how many of the Pods still exist."""
    patched = 0
    for name, patch in patches.items():
        try:
            await cluster.patch(
                path("Pod", namespace, name), {"metadata": {"annotations": patch}}, PartialObjectMetadata
            )
        except NotFoundError:
            continue
        patched += 1
    return patched


async def record_restart_required(cluster: ClusterClient, finding: Finding, text: str) -> None:
    """Records the Event `RestartRequired` on the workload, where the namespace takes one."""
    try:
        await record_event(cluster, finding.ref, reason="RestartRequired", message=text, warning=True)
    except (NotFoundError, PermissionDeniedError):
        # A namespace that is being deleted refuses new objects with the same error as a missing right.
        activity.logger.warning("event_not_written", extra={"fields": {"workload": str(finding.ref)}})
