"""Exit codes (docs/reference/commands.md), and which error ends a command with which code."""

from __future__ import annotations

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

#: By name: errors come from here as classes, and out of Temporal as the names that activities gave them.
_CODES = {
    "RefusedError": USAGE,
    "PermissionDeniedError": USAGE,
    "WrongClusterError": USAGE,
    "ConflictError": CONFLICT,
    "UnreachableError": UNREACHABLE,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What to tell and what to exit with."""

    code: int
    message: str
    remedy: str = ""
    unexpected: bool = False


def code_of(type_name: str | None) -> int:
    """The exit code of an error's type; what is not listed has failed."""
    return _CODES.get(type_name or "", FAILED)


def failure_of(error: BaseException) -> Failure:
    """Any exception as sentences and an exit code."""
    if isinstance(error, errors.UpgradeError):
        return Failure(code_of(type(error).__name__), error.message, error.remedy)
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return failure_of(error.exceptions[0])
    # Compared by name: importing Temporal for `isinstance` would cost what --help saves.
    name, cause = type(error).__name__, getattr(error, "cause", None)
    if name == "RPCError":
        return _of_rpc(error)
    if name in ("WorkflowUpdateFailedError", "WorkflowFailureError") and cause is not None:
        # The workflow's own sentence, with the type that its error had there.
        return Failure(code_of(getattr(cause, "type", None)), str(getattr(cause, "message", cause)))
    return Failure(FAILED, f"{type(error).__name__}: {_first_line(error)}.", unexpected=True)


def _of_rpc(error: BaseException) -> Failure:
    status = getattr(getattr(error, "status", None), "name", "")
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
        return Failure(UNREACHABLE, "Temporal does not answer any more.", "Check it, then run the command again.")
    if status == "NOT_FOUND":
        return Failure(
            USAGE, f"Temporal does not have it: {_first_line(error)}.", "Check --namespace and TEMPORAL_NAMESPACE."
        )
    if status in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return Failure(
            USAGE, f"Temporal refuses these credentials: {_first_line(error)}.", "Check TEMPORAL_* and its profiles."
        )
    return Failure(FAILED, f"Temporal refused: {_first_line(error)}.", unexpected=True)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".")
