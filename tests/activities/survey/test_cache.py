"""Surveys for many who ask at once. The cluster's reading is a fake: this is about who shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from activities.kube.client import ClusterClient
from activities.survey import cache
from activities.survey.cache import SurveyCache
from mesh.errors import UnreachableError
from mesh.survey.snapshot import UpgradeContext
from mesh.survey.survey import Survey


class Readings:
    """Stands for `run_survey`; keeps which namespaces were read."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails: int | None = None

    async def run_survey(self, _: ClusterClient, namespaces: Sequence[str], __: UpgradeContext) -> Survey:
        self.asked.append(list(namespaces))
        await asyncio.sleep(0)
        if len(self.asked) == self.fails:
            raise UnreachableError("gone", "wait")
        return Survey(datetime.now(UTC), "1", 0, {}, ())


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    made = Readings()
    monkeypatch.setattr(cache, "run_survey", made.run_survey)
    return made


@pytest.fixture
def surveys() -> SurveyCache:
    return SurveyCache(cast("ClusterClient", object()))


async def test_who_asks_while_another_reads_shares_the_next_reading(readings: Readings, surveys: SurveyCache) -> None:
    await asyncio.gather(*(surveys.of(name) for name in ("shop", "bank", "farm", "bank")))

    assert readings.asked == [["shop"], ["bank", "farm"]]


async def test_after_a_reading_that_failed_each_reads_what_it_asked_for(
    readings: Readings, surveys: SurveyCache
) -> None:
    readings.fails = 2
    shop, bank, farm = await asyncio.gather(
        *(surveys.of(name) for name in ("shop", "bank", "farm")), return_exceptions=True
    )

    assert isinstance(bank, UnreachableError)
    assert not isinstance(shop, BaseException)
    assert not isinstance(farm, BaseException)
    assert readings.asked == [["shop"], ["bank", "farm"], ["farm"]]


async def test_of_many_namespaces_the_cluster_is_read_once(readings: Readings, surveys: SurveyCache) -> None:
    await asyncio.gather(*(surveys.of(f"team-{number}") for number in range(9)))

    assert readings.asked == [["team-0"], []]
