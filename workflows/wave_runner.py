"""Runs the waves of a plan, inside the policy's windows, after approvals, and within the budget of failures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.survey.activities import SurveySummary
    from mesh.plan.waves import WaveRule

    from workflows.counters import Counters
    from workflows.failures import failure_message, workflow_is_cancelled
    from workflows.messages import Phase, UpgradeInput, UpgradeState, WaveInput, WaveProgress, WaveReport
    from workflows.step_runner import AbortedError, StepRunner
    from workflows.wave_coordinator import Handle, WaveCoordinator

#: An upgrade that waits for a window checks it again after this time at the latest.
_CHECK_WINDOW_EVERY = timedelta(hours=6)


class WaveRunner:
    """The waves of one upgrade. `current` is the newest wave of the plan, None before the first."""

    def __init__(self, request: UpgradeInput, state: UpgradeState, steps: StepRunner, counters: Counters) -> None:
        self._request = request
        self._policy = request.policy
        self._state = state
        self._steps = steps
        self._controls = steps.controls
        self._counters = counters
        self._waves = WaveCoordinator(request.cluster.name)
        self.current: WaveProgress | None = None
        #: Why a wave ended before it was done.
        self._broken: str | None = None

    @property
    def any_open(self) -> bool:
        """Whether a wave is open."""
        return self._waves.any_open

    async def run(self, summary: SurveySummary) -> bool:
        """Runs every wave of a plan; returns False when a window closed before the last."""
        plan = summary.waves
        total = self._state.waves_run + len(plan.rules)
        waves_by_step = [list(rules) for _, rules in groupby(plan.rules, key=lambda rule: rule.step)]
        for rules in waves_by_step:
            await self._steps.checkpoint()
            until = await self._await_policy_windows()
            await self._await_approval(replace(rules[0], number=self._state.waves_run))
            await self._steps.run(lambda: self._steps.calls.check_gate(self._state.resolved))
            self._steps.enter(Phase.RESTARTING)
            if not await self._run_step(rules, plan.canary_below, total, until):
                return False
            await self._steps.checkpoint()
            self._pause_over_budget()
            await self._steps.checkpoint()
            if self._policy.soak and rules is not waves_by_step[-1]:
                await self._steps.wait(self._policy.soak, Phase.SOAKING, f"Soak after wave {rules[0].name}")
        return True

    async def wait_for_window(self, opens_at: datetime | None) -> None:
        """Waits until a window should open, and never so long that a change of clocks or rules goes unnoticed."""
        within = min(opens_at - workflow.now(), _CHECK_WINDOW_EVERY) if opens_at is not None else _CHECK_WINDOW_EVERY
        await self._steps.wait(max(within, timedelta()), Phase.WAITING_WINDOW, "Wait until a maintenance window opens")

    async def send_control(self) -> None:
        """Sends open waves what operators have decided."""
        await self._waves.send(self._controls.wave_control)

    async def take_report(self, report: WaveReport) -> None:
        """Takes the report of a wave: the next wave may begin, and trouble pauses the upgrade at once."""
        last = self._waves.record_report(report)
        before = last.blocked_by if last else None
        if report.blocked_by is not None and report.blocked_by != before and self._controls.paused_by is None:
            self._controls.pause_for(report.blocked_by)
        elif report.blocked_by is None and before is not None and self._controls.paused_by == before:
            # A worker is back: no operator needs to resume.
            self._controls.pause_for(None)
        self._pause_over_budget()
        self._steps.show()
        await self.send_control()

    async def _await_policy_windows(self) -> datetime | None:
        """Waits until the policy's windows are open; returns when they close, None for never."""
        if not self._policy.windows:
            return None
        while True:
            state = await self._steps.run(self._steps.calls.check_windows)
            if state.open:
                return state.changes_at
            await self.wait_for_window(state.changes_at)

    async def _await_approval(self, rule: WaveRule) -> None:
        """Waits for an operator where the policy asks for one."""
        controls = self._controls

        def waits() -> bool:
            return controls.needs_approval(rule, self._policy.approve)

        if not waits():
            return
        controls.awaited = rule
        self._steps.enter(Phase.WAITING_APPROVAL)
        while waits():
            await workflow.wait_condition(lambda: controls.aborted or self._steps.new_run_due() or not waits())
            await self._steps.checkpoint()
        controls.awaited = None

    async def _run_step(self, rules: Sequence[WaveRule], canary_below: int, of: int, until: datetime | None) -> bool:
        """Runs the waves of one step, each begun when all members of the one before have.

        Returns False when a window closed before all were done.
        """
        complete, began = True, workflow.now()
        followers: list[asyncio.Task[bool]] = []
        try:
            for rule in rules:
                await self._steps.checkpoint()
                if until is not None and workflow.now() >= until:
                    complete = False
                    break
                number = self._next_number(rule, of)
                request = WaveInput(
                    survey=self._state.survey_input(self._request.cluster, self._policy),
                    rule=replace(rule, number=number),
                    canary_below=canary_below,
                    mark=self._fixed_mark(),
                    of=of,
                    until=until,
                    read_after=self._controls.read_after(began),
                )
                handle = await self._start(request)
                if handle is None:
                    continue
                followers.append(asyncio.create_task(self._follow(number, handle)))
                if self._controls.paused_by is not None or self._controls.aborted:
                    # Decided between the checkpoint and the start of the wave.
                    await self.send_control()
                await workflow.wait_condition(lambda number=number: self._waves.all_begun(number))  # type: ignore[misc]
            ended = await asyncio.gather(*followers)
        except AbortedError:
            # Restarts in flight finish: an open wave would be terminated together with its upgrade.
            await asyncio.gather(*followers)
            raise
        except asyncio.CancelledError:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
            raise
        if self._broken is not None:
            broken, self._broken = self._broken, None
            await self._steps.pause(broken)
        return complete and all(ended)

    def _next_number(self, rule: WaveRule, of: int) -> int:
        number = self._state.waves_run
        self._state.waves_run += 1
        self.current = WaveProgress(number, of, rule.name)
        self._steps.show()
        return number

    def _fixed_mark(self) -> datetime:
        if self._state.mark is None:
            raise ValueError("the mark is fixed before the first wave")
        return self._state.mark

    async def _start(self, request: WaveInput) -> Handle | None:
        try:
            return await self._waves.start(request, self._controls.wave_control)
        except WorkflowAlreadyStartedError as error:
            await self._steps.pause(
                f"{error.workflow_id} of an earlier upgrade still runs; wait for its end or terminate it"
            )
            return None

    async def _follow(self, number: int, handle: Handle) -> bool:
        """Follows a wave to its end; returns False when it left members because a window closed."""
        try:
            result = await handle
        except ChildWorkflowError as error:
            self._waves.end(number)
            if workflow_is_cancelled(error):
                raise
            # A wave that was ended by force: what it left is still stale, and the next survey finds it.
            self._broken = f"wave {number} ended before it was done: {failure_message(error)}"
            return True
        self._waves.end(number)
        self._counters.record_wave(result)
        self._steps.show()
        await self.send_control()
        return not result.left

    def _pause_over_budget(self) -> None:
        waves = self._waves
        reason = self._counters.budget_exceeded(self._policy.budget, waves.failed, waves.last_failed)
        if reason is not None:
            self._controls.pause_for(reason)
            self._steps.show()
