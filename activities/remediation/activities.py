"""The side effects of the remediation queue: items are opened, Pods carry warnings, workloads are rechecked."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client

from activities.boundary import ServedCluster, heartbeating
from activities.concurrency import gather_limited
from activities.remediation.cluster_notices import patch_pod_annotations, record_restart_required
from activities.remediation.inputs import (
    OpenItemInput,
    OpenItemsInput,
    OpenItemsResult,
    RecheckItemInput,
    SetPodWarningsInput,
)
from activities.remediation.item_opener import ItemOpener
from activities.remediation.listing import read_open_items
from activities.remediation.watch import ClusterWatchActivities
from activities.survey.activities import SurveyInput
from activities.survey.cache import MAX_AGE_SECONDS, SurveyCache
from mesh.identity import ClusterRef, item_id
from mesh.k8s.pod_warnings import warning_patches
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.item import Item, Observation
from mesh.remediation.recheck import final_finding, finding_for, is_settled, observe
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext, fingerprint
from mesh.survey.survey import Survey, SurveyedWorkload

_AT_ONCE = 40
#: Items that a slow machine of two cores opens in a second (`make bench`).
_OPENED_PER_SECOND = 40


class RemediationActivities:
    """Activities of the remediation queue."""

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
        self._opener = ItemOpener(served, client, task_queue)
        self._watch = watch
        self._surveys = surveys

    @activity.defn
    @heartbeating
    async def open_items(self, request: OpenItemsInput) -> OpenItemsResult:
        """Opens an item for each workload that an operator must settle, or updates the item that it has."""
        ref, context = request.survey.cluster, request.survey.context
        self._served.connection_for(ref)
        max_age = 0.0 if request.read_after is None else MAX_AGE_SECONDS
        # Not the reading itself is held: opening takes long, and the snapshot is large.
        survey = (await self._surveys.get(max_age=max_age, read_after=request.read_after)).survey(context)
        found = [
            (workload, finding)
            for workload in survey.workloads
            if (finding := final_finding(workload, context)) is not None
        ]
        workloads = {finding.ref for _, finding in found}
        ids = {item_id(ref.name, workload) for workload in workloads}
        listed = {item.id for item in await read_open_items(self._client, ref.name)}
        # Items' first tasks write nothing: those of many wait until all are open. Operators' commands do not wait.
        start_delay = timedelta(seconds=len(ids - listed) // _OPENED_PER_SECOND)
        items = await gather_limited(
            _AT_ONCE, found, lambda each: self._open_or_update(*each, survey, request.survey, start_delay)
        )
        others = await self._running_items(listed - ids)
        await self._clear_leftover_warnings(ref, survey, workloads | {item.finding.ref for item in others})
        if found:
            await self._watch.notify(ref)
        standing = [*(item for item in items if item is not None), *others]
        reasons = Counter(str(item.finding.reason) for item in standing if item.is_open)
        return OpenItemsResult(reasons.total(), dict(reasons))

    @activity.defn
    @heartbeating
    async def open_item(self, request: OpenItemInput) -> bool:
        """Opens the item of a failed restart; returns False where the workload needs no item any more."""
        ref, result = request.cluster, request.result
        self._served.connection_for(ref)
        # The survey collects evidence for workloads that are known to have failed.
        context = UpgradeContext(failed=frozenset({fingerprint(result.workload)}))
        namespace = result.workload.namespace
        survey = (await self._surveys.get(namespace)).survey(context, namespace)
        workload = next((workload for workload in survey.workloads if workload.ref == result.workload), None)
        reason = result.reason or Reason.ROLLOUT_TIMED_OUT
        if workload is None or is_settled(workload, reason):
            return False
        finding = finding_for(workload, reason, result.detail)
        await self._opener.open(ref, workload, finding, survey.taken_at, request.no_progress)
        await self._watch.notify(ref)
        return True

    @activity.defn
    @heartbeating
    async def set_pod_warnings(self, request: SetPodWarningsInput) -> int:
        """Writes the warning on all Pods of an item, or removes it; returns the number of changed Pods."""
        cluster, finding = self._served.connection_for(request.cluster), request.finding
        workload = (await self._surveys.get(finding.namespace)).workload(finding.ref)
        if workload is None:
            return 0
        patches = warning_patches(workload.pod_names, workload.warnings, request.text)
        changed = await patch_pod_annotations(cluster, finding.namespace, patches)
        if request.text is not None and changed:
            await record_restart_required(cluster, finding, request.text)
        return changed

    @activity.defn
    @heartbeating
    async def recheck_item(self, request: RecheckItemInput) -> Observation:
        """Observes the workload of one item again."""
        self._served.connection_for(request.cluster)
        finding = request.finding
        reading = await self._surveys.get(finding.namespace, max_age=request.max_age)
        return observe(reading.workload(finding.ref), finding.reason, reading.taken_at)

    async def _open_or_update(
        self,
        workload: SurveyedWorkload,
        finding: Finding,
        survey: Survey,
        request: SurveyInput,
        start_delay: timedelta,
    ) -> Item | None:
        """Returns the item of a workload, opened where there is none; None where it was closed since, or as it is."""
        ref, context, no_progress = request.cluster, request.context, request.policy.no_progress.rollout
        running, item = await self._opener.describe(item_id(ref.name, finding.ref))
        if item is not None and not running:
            # One that is still open was terminated: it is opened again.
            closed_later = not item.is_open and item.observed_at > survey.taken_at
            closed_as_it_is = item.forced and context.mark is not None and item.observed_at >= context.mark
            if closed_later or closed_as_it_is:
                return None
        if running and item is not None:
            # The item of a failed restart was opened with what the restart itself found: no survey knows better.
            if item.finding == finding or context.has_failed(finding.ref):
                return item
            await self._opener.open(ref, workload, finding, survey.taken_at, no_progress)
            return item.observed(Observation(survey.taken_at, finding))
        return await self._opener.open(ref, workload, finding, survey.taken_at, no_progress, start_delay)

    async def _running_items(self, workflow_ids: set[str]) -> list[Item]:
        """Returns items that are open though the survey finds no cause: they need a restart, or a recheck."""
        described = await gather_limited(_AT_ONCE, sorted(workflow_ids), self._opener.describe)
        return [item for running, item in described if running and item is not None]

    async def _clear_leftover_warnings(self, ref: ClusterRef, survey: Survey, standing: set[WorkloadRef]) -> None:
        """Removes warnings of earlier tools, and of items that were terminated, from Pods that need none."""
        for workload in survey.workloads:
            if workload.warnings and workload.ref not in standing:
                # Its item may have been opened a moment ago, and not be listed yet.
                running, item = await self._opener.describe(item_id(ref.name, workload.ref))
                if item is None or not running:
                    patches = warning_patches((), workload.warnings, None)
                    await patch_pod_annotations(self._served.connection_for(ref), workload.namespace, patches)
