"""New Pods of a restart that do not become Ready, or have no sidecar."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from activities.restart.outcome import RestartOutcome
from deploy.local.kubectl import kubectl, read
from deploy.local.service import Service
from mesh.survey.reasons import Reason
from tests.e2e.cart import SLOW_START, Cart, OpenCart, ended
from tests.e2e.restarts import Restarts

pytestmark = pytest.mark.mesh


async def test_new_pods_that_crash_fail_the_restart_and_the_old_ones_stay(stale: OpenCart, restarts: Restarts) -> None:
    cart = stale(annotations=SLOW_START)
    restart = restarts.start("cart", no_progress=5)
    for uid in await cart.under_way():
        cart.misbehave(uid, "crash-looping")

    result = await restart

    assert ended(result) == (RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT)
    assert "CrashLoopBackOff" in (result.detail or "")
    assert cart.old <= cart.pods


@pytest.mark.parametrize(
    ("deadline", "no_progress"), [(600, 4.0), (3, 60.0)], ids=["no-progress", "its-controller-gave-up"]
)
async def test_new_pods_without_a_node_fail_the_restart_with_the_schedulers_message(
    platform: Service, namespace: str, stale: OpenCart, restarts: Restarts, deadline: int, no_progress: float
) -> None:
    node = read(platform.mesh, "nodes")["items"][0]["metadata"]["name"]
    kubectl(platform.mesh, "label", "node", node, f"story={namespace}")
    stale(pod={"nodeSelector": {"story": namespace}}, progressDeadlineSeconds=deadline)
    kubectl(platform.mesh, "label", "node", node, "story-")

    result = await asyncio.wait_for(restarts.of("cart", no_progress=no_progress), 30)

    assert ended(result) == (RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT)
    assert "didn't match Pod's node affinity/selector" in (result.detail or "")


async def test_new_pod_that_flaps_does_not_keep_a_restart_waiting(stale: OpenCart, restarts: Restarts) -> None:
    cart = stale(annotations=SLOW_START)
    # A Pod that is not Ready for so long at a time is never available.
    cart.kubectl("patch", "deployment/cart", "--type=merge", "-p", '{"spec":{"minReadySeconds":30}}')
    restart = restarts.start("cart", no_progress=6)
    (uid,) = await cart.under_way()
    began = time.monotonic()
    while not restart.done() and time.monotonic() - began < 40:
        # It takes as long as its start until it is not Ready.
        for behaviour, seconds in (("not-ready", 4), (None, 1)):
            await asyncio.to_thread(cart.misbehave, uid, behaviour)
            await asyncio.sleep(seconds)
    restart.cancel()

    assert ended(await restart) == (RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT)


async def test_sidecar_that_would_be_lost_is_not_risked(
    platform: Service, namespace: str, stale: OpenCart, restarts: Restarts
) -> None:
    cart = stale()
    kubectl(platform.mesh, "label", "namespace", namespace, "istio-injection-")

    result = await restarts.of("cart")

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.WOULD_LOSE_SIDECAR, 0)
    assert cart.pods == cart.old


def _off_the_namespace(cart: Cart, namespace: str) -> None:
    cart.kubectl("label", "namespace", namespace, "istio-injection-")


def _off_the_template(cart: Cart, namespace: str) -> None:
    cart.patch_template({"labels": {"sidecar.istio.io/inject": "false"}}, "--field-manager=gitops")


@pytest.mark.parametrize("switched", [_off_the_namespace, _off_the_template])
async def test_injection_that_is_switched_off_meanwhile_fails_the_restart(
    namespace: str, stale: OpenCart, restarts: Restarts, switched: Callable[[Cart, str], None]
) -> None:
    cart = stale(annotations=SLOW_START)
    restart = restarts.start("cart")
    await cart.under_way()
    switched(cart, namespace)

    result = await restart

    assert ended(result) == (RestartOutcome.FAILED, Reason.INJECTION_FAILED)
    assert "new Pods have no sidecar" in (result.detail or "")
