"""Two real meshes side by side: injection, upgrade, revisions, odd Pods, a crash, and nothing left at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local import kubectl, lifecycle
from deploy.local.istio import injected_proxy, install_istio, start_istiod
from deploy.local.kubectl import KubectlError
from deploy.local.mesh import Mesh
from deploy.local.places import cache_root

#: From both meshes coming up to nothing left of them; each test also runs alone.
pytestmark = [pytest.mark.mesh, pytest.mark.in_order]

HUB = "europe-docker.pkg.dev/kyma-project/prod/external/istio"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home directory of its own: what meshes leave in it is seen."""
    cache = cache_root().parent
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.delenv("XDG_STATE_HOME", raising=False)
        patch.delenv("KUBECONFIG", raising=False)
        yield folder


@pytest.fixture(scope="module")
def documents(home: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """What `up` printed for two meshes that were started at the same time."""
    commands = {
        "left": ["--istio", "1.29.3", "--kubeconfig", str(home / "config")],
        "right": ["--istio", "1.28.1", "--plain-sidecars", "--nodes", "4"],
    }
    with ThreadPoolExecutor() as pool:
        outputs = dict(
            zip(
                commands,
                pool.map(lambda item: _command("up", "--name", item[0], *item[1]), commands.items()),
                strict=True,
            )
        )
    yield {name: json.loads(output) for name, output in outputs.items()}
    for name in commands:
        lifecycle.down(name)


@pytest.fixture
def left(documents: dict[str, dict[str, Any]]) -> Mesh:
    return Mesh.load(documents["left"]["name"])


@pytest.fixture
def right(documents: dict[str, dict[str, Any]]) -> Mesh:
    return Mesh.load(documents["right"]["name"])


def test_up_prints_one_document_per_mesh_and_they_share_nothing(documents: dict[str, dict[str, Any]]) -> None:
    left, right = documents["left"], documents["right"]

    assert (left["name"], left["context"], left["versions"]["istio"]) == ("left", "left", "1.29.3")
    assert left["istiod"].endswith(":443")
    assert Path(left["kubeconfig"]).is_relative_to(left["dir"])
    assert {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller", "istiod"} == set(
        left["pids"]
    )
    for key in ("apiServer", "istiod", "dir"):
        assert left[key] != right[key]
    assert not set(left["pids"].values()) & set(right["pids"].values())
    assert Mesh.load("left").state.service_range != Mesh.load("right").state.service_range


def test_kubeconfig_file_that_was_asked_for_has_the_mesh_as_current_context(home: Path, left: Mesh) -> None:
    done = subprocess.run(
        [kubectl.program(), "--kubeconfig", home / "config", "config", "current-context"],
        capture_output=True,
        text=True,
        check=True,
        env=left.environment,
    )
    assert done.stdout.strip() == "left"


def test_each_mesh_injects_its_own_version(left: Mesh, right: Mesh) -> None:
    assert injected_proxy(left) == f"{HUB}/proxyv2:1.29.3"
    assert injected_proxy(right) == f"{HUB}/proxyv2:1.28.1"


def test_pod_of_a_labelled_namespace_runs_with_a_native_or_a_plain_sidecar(left: Mesh, right: Mesh) -> None:
    for mesh, field in ((left, "initContainer"), (right, "container")):
        _namespace(mesh, "shop")
        kubectl.apply(mesh, _pod("cart"))
        pod = _await_pod(mesh, "cart", "Running")
        sidecar = next(status for status in pod["status"][f"{field}Statuses"] if status["name"] == "istio-proxy")

        assert "istio-proxy" in [container["name"] for container in pod["spec"][f"{field}s"]]
        assert "istio-validation" in [container["name"] for container in pod["spec"]["initContainers"]]
        assert sidecar["ready"]
        assert sidecar["image"].endswith(mesh.state.istio["default"].tag)
        assert "proxyv2@sha256:" in sidecar["imageID"]


def test_gateway_cni_and_priority_class_are_there(left: Mesh) -> None:
    images = {
        workload: kubectl.read(left, *workload.split(), "-n", "istio-system")["spec"]["template"]["spec"]["containers"][
            0
        ]["image"]
        for workload in ("deployment istiod", "deployment istio-ingressgateway", "daemonset istio-cni-node")
    }

    assert list(images.values()) == [f"{HUB}/{name}:1.29.3" for name in ("pilot", "proxyv2", "install-cni")]
    assert kubectl.read(left, "priorityclass", "istio-kyma-priority")


def test_service_account_token_has_the_rights_that_rbac_gives_it(left: Mesh) -> None:
    kubectl.kubectl(left, "create", "serviceaccount", "reader", "-n", "default")
    token = kubectl.kubectl(left, "create", "token", "reader", "-n", "default").strip()
    can_list_pods = (
        "auth",
        "can-i",
        "list",
        "pods",
        "--token",
        token,
        "--server",
        left.state.api_server,
        "--insecure-skip-tls-verify",
    )
    outside = ("--kubeconfig", os.devnull)
    with pytest.raises(KubectlError):
        kubectl.kubectl(left, *outside, *can_list_pods)

    kubectl.kubectl(
        left,
        "create",
        "rolebinding",
        "reader",
        "-n",
        "default",
        "--clusterrole=view",
        "--serviceaccount=default:reader",
    )

    assert kubectl.kubectl(left, *outside, *can_list_pods).strip() == "yes"


def test_odd_pods_stay_as_they_are_until_they_are_fixed(left: Mesh) -> None:
    _namespace(left, "odd")
    behaviours = {
        "crash-looping": ("Running", "CrashLoopBackOff"),
        "image-pull-error": ("Pending", "ImagePullBackOff"),
        "not-ready": ("Running", None),
        "failed": ("Failed", None),
        "unknown": ("Unknown", None),
    }
    kubectl.apply(left, *(_pod(name, namespace="odd", behaviour=name) for name in behaviours))
    kubectl.apply(left, _pod("unschedulable", namespace="odd", spec={"nodeSelector": {"no": "node"}}))
    not_ready = dict.fromkeys(behaviours, "False") | {"unknown": "Unknown"}
    pods = {name: _await_pod(left, name, phase, "odd", not_ready[name]) for name, (phase, _) in behaviours.items()}
    for name, (_, waiting) in behaviours.items():
        status = pods[name]["status"]
        assert status["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == waiting
    assert _await_pod(left, "unschedulable", "Pending", "odd")["status"]["conditions"][0]["reason"] == "Unschedulable"

    time.sleep(2)
    for name, pod in pods.items():
        assert _get(left, name, "odd")["metadata"]["resourceVersion"] == pod["metadata"]["resourceVersion"]

    mendable = [name for name in behaviours if name != "failed"]
    kubectl.kubectl(left, "annotate", "pod", "-n", "odd", *mendable, "behaviour.local-mesh/pod-")
    for name in mendable:
        assert "reason" not in _await_pod(left, name, "Running", "odd", "True")["status"]
    # Each of them can be deleted, whatever it was.
    kubectl.kubectl(left, "delete", "pod", "-n", "odd", "--all", "--timeout=10s")


def test_another_tag_is_an_upgrade_and_a_revision_stands_beside_it(left: Mesh) -> None:
    _command("istio", "--name", "left", "--tag", "1.30.2")
    install_istio(left, "1.31.0", revision="canary")

    assert injected_proxy(left) == f"{HUB}/proxyv2:1.30.2"
    assert injected_proxy(left, "canary") == f"{HUB}/proxyv2:1.31.0"
    status = lifecycle.status("left")
    assert status["state"] == "up"
    assert {name: (plane["tag"], plane["alive"]) for name, plane in status["revisions"].items()} == {
        "default": ("1.30.2", True),
        "canary": ("1.31.0", True),
    }
    assert status["revisions"]["default"]["istiod"] != status["revisions"]["canary"]["istiod"]
    daemonset = kubectl.read(left, "daemonset", "istio-cni-node", "-n", "istio-system")
    assert daemonset["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":1.30.2")


def test_istiod_that_died_is_seen_and_can_be_started_again(left: Mesh) -> None:
    assert left.kill("istiod", grace=0)
    with pytest.raises(KubectlError):
        injected_proxy(left)

    start_istiod(left)

    deadline = time.monotonic() + 20
    while _try_injection(left) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_up_of_a_mesh_that_is_up_is_refused(right: Mesh) -> None:
    assert "is up already" in _command("up", "--name", right.name, "--istio", "1.28.1", expect=1)


def test_up_clears_away_a_mesh_that_crashed(right: Mesh) -> None:
    before = lifecycle.status("right")
    for part in ("etcd", "kube-apiserver"):
        os.kill(before["pids"][part], signal.SIGKILL)
    (right.directory / "mesh.json").write_text("{")

    document = json.loads(_command("up", "--name", "right", "--istio", "1.29.3"))

    assert document["versions"]["istio"] == "1.29.3"
    assert not any(psutil.pid_exists(pid) for pid in set(before["pids"].values()) - set(document["pids"].values()))


def test_down_clears_away_an_up_that_was_killed(home: Path) -> None:
    mesh = Mesh.named("killed")
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "up", "--name", mesh.name, "--istio", "1.29.3"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        while not _processes_that_name([str(mesh.directory)]):
            time.sleep(0.05)
        time.sleep(1)
        up.kill()

    assert lifecycle.down(mesh.name)

    assert not mesh.directory.exists()
    assert _processes_that_name([str(mesh.directory)]) == []


def test_down_leaves_no_process_and_no_file(home: Path, left: Mesh, right: Mesh) -> None:
    guest = left.spawn("guest", ["sleep", "600"])
    folders = [str(mesh.directory) for mesh in (left, right)]
    assert _processes_that_name(folders)

    for mesh in (left, right):
        _command("down", "--name", mesh.name)

    assert not guest.alive
    assert _processes_that_name(folders) == []
    assert list(home.iterdir()) == []
    assert "nothing to do" in _command("down", "--name", "left")


def _command(*arguments: str, expect: int = 0) -> str:
    """What the command prints: its stdout, or its stderr when that is empty."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == expect, done.stderr
    return done.stdout or done.stderr


def _namespace(mesh: Mesh, name: str) -> None:
    labels = {"istio-injection": "enabled"}
    kubectl.apply(mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    # Pods are refused until the namespace has its service account.
    deadline = time.monotonic() + 10
    while kubectl.read(mesh, "serviceaccount", "default", "-n", name) is None:
        assert time.monotonic() < deadline


def _pod(
    name: str, *, namespace: str = "shop", behaviour: str | None = None, spec: dict[str, Any] | None = None
) -> dict[str, Any]:
    annotations = {"behaviour.local-mesh/pod": behaviour} if behaviour else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]} | (spec or {}),
    }


def _get(mesh: Mesh, name: str, namespace: str) -> dict[str, Any]:
    pod: dict[str, Any] = kubectl.read(mesh, "pod", name, "-n", namespace)
    return pod


def _await_pod(mesh: Mesh, name: str, phase: str, namespace: str = "shop", ready: str | None = None) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        pod = _get(mesh, name, namespace)
        if pod["status"]["phase"] == phase and pod["status"].get("conditions") and ready in (None, _ready(pod)):
            return pod
        time.sleep(0.1)
    pytest.fail(f"{name} is {pod['status']}")


def _ready(pod: dict[str, Any]) -> str | None:
    return next((c["status"] for c in pod["status"].get("conditions", []) if c["type"] == "Ready"), None)


def _try_injection(mesh: Mesh) -> str | None:
    try:
        return injected_proxy(mesh)
    except KubectlError:
        return None


def _processes_that_name(folders: list[str]) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
        if any(folder in word for word in words for folder in folders):
            found.append(f"{process.pid} {process.name()}")
    return found
