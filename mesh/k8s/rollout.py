"""Where a rollout stands, by the controller's own status, and whether a workload can be rolled at all."""

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
    """`settled`: every Pod is made from the newest template. `complete`: and all of them, `wanted`, are available.

    `failed` is why the controller gave up, `refused` why the API server takes no further Pod of it, `paused` why it
    waits for somebody or for a time.
    `progress` changes whenever the rollout moves, so that a time-out can mean: no progress for.
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
        """Whether a quota leaves no room for its new Pods."""
        return "exceeded quota" in (self.refused or "")


def rollout(workload: Workload) -> Rollout:
    """The rules of `kubectl rollout status`: k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go."""
    if workload.kind == ARGO_ROLLOUT:
        return _argo_rollout(workload)
    status = workload.status
    observed = _observed(workload)
    seen = observed >= workload.metadata.generation
    wanted = 1 if workload.spec.replicas is None else workload.spec.replicas
    match workload.kind:
        case "DaemonSet":
            wanted = status.desired_number_scheduled
            updated, total, available = status.updated_number_scheduled, wanted, status.number_available
        case "ReplicaSet" | "ReplicationController":
            # They know one template only, and count nothing as updated.
            updated, total, available = status.replicas, status.replicas, status.available_replicas
        case "StatefulSet":
            updated, total, available = status.updated_replicas, status.replicas, status.available_replicas
            if status.update_revision and status.update_revision == status.current_revision:
                # After the last Pod the controller folds both revisions into one and may count no updated Pods.
                updated = max(updated, status.replicas)
        case _:
            updated, total, available = status.updated_replicas, status.replicas, status.available_replicas
    settled = seen and updated >= wanted and total == wanted
    complete = settled and available >= wanted
    condition = status.condition("Progressing")
    failed = None
    if seen and not complete and condition is not None and condition.reason == "ProgressDeadlineExceeded":
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
    """What a Deployment's, ReplicaSet's or ReplicationController's condition says; the other kinds have none."""
    condition = status.condition("ReplicaFailure")
    return condition.message if condition is not None and condition.status == "True" else None


def _argo_rollout(workload: Workload) -> Rollout:
    """The rules of `kubectl argo rollouts status`: argoproj/argo-rollouts/utils/rollout/rolloututil.go.

    Its restart evicts the Pods older than `spec.restartAt` and leaves the template alone, so that settled also means:
    the last of them was evicted. Blue-green says that before the new Pods are counted.
    """
    status = workload.status
    wanted = 1 if workload.spec.replicas is None else workload.spec.replicas
    observed = _observed(workload)
    template = workload.metadata.annotation(TEMPLATE_GENERATION) if workload.spec.workload_ref else None
    template_seen = template is None or status.workload_observed_generation in ("", template)
    seen = observed >= workload.metadata.generation and template_seen
    promoted = bool(status.stable_rs) and status.stable_rs == status.current_pod_hash
    restarted = _moment(workload.spec.restart_at) == _moment(status.restarted_at)
    settled = seen and promoted and restarted and status.updated_replicas >= wanted
    complete = settled and status.phase == "Healthy" and status.available_replicas >= wanted
    counted = f"{status.updated_replicas} of {wanted} updated, {status.available_replicas} available"
    pause = workload.spec.paused or status.pause_conditions
    return Rollout(
        settled=settled,
        complete=complete,
        failed=(status.message or status.phase) if seen and status.phase == "Degraded" else None,
        progress=(
            observed,
            status.updated_replicas,
            status.replicas,
            status.available_replicas,
            status.ready_replicas,
            int(restarted),
        ),
        message=f"{status.message}; {counted}" if status.message else counted,
        wanted=wanted,
        paused=status.message if pause else None,
    )


def mark_of(workload: Workload) -> datetime | None:
    """The time of the last restart by annotation, None when there is none or it does not parse.

    Of an Argo Rollout: the time that its Pods must be younger than.
    """
    if workload.kind == ARGO_ROLLOUT:
        return _moment(workload.spec.restart_at)
    template = workload.template
    return _moment(template.metadata.annotation(RESTARTED_AT) if template else None)


def restart_patch(workload: Workload, stale: Iterable[Pod], mark: datetime) -> dict[str, object]:
    """The one write of an attempt as a merge patch; anything written since the reading makes it a conflict.

    The controller of an Argo Rollout makes those Pods anew that were created before `spec.restartAt`, by the API
    server's clock. Where the mark's clock is behind that, the mark would miss the newest of the `stale` Pods: then it
    is a second after them. `mark_of` of the result is never earlier than `mark`.
    """
    spec: dict[str, object] = {"template": {"metadata": {"annotations": {RESTARTED_AT: rfc3339(mark)}}}}
    if workload.kind == ARGO_ROLLOUT:
        made = (pod.metadata.creation_timestamp for pod in stale)
        after = [moment + timedelta(seconds=1) for moment in made if moment is not None]
        spec = {"restartAt": rfc3339(max([mark, *after]))}
    metadata = workload.metadata
    return {"metadata": {"resourceVersion": metadata.resource_version, "uid": metadata.uid}, "spec": spec}


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _observed(workload: Workload) -> int:
    """The generation that the controller has seen; a hash, as Argo Rollouts wrote before 0.10, tells nothing."""
    value = workload.status.observed_generation
    if isinstance(value, int):
        return value
    return int(value) if value.isdecimal() else 0
