"""Argo Rollouts on a mesh: its custom resources, and the real controller as a process of the mesh."""

from __future__ import annotations

import json
import time

from deploy.local.binaries import ROLLOUTS, ROLLOUTS_VERSION, ensure
from deploy.local.custom_resources import install
from deploy.local.errors import LocalMeshError
from deploy.local.kubectl import kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.progress import say

CONTROLLER = "rollouts-controller"

_START_SECONDS = 60.0
_POLL_SECONDS = 0.2
#: An empty Rollout: that it is observed shows that the controller works.
_PROBE = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"generateName": "observed-", "namespace": "default"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "observed"}},
        "template": {
            "metadata": {"labels": {"app": "observed"}},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        },
        "strategy": {"canary": {}},
    },
}


def start_rollouts(mesh: Mesh) -> None:
    """Restarts the controller, and returns when it observes a Rollout.

    Raises:
        LocalMeshError: it does not start, or observes nothing.
    """
    binaries = ensure([ROLLOUTS])
    install(mesh, binaries.files)
    argv = [
        str(binaries[CONTROLLER]),
        f"--kubeconfig={mesh.kubeconfig}",
        "--leader-elect=false",
        # Any free ports: meshes stand side by side, and nobody asks.
        "--metricsPort=0",
        "--healthzPort=0",
    ]
    say(f"starting Argo Rollouts {ROLLOUTS_VERSION}")
    controller = mesh.spawn_system(CONTROLLER, argv, mesh.environment)
    mesh.change_state(versions=mesh.state.versions | {"argoRollouts": ROLLOUTS_VERSION})
    probe = kubectl(mesh, "create", "-o", "name", "-f", "-", stdin=json.dumps(_PROBE)).strip()
    deadline = time.monotonic() + _START_SECONDS
    while not read(mesh, probe, "-n", "default").get("status"):
        if time.monotonic() > deadline or not controller.alive:
            raise LocalMeshError("Argo Rollouts observes nothing.", f"See {mesh.log(CONTROLLER)}.")
        time.sleep(_POLL_SECONDS)
    kubectl(mesh, "delete", probe, "-n", "default")
    say("Argo Rollouts is running")
