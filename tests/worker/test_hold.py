"""The shipped roles and the shipped hold on a real API server, acting as the accounts that they concern."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.hold import HoldActivities, HoldInput
from activities.kube.client import APPLY_PATCH, ClusterClient, connect
from activities.kube.discovery import read_uid
from activities.kube.paths import path
from deploy.local import lifecycle
from deploy.local.kubectl import apply, kubectl
from deploy.local.mesh import Mesh
from mesh.errors import PermissionDeniedError, RejectedError
from mesh.identity import ClusterRef
from mesh.k8s.objects import Workload
from mesh.text import rfc3339
from worker.doctor_checks import check_cluster

pytestmark = pytest.mark.mesh

_NAME = "test-hold"
_MANIFESTS = Path(__file__).parents[2] / "deploy"
_MODULE = "istio-controller-manager"
_MODULE_MARK = "istio-operator.kyma-project.io/restartedAt"
_IN_FORCE_SECONDS = 30


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    lifecycle.down(_NAME)
    try:
        found = lifecycle.up(_NAME, "1.29.3")
        apply(found, *_ground())
        kubectl(found, "apply", "-f", str(_MANIFESTS / "rbac.yaml"), "-f", str(_MANIFESTS / "hold.yaml"))
        yield found
    finally:
        lifecycle.down(_NAME)


def _ground() -> list[dict[str, Any]]:
    """Namespaces, the module's account with far more rights than it needs, and workloads for it to restart."""
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("kyma-system", "customer")
    ]
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": _MODULE, "namespace": "kyma-system"},
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _MODULE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": _MODULE, "namespace": "kyma-system"}],
    }
    workloads = [
        _workload("Deployment", "customer", "cart"),
        _workload("StatefulSet", "customer", "orders"),
        _workload("DaemonSet", "customer", "agent"),
        _workload("ReplicaSet", "customer", "bare"),
        _workload("Deployment", "customer", "module-own", {"kyma-project.io/module": "telemetry"}),
        _workload("Deployment", "kyma-system", "platform"),
    ]
    return [*namespaces, account, binding, *workloads]


def _workload(kind: str, namespace: str, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": name, **(labels or {})}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": name}}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


async def _connected(mesh: Mesh, folder: Path, namespace: str, account: str) -> ClusterClient:
    token = kubectl(mesh, "create", "token", account, "-n", namespace).strip()
    config = copy.deepcopy(yaml.safe_load(mesh.kubeconfig.read_text()))
    config["users"] = [{"name": account, "user": {"token": token}}]
    for context in config["contexts"]:
        context["context"]["user"] = account
    file = folder / f"{account}.json"
    file.write_text(json.dumps(config))
    return await connect(str(file))


@pytest_asyncio.fixture
async def service(mesh: Mesh, tmp_path: Path) -> AsyncIterator[ClusterClient]:
    async with await _connected(mesh, tmp_path, "kyma-upgrade", "kyma-upgrade") as cluster:
        yield cluster


@pytest_asyncio.fixture
async def module(mesh: Mesh, tmp_path: Path) -> AsyncIterator[ClusterClient]:
    async with await _connected(mesh, tmp_path, "kyma-system", _MODULE) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def held(service: ClusterClient) -> AsyncIterator[HoldInput]:
    """Puts the hold in force for an hour; releases it afterwards."""
    ref = ClusterRef("test", await read_uid(service))
    request = HoldInput(ref, "upgrade:test/run", timedelta(hours=1), hold=True)
    hold, environment = HoldActivities(ServedCluster(service, ref)), ActivityEnvironment()
    await environment.run(hold.renew_hold, request)
    async with asyncio.timeout(_IN_FORCE_SECONDS):
        await environment.run(hold.await_hold, request)
    yield request
    await environment.run(hold.release_hold, request)


async def _restart(cluster: ClusterClient, kind: str, namespace: str, name: str, at: datetime | None = None) -> None:
    """Restarts a workload as the module does: with its own annotation and the current time."""
    mark = {_MODULE_MARK: rfc3339(at or datetime.now(UTC))}
    body = {"spec": {"template": {"metadata": {"annotations": mark}}}}
    await cluster.patch(path(kind, namespace, name), body, Workload, dry_run=True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("Deployment", "cart"), ("StatefulSet", "orders"), ("DaemonSet", "agent"), ("ReplicaSet", "bare")],
)
async def test_module_restarting_a_customers_workload_is_refused_with_the_upgrades_name(
    held: HoldInput, module: ClusterClient, kind: str, name: str
) -> None:
    with pytest.raises(RejectedError, match="upgrade:test/run"):
        await _restart(module, kind, "customer", name)


@pytest.mark.parametrize(("namespace", "name"), [("kyma-system", "platform"), ("customer", "module-own")])
async def test_module_may_restart_kymas_own_workloads(
    held: HoldInput, module: ClusterClient, namespace: str, name: str
) -> None:
    await _restart(module, "Deployment", namespace, name)


async def test_module_may_change_anything_but_the_template(held: HoldInput, module: ClusterClient) -> None:
    body = {"metadata": {"annotations": {"touched": "yes"}}, "spec": {"replicas": 2}}

    await module.patch(path("Deployment", "customer", "cart"), body, Workload, dry_run=True)


async def test_hold_that_is_not_renewed_ends(held: HoldInput, module: ClusterClient) -> None:
    with pytest.raises(RejectedError):
        await _restart(module, "Deployment", "customer", "cart", datetime.now(UTC) + timedelta(minutes=59))

    await _restart(module, "Deployment", "customer", "cart", datetime.now(UTC) + timedelta(minutes=61))


async def test_module_deleting_a_customers_pod_is_refused(held: HoldInput, module: ClusterClient) -> None:
    container = {"name": "app", "image": "app:1"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "alone", "namespace": "customer"},
        "spec": {"containers": [container]},
    }
    await module.patch(path("Pod", "customer", "alone"), body, msgspec.Raw, APPLY_PATCH)

    with pytest.raises(RejectedError, match="upgrade:test/run"):
        await module.delete(path("Pod", "customer", "alone"))


async def test_other_accounts_are_not_held(held: HoldInput, service: ClusterClient, mesh: Mesh) -> None:
    await _restart(service, "Deployment", "customer", "cart")

    kubectl(mesh, "rollout", "restart", "deployment/cart", "-n", "customer")


async def test_module_may_restart_workloads_without_a_hold(module: ClusterClient) -> None:
    await _until_let_through(module)


async def _until_let_through(module: ClusterClient) -> None:
    # The policy's cache of ConfigMaps is as late with a deletion as with a creation.
    async with asyncio.timeout(_IN_FORCE_SECONDS):
        while True:
            try:
                await _restart(module, "Deployment", "customer", "cart")
            except RejectedError:
                await asyncio.sleep(0.5)
            else:
                return


async def test_service_may_do_what_it_needs_and_no_more(service: ClusterClient) -> None:
    checks = await check_cluster(service, ClusterRef("test", await read_uid(service)))

    failed = {one.name for one in checks if not one.ok}
    assert failed == {"kyma"}, "this mesh has no Kyma, everything else must be well"
    for location in ("/api/v1/secrets", "/api/v1/namespaces/kyma-upgrade/secrets", path("ConfigMap", "customer")):
        with pytest.raises(PermissionDeniedError):
            await service.get(location, msgspec.Raw)
    with pytest.raises(PermissionDeniedError):
        await service.delete(path("Pod", "customer", "whatever"))
