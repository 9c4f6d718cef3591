"""Remediation items as documents, as docs/reference/json.md describes them."""

from __future__ import annotations

from typing import Any

from mesh.remediation.item import ItemView
from mesh.text import rfc3339


def item_document(item: ItemView) -> dict[str, Any]:
    """Returns one entry of `queue list -o json`, which is the whole of `queue show -o json`."""
    return {
        "id": item.id,
        "cluster": item.cluster,
        "namespace": item.namespace,
        "kind": item.kind,
        "name": item.name,
        "reason": item.reason,
        "detail": item.detail,
        "state": str(item.state),
        "since": rfc3339(item.since),
        "pods": list(item.pods),
        "podCount": item.pod_count,
        "nextStep": item.next_step,
        "commands": list(item.commands),
        "evidence": list(item.evidence),
        "closesWhen": item.closes,
        "attempts": item.attempts,
        "until": rfc3339(item.until) if item.until else None,
        "closed": item.closed,
        "history": [
            {
                "at": rfc3339(entry.at),
                "what": entry.what,
                "who": entry.who,
                "because": entry.because or None,
                "result": entry.result,
            }
            for entry in item.history
        ],
    }


def result_document(identity: str, message: str, *, ok: bool) -> dict[str, Any]:
    """Returns what an item answered to an operator's command: its new state, or why it refused."""
    return {"id": identity, "ok": ok, "message": message}
