"""Sends an operator's decision to the running upgrade, and prints the status after it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from cli.cluster_name import cluster_name_from
from cli.exit_codes import DONE
from cli.render.output import emit, say
from cli.render.status_document import status_document
from cli.render.status_table import status_table
from cli.temporal.session import connect_temporal, is_absent
from mesh.errors import RefusedError, UnreachableError
from mesh.identity import upgrade_id
from worker.settings import Settings
from workflows.messages import ApproveInput, LimitInput, OperatorInput, Progress

_ANSWER_WITHIN = timedelta(seconds=20)
_INPUTS = {"approve": ApproveInput, "limit": LimitInput}


async def control_upgrade(
    settings: Settings,
    name: str,
    who: str,
    because: str,
    output: str | None,
    **fields: Any,  # noqa: ANN401  # of the update
) -> int:
    """Sends the update `name` and waits for the upgrade's answer.

    Raises:
        RefusedError: no upgrade is running.
        UnreachableError: no worker answers.
    """
    cluster = cluster_name_from(settings.cluster)
    client = await connect_temporal(settings)
    handle = client.get_workflow_handle(upgrade_id(cluster))
    decision = _INPUTS.get(name, OperatorInput)(who=who, because=because, **fields)
    try:
        progress: Progress = await handle.execute_update(
            name, decision, result_type=Progress, rpc_timeout=_ANSWER_WITHIN
        )
        run_id = (await handle.describe()).run_id
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise UnreachableError(
            f"No worker answers. The upgrade may or may not have received `{name}`.",
            f"Start a worker (kyma-upgrade worker), then check: kyma-upgrade status --cluster {cluster}",
        ) from error
    except RPCError as error:
        if is_absent(error):
            raise RefusedError(
                f"No upgrade of cluster {cluster} is running.", "Check --cluster, or see kyma-upgrade status."
            ) from error
        raise
    document = status_document(progress, handle.id, run_id)
    say(f"Cluster {cluster}: {name} accepted.")
    emit(document, output, lambda: status_table(document))
    return DONE
