"""Records what the clusters of these tests are multiplied from, on a local mesh of its own.

    .venv/bin/python -m tests.scale.record

writes `recorded.json`: objects of each kind as the API server sends them, under names that begin with `recorded-`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deploy.local import lifecycle
from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, read
from deploy.local.mesh import Mesh

RECORDED = Path(__file__).with_name("recorded.json")
_MESH = "record-scale"
_TAG = "1.29.3"
_NAMESPACE = "recorded-namespace"
_CONTAINERS = [{"name": "app", "image": "docker.io/library/nginx:1.29"}]
_LABELS = {"app": "recorded-deployment"}
_OBJECTS: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": _NAMESPACE, "labels": {"istio-injection": "enabled"}},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "recorded-deployment", "namespace": _NAMESPACE},
        "spec": {
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": {"containers": _CONTAINERS}},
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "recorded-standalone", "namespace": _NAMESPACE},
        "spec": {"containers": _CONTAINERS},
    },
)


def main() -> None:
    """Brings a mesh up, makes one workload of each sort, writes what there is, takes the mesh down."""
    lifecycle.down(_MESH)
    mesh = lifecycle.up(_MESH, _TAG)
    try:
        apply(mesh, *_OBJECTS)
        wait_for("the Pods", lambda: _ready(mesh), 60)
        RECORDED.write_text(json.dumps(_recorded(mesh), indent=1) + "\n")
    finally:
        lifecycle.down(_MESH)


def _ready(mesh: Mesh) -> bool:
    pods = _all(mesh, "pods", "-n", _NAMESPACE)
    return len(pods) == 2 and all(_is_ready(pod) for pod in pods)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _recorded(mesh: Mesh) -> dict[str, Any]:
    pods = _all(mesh, "pods", "-n", _NAMESPACE)
    system = ("-n", "istio-system")
    return {
        "Namespace": _one(mesh, "namespace", _NAMESPACE),
        "Deployment": _one(mesh, "deployment", "recorded-deployment", "-n", _NAMESPACE),
        "ReplicaSet": _all(mesh, "replicasets", "-n", _NAMESPACE)[0],
        "Pod": next(pod for pod in pods if "ownerReferences" in pod["metadata"]),
        "standalone": next(pod for pod in pods if "ownerReferences" not in pod["metadata"]),
        "MutatingWebhookConfiguration": _all(mesh, "mutatingwebhookconfigurations", "-l", "app=sidecar-injector"),
        # The others say nothing about injection.
        "ConfigMap": [_one(mesh, "configmap", name, *system) for name in ("istio", "istio-sidecar-injector")],
    }


def _one(mesh: Mesh, kind: str, name: str, *where: str) -> dict[str, Any]:
    found: dict[str, Any] = read(mesh, kind, name, *where, "--show-managed-fields")
    return found


def _all(mesh: Mesh, kind: str, *where: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(mesh, kind, *where, "--show-managed-fields")["items"]
    return found


if __name__ == "__main__":
    main()
