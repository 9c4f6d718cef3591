"""One remediation item: open until its cause is gone, seen again by itself, closed with what was seen."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.remediation import (
        ItemInput,
        Recheck,
        RecheckInput,
        RemediationActivities,
        WarnInput,
    )
    from mesh.items import ItemState, ItemView, view_of
    from mesh.sighting import Sighting
    from mesh.text import markdown

    from workflows import options
    from workflows.attributes import CLUSTER, ITEM_STATE, NAMESPACE, REASON, WORKLOAD
    from workflows.show import fitting

#: Without any event from the cluster an item looks again this often.
_RECHECK_EVERY = timedelta(minutes=30)


@workflow.defn(name="RemediationItem")
class RemediationItemWorkflow:
    """One workload that a person must settle. Started by its first sighting, outlives the upgrade."""

    @workflow.init
    def __init__(self, ask: ItemInput) -> None:
        self._ask = ask
        self._seen: Sighting | None = None
        self._new: Sighting | None = None
        self._told: Sighting | None = None
        self._changed = False
        self._state = ItemState.OPEN
        self._since = workflow.now()

    @workflow.run
    async def run(self, ask: ItemInput) -> str:
        """Lives until nothing of the workload needs a restart any more; returns why it closed."""
        closed: str | None = None
        # A sighting that arrives while the item closes opens it again.
        while closed is None or self._new is not None:
            await workflow.wait_condition(lambda: self._new is not None)
            self._state = ItemState.OPEN
            closed = None
            while closed is None:
                if self._new is not None:
                    new, self._new = self._new, None
                    await self._take(new)
                closed = await self._settled()
            await self._close(closed)
        return closed

    @workflow.signal(description="The workload was seen again. Sent by surveys.")
    def seen(self, sighting: Sighting) -> None:
        """A sighting, the first or another: the item takes the newest."""
        self._new = sighting

    @workflow.signal(description="Something of the workload changed: look again. No input.")
    def changed(self) -> None:
        """Sent by the cluster's watch."""
        self._changed = True

    @workflow.query(description="The item as the queue shows it.")
    def item(self) -> ItemView | None:
        """None before the first sighting."""
        return self._view() if self._seen else None

    async def _take(self, seen: Sighting) -> None:
        """Makes a sighting the item's own: attributes, memo, details, and the warning on its Pods."""
        before, self._seen, self._told = self._told, seen, seen
        if before == seen:
            return
        self._show()
        if before is not None and before.pods != seen.pods:
            gone = tuple(pod for pod in before.pods if pod not in seen.pods)
            await self._warn(before, pods=gone, on=False)
        await self._warn(seen, pods=seen.pods, on=True)

    async def _settled(self) -> str | None:
        """Waits for a change or the next look, then looks; why the item is settled, None while it stands."""
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._changed or self._new is not None,
                timeout=_RECHECK_EVERY,
                timeout_summary="look again without any event",
            )
        self._changed = False
        if self._new is not None or self._seen is None:
            return None
        try:
            found: Recheck = await workflow.execute_activity_method(
                RemediationActivities.recheck_item,
                RecheckInput(self._ask.cluster, self._seen),
                summary="look again",
                **options.unhurried(self._ask.cluster),
            )
        except ActivityError:
            # Not being able to look is no reason to close; the next event or timer looks again.
            return None
        if found.closed is None and self._new is None:
            await self._take(found.seen)
        return found.closed

    async def _close(self, why: str) -> None:
        if self._seen is not None:
            await self._warn(self._seen, pods=self._seen.pods, on=False)
        self._state, self._told = ItemState.RESOLVED, None
        self._show(why)

    async def _warn(self, seen: Sighting, *, pods: tuple[str, ...], on: bool) -> None:
        if not pods:
            return
        method = RemediationActivities.show_warning if on else RemediationActivities.clear_warning
        ask = WarnInput(self._ask.cluster, seen, pods)
        try:
            await workflow.execute_activity_method(
                method, ask, summary="warn on the Pods" if on else "clear the warning", **options.unhurried(ask.cluster)
            )
        except ActivityError:
            # The warning is a courtesy: the item stands without it, and this is seen in its history.
            workflow.logger.warning("warning_not_written", extra={"fields": {"pods": pods, "on": on}})

    def _view(self) -> ItemView:
        if self._seen is None:
            raise ValueError("no sighting yet")
        return view_of(self._ask.cluster.name, self._seen, self._state, self._since)

    def _show(self, closed: str | None = None) -> None:
        view = self._view()
        workflow.upsert_search_attributes(
            [
                CLUSTER.value_set(view.cluster),
                NAMESPACE.value_set(view.namespace),
                WORKLOAD.value_set(f"{view.kind}/{view.name}"),
                REASON.value_set(view.reason),
                ITEM_STATE.value_set(str(view.state)),
            ]
        )
        workflow.upsert_memo({"item": view})
        name = markdown(f"{view.namespace}/{view.kind}/{view.name}")
        if closed is not None:
            workflow.set_current_details(f"**resolved: {name}**\n\n{markdown(closed)}")
            return
        commands = "\n".join(view.commands)
        workflow.set_current_details(
            f"**{view.reason}: {name}**\n\n> {fitting(view.detail or '', 1000)}\n\n{view.next_step}\n\n"
            f"```\n{commands}\n```\n\nIt closes by itself once nothing of it needs a restart."
        )
