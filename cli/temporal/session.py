"""The connection of a command to Temporal."""

from __future__ import annotations

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from mesh.errors import RefusedError
from worker.settings import Settings
from worker.temporal_connection import connect_client, quiet_runtime


async def connect_temporal(settings: Settings) -> Client:
    """Connects to Temporal; its core logs nothing, since commands print errors as sentences."""
    return await connect_client(settings.temporal, quiet_runtime())


def is_absent(error: RPCError) -> bool:
    """Whether Temporal has no such workflow.

    Raises:
        RefusedError: Temporal has no such namespace.
    """
    if error.status is not RPCStatusCode.NOT_FOUND:
        return False
    failure = NamespaceNotFoundFailure()
    if any(detail.Unpack(failure) for detail in error.grpc_status.details):
        raise RefusedError(
            f"The Temporal namespace {failure.namespace} does not exist.",
            "Check --namespace and TEMPORAL_NAMESPACE.",
        ) from error
    return True
