"""Rules about owners: which workloads no restart can reach, whatever their Pods run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS, READ_KINDS, RESTARTABLE_KINDS
from mesh.k8s.rollout import mark_of
from mesh.survey.assessment import WorkloadState, first_cause
from mesh.survey.reasons import Cause, Reason
from mesh.text import one_line

#: An Argo Rollout whose restart time is further ahead than this has a schedule; less is a difference of clocks.
SCHEDULED_AHEAD = timedelta(minutes=1)
_SUPPORTED_KINDS = frozenset({*RESTARTABLE_KINDS, *EVICTABLE_KINDS, ARGO_ROLLOUT})


def owner_cause(state: WorkloadState) -> Cause | None:
    """Returns why no restart can reach the workload; the detail ends with the state of its Pods."""
    cause = first_cause(OWNER_RULES, state)
    if cause is None:
        return None
    pods = state.worst_pod_cause
    parts = (cause.detail, (pods.detail or str(pods.reason)) if pods else None)
    return Cause(cause.reason, one_line("; ".join(part for part in parts if part)) or None)


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


#: The first rule that holds names the cause.
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
