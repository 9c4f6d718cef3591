"""Paths of the Kubernetes API: of collections, of single objects, and of a kind's group and version."""

from __future__ import annotations

from mesh.k8s.kinds import ARGO_ROLLOUT

_GROUPS = {
    "Deployment": "apis/apps/v1",
    "StatefulSet": "apis/apps/v1",
    "DaemonSet": "apis/apps/v1",
    "ReplicaSet": "apis/apps/v1",
    "ReplicationController": "api/v1",
    "Job": "apis/batch/v1",
    "CronJob": "apis/batch/v1",
    "Pod": "api/v1",
    "Namespace": "api/v1",
    "Service": "api/v1",
    "ConfigMap": "api/v1",
    "Event": "api/v1",
    ARGO_ROLLOUT: "apis/argoproj.io/v1alpha1",
    "PodDisruptionBudget": "apis/policy/v1",
    "Lease": "apis/coordination.k8s.io/v1",
    "Kyma": "apis/operator.kyma-project.io/v1beta2",
    "ModuleReleaseMeta": "apis/operator.kyma-project.io/v1beta2",
    "ModuleTemplate": "apis/operator.kyma-project.io/v1beta2",
    "Istio": "apis/operator.kyma-project.io/v1alpha2",
}

NAMESPACES = "/api/v1/namespaces"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
PROXY_CONFIGS = "/apis/networking.istio.io/v1beta1/proxyconfigs"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def group(kind: str) -> str:
    """Returns the path of a kind's group and version, where the API server lists the kinds that it serves."""
    return f"/{_GROUPS[kind]}"


def api_version(kind: str) -> str:
    """Returns a kind's `apiVersion`, `apps/v1` for Deployments; `v1` for kinds that are not known here."""
    return _GROUPS.get(kind, "api/v1").partition("/")[2]


def path(kind: str, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
    """Returns the path of a collection, of all namespaces without `namespace`, or of one object."""
    parts = [_GROUPS[kind]]
    if namespace is not None:
        parts += ["namespaces", namespace]
    parts.append(f"{kind.partition('.')[0].lower()}s")
    if name is not None:
        parts.append(name)
    if subresource:
        parts.append(subresource)
    return "/" + "/".join(parts)
