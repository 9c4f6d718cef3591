"""Inputs, results and messages of the workflows. A new field gets a default: older histories must still decode."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from activities.control_plane import ResolvedTarget
from activities.survey.activities import SurveyInput
from mesh.history import HistoryEntry
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.targets import Target
from mesh.plan.policy import Policy
from mesh.plan.waves import WaveRule

#: Failed restarts that are named beside their number.
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
    """One upgrade. `to` is the target as the user wrote it, which the worker resolves; `who` started the upgrade.

    `state` is that of the run before, None for the first run.
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
    """An operator's command to an upgrade: who gives it, and why. The Temporal UI adds neither."""

    who: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class ApproveInput(OperatorInput):
    """Approves a wave by its number, as in its workflow id; None means the wave that waits."""

    wave: int | None = None


@dataclass(frozen=True, slots=True)
class LimitInput(OperatorInput):
    """The most workloads in flight in the cluster from now on."""

    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class WorkloadCounts:
    """Counts of the workloads that the first survey planned to restart."""

    planned: int = 0
    restarted: int = 0
    current: int = 0
    remediation: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """The newest wave."""

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
    """Answer of the query `report`: the progress, Pods left alone on purpose, the newest decisions of operators.

    Waves and items are read from Temporal itself (`kyma-upgrade report`): they can be larger than a payload.
    """

    progress: Progress
    pinned: int = 0
    excluded: int = 0
    decisions: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class WaveControl:
    """Tells a wave to begin no restarts until further notice (`paused`), or at all (`stopped`).

    `limit` takes the place of the policy's limit for the cluster. `taken` counts what earlier waves have in flight, by
    namespace.
    """

    paused: bool = False
    stopped: bool = False
    limit: int | None = None
    taken: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WaveInput:
    """One wave, which lists its own members when it starts. After `until` it begins no more restarts.

    `read_after` as in ListWaveMembersInput.
    """

    survey: SurveyInput
    rule: WaveRule
    canary_below: int
    mark: datetime
    of: int
    until: datetime | None = None
    control: WaveControl = field(default_factory=WaveControl)
    read_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class WaveReport:
    """What a wave tells its upgrade: members not yet begun, those in flight by namespace, failures so far.

    `last_failed` names the newest failures. `blocked_by` is why the wave cannot begin restarts until it is resumed.
    """

    number: int
    waiting: int = 0
    in_flight: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    blocked_by: str | None = None
    last_failed: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """How many restarts are in flight."""
        return sum(self.in_flight.values())


@dataclass(frozen=True, slots=True)
class WaveResult:
    """Counts, and the workloads whose restart failed: each has an item by then.

    `left` were not begun: a window closed, or an operator ended the wave.
    """

    restarted: int = 0
    current: int = 0
    gone: int = 0
    failed: tuple[WorkloadRef, ...] = ()
    left: int = 0


@dataclass(slots=True)
class CountersState:
    """What an upgrade has counted (see workflows.counters).

    `failed` holds fingerprints of failed restarts, at most as many as a survey can take; `failed_count` counts all.
    """

    planned: int = 0
    restarted: int = 0
    current: int = 0
    failed_count: int = 0
    failed: list[str] = field(default_factory=list)
    acknowledged: int = 0


@dataclass(slots=True)
class ControlsState:
    """What operators have decided (see workflows.operator_controls)."""

    paused_by: str | None = None
    aborted: bool = False
    in_flight: int | None = None
    decisions: tuple[HistoryEntry, ...] = ()
    approved_names: list[str] = field(default_factory=list)
    approved_numbers: list[int] = field(default_factory=list)


@dataclass(slots=True)
class UpgradeState:
    """The state of an upgrade that its next run takes over as it is.

    `hold_taken` is set when preflight is done. `mark` is the time that restarts write, None before the control plane
    is upgraded. `queue_deadline` ends the wait for an empty queue, None before it begins.
    """

    started_at: datetime
    target: ResolvedTarget | None = None
    hold_taken: bool = False
    began: datetime | None = None
    mark: datetime | None = None
    waves_run: int = 0
    canary_below: int | None = None
    queue_deadline: datetime | None = None
    counters: CountersState = field(default_factory=CountersState)
    controls: ControlsState = field(default_factory=ControlsState)

    @property
    def resolved(self) -> Target:
        """The target, which is known after preflight."""
        if self.target is None:
            raise ValueError("preflight resolves the target")
        return self.target.target

    def survey_input(self, cluster: ClusterRef, policy: Policy) -> SurveyInput:
        """Returns the input of a survey at this point of the upgrade."""
        return SurveyInput(cluster, policy, self.mark, self.began, tuple(self.counters.failed), self.canary_below)
