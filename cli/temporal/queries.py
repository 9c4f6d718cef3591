"""Questions to a workflow, which only a worker can answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle

T = TypeVar("T")

#: A query waits for a worker; without one this long is enough to know.
_QUERY_WITHIN = timedelta(seconds=5)


async def ask_worker(handle: WorkflowHandle[Any, Any], query: str, answer: type[T]) -> T | None:
    """None when no worker answers, or none that knows this workflow's history.

    Raises:
        RPCError: Temporal itself does not answer.
    """
    from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
    from temporalio.service import RPCError, RPCStatusCode

    try:
        told: T | None = await handle.query(query, result_type=answer, rpc_timeout=_QUERY_WITHIN)
    except (WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.UNAVAILABLE:
            raise
        return None
    return told
