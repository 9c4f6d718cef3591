"""Creates many Deployments, a hundred in each namespace."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl
from deploy.local.mesh import Mesh
from deploy.local.progress import say

_PREFIX = "bench-"
_PER_NAMESPACE = 100


def fill(mesh: Mesh, numbers: Sequence[int], replicas: int) -> None:
    """Creates the Deployments with these numbers and waits until all their Pods are available."""
    say(f"creating {len(numbers) * replicas} Pods")
    for first in range(numbers[0], numbers[-1] + 1, _PER_NAMESPACE):
        namespace = f"{_PREFIX}{first // _PER_NAMESPACE}"
        labels = {"istio-injection": "enabled"}
        apply(mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        apply(mesh, *(_deployment(namespace, f"app-{first + number}", replicas) for number in range(_PER_NAMESPACE)))
        _wait_for_pods(mesh, namespace, replicas)


def _wait_for_pods(mesh: Mesh, namespace: str, replicas: int) -> None:
    ready = ("-n", namespace, "get", "deployments", "-o", "jsonpath={.items[*].status.availableReplicas}")
    wanted = [str(replicas)] * _PER_NAMESPACE
    wait_for(f"the Pods of {namespace}", lambda: kubectl(mesh, *ready).split() == wanted, 900)


def _deployment(namespace: str, name: str, replicas: int) -> dict[str, object]:
    labels = {"app": name}
    containers = [{"name": "app", "image": "docker.io/library/nginx:1.29"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
