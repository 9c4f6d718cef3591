"""What can go wrong, whether trying again helps, and who must act.

UpgradeError
├── RefusedError        bad input, found before anything was changed; the caller must ask differently
├── ConflictError       another upgrade owns the cluster; the caller must wait or attach to it
├── ClusterError        the cluster said no, or something unusable
│   ├── PermissionDeniedError   a right is missing; an operator must grant it
│   ├── NotFoundError           the object is not there
│   ├── ChangedMeanwhileError   a write lost against another (HTTP 409); read again
│   ├── ExpiredError            the list or watch is too old (HTTP 410); start again
│   └── RejectedError           admission or validation refused the object
└── UnreachableError    nothing answered, or it is overloaded; trying again helps

Litmus tests: would the same call succeed later without anyone acting? `UnreachableError`. Would it after
re-reading? `ChangedMeanwhileError` or `ExpiredError`. Must the caller ask for something else? `RefusedError`.
"""

from __future__ import annotations

#: Characters of a message.
LONGEST = 2000


class UpgradeError(Exception):
    """Root of the tree. `message` says what is wrong, `remedy` what to do, one sentence each.

    Both are cut: an API server may quote the whole object that it refuses, and a right may be missing in every
    namespace. What is told goes into histories and answers.
    """

    retryable = False

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = _cut(message)
        self.remedy = _cut(remedy)
        super().__init__(self.message)

    def sentence(self) -> str:
        """Both sentences as one line."""
        return f"{self.message} {self.remedy}".strip()


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


class RefusedError(UpgradeError):
    """Bad input, refused before anything was changed."""


class ConflictError(UpgradeError):
    """Another upgrade owns the cluster."""


class ClusterError(UpgradeError):
    """The cluster answered, and the answer is of no use. `status` is the HTTP status, 0 when there is none."""

    def __init__(self, message: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy)
        self.status = status


class PermissionDeniedError(ClusterError):
    """HTTP 401 or 403 of the API server's own authorisation."""


class NotFoundError(ClusterError):
    """HTTP 404."""


class ChangedMeanwhileError(ClusterError):
    """HTTP 409: the object was changed between our reading and our writing."""

    retryable = True


class ExpiredError(ClusterError):
    """HTTP 410: a continue token or resource version is too old."""

    retryable = True


class RejectedError(ClusterError):
    """HTTP 400, 403 by admission, or 422: this very object is refused."""


class UnreachableError(UpgradeError):
    """Nothing answered, or it asked for patience (429, 5xx): `retry_after` is for how many seconds, if it said so."""

    retryable = True
    retry_after: float | None = None
