"""Tests of mesh.k8s.workload_ref."""

from __future__ import annotations

from mesh.k8s.workload_ref import WorkloadRef


def test_reference_reads_as_the_queue_takes_it() -> None:
    assert str(WorkloadRef("shop", "Deployment", "cart")) == "shop/Deployment/cart"


def test_references_sort_by_namespace_then_kind_then_name() -> None:
    ordered = [
        WorkloadRef("bank", "StatefulSet", "till"),
        WorkloadRef("shop", "Deployment", "cart"),
        WorkloadRef("shop", "Deployment", "stock"),
        WorkloadRef("shop", "StatefulSet", "cart"),
    ]

    assert sorted(ordered[index] for index in (2, 0, 3, 1)) == ordered
