"""Pods as the API server keeps them: its own encoding costs it a third of what JSON does, and is two thirds as long.

Only the fields of `mesh.k8s.objects` are declared here, by the numbers of k8s.io/api/core/v1/generated.proto and
k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto, which never change; what else is sent is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from activities.kube.meta_v1 import Status
from mesh.k8s.objects import (
    Condition,
    Container,
    ContainerState,
    ContainerStates,
    ContainerStatus,
    Metadata,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Resources,
    SecretReference,
)

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
#: For watches, and what a server that has only that may answer in.
ACCEPT = f"{MEDIA_TYPE};stream=watch,application/json"

#: Before each object that is sent by itself.
_MAGIC = b"k8s\x00"
_PACKAGE = "kyma_upgrade"
#: How many different parts are remembered of each sort.
_ALIKE = 4096
#: By message: number, name and type of its fields; a star repeats. What is alike in many Pods is left as bytes here,
#: and decoded once for all that are the same.
_SCHEMA: Mapping[str, tuple[tuple[int, str, str], ...]] = {
    "WatchEvent": ((1, "type", "string"), (2, "object", "RawExtension")),
    "RawExtension": ((1, "raw", "bytes"),),
    "Unknown": ((2, "raw", "bytes"),),
    "Status": ((3, "message", "string"), (4, "reason", "string"), (6, "code", "int32")),
    "Object": ((1, "metadata", "ObjectMeta"),),
    "Pod": ((1, "metadata", "ObjectMeta"), (2, "spec", "PodSpec"), (3, "status", "PodStatus")),
    "ObjectMeta": (
        (1, "name", "string"),
        (3, "namespace", "string"),
        (5, "uid", "string"),
        (6, "resourceVersion", "string"),
        (7, "generation", "int64"),
        (8, "creationTimestamp", "bytes"),
        (9, "deletionTimestamp", "bytes"),
        (11, "labels", "*bytes"),
        (12, "annotations", "*bytes"),
        (13, "ownerReferences", "*bytes"),
        (14, "finalizers", "*string"),
    ),
    "TextEntry": ((1, "key", "string"), (2, "value", "string")),
    "Time": ((1, "seconds", "int64"),),
    "OwnerReference": (
        (1, "kind", "string"),
        (3, "name", "string"),
        (4, "uid", "string"),
        (5, "apiVersion", "string"),
        (6, "controller", "bool"),
    ),
    "PodSpec": (
        (2, "containers", "*Container"),
        (8, "serviceAccountName", "string"),
        (10, "nodeName", "string"),
        (11, "hostNetwork", "bool"),
        (15, "imagePullSecrets", "*LocalObjectReference"),
        (20, "initContainers", "*Container"),
    ),
    "LocalObjectReference": ((1, "name", "string"),),
    "Container": ((1, "name", "string"), (2, "image", "string"), (8, "resources", "bytes"), (24, "restart", "string")),
    "ResourceRequirements": ((1, "limits", "*QuantityEntry"), (2, "requests", "*QuantityEntry")),
    "QuantityEntry": ((1, "key", "string"), (2, "value", "Quantity")),
    "Quantity": ((1, "string", "string"),),
    "PodStatus": (
        (1, "phase", "string"),
        (2, "conditions", "*PodCondition"),
        (3, "message", "string"),
        (4, "reason", "string"),
        (7, "startTime", "bytes"),
        (8, "containerStatuses", "*ContainerStatus"),
        (10, "initContainerStatuses", "*ContainerStatus"),
    ),
    "PodCondition": (
        (1, "type", "string"),
        (2, "status", "string"),
        (4, "lastTransitionTime", "bytes"),
        (5, "reason", "string"),
        (6, "message", "string"),
    ),
    "ContainerStatus": (
        (1, "name", "string"),
        (2, "state", "bytes"),
        (3, "lastState", "bytes"),
        (4, "ready", "bool"),
        (5, "restartCount", "int32"),
        (6, "image", "string"),
        (7, "imageID", "string"),
    ),
    "ContainerState": ((1, "waiting", "Waiting"), (2, "running", "Running"), (3, "terminated", "Terminated")),
    "Waiting": ((1, "reason", "string"), (2, "message", "string")),
    "Running": ((1, "startedAt", "bytes"),),
    "Terminated": (
        (1, "exitCode", "int32"),
        (3, "reason", "string"),
        (4, "message", "string"),
        (5, "startedAt", "bytes"),
    ),
}
_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
}


def _parsers() -> dict[str, Callable[[bytes], Any]]:
    file = FileDescriptorProto(name=_PACKAGE, package=_PACKAGE)
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, label, form in fields:
            kind = form.lstrip("*")
            field = message.field.add(
                name=label,
                number=number,
                label=FieldDescriptorProto.LABEL_OPTIONAL if kind == form else FieldDescriptorProto.LABEL_REPEATED,
                type=_SCALARS.get(kind, FieldDescriptorProto.TYPE_MESSAGE),
            )
            if kind not in _SCALARS:
                field.type_name = f".{_PACKAGE}.{kind}"
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")).FromString for name in _SCHEMA}


_PARSE = _parsers()
_EVENT, _UNKNOWN, _POD, _TIME, _TEXT = (_PARSE[name] for name in ("WatchEvent", "Unknown", "Pod", "Time", "TextEntry"))


def decode_watch_event(frame: bytes) -> tuple[str, bytes]:
    """Type and object of an event of a watch; the object is for `pod`, `metadata` or `status`.

    Raises:
        DecodeError: it is none, of all of these.
    """
    found = _EVENT(frame)
    return found.type, found.object.raw


def decode_pod(sent: bytes) -> Pod:
    """The Pod, just as its JSON would be decoded."""
    found = _POD(_raw(sent))
    return Pod(metadata=_metadata(found.metadata), spec=_spec(found.spec), status=_status(found.status))


def decode_metadata(sent: bytes) -> Metadata:
    """That of an object of any kind."""
    return _metadata(_PARSE["Object"](_raw(sent)).metadata)


def decode_status(sent: bytes) -> Status:
    """Decodes a `metav1.Status`."""
    found = _PARSE["Status"](_raw(sent))
    return Status(found.message, found.reason, found.code)


def _raw(sent: bytes) -> bytes:
    if not sent.startswith(_MAGIC):
        raise DecodeError("an object without its prefix")
    raw: bytes = _UNKNOWN(sent[len(_MAGIC) :]).raw
    return raw


@lru_cache(maxsize=_ALIKE)
def _moment(raw: bytes) -> datetime | None:
    seconds = _TIME(raw).seconds
    # Nothing is the zero time of Go, which JSON has as null.
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


@lru_cache(maxsize=_ALIKE)
def _texts(entries: tuple[bytes, ...]) -> dict[str, str] | None:
    return {entry.key: entry.value for entry in map(_TEXT, entries)} or None


@lru_cache(maxsize=_ALIKE)
def _owners(references: tuple[bytes, ...]) -> tuple[OwnerReference, ...] | None:
    return (
        tuple(
            OwnerReference(
                api_version=one.apiVersion, kind=one.kind, name=one.name, uid=one.uid, controller=one.controller
            )
            for one in map(_PARSE["OwnerReference"], references)
        )
        or None
    )


def _metadata(found: Any) -> Metadata:  # noqa: ANN401  # messages are made at run time
    return Metadata(
        name=found.name,
        namespace=found.namespace,
        uid=found.uid,
        resource_version=found.resourceVersion,
        generation=found.generation,
        labels=_texts(tuple(found.labels)),
        annotations=_texts(tuple(found.annotations)),
        creation_timestamp=_moment(found.creationTimestamp),
        deletion_timestamp=_moment(found.deletionTimestamp),
        finalizers=tuple(found.finalizers) or None,
        owner_references=_owners(tuple(found.ownerReferences)),
    )


def _spec(found: Any) -> PodSpec:  # noqa: ANN401
    return PodSpec(
        containers=tuple([_container(one) for one in found.containers]),
        init_containers=tuple([_container(one) for one in found.initContainers]) or None,
        host_network=found.hostNetwork,
        service_account_name=found.serviceAccountName,
        node_name=found.nodeName,
        image_pull_secrets=tuple([SecretReference(name=one.name) for one in found.imagePullSecrets]) or None,
    )


def _container(found: Any) -> Container:  # noqa: ANN401
    return Container(
        name=found.name,
        image=found.image,
        restart_policy=found.restart or None,
        resources=_resources(found.resources),
    )


@lru_cache(maxsize=_ALIKE)
def _resources(raw: bytes) -> Resources:
    found = _PARSE["ResourceRequirements"](raw)
    return Resources(requests=_quantities(found.requests), limits=_quantities(found.limits))


def _quantities(entries: Any) -> dict[str, str] | None:  # noqa: ANN401
    return {entry.key: entry.value.string for entry in entries} or None


def _status(found: Any) -> PodStatus:  # noqa: ANN401
    return PodStatus(
        phase=found.phase,
        reason=found.reason,
        message=found.message,
        start_time=_moment(found.startTime),
        conditions=tuple(
            [
                Condition(
                    type=one.type,
                    status=one.status,
                    reason=one.reason,
                    message=one.message,
                    last_transition_time=_moment(one.lastTransitionTime),
                )
                for one in found.conditions
            ]
        )
        or None,
        container_statuses=tuple([_container_status(one) for one in found.containerStatuses]) or None,
        init_container_statuses=tuple([_container_status(one) for one in found.initContainerStatuses]) or None,
    )


def _container_status(found: Any) -> ContainerStatus:  # noqa: ANN401
    return ContainerStatus(
        name=found.name,
        ready=found.ready,
        restart_count=found.restartCount,
        image=found.image,
        image_id=found.imageID,
        state=_states(found.state),
        last_state=_states(found.lastState),
    )


@lru_cache(maxsize=_ALIKE)
def _states(raw: bytes) -> ContainerStates:
    found = _PARSE["ContainerState"](raw)
    waiting = running = terminated = None
    if found.HasField("running"):
        running = ContainerState(started_at=_moment(found.running.startedAt))
    elif found.HasField("waiting"):
        waiting = ContainerState(reason=found.waiting.reason, message=found.waiting.message)
    elif found.HasField("terminated"):
        ended = found.terminated
        terminated = ContainerState(
            reason=ended.reason, message=ended.message, exit_code=ended.exitCode, started_at=_moment(ended.startedAt)
        )
    return ContainerStates(waiting=waiting, running=running, terminated=terminated)
