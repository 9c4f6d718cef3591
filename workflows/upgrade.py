"""The upgrade of one cluster, from the channel to the last sidecar.

`run` holds what surrounds the story (the end, whatever it is); `_story` reads as the story itself. Trouble pauses:
a step that fails for good waits for an operator and is then tried again, so nothing is ever begun anew. The steps
themselves are in `workflows.steps`, what is counted on the way in `workflows.tally`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

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
    from activities.survey import SurveyInput, SurveySummary
    from mesh.cluster import wave_id
    from mesh.kyma import Target
    from mesh.waves import WaveRule

    from workflows.attributes import CLUSTER, NEEDS_ATTENTION, PHASE, STALE_LEFT, TARGET
    from workflows.failures import is_our_end, told
    from workflows.model import (
        AttachInput,
        OperatorInput,
        Phase,
        Progress,
        Result,
        Steer,
        UpgradeInput,
        UpgradeResult,
        WaveInput,
        WaveProgress,
        WaveResult,
    )
    from workflows.show import upgrade_details
    from workflows.steps import HOLD_RENEWED, Steps
    from workflows.tally import Tally
    from workflows.waves import WaveWorkflow

T = TypeVar("T")

#: The final survey starts another round while something restartable is still stale, this often at most.
_ROUNDS = 3
_ABORTED: tuple[Result, Phase] = ("aborted", Phase.ABORTED)
_FAILED: tuple[Result, Phase] = ("failed", Phase.FAILED)


class _AbortedError(Exception):
    """An operator said so."""


@workflow.defn(name="Upgrade")
class UpgradeWorkflow:
    """One at a time per cluster, by its workflow id."""

    @workflow.init
    def __init__(self, ask: UpgradeInput) -> None:
        self._ask = ask
        self._steps = Steps(ask.cluster, ask.policy)
        self._tally = Tally()
        self._phase = Phase.PREFLIGHT
        self._target: ResolvedTarget | None = None
        self._paused_by: str | None = None
        self._aborted = False
        self._ending = False
        self._held = False
        self._result: Result | None = None
        self._ended: datetime | None = None
        self._mark: datetime | None = None
        self._began: datetime | None = None
        self._wave: WaveProgress | None = None
        self._wave_handle: workflow.ChildWorkflowHandle[Any, WaveResult] | None = None
        self._steering = asyncio.Lock()
        self._waves_run = 0
        self._decisions: list[str] = []
        self._shown: list[tuple[str, object]] = []

    @workflow.run
    async def run(self, ask: UpgradeInput) -> UpgradeResult:
        """The story and its end: whatever happens, the hold and the lease are let go of."""
        self._show()
        keeper: asyncio.Task[None] | None = None
        failure: BaseException | None = None
        try:
            await self._preflight()
            keeper = asyncio.create_task(self._keep_hold())
            await self._story()
        except _AbortedError:
            result, phase = _ABORTED
        except (FailureError, asyncio.CancelledError) as error:
            # Anything else is a bug: it fails the workflow task, and the upgrade goes on once it is mended.
            failure = error
            result, phase = _ABORTED if is_cancelled_exception(error) else _FAILED
        else:
            result, phase = ("done-with-items" if self._tally.items.open or self._tally.left else "done"), Phase.DONE
        self._ending = True
        if keeper is not None:
            # A renewal on its way would take hold and lease again after they were let go of.
            await keeper
        if self._held:
            await self._steps.release_hold()
        self._result, self._phase, self._ended = result, phase, workflow.now()
        self._show()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if failure is not None:
            raise failure
        classes = self._tally.summary.classes if self._tally.summary else {}
        return UpgradeResult(result, self.progress(), classes.get("pinned", 0), classes.get("excluded", 0))

    async def _preflight(self) -> None:
        """Resolved and allowed, or refused before anything is changed. The only step that fails the upgrade."""
        try:
            self._target = await self._steps.resolve(self._ask.to)
            # From here on: of the lease and the hold one may be there without the other.
            self._held = True
            await self._steps.renew_hold()
        except ActivityError as error:
            if is_our_end(error):
                raise
            # The sentence and its type at the top, where pipelines and the UI look for them.
            kind = error.cause.type if isinstance(error.cause, ApplicationError) else None
            raise ApplicationError(told(error), type=kind, non_retryable=True) from error

    async def _story(self) -> None:
        if self._ask.policy.restarts == "ours":
            await self._pausable(self._steps.await_hold)
        await self._upgrade_control_plane()
        # Later than anything that happened before the injector gave the new proxy, and fixed from here on. Marks are
        # whole seconds: the next one, for this very second may be somebody else's.
        self._mark = workflow.now().replace(microsecond=0) + timedelta(seconds=1)
        for number in range(_ROUNDS + 1):
            self._enter(Phase.FINAL_SURVEY if number else Phase.SURVEY)
            self._wave = None
            summary = await self._pausable(lambda: self._steps.survey(self._survey_input()))
            self._tally.take_survey(summary)
            self._show()
            if not summary.candidates or number == _ROUNDS or self._tally.overfull:
                break
            await self._run_waves(summary)
        self._enter(Phase.FINAL_SURVEY)
        self._tally.items = await self._pausable(lambda: self._steps.open_items(self._survey_input()))

    async def _upgrade_control_plane(self) -> None:
        self._enter(Phase.CONTROL_PLANE)
        self._began = workflow.now()
        target = self._resolved()
        await self._pausable(lambda: self._steps.apply(target))
        await self._pausable(lambda: self._steps.await_control_plane(target))
        await self._pausable(lambda: self._steps.gate(target))

    async def _run_waves(self, summary: SurveySummary) -> None:
        target = self._resolved()
        of = self._waves_run + len(summary.waves.rules)
        for rule in summary.waves.rules:
            await self._checkpoint()
            await self._pausable(lambda: self._steps.gate(target))
            self._enter(Phase.RESTARTING)
            await self._run_wave(rule, summary.waves.canary_below, of)
            await self._checkpoint()
            overspent = self._tally.overspent(self._ask.policy.budget)
            if overspent is not None:
                await self._pause(overspent)
            # The module restarts its own at once; there is nothing to observe before the first wave of ours.
            if self._ask.policy.soak and rule is not summary.waves.rules[-1]:
                self._enter(Phase.SOAKING)
                with contextlib.suppress(TimeoutError):
                    await workflow.wait_condition(
                        lambda: self._aborted, timeout=self._ask.policy.soak, timeout_summary=f"soak after {rule.name}"
                    )

    async def _run_wave(self, rule: WaveRule, canary_below: int, of: int) -> None:
        number = self._waves_run
        self._waves_run += 1
        self._wave = WaveProgress(number, of, rule.name)
        self._show()
        try:
            self._wave_handle = await workflow.start_child_workflow(
                WaveWorkflow.run,
                WaveInput(self._survey_input(), replace(rule, number=number), canary_below, self._fixed_mark(), of),
                id=wave_id(self._ask.cluster.name, number),
                static_summary=f"{rule.name}: {rule.workloads} workload{'' if rule.workloads == 1 else 's'}",
            )
            if self._paused_by is not None or self._aborted:
                # Said between the checkpoint and the wave's start.
                await self._steer_wave()
            result = await self._wave_handle
        except WorkflowAlreadyStartedError as error:
            await self._pause(
                f"{error.workflow_id} still runs, of an earlier upgrade; wait for its end or terminate it"
            )
            return
        except ChildWorkflowError as error:
            if is_our_end(error):
                raise
            # A wave that ended by force: what it left is still stale, and the next survey finds it.
            await self._pause(f"wave {number} ended before it was done: {told(error)}")
            return
        finally:
            self._wave_handle = None
        self._tally.take_wave(result)
        self._show()

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
                self._paused_by = f"hold and lease could not be renewed: {told(error)}"
                self._show()
                await self._steer_wave()

    def _survey_input(self) -> SurveyInput:
        return SurveyInput(self._ask.cluster, self._ask.policy, self._mark, self._began, self._tally.failed)

    def _resolved(self) -> Target:
        if self._target is None:
            raise ValueError("preflight comes first")
        return self._target.target

    def _fixed_mark(self) -> datetime:
        if self._mark is None:
            raise ValueError("the mark is fixed before the first wave")
        return self._mark

    # Pausing and steering.

    async def _pausable(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a step; trouble pauses until an operator resumes, and then the step is tried again."""
        while True:
            await self._checkpoint()
            try:
                return await self._unless_aborted(step)
            except (ActivityError, ApplicationError) as error:
                if is_our_end(error):
                    raise
                await self._pause(told(error))

    async def _unless_aborted(self, step: Callable[[], Awaitable[T]]) -> T:
        """A step may wait for the cluster for hours; an operator's word ends it at once."""
        running = asyncio.ensure_future(step())
        try:
            await workflow.wait_condition(lambda: running.done() or self._aborted)
        except asyncio.CancelledError:
            await _cancelled(running)
            raise
        if not running.done():
            await _cancelled(running)
            raise _AbortedError
        return await running

    async def _pause(self, reason: str) -> None:
        self._paused_by = reason
        self._show()
        await self._checkpoint()

    async def _checkpoint(self) -> None:
        """Waits while paused; raises when aborted."""
        await workflow.wait_condition(lambda: self._paused_by is None or self._aborted)
        if self._aborted:
            raise _AbortedError

    async def _steer_wave(self) -> None:
        # One signal at a time: of two on their way at once the older could arrive last.
        async with self._steering:
            if self._wave_handle is None:
                return
            steer = Steer(paused=self._paused_by is not None, stopped=self._aborted)
            # A wave that has just ended cannot be told, and need not be.
            with contextlib.suppress(FailureError):
                await self._wave_handle.signal(WaveWorkflow.steer, steer)

    def _decide(self, what: str, operator: OperatorInput) -> Progress:
        who = operator.who or "somebody"
        self._decisions.append(f"{workflow.now():%H:%M:%S} {what} by {who}: {operator.because or 'no reason given'}")
        self._show()
        return self.progress()

    @workflow.update(description='Start nothing new until resumed. Input: {"who": "you", "because": "why"}')
    async def pause(self, operator: OperatorInput) -> Progress:
        """What is in flight finishes."""
        self._paused_by = f"paused by {operator.who or 'an operator'}: {operator.because or 'no reason given'}"
        await self._steer_wave()
        return self._decide("paused", operator)

    @pause.validator
    def _check_pause(self, operator: OperatorInput) -> None:
        self._refuse_if_ended()
        self._refuse_if_aborted()
        if self._paused_by is not None:
            raise ApplicationError(f"It is paused already: {self._paused_by}.", type="RefusedError")

    @workflow.update(description='Go on where it stands. Input: {"who": "you", "because": "what was mended"}')
    async def resume(self, operator: OperatorInput) -> Progress:
        """The step that failed is tried again."""
        self._paused_by = None
        await self._steer_wave()
        return self._decide("resumed", operator)

    @resume.validator
    def _check_resume(self, operator: OperatorInput) -> None:
        self._refuse_if_ended()
        self._refuse_if_aborted()
        if self._paused_by is None:
            raise ApplicationError("It is not paused.", type="RefusedError")

    @workflow.update(
        description='End it: what is in flight finishes, marks and items stay. Input: {"who": "you", "because": "why"}'
    )
    async def abort(self, operator: OperatorInput) -> Progress:
        """Lets go of the hold."""
        self._aborted = True
        await self._steer_wave()
        return self._decide("aborted", operator)

    @abort.validator
    def _check_abort(self, operator: OperatorInput) -> None:
        self._refuse_if_ended()

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
            running = mine.words() if mine else self._ask.to
            raise ApplicationError(
                f"An upgrade to {running} is under way; it was asked for {ask.to}. "
                "Wait for it (kyma-upgrade wait), or end it (kyma-upgrade abort).",
                type="ConflictError",
            )

    def _refuse_if_ended(self) -> None:
        if self._result is not None:
            raise ApplicationError("The upgrade has ended.", type="RefusedError")

    def _refuse_if_aborted(self) -> None:
        if self._aborted:
            raise ApplicationError("It is being aborted; what is in flight still finishes.", type="RefusedError")

    # What people see.

    @workflow.query(description="Where the upgrade stands.")
    def progress(self) -> Progress:
        """Everything that `kyma-upgrade status` prints."""
        target = self._target.target.words() if self._target else None
        attention = self._attention()
        return Progress(
            cluster=self._ask.cluster.name,
            target=target,
            phase=Phase.PAUSED if attention else self._phase,
            needs_attention=attention,
            next_step=_NEXT_STEP.format(cluster=self._ask.cluster.name) if attention else None,
            started_at=workflow.info().workflow_start_time,
            ended_at=self._ended,
            result=self._result,
            workloads=self._tally.counts,
            wave=self._wave,
            items=self._tally.items,
        )

    def _attention(self) -> str | None:
        """Why it waits for an operator. A pause is told at once: in the middle of a wave nothing else would tell it."""
        return None if self._aborted or self._ending else self._paused_by

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
        if self._tally.stale_left is not None:
            wanted.append(STALE_LEFT.value_set(self._tally.stale_left))
        shown = [(one.key.name, one.value) for one in wanted]
        # Each upsert is an event in history: only what changed.
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes(wanted)
        workflow.set_current_details(upgrade_details(progress, self._decisions))


_NEXT_STEP = "Mend the cause, then: kyma-upgrade resume --cluster {cluster} --because 'what was mended'"


async def _cancelled(step: asyncio.Future[Any]) -> None:
    """Cancels a step and takes what comes of it: nobody else will ask."""
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
