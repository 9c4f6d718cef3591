"""Remediation items: what was seen, and what the queue shows of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.identity import item_id
from mesh.k8s.workload_ref import WorkloadRef
from mesh.remediation.item import Item, ItemIndex, Observation, view_of
from mesh.remediation.recheck import PODS_SHOWN, final_finding, finding_of, is_settled
from mesh.survey.finding import Facts
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import NO_UPGRADE, UpgradeContext, fingerprint
from tests.mesh.build import NEW, NOW, OLD, few_examples, pod, surveyed, workload

PAUSED = workload(paused=True)


def test_workload_that_needs_a_person_has_a_finding() -> None:
    found = finding_of(surveyed(PAUSED, pod("b", owner=PAUSED), pod("a", owner=PAUSED)))

    assert found
    assert (found.ref, found.reason, found.pods, found.pod_count) == (
        WorkloadRef("shop", "Deployment", "cart"),
        Reason.ROLLOUT_PAUSED,
        ("a", "b"),
        2,
    )


def test_workload_that_needs_none_has_no_finding() -> None:
    cart = workload()

    assert finding_of(surveyed(pod(proxy=NEW))) is None
    assert finding_of(surveyed(cart, pod(owner=cart))) is None


def test_finding_names_a_bounded_number_of_pods_and_counts_all() -> None:
    found = finding_of(surveyed(PAUSED, *(pod(f"p{number:02}", owner=PAUSED) for number in range(50))))

    assert found
    assert (len(found.pods), found.pods[0], found.pod_count) == (PODS_SHOWN, "p00", 50)


def test_view_shows_the_finding_with_advice() -> None:
    seen = finding_of(surveyed(PAUSED, pod(owner=PAUSED)))

    assert seen
    view = view_of(Item("prod", seen, NOW, NOW))

    assert view.id == "remediation:prod:shop:Deployment:cart"
    assert (view.cluster, view.namespace, view.kind, view.name) == ("prod", "shop", "Deployment", "cart")
    assert (view.reason, view.detail, view.state, view.since) == ("RolloutPaused", "the rollout is paused", "open", NOW)
    assert (view.pods, view.attempts, view.until) == (("cart-1",), 0, None)
    assert "paused" in view.next_step
    assert view.commands[0] == "kubectl -n shop rollout resume deployment/cart"


def test_view_shows_what_the_cluster_says_until_its_cause_is_gone() -> None:
    seen = finding_of(surveyed(pod()))

    assert seen
    item = Item("prod", seen, NOW, NOW)
    assert view_of(item).evidence == ("Pod cart-1 has no controller",)
    assert view_of(item).closes == "The item closes when the Pod runs the expected proxy, or is gone."
    gone = view_of(replace(item, restartable=True))
    assert gone.evidence == ()
    assert gone.commands == ("kyma-upgrade queue retry shop/Pod/cart-1 --cluster prod",)
    assert gone.closes != view_of(item).closes


def test_other_evidence_of_the_same_cause_is_no_news() -> None:
    seen = finding_of(surveyed(pod()))

    assert seen
    item = Item("prod", seen, NOW, NOW)
    assert item.knows(Observation(NOW, replace(seen, evidence=("2 restarts",))))
    assert not item.knows(Observation(NOW, replace(seen, facts=Facts(node="n2"))))
    assert item.observed(Observation(NOW, replace(seen, evidence=("2 restarts",)))).finding.evidence == ("2 restarts",)


CART = workload()
FAILED = UpgradeContext(failed=frozenset({fingerprint(WorkloadRef("shop", "Deployment", "cart"))}))


@pytest.mark.parametrize(
    ("proxy", "ready", "context", "reason"),
    [
        pytest.param(OLD, "True", NO_UPGRADE, None, id="to-be-restarted"),
        pytest.param(OLD, "True", FAILED, Reason.ROLLOUT_TIMED_OUT, id="restart-failed"),
        pytest.param(NEW, "True", FAILED, None, id="restart-failed-and-came-after-all"),
        pytest.param(NEW, "False", FAILED, Reason.ROLLOUT_TIMED_OUT, id="restart-failed-and-is-half-way"),
        pytest.param(NEW, "False", NO_UPGRADE, None, id="current-and-not-well-without-us"),
    ],
)
def test_failed_restart_is_wanted_until_its_pods_are_new_and_ready(
    proxy: str, ready: str, context: UpgradeContext, reason: Reason | None
) -> None:
    found = surveyed(CART, pod(owner=CART, proxy=proxy, ready=ready), context=context)
    seen = final_finding(found, context)

    assert (seen.reason if seen else None) == reason
    assert is_settled(found, Reason.ROLLOUT_TIMED_OUT) is (proxy == NEW and ready == "True")


LONG = "l" * 60
CARTS = [
    item_id("prod", WorkloadRef("shop", "Deployment", "cart")),
    item_id("prod", WorkloadRef("shop", "StatefulSet", "cart")),
    item_id("prod", WorkloadRef("shop", "Deployment", "cart-store")),
    item_id("prod", WorkloadRef("bank", "Deployment", "cart")),
    item_id("prod", WorkloadRef("shop", "Deployment", LONG)),
    item_id("prod", WorkloadRef("shop", "Pod", "alone:odd")),
]


@pytest.mark.parametrize(
    ("namespace", "name", "touched"),
    [
        pytest.param("shop", "cart", CARTS[:2], id="a-workload-itself"),
        pytest.param("shop", "cart-7d4b9c-x2x4z", CARTS[:2], id="a-pod"),
        pytest.param("shop", "cart-store-0", CARTS[:3], id="a-pod-of-one-or-the-other"),
        pytest.param("bank", "cart-1", CARTS[3:4], id="another-namespace"),
        pytest.param("shop", LONG[:45] + "x2x4z", CARTS[4:5], id="a-pod-whose-owners-name-was-cut"),
        pytest.param("shop", "alone:odd", CARTS[5:], id="a-name-with-a-colon"),
        pytest.param("shop", "car", [], id="shorter-than-any"),
        pytest.param("shop", "till-1", [], id="of-no-item"),
        pytest.param("mart", "cart-1", [], id="a-namespace-without-items"),
    ],
)
def test_change_touches_the_items_whose_pods_may_be_called_so(namespace: str, name: str, touched: list[str]) -> None:
    assert sorted(ItemIndex(CARTS).touched(namespace, name)) == sorted(touched)


_NAMES = st.text("ab", min_size=1, max_size=4)


@few_examples
@given(st.sets(st.tuples(st.sampled_from("xy"), _NAMES)), st.sampled_from("xy"), _NAMES)
def test_index_finds_what_looking_at_each_item_finds(items: set[tuple[str, str]], namespace: str, changed: str) -> None:
    ids = {item_id("prod", WorkloadRef(where, "Pod", name)): (where, name) for where, name in items}

    found = ItemIndex(ids).touched(namespace, changed)

    assert sorted(found) == sorted(
        one for one, (where, name) in ids.items() if where == namespace and changed.startswith(name)
    )
