"""The JSON documents of docs/reference/json.md, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesh.istio.images import parse_image
from mesh.k8s.rollout import rollout
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.pod_class import PodClass, version_text
from mesh.text import rfc3339

if TYPE_CHECKING:
    from activities.kube.istiods import Istiod
    from mesh.istio.injection import Injector
    from mesh.istio.versions import Version
    from mesh.survey.survey import Survey, SurveyedWorkload
    from workflows.messages import Progress

#: Lists what differs beyond the image, whatever its class.
DRIFTED = "drifted"
#: Classes whose Pods a new control plane would give another proxy.
_MOVED = (PodClass.CURRENT, PodClass.STALE)


@dataclass(frozen=True, slots=True)
class ScanFilter:
    """What is listed; totals are always of everything that was read. `drifted` is a class beside the others."""

    classes: tuple[str, ...] = ()

    def lists(self, record: SurveyedWorkload) -> bool:
        """Whether it is among them."""
        if not self.classes or str(record.pod_class) in self.classes:
            return True
        return DRIFTED in self.classes and bool(record.drift)


def control_plane_document(istiods: Iterable[Istiod], injector: Injector) -> list[dict[str, Any]]:
    """One entry per revision."""
    found = []
    for one in istiods:
        tags = {hook.tag for hook in injector.webhooks if hook.tag and hook.revision == one.revision}
        config = injector.configs.get(one.revision)
        found.append(
            {
                "revision": one.revision,
                "tags": sorted(tags),
                "version": version_text(one.image),
                "ready": rollout(one.workload).complete,
                "proxyImage": config.image if config else None,
            }
        )
    return found


def default_version(control_plane: Sequence[Mapping[str, Any]]) -> str | None:
    """The version that a scan without --target speaks of: the default revision's, or the only one's."""
    for one in control_plane:
        if one["revision"] == "default" or "default" in one["tags"] or len(control_plane) == 1:
            version: str | None = one["version"]
            return version
    return None


def scan_document(
    cluster: str,
    survey: Survey,
    control_plane: list[dict[str, Any]],
    target: Version | None = None,
    wanted: ScanFilter = ScanFilter(),
) -> dict[str, Any]:
    """`scan -o json`. With a target, `targetChanges` counts what that version would change, and workloads tell it."""
    listed = [one for one in survey.workloads if wanted.lists(one)]
    document: dict[str, Any] = {
        "cluster": cluster,
        "target": str(target) if target else default_version(control_plane),
        "takenAt": rfc3339(survey.taken_at),
        "controlPlane": control_plane,
        "resourceVersion": survey.resource_version,
        "totals": {
            "pods": survey.pods,
            "workloads": len(survey.workloads),
            "classes": {str(pod_class): survey.classes.get(pod_class, 0) for pod_class in PodClass},
        },
        "workloads": [_workload(one) for one in listed],
    }
    if target is not None:
        changed = changed_by(survey, target)
        document["targetChanges"] = {"workloads": len(changed), "pods": sum(changed.values())}
        for one, entry in zip(listed, document["workloads"], strict=True):
            entry["targetChangesPods"] = changed.get(one.ref, 0)
    return document


def changed_by(survey: Survey, target: Version) -> dict[WorkloadRef, int]:
    """Workloads that a control plane of that version would give another proxy, with the number of their Pods."""
    return {one.ref: pods for one in survey.workloads if (pods := _changed_pods(one, target))}


def _workload(record: SurveyedWorkload) -> dict[str, Any]:
    return {
        "namespace": record.namespace,
        "kind": record.kind,
        "name": record.name,
        "owner": record.owner,
        "class": str(record.pod_class),
        "pods": record.pods,
        "stalePods": record.stale_pods,
        "expectedProxy": record.expected.image,
        "expectedFrom": record.expected.source,
        "proxies": dict(record.proxies),
        "action": str(record.action),
        "reason": str(record.reason) if record.reason else None,
        "detail": record.detail,
        "drift": [str(one) for one in record.drift],
    }


def _changed_pods(record: SurveyedWorkload, target: Version) -> int:
    """Pods with a sidecar that the control plane gives and that is of another version than the target's."""
    if record.pod_class not in _MOVED:
        return 0
    return sum(count for image, count in record.proxies.items() if parse_image(image).version != target)


def status_document(progress: Progress, workflow_id: str, run_id: str) -> dict[str, Any]:
    """`status -o json`, as a worker tells it."""
    counts, wave = progress.workloads, progress.wave
    return {
        "cluster": progress.cluster,
        "workflowId": workflow_id,
        "runId": run_id,
        "target": progress.target,
        "phase": str(progress.phase),
        "needsAttention": progress.needs_attention,
        "nextStep": progress.next_step,
        "startedAt": rfc3339(progress.started_at),
        "endedAt": rfc3339(progress.ended_at) if progress.ended_at else None,
        "result": progress.result,
        "workloads": {
            "planned": counts.planned,
            "restarted": counts.restarted,
            "current": counts.current,
            "remediation": counts.remediation,
            "left": counts.left,
        },
        "wave": {"number": wave.number, "of": wave.of, "name": wave.name} if wave else None,
        "items": {"open": progress.items.open, "byReason": dict(progress.items.by_reason)},
    }
