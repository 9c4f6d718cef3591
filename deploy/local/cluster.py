"""Starts the Kubernetes control plane as processes, with kwokctl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.local import kubeconfig, processes, stages
from deploy.local.binaries import KUBERNETES_VERSION, Binaries
from deploy.local.errors import LocalMeshError
from deploy.local.mesh import Mesh

_WAIT_SECONDS = 120
# Loopback addresses are refused as an API server's advertised address, and a machine without a network has no other:
# one that is reserved for documentation (RFC 5737) is as good, since nothing here uses it.
_ADVERTISED = "192.0.2.1"


def start(mesh: Mesh, binaries: Binaries) -> None:
    """Starts etcd, API server, controllers, scheduler and kwok, and writes the mesh's kubeconfig.

    RBAC is on, service-account tokens are real, and Services have addresses of the mesh's own loopback range.
    """
    config = mesh.directory / "cluster.yaml"
    documents = [_configuration(mesh.state.service_range, binaries), *stages.all_stages()]
    config.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    command = ["create", "cluster", "--name", mesh.name, "--config", str(config), "--wait", f"{_WAIT_SECONDS}s"]
    own = _folder(mesh) / "kubectl.kubeconfig"
    done = processes.run(
        [str(binaries["kwokctl"]), *command, "--kubeconfig", str(own)],
        env=mesh.environment | {"KWOK_WORKDIR": str(_folder(mesh))},
    )
    _record(mesh)
    if done.returncode:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise LocalMeshError(
            f"The cluster did not start: {last}.", f"See {_cluster(mesh) / 'logs'}; then run the command again."
        )
    _write_kubeconfig(mesh, yaml.safe_load(own.read_text()))


def _configuration(service_range: str, binaries: Binaries) -> dict[str, Any]:
    def patch(component: str, **flags: str) -> dict[str, Any]:
        extra = [{"key": key.replace("_", "-"), "value": value} for key, value in flags.items()]
        return {"name": component, "extraArgs": extra}

    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": {
            "runtime": "binary",
            "kubeVersion": KUBERNETES_VERSION,
            "bindAddress": "127.0.0.1",
            "kubeAuthorization": True,
            "kubeAdmission": True,
            "disableQPSLimits": True,
            "etcdBinary": str(binaries["etcd"]),
            "kubeApiserverBinary": str(binaries["kube-apiserver"]),
            "kubeControllerManagerBinary": str(binaries["kube-controller-manager"]),
            "kubeSchedulerBinary": str(binaries["kube-scheduler"]),
            "kwokControllerBinary": str(binaries["kwok"]),
        },
        "componentsPatches": [
            # Nobody needs the data after a power cut, and everybody waits for its fsync.
            patch("etcd", unsafe_no_fsync="true"),
            patch("kube-apiserver", service_cluster_ip_range=service_range, advertise_address=_ADVERTISED),
            patch("kube-controller-manager", service_cluster_ip_range=service_range),
        ],
    }


def _write_kubeconfig(mesh: Mesh, written: dict[str, Any]) -> None:
    cluster, user = written["clusters"][0]["cluster"], written["users"][0]["user"]
    config = kubeconfig.compose(
        mesh.name,
        cluster["server"],
        ca=(_cluster(mesh) / "pki" / "ca.crt").read_bytes(),
        certificate=Path(user["client-certificate"]).read_bytes(),
        key=Path(user["client-key"]).read_bytes(),
    )
    mesh.kubeconfig.unlink(missing_ok=True)
    kubeconfig.add(mesh.kubeconfig, config)
    mesh.change_state(api_server=cluster["server"])


def _record(mesh: Mesh) -> None:
    """Takes over the pid files of kwokctl, which hold no start time."""
    for file in (_cluster(mesh) / "pids").glob("*.pid"):
        process = processes.started(int(file.read_text()))
        if process:
            mesh.record_system(file.stem, process)


def _folder(mesh: Mesh) -> Path:
    return mesh.directory / "kwok"


def _cluster(mesh: Mesh) -> Path:
    return _folder(mesh) / "clusters" / mesh.name
