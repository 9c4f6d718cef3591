"""Restarts within quotas and PodDisruptionBudgets."""

from __future__ import annotations

import asyncio
import time

import pytest

from activities.kube.client import ClusterClient
from activities.restart.outcome import RestartOutcome
from deploy.local.kubectl import read
from deploy.local.service import Service
from mesh.survey.reasons import Reason
from tests.e2e.cart import BEHAVIOUR, NEW, OLD, SURGE_FIRST, TAKE_FIRST, Cart, OpenCart, ended
from tests.e2e.conftest import NewProxy
from tests.e2e.restarts import ReadyPods, Restarts
from tests.e2e.workloads import allow, limit, make

pytestmark = pytest.mark.mesh

#: Labels of the Pods that one budget selects.
_TOGETHER = {"tier": "front"}


@pytest.mark.parametrize(
    ("deadline", "no_progress"), [(600, 4.0), (2, 8.0)], ids=["no-progress", "its-controller-gave-up"]
)
async def test_quota_without_room_for_a_surge_fails_the_restart_and_the_old_pods_stay(
    platform: Service, namespace: str, stale: OpenCart, restarts: Restarts, deadline: int, no_progress: float
) -> None:
    cart = stale(strategy=SURGE_FIRST, progressDeadlineSeconds=deadline)
    allow(platform.mesh, namespace, "pods", 2)

    result = await restarts.of("cart", no_progress=no_progress)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.QUOTA_EXCEEDED, 1)
    assert "exceeded quota: tight" in (result.detail or "")
    assert (cart.pods, cart.proxies) == (cart.old, {OLD})


async def test_budget_without_room_for_a_moment_is_waited_for(
    platform: Service, namespace: str, stale: OpenCart, restarts: Restarts
) -> None:
    cart, neighbour = _beside_a_neighbour(platform, namespace, stale)
    restart = restarts.start("cart")
    await asyncio.sleep(4)
    waited = cart.writes
    cart.kubectl("annotate", "pod", neighbour, f"{BEHAVIOUR}-")

    result = await restart

    assert waited == 0
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {NEW})


async def test_budget_without_room_until_the_timeout_is_named(
    platform: Service, namespace: str, stale: OpenCart, restarts: Restarts
) -> None:
    cart, _ = _beside_a_neighbour(platform, namespace, stale)

    result = await restarts.of("cart", no_progress=3)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.DISRUPTION_BUDGET, 0)
    assert "PodDisruptionBudget budget" in (result.detail or "")


async def test_budget_that_misses_a_pod_for_a_moment_is_waited_for(
    platform: Service, namespace: str, stale: OpenCart, restarts: Restarts
) -> None:
    """A budget of a fixed number counts the Pods that there are, and while a neighbour rolls one is missing."""
    make(platform.mesh, namespace, "neighbour", labels=_TOGETHER)
    cart = stale(labels=_TOGETHER, strategy=TAKE_FIRST)
    limit(platform.mesh, namespace, _TOGETHER, 4, minAvailable=3)
    cart.kubectl("scale", "deployment/neighbour", "--replicas=1")
    cart.kubectl("wait", "pdb/budget", "--for=jsonpath={.status.expectedPods}=3", "--timeout=20s")
    restart = restarts.start("cart")
    await asyncio.sleep(3)
    waited = cart.writes
    cart.kubectl("scale", "deployment/neighbour", "--replicas=2")

    result = await restart

    assert waited == 0
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {NEW})


async def test_restarts_under_one_budget_never_fall_below_it(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy, restarts: Restarts
) -> None:
    slow = {"behaviour.local-mesh/start-after": "1s"}
    for name in ("cart", "search"):
        make(platform.mesh, namespace, name, labels=_TOGETHER, annotations=slow, strategy=TAKE_FIRST)
    limit(platform.mesh, namespace, _TOGETHER, 4, minAvailable=3)
    new_proxy.give(NEW)
    ready = ReadyPods(cluster, namespace, "tier=front")
    watching = asyncio.create_task(ready.watch())

    results = await asyncio.gather(restarts.of("cart"), restarts.of("search"))
    watching.cancel()

    assert {one.outcome for one in results} == {RestartOutcome.RESTARTED}
    assert len(ready.counts) > 20
    assert min(ready.counts) == 3


async def test_waiting_for_a_budget_that_others_use_in_turn_is_progress(
    platform: Service, namespace: str, new_proxy: NewProxy, restarts: Restarts
) -> None:
    names = [f"in-turn-{number}" for number in range(5)]
    slow = {"behaviour.local-mesh/start-after": "2s"}
    for name in names:
        make(platform.mesh, namespace, name, labels=_TOGETHER, annotations=slow, strategy=TAKE_FIRST)
    limit(platform.mesh, namespace, _TOGETHER, 10, minAvailable=9)
    new_proxy.give(NEW)
    began = time.monotonic()

    results = await asyncio.gather(*(restarts.of(name, no_progress=12) for name in names))

    assert {one.outcome for one in results} == {RestartOutcome.RESTARTED}
    assert time.monotonic() - began > 12, "the last one has not waited for longer than it may without progress"


def _beside_a_neighbour(platform: Service, namespace: str, stale: OpenCart) -> tuple[Cart, str]:
    """Returns the cart, one budget with another workload, and the name of the other's Pod that is not Ready."""
    make(platform.mesh, namespace, "neighbour", labels=_TOGETHER)
    cart = stale(labels=_TOGETHER, strategy=TAKE_FIRST)
    pod: str = read(platform.mesh, "pods", "-n", namespace, "-l", "app=neighbour")["items"][0]["metadata"]["name"]
    cart.kubectl("annotate", "pod", pod, f"{BEHAVIOUR}=not-ready")
    limit(platform.mesh, namespace, _TOGETHER, 3, minAvailable=3)
    return cart, pod
