"""A long upgrade goes on from run to run between its waves, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio
from temporalio.client import Client

from mesh.identity import ClusterRef
from mesh.plan.policy import Budget, Policy
from mesh.survey.reasons import Reason
from mesh.survey.snapshot import fingerprint
from tests.workflows.fakes import FakeCluster, workloads
from tests.workflows.stage import RunningUpgrade, compose_real_temporal, serve, start_upgrade, until
from workflows.messages import LimitInput, Phase, Progress

#: Events after which the server suggests a new run: a small part of the ordinary 4,096.
_SUGGESTED = "limit.historyCount.suggestContinueAsNew=80"


@pytest_asyncio.fixture(scope="module")
async def forgetful() -> AsyncIterator[Client]:
    """A server on which histories soon are long."""
    async with compose_real_temporal(_SUGGESTED) as client:
        yield client


def _cluster(name: str) -> FakeCluster:
    cluster = FakeCluster(ClusterRef(name, "uid"))
    cluster.stale = {f"wave {number}": workloads(f"a{number}", f"b{number}") for number in range(10)}
    return cluster


async def _runs(client: Client, upgrade: RunningUpgrade) -> int:
    return len([one async for one in client.list_workflows(f'WorkflowId = "{upgrade.handle.id}"')])


async def test_every_workload_is_restarted_once_over_several_runs(forgetful: Client) -> None:
    cluster = _cluster("many-runs")
    [failed] = workloads("b3")
    cluster.failing = {failed: Reason.ROLLOUT_TIMED_OUT}
    policy = Policy(soak=timedelta(0), budget=Budget(failed=0.5))
    async with serve(forgetful, cluster):
        upgrade = await start_upgrade(forgetful, cluster, policy)
        began = await upgrade.progress()
        answers = asyncio.create_task(_keep_telling(upgrade))
        result = await asyncio.wait_for(upgrade.handle.result(), 60)
        answered = await answers

    assert await _runs(forgetful, upgrade) > 1
    assert sorted(cluster.restarted) == sorted(f"{one}{number}" for one in "ab" for number in range(10))
    assert result.progress.workloads.restarted == 19
    assert result.progress.workloads.planned == 20
    assert result.progress.started_at == began.started_at
    # Wave numbers go on, and so does what is known of failures.
    numbers = [request.rule.number for request in cluster.asked("list_wave_members")]
    assert numbers == list(range(10))
    last = cluster.asked("survey_cluster")[-1]
    assert last.failed == (fingerprint(failed),)
    # One mark, one holder, one control plane.
    assert len({request.mark for request in cluster.asked("restart_workload")}) == 1
    assert len({request.holder for request in (*cluster.asked("renew_hold"), *cluster.asked("release_hold"))}) == 1
    assert cluster.names.count("apply_target") == 1
    assert cluster.names.count("release_hold") == 1
    assert cluster.names[-1] == "release_hold"
    # Every word was answered, also those said between two runs.
    assert answered > 5


async def _keep_telling(upgrade: RunningUpgrade) -> int:
    """Changes the limit again and again until the upgrade has ended; how often it was answered."""
    answered = 0
    while True:
        seen = await upgrade.progress()
        if seen.result is not None:
            return answered
        try:
            await upgrade.handle.execute_update("limit", LimitInput("me", in_flight=50), result_type=Progress)
        except Exception as error:
            ends = ("ended", "completed", "closing workflow")
            if any(end in str(error) or end in str(error.__cause__) for end in ends):
                return answered
            raise
        answered += 1
        await asyncio.sleep(0.05)


async def test_pause_is_kept_over_a_new_run(forgetful: Client) -> None:
    cluster = _cluster("paused-long")
    cluster.block("survey_cluster")
    async with serve(forgetful, cluster):
        upgrade = await start_upgrade(forgetful, cluster)
        await upgrade.calls("survey_cluster")
        for number in range(1, 12):
            # A history becomes long while no step runs: operators' updates are events as well.
            await upgrade.handle.execute_update("limit", LimitInput("me", in_flight=number), result_type=Progress)
        await upgrade.pause()
        cluster.unblock("survey_cluster")

        async def went_on() -> bool:
            return await _runs(forgetful, upgrade) > 1

        await until("a new run", went_on)
        seen = await upgrade.reaches(Phase.PAUSED)

        assert seen.needs_attention == "paused by me: because of the test"
        assert cluster.restarted == []
        await upgrade.resume()
        assert (await asyncio.wait_for(upgrade.handle.result(), 60)).result == "done"
    assert len(set(cluster.restarted)) == len(cluster.restarted) == 20
