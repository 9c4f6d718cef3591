"""A survey: every Pod in exactly one class, every workload with an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mesh.istio.drift import Drift
from mesh.istio.expected_proxy import ExpectedProxy
from mesh.k8s.pod_warnings import Annotations
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.actions import Action
from mesh.survey.finding import NO_FACTS, Facts
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason


@dataclass(frozen=True, slots=True)
class SurveyedWorkload:
    """A workload as the survey sees it.

    `pod_class` is the class of the workload, and `pod_names` are the Pods of that class. `unready` counts active Pods
    that are not Ready. `drift` is what differs beyond the image, each with the text of the first Pod that has it.
    `windows` are the maintenance windows of the namespace and the workload, as written: they are parsed only where
    there is something to restart. `warnings` are those on its Pods, of whatever class, by the Pod's name (see
    mesh.k8s.pod_warnings). `evidence` and `facts` (see mesh.survey.evidence) are there where the workload needs a
    person or an active Pod is not Ready.
    """

    namespace: str
    kind: str
    name: str
    uid: str
    owner: str | None
    pod_class: PodClass
    pods: int
    stale_pods: int
    expected: ExpectedProxy
    proxies: Mapping[str, int]
    action: Action
    reason: Reason | None
    detail: str | None
    pod_names: tuple[str, ...]
    unready: int = 0
    gateway: bool = False
    kyma: bool = False
    self_hosted: bool = False
    wave: str | None = None
    drift: Mapping[Drift, str] = field(default_factory=dict)
    windows: tuple[str, ...] = ()
    warnings: Mapping[str, Annotations] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    facts: Facts = NO_FACTS

    @property
    def ref(self) -> WorkloadRef:
        """The workload's identity within its cluster."""
        return WorkloadRef(self.namespace, self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Survey:
    """All workloads of a snapshot, sorted. `classes` counts Pods, has every class, and sums to `pods`.

    `notes` are sentences about what could not be asked or understood. A workload for which that matters is `unknown`;
    everything else that the survey says about it holds.
    """

    taken_at: datetime
    resource_version: str
    pods: int
    classes: Mapping[PodClass, int]
    workloads: tuple[SurveyedWorkload, ...]
    notes: tuple[str, ...] = ()
