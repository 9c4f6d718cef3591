"""Stories of Pods in trouble: pending, crashing, failed, lost, or slow to terminate."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.kubectl import create, read
from mesh.survey.reasons import Reason
from tests.e2e.reasons.owners import delete_pods
from tests.e2e.reasons.place import BEHAVIOUR, NO_LOGS, RECOVERS, Place, Story
from tests.e2e.workloads import APP, allow

#: A termination message that a program may leave.
_HOSTILE = "\x1b[31m**boom**\x07 <script>alert(1)</script> | [here](https://example.org) " + "x" * 3000


def _node_lost(place: Place) -> str:
    workload = place.make()
    place.behave("jsonpath={.status.phase}=Unknown", pod="unknown")
    return workload


def _too_big(place: Place) -> str:
    return place.begin(containers=[{**APP, "resources": {"requests": {"cpu": "700"}}}], nodeSelector={})


def _add_bigger_node(place: Place) -> None:
    node = deepcopy(read(place.mesh, "node", "node-0"))
    labels = {**node["metadata"]["labels"], "kubernetes.io/hostname": place.namespace}
    node["metadata"] = {"name": place.namespace, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    node["spec"] = {}
    for amount in ("capacity", "allocatable"):
        node["status"][amount]["cpu"] = "4000"
    node["status"].pop("conditions", None)
    create(place.mesh, node)
    place.wait_until_running()


def _no_node(place: Place) -> str:
    return place.begin()


def _add_node(place: Place) -> None:
    place.label_node()
    place.wait_until_running()


def _no_image(place: Place, **pod: Any) -> str:  # noqa: ANN401
    workload = place.begin(**pod)
    # These Pods alone: those that a restart creates run well.
    place.kubectl("annotate", "pods", "--all", f"{BEHAVIOUR}pod=image-pull-error")
    place.label_node()
    missed = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff"
    place.kubectl("wait", "pods", "--all", f"--for={missed}", "--timeout=30s")
    return workload


def _no_secret(place: Place) -> str:
    return _no_image(place, imagePullSecrets=[{"name": "registry"}])


def _create_secret(place: Place) -> None:
    config = "--from-literal=.dockerconfigjson={}"
    place.kubectl("create", "secret", "generic", "registry", "--type=kubernetes.io/dockerconfigjson", config)
    place.recover()


def _no_volume(place: Place) -> str:
    workload = place.begin()
    place.kubectl("annotate", "pods", "--all", f"{BEHAVIOUR}start-after=1h")
    place.label_node()
    place.kubectl("wait", "pods", "--all", "--for=condition=PodScheduled", "--timeout=30s")
    # The Event of the scheduler has the same second.
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
    return workload


def _crashing(place: Place) -> str:
    workload = place.make()
    looping = "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff"
    place.behave(looping, message=_HOSTILE, pod="crash-looping")
    return workload


def _failed(place: Place) -> str:
    workload = place.make()
    allow(place.mesh, place.namespace, "count/pods", 2)
    place.behave("jsonpath={.status.phase}=Failed", pod="failed")
    return workload


def _not_ready(place: Place) -> str:
    workload = place.make()
    place.behave("condition=Ready=false", pod="not-ready")
    return workload


def terminating(place: Place) -> str:
    """One Pod keeps a finalizer, the other one is not Ready."""
    workload = place.make("StatefulSet")
    held = json.dumps({"metadata": {"finalizers": ["example.org/hold"]}})
    place.kubectl("patch", f"pod/{place.name}-1", "--type=merge", "-p", held)
    place.kubectl("delete", f"pod/{place.name}-1", "--wait=false")
    place.kubectl("annotate", f"pod/{place.name}-0", f"{BEHAVIOUR}pod=not-ready")
    return workload


def remove_finalizer(place: Place) -> None:
    """Removes the finalizer and lets both Pods run well."""
    place.kubectl("patch", f"pod/{place.name}-1", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    place.kubectl("annotate", f"pod/{place.name}-0", f"{BEHAVIOUR}pod-")
    place.kubectl("wait", f"statefulset/{place.name}", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=40s")


TERMINATING = Story("terminating", Reason.NOT_READY, terminating, "", remove_finalizer)
STORIES = (
    Story("node-lost", Reason.POD_UNKNOWN, _node_lost, "unresponsive", Place.recover),
    Story("too-big", Reason.POD_PENDING, _too_big, "Insufficient cpu", _add_bigger_node),
    Story("no-node", Reason.POD_PENDING, _no_node, "node affinity/selector", _add_node),
    Story("no-image", Reason.POD_PENDING, _no_image, "ImagePullBackOff", Place.recover),
    Story("no-secret", Reason.POD_PENDING, _no_secret, "ImagePullBackOff", _create_secret),
    Story("no-volume", Reason.POD_PENDING, _no_volume, 'configmap "settings" not found', Place.recover),
    Story("crashing", Reason.CRASH_LOOPING, _crashing, "exit code 1", Place.recover, NO_LOGS),
    Story("failed", Reason.POD_FAILED, _failed, "low on resource", delete_pods, (*NO_LOGS, " pod/", *RECOVERS)),
    Story("not-ready", Reason.NOT_READY, _not_ready, "Ready is False", Place.recover, NO_LOGS),
)
