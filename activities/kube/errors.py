"""Turns refusals of the API server into the errors of `mesh.errors`."""

from __future__ import annotations

import aiohttp
import msgspec
from google.protobuf.message import DecodeError

from activities.kube import protobuf
from activities.kube.meta_v1 import Status
from mesh.errors import (
    ChangedMeanwhileError,
    ClusterError,
    ExpiredError,
    NotFoundError,
    PermissionDeniedError,
    RejectedError,
    UnreachableError,
    UpgradeError,
)

#: Characters of an answer that is no Status, such as a proxy's page.
_QUOTED = 200


def error_of_response(response: aiohttp.ClientResponse, content: bytes, request: str) -> UpgradeError:
    """The error that an answer with an HTTP status of 400 or more means; `request` is its method and path."""
    try:
        if response.content_type == protobuf.MEDIA_TYPE:
            status = protobuf.decode_status(content)
        else:
            status = msgspec.json.decode(content, type=Status)
    except (msgspec.DecodeError, DecodeError):
        status = Status(message=content[:_QUOTED].decode(errors="replace"))
    error = error_of_status(status, response.status, request)
    if isinstance(error, UnreachableError):
        error.retry_after = _seconds(response.headers.get("Retry-After"))
    return error


def error_of_status(status: Status, code: int, request: str) -> UpgradeError:
    """The error that a Status with this HTTP status code means; `request` is its method and path."""
    message = f"{request}: {status.message or f'HTTP {code}'}"
    if code == 401:
        return PermissionDeniedError(
            f"The cluster does not know these credentials ({message}).", "Renew them, or use another context.", code
        )
    if code == 403:
        # Admission answers 403 as well; only the authoriser says who cannot do what.
        if " cannot " in status.message:
            return PermissionDeniedError(
                f"A permission is missing: {status.message}.", "Grant it, see deploy/rbac.yaml.", 403
            )
        return RejectedError(message, status=code)
    if code in (400, 422):
        return RejectedError(message, status=code)
    if code == 404:
        return NotFoundError(message, status=code)
    if code == 409:
        return ChangedMeanwhileError(message, status=code)
    if code == 410:
        return ExpiredError(message, status=code)
    if code == 429 or code >= 500:
        return UnreachableError(f"The API server is overloaded or unavailable ({code}): {message}.")
    return ClusterError(message, status=code)


def _seconds(header: str | None) -> float | None:
    """The value of a Retry-After header, for which the API server sends whole seconds."""
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
