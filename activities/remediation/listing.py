"""Remediation items as Temporal's list shows them: without any worker, and a moment late."""

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

#: As many as Temporal gives. The items' memos come along, up to 8 kB each, and the client takes answers of 128 MB.
_PAGE = 1000


@cache
def _decoder() -> msgspec.json.Decoder[Item]:
    # A tenth of a second for a command, which is spent while Temporal works on the list.
    from mesh.remediation.item import Item  # noqa: PLC0415

    return msgspec.json.Decoder(Item)


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One run of an item."""

    id: str
    started: datetime
    running: bool
    item: Item


def items_query(cluster: str, *, running: bool = True, namespaces: Collection[str] = ()) -> str:
    """Temporal's list of the items of a cluster: those that are not closed for good, or all; in these namespaces."""
    query = f'WorkflowId STARTS_WITH "{items_prefix(cluster)}"'
    if running:
        query += ' AND ExecutionStatus = "Running"'
    if namespaces:
        query += f" AND {NAMESPACE.name} IN ({', '.join(_quoted(one) for one in namespaces)})"
    return query


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def list_items(client: Client, cluster: str) -> list[ListedItem]:
    """All items of a cluster that run.

    Raises:
        RPCError: Temporal does not answer.
    """
    return [one async for page in item_pages(client, items_query(cluster)) for one in page]


async def item_pages(client: Client, query: str) -> AsyncGenerator[list[ListedItem]]:
    """The items that a query finds; each page is on its way while whoever asks works on the one before.

    The answers are taken as they come over the wire: Temporal's own objects cost more than all else of a long list.

    Raises:
        RPCError: Temporal does not answer.
    """

    async def page(token: bytes) -> ListWorkflowExecutionsResponse:
        ask = ListWorkflowExecutionsRequest(
            namespace=client.namespace, query=query, page_size=_PAGE, next_page_token=token
        )
        return await client.workflow_service.list_workflow_executions(ask, retry=True)

    coming: asyncio.Task[ListWorkflowExecutionsResponse] | None = asyncio.create_task(page(b""))
    try:
        while coming is not None:
            answer = await coming
            coming = asyncio.create_task(page(answer.next_page_token)) if answer.next_page_token else None
            # Lets it be sent.
            await asyncio.sleep(0)
            yield [_listed(one) for one in answer.executions if "item" in one.memo.fields]
    finally:
        if coming is not None:
            coming.cancel()


def _listed(one: WorkflowExecutionInfo) -> ListedItem:
    return ListedItem(
        id=one.execution.workflow_id,
        started=one.start_time.ToDatetime(UTC),
        running=one.status == WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING,
        item=_decoder().decode(one.memo.fields["item"].data),
    )


async def item_from_memo(described: WorkflowExecution) -> Item | None:
    """What its memo tells; None for a workflow that has none."""
    from mesh.remediation.item import Item  # noqa: PLC0415  as in _decoder

    memo: dict[str, Any] | None = await described.memo_value("item", None, type_hint=dict)
    return msgspec.convert(memo, Item) if memo is not None else None
