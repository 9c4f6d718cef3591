"""The kinds of workloads that are read, and how each of them is restarted."""

from __future__ import annotations

from mesh.k8s.objects import OwnerReference

#: An Argo Rollout, written with its API group: the kind is not Kubernetes' own.
ARGO_ROLLOUT = "Rollout.argoproj.io"
READ_KINDS = (
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    ARGO_ROLLOUT,
)
#: Restarted by a template annotation.
RESTARTABLE_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
#: Have no rollout of their own: their Pods are evicted one at a time.
EVICTABLE_KINDS = ("ReplicaSet", "ReplicationController")
#: Kinds that are read and whose Pod template an Argo Rollout may take by `spec.workloadRef`.
TEMPLATE_KINDS = ("Deployment", "ReplicaSet")


def kind_of(reference: OwnerReference) -> str:
    """Returns the kind that a reference names, with its API group where the kind is not Kubernetes' own."""
    group, slash, _ = reference.api_version.partition("/")
    if not slash or "." not in group or group.endswith(".k8s.io"):
        return reference.kind
    return f"{reference.kind}.{group}"
