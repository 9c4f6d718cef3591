"""Decodes Pods from protobuf, the API server's own encoding: a third of the cost of JSON for it, two thirds as long.

`pod.proto` declares the fields of `mesh.k8s.objects`, `pod_pb2` is generated from it (`make proto`). Parts that are
alike in many Pods are declared as bytes there, and decoded here once for all that are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from google.protobuf.message import DecodeError

from activities.kube import pod_pb2
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
#: For watches. JSON is for custom resources, and for servers that have only that.
ACCEPT = f"{MEDIA_TYPE};stream=watch,application/json"

#: Before each object that is sent by itself.
_MAGIC = b"k8s\x00"
#: How many different parts of each sort are remembered.
_CACHED = 4096
# Looked up once: a survey calls them for every Pod.
_parse_event = pod_pb2.WatchEvent.FromString
_parse_unknown = pod_pb2.Unknown.FromString
_parse_pod = pod_pb2.Pod.FromString


def decode_watch_event(frame: bytes) -> tuple[str, bytes]:
    """Decodes an event of a watch to its type and its object, which is for the functions below.

    Raises (as all of these functions do):
        DecodeError: the bytes are none.
    """
    event = _parse_event(frame)
    return event.type, event.object.raw


def decode_pod(content: bytes) -> Pod:
    """Decodes a Pod to what its JSON is decoded to."""
    pod = _parse_pod(_raw(content))
    return Pod(metadata=_metadata(pod.metadata), spec=_spec(pod.spec), status=_status(pod.status))


def decode_metadata(content: bytes) -> Metadata:
    """Decodes the metadata of an object of any kind."""
    return _metadata(pod_pb2.PartialObjectMetadata.FromString(_raw(content)).metadata)


def decode_status(content: bytes) -> Status:
    """Decodes a `metav1.Status`."""
    status = pod_pb2.Status.FromString(_raw(content))
    return Status(status.message, status.reason, status.code)


def _raw(content: bytes) -> bytes:
    if not content.startswith(_MAGIC):
        raise DecodeError("an object without its prefix")
    return _parse_unknown(content[len(_MAGIC) :]).raw


@lru_cache(maxsize=_CACHED)
def _time(content: bytes) -> datetime | None:
    seconds = pod_pb2.Time.FromString(content).seconds
    # Nothing is the zero time of Go, which JSON has as null.
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


@lru_cache(maxsize=_CACHED)
def _strings(entries: tuple[bytes, ...]) -> dict[str, str] | None:
    return {entry.key: entry.value for entry in map(pod_pb2.StringEntry.FromString, entries)} or None


@lru_cache(maxsize=_CACHED)
def _owner_references(references: tuple[bytes, ...]) -> tuple[OwnerReference, ...] | None:
    return (
        tuple(
            OwnerReference(
                api_version=owner.apiVersion,
                kind=owner.kind,
                name=owner.name,
                uid=owner.uid,
                controller=owner.controller,
            )
            for owner in map(pod_pb2.OwnerReference.FromString, references)
        )
        or None
    )


def _metadata(metadata: pod_pb2.ObjectMeta) -> Metadata:
    return Metadata(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        resource_version=metadata.resourceVersion,
        generation=metadata.generation,
        labels=_strings(tuple(metadata.labels)),
        annotations=_strings(tuple(metadata.annotations)),
        creation_timestamp=_time(metadata.creationTimestamp),
        deletion_timestamp=_time(metadata.deletionTimestamp),
        finalizers=tuple(metadata.finalizers) or None,
        owner_references=_owner_references(tuple(metadata.ownerReferences)),
    )


def _spec(spec: pod_pb2.PodSpec) -> PodSpec:
    return PodSpec(
        containers=tuple([_container(container) for container in spec.containers]),
        init_containers=tuple([_container(container) for container in spec.initContainers]) or None,
        host_network=spec.hostNetwork,
        service_account_name=spec.serviceAccountName,
        node_name=spec.nodeName,
        image_pull_secrets=tuple([SecretReference(name=secret.name) for secret in spec.imagePullSecrets]) or None,
    )


def _container(container: pod_pb2.Container) -> Container:
    return Container(
        name=container.name,
        image=container.image,
        restart_policy=container.restartPolicy or None,
        resources=_resources(container.resources),
    )


@lru_cache(maxsize=_CACHED)
def _resources(content: bytes) -> Resources:
    resources = pod_pb2.ResourceRequirements.FromString(content)
    return Resources(requests=_quantities(resources.requests), limits=_quantities(resources.limits))


def _quantities(entries: Iterable[pod_pb2.QuantityEntry]) -> dict[str, str] | None:
    return {entry.key: entry.value.string for entry in entries} or None


def _status(status: pod_pb2.PodStatus) -> PodStatus:
    return PodStatus(
        phase=status.phase,
        reason=status.reason,
        message=status.message,
        start_time=_time(status.startTime),
        conditions=tuple([_condition(condition) for condition in status.conditions]) or None,
        container_statuses=tuple([_container_status(container) for container in status.containerStatuses]) or None,
        init_container_statuses=tuple([_container_status(container) for container in status.initContainerStatuses])
        or None,
    )


def _condition(condition: pod_pb2.PodCondition) -> Condition:
    return Condition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message,
        last_transition_time=_time(condition.lastTransitionTime),
    )


def _container_status(status: pod_pb2.ContainerStatus) -> ContainerStatus:
    return ContainerStatus(
        name=status.name,
        ready=status.ready,
        restart_count=status.restartCount,
        image=status.image,
        image_id=status.imageID,
        state=_states(status.state),
        last_state=_states(status.lastState),
    )


@lru_cache(maxsize=_CACHED)
def _states(content: bytes) -> ContainerStates:
    state = pod_pb2.ContainerState.FromString(content)
    waiting = running = terminated = None
    if state.HasField("running"):
        running = ContainerState(started_at=_time(state.running.startedAt))
    elif state.HasField("waiting"):
        waiting = ContainerState(reason=state.waiting.reason, message=state.waiting.message)
    elif state.HasField("terminated"):
        ended = state.terminated
        terminated = ContainerState(
            reason=ended.reason, message=ended.message, exit_code=ended.exitCode, started_at=_time(ended.startedAt)
        )
    return ContainerStates(waiting=waiting, running=running, terminated=terminated)
