"""One remediation item: open until its cause is gone or an operator closes it, with the history of what was done.

open → (retrying | snoozed) → resolved | skipped. An item that is resolved ends its workflow; a skipped item keeps
running until its end date, and then is open again. Surveys and the cluster's watch send observations of its workload.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.remediation.activities import RemediationActivities
    from activities.remediation.inputs import RecheckItemInput, RemediationItemInput, SetPodWarningsInput
    from activities.restart.activities import RestartActivities
    from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
    from activities.search_attributes import item_search_attributes
    from mesh.history import HistoryEntry
    from mesh.remediation.item import ItemState, ItemView, Observation, parse_until, view_of, warning_text
    from mesh.survey.finding import Finding
    from mesh.survey.reasons import RETRIABLE
    from mesh.text import one_line, rfc3339

    from workflows import activity_options
    from workflows.failures import failure_message, refusal
    from workflows.item_commands import (
        ItemCommand,
        ResolveCommand,
        SkipCommand,
        SnoozeCommand,
        check_command,
        snooze_duration,
    )
    from workflows.operator_controls import UNNAMED_OPERATOR
    from workflows.ui_details import item_details

C = TypeVar("C", bound=ItemCommand)

#: Without an event from the cluster an item is rechecked after this time, and each time after twice as long.
_RECHECK_FIRST = timedelta(minutes=30)
_RECHECK_LAST = timedelta(hours=24)
#: Rechecks by timer share a survey that is this old, in seconds.
_RECHECK_MAX_AGE = 60.0
#: Who acts when the item itself does.
_ITEM = "the item"
#: What ends when an item is opened again.
_PERIODS = {ItemState.SNOOZED: "snooze", ItemState.SKIPPED: "skip"}


@workflow.defn(name="RemediationItem")
class RemediationItemWorkflow:
    """One workload that an operator must settle. Started by its first finding, outlives the upgrade."""

    @workflow.init
    def __init__(self, request: RemediationItemInput) -> None:
        self._request = request
        self._item = request.item
        self._wake = False
        #: The newest observation that is not in the item yet.
        self._observation: Observation | None = None
        self._recheck_now = False
        #: The operator's command that is being carried out.
        self._busy: str | None = None
        self._retry: asyncio.Task[None] | None = None
        #: The finding that the Pods' warning states, None while they carry none.
        self._warned: Finding | None = request.item.finding if request.item.is_open else None
        self._recheck_after = _RECHECK_FIRST
        #: Search attributes and memo as they were last written.
        self._shown = item_search_attributes(request.item)
        self._listed = request.item.for_list()

    @workflow.run
    async def run(self, request: RemediationItemInput) -> str:
        """Runs until the workload needs no restart or an operator closes the item; returns why it is closed."""
        while True:
            self._wake = False
            self._apply_observation()
            self._reopen_when_due()
            await self._keep_warnings()
            self._show()
            if self._is_idle():
                if self._item.state is ItemState.RESOLVED:
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    # An observation that arrives while the item closes opens it again.
                    if self._observation is None:
                        return self._item.closed or "resolved"
                elif workflow.info().is_continue_as_new_suggested():
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    if self._is_idle():
                        workflow.continue_as_new(replace(request, item=self._item))
            if not self._wake and self._observation is None:
                await self._wait_for_change()

    # Messages of surveys and of the watch.

    @workflow.signal(description="An observation of the workload. Sent by surveys and by the cluster's watch.")
    def observed(self, observation: Observation) -> None:
        """Keeps the newest observation."""
        if self._observation is None or observation.at >= self._observation.at:
            self._observation = observation

    @workflow.signal(description="Check the workload now. No input.")
    def recheck(self) -> None:
        """For people: the watch sends what it saw itself."""
        self._recheck_now = self._wake = True

    @workflow.query(description="The item as the queue shows it, with its history.")
    def item(self) -> ItemView:
        """Returns the item as the queue shows it."""
        return view_of(self._item)

    # Commands of operators: updates, and signals for Temporal's batch operations, which cannot send updates. A refusal
    # is the answer of an update; that of a signal is kept in the item's history.

    @workflow.update(description='Restart the workload and verify the restart. Input: {"who": "you", "because": "why"}')
    async def retry(self, command: ItemCommand) -> ItemView:
        """Returns once the restart has begun; the item's history tells how it ends."""
        return await self._carry_out("retry", command, self._begin_retry)

    @retry.validator
    def _check_retry(self, command: ItemCommand) -> None:
        self._check("retry", command)

    @workflow.signal(
        name="retry",
        description='Does the same as the update; for batches of Temporal. Input: {"who": "you", "because": "why"}',
    )
    async def retry_by_signal(self, command: ItemCommand) -> None:
        """The item's history tells the outcome."""
        await self._as_signal("retry", command, self._begin_retry)

    @workflow.update(
        description='Close the item when it is settled. Input: {"who": "you", "because": "why", "force": false}'
    )
    async def resolve(self, command: ResolveCommand) -> ItemView:
        """Refused while the workload needs a restart, unless it is forced with a reason."""
        return await self._carry_out("resolve", command, self._resolve)

    @resolve.validator
    def _check_resolve(self, command: ResolveCommand) -> None:
        self._check("resolve", command)

    @workflow.signal(
        name="resolve",
        description='Does the same as the update; for batches of Temporal. Input: {"who": "you", "because": "why"}',
    )
    async def resolve_by_signal(self, command: ResolveCommand) -> None:
        """The item's history tells the outcome."""
        await self._as_signal("resolve", command, self._resolve)

    @workflow.update(
        description='Close it until the end of a day. Input: {"until": "2027-01-31", "who": "you", "because": "why"}'
    )
    async def skip(self, command: SkipCommand) -> ItemView:
        """The item is open again after its end date, if its workload still needs a restart."""
        return await self._carry_out("skip", command, self._skip)

    @skip.validator
    def _check_skip(self, command: SkipCommand) -> None:
        self._check("skip", command)

    @workflow.signal(
        name="skip",
        description="Does the same as the update; for batches of Temporal. "
        'Input: {"until": "2027-01-31", "who": "you", "because": "why"}',
    )
    async def skip_by_signal(self, command: SkipCommand) -> None:
        """The item's history tells the outcome."""
        await self._as_signal("skip", command, self._skip)

    @workflow.update(description='Leave it alone for a time. Input: {"duration": "2h", "who": "you", "because": "why"}')
    async def snooze(self, command: SnoozeCommand) -> ItemView:
        """The item counts as open meanwhile."""
        return await self._carry_out("snooze", command, self._snooze)

    @snooze.validator
    def _check_snooze(self, command: SnoozeCommand) -> None:
        self._check("snooze", command)

    @workflow.signal(
        name="snooze",
        description="Does the same as the update; for batches of Temporal. "
        'Input: {"duration": "2h", "who": "you", "because": "why"}',
    )
    async def snooze_by_signal(self, command: SnoozeCommand) -> None:
        """The item's history tells the outcome."""
        await self._as_signal("snooze", command, self._snooze)

    def _check(self, what: str, command: ItemCommand) -> None:
        """Refuses a command that cannot be carried out now, or at all."""
        if self._item.state is ItemState.RESOLVED:
            raise refusal(f"The item is resolved: {self._item.closed}.")
        if self._busy is not None:
            raise refusal(f"Another command is being carried out: {self._busy}. Check the item before you act.")
        if what == "retry" and self._retry is not None:
            raise refusal("The workload is already being restarted.")
        check_command(command, workflow.now())

    async def _as_signal(self, what: str, command: C, action: Callable[[C], Awaitable[str]]) -> None:
        try:
            self._check(what, command)
        except ApplicationError as error:
            self._record(what, command, f"refused: {error.message}")
            return
        with contextlib.suppress(ApplicationError):
            await self._carry_out(what, command, action)

    async def _carry_out(self, what: str, command: C, action: Callable[[C], Awaitable[str]]) -> ItemView:
        """Carries out one command at a time, and records its result or refusal."""
        self._busy = f"{what} by {command.who or UNNAMED_OPERATOR}"
        try:
            self._record(what, command, await action(command))
        except ApplicationError as error:
            # The item shows its advice anyway.
            self._record(what, command, f"refused: {error.message.removesuffix(view_of(self._item).next_step)}")
            raise
        finally:
            self._busy = None
        self._show()
        return view_of(self._item)

    async def _begin_retry(self, command: ItemCommand) -> str:
        observation = await self._recheck(0.0)
        self._item = self._item.observed(observation)
        if observation.closed is not None:
            self._enter(ItemState.RESOLVED)
            return f"nothing to restart: {observation.closed}"
        # Reasons of the owner: no restart can help before an operator has followed the advice.
        if observation.finding is not None and observation.finding.reason not in RETRIABLE:
            view = view_of(self._item)
            raise refusal(f"A restart does not help: {view.reason}. {view.next_step}")
        if observation.opens_at is not None:
            opens_at = rfc3339(observation.opens_at)
            raise refusal(f"The workload's maintenance window is closed until {opens_at}. Retry it then.")
        self._item = replace(self._item, attempts=self._item.attempts + 1)
        self._enter(ItemState.RETRYING)
        self._retry = asyncio.create_task(self._restart(command))
        return f"attempt {self._item.attempts} began"

    async def _restart(self, command: ItemCommand) -> None:
        finding, attempt = self._item.finding, f"attempt {self._item.attempts}"
        # Marks are whole seconds: later than whatever was written in this one.
        mark = workflow.now().replace(microsecond=0) + timedelta(seconds=1)
        try:
            result = await workflow.execute_activity_method(
                RestartActivities.restart_workload,
                RestartInput(self._request.cluster, finding.ref, mark, self._request.no_progress, by_operator=True),
                **activity_options.long_running_queued(self._request.cluster, f"{attempt}: {finding.ref}"),
            )
            outcome = _outcome_text(result)
            if result.outcome is RestartOutcome.FAILED and result.reason is not None:
                # Evidence of the earlier cause proves nothing about this one.
                failed = replace(finding, reason=result.reason, detail=result.detail, evidence=())
                self._item = replace(self._item, finding=failed, restartable=False)
        except ActivityError as error:
            outcome = f"failed: {failure_message(error)}"
        self._record(attempt, command, outcome)
        if self._item.state is ItemState.RETRYING:
            self._enter(ItemState.OPEN)
        self._retry = None
        self._recheck_now = self._wake = True

    async def _resolve(self, command: ResolveCommand) -> str:
        if command.force:
            closed = one_line(f"by {command.who or UNNAMED_OPERATOR} without a check: {command.because}")
            self._item = replace(self._item, closed=closed, forced=True)
            self._enter(ItemState.RESOLVED)
            return "closed without a check"
        observation = await self._recheck(0.0)
        self._item = self._item.observed(observation)
        if observation.closed is None:
            view = view_of(self._item)
            cause = f"{view.reason} still holds: {view.detail}" if view.detail else f"{view.reason} still holds"
            why = "The Pods still run the old proxy" if self._item.restartable else cause.removesuffix(".")
            raise refusal(
                f"{why}. The item stays open. To close it without a check, use force and give a reason. "
                f"Next step: kyma-upgrade queue show {shlex.quote(str(self._item.finding.ref))}"
            )
        self._enter(ItemState.RESOLVED)
        return observation.closed

    async def _skip(self, command: SkipCommand) -> str:
        self._enter(ItemState.SKIPPED, parse_until(command.until))
        return f"skipped until {self._until}"

    async def _snooze(self, command: SnoozeCommand) -> str:
        self._enter(ItemState.SNOOZED, workflow.now() + snooze_duration(command))
        return f"snoozed until {self._until}"

    @property
    def _until(self) -> str:
        return rfc3339(self._item.until) if self._item.until else "-"

    # What the item does by itself.

    def _is_idle(self) -> bool:
        return self._observation is None and self._busy is None and self._retry is None

    def _enter(self, state: ItemState, until: datetime | None = None) -> None:
        self._item = replace(self._item, state=state, until=until)
        self._wake = True

    def _record(self, what: str, command: ItemCommand, result: str) -> None:
        entry = HistoryEntry(
            at=workflow.now(),
            what=what,
            who=one_line(command.who or UNNAMED_OPERATOR),
            because=one_line(command.because),
            result=one_line(result),
        )
        self._item = self._item.with_entry(entry)
        self._wake = True

    def _apply_observation(self) -> None:
        observation, self._observation = self._observation, None
        if observation is None:
            return
        before, self._item = self._item.finding, self._item.observed(observation)
        if observation.warned and observation.finding is not None:
            self._warned = observation.finding
        if before != self._item.finding:
            self._recheck_after = _RECHECK_FIRST
        if self._item.closed is not None and self._retry is None:
            self._enter(ItemState.RESOLVED)
        elif self._item.state is ItemState.RESOLVED:
            self._item = replace(self._item, forced=False)
            self._enter(ItemState.OPEN)

    def _reopen_when_due(self) -> None:
        if self._item.until is not None and workflow.now() >= self._item.until:
            self._record("opened again", ItemCommand(_ITEM), f"the {_PERIODS[self._item.state]} ended")
            self._enter(ItemState.OPEN)
            self._recheck_now = True

    async def _wait_for_change(self) -> None:
        """Waits for a message, for the end of a snooze or skip, or for the next recheck; then rechecks."""
        until = self._item.until
        after = self._recheck_after * workflow.random().uniform(0.9, 1.1)
        within = min(after, until - workflow.now()) if until is not None else after
        max_age = 0.0
        if not self._recheck_now:
            try:
                await workflow.wait_condition(
                    lambda: self._wake or self._recheck_now or self._observation is not None,
                    timeout=max(within, timedelta()),
                    timeout_summary="Next recheck" if within == after else f"No longer {self._item.state}",
                )
            except TimeoutError:
                self._recheck_after = min(self._recheck_after * 2, _RECHECK_LAST)
                max_age = _RECHECK_MAX_AGE
            else:
                if not self._recheck_now:
                    return
        self._recheck_now = False
        # A recheck that fails does not close the item; the next event or timer repeats it.
        with contextlib.suppress(ApplicationError):
            self.observed(await self._recheck(max_age))

    async def _recheck(self, max_age: float) -> Observation:
        finding = self._item.finding
        try:
            return await workflow.execute_activity_method(
                RemediationActivities.recheck_item,
                RecheckItemInput(self._request.cluster, finding, max_age),
                **activity_options.short_queued(self._request.cluster, f"Recheck {finding.ref}"),
            )
        except ActivityError as error:
            raise refusal(f"The workload cannot be checked: {failure_message(error)}") from error

    async def _keep_warnings(self) -> None:
        """Has the Pods carry the warning while the item is open, and not after."""
        item = self._item
        wanted = item.finding if item.is_open else None
        if wanted == self._warned:
            return
        self._warned = wanted
        text = warning_text(wanted) if wanted else None
        try:
            await workflow.execute_activity_method(
                RemediationActivities.set_pod_warnings,
                SetPodWarningsInput(self._request.cluster, wanted or item.finding, text),
                **activity_options.short_queued(
                    self._request.cluster,
                    "Write the warning on the Pods" if wanted else "Remove the warning from the Pods",
                ),
            )
        except ActivityError:
            # The item is valid without its warning, and Temporal's history shows the failure.
            workflow.logger.warning("warning_not_written", extra={"fields": {"on": wanted is not None}})

    def _show(self) -> None:
        """Writes search attributes and memo for the list, and details for the page."""
        item = self._item
        shown = item_search_attributes(item)
        # Each write is an event in history: only changes.
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes([pair.key.value_set(pair.value) for pair in shown.search_attributes])
        listed = item.for_list()
        if listed != self._listed:
            self._listed = listed
            workflow.upsert_memo({"item": listed})
        workflow.set_current_details(item_details(view_of(item)))


def _outcome_text(result: RestartResult) -> str:
    why = f": {result.reason or ''} {result.detail or ''}".rstrip(": ")
    return f"{result.outcome}{why}"
