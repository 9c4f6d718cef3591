"""The document of a report, and the words that its formats share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict

#: Of the queue's states the one that is closed until its end date; the others of a report count as open.
_SKIPPED = "skipped"


class Fate(StrEnum):
    """What became of a member of a wave. `in-flight` and `waiting` are of waves that run."""

    FAILED = "failed"
    LEFT = "left"
    IN_FLIGHT = "in-flight"
    WAITING = "waiting"
    RESTARTED = "restarted"
    CURRENT = "current"
    GONE = "gone"

    @property
    def settled(self) -> bool:
        """Whether nobody needs to look at it."""
        return self in (Fate.RESTARTED, Fate.CURRENT, Fate.GONE)


class WorkloadDocument(TypedDict):
    """One member of a wave; times are RFC 3339, null where nothing was begun or has ended."""

    namespace: str
    kind: str
    name: str
    outcome: Fate
    reason: str | None
    detail: str | None
    startedAt: str | None
    endedAt: str | None


class WaveDocument(TypedDict):
    """One wave. `state` is `running`, `done`, or how it ended otherwise, with `detail`.

    `complete` is false where Temporal has only the counts and the failures left: `workloads` are then those.
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
    """A word of an operator; `at` is null where only its hour is kept."""

    at: str | None
    what: str
    who: str | None
    because: str | None


class PodsDocument(TypedDict):
    """Pods of the last survey by class, as `totals` of a scan."""

    pods: int
    classes: dict[str, int]


class ReportDocument(TypedDict):
    """The keys of `status -o json`, and what status has no room for. `queue` are items as in `queue list -o json`."""

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


def counted(workloads: Iterable[WorkloadDocument]) -> dict[str, int]:
    """Members by outcome; those of a wave that runs only where there are any."""
    found = Counter(one["outcome"] for one in workloads)
    passing = (Fate.IN_FLIGHT, Fate.WAITING)
    return {str(fate): found[fate] for fate in Fate if fate not in passing or found[fate]}


def open_items(report: ReportDocument) -> list[Mapping[str, Any]]:
    """Those that a person must settle."""
    return [one for one in report["queue"] if one["state"] != _SKIPPED]


def skipped_items(report: ReportDocument) -> list[Mapping[str, Any]]:
    """Those that a person has closed until a date."""
    return [one for one in report["queue"] if one["state"] == _SKIPPED]


def by_reason(items: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The most frequent reason first."""
    groups: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in items:
        groups[one["reason"]].append(one)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def gravest_first(wave: WaveDocument) -> list[WorkloadDocument]:
    """What somebody must look at comes before what is done."""
    order = list(Fate)
    return sorted(wave["workloads"], key=lambda one: (order.index(one["outcome"]), *key_of(one)))


def key_of(one: Mapping[str, Any] | WorkloadDocument) -> tuple[str, str, str]:
    """Namespace, kind and name of a workload or an item."""
    return one["namespace"], one["kind"], one["name"]


def words_of(one: Mapping[str, Any] | WorkloadDocument) -> str:
    """NAMESPACE/KIND/NAME, as `queue show` takes it."""
    return "/".join(key_of(one))


def headline(report: ReportDocument) -> str:
    """One line: which cluster, to what, and how it stands."""
    target = f" to {report['target']}" if report["target"] else ""
    return f"Upgrade of cluster {report['cluster']}{target}: {standing(report)}"


def standing(report: ReportDocument) -> str:
    """`done, nothing left`, `waits for an operator`, or the phase."""
    result = report["result"]
    if result == "done":
        return "done, nothing left"
    if result == "done-with-items":
        return f"done, {count_of(report['items']['open'], 'item')} left to a person"
    if result is not None:
        return result
    return "waits for an operator" if report["needsAttention"] else report["phase"]


def facts(report: ReportDocument) -> list[tuple[str, str]]:
    """What a header tells, by label."""
    by = f" by {report['startedBy']}" if report["startedBy"] else ""
    told = [("Started", f"{report['startedAt']}{by}")]
    if report["endedAt"] is not None:
        told.append(("Ended", f"{report['endedAt']}, after {took(report['startedAt'], report['endedAt'])}"))
    else:
        told.append(("Phase", report["phase"] + ("" if report["live"] else ", and no worker answers")))
    counts = [f"{value} {name}" for name, value in report["workloads"].items() if value is not None]
    told.append(("Workloads", ", ".join(counts) or "not known"))
    totals = report["totals"]
    if totals is not None:
        classes = ", ".join(f"{count} {name}" for name, count in sorted(totals["classes"].items()) if count)
        told.append(("Pods, last survey", f"{totals['pods']}: {classes}" if classes else str(totals["pods"])))
    told.append(("Left alone", _left_alone(report)))
    told.append(("Queue", _queue(report)))
    told.append(("Report of", report["takenAt"]))
    return told


def _left_alone(report: ReportDocument) -> str:
    skipped = f"{count_of(len(skipped_items(report)), 'item')} skipped"
    if report["totals"] is None:
        return skipped
    classes = report["totals"]["classes"]
    return ", ".join([*(f"{count_of(classes.get(one, 0), 'Pod')} {one}" for one in ("pinned", "excluded")), skipped])


def _queue(report: ReportDocument) -> str:
    now = f"{count_of(len(open_items(report)), 'item')} open"
    at_end = report["items"]["open"]
    if report["result"] is not None and at_end is not None and at_end != len(open_items(report)):
        return f"{now} now, {at_end} when the upgrade ended"
    return now


def outcome_words(one: WorkloadDocument) -> str:
    """`failed: RolloutTimedOut`."""
    return f"{one['outcome']}: {one['reason']}" if one["reason"] else str(one["outcome"])


def counts_words(counts: Mapping[str, int]) -> str:
    """`3 restarted, 1 failed`; nothing that is 0."""
    return ", ".join(f"{value} {name}" for name, value in counts.items() if value) or "no members"


def wave_words(wave: WaveDocument) -> str:
    """`Wave 1, canary: done`; people count from 1, workflow ids from 0."""
    return f"Wave {wave['number'] + 1}, {wave['name']}: {wave['state']}"


def count_of(number: int | None, thing: str) -> str:
    """`1 item`, `2 items`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def seconds_of(start: str | None, end: str | None) -> float:
    """Between two times of a document; 0 where one is missing."""
    if start is None or end is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def took(start: str | None, end: str | None) -> str:
    """`1h 05m`, `2m 10s`, `4s`; `-` where one is missing."""
    if start is None or end is None:
        return "-"
    seconds = int(seconds_of(start, end))
    minutes, rest = divmod(seconds, 60)
    hours, of_hour = divmod(minutes, 60)
    if hours:
        return f"{hours}h {of_hour:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def deeds_of(item: Mapping[str, Any]) -> list[str]:
    """What was done with an item, newest last: `2026-03-01T12:00:00Z skip by ann (a test cluster): until …`."""
    told = []
    for one in item["history"]:
        because = f" ({one['because']})" if one["because"] else ""
        told.append(f"{one['at']} {one['what']} by {one['who']}{because}: {one['result']}")
    return told


def decision_words(one: DecisionDocument) -> str:
    """`paused by ann: to look`."""
    who = f" by {one['who']}" if one["who"] else ""
    because = f": {one['because']}" if one["because"] else ""
    return f"{one['what']}{who}{because}"
