"""Lists remediation items from Temporal's list of workflows: no worker is needed, and the list lags a moment behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest, ListWorkflowExecutionsResponse
from temporalio.client import Client, WorkflowExecution

from activities.search_attributes import NAMESPACE
from mesh.identity import items_prefix

if TYPE_CHECKING:
    from mesh.remediation.item import Item

#: The most that Temporal sends. The items' memos come along, up to 8 kB each; the client takes answers of 128 MB.
_PAGE = 1000


@cache
def _decoder() -> msgspec.json.Decoder[Item]:
    # The import takes a tenth of a second, which passes while Temporal works on the list.
    from mesh.remediation.item import Item  # noqa: PLC0415

    return msgspec.json.Decoder(Item)


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One run of an item's workflow. `id` is the workflow id."""

    id: str
    started: datetime
    running: bool
    item: Item


def items_query(cluster: str, *, running: bool = True, namespaces: Collection[str] = ()) -> str:
    """Returns the list filter for a cluster's items: the running ones or all, in these namespaces or in all."""
    query = f'WorkflowId STARTS_WITH "{items_prefix(cluster)}"'
    if running:
        query += ' AND ExecutionStatus = "Running"'
    if namespaces:
        query += f" AND {NAMESPACE.name} IN ({', '.join(_quoted(namespace) for namespace in namespaces)})"
    return query


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def read_open_items(client: Client, cluster: str) -> list[ListedItem]:
    """Returns the running items of a cluster.

    Raises:
        RPCError: Temporal does not answer.
    """
    return [item async for page in item_pages(client, items_query(cluster)) for item in page]


async def item_pages(client: Client, query: str) -> AsyncGenerator[list[ListedItem]]:
    """Yields the items that a query finds, page by page; the next page is requested while the caller works on one.

    Decodes Temporal's answers itself: the client's own objects cost more than everything else of a long list.

    Raises:
        RPCError: Temporal does not answer.
    """

    async def page(token: bytes) -> ListWorkflowExecutionsResponse:
        request = ListWorkflowExecutionsRequest(
            namespace=client.namespace, query=query, page_size=_PAGE, next_page_token=token
        )
        return await client.workflow_service.list_workflow_executions(request, retry=True)

    next_page: asyncio.Task[ListWorkflowExecutionsResponse] | None = asyncio.create_task(page(b""))
    try:
        while next_page is not None:
            answer = await next_page
            next_page = asyncio.create_task(page(answer.next_page_token)) if answer.next_page_token else None
            # Lets the request be sent.
            await asyncio.sleep(0)
            yield [_listed(info) for info in answer.executions if "item" in info.memo.fields]
    finally:
        if next_page is not None:
            next_page.cancel()


def _listed(info: WorkflowExecutionInfo) -> ListedItem:
    return ListedItem(
        id=info.execution.workflow_id,
        started=info.start_time.ToDatetime(UTC),
        running=info.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
        item=_decoder().decode(info.memo.fields["item"].data),
    )


async def item_from_memo(described: WorkflowExecution) -> Item | None:
    """Returns the item that a workflow's memo holds; None for a workflow without one."""
    from mesh.remediation.item import Item  # noqa: PLC0415  as in _decoder

    memo: dict[str, Any] | None = await described.memo_value("item", None, type_hint=dict)
    return msgspec.convert(memo, Item) if memo is not None else None
