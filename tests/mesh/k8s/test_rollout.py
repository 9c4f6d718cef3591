"""Where a rollout stands by the controller's own status, and what a restart may take away."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mesh.k8s.disruption import pods_taken_at_once
from mesh.k8s.kinds import ARGO_ROLLOUT
from mesh.k8s.objects import (
    Condition,
    PauseCondition,
    Strategy,
    Workload,
    WorkloadReference,
)
from mesh.k8s.restart_patch import mark_of
from mesh.k8s.rollout import rollout
from tests.mesh.build import NOW, strategy, workload

LATE = (Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message="too slow"),)
PAUSED = {"phase": "Paused", "message": "BlueGreenPause"}
WAITS = {"pause_conditions": (PauseCondition(reason="BlueGreenPause"),)}
DEGRADED = {"phase": "Degraded", "message": "InvalidSpec: no"}


@pytest.mark.parametrize(
    ("kind", "status", "settled", "complete"),
    [
        pytest.param("Deployment", {}, True, True, id="deployment-done"),
        pytest.param("Deployment", {"observed_generation": 0}, False, False, id="deployment-not-yet-seen"),
        pytest.param("Deployment", {"updated_replicas": 1}, False, False, id="deployment-updates"),
        pytest.param("Deployment", {"replicas": 3}, False, False, id="deployment-has-an-old-pod"),
        pytest.param("Deployment", {"available_replicas": 1}, True, False, id="deployment-waits-for-available"),
        pytest.param("StatefulSet", {}, True, True, id="stateful-set-done"),
        pytest.param("StatefulSet", {"observed_generation": 0}, False, False, id="stateful-set-not-yet-seen"),
        pytest.param("StatefulSet", {"updated_replicas": 1}, False, False, id="stateful-set-updates"),
        pytest.param("StatefulSet", {"available_replicas": 1}, True, False, id="stateful-set-waits-for-available"),
        pytest.param(
            "StatefulSet",
            {"updated_replicas": 0, "current_revision": "b", "update_revision": "b"},
            True,
            True,
            id="stateful-set-folded-its-revisions",
        ),
        pytest.param(
            "StatefulSet",
            {"updated_replicas": 0, "current_revision": "a", "update_revision": "b"},
            False,
            False,
            id="stateful-set-has-two-revisions",
        ),
        pytest.param("DaemonSet", {}, True, True, id="daemon-set-done"),
        pytest.param("DaemonSet", {"observed_generation": 0}, False, False, id="daemon-set-not-yet-seen"),
        pytest.param("DaemonSet", {"updated_number_scheduled": 1}, False, False, id="daemon-set-updates"),
        pytest.param("DaemonSet", {"number_available": 1}, True, False, id="daemon-set-waits-for-available"),
        pytest.param("DaemonSet", {"desired_number_scheduled": 0}, True, True, id="daemon-set-on-no-node"),
        pytest.param("ReplicaSet", {}, True, True, id="replica-set-full"),
        pytest.param("ReplicaSet", {"replicas": 1}, False, False, id="replica-set-makes-a-pod"),
        pytest.param("ReplicaSet", {"available_replicas": 1}, True, False, id="replica-set-waits-for-available"),
        pytest.param("ReplicationController", {}, True, True, id="replication-controller-full"),
        pytest.param(ARGO_ROLLOUT, {}, True, True, id="argo-rollout-done"),
        pytest.param(ARGO_ROLLOUT, {"observed_generation": "0"}, False, False, id="argo-rollout-not-yet-seen"),
        pytest.param(ARGO_ROLLOUT, {"observed_generation": "6f4c9d"}, False, False, id="argo-rollout-tells-a-hash"),
        pytest.param(ARGO_ROLLOUT, {"updated_replicas": 1}, False, False, id="argo-rollout-updates"),
        pytest.param(ARGO_ROLLOUT, {"stable_rs": "7d4"}, False, False, id="argo-rollout-is-not-promoted"),
        pytest.param(ARGO_ROLLOUT, {"replicas": 4}, True, True, id="argo-rollout-keeps-the-old-stack-a-while"),
        pytest.param(ARGO_ROLLOUT, {"available_replicas": 1}, True, False, id="argo-rollout-waits-for-available"),
        pytest.param(ARGO_ROLLOUT, {"phase": "Progressing"}, True, False, id="argo-rollout-waits-for-analysis"),
        pytest.param(ARGO_ROLLOUT, {"stable_rs": "", "current_pod_hash": ""}, False, False, id="argo-rollout-is-new"),
    ],
)
def test_rollout_is_evaluated_by_the_rules_of_its_kind(
    kind: str, status: dict[str, Any], settled: bool, complete: bool
) -> None:
    found = rollout(workload(kind, replicas=2, status=status))

    assert (found.settled, found.complete) == (settled, complete)


def test_argo_rollout_is_restarted_when_its_controller_says_so() -> None:
    done = workload(ARGO_ROLLOUT, mark=NOW)
    before = workload(ARGO_ROLLOUT, mark=NOW, status={"restarted_at": "2026-09-04T12:00:00Z"})
    never = workload(ARGO_ROLLOUT, mark=NOW, status={"restarted_at": None})

    assert rollout(done).complete
    assert not rollout(before).settled
    assert not rollout(never).settled
    assert rollout(never).progress != rollout(done).progress


@pytest.mark.parametrize(
    ("seen", "settled"), [("3", True), ("2", False), ("", True)], ids=["seen", "not-yet-seen", "never-reported"]
)
def test_changed_template_of_another_workload_must_be_observed(seen: str, settled: bool) -> None:
    lender = WorkloadReference(kind="Deployment", name="cart")
    noted = {"rollout.argoproj.io/workload-generation": "3"}
    one = workload(ARGO_ROLLOUT, lender=lender, annotations=noted, status={"workload_observed_generation": seen})
    own = workload(ARGO_ROLLOUT, annotations=noted, status={"workload_observed_generation": seen})

    assert rollout(one).settled is settled
    assert rollout(own).settled


@pytest.mark.parametrize(
    ("one", "paused", "failed"),
    [
        pytest.param(workload(ARGO_ROLLOUT), None, None, id="healthy"),
        pytest.param(workload(ARGO_ROLLOUT, paused=True, status=PAUSED), "BlueGreenPause", None, id="paused"),
        pytest.param(workload(ARGO_ROLLOUT, status=PAUSED | WAITS), "BlueGreenPause", None, id="its-controller-waits"),
        pytest.param(workload(ARGO_ROLLOUT, status=DEGRADED), None, "InvalidSpec: no", id="degraded"),
        pytest.param(workload(ARGO_ROLLOUT, status=DEGRADED | {"message": ""}), None, "Degraded", id="without-words"),
        pytest.param(
            workload(ARGO_ROLLOUT, status=DEGRADED | {"observed_generation": "0"}), None, None, id="degraded-before"
        ),
    ],
)
def test_argo_rollout_reports_why_it_is_paused_or_degraded(
    one: Workload, paused: str | None, failed: str | None
) -> None:
    assert (rollout(one).paused, rollout(one).failed) == (paused, failed)


def test_message_has_the_words_of_argo_rollouts() -> None:
    one = workload(ARGO_ROLLOUT, status={"message": "rollout is restarting", "available_replicas": 1})

    assert rollout(one).message == "rollout is restarting; 2 of 2 updated, 1 available"
    assert rollout(workload(ARGO_ROLLOUT)).message == "2 of 2 updated, 2 available"


def test_argo_rollout_is_read_as_its_controller_writes_it() -> None:
    status = {
        "observedGeneration": "4",
        "phase": "Paused",
        "message": "CanaryPauseStep",
        "restartedAt": "2026-09-05T12:00:00Z",
        "stableRS": "7d4",
        "currentPodHash": "9f1",
        "workloadObservedGeneration": "2",
        "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-09-05T12:00:00Z"}],
    }
    spec = {
        "restartAt": "2026-09-05T12:00:00Z",
        "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart", "scaleDown": "onsuccess"},
        "strategy": {"canary": {"steps": [{"pause": {}}]}},
    }
    text = json.dumps({"metadata": {"generation": 4}, "spec": spec, "status": status})
    one = msgspec.structs.replace(msgspec.json.decode(text, type=Workload), kind=ARGO_ROLLOUT)

    assert one.spec.workload_ref == WorkloadReference(kind="Deployment", name="cart")
    assert (one.status.stable_rs, one.status.current_pod_hash) == ("7d4", "9f1")
    assert (mark_of(one), rollout(one).paused, rollout(one).progress[0]) == (NOW, "CanaryPauseStep", 4)
    assert rollout(one).progress[-1] == 1


def test_workload_without_replicas_is_complete() -> None:
    assert rollout(workload(replicas=0)).complete


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        pytest.param({"available_replicas": 1, "conditions": LATE}, "too slow", id="deadline-exceeded"),
        pytest.param({"conditions": LATE}, None, id="complete-after-all"),
        pytest.param({"available_replicas": 1}, None, id="on-its-way"),
        pytest.param(
            {"available_replicas": 1, "observed_generation": 0, "conditions": LATE}, None, id="of-the-template-before"
        ),
    ],
)
def test_rollout_failed_when_the_controller_says_so(status: dict[str, Any], failed: str | None) -> None:
    assert rollout(workload(status=status)).failed == failed


def test_progress_changes_with_every_step() -> None:
    steps = [{"updated_replicas": n, "available_replicas": m} for n in range(3) for m in range(3)]
    found = {rollout(workload(status=step)).progress for step in steps}

    assert len(found) == len(steps)


@pytest.mark.parametrize(
    ("unavailable", "surge", "replicas", "taken"),
    [
        # k8s.io/kubernetes/pkg/controller/deployment/util, TestResolveFenceposts and MaxUnavailable
        pytest.param("25%", "25%", 10, 2, id="unavailable-rounds-down"),
        pytest.param("25%", "25%", 4, 1, id="a-whole-one"),
        pytest.param("25%", "25%", 3, 0, id="rounds-down-to-none-and-surges"),
        pytest.param("25%", "0%", 3, 1, id="cannot-surge-so-takes-one"),
        pytest.param(0, 0, 5, 1, id="both-zero-takes-one"),
        pytest.param(None, None, 5, 1, id="neither-takes-one"),
        pytest.param(0, 1, 5, 0, id="surges"),
        pytest.param(1, 0, 5, 1, id="one"),
        pytest.param("100%", "0%", 3, 3, id="all"),
        pytest.param(5, 0, 3, 3, id="never-more-than-there-are"),
        pytest.param("50%", "50%", 0, 0, id="none-to-take"),
    ],
)
def test_deployment_takes_what_kubernetes_resolves(
    unavailable: int | str | None, surge: int | str | None, replicas: int, taken: int
) -> None:
    assert (
        pods_taken_at_once(workload(replicas=replicas, strategy=strategy("RollingUpdate", unavailable, surge))) == taken
    )


@pytest.mark.parametrize(
    ("kind", "how", "replicas", "taken"),
    [
        pytest.param("Deployment", None, 8, 2, id="deployment-default"),
        pytest.param("Deployment", strategy("Recreate"), 3, 3, id="deployment-recreate"),
        pytest.param("StatefulSet", None, 3, 1, id="stateful-set-default"),
        pytest.param("StatefulSet", strategy(unavailable="50%"), 3, 1, id="stateful-set-rounds-down"),
        pytest.param("StatefulSet", strategy(unavailable=2), 3, 2, id="stateful-set-two"),
        pytest.param("StatefulSet", strategy(unavailable="10%"), 3, 1, id="stateful-set-at-least-one"),
        pytest.param("DaemonSet", None, 3, 1, id="daemon-set-default"),
        pytest.param("DaemonSet", strategy(unavailable="50%"), 3, 2, id="daemon-set-rounds-up"),
        pytest.param("DaemonSet", strategy(unavailable=0, surge=1), 3, 0, id="daemon-set-surges"),
        pytest.param("DaemonSet", strategy(unavailable=0, surge="10%"), 3, 0, id="daemon-set-surge-rounds-up"),
        pytest.param("ReplicaSet", None, 3, 1, id="eviction"),
        pytest.param(ARGO_ROLLOUT, None, 3, 1, id="argo-rollout-evicts"),
    ],
)
def test_strategy_of_the_kind_tells_what_is_taken(kind: str, how: Strategy | None, replicas: int, taken: int) -> None:
    assert pods_taken_at_once(workload(kind, replicas=replicas, strategy=how)) == taken
