"""The status of an upgrade as a table and as one line, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.render.columns import wrapped
from mesh.reporting.document import counted_noun, workload_counts_text

_ROWS = (
    ("Target", "target"),
    ("Phase", "phase"),
    ("Result", "result"),
    ("Failure", "failure"),
    ("Started", "startedAt"),
    ("Ended", "endedAt"),
)
#: Phases before the first survey. A step repeats them with the workloads of earlier waves counted.
_BEFORE_COUNTS = ("preflight", "control-plane", "survey")


def status_table(document: Mapping[str, Any], link: str | None = None) -> str:
    """Returns the status with a labelled row per fact, wrapped to the width of the terminal."""
    rows = [("Cluster", document["cluster"]), ("Workflow", document["workflowId"])]
    rows += [(label, document[key]) for label, key in _ROWS if document.get(key)]
    wave, counts, items = document["wave"], document["workloads"], document["items"]
    if wave and document["result"] is None:
        rows.append(("Wave", f"{wave['number'] + 1} of {wave['of']}: {wave['name']}"))
    if document["phase"] in _BEFORE_COUNTS and counts["planned"] == 0:
        rows.append(("Workloads", "not counted yet"))
    else:
        rows.append(("Workloads", workload_counts_text(counts) or "unknown: no worker answers"))
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(items["byReason"].items()))
    if items["open"]:
        rows.append(("Items open", f"{items['open']} ({reasons})" if reasons else items["open"]))
    if document["needsAttention"]:
        rows.append(("Attention", document["needsAttention"]))
    if document["nextStep"]:
        rows.append(("Next step", document["nextStep"]))
    if link:
        rows.append(("UI", link))
    return "\n".join(wrapped(str(value), f"{label + ':':<12}") for label, value in rows)


def status_line(document: Mapping[str, Any]) -> str:
    """Returns the status in one line, which differs whenever something has changed."""
    parts = [f"{document['target']}: {document['phase']}" if document["target"] else document["phase"]]
    wave, counts, items = document["wave"], document["workloads"], document["items"]
    if wave and document["phase"] not in ("done", "final-survey"):
        parts.append(f"wave {wave['number'] + 1} of {wave['of']} ({wave['name']})")
    if counts["planned"]:
        parts.append(f"{counts['restarted'] + counts['current']} of {counted_noun(counts['planned'], 'workload')} done")
    if items["open"]:
        parts.append(f"{counted_noun(items['open'], 'item')} open")
    if document["needsAttention"]:
        parts.append(f"WAITING FOR AN OPERATOR: {document['needsAttention']}")
    if not document["live"] and document["result"] is None:
        parts.append("no worker answers")
    return ", ".join(parts)
