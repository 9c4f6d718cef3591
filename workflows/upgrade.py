"""The upgrade of one cluster, from the target's channel to the last sidecar.

`run` frames the story: its end, and its way from run to run. `_upgrade` is the story. Steps run in
`workflows.step_runner`, which pauses on trouble; waves in `workflows.wave_runner`; what operators decide is in
`workflows.operator_controls`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.search_attributes import CLUSTER, NEEDS_ATTENTION, PHASE, STALE_LEFT, TARGET
    from activities.survey.activities import SurveyInput

    from workflows.activity_calls import RENEW_HOLD_EVERY, ActivityCalls
    from workflows.counters import Counters
    from workflows.failures import failure_message, no_worker_polled, workflow_is_cancelled
    from workflows.messages import (
        ApproveInput,
        AttachInput,
        LimitInput,
        OperatorInput,
        Phase,
        Progress,
        Result,
        UpgradeInput,
        UpgradeReport,
        UpgradeResult,
        UpgradeState,
        WaveReport,
    )
    from workflows.operator_controls import OperatorControls
    from workflows.step_runner import AbortedError, NewRunDueError, StepRunner
    from workflows.ui_details import next_step, upgrade_details
    from workflows.wave_runner import WaveRunner

#: The final survey begins another round while restartable workloads are still stale, at most this often.
_ROUNDS = 3
#: How often the queue is checked where the policy waits until it is empty: soon at first, and later rarely.
_CHECK_QUEUE_SOON, _CHECK_QUEUE_RARELY = timedelta(seconds=15), timedelta(minutes=5)
_ABORTED: tuple[Result, Phase] = ("aborted", Phase.ABORTED)
_FAILED: tuple[Result, Phase] = ("failed", Phase.FAILED)


@workflow.defn(name="Upgrade")
class UpgradeWorkflow:
    """Upgrades one cluster. The workflow id allows one upgrade of a cluster at a time."""

    @workflow.init
    def __init__(self, request: UpgradeInput) -> None:
        self._request = request
        self._state = request.state or UpgradeState(workflow.info().workflow_start_time)
        self._controls = OperatorControls(self._state.controls)
        self._counters = Counters(self._state.counters)
        self._calls = ActivityCalls(request.cluster, request.policy)
        self._steps = StepRunner(self._calls, self._controls, self._show, self._new_run_due)
        self._waves = WaveRunner(request, self._state, self._steps, self._counters)
        self._hold_renewal: asyncio.Task[None] | None = None
        #: When the last survey began.
        self._surveyed_at = self._state.started_at
        self._ending = False
        self._result: Result | None = None
        self._ended_at: datetime | None = None
        #: Search attributes as they were last written.
        self._shown: list[tuple[str, object]] = []
        if self._state.hold_taken:
            self._steps.phase = Phase.CONTROL_PLANE if self._state.mark is None else Phase.SURVEY

    @workflow.run
    async def run(self, request: UpgradeInput) -> UpgradeResult:
        """Runs the upgrade to its end; whatever the end is, hold and lease are released."""
        self._show()
        failure: BaseException | None = None
        try:
            if not self._state.hold_taken:
                await self._preflight()
            self._hold_renewal = asyncio.create_task(self._renew_hold_until_end())
            await self._upgrade()
        except NewRunDueError:
            await self._stop_hold_renewal()
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(replace(request, state=self._state))
        except AbortedError:
            result, phase = _ABORTED
        except (FailureError, asyncio.CancelledError) as error:
            # Any other error is a bug: it fails the workflow task, and the upgrade continues once the bug is fixed.
            failure = error
            result, phase = _ABORTED if is_cancelled_exception(error) else _FAILED
        else:
            items_left = self._counters.items.open or self._counters.left
            result, phase = ("done-with-items" if items_left else "done"), Phase.DONE
        await self._stop_hold_renewal()
        if self._state.hold_taken:
            await self._calls.release_hold()
        self._result, self._ended_at = result, workflow.now()
        self._controls.ended = True
        self._steps.enter(phase)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if failure is not None:
            raise failure
        report = self.report()
        return UpgradeResult(result, report.progress, report.pinned, report.excluded)

    async def _preflight(self) -> None:
        """Resolves the target and takes hold and lease: the only step that fails the upgrade, with nothing changed."""
        try:
            self._state.target = await self._steps.run_when_served(lambda: self._calls.resolve_target(self._request.to))
            # From here on one of lease and hold may exist without the other.
            self._state.hold_taken = True
            await self._steps.run_when_served(self._calls.renew_hold)
        except ActivityError as error:
            if workflow_is_cancelled(error):
                raise
            # Message and type at the top, where pipelines and the UI look for them.
            kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
            raise ApplicationError(failure_message(error), type=kind, non_retryable=True) from error

    async def _upgrade(self) -> None:
        """Upgrades the control plane, restarts what is stale, and opens items for all that is left."""
        if self._state.mark is None:
            await self._upgrade_control_plane()
        await self._restart_stale_workloads()
        self._steps.enter(Phase.FINAL_SURVEY)
        await self._open_items()
        if self._request.policy.remediation == "wait":
            await self._await_empty_queue()

    async def _upgrade_control_plane(self) -> None:
        if self._request.policy.restarts == "ours":
            await self._steps.run(self._calls.await_hold)
        self._steps.enter(Phase.CONTROL_PLANE)
        self._state.began = self._state.began or workflow.now()
        target = self._state.resolved
        await self._steps.run(lambda: self._calls.apply_target(target))
        await self._steps.run(lambda: self._calls.await_control_plane(target))
        await self._steps.run(lambda: self._calls.check_gate(target))
        # Later than anything that happened before the injector gave the new proxy, and fixed from here on. Marks are
        # whole seconds: the next second, since another restart may carry this one.
        self._state.mark = workflow.now().replace(microsecond=0) + timedelta(seconds=1)

    async def _restart_stale_workloads(self) -> None:
        """Alternates surveys and waves until no workload is left that may be restarted."""
        rounds = 0
        while True:
            self._steps.enter(Phase.FINAL_SURVEY if rounds else Phase.SURVEY)
            self._waves.current = None
            self._surveyed_at = workflow.now()
            summary = await self._steps.run(lambda: self._calls.survey(self._survey_input()))
            self._counters.record_survey(summary)
            self._show()
            if self._state.canary_below is None and summary.candidates:
                self._state.canary_below = summary.waves.canary_below
            if self._counters.too_many_failed:
                return
            if summary.candidates and rounds < _ROUNDS:
                # Waves that a closed window has cut short do not count as a round.
                rounds += await self._waves.run(summary)
            elif summary.opens_at is not None:
                await self._waves.wait_for_window(summary.opens_at)
                rounds = 0
            else:
                return

    async def _open_items(self) -> None:
        """Opens items for what the last survey found; after an operator's command the cluster is read again."""
        self._counters.items = await self._steps.run(
            lambda: self._calls.open_items(self._survey_input(), self._controls.read_after(self._surveyed_at))
        )

    async def _await_empty_queue(self) -> None:
        """Waits until no item is open or the time is up; restarts what was fixed meanwhile and is still stale."""
        timeout = self._request.policy.remediation_timeout
        deadline = self._state.queue_deadline = self._state.queue_deadline or workflow.now() + timeout
        while self._counters.items.open and (left := deadline - workflow.now()) > timedelta():
            pause = min(max((timeout - left) / 10, _CHECK_QUEUE_SOON), _CHECK_QUEUE_RARELY, left)
            await self._steps.wait(pause, Phase.WAITING_QUEUE, "Wait before the next check of the queue")
            await self._restart_stale_workloads()
            await self._open_items()

    def _survey_input(self) -> SurveyInput:
        return self._state.survey_input(self._request.cluster, self._request.policy)

    def _new_run_due(self) -> bool:
        """Whether the history has become long, for which the server would end the upgrade, and no wave is open."""
        suggested = workflow.info().is_continue_as_new_suggested()
        return suggested and self._state.hold_taken and not self._waves.any_open

    async def _renew_hold_until_end(self) -> None:
        while True:
            try:
                await workflow.wait_condition(
                    lambda: self._ending, timeout=RENEW_HOLD_EVERY, timeout_summary="Next renewal of hold and lease"
                )
            except TimeoutError:
                pass
            else:
                return
            try:
                await self._calls.renew_hold()
            except ActivityError as error:
                if no_worker_polled(error):
                    # The step under way reports it; the hold is renewed as soon as a worker is there.
                    continue
                self._controls.pause_for(f"hold and lease could not be renewed: {failure_message(error)}")
                self._show()
                await self._waves.send_control()

    async def _stop_hold_renewal(self) -> None:
        """A renewal under way would take hold and lease again after their release."""
        self._ending = True
        if self._hold_renewal is not None:
            await self._hold_renewal

    # Messages of waves and of a second start.

    @workflow.signal(description="What a wave has begun, and what fails in it. Sent by waves.")
    async def wave_reported(self, report: WaveReport) -> None:
        """Lets the next wave of a step begin; trouble in a wave pauses at once, not at the wave's end."""
        await self._waves.take_report(report)

    @workflow.update(
        description='Attaches a second start. Input: {"to": "fast"}. Refused if another target is under way.'
    )
    def attach(self, request: AttachInput) -> Progress:
        """Changes nothing."""
        return self.progress()

    @attach.validator
    def _check_attach(self, request: AttachInput) -> None:
        if request.cluster is not None and request.cluster != self._request.cluster:
            raise ApplicationError(
                f"An upgrade of another cluster has the name {request.cluster.name}. "
                "Give one of the two clusters another name with --cluster.",
                type="ConflictError",
            )
        running = self._state.target.target if self._state.target else None
        if running is None or request.target is None:
            same = request.to == self._request.to
        else:
            same = request.target.module == running.module
        if not same:
            raise ApplicationError(
                f"An upgrade to {running or self._request.to} is running; "
                f"you asked for {request.to}. Wait for it (kyma-upgrade wait) or end it (kyma-upgrade abort).",
                type="ConflictError",
            )

    # Commands of operators.

    @workflow.update(description='Start no new restarts until resumed. Input: {"who": "you", "because": "why"}')
    async def pause(self, operator: OperatorInput) -> Progress:
        """Restarts in flight finish."""
        self._controls.pause(operator)
        return await self._answer()

    @pause.validator
    def _check_pause(self, operator: OperatorInput) -> None:
        self._controls.check_pause()

    @workflow.update(description='Resume at the step that failed. Input: {"who": "you", "because": "what was fixed"}')
    async def resume(self, operator: OperatorInput) -> Progress:
        """Runs the step that failed again."""
        self._controls.resume(operator)
        return await self._answer()

    @resume.validator
    def _check_resume(self, operator: OperatorInput) -> None:
        self._controls.check_resume()

    @workflow.update(description='Approve the waiting wave. Input: {"who": "you", "because": "why"}')
    async def approve(self, approval: ApproveInput) -> Progress:
        """With a number as "wave": approves that wave in advance."""
        self._controls.approve(approval)
        return await self._answer()

    @approve.validator
    def _check_approve(self, approval: ApproveInput) -> None:
        self._controls.check_approve(approval)

    @workflow.update(
        description='Limit the workloads in flight. Input: {"in_flight": 20, "who": "you", "because": "why"}'
    )
    async def limit(self, limit: LimitInput) -> Progress:
        """Restarts in flight finish; fewer begin, or more."""
        self._controls.set_limit(limit)
        return await self._answer()

    @limit.validator
    def _check_limit(self, limit: LimitInput) -> None:
        self._controls.check_limit(limit)

    @workflow.update(
        description='End the upgrade: restarts in flight finish, items stay. Input: {"who": "you", "because": "why"}'
    )
    async def abort(self, operator: OperatorInput) -> Progress:
        """Releases the hold."""
        self._controls.abort(operator)
        return await self._answer()

    @abort.validator
    def _check_abort(self, operator: OperatorInput) -> None:
        self._controls.check_abort()

    async def _answer(self) -> Progress:
        await self._waves.send_control()
        self._show()
        return self.progress()

    # What people see.

    @workflow.query(description="Where the upgrade stands.")
    def progress(self) -> Progress:
        """Returns everything that `kyma-upgrade status` prints."""
        cluster, controls, phase = self._request.cluster.name, self._controls, self._steps.phase
        attention = None if self._ending else controls.attention
        deadline = self._state.queue_deadline if phase is Phase.WAITING_QUEUE else None
        return Progress(
            cluster=cluster,
            target=str(self._state.target.target) if self._state.target else None,
            phase=Phase.PAUSED if attention and controls.paused_by else phase,
            needs_attention=attention,
            next_step=next_step(cluster, controls.paused_by, deadline) if attention or deadline else None,
            started_at=self._state.started_at,
            ended_at=self._ended_at,
            result=self._result,
            workloads=self._counters.counts,
            wave=self._waves.current,
            items=self._counters.items,
        )

    @workflow.query(description="Where the upgrade stands, what it leaves alone, and what operators decided.")
    def report(self) -> UpgradeReport:
        """Returns what a report of this upgrade takes from the upgrade itself."""
        classes = self._counters.summary.classes if self._counters.summary else {}
        return UpgradeReport(
            self.progress(), classes.get("pinned", 0), classes.get("excluded", 0), self._controls.decisions
        )

    def _show(self) -> None:
        """Writes search attributes for the list, which outlast the worker, and details for the page."""
        progress = self.progress()
        updates: list[SearchAttributeUpdate[Any]] = [
            CLUSTER.value_set(self._request.cluster.name),
            PHASE.value_set(str(progress.phase)),
            NEEDS_ATTENTION.value_set(progress.needs_attention is not None),
        ]
        if self._state.target is not None:
            target = self._state.target.target
            updates.append(TARGET.value_set(target.istio or target.module))
        if self._counters.stale_left is not None:
            updates.append(STALE_LEFT.value_set(self._counters.stale_left))
        shown = [(update.key.name, update.value) for update in updates]
        # Each write is an event in history: only changes.
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes(updates)
        workflow.set_current_details(upgrade_details(progress, self._controls.decisions))
