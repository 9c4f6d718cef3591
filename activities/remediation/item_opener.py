"""Opens remediation items: starts an item's workflow, or sends the workflow that runs what was found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.boundary import ServedCluster
from activities.remediation.cluster_notices import patch_pod_annotations, record_restart_required
from activities.remediation.inputs import RemediationItemInput
from activities.remediation.listing import item_from_memo
from activities.search_attributes import item_search_attributes
from mesh.identity import ClusterRef
from mesh.k8s.pod_warnings import warning_patches
from mesh.remediation.item import Item, Observation, warning_text
from mesh.survey.finding import Finding
from mesh.survey.survey import SurveyedWorkload
from mesh.text import rfc3339


class ItemOpener:
    """Opens items with Temporal's client, so that they outlive the upgrade that finds them."""

    def __init__(self, served: ServedCluster, client: Client, task_queue: str) -> None:
        self._served = served
        self._client = client
        self._task_queue = task_queue

    async def open(
        self,
        ref: ClusterRef,
        workload: SurveyedWorkload,
        finding: Finding,
        at: datetime,
        no_progress: timedelta,
        start_delay: timedelta = timedelta(),
    ) -> Item:
        """Opens the item of a workload, or sends it the finding of a survey taken `at`; returns it as a new one.

        Before that the workload's Pods carry the warning, and the workload has its Event.
        """
        cluster = self._served.connection_for(ref)
        text = warning_text(finding)
        patches = warning_patches(workload.pod_names, workload.warnings, text)
        await patch_pod_annotations(cluster, finding.namespace, patches)
        if patches:
            await record_restart_required(cluster, finding, text)
        item = Item(ref.name, finding, at, at)
        start = partial(
            self._client.start_workflow,
            "RemediationItem",
            RemediationItemInput(ref, item, no_progress),
            id=item.id,
            task_queue=self._task_queue,
            static_summary=f"{finding.reason}: {finding.ref}",
            memo={"item": item},
            search_attributes=item_search_attributes(item),
        )
        try:
            # With all that the list shows of the item, so that its first task has nothing to write.
            await start(start_delay=start_delay or None, static_details=_details_until_first_task(start_delay))
        except WorkflowAlreadyStartedError:
            await start(start_signal="observed", start_signal_args=[Observation(at, finding, warned=True)])
        return item

    async def describe(self, workflow_id: str) -> tuple[bool, Item | None]:
        """Returns whether the item's workflow runs, and the item's newest state: Temporal's list lags behind."""
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False, None
        return described.status is WorkflowExecutionStatus.RUNNING, await item_from_memo(described)


def _details_until_first_task(start_delay: timedelta) -> str | None:
    """Returns what an item's page says until the first task, which alone shows the details (docs/adr/0013)."""
    if not start_delay:
        return None
    at = rfc3339(datetime.now(UTC) + start_delay)
    return f"Opened together with many others. Its details appear here at {at}. Until then: `kyma-upgrade queue show`."
