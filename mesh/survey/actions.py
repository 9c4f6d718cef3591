"""What is to be done with a workload, and why nothing can be done with one that needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.images import parse_image
from mesh.istio.injection import Decision
from mesh.istio.proxy_status import ConnectedProxies
from mesh.k8s.kinds import ARGO_ROLLOUT, EVICTABLE_KINDS
from mesh.k8s.objects import Pod
from mesh.k8s.owners import Owner
from mesh.k8s.rollout import mark_of, rollout
from mesh.maintenance_windows import declared_windows
from mesh.survey.pod_class import PodClass, excluded, finished, live_proxy, refused
from mesh.survey.reasons import (
    Cause,
    Reason,
    cause_of_budgets,
    cause_of_last_rollout,
    cause_of_owner,
    cause_of_pod,
    cause_of_pods,
    cause_of_windows,
)
from mesh.survey.snapshot import ClusterSnapshot, UpgradeContext
from mesh.text import one_line
from mesh.wellknown import REVISION


class Action(StrEnum):
    """What is to be done with a workload."""

    ROLLOUT_RESTART = "rollout-restart"
    EVICT = "evict"
    RESTART_AT = "restart-at"
    REMEDIATE = "remediate"
    NONE = "none"


#: Actions that a wave takes.
RESTARTS = frozenset({Action.ROLLOUT_RESTART, Action.EVICT, Action.RESTART_AT})


def decide_action(
    owner: Owner,
    decision: Decision,
    pods: Sequence[Pod],
    klass: PodClass,
    those: Sequence[Pod],
    expected: ExpectedProxy,
    world: ClusterSnapshot,
    attempt: UpgradeContext,
    connected: ConnectedProxies,
) -> tuple[Action, Cause | None]:
    """What is to be done with a workload of that class, and why nothing can be done with one that needs it.

    `those` are the `pods` of the class, at least one.
    """
    match klass:
        case PodClass.STALE:
            return decide_restart(owner, pods, world, attempt, _rewritten(owner, pods, those, attempt))
        case PodClass.GATEWAY:
            return _judge_gateway(owner, those, world, attempt)
        case PodClass.ORPHANED:
            why = "the injector answers without one" if refused(expected) else decision.reason
            reason, told = Reason.WOULD_LOSE_SIDECAR, f"would get no sidecar: {why}"
        case PodClass.UNKNOWN:
            reason, told = _unknown(decision, those[0], expected, world, connected)
        case PodClass.MISSING:
            if attempt.restart_missing or all(_made_since(pod, attempt.began) for pod in those):
                return decide_restart(owner, pods, world, attempt)
            reason, told = Reason.SIDECAR_MISSING, "made without a sidecar, would get one now"
        case _:
            return Action.NONE, None
    # Reasons of the owner come first: they say what cannot be done once injection is mended.
    cause = cause_of_owner(owner, awaited(owner, pods), world.taken_at)
    if cause is None:
        return Action.REMEDIATE, Cause(reason, one_line(told))
    return Action.REMEDIATE, Cause(cause.reason, one_line(f"{cause.detail}; {told}" if cause.detail else told))


def _judge_gateway(
    owner: Owner, pods: Iterable[Pod], world: ClusterSnapshot, attempt: UpgradeContext
) -> tuple[Action, Cause | None]:
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
            return Action.REMEDIATE, Cause(Reason.GATEWAY_NOT_UPGRADED, one_line(told))
    return Action.NONE, None


def _rewritten(owner: Owner, pods: Iterable[Pod], stale: Sequence[Pod], attempt: UpgradeContext) -> str | None:
    """Why another restart would be futile; None where it would not, as far as the Pods tell."""
    if attempt.mark is None or owner.workload is None or not rollout(owner.workload).settled:
        return None
    newest = max(living(owner, pods), key=lambda pod: (_made(pod), pod not in stale), default=None)
    if newest is None or newest not in stale or _made(newest) < attempt.mark:
        return None
    return f"Pod {newest.metadata.name} was made during this upgrade and runs {live_proxy(newest)}"


def _made(pod: Pod) -> datetime:
    return pod.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)


def decide_restart(
    owner: Owner, pods: Iterable[Pod], world: ClusterSnapshot, attempt: UpgradeContext, rewritten: str | None = None
) -> tuple[Action, Cause | None]:
    """One of `RESTARTS`, or remediate: for a workload that has Pods which ought to be made anew.

    `rewritten` tells of a Pod that shows what a restart would bring, and that it is not what is expected.
    """
    now = world.taken_at
    waiting, alive = awaited(owner, pods), living(owner, pods)
    cause = cause_of_owner(owner, waiting, now)
    if cause is not None or owner.workload is None:
        return Action.REMEDIATE, cause
    if attempt.has_failed(owner.ref):
        failed = Cause(Reason.ROLLOUT_TIMED_OUT, "its restart failed in this upgrade")
        return Action.REMEDIATE, cause_of_pods(waiting, now) or failed
    mark = mark_of(owner.workload)
    if attempt.mark is not None and mark is not None and mark >= attempt.mark and rollout(owner.workload).complete:
        told = "restarted, and its new Pods are still not as expected"
        return Action.REMEDIATE, Cause(Reason.IMAGE_REWRITTEN, told)
    if rewritten is not None:
        return Action.REMEDIATE, Cause(Reason.IMAGE_REWRITTEN, one_line(rewritten))
    strategy = owner.workload.spec.strategy
    # Both take Pods away before they bring new ones, and Argo Rollouts takes none while too few are available.
    recreate = owner.kind == ARGO_ROLLOUT or (strategy is not None and strategy.type == "Recreate")
    healthy = [cause_of_pod(pod, now) is None for pod in alive]
    if not any(healthy) or (recreate and not all(healthy)):
        return Action.REMEDIATE, cause_of_pods(waiting, now) or Cause(Reason.NOT_READY, "none of its Pods is Ready")
    here = [one for one in world.budgets if one.metadata.namespace == owner.namespace]
    declared = declared_windows(owner, world.namespaces.get(owner.namespace))
    cause = cause_of_last_rollout(owner) or cause_of_budgets(owner, alive, here)
    cause = cause or cause_of_windows((*attempt.windows, *declared), now)
    if cause is not None:
        return Action.REMEDIATE, cause
    return _restart(owner.kind), None


def _restart(kind: str) -> Action:
    if kind == ARGO_ROLLOUT:
        return Action.RESTART_AT
    return Action.EVICT if kind in EVICTABLE_KINDS else Action.ROLLOUT_RESTART


def awaited(owner: Owner, pods: Iterable[Pod]) -> list[Pod]:
    """Without those that have ended for good: a Pod left over from an eviction is nobody's trouble."""
    return [pod for pod in pods if not finished(pod, owner)]


def living(owner: Owner, pods: Iterable[Pod]) -> list[Pod]:
    """Those of them that are not on their way out."""
    return [pod for pod in awaited(owner, pods) if pod.metadata.deletion_timestamp is None]


def _unknown(
    decision: Decision, pod: Pod, expected: ExpectedProxy, world: ClusterSnapshot, connected: ConnectedProxies
) -> tuple[Reason, str]:
    proxy = live_proxy(pod) or "its proxy"
    revision = decision.revision
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
