"""What a survey tells the item of a workload that needs no restart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mesh.remediation.recheck import observe
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from mesh.survey.reasons import Reason
from tests.mesh.build import pod, surveyed, workload

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pod_class", "closed"),
    [
        ("current", "its Pods run the expected proxy"),
        ("excluded", "the workload is excluded from restarts"),
        ("pinned", "its Pods run the proxy that its template pins"),
        ("gateway", "the gateway runs the version of its revision"),
        ("uninjected", "its Pods have no sidecar, and new Pods would get none"),
        ("missing", "its Pods have no sidecar and are only reported"),
        ("ambient", "its Pods are in the mesh through ambient mode"),
        ("finished", "its Pods have finished"),
        ("terminating", "its Pods are terminating"),
    ],
)
def test_item_closes_with_what_its_pods_are(pod_class: str, closed: str) -> None:
    cart = workload()
    found = replace(
        surveyed(cart, pod("a", owner=cart)), pod_class=PodClass(pod_class), action=Action.NONE, reason=None
    )

    assert observe(found, Reason.STANDALONE_POD, _NOW).closed == closed
