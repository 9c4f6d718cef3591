"""Restarts at the same time never take a PodDisruptionBudget below what it wants, however late it is counted."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from activities.kube.informer import Informer
from activities.restart.disruption_budgets import DisruptionBudgets
from mesh.k8s.disruption import pods_taken_at_once, would_exceed
from mesh.k8s.objects import DisruptionBudget, DisruptionBudgetStatus, Pod, Workload
from mesh.k8s.owners import Owner
from tests.mesh.build import budget, pod, strategy, template, workload


@dataclass
class FakeInformer:
    """Shows these budgets, as the disruption controller last counted them."""

    found: list[DisruptionBudget] = field(default_factory=list)

    def budgets(self, namespace: str) -> list[DisruptionBudget]:
        return [one for one in self.found if one.metadata.namespace == namespace]


def counted(desired: int, healthy: int, expected: int, name: str = "cart-budget") -> DisruptionBudget:
    """A budget of everything in the namespace."""
    one = budget(desired, expected, selects={"part-of": "shop"})
    status = DisruptionBudgetStatus(current_healthy=healthy, desired_healthy=desired, expected_pods=expected)
    metadata = msgspec.structs.replace(one.metadata, name=name)
    return msgspec.structs.replace(one, metadata=metadata, status=status)


def restart_of(name: str, most: int, replicas: int = 10, *, namespace: str = "shop") -> tuple[Owner, list[Pod]]:
    """A Deployment whose rollout takes so many of its Pods at once."""
    made = template({"app": name, "part-of": "shop"})
    one = workload(
        name=name,
        namespace=namespace,
        replicas=replicas,
        made_from=made,
        strategy=strategy(unavailable=most, surge=0 if most else 1),
    )
    owner = Owner("Deployment", namespace, name, one, made)
    return owner, [pod(f"{name}-1", owner=one, namespace=namespace, labels={"app": name, "part-of": "shop"})]


@pytest.fixture
def informer() -> FakeInformer:
    return FakeInformer()


@pytest.fixture
def budgets(informer: FakeInformer) -> DisruptionBudgets:
    return DisruptionBudgets(cast("Informer", informer))


@pytest.mark.parametrize(
    ("budget_now", "taken", "others", "exceeded"),
    [
        pytest.param(counted(8, 10, 10), 2, 0, False, id="just-enough"),
        pytest.param(counted(8, 10, 10), 3, 0, True, id="one-too-many"),
        pytest.param(counted(8, 10, 10), 1, 1, False, id="beside-others"),
        pytest.param(counted(8, 10, 10), 1, 2, True, id="others-take-all-and-are-not-counted-yet"),
        pytest.param(counted(8, 8, 10), 1, 0, True, id="some-are-not-healthy"),
        pytest.param(counted(8, 9, 10), 1, 1, True, id="unhealthy-pods-may-be-of-no-restart"),
        pytest.param(counted(8, 7, 10), 0, 0, True, id="exceeded-already"),
        pytest.param(counted(0, 0, 0), 1, 0, True, id="not-counted-at-all"),
        pytest.param(counted(0, 10, 10), 10, 0, False, id="wants-nothing"),
    ],
)
def test_budget_is_exceeded_when_too_few_pods_would_be_left(
    budget_now: DisruptionBudget, taken: int, others: int, exceeded: bool
) -> None:
    assert would_exceed(budget_now, taken, others) is exceeded


def test_reservation_of_one_restart_counts_for_others_until_it_is_done(
    informer: FakeInformer, budgets: DisruptionBudgets
) -> None:
    informer.found = [counted(18, 20, 20)]
    with budgets.reserve(*restart_of("cart", 1)) as cart, budgets.reserve(*restart_of("pay", 1)) as pay:
        assert (cart, pay) == (None, None)
        with budgets.reserve(*restart_of("ship", 1)) as ship:
            assert ship == "cart-budget"
    with budgets.reserve(*restart_of("ship", 1)) as ship:
        assert ship is None


def test_blocked_restart_reserves_nothing(informer: FakeInformer, budgets: DisruptionBudgets) -> None:
    informer.found = [counted(8, 10, 10), counted(10, 10, 10, "strict")]
    with budgets.reserve(*restart_of("cart", 1)) as cart:
        assert cart == "strict"
        informer.found = informer.found[:1]
        with budgets.reserve(*restart_of("pay", 2)) as pay:
            assert pay is None


def test_failed_restart_releases_its_reservation(informer: FakeInformer, budgets: DisruptionBudgets) -> None:
    informer.found = [counted(9, 10, 10)]
    with pytest.raises(ConnectionError), budgets.reserve(*restart_of("cart", 1)):
        raise ConnectionError
    with budgets.reserve(*restart_of("pay", 1)) as pay:
        assert pay is None


def test_released_reservations_are_counted(informer: FakeInformer, budgets: DisruptionBudgets) -> None:
    informer.found = [counted(9, 10, 10)]
    with budgets.reserve(*restart_of("cart", 1)), budgets.reserve(*restart_of("pay", 1)) as pay:
        assert (pay, budgets.released("shop", "cart-budget")) == ("cart-budget", 0)
    assert (budgets.released("shop", "cart-budget"), budgets.released("bank", "cart-budget")) == (1, 0)


def test_two_tries_of_one_workload_do_not_block_each_other(informer: FakeInformer, budgets: DisruptionBudgets) -> None:
    informer.found = [counted(9, 10, 10)]
    first = budgets.reserve(*restart_of("cart", 1))
    assert first.__enter__() is None
    with budgets.reserve(*restart_of("cart", 1)) as second:
        assert second is None
        # The abandoned try ends late, and releases nothing that the other one still reserves.
        first.__exit__(None, None, None)
        with budgets.reserve(*restart_of("pay", 1)) as pay:
            assert pay == "cart-budget"


@pytest.mark.parametrize(
    ("owner", "pods"),
    [
        pytest.param(*restart_of("cart", 0), id="surges"),
        pytest.param(*restart_of("cart", 1, namespace="bank"), id="of-another-namespace"),
        pytest.param(restart_of("cart", 1)[0], [], id="no-pods"),
        pytest.param(Owner("CloneSet", "shop", "cart", None, template()), restart_of("cart", 1)[1], id="not-known"),
    ],
)
def test_budget_that_selects_no_taken_pod_blocks_no_restart(
    informer: FakeInformer, budgets: DisruptionBudgets, owner: Owner, pods: list[Pod]
) -> None:
    informer.found = [counted(10, 10, 10)]
    with budgets.reserve(owner, pods) as blocked:
        assert blocked is None


@dataclass(repr=False)
class Restarting:
    """A workload: how many of its Pods its rollout may take, are gone by it, and were not healthy before."""

    owner: Owner
    pods: list[Pod]
    most: int
    unhealthy: int
    gone: int = 0
    hold: ExitStack | None = None


class LateController(RuleBasedStateMachine):
    """Restarts begin, take Pods, bring them back and end in any order; the counts of the budget come at any time."""

    @initialize(
        sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=5),
        spare=st.integers(0, 6),
    )
    def begin(self, sizes: list[tuple[int, int, int]], spare: int) -> None:
        self.workloads: list[Restarting] = []
        self.pods = 0
        for number, (replicas, most, unhealthy) in enumerate(sizes):
            owner, pods = restart_of(f"w{number}", most, replicas)
            self.workloads.append(Restarting(owner, pods, min(most, replicas), min(unhealthy, replicas)))
            self.pods += replicas
        self.desired = max(0, self.healthy - spare)
        self.informer = FakeInformer()
        self.budgets = DisruptionBudgets(cast("Informer", self.informer))
        self.count()

    @property
    def healthy(self) -> int:
        return self.pods - sum(one.gone + one.unhealthy for one in self.workloads)

    @rule()
    def count(self) -> None:
        self.informer.found = [counted(self.desired, self.healthy, self.pods)]

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        one = self.one_of(data, [one for one in self.workloads if one.hold is None])
        if one is None:
            return
        stack = ExitStack()
        blocked = stack.enter_context(self.budgets.reserve(one.owner, one.pods))
        if blocked is None:
            one.hold = stack
        else:
            stack.close()

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        able = [one for one in self.workloads if one.hold is not None and one.gone < one.most]
        one = self.one_of(data, able)
        if one is not None:
            one.gone += 1

    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        one = self.one_of(data, [one for one in self.workloads if one.gone])
        if one is not None:
            one.gone -= 1

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """Done means seen done: all of its Pods are back."""
        one = self.one_of(data, [one for one in self.workloads if one.hold is not None])
        if one is not None and one.hold is not None:
            one.gone = 0
            one.hold.close()
            one.hold = None

    @rule(data=st.data())
    def recover(self, data: st.DataObject) -> None:
        one = self.one_of(data, [one for one in self.workloads if one.unhealthy])
        if one is not None:
            one.unhealthy -= 1

    @invariant()
    def never_below(self) -> None:
        # Of those that hold, all may be gone at any moment.
        pending = sum(one.most - one.gone for one in self.workloads if one.hold is not None)
        assert self.healthy - pending >= self.desired or not any(one.hold for one in self.workloads)

    @staticmethod
    def one_of(data: st.DataObject, able: list[Restarting]) -> Restarting | None:
        return data.draw(st.sampled_from(able)) if able else None

    def teardown(self) -> None:
        for one in self.workloads:
            if one.hold is not None:
                one.hold.close()
        # No reservation is left.
        assert not self.budgets._reserved


def test_restarts_at_the_same_time_never_exceed_a_budget() -> None:
    run_state_machine_as_test(
        LateController, settings=settings(max_examples=100, stateful_step_count=30, deadline=None)
    )


def test_workload_of_the_property_takes_three_pods_at_once() -> None:
    owner, _ = restart_of("cart", 3)

    assert pods_taken_at_once(cast("Workload", owner.workload)) == 3
