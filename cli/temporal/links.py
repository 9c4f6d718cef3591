"""Links to the Temporal UI."""

from __future__ import annotations

from urllib.parse import quote


def workflow_link(ui: str | None, namespace: str, workflow_id: str, run_id: str | None = None) -> str | None:
    """Returns the address of a workflow's page; None if the address of the UI is unknown."""
    if not ui:
        return None
    run = f"/{run_id}/timeline" if run_id else ""
    return f"{ui.rstrip('/')}/namespaces/{quote(namespace)}/workflows/{quote(workflow_id, safe='')}{run}"
