"""Which activities share a reading of the cluster, and which read it again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from activities.boundary import ServedCluster
from activities.kube.client import ClusterClient, connect
from activities.remediation.activities import RemediationActivities
from activities.remediation.inputs import OpenItemInput, OpenItemsInput
from activities.remediation.watch import ClusterWatchActivities
from activities.restart.outcome import RestartOutcome, RestartResult
from activities.survey import cache
from activities.survey.activities import ListWaveMembersInput, SurveyActivities, SurveyInput
from activities.survey.cache import SurveyCache
from activities.survey.run import ClusterReading, read_cluster
from mesh.identity import ClusterRef
from mesh.k8s.workload_ref import WorkloadRef
from mesh.plan.policy import Policy
from mesh.plan.waves import WaveGroup, WaveRule
from mesh.survey.reasons import Reason
from tests.activities.fake_temporal import FakeTemporal
from tests.scale.synthetic_cluster import Size, SyntheticCluster, served

REF = ClusterRef("one", "uid")
SURVEY = SurveyInput(REF, Policy())
REST = WaveRule(0, "to 100%", WaveGroup.REST)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Worker:
    """The activities of one worker, and what they read of a cluster of two stale Deployments."""

    def __init__(self, cluster: ClusterClient) -> None:
        self.read: list[Sequence[str]] = []
        surveys = SurveyCache(cluster)
        served_cluster, client = ServedCluster(cluster, REF), FakeTemporal().client
        self.survey = SurveyActivities(served_cluster, surveys)
        watch = ClusterWatchActivities(served_cluster, client, "queue", surveys)
        self.remediation = RemediationActivities(served_cluster, client, "queue", watch, surveys)

    async def run(self, activity: Any, request: object) -> Any:  # noqa: ANN401  # any activity
        return await ActivityEnvironment().run(activity, request)

    async def members(self, read_after: datetime | None, survey: SurveyInput = SURVEY) -> list[str]:
        request = ListWaveMembersInput(survey, REST, 0, read_after)
        return [one.workload.name for one in await self.run(self.survey.list_wave_members, request)]


@pytest_asyncio.fixture
async def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    synthetic = SyntheticCluster(Size(namespaces=1, deployments=2, pods_each=2, stale=2, standalone=1))
    async with served(synthetic, tmp_path) as kubeconfig, await connect(str(kubeconfig)) as cluster:
        made = Worker(cluster)

        async def noting(client: ClusterClient, namespaces: Sequence[str]) -> ClusterReading:
            made.read.append(namespaces)
            return await read_cluster(client, namespaces)

        monkeypatch.setattr(cache, "read_cluster", noting)
        yield made


async def test_waves_of_one_step_use_one_reading(worker: Worker) -> None:
    step_began = datetime.now(UTC)
    first = await worker.members(step_began)
    second = await worker.members(step_began)

    assert sorted(first) == sorted(second) == ["work-0-", "work-1-"]
    assert len(worker.read) == 1


async def test_wave_after_a_failed_restart_judges_the_same_reading_by_what_failed(worker: Worker) -> None:
    step_began = datetime.now(UTC)
    await worker.members(step_began)
    excluded = Policy(exclude=replace(Policy().exclude, namespaces=("space-0",)))
    members = await worker.members(step_began, replace(SURVEY, policy=excluded))

    assert members == []
    assert len(worker.read) == 1


async def test_wave_of_a_later_step_reads_again(worker: Worker) -> None:
    await worker.members(datetime.now(UTC))
    await worker.members(datetime.now(UTC))

    assert len(worker.read) == 2


async def test_wave_reads_again_once_the_reading_is_too_old(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("activities.survey.activities.MAX_AGE_SECONDS", 0.0)
    await worker.members(LONG_AGO)
    await worker.members(LONG_AGO)

    assert len(worker.read) == 2


async def test_wave_without_a_step_reads_for_itself(worker: Worker) -> None:
    await worker.members(None)
    await worker.members(None)

    assert len(worker.read) == 2


async def test_survey_always_reads_again(worker: Worker) -> None:
    await worker.members(datetime.now(UTC))
    await worker.run(worker.survey.survey_cluster, SURVEY)
    await worker.run(worker.survey.survey_cluster, SURVEY)

    assert len(worker.read) == 3


async def test_items_are_opened_from_the_reading_of_the_final_survey(worker: Worker) -> None:
    survey_began = datetime.now(UTC)
    await worker.run(worker.survey.survey_cluster, SURVEY)
    opened = await worker.run(worker.remediation.open_items, OpenItemsInput(SURVEY, survey_began))

    assert opened.by_reason == {"StandalonePod": 1}
    assert len(worker.read) == 1


async def test_items_after_an_operators_command_are_opened_from_a_new_reading(worker: Worker) -> None:
    await worker.run(worker.survey.survey_cluster, SURVEY)
    command = datetime.now(UTC) + timedelta(milliseconds=1)
    await worker.run(worker.remediation.open_items, OpenItemsInput(SURVEY, command))

    assert len(worker.read) == 2


async def test_item_of_a_failed_restart_is_decided_by_a_new_reading_of_its_namespace(worker: Worker) -> None:
    await worker.run(worker.survey.survey_cluster, SURVEY)
    workload = WorkloadRef("space-0", "Deployment", "work-0-")
    failed = RestartResult(workload, RestartOutcome.FAILED, Reason.ROLLOUT_TIMED_OUT, "no progress")

    assert await worker.run(worker.remediation.open_item, OpenItemInput(REF, failed))
    assert worker.read == [(), ("space-0",)]
