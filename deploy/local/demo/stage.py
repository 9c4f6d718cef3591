"""The demo's stage: mesh, Kyma, shop, Temporal and a worker. Also what the end-to-end tests play on."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local import lifecycle
from deploy.local.errors import LocalMeshError
from deploy.local.kubectl import kubectl, read
from deploy.local.kyma.command import add_arguments, run
from deploy.local.mesh import Mesh
from deploy.local.progress import say
from deploy.local.service import Service, service, start_temporal

#: What the demo upgrades from and to.
FROM_ISTIO = "1.29.3-distroless"
TO_CHANNEL = "fast"
TO_ISTIO = "1.30.2"

SHOP = Path(__file__).with_name("shop")
POLICY = Path(__file__).with_name("policy.yaml")
_SETTLE_SECONDS = 90.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class WorkloadState:
    """What tells from outside how often a workload was changed and its Pods were made."""

    generation: int
    pods: frozenset[str]


def raise_stage(name: str, *pace: str) -> Service:
    """Starts everything except the worker and the workloads; all of it ends with the mesh.

    Args:
        name: name of the mesh.
        pace: options of the command `kyma` that say how long its steps take, e.g. `--step=0.1`.
    """
    mesh = lifecycle.up(name, FROM_ISTIO)
    say("starting the stand-in for Kyma's module management")
    start_kyma(mesh, *pace)
    say("installing the service: permissions, hold, service account, Temporal")
    return service(mesh, start_temporal(mesh))


def start_kyma(mesh: Mesh, *pace: str) -> None:
    """Starts the stand-in for Kyma's module management."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    # Its JSON is for whoever typed the command.
    with contextlib.redirect_stdout(sys.stderr):
        run(parser.parse_args(pace, argparse.Namespace(name=mesh.name)))


def open_shop(mesh: Mesh) -> None:
    """Creates the demo's workloads and waits until each is in the state that it is there for."""
    kubectl(mesh, "apply", "--server-side", "-f", str(SHOP))
    wait_for("the workloads of the shop", lambda: _opened(mesh))
    # A Deployment that is created paused would make no Pods at all.
    kubectl(mesh, "-n", "odd", "rollout", "pause", "deployment/newsletter")
    # The CronJob's own time does not come during a demo.
    kubectl(mesh, "-n", "batch", "create", "job", "--from=cronjob/invoice-export", "invoice-export-by-hand")
    wait_for("the CronJob's Job", lambda: _running(mesh, "batch", 2))


def _opened(mesh: Mesh) -> bool:
    for kind in ("deployments", "statefulsets"):
        for one in read(mesh, kind, "-A")["items"]:
            made = one["status"].get("replicas", 0)
            if one["metadata"]["namespace"] == "odd":
                if made != one["spec"]["replicas"]:
                    return False
            elif one["status"].get("availableReplicas", 0) != one["spec"]["replicas"]:
                return False
    phases = {pod["metadata"]["name"]: pod["status"].get("phase") for pod in read(mesh, "pods", "-n", "odd")["items"]}
    failed = phases.get("price-import") == "Failed"
    unknown = any(name.startswith("store-gateway") and phase == "Unknown" for name, phase in phases.items())
    running = sum(1 for phase in phases.values() if phase == "Running")
    looping = [
        status["state"].get("waiting", {}).get("reason")
        for pod in read(mesh, "pods", "-n", "odd", "-l", "app=legacy-importer")["items"]
        for status in pod["status"].get("containerStatuses", [])
    ]
    budget = read(mesh, "poddisruptionbudget", "wishlists", "-n", "odd")["status"].get("currentHealthy", 0)
    return failed and unknown and running > 0 and "CrashLoopBackOff" in looping and budget > 0


def _running(mesh: Mesh, namespace: str, pods: int) -> bool:
    found = read(mesh, "pods", "-n", namespace)["items"]
    return sum(1 for pod in found if pod["status"].get("phase") == "Running") >= pods


def observe(mesh: Mesh) -> dict[str, WorkloadState]:
    """Every workload by `namespace/kind/name`, with its generation and the UIDs of its living Pods."""
    pods = [pod for pod in read(mesh, "pods", "-A")["items"] if "deletionTimestamp" not in pod["metadata"]]
    sets = {one["metadata"]["uid"]: one for one in read(mesh, "replicasets", "-A")["items"]}
    found: dict[str, WorkloadState] = {}
    for kind in ("deployments", "statefulsets", "daemonsets"):
        for one in read(mesh, kind, "-A")["items"]:
            metadata = one["metadata"]
            mine = {uid for uid, owned in sets.items() if _owned_by(owned, metadata["uid"])} | {metadata["uid"]}
            uids = frozenset(pod["metadata"]["uid"] for pod in pods if any(_owned_by(pod, uid) for uid in mine))
            found[f"{metadata['namespace']}/{one['kind']}/{metadata['name']}"] = WorkloadState(
                metadata["generation"], uids
            )
    for pod in pods:
        metadata = pod["metadata"]
        if not metadata.get("ownerReferences"):
            found[f"{metadata['namespace']}/Pod/{metadata['name']}"] = WorkloadState(0, frozenset({metadata["uid"]}))
    return found


def _owned_by(one: dict, uid: str) -> bool:  # type: ignore[type-arg]  # any Kubernetes object
    return any(owner["uid"] == uid for owner in one["metadata"].get("ownerReferences", []))


def wait_for(what: str, done: Callable[[], bool], seconds: float = _SETTLE_SECONDS) -> None:
    """Waits until `done` is true.

    Raises:
        LocalMeshError: it was not true within the time.
    """
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if done():
            return
        if began > end:
            raise LocalMeshError(f"Waited {seconds:.0f} s in vain for {what}.", "The mesh's logs may tell why.")
        # A check that starts programs takes half of the time at most: others need the machine too.
        time.sleep(max(_POLL_SECONDS, time.monotonic() - began))
