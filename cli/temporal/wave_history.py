"""A wave from its history: every member and how its restart ended, also while the wave runs."""

from __future__ import annotations

from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from activities.survey.activities import WaveMember
from cli.temporal.histories import decoded, events_of, is_gone, time_of, type_and_attributes
from cli.temporal.upgrade_history import StartedWave
from mesh.k8s.workload_ref import WorkloadRef
from mesh.reporting.document import MemberStatus, WaveDocument, WorkloadDocument, count_by_status
from mesh.survey.reasons import Reason
from mesh.text import one_line
from workflows.failures import NO_WORKER

_RUNNING = "running"
#: States of closed workflows, by the type of their last event.
_ENDS = {
    "workflow_execution_completed": "done",
    "workflow_execution_failed": "failed",
    "workflow_execution_terminated": "terminated",
    "workflow_execution_canceled": "cancelled",
    "workflow_execution_timed_out": "timed out",
}
#: Statuses of members by the outcome of their restart.
_STATUSES = {
    RestartOutcome.RESTARTED: MemberStatus.RESTARTED,
    RestartOutcome.ALREADY_CURRENT: MemberStatus.CURRENT,
    RestartOutcome.GONE: MemberStatus.GONE,
    RestartOutcome.SCALED_TO_ZERO: MemberStatus.GONE,
    RestartOutcome.EXCLUDED: MemberStatus.GONE,
    RestartOutcome.FAILED: MemberStatus.FAILED,
    # Nothing was written: the member keeps its place.
    RestartOutcome.POSTPONED: MemberStatus.WAITING,
}
#: Details of members whose status alone does not tell the outcome.
_DETAILS = {RestartOutcome.SCALED_TO_ZERO: "scaled to zero", RestartOutcome.EXCLUDED: "excluded during the wave"}


async def read_wave(client: Client, wave: StartedWave, url: str | None = None) -> WaveDocument:
    """Returns a wave from its own history; from the upgrade's record if Temporal no longer keeps that history."""
    reader = _HistoryReader(client)
    try:
        async for event in events_of(client, wave.workflow_id, wave.run_id):
            await reader.read(event)
    except Exception as error:
        if not is_gone(error):
            raise
        return _from_result(wave, url)
    workloads = reader.workloads()
    return {
        **_from_result(wave, url),
        "state": reader.state,
        "detail": reader.detail,
        "startedAt": reader.started_at,
        "endedAt": reader.ended_at,
        "counts": count_by_status(workloads),
        "complete": True,
        "workloads": workloads,
    }


def _from_result(wave: StartedWave, url: str | None) -> WaveDocument:
    """Returns what the upgrade records of a wave: counts, and the names of failed workloads without their cause."""
    result = wave.result
    workloads = [_document(workload, MemberStatus.FAILED) for workload in result.failed] if result is not None else []
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
        detail="Temporal no longer keeps its history",
        startedAt=None,
        endedAt=None,
        counts=counts,
        complete=False,
        workloads=workloads,
    )


class _HistoryReader:
    """Reads the events of a wave, the first one first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.state = _RUNNING
        self.detail: str | None = None
        self.started_at: str | None = None
        self.ended_at: str | None = None
        self._lookups: set[int] = set()
        self._restarts: dict[int, WorkloadRef] = {}
        self._members: dict[WorkloadRef, WorkloadDocument] = {}

    def workloads(self) -> list[WorkloadDocument]:
        """Returns every member with its status."""
        members = list(self._members.values())
        if self.state == _RUNNING:
            return members
        for member in members:
            if member["outcome"] is MemberStatus.IN_FLIGHT:
                member["detail"] = "was in flight when the wave ended"
            if member["outcome"] in (MemberStatus.IN_FLIGHT, MemberStatus.WAITING):
                member["outcome"] = MemberStatus.LEFT
        return members

    async def read(self, event: HistoryEvent) -> None:
        event_type, attributes = type_and_attributes(event)
        match event_type:
            case "workflow_execution_started":
                self.started_at = time_of(event)
            case "activity_task_scheduled" if attributes.activity_type.name == "list_wave_members":
                self._lookups.add(event.event_id)
            case "activity_task_scheduled" if attributes.activity_type.name == "restart_workload":
                await self._restart_scheduled(event, attributes.input)
            case "activity_task_completed" if attributes.scheduled_event_id in self._lookups:
                await self._members_found(attributes.result)
            case "activity_task_completed" if attributes.scheduled_event_id in self._restarts:
                await self._restart_completed(event, attributes)
            case "activity_task_failed" | "activity_task_timed_out" | "activity_task_canceled":
                self._restart_failed(event, attributes)
            case _ if event_type in _ENDS:
                self.state, self.ended_at = _ENDS[event_type], time_of(event)
                failure = attributes.failure.message if hasattr(attributes, "failure") else ""
                self.detail = one_line(getattr(attributes, "reason", "") or failure) or None

    async def _members_found(self, payloads: Payloads) -> None:
        for member in await decoded(self._client, payloads, list[WaveMember]):
            self._members[member.workload] = _document(member.workload, MemberStatus.WAITING)

    async def _restart_scheduled(self, event: HistoryEvent, payloads: Payloads) -> None:
        workload = (await decoded(self._client, payloads, RestartInput)).workload
        self._restarts[event.event_id] = workload
        self._members[workload] = _document(workload, MemberStatus.IN_FLIGHT, started_at=time_of(event))

    async def _restart_completed(self, event: HistoryEvent, attributes: Any) -> None:  # noqa: ANN401  # of an event
        result = await decoded(self._client, attributes.result, RestartResult)
        member = self._members[self._restarts[attributes.scheduled_event_id]]
        member["outcome"] = _STATUSES[result.outcome]
        member["reason"] = str(result.reason) if result.reason else None
        member["detail"] = _DETAILS.get(result.outcome, result.detail)
        member["endedAt"] = time_of(event)

    def _restart_failed(self, event: HistoryEvent, attributes: Any) -> None:  # noqa: ANN401  # of an event
        workload = self._restarts.get(attributes.scheduled_event_id)
        if workload is None or not hasattr(attributes, "failure"):
            return
        failure, member = attributes.failure, self._members[workload]
        if failure.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
            member["outcome"], member["detail"] = MemberStatus.WAITING, NO_WORKER
        else:
            # The wave itself records the same.
            member["outcome"], member["reason"] = MemberStatus.FAILED, Reason.ROLLOUT_FAILING
            member["detail"], member["endedAt"] = one_line(failure.message), time_of(event)


def _document(workload: WorkloadRef, status: MemberStatus, started_at: str | None = None) -> WorkloadDocument:
    return WorkloadDocument(
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        outcome=status,
        reason=None,
        detail=None,
        startedAt=started_at,
        endedAt=None,
    )
