"""Rules about owners, one case each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.istio.expected_proxy import ExpectedProxy
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import (
    PauseCondition,
    Pod,
    Workload,
    WorkloadReference,
)
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import UpgradeContext
from tests.mesh.build import (
    NOW,
    custom_owner,
    make_namespace,
    pod,
    strategy,
    surveyed,
    verdict,
    workload,
)

OFF = {"istio-injection": "disabled"}

PAUSE = PauseCondition(reason="CanaryPauseStep")


@pytest.mark.parametrize(
    ("owner", "reason", "detail"),
    [
        pytest.param(None, "StandalonePod", None, id="standalone-pod"),
        pytest.param(workload("Job"), "JobPod", None, id="job"),
        pytest.param(workload("CronJob"), "JobPod", None, id="cron-job"),
        pytest.param(custom_owner(), "UnsupportedOwner", "owner is a CloneSet.apps.kruise.io", id="custom-kind"),
        pytest.param(custom_owner("Node", "v1", "n1"), "UnsupportedOwner", "owner is a Node", id="mirror-pod"),
        pytest.param(workload(paused=True), "RolloutPaused", "the rollout is paused", id="paused"),
        pytest.param(
            workload("StatefulSet", strategy=strategy("OnDelete")),
            "UpdateStrategyOnDelete",
            None,
            id="stateful-set-on-delete",
        ),
        pytest.param(
            workload("DaemonSet", strategy=strategy("OnDelete")),
            "UpdateStrategyOnDelete",
            None,
            id="daemon-set-on-delete",
        ),
        pytest.param(
            workload("StatefulSet", strategy=strategy(partition=2)),
            "PartitionedRollout",
            "partition is 2",
            id="partition",
        ),
    ],
)
def test_stale_workload_of_an_owner_that_cannot_be_restarted_is_reported(
    owner: Workload, reason: str, detail: str | None
) -> None:
    things = [owner] if isinstance(owner, Workload) else []
    found = surveyed(*things, pod(owner=owner))

    assert (found.action, found.reason, found.detail) == (Action.REMEDIATE, reason, detail)


@pytest.mark.parametrize(
    ("owner", "reason", "detail"),
    [
        pytest.param(
            workload(ARGO_ROLLOUT, status={"pause_conditions": (PAUSE,), "phase": "Paused", "message": PAUSE.reason}),
            "RolloutPaused",
            "CanaryPauseStep",
            id="paused-at-a-step",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, paused=True, status={"phase": "Paused", "message": "manually paused"}),
            "RolloutPaused",
            "manually paused",
            id="paused-by-hand",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, mark=NOW + timedelta(days=3)),
            "RolloutPaused",
            "its restart is scheduled for 2026-09-08T12:00Z",
            id="somebody-scheduled-its-restart",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, status={"phase": "Degraded", "message": "RolloutAborted: update to revision 2"}),
            "RolloutFailing",
            "RolloutAborted: update to revision 2",
            id="aborted",
        ),
        pytest.param(
            workload(ARGO_ROLLOUT, lender=WorkloadReference(kind="PodTemplate", name="cart")),
            "UnsupportedOwner",
            "its Pod template belongs to PodTemplate cart, which is not read",
            id="template-is-not-read",
        ),
    ],
)
def test_argo_rollout_that_no_restart_reaches_is_reported(owner: Workload, reason: str, detail: str) -> None:
    below = workload("ReplicaSet", "cart-9f1", owner=owner)
    found = surveyed(owner, below, pod(owner=below))

    assert (found.action, found.reason, found.detail) == (Action.REMEDIATE, reason, detail)


def test_argo_rollout_is_restarted_only_with_every_pod_ready() -> None:
    cart = workload(ARGO_ROLLOUT)
    below = workload("ReplicaSet", "cart-9f1", owner=cart)
    found = surveyed(cart, below, pod("a", owner=below), pod("b", owner=below, ready="False"))

    assert (found.action, found.reason) == (Action.REMEDIATE, Reason.NOT_READY)


def test_restart_time_within_the_difference_of_clocks_is_no_schedule() -> None:
    cart = workload(ARGO_ROLLOUT, mark=NOW + timedelta(seconds=30))

    assert surveyed(cart, pod(owner=cart)).action is Action.RESTART_AT


def test_argo_rollout_that_is_gone_is_reported() -> None:
    found = surveyed(pod(owner=workload(ARGO_ROLLOUT)))

    assert found.detail == "Rollout.argoproj.io cart does not exist any more"


def test_partition_of_zero_is_none() -> None:
    db = workload("StatefulSet", strategy=strategy(partition=0))

    assert surveyed(db, pod(owner=db)).action is Action.ROLLOUT_RESTART


def test_owner_that_is_gone_is_reported() -> None:
    found = surveyed(pod(owner=workload("ReplicaSet", "cart-7d4")))

    assert (found.reason, found.detail) == (Reason.UNSUPPORTED_OWNER, "ReplicaSet cart-7d4 does not exist any more")


@pytest.mark.parametrize(
    ("one", "state"),
    [
        pytest.param(pod(phase="Pending", ready="False"), "Pending", id="pending"),
        pytest.param(pod(phase="Failed", ready="False"), "Failed", id="failed"),
        pytest.param(pod(phase="Unknown"), "Unknown", id="unknown"),
        pytest.param(pod(ready="Unknown"), "Unknown", id="ready-unknown"),
    ],
)
def test_reason_of_the_owner_tells_the_state_of_its_pods_too(one: Pod, state: str) -> None:
    found = surveyed(one)

    assert found.reason is Reason.STANDALONE_POD
    assert state in (found.detail or "")


AFTER, BEFORE = timedelta(minutes=30), timedelta(hours=2)

MARKED = UpgradeContext(mark=NOW - timedelta(hours=1))


def test_reason_of_the_owner_comes_before_a_rewritten_image() -> None:
    cart = workload(paused=True)

    assert surveyed(cart, pod(owner=cart, age=AFTER), context=MARKED).reason is Reason.ROLLOUT_PAUSED


def test_finished_runs_of_a_cron_job_are_no_trouble_of_the_one_that_runs() -> None:
    job = workload("Job")
    found = surveyed(
        job, pod("ran", owner=job, proxy=None, phase="Succeeded", ready="False"), pod("runs", owner=job, proxy=None)
    )

    assert (found.pod_class, found.reason, found.detail) == (
        PodClass.MISSING,
        Reason.JOB_POD,
        "created without a sidecar, would get one now",
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(OFF, None, id="orphaned"),
        pytest.param(None, ExpectedProxy(None, None, "no answer"), id="unknown"),
    ],
)
def test_reason_of_the_owner_comes_before_that_of_injection(
    labels: dict[str, str] | None, expected: ExpectedProxy | None
) -> None:
    found = surveyed(pod(), make_namespace(labels=labels), expected=expected)

    assert verdict(found) == (Action.REMEDIATE, Reason.STANDALONE_POD)
    assert "would get no sidecar" in (found.detail or "") or "no answer" in (found.detail or "")
