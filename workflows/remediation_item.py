"""One remediation item: open until its cause is gone or somebody settles it; everything that was done is kept.

open → (retrying | snoozed) → resolved | skipped. What is closed for good ends the workflow; a skipped item lives on
until its end date, and then is open again. Surveys and the cluster's watch tell it what became of its workload.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.remediation.activities import (
        RecheckItemInput,
        RemediationActivities,
        RemediationItemInput,
        SetPodWarningsInput,
    )
    from activities.restart.activities import RestartActivities, RestartInput, RestartOutcome, RestartResult
    from activities.search_attributes import item_search_attributes
    from mesh.history import HistoryEntry
    from mesh.remediation.item import ItemState, ItemView, Observation, parse_until, view_of, warning_text
    from mesh.survey.finding import Finding
    from mesh.survey.reasons import RETRIABLE
    from mesh.text import one_line, rfc3339

    from workflows import activity_options
    from workflows.failures import refused, told
    from workflows.item_commands import (
        ItemCommand,
        ResolveCommand,
        SkipCommand,
        SnoozeCommand,
        check_command,
        duration_of,
    )
    from workflows.ui_details import item_details

W = TypeVar("W", bound=ItemCommand)

#: Without any event from the cluster an item looks again after this, and every time twice as late.
_RECHECK_FIRST = timedelta(minutes=30)
_RECHECK_LAST = timedelta(hours=24)
#: Looks by timers share surveys with those of other items that are this old, in seconds.
_RECHECK_AGE = 60.0
#: What an item tells of itself.
_SELF = "item"


@workflow.defn(name="RemediationItem")
class RemediationItemWorkflow:
    """One workload that a person must settle. Started by its first sighting, outlives the upgrade."""

    @workflow.init
    def __init__(self, ask: RemediationItemInput) -> None:
        self._ask = ask
        self._item = ask.item
        self._stirred = False
        #: The newest word of a survey or of the watch that was not taken in yet.
        self._look: Observation | None = None
        self._look_now = False
        #: Which operator's word is being carried out.
        self._busy: str | None = None
        self._retry: asyncio.Task[None] | None = None
        #: The sighting that the Pods are warned of.
        self._warned: Finding | None = ask.item.finding if ask.item.is_open else None
        self._recheck_after = _RECHECK_FIRST
        #: What the list shows of it, by attributes and by memo.
        self._shown = item_search_attributes(ask.item)
        self._listed = ask.item.for_list()

    @workflow.run
    async def run(self, ask: RemediationItemInput) -> str:
        """Lives until nothing of the workload needs a restart any more, or an operator closes it; returns why."""
        while True:
            self._stirred = False
            self._take_in()
            await self._keep_warnings()
            self._show()
            if self._look is None and self._idle():
                if self._state is ItemState.RESOLVED:
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    # A sighting that arrives while the item closes opens it again.
                    if self._look is None:
                        return self._item.closed or "resolved"
                elif workflow.info().is_continue_as_new_suggested():
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    if self._look is None and self._idle():
                        workflow.continue_as_new(replace(ask, item=self._item))
            if not self._stirred and self._look is None:
                await self._something_happens()

    # What surveys and the watch say.

    @workflow.signal(description="What a look at the workload found. Sent by surveys and by the cluster's watch.")
    def observed(self, observation: Observation) -> None:
        """The newest counts."""
        if self._look is None or observation.at >= self._look.at:
            self._look = observation

    @workflow.signal(description="Look again. No input.")
    def changed(self) -> None:
        """For people: the watch tells what it saw itself."""
        self._look_now = self._stirred = True

    @workflow.query(description="The item as the queue shows it, with everything that was done.")
    def item(self) -> ItemView:
        """With its newest deeds."""
        return view_of(self._item)

    # What operators say: as updates, and as signals for Temporal's batch operations, which know no updates. A refusal
    # is the update's answer; of a signal it is kept as what came of it.

    @workflow.update(description='Restart it now and verify. Input: {"who": "you", "because": "why"}')
    async def retry(self, word: ItemCommand) -> ItemView:
        """Returns once the restart has begun; how it ended is told by the item."""
        return await self._carry_out("retry", word, self._begin_retry)

    @retry.validator
    def _check_retry(self, word: ItemCommand) -> None:
        self._check("retry", word)

    @workflow.signal(name="retry", description='As the update, for batches. Input: {"who": "you", "because": "why"}')
    async def retry_by_signal(self, word: ItemCommand) -> None:
        """What came of it is told by the item."""
        await self._as_signal("retry", word, self._begin_retry)

    @workflow.update(
        description='Close it: looks whether it is settled. Input: {"who": "you", "because": "why", "force": false}'
    )
    async def resolve(self, word: ResolveCommand) -> ItemView:
        """Refused while its proxies are stale, unless it is forced with a reason."""
        return await self._carry_out("resolve", word, self._resolve)

    @resolve.validator
    def _check_resolve(self, word: ResolveCommand) -> None:
        self._check("resolve", word)

    @workflow.signal(name="resolve", description='As the update, for batches. Input: {"who": "you", "because": "why"}')
    async def resolve_by_signal(self, word: ResolveCommand) -> None:
        """What came of it is told by the item."""
        await self._as_signal("resolve", word, self._resolve)

    @workflow.update(
        description='Close it until the end of a day. Input: {"until": "2027-01-31", "who": "you", "because": "why"}'
    )
    async def skip(self, word: SkipCommand) -> ItemView:
        """Open again after its end date, if it is not settled by then."""
        return await self._carry_out("skip", word, self._skip)

    @skip.validator
    def _check_skip(self, word: SkipCommand) -> None:
        self._check("skip", word)

    @workflow.signal(
        name="skip", description='As the update, for batches. Input: {"until": "2027-01-31", "because": "why"}'
    )
    async def skip_by_signal(self, word: SkipCommand) -> None:
        """What came of it is told by the item."""
        await self._as_signal("skip", word, self._skip)

    @workflow.update(description='Ask again later. Input: {"duration": "2h", "who": "you", "because": "why"}')
    async def snooze(self, word: SnoozeCommand) -> ItemView:
        """Counts as open meanwhile."""
        return await self._carry_out("snooze", word, self._snooze)

    @snooze.validator
    def _check_snooze(self, word: SnoozeCommand) -> None:
        self._check("snooze", word)

    @workflow.signal(name="snooze", description='As the update, for batches. Input: {"duration": "2h"}')
    async def snooze_by_signal(self, word: SnoozeCommand) -> None:
        """What came of it is told by the item."""
        await self._as_signal("snooze", word, self._snooze)

    def _check(self, what: str, word: ItemCommand) -> None:
        """Refused with a sentence where it cannot be meant."""
        if self._state is ItemState.RESOLVED:
            raise refused(f"It is resolved: {self._item.closed}.")
        if self._busy is not None:
            raise refused(f"Somebody else is at it: {self._busy}. Look at it again before you do something.")
        if what == "retry" and self._retry is not None:
            raise refused("It is being restarted already.")
        check_command(word, workflow.now())

    async def _as_signal(self, what: str, word: W, work: Callable[[W], Awaitable[str]]) -> None:
        try:
            self._check(what, word)
        except ApplicationError as error:
            self._did(what, word, f"refused: {error.message}")
            return
        with contextlib.suppress(ApplicationError):
            await self._carry_out(what, word, work)

    async def _carry_out(self, what: str, word: W, work: Callable[[W], Awaitable[str]]) -> ItemView:
        """One at a time; what came of it is kept, a refusal too."""
        self._busy = f"{what} by {word.who or 'somebody'}"
        try:
            self._did(what, word, await work(word))
        except ApplicationError as error:
            self._did(what, word, f"refused: {error.message}")
            raise
        finally:
            self._busy = None
        self._show()
        return view_of(self._item)

    async def _begin_retry(self, word: ItemCommand) -> str:
        found = await self._recheck(0.0)
        self._item = self._item.observed(found)
        if found.closed is not None:
            self._enter(ItemState.RESOLVED)
            return f"nothing to restart: {found.closed}"
        # Reasons of the owner: no restart of ours can help before somebody has done what the advice says.
        if found.finding is not None and found.finding.reason not in RETRIABLE:
            view = view_of(self._item)
            raise refused(f"A restart does not help: {view.reason}. {view.next_step}")
        if found.opens_at is not None:
            raise refused(f"Its maintenance window is shut until {rfc3339(found.opens_at)}; retry it then.")
        self._item = replace(self._item, attempts=self._item.attempts + 1)
        self._enter(ItemState.RETRYING)
        self._retry = asyncio.create_task(self._restart(word))
        return f"attempt {self._item.attempts} began"

    async def _restart(self, word: ItemCommand) -> None:
        seen = self._item.finding
        # Marks are whole seconds: later than whatever was written in this one.
        mark = workflow.now().replace(microsecond=0) + timedelta(seconds=1)
        workload = seen.ref
        try:
            result = await workflow.execute_activity_method(
                RestartActivities.restart_workload,
                RestartInput(self._ask.cluster, workload, mark, self._ask.no_progress, by_operator=True),
                summary=f"attempt {self._item.attempts}: {workload}",
                **activity_options.long_running_queued(self._ask.cluster),
            )
            came = _came(result)
            if result.outcome is RestartOutcome.FAILED and result.reason is not None:
                self._item = replace(
                    self._item,
                    # What was evident of another cause tells nothing of this one.
                    finding=replace(seen, reason=result.reason, detail=result.detail, evidence=()),
                    restartable=False,
                )
        except ActivityError as error:
            came = f"failed: {told(error)}"
        self._did(f"attempt {self._item.attempts}", word, came)
        if self._state is ItemState.RETRYING:
            self._enter(ItemState.OPEN)
        self._retry = None
        self._look_now = self._stirred = True

    async def _resolve(self, word: ResolveCommand) -> str:
        if word.force:
            self._item = replace(
                self._item, closed=one_line(f"closed as it is by {word.who or 'somebody'}: {word.because}"), forced=True
            )
            self._enter(ItemState.RESOLVED)
            return "closed as it is"
        found = await self._recheck(0.0)
        self._item = self._item.observed(found)
        if found.closed is None:
            view = view_of(self._item)
            cause = f"{view.reason}: {view.detail}" if view.detail else view.reason
            why = "its Pods still run the old proxy" if self._item.restartable else cause
            raise refused(
                f"It is not settled: {why.removesuffix('.')}. To close it all the same, force it and say why."
            )
        self._enter(ItemState.RESOLVED)
        return found.closed

    async def _skip(self, word: SkipCommand) -> str:
        self._enter(ItemState.SKIPPED, parse_until(word.until))
        return f"skipped until {self._until}"

    async def _snooze(self, word: SnoozeCommand) -> str:
        self._enter(ItemState.SNOOZED, workflow.now() + duration_of(word))
        return f"snoozed until {self._until}"

    # The item's own life.

    @property
    def _state(self) -> ItemState:
        return self._item.state

    @property
    def _until(self) -> str:
        return rfc3339(self._item.until) if self._item.until else "-"

    def _idle(self) -> bool:
        return self._busy is None and self._retry is None

    def _enter(self, state: ItemState, until: datetime | None = None) -> None:
        self._item = replace(self._item, state=state, until=until)
        self._stirred = True

    def _did(self, what: str, word: ItemCommand, result: str) -> None:
        deed = HistoryEntry(
            workflow.now(), what, one_line(word.who or "somebody"), one_line(word.because), one_line(result)
        )
        self._item = self._item.with_entry(deed)
        self._stirred = True

    def _take_in(self) -> None:
        """The newest look, and what time has done."""
        look, self._look = self._look, None
        if look is not None:
            self._take_look(look)
        if self._item.until is not None and workflow.now() >= self._item.until:
            self._did("open again", ItemCommand(_SELF), f"the {self._state} ended")
            self._enter(ItemState.OPEN)
            self._look_now = True

    def _take_look(self, look: Observation) -> None:
        before, self._item = self._item, self._item.observed(look)
        if look.warned and look.finding is not None:
            self._warned = look.finding
        if before.finding != self._item.finding:
            self._recheck_after = _RECHECK_FIRST
        if self._item.closed is not None and self._retry is None:
            self._enter(ItemState.RESOLVED)
        elif self._state is ItemState.RESOLVED:
            self._item = replace(self._item, forced=False)
            self._enter(ItemState.OPEN)

    async def _something_happens(self) -> None:
        """Waits for a word, for the end of a snooze or skip, or until it is time to look; then looks."""
        until = self._item.until
        after = self._recheck_after * workflow.random().uniform(0.9, 1.1)
        within = min(after, until - workflow.now()) if until is not None else after
        age = 0.0
        if not self._look_now:
            try:
                await workflow.wait_condition(
                    lambda: self._stirred or self._look_now or self._look is not None,
                    timeout=max(within, timedelta()),
                    timeout_summary="look again without any event" if within == after else f"{self._state} ends",
                )
            except TimeoutError:
                self._recheck_after = min(self._recheck_after * 2, _RECHECK_LAST)
                age = _RECHECK_AGE
            else:
                if not self._look_now:
                    return
        self._look_now = False
        # Not being able to look is no reason to close; the next event or timer looks again.
        with contextlib.suppress(ApplicationError):
            self.observed(await self._recheck(age))

    async def _recheck(self, max_age: float) -> Observation:
        ask = RecheckItemInput(self._ask.cluster, self._item.finding, max_age)
        try:
            return await workflow.execute_activity_method(
                RemediationActivities.recheck_item,
                ask,
                summary="look again",
                **activity_options.short_queued(ask.cluster),
            )
        except ActivityError as error:
            raise refused(f"It cannot be looked at: {told(error)}") from error

    async def _keep_warnings(self) -> None:
        """The Pods carry the warning while the item is open, and not after."""
        item = self._item
        wanted = item.finding if item.is_open else None
        if wanted == self._warned:
            return
        self._warned = wanted
        ask = SetPodWarningsInput(self._ask.cluster, wanted or item.finding, warning_text(wanted) if wanted else None)
        try:
            await workflow.execute_activity_method(
                RemediationActivities.set_pod_warnings,
                ask,
                summary="warn on the Pods" if wanted else "clear the warning",
                **activity_options.short_queued(ask.cluster),
            )
        except ActivityError:
            # The warning is a courtesy: the item stands without it, and this is seen in its history.
            workflow.logger.warning("warning_not_written", extra={"fields": {"on": wanted is not None}})

    def _show(self) -> None:
        """Attributes and memo for the list, details for the page. Each upsert is an event: only what changed."""
        item = self._item
        shown = item_search_attributes(item)
        if shown != self._shown:
            self._shown = shown
            workflow.upsert_search_attributes([one.key.value_set(one.value) for one in shown.search_attributes])
        listed = item.for_list()
        if listed != self._listed:
            self._listed = listed
            workflow.upsert_memo({"item": listed})
        workflow.set_current_details(item_details(view_of(item)))


def _came(result: RestartResult) -> str:
    why = f": {result.reason or ''} {result.detail or ''}".rstrip(": ")
    return f"{result.outcome}{why}"
