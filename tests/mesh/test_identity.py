"""Names and workflow ids, as docs/reference/temporal.md documents them."""

from __future__ import annotations

import pytest

from mesh.identity import ClusterRef, cluster_name, item_id, item_workload, items_prefix, upgrade_id, watch_id, wave_id
from mesh.k8s.workload_ref import WorkloadRef


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ("prod-eu", "prod-eu"),
        ("Prod.EU", "prod.eu"),
        ("admin@prod:6443/x", "admin-prod-6443-x"),
        ("arn:aws:eks:eu-1:1:cluster/A_b", "arn-aws-eks-eu-1-1-cluster-a-b"),
        ("größe", "gr--e"),
    ],
)
def test_cluster_is_named_after_its_context(context: str, name: str) -> None:
    assert cluster_name(context) == name


def test_ids_are_as_documented() -> None:
    assert upgrade_id("prod") == "upgrade:prod"
    assert wave_id("prod", 7) == "upgrade:prod:wave-007"
    assert wave_id("prod", 1234) == "upgrade:prod:wave-1234"
    assert item_id("prod", WorkloadRef("shop", "Deployment", "cart")) == "remediation:prod:shop:Deployment:cart"
    rollout = WorkloadRef("shop", "Rollout.argoproj.io", "cart")
    assert item_id("prod", rollout) == "remediation:prod:shop:Rollout.argoproj.io:cart"
    assert watch_id("prod") == "watch:prod"


@pytest.mark.parametrize(
    "workload",
    [
        WorkloadRef("shop", "Deployment", "cart"),
        WorkloadRef("shop", "Rollout.argoproj.io", "cart"),
        WorkloadRef("shop", "Pod", "odd:name:"),
    ],
)
def test_item_is_known_by_its_id(workload: WorkloadRef) -> None:
    identity = item_id("prod", workload)

    assert item_workload(identity) == workload
    assert identity.startswith(items_prefix("prod"))
    assert not identity.startswith(items_prefix("pro"))


def test_activities_have_a_queue_per_cluster() -> None:
    assert ClusterRef("prod", "uid").activity_queue == "kyma-upgrade.prod"
