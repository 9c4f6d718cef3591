"""What a restart is asked to do, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.reasons import Reason


class RestartOutcome(StrEnum):
    """How a restart ended.

    `excluded`: the workload got the exclusion annotation since the survey. `postponed`: the injector does not answer,
    which is no fault of the workload.
    """

    RESTARTED = "restarted"
    ALREADY_CURRENT = "already-current"
    GONE = "gone"
    SCALED_TO_ZERO = "scaled-to-zero"
    EXCLUDED = "excluded"
    FAILED = "failed"
    POSTPONED = "postponed"


@dataclass(frozen=True, slots=True)
class RestartInput:
    """One attempt to restart a workload.

    `mark` is the time that the attempt writes. A rollout that does not move for `no_progress` has failed.
    `by_operator`: an operator asks for the restart, and may have fixed the cause that failed the last rollout.
    """

    cluster: ClusterRef
    workload: WorkloadRef
    mark: datetime
    no_progress: timedelta
    by_operator: bool = False


@dataclass(frozen=True, slots=True)
class RestartResult:
    """`reason` and `detail` say why the restart failed or was postponed."""

    workload: WorkloadRef
    outcome: RestartOutcome
    reason: Reason | None = None
    detail: str | None = None
