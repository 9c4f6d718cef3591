"""A wave as its history tells it: every member and how its restart ended, also while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.temporal.histories import decoded, events_of, is_gone, time_of, told_by
from mesh.reporting.document import MemberStatus, WaveDocument, WorkloadDocument, count_by_status
from mesh.text import one_line

if TYPE_CHECKING:
    from temporalio.api.common.v1 import Payloads
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.client import Client

    from activities.restart.activities import RestartResult
    from cli.temporal.upgrade_history import BegunWave
    from mesh.k8s.workload_ref import WorkloadRef

_RUNNING = "running"
#: Ends of workflows, by the sort of their last event.
_ENDS = {
    "workflow_execution_completed": "done",
    "workflow_execution_failed": "failed",
    "workflow_execution_terminated": "terminated",
    "workflow_execution_canceled": "cancelled",
    "workflow_execution_timed_out": "timed out",
}


async def read_wave(client: Client, wave: BegunWave, url: str | None = None) -> WaveDocument:
    """A wave from its own history; from its result where that is not kept any more."""
    reader = _Reader(client)
    try:
        async for event in events_of(client, wave.workflow_id, wave.run_id):
            await reader.take(event)
    except Exception as error:
        if not is_gone(error):
            raise
        return _remembered(wave, url)
    workloads = reader.workloads()
    return {
        **_remembered(wave, url),
        "state": reader.state,
        "detail": reader.detail,
        "startedAt": reader.started_at,
        "endedAt": reader.ended_at,
        "counts": count_by_status(workloads),
        "complete": True,
        "workloads": workloads,
    }


def _remembered(wave: BegunWave, url: str | None) -> WaveDocument:
    """What the upgrade knows of it: the counts, and the failures by name; why they failed, their items tell."""
    result = wave.result
    workloads = [_outcome(one, MemberStatus.FAILED) for one in result.failed] if result is not None else []
    counts = count_by_status(workloads)
    if result is not None:
        counts.update(restarted=result.restarted, current=result.current, gone=result.gone, left=result.left)
    return WaveDocument(
        number=wave.rule.number,
        name=wave.rule.name,
        workflowId=wave.workflow_id,
        runId=wave.run_id,
        url=url,
        state="done" if result is not None else "ended",
        detail="Temporal does not keep its history any more",
        startedAt=None,
        endedAt=None,
        counts=counts,
        complete=False,
        workloads=workloads,
    )


class _Reader:
    def __init__(self, client: Client) -> None:
        self._client = client
        self.state = _RUNNING
        self.detail: str | None = None
        self.started_at: str | None = None
        self.ended_at: str | None = None
        self._lookups: set[int] = set()
        self._restarts: dict[int, WorkloadRef] = {}
        self._told: dict[WorkloadRef, WorkloadDocument] = {}

    def workloads(self) -> list[WorkloadDocument]:
        """Every member, as far as the wave has come with it."""
        told = list(self._told.values())
        if self.state == _RUNNING:
            return told
        for one in told:
            if one["outcome"] is MemberStatus.IN_FLIGHT:
                one["detail"] = "was under way when the wave ended"
            if one["outcome"] in (MemberStatus.IN_FLIGHT, MemberStatus.WAITING):
                one["outcome"] = MemberStatus.LEFT
        return told

    async def take(self, event: HistoryEvent) -> None:
        """One event after another."""
        kind, told = told_by(event)
        match kind:
            case "workflow_execution_started":
                self.started_at = time_of(event)
            case "activity_task_scheduled" if told.activity_type.name == "list_wave_members":
                self._lookups.add(event.event_id)
            case "activity_task_scheduled" if told.activity_type.name == "restart_workload":
                await self._begins(event, told.input)
            case "activity_task_completed" if told.scheduled_event_id in self._lookups:
                await self._members(told.result)
            case "activity_task_completed" if told.scheduled_event_id in self._restarts:
                await self._restarted(event, told)
            case "activity_task_failed" | "activity_task_timed_out" | "activity_task_canceled":
                self._not_restarted(event, told)
            case _ if kind in _ENDS:
                self.state, self.ended_at = _ENDS[kind], time_of(event)
                reason = getattr(told, "reason", "") or (told.failure.message if hasattr(told, "failure") else "")
                self.detail = one_line(reason) or None

    async def _members(self, payloads: Payloads) -> None:
        from activities.survey.activities import WaveMember

        for one in await decoded(self._client, payloads, list[WaveMember]):
            self._told[one.workload] = _outcome(one.workload, MemberStatus.WAITING)

    async def _begins(self, event: HistoryEvent, payloads: Payloads) -> None:
        from activities.restart.activities import RestartInput

        workload = (await decoded(self._client, payloads, RestartInput)).workload
        self._restarts[event.event_id] = workload
        self._told[workload] = _outcome(workload, MemberStatus.IN_FLIGHT, started_at=time_of(event))

    async def _restarted(self, event: HistoryEvent, told: Any) -> None:  # noqa: ANN401  # attributes of an event
        from activities.restart.activities import RestartOutcome, RestartResult

        result = await decoded(self._client, told.result, RestartResult)
        one = self._told[self._restarts[told.scheduled_event_id]]
        one["outcome"] = _member_status(result)
        one["reason"] = str(result.reason) if result.reason else None
        one["detail"] = "scaled to zero" if result.outcome is RestartOutcome.SCALED_TO_ZERO else result.detail
        one["endedAt"] = time_of(event)

    def _not_restarted(self, event: HistoryEvent, told: Any) -> None:  # noqa: ANN401  # attributes of an event
        from temporalio.api.enums.v1 import TimeoutType

        from mesh.survey.reasons import Reason
        from workflows.failures import NO_WORKER

        workload = self._restarts.get(told.scheduled_event_id)
        if workload is None or not hasattr(told, "failure"):
            return
        failure, one = told.failure, self._told[workload]
        if failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
            one["outcome"], one["detail"] = MemberStatus.WAITING, NO_WORKER
        else:
            # As the wave itself takes it.
            one["outcome"], one["reason"], one["detail"] = (
                MemberStatus.FAILED,
                Reason.ROLLOUT_FAILING,
                one_line(failure.message),
            )
            one["endedAt"] = time_of(event)


def _member_status(result: RestartResult) -> MemberStatus:
    from activities.restart.activities import RestartOutcome

    return {
        RestartOutcome.RESTARTED: MemberStatus.RESTARTED,
        RestartOutcome.ALREADY_CURRENT: MemberStatus.CURRENT,
        RestartOutcome.GONE: MemberStatus.GONE,
        RestartOutcome.SCALED_TO_ZERO: MemberStatus.GONE,
        RestartOutcome.FAILED: MemberStatus.FAILED,
        # Not at all: it keeps its place.
        RestartOutcome.POSTPONED: MemberStatus.WAITING,
    }[result.outcome]


def _outcome(workload: WorkloadRef, outcome: MemberStatus, started_at: str | None = None) -> WorkloadDocument:
    return WorkloadDocument(
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        outcome=outcome,
        reason=None,
        detail=None,
        startedAt=started_at,
        endedAt=None,
    )
