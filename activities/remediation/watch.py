"""The cluster's watch: tells each open remediation item what became of its workload.

Which items are open it learns from Temporal's own list, so that no list of them travels through any history. The list
lags, and is read again at intervals. What changed is looked at in one survey for all items that it may be about, and
only those are told for which something else is true now than they knew: a Pod that flaps writes no history.
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
from activities.remediation.listing import items_query, list_items
from activities.survey.cache import SurveyCache
from mesh.errors import UpgradeError
from mesh.identity import ClusterRef, item_workload, watch_id
from mesh.remediation.item import Item, ItemIndex, Observation
from mesh.remediation.recheck import observe

#: Temporal is asked this often how many items are open. Their list is read when that has changed, and in any case
#: after a longer time: one may have opened in place of another, with a poke to another worker.
_REFRESH_SECONDS = 60.0
_REREAD_SECONDS = 600.0
#: Items are opened in bursts, and the list shows them a moment later.
_GATHER_SECONDS = 2.0
#: What changes within this time is looked at once; and between two looks passes this much of what a look takes.
_SETTLE_SECONDS = 1.0
_REST = 4
#: After a look that failed.
_AGAIN_SECONDS = 30.0
_BEAT_SECONDS = 5.0
_TOLD_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class WatchClusterInput:
    """Whose items."""

    cluster: ClusterRef


class ClusterWatchActivities:
    """The watch, and the word that there is something to watch."""

    def __init__(self, served: ServedCluster, client: Client, task_queue: str, surveys: SurveyCache) -> None:
        self._served = served
        self._client = client
        self._task_queue = task_queue
        self._surveys = surveys
        #: Of the watches in this process, which is one but for a moment of handing over.
        self._wakers: set[asyncio.Event] = set()

    async def notify(self, ref: ClusterRef) -> None:
        """Has the cluster's items watched, of which some may be new: starts the watch if there is none.

        A watch in this process reads the list at once, one in another at its next turn.
        """
        await self._client.start_workflow(
            "ClusterWatch",
            WatchClusterInput(ref),
            id=watch_id(ref.name),
            task_queue=self._task_queue,
            start_signal="track",
        )
        for waker in self._wakers:
            waker.set()

    @activity.defn
    @translating_errors
    async def watch_cluster(self, ask: WatchClusterInput) -> None:
        """Tells items that something of theirs changed; returns when none is open any more."""
        cluster = self._served.connection_for(ask.cluster)
        begun = asyncio.Event()
        with self._waker() as waker:
            watch = _Watch(self._client, ask.cluster, self._surveys, waker)
            async with asyncio.TaskGroup() as group:
                endless = [
                    group.create_task(watch_changes(cluster, watch.collect, begun.set)),
                    group.create_task(watch.beat()),
                    group.create_task(watch.tell()),
                ]
                # What changes from here on is seen; only then may an item count as told of all before.
                await begun.wait()
                await watch.until_none_is_open()
                for task in endless:
                    task.cancel()

    @contextlib.contextmanager
    def _waker(self) -> Iterator[asyncio.Event]:
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            yield waker
        finally:
            self._wakers.remove(waker)


class _Watch:
    """One watch: the items it knows, and those whose workload is to be looked at."""

    def __init__(self, client: Client, ref: ClusterRef, surveys: SurveyCache, waker: asyncio.Event) -> None:
        self._client = client
        self._cluster = ref.name
        self._surveys = surveys
        self._waker = waker
        #: What each item knows, as the list shows it or as it was told since.
        self._items: dict[str, Item] = {}
        self._index = ItemIndex()
        self._read_at = -_REREAD_SECONDS
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    async def until_none_is_open(self) -> None:
        """Keeps to Temporal's list until it was empty twice: an item may be open and not be listed yet."""
        empty = 0
        await asyncio.sleep(_GATHER_SECONDS)
        while True:
            poked = self._waker.is_set()
            self._waker.clear()
            listed = await self._refresh(poked=poked)
            empty = empty + 1 if listed and not self._items and not self._waker.is_set() else 0
            if empty == 2:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._waker.wait(), _REFRESH_SECONDS)
                await asyncio.sleep(_GATHER_SECONDS)

    async def _refresh(self, *, poked: bool) -> bool:
        """Takes in what the list shows; False when it cannot be read: then the watch goes on with what it has."""
        now = time.monotonic()
        try:
            if not poked and now - self._read_at < _REREAD_SECONDS:
                count = (await self._client.count_workflows(items_query(self._cluster))).count
                if count == len(self._items):
                    return True
            listed = await list_items(self._client, self._cluster)
        except RPCError as error:
            activity.logger.warning("items_not_listed", extra={"fields": {"reason": error.message}})
            return False
        self._read_at = now
        items = {one.id: one.item for one in listed}
        # What an item was told since may not be listed yet.
        self._changed |= items.keys() - self._items.keys()
        self._items = {
            key: max((item, self._items.get(key, item)), key=lambda one: one.observed_at) for key, item in items.items()
        }
        self._index = ItemIndex(self._items)
        self._wake.set()
        return True

    def collect(self, change: ObjectReference) -> None:
        """Takes in a change of the cluster."""
        if change.kind in ("Namespace", "PodDisruptionBudget"):
            touched = self._index.within(change.namespace or change.name)
        else:
            touched = self._index.touched(change.namespace, change.name)
        if touched:
            self._changed.update(touched)
            self._wake.set()

    async def beat(self) -> None:
        """Shows how many items are watched, in the Temporal UI too, for ever."""
        while True:
            activity.heartbeat(len(self._items))
            await asyncio.sleep(_BEAT_SECONDS)

    async def tell(self) -> None:
        """Looks at what something touched, and tells the items of which something else is true now; for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
            self._wake.clear()
            batch, self._changed = sorted(self._changed), set()
            began = time.monotonic()
            try:
                await self._look(batch)
            except UpgradeError as error:
                # The items look by themselves too, by their timers, and tell what is wrong.
                activity.logger.warning("items_not_looked_at", extra={"fields": {"reason": error.message}})
                self._changed.update(batch)
                self._wake.set()
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                await asyncio.sleep(_REST * (time.monotonic() - began))

    async def _look(self, batch: list[str]) -> None:
        by_namespace: dict[str, list[str]] = {}
        for identity in batch:
            by_namespace.setdefault(item_workload(identity).namespace, []).append(identity)
        # Asked together, they are read together.
        found = await asyncio.gather(*(self._surveys.get(namespace) for namespace in by_namespace))
        news: list[tuple[str, Observation]] = []
        for reading, identities in zip(found, by_namespace.values(), strict=True):
            for identity in identities:
                item = self._items.get(identity)
                if item is None:
                    continue
                look = observe(reading.workload(item.finding.ref), item.finding.reason, reading.taken_at)
                if item.knows(look):
                    continue
                self._items[identity] = item.observed(look)
                news.append((identity, look))
        await gather_limited(_TOLD_AT_ONCE, news, lambda one: self._tell(*one))

    async def _tell(self, item: str, look: Observation) -> None:
        try:
            await self._client.get_workflow_handle(item).signal("observed", look)
        except RPCError as error:
            # An item that closed meanwhile needs no telling.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
