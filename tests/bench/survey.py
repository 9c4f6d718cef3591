"""Measures a survey, compared with kubectl and with reading the same bytes and discarding them.

`bare` reads streams of JSON, `frames` the same bytes as a survey, with Pods as protobuf.

Each measurement is a process of its own, the ways in turn, so that neither the order nor a busy machine favours one.
Seconds are of the reading alone, after imports and connection; the peak is of the whole process.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing

from activities.kube.client import JSON, ClusterClient, connect
from activities.kube.paths import path
from activities.kube.protobuf import ACCEPT
from activities.kube.watch import WATCH_LIST
from activities.survey.run import run_partial_survey
from deploy.local import lifecycle
from deploy.local.kubectl import program
from deploy.local.mesh import Mesh
from mesh.k8s.kinds import READ_KINDS
from tests.bench.crowd import fill
from tests.bench.peak import peak_megabytes

_NAME = "bench"
_REPLICAS = 10
_STEPS = (200, 1000)
_RUNS = 5


def main() -> None:
    """Starts a mesh, fills it in two steps, measures at each, and prints a table."""
    lifecycle.down(_NAME)
    mesh = lifecycle.up(_NAME, "1.30.2", node_count=20)
    try:
        _print_times("kyma-upgrade --help", [_timed(_command("--help")) for _ in range(_RUNS)])
        scan = _command("scan", "-o", "json", "--kubeconfig", str(mesh.kubeconfig))
        _print_times("kyma-upgrade scan, no workloads", [_timed(scan) for _ in range(_RUNS)])
        created, peaks = 0, []
        for deployments in _STEPS:
            fill(mesh, range(created, deployments), _REPLICAS)
            created = deployments
            peaks.append(_measure_all(mesh, deployments * _REPLICAS))
        _say(f"peak of a survey, {_STEPS[1]} to {_STEPS[0]} Deployments: {peaks[1] / peaks[0]:.2f}")
    finally:
        lifecycle.down(_NAME)


def _measure_all(mesh: Mesh, pods: int) -> float:
    ways = ("survey", "frames", "bare", "kubectl")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(_RUNS):
        for way, figures in found.items():
            command = [sys.executable, "-m", "tests.bench.survey", way, str(mesh.kubeconfig)]
            figures.append(_timed(command, own_clock=True))
    _say(f"{pods} injected Pods of {pods // _REPLICAS} Deployments, {_RUNS} runs")
    for way, figures in found.items():
        _print_times(f"  {way}", figures)
    seconds = {way: statistics.median(one for one, _ in figures) for way, figures in found.items()}
    for way in ways[1:]:
        _say(f"  survey / {way}: {seconds['survey'] / seconds[way]:.2f}")
    return max(peak for _, peak in found["survey"])


def _command(*arguments: str) -> list[str]:
    return [str(program().with_name("kyma-upgrade")), *arguments]


def _timed(command: list[str], *, own_clock: bool = False) -> tuple[float, float]:
    """Returns seconds and peak megabytes of a process; with its own clock the process prints them."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.communicate()[0]
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    if own_clock:
        own, peak = output.split()[-2:]
        return float(own), float(peak)
    return seconds, 0.0


def _print_times(what: str, figures: Sequence[tuple[float, float]]) -> None:
    times = sorted(seconds for seconds, _ in figures)
    peak = max(megabytes for _, megabytes in figures)
    figures_text = f"{times[0]:.2f} {statistics.median(times):.2f} {times[-1]:.2f} s (min median max)"
    _say(f"{what:36} {figures_text}" + (f", peak {peak:.0f} MB" if peak else ""))


async def _read(way: str, kubeconfig: str) -> float:
    async with await connect(kubeconfig) as cluster:
        began = time.perf_counter()
        if way == "survey":
            await run_partial_survey(cluster)
        else:
            # Custom resources have a group; this mesh has none of them.
            for kind in ("Pod", *(kind for kind in READ_KINDS if "." not in kind)):
                await _discard(cluster, path(kind), ACCEPT if kind == "Pod" and way == "frames" else JSON)
        return time.perf_counter() - began


async def _discard(cluster: ClusterClient, where: str, accept: str) -> None:
    async with aclosing(cluster.watch_records(where, WATCH_LIST, 60, accept)) as lines:
        async for line in lines:
            if b"k8s.io/initial-events-end" in line[:1000]:
                return


def _kubectl(kubeconfig: str) -> float:
    began = time.perf_counter()
    command = [str(program()), "--kubeconfig", kubeconfig, "get", "pods", "-A", "-o", "json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "kubectl":
        _say(f"{_kubectl(sys.argv[2])} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}")
    else:
        _say(f"{asyncio.run(_read(*sys.argv[1:]))} {peak_megabytes()}")
