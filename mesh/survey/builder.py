"""Makes a survey of a snapshot in two steps, so that all of it is pure.

A SurveyBuilder names the distinct Pod templates whose proxy only the injector knows. The shell asks the injector, and
with the answers the builder makes the Survey.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mesh.istio.drift import Drift, drift_of
from mesh.istio.expected_proxy import NO_SIDECAR, ExpectedProxy, InjectionQuery, injection_query
from mesh.istio.images import parse_image
from mesh.istio.injection import InjectionDecision, decide_injection
from mesh.istio.proxy_status import NO_CONNECTED_PROXIES, ConnectedProxies
from mesh.k8s.objects import DisruptionBudget, Pod, PodTemplate
from mesh.k8s.owners import Owner, top_owner
from mesh.k8s.pod_warnings import NO_WARNINGS, Annotations, warnings_in
from mesh.k8s.workload_ref import WorkloadRef
from mesh.maintenance_windows import declared_windows
from mesh.survey.actions import Action, decide_action
from mesh.survey.assessment import Assessment
from mesh.survey.evidence import NO_EVIDENCE, evidence_of
from mesh.survey.pod_class import PodClass, classify, is_excluded, live_proxy
from mesh.survey.pod_rules import with_event_message
from mesh.survey.snapshot import NO_UPGRADE, ClusterSnapshot, UpgradeContext
from mesh.survey.survey import Survey, SurveyedWorkload
from mesh.text import one_line
from mesh.wellknown import INJECTION_TEMPLATES, KYMA_MODULE, KYMA_NAMESPACE, WAVE


@dataclass(slots=True)
class _Group:
    """The Pods of a workload; `query` is the key of the query about its template, None where nothing is asked."""

    owner: Owner
    decision: InjectionDecision
    query: str | None
    pods: list[Pod] = field(default_factory=list)


class SurveyBuilder:
    """Makes the survey of one snapshot, once its queries have been answered."""

    def __init__(self, snapshot: ClusterSnapshot) -> None:
        self._snapshot = snapshot
        self._queries: dict[str, InjectionQuery] = {}
        self._groups = self._group_pods()
        self._budgets: dict[str, list[DisruptionBudget]] = defaultdict(list)
        for budget in snapshot.budgets:
            self._budgets[budget.metadata.namespace].append(budget)

    @property
    def queries(self) -> tuple[InjectionQuery, ...]:
        """One query per distinct template that would be injected, in a stable order."""
        return tuple(self._queries[key] for key in sorted(self._queries))

    def needs_proxy_versions(self, answers: Mapping[str, ExpectedProxy]) -> bool:
        """Whether some live proxy has the expected image, whose tag names no version: only istiods know it then."""
        return any(
            live_proxy(pod) == image
            for group in self._groups.values()
            if (image := _expected(group, answers).image) is not None and not parse_image(image).is_immutable
            for pod in group.pods
        )

    def survey(
        self,
        answers: Mapping[str, ExpectedProxy],
        context: UpgradeContext = NO_UPGRADE,
        connected: ConnectedProxies = NO_CONNECTED_PROXIES,
    ) -> Survey:
        """Returns the survey, given the injector's answers by the keys of their queries."""
        snapshot = self._snapshot
        classes: Counter[PodClass] = Counter(dict.fromkeys(PodClass, 0))
        workloads = []
        for group in self._groups.values():
            assessment = self._assess(group, _expected(group, answers), context, connected)
            classes.update({pod_class: len(pods) for pod_class, pods in assessment.pods_by_class.items()})
            workloads.append(_surveyed(assessment))
        workloads.sort(key=lambda workload: workload.ref)
        return Survey(
            taken_at=snapshot.taken_at,
            resource_version=snapshot.resource_version,
            pods=len(snapshot.pods),
            classes=dict(classes),
            workloads=tuple(workloads),
            notes=(*snapshot.injector.problems, *connected.problems),
        )

    def _group_pods(self) -> dict[WorkloadRef, _Group]:
        events = self._snapshot.pod_events
        groups: dict[WorkloadRef, _Group] = {}
        #: By namespace and UID of the Pod's controller: the way up from there is the same for all of its Pods.
        by_controller: dict[tuple[str, str], _Group] = {}
        for pod in self._snapshot.pods:
            controller = pod.metadata.controller()
            known = (pod.metadata.namespace, controller.uid) if controller is not None else None
            group = by_controller.get(known) if known is not None else None
            if group is None:
                group = self._group_of(pod, groups)
                if known is not None:
                    by_controller[known] = group
            group.pods.append(with_event_message(pod, events.get(pod.metadata.uid)))
        return groups

    def _group_of(self, pod: Pod, groups: dict[WorkloadRef, _Group]) -> _Group:
        snapshot = self._snapshot
        owner = top_owner(pod, snapshot.owners, snapshot.unread_kinds)
        ref = owner.ref
        group = groups.get(ref)
        if group is None:
            namespace = snapshot.namespaces.get(owner.namespace)
            labels = (namespace.metadata.labels or {}) if namespace else {}
            decision = decide_injection(snapshot.injector, owner.namespace, labels, owner.template)
            group = groups[ref] = _Group(owner, decision, self._query(owner, decision))
        return group

    def _query(self, owner: Owner, decision: InjectionDecision) -> str | None:
        if not decision.injected:
            return None
        query = injection_query(self._snapshot.injector, owner.namespace, decision, owner.template)
        return self._queries.setdefault(query.key, query).key

    def _assess(
        self, group: _Group, expected: ExpectedProxy, context: UpgradeContext, connected: ConnectedProxies
    ) -> Assessment:
        return Assessment(
            owner=group.owner,
            pods=group.pods,
            at=self._snapshot.taken_at,
            decision=group.decision,
            expected=expected,
            pods_by_class=_classify_pods(group, expected, self._snapshot, context, connected),
            budgets=self._budgets.get(group.owner.namespace, ()),
            snapshot=self._snapshot,
            context=context,
            connected=connected,
        )


def _expected(group: _Group, answers: Mapping[str, ExpectedProxy]) -> ExpectedProxy:
    if group.query is None:
        return ExpectedProxy(None, None, group.decision.problem) if group.decision.problem else NO_SIDECAR
    return answers[group.query]


def _classify_pods(
    group: _Group,
    expected: ExpectedProxy,
    snapshot: ClusterSnapshot,
    context: UpgradeContext,
    connected: ConnectedProxies,
) -> Mapping[PodClass, Sequence[Pod]]:
    config = snapshot.injector.configs.get(group.decision.revision or "")
    exclusion = (
        is_excluded(group.owner, snapshot.namespaces.get(group.owner.namespace))
        or group.owner.namespace in context.exclude_namespaces
    )
    by_class: dict[PodClass, list[Pod]] = defaultdict(list)
    known: dict[object, PodClass] = {}
    for pod in group.pods:
        # Interned Pods of one workload share their parts (see mesh.survey.interning).
        metadata = pod.metadata
        shared = (id(pod.spec), id(pod.status), id(metadata.annotations), metadata.deletion_timestamp is None)
        pod_class = known.get(shared)
        if pod_class is None:
            pod_class = classify(
                pod,
                group.owner,
                group.decision,
                expected,
                revision_image=config.image if config else None,
                exclusion=exclusion,
                connected=connected,
            )
            if connected is NO_CONNECTED_PROXIES:  # else the Pod's name counts as well
                known[shared] = pod_class
        by_class[pod_class].append(pod)
    return by_class


def _surveyed(assessment: Assessment) -> SurveyedWorkload:
    owner, expected = assessment.owner, assessment.expected
    action, cause = decide_action(assessment)
    gateway_image = next((proxy.image for proxy in owner.template.spec.proxies()), None)
    is_template = assessment.pod_class is PodClass.GATEWAY
    drift = _drift(assessment)
    unready = sum(1 for pod in assessment.active_pods if not pod.ready)
    evidence = NO_EVIDENCE
    if action is Action.REMEDIATE or unready:
        evidence = evidence_of(assessment, cause.reason if cause else None)
    namespace = assessment.namespace
    metadata = owner.workload.metadata if owner.workload else owner.template.metadata
    labels = owner.template.metadata.labels or {}
    return SurveyedWorkload(
        namespace=owner.namespace,
        kind=owner.kind,
        name=owner.name,
        uid=metadata.uid,
        owner=_direct_owner(owner),
        pod_class=assessment.pod_class,
        pods=len(assessment.pods),
        stale_pods=len(assessment.pods_by_class.get(PodClass.STALE, ())),
        expected=ExpectedProxy(gateway_image, "template") if is_template else expected,
        proxies=Counter(image for pod in assessment.pods if (image := live_proxy(pod)) is not None),
        action=action,
        reason=cause.reason if cause else None,
        detail=cause.detail if cause else (one_line("; ".join(drift.values())) or None),
        pod_names=tuple(sorted(pod.metadata.name for pod in assessment.classified_pods)),
        unready=unready,
        gateway=_is_gateway(owner.template),
        kyma=owner.namespace == KYMA_NAMESPACE or bool(labels.get(KYMA_MODULE)),
        self_hosted=owner.namespace in assessment.context.own_namespaces,
        wave=metadata.label(WAVE) or (namespace.metadata.label(WAVE) if namespace else None),
        drift=drift,
        windows=declared_windows(owner, namespace),
        warnings=_warnings(assessment.pods),
        evidence=evidence.lines,
        facts=evidence.facts,
    )


def _warnings(pods: Iterable[Pod]) -> Mapping[str, Annotations]:
    warnings = {}
    for pod in pods:
        annotations = warnings_in(pod.metadata.annotations)
        if annotations is not NO_WARNINGS:
            warnings[pod.metadata.name] = annotations
    return warnings


#: Classes of Pods that have a sidecar and would get one.
_COMPARED = (PodClass.CURRENT, PodClass.STALE, PodClass.EXCLUDED, PodClass.PINNED)


def _drift(assessment: Assessment) -> dict[Drift, str]:
    shape = assessment.expected.shape
    drift: dict[Drift, str] = {}
    if shape is None:
        return drift
    seen: set[tuple[int, int]] = set()
    for pod_class in _COMPARED:
        for pod in assessment.pods_by_class.get(pod_class, ()):
            # Interned Pods of one workload share their parts (see mesh.survey.interning).
            shared = (id(pod.spec), id(pod.metadata.annotations))
            if shared not in seen and live_proxy(pod) is not None:
                seen.add(shared)
                drift = drift_of(pod, shape) | drift
    return {kind: drift[kind] for kind in Drift if kind in drift}


def _is_gateway(template: PodTemplate) -> bool:
    """An injected gateway names Istio's template of that name; others may only add to a sidecar."""
    names = template.metadata.annotation(INJECTION_TEMPLATES) or ""
    return "gateway" in [name.strip() for name in names.split(",")]


def _direct_owner(owner: Owner) -> str | None:
    """The Job of a CronJob or the ReplicaSet of a custom owner; None where the workload itself made its Pods."""
    direct = owner.direct
    if direct is None or (direct.kind == "ReplicaSet" and owner.kind == "Deployment"):
        return None
    return None if direct is owner.workload else f"{direct.kind}/{direct.metadata.name}"
