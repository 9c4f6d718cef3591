"""Custom resource definitions, as files of the modules that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploy.local.kubectl import kubectl
from deploy.local.mesh import Mesh


def install(mesh: Mesh, files: Sequence[Path]) -> None:
    """Applies the files and returns when their kinds are served."""
    # At the server: some are larger than the annotation that kubectl keeps of what it applies itself.
    applied = kubectl(mesh, "apply", "--server-side", "-o", "name", *(f"--filename={file}" for file in files))
    definitions = [name for name in applied.split() if name.startswith("customresourcedefinition.")]
    kubectl(mesh, "wait", "--for=condition=Established", "--timeout=60s", *definitions)
