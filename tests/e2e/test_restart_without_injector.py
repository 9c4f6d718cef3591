"""Restarts while the injector does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest

from activities.restart.outcome import RestartOutcome, RestartResult
from deploy.local.demo.stage import wait_for
from deploy.local.istio import injected_proxy, start_istiod
from deploy.local.kubectl import KubectlError
from deploy.local.mesh import Mesh
from deploy.local.service import Service
from tests.e2e.cart import NEW, SLOW_START, Cart, OpenCart, ended
from tests.e2e.restarts import Restarts

pytestmark = pytest.mark.mesh


class Istiod:
    """The process of istiod, which answers the API server's webhooks."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def kill(self) -> None:
        """Kills the process."""
        self._mesh.kill("istiod", grace=0)

    def hang(self) -> None:
        """Stops the process: it answers nothing any more."""
        os.kill(self._mesh.processes("system")["istiod"].pid, signal.SIGSTOP)

    def back(self) -> None:
        """Continues or starts the process; returns when it injects."""
        there = self._mesh.processes("system").get("istiod")
        if there is not None and there.alive:
            os.kill(there.pid, signal.SIGCONT)
        start_istiod(self._mesh)
        wait_for("istiod to inject", self._injects, 60)

    def _injects(self) -> bool:
        try:
            return injected_proxy(self._mesh) is not None
        except KubectlError:
            return False


@pytest.fixture
def istiod(platform: Service) -> Iterator[Istiod]:
    """The mesh's istiod; it runs again afterwards."""
    process = Istiod(platform.mesh)
    yield process
    process.back()


@pytest.mark.parametrize("away", [Istiod.kill, Istiod.hang])
async def test_nothing_is_written_without_an_injector(
    stale: OpenCart, restarts: Restarts, istiod: Istiod, away: Callable[[Istiod], None]
) -> None:
    cart = stale()
    away(istiod)

    result = await restarts.of("cart")

    assert (*ended(result), cart.writes) == (RestartOutcome.POSTPONED, None, 0)
    assert "a new Pod would be refused" in (result.detail or "")


async def _is_held_and_then_ends(
    cart: Cart, restarts: Restarts, istiod: Istiod, restart: Awaitable[RestartResult]
) -> None:
    """Stops the injector in the middle of a restart: a second try ends with the write of the first."""
    istiod.kill()
    held = await restart
    await asyncio.to_thread(istiod.back)

    result = await restarts.of("cart")

    assert ended(held) == (RestartOutcome.POSTPONED, None)
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {NEW})


@pytest.mark.parametrize("deadline", [600, 4], ids=["it-stands-still", "its-controller-gave-up"])
async def test_injector_that_goes_away_meanwhile_holds_the_restart_and_the_same_write_ends_it(
    stale: OpenCart, restarts: Restarts, istiod: Istiod, deadline: int
) -> None:
    cart = stale(annotations=SLOW_START, progressDeadlineSeconds=deadline)
    restart = restarts.start("cart")
    await cart.under_way()
    await _is_held_and_then_ends(cart, restarts, istiod, restart)


async def test_new_pods_are_not_verified_while_the_injector_is_away(
    stale: OpenCart, restarts: Restarts, istiod: Istiod
) -> None:
    # Only the injector knows the proxy of this template, and its answer has expired when the Pods start.
    shaped = {"proxy.istio.io/config": "concurrency: 1", "behaviour.local-mesh/start-after": "9s"}
    all_at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}}
    cart = stale(annotations=shaped, strategy=all_at_once)
    restart = restarts.start("cart")
    await cart.under_way()
    await _is_held_and_then_ends(cart, restarts, istiod, restart)
