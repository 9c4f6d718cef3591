"""Failures of steps and waves: the sentence that people read, and whether the upgrade itself was cancelled."""

from __future__ import annotations

from mesh.errors import RefusedError
from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TimeoutType,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as NoAnswerError

#: How the reason of a pause by an operator begins.
PAUSED_BY = "paused by "
NO_WORKER = "no worker serves this cluster; the upgrade continues by itself once one does"


def no_worker_polled(error: BaseException) -> bool:
    """Whether the activity timed out before any worker took it from its task queue."""
    cause = error.cause if isinstance(error, ActivityError) else None
    return isinstance(cause, NoAnswerError) and cause.type is TimeoutType.SCHEDULE_TO_START


def failure_message(error: BaseException) -> str:
    """Returns the innermost message of a failure."""
    if no_worker_polled(error):
        return NO_WORKER
    cause: BaseException = error
    while isinstance(cause, ActivityError | ChildWorkflowError) and cause.cause is not None:
        cause = cause.cause
    return cause.message if isinstance(cause, ApplicationError) else str(cause)


def refusal(message: str) -> ApplicationError:
    """Returns the error that answers an operator's command with a refusal."""
    return ApplicationError(message, type=RefusedError.__name__)


def workflow_is_cancelled(error: BaseException) -> bool:
    """Whether the error comes from the cancellation of this workflow.

    A single wave or activity that was cancelled by hand is trouble like any other.
    """
    return is_cancelled_exception(error) and workflow.cancellation_reason() is not None
