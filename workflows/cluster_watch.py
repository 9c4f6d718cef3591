"""One watch per cluster while items are open: it tells each item when something of its workload changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.remediation.watch import ClusterWatchActivities, WatchClusterInput
    from activities.search_attributes import CLUSTER

    from workflows import activity_options

#: A watch that failed is begun again after this; meanwhile items look by their own timers.
_AGAIN_AFTER = timedelta(minutes=1)


@workflow.defn(name="ClusterWatch")
class ClusterWatchWorkflow:
    """Has an activity watch for as long as some item is open. Which ones are is the activity's to know."""

    @workflow.init
    def __init__(self, ask: WatchClusterInput) -> None:
        self._poked = False

    @workflow.run
    async def run(self, ask: WatchClusterInput) -> None:
        """Ends when a watch found no open item, and no new one was told of since that watch began."""
        workflow.upsert_search_attributes([CLUSTER.value_set(ask.cluster.name)])
        workflow.set_current_details("Tells open items when something of their workload changes.")
        while True:
            self._poked = False
            none_is_open = await self._watch(ask)
            if none_is_open and not self._poked:
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(ask)
            if not none_is_open:
                await workflow.sleep(_AGAIN_AFTER, summary="the watch failed")

    @workflow.signal(description="There may be a new item. No input.")
    def track(self) -> None:
        """Sent by whoever opens items. A signal that comes with the end makes the server take back the end."""
        self._poked = True

    async def _watch(self, ask: WatchClusterInput) -> bool:
        """Whether it ended because nothing is open; a long history ends it too, for it goes on in a new run."""
        task = workflow.start_activity_method(
            ClusterWatchActivities.watch_cluster,
            ask,
            summary="watch for open items",
            **activity_options.long_running_queued(ask.cluster),
        )
        await workflow.wait_condition(lambda: task.done() or workflow.info().is_continue_as_new_suggested())
        if not task.done():
            task.cancel()
        try:
            await task
        except (ActivityError, asyncio.CancelledError):
            if workflow.cancellation_reason() is not None:
                raise
            workflow.logger.info("watch_ended")
            return False
        return True
