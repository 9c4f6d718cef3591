"""Which workloads are restarted, and in which way."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh.k8s.objects import (
    Pod,
)
from mesh.survey.actions import Action
from mesh.survey.snapshot import NO_UPGRADE, UpgradeContext
from tests.mesh.build import (
    NOW,
    pod,
    surveyed,
    verdict,
    workload,
)


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("Deployment", "rollout-restart"),
        ("StatefulSet", "rollout-restart"),
        ("DaemonSet", "rollout-restart"),
        ("ReplicaSet", "evict"),
        ("ReplicationController", "evict"),
        ("Rollout.argoproj.io", "restart-at"),
    ],
)
def test_stale_workload_is_restarted_in_the_way_of_its_kind(kind: str, action: str) -> None:
    cart = workload(kind)

    assert verdict(surveyed(cart, pod(owner=cart))) == (action, None)


MADE_BEFORE, MADE_SINCE = timedelta(hours=2), timedelta(minutes=30)

BEGAN = UpgradeContext(began=NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("ages", "context", "action", "reason"),
    [
        pytest.param((MADE_BEFORE,), NO_UPGRADE, "remediate", "SidecarMissing", id="scan"),
        pytest.param((MADE_BEFORE,), BEGAN, "remediate", "SidecarMissing", id="made-before-the-upgrade"),
        pytest.param((MADE_SINCE,), BEGAN, "rollout-restart", None, id="made-during-it"),
        pytest.param((MADE_SINCE, MADE_BEFORE), BEGAN, "remediate", "SidecarMissing", id="some-made-before"),
        pytest.param(
            (MADE_BEFORE,), UpgradeContext(restart_missing=True), "rollout-restart", None, id="policy-says-so"
        ),
    ],
)
def test_missing_sidecar_is_restarted_only_after_this_upgrade_or_by_policy(
    ages: tuple[timedelta, ...], context: UpgradeContext, action: str, reason: str | None
) -> None:
    cart = workload()
    pods = [pod(f"p{number}", owner=cart, proxy=None, age=age) for number, age in enumerate(ages)]

    assert verdict(surveyed(cart, *pods, context=context)) == (action, reason)


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(pod(proxy="hub/proxyv2:1.30.2"), id="current"),
        pytest.param(pod(proxy=None, namespace="kube-system"), id="uninjected"),
        pytest.param(pod(injected=False), id="gateway"),
        pytest.param(pod(deleted=timedelta(hours=1)), id="terminating"),
        pytest.param(pod(phase="Succeeded"), id="finished"),
        pytest.param(pod(annotations={"restarter.istio-operator.kyma-project.io/exclude": "true"}), id="excluded"),
    ],
)
def test_all_other_classes_need_no_action(one: Pod) -> None:
    assert verdict(surveyed(one)) == (Action.NONE, None)
