"""What others do to a workload while it is restarted: releases, pauses, scaling, deletion, other workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError

from activities.kube.client import ClusterClient, connect
from activities.restart.outcome import RestartOutcome
from deploy.local.service import Service
from mesh.errors import UnreachableError
from mesh.survey.reasons import Reason
from tests.e2e.cart import NEW, SLOW_START, OpenCart, ended
from tests.e2e.conftest import NewProxy
from tests.e2e.restarts import MARK, Restarts

pytestmark = pytest.mark.mesh


@pytest_asyncio.fixture
async def own_connection(platform: Service) -> AsyncIterator[ClusterClient]:
    """A connection that a story may change."""
    async with await connect(str(platform.worker_kubeconfig)) as connection:
        yield connection


async def test_rollout_under_way_is_waited_for_and_needs_no_restart_after_it(
    stale: OpenCart, restarts: Restarts
) -> None:
    cart = stale(annotations=SLOW_START)
    cart.release()

    result = await restarts.of("cart")

    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.ALREADY_CURRENT, 1, {NEW})


async def test_rollout_that_begins_in_the_moment_of_the_write_is_waited_for_too(
    stale: OpenCart, restarts: Restarts, own_connection: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = stale(annotations=SLOW_START)
    _before_the_write(monkeypatch, own_connection, cart.release)

    result = await restarts.other_worker(own_connection).of("cart")

    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.ALREADY_CURRENT, 1, {NEW})


async def test_pause_in_the_moment_of_the_write_is_respected(
    stale: OpenCart, restarts: Restarts, own_connection: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = stale()
    _before_the_write(monkeypatch, own_connection, lambda: cart.kubectl("rollout", "pause", "deployment/cart"))

    result = await restarts.other_worker(own_connection).of("cart")

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED, 1)


async def test_replicas_that_an_autoscaler_changes_meanwhile_are_verified_as_well(
    stale: OpenCart, restarts: Restarts
) -> None:
    cart = stale(annotations=SLOW_START)
    restart = restarts.start("cart")
    await cart.under_way()
    cart.kubectl("scale", "deployment/cart", "--replicas=4")

    result = await restart

    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 2, {NEW})
    assert len(cart.pods - cart.old) == len(cart.pods) == 4


async def test_workload_that_is_deleted_meanwhile_is_gone(stale: OpenCart, restarts: Restarts) -> None:
    cart = stale(annotations=SLOW_START)
    restart = restarts.start("cart")
    await cart.under_way()
    cart.kubectl("delete", "deployment/cart")

    assert (await restart).outcome is RestartOutcome.GONE


async def test_workload_of_no_replicas_is_left_alone(stale: OpenCart, restarts: Restarts) -> None:
    cart = stale()
    cart.kubectl("scale", "deployment/cart", "--replicas=0")

    result = await restarts.of("cart")

    assert (result.outcome, cart.writes) == (RestartOutcome.SCALED_TO_ZERO, 1)


async def test_workload_that_is_scaled_to_zero_meanwhile_is_not_counted_as_restarted(
    stale: OpenCart, restarts: Restarts
) -> None:
    cart = stale(annotations=SLOW_START)
    restart = restarts.start("cart")
    await cart.under_way()
    cart.kubectl("scale", "deployment/cart", "--replicas=0")

    result = await restart

    assert (result.outcome, cart.writes) == (RestartOutcome.SCALED_TO_ZERO, 2)


async def test_rollout_that_is_paused_meanwhile_fails_at_once(stale: OpenCart, restarts: Restarts) -> None:
    cart = stale(annotations=SLOW_START)
    restart = restarts.start("cart")
    await cart.under_way()
    cart.kubectl("rollout", "pause", "deployment/cart")

    result = await asyncio.wait_for(restart, 20)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED, 2)


async def test_rollout_that_was_paused_halfway_fails_at_once(stale: OpenCart, restarts: Restarts) -> None:
    cart = stale(annotations=SLOW_START)
    cart.release()
    cart.kubectl("rollout", "pause", "deployment/cart")

    result = await asyncio.wait_for(restarts.of("cart"), 20)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED, 2)


@pytest.mark.parametrize(
    ("traces", "by"),
    [
        ({"annotations": {"synced": "yes"}}, "by gitops"),
        ({}, "by an unknown writer; its field managers are kubectl"),
    ],
    ids=["and-writes-more", "and-nothing-else"],
)
async def test_manager_that_removes_the_mark_is_named_as_far_as_possible(
    stale: OpenCart, restarts: Restarts, traces: dict[str, Any], by: str
) -> None:
    cart = stale(annotations=SLOW_START, replicas=4)
    # Marks are whole seconds, as the times of managed fields are: the other manager may write in the same second.
    restart = restarts.start("cart", mark=datetime.now(UTC).replace(microsecond=0))
    await cart.under_way()
    without = {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": None}}}}
    body = json.dumps({"metadata": traces, "spec": without})
    cart.kubectl("patch", "deployment/cart", "--type=merge", "-p", body, "--field-manager=gitops")

    result = await restart

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.RESTART_REVERTED, 2)
    assert (result.detail or "").endswith(by)


async def test_restart_whose_reply_was_lost_is_not_written_again(
    stale: OpenCart, restarts: Restarts, own_connection: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = stale()
    _after_the_write(monkeypatch, own_connection)
    worker = restarts.other_worker(own_connection)

    with pytest.raises(ApplicationError) as lost:
        await worker.of("cart")
    result = await worker.of("cart")

    assert not lost.value.non_retryable
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {NEW})


async def test_attempt_that_was_superseded_writes_nothing_any_more(
    stale: OpenCart, restarts: Restarts, new_proxy: NewProxy
) -> None:
    cart, earlier = stale(annotations=SLOW_START), MARK - timedelta(minutes=5)
    later = restarts.start("cart")
    await cart.under_way()

    both = await asyncio.gather(later, restarts.other_worker().of("cart", mark=earlier))
    # Stale again; a restart with the earlier mark must not write.
    new_proxy.give("1.30.1")
    await restarts.other_worker().of("cart", mark=earlier, no_progress=3)

    assert {one.outcome for one in both} == {RestartOutcome.RESTARTED}
    assert (cart.writes, cart.proxies) == (1, {NEW})


def _before_the_write(monkeypatch: pytest.MonkeyPatch, cluster: ClusterClient, others: Callable[[], object]) -> None:
    """Runs `others` before the first write through this connection."""
    write: Callable[..., Awaitable[Any]] = cluster.patch
    quicker = [others]

    async def patch(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        while quicker:
            await asyncio.to_thread(quicker.pop())
        return await write(*arguments, **named)

    monkeypatch.setattr(cluster, "patch", patch)


def _after_the_write(monkeypatch: pytest.MonkeyPatch, cluster: ClusterClient) -> None:
    """Cuts the answer to the first write through this connection."""
    write: Callable[..., Awaitable[Any]] = cluster.patch
    cuts = [UnreachableError("The answer was cut.")]

    async def patch(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        answer = await write(*arguments, **named)
        if cuts:
            raise cuts.pop()
        return answer

    monkeypatch.setattr(cluster, "patch", patch)
