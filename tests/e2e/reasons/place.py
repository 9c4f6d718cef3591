"""What the stories of the reasons are made of: a place in the cluster, and a story."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh
from mesh.survey.reasons import Reason
from tests.e2e.workloads import APP, make

#: Prefix of the annotations that steer a Pod's behaviour.
BEHAVIOUR = "behaviour.local-mesh/"
#: Rolls out by taking one Pod away first, or by adding one first.
TAKE_FIRST = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
SURGE_FIRST = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
#: Why an item closes by itself.
CURRENT, GONE, FINISHED = (
    "its Pods run the expected proxy",
    "the workload has no Pods any more",
    "its Pods have finished",
)
#: Simulated kubelets keep no logs.
NO_LOGS = (" logs ",)
#: A workload that recovers by itself needs no restart, and its item may be closed by then.
RECOVERS = ("queue retry",)


class Place:
    """A story's own namespace, and its workload under a name that the product cannot know."""

    def __init__(self, mesh: Mesh, namespace: str, name: str) -> None:
        self.mesh = mesh
        self.namespace = namespace
        self.name = name

    def open(self, **labels: str) -> None:
        """Creates the namespace; without labels it is labelled for injection."""
        metadata = {"name": self.namespace, "labels": labels or {"istio-injection": "enabled"}}
        apply(self.mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def make(self, kind: str = "Deployment", **how: Any) -> str:  # noqa: ANN401
        """Creates the workload and waits until it runs; returns `Kind/name`."""
        make(self.mesh, self.namespace, self.name, kind, **how)
        return f"{kind}/{self.name}"

    def begin(self, **pod: Any) -> str:  # noqa: ANN401
        """Creates a Deployment whose Pods fit on no node unless `pod` says otherwise; returns `Kind/name`."""
        spec = {
            "containers": [APP],
            "nodeSelector": {self.namespace: "yes"},
            **pod,
        }
        labels = {"app": self.name}
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": self.name, "namespace": self.namespace}
        apply(self.mesh, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body})
        wait_for(f"the Pods of {self.name}", lambda: len(self.pods()) == 2)
        return f"Deployment/{self.name}"

    def pods(self) -> list[str]:
        """Returns the names of its Pods."""
        found = read(self.mesh, "pods", "-n", self.namespace) or {"items": []}
        return [pod["metadata"]["name"] for pod in found["items"]]

    def wait_until_running(self) -> None:
        """Waits until it has Pods and all of them are Ready."""
        wait_for(f"Pods of {self.name}", lambda: self.pods() != [])
        self.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=40s")

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl in the namespace."""
        return kubectl(self.mesh, "-n", self.namespace, *arguments)

    def patch(self, what: str, body: dict[str, Any]) -> None:
        """Sends a merge patch."""
        self.kubectl("patch", what, "--type=merge", "-p", json.dumps(body))

    def release(self, **annotations: str | None) -> None:
        """Rolls out a template with other annotations, as the owner of the Deployment does."""
        self.patch(f"deployment/{self.name}", {"spec": {"template": {"metadata": {"annotations": annotations}}}})

    def behave(self, until: str, **how: str | None) -> None:
        """Sets or removes (None) behaviours of its running Pods, and waits until each meets the condition."""
        annotations = [f"{BEHAVIOUR}{name}={text}" if text else f"{BEHAVIOUR}{name}-" for name, text in how.items()]
        self.kubectl("annotate", "--overwrite", "pods", "--all", *annotations)
        self.kubectl("wait", "pods", "--all", f"--for={until}", "--timeout=30s")

    def recover(self) -> None:
        """Lets its running Pods run well again."""
        self.behave("condition=Ready", pod=None, **{"start-after": None})

    def relabel(self, *labels: str) -> None:
        """Changes the labels of the namespace."""
        kubectl(self.mesh, "label", "--overwrite", "namespace", self.namespace, *labels)

    def label_node(self, value: str = "=yes") -> None:
        """Labels a node as the one for its Pods; the value "-" removes the label."""
        kubectl(self.mesh, "label", "--overwrite", "nodes", "node-0", f"{self.namespace}{value}")


def _nothing(_: Place) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Story:
    """How a reason comes about in a place, how an operator fixes it, and what happens meanwhile.

    `begin` creates the workload and returns `Kind/name`. `meanwhile` runs once the upgrade waits for its approval,
    `in_restart` once it restarts. Commands of the advice that contain one of `without` are left out. `closed` lists
    the reasons that the item may give for closing.
    """

    name: str
    reason: Reason
    begin: Callable[[Place], str]
    evidence: str
    fix: Callable[[Place], None] = _nothing
    without: tuple[str, ...] = ()
    closed: tuple[str, ...] = (CURRENT,)
    meanwhile: Callable[[Place], None] = _nothing
    in_restart: Callable[[Place], None] = _nothing
    labels: tuple[tuple[str, str], ...] = ()
