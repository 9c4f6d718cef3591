"""The summary of a survey and the members of a wave, with the maintenance windows of their workloads."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import ClusterClient
from activities.survey.activities import ListWaveMembersInput, SurveyActivities, SurveyInput, WaveMember, summarise
from activities.survey.cache import CachedReading, SurveyCache
from activities.survey.run import ClusterReading
from mesh.identity import ClusterRef
from mesh.istio.proxy_status import NO_CONNECTED_PROXIES
from mesh.k8s.objects import Pod, Workload
from mesh.k8s.workload_ref import WorkloadRef
from mesh.maintenance_windows import parse_windows
from mesh.plan.policy import Policy, Waves
from mesh.plan.waves import WaveGroup, WaveRule, stable_hash
from mesh.survey.builder import SurveyBuilder
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import Survey
from mesh.wellknown import MAINTENANCE_WINDOW
from tests.activities.saturday_windows import ALWAYS, FROM_THREE, SUNDAYS, UNTIL_ONE, UNTIL_TWO, at
from tests.mesh.build import NOW, few_examples, make_namespace, make_snapshot, pod, survey, template, workload

CLUSTER = ClusterRef("one", "uid-one")


def shop(**windows: str | None) -> Survey:
    """Surveys stale Deployments of one namespace by name, each with its window."""
    objects: list[Workload | Pod] = []
    for name, window in windows.items():
        annotations = {} if window is None else {MAINTENANCE_WINDOW: window}
        one = workload(name=name, replicas=1, annotations=annotations, made_from=template({"app": name}))
        objects += [one, pod(f"{name}-1", owner=one, labels={"app": name})]
    return survey(make_snapshot(*objects))


def survey_input(policy: Policy | None = None, canary_below: int | None = None) -> SurveyInput:
    return SurveyInput(CLUSTER, policy or Policy(), canary_below=canary_below)


@pytest.mark.parametrize(
    ("windows", "policy", "candidates", "deferred", "opens_at"),
    [
        pytest.param({"a": None, "b": UNTIL_TWO}, (), 2, 0, None, id="all-open"),
        pytest.param({"a": None, "b": SUNDAYS}, (), 1, 1, at(0, 6), id="one-shut"),
        pytest.param({"a": SUNDAYS, "b": FROM_THREE, "c": SUNDAYS}, (), 0, 3, at(15), id="first-one-to-open"),
        pytest.param(
            {"a": ALWAYS, "b": FROM_THREE},
            ("Sat-Sun 15:30-20:00",),
            1,
            1,
            at(15).replace(minute=30),
            id="with-the-policys-window",
        ),
        pytest.param({"a": ALWAYS, "b": None}, (SUNDAYS,), 2, 0, None, id="policys-window-defers-no-workload"),
    ],
)
def test_workloads_with_a_shut_window_are_deferred(
    windows: dict[str, str | None], policy: tuple[str, ...], candidates: int, deferred: int, opens_at: datetime | None
) -> None:
    summary = summarise(shop(**windows), survey_input(Policy(windows=policy)))

    assert (summary.candidates, summary.deferred, summary.opens_at) == (candidates, deferred, opens_at)
    assert sum(rule.workloads for rule in summary.waves.rules) == candidates
    assert summary.stale_workloads == len(windows)
    assert summary.remediation == 0


def test_workload_with_an_invalid_window_is_an_item_and_not_deferred() -> None:
    surveyed = shop(a="Sat 25:00", b=None)
    summary = summarise(surveyed, survey_input())

    assert (summary.candidates, summary.deferred, summary.opens_at) == (1, 0, None)
    assert summary.by_reason == {"WindowInvalid": 1}


WINDOWS = st.lists(st.sampled_from([None, UNTIL_ONE, UNTIL_TWO, FROM_THREE, SUNDAYS, ALWAYS]), min_size=1, max_size=8)


@few_examples
@given(WINDOWS, st.sampled_from([(), (SUNDAYS,), (ALWAYS,), ("10:00-20:00",)]))
def test_candidates_and_deferred_workloads_are_all_and_the_first_window_opens_first(
    windows: list[str | None], policy: tuple[str, ...]
) -> None:
    surveyed = shop(**{f"w{number}": window for number, window in enumerate(windows)})
    summary = summarise(surveyed, survey_input(Policy(windows=policy)))
    never = sum(summary.by_reason.values())
    openings = [
        opening
        for one in surveyed.workloads
        if one.windows
        and not parse_windows(*one.windows).is_open(NOW)
        and (opening := parse_windows(*policy, *one.windows).next_open(NOW)) is not None
    ]

    assert summary.candidates + summary.deferred + never == len(windows)
    assert summary.opens_at == min(openings, default=None)
    assert summary.opens_at is None or summary.opens_at > NOW


def test_canary_has_no_new_members_once_it_is_done() -> None:
    policy = Policy(waves=Waves(canary=0.3))
    first = shop(**dict.fromkeys([f"w{number}" for number in range(10)]))
    plan = summarise(first, survey_input(policy)).waves
    left = replace(first, workloads=tuple(one for one in first.workloads if stable_hash(one) >= plan.canary_below))
    again = summarise(left, survey_input(policy, plan.canary_below)).waves
    without_bound = summarise(left, survey_input(policy)).waves

    assert plan.rules[0].group is WaveGroup.CANARY
    assert plan.rules[0].workloads == 3
    assert again.canary_below == plan.canary_below
    assert WaveGroup.CANARY not in {rule.group for rule in again.rules}
    assert without_bound.rules[0].group is WaveGroup.CANARY


class Members:
    """The activity over a given survey; keeps the context that each call judges by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: Survey) -> None:
        self.contexts: list[UpgradeContext] = []

        def evaluate(_: ClusterReading, context: UpgradeContext, __: str | None) -> Survey:
            self.contexts.append(context)
            return found

        async def read_cluster(*_: object) -> ClusterReading:
            snapshot = replace(make_snapshot(), taken_at=found.taken_at)
            return ClusterReading(snapshot, SurveyBuilder(snapshot), {}, NO_CONNECTED_PROXIES)

        monkeypatch.setattr(ClusterReading, "survey", evaluate)
        monkeypatch.setattr("activities.survey.cache.read_cluster", read_cluster)
        client = cast("ClusterClient", None)
        self._activities = SurveyActivities(ServedCluster(client, CLUSTER), SurveyCache(client), ("temporal",))

    async def of(self, request: ListWaveMembersInput) -> list[WaveMember]:
        return await ActivityEnvironment().run(self._activities.list_wave_members, request)


ALL_WORKLOADS = WaveRule(0, "to 100%", WaveGroup.REST)


async def test_member_carries_the_time_at_which_its_window_shuts(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, shop(a=None, b=UNTIL_TWO, c=SUNDAYS, d=ALWAYS))
    found = await members.of(ListWaveMembersInput(survey_input(), ALL_WORKLOADS, 0))

    assert {one.workload.name: one.until for one in found} == {"a": None, "b": at(14), "d": None}
    assert [one.own_namespaces for one in members.contexts] == [("temporal",)]


async def test_workload_whose_window_shut_after_the_reading_is_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, shop(a=None, b=UNTIL_ONE, c=UNTIL_TWO))
    request = ListWaveMembersInput(survey_input(), ALL_WORKLOADS, 0, NOW)
    before = await members.of(request)
    monkeypatch.setattr(CachedReading, "now", at(13))
    after = await members.of(request)

    assert {one.workload.name: one.until for one in before} == {"a": None, "b": at(13), "c": at(14)}
    assert {one.workload.name: one.until for one in after} == {"a": None, "c": at(14)}


async def test_windows_of_namespace_and_workload_must_both_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    cart = workload(replicas=1, annotations={MAINTENANCE_WINDOW: UNTIL_TWO})
    surveyed = survey(make_snapshot(cart, pod(owner=cart), make_namespace(annotations={MAINTENANCE_WINDOW: UNTIL_ONE})))
    found = await Members(monkeypatch, surveyed).of(ListWaveMembersInput(survey_input(), ALL_WORKLOADS, 0))

    assert found == [WaveMember(WorkloadRef("shop", "Deployment", "cart"), at(13))]


async def test_wave_that_grew_keeps_to_the_policys_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members(monkeypatch, shop(**dict.fromkeys("abcdef")))
    request = survey_input(Policy(waves=Waves(max_workloads=4)))

    assert len(await members.of(ListWaveMembersInput(request, ALL_WORKLOADS, 0))) == 4


@pytest.mark.parametrize("names", [[f"w{number}" for number in range(12)]])
async def test_every_candidate_is_a_member_of_exactly_one_wave(
    monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    surveyed = shop(**dict.fromkeys(names))
    request = survey_input(Policy(waves=Waves(canary=0.2, max_workloads=3)))
    plan = summarise(surveyed, request).waves
    members = Members(monkeypatch, surveyed)
    waves = [await members.of(ListWaveMembersInput(request, rule, plan.canary_below)) for rule in plan.rules]

    assert sorted(one.workload.name for wave in waves for one in wave) == sorted(names)
    assert [len(wave) for wave in waves] == [rule.workloads for rule in plan.rules]
