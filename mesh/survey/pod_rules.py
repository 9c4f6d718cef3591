"""Rules about one Pod: what keeps it from being Ready, in the words of its own status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from mesh.k8s.objects import ContainerStatus, Pod
from mesh.survey.reasons import Cause, Reason
from mesh.text import one_line

#: How long after its deletion time a Pod counts as stuck.
STUCK_AFTER = timedelta(minutes=5)
_NOT_STARTED = "its containers have not started"
_NO_REASON = "no reason given"
#: Waiting reasons of a container that is about to start.
_STARTING = ("", "PodInitializing", "ContainerCreating")
_PRECEDENCE = {reason: place for place, reason in enumerate(Reason)}


def pod_cause(pod: Pod, at: datetime) -> Cause | None:
    """Returns what is wrong with a Pod, None when it is Ready or being deleted in time."""
    if pod.metadata.deletion_timestamp is not None:
        return stuck_terminating(pod, at)
    for rule in POD_RULES:
        cause = rule(pod)
        if cause is not None:
            return cause
    return None


def most_severe(pods: Iterable[Pod], at: datetime) -> tuple[Pod, Cause] | None:
    """Returns the Pod whose cause comes first among the reasons, and the cause; None when all Pods are Ready."""
    causes = [(pod, cause) for pod in pods if (cause := pod_cause(pod, at)) is not None]
    return min(causes, key=lambda pod_and_cause: _PRECEDENCE[pod_and_cause[1].reason], default=None)


def needs_events(pod: Pod, at: datetime) -> bool:
    """Whether a Pod is not Ready and its status does not say why: its latest Events may."""
    cause = pod_cause(pod, at)
    if cause is None or pod.status.message or cause.reason not in (Reason.POD_PENDING, Reason.NOT_READY):
        return False
    return cause.reason is Reason.NOT_READY or (cause.detail or "").endswith(_NOT_STARTED)


def with_event_message(pod: Pod, message: str | None) -> Pod:
    """Returns the Pod with the message of its latest Event as the message of its status, if that has none."""
    if message is None or pod.status.message:
        return pod
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, message=message))


def stuck_terminating(pod: Pod, at: datetime) -> Cause | None:
    """The Pod should have been deleted some minutes ago."""
    deleted = pod.metadata.deletion_timestamp
    if deleted is None or at - deleted <= STUCK_AFTER:
        return None
    return _cause(Reason.STUCK_TERMINATING, pod, f"should have been deleted by {deleted:%Y-%m-%dT%H:%MZ}")


def pod_unknown(pod: Pod) -> Cause | None:
    """The node of the Pod does not report."""
    status, ready = pod.status, pod.condition("Ready")
    unsure = ready is not None and ready.status == "Unknown"
    if status.phase != "Unknown" and status.reason != "NodeLost" and not unsure:
        return None
    text = status.message or status.reason or (ready.message if ready else "") or "its node does not report"
    return _cause(Reason.POD_UNKNOWN, pod, f"Unknown: {text}")


def pod_pending(pod: Pod) -> Cause | None:
    """The Pod is not scheduled, or its containers have not started."""
    if pod.status.phase != "Pending":
        return None
    return _cause(Reason.POD_PENDING, pod, f"Pending: {_why_pending(pod)}")


def pod_failed(pod: Pod) -> Cause | None:
    """The Pod has ended without success."""
    if pod.status.phase != "Failed":
        return None
    text = pod.status.message or pod.status.reason or _exit_code(_container_statuses(pod))
    return _cause(Reason.POD_FAILED, pod, f"Failed: {text}")


def crash_looping(pod: Pod) -> Cause | None:
    """A container ends again and again."""
    for status in _container_statuses(pod):
        if status.state and status.state.waiting and status.state.waiting.reason == "CrashLoopBackOff":
            return _cause(Reason.CRASH_LOOPING, pod, f"container {status.name}: {_crash(status)}")
    return None


def not_ready(pod: Pod) -> Cause | None:
    """The condition Ready is not True."""
    ready = pod.condition("Ready")
    if ready is not None and ready.status == "True":
        return None
    text = pod.status.message or ((ready.message or ready.reason) if ready else "it has not been Ready yet")
    return _cause(Reason.NOT_READY, pod, f"not Ready: {text or _NO_REASON}")


#: About a Pod that is not being deleted. The first rule that holds names the cause.
POD_RULES: tuple[Callable[[Pod], Cause | None], ...] = (
    pod_unknown,
    pod_pending,
    pod_failed,
    crash_looping,
    not_ready,
)


def _cause(reason: Reason, pod: Pod, text: str) -> Cause:
    return Cause(reason, one_line(f"Pod {pod.metadata.name} {text}"))


def _container_statuses(pod: Pod) -> Sequence[ContainerStatus]:
    return (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ()))


def _why_pending(pod: Pod) -> str:
    scheduled = pod.condition("PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return scheduled.message or scheduled.reason
    for status in _container_statuses(pod):
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason not in _STARTING:
            return f"container {status.name}: {waiting.reason} {waiting.message}"
    return pod.status.message or pod.status.reason or _NOT_STARTED


def _crash(status: ContainerStatus) -> str:
    ended = status.last_state.terminated if status.last_state else None
    last = f", last exit code {ended.exit_code} {ended.reason}" if ended else ""
    return f"CrashLoopBackOff after {status.restart_count} restarts{last}"


def _exit_code(statuses: Sequence[ContainerStatus]) -> str:
    for status in statuses:
        ended = status.state.terminated if status.state else None
        if ended is not None and ended.exit_code:
            return f"container {status.name} ended with exit code {ended.exit_code} {ended.reason}"
    return _NO_REASON
