"""What Temporal keeps of a workflow: its history. Read without a worker, page by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from mesh.text import rfc3339

if TYPE_CHECKING:
    from temporalio.api.common.v1 import Payloads
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.client import Client, WorkflowHistoryEventAsyncIterator

T = TypeVar("T")


def events_of(
    client: Client, workflow_id: str, run_id: str, page_size: int | None = None
) -> WorkflowHistoryEventAsyncIterator:
    """The events of one run, the first one first."""
    return client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(page_size=page_size)


def told_by(event: HistoryEvent) -> tuple[str, Any]:
    """An event's sort, as `activity_task_completed`, and its attributes."""
    name = event.WhichOneof("attributes") or ""
    return name.removesuffix("_event_attributes"), getattr(event, name) if name else None


def time_of(event: HistoryEvent) -> str:
    """When the server took it, as RFC 3339."""
    moment: datetime = event.event_time.ToDatetime(tzinfo=UTC)
    return rfc3339(moment)


async def decoded(client: Client, payloads: Payloads, kind: type[T]) -> T:
    """The one value that they hold, through whatever codec the client has."""
    [value] = await client.data_converter.decode(payloads.payloads, [kind])
    found: T = value
    return found


def is_gone(error: Exception) -> bool:
    """Whether Temporal does not keep this history any more."""
    from temporalio.service import RPCError

    from cli.temporal.session import is_absent

    return isinstance(error, RPCError) and is_absent(error)
