"""The tree of errors: who may try again."""

from __future__ import annotations

import pytest

from mesh.errors import (
    MESSAGE_LIMIT,
    ChangedMeanwhileError,
    ClusterError,
    ConflictError,
    ExpiredError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    RejectedError,
    UnreachableError,
    UpgradeError,
)


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        (RefusedError, False),
        (ConflictError, False),
        (ClusterError, False),
        (PermissionDeniedError, False),
        (NotFoundError, False),
        (RejectedError, False),
        (ChangedMeanwhileError, True),
        (ExpiredError, True),
        (UnreachableError, True),
    ],
)
def test_error_knows_whether_trying_again_helps(kind: type[UpgradeError], retryable: bool) -> None:
    assert kind("It failed.").retryable is retryable


def test_error_says_what_is_wrong_and_what_to_do() -> None:
    assert RefusedError("It is wrong.", "Fix it.").sentence() == "It is wrong. Fix it."
    assert ClusterError("It is wrong.").sentence() == "It is wrong."


def test_long_message_is_cut() -> None:
    """An API server quotes what it refuses, in the message of the error and of whatever is raised from it."""
    error = RejectedError("x" * 1_000_000, "y" * 1_000_000)

    assert len(error.message) == len(error.remedy) == len(str(error)) == MESSAGE_LIMIT
    assert error.message.endswith("x…")
