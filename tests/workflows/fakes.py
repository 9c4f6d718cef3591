"""A cluster that does what a test says: every activity by name, scripted by plain attributes, every call recorded."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.control_plane import (
    ApplyTargetInput,
    AwaitControlPlaneInput,
    AwaitControlPlaneResult,
    ResolvedTarget,
    ResolveTargetInput,
)
from activities.gates import CheckGateInput, CheckWindowInput, GateResult, WindowState
from activities.hold import HoldInput
from activities.remediation.inputs import (
    OpenItemInput,
    OpenItemsInput,
    OpenItemsResult,
    RecheckItemInput,
    SetPodWarningsInput,
)
from activities.remediation.watch import WatchClusterInput
from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from activities.survey.activities import ListWaveMembersInput, SurveyInput, SurveySummary, WaveMember
from mesh.errors import UpgradeError
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.kyma.targets import Target
from mesh.plan.waves import WaveGroup, WavePlan, WaveRule
from mesh.remediation.item import Observation
from mesh.survey.reasons import Reason

TARGET = Target("fast", "1.30.0", "1.30.2")
_HEARTBEAT_SECONDS = 0.02


def workloads(*names: str, namespace: str = "shop") -> list[WorkloadRef]:
    """Deployments by name."""
    return [WorkloadRef(namespace, "Deployment", name) for name in names]


def as_activity_error(error: UpgradeError) -> ApplicationError:
    """What the edge of the real activities makes of one of our errors."""
    return ApplicationError(error.sentence(), type=type(error).__name__, non_retryable=not error.retryable)


@dataclass(frozen=True)
class Call:
    """One call of an activity, at the server's time, which is skipped in tests."""

    name: str
    request: Any
    at: datetime


class FakeCluster:
    """Attributes say what comes next, `calls` what came."""

    def __init__(self, ref: ClusterRef) -> None:
        self.ref = ref
        self.calls: list[Call] = []
        self.finished: list[str] = []
        #: Failures of the next calls of an activity, in order.
        self.errors: defaultdict[str, deque[UpgradeError]] = defaultdict(deque)
        self._shut: dict[str, asyncio.Event] = {}

        self.target = ResolvedTarget(TARGET, "1.29.3", already_installed=False)
        #: Trouble that the next waits for the control plane end with.
        self.trouble: deque[str] = deque()
        #: Why the gate is shut at its next tries.
        self.gate_shut: deque[str] = deque()
        #: The policy's windows at the next checks; the last one stays.
        self.windows: deque[WindowState] = deque([WindowState(open=True, changes_at=None)])
        #: When members of waves may no longer be begun.
        self.until: dict[WorkloadRef, datetime] = {}
        #: Workloads whose own window is shut until then.
        self.deferred: dict[WorkloadRef, datetime] = {}
        #: Restarts that are held once, with the reason.
        self.held: dict[WorkloadRef, str] = {}

        #: What is stale and can be restarted, by wave; a restart takes it away.
        self.stale: dict[str, list[WorkloadRef]] = {"canary": workloads("cart"), "to 100%": workloads("till", "stock")}
        #: Waves with the same number here are parts of one step, which overlap.
        self.steps: dict[str, int] = {}
        #: Restarts that do not help: the workload is still a candidate afterwards.
        self.stubborn: set[WorkloadRef] = set()
        #: Restarts that end in a failed result.
        self.failing: dict[WorkloadRef, Reason] = {}
        #: Other outcomes than `restarted`.
        self.outcomes: dict[WorkloadRef, RestartOutcome] = {}
        #: Open items after the upgrade, by reason.
        self.items: dict[str, int] = {}
        self.classes: dict[str, int] = {}

        #: What the next rechecks of an item observe; without any, its finding is unchanged.
        self.rechecks: deque[Observation] = deque()

        self.in_flight: Counter[str] = Counter()
        self.most_in_flight = 0
        self.most_in_namespace: Counter[str] = Counter()

    # What tests ask and say.

    @property
    def names(self) -> list[str]:
        """The names of all calls in order."""
        return [call.name for call in self.calls]

    def asked(self, name: str) -> list[Any]:
        """The inputs of an activity's calls."""
        return [call.request for call in self.calls if call.name == name]

    def times(self, name: str) -> list[datetime]:
        """When an activity was called."""
        return [call.at for call in self.calls if call.name == name]

    @property
    def restarted(self) -> list[str]:
        """The names of the workloads whose restart was begun, in order."""
        return [request.workload.name for request in self.asked("restart_workload")]

    def block(self, *names: str) -> None:
        """Calls of these activities wait until they are let go on."""
        for name in names:
            self._shut[name] = asyncio.Event()

    def unblock(self, *names: str) -> None:
        """Calls that wait return, later ones do not wait."""
        for name in names:
            self._shut.pop(name).set()

    def fail(self, name: str, *errors: UpgradeError) -> None:
        """The next calls of the activity fail like this."""
        self.errors[name].extend(errors)

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, for a worker."""
        members = (getattr(self, name) for name in dir(type(self)) if name != "activities")
        return [one for one in members if hasattr(one, "__temporal_activity_definition")]

    async def _called(self, name: str, request: object) -> None:
        """Records, fails and waits as the test said."""
        self.calls.append(Call(name, request, activity.info().current_attempt_scheduled_time))
        if self.errors[name]:
            raise as_activity_error(self.errors[name].popleft())
        while (shut := self._shut.get(name)) is not None and not shut.is_set():
            activity.heartbeat()
            await asyncio.sleep(_HEARTBEAT_SECONDS)
        self.finished.append(name)

    # The control plane.

    @activity.defn(name="resolve_target")
    async def resolve_target(self, request: ResolveTargetInput) -> ResolvedTarget:
        await self._called("resolve_target", request)
        return self.target

    @activity.defn(name="apply_target")
    async def apply_target(self, request: ApplyTargetInput) -> bool:
        await self._called("apply_target", request)
        return True

    @activity.defn(name="await_control_plane")
    async def await_control_plane(self, request: AwaitControlPlaneInput) -> AwaitControlPlaneResult:
        await self._called("await_control_plane", request)
        return AwaitControlPlaneResult(self.trouble.popleft() if self.trouble else None, ())

    # Hold and gate.

    @activity.defn(name="renew_hold")
    async def renew_hold(self, request: HoldInput) -> None:
        await self._called("renew_hold", request)

    @activity.defn(name="await_hold")
    async def await_hold(self, request: HoldInput) -> None:
        await self._called("await_hold", request)

    @activity.defn(name="release_hold")
    async def release_hold(self, request: HoldInput) -> None:
        await self._called("release_hold", request)

    @activity.defn(name="check_gate")
    async def check_gate(self, request: CheckGateInput) -> GateResult:
        await self._called("check_gate", request)
        return GateResult(self.gate_shut.popleft() if self.gate_shut else None)

    @activity.defn(name="check_window")
    async def check_window(self, request: CheckWindowInput) -> WindowState:
        await self._called("check_window", request)
        return self.windows.popleft() if len(self.windows) > 1 else self.windows[0]

    @activity.defn(name="ping_worker")
    async def ping_worker(self, request: ClusterRef) -> None:
        await self._called("ping_worker", request)

    # Survey and restarts.

    @activity.defn(name="survey_cluster")
    async def survey_cluster(self, request: SurveyInput) -> SurveySummary:
        await self._called("survey_cluster", request)
        now = activity.info().current_attempt_scheduled_time
        for workload, opens in list(self.deferred.items()):
            if opens <= now:
                del self.deferred[workload]
                self.stale.setdefault("to 100%", []).append(workload)
        drawn = [(name, members) for name, members in self.stale.items() if members]
        rules = tuple(
            WaveRule(number, name, self._group(name), workloads=len(members), step=self.steps.get(name, number))
            for number, (name, members) in enumerate(drawn)
        )
        candidates = sum(rule.workloads for rule in rules)
        items = sum(self.items.values())
        return SurveySummary(
            pods=100,
            workloads=50,
            classes=dict(self.classes),
            candidates=candidates,
            stale_workloads=candidates + items,
            remediation=items,
            by_reason=dict(self.items),
            waves=WavePlan(rules, 7),
            deferred=len(self.deferred),
            opens_at=min(self.deferred.values(), default=None),
        )

    def _group(self, name: str) -> WaveGroup:
        named = {"canary": WaveGroup.CANARY, "gateways": WaveGroup.GATEWAYS}
        return named.get(name, WaveGroup.REST)

    @activity.defn(name="list_wave_members")
    async def list_wave_members(self, request: ListWaveMembersInput) -> list[WaveMember]:
        await self._called("list_wave_members", request)
        return [WaveMember(one, self.until.get(one)) for one in self.stale[request.rule.name]]

    @activity.defn(name="restart_workload")
    async def restart_workload(self, request: RestartInput) -> RestartResult:
        namespace = request.workload.namespace
        self.in_flight[namespace] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight.total())
        self.most_in_namespace[namespace] = max(self.most_in_namespace[namespace], self.in_flight[namespace])
        try:
            await self._called("restart_workload", request)
        finally:
            self.in_flight[namespace] -= 1
        if request.workload in self.held:
            return RestartResult(request.workload, RestartOutcome.POSTPONED, None, self.held.pop(request.workload))
        if request.workload not in self.stubborn:
            for members in self.stale.values():
                if request.workload in members:
                    members.remove(request.workload)
        reason = self.failing.get(request.workload)
        if reason is not None:
            return RestartResult(request.workload, RestartOutcome.FAILED, reason, "0 of 1 Pods came up")
        return RestartResult(request.workload, self.outcomes.get(request.workload, RestartOutcome.RESTARTED))

    # The queue.

    @activity.defn(name="open_items")
    async def open_items(self, request: OpenItemsInput) -> OpenItemsResult:
        await self._called("open_items", request)
        return OpenItemsResult(sum(self.items.values()), dict(self.items))

    @activity.defn(name="open_item")
    async def open_item(self, request: OpenItemInput) -> bool:
        await self._called("open_item", request)
        return True

    @activity.defn(name="set_pod_warnings")
    async def set_pod_warnings(self, request: SetPodWarningsInput) -> int:
        await self._called("set_pod_warnings", request)
        return request.finding.pod_count

    @activity.defn(name="recheck_item")
    async def recheck_item(self, request: RecheckItemInput) -> Observation:
        await self._called("recheck_item", request)
        now = activity.info().current_attempt_scheduled_time
        return replace(self.rechecks.popleft(), at=now) if self.rechecks else Observation(now, request.finding)

    @activity.defn(name="watch_cluster")
    async def watch_cluster(self, request: WatchClusterInput) -> None:
        """Blocked, it watches; let go on, it has found nothing open any more."""
        await self._called("watch_cluster", request)
