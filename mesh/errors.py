"""The errors of this product: what went wrong, whether a retry helps, and who must act.

UpgradeError
├── RefusedError        bad input, found before anything was changed; the caller must change the request
├── ConflictError       another upgrade owns the cluster; the caller must wait or attach to it
├── ClusterError        the cluster refused, or its answer is of no use
│   ├── PermissionDeniedError   a right is missing; an operator must grant it
│   ├── NotFoundError           the object does not exist
│   ├── ChangedMeanwhileError   a write lost against another (HTTP 409); read again
│   ├── ExpiredError            the list or watch is too old (HTTP 410); start again
│   └── RejectedError           admission or validation refused the object
└── UnreachableError    no answer, or the server is overloaded; a retry helps

Litmus tests: would the same call succeed later without anyone acting? `UnreachableError`. Would it after
re-reading? `ChangedMeanwhileError` or `ExpiredError`. Must the caller request something else? `RefusedError`.
"""

from __future__ import annotations

#: Most characters of a message or remedy.
MESSAGE_LIMIT = 2000


class UpgradeError(Exception):
    """Root of the tree. `message` says what is wrong, `remedy` what to do, one sentence each.

    Both are shortened to MESSAGE_LIMIT, since they go into Temporal's histories: an API server may quote the whole
    object that it refuses, and a permission may be missing in every namespace.
    """

    retryable = False

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = _shorten(message)
        self.remedy = _shorten(remedy)
        super().__init__(self.message)

    def sentence(self) -> str:
        """Returns message and remedy as one line."""
        return f"{self.message} {self.remedy}".strip()


def _shorten(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


class RefusedError(UpgradeError):
    """Bad input, refused before anything was changed."""


class ConflictError(UpgradeError):
    """Another upgrade owns the cluster."""


class ClusterError(UpgradeError):
    """The cluster refused, or its answer is of no use. `status` is the HTTP status, 0 when there is none."""

    def __init__(self, message: str, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy)
        self.status = status


class PermissionDeniedError(ClusterError):
    """HTTP 401 or 403 of the API server's own authorisation."""


class NotFoundError(ClusterError):
    """HTTP 404."""


class ChangedMeanwhileError(ClusterError):
    """HTTP 409: the object was changed after this service read it and before it wrote."""

    retryable = True


class ExpiredError(ClusterError):
    """HTTP 410: a continue token or resource version is too old."""

    retryable = True


class RejectedError(ClusterError):
    """HTTP 400, 403 by admission, or 422: the object itself is refused."""


class UnreachableError(UpgradeError):
    """No answer, or HTTP 429 or 5xx. `retry_after` are the seconds after which the server asks to retry, if it does."""

    retryable = True
    retry_after: float | None = None
