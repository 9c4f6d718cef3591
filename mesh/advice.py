"""What a person can do about an item: one paragraph and commands to paste. Data, one entry per reason."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from mesh.causes import Reason
from mesh.owners import ARGO_ROLLOUT


@dataclass(frozen=True, slots=True)
class Advice:
    """`next_step` is a paragraph; `commands` can be pasted as they are."""

    next_step: str
    commands: tuple[str, ...]


_NOT_IN_KINDS = re.compile(r"[^a-z0-9.-]")

_LOOK = "kubectl -n {namespace} describe {kind}/{name}"
_ROLL = "kubectl -n {namespace} rollout restart {kind}/{name}"
_RESUME = "kubectl -n {namespace} rollout resume {kind}/{name}"
_STATUS = "kubectl -n {namespace} rollout status {kind}/{name}"
_UNDO = "kubectl -n {namespace} rollout undo {kind}/{name}"
#: `kubectl rollout` knows no Argo Rollouts; their own plug-in takes flags only after its name, and names after `--`.
_OF_ARGO_ROLLOUTS = {
    _ROLL: "kubectl argo rollouts -n {namespace} restart -- {name}",
    _RESUME: "kubectl argo rollouts -n {namespace} promote -- {name}",
    _STATUS: "kubectl argo rollouts -n {namespace} get rollout -- {name}",
    _UNDO: "kubectl argo rollouts -n {namespace} undo -- {name}",
}

_TABLE: dict[Reason, tuple[str, tuple[str, ...]]] = {
    Reason.STANDALONE_POD: (
        (
            "Nothing would make this Pod anew if it were deleted. Save it, delete it and create it again; or give it a "
            "controller. The item closes when the Pod runs the expected proxy or is gone."
        ),
        (
            "kubectl -n {namespace} get pod/{name} -o yaml > {name}.yaml",
            "kubectl -n {namespace} delete pod/{name}",
            "kubectl -n {namespace} create -f {name}.yaml",
        ),
    ),
    Reason.JOB_POD: (
        (
            "Deleting the Pod of a Job may run its work twice. Wait for it to end: the item closes by itself. If it "
            "never ends, delete the Job and create it again."
        ),
        (_LOOK,),
    ),
    Reason.UNSUPPORTED_OWNER: (
        "This service does not know how to restart this kind of owner. Restart it by its own means.",
        ("kubectl -n {namespace} get pods -o wide",),
    ),
    Reason.ROLLOUT_PAUSED: (
        "Its owner paused the rollout, and nothing here resumes it. Once resumed, restart it.",
        (_RESUME, _ROLL),
    ),
    Reason.ON_DELETE: (
        (
            "Its update strategy is OnDelete: Pods are only made anew when somebody deletes them. Delete them one at a "
            "time, each after the one before is Ready."
        ),
        ("kubectl -n {namespace} delete pod {pod}",),
    ),
    Reason.PARTITIONED: (
        "Its partition keeps the lower Pods on the old template. Lower the partition, or delete those Pods.",
        (_LOOK,),
    ),
    Reason.WOULD_LOSE_SIDECAR: (
        (
            "A new Pod would get no sidecar and drop out of the mesh. Label the namespace or the template for "
            "injection first, or restart it if leaving the mesh is meant."
        ),
        ("kubectl get namespace {namespace} --show-labels", _LOOK),
    ),
    Reason.UNKNOWN_PROXY: (
        (
            "Whether it runs the proxy that it ought to cannot be told: the injector did not answer for it, or its "
            "image names no version and no istiod tells which one is connected. Check istiod and the image's tag, "
            "then survey again."
        ),
        ("kubectl -n istio-system get pods -l app=istiod", "kyma-upgrade doctor", _LOOK),
    ),
    Reason.SIDECAR_MISSING: (
        (
            "It was made without a sidecar though it would get one now. Restart it if it belongs into the mesh, or "
            "exclude it from injection."
        ),
        (_ROLL,),
    ),
    Reason.IMAGE_REWRITTEN: (
        (
            "It was restarted, and its new Pods still do not run the expected proxy: something rewrites the image. "
            "Look for other admission webhooks and policies."
        ),
        ("kubectl get mutatingwebhookconfigurations", _LOOK),
    ),
    Reason.POD_PENDING: (
        (
            "Its Pods cannot start, so a restart would not help. Mend what the cause names; a Pod made after that has "
            "the expected proxy, and the item closes."
        ),
        (_LOOK, "kubectl -n {namespace} describe pod {pod}"),
    ),
    Reason.CRASH_LOOPING: (
        (
            "Its containers crash, so a restart would not help. Mend the crash; a Pod made after that has the expected "
            "proxy, and the item closes."
        ),
        ("kubectl -n {namespace} logs {pod} --all-containers --previous", "kubectl -n {namespace} describe pod {pod}"),
    ),
    Reason.POD_UNKNOWN: (
        (
            "The node of this Pod does not report. Bring the node back or remove it; then the Pod is made anew or can "
            "be deleted."
        ),
        ("kubectl get nodes", "kubectl -n {namespace} get pod {pod} -o wide"),
    ),
    Reason.DISRUPTION_BUDGET: (
        (
            "A restart would take it below its PodDisruptionBudget, and waiting cannot help. Allow a disruption, add "
            "replicas, or let the rollout surge; then restart it."
        ),
        ("kubectl -n {namespace} get poddisruptionbudgets", _ROLL),
    ),
    Reason.QUOTA_EXCEEDED: (
        (
            "A ResourceQuota of its namespace leaves no room for the Pods of a rollout. Raise it, or let the rollout "
            "take a Pod away first (maxUnavailable); then restart it."
        ),
        ("kubectl -n {namespace} describe resourcequota", _ROLL),
    ),
    Reason.WINDOW_INVALID: (
        (
            "Its maintenance window cannot be read, so nobody knows when it may be restarted. Mend the annotation "
            "restarter.istio-operator.kyma-project.io/maintenance-window on the workload or its namespace, then "
            "restart it inside the window."
        ),
        ("kubectl describe namespace {namespace}", _LOOK, _ROLL),
    ),
    Reason.WINDOW_NEVER_OPENS: (
        (
            "The maintenance windows of policy, namespace and workload are never open together. Change one of them, "
            "then restart it inside its window."
        ),
        ("kubectl describe namespace {namespace}", _LOOK, _ROLL),
    ),
    Reason.ROLLOUT_FAILING: (
        "Its last rollout failed before this upgrade. Mend or undo it; a finished rollout has the expected proxy.",
        (_STATUS, _UNDO),
    ),
    Reason.ROLLOUT_TIMED_OUT: (
        "It was restarted, and its new Pods do not become ready. The old ones that are left still serve.",
        (_STATUS, "kubectl -n {namespace} get pods"),
    ),
    Reason.INJECTION_FAILED: (
        (
            "It was restarted, and its new Pods did not get the expected proxy. Check istiod and the webhooks, then "
            "restart it."
        ),
        ("kubectl get mutatingwebhookconfigurations", _ROLL),
    ),
    Reason.RESTART_REVERTED: (
        (
            "Another manager took the restart off again. Tell it to leave the template's annotation "
            "kubectl.kubernetes.io/restartedAt alone (of an Argo Rollout: spec.restartAt), then restart it."
        ),
        ("kubectl -n {namespace} get {kind}/{name} -o yaml --show-managed-fields", _ROLL),
    ),
    Reason.GATEWAY_NOT_UPGRADED: (
        (
            "No injector made this gateway, so its own owner brings its proxy: the chart or installation that it came "
            "with, or istiod for a Gateway of the Gateway API. Upgrade it there; the item closes when its Pods run "
            "the version of their revision."
        ),
        (_LOOK, "kubectl -n {namespace} get {kind}/{name} -o yaml --show-managed-fields"),
    ),
}

_ELSE = (
    "Mend what the cause names, then restart it; the item closes when its Pods run the expected proxy.",
    (_LOOK, "kubectl -n {namespace} get pods"),
)


def advise(reason: Reason | None, namespace: str, kind: str, name: str, pods: tuple[str, ...]) -> Advice:
    """The advice for one workload; names are quoted for a shell.

    Kinds and names of owners are what anybody wrote into a reference: nothing of them may become a command or, at
    the start of a word, an option.
    """
    paragraph, commands = _TABLE.get(reason, _ELSE) if reason else _ELSE
    if kind == ARGO_ROLLOUT:
        commands = tuple(_OF_ARGO_ROLLOUTS.get(command, command) for command in commands)
    values = {
        "namespace": shlex.quote(namespace),
        "kind": _NOT_IN_KINDS.sub("", kind.lower()).lstrip("-.") or "workload",
        "name": shlex.quote(name),
        "pod": shlex.quote(pods[0]) if pods else "POD",
    }
    return Advice(paragraph, tuple(command.format(**values) for command in commands))
