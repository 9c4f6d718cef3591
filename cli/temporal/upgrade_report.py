"""The document of a report: status, histories of the upgrade and its waves, and the remediation queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client

from activities.concurrency import gather_limited
from cli.temporal.item_search import ItemFilter, find_items
from cli.temporal.links import workflow_link
from cli.temporal.upgrade_history import StartedWave, read_upgrade
from cli.temporal.upgrade_status import Upgrade
from cli.temporal.wave_history import read_wave
from mesh.reporting.document import ReportDocument, WaveDocument
from mesh.text import rfc3339

#: Histories of waves that are read at once: each is up to a megabyte.
_WAVES_AT_ONCE = 8
#: Temporal's lists lag behind by a moment: items of an upgrade that has just ended may not be listed yet.
_JUST_NOW = timedelta(seconds=30)
_LIST_ATTEMPTS = 6
_LIST_AGAIN_SECONDS = 0.5


async def read_report(client: Client, upgrade: Upgrade, ui: str | None) -> ReportDocument:
    """Returns the document. Histories are read a few at a time, and only their results are kept."""
    status = upgrade.document
    history = await read_upgrade(client, status["cluster"], status["runId"])

    async def read(wave: StartedWave) -> WaveDocument:
        return await read_wave(client, wave, workflow_link(ui, client.namespace, wave.workflow_id, wave.run_id))

    waves = await gather_limited(_WAVES_AT_ONCE, history.waves, read)
    items = await read_queue(client, status)
    survey = history.survey
    return {
        "takenAt": rfc3339(datetime.now(UTC)),
        "cluster": status["cluster"],
        "workflowId": status["workflowId"],
        "runId": status["runId"],
        "url": workflow_link(ui, client.namespace, status["workflowId"], status["runId"]),
        "target": status["target"],
        "phase": status["phase"],
        "result": status["result"],
        "failure": status.get("failure"),
        "needsAttention": status["needsAttention"],
        "nextStep": status["nextStep"],
        "live": status["live"],
        "startedBy": history.started_by,
        "startedAt": status["startedAt"],
        "endedAt": status["endedAt"],
        "workloads": status["workloads"],
        "wave": status["wave"],
        "items": status["items"],
        "totals": {"pods": survey.pods, "classes": survey.classes} if survey else None,
        "waves": sorted(waves, key=lambda wave: wave["number"]),
        "decisions": history.decisions,
        "queue": [{**item, "url": workflow_link(ui, client.namespace, item["id"])} for item in items],
        "notes": history.notes,
    }


async def read_queue(client: Client, status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the open items, then the skipped ones."""
    attempts = _LIST_ATTEMPTS if _ended_just_now(status) else 0
    while True:
        items = await find_items(client, status["cluster"], ItemFilter(skipped=True))
        unresolved = [item for item in items if item["state"] != "skipped"]
        if len(unresolved) >= (status["items"]["open"] or 0) or not attempts:
            return [*unresolved, *(item for item in items if item["state"] == "skipped")]
        attempts -= 1
        await asyncio.sleep(_LIST_AGAIN_SECONDS)


def _ended_just_now(status: Mapping[str, Any]) -> bool:
    ended = status["endedAt"]
    return ended is not None and datetime.now(UTC) - datetime.fromisoformat(ended) < _JUST_NOW
