"""The upgrade of a cluster at this moment: as a worker reports it, else as far as Temporal itself keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.service import RPCError

from activities.search_attributes import NEEDS_ATTENTION, PHASE, STALE_LEFT, TARGET
from cli.exit_codes import DONE, FAILED, ITEMS_OPEN, NEEDS_OPERATOR, TIMED_OUT, code_of
from cli.render.status_document import status_document
from cli.temporal.queries import query_worker
from cli.temporal.session import is_absent
from mesh.errors import RefusedError
from mesh.identity import upgrade_id
from mesh.text import rfc3339
from workflows.messages import Progress, UpgradeResult

#: Results of workflows that did not complete.
_RESULTS = {"FAILED": "failed", "TERMINATED": "failed", "TIMED_OUT": "failed", "CANCELED": "aborted"}


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A status: `document` is `status -o json`; `failure` is the sentence and the error type if the upgrade failed."""

    document: Mapping[str, Any]
    running: bool
    failure: tuple[str, str | None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the workflow is closed."""
        return not self.running

    @property
    def code(self) -> int:
        """The exit code of a `wait` that ends now: 5 while the upgrade runs, so that 0 always means done."""
        if self.running:
            return NEEDS_OPERATOR if self.document["needsAttention"] else TIMED_OUT
        if self.failure is not None:
            return code_of(self.failure[1])
        return {"done": DONE, "done-with-items": ITEMS_OPEN}.get(self.document["result"], FAILED)


def no_upgrade(cluster: str) -> RefusedError:
    """Returns the refusal of a command that needs an upgrade."""
    return RefusedError(
        f"There is no upgrade of cluster {cluster}.", "Start one: kyma-upgrade start --to …, or check --cluster."
    )


async def find_upgrade(client: Client, cluster: str) -> Upgrade | None:
    """Returns the cluster's running upgrade, else the latest one; None if there is none."""
    try:
        execution = await client.get_workflow_handle(upgrade_id(cluster)).describe()
    except RPCError as error:
        if is_absent(error):
            return None
        raise
    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
    if execution.status is WorkflowExecutionStatus.RUNNING:
        progress = await query_worker(handle, "progress", Progress)
        if progress is not None:
            return Upgrade({**status_document(progress, execution.id, execution.run_id), "live": True}, running=True)
        return Upgrade(_from_search_attributes(execution, cluster), running=True)
    if execution.status is WorkflowExecutionStatus.COMPLETED:
        return await _completed(client, execution)
    return await _not_completed(handle, execution, cluster)


async def _completed(client: Client, execution: WorkflowExecutionDescription) -> Upgrade:
    handle: WorkflowHandle[Any, UpgradeResult] = client.get_workflow_handle(
        execution.id, run_id=execution.run_id, result_type=UpgradeResult
    )
    result = await handle.result(follow_runs=False)
    document = status_document(result.progress, execution.id, execution.run_id)
    return Upgrade({**document, "live": False, "result": result.result}, running=False)


async def _not_completed(
    handle: WorkflowHandle[Any, Any], execution: WorkflowExecutionDescription, cluster: str
) -> Upgrade:
    status = execution.status.name if execution.status else ""
    result = _RESULTS.get(status, "failed")
    failure: tuple[str, str | None] = (f"The upgrade was ended in Temporal ({status}).", None)
    try:
        await handle.result(follow_runs=False)
    except WorkflowFailureError as error:
        cause = error.cause
        if status == "FAILED":
            failure = (getattr(cause, "message", None) or str(cause), getattr(cause, "type", None))
    document = {
        **_from_search_attributes(execution, cluster),
        "phase": result,
        "needsAttention": None,
        "nextStep": None,
        "result": result,
        "failure": failure[0],
    }
    return Upgrade(document, running=False, failure=failure)


def _from_search_attributes(execution: WorkflowExecutionDescription, cluster: str) -> dict[str, Any]:
    """Returns what the server itself keeps. Counts that only a worker knows are null."""
    attributes = execution.typed_search_attributes
    attention = attributes.get(NEEDS_ATTENTION)
    return {
        "cluster": cluster,
        "workflowId": execution.id,
        "runId": execution.run_id,
        "target": attributes.get(TARGET),
        "phase": attributes.get(PHASE) or "preflight",
        "needsAttention": "The upgrade needs an operator; no worker answers that knows why." if attention else None,
        "nextStep": "Start a worker: kyma-upgrade worker. Then run this command again." if attention else None,
        "startedAt": rfc3339(execution.start_time),
        "endedAt": rfc3339(execution.close_time) if execution.close_time else None,
        "result": None,
        "workloads": {
            "planned": None,
            "restarted": None,
            "current": None,
            "remediation": None,
            "left": attributes.get(STALE_LEFT),
        },
        "wave": None,
        "items": {"open": None, "byReason": {}},
        "live": False,
    }
