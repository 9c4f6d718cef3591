"""What a survey tells the remediation queue: which workloads need an item, and what became of those that have one.

Apart from `mesh.remediation.item`, so that a command that only shows items does not load the rules of surveys.
"""

from __future__ import annotations

from datetime import datetime

from mesh.maintenance_windows import parse_windows
from mesh.remediation.item import Observation
from mesh.survey.actions import Action
from mesh.survey.finding import Finding
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import FOUND_BY_TRYING, Reason
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import SurveyedWorkload

#: Names of Pods in a finding; the count covers all Pods.
PODS_SHOWN = 20

#: Why the item of a workload closes, by the workload's class.
_SETTLED = {
    PodClass.CURRENT: "its Pods run the expected proxy",
    PodClass.EXCLUDED: "the workload is excluded from restarts",
    PodClass.PINNED: "its Pods run the proxy that its template pins",
    PodClass.GATEWAY: "the gateway runs the version of its revision",
    PodClass.UNINJECTED: "its Pods have no sidecar, and new Pods would get none",
    PodClass.MISSING: "its Pods have no sidecar and are only reported",
    PodClass.AMBIENT: "its Pods are in the mesh through ambient mode",
    PodClass.FINISHED: "its Pods have finished",
}


def finding_of(workload: SurveyedWorkload) -> Finding | None:
    """Returns the finding of a workload that an operator must settle, None for all others."""
    if workload.action is not Action.REMEDIATE or workload.reason is None:
        return None
    return finding_for(workload, workload.reason, workload.detail)


def final_finding(workload: SurveyedWorkload, context: UpgradeContext) -> Finding | None:
    """Returns what an operator must settle of a workload at the end of an upgrade, None where nothing is.

    After a failed restart that includes a workload whose Pods run the expected proxy and are not all Ready.
    """
    finding = finding_of(workload)
    if finding is None and context.has_failed(workload.ref) and not is_settled(workload, Reason.ROLLOUT_TIMED_OUT):
        return finding_for(workload, Reason.ROLLOUT_TIMED_OUT, workload.detail)
    return finding


def is_settled(workload: SurveyedWorkload, reason: Reason) -> bool:
    """Whether the workload needs no restart; after a failed restart its Pods must also be Ready again."""
    return workload.action is Action.NONE and not (reason in FOUND_BY_TRYING and workload.unready)


def observe(workload: SurveyedWorkload | None, reason: Reason, at: datetime) -> Observation:
    """Returns what a survey tells of a workload with an item for this reason; None stands for one without Pods."""
    if workload is None:
        return Observation(at, closed="the workload has no Pods any more")
    if is_settled(workload, reason):
        return Observation(at, closed=_SETTLED.get(workload.pod_class, f"its Pods are {workload.pod_class}"))
    finding = finding_of(workload)
    if finding is None and workload.windows:
        windows = parse_windows(*workload.windows)
        return Observation(at, opens_at=None if windows.is_open(at) else windows.next_open(at))
    return Observation(at, finding)


def finding_for(workload: SurveyedWorkload, reason: Reason, detail: str | None) -> Finding:
    """Returns the finding of a workload for this reason."""
    names = workload.pod_names
    if workload.kind == "StatefulSet" and reason in (Reason.ON_DELETE, Reason.PARTITIONED):
        # In the order of its controller: from the highest ordinal down.
        names = tuple(sorted(names, key=_ordinal, reverse=True))
    return Finding(
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        reason=reason,
        detail=detail,
        pods=names[:PODS_SHOWN],
        pod_count=len(names),
        evidence=workload.evidence,
        facts=workload.facts,
    )


def _ordinal(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
