"""Creates and reads the workloads of stories, under names that the product cannot know."""

from __future__ import annotations

from typing import Any

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh

#: The container of every workload here.
APP = {"name": "app", "image": "docker.io/library/nginx:1.29"}
_GROUPS = {"ReplicationController": "v1", "Rollout": "argoproj.io/v1alpha1"}


def make(
    mesh: Mesh,
    namespace: str,
    name: str,
    kind: str = "Deployment",
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    pod: dict[str, Any] | None = None,
    **spec: Any,  # noqa: ANN401
) -> None:
    """Creates a workload of two Pods and waits until they are available.

    `labels`, `annotations` and `pod` (its spec) are merged into its Pod template, `spec` into its spec.
    """
    own = {"app": name}
    template = {
        "metadata": {"labels": own | (labels or {}), "annotations": annotations or {}},
        "spec": {"containers": [APP]} | (pod or {}),
    }
    body: dict[str, Any] = {"selector": {"matchLabels": own}, "template": template}
    if kind != "DaemonSet":
        body["replicas"] = 2
    if kind == "StatefulSet":
        body["serviceName"] = name
    if kind == "Rollout":
        body["strategy"] = {"canary": {}}
    if kind == "ReplicationController":
        body["selector"] = own
    metadata = {"name": name, "namespace": namespace}
    api = _GROUPS.get(kind, "apps/v1")
    apply(mesh, {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": body | spec})
    wait_for(f"{kind} {name}", lambda: _available(mesh, namespace, name, kind))


def make_pod(mesh: Mesh, namespace: str, name: str, **metadata: Any) -> None:  # noqa: ANN401
    """Creates a Pod without a controller and waits until it is Ready; `metadata` is merged into its own."""
    about = {"name": name, "namespace": namespace, **metadata}
    apply(mesh, {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": {"containers": [APP]}})
    kubectl(mesh, "-n", namespace, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=30s")


def allow(mesh: Mesh, namespace: str, resource: str, amount: int) -> None:
    """Creates a ResourceQuota, `tight`, without room, and waits until its controller has counted the Pods."""
    metadata = {"name": "tight", "namespace": namespace}
    spec = {"hard": {resource: str(amount)}}
    apply(mesh, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})
    counted = f"--for=jsonpath={{.status.used.{resource}}}={amount}"
    kubectl(mesh, "-n", namespace, "wait", "resourcequota/tight", counted, "--timeout=20s")


def limit(mesh: Mesh, namespace: str, labels: dict[str, str], pods: int, **spec: int) -> None:
    """Creates a PodDisruptionBudget, `budget`, and waits until its controller counts so many healthy Pods."""
    metadata = {"name": "budget", "namespace": namespace}
    body = {"selector": {"matchLabels": labels}, **spec}
    apply(mesh, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": body})
    counted = f"--for=jsonpath={{.status.currentHealthy}}={pods}"
    kubectl(mesh, "-n", namespace, "wait", "poddisruptionbudget/budget", counted, "--timeout=20s")


def generation(mesh: Mesh, namespace: str, name: str, kind: str = "Deployment") -> int:
    """Returns its generation: how often its spec was changed."""
    number: int = read(mesh, kind, name, "-n", namespace)["metadata"]["generation"]
    return number


def pod_uids(mesh: Mesh, namespace: str, name: str) -> set[str]:
    """Returns the UIDs of its Pods that are not terminating."""
    pods = read(mesh, "pods", "-n", namespace, "-l", f"app={name}")["items"]
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def proxies(mesh: Mesh, namespace: str, name: str) -> set[str]:
    """Returns the image tags of the proxies of its Pods; `none` for a Pod without a proxy."""
    found = set()
    for pod in read(mesh, "pods", "-n", namespace, "-l", f"app={name}")["items"]:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        images = [one["image"] for one in containers if one["name"] == "istio-proxy"]
        found.add(images[0].rpartition(":")[2] if images else "none")
    return found


def _available(mesh: Mesh, namespace: str, name: str, kind: str) -> bool:
    found = read(mesh, kind, name, "-n", namespace)
    status = found.get("status", {})
    if kind == "DaemonSet":
        wanted: int = status.get("desiredNumberScheduled", 0)
        return wanted > 0 and bool(status.get("numberAvailable", 0) == wanted)
    return bool(status.get("availableReplicas", 0) == found["spec"]["replicas"])
