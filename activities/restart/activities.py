"""Restarts of workloads as a Temporal activity, with the Event that reports each restart on its workload."""

from __future__ import annotations

from temporalio import activity

from activities.boundary import ServedCluster, translating_errors
from activities.kube.client import ClusterClient
from activities.kube.events import record_event
from activities.kube.informer import Informer
from activities.restart.completion_batcher import CompletionBatcher
from activities.restart.disruption_budgets import DisruptionBudgets
from activities.restart.executor import RestartExecutor
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from activities.restart.injection_probe import InjectionProbe
from activities.restart.outcome import RestartInput, RestartOutcome, RestartResult
from mesh.errors import NotFoundError

#: Seconds over which restarts end together: a hundred ends are a few workflow tasks then, and not a hundred.
_BATCH_SECONDS = 4.0


class RestartActivities:
    """Activities that restart workloads. All restarts of a worker share its informer, budgets and probes."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served
        self._informer = Informer(served.cluster)
        self._proxies = ExpectedProxyCache(served.cluster)
        self._budgets = DisruptionBudgets(self._informer)
        self._injection = InjectionProbe(served.cluster)
        self._completions = CompletionBatcher(_BATCH_SECONDS)

    @activity.defn
    @translating_errors
    async def restart_workload(self, request: RestartInput) -> RestartResult:
        """Restarts a workload that is still stale; returns once the restart is verified or has failed."""
        cluster = self._served.connection_for(request.cluster)
        async with self._completions.slot():
            async with self._informer.running():
                executor = RestartExecutor(
                    cluster, self._informer, self._proxies, self._budgets, self._injection, request
                )
                try:
                    result = await executor.run()
                except NotFoundError:
                    result = RestartResult(request.workload, RestartOutcome.GONE)
            if result.outcome in (RestartOutcome.RESTARTED, RestartOutcome.FAILED):
                await _record_outcome(cluster, result)
        return result


async def _record_outcome(cluster: ClusterClient, result: RestartResult) -> None:
    restarted = result.outcome is RestartOutcome.RESTARTED
    message = "restarted; every Pod runs the expected proxy" if restarted else f"{result.reason}: {result.detail}"
    await record_event(
        cluster,
        result.workload,
        reason="RestartSuccess" if restarted else "RestartFailed",
        message=message,
        warning=not restarted,
    )
