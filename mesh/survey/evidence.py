"""The evidence of a cause, as the cluster reports it, and the facts that advice names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.k8s.objects import Condition, ContainerState, ContainerStatus, DisruptionBudget, Metadata, Pod
from mesh.maintenance_windows import declared_windows
from mesh.survey.assessment import Assessment
from mesh.survey.finding import NO_FACTS, Facts
from mesh.survey.pod_class import live_proxy
from mesh.survey.reasons import Reason
from mesh.text import one_line, rfc3339
from mesh.wellknown import INJECTION_LABELS

#: Most lines of evidence, and most characters of each.
EVIDENCE_LINES, EVIDENCE_LIMIT = 6, 300
#: Most Secrets that are named, and most characters of a name or an image.
SECRETS_NAMED, FACT_LIMIT = 5, 253
#: Most lines about containers: a Pod may have many with the same trouble.
_CONTAINER_LINES = 3
#: Most characters of a message that are searched.
_SEARCH_LIMIT = 10_000

#: Waiting reasons of a container that is about to start.
_STARTING = frozenset({"", "PodInitializing", "ContainerCreating"})
#: Waiting reasons of a container whose image cannot be pulled. Source: k8s.io/kubernetes/pkg/kubelet/images/types.go.
_IMAGE_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
    | {"RegistryUnavailable", "SignatureValidationFailed"}
)
#: Type and status of conditions that show trouble. Progressing is Unknown for Deployments that are paused.
_TROUBLE_CONDITIONS = frozenset(
    {("Progressing", "False"), ("Progressing", "Unknown"), ("Available", "False"), ("ReplicaFailure", "True")}
    | {("InvalidSpec", "True")}
)
#: Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins/noderesources/fit.go.
_MISSING_RESOURCES = re.compile(r"\bInsufficient ([A-Za-z0-9][A-Za-z0-9./_-]*[A-Za-z0-9])|\bToo many (pods)")
#: Source: k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go.
_QUOTA = re.compile(r"exceeded quota: ([a-z0-9][a-z0-9.-]*)")

_UPDATE_STRATEGY_REASONS = frozenset({Reason.ON_DELETE, Reason.PARTITIONED})
_INJECTION_REASONS = frozenset({Reason.WOULD_LOSE_SIDECAR, Reason.UNKNOWN_REVISION, Reason.SIDECAR_MISSING})
_UNANSWERED_REASONS = frozenset({Reason.UNKNOWN_REVISION, Reason.UNKNOWN_PROXY})
_PROXY_REASONS = frozenset({Reason.IMAGE_REWRITTEN, Reason.ROLLOUT_TIMED_OUT})
_WINDOW_REASONS = frozenset({Reason.WINDOW_INVALID, Reason.WINDOW_NEVER_OPENS})
_BUDGET_REASONS = frozenset({Reason.DISRUPTION_BUDGET, Reason.ROLLOUT_TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Evidence:
    """At most `EVIDENCE_LINES` lines, the most telling ones first, and the facts."""

    lines: tuple[str, ...]
    facts: Facts


NO_EVIDENCE = Evidence((), NO_FACTS)


def evidence_of(assessment: Assessment, reason: Reason | None) -> Evidence:
    """Returns what the cluster itself says about a workload with this reason.

    Of Pods that are Ready or being deleted, only what mesh.survey.interning keeps of them is read.
    """
    worst = assessment.worst_pod
    budget = _tightest_budget(assessment, reason)
    lines = [
        *_injection_lines(assessment, reason),
        *_workload_lines(assessment, reason),
        *(_proxy_lines(assessment.unfinished_pods, assessment.expected) if reason in _PROXY_REASONS else ()),
        *_budget_lines(budget),
    ]
    if worst is not None:
        event = assessment.snapshot.pod_events.get(worst[0].metadata.uid)
        lines[:0] = [] if reason in _UPDATE_STRATEGY_REASONS else _pod_lines(worst[0], event)
    evidence = tuple(one_line(line, EVIDENCE_LIMIT) for line in lines[:EVIDENCE_LINES])
    return Evidence(evidence, _facts(assessment, worst[0] if worst else None, budget))


def _pod_lines(pod: Pod, event: str | None) -> Iterator[str]:
    metadata, status = pod.metadata, pod.status
    where = f"Pod {metadata.name}" + (f" on node {pod.spec.node_name}" if pod.spec.node_name else "")
    if metadata.deletion_timestamp is not None:
        finalizers = ", ".join(metadata.finalizers or ()) or "none"
        yield f"{where}: should have been deleted by {rfc3339(metadata.deletion_timestamp)}, finalizers: {finalizers}"
        return
    # The message of an Event stands in the status as well, see mesh.survey.pod_rules.with_event_message.
    own = "" if status.message == event else status.message
    yield f"{where}: {_joined(f'phase {status.phase}', status.reason, own)}"
    if (scheduled := _unscheduled(pod)) is not None:
        yield f"scheduler: {_joined(scheduled.reason, scheduled.message)}"
    yield from islice(
        (line for container in _statuses(pod) for line in _container_lines(pod, container)), _CONTAINER_LINES
    )
    if event is not None:
        yield f"event: {event}"
    ready = pod.condition("Ready")
    if ready is not None and ready.status != "True" and (ready.reason or ready.message):
        yield f"condition Ready is {ready.status}: {_joined(ready.reason, ready.message)}"


def _container_lines(pod: Pod, status: ContainerStatus) -> Iterator[str]:
    waiting, ended = _waiting(status), _ended(status)
    if waiting is not None:
        image = _image(pod, status)
        yield f"container {status.name}, image {image}: {_joined(waiting.reason, waiting.message)}"
    if ended is not None:
        end = _joined(f"exit code {ended.exit_code}", ended.reason, ended.message)
        yield f"container {status.name}, last termination: {end}"


def _injection_lines(assessment: Assessment, reason: Reason | None) -> Iterator[str]:
    owner, namespace, expected = assessment.owner, assessment.namespace, assessment.expected
    if reason in _UNANSWERED_REASONS and expected.problem is not None:
        yield f"injector: {expected.problem}"
    if reason in _INJECTION_REASONS:
        yield f"namespace {owner.namespace}: {_injection_labels(namespace.metadata if namespace else Metadata())}"
        yield f"Pod template: {_injection_labels(owner.template.metadata)}"
    if reason in _WINDOW_REASONS:
        yield from (f"maintenance window: {text}" for text in declared_windows(owner, namespace))


def _injection_labels(metadata: Metadata) -> str:
    """Returns the labels that ask for injection or against it, as text."""
    labels = metadata.labels or {}
    texts = [f"{name}={labels[name]}" for name in INJECTION_LABELS if name in labels]
    return f"labelled {', '.join(texts)}" if texts else "no injection label"


def _workload_lines(assessment: Assessment, reason: Reason | None) -> Iterator[str]:
    owner, pods = assessment.owner, assessment.unfinished_pods
    if reason is Reason.STANDALONE_POD:
        yield f"Pod {owner.name} has no controller"
    elif reason is Reason.UNSUPPORTED_OWNER and pods and (maker := pods[0].metadata.controller()) is not None:
        yield f"Pod {pods[0].metadata.name} is controlled by {maker.kind} {maker.name} of {maker.api_version}"
    elif reason is Reason.JOB_POD and owner.direct is not None:
        active = owner.direct.status.active
        yield f"Job {owner.direct.metadata.name}: {active} {'Pod' if active == 1 else 'Pods'} active"
    rollout = assessment.rollout
    if owner.workload is None or rollout is None or owner.kind in ("Job", "CronJob"):
        return
    for condition in owner.workload.status.conditions or ():
        if (condition.type, condition.status) in _TROUBLE_CONDITIONS:
            yield f"condition {condition.type} is {condition.status}: {_joined(condition.reason, condition.message)}"
    strategy = owner.workload.spec.update_strategy
    if reason in _UPDATE_STRATEGY_REASONS and strategy is not None:
        part = strategy.rolling_update.partition if strategy.rolling_update else None
        yield f"update strategy {strategy.type}" + (f", partition {part}" if part else "") + f": {rollout.message}"
    elif not rollout.complete:
        yield f"rollout: {rollout.message}"


def _proxy_lines(pods: Sequence[Pod], expected: ExpectedProxy) -> Iterator[str]:
    live = sorted({image for pod in pods if (image := live_proxy(pod)) is not None})
    yield f"expected proxy: {expected}"
    yield f"live proxies: {', '.join(live) or 'no sidecar'}"


def _budget_lines(budget: DisruptionBudget | None) -> Iterator[str]:
    if budget is not None:
        status = budget.status
        yield (
            f"PodDisruptionBudget {budget.metadata.name}: {status.current_healthy} of {status.expected_pods} Pods are "
            f"healthy, {status.desired_healthy} wanted, {status.disruptions_allowed} disruptions allowed"
        )


def _tightest_budget(assessment: Assessment, reason: Reason | None) -> DisruptionBudget | None:
    """The tightest of the budgets of its Pods, where one may be the cause."""
    if reason not in _BUDGET_REASONS:
        return None
    budgets = [budget for budget in assessment.budgets if budget.selects(assessment.unfinished_pods)]
    if reason is Reason.ROLLOUT_TIMED_OUT:
        budgets = [budget for budget in budgets if not budget.status.disruptions_allowed]
    return min(budgets, key=lambda budget: budget.status.expected_pods - budget.status.desired_healthy, default=None)


def _facts(assessment: Assessment, pod: Pod | None, budget: DisruptionBudget | None) -> Facts:
    owner, rollout = assessment.owner, assessment.rollout
    refused = rollout.refused if rollout is not None else None
    quota = _QUOTA.search((refused or "")[:_SEARCH_LIMIT])
    made = owner.direct if owner.direct is not owner.workload else None
    known = {
        "budget": budget.metadata.name if budget is not None else "",
        "quota": quota[1] if quota else "",
        "direct": f"{made.kind.lower()}/{made.metadata.name}" if made is not None else "",
    }
    if pod is not None and pod.metadata.deletion_timestamp is not None:
        known["node"] = pod.spec.node_name
    elif pod is not None:
        known |= _trouble_facts(pod)
    scheduled = _unscheduled(pod) if pod is not None else None
    short = _missing_resources(scheduled) if scheduled is not None else ""
    texts = {name: one_line(text, FACT_LIMIT) for name, text in (known | {"resource": short}).items()}
    references = (pod.spec.image_pull_secrets if pod is not None and texts.get("image") else None) or ()
    secrets = tuple(one_line(secret.name, FACT_LIMIT) for secret in references[:SECRETS_NAMED] if secret.name)
    return Facts(secrets=secrets, unscheduled=scheduled is not None, **texts)


def _trouble_facts(pod: Pod) -> dict[str, str]:
    """Returns node, container and image of a Pod that is not Ready."""
    statuses = _statuses(pod)
    first = next((status for status in statuses if _waiting(status) is not None), None)
    first = first or next((status for status in statuses if _ended(status) is not None and not status.ready), None)
    waiting = _waiting(first) if first is not None else None
    return {
        "node": pod.spec.node_name,
        "container": first.name if first is not None else "",
        "image": _image(pod, first)
        if first is not None and waiting is not None and waiting.reason in _IMAGE_PULL_REASONS
        else "",
    }


def _statuses(pod: Pod) -> tuple[ContainerStatus, ...]:
    return (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ()))


def _waiting(status: ContainerStatus) -> ContainerState | None:
    """What the container waits for, None while it is about to start."""
    waiting = status.state.waiting if status.state else None
    return waiting if waiting is not None and waiting.reason not in _STARTING else None


def _ended(status: ContainerStatus) -> ContainerState | None:
    """How the container ended, now or the last time, None where it succeeded."""
    for states in (status.state, status.last_state):
        if states is not None and states.terminated is not None and states.terminated.exit_code:
            return states.terminated
    return None


def _image(pod: Pod, status: ContainerStatus) -> str:
    containers = (*(pod.spec.init_containers or ()), *pod.spec.containers)
    return next((container.image for container in containers if container.name == status.name), status.image)


def _unscheduled(pod: Pod) -> Condition | None:
    condition = pod.condition("PodScheduled")
    leaving = pod.metadata.deletion_timestamp is not None
    return condition if condition is not None and condition.status == "False" and not leaving else None


def _missing_resources(scheduled: Condition) -> str:
    matches = _MISSING_RESOURCES.findall(scheduled.message[:_SEARCH_LIMIT])
    return ", ".join(dict.fromkeys(resource or pods for resource, pods in matches))


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)
