"""Which Pods the module restarts, and by what action: pure rules over the API's JSON.

KI pkg/lib/sidecars/pods/get.go, internal/restarter/predicates/* and pkg/lib/sidecars/restart/*. Labels of namespaces,
missing sidecars, revisions, budgets, readiness of a rollout: the module looks at none of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from kubernetes.utils.quantity import parse_quantity

from deploy.local.kyma.api import Object

ROLLABLE = ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet")
NO_OWNER = "pod sidecar could not be updated because OwnerReferences was not found."
JOB_OWNER = "pod sidecar could not be updated because it is owned by a Job."
RESOURCE_ANNOTATIONS = {
    "sidecar.istio.io/proxyCPU": ("requests", "cpu"),
    "sidecar.istio.io/proxyMemory": ("requests", "memory"),
    "sidecar.istio.io/proxyCPULimit": ("limits", "cpu"),
    "sidecar.istio.io/proxyMemoryLimit": ("limits", "memory"),
}


@dataclass(frozen=True)
class ExpectedProxy:
    """What a sidecar must be to be left alone."""

    image: str
    resources: Object = field(default_factory=dict)
    cni: bool = True
    prometheus_merge: bool | None = None  # None: the Istio CR does not say
    everything_changed: bool = False  # DNS proxying or the stats matcher differ from what was last applied


@dataclass(frozen=True)
class Action:
    """What the module does about one Pod."""

    verb: Literal["patch", "delete", "warn", "log", "fail"]
    kind: str
    namespace: str
    name: str
    message: str = ""


def is_considered(pod: Object) -> bool:
    """Injected, running, not going away, and with no condition that is not True (get.go, step 2 of its selection)."""
    status = pod.get("status", {})
    return (
        "deletionTimestamp" not in pod["metadata"]
        and status.get("phase") == "Running"
        and all(condition["status"] == "True" for condition in status.get("conditions", []))
        and "sidecar.istio.io/status" in _annotations(pod)
    )


def is_kyma(pod: Object) -> bool:
    """A workload of Kyma itself, by namespace or label (predicates/kyma_workload.go); the rest are customers'."""
    metadata = pod["metadata"]
    return metadata["namespace"] == "kyma-system" or bool(metadata.get("labels", {}).get("kyma-project.io/module"))


def is_stale(pod: Object, expected: ExpectedProxy) -> bool:
    """One of the module's reasons to restart holds (the optional predicates)."""
    return (
        expected.everything_changed
        or _image_or_resources_differ(pod, expected)
        or _prometheus_merge_differs(pod, expected.prometheus_merge)
        or _cni_differs(pod, cni=expected.cni)
    )


def action_for(
    pod: Object,
    replica_set: Callable[[str, str], Object | None],
    replica_sets: Callable[[str], Sequence[Object]],
) -> Action:
    """By the first owner reference, whatever its `controller` flag says (restart_factory.go).

    `replica_set(namespace, name)` finds one, `replica_sets(namespace)` lists all.
    """
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    owners = pod["metadata"].get("ownerReferences", [])
    if not owners:
        return Action("warn", "Pod", namespace, name, NO_OWNER)
    kind, owner = owners[0]["kind"], owners[0]["name"]
    if kind == "Job":
        return Action("warn", "Pod", namespace, name, JOB_OWNER)
    if kind == "ReplicationController":
        return Action("delete", "Pod", namespace, name)
    if kind != "ReplicaSet":
        return _rollout(kind, namespace, owner)
    found = replica_set(namespace, owner)
    if found is None:
        return Action("warn", "Pod", namespace, name, NO_OWNER)
    parents = found["metadata"].get("ownerReferences", [])
    if not parents:
        return Action("delete", "Pod", namespace, name)
    if any(_is_half_ready(other, parents[0]["uid"], owner) for other in replica_sets(namespace)):
        unready = "was not restarted because there exists another not ready ReplicaSet for the same object"
        return Action("log", parents[0]["kind"], namespace, parents[0]["name"], unready)
    return _rollout(parents[0]["kind"], namespace, parents[0]["name"])


def _rollout(kind: str, namespace: str, name: str) -> Action:
    if kind in ROLLABLE:
        return Action("patch", kind, namespace, name)
    return Action("fail", kind, namespace, name, f"kind {kind} is not supported for rollout")


def _is_half_ready(replica_set: Object, parent: str, besides: str) -> bool:
    metadata, status = replica_set["metadata"], replica_set.get("status", {})
    owned = any(owner["uid"] == parent for owner in metadata.get("ownerReferences", []))
    replicas = status.get("replicas", 0)
    return owned and metadata["name"] != besides and replicas != 0 and status.get("readyReplicas", 0) != replicas


def _image_or_resources_differ(pod: Object, expected: ExpectedProxy) -> bool:
    """The whole image string counts, not its version; a pinned image exempts (predicates/image_resources.go)."""
    if "sidecar.istio.io/proxyImage" in _annotations(pod):
        return False
    proxies = [container for container in _containers(pod) if container["name"] == "istio-proxy"]
    return any(proxy["image"] != expected.image for proxy in proxies) or any(
        not _resources_match(pod, proxy.get("resources", {}), expected.resources) for proxy in proxies
    )


def _resources_match(pod: Object, actual: Object, expected: Object) -> bool:
    wanted = {section: dict(expected.get(section, {})) for section in ("requests", "limits")}
    own = {RESOURCE_ANNOTATIONS[key]: value for key, value in _annotations(pod).items() if key in RESOURCE_ANNOTATIONS}
    if own:  # Istio's injection template drops the mesh's values as soon as a Pod states one of its own
        wanted = {"requests": {}, "limits": {}}
    for (section, resource), value in own.items():
        wanted[section][resource] = value
        if section == "limits" and ("requests", resource) not in own:
            wanted["requests"][resource] = value
    try:
        return all(
            _quantity(actual.get(section, {}).get(resource, 0)) == _quantity(wanted[section].get(resource, 0))
            for section, resource in RESOURCE_ANNOTATIONS.values()
        )
    except ValueError:
        return True  # an annotation that is no quantity


def _quantity(value: str | float) -> Decimal:
    parsed: Decimal = parse_quantity(value)  # type: ignore[no-untyped-call]
    return parsed


def _prometheus_merge_differs(pod: Object, merge: bool | None) -> bool:
    """predicates/prometheus_merge.go, with the mesh's own status port 15020."""
    if merge is None:
        return False
    annotations = _annotations(pod)
    path = annotations.get("prometheus.io/path") == "/stats/prometheus"
    port = annotations.get("prometheus.io/port") == "15020"
    return not (path and port) if merge else path or port


def _cni_differs(pod: Object, *, cni: bool) -> bool:
    """The init container of the other way to redirect traffic (predicates/cni.go)."""
    wrong = "istio-init" if cni else "istio-validation"
    return any(container["name"] == wrong for container in pod["spec"].get("initContainers", []))


def _containers(pod: Object) -> list[Object]:
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def _annotations(pod: Object) -> dict[str, str]:
    found: dict[str, str] = pod["metadata"].get("annotations", {})
    return found
