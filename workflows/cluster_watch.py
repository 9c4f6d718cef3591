"""The watch of a cluster, one while items are open: it tells each item when its workload has changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.remediation.watch import ClusterWatchActivities, WatchClusterInput
    from activities.search_attributes import CLUSTER

    from workflows import activity_options

#: A watch that failed starts again after this time; until then items are rechecked by their own timers.
_RETRY_AFTER = timedelta(minutes=1)


@workflow.defn(name="ClusterWatch")
class ClusterWatchWorkflow:
    """Runs a watch as long as any item is open. The activity knows which items are."""

    @workflow.init
    def __init__(self, request: WatchClusterInput) -> None:
        self._item_may_be_new = False

    @workflow.run
    async def run(self, request: WatchClusterInput) -> None:
        """Ends when a watch found no open item, and no new item was reported since that watch began."""
        workflow.upsert_search_attributes([CLUSTER.value_set(request.cluster.name)])
        workflow.set_current_details("Tells open items when their workload changes.")
        while True:
            self._item_may_be_new = False
            none_is_open = await self._watch(request)
            if none_is_open and not self._item_may_be_new:
                return
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(request)
            if not none_is_open:
                await workflow.sleep(_RETRY_AFTER, summary="Retry the failed watch")

    @workflow.signal(description="There may be a new item. No input.")
    def track(self) -> None:
        """Sent by whoever opens items. A signal that arrives with the end makes the server take back the end."""
        self._item_may_be_new = True

    async def _watch(self, request: WatchClusterInput) -> bool:
        """Returns whether the watch ended because no item is open; a long history ends it as well."""
        task = workflow.start_activity_method(
            ClusterWatchActivities.watch_cluster,
            request,
            **activity_options.long_running_queued(request.cluster, "Watch the workloads of open items"),
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
