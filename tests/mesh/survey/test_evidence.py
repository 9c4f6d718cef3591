"""What says that a cause holds: the cluster's own words, few and short whatever it holds."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import Condition, Container, ContainerState, ContainerStates, ContainerStatus, Pod, PodSpec
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.recheck import finding_for, finding_of
from mesh.survey.actions import Action
from mesh.survey.evidence import EVIDENCE_LIMIT, EVIDENCE_LINES, FACT_LIMIT, SECRETS_NAMED
from mesh.survey.finding import Facts, Finding
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext, fingerprint
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.mesh.build import (
    NEW,
    NOW,
    OLD,
    budget,
    custom_owner,
    few_examples,
    make_namespace,
    pod,
    strategy,
    survey,
    surveyed,
    waiting,
    workload,
)
from tests.mesh.survey.test_survey import CONTEXTS, PODS, seen

CART = workload()
UNSCHEDULED = Condition(
    type="PodScheduled",
    status="False",
    reason="Unschedulable",
    message="0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu. none: 3 Insufficient cpu.",
)
KILLED = ContainerState(exit_code=137, reason="OOMKilled", message="too much")


def sighted(*things: Any, **options: Any) -> Finding:  # noqa: ANN401  # whatever `surveyed` takes
    found = finding_of(surveyed(*things, **options))
    assert found is not None
    return found


def pending(**changes: Any) -> Pod:  # noqa: ANN401  # whatever `pod` takes
    settings: dict[str, Any] = {"owner": CART, "phase": "Pending", "ready": None, "node": ""} | changes
    return pod(**settings)


def test_unschedulable_pod_tells_the_schedulers_message_and_what_is_short() -> None:
    found = sighted(CART, pending(conditions=(UNSCHEDULED,)))

    assert found.evidence[:2] == (
        "Pod cart-1: phase Pending",
        f"scheduler: Unschedulable: {UNSCHEDULED.message}",
    )
    assert found.facts == Facts(unscheduled=True, resource="cpu, nvidia.com/gpu")


@pytest.mark.parametrize(
    ("message", "resource"),
    [
        ("0/1 nodes are available: 1 Insufficient memory.", "memory"),
        ("0/1 nodes are available: 1 Too many pods.", "pods"),
        (
            "0/1 nodes are available: 1 Insufficient ephemeral-storage, 1 Insufficient memory.",
            "ephemeral-storage, memory",
        ),
        ("0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.", ""),
    ],
)
def test_what_is_short_is_taken_from_the_schedulers_message(message: str, resource: str) -> None:
    found = sighted(CART, pending(conditions=(msgspec.structs.replace(UNSCHEDULED, message=message),)))

    assert found.facts == Facts(unscheduled=True, resource=resource)


def test_image_that_cannot_be_pulled_is_reported_with_its_container_and_secrets() -> None:
    ill = pending(node="n1", secrets=("pull", "", "other"), statuses=(waiting("ImagePullBackOff", "Back-off"),))
    found = sighted(CART, ill)

    assert found.evidence[:2] == (
        "Pod cart-1 on node n1: phase Pending",
        "container app, image app:1: ImagePullBackOff: Back-off",
    )
    assert found.facts == Facts(node="n1", container="app", image="app:1", secrets=("pull", "other"))


def test_container_that_waits_for_something_else_has_no_image_and_secrets_as_facts() -> None:
    ill = pending(node="n1", secrets=("pull",), statuses=(waiting("CreateContainerConfigError", 'no secret "x"'),))

    assert sighted(CART, ill).facts == Facts(node="n1", container="app")


def test_starting_container_is_no_evidence_but_its_event_is() -> None:
    ill = pending(node="n1", statuses=(waiting("ContainerCreating"),))
    found = sighted(CART, ill, events={"cart-1": "FailedMount: no such volume"})

    assert found.evidence[:2] == ("Pod cart-1 on node n1: phase Pending", "event: FailedMount: no such volume")
    assert found.facts == Facts(node="n1")


def test_crash_tells_the_last_termination() -> None:
    well = waiting("", name="istio-proxy")
    ill = pod(owner=CART, ready="False", statuses=(well, waiting("CrashLoopBackOff", "back-off 5m", ended=KILLED)))
    found = sighted(CART, ill)

    assert found.reason is Reason.CRASH_LOOPING
    assert found.evidence[:3] == (
        "Pod cart-1 on node n1: phase Running",
        "container app, image app:1: CrashLoopBackOff: back-off 5m",
        "container app, last termination: exit code 137: OOMKilled: too much",
    )
    assert found.facts == Facts(node="n1", container="app")


def test_failed_pod_tells_how_it_ended() -> None:
    ended = ContainerStatus(name="app", state=ContainerStates(terminated=KILLED))
    cart = workload(ready=0)
    found = sighted(
        cart, pod(owner=cart, phase="Failed", ready="False", status_text=("Evicted", "low"), statuses=(ended,))
    )

    assert found.evidence[:2] == (
        "Pod cart-1 on node n1: phase Failed: Evicted: low",
        "container app, last termination: exit code 137: OOMKilled: too much",
    )


def test_pod_whose_node_is_silent_tells_node_and_condition() -> None:
    ready = Condition(type="Ready", status="Unknown", reason="NodeStatusUnknown", message="Kubelet stopped posting.")
    found = sighted(CART, pod(owner=CART, ready=None, conditions=(ready,)))

    assert found.reason is Reason.POD_UNKNOWN
    assert found.evidence[:2] == (
        "Pod cart-1 on node n1: phase Running",
        "condition Ready is Unknown: NodeStatusUnknown: Kubelet stopped posting.",
    )
    assert found.facts == Facts(node="n1")


def test_pod_that_does_not_go_tells_when_it_should_have_and_what_holds_it() -> None:
    stuck = pod(owner=CART, name="cart-2", deleted=timedelta(hours=1), finalizers=("example.com/hold",))
    found = sighted(CART, stuck, pending(conditions=(UNSCHEDULED,)))

    assert found.reason is Reason.STUCK_TERMINATING
    assert found.evidence[0] == (
        "Pod cart-2 on node n1: should have been deleted by 2026-09-05T11:00:00Z, finalizers: example.com/hold"
    )
    assert found.facts == Facts(node="n1")


def test_budget_tells_its_numbers() -> None:
    cart = workload(strategy=strategy(unavailable=1, surge=0))
    found = sighted(cart, *(pod(one, owner=cart) for one in ("a", "b")), budget(2, 2))

    assert found.reason is Reason.DISRUPTION_BUDGET
    assert found.evidence == (
        "PodDisruptionBudget cart-budget: 2 of 2 Pods are healthy, 2 wanted, 0 disruptions allowed",
    )
    assert found.facts == Facts(budget="cart-budget")


def test_quota_is_reported_by_the_condition_of_the_rollout() -> None:
    message = 'pods "cart-2" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
    refused = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message=message)
    cart = workload(status={"conditions": (refused,), "updated_replicas": 0})
    failed = UpgradeContext(failed=frozenset({fingerprint(WorkloadRef("shop", "Deployment", "cart"))}))
    found = finding_for(surveyed(cart, pod(owner=cart), context=failed), Reason.QUOTA_EXCEEDED, message)

    assert found.evidence == (
        f"condition ReplicaFailure is True: FailedCreate: {message}",
        "rollout: 0 of 2 updated, 2 available",
        f"expected proxy: {NEW}",
        f"live proxies: {OLD}",
    )
    assert found.facts == Facts(quota="small")


def test_budget_that_allowed_nothing_is_reported_of_a_restart_that_failed() -> None:
    failed = UpgradeContext(failed=frozenset({fingerprint(WorkloadRef("shop", "Deployment", "cart"))}))
    found = sighted(CART, pod(owner=CART), budget(1, 1), budget(0, 1, selects={"app": "other"}), context=failed)

    assert found.reason is Reason.ROLLOUT_TIMED_OUT
    assert found.facts.budget == "cart-budget"


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_update_strategy_is_evidence(kind: str) -> None:
    db = workload(kind, "db", strategy=strategy("OnDelete"))
    found = sighted(db, pod(owner=db), pod("ill", owner=db, ready="False"))

    assert found.evidence == ("update strategy OnDelete: 2 of 2 updated, 2 available",)


def test_partition_is_evidence_and_the_highest_ordinal_is_taken_first() -> None:
    db = workload("StatefulSet", "db", strategy=strategy(partition=12))
    found = sighted(db, *(pod(f"db-{number}", owner=db) for number in range(12)))

    assert found.evidence == ("update strategy RollingUpdate, partition 12: 2 of 2 updated, 2 available",)
    assert found.pods == tuple(f"db-{number}" for number in range(11, -1, -1))


def test_pods_are_cut_only_once_they_are_in_order() -> None:
    db = workload("StatefulSet", "db", strategy=strategy("OnDelete"))
    found = sighted(db, *(pod(f"db-{number}", owner=db) for number in range(100)))

    assert (found.pods[0], found.pods[-1], found.pod_count) == ("db-99", "db-80", 100)


def test_job_of_a_cron_job_is_named() -> None:
    nightly = workload("CronJob", "nightly")
    job = workload("Job", "nightly-1", owner=nightly, status={"active": 1})
    found = sighted(nightly, job, pod(owner=job))

    assert found.evidence == ("Job nightly-1: 1 Pod active",)
    assert found.facts == Facts(direct="job/nightly-1")


def test_job_without_owner_is_the_workload_itself() -> None:
    job = workload("Job", "once", status={"active": 1})

    assert sighted(job, pod(owner=job)).facts == Facts()


def test_unsupported_owner_is_named() -> None:
    found = sighted(pod(owner=custom_owner()))

    assert found.evidence == ("Pod cart-1 is controlled by CloneSet cart of apps.kruise.io/v1alpha1",)


def test_healthy_standalone_pod_has_no_evidence_of_its_own() -> None:
    assert sighted(pod()).evidence == ("Pod cart-1 has no controller",)


def test_expected_proxy_is_reported_where_a_restart_brought_another_one() -> None:
    cart = workload(mark=NOW)
    found = sighted(cart, pod(owner=cart), context=UpgradeContext(mark=NOW))

    assert found.reason is Reason.IMAGE_REWRITTEN
    assert f"expected proxy: {NEW}" in found.evidence


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ({"istio-injection": "disabled", "team": "x"}, "namespace shop: labelled istio-injection=disabled"),
        ({"team": "x"}, "namespace shop: no injection label"),
    ],
)
def test_sidecar_that_would_be_lost_is_reported_with_the_labels_about_injection(
    labels: dict[str, str], line: str
) -> None:
    found = sighted(make_namespace(labels=labels), CART, pod(owner=CART))

    assert found.reason is Reason.WOULD_LOSE_SIDECAR
    assert found.evidence == (line, "Pod template: no injection label")


def test_injector_that_refuses_is_reported_in_its_own_words() -> None:
    found = sighted(CART, pod(owner=CART), expected=ExpectedProxy(None, None, "the injector refused: no such thing"))

    assert found.reason is Reason.UNKNOWN_PROXY
    assert found.evidence == ("injector: the injector refused: no such thing",)


def test_windows_are_reported_as_they_are_written() -> None:
    cart = workload(annotations={MAINTENANCE_WINDOW: "Sat 00:00-04:00"})
    found = sighted(make_namespace(annotations={MAINTENANCE_WINDOW: "Sun 00:00-04:00"}), cart, pod(owner=cart))

    assert found.reason is Reason.WINDOW_NEVER_OPENS
    assert found.evidence == ("maintenance window: Sun 00:00-04:00", "maintenance window: Sat 00:00-04:00")


def test_pause_is_reported_by_the_condition() -> None:
    paused = Condition(type="Progressing", status="Unknown", reason="DeploymentPaused", message="Deployment is paused")
    cart = workload(paused=True, status={"conditions": (paused,)})
    found = sighted(cart, pod(owner=cart))

    assert (found.reason, found.detail) == (Reason.ROLLOUT_PAUSED, "the rollout is paused")
    assert found.evidence == ("condition Progressing is Unknown: DeploymentPaused: Deployment is paused",)


def test_healthy_workload_costs_nothing() -> None:
    found = surveyed(CART, pod(owner=CART))

    assert (found.action, found.evidence, found.facts) == (Action.ROLLOUT_RESTART, (), Facts())


def test_pods_that_are_not_ready_after_a_restart_are_evidence_though_they_are_current() -> None:
    found = surveyed(CART, pod(owner=CART, proxy=NEW, ready="False", statuses=(waiting("CrashLoopBackOff", "x"),)))

    assert found.action is Action.NONE
    assert "container app, image app:1: CrashLoopBackOff: x" in found.evidence


LONG = "\x1b[31m**bold** [x](javascript:alert(1)) <b>\u202e\n" * 500
HOSTILE = ContainerState(exit_code=1, reason=LONG, message=LONG)
CONDITIONS = tuple(
    Condition(type=one, status="False", reason=LONG, message=f"Insufficient {LONG}")
    for one in ("PodScheduled", "Other")
)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CrashLoopBackOff", LONG])
@pytest.mark.parametrize("phase", ["Pending", "Running", "Failed"])
@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", ARGO_ROLLOUT, None])
def test_evidence_is_short_lines_whatever_the_cluster_says(kind: str | None, phase: str, reason: str) -> None:
    trouble = tuple(
        Condition(type=one, status="False", reason=LONG, message=LONG) for one in ("Progressing", "Available")
    )
    owner = workload(kind, ready=0, status={"conditions": trouble, "message": LONG}) if kind else None
    statuses = tuple(waiting(reason, LONG, name=f"app-{number}", ended=HOSTILE) for number in range(20))
    ill = pod(
        owner=owner,
        phase=phase,
        ready="False",
        status_text=(LONG, LONG),
        conditions=CONDITIONS,
        statuses=statuses,
        node=LONG,
        secrets=(LONG,) * 50,
    )
    ill = msgspec.structs.replace(ill, spec=_imaged(ill.spec))
    found = sighted(*([owner] if owner else []), ill, events={"cart-1": LONG})

    assert 3 < len(found.evidence) <= EVIDENCE_LINES
    _short(found)
    assert bool(found.facts.secrets) is (reason == "ImagePullBackOff")


def _imaged(spec: PodSpec) -> PodSpec:
    containers = tuple(Container(name=f"app-{number}", image=LONG) for number in range(20))
    return msgspec.structs.replace(spec, containers=containers)


def _short(found: Finding) -> None:
    facts = found.facts
    assert len(found.evidence) <= EVIDENCE_LINES
    assert len(facts.secrets) <= SECRETS_NAMED
    assert all(len(one) <= EVIDENCE_LIMIT for one in found.evidence)
    named = (facts.node, facts.container, facts.image, facts.resource, facts.budget, facts.quota, facts.direct)
    assert all(len(one) <= FACT_LIMIT for one in (*named, *facts.secrets))
    shown = "".join((*found.evidence, *named, *facts.secrets))
    assert not [sign for sign in shown if unicodedata.category(sign) == "Cc" or sign == "\u202e"]


@few_examples
@given(PODS, CONTEXTS, st.sampled_from(["", LONG]))
def test_evidence_of_anything_is_short(pods: list[Pod], context: UpgradeContext, event: str) -> None:
    words = {one.metadata.uid: event for one in pods}
    for one in survey(replace(seen(pods), pod_events=words), context).workloads:
        if (found := finding_of(one)) is not None:
            _short(found)
