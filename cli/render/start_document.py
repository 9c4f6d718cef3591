"""The documents of `start -o json`: the upgrade that was started, and what a dry run found."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mesh.kyma.targets import Target


def start_document(cluster: str, workflow_id: str, run_id: str, url: str | None) -> dict[str, Any]:
    """Returns the workflow of the upgrade; `url` is its page in the Temporal UI."""
    return {"cluster": cluster, "workflowId": workflow_id, "runId": run_id, "url": url}


def dry_run_document(
    cluster: str, target: Target, control_plane: str, changed_pods: Collection[int], *, running: bool
) -> dict[str, Any]:
    """Returns what the upgrade would change: `changed_pods` has the number of Pods of each changed workload."""
    return {
        "dryRun": True,
        "cluster": cluster,
        "target": {"module": target.module, "istio": target.istio, "channel": target.channel},
        "controlPlane": control_plane,
        "workloads": {"changed": len(changed_pods), "pods": sum(changed_pods)},
        "running": running,
    }
