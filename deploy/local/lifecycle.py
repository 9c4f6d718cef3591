"""Brings a mesh up, takes it down, says how it stands."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import yaml

from deploy.local import addresses, checks, cluster, kubeconfig, nodes, processes
from deploy.local.binaries import ISTIO_VERSION, KUBERNETES_VERSION, KWOK_VERSION, Binaries, ensure
from deploy.local.errors import LocalMeshError
from deploy.local.istio import DEFAULT_REVISION, install_istio
from deploy.local.mesh import Mesh, State
from deploy.local.places import hold, meshes_root, remove_if_empty
from deploy.local.progress import say

_GRACE_SECONDS = 5.0


def up(
    name: str,
    istio: str | None,
    *,
    kubeconfig_file: Path | None = None,
    plain_sidecars: bool = False,
    node_count: int = 3,
) -> Mesh:
    """Starts a cluster and installs Istio; returns when a new Pod really is injected.

    Args:
        name: of the mesh, its context and its directory.
        istio: image tag of Istio, taken as it is; None leaves the cluster without Istio.
        kubeconfig_file: a file to add the mesh's context to, besides the mesh's own kubeconfig.
        plain_sidecars: nodes report a kubelet too old for native sidecars.
        node_count: how many nodes.

    Raises:
        LocalMeshError: a mesh of that name is up, the machine lacks something, or a part did not start.
    """
    mesh = Mesh.named(name)
    with hold(f"mesh-{name}"):
        if mesh.whole:
            raise LocalMeshError(
                f"A mesh called {name} is up already.",
                f"Take it down first (python -m deploy.local down --name {name}), or choose another name.",
            )
        if _remains(mesh):
            say(f"removing what is left of an earlier mesh {name}")
            _remove(mesh)
        check_machine()
        binaries = ensure()
        try:
            _start(mesh, binaries, istio, kubeconfig_file, plain_sidecars=plain_sidecars, node_count=node_count)
        except BaseException:
            # The logs stay for a look; the next `up` or `down` of that name clears them away.
            _end_processes(mesh)
            raise
    return mesh


def check_machine() -> None:
    """Checks what a mesh needs of the machine, before minutes are spent on building.

    Raises:
        LocalMeshError: it lacks something.
    """
    checks.can_run(addresses.probe_address(), meshes_root())


def down(name: str) -> bool:
    """Ends every process of a mesh and removes its directory; false when there was nothing of it."""
    mesh = Mesh.named(name)
    with hold(f"mesh-{name}"):
        there = _remains(mesh)
        if there:
            _remove(mesh)
    return there


def describe(mesh: Mesh) -> dict[str, Any]:
    """What `up` prints: where everything is."""
    state = mesh.state
    default = state.istio.get(DEFAULT_REVISION)
    return {
        "name": mesh.name,
        "kubeconfig": str(mesh.kubeconfig),
        "context": mesh.context,
        "apiServer": state.api_server,
        "istiod": default.address if default else None,
        "versions": state.versions | ({"istio": default.tag} if default else {}),
        "pids": {name: process.pid for name, process in mesh.processes().items()},
        "dir": str(mesh.directory),
    }


def status(name: str) -> dict[str, Any]:
    """How a mesh stands: `up`, `broken` (a part of it has died), `starting` (or died on the way) or `absent`."""
    mesh = Mesh.find(name)
    if mesh is None:
        return {"name": name, "state": "absent"}
    state = mesh.state
    alive = {process: started.alive for process, started in mesh.processes().items()}
    return describe(mesh) | {
        "state": "up" if mesh.whole else "broken" if state.ready else "starting",
        "alive": alive,
        "revisions": {
            revision: {
                "tag": plane.tag,
                "istiod": plane.address,
                "alive": alive.get("istiod" if revision == DEFAULT_REVISION else f"istiod-{revision}", False),
            }
            for revision, plane in state.istio.items()
        },
    }


def _start(
    mesh: Mesh,
    binaries: Binaries,
    istio: str | None,
    kubeconfig_file: Path | None,
    *,
    plain_sidecars: bool,
    node_count: int,
) -> None:
    say(f"starting the cluster {mesh.name}")
    # Address ranges are claimed and ports are found one mesh at a time.
    with hold("meshes", "another mesh starts"):
        _claim(mesh, plain_sidecars=plain_sidecars)
        cluster.start(mesh, binaries)
    if kubeconfig_file:
        _export(mesh, kubeconfig_file.absolute())
    nodes.furnish(mesh, node_count)
    if istio is not None:
        install_istio(mesh, istio)
    mesh.change_state(ready=True)


def _claim(mesh: Mesh, *, plain_sidecars: bool) -> None:
    """Writes down the mesh with a service range that is nobody else's."""
    taken = addresses.listening()
    for folder in meshes_root().glob("*/"):
        with contextlib.suppress(LocalMeshError):
            taken.add(Mesh(folder.name).state.service_range)
    service_range = addresses.first_free(taken)
    if service_range is None:
        raise LocalMeshError("All 64 address ranges for meshes are taken.", "Take some meshes down.")
    kubelet = nodes.PLAIN_SIDECARS if plain_sidecars else nodes.NATIVE_SIDECARS
    versions = {
        "kubernetes": KUBERNETES_VERSION,
        "kubelet": kubelet,
        "kwok": KWOK_VERSION,
        "istiod": ISTIO_VERSION,
    }
    mesh.write_state(State(service_range=service_range, versions=versions))


def _export(mesh: Mesh, file: Path) -> None:
    kubeconfig.add(file, yaml.safe_load(mesh.kubeconfig.read_text()))
    mesh.change_state(exported=[str(file)])


def _remains(mesh: Mesh) -> bool:
    return mesh.directory.exists() or bool(processes.marked(mesh.directory))


def _remove(mesh: Mesh) -> None:
    """Takes away all of a mesh, in whatever state it is."""
    _end_processes(mesh)
    with contextlib.suppress(LocalMeshError):
        for file in mesh.state.exported:
            kubeconfig.remove(Path(file), mesh.name)
    if mesh.directory.exists():
        shutil.rmtree(mesh.directory)
    remove_if_empty(mesh.directory.parent)


def _end_processes(mesh: Mesh) -> None:
    # Guests first: a worker or a server that is asked to end ends cleanly while its cluster still answers.
    processes.stop(mesh.processes("guests").values(), grace=_GRACE_SECONDS)
    while strays := processes.marked(mesh.directory):
        processes.stop(strays, grace=0)
