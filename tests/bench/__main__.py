"""`make bench`: what a reading of all Pods costs, by our structs and by the client's own models (docs/adr/0002).

Each measurement is a process of its own, the two in turn, so that neither the order nor a noisy machine favours one.
Prints seconds of the reading alone and the peak memory of the process.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time

from activities.kube.client import connect
from activities.kube.paths import path
from deploy.local import lifecycle
from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.progress import say
from mesh.objects import Pod

_NAME = "bench"
_PODS = 1000
_RUNS = 3
_PAGE = 500


def main() -> None:
    """Brings a mesh up, fills it, measures, prints a table."""
    lifecycle.down(_NAME)
    mesh = lifecycle.up(_NAME, "1.30.2")
    try:
        _fill(mesh)
        found: dict[str, list[tuple[float, float]]] = {"structs": [], "models": []}
        for _ in range(_RUNS):
            for way, figures in found.items():
                command = [sys.executable, "-m", "tests.bench", way, str(mesh.kubeconfig)]
                seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                figures.append((float(seconds), float(megabytes)))
    finally:
        lifecycle.down(_NAME)
    print(f"Reading {_PODS} injected Pods, pages of {_PAGE}, {_RUNS} runs")  # noqa: T201
    for way, figures in found.items():
        times = [seconds for seconds, _ in figures]
        told = f"{min(times):.2f} {statistics.median(times):.2f} {max(times):.2f} s (min median max)"
        print(f"  {way:8} {told}, peak {max(megabytes for _, megabytes in figures):.0f} MB")  # noqa: T201
    ratio = statistics.median(s for s, _ in found["structs"]) / statistics.median(s for s, _ in found["models"])
    print(f"  structs / models: {ratio:.3f}")  # noqa: T201


def _fill(mesh: Mesh) -> None:
    say(f"making {_PODS} Pods")
    apply(
        mesh,
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": _NAME, "labels": {"istio-injection": "enabled"}},
        },
    )
    kubectl(mesh, "-n", _NAME, "create", "deployment", "many", "--image", "docker.io/library/nginx:1.29")
    kubectl(mesh, "-n", _NAME, "scale", "deployment/many", f"--replicas={_PODS}")
    ready = ("deployment", "many", "-n", _NAME)
    wait_for("all Pods", lambda: read(mesh, *ready)["status"].get("availableReplicas", 0) == _PODS, 600)


async def _measure(way: str, kubeconfig: str) -> None:
    async with await connect(kubeconfig) as cluster:
        # Both import what they need before the clock starts.
        from kubernetes.aio.client import CoreV1Api

        api = CoreV1Api(cluster._api)  # the very same connection
        began = time.perf_counter()
        if way == "structs":
            await cluster.list_all(path("Pod"), Pod)
        else:
            token: str | None = None
            while token != "":
                page = await api.list_pod_for_all_namespaces(limit=_PAGE, _continue=token)
                token = (page.metadata._continue if page.metadata else None) or ""
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, peak)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_measure(sys.argv[1], sys.argv[2]))
    else:
        main()
