"""The document of `status -o json`, as docs/reference/json.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesh.text import rfc3339

if TYPE_CHECKING:
    from workflows.messages import Progress


def status_document(progress: Progress, workflow_id: str, run_id: str) -> dict[str, Any]:
    """Returns `status -o json` from the progress that a worker reports."""
    counts, wave = progress.workloads, progress.wave
    return {
        "cluster": progress.cluster,
        "workflowId": workflow_id,
        "runId": run_id,
        "target": progress.target,
        "phase": str(progress.phase),
        "needsAttention": progress.needs_attention,
        "nextStep": progress.next_step,
        "startedAt": rfc3339(progress.started_at),
        "endedAt": rfc3339(progress.ended_at) if progress.ended_at else None,
        "result": progress.result,
        "workloads": {
            "planned": counts.planned,
            "restarted": counts.restarted,
            "current": counts.current,
            "remediation": counts.remediation,
            "left": counts.left,
        },
        "wave": {"number": wave.number, "of": wave.of, "name": wave.name} if wave else None,
        "items": {"open": progress.items.open, "byReason": dict(progress.items.by_reason)},
    }
