"""Advice for each reason: paragraphs, commands, and how the item closes. Data; `advice` fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mesh.k8s.owners import ARGO_ROLLOUT
from mesh.k8s.rollout import RESTARTABLE_KINDS
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason


@dataclass(frozen=True, slots=True)
class Entry:
    """Where it fits: `facts` of mesh.survey.finding that must be known, and `kinds` of which the workload must be one.

    In braces stand the workload, and facts by their names. A command in which one is not known is left out; with
    `{each}` it is there once for each Pod, in the order in which to take them.
    """

    next_step: str
    commands: tuple[str, ...]
    closes: str
    facts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def fits(self, seen: Finding) -> bool:
        """Whether it is about such a workload."""
        known = all(getattr(seen.facts, name) for name in self.facts)
        return known and (not self.kinds or seen.kind in self.kinds)


_CURRENT = "The item closes when its Pods run the expected proxy, or are gone."
READY = "The item closes when its Pods run the expected proxy and are Ready, or are gone."
_TOLD = "The item closes when the proxy of its Pods is known and as expected, or they are gone."

_LOOK = "kubectl -n {namespace} describe {kind}/{name}"
_WHOLE = "kubectl -n {namespace} get {kind}/{name} -o yaml --show-managed-fields"
_POD = "kubectl -n {namespace} describe pod/{pod}"
_PODS = "kubectl -n {namespace} get pods -o wide"
_ROLL = "kubectl -n {namespace} rollout restart {kind}/{name}"
_RESUME = "kubectl -n {namespace} rollout resume {kind}/{name}"
_STATUS = "kubectl -n {namespace} rollout status {kind}/{name} --timeout=1m"
_UNDO = "kubectl -n {namespace} rollout undo {kind}/{name}"
_SPACE = "kubectl describe namespace/{namespace}"
_WEBHOOKS = "kubectl get mutatingwebhookconfigurations"
_ISTIODS = "kubectl -n istio-system get pods -l app=istiod --show-labels"
_DOCTOR = "kyma-upgrade doctor"
#: Restarts by the right means, and verifies.
_RETRY = "kyma-upgrade queue retry {item}"

_PATCH_ARGO = "kubectl -n {namespace} patch {kind}/{name} --type merge"
#: `kubectl rollout` knows no Argo Rollouts. Source: argoproj/argo-rollouts, pkg/kubectl-argo-rollouts/cmd: restart,
#: promote. There is no such patch for `undo`.
OF_ARGO_ROLLOUTS: Mapping[str, tuple[str, ...]] = {
    _ROLL: (_PATCH_ARGO + ' -p "{{\\"spec\\":{{\\"restartAt\\":\\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\\"}}}}"',),
    _RESUME: (
        _PATCH_ARGO + ' -p \'{{"spec":{{"paused":false}}}}\'',
        _PATCH_ARGO + ' --subresource=status -p \'{{"status":{{"pauseConditions":null}}}}\'',
    ),
    _STATUS: ("kubectl -n {namespace} get {kind}/{name} -o 'jsonpath={{.status.phase}}: {{.status.message}}'",),
    _UNDO: (),
}

#: What only the API server sets, and the status, which comes last.
_SET_BY_SERVER = r"-e '/^  (uid|resourceVersion|creationTimestamp|generation|nodeName):/d' -e '/^status:/,$d'"
_SAVE_POD = f"kubectl -n {{namespace}} get pod/{{name}} -o yaml | sed -E {_SET_BY_SERVER} > {{file}}"
#: With the labels by which a Job finds its Pods it would not be taken again: k8s.io/kubernetes/pkg/registry/batch/job.
_SAVE_JOB = (
    f"kubectl -n {{namespace}} get job/{{name}} -o yaml | sed -E {_SET_BY_SERVER} -e '/controller-uid: /d' > {{file}}"
)
_DELETE_SAVED = "test -s {file} && kubectl -n {namespace} delete {kind}/{name}"
_CREATE_SAVED = "kubectl -n {namespace} create -f {file}"

#: The one that comes has the same name. Told apart by UID: kubectl, waiting for the end of the old one, may miss it,
#: and then waits for that of the new one.
_REPLACE_EACH = (
    "old=$(kubectl -n {namespace} get pod/{each} -o 'jsonpath={{.metadata.uid}}')"
    " && kubectl -n {namespace} delete pod/{each} --wait=false && until kubectl -n {namespace} get pod/{each}"
    " -o 'jsonpath={{.metadata.uid}} {{.status.conditions[?(@.type==\"Ready\")].status}}'"
    ' | grep -v "$old" | grep -q True; do sleep 2; done'
)
#: The one that comes has another name.
_REPLACE_ON_NODE = (
    "kubectl -n {namespace} delete pod/{each} && sleep 5 && until kubectl -n {namespace} get {kind}/{name}"
    " -o 'jsonpath={{.status.desiredNumberScheduled}} {{.status.numberReady}}'"
    " | awk '{{ ready = $1 == $2 }} END {{ exit !ready }}'; do sleep 2; done"
)
_REQUESTS = (
    "kubectl -n {namespace} get pod/{pod}"
    " -o 'custom-columns=CONTAINERS:.spec.containers[*].name,REQUESTS:.spec.containers[*].resources.requests'"
)
_FREE = "kubectl describe nodes | sed -n -e '/^Name:/p' -e '/^Allocated resources:/,/^Events:/p'"

#: For each reason the first that fits; the last always does.
TABLE: Mapping[Reason, tuple[Entry, ...]] = {
    Reason.STANDALONE_POD: (
        Entry(
            (
                "Nothing would make this Pod anew if it were deleted. Save it without what only the API server sets, "
                "edit the file where something else is to change, delete the Pod and create it again; the injector "
                "takes the old proxy out. Or give it a controller."
            ),
            (_SAVE_POD, _DELETE_SAVED, _CREATE_SAVED),
            "The item closes when the Pod runs the expected proxy, or is gone.",
        ),
    ),
    Reason.JOB_POD: (
        Entry(
            (
                "Deleting the Pod of a Job may run its work twice. Wait for {direct} to end: the next run of the "
                "CronJob has the expected proxy. If it never ends, delete it; it is created again from the CronJob, "
                "and its work begins anew."
            ),
            (
                "kubectl -n {namespace} wait --for=condition=Complete {direct} --timeout=1h",
                "kubectl -n {namespace} delete {direct}",
                "kubectl -n {namespace} create {as_words} --from=cronjob/{name}",
            ),
            "The item closes when the Job has ended, or its Pods run the expected proxy.",
            facts=("direct",),
            kinds=("CronJob",),
        ),
        Entry(
            (
                "Deleting the Pod of a Job may run its work twice. Wait for it to end. If it never ends, save the Job "
                "without what only the API server sets, delete it and create it again: its work begins anew."
            ),
            (
                "kubectl -n {namespace} wait --for=condition=Complete job/{name} --timeout=1h",
                _SAVE_JOB,
                _DELETE_SAVED,
                _CREATE_SAVED,
            ),
            "The item closes when the Job has ended, or its Pods run the expected proxy.",
            kinds=("Job",),
        ),
        Entry(
            "Deleting the Pod of a Job may run its work twice. Wait for it to end: the next run has the new proxy.",
            (_LOOK, _PODS),
            "The item closes when the Job has ended, or its Pods run the expected proxy.",
        ),
    ),
    Reason.UNSUPPORTED_OWNER: (
        Entry(
            (
                "This service cannot read the template of this Rollout, or the Rollout itself, so it does not restart "
                "it. Restart it yourself: its controller makes every Pod anew that is older than the time written."
            ),
            (_LOOK, _ROLL),
            _CURRENT,
            kinds=(ARGO_ROLLOUT,),
        ),
        Entry(
            (
                "This service may not read the owner of these Pods, or it does not exist any more. Grant the right "
                "(kyma-upgrade doctor tells which) or restart it yourself; Pods without their owner must be deleted."
            ),
            (_DOCTOR, _LOOK, _ROLL),
            _CURRENT,
            kinds=RESTARTABLE_KINDS,
        ),
        Entry(
            "This service does not know how to restart this kind of owner. Restart it by its own means.",
            (_LOOK, _PODS),
            _CURRENT,
        ),
    ),
    Reason.ROLLOUT_PAUSED: (
        Entry(
            (
                "Its owner paused the rollout, and nothing here resumes it. Ask why; once it is resumed, have it "
                "restarted."
            ),
            (_RESUME, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.ON_DELETE: (
        Entry(
            (
                "Its update strategy is OnDelete: a node's Pod is only made anew when somebody deletes it. Delete "
                "them one at a time, each when all others are Ready."
            ),
            (_REPLACE_ON_NODE, _LOOK),
            _CURRENT,
            kinds=("DaemonSet",),
        ),
        Entry(
            (
                "Its update strategy is OnDelete: Pods are only made anew when somebody deletes them. Delete them one "
                "at a time, the highest ordinal first, each when the one before is Ready."
            ),
            (_REPLACE_EACH, _LOOK),
            _CURRENT,
        ),
    ),
    Reason.PARTITIONED: (
        Entry(
            (
                "Its partition keeps the lower Pods on the old template, and somebody may want that. Delete the Pods "
                "one at a time, the highest ordinal first: each comes back from the template it had, with the expected "
                "proxy. Or lower the partition and have it restarted."
            ),
            (_REPLACE_EACH, _LOOK),
            _CURRENT,
        ),
    ),
    Reason.WOULD_LOSE_SIDECAR: (
        Entry(
            (
                "A new Pod would get no sidecar and drop out of the mesh. Label the namespace or the template for "
                "injection, then have it restarted. If leaving the mesh is meant, restart it yourself."
            ),
            ("kubectl get namespace/{namespace} --show-labels", _LOOK, _RETRY),
            "The item closes when its Pods run the expected proxy, have no sidecar any more, or are gone.",
        ),
    ),
    Reason.UNKNOWN_REVISION: (
        Entry(
            (
                "Its namespace or template asks a revision of Istio that has no injector any more: a new Pod would "
                "not come up. Label it for a revision or tag that is there, then have it restarted."
            ),
            (
                "kubectl get namespace/{namespace} --show-labels",
                _ISTIODS,
                "kubectl get mutatingwebhookconfigurations -L istio.io/rev,istio.io/tag",
                _LOOK,
                _RETRY,
            ),
            _CURRENT,
        ),
    ),
    Reason.UNKNOWN_PROXY: (
        Entry(
            (
                "Whether it runs the proxy that it ought to cannot be told: the injector did not answer for it, or its "
                "image names no version and no istiod tells which one is connected. Check istiod and the image's tag; "
                "where the proxy turns out to be an old one, have it restarted."
            ),
            (_ISTIODS, _DOCTOR, _LOOK, _RETRY),
            _TOLD,
        ),
    ),
    Reason.SIDECAR_MISSING: (
        Entry(
            (
                "It was made without a sidecar though it would get one now. Have it restarted if it belongs into the "
                "mesh, or exclude it from injection with the label sidecar.istio.io/inject: false on its template."
            ),
            (_LOOK, _RETRY),
            "The item closes when its Pods run the expected proxy, would get no sidecar any more, or are gone.",
        ),
    ),
    Reason.IMAGE_REWRITTEN: (
        Entry(
            (
                "It was restarted, and its new Pods still do not run the expected proxy: something rewrites the image. "
                "Look for other admission webhooks and policies, mend them, then have it restarted."
            ),
            (_WEBHOOKS, _LOOK, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.STUCK_TERMINATING: (
        Entry(
            (
                "A Pod should be gone for more than five minutes and is not: a finalizer holds it, or its node {node} "
                "does not report. Have whoever set the finalizer take it off, or bring the node back. Force the "
                "deletion only if nothing of the Pod can run any more. If others still run the old "
                "proxy, have it restarted."
            ),
            (
                "kubectl get node/{node}",
                "kubectl -n {namespace} get pod/{pod} -o 'jsonpath={{.metadata.finalizers}}'",
                _LOOK,
                _RETRY,
            ),
            _CURRENT,
            facts=("node",),
        ),
        Entry(
            (
                "A Pod should be gone for more than five minutes and is not: a finalizer holds it, or its node does "
                "not report. Have whoever set the finalizer take it off, or bring the node back. If others still run "
                "the old proxy, have it restarted."
            ),
            (_PODS, "kubectl -n {namespace} get pod/{pod} -o 'jsonpath={{.metadata.finalizers}}'", _LOOK, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.POD_UNKNOWN: (
        Entry(
            (
                "The node {node} of its Pod does not report. Bring it back, or remove it and the Pod is made anew "
                "elsewhere. If the Pods still run the old proxy after that, have them restarted."
            ),
            ("kubectl describe node/{node}", _POD, _RETRY),
            _CURRENT,
            facts=("node",),
        ),
        Entry(
            (
                "The node of its Pod does not report. Bring it back, or remove it and the Pod is made anew elsewhere. "
                "If the Pods still run the old proxy after that, have them restarted."
            ),
            ("kubectl get nodes", "kubectl -n {namespace} get pod/{pod} -o wide", _LOOK, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.POD_PENDING: (
        Entry(
            (
                "No node has enough of what its Pod requests: {resource} is short. Lower the requests in its template, "
                "free or add nodes; Pods that then start with the old proxy are restarted by the last command."
            ),
            (_FREE, _REQUESTS, _RETRY),
            _CURRENT,
            facts=("unscheduled", "resource"),
        ),
        Entry(
            (
                "The scheduler finds no node for its Pod, and says why: taints, affinity, a node selector or a volume "
                "keep it off. Mend that; Pods that then start with the old proxy are restarted by the last command."
            ),
            (_POD, "kubectl get nodes --show-labels", _RETRY),
            _CURRENT,
            facts=("unscheduled",),
        ),
        Entry(
            (
                "The image {image} of container {container} cannot be pulled with {secrets}. Check that the image "
                "exists and that the Secret is there, of the right type, for this registry and still valid; mend the "
                "template or the Secret, then have it restarted."
            ),
            ("kubectl -n {namespace} get {as_secrets}", _POD, _RETRY),
            _CURRENT,
            facts=("image", "secrets"),
        ),
        Entry(
            (
                "The image {image} of container {container} cannot be pulled, and the Pod names no Secret to pull "
                "with. Check that the image exists and is public, or name a Secret (imagePullSecrets of the template "
                "or of its ServiceAccount); then have it restarted."
            ),
            ("kubectl -n {namespace} get secrets --field-selector type=kubernetes.io/dockerconfigjson", _POD, _RETRY),
            _CURRENT,
            facts=("image",),
        ),
        Entry(
            (
                "Its Pods cannot start, so a restart would not help yet. Mend what the cause names: a ConfigMap, a "
                "Secret, a volume. Pods that then start with the old proxy are restarted by the last command."
            ),
            (_LOOK, _POD, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.CRASH_LOOPING: (
        Entry(
            (
                "Container {container} crashes, so a restart would not help yet. Its last log says why; mend that, "
                "then have it restarted."
            ),
            ("kubectl -n {namespace} logs pod/{pod} --container={container} --previous", _POD, _RETRY),
            _CURRENT,
            facts=("container",),
        ),
        Entry(
            (
                "Its containers crash, so a restart would not help yet. Their last logs say why; mend that, then have "
                "it restarted."
            ),
            ("kubectl -n {namespace} logs pod/{pod} --all-containers --previous", _POD, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.POD_FAILED: (
        Entry(
            (
                "Its Pod has failed and none is there in its place. Mend what made it fail, delete the failed Pod, and "
                "have the workload restarted."
            ),
            ("kubectl -n {namespace} logs pod/{pod} --all-containers", _POD, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.NOT_READY: (
        Entry(
            (
                "Its Pods run and are not Ready, so a restart could take away what still serves. Find out why their "
                "readiness checks fail, mend that, then have it restarted."
            ),
            (_POD, "kubectl -n {namespace} logs pod/{pod} --all-containers --tail=50", _RETRY),
            _CURRENT,
        ),
    ),
    Reason.ROLLOUT_FAILING: (
        Entry(
            (
                "Its last rollout failed before this upgrade. Mend or abort it: a rollout that comes to its end has "
                "the expected proxy. Where it was taken back, have it restarted."
            ),
            (_STATUS, _LOOK, _RETRY),
            _CURRENT,
            kinds=(ARGO_ROLLOUT,),
        ),
        Entry(
            (
                "Its last rollout failed before this upgrade. Mend its template, or undo the rollout: one that comes "
                "to its end has the expected proxy. If none does, have it restarted."
            ),
            (_STATUS, _LOOK, _UNDO, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.DISRUPTION_BUDGET: (
        Entry(
            (
                "A restart would take it below its PodDisruptionBudget {budget}, and waiting cannot help. Allow a "
                "disruption, add replicas, or let the rollout surge; then have it restarted."
            ),
            ("kubectl -n {namespace} describe poddisruptionbudget/{budget}", _LOOK, _RETRY),
            _CURRENT,
            facts=("budget",),
        ),
        Entry(
            (
                "A restart would take it below its PodDisruptionBudget, and waiting cannot help. Allow a disruption, "
                "add replicas, or let the rollout surge; then have it restarted."
            ),
            ("kubectl -n {namespace} get poddisruptionbudgets", _LOOK, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.QUOTA_EXCEEDED: (
        Entry(
            (
                "The ResourceQuota {quota} leaves no room for the Pods of a rollout. Raise it, or let the rollout take "
                "a Pod away first (maxUnavailable); then have it restarted."
            ),
            ("kubectl -n {namespace} describe resourcequota/{quota}", _LOOK, _RETRY),
            READY,
            facts=("quota",),
        ),
        Entry(
            (
                "A ResourceQuota of its namespace leaves no room for the Pods of a rollout. Raise it, or let the "
                "rollout take a Pod away first (maxUnavailable); then have it restarted."
            ),
            ("kubectl -n {namespace} describe resourcequotas", _LOOK, _RETRY),
            READY,
        ),
    ),
    Reason.WINDOW_INVALID: (
        Entry(
            (
                "Its maintenance window cannot be read, so nobody knows when it may be restarted. Mend the annotation "
                "restarter.istio-operator.kyma-project.io/maintenance-window on the workload or its namespace, then "
                "have it restarted inside the window."
            ),
            (_SPACE, _LOOK, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.WINDOW_NEVER_OPENS: (
        Entry(
            (
                "The maintenance windows of policy, namespace and workload are never open together. Change one of "
                "them, then have it restarted inside its window."
            ),
            (_SPACE, _LOOK, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.ROLLOUT_TIMED_OUT: (
        Entry(
            (
                "It was restarted, and its new Pods do not become ready; the old ones that are left still serve. Find "
                "out what ails the new ones and mend it: the rollout goes on by itself, or has to be tried once more."
            ),
            (_STATUS, _PODS, _LOOK, _RETRY),
            READY,
        ),
    ),
    Reason.INJECTION_FAILED: (
        Entry(
            (
                "It was restarted, and its new Pods did not get the expected proxy. Check istiod, the webhooks and "
                "the admission policies, then have it restarted."
            ),
            (_ISTIODS, _WEBHOOKS, _LOOK, _RETRY),
            READY,
        ),
    ),
    Reason.RESTART_REVERTED: (
        Entry(
            (
                "Another manager took the restart off again. Tell it to leave spec.restartAt alone, then have the "
                "Rollout restarted."
            ),
            (_WHOLE, _RETRY),
            READY,
            kinds=(ARGO_ROLLOUT,),
        ),
        Entry(
            (
                "Another manager took the restart off again. Tell it to leave the template's annotation "
                "kubectl.kubernetes.io/restartedAt alone, then have it restarted."
            ),
            (_WHOLE, _RETRY),
            READY,
        ),
    ),
    Reason.GATEWAY_NOT_UPGRADED: (
        Entry(
            (
                "No injector made this gateway, so its own owner brings its proxy: the chart or installation that it "
                "came with, or istiod for a Gateway of the Gateway API. Upgrade it there."
            ),
            (_LOOK, _WHOLE),
            "The item closes when its Pods run the version of their revision, or are gone.",
        ),
    ),
}
