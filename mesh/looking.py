"""What a survey tells of the remediation queue: who needs an item, and what became of those that have one.

Apart from `mesh.items`, since whoever only shows items needs none of the rules by which Pods are judged.
"""

from __future__ import annotations

from datetime import datetime

from mesh.causes import FOUND_BY_TRYING, Reason
from mesh.items import Look
from mesh.judging import Action
from mesh.sighting import Sighting
from mesh.survey import Record
from mesh.windows import parse_windows
from mesh.world import Attempt

#: Names of Pods that an item carries; the count is always whole.
PODS_SHOWN = 20


def sighting_of(record: Record) -> Sighting | None:
    """The sighting of a workload that needs a person, None for all others."""
    if record.action is not Action.REMEDIATE or record.reason is None:
        return None
    return sighting_for(record, record.reason, record.detail)


def wanted(record: Record, attempt: Attempt) -> Sighting | None:
    """What a person must settle of a workload at the end of an upgrade, None where there is nothing.

    After a failed restart that is also one whose Pods have the expected proxy by now and are not all Ready.
    """
    seen = sighting_of(record)
    if seen is None and attempt.has_failed(record.key) and not settled(record, Reason.ROLLOUT_TIMED_OUT):
        return sighting_for(record, Reason.ROLLOUT_TIMED_OUT, record.detail)
    return seen


def settled(record: Record, reason: Reason) -> bool:
    """Nothing of it needs a restart; after a restart that failed its Pods must also be Ready again."""
    return record.action is Action.NONE and not (reason in FOUND_BY_TRYING and record.unready)


def look_at(record: Record | None, reason: Reason, at: datetime) -> Look:
    """What a survey tells of a workload with an item for this reason; None: it has no Pods any more."""
    if record is None:
        return Look(at, closed="the workload has no Pods any more")
    if settled(record, reason):
        return Look(at, closed=f"its Pods are {record.klass}")
    seen = sighting_of(record)
    if seen is None and record.windows:
        windows = parse_windows(*record.windows)
        return Look(at, opens_at=None if windows.is_open(at) else windows.next_open(at))
    return Look(at, seen)


def sighting_for(record: Record, reason: Reason, detail: str | None) -> Sighting:
    """The sighting of a workload for this reason."""
    names = record.pod_names
    if record.kind == "StatefulSet" and reason in (Reason.ON_DELETE, Reason.PARTITIONED):
        # As its controller would: from the highest ordinal down.
        names = tuple(sorted(names, key=_ordinal, reverse=True))
    return Sighting(*record.key, reason, detail, names[:PODS_SHOWN], len(names), record.evidence, record.facts)


def _ordinal(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
