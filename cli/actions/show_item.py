"""Prints everything about one remediation item."""

from __future__ import annotations

from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError

from activities.remediation.listing import item_from_memo
from cli.cluster_name import cluster_name_from
from cli.exit_codes import DONE
from cli.render.item_document import item_document
from cli.render.item_table import item_text
from cli.render.output import emit
from cli.temporal.item_search import item_identity
from cli.temporal.links import workflow_link
from cli.temporal.queries import query_worker
from cli.temporal.session import connect_temporal, is_absent
from mesh.errors import RefusedError
from mesh.remediation.item import ItemView, view_of
from worker.settings import Settings


async def show_item(settings: Settings, text: str, output: str | None) -> int:
    """Prints the item that `text` names.

    Raises:
        RefusedError: there is no such item.
    """
    client = await connect_temporal(settings)
    identity = item_identity(text, lambda: cluster_name_from(settings.cluster))
    handle = client.get_workflow_handle(identity)
    execution: WorkflowExecutionDescription | None
    try:
        execution = await handle.describe()
    except RPCError as error:
        if not is_absent(error):
            raise
        execution = None
    item = await item_from_memo(execution) if execution is not None else None
    if execution is None or item is None:
        raise RefusedError(f"There is no item {text}.", "List the items: kyma-upgrade queue list")
    link = workflow_link(settings.temporal.ui, client.namespace, execution.id, execution.run_id)
    # A worker has the whole history, Temporal's list only the newest entries.
    document = item_document(await query_worker(handle, "item", ItemView) or view_of(item))
    emit(document, output, lambda: item_text(document, link))
    return DONE
