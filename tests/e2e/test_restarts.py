"""One restart on a real cluster: at most one write, seen done, with the rights of the service account."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.edge import Served
from activities.kube.client import Cluster
from activities.kube.reading import read_uid
from activities.restarts import Outcome, RestartActivities, RestartInput, RestartResult, WorkloadRef
from deploy.local.kubectl import apply, kubectl
from deploy.local.service import Service
from mesh.causes import Reason
from mesh.cluster import ClusterRef
from tests.e2e.conftest import NewProxy
from tests.e2e.workloads import generation, make, pod_uids, proxies

pytestmark = pytest.mark.mesh

_NEW = "1.30.2"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_stale_workload_is_restarted_with_one_write(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy, kind: str
) -> None:
    make(platform.mesh, namespace, "alpha", kind)
    old, before = pod_uids(platform.mesh, namespace, "alpha"), generation(platform.mesh, namespace, "alpha", kind)
    new_proxy.give(_NEW)

    first = await _restart(cluster, namespace, "alpha", kind)
    again = await _restart(cluster, namespace, "alpha", kind)

    assert (first.outcome, again.outcome) == (Outcome.RESTARTED, Outcome.RESTARTED)
    assert generation(platform.mesh, namespace, "alpha", kind) == before + 1
    assert proxies(platform.mesh, namespace, "alpha") == {_NEW}
    assert not old & pod_uids(platform.mesh, namespace, "alpha")


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
async def test_bare_controller_gets_its_pods_evicted(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy, kind: str
) -> None:
    make(platform.mesh, namespace, "bare", kind)
    new_proxy.give(_NEW)

    result = await _restart(cluster, namespace, "bare", kind)

    assert result.outcome is Outcome.RESTARTED
    assert proxies(platform.mesh, namespace, "bare") == {_NEW}


async def test_two_restarts_at_once_write_once(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "twice")
    before = generation(platform.mesh, namespace, "twice")
    new_proxy.give(_NEW)

    results = await asyncio.gather(*(_restart(cluster, namespace, "twice") for _ in range(4)))

    assert {result.outcome for result in results} == {Outcome.RESTARTED}
    assert generation(platform.mesh, namespace, "twice") == before + 1


async def test_later_mark_is_not_replaced(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "later")
    new_proxy.give(_NEW)
    kubectl(platform.mesh, "-n", namespace, "rollout", "restart", "deployment/later")
    before = generation(platform.mesh, namespace, "later")

    result = await _restart(cluster, namespace, "later", mark=datetime.now(UTC) - timedelta(hours=1))

    assert result.outcome in (Outcome.RESTARTED, Outcome.ALREADY_CURRENT)
    assert generation(platform.mesh, namespace, "later") == before
    assert proxies(platform.mesh, namespace, "later") == {_NEW}


async def test_current_workload_is_left_alone(platform: Service, cluster: Cluster, namespace: str) -> None:
    make(platform.mesh, namespace, "fresh")
    before = generation(platform.mesh, namespace, "fresh")

    result = await _restart(cluster, namespace, "fresh")

    assert result.outcome is Outcome.ALREADY_CURRENT
    assert generation(platform.mesh, namespace, "fresh") == before


async def test_deleted_workload_is_gone(cluster: Cluster, namespace: str) -> None:
    result = await _restart(cluster, namespace, "never-there")

    assert result.outcome is Outcome.GONE


async def test_new_pods_that_crash_end_in_a_failure_with_its_cause(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "crash")
    # Written to the template without a rollout of its own: paused, changed, and resumed by the restart's own write.
    kubectl(platform.mesh, "-n", namespace, "rollout", "pause", "deployment/crash")
    annotation = '{"spec":{"template":{"metadata":{"annotations":{"behaviour.local-mesh/pod":"crash-looping"}}}}}'
    kubectl(platform.mesh, "-n", namespace, "patch", "deployment", "crash", "--type=merge", "-p", annotation)
    new_proxy.give(_NEW)
    kubectl(platform.mesh, "-n", namespace, "rollout", "resume", "deployment/crash")

    result = await _restart(cluster, namespace, "crash", patience=timedelta(seconds=6))

    assert (result.outcome, result.reason) == (Outcome.FAILED, Reason.ROLLOUT_TIMED_OUT)
    assert "CrashLoopBackOff" in (result.detail or "")


async def test_budget_that_allows_nothing_is_not_overridden(
    platform: Service, cluster: Cluster, namespace: str, new_proxy: NewProxy
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    make(platform.mesh, namespace, "guarded", strategy=strategy)
    budget = {"selector": {"matchLabels": {"app": "guarded"}}, "maxUnavailable": 0}
    metadata = {"name": "guarded", "namespace": namespace}
    apply(
        platform.mesh,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": budget},
    )
    jsonpath = "--for=jsonpath={.status.expectedPods}=2"
    kubectl(platform.mesh, "-n", namespace, "wait", "poddisruptionbudget/guarded", jsonpath, "--timeout=20s")
    before = generation(platform.mesh, namespace, "guarded")
    new_proxy.give(_NEW)

    result = await _restart(cluster, namespace, "guarded")

    assert (result.outcome, result.reason) == (Outcome.FAILED, Reason.DISRUPTION_BUDGET)
    assert generation(platform.mesh, namespace, "guarded") == before


async def _restart(
    cluster: Cluster,
    namespace: str,
    name: str,
    kind: str = "Deployment",
    *,
    mark: datetime | None = None,
    patience: timedelta = timedelta(seconds=60),
) -> RestartResult:
    ref = ClusterRef("story", await read_uid(cluster))
    activities = RestartActivities(Served(cluster, ref))
    ask = RestartInput(ref, WorkloadRef(namespace, kind, name), mark or _MARK, patience)
    try:
        return await ActivityEnvironment().run(activities.restart_workload, ask)
    finally:
        # Its watches would outlive it for a while, each on a connection of the one that all stories share.
        activities._mirror.stop()


#: One attempt for the whole module, as one upgrade has.
_MARK = datetime.now(UTC)
