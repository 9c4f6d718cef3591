"""Rules about restarts: why a workload that should be restarted is not.

OWNER_RULES come first: no restart can reach these workloads, whatever their Pods run (standalone, of a Job, paused,
OnDelete, partitioned). RESTART_RULES continue with what stands in the way now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from mesh.k8s.disruption import pods_taken_at_once
from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS, READ_KINDS, RESTARTABLE_KINDS
from mesh.k8s.objects import DisruptionBudget, Pod
from mesh.k8s.owners import Owner
from mesh.k8s.restart_patch import mark_of
from mesh.maintenance_windows import WindowInvalidError, declared_windows, never_together, parse_windows
from mesh.survey.assessment import Assessment, WorkloadState, first_cause
from mesh.survey.pod_class import PodClass, live_proxy
from mesh.survey.pod_rules import pod_cause
from mesh.survey.reasons import Cause, Reason
from mesh.text import one_line

#: An Argo Rollout whose restart time is further ahead than this has a schedule; less is a difference of clocks.
SCHEDULED_AHEAD = timedelta(minutes=1)
_SUPPORTED_KINDS = frozenset({*RESTARTABLE_KINDS, *EVICTABLE_KINDS, ARGO_ROLLOUT})


def standalone_pod(state: WorkloadState) -> Cause | None:
    """Nothing would create the Pod again."""
    return Cause(Reason.STANDALONE_POD) if state.owner.kind == "Pod" else None


def job_pod(state: WorkloadState) -> Cause | None:
    """The Pod runs to its end."""
    return Cause(Reason.JOB_POD) if state.owner.kind in ("Job", "CronJob") else None


def unsupported_owner(state: WorkloadState) -> Cause | None:
    """The owner is of a kind that is not restarted, does not exist, or is not read."""
    owner = state.owner
    if owner.workload is not None and owner.kind in _SUPPORTED_KINDS:
        return None
    if owner.gone:
        detail = f"{owner.kind} {owner.name} does not exist any more"
    elif owner.kind in READ_KINDS:
        detail = f"{owner.kind} {owner.name} cannot be read"
    else:
        detail = f"owner is a {owner.kind}"
    return Cause(Reason.UNSUPPORTED_OWNER, detail)


def argo_rollout_without_template(state: WorkloadState) -> Cause | None:
    """The Argo Rollout takes its Pod template from an object that is not read."""
    workload = state.owner.workload
    if state.owner.kind != ARGO_ROLLOUT or workload is None or workload.template is not None:
        return None
    reference = workload.spec.workload_ref
    source = f"{reference.kind} {reference.name}" if reference else "no workload"
    return Cause(Reason.UNSUPPORTED_OWNER, f"its Pod template belongs to {source}, which is not read")


def rollout_paused(state: WorkloadState) -> Cause | None:
    """The controller waits for a person or for a time."""
    rollout = state.rollout
    if rollout is None or rollout.paused is None:
        return None
    return Cause(Reason.ROLLOUT_PAUSED, rollout.paused)


def argo_rollout_restart_scheduled(state: WorkloadState) -> Cause | None:
    """The Argo Rollout has a restart time in the future, which a restart would replace."""
    workload = state.owner.workload
    if state.owner.kind != ARGO_ROLLOUT or workload is None:
        return None
    restart = mark_of(workload)
    if restart is None or restart <= state.at + SCHEDULED_AHEAD:
        return None
    return Cause(Reason.ROLLOUT_PAUSED, f"its restart is scheduled for {restart:%Y-%m-%dT%H:%MZ}")


def update_strategy_on_delete(state: WorkloadState) -> Cause | None:
    """The controller replaces a Pod only after it was deleted by hand."""
    workload = state.owner.workload
    strategy = workload.spec.update_strategy if workload is not None else None
    return Cause(Reason.ON_DELETE) if strategy is not None and strategy.type == "OnDelete" else None


def partitioned_rollout(state: WorkloadState) -> Cause | None:
    """The controller of the StatefulSet does not update the Pods below the partition."""
    workload = state.owner.workload
    strategy = workload.spec.update_strategy if workload is not None else None
    rolling = strategy.rolling_update if strategy is not None else None
    if rolling is None or not rolling.partition:
        return None
    return Cause(Reason.PARTITIONED, f"partition is {rolling.partition}")


#: Why no restart can reach a workload: the first rule that holds names the cause.
OWNER_RULES: tuple[Callable[[WorkloadState], Cause | None], ...] = (
    standalone_pod,
    job_pod,
    unsupported_owner,
    argo_rollout_without_template,
    rollout_paused,
    argo_rollout_restart_scheduled,
    update_strategy_on_delete,
    partitioned_rollout,
)


def owner_cause(state: WorkloadState) -> Cause | None:
    """Returns why no restart can reach the workload; the detail ends with the state of its Pods."""
    cause = first_cause(OWNER_RULES, state)
    if cause is None:
        return None
    pods = state.worst_pod_cause
    parts = (cause.detail, (pods.detail or str(pods.reason)) if pods else None)
    return Cause(cause.reason, one_line("; ".join(part for part in parts if part)) or None)


def restart_failed_before(assessment: Assessment) -> Cause | None:
    """A restart of the workload has failed in this upgrade."""
    if not assessment.context.has_failed(assessment.owner.ref):
        return None
    failed = Cause(Reason.ROLLOUT_TIMED_OUT, "its restart failed in this upgrade")
    return assessment.worst_pod_cause or failed


def restarted_and_still_stale(assessment: Assessment) -> Cause | None:
    """The workload was restarted in this upgrade, and some of its new Pods do not run the expected proxy."""
    workload, mark = assessment.owner.workload, assessment.context.mark
    if workload is None or mark is None or assessment.rollout is None:
        return None
    restarted = mark_of(workload)
    if restarted is None or restarted < mark or not assessment.rollout.complete:
        return None
    return Cause(Reason.IMAGE_REWRITTEN, "restarted, and its new Pods still do not run the expected proxy")


def newest_pod_is_stale(assessment: Assessment) -> Cause | None:
    """The newest Pod was created in this upgrade and is stale: a restart would create another stale Pod."""
    mark = assessment.context.mark
    if assessment.pod_class is not PodClass.STALE or mark is None:
        return None
    if assessment.rollout is None or not assessment.rollout.settled:
        return None
    stale = assessment.classified_pods
    newest = max(assessment.active_pods, key=lambda pod: (_created(pod), pod not in stale), default=None)
    if newest is None or newest not in stale or _created(newest) < mark:
        return None
    detail = f"Pod {newest.metadata.name} was created during this upgrade and runs {live_proxy(newest)}"
    return Cause(Reason.IMAGE_REWRITTEN, one_line(detail))


def too_few_ready_pods(assessment: Assessment) -> Cause | None:
    """No Pod is Ready; or one is not, and the controller cannot replace it without taking the others."""
    workload = assessment.owner.workload
    strategy = workload.spec.strategy if workload is not None else None
    # Recreate deletes all Pods before it creates new ones; Argo Rollouts evicts none while too few are available.
    all_needed = assessment.owner.kind == ARGO_ROLLOUT or (strategy is not None and strategy.type == "Recreate")
    healthy = [pod_cause(pod, assessment.at) is None for pod in assessment.active_pods]
    if any(healthy) and (all(healthy) or not all_needed):
        return None
    return assessment.worst_pod_cause or Cause(Reason.NOT_READY, "none of its Pods is Ready")


def last_rollout_failed(state: WorkloadState) -> Cause | None:
    """The last rollout failed: another one of the same template fails as well until the template is fixed."""
    rollout = state.rollout
    if rollout is None or rollout.failed is None:
        return None
    if rollout.over_quota:
        return Cause(Reason.QUOTA_EXCEEDED, one_line(rollout.refused or ""))
    return Cause(Reason.ROLLOUT_FAILING, one_line(rollout.failed))


def disruption_budget_never_allows(assessment: Assessment) -> Cause | None:
    """A PodDisruptionBudget forbids the restart even while every Pod is healthy."""
    return budget_cause(assessment.owner, assessment.active_pods, assessment.budgets)


def budget_cause(owner: Owner, pods: Sequence[Pod], budgets: Iterable[DisruptionBudget]) -> Cause | None:
    """Returns the first budget of these Pods that forbids a restart even while every Pod is healthy."""
    if owner.workload is None:
        return None
    taken = pods_taken_at_once(owner.workload)
    for budget in budgets:
        status = budget.status
        if taken and budget.selects(pods) and max(0, status.expected_pods - taken) < status.desired_healthy:
            name = budget.metadata.name
            required = f"{status.desired_healthy} of {status.expected_pods} Pods to be healthy"
            detail = f"PodDisruptionBudget {name} requires {required}; the rollout takes down {taken} at a time"
            return Cause(Reason.DISRUPTION_BUDGET, one_line(detail))
    return None


def maintenance_window_never_opens(assessment: Assessment) -> Cause | None:
    """The maintenance windows that count for the workload do not parse, or are never open at once."""
    declared = declared_windows(assessment.owner, assessment.namespace)
    return windows_cause((*assessment.context.windows, *declared), assessment.at)


@lru_cache(maxsize=1024)
def windows_cause(windows: tuple[str, ...], at: datetime) -> Cause | None:
    """Returns why waiting for these maintenance windows is futile.

    Cached: many workloads have the same windows, and it takes long to find that windows never open.
    """
    try:
        parsed = parse_windows(*windows)
    except WindowInvalidError as error:
        return Cause(Reason.WINDOW_INVALID, one_line(str(error)))
    return Cause(Reason.WINDOW_NEVER_OPENS, one_line(never_together(windows))) if parsed.next_open(at) is None else None


#: Why a workload is not restarted: the first rule that holds names the cause.
RESTART_RULES: tuple[Callable[[Assessment], Cause | None], ...] = (
    owner_cause,
    restart_failed_before,
    restarted_and_still_stale,
    newest_pod_is_stale,
    too_few_ready_pods,
    last_rollout_failed,
    disruption_budget_never_allows,
    maintenance_window_never_opens,
)


def _created(pod: Pod) -> datetime:
    return pod.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)
