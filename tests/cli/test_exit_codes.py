import errno

import pytest
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from cli.exit_codes import CONFLICT, FAILED, UNREACHABLE, USAGE, failure_of
from cli.temporal.session import is_absent
from mesh import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.RefusedError("m", "r"), USAGE),
        (errors.PermissionDeniedError("m", "r"), USAGE),
        (errors.ConflictError("m", "r"), CONFLICT),
        (errors.UnreachableError("m", "r"), UNREACHABLE),
        (errors.RejectedError("m", "r"), FAILED),
    ],
)
def test_own_error_keeps_its_two_sentences(error: errors.UpgradeError, code: int) -> None:
    failure = failure_of(error)

    assert (failure.code, failure.message, failure.remedy, failure.unexpected) == (code, "m", "r", False)


def test_error_alone_in_a_group_is_shown_as_itself() -> None:
    assert failure_of(ExceptionGroup("g", [errors.ConflictError("m")])).code == CONFLICT


def test_refusal_by_a_workflow_has_the_code_of_its_type() -> None:
    failure = failure_of(WorkflowUpdateFailedError(ApplicationError("another runs", type="ConflictError")))

    assert (failure.code, failure.message) == (CONFLICT, "another runs")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RPCStatusCode.UNAVAILABLE, UNREACHABLE),
        (RPCStatusCode.PERMISSION_DENIED, USAGE),
        (RPCStatusCode.INTERNAL, FAILED),
    ],
)
def test_error_of_temporal_becomes_a_sentence(status: RPCStatusCode, code: int) -> None:
    assert failure_of(RPCError("first\nsecond", status, b"")).code == code


def test_full_disk_is_a_sentence() -> None:
    failure = failure_of(OSError(errno.ENOSPC, "No space left on device"))

    assert (failure.message, failure.unexpected) == ("The output cannot be written: no space left on device.", False)


def test_other_error_is_unexpected_and_one_line() -> None:
    failure = failure_of(KeyError("what"))

    assert failure.code == FAILED
    assert failure.unexpected
    assert "\n" not in failure.message


def test_missing_temporal_namespace_is_named() -> None:
    status = GrpcStatus(code=RPCStatusCode.NOT_FOUND.value, message="Namespace nope is not found.")
    status.details.add().Pack(NamespaceNotFoundFailure(namespace="nope"))
    error = RPCError(status.message, RPCStatusCode.NOT_FOUND, status.SerializeToString())

    with pytest.raises(errors.RefusedError, match=r"The Temporal namespace nope does not exist\."):
        is_absent(error)
