"""What is put onto a mesh when it is asked for: the real Argo Rollouts, and gateways that istiod makes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local import lifecycle
from deploy.local.binaries import GATEWAY_API_VERSION, ISTIO_HUB, ROLLOUTS_VERSION
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.mesh import Mesh

#: The last test takes the mesh down.
pytestmark = [pytest.mark.mesh, pytest.mark.in_order, pytest.mark.timeout(300)]

NAME = "test-rollouts"
SHOP = ("-n", "shop")
ROLLOUT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "cart", "namespace": "shop"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "cart"}},
        "strategy": {"canary": {}},
        "template": {
            "metadata": {"labels": {"app": "cart"}},
            "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]},
        },
    },
}
GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "shop"},
    "spec": {"gatewayClassName": "istio", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    lifecycle.down(NAME)
    try:
        mesh = lifecycle.up(NAME, "1.29.3")
        labels = {"istio-injection": "enabled"}
        apply(mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}})
        yield mesh
    finally:
        lifecycle.down(NAME)


@pytest.fixture(scope="module")
def rollouts(mesh: Mesh) -> Any:  # noqa: ANN401  # what the command prints
    return _command("rollouts")


@pytest.fixture(scope="module")
def gateways(mesh: Mesh) -> Any:  # noqa: ANN401  # what the command prints
    return _command("gateway-api")


def test_controller_is_a_process_of_the_mesh(rollouts: dict[str, Any]) -> None:
    assert rollouts["state"] == "up"
    assert rollouts["alive"]["rollouts-controller"]
    assert rollouts["versions"]["argoRollouts"] == ROLLOUTS_VERSION


def test_rollout_becomes_a_replica_set_and_injected_pods(mesh: Mesh, rollouts: dict[str, Any]) -> None:
    apply(mesh, ROLLOUT)

    _until(lambda: _rollout(mesh)["status"].get("phase") == "Healthy")
    (replica_set,) = read(mesh, "replicasets", *SHOP, "-l", "app=cart")["items"]
    pods = _pods(mesh)

    assert [(owner["kind"], owner["name"]) for owner in _owners(replica_set)] == [("Rollout", "cart")]
    assert {owner["name"] for pod in pods for owner in _owners(pod)} == {replica_set["metadata"]["name"]}
    assert [_proxies(pod) for pod in pods] == [[f"{ISTIO_HUB}/proxyv2:1.29.3"]] * 2


def test_restart_replaces_every_pod_and_leaves_the_template_alone(mesh: Mesh, rollouts: dict[str, Any]) -> None:
    apply(mesh, ROLLOUT)
    _until(lambda: _rollout(mesh)["status"].get("phase") == "Healthy")
    before, hash_before = {_uid(pod) for pod in _pods(mesh)}, _rollout(mesh)["status"]["currentPodHash"]
    # Later than its Pods, whose times are whole seconds.
    restart = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kubectl(mesh, "patch", "rollout/cart", *SHOP, "--type=merge", "-p", json.dumps({"spec": {"restartAt": restart}}))

    _until(lambda: _rollout(mesh)["status"].get("restartedAt") == restart)
    _until(lambda: len(_pods(mesh)) == 2)

    assert not before & {_uid(pod) for pod in _pods(mesh)}
    assert [len(_proxies(pod)) for pod in _pods(mesh)] == [1, 1]
    assert _rollout(mesh)["status"]["currentPodHash"] == hash_before


def test_controller_that_died_is_started_again(mesh: Mesh, rollouts: dict[str, Any]) -> None:
    assert mesh.kill("rollouts-controller", grace=0)

    assert _command("rollouts")["pids"]["rollouts-controller"] != rollouts["pids"]["rollouts-controller"]
    assert read(mesh, "rollouts", "-n", "default") is None


def test_gateway_gets_its_deployment_from_istiod(mesh: Mesh, gateways: dict[str, Any]) -> None:
    assert gateways["versions"]["gatewayApi"] == GATEWAY_API_VERSION
    apply(mesh, GATEWAY)

    _until(lambda: (read(mesh, "deployment", "edge-istio", *SHOP) or {"status": {}})["status"].get("readyReplicas"))
    (pod,) = read(mesh, "pods", *SHOP, "-l", "gateway.networking.k8s.io/gateway-name=edge")["items"]
    classes = {one["metadata"]["name"] for one in read(mesh, "gatewayclasses")["items"]}

    assert "istio" in classes
    assert [container["image"] for container in pod["spec"]["containers"]] == [f"{ISTIO_HUB}/proxyv2:1.29.3"]
    assert "sidecar.istio.io/status" not in pod["metadata"]["annotations"]


def test_down_ends_the_controller(mesh: Mesh, rollouts: dict[str, Any]) -> None:
    controller = mesh.processes("system")["rollouts-controller"]
    assert controller.alive

    lifecycle.down(NAME)

    assert not controller.alive
    assert not mesh.directory.exists()


def _command(name: str) -> Any:  # noqa: ANN401  # JSON
    command = [sys.executable, "-m", "deploy.local", name, "--name", NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _rollout(mesh: Mesh) -> dict[str, Any]:
    found: dict[str, Any] = read(mesh, "rollout", "cart", *SHOP)
    return {"status": {}} | found


def _pods(mesh: Mesh) -> list[dict[str, Any]]:
    """Living Pods of the Rollout."""
    pods: list[dict[str, Any]] = read(mesh, "pods", *SHOP, "-l", "app=cart")["items"]
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _owners(found: dict[str, Any]) -> list[dict[str, Any]]:
    owners: list[dict[str, Any]] = found["metadata"]["ownerReferences"]
    return owners


def _uid(pod: dict[str, Any]) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid


def _proxies(pod: dict[str, Any]) -> list[str]:
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return [one["image"] for one in containers if one["name"] == "istio-proxy"]


def _until(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)
