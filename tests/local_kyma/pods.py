"""Pods and their owners for the rules of the stand-in."""

from typing import Any

from deploy.local.kyma.api import Object

NEW, OLD = "hub/proxyv2:1.30.2", "hub/proxyv2:1.29.3"
RESOURCES: Object = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}


def pod(
    name: str = "p1",
    *,
    namespace: str = "shop",
    owner: tuple[str, str] | None = None,
    image: str = OLD,
    native: bool = True,
    phase: str = "Running",
    ready: str = "True",
    resources: Object | None = None,
    annotations: dict[str, str] | None = None,
    **metadata: Any,  # noqa: ANN401  # metadata as the API has it
) -> Object:
    """An injected, running, ready Pod with an old proxy, by default."""
    proxy = {"name": "istio-proxy", "image": image, "resources": RESOURCES if resources is None else resources}
    app = {"name": "app", "image": "app:1"}
    owners = [{"kind": owner[0], "name": owner[1], "uid": owner[1]}] if owner else []
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"sidecar.istio.io/status": "{}"} | (annotations or {}),
            "ownerReferences": owners,
            **metadata,
        },
        "spec": {"containers": [app] if native else [app, proxy], "initContainers": [proxy] if native else []},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    }


def replica_set(
    name: str, *, owner: tuple[str, str] | None = None, replicas: int = 1, ready: int = 1, namespace: str = "shop"
) -> Object:
    """A ReplicaSet and how many of its Pods are ready."""
    owners = [{"kind": owner[0], "name": owner[1], "uid": owner[1]}] if owner else []
    metadata = {"name": name, "namespace": namespace, "ownerReferences": owners}
    return {"metadata": metadata, "status": {"replicas": replicas, "readyReplicas": ready}}
