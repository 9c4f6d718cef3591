"""The survey: every Pod in exactly one class, every workload with an action.

An Assembly of one reading names the distinct templates whose proxy must be asked from the injector; the shell asks,
and with the answers it makes a Survey. All of it is pure, so that a survey can be tried on any world.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from mesh.asking import NO_PROXY, Expected, Question, question_of
from mesh.causes import (
    Cause,
    Reason,
    cause_of_budgets,
    cause_of_last_rollout,
    cause_of_owner,
    cause_of_pod,
    cause_of_pods,
    cause_of_windows,
    explained,
)
from mesh.classes import (
    WORKLOAD_ORDER,
    PodClass,
    classify,
    excluded,
    finished,
    is_fixed,
    live_proxy,
    made_by_injector,
    refused,
    runs,
)
from mesh.connected import NOBODY, ConnectedProxies
from mesh.drift import Drift, drift_of
from mesh.evidence import NO_CLUES, clues
from mesh.images import parse_image
from mesh.injection import REVISION, Decision, Injector, decide
from mesh.objects import DisruptionBudget, Namespace, Pod, PodTemplate, Workload
from mesh.owners import ARGO_ROLLOUT, Owner, top_owner
from mesh.pod_warnings import NONE, Annotations, warnings_in
from mesh.rollout import EVICTABLE_KINDS, mark_of, rollout
from mesh.sighting import Facts
from mesh.text import brief
from mesh.windows import declared_windows

KYMA_NAMESPACE = "kyma-system"
KYMA_MODULE = "kyma-project.io/module"
WAVE_LABEL = "upgrade.kyma-project.io/wave"


class Action(StrEnum):
    """What is to be done with a workload."""

    ROLLOUT_RESTART = "rollout-restart"
    EVICT = "evict"
    RESTART_AT = "restart-at"
    REMEDIATE = "remediate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class World:
    """One reading of a cluster.

    `told` are the last warnings of Pods by UID, for those whose own status says little. `problems` are what could
    not be read, as sentences: whoever acts on a survey must refuse then. `unread` are the kinds of owners among it.
    """

    taken_at: datetime
    resource_version: str
    namespaces: Mapping[str, Namespace]
    pods: tuple[Pod, ...]
    owners: Mapping[str, Workload]
    injector: Injector
    budgets: tuple[DisruptionBudget, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the running upgrade changes about judging: None of it holds for a scan.

    `mark` is the time this attempt writes; `began` is when the upgrade first touched the control plane, so that a
    Pod without a sidecar made since then is known for a victim of the injection gap. `failed` are the fingerprints of
    the workloads whose restart failed in this upgrade: they are not tried again. `stands_on` are the namespaces of what
    the upgrade itself needs: they come last. `windows` are the policy's,
    which must be open as well.
    """

    mark: datetime | None = None
    began: datetime | None = None
    restart_missing: bool = False
    exclude_namespaces: tuple[str, ...] = ()
    failed: frozenset[str] = frozenset()
    stands_on: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()

    def has_failed(self, key: tuple[str, str, str]) -> bool:
        """Whether this workload's restart failed in this upgrade."""
        return bool(self.failed) and fingerprint(key) in self.failed


NO_ATTEMPT = Attempt()

#: Actions that a wave takes.
RESTARTS = frozenset({Action.ROLLOUT_RESTART, Action.EVICT, Action.RESTART_AT})


def fingerprint(key: tuple[str, str, str]) -> str:
    """A workload in 16 characters: of a million workloads two are alike with a chance of 1 to 36 million."""
    return hashlib.sha256("/".join(key).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Record:
    """One workload as the survey sees it.

    `pod_names` are those whose class is the workload's; `unready` counts living Pods that are not Ready. `drift` is
    what differs beyond the image, each with the words of the first Pod that has it. `windows` are the maintenance
    windows of the namespace and the workload, as written: judged only where there is something to restart. `warnings`
    are those on its Pods, of whatever class, by name (see mesh.pod_warnings). `evidence` and `facts` are those of
    mesh.evidence, where a person must settle it or something ails a Pod.
    """

    namespace: str
    kind: str
    name: str
    uid: str
    owner: str | None
    klass: PodClass
    pods: int
    stale_pods: int
    expected: Expected
    proxies: Mapping[str, int]
    action: Action
    reason: Reason | None
    detail: str | None
    pod_names: tuple[str, ...]
    unready: int = 0
    gateway: bool = False
    kyma: bool = False
    foundation: bool = False
    wave: str | None = None
    drift: Mapping[Drift, str] = field(default_factory=dict)
    windows: tuple[str, ...] = ()
    warnings: Mapping[str, Annotations] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    facts: Facts = NO_CLUES.facts

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity within a cluster: namespace, kind, name."""
        return (self.namespace, self.kind, self.name)


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
    records: tuple[Record, ...]
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

    def __init__(self, world: World) -> None:
        self._world = world
        self._asked: dict[str, Question] = {}
        self._groups = self._group()

    @property
    def questions(self) -> tuple[Question, ...]:
        """One per distinct template that would be injected, in a stable order."""
        return tuple(self._asked[key] for key in sorted(self._asked))

    def nameless(self, answers: Mapping[str, Expected]) -> bool:
        """Whether some live proxy is expected by name, and the name tells no version: only istiods can."""
        return any(
            live_proxy(pod) == image
            for group in self._groups.values()
            if (image := _expected(group, answers).image) is not None and not is_fixed(parse_image(image))
            for pod in group.pods
        )

    def survey(
        self, answers: Mapping[str, Expected], attempt: Attempt = NO_ATTEMPT, connected: ConnectedProxies = NOBODY
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
        records.sort(key=lambda record: record.key)
        notes = (*world.injector.problems, *connected.problems)
        return Survey(world.taken_at, world.resource_version, len(world.pods), dict(classes), tuple(records), notes)

    def _group(self) -> dict[tuple[str, str, str], _Group]:
        world = self._world
        groups: dict[tuple[str, str, str], _Group] = {}
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

    def _group_of(self, pod: Pod, groups: dict[tuple[str, str, str], _Group]) -> _Group:
        world = self._world
        owner = top_owner(pod, world.owners, world.unread)
        group = groups.get(owner.key)
        if group is None:
            namespace = world.namespaces.get(owner.namespace)
            labels = (namespace.metadata.labels or {}) if namespace else {}
            decision = decide(world.injector, owner.namespace, labels, owner.template)
            group = groups[owner.key] = _Group(owner, decision, self._ask(owner, decision))
        return group

    def _ask(self, owner: Owner, decision: Decision) -> str | None:
        if not decision.injected:
            return None
        question = question_of(self._world.injector, owner.namespace, decision, owner.template)
        return self._asked.setdefault(question.key, question).key


def _expected(group: _Group, answers: Mapping[str, Expected]) -> Expected:
    if group.question is None:
        return Expected(None, None, group.decision.problem) if group.decision.problem else NO_PROXY
    return answers[group.question]


def _classify_group(
    group: _Group, expected: Expected, world: World, attempt: Attempt, connected: ConnectedProxies
) -> dict[PodClass, list[Pod]]:
    config = world.injector.configs.get(group.decision.revision or "")
    exclusion = (
        excluded(group.owner, world.namespaces.get(group.owner.namespace))
        or group.owner.namespace in attempt.exclude_namespaces
    )
    found: dict[PodClass, list[Pod]] = defaultdict(list)
    for pod in group.pods:
        klass = classify(
            pod,
            group.owner,
            group.decision,
            expected,
            revision_image=config.image if config else None,
            exclusion=exclusion,
            connected=connected,
        )
        found[klass].append(pod)
    return found


def _record(
    group: _Group,
    expected: Expected,
    by_class: Mapping[PodClass, list[Pod]],
    world: World,
    attempt: Attempt,
    connected: ConnectedProxies,
) -> Record:
    owner = group.owner
    klass = next(one for one in WORKLOAD_ORDER if one in by_class)
    action, cause = _judge(group, klass, by_class, expected, world, attempt, connected)
    gateway_image = next((one.image for one in owner.template.spec.proxies()), None)
    shown = Expected(gateway_image, "template") if klass is PodClass.GATEWAY else expected
    drift = _drift(by_class, expected)
    unready = sum(1 for pod in _living(owner, group.pods) if not pod.ready)
    found = NO_CLUES
    if action is Action.REMEDIATE or unready:
        awaited = _awaited(owner, group.pods)
        found = clues(owner, awaited, cause[0] if cause else None, expected, world)
    namespace = world.namespaces.get(owner.namespace)
    metadata = owner.workload.metadata if owner.workload else owner.template.metadata
    labels = owner.template.metadata.labels or {}
    return Record(
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
        reason=cause[0] if cause else None,
        detail=cause[1] if cause else (brief("; ".join(drift.values())) or None),
        pod_names=tuple(sorted(pod.metadata.name for pod in by_class[klass])),
        unready=unready,
        gateway=_is_gateway(owner.template),
        kyma=owner.namespace == KYMA_NAMESPACE or bool(labels.get(KYMA_MODULE)),
        foundation=owner.namespace in attempt.stands_on,
        wave=metadata.label(WAVE_LABEL) or (namespace.metadata.label(WAVE_LABEL) if namespace else None),
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


def _drift(by_class: Mapping[PodClass, list[Pod]], expected: Expected) -> dict[Drift, str]:
    found: dict[Drift, str] = {}
    seen: set[tuple[int, int]] = set()
    if expected.shape is not None:
        for klass in _COMPARED:
            for pod in by_class.get(klass, ()):
                # Compact Pods of one workload share their parts (see mesh.compact).
                alike = (id(pod.spec), id(pod.metadata.annotations))
                if alike not in seen and live_proxy(pod) is not None:
                    seen.add(alike)
                    found = drift_of(pod, expected.shape) | found
    return {one: found[one] for one in Drift if one in found}


def _is_gateway(template: PodTemplate) -> bool:
    """An injected gateway names Istio's template of that name; others may only add to a sidecar."""
    names = template.metadata.annotation("inject.istio.io/templates") or ""
    return "gateway" in [name.strip() for name in names.split(",")]


def _direct_name(group: _Group) -> str | None:
    """The CronJob's Job or the custom owner's ReplicaSet; None where the workload made its Pods itself."""
    direct = group.owner.direct
    if direct is None or (direct.kind == "ReplicaSet" and group.owner.kind == "Deployment"):
        return None
    return None if direct is group.owner.workload else f"{direct.kind}/{direct.metadata.name}"


def _judge(
    group: _Group,
    klass: PodClass,
    by_class: Mapping[PodClass, list[Pod]],
    expected: Expected,
    world: World,
    attempt: Attempt,
    connected: ConnectedProxies,
) -> tuple[Action, Cause | None]:
    owner, pods = group.owner, group.pods
    match klass:
        case PodClass.STALE:
            return judge_restart(owner, pods, world, attempt, _rewritten(owner, pods, by_class[klass], attempt))
        case PodClass.GATEWAY:
            return _judge_gateway(owner, by_class[klass], world, attempt)
        case PodClass.ORPHANED:
            why = "the injector answers without one" if refused(expected) else group.decision.reason
            reason, told = Reason.WOULD_LOSE_SIDECAR, f"would get no sidecar: {why}"
        case PodClass.UNKNOWN:
            reason, told = _unknown(group, by_class[klass][0], expected, world, connected)
        case PodClass.MISSING:
            if attempt.restart_missing or all(_made_since(pod, attempt.began) for pod in by_class[klass]):
                return judge_restart(owner, pods, world, attempt)
            reason, told = Reason.SIDECAR_MISSING, "made without a sidecar, would get one now"
        case _:
            return Action.NONE, None
    # Reasons of the owner come first: they say what cannot be done once injection is mended.
    cause = cause_of_owner(owner, _awaited(owner, pods), world.taken_at)
    if cause is None:
        return Action.REMEDIATE, (reason, brief(told))
    return Action.REMEDIATE, (cause[0], brief(f"{cause[1]}; {told}" if cause[1] else told))


def _judge_gateway(owner: Owner, pods: Iterable[Pod], world: World, attempt: Attempt) -> tuple[Action, Cause | None]:
    """A gateway that no injector made is rolled by its own owner: once an upgrade restarts, it ought to have been."""
    namespace = world.namespaces.get(owner.namespace)
    if attempt.mark is None or excluded(owner, namespace) or owner.namespace in attempt.exclude_namespaces:
        return Action.NONE, None
    revision = owner.template.metadata.label(REVISION) or (namespace.metadata.label(REVISION) if namespace else None)
    config = world.injector.configs.get(world.injector.revision_of(revision or "default"))
    wanted = parse_image(config.image).version if config and config.image else None
    for pod in pods:
        live = parse_image(live_proxy(pod) or "").version
        if wanted is not None and live is not None and live != wanted:
            told = f"Pod {pod.metadata.name} runs Istio {live}, its revision has {wanted}"
            return Action.REMEDIATE, (Reason.GATEWAY_NOT_UPGRADED, brief(told))
    return Action.NONE, None


def _rewritten(owner: Owner, pods: Iterable[Pod], stale: Sequence[Pod], attempt: Attempt) -> str | None:
    """Why another restart would be futile; None where it would not, as far as the Pods tell."""
    if attempt.mark is None or owner.workload is None or not rollout(owner.workload).settled:
        return None
    newest = max(_living(owner, pods), key=lambda pod: (_made(pod), pod not in stale), default=None)
    if newest is None or newest not in stale or _made(newest) < attempt.mark:
        return None
    return f"Pod {newest.metadata.name} was made during this upgrade and runs {live_proxy(newest)}"


def _made(pod: Pod) -> datetime:
    return pod.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)


def judge_restart(
    owner: Owner, pods: Iterable[Pod], world: World, attempt: Attempt, rewritten: str | None = None
) -> tuple[Action, Cause | None]:
    """One of `RESTARTS`, or remediate: for a workload that has Pods which ought to be made anew.

    `rewritten` tells of a Pod that shows what a restart would bring, and that it is not what is expected.
    """
    now = world.taken_at
    awaited, living = _awaited(owner, pods), _living(owner, pods)
    cause = cause_of_owner(owner, awaited, now)
    if cause is not None or owner.workload is None:
        return Action.REMEDIATE, cause
    if attempt.has_failed(owner.key):
        failed = (Reason.ROLLOUT_TIMED_OUT, "its restart failed in this upgrade")
        return Action.REMEDIATE, cause_of_pods(awaited, now) or failed
    mark = mark_of(owner.workload)
    if attempt.mark is not None and mark is not None and mark >= attempt.mark and rollout(owner.workload).complete:
        told = "restarted, and its new Pods are still not as expected"
        return Action.REMEDIATE, (Reason.IMAGE_REWRITTEN, told)
    if rewritten is not None:
        return Action.REMEDIATE, (Reason.IMAGE_REWRITTEN, brief(rewritten))
    strategy = owner.workload.spec.strategy
    # Both take Pods away before they bring new ones, and Argo Rollouts takes none while too few are available.
    recreate = owner.kind == ARGO_ROLLOUT or (strategy is not None and strategy.type == "Recreate")
    healthy = [cause_of_pod(pod, now) is None for pod in living]
    if not any(healthy) or (recreate and not all(healthy)):
        return Action.REMEDIATE, cause_of_pods(awaited, now) or (Reason.NOT_READY, "none of its Pods is Ready")
    here = [one for one in world.budgets if one.metadata.namespace == owner.namespace]
    declared = declared_windows(owner, world.namespaces.get(owner.namespace))
    cause = cause_of_last_rollout(owner) or cause_of_budgets(owner, living, here)
    cause = cause or cause_of_windows((*attempt.windows, *declared), now)
    if cause is not None:
        return Action.REMEDIATE, cause
    return _restart(owner.kind), None


def _restart(kind: str) -> Action:
    if kind == ARGO_ROLLOUT:
        return Action.RESTART_AT
    return Action.EVICT if kind in EVICTABLE_KINDS else Action.ROLLOUT_RESTART


def _awaited(owner: Owner, pods: Iterable[Pod]) -> list[Pod]:
    """Without those that have ended for good: a Pod left over from an eviction is nobody's trouble."""
    return [pod for pod in pods if not finished(pod, owner)]


def _living(owner: Owner, pods: Iterable[Pod]) -> list[Pod]:
    return [pod for pod in _awaited(owner, pods) if pod.metadata.deletion_timestamp is None]


def _unknown(
    group: _Group, pod: Pod, expected: Expected, world: World, connected: ConnectedProxies
) -> tuple[Reason, str]:
    proxy = live_proxy(pod) or "its proxy"
    revision = group.decision.revision
    if expected.image is not None:
        why = connected.why_unknown(pod.metadata.namespace, pod.metadata.name, revision or "")
        # Without the repository: that is long, and the cause comes last.
        tag = parse_image(expected.image).tag or "latest"
        return Reason.UNKNOWN_PROXY, f"tag {tag} names no version; Pod {pod.metadata.name}: {why}"
    problem = expected.problem or "the injector did not answer"
    if revision is not None and revision not in world.injector.configs and not world.problems:
        return Reason.UNKNOWN_REVISION, f"a webhook asks revision {revision}, which has no injector: {problem}"
    return Reason.UNKNOWN_PROXY, f"what would replace {proxy} cannot be told: {problem}"


def _made_since(pod: Pod, began: datetime | None) -> bool:
    created = pod.metadata.creation_timestamp
    return began is not None and created is not None and created >= began


def pod_is_current(pod: Pod, expected: Expected) -> bool:
    """Whether one Pod runs what its template would get now, by an injector's hand, and is Ready."""
    return runs_expected(pod, expected) and pod.ready


def runs_expected(pod: Pod, expected: Expected) -> bool:
    """Whether one Pod runs what its template would get now, by an injector's hand.

    A name that tells no version counts: after a restart nothing newer can be had under it.
    """
    return made_by_injector(pod) and expected.image is not None and runs(pod, expected.image) is not False
