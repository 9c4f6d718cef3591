"""One wave: its members restarted within the limits, each verified, each visible by name in the Temporal UI."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.remediation.activities import OpenItemInput, RemediationActivities
    from activities.restart.activities import RestartActivities, RestartInput, RestartOutcome, RestartResult
    from activities.search_attributes import CLUSTER, PHASE
    from activities.survey.activities import ListWaveMembersInput, SurveyActivities, WaveMember
    from mesh.k8s.workload_ref import WorkloadRef
    from mesh.survey.reasons import Reason
    from mesh.text import one_line

    from workflows import activity_options
    from workflows.activity_calls import ActivityCalls
    from workflows.failures import NO_WORKER, no_worker, told
    from workflows.messages import NAMED, Phase, WaveControl, WaveInput, WaveReport, WaveResult

#: An upgrade is told again when this share of what it last heard to be in flight is left.
_NEWS = 0.75


@workflow.defn(name="Wave")
class WaveWorkflow:
    """Child of an upgrade. Ends when every member is done; a failed restart is a result, not a failure."""

    @workflow.init
    def __init__(self, ask: WaveInput) -> None:
        self._ask = ask
        self._steer = ask.steer
        self._waiting: list[WaveMember] = []
        self._running: dict[WaveMember, asyncio.Task[None]] = {}
        #: Begun, and taken back since nothing new can be injected: they keep their places.
        self._held: list[WaveMember] = []
        self._lost: str | None = None
        self._served: asyncio.Task[None] | None = None
        self._results: list[RestartResult] = []
        #: Items of failed restarts on their way.
        self._opening = 0
        self._members = 0
        self._stirred = False
        self._reported: WaveReport | None = None

    @workflow.run
    async def run(self, ask: WaveInput) -> WaveResult:
        """Looks up the members, restarts them, and counts."""
        cluster = ask.survey.cluster
        workflow.upsert_search_attributes([CLUSTER.value_set(cluster.name), PHASE.value_set(Phase.RESTARTING)])
        self._waiting = await workflow.execute_activity_method(
            SurveyActivities.list_wave_members,
            ListWaveMembersInput(ask.survey, ask.rule, ask.canary_below, ask.read_after),
            summary=f"who is in wave {ask.rule.number}, {ask.rule.name}",
            **activity_options.survey(cluster),
        )
        self._members = len(self._waiting)
        left = 0
        while True:
            self._stirred = False
            left += self._drop_shut()
            self._start()
            self._show()
            await self._report()
            if not self._running and not self._opening and (self._steer.stopped or not (self._waiting or self._held)):
                break
            await self._something_happens()
        counts = Counter(result.outcome for result in self._results)
        return WaveResult(
            restarted=counts[RestartOutcome.RESTARTED],
            current=counts[RestartOutcome.ALREADY_CURRENT],
            gone=counts[RestartOutcome.GONE] + counts[RestartOutcome.SCALED_TO_ZERO],
            failed=self._failed(),
            left=left + len(self._waiting) + len(self._held),
        )

    @workflow.signal(description='Start nothing new, or at all. Input: {"paused": true, "stopped": false}')
    def steer(self, steer: WaveControl) -> None:
        """Sent by the upgrade; what is in flight always finishes."""
        if self._steer.paused and not steer.paused:
            # Whoever resumes has seen why.
            self._go_on()
        self._steer = steer
        self._stirred = True

    def _go_on(self) -> None:
        self._lost = None
        self._waiting = [*self._held, *self._waiting]
        self._held = []
        self._stirred = True

    def _drop_shut(self) -> int:
        """Members whose window has closed are left for a later wave; how many they are."""
        now = workflow.now()
        open_still = [one for one in self._waiting if (until := self._until(one)) is None or now < until]
        dropped = len(self._waiting) - len(open_still)
        self._waiting = open_still
        return dropped

    def _until(self, member: WaveMember) -> datetime | None:
        return min((one for one in (member.until, self._ask.until) if one is not None), default=None)

    def _start(self) -> None:
        if self._steer.paused or self._steer.stopped or self._lost is not None:
            return
        limits = self._ask.survey.policy.in_flight
        most = self._steer.in_flight or limits.cluster
        taken = Counter(self._steer.taken)
        taken.update(self._in_flight())
        left = []
        for member in self._waiting:
            namespace = member.workload.namespace
            if taken.total() < most and taken[namespace] < limits.namespace:
                taken[namespace] += 1
                self._running[member] = asyncio.create_task(self._restart(member))
            else:
                left.append(member)
        self._waiting = left

    def _in_flight(self) -> Counter[str]:
        return Counter(one.workload.namespace for one in (*self._running, *self._held))

    async def _something_happens(self) -> None:
        shuts = [until for one in self._waiting if (until := self._until(one)) is not None]
        within = min(shuts) - workflow.now() if shuts else None
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._stirred, timeout=within, timeout_summary="a window closes")

    async def _restart(self, member: WaveMember) -> None:
        result = await self._execute(member)
        # Not in `finally`: a wave that was terminated is cleared away there, outside of any workflow.
        del self._running[member]
        if result.outcome is RestartOutcome.POSTPONED:
            self._held.append(member)
            if self._lost is None:
                self._lost = result.detail or "nothing new can be injected"
                if self._lost == NO_WORKER:
                    self._served = asyncio.create_task(self._await_worker())
        else:
            self._results.append(result)
        self._stirred = True
        if result.outcome is RestartOutcome.FAILED:
            self._opening += 1
            await self._open_item(result)
            self._opening -= 1
            self._stirred = True

    async def _await_worker(self) -> None:
        await ActivityCalls(self._ask.survey.cluster, self._ask.survey.policy).await_worker()
        if self._lost == NO_WORKER:
            self._go_on()

    async def _execute(self, member: WaveMember) -> RestartResult:
        ask, workload = self._ask, member.workload
        try:
            result: RestartResult = await workflow.execute_activity_method(
                RestartActivities.restart_workload,
                RestartInput(ask.survey.cluster, workload, ask.mark, ask.survey.policy.no_progress.rollout),
                summary=str(workload),
                **activity_options.long_running(ask.survey.cluster),
            )
        except ActivityError as error:
            if no_worker(error):
                return RestartResult(workload, RestartOutcome.POSTPONED, None, NO_WORKER)
            # Something that trying again cannot help (a missing right, an unreadable object): an item tells it.
            return RestartResult(workload, RestartOutcome.FAILED, Reason.ROLLOUT_FAILING, one_line(told(error)))
        return result

    async def _open_item(self, result: RestartResult) -> None:
        ask = OpenItemInput(self._ask.survey.cluster, result, self._ask.survey.policy.no_progress.rollout)
        try:
            await workflow.execute_activity_method(
                RemediationActivities.open_item,
                ask,
                summary=f"remediation item: {result.workload}",
                **activity_options.short(ask.cluster),
            )
        except ActivityError:
            # The upgrade opens it at its end, from what its last survey sees of the workload.
            workflow.logger.warning("item_not_opened", extra={"fields": {"workload": str(result.workload)}})

    async def _report(self) -> None:
        """Tells the upgrade what it needs to know: failures and trouble at once, what is in flight now and then."""
        parent = workflow.info().parent
        failed = self._failed()
        news = WaveReport(
            self._ask.rule.number,
            len(self._waiting),
            dict(self._in_flight()),
            len(failed),
            self._lost,
            tuple(str(one) for one in failed[-NAMED:]),
        )
        if parent is None or not self._is_news(news):
            return
        self._reported = news
        upgrade = workflow.get_external_workflow_handle(parent.workflow_id, run_id=parent.run_id)
        # An upgrade that was terminated cannot be told, and ends this wave as well.
        with contextlib.suppress(FailureError):
            await upgrade.signal("wave_reported", news)

    def _is_news(self, news: WaveReport) -> bool:
        before = self._reported or WaveReport(news.number)
        if (news.failed, news.lost) != (before.failed, before.lost):
            return True
        if news.waiting:
            return False
        return self._reported is None or before.waiting > 0 or news.total <= before.total * _NEWS

    def _failed(self) -> tuple[WorkloadRef, ...]:
        return tuple(one.workload for one in self._results if one.outcome is RestartOutcome.FAILED)

    def _show(self) -> None:
        done, begun = len(self._results), len(self._running) + len(self._held)
        told = f"\n\n> {one_line(self._lost)}" if self._lost else ""
        workflow.set_current_details(
            f"**Wave {self._ask.rule.number + 1} of {self._ask.of}: {self._ask.rule.name}**\n\n"
            f"{done} of {self._members} done, {begun} in flight, {len(self._failed())} failed{told}"
        )
