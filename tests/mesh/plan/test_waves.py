"""Waves: every candidate in exactly one, in order; a change of the cluster moves no other workload."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.istio.expected_proxy import NO_SIDECAR
from mesh.plan.waves import MOST_WAVES, WaveGroup, WavePlan, WaveRule, belongs, group_of, plan_waves, stable_hash
from mesh.survey.actions import Action
from mesh.survey.pod_class import PodClass
from mesh.survey.survey import SurveyedWorkload
from tests.mesh.build import few_examples, make_namespace, pod, surveyed, template, workload

ORDER = list(WaveGroup)
STEPS = (0.1, 0.3, 1.0)


def candidate(
    name: str,
    wave: str | None = None,
    *,
    gateway: bool = False,
    kyma: bool = False,
    self_hosted: bool = False,
    namespace: str = "shop",
) -> SurveyedWorkload:
    return SurveyedWorkload(
        namespace=namespace,
        kind="Deployment",
        name=name,
        uid="",
        owner=None,
        pod_class=PodClass.STALE,
        pods=1,
        stale_pods=1,
        expected=NO_SIDECAR,
        proxies={},
        action=Action.ROLLOUT_RESTART,
        reason=None,
        detail=None,
        pod_names=(),
        gateway=gateway,
        kyma=kyma,
        self_hosted=self_hosted,
        wave=wave,
    )


def plan(
    records: Sequence[SurveyedWorkload],
    share: float = 0.01,
    steps: Sequence[float] = STEPS,
    most: int = 200,
    canary_below: int | None = None,
) -> WavePlan:
    return plan_waves(records, canary_share=share, steps=steps, max_workloads=most, canary_below=canary_below)


def members(found: WavePlan, rule: WaveRule, records: Sequence[SurveyedWorkload]) -> list[str]:
    return sorted(one.name for one in records if belongs(one, rule, found.canary_below))


LABELS = st.none() | st.sampled_from(["canary", "0", "1", "01", "2", "10", "last", "-1", "²", ""])
CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.text("abcdef", min_size=1, max_size=6),
        LABELS,
        gateway=st.booleans(),
        kyma=st.sampled_from([False, False, True]),
        self_hosted=st.sampled_from([False, False, True]),
        namespace=st.sampled_from(["shop", "bank"]),
    ),
    max_size=20,
    unique_by=lambda one: one.ref,
)
SHARES = st.floats(0, 1)
GROWING = st.lists(st.floats(0.01, 0.99), max_size=4, unique=True).map(lambda steps: (*sorted(steps), 1.0))
MOST = st.integers(1, 12)
#: The canary of an earlier plan, of none, of no workload, of all.
BELOW = st.none() | st.integers(0, 2**32) | st.sampled_from([0, 1, 2**32 - 1, 2**32])


@few_examples
@given(CANDIDATES, SHARES, GROWING, MOST, BELOW)
def test_every_candidate_is_in_exactly_one_wave(
    records: list[SurveyedWorkload], share: float, steps: tuple[float, ...], most: int, below: int | None
) -> None:
    found = plan(records, share, steps, most, below)
    rules = {one.ref: [rule for rule in found.rules if belongs(one, rule, found.canary_below)] for one in records}

    assert all(len(one) == 1 for one in rules.values())
    assert [rule.number for rule in found.rules] == list(range(len(found.rules)))
    assert sum(rule.workloads for rule in found.rules) == len(records)
    assert all(1 <= rule.workloads <= most for rule in found.rules)
    assert all(len(members(found, rule, records)) == rule.workloads for rule in found.rules)


@few_examples
@given(CANDIDATES, SHARES, GROWING, MOST, BELOW)
def test_groups_run_in_order_and_numbers_and_hashes_ascend(
    records: list[SurveyedWorkload], share: float, steps: tuple[float, ...], most: int, below: int | None
) -> None:
    rules = plan(records, share, steps, most, below).rules
    places = [ORDER.index(rule.group) for rule in rules]
    numbers = [int(rule.label or "") for rule in rules if rule.group is WaveGroup.NUMBERED]
    rest = [bound for rule in rules if rule.group is WaveGroup.REST for bound in (rule.low, rule.high)]

    assert places == sorted(places)
    assert numbers == sorted(numbers)
    assert rest == sorted(rest)


@few_examples
@given(CANDIDATES, SHARES, GROWING, MOST, BELOW)
def test_waves_of_one_step_are_one_wave_that_was_cut(
    records: list[SurveyedWorkload], share: float, steps: tuple[float, ...], most: int, below: int | None
) -> None:
    rules = plan(records, share, steps, most, below).rules
    together = [list(found) for _, found in groupby(rules, key=lambda rule: rule.step)]

    assert len({rule.step for rule in rules}) == len(together)
    assert all(len({(rule.name, rule.group, rule.label) for rule in one}) == 1 for one in together)
    assert all(before.high == after.low for one in together for before, after in pairwise(one))
    # Only what is too much for one wave is cut, and no more often than needed.
    assert all(rule.workloads == most for one in together for rule in one[:-1])


@few_examples
@given(CANDIDATES, SHARES, MOST)
def test_canary_that_is_fixed_is_the_same_in_every_later_plan(
    records: list[SurveyedWorkload], share: float, most: int
) -> None:
    first = plan(records, share)
    left = records[::2]
    later = plan(left, share, most=most, canary_below=first.canary_below)

    assert later.canary_below == first.canary_below
    assert all(group_of(one, later.canary_below) == group_of(one, first.canary_below) for one in left)
    canary = [rule for rule in later.rules if rule.group is WaveGroup.CANARY]
    assert sorted(name for rule in canary for name in members(later, rule, left)) == sorted(
        one.name for one in left if group_of(one, first.canary_below)[0] is WaveGroup.CANARY
    )


@few_examples
@given(CANDIDATES)
def test_self_hosted_workloads_come_last_in_a_step_of_their_own(records: list[SurveyedWorkload]) -> None:
    found = plan(records)
    own_namespaces = sorted(one.name for one in records if one.self_hosted and not one.kyma)
    last = [rule for rule in found.rules if rule.group is WaveGroup.SELF_HOSTED]

    assert list(found.rules[len(found.rules) - len(last) :]) == last
    assert [members(found, rule, records) for rule in last] == ([own_namespaces] if own_namespaces else [])
    assert not {rule.step for rule in last} & {rule.step for rule in found.rules if rule not in last}


@few_examples
@given(CANDIDATES, SHARES)
def test_canary_is_the_smallest_hashes_unless_some_are_labelled(records: list[SurveyedWorkload], share: float) -> None:
    found = plan(records, share)
    canary = sorted(one.ref for one in records if group_of(one, found.canary_below)[0] is WaveGroup.CANARY)
    labelled = sorted(one.ref for one in records if group_of(one, 0)[0] is WaveGroup.CANARY)
    free = sorted((one for one in records if group_of(one, 0)[0] is WaveGroup.REST), key=stable_hash)
    k = max(1, math.floor(share * len(free))) if share else 0

    assert canary == (labelled or sorted(one.ref for one in free[:k]))


@few_examples
@given(CANDIDATES, CANDIDATES, MOST)
def test_cluster_that_changes_moves_no_workload_within_a_plan(
    before: list[SurveyedWorkload], others: list[SurveyedWorkload], most: int
) -> None:
    found = plan(before, most=most)
    stay = before[::2]
    after = [*stay, *(one for one in others if one.ref not in {old.ref for old in before})]

    for rule in found.rules:
        was = {one.ref for one in stay if belongs(one, rule, found.canary_below)}
        now = {one.ref for one in after if belongs(one, rule, found.canary_below)}
        assert now & {one.ref for one in stay} == was


@few_examples
@given(CANDIDATES, CANDIDATES, MOST)
def test_workload_that_comes_later_is_in_one_wave_at_most(
    before: list[SurveyedWorkload], later: list[SurveyedWorkload], most: int
) -> None:
    found = plan(before, most=most)

    assert all(sum(belongs(one, rule, found.canary_below) for rule in found.rules) <= 1 for one in later)


def test_numbered_waves_run_by_number_not_by_text() -> None:
    found = plan([candidate("a", "10"), candidate("b", "2"), candidate("c", "canary"), candidate("d")])

    assert [rule.name for rule in found.rules] == ["canary", "wave 2", "wave 10", "to 100%"]


def test_same_number_in_two_spellings_is_one_wave() -> None:
    records = [candidate("a", "1"), candidate("b", "01"), candidate("c", "canary")]
    found = plan(records)

    assert [members(found, rule, records) for rule in found.rules] == [["c"], ["a", "b"]]


@pytest.mark.parametrize(
    ("one", "group"),
    [
        pytest.param(candidate("a"), "rest", id="unlabelled"),
        pytest.param(candidate("a", "canary"), "canary", id="canary"),
        pytest.param(candidate("a", "7"), "numbered", id="numbered"),
        pytest.param(candidate("a", "soon"), "rest", id="label-that-means-nothing"),
        pytest.param(candidate("a", "canary", gateway=True), "gateways", id="gateway-beats-label"),
        pytest.param(candidate("a", "canary", kyma=True), "kyma", id="kymas-own-beats-label"),
        pytest.param(candidate("a", gateway=True, kyma=True), "kyma", id="kymas-own-gateway"),
        pytest.param(candidate("a", self_hosted=True), "self-hosted", id="self-hosted"),
        pytest.param(candidate("a", "canary", self_hosted=True), "self-hosted", id="self-hosted-beats-label"),
        pytest.param(candidate("a", gateway=True, self_hosted=True), "self-hosted", id="self-hosted-beats-gateway"),
        pytest.param(candidate("a", kyma=True, self_hosted=True), "kyma", id="kymas-own-beats-self-hosted"),
    ],
)
def test_group_is_decided_by_owner_then_kind_then_label(one: SurveyedWorkload, group: str) -> None:
    assert group_of(one, 0)[0] == group


def test_steps_grow_over_the_rest() -> None:
    records = [candidate(f"w{number}") for number in range(200)]
    found = plan(records)
    first = sorted(records, key=stable_hash)[:2]

    assert [rule.name for rule in found.rules] == ["canary", "to 10%", "to 30%", "to 100%"]
    assert members(found, found.rules[0], records) == sorted(one.name for one in first)
    assert [round(rule.workloads, -1) for rule in found.rules] == [0, 20, 40, 140]


def test_one_candidate_is_its_own_canary() -> None:
    assert [rule.name for rule in plan([candidate("only")]).rules] == ["canary"]


def test_share_of_nothing_means_no_canary() -> None:
    assert [rule.group for rule in plan([candidate("only")], share=0).rules] == [WaveGroup.REST]


def test_no_candidates_make_no_waves() -> None:
    assert plan([]).rules == ()


def test_hash_is_the_same_everywhere() -> None:
    assert stable_hash(candidate("cart")) == 2749829780


LABELLED = {"upgrade.kyma-project.io/wave": "3"}
GATEWAY = {"inject.istio.io/templates": "gateway"}


@pytest.mark.parametrize(
    ("cart", "wave"),
    [(workload(), "1"), (workload(labels=LABELLED), "3")],
    ids=["namespace", "workload-wins"],
)
def test_survey_reads_the_wave_label(cart: object, wave: str) -> None:
    found = surveyed(cart, pod(owner=cart), make_namespace(labels={"upgrade.kyma-project.io/wave": "1"}))  # type: ignore[arg-type]

    assert found.wave == wave


@pytest.mark.parametrize(
    ("annotations", "gateway"),
    [
        pytest.param({}, False, id="plain"),
        pytest.param(GATEWAY, True, id="gateway"),
        pytest.param({"inject.istio.io/templates": "mine, gateway"}, True, id="gateway-among-others"),
        pytest.param({"inject.istio.io/templates": "sidecar,mine"}, False, id="templates-of-a-sidecar"),
    ],
)
def test_survey_tells_gateways_by_their_injection_template(annotations: dict[str, str], gateway: bool) -> None:
    cart = workload(made_from=template({"app": "cart"}, annotations))

    assert surveyed(cart, pod(owner=cart)).gateway is gateway


@pytest.mark.parametrize(
    ("namespace", "labels", "kyma"),
    [
        pytest.param("shop", {}, False, id="customers"),
        pytest.param("kyma-system", {}, True, id="by-namespace"),
        pytest.param("shop", {"kyma-project.io/module": "istio"}, True, id="by-label"),
        pytest.param("shop", {"kyma-project.io/module": ""}, False, id="empty-label"),
    ],
)
def test_survey_tells_kymas_own(namespace: str, labels: dict[str, str], kyma: bool) -> None:
    cart = workload(namespace=namespace, made_from=template({"app": "cart"} | labels))

    assert surveyed(cart, pod(owner=cart, namespace=namespace)).kyma is kyma


@pytest.mark.parametrize("labelled", [True, False], ids=["a-number-each", "waves-of-one"])
def test_plan_has_a_bounded_number_of_waves_and_they_are_the_first(labelled: bool) -> None:
    records = [candidate(f"w{number}", str(number) if labelled else None) for number in range(MOST_WAVES + 50)]
    found = plan(records, share=0, steps=(1.0,), most=1)
    # Hashes once: 400 rules by 450 records.
    places = {one.name: (*group_of(one, found.canary_below), stable_hash(one)) for one in records}
    covered = [name for rule in found.rules for name in sorted(places) if rule.takes(*places[name])]

    assert [rule.number for rule in found.rules] == list(range(MOST_WAVES))
    assert len(covered) == len(set(covered)) == MOST_WAVES
    if labelled:
        assert covered == [f"w{number}" for number in range(MOST_WAVES)]
    # The next survey no longer has the ones that were done, and plans for the rest.
    rest = [one for one in records if one.name not in covered]
    assert len(plan(rest, share=0, steps=(1.0,), most=1).rules) == 50
