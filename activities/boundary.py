"""The boundary between activities and Temporal: the cluster that a worker serves, errors, heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.kube.client import ClusterClient
from mesh.errors import UpgradeError
from mesh.identity import ClusterRef

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_HEARTBEAT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class ServedCluster:
    """The cluster that this worker serves: the connection, with the name and UID that identify it."""

    cluster: ClusterClient
    ref: ClusterRef

    def connection_for(self, ref: ClusterRef) -> ClusterClient:
        """Returns the connection for a caller that means this very cluster.

        Raises:
            ApplicationError: the caller means another cluster; retries cannot help.
        """
        if ref != self.ref:
            raise ApplicationError(
                f"This worker serves cluster {self.ref.name} ({self.ref.uid}), not {ref.name} ({ref.uid}). "
                "Two API servers have the same name: rename one of them with --cluster.",
                type="WrongClusterError",
                non_retryable=True,
            )
        return self.cluster


def translating_errors(
    method: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Decorates an activity: an UpgradeError leaves it as an ApplicationError.

    The type is the name of the error's class; a retry follows only where the class says that one can help.
    """

    @functools.wraps(method)
    async def wrapper(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with _errors_translated():
            return await method(self, *args, **kwargs)

    # wraps() keeps what Temporal reads (name, annotations) and loses the precise type.
    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, R]]", wrapper)


def heartbeating(
    method: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Decorates an activity that takes seconds or minutes: heartbeats while it runs, and `translating_errors`.

    Heartbeats tell the server that the worker is alive. An activity that hangs is ended by its start-to-close timeout.
    Activities that wait for the cluster send heartbeats by themselves, with what they wait for.
    """

    @functools.wraps(method)
    async def wrapper(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        heartbeats = asyncio.create_task(_send_heartbeats())
        try:
            with _errors_translated():
                return await method(self, *args, **kwargs)
        finally:
            heartbeats.cancel()

    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, R]]", wrapper)


@contextlib.contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except UpgradeError as error:
        raise _to_application_error(error) from error
    except ExceptionGroup as group:
        # The first task of a group that fails ends the others.
        ours = group.subgroup(UpgradeError)
        if ours is None:
            raise
        raise _to_application_error(_first_leaf(ours)) from group


def _to_application_error(error: UpgradeError) -> ApplicationError:
    return ApplicationError(error.sentence(), type=type(error).__name__, non_retryable=not error.retryable)


def _first_leaf(group: ExceptionGroup[UpgradeError]) -> UpgradeError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, ExceptionGroup) else first


async def _send_heartbeats() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_HEARTBEAT_SECONDS)
