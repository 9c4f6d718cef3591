"""Inputs and results of the queue's activities, and the input of an item's workflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from activities.restart.outcome import RestartResult
from activities.survey.activities import SurveyInput
from mesh.identity import ClusterRef
from mesh.plan.policy import Policy
from mesh.remediation.item import Item
from mesh.survey.finding import Finding

_NO_PROGRESS = Policy().no_progress.rollout


@dataclass(frozen=True, slots=True)
class OpenItemsInput:
    """The survey whose findings become items.

    The items may be judged from a reading of the cluster that began after `read_after`, which is when the last survey
    began or an operator last gave a command. None asks for a reading of its own.
    """

    survey: SurveyInput
    read_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenItemsResult:
    """The open items of the cluster, in all and by reason. Items that an operator skipped do not count."""

    count: int
    by_reason: dict[str, int]


@dataclass(frozen=True, slots=True)
class OpenItemInput:
    """A restart that failed. `no_progress` as in RemediationItemInput."""

    cluster: ClusterRef
    result: RestartResult
    no_progress: timedelta = _NO_PROGRESS


@dataclass(frozen=True, slots=True)
class RemediationItemInput:
    """Starts an item's workflow. `item` is what its list entry shows; its Pods carry the warning already.

    `no_progress` is the time without progress after which the rollout of an operator's retry has failed.
    """

    cluster: ClusterRef
    item: Item
    no_progress: timedelta = _NO_PROGRESS


@dataclass(frozen=True, slots=True)
class SetPodWarningsInput:
    """An item's workload, and the warning that its Pods are to carry; None removes the warning."""

    cluster: ClusterRef
    finding: Finding
    text: str | None


@dataclass(frozen=True, slots=True)
class RecheckItemInput:
    """The workload of an item. A reading of the cluster that began at most `max_age` seconds ago may serve."""

    cluster: ClusterRef
    finding: Finding
    max_age: float = 0.0
