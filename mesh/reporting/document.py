"""The document of a report, and the sentences that its formats share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict

#: The state of an item that is closed until its end date; the other states in a report count as open.
_SKIPPED = "skipped"
#: What tables call the counts of a status that are parts of the planned ones.
_PARTS = {"restarted": "restarted", "current": "already current", "left": "left"}


class MemberStatus(StrEnum):
    """How the restart of a member of a wave ended. Only waves that run have members `in-flight` and `waiting`."""

    FAILED = "failed"
    LEFT = "left"
    IN_FLIGHT = "in-flight"
    WAITING = "waiting"
    RESTARTED = "restarted"
    CURRENT = "current"
    GONE = "gone"

    @property
    def settled(self) -> bool:
        """Whether the member needs nothing more."""
        return self in (MemberStatus.RESTARTED, MemberStatus.CURRENT, MemberStatus.GONE)


class WorkloadDocument(TypedDict):
    """One member of a wave. Times are RFC 3339, null for a restart that has not begun or not ended."""

    namespace: str
    kind: str
    name: str
    outcome: MemberStatus
    reason: str | None
    detail: str | None
    startedAt: str | None
    endedAt: str | None


class WaveDocument(TypedDict):
    """One wave. `state` is `running`, `done`, or how else it ended; `detail` says why.

    `complete` is false when Temporal no longer keeps the wave's history: `workloads` then has only the failed ones.
    """

    number: int
    name: str
    workflowId: str
    runId: str
    url: str | None
    state: str
    detail: str | None
    startedAt: str | None
    endedAt: str | None
    counts: dict[str, int]
    complete: bool
    workloads: list[WorkloadDocument]


class DecisionDocument(TypedDict):
    """A decision of an operator. `at` is null when Temporal no longer keeps the exact time."""

    at: str | None
    what: str
    who: str | None
    because: str | None


class PodsDocument(TypedDict):
    """The Pods of the last survey by class, like `totals` of a scan."""

    pods: int
    classes: dict[str, int]


class ReportDocument(TypedDict):
    """The keys of `status -o json` and the details of the upgrade. `queue` holds items as in `queue list -o json`."""

    takenAt: str
    cluster: str
    workflowId: str
    runId: str
    url: str | None
    target: str | None
    phase: str
    result: str | None
    failure: str | None
    needsAttention: str | None
    nextStep: str | None
    live: bool
    startedBy: str | None
    startedAt: str
    endedAt: str | None
    workloads: dict[str, int | None]
    wave: Mapping[str, Any] | None
    items: Mapping[str, Any]
    totals: PodsDocument | None
    waves: list[WaveDocument]
    decisions: list[DecisionDocument]
    queue: list[Mapping[str, Any]]
    notes: list[str]


def count_by_status(workloads: Iterable[WorkloadDocument]) -> dict[str, int]:
    """Returns the number of members per outcome; outcomes of running waves appear only if a member has them."""
    counts = Counter(workload["outcome"] for workload in workloads)
    temporary = (MemberStatus.IN_FLIGHT, MemberStatus.WAITING)
    return {str(status): counts[status] for status in MemberStatus if status not in temporary or counts[status]}


def open_items(report: ReportDocument) -> list[Mapping[str, Any]]:
    """Returns the items that an operator must resolve."""
    return [item for item in report["queue"] if item["state"] != _SKIPPED]


def skipped_items(report: ReportDocument) -> list[Mapping[str, Any]]:
    """Returns the items that an operator has closed until a date."""
    return [item for item in report["queue"] if item["state"] == _SKIPPED]


def by_reason(items: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Groups items by reason, the most frequent reason first."""
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        groups[item["reason"]].append(item)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def most_severe_first(wave: WaveDocument) -> list[WorkloadDocument]:
    """Returns the members of a wave, failed ones first and done ones last."""
    order = list(MemberStatus)
    return sorted(wave["workloads"], key=lambda member: (order.index(member["outcome"]), *workload_key(member)))


def workload_key(entry: Mapping[str, Any] | WorkloadDocument) -> tuple[str, str, str]:
    """Returns namespace, kind and name of a workload or an item."""
    return entry["namespace"], entry["kind"], entry["name"]


def display_name(entry: Mapping[str, Any] | WorkloadDocument) -> str:
    """Returns NAMESPACE/KIND/NAME of a workload or an item, as `queue show` takes it."""
    return "/".join(workload_key(entry))


def title(report: ReportDocument) -> str:
    """Returns the cluster and the target in one phrase: `Upgrade of cluster prod to Istio 1.30.2`."""
    target = f" to {report['target']}" if report["target"] else ""
    return f"Upgrade of cluster {report['cluster']}{target}"


def headline(report: ReportDocument) -> str:
    """Returns the title and the status in one line."""
    return f"{title(report)}: {status_phrase(report)}"


def status_phrase(report: ReportDocument) -> str:
    """Returns the result as a phrase, `waiting for an operator`, or the phase."""
    result = report["result"]
    if result == "done":
        return "done, nothing left"
    if result == "done-with-items":
        return f"done, {counted_noun(report['items']['open'], 'item')} left for an operator"
    if result is not None:
        return result
    return "waiting for an operator" if report["needsAttention"] else report["phase"]


def summary_rows(report: ReportDocument) -> list[tuple[str, str]]:
    """Returns the rows of the summary at the top: label and text."""
    by = f" by {report['startedBy']}" if report["startedBy"] else ""
    rows = [("Started", f"{report['startedAt']}{by}")]
    if report["endedAt"] is not None:
        rows.append(("Ended", f"{report['endedAt']}, after {duration_text(report['startedAt'], report['endedAt'])}"))
    else:
        rows.append(("Phase", report["phase"] + ("" if report["live"] else "; no worker answers")))
    rows.append(("Workloads", workload_counts_text(report["workloads"]) or "unknown"))
    totals = report["totals"]
    if totals is not None:
        classes = ", ".join(f"{count} {name}" for name, count in sorted(totals["classes"].items()) if count)
        rows.append(("Pods, last survey", f"{totals['pods']}: {classes}" if classes else str(totals["pods"])))
    rows.append(("Not restarted", _not_restarted(report)))
    rows.append(("Queue", _queue(report)))
    rows.append(("Report created", report["takenAt"]))
    return rows


def workload_counts_text(counts: Mapping[str, int | None]) -> str:
    """Returns the counts of a status that are known: `3 planned: 1 restarted, 1 already current, 0 left; 2 open items`.

    Open items stand apart: many of their workloads are in no wave.
    """
    parts = ", ".join(f"{counts[name]} {text}" for name, text in _PARTS.items() if counts.get(name) is not None)
    planned, items = counts.get("planned"), counts.get("remediation")
    if planned is not None:
        parts = f"{planned} planned: {parts}" if parts else f"{planned} planned"
    return "; ".join([*([parts] if parts else []), *([counted_noun(items, "open item")] if items is not None else [])])


def _not_restarted(report: ReportDocument) -> str:
    skipped = f"{counted_noun(len(skipped_items(report)), 'item')} skipped"
    if report["totals"] is None:
        return skipped
    classes = report["totals"]["classes"]
    return ", ".join(
        [*(f"{counted_noun(classes.get(name, 0), 'Pod')} {name}" for name in ("pinned", "excluded")), skipped]
    )


def _queue(report: ReportDocument) -> str:
    now = f"{counted_noun(len(open_items(report)), 'item')} open"
    at_end = report["items"]["open"]
    if report["result"] is not None and at_end is not None and at_end != len(open_items(report)):
        return f"{now} now, {at_end} when the upgrade ended"
    return now


def outcome_text(member: WorkloadDocument) -> str:
    """Returns outcome and reason: `failed: RolloutTimedOut`."""
    return f"{member['outcome']}: {member['reason']}" if member["reason"] else str(member["outcome"])


def counts_text(counts: Mapping[str, int]) -> str:
    """Returns the counts that are not 0: `3 restarted, 1 failed`."""
    return ", ".join(f"{value} {name}" for name, value in counts.items() if value) or "no members"


def wave_title(wave: WaveDocument) -> str:
    """Returns `Wave 1, canary: done`. Titles count waves from 1, workflow ids from 0."""
    return f"Wave {wave['number'] + 1}, {wave['name']}: {wave['state']}"


def counted_noun(number: int | None, noun: str) -> str:
    """Returns `1 item`, `2 items`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def seconds_between(start: str | None, end: str | None) -> float:
    """Returns the seconds between two times of a document; 0 if one is missing."""
    if start is None or end is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def duration_text(start: str | None, end: str | None) -> str:
    """Returns `1h 05m`, `2m 10s` or `4s`; `-` if one of the times is missing."""
    if start is None or end is None:
        return "-"
    seconds = int(seconds_between(start, end))
    minutes, rest = divmod(seconds, 60)
    hours, of_hour = divmod(minutes, 60)
    if hours:
        return f"{hours}h {of_hour:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def history_lines(item: Mapping[str, Any]) -> list[str]:
    """Returns a line per history entry of an item, newest last: `2026-03-01T12:00:00Z skip by ann (test): until …`."""
    lines = []
    for entry in item["history"]:
        because = f" ({entry['because']})" if entry["because"] else ""
        lines.append(f"{entry['at']} {entry['what']} by {entry['who']}{because}: {entry['result']}")
    return lines


def skip_text(item: Mapping[str, Any]) -> str:
    """Returns who skipped an item and why: `skipped until 2026-11-28T00:00:00Z by ann: node repair`."""
    text = f"skipped until {item['until'] or 'further notice'}"
    skips = [entry for entry in item["history"] if entry["what"] == "skip" and not _refused(entry)]
    if not skips:
        return text
    because = f": {skips[-1]['because']}" if skips[-1]["because"] else ""
    return f"{text} by {skips[-1]['who']}{because}"


def _refused(entry: Mapping[str, Any]) -> bool:
    return str(entry["result"]).startswith("refused")


def decision_text(decision: DecisionDocument) -> str:
    """Returns `paused by ann: to check the gateway`."""
    who = f" by {decision['who']}" if decision["who"] else ""
    because = f": {decision['because']}" if decision["because"] else ""
    return f"{decision['what']}{who}{because}"
