"""Remediation items: what was seen, and what the queue shows of it."""

from __future__ import annotations

from mesh.causes import Reason
from mesh.items import PODS_SHOWN, ItemState, sighting_of, view_of
from tests.mesh.build import NEW, NOW, pod, record, workload

PAUSED = workload(paused=True)


def test_workload_that_needs_a_person_is_sighted() -> None:
    found = sighting_of(record(PAUSED, pod("b", owner=PAUSED), pod("a", owner=PAUSED)))

    assert found
    assert (found.key, found.reason, found.pods, found.pod_count) == (
        ("shop", "Deployment", "cart"),
        Reason.ROLLOUT_PAUSED,
        ("a", "b"),
        2,
    )


def test_workload_that_needs_none_is_not_sighted() -> None:
    cart = workload()

    assert sighting_of(record(pod(proxy=NEW))) is None
    assert sighting_of(record(cart, pod(owner=cart))) is None


def test_sighting_names_a_bounded_number_of_pods_and_counts_all() -> None:
    found = sighting_of(record(PAUSED, *(pod(f"p{number:02}", owner=PAUSED) for number in range(50))))

    assert found
    assert (len(found.pods), found.pods[0], found.pod_count) == (PODS_SHOWN, "p00", 50)


def test_view_shows_the_sighting_with_advice() -> None:
    seen = sighting_of(record(PAUSED, pod(owner=PAUSED)))

    assert seen
    view = view_of("prod", seen, ItemState.OPEN, NOW)

    assert view.id == "remediation:prod:shop:Deployment:cart"
    assert (view.cluster, view.namespace, view.kind, view.name) == ("prod", "shop", "Deployment", "cart")
    assert (view.reason, view.detail, view.state, view.since) == ("RolloutPaused", None, "open", NOW)
    assert (view.pods, view.attempts, view.until) == (("cart-1",), 0, None)
    assert "paused" in view.next_step
    assert view.commands[0] == "kubectl -n shop rollout resume deployment/cart"
