"""What a survey tells of the remediation queue: who needs an item, and what became of those that have one.

Apart from `mesh.remediation.item`, since whoever only shows items needs none of the rules by which Pods are judged.
"""

from __future__ import annotations

from datetime import datetime

from mesh.maintenance_windows import parse_windows
from mesh.remediation.item import Observation
from mesh.survey.actions import Action
from mesh.survey.finding import Finding
from mesh.survey.reasons import FOUND_BY_TRYING, Reason
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import SurveyedWorkload

#: Names of Pods that an item carries; the count is always whole.
PODS_SHOWN = 20


def finding_of(record: SurveyedWorkload) -> Finding | None:
    """The sighting of a workload that needs a person, None for all others."""
    if record.action is not Action.REMEDIATE or record.reason is None:
        return None
    return finding_for(record, record.reason, record.detail)


def wanted(record: SurveyedWorkload, attempt: UpgradeContext) -> Finding | None:
    """What a person must settle of a workload at the end of an upgrade, None where there is nothing.

    After a failed restart that is also one whose Pods have the expected proxy by now and are not all Ready.
    """
    seen = finding_of(record)
    if seen is None and attempt.has_failed(record.ref) and not settled(record, Reason.ROLLOUT_TIMED_OUT):
        return finding_for(record, Reason.ROLLOUT_TIMED_OUT, record.detail)
    return seen


def settled(record: SurveyedWorkload, reason: Reason) -> bool:
    """Nothing of it needs a restart; after a restart that failed its Pods must also be Ready again."""
    return record.action is Action.NONE and not (reason in FOUND_BY_TRYING and record.unready)


def observe(record: SurveyedWorkload | None, reason: Reason, at: datetime) -> Observation:
    """What a survey tells of a workload with an item for this reason; None: it has no Pods any more."""
    if record is None:
        return Observation(at, closed="the workload has no Pods any more")
    if settled(record, reason):
        return Observation(at, closed=f"its Pods are {record.klass}")
    seen = finding_of(record)
    if seen is None and record.windows:
        windows = parse_windows(*record.windows)
        return Observation(at, opens_at=None if windows.is_open(at) else windows.next_open(at))
    return Observation(at, seen)


def finding_for(record: SurveyedWorkload, reason: Reason, detail: str | None) -> Finding:
    """The sighting of a workload for this reason."""
    names = record.pod_names
    if record.kind == "StatefulSet" and reason in (Reason.ON_DELETE, Reason.PARTITIONED):
        # As its controller would: from the highest ordinal down.
        names = tuple(sorted(names, key=_ordinal, reverse=True))
    return Finding(
        namespace=record.namespace,
        kind=record.kind,
        name=record.name,
        reason=reason,
        detail=detail,
        pods=names[:PODS_SHOWN],
        pod_count=len(names),
        evidence=record.evidence,
        facts=record.facts,
    )


def _ordinal(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
