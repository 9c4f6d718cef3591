"""Failures of steps and waves: what people are told of them, and which of them are the upgrade's own end."""

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

NO_WORKER = "no worker serves this cluster; it goes on by itself once one does"


def no_worker(error: BaseException) -> bool:
    """Whether nobody has taken an activity up."""
    cause = error.cause if isinstance(error, ActivityError) else None
    return isinstance(cause, NoAnswerError) and cause.type is TimeoutType.SCHEDULE_TO_START


def told(error: BaseException) -> str:
    """The innermost sentence of a failure."""
    if no_worker(error):
        return NO_WORKER
    cause: BaseException = error
    while isinstance(cause, ActivityError | ChildWorkflowError) and cause.cause is not None:
        cause = cause.cause
    return cause.message if isinstance(cause, ApplicationError) else str(cause)


def refused(sentence: str) -> ApplicationError:
    """The answer to an operator's word that cannot be meant, or not now."""
    return ApplicationError(sentence, type=RefusedError.__name__)


def is_our_end(error: BaseException) -> bool:
    """Cancelled with the whole upgrade. A wave or step that was cancelled alone, by hand, is trouble like any other."""
    return is_cancelled_exception(error) and workflow.cancellation_reason() is not None
