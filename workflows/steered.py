"""Steps that pause on trouble instead of failing, and the updates by which operators steer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows.activity_calls import ActivityCalls
    from workflows.failures import is_our_end, no_worker, told
    from workflows.messages import ApproveInput, LimitInput, OperatorInput, Progress
    from workflows.operator_controls import OperatorControls
    from workflows.wave_coordinator import WaveCoordinator

T = TypeVar("T")


class AbortedError(Exception):
    """An operator said so."""


class NextRunError(Exception):
    """The history has become long, and no wave is open: the upgrade goes on in a new run."""


class OperatorControlledWorkflow(ABC):
    """What an upgrade is steered by. Its steps run in `_pausable`; what they are is the subclass' business."""

    _controls: OperatorControls
    _steps: ActivityCalls
    _waves: WaveCoordinator

    @abstractmethod
    def progress(self) -> Progress:
        """Where it stands: the answer to every word."""

    @abstractmethod
    def _show(self) -> None:
        """Tells people where it stands."""

    @abstractmethod
    def _long(self) -> bool:
        """Whether it is to go on in a new run, and may."""

    async def _pausable(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a step; trouble pauses until an operator resumes, and then the step is tried again."""
        while True:
            await self._checkpoint()
            try:
                return await self._unless_aborted(lambda: self._served(step))
            except (ActivityError, ApplicationError) as error:
                if is_our_end(error):
                    raise
                await self._pause(told(error))

    async def _served(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a step. Without a worker for the cluster it is paused, and goes on by itself once there is one."""
        while True:
            try:
                return await step()
            except ActivityError as error:
                if not no_worker(error):
                    raise
                before, self._controls.paused_by = self._controls.paused_by, told(error)
                self._show()
                await self._unless_aborted(self._steps.await_worker)
                if self._controls.paused_by == told(error):
                    self._controls.paused_by = before
                self._show()

    async def _unless_aborted(self, step: Callable[[], Awaitable[T]]) -> T:
        """A step may wait for the cluster for hours; an operator's word ends it at once."""
        running = asyncio.ensure_future(step())
        try:
            await workflow.wait_condition(lambda: running.done() or self._controls.aborted)
        except asyncio.CancelledError:
            await _cancelled(running)
            raise
        if not running.done():
            await _cancelled(running)
            raise AbortedError
        return await running

    async def _pause(self, reason: str) -> None:
        self._controls.paused_by = reason
        self._show()
        await self._checkpoint()

    async def _checkpoint(self) -> None:
        """Waits while paused; raises when aborted, or when the history has become long."""
        await workflow.wait_condition(
            lambda: self._controls.paused_by is None or self._controls.aborted or self._long()
        )
        if self._controls.aborted:
            raise AbortedError
        if self._long():
            raise NextRunError

    async def _told(self, what: str, operator: OperatorInput | ApproveInput | LimitInput) -> Progress:
        self._controls.decide(what, operator)
        await self._waves.steer(self._controls.steer)
        self._show()
        return self.progress()

    @workflow.update(description='Start nothing new until resumed. Input: {"who": "you", "because": "why"}')
    async def pause(self, operator: OperatorInput) -> Progress:
        """What is in flight finishes."""
        self._controls.pause(operator)
        return await self._told("paused", operator)

    @pause.validator
    def _check_pause(self, operator: OperatorInput) -> None:
        self._controls.check_pause()

    @workflow.update(description='Go on where it stands. Input: {"who": "you", "because": "what was mended"}')
    async def resume(self, operator: OperatorInput) -> Progress:
        """The step that failed is tried again."""
        self._controls.paused_by = None
        return await self._told("resumed", operator)

    @resume.validator
    def _check_resume(self, operator: OperatorInput) -> None:
        self._controls.check_resume()

    @workflow.update(description='Let the wave that waits begin. Input: {"who": "you", "because": "why"}')
    async def approve(self, ask: ApproveInput) -> Progress:
        """Or, with its number as "wave", one before it waits."""
        return await self._told(self._controls.approve(ask), ask)

    @approve.validator
    def _check_approve(self, ask: ApproveInput) -> None:
        self._controls.check_approve(ask)

    @workflow.update(
        description='Workloads in flight at most. Input: {"in_flight": 20, "who": "you", "because": "why"}'
    )
    async def limit(self, ask: LimitInput) -> Progress:
        """What is in flight finishes; less begins, or more."""
        self._controls.in_flight = ask.in_flight
        return await self._told(f"limited to {ask.in_flight} in flight", ask)

    @limit.validator
    def _check_limit(self, ask: LimitInput) -> None:
        self._controls.check_limit(ask)

    @workflow.update(
        description='End it: what is in flight finishes, marks and items stay. Input: {"who": "you", "because": "why"}'
    )
    async def abort(self, operator: OperatorInput) -> Progress:
        """Lets go of the hold."""
        self._controls.aborted = True
        return await self._told("aborted", operator)

    @abort.validator
    def _check_abort(self, operator: OperatorInput) -> None:
        self._controls.check_abort()


async def _cancelled(step: asyncio.Future[Any]) -> None:
    """Cancels a step and takes what comes of it: nobody else will ask."""
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
