"""The survey of any cluster: every Pod and every workload counted once, every reason fit to show."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.istio.injection import Injector
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Condition, Pod, Workload, WorkloadReference
from mesh.k8s.owners import top_owner
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.actions import Action
from mesh.survey.builder import SurveyBuilder
from mesh.survey.pod_class import WORKLOAD_ORDER, PodClass, pod_is_current
from mesh.survey.snapshot import ClusterSnapshot, UpgradeContext
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.mesh.build import (
    NEW,
    NOW,
    OLD,
    budget,
    custom_owner,
    few_examples,
    injector,
    make_namespace,
    make_snapshot,
    pod,
    reference,
    strategy,
    survey,
    surveyed,
    template,
    waiting,
    webhooks,
    workload,
)

DEPLOYMENT = workload("Deployment")
CRON_JOB = workload("CronJob", "nightly")
ROLLOUT = workload(ARGO_ROLLOUT, mark=NOW)
#: Its template is that of something that is not read.
BORROWER = workload(ARGO_ROLLOUT, "borrower", lender=WorkloadReference(kind="PodTemplate", name="lender"))
OWNERS = (
    DEPLOYMENT,
    workload("ReplicaSet", "cart-7d4", owner=DEPLOYMENT),
    workload("ReplicaSet", "bare"),
    workload("ReplicaSet", "cart-2c8", owner=custom_owner()),
    ROLLOUT,
    workload("ReplicaSet", "cart-9f1", owner=ROLLOUT),
    BORROWER,
    workload("ReplicaSet", "borrower-1", owner=BORROWER, made_from=template({"sidecar.istio.io/inject": "false"})),
    workload("ReplicationController", "old"),
    workload("StatefulSet", "db", strategy=strategy("OnDelete")),
    workload("StatefulSet", "queue", made_from=template({"sidecar.istio.io/inject": "false"})),
    workload("DaemonSet", "agent", annotations={MAINTENANCE_WINDOW: "Sat 00:00-04:00"}),
    CRON_JOB,
    workload("Job", "nightly-1", owner=CRON_JOB),
    workload("Deployment", "left", owner=workload("Deployment", "right")),
    workload("Deployment", "right", owner=workload("Deployment", "left")),
    workload("Deployment", "paused", paused=True, strategy=strategy("Recreate")),
)
LOOSE = msgspec.structs.replace(reference(DEPLOYMENT), controller=False)
REFERENCES = (*OWNERS, None, LOOSE, custom_owner("Node", "v1", "n1"), custom_owner(), workload("ReplicaSet", "gone"))
TROUBLE = st.text(max_size=300) | st.just("\x1b[31m\n" * 80)
CONDITIONS = st.builds(
    Condition,
    type=st.sampled_from(["Ready", "PodScheduled", "Complete"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=TROUBLE,
    message=TROUBLE,
)
STATUSES = st.lists(
    st.builds(waiting, st.sampled_from(["CrashLoopBackOff", "ImagePullBackOff", "PodInitializing"]), TROUBLE),
    max_size=2,
)
MARKS = {
    "sidecar.istio.io/status": "{",
    "sidecar.istio.io/proxyImage": "mine/p:1",
    "ambient.istio.io/redirection": "enabled",
    "restarter.istio-operator.kyma-project.io/exclude": "true",
    MAINTENANCE_WINDOW: "Sat 00:00-04:00",
}
PODS = st.lists(
    st.builds(
        pod,
        owner=st.sampled_from(REFERENCES),
        namespace=st.sampled_from(["shop", "shop", "shop", "dark", "kube-system", "nowhere"]),
        proxy=st.sampled_from([None, OLD, NEW, "mine/p:1", "", "hub/proxyv2:tip"]),
        native=st.booleans(),
        injected=st.booleans(),
        phase=st.sampled_from(["Running", "Running", "Pending", "Succeeded", "Failed", "Unknown", ""]),
        ready=st.sampled_from([None, "True", "True", "False", "Unknown"]),
        labels=st.dictionaries(st.just("sidecar.istio.io/inject"), st.sampled_from(["true", "false", "?"])),
        annotations=st.sets(st.sampled_from(sorted(MARKS))).map(lambda keys: {key: MARKS[key] for key in keys}),
        deleted=st.none() | st.none() | st.timedeltas(timedelta(hours=-1), timedelta(hours=1)),
        finalizers=st.sampled_from([(), ("example.com/hold",)]),
        node=st.sampled_from(["", "n1"]),
        secrets=st.sampled_from([(), ("pull",)]),
        status_text=st.tuples(TROUBLE, TROUBLE),
        conditions=st.lists(CONDITIONS, max_size=2).map(tuple),
        statuses=STATUSES.map(tuple),
    ),
    max_size=12,
).map(lambda pods: [_named(one, f"p{number}") for number, one in enumerate(pods)])
CONTEXTS = st.builds(
    UpgradeContext,
    mark=st.sampled_from([None, NOW]),
    began=st.sampled_from([None, NOW - timedelta(days=2)]),
    restart_missing=st.booleans(),
    exclude_namespaces=st.sampled_from([(), ("dark",)]),
    windows=st.sampled_from([(), ("Sun 00:00-04:00",)]),
)
ANSWERS = st.sampled_from([None, ExpectedProxy(None, None, "\x1b[31mno answer\n" * 30)])
BUDGETS = (budget(1, 1), budget(0, 0, namespace="dark"))


def _named(one: Pod, name: str) -> Pod:
    return msgspec.structs.replace(one, metadata=msgspec.structs.replace(one.metadata, name=name))


def seen(pods: list[Pod], by: Injector | None = None) -> ClusterSnapshot:
    """`shop` is labelled for injection, `dark` is not, and `nowhere` was not there when namespaces were read."""
    found = make_snapshot(
        *pods, *OWNERS, *BUDGETS, make_namespace("dark", {}), make_namespace("kube-system", {}), by=by
    )
    return replace(found, namespaces={name: one for name, one in found.namespaces.items() if name != "nowhere"})


@few_examples
@given(PODS, CONTEXTS, ANSWERS)
def test_every_pod_is_counted_once_whatever_the_cluster_holds(
    pods: list[Pod], context: UpgradeContext, answer: ExpectedProxy | None
) -> None:
    found = survey(seen(pods), context, answer)

    assert found.pods == sum(found.classes.values()) == sum(one.pods for one in found.workloads) == len(pods)
    assert set(found.classes) == set(PodClass)
    assert found.classes[PodClass.STALE] == sum(one.stale_pods for one in found.workloads)


@few_examples
@given(PODS, CONTEXTS)
def test_every_workload_is_there_once_with_the_first_class_of_its_pods(
    pods: list[Pod], context: UpgradeContext
) -> None:
    # Where no template is read the first Pod is it, so only owners with one can be workload Pod by Pod.
    owners = [(one, top_owner(one, seen(pods).owners).workload) for one in pods]
    known = [one for one, owner in owners if owner is not None and owner.template is not None]
    found = survey(seen(known), context)
    alone: defaultdict[WorkloadRef, list[PodClass]] = defaultdict(list)
    for one in known:
        (workload,) = survey(seen([one]), context).workloads
        alone[workload.ref].append(workload.pod_class)

    assert [one.ref for one in found.workloads] == sorted(alone)
    assert Counter(pod_class for classes in alone.values() for pod_class in classes) == +Counter(found.classes)
    assert all(one.pod_class is min(alone[one.ref], key=WORKLOAD_ORDER.index) for one in found.workloads)


@few_examples
@given(PODS, CONTEXTS, ANSWERS)
def test_every_workload_has_an_action_and_a_reason_fit_to_show(
    pods: list[Pod], context: UpgradeContext, answer: ExpectedProxy | None
) -> None:
    for one in survey(seen(pods), context, answer).workloads:
        assert (one.action is Action.REMEDIATE) is (one.reason is not None)
        assert len(one.detail or "") <= 200
        assert not any(unicodedata.category(letter) == "Cc" for letter in one.detail or "")
        assert one.pod_names


@few_examples
@given(PODS)
def test_nothing_is_restarted_that_would_lose_its_sidecar(pods: list[Pod]) -> None:
    found = survey(seen(pods, injector(webhooks(deactivated=True))))

    assert {one.action for one in found.workloads} <= {Action.REMEDIATE, Action.NONE}
    assert found.classes[PodClass.STALE] == found.classes[PodClass.MISSING] == 0


def test_survey_of_nothing_counts_nothing() -> None:
    found = survey(make_snapshot())

    assert (found.pods, found.workloads, set(found.classes.values())) == (0, (), {0})
    assert (found.taken_at, found.resource_version) == (NOW, "42")


def test_equal_templates_share_a_query_and_uninjected_ones_have_none() -> None:
    alike = [workload(name=name, made_from=template({"app": "cart"})) for name in ("a", "b")]
    pods = [pod(f"{one.metadata.name}-1", owner=one) for one in alike]
    asked = SurveyBuilder(make_snapshot(*alike, *pods, pod("dark", namespace="kube-system"))).queries

    assert [(one.namespace, one.decision.revision) for one in asked] == [("shop", "default")]


def test_workload_names_its_live_and_expected_proxies() -> None:
    cart = workload(replicas=3)
    found = surveyed(cart, pod("c-1", owner=cart), pod("c-2", owner=cart, proxy=NEW), pod("c-3", owner=cart))

    assert found.ref == WorkloadRef("shop", "Deployment", "cart")
    assert (found.pods, found.stale_pods, found.pod_names) == (3, 2, ("c-1", "c-3"))
    assert (found.proxies, found.expected) == ({OLD: 2, NEW: 1}, ExpectedProxy(NEW, "injector"))
    assert (found.uid, found.owner) == (cart.metadata.uid, None)


def test_workload_that_gets_no_proxy_expects_none() -> None:
    assert surveyed(pod(namespace="kube-system")).expected == ExpectedProxy(None, None)


def test_gateway_expects_the_proxy_of_its_own_template() -> None:
    made_from = msgspec.structs.replace(template({"app": "cart"}), spec=pod(native=False).spec)
    gateway = workload(made_from=made_from)
    found = surveyed(gateway, pod(owner=gateway, injected=False, native=False))

    assert (found.pod_class, found.action, found.expected) == (
        PodClass.GATEWAY,
        Action.NONE,
        ExpectedProxy(OLD, "template"),
    )


def test_workload_of_a_cron_job_names_the_job_as_direct_owner() -> None:
    job = workload("Job", "nightly-1", owner=CRON_JOB)

    assert surveyed(CRON_JOB, job, pod(owner=job)).owner == "Job/nightly-1"


def test_replica_set_is_named_as_direct_owner_only_below_custom_owners() -> None:
    below_rollout = workload("ReplicaSet", "cart-9f1", owner=workload(ARGO_ROLLOUT))
    below_deployment = workload("ReplicaSet", "cart-7d4", owner=DEPLOYMENT)

    assert surveyed(below_rollout, pod(owner=below_rollout)).owner == "ReplicaSet/cart-9f1"
    assert surveyed(DEPLOYMENT, below_deployment, pod(owner=below_deployment)).owner is None


def test_active_pods_that_are_not_ready_are_counted() -> None:
    cart = workload(replicas=2)
    left_over = pod("evicted", owner=cart, phase="Failed", ready="False")
    found = surveyed(cart, pod("c-1", owner=cart), pod("c-2", owner=cart, ready="False"), left_over)

    assert found.unready == 1


def test_pod_is_current_when_injected_as_expected_and_ready() -> None:
    expected = ExpectedProxy(NEW, "injector")

    assert pod_is_current(pod(proxy=NEW), expected)
    assert not pod_is_current(pod(proxy=NEW, ready="False"), expected)
    assert not pod_is_current(pod(proxy=NEW, injected=False), expected)
    assert not pod_is_current(pod(proxy=OLD), expected)
    assert not pod_is_current(pod(proxy=None), expected)


def test_owner_that_is_read_keeps_its_template_for_every_pod() -> None:
    queue = workload("StatefulSet", "queue", made_from=template({"sidecar.istio.io/inject": "false"}))
    found = surveyed(queue, pod(owner=queue, labels={"sidecar.istio.io/inject": "true"}))

    assert found.pod_class is PodClass.ORPHANED


def test_workloads_of_one_name_and_different_kind_stay_apart() -> None:
    carts: list[Workload] = [workload(kind) for kind in ("Deployment", "StatefulSet", "DaemonSet")]
    found = survey(make_snapshot(*carts, *(pod(f"p{i}", owner=one) for i, one in enumerate(carts))))

    assert [one.kind for one in found.workloads] == ["DaemonSet", "Deployment", "StatefulSet"]
