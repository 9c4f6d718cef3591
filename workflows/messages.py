"""What goes into and comes out of the workflows. New fields get defaults: older histories must still decode."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from activities.control_plane import ResolvedTarget
from activities.survey.activities import SurveyInput
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.targets import Target
from mesh.plan.policy import Policy
from mesh.plan.waves import WaveRule

#: Failed restarts that are named where their number is told.
NAMED = 5


class Phase(StrEnum):
    """The phase of an upgrade (docs/reference/glossary.md)."""

    PREFLIGHT = "preflight"
    CONTROL_PLANE = "control-plane"
    SURVEY = "survey"
    RESTARTING = "restarting"
    SOAKING = "soaking"
    WAITING_WINDOW = "waiting-window"
    WAITING_APPROVAL = "waiting-approval"
    PAUSED = "paused"
    FINAL_SURVEY = "final-survey"
    WAITING_QUEUE = "waiting-queue"
    DONE = "done"
    FAILED = "failed"
    ABORTED = "aborted"


Result = Literal["done", "done-with-items", "failed", "aborted"]


@dataclass(frozen=True, slots=True)
class UpgradeInput:
    """One upgrade. `to` is the user's word and is resolved once more by the worker; `who` asked for it.

    `state` is there when an upgrade goes on in a new run.
    """

    cluster: ClusterRef
    to: str
    policy: Policy = field(default_factory=Policy)
    who: str = ""
    state: UpgradeState | None = None


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
class ApproveInput:
    """`wave` is a wave's number, as in its workflow id; None means the one that waits."""

    wave: int | None = None
    who: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class LimitInput:
    """The most workloads in flight in the cluster, from now on."""

    in_flight: int = 0
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
class UpgradeReport:
    """Answer of the query `report`: where it stands, Pods left alone on purpose, the newest decisions in words.

    Waves and items are read from Temporal itself (`kyma-upgrade report`): they are no payload's size.
    """

    progress: Progress
    pinned: int = 0
    excluded: int = 0
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WaveControl:
    """Sent to a wave: start nothing new until told otherwise, or at all.

    `in_flight` takes the place of the policy's limit for the cluster. `taken` is what waves before it have in flight,
    by namespace.
    """

    paused: bool = False
    stopped: bool = False
    in_flight: int | None = None
    taken: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WaveInput:
    """One wave; it looks up its own members when it starts. After `until` it begins no more of them.

    `read_after` as in ListWaveMembersInput.
    """

    survey: SurveyInput
    rule: WaveRule
    canary_below: int
    mark: datetime
    of: int
    until: datetime | None = None
    steer: WaveControl = field(default_factory=WaveControl)
    read_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class WaveReport:
    """What a wave says on its way: members that have not begun, those in flight by namespace, failures so far.

    `last_failed` are the newest of them, in words. `lost` is why it cannot begin anything until it is resumed.
    """

    number: int
    waiting: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    lost: str | None = None
    last_failed: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How many are in flight."""
        return sum(self.in_flight.values())


@dataclass(frozen=True, slots=True)
class WaveResult:
    """Counts, and whose restart failed: each has an item by then. At most as many as a wave has workloads.

    `left` have not begun: a window closed, or an operator ended it.
    """

    restarted: int = 0
    current: int = 0
    gone: int = 0
    failed: tuple[WorkloadRef, ...] = ()
    left: int = 0


@dataclass(frozen=True, slots=True)
class CountersState:
    """What an upgrade has counted (see workflows.counters)."""

    planned: int = 0
    restarted: int = 0
    current: int = 0
    failed: tuple[str, ...] = ()
    forgiven: int = 0


@dataclass(frozen=True, slots=True)
class UpgradeState:
    """An upgrade on its way from one run to the next, between two waves.

    `mark` is None before the control plane is done.
    """

    target: ResolvedTarget
    started_at: datetime
    began: datetime | None
    mark: datetime | None
    waves_run: int
    canary_below: int | None
    counters: CountersState
    paused_by: str | None
    in_flight: int | None
    decisions: tuple[str, ...]
    approved: tuple[str, ...]
    approved_numbers: tuple[int, ...]
    waits_until: datetime | None = None
