"""The survey's cache: who shares a reading, and which reading is too old. The cluster's reading is a fake."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from activities.kube.client import ClusterClient
from activities.survey import cache
from activities.survey.cache import MAX_AGE_SECONDS, SurveyCache
from activities.survey.run import ClusterReading
from mesh.errors import UnreachableError
from mesh.istio.expected_proxy import NO_SIDECAR
from mesh.istio.proxy_status import NO_CONNECTED_PROXIES
from mesh.k8s.workload_ref import WorkloadRef
from mesh.survey.builder import SurveyBuilder
from mesh.survey.snapshot import UpgradeContext
from tests.mesh.build import make_namespace, make_snapshot, pod
from tests.workflows.stage import until


class FakeReadings:
    """Stands for `read_cluster`; keeps which namespaces were read, and when by a clock that the test moves."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails: int | None = None
        self.now = 1000.0
        #: A reading of the whole cluster does not end before.
        self.cluster_may_end: asyncio.Event | None = None

    async def read_cluster(self, _: ClusterClient, namespaces: Sequence[str]) -> ClusterReading:
        self.asked.append(list(namespaces))
        taken_at = self.at(self.now)
        await asyncio.sleep(0)
        if not namespaces and self.cluster_may_end is not None:
            await self.cluster_may_end.wait()
        if len(self.asked) == self.fails:
            raise UnreachableError("gone", "wait")
        alone = [pod(name, namespace=name) for name in ("shop", "bank")]
        snapshot = replace(make_snapshot(*alone, make_namespace("shop"), make_namespace("bank")), taken_at=taken_at)
        builder = SurveyBuilder(snapshot)
        return ClusterReading(snapshot, builder, {one.key: NO_SIDECAR for one in builder.queries}, NO_CONNECTED_PROXIES)

    def monotonic(self) -> float:
        return self.now

    @staticmethod
    def at(seconds: float) -> datetime:
        return datetime(2026, 9, 1, tzinfo=UTC) + timedelta(seconds=seconds)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> FakeReadings:
    made = FakeReadings()
    monkeypatch.setattr(cache, "read_cluster", made.read_cluster)
    monkeypatch.setattr(cache, "time", made)
    return made


@pytest.fixture
def surveys() -> SurveyCache:
    return SurveyCache(cast("ClusterClient", object()))


async def test_callers_that_wait_for_a_reading_share_the_next_one(readings: FakeReadings, surveys: SurveyCache) -> None:
    await asyncio.gather(*(surveys.get(name) for name in ("shop", "bank", "farm", "bank")))

    assert readings.asked == [["shop"], ["bank", "farm"]]


async def test_callers_of_a_failed_reading_read_what_they_asked_for(
    readings: FakeReadings, surveys: SurveyCache
) -> None:
    readings.fails = 2
    shop, bank, farm = await asyncio.gather(
        *(surveys.get(name) for name in ("shop", "bank", "farm")), return_exceptions=True
    )

    assert isinstance(bank, UnreachableError)
    assert not isinstance(shop, BaseException)
    assert not isinstance(farm, BaseException)
    assert readings.asked == [["shop"], ["bank", "farm"], ["farm"]]


async def test_many_namespaces_are_one_reading_of_the_cluster(readings: FakeReadings, surveys: SurveyCache) -> None:
    await asyncio.gather(*(surveys.get(f"team-{number}") for number in range(9)))

    assert readings.asked == [["team-0"], []]


async def test_reading_without_an_age_is_always_a_new_one(readings: FakeReadings, surveys: SurveyCache) -> None:
    for _ in range(2):
        await surveys.get()
        readings.now += 0.1

    assert readings.asked == [[], []]


@pytest.mark.parametrize(("seconds", "readings_made"), [(0.0, 1), (59.9, 1), (60.1, 2)])
async def test_reading_serves_until_it_is_too_old(
    readings: FakeReadings, surveys: SurveyCache, seconds: float, readings_made: int
) -> None:
    await surveys.get()
    readings.now += seconds
    await surveys.get(max_age=MAX_AGE_SECONDS)

    assert len(readings.asked) == readings_made


@pytest.mark.parametrize(("seconds", "readings_made"), [(-1, 1), (0, 1), (1, 2)])
async def test_reading_from_before_an_event_does_not_serve_after_it(
    readings: FakeReadings, surveys: SurveyCache, seconds: float, readings_made: int
) -> None:
    await surveys.get()
    event = readings.at(readings.now + seconds)
    readings.now += 5
    await surveys.get(max_age=MAX_AGE_SECONDS, read_after=event)

    assert len(readings.asked) == readings_made


async def test_reading_of_the_cluster_serves_a_namespace_and_not_the_other_way_round(
    readings: FakeReadings, surveys: SurveyCache
) -> None:
    await surveys.get("shop")
    await surveys.get(max_age=MAX_AGE_SECONDS)
    await surveys.get("bank", max_age=MAX_AGE_SECONDS)

    assert readings.asked == [["shop"], []]


async def test_one_reading_is_evaluated_for_each_callers_context(readings: FakeReadings, surveys: SurveyCache) -> None:
    reading = await surveys.get()
    [without] = [one for one in reading.survey(UpgradeContext()).workloads if one.namespace == "shop"]
    context = UpgradeContext(own_namespaces=("shop",))
    [own] = [one for one in reading.survey(context).workloads if one.namespace == "shop"]

    assert (without.self_hosted, own.self_hosted) == (False, True)
    assert len(readings.asked) == 1


async def test_reading_is_evaluated_for_one_namespace_alone(readings: FakeReadings, surveys: SurveyCache) -> None:
    reading = await surveys.get()

    assert {one.namespace for one in reading.survey(UpgradeContext(), "shop").workloads} == {"shop"}
    found = reading.workload(WorkloadRef("bank", "Pod", "bank"))
    assert found is not None
    assert found.namespace == "bank"
    assert reading.workload(WorkloadRef("bank", "Pod", "other")) is None


async def test_namespaces_do_not_wait_for_a_reading_of_the_cluster(
    readings: FakeReadings, surveys: SurveyCache
) -> None:
    readings.cluster_may_end = asyncio.Event()
    whole = asyncio.create_task(surveys.get())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await surveys.get("shop")
    assert not whole.done()
    readings.cluster_may_end.set()
    await whole


async def test_namespace_does_not_wait_for_the_cluster_that_is_read_for_many_others(
    readings: FakeReadings, surveys: SurveyCache
) -> None:
    readings.cluster_may_end = asyncio.Event()
    first, *others = [asyncio.create_task(surveys.get(f"team-{number}")) for number in range(9)]
    await first
    async with asyncio.timeout(5):
        await surveys.get("shop")
    assert not any(other.done() for other in others)
    readings.cluster_may_end.set()
    await asyncio.gather(*others)

    assert readings.asked == [["team-0"], [], ["shop"]]


async def test_reading_is_dropped_once_it_is_too_old(
    readings: FakeReadings, surveys: SurveyCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_AGE_SECONDS", 0.01)
    monkeypatch.setattr(cache, "_HANDED_OVER_SECONDS", 0.01)
    await surveys.get()
    assert surveys.kept == 1
    await until("it is dropped", lambda: not surveys.kept)


@pytest.mark.parametrize("first", ["", "shop"])
async def test_older_reading_is_freed_before_the_cluster_is_read_again(
    readings: FakeReadings, surveys: SurveyCache, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    builders: list[weakref.ref[SurveyBuilder]] = []
    alive: list[int] = []
    read = readings.read_cluster

    async def noting(client: ClusterClient, namespaces: Sequence[str]) -> ClusterReading:
        alive.append(sum(one() is not None for one in builders))
        reading = await read(client, namespaces)
        builders.append(weakref.ref(reading.builder))
        return reading

    monkeypatch.setattr(cache, "read_cluster", noting)
    for namespace in (first, "", ""):
        await surveys.get(namespace)
        readings.now += 1

    # Two snapshots of a large cluster at the same time would be twice the memory.
    assert alive == [0, 0, 0]


async def test_replaced_reading_of_a_namespace_is_freed(readings: FakeReadings, surveys: SurveyCache) -> None:
    first = weakref.ref(await surveys.get("shop"))
    readings.now += 1
    second = weakref.ref(await surveys.get("shop"))

    assert (first() is None, second() is None) == (True, False)
