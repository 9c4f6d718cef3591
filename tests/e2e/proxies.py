"""Proxies without Envoy: streams to an istiod, opened and kept as a sidecar opens and keeps them.

The kubelets of a local mesh are simulated, so no proxy connects by itself. A stream asks for clusters only, which is
what every proxy asks for first; from istiod's first answer on it is among the proxies that this istiod lists.
Source: envoyproxy/data-plane-api, envoy/service/discovery/v3 (the messages); istio/istio, pilot/pkg/model/proxy.go
(the node's id) and pkg/model/proxy.go (its metadata).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import DESCRIPTOR as STRUCT

from deploy.local.mesh import Mesh

#: istiod's listener without TLS.
_PORT = 15010
_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
_CLUSTERS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_SECONDS = 30.0

#: Messages by name; of their fields those that are used here, with numbers and, where one holds a message, its name.
_FORMS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Node": {"id": (1, ""), "metadata": (3, ".google.protobuf.Struct")},
    "DiscoveryRequest": {
        "version_info": (1, ""),
        "node": (2, ".ads.Node"),
        "type_url": (4, ""),
        "response_nonce": (5, ""),
    },
    "DiscoveryResponse": {"version_info": (1, ""), "type_url": (4, ""), "nonce": (5, "")},
}


def _message(name: str) -> Any:  # noqa: ANN401  # a class made at run time
    return GetMessageClass(Default().FindMessageTypeByName(f"ads.{name}"))


def _learn() -> None:
    file = FileDescriptorProto(name="ads.proto", package="ads", syntax="proto3", dependency=[STRUCT.name])
    for name, fields in _FORMS.items():
        message = file.message_type.add(name=name)
        for field, (number, holds) in fields.items():
            kind = FieldDescriptorProto.TYPE_MESSAGE if holds else FieldDescriptorProto.TYPE_STRING
            message.field.add(name=field, number=number, type=kind, type_name=holds or None)
    Default().AddSerializedFile(file.SerializeToString())


_learn()
_Request, _Response = _message("DiscoveryRequest"), _message("DiscoveryResponse")


@contextmanager
def connected(mesh: Mesh, pod: Mapping[str, Any], version: str, revision: str = "default") -> Iterator[None]:
    """The proxy of a Pod, as the API server has it, is connected to that revision's istiod, which lists it.

    `version` is what it calls itself. Once this is left istiod hears that the stream has ended, and soon forgets it.
    """
    host = mesh.state.istio[revision].address.rpartition(":")[0]
    requests: SimpleQueue[Any] = SimpleQueue()
    listed: Future[None] = Future()
    # Not through a proxy of the environment: it does not know this machine's own addresses.
    with grpc.insecure_channel(f"{host}:{_PORT}", [("grpc.enable_http_proxy", 0)]) as channel:
        open_stream = channel.stream_stream(
            _METHOD, request_serializer=_Request.SerializeToString, response_deserializer=_Response.FromString
        )
        stream = open_stream(iter(requests.get, None))
        requests.put(_Request(node=_node(pod, version), type_url=_CLUSTERS))
        keeper = Thread(target=_keep, args=(stream, requests, listed))
        keeper.start()
        try:
            listed.result(_SECONDS)
            yield
        finally:
            stream.cancel()
            requests.put(None)
            keeper.join()


def _keep(stream: Any, requests: SimpleQueue[Any], listed: Future[None]) -> None:  # noqa: ANN401  # grpc has no types
    """Says to every answer that it was taken, until the stream ends."""
    try:
        for answer in stream:
            requests.put(
                _Request(version_info=answer.version_info, type_url=answer.type_url, response_nonce=answer.nonce)
            )
            if not listed.done():
                listed.set_result(None)
    except grpc.RpcError as error:
        if not listed.done():
            listed.set_exception(error)


def _node(pod: Mapping[str, Any], version: str) -> dict[str, Any]:
    metadata, spec = pod["metadata"], pod["spec"]
    name, namespace = metadata["name"], metadata["namespace"]
    about = {
        "CLUSTER_ID": "Kubernetes",
        "INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_VERSION": version,
        "LABELS": metadata.get("labels", {}),
        "MESH_ID": "cluster.local",
        "NAME": name,
        "NAMESPACE": namespace,
        "SERVICE_ACCOUNT": spec.get("serviceAccountName", "default"),
    }
    return {
        "id": f"sidecar~{pod['status']['podIP']}~{name}.{namespace}~{namespace}.svc.cluster.local",
        "metadata": {key: value for key, value in about.items() if value},
    }
