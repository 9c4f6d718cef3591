"""One look at a cluster's upgrade: as its worker tells it, else as much as Temporal itself keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.exit_codes import DONE, FAILED, ITEMS_OPEN, NEEDS_OPERATOR, TIMED_OUT, code_of
from cli.temporal.queries import ask_worker
from mesh.identity import upgrade_id
from mesh.text import rfc3339

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHandle

    from workflows.messages import Progress

_ENDED_BADLY = {"FAILED": "failed", "TERMINATED": "failed", "TIMED_OUT": "failed", "CANCELED": "aborted"}


@dataclass(frozen=True, slots=True)
class Upgrade:
    """`document` is `status -o json`; `failure` is the sentence and the type of a failure, if it ended in one."""

    document: Mapping[str, Any]
    running: bool
    failure: tuple[str, str | None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return not self.running

    @property
    def code(self) -> int:
        """The exit code of a `wait` that has no time: 5 while it goes on, so that 0 always means done."""
        if self.running:
            return NEEDS_OPERATOR if self.document["needsAttention"] else TIMED_OUT
        if self.failure is not None:
            return code_of(self.failure[1])
        return {"done": DONE, "done-with-items": ITEMS_OPEN}.get(self.document["result"], FAILED)


async def find_upgrade(client: Client, cluster: str) -> Upgrade | None:
    """The cluster's upgrade, running or the last one; None when there is none."""
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError

    from cli.temporal.session import is_absent
    from workflows.messages import Progress

    try:
        found = await client.get_workflow_handle(upgrade_id(cluster)).describe()
    except RPCError as error:
        if is_absent(error):
            return None
        raise
    handle = client.get_workflow_handle(found.id, run_id=found.run_id)
    if found.status is WorkflowExecutionStatus.RUNNING:
        progress = await ask_worker(handle, "progress", Progress)
        if progress is not None:
            return Upgrade({**_document(progress, found), "live": True}, running=True)
        return Upgrade(_kept(found, cluster), running=True)
    if found.status is WorkflowExecutionStatus.COMPLETED:
        return await _completed(client, found)
    return await _ended_badly(handle, found, cluster)


async def _completed(client: Client, found: WorkflowExecutionDescription) -> Upgrade:
    from workflows.messages import UpgradeResult

    handle: WorkflowHandle[Any, UpgradeResult] = client.get_workflow_handle(
        found.id, run_id=found.run_id, result_type=UpgradeResult
    )
    result = await handle.result(follow_runs=False)
    document = {**_document(result.progress, found), "live": False}
    return Upgrade({**document, "result": result.result}, running=False)


async def _ended_badly(handle: WorkflowHandle[Any, Any], found: WorkflowExecutionDescription, cluster: str) -> Upgrade:
    from temporalio.client import WorkflowFailureError

    status = found.status.name if found.status else ""
    result = _ENDED_BADLY.get(status, "failed")
    failure: tuple[str, str | None] = (f"The upgrade was ended from outside ({status}).", None)
    try:
        await handle.result(follow_runs=False)
    except WorkflowFailureError as error:
        cause = error.cause
        if status == "FAILED":
            failure = (getattr(cause, "message", None) or str(cause), getattr(cause, "type", None))
    document = {
        **_kept(found, cluster),
        "phase": result,
        "needsAttention": None,
        "nextStep": None,
        "result": result,
        "failure": failure[0],
    }
    return Upgrade(document, running=False, failure=failure)


def _document(progress: Progress, found: WorkflowExecutionDescription) -> dict[str, Any]:
    from cli.render.documents import status_document

    return status_document(progress, found.id, found.run_id)


def _kept(found: WorkflowExecutionDescription, cluster: str) -> dict[str, Any]:
    """What the server itself keeps: search attributes. Counts that only a worker knows are null."""
    from activities.search_attributes import NEEDS_ATTENTION, PHASE, STALE_LEFT, TARGET

    kept = found.typed_search_attributes
    attention = kept.get(NEEDS_ATTENTION)
    return {
        "cluster": cluster,
        "workflowId": found.id,
        "runId": found.run_id,
        "target": kept.get(TARGET),
        "phase": kept.get(PHASE) or "preflight",
        "needsAttention": "It waits for an operator; no worker answers that knows why." if attention else None,
        "nextStep": "Start a worker (kyma-upgrade worker), then look again." if attention else None,
        "startedAt": rfc3339(found.start_time),
        "endedAt": rfc3339(found.close_time) if found.close_time else None,
        "result": None,
        "workloads": {
            "planned": None,
            "restarted": None,
            "current": None,
            "remediation": None,
            "left": kept.get(STALE_LEFT),
        },
        "wave": None,
        "items": {"open": None, "byReason": {}},
        "live": False,
    }


def deep_link(ui: str | None, namespace: str, workflow_id: str, run_id: str | None = None) -> str | None:
    """The upgrade's page in the Temporal UI, where its address is known."""
    from urllib.parse import quote

    if not ui:
        return None
    run = f"/{run_id}/timeline" if run_id else ""
    return f"{ui.rstrip('/')}/namespaces/{quote(namespace)}/workflows/{quote(workflow_id, safe='')}{run}"
