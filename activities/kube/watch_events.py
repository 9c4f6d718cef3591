"""Decodes the records of a watch: each is a change of an object, a bookmark, or the error that ends the stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from activities.kube import protobuf
from activities.kube.client import JSON, METADATA_ONLY
from activities.kube.errors import error_of_status
from activities.kube.framing import is_frame
from activities.kube.meta_v1 import PartialObjectMetadata, Status, WatchEvent, decode, undecodable_object_error
from mesh.errors import UnreachableError
from mesh.k8s.objects import Metadata, Pod


class HasMetadata(Protocol):
    """An object of any kind."""

    @property
    def metadata(self) -> Metadata:
        """Its `ObjectMeta`."""
        ...


T = TypeVar("T", bound=HasMetadata)


@dataclass(frozen=True, slots=True)
class ObjectChange(Generic[T]):
    """An object as it is now, or as it was last when it is `deleted`."""

    object: T
    deleted: bool = False


class _Event(msgspec.Struct, Generic[T], frozen=True):
    """A `WatchEvent` decoded in one go."""

    type: str
    object: T


def accepted_encoding(kind: type[HasMetadata]) -> str:
    """The `Accept` header of a watch of objects of this type.

    Pods are many and large, and the API server writes JSON on one core, each object twice: they come as protobuf.
    """
    if kind is Pod:
        return protobuf.ACCEPT
    return METADATA_ONLY if kind is PartialObjectMetadata else JSON


def record_decoder(kind: type[T], path: str) -> Callable[[bytes], ObjectChange[T] | Metadata]:
    """The function that decodes a record of a watch of `path`: to a change, or to the metadata of a bookmark.

    Raises (the function does):
        ExpiredError, ...: the record is the error that it says.
        RejectedError: the fields of an object have other types than its kind's.
        UnreachableError: the record is no event.
    """
    json_decoder: msgspec.json.Decoder[_Event[T]] = msgspec.json.Decoder(_Event[kind])  # type: ignore[valid-type]

    def decode_record(record: bytes) -> ObjectChange[T] | Metadata:
        return _decode_frame(record, path) if is_frame(record) else _decode_line(record, json_decoder, path)

    return decode_record


def _decode_line(line: bytes, decoder: msgspec.json.Decoder[_Event[T]], path: str) -> ObjectChange[T] | Metadata:
    try:
        event = decoder.decode(line)
    except msgspec.DecodeError:
        # Bookmarks and errors are not of the kind: the objects in them lack what it must have.
        event = None
    if event is not None and event.type not in ("BOOKMARK", "ERROR"):
        return ObjectChange(event.object, deleted=event.type == "DELETED")
    raw = decode(line, WatchEvent)
    if raw.type == "ERROR":
        raise _error(decode(raw.object, Status), path)
    if raw.type != "BOOKMARK":
        raise undecodable_object_error(raw.object, path)
    return decode(raw.object, PartialObjectMetadata).metadata


def _decode_frame(frame: bytes, path: str) -> ObjectChange[Any] | Metadata:
    """Only Pods are asked for in frames."""
    try:
        event_type, content = protobuf.decode_watch_event(frame)
        if event_type == "BOOKMARK":
            return protobuf.decode_metadata(content)
        if event_type == "ERROR":
            raise _error(protobuf.decode_status(content), path)
        return ObjectChange(protobuf.decode_pod(content), deleted=event_type == "DELETED")
    except DecodeError as error:
        raise UnreachableError(f"The stream of {path} cannot be read: {error}.") from error


def _error(status: Status, path: str) -> Exception:
    return error_of_status(status, status.code, f"GET {path}")
