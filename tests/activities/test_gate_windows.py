"""Windows as the activities mind them: of the policy before a wave, of each workload within it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.gates import CheckWindowInput, GateActivities, WindowState
from activities.kube.client import ClusterClient
from activities.survey.activities import ListWaveMembersInput, SurveyActivities, SurveyInput, WaveMember, summarise
from activities.survey.cache import SurveyCache
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
from tests.mesh.build import NOW, pod, quick, space, survey, template, workload, world

HERE = ClusterRef("one", "uid-one")
#: NOW is a Saturday, at noon.
UNTIL_TWO = "Sat 10:00-14:00"
UNTIL_ONE = "Sat 00:00-13:00"
FROM_THREE = "Sat 15:00-16:00"
SUNDAYS = "Sun 00:00-04:00"
ALWAYS = "00:00-24:00"


def at(hour: int, day: int = 5) -> datetime:
    return datetime(2026, 9, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "state"),
    [
        pytest.param((UNTIL_TWO,), WindowState(open=True, changes_at=at(14)), id="open"),
        pytest.param((UNTIL_TWO, UNTIL_ONE), WindowState(open=True, changes_at=at(13)), id="the-first-that-closes"),
        pytest.param((ALWAYS,), WindowState(open=True, changes_at=None), id="never-shut"),
        pytest.param((SUNDAYS,), WindowState(open=False, changes_at=at(0, 6)), id="shut"),
        pytest.param((UNTIL_TWO, SUNDAYS), WindowState(open=False, changes_at=None), id="never-together"),
        pytest.param(
            ("Sat 14:00-18:00 Europe/Berlin",), WindowState(open=True, changes_at=at(16)), id="by-the-wall-clock-there"
        ),
    ],
)
async def test_window_tells_whether_it_is_open_and_until_when(
    monkeypatch: pytest.MonkeyPatch, windows: tuple[str, ...], state: WindowState
) -> None:
    monkeypatch.setattr("activities.gates.datetime", SimpleNamespace(now=lambda _: NOW))
    gates = GateActivities(ServedCluster(cast("ClusterClient", None), HERE))

    assert await ActivityEnvironment().run(gates.check_window, CheckWindowInput(HERE, windows)) == state


def shop(**windows: str | None) -> Survey:
    """Stale Deployments of one namespace, by their names, each with its window."""
    things: list[Workload | Pod] = []
    for name, window in windows.items():
        annotations = {} if window is None else {MAINTENANCE_WINDOW: window}
        one = workload(name=name, replicas=1, annotations=annotations, made_from=template({"app": name}))
        things += [one, pod(f"{name}-1", owner=one, labels={"app": name})]
    return survey(world(*things))


def asked(policy: Policy | None = None, canary_below: int | None = None) -> SurveyInput:
    return SurveyInput(HERE, policy or Policy(), canary_below=canary_below)


@pytest.mark.parametrize(
    ("windows", "policy", "candidates", "deferred", "opens_at"),
    [
        pytest.param({"a": None, "b": UNTIL_TWO}, (), 2, 0, None, id="all-open"),
        pytest.param({"a": None, "b": SUNDAYS}, (), 1, 1, at(0, 6), id="one-shut"),
        pytest.param({"a": SUNDAYS, "b": FROM_THREE, "c": SUNDAYS}, (), 0, 3, at(15), id="the-first-that-opens"),
        pytest.param(
            {"a": ALWAYS, "b": FROM_THREE}, ("Sat-Sun 15:30-20:00",), 1, 1, at(15).replace(minute=30), id="with-policys"
        ),
        pytest.param({"a": ALWAYS, "b": None}, (SUNDAYS,), 2, 0, None, id="policys-alone-defers-nobody"),
    ],
)
def test_survey_defers_whose_windows_are_shut(
    windows: dict[str, str | None], policy: tuple[str, ...], candidates: int, deferred: int, opens_at: datetime | None
) -> None:
    found = summarise(shop(**windows), asked(Policy(windows=policy)))

    assert (found.candidates, found.deferred, found.opens_at) == (candidates, deferred, opens_at)
    assert sum(rule.workloads for rule in found.waves.rules) == candidates
    assert found.stale_workloads == len(windows)
    assert found.remediation == 0


def test_workload_whose_windows_never_open_is_an_item_and_not_deferred() -> None:
    seen = shop(a="Sat 25:00", b=None)
    found = summarise(seen, asked())

    assert (found.candidates, found.deferred, found.opens_at) == (1, 0, None)
    assert found.by_reason == {"WindowInvalid": 1}


WINDOWS = st.lists(st.sampled_from([None, UNTIL_ONE, UNTIL_TWO, FROM_THREE, SUNDAYS, ALWAYS]), min_size=1, max_size=8)


@quick
@given(WINDOWS, st.sampled_from([(), (SUNDAYS,), (ALWAYS,), ("10:00-20:00",)]))
def test_deferred_and_candidates_are_all_and_what_opens_first_is_not_later_than_any(
    windows: list[str | None], policy: tuple[str, ...]
) -> None:
    seen = shop(**{f"w{number}": window for number, window in enumerate(windows)})
    found = summarise(seen, asked(Policy(windows=policy)))
    never = sum(found.by_reason.values())
    openings = [
        opening
        for one in seen.workloads
        if one.windows
        and not parse_windows(*one.windows).is_open(NOW)
        and (opening := parse_windows(*policy, *one.windows).next_open(NOW)) is not None
    ]

    assert found.candidates + found.deferred + never == len(windows)
    assert found.opens_at == min(openings, default=None)
    assert found.opens_at is None or found.opens_at > NOW


def test_canary_stays_who_it_was_when_it_is_done() -> None:
    policy = Policy(waves=Waves(canary=0.3))
    first = shop(**dict.fromkeys([f"w{number}" for number in range(10)]))
    plan = summarise(first, asked(policy)).waves
    left = replace(first, workloads=tuple(one for one in first.workloads if stable_hash(one) >= plan.canary_below))
    again = summarise(left, asked(policy, plan.canary_below)).waves
    anew = summarise(left, asked(policy)).waves

    assert plan.rules[0].group is WaveGroup.CANARY
    assert plan.rules[0].workloads == 3
    assert again.canary_below == plan.canary_below
    assert WaveGroup.CANARY not in {rule.group for rule in again.rules}
    assert anew.rules[0].group is WaveGroup.CANARY


class Surveys:
    """The activity over a survey that stands; it keeps how each was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: Survey) -> None:
        self.contexts: list[UpgradeContext] = []

        def judge(_: ClusterReading, context: UpgradeContext, __: str | None) -> Survey:
            self.contexts.append(context)
            return found

        async def read_cluster(*_: object) -> ClusterReading:
            snapshot = replace(world(), taken_at=found.taken_at)
            return ClusterReading(snapshot, SurveyBuilder(snapshot), {}, NO_CONNECTED_PROXIES)

        monkeypatch.setattr(ClusterReading, "survey", judge)
        monkeypatch.setattr("activities.survey.cache.read_cluster", read_cluster)
        client = cast("ClusterClient", None)
        self._activities = SurveyActivities(ServedCluster(client, HERE), SurveyCache(client), ("temporal",))

    async def members(self, ask: ListWaveMembersInput) -> list[WaveMember]:
        return await ActivityEnvironment().run(self._activities.list_wave_members, ask)


EVERYBODY = WaveRule(0, "to 100%", WaveGroup.REST)


async def test_member_of_a_wave_knows_when_its_window_shuts(monkeypatch: pytest.MonkeyPatch) -> None:
    surveys = Surveys(monkeypatch, shop(a=None, b=UNTIL_TWO, c=SUNDAYS, d=ALWAYS))
    found = await surveys.members(ListWaveMembersInput(asked(), EVERYBODY, 0))

    assert {one.workload.name: one.until for one in found} == {"a": None, "b": at(14), "d": None}
    assert [one.own_namespaces for one in surveys.contexts] == [("temporal",)]


async def test_window_of_the_namespace_and_of_the_workload_both_count(monkeypatch: pytest.MonkeyPatch) -> None:
    cart = workload(replicas=1, annotations={MAINTENANCE_WINDOW: UNTIL_TWO})
    seen = survey(world(cart, pod(owner=cart), space(annotations={MAINTENANCE_WINDOW: UNTIL_ONE})))
    found = await Surveys(monkeypatch, seen).members(ListWaveMembersInput(asked(), EVERYBODY, 0))

    assert found == [WaveMember(WorkloadRef("shop", "Deployment", "cart"), at(13))]


async def test_wave_that_grew_has_no_more_members_than_the_policy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    surveys = Surveys(monkeypatch, shop(**dict.fromkeys("abcdef")))
    ask = asked(Policy(waves=Waves(max_workloads=4)))

    assert len(await surveys.members(ListWaveMembersInput(ask, EVERYBODY, 0))) == 4


@pytest.mark.parametrize("names", [[f"w{number}" for number in range(12)]])
async def test_waves_of_a_plan_have_every_candidate_as_a_member_once(
    monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    seen = shop(**dict.fromkeys(names))
    ask = asked(Policy(waves=Waves(canary=0.2, max_workloads=3)))
    plan = summarise(seen, ask).waves
    surveys = Surveys(monkeypatch, seen)
    waves = [await surveys.members(ListWaveMembersInput(ask, rule, plan.canary_below)) for rule in plan.rules]

    assert sorted(one.workload.name for wave in waves for one in wave) == sorted(names)
    assert [len(wave) for wave in waves] == [rule.workloads for rule in plan.rules]
