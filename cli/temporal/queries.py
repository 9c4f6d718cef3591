"""Queries to workflows, which only a worker can answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import WorkflowHandle, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

T = TypeVar("T")

#: A query waits for a worker; a worker that runs answers within this time.
_QUERY_WITHIN = timedelta(seconds=5)


async def query_worker(handle: WorkflowHandle[Any, Any], query: str, result_type: type[T]) -> T | None:
    """Returns a worker's answer; None if no worker answers, or none that can replay this workflow.

    Raises:
        RPCError: Temporal itself does not answer.
    """
    try:
        answer: T | None = await handle.query(query, result_type=result_type, rpc_timeout=_QUERY_WITHIN)
    except (WorkflowQueryFailedError, WorkflowQueryRejectedError):
        return None
    except RPCError as error:
        if error.status is RPCStatusCode.UNAVAILABLE:
            raise
        return None
    return answer
