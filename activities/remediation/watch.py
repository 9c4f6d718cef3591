"""Watches the workloads of open remediation items, and sends each item what changed for it.

Temporal's list says which items are open, so that no list of them is part of any history. The list lags behind, and is
read again at intervals. A change is judged from one reading of the cluster for all items that it may concern, and only
items for which something new holds get a signal: a Pod that flaps writes no history.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.boundary import ServedCluster, translating_errors
from activities.concurrency import gather_limited
from activities.kube.watch import ObjectReference, watch_changes
from activities.remediation.listing import items_query, read_open_items
from activities.survey.cache import SurveyCache
from mesh.errors import UpgradeError
from mesh.identity import ClusterRef, item_workload, watch_id
from mesh.remediation.item import Item, ItemIndex, Observation
from mesh.remediation.recheck import observe

#: Temporal is asked this often how many items are open. Their list is read when the number has changed; and after
#: `_RELIST_SECONDS` in any case, because an item may have opened in place of another, announced to another worker.
_COUNT_SECONDS = 60.0
_RELIST_SECONDS = 600.0
#: Items are opened in bursts, and Temporal's list shows them a moment later.
_BURST_SECONDS = 2.0
#: Changes within this time are judged together.
_SETTLE_SECONDS = 1.0
#: Between two readings of the cluster passes this multiple of the time that a reading takes.
_REST_FACTOR = 4
#: After a reading that failed.
_RETRY_SECONDS = 30.0
_HEARTBEAT_SECONDS = 5.0
_SIGNALS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class WatchClusterInput:
    """The cluster whose open items are watched."""

    cluster: ClusterRef


class ClusterWatchActivities:
    """The activity that watches a cluster for its open items, and the announcement of new items."""

    def __init__(self, served: ServedCluster, client: Client, task_queue: str, surveys: SurveyCache) -> None:
        self._served = served
        self._client = client
        self._task_queue = task_queue
        self._surveys = surveys
        #: One event for each watch in this process: more than one only while a watch is handed over.
        self._notifications: set[asyncio.Event] = set()

    async def notify(self, ref: ClusterRef) -> None:
        """Announces that the cluster may have new items; starts the watch where none runs.

        A watch in this process reads Temporal's list at once, a watch in another one when its time comes.
        """
        await self._client.start_workflow(
            "ClusterWatch",
            WatchClusterInput(ref),
            id=watch_id(ref.name),
            task_queue=self._task_queue,
            start_signal="track",
        )
        for notification in self._notifications:
            notification.set()

    @activity.defn
    @translating_errors
    async def watch_cluster(self, request: WatchClusterInput) -> None:
        """Sends open items what changed for them; returns once no item is open."""
        cluster = self._served.connection_for(request.cluster)
        watching = asyncio.Event()
        with self._notification() as notification:
            watch = _ItemWatch(self._client, request.cluster, self._surveys, notification)
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(watch_changes(cluster, watch.note_change, watching.set)),
                    group.create_task(watch.send_heartbeats()),
                    group.create_task(watch.send_observations()),
                ]
                # From here on no change is missed; only then may an item count as up to date.
                await watching.wait()
                await watch.until_no_item_is_open()
                for task in endless:
                    task.cancel()

    @contextlib.contextmanager
    def _notification(self) -> Iterator[asyncio.Event]:
        notification = asyncio.Event()
        self._notifications.add(notification)
        try:
            yield notification
        finally:
            self._notifications.remove(notification)


class _ItemWatch:
    """The open items that one watch knows, and those of them whose workload is to be observed."""

    def __init__(self, client: Client, ref: ClusterRef, surveys: SurveyCache, notification: asyncio.Event) -> None:
        self._client = client
        self._cluster = ref.name
        self._surveys = surveys
        self._notification = notification
        #: By workflow id, as Temporal's list shows them or as a signal updated them since.
        self._items: dict[str, Item] = {}
        self._index = ItemIndex()
        self._listed_at = -_RELIST_SECONDS
        self._to_observe: set[str] = set()
        self._wake = asyncio.Event()

    async def until_no_item_is_open(self) -> None:
        """Follows Temporal's list until it is empty twice: an open item may not be listed yet."""
        times_empty = 0
        await asyncio.sleep(_BURST_SECONDS)
        while True:
            notified = self._notification.is_set()
            self._notification.clear()
            refreshed = await self._refresh(notified=notified)
            empty = refreshed and not self._items and not self._notification.is_set()
            times_empty = times_empty + 1 if empty else 0
            if times_empty == 2:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._notification.wait(), _COUNT_SECONDS)
                await asyncio.sleep(_BURST_SECONDS)

    async def _refresh(self, *, notified: bool) -> bool:
        """Takes over what Temporal's list shows; returns False where it cannot be read, and keeps the known items."""
        now = time.monotonic()
        try:
            if not notified and now - self._listed_at < _RELIST_SECONDS:
                count = (await self._client.count_workflows(items_query(self._cluster))).count
                if count == len(self._items):
                    return True
            listed = await read_open_items(self._client, self._cluster)
        except RPCError as error:
            activity.logger.warning("items_not_listed", extra={"fields": {"reason": error.message}})
            return False
        self._listed_at = now
        items = {entry.id: entry.item for entry in listed}
        self._to_observe |= items.keys() - self._items.keys()
        # The list may not show yet what a signal updated.
        self._items = {
            workflow_id: max((item, self._items.get(workflow_id, item)), key=lambda known: known.observed_at)
            for workflow_id, item in items.items()
        }
        self._index = ItemIndex(self._items)
        self._wake.set()
        return True

    def note_change(self, changed: ObjectReference) -> None:
        """Notes the items that the change of an object in the cluster may concern."""
        if changed.kind in ("Namespace", "PodDisruptionBudget"):
            concerned = self._index.within(changed.namespace or changed.name)
        else:
            concerned = self._index.touched(changed.namespace, changed.name)
        if concerned:
            self._to_observe.update(concerned)
            self._wake.set()

    async def send_heartbeats(self) -> None:
        """Sends the number of watched items as heartbeat, without end; the Temporal UI shows it."""
        while True:
            activity.heartbeat(len(self._items))
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def send_observations(self) -> None:
        """Observes workloads that a change may concern, and signals their items, without end."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
            self._wake.clear()
            batch, self._to_observe = sorted(self._to_observe), set()
            began = time.monotonic()
            try:
                await self._observe_and_send(batch)
            except UpgradeError as error:
                # Items also recheck their workload by timers, and show what is wrong.
                activity.logger.warning("workloads_not_observed", extra={"fields": {"reason": error.message}})
                self._to_observe.update(batch)
                self._wake.set()
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await asyncio.sleep(_REST_FACTOR * (time.monotonic() - began))

    async def _observe_and_send(self, workflow_ids: list[str]) -> None:
        by_namespace: dict[str, list[str]] = {}
        for workflow_id in workflow_ids:
            by_namespace.setdefault(item_workload(workflow_id).namespace, []).append(workflow_id)
        # Namespaces that are asked for at the same time are read together.
        readings = await asyncio.gather(*(self._surveys.get(namespace) for namespace in by_namespace))
        news: list[tuple[str, Observation]] = []
        for reading, ids in zip(readings, by_namespace.values(), strict=True):
            for workflow_id in ids:
                item = self._items.get(workflow_id)
                if item is None:
                    continue
                observation = observe(reading.workload(item.finding.ref), item.finding.reason, reading.taken_at)
                if item.knows(observation):
                    continue
                self._items[workflow_id] = item.observed(observation)
                news.append((workflow_id, observation))
        await gather_limited(_SIGNALS_AT_ONCE, news, lambda each: self._send(*each))

    async def _send(self, workflow_id: str, observation: Observation) -> None:
        try:
            await self._client.get_workflow_handle(workflow_id).signal("observed", observation)
        except RPCError as error:
            # An item that closed meanwhile needs no signal.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
