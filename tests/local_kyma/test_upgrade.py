"""One mesh, one stand-in: a refused downgrade, then an upgrade with all that can mislead whoever watches it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.kubectl import apply, kubectl, read
from deploy.local.kyma.api import Api, Object, path_of
from deploy.local.lifecycle import down, up
from deploy.local.mesh import Mesh

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

NAME = "test-kyma-stand-in"
APPLIED = "operator.kyma-project.io/lastAppliedConfiguration"
RESTARTED = "istio-operator.kyma-project.io/restartedAt"
SYSTEM = ("-n", "kyma-system")


class Diary(threading.Thread):
    """Every state that an object was in, in order, from a watch: nothing is missed between two looks."""

    def __init__(self, mesh: Mesh, kind: str) -> None:
        super().__init__(daemon=True)
        self._api = Api(mesh.kubeconfig)
        self._path = path_of(kind, "kyma-system")
        self.seen: list[Object] = []
        self.start()
        _until(lambda: bool(self.seen))

    def run(self) -> None:
        with contextlib.suppress(Exception):  # the mesh goes down under it
            for event in self._api.watch(self._path):
                self.seen.append(event["object"])  # at once, not at the end of the watch


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    down(NAME)
    try:
        yield up(NAME, "1.29.3")
    finally:
        down(NAME)


@pytest.fixture(scope="module")
def started(mesh: Mesh) -> Any:  # noqa: ANN401  # what the command prints
    command = [sys.executable, "-m", "deploy.local", "kyma", "--name", NAME]
    return json.loads(subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2]).stdout)


def test_upgrade_by_channel(mesh: Mesh, started: Any) -> None:  # noqa: ANN401
    assert (started["module"], started["channels"]["fast"]) == ("1.27.4", "1.30.0")
    assert _kyma(mesh)["version"] == "1.27.4"
    apply(mesh, *_workloads())
    kubectl(mesh, "wait", "pod", "--all", "-A", "--for=condition=Ready", "--timeout=60s")
    assert set(_proxies(mesh).values()) == {"1.29.3"}

    _refuses_a_downgrade(mesh)

    before, kyma_diary, istio_diary = _proxies(mesh), Diary(mesh, "Kyma"), Diary(mesh, "Istio")
    _channel(mesh, "fast")
    _until(lambda: _tag(_istio(mesh)) == "1.30.2" and _istio(mesh)["status"]["state"] in {"Ready", "Warning"})
    _until(lambda: [uid for uid, version in _proxies(mesh).items() if version != "1.30.2"] == [_uid(mesh, "loner")])

    assert _uid(mesh, "loner") in before
    assert len(before.keys() & _proxies(mesh).keys()) == 1
    for kind, namespace, name in [("deploy", "app", "web"), ("sts", "app", "db"), ("deploy", "kyma-system", "gateway")]:
        template = read(mesh, kind, name, "-n", namespace)["spec"]["template"]
        assert RESTARTED in template["metadata"]["annotations"]
    _misled_in_this_order(kyma_diary.seen, istio_diary.seen)
    _needs_a_hand_for_the_bare_pod(mesh)


def _refuses_a_downgrade(mesh: Mesh) -> None:
    _channel(mesh, "previous")
    _until(lambda: _kyma(mesh)["state"] == "Warning")

    assert _kyma(mesh)["message"] == (
        "module template update not allowed: ignore channel skew (from regular to previous), "
        "as a higher version (1.27.4) of the module was previously installed"
    )
    assert _kyma(mesh)["version"] == "1.27.4"
    _channel(mesh, "regular")
    _until(lambda: _kyma(mesh)["state"] == "Ready" and "message" not in _kyma(mesh))


def _misled_in_this_order(kymas: list[Object], istios: list[Object]) -> None:
    modules = [(entry["version"], entry["state"]) for kyma in kymas for entry in kyma["status"]["modules"]]
    wanted = [("1.27.4", "Ready"), ("1.30.0", "Ready"), ("1.30.0", "Processing"), ("1.30.0", "Ready")]

    assert _without_repeats(modules) == wanted

    shown = [(_tag(istio), istio["status"]["state"], *_condition(istio, "Ready")) for istio in istios]
    assert _without_repeats(shown) == [
        ("1.29.3", "Ready", "True", "ReconcileSucceeded"),
        ("1.29.3", "Processing", "Unknown", "ReconcileUnknown"),
        ("1.30.2", "Processing", "Unknown", "ReconcileUnknown"),
        ("1.30.2", "Processing", "False", "IstioInstallSucceeded"),
        ("1.30.2", "Processing", "False", "IngressGatewayRestartSucceeded"),
        ("1.30.2", "Warning", "False", "IngressGatewayRestartSucceeded"),
    ]


def _needs_a_hand_for_the_bare_pod(mesh: Mesh) -> None:
    """The Warning names the Pod; a change of the CR starts a reconciliation, restarts the gateway and nothing else."""
    assert _condition(_istio(mesh), "ProxySidecarRestartSucceeded") == ("False", "ProxySidecarManualRestartRequired")
    messages = [condition["message"] for condition in _istio(mesh)["status"]["conditions"]]
    assert "The sidecars of the following workloads could not be restarted: app/loner" in messages

    before = _proxies(mesh)
    kubectl(mesh, "delete", "pod", "loner", "-n", "app")
    spec = {"spec": {"config": {"numTrustedProxies": 2}}}
    kubectl(mesh, "patch", "istio.operator.kyma-project.io", "default", *SYSTEM, "--type=merge", "-p", json.dumps(spec))
    _until(lambda: _istio(mesh)["status"]["state"] == "Ready")

    assert _condition(_istio(mesh), "ProxySidecarRestartSucceeded")[0] == "True"
    assert json.loads(_istio(mesh)["metadata"]["annotations"][APPLIED])["config"] == {"numTrustedProxies": 2}
    gateway = read(mesh, "deploy", "istio-ingressgateway", "-n", "istio-system")["spec"]["template"]
    assert RESTARTED in gateway["metadata"]["annotations"]
    assert _proxies(mesh).keys() == before.keys() - {uid for uid, version in before.items() if version == "1.29.3"}


def _workloads() -> list[Object]:
    def template(name: str) -> Object:
        containers = [{"name": name, "image": f"registry.example/{name}:1.0.0"}]
        return {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}

    def workload(kind: str, namespace: str, name: str, replicas: int) -> Object:
        selector = {"matchLabels": {"app": name}}
        spec = {"replicas": replicas, "selector": selector, "template": template(name)}
        spec |= {"serviceName": name} if kind == "StatefulSet" else {}
        return {
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        }  # fmt: skip

    loner = {"apiVersion": "v1", "kind": "Pod", **template("loner")}
    loner["metadata"] |= {"name": "loner", "namespace": "app"}
    labels = {"istio-injection": "enabled"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app", "labels": labels}},
        workload("Deployment", "app", "web", 2),
        workload("StatefulSet", "app", "db", 2),
        workload("Deployment", "kyma-system", "gateway", 1),
        loner,
    ]


def _channel(mesh: Mesh, channel: str) -> None:
    patch = [{"op": "replace", "path": "/spec/modules/0/channel", "value": channel}]
    kubectl(mesh, "patch", "kyma", "default", *SYSTEM, "--type=json", "-p", json.dumps(patch))


def _kyma(mesh: Mesh) -> Object:
    entry: Object = read(mesh, "kyma", "default", *SYSTEM)["status"]["modules"][0]
    return entry


def _istio(mesh: Mesh) -> Object:
    found: Object = read(mesh, "istio.operator.kyma-project.io", "default", *SYSTEM)
    return found


def _tag(istio: Object) -> str:
    return str(json.loads(istio["metadata"]["annotations"][APPLIED])["IstioTag"])


def _condition(istio: Object, type_: str) -> tuple[str, str]:
    found = next(condition for condition in istio["status"]["conditions"] if condition["type"] == type_)
    return found["status"], found["reason"]


def _proxies(mesh: Mesh) -> dict[str, str]:
    """Version of the sidecar of each injected Pod, by the Pod's uid."""
    return {
        pod["metadata"]["uid"]: container["image"].rpartition(":")[2]
        for pod in read(mesh, "pods", "-A")["items"]
        if "sidecar.istio.io/status" in pod["metadata"].get("annotations", {})
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        if container["name"] == "istio-proxy"
    }


def _uid(mesh: Mesh, name: str) -> str:
    return str(read(mesh, "pod", name, "-n", "app")["metadata"]["uid"])


def _without_repeats(items: list[Any]) -> list[Any]:
    return [item for index, item in enumerate(items) if index == 0 or items[index - 1] != item]


def _until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.3)
