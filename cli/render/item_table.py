"""Remediation items for people: a table of many, the text of one, and the results of an action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cli.render.columns import annotated, clipped, width, wrapped
from mesh.identity import item_workload
from mesh.reporting.document import counted_noun, display_name, history_lines


def queue_table(document: Mapping[str, Any], cluster: str, now: datetime) -> str:
    """Returns two lines per item: name, reason, state and age; and the cause. `queue show` prints the rest."""
    items = document["items"]
    if not items:
        return f"No matching items in cluster {cluster}."
    rows = [[display_name(item), item["reason"], item["state"], _age(item["since"], now)] for item in items]
    notes = [clipped(f"    {item['detail']}", width()) if item["detail"] else None for item in items]
    table = annotated(["ITEM", "REASON", "STATE", "AGE"], rows, notes)
    return f"{table}\n\n{counted_noun(len(items), 'item')} in cluster {cluster}. Details: kyma-upgrade queue show ITEM"


def _age(since: str, now: datetime) -> str:
    seconds = int((now - datetime.fromisoformat(since)).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def item_text(item: Mapping[str, Any], link: str | None = None) -> str:
    """Returns everything about one item: state, cause, next step, history."""
    state = f"{item['state']} since {item['since']}"
    if item["closed"] or item["until"] or item["state"] != "open":
        until = f" until {item['until']}" if item["until"] else ""
        state = f"{item['state']}{until}; opened {item['since']}"
    pods = ", ".join(item["pods"]) or "-"
    if item["podCount"] > len(item["pods"]):
        pods += f" and {item['podCount'] - len(item['pods'])} more"
    rows = [("Item", item["id"]), ("State", state), ("Reason", item["reason"]), ("Detail", item["detail"] or "-")]
    rows.append(("Pods", pods))
    if item["closed"]:
        rows.append(("Closed", item["closed"]))
    if link:
        rows.append(("UI", link))
    lines = [wrapped(value, f"{label + ':':<8}") for label, value in rows]
    if not item["closed"]:
        if item["evidence"]:
            lines += ["", "Evidence:", *(wrapped(line, "  ") for line in item["evidence"])]
        lines += ["", wrapped(item["nextStep"]), "", *(f"  {command}" for command in item["commands"])]
        lines += ["", wrapped(item["closesWhen"])]
    if item["history"]:
        lines += ["", f"History ({counted_noun(item['attempts'], 'restart')} attempted):"]
        lines += [wrapped(line, "  ") for line in history_lines(item)]
    return "\n".join(lines)


def result_table(results: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """Returns two lines per item that an operator acted on: its label, for example `refused`, and the answer."""
    if not results:
        return ""
    rows = [[item_workload(result["id"]), label] for result, label in zip(results, labels, strict=True)]
    return annotated(["ITEM", "RESULT"], rows, [f"    {result['message']}" for result in results])
