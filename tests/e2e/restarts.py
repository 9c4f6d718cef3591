"""Restarts by the worker's activity alone, without Temporal, on a real cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import ClusterClient
from activities.kube.paths import path
from activities.restart.activities import RestartActivities
from activities.restart.outcome import RestartInput, RestartResult
from deploy.local.demo.stage import wait_for
from mesh.identity import ClusterRef
from mesh.k8s.objects import Pod
from mesh.k8s.workload_ref import WorkloadRef

#: The mark of one upgrade, shared by all stories of a run.
MARK = datetime.now(UTC).replace(microsecond=0)

_SAMPLE_SECONDS = 0.1


class Restarts:
    """The restarts of one worker in one namespace; they share watches, budgets and probes."""

    def __init__(self, cluster: ClusterClient, ref: ClusterRef, namespace: str) -> None:
        self._cluster = cluster
        self._ref = ref
        self._namespace = namespace
        self._others: list[Restarts] = []
        self._activities = RestartActivities(ServedCluster(cluster, ref))

    async def of(
        self, name: str, kind: str = "Deployment", *, mark: datetime = MARK, no_progress: float = 60.0
    ) -> RestartResult:
        """Restarts a workload and waits for the end; `no_progress` is in seconds."""
        workload = WorkloadRef(self._namespace, kind, name)
        request = RestartInput(self._ref, workload, mark, timedelta(seconds=no_progress))
        return await ActivityEnvironment().run(self._activities.restart_workload, request)

    def start(
        self, name: str, kind: str = "Deployment", *, mark: datetime = MARK, no_progress: float = 60.0
    ) -> asyncio.Task[RestartResult]:
        """Starts a restart."""
        return asyncio.create_task(self.of(name, kind, mark=mark, no_progress=no_progress))

    def other_worker(self, cluster: ClusterClient | None = None) -> Restarts:
        """Returns the restarts of another worker, with a connection of its own if one is given."""
        self._others.append(Restarts(cluster or self._cluster, self._ref, self._namespace))
        return self._others[-1]

    def stop(self) -> None:
        """Ends the watches, also those of the other workers."""
        for other in self._others:
            other.stop()
        self._activities._informer.stop()


class ReadyPods:
    """Counts the Ready Pods of a namespace ten times a second."""

    def __init__(self, cluster: ClusterClient, namespace: str, selector: str) -> None:
        self._cluster = cluster
        self._where = path("Pod", namespace)
        self._query = {"labelSelector": selector}
        self.counts: list[int] = []

    async def watch(self) -> None:
        """Counts until it is cancelled."""
        while True:
            pods, _ = await self._cluster.list_all(self._where, Pod, self._query)
            self.counts.append(sum(pod.ready for pod in pods if pod.metadata.deletion_timestamp is None))
            await asyncio.sleep(_SAMPLE_SECONDS)


async def until(what: str, done: Callable[[], bool]) -> None:
    """Waits while restarts go on."""
    await asyncio.to_thread(wait_for, what, done)
