"""Which Pods the module considers, finds stale, and what it does about them."""

import pytest

from deploy.local.kyma.api import Object
from deploy.local.kyma.selection import (
    JOB_OWNER,
    NO_OWNER,
    ExpectedProxy,
    action_for,
    is_considered,
    is_kyma,
    is_stale,
)

from .pods import NEW, OLD, RESOURCES, pod, replica_set

EXPECTED = ExpectedProxy(NEW, RESOURCES)


@pytest.mark.parametrize(
    ("found", "considered"),
    [
        (pod(), True),
        (pod(phase="Pending"), False),
        (pod(phase="Unknown"), False),
        (pod(ready="False"), False),
        (pod(ready="Unknown"), False),
        (pod(deletionTimestamp="2026-01-01T00:00:00Z"), False),
        ({**pod(), "metadata": {"name": "p1", "namespace": "shop"}}, False),
    ],
)
def test_only_injected_running_and_wholly_ready_pods_are_considered(found: Object, *, considered: bool) -> None:
    assert is_considered(found) is considered


@pytest.mark.parametrize(
    ("found", "kyma"),
    [
        (pod(), False),
        (pod(namespace="kyma-system"), True),
        (pod(labels={"kyma-project.io/module": "telemetry"}), True),
        (pod(labels={"kyma-project.io/module": ""}), False),
    ],
)
def test_kyma_workload_by_namespace_or_label(found: Object, *, kyma: bool) -> None:
    assert is_kyma(found) is kyma


@pytest.mark.parametrize(
    ("found", "stale"),
    [
        (pod(image=NEW), False),
        (pod(image=NEW, native=False), False),
        (pod(image=OLD), True),
        (pod(image=OLD, native=False), True),
        (pod(image="elsewhere/proxyv2:1.30.2"), True),
        (pod(image=NEW + "@sha256:00"), True),
        (pod(image=OLD, annotations={"sidecar.istio.io/proxyImage": OLD}), False),
        (pod(image=NEW, resources={**RESOURCES, "requests": {"cpu": "400m", "memory": "128Mi"}}), True),
        (pod(image=NEW, resources={**RESOURCES, "requests": {"cpu": "0.1", "memory": "131072Ki"}}), False),
    ],
)
def test_stale_by_image_string_or_resources(found: Object, *, stale: bool) -> None:
    assert is_stale(found, EXPECTED) is stale


@pytest.mark.parametrize(
    ("annotations", "resources", "stale"),
    [
        ({"proxyCPU": "400m"}, {"requests": {"cpu": "400m"}}, False),
        ({"proxyMemoryLimit": "2Gi"}, {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}}, False),
        ({"proxyCPU": "400m"}, {"requests": {"cpu": "500m"}}, True),
        ({"proxyCPU": "many"}, {"requests": {"cpu": "500m"}}, False),
    ],
)
def test_resources_that_a_pod_states_itself(annotations: dict[str, str], resources: Object, *, stale: bool) -> None:
    own = {f"sidecar.istio.io/{name}": value for name, value in annotations.items()}

    assert is_stale(pod(image=NEW, resources=resources, annotations=own), EXPECTED) is stale


def test_changed_setting_of_the_mesh_makes_every_sidecar_stale() -> None:
    assert is_stale(pod(image=NEW), ExpectedProxy(NEW, RESOURCES, everything_changed=True))


def test_wrong_init_container_for_the_cni_is_stale() -> None:
    found = pod(image=NEW)
    found["spec"]["initContainers"].append({"name": "istio-init", "image": NEW})

    assert is_stale(found, EXPECTED)
    assert not is_stale(found, ExpectedProxy(NEW, RESOURCES, cni=False))


@pytest.mark.parametrize(("merge", "stale"), [(None, False), (True, True), (False, False)])
def test_pod_without_merged_metrics(merge: bool | None, *, stale: bool) -> None:
    assert is_stale(pod(image=NEW), ExpectedProxy(NEW, RESOURCES, prometheus_merge=merge)) is stale


@pytest.mark.parametrize(
    ("owner", "replica_sets", "verb", "target"),
    [
        (None, [], "warn", ("Pod", "p1")),
        (("Job", "j"), [], "warn", ("Pod", "p1")),
        (("Deployment", "d"), [], "patch", ("Deployment", "d")),
        (("DaemonSet", "d"), [], "patch", ("DaemonSet", "d")),
        (("StatefulSet", "s"), [], "patch", ("StatefulSet", "s")),
        (("ReplicationController", "r"), [], "delete", ("Pod", "p1")),
        (("CloneSet", "c"), [], "fail", ("CloneSet", "c")),
        (("Node", "n"), [], "fail", ("Node", "n")),
        (("ReplicaSet", "rs"), [], "warn", ("Pod", "p1")),
        (("ReplicaSet", "rs"), [replica_set("rs")], "delete", ("Pod", "p1")),
        (("ReplicaSet", "rs"), [replica_set("rs", owner=("Deployment", "d"))], "patch", ("Deployment", "d")),
        (("ReplicaSet", "rs"), [replica_set("rs", owner=("ReplicaSet", "up"))], "patch", ("ReplicaSet", "up")),
        (("ReplicaSet", "rs"), [replica_set("rs", owner=("Rollout", "ro"))], "fail", ("Rollout", "ro")),
    ],
)
def test_action_by_first_owner(
    owner: tuple[str, str] | None, replica_sets: list[Object], verb: str, target: tuple[str, str]
) -> None:
    action = action_for(pod(owner=owner), lambda _, name: _by_name(replica_sets, name), lambda _: replica_sets)

    assert (action.verb, (action.kind, action.name)) == (verb, target)


def test_warnings_say_what_the_owner_is() -> None:
    bare = action_for(pod(), lambda *_: None, lambda _: [])
    job = action_for(pod(owner=("Job", "j")), lambda *_: None, lambda _: [])

    assert (bare.message, job.message) == (NO_OWNER, JOB_OWNER)


@pytest.mark.parametrize(
    ("replicas", "ready", "verb"),
    [(1, 0, "log"), (2, 1, "log"), (1, 1, "patch"), (0, 0, "patch")],
)
def test_deployment_with_another_half_ready_replica_set_is_only_logged(replicas: int, ready: int, verb: str) -> None:
    own = replica_set("rs", owner=("Deployment", "d"), replicas=2, ready=1)
    other = replica_set("rs-2", owner=("Deployment", "d"), replicas=replicas, ready=ready)

    action = action_for(pod(owner=("ReplicaSet", "rs")), lambda *_: own, lambda _: [own, other])

    assert action.verb == verb


def _by_name(found: list[Object], name: str) -> Object | None:
    return next((item for item in found if item["metadata"]["name"] == name), None)
