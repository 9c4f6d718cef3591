"""The document of `scan -o json`, as docs/reference/json.md describes it."""

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

#: Selects workloads whose proxies differ beyond the image, whatever their class.
DRIFTED = "drifted"
#: Classes whose Pods would get another proxy from another version of the control plane.
_CHANGED_CLASSES = (PodClass.CURRENT, PodClass.STALE)


@dataclass(frozen=True, slots=True)
class ScanFilter:
    """Selects the workloads that are listed; totals always count everything. `drifted` counts as a class."""

    classes: tuple[str, ...] = ()

    def matches(self, workload: SurveyedWorkload) -> bool:
        """Whether the workload is listed."""
        if not self.classes or str(workload.pod_class) in self.classes:
            return True
        return DRIFTED in self.classes and bool(workload.drift)


def control_plane_document(istiods: Iterable[Istiod], injector: Injector) -> list[dict[str, Any]]:
    """Returns one entry per revision."""
    entries = []
    for istiod in istiods:
        tags = {hook.tag for hook in injector.webhooks if hook.tag and hook.revision == istiod.revision}
        config = injector.configs.get(istiod.revision)
        entries.append(
            {
                "revision": istiod.revision,
                "tags": sorted(tags),
                "version": version_text(istiod.image),
                "ready": rollout(istiod.workload).complete,
                "proxyImage": config.image if config else None,
            }
        )
    return entries


def default_version(control_plane: Sequence[Mapping[str, Any]]) -> str | None:
    """Returns the target of a scan without --target: the version of the default revision, or of the only one."""
    for plane in control_plane:
        if plane["revision"] == "default" or "default" in plane["tags"] or len(control_plane) == 1:
            version: str | None = plane["version"]
            return version
    return None


def scan_document(
    cluster: str,
    survey: Survey,
    control_plane: list[dict[str, Any]],
    target: Version | None = None,
    selection: ScanFilter = ScanFilter(),
) -> dict[str, Any]:
    """Returns the document. With a target, it and its workloads also count the Pods that this version would change."""
    listed = [workload for workload in survey.workloads if selection.matches(workload)]
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
        "workloads": [_workload(workload) for workload in listed],
    }
    if target is not None:
        changed = changed_by(survey, target)
        document["targetChanges"] = {"workloads": len(changed), "pods": sum(changed.values())}
        for workload, entry in zip(listed, document["workloads"], strict=True):
            entry["targetChangesPods"] = changed.get(workload.ref, 0)
    return document


def changed_by(survey: Survey, target: Version) -> dict[WorkloadRef, int]:
    """Returns the workloads that would get another proxy from a control plane of this version, with their Pods."""
    return {workload.ref: pods for workload in survey.workloads if (pods := _changed_pods(workload, target))}


def _workload(workload: SurveyedWorkload) -> dict[str, Any]:
    return {
        "namespace": workload.namespace,
        "kind": workload.kind,
        "name": workload.name,
        "owner": workload.owner,
        "class": str(workload.pod_class),
        "pods": workload.pods,
        "stalePods": workload.stale_pods,
        "expectedProxy": workload.expected.image,
        "expectedFrom": workload.expected.source,
        "proxies": dict(workload.proxies),
        "action": str(workload.action),
        "reason": str(workload.reason) if workload.reason else None,
        "detail": workload.detail,
        "drift": [str(field) for field in workload.drift],
    }


def _changed_pods(workload: SurveyedWorkload, target: Version) -> int:
    """Returns the number of Pods whose injected sidecar has another version than the target."""
    if workload.pod_class not in _CHANGED_CLASSES:
        return 0
    return sum(count for image, count in workload.proxies.items() if parse_image(image).version != target)
