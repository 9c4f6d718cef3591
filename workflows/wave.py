"""One wave: restarts its members within the limits, verifies each, and shows each by name in the Temporal UI."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.remediation.activities import RemediationActivities
    from activities.remediation.inputs import OpenItemInput
    from activities.restart.activities import RestartActivities
    from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
    from activities.search_attributes import CLUSTER, PHASE
    from activities.survey.activities import ListWaveMembersInput, SurveyActivities, WaveMember
    from mesh.k8s.workload_ref import WorkloadRef
    from mesh.survey.reasons import Reason
    from mesh.text import one_line

    from workflows import activity_options
    from workflows.activity_calls import ActivityCalls
    from workflows.failures import NO_WORKER, failure_message, no_worker_polled
    from workflows.messages import NAMED, Phase, WaveControl, WaveInput, WaveReport, WaveResult

#: A wave reports again when this share of the restarts of its last report is still in flight.
_REPORT_BELOW = 0.75
#: Outcomes of members for which there is nothing to restart any more.
_GONE = (RestartOutcome.GONE, RestartOutcome.SCALED_TO_ZERO, RestartOutcome.EXCLUDED)


@workflow.defn(name="Wave")
class WaveWorkflow:
    """Child of an upgrade. Ends when every member is done; a failed restart is a result, not a failure."""

    @workflow.init
    def __init__(self, request: WaveInput) -> None:
        self._request = request
        self._control = request.control
        self._waiting: list[WaveMember] = []
        self._running: dict[WaveMember, asyncio.Task[None]] = {}
        #: Members that began and were taken back, since new Pods would get no sidecar: they keep their places.
        self._postponed: list[WaveMember] = []
        #: Why no restart can begin, until the wave is resumed.
        self._blocked_by: str | None = None
        self._worker_ping: asyncio.Task[None] | None = None
        self._results: list[RestartResult] = []
        #: Items of failed restarts that are being opened.
        self._opening = 0
        self._members = 0
        self._wake = False
        self._reported: WaveReport | None = None

    @workflow.run
    async def run(self, request: WaveInput) -> WaveResult:
        """Lists the members, restarts them, and counts."""
        cluster = request.survey.cluster
        workflow.upsert_search_attributes([CLUSTER.value_set(cluster.name), PHASE.value_set(Phase.RESTARTING)])
        self._waiting = await workflow.execute_activity_method(
            SurveyActivities.list_wave_members,
            ListWaveMembersInput(request.survey, request.rule, request.canary_below, request.read_after),
            **activity_options.survey(cluster, f"List members of wave {request.rule.number}, {request.rule.name}"),
        )
        self._members = len(self._waiting)
        left = 0
        while True:
            self._wake = False
            left += self._leave_closed_windows()
            self._begin_restarts()
            self._show()
            await self._report()
            if self._is_done():
                break
            await self._wait_for_change()
        counts = Counter(result.outcome for result in self._results)
        return WaveResult(
            restarted=counts[RestartOutcome.RESTARTED],
            current=counts[RestartOutcome.ALREADY_CURRENT],
            gone=sum(counts[outcome] for outcome in _GONE),
            failed=self._failed(),
            left=left + len(self._waiting) + len(self._postponed),
        )

    @workflow.signal(description='Start no new restarts, or stop. Input: {"paused": true, "stopped": false}')
    def steer(self, control: WaveControl) -> None:
        """Sent by the upgrade; restarts in flight always finish."""
        if self._control.paused and not control.paused:
            # Whoever resumes has seen why the wave was blocked.
            self._unblock()
        self._control = control
        self._wake = True

    def _unblock(self) -> None:
        self._blocked_by = None
        self._waiting = [*self._postponed, *self._waiting]
        self._postponed = []
        self._wake = True

    def _is_done(self) -> bool:
        in_progress = self._running or self._opening
        return not in_progress and (self._control.stopped or not (self._waiting or self._postponed))

    def _leave_closed_windows(self) -> int:
        """Leaves members whose window has closed to a later wave; returns how many."""
        now = workflow.now()
        still_open = [one for one in self._waiting if (until := self._until(one)) is None or now < until]
        left = len(self._waiting) - len(still_open)
        self._waiting = still_open
        return left

    def _until(self, member: WaveMember) -> datetime | None:
        return min((until for until in (member.until, self._request.until) if until is not None), default=None)

    def _begin_restarts(self) -> None:
        if self._control.paused or self._control.stopped or self._blocked_by is not None:
            return
        limits = self._request.survey.policy.in_flight
        limit = self._control.limit or limits.cluster
        taken = Counter(self._control.taken)
        taken.update(self._in_flight())
        waiting = []
        for member in self._waiting:
            namespace = member.workload.namespace
            if taken.total() < limit and taken[namespace] < limits.namespace:
                taken[namespace] += 1
                self._running[member] = asyncio.create_task(self._restart(member))
            else:
                waiting.append(member)
        self._waiting = waiting

    def _in_flight(self) -> Counter[str]:
        return Counter(member.workload.namespace for member in (*self._running, *self._postponed))

    async def _wait_for_change(self) -> None:
        closings = [until for member in self._waiting if (until := self._until(member)) is not None]
        within = min(closings) - workflow.now() if closings else None
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._wake, timeout=within, timeout_summary="A maintenance window closes"
            )

    async def _restart(self, member: WaveMember) -> None:
        result = await self._execute_restart(member)
        # Not in `finally`: it would also run when a terminated wave is cleared away, outside of any workflow.
        del self._running[member]
        if result.outcome is RestartOutcome.POSTPONED:
            self._postpone(member, result.detail or "new Pods would get no sidecar")
        else:
            self._results.append(result)
        self._wake = True
        if result.outcome is RestartOutcome.FAILED:
            self._opening += 1
            await self._open_item(result)
            self._opening -= 1
            self._wake = True

    def _postpone(self, member: WaveMember, reason: str) -> None:
        self._postponed.append(member)
        if self._blocked_by is None:
            self._blocked_by = reason
            if reason == NO_WORKER:
                self._worker_ping = asyncio.create_task(self._await_worker())

    async def _await_worker(self) -> None:
        await ActivityCalls(self._request.survey.cluster, self._request.survey.policy).await_worker()
        if self._blocked_by == NO_WORKER:
            self._unblock()

    async def _execute_restart(self, member: WaveMember) -> RestartResult:
        survey, workload = self._request.survey, member.workload
        try:
            result: RestartResult = await workflow.execute_activity_method(
                RestartActivities.restart_workload,
                RestartInput(survey.cluster, workload, self._request.mark, survey.policy.no_progress.rollout),
                **activity_options.long_running(survey.cluster, str(workload)),
            )
        except ActivityError as error:
            if no_worker_polled(error):
                return RestartResult(workload, RestartOutcome.POSTPONED, None, NO_WORKER)
            # Something that a retry cannot help (a missing right, an unreadable object): an item reports it.
            detail = one_line(failure_message(error))
            return RestartResult(workload, RestartOutcome.FAILED, Reason.ROLLOUT_FAILING, detail)
        return result

    async def _open_item(self, result: RestartResult) -> None:
        survey = self._request.survey
        try:
            await workflow.execute_activity_method(
                RemediationActivities.open_item,
                OpenItemInput(survey.cluster, result, survey.policy.no_progress.rollout),
                **activity_options.short(survey.cluster, f"Open the remediation item of {result.workload}"),
            )
        except ActivityError:
            # The upgrade opens it at its end, from what its last survey finds at the workload.
            workflow.logger.warning("item_not_opened", extra={"fields": {"workload": str(result.workload)}})

    async def _report(self) -> None:
        """Reports to the upgrade: failures and trouble at once, restarts in flight now and then."""
        parent = workflow.info().parent
        failed = self._failed()
        report = WaveReport(
            number=self._request.rule.number,
            waiting=len(self._waiting),
            in_flight=dict(self._in_flight()),
            failed=len(failed),
            blocked_by=self._blocked_by,
            last_failed=tuple(str(workload) for workload in failed[-NAMED:]),
        )
        if parent is None or not self._is_news(report):
            return
        self._reported = report
        upgrade = workflow.get_external_workflow_handle(parent.workflow_id, run_id=parent.run_id)
        # An upgrade that was terminated takes no signal, and ends this wave as well.
        with contextlib.suppress(FailureError):
            await upgrade.signal("wave_reported", report)

    def _is_news(self, report: WaveReport) -> bool:
        before = self._reported or WaveReport(report.number)
        if (report.failed, report.blocked_by) != (before.failed, before.blocked_by):
            return True
        if report.waiting:
            return False
        return self._reported is None or before.waiting > 0 or report.total <= before.total * _REPORT_BELOW

    def _failed(self) -> tuple[WorkloadRef, ...]:
        return tuple(result.workload for result in self._results if result.outcome is RestartOutcome.FAILED)

    def _show(self) -> None:
        done, in_flight = len(self._results), len(self._running) + len(self._postponed)
        blocked = f"\n\n> {one_line(self._blocked_by)}" if self._blocked_by else ""
        workflow.set_current_details(
            f"**Wave {self._request.rule.number + 1} of {self._request.of}: {self._request.rule.name}**\n\n"
            f"{done} of {self._members} done, {in_flight} in flight, {len(self._failed())} failed{blocked}"
        )
