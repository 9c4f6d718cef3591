"""The patch that restarts a workload, and the mark that it leaves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Pod, Workload
from mesh.text import parse_rfc3339, rfc3339
from mesh.wellknown import RESTARTED_AT


def mark_of(workload: Workload) -> datetime | None:
    """Returns the mark of the last restart: the time in its annotation, None without one that parses.

    For an Argo Rollout it is the time than which its Pods must be younger.
    """
    if workload.kind == ARGO_ROLLOUT:
        return parse_rfc3339(workload.spec.restart_at)
    template = workload.template
    return parse_rfc3339(template.metadata.annotation(RESTARTED_AT) if template else None)


def restart_patch(workload: Workload, stale: Iterable[Pod], mark: datetime) -> dict[str, object]:
    """Returns the merge patch that restarts a workload; it conflicts with any write since the workload was read.

    The controller of an Argo Rollout replaces the Pods that were created before `spec.restartAt`, by the API server's
    clock. Where the clock of the mark is behind, the mark could miss the newest of the `stale` Pods: then the patch has
    a time one second after them. `mark_of` the patched workload is never earlier than `mark`.
    """
    spec: dict[str, object] = {"template": {"metadata": {"annotations": {RESTARTED_AT: rfc3339(mark)}}}}
    if workload.kind == ARGO_ROLLOUT:
        created = (pod.metadata.creation_timestamp for pod in stale)
        after = [moment + timedelta(seconds=1) for moment in created if moment is not None]
        spec = {"restartAt": rfc3339(max([mark, *after]))}
    metadata = workload.metadata
    return {"metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid}, "spec": spec}
