"""Everything of one kind, read as a stream: memory for what is kept, never for what is read.

A WatchList sends each object as a line of its own and a bookmark when it has sent all of them, so that a connection
that was cut can never look like a short list. Servers that do not offer it are read in pages.
Source: kubernetes/enhancements, KEP-3157.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from activities.kube import protobuf
from activities.kube.client import (
    ClusterClient,
    Params,
    PartialObjectMetadata,
    event_of,
    status_of,
    translated,
    unreadable,
    with_retries,
)
from activities.kube.framing import is_frame
from mesh.errors import ExpiredError, PermissionDeniedError, RejectedError, UnreachableError
from mesh.k8s.objects import Metadata, Pod


class HasMetadata(Protocol):
    """Whatever has metadata."""

    @property
    def metadata(self) -> Metadata:
        """Its `ObjectMeta`."""
        ...


T = TypeVar("T", bound=HasMetadata)
K = TypeVar("K")

_END = "k8s.io/initial-events-end"
_SILENCE_SECONDS = 60.0
#: The server ends the stream after this long: far more than a reading takes, and no connection is left behind.
_STREAM_SECONDS = 900
#: What makes a watch begin with everything that is there.
WATCH_LIST: Params = {
    "watch": True,
    "sendInitialEvents": True,
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": True,
    "timeoutSeconds": _STREAM_SECONDS,
}
#: The same for what is followed on from a version.
_WATCH: Params = {"watch": True, "allowWatchBookmarks": True, "timeoutSeconds": _STREAM_SECONDS}
#: Bookmarks come every minute.
_WATCH_SILENCE_SECONDS = 180.0
#: Seconds before a stream that ended is taken up again.
_AGAIN_SECONDS = 1.0
#: A stream that is too old starts anew this often before it is an error.
_STARTS = 5


class _Delta(msgspec.Struct, Generic[T], frozen=True):
    """One line, decoded in one go."""

    type: str
    object: T


@dataclass(frozen=True, slots=True)
class ObjectChange(Generic[T]):
    """An object as it is now, or as it was last when it is `deleted`."""

    object: T
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class RelistStarted:
    """Everything is being sent anew: what does not come before the next Complete is not there any more."""


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything there was at this resource version has been sent."""

    resource_version: str


async def list_streamed(
    cluster: ClusterClient, path: str, kind: type[T], keep: Callable[[T], K | None], params: Params | None = None
) -> tuple[list[K], str]:
    """What `keep` makes of every object, and the one resource version they were read at; None is left out.

    `keep` may be called again for an object that was read before: after trouble the reading starts anew.
    """
    for _ in range(_STARTS):
        try:
            return await with_retries(lambda: _stream(cluster, path, kind, keep, params or {}))
        except ExpiredError:
            continue
        except (RejectedError, PermissionDeniedError):
            # Without the feature the server refuses the parameters; a person may have the right to list and not to
            # watch. A wrong request, or one without any right, is refused by the list as well.
            return await cluster.list_transformed(path, kind, keep, params)
    raise UnreachableError(f"{path} cannot be read: every stream was too old before it began.")


async def _stream(
    cluster: ClusterClient, path: str, kind: type[T], keep: Callable[[T], K | None], params: Params
) -> tuple[list[K], str]:
    kept: dict[str, K] = {}
    asked = {**params, **WATCH_LIST}
    async with contextlib.aclosing(_changes(cluster, path, kind, asked, _SILENCE_SECONDS)) as changes:
        async for change in changes:
            if isinstance(change, Synced):
                return list(kept.values()), change.resource_version
            if isinstance(change, ObjectChange):
                one = None if change.deleted else keep(change.object)
                uid = change.object.metadata.uid
                if one is not None:
                    kept[uid] = one
                else:
                    kept.pop(uid, None)
    raise UnreachableError(f"The stream of {path} ended before everything was sent.")


async def watch_objects(
    cluster: ClusterClient, path: str, kind: type[T]
) -> AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]:
    """Everything there is, and then every change, without end. After trouble it goes on, or begins anew.

    Raises:
        PermissionDeniedError, NotFoundError: it may not be followed, or there is no such kind.
    """
    version = ""
    known = True
    while True:
        stream = _onward(cluster, path, kind, version) if version else _afresh(cluster, path, kind)
        pause = _AGAIN_SECONDS
        try:
            async with contextlib.aclosing(stream) as changes:
                async for change in changes:
                    # That it begins says nothing: the server was not asked yet.
                    known = known or not isinstance(change, RelistStarted)
                    if isinstance(change, Synced):
                        version = change.resource_version
                    elif version and isinstance(change, ObjectChange):
                        version = change.object.metadata.resource_version
                    yield change
        except ExpiredError:
            version = ""
        except PermissionDeniedError as error:
            # A token that has run out is renewed after its refusal: only the second one in a row counts.
            if error.status != 401 or not known:
                raise
            known = False
        except UnreachableError as error:
            pause = max(pause, error.retry_after or 0)
        # Also after an end that looks like any other: something on the way may end every stream at once.
        await asyncio.sleep(pause)


async def _afresh(
    cluster: ClusterClient, path: str, kind: type[T]
) -> AsyncGenerator[ObjectChange[T] | RelistStarted | Synced]:
    yield RelistStarted()
    try:
        async with contextlib.aclosing(_changes(cluster, path, kind, WATCH_LIST, _WATCH_SILENCE_SECONDS)) as changes:
            async for change in changes:
                yield change
    except RejectedError:
        # Without the feature the server refuses the parameters.
        found, version = await cluster.list_all(path, kind)
        for one in found:
            yield ObjectChange(one)
        yield Synced(version)


def _onward(cluster: ClusterClient, path: str, kind: type[T], version: str) -> AsyncGenerator[ObjectChange[T] | Synced]:
    return _changes(cluster, path, kind, {**_WATCH, "resourceVersion": version}, _WATCH_SILENCE_SECONDS)


async def _changes(
    cluster: ClusterClient, path: str, kind: type[T], params: Params, silence: float
) -> AsyncGenerator[ObjectChange[T] | Synced]:
    """One stream. The bookmark that ends the beginning, and every later one, is a Complete."""
    decoder: msgspec.json.Decoder[_Delta[T]] = msgspec.json.Decoder(_Delta[kind])  # type: ignore[valid-type]
    begun = "sendInitialEvents" not in params
    # Pods are many and large, and the API server writes JSON on one core, each object twice.
    records = cluster.records(path, params, silence, protobuf=kind is Pod)
    async with contextlib.aclosing(records):
        async for record in records:
            found = _of_frame(record, path) if is_frame(record) else _of_line(record, decoder, path)
            if isinstance(found, Metadata):
                begun = begun or found.annotation(_END) == "true"
                if begun:
                    yield Synced(found.resource_version)
            else:
                yield found


def _of_line(line: bytes, decoder: msgspec.json.Decoder[_Delta[T]], path: str) -> ObjectChange[T] | Metadata:
    """A change, or what a bookmark says."""
    try:
        delta = decoder.decode(line)
    except msgspec.DecodeError:
        # Bookmarks and errors are not of the kind: the objects in them lack what it must have. Below it is told what
        # is no event at all.
        delta = None
    if delta is not None and delta.type not in ("BOOKMARK", "ERROR"):
        return ObjectChange(delta.object, deleted=delta.type == "DELETED")
    event = event_of(line, path)
    if event.type != "BOOKMARK":
        raise unreadable(event.object, path)
    return msgspec.json.decode(event.object, type=PartialObjectMetadata).metadata


def _of_frame(frame: bytes, path: str) -> ObjectChange[Any] | Metadata:
    """The same; only Pods are asked for in frames."""
    try:
        kind, sent = protobuf.event(frame)
        if kind == "BOOKMARK":
            return protobuf.metadata(sent)
        if kind == "ERROR":
            status = status_of(sent)
            raise translated(status.code, status, "GET", path)
        return ObjectChange(protobuf.pod(sent), deleted=kind == "DELETED")
    except DecodeError as error:
        raise UnreachableError(f"The stream of {path} cannot be read: {error}.") from error
