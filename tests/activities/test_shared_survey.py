"""Surveys for many who ask at once. The cluster's reading is a fake: this is about who shares it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from activities import shared_survey
from activities.kube.client import Cluster
from activities.shared_survey import SharedSurveys
from mesh.errors import UnreachableError
from mesh.survey import Survey
from mesh.world import Attempt


class Readings:
    """Stands for `take_survey`; keeps which namespaces were read."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.fails: int | None = None

    async def take_survey(self, _: Cluster, namespaces: Sequence[str], __: Attempt) -> Survey:
        self.asked.append(list(namespaces))
        await asyncio.sleep(0)
        if len(self.asked) == self.fails:
            raise UnreachableError("gone", "wait")
        return Survey(datetime.now(UTC), "1", 0, {}, ())


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    made = Readings()
    monkeypatch.setattr(shared_survey, "take_survey", made.take_survey)
    return made


@pytest.fixture
def surveys() -> SharedSurveys:
    return SharedSurveys(cast("Cluster", object()))


async def test_who_asks_while_another_reads_shares_the_next_reading(readings: Readings, surveys: SharedSurveys) -> None:
    await asyncio.gather(*(surveys.of(name) for name in ("shop", "bank", "farm", "bank")))

    assert readings.asked == [["shop"], ["bank", "farm"]]


async def test_after_a_reading_that_failed_each_reads_what_it_asked_for(
    readings: Readings, surveys: SharedSurveys
) -> None:
    readings.fails = 2
    shop, bank, farm = await asyncio.gather(
        *(surveys.of(name) for name in ("shop", "bank", "farm")), return_exceptions=True
    )

    assert isinstance(bank, UnreachableError)
    assert not isinstance(shop, BaseException)
    assert not isinstance(farm, BaseException)
    assert readings.asked == [["shop"], ["bank", "farm"], ["farm"]]


async def test_of_many_namespaces_the_cluster_is_read_once(readings: Readings, surveys: SharedSurveys) -> None:
    await asyncio.gather(*(surveys.of(f"team-{number}") for number in range(9)))

    assert readings.asked == [["team-0"], []]
