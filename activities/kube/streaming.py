"""Everything of one kind, and every change of it, as a stream.

A WatchList sends each object as a line of its own and a bookmark when it has sent all of them, so that a connection
that was cut can never look like a short list. Servers that do not offer it are read in pages.
Source: kubernetes/enhancements, KEP-3157.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec

from activities.kube.client import Bare, Cluster, Params, event_of, unreadable
from mesh.errors import ExpiredError, PermissionDeniedError, RejectedError, UnreachableError
from mesh.objects import Metadata


class Identified(Protocol):
    """Whatever has metadata."""

    @property
    def metadata(self) -> Metadata:
        """Its `ObjectMeta`."""
        ...


T = TypeVar("T", bound=Identified)

_END = "k8s.io/initial-events-end"
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
_SILENCE_SECONDS = 180.0
#: Seconds before a stream that ended is taken up again.
_AGAIN_SECONDS = 1.0


class _Delta(msgspec.Struct, Generic[T], frozen=True):
    """One line, decoded in one go."""

    type: str
    object: T


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """An object as it is now, or as it was last when it is `gone`."""

    object: T
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """Everything is being sent anew: what does not come before the next Complete is not there any more."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Everything there was at this resource version has been sent."""

    resource_version: str


async def follow(cluster: Cluster, path: str, kind: type[T]) -> AsyncGenerator[Change[T] | Begun | Complete]:
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
                    known = known or not isinstance(change, Begun)
                    if isinstance(change, Complete):
                        version = change.resource_version
                    elif version and isinstance(change, Change):
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


async def _afresh(cluster: Cluster, path: str, kind: type[T]) -> AsyncGenerator[Change[T] | Begun | Complete]:
    yield Begun()
    try:
        async with contextlib.aclosing(_changes(cluster, path, kind, WATCH_LIST)) as changes:
            async for change in changes:
                yield change
    except RejectedError:
        # Without the feature the server refuses the parameters.
        found, version = await cluster.list_all(path, kind)
        for one in found:
            yield Change(one)
        yield Complete(version)


def _onward(cluster: Cluster, path: str, kind: type[T], version: str) -> AsyncGenerator[Change[T] | Complete]:
    return _changes(cluster, path, kind, {**_WATCH, "resourceVersion": version})


async def _changes(cluster: Cluster, path: str, kind: type[T], params: Params) -> AsyncGenerator[Change[T] | Complete]:
    """One stream. The bookmark that ends the beginning, and every later one, is a Complete."""
    decoder: msgspec.json.Decoder[_Delta[T]] = msgspec.json.Decoder(_Delta[kind])  # type: ignore[valid-type]
    begun = "sendInitialEvents" not in params
    async with contextlib.aclosing(cluster.lines(path, params, _SILENCE_SECONDS)) as lines:
        async for line in lines:
            try:
                delta = decoder.decode(line)
            except msgspec.DecodeError:
                # Bookmarks and errors are not of the kind: the objects in them lack what it must have. Below it is
                # told what is no event at all.
                delta = None
            if delta is not None and delta.type not in ("BOOKMARK", "ERROR"):
                yield Change(delta.object, gone=delta.type == "DELETED")
                continue
            event = event_of(line, path)
            if event.type != "BOOKMARK":
                raise unreadable(event.object, path)
            about = msgspec.json.decode(event.object, type=Bare).metadata
            begun = begun or about.annotation(_END) == "true"
            if begun:
                yield Complete(about.resource_version)
