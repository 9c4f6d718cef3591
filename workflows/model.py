"""What goes into and comes out of the workflows. New fields get defaults: older histories must still decode."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from activities.restarts import WorkloadRef
from activities.survey import SurveyInput
from mesh.cluster import ClusterRef
from mesh.kyma import Target
from mesh.policy import Policy
from mesh.waves import WaveRule


class Phase(StrEnum):
    """The contract's phases."""

    PREFLIGHT = "preflight"
    CONTROL_PLANE = "control-plane"
    SURVEY = "survey"
    RESTARTING = "restarting"
    SOAKING = "soaking"
    PAUSED = "paused"
    FINAL_SURVEY = "final-survey"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


Result = Literal["done", "done-with-items", "failed", "aborted"]


@dataclass(frozen=True, slots=True)
class UpgradeInput:
    """One upgrade. `to` is the user's word and is resolved once more by the worker; `who` asked for it."""

    cluster: ClusterRef
    to: str
    policy: Policy = field(default_factory=Policy)
    who: str = ""


@dataclass(frozen=True, slots=True)
class AttachInput:
    """A second start: harmless if it means the same target."""

    to: str = ""
    target: Target | None = None
    cluster: ClusterRef | None = None


@dataclass(frozen=True, slots=True)
class OperatorInput:
    """Who steers, and why. The Temporal UI knows neither."""

    who: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadCounts:
    """Of the workloads that the first survey planned to restart."""

    planned: int = 0
    restarted: int = 0
    current: int = 0
    remediation: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """The wave at work."""

    number: int
    of: int
    name: str


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """Open items by reason."""

    open: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """Answer of the query `progress`: what `kyma-upgrade status` prints."""

    cluster: str
    target: str | None
    phase: Phase
    needs_attention: str | None
    next_step: str | None
    started_at: datetime
    ended_at: datetime | None
    result: Result | None
    workloads: WorkloadCounts
    wave: WaveProgress | None
    items: ItemCounts


@dataclass(frozen=True, slots=True)
class UpgradeResult:
    """How the upgrade ended. `excluded` and `pinned` count Pods that were left alone on purpose."""

    result: Result
    progress: Progress
    pinned: int = 0
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class WaveInput:
    """One wave; it looks up its own members when it starts."""

    survey: SurveyInput
    rule: WaveRule
    canary_below: int
    mark: datetime
    of: int


@dataclass(frozen=True, slots=True)
class WaveResult:
    """Counts, and whose restart failed: each has an item by then. At most as many as a wave has workloads."""

    restarted: int = 0
    current: int = 0
    gone: int = 0
    failed: tuple[WorkloadRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Steer:
    """Sent to a wave: start nothing new until told otherwise, or at all."""

    paused: bool = False
    stopped: bool = False
