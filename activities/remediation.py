"""The remediation queue's side effects: opening items, warnings on Pods, looking again, watching for changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.edge import Served, brief, translated
from activities.kube.client import Cluster
from activities.kube.events import emit
from activities.kube.paths import path
from activities.kube.watching import Change, follow
from activities.restarts import RestartResult
from activities.survey import SurveyInput
from activities.surveying import take_survey
from mesh.causes import FOUND_BY_TRYING, Reason
from mesh.cluster import ClusterRef, item_id, watch_id
from mesh.errors import NotFoundError
from mesh.items import ItemState, Sighting, sighting_of, view_of
from mesh.objects import Pod
from mesh.survey import Action, Record

#: The annotation that Kyma's troubleshooting guide names.
WARNING = "istio.reconciler.kyma-project.io/proxy-reset-warning"
_OPEN_AT_ONCE = 20
#: Changes of one item within this time are one signal.
_SETTLE_SECONDS = 1.0
_BEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OpenItemsInput:
    """`failed` are restarts that were tried and failed; everything else is found by a survey."""

    survey: SurveyInput
    failed: tuple[RestartResult, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenedItems:
    """How many items stand for this cluster after opening, by reason."""

    count: int
    by_reason: dict[str, int]


@dataclass(frozen=True, slots=True)
class ItemInput:
    """Starts an item's workflow."""

    cluster: ClusterRef
    namespace: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class WarnInput:
    """Some Pods of one item, and the cause in brief."""

    cluster: ClusterRef
    seen: Sighting
    pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrackInput:
    """An item that opened or closed, for the cluster's watch."""

    cluster: ClusterRef
    namespace: str
    kind: str
    name: str
    open: bool = True


@dataclass(frozen=True, slots=True)
class RecheckInput:
    """What to look at again."""

    cluster: ClusterRef
    seen: Sighting


@dataclass(frozen=True, slots=True)
class Recheck:
    """`closed` is why the item is settled, None while it stands; `seen` is the newest sighting."""

    closed: str | None
    seen: Sighting


@dataclass(frozen=True, slots=True)
class WatchInput:
    """The open items of a cluster, as namespace, kind, name; `fresh` are those that no watch has covered yet."""

    cluster: ClusterRef
    items: tuple[tuple[str, str, str], ...] = field(default=())
    fresh: tuple[tuple[str, str, str], ...] = field(default=())


class RemediationActivities:
    """Activities of the queue. The Temporal client starts items, so that they outlive the upgrade."""

    def __init__(self, served: Served, client: Client, task_queue: str) -> None:
        self._served = served
        self._client = client
        self._task_queue = task_queue

    @activity.defn
    @brief
    async def open_items(self, ask: OpenItemsInput) -> OpenedItems:
        """One item per workload that cannot be restarted; a second sighting updates the same item."""
        ref = ask.survey.cluster
        survey = await take_survey(self._served.of(ref), attempt=ask.survey.attempt)
        seen = {one.key: one for record in survey.records if (one := sighting_of(record)) is not None}
        still = {record.key for record in survey.records if not _settled(record, Reason.ROLLOUT_TIMED_OUT)}
        for result in ask.failed:
            failed = result.workload
            key = (failed.namespace, failed.kind, failed.name)
            if key in still and result.reason is not None:
                pods = seen[key].pods if key in seen else ()
                seen[key] = Sighting(*key, result.reason, result.detail, pods, len(pods))
        limit = asyncio.Semaphore(_OPEN_AT_ONCE)
        await asyncio.gather(*(self._open(ref, one, limit) for one in seen.values()))
        return OpenedItems(len(seen), dict(Counter(str(one.reason) for one in seen.values())))

    async def _open(self, ref: ClusterRef, seen: Sighting, limit: asyncio.Semaphore) -> None:
        async with limit:
            since = activity.info().current_attempt_scheduled_time
            await self._client.start_workflow(
                "RemediationItem",
                ItemInput(ref, *seen.key),
                id=item_id(ref.name, *seen.key),
                task_queue=self._task_queue,
                start_signal="seen",
                start_signal_args=[seen],
                static_summary=f"{seen.reason}: {seen.namespace}/{seen.kind}/{seen.name}",
                memo={"item": view_of(ref.name, seen, ItemState.OPEN, since)},
            )

    @activity.defn
    @brief
    async def show_warning(self, ask: WarnInput) -> int:
        """Puts the warning on the item's Pods and an Event on the workload; the number of Pods that carry it."""
        cluster, seen = self._served.of(ask.cluster), ask.seen
        told = f"{seen.reason}: {seen.detail or 'see the remediation queue'}"
        shown = 0
        for name in ask.pods:
            shown += await _annotate(cluster, seen.namespace, name, told)
        await emit(
            cluster,
            namespace=seen.namespace,
            kind=seen.kind.partition(".")[0],
            name=seen.name,
            reason="RestartRequired",
            message=told,
            warning=True,
        )
        return shown

    @activity.defn
    @brief
    async def clear_warning(self, ask: WarnInput) -> int:
        """Takes the warning off the item's Pods; those that are gone are fine."""
        cluster = self._served.of(ask.cluster)
        cleared = 0
        for name in ask.pods:
            cleared += await _annotate(cluster, ask.seen.namespace, name, None)
        return cleared

    @activity.defn
    @brief
    async def track_item(self, ask: TrackInput) -> None:
        """Tells the cluster's watch of an item, starting the watch with the first one."""
        await self._client.start_workflow(
            "ClusterWatch",
            WatchInput(ask.cluster),
            id=watch_id(ask.cluster.name),
            task_queue=self._task_queue,
            start_signal="track",
            start_signal_args=[ask],
        )

    @activity.defn
    @brief
    async def recheck_item(self, ask: RecheckInput) -> Recheck:
        """Looks at one workload again: settled when it is gone, or nothing of it needs a restart any more."""
        cluster, seen = self._served.of(ask.cluster), ask.seen
        survey = await take_survey(cluster, [seen.namespace])
        record = next((one for one in survey.records if one.key == seen.key), None)
        if record is None:
            return Recheck("the workload has no Pods any more", seen)
        if _settled(record, seen.reason):
            return Recheck(f"its Pods are {record.klass}", seen)
        # With the cause gone and the proxy still stale the item stands: it is told as it was first seen.
        return Recheck(None, sighting_of(record) or seen)

    @activity.defn
    @translated
    async def watch_cluster(self, ask: WatchInput) -> None:
        """Tells items that something of theirs changed, until it is cancelled."""
        cluster = self._served.of(ask.cluster)
        pending: set[tuple[str, str, str]] = set()
        wake = asyncio.Event()

        def collect(change: Change) -> None:
            touched = [item for item in ask.items if _touches(change, item)]
            if touched:
                pending.update(touched)
                wake.set()

        def begun() -> None:
            # What changed between an item's sighting and this moment, nobody saw; after a worker died, for any item.
            pending.update(ask.items if activity.info().attempt > 1 else ask.fresh)
            wake.set()

        async def beat() -> None:
            while True:
                activity.heartbeat()
                await asyncio.sleep(_BEAT_SECONDS)

        async def tell() -> None:
            while True:
                await wake.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                wake.clear()
                batch = sorted(pending)
                pending.clear()
                for item in batch:
                    await self._tell_changed(item_id(ask.cluster.name, *item))

        async with asyncio.TaskGroup() as group:
            group.create_task(follow(cluster, collect, begun))
            group.create_task(beat())
            group.create_task(tell())

    async def _tell_changed(self, item: str) -> None:
        try:
            await self._client.get_workflow_handle(item).signal("changed")
        except RPCError as error:
            # An item that closed meanwhile needs no telling.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise


def _settled(record: Record, reason: Reason) -> bool:
    """Nothing of it needs a restart; after a restart that failed its Pods must also be Ready again."""
    return record.action is Action.NONE and not (reason in FOUND_BY_TRYING and record.unready)


def _touches(change: Change, item: tuple[str, str, str]) -> bool:
    """A Pod's name begins with its top owner's; names that were cut at 40 characters still match."""
    namespace, _, name = item
    return change.namespace == namespace and change.name.startswith(name[:40])


async def _annotate(cluster: Cluster, namespace: str, name: str, text: str | None) -> int:
    try:
        body = {"metadata": {"annotations": {WARNING: text}}}
        await cluster.patch(path("Pod", namespace, name), body, Pod)
    except NotFoundError:
        return 0
    return 1
