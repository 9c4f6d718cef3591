"""How the simulated kubelets behave: kwok Stage objects, controlled by annotations on a Pod.

Without an annotation a Pod runs and is Ready at once, and a Job's Pod completes after a second. With

    behaviour.local-mesh/pod: running | not-ready | crash-looping | image-pull-error | failed | unknown

it behaves as the value says until that changes (`running` is for a Job's Pod that never completes). Optional:

    behaviour.local-mesh/start-after: 20s        stays Pending for this time before it starts or fails; a Go duration
    behaviour.local-mesh/complete-after: 30s     how long a Job's Pod runs, instead of a second
    behaviour.local-mesh/terminate-after: 1h     how long a deleted Pod stays Terminating
    behaviour.local-mesh/reason, …/message       of `failed`, `unknown` and `crash-looping`
    behaviour.local-mesh/restarts: "12"          of `crash-looping`

To fix a Pod, replace it by one without the annotation (a template without it), or remove the annotation from the Pod
unless it is Failed, which is final in Kubernetes. Use `failed` on single Pods only: in the template of a Deployment it
makes the controller replace failed Pods endlessly. An unschedulable Pod needs no annotation: a nodeSelector that
matches no node leaves it to the real scheduler.
"""

from __future__ import annotations

from typing import Any

from deploy.local import pod_status as pod
from deploy.local.pod_status import PREFIX, pod_status

Stage = dict[str, Any]

_CONTAINERS_NOT_READY = "ContainersNotReady"
_NODE_STATUS_UNKNOWN = "NodeStatusUnknown"
_TROUBLE = ["not-ready", "crash-looping", "image-pull-error", "failed", "unknown"]
_BEHAVIOUR = f'.metadata.annotations["{PREFIX}/pod"]'
_PHASE = ".status.phase"
_READY = '.status.conditions[]? | select(.type == "Ready") | .status'
_NOT_READY_BECAUSE = '.status.conditions[]? | select(.type == "Ready") | .reason'
_WAITING = ".status.containerStatuses[]?.state.waiting.reason"
_DELETED = ".metadata.deletionTimestamp"
_OWNER = ".metadata.ownerReferences[]?.kind"

_NODE_STATUS = """
{{ $now := Now }}
phase: Running
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $.metadata.creationTimestamp | Quote }}
{{ end }}
"""


def all_stages() -> list[Stage]:
    """Every Stage of nodes and Pods; kwok uses these instead of its own."""
    return [*_node_stages(), *_healthy_pod_stages(), *_troubled_pod_stages()]


def _node_stages() -> list[Stage]:
    """Nodes are created whole (nodes.py); kwok adds their conditions and keeps those and the Lease fresh."""
    ten_minutes = {"durationMilliseconds": 600_000, "jitterDurationMilliseconds": 610_000}
    return [
        _stage("node-initialize", "Node", [_when(_READY, "NotIn", "True")], _NODE_STATUS),
        _stage("node-heartbeat", "Node", [_when(_READY, "In", "True")], _NODE_STATUS, delay=ten_minutes),
    ]


def _healthy_pod_stages() -> list[Stage]:
    healthy = [_when(_DELETED, "DoesNotExist"), _when(_BEHAVIOUR, "NotIn", *_TROUBLE)]
    startable = [*healthy, _when(_PHASE, "In", "Pending"), _when(_READY, "NotIn", "True")]
    # Only what a Stage below has broken: a status that a controller or a test has written stays.
    mendable = [
        *healthy,
        _when(_PHASE, "In", "Running", "Unknown"),
        _when(_NOT_READY_BECAUSE, "In", _CONTAINERS_NOT_READY, _NODE_STATUS_UNKNOWN),
    ]
    completable = [
        _when(_DELETED, "DoesNotExist"),
        _when(_PHASE, "In", "Running"),
        _when(_READY, "In", "True"),
        _when(_OWNER, "In", "Job"),
        _when(_BEHAVIOUR, "DoesNotExist"),
    ]
    running = pod_status("Running", ready="True", application=pod.RUNNING)
    succeeded = pod_status(
        "Succeeded", ready="False", reason="PodCompleted", application=pod.COMPLETED, sidecar=pod.COMPLETED
    )
    return [
        _stage("pod-ready", "Pod", startable, running, delay=_delay("start-after")),
        _stage("pod-mended", "Pod", mendable, running),
        _stage("pod-complete", "Pod", completable, succeeded, delay=_delay("complete-after", milliseconds=1000)),
        _stage("pod-delete", "Pod", [_when(_DELETED, "Exists")], None, delay=_delay("terminate-after")),
    ]


def _troubled_pod_stages() -> list[Stage]:
    return [
        _trouble(
            "not-ready",
            _when(_READY, "NotIn", "False"),
            pod_status("Running", ready="False", reason=_CONTAINERS_NOT_READY, application=pod.UNREADY),
        ),
        _trouble(
            "crash-looping",
            _when(_WAITING, "NotIn", "CrashLoopBackOff"),
            pod_status("Running", ready="False", reason=_CONTAINERS_NOT_READY, application=pod.CRASH_LOOPING),
        ),
        _trouble(
            "image-pull-error",
            _when(_WAITING, "NotIn", "ImagePullBackOff"),
            pod_status("Pending", ready="False", reason=_CONTAINERS_NOT_READY, application=pod.NOT_PULLED),
        ),
        _trouble(
            "failed",
            _when(_PHASE, "NotIn", "Failed"),
            pod_status(
                "Failed",
                ready="False",
                reason="PodFailed",
                application=pod.KILLED,
                sidecar=pod.KILLED,
                because=("Evicted", "The node was low on resource: memory."),
            ),
        ),
        _trouble(
            "unknown",
            _when(_PHASE, "NotIn", "Unknown"),
            pod_status(
                "Unknown",
                ready="Unknown",
                reason=_NODE_STATUS_UNKNOWN,
                application=pod.UNREADY,
                because=("NodeLost", "Node which was running the Pod is unresponsive."),
            ),
        ),
    ]


def _trouble(behaviour: str, until: Stage, status: str) -> Stage:
    """A Stage that is entered for a behaviour; `until` is false once it was, so that the Pod is then left alone."""
    selector = [*_unfinished(), _when(_BEHAVIOUR, "In", behaviour), until]
    return _stage(f"pod-{behaviour}", "Pod", selector, status, delay=_delay("start-after"))


def _unfinished() -> list[Stage]:
    return [_when(_DELETED, "DoesNotExist"), _when(_PHASE, "In", "Pending", "Running", "Unknown")]


def _stage(
    name: str, kind: str, selector: list[Stage], status: str | None, delay: dict[str, Any] | None = None
) -> Stage:
    """A Stage that patches the status, or deletes the object when `status` is None."""
    spec = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": selector},
        "delay": delay or {"durationMilliseconds": 0},
        "next": {"delete": True} if status is None else {"statusTemplate": status},
    }
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _when(key: str, operator: str, *values: str) -> Stage:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def _delay(annotation: str, milliseconds: int = 0) -> dict[str, Any]:
    source = {"expressionFrom": f'.metadata.annotations["{PREFIX}/{annotation}"]'}
    return {"durationMilliseconds": milliseconds, "durationFrom": source}
