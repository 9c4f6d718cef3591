"""The remediation queue's side effects: opening items, warnings on Pods, looking again."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.cluster_watch import WatchActivities
from activities.edge import Served, brief
from activities.kube.client import Cluster
from activities.kube.events import emit
from activities.kube.paths import path
from activities.restarts import RestartResult
from activities.survey import SurveyInput
from activities.surveying import take_survey
from mesh.causes import Reason
from mesh.cluster import ClusterRef, item_id
from mesh.errors import NotFoundError
from mesh.items import ItemState, ItemView, settled, sighting_for, sighting_of, view_of, wanted
from mesh.objects import Pod
from mesh.sighting import Sighting
from mesh.survey import NO_ATTEMPT, Attempt

#: The annotation that Kyma's troubleshooting guide names.
WARNING = "istio.reconciler.kyma-project.io/proxy-reset-warning"
_OPEN_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class OpenItemsInput:
    """Whose survey finds them."""

    survey: SurveyInput


@dataclass(frozen=True, slots=True)
class OpenFailedInput:
    """A restart that was tried and failed."""

    cluster: ClusterRef
    result: RestartResult


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
class RecheckInput:
    """What to look at again."""

    cluster: ClusterRef
    seen: Sighting


@dataclass(frozen=True, slots=True)
class Recheck:
    """`closed` is why the item is settled, None while it stands; `seen` is the newest sighting."""

    closed: str | None
    seen: Sighting


class RemediationActivities:
    """Activities of the queue. The Temporal client starts items, so that they outlive the upgrade."""

    def __init__(self, served: Served, client: Client, task_queue: str, watch: WatchActivities) -> None:
        self._served = served
        self._client = client
        self._task_queue = task_queue
        self._watch = watch

    @activity.defn
    @brief
    async def open_items(self, ask: OpenItemsInput) -> OpenedItems:
        """One item per workload that cannot be restarted; a second sighting updates the same item."""
        ref, attempt = ask.survey.cluster, ask.survey.attempt
        survey = await take_survey(self._served.of(ref), attempt=attempt)
        found = [seen for record in survey.records if (seen := wanted(record, attempt)) is not None]
        limit = asyncio.Semaphore(_OPEN_AT_ONCE)

        async def open_one(seen: Sighting) -> str:
            async with limit:
                # The item of a failed restart was opened then, by what knew best what had happened.
                standing = await self._standing(ref, seen) if attempt.has_failed(seen.key) else None
                if standing is None:
                    await self._open(ref, seen)
                return standing or seen.reason

        reasons = await asyncio.gather(*(open_one(seen) for seen in found))
        if found:
            await self._watch.poke(ref)
        return OpenedItems(len(found), dict(Counter(reasons)))

    @activity.defn
    @brief
    async def open_failed(self, ask: OpenFailedInput) -> bool:
        """The item of a failed restart; False where nothing of the workload needs one any more."""
        ref, result = ask.cluster, ask.result
        survey = await take_survey(self._served.of(ref), [result.workload.namespace])
        key = (result.workload.namespace, result.workload.kind, result.workload.name)
        record = next((one for one in survey.records if one.key == key), None)
        reason = result.reason or Reason.ROLLOUT_TIMED_OUT
        if record is None or settled(record, reason):
            return False
        await self._open(ref, sighting_for(record, reason, result.detail))
        await self._watch.poke(ref)
        return True

    async def _standing(self, ref: ClusterRef, seen: Sighting) -> str | None:
        """The reason of the workload's item, None where none is open."""
        try:
            found = await self._client.get_workflow_handle(item_id(ref.name, *seen.key)).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None
        view: ItemView | None = await found.memo_value("item", None, type_hint=ItemView)
        return view.reason if view is not None and found.status is WorkflowExecutionStatus.RUNNING else None

    async def _open(self, ref: ClusterRef, seen: Sighting) -> None:
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
            kind=seen.kind,
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
    async def recheck_item(self, ask: RecheckInput) -> Recheck:
        """Looks at one workload again: settled when it is gone, or nothing of it needs a restart any more."""
        cluster, seen = self._served.of(ask.cluster), ask.seen
        # Only an upgrade minds a gateway that its owner did not roll: this item is judged as by one that begins now.
        upgrade = Attempt(mark=datetime.now(UTC)) if seen.reason is Reason.GATEWAY_NOT_UPGRADED else NO_ATTEMPT
        survey = await take_survey(cluster, [seen.namespace], upgrade)
        record = next((one for one in survey.records if one.key == seen.key), None)
        if record is None:
            return Recheck("the workload has no Pods any more", seen)
        if settled(record, seen.reason):
            return Recheck(f"its Pods are {record.klass}", seen)
        # With the cause gone and the proxy still stale the item stands: it is told as it was first seen.
        return Recheck(None, sighting_of(record) or seen)


async def _annotate(cluster: Cluster, namespace: str, name: str, text: str | None) -> int:
    try:
        body = {"metadata": {"annotations": {WARNING: text}}}
        await cluster.patch(path("Pod", namespace, name), body, Pod)
    except NotFoundError:
        return 0
    return 1
