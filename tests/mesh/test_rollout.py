"""Where a rollout stands by the controller's own status, and what a restart may take away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.objects import Condition, Strategy, Workload
from mesh.rollout import MARK, mark_of, may_take, rollout
from tests.mesh.build import NOW, quick, strategy, template, workload

LATE = (Condition(type="Progressing", status="False", reason="ProgressDeadlineExceeded", message="too slow"),)


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
    ],
)
def test_rollout_is_judged_by_the_rules_of_its_kind(
    kind: str, status: dict[str, Any], settled: bool, complete: bool
) -> None:
    found = rollout(workload(kind, replicas=2, status=status))

    assert (found.settled, found.complete) == (settled, complete)


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
    assert may_take(workload(replicas=replicas, strategy=strategy("RollingUpdate", unavailable, surge))) == taken


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
    ],
)
def test_strategy_of_the_kind_tells_what_is_taken(kind: str, how: Strategy | None, replicas: int, taken: int) -> None:
    assert may_take(workload(kind, replicas=replicas, strategy=how)) == taken


def marked(text: str) -> Workload:
    return workload(made_from=template(None, {MARK: text}))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-09-05T12:00:00Z", NOW),
        ("2026-09-05T14:00:00+02:00", NOW),
        ("2026-09-05T12:00:00.123456789Z", NOW.replace(microsecond=123456)),
        ("2026-09-05T12:00:00", None),
        ("2026-09-05", None),
        ("now", None),
        ("", None),
    ],
)
def test_mark_is_a_time_with_a_zone_or_none(text: str, moment: datetime | None) -> None:
    assert mark_of(marked(text)) == moment


def test_workload_without_mark_or_template_has_none() -> None:
    assert mark_of(workload()) is None
    assert mark_of(Workload()) is None


@quick
@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})"))
def test_mark_of_any_text_can_be_compared(text: str) -> None:
    found = mark_of(marked(text))

    assert found is None or found <= datetime.max.replace(tzinfo=UTC) or found.utcoffset()
