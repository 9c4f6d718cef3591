"""Why a workload cannot simply be restarted: the first reason that holds, with the cluster's own words as detail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

import msgspec

from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS, READ_KINDS, RESTARTABLE_KINDS
from mesh.k8s.objects import Condition, ContainerStatus, DisruptionBudget, Pod, Workload
from mesh.k8s.owners import Owner
from mesh.k8s.rollout import mark_of, may_take, rollout
from mesh.maintenance_windows import WindowInvalidError, never_together, parse_windows
from mesh.text import one_line


class Reason(StrEnum):
    """Why a workload cannot be restarted automatically. The order is the precedence (docs/reference/glossary.md)."""

    STANDALONE_POD = "StandalonePod"
    JOB_POD = "JobPod"
    UNSUPPORTED_OWNER = "UnsupportedOwner"
    ROLLOUT_PAUSED = "RolloutPaused"
    ON_DELETE = "UpdateStrategyOnDelete"
    PARTITIONED = "PartitionedRollout"
    WOULD_LOSE_SIDECAR = "WouldLoseSidecar"
    UNKNOWN_REVISION = "UnknownRevision"
    UNKNOWN_PROXY = "UnknownProxy"
    SIDECAR_MISSING = "SidecarMissing"
    IMAGE_REWRITTEN = "ImageRewritten"
    STUCK_TERMINATING = "StuckTerminating"
    POD_UNKNOWN = "PodUnknown"
    POD_PENDING = "PodPending"
    CRASH_LOOPING = "CrashLooping"
    POD_FAILED = "PodFailed"
    NOT_READY = "NotReady"
    ROLLOUT_FAILING = "RolloutFailing"
    DISRUPTION_BUDGET = "DisruptionBudget"
    QUOTA_EXCEEDED = "QuotaExceeded"
    WINDOW_INVALID = "WindowInvalid"
    WINDOW_NEVER_OPENS = "WindowNeverOpens"
    ROLLOUT_TIMED_OUT = "RolloutTimedOut"
    INJECTION_FAILED = "InjectionFailed"
    RESTART_REVERTED = "RestartReverted"
    GATEWAY_NOT_UPGRADED = "GatewayNotUpgraded"


#: Reasons that only trying finds: the workload was Ready before this service touched it, so it must be Ready again.
FOUND_BY_TRYING = frozenset(
    {Reason.ROLLOUT_TIMED_OUT, Reason.INJECTION_FAILED, Reason.RESTART_REVERTED, Reason.QUOTA_EXCEEDED}
)

#: Reasons for which an operator may have a restart tried: of the others nothing is gained before somebody else acted.
RETRIABLE = FOUND_BY_TRYING | {
    Reason.SIDECAR_MISSING,
    Reason.IMAGE_REWRITTEN,
    Reason.POD_PENDING,
    Reason.CRASH_LOOPING,
    Reason.POD_FAILED,
    Reason.NOT_READY,
    Reason.ROLLOUT_FAILING,
    Reason.DISRUPTION_BUDGET,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a workload is not restarted; `detail` says it in at most 200 characters, from the cluster."""

    reason: Reason
    detail: str | None = None


#: A restart at a time further ahead than this is somebody's schedule, and no difference of clocks.
SCHEDULED_AHEAD = timedelta(minutes=1)
#: A Pod past its deletion time by more than this does not go by itself.
STUCK_AFTER = timedelta(minutes=5)
_NOT_STARTED = "its containers have not started"


def cause_of_owner(owner: Owner, pods: Sequence[Pod], now: datetime) -> Cause | None:
    """Owners that no restart can reach. `detail` also tells the state their Pods are in."""
    reason, told = _unreachable(owner, now)
    if reason is None:
        return None
    state = cause_of_pods(pods, now)
    detail = "; ".join(part for part in (told, (state.detail or str(state.reason)) if state else None) if part)
    return Cause(reason, one_line(detail) or None)


def _unreachable(owner: Owner, now: datetime) -> tuple[Reason | None, str | None]:
    workload = owner.workload
    reason: Reason | None = None
    told: str | None = None
    if owner.kind == "Pod":
        reason = Reason.STANDALONE_POD
    elif owner.kind in ("Job", "CronJob"):
        reason = Reason.JOB_POD
    elif workload is None or owner.kind not in (*RESTARTABLE_KINDS, *EVICTABLE_KINDS, ARGO_ROLLOUT):
        reason, told = Reason.UNSUPPORTED_OWNER, _unsupported(owner)
    elif owner.kind == ARGO_ROLLOUT:
        reason, told = _unreachable_argo_rollout(workload, now)
    elif workload.spec.paused:
        reason, told = Reason.ROLLOUT_PAUSED, rollout(workload).paused
    elif (strategy := workload.spec.update_strategy) is not None and strategy.type == "OnDelete":
        reason = Reason.ON_DELETE
    elif strategy is not None and strategy.rolling_update is not None and strategy.rolling_update.partition:
        reason, told = Reason.PARTITIONED, f"partition is {strategy.rolling_update.partition}"
    return reason, told


def _unsupported(owner: Owner) -> str:
    if owner.gone:
        return f"{owner.kind} {owner.name} does not exist any more"
    if owner.kind in READ_KINDS:
        return f"{owner.kind} {owner.name} cannot be read"
    return f"owner is a {owner.kind}"


def _unreachable_argo_rollout(workload: Workload, now: datetime) -> tuple[Reason | None, str | None]:
    paused, restart = rollout(workload).paused, mark_of(workload)
    if workload.template is None:
        reference = workload.spec.workload_ref
        lender = f"{reference.kind} {reference.name}" if reference else "nobody"
        return Reason.UNSUPPORTED_OWNER, f"its Pod template is that of {lender}, which is not read"
    if paused is not None:
        return Reason.ROLLOUT_PAUSED, paused
    if restart is not None and restart > now + SCHEDULED_AHEAD:
        return Reason.ROLLOUT_PAUSED, f"its restart is scheduled for {restart:%Y-%m-%dT%H:%MZ}"
    return None, None


def cause_of_pods(pods: Iterable[Pod], now: datetime) -> Cause | None:
    """The gravest trouble of some Pods; None when all of them are Ready."""
    found = most_severe(pods, now)
    return found[1] if found else None


def most_severe(pods: Iterable[Pod], now: datetime) -> tuple[Pod, Cause] | None:
    """The Pod with the gravest trouble, the first of several."""
    found = [(pod, cause) for pod in pods if (cause := cause_of_pod(pod, now)) is not None]
    order = list(Reason)
    return min(found, key=lambda one: order.index(one[1].reason), default=None)


def cause_of_pod(pod: Pod, now: datetime) -> Cause | None:
    """What is wrong with one Pod, None when it is Ready or on its way out."""
    deleted = pod.metadata.deletion_timestamp
    ready = pod.condition("Ready")
    statuses = (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ()))
    if deleted is not None:
        stuck = Cause(Reason.STUCK_TERMINATING, _named(pod, f"should be gone since {deleted:%Y-%m-%dT%H:%MZ}"))
        cause: Cause | None = stuck if now - deleted > STUCK_AFTER else None
    elif _unknown(pod, ready):
        said = pod.status.message or pod.status.reason or (ready.message if ready else "") or "its node does not report"
        cause = Cause(Reason.POD_UNKNOWN, _named(pod, f"Unknown: {said}"))
    elif pod.status.phase == "Pending":
        cause = Cause(Reason.POD_PENDING, _named(pod, f"Pending: {_pending(pod, statuses)}"))
    elif pod.status.phase == "Failed":
        said = pod.status.message or pod.status.reason or _ended(statuses)
        cause = Cause(Reason.POD_FAILED, _named(pod, f"Failed: {said}"))
    elif (looping := next((one for one in statuses if _waiting(one) == "CrashLoopBackOff"), None)) is not None:
        cause = Cause(Reason.CRASH_LOOPING, _named(pod, f"container {looping.name}: {_crash(looping)}"))
    elif not pod.ready:
        said = pod.status.message or ((ready.message or ready.reason) if ready else "it has not been ready yet")
        cause = Cause(Reason.NOT_READY, _named(pod, f"not Ready: {said or 'no reason given'}"))
    else:
        cause = None
    return cause


def unexplained(pod: Pod, now: datetime) -> bool:
    """Whether something ails it and its own status does not say what: its last events may."""
    cause = cause_of_pod(pod, now)
    if cause is None or pod.status.message or cause.reason not in (Reason.POD_PENDING, Reason.NOT_READY):
        return False
    return cause.reason is Reason.NOT_READY or (cause.detail or "").endswith(_NOT_STARTED)


def explained(pod: Pod, words: str | None) -> Pod:
    """The Pod with what its last event says as its status' message."""
    if words is None or pod.status.message:
        return pod
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, message=words))


def cause_of_last_rollout(owner: Owner) -> Cause | None:
    """That its last rollout failed: another one of the same template fares no better before somebody has mended it."""
    if owner.workload is None:
        return None
    last = rollout(owner.workload)
    if last.failed is None:
        return None
    if last.over_quota:
        return Cause(Reason.QUOTA_EXCEEDED, one_line(last.refused or ""))
    return Cause(Reason.ROLLOUT_FAILING, one_line(last.failed))


def cause_of_budgets(owner: Owner, pods: Sequence[Pod], budgets: Iterable[DisruptionBudget]) -> Cause | None:
    """What forbids a restart of an otherwise restartable workload, and waiting cannot help."""
    if owner.workload is None:
        return None
    taken = may_take(owner.workload)
    for budget in budgets:
        status = budget.status
        if taken and budget.selects(pods) and max(0, status.expected_pods - taken) < status.desired_healthy:
            name = budget.metadata.name
            told = f"PodDisruptionBudget {name} wants {status.desired_healthy} of {status.expected_pods} Pods healthy"
            return Cause(Reason.DISRUPTION_BUDGET, one_line(f"{told}; the rollout takes {taken} at a time"))
    return None


def would_exceed(budget: DisruptionBudget, taken: int, others: int) -> bool:
    """Whether taking so many Pods now would hurt a budget, while others are about to take theirs from it.

    Whether Pods that are not healthy now are those of the others, nobody tells: they are counted twice rather than not
    at all. Waiting may help: they come back.
    """
    return budget.status.current_healthy - others - taken < budget.status.desired_healthy


@lru_cache(maxsize=1024)
def cause_of_windows(texts: tuple[str, ...], now: datetime) -> Cause | None:
    """Maintenance windows for which nobody could wait. Workloads share them, and `never` takes a while to find out."""
    try:
        windows = parse_windows(*texts)
    except WindowInvalidError as error:
        return Cause(Reason.WINDOW_INVALID, one_line(str(error)))
    return Cause(Reason.WINDOW_NEVER_OPENS, one_line(never_together(texts))) if windows.next_open(now) is None else None


def _unknown(pod: Pod, ready: Condition | None) -> bool:
    unsure = ready is not None and ready.status == "Unknown"
    return pod.status.phase == "Unknown" or pod.status.reason == "NodeLost" or unsure


def _named(pod: Pod, text: str) -> str:
    return one_line(f"Pod {pod.metadata.name} {text}")


def _waiting(status: ContainerStatus) -> str | None:
    return status.state.waiting.reason if status.state and status.state.waiting else None


def _pending(pod: Pod, statuses: Sequence[ContainerStatus]) -> str:
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return scheduled.message or scheduled.reason
    for status in statuses:
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"container {status.name}: {waiting.reason} {waiting.message}"
    return pod.status.message or pod.status.reason or _NOT_STARTED


def _crash(status: ContainerStatus) -> str:
    ended = status.last_state.terminated if status.last_state else None
    told = f", last exit code {ended.exit_code} {ended.reason}" if ended else ""
    return f"CrashLoopBackOff after {status.restart_count} restarts{told}"


def _ended(statuses: Sequence[ContainerStatus]) -> str:
    for status in statuses:
        ended = status.state.terminated if status.state else None
        if ended is not None and ended.exit_code:
            return f"container {status.name} ended with exit code {ended.exit_code} {ended.reason}"
    return "no reason given"
