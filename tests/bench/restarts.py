"""Measures verified restarts, compared with the same rollouts patched all at once and not verified.

One mesh, one worker with the permissions of its service account, pairs of both ways in turn. Both end when every
Deployment is rolled out, an upgrade also when every Pod is verified. Rollouts in flight are sampled from outside.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from activities.kube.client import ClusterClient, connect
from activities.kube.paths import path
from activities.kube.watch import RelistStarted, Synced, watch_objects
from activities.kube.workloads import with_kind
from deploy.local import lifecycle
from deploy.local.demo.stage import raise_stage
from deploy.local.mesh import Mesh
from deploy.local.service import Service
from mesh.identity import upgrade_id
from mesh.k8s.objects import Workload
from mesh.k8s.restart_patch import mark_of
from mesh.k8s.rollout import rollout
from mesh.text import rfc3339
from mesh.wellknown import RESTARTED_AT
from tests.bench.crowd import fill
from tests.e2e.conftest import TAGS, NewProxy

_NAME = "bench-restarts"
_DEPLOYMENTS, _REPLICAS = 1000, 2
_PAIRS = 3
_IN_FLIGHT = 80
_POLICY = f"""
waves: {{canary: 0%, steps: [100%]}}
inFlight: {{cluster: {_IN_FLIGHT}, namespace: 200}}
soak: 0s
"""
_SAMPLE_SECONDS = 0.1
_AT_ONCE = 50


def main() -> None:
    """Starts the mesh, fills it, runs the pairs, and prints the measurements."""
    lifecycle.down(_NAME)
    service = raise_stage(_NAME)
    try:
        fill(service.mesh, range(_DEPLOYMENTS), _REPLICAS)
        asyncio.run(_pairs(service))
    finally:
        lifecycle.down(_NAME)


@dataclass
class Watcher:
    """The Deployments of the benchmark that are in the middle of a rollout, by a watch of its own."""

    known: dict[str, Workload] = field(default_factory=dict)
    rolling: set[str] = field(default_factory=set)
    most: int = 0

    async def watch(self, cluster: ClusterClient) -> None:
        async with aclosing(watch_objects(cluster, path("Deployment"), Workload)) as changes:
            async for change in changes:
                if not isinstance(change, RelistStarted | Synced) and change.object.metadata.namespace.startswith(
                    "bench-"
                ):
                    deployment = with_kind(change.object, "Deployment")
                    self.known[deployment.metadata.uid] = deployment
                    if rollout(deployment).complete:
                        self.rolling.discard(deployment.metadata.uid)
                    else:
                        self.rolling.add(deployment.metadata.uid)

    def done(self, mark: datetime) -> bool:
        marks = (mark_of(one) for one in self.known.values())
        return not self.rolling and all(one is not None and one >= mark for one in marks)

    async def sample(self) -> None:
        while True:
            self.most = max(self.most, len(self.rolling))
            await asyncio.sleep(_SAMPLE_SECONDS)


async def _pairs(service: Service) -> None:
    policy, counts = service.mesh.directory / "bench-policy.yaml", service.mesh.directory / "bench-requests"
    policy.write_text(_POLICY)
    proxy = NewProxy(service.mesh)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.worker", str(counts)],
        env=service.environment | {"KYMA_UPGRADE_KUBECONFIG": str(service.worker_kubeconfig)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            async with await connect(str(service.mesh.kubeconfig)) as cluster:
                watcher = Watcher()
                watching = asyncio.create_task(watcher.watch(cluster))
                while len(watcher.known) < _DEPLOYMENTS:
                    await asyncio.sleep(1)
                ratios = []
                for pair in range(_PAIRS):
                    proxy.give(TAGS[pair % 2])
                    ours = await _upgrade(service, policy, counts, watcher, worker.pid)
                    theirs = await _all_at_once(cluster, watcher)
                    ratios.append(ours / theirs)
                    _say(f"pair {pair + 1}: {ours:.1f} s, all at once {theirs:.1f} s, ratio {ratios[-1]:.2f}")
                watching.cancel()
                _say(f"restarts / all at once, median of {_PAIRS} pairs: {statistics.median(ratios):.2f}")
        finally:
            worker.terminate()


async def _upgrade(service: Service, policy: Path, counts: Path, watcher: Watcher, worker: int) -> float:
    """Returns the seconds from the start of the first wave to the end of the last."""
    before = _number(counts)
    watcher.most = 0
    sampling = asyncio.create_task(watcher.sample())
    peak = asyncio.create_task(_peak(worker))
    command = [str(Path(sys.executable).with_name("kyma-upgrade")), "start", "--to", "current", "--wait", "-o", "json"]
    process = await asyncio.create_subprocess_exec(
        *command, "--policy", str(policy), env=service.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    sampling.cancel()
    peak.cancel()
    if process.returncode not in (0, 3):
        raise SystemExit(f"the upgrade ended with {process.returncode}: {err.decode()[-2000:]}")
    megabytes = await peak
    status = json.loads(out)
    client = await Client.connect(service.temporal.address)
    began, ended, events, longest = await _histories(client, service.mesh)
    requests = _number(counts) - before
    restarted = status["workloads"]["restarted"]
    _say(
        f"  {restarted} restarted, each {requests / restarted:.1f} requests and {events / restarted:.1f} events, "
        f"longest history {longest}, in flight at most {watcher.most} of {_IN_FLIGHT}, worker {megabytes:.0f} MB"
    )
    return ended - began


async def _histories(client: Client, mesh: Mesh) -> tuple[float, float, int, int]:
    """Returns start of the first wave, end of the last, events of the upgrade and its waves, the longest history."""
    upgrade = client.get_workflow_handle(upgrade_id(mesh.name))
    history = await upgrade.fetch_history()
    lengths, starts, ends = [len(history.events)], [], []
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED:
            execution = event.child_workflow_execution_started_event_attributes.workflow_execution
            wave = await client.get_workflow_handle(execution.workflow_id, run_id=execution.run_id).fetch_history()
            lengths.append(len(wave.events))
            starts.append(wave.events[0].event_time.ToDatetime(tzinfo=UTC).timestamp())
            ends.append(wave.events[-1].event_time.ToDatetime(tzinfo=UTC).timestamp())
    return min(starts), max(ends), sum(lengths), max(lengths)


async def _peak(pid: int) -> float:
    process, most = psutil.Process(pid), 0.0
    with suppress(asyncio.CancelledError):
        while True:
            most = max(most, process.memory_info().rss / 2**20)
            await asyncio.sleep(0.5)
    return most


async def _all_at_once(cluster: ClusterClient, watcher: Watcher) -> float:
    """Returns the seconds from the first patch until every rollout is complete."""
    mark = datetime.now(UTC).replace(microsecond=0)
    body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: rfc3339(mark)}}}}}
    limit = asyncio.Semaphore(_AT_ONCE)

    async def patch(one: Workload) -> None:
        async with limit:
            await cluster.patch(path("Deployment", one.metadata.namespace, one.metadata.name), body, Workload)

    began = time.perf_counter()
    await asyncio.gather(*(patch(one) for one in list(watcher.known.values())))
    while not watcher.done(mark):
        await asyncio.sleep(_SAMPLE_SECONDS)
    return time.perf_counter() - began


def _number(file: Path) -> int:
    return int(file.read_text() or 0) if file.exists() else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
