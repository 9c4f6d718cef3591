"""Where a rollout stands, by the controller's own status, and whether a workload can be rolled at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from mesh.objects import Workload, WorkloadStatus

#: The template annotation that `kubectl rollout restart` writes, and so do we.
MARK = "kubectl.kubernetes.io/restartedAt"
#: What Kyma's module writes: internal to it, read to tell whose restart is under way.
MODULE_MARK = "istio-operator.kyma-project.io/restartedAt"

#: Restarted by a template annotation.
RESTARTABLE_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
#: Have no rollout of their own: their Pods are evicted one at a time.
EVICTABLE_KINDS = ("ReplicaSet", "ReplicationController")


@dataclass(frozen=True, slots=True)
class Rollout:
    """`settled`: every Pod is made from the newest template. `complete`: and all of them, `wanted`, are available.

    `failed` is why the controller gave up, `refused` why the API server takes no further Pod of it.
    `progress` changes whenever the rollout moves, so that a time-out can mean: no progress for.
    """

    settled: bool
    complete: bool
    failed: str | None
    progress: tuple[int, ...]
    message: str
    wanted: int = 0
    refused: str | None = None


def rollout(workload: Workload) -> Rollout:
    """The rules of `kubectl rollout status`: k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go."""
    status = workload.status
    seen = status.observed_generation >= workload.metadata.generation
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
        progress=(status.observed_generation, updated, total, available),
        message=f"{updated} of {wanted} updated, {available} available",
        wanted=wanted,
        refused=_refused(status),
    )


def _refused(status: WorkloadStatus) -> str | None:
    """What a Deployment's, ReplicaSet's or ReplicationController's condition says; the other kinds have none."""
    condition = status.condition("ReplicaFailure")
    return condition.message if condition is not None and condition.status == "True" else None


def mark_of(workload: Workload) -> datetime | None:
    """The time of the last restart by annotation, None when there is none or it does not parse."""
    template = workload.template
    text = template.metadata.annotation(MARK) if template else None
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def may_take(workload: Workload) -> int:
    """How many available Pods the workload's own strategy may take away at once.

    Source: k8s.io/kubernetes/pkg/controller/deployment/util, ResolveFenceposts (unavailable rounds down, surge up;
    both zero means one unavailable); StatefulSets and DaemonSets take one unless told otherwise.
    """
    spec = workload.spec
    wanted = workload.status.desired_number_scheduled if workload.kind == "DaemonSet" else spec.replicas
    wanted = 1 if wanted is None else wanted
    strategy = spec.strategy or spec.update_strategy
    rolling = strategy.rolling_update if strategy else None
    if workload.kind == "Deployment":
        # At most all of them: MaxUnavailable of the same package.
        if strategy is not None and strategy.type == "Recreate":
            return wanted
        unavailable = _share(rolling.max_unavailable if rolling else "25%", wanted, up=False)
        surge = _share(rolling.max_surge if rolling else "25%", wanted, up=True)
        return min(wanted, max(unavailable, 1 if surge == 0 else 0))
    if workload.kind == "DaemonSet" and rolling is not None and _share(rolling.max_surge, wanted, up=True) > 0:
        return 0
    # Percentages round up for DaemonSets (UnavailableCount) and down for StatefulSets (getStatefulSetMaxUnavailable).
    unavailable = _share(rolling.max_unavailable if rolling else None, wanted, up=workload.kind == "DaemonSet")
    return min(wanted, max(1, unavailable))


def _share(value: int | str | None, whole: int, *, up: bool) -> int:
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    part = int(value.rstrip("%")) * whole / 100
    return math.ceil(part) if up else math.floor(part)
