"""A story for each reason why a workload cannot be restarted: how it comes about, and how a person mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.demo.stage import wait_for
from deploy.local.kubectl import apply, create, kubectl, read
from deploy.local.mesh import Mesh
from mesh.survey.reasons import Reason
from tests.e2e.workloads import APP, allow, limit, make, make_pod, pod_uids

_BEHAVIOUR = "behaviour.local-mesh/"
_WINDOW = "restarter.istio-operator.kyma-project.io/maintenance-window"
_ALWAYS = "Mon-Sun 00:00-24:00"
_TAKING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
_SURGING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
#: Why an item closes itself.
_CURRENT, _GONE, _FINISHED = "its Pods are current", "the workload has no Pods any more", "its Pods are finished"
_ON_DELETE = {"updateStrategy": {"type": "OnDelete"}}
#: What a program may have written when it died.
_HOSTILE = "\x1b[31m**boom**\x07 <script>alert(1)</script> | [here](https://example.org) " + "x" * 3000


class Place:
    """A story's own namespace, and its workload under a name that nothing in the product knows."""

    def __init__(self, mesh: Mesh, namespace: str, name: str) -> None:
        self.mesh = mesh
        self.namespace = namespace
        self.name = name

    def open(self, **labels: str) -> None:
        """Makes the namespace, labelled for injection unless it is told how."""
        metadata = {"name": self.namespace, "labels": labels or {"istio-injection": "enabled"}}
        apply(self.mesh, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def make(self, kind: str = "Deployment", **how: Any) -> str:  # noqa: ANN401
        """The workload, running; the words that name it."""
        make(self.mesh, self.namespace, self.name, kind, **how)
        return f"{kind}/{self.name}"

    def begin(self, **pod: Any) -> str:  # noqa: ANN401
        """A Deployment whose Pods find no node, unless told otherwise; the words that name it."""
        spec = {
            "containers": [APP],
            "nodeSelector": {self.namespace: "yes"},
            **pod,
        }
        labels = {"app": self.name}
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": self.name, "namespace": self.namespace}
        apply(self.mesh, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body})
        wait_for(f"the Pods of {self.name}", lambda: len(self.pods()) == 2)
        return f"Deployment/{self.name}"

    def pods(self) -> list[str]:
        """The names of its Pods."""
        found = read(self.mesh, "pods", "-n", self.namespace) or {"items": []}
        return [pod["metadata"]["name"] for pod in found["items"]]

    def runs(self) -> None:
        """Waits until it has Pods, and all of them are Ready."""
        wait_for(f"Pods of {self.name}", lambda: self.pods() != [])
        self.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=40s")

    def kubectl(self, *arguments: str) -> str:
        """In the namespace, as anybody would type it."""
        return kubectl(self.mesh, "-n", self.namespace, *arguments)

    def patch(self, what: str, body: dict[str, Any]) -> None:
        """A merge patch."""
        self.kubectl("patch", what, "--type=merge", "-p", json.dumps(body))

    def release(self, **annotations: str | None) -> None:
        """The owner of the Deployment rolls out a template with other annotations."""
        self.patch(f"deployment/{self.name}", {"spec": {"template": {"metadata": {"annotations": annotations}}}})

    def behave(self, until: str, **how: str | None) -> None:
        """Its living Pods behave so from now on, None for well: returns when the condition holds of each."""
        wishes = [f"{_BEHAVIOUR}{name}={text}" if text else f"{_BEHAVIOUR}{name}-" for name, text in how.items()]
        self.kubectl("annotate", "--overwrite", "pods", "--all", *wishes)
        self.kubectl("wait", "pods", "--all", f"--for={until}", "--timeout=30s")

    def mend(self) -> None:
        """Its living Pods do well again."""
        self.behave("condition=Ready", pod=None, **{"start-after": None})

    def relabel(self, *labels: str) -> None:
        """Other labels for the namespace."""
        kubectl(self.mesh, "label", "--overwrite", "namespace", self.namespace, *labels)

    def node(self, wish: str = "=yes") -> None:
        """There is a node for its Pods from now on; with the wish "-" there is none."""
        kubectl(self.mesh, "label", "--overwrite", "nodes", "node-0", f"{self.namespace}{wish}")


def _nothing(_: Place) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Story:
    """How the reason comes about in a place, what a person does about it, and what is then seen.

    `begin` returns the words that name the workload. `meanwhile` happens once the upgrade waits for its approval,
    `in_restart` once it restarts. Of the advice's commands those are left out that hold one of `without`. `closed` has
    the sentences that may tell why the item closed.
    """

    name: str
    reason: Reason
    begin: Callable[[Place], str]
    evidence: str
    mend: Callable[[Place], None] = _nothing
    without: tuple[str, ...] = ()
    closed: tuple[str, ...] = (_CURRENT,)
    meanwhile: Callable[[Place], None] = _nothing
    in_restart: Callable[[Place], None] = _nothing
    labels: tuple[tuple[str, str], ...] = ()


#: Simulated kubelets keep no logs.
_NO_LOGS = (" logs ",)
#: What heals by itself needs no restart, and its item may be closed by then.
_HEALS = ("queue retry",)


def _alone(place: Place) -> str:
    # As long as names can be.
    place.name = f"{place.name}-{'n' * (252 - len(place.name))}"
    make_pod(place.mesh, place.namespace, place.name)
    return f"Pod/{place.name}"


def _job_spec() -> dict[str, Any]:
    annotations = {f"{_BEHAVIOUR}pod": "running"}
    spec = {"restartPolicy": "Never", "containers": [APP]}
    return {"template": {"metadata": {"annotations": annotations}, "spec": spec}}


def _job(place: Place) -> str:
    metadata = {"name": place.name, "namespace": place.namespace}
    apply(place.mesh, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": _job_spec()})
    place.runs()
    return f"Job/{place.name}"


def _cron_job(place: Place) -> str:
    metadata = {"name": place.name, "namespace": place.namespace}
    # Its own time does not come.
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": _job_spec()}}
    apply(place.mesh, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec})
    place.kubectl("create", "job", f"--from=cronjob/{place.name}", f"{place.name}-run")
    place.runs()
    return f"CronJob/{place.name}"


def _job_ends(place: Place) -> None:
    place.kubectl("annotate", "pods", "--all", f"{_BEHAVIOUR}pod-")


def _foreign(place: Place) -> str:
    metadata = {"name": place.name, "namespace": place.namespace}
    apply(place.mesh, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    uid = read(place.mesh, "configmap", place.name, "-n", place.namespace)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": place.name, "uid": uid, "controller": True}
    make_pod(place.mesh, place.namespace, place.name, ownerReferences=[owner])
    return f"ConfigMap/{place.name}"


def _delete_pods(place: Place) -> None:
    place.kubectl("delete", "pods", "--all")


def _paused(place: Place) -> str:
    words = place.make()
    place.kubectl("rollout", "pause", words)
    return words


def _partitioned(place: Place) -> str:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    return place.make("StatefulSet", updateStrategy=strategy)


def _lost_label(place: Place) -> str:
    words = place.make()
    place.relabel("istio-injection-")
    return words


def _other_revision(place: Place) -> str:
    """Of the revision that is asked, somebody has left a webhook behind, and nothing else."""
    words = place.make()
    left = read(place.mesh, "mutatingwebhookconfiguration", "istio-sidecar-injector")
    left["metadata"] = {
        "name": f"left-{place.namespace}",
        "labels": {"app": "sidecar-injector", "istio.io/rev": "retired"},
    }
    left["webhooks"] = [one for one in left["webhooks"] if one["name"].startswith("rev.namespace.")]
    selectors = {"namespaceSelector": {"matchLabels": {"istio.io/rev": "retired"}}, "objectSelector": {}}
    left["webhooks"][0] |= {**selectors, "clientConfig": {"url": "https://127.0.0.1:1/inject"}}
    apply(place.mesh, left)
    place.relabel("istio-injection-", "istio.io/rev=retired")
    return words


def _injected_again(place: Place) -> None:
    place.relabel("istio.io/rev-", "istio-injection=enabled")


def _not_rendered(place: Place) -> str:
    words = place.make(progressDeadlineSeconds=600)
    place.release(**{"proxy.istio.io/config": "no: [yaml"})
    return words


def _rendered(place: Place) -> None:
    place.release(**{"proxy.istio.io/config": None})


def _made_outside(place: Place) -> str:
    words = place.make()
    place.relabel("istio-injection=enabled")
    return words


def _lost(place: Place) -> str:
    words = place.make()
    place.behave("jsonpath={.status.phase}=Unknown", pod="unknown")
    return words


def _too_big(place: Place) -> str:
    return place.begin(containers=[{**APP, "resources": {"requests": {"cpu": "700"}}}], nodeSelector={})


def _bigger_node(place: Place) -> None:
    node = deepcopy(read(place.mesh, "node", "node-0"))
    labels = {**node["metadata"]["labels"], "kubernetes.io/hostname": place.namespace}
    node["metadata"] = {"name": place.namespace, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    node["spec"] = {}
    for amount in ("capacity", "allocatable"):
        node["status"][amount]["cpu"] = "4000"
    node["status"].pop("conditions", None)
    create(place.mesh, node)
    place.runs()


def _nowhere(place: Place) -> str:
    return place.begin()


def _found_a_node(place: Place) -> None:
    place.node()
    place.runs()


def _no_image(place: Place, **pod: Any) -> str:  # noqa: ANN401
    words = place.begin(**pod)
    # The Pods alone: those that the restart makes do well.
    place.kubectl("annotate", "pods", "--all", f"{_BEHAVIOUR}pod=image-pull-error")
    place.node()
    missed = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff"
    place.kubectl("wait", "pods", "--all", f"--for={missed}", "--timeout=30s")
    return words


def _no_secret(place: Place) -> str:
    return _no_image(place, imagePullSecrets=[{"name": "registry"}])


def _secret(place: Place) -> None:
    config = "--from-literal=.dockerconfigjson={}"
    place.kubectl("create", "secret", "generic", "registry", "--type=kubernetes.io/dockerconfigjson", config)
    place.mend()


def _no_volume(place: Place) -> str:
    words = place.begin()
    place.kubectl("annotate", "pods", "--all", f"{_BEHAVIOUR}start-after=1h")
    place.node()
    place.kubectl("wait", "pods", "--all", "--for=condition=PodScheduled", "--timeout=30s")
    # The scheduler has told its trouble in the same second.
    now = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for pod in read(place.mesh, "pods", "-n", place.namespace)["items"]:
        about = {"kind": "Pod", "namespace": place.namespace, "name": pod["metadata"]["name"]}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "mount-", "namespace": place.namespace},
            "involvedObject": {**about, "uid": pod["metadata"]["uid"]},
            "reason": "FailedMount",
            "message": 'MountVolume.SetUp failed for volume "settings" : configmap "settings" not found',
            "type": "Warning",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 3,
        }
        create(place.mesh, event)
    return words


def _crashing(place: Place) -> str:
    words = place.make()
    looping = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff"
    place.behave(looping, message=_HOSTILE, pod="crash-looping")
    return words


def _failed(place: Place) -> str:
    words = place.make()
    allow(place.mesh, place.namespace, "count/pods", 2)
    place.behave("jsonpath={.status.phase}=Failed", pod="failed")
    return words


def _not_ready(place: Place) -> str:
    words = place.make()
    place.behave("condition=Ready=false", pod="not-ready")
    return words


def stuck(place: Place) -> str:
    """One Pod is held by a finalizer, the other one is not Ready."""
    words = place.make("StatefulSet")
    held = json.dumps({"metadata": {"finalizers": ["example.org/hold"]}})
    place.kubectl("patch", f"pod/{place.name}-1", "--type=merge", "-p", held)
    place.kubectl("delete", f"pod/{place.name}-1", "--wait=false")
    place.kubectl("annotate", f"pod/{place.name}-0", f"{_BEHAVIOUR}pod=not-ready")
    return words


def unstuck(place: Place) -> None:
    """The finalizer is gone, and both Pods do well."""
    place.kubectl("patch", f"pod/{place.name}-1", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    place.kubectl("annotate", f"pod/{place.name}-0", f"{_BEHAVIOUR}pod-")
    place.kubectl("wait", f"statefulset/{place.name}", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=40s")


def _failing(place: Place) -> str:
    words = place.make(progressDeadlineSeconds=3, strategy=_SURGING)
    place.release(**{f"{_BEHAVIOUR}pod": "crash-looping"})
    place.kubectl("wait", words, "--for=condition=Progressing=false", "--timeout=30s")
    return words


def _budgeted(place: Place) -> str:
    words = place.make(strategy=_TAKING)
    limit(place.mesh, place.namespace, {"app": place.name}, 2, minAvailable=2)
    return words


def _allowed(place: Place) -> None:
    place.patch("poddisruptionbudget/budget", {"spec": {"minAvailable": 1}})
    allowed = "--for=jsonpath={.status.disruptionsAllowed}=1"
    place.kubectl("wait", "poddisruptionbudget/budget", allowed, "--timeout=20s")


def _squeezed(place: Place) -> str:
    # Its controller has given up long before anybody raises the quota.
    words = place.make(strategy=_SURGING, progressDeadlineSeconds=3)
    allow(place.mesh, place.namespace, "pods", 2)
    return words


def _raised(place: Place) -> None:
    place.patch("resourcequota/tight", {"spec": {"hard": {"pods": "9"}}})
    # Until its controller has told so, Pods are refused by the old amount.
    place.kubectl("wait", "resourcequota/tight", "--for=jsonpath={.status.hard.pods}=9", "--timeout=20s")


def _window(place: Place, text: str) -> str:
    words = place.make()
    place.kubectl("annotate", words, f"{_WINDOW}={text}")
    return words


def _unreadable(place: Place) -> str:
    return _window(place, "whenever it suits")


def _never_together(place: Place) -> str:
    place.kubectl("annotate", "namespace", place.namespace, f"{_WINDOW}=Sun 00:00-04:00")
    return _window(place, "Sat 00:00-04:00")


def _opened(place: Place) -> None:
    for what in (f"deployment/{place.name}", f"namespace/{place.namespace}"):
        place.kubectl("annotate", "--overwrite", what, f"{_WINDOW}={_ALWAYS}")


def _homeless(place: Place) -> str:
    place.node()
    words = place.make(pod={"nodeSelector": {place.namespace: "yes"}})
    place.node("-")
    return words


def _policed(place: Place) -> str:
    """Somebody's policy gives new Pods the proxy that these have."""
    words = place.make()
    group, binding = "admissionregistration.k8s.io/v1", {"policyName": place.namespace}
    sidecar = f"Object.spec.initContainers{{name: 'istio-proxy', image: '{_live_proxy(place)}'}}"
    spec = {
        "matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ],
        },
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                # A condition of the policy would be asked before the injector has come, and never again.
                "applyConfiguration": {
                    "expression": "object.spec.?initContainers.orValue([]).exists(one, one.name == 'istio-proxy')"
                    f" ? Object{{spec: Object.spec{{initContainers: [{sidecar}]}}}} : Object{{}}"
                },
            }
        ],
    }
    metadata = {"name": place.namespace}
    apply(
        place.mesh,
        {"apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {"apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": metadata, "spec": binding},
    )
    return words


def _unpoliced(place: Place) -> None:
    policy = f"mutatingadmissionpolicy/{place.namespace}"
    place.kubectl("delete", policy, f"mutatingadmissionpolicybinding/{place.namespace}")


def _live_proxy(place: Place) -> str:
    pod = read(place.mesh, "pods", "-n", place.namespace)["items"][0]
    image: str = next(one["image"] for one in pod["spec"]["initContainers"] if one["name"] == "istio-proxy")
    return image


def _slow(place: Place) -> str:
    return place.make(annotations={f"{_BEHAVIOUR}start-after": "4s"}, strategy=_SURGING)


def _first_new_pod(place: Place) -> None:
    old = pod_uids(place.mesh, place.namespace, place.name)
    fresh = lambda: bool(pod_uids(place.mesh, place.namespace, place.name) - old)  # noqa: E731
    wait_for(f"the restart of {place.name}", fresh)


def _reverted(place: Place) -> None:
    _first_new_pod(place)
    place.release(**{"kubectl.kubernetes.io/restartedAt": None})


def _rewritten(place: Place) -> None:
    """A release of its own, whose Pods something gives the old proxy."""
    old = _live_proxy(place)
    place.release(release="2")
    place.kubectl("rollout", "status", f"deployment/{place.name}", "--timeout=30s")
    wait_for("its old Pods to go", lambda: len(place.pods()) == 2)
    for pod in place.pods():
        place.kubectl("set", "image", f"pod/{pod}", f"istio-proxy={old}")


STORIES = (
    # Seen between its deletion and its return, a workload has no Pods, and that settles it as well.
    Story("alone", Reason.STANDALONE_POD, _alone, "has no controller", closed=(_GONE, _CURRENT)),
    Story("job", Reason.JOB_POD, _job, "1 Pods active", without=(" wait ",), closed=(_GONE, _CURRENT)),
    Story("job-ends", Reason.JOB_POD, _job, "1 Pods active", _job_ends, (".yaml",), (_FINISHED,)),
    Story("cron-job", Reason.JOB_POD, _cron_job, "1 Pods active", without=(" wait ",), closed=(_GONE, _CURRENT)),
    Story("foreign", Reason.UNSUPPORTED_OWNER, _foreign, "is controlled by ConfigMap", _delete_pods, (), (_GONE,)),
    Story("paused", Reason.ROLLOUT_PAUSED, _paused, "DeploymentPaused"),
    Story("on-delete", Reason.ON_DELETE, lambda place: place.make("StatefulSet", **_ON_DELETE), "OnDelete"),
    Story("on-delete-daemons", Reason.ON_DELETE, lambda place: place.make("DaemonSet", **_ON_DELETE), "OnDelete"),
    Story("partitioned", Reason.PARTITIONED, _partitioned, "partition 1"),
    Story("lost-label", Reason.WOULD_LOSE_SIDECAR, _lost_label, "no label about injection", _injected_again),
    Story("other-revision", Reason.UNKNOWN_REVISION, _other_revision, "istio.io/rev=retired", _injected_again),
    Story("not-rendered", Reason.UNKNOWN_PROXY, _not_rendered, "injector: ", _rendered),
    Story("made-outside", Reason.SIDECAR_MISSING, _made_outside, "istio-injection=enabled", labels=(("story", "yes"),)),
    Story(
        "rewritten",
        Reason.IMAGE_REWRITTEN,
        lambda place: place.make(),
        "expected proxy",
        meanwhile=_rewritten,
    ),
    Story("lost", Reason.POD_UNKNOWN, _lost, "unresponsive", Place.mend),
    Story("too-big", Reason.POD_PENDING, _too_big, "Insufficient cpu", _bigger_node),
    Story("nowhere", Reason.POD_PENDING, _nowhere, "node affinity/selector", _found_a_node),
    Story("no-image", Reason.POD_PENDING, _no_image, "ImagePullBackOff", Place.mend),
    Story("no-secret", Reason.POD_PENDING, _no_secret, "ImagePullBackOff", _secret),
    Story("no-volume", Reason.POD_PENDING, _no_volume, 'configmap "settings" not found', Place.mend),
    Story("crashing", Reason.CRASH_LOOPING, _crashing, "exit code 1", Place.mend, _NO_LOGS),
    Story("failed", Reason.POD_FAILED, _failed, "low on resource", _delete_pods, (*_NO_LOGS, " pod/", *_HEALS)),
    Story("not-ready", Reason.NOT_READY, _not_ready, "Ready is False", Place.mend, _NO_LOGS),
    Story("failing", Reason.ROLLOUT_FAILING, _failing, "ProgressDeadlineExceeded", without=(" status ",)),
    Story("budgeted", Reason.DISRUPTION_BUDGET, _budgeted, "2 of 2 Pods are healthy, 2 wanted", _allowed),
    Story("squeezed", Reason.QUOTA_EXCEEDED, _squeezed, "exceeded quota: tight", _raised),
    Story("unreadable", Reason.WINDOW_INVALID, _unreadable, "maintenance window: whenever", _opened),
    Story("never-together", Reason.WINDOW_NEVER_OPENS, _never_together, "maintenance window: Sun", _opened),
    Story("homeless", Reason.ROLLOUT_TIMED_OUT, _homeless, "node affinity/selector", Place.node, _HEALS),
    Story("policed", Reason.INJECTION_FAILED, _policed, "expected proxy: ", _unpoliced),
    Story("reverted", Reason.RESTART_REVERTED, _slow, "live: ", in_restart=_reverted),
)
