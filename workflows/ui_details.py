"""The pages of upgrades and items in the Temporal UI: short markdown, everything from the cluster escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from mesh.history import HistoryEntry
    from mesh.remediation.item import ItemView
    from mesh.text import markdown, rfc3339

    from workflows.failures import NO_WORKER, PAUSED_BY
    from workflows.messages import Phase, Progress

_BAR = 20
_DECISIONS_SHOWN = 5
_REASONS_SHOWN = 10
_HISTORY_SHOWN = 3
_EVIDENCE_SHOWN = 3
#: Room for commands, percent-encoded.
_COMMANDS_BYTES = 900


def upgrade_details(progress: Progress, decisions: Sequence[HistoryEntry]) -> str:
    """Returns the page of an upgrade, under 4 kB: the UI passes it along in an address."""
    counts, name = progress.workloads, fitting(progress.cluster, 300)
    lines = [f"**{fitting(progress.target or 'Upgrade', 300)} on {name}: {progress.phase}**"]
    if counts.planned:
        done = min(counts.restarted + counts.current, counts.planned)
        bar = "=" * round(_BAR * done / counts.planned)
        lines.append(f"`[{bar:.<{_BAR}}]` {done} of {_workloads(counts.planned)} done")
    if progress.wave is not None and progress.phase in (Phase.RESTARTING, Phase.SOAKING, Phase.PAUSED):
        lines.append(f"Wave {progress.wave.number + 1} of {progress.wave.of}: {fitting(progress.wave.name, 150)}")
    if progress.needs_attention:
        lines.append(f"> **Waiting for an operator:** {fitting(progress.needs_attention, 1000)}")
        lines.append(f"```\n{progress.next_step}\n```")
    if progress.items.open:
        reasons = sorted(progress.items.by_reason.items(), key=lambda item: (-item[1], item[0]))[:_REASONS_SHOWN]
        lines.append(f"**{progress.items.open} remediation items are open**")
        lines.append("\n".join(f"- {count} {fitting(reason, 50)}" for reason, count in reasons))
        lines.append(f"```\nkyma-upgrade queue list --cluster {progress.cluster}\n```")
    if decisions:
        lines.append("**Decisions**")
        lines.append(_history(decisions[-_DECISIONS_SHOWN:]))
    return "\n\n".join(lines)


def next_step(cluster: str, paused_by: str | None, waits_until: datetime | None) -> str:
    """Returns what an operator must do for the upgrade to continue; `waits_until` while it waits for the queue."""
    if paused_by == NO_WORKER:
        return "Start a worker for the cluster: kyma-upgrade worker"
    if paused_by is not None and paused_by.startswith(PAUSED_BY):
        return f"Resume when you are ready: kyma-upgrade resume --cluster {cluster}"
    if paused_by is not None:
        return f'Fix the cause, then resume: kyma-upgrade resume --cluster {cluster} --because "…"'
    if waits_until is not None:
        ends = f"{waits_until:%Y-%m-%d %H:%MZ}"
        return f"Settle the open items by {ends}: kyma-upgrade queue list --cluster {cluster}"
    return f'Check the cluster, then approve: kyma-upgrade approve --cluster {cluster} --because "…"'


def item_details(item: ItemView) -> str:
    """Returns the page of a remediation item, as short as that of an upgrade."""
    name = fitting(f"{item.namespace}/{item.kind}/{item.name}", 300)
    lines = [f"**{item.reason}: {name}**"]
    if item.closed is not None:
        lines.append(f"**resolved:** {fitting(item.closed, 600)}")
    else:
        opened = rfc3339(item.since)
        dates = f" until {rfc3339(item.until)}; opened {opened}" if item.until else f" since {opened}"
        pods = f"{item.pod_count} Pod{'' if item.pod_count == 1 else 's'}"
        lines.append(f"{item.state}{dates}; {pods}")
        if item.detail:
            lines.append(f"> {fitting(item.detail, 450)}")
        if item.evidence:
            lines.append("\n".join(f"- {fitting(one, 180)}" for one in item.evidence[:_EVIDENCE_SHOWN]))
        lines.append(fitting(item.next_step, 700))
        lines.append("```\n" + "\n".join(_pasteable(item.commands)) + "\n```")
        lines.append(fitting(item.closes, 200))
    if item.history:
        lines.append("**History**")
        lines.append(_history(item.history[-_HISTORY_SHOWN:]))
    return "\n\n".join(lines)


def _workloads(count: int) -> str:
    return f"{count} workload{'' if count == 1 else 's'}"


def _history(entries: Sequence[HistoryEntry]) -> str:
    lines = (
        f"{entry.at:%Y-%m-%d %H:%M} {entry.what} by {entry.who}: {entry.result or entry.because or 'no reason given'}"
        for entry in entries
    )
    return "\n".join(f"- {fitting(line, 180)}" for line in lines)


def _pasteable(commands: Sequence[str]) -> list[str]:
    """Returns as many whole commands as there is room for, and the number of the others."""
    shown: list[str] = []
    for one in commands:
        if len(quote("\n".join([*shown, one]))) > _COMMANDS_BYTES:
            return [*shown, f"# {len(commands) - len(shown)} more: kyma-upgrade queue show"]
        shown.append(one)
    return shown


def fitting(text: str, most: int) -> str:
    """Returns the text escaped for markdown, and cut to at most `most` bytes when percent-encoded."""
    limit = most
    while len(quote(shown := markdown(text, limit))) > most:
        limit = limit * 3 // 4
    return shown
