"""The remediation queue's side effects: opening items, warnings on Pods, looking again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.boundary import ServedCluster, heartbeating
from activities.concurrency import gather_limited
from activities.kube.client import ClusterClient
from activities.kube.events import record_event
from activities.kube.meta_v1 import PartialObjectMetadata
from activities.kube.paths import path
from activities.remediation.listing import item_from_memo, list_items
from activities.remediation.watch import ClusterWatchActivities
from activities.restart.activities import RestartResult
from activities.search_attributes import item_search_attributes
from activities.survey.activities import SurveyInput
from activities.survey.cache import SurveyCache
from activities.survey.run import run_survey
from mesh.errors import NotFoundError, PermissionDeniedError
from mesh.identity import ClusterRef, item_id
from mesh.k8s.pod_warnings import Patch, warning_patches
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import Policy
from mesh.remediation.item import Item, Observation, warning_text
from mesh.remediation.recheck import final_finding, finding_for, is_settled, observe
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext, fingerprint
from mesh.survey.survey import Survey, SurveyedWorkload
from mesh.text import rfc3339

_AT_ONCE = 40
#: New items in a second on two cores (`make bench`), a slow machine's.
_OPENED_PER_SECOND = 40
_NO_PROGRESS = Policy().no_progress.rollout


@dataclass(frozen=True, slots=True)
class OpenItemsInput:
    """Whose survey finds them."""

    survey: SurveyInput


@dataclass(frozen=True, slots=True)
class OpenItemInput:
    """A restart that was tried and failed."""

    cluster: ClusterRef
    result: RestartResult
    no_progress: timedelta = _NO_PROGRESS


@dataclass(frozen=True, slots=True)
class OpenItemsResult:
    """How many items are open for this cluster, by reason. What an operator has skipped does not count."""

    count: int
    by_reason: dict[str, int]


@dataclass(frozen=True, slots=True)
class RemediationItemInput:
    """Starts an item's workflow; `item` is what is known of it, already shown and its Pods warned.

    `no_progress` ends the waiting for a rollout that an operator's retry began.
    """

    cluster: ClusterRef
    item: Item
    no_progress: timedelta = _NO_PROGRESS


@dataclass(frozen=True, slots=True)
class SetPodWarningsInput:
    """One item's workload, and the cause in heartbeating; None takes the warning off."""

    cluster: ClusterRef
    finding: Finding
    text: str | None


@dataclass(frozen=True, slots=True)
class RecheckItemInput:
    """What to look at again; a survey that began at most so many seconds ago serves as well."""

    cluster: ClusterRef
    finding: Finding
    max_age: float = 0.0


class RemediationActivities:
    """Activities of the queue. The Temporal client starts items, so that they outlive the upgrade."""

    def __init__(
        self,
        served: ServedCluster,
        client: Client,
        task_queue: str,
        watch: ClusterWatchActivities,
        surveys: SurveyCache,
    ) -> None:
        self._served = served
        self._client = client
        self._task_queue = task_queue
        self._watch = watch
        self._surveys = surveys

    @activity.defn
    @heartbeating
    async def open_items(self, ask: OpenItemsInput) -> OpenItemsResult:
        """One item per workload that cannot be restarted; a second sighting updates the same item."""
        ref, attempt = ask.survey.cluster, ask.survey.context
        survey = await run_survey(self._served.connection_for(ref), attempt=attempt)
        found = [(record, seen) for record in survey.workloads if (seen := final_finding(record, attempt)) is not None]
        workloads = {seen.ref for _, seen in found}
        ids = {item_id(ref.name, workload) for workload in workloads}
        listed = {one.id for one in await list_items(self._client, ref.name)}
        # Items' first tasks write nothing: of many they wait until the others are open. Words of operators do not wait.
        start_delay = timedelta(seconds=len(ids - listed) // _OPENED_PER_SECOND)
        stand = await gather_limited(_AT_ONCE, found, lambda one: self._stand(*one, survey, ask.survey, start_delay))
        others = await self._others(listed - ids)
        await self._clear_leftovers(ref, survey, workloads | {item.finding.ref for item in others})
        if found:
            await self._watch.notify(ref)
        items = [*(item for item in stand if item is not None), *others]
        reasons = Counter(str(item.finding.reason) for item in items if item.is_open)
        return OpenItemsResult(reasons.total(), dict(reasons))

    @activity.defn
    @heartbeating
    async def open_item(self, ask: OpenItemInput) -> bool:
        """The item of a failed restart; False where nothing of the workload needs one any more."""
        ref, result = ask.cluster, ask.result
        # Known to have failed, it is surveyed with evidence.
        attempt = UpgradeContext(failed=frozenset({fingerprint(result.workload)}))
        survey = await run_survey(self._served.connection_for(ref), [result.workload.namespace], attempt=attempt)
        record = next((one for one in survey.workloads if one.ref == result.workload), None)
        reason = result.reason or Reason.ROLLOUT_TIMED_OUT
        if record is None or is_settled(record, reason):
            return False
        look = Observation(survey.taken_at, finding_for(record, reason, result.detail))
        await self._open(ref, record, look, ask.no_progress)
        await self._watch.notify(ref)
        return True

    async def _stand(
        self, record: SurveyedWorkload, seen: Finding, survey: Survey, ask: SurveyInput, start_delay: timedelta
    ) -> Item | None:
        """The item of a workload, opened where there is none; None where an operator closed it as it is.

        Asked from the workflow itself: Temporal's list lags.
        """
        ref, attempt, patience = ask.cluster, ask.context, ask.policy.no_progress.rollout
        running, item = await self._described(item_id(ref.name, seen.ref))
        if item is not None and not running and item.forced and attempt.mark and item.observed_at >= attempt.mark:
            return None
        look = Observation(survey.taken_at, seen)
        if running and item is not None:
            # The item of a failed restart was opened then, by what knew best what had happened.
            if item.finding == seen or attempt.has_failed(seen.ref):
                return item
            await self._open(ref, record, look, patience)
            return item.observed(look)
        return await self._open(ref, record, look, patience, start_delay)

    async def _others(self, listed: set[str]) -> list[Item]:
        """Items that stand though the survey did not see their cause: only a restart is missing, or a look."""
        described = await gather_limited(_AT_ONCE, sorted(listed), self._described)
        return [item for running, item in described if running and item is not None]

    async def _described(self, identity: str) -> tuple[bool, Item | None]:
        """Whether it runs, and its newest state."""
        try:
            found = await self._client.get_workflow_handle(identity).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False, None
        return found.status is WorkflowExecutionStatus.RUNNING, await item_from_memo(found)

    async def _open(
        self,
        ref: ClusterRef,
        record: SurveyedWorkload,
        look: Observation,
        no_progress: timedelta,
        start_delay: timedelta = timedelta(),
    ) -> Item:
        """Opens the item, or tells it, once its Pods are warned and the workload has its Event; it as a new one."""
        seen = look.finding
        if seen is None:
            raise ValueError("an item begins with what was seen")
        cluster = self._served.connection_for(ref)
        text = warning_text(seen)
        patches = warning_patches(record.pod_names, record.warnings, text)
        await _annotate(cluster, seen.namespace, patches)
        if patches:
            await _event(cluster, seen, text)
        item = Item(ref.name, seen, look.at, look.at)
        ask = RemediationItemInput(ref, item, no_progress)
        start = partial(
            self._client.start_workflow,
            "RemediationItem",
            ask,
            id=item.id,
            task_queue=self._task_queue,
            static_summary=f"{seen.reason}: {seen.ref}",
            memo={"item": item},
            search_attributes=item_search_attributes(item),
        )
        try:
            # With all that is shown of it, so that its first task has nothing to write.
            await start(start_delay=start_delay or None, static_details=_shown_from(start_delay))
        except WorkflowAlreadyStartedError:
            await start(start_signal="observed", start_signal_args=[Observation(look.at, seen, warned=True)])
        return item

    async def _clear_leftovers(self, ref: ClusterRef, survey: Survey, standing: set[WorkloadRef]) -> None:
        """Warnings of earlier tools, or of items that were ended by force, on Pods that need none."""
        for record in survey.workloads:
            if record.warnings and record.ref not in standing:
                # It may have been opened a moment ago, and not be listed yet.
                running, item = await self._described(item_id(ref.name, record.ref))
                if item is None or not running:
                    patches = warning_patches((), record.warnings, None)
                    await _annotate(self._served.connection_for(ref), record.namespace, patches)

    @activity.defn
    @heartbeating
    async def set_pod_warnings(self, ask: SetPodWarningsInput) -> int:
        """Has all Pods of an item carry the warning, or none; the number of Pods that were changed."""
        cluster, seen = self._served.connection_for(ask.cluster), ask.finding
        record = (await self._surveys.of(seen.namespace)).of(seen.ref)
        if record is None:
            return 0
        patches = warning_patches(record.pod_names, record.warnings, ask.text)
        changed = await _annotate(cluster, seen.namespace, patches)
        if ask.text is not None and changed:
            await _event(cluster, seen, ask.text)
        return changed

    @activity.defn
    @heartbeating
    async def recheck_item(self, ask: RecheckItemInput) -> Observation:
        """Looks at one workload again."""
        self._served.connection_for(ask.cluster)
        records = await self._surveys.of(ask.finding.namespace, ask.max_age)
        return observe(records.of(ask.finding.ref), ask.finding.reason, records.at)


def _shown_from(start_delay: timedelta) -> str | None:
    """What the page of an item says whose first task waits, since only that task shows the details (docs/adr/0013)."""
    if not start_delay:
        return None
    at = rfc3339(datetime.now(UTC) + start_delay)
    return f"Opened with many others. What it needs is shown here from {at} on; till then: `kyma-upgrade queue show`."


async def _annotate(cluster: ClusterClient, namespace: str, patches: dict[str, Patch]) -> int:
    """Of so many Pods that are still there."""
    changed = 0
    for name, patch in patches.items():
        try:
            await cluster.patch(
                path("Pod", namespace, name), {"metadata": {"annotations": patch}}, PartialObjectMetadata
            )
        except NotFoundError:
            continue
        changed += 1
    return changed


async def _event(cluster: ClusterClient, seen: Finding, text: str) -> None:
    try:
        await record_event(
            cluster,
            seen.ref,
            reason="RestartRequired",
            message=text,
            warning=True,
        )
    except (NotFoundError, PermissionDeniedError):
        # A namespace that is being deleted takes nothing new, and says so as if a right were missing.
        activity.logger.warning("event_not_written", extra={"fields": {"workload": str(seen.ref)}})
