"""Where a rollout stands, by the controller's own status."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Workload, WorkloadStatus
from mesh.text import parse_rfc3339
from mesh.wellknown import TEMPLATE_GENERATION


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
        paused="the rollout is paused" if workload.spec.paused else None,
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
    restarted = parse_rfc3339(workload.spec.restart_at) == parse_rfc3339(status.restarted_at)
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


def _observed(workload: Workload) -> int:
    """The generation that the controller has observed; a hash, as Argo Rollouts wrote before 0.10, counts as 0."""
    value = workload.status.observed_generation
    if isinstance(value, int):
        return value
    return int(value) if value.isdecimal() else 0
