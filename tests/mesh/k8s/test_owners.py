"""Who manages a Pod: followed to the top, whatever is on the way."""

from __future__ import annotations

import msgspec
import pytest

from mesh.k8s.kinds import ARGO_ROLLOUT, kind_of
from mesh.k8s.objects import Container, OwnerReference, Pod, PodSpec, Workload, WorkloadReference
from mesh.k8s.owners import top_owner, uninjected, with_template_of, workloads_by_uid
from mesh.k8s.workload_ref import WorkloadRef
from mesh.wellknown import SIDECAR_STATUS
from tests.mesh.build import APP, custom_owner, pod, reference, template, workload

DEPLOYMENT = workload("Deployment")
REPLICA_SET = workload("ReplicaSet", "cart-7d4", owner=DEPLOYMENT)
CRON_JOB = workload("CronJob", "nightly")
JOB = workload("Job", "nightly-1", owner=CRON_JOB)
CLONE_SET = workload("ReplicaSet", "cart-2c8", owner=custom_owner())
ROLLOUT = workload(ARGO_ROLLOUT)
ROLLOUT_SET = workload("ReplicaSet", "cart-9f1", owner=ROLLOUT)
ALL = workloads_by_uid([DEPLOYMENT, REPLICA_SET, CRON_JOB, JOB, CLONE_SET, ROLLOUT, ROLLOUT_SET])


@pytest.mark.parametrize(
    ("owner", "kind", "name", "direct"),
    [
        pytest.param(None, "Pod", "cart-1", None, id="standalone"),
        pytest.param(REPLICA_SET, "Deployment", "cart", "cart-7d4", id="deployment-above-replica-set"),
        pytest.param(JOB, "CronJob", "nightly", "nightly-1", id="cron-job-above-job"),
        pytest.param(ROLLOUT_SET, "Rollout.argoproj.io", "cart", "cart-9f1", id="argo-rollout-above-replica-set"),
        pytest.param(CLONE_SET, "CloneSet.apps.kruise.io", "cart", "cart-2c8", id="custom-kind-above-replica-set"),
        pytest.param(
            custom_owner("StrimziPodSet", "core.strimzi.io/v1beta2"),
            "StrimziPodSet.core.strimzi.io",
            "cart",
            None,
            id="custom-kind",
        ),
        pytest.param(custom_owner("Node", "v1", "n1"), "Node", "n1", None, id="mirror-pod"),
    ],
)
def test_owner_is_the_topmost(
    owner: Workload | OwnerReference | None, kind: str, name: str, direct: str | None
) -> None:
    found = top_owner(pod(owner=owner), ALL)

    assert found.ref == WorkloadRef("shop", kind, name)
    assert (found.direct.metadata.name if found.direct else None) == direct
    assert not found.gone


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"])
def test_owner_that_makes_its_pods_itself_is_both(kind: str) -> None:
    owner = workload(kind)
    found = top_owner(pod(owner=owner), workloads_by_uid([owner]))

    assert (found.kind, found.workload, found.direct) == (kind, owner, owner)


def test_owner_of_a_kind_that_is_read_but_not_there_is_gone() -> None:
    found = top_owner(pod(owner=REPLICA_SET), {})

    assert (found.ref, found.gone, found.workload) == (WorkloadRef("shop", "ReplicaSet", "cart-7d4"), True, None)


def test_deployment_gone_above_its_replica_set_keeps_the_template() -> None:
    found = top_owner(pod(owner=REPLICA_SET), workloads_by_uid([REPLICA_SET]))

    assert (found.ref, found.gone) == (WorkloadRef("shop", "Deployment", "cart"), True)
    assert found.template == REPLICA_SET.template


def test_argo_rollout_takes_the_template_of_the_workload_that_it_refers_to() -> None:
    lender = workload(made_from=template({"from": "lender"}), replicas=0)
    rollout = workload(ARGO_ROLLOUT, lender=WorkloadReference(kind="Deployment", name="cart"))
    below = workload("ReplicaSet", "cart-9f1", owner=rollout, made_from=template({"from": "replica-set"}))
    found = top_owner(pod(owner=below), workloads_by_uid([below, rollout, lender]))

    assert (found.kind, found.template.metadata.label("from")) == (ARGO_ROLLOUT, "lender")


@pytest.mark.parametrize(
    "lender",
    [
        pytest.param(workload(namespace="bank"), id="in-another-namespace"),
        pytest.param(workload("StatefulSet"), id="of-another-kind"),
        pytest.param(workload(name="basket"), id="of-another-name"),
    ],
)
def test_template_that_an_argo_rollout_cannot_take_leaves_that_of_the_replica_set(lender: Workload) -> None:
    rollout = workload(ARGO_ROLLOUT, lender=WorkloadReference(kind="Deployment", name="cart"))
    below = workload("ReplicaSet", "cart-9f1", owner=rollout, made_from=template({"from": "replica-set"}))
    found = top_owner(pod(owner=below), workloads_by_uid([below, rollout, lender]))

    assert found.workload is not None
    assert found.workload.template is None
    assert found.template.metadata.label("from") == "replica-set"


def test_argo_rollout_keeps_a_selector_of_its_own() -> None:
    lender = msgspec.convert({"spec": {"template": {}, "selector": {"matchLabels": {"app": "cart"}}}}, Workload)
    without = msgspec.convert({"spec": {"workloadRef": {"kind": "Deployment", "name": "cart"}}}, Workload)
    own = msgspec.convert({"spec": {"selector": {"matchLabels": {"app": "basket"}}}}, Workload)

    assert with_template_of(without, lender).label_selector.query() == "app=cart"
    assert with_template_of(own, lender).label_selector.query() == "app=basket"


def test_template_is_the_topmost_one() -> None:
    above = workload(made_from=template({"made": "again"}))
    below = workload("ReplicaSet", "cart-7d4", owner=above, made_from=template({"made": "before"}))
    found = top_owner(pod(owner=below), workloads_by_uid([above, below]))

    assert found.template.metadata.label("made") == "again"


def test_reference_that_is_no_controller_counts_as_none() -> None:
    loose = msgspec.structs.replace(reference(REPLICA_SET), controller=False)
    found = top_owner(pod(owner=loose), ALL)

    assert found.kind == "Pod"


def test_controller_is_found_among_other_references() -> None:
    loose = msgspec.structs.replace(reference(JOB), controller=False)
    one = pod()
    metadata = msgspec.structs.replace(one.metadata, owner_references=(loose, reference(REPLICA_SET)))
    found = top_owner(msgspec.structs.replace(one, metadata=metadata), ALL)

    assert found.kind == "Deployment"


def test_cycle_of_owners_ends_at_one_of_them() -> None:
    first = workload("Deployment", "first", owner=workload("Deployment", "second"))
    second = workload("Deployment", "second", owner=first)
    found = top_owner(pod(owner=first), workloads_by_uid([first, second]))

    assert found.name in ("first", "second")


def test_owner_in_another_namespace_is_ignored() -> None:
    elsewhere = workload("Deployment", "cart", namespace="bank")
    found = top_owner(pod(owner=elsewhere), workloads_by_uid([elsewhere]))

    assert (found.workload, found.gone) == (None, True)


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Thing"),
        ("apps/v1", "Thing"),
        ("batch/v1", "Thing"),
        ("policy.k8s.io/v1", "Thing"),
        ("argoproj.io/v1alpha1", "Thing.argoproj.io"),
        ("leaderworkerset.x-k8s.io/v1", "Thing.leaderworkerset.x-k8s.io"),
        ("apps.openshift.io/v1", "Thing.apps.openshift.io"),
        ("", "Thing"),
    ],
)
def test_kind_carries_the_group_of_custom_resources(api_version: str, kind: str) -> None:
    assert kind_of(OwnerReference(api_version=api_version, kind="Thing")) == kind


def test_template_of_a_standalone_pod_has_nothing_that_was_injected() -> None:
    found = uninjected(pod(annotations={"note": "mine"}))

    assert found.metadata.annotations == {"note": "mine"}
    assert (found.spec.containers, found.spec.init_containers) == ((APP,), ())
    assert found.metadata.uid == "pod/shop/cart-1"


def test_pod_that_brought_its_own_proxy_keeps_it() -> None:
    own = pod(injected=False, native=False)

    assert uninjected(own).spec.proxies() == own.spec.proxies()


def test_host_network_stays_known_after_injection() -> None:
    one = pod()
    spec = PodSpec(containers=(APP, Container(name="istio-proxy")), host_network=True)

    assert SIDECAR_STATUS in (one.metadata.annotations or {})
    assert uninjected(Pod(metadata=one.metadata, spec=spec)).spec.host_network


def test_name_of_an_unread_owner_is_sanitized() -> None:
    """Whoever may make Pods writes anything into a reference, and the API server takes it."""
    found = top_owner(pod(owner=custom_owner("K" * 100_000, "v1", "a name\n" + "ü" * 100_000)), {})

    assert found.kind == "K" * 253
    assert found.name == "a?name?" + "?" * 246
