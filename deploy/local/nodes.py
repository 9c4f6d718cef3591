"""What a fresh cluster gets before Istio: fake nodes, and the PriorityClass that Kyma clusters have."""

from __future__ import annotations

from typing import Any

from deploy.local.kubectl import create
from deploy.local.mesh import Mesh

PRIORITY_CLASS = "istio-kyma-priority"
"""What the charts of Kyma's Istio module name as priorityClassName."""

NATIVE_SIDECARS = "v1.37.2"
"""Kubelet version that makes istiod choose native sidecars (all nodes must be 1.33 or newer)."""
PLAIN_SIDECARS = "v1.32.0"
"""Kubelet version too old for native sidecars, but one that istiod can read (kwok's own is not)."""

_CAPACITY = {"cpu": "256", "memory": "1Ti", "ephemeral-storage": "1Ti", "pods": "4000"}
_ZONES = ("a", "b", "c")


def furnish(mesh: Mesh, count: int) -> None:
    """Creates the nodes and the PriorityClass."""
    kubelet = mesh.state.versions["kubelet"]
    create(mesh, _priority_class(), *(_node(number, kubelet) for number in range(count)))


def _node(number: int, kubelet: str) -> dict[str, Any]:
    name = f"node-{number}"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": "local",
        "topology.kubernetes.io/zone": f"local-{_ZONES[number % len(_ZONES)]}",
    }
    info = {
        "architecture": "amd64",
        "operatingSystem": "linux",
        "osImage": "Garden Linux (simulated)",
        "kernelVersion": "6.12.0",
        "containerRuntimeVersion": "containerd://2.1.0",
        "kubeletVersion": kubelet,
        "kubeProxyVersion": kubelet,
        "bootID": "",
        "machineID": "",
        "systemUUID": "",
    }
    addresses = [
        {"type": "InternalIP", "address": f"172.16.{number // 250}.{number % 250 + 1}"},
        {"type": "Hostname", "address": name},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        # The annotation is kwok's: it plays the kubelet of nodes that carry it.
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": _CAPACITY, "allocatable": _CAPACITY, "nodeInfo": info, "addresses": addresses},
    }


def _priority_class() -> dict[str, Any]:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS},
        "value": 2_100_000,
        "description": "Priority of Kyma's Istio components",
    }
