"""The upgrade of one cluster, from the channel to the last sidecar.

`run` holds what surrounds the story (the end, whatever it is); `_story` reads as the story itself. Trouble pauses:
a step that fails for good waits for an operator and is then tried again, so nothing is ever begun anew. The steps
themselves are in `workflows.activity_calls`, open waves in `workflows.wave_coordinator`, pausing and operators'
commands in `workflows.steered`, counts in `workflows.counters`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.control_plane import ResolvedTarget
    from activities.search_attributes import CLUSTER, NEEDS_ATTENTION, PHASE, STALE_LEFT, TARGET
    from activities.survey.activities import SurveyInput, SurveySummary
    from mesh.kyma.targets import Target
    from mesh.plan.waves import WaveRule

    from workflows.activity_calls import HOLD_RENEWED, ActivityCalls
    from workflows.counters import Counters
    from workflows.failures import is_our_end, no_worker, told
    from workflows.messages import (
        AttachInput,
        Phase,
        Progress,
        Result,
        UpgradeInput,
        UpgradeReport,
        UpgradeResult,
        UpgradeState,
        WaveInput,
        WaveProgress,
        WaveReport,
    )
    from workflows.operator_controls import OperatorControls
    from workflows.steered import AbortedError, NextRunError, OperatorControlledWorkflow
    from workflows.ui_details import next_step, upgrade_details
    from workflows.wave_coordinator import Handle, WaveCoordinator

#: The final survey starts another round while something restartable is still stale, this often at most.
_ROUNDS = 3
#: An upgrade that waits for a window looks again after this long at the latest.
_LOOK_AGAIN = timedelta(hours=6)
#: While items are open and the policy wants to wait for the last of them: soon at first, and later rarely.
_LOOK_SOON, _LOOK_RARELY = timedelta(seconds=15), timedelta(minutes=5)
_ABORTED: tuple[Result, Phase] = ("aborted", Phase.ABORTED)
_FAILED: tuple[Result, Phase] = ("failed", Phase.FAILED)


@workflow.defn(name="Upgrade")
class UpgradeWorkflow(OperatorControlledWorkflow):
    """One at a time per cluster, by its workflow id."""

    @workflow.init
    def __init__(self, ask: UpgradeInput) -> None:
        state = ask.state
        self._ask = ask
        self._steps = ActivityCalls(ask.cluster, ask.policy)
        self._controls = OperatorControls()
        self._waves = WaveCoordinator(ask.cluster.name)
        self._counters = Counters(state.counters if state else None)
        self._phase = Phase.PREFLIGHT
        self._target: ResolvedTarget | None = None
        self._ending = False
        self._held = False
        self._result: Result | None = None
        self._started = workflow.info().workflow_start_time
        self._ended: datetime | None = None
        self._mark: datetime | None = None
        self._began: datetime | None = None
        self._wave: WaveProgress | None = None
        self._waves_run = 0
        #: When the last survey began.
        self._surveyed_at: datetime | None = None
        self._canary_below: int | None = None
        #: Until then the queue is waited for; None before that begins.
        self._waits_until: datetime | None = None
        #: Why a wave ended before it was done.
        self._broken: str | None = None
        self._shown: list[tuple[str, object]] = []
        if state is not None:
            self._take_up(state)

    @workflow.run
    async def run(self, ask: UpgradeInput) -> UpgradeResult:
        """The story and its end: whatever happens, the hold and the lease are let go of."""
        self._show()
        keeper: asyncio.Task[None] | None = None
        failure: BaseException | None = None
        try:
            if ask.state is None:
                await self._preflight()
            keeper = asyncio.create_task(self._keep_hold())
            await self._story()
        except AbortedError:
            result, phase = _ABORTED
        except NextRunError:
            await self._go_on_in_a_new_run(keeper)
        except (FailureError, asyncio.CancelledError) as error:
            # Anything else is a bug: it fails the workflow task, and the upgrade goes on once it is mended.
            failure = error
            result, phase = _ABORTED if is_cancelled_exception(error) else _FAILED
        else:
            result, phase = (
                ("done-with-items" if self._counters.items.open or self._counters.left else "done"),
                Phase.DONE,
            )
        self._ending = True
        if keeper is not None:
            # A renewal on its way would take hold and lease again after they were let go of.
            await keeper
        if self._held:
            await self._steps.release_hold()
        self._result, self._phase, self._ended = result, phase, workflow.now()
        self._controls.ended = True
        self._show()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if failure is not None:
            raise failure
        told = self.report()
        return UpgradeResult(result, told.progress, told.pinned, told.excluded)

    async def _preflight(self) -> None:
        """Resolved and allowed, or refused before anything is changed. The only step that fails the upgrade."""
        try:
            self._target = await self._served(lambda: self._steps.resolve(self._ask.to))
            # From here on: of the lease and the hold one may be there without the other.
            self._held = True
            await self._served(self._steps.renew_hold)
        except ActivityError as error:
            if is_our_end(error):
                raise
            # The sentence and its type at the top, where pipelines and the UI look for them.
            kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
            raise ApplicationError(told(error), type=kind, non_retryable=True) from error

    async def _story(self) -> None:
        if self._mark is None:
            if self._ask.policy.restarts == "ours":
                await self._pausable(self._steps.await_hold)
            await self._upgrade_control_plane()
            # Later than anything that happened before the injector gave the new proxy, and fixed from here on. Marks
            # are whole seconds: the next one, for this very second may be somebody else's.
            self._mark = workflow.now().replace(microsecond=0) + timedelta(seconds=1)
        await self._restart_what_is_stale()
        self._enter(Phase.FINAL_SURVEY)
        await self._open_items()
        if self._ask.policy.remediation == "wait":
            await self._wait_for_queue()

    async def _open_items(self) -> None:
        """Opens items for what the last survey found; after an operator's command the cluster is read anew."""
        self._counters.items = await self._pausable(
            lambda: self._steps.open_items(self._survey_input(), self._read_after(self._surveyed_at))
        )

    async def _wait_for_queue(self) -> None:
        """Until it is empty or the time is up. What was mended meanwhile and is still stale is restarted."""
        patience = self._ask.policy.remediation_timeout
        self._waits_until = self._waits_until or workflow.now() + patience
        while self._counters.items.open and (left := self._waits_until - workflow.now()) > timedelta():
            pause = min(max((patience - left) / 10, _LOOK_SOON), _LOOK_RARELY, left)
            await self._wait_for(pause, Phase.WAITING_QUEUE, "look at the queue again")
            await self._restart_what_is_stale()
            await self._open_items()

    async def _upgrade_control_plane(self) -> None:
        self._enter(Phase.CONTROL_PLANE)
        self._began = self._began or workflow.now()
        target = self._resolved()
        await self._pausable(lambda: self._steps.apply(target))
        await self._pausable(lambda: self._steps.await_control_plane(target))
        await self._pausable(lambda: self._steps.gate(target))

    async def _restart_what_is_stale(self) -> None:
        """Surveys and waves in turn, until nothing is left that may be restarted."""
        rounds = 0
        while True:
            self._enter(Phase.FINAL_SURVEY if rounds else Phase.SURVEY)
            self._wave = None
            self._surveyed_at = workflow.now()
            summary = await self._pausable(lambda: self._steps.survey(self._survey_input()))
            self._counters.record_survey(summary)
            self._show()
            if self._canary_below is None and summary.candidates:
                self._canary_below = summary.waves.canary_below
            if summary.candidates and rounds < _ROUNDS and not self._counters.overfull:
                # A window that closed leaves the rest for another day, which is no further try.
                rounds += await self._run_waves(summary)
            elif summary.opens_at is not None and not self._counters.overfull:
                await self._wait_for_window(summary.opens_at)
                rounds = 0
            else:
                return

    async def _run_waves(self, summary: SurveySummary) -> bool:
        """Every wave of a plan; False when a window closed before the last."""
        of = self._waves_run + len(summary.waves.rules)
        steps = [list(rules) for _, rules in groupby(summary.waves.rules, key=lambda rule: rule.step)]
        for rules in steps:
            await self._checkpoint()
            until = await self._window()
            await self._approval(replace(rules[0], number=self._waves_run))
            await self._pausable(lambda: self._steps.gate(self._resolved()))
            self._enter(Phase.RESTARTING)
            if not await self._run_step(rules, summary.waves.canary_below, of, until):
                return False
            await self._checkpoint()
            self._mind_the_budget()
            await self._checkpoint()
            if self._ask.policy.soak and rules is not steps[-1]:
                await self._wait_for(self._ask.policy.soak, Phase.SOAKING, f"soak after {rules[0].name}")
        return True

    async def _run_step(self, rules: Sequence[WaveRule], canary_below: int, of: int, until: datetime | None) -> bool:
        """The waves of one step, each begun when all of the one before has; False when the window closed."""
        whole = True
        began = workflow.now()
        following: list[asyncio.Task[bool]] = []
        try:
            for rule in rules:
                await self._checkpoint()
                if until is not None and workflow.now() >= until:
                    whole = False
                    break
                number = self._waves_run
                self._waves_run += 1
                self._wave = WaveProgress(number, of, rule.name)
                self._show()
                ask = WaveInput(
                    self._survey_input(),
                    replace(rule, number=number),
                    canary_below,
                    self._fixed_mark(),
                    of,
                    until,
                    read_after=self._read_after(began),
                )
                handle = await self._begin(ask)
                if handle is None:
                    continue
                following.append(asyncio.create_task(self._follow(number, handle)))
                if self._controls.paused_by is not None or self._controls.aborted:
                    # Said between the checkpoint and the wave's start.
                    await self._waves.steer(self._controls.steer)
                await workflow.wait_condition(lambda number=number: self._waves.begun(number))  # type: ignore[misc]
            ended = await asyncio.gather(*following)
        except AbortedError:
            # What is in flight finishes: a wave that is open would be terminated with its upgrade.
            await asyncio.gather(*following)
            raise
        except asyncio.CancelledError:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            raise
        if self._broken is not None:
            broken, self._broken = self._broken, None
            await self._pause(broken)
        return whole and all(ended)

    async def _begin(self, ask: WaveInput) -> Handle | None:
        try:
            return await self._waves.start(ask, self._controls.steer)
        except WorkflowAlreadyStartedError as error:
            await self._pause(
                f"{error.workflow_id} still runs, of an earlier upgrade; wait for its end or terminate it"
            )
            return None

    async def _follow(self, number: int, handle: Handle) -> bool:
        """A wave to its end; False when it left something because a window closed."""
        try:
            result = await handle
        except ChildWorkflowError as error:
            self._waves.ended(number)
            if is_our_end(error):
                raise
            # A wave that ended by force: what it left is still stale, and the next survey finds it.
            self._broken = f"wave {number} ended before it was done: {told(error)}"
            return True
        self._waves.ended(number)
        self._counters.take_wave(result)
        self._show()
        await self._waves.steer(self._controls.steer)
        return not result.left

    def _mind_the_budget(self) -> None:
        waves = self._waves
        budget_exceeded = self._counters.budget_exceeded(self._ask.policy.budget, waves.failed, waves.last_failed)
        if budget_exceeded is not None:
            self._controls.paused_by = budget_exceeded
            self._show()

    async def _window(self) -> datetime | None:
        """Waits until the policy's windows are open; when they close, None for never."""
        if not self._ask.policy.windows:
            return None
        while True:
            state = await self._pausable(self._steps.window)
            if state.open:
                return state.changes_at
            await self._wait_for_window(state.changes_at)

    async def _wait_for_window(self, opens_at: datetime | None) -> None:
        within = min(opens_at - workflow.now(), _LOOK_AGAIN) if opens_at is not None else _LOOK_AGAIN
        await self._wait_for(max(within, timedelta()), Phase.WAITING_WINDOW, "a window opens")

    async def _wait_for(self, duration: timedelta, phase: Phase, summary: str) -> None:
        """Nothing happens but the time passing, or an operator ending it."""
        self._enter(phase)
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self._controls.aborted, timeout=duration, timeout_summary=summary)
        await self._checkpoint()

    async def _approval(self, rule: WaveRule) -> None:
        """Waits for an operator where the policy wants one."""
        if not self._controls.needs_approval(rule, self._ask.policy.approve):
            return
        self._controls.awaited = rule
        self._enter(Phase.WAITING_APPROVAL)
        while self._controls.needs_approval(rule, self._ask.policy.approve):
            await workflow.wait_condition(
                lambda: (
                    self._controls.aborted
                    or self._long()
                    or not self._controls.needs_approval(rule, self._ask.policy.approve)
                )
            )
            await self._checkpoint()
        self._controls.awaited = None

    async def _keep_hold(self) -> None:
        while True:
            try:
                await workflow.wait_condition(
                    lambda: self._ending, timeout=HOLD_RENEWED, timeout_summary="renew hold and lease"
                )
            except TimeoutError:
                pass
            else:
                return
            try:
                await self._steps.renew_hold()
            except ActivityError as error:
                if no_worker(error):
                    # Whatever step is under way tells it; the hold is renewed as soon as somebody can.
                    continue
                self._controls.paused_by = f"hold and lease could not be renewed: {told(error)}"
                self._show()
                await self._waves.steer(self._controls.steer)

    def _survey_input(self) -> SurveyInput:
        return SurveyInput(
            self._ask.cluster, self._ask.policy, self._mark, self._began, self._counters.failed, self._canary_below
        )

    def _read_after(self, moment: datetime | None) -> datetime | None:
        """Returns this moment, or that of the newest command: an operator may have changed the cluster before it."""
        command = self._controls.commanded_at
        return max(moment, command) if moment is not None and command is not None else moment

    def _resolved(self) -> Target:
        if self._target is None:
            raise ValueError("preflight comes first")
        return self._target.target

    def _fixed_mark(self) -> datetime:
        if self._mark is None:
            raise ValueError("the mark is fixed before the first wave")
        return self._mark

    # From run to run.

    def _long(self) -> bool:
        """Whether the history has become long and no wave is open: the server would terminate it."""
        began = self._target is not None and self._held
        return workflow.info().is_continue_as_new_suggested() and began and not self._waves.any

    def _take_up(self, state: UpgradeState) -> None:
        self._target, self._held = state.target, True
        self._started, self._began, self._mark = state.started_at, state.began, state.mark
        self._waves_run, self._canary_below = state.waves_run, state.canary_below
        self._waits_until = state.waits_until
        self._phase = Phase.CONTROL_PLANE if state.mark is None else Phase.SURVEY
        steering = self._controls
        steering.paused_by, steering.in_flight = state.paused_by, state.in_flight
        steering.decisions = list(state.decisions)
        steering.approved, steering.approved_numbers = set(state.approved), set(state.approved_numbers)

    async def _go_on_in_a_new_run(self, keeper: asyncio.Task[None] | None) -> None:
        self._ending = True
        if keeper is not None:
            await keeper
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._target is None:
            raise ValueError("no new run before preflight")
        steering = self._controls
        state = UpgradeState(
            target=self._target,
            started_at=self._started,
            began=self._began,
            mark=self._mark,
            waves_run=self._waves_run,
            canary_below=self._canary_below,
            counters=self._counters.state,
            paused_by=steering.paused_by,
            in_flight=steering.in_flight,
            decisions=tuple(steering.decisions),
            approved=tuple(sorted(steering.approved)),
            approved_numbers=tuple(sorted(steering.approved_numbers)),
            waits_until=self._waits_until,
        )
        workflow.continue_as_new(replace(self._ask, state=state))

    # What waves and pipelines say.

    @workflow.signal(description="What a wave has begun, and what fails in it. Sent by waves.")
    async def wave_reported(self, report: WaveReport) -> None:
        """The next wave of a step waits for it; trouble pauses at once and not at the wave's end."""
        before = self._waves.heard(report)
        if report.lost is not None and report.lost != before and self._controls.paused_by is None:
            self._controls.paused_by = report.lost
        elif report.lost is None and before is not None and self._controls.paused_by == before:
            # A worker is there again; nobody needs to say so.
            self._controls.paused_by = None
        self._mind_the_budget()
        self._show()
        await self._waves.steer(self._controls.steer)

    @workflow.update(description='A second start. Input: {"to": "fast"}; refused if another target is under way.')
    def attach(self, ask: AttachInput) -> Progress:
        """Harmless: changes nothing."""
        return self.progress()

    @attach.validator
    def _check_attach(self, ask: AttachInput) -> None:
        if ask.cluster is not None and ask.cluster != self._ask.cluster:
            raise ApplicationError(
                f"An upgrade of another cluster goes by the name {ask.cluster.name}. "
                "Give one of the two another name with --cluster.",
                type="ConflictError",
            )
        mine = self._target.target if self._target else None
        same = ask.to == self._ask.to if mine is None or ask.target is None else ask.target.module == mine.module
        if not same:
            running = str(mine) if mine else self._ask.to
            raise ApplicationError(
                f"An upgrade to {running} is under way; it was asked for {ask.to}. "
                "Wait for it (kyma-upgrade wait), or end it (kyma-upgrade abort).",
                type="ConflictError",
            )

    # What people see.

    @workflow.query(description="Where the upgrade stands.")
    def progress(self) -> Progress:
        """Everything that `kyma-upgrade status` prints."""
        target = str(self._target.target) if self._target else None
        cluster, steering = self._ask.cluster.name, self._controls
        attention = None if self._ending else steering.attention
        waits_until = self._waits_until if self._phase is Phase.WAITING_QUEUE else None
        return Progress(
            cluster=cluster,
            target=target,
            phase=Phase.PAUSED if attention and steering.paused_by else self._phase,
            needs_attention=attention,
            next_step=next_step(cluster, steering.paused_by, waits_until) if attention or waits_until else None,
            started_at=self._started,
            ended_at=self._ended,
            result=self._result,
            workloads=self._counters.counts,
            wave=self._wave,
            items=self._counters.items,
        )

    @workflow.query(description="Where the upgrade stands, what it leaves alone, and what operators decided.")
    def report(self) -> UpgradeReport:
        """What a report of this upgrade knows that its waves and items do not."""
        classes = self._counters.summary.classes if self._counters.summary else {}
        decisions = tuple(self._controls.decisions)
        return UpgradeReport(self.progress(), classes.get("pinned", 0), classes.get("excluded", 0), decisions)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._show()

    def _show(self) -> None:
        """Attributes for the list, details for the page; the former are kept by the server when no worker is there."""
        progress = self.progress()
        wanted: list[SearchAttributeUpdate[Any]] = [
            CLUSTER.value_set(self._ask.cluster.name),
            PHASE.value_set(str(progress.phase)),
            NEEDS_ATTENTION.value_set(progress.needs_attention is not None),
        ]
        if self._target is not None:
            wanted.append(TARGET.value_set(self._target.target.istio or self._target.target.module))
        if self._counters.stale_left is not None:
            wanted.append(STALE_LEFT.value_set(self._counters.stale_left))
        shown = [(one.key.name, one.value) for one in wanted]
        # Each upsert is an event in history: only what changed.
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes(wanted)
        workflow.set_current_details(upgrade_details(progress, self._controls.decisions))
