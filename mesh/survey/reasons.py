"""Why a workload is not restarted: the reasons (docs/reference/glossary.md), and the cause that names one of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


#: Reasons that only a restart finds: the workload was Ready before this service wrote to it, so it must be Ready again.
FOUND_BY_TRYING = frozenset(
    {Reason.ROLLOUT_TIMED_OUT, Reason.INJECTION_FAILED, Reason.RESTART_REVERTED, Reason.QUOTA_EXCEEDED}
)

#: Reasons for which an operator may retry the restart; with any other reason a restart fails until the cause is fixed.
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
