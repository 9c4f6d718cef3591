"""Connections that a command needs, and how a command runs: until it is done or somebody interrupts it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cli.exit_codes import INTERRUPTED
from cli.render.output import say
from mesh.errors import RefusedError
from mesh.identity import cluster_name

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.service import RPCError

    from worker.settings import ClusterSettings, Settings

_NO_NAMESPACE = "NamespaceNotFoundFailure"


async def temporal(settings: Settings) -> Client:
    """A connection to Temporal whose core keeps quiet."""
    from worker.temporal_connection import connect, quiet_runtime

    return await connect(settings.temporal, quiet_runtime())


def named_cluster(settings: ClusterSettings) -> str:
    """The cluster's name without a word to the cluster: what Temporal knows can be read while it is away."""
    text = settings.cluster or settings.context
    if not text:
        from activities.kube.kubeconfig import current_context

        text = current_context(settings.kubeconfig)
    if not text:
        raise RefusedError(
            "There is no cluster: no kubeconfig with a current context was found.",
            "Name it with --cluster, or a kubeconfig with --kubeconfig.",
        )
    return cluster_name(text)


def is_absent(error: RPCError) -> bool:
    """Whether Temporal says that this workflow is not there; a namespace that is not there is refused."""
    from temporalio.service import RPCStatusCode

    if error.status is not RPCStatusCode.NOT_FOUND:
        return False
    if any(one.type_url.endswith(_NO_NAMESPACE) for one in error.grpc_status.details):
        raise RefusedError("Temporal has no such namespace.", "Check --namespace and TEMPORAL_NAMESPACE.") from error
    return True


def run(work: Coroutine[Any, Any, int], interrupted: Callable[[], str] = lambda: "Interrupted.") -> int:
    """Runs a command's work. SIGINT and SIGTERM end it with 130 and a message: what was started goes on."""
    # Libraries log what becomes one of our sentences anyway.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_run(work, interrupted))


async def _run(work: Coroutine[Any, Any, int], interrupted: Callable[[], str]) -> int:
    task = asyncio.ensure_future(work)
    told = False

    def interrupt() -> None:
        nonlocal told
        told = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        say(interrupted())
        return INTERRUPTED
