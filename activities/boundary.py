"""The edge between activities and Temporal: which cluster, and errors in Temporal's own words."""

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

_BEAT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Served:
    """The cluster that this worker serves, and who it is."""

    cluster: ClusterClient
    ref: ClusterRef

    def of(self, ref: ClusterRef) -> ClusterClient:
        """The connection, for a caller that means this very cluster; anybody else is refused."""
        if ref != self.ref:
            raise ApplicationError(
                f"This worker serves cluster {self.ref.name} ({self.ref.uid}), not {ref.name} ({ref.uid}). "
                "Two API servers go by one name: give one of them another with --cluster.",
                type="WrongClusterError",
                non_retryable=True,
            )
        return self.cluster


def translated(
    method: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Our errors as ApplicationErrors: the class's name is the type, and its retryability goes along."""

    @functools.wraps(method)
    async def edge(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with _translation():
            return await method(self, *args, **kwargs)

    # wraps() keeps what Temporal reads (name, annotations) and loses the precise type.
    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, R]]", edge)


def heartbeating(
    method: Callable[Concatenate[S, P], Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """`translated`, for activities of seconds or minutes: beats while they run, so that a killed worker is noticed.

    A hanging one is ended by its start-to-close time-out. Activities that wait for the cluster beat by themselves, at
    every look.
    """

    @functools.wraps(method)
    async def edge(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        heart = asyncio.create_task(_beat())
        try:
            with _translation():
                return await method(self, *args, **kwargs)
        finally:
            heart.cancel()

    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, R]]", edge)


@contextlib.contextmanager
def _translation() -> Iterator[None]:
    try:
        yield
    except UpgradeError as error:
        raise _told(error) from error
    except ExceptionGroup as group:
        # Of several things at once: the first that failed ended the others.
        known = group.subgroup(UpgradeError)
        if known is None:
            raise
        raise _told(_leaf(known)) from group


def _told(error: UpgradeError) -> ApplicationError:
    return ApplicationError(error.sentence(), type=type(error).__name__, non_retryable=not error.retryable)


def _leaf(group: ExceptionGroup[UpgradeError]) -> UpgradeError:
    first = group.exceptions[0]
    return _leaf(first) if isinstance(first, ExceptionGroup) else first


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_BEAT_SECONDS)
