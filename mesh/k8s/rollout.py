"""Where a rollout stands, by the controller's own status, and the patch that restarts a workload."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Pod, Workload, WorkloadStatus
from mesh.text import rfc3339
from mesh.wellknown import RESTARTED_AT, TEMPLATE_GENERATION


@dataclass(frozen=True, slots=True)
class Rollout:
    """The progress of a workload's rollout.

    `settled`: every Pod is created from the newest template. `complete`: and all `wanted` Pods are available. `failed`
    is why the controller gave up, `refused` why the API server takes no further Pod of it, `paused` why it waits for a
    person or a time. `progress` changes whenever the rollout moves, for time-outs without progress.
    """

    settled: bool
    complete: bool
    failed: str | None
    progress: tuple[int, ...]
    message: str
    wanted: int = 0
    refused: str | None = None
    paused: str | None = None

    @property
    def over_quota(self) -> bool:
        """Whether a ResourceQuota leaves no room for new Pods."""
        return "exceeded quota" in (self.refused or "")


def rollout(workload: Workload) -> Rollout:
    """Returns where the rollout of a workload stands.

    The rules are those of `kubectl rollout status`: k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go.
    """
    if workload.kind == ARGO_ROLLOUT:
        return _argo_rollout(workload)
    status = workload.status
    observed = _observed(workload)
    up_to_date = observed >= workload.metadata.generation
    wanted = 1 if workload.spec.replicas is None else workload.spec.replicas
    match workload.kind:
        case "DaemonSet":
            wanted = status.desired_number_scheduled
            updated, total, available = status.updated_number_scheduled, wanted, status.number_available
        case "ReplicaSet" | "ReplicationController":
            # They have one template only, and do not count updated Pods.
            updated, total, available = status.replicas, status.replicas, status.available_replicas
        case "StatefulSet":
            updated, total, available = status.updated_replicas, status.replicas, status.available_replicas
            if status.update_revision and status.update_revision == status.current_revision:
                # After the last Pod the controller merges both revisions and may count no updated Pods.
                updated = max(updated, status.replicas)
        case _:
            updated, total, available = status.updated_replicas, status.replicas, status.available_replicas
    settled = up_to_date and updated >= wanted and total == wanted
    complete = settled and available >= wanted
    condition = status.condition("Progressing")
    failed = None
    if up_to_date and not complete and condition is not None and condition.reason == "ProgressDeadlineExceeded":
        failed = condition.message or condition.reason
    return Rollout(
        settled=settled,
        complete=complete,
        failed=failed,
        progress=(observed, updated, total, available),
        message=f"{updated} of {wanted} updated, {available} available",
        wanted=wanted,
        refused=_refused(status),
        paused="its rollout is paused" if workload.spec.paused else None,
    )


def _refused(status: WorkloadStatus) -> str | None:
    """The message of the condition ReplicaFailure, which Deployments, ReplicaSets and ReplicationControllers have."""
    condition = status.condition("ReplicaFailure")
    return condition.message if condition is not None and condition.status == "True" else None


def _argo_rollout(workload: Workload) -> Rollout:
    """Returns where an Argo Rollout stands.

    The rules are those of `kubectl argo rollouts status`: argoproj/argo-rollouts/utils/rollout/rolloututil.go.

    A restart evicts the Pods older than `spec.restartAt` and leaves the template alone: it is settled when the last
    of them was evicted. The controller of a blue-green Rollout reports that before it counts the new Pods.
    """
    status = workload.status
    wanted = 1 if workload.spec.replicas is None else workload.spec.replicas
    observed = _observed(workload)
    template = workload.metadata.annotation(TEMPLATE_GENERATION) if workload.spec.workload_ref else None
    template_up_to_date = template is None or status.workload_observed_generation in ("", template)
    up_to_date = observed >= workload.metadata.generation and template_up_to_date
    promoted = bool(status.stable_rs) and status.stable_rs == status.current_pod_hash
    restarted = _parse_time(workload.spec.restart_at) == _parse_time(status.restarted_at)
    settled = up_to_date and promoted and restarted and status.updated_replicas >= wanted
    complete = settled and status.phase == "Healthy" and status.available_replicas >= wanted
    counts = f"{status.updated_replicas} of {wanted} updated, {status.available_replicas} available"
    pause = workload.spec.paused or status.pause_conditions
    return Rollout(
        settled=settled,
        complete=complete,
        failed=(status.message or status.phase) if up_to_date and status.phase == "Degraded" else None,
        progress=(
            observed,
            status.updated_replicas,
            status.replicas,
            status.available_replicas,
            status.ready_replicas,
            int(restarted),
        ),
        message=f"{status.message}; {counts}" if status.message else counts,
        wanted=wanted,
        paused=status.message if pause else None,
    )


def mark_of(workload: Workload) -> datetime | None:
    """Returns the mark of the last restart: the time in its annotation, None without one that parses.

    For an Argo Rollout it is the time than which its Pods must be younger.
    """
    if workload.kind == ARGO_ROLLOUT:
        return _parse_time(workload.spec.restart_at)
    template = workload.template
    return _parse_time(template.metadata.annotation(RESTARTED_AT) if template else None)


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


def _parse_time(text: str | None) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


def _observed(workload: Workload) -> int:
    """The generation that the controller has observed; a hash, as Argo Rollouts wrote before 0.10, counts as 0."""
    value = workload.status.observed_generation
    if isinstance(value, int):
        return value
    return int(value) if value.isdecimal() else 0
