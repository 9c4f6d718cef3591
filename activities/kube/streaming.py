"""Everything of one kind, read as a stream: memory for what is kept, never for what is read.

A WatchList sends each object as a line of its own and a bookmark when it has sent all of them, so that a connection
that was cut can never look like a short list. Servers that do not offer it are read in pages.
Source: kubernetes/enhancements, KEP-3157.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from activities.kube.client import Cluster, Params, event_of, patiently
from mesh.errors import ExpiredError, PermissionDeniedError, RejectedError, UnreachableError
from mesh.objects import Metadata


class Identified(Protocol):
    """Whatever has metadata."""

    @property
    def metadata(self) -> Metadata:
        """Its `ObjectMeta`."""
        ...


T = TypeVar("T", bound=Identified)
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
#: A stream that is too old starts anew this often before it is an error.
_STARTS = 5


class _Delta(msgspec.Struct, Generic[T], frozen=True):
    """One line, decoded in one go."""

    type: str
    object: T


class _Bare(msgspec.Struct, frozen=True):
    """An object of any kind, as far as it says which."""

    metadata: Metadata = Metadata()


async def read_all(
    cluster: Cluster, path: str, kind: type[T], keep: Callable[[T], K | None], params: Params | None = None
) -> tuple[list[K], str]:
    """What `keep` makes of every object, and the one resource version they were read at; None is left out.

    `keep` may be called again for an object that was read before: after trouble the reading starts anew.
    """
    for _ in range(_STARTS):
        try:
            return await patiently(lambda: _stream(cluster, path, kind, keep, params or {}))
        except ExpiredError:
            continue
        except (RejectedError, PermissionDeniedError):
            # Without the feature the server refuses the parameters; a person may have the right to list and not to
            # watch. A wrong request, or one without any right, is refused by the list as well.
            return await cluster.list_kept(path, kind, keep, params)
    raise UnreachableError(f"{path} cannot be read: every stream was too old before it began.")


async def _stream(
    cluster: Cluster, path: str, kind: type[T], keep: Callable[[T], K | None], params: Params
) -> tuple[list[K], str]:
    decoder: msgspec.json.Decoder[_Delta[T]] = msgspec.json.Decoder(_Delta[kind])  # type: ignore[valid-type]
    kept: dict[str, K] = {}
    async with contextlib.aclosing(cluster.lines(path, {**params, **WATCH_LIST}, _SILENCE_SECONDS)) as lines:
        async for line in lines:
            try:
                delta = decoder.decode(line)
            except msgspec.ValidationError:
                # Bookmarks and errors are not of the kind: the objects in them lack what it must have.
                delta = None
            if delta is None or delta.type in ("BOOKMARK", "ERROR"):
                event = event_of(line, path)
                about = msgspec.json.decode(event.object, type=_Bare).metadata
                if event.type != "BOOKMARK":
                    name = f"{about.namespace}/{about.name}"
                    raise RejectedError(f"An object of {path} cannot be read: {name}.")
                if about.annotation(_END) == "true":
                    return list(kept.values()), about.resource_version
                continue
            one = None if delta.type == "DELETED" else keep(delta.object)
            uid = delta.object.metadata.uid
            if one is not None:
                kept[uid] = one
            else:
                kept.pop(uid, None)
    raise UnreachableError(f"The stream of {path} ended before everything was sent.")
