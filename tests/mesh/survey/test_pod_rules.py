"""Rules about Pods, one case each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.k8s.objects import (
    Condition,
    ContainerState,
    Pod,
)
from mesh.survey.actions import Action
from mesh.survey.pod_rules import most_severe, pod_cause
from mesh.survey.reasons import Reason
from tests.mesh.build import (
    NOW,
    pod,
    surveyed,
    waiting,
    workload,
)

UNSCHEDULED = Condition(type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes are available")

KILLED = ContainerState(exit_code=137, reason="OOMKilled")


@pytest.mark.parametrize(
    ("one", "reason", "detail"),
    [
        pytest.param(
            pod(phase="Pending", ready=None, conditions=(UNSCHEDULED,)),
            "PodPending",
            "Pod cart-1 Pending: 0/3 nodes are available",
            id="unschedulable",
        ),
        pytest.param(
            pod(phase="Pending", ready=None, statuses=(waiting("ImagePullBackOff", "no such image"),)),
            "PodPending",
            "Pod cart-1 Pending: container app: ImagePullBackOff no such image",
            id="image-missing",
        ),
        pytest.param(
            pod(phase="Pending", ready=None, statuses=(waiting("PodInitializing"),)),
            "PodPending",
            "Pod cart-1 Pending: its containers have not started",
            id="initialises",
        ),
        pytest.param(
            pod(ready="False", statuses=(waiting("CrashLoopBackOff", ended=KILLED),)),
            "CrashLooping",
            "Pod cart-1 container app: CrashLoopBackOff after 7 restarts, last exit code 137 OOMKilled",
            id="crash-loops",
        ),
        pytest.param(
            pod(phase="Failed", ready="False", status_text=("Evicted", "the node was low on memory")),
            "PodFailed",
            "Pod cart-1 Failed: the node was low on memory",
            id="failed",
        ),
        pytest.param(
            pod(phase="Unknown", status_text=("", "")),
            "PodUnknown",
            "Pod cart-1 Unknown: its node does not report",
            id="unknown",
        ),
        pytest.param(
            pod(ready=None, conditions=(Condition(type="Ready", status="Unknown", message="kubelet stopped"),)),
            "PodUnknown",
            "Pod cart-1 Unknown: kubelet stopped",
            id="ready-unknown",
        ),
        pytest.param(
            pod(ready="False", status_text=("NodeLost", "")),
            "PodUnknown",
            "Pod cart-1 Unknown: NodeLost",
            id="node-lost",
        ),
        pytest.param(
            pod(ready=None, conditions=(Condition(type="Ready", status="False", message="probe fails"),)),
            "NotReady",
            "Pod cart-1 not Ready: probe fails",
            id="not-ready",
        ),
        pytest.param(pod(ready=None), "NotReady", "Pod cart-1 not Ready: it has not been Ready yet", id="no-condition"),
    ],
)
def test_stale_workload_with_no_pod_ready_is_reported_with_the_clusters_message(
    one: Pod, reason: str, detail: str
) -> None:
    cart = workload(ready=0)
    mine = pod(
        owner=cart,
        phase=one.status.phase,
        ready=None,
        status_text=(one.status.reason, one.status.message),
        conditions=one.status.conditions or (),
        statuses=one.status.container_statuses or (),
    )
    found = surveyed(cart, mine)

    assert (found.action, found.reason, found.detail) == (Action.REMEDIATE, reason, detail)


def test_most_severe_cause_is_reported() -> None:
    pods = [pod(ready="False"), pod(phase="Pending"), pod(phase="Unknown"), pod()]
    found = most_severe(pods, NOW)

    assert found is not None
    assert found[1].reason is Reason.POD_UNKNOWN
    assert most_severe([pod()], NOW) is None


@pytest.mark.parametrize(
    ("since", "reason"),
    [(timedelta(minutes=6), Reason.STUCK_TERMINATING), (timedelta(minutes=4), None)],
    ids=["stuck", "goes"],
)
def test_terminating_pod_is_a_cause_only_once_it_is_stuck(since: timedelta, reason: Reason | None) -> None:
    found = pod_cause(pod(deleted=since, ready="False"), NOW)

    assert (found.reason if found else None) is reason


def test_stuck_pod_is_reported_when_nothing_else_is_ready() -> None:
    db = workload("StatefulSet", "db", ready=0)
    stuck = pod("db-0", owner=db, deleted=timedelta(hours=1))

    assert surveyed(db, stuck, pod("db-1", owner=db, phase="Pending", ready="False")).reason is Reason.STUCK_TERMINATING
