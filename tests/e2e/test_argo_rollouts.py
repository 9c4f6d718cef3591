"""Argo Rollouts on a real cluster: the survey finds them, and their controller behaves as the rules expect."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.kube.client import ClusterClient
from activities.kube.discovery import read_uid
from activities.kube.events import record_event
from activities.kube.paths import path
from activities.kube.watch import ObjectReference, watch_changes
from activities.kube.workloads import read_workload, with_kind
from activities.survey.run import run_survey
from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.rollouts import start_rollouts
from deploy.local.service import Service
from mesh.identity import ClusterRef
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Pod, Workload
from mesh.k8s.restart_patch import mark_of, restart_patch
from mesh.k8s.rollout import Rollout, rollout
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.survey import SurveyedWorkload
from tests.e2e.command import run
from tests.e2e.conftest import NewProxy
from tests.e2e.workloads import make, pod_uids, proxies
from worker.doctor_checks import check_cluster

pytestmark = pytest.mark.mesh

_NEW = "1.30.2"
_LOOKS, _LOOK_SECONDS = 1200, 0.05


@pytest.fixture(scope="module", autouse=True)
def _rollouts(platform: Service) -> None:
    start_rollouts(platform.mesh)


async def test_stale_argo_rollout_is_to_be_restarted_at_a_time(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "cart", "Rollout")
    before = await _record(cluster, namespace, "cart")
    new_proxy.give(_NEW)

    after = await _record(cluster, namespace, "cart")
    shown = run(platform.environment, "scan", "-n", namespace, "-o", "json").document

    assert (before.pod_class, before.action, before.pods) == (PodClass.CURRENT, Action.NONE, 2)
    assert (after.pod_class, after.action, after.stale_pods) == (PodClass.STALE, Action.RESTART_AT, 2)
    assert (after.expected.image or "").endswith(f"proxyv2:{_NEW}")
    assert [(one["kind"], one["action"]) for one in shown["workloads"]] == [(ARGO_ROLLOUT, "restart-at")]
    assert shown["problems"] == []


async def test_restart_of_an_argo_rollout_is_seen_from_its_write_to_its_end(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "cart", "Rollout")
    new_proxy.give(_NEW)
    old, mark = pod_uids(platform.mesh, namespace, "cart"), datetime.now(UTC).replace(microsecond=0)

    written = await _restart(cluster, namespace, "cart", mark)
    moments = await _until_complete(cluster, namespace, "cart")

    found = mark_of(written)
    assert found is not None
    assert found >= mark
    assert not rollout(written).settled
    assert not any(one.failed or one.paused for one in moments)
    wait_for("its Pods", lambda: len(pod_uids(platform.mesh, namespace, "cart")) == 2)
    assert not old & pod_uids(platform.mesh, namespace, "cart")
    assert proxies(platform.mesh, namespace, "cart") == {_NEW}
    assert (await _record(cluster, namespace, "cart")).pod_class is PodClass.CURRENT


async def test_template_in_a_deployment_is_the_argo_rollouts_own(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy
) -> None:
    make(platform.mesh, namespace, "lender")
    kubectl(platform.mesh, "-n", namespace, "scale", "deployment/lender", "--replicas=0")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "lender"}
    spec = {"replicas": 2, "workloadRef": reference, "strategy": {"canary": {}}}
    apply(platform.mesh, _object(namespace, "borrower", spec))
    await _until_complete(cluster, namespace, "borrower")
    new_proxy.give(_NEW)
    old = pod_uids(platform.mesh, namespace, "lender")

    found = await _record(cluster, namespace, "borrower")
    await _restart(cluster, namespace, "borrower", datetime.now(UTC))
    await _until_complete(cluster, namespace, "borrower")

    assert (found.pod_class, found.action, found.stale_pods) == (PodClass.STALE, Action.RESTART_AT, 2)
    wait_for("its Pods", lambda: len(pod_uids(platform.mesh, namespace, "lender")) == 2)
    assert not old & pod_uids(platform.mesh, namespace, "lender")
    assert proxies(platform.mesh, namespace, "lender") == {_NEW}


async def test_paused_and_aborted_argo_rollouts_are_not_restarted(
    platform: Service, cluster: ClusterClient, namespace: str, new_proxy: NewProxy
) -> None:
    steps = {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}
    make(platform.mesh, namespace, "cart", "Rollout", strategy=steps)
    update = {"spec": {"template": {"metadata": {"annotations": {"release": "2"}}}}}
    _patch(platform, namespace, update)
    wait_for("the pause", lambda: "pauseConditions" in _status(platform, namespace))
    new_proxy.give(_NEW)

    paused = await _record(cluster, namespace, "cart")
    _patch(platform, namespace, {"status": {"abort": True}}, "--subresource=status")
    wait_for("the abort", lambda: _status(platform, namespace).get("phase") == "Degraded")
    aborted = await _record(cluster, namespace, "cart")

    assert (paused.action, paused.reason, paused.detail) == (
        Action.REMEDIATE,
        Reason.ROLLOUT_PAUSED,
        "CanaryPauseStep",
    )
    assert (aborted.action, aborted.reason) == (Action.REMEDIATE, Reason.ROLLOUT_FAILING)
    assert (aborted.detail or "").startswith("RolloutAborted: ")


async def test_doctor_checks_the_rights_of_a_cluster_that_has_argo_rollouts(
    platform: Service, cluster: ClusterClient
) -> None:
    checks = await check_cluster(cluster, ClusterRef(platform.mesh.name, await read_uid(cluster)))
    rights = {one.name.partition(" ")[2]: one.ok for one in checks if one.name.endswith(" rollouts")}

    assert rights == {f"{verb} rollouts": True for verb in ("get", "list", "watch", "patch")}


async def test_change_of_an_argo_rollout_is_followed(platform: Service, cluster: ClusterClient, namespace: str) -> None:
    make(platform.mesh, namespace, "cart", "Rollout")
    seen: asyncio.Queue[ObjectReference] = asyncio.Queue()
    begun = asyncio.Event()
    watch = asyncio.create_task(watch_changes(cluster, seen.put_nowait, begun.set))
    await begun.wait()
    await asyncio.to_thread(_patch, platform, namespace, {"metadata": {"labels": {"changed": "yes"}}})

    async with asyncio.timeout(30):
        while await seen.get() != ObjectReference(ARGO_ROLLOUT, namespace, "cart"):
            pass
    watch.cancel()


async def test_event_names_an_argo_rollout(platform: Service, cluster: ClusterClient, namespace: str) -> None:
    cart = WorkloadRef(namespace, ARGO_ROLLOUT, "cart")
    await record_event(cluster, cart, reason="RestartRequired", message="RolloutPaused", warning=True)

    (event,) = read(platform.mesh, "events", "-n", namespace, "--field-selector=reason=RestartRequired")["items"]
    involved = event["involvedObject"]

    assert (involved["apiVersion"], involved["kind"], involved["name"]) == ("argoproj.io/v1alpha1", "Rollout", "cart")


async def _record(cluster: ClusterClient, namespace: str, name: str) -> SurveyedWorkload:
    survey = await run_survey(cluster, [namespace])
    return next(record for record in survey.workloads if record.name == name)


async def _restart(cluster: ClusterClient, namespace: str, name: str, mark: datetime) -> Workload:
    """As a restart is written; the Rollout as the API server answers."""
    workload = await read_workload(cluster, WorkloadRef(namespace, ARGO_ROLLOUT, name))
    query = {"labelSelector": workload.label_selector.query()}
    pods, _ = await cluster.list_all(path("Pod", namespace), Pod, query)
    where = path(ARGO_ROLLOUT, namespace, name)
    return with_kind(await cluster.patch(where, restart_patch(workload, pods, mark), Workload), ARGO_ROLLOUT)


async def _until_complete(cluster: ClusterClient, namespace: str, name: str) -> list[Rollout]:
    """Returns every observation on the way."""
    moments = []
    for _ in range(_LOOKS):
        moments.append(rollout(await read_workload(cluster, WorkloadRef(namespace, ARGO_ROLLOUT, name))))
        if moments[-1].complete:
            return moments
        await asyncio.sleep(_LOOK_SECONDS)
    pytest.fail(f"{name} does not come to its end: {moments[-1].message}")


def _object(namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec}


def _status(platform: Service, namespace: str) -> dict[str, Any]:
    status_json = kubectl(platform.mesh, "-n", namespace, "get", "rollout/cart", "-o", "jsonpath={.status}")
    status: dict[str, Any] = json.loads(status_json)
    return status


def _patch(platform: Service, namespace: str, body: dict[str, Any], *flags: str) -> None:
    kubectl(platform.mesh, "-n", namespace, "patch", "rollout/cart", "--type=merge", "-p", json.dumps(body), *flags)
