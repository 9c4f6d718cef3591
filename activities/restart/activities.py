"""Restarts of workloads as an activity: what is asked, how it ended, and the Event that tells it."""

from __future__ import annotations

from temporalio import activity

from activities.boundary import ServedCluster, translating_errors
from activities.kube.client import ClusterClient
from activities.kube.events import record_event
from activities.kube.informer import Informer
from activities.restart.completion_batcher import CompletionBatcher
from activities.restart.disruption_budgets import DisruptionBudgets
from activities.restart.executor import InjectionProbe, RestartExecutor, RestartInput, RestartOutcome, RestartResult
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from mesh.errors import NotFoundError

__all__ = ["RestartActivities", "RestartInput", "RestartOutcome", "RestartResult"]

#: Of the ends of restarts: a hundred of them are a few workflow tasks, not a hundred.
_TOGETHER_SECONDS = 4.0


class RestartActivities:
    """Activities of the data plane. All restarts of a worker share its watches, budgets and probes."""

    def __init__(self, served: ServedCluster) -> None:
        self._served = served
        self._mirror = Informer(served.cluster)
        self._proxies = ExpectedProxyCache(served.cluster)
        self._budgets = DisruptionBudgets(self._mirror)
        self._injection = InjectionProbe(served.cluster)
        self._bunches = CompletionBatcher(_TOGETHER_SECONDS)

    @activity.defn
    @translating_errors
    async def restart_workload(self, ask: RestartInput) -> RestartResult:
        """Restarts it if it is still stale, and returns when it was seen done or cannot be."""
        cluster = self._served.connection_for(ask.cluster)
        async with self._bunches.one():
            async with self._mirror.running():
                restart = RestartExecutor(cluster, self._mirror, self._proxies, self._budgets, self._injection, ask)
                try:
                    result = await restart.run()
                except NotFoundError:
                    result = RestartResult(ask.workload, RestartOutcome.GONE)
            if result.outcome in (RestartOutcome.RESTARTED, RestartOutcome.FAILED):
                await _tell(cluster, result)
        return result


async def _tell(cluster: ClusterClient, result: RestartResult) -> None:
    restarted = result.outcome is RestartOutcome.RESTARTED
    message = "restarted; every Pod runs the expected proxy" if restarted else f"{result.reason}: {result.detail}"
    await record_event(
        cluster,
        result.workload,
        reason="RestartSuccess" if restarted else "RestartFailed",
        message=message,
        warning=not restarted,
    )
