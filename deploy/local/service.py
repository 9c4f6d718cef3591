"""The product on a local mesh, installed as in any cluster: its manifests, its own service account, a worker.

Used by the demo and by the tests. The worker runs with the rights of deploy/rbac.yaml and no others.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from activities.search_attributes import ALL
from deploy.local.errors import LocalMeshError
from deploy.local.kubectl import kubectl
from deploy.local.mesh import Mesh
from deploy.local.places import hold
from worker.search_attribute_registration import type_name

_MANIFESTS = Path(__file__).parents[1]
_ACCOUNT = "kyma-upgrade"
#: Temporal's usual ports: with them its own CLI needs no flags.
_USUAL_PORT, _USUAL_UI_PORT = 7233, 8233
_HOST = "127.0.0.1"
_VALID_FOR = "720h"
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Temporal:
    """A running dev server."""

    port: int
    ui_port: int

    @property
    def address(self) -> str:
        """As clients take it."""
        return f"{_HOST}:{self.port}"

    @property
    def ui(self) -> str:
        """The URL of its pages."""
        return f"http://{_HOST}:{self.ui_port}"


@dataclass(frozen=True)
class Service:
    """The product on one mesh. `worker_kubeconfig` is the service account's."""

    mesh: Mesh
    temporal: Temporal
    worker_kubeconfig: Path

    @property
    def environment(self) -> dict[str, str]:
        """For `kyma-upgrade` run as an operator: the cluster's administrator, this Temporal."""
        return self._environment(self.mesh.kubeconfig)

    def start_worker(self) -> int:
        """Starts the worker under the service account and waits until it polls; its process id."""
        log = self.mesh.log("worker")
        said = log.stat().st_size if log.exists() else 0
        started = self.mesh.spawn(
            "worker", [str(_program("kyma-upgrade")), "worker"], env=self._environment(self.worker_kubeconfig)
        )
        _wait("the worker", lambda: "worker_started" in _text_after(log, said) or not started.alive)
        if not started.alive:
            raise LocalMeshError("The worker did not start.", f"Its log says why: {self.mesh.log('worker')}")
        return started.pid

    def kill_worker(self) -> None:
        """Kill -9: nothing is finished, nothing is said."""
        self.mesh.kill("worker", grace=0)

    def restart_temporal(self) -> None:
        """Kill -9, and a new one on the same ports with what the old one has kept."""
        self.mesh.kill("temporal", grace=0)
        _run_temporal(self.mesh, self.temporal)

    def _environment(self, kubeconfig: Path) -> dict[str, str]:
        # Without the caller's own settings, which would win over these.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TEMPORAL_", "KYMA_UPGRADE_"))}
        return inherited | {
            "KUBECONFIG": str(kubeconfig),
            "TEMPORAL_ADDRESS": self.temporal.address,
            "KYMA_UPGRADE_CLUSTER": self.mesh.name,
            "KYMA_UPGRADE_KUBECONFIG": str(kubeconfig),
            "KYMA_UPGRADE_UI": self.temporal.ui,
        }


def install(mesh: Mesh) -> None:
    """Applies what deploy/ brings into a cluster and waits until the hold's policy is known to the API server."""
    for manifest in ("rbac.yaml", "hold.yaml"):
        kubectl(mesh, "apply", "--server-side", "-f", str(_MANIFESTS / manifest))


def service(mesh: Mesh, temporal: Temporal) -> Service:
    """Installs the product and gives its service account a kubeconfig of its own."""
    install(mesh)
    return Service(mesh, temporal, account_kubeconfig(mesh, _ACCOUNT, _ACCOUNT, mesh.directory / "worker.kubeconfig"))


def account_kubeconfig(mesh: Mesh, namespace: str, account: str, file: Path) -> Path:
    """Writes a kubeconfig whose user is that service account."""
    token = kubectl(mesh, "-n", namespace, "create", "token", account, "--duration", _VALID_FOR).strip()
    config = yaml.safe_load(mesh.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config))
    return file


def start_temporal(mesh: Mesh) -> Temporal:
    """Starts a Temporal dev server that ends with the mesh; on the usual ports if they are free."""
    # A port that was found free is free until somebody listens there.
    with hold("temporal", "another Temporal starts"):
        temporal = Temporal(_port(_USUAL_PORT), _port(_USUAL_UI_PORT))
        _run_temporal(mesh, temporal)
    return temporal


def _run_temporal(mesh: Mesh, temporal: Temporal) -> None:
    flags = ["--ip", _HOST, "--port", str(temporal.port), "--ui-port", str(temporal.ui_port), "--log-level", "error"]
    # A file keeps the data after the server ends, and costs a seventh less than memory, where each transaction has a
    # journal. Nothing has to survive a crash of the machine.
    flags += ["--db-filename", str(mesh.directory / "temporal.db")]
    flags += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off"]
    # By default a dev server reloads the search attributes for every line of a list, which costs more than the list
    # itself. Without that it may take a minute to notice new ones, so they are registered at the start.
    flags += ["--dynamic-config-value", "system.forceSearchAttributesCacheRefreshOnRead=false"]
    flags += [f"--search-attribute={key.name}={type_name(key)}" for key in ALL]
    mesh.spawn("temporal", [str(_program("temporal")), "server", "start-dev", *flags], env=mesh.environment)
    _wait("Temporal", lambda: _answers(temporal))


def _text_after(log: Path, offset: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(offset if offset <= log.stat().st_size else 0)
        return file.read().decode(errors="replace")


def _program(name: str) -> Path:
    found = Path(sys.executable).with_name(name)
    if not found.exists():
        raise LocalMeshError(f"There is no {name} beside {sys.executable}.", "Set the project up: make venv")
    return found


def _port(usual: int) -> int:
    for wanted in (usual, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((_HOST, wanted))
            port: int = probe.getsockname()[1]
            return port
    raise LocalMeshError("There is no free port on 127.0.0.1.", "End something that listens there.")


def _answers(temporal: Temporal) -> bool:
    try:
        with urllib.request.urlopen(f"{temporal.ui}/api/v1/namespaces", timeout=2) as answer:  # noqa: S310  our own
            return bool(json.load(answer).get("namespaces"))
    except (OSError, ValueError):
        return False


def _wait(what: str, done: Callable[[], bool]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise LocalMeshError(f"{what} did not start within {_START_SECONDS:.0f} s.", "See its log.")
        time.sleep(0.2)
