"""Restarts of workloads as an activity: what is asked, how it ended, and the Event that tells it."""

from __future__ import annotations

from temporalio import activity

from activities.boundary import Served, translated
from activities.kube.client import ClusterClient
from activities.kube.events import record_event
from activities.kube.informer import Informer
from activities.restart.completion_batcher import CompletionBatcher
from activities.restart.disruption_budgets import Budgets
from activities.restart.executor import Injection, Outcome, Restart, RestartInput, RestartResult
from activities.restart.expected_proxy_cache import ExpectedProxyCache
from mesh.errors import NotFoundError

__all__ = ["Outcome", "RestartActivities", "RestartInput", "RestartResult"]

#: Of the ends of restarts: a hundred of them are a few workflow tasks, not a hundred.
_TOGETHER_SECONDS = 4.0


class RestartActivities:
    """Activities of the data plane. All restarts of a worker share its watches, budgets and probes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._mirror = Informer(served.cluster)
        self._proxies = ExpectedProxyCache(served.cluster)
        self._budgets = Budgets(self._mirror)
        self._injection = Injection(served.cluster)
        self._bunches = CompletionBatcher(_TOGETHER_SECONDS)

    @activity.defn
    @translated
    async def restart_workload(self, ask: RestartInput) -> RestartResult:
        """Restarts it if it is still stale, and returns when it was seen done or cannot be."""
        cluster = self._served.of(ask.cluster)
        async with self._bunches.one():
            async with self._mirror.running():
                restart = Restart(cluster, self._mirror, self._proxies, self._budgets, self._injection, ask)
                try:
                    result = await restart.run()
                except NotFoundError:
                    result = RestartResult(ask.workload, Outcome.GONE)
            if result.outcome in (Outcome.RESTARTED, Outcome.FAILED):
                await _tell(cluster, result)
        return result


async def _tell(cluster: ClusterClient, result: RestartResult) -> None:
    restarted = result.outcome is Outcome.RESTARTED
    message = "restarted; every Pod runs the expected proxy" if restarted else f"{result.reason}: {result.detail}"
    await record_event(
        cluster,
        namespace=result.workload.namespace,
        kind=result.workload.kind.partition(".")[0],
        name=result.workload.name,
        reason="RestartSuccess" if restarted else "RestartFailed",
        message=message,
        warning=not restarted,
    )
