"""Watches of the Kubernetes API: lists that are streamed, and changes without end.

A streamed list (WatchList) sends each object as a record of its own and a bookmark when it has sent all of them, so
that a connection that was cut can never look like a short list. Memory is needed for what is kept, never for what is
read. Servers that do not offer it are read in pages. Source: kubernetes/enhancements, KEP-3157.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from activities.kube.client import ClusterClient, Params
from activities.kube.discovery import serves_kind
from activities.kube.meta_v1 import ListPage, PartialObjectMetadata
from activities.kube.paths import path
from activities.kube.retries import with_retries
from activities.kube.watch_events import HasMetadata, ObjectChange, accepted_encoding, record_decoder
from mesh.errors import ExpiredError, PermissionDeniedError, RejectedError, UnreachableError
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Metadata

T = TypeVar("T", bound=HasMetadata)
K = TypeVar("K")

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"
#: The server ends a stream after this long: far more than a list takes, and no connection is left behind.
_STREAM_SECONDS = 900
#: Parameters of a watch that begins with every object.
WATCH_LIST: Params = {
    "watch": True,
    "sendInitialEvents": True,
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": True,
    "timeoutSeconds": _STREAM_SECONDS,
}
#: Parameters of a watch that begins at a resource version.
_WATCH: Params = {"watch": True, "allowWatchBookmarks": True, "timeoutSeconds": _STREAM_SECONDS}
#: Seconds without a byte after which a list counts as cut; and a watch, which gets a bookmark every minute.
_LIST_SILENCE_SECONDS = 60.0
_WATCH_SILENCE_SECONDS = 180.0
#: Seconds before a watch that ended is resumed.
_RESUME_SECONDS = 1.0
#: Tries of a list whose stream expired.
_LIST_TRIES = 5
#: The kinds that decide about workloads: their Pods, themselves, labels of namespaces, budgets.
_DECISIVE_KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "Namespace", "PodDisruptionBudget")


@dataclass(frozen=True, slots=True)
class RelistStarted:
    """Every object is sent again: one that is not sent before the next Synced is deleted."""


@dataclass(frozen=True, slots=True)
class Synced:
    """Every object and change up to this resource version has been sent: the list's end, or a bookmark."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """Which object changed."""

    kind: str
    namespace: str
    name: str


async def list_streamed(
    client: ClusterClient,
    collection: str,
    kind: type[T],
    transform: Callable[[T], K | None],
    params: Params | None = None,
) -> tuple[list[K], str]:
    """Lists what `transform` makes of each object, None left out, and the one resource version they were read at.

    `transform` may be called again for an object that was read before: after trouble the list begins again.

    Raises:
        UnreachableError: the list was cut, or expired, at every try. PermissionDeniedError, RejectedError, ...
    """
    for _ in range(_LIST_TRIES):
        try:
            return await with_retries(lambda: _list_by_watch(client, collection, kind, transform, params or {}))
        except ExpiredError:
            continue
        except (RejectedError, PermissionDeniedError):
            # Without the feature the server refuses the parameters; a user may be permitted to list and not to
            # watch. A wrong request, or one without any permission, is refused by the list as well.
            return await client.list_transformed(collection, kind, transform, params)
    raise UnreachableError(f"{collection} cannot be read: every stream was too old before it began.")


async def _list_by_watch(
    client: ClusterClient, collection: str, kind: type[T], transform: Callable[[T], K | None], params: Params
) -> tuple[list[K], str]:
    results: dict[str, K] = {}
    async with aclosing(_stream(client, collection, kind, {**params, **WATCH_LIST}, _LIST_SILENCE_SECONDS)) as changes:
        async for change in changes:
            if isinstance(change, Synced):
                return list(results.values()), change.resource_version
            result = None if change.deleted else transform(change.object)
            uid = change.object.metadata.uid
            if result is not None:
                results[uid] = result
            else:
                results.pop(uid, None)
    raise UnreachableError(f"The stream of {collection} ended before everything was sent.")


def watch_objects(
    client: ClusterClient, collection: str, kind: type[T]
) -> AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]:
    """Yields every object, then every change, without end. After trouble it resumes, or lists again.

    Raises:
        PermissionDeniedError, NotFoundError: the kind may not be watched, or does not exist.
    """
    return _watch(client, collection, kind, _relist)


async def watch_changes(
    client: ClusterClient, on_change: Callable[[ObjectReference], None], on_started: Callable[[], None]
) -> None:
    """Calls `on_change` for every change of a Pod, a workload or what decides about them. Never returns.

    `on_started` is called once it is certain that no later change is missed. A watch that was cut resumes where it
    was; only changes while a watch was away for so long that it expired are missed.

    Raises:
        ExceptionGroup: of PermissionDeniedError, NotFoundError.
    """
    kinds = (*_DECISIVE_KINDS, ARGO_ROLLOUT) if await serves_kind(client, ARGO_ROLLOUT) else _DECISIVE_KINDS
    unsynced = set(kinds)

    async def watch(kind: str) -> None:
        async with aclosing(_watch(client, path(kind), PartialObjectMetadata, _skip_to_now)) as changes:
            async for change in changes:
                if isinstance(change, ObjectChange):
                    metadata = change.object.metadata
                    on_change(ObjectReference(kind, metadata.namespace, metadata.name))
                elif kind in unsynced:
                    unsynced.remove(kind)
                    if not unsynced:
                        on_started()

    async with asyncio.TaskGroup() as group:
        for kind in kinds:
            group.create_task(watch(kind))


async def _watch(
    client: ClusterClient,
    collection: str,
    kind: type[T],
    begin: Callable[[ClusterClient, str, type[T]], AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]],
) -> AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]:
    """Watches without end: from the last resource version where there is one, else as `begin` does."""
    version = ""
    authorised = True
    while True:
        stream = _resume(client, collection, kind, version) if version else begin(client, collection, kind)
        pause = _RESUME_SECONDS
        try:
            async with aclosing(stream) as changes:
                async for change in changes:
                    # A RelistStarted says nothing: the server was not asked yet.
                    authorised = authorised or not isinstance(change, RelistStarted)
                    if isinstance(change, Synced):
                        version = change.resource_version
                    elif version and isinstance(change, ObjectChange):
                        version = change.object.metadata.resource_version
                    yield change
        except ExpiredError:
            version = ""
        except PermissionDeniedError as error:
            # An expired token is renewed after its refusal: only the second refusal in a row counts.
            if error.status != 401 or not authorised:
                raise
            authorised = False
        except UnreachableError as error:
            pause = max(pause, error.retry_after or 0)
        # Also after an end that looks like any other: a proxy on the way may end every stream at once.
        await asyncio.sleep(pause)


async def _relist(
    client: ClusterClient, collection: str, kind: type[T]
) -> AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]:
    """Begins a watch with every object."""
    yield RelistStarted()
    try:
        async with aclosing(_stream(client, collection, kind, WATCH_LIST, _WATCH_SILENCE_SECONDS)) as changes:
            async for change in changes:
                yield change
    except RejectedError:
        # Without the feature the server refuses the parameters.
        objects, version = await client.list_all(collection, kind)
        for found in objects:
            yield ObjectChange(found)
        yield Synced(version)


async def _skip_to_now(
    client: ClusterClient, collection: str, kind: type[T]
) -> AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]:
    """Begins a watch with the next change: a list of one item tells the resource version to begin at."""
    version = (await client.get(collection, ListPage, {"limit": 1})).metadata.resource_version
    yield Synced(version)
    async with aclosing(_resume(client, collection, kind, version)) as changes:
        async for change in changes:
            yield change


def _resume(
    client: ClusterClient, collection: str, kind: type[T], version: str
) -> AsyncGenerator[ObjectChange[T] | Synced]:
    return _stream(client, collection, kind, {**_WATCH, "resourceVersion": version}, _WATCH_SILENCE_SECONDS)


async def _stream(
    client: ClusterClient, collection: str, kind: type[T], params: Params, silence_seconds: float
) -> AsyncGenerator[ObjectChange[T] | Synced]:
    """One stream, until it ends. The bookmark that ends the initial events, and every later one, is a Synced."""
    decode = record_decoder(kind, collection)
    initial = "sendInitialEvents" in params
    records = client.watch_records(collection, params, silence_seconds, accepted_encoding(kind))
    async with aclosing(records):
        async for record in records:
            decoded = decode(record)
            if isinstance(decoded, Metadata):
                initial = initial and decoded.annotation(_INITIAL_EVENTS_END) != "true"
                if not initial:
                    yield Synced(decoded.resource_version)
            else:
                yield decoded
