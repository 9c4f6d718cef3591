"""Whole upgrades on a real cluster, of workloads that the product cannot know."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, kubectl, read
from deploy.local.service import Service
from tests.e2e.command import run
from tests.e2e.conftest import stage_at_work
from tests.e2e.workloads import generation, make, proxies

pytestmark = pytest.mark.mesh

_OURS = "kubectl.kubernetes.io/restartedAt"
_MODULES = "istio-operator.kyma-project.io/restartedAt"
_WARNING = "istio.reconciler.kyma-project.io/proxy-reset-warning"


@pytest.fixture
def fresh() -> Iterator[Service]:
    """A mesh of its own with a worker: its control plane will be upgraded."""
    with stage_at_work(f"test-{secrets.token_hex(3)}") as service:
        yield service


def test_module_restarts_and_the_upgrade_verifies(fresh: Service, tmp_path: Path) -> None:
    namespace = _namespace(fresh)
    make(fresh.mesh, namespace, "theirs")
    before = generation(fresh.mesh, namespace, "theirs")
    policy = tmp_path / "policy.yaml"
    policy.write_text("soak: 0s\n")

    done = run(
        fresh.environment,
        "start",
        "--to",
        "fast",
        "--policy",
        str(policy),
        "--restarts",
        "module",
        "--wait",
        "-o",
        "json",
    )

    assert done.code == 0, done.stderr
    assert done.document["result"] == "done"
    assert proxies(fresh.mesh, namespace, "theirs") == {"1.30.2-distroless"}
    assert generation(fresh.mesh, namespace, "theirs") == before + 1
    assert _MODULES in _annotations(fresh, namespace, "theirs")
    assert read(fresh.mesh, "configmap", "hold", "-n", "kyma-upgrade") is None


def test_failed_restart_and_stale_gateway_become_items_and_close_once_fixed(fresh: Service, tmp_path: Path) -> None:
    namespace = _namespace(fresh)
    gateway = _gateway(fresh)
    make(fresh.mesh, namespace, "fine")
    make(fresh.mesh, namespace, "breaks")
    # Pods that are made from now on crash; those that run stay as they are.
    _behave(fresh, namespace, "breaks", "crash-looping")
    policy = tmp_path / "policy.yaml"
    policy.write_text("soak: 0s\nnoProgress: {rollout: 8s}\n")

    done = run(fresh.environment, "start", "--to", "1.30.2", "--policy", str(policy), "--wait", "-o", "json")
    listed = run(fresh.environment, "queue", "list", "-o", "json").document["items"]
    items = {one["name"]: one for one in listed}

    assert done.code == 3, done.stderr
    assert proxies(fresh.mesh, namespace, "fine") == {"1.30.2-distroless"}
    assert _OURS in _annotations(fresh, namespace, "fine")
    assert {name: one["state"] for name, one in items.items()} == {"breaks": "open", "edge": "open"}
    assert "CrashLoopBackOff" in items["breaks"]["detail"]
    assert items["edge"]["reason"] == "GatewayNotUpgraded"
    assert items["edge"]["detail"].endswith("runs Istio 1.29.3, its revision has 1.30.2")
    assert _warned(fresh, namespace)

    _behave(fresh, namespace, "breaks", "running")
    # As its chart would.
    kubectl(fresh.mesh, "-n", gateway, "set", "image", "deployment/edge", "istio-proxy=istio/proxyv2:1.30.2")
    wait_for("the item to close", lambda: _open_items(fresh) == [], 60)

    assert not _warned(fresh, namespace)
    assert not _warned(fresh, gateway)


def _gateway(service: Service) -> str:
    """Creates a gateway with its own proxy, as a chart does; returns its namespace."""
    name = _namespace(service)
    kubectl(service.mesh, "label", "namespace", name, "istio-injection-")
    pod = {"containers": [{"name": "istio-proxy", "image": "istio/proxyv2:1.29.3"}]}
    make(service.mesh, name, "edge", pod=pod)
    return name


def _namespace(service: Service) -> str:
    name = f"story-{secrets.token_hex(4)}"
    labels = {"istio-injection": "enabled"}
    apply(service.mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    return name


def _behave(service: Service, namespace: str, name: str, how: str) -> None:
    """Changes the behaviour of new Pods; a surge of one keeps the running Pods until the new ones are Ready."""
    patch = f'{{"spec":{{"template":{{"metadata":{{"annotations":{{"behaviour.local-mesh/pod":"{how}"}}}}}}}}}}'
    kubectl(service.mesh, "-n", namespace, "patch", "deployment", name, "--type=merge", "-p", patch)


def _annotations(service: Service, namespace: str, name: str) -> dict[str, str]:
    template = read(service.mesh, "deployment", name, "-n", namespace)["spec"]["template"]
    found: dict[str, str] = template["metadata"].get("annotations", {})
    return found


def _open_items(service: Service) -> list[str]:
    items = run(service.environment, "queue", "list", "-o", "json").document["items"]
    return [item["name"] for item in items]


def _warned(service: Service, namespace: str) -> list[str]:
    pods = read(service.mesh, "pods", "-n", namespace)["items"]
    return [pod["metadata"]["name"] for pod in pods if _WARNING in pod["metadata"].get("annotations", {})]
