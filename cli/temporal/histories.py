"""Histories of workflows as Temporal keeps them: read page by page, without a worker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistoryEventAsyncIterator
from temporalio.service import RPCError

from cli.temporal.session import is_absent
from mesh.text import rfc3339

T = TypeVar("T")


def events_of(
    client: Client, workflow_id: str, run_id: str, page_size: int | None = None
) -> WorkflowHistoryEventAsyncIterator:
    """Returns the events of one run, the first one first."""
    return client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(page_size=page_size)


def type_and_attributes(event: HistoryEvent) -> tuple[str, Any]:
    """Returns an event's type, for example `activity_task_completed`, and its attributes."""
    name = event.WhichOneof("attributes") or ""
    return name.removesuffix("_event_attributes"), getattr(event, name) if name else None


def time_of(event: HistoryEvent) -> str:
    """Returns the server's time of the event as RFC 3339."""
    moment: datetime = event.event_time.ToDatetime(tzinfo=UTC)
    return rfc3339(moment)


async def decoded(client: Client, payloads: Payloads, value_type: type[T]) -> T:
    """Decodes the single value in the payloads with the client's codec and converter."""
    [value] = await client.data_converter.decode(payloads.payloads, [value_type])
    result: T = value
    return result


def is_gone(error: Exception) -> bool:
    """Whether Temporal no longer keeps this history."""
    return isinstance(error, RPCError) and is_absent(error)
