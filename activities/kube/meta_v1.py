"""The types that all kinds of the Kubernetes API share, as far as this service reads them.

Source of their form: k8s.io/apimachinery/pkg/apis/meta/v1.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from mesh.errors import RejectedError, UnreachableError
from mesh.k8s.objects import Metadata

T = TypeVar("T")


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """The `metadata` of a list."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ListPage(msgspec.Struct, frozen=True):
    """A page of a list of any kind, its items not decoded."""

    metadata: ListMeta = ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


class PartialObjectMetadata(msgspec.Struct, frozen=True):
    """The metadata of an object of any kind. Where this type is asked for, the API server sends no more than that."""

    metadata: Metadata = Metadata()


class Status(msgspec.Struct, frozen=True):
    """What the API server answers when it does not do what was asked."""

    message: str = ""
    reason: str = ""
    code: int = 0


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch, its object not decoded."""

    type: str
    object: msgspec.Raw


def decode(content: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decodes an answer.

    Raises:
        UnreachableError: it is no JSON of that kind. Truncated JSON looks like this, where the connection was cut and
            the length of the answer was not known.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise UnreachableError(f"The cluster's answer cannot be read: {error}.") from error


def undecodable_object_error(content: msgspec.Raw, path: str) -> RejectedError:
    """The error for an object of the collection at `path` whose fields have other types than its kind's."""
    metadata = decode(content, PartialObjectMetadata).metadata
    return RejectedError(f"An object of {path} cannot be read: {metadata.namespace}/{metadata.name}.")
