"""Exit codes (docs/reference/commands.md), and which error ends a command with which code."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from mesh import errors

DONE = 0
FAILED = 1
USAGE = 2
ITEMS_OPEN = 3
NEEDS_OPERATOR = 4
TIMED_OUT = 5
CONFLICT = 6
UNREACHABLE = 7
INTERRUPTED = 130

#: By name: errors are raised as classes here, and come out of Temporal as the names of these classes.
_CODES = {
    "RefusedError": USAGE,
    "PermissionDeniedError": USAGE,
    "WrongClusterError": USAGE,
    "ConflictError": CONFLICT,
    "UnreachableError": UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """The exit code of an error and its sentences: what is wrong, and what to do."""

    code: int
    message: str
    remedy: str = ""
    unexpected: bool = False


def code_of(type_name: str | None) -> int:
    """Returns the exit code of an error type; 1 for types that are not listed."""
    return _CODES.get(type_name or "", FAILED)


def failure_of(error: BaseException) -> Failure:
    """Returns the exit code and the sentences of any exception."""
    if isinstance(error, errors.UpgradeError):
        return Failure(code_of(type(error).__name__), error.message, error.remedy)
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return failure_of(error.exceptions[0])
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failure(FAILED, "The output cannot be written: no space left on device.")
    # Compared by name: `isinstance` would need an import of Temporal's client, which `scan` works without.
    name, cause = type(error).__name__, getattr(error, "cause", None)
    if name == "RPCError":
        return _rpc_failure(error)
    if name in ("WorkflowUpdateFailedError", "WorkflowFailureError") and cause is not None:
        # The workflow's own sentence, and the type of its error there.
        return Failure(code_of(getattr(cause, "type", None)), str(getattr(cause, "message", cause)))
    return Failure(FAILED, f"{type(error).__name__}: {_first_line(error)}.", unexpected=True)


def accepted(code: int, ok: tuple[int, ...]) -> int:
    """Returns the exit code after `--ok`: 0 for each code that the caller accepts."""
    return DONE if code in ok else code


def _rpc_failure(error: BaseException) -> Failure:
    status = getattr(getattr(error, "status", None), "name", "")
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
        return Failure(
            UNREACHABLE, "Temporal stopped answering.", "Check the Temporal server, then run the command again."
        )
    if status == "NOT_FOUND":
        return Failure(
            USAGE, f"Temporal does not find it: {_first_line(error)}.", "Check --namespace and TEMPORAL_NAMESPACE."
        )
    if status in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return Failure(
            USAGE,
            f"Temporal refuses these credentials: {_first_line(error)}.",
            "Check TEMPORAL_* and Temporal's profiles.",
        )
    return Failure(FAILED, f"Temporal refused the request: {_first_line(error)}.", unexpected=True)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
