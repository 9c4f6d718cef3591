"""The survey: every Pod in exactly one class, every workload with an action.

An Assembly of one reading names the distinct templates whose proxy must be asked from the injector; the shell asks,
and with the answers it makes a Survey. All of it is pure, so that a survey can be tried on any world.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mesh.istio.drift import Drift, drift_of
from mesh.istio.expected_proxy import NO_PROXY, ExpectedProxy, InjectionQuery, injection_query
from mesh.istio.images import parse_image
from mesh.istio.injection import Decision, decide
from mesh.istio.proxy_status import NOBODY, ConnectedProxies
from mesh.k8s.objects import Pod, PodTemplate
from mesh.k8s.owners import Owner, top_owner
from mesh.k8s.pod_warnings import NONE, Annotations, warnings_in
from mesh.k8s.workload_ref import WorkloadRef
from mesh.maintenance_windows import declared_windows
from mesh.survey.actions import Action, awaited, decide_action, living
from mesh.survey.evidence import NO_CLUES, clues
from mesh.survey.finding import Facts
from mesh.survey.pod_class import (
    WORKLOAD_ORDER,
    PodClass,
    classify,
    excluded,
    is_fixed,
    live_proxy,
)
from mesh.survey.reasons import (
    Reason,
    explained,
)
from mesh.survey.snapshot import NO_UPGRADE, ClusterSnapshot, UpgradeContext
from mesh.text import one_line
from mesh.wellknown import INJECTION_TEMPLATES, KYMA_MODULE, KYMA_NAMESPACE, WAVE


@dataclass(frozen=True, slots=True)
class SurveyedWorkload:
    """One workload as the survey sees it.

    `pod_names` are those whose class is the workload's; `unready` counts living Pods that are not Ready. `drift` is
    what differs beyond the image, each with the words of the first Pod that has it. `windows` are the maintenance
    windows of the namespace and the workload, as written: judged only where there is something to restart. `warnings`
    are those on its Pods, of whatever class, by name (see mesh.k8s.pod_warnings). `evidence` and `facts` are those of
    mesh.survey.evidence, where a person must settle it or something ails a Pod.
    """

    namespace: str
    kind: str
    name: str
    uid: str
    owner: str | None
    klass: PodClass
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
    facts: Facts = NO_CLUES.facts

    @property
    def ref(self) -> WorkloadRef:
        """The workload's identity within its cluster."""
        return WorkloadRef(self.namespace, self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything found. `classes` counts Pods, has every class, and sums to `pods`.

    `notes` are sentences about what could not be asked or understood. Where that matters to a workload it is
    `unknown`; what else is told of it holds.
    """

    taken_at: datetime
    resource_version: str
    pods: int
    classes: Mapping[PodClass, int]
    records: tuple[SurveyedWorkload, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    """A workload's Pods while the survey is put together; `question` is None where nothing is to be asked."""

    owner: Owner
    decision: Decision
    question: str | None
    pods: list[Pod] = field(default_factory=list)


class Assembly:
    """A survey on its way: what must be asked first, and the whole once it has been answered."""

    def __init__(self, world: ClusterSnapshot) -> None:
        self._world = world
        self._asked: dict[str, InjectionQuery] = {}
        self._groups = self._group()

    @property
    def questions(self) -> tuple[InjectionQuery, ...]:
        """One per distinct template that would be injected, in a stable order."""
        return tuple(self._asked[key] for key in sorted(self._asked))

    def nameless(self, answers: Mapping[str, ExpectedProxy]) -> bool:
        """Whether some live proxy is expected by name, and the name tells no version: only istiods can."""
        return any(
            live_proxy(pod) == image
            for group in self._groups.values()
            if (image := _expected(group, answers).image) is not None and not is_fixed(parse_image(image))
            for pod in group.pods
        )

    def survey(
        self,
        answers: Mapping[str, ExpectedProxy],
        attempt: UpgradeContext = NO_UPGRADE,
        connected: ConnectedProxies = NOBODY,
    ) -> Survey:
        """Classes and actions of everything, given what the injector answered."""
        world = self._world
        classes: Counter[PodClass] = Counter(dict.fromkeys(PodClass, 0))
        records = []
        for group in self._groups.values():
            expected = _expected(group, answers)
            by_class = _classify_group(group, expected, world, attempt, connected)
            classes.update({klass: len(pods) for klass, pods in by_class.items()})
            records.append(_record(group, expected, by_class, world, attempt, connected))
        records.sort(key=lambda record: record.ref)
        notes = (*world.injector.problems, *connected.problems)
        return Survey(world.taken_at, world.resource_version, len(world.pods), dict(classes), tuple(records), notes)

    def _group(self) -> dict[WorkloadRef, _Group]:
        world = self._world
        groups: dict[WorkloadRef, _Group] = {}
        #: By namespace and UID of what made a Pod: the way up from there is the same for all it made.
        by_maker: dict[tuple[str, str], _Group] = {}
        for pod in world.pods:
            maker = pod.metadata.controller()
            known = (pod.metadata.namespace, maker.uid) if maker is not None else None
            group = by_maker.get(known) if known is not None else None
            if group is None:
                group = self._group_of(pod, groups)
                if known is not None:
                    by_maker[known] = group
            group.pods.append(explained(pod, world.told.get(pod.metadata.uid)))
        return groups

    def _group_of(self, pod: Pod, groups: dict[WorkloadRef, _Group]) -> _Group:
        world = self._world
        owner = top_owner(pod, world.owners, world.unread)
        ref = owner.ref
        group = groups.get(ref)
        if group is None:
            namespace = world.namespaces.get(owner.namespace)
            labels = (namespace.metadata.labels or {}) if namespace else {}
            decision = decide(world.injector, owner.namespace, labels, owner.template)
            group = groups[ref] = _Group(owner, decision, self._ask(owner, decision))
        return group

    def _ask(self, owner: Owner, decision: Decision) -> str | None:
        if not decision.injected:
            return None
        question = injection_query(self._world.injector, owner.namespace, decision, owner.template)
        return self._asked.setdefault(question.key, question).key


def _expected(group: _Group, answers: Mapping[str, ExpectedProxy]) -> ExpectedProxy:
    if group.question is None:
        return ExpectedProxy(None, None, group.decision.problem) if group.decision.problem else NO_PROXY
    return answers[group.question]


def _classify_group(
    group: _Group, expected: ExpectedProxy, world: ClusterSnapshot, attempt: UpgradeContext, connected: ConnectedProxies
) -> dict[PodClass, list[Pod]]:
    config = world.injector.configs.get(group.decision.revision or "")
    exclusion = (
        excluded(group.owner, world.namespaces.get(group.owner.namespace))
        or group.owner.namespace in attempt.exclude_namespaces
    )
    found: dict[PodClass, list[Pod]] = defaultdict(list)
    known: dict[object, PodClass] = {}
    for pod in group.pods:
        # Compact Pods of one workload share their parts (see mesh.survey.interning).
        about = pod.metadata
        alike = (id(pod.spec), id(pod.status), id(about.annotations), about.deletion_timestamp is None)
        klass = known.get(alike)
        if klass is None:
            klass = classify(
                pod,
                group.owner,
                group.decision,
                expected,
                revision_image=config.image if config else None,
                exclusion=exclusion,
                connected=connected,
            )
            if connected is NOBODY:  # else its name tells as well
                known[alike] = klass
        found[klass].append(pod)
    return found


def _record(
    group: _Group,
    expected: ExpectedProxy,
    by_class: Mapping[PodClass, list[Pod]],
    world: ClusterSnapshot,
    attempt: UpgradeContext,
    connected: ConnectedProxies,
) -> SurveyedWorkload:
    owner = group.owner
    klass = next(one for one in WORKLOAD_ORDER if one in by_class)
    action, cause = decide_action(
        owner, group.decision, group.pods, klass, by_class[klass], expected, world, attempt, connected
    )
    gateway_image = next((one.image for one in owner.template.spec.proxies()), None)
    shown = ExpectedProxy(gateway_image, "template") if klass is PodClass.GATEWAY else expected
    drift = _drift(by_class, expected)
    unready = sum(1 for pod in living(owner, group.pods) if not pod.ready)
    found = NO_CLUES
    if action is Action.REMEDIATE or unready:
        found = clues(owner, awaited(owner, group.pods), cause.reason if cause else None, expected, world)
    namespace = world.namespaces.get(owner.namespace)
    metadata = owner.workload.metadata if owner.workload else owner.template.metadata
    labels = owner.template.metadata.labels or {}
    return SurveyedWorkload(
        namespace=owner.namespace,
        kind=owner.kind,
        name=owner.name,
        uid=metadata.uid,
        owner=_direct_name(group),
        klass=klass,
        pods=len(group.pods),
        stale_pods=len(by_class.get(PodClass.STALE, ())),
        expected=shown,
        proxies=Counter(image for pod in group.pods if (image := live_proxy(pod)) is not None),
        action=action,
        reason=cause.reason if cause else None,
        detail=cause.detail if cause else (one_line("; ".join(drift.values())) or None),
        pod_names=tuple(sorted(pod.metadata.name for pod in by_class[klass])),
        unready=unready,
        gateway=_is_gateway(owner.template),
        kyma=owner.namespace == KYMA_NAMESPACE or bool(labels.get(KYMA_MODULE)),
        self_hosted=owner.namespace in attempt.own_namespaces,
        wave=metadata.label(WAVE) or (namespace.metadata.label(WAVE) if namespace else None),
        drift=drift,
        windows=declared_windows(owner, namespace),
        warnings=_warnings(group.pods),
        evidence=found.evidence,
        facts=found.facts,
    )


def _warnings(pods: Iterable[Pod]) -> Mapping[str, Annotations]:
    return {one.metadata.name: found for one in pods if (found := warnings_in(one.metadata.annotations)) is not NONE}


#: Classes of Pods that have a sidecar and would get one.
_COMPARED = (PodClass.CURRENT, PodClass.STALE, PodClass.EXCLUDED, PodClass.PINNED)


def _drift(by_class: Mapping[PodClass, list[Pod]], expected: ExpectedProxy) -> dict[Drift, str]:
    found: dict[Drift, str] = {}
    seen: set[tuple[int, int]] = set()
    if expected.shape is not None:
        for klass in _COMPARED:
            for pod in by_class.get(klass, ()):
                # Compact Pods of one workload share their parts (see mesh.survey.interning).
                alike = (id(pod.spec), id(pod.metadata.annotations))
                if alike not in seen and live_proxy(pod) is not None:
                    seen.add(alike)
                    found = drift_of(pod, expected.shape) | found
    return {one: found[one] for one in Drift if one in found}


def _is_gateway(template: PodTemplate) -> bool:
    """An injected gateway names Istio's template of that name; others may only add to a sidecar."""
    names = template.metadata.annotation(INJECTION_TEMPLATES) or ""
    return "gateway" in [name.strip() for name in names.split(",")]


def _direct_name(group: _Group) -> str | None:
    """The CronJob's Job or the custom owner's ReplicaSet; None where the workload made its Pods itself."""
    direct = group.owner.direct
    if direct is None or (direct.kind == "ReplicaSet" and group.owner.kind == "Deployment"):
        return None
    return None if direct is group.owner.workload else f"{direct.kind}/{direct.metadata.name}"
