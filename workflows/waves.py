"""One wave: its members restarted within the limits, each verified, each visible by name in the Temporal UI."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.remediation import OpenFailedInput, RemediationActivities
    from activities.restarts import Outcome, RestartActivities, RestartInput, RestartResult, WorkloadRef
    from activities.survey import MembersInput, SurveyActivities
    from mesh.causes import Reason
    from mesh.text import brief

    from workflows import options
    from workflows.attributes import CLUSTER, PHASE
    from workflows.failures import told
    from workflows.model import Phase, Steer, WaveInput, WaveResult


@workflow.defn(name="Wave")
class WaveWorkflow:
    """Child of an upgrade. Ends when every member is done; a failed restart is a result, not a failure."""

    @workflow.init
    def __init__(self, ask: WaveInput) -> None:
        self._ask = ask
        self._steer = Steer()
        self._in_namespace: dict[str, int] = defaultdict(int)
        self._in_flight = 0
        self._results: list[RestartResult] = []
        self._members = 0

    @workflow.run
    async def run(self, ask: WaveInput) -> WaveResult:
        """Looks up the members, restarts them, and counts."""
        cluster = ask.survey.cluster
        workflow.upsert_search_attributes([CLUSTER.value_set(cluster.name), PHASE.value_set(Phase.RESTARTING)])
        members: list[WorkloadRef] = await workflow.execute_activity_method(
            SurveyActivities.wave_members,
            MembersInput(ask.survey, ask.rule, ask.canary_below),
            summary=f"who is in wave {ask.rule.number}, {ask.rule.name}",
            **options.survey(cluster),
        )
        self._members = len(members)
        self._show()
        await asyncio.gather(*(self._restart(member) for member in members))
        self._show()
        counts = Counter(result.outcome for result in self._results)
        return WaveResult(
            restarted=counts[Outcome.RESTARTED],
            current=counts[Outcome.ALREADY_CURRENT],
            gone=counts[Outcome.GONE],
            failed=tuple(one.workload for one in self._results if one.outcome is Outcome.FAILED),
        )

    @workflow.signal(description='Start nothing new, or at all. Input: {"paused": true, "stopped": false}')
    def steer(self, steer: Steer) -> None:
        """Sent by the upgrade; what is in flight always finishes."""
        self._steer = steer

    async def _restart(self, member: WorkloadRef) -> None:
        # Asked again after waking: everybody who waits for one free place is woken at once.
        while not self._steer.stopped and not self._may_start(member):
            await workflow.wait_condition(lambda: self._steer.stopped or self._may_start(member))
        if self._steer.stopped:
            return
        self._in_flight += 1
        self._in_namespace[member.namespace] += 1
        self._show()
        try:
            result = await self._execute(member)
        finally:
            self._in_flight -= 1
            self._in_namespace[member.namespace] -= 1
        # Not in `finally`: a wave that was terminated is cleared away there, outside of any workflow.
        self._results.append(result)
        self._show()
        if result.outcome is Outcome.FAILED:
            await self._open_item(result)

    def _may_start(self, member: WorkloadRef) -> bool:
        limits = self._ask.survey.policy.in_flight
        return (
            not self._steer.paused
            and self._in_flight < limits.cluster
            and self._in_namespace[member.namespace] < limits.namespace
        )

    async def _execute(self, member: WorkloadRef) -> RestartResult:
        ask = self._ask
        try:
            result: RestartResult = await workflow.execute_activity_method(
                RestartActivities.restart_workload,
                RestartInput(ask.survey.cluster, member, ask.mark, ask.survey.policy.no_progress.rollout),
                summary=member.words(),
                **options.waiting(ask.survey.cluster),
            )
        except ActivityError as error:
            # Something that trying again cannot help (a missing right, an unreadable object): an item tells it.
            return RestartResult(member, Outcome.FAILED, Reason.ROLLOUT_FAILING, brief(told(error)))
        return result

    async def _open_item(self, result: RestartResult) -> None:
        ask = OpenFailedInput(self._ask.survey.cluster, result)
        try:
            await workflow.execute_activity_method(
                RemediationActivities.open_failed,
                ask,
                summary=f"remediation item: {result.workload.words()}",
                **options.quick(ask.cluster),
            )
        except ActivityError:
            # The upgrade opens it at its end, from what its last survey sees of the workload.
            workflow.logger.warning("item_not_opened", extra={"fields": {"workload": result.workload.words()}})

    def _show(self) -> None:
        done = len(self._results)
        failed = sum(1 for one in self._results if one.outcome is Outcome.FAILED)
        workflow.set_current_details(
            f"**Wave {self._ask.rule.number + 1} of {self._ask.of}: {self._ask.rule.name}**\n\n"
            f"{done} of {self._members} done, {self._in_flight} in flight, {failed} failed"
        )
