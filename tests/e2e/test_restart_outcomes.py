"""How a restart ends when the world does not stand still: one story for each outcome, seen from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError

from activities.kube.client import ClusterClient, connect
from activities.restart.activities import RestartOutcome, RestartResult
from deploy.local.demo.stage import wait_for
from deploy.local.istio import injected_proxy, start_istiod
from deploy.local.kubectl import KubectlError, kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.service import Service
from mesh.errors import UnreachableError
from mesh.survey.reasons import Reason
from tests.e2e.conftest import NewProxy
from tests.e2e.restarts import MARK, ReadyPods, Restarts, until
from tests.e2e.workloads import allow, generation, limit, make, pod_uids, proxies

pytestmark = pytest.mark.mesh

_OLD, _NEW = "1.29.3-distroless", "1.30.2"
_BEHAVIOUR = "behaviour.local-mesh/pod"
#: New Pods take this long to start, so that a rollout has a middle.
_SLOW = {"behaviour.local-mesh/start-after": "3s"}
#: Takes one Pod away before it brings another.
_TAKING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
_SURGING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
_TOGETHER = {"tier": "front"}


class Shop:
    """The story's workload, a Deployment called cart, and what other people do to it."""

    def __init__(self, mesh: Mesh, namespace: str) -> None:
        self._mesh, self._namespace = mesh, namespace
        self._written = self._generation()
        #: The UIDs of its Pods before the story.
        self.old = self.pods

    def _generation(self) -> int:
        return generation(self._mesh, self._namespace, "cart")

    @property
    def writes(self) -> int:
        """How often its spec was written since the story began."""
        return self._generation() - self._written

    @property
    def pods(self) -> set[str]:
        """The UIDs of its living Pods."""
        return pod_uids(self._mesh, self._namespace, "cart")

    @property
    def proxies(self) -> set[str]:
        """The tags of the proxies of its living Pods."""
        return proxies(self._mesh, self._namespace, "cart")

    def kubectl(self, *arguments: str) -> str:
        """As anybody would type it."""
        return kubectl(self._mesh, "-n", self._namespace, *arguments)

    def patch_template(self, metadata: dict[str, Any], *flags: str) -> None:
        """Somebody changes the metadata of its template."""
        body = json.dumps({"spec": {"template": {"metadata": metadata}}})
        self.kubectl("patch", "deployment/cart", "--type=merge", "-p", body, *flags)

    def release(self) -> None:
        """Somebody rolls out something of his own."""
        self.patch_template({"annotations": {"release": "2"}})

    async def under_way(self) -> set[str]:
        """The UIDs of new Pods, once the restart was written and brought some."""
        await until("the restart's first Pod", lambda: self.writes > 0 and bool(self.pods - self.old))
        return self.pods - self.old

    def misbehave(self, uid: str, behaviour: str | None) -> None:
        """One of its Pods behaves so from now on, None for well."""
        pods = read(self._mesh, "pods", "-n", self._namespace, "-l", "app=cart")["items"]
        name = next((pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] == uid), None)
        if name is not None:
            wish = f"{_BEHAVIOUR}={behaviour}" if behaviour else f"{_BEHAVIOUR}-"
            self.kubectl("annotate", "--overwrite", "pod", name, wish)


Open = Callable[..., Shop]


@pytest.fixture
def stale(platform: Service, namespace: str, new_proxy: NewProxy) -> Open:
    """Opens the shop with what is told of its Deployment, and makes its Pods stale."""

    def opened(**how: Any) -> Shop:  # noqa: ANN401
        make(platform.mesh, namespace, "cart", **how)
        new_proxy.give(_NEW)
        return Shop(platform.mesh, namespace)

    return opened


class Istiod:
    """The process that answers the API server's webhooks."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def kill(self) -> None:
        """It is gone at once."""
        self._mesh.kill("istiod", grace=0)

    def hang(self) -> None:
        """It is there, and says nothing any more."""
        os.kill(self._mesh.processes("system")["istiod"].pid, signal.SIGSTOP)

    def back(self) -> None:
        """It is there again, and injects."""
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
    """The mesh's istiod, which may go away; there again afterwards."""
    process = Istiod(platform.mesh)
    yield process
    process.back()


@pytest_asyncio.fixture
async def own_connection(platform: Service) -> AsyncIterator[ClusterClient]:
    """A connection that a story may tamper with."""
    async with await connect(str(platform.worker_kubeconfig)) as connection:
        yield connection


def ended(result: RestartResult) -> tuple[RestartOutcome, Reason | None]:
    return result.outcome, result.reason


# What others do meanwhile.


async def test_rollout_under_way_is_waited_for_and_needs_no_restart_after_it(stale: Open, restarts: Restarts) -> None:
    cart = stale(annotations=_SLOW)
    cart.release()

    result = await restarts.of("cart")

    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.ALREADY_CURRENT, 1, {_NEW})


async def test_rollout_that_begins_in_the_moment_of_the_write_is_waited_for_too(
    stale: Open, restarts: Restarts, own_connection: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = stale(annotations=_SLOW)
    _before_the_write(monkeypatch, own_connection, cart.release)

    result = await restarts.another(own_connection).of("cart")

    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.ALREADY_CURRENT, 1, {_NEW})


async def test_pause_in_the_moment_of_the_write_is_respected(
    stale: Open, restarts: Restarts, own_connection: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = stale()
    _before_the_write(monkeypatch, own_connection, lambda: cart.kubectl("rollout", "pause", "deployment/cart"))

    result = await restarts.another(own_connection).of("cart")

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED, 1)


async def test_replicas_that_an_autoscaler_changes_meanwhile_are_verified_as_well(
    stale: Open, restarts: Restarts
) -> None:
    cart = stale(annotations=_SLOW)
    restart = restarts.begun("cart")
    await cart.under_way()
    cart.kubectl("scale", "deployment/cart", "--replicas=4")

    result = await restart

    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 2, {_NEW})
    assert len(cart.pods - cart.old) == len(cart.pods) == 4


async def test_workload_that_is_deleted_meanwhile_is_gone(stale: Open, restarts: Restarts) -> None:
    cart = stale(annotations=_SLOW)
    restart = restarts.begun("cart")
    await cart.under_way()
    cart.kubectl("delete", "deployment/cart")

    assert (await restart).outcome is RestartOutcome.GONE


async def test_workload_of_no_replicas_is_left_alone(stale: Open, restarts: Restarts) -> None:
    cart = stale()
    cart.kubectl("scale", "deployment/cart", "--replicas=0")

    result = await restarts.of("cart")

    assert (result.outcome, cart.writes) == (RestartOutcome.SCALED_TO_ZERO, 1)


async def test_workload_that_is_scaled_to_zero_meanwhile_is_not_told_as_restarted(
    stale: Open, restarts: Restarts
) -> None:
    cart = stale(annotations=_SLOW)
    restart = restarts.begun("cart")
    await cart.under_way()
    cart.kubectl("scale", "deployment/cart", "--replicas=0")

    result = await restart

    assert (result.outcome, cart.writes) == (RestartOutcome.SCALED_TO_ZERO, 2)


async def test_rollout_that_is_paused_meanwhile_is_told_at_once(stale: Open, restarts: Restarts) -> None:
    cart = stale(annotations=_SLOW)
    restart = restarts.begun("cart")
    await cart.under_way()
    cart.kubectl("rollout", "pause", "deployment/cart")

    result = await asyncio.wait_for(restart, 20)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED, 2)


async def test_rollout_that_was_paused_halfway_is_told_at_once(stale: Open, restarts: Restarts) -> None:
    cart = stale(annotations=_SLOW)
    cart.release()
    cart.kubectl("rollout", "pause", "deployment/cart")

    result = await asyncio.wait_for(restarts.of("cart"), 20)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED, 2)


# New Pods that do not become what they ought to be.


async def test_new_pods_that_crash_are_told_and_the_old_ones_stay(stale: Open, restarts: Restarts) -> None:
    cart = stale(annotations=_SLOW)
    restart = restarts.begun("cart", patience=5)
    for uid in await cart.under_way():
        cart.misbehave(uid, "crash-looping")

    result = await restart

    assert ended(result) == (RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT)
    assert "CrashLoopBackOff" in (result.detail or "")
    assert cart.old <= cart.pods


@pytest.mark.parametrize(
    ("deadline", "patience"), [(600, 4.0), (3, 60.0)], ids=["our-patience-ends", "its-controller-gave-up"]
)
async def test_new_pods_that_find_no_node_are_told_with_the_schedulers_words(
    platform: Service, namespace: str, stale: Open, restarts: Restarts, deadline: int, patience: float
) -> None:
    node = read(platform.mesh, "nodes")["items"][0]["metadata"]["name"]
    kubectl(platform.mesh, "label", "node", node, f"story={namespace}")
    stale(pod={"nodeSelector": {"story": namespace}}, progressDeadlineSeconds=deadline)
    kubectl(platform.mesh, "label", "node", node, "story-")

    result = await asyncio.wait_for(restarts.of("cart", patience=patience), 30)

    assert ended(result) == (RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT)
    assert "didn't match Pod's node affinity/selector" in (result.detail or "")


async def test_new_pod_that_flaps_does_not_keep_a_restart_waiting(stale: Open, restarts: Restarts) -> None:
    cart = stale(annotations=_SLOW)
    # A Pod that is not Ready for so long at a time is never available.
    cart.kubectl("patch", "deployment/cart", "--type=merge", "-p", '{"spec":{"minReadySeconds":30}}')
    restart = restarts.begun("cart", patience=6)
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
    platform: Service, namespace: str, stale: Open, restarts: Restarts
) -> None:
    cart = stale()
    kubectl(platform.mesh, "label", "namespace", namespace, "istio-injection-")

    result = await restarts.of("cart")

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.WOULD_LOSE_SIDECAR, 0)
    assert cart.pods == cart.old


def _off_the_namespace(cart: Shop, namespace: str) -> None:
    cart.kubectl("label", "namespace", namespace, "istio-injection-")


def _off_the_template(cart: Shop, namespace: str) -> None:
    cart.patch_template({"labels": {"sidecar.istio.io/inject": "false"}}, "--field-manager=gitops")


@pytest.mark.parametrize("switched", [_off_the_namespace, _off_the_template])
async def test_injection_that_is_switched_off_meanwhile_is_told(
    namespace: str, stale: Open, restarts: Restarts, switched: Callable[[Shop, str], None]
) -> None:
    cart = stale(annotations=_SLOW)
    restart = restarts.begun("cart")
    await cart.under_way()
    switched(cart, namespace)

    result = await restart

    assert ended(result) == (RestartOutcome.FAILED, Reason.INJECTION_FAILED)
    assert "new Pods have no sidecar" in (result.detail or "")


@pytest.mark.parametrize(
    ("traces", "by"),
    [
        ({"annotations": {"synced": "yes"}}, "by gitops"),
        ({}, "by an unknown writer; its field managers are kubectl"),
    ],
    ids=["and-writes-more", "and-nothing-else"],
)
async def test_manager_that_takes_the_mark_off_again_is_named_as_far_as_anybody_can(
    stale: Open, restarts: Restarts, traces: dict[str, Any], by: str
) -> None:
    cart = stale(annotations=_SLOW, replicas=4)
    restart = restarts.begun("cart", mark=datetime.now(UTC))
    await cart.under_way()
    without = {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": None}}}}
    body = json.dumps({"metadata": traces, "spec": without})
    cart.kubectl("patch", "deployment/cart", "--type=merge", "-p", body, "--field-manager=gitops")

    result = await restart

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.RESTART_REVERTED, 2)
    assert (result.detail or "").endswith(by)


# Quotas and budgets.


@pytest.mark.parametrize(
    ("deadline", "patience"), [(600, 4.0), (2, 8.0)], ids=["our-patience-ends", "its-controller-gave-up"]
)
async def test_quota_without_room_for_a_surge_is_told_and_the_old_pods_stay(
    platform: Service, namespace: str, stale: Open, restarts: Restarts, deadline: int, patience: float
) -> None:
    cart = stale(strategy=_SURGING, progressDeadlineSeconds=deadline)
    allow(platform.mesh, namespace, "pods", 2)

    result = await restarts.of("cart", patience=patience)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.QUOTA_EXCEEDED, 1)
    assert "exceeded quota: tight" in (result.detail or "")
    assert (cart.pods, cart.proxies) == (cart.old, {_OLD})


async def test_budget_without_room_for_the_moment_is_waited_for(
    platform: Service, namespace: str, stale: Open, restarts: Restarts
) -> None:
    cart, neighbour = _beside_a_neighbour(platform, namespace, stale)
    restart = restarts.begun("cart")
    await asyncio.sleep(4)
    waited = cart.writes
    cart.kubectl("annotate", "pod", neighbour, f"{_BEHAVIOUR}-")

    result = await restart

    assert waited == 0
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {_NEW})


async def test_budget_without_room_for_all_our_patience_is_told_by_name(
    platform: Service, namespace: str, stale: Open, restarts: Restarts
) -> None:
    cart, _ = _beside_a_neighbour(platform, namespace, stale)

    result = await restarts.of("cart", patience=3)

    assert (*ended(result), cart.writes) == (RestartOutcome.FAILED, Reason.DISRUPTION_BUDGET, 0)
    assert "PodDisruptionBudget budget" in (result.detail or "")


async def test_budget_that_misses_a_pod_for_a_moment_is_waited_for(
    platform: Service, namespace: str, stale: Open, restarts: Restarts
) -> None:
    """A budget of a fixed number counts the Pods that there are, and while a neighbour rolls one is missing."""
    make(platform.mesh, namespace, "neighbour", labels=_TOGETHER)
    cart = stale(labels=_TOGETHER, strategy=_TAKING)
    limit(platform.mesh, namespace, _TOGETHER, 4, minAvailable=3)
    cart.kubectl("scale", "deployment/neighbour", "--replicas=1")
    cart.kubectl("wait", "pdb/budget", "--for=jsonpath={.status.expectedPods}=3", "--timeout=20s")
    restart = restarts.begun("cart")
    await asyncio.sleep(3)
    waited = cart.writes
    cart.kubectl("scale", "deployment/neighbour", "--replicas=2")

    result = await restart

    assert waited == 0
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {_NEW})


async def test_restarts_under_one_budget_never_fall_below_it(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy, restarts: Restarts
) -> None:
    slow = {"behaviour.local-mesh/start-after": "1s"}
    for name in ("cart", "search"):
        make(platform.mesh, namespace, name, labels=_TOGETHER, annotations=slow, strategy=_TAKING)
    limit(platform.mesh, namespace, _TOGETHER, 4, minAvailable=3)
    new_proxy.give(_NEW)
    ready = ReadyPods(cluster, namespace, "tier=front")
    watching = asyncio.create_task(ready.watch())

    results = await asyncio.gather(restarts.of("cart"), restarts.of("search"))
    watching.cancel()

    assert {one.outcome for one in results} == {RestartOutcome.RESTARTED}
    assert len(ready.counts) > 20
    assert min(ready.counts) == 3


async def test_waiting_for_a_budget_that_others_use_in_turn_is_no_standstill(
    platform: Service, namespace: str, new_proxy: NewProxy, restarts: Restarts
) -> None:
    names = [f"in-turn-{number}" for number in range(5)]
    slow = {"behaviour.local-mesh/start-after": "2s"}
    for name in names:
        make(platform.mesh, namespace, name, labels=_TOGETHER, annotations=slow, strategy=_TAKING)
    limit(platform.mesh, namespace, _TOGETHER, 10, minAvailable=9)
    new_proxy.give(_NEW)
    began = time.monotonic()

    results = await asyncio.gather(*(restarts.of(name, patience=12) for name in names))

    assert {one.outcome for one in results} == {RestartOutcome.RESTARTED}
    assert time.monotonic() - began > 12, "the last one has not waited for longer than its patience"


def _beside_a_neighbour(platform: Service, namespace: str, stale: Open) -> tuple[Shop, str]:
    """The shop under one budget with another workload, and the name of that one's Pod that is not Ready."""
    make(platform.mesh, namespace, "neighbour", labels=_TOGETHER)
    cart = stale(labels=_TOGETHER, strategy=_TAKING)
    pod: str = read(platform.mesh, "pods", "-n", namespace, "-l", "app=neighbour")["items"][0]["metadata"]["name"]
    cart.kubectl("annotate", "pod", pod, f"{_BEHAVIOUR}=not-ready")
    limit(platform.mesh, namespace, _TOGETHER, 3, minAvailable=3)
    return cart, pod


# The injector goes away.


@pytest.mark.parametrize("away", [Istiod.kill, Istiod.hang])
async def test_nothing_is_written_without_an_injector(
    stale: Open, restarts: Restarts, istiod: Istiod, away: Callable[[Istiod], None]
) -> None:
    cart = stale()
    away(istiod)

    result = await restarts.of("cart")

    assert (*ended(result), cart.writes) == (RestartOutcome.POSTPONED, None, 0)
    assert "a new Pod would be refused" in (result.detail or "")


async def _is_held_and_then_ends(
    cart: Shop, restarts: Restarts, istiod: Istiod, restart: Awaitable[RestartResult]
) -> None:
    """The injector goes away in its middle, and comes back: a second try ends with the write of the first."""
    istiod.kill()
    held = await restart
    await asyncio.to_thread(istiod.back)

    result = await restarts.of("cart")

    assert ended(held) == (RestartOutcome.POSTPONED, None)
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {_NEW})


@pytest.mark.parametrize("deadline", [600, 4], ids=["it-stands-still", "its-controller-gave-up"])
async def test_injector_that_goes_away_meanwhile_holds_a_restart_that_then_ends_with_the_same_write(
    stale: Open, restarts: Restarts, istiod: Istiod, deadline: int
) -> None:
    cart = stale(annotations=_SLOW, progressDeadlineSeconds=deadline)
    restart = restarts.begun("cart")
    await cart.under_way()
    await _is_held_and_then_ends(cart, restarts, istiod, restart)


async def test_pods_that_are_all_made_are_not_judged_without_the_injector_that_could_tell_of_them(
    stale: Open, restarts: Restarts, istiod: Istiod
) -> None:
    # Of this template only the injector can tell what it would get, and what it said is forgotten when they start.
    shaped = {"proxy.istio.io/config": "concurrency: 1", "behaviour.local-mesh/start-after": "9s"}
    gather_limited = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "100%"}}
    cart = stale(annotations=shaped, strategy=gather_limited)
    restart = restarts.begun("cart")
    await cart.under_way()
    await _is_held_and_then_ends(cart, restarts, istiod, restart)


# Lost replies and zombies.


async def test_restart_whose_reply_was_lost_is_not_written_again(
    stale: Open, restarts: Restarts, own_connection: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    cart = stale()
    _after_the_write(monkeypatch, own_connection)
    worker = restarts.another(own_connection)

    with pytest.raises(ApplicationError) as lost:
        await worker.of("cart")
    result = await worker.of("cart")

    assert not lost.value.non_retryable
    assert (result.outcome, cart.writes, cart.proxies) == (RestartOutcome.RESTARTED, 1, {_NEW})


async def test_attempt_that_was_superseded_writes_nothing_any_more(
    stale: Open, restarts: Restarts, new_proxy: NewProxy
) -> None:
    cart, earlier = stale(annotations=_SLOW), MARK - timedelta(minutes=5)
    later = restarts.begun("cart")
    await cart.under_way()

    both = await asyncio.gather(later, restarts.another().of("cart", mark=earlier))
    # Stale once more, and not the earlier attempt's business.
    new_proxy.give("1.30.1")
    await restarts.another().of("cart", mark=earlier, patience=3)

    assert {one.outcome for one in both} == {RestartOutcome.RESTARTED}
    assert (cart.writes, cart.proxies) == (1, {_NEW})


def _before_the_write(monkeypatch: pytest.MonkeyPatch, cluster: ClusterClient, others: Callable[[], object]) -> None:
    """Others are quicker than the first write through this connection."""
    write: Callable[..., Awaitable[Any]] = cluster.patch
    quicker = [others]

    async def patch(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        while quicker:
            await asyncio.to_thread(quicker.pop())
        return await write(*arguments, **named)

    monkeypatch.setattr(cluster, "patch", patch)


def _after_the_write(monkeypatch: pytest.MonkeyPatch, cluster: ClusterClient) -> None:
    """The answer to the first write through this connection is cut."""
    write: Callable[..., Awaitable[Any]] = cluster.patch
    cuts = [UnreachableError("The answer was cut.")]

    async def patch(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        answer = await write(*arguments, **named)
        if cuts:
            raise cuts.pop()
        return answer

    monkeypatch.setattr(cluster, "patch", patch)
