"""Advice for each reason: a paragraph, commands, and when the item closes. Data; `mesh.remediation.advice` fills it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mesh.k8s.kinds import ARGO_ROLLOUT, RESTARTABLE_KINDS
from mesh.survey.finding import Finding
from mesh.survey.reasons import Reason


@dataclass(frozen=True, slots=True)
class Entry:
    """Advice for workloads of these `kinds` (empty: any) whose `facts` (of `mesh.survey.finding.Facts`) are all known.

    Placeholders in braces name the workload and its facts. A command with an unknown fact is left out. A command with
    `{each}` is repeated for each Pod, in the order in which the Pods are to be handled.
    """

    next_step: str
    commands: tuple[str, ...]
    closes: str
    facts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def fits(self, seen: Finding) -> bool:
        """Returns whether the entry applies to this workload."""
        known = all(getattr(seen.facts, name) for name in self.facts)
        return known and (not self.kinds or seen.kind in self.kinds)


_CURRENT = "The item closes when the Pods of the workload run the expected proxy, or are gone."
CURRENT_AND_READY = "The item closes when the Pods of the workload run the expected proxy and are Ready, or are gone."
_KNOWN_AND_CURRENT = "The item closes when the proxy of the workload's Pods is known and as expected, or they are gone."

_DESCRIBE = "kubectl -n {namespace} describe {kind}/{name}"
_GET_YAML = "kubectl -n {namespace} get {kind}/{name} -o yaml --show-managed-fields"
_DESCRIBE_POD = "kubectl -n {namespace} describe pod/{pod}"
_GET_PODS = "kubectl -n {namespace} get pods -o wide"
_ROLLOUT_RESTART = "kubectl -n {namespace} rollout restart {kind}/{name}"
_ROLLOUT_RESUME = "kubectl -n {namespace} rollout resume {kind}/{name}"
_ROLLOUT_STATUS = "kubectl -n {namespace} rollout status {kind}/{name} --timeout=1m"
_ROLLOUT_UNDO = "kubectl -n {namespace} rollout undo {kind}/{name}"
_DESCRIBE_NAMESPACE = "kubectl describe namespace/{namespace}"
_WEBHOOKS = "kubectl get mutatingwebhookconfigurations"
_ISTIODS = "kubectl -n istio-system get pods -l app=istiod --show-labels"
_DOCTOR = "kyma-upgrade doctor"
#: Restarts the workload in the way its kind needs, and verifies the restart.
_RETRY = "kyma-upgrade queue retry {item}"

_PATCH_ARGO = "kubectl -n {namespace} patch {kind}/{name} --type merge"
#: `kubectl rollout` does not support Argo Rollouts. Source: argoproj/argo-rollouts, pkg/kubectl-argo-rollouts/cmd:
#: restart, promote. No such patch exists for `undo`.
OF_ARGO_ROLLOUTS: Mapping[str, tuple[str, ...]] = {
    _ROLLOUT_RESTART: (_PATCH_ARGO + ' -p "{{\\"spec\\":{{\\"restartAt\\":\\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\\"}}}}"',),
    _ROLLOUT_RESUME: (
        _PATCH_ARGO + ' -p \'{{"spec":{{"paused":false}}}}\'',
        _PATCH_ARGO + ' --subresource=status -p \'{{"status":{{"pauseConditions":null}}}}\'',
    ),
    _ROLLOUT_STATUS: ("kubectl -n {namespace} get {kind}/{name} -o 'jsonpath={{.status.phase}}: {{.status.message}}'",),
    _ROLLOUT_UNDO: (),
}

#: Deletes the fields that only the API server sets, and the status, which is the last section of the YAML.
_SET_BY_SERVER = r"-e '/^  (uid|resourceVersion|creationTimestamp|generation|nodeName):/d' -e '/^status:/,$d'"
_SAVE_POD = f"kubectl -n {{namespace}} get pod/{{name}} -o yaml | sed -E {_SET_BY_SERVER} > {{file}}"
#: The API server refuses a new Job with the controller-uid labels of the old one. Source: k8s.io/kubernetes,
#: pkg/registry/batch/job.
_SAVE_JOB = (
    f"kubectl -n {{namespace}} get job/{{name}} -o yaml | sed -E {_SET_BY_SERVER} -e '/controller-uid: /d' > {{file}}"
)
_DELETE_SAVED = "test -s {file} && kubectl -n {namespace} delete {kind}/{name}"
_CREATE_SAVED = "kubectl -n {namespace} create -f {file}"

#: The new Pod has the same name, so the command compares UIDs: `kubectl delete` without `--wait=false` can miss the
#: end of the old Pod and then waits for the end of the new one.
_REPLACE_EACH = (
    "old=$(kubectl -n {namespace} get pod/{each} -o 'jsonpath={{.metadata.uid}}')"
    " && kubectl -n {namespace} delete pod/{each} --wait=false && until kubectl -n {namespace} get pod/{each}"
    " -o 'jsonpath={{.metadata.uid}} {{.status.conditions[?(@.type==\"Ready\")].status}}' 2>/dev/null"
    ' | grep -v "$old" | grep -q True; do sleep 2; done'
)
#: The new Pod has another name.
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

#: For each reason: the first entry that fits is used. The last entry of a reason always fits.
TABLE: Mapping[Reason, tuple[Entry, ...]] = {
    Reason.STANDALONE_POD: (
        Entry(
            (
                "No controller recreates this Pod when it is deleted. Save the Pod without the fields that the API "
                "server sets. Edit the file if anything else must change. Then delete the Pod and create it from the "
                "file: the injector replaces the old proxy. To avoid this next time, put the Pod under a Deployment."
            ),
            (_SAVE_POD, _DELETE_SAVED, _CREATE_SAVED),
            "The item closes when the Pod runs the expected proxy, or is gone.",
        ),
    ),
    Reason.JOB_POD: (
        Entry(
            (
                "Deleting the Pod of a Job can run its work twice. Wait for {direct} to end: the next run of the "
                "CronJob gets the expected proxy. If the Job never ends, delete it and create it again from the "
                "CronJob. It then starts over."
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
                "Deleting the Pod of a Job can run its work twice. Wait for the Job to end. If it never ends, save the "
                "Job without the fields that the API server sets, delete it and create it from the file. It then "
                "starts over."
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
            (
                "Deleting the Pod of a Job can run its work twice. Wait for the Job to end: its next run gets the "
                "expected proxy."
            ),
            (_DESCRIBE, _GET_PODS),
            "The item closes when the Job has ended, or its Pods run the expected proxy.",
        ),
    ),
    Reason.UNSUPPORTED_OWNER: (
        Entry(
            (
                "kyma-upgrade cannot read this Rollout or its Pod template, so it does not restart it. Restart the "
                "Rollout yourself: its controller replaces every Pod that is older than spec.restartAt."
            ),
            (_DESCRIBE, _ROLLOUT_RESTART),
            _CURRENT,
            kinds=(ARGO_ROLLOUT,),
        ),
        Entry(
            (
                "The owner of these Pods does not exist any more, or kyma-upgrade is not allowed to read it. If a "
                "permission is missing, kyma-upgrade doctor names it: grant it. If the owner is gone, delete the Pods. "
                "Otherwise restart the workload yourself."
            ),
            (_DOCTOR, _DESCRIBE, _ROLLOUT_RESTART),
            _CURRENT,
            kinds=RESTARTABLE_KINDS,
        ),
        Entry(
            (
                "kyma-upgrade does not know how to restart this kind of owner. Restart it with the tools of its own "
                "controller."
            ),
            (_DESCRIBE, _GET_PODS),
            _CURRENT,
        ),
    ),
    Reason.ROLLOUT_PAUSED: (
        Entry(
            (
                "The rollout of this workload is paused, and kyma-upgrade never resumes it. Ask its owner why. Resume "
                "the rollout, then restart the workload."
            ),
            (_ROLLOUT_RESUME, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.ON_DELETE: (
        Entry(
            (
                "The update strategy is OnDelete: the Pod of a node is only recreated after it is deleted. Delete the "
                "Pods one at a time. Wait until all others are Ready before you delete the next one."
            ),
            (_DESCRIBE, _REPLACE_ON_NODE),
            _CURRENT,
            kinds=("DaemonSet",),
        ),
        Entry(
            (
                "The update strategy is OnDelete: a Pod is only recreated after it is deleted. Delete the Pods one at "
                "a time, the highest ordinal first. Wait until each one is Ready again before you delete the next."
            ),
            (_DESCRIBE, _REPLACE_EACH),
            _CURRENT,
        ),
    ),
    Reason.PARTITIONED: (
        Entry(
            (
                "The partition keeps the lower ordinals on the old template, perhaps on purpose. Delete the Pods one "
                "at a time, the highest ordinal first: each comes back from the template that it had, with the "
                "expected proxy. Or lower the partition and restart the workload."
            ),
            (_DESCRIBE, _REPLACE_EACH),
            _CURRENT,
        ),
    ),
    Reason.WOULD_LOSE_SIDECAR: (
        Entry(
            (
                "A new Pod would get no sidecar and would leave the mesh. If the workload belongs to the mesh, label "
                "its namespace or template for injection, then restart it. If it is meant to leave the mesh, restart "
                "it with kubectl."
            ),
            ("kubectl get namespace/{namespace} --show-labels", _DESCRIBE, _RETRY),
            "The item closes when the workload's Pods run the expected proxy, have no sidecar, or are gone.",
        ),
    ),
    Reason.UNKNOWN_REVISION: (
        Entry(
            (
                "The namespace or template asks for an Istio revision that has no injector: a new Pod would not start. "
                "Label it for a revision or tag that exists, then restart the workload."
            ),
            (
                "kubectl get namespace/{namespace} --show-labels",
                _ISTIODS,
                "kubectl get mutatingwebhookconfigurations -L istio.io/rev,istio.io/tag",
                _DESCRIBE,
                _RETRY,
            ),
            _CURRENT,
        ),
    ),
    Reason.UNKNOWN_PROXY: (
        Entry(
            (
                "It is not known whether these Pods run the expected proxy. Either the injector did not answer, or the "
                "image tag names no version and no istiod reports the connected one. Check istiod and the image tag. "
                "If the proxy is old, restart the workload."
            ),
            (_ISTIODS, _DOCTOR, _DESCRIBE, _RETRY),
            _KNOWN_AND_CURRENT,
        ),
    ),
    Reason.SIDECAR_MISSING: (
        Entry(
            (
                "These Pods were created without a sidecar, and a new Pod would get one. If the workload belongs to "
                "the mesh, restart it. If not, set the label sidecar.istio.io/inject: false on its template."
            ),
            (_DESCRIBE, _RETRY),
            "The item closes when the workload's Pods run the expected proxy, would get no sidecar, or are gone.",
        ),
    ),
    Reason.IMAGE_REWRITTEN: (
        Entry(
            (
                "The workload was restarted, and its new Pods still do not run the expected proxy: something rewrites "
                "the image. Check the other admission webhooks and policies. Fix the one that does it, then restart "
                "the workload."
            ),
            (_WEBHOOKS, _DESCRIBE, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.STUCK_TERMINATING: (
        Entry(
            (
                "A Pod has been terminating for more than five minutes: a finalizer blocks it, or its node {node} does "
                "not report. Ask the owner of the finalizer to remove it, or bring the node back. Force the deletion "
                "only if no container of the Pod can still run. If other Pods still run the old proxy, restart the "
                "workload."
            ),
            (
                "kubectl get node/{node}",
                "kubectl -n {namespace} get pod/{pod} -o 'jsonpath={{.metadata.finalizers}}'",
                _DESCRIBE,
                _RETRY,
            ),
            _CURRENT,
            facts=("node",),
        ),
        Entry(
            (
                "A Pod has been terminating for more than five minutes: a finalizer blocks it, or its node does not "
                "report. Ask the owner of the finalizer to remove it, or bring the node back. If other Pods still run "
                "the old proxy, restart the workload."
            ),
            (
                _GET_PODS,
                "kubectl -n {namespace} get pod/{pod} -o 'jsonpath={{.metadata.finalizers}}'",
                _DESCRIBE,
                _RETRY,
            ),
            _CURRENT,
        ),
    ),
    Reason.POD_UNKNOWN: (
        Entry(
            (
                "The node {node} of this Pod does not report. Bring the node back. Or remove it: the Pod is then "
                "recreated on another node. If the Pods still run the old proxy after that, restart the workload."
            ),
            ("kubectl describe node/{node}", _DESCRIBE_POD, _RETRY),
            _CURRENT,
            facts=("node",),
        ),
        Entry(
            (
                "The node of this Pod does not report. Bring the node back. Or remove it: the Pod is then recreated on "
                "another node. If the Pods still run the old proxy after that, restart the workload."
            ),
            ("kubectl get nodes", "kubectl -n {namespace} get pod/{pod} -o wide", _DESCRIBE, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.POD_PENDING: (
        Entry(
            (
                "No node has room for the requests of this Pod: {resource} is short. Lower the requests in the "
                "template, or free or add nodes. If the Pods then start with the old proxy, restart the workload."
            ),
            (_FREE, _REQUESTS, _RETRY),
            _CURRENT,
            facts=("unscheduled", "resource"),
        ),
        Entry(
            (
                "The scheduler finds no node for this Pod because of taints, affinity, a node selector or a volume; "
                "the Pod's events say which. Fix that. If the Pods then start with the old proxy, restart the "
                "workload."
            ),
            (_DESCRIBE_POD, "kubectl get nodes --show-labels", _RETRY),
            _CURRENT,
            facts=("unscheduled",),
        ),
        Entry(
            (
                "The image {image} of container {container} cannot be pulled with {secrets}. Check that the image "
                "exists. Check that the Secret exists, has the right type, is for this registry and is still valid. "
                "Fix the template or the Secret, then restart the workload."
            ),
            ("kubectl -n {namespace} get {as_secrets}", _DESCRIBE_POD, _RETRY),
            _CURRENT,
            facts=("image", "secrets"),
        ),
        Entry(
            (
                "The image {image} of container {container} cannot be pulled, and the Pod names no Secret to pull it "
                "with. Check that the image exists and is public. Or name a Secret in imagePullSecrets of the template "
                "or of its ServiceAccount. Then restart the workload."
            ),
            (
                "kubectl -n {namespace} get secrets --field-selector type=kubernetes.io/dockerconfigjson",
                _DESCRIBE_POD,
                _RETRY,
            ),
            _CURRENT,
            facts=("image",),
        ),
        Entry(
            (
                "The Pods cannot start, so a restart does not help yet. Fix what the cause names, such as a ConfigMap, "
                "a Secret or a volume. If the Pods then start with the old proxy, restart the workload."
            ),
            (_DESCRIBE, _DESCRIBE_POD, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.CRASH_LOOPING: (
        Entry(
            (
                "Container {container} crashes, so a restart does not help yet. Read its last log for the cause. Fix "
                "the cause, then restart the workload."
            ),
            ("kubectl -n {namespace} logs pod/{pod} --container={container} --previous", _DESCRIBE_POD, _RETRY),
            _CURRENT,
            facts=("container",),
        ),
        Entry(
            (
                "The containers crash, so a restart does not help yet. Read their last logs for the cause. Fix the "
                "cause, then restart the workload."
            ),
            ("kubectl -n {namespace} logs pod/{pod} --all-containers --previous", _DESCRIBE_POD, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.POD_FAILED: (
        Entry(
            (
                "A Pod has failed, and no other Pod has taken its place. Fix the cause of the failure and delete the "
                "failed Pod. Then restart the workload."
            ),
            ("kubectl -n {namespace} logs pod/{pod} --all-containers", _DESCRIBE_POD, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.NOT_READY: (
        Entry(
            (
                "The Pods run but are not Ready, so a restart could take down what still serves. Find out why the "
                "readiness probes fail and fix that. Then restart the workload."
            ),
            (_DESCRIBE_POD, "kubectl -n {namespace} logs pod/{pod} --all-containers --tail=50", _RETRY),
            _CURRENT,
        ),
    ),
    Reason.ROLLOUT_FAILING: (
        Entry(
            (
                "The last rollout failed before this upgrade. Fix or abort it: a rollout that completes brings the "
                "expected proxy. If you abort it, restart the workload afterwards."
            ),
            (_ROLLOUT_STATUS, _DESCRIBE, _RETRY),
            _CURRENT,
            kinds=(ARGO_ROLLOUT,),
        ),
        Entry(
            (
                "The last rollout failed before this upgrade. Fix the template or undo the rollout: a rollout that "
                "completes brings the expected proxy. If none completes, restart the workload."
            ),
            (_ROLLOUT_STATUS, _DESCRIBE, _ROLLOUT_UNDO, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.DISRUPTION_BUDGET: (
        Entry(
            (
                "A restart would violate the PodDisruptionBudget {budget}, and waiting does not help. Set "
                "maxUnavailable of the PodDisruptionBudget to 1 or more, or lower minAvailable; more replicas help "
                "only with a fixed minAvailable. Or let the rollout surge. Then restart the workload."
            ),
            ("kubectl -n {namespace} describe poddisruptionbudget/{budget}", _DESCRIBE, _RETRY),
            _CURRENT,
            facts=("budget",),
        ),
        Entry(
            (
                "A restart would violate a PodDisruptionBudget of this workload, and waiting does not help. Set "
                "maxUnavailable of the PodDisruptionBudget to 1 or more, or lower minAvailable; more replicas help "
                "only with a fixed minAvailable. Or let the rollout surge. Then restart the workload."
            ),
            ("kubectl -n {namespace} get poddisruptionbudgets", _DESCRIBE, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.QUOTA_EXCEEDED: (
        Entry(
            (
                "The ResourceQuota {quota} leaves no room for the new Pods of a rollout. Raise the quota, or set "
                "maxUnavailable so that the rollout removes a Pod first. Then restart the workload."
            ),
            ("kubectl -n {namespace} describe resourcequota/{quota}", _DESCRIBE, _RETRY),
            CURRENT_AND_READY,
            facts=("quota",),
        ),
        Entry(
            (
                "A ResourceQuota of the namespace leaves no room for the new Pods of a rollout. Raise the quota, or "
                "set maxUnavailable so that the rollout removes a Pod first. Then restart the workload."
            ),
            ("kubectl -n {namespace} describe resourcequotas", _DESCRIBE, _RETRY),
            CURRENT_AND_READY,
        ),
    ),
    Reason.WINDOW_INVALID: (
        Entry(
            (
                "The maintenance window of this workload is not valid, so kyma-upgrade does not restart it. Fix the "
                "annotation restarter.istio-operator.kyma-project.io/maintenance-window on the workload or its "
                "namespace. Then restart the workload inside the window."
            ),
            (_DESCRIBE_NAMESPACE, _DESCRIBE, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.WINDOW_NEVER_OPENS: (
        Entry(
            (
                "The maintenance windows of the policy, the namespace and the workload are never open at the same "
                "time. Change one of them, then restart the workload inside its window."
            ),
            (_DESCRIBE_NAMESPACE, _DESCRIBE, _RETRY),
            _CURRENT,
        ),
    ),
    Reason.ROLLOUT_TIMED_OUT: (
        Entry(
            (
                "The workload was restarted, and its new Pods do not become Ready. The remaining old Pods still serve. "
                "Find out why the new Pods are not Ready and fix that. The rollout may then complete by itself; if it "
                "does not, restart the workload."
            ),
            (_ROLLOUT_STATUS, _GET_PODS, _DESCRIBE, _RETRY),
            CURRENT_AND_READY,
        ),
    ),
    Reason.INJECTION_FAILED: (
        Entry(
            (
                "The workload was restarted, and its new Pods did not get the expected proxy. Check istiod, the "
                "webhooks and the admission policies. Then restart the workload."
            ),
            (_ISTIODS, _WEBHOOKS, _DESCRIBE, _RETRY),
            CURRENT_AND_READY,
        ),
    ),
    Reason.RESTART_REVERTED: (
        Entry(
            (
                "Another field manager reverted the restart. Configure it to leave spec.restartAt alone, then restart "
                "the Rollout."
            ),
            (_GET_YAML, _RETRY),
            CURRENT_AND_READY,
            kinds=(ARGO_ROLLOUT,),
        ),
        Entry(
            (
                "Another field manager reverted the restart. Configure it to leave the template annotation "
                "kubectl.kubernetes.io/restartedAt alone, then restart the workload."
            ),
            (_GET_YAML, _RETRY),
            CURRENT_AND_READY,
        ),
    ),
    Reason.GATEWAY_NOT_UPGRADED: (
        Entry(
            (
                "No injector made this gateway, so a restart does not change its proxy. Its owner does: the chart or "
                "installation that it came with, or istiod for a Gateway of the Gateway API. Upgrade the gateway "
                "there."
            ),
            (_DESCRIBE, _GET_YAML),
            "The item closes when the Pods of the workload run the version of their revision, or are gone.",
        ),
    ),
}
