"""Each kind is restarted in its own way: bare controllers by eviction, Argo Rollouts by their controller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from activities.kube.client import ClusterClient
from activities.kube.workloads import read_workload
from activities.restart.outcome import RestartOutcome
from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh
from deploy.local.rollouts import start_rollouts
from deploy.local.service import Service
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.restart_patch import mark_of
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.reasons import Reason
from tests.e2e.conftest import NewProxy
from tests.e2e.restarts import MARK, ReadyPods, Restarts, until
from tests.e2e.workloads import generation, limit, make, pod_uids, proxies

pytestmark = pytest.mark.mesh

_NEW = "1.30.2"
_SLOW = {"behaviour.local-mesh/start-after": "1s"}


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
@pytest.mark.parametrize("limited", [True, False], ids=["by-a-budget", "without-a-budget"])
async def test_pods_of_a_bare_controller_leave_one_at_a_time(
    platform: Service,
    cluster: ClusterClient,
    restarts: Restarts,
    namespace: str,
    new_proxy: NewProxy,
    kind: str,
    limited: bool,
) -> None:
    make(platform.mesh, namespace, "bare", kind, annotations=_SLOW, replicas=3)
    if limited:
        limit(platform.mesh, namespace, {"app": "bare"}, 3, minAvailable=2)
    old = pod_uids(platform.mesh, namespace, "bare")
    new_proxy.give(_NEW)
    ready = ReadyPods(cluster, namespace, "app=bare")
    watching = asyncio.create_task(ready.watch())

    result = await restarts.of("bare", kind)
    watching.cancel()

    assert result.outcome is RestartOutcome.RESTARTED
    assert proxies(platform.mesh, namespace, "bare") == {_NEW}
    assert not old & pod_uids(platform.mesh, namespace, "bare")
    assert min(ready.counts) == 2


async def test_next_pod_of_a_bare_controller_stays_while_the_new_one_is_not_ready(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    slow = {"behaviour.local-mesh/start-after": "3s"}
    make(platform.mesh, namespace, "bare", "ReplicaSet", annotations=slow, replicas=3)
    old = pod_uids(platform.mesh, namespace, "bare")
    new_proxy.give(_NEW)
    first = restarts.start("bare", "ReplicaSet", no_progress=6)
    await until("a new Pod", lambda: bool(pod_uids(platform.mesh, namespace, "bare") - old))
    pods = read(platform.mesh, "pods", "-n", namespace)["items"]
    broken = next(pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] not in old)
    kubectl(platform.mesh, "-n", namespace, "annotate", "pod", broken, "behaviour.local-mesh/pod=crash-looping")

    # As after a worker that was killed, or by an operator.
    tries = [await first, await restarts.other_worker().of("bare", "ReplicaSet", no_progress=6)]

    assert [(one.outcome, one.reason) for one in tries] == [(RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT)] * 2
    assert "CrashLoopBackOff" in (tries[0].detail or "")
    assert len(old & pod_uids(platform.mesh, namespace, "bare")) == 2


@pytest.mark.parametrize(
    ("kind", "strategy", "reason"),
    [
        ("StatefulSet", {"type": "OnDelete"}, Reason.ON_DELETE),
        ("DaemonSet", {"type": "OnDelete"}, Reason.ON_DELETE),
        ("StatefulSet", {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, Reason.PARTITIONED),
    ],
)
async def test_strategy_that_ignores_restarts_is_found_before_the_write(
    platform: Service,
    restarts: Restarts,
    namespace: str,
    new_proxy: NewProxy,
    kind: str,
    strategy: dict[str, Any],
    reason: Reason,
) -> None:
    make(platform.mesh, namespace, "careful", kind, updateStrategy=strategy)
    before = generation(platform.mesh, namespace, "careful", kind)
    new_proxy.give(_NEW)

    result = await restarts.of("careful", kind)

    assert (result.outcome, result.reason) == (RestartOutcome.FAILED, reason)
    assert generation(platform.mesh, namespace, "careful", kind) == before


@pytest.fixture(scope="module")
def _argo(platform: Service) -> None:
    start_rollouts(platform.mesh)


def _canary(mesh: Mesh, namespace: str) -> None:
    make(mesh, namespace, "cart", "Rollout")


def _blue_green(mesh: Mesh, namespace: str) -> None:
    spec = {"selector": {"app": "cart"}, "ports": [{"port": 80}]}
    metadata = {"name": "cart", "namespace": namespace}
    apply(mesh, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    make(mesh, namespace, "cart", "Rollout", strategy={"blueGreen": {"activeService": "cart"}})


def _by_reference(mesh: Mesh, namespace: str) -> None:
    # Its Pods have the labels of the Deployment whose template it takes.
    make(mesh, namespace, "cart")
    kubectl(mesh, "-n", namespace, "scale", "deployment/cart", "--replicas=0")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"}
    spec = {"replicas": 2, "workloadRef": reference, "strategy": {"canary": {}}}
    metadata = {"name": "cart", "namespace": namespace}
    apply(mesh, {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec})
    wait_for("the Rollout", lambda: _healthy(mesh, namespace))


def _healthy(mesh: Mesh, namespace: str) -> bool:
    status = read(mesh, "rollouts.argoproj.io", "cart", "-n", namespace).get("status", {})
    return bool(status.get("phase") == "Healthy" and status.get("availableReplicas") == 2)


@pytest.mark.usefixtures("_argo")
@pytest.mark.parametrize("made", [_canary, _blue_green, _by_reference])
async def test_argo_rollout_is_restarted_with_one_write(
    platform: Service,
    cluster: ClusterClient,
    restarts: Restarts,
    namespace: str,
    new_proxy: NewProxy,
    made: Callable[[Mesh, str], None],
) -> None:
    made(platform.mesh, namespace)
    old, before = pod_uids(platform.mesh, namespace, "cart"), generation(platform.mesh, namespace, "cart", "Rollout")
    new_proxy.give(_NEW)

    first = await restarts.of("cart", ARGO_ROLLOUT)
    again = await restarts.of("cart", ARGO_ROLLOUT)

    assert (first.outcome, again.outcome) == (RestartOutcome.RESTARTED, RestartOutcome.RESTARTED)
    assert generation(platform.mesh, namespace, "cart", "Rollout") == before + 1
    assert proxies(platform.mesh, namespace, "cart") == {_NEW}
    assert not old & pod_uids(platform.mesh, namespace, "cart")
    mark = mark_of(await read_workload(cluster, WorkloadRef(namespace, ARGO_ROLLOUT, "cart")))
    assert isinstance(mark, datetime)
    assert mark >= MARK


@pytest.mark.usefixtures("_argo")
async def test_workers_that_restart_an_argo_rollout_at_the_same_time_write_once(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "cart", "Rollout", annotations=_SLOW)
    before = generation(platform.mesh, namespace, "cart", "Rollout")
    new_proxy.give(_NEW)

    results = await asyncio.gather(*(restarts.other_worker().of("cart", ARGO_ROLLOUT) for _ in range(3)))

    assert {one.outcome for one in results} == {RestartOutcome.RESTARTED}
    assert generation(platform.mesh, namespace, "cart", "Rollout") == before + 1
    assert proxies(platform.mesh, namespace, "cart") == {_NEW}


@pytest.mark.usefixtures("_argo")
async def test_paused_argo_rollout_is_not_restarted(
    platform: Service, restarts: Restarts, namespace: str, new_proxy: NewProxy
) -> None:
    steps = {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}
    make(platform.mesh, namespace, "cart", "Rollout", strategy=steps)
    change = '{"spec":{"template":{"metadata":{"annotations":{"release":"2"}}}}}'
    kubectl(platform.mesh, "-n", namespace, "patch", "rollout/cart", "--type=merge", "-p", change)
    paused = "--for=jsonpath={.status.phase}=Paused"
    kubectl(platform.mesh, "-n", namespace, "wait", "rollouts.argoproj.io/cart", paused, "--timeout=30s")
    new_proxy.give(_NEW)
    before = generation(platform.mesh, namespace, "cart", "Rollout")

    result = await asyncio.wait_for(restarts.of("cart", ARGO_ROLLOUT), 30)

    assert (result.outcome, result.reason) == (RestartOutcome.FAILED, Reason.ROLLOUT_PAUSED)
    assert generation(platform.mesh, namespace, "cart", "Rollout") == before
