"""One restart on a real cluster: at most one write, verified, with the permissions of the service account."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from activities.restart.outcome import RestartOutcome
from deploy.local.kubectl import kubectl
from deploy.local.service import Service
from mesh.survey.reasons import Reason
from tests.e2e.conftest import NewProxy
from tests.e2e.restarts import MARK, Restarts
from tests.e2e.workloads import generation, limit, make, pod_uids, proxies

pytestmark = pytest.mark.mesh

_NEW = "1.30.2"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_stale_workload_is_restarted_with_one_write(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy, kind: str
) -> None:
    make(platform.mesh, namespace, "alpha", kind)
    old, before = pod_uids(platform.mesh, namespace, "alpha"), generation(platform.mesh, namespace, "alpha", kind)
    new_proxy.give(_NEW)

    first = await restarts.of("alpha", kind)
    again = await restarts.of("alpha", kind)

    assert (first.outcome, again.outcome) == (RestartOutcome.RESTARTED, RestartOutcome.RESTARTED)
    assert generation(platform.mesh, namespace, "alpha", kind) == before + 1
    assert proxies(platform.mesh, namespace, "alpha") == {_NEW}
    assert not old & pod_uids(platform.mesh, namespace, "alpha")


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
async def test_bare_controller_gets_its_pods_evicted(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy, kind: str
) -> None:
    make(platform.mesh, namespace, "bare", kind)
    new_proxy.give(_NEW)

    result = await restarts.of("bare", kind)

    assert result.outcome is RestartOutcome.RESTARTED
    assert proxies(platform.mesh, namespace, "bare") == {_NEW}


async def test_workers_that_restart_a_workload_at_the_same_time_write_once(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "twice")
    before = generation(platform.mesh, namespace, "twice")
    new_proxy.give(_NEW)

    results = await asyncio.gather(*(restarts.other_worker().of("twice") for _ in range(4)))

    assert {result.outcome for result in results} == {RestartOutcome.RESTARTED}
    assert generation(platform.mesh, namespace, "twice") == before + 1


async def test_later_mark_is_not_replaced(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "later")
    new_proxy.give(_NEW)
    kubectl(platform.mesh, "-n", namespace, "rollout", "restart", "deployment/later")
    before = generation(platform.mesh, namespace, "later")

    result = await restarts.of("later", mark=MARK - timedelta(hours=1))

    assert result.outcome in (RestartOutcome.RESTARTED, RestartOutcome.ALREADY_CURRENT)
    assert generation(platform.mesh, namespace, "later") == before
    assert proxies(platform.mesh, namespace, "later") == {_NEW}


async def test_current_workload_is_left_alone(platform: Service, restarts: Restarts, namespace: str) -> None:
    make(platform.mesh, namespace, "fresh")
    before = generation(platform.mesh, namespace, "fresh")

    result = await restarts.of("fresh")

    assert result.outcome is RestartOutcome.ALREADY_CURRENT
    assert generation(platform.mesh, namespace, "fresh") == before


async def test_deleted_workload_is_gone(restarts: Restarts) -> None:
    result = await restarts.of("never-there")

    assert result.outcome is RestartOutcome.GONE


async def test_rollout_under_way_that_never_ends_fails_the_restart_without_a_write(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "crash")
    annotation = '{"spec":{"template":{"metadata":{"annotations":{"behaviour.local-mesh/pod":"crash-looping"}}}}}'
    kubectl(platform.mesh, "-n", namespace, "patch", "deployment", "crash", "--type=merge", "-p", annotation)
    before = generation(platform.mesh, namespace, "crash")
    new_proxy.give(_NEW)

    result = await restarts.of("crash", no_progress=6)

    assert (result.outcome, result.reason) == (RestartOutcome.FAILED, Reason.ROLLOUT_FAILING)
    assert "CrashLoopBackOff" in (result.detail or "")
    assert generation(platform.mesh, namespace, "crash") == before


async def test_budget_that_allows_nothing_is_not_overridden(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    make(platform.mesh, namespace, "guarded", strategy=strategy)
    limit(platform.mesh, namespace, {"app": "guarded"}, 2, maxUnavailable=0)
    before = generation(platform.mesh, namespace, "guarded")
    new_proxy.give(_NEW)

    result = await restarts.of("guarded", no_progress=4)

    assert (result.outcome, result.reason) == (RestartOutcome.FAILED, Reason.DISRUPTION_BUDGET)
    assert generation(platform.mesh, namespace, "guarded") == before
