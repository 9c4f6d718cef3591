"""Installs Istio with the real istioctl, and runs the istiod that answers as a process.

The Pods of Deployment istiod are simulated like all Pods. What answers is `pilot-discovery` on this machine, with
the environment and arguments that the installed Deployment gives it, listening on the ClusterIP of its Service. So
`istioctl install` and its webhooks stay as they are, and another tag in the injector's ConfigMap is an upgrade.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.local.binaries import ISTIO_HUB, Binaries, ensure
from deploy.local.errors import LocalMeshError
from deploy.local.kubectl import KubectlError, kubectl, read
from deploy.local.mesh import ControlPlane, Mesh
from deploy.local.places import hold
from deploy.local.progress import say

NAMESPACE = "istio-system"
DEFAULT_REVISION = "default"

_INSTALL_SECONDS = 180.0
_INJECT_SECONDS = 60.0
_POLL_SECONDS = 0.2
_PORTS = {"httpsAddr": 443, "grpcAddr": 15010, "secureGRPCAddr": 15012, "monitoringAddr": 15014, "httpAddr": 8080}


def install_istio(
    mesh: Mesh,
    tag: str,
    revision: str | None = None,
    sets: Sequence[str] = (),
    kubeconfig: Path | None = None,
) -> None:
    """Installs Istio, or upgrades it when the revision is there; returns when its injector answers with `tag`.

    Args:
        mesh: the mesh to install into.
        tag: image tag, taken as it is.
        revision: None is the default revision, with ingress gateway and CNI; another one gets only its own istiod.
        sets: more settings, as `istioctl --set` takes them.
        kubeconfig: runs istioctl as somebody else than the cluster's administrator.

    Raises:
        LocalMeshError: istioctl failed, or the injector does not answer with the tag.
    """
    binaries = ensure()
    revision = None if revision == DEFAULT_REVISION else revision
    with hold(f"mesh-{mesh.name}-istio"):
        name = _istiod(revision)
        say(f"installing Istio {tag}" + (f" as revision {revision}" if revision else ""))
        command = [str(binaries["istioctl"]), "install", "--skip-confirmation", "--readiness-timeout", "2m"]
        settings = [part for setting in (*_settings(mesh, tag, revision), *sets) for part in ("--set", setting)]
        log = mesh.log(f"istioctl-{name}")
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            log.open("a") as output,
            subprocess.Popen(
                [*command, *settings],
                env=mesh.environment | {"KUBECONFIG": str(kubeconfig or mesh.kubeconfig)},
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as install,
        ):
            # istiod is started as soon as its Service has an address: the install itself waits for its webhooks.
            address = _start_istiod_beside(mesh, binaries, revision, install)
        if install.returncode:
            last = " / ".join(log.read_text().strip().splitlines()[-3:])
            raise LocalMeshError(f"istioctl could not install Istio {tag}: {last}.", f"See {log}.")
        # The install may have changed what istiod is started with.
        address = _start_istiod(mesh, binaries, revision) or address
        _await_injection(mesh, tag, revision)
        planes = mesh.state.istio | {revision or DEFAULT_REVISION: ControlPlane(tag, address)}
        mesh.change_state(istio=planes)
        say(f"Istio {tag} injects; istiod is {address}")


def start_istiod(mesh: Mesh, revision: str | None = None) -> str:
    """Starts the istiod of an installed revision unless it lives, e.g. after `mesh.kill("istiod")`; host:port.

    Raises:
        LocalMeshError: the revision is not installed.
    """
    address = _start_istiod(mesh, ensure(), revision)
    if address is None:
        raise LocalMeshError(
            f"Revision {revision or DEFAULT_REVISION} is not installed in the mesh {mesh.name}.",
            f"Install it: python -m deploy.local istio --name {mesh.name} --tag TAG --revision {revision}",
        )
    return address


def injected_proxy(mesh: Mesh, revision: str | None = None) -> str | None:
    """The proxy image that a new Pod gets right now (a server-side dry run), or None when it gets none.

    Raises:
        KubectlError: the Pod is refused, e.g. because istiod does not answer.
    """
    # Injection by the Pod's label needs no namespace of its own, and the dry run leaves nothing behind.
    label = {"istio.io/rev": revision} if revision else {"sidecar.istio.io/inject": "true"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "injected-", "namespace": "default", "labels": label},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }
    created = kubectl(mesh, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod))
    spec = json.loads(created)["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    return next((container["image"] for container in containers if container["name"] == "istio-proxy"), None)


def _settings(mesh: Mesh, tag: str, revision: str | None) -> list[str]:
    common = [f"hub={ISTIO_HUB}", f"tag={tag}", "components.cni.enabled=true"]
    if revision is None:
        return [*common, "profile=default"]
    # One gateway and one CNI serve all revisions. This istiod learns that there is a CNI only if it is installed with
    # it (istioctl ignores values.pilot.cni.enabled), so it is, as what it is already.
    default = mesh.state.istio[DEFAULT_REVISION].tag
    return [*common, f"components.cni.tag={default}", "profile=minimal", f"revision={revision}"]


def _start_istiod_beside(mesh: Mesh, binaries: Binaries, revision: str | None, install: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _INSTALL_SECONDS
    address = ""
    while install.poll() is None:
        if not address:
            address = _start_istiod(mesh, binaries, revision) or ""
        if time.monotonic() > deadline:
            install.kill()
        time.sleep(_POLL_SECONDS)
    return address


def _start_istiod(mesh: Mesh, binaries: Binaries, revision: str | None) -> str | None:
    """Starts the process as the Deployment says, unless it runs so already; None when it is not installed yet."""
    name = _istiod(revision)
    service = read(mesh, "service", name, "-n", NAMESPACE)
    deployment = read(mesh, "deployment", name, "-n", NAMESPACE)
    if not service or not deployment:
        return None
    address = service["spec"]["clusterIP"]
    container = next(c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "discovery")
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    argv = [
        str(binaries["pilot-discovery"]),
        *container["args"],
        # The last of two equal flags counts: these take the place of the Deployment's.
        f"--kubeconfig={mesh.kubeconfig}",
        *(f"--{flag}={address}:{port}" for flag, port in _PORTS.items()),
        "--ctrlz_port=0",
    ]
    env = _environment(container, pod=f"{name}-0", account=account)
    recipe = json.dumps([argv, env])
    written = mesh.directory / "work" / name / "recipe.json"
    running = mesh.processes("system").get(name)
    if not (running and running.alive and written.exists() and written.read_text() == recipe):
        say(f"starting {name} on {address}")
        mesh.spawn_system(name, argv, {"PATH": "/usr/bin:/bin", "HOME": mesh.environment["HOME"]} | env)
        written.write_text(recipe)
    return f"{address}:{_PORTS['httpsAddr']}"


def _environment(container: dict[str, Any], *, pod: str, account: str) -> dict[str, str]:
    """The environment that the kubelet would give the container."""
    fields = {
        "metadata.name": pod,
        "metadata.namespace": NAMESPACE,
        "spec.serviceAccountName": account,
    }
    env = {}
    for variable in container["env"]:
        value = variable.get("value") or fields.get(
            variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        )
        if value and variable["name"] != "KUBECONFIG":
            env[variable["name"]] = value
    return env


def _await_injection(mesh: Mesh, tag: str, revision: str | None) -> None:
    deadline = time.monotonic() + _INJECT_SECONDS
    seen: str | None = None
    while time.monotonic() < deadline:
        try:
            seen = injected_proxy(mesh, revision)
        except KubectlError as error:
            seen = error.said.strip()
        # A variant is part of an image's tag: 1.30.2-distroless.
        if seen and (seen.rpartition(":")[2] + "-").startswith(f"{tag}-"):
            return
        time.sleep(_POLL_SECONDS)
    raise LocalMeshError(
        f"Istio {tag} is installed, but a new Pod is not injected with it after {_INJECT_SECONDS:.0f} s: {seen}.",
        f"See {mesh.log(_istiod(revision))}.",
    )


def _istiod(revision: str | None) -> str:
    return f"istiod-{revision}" if revision else "istiod"
