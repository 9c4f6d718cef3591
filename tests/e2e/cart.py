"""The workload of the stories about one restart, and what others do to it meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from activities.restart.outcome import RestartOutcome, RestartResult
from deploy.local.kubectl import kubectl, read
from deploy.local.mesh import Mesh
from mesh.survey.reasons import Reason
from tests.e2e.restarts import until
from tests.e2e.workloads import generation, pod_uids, proxies

OLD, NEW = "1.29.3-distroless", "1.30.2"
BEHAVIOUR = "behaviour.local-mesh/pod"
#: New Pods take this long to start, so that a rollout has a middle.
SLOW_START = {"behaviour.local-mesh/start-after": "3s"}
#: Rolls out by taking one Pod away first, or by adding one first.
TAKE_FIRST = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
SURGE_FIRST = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


class Cart:
    """A story's Deployment, called cart, and what others do to it meanwhile."""

    def __init__(self, mesh: Mesh, namespace: str) -> None:
        self._mesh, self._namespace = mesh, namespace
        self._written = self._generation()
        #: The UIDs of its Pods at the beginning of the story.
        self.old = self.pods

    def _generation(self) -> int:
        return generation(self._mesh, self._namespace, "cart")

    @property
    def writes(self) -> int:
        """How often its spec was changed since the beginning of the story."""
        return self._generation() - self._written

    @property
    def pods(self) -> set[str]:
        """The UIDs of its Pods that are not terminating."""
        return pod_uids(self._mesh, self._namespace, "cart")

    @property
    def proxies(self) -> set[str]:
        """The image tags of their proxies."""
        return proxies(self._mesh, self._namespace, "cart")

    def kubectl(self, *arguments: str) -> str:
        """Runs kubectl in the namespace."""
        return kubectl(self._mesh, "-n", self._namespace, *arguments)

    def patch_template(self, metadata: dict[str, Any], *flags: str) -> None:
        """Changes the metadata of its template."""
        body = json.dumps({"spec": {"template": {"metadata": metadata}}})
        self.kubectl("patch", "deployment/cart", "--type=merge", "-p", body, *flags)

    def release(self) -> None:
        """Rolls out another release."""
        self.patch_template({"annotations": {"release": "2"}})

    async def under_way(self) -> set[str]:
        """Waits until the restart was written and there are new Pods; returns their UIDs."""
        await until("the restart's first Pod", lambda: self.writes > 0 and bool(self.pods - self.old))
        return self.pods - self.old

    def misbehave(self, uid: str, behaviour: str | None) -> None:
        """Sets or removes (None) the behaviour of one of its Pods."""
        pods = read(self._mesh, "pods", "-n", self._namespace, "-l", "app=cart")["items"]
        name = next((pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] == uid), None)
        if name is not None:
            annotation = f"{BEHAVIOUR}={behaviour}" if behaviour else f"{BEHAVIOUR}-"
            self.kubectl("annotate", "--overwrite", "pod", name, annotation)


OpenCart = Callable[..., Cart]


def ended(result: RestartResult) -> tuple[RestartOutcome, Reason | None]:
    return result.outcome, result.reason
