"""Runs the steps of an upgrade. A step that fails pauses the upgrade instead of ending it, and is then tried again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows.activity_calls import ActivityCalls
    from workflows.failures import failure_message, no_worker_polled, workflow_is_cancelled
    from workflows.messages import Phase
    from workflows.operator_controls import OperatorControls

T = TypeVar("T")


class AbortedError(Exception):
    """An operator has aborted the upgrade."""


class NewRunDueError(Exception):
    """The history has become long and no wave is open: the upgrade must continue in a new run."""


class StepRunner:
    """Runs steps under the operators' controls.

    `show` tells people of a change; `new_run_due` says whether the upgrade must continue in a new run.
    """

    def __init__(
        self,
        calls: ActivityCalls,
        controls: OperatorControls,
        show: Callable[[], None],
        new_run_due: Callable[[], bool],
    ) -> None:
        self.calls = calls
        self.controls = controls
        self.phase = Phase.PREFLIGHT
        self.show = show
        self.new_run_due = new_run_due

    def enter(self, phase: Phase) -> None:
        """Begins a phase, and shows it."""
        self.phase = phase
        self.show()

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a step; when it fails, pauses until an operator resumes, and runs it again."""
        while True:
            await self.checkpoint()
            try:
                return await self._until_aborted(lambda: self.run_when_served(step))
            except (ActivityError, ApplicationError) as error:
                if workflow_is_cancelled(error):
                    raise
                await self.pause(failure_message(error))

    async def run_when_served(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a step; while no worker serves the cluster, pauses and continues by itself once one does."""
        while True:
            try:
                return await step()
            except ActivityError as error:
                if not no_worker_polled(error):
                    raise
                reason, before = failure_message(error), self.controls.paused_by
                self.controls.pause_for(reason)
                self.show()
                await self._until_aborted(self.calls.await_worker)
                if self.controls.paused_by == reason:
                    self.controls.pause_for(before)
                self.show()

    async def pause(self, reason: str) -> None:
        """Pauses the upgrade until an operator resumes it."""
        self.controls.pause_for(reason)
        self.show()
        await self.checkpoint()

    async def checkpoint(self) -> None:
        """Waits while the upgrade is paused.

        Raises:
            AbortedError: an operator has aborted the upgrade.
            NewRunDueError: the upgrade must continue in a new run.
        """
        controls = self.controls
        await workflow.wait_condition(lambda: controls.paused_by is None or controls.aborted or self.new_run_due())
        if controls.aborted:
            raise AbortedError
        if self.new_run_due():
            raise NewRunDueError

    async def wait(self, duration: timedelta, phase: Phase, summary: str) -> None:
        """Lets time pass in a phase; only an abort ends it early."""
        self.enter(phase)
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: self.controls.aborted, timeout=duration, timeout_summary=summary)
        await self.checkpoint()

    async def _until_aborted(self, step: Callable[[], Awaitable[T]]) -> T:
        """Runs a step that may wait for the cluster for hours; an abort ends it at once."""
        running = asyncio.ensure_future(step())
        try:
            await workflow.wait_condition(lambda: running.done() or self.controls.aborted)
        except asyncio.CancelledError:
            await _cancel(running)
            raise
        if not running.done():
            await _cancel(running)
            raise AbortedError
        return await running


async def _cancel(step: asyncio.Future[Any]) -> None:
    """Cancels a step and drops its outcome, which no other code awaits."""
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
