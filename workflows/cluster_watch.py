"""One watch per cluster while items are open: it tells each item when something of its workload changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.remediation import RemediationActivities, TrackInput, WatchInput

    from workflows import options
    from workflows.attributes import CLUSTER

#: Items open in bursts: one new watch for all of them.
_GATHER = timedelta(seconds=2)


@workflow.defn(name="ClusterWatch")
class ClusterWatchWorkflow:
    """Runs the watch for as long as there is an open item, and ends with the last one."""

    @workflow.init
    def __init__(self, ask: WatchInput) -> None:
        self._cluster = ask.cluster
        self._items: set[tuple[str, str, str]] = set(ask.items)
        self._covered: set[tuple[str, str, str]] = set()
        self._stirred = False

    @workflow.run
    async def run(self, ask: WatchInput) -> None:
        """Starts the watch anew whenever the set of items changed."""
        workflow.upsert_search_attributes([CLUSTER.value_set(ask.cluster.name)])
        await workflow.wait_condition(lambda: self._stirred or bool(self._items))
        while True:
            await workflow.sleep(_GATHER, summary="gather changes of the queue")
            self._stirred = False
            if not self._items:
                break
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(WatchInput(self._cluster, tuple(sorted(self._items))))
            await self._watch()

    @workflow.signal(description="An item opened or closed. Sent by items.")
    def track(self, item: TrackInput) -> None:
        """Adds or removes an item."""
        key = (item.namespace, item.kind, item.name)
        if item.open and key not in self._items:
            self._items.add(key)
            self._stirred = True
        elif not item.open and key in self._items:
            self._items.discard(key)
            self._stirred = True

    @workflow.query(description="How many items are watched.")
    def watched(self) -> int:
        """The number of open items."""
        return len(self._items)

    async def _watch(self) -> None:
        workflow.set_current_details(f"Watching for {len(self._items)} open items.")
        # A cancelled watch lingers until its next heartbeat, so what it covered has no gap; the others look again.
        fresh = self._items - self._covered
        self._covered = set(self._items)
        task = workflow.start_activity_method(
            RemediationActivities.watch_cluster,
            WatchInput(self._cluster, tuple(sorted(self._items)), tuple(sorted(fresh))),
            summary=f"watch for {len(self._items)} items",
            **options.waiting(self._cluster),
        )
        await workflow.wait_condition(lambda: self._stirred or task.done())
        if task.done():
            self._covered = set()
        task.cancel()
        try:
            await task
        except (ActivityError, asyncio.CancelledError):
            # Cancelled by us, or ended by something that the next round tells again.
            workflow.logger.info("watch_ended", extra={"fields": {"items": len(self._items)}})
